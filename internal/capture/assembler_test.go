package capture

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func newAssembler() (*assembler, *int) {
	budget := maxWaiting
	return &assembler{budget: &budget}, &budget
}

// fragments cuts messages into chunks. DATA messages come one after the other;
// the fragments of I-DATA messages mix.
func fragments(t *rapid.T, messages [][]byte, iData bool) []chunk {
	tsn := rapid.Uint32().Draw(t, "initial TSN")
	var queues [][]chunk
	for i, m := range messages {
		p := place{number: 0}
		if iData {
			p.sequence = 1<<63 | uint64(i)
		}
		var queue []chunk
		for first := true; first || len(m) > 0; first = false {
			n := rapid.IntRange(1, max(1, len(m))).Draw(t, "size")
			n = min(n, len(m))
			queue = append(queue, chunk{place: p, begin: first, end: n == len(m), payload: payloadMessage, data: m[:n]})
			m, p = m[n:], p.plus(1)
		}
		queues = append(queues, queue)
	}
	var chunks []chunk
	for len(queues) > 0 {
		i := 0
		if iData {
			i = rapid.IntRange(0, len(queues)-1).Draw(t, "message")
		}
		c := queues[i][0]
		c.tsn = tsn
		if !iData {
			c.place = place{0, tsn}
		}
		chunks, tsn = append(chunks, c), tsn+1
		if queues[i] = queues[i][1:]; len(queues[i]) == 0 {
			queues = slices.Delete(queues, i, i+1)
		}
	}
	return chunks
}

// TestAssembler gives the chunks of messages in any order, some of them twice
// and some never: each message that is all there comes out once and whole.
func TestAssembler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, 40), 1, 8).Draw(t, "messages")
		chunks := fragments(t, messages, rapid.Bool().Draw(t, "I-DATA"))
		all := len(chunks)
		chunks = rapid.Permutation(chunks).Draw(t, "order")
		missing := rapid.IntRange(0, min(2, all)).Draw(t, "missing")
		gone := chunks[all-missing:]
		chunks = slices.Clone(chunks[:all-missing])
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, all), 0, 5).Draw(t, "repeated") {
			if i < len(chunks) {
				chunks = append(chunks, chunks[i])
			}
		}

		a, budget := newAssembler()
		var got []string
		for _, c := range chunks {
			if !a.fresh(c.tsn) {
				continue
			}
			if whole, ok := a.add(c); ok {
				if whole.payload != payloadMessage {
					t.Fatalf("payload %x", whole.payload)
				}
				got = append(got, string(whole.data))
			}
		}
		waiting := uint64(len(a.waiting))
		a.drop()
		if *budget != maxWaiting || a.lost != waiting {
			t.Errorf("%d octets of the budget are gone; %d fragments waited, %d are lost", maxWaiting-*budget, waiting, a.lost)
		}
		if missing == 0 && (waiting > 0 || len(got) != len(messages)) {
			t.Errorf("%d messages of %d, %d fragments wait", len(got), len(messages), waiting)
		}
		want := complete(messages, gone)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// complete are the messages of which no octet is in what is gone. Fragments
// alias their message.
func complete(messages [][]byte, gone []chunk) (all []string) {
	for _, m := range messages {
		if !slices.ContainsFunc(gone, func(c chunk) bool { return within(c.data, m) }) {
			all = append(all, string(m))
		}
	}
	return all
}

func within(part, whole []byte) bool {
	for i := range whole {
		if &whole[i] == &part[0] {
			return true
		}
	}
	return false
}

