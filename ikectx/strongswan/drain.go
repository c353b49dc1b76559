package strongswan

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/strongswan/govici/vici"
)

// Drain closes charon to new clients, or opens it again. Its pools give addresses
// of active segments alone, so with all of them passive a client that asks for one
// is refused. That would make those passive too that are still here: so it is done
// within a second of the last one's leave, and a client that comes before is there
// like any other. Clients that ask for no address are not kept out.
func (a *Agent) Drain(closed bool) {
	a.mu.Lock()
	a.drained, a.shut = closed, false
	a.mu.Unlock()
	if closed {
		return
	}
	if err := a.plugin.send(makeActive(0)); err != nil {
		a.log.Info("charon takes clients when it is there", "error", err)
	}
}

// keepShut closes charon when it is to be and has no clients: none that the agent
// knows, and none that charon is yet to tell of. From then on it ends the IKE SAs
// of those that got no address: they would keep them for nothing, and not try
// again when the gateway takes clients.
func (a *Agent) keepShut(ctx context.Context) error {
	if !a.vacant() {
		return nil
	}
	all, err := a.charon.IKESAs(ctx, 0)
	if err != nil || slices.ContainsFunc(all, func(sa IKESA) bool { return len(sa.Children) > 0 }) {
		return err
	}
	a.mu.Lock()
	was := a.shut
	a.shut = a.drained && len(a.sessions) == 0
	is := a.shut
	a.mu.Unlock()
	switch {
	case !is:
		return nil // somebody has come, or it is not to be any more
	case !was:
		return a.plugin.send(makePassive(0))
	}
	for _, sa := range all {
		if sa.State == established && sa.settled() {
			err = errors.Join(err, a.charon.terminate(ctx, sa.Unique))
		}
	}
	return err
}

// vacant reports whether no new clients are wanted, and none is here.
func (a *Agent) vacant() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.drained && len(a.sessions) == 0
}

// terminate has charon end an IKE SA, and tell the client so. It waits for neither.
func (c *Charon) terminate(ctx context.Context, unique uint32) error {
	m := vici.NewMessage()
	err := errors.Join(m.Set("ike-id", strconv.FormatUint(uint64(unique), 10)), m.Set("timeout", "-1"))
	if err == nil {
		_, err = c.ask(ctx, "terminate", "", m)
	}
	return err
}
