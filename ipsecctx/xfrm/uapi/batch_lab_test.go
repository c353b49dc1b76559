//go:build linux && lab

package uapi

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// adds are requests to add SAs with the SPIs from first on.
func adds(first uint32, n int) []Request {
	requests := make([]Request, n)
	for i := range requests {
		requests[i] = Request{Op: OpAddState, State: tunnel(first + uint32(i))}
	}
	return requests
}

// add adds them.
func add(t testing.TB, c *Conn, first uint32, n int) {
	t.Helper()
	results, err := c.Batch(within(t), adds(first, n))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

// Of many requests each has the result that is its own.
func TestBatch(t *testing.T) {
	c, ctx := namespace(t), within(t)
	add(t, c, 1000, 300)
	bad := tunnel(1)
	bad.AEAD.Name = "rfc4106(gcm(sm9))"
	kinds := []struct {
		request func(spi uint32) Request
		check   func(r Result, spi uint32) bool
	}{
		{
			func(spi uint32) Request { return Request{Op: OpAddState, State: tunnel(spi)} },
			func(r Result, spi uint32) bool { return errors.Is(r.Err, ErrExists) },
		}, {
			func(spi uint32) Request { return Request{Op: OpAddState, State: tunnel(spi + 10000)} },
			func(r Result, spi uint32) bool { return r == Result{} },
		}, {
			func(uint32) Request { return Request{Op: OpAddState, State: bad} },
			func(r Result, spi uint32) bool { return errors.Is(r.Err, ErrUnsupportedAlgorithm) },
		}, {
			func(uint32) Request { return Request{Op: OpAddState, State: &State{}} },
			func(r Result, spi uint32) bool { return isFormatError(r.Err) },
		}, {
			func(spi uint32) Request { return Request{Op: OpGetState, ID: tunnel(spi).ID()} },
			func(r Result, spi uint32) bool { return r.Err == nil && r.State.SPI == spi },
		}, {
			func(spi uint32) Request { return Request{Op: OpGetReplay, ID: tunnel(spi).ID()} },
			func(r Result, spi uint32) bool { return r.Err == nil && r.Replay.ID.SPI == spi },
		}, {
			func(spi uint32) Request { return Request{Op: OpDeleteState, ID: tunnel(spi).ID()} },
			func(r Result, spi uint32) bool {
				return r.Err == nil && r.State.SPI == spi && r.State.AEAD.Key.Len() == 20
			},
		}, {
			func(spi uint32) Request { return Request{Op: OpDeleteState, ID: tunnel(spi + 50000).ID()} },
			func(r Result, spi uint32) bool { return errors.Is(r.Err, ErrNotFound) },
		}, {
			func(spi uint32) Request {
				return Request{Op: OpAllocSPI, SPI: &SPIRequest{Src: tunnel(0).Src, Dst: tunnel(0).Dst, Proto: ESP, Min: spi + 20000, Max: spi + 20000}}
			},
			func(r Result, spi uint32) bool { return r.Err == nil && r.State.SPI == spi+20000 },
		},
	}
	var requests []Request
	for i := range 300 {
		requests = append(requests, kinds[i%len(kinds)].request(1000+uint32(i)))
	}
	// The last of a send is asked for otherwise than the others: let it be any.
	for range kinds {
		results, err := c.Batch(ctx, requests)
		if err != nil || len(results) != len(requests) {
			t.Fatalf("%d results, %v", len(results), err)
		}
		for i, r := range results {
			if !kinds[i%len(kinds)].check(r, 1000+uint32(i)) {
				t.Fatalf("request %d of %d (kind %d): %+v", i, len(requests), i%len(kinds), r)
			}
		}
		undo(t, c)
		requests = requests[:len(requests)-1]
	}
}

// undo makes the SAD as TestBatch finds it.
func undo(t *testing.T, c *Conn) {
	t.Helper()
	ip(t, "xfrm state flush")
	add(t, c, 1000, 300)
}

// Many large SAs are more octets than a send may have.
func TestBatchOfMuch(t *testing.T) {
	c, ctx := namespace(t), within(t)
	requests := adds(1000, 300)
	for i := range requests {
		requests[i].State.Flags = FlagESN
		requests[i].State.Replay = Replay{Extended: true, Window: MaxWindow}
		requests[i].State.Unknown = []Attr{{99, make([]byte, 2000)}} // which this kernel does not know either
	}
	results, err := c.Batch(ctx, requests)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil {
			t.Fatalf("%d: %v", i, r.Err)
		}
	}
	if info, err := c.SADInfo(ctx); info.States != 300 || err != nil {
		t.Errorf("%+v, %v", info, err)
	}
}

