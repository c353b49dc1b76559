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
)

// crowded is a gateway where others have some SPIs.
type crowded struct {
	fakeBackend
	taken map[ID]bool
	next  uint32
	none  error // of ReserveSPI
}

func (b *crowded) Stage(ctx context.Context, id cxtp.SessionID, s *Session) error {
	for i := range s.SAs {
		if sa := s.SAs[i].ID(); b.taken[sa] {
			return RefuseSPI(sa, "%s is taken", sa)
		}
	}
	return b.fakeBackend.Stage(ctx, id, s)
}

func (b *crowded) ReserveSPI(context.Context, netip.Addr, netip.Addr, Protocol, Mode) (uint32, error) {
	b.next++
	return b.next, b.none
}

func newCrowded(taken ...ID) *crowded {
	b := &crowded{fakeBackend: fakeBackend{session: testSession(), dynamic: testDynamic()}, taken: map[ID]bool{}, next: 0xd0000000}
	for _, id := range taken {
		b.taken[id] = true
	}
	return b
}

var (
	inboundID  = ID{Inbound, ESP, 0xc0000001}
	outboundID = ID{Outbound, ESP, 0xc0000002}
	givenID    = ID{Inbound, ESP, 0xd0000001}
)

func reassigning(t *testing.T) features.Staging {
	st := exported(t)
	st.Reassign = true
	return st
}

// TestReassign stages with another SPI, and takes what the source says of the old
// one for it: a renewal, the final, and the last windows.
func TestReassign(t *testing.T) {
	ctx := t.Context()
	want := []cxtp.SPIChange{{Protocol: 50, Old: inboundID.SPI, New: givenID.SPI}}
	moved := testDynamic()
	moved[0].SPI = givenID.SPI

	gateway := newCrowded(inboundID)
	f := NewFeature(gateway, Options{})
	for range 2 {
		if err := f.Stage(ctx, ref(1), reassigning(t)); err != nil {
			t.Fatal(err)
		}
		if got := f.Reassigned(ref(1)); !slices.Equal(got, want) {
			t.Errorf("reassigned %+v, want %+v", got, want)
		}
	}
	if got := gateway.staged.SAs; got[0].ID() != givenID || got[1].ID() != outboundID {
		t.Errorf("staged %s and %s", got[0].ID(), got[1].ID())
	}
	if f.Reassigned(ref(2)) != nil {
		t.Error("told of another epoch")
	}
	if err := f.Renew(ctx, ref(1), sampled(t, 2000)); err != nil {
		t.Fatal(err)
	}
	if err := f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gateway.started, moved) {
		t.Errorf("started at %+v", gateway.started)
	}
	if err := f.Merge(ctx, ref(1), encodeDynamic(t, testDynamic()[:1])); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(gateway.merged, moved[:1]) {
		t.Errorf("merged %+v", gateway.merged)
	}
}

// TestReassignAtStandby takes a copy with another SPI over.
func TestReassignAtStandby(t *testing.T) {
	gateway := newCrowded(inboundID)
	f := NewFeature(gateway, Options{})
	for _, err := range []error{f.Stage(t.Context(), ref(1), reassigning(t)), f.Renew(t.Context(), ref(1), sampled(t, 2000)), f.TakeOver(t.Context(), ref(1))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if gateway.started[0].ID() != givenID {
		t.Errorf("started %s, want %s", gateway.started[0].ID(), givenID)
	}
}

// TestReassignRefused is what is refused all the same, with nothing staged.
func TestReassignRefused(t *testing.T) {
	full := errors.New("no SPI is free")
	unable := func(taken ...ID) Backend { return struct{ Backend }{newCrowded(taken...)} }
	for name, c := range map[string]struct {
		backend  Backend
		reassign bool
	}{
		"denied":                         {newCrowded(inboundID), false},
		"an outbound SPI":                {newCrowded(outboundID), true},
		"the other one is taken as well": {newCrowded(inboundID, givenID), true},
		"a gateway that gives none":      {unable(inboundID), true},
	} {
		f := NewFeature(c.backend, Options{})
		st := exported(t)
		st.Reassign = c.reassign
		err := f.Stage(t.Context(), ref(1), st)
		var refusal *features.Error
		if !errors.As(err, &refusal) || refusal.Status != cxtp.StatusSPIConflict {
			t.Errorf("%s: %v, want %s", name, err, cxtp.StatusSPIConflict)
		}
		if f.Reassigned(ref(1)) != nil {
			t.Errorf("%s: reassigned", name)
		}
	}
	b := newCrowded(inboundID)
	b.none = full
	if err := NewFeature(b, Options{}).Stage(t.Context(), ref(1), reassigning(t)); !errors.Is(err, full) {
		t.Errorf("%v, want %v", err, full)
	}
}

// TestRenegotiate asks for another SPI instead of giving one.
func TestRenegotiate(t *testing.T) {
	f := NewFeature(newCrowded(inboundID), Options{Renegotiate: true})
	err := f.Stage(t.Context(), features.Ref{Session: cxtp.SessionID{1}, Epoch: 1}, reassigning(t))
	var refusal *features.Error
	var taken *SPIConflict
	if !errors.As(err, &refusal) || refusal.Status != cxtp.StatusRenegotiate || !errors.As(err, &taken) || taken.SA != inboundID {
		t.Errorf("staged on an SPI that is taken: %v", err)
	}
}
