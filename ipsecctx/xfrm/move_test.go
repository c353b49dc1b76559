package xfrm

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// TestMove moves a session with traffic in every phase, and back: no number
// twice, nothing in the clear, nothing accepted twice.
func TestMove(t *testing.T) {
	for _, c := range []struct {
		name           string
		strict, adopts bool
	}{{"lossless", false, false}, {"strict", true, false}, {"adopted", false, true}, {"adopted strict", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			w, strict, change := newJudge(), c.strict, func(k *Config) { k.Strict, k.Adopt = c.strict, c.adopts }
			from, to := newBench(t, w, change), newBench(t, w, change)
			if c.adopts {
				to.ike.window = 32
			}
			must(t, from.begin(testSession(), nil))
			next := uint64(1)
			for range 3 {
				from.sendDown(3)
				w.wantWire(t, next, next+1, next+2)
				if got := from.receiveUp(next, next+2); len(got) != 2 {
					t.Errorf("the owner accepted %d", got)
				}

				// A staged session sends nothing and accepts nothing.
				s, _, err := from.Export(ctx, testID)
				must(t, err)
				must(t, to.stage(s))
				to.sendDown(1)
				w.wantWire(t)
				if got := to.receiveUp(next, next+1, next+5); got != nil {
					t.Errorf("a staged session accepted %d", got)
				}

				final, err := from.Freeze(ctx, testID)
				must(t, err)
				if got := at(t, final, ipsecctx.Outbound).Sequence; got != next+2 {
					t.Errorf("frozen at %d, want %d", got, next+2)
				}
				from.sendDown(2)
				w.wantWire(t)
				late := from.receiveUp(next + 1)
				if (late == nil) != strict {
					t.Errorf("a frozen source accepted %d", late)
				}

				must(t, to.Activate(ctx, testID, final))
				w.wantWire(t, next+3) // what waited at the target
				if got := to.receiveUp(next, next+2); got != nil {
					t.Errorf("the target accepted %d a second time", got)
				}
				must(t, from.Redirect(ctx, testID, "to"))
				last, err := from.Close(ctx, testID)
				must(t, err)
				if got := from.receiveUp(next + 3); got != nil {
					t.Errorf("a closed source accepted %d", got)
				}
				must(t, to.Merge(ctx, testID, last))
				if got := to.receiveUp(next + 1); got != nil {
					t.Errorf("the target accepted %d a second time", got)
				}
				must(t, from.Release(ctx, testID))
				from.wantEmpty(t)
				from.sendDown(1) // the protected addresses stay blocked
				w.wantWire(t)
				from, to, next = to, from, next+4
			}
		})
	}
}

// TestThaw goes on with the exact counters, or above floors, and sends what
// waited, in order.
func TestThaw(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		w := newJudge()
		b := newBench(t, w, whose)
		must(t, b.begin(testSession(), nil))
		b.sendDown(2)
		_, err := b.Freeze(ctx, testID)
		must(t, err)
		b.sendDown(2)
		must(t, b.Thaw(ctx, testID, nil))
		must(t, b.Thaw(ctx, testID, nil)) // changes nothing
		w.wantWire(t, 1, 2, 3, 4)

		_, err = b.Freeze(ctx, testID)
		must(t, err)
		b.sendDown(1)
		must(t, b.Thaw(ctx, testID, ipsecctx.Ceilings{{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode}: 100}))
		w.wantWire(t, 101)
		if len(w.dropped) > 0 {
			t.Errorf("%d packets were dropped", len(w.dropped))
		}
	})
}

