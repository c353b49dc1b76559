package xfrm

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// kernels are those that the semantics which this package builds on are tested
// with. Lab tests add a real one.
var kernels = map[string]func(t *testing.T) kernel{
	"fake": func(*testing.T) kernel { return newFake(newJudge()) },
}

// onKernels runs a test on each kernel, with a gateway for its helpers.
func onKernels(t *testing.T, test func(t *testing.T, g *Gateway)) {
	for name, open := range kernels {
		t.Run(name, func(t *testing.T) {
			g, err := newGateway(ctx, open(t), "this boot", Config{Dir: t.TempDir(), Protect: []netip.Prefix{nodes, nodes6}})
			must(t, err)
			if k, ok := bare(g).(*fake); ok {
				g.now = func() time.Time { return time.Unix(int64(k.clock), 0) }
			}
			test(t, g)
		})
	}
}

// bare is the kernel that a gateway was made on.
func bare(g *Gateway) kernel { return g.kernel.(*gatherer).kernel }

// transforms are SAs of every kind that the kernel has names for.
func transforms() []ipsecctx.SA {
	var all []ipsecctx.SA
	for cipher := range cipherNames {
		c, _ := ipsecctx.CipherByID(cipher)
		sizes := c.KeyBits
		if len(sizes) == 0 {
			sizes = []uint16{0}
		}
		for _, bits := range sizes {
			sa := ipsecctx.SA{Protocol: ipsecctx.ESP, Mode: ipsecctx.Tunnel, Encryption: ipsecctx.Cipher{ID: cipher, Bits: bits,
				Key: key(1, int(max(bits, c.FixedBits))/8), Salt: key(200, c.Salt)}}
			if !c.AEAD() {
				sa.Integrity = integrity(ipsecctx.AuthHMACSHA2_256_128)
			}
			all = append(all, sa)
		}
	}
	for auth := range authNames {
		for _, protocol := range []ipsecctx.Protocol{ipsecctx.ESP, ipsecctx.AH} {
			sa := ipsecctx.SA{Protocol: protocol, Mode: ipsecctx.Transport, Integrity: integrity(auth)}
			if protocol == ipsecctx.ESP {
				sa.Encryption = ipsecctx.Cipher{ID: ipsecctx.EncrAESCBC, Bits: 128, Key: key(1, 16)}
			}
			all = append(all, sa)
		}
	}
	return all
}

func integrity(id uint16) ipsecctx.Authenticator {
	a, _ := ipsecctx.AuthByID(id)
	return ipsecctx.Authenticator{ID: id, Key: key(100, a.Key)}
}

// TestStatesOnKernels writes SAs of every transform, direction, family and kind of
// sequence state, and reads back what was written, twice over: as they are
// staged, and with numbers of their own.
func TestStatesOnKernels(t *testing.T) {
	selectors := testSession().SAs[0].Selectors
	onKernels(t, func(t *testing.T, g *Gateway) {
		for _, sa := range transforms() {
			for _, form := range []struct {
				esn    bool
				window uint32
				six    bool
			}{{true, 64, false}, {true, 4096, true}, {false, 0, true}, {false, 1, false}, {false, 1000, true}} {
				sa.ESN, sa.Window, sa.SPI, sa.Pair, sa.Selectors = form.esn, form.window, 0x1000, 1, selectors
				sa.Local, sa.Remote = gate, node
				if form.six {
					sa.Local, sa.Remote = netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::9")
				}
				sa.Hard = ipsecctx.Lifetime{Time: time.Hour, Packets: 1 << 40}
				sa.Direction = ipsecctx.Inbound
				if err := g.Supports(&sa); err != nil {
					t.Errorf("%v %d/%d: %v", sa.Protocol, sa.Encryption.ID, sa.Integrity.ID, err)
					continue
				}
				for _, d := range []ipsecctx.Direction{ipsecctx.Inbound, ipsecctx.Outbound} {
					sa.Direction = d
					if err := roundTrip(g, sa); err != nil {
						t.Errorf("%s of transforms %d and %d, ESN %t, window %d, IPv6 %t: %v", sa.ID(), sa.Encryption.ID, sa.Integrity.ID, form.esn, form.window, form.six, err)
					}
				}
			}
		}
	})
}

