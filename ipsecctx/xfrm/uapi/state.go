package uapi

// state writes the xfrm_usersa_info and the attributes of an SA, for
// XFRM_MSG_NEWSA and XFRM_MSG_UPDSA.
func (w *writer) state(s *State) {
	w.stateHeader(w.extend(sizeUserSA), s)
	f := familyOf(s.Dst)
	w.attrReplay(&s.Replay)
	w.attrAlgorithms(s)
	w.attrEncap(s.Encap, f)
	if s.CoAddr.IsValid() {
		w.addr(w.attr(attrCoAddr, sizeAddress), "care-of address", s.CoAddr, f)
	}
	w.attrUsage(&s.Used)
	w.attrThresholds(&s.Thresholds)
	w.attrMark(s.Mark)
	if s.OutputMark != (Mark{}) {
		w.attr32(attrSetMark, s.OutputMark.Value)
		w.attrNonZero(attrSetMarkMask, s.OutputMark.Mask)
	}
	w.attrNonZero(attrIfID, s.IfID)
	w.attrNonZero(attrExtraFlags, uint32(s.ExtraFlags))
	w.attrNonZero(attrTFCPad, s.TFCPad)
	w.attrNonZero(attrNATKeepalive, s.NATKeepalive)
	w.attrDir(s.Dir)
	w.attrOptional32(attrPCPU, s.PCPU)
	w.attrOffload(s.Offload)
	w.attrSecCtx(s.SecCtx)
	w.attrs(s.Unknown)
}

func (w *writer) stateHeader(b []byte, s *State) {
	f := w.outerFamily(s.Dst)
	w.selector(b, &s.Selector)
	w.addr(b[56:], "destination", s.Dst, f)
	network.PutUint32(b[72:], s.SPI)
	b[76] = byte(s.Proto)
	w.addr(b[80:], "source", s.Src, f)
	putLimits(b[96:], &s.Limits)
	native.PutUint32(b[204:], s.Seq)
	native.PutUint32(b[208:], s.ReqID)
	native.PutUint16(b[212:], uint16(f))
	b[214] = byte(s.Mode)
	if !s.Replay.Extended {
		b[215] = byte(s.Replay.Window)
	}
	b[216] = byte(s.Flags)
}

func (r *reader) stateHeader(b []byte, s *State) {
	f := Family(native.Uint16(b[212:]))
	s.Selector = r.selector(b)
	s.Dst = r.addr(b[56:], "destination", f)
	s.SPI, s.Proto = network.Uint32(b[72:]), Proto(b[76])
	s.Src = r.addr(b[80:], "source", f)
	s.Limits, s.Used = getLimits(b[96:]), getUsage(b[160:])
	s.Stats = Stats{native.Uint32(b[192:]), native.Uint32(b[196:]), native.Uint32(b[200:])}
	s.Seq, s.ReqID = native.Uint32(b[204:]), native.Uint32(b[208:])
	s.Mode, s.Flags = Mode(b[214]), StateFlags(b[216])
	s.Replay.Window = uint32(b[215])
}

// decodeState reads the payload of XFRM_MSG_NEWSA or XFRM_MSG_UPDSA.
func decodeState(payload []byte) (*State, error) {
	var r reader
	if err := r.open("SA", payload, sizeUserSA); err != nil {
		return nil, err
	}
	return r.state(r.b)
}

// decodeDeletedState reads the payload of an XFRM_MSG_DELSA event: the SA's
// name, and the SA itself as an attribute beside its other ones.
func decodeDeletedState(payload []byte) (*State, error) {
	var r reader
	if err := r.open("deleted SA", payload, sizeUserSAID); err != nil {
		return nil, err
	}
	b := r.take(attrState, sizeUserSA)
	if b == nil {
		r.failf("deleted SA", "the event does not have the SA")
		return nil, r.err
	}
	return r.state(b)
}

func (r *reader) state(b []byte) (*State, error) {
	s := &State{}
	if err := r.stateInto(s, b); err != nil {
		return nil, err
	}
	return s, nil
}

// stateInto reads an SA. After an error none of its keys is left.
func (r *reader) stateInto(s *State, b []byte) error {
	r.stateHeader(b, s)
	f := familyOf(s.Dst)
	if replay := r.takeReplay(); replay != nil {
		if !replay.Extended {
			replay.Window = s.Replay.Window
		}
		s.Replay = *replay
	}
	if used := r.takeUsage(); used != nil {
		s.Used = *used
	}
	if b := r.take(attrCoAddr, sizeAddress); b != nil {
		s.CoAddr = r.addr(b, "care-of address", f)
	}
	if b := r.take(attrLastUsed, 8); b != nil {
		s.LastUsed = native.Uint64(b)
	}
	s.Encap = r.takeEncap(f)
	s.Thresholds = r.takeThresholds()
	s.Mark = r.takeMark()
	s.OutputMark = Mark{r.take32(attrSetMark), r.take32(attrSetMarkMask)}
	s.IfID = r.take32(attrIfID)
	s.ExtraFlags = StateExtraFlags(r.take32(attrExtraFlags))
	s.TFCPad = r.take32(attrTFCPad)
	s.NATKeepalive = r.take32(attrNATKeepalive)
	s.Dir = r.takeDir()
	s.PCPU = r.takeOptional32(attrPCPU)
	s.Offload = r.takeOffload()
	s.SecCtx = r.takeSecCtx()
	r.takeAlgorithms(s)
	s.Unknown = r.rest()
	if r.err != nil {
		s.Wipe()
	}
	return r.err
}

func (w *writer) attrDir(d StateDir) {
	if d != StateDirNone {
		w.attr(attrDir, 1)[0] = byte(d)
	}
}

func (r *reader) takeDir() StateDir {
	if b := r.take(attrDir, 1); b != nil {
		return StateDir(b[0])
	}
	return StateDirNone
}

func (w *writer) attrEncap(e *Encap, f Family) {
	if e == nil {
		return
	}
	b := w.attr(attrEncap, sizeEncap)
	native.PutUint16(b, uint16(e.Type))
	network.PutUint16(b[2:], e.SrcPort)
	network.PutUint16(b[4:], e.DstPort)
	w.addr(b[8:], "encapsulation's original address", e.Original, f)
}

func (r *reader) takeEncap(f Family) *Encap {
	b := r.take(attrEncap, sizeEncap)
	if b == nil {
		return nil
	}
	return &Encap{
		Type:    EncapType(native.Uint16(b)),
		SrcPort: network.Uint16(b[2:]), DstPort: network.Uint16(b[4:]),
		Original: r.optionalAddr(b[8:], "encapsulation's original address", f),
	}
}

// spiRequest writes an xfrm_userspi_info and attributes, for
// XFRM_MSG_ALLOCSPI.
func (w *writer) spiRequest(q *SPIRequest) {
	b := w.extend(sizeUserSPI)
	w.stateHeader(b, &State{
		Src: q.Src, Dst: q.Dst, Proto: q.Proto, Mode: q.Mode, ReqID: q.ReqID, Seq: q.Seq,
	})
	native.PutUint32(b[sizeUserSA:], q.Min)
	native.PutUint32(b[sizeUserSA+4:], q.Max)
	w.attrMark(q.Mark)
	w.attrNonZero(attrIfID, q.IfID)
	w.attrDir(q.Dir)
}
