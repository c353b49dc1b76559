package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Options say what to show.
type Options struct {
	Moves int    // how often the session moves; not with Crash
	Rate  int    // inner packets a second, each way
	IPv6  bool   // IPv6 everywhere: loopback, inner packets, addresses in messages
	JSON  bool   // one document instead of text
	Port  int    // the first of Ports UDP ports; 0 = any that are free
	Loss  int    // the share of CXTP's datagrams that are dropped, in percent
	Seed  uint64 // chooses them
	// Crash names the points at which a gateway dies in the middle of a move, one
	// move and one session each; CrashAll alone is all of them.
	Crash []string
	Break Break
	Out   io.Writer
}

// Bounds of the options. A session has one block for its token keys, and every
// other move uses one up.
const (
	DefaultMoves = 6
	MaxMoves     = 96
	MaxRate      = 20000
	MaxLoss      = 50
)

// Ports is how many consecutive UDP ports a demo with a fixed Port uses.
const Ports = 2*gatewayPorts + ownPorts

// Break is the guard that a demo does without.
type Break string

const (
	BreakNothing     Break = ""
	BreakFreeze      Break = "freeze"      // the old gateway counts, and sends on
	BreakCounters    Break = "counters"    // the new gateway starts from the numbers of the stage
	BreakPolicy      Break = "policy"      // what no session claims leaves in clear
	BreakCertificate Break = "certificate" // one gateway's certificate is a stranger's
)

var breaks = []string{string(BreakFreeze), string(BreakCounters), string(BreakPolicy), string(BreakCertificate)}

// check says what is wrong with the options, and what to write instead.
func (o *Options) check() error {
	switch {
	case len(o.Crash) > 0 && o.Moves != 0:
		return fmt.Errorf("--moves %d: leave it out with --crash, which makes one move for each point", o.Moves)
	case len(o.Crash) == 0 && (o.Moves < 1 || o.Moves > MaxMoves):
		return fmt.Errorf("--moves %d: write a number from 1 to %d", o.Moves, MaxMoves)
	case o.Rate < 1 || o.Rate > MaxRate:
		return fmt.Errorf("--rate %d: write a number of packets a second from 1 to %d", o.Rate, MaxRate)
	case o.Port != 0 && (o.Port < 1024 || o.Port > 65536-Ports):
		return fmt.Errorf("--port %d: write a number from 1024 to %d, of which %d ports upwards are used, or leave it out", o.Port, 65536-Ports, Ports)
	case o.Loss < 0 || o.Loss > MaxLoss:
		return fmt.Errorf("--loss %d: write a percentage from 0 to %d", o.Loss, MaxLoss)
	case o.Break != BreakNothing && !slices.Contains(breaks, string(o.Break)):
		return fmt.Errorf("--break %q: write one of %s", o.Break, strings.Join(breaks, ", "))
	case o.Break != BreakNothing && (o.Loss > 0 || len(o.Crash) > 0):
		return fmt.Errorf("--break %s: leave out --loss and --crash, so that what is seen is the missing guard's doing", o.Break)
	}
	_, err := o.points()
	return err
}

// timers are those of the gateways' machines that the demo sets.
type timers struct {
	MaxTransfer, RequestWait, SteerDeadline, FreezeDeadline time.Duration
}

// timers gives a machine with a slow disk under its journal time to write. A
// wire that loses datagrams takes longer for the same; and where gateways die,
// nobody wants to watch the default freeze deadline.
func (o *Options) timers() timers {
	t := timers{MaxTransfer: time.Second, RequestWait: time.Second, SteerDeadline: 3 * time.Second, FreezeDeadline: 30 * time.Second}
	if o.Loss > 0 {
		t.MaxTransfer, t.RequestWait, t.SteerDeadline = 3*time.Second, 5*time.Second, 15*time.Second
	}
	switch {
	case len(o.Crash) > 0 && o.Loss > 0:
		t.FreezeDeadline = 5 * time.Second
	case len(o.Crash) > 0:
		t.FreezeDeadline = 2 * time.Second
	}
	return t
}

// patience is how long the demo waits for what should come soon: a connection,
// a move, the end of one that was cut off.
func (o *Options) patience() time.Duration {
	if o.Loss > 0 {
		return time.Minute
	}
	return 20 * time.Second
}

// starter is who starts a move.
type starter string

const (
	bySource starter = "source"
	byTarget starter = "target"
	byNode   starter = "node"
)

// plan is one move to be made.
type plan struct {
	by       starter
	early    bool // staged first, moved later
	from, to int  // gateways
}

// plans lists the moves in turn: each starter, without and with early staging,
// there and back. After a full turn, early staging changes direction.
func (o *Options) plans() []plan {
	starters := []starter{bySource, byTarget, byNode}
	list := make([]plan, o.Moves)
	for i := range list {
		p := plan{by: starters[i/2%3], early: (i+i/6)%2 == 1, from: i % 2, to: 1 - i%2}
		switch o.Break {
		case BreakCounters: // packets between the stage and the freeze are what shows it
			p.by, p.early = starters[i%3], true
		case BreakCertificate: // no move succeeds, so all begin at the same gateway
			p = plan{by: starters[i%3], to: 1}
		}
		list[i] = p
	}
	return list
}