func roundTrip(g *Gateway, sa ipsecctx.SA) error {
	s := &session{layout: layout{static: &ipsecctx.Session{SAs: []ipsecctx.SA{sa}}}}
	s.sas = make([]saAt, 1)
	s.sas[0].id, s.sas[0].reqid = stateID(&sa, Placement{}), 0x40000000
	st, err := newState(&sa, 0x40000000, Placement{})
	if err != nil {
		return err
	}
	if _, err := g.each(ctx, []uapi.Request{addState(st)}); err != nil {
		return err
	}
	defer g.erase(ctx, []uapi.Request{deleteState(st.ID())})
	if err := compare(g, s, inert(&sa)); err != nil {
		return fmt.Errorf("staged: %w", err)
	}
	d := ipsecctx.Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Sequence: 0xfffffff0,
		Used: ipsecctx.Lifetime{Time: 100 * time.Second, Octets: 3000, Packets: 77}}
	if sa.ESN {
		d.Sequence = 0x3_fffffff0
	}
	if sa.Direction == ipsecctx.Inbound && sa.Window > 0 {
		d.Window = make([]uint64, words(&sa))
		for i := uint32(0); i < sa.Window; i += 3 {
			d.Window[i/64] |= 1 << (i % 64)
		}
	}
	now := g.now()
	if _, err := g.each(ctx, []uapi.Request{s.replay(0, d, &usageAt{now})}); err != nil {
		return err
	}
	if err := compare(g, s, d); err != nil {
		return fmt.Errorf("started: %w", err)
	}
	results, err := g.each(ctx, []uapi.Request{{Op: uapi.OpGetState, ID: st.ID()}})
	if err != nil {
		return err
	}
	if _, err := g.each(ctx, []uapi.Request{s.limits(0, results[0].State)}); err != nil {
		return err
	}
	results, err = g.each(ctx, []uapi.Request{deleteState(st.ID())})
	if err != nil {
		return err
	}
	last := results[0].State
	if last.Limits.HardAdd != 3600 || last.Limits.HardPackets != 1<<40 || last.Used.AddTime != uint64(now.Unix())-100 || last.Used.Bytes != 3000 || last.Used.Packets != 77 {
		return fmt.Errorf("limits %+v, used %+v", last.Limits, last.Used)
	}
	// And again, as a frozen one.
	if _, err := g.each(ctx, []uapi.Request{addState(last)}); err != nil {
		return err
	}
	return compare(g, s, d)
}

// compare reads the only SA of a session back.
func compare(g *Gateway, s *session, want ipsecctx.Dynamic) error {
	results, err := g.each(ctx, []uapi.Request{{Op: uapi.OpGetState, ID: s.sas[0].id}})
	if err != nil {
		return err
	}
	sa := &s.static.SAs[0]
	if what := differs(sa, s.replay(0, want, nil).Replay, results[0].State); what != "" {
		return errors.New(what)
	}
	var got ipsecctx.Dynamic
	sequenceOf(&got, sa, &results[0].State.Replay)
	if got.Sequence != want.Sequence || fmt.Sprint(got.Window) != fmt.Sprint(want.Window) {
		return fmt.Errorf("%d %x, want %d %x", got.Sequence, got.Window, want.Sequence, want.Window)
	}
	kept := *sa
	if !takeKeys(&kept, results[0].State) || !kept.Encryption.Key.Equal(sa.Encryption.Key) || !kept.Encryption.Salt.Equal(sa.Encryption.Salt) || !kept.Integrity.Key.Equal(sa.Integrity.Key) {
		return errors.New("other keys")
	}
	return described(sa, results[0].State)
}

