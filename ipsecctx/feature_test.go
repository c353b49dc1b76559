package ipsecctx

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// fakeBackend records what it is asked and answers with what the test sets.
type fakeBackend struct {
	mu       sync.Mutex
	calls    []string
	session  *Session  // what Export gives
	dynamic  []Dynamic // what Export, Freeze and Close give
	staged   *Session  // what Stage was given, cloned
	started  []Dynamic // what Activate was given
	merged   []Dynamic
	err      error // of every call but Supports
	supports error
	hold     chan struct{} // where not nil, Freeze waits for it
}

func (b *fakeBackend) call(format string, args ...any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, fmt.Sprintf(format, args...))
	return b.err
}

// since gives the calls since the last time.
func (b *fakeBackend) since() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	calls := b.calls
	b.calls = nil
	return calls
}

func (b *fakeBackend) Supports(*SA) error { return b.supports }

func (b *fakeBackend) Export(context.Context, cxtp.SessionID) (*Session, []Dynamic, error) {
	return b.session, b.dynamic, b.call("export")
}

func (b *fakeBackend) Stage(_ context.Context, _ cxtp.SessionID, s *Session) error {
	b.staged = s.Clone()
	return b.call("stage")
}

func (b *fakeBackend) Freeze(context.Context, cxtp.SessionID) ([]Dynamic, error) {
	if b.hold != nil {
		<-b.hold
	}
	return b.dynamic, b.call("freeze")
}

func (b *fakeBackend) Activate(_ context.Context, _ cxtp.SessionID, d []Dynamic) error {
	b.started = d
	return b.call("activate")
}

func (b *fakeBackend) Thaw(context.Context, cxtp.SessionID) error { return b.call("thaw") }

func (b *fakeBackend) Redirect(_ context.Context, _ cxtp.SessionID, to cxtp.RouterID) error {
	return b.call("redirect %s", to)
}

func (b *fakeBackend) Close(context.Context, cxtp.SessionID) ([]Dynamic, error) {
	return b.dynamic, b.call("close")
}

func (b *fakeBackend) Merge(_ context.Context, _ cxtp.SessionID, d []Dynamic) error {
	b.merged = d
	return b.call("merge")
}

func (b *fakeBackend) Release(context.Context, cxtp.SessionID) error { return b.call("release") }
func (b *fakeBackend) Discard(context.Context, cxtp.SessionID) error { return b.call("discard") }

func newFake() *fakeBackend {
	return &fakeBackend{session: testSession(), dynamic: testDynamic()}
}

func ref(epoch cxtp.Epoch) features.Ref {
	return features.Ref{Session: cxtp.SessionID{7}, Epoch: epoch}
}

