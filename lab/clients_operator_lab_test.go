//go:build linux && lab

package lab

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/charon"
)

// client is what a gateway's daemon says of the IKE SA of a session.
func (v *vpn) client(at *gateway, id cxtp.SessionID) control.Session {
	v.t.Helper()
	out, err := v.cxtp(at, "sessions", "--json")
	v.must(err)
	var all []control.Session
	v.must(json.Unmarshal([]byte(out), &all))
	i := slices.IndexFunc(all, func(s control.Session) bool { return s.Session == id })
	if i < 0 || all[i].IKE == nil {
		v.t.Fatalf("%s shows no IKE SA of %s: %s", at.Name, id, out)
	}
	return all[i]
}

// shown waits until a gateway's daemon shows what the client has.
func (v *vpn) shown(at *gateway, id cxtp.SessionID) {
	v.t.Helper()
	ike, child := v.only(v.mn, anySA)
	s := v.client(at, id).IKE
	if !comes(func() bool {
		s = v.client(at, id).IKE
		return s.Connection == charon.Clients && s.Identity == "fqdn:mn.example" && s.InitiatorSPI == ike.InitiatorSPI && s.ResponderSPI == ike.ResponderSPI &&
			len(s.Virtual) == 1 && s.Virtual[0].Addr().String() == ike.LocalVIPs[0] && len(s.Children) == 1 &&
			s.Children[0].Name == charon.Child && s.Children[0].Inbound == child.SPIOut && s.Children[0].Outbound == child.SPIIn
	}) {
		v.t.Errorf("%s shows %+v; the client has %+v", at.Name, s, ike)
	}
}

// says waits until the status of a gateway says something.
func (v *vpn) says(at *gateway, what string) {
	v.t.Helper()
	var out string
	if !comes(func() bool {
		var err error
		out, err = v.cxtp(at, "status")
		v.must(err)
		return strings.Contains(out, what)
	}) {
		v.t.Fatalf("the status of %s does not say %q:\n%s", at.Name, what, out)
	}
}

// TestStrongSwanDrain empties a gateway as an operator does: what is shown before
// and after, what a drained gateway takes and what not, and how that ends.
func TestStrongSwanDrain(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPN(t, charon.Extra{})
		here, there := v.gateways[0], v.gateways[1]
		id, inner := v.connect()
		v.says(here, "5.9.8, ha version 3, since ")
		v.shown(here, id)
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		out, err := v.cxtp(here, "drain", "--to", there.Name)
		v.must(err)
		if !strings.HasPrefix(out, "moved 1 sessions to sg2") {
			t.Errorf("drain says %s", out)
		}
		v.must(flows.Await(v.ctx, some))
		v.awaitHolder(there, false)
		v.shown(there, id)
		v.says(here, ", 0 clients")

		// What its own daemon has said outlives that; nothing goes there meanwhile.
		here.kill()
		v.restarts(here)
		v.says(here, "cxtp undrain ends that")
		if _, err := v.cxtp(there, "drain", "--to", here.Name); err == nil || !strings.Contains(err.Error(), "1 sessions were not moved") {
			t.Errorf("drained to a gateway that is drained: %v", err)
		}
		v.stands(there, id, "active")
		v.must(v.drain(there))
		v.stands(here, id, "active")
		v.verdict(w, inner, flows.Stop(settle))

		// The last client leaves by itself, and the next one is not let in.
		v.must(v.mn.Terminate("ike", charon.Home))
		v.stands(here, id, "ended", "gone", "")
		_, err = v.cxtp(there, "undrain")
		v.must(err)
		before := v.charons[0].Log()
		out, err = v.cxtp(here, "drain", "--to", there.Name)
		v.must(err)
		t.Log(out)
		v.await(func() bool { return strings.Contains(strings.TrimPrefix(v.charons[0].Log(), before), "deactivated") })
		if err := v.mn.Initiate(charon.Child); err == nil {
			t.Error("a client has come to a gateway that is drained")
		}
		v.await(func() bool { sas, err := v.mn.SAs(); return err == nil && len(sas) == 0 })
		_, err = v.cxtp(here, "undrain")
		v.must(err)
		v.must(v.mn.Initiate(charon.Child))
		return v.rig
	})
}
