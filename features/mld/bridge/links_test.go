package bridge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/mld"
)

var (
	prefix1 = netip.MustParsePrefix("2001:db8:1::/64")
	prefix2 = netip.MustParsePrefix("2001:db8:2::/64")
	groupA  = netip.MustParseAddr("ff1e::a")
	groupB  = netip.MustParseAddr("ff1e::b")
	mobile  = mld.Node{Session: cxtp.SessionID{7}, Previous: netip.MustParseAddr("2001:db8:1::7")}
	onBoth  = []mld.Context{{Prefix: prefix1, Group: groupA}, {Prefix: prefix2, Group: groupB}}
)

// fakeKernel has a bridge, 1, with the ports 11 and 12, and a plain interface, 2.
type fakeKernel struct {
	bridge link
	at     int     // the node's port
	has    []entry // of the bridge
	old    bool    // it cannot start a timer again
	down   int     // a port that takes nothing
	err    error   // of every call but link
	calls  []string
}

func (k *fakeKernel) link(name string) (link, error) {
	switch name {
	case "br0":
		return k.bridge, nil
	case "eth0":
		return link{name: name, index: 2, prefixes: []netip.Prefix{prefix2}}, nil
	}
	return link{}, errors.New("no such interface")
}

func (k *fakeKernel) port(int, netip.Addr) (int, error) { return k.at, k.err }

func (k *fakeKernel) table(int) ([]entry, error) { return slices.Clone(k.has), k.err }

func (k *fakeKernel) call(format string, args ...any) error {
	k.calls = append(k.calls, fmt.Sprintf(format, args...))
	return k.err
}

func (k *fakeKernel) index(e entry) int {
	return slices.IndexFunc(k.has, func(is entry) bool { return is.port == e.port && is.group == e.group })
}

func (k *fakeKernel) add(_ int, e entry) error {
	if e.port == k.down {
		return errors.New("port is down")
	}
	if at := k.index(e); at >= 0 && k.old {
		k.calls = append(k.calls, "there")
		return errThere
	} else if at >= 0 {
		k.has = slices.Delete(k.has, at, at+1)
	}
	e.left = 260 * time.Second
	k.has = append(k.has, e)
	return k.call("add %s at %d", e.group, e.port)
}

func (k *fakeKernel) remove(_ int, e entry) error {
	if at := k.index(e); at >= 0 {
		k.has = slices.Delete(k.has, at, at+1)
	}
	return k.call("remove %s at %d", e.group, e.port)
}

func (k *fakeKernel) report(index int, groups []netip.Addr) error {
	return k.call("report %v on %d", groups, index)
}

func fakeLinks() (*Links, *fakeKernel) {
	k := &fakeKernel{bridge: link{name: "br0", index: 1, prefixes: []netip.Prefix{prefix1}, snoops: true, ports: []int{11, 12}}}
	return &Links{config: Config{Interfaces: []string{"br0", "eth0"}}, kernel: k, joined: map[cxtp.SessionID][]mld.Context{}}, k
}

// TestJoin does on each kind of link what makes the router forward.
func TestJoin(t *testing.T) {
	for _, c := range []struct {
		name    string
		prepare func(*Links, *fakeKernel)
		want    []string
	}{
		{"nobody knows the port", func(*Links, *fakeKernel) {},
			[]string{"add ff1e::a at 11", "add ff1e::a at 12", "report [ff1e::b] on 2"}},
		{"a port is down", func(_ *Links, k *fakeKernel) { k.down = 11 },
			[]string{"add ff1e::a at 12", "report [ff1e::b] on 2"}},
		{"the node is behind a port", func(_ *Links, k *fakeKernel) { k.at = 12 },
			[]string{"add ff1e::a at 12", "report [ff1e::b] on 2"}},
		{"other routers are on the bridge", func(l *Links, k *fakeKernel) { k.at, l.config.Report = 12, true },
			[]string{"add ff1e::a at 12", "report [ff1e::a] on 1", "report [ff1e::b] on 2"}},
		{"a bridge that floods", func(_ *Links, k *fakeKernel) { k.bridge.snoops, k.bridge.floods = false, true },
			[]string{"report [ff1e::b] on 2"}},
		{"somebody listens already", func(_ *Links, k *fakeKernel) { k.at, k.has = 12, []entry{{port: 12, group: groupA}} },
			[]string{"add ff1e::a at 12", "report [ff1e::b] on 2"}},
		{"the same on an old kernel", func(_ *Links, k *fakeKernel) { k.at, k.old, k.has = 12, true, []entry{{port: 12, group: groupA}} },
			[]string{"add ff1e::a at 12", "remove ff1e::a at 12", "report [ff1e::b] on 2", "there"}},
		{"configured by somebody", func(_ *Links, k *fakeKernel) { k.at, k.has = 12, []entry{{port: 12, group: groupA, permanent: true}} },
			[]string{"report [ff1e::b] on 2"}},
	} {
		l, k := fakeLinks()
		c.prepare(l, k)
		if err := l.Supports(t.Context(), onBoth); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := l.Join(t.Context(), mobile, append(onBoth, mld.Context{Prefix: prefix1, Group: allNodes})); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if slices.Sort(k.calls); !slices.Equal(k.calls, c.want) {
			t.Errorf("%s: the kernel was asked\n     %q\nwant %q", c.name, k.calls, c.want)
		}
	}
}

