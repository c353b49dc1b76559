package main

import "github.com/cxtp/cxtp/internal/overlay"

// codecMutants read or write a message in another way.
var codecMutants = []mutant{
	{
		name: "version-2-sent", rows: []string{"2.2-3", "2.2-2"},
		file: "cxtp/wire_writer.go",
		old:  "w.u8(Version<<5 | byte(kind))", new: "w.u8(2<<5 | byte(kind))",
	}, {
		name: "every-version-read", rows: []string{"2.2-4"},
		file: "cxtp/wire_reader.go",
		old:  "r.bits(\"Vers.\", octet, 0xe0); version != Version {", new: "r.bits(\"Vers.\", octet, 0xe0); version > 7 {",
	}, {
		name: "reserved-bits-sent", rows: []string{"2.5.2-3", "2.5.3-10", "2.5.4-4", "2.5.5-3", "2.5.6-3"},
		file: "cxtp/wire_writer.go",
		old:  "	w.flags(w.v4, second)\n", new: "	w.flags(w.v4, second, true)\n",
	}, {
		name: "reserved-octet-of-a-status-sent", rows: []string{"2.5.2-3", "2.5.4-4"},
		file: "cxtp/wire_writer.go",
		old:  "		w.u8(byte(s.Status))\n		w.u8(0)\n", new: "		w.u8(byte(s.Status))\n		w.u8(1)\n",
	}, {
		name: "reserved-bits-not-ignored", rows: []string{"2.5.1-5", "2.5.3-10", "2.5.5-4", "2.5.6-4"},
		file: "cxtp/wire_reader.go",
		old:  "	r.bits(\"Reserved\", octet, reserved)\n",
		new:  "	if r.bits(\"Reserved\", octet, reserved) != 0 {\n		r.fail(\"Reserved\", 1, nil, \"not zero\")\n	}\n",
	}, {
		name: "reserved-bits-of-a-block-sent", rows: []string{"2.4-3"},
		file: "cxtp/block.go",
		old:  "	return append(dst, 0), nil\n", new: "	return append(dst, 1), nil\n",
	}, {
		name: "reserved-bits-of-a-block-not-ignored", rows: []string{"2.4-3"},
		file: "cxtp/wire_reader.go",
		old:  "	r.bits(\"Reserved\", octet, ^byte(flagFirst))\n	switch left",
		new:  "	if r.bits(\"Reserved\", octet, ^byte(flagFirst)) != 0 {\n		r.fail(\"Reserved\", 3, nil, \"not zero\")\n	}\n	switch left",
	}, {
		name: "presence-vector-not-read", rows: []string{"2.4-4"},
		file: "cxtp/wire_reader.go",
		old:  "		b.Presence = inHex(r, r.u32(\"Presence Vector\"))\n", new: "		b.Presence = 0\n",
	}, {
		name: "padding-not-zero", rows: []string{"2.4-7"},
		file: "cxtp/block.go",
		old:  "	return append(dst, make([]byte, b.padding())...), nil\n}\n\n// appendHead",
		new:  "	return append(dst, []byte{1, 1, 1, 1, 1, 1, 1, 1}[:b.padding()]...), nil\n}\n\n// appendHead",
	}, {
		name: "block-length-not-checked", rows: []string{"2.4-2"},
		file: "cxtp/wire_reader.go",
		old:  "	case size > left:\n		r.fail(\"Length\", start+2, nil, \"%d octets announced, %d left\", size, left)\n",
		new:  "	case size > left:\n		size = left\n",
	}, {
		name: "length-not-checked", rows: []string{"2.5.1-6", "2.5.3-5"},
		file: "cxtp/wire_reader.go",
		old:  "length != len(r.in) {", new: "length < 0 {",
	}, {
		name: "length-without-the-header", rows: []string{"2.5.6-5", "2.5.2-5", "2.5.3-5", "2.5.4-6", "2.5.5-5"},
		file: "cxtp/wire_writer.go",
		old:  "PutUint16(w.dst[w.start+2:], uint16(size))", new: "PutUint16(w.dst[w.start+2:], uint16(size-4))",
	}, {
		name: "v-flag-turned-round", rows: []string{"2.5-3", "2.5.1-2", "2.5.2-2", "2.5.3-3", "2.5.4-2", "2.5.6-2"},
		file: "cxtp/wire_writer.go",
		old:  "	w.flags(w.v4, second)\n", new: "	w.flags(!w.v4, second)\n",
		more: []overlay.Edit{{File: "cxtp/wire_reader.go", Old: "	r.v4 = r.bits(\"V\", octet, flagFirst) == 1\n", New: "	r.v4 = r.bits(\"V\", octet, flagFirst) == 0\n"}},
	}, {
		name: "v-flag-of-a-ctc", rows: []string{"2.5.5-2"},
		file: "cxtp/ctc.go",
		old:  "	w := newWriter(dst, TypeCTC, false, m.Previous)\n", new: "	w := newWriter(dst, TypeCTC, false, m.Previous)\n	w.dst[w.start+1] ^= flagFirst\n",
	}, {
		name: "type-of-a-ct-req", rows: []string{"2.5.6-1"},
		file: "cxtp/message.go", old: "	TypeCTReq Type = 7\n", new: "	TypeCTReq Type = 8\n",
	}, {
		name: "type-of-a-ctaa", rows: []string{"2.5.2-1"},
		file: "cxtp/message.go", old: "	TypeCTAA  Type = 2\n", new: "	TypeCTAA  Type = 8\n",
	}, {
		name: "type-of-a-ctd", rows: []string{"2.5.3-1"},
		file: "cxtp/message.go", old: "	TypeCTD   Type = 3\n", new: "	TypeCTD   Type = 8\n",
	}, {
		name: "type-of-a-pctd", rows: []string{"2.5.3-2"},
		file: "cxtp/message.go", old: "	TypePCTD  Type = 4\n", new: "	TypePCTD  Type = 8\n",
	}, {
		name: "type-of-a-ctdr", rows: []string{"2.5.4-1"},
		file: "cxtp/message.go", old: "	TypeCTDR  Type = 5\n", new: "	TypeCTDR  Type = 8\n",
	}, {
		name: "type-of-a-ctc", rows: []string{"2.5.5-1"},
		file: "cxtp/message.go", old: "	TypeCTC   Type = 6\n", new: "	TypeCTC   Type = 8\n",
	}, {
		name: "algorithm-of-the-token", rows: []string{"2.5.3-9"},
		file: "cxtp/token.go", old: "	AlgorithmHMACSHA1 Algorithm = 1\n", new: "	AlgorithmHMACSHA1 Algorithm = 2\n",
	}, {
		name: "key-not-padded", rows: []string{"2.5.3-8"},
		file: "cxtp/ctd.go",
		old:  "		r.octets(\"Key padding\", padTo4(size))\n", new: "",
	}, {
		name: "elapsed-time-runs-back", rows: []string{"2.5.3-6"},
		file: "cxtp/source_send.go",
		old:  "Elapsed: uint32(s.now.Sub(m.started).Milliseconds()),", new: "Elapsed: uint32(60_000 - s.now.Sub(m.started).Microseconds()),",
	}, {
		name: "sequence-not-in-the-token", rows: []string{"2.5.1-14"},
		file: "cxtp/token.go",
		old:  "	text = binary.BigEndian.AppendUint32(text, sequence)\n", new: "	text = binary.BigEndian.AppendUint32(text, 0*sequence)\n",
	}, {
		name: "requests-not-in-the-token", rows: []string{"2.5.1-14"},
		file: "cxtp/token.go",
		old:  "	text, err := appendBlocks(text, requests)\n", new: "	text, err := appendBlocks(text, requests[:0])\n",
	}, {
		name: "token-of-24-bits", rows: []string{"2.5.1-14", "6.3-2"},
		file: "cxtp/token.go",
		old:  "hmac.Equal(want[:], token[:])", new: "hmac.Equal(want[:3], token[:3])",
	},
}
