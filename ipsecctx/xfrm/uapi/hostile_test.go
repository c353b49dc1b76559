package uapi

import (
	"net/netip"
	"reflect"
	"testing"
)

// minimal is an SA that can be read, followed by an attribute.
func minimal(kind uint16, data []byte) []byte {
	var w writer
	w.stateHeader(w.extend(sizeUserSA), &State{Dst: netip.IPv6Loopback()})
	copy(w.attr(kind, len(data)), data)
	return w.b
}

// numbers are octets of n, with 32-bit numbers put at the offsets given.
func numbers(n int, at map[int]uint32) []byte {
	b := make([]byte, n)
	for offset, v := range at {
		native.PutUint32(b[offset:], v)
	}
	return b
}

// named is an algorithm's attribute with a name.
func named(n int, at map[int]uint32) []byte {
	b := numbers(n, at)
	copy(b, "name")
	return b
}

// Lengths inside an attribute that reach past its end, and attributes too short
// for what they are.
func TestDecodeRefusesLies(t *testing.T) {
	endless := make([]byte, sizeAlgoAEAD)
	for i := range sizeAlgoName {
		endless[i] = 'a'
	}
	for name, b := range map[string][]byte{
		"bitmap":        minimal(attrReplayESN, numbers(sizeReplayESN+8, map[int]uint32{0: 3})),
		"huge bitmap":   minimal(attrReplayESN, numbers(sizeReplayESN, map[int]uint32{0: 1<<32 - 1})),
		"label":         minimal(attrSecCtx, numbers(sizeSecCtx+4, map[int]uint32{4: 1<<32 - 1})),
		"key":           minimal(attrAlgAEAD, named(sizeAlgoAEAD+4, map[int]uint32{sizeAlgoName: 40})),
		"huge key":      minimal(attrAlgAuthTrunc, named(sizeAlgoAuth+4, map[int]uint32{sizeAlgoName: 1<<32 - 8})),
		"bits":          minimal(attrAlgCrypt, named(sizeAlgo+4, map[int]uint32{sizeAlgoName: 31})),
		"endless name":  minimal(attrAlgAEAD, endless),
		"no name":       minimal(attrAlgAuth, make([]byte, sizeAlgo)),
		"nothing left":  append(minimal(99, nil), 1, 2, 3),
		"no length":     append(minimal(99, nil), 0, 0, 0, 0),
		"past the end":  append(minimal(99, nil), 8, 0, 8, 0, 1, 2, 3),
		"outer family":  make([]byte, sizeUserSA),
		"no such place": minimal(attrEncap, make([]byte, sizeEncap-1)),
	} {
		if s, err := decodeState(b); !isFormatError(err) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	for _, kind := range []uint16{
		attrAlgAuth, attrAlgCrypt, attrAlgComp, attrEncap, attrSecCtx, attrUsage, attrReplay, attrReplayThresh, attrETimerThresh,
		attrCoAddr, attrLastUsed, attrAlgAEAD, attrAlgAuthTrunc, attrMark, attrTFCPad, attrReplayESN, attrExtraFlags, attrOffload,
		attrSetMark, attrSetMarkMask, attrIfID, attrMTimerThresh, attrDir, attrNATKeepalive, attrPCPU,
	} {
		for n := range 4 {
			if s, err := decodeState(minimal(kind, make([]byte, n))); !isFormatError(err) && (kind != attrDir || n == 0) {
				t.Errorf("attribute %d of %d octets: %+v, %v", kind, n, s, err)
			}
		}
	}
	for name, change := range map[string]func([]byte){
		"source's length":      func(b []byte) { b[43] = 129 },
		"destination's length": func(b []byte) { b[42] = 129 },
		"selector's family":    func(b []byte) { native.PutUint16(b[40:], 7) },
	} {
		b := minimal(99, nil)
		native.PutUint16(b[40:], uint16(IPv6))
		if change(b); !refused(decodeState(b)) {
			t.Errorf("%s is taken", name)
		}
	}
	policy := mustEncode(t, func(w *writer) {
		w.policyHeader(w.extend(sizeUserPolicy), &Policy{})
		w.attr(attrTemplates, sizeTemplate+4)
	})
	if !refused(decodePolicy(policy)) {
		t.Error("a part of a template is taken")
	}
}

func refused[T any](_ *T, err error) bool { return isFormatError(err) }

// An attribute longer than it was when this was written, and the padding between
// attributes, are no reason to stop.
func TestDecodeTolerates(t *testing.T) {
	longer := minimal(attrIfID, []byte{0, 0, 0, 0, 9, 9, 9, 9})
	native.PutUint32(longer[sizeUserSA+sizeAttrHeader:], 5)
	longer = append(longer, minimal(attrPad, nil)[sizeUserSA:]...)
	if s, err := decodeState(longer); err != nil || s.IfID != 5 || s.Unknown != nil {
		t.Errorf("%+v, %v", s, err)
	}
	// Of two the last counts.
	twice := append(minimal(attrDir, []byte{1}), minimal(attrDir, []byte{2})[sizeUserSA:]...)
	if s, err := decodeState(twice); err != nil || s.Dir != StateDirOut {
		t.Errorf("%+v, %v", s, err)
	}
}

// Events that no vector shows.
func TestDecodeEvents(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	policy := Policy{
		Selector:  Selector{Family: IPv4, Src: netip.MustParsePrefix("0.0.0.0/0"), Dst: netip.MustParsePrefix("10.0.0.0/8")},
		Templates: []Template{{Family: IPv4, Proto: AH}, {Family: IPv6, Proto: ESP, Src: v6, Dst: v6}},
	}
	for name, test := range map[string]struct {
		kind  uint16
		write func(w *writer)
		want  Event
	}{
		// The outer addresses' family is neither the packet's nor the first
		// template's.
		"acquire": {msgAcquire, func(w *writer) {
			b := w.extend(sizeAcquire)
			w.addr(b, "", v6, IPv6)
			w.addr(b[24:], "", v6, IPv6)
			b[20] = byte(ESP)
			w.selector(b[40:], &policy.Selector)
			w.policyHeader(b[96:], &policy)
			native.PutUint32(b[276:], 77)
			t := w.attr(attrTemplates, 2*sizeTemplate)
			w.template(t, &policy.Templates[0])
			w.template(t[sizeTemplate:], &policy.Templates[1])
			w.attrMark(Mark{1, 2})
		}, &Acquire{Src: v6, Dst: v6, Proto: ESP, Selector: policy.Selector, Policy: &policy, Seq: 77, Mark: Mark{1, 2}}},
		"mapping": {msgMapping, func(w *writer) {
			b := w.extend(sizeMapping)
			w.stateID(b, &StateID{Dst: v4, SPI: 5, Proto: ESP})
			native.PutUint32(b[24:], 6)
			w.addr(b[28:], "", v4, IPv4)
			w.addr(b[44:], "", v4.Next(), IPv4)
			network.PutUint16(b[60:], 4500)
			network.PutUint16(b[62:], 61000)
		}, &MappingChanged{StateID{Dst: v4, SPI: 5, Proto: ESP}, 6, netip.AddrPortFrom(v4, 4500), netip.AddrPortFrom(v4.Next(), 61000)}},
		"policy's expiry": {msgPolicyExpire, func(w *writer) {
			b := w.extend(sizePolicyExpire)
			w.policyHeader(b, &Policy{Selector: policy.Selector, Dir: DirFwd})
			b[sizeUserPolicy] = 1
		}, &PolicyExpired{&Policy{Selector: policy.Selector, Dir: DirFwd}, true}},
		"other policies' flush": {msgFlushPolicies, func(w *writer) { w.attrPolicyType(PolicySub) }, &PoliciesFlushed{PolicySub}},
		"something else":        {0x20, func(w *writer) { w.extend(4) }, &OtherEvent{0x20, make([]byte, 4)}},
	} {
		b := mustEncode(t, test.write)
		if got, err := decodeEvent(test.kind, b); err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v\nwant %+v", name, got, err, test.want)
		}
	}
	info := mustEncode(t, func(w *writer) {
		w.sadInfoRequest()
		w.attr32(attrSADCount, 3)
		copy(w.attr(attrSADHashInfo, sizeSADHashInfo), numbers(sizeSADHashInfo, map[int]uint32{0: 8, 4: 16}))
	})
	if got, err := decodeSADInfo(info); err != nil || *got != (SADInfo{3, 8, 16}) {
		t.Errorf("%+v, %v", got, err)
	}
}
