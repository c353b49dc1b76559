package xfrm

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// slow is a kernel whose batches wait until they are let go.
type slow struct {
	kernel
	batches chan []uapi.Request
	answer  chan error
}

func (s *slow) Batch(_ context.Context, requests []uapi.Request) ([]uapi.Result, error) {
	s.batches <- requests
	err := <-s.answer
	if err != nil {
		return nil, err
	}
	results := make([]uapi.Result, len(requests))
	for i, r := range requests {
		results[i].State = &uapi.State{SPI: r.ID.SPI}
	}
	return results, nil
}

// ask makes n requests, which a caller's number names, and checks the answers.
func ask(g *gatherer, caller, n int) error {
	var requests []uapi.Request
	for i := range n {
		requests = append(requests, uapi.Request{Op: uapi.OpGetState, ID: uapi.StateID{SPI: uint32(1000*caller + i)}})
	}
	results, err := g.Batch(ctx, requests)
	if err != nil {
		return err
	}
	for i, r := range results {
		if len(results) != n || r.State.SPI != requests[i].ID.SPI {
			return errors.New("another caller's answer")
		}
	}
	return nil
}

// TestGather sends together what came while the kernel was busy, as much of it as
// is allowed, in the order in which it came, and gives each caller its own.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &slow{batches: make(chan []uapi.Request), answer: make(chan error)}
		g := newGatherer(k)
		done := make(chan error, 20)
		start := func(caller, n int) {
			go func() { done <- ask(g, caller, n) }()
			synctest.Wait()
		}
		round := func(want int, first uint32, err error) {
			t.Helper()
			if got := <-k.batches; len(got) != want || got[0].ID.SPI != first {
				t.Errorf("sent %d requests from %d on, want %d from %d on", len(got), got[0].ID.SPI, want, first)
			}
			k.answer <- err
			synctest.Wait()
		}
		start(1, 3)
		for caller := 2; caller <= 5; caller++ {
			start(caller, 60)
		}
		start(6, gatherMost+1)
		round(3, 1000, nil)
		round(180, 2000, nil)
		start(7, 1)
		round(60, 5000, nil)
		round(gatherMost+1, 6000, nil)
		broken := errors.New("broken")
		round(1, 7000, broken)
		for caller := 1; caller <= 7; caller++ {
			if err := <-done; err != nil && !errors.Is(err, broken) {
				t.Error(err)
			}
		}
		start(8, 2)
		round(2, 8000, nil)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
