package cxtp

import (
	"cmp"
	"slices"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// offer is a stage as it came, with the peer's policy and our own request that
// it answers, if there was one.
type offer struct {
	peer    *Peer
	data    *CTD
	control Control
	request *request
	clash   func(Claims) bool // does it overlap another session here?
	plain   bool              // it came without a control block, and control is ours
	absent  []ContextStatus   // of a plain one: what must not come so
}

// welcomes reports whether a stage will be examined, now or later.
func (s *Session) welcomes(e Epoch) bool {
	switch s.state {
	case stateNone, stateMoved, stateHeld, stateRefusing, stateDiscarding:
		return e > s.epoch
	}
	return false
}

// postpone keeps a stage until the older attempt is gone: the latest of several,
// with the request that any of them answered. It outlives the receive buffer.
func (s *Session) postpone(o *offer) {
	older := s.later
	if older == nil || o.control.Epoch > older.control.Epoch {
		data := *o.data
		data.Key = secret.Clone(data.Key.Bytes())
		data.Blocks = cloned(data.Blocks)
		s.later = o
		s.later.data = &data
	}
	if older != nil {
		s.later.request = cmp.Or(s.later.request, older.request, o.request)
	}
	if older != nil && older != s.later {
		older.wipe()
	}
}

// wipe clears a postponed stage that is done with.
func (o *offer) wipe() {
	o.data.Key.Wipe()
	wipe(o.data.Blocks)
}

// cloned copies blocks that alias a received message.
func cloned(blocks []CDB) []CDB {
	out := slices.Clone(blocks)
	for i := range out {
		out[i].Data = slices.Clone(out[i].Data)
	}
	return out
}
