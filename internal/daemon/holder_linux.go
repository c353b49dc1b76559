package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// How a shared address comes to another gateway, and what is done about the
// kernel's filters, in time.
const (
	askEvery  = time.Second    // of whether a gift was taken; doubles
	askAtMost = time.Minute    // and no more seldom
	noticed   = time.Minute    // after which neighbours know where an address is
	refresh   = time.Minute    // between two looks at where the peers are
	idleCheck = time.Hour      // between two looks at what is forwarded in vain
	idleTime  = 24 * time.Hour // after which that ends
)

// announceAfter is when an announcement is repeated.
var announceAfter = []time.Duration{time.Second, 3 * time.Second}

// gift is an address that was given to another gateway.
type gift struct {
	asked time.Time     // last
	wait  time.Duration // until the next time
	letGo time.Time     // the target has it; zero = not known yet
}

// announcement is one that is owed.
type announcement struct {
	address netip.Addr
	at      time.Time
}

// claim is the address of a session whose gateway is gone, or gave it and does not
// answer for it.
type claim struct {
	address netip.Addr
	from    cxtp.RouterID // that is gone; "" = none
}

func (s *sharing) announceAgain(a netip.Addr) {
	s.taken = slices.DeleteFunc(s.taken, func(an announcement) bool { return an.address == a })
	for _, after := range announceAfter {
		s.taken = append(s.taken, announcement{a, time.Now().Add(after)})
	}
	s.rouse()
}

// run works until ctx ends.
func (s *sharing) run(ctx context.Context) error {
	if s == nil {
		return nil
	}
	var refreshed, checked time.Time
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-timer.C:
		}
		now := time.Now()
		if now.Sub(refreshed) >= refresh {
			refreshed = now
			if err := s.forwards.Refresh(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("a peer is not found on the link to the nodes: what comes for sessions there would be lost", "error", err)
			}
		}
		if checked.IsZero() {
			checked = now
		} else if now.Sub(checked) >= idleCheck {
			checked = now
			s.dropIdle()
		}
		s.concede(ctx)
		s.makeClaims(ctx)
		next := refreshed.Add(refresh)
		for _, at := range []time.Time{s.announceDue(), s.followGifts(ctx)} {
			if !at.IsZero() && at.Before(next) {
				next = at
			}
		}
		timer.Reset(max(time.Until(next), 0))
	}
}

// concede lets go of the addresses in doubt for which another gateway answers, unless a
// session here needs them: both answer then.
func (s *sharing) concede(ctx context.Context) {
	s.mu.Lock()
	doubts := s.doubts
	s.doubts = nil
	s.mu.Unlock()
	for _, a := range doubts {
		if err := s.concedeOne(ctx, a); err != nil && ctx.Err() == nil {
			s.log.Error("a shared address may be at two gateways", "address", a, "error", err)
		}
	}
}

func (s *sharing) concedeOne(ctx context.Context, a netip.Addr) error {
	if held, err := s.addresses.Holds(a); err != nil || !held {
		return err
	}
	who, err := s.addresses.Ask(ctx, a)
	if err != nil || len(who) == 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.needed(a) {
		return fmt.Errorf("%s answers for it too, and sessions here need it: hand them over, or end them there", who[0])
	}
	s.log.Warn("another gateway has taken a shared address, and keeps it", "address", a, "at", who[0].String())
	return s.addresses.Give(a)
}

// makeClaims takes the addresses that are claimed, unless another gateway has them,
// beside the one that is gone.
func (s *sharing) makeClaims(ctx context.Context) {
	s.mu.Lock()
	claims := s.claims
	s.claims = nil
	s.mu.Unlock()
	for _, c := range claims {
		if _, given := s.forwards.Get(c.address.String()); !given {
			if held, err := s.addresses.Holds(c.address); err == nil && held {
				continue
			}
		}
		answers, err := s.addresses.Ask(ctx, c.address)
		others := foreign(answers, s.forwards.Hardware(string(c.from)))
		s.mu.Lock()
		switch {
		case err != nil:
			s.log.Error("a shared address was not taken", "address", c.address, "error", err)
		case len(others) > 0:
			s.log.Info("a shared address stays where it is", "address", c.address, "at", others[0].String())
		default:
			s.takeNow(c.address)
		}
		s.mu.Unlock()
	}
}

