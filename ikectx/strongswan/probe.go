package strongswan

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// probeTime is how long charon may take for each step of a probe.
const probeTime = 2 * time.Second

// probe makes sure that charon hears the agent, and that both divide clients into
// segments alike. Neither can be asked of charon. So an IKE SA that is nobody's is
// imported, made active as a client's would be, and removed. It goes to the last
// segment, by an address that is in the last one whatever their number: where the
// numbers differ, it stays passive.
func (a *Agent) probe(ctx context.Context) error {
	all, err := a.charon.Connections(ctx)
	switch {
	case err != nil:
		return err
	case len(all) == 0:
		return errors.New("charon has no connection: swanctl --load-all loads what swanctl.conf has")
	}
	last := addressIn(maxSegments, maxSegments)
	return a.asNobody(ctx, slices.Min(slices.Collect(maps.Keys(all))), last, func(ctx context.Context, id ha.SAID) error { return a.try(ctx, id, last) })
}

// asNobody does something with an IKE SA that is nobody's: it is imported for that, at
// an address, and removed.
func (a *Agent) asNobody(ctx context.Context, connection string, at netip.AddrPort, what func(context.Context, ha.SAID) error) error {
	id := ha.SAID{IKEVersion: 2, SPIi: randomSPI(), SPIr: randomSPI()}
	if err := a.plugin.send(nobody(id, connection, at)...); err != nil {
		return err
	}
	defer a.charon.forget(id)
	once, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	_, err := a.charon.await(once, id, func(sa IKESA) bool { return sa.State == passive })
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("charon does not hear the agent: set charon.plugins.ha.local = %s and remote = %s, or correct strongswan.charon and strongswan.agent in the configuration of cxtpd, and restart what you have changed",
			a.cfg.Charon, a.cfg.Agent)
	}
	if err == nil {
		err = what(ctx, id)
	}
	return errors.Join(err, a.delete(ctx, id))
}

// try makes the IKE SA of a probe active.
func (a *Agent) try(ctx context.Context, id ha.SAID, last netip.AddrPort) error {
	once, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	_, err := a.until(once, id, func(sa IKESA) bool { return sa.State == established },
		at(id, last), makePassive(a.segments), makeActive(a.segments))
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("charon.plugins.ha.segment_count is not %d, which strongswan.segments in the configuration of cxtpd is: make them equal, and restart what you have changed", a.segments)
	}
	return err
}

// delete removes an IKE SA from charon, and waits until it is gone.
func (a *Agent) delete(ctx context.Context, id ha.SAID) error {
	return a.plugin.tell(ctx, func(ctx context.Context) error { return a.charon.gone(ctx, id) }, &ha.IKEDelete{SA: id})
}

// nobody is what charon is told of an IKE SA that is nobody's.
func nobody(id ha.SAID, connection string, at netip.AddrPort) []ha.Body {
	const aesCBC, keyBits, sha256, x25519 = 12, 128, 5, 31 // transforms that every charon has
	const sha256MAC = 12
	name := ha.Identity{Type: ipsecctx.IDFQDN, Data: []byte("probe.invalid")}
	conditions, extensions := ha.CondAuthenticated, ha.Extensions(0)
	return []ha.Body{
		&ha.IKEAdd{
			SA: id, RemoteAddr: at, NonceI: random(32), NonceR: random(32), Secret: secret.New(random(32)),
			Proposal: ha.Proposal{Encr: aesCBC, EncrBits: keyBits, Integ: sha256MAC, PRF: sha256, KE: x25519},
		},
		&ha.IKEUpdate{
			SA: id, LocalID: name, RemoteID: name, LocalAddr: at, RemoteAddr: at, ConfigName: connection,
			Conditions: &conditions, Extensions: &extensions,
		},
	}
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func randomSPI() uint64 { return binary.BigEndian.Uint64(random(8)) | 1 }

// ready refuses while charon is not there, or not as a move needs it.
func (a *Agent) ready() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.seen.problem != "" {
		return refuse(cxtp.StatusDaemon, "%s", a.seen.problem)
	}
	return nil
}
