// Package ikev2 is as much of IKEv2 (RFC 7296) as an agent beside a security
// gateway's own IKE daemon has to speak: it derives the keys of an IKE SA and of
// its CHILD SAs from what the two ends exchanged, and protects and opens the
// messages of that IKE SA. It has no socket and no clock, and negotiates nothing.
//
// An [SA] is a plain value: SPIs, transforms by their IANA numbers, and keys. Its
// keys come from [SA.Derive] for the SA that IKE_SA_INIT made, from [SA.Rekey] for
// each that replaced it, and [SA.ChildKeys] gives what must be in the kernel if
// the lineage that somebody told is the true one:
//
//	sa := ikev2.SA{SPIi: i, SPIr: r, Protection: p, PRF: ikev2.PRFHMACSHA2256}
//	err := sa.Derive(ikev2.Inputs{Ni: ni, Nr: nr, Secrets: []secret.Key{g}})
//	child, err := sa.ChildKeys(esp, ikev2.Inputs{Ni: ni, Nr: nr})
//
// # Telling a node that its gateway has moved
//
// With MOBIKE (RFC 4555) the end that initiated the very first IKE SA decides
// about addresses, for a client's session that is the client. A gateway can only
// say where it is: it sends [AddressNotice] from its new address. A client with
// strongSwan then follows, for IKE and for ESP, because the message is authentic
// and came from there. A gateway that initiated the first IKE SA says so outright,
// with [SA.AddressUpdate].
//
//	request := ikev2.AddressNotice(id)
//	request.AddCookie()
//	datagram, err := sa.Seal(request)   // send it; to send it again, send these octets
//	response, err := sa.Open(received)
//	err = request.Check(response)
//
// The message ID is the IKE daemon's next one, and the daemon has to be told
// that it is used. Only one may speak for the SA at a time. A request of the node's
// own may come before its response (a client that cannot change the addresses of a
// CHILD SA rekeys it at once): that is for the IKE daemon.
//
// Whether a node can be reached from a new address at all, through the NAT that it
// is behind, is asked beforehand with a [Probe].
//
// # IVs
//
// Several senders use the same SK_e here: the IKE daemon of the old gateway, that
// of the new one, and this package. With AES-GCM, AES-CCM and ChaCha20-Poly1305 an
// IV that two of them use for different messages reveals the difference of both,
// and with AES-GCM the key that authenticates (RFC 5282 section 3.1).
//
// strongSwan (read in 5.3 to 6.0, seen with 5.9.8) takes
//
//	salt XOR (message ID << 32 | fragment number)
//
// with the highest bit inverted for an ID that is not above the one before, where
// salt is 64 random bits that it draws for each IKE SA and each import of it. So
// no pattern is left free for somebody else: a salt that was not seen yet can take
// an IV anywhere. [SA.Seal] therefore draws each IV at random, all 64 bits. It
// meets one of the n IVs of all other senders with a probability of n/2^64,
// whatever their scheme is, and needs no state that a crash could lose. With
// 2^20 messages under one SK_e that is 2^-44; two strongSwan gateways meet each
// other with a probability of the same order. Every message that is sealed adds
// to it, so a request is sealed once and its octets are sent again, which RFC 7296
// section 2.1 demands anyway. IVs of CBC are random because they have to be
// unpredictable.
//
// # What is left out
//
// Unprotected messages, which say nothing that could be believed; the making of
// fragments (RFC 7383), though [SA.Open] takes them; post-quantum preshared keys
// (RFC 8784); combinations that a table of this module or Go's libraries do not
// have: Camellia and AES-CTR for IKE messages, HMAC-MD5.
package ikev2
