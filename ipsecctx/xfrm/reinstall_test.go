package xfrm

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/ipsecctx"
)

// crash ends the IKE daemon, and starts another that knows nothing.
func (b *bench) crash() {
	b.ike = &ikeDaemon{do: b.ike.do, window: b.ike.window, start: b.ike.start}
}

// TestReinstall has another IKE daemon bring the SAs of one that is gone: they go on
// where they stood, and take nothing twice.
func TestReinstall(t *testing.T) {
	w := newJudge()
	b := newBench(t, w, adopting)
	must(t, b.begin(testSession(), nil))
	must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 5}))
	b.sendDown(3)
	if got := b.receiveUp(1, 2, 5); len(got) != 3 {
		t.Fatalf("%v were taken", got)
	}
	b.crash()
	b.Disown(testID)
	b.sendDown(1)
	must(t, b.Reinstall(ctx, testID, func(context.Context) error { b.ike.install(t, testSession()); return nil }))
	b.sendDown(9)
	w.wantWire(t, 1, 2, 3, 4, 5)
	if got := b.receiveUp(2, 4, 5, 6); !slices.Equal(got, []uint64{4, 6}) {
		t.Errorf("%v were taken, want 4 and 6", got)
	}
	must(t, b.Release(ctx, testID))
	b.ike.remove()
	b.wantEmpty(t)
	w.lawful(t)
}

// TestDisowned leaves nothing of the IKE daemon's behind, neither at the session's
// end nor where nobody brings its SAs again.
func TestDisowned(t *testing.T) {
	broken := errors.New("broken")
	for name, end := range map[string]func(*bench) error{
		"released": func(b *bench) error { return b.Release(ctx, testID) },
		"not brought": func(b *bench) error {
			if err := b.Reinstall(ctx, testID, func(context.Context) error { return broken }); !errors.Is(err, broken) {
				return err
			}
			return nil
		},
	} {
		b := newBench(t, newJudge(), adopting)
		must(t, b.begin(testSession(), nil))
		b.crash()
		b.Disown(testID)
		if err := end(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.wantEmpty(t)
	}
}
