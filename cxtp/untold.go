package cxtp

import (
	"net/netip"
	"slices"
)

// A node with an agent is told of its gateway's new address, under its update key,
// and goes on to send to the old one until it is. A restart loses the key: a move
// that changes the address would then leave the node behind, and is refused unless
// the operator insists (rfc/control-profile.md section 8.3, Left behind). The target
// knows that it would, from the stage; the source decides, before the grant.

// forgotten reports whether the node waits to be told of its gateways by somebody
// who cannot: a restart has lost the update key.
func (n *NodeState) forgotten() bool { return n.Agent.IsValid() && n.UpdateKey.IsZero() }

// strands reports whether the node would be left behind if it had this gateway: at
// another address than the contexts say, of which it cannot be told. A node that
// never had an agent finds its gateways by other means.
func (s *Session) strands() bool {
	return s.node.forgotten() && slices.ContainsFunc(s.claims.Gateways, func(g netip.AddrPort) bool { return !s.cfg.announces(g) })
}

// leftBehind is why a move is refused that a node could not follow.
const leftBehind = "the node would have another gateway address, and its agent cannot be told: the update key was lost in a restart; the session goes on where it is"

// keepNode refuses an order that would leave the node behind. A standby's copy
// stays.
func (s *Session) keepNode() {
	m := s.src
	if !m.standby {
		s.giveUp(EventFailed, StatusUntold, leftBehind)
		return
	}
	m.ordered = false
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventFailed, Peer: m.to, Statuses: control(StatusUntold), Detail: leftBehind, Final: true})
}
