package ha

import (
	"fmt"
	"math/bits"
	"strings"
)

// Conditions are what charon noted about an IKE_SA while it lived. No bit ever
// changed its meaning; releases differ in which they know, as the comments say.
// Up to 5.9.5 a gateway tells and takes the first ten only, so that a bit above
// them that is clear says nothing there. A bit that a gateway does not know is
// kept by it and has no effect.
type Conditions uint32

// The conditions, with the release that brought them after 5.0.0.
const (
	CondNATAny         Conditions = 1 << 0  // some NAT between them, real or pretended: ESP is in UDP
	CondNATHere        Conditions = 1 << 1  // the gateway is behind a NAT: it sends keepalives
	CondNATThere       Conditions = 1 << 2  // the peer is behind a NAT
	CondNATFake        Conditions = 1 << 3  // a NAT is pretended, to force UDP encapsulation
	CondEAP            Conditions = 1 << 4  // the peer authenticated itself by EAP
	CondCertReqSeen    Conditions = 1 << 5  // the peer asked for a certificate
	CondOriginalInit   Conditions = 1 << 6  // the gateway began the first IKE_SA of the lineage
	CondStale          Conditions = 1 << 7  // the peer cannot be reached at present (MOBIKE)
	CondInitialContact Conditions = 1 << 8  // the peer sent INITIAL_CONTACT
	CondXAuth          Conditions = 1 << 9  // the peer authenticated itself by XAuth
	CondReauth         Conditions = 1 << 10 // 5.0.1: is being reauthenticated
	CondRedirected     Conditions = 1 << 11 // 5.4.0: was redirected, RFC 5685
	CondNoRevocation   Conditions = 1 << 12 // 5.4.0: online revocation checks are suspended
	CondPPK            Conditions = 1 << 13 // 5.7.0: RFC 8784; see the package comment
	CondAuthenticated  Conditions = 1 << 14 // 5.9.8: every round of authentication is done
	CondOCSPRequest    Conditions = 1 << 15 // 5.9.14: the peer asked for an OCSP response
)

var conditionNames = []string{
	"NAT_ANY", "NAT_HERE", "NAT_THERE", "NAT_FAKE", "EAP_AUTHENTICATED", "CERTREQ_SEEN",
	"ORIGINAL_INITIATOR", "STALE", "INIT_CONTACT_SEEN", "XAUTH_AUTHENTICATED",
	"REAUTHENTICATING", "REDIRECTED", "ONLINE_VALIDATION_SUSPENDED", "PPK",
	"AUTHENTICATED", "OCSP_REQUEST",
}

// String lists the conditions by charon's names, "none" where there are none.
func (c Conditions) String() string { return flagText(uint32(c), conditionNames) }

// Extensions are what the peer can do, as charon learned in the negotiation. What
// is said of versions at [Conditions] holds for them too, with the first nine
// instead of ten.
type Extensions uint32

// The extensions, with the release that brought them after 5.0.0.
const (
	ExtNATT          Extensions = 1 << 0  // NAT traversal: RFC 7296 section 2.23 or RFC 3947
	ExtMOBIKE        Extensions = 1 << 1  // RFC 4555
	ExtHashAndURL    Extensions = 1 << 2  // certificates by reference, RFC 7296 section 3.6
	ExtMultipleAuth  Extensions = 1 << 3  // RFC 4739
	ExtStrongSwan    Extensions = 1 << 4  // the peer is strongSwan: private numbers may be used
	ExtEAPOnly       Extensions = 1 << 5  // RFC 5998
	ExtWindows       Extensions = 1 << 6  // probably a Windows client
	ExtXAuth         Extensions = 1 << 7  // IKEv1
	ExtDPD           Extensions = 1 << 8  // RFC 3706, or IKEv2
	ExtCiscoUnity    Extensions = 1 << 9  // IKEv1
	ExtNATTDraft     Extensions = 1 << 10 // 5.0.2: drafts 02 and 03 of RFC 3947
	ExtFragmentation Extensions = 1 << 11 // 5.0.2: RFC 7383, or IKEv1's
	ExtSignatureAuth Extensions = 1 << 12 // 5.3.0: RFC 7427
	ExtRedirect      Extensions = 1 << 13 // 5.4.0: RFC 5685
	ExtMessageIDSync Extensions = 1 << 14 // 5.5.2: RFC 6311
	ExtPPK           Extensions = 1 << 15 // 5.7.0: RFC 8784
	ExtChildless     Extensions = 1 << 16 // 5.8.0: RFC 6023
	ExtIntermediate  Extensions = 1 << 17 // 6.0.0: RFC 9242
)

var extensionNames = []string{
	"NATT", "MOBIKE", "HASH_AND_URL", "MULTIPLE_AUTH", "STRONGSWAN",
	"EAP_ONLY_AUTHENTICATION", "MS_WINDOWS", "XAUTH", "DPD", "CISCO_UNITY",
	"NATT_DRAFT_02_03", "IKE_FRAGMENTATION", "SIGNATURE_AUTH", "IKE_REDIRECTION",
	"IKE_MESSAGE_ID_SYNC", "PPK", "IKE_CHILDLESS", "IKE_INTERMEDIATE",
}

// String lists the extensions by charon's names, "none" where there are none.
func (e Extensions) String() string { return flagText(uint32(e), extensionNames) }

// privateMark, bit 31, tells the private set of conditions or extensions from the
// public one in version 5.
const privateMark = 1 << 31

// Private is a set of conditions or extensions that some build of strongSwan
// defined for itself. Only version 5 has them, and the releases define none.
type Private uint32

// String lists the bits by number, "none" where there are none.
func (p Private) String() string { return flagText(uint32(p), nil) }

func flagText(set uint32, names []string) string {
	if set == 0 {
		return "none"
	}
	var list []string
	for ; set != 0; set &= set - 1 {
		bit := bits.TrailingZeros32(set)
		if bit < len(names) {
			list = append(list, names[bit])
		} else {
			list = append(list, fmt.Sprintf("bit %d", bit))
		}
	}
	return strings.Join(list, " ")
}
