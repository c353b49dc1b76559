// Package bridge is the multicast of a Linux router's links, as a backend of the
// multicast listener context: [github.com/cxtp/cxtp/features/mld].
//
// A link is an interface. If that is a bridge, the kernel snoops MLD on it and keeps
// a table: which group goes to which port, and until when. The groups of a node are
// those of the port that it is behind, which its address leads to by way of the
// neighbour table and of the bridge's forwarding table. A group that comes with a
// node is entered there as a Report would have entered it, with the whole Multicast
// Listener Interval to go, for the port that the node is behind if it has been seen
// already, and otherwise for every port: what nobody listens to ends by the timer.
// A bridge that does not snoop, or has no querier, sends every group to every port.
//
// Of any other interface the kernel knows nothing: the listeners are in the memory of
// a multicast routing daemon. There this package sends a Report in the node's place,
// as RFC 4067 appendix B allows, which a daemon on this machine hears as well as
// other routers on the link. What it has reported for a session is what it tells the
// next router.
//
// Which link a prefix means is told by the interfaces' own addresses.
package bridge
