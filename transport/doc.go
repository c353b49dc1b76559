// Package transport carries CXTP messages between routers, and between a router
// and its mobile nodes. It moves octets and knows peers by name; what a message
// means is not its business.
//
// # Between routers
//
// An Endpoint exchanges messages with its configured peers over one socket,
// which both dials and accepts:
//
//	DTLS, the default                      KernelSCTP
//
//	message, 1 to 65,535 octets            message, the same
//	unordered, reliable                    unordered; PR-SCTP where it may expire
//	SCTP association, stream 0             SCTP association of the kernel's, stream 0
//	DTLS 1.2, certificates, AES-GCM        ESP, by the kernel's policies
//	flow: its share of the socket          IP
//	UDP socket
//
// RFC 4067 section 3.1 gives CXTP one SCTP stream with unordered delivery, and
// section 6 has the routers protect it by IPsec: this is KernelSCTP, of which
// package sctp has the details. By default, DTLS protects it, which is
// a departure: the channel needs neither a kernel nor its policy, and the peer
// is known by its certificate. The section also wants no bundling delay: SCTP
// puts messages into one packet only if they wait already, never waits for them.
//
// RFC 4065 assigns the SCTP port 5091. Inside DTLS, the library fixes both SCTP
// ports to 5000, so 5091 can only be the UDP port. RFC 4067 calls the payload
// protocol identifier 'CXTP', and RFC 4065 registers no number for it: we take
// the name's four ASCII characters for one, 0x43585450.
//
// The DTLS library is pion/dtls version 3, because GHSA-9f3f-wv7r-qc8r (random
// nonces with AES-GCM give the authentication key away) has no fix in version 2.
// What travels here is other people's IPsec keys.
//
// # Who may connect
//
// A peer is authenticated by a certificate that one of Config.Roots issued for
// client and server, and whose subject alternative names contain the identity of
// exactly one configured peer; if we dialed, of the very peer that we wanted.
// Everybody else is refused within the DTLS handshake, counted each time and
// reported once. Which address a peer has is no part of this: it may come from
// another than the one that is configured for dialing.
//
// With KernelSCTP a peer is who sends from the address and port of exactly one
// configured peer, and a required policy with ESP has to cover SCTP between the
// two, in both directions. That is looked at before a peer is dialed, before an
// association of either side's is used, whenever a policy has changed, and every two
// seconds. A peer whose policy is gone is gone itself, for ErrUnprotected; what had
// been given to SCTP by then may have been sent in the clear for as long as it took to
// notice, so let IPsec's own rules block what they do not protect. The port counts
// because whoever may open any other one at the peer's host is not that router.
// Config.InsecureSCTP does without all that.
//
// # Up and down
//
// Peers with an address are dialed at once, and again with a growing pause
// (50 ms to 2 s), so that the channel is there before a transfer needs it. When
// two routers dial each other at the same time, the handshake whose ClientHello
// has the larger random goes on and both ends drop the other. A peer that is
// restarted dials from the same address and port. Its handshake runs beside the
// dead connection, which stays in use until the new one is authenticated: that
// takes milliseconds, and nobody who merely forges an address can end a
// connection. A restarted peer that does not know our address is found when it
// has been silent for Config.KeepaliveTimeout; then we dial it. Every
// association sends keepalives, because nothing in SCTP below us would ever
// declare a peer dead. The kernel's SCTP does the first two by itself (RFC 9260
// sections 5.2.1 and 5.2.2) and has heartbeats for keepalives.
//
// An established connection is shown encrypted records only. The library ends a
// connection for some forged records in the clear, which anybody who can forge
// the peer's address could send.
//
// # What may be lost
//
// Send returns before anything is delivered. A message waits in our queue until
// SCTP takes it, or its expiry passes; messages of a final transfer have none. The
// kernel's SCTP gives a message up that expires before it is acknowledged (RFC 3758).
// What SCTP has taken is delivered unless the association fails first, in which
// case nobody can say which messages arrived: the protocol above repeats them.
// Messages may overtake each other. Our own copies are wiped when they leave the
// queue; the libraries' copies are not ours to wipe.
//
// # Bounds
//
// In octets, for each peer: Config.QueueBytes (4 MiB) waiting in our queue,
// 256 KiB and one message unacknowledged in SCTP, 1 MiB received and not yet
// taken by the handler, 1.25 MiB of datagrams not yet decrypted. (With KernelSCTP the
// middle two are asked of the kernel, which may give less.) For strangers:
// 64 handshakes, 8 for one IP address, 4 for one address and port, each 128 KiB
// before authentication; one that does not return its cookie within a second is
// gone. A configured peer's address counts only against the 4. Of refused
// remotes, 1,024 are remembered. With KernelSCTP, a stranger's association is aborted
// when the kernel tells of it.
//
// # To the mobile node
//
// A NodeConn carries single packets, unprotected, with messages of up to 1,232
// octets: UDP datagrams, and ICMP packets of the Experimental Mobility type.
//
// RFC 4067 section 3.2 wants ICMP. It takes raw sockets, and so CAP_NET_RAW; and
// since only packets with hop limit 255 are taken, a node has to be on a link of the
// router. A filter in the kernel drops what has come from farther away, and what is
// other ICMP, before it costs anything. UDP, which the section allows for prototypes
// and demonstrations, needs no privilege and crosses routers. By both, an answer can
// leave from the address of ours that was asked. Of both, the kernel keeps as much as
// a socket's buffer holds while the handler is busy. Repeating a request that is not
// answered, with doubling pauses, is for the caller.
package transport
