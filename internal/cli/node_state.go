package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cxtp/cxtp/cxtp"
)

// nodeState is what a node's agent must remember from run to run: going back to
// an older one would use a token twice, or follow an old update.
type nodeState struct {
	Session   cxtp.SessionID `json:"session"` // the state says nothing about another one
	NextToken uint32         `json:"next_token"`
	Number    uint64         `json:"number"`
}

// loadState reads the state of a session, which begins with zeros.
func loadState(path string, session cxtp.SessionID) (nodeState, error) {
	fresh := nodeState{Session: session}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("failed to read the agent's state: %w", err)
	}
	var s nodeState
	if err := json.Unmarshal(text, &s); err != nil {
		return fresh, fmt.Errorf("the agent's state %s is damaged (%w): give the node a new session with new keys, then remove it", path, err)
	}
	if s.Session != session {
		return fresh, nil
	}
	return s, nil
}

// saveState replaces the state in one step, which survives a crash of the
// machine when it returns.
func saveState(path string, s nodeState) (err error) {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	folder := filepath.Dir(path)
	next, err := os.CreateTemp(folder, filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(next.Name())
		}
	}()
	_, err = next.Write(append(text, '\n'))
	if err := errors.Join(err, next.Sync(), next.Close()); err != nil {
		return err
	}
	if err := os.Rename(next.Name(), path); err != nil {
		return err
	}
	return syncFolder(folder)
}

// syncFolder makes the names in a folder durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
