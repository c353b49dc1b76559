// Package ipsecctx is the IPsec feature context: what has to travel for an
// IPsec session to go on at another security gateway, as Go values and as the
// context data blocks of RFC 4067.
//
// A [Session] is what RFC 4301 keeps in the SAD, and in the SPD for one node
// only; it does not change with traffic. [Dynamic] is what changes with every
// packet: counters, anti-replay window, use of the lifetimes. They travel in
// blocks of their own, because the first can be sent long before the gateway
// stops, and the second only in the moment that it does.
//
// There are three layers, and each can be used alone:
//
//   - the codec: [EncodeSession], [DecodeSession] and their relatives, which
//     check the form of the blocks. rfc/ipsec-profile.md specifies them;
//   - the meaning: [Session.Validate], [Conflicts], [Session.Claims] and
//     [MergeWindows];
//   - [Feature], which makes a gateway (a [Backend]: its SAD and SPD in Go
//     values) a participant in moves.
//
// Keys are in [secret.Key] all the way. What a decoder returns aliases the
// blocks, so that one wipe reaches both.
package ipsecctx
