package uapi

// aevent writes the xfrm_aevent_id and the attributes of XFRM_MSG_NEWAE.
func (w *writer) aevent(e *AEvent) {
	w.aeventID(e.ID, e)
	if e.Replay != nil {
		w.attrReplay(e.Replay)
	}
	w.attrUsage(e.Used)
	w.attrThresholds(&e.Thresholds)
	w.attrMark(e.ID.Mark)
	w.attrNonZero(attrIfID, e.IfID)
	w.attrs(e.Unknown)
}

func (w *writer) aeventID(id StateID, e *AEvent) {
	b := w.extend(sizeAEventID)
	w.stateID(b, &id)
	w.addr(b[24:], "source", e.Src, familyOf(id.Dst))
	native.PutUint32(b[40:], uint32(e.Flags))
	native.PutUint32(b[44:], e.ReqID)
}

// aeventRequest writes an XFRM_MSG_GETAE that asks for all there is.
func (w *writer) aeventRequest(id StateID) {
	w.aeventID(id, &AEvent{Flags: AEReplayThreshold | AEReplay | AELifetime | AETimerThreshold})
	w.attrMark(id.Mark)
}

// decodeAEvent reads the payload of XFRM_MSG_NEWAE.
func decodeAEvent(payload []byte) (*AEvent, error) {
	var r reader
	if err := r.open("sequence state event", payload, sizeAEventID); err != nil {
		return nil, err
	}
	e := &AEvent{
		ID:    r.stateID(r.b),
		Flags: AEventFlags(native.Uint32(r.b[40:])),
		ReqID: native.Uint32(r.b[44:]),
	}
	e.Src = r.addr(r.b[24:], "source", familyOf(e.ID.Dst))
	e.ID.Mark = r.takeMark()
	e.Replay = r.takeReplay()
	e.Used = r.takeUsage()
	e.Thresholds = r.takeThresholds()
	e.IfID = r.take32(attrIfID)
	e.Dir = r.takeDir()
	e.Unknown = r.rest()
	if r.err != nil {
		return nil, r.err
	}
	return e, nil
}