// described compares what is read of an SA that others may have made.
func described(sa *ipsecctx.SA, st *uapi.State) error {
	read := ipsecctx.SA{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI}
	if err := describe(&read, st); err != nil {
		return err
	}
	if c, a := read.Encryption, read.Integrity; c.ID != sa.Encryption.ID || c.Bits != sa.Encryption.Bits || a.ID != sa.Integrity.ID || a.Truncate != sa.Integrity.Truncate ||
		!c.Key.Equal(sa.Encryption.Key) || !c.Salt.Equal(sa.Encryption.Salt) || !a.Key.Equal(sa.Integrity.Key) || read.Mode != sa.Mode || read.ESN != sa.ESN {
		return fmt.Errorf("read as transforms %d of %d bits and %d truncated to %d, mode %s", c.ID, c.Bits, a.ID, a.Truncate, read.Mode)
	}
	want, err := newState(sa, st.ReqID, Placement{})
	if err != nil {
		return err
	}
	return mismatch(sa, want, st)
}

// TestSessionOnKernels takes a session through every phase and a restart.
func TestSessionOnKernels(t *testing.T) {
	onKernels(t, func(t *testing.T, g *Gateway) {
		restart := func() *Gateway {
			next, err := newGateway(ctx, bare(g), "this boot", g.cfg)
			must(t, err)
			next.now, next.listen = g.now, g.listen
			return next
		}
		s := testSession()
		for i := range s.SAs {
			s.SAs[i].Encap = ipsecctx.Encap{}
		}
		must(t, g.Stage(ctx, testID, s))
		if err := g.Stage(ctx, testID, s); err != nil {
			t.Errorf("staged again: %v", err)
		}
		final := []ipsecctx.Dynamic{
			{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 1 << 33, Window: []uint64{5, 1}},
			{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 1<<34 + 1, Used: ipsecctx.Lifetime{Packets: 12}},
		}
		must(t, g.Activate(ctx, testID, final))
		must(t, g.Limit(ctx, testID, ipsecctx.Ceilings{final[1].ID(): 1<<34 + 1000}))
		exported, dynamic, err := g.Export(ctx, testID)
		must(t, err)
		must(t, exported.Validate())
		if len(dynamic) != 2 || dynamic[0].Sequence != 1<<33 || dynamic[1].Sequence != 1<<34+1 {
			t.Errorf("exported %v", dynamic)
		}
		if !exported.SAs[0].Encryption.Key.Equal(s.SAs[0].Encryption.Key) {
			t.Error("exported another key")
		}
		g = restart()
		held, err := g.Held(ctx)
		must(t, err)
		if len(held) != 1 || held[0].State.String() != "active" {
			t.Fatalf("held %v", held)
		}
		for range 2 {
			frozen, err := g.Freeze(ctx, testID)
			must(t, err)
			if got := frozen[0]; got.Sequence != 1<<33 || fmt.Sprint(got.Window) != "[5 1]" {
				t.Errorf("inbound frozen at %d %d", got.Sequence, got.Window)
			}
			if got := frozen[1]; got.Sequence != 1<<34+1 || got.Used.Packets != 12 {
				t.Errorf("outbound frozen at %d after %d packets", got.Sequence, got.Used.Packets)
			}
			g = restart()
			held, err = g.Held(ctx)
			must(t, err)
			if len(held) != 1 || held[0].State.String() != "frozen" {
				t.Fatalf("held %v", held)
			}
		}
		must(t, g.Thaw(ctx, testID, ipsecctx.Ceilings{final[1].ID(): 1<<34 + 500}))
		_, dynamic, err = g.Export(ctx, testID)
		must(t, err)
		if dynamic[1].Sequence != 1<<34+500 {
			t.Errorf("thawed at %d", dynamic[1].Sequence)
		}
		must(t, g.Merge(ctx, testID, []ipsecctx.Dynamic{{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 1<<33 + 1, Window: []uint64{1, 0}}}))
		_, err = g.Freeze(ctx, testID)
		must(t, err)
		last, err := g.Close(ctx, testID)
		must(t, err)
		if len(last) != 1 || last[0].Sequence != 1<<33+1 || fmt.Sprint(last[0].Window) != "[11 2]" {
			t.Errorf("closed with %v", last)
		}
		must(t, g.Release(ctx, testID))
		left, err := g.dump(ctx)
		must(t, err)
		if len(left.states) > 0 || len(left.policies) != 6 {
			t.Errorf("%d SAs and %d policies are left, want the 6 that block", len(left.states), len(left.policies))
		}
		if held, err = restart().Held(ctx); err != nil || len(held) > 0 {
			t.Errorf("held %v, %v", held, err)
		}
	})
}

