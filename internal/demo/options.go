package demo

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Options say what to show.
type Options struct {
	Moves int  // how often the session moves
	Rate  int  // inner packets a second, each way
	IPv6  bool // IPv6 everywhere: loopback, inner packets, addresses in messages
	JSON  bool // one document instead of text
	Port  int  // the first of Ports UDP ports; 0 = any that are free
	Break Break
	Out   io.Writer
}

// Bounds of the options. A session has one block for its token keys, and every
// other move uses one up.
const (
	MaxMoves = 96
	MaxRate  = 20000
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
	case o.Moves < 1 || o.Moves > MaxMoves:
		return fmt.Errorf("--moves %d: write a number from 1 to %d", o.Moves, MaxMoves)
	case o.Rate < 1 || o.Rate > MaxRate:
		return fmt.Errorf("--rate %d: write a number of packets a second from 1 to %d", o.Rate, MaxRate)
	case o.Port != 0 && (o.Port < 1024 || o.Port > 65536-Ports):
		return fmt.Errorf("--port %d: write a number from 1024 to %d, of which %d ports upwards are used, or leave it out", o.Port, 65536-Ports, Ports)
	case o.Break != BreakNothing && !slices.Contains(breaks, string(o.Break)):
		return fmt.Errorf("--break %q: write one of %s", o.Break, strings.Join(breaks, ", "))
	}
	return nil
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
