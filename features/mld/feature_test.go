package mld

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

var (
	link1  = netip.MustParsePrefix("2001:db8:1::/64")
	link2  = netip.MustParsePrefix("2001:db8:2::/64")
	groupA = netip.MustParseAddr("ff1e::a")
	groupB = netip.MustParseAddr("ff1e::b")
	mobile = Node{cxtp.SessionID{7}, netip.MustParseAddr("2001:db8:1::7")}
)

func refOf(epoch cxtp.Epoch, peer cxtp.RouterID) features.Ref {
	return features.Ref{Session: mobile.Session, Epoch: epoch, Peer: peer, Previous: mobile.Previous}
}

// router is a Memory that fails when it is told to, and counts what it joins.
type router struct {
	*Memory
	fail  error
	joins int
}

func (r *router) Listening(ctx context.Context, n Node) ([]Context, error) {
	contexts, err := r.Memory.Listening(ctx, n)
	return contexts, errors.Join(err, r.fail)
}

func (r *router) Join(ctx context.Context, n Node, contexts []Context) error {
	r.joins++
	return errors.Join(r.fail, r.Memory.Join(ctx, n, contexts))
}

// pair is two routers with a link each, of which the first knows the second's.
func pair() (sg1, sg2 *router, source, target *Feature) {
	sg1 = &router{Memory: NewMemory([]netip.Prefix{link1})}
	sg2 = &router{Memory: NewMemory([]netip.Prefix{link2})}
	there := map[cxtp.RouterID]netip.Prefix{"sg2": link2}
	source = NewFeature(sg1, Options{Prefix: func(p cxtp.RouterID) netip.Prefix { return there[p] }})
	return sg1, sg2, source, NewFeature(sg2, Options{})
}

func join(t *testing.T, r *router, groups ...netip.Addr) {
	t.Helper()
	var contexts []Context
	for _, g := range groups {
		contexts = append(contexts, Context{link1, g})
	}
	if err := r.Memory.Join(t.Context(), mobile, contexts); err != nil {
		t.Fatal(err)
	}
}

func has(t *testing.T, r *router, link netip.Prefix, groups ...netip.Addr) {
	t.Helper()
	got, err := r.Memory.Listening(t.Context(), mobile)
	if err != nil {
		t.Fatal(err)
	}
	var want []Context
	for _, g := range groups {
		want = append(want, Context{link, g})
	}
	if !slices.Equal(got, want) {
		t.Errorf("the node listens to %v, want %v", got, want)
	}
}

func status(err error) cxtp.Status {
	var refusal *features.Error
	if errors.As(err, &refusal) && refusal.FPT == cxtp.FPTMulticastListener {
		return refusal.Status
	}
	return cxtp.StatusOK
}

// stage exports at the source and stages at the target.
func stage(t *testing.T, source, target *Feature, epoch cxtp.Epoch) {
	t.Helper()
	s, err := source.Export(t.Context(), refOf(epoch, "sg2"), nil)
	if err != nil || len(s.Manifest) > 0 {
		t.Fatalf("exported with %v and a manifest of %d", err, len(s.Manifest))
	}
	if err := target.Stage(t.Context(), refOf(epoch, "sg1"), features.Staging{Blocks: s.Blocks}); err != nil {
		t.Fatal(err)
	}
}

// TestMove takes a node's groups to a link with another prefix.
func TestMove(t *testing.T) {
	ctx := t.Context()
	sg1, sg2, source, target := pair()
	join(t, sg1, groupB, groupA, groupB)
	stage(t, source, target, 1)
	has(t, sg2, link2) // staging is not joining
	final, err := source.Freeze(ctx, refOf(1, "sg2"))
	if err != nil || len(final.Blocks) > 0 {
		t.Errorf("the final has %d blocks, %v: nothing has changed", len(final.Blocks), err)
	}
	for range 2 {
		if err := target.Activate(ctx, refOf(1, "sg1"), final.Blocks); err != nil {
			t.Fatal(err)
		}
	}
	has(t, sg2, link2, groupA, groupB)
	if sg2.joins != 1 {
		t.Errorf("joined %d times for one activation", sg2.joins)
	}
	has(t, sg1, link1, groupB, groupA, groupB) // the source's end by themselves
	if err := source.Release(ctx, refOf(1, "")); err != nil {
		t.Fatal(err)
	}
	has(t, sg1, link1)
	if err := target.Discard(ctx, refOf(1, "sg1")); err == nil {
		t.Error("discarded what is active")
	}
	has(t, sg2, link2, groupA, groupB)
}

// TestGroupsChangeMeanwhile: the final has what the node listens to then.
func TestGroupsChangeMeanwhile(t *testing.T) {
	ctx := t.Context()
	sg1, sg2, source, target := pair()
	join(t, sg1, groupA)
	stage(t, source, target, 1)
	join(t, sg1, groupB)
	sample, err := source.Sample(ctx, refOf(1, ""))
	if err != nil || len(sample.Blocks) != 1 {
		t.Fatalf("a sample of %d blocks, %v", len(sample.Blocks), err)
	}
	if err := target.Renew(ctx, refOf(1, "sg1"), features.Staging{Blocks: sample.Blocks}); err != nil {
		t.Fatal(err)
	}
	join(t, sg1, groupB, groupA)
	final, err := source.Freeze(ctx, refOf(1, "sg2"))
	if err != nil || len(final.Blocks) != 2 {
		t.Fatalf("a final of %d blocks, %v", len(final.Blocks), err)
	}
	if err := target.Activate(ctx, refOf(1, "sg1"), final.Blocks); err != nil {
		t.Fatal(err)
	}
	has(t, sg2, link2, groupA, groupB)
}

