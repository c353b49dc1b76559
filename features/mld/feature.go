package mld

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/ledger"
)

// maxGroups bounds the groups of one session. Their blocks take half of a message.
const maxGroups = 1024

// Options of a [Feature].
type Options struct {
	// Prefix is of the link where a node will be that goes to this peer; the zero
	// Prefix says that the peer's links have the prefixes of this router's own. nil
	// says that of every peer.
	Prefix func(peer cxtp.RouterID) netip.Prefix

	// Remember is the number of sessions whose epochs are remembered; 0 means
	// [ledger.DefaultLimit]. More are kept only while they are staged.
	Remember int
}

// Feature is the multicast listener context on top of a router: it encodes and
// decodes, checks, answers repetitions, and refuses epochs that are over. It is
// [features.Optional] and [features.Copyable].
//
// Nothing stops at the source: multicast flows on both links for a moment, and MLD
// ends it on the old one.
type Feature struct {
	backend Backend
	options Options
	records *ledger.Ledger[record, *record]
}

var (
	_ features.Feature  = (*Feature)(nil)
	_ features.Optional = (*Feature)(nil)
	_ features.Copyable = (*Feature)(nil)
)

// record is what the feature remembers of a session.
type record struct {
	ledger.Record
	peer     cxtp.RouterID // that the contexts were read for
	exported []Context
	staged   []Context
}

// NewFeature puts the multicast listener context on top of a router.
func NewFeature(b Backend, options Options) *Feature {
	return &Feature{backend: b, options: options, records: ledger.New[record](cxtp.FPTMulticastListener, options.Remember)}
}

// FPTs implements [features.Feature].
func (*Feature) FPTs() []cxtp.FPT { return []cxtp.FPT{cxtp.FPTMulticastListener} }

// Optional implements [features.Optional].
func (*Feature) Optional() bool { return true }

// Copyable implements [features.Copyable].
func (*Feature) Copyable() bool { return true }

func refuse(status cxtp.Status, format string, args ...any) error {
	return features.Refuse(cxtp.FPTMulticastListener, status, format, args...)
}

// Export implements [features.Feature].
func (f *Feature) Export(ctx context.Context, ref features.Ref, _ []cxtp.FPT) (features.Snapshot, error) {
	return f.records.Once(ctx, ref, ledger.Export, func(r *record) (features.Snapshot, error) {
		contexts, err := f.read(ctx, ref, ref.Peer)
		if err != nil {
			return features.Snapshot{}, err
		}
		r.peer, r.exported = ref.Peer, contexts
		return snapshot(contexts)
	})
}

// read lists a node's groups as the peer is to have them, in order.
func (f *Feature) read(ctx context.Context, ref features.Ref, peer cxtp.RouterID) ([]Context, error) {
	contexts, err := f.backend.Listening(ctx, node(ref))
	if err != nil {
		return nil, fmt.Errorf("failed to read what the node listens to: %w", err)
	}
	if f.options.Prefix != nil {
		if there := f.options.Prefix(peer); there.IsValid() {
			for i := range contexts {
				contexts[i].Prefix = there
			}
		}
	}
	slices.SortFunc(contexts, func(a, b Context) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), a.Group.Compare(b.Group))
	})
	contexts = slices.Compact(contexts)
	if len(contexts) > maxGroups {
		return nil, refuse(cxtp.StatusNoResources, "the node listens to %d groups, and %d fit", len(contexts), maxGroups)
	}
	return contexts, nil
}

func node(ref features.Ref) Node { return Node{ref.Session, ref.Previous} }

func snapshot(contexts []Context) (features.Snapshot, error) {
	blocks, err := Encode(contexts)
	return features.Snapshot{Blocks: blocks}, err
}

// changes reads a node's groups again: nothing, if they are those that were exported.
func (f *Feature) changes(ctx context.Context, ref features.Ref, r *record) (features.Snapshot, error) {
	contexts, err := f.read(ctx, ref, cmp.Or(ref.Peer, r.peer))
	if err != nil || slices.Equal(contexts, r.exported) {
		return features.Snapshot{}, err
	}
	return snapshot(contexts)
}

// Limit implements [features.Feature]. There is nothing to count.
func (*Feature) Limit(context.Context, features.Ref, []cxtp.ManifestEntry) error { return nil }

// Sample implements [features.Feature].
func (f *Feature) Sample(ctx context.Context, ref features.Ref) (s features.Snapshot, err error) {
	err = f.records.Turn(ctx, ref, ledger.Sample, func(r *record) (err error) {
		s, err = f.changes(ctx, ref, r)
		return err
	})
	return s, err
}

// Stage implements [features.Feature]. A stage without groups stages that.
func (f *Feature) Stage(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.records.Do(ctx, ref, ledger.Stage, func(r *record) error {
		r.Holds, r.staged = ledger.HoldsUnknown, nil
		if len(st.Manifest) > 0 {
			return refuse(cxtp.StatusMalformed, "%d groups in the manifest, which is of SAs", len(st.Manifest))
		}
		contexts, err := f.check(ctx, st.Blocks)
		if err != nil {
			return err
		}
		r.Holds, r.Staged, r.staged = ledger.HoldsStaged, ref.Epoch, contexts
		return nil
	})
}

