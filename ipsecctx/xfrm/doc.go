// Package xfrm is a security gateway whose ESP and AH are the Linux kernel's: an
// [ipsecctx.Backend] over XFRM netlink. Sessions can be moved between it and any
// other backend.
//
// # Doors
//
// The kernel sends a packet over an SA only if a policy has a template for it,
// and a template finds SAs by a number, the reqid. So a policy whose template
// names a reqid that no SA has is a shut door: outbound packets wait at it, since
// net.core.xfrm_larval_drop is 0, and inbound ones are dropped. Each group of SAs
// that stand for each other (the generations of a rekey) has four reqids, one of
// them the SAs' own. Which of them the policies name is how far the session has
// got:
//
//	            policies name     the SAs are            what arrives for the node
//	staged      staged, all       inert                  waits; from the node: dropped
//	active      the SAs' own      at work                sent; accepted
//	frozen      frozen, outbound  there, with the last   waits; accepted until Close,
//	            (strict: all)     numbers, unused        or (strict) dropped
//
// A door is opened or shut by one request, which replaces the policy and has what
// waits at it tried again. All the rest happens while doors are shut:
//
//   - Stage gives the kernel everything: SAs, keys, policies. What the kernel
//     cannot hold is refused then and not later, and the SPIs are reserved by the
//     SAs that have them, without the half minute that the kernel gives a bare
//     reservation. The SAs are inert all the same: an outbound one is at its last
//     sequence number, an inbound one has seen everything. The daemon keeps no key.
//   - Activate sets sequence numbers, windows, use and lifetimes, reads all of it
//     back, and opens the doors: inbound first, outbound last.
//   - Freeze shuts the outbound doors, deletes the outbound SAs, whose last state
//     comes with the event of their deletion, and adds them again as they were.
//     Only the deletion makes it exact: a packet that had found the SA before the
//     door was shut may be numbered until then. Thaw opens the doors.
//   - Close deletes the inbound SAs for their last windows. Merge, Limit: see there.
//
// # An IKE daemon's SAs
//
// Beside an IKE daemon the SAs and their policies are that daemon's: it has put them
// there, with numbers and priorities of its own, and rekeys and deletes them when it
// likes. Such a session is adopted: [Gateway.Adopt] at the gateway where it is at
// work, and with [Config.Adopt] at the one that it moves to, where Stage comes
// before the daemon is told of the session, and [Gateway.Adopted] after.
//
// The doors of an adopted session are overlays: policies with the selectors of the
// daemon's, in front of them while a door is shut, with a template that names a reqid
// which no SA has. To open, the overlay steps aside: in one request it becomes a
// policy that blocks, behind the daemon's, and what has waited at it leaves over
// those. It stays there until it is needed again, and for what comes when the daemon
// has taken its own away. (Deleted, it would take with it what waits.) A session that
// has never been frozen here has none.
//
//	          in front                   the SAs are
//	staged    overlay, all doors         to come; from Adopted on inert
//	active    the daemon's policies      at work
//	frozen    overlay, outbound          there, with the last numbers, unused
//	          (strict: all)
//
// An SA that is taken out for its last numbers comes back as the daemon made it, so
// it may go on with it after Thaw, or delete it. What the daemon has deleted is gone,
// which is no error. Release and Discard delete what is left of the SAs, and only
// then the overlays; the daemon's policies are its own to delete, and it should
// have forgotten the session by then: SAs that it brings later nobody holds back.
//
// Lifetimes in time and octets are the daemon's, so that its rekeys come as it is
// configured; what is used of them moves. Of a ceiling an SA gets the hard limit
// alone, because a soft one would have the daemon rekey: Run looks at the numbers
// once a second. Anti-replay windows are the daemon's, and their sizes may differ:
// what lies beyond the smaller one at a move counts as seen. While a door is shut and
// packets wait, the kernel asks the daemon for an SA, by a reqid that it does not
// know: it says so in its log, and no more.
//
// # After a crash
//
// Keys, counters and doors are in the kernel, which goes on when the daemon dies.
// What is not (identities, pairs, which SA belongs where) is in a file without
// keys that counts until the next boot. [Gateway.Held] puts the two together:
//
//   - All doors of a session as Stage put them there are the positive evidence
//     that nothing was sent: nothing but Activate opens a door, and what has been
//     open never gets that number again. An SA that is missing is no evidence.
//   - Shut for a freeze, with every outbound SA in place, is a frozen session, whose
//     counters are read again, exactly. If the daemon died in the instant between
//     the deletion of an SA and its return, key and counter are gone and the
//     session has ended: it is not listed, and the machine records it.
//   - Everything else that has an SA, or an outbound door open, is active.
//
// An SA that is gone by itself (its lifetime is over, or somebody deleted it)
// stays dead at the target too: as a final it has used, or seen, everything.
// Where the last number of a deleted SA is not known because the event was lost,
// it counts as having reached its ceiling; without a ceiling Freeze fails, with
// [ErrCountersUnknown], and the session ends.
//
// # Ceilings
//
// The kernel limits packets, not numbers. At a moment when both are known the
// limit is the packets counted plus the numbers left below the ceiling, and from
// then on they advance together. (The two are read one after the other, packets
// first: what is sent in between makes the limit lower, never higher.) At the
// limit the kernel deletes the SA, and its policy still blocks. That ends the
// session, so a ceiling has to be moved up before: the soft limit, half way, is
// what [Config.NearCeiling] tells of. Devices that cut large packets for the
// kernel number them without counting; SAs here are not offloaded.
//
// # No cleartext
//
// From [New] on, policies of the lowest priority block the addresses of
// [Config.Protect], and a session's policies are exceptions to them; so it does
// not matter in which order those come and go. The block policies carry a mark in
// a field of the selector that the kernel compares when it replaces a policy and
// not when it applies one: so they stand beside a session's with the same
// selector. They stay when the daemon ends.
//
// # Queue
//
// The kernel's queue has about 100 packets for each policy; more are dropped
// without a counter. It tries them again by itself after 100 ms, 200 ms and so on,
// and gives all of them up after about a minute. What waits at a source cannot be
// sent another way: to lose nothing, let the downlink lead to the target before the
// freeze, where it waits and is sent on activation. By then the SA's local address
// must be this machine's (on its loopback interface will do): the kernel drops the
// whole queue when it finds no route from it.
//
// # What the kernel cannot do
//
// Supports refuses, by name: implicit IVs (RFC 8750), AH with AES-GMAC, ESN
// without an anti-replay window, OPAQUE selectors, DSCP maps and SAs chosen by
// DSCP, a DF bit that is always set, stateful fragment checking, sensitivity
// labels; and what this very kernel lacks, which it is asked for with an SA that
// nobody can send to. Ranges of addresses and ports become several policies, at
// most 256 for a session. A sequence counter never rolls over, whatever
// [ipsecctx.SA.Overflow] permits. IVs of the counter ciphers are the sequence
// number XOR a random number of the SA's instance (rfc/ipsec-profile.md section
// 12). Octets are counted with the outer header. The outbound SPI is the node's,
// so two nodes behind one NAT that chose the same cannot both be here.
package xfrm
