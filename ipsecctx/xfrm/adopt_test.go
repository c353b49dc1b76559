package xfrm

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

var (
	inboundID  = uapi.StateID{Dst: gate, SPI: spiToGate, Proto: uapi.ESP}
	outboundID = uapi.StateID{Dst: node, SPI: spiToNode, Proto: uapi.ESP}
)

// TestAdopt reads what the kernel knows of an IKE daemon's SAs, and changes nothing
// there.
func TestAdopt(t *testing.T) {
	b := newBench(t, newJudge(), adopting)
	b.ike.install(t, testSession())
	policies := len(b.kernel.policies)
	b.kernel.stray = func(_ int, r uapi.Request) {
		if r.Op != uapi.OpGetState && r.Op != uapi.OpGetPolicy {
			t.Errorf("asked for %v", r.Op)
		}
	}
	must(t, b.Adopt(ctx, testID, announced(testSession())))
	s, dynamic, err := b.Export(ctx, testID)
	must(t, err)
	must(t, s.Validate())
	b.kernel.stray = nil
	for i, want := range testSession().SAs {
		sa := s.SAs[i]
		if !sa.Encryption.Key.Equal(want.Encryption.Key) || !sa.Encryption.Salt.Equal(want.Encryption.Salt) ||
			sa.Encryption.ID != want.Encryption.ID || sa.Encryption.Bits != want.Encryption.Bits || sa.Encryption.IV != want.Encryption.IV {
			t.Errorf("%s: encryption %+v", sa.ID(), sa.Encryption)
		}
		if want.Direction == ipsecctx.Outbound {
			want.Window = 0 // the node's own: nobody here knows it
		}
		if sa.Mode != want.Mode || sa.ESN != want.ESN || sa.Window != want.Window || sa.Encap != want.Encap ||
			sa.Soft.Time != 3000*time.Second || sa.Hard != (ipsecctx.Lifetime{Time: time.Hour, Octets: 1 << 40}) {
			t.Errorf("%+v", sa)
		}
	}
	if len(dynamic) != 2 || len(b.kernel.policies) != policies {
		t.Errorf("dynamic state %v, %d policies, want %d", dynamic, len(b.kernel.policies), policies)
	}

	// The IKE daemon follows the node to another port, and alone.
	const port = 50000
	b.kernel.states[inboundID].Encap.SrcPort, b.kernel.states[outboundID].Encap.DstPort = port, port
	calls := b.kernel.calls
	b.mapped(ctx, &uapi.MappingChanged{ID: inboundID, New: netip.AddrPortFrom(node, port)})
	if b.kernel.calls != calls {
		t.Error("the gateway follows too")
	}
	s, _, err = b.Export(ctx, testID)
	must(t, err)
	for i := range s.SAs {
		if s.SAs[i].Encap != (ipsecctx.Encap{LocalPort: 4500, RemotePort: port}) {
			t.Errorf("exported with %v", s.SAs[i].Encap)
		}
	}
}

// TestOperatorsPoliciesStay: what the operator has put into the SPD is part of no
// session, even if it is about the node's own addresses
// (draft-hk-seamoby-ct-ipsec-00 section 8).
func TestOperatorsPoliciesStay(t *testing.T) {
	export := func(policies ...uapi.Policy) *ipsecctx.Session {
		b := newBench(t, newJudge(), adopting)
		b.ike.install(t, testSession())
		for i := range policies {
			p := &policies[i]
			must(t, b.ike.do([]uapi.Request{{Op: uapi.OpAddPolicy, Policy: p, PolicyID: p.ID()}})[0].Err)
		}
		must(t, b.Adopt(ctx, testID, announced(testSession())))
		s, _, err := b.Export(ctx, testID)
		must(t, err)
		return s
	}
	wide := uapi.Selector{Family: uapi.IPv4, Dst: nodes}
	bypass := uapi.Policy{Dir: uapi.DirOut, Selector: wide, Action: uapi.Allow, Priority: ikePriority + 1}
	block := bypass
	block.Selector.Proto, block.Action = 17, uapi.Block
	if alone, beside := export(), export(bypass, block); !reflect.DeepEqual(alone, beside) {
		t.Errorf("beside an operator's policies the session is\n%+v, alone\n%+v", beside, alone)
	}
}