// announceDue repeats announcements whose time has come, and returns when the next
// is due.
func (s *sharing) announceDue() (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.taken = slices.DeleteFunc(s.taken, func(an announcement) bool {
		if an.at.After(now) {
			if next.IsZero() || an.at.Before(next) {
				next = an.at
			}
			return false
		}
		if held, err := s.addresses.Holds(an.address); err != nil || !held {
			return true // given away meanwhile
		}
		if err := s.addresses.Announce(an.address); err != nil {
			s.log.Warn("neighbours were not told of a shared address", "address", an.address, "error", err)
		}
		return true
	})
	return next
}

// followGifts lets go of addresses that their new holders answer for, and later
// ends what was forwarded of them. It returns when to look again.
func (s *sharing) followGifts(ctx context.Context) (next time.Time) {
	for _, a := range s.addresses.All() {
		at, err := s.followGift(ctx, a)
		if err != nil && ctx.Err() == nil {
			s.log.Error("a shared address is not let go of", "address", a, "error", err)
		}
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next
}

func (s *sharing) followGift(ctx context.Context, a netip.Addr) (next time.Time, err error) {
	g, to, due := s.dueGift(a)
	switch {
	case g == nil:
		return due, nil
	case !g.letGo.IsZero():
		return time.Time{}, s.forgetGift(a)
	}
	held, err := s.addresses.Holds(a)
	if err != nil {
		return due, err
	}
	if held {
		answers, err := s.addresses.Ask(ctx, a)
		if err != nil || !slices.ContainsFunc(answers, func(h net.HardwareAddr) bool { return bytes.Equal(h, to) }) {
			return due, err
		}
	}
	return s.letGo(a, g)
}

// dueGift returns a gift of which it is time to look whether it was taken, or to
// forget it, where its new holder is, and when the next time is.
func (s *sharing) dueGift(a netip.Addr) (due *gift, to net.HardwareAddr, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, now := s.gifts[a], time.Now()
	fw, given := s.forwards.Get(a.String())
	if g == nil || !given {
		return nil, nil, time.Time{} // taken back
	}
	next = g.asked.Add(g.wait)
	if !g.letGo.IsZero() {
		next = g.letGo.Add(noticed)
	}
	if now.Before(next) {
		return nil, nil, next
	}
	g.asked, g.wait = now, min(max(2*g.wait, askEvery), askAtMost)
	return g, s.forwards.Hardware(fw.To), now.Add(g.wait)
}

// letGo ends this gateway's part as the holder, unless it has taken the address back.
func (s *sharing) letGo(a netip.Addr, g *gift) (next time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gifts[a] != g {
		return time.Time{}, nil
	}
	if err := s.addresses.Give(a); err != nil {
		return g.asked.Add(g.wait), err
	}
	g.letGo = time.Now()
	s.log.Info("a shared address was handed over", "address", a)
	return g.letGo.Add(noticed), nil
}

// forgetGift ends what was forwarded of an address to its new holder.
func (s *sharing) forgetGift(a netip.Addr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	gift, given := s.forwards.Get(a.String())
	if !given {
		return nil
	}
	delete(s.gifts, a)
	errs := []error{s.forwards.Stop(a.String())}
	for _, fw := range s.forwards.List() {
		if fw.To == gift.To && concerns(fw, a) {
			errs = append(errs, s.forwards.Stop(fw.ID))
		}
	}
	return errors.Join(errs...)
}

// dropIdle ends what was forwarded in vain: its session has ended elsewhere.
func (s *sharing) dropIdle() {
	ids, err := s.forwards.Idle(idleTime)
	if err != nil {
		s.log.Warn("it is not known what is forwarded in vain", "error", err)
	}
	for _, id := range ids {
		fw, there := s.forwards.Get(id)
		if _, isGift := giftOf(fw); !there || isGift {
			continue
		}
		if err := s.forwards.Stop(id); err != nil {
			s.log.Warn("what was forwarded in vain still is", "session", id, "error", err)
		}
	}
}