// exported is the staging that the test session makes, with room for packets up
// to the ceiling.
func exported(t *testing.T) features.Staging {
	t.Helper()
	snapshot, err := NewFeature(newFake(), Options{}).Export(t.Context(), ref(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range snapshot.Manifest {
		if snapshot.Manifest[i].Direction == uint8(Outbound) {
			snapshot.Manifest[i].Ceiling += 1000
		}
	}
	return features.Staging{Blocks: snapshot.Blocks, Manifest: snapshot.Manifest}
}

func encodeDynamic(t *testing.T, d []Dynamic) []cxtp.CDB {
	t.Helper()
	blocks, err := EncodeDynamic(d)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// TestMove takes a session from one feature to another and looks at what
// arrives; every operation is repeated, and must not reach the backend twice.
func TestMove(t *testing.T) {
	ctx := t.Context()
	pAR, nAR := newFake(), newFake()
	from, to := NewFeature(pAR, Options{}), NewFeature(nAR, Options{})
	twice := func(name string, op func() error) {
		t.Helper()
		for range 2 {
			if err := op(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	read := func(name string, op func(context.Context, features.Ref) (features.Snapshot, error)) features.Snapshot {
		t.Helper()
		first, err := op(ctx, ref(1))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The source may have counted on, and the machine may have wiped its copy.
		kept := copySnapshot(first)
		pAR.dynamic = testDynamic()
		pAR.dynamic[1].Sequence++
		for _, b := range first.Blocks {
			clear(b.Data)
		}
		again, err := op(ctx, ref(1))
		if err != nil || !reflect.DeepEqual(again, kept) {
			t.Fatalf("%s again: error %v, or another answer", name, err)
		}
		pAR.dynamic = testDynamic()
		return kept
	}
	static := read("export", from.Export)
	twice("stage", func() error {
		return to.Stage(ctx, ref(1), features.Staging{Blocks: static.Blocks, Manifest: static.Manifest})
	})
	final := read("freeze", from.Freeze)
	twice("activate", func() error { return to.Activate(ctx, ref(1), final.Blocks) })
	twice("redirect", func() error { return from.Redirect(ctx, ref(1), "sg2") })
	last := read("close", from.Close)
	if len(last.Blocks) != 1 || len(last.Manifest) != 1 {
		t.Errorf("closed with %d blocks, want the inbound SA alone", len(last.Blocks))
	}
	twice("merge", func() error { return to.Merge(ctx, ref(1), last.Blocks) })
	twice("release", func() error { return from.Release(ctx, ref(1)) })

	if want := []string{"export", "freeze", "redirect sg2", "close", "release"}; !slices.Equal(pAR.since(), want) {
		t.Errorf("source was not asked for %v once each", want)
	}
	if want := []string{"stage", "activate", "merge"}; !slices.Equal(nAR.since(), want) {
		t.Errorf("target was not asked for %v once each", want)
	}
	if !reflect.DeepEqual(normal(nAR.staged), normal(testSession())) {
		t.Error("another session was staged than exported")
	}
	if !reflect.DeepEqual(nAR.started, testDynamic()) {
		t.Errorf("started at %+v", nAR.started)
	}
	if !reflect.DeepEqual(nAR.merged, testDynamic()[:1]) {
		t.Errorf("merged %+v, want the inbound SA alone", nAR.merged)
	}
	if want := Manifest(testSession(), testDynamic()); !reflect.DeepEqual(final.Manifest, want) {
		t.Errorf("final's manifest %+v, want %+v", final.Manifest, want)
	}
}

// TestStageRefuses: nothing that is refused reaches the backend, and the answer
// stays the same.
func TestStageRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*features.Staging, *fakeBackend, *Options)
		want   cxtp.Status
	}{
		{"truncated block", func(s *features.Staging, _ *fakeBackend, _ *Options) { s.Blocks[1].Data = s.Blocks[1].Data[:20] }, cxtp.StatusMalformed},
		{"critical extension", func(s *features.Staging, _ *fakeBackend, _ *Options) {
			s.Blocks[1].Presence |= bit(bitExtensions)
			s.Blocks[1].Data = append(slices.Clone(s.Blocks[1].Data), 0, 4, 0x80, 1, 0, 0)
		}, cxtp.StatusUnknownCritical},
		{"reserved SPI", func(s *features.Staging, _ *fakeBackend, _ *Options) {
			s.Blocks[1].Data[1], s.Blocks[1].Data[4] = 0, 255
		}, cxtp.StatusMalformed},
		{"SA that the manifest lacks", func(s *features.Staging, _ *fakeBackend, _ *Options) { s.Manifest = s.Manifest[:1] }, cxtp.StatusMalformed},
		{"SA that the context lacks", func(s *features.Staging, _ *fakeBackend, _ *Options) {
			s.Manifest = append(s.Manifest, ID{Inbound, ESP, 999}.manifest(0))
		}, cxtp.StatusMalformed},
		{"manifest without a context", func(s *features.Staging, _ *fakeBackend, _ *Options) { s.Blocks = nil }, cxtp.StatusMalformed},
		{"gateway without the transform", func(_ *features.Staging, b *fakeBackend, _ *Options) {
			b.supports = refusal(cxtp.FPTIPsecSA, cxtp.StatusAlgorithm, "no GCM here")
		}, cxtp.StatusAlgorithm},
		{"gateway without an address", func(_ *features.Staging, _ *fakeBackend, o *Options) {
			o.LocalEndpoint = func(netip.Addr) (netip.Addr, uint16) { return netip.Addr{}, 0 }
		}, cxtp.StatusUnsupported},
		{"gateway with an address of another family", func(_ *features.Staging, _ *fakeBackend, o *Options) {
			o.LocalEndpoint = func(netip.Addr) (netip.Addr, uint16) { return netip.IPv6LinkLocalAllRouters(), 0 }
		}, cxtp.StatusUnsupported},
		{"transport mode at another address", func(s *features.Staging, _ *fakeBackend, o *Options) {
			session := testSession()
			session.SAs[0].Mode, session.SAs[1].Mode = Transport, Transport
			var err error
			if s.Blocks, err = EncodeSession(session); err != nil {
				t.Fatal(err)
			}
			o.LocalEndpoint = func(netip.Addr) (netip.Addr, uint16) { return netip.MustParseAddr("192.0.2.2"), 0 }
		}, cxtp.StatusUnsupported},
	} {
		st, b, o := exported(t), newFake(), Options{}
		c.change(&st, b, &o)
		f := NewFeature(b, o)
		if err := f.Stage(t.Context(), ref(1), st); status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
		b.supports = nil
		if err := f.Stage(t.Context(), ref(1), exported(t)); status(err) != c.want {
			t.Errorf("%s, asked again: status %v, want the first answer", c.name, status(err))
		}
		if calls := b.since(); len(calls) > 0 {
			t.Errorf("%s: the backend was asked for %v", c.name, calls)
		}
	}
}

func TestStageTakesThisGatewaysEndpoint(t *testing.T) {
	b := newFake()
	f := NewFeature(b, Options{LocalEndpoint: func(remote netip.Addr) (netip.Addr, uint16) {
		if remote != netip.MustParseAddr("198.51.100.9") {
			t.Errorf("asked for the endpoint towards %s", remote)
		}
		return netip.MustParseAddr("192.0.2.2"), 4501
	}})
	if err := f.Stage(t.Context(), ref(1), exported(t)); err != nil {
		t.Fatal(err)
	}
	for _, sa := range b.staged.SAs {
		if sa.Local.String() != "192.0.2.2" || sa.Encap != (Encap{4501, 61234}) || sa.Remote.String() != "198.51.100.9" {
			t.Errorf("staged between %s and %s, %+v", sa.Local, sa.Remote, sa.Encap)
		}
	}
}

func TestActivateWantsItsBase(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name   string
		change func([]Dynamic) []Dynamic
		want   cxtp.Status
	}{
		{"an SA is missing", func(d []Dynamic) []Dynamic { return d[:1] }, cxtp.StatusNoBase},
		{"an SA too many", func(d []Dynamic) []Dynamic { return append(d, Dynamic{Direction: Outbound, Protocol: ESP, SPI: 999}) }, cxtp.StatusNoBase},
		{"another SA", func(d []Dynamic) []Dynamic { d[1].SPI++; return d }, cxtp.StatusNoBase},
		{"an SA twice", func(d []Dynamic) []Dynamic { d[1] = d[0]; return d }, cxtp.StatusMalformed},
		{"a bitmap of another window", func(d []Dynamic) []Dynamic { d[0].Window = d[0].Window[:2]; return d }, cxtp.StatusMalformed},
		{"counter above the ceiling", func(d []Dynamic) []Dynamic { d[1].Sequence += 1001; return d }, cxtp.StatusNoBase},
		{"counter at the ceiling", func(d []Dynamic) []Dynamic { d[1].Sequence += 1000; return d }, cxtp.StatusOK},
	} {
		b := newFake()
		f := NewFeature(b, Options{})
		if err := f.Stage(ctx, ref(1), exported(t)); err != nil {
			t.Fatal(err)
		}
		err := f.Activate(ctx, ref(1), encodeDynamic(t, c.change(testDynamic())))
		if status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
		if started := slices.Contains(b.since(), "activate"); started != (err == nil) {
			t.Errorf("%s: activated is %v", c.name, started)
		}
	}
	f := NewFeature(newFake(), Options{})
	if err := f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic())); status(err) != cxtp.StatusNoBase {
		t.Errorf("without a stage: %v, want StatusNoBase", err)
	}
	if err := f.Stage(ctx, ref(2), exported(t)); err != nil {
		t.Fatal(err)
	}
	if err := f.Activate(ctx, ref(3), encodeDynamic(t, testDynamic())); status(err) != cxtp.StatusNoBase {
		t.Errorf("staged for another epoch: %v, want StatusNoBase", err)
	}
}