// TestAdoptLimited: a ceiling can be moved up and taken away, also when the IKE daemon's
// SAs have been adopted again meanwhile; it is no lifetime of theirs.
func TestAdoptLimited(t *testing.T) {
	b := newBench(t, newJudge(), adopting)
	must(t, b.begin(testSession(), nil))
	for _, c := range []struct {
		ceilings ipsecctx.Ceilings
		want     uint64
	}{{ipsecctx.Ceilings{outbound: 1000}, 1000}, {ipsecctx.Ceilings{outbound: 2000}, 2000}, {nil, uapi.Unlimited}} {
		must(t, b.Limit(ctx, testID, c.ceilings))
		if got := b.kernel.states[outboundID].Limits.HardPackets; got != c.want {
			t.Errorf("with the ceilings %v the kernel's is %d, want %d", c.ceilings, got, c.want)
		}
		must(t, b.Adopt(ctx, testID, announced(testSession())))
		s, _, err := b.Export(ctx, testID)
		must(t, err)
		for i := range s.SAs {
			if s.SAs[i].Hard.Packets != 0 {
				t.Errorf("with the ceilings %v an SA has the lifetime %+v", c.ceilings, s.SAs[i].Hard)
			}
		}
	}
}

// TestAdoptAgain follows the IKE daemon through a rekey.
func TestAdoptAgain(t *testing.T) {
	w := newJudge()
	b := newBench(t, w, adopting)
	must(t, b.begin(testSession(), nil))
	must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 1000}))
	b.ike.install(t, rekeyed())
	_, err := b.Freeze(ctx, testID)
	wantStatus(t, err, cxtp.StatusBusy)
	must(t, b.Adopt(ctx, testID, announced(rekeyed())))
	s := b.session(testID)
	if len(s.sas) != 4 || s.sas[1].ceiling == nil || s.sas[1].ceiling.last != 1000 || s.sas[3].ceiling != nil {
		t.Errorf("in the overlap: %+v", s.sas)
	}
	b.ike.drop(inboundID, outboundID)
	must(t, b.Adopt(ctx, testID, announced(rekeyed()))) // what is gone is left out
	if len(s.sas) != 2 || b.byState[inboundID] != nil || len(b.reqids) != 1 {
		t.Errorf("after it: %+v, reqids %v", s.sas, b.reqids)
	}
	gone := ipsecctx.Dynamic{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 9, Window: make([]uint64, 2)}
	must(t, b.Merge(ctx, testID, []ipsecctx.Dynamic{gone}))
	_, err = b.Freeze(ctx, testID)
	must(t, err)
	var misplaced *PhaseError
	if err := b.Adopt(ctx, testID, announced(rekeyed())); !errors.As(err, &misplaced) {
		t.Errorf("while it is frozen: %v", err)
	}
	b.sendDown(2)
	w.wantWire(t)
	must(t, b.Thaw(ctx, testID, nil))
	w.wantWire(t, 1, 2)

	// Other selectors leave no overlay behind.
	narrow := rekeyed()
	narrow.SAs = narrow.SAs[2:]
	for i := range narrow.SAs {
		narrow.SAs[i].Selectors, narrow.SAs[i].Replaces = narrow.SAs[i].Selectors[:1], 0
	}
	must(t, b.Adopt(ctx, testID, announced(narrow)))
	must(t, b.Release(ctx, testID))
	b.wantEmpty(t)
}

