package daemon

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// TestInstalledAlgorithm installs sessions with and without an agent, and with
// keys that are too short for strong tokens.
func TestInstalledAlgorithm(t *testing.T) {
	agent := netip.MustParseAddrPort("192.0.2.10:5092")
	long, short, another := strings.Repeat("0d", 32), strings.Repeat("0d", 20), strings.Repeat("0e", 32)
	for _, c := range []struct {
		name          string
		agent         netip.AddrPort
		algorithm     cxtp.Algorithm
		update, token string
		want          cxtp.Algorithm
		err           string
	}{
		{"no agent", netip.AddrPort{}, 0, "", short, 0, ""},
		{"an agent", agent, 0, another, long, cxtp.AlgorithmHMACSHA256, ""},
		{"an agent that makes RFC 4067's tokens", agent, cxtp.AlgorithmHMACSHA1, another, short, cxtp.AlgorithmHMACSHA1, ""},
		{"strong tokens without an agent", netip.AddrPort{}, cxtp.AlgorithmHMACSHA256, "", long, cxtp.AlgorithmHMACSHA256, ""},
		{"a short token key", agent, 0, long, short, 0, "tokens[0].key: a key of 20 octets: hmac-sha256 needs one of at least 32"},
		{"a short update key", agent, 0, short, long, 0, "update_key: a key of 20 octets: hmac-sha256 needs one of at least 32"},
		{"no update key", agent, 0, "", long, 0, "update_key: a key of 0 octets: hmac-sha256 needs one of at least 32"},
	} {
		_, _, node, err := manualSession(&control.NewSession{
			Agent: c.agent, TokenAlgorithm: c.algorithm, UpdateKey: c.update, Tokens: []control.NewToken{{Number: 1, Key: c.token}},
		})
		switch {
		case c.err != "":
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error is %v, want %s", c.name, err, c.err)
			}
		case err != nil || node.Algorithm != c.want:
			t.Errorf("%s: installed with %s, %v", c.name, node.Algorithm, err)
		}
	}
}

// TestTokenKeysApart: a token key is there for tokens alone (RFC 4067 section 6.3).
func TestTokenKeysApart(t *testing.T) {
	for _, c := range []struct{ update, first, second, encryption, integrity, err string }{
		{"01", "02", "03", "04", "05", ""},
		{"", "02", "03", "04", "04", ""},
		{"03", "02", "03", "04", "05", "tokens[1].key: it is update_key as well; make a key for each purpose"},
		{"01", "02", "02", "04", "05", "tokens[1].key: it is tokens[0].key as well; make a key for each purpose"},
		{"01", "04", "03", "04", "05", "tokens[0].key: it is sas[0].key as well; make a key for each purpose"},
		{"01", "02", "05", "04", "05", "tokens[1].key: it is sas[0].integrity_key as well; make a key for each purpose"},
	} {
		_, _, _, err := manualSession(&control.NewSession{
			TokenAlgorithm: cxtp.AlgorithmHMACSHA1, UpdateKey: c.update,
			Tokens: []control.NewToken{{Number: 1, Key: c.first}, {Number: 2, Key: c.second}},
			SAs:    []control.NewSA{{Key: c.encryption, IntegrityKey: c.integrity}},
		})
		if got := fmt.Sprint(err); got != c.err && (err != nil || c.err != "") {
			t.Errorf("%+v: error is %v", c, err)
		}
	}
}
