package xfrm

import (
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// TestReassign stages a session whose inbound SPI another session or another
// program has here: on one of this gateway's part.
func TestReassign(t *testing.T) {
	const first = 0x2000
	for name, occupy := range map[string]func(*bench){
		"another session": func(b *bench) { must(t, b.Install(ctx, testID, testSession(), nil)) },
		"another program": func(b *bench) {
			st := &uapi.State{Src: node, Dst: gate, SPI: spiToGate, Proto: uapi.ESP, ReqID: 1, Auth: &uapi.Auth{Name: "hmac(sha1)", Key: key(1, 20)}}
			b.kernel.states[st.ID()] = st
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newJudge(), func(c *Config) { c.FirstSPI, c.LastSPI = first, first+1 })
			occupy(b)
			f := ipsecctx.NewFeature(b.Gateway, ipsecctx.Options{})
			s := testSession()
			elsewhere(s)
			s.SAs[0].SPI, s.SAs[1].SPI = spiToGate, 0x5001
			blocks, err := ipsecctx.EncodeSession(s)
			must(t, err)
			ref, states := features.Ref{Session: cxtp.SessionID{9}, Epoch: 1}, len(b.kernel.states)
			wantStatus(t, f.Stage(ctx, ref, features.Staging{Blocks: blocks}), cxtp.StatusSPIConflict)
			if len(b.kernel.states) != states {
				t.Error("something is left of what was refused")
			}
			ref.Epoch = 2
			must(t, f.Stage(ctx, ref, features.Staging{Blocks: blocks, Reassign: true}))
			if got := f.Reassigned(ref); len(got) != 1 || got[0] != (cxtp.SPIChange{Protocol: 50, Old: spiToGate, New: first}) {
				t.Errorf("reassigned %+v", got)
			}
			if b.kernel.states[uapi.StateID{Dst: gate, SPI: first, Proto: uapi.ESP}] == nil || len(b.kernel.states) != states+2 {
				t.Error("the kernel does not have the session's two SAs, one of them on the other SPI")
			}
		})
	}
}
