package main

// vectorMutants break the codec where only the vectors see it: in what a mobile node
// does, and in ICMP.
var vectorMutants = []mutant{
	{
		name: "reserved-bits-not-ignored-by-a-node", rows: []string{"2.5.2-4", "2.5.4-5"}, offline: true,
		file: "cxtp/wire_reader.go",
		old:  "	r.bits(\"Reserved\", octet, reserved)\n",
		new:  "	if r.bits(\"Reserved\", octet, reserved) != 0 {\n		r.fail(\"Reserved\", 1, nil, \"not zero\")\n	}\n",
	}, {
		name: "reserved-bits-sent-by-a-node", rows: []string{"2.5.1-4"}, offline: true,
		file: "cxtp/wire_writer.go",
		old:  "	w.flags(w.v4, second)\n", new: "	w.flags(w.v4, second, true)\n",
	}, {
		name: "a-flag-not-sent", rows: []string{"2.5.1-3", "2.5.3-4"}, offline: true,
		file: "cxtp/wire_writer.go",
		old:  "	w.flags(w.v4, second)\n", new: "	w.flags(w.v4, false)\n",
	}, {
		name: "presence-vector-shifted", rows: []string{"2.4-5"}, offline: true,
		file: "cxtp/wire_reader.go",
		old:  "inHex(r, r.u32(\"Presence Vector\"))", new: "inHex(r, r.u32(\"Presence Vector\")>>1)",
	}, {
		name: "icmp-checksum-wrong", rows: []string{"3.2-9"}, offline: true,
		file: "transport/icmp/icmp.go",
		old:  "checksum(from, to, dst[start:]))\n", new: "checksum(from, to, dst[start:])+1)\n",
	}, {
		name: "icmp-reserved-sent", rows: []string{"3.2-10"}, offline: true,
		file: "transport/icmp/icmp.go",
		old:  "Code, 0, 0, Subtype, 0, 0, 0)\n", new: "Code, 0, 0, Subtype, 0, 0, 1)\n",
	}, {
		name: "icmp-reserved-not-ignored", rows: []string{"3.2-11"}, offline: true,
		file: "transport/icmp/icmp.go",
		old:  "	case p.Octets[4] != Subtype:\n", new: "	case p.Octets[5] != 0:\n		return fail(\"Reserved\", 5, nil, \"not zero\")\n	case p.Octets[4] != Subtype:\n",
	},
}
