package ikectx

import (
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ikectx/ikev2"
	"github.com/cxtp/cxtp/ipsecctx"
	"pgregory.net/rapid"
)

// The generators below draw any valid session, in the form that decoding gives:
// empty slices are nil.

func drawSession(t *rapid.T) *Session {
	v4 := rapid.Bool().Draw(t, "IPv4")
	s := &Session{
		LocalID:           drawIdentity(t, "local identity"),
		RemoteID:          drawIdentity(t, "remote identity"),
		EAPIdentity:       []byte(drawText(t, "EAP identity")),
		Local:             netip.AddrPortFrom(drawAddr(t, v4), 4500),
		Remote:            netip.AddrPortFrom(drawAddr(t, v4), uint16(rapid.IntRange(1, 65535).Draw(t, "port"))),
		NAT:               NAT(rapid.Byte().Draw(t, "NAT")) & natKnown,
		Extensions:        Extensions(rapid.Uint32().Draw(t, "extensions")) & extKnown,
		OriginalInitiator: rapid.Bool().Draw(t, "original initiator"),
		Hashes:            orNil(rapid.SliceOfN(rapid.Uint16(), 0, 4).Draw(t, "hashes")),
		LocalVirtual:      drawPrefixes(t),
		RemoteVirtual:     drawPrefixes(t),
		LocalAuth:         drawAuth(t),
		Age:               drawSeconds(t, "age"),
		Reauthenticate:    drawSeconds(t, "reauthentication"),
		Connection:        drawText(t, "connection"),
		Implementation:    "strongswan",
		State:             drawOctets(t, "state", 0, 40),
	}
	if len(s.EAPIdentity) == 0 {
		s.EAPIdentity = nil
	}
	for range rapid.IntRange(0, 3).Draw(t, "additional addresses") {
		s.Additional = append(s.Additional, drawAddr(t, rapid.Bool().Draw(t, "IPv4")))
	}
	for range rapid.IntRange(0, 2).Draw(t, "rounds") {
		s.RemoteAuth = append(s.RemoteAuth, drawAuth(t))
	}
	for n := range uint32(rapid.IntRange(1, 4).Draw(t, "generations")) {
		s.SAs = append(s.SAs, drawSA(t, n+1))
	}
	for n := range uint32(rapid.IntRange(0, 3).Draw(t, "children")) {
		s.Children = append(s.Children, drawChild(t, s.SAs, n+1))
	}
	return s
}

func drawSA(t *rapid.T, generation uint32) SA {
	sa := SA{
		Generation:   generation,
		Replaces:     generation - 1,
		InitiatorSPI: rapid.Uint64Min(1).Draw(t, "SPIi"),
		ResponderSPI: rapid.Uint64Min(1).Draw(t, "SPIr"),
		Initiator:    rapid.Bool().Draw(t, "initiator"),
		Version:      version2 | uint8(rapid.IntRange(0, 1).Draw(t, "minor version")),
		Encryption:   Cipher{ID: ipsecctx.EncrAESGCM16, Bits: 256},
		PRF:          rapid.SampledFrom([]uint16{ikev2.PRFHMACSHA1, ikev2.PRFAES128XCBC, ikev2.PRFHMACSHA2256, ikev2.PRFHMACSHA2384, ikev2.PRFHMACSHA2512, ikev2.PRFAES128CMAC}).Draw(t, "PRF"),
		LocalWindow:  rapid.Uint32Range(1, 9).Draw(t, "local window"),
		RemoteWindow: rapid.Uint32Range(1, 9).Draw(t, "remote window"),
		Age:          drawSeconds(t, "age"),
		Rekey:        drawSeconds(t, "rekey"),
	}
	keys := map[int]int{saKeyEi: 36, saKeyEr: 36}
	if rapid.Bool().Draw(t, "CBC") {
		sa.Encryption = Cipher{ID: ipsecctx.EncrAESCBC, Bits: 128}
		sa.Integrity = ipsecctx.AuthHMACSHA2_256_128
		keys = map[int]int{saKeyEi: 16, saKeyEr: 16, saKeyAi: 32, saKeyAr: 32}
	} else {
		sa.IV = rapid.SampledFrom([]ipsecctx.IVMode{ipsecctx.IVDefault, ipsecctx.IVRandom, ipsecctx.IVCounter, ipsecctx.IVSalted}).Draw(t, "IV mode")
	}
	kind := rapid.IntRange(0, 2).Draw(t, "derived, inputs, both")
	sa.Exchange = drawExchange(t, kind > 0)
	if kind == 0 || kind == 2 {
		length, err := ikev2.PRFKeyLen(sa.PRF)
		if err != nil {
			t.Fatal(err)
		}
		keys[saKeyD], keys[saKeyPi], keys[saKeyPr] = length, length, length
		for _, k := range sa.Keys.derived() {
			*k.key = drawKey(t, keys[k.field])
		}
	}
	switch {
	case sa.Replaces > 0 && rapid.Bool().Draw(t, "old SK_d"):
		sa.OldD, sa.OldPRF = drawKey(t, 32), ikev2.PRFHMACSHA2256
	case sa.Replaces == 0 && rapid.Bool().Draw(t, "PPK"):
		sa.PPKID = drawOctets(t, "PPK identity", 1, 20)
		sa.PPK = drawKey(t, rapid.IntRange(0, 32).Draw(t, "PPK"))
	}
	return sa
}