// TestAdoptCollides leaves a session as it was that would get what another has.
func TestAdoptCollides(t *testing.T) {
	b := newBench(t, newJudge(), adopting)
	must(t, b.begin(testSession(), nil))
	other, id := testSession(), cxtp.SessionID{9}
	elsewhere(other)
	for i := range other.SAs {
		other.SAs[i].SPI += 0x100
	}
	b.ike.install(t, other)
	must(t, b.Adopt(ctx, id, announced(other)))
	reqids := len(b.reqids)
	wantStatus(t, b.Adopt(ctx, id, announced(testSession())), cxtp.StatusPolicyConflict)
	if s := b.session(id); s.sas[0].id.SPI != other.SAs[0].SPI || b.byState[s.sas[0].id] != s || len(b.reqids) != reqids {
		t.Errorf("%+v, %d reqids, want %d", s.sas, len(b.reqids), reqids)
	}
	wantStatus(t, b.Adopt(ctx, cxtp.SessionID{10}, announced(other)), cxtp.StatusPolicyConflict)
}

// TestAdoptRefuses says why an IKE daemon's session cannot be moved.
func TestAdoptRefuses(t *testing.T) {
	policy := func(b *bench, dir uapi.Dir) *fakePolicy {
		return b.kernel.lookup(dir, map[uapi.Dir]packet{uapi.DirOut: down(0), uapi.DirFwd: up(0)}[dir])
	}
	for name, c := range map[string]struct {
		change func(*bench, *ipsecctx.Session)
		want   cxtp.Status
	}{
		"no SA": {func(b *bench, _ *ipsecctx.Session) { b.ike.drop(inboundID, outboundID) }, cxtp.StatusUnknownSession},
		"no policy": {func(b *bench, _ *ipsecctx.Session) {
			b.ike.do([]uapi.Request{deletePolicy(policy(b, uapi.DirFwd).ID())})
		}, cxtp.StatusUnsupported},
		"priority":      {func(b *bench, _ *ipsecctx.Session) { policy(b, uapi.DirOut).Priority = DefaultPriority }, cxtp.StatusUnsupported},
		"blocks":        {func(b *bench, _ *ipsecctx.Session) { policy(b, uapi.DirOut).Action = uapi.Block }, cxtp.StatusUnsupported},
		"another reqid": {func(b *bench, _ *ipsecctx.Session) { policy(b, uapi.DirOut).Templates[0].ReqID++ }, cxtp.StatusUnsupported},
		"more templates": {func(b *bench, _ *ipsecctx.Session) {
			p := policy(b, uapi.DirOut)
			p.Templates = append(p.Templates, p.Templates[0])
		}, cxtp.StatusUnsupported},
		"a rekey since":   {func(b *bench, _ *ipsecctx.Session) { b.ike.install(b.t, rekeyed()) }, cxtp.StatusBusy},
		"no reqid":        {func(b *bench, _ *ipsecctx.Session) { b.kernel.states[outboundID].ReqID = 0 }, cxtp.StatusUnsupported},
		"a device":        {func(b *bench, _ *ipsecctx.Session) { b.kernel.states[outboundID].Offload = &uapi.Offload{} }, cxtp.StatusUnsupported},
		"numbers wrap":    {func(b *bench, _ *ipsecctx.Session) { b.kernel.states[outboundID].ExtraFlags |= uapi.ExtraOSeqMayWrap }, cxtp.StatusUnsupported},
		"another mode":    {func(b *bench, _ *ipsecctx.Session) { b.kernel.states[outboundID].Mode = uapi.BEET }, cxtp.StatusUnsupported},
		"ESP in TCP":      {func(b *bench, _ *ipsecctx.Session) { b.kernel.states[outboundID].Encap = &uapi.Encap{Type: 7} }, cxtp.StatusUnsupported},
		"an unknown name": {func(b *bench, _ *ipsecctx.Session) { b.kernel.states[outboundID].AEAD.Name = "rfc9999(gcm(des))" }, cxtp.StatusAlgorithm},
		"wider selectors than the policies": {func(_ *bench, s *ipsecctx.Session) {
			for i := range s.SAs {
				s.SAs[i].Selectors[0].Remote[0].To = netip.MustParseAddr("10.4.0.9")
			}
		}, cxtp.StatusUnsupported},
		"another session's addresses": {func(b *bench, s *ipsecctx.Session) { s.Inner[0] = full4("10.9.0.1") }, cxtp.StatusUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newJudge(), adopting)
			b.ike.install(t, testSession())
			s := announced(testSession())
			c.change(b, s)
			err := b.Adopt(ctx, testID, s)
			wantStatus(t, err, c.want)
			t.Log(err)
			if b.session(testID) != nil || len(b.reqids) > 0 {
				t.Error("something of it is left")
			}
		})
	}
}

