package demo

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestFlow plays every fate that a packet can have.
func TestFlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFlow()
		for range 6 {
			f.next()
		}
		arrive := func(numbers ...uint64) {
			for _, n := range numbers {
				time.Sleep(time.Millisecond)
				f.arrived(n, time.Now())
			}
		}
		arrive(0, 1, 2, 2, 4, 7)
		f.replaying(4)
		time.Sleep(9 * time.Millisecond)
		arrive(4)
		want := FlowFigures{Sent: 6, Lost: 3, Duplicated: 1, Replayed: 1, LongestGap: 11}
		if got := f.total(); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if !f.has(4) || f.has(3) || f.has(0) || f.has(7) {
			t.Fatal("has is wrong about what has arrived")
		}
		start := time.Now()
		cut, figures := f.cut(t.Context(), flowCut{})
		if figures != want || time.Since(start) < drainQuiet {
			t.Fatalf("got %+v after %v, want %+v and patience with what is missing", figures, time.Since(start), want)
		}

		number := f.next()
		go func() {
			time.Sleep(20 * time.Millisecond)
			f.arrived(number, time.Now())
		}()
		start = time.Now()
		_, figures = f.cut(t.Context(), cut)
		if figures.Sent != 1 || figures.Lost != 0 || figures.Duplicated != 0 || figures.Replayed != 0 {
			t.Fatalf("the second stretch has figures of the first: %+v", figures)
		}
		if took := time.Since(start); took > 30*time.Millisecond {
			t.Fatalf("waited %v for a packet that took 20 ms", took)
		}
	})
}

// TestPace checks the rate, and that a machine that stood still sees no flood.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent := 0
		pace(ctx, 400, func() {
			if sent++; sent == 100 {
				time.Sleep(500 * time.Millisecond)
			}
		})
		if sent < 195 || sent > 210 {
			t.Fatalf("%d packets in the half second that was left at 400 a second", sent)
		}
	})
}
