package cxtp

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"time"
)

// Limits of what anybody may make a router do. RFC 4067 section 6.3 wants CTARs
// limited to CT_REQUEST_RATE and, above it, dropped at random; how the rate is
// read here is I-25 of rfc/interpretations.md.
const (
	// DefaultRequestRate is CT_REQUEST_RATE, in CTARs a second, of one source.
	DefaultRequestRate = 10
	// DefaultRequestTotal bounds the CTARs a second of all sources together,
	// twice: those for sessions that are here, which cost a check of a token,
	// and those for others, which cost a CT-Req and its answer.
	DefaultRequestTotal = 1000
	// DefaultMaxSessions bounds the sessions that came from one peer.
	DefaultMaxSessions = 100_000
)

// maxSources bounds the sources that are told apart. Of more than that at a
// time, most are invented, and the total decides alone.
const maxSources = 4096

// limiter decides which CTARs are looked at. It costs each of them the same and
// knows nothing of tokens: a source that floods loses its own requests first.
type limiter struct {
	rate    uint32
	sources map[netip.Prefix]*throttle
	swept   time.Time
	here    throttle // for sessions that are here
	absent  throttle
	total   uint32
	random  *rand.Rand
}

// newLimiter seeds the choice of what is dropped from random.
func newLimiter(rate, total int, random io.Reader) (*limiter, error) {
	var seed [32]byte
	if random != nil {
		if _, err := io.ReadFull(random, seed[:]); err != nil {
			return nil, fmt.Errorf("no random numbers: %w", err)
		}
	}
	return &limiter{
		rate: uint32(rate), total: uint32(total),
		sources: map[netip.Prefix]*throttle{}, random: rand.New(rand.NewChaCha8(seed)),
	}, nil
}

// passes reports whether a CTAR from a source is to be looked at.
func (l *limiter) passes(now time.Time, source netip.Addr, here bool) bool {
	if t := l.source(now, source); t != nil && !t.passes(now, l.rate, l.random) {
		return false
	}
	if here {
		return l.here.passes(now, l.total, l.random)
	}
	return l.absent.passes(now, l.total, l.random)
}

// source is the throttle of a source: an IPv4 address, or the /64 that an IPv6
// node has to itself. nil when there are too many.
func (l *limiter) source(now time.Time, addr netip.Addr) *throttle {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	key, err := addr.Prefix(bits)
	if err != nil {
		return nil // not an address: only a test has none
	}
	if t := l.sources[key]; t != nil {
		return t
	}
	if len(l.sources) >= maxSources {
		l.sweep(now)
	}
	if len(l.sources) >= maxSources {
		return nil
	}
	t := &throttle{}
	l.sources[key] = t
	return t
}

// sweep forgets sources that have been silent for so long that a fresh throttle
// says the same; once a second at most.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < time.Second {
		return
	}
	l.swept = now
	for key, t := range l.sources {
		if now.Sub(t.start) >= 2*time.Second {
			delete(l.sources, key)
		}
	}
}

// throttle counts what comes in windows of a second, and lets about limit of
// them pass: every one while fewer come, and above that each with the same
// chance, so that whoever sends most gets most dropped.
type throttle struct {
	start  time.Time
	before uint32 // came in the window before
	count  uint32 // came in this one
	passed uint32
}

func (t *throttle) passes(now time.Time, limit uint32, random *rand.Rand) bool {
	switch age := now.Sub(t.start); {
	case age >= 2*time.Second:
		*t = throttle{start: now}
	case age >= time.Second:
		*t = throttle{start: t.start.Add(time.Second), before: t.count}
	}
	// What came in the last second: the end of the window before, and this one.
	left := time.Second - now.Sub(t.start)
	rate := t.count + uint32(int64(t.before)*int64(left)/int64(time.Second))
	t.count++
	if t.passed >= 2*limit {
		return false // a flood that has only just begun
	}
	if rate > limit && random.Uint32N(rate) >= limit {
		return false
	}
	t.passed++
	return true
}
