package soft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cxtp/cxtp/ipsecctx"
)

// TestTraffic sends both ways through real sockets: every transform, every
// combination of inner and outer family, with ESN and without.
func TestTraffic(t *testing.T) {
	for name := range transforms {
		for _, outer6 := range []bool{false, true} {
			for _, esn := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/outer6=%v/esn=%v", name, outer6, esn), func(t *testing.T) {
					gate, node := newLive(t, outer6, nil), newLive(t, outer6, nil, func(c *Config) { c.Host = true })
					s := gateSession(name)
					for i := range s.SAs {
						s.SAs[i].ESN = esn
						s.SAs[i].Local, s.SAs[i].Encap.LocalPort = gate.outside.Addr(), gate.outside.Port()
						s.SAs[i].Remote, s.SAs[i].Encap.RemotePort = node.outside.Addr(), node.outside.Port()
					}
					must(t, gate.Install(testID, s, nil))
					must(t, node.Install(testID, mirrored(s, gate.outside), nil))
					for _, inner := range [][2]netip.Addr{{host4, node4}, {host6, node6}} {
						for _, size := range []int{0, 1, 2, 3, 13, 14, 15, 16, 1372} {
							data := bytes.Repeat([]byte{'d'}, size)
							down := udpPacket(inner[0], inner[1], 53, 1000, data)
							gate.send(t, down)
							if got := node.recv(t); !bytes.Equal(got, hopped(down)) {
								t.Fatalf("the node received\n%x, want\n%x", got, hopped(down))
							}
							up := udpPacket(inner[1], inner[0], 1000, 53, data)
							node.send(t, up)
							if got := gate.recv(t); !bytes.Equal(got, hopped(up)) {
								t.Fatalf("the host received\n%x, want\n%x", got, hopped(up))
							}
						}
					}
				})
			}
		}
	}
}

// TestOutsideNoise gives the gateway all that is no ESP packet of a session.
func TestOutsideNoise(t *testing.T) {
	g := newBench(t)
	s := gateSession("AES-GCM-128")
	must(t, g.Install(testID, s, nil))
	esp := nodeEnd(t, s).uplink(2)
	for _, p := range [][]byte{
		{0xff},                         // keepalive
		{},                             // malformed
		{0, 0, 0, 0, 1, 2, 3},          // malformed
		{0, 0, 0, 0, 1, 2, 3, 4},       // non-ESP
		{0, 0, 0x99, 0, 1, 2, 3, 4, 5}, // unknown SPI
		esp[0][:len(esp[0])-4],         // wrong ICV
		esp[0][:headerLen+8+16],        // no trailer
	} {
		g.fromNode(p)
	}
	broken := bytes.Clone(esp[1])
	broken[12] ^= 1
	g.fromNode(broken)
	for _, p := range esp { // failed packets have not marked the window
		g.fromNode(p)
	}
	st := g.Stats()
	want := Stray{Keepalives: 1, Malformed: 2, NonESP: 1, UnknownSPI: 1}
	if st.Stray != want {
		t.Errorf("stray packets %+v, want %+v", st.Stray, want)
	}
	if in := st.In; in != (InCounters{Received: 2, AuthFailed: 2, Malformed: 1}) {
		t.Errorf("inbound %+v", in)
	}
	if n := len(g.in.take()); n != 2 {
		t.Errorf("%d packets inside, want 2", n)
	}
}

// TestDefaultPolicy shows the difference that Bypass makes.
func TestDefaultPolicy(t *testing.T) {
	packet := udpPacket(host4, node4, 1, 2, []byte("clear"))
	g := newBench(t)
	g.fromHost(packet)
	if sent := g.out.take(); len(sent) != 0 || g.Stats().Stray.PolicyDrops != 1 {
		t.Errorf("sent %x, counted %+v", sent, g.Stats().Stray)
	}
	clear := newBench(t, func(c *Config) { c.DefaultPolicy, c.ClearNextHop = Bypass, nodeOuter })
	clear.fromHost(packet)
	if sent := clear.out.take(); len(sent) != 1 || !bytes.Equal(sent[0], hopped(packet)) || clear.Stats().Stray.Bypassed != 1 {
		t.Errorf("sent %x, counted %+v", sent, clear.Stats().Stray)
	}
}