// TestPhases tries every operation in every phase.
func TestPhases(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		const (
			staged = iota
			active
			frozen
			redirected
			closed
			phases
		)
		fresh := []ipsecctx.Dynamic{
			{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Window: make([]uint64, 2)},
			{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode},
		}
		operations := map[string]struct {
			do      func(*bench) error
			allowed []int
		}{
			"Stage":    {func(b *bench) error { return b.stage(testSession()) }, []int{staged}},
			"Export":   {func(b *bench) error { _, _, err := b.Export(ctx, testID); return err }, []int{staged, active, frozen, redirected, closed}},
			"Activate": {func(b *bench) error { return b.Activate(ctx, testID, fresh) }, []int{staged, active}},
			"Freeze":   {func(b *bench) error { _, err := b.Freeze(ctx, testID); return err }, []int{active, frozen, redirected, closed}},
			"Limit":    {func(b *bench) error { return b.Limit(ctx, testID, nil) }, []int{staged, active, frozen, redirected, closed}},
			"Thaw":     {func(b *bench) error { return b.Thaw(ctx, testID, nil) }, []int{active, frozen}},
			"Redirect": {func(b *bench) error { return b.Redirect(ctx, testID, "other") }, []int{frozen, redirected, closed}},
			"Close":    {func(b *bench) error { _, err := b.Close(ctx, testID); return err }, []int{frozen, redirected, closed}},
			"Merge":    {func(b *bench) error { return b.Merge(ctx, testID, fresh[:1]) }, []int{active, frozen, redirected, closed}},
			"Discard":  {func(b *bench) error { return b.Discard(ctx, testID) }, []int{staged}},
			"Release":  {func(b *bench) error { return b.Release(ctx, testID) }, []int{staged, active, frozen, redirected, closed}},
		}
		path := []string{staged: "Stage", active: "Activate", frozen: "Freeze", redirected: "Redirect", closed: "Close"}
		for name, op := range operations {
			for phase := range phases {
				w := newJudge()
				b := newBench(t, w, whose)
				for _, step := range path[:phase+1] {
					must(t, operations[step].do(b))
				}
				err := op.do(b)
				if allowed := slices.Contains(op.allowed, phase); allowed != (err == nil) {
					t.Errorf("%s after %s: %v", name, path[phase], err)
				}
				var pe *PhaseError
				if errors.As(err, &pe) && pe.Operation != name {
					t.Errorf("%s after %s: %v", name, path[phase], err)
				}
				w.lawful(t)
			}
			if b := newBench(t, newJudge(), whose); name == "Release" || name == "Discard" {
				must(t, op.do(b))
			} else if name != "Stage" {
				wantStatus(t, op.do(b), cxtp.StatusUnknownSession)
			}
		}
	})
}

// TestCeiling has the kernel stop an SA at its ceiling exactly, whatever number
// its packets have, and tell before.
func TestCeiling(t *testing.T) {
	w := newJudge()
	near := make(chan cxtp.SessionID, 10)
	b := newBench(t, w, func(c *Config) { c.NearCeiling = func(id cxtp.SessionID) { near <- id } })
	out := ipsecctx.ID{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode}
	// Numbers were skipped: 1000 used, of which 10 for packets.
	must(t, b.Install(ctx, testID, testSession(), []ipsecctx.Dynamic{
		{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 1000, Used: ipsecctx.Lifetime{Packets: 10}}}))
	done := make(chan error)
	watch, stop := contextWithCancel()
	go func() { done <- b.Run(watch) }()

	must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{out: 1004}))
	b.sendDown(3)
	w.wantWire(t, 1001, 1002, 1003)
	if id := <-near; id != testID {
		t.Errorf("near for %v", id)
	}
	must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{out: 1006}))
	b.sendDown(5)
	w.wantWire(t, 1004, 1005, 1006)
	b.sendDown(1) // the SA is gone, its policy is not
	w.wantWire(t)
	stop()
	must(t, <-done)

	// It is dead wherever it goes.
	if _, err := b.Freeze(ctx, testID); err == nil {
		t.Error("a session without an outbound SA was frozen")
	}
}

// TestCeilingOfStaged binds a target from its first packet on.
func TestCeilingOfStaged(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		w := newJudge()
		b := newBench(t, w, whose)
		must(t, b.stage(testSession()))
		out := ipsecctx.ID{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode}
		must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{out: 42}))
		must(t, b.Activate(ctx, testID, []ipsecctx.Dynamic{
			{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 40, Used: ipsecctx.Lifetime{Packets: 7}},
			{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 2, Window: []uint64{1, 0}},
		}))
		b.sendDown(5)
		w.wantWire(t, 41, 42)
	})
}

