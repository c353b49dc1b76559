package strongswan

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// left is a kernel that a run before has left sessions in.
type left struct {
	adopts
	found Found
}

func (l left) Found() []Found { return []Found{l.found} }

// beforeRestart is the client of a recorded stream, as charon lists it and as the
// kernel has it.
func beforeRestart(t *testing.T) (IKESA, *ipsecctx.Session) {
	t.Helper()
	j := newJournal()
	hearAll(t, j, streams(t)["gcm"][0].messages)
	l := only(t, j)
	sa := IKESA{State: established, SPIi: l.id().SPIi, SPIr: l.id().SPIr, Local: l.update.LocalAddr, Remote: l.update.RemoteAddr}
	for _, c := range l.children {
		sa.Children = append(sa.Children, ChildSA{State: installed, In: c.add.InboundSPI, Out: c.add.OutboundSPI})
	}
	return sa, l.protected(sa)
}

// startedAnew is an agent that finds a session, and what charon lists.
func startedAnew(found Found, listed ...IKESA) (*Agent, []ha.SAID) {
	a := &Agent{cfg: Config{Kernel: left{found: found}}, journal: newJournal(), sessions: map[cxtp.SessionID]*session{}, of: map[*lineage]*session{},
		recollection: newRecollection(), switcher: switcher{segments: 16}}
	a.found[found.Session] = found
	strays, _ := a.expect(listed)
	return a, strays
}

// listen has an agent hear a recorded stream.
func (a *Agent) listen(t *testing.T) (l *lineage) {
	t.Helper()
	for _, octets := range streams(t)["gcm"][0].messages {
		var err error
		if l, _, err = a.journal.hear(parsed(t, octets), day); err != nil {
			t.Fatal(err)
		}
		if l != nil {
			a.recognise(l)
		}
	}
	return l
}

// TestRecall: a session keeps its name over a restart, and stands where its SAs and
// its IKE SA do.
func TestRecall(t *testing.T) {
	for _, c := range []struct {
		sas     ipsecctx.Phase
		passive bool
		want    ipsecctx.Phase
		halfway bool
	}{
		{ipsecctx.Active, false, ipsecctx.Active, false},
		{ipsecctx.Frozen, true, ipsecctx.Frozen, false},
		{ipsecctx.Redirected, true, ipsecctx.Frozen, false},
		{ipsecctx.Staged, true, ipsecctx.Staged, false},
		{ipsecctx.Active, true, ipsecctx.Frozen, true},
	} {
		sa, static := beforeRestart(t)
		if c.passive {
			sa.State = passive
		}
		a, strays := startedAnew(Found{Session: cxtp.SessionID{7}, Phase: c.sas, Static: static}, sa)
		a.listen(t)
		s := a.sessions[cxtp.SessionID{7}]
		if s == nil || s.phase != c.want || s.halfway != c.halfway || !s.known || len(a.awaited) > 0 || len(strays) > 0 {
			t.Errorf("SAs %v, IKE SA passive %t: %+v, awaited %d, strays %v", c.sas, c.passive, s, len(a.awaited), strays)
		}
	}
}

// TestRecallOfRekeyed: where charon has rekeyed while nobody listened, the client
// says whose session it is; another one at its address does not get it.
func TestRecallOfRekeyed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ipsecctx.Session)
		want   bool
	}{
		"the same":          {func(*ipsecctx.Session) {}, true},
		"another node":      {func(s *ipsecctx.Session) { s.RemoteID.Data = []byte("other.example") }, false},
		"another addresses": {func(s *ipsecctx.Session) { s.Inner = []netip.Prefix{netip.MustParsePrefix("10.9.9.9/32")} }, false},
	} {
		sa, static := beforeRestart(t)
		static.SAs[0].SPI++
		c.change(static)
		a, _ := startedAnew(Found{Session: cxtp.SessionID{7}, Phase: ipsecctx.Active, Static: static}, sa)
		l := a.listen(t)
		if len(a.sessions) > 0 {
			t.Errorf("%s: recognised without its SAs", name)
		}
		if id, ok := a.claim(l); ok != c.want || ok && id != (cxtp.SessionID{7}) {
			t.Errorf("%s: claimed %v, %t", name, id, ok)
		}
		var ended []cxtp.SessionID
		a.cfg.Went = func(id cxtp.SessionID, _ string) { ended = append(ended, id) }
		if a.abandon(); (len(ended) == 0) != c.want {
			t.Errorf("%s: ended %v", name, ended)
		}
	}
}

// TestStray: what is parked and nobody's is a restart's.
func TestStray(t *testing.T) {
	sa, static := beforeRestart(t)
	sa.Remote, sa.State = addressIn(carPark, 16), passive
	static.SAs[0].SPI++
	if _, strays := startedAnew(Found{Session: cxtp.SessionID{7}, Static: static}, sa); len(strays) != 1 || strays[0].SPIi != sa.SPIi {
		t.Errorf("strays %v", strays)
	}
}

// TestToldAgain: what charon tells again of an IKE SA that is passive, or was rekeyed
// before, does not mislead.
func TestToldAgain(t *testing.T) {
	j := newJournal()
	hearAll(t, j, streams(t)["gcm"][0].messages)
	l := only(t, j)
	client := l.update.RemoteAddr
	if l.revise(&ha.IKEUpdate{SA: l.id(), RemoteAddr: addressIn(carPark, 16)}); l.update.RemoteAddr != client {
		t.Errorf("the client is at the car park %v", l.update.RemoteAddr)
	}

	id := ha.SAID{IKEVersion: 2, SPIi: 1, SPIr: 2}
	if _, _, err := j.ikeAdd(&ha.IKEAdd{SA: id, Rekeyed: ha.SAID{IKEVersion: 2, SPIi: 3, SPIr: 4}, Proposal: ha.Proposal{Encr: 20}}, day); err != nil || j.half[id].number != 2 {
		t.Errorf("generation %d of a rekeyed IKE SA: %v", j.half[id].number, err)
	}
}
