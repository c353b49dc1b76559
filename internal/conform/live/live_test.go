package live

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/rfc"
	"github.com/cxtp/cxtp/transport/testcert"
)

// TestCasesAreToldApart checks the table: names, rows that exist, sentences.
func TestCasesAreToldApart(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range Cases(nil) {
		if seen[c.Name] {
			t.Errorf("there are two cases called %s", c.Name)
		}
		seen[c.Name] = true
		if len(c.Rows) == 0 || c.Expect == "" {
			t.Errorf("%s has no row, or expects nothing", c.Name)
		}
		for _, id := range c.Rows {
			if row, ok := rfc.Find(id); !ok || row.State != rfc.Done {
				t.Errorf("%s: there is no row %s that is done", c.Name, id)
			}
		}
	}
}

// TestSimpleRouterConforms runs every case against a router that has nothing of
// ours but the codec and the transport.
func TestSimpleRouterConforms(t *testing.T) {
	t.Parallel()
	supply := supplyOf(40)
	p := start(t, newSimple(supply), supply)
	p.subject.NullToken, p.subject.Timers.Quiet = true, config.Duration{Duration: 100 * time.Millisecond}
	for _, r := range run(t, p).Results {
		if r.Verdict != conform.Passed {
			t.Errorf("%s: %s: %s", r.Name, r.Verdict, r.Detail)
		}
	}
}

func run(t *testing.T, p *Prober, sections ...string) conform.Report {
	t.Helper()
	cases, err := conform.Select(Cases(p), sections...)
	if err != nil {
		t.Fatal(err)
	}
	return conform.Run(t.Context(), "fake", cases, true, nil)
}

// hostile answers everything with something of its own.
type hostile struct {
	answer func(w *wires, from netip.AddrPort)
}

func (h hostile) fromRouter(w *wires, _ []byte) { h.answer(w, netip.AddrPort{}) }

func (h hostile) fromNode(w *wires, from netip.AddrPort, _ []byte) { h.answer(w, from) }

// both sends octets to the prober, and to the node that was heard.
func both(w *wires, from netip.AddrPort, octets []byte) {
	w.routers.Send("prober", octets, time.Time{})
	if from.IsValid() {
		w.nodes.Send(from, octets)
	}
}

// TestHostileRouters runs cases of every kind against routers that do what no router
// should. None passes that wants an answer, all end, and each says what it found.
func TestHostileRouters(t *testing.T) {
	wrong := encode(&cxtp.CTAA{Previous: netip.MustParseAddr("203.0.113.1")})
	for name, c := range map[string]struct {
		answer func(w *wires, from netip.AddrPort)
		detail string // of a case that wants an answer
	}{
		"silent":  {func(*wires, netip.AddrPort) {}, "nothing else came"},
		"garbage": {func(w *wires, from netip.AddrPort) { both(w, from, []byte{0xff, 0xff, 0xff}) }, "no message"},
		"cut":     {func(w *wires, from netip.AddrPort) { both(w, from, wrong[:5]) }, "no message"},
		"beside":  {func(w *wires, from netip.AddrPort) { both(w, from, wrong) }, "there came CTAA"},
		"late": {func(w *wires, from netip.AddrPort) {
			time.AfterFunc(time.Second, func() { both(w, from, wrong) })
		}, "did not come"},
		"floods": {func(w *wires, from netip.AddrPort) {
			for range 2 * maxArrivals {
				both(w, from, wrong)
			}
		}, "there came CTAA"},
		"closes": {func(w *wires, _ netip.AddrPort) { go w.routers.Close() }, "association"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, hostile{c.answer}, supplyOf(40))
			p.subject.Timers = Timers{MaxTransfer: config.Duration{Duration: time.Millisecond}, RequestRate: 100,
				Patience: config.Duration{Duration: 200 * time.Millisecond}, Quiet: config.Duration{Duration: time.Millisecond}}
			report := run(t, p, "2.5.1", "2.5.2", "2.5.3", "2.5.4", "2.5.6", "2.1.2", "2.4")
			found := false
			for _, r := range report.Results {
				if r.Verdict == conform.Passed && strings.HasPrefix(r.Expect, "a CT-Req with the node's token") {
					t.Errorf("%s passed", r.Name)
				}
				if r.Verdict != conform.Passed && r.Detail == "" {
					t.Errorf("%s does not say why", r.Name)
				}
				found = found || r.Verdict == conform.Failed && strings.Contains(r.Detail, c.detail)
			}
			if !found || report.Conforms() {
				t.Errorf("no failure says %q, conforms: %t", c.detail, report.Conforms())
			}
		})
	}
}

// TestRouterThatIsNotThere has a subject whose endpoints nobody listens on.
func TestRouterThatIsNotThere(t *testing.T) {
	authority, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	s := subjectFor(t, authority, "127.0.0.1:9", "127.0.0.1:9")
	s.Timers.Patience = config.Duration{Duration: 100 * time.Millisecond}
	for _, r := range run(t, opened(t, s), "2.5.6").Results {
		if r.Verdict == conform.Passed || r.Verdict == conform.Failed && !strings.Contains(r.Detail, "no association with the router") {
			t.Errorf("%s: %s: %s", r.Name, r.Verdict, r.Detail)
		}
	}
}

// TestWhatTheSubjectLacks: without nodes, and without an endpoint for them, cases
// are not run and say what to add.
func TestWhatTheSubjectLacks(t *testing.T) {
	p := start(t, newSimple(nil), nil)
	p.subject.NullToken = true
	for _, r := range run(t, p, "2.1.2", "2.5.3").Results {
		if r.Verdict == conform.NotRun && !strings.Contains(r.Detail, "[[mobile_node]]") {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
	p.nodes.Close()
	p.nodes = nil
	for _, r := range run(t, p, "rfc4067-2-2").Results {
		if r.Verdict != conform.NotRun {
			t.Errorf("%s: %s: %s", r.Name, r.Verdict, r.Detail)
		}
	}
}

// TestStrangersAreOfTheirPrefix draws where the addresses of strangers begin.
func TestStrangersAreOfTheirPrefix(t *testing.T) {
	for _, text := range []string{"198.18.0.0/15", "10.0.0.0/8", "192.0.2.0/24", "192.0.2.4/31", "192.0.2.4/32", "2001:db8::/64", "2001:db8::8/125"} {
		prefix := netip.MustParsePrefix(text)
		for range 100 {
			if a := somewhere(prefix); !prefix.Contains(a) || prefix.Bits() < a.BitLen()-1 && !prefix.Contains(a.Next()) {
				t.Fatalf("%v is not in the first half of %v", a, prefix)
			}
		}
	}
}

// TestInterrupted ends a run in the middle of a case.
func TestInterrupted(t *testing.T) {
	p := start(t, hostile{func(*wires, netip.AddrPort) {}}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	for _, r := range conform.Run(ctx, "silent", Cases(p), false, nil).Results {
		if r.Verdict != conform.NotRun || !strings.Contains(r.Detail, "interrupted") {
			t.Fatalf("%s: %s: %s", r.Name, r.Verdict, r.Detail)
		}
	}
}
