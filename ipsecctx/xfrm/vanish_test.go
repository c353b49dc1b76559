package xfrm

import (
	"context"
	"iter"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// vanishing is a bench that notes what its gateway tells of vanished SAs.
func vanishing(t *testing.T) (b *bench, told *[]string) {
	told = new([]string)
	return newBench(t, newJudge(), func(c *Config) {
		c.Vanished = func(id cxtp.SessionID, why string) { *told = append(*told, id.String()+" "+why) }
	}), told
}

// TestVanished deletes SAs behind the gateway's back. It is told when a direction
// has none left, of sessions that are active.
func TestVanished(t *testing.T) {
	toNode := func(st *uapi.State) bool { return st.Dst == node }
	for _, c := range []struct {
		name   string
		before func(b *bench)
		goes   func(*uapi.State) bool
		want   string // of what is told
	}{
		{"nothing", func(*bench) {}, func(*uapi.State) bool { return false }, ""},
		{"all", func(*bench) {}, func(*uapi.State) bool { return true }, "outbound"},
		{"outbound", func(*bench) {}, toNode, "outbound"},
		{"inbound", func(*bench) {}, func(st *uapi.State) bool { return !toNode(st) }, "inbound"},
		{"one generation", func(*bench) {}, func(st *uapi.State) bool { return st.SPI == spiToNode || st.SPI == spiToGate }, ""},
		{"frozen", func(b *bench) { _, err := b.Freeze(ctx, testID); must(b.t, err) }, toNode, ""},
		{"staged", func(b *bench) {
			must(b.t, b.Release(ctx, testID))
			must(b.t, b.Stage(ctx, testID, rekeyed()))
		}, toNode, ""},
		{"released", func(b *bench) { must(b.t, b.Release(ctx, testID)) }, toNode, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, told := vanishing(t)
			must(t, b.Install(ctx, testID, rekeyed(), nil))
			c.before(b)
			maps.DeleteFunc(b.kernel.states, func(_ uapi.StateID, st *uapi.State) bool { return c.goes(st) })
			must(t, b.look(ctx))
			if got := strings.Join(*told, "; "); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

// TestVanishedInTime runs the gateway, which looks by itself, and again.
func TestVanishedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan string)
		b := newBench(t, newJudge(), func(c *Config) { c.Vanished = func(_ cxtp.SessionID, why string) { told <- why } })
		must(t, b.Install(ctx, testID, testSession(), nil))
		watch, stop := context.WithCancel(ctx)
		done := make(chan error)
		go func() { done <- b.Run(watch) }()
		b.kernel.mu.Lock()
		clear(b.kernel.states)
		b.kernel.mu.Unlock()
		<-told
		<-told
		stop()
		must(t, <-done)
	})
}

// dumped is a kernel that says when a dump has ended.
type dumped struct {
	kernel
	end func()
}

func (k dumped) States(ctx context.Context, f uapi.Filter) iter.Seq2[*uapi.State, error] {
	return func(yield func(*uapi.State, error) bool) {
		k.kernel.States(ctx, f)(yield)
		k.end()
	}
}

// TestNothingVanishes looks in the instant in which a freeze has taken the SAs out.
func TestNothingVanishes(t *testing.T) {
	b, told := vanishing(t)
	must(t, b.Install(ctx, testID, testSession(), nil))
	seen, looked := make(chan struct{}), make(chan error, 1)
	b.Gateway.kernel = dumped{b.Gateway.kernel, func() { close(seen) }}
	b.kernel.stray = func(_ int, r uapi.Request) {
		if r.Op != uapi.OpAddState {
			return
		}
		b.kernel.stray = nil
		go func() { looked <- b.look(ctx) }()
		<-seen
	}
	_, err := b.Freeze(ctx, testID)
	must(t, err)
	must(t, <-looked)
	must(t, b.Thaw(ctx, testID, ipsecctx.Ceilings{}))
	if len(*told) > 0 {
		t.Errorf("told %q", *told)
	}
}