// TestListening is what an export has in each case.
func TestListening(t *testing.T) {
	table := []entry{{port: 11, group: groupB}, {port: 12, group: groupB, left: time.Second}, {port: 12, group: groupA, permanent: true}}
	only := func(c ...mld.Context) []mld.Context { return c }
	here := mld.Context{Prefix: prefix1, Group: groupB}
	for _, c := range []struct {
		name   string
		at     int
		table  []entry
		joined []mld.Context
		want   []mld.Context
	}{
		{"nothing is known", 0, table, nil, only()},
		{"what its port has", 12, table, nil, only(here)},
		{"its port has nothing, whatever came with it", 12, nil, onBoth[:1], only()},
		{"it came, and is not seen yet", 0, table, only(here), only(here)},
		{"it came, was not seen, and the timer has ended", 0, nil, only(here), only()},
		{"it came to an interface without a table", 0, nil, onBoth, onBoth[1:]},
	} {
		l, k := fakeLinks()
		k.at, k.has = c.at, c.table
		l.joined[mobile.Session] = c.joined
		got, err := l.Listening(t.Context(), mobile)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
		if views := l.Views(t.Context(), []mld.Node{mobile})[mobile.Session]; len(views) != len(c.want) {
			t.Errorf("%s: an operator sees %v", c.name, views)
		}
		l.Forget(mobile.Session)
		if got, err := l.Listening(t.Context(), mobile); err != nil || c.at == 0 && len(got) > 0 {
			t.Errorf("%s: %v when the session has left, %v", c.name, got, err)
		}
	}
}

// TestViewOfAPort has the timer.
func TestViewOfAPort(t *testing.T) {
	l, k := fakeLinks()
	k.at, k.has = 12, []entry{{port: 12, group: groupB, left: time.Minute}}
	want := []mld.View{{Group: groupB, Prefix: prefix1, Interface: "br0", Left: time.Minute}}
	if got := l.Views(t.Context(), []mld.Node{mobile})[mobile.Session]; !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestLinksThatAreNot: what is missing is told to the source, what fails here is not.
func TestLinksThatAreNot(t *testing.T) {
	var refusal *features.Error
	elsewhere := []mld.Context{{Prefix: netip.MustParsePrefix("2001:db8:3::/64"), Group: groupA}}
	l, k := fakeLinks()
	for name, err := range map[string]error{"supports": l.Supports(t.Context(), elsewhere), "join": l.Join(t.Context(), mobile, elsewhere)} {
		if !errors.As(err, &refusal) || refusal.Status != mld.StatusNoLink {
			t.Errorf("%s: %v", name, err)
		}
	}
	k.at, k.down = 12, 12
	if err := l.Join(t.Context(), mobile, onBoth[:1]); err == nil {
		t.Error("joined at a port that is down")
	}
	k.err = errors.New("no netlink")
	if err := l.Join(t.Context(), mobile, onBoth); !errors.Is(err, k.err) || errors.As(err, new(*features.Error)) {
		t.Errorf("joined with %v", err)
	}
	if _, err := l.Listening(t.Context(), mobile); !errors.Is(err, k.err) {
		t.Errorf("read with %v", err)
	}
	l.config.Interfaces = append(l.config.Interfaces, "wlan9")
	if err := l.Supports(t.Context(), onBoth); err == nil || errors.As(err, new(*features.Error)) {
		t.Errorf("an interface has gone: %v", err)
	}
}
