package ikectx

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

func TestValidateRefuses(t *testing.T) {
	if err := testSession().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*Session)
		want   cxtp.Status
	}{
		{"no SA", func(s *Session) { s.SAs = nil }, cxtp.StatusMalformed},
		{"no identity", func(s *Session) { s.LocalID = profile.Identity{} }, cxtp.StatusMalformed},
		{"identity with a space", func(s *Session) { s.RemoteID.Data = []byte("a b") }, cxtp.StatusMalformed},
		{"EAP identity with a line", func(s *Session) { s.EAPIdentity = []byte("a\nb") }, cxtp.StatusMalformed},
		{"connection with a bell", func(s *Session) { s.Connection = "\a" }, cxtp.StatusMalformed},
		{"multicast address", func(s *Session) { s.Remote = netip.MustParseAddrPort("224.0.0.1:500") }, cxtp.StatusMalformed},
		{"port 0", func(s *Session) { s.Remote = netip.AddrPortFrom(s.Remote.Addr(), 0) }, cxtp.StatusMalformed},
		{"families", func(s *Session) { s.Remote = netip.MustParseAddrPort("[2001:db8::1]:500") }, cxtp.StatusMalformed},
		{"additional address missing", func(s *Session) { s.Additional = make([]netip.Addr, 1) }, cxtp.StatusMalformed},
		{"virtual address with host bits", func(s *Session) { s.RemoteVirtual[0] = netip.MustParsePrefix("10.4.0.7/24") }, cxtp.StatusMalformed},
		{"unknown extension", func(s *Session) { s.Extensions = 1 }, cxtp.StatusMalformed},
		{"state of nobody", func(s *Session) { s.State = []byte{1} }, cxtp.StatusMalformed},
		{"negative age", func(s *Session) { s.Age = -time.Second }, cxtp.StatusMalformed},

		{"generation 0", func(s *Session) { s.SAs[0].Generation = 0 }, cxtp.StatusMalformed},
		{"generation twice", func(s *Session) { s.SAs[1].Generation = 1; s.SAs[1].Replaces = 0 }, cxtp.StatusMalformed},
		{"replaces a later one", func(s *Session) { s.SAs[0].Replaces = 2 }, cxtp.StatusMalformed},
		{"SPI 0", func(s *Session) { s.SAs[1].ResponderSPI = 0 }, cxtp.StatusMalformed},
		{"window 0", func(s *Session) { s.SAs[1].LocalWindow = 0 }, cxtp.StatusMalformed},
		{"IKEv1", func(s *Session) { s.SAs[1].Version = 0x10 }, cxtp.StatusUnsupported},
		{"old SK_d of nothing", func(s *Session) { s.SAs[0].OldD = countingKey(1, 32) }, cxtp.StatusMalformed},
		{"PPK in a rekey", func(s *Session) { s.SAs[1].PPKID = []byte{2, 1} }, cxtp.StatusMalformed},
		{"PPK of nobody", func(s *Session) { s.SAs[0].PPK = countingKey(1, 32) }, cxtp.StatusMalformed},
		{"ENCR_NULL", func(s *Session) { s.SAs[1].Encryption = Cipher{ID: ipsecctx.EncrNull} }, cxtp.StatusAlgorithm},
		{"implicit IV", func(s *Session) { s.SAs[1].Encryption.ID = ipsecctx.EncrAESGCM16IIV }, cxtp.StatusAlgorithm},
		{"GMAC", func(s *Session) { s.SAs[1].Encryption.ID = ipsecctx.EncrNullAuthAESGMAC }, cxtp.StatusAlgorithm},
		{"key of 100 bits", func(s *Session) { s.SAs[1].Encryption.Bits = 100 }, cxtp.StatusAlgorithm},
		{"CBC without integrity", func(s *Session) { s.SAs[1].Encryption.ID, s.SAs[1].IV = ipsecctx.EncrAESCBC, 0 }, cxtp.StatusAlgorithm},
		{"GCM with integrity", func(s *Session) { s.SAs[1].Integrity = ipsecctx.AuthHMACSHA2_256_128 }, cxtp.StatusAlgorithm},
		{"chained IV", func(s *Session) { s.SAs[1].IV = ipsecctx.IVChained }, cxtp.StatusAlgorithm},
		{"PRF that nobody knows", func(s *Session) { s.SAs[1].PRF = 99 }, cxtp.StatusAlgorithm},
		{"old PRF that nobody knows", func(s *Session) { s.SAs[1].OldPRF = 99 }, cxtp.StatusAlgorithm},
		{"short SK_d", func(s *Session) { s.SAs[0].Keys.D = countingKey(1, 20) }, cxtp.StatusAlgorithm},
		{"SK_e without its salt", func(s *Session) { s.SAs[1].Keys.Ei = countingKey(1, 16) }, cxtp.StatusAlgorithm},
		{"SK_a of an AEAD cipher", func(s *Session) { s.SAs[1].Keys.Ai = countingKey(1, 16) }, cxtp.StatusAlgorithm},
		{"no key exchange", func(s *Session) { s.SAs[0].Exchange.Method = 0 }, cxtp.StatusMalformed},
		{"one nonce", func(s *Session) { s.SAs[1].Exchange.Nr = nil }, cxtp.StatusMalformed},
		{"short nonce", func(s *Session) { s.SAs[1].Exchange.Nr = make([]byte, 15) }, cxtp.StatusMalformed},
		{"secret too many", func(s *Session) {
			s.SAs[1].Exchange.Secrets = append(s.SAs[1].Exchange.Secrets, countingKey(1, 1))
		}, cxtp.StatusMalformed},
		{"empty secret", func(s *Session) { s.SAs[1].Exchange.Secrets[0] = secret.Key{} }, cxtp.StatusMalformed},
		{"additional exchange of type 4", func(s *Session) { s.SAs[0].Exchange.Additional = []Additional{{4, 1}} }, cxtp.StatusMalformed},
		{"additional exchanges out of order", func(s *Session) { s.SAs[0].Exchange.Additional = []Additional{{7, 1}, {6, 1}} }, cxtp.StatusMalformed},
		{"dead generation without any key", func(s *Session) { s.SAs[0].Keys.D = secret.Key{} }, cxtp.StatusMalformed},
		{"current without its secrets", func(s *Session) { s.SAs[1].Exchange.Secrets = nil }, cxtp.StatusMalformed},
		{"current with SK_d alone", func(s *Session) {
			s.SAs[1].Exchange.Secrets, s.SAs[1].Keys.D = nil, countingKey(1, 32)
		}, cxtp.StatusMalformed},
		{"lineage with a gap", func(s *Session) { s.SAs[1].Generation, s.SAs[1].Replaces = 3, 2 }, cxtp.StatusMalformed},

		{"CHILD SA of a generation that is not there", func(s *Session) { s.Children[0].Generation = 3 }, cxtp.StatusMalformed},
		{"reserved SPI", func(s *Session) { s.Children[0].Outbound = 255 }, cxtp.StatusMalformed},
		{"CHILD SA replaces itself", func(s *Session) { s.Children[0].Replaces = s.Children[0].Inbound }, cxtp.StatusMalformed},
		{"CHILD SA twice", func(s *Session) { s.Children = append(s.Children, s.Children[0]) }, cxtp.StatusMalformed},
		{"another protocol", func(s *Session) { s.Children[0].Protocol = 4 }, cxtp.StatusUnsupported},
		{"another mode", func(s *Session) { s.Children[0].Mode = 3 }, cxtp.StatusUnsupported},
		{"no selectors", func(s *Session) { s.Children[0].Remote = nil }, cxtp.StatusMalformed},
		{"selector upside down", func(s *Session) {
			r := &s.Children[0].Local[0].Range
			r.From, r.To = r.To, r.From
		}, cxtp.StatusMalformed},
		{"nonces of IKE_AUTH in a rekeyed SA", func(s *Session) {
			s.Children[0].Generation, s.Children[0].Exchange = 2, Exchange{}
		}, cxtp.StatusMalformed},
		{"key exchange without nonces", func(s *Session) { s.Children[0].Exchange = Exchange{Method: 31} }, cxtp.StatusMalformed},
		{"additional without a first", func(s *Session) { s.Children[0].Exchange.Additional = []Additional{{6, 1}} }, cxtp.StatusMalformed},
		{"name with a bell", func(s *Session) { s.Children[0].Name = "\a" }, cxtp.StatusMalformed},
	} {
		s := testSession()
		c.change(s)
		if err := s.Validate(); status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
	}
}