// TestAdoptAfterRestart waits for Held, which may know more of the session.
func TestAdoptAfterRestart(t *testing.T) {
	b := newBench(t, newJudge(), adopting)
	must(t, b.begin(testSession(), nil))
	b.restart()
	wantStatus(t, b.Adopt(ctx, testID, announced(testSession())), cxtp.StatusBusy)
	held, err := b.Held(ctx)
	must(t, err)
	if len(held) != 1 || held[0].State != cxtp.HeldActive {
		t.Fatalf("held %v", held)
	}
	must(t, b.Adopt(ctx, testID, announced(testSession())))
}

// TestAdoptedWaits has the IKE daemon bring SAs and policies one by one, while
// packets come. No time passes once the last is there, and nothing is sent.
func TestAdoptedWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newJudge()
		b := newBench(t, w, adopting)
		watch, stop := context.WithCancel(ctx)
		running := make(chan error)
		go func() { running <- b.Run(watch) }()
		must(t, b.Stage(ctx, testID, testSession()))
		quietly := b.ike.do
		b.ike.do = func(requests []uapi.Request) (results []uapi.Result) {
			for i := range requests {
				results = append(results, quietly(requests[i:i+1])...)
				b.sendDown(1)
				synctest.Wait()
			}
			return results
		}
		done, there := make(chan error), 0
		adopted := func() {
			err := b.Adopted(ctx, testID)
			there = len(b.kernel.policies)
			done <- err
		}
		go adopted()
		synctest.Wait()
		start := time.Now()
		b.ike.install(t, testSession())
		must(t, <-done)
		if waited := time.Since(start); waited > 0 || there != len(b.kernel.policies) {
			t.Errorf("waited for %v, until %d policies were there, want %d", waited, there, len(b.kernel.policies))
		}
		must(t, b.Adopted(ctx, testID)) // changes nothing
		if b.kernel.states[outboundID].Replay.OSeq != last64 || b.kernel.states[inboundID].Replay.Seq != fenceESN {
			t.Error("the SAs are not inert")
		}
		w.wantWire(t)
		stop()
		must(t, <-running)

		// Nobody tells: it looks by itself, and gives up with its context.
		must(t, b.Stage(ctx, testID, testSession()))
		b.ike.remove()
		impatient, cancel := context.WithTimeout(ctx, 5*lookAgain/2)
		defer cancel()
		if err := b.Adopted(impatient, testID); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not installed ESP SA") {
			t.Error(err)
		}
		go adopted()
		synctest.Wait()
		b.ike.install(t, testSession())
		must(t, <-done)
	})
}

// TestAdoptedMismatch refuses SAs that are not those that were staged. They are
// never at work, and Discard takes them away.
func TestAdoptedMismatch(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*uapi.State)
		want   cxtp.Status
	}{
		"key":       {func(st *uapi.State) { st.AEAD.Key = key(0x77, 36) }, cxtp.StatusMalformed},
		"key size":  {func(st *uapi.State) { st.AEAD.Key = key(0x10, 20) }, cxtp.StatusMalformed},
		"algorithm": {func(st *uapi.State) { st.AEAD.ICVBits = 64 }, cxtp.StatusAlgorithm},
		"address":   {func(st *uapi.State) { st.Src = host }, cxtp.StatusUnsupported},
		"mode":      {func(st *uapi.State) { st.Mode = uapi.Transport }, cxtp.StatusUnsupported},
		"ESN":       {func(st *uapi.State) { st.Flags &^= uapi.FlagESN }, cxtp.StatusUnsupported},
		"no UDP":    {func(st *uapi.State) { st.Encap = nil }, cxtp.StatusUnsupported},
		"UDP port":  {func(st *uapi.State) { st.Encap.DstPort++; st.Encap.SrcPort++ }, cxtp.StatusUnsupported},
		"window":    {func(st *uapi.State) { st.Replay.Window = 0 }, cxtp.StatusWindow},
	} {
		t.Run(name, func(t *testing.T) {
			w := newJudge()
			b := newBench(t, w, adopting)
			must(t, b.Stage(ctx, testID, testSession()))
			b.ike.install(t, testSession())
			changed := inboundID
			if name == "UDP port" {
				changed = outboundID
			}
			c.change(b.kernel.states[changed])
			err := b.Adopted(ctx, testID)
			wantStatus(t, err, c.want)
			t.Log(err)
			wantStatus(t, b.Activate(ctx, testID, finalAt(1)), cxtp.StatusNoBase)
			b.sendDown(1)
			must(t, b.Discard(ctx, testID))
			if len(b.kernel.states) > 0 {
				t.Errorf("%d SAs are left", len(b.kernel.states))
			}
			b.sendDown(1)
			w.wantWire(t)
			b.wantEmpty(t)
		})
	}
}

