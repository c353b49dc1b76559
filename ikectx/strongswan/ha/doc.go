// Package ha is the protocol by which strongSwan's ha plugin tells another
// gateway about its IKE_SAs and CHILD_SAs: octets to Go values and back, for the
// versions 3, 4 and 5 of the protocol. It opens no socket.
//
// [Parse] reads one datagram into a [Message], whose Body is one of [IKEAdd],
// [IKEUpdate], [MessageID], [IKEDelete], [IKEIV], [ChildAdd], [ChildDelete] and
// [Segments]; [Message.Append] writes it. A body means the same in every
// version: set Message.Version and append, and a stream heard from one gateway
// can be said to another that speaks an older or newer version. What the older
// version has no words for is an [UnsupportedError], never left out in silence.
//
// # The octets
//
// A version octet, a type octet, then attributes: a type octet and a value whose
// length follows from the type alone. There is no length to step over what is
// not known, so reading ends there, and the rest is in [Message.Unread]: decide
// whether half a message is enough. Most numbers are in network byte order. SPIs
// of ESP and the CPIs are not: charon keeps them as they came from the network
// and byte-swaps them once more, so on a little-endian machine they are reversed.
// This package gives the number that "ip xfrm state" prints, and takes the
// machine it runs on for the gateway's, which an agent beside charon may.
//
// Transforms have the numbers of IANA's IKEv2 registries, for IKEv1 too; charon's
// own ones begin at 1024.
//
//	version  releases             what it added
//	3        5.0.0-5.9.14, 6.0.0
//	4        6.0.1                several key exchanges: ADD_SECRET, ALG_ADD_KES
//	5        6.0.2-6.0.6, 6.1.0   private conditions and extensions
//
// Within version 3 releases differ too. The key exchange method is told from
// 5.4.0, and the remote address with IKE_ADD from 5.3.3. Up to 5.9.5 only the
// first ten conditions and nine extensions are told and taken; see [Conditions].
//
// # When charon says what
//
// IKE_ADD comes with the keys, so before the peer is authenticated; for a failed
// attempt only IKE_DELETE follows, and not always. IKE_UPDATE comes when the
// IKE_SA is up and after its rekeying. Another one, with nothing but the remote
// virtual addresses, comes after IKE_AUTH and not after a rekeying. IKE_DELETE
// comes when the IKE_SA ends or has been rekeyed.
//
// Nothing comes when MOBIKE or a NAT changes an address, apart from the message
// IDs of the exchange: the plugin does not listen for that. Who imports a session
// has to ask charon or the kernel where the peer is.
//
// IKE_MID_INITIATOR and IKE_MID_RESPONDER come with each request, sent or
// received, but not with IKE_SA_INIT: with the ID of the next one, and before the
// response exists. A gateway that takes over therefore expects the next request
// and has no cached response for the last.
//
// CHILD_ADD comes with the keys of the CHILD_SA, and CHILD_DELETE when an active
// IKE_SA loses one. RESYNC is answered from what charon kept, IKE_SA by IKE_SA:
// all its IKE_ADD, then all its IKE_UPDATE, then the last message IDs. CHILD_SAs
// are not kept: charon rekeys them instead, or for a Windows client behind a NAT
// deletes them.
//
// # What charon makes of it
//
//   - IKE_ADD derives the keys and takes IKE version 2 for granted until it sees
//     IKE_VERSION, which is why that goes first. The IKE_SA is half open until an
//     IKE_UPDATE with a CONFIG_NAME. Up to version 3 an IKE_ADD for an IKE_SA that
//     exists makes a second object beside it; later ones derive its keys afresh
//     from its own SK_d, which is right for a further key exchange
//     ([IKEAdd.Further]) and ruins the keys if it is only a repetition.
//   - IKE_REKEY_ID hands the CHILD_SAs, addresses and identities of the old IKE_SA
//     over and destroys it. If the old one is not there, OLD_SKD is used all the
//     same: a rekeyed IKE_SA can be imported without its past, but not CHILD_SAs
//     that the past made.
//   - IKE_UPDATE is worked off in order, and all before IKE_ID is dropped with
//     everything behind it. A CONFIG_NAME that the gateway does not have destroys
//     the IKE_SA. Addresses, identities, conditions and extensions replace, and
//     the first virtual or peer address empties its list; but extensions are only
//     ever added, and each EAP identity adds a round of authentication. HA pools
//     reserve virtual addresses only when the configuration is known, so not
//     before CONFIG_NAME.
//   - A message ID drops what is outstanding and the cached responses of both
//     directions; 0 is ignored.
//   - CHILD_ADD takes from the IKE_SA, as it is then, the addresses and whether to
//     encapsulate ([CondNATAny]): IKE_UPDATE goes first. Marks, interface IDs,
//     replay window, lifetimes and everything else that is not in [ChildAdd] come
//     from the configuration of that name at the importing gateway. The protocol
//     is always ESP: an AH SA becomes an ESP SA.
//   - SEGMENT_DROP makes the receiver active, SEGMENT_TAKE passive, because both
//     say what the sender does; segment 0 is all of them. From 6.0.1 either
//     destroys the half-open IKE_SAs of the segment, so an import has to be
//     complete before it, and clients that are just connecting lose the attempt.
//
// # What cannot be moved by it
//
// An agent has to recognise these, because charon says nothing:
//
//   - a post-quantum preshared key (RFC 8784, condition [CondPPK]): it is mixed into
//     SK_d after IKE_ADD was sent, so CHILD_SAs get wrong keys. Once the IKE_SA has
//     been rekeyed, OLD_SKD is the right one, but only for what comes after it;
//   - several key exchanges with 6.0.0: it leaves out those of an IKE_SA's rekeying
//     and gives a CHILD_SA's first secret alone, and an IKE_ADD after
//     IKE_INTERMEDIATE names its own IKE_SA as the rekeyed one, which [Parse]
//     refuses;
//   - an identity of more than 255 octets (a long distinguished name): its length
//     is cut to one octet and the rest read as attributes. [Parse] then fails or
//     leaves something unread, which is a reason to distrust the session;
//   - a selector with a security label, at which charon stops reading, and one
//     CHILD_SA for each CPU, of which 6.0.2 and later tell nothing;
//   - a datagram above [DefaultBuffer], which the receiver drops whole: a CHILD_SA
//     with very many selectors.
package ha
