package daemon_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/internal/control"
)

// onLink has both gateways of a pair keep the groups of nodes on one prefix.
const onLink = "\n[multicast]\nprefixes = [\"2001:db8:1::/64\"]\n"

var listener = control.NewSession{
	Session: sessionID, Previous: netip.MustParseAddr("2001:db8:1::7"),
	Groups: []control.NewGroup{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Group: netip.MustParseAddr("ff1e::1234")}},
}

// groups are what a session's node listens to at a gateway.
func groups(t *testing.T, g process) (all []netip.Addr) {
	t.Helper()
	views, err := g.client.Sessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range views {
		for _, group := range v.Groups {
			all = append(all, group.Group)
		}
	}
	return all
}

// TestGroupsAlone moves a session that has no SAs there and back, and has it taken
// over by a standby.
func TestGroupsAlone(t *testing.T) {
	sg := pair(t, trusting+onLink)
	if err := sg[0].client.AddSession(t.Context(), listener); err != nil {
		t.Fatal(err)
	}
	want := []netip.Addr{listener.Groups[0].Group}
	for i := range 2 {
		from, to := sg[i%2], sg[(i+1)%2]
		last, err := from.client.Handover(t.Context(), control.Handover{Session: sessionID, To: cxtp.RouterID(to.name)}, nil)
		if err != nil || last.Event != cxtp.EventClosed || len(last.Statuses) > 0 {
			t.Fatalf("move %d: %v, %+v", i, err, last)
		}
		if a, b := groups(t, from), groups(t, to); len(a) > 0 || !slices.Equal(b, want) {
			t.Errorf("after move %d the node listens to %v at the source and to %v at the target", i, a, b)
		}
	}
	if _, err := sg[0].client.Standby(t.Context(), control.Standby{Session: sessionID, To: "sg2"}, nil); err != nil {
		t.Fatal(err)
	}
	awaitRenewals(t, sg[1], 2)
	sg[0].driver.Close()
	last, err := sg[1].client.Resolve(t.Context(), control.Resolve{Session: sessionID, Fenced: "sg1"}, nil)
	if err != nil || last.Event != cxtp.EventClosed || !slices.Equal(groups(t, sg[1]), want) {
		t.Errorf("taken over with %v, %+v: the node listens to %v", err, last, groups(t, sg[1]))
	}
}

// TestGroupsBesideSAs moves both, and what comes with SAs is no session without any.
func TestGroupsBesideSAs(t *testing.T) {
	sg := pair(t, trusting+onLink)
	install(t, sg[0])
	if err := sg[0].client.AddSession(t.Context(), listener); err == nil || !strings.Contains(err.Error(), "is here already") {
		t.Fatalf("groups alone take the place of a session with SAs: %v", err)
	}
	if got := groups(t, sg[0]); len(got) > 0 {
		t.Errorf("a session that was refused has the groups %v", got)
	}
	last, err := sg[0].client.Handover(t.Context(), control.Handover{Session: sessionID, To: "sg2"}, nil)
	if err != nil || last.Event != cxtp.EventClosed {
		t.Fatalf("%v, %+v", err, last)
	}
}

// TestGroupsAreLeftBehind: a target that has no such link takes the rest, and says so.
func TestGroupsAreLeftBehind(t *testing.T) {
	sg := pair(t, trusting+"\nmulticast = \"2001:db8:9::/64\""+onLink)
	s := listener
	s.Session = cxtp.SessionID{9}
	if err := sg[0].client.AddSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	var told []cxtp.ContextStatus
	last, err := sg[0].client.Handover(t.Context(), control.Handover{Session: s.Session, To: "sg2"}, func(p control.Progress) {
		if p.Event == cxtp.EventStaged {
			told = p.Statuses
		}
	})
	want := []cxtp.ContextStatus{{FPT: cxtp.FPTMulticastListener, Status: mld.StatusNoLink}}
	if err != nil || !slices.Equal(told, want) || last.Event != cxtp.EventClosed {
		t.Errorf("%v, %+v, told %v", err, last, told)
	}
	if got := groups(t, sg[1]); len(got) > 0 {
		t.Errorf("the target has %v", got)
	}
}

// TestInstallMistakes names what is wrong with groups, and keeps nothing.
func TestInstallMistakes(t *testing.T) {
	sg := pair(t, trusting+onLink)
	prefix, group := listener.Groups[0].Prefix, listener.Groups[0].Group
	for _, c := range []struct {
		groups []control.NewGroup
		want   string
	}{
		{nil, "a session needs sas, groups, or both"},
		{[]control.NewGroup{{Prefix: prefix, Group: group}, {Prefix: prefix, Group: netip.MustParseAddr("2001:db8::1")}}, "groups[1]: 2001:db8::1 is no IPv6 multicast address"},
		{[]control.NewGroup{{Prefix: netip.MustParsePrefix("2001:db8:2::/64"), Group: group}}, "no link here has the prefix 2001:db8:2::/64"},
	} {
		s := listener
		s.Groups = c.groups
		if err := sg[0].client.AddSession(t.Context(), s); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: error %v, want %q", c.groups, err, c.want)
		}
	}
	if err := sg[0].client.AddSession(t.Context(), listener); err != nil {
		t.Errorf("what was refused is still there: %v", err)
	}
}

// TestPlainRouters moves groups between routers that speak RFC 4067 alone with each
// other, and nothing that has keys.
func TestPlainRouters(t *testing.T) {
	sg := pair(t, trusting+"\nplain = true"+onLink)
	s := listener
	s.Session = cxtp.SessionID{9}
	if err := sg[0].client.AddSession(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	last, err := sg[0].client.Handover(t.Context(), control.Handover{Session: s.Session, To: "sg2"}, nil)
	if err != nil || last.Event != cxtp.EventClosed {
		t.Fatalf("%v, %+v", err, last)
	}
	if got := groups(t, sg[0]); len(got) > 0 {
		t.Errorf("the node listens to %v at the source", got)
	}
	for end := time.Now().Add(10 * time.Second); !slices.Equal(groups(t, sg[1]), []netip.Addr{s.Groups[0].Group}); {
		if time.Now().After(end) {
			t.Fatalf("the node listens to %v at the target", groups(t, sg[1]))
		}
	}
	events, err := sg[0].client.Trace(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if strings.HasPrefix(e.What, "Outcome") {
			t.Errorf("they say %s", e.What)
		}
	}
	install(t, sg[0])
	last, err = sg[0].client.Handover(t.Context(), control.Handover{Session: sessionID, To: "sg2"}, nil)
	if err != nil || last.Event != cxtp.EventFailed || len(last.Statuses) == 0 || last.Statuses[0].Status != cxtp.StatusNoControl {
		t.Errorf("with keys: %v, %+v", err, last)
	}
	if got := state(t, sg[0]); got != "active" {
		t.Errorf("the session with keys is %s", got)
	}
}