// TestLostEvent uses the ceiling where the last number is not known, and has
// none to use without one.
func TestLostEvent(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		out := ipsecctx.ID{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode}
		for _, bound := range []bool{true, false} {
			w := newJudge()
			b := newBench(t, w, whose)
			must(t, b.begin(testSession(), nil))
			if bound {
				must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{out: 50}))
			}
			b.sendDown(3)
			b.kernel.lose = func(int, uapi.Request) bool { return true }
			final, err := b.Freeze(ctx, testID)
			if !bound {
				if !errors.Is(err, ErrCountersUnknown) {
					t.Errorf("without a ceiling: %v", err)
				}
				continue
			}
			must(t, err)
			if got := at(t, final, ipsecctx.Outbound).Sequence; got != 50 {
				t.Errorf("frozen at %d, want the ceiling", got)
			}
			must(t, b.Limit(ctx, testID, nil))
			must(t, b.Thaw(ctx, testID, nil))
			b.sendDown(1)
			w.wantWire(t, 1, 2, 3, 51)
		}
	})
}

// TestMergeUnderTraffic has packets arrive between every two calls: none of them
// is accepted again afterwards.
func TestMergeUnderTraffic(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		w := newJudge()
		b := newBench(t, w, whose)
		must(t, b.begin(testSession(), nil))
		accepted := b.receiveUp(1, 2, 3, 5)
		next := uint64(10)
		b.kernel.stray = func(call int, r uapi.Request) {
			if r.Op == uapi.OpSetReplay && len(accepted) < 6 {
				accepted = append(accepted, b.receiveUp(next, next+1)...)
				next += 2
			}
		}
		b.pause = func() { accepted = append(accepted, b.receiveUp(next)...); next++ }
		last := ipsecctx.Dynamic{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 6, Window: []uint64{1<<0 | 1<<2, 0}}
		must(t, b.Merge(ctx, testID, []ipsecctx.Dynamic{last}))
		b.kernel.stray = nil
		if got := b.receiveUp(append(accepted, 4, 6)...); got != nil {
			t.Errorf("accepted %d a second time", got)
		}
		if got := b.receiveUp(next, next+1); len(got) != 2 {
			t.Errorf("of fresh packets only %d were accepted", got)
		}
	})
}

// TestMergeInAFlood merges a window that is never read and written without packets in
// between: none is accepted twice, and what was lost for that has an end.
func TestMergeInAFlood(t *testing.T) {
	for _, burst := range []uint64{1, 5, 40, 300} {
		b := newBench(t, newJudge())
		must(t, b.begin(testSession(), nil))
		var accepted []uint64
		next := uint64(1)
		come := func() {
			for range burst {
				accepted = append(accepted, b.receiveUp(next)...)
				next++
			}
		}
		b.kernel.stray = func(_ int, r uapi.Request) {
			if r.Op == uapi.OpSetReplay {
				come()
			}
		}
		b.pause = come
		last := ipsecctx.Dynamic{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 6, Window: []uint64{1<<0 | 1<<2, 0}}
		must(t, b.Merge(ctx, testID, []ipsecctx.Dynamic{last}))
		b.kernel.stray = nil
		if got := b.receiveUp(accepted...); got != nil {
			t.Errorf("bursts of %d: accepted %d a second time", burst, got)
		}
		if got := b.receiveUp(next + 8*burst + 4*leapLeast); len(got) != 1 {
			t.Errorf("bursts of %d: a packet that comes much later is refused", burst)
		}
	}
}

// TestMergeSeals moves a window past all that a source may have accepted whose
// close never came.
func TestMergeSeals(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		b := newBench(t, newJudge(), whose)
		must(t, b.begin(testSession(), nil))
		b.receiveUp(1, 9)
		_, dynamic, err := b.Export(ctx, testID)
		must(t, err)
		all := seen(&testSession().SAs[0], at(t, dynamic, ipsecctx.Inbound).Sequence)
		must(t, b.Merge(ctx, testID, []ipsecctx.Dynamic{all}))
		if got := b.receiveUp(2, 5, 8, 10); !slices.Equal(got, []uint64{10}) {
			t.Errorf("accepted %d, want 10 alone", got)
		}
	})
}

