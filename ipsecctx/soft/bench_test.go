package soft

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

var benchSizes = []int{64, 512, 1400} // octets of inner packet

func eachCipher(b *testing.B, run func(b *testing.B, su suite, size int)) {
	for _, name := range []string{"AES-GCM-128", "AES-GCM-256", "ChaCha20", "AES-CBC-128", "AES-CBC-256"} {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				su, err := newSuite(&gateSession(name).SAs[0])
				must(b, err)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				run(b, su, size)
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	eachCipher(b, func(b *testing.B, su suite, size int) {
		buf := make([]byte, headroom+size+tailroom)
		seq := uint64(0)
		for b.Loop() {
			seq++
			encapsulate(su, buf, headroom, headroom+size, spiToNode, seq, protoIPv4)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	eachCipher(b, func(b *testing.B, su suite, size int) {
		buf := make([]byte, headroom+size+tailroom)
		packet := encapsulate(su, buf, headroom, headroom+size, spiToNode, 1, protoIPv4)
		scratch := slices.Clone(packet)
		for b.Loop() {
			copy(scratch, packet)
			if err := su.open(scratch, 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkForward is the whole way of a packet through a gateway: from a socket
// on the inside to one on the outside, over loopback. The sender has at most 64
// packets under way, so that no buffer overflows.
func BenchmarkForward(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(fmt.Sprintf("AES-GCM-128/%d", size), func(b *testing.B) {
			node, at := listen(b, false)
			g := newLive(b, false, nil)
			g.tap.off.Store(true)
			s := gateSession("AES-GCM-128")
			for i := range s.SAs {
				s.SAs[i].Remote, s.SAs[i].Encap.RemotePort = at.Addr(), at.Port()
			}
			must(b, g.Install(testID, s, nil))
			packet := udpPacket(host4, node4, 1, 2, make([]byte, size-28))
			credit := make(chan struct{}, 64)
			for range cap(credit) {
				credit <- struct{}{}
			}
			must(b, node.SetReadDeadline(time.Now().Add(time.Minute)))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			b.ResetTimer()
			done := make(chan error, 1)
			go func() {
				buf := make([]byte, 2048)
				for range b.N {
					if _, _, err := node.ReadFromUDPAddrPort(buf); err != nil {
						done <- err
						return
					}
					credit <- struct{}{}
				}
				done <- nil
			}()
			for range b.N {
				select {
				case <-credit:
					g.send(b, packet)
				case err := <-done:
					b.Fatal(err)
				}
			}
			must(b, <-done)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
}

// TestNoAllocation sends and receives in the steady state. CBC is not asked for
// as much, but keeps it as well.
func TestNoAllocation(t *testing.T) {
	for name := range transforms {
		t.Run(name, func(t *testing.T) {
			s := gateSession(name)
			for i := range s.SAs {
				s.SAs[i].Window = 0
			}
			esp := nodeEnd(t, s).uplink(1)[0]
			g, err := New(Config{Outside: void{}, Inside: void{}, NextHop: hostHop})
			must(t, err)
			must(t, g.Install(testID, s, nil))
			packet := down(1)
			buf := make([]byte, headroom+len(packet)+len(esp)+tailroom)
			once := func(handle func([]byte, int, int), p []byte) {
				copy(buf[headroom:], p)
				handle(buf, headroom, headroom+len(p))
			}
			allocs := testing.AllocsPerRun(200, func() {
				once(g.fromInside, packet)
				once(g.fromOutside, esp)
			})
			if allocs != 0 {
				t.Errorf("%v allocations for a packet each way", allocs)
			}
			if st := g.Stats(); st.Out.Sent != 201 || st.In.Received != 201 {
				t.Errorf("%+v", st.Counters)
			}
		})
	}
}

// void is a wire that forgets what is sent.
type void struct{ *tape }

func (void) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return len(b), nil }
