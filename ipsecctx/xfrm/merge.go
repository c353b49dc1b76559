package xfrm

import (
	"context"
	"math/bits"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// mergeRounds bounds how often a window is written again because packets came in
// between, mergeWaits how long the next packet is waited for then: so many pauses.
// Then it leaps, at first and at most so many packets ahead.
const (
	mergeRounds = 4
	mergeWaits  = 10
	mergePause  = 10 * time.Millisecond
	leapLeast   = 16
	leapMost    = 1 << 20
)

// Merge implements [ipsecctx.Backend]: what the source accepted is seen here
// too, from now on. With windows that have seen everything up to their edge it
// moves the windows past all that anybody may have accepted.
//
// The kernel has no call that changes a window in one step, and a packet that it
// accepts between the reading and the writing would be forgotten. The packets
// that it counts tell. Then everything up to the next packet counts as seen, which
// costs at most a packet that was late in that very moment. When packets come too
// fast for that, some that have yet to come count as seen too: they are lost, but none
// is accepted twice.
func (g *Gateway) Merge(ctx context.Context, id cxtp.SessionID, last []ipsecctx.Dynamic) error {
	return g.with(id, "Merge", func(s *session) error {
		if s.phase == Staged {
			return s.misplaced("Merge")
		}
		if s.adopted { // the IKE daemon may have rekeyed since
			last = slices.DeleteFunc(slices.Clone(last), func(d ipsecctx.Dynamic) bool {
				return !slices.ContainsFunc(s.static.SAs, func(sa ipsecctx.SA) bool { return sa.ID() == d.ID() })
			})
		}
		if err := s.check(last, false); err != nil {
			return err
		}
		for i := range s.sas {
			for k := range last {
				if s.static.SAs[i].ID() == last[k].ID() && last[k].Direction == ipsecctx.Inbound {
					if err := g.merge(ctx, s, i, last[k]); err != nil {
						return err
					}
				}
			}
		}
		return nil
	})
}

// merge unites one window. An SA that has expired meanwhile has none.
func (g *Gateway) merge(ctx context.Context, s *session, i int, last ipsecctx.Dynamic) error {
	sa := &s.static.SAs[i]
	before, err := g.window(ctx, s, i)
	for range mergeRounds {
		if before == nil || err != nil {
			return err
		}
		united := ipsecctx.MergeWindows(*before, last, sa.Window)
		if _, err := g.each(ctx, []uapi.Request{s.replay(i, united, nil)}); err != nil {
			return explain("failed to write a window", err)
		}
		after, err := g.window(ctx, s, i)
		if after == nil || err != nil {
			return err
		}
		forgotten := int64(after.Used.Packets-before.Used.Packets) - int64(news(&united, after))
		if sa.Window == 0 || forgotten <= 0 {
			return nil
		}
		for range mergeWaits {
			if after.Sequence > united.Sequence {
				break // what was forgotten lies before this
			}
			g.pause()
			if after, err = g.window(ctx, s, i); after == nil || err != nil {
				return err
			}
		}
		last = seen(sa, max(after.Sequence, united.Sequence+uint64(forgotten)))
		before = after
	}
	return g.leap(ctx, s, i, before, last.Sequence)
}

// leap moves a window past all numbers that packets can get to while it is written,
// from the one that they had got to when it was read. How many came in between tells
// whether it was far enough.
func (g *Gateway) leap(ctx context.Context, s *session, i int, before *ipsecctx.Dynamic, reached uint64) error {
	sa := &s.static.SAs[i]
	for ahead := uint64(leapLeast); ahead <= leapMost; ahead *= 2 {
		edge := seen(sa, plus(reached, ahead))
		if _, err := g.each(ctx, []uapi.Request{s.replay(i, edge, nil)}); err != nil {
			return explain("failed to write a window", err)
		}
		after, err := g.window(ctx, s, i)
		if after == nil || err != nil {
			return err
		}
		came := after.Used.Packets - before.Used.Packets
		if came < ahead/2 {
			g.log.Info("packets came too fast to merge a window exactly: some are lost", "session", s.id, "sa", s.sas[i].id, "at_most", ahead)
			return nil
		}
		before, reached = after, max(after.Sequence, plus(reached, came))
	}
	g.log.Warn("packets came too fast to merge a window: some that were accepted in the last milliseconds could be accepted once more", "session", s.id, "sa", s.sas[i].id)
	return nil
}

// window reads the dynamic state of an inbound SA; nil = it is gone.
func (g *Gateway) window(ctx context.Context, s *session, i int) (*ipsecctx.Dynamic, error) {
	results, err := g.kernel.Batch(ctx, []uapi.Request{{Op: uapi.OpGetState, ID: s.sas[i].id}})
	defer wipeResults(results)
	if err != nil || len(results) != 1 {
		return nil, explain("failed to read a window", err)
	}
	if results[0].Err != nil {
		if isGone(results[0].Err) {
			return nil, nil
		}
		return nil, explain("failed to read a window", results[0].Err)
	}
	d := dynamicOf(&s.static.SAs[i], results[0].State, s.sas[i].heard, g.now())
	return &d, nil
}

// news counts the numbers that b has seen and a has not.
func news(a, b *ipsecctx.Dynamic) int {
	size := uint32(64 * len(b.Window))
	old := ipsecctx.MergeWindows(ipsecctx.Dynamic{Sequence: b.Sequence, Window: make([]uint64, len(b.Window))}, *a, size)
	n := 0
	for i := range b.Window {
		n += bits.OnesCount64(b.Window[i] &^ old.Window[i])
	}
	return n
}

// seen is a window that has seen every number up to edge.
func seen(sa *ipsecctx.SA, edge uint64) ipsecctx.Dynamic {
	edge = min(edge, lastNumber(sa))
	d := ipsecctx.Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Sequence: edge}
	d.Window = fullWindow(uint32(min(uint64(sa.Window), edge)))
	d.Window = append(d.Window, make([]uint64, int(words(sa))-len(d.Window))...)
	return d
}
