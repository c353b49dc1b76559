package strongswan

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// fakePlugin is a fake charon's ha plugin. It does what it is told about IKE SAs,
// their addresses and segments, and has a pool.
type fakePlugin struct {
	*fakeCharon
	conn  *net.UDPConn
	agent net.Addr
	// What happens when it is told for the nth time that a segment is passive, before
	// it does that, or active, after that.
	passive, active map[int]func()
	told            map[ha.Type]int
	lost            bool                // the next message that a segment is passive does not arrive
	ids             []*ha.MessageID     // guarded as the IKE SAs are, as is what follows
	taken           map[netip.Addr]bool // of the pool
}

// beside starts an agent beside a fake charon that has the client of a recorded
// stream.
func beside(t *testing.T, name string) (*Agent, *session, *fakePlugin) {
	t.Helper()
	a := recorded(t, name)
	s := a.sessions[cxtp.SessionID{7}]
	f, charon := startFake(t, shownOf(s.l))
	near, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	far, err := net.DialUDP("udp4", nil, near.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	p := &fakePlugin{fakeCharon: f, conn: near, agent: far.LocalAddr(), told: map[ha.Type]int{}, taken: map[netip.Addr]bool{}}
	a.charon, a.log = charon, slog.New(slog.DiscardHandler)
	a.cfg.Kernel, a.cfg.Segments = adopts{}, 16
	a.plugin = &plugin{conn: far, version: ha.Version3, room: semaphore.NewWeighted(roomForMessages)}
	a.switcher = switcher{plugin: a.plugin, charon: charon, segments: 16, crowd: a.clients}
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return a.plugin.receive(ctx, func(m ha.Message, err error) { a.hear(ctx, g, m) })
	})
	t.Cleanup(func() {
		cancel()
		g.Wait()
	})
	return a, s, p
}

// adopts is a kernel that has everything.
type adopts struct{}

func (adopts) Adopt(context.Context, cxtp.SessionID, *ipsecctx.Session) error { return nil }
func (adopts) Adopted(context.Context, cxtp.SessionID) error                  { return nil }
func (adopts) Routable(cxtp.SessionID) error                                  { return nil }
func (adopts) Found() []Found                                                 { return nil }
func (adopts) Disown(cxtp.SessionID)                                          {}
func (adopts) Reinstall(ctx context.Context, _ cxtp.SessionID, bring func(context.Context) error) error {
	return bring(ctx)
}

// shownOf is a lineage's IKE SA as charon shows it.
func shownOf(l *lineage) fakeSA {
	sa := fakeSA{name: l.update.ConfigName, state: established, at: l.update.RemoteAddr.Addr().String(), port: l.update.RemoteAddr.Port(),
		unique: 1, id: spisOf(l.id())}
	for _, c := range l.children {
		sa.children = append(sa.children, c.add)
	}
	return sa
}

func (p *fakePlugin) work() {
	buffer := make([]byte, 1<<16)
	for {
		n, err := p.conn.Read(buffer)
		if err != nil {
			return // closed
		}
		m, err := ha.Parse(buffer[:n])
		if err != nil {
			panic(err)
		}
		switch b := m.Body.(type) {
		case *ha.IKEAdd:
			p.set(append(p.all(), fakeSA{name: "clients", state: passive, at: b.RemoteAddr.Addr().String(), unique: uint32(b.SA.SPIi), id: spisOf(b.SA)})...)
		case *ha.IKEUpdate:
			p.change(func(sa *fakeSA) {
				if sa.id == spisOf(b.SA) {
					p.update(sa, b)
				}
			})
		case *ha.IKEDelete:
			p.end(b.SA)
		case *ha.MessageID:
			p.mu.Lock()
			p.ids = append(p.ids, b)
			p.mu.Unlock()
		case *ha.Segments:
			p.segment(b)
		}
	}
}

func (p *fakePlugin) update(sa *fakeSA, b *ha.IKEUpdate) {
	if b.RemoteAddr.IsValid() {
		sa.at, sa.port = b.RemoteAddr.Addr().String(), b.RemoteAddr.Port()
	}
	if len(b.RemoteVIPs) > 0 {
		sa.virtual = b.RemoteVIPs
	}
	for _, a := range b.RemoteVIPs {
		p.taken[a] = true
	}
}

// end removes an IKE SA, and gives the addresses that it has back to the pool.
func (p *fakePlugin) end(id ha.SAID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sas = slices.DeleteFunc(p.sas, func(sa fakeSA) bool {
		if sa.id != spisOf(id) {
			return false
		}
		for _, a := range sa.virtual {
			delete(p.taken, a)
		}
		return true
	})
}

// reserved are the addresses that the pool counts as taken.
func (p *fakePlugin) reserved() []netip.Addr {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.SortedFunc(maps.Keys(p.taken), netip.Addr.Compare)
}

