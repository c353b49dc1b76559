package xfrm

import (
	"context"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// queueLength is the kernel's: packets that wait at a policy.
const queueLength = 100

// fake is a kernel in memory, with the semantics that were measured on a real
// one. Packets are sent and received by send and receive.
type fake struct {
	mu       sync.Mutex
	states   map[uapi.StateID]*uapi.State
	policies map[policyKey]*fakePolicy
	lacks    map[string]bool // algorithms
	events   chan uapi.Event
	judge    *judge
	clock    uint64 // seconds since 1970

	calls int                                        // requests so far
	fault func(call int, r uapi.Request) (err error) // nil = none; before the request
	lose  func(call int, r uapi.Request) bool        // the event of a deletion
	stray func(call int, r uapi.Request)             // runs before a request, unlocked: traffic
}

type fakePolicy struct {
	uapi.Policy
	queue []packet
}

// packet is an inner packet: from, to, and what it is.
type packet struct {
	src, dst netip.Addr
	n        int
}

// sent is one packet on the outer wire.
type sent struct {
	spi uint32
	seq uint64
	packet
}

// judge sees the wires of all kernels: it knows what the laws forbid.
type judge struct {
	used    map[string]bool // key and number
	reused  []string
	clear   []packet
	wire    []sent
	dropped []packet
}

func newJudge() *judge { return &judge{used: map[string]bool{}} }

func newFake(w *judge) *fake {
	return &fake{states: map[uapi.StateID]*uapi.State{}, policies: map[policyKey]*fakePolicy{}, lacks: map[string]bool{},
		events: make(chan uapi.Event, 1000), judge: w, clock: 1_800_000_000}
}

func (k *fake) Batch(ctx context.Context, requests []uapi.Request) ([]uapi.Result, error) {
	results := make([]uapi.Result, 0, len(requests))
	for _, r := range requests {
		k.mu.Lock()
		k.calls++
		call, stray := k.calls, k.stray
		k.mu.Unlock()
		if stray != nil {
			stray(call, r)
		}
		k.mu.Lock()
		var result uapi.Result
		if k.fault != nil {
			result.Err = k.fault(call, r)
		}
		if result.Err == nil {
			result = k.do(call, r)
		}
		k.mu.Unlock()
		results = append(results, result)
	}
	return results, nil
}

func refused(r uapi.Request, errno syscall.Errno) uapi.Result {
	return uapi.Result{Err: &uapi.Error{Op: r.Op, Errno: errno}}
}

func (k *fake) do(call int, r uapi.Request) uapi.Result {
	switch r.Op {
	case uapi.OpAddState, uapi.OpUpdateState:
		return k.writeState(r)
	case uapi.OpGetState, uapi.OpDeleteState:
		st := k.states[r.ID]
		if st == nil {
			return refused(r, syscall.ESRCH)
		}
		if r.Op == uapi.OpGetState {
			return uapi.Result{State: copyState(st)}
		}
		delete(k.states, r.ID)
		k.tell(&uapi.StateChanged{Op: r.Op, State: copyState(st)})
		if k.lose != nil && k.lose(call, r) {
			return uapi.Result{Err: uapi.ErrFinalUnknown}
		}
		return uapi.Result{State: st}
	case uapi.OpSetReplay:
		return k.setReplay(r)
	case uapi.OpAllocSPI:
		for spi := r.SPI.Min; spi <= r.SPI.Max; spi++ {
			id := uapi.StateID{Dst: r.SPI.Dst, SPI: spi, Proto: r.SPI.Proto, Mark: r.SPI.Mark}
			if k.states[id] == nil {
				k.states[id] = &uapi.State{Src: r.SPI.Src, Dst: id.Dst, SPI: spi, Proto: id.Proto, Mode: r.SPI.Mode}
				return uapi.Result{State: copyState(k.states[id])}
			}
		}
		return refused(r, syscall.ENOENT)
	case uapi.OpAddPolicy, uapi.OpUpdatePolicy:
		key := keyOf(r.Policy)
		old := k.policies[key]
		if old != nil && r.Op == uapi.OpAddPolicy {
			return refused(r, syscall.EEXIST)
		}
		p := &fakePolicy{Policy: behind(*r.Policy, 0)}
		k.policies[key] = p
		k.tell(&uapi.PolicyChanged{Op: r.Op, Policy: r.Policy})
		if old != nil {
			for _, waiting := range old.queue {
				k.output(waiting)
			}
		}
		return uapi.Result{}
	case uapi.OpDeletePolicy, uapi.OpGetPolicy:
		key := keyOf(&uapi.Policy{Selector: r.PolicyID.Selector, Dir: r.PolicyID.Dir, Mark: r.PolicyID.Mark, IfID: r.PolicyID.IfID})
		p := k.policies[key]
		if p == nil {
			return refused(r, syscall.ENOENT)
		}
		if r.Op == uapi.OpGetPolicy {
			found := behind(p.Policy, 0)
			return uapi.Result{Policy: &found}
		}
		k.judge.dropped = append(k.judge.dropped, p.queue...)
		delete(k.policies, key)
		return uapi.Result{}
	}
	panic(fmt.Sprintf("the fake has no request %v", r.Op))
}

func (k *fake) writeState(r uapi.Request) uapi.Result {
	st, old := r.State, k.states[r.State.ID()]
	larval := old != nil && old.AEAD == nil && old.Crypt == nil && old.Auth == nil
	for _, name := range algorithms(st) {
		if k.lacks[name] {
			return refused(r, syscall.ENOSYS)
		}
	}
	switch {
	case st.Flags&uapi.FlagESN != 0 && (!st.Replay.Extended || st.Replay.Window == 0):
		return refused(r, syscall.EINVAL)
	case st.Replay.Window > uapi.MaxWindow || int(st.Replay.Window) > 32*len(st.Replay.Bitmap) && st.Replay.Extended:
		return refused(r, syscall.EINVAL)
	case old != nil && r.Op == uapi.OpAddState:
		return refused(r, syscall.EEXIST)
	case old == nil && r.Op == uapi.OpUpdateState:
		return refused(r, syscall.ESRCH)
	case old != nil && !larval && !sameKeys(old, st):
		return refused(r, syscall.EINVAL) // the real one keeps its own, and tells those who listen that they are these
	case old != nil && !larval:
		old.Limits, old.Encap = st.Limits, st.Encap
		return uapi.Result{}
	}
	st = copyState(st)
	if st.Used == (uapi.Usage{}) {
		st.Used.AddTime = k.clock
	}
	k.states[st.ID()] = st
	k.tell(&uapi.StateChanged{Op: r.Op, State: copyState(st)})
	return uapi.Result{}
}

func algorithms(st *uapi.State) (names []string) {
	if st.AEAD != nil {
		names = append(names, st.AEAD.Name)
	}
	if st.Crypt != nil {
		names = append(names, st.Crypt.Name)
	}
	if st.Auth != nil {
		names = append(names, st.Auth.Name)
	}
	return names
}

func (k *fake) setReplay(r uapi.Request) uapi.Result {
	st := k.states[r.ID]
	if st == nil {
		return refused(r, syscall.ESRCH)
	}
	if e := r.Replay.Replay; e != nil {
		if e.Extended != st.Replay.Extended || e.Window != st.Replay.Window || len(e.Bitmap) != len(st.Replay.Bitmap) {
			return refused(r, syscall.EINVAL)
		}
		st.Replay = *e
		st.Replay.Bitmap = slices.Clone(e.Bitmap)
	}
	if u := r.Replay.Used; u != nil {
		st.Used = *u
	}
	return uapi.Result{}
}

func (k *fake) States(context.Context, uapi.Filter) iter.Seq2[*uapi.State, error] {
	return func(yield func(*uapi.State, error) bool) {
		k.mu.Lock()
		var all []*uapi.State
		for _, st := range k.states {
			all = append(all, copyState(st))
		}
		k.mu.Unlock()
		for _, st := range all {
			if !yield(st, nil) {
				return
			}
		}
	}
}

func (k *fake) Policies(context.Context) iter.Seq2[*uapi.Policy, error] {
	return func(yield func(*uapi.Policy, error) bool) {
		k.mu.Lock()
		var all []uapi.Policy
		for _, p := range k.policies {
			all = append(all, p.Policy)
		}
		k.mu.Unlock()
		for i := range all {
			if !yield(&all[i], nil) {
				return
			}
		}
	}
}

func (k *fake) Watch(ctx context.Context, _ ...uapi.Group) (iter.Seq2[uapi.Event, error], error) {
	return func(yield func(uapi.Event, error) bool) {
		for {
			select {
			case e := <-k.events:
				if !yield(e, nil) {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}, nil
}

// send has a packet leave, as from the protected side.
func (k *fake) send(p packet) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.output(p)
}

func (k *fake) output(p packet) {
	policy := k.lookup(uapi.DirOut, p)
	switch {
	case policy == nil || policy.Action == uapi.Allow && len(policy.Templates) == 0:
		k.judge.clear = append(k.judge.clear, p)
		return
	case policy.Action == uapi.Block:
		k.judge.dropped = append(k.judge.dropped, p)
		return
	}
	var chain []*uapi.State
	for i := range policy.Templates {
		st := k.outbound(&policy.Templates[i])
		if st == nil {
			if len(policy.queue) < queueLength {
				policy.queue = append(policy.queue, p)
			} else {
				k.judge.dropped = append(k.judge.dropped, p)
			}
			return
		}
		chain = append(chain, st)
	}
	for _, st := range chain {
		if !k.number(st, p) {
			k.judge.dropped = append(k.judge.dropped, p)
			return
		}
	}
}

// outbound is the SA that a template finds.
func (k *fake) outbound(t *uapi.Template) (best *uapi.State) {
	for _, st := range k.states {
		if st.ReqID == t.ReqID && (t.SPI == 0 || t.SPI == st.SPI) && st.Dst == t.Dst && st.Src == t.Src && st.Proto == t.Proto && st.Mode == t.Mode &&
			(best == nil || best.Used.AddTime < st.Used.AddTime) {
			best = st
		}
	}
	return best
}

// number gives a packet a sequence number, unless the SA has none left.
func (k *fake) number(st *uapi.State, p packet) bool {
	if st.Used.Packets >= st.Limits.HardPackets {
		delete(k.states, st.ID())
		k.tell(&uapi.StateExpired{State: header(st), Hard: true})
		return false
	}
	if st.Used.Packets == st.Limits.SoftPackets {
		k.tell(&uapi.StateExpired{State: header(st)})
	}
	end := uint64(last32)
	if st.Flags&uapi.FlagESN != 0 {
		end = last64
	}
	if st.Replay.OSeq == end {
		return false
	}
	st.Replay.OSeq++
	st.Used.Packets++
	id := fmt.Sprintf("%x %d", keyOctets(st), st.Replay.OSeq)
	if k.judge.used[id] {
		k.judge.reused = append(k.judge.reused, id)
	}
	k.judge.used[id] = true
	k.judge.wire = append(k.judge.wire, sent{st.SPI, st.Replay.OSeq, p})
	return true
}

func header(st *uapi.State) *uapi.State {
	return &uapi.State{Src: st.Src, Dst: st.Dst, Proto: st.Proto, SPI: st.SPI, Mark: st.Mark, ReqID: st.ReqID, Limits: st.Limits, Used: st.Used}
}

func (k *fake) tell(e uapi.Event) {
	select {
	case k.events <- e:
	default:
	}
}

func keyOctets(st *uapi.State) []byte {
	switch {
	case st.AEAD != nil:
		return st.AEAD.Key.Bytes()
	case st.Auth != nil:
		return st.Auth.Key.Bytes()
	}
	return st.Crypt.Key.Bytes()
}

// receive has a packet arrive from outside, and reports whether it got through.
func (k *fake) receive(dst netip.Addr, spi uint32, proto uapi.Proto, seq uint64, p packet) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	st := k.states[uapi.StateID{Dst: dst, SPI: spi, Proto: proto}]
	if st == nil || keyOctetsOrNil(st) == nil || !accept(st, seq) {
		return false
	}
	policy := k.lookup(uapi.DirFwd, p)
	if policy == nil || policy.Action == uapi.Block || len(policy.Templates) == 0 {
		return false
	}
	return policy.Templates[0].ReqID == st.ReqID
}

func keyOctetsOrNil(st *uapi.State) []byte {
	if len(algorithms(st)) == 0 {
		return nil
	}
	return keyOctets(st)
}

// accept does what RFC 4303 section 3.4.3 says, with the whole number known.
func accept(st *uapi.State, seq uint64) bool {
	r := &st.Replay
	if st.Flags&uapi.FlagESN != 0 && seq>>32 != r.Seq>>32 && r.Seq >= fenceESN {
		return false // the upper half is guessed wrong, and it does not authenticate
	}
	if r.Window == 0 {
		r.Seq = max(r.Seq, seq)
		st.Used.Packets++
		return true
	}
	if seq > r.Seq {
		seen := *r
		seen.Bitmap = slices.Clone(r.Bitmap)
		clear(r.Bitmap)
		r.Seq = seq
		for n := seen.Seq; n > 0 && seen.Seq-n < uint64(r.Window); n-- {
			if seen.Seen(n) {
				r.SetSeen(n)
			}
		}
	} else if r.Seq-seq >= uint64(r.Window) || r.Seen(seq) {
		return false
	}
	r.SetSeen(seq)
	st.Used.Packets++
	return true
}

// lookup is the policy that is looked at first of those that match.
func (k *fake) lookup(dir uapi.Dir, p packet) (best *fakePolicy) {
	for _, policy := range k.policies {
		s := keyOf(&policy.Policy).selector
		if policy.Dir == dir && s.Src.Contains(p.src) && s.Dst.Contains(p.dst) && (best == nil || policy.Priority < best.Priority) {
			best = policy
		}
	}
	return best
}