func TestEpochs(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	if err := f.Stage(ctx, ref(5), exported(t)); err != nil {
		t.Fatal(err)
	}
	for name, op := range map[string]func() error{
		"stage":    func() error { return f.Stage(ctx, ref(4), exported(t)) },
		"activate": func() error { return f.Activate(ctx, ref(4), nil) },
		"thaw":     func() error { return f.Thaw(ctx, ref(4)) },
		"redirect": func() error { return f.Redirect(ctx, ref(4), "sg") },
		"merge":    func() error { return f.Merge(ctx, ref(4), nil) },
		"release":  func() error { return f.Release(ctx, ref(4)) },
		"discard":  func() error { return f.Discard(ctx, ref(4)) },
		"export":   func() error { _, err := f.Export(ctx, ref(4)); return err },
		"freeze":   func() error { _, err := f.Freeze(ctx, ref(4)); return err },
		"close":    func() error { _, err := f.Close(ctx, ref(4)); return err },
	} {
		if err := op(); status(err) != cxtp.StatusStale {
			t.Errorf("%s of an older epoch: %v, want StatusStale", name, err)
		}
	}
	if calls := b.since(); !slices.Equal(calls, []string{"stage"}) {
		t.Errorf("the backend was asked for %v", calls)
	}
	// A newer stage takes the place of one that nobody discarded.
	if err := f.Stage(ctx, ref(6), exported(t)); err != nil {
		t.Fatal(err)
	}
	if calls := b.since(); !slices.Equal(calls, []string{"stage"}) {
		t.Errorf("staged anew by %v, want no moment without a policy", calls)
	}
	// One that fails leaves nothing behind.
	if err := f.Stage(ctx, ref(7), features.Staging{Blocks: make([]cxtp.CDB, 1)}); err == nil {
		t.Error("staged nonsense")
	}
	if calls := b.since(); !slices.Equal(calls, []string{"discard"}) {
		t.Errorf("after a stage that failed: %v, want what was staged before discarded", calls)
	}
	// What has been discarded is not staged again by a late repetition.
	if err := errors.Join(f.Stage(ctx, ref(8), exported(t)), f.Discard(ctx, ref(8))); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(ctx, ref(8), exported(t)); status(err) != cxtp.StatusStale {
		t.Errorf("staged after discarding: %v, want StatusStale", err)
	}
	if err := f.Stage(ctx, ref(9), exported(t)); err != nil {
		t.Errorf("a fresh epoch: %v", err)
	}
}

