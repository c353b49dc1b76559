package ikectx

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
	"github.com/cxtp/cxtp/features/profile/profiletest"
)

// fakeBackend records what it is asked and answers with what the test sets.
type fakeBackend struct {
	featuretest.Calls
	session  *Session // what Export gives
	dynamic  *Dynamic // what Sample and Freeze give
	staged   *Session // what Stage was given, cloned
	given    *Session // what Export gave last
	started  *Dynamic // what Activate and TakeOver were given, cloned
	supports error
}

// state is what Sample and Freeze give: nothing, of a session without an IKE SA.
func (b *fakeBackend) state() Dynamic {
	if b.dynamic == nil {
		return Dynamic{}
	}
	return *b.dynamic
}

func (b *fakeBackend) Supports(*Session) error { return b.supports }

func (b *fakeBackend) Export(context.Context, cxtp.SessionID) (*Session, error) {
	if b.session == nil {
		return nil, b.Call("export")
	}
	b.given = b.session.Clone()
	return b.given, b.Call("export")
}

func (b *fakeBackend) Sample(context.Context, cxtp.SessionID) (Dynamic, error) {
	return b.state(), b.Call("sample")
}

func (b *fakeBackend) Stage(_ context.Context, _ cxtp.SessionID, s *Session) error {
	b.staged = s.Clone()
	return b.Call("stage")
}

func (b *fakeBackend) Freeze(context.Context, cxtp.SessionID) (Dynamic, error) {
	return b.state(), b.Call("freeze")
}

func (b *fakeBackend) Activate(_ context.Context, _ cxtp.SessionID, d Dynamic) error {
	b.started = d.Clone()
	return b.Call("activate")
}

func (b *fakeBackend) TakeOver(_ context.Context, _ cxtp.SessionID, d Dynamic) error {
	b.started = d.Clone()
	return b.Call("take over")
}

func (b *fakeBackend) Thaw(_ context.Context, _ cxtp.SessionID, behind bool) error {
	return b.Call("thaw %t", behind)
}

func (b *fakeBackend) Redirect(_ context.Context, _ cxtp.SessionID, to cxtp.RouterID) error {
	return b.Call("redirect %s", to)
}

func (b *fakeBackend) Closed(context.Context, cxtp.SessionID) error  { return b.Call("closed") }
func (b *fakeBackend) Release(context.Context, cxtp.SessionID) error { return b.Call("release") }
func (b *fakeBackend) Discard(context.Context, cxtp.SessionID) error { return b.Call("discard") }
func (b *fakeBackend) Held(context.Context) ([]cxtp.Held, error)     { return nil, nil }

func newFake() *fakeBackend { return &fakeBackend{session: testSession(), dynamic: testDynamic()} }

// exported is the staging that the test session makes.
func exported(t *testing.T) features.Staging {
	t.Helper()
	blocks, err := EncodeSession(testSession())
	if err != nil {
		t.Fatal(err)
	}
	return features.Staging{Blocks: blocks}
}

// final is the dynamic context of d.
func final(t *testing.T, d *Dynamic) []cxtp.CDB {
	t.Helper()
	blocks, err := EncodeDynamic(d)
	if err != nil {
		t.Fatal(err)
	}
	return blocks
}