// check reads contexts that are to be joined here.
func (f *Feature) check(ctx context.Context, blocks []cxtp.CDB) ([]Context, error) {
	contexts, err := Decode(blocks)
	if err != nil {
		return nil, err
	}
	if len(contexts) > maxGroups {
		return nil, refuse(cxtp.StatusNoResources, "%d groups, and %d are taken for a session", len(contexts), maxGroups)
	}
	return contexts, f.backend.Supports(ctx, contexts)
}

// replace takes contexts in the place of those that are staged. None says nothing.
func (f *Feature) replace(ctx context.Context, r *record, epoch cxtp.Epoch, blocks []cxtp.CDB) error {
	if !r.IsStaged(epoch) {
		return refuse(cxtp.StatusNoBase, "nothing is staged for epoch %d", epoch)
	}
	contexts, err := f.check(ctx, blocks)
	if err == nil && len(contexts) > 0 {
		r.staged = contexts
	}
	return err
}

// Renew implements [features.Feature].
func (f *Feature) Renew(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.records.Turn(ctx, ref, ledger.Renew, func(r *record) error {
		return f.replace(ctx, r, ref.Epoch, st.Blocks)
	})
}

// TakeOver implements [features.Feature].
func (f *Feature) TakeOver(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.TakeOver, func(r *record) error { return f.join(ctx, ref, r, nil) })
}

// Freeze implements [features.Feature]. It stops nothing, and says what the node
// listens to, if that has changed.
func (f *Feature) Freeze(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	return f.records.Once(ctx, ref, ledger.Freeze, func(r *record) (features.Snapshot, error) {
		return f.changes(ctx, ref, r)
	})
}

// Activate implements [features.Feature].
func (f *Feature) Activate(ctx context.Context, ref features.Ref, blocks []cxtp.CDB) error {
	return f.records.Do(ctx, ref, ledger.Activate, func(r *record) error { return f.join(ctx, ref, r, blocks) })
}

// join joins what is staged.
func (f *Feature) join(ctx context.Context, ref features.Ref, r *record, last []cxtp.CDB) error {
	if err := f.replace(ctx, r, ref.Epoch, last); err != nil {
		return err
	}
	if len(r.staged) > 0 {
		if err := f.backend.Join(ctx, node(ref), r.staged); err != nil {
			return fmt.Errorf("failed to join for the node: %w", err)
		}
	}
	r.Holds, r.staged = ledger.HoldsActive, nil
	return nil
}

// Begin joins groups for a session whose life begins here.
func (f *Feature) Begin(ctx context.Context, n Node, contexts []Context) error {
	if err := f.backend.Supports(ctx, contexts); err != nil {
		return err
	}
	return f.backend.Join(ctx, n, contexts)
}

// End undoes Begin.
func (f *Feature) End(id cxtp.SessionID) { f.backend.Forget(id) }

// Thaw implements [features.Feature]. Nothing was stopped.
func (f *Feature) Thaw(ctx context.Context, ref features.Ref, _ []cxtp.ManifestEntry) error {
	return f.records.Do(ctx, ref, ledger.Thaw, func(r *record) error {
		r.ForgetAnswer(ledger.Export)
		return nil
	})
}

// Redirect implements [features.Feature]. Multicast is not for the node alone: what
// comes for its groups is not passed on.
func (*Feature) Redirect(context.Context, features.Ref, cxtp.RouterID) error { return nil }

// Close implements [features.Feature]. There is nothing to end: see the package
// comment.
func (*Feature) Close(context.Context, features.Ref) (features.Snapshot, error) {
	return features.Snapshot{}, nil
}

// Merge implements [features.Feature]. There is nothing to unite.
func (*Feature) Merge(context.Context, features.Ref, []cxtp.CDB) error { return nil }

// Release implements [features.Feature].
func (f *Feature) Release(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.Release, func(r *record) error {
		f.forget(r)
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
		f.forget(r)
		return nil
	})
}

func (f *Feature) forget(r *record) {
	f.backend.Forget(r.ID)
	r.End()
	r.exported, r.staged = nil, nil
}

// Held implements [features.Feature]. Groups go on without the daemon, and nobody
// asks whose they are.
func (*Feature) Held(context.Context) ([]cxtp.Held, error) { return nil, nil }

// Claims implements [features.Feature]. Listening claims nothing.
func (*Feature) Claims(blocks []cxtp.CDB) (cxtp.Claims, error) {
	_, err := Decode(blocks)
	return cxtp.Claims{}, err
}

// Views are for the operator.
func (f *Feature) Views(ctx context.Context, nodes []Node) map[cxtp.SessionID][]View {
	return f.backend.Views(ctx, nodes)
}
