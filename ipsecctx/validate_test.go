package ipsecctx

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// TestSAValidate breaks one thing at a time. The cases that end in StatusOK say
// what must be let through.
func TestSAValidate(t *testing.T) {
	const (
		ok          = cxtp.StatusOK
		malformed   = cxtp.StatusMalformed
		algorithm   = cxtp.StatusAlgorithm
		unsupported = cxtp.StatusUnsupported
	)
	cbc := func(sa *SA) {
		sa.Encryption = Cipher{ID: EncrAESCBC, Bits: 128, Key: countingKey(1, 16)}
		sa.Integrity = Authenticator{ID: AuthHMACSHA2_256_128, Key: countingKey(1, 32)}
	}
	ah := func(sa *SA) {
		sa.Protocol, sa.Encap, sa.Encryption = AH, Encap{}, Cipher{}
		sa.Integrity = Authenticator{ID: AuthAES128GMAC, Key: countingKey(1, 20)}
	}
	selector := func(change func(*Selector)) func(*SA) {
		return func(sa *SA) { change(&sa.Selectors[0]) }
	}
	v6 := netip.MustParseAddr("2001:db8::1")
	for _, c := range []struct {
		name   string
		change func(*SA)
		want   cxtp.Status
	}{
		{"as it is", func(*SA) {}, ok},
		{"no direction", func(sa *SA) { sa.Direction = 0 }, malformed},
		{"protocol", func(sa *SA) { sa.Protocol = 17 }, unsupported},
		{"mode", func(sa *SA) { sa.Mode = 3 }, unsupported},
		{"last reserved SPI", func(sa *SA) { sa.SPI = 255 }, malformed},
		{"first SPI", func(sa *SA) { sa.SPI = 256 }, ok},
		{"no pair", func(sa *SA) { sa.Pair = 0 }, malformed},
		{"replaces itself", func(sa *SA) { sa.Replaces = sa.Pair }, malformed},

		{"outer families", func(sa *SA) { sa.Local = v6 }, malformed},
		{"no outer address", func(sa *SA) { sa.Remote = netip.Addr{} }, malformed},
		{"multicast", func(sa *SA) { sa.Remote = netip.MustParseAddr("224.0.0.1") }, malformed},
		{"unspecified", func(sa *SA) { sa.Remote = netip.IPv4Unspecified() }, malformed},
		{"IPv4 as IPv6", func(sa *SA) { sa.Remote = netip.MustParseAddr("::ffff:192.0.2.1") }, malformed},
		{"zone", func(sa *SA) { sa.Local, sa.Remote = v6, netip.MustParseAddr("fe80::1%a") }, malformed},
		{"half an encapsulation", func(sa *SA) { sa.Encap.RemotePort = 0 }, malformed},
		{"AH in UDP", func(sa *SA) { ah(sa); sa.Encap = Encap{4500, 4500} }, unsupported},

		{"unknown cipher", func(sa *SA) { sa.Encryption.ID = 99 }, algorithm},
		{"no cipher", func(sa *SA) { sa.Encryption = Cipher{} }, malformed},
		{"key length of another", func(sa *SA) { sa.Encryption.Bits = 128 }, algorithm},
		{"key length that AES has not", func(sa *SA) { sa.Encryption.Bits = 160 }, algorithm},
		{"no key length", func(sa *SA) { sa.Encryption.Bits = 0 }, algorithm},
		{"salt in the key", func(sa *SA) { sa.Encryption.Salt = secret.Key{} }, algorithm},
		{"CCM with a salt of GCM", func(sa *SA) { sa.Encryption.ID = EncrAESCCM16 }, algorithm},
		{"ChaCha20 with a key length", func(sa *SA) { sa.Encryption.ID = EncrChaCha20Poly1305 }, algorithm},
		{"ChaCha20", func(sa *SA) { sa.Encryption.ID, sa.Encryption.Bits = EncrChaCha20Poly1305, 0 }, ok},
		{"3DES", func(sa *SA) { cbc(sa); sa.Encryption = Cipher{ID: Encr3DES, Key: countingKey(1, 24)} }, ok},
		{"AEAD with integrity", func(sa *SA) { sa.Integrity = Authenticator{ID: AuthHMACSHA1_96, Key: countingKey(1, 20)} }, algorithm},
		{"CBC", cbc, ok},
		{"CBC without integrity", func(sa *SA) { cbc(sa); sa.Integrity = Authenticator{} }, algorithm},
		{"NULL without integrity", func(sa *SA) { sa.Encryption = Cipher{ID: EncrNull} }, algorithm},
		{"integrity key without a transform", func(sa *SA) { sa.Integrity.Key = countingKey(1, 20) }, malformed},
		{"unknown integrity", func(sa *SA) { cbc(sa); sa.Integrity.ID = 99 }, algorithm},
		{"integrity key size", func(sa *SA) { cbc(sa); sa.Integrity.Key = countingKey(1, 31) }, algorithm},
		{"cut to 96 bits", func(sa *SA) { cbc(sa); sa.Integrity.Truncate = 96 }, ok},
		{"cut to 97 bits", func(sa *SA) { cbc(sa); sa.Integrity.Truncate = 97 }, algorithm},
		{"cut to 32 bits", func(sa *SA) { cbc(sa); sa.Integrity.Truncate = 32 }, algorithm},
		{"longer than the MAC", func(sa *SA) { cbc(sa); sa.Integrity.Truncate = 264 }, algorithm},
		{"AH", ah, ok},
		{"AH with a cipher", func(sa *SA) { ah(sa); sa.Encryption.ID = EncrNull }, malformed},
		{"AH with a cipher's key", func(sa *SA) { ah(sa); sa.Encryption.Key = countingKey(1, 16) }, malformed},
		{"AH without integrity", func(sa *SA) { ah(sa); sa.Integrity = Authenticator{} }, algorithm},
		{"GMAC cut", func(sa *SA) { ah(sa); sa.Integrity.Truncate = 96 }, algorithm},
		{"GMAC as integrity of ESP", func(sa *SA) { cbc(sa); sa.Integrity = Authenticator{ID: AuthAES128GMAC, Key: countingKey(1, 20)} }, algorithm},
		{"static chained IV", func(sa *SA) { sa.Encryption.ChainIV = countingKey(1, 8) }, malformed},

		{"CBC with counter IVs", func(sa *SA) { cbc(sa); sa.Encryption.IV = IVCounter }, algorithm},
		{"GCM with chained IVs", func(sa *SA) { sa.Encryption.IV = IVChained }, algorithm},
		{"GCM with implicit IVs", func(sa *SA) { sa.Encryption.IV = IVImplicit }, algorithm},
		{"implicit IV", func(sa *SA) { sa.Encryption.ID, sa.Encryption.IV = EncrAESGCM16IIV, IVImplicit }, ok},
		{"implicit IV that rolls over", func(sa *SA) {
			sa.Encryption.ID, sa.Encryption.IV, sa.Overflow, sa.Window = EncrAESGCM16IIV, IVImplicit, true, 0
		}, malformed},
		{"counter IV that rolls over", func(sa *SA) { sa.Overflow, sa.Window = true, 0 }, malformed},
		{"AH with GMAC and counter IVs", func(sa *SA) { ah(sa); sa.Encryption.IV = IVCounter }, ok},
		{"AH with HMAC and counter IVs", func(sa *SA) {
			ah(sa)
			sa.Encryption.IV, sa.Integrity = IVCounter, Authenticator{ID: AuthHMACSHA1_96, Key: countingKey(1, 20)}
		}, algorithm},

		{"largest window", func(sa *SA) { sa.Window = MaxWindow }, ok},
		{"window", func(sa *SA) { sa.Window = MaxWindow + 1 }, cxtp.StatusWindow},
		{"overflow with anti-replay", func(sa *SA) { cbc(sa); sa.Overflow = true }, malformed},
		{"overflow without anti-replay", func(sa *SA) { cbc(sa); sa.Overflow, sa.Window = true, 0 }, ok},
		{"negative lifetime", func(sa *SA) { sa.Soft.Time = -time.Second }, malformed},
		{"path MTU", func(sa *SA) { sa.PathMTU = 67 }, malformed},
		{"DF", func(sa *SA) { sa.DF = 3 }, malformed},
		{"DSCP", func(sa *SA) { sa.DSCP = []byte{0, 64} }, malformed},
		{"DSCP copied and mapped", func(sa *SA) { sa.CopyDSCP, sa.MapDSCP = true, []DSCPMapping{{1, 2}} }, malformed},
		{"DSCP mapped to nowhere", func(sa *SA) { sa.MapDSCP = []DSCPMapping{{1, 64}} }, malformed},
		{"DSCP mapped twice", func(sa *SA) { sa.MapDSCP = []DSCPMapping{{1, 2}, {1, 3}} }, malformed},

		{"no selector", func(sa *SA) { sa.Selectors = nil }, malformed},
		{"range backwards", selector(func(s *Selector) { s.Local[0].From, s.Local[0].To = s.Local[0].To, s.Local[0].From }), malformed},
		{"range of two families", selector(func(s *Selector) { s.Local[0].To = v6 }), malformed},
		{"selector of two families", selector(func(s *Selector) { s.Local = []Range{{v6, v6}} }), malformed},
		{"range without addresses", selector(func(s *Selector) { s.Local = []Range{{}} }), malformed},
		{"range of IPv4 as IPv6", selector(func(s *Selector) {
			mapped := netip.MustParseAddr("::ffff:10.0.0.1")
			s.Local, s.Remote = []Range{{mapped, mapped}}, nil
		}), malformed},
		{"ports backwards", selector(func(s *Selector) { s.LocalPort = Ports{5, 4} }), malformed},
		{"OPAQUE ports", selector(func(s *Selector) { s.LocalPort = OpaquePort }), ok},
		{"ports of no protocol", selector(func(s *Selector) { s.Protocol = NextProtocol{} }), malformed},
		{"protocol 0", selector(func(s *Selector) { s.Protocol.Number = 0 }), malformed},
		{"protocol match", selector(func(s *Selector) { s.Protocol.Match = 3 }), malformed},
		{"number beside OPAQUE", selector(func(s *Selector) { s.Protocol.Match = MatchOpaque }), malformed},
		{"OPAQUE protocol of IPv4", selector(func(s *Selector) { s.Protocol, s.LocalPort = NextProtocol{Match: MatchOpaque}, AnyPort }), malformed},
		{"Mobility Header", selector(func(s *Selector) { s.Protocol.Number, s.MobilityHeader = 135, Ports{0, 256} }), malformed},
		{"ICMP backwards", func(sa *SA) { sa.Selectors[1].ICMP.TypeTo = 7 }, malformed},
		{"ICMP types beside ANY", func(sa *SA) { sa.Selectors[1].ICMP.Match = MatchAny }, malformed},
		{"ICMP match", func(sa *SA) { sa.Selectors[1].ICMP.Match = 3 }, malformed},
		{"name that cannot be shown", selector(func(s *Selector) { s.Name = Name{Type: IDFQDN, Data: []byte("a\nb")} }), malformed},
	} {
		sa := testSA(Inbound, 0xc0000001, 1)
		c.change(&sa)
		if err := sa.Validate(); status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
	}
}

