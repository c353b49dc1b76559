package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// charon makes IKE SAs active or passive by the segment, which follows from the
// client's address. To switch one of them alone, it is told for a moment that the
// client is somewhere else:
//
//	stop:  the client is where it is; it is on the stage; the stage is passive; the client is at the
//	       car park; the stage is active
//	start: the client is on the stage; the stage is passive, then active; the
//	       client is where it is
//
// The stage is a segment. What else is there is passive for less than a
// millisecond, and active again after it. Nothing that is to stay passive may be
// there, or it would be made active too: so all that is passive is at the car
// park, a segment that is never the stage. The messages of a sequence are sent,
// and worked off, one right after the other.
const carPark = 1

// maxSegments is charon's own bound.
const maxSegments = 16

// madeUp is where addresses are that no client has: RFC 1112 section 4.
var madeUp = netip.MustParsePrefix("240.0.0.0/4")

// located reports whether an address is where a client is, and not where charon was
// told that it is for the sake of the segment.
func located(a netip.AddrPort) bool { return !madeUp.Contains(a.Addr()) }

// addressIn is an address in a segment that no client has.
func addressIn(segment, count int) netip.AddrPort {
	for n := uint16(1); ; n++ {
		if a := netip.AddrFrom4([4]byte{240, 0, byte(n >> 8), byte(n)}); ha.Segment(a, count) == segment {
			return netip.AddrPortFrom(a, 4500)
		}
	}
}

// switcher makes single IKE SAs of a charon passive and active.
type switcher struct {
	plugin   *plugin
	charon   *Charon
	segments int
	crowd    func() []netip.Addr // where the clients are that are active
}

// fewest is the segment with the fewest clients: the stage is there.
func (w *switcher) fewest() int {
	crowds := make([]int, w.segments+1)
	for _, a := range w.crowd() {
		crowds[ha.Segment(a, w.segments)]++
	}
	best := carPark + 1
	for segment := best; segment <= w.segments; segment++ {
		if crowds[segment] < crowds[best] {
			best = segment
		}
	}
	return best
}

func (w *switcher) park() netip.AddrPort { return addressIn(carPark, w.segments) }

// The sender's view: what it drops, charon takes. 0 is all segments.
func makePassive(segment int) ha.Body {
	return &ha.Segments{Action: ha.TypeSegmentTake, Numbers: []uint16{uint16(segment)}}
}

func makeActive(segment int) ha.Body {
	return &ha.Segments{Action: ha.TypeSegmentDrop, Numbers: []uint16{uint16(segment)}}
}

func at(id ha.SAID, a netip.AddrPort) ha.Body { return &ha.IKEUpdate{SA: id, RemoteAddr: a} }

// parked tells charon that an IKE SA that is passive is at the car park, and returns
// when it is: what charon was told before is done then.
func (w *switcher) parked(ctx context.Context, id ha.SAID) error {
	park := w.park()
	_, err := w.until(ctx, id, func(sa IKESA) bool { return sa.Remote == park }, at(id, park))
	return err
}

// stop makes an IKE SA passive, whose client is at an address: charon ignores what
// comes for it, and begins nothing. It returns what charon then shows of it: one that
// has begun to be rekeyed is not passive, but at the car park all the same. Whatever
// is not as it should be has to be started. Where the client is, charon is told too:
// what it was told it tells again to an agent that has been restarted.
func (w *switcher) stop(ctx context.Context, id ha.SAID, client netip.AddrPort) (IKESA, error) {
	stage, park := w.fewest(), w.park()
	return w.until(ctx, id, func(sa IKESA) bool { return sa.Remote == park },
		at(id, client), at(id, addressIn(stage, w.segments)), makePassive(stage), at(id, park), makeActive(stage))
}

// start makes an IKE SA active again, whose client is at an address. One that is
// being rekeyed is active.
func (w *switcher) start(ctx context.Context, id ha.SAID, client netip.AddrPort) error {
	stage := w.fewest()
	_, err := w.until(ctx, id, func(sa IKESA) bool { return sa.State != passive && sa.Remote == client },
		at(id, addressIn(stage, w.segments)), makePassive(stage), makeActive(stage), at(id, client))
	return err
}

// until tells a sequence until charon shows its effect, or that it does not have the
// IKE SA.
func (w *switcher) until(ctx context.Context, id ha.SAID, done func(IKESA) bool, sequence ...ha.Body) (sa IKESA, err error) {
	err = w.plugin.tell(ctx, func(ctx context.Context) (err error) {
		if sa, err = w.charon.await(ctx, id, done); errors.Is(err, ErrUnknownSA) {
			return fmt.Errorf("%v: %w", id, ErrUnknownSA) // that time is over as well is no reason to tell it again
		}
		return err
	}, sequence...)
	return sa, err
}
