package profile

import (
	"bytes"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Identity is a symbolic identity: the end of a session, or the name selector of
// an SPD entry. Type is an IKEv2 ID type (RFC 7296 section 3.5); 0 means there is
// none.
type Identity struct {
	Type uint8
	Data []byte
}

// The IKEv2 identification types, RFC 7296 section 3.5.
const (
	IDIPv4   uint8 = 1
	IDFQDN   uint8 = 2
	IDRFC822 uint8 = 3
	IDIPv6   uint8 = 5
	IDDN     uint8 = 9  // DER of an X.500 distinguished name
	IDGN     uint8 = 10 // DER of an X.509 GeneralName
	IDKeyID  uint8 = 11
)

// String is the identity as policies write it: "fqdn:node1.example",
// "rfc822:ann@example.com", "ipv4:192.0.2.1", "ipv6:2001:db8::1",
// "dn:CN=node1,O=Example", "keyid:00ff" and "gn:3080"; a distinguished name that
// cannot be written so is its DER in hexadecimal. No two identities of a valid
// session are written the same, but for distinguished names that differ in
// their string types alone. Type 0 is "".
func (n Identity) String() string {
	switch n.Type {
	case 0:
		return ""
	case IDIPv4, IDIPv6:
		if a, ok := netip.AddrFromSlice(n.Data); ok {
			return fmt.Sprintf("ipv%d:%s", FamilyOf(a), a)
		}
		return "ip:" + hex.EncodeToString(n.Data)
	case IDFQDN:
		return "fqdn:" + Printable(n.Data)
	case IDRFC822:
		return "rfc822:" + Printable(n.Data)
	case IDDN:
		return "dn:" + distinguishedName(n.Data)
	case IDGN:
		return "gn:" + hex.EncodeToString(n.Data)
	case IDKeyID:
		return "keyid:" + hex.EncodeToString(n.Data)
	}
	return fmt.Sprintf("id%d:%s", n.Type, hex.EncodeToString(n.Data))
}

// Authenticated is the identity that was authenticated, as policies write it: the
// EAP identity, as "eap:ann", where there is one, else the IKE identity.
func Authenticated(id Identity, eap []byte) string {
	if len(eap) > 0 {
		return "eap:" + string(eap)
	}
	return id.String()
}

// Printable is the text, or where it is not fit to be shown, the text quoted.
func Printable(text []byte) string {
	if CheckText(text) != nil {
		return strconv.QuoteToASCII(string(text))
	}
	return string(text)
}

// distinguishedName writes DER as RFC 2253 does. What does not parse is
// hexadecimal, which no parsed name looks like, for want of an equals sign.
func distinguishedName(der []byte) string {
	var rdn pkix.RDNSequence
	if rest, err := asn1.Unmarshal(der, &rdn); err != nil || len(rest) > 0 || len(rdn) == 0 {
		return hex.EncodeToString(der)
	}
	name := rdn.String()
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unprintable) {
		return hex.EncodeToString(der)
	}
	return name
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Check says what is wrong with an identity. Text must be printable: it ends up
// in policies and in logs.
func (n Identity) Check() error {
	switch {
	case n.Type == 0 && len(n.Data) > 0:
		return fmt.Errorf("identity of type 0 with %d octets: type 0 means none", len(n.Data))
	case n.Type != 0 && len(n.Data) == 0:
		return fmt.Errorf("empty identity of type %d", n.Type)
	case n.Type == IDIPv4 && len(n.Data) != 4, n.Type == IDIPv6 && len(n.Data) != 16:
		return fmt.Errorf("address identity of type %d with %d octets", n.Type, len(n.Data))
	case n.Type == IDFQDN || n.Type == IDRFC822:
		return CheckText(n.Data)
	}
	return nil
}

// CheckText says why a text is not fit to stand in a policy or in a log.
func CheckText(text []byte) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("identity %q is not UTF-8", text)
	}
	if bytes.ContainsFunc(text, unprintable) || bytes.ContainsRune(text, ' ') {
		return fmt.Errorf("identity %q has a space, or a character that cannot be shown", text)
	}
	return nil
}
