package strongswan

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/sync/semaphore"

	"github.com/cxtp/cxtp/ipsecctx"
)

// elsewhere is what an agent has written down.
func elsewhere(t *testing.T, path string) *departed {
	t.Helper()
	d, err := openDeparted(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// withPool is an agent beside a fake charon whose pool has given its client an address.
func withPool(t *testing.T) (*Agent, *session, *fakePlugin, netip.Addr) {
	t.Helper()
	a, s, p := beside(t, "gcm")
	inner := s.l.update.RemoteVIPs[0]
	a.imports = semaphore.NewWeighted(importsAtOnce)
	a.departed = elsewhere(t, filepath.Join(t.TempDir(), "departed"))
	p.sas[0].name, p.sas[0].virtual, p.taken[inner] = "clients", []netip.Addr{inner}, true
	s.l.update.ConfigName = "clients"
	go p.work()
	return a, s, p, inner
}

// holds reports whether a pool counts an address as taken, which a client could have:
// that there is none is charon's own business.
func (p *fakePlugin) holds(a netip.Addr) bool { return slices.Contains(p.reserved(), a) }

// TestDepart: the address of a client that has left stays taken, here and at the next
// charon; of one that only was to come it is free again.
func TestDepart(t *testing.T) {
	for _, c := range []struct {
		phase  ipsecctx.Phase
		before bool // it had left from here before
		want   bool
	}{
		{ipsecctx.Frozen, false, true},
		{ipsecctx.Staged, false, false},
		{ipsecctx.Staged, true, true},
		{ipsecctx.Active, false, false},
	} {
		a, s, p, inner := withPool(t)
		s.phase = c.phase
		if c.before {
			if err := a.departed.add("clients", []netip.Addr{inner}); err != nil {
				t.Fatal(err)
			}
		}
		if err := a.Release(t.Context(), s.id); err != nil || len(p.all()) > 0 {
			t.Fatalf("%v: released: %v, charon has %v", c.phase, err, p.all())
		}
		if p.holds(inner) != c.want || a.departed.any([]netip.Addr{inner}) != c.want {
			t.Errorf("%v, left before %t: the pool has %v taken, noted %v", c.phase, c.before, p.reserved(), a.departed.list())
		}
		a.departed = elsewhere(t, a.departed.path)
		p.mu.Lock()
		clear(p.taken) // another charon
		p.mu.Unlock()
		if err := a.reserve(t.Context()); err != nil || p.holds(inner) != c.want || len(p.all()) > 0 {
			t.Errorf("%v: the next charon has %v taken, and %v: %v", c.phase, p.reserved(), p.all(), err)
		}
	}
}

// TestDepartOrphan: without a charon the address is noted for the next one.
func TestDepartOrphan(t *testing.T) {
	a, s, p, inner := withPool(t)
	s.orphan, s.phase = true, ipsecctx.Frozen
	if err := a.Release(t.Context(), s.id); err != nil || !a.departed.any([]netip.Addr{inner}) || len(p.all()) != 1 {
		t.Errorf("released: %v, noted %v, charon has %v", err, a.departed.list(), p.all())
	}
}

// TestArrive: the address of a client that has come back is its own.
func TestArrive(t *testing.T) {
	a, s, p, inner := withPool(t)
	if err := a.departed.add("clients", []netip.Addr{inner}); err != nil {
		t.Fatal(err)
	}
	s.phase, s.l.current().expected = ipsecctx.Staged, 2
	p.change(func(sa *fakeSA) { sa.state, sa.at = passive, a.park().Addr().String() })
	if err := a.Activate(t.Context(), s.id, a.dynamic(s)); err != nil || a.departed.count() != 0 {
		t.Errorf("activated: %v, noted %v", err, a.departed.list())
	}
	if left := elsewhere(t, a.departed.path).list(); len(left) > 0 {
		t.Errorf("written down: %v", left)
	}
}

// TestReserveMany: as many addresses as there are, and none of a connection that charon
// does not have.
func TestReserveMany(t *testing.T) {
	a, _, p, inner := withPool(t)
	many := []netip.Addr{inner}
	for len(many) < 3*addressesAtOnce/2 {
		many = append(many, many[len(many)-1].Next())
	}
	if err := errors.Join(a.departed.add("clients", many), a.departed.add("others", []netip.Addr{netip.MustParseAddr("10.9.9.9")})); err != nil {
		t.Fatal(err)
	}
	if err := a.reserve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := slices.DeleteFunc(p.reserved(), madeUp.Contains); !slices.Equal(got, many) {
		t.Errorf("taken: %v", got)
	}
}

// TestAsk: an address is given back when nobody has answered for it three times in a
// row, and no client here is about to have it.
func TestAsk(t *testing.T) {
	a, s, p, inner := withPool(t)
	s.l.update.RemoteVIPs = nil
	if err := a.departed.add("clients", []netip.Addr{inner}); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		answered bool
		err      error
		staged   bool
		want     bool // it is taken
	}{
		{want: true}, {want: true}, {answered: true, want: true}, {want: true}, {want: true}, {err: errors.New("the link is down"), want: true},
		{staged: true, want: true}, {want: false},
	} {
		a.cfg.Answered = func(context.Context, netip.Addr) (bool, error) { return c.answered, c.err }
		if s.l.update.RemoteVIPs = nil; c.staged {
			s.l.update.RemoteVIPs = []netip.Addr{inner}
		}
		if err := a.ask(t.Context(), "clients", inner); !errors.Is(err, c.err) {
			t.Fatalf("%d: %v", i, err)
		}
		if p.holds(inner) != c.want || a.departed.any([]netip.Addr{inner}) != c.want {
			t.Errorf("%d: the pool has %v taken, noted %v", i, p.reserved(), a.departed.list())
		}
	}
}

// TestReview: who has the addresses is asked from time to time.
func TestReview(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan netip.Addr)
		a := &Agent{departed: elsewhere(t, "")}
		a.cfg.Answered = func(_ context.Context, addr netip.Addr) (bool, error) { asked <- addr; return true, nil }
		away := []netip.Addr{netip.MustParseAddr("10.4.0.1"), netip.MustParseAddr("10.4.0.2")}
		if err := a.departed.add("clients", away); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- a.review(ctx) }()
		for range 2 {
			if got := []netip.Addr{<-asked, <-asked}; !slices.Equal(got, away) {
				t.Errorf("asked for %v", got)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestDepartedFile: what is no list of addresses is said to be none; one that was never
// finished is empty.
func TestDepartedFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "departed")
	for text, good := range map[string]bool{"": true, "{}": true, `{"10.4.0.1":"clients"}`: true, "{": false, `{"client":"10.4.0.1"}`: false, "[]": false} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := openDeparted(path); (err == nil) != good || err != nil && !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%q: %v", text, err)
		}
	}
	d := elsewhere(t, filepath.Join(t.TempDir(), "nowhere", "departed"))
	if err := d.add("clients", []netip.Addr{netip.MustParseAddr("10.4.0.1")}); err == nil {
		t.Error("written into a folder that is not there")
	}
}
