//go:build linux && lab

package xfrm

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"testing"

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

// eachCrowd measures what becomes of a crowd in an empty kernel, in sessions a
// second. It wants a guest with 1,500 MiB.
func eachCrowd(b *testing.B, measure func(g *Gateway)) {
	for b.Loop() {
		b.StopTimer()
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
		b.StartTimer()
		measure(g)
		b.StopTimer()
		must(b, errors.Join(conn.Close(), lab.Close()))
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*crowdSize)/b.Elapsed().Seconds(), "sessions/s")
}

// BenchmarkImport compares what it takes to stage sessions, and to stage and
// activate them, with the bare requests for their SAs and policies, a hundred a
// send.
func BenchmarkImport(b *testing.B) {
	b.Run("raw", func(b *testing.B) {
		var requests []uapi.Request
		eachCrowd(b, func(g *Gateway) {
			b.StopTimer()
			requests = requests[:0]
			for i := range crowdSize {
				id, static := crowd(i)
				s, err := g.newSession(id, static, reqIDs{}, Placement{})
				must(b, err)
				states, err := g.states(b.Context(), s, static)
				must(b, err)
				requests = append(append(requests, s.turn(open, uapi.DirIn, uapi.DirFwd, uapi.DirOut)...), states...)
			}
			b.StartTimer()
			for chunk := range slices.Chunk(requests, 100) {
				_, err := g.each(b.Context(), chunk)
				must(b, err)
			}
		})
	})
	for _, activate := range []bool{false, true} {
		b.Run(map[bool]string{false: "stage", true: "stage and activate"}[activate], func(b *testing.B) {
			eachCrowd(b, func(g *Gateway) {
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
				must(b, together.Wait())
			})
		})
	}
}
