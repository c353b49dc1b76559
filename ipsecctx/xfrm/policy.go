package xfrm

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// door is how a policy stands to the SAs of its group: the reqid that its
// templates name is the group's plus this. The SAs have the group's own, and a
// template finds no SA of another, so a policy with a shut door carries nothing:
// outbound packets wait, inbound ones are dropped.
type door uint32

const (
	open   door = 0
	staged door = 1 // never been open since it was put there
	frozen door = 2

	doors = 4 // reqids of a group
)

// blockUser marks the policies of [Config.Protect]: "CXTP". The kernel compares
// a selector's user when it looks for a policy to replace, and not when it looks
// for one to apply, so these can stand beside a session's policy with the same
// addresses.
const blockUser = 0x43585450

// overlayUser marks an overlay in the same way, so that it can stand beside the
// IKE daemon's policy with the same selector: "CXTO".
const overlayUser = 0x4358544f

// blockPriority is looked at after everything else, asidePriority after all but
// that.
const (
	blockPriority = 0xffff_fff0
	asidePriority = blockPriority - 1
)

// blockPolicies block what comes from, or goes to, the addresses of a prefix.
// What comes for them from the protected side passes the forward policies and is
// blocked on its way out.
func blockPolicies(p netip.Prefix) []uapi.Policy {
	family := familyOf(p.Addr())
	from := uapi.Selector{Family: family, Src: p, Dst: everything(family), User: blockUser}
	to := uapi.Selector{Family: family, Src: everything(family), Dst: p, User: blockUser}
	all := []uapi.Policy{{Dir: uapi.DirOut, Selector: to}, {Dir: uapi.DirIn, Selector: from}, {Dir: uapi.DirFwd, Selector: from}}
	for i := range all {
		all[i].Action, all[i].Priority, all[i].Limits = uapi.Block, blockPriority, uapi.NoLimits()
	}
	return all
}

// passPolicy lets through, before the sessions' policies, what goes out on the
// inside for the addresses of a prefix.
func passPolicy(p netip.Prefix, inside int, sessions uint32) uapi.Policy {
	family := familyOf(p.Addr())
	return uapi.Policy{Dir: uapi.DirOut, Action: uapi.Allow, Priority: sessions - 1, Limits: uapi.NoLimits(),
		Selector: uapi.Selector{Family: family, Src: everything(family), Dst: p, IfIndex: int32(inside), User: blockUser}}
}

// group is SAs of a session that stand for each other: the generations of a
// rekey, and pairs with the same selectors. A packet may go over any, and comes
// in over any; they have one reqid.
type group struct {
	pairs []uint32 // the newest first
}

// groupsOf sorts the pairs of a session into groups: pairs of which one replaces
// the other, and pairs whose policies would be the same.
func groupsOf(s *ipsecctx.Session) ([]group, error) {
	leader := map[uint32]uint32{}
	var find func(uint32) uint32
	find = func(p uint32) uint32 {
		if up, ok := leader[p]; ok && up != p {
			return find(up)
		}
		return p
	}
	join := func(a, b uint32) { leader[find(a)] = find(b) }

	here, replaced := map[uint32]bool{}, map[uint32]bool{}
	owner := map[policyKey]uint32{}
	for i := range s.SAs {
		sa := &s.SAs[i]
		here[sa.Pair] = true
		if sa.Replaces != 0 {
			replaced[sa.Replaces] = true
			join(sa.Pair, sa.Replaces)
		}
		for j := range sa.Selectors {
			dir := uapi.DirIn
			if sa.Direction == ipsecctx.Outbound {
				dir = uapi.DirOut
			}
			selectors, err := selectorsOf(&sa.Selectors[j], dir)
			if err != nil {
				return nil, err
			}
			for _, k := range selectors {
				key := policyKey{selector: k, dir: dir}
				if other, taken := owner[key]; taken {
					join(sa.Pair, other)
				}
				owner[key] = sa.Pair
			}
		}
	}
	groups := map[uint32]*group{}
	for p := range here {
		g := groups[find(p)]
		if g == nil {
			g = &group{}
			groups[find(p)] = g
		}
		g.pairs = append(g.pairs, p)
	}
	var all []group
	for _, g := range groups {
		slices.SortFunc(g.pairs, func(a, b uint32) int {
			if replaced[a] != replaced[b] {
				if replaced[a] {
					return 1
				}
				return -1
			}
			return cmp.Compare(b, a)
		})
		all = append(all, *g)
	}
	slices.SortFunc(all, func(a, b group) int { return cmp.Compare(slices.Min(a.pairs), slices.Min(b.pairs)) })
	return all, nil
}

