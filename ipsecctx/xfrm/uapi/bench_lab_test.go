//go:build linux && lab

package uapi

import (
	"context"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// importSize is how many pairs of SAs, with their policies, an import benchmark
// adds.
const importSize = 10000

// pairs are requests to add a pair of SAs and three policies for each of as many
// nodes: in the kernel's tables SAs between the same addresses would be in each
// other's way.
func pairs() []Request {
	var requests []Request
	for i := range uint32(importSize) {
		in, out := tunnel(1000+i), tunnel(1000+i)
		node := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		in.Src, in.Dst, out.Dst = node, out.Src, node
		for _, dir := range []Dir{DirIn, DirFwd, DirOut} {
			st, inner := in, netip.PrefixFrom(node, 32)
			selector := Selector{Family: IPv4, Src: inner, Dst: netip.PrefixFrom(netip.IPv4Unspecified(), 0)}
			if dir == DirOut {
				st, selector.Src, selector.Dst = out, selector.Dst, selector.Src
			}
			template := Template{Family: IPv4, Src: st.Src, Dst: st.Dst, Proto: ESP, Mode: Tunnel, ReqID: st.ReqID,
				AuthAlgs: AllAlgorithms, CryptAlgs: AllAlgorithms, CompAlgs: AllAlgorithms}
			requests = append(requests, Request{Op: OpAddPolicy, Policy: &Policy{
				Dir: dir, Selector: selector, Priority: 1000, Action: Allow, Limits: NoLimits(), Templates: []Template{template}}})
		}
		requests = append(requests, Request{Op: OpAddState, State: in}, Request{Op: OpAddState, State: out})
	}
	return requests
}

// sessions are requests to add an SA to each of as many nodes.
func sessions() []Request {
	return slices.DeleteFunc(pairs(), func(r Request) bool { return r.State == nil || r.State.Src != tunnel(0).Src })
}

// BenchmarkImport compares 10,000 pairs of SAs and their policies given to Batch
// with the same messages, encoded before the clock runs, sent as they are: the
// least that any program could do. The guest's clock says nothing of a real
// machine, and a guest shares its own with others; so both take turns, and the best
// of each counts.
func BenchmarkImport(b *testing.B) {
	raw, batch := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for b.Loop() {
		for range 5 {
			raw = min(raw, importAll(b, rawImport))
			batch = min(batch, importAll(b, batchImport))
		}
	}
	b.ReportMetric(importSize/raw.Seconds(), "raw/s")
	b.ReportMetric(importSize/batch.Seconds(), "pairs/s")
	b.ReportMetric(raw.Seconds()/batch.Seconds(), "ofRaw")
}

// importAll times what prepare returns, in a new namespace's empty SAD.
func importAll(b *testing.B, prepare func(*testing.B, *Conn) func()) time.Duration {
	c := namespace(b)
	defer c.Close()
	if err := c.HashPolicies(b.Context(), PolicyHash{Remote: 32}, PolicyHash{Remote: 128}); err != nil {
		b.Fatal(err)
	}
	run := prepare(b, c)
	runtime.GC()
	start := time.Now()
	run()
	took := time.Since(start)
	if info, err := c.SADInfo(context.Background()); info.States != 2*importSize || err != nil {
		b.Fatalf("%+v, %v", info, err)
	}
	return took
}

func batchImport(b *testing.B, c *Conn) func() {
	requests := pairs()
	return func() {
		results, err := c.Batch(context.Background(), requests)
		if err != nil {
			b.Fatal(err)
		}
		for i := range results {
			if results[i].Err != nil {
				b.Fatal(results[i].Err)
			}
		}
	}
}

// rawImport encodes the messages, a hundred a send with an acknowledgement for
// the last, and returns what sends them.
func rawImport(b *testing.B, c *Conn) func() {
	const aSend = 100
	var sends [][]byte
	requests := pairs()
	for len(requests) > 0 {
		var w writer
		for i := range aSend {
			r := &requests[i]
			start := w.begin(uint16(r.Op), r.flags(), uint32(i), c.requests.port)
			w.request(r, c.kernel)
			if err := w.end(start); err != nil {
				b.Fatal(err)
			}
			if i == aSend-1 {
				w.addFlags(start, flagAck)
			}
		}
		sends, requests = append(sends, w.b), requests[aSend:]
	}
	buf := make([]byte, bufferSize)
	return func() {
		c.requests.raw.Control(func(fd uintptr) {
			for _, s := range sends {
				if err := unix.Sendto(int(fd), s, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
					b.Fatal(err)
				}
				if _, err := unix.Read(int(fd), buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkStates reads 10,000 SAs.
func BenchmarkStates(b *testing.B) {
	c := namespace(b)
	if _, err := c.Batch(context.Background(), sessions()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		for s, err := range c.States(context.Background(), Filter{}) {
			if err != nil {
				b.Fatal(err)
			}
			s.Wipe()
			n++
		}
		if n != importSize {
			b.Fatal(n)
		}
	}
}

// BenchmarkDelete deletes SAs one by one, each with its final state.
func BenchmarkDelete(b *testing.B) {
	c := namespace(b)
	for b.Loop() {
		b.StopTimer()
		add(b, c, 1000, 1000)
		b.StartTimer()
		for spi := range uint32(1000) {
			if _, err := c.DeleteState(context.Background(), tunnel(1000+spi).ID()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
