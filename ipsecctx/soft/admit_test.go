package soft

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
)

func TestSupports(t *testing.T) {
	g := newBench(t)
	for _, c := range []struct {
		name   string
		change func(*ipsecctx.SA)
		want   cxtp.Status
	}{
		{"AH", func(sa *ipsecctx.SA) { sa.Protocol = ipsecctx.AH }, cxtp.StatusUnsupported},
		{"transport mode", func(sa *ipsecctx.SA) { sa.Mode = ipsecctx.Transport }, cxtp.StatusUnsupported},
		{"no encapsulation", func(sa *ipsecctx.SA) { sa.Encap = ipsecctx.Encap{} }, cxtp.StatusUnsupported},
		{"stateful fragments", func(sa *ipsecctx.SA) { sa.StatefulFragments = true }, cxtp.StatusUnsupported},
		{"label", func(sa *ipsecctx.SA) { sa.Selectors[0].Sensitivity = []byte{1} }, cxtp.StatusUnsupported},
		{"window", func(sa *ipsecctx.SA) { sa.Window = ipsecctx.MaxWindow + 1 }, cxtp.StatusWindow},
		{"GCM-8", func(sa *ipsecctx.SA) { sa.Encryption.ID = ipsecctx.EncrAESGCM8 }, cxtp.StatusAlgorithm},
		{"192 bits", func(sa *ipsecctx.SA) {
			sa.Encryption.Bits, sa.Encryption.Key = 192, secret.New(make([]byte, 24))
		}, cxtp.StatusAlgorithm},
		{"integrity beside an AEAD", func(sa *ipsecctx.SA) { sa.Integrity.ID = ipsecctx.AuthHMACSHA2_256_128 }, cxtp.StatusAlgorithm},
		{"HMAC-SHA-512", func(sa *ipsecctx.SA) {
			setKeys(sa, "AES-CBC-128")
			sa.Integrity = ipsecctx.Authenticator{ID: ipsecctx.AuthHMACSHA2_512_256, Key: secret.New(make([]byte, 64))}
		}, cxtp.StatusAlgorithm},
		{"96-bit ICV", func(sa *ipsecctx.SA) { setKeys(sa, "AES-CBC-128"); sa.Integrity.Truncate = 96 }, cxtp.StatusAlgorithm},
		{"implicit IV", func(sa *ipsecctx.SA) { sa.Encryption.ID = ipsecctx.EncrAESGCM16IIV }, cxtp.StatusAlgorithm},
		{"random IV before", func(sa *ipsecctx.SA) { sa.Encryption.IV = ipsecctx.IVRandom }, cxtp.StatusAlgorithm},
		{"invalid", func(sa *ipsecctx.SA) { sa.Selectors = nil }, cxtp.StatusMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := gateSession("AES-GCM-128")
			c.change(&s.SAs[0])
			c.change(&s.SAs[1])
			wantStatus(t, g.Supports(&s.SAs[0]), c.want)
			wantStatus(t, g.Stage(ctx, testID, s), c.want)
			if n := len(g.Stats().Sessions); n != 0 {
				t.Errorf("%d sessions remain", n)
			}
		})
	}
	for name := range transforms {
		for i := range 2 {
			must(t, g.Supports(&gateSession(name).SAs[i]))
		}
	}
	salted := gateSession("AES-GCM-128").SAs[0]
	salted.Encryption.IV = ipsecctx.IVSalted
	must(t, g.Supports(&salted))
}

func TestConflicts(t *testing.T) {
	other := netip.MustParseAddr("10.9.0.6")
	// apart is a session that collides with gateSession in nothing.
	apart := func() *ipsecctx.Session {
		s := gateSession("ChaCha20")
		s.Inner = []netip.Prefix{netip.PrefixFrom(other, 32)}
		for i := range s.SAs {
			s.SAs[i].SPI += 0x10000
			s.SAs[i].Selectors = []ipsecctx.Selector{selector(other)}
		}
		return s
	}
	everything := func(s *ipsecctx.Session) {
		for i := range s.SAs {
			s.SAs[i].Selectors = []ipsecctx.Selector{selector()}
		}
	}
	for _, c := range []struct {
		name   string
		change func(*ipsecctx.Session)
		want   cxtp.Status
	}{
		{"inbound SPI", func(s *ipsecctx.Session) { s.SAs[1].SPI = spiToGate }, cxtp.StatusSPIConflict},
		{"inner address", func(s *ipsecctx.Session) { s.Inner = []netip.Prefix{netip.PrefixFrom(node4, 32)} }, cxtp.StatusPolicyConflict},
		{"inner net", func(s *ipsecctx.Session) { s.Inner = []netip.Prefix{netip.MustParsePrefix("10.9.0.0/29")} }, cxtp.StatusPolicyConflict},
		{"selector", func(s *ipsecctx.Session) {
			s.SAs[1].Selectors = []ipsecctx.Selector{selector(other), selector(node6)}
		}, cxtp.StatusPolicyConflict},
		{"wide selector", everything, cxtp.StatusPolicyConflict},
		{"outbound SPI", func(s *ipsecctx.Session) { s.SAs[0].SPI = spiToNode }, cxtp.StatusOK},
		{"nothing", func(*ipsecctx.Session) {}, cxtp.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := apart()
			c.change(s)
			g := newBench(t)
			must(t, g.Install(testID, gateSession("ChaCha20"), nil))
			if c.want == cxtp.StatusOK {
				must(t, g.Stage(ctx, otherID, s))
				return
			}
			wantStatus(t, g.Stage(ctx, otherID, s), c.want)
			wantStatus(t, g.Install(otherID, s, nil), c.want)
			must(t, g.Install(otherID, apart(), nil)) // nothing was left behind
			must(t, g.Release(ctx, testID))
			must(t, g.Release(ctx, otherID))
			must(t, g.Install(otherID, s, nil)) // nor by those that are gone
			wantStatus(t, g.Stage(ctx, testID, gateSession("ChaCha20")), c.want)
		})
	}
	g := newBench(t)
	twice := gateSession("ChaCha20")
	twice.SAs = append(twice.SAs, twice.SAs[1])
	wantStatus(t, g.Install(testID, twice, nil), cxtp.StatusMalformed)
	must(t, g.Install(testID, gateSession("ChaCha20"), nil))
	wantStatus(t, g.Install(testID, apart(), nil), cxtp.StatusBusy)
	wantStatus(t, g.Stage(ctx, testID, apart()), cxtp.StatusBusy)
}

func TestConfig(t *testing.T) {
	for name, c := range map[string]Config{
		"no wires":          {NextHop: hostHop},
		"no next hop":       {Outside: new(tape), Inside: new(tape)},
		"negative queue":    {Outside: new(tape), Inside: new(tape), NextHop: hostHop, QueuePackets: -1},
		"bypass to nowhere": {Outside: new(tape), Inside: new(tape), NextHop: hostHop, DefaultPolicy: Bypass},
		"unknown policy":    {Outside: new(tape), Inside: new(tape), NextHop: hostHop, DefaultPolicy: 2},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	g := newBench(t)
	if err := g.Run(ctx); err == nil {
		t.Error("Run ended without an error although its wires were closed")
	}
}
