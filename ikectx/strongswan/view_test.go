package strongswan

import (
	"errors"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// recorded is an agent that has heard the beginning of a recorded stream.
func recorded(t *testing.T, name string) *Agent {
	t.Helper()
	a := &Agent{journal: newJournal(), sessions: map[cxtp.SessionID]*session{}, of: map[*lineage]*session{}, recollection: newRecollection(),
		departed: elsewhere(t, "")}
	a.settle()
	hearAll(t, a.journal, streams(t)[name][0].messages)
	l := only(t, a.journal)
	s := &session{id: cxtp.SessionID{7}, l: l, phase: ipsecctx.Active}
	a.sessions[s.id], a.of[l] = s, s
	return a
}

// TestViews: a client is shown as charon told of it.
func TestViews(t *testing.T) {
	for name, want := range map[string]struct {
		eap      string
		children int
	}{"gcm": {"", 1}, "eap": {"alice", 1}} {
		all := recorded(t, name).Views()
		v := all[cxtp.SessionID{7}]
		if len(all) != 1 || v.EAPIdentity != want.eap || len(v.Children) != want.children || v.Generation != 1 {
			t.Errorf("%s: %+v", name, all)
			continue
		}
		if v.Connection == "" || v.Identity == "" || len(v.Virtual) != 1 || !v.Remote.IsValid() || len(v.InitiatorSPI) != 16 ||
			v.Children[0].Name == "" || v.Children[0].Inbound == v.Children[0].Outbound {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestView: charon is shown as it was met last, with what is wrong now.
func TestView(t *testing.T) {
	a := recorded(t, "gcm")
	a.recollection = newRecollection()
	if v := a.View(); v.Problem == "" {
		t.Error("before charon was looked for, nothing is known to be right")
	}
	a.settle()
	if v := a.View(); v.Release != "" || v.Clients != 1 || v.Protocol != "" || !v.Since.IsZero() {
		t.Errorf("never met: %+v", v)
	}
	a.met("5.9.8", 3)
	if a.looked("Nov  1 07:38:09 2025", nil) {
		t.Error("that charon is there is a problem")
	}
	v := a.View()
	if v.Release != "5.9.8" || v.Protocol != "ha version 3" || !v.Since.Equal(time.Date(2025, 11, 1, 7, 38, 9, 0, time.Local)) || v.Problem != "" {
		t.Errorf("met: %+v", v)
	}
	away := errors.New("charon is not running")
	if first, again := a.looked("", away), a.looked("", away); !first || again || a.View().Problem != away.Error() || a.View().Since.IsZero() {
		t.Errorf("gone: news %t, then %t: %+v", first, again, a.View())
	}
}