// TestAdoptedOnKernels takes SAs of an IKE daemon, in each form of sequence state,
// through a move and a restart.
func TestAdoptedOnKernels(t *testing.T) {
	for _, c := range []struct {
		esn    bool
		window uint32
	}{{true, 32}, {true, 256}, {false, 32}, {false, 64}, {false, 20}} {
		t.Run(fmt.Sprintf("ESN %t, window %d", c.esn, c.window), func(t *testing.T) {
			onKernels(t, func(t *testing.T, g *Gateway) {
				g.cfg.Adopt, g.cfg.OthersEncapsulate = true, true
				s := testSession()
				for i := range s.SAs {
					s.SAs[i].ESN, s.SAs[i].Encap = c.esn, ipsecctx.Encap{}
				}
				ike := &ikeDaemon{window: c.window, start: uint64(g.now().Unix()) - 100, do: func(requests []uapi.Request) []uapi.Result {
					results, err := bare(g).Batch(ctx, requests)
					must(t, err)
					return results
				}}
				must(t, g.Stage(ctx, testID, s))
				ike.install(t, s)
				must(t, g.Adopted(ctx, testID))
				restart := func(want cxtp.HeldState) {
					next, err := newGateway(ctx, bare(g), "this boot", g.cfg)
					must(t, err)
					next.now = g.now
					g = next
					held, err := g.Held(ctx)
					must(t, err)
					if len(held) != 1 || held[0].State != want {
						t.Fatalf("held %v, want %v", held, want)
					}
				}
				restart(cxtp.HeldStaged)
				must(t, g.Activate(ctx, testID, []ipsecctx.Dynamic{
					{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 1000, Window: []uint64{5, 1}},
					{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 77},
				}))
				must(t, g.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 1000}))
				restart(cxtp.HeldActive)
				final, err := g.Freeze(ctx, testID)
				must(t, err)
				// What the daemon's window does not reach counts as seen.
				seen := []uint64{5, 1}
				for i := c.window; i < 128; i++ {
					seen[i/64] |= 1 << (i % 64)
				}
				if got := final[0]; got.Sequence != 1000 || !slices.Equal(got.Window, seen) || final[1].Sequence != 77 {
					t.Errorf("frozen at %d %x and %d, want window %x", got.Sequence, got.Window, final[1].Sequence, seen)
				}
				restart(cxtp.HeldFrozen)
				must(t, g.Thaw(ctx, testID, nil))
				must(t, g.Adopt(ctx, testID, announced(s)))
				exported, _, err := g.Export(ctx, testID)
				must(t, err)
				if sa := exported.SAs[0]; sa.Window != 128 || sa.Hard.Time != time.Hour || sa.Soft.Time != 3000*time.Second {
					t.Errorf("adopted with %+v", sa)
				}
				must(t, g.Release(ctx, testID))
				ike.remove()
				wantPolicies(t, g, 6)
			})
		})
	}
}

// TestWholePrefixOnKernels has a session for all addresses that are protected: its
// policies and those that block have the same selectors, and each goes alone.
func TestWholePrefixOnKernels(t *testing.T) {
	onKernels(t, func(t *testing.T, g *Gateway) {
		s := testSession()
		s.Inner = []netip.Prefix{nodes}
		for i := range s.SAs {
			s.SAs[i].Encap = ipsecctx.Encap{}
			s.SAs[i].Selectors = s.SAs[i].Selectors[:1]
			s.SAs[i].Selectors[0].Remote = []ipsecctx.Range{{From: nodes.Addr(), To: netip.MustParseAddr("10.4.255.255")}}
		}
		must(t, g.Install(ctx, testID, s, nil))
		wantPolicies(t, g, 9)
		must(t, g.Release(ctx, testID))
		wantPolicies(t, g, 6)
	})
}

func wantPolicies(t *testing.T, g *Gateway, want int) {
	t.Helper()
	all, err := g.dump(ctx)
	must(t, err)
	if len(all.policies) != want {
		t.Errorf("%d policies, want %d", len(all.policies), want)
	}
}
