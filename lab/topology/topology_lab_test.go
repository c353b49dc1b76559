//go:build linux && lab

package topology

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"
)

func build(t *testing.T) *Topology {
	t.Helper()
	topology, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := topology.Close(); err != nil {
			t.Error(err)
		}
	})
	return topology
}

// ask sends a datagram from one node to another and returns whom it came from,
// and how long it took there and back.
func ask(t *testing.T, from *Node, source netip.Addr, to *Node, target netip.Addr) (netip.AddrPort, time.Duration, error) {
	t.Helper()
	listen := func(n *Node, a netip.Addr, port uint16) *net.UDPConn {
		var conn *net.UDPConn
		if err := n.Do(func() (err error) {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, port)))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		return conn
	}
	client, server := listen(from, source, 0), listen(to, target, 0)
	start := time.Now()
	if _, err := client.WriteToUDPAddrPort([]byte("?"), server.LocalAddr().(*net.UDPAddr).AddrPort()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	_, seen, err := server.ReadFromUDPAddrPort(buf)
	if err != nil {
		return seen, 0, err
	}
	if _, err := server.WriteToUDPAddrPort(buf[:1], seen); err != nil {
		t.Fatal(err)
	}
	_, _, err = client.ReadFromUDPAddrPort(buf)
	return seen, time.Since(start), err
}

func TestEverybodyReachesWhomTheyShould(t *testing.T) {
	lab := build(t)
	for _, ipv6 := range []bool{false, true} {
		for _, c := range []struct {
			name           string
			from, to       *Node
			source, target Pair
		}{
			{"mn to sg1", lab.MN, lab.SG1, MN, SG1},
			{"mn2 to sg2", lab.MN2, lab.SG2, MN2, SG2},
			{"sg1 to sg2, outer", lab.SG1, lab.SG2, SG1, SG2},
			{"sg1 to sg2, sync", lab.SG1, lab.SG2, SG1Sync, SG2Sync},
			{"host to sg1", lab.Host, lab.SG1, Host, SG1Inner},
		} {
			if _, _, err := ask(t, c.from, c.source.Of(ipv6), c.to, c.target.Of(ipv6)); err != nil {
				t.Errorf("%s, IPv6 %v: %v", c.name, ipv6, err)
			}
		}
	}
}

func TestVirtualAddressMoves(t *testing.T) {
	lab := build(t)
	for _, owner := range []*Node{lab.SG1, lab.SG2, lab.SG1, lab.SG1} {
		if err := lab.MoveVirtual(owner); err != nil {
			t.Fatal(err)
		}
		for _, ipv6 := range []bool{false, true} {
			if _, _, err := ask(t, lab.MN, MN.Of(ipv6), owner, Virtual.Of(ipv6)); err != nil {
				t.Errorf("%s, IPv6 %v: %v", owner.Name, ipv6, err)
			}
		}
	}
}

func TestImpairments(t *testing.T) {
	lab := build(t)
	if err := lab.ImpairSync(Impairment{Delay: 40 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if _, took, err := ask(t, lab.SG1, SG1Sync.V4, lab.SG2, SG2Sync.V4); err != nil || took < 80*time.Millisecond {
		t.Fatalf("%v there and back, %v", took, err)
	}
	if err := lab.ImpairAccess(Impairment{Loss: 100}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ask(t, lab.MN, MN.V4, lab.SG1, SG1.V4); err == nil {
		t.Fatal("a link that loses everything passed a packet")
	}
	if err := lab.ImpairAccess(Impairment{}); err != nil {
		t.Fatal(err)
	}
	// A neighbour that did not answer is asked again only after a while.
	var err error
	for range 5 {
		if _, _, err = ask(t, lab.MN, MN.V4, lab.SG1, SG1.V4); err == nil {
			return
		}
	}
	t.Fatal(err)
}

func TestNATMappingChanges(t *testing.T) {
	lab := build(t)
	for _, first := range []uint16{20000, 30000} {
		if err := lab.NAT(context.Background(), first, first+999); err != nil {
			t.Fatal(err)
		}
		for _, node := range []struct {
			n *Node
			a Pair
		}{{lab.MN, MN}, {lab.MN2, MN2}} {
			seen, _, err := ask(t, node.n, node.a.V4, lab.SG1, SG1.V4)
			if err != nil {
				t.Fatal(err)
			}
			if seen.Addr().Unmap() != NATAddress || seen.Port() < first || seen.Port() >= first+1000 {
				t.Errorf("%s seen as %v", node.n.Name, seen)
			}
		}
	}
}
