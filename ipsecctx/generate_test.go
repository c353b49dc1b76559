package ipsecctx

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
	"pgregory.net/rapid"
)

// The generators below draw any valid session, in the form that decoding gives:
// empty slices are nil, and selectors that a protocol does not have are ANY.

func drawSession(t *rapid.T) *Session {
	s := &Session{
		LocalID:   drawName(t, "local identity"),
		RemoteID:  drawName(t, "remote identity"),
		Initiator: rapid.Bool().Draw(t, "initiator"),
	}
	for range rapid.IntRange(0, 3).Draw(t, "inner") {
		a := drawAddr(t, rapid.Bool().Draw(t, "IPv4"))
		s.Inner = append(s.Inner, netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked())
	}
	if rapid.Bool().Draw(t, "EAP") {
		s.EAPIdentity = []byte("ann@example.com")
	}
	for pair := range uint32(rapid.IntRange(1, 3).Draw(t, "pairs")) {
		in := drawSA(t, Inbound, pair+1)
		out := drawSA(t, Outbound, pair+1)
		// What the two directions of a pair have in common.
		out.Protocol, out.Mode, out.Replaces = in.Protocol, in.Mode, in.Replaces
		out.Local, out.Remote, out.Encap = in.Local, in.Remote, in.Encap
		out.ESN, out.Overflow, out.Window = in.ESN, in.Overflow, in.Window
		out.Encryption, out.Integrity = in.Encryption, in.Integrity
		out.Encryption.Key = drawKey(t, in.Encryption.Key.Len())
		out.Integrity.Key = drawKey(t, in.Integrity.Key.Len())
		s.SAs = append(s.SAs, in, out)
	}
	return s
}

func drawSA(t *rapid.T, d Direction, pair uint32) SA {
	v4 := rapid.Bool().Draw(t, "IPv4")
	sa := SA{
		Direction:         d,
		Protocol:          rapid.SampledFrom([]Protocol{ESP, ESP, ESP, AH}).Draw(t, "protocol"),
		SPI:               pair<<16 | uint32(rapid.IntRange(0, 0xffff).Draw(t, "SPI")),
		Mode:              rapid.SampledFrom([]Mode{Tunnel, Transport}).Draw(t, "mode"),
		Pair:              pair,
		Replaces:          pair - 1,
		Local:             drawAddr(t, v4),
		Remote:            drawAddr(t, v4),
		ESN:               rapid.Bool().Draw(t, "ESN"),
		Soft:              drawLifetime(t),
		Hard:              drawLifetime(t),
		NoRekey:           rapid.Bool().Draw(t, "no rekey"),
		PathMTU:           rapid.SampledFrom([]uint16{0, 68, 1400, 65535}).Draw(t, "path MTU"),
		DF:                DFBit(rapid.IntRange(0, 2).Draw(t, "DF")),
		StatefulFragments: rapid.Bool().Draw(t, "fragments"),
	}
	if sa.Protocol == ESP && rapid.Bool().Draw(t, "encapsulated") {
		sa.Encap = Encap{4500, uint16(rapid.IntRange(1, 65535).Draw(t, "port"))}
	}
	drawCrypto(t, &sa)
	sa.Window = rapid.SampledFrom([]uint32{0, 1, 32, 64, 65, 1000, 4096}).Draw(t, "window")
	switch rapid.IntRange(0, 2).Draw(t, "DSCP") {
	case 1:
		sa.CopyDSCP = true
		sa.DSCP = []byte{0, 46}
	case 2:
		sa.MapDSCP = []DSCPMapping{{46, 0}, {0, 63}}
	}
	for range rapid.IntRange(1, 4).Draw(t, "selectors") {
		sa.Selectors = append(sa.Selectors, drawSelector(t))
	}
	return sa
}

func drawCrypto(t *rapid.T, sa *SA) {
	auth := rapid.SampledFrom(authTransforms).Draw(t, "integrity")
	if sa.Protocol == ESP {
		c := rapid.SampledFrom(cipherTransforms).Draw(t, "cipher")
		bits := c.FixedBits
		sa.Encryption.ID = c.ID
		if len(c.KeyBits) > 0 {
			bits = rapid.SampledFrom(c.KeyBits).Draw(t, "bits")
			sa.Encryption.Bits = bits
		}
		sa.Encryption.Key = drawKey(t, int(bits)/8)
		sa.Encryption.Salt = drawKey(t, c.Salt)
		sa.Encryption.IV = rapid.SampledFrom(ivModes[c.Family]).Draw(t, "IV mode")
		if c.AEAD() {
			return
		}
		for auth.GMAC {
			auth = rapid.SampledFrom(authTransforms).Draw(t, "integrity")
		}
	} else if auth.GMAC {
		sa.Encryption.IV = IVCounter
	}
	sa.Integrity = Authenticator{ID: auth.ID, Key: drawKey(t, auth.Key)}
	if !auth.GMAC && rapid.Bool().Draw(t, "truncated") {
		sa.Integrity.Truncate = 96
	}
}

func drawKey(t *rapid.T, n int) secret.Key {
	return secret.Clone(rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "key"))
}