// TestTakeOver goes on with what was renewed last.
func TestTakeOver(t *testing.T) {
	sg1, sg2, source, target := pair()
	join(t, sg1, groupA)
	stage(t, source, target, 1)
	if err := target.TakeOver(t.Context(), refOf(1, "sg1")); err != nil {
		t.Fatal(err)
	}
	has(t, sg2, link2, groupA)
}

// TestRefusals are told with a status, and stage nothing.
func TestRefusals(t *testing.T) {
	block := func(prefix netip.Prefix, groups int) (blocks []cxtp.CDB) {
		for i := range groups {
			group := groupA.As16()
			group[8], group[9] = byte(i>>8), byte(i)
			more, err := Encode([]Context{{prefix, netip.AddrFrom16(group)}})
			if err != nil {
				t.Fatal(err)
			}
			blocks = append(blocks, more...)
		}
		return blocks
	}
	for _, c := range []struct {
		name string
		s    features.Staging
		want cxtp.Status
	}{
		{"one link of two unknown", features.Staging{Blocks: append(block(link2, 1), block(link1, 1)...)}, StatusNoLink},
		{"malformed", features.Staging{Blocks: []cxtp.CDB{{FPT: cxtp.FPTMulticastListener, Data: []byte{1}}}}, cxtp.StatusMalformed},
		{"a manifest", features.Staging{Manifest: []cxtp.ManifestEntry{{FPT: cxtp.FPTMulticastListener}}}, cxtp.StatusMalformed},
		{"too many", features.Staging{Blocks: block(link2, maxGroups+1)}, cxtp.StatusNoResources},
		{"as many as fit", features.Staging{Blocks: block(link2, maxGroups)}, cxtp.StatusOK},
	} {
		_, sg2, _, target := pair()
		if err := target.Stage(t.Context(), refOf(2, "sg1"), c.s); status(err) != c.want {
			t.Errorf("%s: %v, want status %v", c.name, err, c.want)
		}
		err := target.Activate(t.Context(), refOf(2, "sg1"), nil)
		if (c.want == cxtp.StatusOK) != (err == nil) || err != nil && (status(err) != cxtp.StatusNoBase || sg2.joins > 0) {
			t.Errorf("%s: activated with %v, joined %d times", c.name, err, sg2.joins)
		}
	}
}

// TestALaterRefusalEndsWhatWasStaged: of an earlier epoch nothing can become active.
func TestALaterRefusalEndsWhatWasStaged(t *testing.T) {
	sg1, sg2, source, target := pair()
	join(t, sg1, groupA)
	stage(t, source, target, 1)
	bad := []cxtp.CDB{{FPT: cxtp.FPTMulticastListener}}
	if err := target.Stage(t.Context(), refOf(2, "sg1"), features.Staging{Blocks: bad}); status(err) != cxtp.StatusMalformed {
		t.Errorf("staged with %v", err)
	}
	for _, epoch := range []cxtp.Epoch{1, 2} {
		if err := target.Activate(t.Context(), refOf(epoch, "sg1"), nil); err == nil {
			t.Errorf("epoch %d is active", epoch)
		}
	}
	has(t, sg2, link2)
}

// TestExport sends one's own prefix to peers whose links are not known, and
// too many groups to nobody.
func TestExport(t *testing.T) {
	sg1, _, source, _ := pair()
	join(t, sg1, groupA)
	s, err := source.Export(t.Context(), refOf(1, "sg3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(s.Blocks); err != nil || !slices.Equal(got, []Context{{link1, groupA}}) {
		t.Errorf("exported %v, %v", got, err)
	}
	sg1.fail = errors.New("no netlink")
	if _, err := source.Export(t.Context(), refOf(2, "sg2"), nil); !errors.Is(err, sg1.fail) {
		t.Errorf("exported with %v", err)
	}
	sg1.fail = nil
	var many []netip.Addr
	for i := range maxGroups + 1 {
		group := groupA.As16()
		group[8], group[9] = byte(i>>8), byte(i)
		many = append(many, netip.AddrFrom16(group))
	}
	join(t, sg1, many...)
	if _, err := source.Export(t.Context(), refOf(3, "sg2"), nil); status(err) != cxtp.StatusNoResources {
		t.Errorf("exported %d groups with %v", len(many), err)
	}
}

// TestInASet leaves the groups behind when there is no link for them, and moves the
// rest.
func TestInASet(t *testing.T) {
	sg1, _, source, target := pair()
	join(t, sg1, groupA)
	set, err := features.NewSet(target)
	if err != nil {
		t.Fatal(err)
	}
	s, err := source.Export(t.Context(), refOf(1, "sg3"), nil)
	if err != nil {
		t.Fatal(err)
	}
	err = set.Stage(t.Context(), refOf(1, "sg1"), features.Staging{Blocks: s.Blocks})
	want := []cxtp.ContextStatus{{FPT: cxtp.FPTMulticastListener, Status: StatusNoLink}}
	if !slices.Equal(features.Missing(err), want) || features.Statuses(err) != nil {
		t.Errorf("staged with %v", err)
	}
}

// TestViews shows what an operator sees.
func TestViews(t *testing.T) {
	sg1, _, source, _ := pair()
	if err := source.Begin(t.Context(), mobile, []Context{{link2, groupA}}); status(err) != StatusNoLink {
		t.Errorf("begun on another router's link: %v", err)
	}
	if err := source.Begin(t.Context(), mobile, []Context{{link1, groupA}}); err != nil {
		t.Fatal(err)
	}
	views := source.Views(t.Context(), []Node{mobile, {Session: cxtp.SessionID{8}}})
	if len(views) != 1 || !slices.Equal(views[mobile.Session], []View{{Group: groupA, Prefix: link1}}) {
		t.Errorf("%+v", views)
	}
	source.End(mobile.Session)
	has(t, sg1, link1)
}