// drawExchange draws one with a key exchange, and with nonces and secrets if they
// are wanted.
func drawExchange(t *rapid.T, inputs bool) Exchange {
	x := Exchange{Method: rapid.Uint16Min(1).Draw(t, "method")}
	for typ := range uint8(rapid.IntRange(0, 3).Draw(t, "additional exchanges")) {
		x.Additional = append(x.Additional, Additional{Type: firstAdditional + 2*typ, Method: rapid.Uint16Min(1).Draw(t, "method")})
	}
	if inputs {
		x.Ni, x.Nr = drawOctets(t, "Ni", minNonce, 40), drawOctets(t, "Nr", minNonce, 40)
		for range 1 + len(x.Additional) {
			x.Secrets = append(x.Secrets, drawKey(t, rapid.IntRange(1, 66).Draw(t, "secret")))
		}
	}
	return x
}

func drawChild(t *rapid.T, sas []SA, n uint32) Child {
	c := Child{
		Generation: rapid.SampledFrom(sas).Draw(t, "generation").Generation,
		Protocol:   rapid.SampledFrom([]ipsecctx.Protocol{ipsecctx.ESP, ipsecctx.AH}).Draw(t, "protocol"),
		Inbound:    n<<16 | uint32(rapid.Uint16().Draw(t, "SPI")),
		Outbound:   n<<16 | uint32(rapid.Uint16().Draw(t, "SPI")),
		Replaces:   rapid.Uint32Max(255).Draw(t, "replaces"),
		Mode:       rapid.SampledFrom([]ipsecctx.Mode{ipsecctx.Tunnel, ipsecctx.Transport}).Draw(t, "mode"),
		Encryption: Cipher{ID: rapid.Uint16().Draw(t, "cipher"), Bits: rapid.Uint16().Draw(t, "bits")},
		Integrity:  rapid.Uint16().Draw(t, "integrity"),
		Name:       drawText(t, "name"),
		Age:        drawSeconds(t, "age"),
		Rekey:      drawSeconds(t, "rekey"),
	}
	for _, f := range c.flags() {
		*f.value = rapid.Bool().Draw(t, f.name)
	}
	if rapid.Bool().Draw(t, "IPComp") {
		c.IPComp = IPComp{Transform: 2, Inbound: rapid.Uint16().Draw(t, "CPI"), Outbound: rapid.Uint16().Draw(t, "CPI")}
	}
	if c.Generation > 1 || rapid.Bool().Draw(t, "CREATE_CHILD_SA") {
		c.Exchange = drawExchange(t, true)
		if rapid.Bool().Draw(t, "no key exchange") {
			c.Exchange = Exchange{Ni: c.Exchange.Ni, Nr: c.Exchange.Nr}
		}
	}
	c.Local, c.Remote = drawSelectors(t), drawSelectors(t)
	return c
}

