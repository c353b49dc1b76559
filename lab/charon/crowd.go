//go:build linux && lab

package charon

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/transport/testcert"
)

// Crowd is many clients in one daemon: a connection each, called by
// [Crowd.Connection], with an identity, a certificate and an outer address of its
// own. The addresses have to be the node's.
type Crowd struct {
	Authority *testcert.Authority // of their certificates and of the gateway's
	Gateway   string              // its identity
	Address   netip.Addr          // of the gateway
	Local     []netip.Addr        // the clients' outer addresses, one each
}

// Connection is the connection of a client, counted from 0. Its child is [Child].
func (Crowd) Connection(client int) string { return fmt.Sprintf("%s-%d", Home, client) }

// Identity is the identity of a client.
func (Crowd) Identity(client int) string { return fmt.Sprintf("mn%d.example", client) }

func (c Crowd) plugins() string  { return "" }
func (c Crowd) options() string  { return "" }
func (c Crowd) settings() string { return "" }
func (c Crowd) release() string  { return "" }

func (c Crowd) swanctl() (tree, error) {
	all := tree{}
	var conf []byte
	for i, local := range c.Local {
		one, err := side{
			Name: c.Connection(i), Addresses: fmt.Sprintf("local_addrs = %s\nremote_addrs = %s", local, c.Address),
			Inner: "vips = 0.0.0.0", Identity: c.Identity(i), Peer: "id = " + c.Gateway, Selectors: "remote_ts",
		}.tree(c.Authority)
		if err != nil {
			return nil, err
		}
		conf = slices.Concat(conf, one[configurationFile]) // sections that are said again merge
		maps.Copy(all, one)
	}
	all[configurationFile] = conf
	return all, nil
}

// Connect connects a client of a crowd by its connection, and returns when it is
// up.
func (d *Daemon) Connect(connection string) error {
	return d.control("initiate", map[string]any{"ike": connection, "child": Child, "timeout": patience.Milliseconds()})
}

// Drop has a client of a crowd forget its IKE SA, whatever the gateway says to that.
func (d *Daemon) Drop(connection string) error {
	return d.control("terminate", map[string]any{"ike": connection, "force": "yes", "timeout": patience.Milliseconds()})
}
