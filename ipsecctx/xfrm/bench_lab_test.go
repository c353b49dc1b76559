//go:build linux && lab

package xfrm

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
	"golang.org/x/sync/errgroup"
)

// crowd is session number i of many.
func crowd(i int) (cxtp.SessionID, *ipsecctx.Session) {
	s := testSession()
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], 10<<24|4<<16+uint32(i))
	at := netip.AddrFrom4(a)
	s.Inner = []netip.Prefix{netip.PrefixFrom(at, 32)}
	for k := range s.SAs {
		sa := &s.SAs[k]
		sa.SPI, sa.Encap = sa.SPI+16*uint32(i), ipsecctx.Encap{}
		sa.Selectors = sa.Selectors[:1]
		sa.Selectors[0].Remote = []ipsecctx.Range{{From: at, To: at}}
	}
	var id cxtp.SessionID
	binary.BigEndian.PutUint32(id[:], uint32(i)+1)
	return id, s
}

// crowdSize is how many sessions the benchmarks have; each is one pair of SAs and
// three policies.
const crowdSize = 10_000

// crowdRun has a gateway do something to a crowd in an empty kernel, and times
// what prepare returns. It wants a guest with 1,500 MiB.
func crowdRun(b *testing.B, prepare func(*testing.B, *Gateway) func() error) time.Duration {
	lab, err := topology.New()
	must(b, err)
	var conn *uapi.Conn
	must(b, lab.SG1.Do(func() (err error) {
		if conn, err = uapi.Dial(); err != nil {
			return err
		}
		return hashPolicies(b.Context(), conn)
	}))
	g, err := newGateway(b.Context(), conn, "", Config{Dir: b.TempDir(), Protect: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	must(b, err)
	run := prepare(b, g)
	runtime.GC()
	start := time.Now()
	must(b, run())
	took := time.Since(start)
	must(b, errors.Join(g.Stop(), conn.Close(), lab.Close()))
	return took
}

// BenchmarkImport compares what it takes to stage sessions, and to stage and
// activate them, with the bare requests for their SAs and policies, a hundred a
// send. As a guest shares its processor with others, they take turns, and the best
// of each counts.
func BenchmarkImport(b *testing.B) {
	raw, stage, activate := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for b.Loop() {
		for range 5 {
			raw = min(raw, crowdRun(b, rawImport))
			stage = min(stage, crowdRun(b, stageImport(false)))
			activate = min(activate, crowdRun(b, stageImport(true)))
		}
	}
	for name, took := range map[string]time.Duration{"raw": raw, "staged": stage, "active": activate} {
		b.ReportMetric(crowdSize/took.Seconds(), name+"/s")
	}
	b.ReportMetric(raw.Seconds()/stage.Seconds(), "stagedOfRaw")
	b.ReportMetric(raw.Seconds()/activate.Seconds(), "activeOfRaw")
}

func rawImport(b *testing.B, g *Gateway) func() error {
	var requests []uapi.Request
	for i := range crowdSize {
		id, static := crowd(i)
		s, err := g.newSession(id, static, reqIDs{}, Placement{})
		must(b, err)
		states, err := g.states(b.Context(), s, static)
		must(b, err)
		requests = append(append(requests, s.turn(open, uapi.DirIn, uapi.DirFwd, uapi.DirOut)...), states...)
	}
	return func() error {
		for chunk := range slices.Chunk(requests, 100) {
			if _, err := g.each(b.Context(), chunk); err != nil {
				return err
			}
		}
		return nil
	}
}

func stageImport(activate bool) func(*testing.B, *Gateway) func() error {
	return func(b *testing.B, g *Gateway) func() error {
		return func() error {
			together := errgroup.Group{}
			together.SetLimit(64)
			for i := range crowdSize {
				together.Go(func() error {
					id, static := crowd(i)
					if err := g.Stage(b.Context(), id, static); err != nil || !activate {
						return err
					}
					return g.Activate(b.Context(), id, []ipsecctx.Dynamic{find(nil, &static.SAs[0]), find(nil, &static.SAs[1])})
				})
			}
			return together.Wait()
		}
	}
}