func drawSelectors(t *rapid.T) (list []TrafficSelector) {
	for range rapid.IntRange(1, 3).Draw(t, "selectors") {
		v4 := rapid.Bool().Draw(t, "IPv4")
		r := ipsecctx.Range{From: drawAddr(t, v4), To: drawAddr(t, v4)}
		if r.To.Less(r.From) {
			r.From, r.To = r.To, r.From
		}
		list = append(list, TrafficSelector{Protocol: rapid.Byte().Draw(t, "protocol"), Range: r,
			Ports: rapid.SampledFrom([]ipsecctx.Ports{ipsecctx.AnyPort, ipsecctx.OpaquePort, {From: 80, To: 443}}).Draw(t, "ports")})
	}
	return list
}

// drawDynamic draws valid dynamic state of a session.
func drawDynamic(t *rapid.T, s *Session) *Dynamic {
	sa := s.Current()
	d := &Dynamic{
		Generation:   sa.Generation,
		Unsettled:    rapid.Bool().Draw(t, "unsettled"),
		NextRequest:  rapid.Uint32().Draw(t, "next request"),
		NextExpected: rapid.Uint32().Draw(t, "next expected"),
		Idle:         drawSeconds(t, "idle"),
	}
	if sa.IV == ipsecctx.IVCounter {
		d.IV = rapid.Uint64().Draw(t, "IV")
	}
	d.Requests = drawMessages(t, sa, d.NextRequest, sa.RemoteWindow, 1)
	d.Responses = drawMessages(t, sa, d.NextExpected, sa.LocalWindow, 0)
	return d
}

func drawMessages(t *rapid.T, sa *SA, next, window uint32, least int) (list []Message) {
	for id := next - min(next, window); id < next; id++ {
		if !rapid.Bool().Draw(t, "message") {
			continue
		}
		m := Message{ID: id, Exchange: rapid.Byte().Draw(t, "exchange"), Age: drawSeconds(t, "age")}
		for range rapid.IntRange(least, 2).Draw(t, "datagrams") {
			d := testDatagram(1, id, rapid.IntRange(0, 10).Draw(t, "body"))
			header := sa.counting().header
			copy(d, header[:])
			m.Datagrams = append(m.Datagrams, d)
		}
		list = append(list, m)
	}
	return list
}

func drawAuth(t *rapid.T) Auth {
	return rapid.SampledFrom([]Auth{{}, {Method: 14}, {Method: 2}, {Method: 2, EAP: 26}}).Draw(t, "authentication")
}

func drawIdentity(t *rapid.T, label string) profile.Identity {
	return rapid.SampledFrom([]profile.Identity{
		{Type: profile.IDIPv4, Data: []byte{192, 0, 2, 1}},
		{Type: profile.IDFQDN, Data: []byte("node1.example")},
		{Type: profile.IDDN, Data: []byte{0x30, 0}},
		{Type: profile.IDKeyID, Data: []byte{0, 1, 2}},
	}).Draw(t, label)
}

func drawText(t *rapid.T, label string) string {
	return rapid.SampledFrom([]string{"", "a", "ann@example.com", "Straße"}).Draw(t, label)
}

func drawOctets(t *rapid.T, label string, least, most int) []byte {
	return orNil(rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, label))
}

func drawKey(t *rapid.T, n int) secret.Key { return secret.Clone(drawOctets(t, "key", n, n)) }

func drawSeconds(t *rapid.T, label string) time.Duration {
	return time.Duration(rapid.Uint32().Draw(t, label)) * time.Second
}

// drawAddr draws a unicast address.
func drawAddr(t *rapid.T, v4 bool) netip.Addr {
	if v4 {
		return netip.AddrFrom4([4]byte{10, rapid.Byte().Draw(t, "IPv4"), rapid.Byte().Draw(t, "IPv4"), 1})
	}
	octets := [16]byte{0x20, 1, 0x0d, 0xb8, 15: 1}
	copy(octets[4:12], rapid.SliceOfN(rapid.Byte(), 8, 8).Draw(t, "IPv6"))
	return netip.AddrFrom16(octets)
}

func drawPrefixes(t *rapid.T) (list []netip.Prefix) {
	for range rapid.IntRange(0, 2).Draw(t, "prefixes") {
		a := drawAddr(t, rapid.Bool().Draw(t, "IPv4"))
		list = append(list, netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")).Masked())
	}
	return list
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}