// TestInnerOutsideSelectors has a node send what its SA may not carry.
func TestInnerOutsideSelectors(t *testing.T) {
	s := gateSession("ChaCha20")
	loose := s.Clone()
	for i := range loose.SAs {
		loose.SAs[i].Selectors = []ipsecctx.Selector{selector()}
	}
	node := nodeEnd(t, loose)
	g := newBench(t)
	must(t, g.Install(testID, s, nil))
	node.fromHost(udpPacket(netip.MustParseAddr("10.9.0.6"), host4, 1, 2, nil))
	g.fromNode(node.out.take()[0])
	if n := len(g.in.take()); n != 0 || g.Stats().In.PolicyDrops != 1 {
		t.Errorf("%d packets passed, counted %+v", n, g.Stats().In)
	}
}

// TestTunnelContents sends authentic packets with odd contents.
func TestTunnelContents(t *testing.T) {
	s := gateSession("AES-GCM-256")
	good := udpPacket(node4, host4, 1, 2, []byte("data"))
	for _, c := range []struct {
		name    string
		payload []byte
		next    uint8
		want    InCounters
	}{
		{"TFC padding", append(bytes.Clone(good), make([]byte, 100)...), protoIPv4, InCounters{Received: 1}},
		{"dummy", make([]byte, 50), protoNone, InCounters{Dummies: 1}},
		{"empty dummy", nil, protoNone, InCounters{Dummies: 1}},
		{"wrong family", good, protoIPv6, InCounters{Malformed: 1}},
		{"transport mode", good[20:], protoUDP, InCounters{Malformed: 1}},
		{"short", good[:25], protoIPv4, InCounters{Malformed: 1}},
		{"nothing", nil, protoIPv4, InCounters{Malformed: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newBench(t)
			must(t, g.Install(testID, s, nil))
			su, err := newSuite(&s.SAs[1])
			must(t, err)
			buf := make([]byte, headroom+len(c.payload)+tailroom)
			copy(buf[headroom:], c.payload)
			g.fromNode(encapsulate(su, buf, headroom, headroom+len(c.payload), spiToGate, 1, c.next))
			if got := g.Stats().In; got != c.want {
				t.Errorf("counted %+v, want %+v", got, c.want)
			}
			if got := g.in.take(); c.want.Received == 1 && !bytes.Equal(got[0], hopped(good)) {
				t.Errorf("passed %x, want %x", got[0], hopped(good))
			}
		})
	}
}

// TestPadding changes a padding octet under a right ICV.
func TestPadding(t *testing.T) {
	l := layout{iv: 8, icv: 16, align: 4}
	packet := slices.Concat(make([]byte, 16), []byte{'x', 'y', 'z', 1, 2, 3, 3, protoIPv4}, make([]byte, 16))
	body, next, err := payload(l, packet)
	if err != nil || string(body) != "xyz" || next != protoIPv4 {
		t.Fatalf("payload = %q, %d, %v", body, next, err)
	}
	for _, change := range [][2]byte{{20, 9}, {22, 7}, {22, 255}} {
		p := bytes.Clone(packet)
		p[change[0]] = change[1]
		if body, _, err := payload(l, p); err == nil {
			t.Errorf("octet %d = %d: payload %q", change[0], change[1], body)
		}
	}
}

// TestHopLimit lets a packet make its last hop, and no further one.
func TestHopLimit(t *testing.T) {
	for _, p := range [][]byte{udpPacket(host4, node4, 1, 2, nil), udpPacket(host6, node6, 1, 2, nil)} {
		g := newBench(t)
		must(t, g.Install(testID, gateSession("ChaCha20"), nil))
		at := 8
		if p[0]>>4 == 6 {
			at = 7
		}
		for _, limit := range []byte{2, 1, 0} {
			p[at] = limit
			g.fromHost(p)
		}
		if n := len(g.out.take()); n != 1 || g.Stats().Stray.HopLimit != 2 {
			t.Errorf("%d packets sent, counted %+v", n, g.Stats().Stray)
		}
	}
}

