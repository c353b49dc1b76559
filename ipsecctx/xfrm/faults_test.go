package xfrm

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

var outbound = ipsecctx.ID{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode}

// step is an operation and what leads up to it.
type step struct {
	before []string
	do     func(*bench) error
}

// steps are all operations that change something, of a session in a rekey. Install
// is Adopt where the SAs are an IKE daemon's, and Adopted and Adopt are for those
// alone.
var steps = map[string]step{
	"Install": {nil, func(b *bench) error { return b.begin(rekeyed(), nil) }},
	"Stage":   {nil, func(b *bench) error { return b.Stage(ctx, testID, rekeyed()) }},
	"Adopted": {[]string{"Stage"}, func(b *bench) error { b.ike.install(b.t, rekeyed()); return b.Adopted(ctx, testID) }},
	"Adopt": {[]string{"Install"}, func(b *bench) error {
		b.ike.drop(stateID(&rekeyed().SAs[0], Placement{}))
		return b.Adopt(ctx, testID, announced(rekeyed()))
	}},
	"Activate": {[]string{"Stage", "Adopted"}, func(b *bench) error { return b.Activate(ctx, testID, freshFinal()) }},
	"Limit": {[]string{"Install"}, func(b *bench) error {
		return b.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 1000})
	}},
	"Freeze":   {[]string{"Install"}, func(b *bench) error { _, err := b.Freeze(ctx, testID); return err }},
	"Thaw":     {[]string{"Install", "Freeze"}, func(b *bench) error { return b.Thaw(ctx, testID, ipsecctx.Ceilings{outbound: 500}) }},
	"Redirect": {[]string{"Install", "Freeze"}, func(b *bench) error { return b.Redirect(ctx, testID, "other") }},
	"Close":    {[]string{"Install", "Freeze"}, func(b *bench) error { _, err := b.Close(ctx, testID); return err }},
	"Merge":    {[]string{"Install"}, func(b *bench) error { return b.Merge(ctx, testID, freshFinal()[:1]) }},
	"Release":  {[]string{"Install"}, func(b *bench) error { return b.Release(ctx, testID) }},
	"Discard":  {[]string{"Stage", "Adopted"}, func(b *bench) error { return b.Discard(ctx, testID) }},
}

// freshFinal is the dynamic state of SAs at number 100.
func freshFinal() []ipsecctx.Dynamic {
	var final []ipsecctx.Dynamic
	s := rekeyed()
	for i := range s.SAs {
		d := find(nil, &s.SAs[i])
		d.Sequence = 100
		if d.Window != nil {
			d.Window[0] = 1
		}
		final = append(final, d)
	}
	return final
}

// eachCall runs a step again and again, each time with another of its kernel
// calls disturbed.
func eachCall(t *testing.T, name string, whose func(*Config), disturb func(b *bench, call int), then func(t *testing.T, b *bench, err error)) {
	for at := 1; ; at++ {
		b := newBench(t, newJudge(), whose)
		if b.ike == nil && strings.Contains(name, "Adopt") {
			return
		}
		for _, before := range steps[name].before {
			if before != "Adopted" || b.ike != nil {
				must(t, steps[before].do(b))
			}
		}
		b.sendDown(1)
		first := b.kernel.calls
		disturb(b, first+at)
		err := steps[name].do(b)
		if b.kernel.calls < first+at {
			if at == 1 && !strings.HasSuffix(name, "Redirect") {
				t.Errorf("%s makes no kernel call", name)
			}
			return
		}
		b.kernel.fault, b.kernel.stray = nil, nil
		t.Run(fmt.Sprintf("%s/call%d", name, at), func(t *testing.T) { then(t, b, err) })
	}
}

// TestFaults has each kernel call of each operation fail once. What the operation
// was to do can be done afterwards, or undone, and the laws hold.
func TestFaults(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		for name := range steps {
			eachCall(t, name, whose, func(b *bench, at int) {
				b.kernel.fault = func(call int, r uapi.Request) error {
					if call == at {
						return &uapi.Error{Op: r.Op, Errno: syscall.ENOMEM}
					}
					return nil
				}
			}, func(t *testing.T, b *bench, err error) {
				j := b.kernel.judge
				switch name {
				case "Install", "Stage":
					if err == nil && name == "Install" && b.kernel.opened() > 0 {
						break // it had begun to send, and the call was made again
					}
					if err == nil {
						t.Fatal("no error")
					}
					b.wantEmpty(t)
					if found, err := b.store.read(); err != nil || len(found) > 0 {
						t.Errorf("%v is still written down, %v", found, err)
					}
					must(t, steps[name].do(b))
				case "Activate":
					sent := len(j.wire)
					b.sendDown(1)
					if err != nil && len(j.wire) > 0 {
						t.Errorf("%v, and %d packets were sent", err, len(j.wire))
					}
					if err != nil {
						must(t, steps[name].do(b))
						if len(j.wire) <= sent {
							t.Error("nothing was sent")
						}
					}
				case "Freeze":
					was := len(j.wire)
					b.sendDown(2)
					if len(j.wire) > was && b.session(testID).frozen != nil {
						t.Errorf("a frozen session has sent: %v", err)
					}
					if err == nil {
						must(t, b.Thaw(ctx, testID, nil))
					}
				case "Redirect", "Thaw", "Close", "Merge", "Limit", "Release", "Discard", "Adopt", "Adopted":
					if err != nil {
						must(t, steps[name].do(b))
					}
				}
				b.sendDown(2)
				j.lawful(t)
				must(t, b.Release(ctx, testID))
				b.wantEmpty(t)
				b.sendDown(1)
				j.lawful(t)
			})
		}
	})
}

