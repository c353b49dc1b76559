// Package mld is the multicast listener context of RFC 4067 appendix B: which IPv6
// groups a node listens to, so that the router that it comes to can forward them
// before the node has said a word of MLD there.
//
// There are three layers, and each can be used alone:
//
//   - the codec: [Encode] and [Decode], one block of 24 octets a group.
//     rfc/multicast-profile.md says what appendix B leaves open;
//   - [Feature], which makes the multicast of a router (a [Backend]) a participant
//     in moves;
//   - [Memory], a backend that keeps the groups and joins nothing, for gateways
//     that do not have the nodes' links. The one for Linux is
//     [github.com/cxtp/cxtp/features/mld/bridge].
//
// These contexts are unlike all others here: they may be copied. Two routers that
// both forward a group waste some bandwidth and break nothing, and MLD itself ends
// what nobody listens to any more. So they may be missing at the target, a router
// may take them from one that has no control block, and the source has nothing to
// undo when the node is gone.
//
// Appendix B is about IPv6. Nothing says what a context of IGMP would look like, so
// there is none here.
package mld
