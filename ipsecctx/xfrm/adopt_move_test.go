package xfrm

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"pgregory.net/rapid"
)

// TestAdoptedWindows moves a session to and fro between IKE daemons with windows of
// any size, in both forms. Nothing is accepted twice, and what is new is accepted.
func TestAdoptedWindows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w, esn := newJudge(), rapid.Bool().Draw(rt, "ESN")
		var benches [2]*bench
		for i := range benches {
			benches[i] = newBench(t, w, adopting)
			benches[i].ike.window = rapid.SampledFrom([]uint32{20, 32, 33, 64, 100, 128, 300}).Draw(rt, "window")
		}
		s := testSession()
		for i := range s.SAs {
			s.SAs[i].ESN = esn
		}
		must(t, benches[0].begin(s, nil))
		accepted, edge := map[uint64]bool{}, uint64(0)
		receive := func(b *bench) {
			for range rapid.IntRange(0, 30).Draw(rt, "packets") {
				n := edge + 1
				if behind := rapid.Uint64Range(0, 150).Draw(rt, "behind"); behind < n {
					n -= behind
				}
				n += rapid.Uint64Range(0, 3).Draw(rt, "ahead")
				through := b.receiveUp(n) != nil
				if through && accepted[n] {
					rt.Fatalf("%d was accepted twice", n)
				}
				if !through && n > edge {
					rt.Fatalf("%d was not accepted, the edge is %d", n, edge)
				}
				accepted[n] = accepted[n] || through
				edge = max(edge, n)
			}
		}
		for range 3 {
			from, to := benches[0], benches[1]
			receive(from)
			exported, _, err := from.Export(ctx, testID)
			must(t, err)
			must(t, to.stage(exported))
			final, err := from.Freeze(ctx, testID)
			must(t, err)
			must(t, to.Activate(ctx, testID, final))
			receive(to)
			last, err := from.Close(ctx, testID)
			must(t, err)
			must(t, to.Merge(ctx, testID, last))
			must(t, from.Release(ctx, testID))
			from.ike.remove()
			receive(to)
			benches[0], benches[1] = to, from
		}
	})
}

// TestAdoptedCeiling stops an SA at its ceiling and tells half way, without a soft
// limit that the IKE daemon would take for its own, also when that writes the SA
// anew.
func TestAdoptedCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, near := newJudge(), make(chan cxtp.SessionID, 10)
		b := newBench(t, w, adopting, func(c *Config) { c.NearCeiling = func(id cxtp.SessionID) { near <- id } })
		watch, stop := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- b.Run(watch) }()
		pass := func(want int) {
			t.Helper()
			time.Sleep(3 * patrolTime)
			synctest.Wait()
			if len(near) != want {
				t.Errorf("told %d times, want %d", len(near), want)
			}
		}
		must(t, b.begin(testSession(), []ipsecctx.Dynamic{
			{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 1000, Used: ipsecctx.Lifetime{Packets: 10}}}))
		must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 1010}))
		b.sendDown(4)
		b.kernel.tell(&uapi.StateExpired{State: &uapi.State{Dst: node, SPI: spiToNode, Proto: uapi.ESP, Used: uapi.Usage{Packets: 14}}}) // the daemon's own limit
		pass(0)
		b.sendDown(1)
		pass(1)
		must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 1020}))
		b.sendDown(1)
		pass(1)

		b.kernel.mu.Lock()
		st := b.kernel.states[outboundID]
		if st.Limits.SoftPackets != uapi.Unlimited || st.Limits.SoftAdd != 3000 || st.Limits.HardAdd != 3600 {
			t.Errorf("%+v", st.Limits)
		}
		st.Used.Packets = 0 // as after the node's address has changed
		b.kernel.mu.Unlock()
		pass(1)
		b.sendDown(20)
		w.wantWire(t, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 1015, 1016, 1017, 1018, 1019, 1020)
		stop()
		must(t, <-done)
	})
}

