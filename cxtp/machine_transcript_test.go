package cxtp

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts of testdata/transcripts anew")

// TestTranscripts plays the scripts of testdata/transcripts and compares every
// line of what the machines do. A file is a sequence of blocks, each of
// comments, commands, "----", and the lines that follow from them.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compareLines(t, got, string(want))
		})
	}
}

func compareLines(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		line := func(lines []string) string {
			if i < len(lines) {
				return lines[i]
			}
			return "<nothing>"
		}
		if line(g) != line(w) {
			t.Fatalf("line %d is\n\t%s\nwant\n\t%s\nthe whole:\n%s", i+1, line(g), line(w), got)
		}
	}
}

// play runs a file's commands and returns the file as it should be.
func play(t *testing.T, file string) string { return newScript(t, "A", "B", "C").play(file) }

func (s *script) play(file string) string {
	out := s.run(file)
	if err := s.world.err(); err != nil {
		s.t.Errorf("laws broken:\n%v\n%s", err, out)
	}
	return out
}

// run is play without a look at the laws.
func (s *script) run(file string) string {
	var out strings.Builder
	for _, block := range strings.Split(strings.TrimSpace(file), "\n\n") {
		head, _, _ := strings.Cut(block, "\n----")
		for _, line := range strings.Split(head, "\n") {
			if !strings.HasPrefix(line, "#") {
				s.command(strings.Fields(line))
				if s.started && s.world.intrude != nil {
					s.world.intrude()
				}
			}
		}
		fmt.Fprintf(&out, "%s\n----\n%s\n", head, s.world.transcript.String())
		s.world.transcript.Reset()
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

// script is a player of commands, and the network that they shape.
type script struct {
	t        *testing.T
	world    *world
	started  bool
	dropNext map[string]int
	dropAll  map[string]bool
	twice    map[string]bool
	held     map[string]time.Duration
	slow     time.Duration // of operations
	last     Ticket
	stolen   map[SessionID]NodeState
}

func newScript(t *testing.T, ids ...RouterID) *script {
	s := &script{t: t, held: map[string]time.Duration{}, dropAll: map[string]bool{}, dropNext: map[string]int{}, twice: map[string]bool{}, stolen: map[SessionID]NodeState{}}
	s.world = newWorld(t, s, ids...)
	return s
}

func (s *script) result() time.Duration { return s.slow }

func (s *script) deliver(_, _ RouterID, m Message) []time.Duration {
	k := kind(m)
	switch {
	case s.dropAll[k]:
		s.world.printf("  ... lost")
		return nil
	case s.dropNext[k] > 0:
		s.dropNext[k]--
		s.world.printf("  ... lost")
		return nil
	case s.twice[k]:
		return []time.Duration{time.Millisecond, time.Millisecond}
	}
	if d, ok := s.held[k]; ok {
		return []time.Duration{d}
	}
	return []time.Duration{time.Millisecond}
}

// arguments splits what follows a command into words and key=value options.
func arguments(fields []string) (words []string, options map[string]string) {
	options = map[string]string{}
	for _, f := range fields {
		if key, value, ok := strings.Cut(f, "="); ok {
			options[key] = value
		} else {
			words = append(words, f)
		}
	}
	return words, options
}

func (s *script) command(fields []string) {
	words, options := arguments(fields)
	w := s.world
	if configure := map[string]bool{"peer": true, "set": true}; !s.started && !configure[words[0]] {
		s.started = true
		w.start()
	}
	has := func(word string) bool {
		for _, x := range words {
			if x == word {
				return true
			}
		}
		return false
	}
	switch words[0] {
	case "peer": // peer A of B: what B lets A do
		s.policy(RouterID(words[1]), RouterID(words[3]), options)
	case "set":
		s.configure(RouterID(words[1]), options)
	case "adopt": // adopt s1 at A [agent] [strong] [tokens=N] [addr=s2] [inner=P] [groups=on|alone]
		s.adopt(words[1], RouterID(words[3]), has("agent"), has("strong"), options)
	case "handover": // handover s1 from A to B [stage] [force]
		w.command(RouterID(words[3]), Handover{Session: s.id(words[1]), To: RouterID(words[5]), StageOnly: has("stage"), Force: has("force"), Ticket: s.ticket()})
	case "pull": // pull s1 from A to B [stage] [force] [named]
		p := Pull{Previous: s.session(words[1]).at, From: RouterID(words[3]), StageOnly: has("stage"), Force: has("force"), Sequence: uint32(s.last + 1000), Ticket: s.ticket()}
		if has("named") {
			p.Session = s.session(words[1]).id
		}
		w.command(RouterID(words[5]), p)
	case "cancel": // cancel s1 at A
		w.command(RouterID(words[3]), Cancel{Session: s.id(words[1]), Ticket: s.ticket()})
	case "drain", "undrain": // drain B, undrain B
		w.command(RouterID(words[1]), Drain{Closed: words[0] == "drain"})
	case "ctar": // ctar s1 to B naming A seq=N [leaving] [forged] [null] [stolen] [as=weak|strong|wrong|cut]
		s.ctar(s.session(words[1]), RouterID(words[3]), RouterID(words[5]), has, options)
	case "copy", "steal", "keys", "update":
		s.keyCommand(words)
	case "cut": // cut B: nobody hears B any more, and B hears nobody
		w.cut[RouterID(words[1])] = true
	case "lie": // lie A: it says that tokens were verified, and hears that all are willing
		w.liars[RouterID(words[1])] = true
	case "relay": // relay stage by B to C
		s.relay(words[1], RouterID(words[3]), RouterID(words[5]))
	case "forge": // forge updateack s1 at B, forge ctc, refused, active, final s1 from C at A
		ses := s.session(words[2])
		switch {
		case words[3] == "from" && w.forgePlain(words[1], ses, RouterID(words[4]), RouterID(words[6])):
		case words[3] == "from":
			s.forge(words[1], ses, RouterID(words[4]), RouterID(words[6]))
		default:
			w.send("", RouterID(words[4]), ses, &UpdateAck{Previous: ses.at, Session: ses.id, Number: 1})
		}
	case "slow": // slow 20ms: how long operations take
		s.slow = s.duration(words[1])
	case "drop": // drop next KIND, drop all KIND
		if words[1] == "all" {
			s.dropAll[words[2]] = true
		} else {
			s.dropNext[words[2]]++
		}
	case "pass": // pass KIND: the end of drop all, delay and twice
		delete(s.dropAll, words[1])
		delete(s.held, words[1])
		delete(s.twice, words[1])
	case "delay": // delay KIND 300ms
		s.held[words[1]] = s.duration(words[2])
	case "twice": // twice KIND
		s.twice[words[1]] = true
	case "replay": // replay KIND: everything of that kind that was ever sent
		s.replay(words[1])
	case "fail": // fail activate at B [groups], fail freeze at A [busy], fail steer at B
		s.fail(words[1], w.router(RouterID(words[3])), has("groups"), has("busy"))
	case "stall": // stall thaw at A: the next one is not begun before A crashes
		w.router(RouterID(words[3])).stalled[s.verb(words[1])] = true
	case "restart": // restart B [torn]: torn loses what was being written
		w.restart(w.router(RouterID(words[1])), map[bool]int{true: 0, false: 1000}[has("torn")])
	case "conflict": // conflict s1 at B: its SPI is taken there
		w.router(RouterID(words[3])).conflicts[s.session(words[1]).id] = true
	case "crash": // crash B [torn]: the daemon dies, its SAs live on
		w.crash(w.router(RouterID(words[1])), map[bool]int{true: 0, false: 1000}[has("torn")])
	case "expire": // expire s1 at B: the SAs end there, at a limit of theirs
		delete(w.router(RouterID(words[3])).sad, s.session(words[1]).id)
	case "vanish": // vanish s1 at B [late]: its SAs go, and B's gateway says so; late: it said so before they were frozen
		if !has("late") {
			delete(w.router(RouterID(words[3])).sad, s.session(words[1]).id)
		}
		w.step(w.router(RouterID(words[3])), Vanished{Session: s.session(words[1]).id, Why: "its SAs were deleted"})
	case "fence": // fence B: it is powered off, the others are told, it is powered on
		w.fence(w.router(RouterID(words[1])), s.ticket)
	case "standby": // standby s1 at A to B, standby s1 at A off
		o := Standby{Session: s.session(words[1]).id, Ticket: s.ticket()}
		if words[4] == "to" {
			o.To = RouterID(words[5])
		}
		w.command(RouterID(words[3]), o)
	case "reinstall":
		w.reinstall(w.router(RouterID(words[1])))
	case "quiet":
		w.quiet = words[1] == "on"
	case "run": // until nothing is under way
		w.settle()
	case "step": // one event
		w.next(w.now.Add(time.Hour))
	case "tick": // tick 200ms
		w.advance(s.duration(words[1]))
		w.freezes()
	case "sessions":
		s.show()
	default:
		s.t.Fatalf("unknown command %q", words[0])
	}
}

func (s *script) ticket() Ticket { s.last++; return s.last }

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) session(name string) *simSession {
	for _, ses := range s.world.sessions {
		if ses.name == name {
			return ses
		}
	}
	s.t.Fatalf("no session %q", name)
	return nil
}

// id is that of a node's session, or of a copy as a transcript calls it.
func (s *script) id(name string) SessionID {
	for id, known := range s.world.plain.names {
		if known == name {
			return id
		}
	}
	return s.session(name).id
}

func (s *script) policy(peer, at RouterID, options map[string]string) {
	n := s.world.router(at)
	p, ok := n.cfg.peer(peer)
	if !ok {
		s.t.Fatalf("%s has no peer %s", at, peer)
	}
	for key, value := range options {
		switch key {
		case "push":
			p.Push = value == "on"
		case "token":
			p.ActivateWithoutToken = value != "needed"
		case "pull":
			p.Pull = map[string]PullPolicy{"off": PullOff, "stage": PullStage, "move": PullMove}[value]
		case "identities":
			p.Identities = strings.Split(value, ",")
		case "inner":
			p.Inner = []netip.Prefix{netip.MustParsePrefix(value)}
		case "plain":
			p.Plain = value == "on"
		case "max":
			p.MaxSessions = s.number(value)
		default:
			s.t.Fatalf("unknown option %q", key)
		}
	}
}

func (s *script) configure(id RouterID, options map[string]string) {
	n := s.world.router(id)
	for key, value := range options {
		switch key {
		case "mode":
			n.cfg.Mode = map[string]MoveMode{"strict": ModeStrict, "lossless": ModeLossless}[value]
		case "stagehold":
			n.cfg.Timers.StageHold = s.duration(value)
		case "lease":
			n.cfg.Timers.Lease = s.duration(value)
		case "standbyhold":
			n.cfg.Timers.StandbyHold = s.duration(value)
		case "headroom":
			n.cfg.Headroom = uint64(s.number(value))
		case "gateway": // the outer address of another router
			n.cfg.Gateway4 = s.world.router(RouterID(value)).cfg.Gateway4
		case "conflicts":
			n.cfg.ReassignSPIs = value == "reassign"
		case "copyable":
			n.cfg.Copyable = map[string][]FPT{"groups": {FPTMulticastListener}}[value]
		case "closegiveup":
			n.cfg.Timers.CloseGiveUp = s.duration(value)
		default:
			s.t.Fatalf("unknown option %q", key)
		}
	}
}

func (s *script) adopt(name string, at RouterID, agent, strong bool, options map[string]string) {
	tokens := 0
	if n, ok := options["tokens"]; ok {
		tokens = s.number(n)
	}
	ses := s.world.newNode(name, tokens, agent, strong)
	_, ses.groups = options["groups"]
	ses.listener = options["groups"] == "alone"
	if other, ok := options["addr"]; ok {
		ses.at = s.session(other).at
	}
	if inner, ok := options["inner"]; ok {
		ses.claims.Inner = []netip.Prefix{netip.MustParsePrefix(inner)}
	}
	s.world.adopt(ses, at, tokens, agent)
}

func (s *script) ctar(ses *simSession, to, other RouterID, has func(string) bool, options map[string]string) {
	sequence := uint32(s.number(options["seq"]))
	role := RoleArriving
	if has("leaving") {
		role = RoleLeaving
	}
	m := &CTAR{Ack: true, Previous: ses.at, Router: s.world.addrOf(other), Sequence: sequence, Token: Token{1, 2, 3, 4}}
	switch {
	case has("stolen"):
		s.sign(m, ses, s.stolen[ses.id], to, role, map[bool]string{true: "strong", false: "weak"}[ses.strong])
	case options["as"] != "":
		s.sign(m, ses, ses.agent.keys.current, to, role, options["as"])
	case has("null"):
		m.Token = Token{}
	case !has("forged"):
		ses.types = s.requestTypes(options["types"])
		s.world.askAs(ses, to, other, role, sequence)
		return
	}
	s.world.printf("%s node %s: -> %s %s (forged)", s.world.clock(), ses.name, to, s.world.message(m))
	s.world.send("", to, ses, m)
}

func (s *script) replay(k string) {
	for i, m := range s.world.log {
		if m.kind == k {
			s.world.transmitAgain(i, time.Millisecond)
		}
	}
}

func (s *script) fail(what string, n *simRouter, groups, busy bool) {
	if what == "steer" {
		n.steering++
		return
	}
	switch {
	case groups:
		n.groupsFail[s.verb(what)] = StatusNoResources
	case busy:
		n.fail[s.verb(what)] = StatusBusy
	default:
		n.fail[s.verb(what)] = StatusNoResources
	}
}

func (s *script) verb(name string) Verb {
	v := slices.Index(verbNames[:], name)
	if v < 0 {
		s.t.Fatalf("no operation %q", name)
	}
	return Verb(v)
}

func (s *script) show() {
	for _, n := range s.world.routers {
		for _, v := range n.machine.Sessions() {
			sad := "no SAs"
			if sa := n.sad[v.Session]; sa != nil {
				sad = "SAs " + saNames[sa.state]
			}
			if c := n.listeners[v.Session]; c != nil {
				sad = "groups " + saNames[c.state]
			}
			s.world.printf("%s has %s: %s e%d, %d tokens, %s", n.id, s.world.name(v.Session), v.State+flagged(v.Why != "", " ("+v.Why+")"), v.Epoch, v.Tokens, sad)
		}
	}
}
