package uapi

import "net/netip"

// Types of messages that are not requests, XFRM_MSG_*.
const (
	msgAcquire       = 0x17
	msgExpire        = 0x18
	msgPolicyExpire  = 0x1b
	msgFlushStates   = 0x1c
	msgFlushPolicies = 0x1d
	msgSADInfo       = 0x22
	msgMapping       = 0x26
)

// decodeEvent reads a message that the kernel sent by itself.
func decodeEvent(kind uint16, payload []byte) (Event, error) {
	switch kind {
	case uint16(OpAddState), uint16(OpUpdateState):
		return asEvent(Op(kind), payload, decodeState, stateChanged)
	case uint16(OpDeleteState):
		return asEvent(Op(kind), payload, decodeDeletedState, stateChanged)
	case uint16(OpAddPolicy), uint16(OpUpdatePolicy):
		return asEvent(Op(kind), payload, decodePolicy, policyChanged)
	case uint16(OpDeletePolicy):
		return asEvent(Op(kind), payload, decodeDeletedPolicy, policyChanged)
	case uint16(OpSetReplay):
		return asEvent(OpSetReplay, payload, decodeAEvent, func(_ Op, e *AEvent) Event { return &ReplayChanged{e} })
	case msgAcquire:
		return decodeAcquire(payload)
	case msgExpire:
		return decodeExpire(payload)
	case msgPolicyExpire:
		return decodePolicyExpire(payload)
	case msgFlushStates:
		return decodeFlushStates(payload)
	case msgFlushPolicies:
		return decodeFlushPolicies(payload)
	case msgMapping:
		return decodeMapping(payload)
	}
	return &OtherEvent{Type: kind, Payload: append([]byte(nil), payload...)}, nil
}

// asEvent decodes a payload and makes an event of what it holds.
func asEvent[T any](op Op, payload []byte, decode func([]byte) (*T, error), event func(Op, *T) Event) (Event, error) {
	v, err := decode(payload)
	if err != nil {
		return nil, err
	}
	return event(op, v), nil
}

func stateChanged(op Op, s *State) Event   { return &StateChanged{op, s} }
func policyChanged(op Op, p *Policy) Event { return &PolicyChanged{op, p} }

func decodeExpire(payload []byte) (Event, error) {
	var r reader
	if err := r.open("expiry", payload, sizeExpire); err != nil {
		return nil, err
	}
	s, err := r.state(r.b)
	if err != nil {
		return nil, err
	}
	return &StateExpired{State: s, Hard: r.b[sizeUserSA] != 0}, nil
}

func decodePolicyExpire(payload []byte) (Event, error) {
	var r reader
	if err := r.open("policy's expiry", payload, sizePolicyExpire); err != nil {
		return nil, err
	}
	p, err := r.policy(r.b)
	if err != nil {
		return nil, err
	}
	return &PolicyExpired{Policy: p, Hard: r.b[sizeUserPolicy] != 0}, nil
}

func decodeFlushStates(payload []byte) (Event, error) {
	var r reader
	if err := r.open("flush", payload, 1); err != nil {
		return nil, err
	}
	return &StatesFlushed{Proto(r.b[0])}, nil
}

func decodeFlushPolicies(payload []byte) (Event, error) {
	var r reader
	if err := r.open("policies' flush", payload, 0); err != nil {
		return nil, err
	}
	e := &PoliciesFlushed{r.takePolicyType()}
	return e, r.err
}

func decodeAcquire(payload []byte) (Event, error) {
	var r reader
	if err := r.open("acquire", payload, sizeAcquire); err != nil {
		return nil, err
	}
	b := r.b
	e := &Acquire{
		SPI: network.Uint32(b[16:]), Proto: Proto(b[20]),
		Selector: r.selector(b[40:]),
		AuthAlgs: native.Uint32(b[264:]), CryptAlgs: native.Uint32(b[268:]), CompAlgs: native.Uint32(b[272:]),
		Seq: native.Uint32(b[276:]),
	}
	// Mark and interface are the SA's; the policy, in the middle of the message,
	// has its templates, type and label beside it.
	e.Mark, e.IfID = r.takeMark(), r.take32(attrIfID)
	policy := r.policyHeader(b[96:])
	policy.Templates, policy.Type, policy.SecCtx = r.takeTemplates(), r.takePolicyType(), r.takeSecCtx()
	e.Policy = &policy
	f := e.outerFamily()
	e.Dst = r.addr(b, "acquire's destination", f)
	e.Src = r.addr(b[24:], "acquire's source", f)
	e.Unknown = r.rest()
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}

// outerFamily is that of the template which wants the SA: an acquire does not
// say its own.
func (e *Acquire) outerFamily() Family {
	for i := range e.Policy.Templates {
		if t := &e.Policy.Templates[i]; t.Proto == e.Proto {
			return t.Family
		}
	}
	return e.Selector.Family
}

func decodeMapping(payload []byte) (Event, error) {
	var r reader
	if err := r.open("mapping", payload, sizeMapping); err != nil {
		return nil, err
	}
	b := r.b
	e := &MappingChanged{ID: r.stateID(b), ReqID: native.Uint32(b[24:])}
	f := familyOf(e.ID.Dst)
	e.Old = netip.AddrPortFrom(r.addr(b[28:], "old source", f), network.Uint16(b[60:]))
	e.New = netip.AddrPortFrom(r.addr(b[44:], "new source", f), network.Uint16(b[62:]))
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}

// decodeSADInfo reads the payload of XFRM_MSG_NEWSADINFO.
func decodeSADInfo(payload []byte) (*SADInfo, error) {
	var r reader
	if err := r.open("SAD information", payload, sizeSADInfo); err != nil {
		return nil, err
	}
	info := &SADInfo{States: r.take32(attrSADCount)}
	if b := r.take(attrSADHashInfo, sizeSADHashInfo); b != nil {
		info.Buckets, info.MaxBuckets = native.Uint32(b), native.Uint32(b[4:])
	}
	if r.err != nil {
		return nil, r.err
	}
	return info, nil
}

// sadInfoRequest writes an XFRM_MSG_GETSADINFO.
func (w *writer) sadInfoRequest() { w.extend(sizeSADInfo) }

// policyHashes writes an XFRM_MSG_NEWSPDINFO.
func (w *writer) policyHashes(hashes [2]PolicyHash) {
	w.extend(sizeSPDInfo)
	for i, h := range hashes {
		copy(w.attr(attrPolicyHash4+uint16(i), 2), []byte{h.Local, h.Remote})
	}
}

// stateRequest writes an XFRM_MSG_GETSA or XFRM_MSG_DELSA.
func (w *writer) stateRequest(id *StateID) {
	w.stateID(w.extend(sizeUserSAID), id)
	w.attrMark(id.Mark)
}

// filter writes the XFRM_MSG_GETSA of a dump.
func (w *writer) filter(f *Filter) {
	if f.Proto != 0 {
		w.attr(attrProto, 1)[0] = byte(f.Proto)
	}
	if !f.Src.IsValid() && !f.Dst.IsValid() {
		return
	}
	family := familyOf(f.Src.Addr())
	if family == FamilyAny {
		family = familyOf(f.Dst.Addr())
	}
	b := w.attr(attrAddrFilter, sizeAddrFilter)
	w.prefix(b, &b[34], "filter's source", f.Src, family)
	w.prefix(b[16:], &b[35], "filter's destination", f.Dst, family)
	native.PutUint16(b[32:], uint16(family))
}
