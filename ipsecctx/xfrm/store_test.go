package xfrm

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// TestStore reads back what was written, through restarts, a line that was not
// finished, and as many dead lines as make it write anew.
func TestStore(t *testing.T) {
	dir := t.TempDir()
	st, err := openStore(dir, "a boot")
	must(t, err)
	s := keyless(rekeyed())
	at := Placement{IfID: 3, OutputMark: markOf(7)}
	must(t, st.save(testID, s, reqIDs{[]uint32{4, 4, 8, 8}, []uint32{1, 1, 2, 0}}, at))
	for range deadLines {
		must(t, st.save(cxtp.SessionID{9}, s, reqIDs{groups: []uint32{1, 2, 3, 4}}, at))
		must(t, st.remove(cxtp.SessionID{9}))
	}
	if st.lines > deadLines+2 {
		t.Errorf("%d lines", st.lines)
	}
	must(t, st.remove(cxtp.SessionID{9})) // nothing
	file, err := os.OpenFile(st.path, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	file.WriteString(`{"session":"0909`)
	file.Close()
	for range 2 {
		if st, err = openStore(dir, "a boot"); err != nil {
			t.Fatal(err)
		}
		n := 0
		must(t, st.load(func(id cxtp.SessionID, static *ipsecctx.Session, reqids reqIDs, where Placement) error {
			n++
			if id != testID || len(static.SAs) != 4 || static.RemoteID.String() != s.RemoteID.String() || reqids.groups[3] != 8 || !slices.Equal(reqids.own, []uint32{1, 1, 2, 0}) || where != at {
				t.Errorf("%v: %v, %v, %+v", id, static, reqids, where)
			}
			return nil
		}))
		if n != 1 {
			t.Errorf("%d sessions", n)
		}
	}
	text, err := os.ReadFile(st.path)
	must(t, err)
	must(t, os.WriteFile(st.path, []byte(strings.Replace(string(text), "blocks", "block", 1)[:len(text)-40]+"\n"), 0o600))
	if _, err := openStore(dir, "a boot"); err == nil || !strings.Contains(err.Error(), "somebody has changed") {
		t.Errorf("a damaged file: %v", err)
	}
	if _, err = openStore(dir, "another boot"); err != nil {
		t.Errorf("a file of another boot: %v", err)
	}
}

// TestStoreTogether writes down what many ask for at once: all of it is there after a
// restart. When the file cannot be written, each of them hears of it, and nothing
// counts.
func TestStoreTogether(t *testing.T) {
	const many = 3 * gatherMost
	dir := t.TempDir()
	st, err := openStore(dir, "a boot")
	must(t, err)
	s := keyless(rekeyed())
	saveAll := func() (failed int) {
		errs := make(chan error)
		for i := range many {
			go func() {
				errs <- st.save(cxtp.SessionID{byte(i), byte(i >> 8)}, s, reqIDs{groups: []uint32{1, 2, 3, uint32(i)}}, Placement{})
			}()
		}
		for range many {
			if <-errs != nil {
				failed++
			}
		}
		return failed
	}
	file := st.file
	st.file, err = os.Open(st.path) // to be read only
	must(t, err)
	if failed := saveAll(); failed != many || len(st.live) > 0 || st.lines > 0 {
		t.Errorf("a file that cannot be written: %d of %d failed, %d sessions and %d lines", failed, many, len(st.live), st.lines)
	}
	st.file.Close()
	st.file = file
	if failed := saveAll(); failed > 0 || len(st.live) != many || st.lines != many {
		t.Errorf("%d of %d failed, %d sessions and %d lines", failed, many, len(st.live), st.lines)
	}
	st, err = openStore(dir, "a boot")
	must(t, err)
	must(t, st.load(func(id cxtp.SessionID, _ *ipsecctx.Session, reqids reqIDs, _ Placement) error {
		if i := int(id[0]) | int(id[1])<<8; reqids.groups[3] != uint32(i) {
			t.Errorf("session %v has reqids %v", id, reqids)
		}
		return nil
	}))
	if len(st.live) != many {
		t.Errorf("%d of %d sessions after a restart", len(st.live), many)
	}
}
