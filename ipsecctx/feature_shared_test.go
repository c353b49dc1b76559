package ipsecctx

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile/profiletest"
	"pgregory.net/rapid"
)

// fakeSharer is a backend that shares the test session's address.
type fakeSharer struct {
	*fakeBackend
	yields []netip.Addr // what Yield gives
	taken  []netip.Addr
}

func (b *fakeSharer) Shared(a netip.Addr) bool { return a == testSession().SAs[0].Local }

func (b *fakeSharer) Yield(context.Context, cxtp.SessionID) []netip.Addr {
	b.Call("yield")
	return b.yields
}

func (b *fakeSharer) Take(_ context.Context, _ cxtp.SessionID, addrs []netip.Addr) {
	b.Call("take")
	b.taken = addrs
}

func (b *fakeSharer) Inherit(_ context.Context, _ cxtp.SessionID, from cxtp.RouterID) {
	b.Call("inherit from %s", from)
}

var _ Sharer = (*fakeSharer)(nil)

func TestOuterRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var want []netip.Addr
		for range rapid.IntRange(1, 100).Draw(t, "addresses") {
			want = append(want, drawAddr(t, rapid.Bool().Draw(t, "IPv4")))
		}
		blocks, err := EncodeOuter(want)
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, cxtp.CDB{FPT: cxtp.FPTIPsecDynamic, Data: make([]byte, 8)})
		got, err := DecodeOuter(profiletest.Padded(t, blocks[:1]))
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("decoded %v, %v, want %v", got, err, want)
		}
	})
}

// TestOuterLimits: none is no block; one that nodes cannot send to, and more than
// fit, are the caller's mistake.
func TestOuterLimits(t *testing.T) {
	if blocks, err := EncodeOuter(nil); blocks != nil || err != nil {
		t.Errorf("none: %v, %v", blocks, err)
	}
	one := netip.MustParseAddr("203.0.113.10")
	for name, addrs := range map[string][]netip.Addr{
		"unspecified": {one, netip.IPv6Unspecified()},
		"zone":        {netip.MustParseAddr("fe80::1%eth0")},
		"none":        {{}},
		"too many":    slices.Repeat([]netip.Addr{one}, 256),
		"too large":   slices.Repeat([]netip.Addr{netip.MustParseAddr("2001:db8::1")}, 120),
	} {
		if blocks, err := EncodeOuter(addrs); err == nil {
			t.Errorf("%s: encoded to %v", name, blocks)
		}
	}
	first, err := EncodeOuter([]netip.Addr{one})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := DecodeOuter(append(first, first...)); status(err) != cxtp.StatusMalformed {
		t.Errorf("two blocks: %v, %v", all, err)
	}
}

// TestStageKeepsASharedAddress, and the port with it.
func TestStageKeepsASharedAddress(t *testing.T) {
	b := &fakeSharer{fakeBackend: newFake()}
	f := NewFeature(b, Options{LocalEndpoint: func(netip.Addr) (netip.Addr, uint16) { return netip.MustParseAddr("192.0.2.2"), 4501 }})
	if err := f.Stage(t.Context(), ref(1), exported(t)); err != nil {
		t.Fatal(err)
	}
	for i, sa := range b.staged.SAs {
		if want := testSession().SAs[i]; sa.Local != want.Local || sa.Encap != want.Encap {
			t.Errorf("staged at %s, %+v", sa.Local, sa.Encap)
		}
	}
}

// TestYieldAndTake: what the source gives up with its close, the target takes with
// its merge, after the windows, and again when it is asked again.
func TestYieldAndTake(t *testing.T) {
	ctx := t.Context()
	given := []netip.Addr{netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("2001:db8:1::10")}
	source, target := &fakeSharer{fakeBackend: newFake(), yields: given}, &fakeSharer{fakeBackend: newFake()}
	from, to := NewFeature(source, Options{}), NewFeature(target, Options{})
	final, err := from.Freeze(ctx, ref(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(to.Stage(ctx, ref(1), exported(t)), to.Activate(ctx, ref(1), final.Blocks)); err != nil {
		t.Fatal(err)
	}
	last, err := from.Close(ctx, ref(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := from.Close(ctx, ref(1))
	if err != nil || len(again.Blocks) != len(last.Blocks) {
		t.Errorf("closed again: %d blocks, %v, want %d", len(again.Blocks), err, len(last.Blocks))
	}
	if calls := source.Since(); !slices.Equal(calls, []string{"freeze", "close", "yield"}) {
		t.Errorf("the source was asked for %v", calls)
	}
	target.Since()
	for range 2 {
		if err := to.Merge(ctx, ref(1), last.Blocks); err != nil {
			t.Fatal(err)
		}
	}
	if calls := target.Since(); !slices.Equal(calls, []string{"merge", "take", "take"}) || !slices.Equal(target.taken, given) {
		t.Errorf("the target was asked for %v of %v", calls, target.taken)
	}
	if err := to.Stage(ctx, ref(2), features.Staging{}); err != nil {
		t.Fatal(err)
	}
	target.Since()
	bad := slices.Clone(last.Blocks)
	bad[len(bad)-1].Data = bad[len(bad)-1].Data[:3]
	if err := to.Merge(ctx, ref(3), bad); status(err) != cxtp.StatusMalformed {
		t.Errorf("a damaged block: %v", err)
	}
	if calls := target.Since(); len(calls) > 0 {
		t.Errorf("for a damaged block the target was asked for %v", calls)
	}
}

// TestTakeOverInherits: from the gateway that had the session.
func TestTakeOverInherits(t *testing.T) {
	b := &fakeSharer{fakeBackend: newFake()}
	f := NewFeature(b, Options{})
	of := ref(1)
	of.Peer = "sg1"
	if err := errors.Join(f.Stage(t.Context(), of, exported(t)), f.Renew(t.Context(), of, sampled(t, 10)), f.TakeOver(t.Context(), of)); err != nil {
		t.Fatal(err)
	}
	if calls := b.Since(); !slices.Contains(calls, "inherit from sg1") {
		t.Errorf("asked for %v", calls)
	}
}