// TestMove takes a session from one feature to another and looks at what arrives;
// every operation is repeated, and must not reach the backend twice.
func TestMove(t *testing.T) {
	ctx := t.Context()
	pAR, nAR := newFake(), newFake()
	from, to := NewFeature(pAR, Options{}), NewFeature(nAR, Options{})
	var static, last features.Snapshot
	featuretest.Twice(t, "export", func() (err error) { static, err = from.Export(ctx, ref(1), nil); return err })
	featuretest.Twice(t, "stage", func() error { return to.Stage(ctx, ref(1), features.Staging{Blocks: static.Blocks}) })
	featuretest.Twice(t, "freeze", func() (err error) { last, err = from.Freeze(ctx, ref(1)); return err })
	featuretest.Twice(t, "verify", func() error { return to.Verify(ctx, ref(1), last.Blocks) })
	featuretest.Twice(t, "activate", func() error { return to.Activate(ctx, ref(1), last.Blocks) })
	featuretest.Twice(t, "verify again", func() error { return to.Verify(ctx, ref(1), last.Blocks) })
	featuretest.Twice(t, "redirect", func() error { return from.Redirect(ctx, ref(1), "sg2") })
	featuretest.Twice(t, "close", func() error {
		s, err := from.Close(ctx, ref(1))
		if len(s.Blocks) > 0 {
			t.Errorf("closed with %d blocks, want none", len(s.Blocks))
		}
		return err
	})
	featuretest.Twice(t, "merge", func() error { return to.Merge(ctx, ref(1), nil) })
	featuretest.Twice(t, "release", func() error { return from.Release(ctx, ref(1)) })

	if got, want := pAR.Since(), []string{"export", "freeze", "redirect sg2", "release"}; !slices.Equal(got, want) {
		t.Errorf("source was asked for %v, want %v", got, want)
	}
	for i := range pAR.given.SAs {
		profiletest.Wiped(t, pAR.given.SAs[i].secrets())
	}
	if got, want := nAR.Since(), []string{"stage", "activate", "closed"}; !slices.Equal(got, want) {
		t.Errorf("target was asked for %v, want %v", got, want)
	}
	if !reflect.DeepEqual(nAR.staged, testSession()) || !reflect.DeepEqual(nAR.started, testDynamic()) {
		t.Errorf("staged %v, started at %v", nAR.staged, nAR.started)
	}
	if len(static.Manifest)+len(last.Manifest) > 0 {
		t.Error("an IKE SA in a manifest")
	}
}

func TestStageRefuses(t *testing.T) {
	elsewhere := func(addr string) func(netip.Addr) (netip.Addr, uint16) {
		return func(netip.Addr) (netip.Addr, uint16) {
			a, _ := netip.ParseAddr(addr)
			return a, 0
		}
	}
	for _, c := range []struct {
		name   string
		change func(*features.Staging, *fakeBackend, *Options)
		want   cxtp.Status
	}{
		{"truncated block", func(s *features.Staging, _ *fakeBackend, _ *Options) { s.Blocks[1].Data = s.Blocks[1].Data[:9] }, cxtp.StatusMalformed},
		{"half a context", func(s *features.Staging, _ *fakeBackend, _ *Options) { s.Blocks = s.Blocks[1:] }, cxtp.StatusMalformed},
		{"unknown transform", func(s *features.Staging, _ *fakeBackend, _ *Options) { s.Blocks[1].Data[21] = 99 }, cxtp.StatusAlgorithm},
		{"a manifest", func(s *features.Staging, _ *fakeBackend, _ *Options) {
			s.Manifest = []cxtp.ManifestEntry{{FPT: cxtp.FPTIKESA}}
		}, cxtp.StatusMalformed},
		{"no such connection", func(_ *features.Staging, b *fakeBackend, _ *Options) {
			b.supports = features.Refuse(cxtp.FPTIKESession, cxtp.StatusUnsupported, "no connection")
		}, cxtp.StatusUnsupported},
		{"no address", func(_ *features.Staging, _ *fakeBackend, o *Options) { o.LocalEndpoint = elsewhere("") }, cxtp.StatusUnsupported},
		{"address of another family", func(_ *features.Staging, _ *fakeBackend, o *Options) { o.LocalEndpoint = elsewhere("2001:db8::1") }, cxtp.StatusUnsupported},
		{"no MOBIKE", func(s *features.Staging, _ *fakeBackend, o *Options) {
			session := testSession()
			session.Extensions &^= ExtMOBIKE
			var err error
			if s.Blocks, err = EncodeSession(session); err != nil {
				t.Fatal(err)
			}
			o.LocalEndpoint = elsewhere("192.0.2.2")
		}, cxtp.StatusImmobile},
	} {
		st, b, o := exported(t), newFake(), Options{}
		c.change(&st, b, &o)
		f := NewFeature(b, o)
		if err := f.Stage(t.Context(), ref(1), st); status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
		if calls := b.Since(); len(calls) > 0 {
			t.Errorf("%s: the backend was asked for %v", c.name, calls)
		}
	}
}