// flood makes the kernel drop what it sends to the socket: the socket hears of
// SAs that another connection adds, and has no room for them.
func flood(t *testing.T, s *socket) {
	t.Helper()
	var failed error
	s.raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 0) })
	if failed != nil {
		t.Fatal(failed)
	}
	if err := s.membership(unix.NETLINK_ADD_MEMBERSHIP, GroupStates); err != nil {
		t.Fatal(err)
	}
	other, err := Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	add(t, other, 60000, 30)
}

// If the event of a deletion is lost the SA is gone, and that is said.
func TestFinalStateLost(t *testing.T) {
	c, ctx := namespace(t), within(t)
	add(t, c, 1000, 1)
	flood(t, c.requests.socket)
	s, err := c.DeleteState(ctx, tunnel(1000).ID())
	if !errors.Is(err, ErrFinalUnknown) || s != nil {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := c.GetState(ctx, tunnel(1000).ID()); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// If answers are lost nothing is claimed, and the connection goes on.
func TestAnswersLost(t *testing.T) {
	c, ctx := namespace(t), within(t)
	flood(t, c.requests.socket)
	results, err := c.Batch(ctx, append(adds(1000, 3), adds(1000, 3)...))
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if !errors.Is(r.Err, ErrOutcomeUnknown) {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
	if _, err := c.GetState(ctx, tunnel(1002).ID()); err != nil {
		t.Errorf("%v", err)
	}
}

func TestStates(t *testing.T) {
	c, ctx := namespace(t), within(t)
	add(t, c, 1000, 500)
	six := tunnel(5)
	six.Src, six.Dst, six.Selector = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), Selector{}
	ah := tunnel(6)
	ah.Proto, ah.AEAD, ah.Auth = AH, nil, &Auth{"hmac(sha256)", secret.New(make([]byte, 32)), 128}
	for _, s := range []*State{six, ah} {
		if err := c.AddState(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	count := func(f Filter) int {
		seen := make(map[StateID]bool)
		for s, err := range c.States(ctx, f) {
			if err != nil {
				t.Fatal(err)
			}
			if s.Proto == ESP && s.AEAD.Key.Len() != 20 || seen[s.ID()] {
				t.Fatalf("%+v", s)
			}
			seen[s.ID()] = true
		}
		return len(seen)
	}
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		filter Filter
		want   int
	}{
		{Filter{}, 502}, {Filter{Proto: AH}, 1}, {Filter{Proto: IPComp}, 0},
		{Filter{Dst: prefix("2001:db8::2/128")}, 1}, {Filter{Dst: prefix("::/0")}, 1}, {Filter{Dst: prefix("192.0.2.0/24")}, 501},
		{Filter{Src: prefix("192.0.2.1/32"), Proto: ESP}, 500}, {Filter{Src: prefix("192.0.2.2/32")}, 0},
	} {
		if got := count(test.filter); got != test.want {
			t.Errorf("%+v: %d", test.filter, got)
		}
	}
	// A list that is left early is not in the way of the next, nor of requests.
	for s, err := range c.States(ctx, Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.GetState(ctx, s.ID()); err != nil {
			t.Error(err)
		}
		break
	}
	if got := count(Filter{}); got != 502 {
		t.Errorf("%d after a list that was left early", got)
	}
	for _, err := range c.States(ctx, Filter{Src: prefix("192.0.2.1/32"), Dst: prefix("::/0")}) {
		if !isFormatError(err) {
			t.Error(err)
		}
	}
}

// Callers side by side get each their own answers.
func TestConcurrent(t *testing.T) {
	c, ctx := namespace(t), within(t)
	var all errgroup.Group
	for i := range uint32(4) {
		all.Go(func() error {
			for spi := 1000 * (i + 1); spi < 1000*(i+1)+50; spi++ {
				q := SPIRequest{Src: tunnel(0).Src, Dst: tunnel(0).Dst, Proto: ESP, Mode: Tunnel, ReqID: spi, Min: spi, Max: spi}
				if s, err := c.AllocSPI(ctx, &q); err != nil || s.SPI != spi {
					return fmt.Errorf("%+v, %w", s, err)
				}
				if s, err := c.DeleteState(ctx, tunnel(spi).ID()); err != nil || s.SPI != spi || s.ReqID != spi {
					return fmt.Errorf("%+v, %w", s, err)
				}
			}
			return nil
		})
		all.Go(func() error {
			for range 20 {
				for _, err := range c.States(ctx, Filter{}) {
					if err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}