// TestHeldAdopted has the daemon start again in every phase of an adopted session.
func TestHeldAdopted(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*testing.T, *bench)
		want   cxtp.HeldState
		then   func(*testing.T, *bench)
	}{
		"staged, and nothing brought": {
			func(t *testing.T, b *bench) { must(t, b.Stage(ctx, testID, testSession())) }, cxtp.HeldStaged,
			func(t *testing.T, b *bench) {
				b.ike.install(t, testSession())
				wantStatus(t, b.Adopted(ctx, testID), cxtp.StatusNoBase)
				wantStatus(t, b.Activate(ctx, testID, finalAt(5)), cxtp.StatusNoBase)
				must(t, b.Discard(ctx, testID))
			},
		},
		"staged": {
			func(t *testing.T, b *bench) { must(t, b.stage(testSession())) }, cxtp.HeldStaged,
			func(t *testing.T, b *bench) {
				must(t, b.Adopted(ctx, testID))
				must(t, b.Activate(ctx, testID, finalAt(5)))
				b.sendDown(1)
				b.kernel.judge.wantWire(t, 6)
			},
		},
		"frozen": {
			func(t *testing.T, b *bench) {
				must(t, b.begin(testSession(), nil))
				b.sendDown(2)
				_, err := b.Freeze(ctx, testID)
				must(t, err)
			}, cxtp.HeldFrozen,
			func(t *testing.T, b *bench) {
				b.sendDown(1)
				b.kernel.judge.wantWire(t, 1, 2)
				must(t, b.Thaw(ctx, testID, nil))
				b.kernel.judge.wantWire(t, 3)
			},
		},
		"active, and rekeyed since": {
			func(t *testing.T, b *bench) {
				must(t, b.begin(testSession(), nil))
				b.ike.install(t, rekeyed())
				b.ike.drop(inboundID, outboundID)
			}, cxtp.HeldActive,
			func(t *testing.T, b *bench) {
				must(t, b.Adopt(ctx, testID, announced(rekeyed())))
				final, err := b.Freeze(ctx, testID)
				must(t, err)
				if len(final) != 2 || final[1].SPI != spiToNode+16 {
					t.Errorf("frozen as %v", final)
				}
			},
		},
		"active, and deleted since": {
			func(t *testing.T, b *bench) {
				must(t, b.begin(testSession(), nil))
				b.ike.drop(inboundID, outboundID)
				asked := &uapi.State{Src: gate, Dst: node, Proto: uapi.ESP, ReqID: ikeReqID}
				b.kernel.states[asked.ID()] = asked
			}, cxtp.HeldNothing,
			func(t *testing.T, b *bench) { delete(b.kernel.states, uapi.StateID{Dst: node, Proto: uapi.ESP}) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newJudge(), adopting)
			c.before(t, b)
			b.restart()
			held, err := b.Held(ctx)
			must(t, err)
			got := cxtp.HeldNothing
			if len(held) == 1 {
				got = held[0].State
			}
			if got != c.want {
				t.Fatalf("held %v, want %v", held, c.want)
			}
			c.then(t, b)
			must(t, b.Release(ctx, testID))
			b.wantEmpty(t)
			b.kernel.judge.lawful(t)
		})
	}
}

// TestLarval gives an SA back although a packet had the kernel ask for one of its
// SPI meanwhile.
func TestLarval(t *testing.T) {
	w := newJudge()
	b := newBench(t, w, adopting)
	must(t, b.begin(testSession(), nil))
	b.sendDown(1)
	asked := &uapi.State{Src: gate, Dst: node, Proto: uapi.ESP, SPI: spiToNode, ReqID: ikeReqID}
	b.kernel.stray = func(_ int, r uapi.Request) {
		if r.Op == uapi.OpAddState && r.State.SPI == spiToNode {
			b.kernel.states[asked.ID()] = asked
		}
	}
	_, err := b.Freeze(ctx, testID)
	must(t, err)
	b.kernel.stray = nil
	b.sendDown(1)
	must(t, b.Thaw(ctx, testID, nil))
	w.wantWire(t, 1, 2)
}

// TestOverlayOutlives keeps the overlay while there is an SA of the session under
// it: the policies of an IKE daemon would use it.
func TestOverlayOutlives(t *testing.T) {
	w := newJudge()
	b := newBench(t, w, adopting)
	must(t, b.begin(testSession(), nil))
	b.sendDown(1)
	_, err := b.Freeze(ctx, testID)
	must(t, err)
	b.kernel.fault = func(_ int, r uapi.Request) error {
		if r.Op == uapi.OpDeleteState && r.ID == outboundID {
			return &uapi.Error{Op: r.Op, Errno: syscall.ENOBUFS}
		}
		return nil
	}
	if err := b.Release(ctx, testID); err == nil {
		t.Error("it was released with an SA")
	}
	b.sendDown(1)
	w.wantWire(t, 1)
	b.kernel.fault = nil
	b.ike.remove() // and its policies are away first
	b.sendDown(1)
	must(t, b.Release(ctx, testID))
	b.sendDown(1)
	w.wantWire(t)
	b.wantEmpty(t)
}