// finalAt is the dynamic state of testSession at a number.
func finalAt(n uint64) []ipsecctx.Dynamic {
	s := testSession()
	final := []ipsecctx.Dynamic{find(nil, &s.SAs[0]), find(nil, &s.SAs[1])}
	final[0].Sequence, final[1].Sequence, final[0].Window[0] = n, n, 1
	return final
}

// TestAdoptedKeys holds the keys of a staged session until the SAs are there, and
// no longer.
func TestAdoptedKeys(t *testing.T) {
	for name, end := range map[string]func(*bench) error{
		"Adopted": func(b *bench) error { b.ike.install(b.t, testSession()); return b.Adopted(ctx, testID) },
		"Discard": func(b *bench) error { return b.Discard(ctx, testID) },
		"Stop":    func(b *bench) error { return b.Stop() },
	} {
		b := newBench(t, newJudge(), adopting)
		must(t, b.Stage(ctx, testID, testSession()))
		var held []*uapi.State
		if held = append(held, b.session(testID).expected...); len(held) != 2 {
			t.Fatalf("%d SAs are expected", len(held))
		}
		must(t, end(b))
		for _, st := range held {
			for _, octet := range st.AEAD.Key.Bytes() {
				if octet != 0 {
					t.Fatalf("%s leaves a key", name)
				}
			}
		}
	}
}

// TestStageAdopting leaves the SPIs to the IKE daemon.
func TestStageAdopting(t *testing.T) {
	b := newBench(t, newJudge(), adopting)
	b.ike.install(t, testSession())
	wantStatus(t, b.Stage(ctx, testID, testSession()), cxtp.StatusSPIConflict)
	if b.session(testID) != nil || len(b.reqids) > 0 {
		t.Error("something of it is left")
	}
	_, err := b.ReserveSPI(ctx, gate, node, ipsecctx.ESP, ipsecctx.Tunnel)
	wantStatus(t, err, cxtp.StatusSPIConflict)
	if !b.cfg.OthersEncapsulate && !b.Gateway.cfg.OthersEncapsulate {
		t.Error("it would open the IKE daemon's sockets")
	}
}

// TestAdoptedVanishes tells a rekey, which the IKE daemon will speak of, from SAs
// that are gone.
func TestAdoptedVanishes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*bench)
		told   int
	}{
		"rekeyed": {func(b *bench) { b.ike.install(b.t, rekeyed()); b.ike.drop(inboundID, outboundID) }, 0},
		"flushed": {func(b *bench) { b.ike.drop(inboundID, outboundID) }, 1},
		"deleted": {func(b *bench) { b.ike.remove() }, 1},
	} {
		told := 0
		b := newBench(t, newJudge(), adopting, func(c *Config) { c.Vanished = func(cxtp.SessionID, string) { told++ } })
		must(t, b.begin(testSession(), nil))
		c.change(b)
		must(t, b.look(ctx))
		if told != c.told {
			t.Errorf("%s: told %d times, want %d", name, told, c.told)
		}
	}
}