// TestHopChecksum compares the incremental checksum with the whole one for
// every value that the field can have.
func TestHopChecksum(t *testing.T) {
	p := ipPacket(host4, node4, protoUDP, nil)
	for id := range 1 << 16 {
		binary.BigEndian.PutUint16(p[4:], uint16(id))
		p[8], p[10], p[11] = 64, 0, 0
		binary.BigEndian.PutUint16(p[10:], checksum(p))
		if !hop(p) || checksum(p) != 0 {
			t.Fatalf("header %x does not sum up", p)
		}
	}
}

// TestESNCrossing goes over 2^32 with packets late on both sides of it.
func TestESNCrossing(t *testing.T) {
	for name := range transforms {
		t.Run(name, func(t *testing.T) {
			s := gateSession(name)
			for i := range s.SAs {
				s.SAs[i].ESN = true
			}
			start := uint64(1<<32 - 20)
			node := nodeEnd(t, s, ipsecctx.Dynamic{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: start})
			g := newBench(t)
			must(t, g.Install(testID, s, []ipsecctx.Dynamic{{
				Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: start, Window: []uint64{1},
			}}))
			esp := node.uplink(40)
			order := append(append([]int{0, 1, 35, 2, 36, 18}, 37), 5, 19, 20, 21, 39)
			for _, i := range order {
				g.fromNode(esp[i])
			}
			for _, i := range order { // each of them once more
				g.fromNode(esp[i])
			}
			n := uint64(len(order))
			if in := g.Stats().In; in != (InCounters{Received: n, Replayed: n}) {
				t.Errorf("counted %+v, want %d received and replayed", in, n)
			}
			_, dynamic, err := g.Export(ctx, testID)
			must(t, err)
			if got := dynamic[0].Sequence; got != start+40 {
				t.Errorf("right edge %#x, want %#x", got, start+40)
			}
			inspector, err := NewInspector(&s.SAs[1])
			must(t, err)
			inspector.Start(start)
			for i, p := range esp {
				if seq, _, _, err := inspector.Open(p); err != nil || seq != start+uint64(i)+1 {
					t.Errorf("inspector: %#x, %v; want %#x", seq, err, start+uint64(i)+1)
				}
			}
		})
	}
}

// TestCounterEnds asks for no packet after the last sequence number, even with
// overflow permitted.
func TestCounterEnds(t *testing.T) {
	for _, c := range []struct {
		esn  bool
		last uint64
	}{{false, 1<<32 - 1}, {true, 1<<64 - 1}} {
		s := gateSession("AES-GCM-128")
		s.SAs[0].ESN, s.SAs[1].ESN, s.SAs[0].Overflow = c.esn, c.esn, true
		g := newBench(t)
		must(t, g.Install(testID, s, []ipsecctx.Dynamic{{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: c.last - 2}}))
		for range 5 {
			g.fromHost(udpPacket(host4, node4, 1, 2, nil))
		}
		st := g.Stats().Sessions[testID]
		if st.Out.Sent != 2 || st.Out.Expired != 3 || st.SAs[1].Sequence != c.last || !st.SAs[1].Hard {
			t.Errorf("esn %v: %+v", c.esn, st)
		}
	}
}

