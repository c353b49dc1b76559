//go:build linux

package charon

import (
	"bytes"
	"fmt"
	"net/netip"
	"text/template"

	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/transport/testcert"
)

// Names that every configuration of this package uses.
const (
	Clients = "clients" // the connection at a gateway
	Home    = "home"    // the connection at a client
	Child   = "net"     // at both: to the protected side
)

// common is what each role needs. ECDSA, AES and X25519 are OpenSSL's.
const common = "random nonce pem pkcs1 pkcs8 x509 pubkey constraints revocation openssl kdf " +
	"kernel-netlink socket-default vici eap-identity eap-mschapv2 eap-tls"

// The ends of the ha protocol in a gateway's node. The plugin hears nobody but
// the agent's address.
var (
	pluginAddress = netip.MustParseAddrPort("127.0.0.1:4510")
	agentAddress  = netip.MustParseAddrPort("127.0.0.2:4510")
)

// Extra is configuration beyond what a role writes: lines of swanctl.conf that
// come last in the connection's section, in the child's, and in the file, and
// lines of the section of charon in strongswan.conf. There a key said again
// overrides, and a section merges.
type Extra struct{ Connection, Child, File, Daemon string }

// Gateway is a security gateway for clients that authenticate by certificates.
// Its ha plugin has 16 segments and, until [Agent.Activate], none of them
// active.
type Gateway struct {
	Identity  string
	Authority *testcert.Authority // of its own certificate and of the clients'
	Address   netip.Addr          // that clients connect to; the zero value is any of the node's
	Pool      netip.Prefix        // the clients' inner addresses
	Release   string              // of Debian, if its strongSwan is not this machine's: see the script fetch
	Extra
}

func (g Gateway) plugins() string { return "ha" }
func (g Gateway) release() string { return g.Release }

// The routes to clients are the product's.
func (g Gateway) options() string { return "install_routes = no\n" + g.Daemon }

func (g Gateway) settings() string {
	return fmt.Sprintf("ha {\nlocal = %s\nremote = %s\nmonitor = no\nresync = no\nsegment_count = 16\npools { ha = %s }\n}",
		pluginAddress.Addr(), agentAddress.Addr(), g.Pool)
}

func (g Gateway) swanctl() (tree, error) {
	local := "%any"
	if g.Address.IsValid() {
		local = g.Address.String()
	}
	return side{
		Name: Clients, Addresses: "local_addrs = " + local, Inner: "pools = ha",
		Identity: g.Identity, Selectors: "local_ts", Extra: g.Extra,
	}.tree(g.Authority)
}

// Client is a client of a gateway, of which it asks an IPv4 inner address.
type Client struct {
	Identity  string
	Authority *testcert.Authority // of its own certificate and of the gateway's
	Gateway   string              // its identity
	Address   netip.Addr          // of the gateway
	Release   string              // of Debian, as a gateway's
	Extra
}

func (c Client) plugins() string  { return "" }
func (c Client) release() string  { return c.Release }
func (c Client) options() string  { return c.Daemon }
func (c Client) settings() string { return "" }

func (c Client) swanctl() (tree, error) {
	return side{
		Name: Home, Addresses: "remote_addrs = " + c.Address.String(), Inner: "vips = 0.0.0.0",
		Identity: c.Identity, Peer: "id = " + c.Gateway, Selectors: "remote_ts", Extra: c.Extra,
	}.tree(c.Authority)
}

// side is what swanctl.conf says at one of the two. Its texts are lines, but
// for the names.
type side struct {
	Name, Identity         string
	Addresses, Inner, Peer string
	Selectors              string // the key of the protected side's
	Extra
}

// Protected is the protected side.
func (side) Protected() netip.Prefix { return netip.PrefixFrom(topology.Host.V4, 24).Masked() }

// configurationFile is what swanctl reads.
const configurationFile = "swanctl.conf"

var configuration = template.Must(template.New(configurationFile).Parse(`
connections {
	{{.Name}} {
		version = 2
		proposals = aes128gcm16-prfsha256-x25519
		reauth_time = 0
		{{.Addresses}}
		{{.Inner}}
		local {
			auth = pubkey
			certs = {{.Name}}.pem
			id = {{.Identity}}
		}
		remote {
			auth = pubkey
			cacerts = ca.pem
			{{.Peer}}
		}
		children {
			` + Child + ` {
				esp_proposals = aes128gcm16
				{{.Selectors}} = {{.Protected}}
				{{.Extra.Child}}
			}
		}
		{{.Extra.Connection}}
	}
}
{{.Extra.File}}
`))

// tree is the swanctl folder, with a fresh certificate.
func (s side) tree(ca *testcert.Authority) (tree, error) {
	cert, err := ca.Issue(s.Identity)
	if err != nil {
		return nil, err
	}
	key, err := testcert.KeyPEM(cert)
	if err != nil {
		return nil, err
	}
	var conf bytes.Buffer
	if err := configuration.Execute(&conf, s); err != nil {
		return nil, err
	}
	return tree{
		configurationFile:            conf.Bytes(),
		"x509/" + s.Name + ".pem":    testcert.ChainPEM(cert),
		"private/" + s.Name + ".pem": key,
		"x509ca/ca.pem":              ca.CertPEM(),
	}, nil
}