func TestSessionValidate(t *testing.T) {
	for name, change := range map[string]func(*Session){
		"no SA":             func(s *Session) { s.SAs = nil },
		"SA twice":          func(s *Session) { s.SAs = append(s.SAs, s.SAs[0]) },
		"direction twice":   func(s *Session) { s.SAs[1].Direction = Inbound },
		"mode":              func(s *Session) { s.SAs[1].Mode = Transport },
		"ESN":               func(s *Session) { s.SAs[1].ESN = false },
		"outer address":     func(s *Session) { s.SAs[1].Remote = netip.MustParseAddr("198.51.100.10") },
		"encapsulation":     func(s *Session) { s.SAs[1].Encap.RemotePort++ },
		"cipher":            func(s *Session) { s.SAs[1].Encryption.ID = EncrAESGCM12 },
		"replaced pair":     func(s *Session) { s.SAs[1].Replaces = 9 },
		"inner host bits":   func(s *Session) { s.Inner[0] = netip.MustParsePrefix("10.4.0.7/24") },
		"inner nothing":     func(s *Session) { s.Inner[0] = netip.Prefix{} },
		"inner IPv4 as 6":   func(s *Session) { s.Inner[0] = netip.MustParsePrefix("::ffff:10.4.0.7/128") },
		"identity":          func(s *Session) { s.RemoteID = Name{Type: IDIPv4, Data: []byte{1}} },
		"empty identity":    func(s *Session) { s.RemoteID = Name{Type: IDFQDN} },
		"untyped identity":  func(s *Session) { s.LocalID = Name{Data: []byte{1}} },
		"EAP with controls": func(s *Session) { s.EAPIdentity = []byte("a\x1b[2J") },
		"EAP not UTF-8":     func(s *Session) { s.EAPIdentity = []byte{0xff} },
	} {
		s := testSession()
		change(s)
		if err := s.Validate(); status(err) != cxtp.StatusMalformed {
			t.Errorf("%s: status %v (%v), want %v", name, status(err), err, cxtp.StatusMalformed)
		}
	}
	half := testSession()
	half.SAs = half.SAs[:1]
	if err := half.Validate(); err != nil {
		t.Errorf("pair with one direction: %v", err)
	}
}