// drawAddr draws a unicast address.
func drawAddr(t *rapid.T, v4 bool) netip.Addr {
	if v4 {
		octets := rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "IPv4")
		return netip.AddrFrom4([4]byte{byte(rapid.IntRange(1, 223).Draw(t, "first")), octets[0], octets[1], octets[2]})
	}
	octets := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "IPv6")
	octets[0] = 0x20
	return netip.AddrFrom16([16]byte(octets))
}

func drawLifetime(t *rapid.T) Lifetime {
	return Lifetime{
		Time:    time.Duration(rapid.Uint32().Draw(t, "seconds")) * time.Second,
		Octets:  rapid.Uint64().Draw(t, "octets"),
		Packets: rapid.Uint64().Draw(t, "packets"),
	}
}

func drawName(t *rapid.T, label string) Name {
	return rapid.SampledFrom([]Name{
		{},
		{Type: IDIPv4, Data: []byte{192, 0, 2, 1}},
		{Type: IDFQDN, Data: []byte("node1.example")},
		{Type: IDRFC822, Data: []byte("ann@example.com")},
		{Type: IDIPv6, Data: make([]byte, 16)},
		{Type: IDDN, Data: []byte{0x30, 0}},
		{Type: IDKeyID, Data: []byte{0, 1, 2}},
		{Type: 201, Data: []byte{0xff}},
	}).Draw(t, label)
}

func drawSelector(t *rapid.T) Selector {
	s := Selector{
		Protocol:       rapid.SampledFrom([]NextProtocol{{}, {Match: MatchValue, Number: 6}, {MatchValue, protoICMP}, {MatchValue, protoICMPv6}, {MatchValue, protoMobility}}).Draw(t, "protocol"),
		LocalPort:      AnyPort,
		RemotePort:     AnyPort,
		MobilityHeader: AnyPort,
		Name:           drawName(t, "name"),
	}
	v4 := rapid.Bool().Draw(t, "IPv4")
	s.Local, s.Remote = drawRanges(t, v4), drawRanges(t, v4)
	if rapid.Bool().Draw(t, "sensitivity") {
		s.Sensitivity = []byte{5, 1}
	}
	switch s.Protocol.kind() {
	case kindICMP:
		s.ICMP = rapid.SampledFrom([]ICMPRange{{}, {Match: MatchOpaque}, {MatchValue, 8, 8, 0, 255}, {MatchValue, 3, 5, 9, 1}}).Draw(t, "ICMP")
	case kindMobility:
		s.MobilityHeader = rapid.SampledFrom([]Ports{AnyPort, OpaquePort, {5, 6}, {0, 0}, {255, 255}}).Draw(t, "MH")
	case kindPorts:
		ports := []Ports{AnyPort, OpaquePort}
		if s.Protocol.Match == MatchValue {
			ports = append(ports, Ports{0, 0}, Ports{80, 443}, Ports{65535, 65535})
		}
		s.LocalPort = rapid.SampledFrom(ports).Draw(t, "local port")
		s.RemotePort = rapid.SampledFrom(ports).Draw(t, "remote port")
	}
	return s
}

func drawRanges(t *rapid.T, v4 bool) []Range {
	var list []Range
	for range rapid.IntRange(0, 3).Draw(t, "ranges") {
		r := Range{drawAddr(t, v4), drawAddr(t, v4)}
		if r.To.Less(r.From) {
			r.From, r.To = r.To, r.From
		}
		list = append(list, r)
	}
	return list
}

// drawDynamic draws valid dynamic state of an SA.
func drawDynamic(t *rapid.T, sa *SA) Dynamic {
	d := Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Used: drawLifetime(t)}
	d.Idle = time.Duration(rapid.Uint32().Draw(t, "idle")) * time.Second
	if sa.ESN {
		d.Sequence = rapid.Uint64().Draw(t, "sequence")
	} else {
		d.Sequence = uint64(rapid.Uint32().Draw(t, "sequence"))
	}
	if sa.Direction == Inbound && sa.Window > 0 {
		words := windowWords(sa.Window)
		d.Window = rapid.SliceOfN(rapid.Uint64(), words, words).Draw(t, "bitmap")
		trim(d.Window, sa.Window, d.Sequence)
	}
	if sa.Direction == Outbound && sa.Encryption.IV == IVChained {
		d.ChainIV = drawKey(t, sa.counting().ivLength())
	}
	return d
}

// normal copies a session with nil for every empty slice, as decoding into a new
// session gives.
func normal(s *Session) *Session {
	s = s.Clone()
	s.Inner, s.EAPIdentity, s.SAs = orNil(s.Inner), orNil(s.EAPIdentity), orNil(s.SAs)
	for i := range s.SAs {
		sa := &s.SAs[i]
		sa.DSCP, sa.MapDSCP, sa.Selectors = orNil(sa.DSCP), orNil(sa.MapDSCP), orNil(sa.Selectors)
		for j := range sa.Selectors {
			sel := &sa.Selectors[j]
			sel.Local, sel.Remote, sel.Sensitivity = orNil(sel.Local), orNil(sel.Remote), orNil(sel.Sensitivity)
		}
	}
	return s
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return slices.Clip(s)
}
