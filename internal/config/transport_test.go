package config_test

import (
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/config"
)

// overSCTP is minimal with the kernel's SCTP for its carrier, and no certificate. The
// first peer's section is last, and has no endpoint.
var overSCTP = strings.Replace(minimal, "certificate = \"sg1.pem\"\nkey = \"pki/sg1.key\"\nca = \"/etc/ca.pem\"\n", "carrier = \"sctp\"\n", 1)

func TestSCTPNeedsNoCertificate(t *testing.T) {
	c := parse(t, overSCTP+`endpoint = "127.0.0.2:5091"`)
	if c.Transport.Carrier != config.SCTP || c.Transport.InsecureSCTP {
		t.Errorf("%+v", c.Transport)
	}
	if c = parse(t, strings.Replace(overSCTP, "[node]", "insecure_sctp = true\n[node]", 1)+`endpoint = "127.0.0.2:5091"`); !c.Transport.InsecureSCTP {
		t.Errorf("%+v", c.Transport)
	}
}

// TestSCTPEndpoints: a peer is its endpoint, so that has to be an address of its own.
func TestSCTPEndpoints(t *testing.T) {
	const hint = `: write the address and port that it sends from, which is all that it is known by, for example "198.51.100.2:5091"`
	for _, test := range []struct{ more, want string }{
		{``, `sg.toml: peer "sg2": endpoint is ""` + hint},
		{`endpoint = "sg2.example:5091"`, `sg.toml: peer "sg2": endpoint is "sg2.example:5091"` + hint},
		{`endpoint = "0.0.0.0:5091"`, `sg.toml: peer "sg2": endpoint is "0.0.0.0:5091"` + hint},
		{`endpoint = "198.51.100.2:0"`, `sg.toml: peer "sg2": endpoint is "198.51.100.2:0"` + hint},
		{`endpoint = "[2001:db8::2]:5091"`,
			`sg.toml: peer "sg2": endpoint is [2001:db8::2]:5091, and transport.listen is 127.0.0.1:5091: both have to be IPv4, or both IPv6`},
		{"endpoint = \"198.51.100.2:5091\"\n" + peer("sg3", "192.0.2.3", `endpoint = "198.51.100.2:5091"`),
			`sg.toml: peer "sg3": endpoint is 198.51.100.2:5091, as that of peer "sg2": each router needs an endpoint of its own`},
	} {
		if _, err := config.Parse("sg.toml", []byte(overSCTP+test.more)); err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}
