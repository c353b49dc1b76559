package transport

import (
	"errors"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A queue behaves as a plain list would that is searched for stale messages, and
// never holds more than its limit.
func TestQueueAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 2000
		q := queue{limit: limit}
		now := time.Unix(0, 0)
		var model []message
		size := func() (sum int) {
			for _, m := range model {
				sum += len(m.data) + queueOverhead
			}
			return sum
		}
		expire := func() int {
			before := len(model)
			model = slices.DeleteFunc(model, func(m message) bool { return m.stale(now) })
			return before - len(model)
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				data := rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "data")
				var expires time.Time
				if ttl := rapid.IntRange(0, 5).Draw(t, "ttl"); ttl > 0 {
					expires = now.Add(time.Duration(ttl))
				}
				var want int
				if size()+len(data)+queueOverhead > limit {
					want = expire()
				}
				fits := size()+len(data)+queueOverhead <= limit
				expired, err := q.push(data, expires, now)
				if expired != want || (err == nil) != fits || !fits && !errors.Is(err, ErrQueueFull) {
					t.Fatalf("push: %d expired, %v; want %d, fits %v", expired, err, want, fits)
				}
				if fits {
					model = append(model, message{slices.Clone(data), expires})
					clear(data) // the queue has its own copy
				}
			},
			"pop": func(t *rapid.T) {
				if q.empty() {
					return
				}
				front := q.front()
				if !slices.Equal(front.data, model[0].data) {
					t.Fatalf("front is %x, want %x", front.data, model[0].data)
				}
				q.pop()
				if slices.ContainsFunc(front.data, func(b byte) bool { return b != 0 }) {
					t.Fatal("a message that left is not wiped")
				}
				model = model[1:]
			},
			"expire": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 3).Draw(t, "later")))
				if got, want := q.expire(now), expire(); got != want {
					t.Fatalf("%d expired, want %d", got, want)
				}
			},
			"": func(t *rapid.T) {
				if q.octets != size() || q.octets > limit || len(q.items) != len(model) || q.empty() != (len(model) == 0) {
					t.Fatalf("%d messages of %d octets, want %d of %d", len(q.items), q.octets, len(model), size())
				}
			},
		})
		q.wipe()
		if q.octets != 0 || !q.empty() {
			t.Fatalf("%d octets left", q.octets)
		}
	})
}