func TestStageTakesThisGatewaysEndpoint(t *testing.T) {
	for _, c := range []struct{ local, want, before string }{
		{"192.0.2.1:4500", "192.0.2.2:4501", "192.0.2.1:4500"},
		{"192.0.2.1:500", "192.0.2.2:500", "192.0.2.1:500"},
		{"192.0.2.2:4501", "192.0.2.2:4501", "invalid AddrPort"},
	} {
		b := newFake()
		f := NewFeature(b, Options{LocalEndpoint: func(netip.Addr) (netip.Addr, uint16) { return netip.MustParseAddr("192.0.2.2"), 4501 }})
		s := testSession()
		s.Local = netip.MustParseAddrPort(c.local)
		blocks, err := EncodeSession(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Stage(t.Context(), ref(1), features.Staging{Blocks: blocks}); err != nil {
			t.Fatal(err)
		}
		if s := b.staged; s.Local.String() != c.want || s.Before.String() != c.before {
			t.Errorf("staged at %s, before at %s; want %s and %s", s.Local, s.Before, c.want, c.before)
		}
	}
}

// TestActivateWantsItsBase: and Verify says so before.
func TestActivateWantsItsBase(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name   string
		change func(*Dynamic) []cxtp.CDB
		want   cxtp.Status
	}{
		{"as staged", func(d *Dynamic) []cxtp.CDB { return final(t, d) }, cxtp.StatusOK},
		{"nothing", func(*Dynamic) []cxtp.CDB { return nil }, cxtp.StatusNoBase},
		{"another generation", func(d *Dynamic) []cxtp.CDB { d.Generation = 3; return final(t, d) }, cxtp.StatusNoBase},
		{"unsettled", func(d *Dynamic) []cxtp.CDB { d.Unsettled = true; return final(t, d) }, cxtp.StatusNoBase},
		{"another SA's response", func(d *Dynamic) []cxtp.CDB {
			d.Responses[0].Datagrams[0] = testDatagram(1, 7, 0)
			return final(t, d)
		}, cxtp.StatusMalformed},
		{"truncated", func(d *Dynamic) []cxtp.CDB {
			blocks := final(t, d)
			blocks[0].Data = blocks[0].Data[:3]
			return blocks
		}, cxtp.StatusMalformed},
	} {
		b := newFake()
		f := NewFeature(b, Options{})
		if err := f.Stage(ctx, ref(1), exported(t)); err != nil {
			t.Fatal(err)
		}
		blocks := c.change(testDynamic())
		if err := f.Verify(ctx, ref(1), blocks); status(err) != c.want {
			t.Errorf("%s: verified with %v, want %v", c.name, err, c.want)
		}
		err := f.Activate(ctx, ref(1), blocks)
		if status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
		if started := slices.Contains(b.Since(), "activate"); started != (err == nil) {
			t.Errorf("%s: activated is %v", c.name, started)
		}
	}
	f := NewFeature(newFake(), Options{})
	if err := errors.Join(f.Verify(ctx, ref(1), nil), f.Activate(ctx, ref(1), nil)); status(err) != cxtp.StatusNoBase {
		t.Errorf("without a stage: %v, want StatusNoBase", err)
	}
}

