package demo

import (
	"context"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
)

// sabotage returns what stands between the daemon and its features so that a
// guard is missing; nil where the guard is elsewhere.
func sabotage(b Break) func(features.Feature) features.Feature {
	switch b {
	case BreakFreeze:
		return func(f features.Feature) features.Feature { return &noFreeze{Feature: f} }
	case BreakCounters:
		return func(f features.Feature) features.Feature { return &noCounters{Feature: f} }
	}
	return nil
}

// noFreeze is a gateway that reads its counters and sends on.
type noFreeze struct {
	features.Feature
	mu    sync.Mutex
	taken features.Snapshot // a copy: the machine wipes its own
}

// Freeze reads the dynamic state and stops nothing.
func (f *noFreeze) Freeze(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	s, err := f.Feature.Freeze(ctx, ref)
	if err != nil {
		return s, err
	}
	f.mu.Lock()
	f.taken = copySnapshot(s)
	f.mu.Unlock()
	return s, f.Feature.Thaw(ctx, ref, nil)
}

// Redirect has nothing to redirect: packets are sent as if nothing had happened.
func (f *noFreeze) Redirect(context.Context, features.Ref, cxtp.RouterID) error { return nil }

// Close gives the windows as they were when the counters were read: the packets
// that are accepted after that can be replayed at the other gateway, which is
// one more thing that the missing freeze does.
func (f *noFreeze) Close(context.Context, features.Ref) (features.Snapshot, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return copySnapshot(f.taken), nil
}

// noCounters is a gateway that hands over the outbound sequence numbers of the
// time when it staged.
type noCounters struct {
	features.Feature
	mu     sync.Mutex
	staged []cxtp.ManifestEntry
}

// Export remembers the sequence numbers.
func (f *noCounters) Export(ctx context.Context, ref features.Ref, types []cxtp.FPT) (features.Snapshot, error) {
	s, err := f.Feature.Export(ctx, ref, types)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.staged = append([]cxtp.ManifestEntry(nil), s.Manifest...)
	return s, err
}

// Freeze stops the SAs, and then says the wrong thing.
func (f *noCounters) Freeze(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	s, err := f.Feature.Freeze(ctx, ref)
	if err != nil {
		return s, err
	}
	dynamic, err := ipsecctx.DecodeDynamic(s.Blocks)
	if err != nil {
		return s, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range dynamic {
		d := &dynamic[i]
		for _, m := range f.staged {
			if d.Direction == ipsecctx.Outbound && m.SPI == d.SPI && m.Direction == uint8(d.Direction) {
				d.Sequence = m.Ceiling
			}
		}
	}
	s.Blocks, err = ipsecctx.EncodeDynamic(dynamic)
	return s, err
}

func copySnapshot(s features.Snapshot) features.Snapshot {
	c := features.Snapshot{Manifest: s.Manifest}
	for _, b := range s.Blocks {
		b.Data = append([]byte(nil), b.Data...)
		c.Blocks = append(c.Blocks, b)
	}
	return c
}