func TestLifetimes(t *testing.T) {
	down, up := udpPacket(host4, node4, 1, 2, nil), 3
	for _, c := range []struct {
		name string
		hard ipsecctx.Lifetime
		wait time.Duration
		want uint64
	}{
		{"packets", ipsecctx.Lifetime{Packets: 2}, 0, 2},
		{"octets", ipsecctx.Lifetime{Octets: 2*32 + 31}, 0, 2}, // 28 of packet and 2 of trailer, aligned
		{"time", ipsecctx.Lifetime{Time: time.Hour}, time.Hour - time.Second, 3},
		{"time over", ipsecctx.Lifetime{Time: time.Hour}, time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := gateSession("ChaCha20")
				for i := range s.SAs {
					s.SAs[i].Hard, s.SAs[i].Soft = c.hard, ipsecctx.Lifetime{Packets: 1}
				}
				esp := nodeEnd(t, gateSession("ChaCha20")).uplink(up)
				g := newBench(t)
				must(t, g.Install(testID, s, nil))
				time.Sleep(c.wait) // the bubble's clock
				for i := range up {
					g.fromHost(down)
					g.fromNode(esp[i])
				}
				st := g.Stats().Sessions[testID]
				if st.Out.Sent != c.want || st.In.Received != c.want || st.Out.Expired != 3-c.want || st.In.Expired != 3-c.want {
					t.Errorf("%+v, want %d of 3 each way", st.Counters, c.want)
				}
				for _, sa := range st.SAs {
					if sa.Soft != (c.want > 0) || sa.Used.Packets != c.want || sa.Used.Octets != 32*c.want || sa.Used.Time != c.wait {
						t.Errorf("%+v", sa)
					}
				}
			})
		})
	}
}

// TestLifetimeTravels keeps the age of an SA over a move, and its idle time.
func TestLifetimeTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newBench(t), newBench(t)
		must(t, a.Install(testID, gateSession("ChaCha20"), nil))
		time.Sleep(10 * time.Second)
		a.fromHost(udpPacket(host4, node4, 1, 2, nil))
		time.Sleep(5 * time.Second)
		final, err := a.Freeze(ctx, testID)
		must(t, err)
		must(t, b.Stage(ctx, testID, gateSession("ChaCha20")))
		must(t, b.Activate(ctx, testID, final))
		time.Sleep(time.Second)
		_, d, err := b.Export(ctx, testID)
		must(t, err)
		if out := d[1]; out.Used.Time != 16*time.Second || out.Idle != 6*time.Second || out.Used.Packets != 1 || out.Sequence != 1 {
			t.Errorf("%+v", out)
		}
		if in := d[0]; in.Idle != 16*time.Second {
			t.Errorf("%+v", in)
		}
	})
}

// TestRekeyOrder prefers the pair that replaces another, and goes back when that
// is used up.
func TestRekeyOrder(t *testing.T) {
	s := gateSession("ChaCha20")
	next := s.Clone().SAs
	for i := range next {
		next[i].SPI, next[i].Pair, next[i].Replaces = next[i].SPI+1, 2, 1
		next[i].Hard.Packets = 1
		setKeys(&next[i], "AES-GCM-128")
	}
	s.SAs = append(s.SAs, next...)
	g := newBench(t)
	must(t, g.Install(testID, s, nil))
	var spis []uint32
	for range 3 {
		g.fromHost(udpPacket(host4, node4, 1, 2, nil))
	}
	for _, p := range g.out.take() {
		spis = append(spis, binary.BigEndian.Uint32(p))
	}
	if want := []uint32{spiToNode + 1, spiToNode, spiToNode}; !slices.Equal(spis, want) {
		t.Errorf("SPIs %#x, want %#x", spis, want)
	}
}

// TestDSCP tells two SAs with the same selectors apart.
func TestDSCP(t *testing.T) {
	s := gateSession("ChaCha20")
	voice := s.Clone().SAs[0]
	voice.SPI, voice.Pair, voice.DSCP = 0x3000, 2, []byte{46}
	s.SAs = append(s.SAs, voice)
	g := newBench(t)
	must(t, g.Install(testID, s, nil))
	for _, packet := range [][]byte{udpPacket(host4, node4, 1, 2, nil), udpPacket(host6, node6, 1, 2, nil)} {
		g.fromHost(packet)
		if packet[0]>>4 == 6 {
			binary.BigEndian.PutUint16(packet, 0x6000|46<<6)
		} else {
			packet[1] = 46 << 2
		}
		g.fromHost(packet)
		sent := g.out.take()
		if a, b := binary.BigEndian.Uint32(sent[0]), binary.BigEndian.Uint32(sent[1]); a != spiToNode || b != 0x3000 {
			t.Errorf("SPIs %#x and %#x", a, b)
		}
	}
}