// TestValidateTakes what is unusual and right.
func TestValidateTakes(t *testing.T) {
	for name, change := range map[string]func(*Session){
		"childless": func(s *Session) { s.Children = nil },
		"IKE_AUTH":  func(s *Session) { s.Children[0].Exchange = Exchange{} },
		"gap with an old SK_d": func(s *Session) {
			s.SAs[1].Generation, s.SAs[1].Replaces, s.SAs[1].OldD = 3, 2, countingKey(1, 32)
		},
		"derived keys alone": func(s *Session) {
			s.SAs[1].Exchange = Exchange{Method: 31}
			s.SAs[1].Keys = Keys{D: countingKey(1, 32), Ei: countingKey(2, 20), Er: countingKey(3, 20)}
		},
		"the target's PPK": func(s *Session) { s.SAs[0].PPKID = []byte{2, 1} },
	} {
		s := testSession()
		change(s)
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDynamicValidateRefuses(t *testing.T) {
	s := testSession()
	for _, c := range []struct {
		name   string
		change func(*Dynamic)
		want   cxtp.Status
	}{
		{"as it is", func(*Dynamic) {}, cxtp.StatusOK},
		{"another generation", func(d *Dynamic) { d.Generation = 1 }, cxtp.StatusNoBase},
		{"response that is to come", func(d *Dynamic) { d.NextExpected = 7 }, cxtp.StatusMalformed},
		{"response left of the window", func(d *Dynamic) { d.NextExpected = 9 }, cxtp.StatusMalformed},
		{"response twice", func(d *Dynamic) { d.Responses = append(d.Responses, d.Responses[0]) }, cxtp.StatusMalformed},
		{"response of another SA", func(d *Dynamic) { d.Responses[0].Datagrams[0] = testDatagram(1, 7, 0) }, cxtp.StatusMalformed},
		{"response with another ID", func(d *Dynamic) { d.Responses[0].Datagrams[0] = testDatagram(2, 6, 0) }, cxtp.StatusMalformed},
		{"response without a header", func(d *Dynamic) { d.Responses[0].Datagrams[0] = make([]byte, 27) }, cxtp.StatusMalformed},
		{"response that did not fit", func(d *Dynamic) { d.Responses[0].Datagrams = nil }, cxtp.StatusOK},
		{"request", func(d *Dynamic) {
			d.Requests = []Message{{ID: 2, Datagrams: [][]byte{testDatagram(2, 2, 0)}}}
		}, cxtp.StatusOK},
		{"request without octets", func(d *Dynamic) { d.Requests = []Message{{ID: 2}} }, cxtp.StatusMalformed},
		{"request left of the window", func(d *Dynamic) {
			d.Requests = []Message{{ID: 1, Datagrams: [][]byte{testDatagram(2, 1, 0)}}}
		}, cxtp.StatusMalformed},
		{"next IV of salted ones", func(d *Dynamic) { d.IV = 1 }, cxtp.StatusMalformed},
		{"negative age", func(d *Dynamic) { d.Idle = -1 }, cxtp.StatusMalformed},
	} {
		d := testDynamic()
		c.change(d)
		if err := d.Validate(s); status(err) != c.want {
			t.Errorf("%s: status %v (%v), want %v", c.name, status(err), err, c.want)
		}
	}
}

func TestClaims(t *testing.T) {
	s := testSession()
	s.Children[0].Remote[0].Range.To = netip.MustParseAddr("10.4.0.9")
	c := s.Claims()
	want := []netip.Prefix{netip.MustParsePrefix("10.4.0.7/32"), netip.MustParsePrefix("10.4.0.8/31")}
	if c.Identity != "eap:ann" || len(c.Inner) != 2 || c.Inner[0] != want[0] || c.Inner[1] != want[1] {
		t.Errorf("claims %+v, want ann's %v", c, want)
	}
}
