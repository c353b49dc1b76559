package ha

import "fmt"

// Attribute names one attribute. The numbers are those of version 5; versions 3
// and 4 count without what they lack.
type Attribute uint8

// All attributes, with the type of their values.
const (
	AttrIKEID       Attribute = iota + 1 // IKE_SA ID
	AttrIKERekeyID                       // IKE_SA ID
	AttrLocalID                          // identity
	AttrRemoteID                         // identity
	AttrRemoteEAPID                      // identity
	AttrLocalAddr                        // host
	AttrRemoteAddr                       // host
	AttrConfigName                       // string
	AttrConditions                       // 32 bits
	AttrExtensions                       // 32 bits
	AttrLocalVIP                         // host
	AttrRemoteVIP                        // host
	AttrPeerAddr                         // host
	AttrInitiator                        // 8 bits
	AttrNonceI                           // octets
	AttrNonceR                           // octets
	AttrSecret                           // octets
	AttrAddSecret                        // octets; not in version 3
	AttrOldSKd                           // octets
	AttrAlgPRF                           // 16 bits
	AttrAlgOldPRF                        // 16 bits
	AttrAlgEncr                          // 16 bits
	AttrAlgEncrLen                       // 16 bits
	AttrAlgInteg                         // 16 bits
	AttrAlgKE                            // 16 bits
	AttrAlgAddKEs                        // octets; not in version 3
	AttrIPsecMode                        // 8 bits
	AttrIPComp                           // 8 bits
	AttrInboundSPI                       // 32 bits
	AttrOutboundSPI                      // 32 bits
	AttrInboundCPI                       // 16 bits
	AttrOutboundCPI                      // 16 bits
	AttrLocalTS                          // selector
	AttrRemoteTS                         // selector
	AttrMID                              // 32 bits
	AttrSegment                          // 16 bits
	AttrESN                              // 16 bits
	AttrIKEVersion                       // 8 bits
	AttrLocalDH                          // octets
	AttrRemoteDH                         // octets
	AttrPSK                              // octets
	AttrIV                               // octets
	AttrAuthMethod                       // 16 bits
)

var attributeNames = [...]string{
	AttrIKEID: "IKE_ID", AttrIKERekeyID: "IKE_REKEY_ID", AttrLocalID: "LOCAL_ID",
	AttrRemoteID: "REMOTE_ID", AttrRemoteEAPID: "REMOTE_EAP_ID", AttrLocalAddr: "LOCAL_ADDR",
	AttrRemoteAddr: "REMOTE_ADDR", AttrConfigName: "CONFIG_NAME", AttrConditions: "CONDITIONS",
	AttrExtensions: "EXTENSIONS", AttrLocalVIP: "LOCAL_VIP", AttrRemoteVIP: "REMOTE_VIP",
	AttrPeerAddr: "PEER_ADDR", AttrInitiator: "INITIATOR", AttrNonceI: "NONCE_I",
	AttrNonceR: "NONCE_R", AttrSecret: "SECRET", AttrAddSecret: "ADD_SECRET",
	AttrOldSKd: "OLD_SKD", AttrAlgPRF: "ALG_PRF", AttrAlgOldPRF: "ALG_OLD_PRF",
	AttrAlgEncr: "ALG_ENCR", AttrAlgEncrLen: "ALG_ENCR_LEN", AttrAlgInteg: "ALG_INTEG",
	AttrAlgKE: "ALG_KE", AttrAlgAddKEs: "ALG_ADD_KES", AttrIPsecMode: "IPSEC_MODE",
	AttrIPComp: "IPCOMP", AttrInboundSPI: "INBOUND_SPI", AttrOutboundSPI: "OUTBOUND_SPI",
	AttrInboundCPI: "INBOUND_CPI", AttrOutboundCPI: "OUTBOUND_CPI", AttrLocalTS: "LOCAL_TS",
	AttrRemoteTS: "REMOTE_TS", AttrMID: "MID", AttrSegment: "SEGMENT", AttrESN: "ESN",
	AttrIKEVersion: "IKE_VERSION", AttrLocalDH: "LOCAL_DH", AttrRemoteDH: "REMOTE_DH",
	AttrPSK: "PSK", AttrIV: "IV", AttrAuthMethod: "AUTH_METHOD",
}

// String is the attribute's name in strongSwan 6, without its prefix.
func (a Attribute) String() string {
	if a > 0 && int(a) < len(attributeNames) {
		return attributeNames[a]
	}
	return fmt.Sprintf("attribute %d", uint8(a))
}

// repeats reports whether a message may have the attribute several times.
func (a Attribute) repeats() bool {
	switch a {
	case AttrLocalVIP, AttrRemoteVIP, AttrPeerAddr, AttrLocalTS, AttrRemoteTS, AttrSegment:
		return true
	}
	return false
}

// octet is the attribute's number in a version; false where the version lacks it.
func (a Attribute) octet(v Version) (octet byte, ok bool) {
	switch {
	case v != Version3 || a < AttrAddSecret:
		return byte(a), true
	case a == AttrAddSecret || a == AttrAlgAddKEs:
		return 0, false
	case a < AttrAlgAddKEs:
		return byte(a) - 1, true
	}
	return byte(a) - 2, true
}

// attribute is the attribute that a version gives a number to, 0 if none.
func (v Version) attribute(octet byte) Attribute {
	a := Attribute(octet)
	if v == Version3 && a >= AttrAddSecret {
		a++
		if a >= AttrAlgAddKEs {
			a++
		}
	}
	if int(a) >= len(attributeNames) {
		return 0
	}
	return a
}