// TestThaw: exact, or behind a gateway that is gone.
func TestThaw(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	for epoch, floors := range [][]cxtp.ManifestEntry{nil, {}} {
		if _, err := f.Freeze(ctx, ref(cxtp.Epoch(epoch+1))); err != nil {
			t.Fatal(err)
		}
		if err := f.Thaw(ctx, ref(cxtp.Epoch(epoch+1)), floors); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := b.Since(), []string{"freeze", "thaw false", "freeze", "thaw true"}; !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
	if _, err := f.Freeze(ctx, ref(3)); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(ctx, ref(4), exported(t)); status(err) != cxtp.StatusBusy {
		t.Errorf("staged over what is frozen: %v, want StatusBusy", err)
	}
}

// TestRequestThatDoesNotFit: no target can repeat it, so none may go on.
func TestRequestThatDoesNotFit(t *testing.T) {
	b := newFake()
	b.dynamic.Requests = []Message{{ID: 2, Datagrams: [][]byte{testDatagram(2, 2, 2000)}}}
	s, err := NewFeature(b, Options{}).Freeze(t.Context(), ref(1))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := DecodeDynamic(s.Blocks); err != nil || !d.Unsettled || d.Generation != 2 {
		t.Errorf("frozen at %v, %v, want an unsettled state", d, err)
	}
}

// TestStandby: renewals replace each other, and the last is what a takeover
// starts with, whatever became of its blocks.
func TestStandby(t *testing.T) {
	ctx := t.Context()
	owner, b := newFake(), newFake()
	f := NewFeature(b, Options{})
	if err := f.Stage(ctx, ref(1), exported(t)); err != nil {
		t.Fatal(err)
	}
	if err := f.TakeOver(ctx, ref(1)); status(err) != cxtp.StatusNoBase {
		t.Errorf("taken over without a renewal: %v, want StatusNoBase", err)
	}
	if err := f.Stage(ctx, ref(2), exported(t)); err != nil {
		t.Fatal(err)
	}
	source := NewFeature(owner, Options{})
	for range 2 {
		owner.dynamic.NextRequest++
		s, err := source.Sample(ctx, ref(2))
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Renew(ctx, ref(2), features.Staging{Blocks: s.Blocks}); err != nil {
			t.Fatal(err)
		}
		for _, block := range s.Blocks {
			clear(block.Data)
		}
	}
	unsettled := testDynamic()
	unsettled.Unsettled = true
	if err := f.Renew(ctx, ref(2), features.Staging{Blocks: final(t, unsettled)}); status(err) != cxtp.StatusNoBase {
		t.Errorf("renewed with what is unsettled: %v, want StatusNoBase", err)
	}
	if err := errors.Join(f.Limit(ctx, ref(2), nil), f.TakeOver(ctx, ref(2)), f.TakeOver(ctx, ref(2))); err != nil {
		t.Fatal(err)
	}
	if got, want := b.Since(), []string{"stage", "stage", "take over"}; !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
	if !reflect.DeepEqual(b.started, owner.dynamic) {
		t.Errorf("taken over at %v, want %v", b.started, owner.dynamic)
	}
}

// TestSessionsWithoutIKE: other features may move a session that has no IKE SA.
func TestSessionsWithoutIKE(t *testing.T) {
	ctx := t.Context()
	b := &fakeBackend{}
	f := NewFeature(b, Options{})
	claims, err := f.Claims(nil)
	if err != nil || !reflect.DeepEqual(claims, cxtp.Claims{}) {
		t.Errorf("claims %+v, error %v, want none", claims, err)
	}
	for name, read := range map[string]func() (features.Snapshot, error){
		"export": func() (features.Snapshot, error) { return f.Export(ctx, ref(1), nil) },
		"sample": func() (features.Snapshot, error) { return f.Sample(ctx, ref(1)) },
		"freeze": func() (features.Snapshot, error) { return f.Freeze(ctx, ref(1)) },
	} {
		if s, err := read(); err != nil || len(s.Blocks) > 0 {
			t.Errorf("%s: %d blocks, error %v", name, len(s.Blocks), err)
		}
	}
	b.Since()
	other := features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}
	if err := errors.Join(f.Stage(ctx, other, features.Staging{}), f.Renew(ctx, other, features.Staging{}),
		f.Verify(ctx, other, nil), f.Activate(ctx, other, nil)); err != nil {
		t.Errorf("moving nothing: %v", err)
	}
	third := features.Ref{Session: cxtp.SessionID{9}, Epoch: 1}
	if err := errors.Join(f.Stage(ctx, third, features.Staging{}), f.TakeOver(ctx, third)); err != nil {
		t.Errorf("taking nothing over: %v", err)
	}
	if calls := b.Since(); len(calls) > 0 {
		t.Errorf("the backend was asked for %v", calls)
	}
	// A session whose IKE SA has ended since it was staged.
	later := features.Ref{Session: other.Session, Epoch: 3}
	if err := errors.Join(f.Stage(ctx, features.Ref{Session: other.Session, Epoch: 2}, exported(t)), f.Stage(ctx, later, features.Staging{})); err != nil {
		t.Fatal(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"stage", "discard"}) {
		t.Errorf("staged nothing over something by %v", calls)
	}
	if err := f.Activate(ctx, later, final(t, testDynamic())); status(err) != cxtp.StatusNoBase {
		t.Errorf("state of nothing: %v, want StatusNoBase", err)
	}
}

