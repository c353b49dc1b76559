package ha

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
	"pgregory.net/rapid"
)

// The generators draw any body that version 5 can say, in the form that parsing
// gives: what is empty is nil.

func drawSAID(t *rapid.T) SAID {
	return SAID{
		IKEVersion: rapid.Uint8Range(1, 2).Draw(t, "IKE version"),
		SPIi:       rapid.Uint64().Draw(t, "SPIi"),
		SPIr:       rapid.Uint64().Draw(t, "SPIr"),
		Initiator:  rapid.Bool().Draw(t, "initiator"),
	}
}

func drawOctets(t *rapid.T, name string) []byte {
	return rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, name)
}

func drawKey(t *rapid.T, name string) secret.Key {
	if !rapid.Bool().Draw(t, name) {
		return secret.Key{}
	}
	return secret.New(drawOctets(t, name))
}

func drawAddrs(t *rapid.T, size, n int) []netip.Addr {
	var list []netip.Addr
	for range n {
		a, _ := netip.AddrFromSlice(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, "address"))
		list = append(list, a)
	}
	return list
}

func drawSize(t *rapid.T) int { return rapid.SampledFrom([]int{4, 16}).Draw(t, "size") }

func drawHosts(t *rapid.T, least, most int) []netip.AddrPort {
	var list []netip.AddrPort
	for _, a := range drawAddrs(t, drawSize(t), rapid.IntRange(least, most).Draw(t, "hosts")) {
		list = append(list, netip.AddrPortFrom(a, rapid.Uint16().Draw(t, "port")))
	}
	return list
}

func drawIdentity(t *rapid.T) Identity {
	return Identity{Type: rapid.Uint8Min(1).Draw(t, "ID type"), Data: drawOctets(t, "identity")}
}

func drawProposal(t *rapid.T, prf bool) Proposal {
	p := Proposal{
		Encr:     rapid.Uint16Min(1).Draw(t, "ENCR"),
		EncrBits: rapid.Uint16().Draw(t, "bits"),
		Integ:    rapid.Uint16().Draw(t, "INTEG"),
		KE:       rapid.Uint16().Draw(t, "KE"),
	}
	if prf {
		p.PRF = rapid.Uint16().Draw(t, "PRF")
	}
	if n := rapid.IntRange(0, maxAddKEs).Draw(t, "further"); n > 0 {
		p.AddKEs = rapid.SliceOfN(rapid.Uint16(), n, n).Draw(t, "KEs")
	}
	return p
}

func drawSelectors(t *rapid.T) []Selector {
	var list []Selector
	for range rapid.IntRange(1, 4).Draw(t, "selectors") {
		ends := drawAddrs(t, drawSize(t), 2)
		list = append(list, Selector{
			Protocol: rapid.Uint8().Draw(t, "protocol"),
			FromPort: rapid.Uint16().Draw(t, "from port"), ToPort: rapid.Uint16().Draw(t, "to port"),
			From: ends[0], To: ends[1], Dynamic: rapid.Bool().Draw(t, "dynamic"),
		})
	}
	return list
}

func drawAdd(t *rapid.T) *IKEAdd {
	m := &IKEAdd{
		SA: drawSAID(t), OldPRF: rapid.Uint16().Draw(t, "old PRF"), OldSKd: drawKey(t, "SK_d"),
		NonceI: drawOctets(t, "NonceI"), NonceR: drawOctets(t, "NonceR"),
		Secret: secret.New(drawOctets(t, "secret")), AddSecret: drawKey(t, "further secrets"),
		PSK: drawKey(t, "PSK"), AuthMethod: rapid.Uint16().Draw(t, "method"),
	}
	if rapid.Bool().Draw(t, "rekeyed") {
		m.Rekeyed = drawSAID(t)
		m.Rekeyed.SPIi = ^m.SA.SPIi
	}
	if rapid.Bool().Draw(t, "proposal") {
		m.Proposal = drawProposal(t, true)
	}
	if rapid.Bool().Draw(t, "public values") {
		m.LocalDH, m.RemoteDH = drawOctets(t, "LocalDH"), drawOctets(t, "RemoteDH")
	}
	if hosts := drawHosts(t, 0, 1); hosts != nil {
		m.RemoteAddr = hosts[0]
	}
	return m
}

func drawUpdate(t *rapid.T) *IKEUpdate {
	m := &IKEUpdate{
		SA: drawSAID(t), PeerAddrs: drawHosts(t, 0, 3),
		ConfigName: rapid.StringMatching(`[a-z-]{0,12}`).Draw(t, "name"),
		LocalVIPs:  drawAddrs(t, drawSize(t), rapid.IntRange(0, 2).Draw(t, "local VIPs")),
		RemoteVIPs: drawAddrs(t, drawSize(t), rapid.IntRange(0, 2).Draw(t, "remote VIPs")),
	}
	for _, id := range []*Identity{&m.LocalID, &m.RemoteID, &m.RemoteEAPID} {
		if rapid.Bool().Draw(t, "identity") {
			*id = drawIdentity(t)
		}
	}
	if rapid.Bool().Draw(t, "addresses") {
		m.LocalAddr, m.RemoteAddr = drawHosts(t, 1, 1)[0], drawHosts(t, 1, 1)[0]
	}
	bits := rapid.Uint32Range(0, privateMark-1)
	if rapid.Bool().Draw(t, "public") {
		m.Conditions = new(Conditions(bits.Draw(t, "conditions")))
		m.Extensions = new(Extensions(bits.Draw(t, "extensions")))
	}
	if rapid.Bool().Draw(t, "private") {
		m.PrivateConditions = new(Private(bits.Draw(t, "conditions")))
		m.PrivateExtensions = new(Private(bits.Draw(t, "extensions")))
	}
	return m
}

