package ipsecctx

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/featuretest"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/features/profile/profiletest"
)

// fakeBackend records what it is asked and answers with what the test sets.
type fakeBackend struct {
	featuretest.Calls
	session  *Session  // what Export gives, cloned
	given    *Session  // what it gave last
	dynamic  []Dynamic // what Export, Freeze and Close give
	staged   *Session  // what Stage was given, cloned
	started  []Dynamic // what Activate was given
	merged   []Dynamic
	ceilings Ceilings // what Limit was given
	floors   Ceilings // what Thaw was given
	supports error
	hold     chan struct{} // where not nil, Freeze waits for it
}

func (b *fakeBackend) Supports(*SA) error { return b.supports }

func (b *fakeBackend) Export(context.Context, cxtp.SessionID) (*Session, []Dynamic, error) {
	b.given = b.session.Clone()
	return b.given, b.dynamic, b.Call("export")
}

func (b *fakeBackend) Stage(_ context.Context, _ cxtp.SessionID, s *Session) error {
	b.staged = s.Clone()
	return b.Call("stage")
}

func (b *fakeBackend) Freeze(context.Context, cxtp.SessionID) ([]Dynamic, error) {
	if b.hold != nil {
		<-b.hold
	}
	return b.dynamic, b.Call("freeze")
}

func (b *fakeBackend) Activate(_ context.Context, _ cxtp.SessionID, d []Dynamic) error {
	b.started = d
	return b.Call("activate")
}

func (b *fakeBackend) Thaw(_ context.Context, _ cxtp.SessionID, floors Ceilings) error {
	b.floors = floors
	return b.Call("thaw")
}

func (b *fakeBackend) Limit(_ context.Context, _ cxtp.SessionID, ceilings Ceilings) error {
	b.ceilings = ceilings
	return b.Call("limit")
}

func (b *fakeBackend) Held(context.Context) ([]cxtp.Held, error) { return nil, nil }

func (b *fakeBackend) Redirect(_ context.Context, _ cxtp.SessionID, to cxtp.RouterID) error {
	return b.Call("redirect %s", to)
}

func (b *fakeBackend) Close(context.Context, cxtp.SessionID) ([]Dynamic, error) {
	return b.dynamic, b.Call("close")
}

func (b *fakeBackend) Merge(_ context.Context, _ cxtp.SessionID, d []Dynamic) error {
	b.merged = d
	return b.Call("merge")
}

func (b *fakeBackend) Release(context.Context, cxtp.SessionID) error { return b.Call("release") }
func (b *fakeBackend) Discard(context.Context, cxtp.SessionID) error { return b.Call("discard") }

func newFake() *fakeBackend {
	return &fakeBackend{session: testSession(), dynamic: testDynamic()}
}

// exported is the staging that the test session makes, with room for packets up
// to the ceiling.
func exported(t *testing.T) features.Staging {
	t.Helper()
	snapshot, err := NewFeature(newFake(), Options{}).Export(t.Context(), ref(1), nil)
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
	read := func(name string, op func(context.Context, features.Ref) (features.Snapshot, error)) features.Snapshot {
		t.Helper()
		first, err := op(ctx, ref(1))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		// The source may have counted on, and the machine may have wiped its copy.
		kept := features.Snapshot{Blocks: slices.Clone(first.Blocks), Manifest: slices.Clone(first.Manifest)}
		profile.Own(kept.Blocks)
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
	static := read("export", func(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
		return from.Export(ctx, ref, nil)
	})
	featuretest.Twice(t, "stage", func() error {
		return to.Stage(ctx, ref(1), features.Staging{Blocks: static.Blocks, Manifest: static.Manifest})
	})
	final := read("freeze", from.Freeze)
	featuretest.Twice(t, "activate", func() error { return to.Activate(ctx, ref(1), final.Blocks) })
	featuretest.Twice(t, "redirect", func() error { return from.Redirect(ctx, ref(1), "sg2") })
	last := read("close", from.Close)
	if len(last.Blocks) != 1 || len(last.Manifest) != 1 {
		t.Errorf("closed with %d blocks, want the inbound SA alone", len(last.Blocks))
	}
	featuretest.Twice(t, "merge", func() error { return to.Merge(ctx, ref(1), last.Blocks) })
	featuretest.Twice(t, "release", func() error { return from.Release(ctx, ref(1)) })

	if want := []string{"export", "freeze", "redirect sg2", "close", "release"}; !slices.Equal(pAR.Since(), want) {
		t.Errorf("source was not asked for %v once each", want)
	}
	if want := []string{"stage", "limit", "activate", "merge"}; !slices.Equal(nAR.Since(), want) {
		t.Errorf("target was not asked for %v once each", want)
	}
	if !reflect.DeepEqual(normal(nAR.staged), normal(testSession())) {
		t.Error("another session was staged than exported")
	}
	for i := range pAR.given.SAs {
		keys := pAR.given.SAs[i].secrets()
		profiletest.Wiped(t, keys[:])
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
			s.Blocks[1].Presence |= profile.Bit(profile.BitExtensions)
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
		if calls := b.Since(); len(calls) > 0 {
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
		if started := slices.Contains(b.Since(), "activate"); started != (err == nil) {
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

// TestMergeAfterRestart: a feature that did not stage asks the SAs themselves.
func TestMergeAfterRestart(t *testing.T) {
	b := newFake()
	f := NewFeature(b, Options{})
	if err := f.Merge(t.Context(), ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Fatal(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"export", "merge"}) {
		t.Errorf("merged by %v", calls)
	}
	stranger := []Dynamic{{Direction: Inbound, Protocol: ESP, SPI: 999}}
	if err := f.Merge(t.Context(), ref(2), encodeDynamic(t, stranger)); status(err) != cxtp.StatusNoBase {
		t.Errorf("merged an unknown SA: %v, want StatusNoBase", err)
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
	if calls := b.Since(); len(calls) > 0 {
		t.Errorf("the backend was asked for %v", calls)
	}
	// A session whose SAs have ended since it was staged.
	other := features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}
	later := features.Ref{Session: other.Session, Epoch: 2}
	if err := errors.Join(f.Stage(ctx, other, exported(t)), f.Stage(ctx, later, features.Staging{})); err != nil {
		t.Fatal(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"stage", "discard"}) {
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

// TestDoWithoutLastWindows: without windows to merge, what is behind the highest
// number counts as seen, and windows that come later are merged all the same.
func TestDoWithoutLastWindows(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	if err := errors.Join(f.Stage(ctx, ref(1), exported(t)), f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic()))); err != nil {
		t.Fatal(err)
	}
	b.Since()
	for range 2 { // the second changes nothing
		if err := f.Merge(ctx, ref(1), nil); err != nil {
			t.Fatal(err)
		}
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"export", "merge"}) {
		t.Errorf("did without by %v", calls)
	}
	for _, d := range b.merged {
		if d.Direction != Inbound || len(d.Window) == 0 {
			t.Errorf("%s filled", d.ID())
		}
		for i := range min(d.Sequence, 64) {
			if d.Window[0]&(1<<i) == 0 {
				t.Errorf("%s: number %d can come again", d.ID(), d.Sequence-i)
			}
		}
	}
	if err := f.Merge(ctx, ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Fatal(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"merge"}) {
		t.Errorf("merged late by %v", calls)
	}
}
