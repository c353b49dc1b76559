package ikectx

import (
	"fmt"
	"strings"

	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// NAT is what is known of address translation between the two ends.
type NAT uint8

const (
	NATLocal  NAT = 0x80 // the gateway is behind one
	NATRemote NAT = 0x40 // the node is behind one
	NATForced NAT = 0x20 // there is none, and one side pretends: ESP goes in UDP all the same
	natKnown      = NATLocal | NATRemote | NATForced
)

// Extensions are what the two ends may use with each other, because both said so.
type Extensions uint32

const (
	ExtNATTraversal  Extensions = 0x8000_0000 >> iota // RFC 7296 section 2.23
	ExtMOBIKE                                         // RFC 4555
	ExtFragmentation                                  // RFC 7383
	ExtMessageIDSync                                  // RFC 6311, IKEv2_MESSAGE_ID_SYNC
	ExtReplaySync                                     // RFC 6311, IPSEC_REPLAY_COUNTER_SYNC
	ExtChildless                                      // RFC 6023
	ExtRedirect                                       // RFC 5685
	ExtSignatures                                     // RFC 7427
	ExtEAPOnly                                        // RFC 5998
	ExtMultipleAuth                                   // RFC 4739
	ExtHashAndURL                                     // RFC 7296 section 3.6
	ExtPPK                                            // RFC 8784
	ExtIntermediate                                   // RFC 9242
	extLast
	extKnown = ^(extLast<<1 - 1)
)

var (
	natNames = []string{"gateway behind NAT", "node behind NAT", "forced"}
	extNames = []string{
		"NAT traversal", "MOBIKE", "fragmentation", "message ID sync", "replay counter sync",
		"childless", "redirect", "signature authentication", "EAP-only authentication",
		"multiple authentication", "hash and URL", "PPK", "intermediate exchange",
	}
)

func (n NAT) String() string { return bits(uint32(n)<<24, natNames) }

func (e Extensions) String() string { return bits(uint32(e), extNames) }

// bits names those that are set, the first in the most significant one.
func bits(set uint32, names []string) string {
	var list []string
	for i, name := range names {
		if set&(0x8000_0000>>i) != 0 {
			list = append(list, name)
		}
	}
	return strings.Join(list, ", ")
}

func (a Auth) String() string {
	method := fmt.Sprintf("method %d", a.Method)
	if name, ok := authNames[a.Method]; ok {
		method = name
	}
	if a.EAP != 0 {
		return fmt.Sprintf("EAP type %d, then %s", a.EAP, method)
	}
	return method
}

// authNames are from IANA's "IKEv2 Authentication Method".
var authNames = map[uint8]string{
	0: "not known", 1: "RSA signature", 2: "shared key", 3: "DSS signature",
	9: "ECDSA P-256", 10: "ECDSA P-384", 11: "ECDSA P-521", 13: "null", 14: "digital signature",
}

// exchangeNames are from IANA's "IKEv2 Exchange Types".
var exchangeNames = map[uint8]string{
	34: "IKE_SA_INIT", 35: "IKE_AUTH", 36: "CREATE_CHILD_SA", 37: "INFORMATIONAL",
	38: "IKE_SESSION_RESUME", 43: "IKE_INTERMEDIATE", 44: "IKE_FOLLOWUP_KE",
}

func (m Message) String() string {
	name, ok := exchangeNames[m.Exchange]
	if !ok {
		name = fmt.Sprintf("exchange %d", m.Exchange)
	}
	octets := 0
	for _, d := range m.Datagrams {
		octets += len(d)
	}
	return fmt.Sprintf("%d (%s, %v ago, %d datagrams of %d octets)", m.ID, name, m.Age, len(m.Datagrams), octets)
}

func (a Additional) String() string { return fmt.Sprintf("type %d method %d", a.Type, a.Method) }

func (c IPComp) String() string {
	return fmt.Sprintf("transform %d, inbound CPI %04x, outbound CPI %04x", c.Transform, c.Inbound, c.Outbound)
}

func (t TrafficSelector) String() string {
	s := t.Range.String()
	if t.Protocol != 0 {
		s += fmt.Sprintf(" protocol %d", t.Protocol)
	}
	if t.Ports != ipsecctx.AnyPort {
		s += " port " + t.Ports.String()
	}
	return s
}

// String says whose IKE SA it is, without any key.
func (s *Session) String() string {
	name := fmt.Sprintf("IKE session of %s at %s", profile.Authenticated(s.RemoteID, s.EAPIdentity), s.Remote)
	if sa := s.Current(); sa != nil {
		name += ", " + sa.String()
	}
	return name + fmt.Sprintf(", %d CHILD SAs", len(s.Children))
}

// String names the SA by its SPIs.
func (sa *SA) String() string {
	return fmt.Sprintf("IKE SA %016x_i %016x_r, generation %d", sa.InitiatorSPI, sa.ResponderSPI, sa.Generation)
}

// String names the CHILD SA by its SPIs.
func (c *Child) String() string {
	return fmt.Sprintf("CHILD SA %s %08x_in %08x_out", c.Protocol, c.Inbound, c.Outbound)
}

// String says where the IKE SA stands.
func (d *Dynamic) String() string {
	s := fmt.Sprintf("generation %d, next request %d, next expected %d, %d requests and %d responses kept",
		d.Generation, d.NextRequest, d.NextExpected, len(d.Requests), len(d.Responses))
	if d.Unsettled {
		s += ", unsettled"
	}
	return s
}
