// Package ikectx is the IKE feature context: what has to travel for a node's IKE
// SA (RFC 7296) to go on at another security gateway, so that the node can rekey,
// ask whether its gateway lives, and move to another address, as before.
//
// A [Session] is what does not change from one message to the next: who the two
// ends are and what they negotiated, the keys of the IKE SA, and its CHILD SAs as
// IKE knows them. Keys come from a lineage: a CHILD SA has those of the IKE SA
// that made it, which may have been rekeyed since. So a session has one [SA] for
// each generation that still matters. [Dynamic] is what every message changes:
// message IDs, and what is under way. It is read when the gateway stops
// processing IKE, and in no other moment.
//
// The keys of the CHILD SAs themselves, their sequence numbers and their policies
// are package ipsecctx's. The two are features of their own, which may be on
// different machines.
//
// As with ipsecctx there are three layers: the codec ([EncodeSession],
// [DecodeSession] and their relatives; rfc/ike-profile.md specifies the blocks),
// the meaning ([Session.Validate], [Dynamic.Validate], [Session.Claims]), and
// [Feature], which makes an IKE daemon (a [Backend]) a participant in moves.
//
// Keys are in [secret.Key] all the way. What a decoder returns aliases the
// blocks, so that one wipe reaches both.
package ikectx