// TestDiscardSparesTheActive: a late discard must not end a session.
func TestDiscardSparesTheActive(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	if err := errors.Join(f.Stage(ctx, ref(1), exported(t)), f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic()))); err != nil {
		t.Fatal(err)
	}
	b.since()
	if err := f.Discard(ctx, ref(1)); err == nil {
		t.Error("discarded what is active")
	}
	b.err = refusal(cxtp.FPTIPsecSA, cxtp.StatusSPIConflict, "in use")
	if err := f.Stage(ctx, ref(2), exported(t)); status(err) != cxtp.StatusSPIConflict {
		t.Errorf("staged over what is active: %v, want the backend's refusal", err)
	}
	b.err = nil
	if err := f.Discard(ctx, ref(2)); err != nil {
		t.Errorf("discard of the stage that was refused: %v", err)
	}
	if calls := b.since(); !slices.Equal(calls, []string{"stage"}) {
		t.Errorf("the backend was asked for %v", calls)
	}
	// The close of epoch 1 may come when the session is on its way onward.
	if _, err := f.Export(ctx, ref(3)); err != nil {
		t.Fatal(err)
	}
	if err := f.Merge(ctx, ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Errorf("late merge: %v", err)
	}
}

// TestStageOverFrozen: what is granted to another gateway cannot come in.
func TestStageOverFrozen(t *testing.T) {
	f := NewFeature(newFake(), Options{})
	if _, err := f.Freeze(t.Context(), ref(1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(t.Context(), ref(2), exported(t)); status(err) != cxtp.StatusBusy {
		t.Errorf("staged over what is frozen: %v, want StatusBusy", err)
	}
	if err := f.Thaw(t.Context(), ref(3)); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(t.Context(), ref(4), exported(t)); err != nil {
		t.Errorf("staged after a thaw: %v, want the backend to decide", err)
	}
}

// TestMergeAfterRestart: a feature that did not stage asks the SAs themselves.
func TestMergeAfterRestart(t *testing.T) {
	b := newFake()
	f := NewFeature(b, Options{})
	if err := f.Merge(t.Context(), ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Fatal(err)
	}
	if calls := b.since(); !slices.Equal(calls, []string{"export", "merge"}) {
		t.Errorf("merged by %v", calls)
	}
	stranger := []Dynamic{{Direction: Inbound, Protocol: ESP, SPI: 999}}
	if err := f.Merge(t.Context(), ref(2), encodeDynamic(t, stranger)); status(err) != cxtp.StatusNoBase {
		t.Errorf("merged an unknown SA: %v, want StatusNoBase", err)
	}
}

// TestFailuresMayBeRetried: only results are remembered.
func TestFailuresMayBeRetried(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	ops := map[string]func(epoch cxtp.Epoch) error{
		"export":   func(e cxtp.Epoch) error { _, err := f.Export(ctx, ref(e)); return err },
		"freeze":   func(e cxtp.Epoch) error { _, err := f.Freeze(ctx, ref(e)); return err },
		"close":    func(e cxtp.Epoch) error { _, err := f.Close(ctx, ref(e)); return err },
		"thaw":     func(e cxtp.Epoch) error { return f.Thaw(ctx, ref(e)) },
		"redirect": func(e cxtp.Epoch) error { return f.Redirect(ctx, ref(e), "sg2") },
		"release":  func(e cxtp.Epoch) error { return f.Release(ctx, ref(e)) },
		"stage":    func(e cxtp.Epoch) error { return f.Stage(ctx, ref(e), exported(t)) },
		"discard":  func(e cxtp.Epoch) error { return f.Discard(ctx, ref(e)) },
	}
	broken := errors.New("netlink: busy")
	epoch := cxtp.Epoch(0)
	for _, name := range []string{"export", "freeze", "thaw", "redirect", "close", "release", "stage", "discard"} {
		epoch++
		b.err = broken
		if err := ops[name](epoch); !errors.Is(err, broken) {
			t.Errorf("%s: error %v, want the backend's", name, err)
		}
		b.err = nil
		if err := ops[name](epoch); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
	}
}

// TestKeptKeysAreWiped looks at the copies that the feature keeps for
// repetitions.
func TestKeptKeysAreWiped(t *testing.T) {
	ctx := t.Context()
	for name, end := range map[string]func(*Feature) error{
		"release":       func(f *Feature) error { return f.Release(ctx, ref(1)) },
		"thaw":          func(f *Feature) error { return f.Thaw(ctx, ref(1)) },
		"later epoch":   func(f *Feature) error { _, err := f.Freeze(ctx, ref(2)); return err },
		"later discard": func(f *Feature) error { return f.Discard(ctx, ref(2)) },
		"eviction": func(f *Feature) error {
			_, err := f.Export(ctx, features.Ref{Session: cxtp.SessionID{8}, Epoch: 1})
			return err
		},
	} {
		f := NewFeature(newFake(), Options{Remember: 1})
		if _, err := f.Export(ctx, ref(1)); err != nil {
			t.Fatal(err)
		}
		var kept [][]byte
		for _, b := range f.records.byID[ref(1).Session].answers[opExport].snapshot.Blocks {
			kept = append(kept, b.Data)
		}
		if len(kept) != 3 {
			t.Fatalf("%s: %d blocks kept, want 3", name, len(kept))
		}
		if err := end(f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, data := range kept {
			if !bytes.Equal(data, make([]byte, len(data))) {
				t.Errorf("after %s, a kept block is not wiped", name)
			}
		}
	}
}

// TestRememberIsBounded: refused strangers do not fill the memory, and what is
// staged is not forgotten for their sake.
func TestRememberIsBounded(t *testing.T) {
	ctx := t.Context()
	f := NewFeature(newFake(), Options{Remember: 8})
	if err := f.Stage(ctx, ref(1), exported(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		stranger := features.Ref{Session: cxtp.SessionID{9, byte(i), byte(i >> 8)}, Epoch: 1}
		if err := f.Stage(ctx, stranger, features.Staging{Blocks: make([]cxtp.CDB, 1)}); err == nil {
			t.Fatal("staged nonsense")
		}
	}
	if n := len(f.records.byID); n > 8 || len(f.records.order) != n {
		t.Errorf("%d sessions remembered in %d places, want at most 8", n, len(f.records.order))
	}
	if err := f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Errorf("the staged session is forgotten: %v", err)
	}
}

// TestSessionsWithoutIPsec: other features may move a session that has no SAs.
func TestSessionsWithoutIPsec(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	claims, err := f.Claims(nil)
	if err != nil || !reflect.DeepEqual(claims, cxtp.Claims{}) {
		t.Errorf("claims %+v, error %v, want none", claims, err)
	}
	if err := errors.Join(f.Stage(ctx, ref(1), features.Staging{}), f.Activate(ctx, ref(1), nil), f.Merge(ctx, ref(1), nil)); err != nil {
		t.Errorf("moving nothing: %v", err)
	}
	if calls := b.since(); len(calls) > 0 {
		t.Errorf("the backend was asked for %v", calls)
	}
	// A session whose SAs have ended since it was staged.
	other := features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}
	later := features.Ref{Session: other.Session, Epoch: 2}
	if err := errors.Join(f.Stage(ctx, other, exported(t)), f.Stage(ctx, later, features.Staging{})); err != nil {
		t.Fatal(err)
	}
	if calls := b.since(); !slices.Equal(calls, []string{"stage", "discard"}) {
		t.Errorf("staged nothing over something by %v", calls)
	}
}

func TestClaimsOfBlocks(t *testing.T) {
	f := NewFeature(newFake(), Options{})
	st := exported(t)
	claims, err := f.Claims(st.Blocks)
	if want := testSession().Claims(); err != nil || !reflect.DeepEqual(claims, want) {
		t.Errorf("claims %+v, error %v, want %+v", claims, err, want)
	}
	if _, err := f.Claims(st.Blocks[1:]); status(err) != cxtp.StatusMalformed {
		t.Errorf("claims of half a context: %v, want StatusMalformed", err)
	}
}

// TestTurns: operations on one session wait for each other, those on another do
// not, and waiting ends with the context.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newFake()
		b.hold = make(chan struct{})
		f := NewFeature(b, Options{})
		done := make(chan error, 2)
		go func() { _, err := f.Freeze(t.Context(), ref(1)); done <- err }()
		synctest.Wait() // the freeze is inside the backend
		go func() { done <- f.Thaw(t.Context(), ref(1)) }()
		synctest.Wait()
		if len(done) > 0 {
			t.Error("an operation did not wait for the session's turn")
		}
		other := features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}
		if err := f.Thaw(t.Context(), other); err != nil {
			t.Errorf("another session: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Thaw(ctx, ref(1)); !errors.Is(err, context.Canceled) {
			t.Errorf("waited with a cancelled context: %v", err)
		}
		close(b.hold)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if want := []string{"thaw", "freeze", "thaw"}; !slices.Equal(b.since(), want) {
			t.Errorf("order is not %v", want)
		}
	})
}
