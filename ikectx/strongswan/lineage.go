package strongswan

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// lineage is one client's IKE SA as the ha plugin told of it, with those whose
// rekeying made it, as far back as CHILD SAs of theirs are alive: a CHILD SA has
// its keys from the IKE SA that made it.
type lineage struct {
	generations []generation // by number; the last is in use
	update      ha.IKEUpdate // all that was said, the latest of each; SA is not kept
	children    []child      // by age
}

// generation is one IKE SA of a lineage.
type generation struct {
	number   uint32 // from 1 on
	add      *ha.IKEAdd
	further  []*ha.IKEAdd // its further key exchanges, RFC 9370
	since    time.Time
	request  uint32 // message ID of the gateway's next request
	expected uint32 // and of the client's
}

// child is a CHILD SA, and the number of the generation that made it.
type child struct {
	add        *ha.ChildAdd
	generation uint32
	since      time.Time
}

// current is the IKE SA in use.
func (l *lineage) current() *generation { return &l.generations[len(l.generations)-1] }

// id is the name of the IKE SA in use.
func (l *lineage) id() ha.SAID { return l.current().add.SA }

// complete reports whether all is known that an import needs.
func (l *lineage) complete() bool { return l.update.ConfigName != "" && len(l.children) > 0 }

// inner are the addresses that the client has behind the gateway.
func (l *lineage) inner() []netip.Prefix {
	var all []netip.Prefix
	for _, c := range l.children {
		for _, ts := range c.add.RemoteTS {
			for _, p := range rangeOf(ts).Prefixes() {
				if !slices.Contains(all, p) {
					all = append(all, p)
				}
			}
		}
	}
	return all
}

// prune forgets the generations before the first that is still needed.
func (l *lineage) prune() {
	needed := l.current().number
	for _, c := range l.children {
		needed = min(needed, c.generation)
	}
	for l.generations[0].number < needed {
		l.generations[0].wipe()
		l.generations = l.generations[1:]
	}
}

// addChild notes a CHILD SA. One with the same SPIs is the same.
func (l *lineage) addChild(c child) {
	l.dropChild(c.add.InboundSPI)
	l.children = append(l.children, c)
}

// dropChild forgets a CHILD SA, and reports whether there was one.
func (l *lineage) dropChild(inbound uint32) bool {
	i := slices.IndexFunc(l.children, func(c child) bool { return c.add.InboundSPI == inbound })
	if i < 0 {
		return false
	}
	(ha.Message{Body: l.children[i].add}).Wipe()
	l.children = slices.Delete(l.children, i, i+1)
	l.prune()
	return true
}

// revise takes what an update says.
func (l *lineage) revise(u *ha.IKEUpdate) {
	to := &l.update
	for _, id := range []struct{ to, said *ha.Identity }{
		{&to.LocalID, &u.LocalID}, {&to.RemoteID, &u.RemoteID}, {&to.RemoteEAPID, &u.RemoteEAPID},
	} {
		if id.said.Type != 0 {
			*id.to = *id.said
		}
	}
	if u.LocalAddr.IsValid() {
		to.LocalAddr = u.LocalAddr
	}
	if u.RemoteAddr.IsValid() && located(u.RemoteAddr) {
		to.RemoteAddr = u.RemoteAddr
	}
	if u.ConfigName != "" {
		to.ConfigName = u.ConfigName
	}
	if u.Conditions != nil {
		to.Conditions = u.Conditions
	}
	if u.Extensions != nil {
		to.Extensions = u.Extensions
	}
	if u.PrivateConditions != nil {
		to.PrivateConditions = u.PrivateConditions
	}
	if u.PrivateExtensions != nil {
		to.PrivateExtensions = u.PrivateExtensions
	}
	if len(u.PeerAddrs) > 0 {
		to.PeerAddrs = u.PeerAddrs
	}
	if len(u.LocalVIPs) > 0 {
		to.LocalVIPs = u.LocalVIPs
	}
	if len(u.RemoteVIPs) > 0 {
		to.RemoteVIPs = u.RemoteVIPs
	}
}

func (g *generation) wipe() {
	for _, add := range append(g.further, g.add) {
		(ha.Message{Body: add}).Wipe()
	}
}

// wipe overwrites every key of the lineage.
func (l *lineage) wipe() {
	for i := range l.generations {
		l.generations[i].wipe()
	}
	for _, c := range l.children {
		(ha.Message{Body: c.add}).Wipe()
	}
}

// String names the client.
func (l *lineage) String() string {
	who := l.update.RemoteID
	if l.update.RemoteEAPID.Type != 0 {
		who = l.update.RemoteEAPID
	}
	return fmt.Sprintf("%v at %v, %v", who, l.update.RemoteAddr, l.id())
}
