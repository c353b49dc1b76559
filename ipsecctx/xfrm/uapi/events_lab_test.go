//go:build linux && lab

package uapi

import (
	"context"
	"errors"
	"iter"
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

func realPolicy(dir Dir) *Policy {
	return &Policy{
		Selector: Selector{Family: IPv4, Src: netip.MustParsePrefix("10.0.0.0/24"), Dst: netip.MustParsePrefix("10.1.0.0/16")},
		Dir:      dir, Priority: 100, Limits: NoLimits(), Mark: Mark{1, 3}, IfID: 4,
		Templates: []Template{{
			Family: IPv4, Src: tunnel(0).Src, Dst: tunnel(0).Dst, Proto: ESP, ReqID: 7, Mode: Tunnel, Share: 1,
			AuthAlgs: 0xff, CryptAlgs: AllAlgorithms, CompAlgs: 0xf0,
		}},
	}
}

func TestPolicies(t *testing.T) {
	c, ctx := namespace(t), within(t)
	want := make(map[Dir]*Policy)
	for _, dir := range []Dir{DirIn, DirOut, DirFwd} {
		p := realPolicy(dir)
		if err := c.AddPolicy(ctx, p); err != nil {
			t.Fatal(err)
		}
		if err := c.AddPolicy(ctx, p); !errors.Is(err, ErrExists) {
			t.Errorf("%v", err)
		}
		p.Priority, p.Action, p.Limits.HardPackets = 50, Block, 1000
		if err := c.UpdatePolicy(ctx, p); err != nil {
			t.Fatal(err)
		}
		got, err := c.GetPolicy(ctx, p.ID())
		if err != nil || got.Index == 0 || got.Used.AddTime == 0 {
			t.Fatalf("%+v, %v", got, err)
		}
		p.Index, p.Used, want[dir] = got.Index, got.Used, p
		if byIndex, err := c.GetPolicy(ctx, PolicyID{Index: got.Index, Dir: dir, Mark: p.Mark, IfID: p.IfID}); err != nil || !reflect.DeepEqual(byIndex, got) {
			t.Errorf("%+v, %v", byIndex, err)
		}
	}
	for got, err := range c.Policies(ctx) {
		if err != nil || !reflect.DeepEqual(got, want[got.Dir]) {
			t.Errorf("%+v, %v\nwant %+v", got, err, want[got.Dir])
		}
		if err := c.DeletePolicy(ctx, got.ID()); err != nil {
			t.Error(err)
		}
		delete(want, got.Dir)
	}
	if len(want) > 0 {
		t.Errorf("not listed: %v", want)
	}
	for p := range c.Policies(ctx) {
		t.Errorf("left: %+v", p)
	}
}

// watch starts a watcher and returns what gives its next event.
func watch(t *testing.T, c *Conn, groups ...Group) func() Event {
	t.Helper()
	events, err := c.Watch(within(t), groups...)
	if err != nil {
		t.Fatal(err)
	}
	next, stop := iter.Pull2(events)
	t.Cleanup(stop)
	return func() Event {
		t.Helper()
		e, err, more := next()
		if err != nil || !more {
			t.Fatalf("%v, %v", err, more)
		}
		return e
	}
}

func TestWatchStates(t *testing.T) {
	c, ctx := namespace(t), within(t)
	next := watch(t, c, GroupStates, GroupPolicies)
	s := tunnel(1000)
	if err := c.AddState(ctx, s); err != nil {
		t.Fatal(err)
	}
	if err := c.UpdateState(ctx, s); err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteState(ctx, s.ID()); err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{OpAddState, OpUpdateState, OpDeleteState} {
		e, ok := next().(*StateChanged)
		if !ok || e.Op != op || e.State.ID() != s.ID() || !e.State.AEAD.Key.Equal(s.AEAD.Key) {
			t.Errorf("%#x: %+v", op, e)
		}
	}
	if err := c.AddPolicy(ctx, realPolicy(DirIn)); err != nil {
		t.Fatal(err)
	}
	if err := c.DeletePolicy(ctx, realPolicy(DirIn).ID()); err != nil {
		t.Fatal(err)
	}
	for _, op := range []Op{OpAddPolicy, OpDeletePolicy} {
		if e, ok := next().(*PolicyChanged); !ok || e.Op != op || e.Policy.ID() != realPolicy(DirIn).ID() {
			t.Errorf("%#x: %+v", op, e)
		}
	}
	if _, err := c.Watch(ctx, GroupStates); err == nil {
		t.Error("two watchers")
	}
}

// At its limit of time an SA is gone, and that is told. (Of one with both limits, a
// kernel whose timer is late tells only of the hard one.)
func TestWatchExpiry(t *testing.T) {
	c, ctx := namespace(t), within(t)
	next := watch(t, c, GroupExpire)
	soft, hard := tunnel(1000), tunnel(1001)
	soft.Limits.SoftAdd, hard.Limits.HardAdd = 1, 1
	for _, s := range []*State{soft, hard} {
		if err := c.AddState(ctx, s); err != nil {
			t.Fatal(err)
		}
		if e, ok := next().(*StateExpired); !ok || e.Hard != (s == hard) || e.State.ID() != s.ID() {
			t.Errorf("%+v", e)
		}
	}
	if _, err := c.GetState(ctx, soft.ID()); err != nil {
		t.Error(err)
	}
	if _, err := c.GetState(ctx, hard.ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// An SA sends as many packets as its hard limit says, counts on from where it
// was told to begin, and tells what it numbered when it is deleted.
func TestSending(t *testing.T) {
	c, ctx := namespace(t), within(t)
	outside(t, "10.0.0.1/24")
	next := watch(t, c, GroupExpire)
	s := tunnel(1000)
	s.Src, s.Dst, s.Mode, s.Selector = netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.3"), Transport, Selector{}
	s.Replay.OSeq, s.Used.Packets, s.Used.AddTime, s.Limits.HardPackets = 41, 100, 4<<30, 103
	p := realPolicy(DirOut)
	p.Mark, p.IfID, p.Selector = Mark{}, 0, Selector{Family: IPv4, Src: netip.MustParsePrefix("10.0.0.1/32"), Dst: netip.MustParsePrefix("10.0.0.3/32")}
	p.Templates[0].Src, p.Templates[0].Dst, p.Templates[0].Mode = netip.Addr{}, netip.Addr{}, Transport
	p.Templates[0].AuthAlgs = AllAlgorithms
	if err := errors.Join(c.AddState(ctx, s), c.AddPolicy(ctx, p)); err != nil {
		t.Fatal(err)
	}
	send(t, "10.0.0.1", "10.0.0.3")
	send(t, "10.0.0.1", "10.0.0.3")
	last, err := c.DeleteState(ctx, s.ID())
	if err != nil || last.Replay.OSeq != 43 || last.Used.Packets != 102 || last.Used.UseTime == 0 {
		t.Fatalf("%+v, %v", last, err)
	}
	if err := c.AddState(ctx, last); err != nil {
		t.Fatal(err)
	}
	send(t, "10.0.0.1", "10.0.0.3")
	if got, err := c.GetReplay(ctx, s.ID()); err != nil || got.Replay.OSeq != 44 || got.Used.Packets != 103 {
		t.Errorf("%+v, %v", got, err)
	}
	send(t, "10.0.0.1", "10.0.0.3")
	if e, ok := next().(*StateExpired); !ok || !e.Hard || e.State.Used.Packets != 103 {
		t.Errorf("%+v", e)
	}
	if _, err := c.DeleteState(ctx, s.ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// Events that are not read in time are lost, which is told once; the next ones
// are not.
func TestWatchLost(t *testing.T) {
	c := namespace(t)
	c.events.raw.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 0) })
	next := watch(t, c, GroupStates)
	add(t, c, 1000, 50)
	if e, ok := next().(*EventsLost); !ok {
		t.Fatalf("%+v", e)
	}
	if e, ok := next().(*StateChanged); !ok || e.State.SPI != 1000 {
		t.Errorf("%+v", e)
	}
}

// A watcher that ended leaves nothing to the next one.
func TestWatchAgain(t *testing.T) {
	c := namespace(t)
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	events, err := c.Watch(ctx, GroupStates)
	if err != nil {
		t.Fatal(err)
	}
	add(t, c, 1000, 3)
	for e, err := range events {
		if err != nil || e.(*StateChanged).State.SPI != 1000 {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	events, err = c.Watch(ctx, GroupStates)
	if err != nil {
		t.Fatal(err)
	}
	add(t, c, 2000, 1)
	seen := 0
	for e, err := range events {
		if seen++; seen > 1 {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%+v, %v", e, err)
			}
			continue
		}
		if err != nil || e.(*StateChanged).State.SPI != 2000 {
			t.Errorf("%+v, %v", e, err)
		}
		cancel()
	}
	if seen != 2 {
		t.Errorf("%d", seen)
	}
	add(t, c, 3000, 1)
	if err := c.events.poll(func(message) bool { return true }); err != errEmpty {
		t.Errorf("after the last watcher: %v", err)
	}
}

// Close ends what waits.
func TestClose(t *testing.T) {
	c := namespace(t)
	events, err := c.Watch(context.Background(), GroupStates)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		for _, err := range events {
			ended <- err
		}
		close(ended)
	}()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	if err := c.AddState(context.Background(), tunnel(1)); err == nil {
		t.Error("no error")
	}
}
