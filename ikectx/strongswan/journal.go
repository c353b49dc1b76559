package strongswan

import (
	"fmt"
	"time"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// journal is what the ha plugin has told about the IKE SAs of its gateway. It has
// keys, so it is in memory alone.
type journal struct {
	lineages map[ha.SAID]*lineage // by the IKE SA in use
	// rekeyed are IKE SAs whose successor has been told of and that have not been
	// deleted yet, by the successor: until then the old one is in use.
	rekeyed map[ha.SAID]*lineage
	// half are IKE SAs that are not authenticated yet.
	half map[ha.SAID]*generation
}

// maxHalfOpen bounds what clients can make a journal remember that never
// authenticate: charon says nothing when it forgets them.
const maxHalfOpen = 4096

func newJournal() *journal {
	return &journal{lineages: map[ha.SAID]*lineage{}, rekeyed: map[ha.SAID]*lineage{}, half: map[ha.SAID]*generation{}}
}

// change is what a message did to a lineage.
type change uint8

const (
	nothing   change = iota
	moved            // message IDs, addresses: what an import reads when it begins
	completed        // a client is there
	altered          // other SAs than before
	ended            // the client is gone
)

// hear takes a message, which is the journal's from then on. The lineage is that
// which it was about, nil where there is none.
func (j *journal) hear(m ha.Message, now time.Time) (*lineage, change, error) {
	if !m.Unread.IsZero() {
		defer m.Wipe()
		return nil, nothing, fmt.Errorf("a part of it is not understood: %v", m)
	}
	switch b := m.Body.(type) {
	case *ha.IKEAdd:
		return j.ikeAdd(b, now)
	case *ha.IKEUpdate:
		return j.ikeUpdate(b)
	case *ha.MessageID:
		return j.messageID(b)
	case *ha.IKEDelete:
		return j.ikeDelete(b)
	case *ha.ChildAdd:
		return j.childAdd(b, now)
	case *ha.ChildDelete:
		if l := j.find(b.SA); l != nil && l.dropChild(b.InboundSPI) {
			return l, altered, nil
		}
	}
	return nil, nothing, nil
}

// find is the lineage that an IKE SA belongs to: as the one in use, or as its
// successor.
func (j *journal) find(id ha.SAID) *lineage {
	if l := j.lineages[id]; l != nil {
		return l
	}
	return j.rekeyed[id]
}

func (j *journal) ikeAdd(b *ha.IKEAdd, now time.Time) (*lineage, change, error) {
	if b.SA.IKEVersion != 2 {
		(ha.Message{Body: b}).Wipe()
		return nil, nothing, fmt.Errorf("%v is of IKE version %d: only IKEv2 can be moved", b.SA, b.SA.IKEVersion)
	}
	if b.Further() {
		if g := j.generation(b.SA); g != nil {
			g.further = append(g.further, b)
		}
		return nil, nothing, nil
	}
	g := generation{number: 1, add: b, since: now}
	old := j.lineages[b.Rekeyed]
	if old == nil {
		if b.Rekeyed != (ha.SAID{}) {
			g.number = 2 // what came before it was told to an agent that is gone
		}
		j.keepHalf(&g)
		return nil, nothing, nil
	}
	if other := j.successor(old); other != (ha.SAID{}) {
		delete(j.rekeyed, other) // both sides rekeyed at once: the later one is told of last
	}
	g.number = old.current().number + 1
	j.half[b.SA], j.rekeyed[b.SA] = &g, old
	return old, altered, nil
}

// keepHalf remembers an IKE SA that has begun, in place of the oldest if there
// are too many.
func (j *journal) keepHalf(g *generation) {
	if len(j.half) >= maxHalfOpen {
		oldest := g
		for _, other := range j.half {
			if other.since.Before(oldest.since) && j.rekeyed[other.add.SA] == nil {
				oldest = other
			}
		}
		oldest.wipe()
		delete(j.half, oldest.add.SA)
	}
	j.half[g.add.SA] = g
}

// generation finds the generation that an IKE SA is.
func (j *journal) generation(id ha.SAID) *generation {
	if g := j.half[id]; g != nil {
		return g
	}
	if l := j.lineages[id]; l != nil {
		return l.current()
	}
	return nil
}

// successor is the IKE SA that is to replace the one in use; zero = none.
func (j *journal) successor(l *lineage) ha.SAID {
	for id, of := range j.rekeyed {
		if of == l {
			return id
		}
	}
	return ha.SAID{}
}

// ikeUpdate completes an IKE SA: a new one, or the successor of another.
func (j *journal) ikeUpdate(b *ha.IKEUpdate) (*lineage, change, error) {
	if l := j.lineages[b.SA]; l != nil {
		l.revise(b)
		return l, moved, nil
	}
	g := j.half[b.SA]
	if g == nil {
		return nil, nothing, fmt.Errorf("%v is updated and was not announced: what came before it is lost", b.SA)
	}
	delete(j.half, b.SA)
	l := j.rekeyed[b.SA]
	if l == nil {
		l = &lineage{}
	} else {
		delete(j.rekeyed, b.SA)
		delete(j.lineages, l.id())
	}
	l.generations = append(l.generations, *g)
	l.revise(b)
	l.prune()
	j.lineages[b.SA] = l
	if g.number > 1 {
		return l, altered, nil
	}
	return l, nothing, nil
}

func (j *journal) messageID(b *ha.MessageID) (*lineage, change, error) {
	g := j.generation(b.SA)
	if g == nil {
		return nil, nothing, nil // of one that is deleted, or was never announced
	}
	if b.Initiator {
		g.request = b.Next
	} else {
		g.expected = b.Next
	}
	return j.lineages[b.SA], moved, nil
}

func (j *journal) ikeDelete(b *ha.IKEDelete) (*lineage, change, error) {
	if g := j.half[b.SA]; g != nil {
		g.wipe()
		delete(j.half, b.SA)
		delete(j.rekeyed, b.SA)
		return nil, nothing, nil
	}
	l := j.lineages[b.SA]
	if l == nil {
		return nil, nothing, nil
	}
	if j.successor(l) != (ha.SAID{}) {
		return l, moved, nil // the update that follows is of the one in its place
	}
	delete(j.lineages, b.SA)
	l.wipe()
	return l, ended, nil
}

func (j *journal) childAdd(b *ha.ChildAdd, now time.Time) (*lineage, change, error) {
	l := j.lineages[b.SA]
	if l == nil {
		(ha.Message{Body: b}).Wipe()
		return nil, nothing, fmt.Errorf("a CHILD SA of %v, which was not announced: what came before it is lost", b.SA)
	}
	was := l.complete()
	l.addChild(child{add: b, generation: l.current().number, since: now})
	switch {
	case was:
		return l, altered, nil
	case l.complete():
		return l, completed, nil
	}
	return l, nothing, nil
}
