package ikectx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/ledger"
	"github.com/cxtp/cxtp/features/profile"
)

// Options of a [Feature].
type Options struct {
	// LocalEndpoint gives this gateway's outer address and UDP encapsulation port
	// towards a node, for gateways that do not share one address. The port takes
	// the place of any but 500; 0 leaves it as it is. nil leaves everything as it
	// is.
	LocalEndpoint func(remote netip.Addr) (netip.Addr, uint16)

	// Remember is the number of sessions whose epochs are remembered; 0 means
	// [ledger.DefaultLimit]. More are kept only while they are staged or frozen.
	Remember int
}

// Feature is the IKE feature context on top of an IKE daemon: it encodes and
// decodes, checks, answers repetitions, and refuses epochs that are over, so that
// a [Backend] sees each thing once and in Go values.
//
// In a [features.Set] it stands behind the IPsec feature. It has no entries in a
// manifest: message IDs cannot be left out, so no ceiling would help (IKE profile
// section 3).
//
// Blocks are the caller's, those that it is given and those that it returns. Of
// the latter the feature keeps a copy for repetitions, which it wipes when the
// session is released, or thawed, or a later epoch begins.
type Feature struct {
	backend Backend
	options Options
	records *ledger.Ledger[record, *record]
}

var (
	_ features.Feature  = (*Feature)(nil)
	_ features.Verifier = (*Feature)(nil)
)

// record is what the feature remembers of a session.
type record struct {
	ledger.Record
	base   *counting // the SA in use of what is staged; nil = there is none
	sample *Dynamic  // of the last Renew of it
}

// stage remembers what was staged, for the final to be checked against.
func (r *record) stage(epoch cxtp.Epoch, base *counting) {
	r.Holds, r.Staged, r.base, r.sample = ledger.HoldsStaged, epoch, base, nil
}

// end forgets the session, which is no longer here.
func (r *record) end() {
	r.End()
	r.base, r.sample = nil, nil
}

// NewFeature puts the IKE context on top of an IKE daemon.
func NewFeature(b Backend, options Options) *Feature {
	return &Feature{
		backend: b,
		options: options,
		records: ledger.New[record](cxtp.FPTIKESession, options.Remember),
	}
}

// FPTs implements [features.Feature].
func (*Feature) FPTs() []cxtp.FPT {
	return []cxtp.FPT{cxtp.FPTIKESession, cxtp.FPTIKESA, cxtp.FPTIKEChild, cxtp.FPTIKEDynamic}
}

// Export implements [features.Feature]. The parts of an IKE SA are one thing:
// none of them could be asked for alone.
func (f *Feature) Export(ctx context.Context, ref features.Ref, _ []cxtp.FPT) (features.Snapshot, error) {
	return f.records.Once(ctx, ref, ledger.Export, func(*record) (features.Snapshot, error) {
		s, err := f.backend.Export(ctx, ref.Session)
		if err != nil || s == nil {
			return features.Snapshot{}, wrap("export", err)
		}
		defer s.Wipe()
		if err := s.Validate(); err != nil {
			return features.Snapshot{}, wrap("export", err)
		}
		blocks, err := EncodeSession(s)
		return features.Snapshot{Blocks: blocks}, err
	})
}

// Stage implements [features.Feature]. A stage without IKE contexts, of a session
// that has no IKE SA, stages nothing.
func (f *Feature) Stage(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.records.Do(ctx, ref, ledger.Stage, func(r *record) error {
		if r.Holds == ledger.HoldsFrozen {
			return features.Refuse(cxtp.FPTIKESession, cxtp.StatusBusy, "the session is frozen here, on its way to another gateway")
		}
		base, err := f.stage(ctx, ref.Session, st)
		if (err != nil || base == nil) && r.Holds == ledger.HoldsStaged {
			// What an earlier epoch staged can no longer be activated.
			if dropped := wrap("discard", f.backend.Discard(ctx, r.ID)); dropped != nil {
				return errors.Join(err, dropped)
			}
			r.Holds, r.base = ledger.HoldsUnknown, nil
		}
		if err != nil {
			return err
		}
		r.stage(ref.Epoch, base)
		return nil
	})
}

