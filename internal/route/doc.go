// Package route moves traffic between gateways on a network of Linux machines.
//
// A move of a session is only as good as its traffic's way to the new gateway,
// and that way has two directions:
//
//   - Downlink, from the protected side to the node: the route of the node's inner
//     addresses ([Routes]). At the gateway that has the session it leads to the
//     outside, where the kernel's policies protect what takes it. At the one that had
//     it, it leads to the new gateway's inside until everybody else has noticed.
//     Routes carry protocol numbers of their own, so that a routing daemon can be
//     told which to announce; on a plain LAN the gateway answers for the addresses
//     itself, and says at once that it does.
//   - Uplink, from the node to the gateway, where gateways share an outer address:
//     what comes for a session that is elsewhere is thrown on to there ([Forwards])
//     until the address itself goes there, and the neighbours are told ([Addresses]).
//
// All of it is idempotent: a daemon that was restarted does everything once more.
package route

// The numbers that routes of this package carry (rtnetlink's rtm_protocol), in the
// range that is nobody's: "ip route show proto 206" lists the first.
const (
	ProtocolHere    = 206 // to a node that is here: to be announced to others
	ProtocolPassing = 207 // of a session that is coming or going: nobody else's business
)
