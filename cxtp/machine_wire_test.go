package cxtp

import (
	"testing"
	"time"
)

// TestConstants: the numbers of RFC 4067 and RFC 4065 that no vector shows.
func TestConstants(t *testing.T) {
	timers := DefaultTimers()
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"BAD_CHECKSUM", StatusBadChecksum, Status(1)},
		{"CT_REQUEST_RATE", DefaultRequestRate, 10},
		{"CT_MAX_TRANSFER_TIME", timers.MaxTransfer, 200 * time.Millisecond},
		{"CT_REQUEST_RETRY", DefaultRequestRetry, 2 * time.Second},
		{"CT_RETRY_MAX", DefaultRetryMax, 15 * time.Second},
		{"FPT of the multicast listener context", FPTMulticastListener, FPT(1)},
		{"HMAC_SHA1", AlgorithmHMACSHA1, Algorithm(1)},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
}

// stopwatch compares the Elapsed Time of every CTD with the clock.
type stopwatch struct {
	network
	world *world
	first time.Time
	seen  map[string]int
}

func (p *stopwatch) deliver(from, to RouterID, m Message) []time.Duration {
	if ctd, ok := m.(*CTD); ok {
		if p.first.IsZero() {
			p.first = p.world.now
		}
		if want := p.world.now.Sub(p.first).Milliseconds(); int64(ctd.Elapsed) != want {
			p.world.t.Errorf("a %s is sent after %d ms and says %d", kind(m), want, ctd.Elapsed)
		}
		p.seen[kind(m)]++
	}
	return p.network.deliver(from, to, m)
}

// TestElapsedTime: a CTD says how long ago the first one of its transfer was sent
// (RFC 4067 section 2.5.3).
func TestElapsedTime(t *testing.T) {
	s := newScript(t, "A", "B")
	s.dropNext["stage"], s.dropNext["final"] = 2, 1
	w := s.world
	watch := &stopwatch{network: s, world: w, seen: map[string]int{}}
	w.net = watch
	w.start()
	ses := w.newSession("s1", 0, false)
	w.adopt(ses, "A", 0, false)
	w.advance(time.Second)
	w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
	w.advance(time.Second)
	if watch.seen["stage"] != 3 || watch.seen["final"] != 2 || watch.seen["closed"] == 0 {
		t.Errorf("there were %v", watch.seen)
	}
}

// TestAnswerFitsOnePacket: a request for as many unknown context types as a packet
// to a router has room for gets an answer that fits into a packet as well (RFC 4067
// section 3.2), over ICMP as over UDP.
func TestAnswerFitsOnePacket(t *testing.T) {
	const room = 1280 - 40 - 8 // IPv6's smallest MTU without the headers
	s := newScript(t, "A", "B")
	w := s.world
	w.start()
	ses := w.newSession("s1", 1, false)
	w.adopt(ses, "A", 1, false)
	w.settle()
	ses.types = []FPT{FPTIPsecSA}
	for size := 20 + SessionNameBlock(ses.id).Size() + 4; size+4 <= room; size += 4 {
		ses.types = append(ses.types, 0x1000+FPT(size))
	}
	w.ask(ses, "B", "A", 7)
	w.advance(3 * time.Second)
	octets := func(m Message) int {
		text, err := m.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
	if got := octets(w.last(t, "ctar")); got > room || got+4 <= room {
		t.Fatalf("the request has %d octets, a packet %d", got, room)
	}
	answer := w.last(t, "ctaa").(*CTAA)
	if got, unknown := octets(answer), len(ses.types)-1; got > room || len(answer.Failed) != unknown {
		t.Errorf("of %d unknown types %d are in an answer of %d octets; a packet has %d", unknown, len(answer.Failed), got, room)
	}
	if err := w.err(); err != nil {
		t.Error(err)
	}
}
