package cli

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/internal/config"
)

// nodeState is what a node's agent must remember from run to run: going back to
// an older one would use a token twice, follow an old update, or lose the keys
// that the gateway has. It is a file of its own, with keys in hexadecimal.
type nodeState struct {
	Session   cxtp.SessionID   `json:"session"` // the state says nothing about another one
	NextToken uint32           `json:"next_token"`
	Number    uint64           `json:"number"`
	Current   *keptKeys        `json:"current,omitempty"`
	Next      *keptKeys        `json:"next,omitempty"`
	Gateway   string           `json:"gateway_share,omitempty"`
	Own       string           `json:"own_share,omitempty"`
	Told      []cxtp.SPIChange `json:"told_spis,omitempty"`
}

// keptKeys is a generation of a node's keys.
type keptKeys struct {
	Generation uint64      `json:"generation"`
	UpdateKey  string      `json:"update_key"`
	Tokens     []keptToken `json:"tokens"`
}

type keptToken struct {
	Number uint32 `json:"number"`
	Key    string `json:"key"`
}

func keep(session cxtp.SessionID, s cxtp.AgentState) nodeState {
	kept := nodeState{
		Session: session, NextToken: s.NextToken, Number: s.Number,
		Current: keepKeys(s.Current), Next: keepKeys(s.Next), Told: s.Told,
	}
	if !s.Gateway.IsZero() {
		kept.Gateway, kept.Own = hex.EncodeToString(s.Gateway[:]), hex.EncodeToString(s.Own[:])
	}
	return kept
}

func keepKeys(n *cxtp.NodeState) *keptKeys {
	if n == nil {
		return nil
	}
	kept := &keptKeys{Generation: n.Generation, UpdateKey: hex.EncodeToString(n.UpdateKey.Bytes())}
	for _, t := range n.Tokens {
		kept.Tokens = append(kept.Tokens, keptToken{t.Number, hex.EncodeToString(t.Key.Bytes())})
	}
	return kept
}

// agent is the state as the agent has it.
func (s nodeState) agent() (cxtp.AgentState, error) {
	a := cxtp.AgentState{Number: s.Number, NextToken: s.NextToken, Told: s.Told}
	var errs [4]error
	a.Current, errs[0] = s.Current.node()
	a.Next, errs[1] = s.Next.node()
	errs[2] = share(&a.Gateway, s.Gateway)
	errs[3] = share(&a.Own, s.Own)
	return a, errors.Join(errs[:]...)
}

func (k *keptKeys) node() (*cxtp.NodeState, error) {
	if k == nil {
		return nil, nil
	}
	n := &cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, Generation: k.Generation}
	var err error
	if n.UpdateKey, err = keptKey(k.UpdateKey); err != nil {
		return nil, err
	}
	for _, t := range k.Tokens {
		key, err := keptKey(t.Key)
		if err != nil {
			return nil, err
		}
		n.Tokens = append(n.Tokens, cxtp.NumberedKey{Number: t.Number, Key: key})
	}
	return n, nil
}

func keptKey(digits string) (secret.Key, error) {
	var k config.HexKey
	err := k.UnmarshalText([]byte(digits))
	return k.Key, err
}

func share(s *cxtp.Share, digits string) error {
	octets, err := hex.DecodeString(digits)
	if err != nil || len(octets) != 0 && len(octets) != len(s) {
		return fmt.Errorf("a share must be %d hexadecimal digits", 2*len(s))
	}
	copy(s[:], octets)
	return nil
}

// loadState reads the state of a session, which begins with zeros.
func loadState(path string, session cxtp.SessionID) (cxtp.AgentState, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return cxtp.AgentState{}, nil
	}
	if err != nil {
		return cxtp.AgentState{}, fmt.Errorf("failed to read the agent's state: %w", err)
	}
	defer clear(text)
	var kept nodeState
	err = json.Unmarshal(text, &kept)
	if err == nil && kept.Session != session {
		return cxtp.AgentState{}, nil
	}
	var s cxtp.AgentState
	if err == nil {
		s, err = kept.agent()
	}
	if err != nil {
		return s, fmt.Errorf("the agent's state %s is damaged (%w): give the node a new session with new keys, then remove it", path, err)
	}
	return s, nil
}

// saveState replaces the state in one step, which survives a crash of the
// machine when it returns.
func saveState(path string, session cxtp.SessionID, s cxtp.AgentState) (err error) {
	text, err := json.Marshal(keep(session, s))
	if err != nil {
		return err
	}
	defer clear(text)
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
