//go:build linux && lab

package xfrm

import (
	"context"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
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

func benchGateway(b *testing.B) *Gateway {
	t := &testing.T{}
	k := kernels["linux"](t)
	g, err := newGateway(context.Background(), k, "", Config{Dir: b.TempDir(), Protect: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
	if err != nil {
		b.Fatal(err)
	}
	return g
}

// BenchmarkRaw adds the SAs and policies of sessions, a hundred messages a send,
// and nothing else: what the others are compared with.
func BenchmarkRaw(b *testing.B) {
	g := benchGateway(b)
	var requests []uapi.Request
	for i := range b.N {
		id, static := crowd(i)
		s, err := g.newSession(id, static, nil, Placement{})
		if err != nil {
			b.Fatal(err)
		}
		policies := s.turn(open, uapi.DirIn, uapi.DirFwd, uapi.DirOut)
		for k := range policies {
			policies[k].Op = uapi.OpAddPolicy
		}
		states, err := g.states(s, static)
		if err != nil {
			b.Fatal(err)
		}
		requests = append(append(requests, policies...), states...)
	}
	b.ResetTimer()
	for len(requests) > 0 {
		n := min(100, len(requests))
		if _, err := g.each(context.Background(), requests[:n]); err != nil {
			b.Fatal(err)
		}
		requests = requests[n:]
	}
}

// BenchmarkStage stages sessions; BenchmarkMove stages and activates them.
func BenchmarkStage(b *testing.B) { benchImport(b, false) }
func BenchmarkMove(b *testing.B)  { benchImport(b, true) }

func benchImport(b *testing.B, activate bool) {
	g := benchGateway(b)
	b.ResetTimer()
	for i := range b.N {
		id, static := crowd(i)
		if err := g.Stage(context.Background(), id, static); err != nil {
			b.Fatal(err)
		}
		if !activate {
			continue
		}
		if err := g.Activate(context.Background(), id, []ipsecctx.Dynamic{find(nil, &static.SAs[0]), find(nil, &static.SAs[1])}); err != nil {
			b.Fatal(err)
		}
	}
}
