package live

import (
	"net"

	"github.com/cxtp/cxtp/transport"
	"github.com/cxtp/cxtp/transport/testcert"
)

// strangerChecks are about a router that nobody has introduced.
var strangerChecks = []check{
	{
		name: "stranger-is-refused", rows: []string{"2.5.3-12", "6.2-3"},
		expect: "a router whose certificate has the prober's name, from an authority that is not trusted, gets no association",
		run: func(t *trial) {
			t.connected()
			authority, err := testcert.New()
			t.must(err)
			cert, err := authority.Issue(t.identity())
			t.must(err)
			host, _, err := net.SplitHostPort(t.subject.Probe.Listen)
			t.must(err)
			up := make(chan struct{}, 1)
			other, err := transport.Listen(transport.Config{
				Addr: net.JoinHostPort(host, "0"), Certificate: cert, Roots: t.roots,
				Peers:   []transport.Peer{{Name: peerName, Addr: t.subject.Router, Identity: t.subject.Identity}},
				Handler: func(string, []byte) {},
				Events: func(e transport.Event) {
					if _, ok := e.(transport.PeerUp); ok {
						up <- struct{}{}
					}
				},
			})
			t.must(err)
			defer other.Close()
			if wait(t.ctx, up, t.quiet()) {
				t.fail("an association was set up with a certificate of an authority that nobody trusts")
			}
			t.stillThere()
		},
	},
}

// identity is the name in the prober's certificate.
func (t *trial) identity() string {
	if leaf := t.certificate.Leaf; len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	t.skip("the prober's certificate has no DNS name")
	return ""
}
