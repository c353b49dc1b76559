package uapi

import (
	"bytes"
	"net/netip"
)

// The structures and attributes that several messages share.

func (w *writer) selector(b []byte, s *Selector) {
	w.prefix(b[0:], &b[42], "selector's destination", s.Dst, s.Family)
	w.prefix(b[16:], &b[43], "selector's source", s.Src, s.Family)
	network.PutUint16(b[32:], s.DstPort)
	network.PutUint16(b[34:], s.DstMask)
	network.PutUint16(b[36:], s.SrcPort)
	network.PutUint16(b[38:], s.SrcMask)
	native.PutUint16(b[40:], uint16(s.Family))
	b[44] = s.Proto
	native.PutUint32(b[48:], uint32(s.IfIndex))
	native.PutUint32(b[52:], s.User)
}

func (r *reader) selector(b []byte) Selector {
	f := Family(native.Uint16(b[40:]))
	return Selector{
		Family: f,
		Dst:    r.prefix(b[0:], b[42], "selector's destination", f),
		Src:    r.prefix(b[16:], b[43], "selector's source", f),

		DstPort: network.Uint16(b[32:]), DstMask: network.Uint16(b[34:]),
		SrcPort: network.Uint16(b[36:]), SrcMask: network.Uint16(b[38:]),
		Proto: b[44],

		IfIndex: int32(native.Uint32(b[48:])),
		User:    native.Uint32(b[52:]),
	}
}

// prefix writes a prefix; that of a selector of family 0, if it has one, is
// given as an IPv6 prefix.
func (w *writer) prefix(b []byte, length *byte, what string, p netip.Prefix, f Family) {
	if p == (netip.Prefix{}) {
		return
	}
	if !p.IsValid() {
		w.failf(what, "not a prefix")
		return
	}
	if f == FamilyAny {
		f = IPv6
	}
	*length = byte(p.Bits())
	w.addr(b, what, p.Addr(), f)
}

func (r *reader) prefix(b []byte, length byte, what string, f Family) netip.Prefix {
	if f == FamilyAny {
		if length == 0 && [sizeAddress]byte(b) == [sizeAddress]byte{} {
			return netip.Prefix{}
		}
		f = IPv6
	}
	p := netip.PrefixFrom(r.addr(b, what, f), int(length))
	if !p.IsValid() {
		r.failf(what, "prefix length %d", length)
	}
	return p
}

func putLimits(b []byte, l *Limits) {
	for i, v := range [...]uint64{l.SoftBytes, l.HardBytes, l.SoftPackets, l.HardPackets,
		l.SoftAdd, l.HardAdd, l.SoftUse, l.HardUse} {
		native.PutUint64(b[8*i:], v)
	}
}

func getLimits(b []byte) (l Limits) {
	for i, v := range [...]*uint64{&l.SoftBytes, &l.HardBytes, &l.SoftPackets, &l.HardPackets,
		&l.SoftAdd, &l.HardAdd, &l.SoftUse, &l.HardUse} {
		*v = native.Uint64(b[8*i:])
	}
	return l
}

func putUsage(b []byte, u *Usage) {
	for i, v := range [...]uint64{u.Bytes, u.Packets, u.AddTime, u.UseTime} {
		native.PutUint64(b[8*i:], v)
	}
}

func getUsage(b []byte) (u Usage) {
	for i, v := range [...]*uint64{&u.Bytes, &u.Packets, &u.AddTime, &u.UseTime} {
		*v = native.Uint64(b[8*i:])
	}
	return u
}

// stateID writes an xfrm_usersa_id; the mark is an attribute.
func (w *writer) stateID(b []byte, id *StateID) {
	f := w.outerFamily(id.Dst)
	w.addr(b, "destination", id.Dst, f)
	network.PutUint32(b[16:], id.SPI)
	native.PutUint16(b[20:], uint16(f))
	b[22] = byte(id.Proto)
}

// outerFamily is the family of an SA, that of its destination.
func (w *writer) outerFamily(dst netip.Addr) Family {
	f := familyOf(dst)
	if f == FamilyAny {
		w.failf("SA", "no destination address")
	}
	return f
}

func (r *reader) stateID(b []byte) StateID {
	return StateID{
		Dst: r.addr(b, "destination", Family(native.Uint16(b[20:]))),
		SPI: network.Uint32(b[16:]), Proto: Proto(b[22]),
	}
}

func (w *writer) attrMark(m Mark) {
	if m == (Mark{}) {
		return
	}
	b := w.attr(attrMark, sizeMark)
	native.PutUint32(b, m.Value)
	native.PutUint32(b[4:], m.Mask)
}

func (r *reader) takeMark() Mark {
	b := r.take(attrMark, sizeMark)
	if b == nil {
		return Mark{}
	}
	return Mark{native.Uint32(b), native.Uint32(b[4:])}
}

func (w *writer) attrUsage(u *Usage) {
	if u != nil && *u != (Usage{}) {
		putUsage(w.attr(attrUsage, sizeUsage), u)
	}
}

// takeUsage returns nil where there is none.
func (r *reader) takeUsage() *Usage {
	b := r.take(attrUsage, sizeUsage)
	if b == nil {
		return nil
	}
	return new(getUsage(b))
}

func (w *writer) attrThresholds(t *Thresholds) {
	w.attrOptional32(attrReplayThresh, t.Replay)
	w.attrOptional32(attrETimerThresh, t.ETimer)
	w.attrNonZero(attrMTimerThresh, t.MTimer)
}

func (r *reader) takeThresholds() Thresholds {
	return Thresholds{
		Replay: r.takeOptional32(attrReplayThresh),
		ETimer: r.takeOptional32(attrETimerThresh),
		MTimer: r.take32(attrMTimerThresh),
	}
}

func (w *writer) attrSecCtx(c *SecCtx) {
	if c == nil {
		return
	}
	b := w.attr(attrSecCtx, sizeSecCtx+len(c.Label))
	native.PutUint16(b, uint16(len(b)))
	native.PutUint16(b[2:], attrSecCtx)
	b[4], b[5] = c.Alg, c.DOI
	native.PutUint16(b[6:], uint16(len(c.Label)))
	copy(b[sizeSecCtx:], c.Label)
}

func (r *reader) takeSecCtx() *SecCtx {
	b := r.take(attrSecCtx, sizeSecCtx)
	if b == nil {
		return nil
	}
	label, n := b[sizeSecCtx:], int(native.Uint16(b[6:]))
	if n > len(label) {
		r.failf("security context", "a label of %d octets in %d", n, len(label))
		return nil
	}
	return &SecCtx{Alg: b[4], DOI: b[5], Label: bytes.Clone(label[:n])}
}

func (w *writer) attrOffload(o *Offload) {
	if o == nil {
		return
	}
	b := w.attr(attrOffload, sizeOffload)
	native.PutUint32(b, uint32(o.IfIndex))
	b[4] = o.Flags
}

func (r *reader) takeOffload() *Offload {
	b := r.take(attrOffload, sizeOffload)
	if b == nil {
		return nil
	}
	return &Offload{IfIndex: int32(native.Uint32(b)), Flags: b[4]}
}