// TestDiscardSparesTheActive: a late discard must not end an IKE SA.
func TestDiscardSparesTheActive(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	if err := errors.Join(f.Stage(ctx, ref(1), exported(t)), f.Activate(ctx, ref(1), final(t, testDynamic()))); err != nil {
		t.Fatal(err)
	}
	b.Since()
	if err := f.Discard(ctx, ref(1)); err == nil {
		t.Error("discarded what is active")
	}
	if err := errors.Join(f.Discard(ctx, ref(2)), f.Merge(ctx, ref(1), nil)); err != nil {
		t.Error(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"closed"}) {
		t.Errorf("the backend was asked for %v", calls)
	}
	if err := errors.Join(f.Stage(ctx, features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}, exported(t)), f.Discard(ctx, features.Ref{Session: cxtp.SessionID{8}, Epoch: 1})); err != nil {
		t.Error(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"stage", "discard"}) {
		t.Errorf("the backend was asked for %v", calls)
	}
}

// TestExportRefuses what no target could take.
func TestExportRefuses(t *testing.T) {
	for name, change := range map[string]func(*Session){
		"keys that cannot be had": func(s *Session) { s.SAs[1].Exchange.Secrets = nil },
		"too large":               func(s *Session) { s.State, s.Implementation = make([]byte, 2000), "x" },
	} {
		b := newFake()
		change(b.session)
		if s, err := NewFeature(b, Options{}).Export(t.Context(), ref(1), nil); err == nil || len(s.Blocks) > 0 {
			t.Errorf("%s: exported %d blocks, error %v", name, len(s.Blocks), err)
		}
	}
}

// TestFailuresMayBeRetried: only results are remembered.
func TestFailuresMayBeRetried(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	broken := errors.New("charon is busy")
	for i, op := range []struct {
		name string
		do   func(features.Ref) error
	}{
		{"export", func(r features.Ref) error { _, err := f.Export(ctx, r, nil); return err }},
		{"sample", func(r features.Ref) error { _, err := f.Sample(ctx, r); return err }},
		{"freeze", func(r features.Ref) error { _, err := f.Freeze(ctx, r); return err }},
		{"redirect", func(r features.Ref) error { return f.Redirect(ctx, r, "sg2") }},
		{"thaw", func(r features.Ref) error { return f.Thaw(ctx, r, nil) }},
		{"merge", func(r features.Ref) error { return f.Merge(ctx, r, nil) }},
		{"release", func(r features.Ref) error { return f.Release(ctx, r) }},
		{"stage", func(r features.Ref) error { return f.Stage(ctx, r, exported(t)) }},
		{"discard", func(r features.Ref) error { return f.Discard(ctx, r) }},
	} {
		r := ref(cxtp.Epoch(i + 1))
		b.Err = broken
		if err := op.do(r); !errors.Is(err, broken) {
			t.Errorf("%s: error %v, want the backend's", op.name, err)
		}
		b.Err = nil
		if err := op.do(r); err != nil {
			t.Errorf("%s again: %v", op.name, err)
		}
	}
}

// esp is another feature of the same session, in front of IKE.
type esp struct {
	features.Feature
	started bool
}

func (*esp) FPTs() []cxtp.FPT                                            { return []cxtp.FPT{cxtp.FPTIPsecDynamic} }
func (*esp) Stage(context.Context, features.Ref, features.Staging) error { return nil }
func (e *esp) Activate(context.Context, features.Ref, []cxtp.CDB) error {
	e.started = true
	return nil
}

// TestUnsettledStartsNothing: what IKE refuses, it refuses before the SAs send.
func TestUnsettledStartsNothing(t *testing.T) {
	ctx := t.Context()
	first := &esp{}
	set, err := features.NewSet(first, NewFeature(newFake(), Options{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := set.Stage(ctx, ref(1), exported(t)); err != nil {
		t.Fatal(err)
	}
	d := testDynamic()
	d.Unsettled = true
	blocks := append(final(t, d), cxtp.CDB{FPT: cxtp.FPTIPsecDynamic})
	if err := set.Activate(ctx, ref(1), blocks); status(err) != cxtp.StatusNoBase || first.started {
		t.Errorf("activated with %v, and the SAs have started: %t", err, first.started)
	}
}
