package daemon_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/daemon"
	"github.com/cxtp/cxtp/transport"
)

// message is one of those that a move takes.
type message struct {
	FromSource bool
	Octets     int
}

// moveMessages moves one session there and back and returns what was sent for a
// move, in order, at its shortest: under load, messages are repeated.
func moveMessages(b *testing.B) (shortest []message) {
	sg := pair(b, trusting, noJournal+"=1")
	adopt(b, sg[0], 1)
	for i := range 10 {
		messages := recordMove(b, sg[i%2], sg[(i+1)%2])
		if i == 0 || len(messages) < len(shortest) {
			shortest = messages
		}
	}
	return shortest
}

func recordMove(b *testing.B, from, to process) []message {
	from.call(b, "Record", true, nil)
	to.call(b, "Record", true, nil)
	from.call(b, "Drain", daemon.DrainRequest{To: cxtp.RouterID(to.name), Sessions: 1, Outstanding: 1}, nil)
	var sent, answered []daemon.Sent
	from.call(b, "Record", false, &sent)
	to.call(b, "Record", false, &answered)
	var messages []message
	for len(sent) > 0 || len(answered) > 0 {
		if len(answered) == 0 || len(sent) > 0 && sent[0].At.Before(answered[0].At) {
			messages, sent = append(messages, message{true, sent[0].Octets}), sent[1:]
		} else {
			messages, answered = append(messages, message{false, answered[0].Octets}), answered[1:]
		}
	}
	return messages
}

// bareEnd is a transport that goes through the messages of a move and has
// nothing to do with them. Its methods are those of [daemon.Driver].
type bareEnd struct {
	daemon.Driver // CPU
	endpoint      *transport.Endpoint
	up            chan struct{} // closed when the association is
	exchange      atomic.Pointer[[]message]
	moves         []chan struct{} // those under way: ended
}

func runBare(ctx context.Context, cfg *config.Config, serve func(any)) error {
	t := &cfg.Transport
	cert, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return errors.New("no certificate of an authority")
	}
	peer := cfg.Peers[0]
	end := &bareEnd{up: make(chan struct{})}
	listening := make(chan struct{})
	end.endpoint, err = transport.Listen(transport.Config{Addr: t.Listen.String(), Certificate: cert, Roots: roots,
		Peers:   []transport.Peer{{Name: peer.Name, Addr: peer.Endpoint, Identity: peer.Identity}},
		Handler: func(from string, msg []byte) { <-listening; end.take(from, msg) },
		Events: func(e transport.Event) {
			if _, ok := e.(transport.PeerUp); ok {
				close(end.up)
			}
		},
	})
	if err != nil {
		return err
	}
	close(listening)
	serve(end)
	<-ctx.Done()
	return end.endpoint.Close()
}

// Learn is told the messages of a move, and waits until the two ends are
// connected.
func (e *bareEnd) Learn(exchange []message, _ *struct{}) error {
	<-e.up
	e.exchange.Store(&exchange)
	return nil
}

// Drain goes through moves.
func (e *bareEnd) Drain(q daemon.DrainRequest, result *daemon.Drained) error {
	result.Moves = make([]time.Duration, q.Sessions)
	e.moves = make([]chan struct{}, q.Sessions)
	for i := range e.moves {
		e.moves[i] = make(chan struct{})
	}
	began := time.Now()
	err := daemon.Parallel(q.Sessions, q.Outstanding, func(i int) error {
		asked := time.Now()
		if err := e.send(string(q.To), 0, uint32(i)); err != nil {
			return err
		}
		<-e.moves[i]
		result.Moves[i] = time.Since(asked)
		return nil
	})
	result.Whole = time.Since(began)
	return err
}

// take goes on with an exchange whose last message so far is msg.
func (e *bareEnd) take(from string, msg []byte) {
	place, move := int(msg[0]), binary.BigEndian.Uint32(msg[1:])
	exchange := *e.exchange.Load()
	switch next := place + 1; {
	case next == len(exchange):
		close(e.moves[move])
	case exchange[next].FromSource != exchange[place].FromSource:
		if err := e.send(from, next, move); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// send sends the message at a place of an exchange, and those that follow it
// from the same end.
func (e *bareEnd) send(to string, place int, move uint32) error {
	exchange := *e.exchange.Load()
	for i := place; i < len(exchange) && exchange[i].FromSource == exchange[place].FromSource; i++ {
		msg := make([]byte, exchange[i].Octets)
		msg[0] = byte(i)
		binary.BigEndian.PutUint32(msg[1:], move)
		if err := e.endpoint.Send(to, msg, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}
