package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/ikev2"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// notice is what the agent itself has to say to a client: requests of which the last is
// to be answered.
type notice struct {
	local, remote netip.AddrPort
	last          *ikev2.Message
	datagrams     [][]byte // sealed once: what is repeated is these octets
}

// speaker is the IKE SA in use, with its keys, which the caller wipes.
func (l *lineage) speaker() (*ikev2.SA, error) {
	a := l.current().add
	sa := &ikev2.SA{
		SPIi: a.SA.SPIi, SPIr: a.SA.SPIr, Initiator: a.SA.Initiator, PRF: a.Proposal.PRF,
		Protection: ikev2.Protection{Encryption: a.Proposal.Encr, Bits: a.Proposal.EncrBits, Integrity: a.Proposal.Integ},
	}
	in := ikev2.Inputs{Ni: a.NonceI, Nr: a.NonceR, Secrets: []secret.Key{a.Secret}}
	if !a.AddSecret.IsZero() {
		in.Secrets = append(in.Secrets, a.AddSecret)
	}
	for _, f := range l.current().further {
		in.Secrets = append(in.Secrets, f.Secret)
	}
	if a.OldSKd.IsZero() {
		return sa, sa.Derive(in)
	}
	return sa, sa.Rekey(ikev2.Predecessor{PRF: a.OldPRF, D: a.OldSKd, Expands: true}, in)
}

// notice makes so many requests, from a message ID on: empty ones, unless the client is
// to be told of this gateway's address. Whoever initiated the first IKE SA decides
// about addresses.
func (l *lineage) notice(id, count uint32, moves bool) (*notice, error) {
	sa, err := l.speaker()
	defer sa.Keys.Wipe()
	if err != nil {
		return nil, err
	}
	u := &l.update
	n := &notice{local: u.LocalAddr, remote: u.RemoteAddr}
	for ; count > 0; id, count = id+1, count-1 {
		switch {
		case !moves:
			n.last = &ikev2.Message{Exchange: ikev2.Informational, ID: id}
		case u.Conditions != nil && *u.Conditions&ha.CondOriginalInit != 0:
			n.last = sa.AddressUpdate(id, u.LocalAddr, u.RemoteAddr)
		default:
			n.last = ikev2.AddressNotice(id)
			n.last.AddCookie()
		}
		datagram, err := sa.Seal(n.last)
		if err != nil {
			return nil, err
		}
		n.datagrams = append(n.datagrams, datagram)
	}
	return n, nil
}

// canFollow checks that a client which has another gateway address here can be told
// of that, and that a NAT in front of it lets this gateway in.
func (l *lineage) canFollow(ctx context.Context, c *ikectx.Session) error {
	if _, err := l.notice(0, 1, true); err != nil {
		return refuse(cxtp.StatusImmobile, "%v cannot be told that its gateway is at %s now, which is not %s: %w", l, c.Local, c.Before, err)
	}
	if c.NAT&ikectx.NATRemote == 0 {
		return nil
	}
	p, err := openPath(c.Local, c.Remote)
	if err != nil {
		return err
	}
	defer p.Close()
	const patience = time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := reach(ctx, p); err != nil {
		return refuse(cxtp.StatusImmobile, "%v is behind a NAT that lets nothing in from %s: it can only go to gateways that share its gateway's address %s: %w", l, c.Local, c.Before, err)
	}
	return nil
}

// Follow returns when a client sends to this gateway: at once, unless it had to be
// told of another gateway address, and has not confirmed that. A strongSwan that
// has answered has changed the addresses of its SAs before. A client that was taken
// over has to have answered, too.
func (a *Agent) Follow(ctx context.Context, id cxtp.SessionID) error {
	s, n, sa, err := a.untold(id)
	if n == nil {
		return nil
	}
	defer sa.Keys.Wipe()
	if err != nil {
		return err
	}
	p, err := openPath(n.local, n.remote)
	if err != nil {
		return err
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := n.tell(ctx, p, sa); err != nil {
		return s.unanswered(n, err)
	}
	a.mu.Lock()
	s.notice = nil
	a.mu.Unlock()
	if s.inherited {
		a.renew(ctx, s)
	}
	return nil
}

// untold is what a client is to be told, and the IKE SA to understand its answer.
func (a *Agent) untold(id cxtp.SessionID) (*session, *notice, *ikev2.SA, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[id]
	if s == nil || s.notice == nil {
		return nil, nil, nil, nil
	}
	sa, err := s.l.speaker()
	return s, s.notice, sa, err
}

// tell repeats a notice until the client has answered the last of it, or what charon
// has asked after it: that it takes only when it has had the notice, and it does not
// answer that any more then.
func (n *notice) tell(ctx context.Context, conn net.Conn, sa *ikev2.SA) error {
	return repeat(ctx, conn, n.datagrams, func(datagram []byte) (bool, error) {
		response, err := sa.Open(datagram)
		if err != nil {
			return false, nil // nobody knows who it is from
		}
		if response.Response && (response.ID > n.last.ID || response.ID == n.last.ID && len(n.last.Payloads) == 0) {
			return true, nil
		}
		err = n.last.Check(response)
		return !errors.Is(err, ikev2.ErrOtherExchange), err
	})
}

// reach waits for any answer of a client.
func reach(ctx context.Context, conn net.Conn) error {
	p := ikev2.NewProbe()
	return repeat(ctx, conn, [][]byte{p.Datagram()}, func(datagram []byte) (bool, error) { return p.AnsweredBy(datagram), nil })
}

// repeat sends messages until something comes that ends it, or until ctx does.
func repeat(ctx context.Context, conn net.Conn, messages [][]byte, ends func([]byte) (bool, error)) error {
	const first, longest = 100 * time.Millisecond, 2 * time.Second
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	buffer := make([]byte, 1<<16)
	for wait := first; ; wait = min(2*wait, longest) {
		var err error
		for _, m := range messages {
			_, failed := conn.Write(m)
			err = errors.Join(err, failed)
		}
		if err == nil {
			err = conn.SetReadDeadline(time.Now().Add(wait))
		}
		for err == nil {
			var n int
			if n, err = conn.Read(buffer); err != nil {
				break
			}
			if over, result := ends(buffer[:n]); over {
				return result
			}
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("no answer: %w", ctx.Err())
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		}
	}
}
