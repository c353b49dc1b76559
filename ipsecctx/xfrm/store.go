package xfrm

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// store keeps what the kernel does not: of each session everything but its keys
// and how far it has got. It is a file of lines, in JSON: the first names the boot,
// each other one is a session that was staged, or one that is gone.
//
// The kernel's part ends with a boot, and so a file counts in the boot that it was
// written in only. For the same reason it need not be forced to the disk: as long
// as it counts, the system that has it in its cache is running. A folder in
// memory, under /run, does as well.
type store struct {
	path    string
	boot    string // of the machine and the network namespace
	entries gather[*entry]

	mu    sync.Mutex
	file  *os.File // to be written at its end
	lines int
	live  map[cxtp.SessionID]bool
	found []saved // what the daemon before has left, until load
}

// saved is a line of the file.
type saved struct {
	Boot    string    `json:"boot,omitempty"` // of the first line, which has nothing else
	Session string    `json:"session,omitempty"`
	Gone    bool      `json:"gone,omitempty"`
	ReqIDs  []uint32  `json:"reqids,omitempty"` // of the groups, one an SA
	Own     []uint32  `json:"own,omitempty"`    // of adopted SAs, one an SA
	At      Placement `json:"at,omitzero"`
	Blocks  []block64 `json:"blocks,omitempty"` // the static contexts of rfc/ipsec-profile.md, without keys

	text []byte
}

type block64 struct {
	FPT      cxtp.FPT `json:"fpt"`
	Presence uint32   `json:"presence"`
	Data     []byte   `json:"data"`
}

// deadLines is how many lines a file may have for nothing, beside as many as it
// has for something, before it is written anew.
const deadLines = 1024

// openStore reads the file of a folder, and writes it anew without what counts
// no more.
func openStore(dir, boot string) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("failed to make the folder of sessions: %w", err)
	}
	st := &store{path: filepath.Join(dir, "sessions"), boot: boot, live: map[cxtp.SessionID]bool{}}
	st.entries.do = st.write
	found, err := st.read()
	if err != nil {
		return nil, err
	}
	st.found = found
	for _, s := range found {
		id, err := s.id()
		if err != nil {
			return nil, st.damaged(err)
		}
		st.live[id] = true
	}
	return st, st.rewrite(found)
}

// read returns the sessions of this boot that are not gone. A last line that was
// not finished does not count: the kernel has got nothing of its session.
func (st *store) read() ([]saved, error) {
	text, err := os.ReadFile(st.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the sessions of this gateway: %w", err)
	}
	var order []string
	last := map[string]saved{}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i, line := range lines[:len(lines)-1] {
		s := saved{text: line}
		if err := json.Unmarshal(line, &s); err != nil {
			return nil, st.damaged(fmt.Errorf("line %d: %w", i+1, err))
		}
		if i == 0 {
			if s.Boot != st.boot {
				return nil, nil
			}
			continue
		}
		if _, again := last[s.Session]; !again {
			order = append(order, s.Session)
		}
		last[s.Session] = s
	}
	var found []saved
	for _, id := range order {
		if s := last[id]; !s.Gone {
			found = append(found, s)
		}
	}
	return found, nil
}

func (st *store) damaged(err error) error {
	return fmt.Errorf("somebody has changed %s, remove it to forget the sessions in the kernel: %w", st.path, err)
}

// rewrite writes the file anew and leaves it open. A crash leaves the old file,
// or the new.
func (st *store) rewrite(sessions []saved) error {
	first, err := json.Marshal(saved{Boot: st.boot})
	if err != nil {
		return err
	}
	text := append(first, '\n')
	for _, s := range sessions {
		text = append(text, s.text...)
	}
	draft := st.path + ".new"
	if err := os.WriteFile(draft, text, 0o600); err != nil {
		return fmt.Errorf("failed to write down the sessions: %w", err)
	}
	if err := os.Rename(draft, st.path); err != nil {
		return fmt.Errorf("failed to write down the sessions: %w", err)
	}
	file, err := os.OpenFile(st.path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("failed to write down the sessions: %w", err)
	}
	if st.file != nil {
		st.file.Close()
	}
	st.file, st.lines = file, len(sessions)
	return nil
}

