// Package soft is a security gateway in user space: ESP (RFC 4303) in tunnel
// mode, carried in UDP (RFC 3948), between two ordinary UDP sockets. It needs
// no privilege and no particular operating system, and it is an
// [ipsecctx.Backend]: its sessions can be moved to and from any other.
//
//	        protected side                          unprotected side
//	host <--- bare IP in UDP ---> [ Gateway ] <--- ESP in UDP ---> node
//	                                   ^
//	other gateways <- bare IP in UDP --+   (redirected after a move)
//
// The inside wire carries one bare IP packet a datagram, the outside wire one
// ESP packet. Inner and outer packets may be IPv4 or IPv6 in any combination.
// A mobile node uses the same Gateway as its IPsec stack, with
// [Config.Host] set and the directions as the node sees them.
//
// The transforms are ENCR_AES_GCM_16 (RFC 4106) with keys of 128 and 256 bits,
// ENCR_CHACHA20_POLY1305 (RFC 7634), and ENCR_AES_CBC (RFC 3602) with keys of
// 128 and 256 bits under AUTH_HMAC_SHA2_256_128 (RFC 4868).
//
// # How the laws of a move are kept
//
// Every outbound packet of a session takes its sequence number, is sealed and
// is handed to the socket under one lock. [Gateway.Freeze] takes that lock, so
// when it returns a sequence number, no packet above it has been or will be
// sent. The IV of a combined-mode cipher is the 64-bit sequence number, so it
// repeats only if the sequence number does; the IV of CBC is random (RFC 3602
// section 3). A counter never wraps, whatever [ipsecctx.SA.Overflow] permits.
//
// A session that is staged owns its part of the SPD already: what arrives for
// it from inside waits in a bounded queue, and what arrives from outside under
// its SPIs is dropped. Traffic that no session claims is discarded, unless the
// configuration says [Bypass].
//
// # What it leaves to others
//
// The outer IP header belongs to the operating system's UDP stack, so the DSCP,
// ECN, DF and path MTU treatment of an SA travels with it but has no effect
// here. ICMP errors are neither made nor interpreted, inner packets are not
// fragmented, and a receiver that lost 2^32 packets in a row is not
// resynchronised (RFC 4303 appendix A3).
//
// Wiping a session's keys empties the octets that the gateway was given or
// cloned; the key schedules inside the standard library's ciphers are left to
// the garbage collector.
package soft
