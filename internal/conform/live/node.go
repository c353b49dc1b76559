package live

import (
	"bytes"
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// node is a mobile node as the prober plays it.
type node struct {
	previous netip.Addr
	keys     []secret.Key // that have made no right token yet
	contexts []cxtp.FPT
	groups   []netip.Addr // to which it listens
	spent    bool         // a right token was shown: the router may have its contexts no more
}

// take gives a node of which everything is fresh, with at least so many keys; the
// case that takes it uses it up. v4 is the family of its address.
func (t *trial) take(keys int, v4 bool) *node {
	for _, n := range t.supply {
		if !n.spent && len(n.keys) >= keys && n.previous.Is4() == v4 && len(n.groups) == 0 {
			n.spent = true
			return n
		}
	}
	family := "IPv4"
	if !v4 {
		family = "IPv6"
	}
	t.skip("the subject has no %s node left with %d fresh keys: add a [[mobile_node]]", family, keys)
	return nil
}

// listener is a fresh node with multicast groups; see take.
func (t *trial) listener() *node {
	for _, n := range t.supply {
		if !n.spent && len(n.groups) > 0 {
			n.spent = true
			return n
		}
	}
	t.skip("the subject has no node left with groups: add a [[mobile_node]] with multicast listener contexts")
	return nil
}

// bystander is a node that wrong tokens may be shown about: each time another one,
// because a router limits how many it looks at.
func (t *trial) bystander() *node {
	for range t.supply {
		t.shown = (t.shown + 1) % len(t.supply)
		if n := t.supply[t.shown]; !n.spent && n.previous.Is4() {
			return n
		}
	}
	t.skip("the subject has no IPv4 node left: add a [[mobile_node]]")
	return nil
}

// stranger is the address of a node of whom the router has nothing, and which no
// case has used.
func (t *trial) stranger(v4 bool) netip.Addr {
	for i, p := range t.subject.Strangers {
		if p.Addr().Is4() != v4 {
			continue
		}
		if a := t.strangers[i].Next(); p.Contains(a) {
			t.strangers[i] = a
			return a
		}
	}
	t.skip("the subject has no address left of this family for nodes that the router does not know (strangers)")
	return netip.Addr{}
}

// here is what CXTP messages about a node call the prober's router.
func (t *trial) here(previous netip.Addr) netip.Addr {
	for _, a := range t.subject.Probe.Address {
		if a.Is4() == previous.Is4() {
			return a
		}
	}
	t.skip("probe.address of the subject has no address of the family of %v", previous)
	return netip.Addr{}
}

// sequence draws a sequence number.
func (t *trial) sequence() uint32 { return t.sequences.Draw(t.began) }

// token is a right token: the first key of the node that has not made one.
func (t *trial) token(n *node, sequence uint32, requests ...cxtp.CDB) cxtp.Token {
	token, err := cxtp.ComputeToken(n.keys[0], n.previous, sequence, requests)
	t.must(err)
	return token
}

// ctar is the node's request at the router under test, which is its pAR or its nAR,
// and so names the prober in both cases, with a right token.
func (t *trial) ctar(n *node, ack bool, requests ...cxtp.CDB) *cxtp.CTAR {
	m := &cxtp.CTAR{Ack: ack, Previous: n.previous, Router: t.here(n.previous), Sequence: t.sequence(), Requests: requests}
	m.Token = t.token(n, m.Sequence, requests...)
	return m
}

// ctreq is the prober's request for a node's contexts, with a right token.
func (t *trial) ctreq(n *node, requests ...cxtp.CDB) *cxtp.CTReq {
	m := &cxtp.CTReq{Previous: n.previous, Sequence: t.sequence(), Requests: requests}
	m.Token = t.token(n, m.Sequence, requests...)
	return m
}

// strange is a CTAR at the router of a node that it does not know, which says that
// it comes from the prober. Its token cannot be checked there.
func (t *trial) strange(v4, ack bool, requests ...cxtp.CDB) *cxtp.CTAR {
	n := &node{previous: t.stranger(v4), keys: []secret.Key{secret.New(bytes.Repeat([]byte{7}, 20))}}
	return t.ctar(n, ack, requests...)
}

// transfers wants a CTD or PCTD with contexts of the node.
func transfers(n *node) func(*arrival) bool {
	data := is[cxtp.CTD](n.previous)
	return func(a *arrival) bool {
		return data(a) && slices.ContainsFunc(a.message.(*cxtp.CTD).Blocks, func(b cxtp.CDB) bool {
			return slices.Contains(n.contexts, b.FPT)
		})
	}
}

// transfer awaits the contexts of a node.
func (t *trial) transfer(n *node) (*cxtp.CTD, *arrival) {
	a := t.await("the CTD with the contexts of "+n.previous.String(), transfers(n))
	return a.message.(*cxtp.CTD), a
}

// noTransfer ends the case when contexts of the node come.
func (t *trial) noTransfer(n *node) { t.never("a CTD with the node's contexts", transfers(n)) }
