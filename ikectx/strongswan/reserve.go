package strongswan

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// A pool of the ha plugin takes the inner address of a client for free when its IKE SA
// ends, also when the client has left for another gateway and has it there. But a pool
// counts no owners, it is a row of bits. So before the IKE SA of a client that has left
// is removed, charon is told that it has another address, which no pool has: what
// ends then frees nothing, and the client's address stays taken until charon ends. The
// next charon is told by an IKE SA that is nobody's and is removed in the same way;
// and one that is removed with an address gives that back.

// noAddress is in no pool.
var noAddress = []netip.Addr{madeUp.Addr()}

// give tells charon that the inner addresses of an IKE SA are others. They are taken
// then, and those that it had before as well.
func (a *Agent) give(ctx context.Context, id ha.SAID, addrs []netip.Addr) error {
	_, err := a.until(ctx, id, func(sa IKESA) bool { return slices.Equal(sa.Virtual, addrs) }, &ha.IKEUpdate{SA: id, RemoteVIPs: addrs})
	return err
}

// depart has a client's inner addresses stay taken, if it is or may be elsewhere, when
// its IKE SA is removed.
func (a *Agent) depart(ctx context.Context, s *session) error {
	a.mu.Lock()
	id, orphan, frozen := s.l.id(), s.orphan, s.phase == ipsecctx.Frozen
	connection, addrs := s.l.update.ConfigName, s.l.update.RemoteVIPs
	a.mu.Unlock()
	if len(addrs) == 0 || !frozen && !a.departed.any(addrs) {
		return nil
	}
	if err := a.departed.add(connection, addrs); err != nil {
		a.log.Warn("an inner address could be given away after a restart while its client is elsewhere", "client", s.l.String(), "error", err)
	}
	if orphan {
		return nil // the next charon is told when it comes
	}
	if err := a.give(ctx, id, noAddress); !errors.Is(err, ErrUnknownSA) {
		return err
	}
	return nil
}

// arrived notes that a client is here, whose IKE SA has its addresses.
func (a *Agent) arrived(s *session) {
	a.mu.Lock()
	addrs := s.l.update.RemoteVIPs
	a.mu.Unlock()
	if err := a.departed.drop(addrs...); err != nil {
		a.log.Warn("an inner address may stay reserved after its client has gone", "client", s.l.String(), "error", err)
	}
}

// addressesAtOnce is how many addresses of nobody's IKE SA charon is told at once.
const addressesAtOnce = 64

// reserve tells a charon of the addresses of clients that are elsewhere.
func (a *Agent) reserve(ctx context.Context) error {
	away := a.departed.list()
	if len(away) == 0 {
		return nil
	}
	connections, err := a.charon.Connections(ctx)
	if err != nil {
		return err
	}
	for connection, addrs := range away {
		if _, ok := connections[connection]; !ok {
			a.log.Warn("charon has no such connection any more: inner addresses of its clients that are elsewhere are not reserved", "connection", connection, "count", len(addrs))
			continue
		}
		if err := a.asNobody(ctx, connection, a.park(), func(ctx context.Context, id ha.SAID) error {
			for some := range slices.Chunk(addrs, addressesAtOnce) {
				if err := a.give(ctx, id, some); err != nil {
					return err
				}
			}
			return a.give(ctx, id, noAddress)
		}); err != nil {
			return err
		}
	}
	return nil
}

// reviewEvery is how often it is asked who has the addresses of clients that are
// elsewhere.
const reviewEvery = 5 * time.Minute

// review gives addresses back to the pools whose clients are nowhere any more, until
// ctx ends.
func (a *Agent) review(ctx context.Context) error {
	if a.cfg.Answered == nil {
		return nil
	}
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for connection, addrs := range a.departed.list() {
			for _, addr := range addrs {
				if err := a.ask(ctx, connection, addr); err != nil && ctx.Err() == nil {
					a.log.Warn("an inner address stays reserved, whether it is still a client's or not", "address", addr, "error", err)
				}
			}
		}
	}
}

// ask gives an address back if it is nobody's. Nobody is told to take one in meanwhile
// who could have it.
func (a *Agent) ask(ctx context.Context, connection string, addr netip.Addr) error {
	answered, err := a.cfg.Answered(ctx, addr)
	if err != nil || !a.departed.asked(addr, answered) {
		return err
	}
	if err := a.imports.Acquire(ctx, importsAtOnce); err != nil {
		return err
	}
	defer a.imports.Release(importsAtOnce)
	if a.has(addr) {
		return nil // it is staged here, and nobody has it yet
	}
	if err := a.asNobody(ctx, connection, a.park(), func(ctx context.Context, id ha.SAID) error {
		return a.give(ctx, id, []netip.Addr{addr})
	}); err != nil {
		return err
	}
	a.log.Info("an inner address is free again: its client is nowhere any more", "address", addr)
	return a.departed.drop(addr)
}

// has reports whether a client here has an inner address.
func (a *Agent) has(addr netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range a.sessions {
		if slices.Contains(s.l.update.RemoteVIPs, addr) {
			return true
		}
	}
	return false
}