func TestRepetition(t *testing.T) {
	a, _ := newAssembler()
	for _, test := range []struct {
		tsn  uint32
		want bool
	}{
		{0xfffffffe, true}, {0xfffffffe, false}, {0xfffffffd, true}, // before the first that was captured
		{1, true}, {0, true}, {0, false}, {0xffffffff, true}, {1, false},
		{windowSize, true}, {2, true}, {0, false}, {0xfffffff0, false}, // too old to be known
		{3 * windowSize, true}, {3*windowSize - 1, true}, {2*windowSize + 1, true}, {2 * windowSize, false},
		{4*windowSize - 1, true}, {3*windowSize - 1, false}, {3 * windowSize, false},
	} {
		if got := a.fresh(test.tsn); got != test.want {
			t.Errorf("TSN %#x is fresh: %v", test.tsn, got)
		}
	}
	a.waiting = map[place]chunk{{}: {}}
	a.begin(7)
	for _, want := range []bool{true, false} {
		if got := a.fresh(7); got != want {
			t.Errorf("after a new beginning, TSN 7 is fresh: %v, want %v", got, want)
		}
		a.begin(7)
	}
	if len(a.waiting) != 0 || a.lost != 1 {
		t.Error("fragments of the association before are still there")
	}
}

// TestNewAssociation has INIT chunks: repeated ones change nothing, others begin
// an association, whose TSNs may have been there before.
func TestNewAssociation(t *testing.T) {
	initial := func(tsn byte) []byte { return []byte{1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, tsn} }
	data := func(tsn byte) []byte { return []byte{0, 7, 0, 16, 0, 0, 0, tsn, 0, 0, 0, 0, 0x43, 0x58, 0x54, 0x50} }
	d := newDecoder(Options{}, func(Message) error { return nil })
	from := &end{arrived: assembler{budget: &d.routes.waiting}}
	for i, test := range []struct {
		chunk []byte
		want  uint64 // messages by then
	}{
		{initial(100), 0}, {data(100), 1}, {initial(100), 1}, {data(100), 1}, {data(101), 2},
		{initial(99), 2}, {data(99), 3}, {data(100), 4}, {data(100), 4},
	} {
		packet := append([]byte{0x13, 0x88, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0}, test.chunk...)
		if err := d.packet(frame{}, datagram{}, from, packet); err != nil {
			t.Fatal(err)
		}
		if d.summary.RouterMessages != test.want {
			t.Errorf("after chunk %d, there are %d messages, want %d", i, d.summary.RouterMessages, test.want)
		}
	}
	if d.summary.Control != 3 || d.summary.Repeated != 2 {
		t.Errorf("summary %q", d.summary.Sentences())
	}
}

// TestBudget has more fragments wait than there may.
func TestBudget(t *testing.T) {
	a, budget := newAssembler()
	big := make([]byte, 60_000)
	sent := uint64(0)
	for ; a.lost == 0; sent++ {
		if a.add(chunk{place: place{0, uint32(3 * sent)}, begin: true, data: big}); *budget < 0 || sent > 1000 {
			t.Fatalf("after %d fragments, %d octets of the budget are left", sent, *budget)
		}
	}
	if a.lost != sent-1 || len(a.waiting) != 1 {
		t.Errorf("of %d fragments, %d are lost and %d wait", sent, a.lost, len(a.waiting))
	}
	// Another association that finds nothing left loses what is its own.
	other := &assembler{budget: budget}
	*budget = 100
	if _, ok := other.add(chunk{begin: true, data: big}); ok || other.lost != 1 || *budget != 100 || len(other.waiting) != 0 {
		t.Errorf("%d fragments are lost, %d octets are left", other.lost, *budget)
	}
	if whole, ok := other.add(chunk{begin: true, end: true, data: big}); !ok || len(whole.data) != len(big) {
		t.Error("a message that is whole needs a budget")
	}
}

// TestManyFragments has a message of more fragments than one can have.
func TestManyFragments(t *testing.T) {
	for n, want := range map[int]bool{maxFragments: true, maxFragments + 1: false} {
		for _, order := range []string{"forward", "backward"} {
			a, _ := newAssembler()
			done := false
			for i := range n {
				if order == "backward" {
					i = n - 1 - i
				}
				whole, ok := a.add(chunk{place: place{0, uint32(i)}, begin: i == 0, end: i == n-1, data: []byte{byte(i)}})
				done = done || ok && bytes.Equal(whole.data[:3], []byte{0, 1, 2}) && len(whole.data) == n
			}
			if done != want {
				t.Errorf("%d fragments, %s: %v", n, order, done)
			}
		}
	}
}
