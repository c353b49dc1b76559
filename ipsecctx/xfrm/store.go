package xfrm

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// store keeps what the kernel does not: of each session a file with everything
// but its keys and how far it has got. A file is written when the session is
// staged and never changed.
//
// The kernel's part ends with a boot, so a file counts in the boot that it was
// written in only. For the same reason it need not be forced to the disk: as
// long as it counts, the system that has it in its cache is running. A folder
// in memory, under /run, does as well.
type store struct {
	dir  string
	boot string // id of this boot, and of this network namespace
}

// saved is the content of a file.
type saved struct {
	Boot   string   `json:"boot"`
	ReqIDs []uint32 `json:"reqids"` // one an SA
	Placement
	Blocks []block64 `json:"blocks"` // the static contexts of rfc/ipsec-profile.md, without keys
}

type block64 struct {
	FPT      cxtp.FPT `json:"fpt"`
	Presence uint32   `json:"presence"`
	Data     []byte   `json:"data"`
}

const suffix = ".json"

func (st *store) path(id cxtp.SessionID) string {
	return filepath.Join(st.dir, hex.EncodeToString(id[:])+suffix)
}

// save writes a session's file, in the place of one that is there. static has
// no keys.
func (st *store) save(id cxtp.SessionID, static *ipsecctx.Session, reqids []uint32, at Placement) error {
	blocks, err := ipsecctx.EncodeSession(static)
	if err != nil {
		return err
	}
	content := saved{Boot: st.boot, ReqIDs: reqids, Placement: at}
	for _, b := range blocks {
		content.Blocks = append(content.Blocks, block64{b.FPT, b.Presence, b.Data})
	}
	text, err := json.Marshal(content)
	if err != nil {
		return err
	}
	draft := st.path(id) + ".new"
	if err := os.WriteFile(draft, text, 0o600); err != nil {
		return fmt.Errorf("failed to write down session %v: %w", id, err)
	}
	if err := os.Rename(draft, st.path(id)); err != nil {
		return fmt.Errorf("failed to write down session %v: %w", id, err)
	}
	return nil
}

func (st *store) remove(id cxtp.SessionID) error {
	if err := os.Remove(st.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("failed to forget session %v: %w", id, err)
	}
	return nil
}

// load hands every session of this boot to take and removes the files of others.
// A file that does not parse is an error: somebody has changed it.
func (st *store) load(take func(cxtp.SessionID, *ipsecctx.Session, []uint32, Placement) error) error {
	entries, err := os.ReadDir(st.dir)
	if err != nil {
		return fmt.Errorf("failed to read the sessions of this gateway: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(st.dir, e.Name())
		name, ours := strings.CutSuffix(e.Name(), suffix)
		octets, err := hex.DecodeString(name)
		if !ours || err != nil || len(octets) != len(cxtp.SessionID{}) {
			if strings.HasSuffix(name, suffix+".new") {
				os.Remove(path) // the daemon died while it wrote
			}
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("failed to read the sessions of this gateway: %w", err)
		}
		var content saved
		if err := json.Unmarshal(text, &content); err != nil {
			return fmt.Errorf("%s does not parse, remove it to forget its session: %w", path, err)
		}
		if content.Boot != st.boot {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("failed to remove the file of a session that ended with the last boot: %w", err)
			}
			continue
		}
		if err := content.restore(cxtp.SessionID(octets), take); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func (c *saved) restore(id cxtp.SessionID, take func(cxtp.SessionID, *ipsecctx.Session, []uint32, Placement) error) error {
	var blocks []cxtp.CDB
	for _, b := range c.Blocks {
		blocks = append(blocks, cxtp.CDB{FPT: b.FPT, HasPresence: true, Presence: b.Presence, Data: b.Data})
	}
	static, err := ipsecctx.DecodeSession(blocks)
	if err != nil {
		return err
	}
	if len(static.SAs) != len(c.ReqIDs) {
		return fmt.Errorf("%d reqids for %d SAs", len(c.ReqIDs), len(static.SAs))
	}
	return take(id, static, c.ReqIDs, c.Placement)
}