// stage checks and stages, and returns what to check dynamic state against.
func (f *Feature) stage(ctx context.Context, id cxtp.SessionID, st features.Staging) (*counting, error) {
	switch {
	case len(st.Manifest) > 0:
		return nil, malformed(cxtp.FPTIKESession, "%d IKE SAs in the manifest: it has none", len(st.Manifest))
	case len(st.Blocks) == 0:
		return nil, nil
	}
	s, err := DecodeSession(st.Blocks)
	if err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if err := f.localise(s); err != nil {
		return nil, err
	}
	if err := f.backend.Supports(s); err != nil {
		return nil, err
	}
	if err := f.backend.Stage(ctx, id, s); err != nil {
		return nil, wrap("stage", err)
	}
	base := s.Current().counting()
	return &base, nil
}

// localise puts this gateway's endpoint in the place of the other's. A node
// follows to another address by MOBIKE alone.
func (f *Feature) localise(s *Session) error {
	if f.options.LocalEndpoint == nil {
		return nil
	}
	unsupported := func(format string, args ...any) error {
		return features.Refuse(cxtp.FPTIKESession, cxtp.StatusUnsupported, format, args...)
	}
	remote := s.Remote.Addr()
	local, port := f.options.LocalEndpoint(remote)
	switch {
	case profile.Unicast(local) != "" || local.Is4() != remote.Is4():
		return unsupported("this gateway has no outer address towards %s", remote)
	case local != s.Local.Addr() && s.Extensions&ExtMOBIKE == 0:
		return features.Refuse(cxtp.FPTIKESession, cxtp.StatusImmobile, "the node cannot follow from %s to %s: it has no MOBIKE", s.Local.Addr(), local)
	}
	if port == 0 || s.Local.Port() == ikePort {
		port = s.Local.Port()
	}
	if local != s.Local.Addr() {
		s.Before = s.Local
	}
	s.Local = netip.AddrPortFrom(local, port)
	return nil
}

// ikePort is where IKE listens without NAT traversal, RFC 7296 section 2.
const ikePort = 500

// Freeze implements [features.Feature].
func (f *Feature) Freeze(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	return f.records.Once(ctx, ref, ledger.Freeze, func(r *record) (features.Snapshot, error) {
		d, err := f.backend.Freeze(ctx, ref.Session)
		if err != nil {
			return features.Snapshot{}, wrap("freeze", err)
		}
		r.Holds = ledger.HoldsFrozen
		return snapshot(d)
	})
}

// snapshot encodes the state of a session, if it has an IKE SA.
func snapshot(d Dynamic) (features.Snapshot, error) {
	if d.Generation == 0 {
		return features.Snapshot{}, nil
	}
	blocks, err := EncodeDynamic(&d)
	if errors.Is(err, profile.ErrTooLarge) {
		// A request that cannot travel can never be repeated by the target: it must
		// not go on from here, but the source may.
		return snapshot(Dynamic{Generation: d.Generation, Unsettled: true})
	}
	return features.Snapshot{Blocks: blocks}, err
}

// Verify implements [features.Verifier].
func (f *Feature) Verify(ctx context.Context, ref features.Ref, blocks []cxtp.CDB) error {
	return f.records.Turn(ctx, ref, ledger.Activate, func(r *record) error {
		if r.Holds == ledger.HoldsActive && r.Staged == ref.Epoch {
			return nil // a repetition
		}
		d, err := r.final(ref.Epoch, blocks)
		if starter, ok := f.backend.(Starter); ok && err == nil && d != nil {
			err = wrap("start", starter.Ready(ctx, ref.Session))
		}
		return err
	})
}