// messageIDs are those that it was told.
func (p *fakePlugin) messageIDs() []*ha.MessageID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.ids)
}

// all are the IKE SAs as they are.
func (p *fakePlugin) all() []fakeSA {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.sas)
}

func (p *fakePlugin) segment(b *ha.Segments) {
	before, after := established, passive
	if b.Action == ha.TypeSegmentDrop {
		before, after = passive, established
	}
	if after == passive && p.lost {
		p.lost = false
		return
	}
	p.told[b.Action]++
	if hook := p.passive[p.told[b.Action]]; hook != nil && after == passive {
		hook()
	}
	p.change(func(sa *fakeSA) {
		if sa.state == before && ha.Segment(netip.MustParseAddr(sa.at), 16) == int(b.Numbers[0]) {
			sa.state = after
		}
	})
	if hook := p.active[p.told[b.Action]]; hook != nil && after == established {
		hook()
	}
}

func (p *fakePlugin) change(how func(*fakeSA)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.sas {
		how(&p.sas[i])
	}
}

// now is the one IKE SA as it is.
func (p *fakePlugin) now() fakeSA {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sas[0]
}

// TestFreeze: an IKE SA is passive, where no client is, and active again after a
// thaw, where the client was; also if a message was lost.
func TestFreeze(t *testing.T) {
	for name, lost := range map[string]bool{"all arrives": false, "one is lost": true} {
		t.Run(name, func(t *testing.T) {
			a, s, p := beside(t, "gcm")
			p.lost = lost
			go p.work()
			client := a.whereabouts(s)
			d, err := a.Freeze(t.Context(), s.id)
			if err != nil || d.Generation != 1 || d.NextExpected != 2 {
				t.Fatalf("%+v, %v", d, err)
			}
			if sa := p.now(); sa.state != passive || sa.at != a.park().Addr().String() {
				t.Errorf("frozen, charon shows %+v", sa)
			}
			if err := a.Thaw(t.Context(), s.id, false); err != nil {
				t.Fatal(err)
			}
			if sa := p.now(); sa.state != established || sa.at != client.Addr().String() || sa.port != client.Port() {
				t.Errorf("thawed, charon shows %+v, want it at %v", sa, client)
			}
		})
	}
}

// TestFreezeRekeyed: an IKE SA that begins to be rekeyed in the moment in which it is
// to become passive goes on, under its next name, where the client is; and the move
// is refused.
func TestFreezeRekeyed(t *testing.T) {
	for name, when := range map[string]int{"before it is to go on": 1, "while it is to go on": 2} {
		t.Run(name, func(t *testing.T) {
			a, s, p := beside(t, "gcm")
			client := a.whereabouts(s)
			p.passive = map[int]func(){1: func() { p.change(func(sa *fakeSA) { sa.state = "REKEYING" }) }}
			p.active = map[int]func(){when: func() { p.rekeyed(t) }}
			go p.work()
			_, err := a.Freeze(t.Context(), s.id)
			var refusal *features.Error
			if !errors.As(err, &refusal) || refusal.Status != cxtp.StatusBusy {
				t.Fatalf("%v, want that it is busy", err)
			}
			if sa := p.now(); sa.state != established || sa.at != client.Addr().String() || sa.id != spisOf(a.idOf(s)) || sa.unique != 2 {
				t.Errorf("charon shows %+v; it is %v at %v", sa, a.idOf(s), client)
			}
			if got := a.whereabouts(s); got != client {
				t.Errorf("the client is believed to be at %v, want %v", got, client)
			}
		})
	}
}

// rekeyed tells of the rekey of a recorded stream, and shows the next IKE SA, where
// the one before was believed to be.
func (p *fakePlugin) rekeyed(t *testing.T) {
	for _, said := range passageOf(t, "gcm", "IKE rekey, gateway") {
		if add, ok := parsed(t, said).Body.(*ha.IKEAdd); ok {
			p.change(func(sa *fakeSA) { sa.id, sa.unique, sa.state = spisOf(add.SA), 2, established })
		}
		if _, err := p.conn.WriteTo(said, p.agent); err != nil {
			t.Error(err)
		}
	}
}

// TestFreezeGone: an IKE SA that ends while it is to become passive is an error, and
// nothing that is waited for.
func TestFreezeGone(t *testing.T) {
	a, s, p := beside(t, "gcm")
	p.passive = map[int]func(){1: func() { p.set() }}
	go p.work()
	if d, err := a.Freeze(t.Context(), s.id); !errors.Is(err, ErrUnknownSA) {
		t.Errorf("%+v, %v", d, err)
	}
}

// passageOf are the messages of a passage.
func passageOf(t *testing.T, stream, doing string) [][]byte {
	t.Helper()
	for _, p := range streams(t)[stream] {
		if strings.HasPrefix(p.doing, doing) {
			return p.messages
		}
	}
	t.Fatalf("no passage %q", doing)
	return nil
}
