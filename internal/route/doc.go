// Package route moves traffic between gateways on a network of Linux machines.
//
// A move of a session is only as good as its traffic's way to the new gateway,
// and that way has two directions:
//
//   - Downlink, from the protected side to the node: the route of the node's inner
//     addresses ([Routes]). At the gateway that has the session it leads to the
//     outside, where the kernel's policies protect what takes it. At the one that had
//     it, it leads to the new gateway's inside until everybody else has noticed.
//     Routes carry a protocol number of their own, so that a routing daemon can be
//     told to announce them; on a plain LAN the gateway answers for the addresses
//     itself, and says at once that it does.
//   - Uplink, from the node to the gateway: where gateways share an outer address,
//     it moves with [Address], and the neighbours are told.
//
// Both are idempotent: a daemon that was restarted does everything once more.
package route

// Protocol is the number that routes of this package carry (rtnetlink's
// rtm_protocol), in the range that is nobody's: "ip route show proto 206" lists them.
const Protocol = 206
