package demo

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/agent"
)

// serve gives the node a new session, at a gateway, for as long as work goes on.
// What becomes of the session after that is the gateways' business.
func (d *demo) serve(ctx context.Context, at, moves int, work func(context.Context) error) error {
	keys := newAssociation(d.place, len(d.sessions), moves)
	d.keys, d.sessions = keys, append(d.sessions, keys.id)
	up, down := keys.watched(d.tap.gateways[at], localAddr(d.tap.face))
	if err := d.tap.witness.watch(&up, &down, firstSequence); err != nil {
		return err
	}
	d.tap.begins(at)
	d.host.talkTo(keys.inner, at)
	for _, g := range d.gateways {
		g.follow(keys.id)
	}
	d.ports.release()
	if err := d.makeNode(localAddr(d.tap.sides[at])); err != nil {
		return err
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer d.node.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	running.Go(func() { d.node.run(ctx) })
	agentAt := d.agentAt
	if d.agents != nil {
		agentAt = d.agents.at(agentFace)
	}
	session := keys.installation(d.place, d.gateways[at].Links.Outside, localAddr(d.tap.face), agentAt)
	if err := d.gateways[at].control.AddSession(ctx, session); err != nil {
		return fmt.Errorf("failed to install a session at %s: %w", d.gateways[at].Name, err)
	}
	return work(ctx)
}

// makeNode makes the node with the present session. Its gateway is at remote.
func (d *demo) makeNode(remote netip.AddrPort) error {
	outside, err := listenAt(d.espAt)
	if err != nil {
		return err
	}
	session, dynamic := d.keys.atNode(d.espAt, remote)
	routers := map[netip.Addr]netip.AddrPort{}
	for _, g := range d.gateways {
		routers[g.Router] = g.Found.Node
	}
	own := agent.Config{
		Listen: d.agentAt.String(), Routers: routers, Trace: d.sawAgent,
		Agent: cxtp.AgentConfig{
			Previous: d.keys.previous, Session: d.keys.id,
			Node: cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, Tokens: d.keys.tokens, UpdateKey: d.keys.updateKey},
		},
	}
	if d.opts.Loss > 0 {
		own.Agent.Retry = lossyRetry
	}
	d.node, err = newNode(nodeConfig{
		outside: outside, session: session, dynamic: dynamic, agent: own,
		inner: d.keys.inner, peer: d.place.host, up: d.up, down: d.down, tap: d.tap,
		followed: func(gateway netip.AddrPort, at time.Time) {
			d.saw(event{at: at, where: laneNode, text: "sends to " + d.gatewayAt(gateway)})
		},
	})
	if err != nil {
		outside.Close()
	}
	return err
}

// lossyRetry is CT_REQUEST_RETRY where requests and answers get lost: RFC 4067's
// two seconds, doubled each time, leave no more than four tries.
const lossyRetry = 100 * time.Millisecond

// sawAgent is the node's agent telling what it sends.
func (d *demo) sawAgent(dir, what string, peer netip.AddrPort) {
	if dir == "send" {
		d.saw(event{at: time.Now(), where: laneNode, to: d.gatewayAt(peer), text: what})
	}
}

// traffic runs inner packets both ways while work goes on.
func (d *demo) traffic(ctx context.Context, work func() error) error {
	sending, stop := context.WithCancel(ctx)
	defer stop()
	var senders sync.WaitGroup
	for _, send := range []func(){d.host.send, d.node.send} {
		senders.Go(func() { pace(sending, d.opts.Rate, send) })
	}
	err := work()
	stop()
	senders.Wait()
	return err
}
