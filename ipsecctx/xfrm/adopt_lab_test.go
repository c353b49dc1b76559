//go:build linux && lab

package xfrm

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
)

// TestAside has packets wait at an overlay. They leave over the policy behind it when
// the overlay steps aside, all of them and in order, and are lost when it is deleted,
// even if it was opened before.
func TestAside(t *testing.T) {
	const packets = 50
	for _, c := range []struct {
		name string
		open func(overlay uapi.Policy, theirs *uapi.Policy) []uapi.Request
		want int
	}{
		{"aside", func(overlay uapi.Policy, _ *uapi.Policy) []uapi.Request {
			overlay = aside(overlay)
			return []uapi.Request{{Op: uapi.OpUpdatePolicy, Policy: &overlay}}
		}, packets},
		{"deleted", func(overlay uapi.Policy, _ *uapi.Policy) []uapi.Request {
			return []uapi.Request{deletePolicy(overlay.ID())}
		}, 0},
		{"opened and deleted", func(overlay uapi.Policy, theirs *uapi.Policy) []uapi.Request {
			overlay.Templates = theirs.Templates
			return []uapi.Request{{Op: uapi.OpUpdatePolicy, Policy: &overlay}, deletePolicy(overlay.ID())}
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNetwork(t, adopting)
			s := n.session(false, false, false)
			must(t, n.MoveVirtual(n.SG1))
			must(t, n.RouteInner(topology.MNInner, topology.SG1Inner))
			must(t, n.node.Install(ctx, testID, mirrored(s), nil))
			n.begin(s)
			_, err := n.sg1.Freeze(ctx, testID)
			must(t, err)
			held := n.sg1.session(testID)
			overlay := behind(held.policies[len(held.policies)-1], frozen)
			found, err := n.sg1.each(ctx, []uapi.Request{{Op: uapi.OpGetPolicy, PolicyID: underneath(&overlay).ID()}})
			must(t, err)

			to := netip.AddrPortFrom(topology.MNInner.V4, 5555)
			var node, host net.Conn
			must(t, n.MN.Do(func() (err error) {
				node, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(to))
				return err
			}))
			defer node.Close()
			must(t, n.Host.Do(func() (err error) { host, err = net.Dial("udp4", to.String()); return err }))
			defer host.Close()
			for i := range packets {
				_, err := host.Write([]byte{byte(i)})
				must(t, err)
			}
			if got := numbers(t, node, 0); len(got) > 0 {
				t.Fatalf("%d passed a shut door", got)
			}
			_, err = n.sg1.each(ctx, c.open(overlay, found[0].Policy))
			must(t, err)
			got := numbers(t, node, c.want)
			for i, number := range got {
				if int(number) != i {
					t.Fatalf("out of order: %d", got)
				}
			}
			if len(got) != c.want {
				t.Errorf("%d of %d came, want %d", len(got), packets, c.want)
			}
		})
	}
}

// numbers are those of the packets that come: as many as are awaited, and more until none
// has come for half a second.
func numbers(t *testing.T, from net.Conn, want int) (all []byte) {
	for packet := make([]byte, 1); ; {
		wait := time.Second / 2
		if len(all) < want {
			wait = time.Minute
		}
		must(t, from.SetReadDeadline(time.Now().Add(wait)))
		if _, err := from.Read(packet); err != nil {
			return all
		}
		all = append(all, packet[0])
	}
}