// TestGone moves a session of which the kernel has lost an SA: it stays dead.
func TestGone(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		w := newJudge()
		from, to := newBench(t, w, whose), newBench(t, w, whose)
		s := rekeyed()
		must(t, from.begin(s, nil))
		must(t, to.stage(s))
		from.receiveUp(1)
		delete(from.kernel.states, uapi.StateID{Dst: node, SPI: spiToNode, Proto: uapi.ESP})
		delete(from.kernel.states, uapi.StateID{Dst: gate, SPI: spiToGate, Proto: uapi.ESP})
		final, err := from.Freeze(ctx, testID)
		must(t, err)
		must(t, to.Activate(ctx, testID, final))
		if got := to.receiveUp(1, 2, 3); got != nil {
			t.Errorf("an SA that was gone accepted %d", got)
		}
		to.sendDown(1)
		if len(w.wire) != 1 || w.wire[0].spi != spiToNode+16 {
			t.Errorf("sent %v, want one packet on the newer SA", w.wire)
		}
	})
}

// rekeyed is a session in a rekey: two generations, the newer second.
func rekeyed() *ipsecctx.Session {
	s := testSession()
	newer := testSession()
	for i := range newer.SAs {
		sa := &newer.SAs[i]
		sa.SPI, sa.Pair, sa.Replaces = sa.SPI+16, 2, 1
		sa.Encryption.Key = key(byte(0x90+i), 32)
	}
	s.SAs = append(s.SAs, newer.SAs...)
	return s
}

// TestRekeyOverlap sends on the newer generation and accepts on both, at the
// target too, though the two are of one second.
func TestRekeyOverlap(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		w := newJudge()
		from, to := newBench(t, w, whose), newBench(t, w, whose)
		must(t, from.begin(rekeyed(), nil))
		for _, b := range []*bench{from, to} {
			b.sendDown(2)
			if len(w.wire) != 2 || w.wire[0].spi != spiToNode+16 || w.wire[1].spi != spiToNode+16 {
				t.Errorf("sent %v, want two packets on the newer SA", w.wire)
			}
			w.wire = nil
			for i, spi := range []uint32{spiToGate, spiToGate + 16} {
				if !b.kernel.receive(gate, spi, uapi.ESP, uint64(100+i), up(0)) && b == from {
					t.Errorf("SPI %#x was not accepted", spi)
				}
			}
			if b == to {
				break
			}
			s, _, err := from.Export(ctx, testID)
			must(t, err)
			must(t, to.stage(s))
			final, err := from.Freeze(ctx, testID)
			must(t, err)
			must(t, to.Activate(ctx, testID, final))
		}
		w.lawful(t)
	})
}

// TestLifetimes carries what is used, by this machine's clock.
func TestLifetimes(t *testing.T) {
	b := newBench(t, newJudge())
	d := []ipsecctx.Dynamic{{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 5,
		Used: ipsecctx.Lifetime{Time: 10 * time.Minute, Octets: 700, Packets: 5}, Idle: 3 * time.Second}}
	must(t, b.Install(ctx, testID, testSession(), d))
	st := b.kernel.states[uapi.StateID{Dst: node, SPI: spiToNode, Proto: uapi.ESP}]
	if st.Used.AddTime != b.kernel.clock-600 || st.Used.Bytes != 700 || st.Limits.HardAdd != 3600 || st.Limits.HardBytes != 1<<40 || st.Limits.HardPackets != uapi.Unlimited {
		t.Errorf("%+v, %+v", st.Used, st.Limits)
	}
	b.kernel.clock += 60
	_, got, err := b.Export(ctx, testID)
	must(t, err)
	out := at(t, got, ipsecctx.Outbound)
	if want := (ipsecctx.Lifetime{Time: 11 * time.Minute, Octets: 700, Packets: 5}); out.Used != want || out.Idle != 63*time.Second {
		t.Errorf("%+v idle for %v, want %+v", out.Used, out.Idle, want)
	}
}