// final reads the state that is to start what is staged for an epoch: nil, if
// that is nothing.
func (r *record) final(epoch cxtp.Epoch, blocks []cxtp.CDB) (*Dynamic, error) {
	noBase := func(format string, args ...any) error {
		return features.Refuse(cxtp.FPTIKEDynamic, cxtp.StatusNoBase, format, args...)
	}
	switch {
	case !r.IsStaged(epoch):
		return nil, noBase("nothing is staged for epoch %d", epoch)
	case r.base == nil && len(blocks) > 0:
		return nil, noBase("the session was staged without an IKE SA")
	case r.base == nil:
		return nil, nil
	}
	d, err := DecodeDynamic(blocks)
	if err != nil {
		return nil, err
	}
	if d.Unsettled {
		return nil, noBase("the IKE SA or its CHILD SAs have changed since they were staged, or are changing")
	}
	return d, d.validate(*r.base)
}

// Activate implements [features.Feature]. State that is not that of the staged
// SA, or is unsettled, is refused with StatusNoBase.
func (f *Feature) Activate(ctx context.Context, ref features.Ref, blocks []cxtp.CDB) error {
	return f.records.Do(ctx, ref, ledger.Activate, func(r *record) error {
		d, err := r.final(ref.Epoch, blocks)
		if err != nil {
			return err
		}
		if d != nil {
			if err := f.backend.Activate(ctx, ref.Session, *d); err != nil {
				return wrap("activate", err)
			}
		}
		r.Holds = ledger.HoldsActive
		return nil
	})
}

// Thaw implements [features.Feature].
func (f *Feature) Thaw(ctx context.Context, ref features.Ref, floors []cxtp.ManifestEntry) error {
	return f.records.Do(ctx, ref, ledger.Thaw, func(r *record) error {
		if err := f.backend.Thaw(ctx, ref.Session, floors != nil); err != nil {
			return wrap("thaw", err)
		}
		r.Holds = ledger.HoldsActive
		r.ForgetAnswer(ledger.Export)
		return nil
	})
}

// Redirect implements [features.Feature].
func (f *Feature) Redirect(ctx context.Context, ref features.Ref, to cxtp.RouterID) error {
	return f.records.Do(ctx, ref, ledger.Redirect, func(*record) error {
		return wrap("redirect", f.backend.Redirect(ctx, ref.Session, to))
	})
}

// Close implements [features.Feature]. There is nothing to end and nothing to
// unite: IKE has been silent here since the freeze.
func (*Feature) Close(context.Context, features.Ref) (features.Snapshot, error) {
	return features.Snapshot{}, nil
}

// Merge implements [features.Feature]: it says that the source has ended. Blocks
// are ignored.
func (f *Feature) Merge(ctx context.Context, ref features.Ref, _ []cxtp.CDB) error {
	return f.records.Do(ctx, ref, ledger.Merge, func(*record) error {
		return wrap("go on without the source", f.backend.Closed(ctx, ref.Session))
	})
}

// Release implements [features.Feature].
func (f *Feature) Release(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.Release, func(r *record) error {
		if err := f.backend.Release(ctx, ref.Session); err != nil {
			return wrap("release", err)
		}
		r.end()
		return nil
	})
}

// Discard implements [features.Feature]. It does nothing to a session that was
// activated in an earlier epoch, and refuses one activated in this.
func (f *Feature) Discard(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.Discard, func(r *record) error {
		if done, err := r.Keeps(ref.Epoch); done {
			return err
		}
		if err := f.backend.Discard(ctx, ref.Session); err != nil {
			return wrap("discard", err)
		}
		r.end()
		return nil
	})
}

// Claims implements [features.Feature]. Without IKE contexts there are none.
func (f *Feature) Claims(blocks []cxtp.CDB) (cxtp.Claims, error) {
	if len(blocks) == 0 {
		return cxtp.Claims{}, nil
	}
	s, err := DecodeSession(blocks)
	if err != nil {
		return cxtp.Claims{}, err
	}
	if err := s.Validate(); err != nil {
		return cxtp.Claims{}, err
	}
	return s.Claims(), nil
}

// wrap says what failed; nil stays nil.
func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("failed to %s the IKE SA: %w", what, err)
}