// crashed is what a daemon panics with that dies.
type crashed struct{}

// TestCrashes has the daemon die before each kernel call of each operation, under
// traffic, and start again. What it then says of the session is true, and
// nothing is sent twice whatever is done about it.
func TestCrashes(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		for name, s := range maps.Clone(steps) {
			survivable := step{s.before, func(b *bench) (err error) {
				defer func() {
					if r := recover(); r != nil {
						if _, ok := r.(crashed); !ok {
							panic(r)
						}
					}
				}()
				return s.do(b)
			}}
			steps["crash of "+name] = survivable
			eachCall(t, "crash of "+name, whose, func(b *bench, at int) {
				b.kernel.stray = func(call int, _ uapi.Request) {
					b.kernel.send(down(call))
					if call == at {
						panic(crashed{})
					}
				}
			}, func(t *testing.T, b *bench, _ error) {
				j := b.kernel.judge
				sent := highest(j)
				b.restart()
				held, err := b.Held(ctx)
				must(t, err)
				state := cxtp.HeldNothing
				if len(held) > 0 {
					state = held[0].State
				}
				b.sendDown(2)
				switch state {
				case cxtp.HeldNothing:
					b.wantEmpty(t)
				case cxtp.HeldStaged:
					if len(j.wire) > 0 {
						t.Errorf("staged, and %d packets were sent", len(j.wire))
					}
					must(t, b.Discard(ctx, testID))
					b.wantEmpty(t)
				case cxtp.HeldFrozen:
					if highest(j) > sent {
						t.Error("frozen, and sends")
					}
					fallthrough
				case cxtp.HeldActive:
					final, err := b.Freeze(ctx, testID)
					if err == nil {
						for i := range final {
							if d := &final[i]; d.Direction == ipsecctx.Outbound && d.SPI == spiToNode+16 && d.Sequence < highest(j) {
								t.Errorf("%s at %d after %d was sent", state, d.Sequence, highest(j))
							}
						}
						b.sendDown(1)
						must(t, b.Thaw(ctx, testID, nil))
						b.sendDown(2)
					}
				}
				j.lawful(t)
				must(t, b.Release(ctx, testID))
				b.wantEmpty(t)
			})
			delete(steps, "crash of "+name)
		}
	})
}

// highest is the last sequence number sent on the newest SA.
func highest(j *judge) (n uint64) {
	for _, s := range j.wire {
		if s.spi == spiToNode+16 {
			n = max(n, s.seq)
		}
	}
	return n
}

// TestHeldAfterReboot forgets what the files of another boot say.
func TestHeldAfterReboot(t *testing.T) {
	b := newBench(t, newJudge())
	must(t, b.Install(ctx, testID, testSession(), nil))
	b.kernel = newFake(newJudge())
	b.boot = "the next boot"
	b.restart()
	held, err := b.Held(ctx)
	must(t, err)
	if found, err := b.store.read(); err != nil || len(held) > 0 || len(found) > 0 {
		t.Errorf("held %v, found %v, %v", held, found, err)
	}
}

// TestHeldSweeps deletes what belongs to no session, and leaves alone what has a
// reqid of others.
func TestHeldSweeps(t *testing.T) {
	b := newBench(t, newJudge())
	must(t, b.Install(ctx, testID, testSession(), nil))
	must(t, b.store.remove(testID))
	theirs := &uapi.State{Src: gate, Dst: node, SPI: 0x777, Proto: uapi.ESP, ReqID: 1, Auth: &uapi.Auth{Name: "hmac(sha1)", Key: key(1, 20)}}
	b.kernel.states[theirs.ID()] = theirs
	b.restart()
	held, err := b.Held(ctx)
	must(t, err)
	if len(held) > 0 || len(b.kernel.states) != 1 || b.kernel.states[theirs.ID()] == nil {
		t.Errorf("held %v, %d SAs", held, len(b.kernel.states))
	}
}