// policiesOf are the policies of a group whose reqid is given, doors open.
// Outbound packets follow the selectors of the newest generation; inbound ones
// may come over any, and as the kernel finds an SA's selectors in its policies,
// those of all generations count.
func policiesOf(s *ipsecctx.Session, g group, reqid, priority uint32, at Placement) ([]uapi.Policy, error) {
	all := map[policyKey]uapi.Policy{}
	for age, pair := range g.pairs {
		for _, d := range [...]ipsecctx.Direction{ipsecctx.Inbound, ipsecctx.Outbound} {
			sas := pairOf(s, pair, d)
			if len(sas) == 0 || d == ipsecctx.Outbound && age > 0 && len(pairOf(s, g.pairs[0], d)) > 0 {
				continue
			}
			dirs := []uapi.Dir{uapi.DirOut}
			if d == ipsecctx.Inbound {
				dirs = []uapi.Dir{uapi.DirIn, uapi.DirFwd}
				if sas[0].Mode == ipsecctx.Transport {
					dirs = dirs[:1] // what is in transport mode ends here
				}
			}
			for _, dir := range dirs {
				if err := addPolicies(all, sas, dir, reqid, priority, at); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(all) > maxSelectors {
		return nil, refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnsupported, "a session that takes %d policies: %d are allowed", len(all), maxSelectors)
	}
	return slices.SortedFunc(maps.Values(all), func(a, b uapi.Policy) int { return cmp.Compare(rank(a.Dir), rank(b.Dir)) }), nil
}

// rank puts outbound policies last.
func rank(d uapi.Dir) int {
	if d == uapi.DirOut {
		return 1
	}
	return 0
}

// addPolicies adds those of one direction of one pair.
func addPolicies(all map[policyKey]uapi.Policy, sas []*ipsecctx.SA, dir uapi.Dir, reqid, priority uint32, at Placement) error {
	var templates []uapi.Template
	for _, sa := range sas {
		templates = append(templates, templateOf(sa, reqid))
	}
	for i := range sas[0].Selectors {
		selectors, err := selectorsOf(&sas[0].Selectors[i], dir)
		if err != nil {
			return err
		}
		for _, k := range selectors {
			p := uapi.Policy{Dir: dir, Selector: k, Priority: priority, Action: uapi.Allow, Limits: uapi.NoLimits(),
				Templates: templates, Mark: at.Mark, IfID: at.IfID}
			if _, there := all[keyOf(&p)]; !there {
				all[keyOf(&p)] = p
			}
		}
	}
	return nil
}

// pairOf are the SAs of one direction of a pair in the order in which a packet
// gets their headers: ESP, and AH around it.
func pairOf(s *ipsecctx.Session, pair uint32, d ipsecctx.Direction) []*ipsecctx.SA {
	var sas []*ipsecctx.SA
	for i := range s.SAs {
		if sa := &s.SAs[i]; sa.Pair == pair && sa.Direction == d {
			sas = append(sas, sa)
		}
	}
	slices.SortFunc(sas, func(a, b *ipsecctx.SA) int { return cmp.Compare(a.Protocol, b.Protocol) })
	return sas
}

func templateOf(sa *ipsecctx.SA, reqid uint32) uapi.Template {
	t := uapi.Template{
		Family: familyOf(sa.Local), Src: sa.Local, Dst: sa.Remote, Proto: uapi.Proto(sa.Protocol), Mode: modeOf(sa), ReqID: reqid,
		AuthAlgs: uapi.AllAlgorithms, CryptAlgs: uapi.AllAlgorithms, CompAlgs: uapi.AllAlgorithms,
	}
	if sa.Direction == ipsecctx.Inbound {
		t.Src, t.Dst = sa.Remote, sa.Local
	}
	return t
}

// behind is a policy with its door as given.
func behind(p uapi.Policy, d door) uapi.Policy {
	p.Templates = slices.Clone(p.Templates)
	for i := range p.Templates {
		p.Templates[i].ReqID += uint32(d)
	}
	return p
}

// aside is an overlay that is open: behind the IKE daemon's policy, where no
// packet meets it. It must not be deleted instead. What waits at a policy is tried
// again when the policy is replaced, whatever policy it then finds, and is lost
// with one that is deleted, even if that was opened before: the kernel tries again
// only with its next tick.
func aside(p uapi.Policy) uapi.Policy {
	p.Action, p.Templates, p.Priority = uapi.Block, nil, asidePriority
	return p
}

// doorOf reads how a policy that was read back stands, seen from the one with
// its door open; false = it is not ours any more.
func doorOf(opened, found *uapi.Policy) (door, bool) {
	if found.Selector.User == overlayUser && found.Action == uapi.Block && found.Priority == asidePriority {
		return open, true
	}
	if len(opened.Templates) != len(found.Templates) || len(found.Templates) == 0 || found.Action != uapi.Allow {
		return 0, false
	}
	d := found.Templates[0].ReqID - opened.Templates[0].ReqID
	return door(d), d < doors
}

// policyKey is what the kernel tells policies apart by.
type policyKey struct {
	selector uapi.Selector
	dir      uapi.Dir
	mark     uapi.Mark
	ifID     uint32
}

func keyOf(p *uapi.Policy) policyKey {
	k := policyKey{p.Selector, p.Dir, p.Mark, p.IfID}
	for _, side := range [...]*netip.Prefix{&k.selector.Src, &k.selector.Dst} {
		if !side.IsValid() && p.Selector.Family != uapi.FamilyAny {
			*side = everything(p.Selector.Family)
		}
	}
	return k
}
