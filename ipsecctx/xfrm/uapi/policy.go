package uapi

// policy writes the xfrm_userpolicy_info and the attributes of a policy, for
// XFRM_MSG_NEWPOLICY and XFRM_MSG_UPDPOLICY.
func (w *writer) policy(p *Policy) {
	w.policyHeader(w.extend(sizeUserPolicy), p)
	if len(p.Templates) > 0 {
		b := w.attr(attrTemplates, len(p.Templates)*sizeTemplate)
		for i := range p.Templates {
			w.template(b[i*sizeTemplate:], &p.Templates[i])
		}
	}
	w.attrPolicyType(p.Type)
	w.attrMark(p.Mark)
	w.attrNonZero(attrIfID, p.IfID)
	w.attrOffload(p.Offload)
	w.attrSecCtx(p.SecCtx)
	w.attrs(p.Unknown)
}

func (w *writer) policyHeader(b []byte, p *Policy) {
	w.selector(b, &p.Selector)
	putLimits(b[56:], &p.Limits)
	native.PutUint32(b[152:], p.Priority)
	native.PutUint32(b[156:], p.Index)
	b[160], b[161], b[162], b[163] = byte(p.Dir), byte(p.Action), p.Flags, p.Share
}

func (r *reader) policyHeader(b []byte) Policy {
	return Policy{
		Selector: r.selector(b),
		Limits:   getLimits(b[56:]),
		Used:     getUsage(b[120:]),
		Priority: native.Uint32(b[152:]), Index: native.Uint32(b[156:]),
		Dir: Dir(b[160]), Action: Action(b[161]), Flags: b[162], Share: b[163],
	}
}

// decodePolicy reads the payload of XFRM_MSG_NEWPOLICY or XFRM_MSG_UPDPOLICY.
func decodePolicy(payload []byte) (*Policy, error) {
	var r reader
	if err := r.open("policy", payload, sizeUserPolicy); err != nil {
		return nil, err
	}
	return r.policy(r.b)
}

// decodeDeletedPolicy reads the payload of an XFRM_MSG_DELPOLICY event: the
// policy's name, and the policy itself as an attribute beside its other ones.
func decodeDeletedPolicy(payload []byte) (*Policy, error) {
	var r reader
	if err := r.open("deleted policy", payload, sizePolicyID); err != nil {
		return nil, err
	}
	b := r.take(attrPolicy, sizeUserPolicy)
	if b == nil {
		r.failf("deleted policy", "the event does not have the policy")
		return nil, r.err
	}
	return r.policy(b)
}

func (r *reader) policy(b []byte) (*Policy, error) {
	p := r.policyHeader(b)
	p.Templates = r.takeTemplates()
	p.Type = r.takePolicyType()
	p.Mark = r.takeMark()
	p.IfID = r.take32(attrIfID)
	p.Offload = r.takeOffload()
	p.SecCtx = r.takeSecCtx()
	p.Unknown = r.rest()
	if r.err != nil {
		return nil, r.err
	}
	return &p, nil
}

func (w *writer) template(b []byte, t *Template) {
	w.addr(b, "template's destination", t.Dst, t.Family)
	network.PutUint32(b[16:], t.SPI)
	b[20] = byte(t.Proto)
	native.PutUint16(b[24:], uint16(t.Family))
	w.addr(b[28:], "template's source", t.Src, t.Family)
	native.PutUint32(b[44:], t.ReqID)
	b[48], b[49], b[50] = byte(t.Mode), t.Share, t.Optional
	native.PutUint32(b[52:], t.AuthAlgs)
	native.PutUint32(b[56:], t.CryptAlgs)
	native.PutUint32(b[60:], t.CompAlgs)
}

func (r *reader) takeTemplates() []Template {
	b := r.take(attrTemplates, 0)
	if len(b)%sizeTemplate != 0 {
		r.failf("templates", "%d octets are not a multiple of %d", len(b), sizeTemplate)
		return nil
	}
	var list []Template
	for ; len(b) > 0; b = b[sizeTemplate:] {
		list = append(list, r.template(b))
	}
	return list
}

func (r *reader) template(b []byte) Template {
	f := Family(native.Uint16(b[24:]))
	return Template{
		Family: f,
		Dst:    r.optionalAddr(b, "template's destination", f),
		SPI:    network.Uint32(b[16:]),
		Proto:  Proto(b[20]),
		Src:    r.optionalAddr(b[28:], "template's source", f),
		ReqID:  native.Uint32(b[44:]),
		Mode:   Mode(b[48]), Share: b[49], Optional: b[50],
		AuthAlgs: native.Uint32(b[52:]), CryptAlgs: native.Uint32(b[56:]), CompAlgs: native.Uint32(b[60:]),
	}
}

// policyID writes an xfrm_userpolicy_id and attributes, for
// XFRM_MSG_GETPOLICY and XFRM_MSG_DELPOLICY.
func (w *writer) policyID(id *PolicyID) {
	b := w.extend(sizePolicyID)
	w.selector(b, &id.Selector)
	native.PutUint32(b[56:], id.Index)
	b[60] = byte(id.Dir)
	w.attrPolicyType(id.Type)
	w.attrMark(id.Mark)
	w.attrNonZero(attrIfID, id.IfID)
	w.attrSecCtx(id.SecCtx)
}

func (w *writer) attrPolicyType(t PolicyType) {
	if t != PolicyMain {
		w.attr(attrPolicyType, sizePolicyType)[0] = byte(t)
	}
}

func (r *reader) takePolicyType() PolicyType {
	if b := r.take(attrPolicyType, sizePolicyType); b != nil {
		return PolicyType(b[0])
	}
	return PolicyMain
}
