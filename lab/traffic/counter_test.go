package traffic

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var begin = time.Unix(1_000_000, 0)

const every = 10 * time.Millisecond

// at is a moment of a test, in milliseconds from its begin.
func at(ms int) time.Time { return begin.Add(time.Duration(ms) * time.Millisecond) }

func TestDirection(t *testing.T) {
	c := NewCounter(every)
	for i := range 10 {
		if number := c.Sent(at(10 * i)); number != uint64(i) {
			t.Fatalf("packet %d got the number %d", i, number)
		}
	}
	c.Refused()
	// 2 is lost; 4 to 6 are held back and come out of order; 1 comes twice.
	for _, r := range []struct{ number, ms int }{
		{0, 1}, {1, 11}, {1, 12}, {3, 31}, {5, 75}, {4, 76}, {6, 76}, {7, 77}, {8, 81}, {9, 91}, {99, 92},
	} {
		c.Received(uint64(r.number), at(r.ms))
	}
	want := Direction{
		Sent: 10, Received: 9, Lost: 1, Refused: 1, Duplicated: 1, Reordered: 1, Strange: 1,
		Blackout: 44 * time.Millisecond, Stall: every, Delay: 36 * time.Millisecond, Missing: []uint64{2},
	}
	if got := c.Direction(); !reflect.DeepEqual(got, want) {
		t.Fatalf("got  %+v\nwant %+v", got, want)
	}
	if c.Complete() {
		t.Fatal("complete with a packet lost")
	}
	c.Received(2, at(100))
	if !c.Complete() {
		t.Fatal("not complete with every packet there")
	}
}

// A flow that stops arriving is a blackout up to the last packet sent, and one
// that never began to arrive is one from the first.
func TestBlackoutAtTheEnds(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrives []int
		want    time.Duration
	}{
		{"nothing arrives", nil, 90 * time.Millisecond},
		{"only the first", []int{0}, 89 * time.Millisecond},
		{"only the last", []int{9}, 91 * time.Millisecond},
	} {
		counter := NewCounter(every)
		for i := range 10 {
			counter.Sent(at(10 * i))
		}
		for _, i := range c.arrives {
			counter.Received(uint64(i), at(10*i+1))
		}
		if got := counter.Direction().Blackout; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if d := NewCounter(every).Direction(); !reflect.DeepEqual(d, Direction{}) {
		t.Errorf("an empty flow: %+v", d)
	}
}

// When the sender stands still so does the machine, and that is no blackout;
// what is missing after it is.
func TestStallIsNoBlackout(t *testing.T) {
	c := NewCounter(every)
	for _, ms := range []int{0, 10, 20, 1020, 1030, 1040, 1050} {
		number := c.Sent(at(ms))
		if ms <= 20 || ms == 1050 {
			c.Received(number, at(ms+1))
		}
	}
	// From 21 to 1051, with an interval of 10 in place of the stall's 1000.
	if d := c.Direction(); d.Blackout != 40*time.Millisecond || d.Stall != time.Second {
		t.Fatalf("blackout %v, stall %v", d.Blackout, d.Stall)
	}
}

// Whatever arrives, each packet is received or lost, and each copy is counted once.
func TestCountsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sent := rapid.IntRange(0, 50).Draw(t, "sent")
		arrivals := rapid.SliceOf(rapid.Uint64Range(0, 60)).Draw(t, "arrivals")
		c := NewCounter(every)
		for i := range sent {
			c.Sent(at(i))
		}
		for i, number := range arrivals {
			c.Received(number, at(sent+i))
		}
		d := c.Direction()
		if d.Received+d.Lost != sent || len(d.Missing) != d.Lost || c.Complete() != (d.Lost == 0) {
			t.Fatalf("%d sent: %+v", sent, d)
		}
		if d.Received+d.Duplicated+d.Strange != len(arrivals) {
			t.Fatalf("%d arrivals: %+v", len(arrivals), d)
		}
	})
}