// save writes a session down. static has no keys.
func (st *store) save(id cxtp.SessionID, static *ipsecctx.Session, reqids reqIDs, at Placement) error {
	blocks, err := ipsecctx.EncodeSession(static)
	if err != nil {
		return err
	}
	line := saved{Session: hex.EncodeToString(id[:]), ReqIDs: reqids.groups, Own: reqids.own, At: at}
	for _, b := range blocks {
		line.Blocks = append(line.Blocks, block64{b.FPT, b.Presence, b.Data})
	}
	if err := st.add(id, &line); err != nil {
		return fmt.Errorf("failed to write down session %v: %w", id, err)
	}
	return nil
}

// remove writes down that a session is gone.
func (st *store) remove(id cxtp.SessionID) error {
	st.mu.Lock()
	live := st.live[id]
	st.mu.Unlock()
	if !live {
		return nil
	}
	if err := st.add(id, &saved{Session: hex.EncodeToString(id[:]), Gone: true}); err != nil {
		return fmt.Errorf("failed to forget session %v: %w", id, err)
	}
	return nil
}

// entry is a line that is to be written.
type entry struct {
	id   cxtp.SessionID
	gone bool
	text []byte
	err  error
}

// add writes a line, with those of others.
func (st *store) add(id cxtp.SessionID, line *saved) error {
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	e := &entry{id: id, gone: line.Gone, text: append(text, '\n')}
	st.entries.ask(e)
	return e.err
}

// write writes lines, and the file anew when it has too many for nothing.
func (st *store) write(together []*entry) {
	st.mu.Lock()
	defer st.mu.Unlock()
	var text []byte
	for _, e := range together {
		text = append(text, e.text...)
	}
	err := st.append(text)
	if err == nil {
		st.lines += len(together)
		for _, e := range together {
			if e.gone {
				delete(st.live, e.id)
			} else {
				st.live[e.id] = true
			}
		}
		err = st.tidy()
	}
	for _, e := range together {
		e.err = err
	}
}

// append writes at the file's end. What a failure has left there is taken away
// again.
func (st *store) append(text []byte) error {
	n, err := st.file.Write(text)
	if err == nil || n == 0 {
		return err
	}
	info, failed := st.file.Stat()
	if failed != nil {
		return errors.Join(err, failed)
	}
	return errors.Join(err, st.file.Truncate(info.Size()-int64(n)))
}

// tidy writes the file anew when most of its lines are for nothing.
func (st *store) tidy() error {
	if st.lines <= 2*len(st.live)+deadLines {
		return nil
	}
	sessions, err := st.read()
	if err != nil {
		return err
	}
	return st.rewrite(sessions)
}

// load hands each session that the daemon before has left to take.
func (st *store) load(take func(cxtp.SessionID, *ipsecctx.Session, reqIDs, Placement) error) error {
	for _, s := range st.found {
		id, err := s.id()
		if err == nil {
			var static *ipsecctx.Session
			if static, err = s.static(); err == nil {
				err = take(id, static, reqIDs{s.ReqIDs, s.Own}, s.At)
			}
		}
		if err != nil {
			return fmt.Errorf("session %s of %s: %w", s.Session, st.path, err)
		}
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.found = nil
	return nil
}

// left reports whether the daemon before has left a session that load has not
// handed over.
func (st *store) left(id cxtp.SessionID) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	name := hex.EncodeToString(id[:])
	return slices.ContainsFunc(st.found, func(s saved) bool { return s.Session == name })
}

func (st *store) close() error { return st.file.Close() }

func (s *saved) id() (id cxtp.SessionID, err error) {
	octets, err := hex.DecodeString(s.Session)
	if err == nil && len(octets) != len(id) {
		err = fmt.Errorf("%q is no session id", s.Session)
	}
	copy(id[:], octets)
	return id, err
}

func (s *saved) static() (*ipsecctx.Session, error) {
	var blocks []cxtp.CDB
	for _, b := range s.Blocks {
		blocks = append(blocks, cxtp.CDB{FPT: b.FPT, HasPresence: true, Presence: b.Presence, Data: b.Data})
	}
	static, err := ipsecctx.DecodeSession(blocks)
	if err == nil && (len(static.SAs) != len(s.ReqIDs) || s.Own != nil && len(static.SAs) != len(s.Own)) {
		err = fmt.Errorf("%d and %d reqids for %d SAs", len(s.ReqIDs), len(s.Own), len(static.SAs))
	}
	return static, err
}