func drawChild(t *rapid.T) *ChildAdd {
	return &ChildAdd{
		SA: drawSAID(t), Initiator: rapid.Bool().Draw(t, "initiator"), ESN: rapid.Bool().Draw(t, "ESN"),
		InboundSPI: rapid.Uint32().Draw(t, "inbound"), OutboundSPI: rapid.Uint32().Draw(t, "outbound"),
		InboundCPI: rapid.Uint16().Draw(t, "inbound"), OutboundCPI: rapid.Uint16().Draw(t, "outbound"),
		Mode: Mode(rapid.Uint8Range(0, 7).Draw(t, "mode")), IPComp: rapid.Uint8().Draw(t, "IPComp"),
		ConfigName: rapid.StringMatching(`[a-z-]{1,12}`).Draw(t, "name"), Proposal: drawProposal(t, false),
		NonceI: drawOctets(t, "NonceI"), NonceR: drawOctets(t, "NonceR"),
		Secret: drawKey(t, "secret"), AddSecret: drawKey(t, "further secrets"),
		LocalTS: drawSelectors(t), RemoteTS: drawSelectors(t),
	}
}

func drawBody(t *rapid.T) Body {
	switch rapid.IntRange(0, 7).Draw(t, "body") {
	case 0:
		return drawAdd(t)
	case 1:
		return drawUpdate(t)
	case 2:
		return drawChild(t)
	case 3:
		return &MessageID{SA: drawSAID(t), Initiator: rapid.Bool().Draw(t, "own"), Next: rapid.Uint32().Draw(t, "next")}
	case 4:
		return &IKEDelete{SA: drawSAID(t)}
	case 5:
		return &IKEIV{SA: drawSAID(t), IV: drawOctets(t, "IV")}
	case 6:
		return &ChildDelete{SA: drawSAID(t), InboundSPI: rapid.Uint32().Draw(t, "SPI")}
	}
	m := &Segments{Action: Type(rapid.IntRange(int(TypeSegmentDrop), int(TypeResync)).Draw(t, "action"))}
	if n := rapid.IntRange(0, 16).Draw(t, "segments"); n > 0 {
		m.Numbers = rapid.SliceOfN(rapid.Uint16(), n, n).Draw(t, "segments")
	}
	return m
}

// TestRoundTrip: in each version and byte order, what can be written is read as
// it was, apart from empty private sets, which only version 5 says. What cannot
// be written says what the version lacks, and version 5 lacks nothing.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Message{Version: Version(rapid.IntRange(3, 5).Draw(t, "version")), Body: drawBody(t)}
		machine := rapid.SampledFrom([]byteOrder{binary.LittleEndian, binary.BigEndian}).Draw(t, "machine")
		octets, err := m.append(nil, machine)
		var refused *UnsupportedError
		if err != nil {
			if !errors.As(err, &refused) || m.Version == Version5 {
				t.Fatalf("%v: %v", m, err)
			}
			return
		}
		got, err := parse(octets, machine)
		if err != nil {
			t.Fatalf("%x: %v", octets, err)
		}
		if u, ok := m.Body.(*IKEUpdate); ok && m.Version < Version5 {
			u.PrivateConditions, u.PrivateExtensions = nil, nil
		}
		if !reflect.DeepEqual(got, m) {
			t.Fatalf("got  %+v\nwant %+v", got.Body, m.Body)
		}
	})
}

// FuzzParse: any octets give a message or a typed error; a message is described,
// and if it is written again, means the same.
func FuzzParse(f *testing.F) {
	for _, rec := range recorded(f) {
		f.Add(rec.octets)
	}
	for _, c := range handMade {
		f.Add(unhex(f, c.octets))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		m, err := parse(octets, binary.LittleEndian)
		if err != nil {
			var blame *ParseError
			if !errors.As(err, &blame) || blame.Offset > len(octets) {
				t.Fatalf("error %v", err)
			}
			return
		}
		_ = m.String()
		written, err := m.append(nil, binary.LittleEndian)
		var refused *UnsupportedError
		if err != nil {
			if m.Unread.IsZero() && !errors.As(err, &refused) {
				t.Fatalf("%x is not written again: %v", octets, err)
			}
			return
		}
		again, err := parse(written, binary.LittleEndian)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("%x is written as %x: %v\n got %+v\nwant %+v", octets, written, err, again.Body, m.Body)
		}
		if second, err := again.append(nil, binary.LittleEndian); err != nil || !bytes.Equal(second, written) {
			t.Fatalf("written once as %x, then as %x, error %v", written, second, err)
		}
	})
}