// TestKeysStayInTheKernel looks for the keys in the files and in the daemon.
func TestKeysStayInTheKernel(t *testing.T) {
	b := newBench(t, newJudge())
	s := testSession()
	must(t, b.Install(ctx, testID, s, nil))
	text, err := os.ReadFile(b.store.path)
	must(t, err)
	for i := range s.SAs {
		if slices.ContainsFunc([]string{string(s.SAs[i].Encryption.Key.Bytes()), string(s.SAs[i].Encryption.Salt.Bytes())}, func(k string) bool {
			return len(k) > 0 && contains(text, k)
		}) {
			t.Error("a key is in the file")
		}
		if held := b.session(testID).static.SAs[i]; !held.Encryption.Key.IsZero() {
			t.Error("the daemon has kept a key")
		}
	}
}

// TestExportIsTheCallers: what else is done to the session before the caller has
// encoded it takes no key out of it.
func TestExportIsTheCallers(t *testing.T) {
	owners(t, func(t *testing.T, whose func(*Config)) {
		b := newBench(t, newJudge(), whose)
		s := testSession()
		must(t, b.begin(s, nil))
		exported, _, err := b.Export(ctx, testID)
		must(t, err)
		if b.ike != nil {
			must(t, b.Adopt(ctx, testID, announced(s))) // the IKE daemon has told something
		}
		_, err = b.Freeze(ctx, testID)
		must(t, err)
		for i := range s.SAs {
			if want, got := &s.SAs[i].Encryption, &exported.SAs[i].Encryption; !got.Key.Equal(want.Key) || !got.Salt.Equal(want.Salt) {
				t.Errorf("%s lost its key", s.SAs[i].ID())
			}
		}
	})
}

func contains(text []byte, s string) bool {
	for i := range text {
		if i+len(s) <= len(text) && string(text[i:i+len(s)]) == s {
			return true
		}
	}
	return false
}

// TestConflicts says what is in the way, and leaves nothing behind.
func TestConflicts(t *testing.T) {
	other := cxtp.SessionID{9}
	for name, c := range map[string]struct {
		change func(*bench, *ipsecctx.Session)
		want   cxtp.Status
	}{
		"another session's addresses": {func(*bench, *ipsecctx.Session) {}, cxtp.StatusPolicyConflict},
		"another session's SPI": {func(_ *bench, s *ipsecctx.Session) {
			elsewhere(s)
		}, cxtp.StatusSPIConflict},
		"another program's SPI": {func(b *bench, s *ipsecctx.Session) {
			elsewhere(s)
			s.SAs[0].SPI, s.SAs[1].SPI = 0x5000, 0x5001
			st := &uapi.State{Src: node, Dst: gate, SPI: 0x5000, Proto: uapi.ESP, ReqID: 1, Auth: &uapi.Auth{Name: "hmac(sha1)", Key: key(1, 20)}}
			b.kernel.states[st.ID()] = st
		}, cxtp.StatusSPIConflict},
		"another program's policy": {func(b *bench, s *ipsecctx.Session) {
			elsewhere(s)
			s.SAs[0].SPI, s.SAs[1].SPI = 0x5000, 0x5001
			selectors, err := selectorsOf(&s.SAs[1].Selectors[0], uapi.DirOut)
			must(b.t, err)
			p := &fakePolicy{Policy: uapi.Policy{Dir: uapi.DirOut, Selector: selectors[0]}}
			b.kernel.policies[keyOf(&p.Policy)] = p
		}, cxtp.StatusPolicyConflict},
		"addresses that are not protected": {func(_ *bench, s *ipsecctx.Session) {
			s.Inner[0] = full4("10.9.0.1")
		}, cxtp.StatusUnsupported},
		"no algorithm": {func(b *bench, s *ipsecctx.Session) {
			elsewhere(s)
			s.SAs[0].SPI, s.SAs[1].SPI = 0x5000, 0x5001
			b.kernel.lacks["rfc4106(gcm(aes))"] = true
		}, cxtp.StatusAlgorithm},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newJudge())
			must(t, b.Install(ctx, testID, testSession(), nil))
			s := testSession()
			c.change(b, s)
			states, policies := len(b.kernel.states), len(b.kernel.policies)
			err := b.Stage(ctx, other, s)
			wantStatus(t, err, c.want)
			t.Log(err)
			if len(b.kernel.states) != states || len(b.kernel.policies) != policies {
				t.Error("something is left behind")
			}
			if c.want == cxtp.StatusAlgorithm {
				wantStatus(t, b.Supports(&s.SAs[0]), c.want)
			}
			must(t, b.Release(ctx, other))
		})
	}
}
