package cxtp_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/testvectors"
)

// signedOf is what the strong token of a CTAR or CT-Req authorises for a session,
// and RFC 4067's token field.
func signedOf(t *testing.T, m cxtp.Message, session cxtp.SessionID) (cxtp.Signed, cxtp.Token) {
	t.Helper()
	switch m := m.(type) {
	case *cxtp.CTAR:
		return cxtp.Signed{Session: session, Previous: m.Previous, Sequence: m.Sequence, Requests: m.Requests}, m.Token
	case *cxtp.CTReq:
		return cxtp.Signed{Session: session, Previous: m.Previous, Sequence: m.Sequence, Requests: m.Requests}, m.Token
	}
	t.Fatalf("a %s has no token", m.Type())
	return cxtp.Signed{}, cxtp.Token{}
}

// TestStrongTokenVectors checks the tags of whole messages against those that
// another program computed, and makes the same ones.
func TestStrongTokenVectors(t *testing.T) {
	all, err := testvectors.Load("authorisation")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, v := range all {
		if v.Type != "CTAR" && v.Type != "CT-Req" {
			continue
		}
		checked++
		t.Run(v.Name, func(t *testing.T) {
			octets, key := octetsOf(t, v.Hex), secret.New(octetsOf(t, v.Key))
			m, err := cxtp.Decode(octets)
			if err != nil || m.Type().String() != v.Type {
				t.Fatalf("decoded to %v: %v", m, err)
			}
			what, field := signedOf(t, m, cxtp.SessionID{})
			what.Session, err = cxtp.ParseSessionName(what.Requests[0])
			if err != nil {
				t.Fatal(err)
			}
			token, err := cxtp.ParseStrongToken(what.Requests[len(what.Requests)-1])
			if err != nil {
				t.Fatal(err)
			}
			if token.Token() != field || !token.Verify(key, what) {
				t.Error("the tag is not accepted")
			}
			again := token
			again.Tag = [cxtp.TagSize]byte{}
			if err := again.Sign(key, what); err != nil || again != token {
				t.Errorf("signed again: %+v, %v", again, err)
			}
			encoded, err := m.Append(nil)
			if err != nil || !bytes.Equal(encoded, octets) {
				t.Errorf("encoded again: %x, %v", encoded, err)
			}
			fields, err := cxtp.Describe(octets, cxtp.DescribeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			wantFields(t, fields, "", v.Fields)
		})
	}
	if checked == 0 {
		t.Error("no vectors")
	}
}

// TestStrongTokenCovers changes one thing at a time in what a token authorises.
func TestStrongTokenCovers(t *testing.T) {
	key := secret.New([]byte("a token key"))
	node, neighbour := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	pAR, nAR, other := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("198.51.100.3")
	requests := []cxtp.CDB{cxtp.SessionNameBlock(cxtp.SessionID{1}), {FPT: cxtp.FPTIPsecSession}}
	what := cxtp.Signed{Session: cxtp.SessionID{1}, Previous: node, Sequence: 7, Requests: requests}
	token := cxtp.StrongToken{Role: cxtp.RoleArriving, Generation: 5, KeyNumber: 2, PAR: pAR, NAR: nAR}
	if err := token.Sign(key, what); err != nil {
		t.Fatal(err)
	}
	block, err := token.Block()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*cxtp.StrongToken, *cxtp.Signed)
		right  bool
	}{
		"nothing":              {func(*cxtp.StrongToken, *cxtp.Signed) {}, true},
		"with its own block":   {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Requests = append(s.Requests[:2:2], block) }, true},
		"IPv4 mapped":          {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Previous = netip.AddrFrom16(node.As16()) }, true},
		"role":                 {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.Role = cxtp.RoleLeaving }, false},
		"no role":              {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.Role = 0 }, false},
		"generation":           {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.Generation++ }, false},
		"key number":           {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.KeyNumber++ }, false},
		"pAR":                  {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.PAR = other }, false},
		"nAR":                  {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.NAR = other }, false},
		"routers exchanged":    {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.PAR, t.NAR = t.NAR, t.PAR }, false},
		"a bit of the tag":     {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.Tag[31] ^= 1 }, false},
		"no tag":               {func(t *cxtp.StrongToken, _ *cxtp.Signed) { t.Tag = [cxtp.TagSize]byte{} }, false},
		"session":              {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Session[15]++ }, false},
		"node":                 {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Previous = neighbour }, false},
		"node of other family": {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Previous = netip.IPv6LinkLocalAllNodes() }, false},
		"no node":              {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Previous = netip.Addr{} }, false},
		"sequence number":      {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Sequence++ }, false},
		"a request less":       {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Requests = requests[:1] }, false},
		"a request more":       {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Requests = append(requests[:2:2], requests[1]) }, false},
		"requests exchanged":   {func(_ *cxtp.StrongToken, s *cxtp.Signed) { s.Requests = []cxtp.CDB{requests[1], requests[0]} }, false},
		"a request too large": {func(_ *cxtp.StrongToken, s *cxtp.Signed) {
			s.Requests = []cxtp.CDB{{Data: make([]byte, cxtp.MaxBlock)}}
		}, false},
	} {
		again, signed := token, what
		c.change(&again, &signed)
		if got := again.Verify(key, signed); got != c.right {
			t.Errorf("%s: accepted: %t, want %t", name, got, c.right)
		}
	}
	if token.Verify(secret.New([]byte("another key")), what) || token.Verify(secret.Key{}, what) {
		t.Error("accepted with another key, or with none")
	}
	if err := token.Sign(secret.Key{}, what); err == nil {
		t.Error("signed without a key")
	}
}