func TestDynamicValidate(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*SA, *Dynamic)
		want   cxtp.Status
	}{
		{"as it is", func(*SA, *Dynamic) {}, cxtp.StatusOK},
		{"another SPI", func(_ *SA, d *Dynamic) { d.SPI++ }, cxtp.StatusNoBase},
		{"33 bits", func(sa *SA, _ *Dynamic) { sa.ESN = false }, cxtp.StatusMalformed},
		{"short bitmap", func(_ *SA, d *Dynamic) { d.Window = d.Window[1:] }, cxtp.StatusMalformed},
		{"bit beyond the window", func(sa *SA, _ *Dynamic) { sa.Window = 1023 }, cxtp.StatusMalformed},
		{"bit below number 1", func(_ *SA, d *Dynamic) { d.Sequence = 1022 }, cxtp.StatusMalformed},
		{"bit of number 1", func(_ *SA, d *Dynamic) { d.Sequence = 1024 }, cxtp.StatusOK},
		{"chained IV of GCM", func(_ *SA, d *Dynamic) { d.ChainIV = countingKey(1, 8) }, cxtp.StatusMalformed},
		{"negative age", func(_ *SA, d *Dynamic) { d.Idle = -1 }, cxtp.StatusMalformed},
		{"chained IV", func(sa *SA, d *Dynamic) {
			sa.Encryption, d.ChainIV = Cipher{ID: EncrAESCBC, IV: IVChained}, countingKey(1, 16)
		}, cxtp.StatusOK},
		{"chained IV too short", func(sa *SA, d *Dynamic) {
			sa.Encryption, d.ChainIV = Cipher{ID: EncrAESCBC, IV: IVChained}, countingKey(1, 8)
		}, cxtp.StatusMalformed},
	} {
		sa, d := testSession().SAs[0], testDynamic()[0]
		c.change(&sa, &d)
		if err := d.Validate(&sa); status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
	}
}
