package main

import (
	"fmt"

	"github.com/cxtp/cxtp/testvectors"
)

// The answers to the messages that have one.
const (
	noAnswer   = "none"
	acked      = "CTAA to the node"
	notAcked   = "no CTAA"
	replied    = "CTDR to the pAR"
	notReplied = "no CTDR"
	contextsIf = "CTD, if the token is right"
	keyIf      = "PCTD with the key, if the pAR allows it without a token"
)

// request is a block of four octets.
func request(fpt uint16) testvectors.Block { return testvectors.Block{FPT: fpt} }

// session names the example session in a request.
var session = testvectors.Block{FPT: sessionName, Data: "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"}

// plain is a block of a context type that nobody has registered, its data a multiple
// of 8 octets with the header.
var plain = testvectors.Block{FPT: 0x7001, Data: "00112233445566778899aabb"}

func ctar() []testvectors.Vector {
	c := chapter{kind: "CTAR", section: "2.5.1", rows: []int{1, 2, 6, 7}, reserved: []int{4, 5}}
	four := func(ack bool, blocks ...testvectors.Block) message {
		return message{Message: testvectors.Message{
			Ack: ack, Previous: node4, Router: other4, Sequence: 0x01020304, Token: "deadbeef", Blocks: blocks,
		}}
	}
	six := func(ack bool, blocks ...testvectors.Block) message {
		m := four(ack, blocks...)
		m.Previous, m.Router = node6, other6
		return m
	}
	wanted, listed := c.own(3)[0], c.own(12)[0]
	c.valid("IPv4, all contexts, acknowledgement wanted", acked, four(true), wanted)
	c.valid("IPv4, all contexts, no acknowledgement wanted", notAcked, four(false), wanted)
	c.valid("IPv6, all contexts, acknowledgement wanted", acked, six(true), wanted)
	c.valid("IPv6, two request blocks of four octets", notAcked, six(false, request(0xffe0), request(1)), listed)
	c.valid("IPv4, one request block of four octets", acked, four(true, request(1)), listed)
	c.valid("IPv4, a request block with data beside one without", notAcked, four(false, session, request(0xffe0)), listed)
	c.valid("IPv6, a request block with a presence vector", acked, six(true, testvectors.Block{FPT: 0x7001, Presence: "80000000", Data: "01020304"}), listed)
	c.valid("IPv4, a request for a context type that nobody has registered", acked, four(true, request(0x7001)), listed)
	c.valid("IPv4, 16 request blocks", acked, four(true, many(16)...), listed)
	for _, edge := range []uint32{0, 0xffffffff} {
		m := four(true)
		m.Sequence = edge
		c.valid(fmt.Sprintf("IPv4, sequence number %d", edge), acked, m)
	}
	null := four(true)
	null.Token = ""
	c.valid("IPv4, a null token: it can be read, and authorises nothing", "CTAA, nothing is transferred", null)
	odd := four(true, request(1))
	odd.reserved, odd.blockReserved = 0x3f, 0x7f
	c.valid("IPv4, reserved bits set: they are ignored", acked, odd)
	odd = six(false)
	odd.reserved = 0x15
	c.valid("IPv6, some reserved bits set: they are ignored", notAcked, odd)
	c.spoil("IPv4", four(false))
	c.spoil("IPv6", six(false))
	c.otherFamily(four(false), "MN Authorization Token")
	return c.vectors
}

// many are request blocks of context types from 0x7001 on.
func many(n int) (blocks []testvectors.Block) {
	for i := range n {
		blocks = append(blocks, request(0x7001+uint16(i)))
	}
	return blocks
}

func ctaa() []testvectors.Vector {
	c := chapter{kind: "CTAA", section: "2.5.2", rows: []int{1, 2, 5, 6}, reserved: []int{3, 4}}
	four := func(statuses ...testvectors.Status) message {
		return message{Message: testvectors.Message{Previous: node4, Statuses: statuses}}
	}
	six := func(statuses ...testvectors.Status) message {
		return message{Message: testvectors.Message{Previous: node6, Statuses: statuses}}
	}
	listed := c.own(8)[0]
	c.valid("IPv4, nothing failed", noAnswer, four())
	c.valid("IPv6, nothing failed", noAnswer, six())
	c.valid("IPv4, one context failed", noAnswer, four(testvectors.Status{FPT: 1, Status: 0x81}), listed)
	c.valid("IPv6, two contexts failed", noAnswer, six(testvectors.Status{FPT: 1, Status: 0x81}, testvectors.Status{FPT: 0xffe0, Status: 0x85}), listed)
	c.valid("IPv4, BAD_CHECKSUM", noAnswer, four(testvectors.Status{FPT: 1, Status: 1}), listed, "rfc4067-4-1")
	c.valid("IPv4, a context type and a status that nobody has defined", noAnswer, four(testvectors.Status{FPT: 0x7001, Status: 0x42}), listed)
	odd := four(testvectors.Status{FPT: 1, Status: 1})
	odd.reserved, odd.statusReserved = 0x7f, 0xff
	c.valid("IPv4, reserved bits and octets set: they are ignored", noAnswer, odd, listed)
	c.spoil("IPv4", four(testvectors.Status{FPT: 1, Status: 0x81}))
	c.spoil("IPv6", six(testvectors.Status{FPT: 1, Status: 0x81}, testvectors.Status{FPT: 0xffe0, Status: 0x85}))
	c.otherFamily(four(), "")
	return c.vectors
}

// data is a CTD or PCTD without key and blocks.
func data(previous string, ack bool, blocks ...testvectors.Block) message {
	return message{Message: testvectors.Message{Ack: ack, Elapsed: 1500, Previous: previous, Blocks: blocks}}
}

func ctd() []testvectors.Vector {
	c := chapter{kind: "CTD", section: "2.5.3", rows: []int{1, 3, 5, 7}, reserved: []int{10}}
	flag, elapsed := c.own(4)[0], c.own(6)[0]
	c.valid("IPv4, one block without presence vector", replied, data(node4, true, plain), flag)
	c.valid("IPv6, one block without presence vector, no reply wanted", notReplied, data(node6, false, plain), flag)
	c.valid("IPv4, no block", notReplied, data(node4, false), flag)
	for _, edge := range []uint32{0, 0xffffffff} {
		m := data(node4, true, plain)
		m.Elapsed = edge
		c.valid(fmt.Sprintf("IPv4, %d ms elapsed", edge), replied, m, elapsed)
	}
	odd := data(node4, true, plain)
	odd.reserved = 0x3f
	c.valid("IPv4, reserved bits set: they are ignored", replied, odd)
	c.spoil("IPv4", data(node4, true, plain))
	c.spoil("IPv6", data(node6, false, plain))
	c.otherFamily(data(node4, false), "")
	return c.vectors
}

func pctd() []testvectors.Vector {
	c := chapter{kind: "PCTD", section: "2.5.3", rows: []int{2, 3, 5, 8}, reserved: []int{10}}
	keyed := func(previous string, ack bool, key string, blocks ...testvectors.Block) message {
		m := data(previous, ack, blocks...)
		m.Algorithm, m.Key = 1, key
		return m
	}
	const twenty = "000102030405060708090a0b0c0d0e0f10111213"
	flag, algorithm := c.own(4)[0], c.own(9)[0]
	c.valid("IPv4, a key of 5 octets and its padding", replied, keyed(node4, true, "0102030405", plain), flag, algorithm)
	c.valid("IPv6, a key of 20 octets", notReplied, keyed(node6, false, twenty, plain), flag, algorithm)
	for _, size := range []int{1, 2, 3, 4, 64, 65} {
		m := keyed(node4, true, repeated("a5", size))
		c.valid(fmt.Sprintf("IPv4, a key of %d octets with its padding, no block", size), replied, m)
	}
	c.valid("IPv4, no key", notReplied, keyed(node4, false, ""))
	unknown := keyed(node4, true, twenty, plain)
	unknown.Algorithm = 0x7fff
	c.valid("IPv4, an algorithm that nobody has registered: it can be read", "CTDR, not success: the token cannot be checked", unknown)
	odd := keyed(node4, true, "0102030405")
	odd.reserved, odd.keyPadding = 0x3f, "010203"
	c.valid("IPv4, padding of the key that is not zero: it is ignored", replied, odd)
	c.spoil("IPv4", keyed(node4, false, "0102030405", plain))
	c.spoil("IPv6", keyed(node6, false, twenty, plain))
	c.otherFamily(keyed(node4, false, ""), "")
	long := lay(message{Message: testvectors.Message{Type: c.kind, Elapsed: 1500, Previous: node4, Algorithm: 1, Key: repeated("00", 8)}})
	for i, f := range long {
		if f.name == "Key Length" {
			long[i].octets = big(9, 2)
		}
	}
	c.invalid("a key longer than the message", long, "Key", c.own(8)...)
	return c.vectors
}

// repeated is an octet, in hexadecimal, n times.
func repeated(digits string, n int) (all string) {
	for range n {
		all += digits
	}
	return all
}

func ctdr() []testvectors.Vector {
	c := chapter{kind: "CTDR", section: "2.5.4", rows: []int{1, 2, 6, 7}, reserved: []int{4, 5}}
	reply := func(previous string, success bool, statuses ...testvectors.Status) message {
		return message{Message: testvectors.Message{Success: success, Previous: previous, Statuses: statuses}}
	}
	flag := c.own(3)[0]
	failed := []testvectors.Status{{FPT: 0xffe1}, {FPT: 0xffe2, Status: 0x8d}, {FPT: 0x7001, Status: 0x42}}
	c.valid("IPv4, success", noAnswer, reply(node4, true), flag)
	c.valid("IPv6, success, each context listed", noAnswer, reply(node6, true, testvectors.Status{FPT: 1}, testvectors.Status{FPT: 0xffe0}), flag)
	c.valid("IPv4, failure, no context listed", noAnswer, reply(node4, false), flag)
	c.valid("IPv6, failure with a status of each kind", noAnswer, reply(node6, false, failed...), flag)
	c.valid("IPv4, BAD_CHECKSUM", noAnswer, reply(node4, false, testvectors.Status{FPT: 1, Status: 1}), flag, "rfc4067-4-1")
	odd := reply(node4, true, testvectors.Status{FPT: 1})
	odd.reserved, odd.statusReserved = 0x3f, 0xff
	c.valid("IPv4, reserved bits and octets set: they are ignored", noAnswer, odd)
	c.spoil("IPv4", reply(node4, true, testvectors.Status{FPT: 1}))
	c.spoil("IPv6", reply(node6, false, failed...))
	c.otherFamily(reply(node4, true), "")
	return c.vectors
}

func ctc() []testvectors.Vector {
	c := chapter{kind: "CTC", section: "2.5.5", rows: []int{1, 2, 5}, reserved: []int{3, 4}}
	four := message{Message: testvectors.Message{Previous: node4}}
	six := message{Message: testvectors.Message{Previous: node6}}
	c.valid("IPv4", noAnswer, four)
	c.valid("IPv6", noAnswer, six)
	odd := six
	odd.reserved = 0x7f
	c.valid("IPv6, reserved bits set: they are ignored", noAnswer, odd)
	c.spoil("IPv4", four)
	c.spoil("IPv6", six)
	c.otherFamily(four, "")
	four.Type = c.kind
	longer := lay(four)
	longer.add("end", "", []byte{0, 0, 0, 0})
	longer.setLength(longer.size())
	c.invalid("octets after the address", longer, "end", c.own(5)...)
	return c.vectors
}

func ctReq() []testvectors.Vector {
	c := chapter{kind: "CT-Req", section: "2.5.6", rows: []int{1, 2, 5, 6}, reserved: []int{3, 4}}
	ask := func(previous string, blocks ...testvectors.Block) message {
		return message{Message: testvectors.Message{Previous: previous, Sequence: 0x01020304, Token: "deadbeef", Blocks: blocks}}
	}
	c.valid("IPv4, all contexts", contextsIf, ask(node4))
	c.valid("IPv6, all contexts", contextsIf, ask(node6))
	null := message{Message: testvectors.Message{Previous: node4}}
	c.valid("IPv4, all contexts, a null token", keyIf, null)
	c.valid("IPv6, one request block and a session's name", contextsIf, ask(node6, request(0xffe0), session))
	c.valid("IPv4, 16 request blocks", contextsIf, ask(node4, many(16)...))
	odd := ask(node4, request(1))
	odd.reserved, odd.blockReserved = 0x7f, 0x7f
	c.valid("IPv4, reserved bits set: they are ignored", contextsIf, odd)
	c.spoil("IPv4", ask(node4))
	c.spoil("IPv6", ask(node6))
	c.otherFamily(ask(node4), "")
	return c.vectors
}

// unknown are messages of types that section 2.5 does not have.
func unknown() (vectors []testvectors.Vector) {
	for _, number := range []byte{0, 8, 15, 28} {
		w := wire{}
		w.add("Type", "", []byte{1<<5 | number})
		w.join("V", "", []byte{0x80})
		w.add("Length", "", []byte{0, 8})
		w.address("MN's Previous IP Address", node4)
		vectors = append(vectors, testvectors.Vector{
			Name: fmt.Sprintf("unknown message type %d", number), Section: "RFC 4067 section 2.2", Type: "unknown",
			Rows: []string{"rfc4067-2.2-2"}, Hex: w.digits(sent),
			Error: &testvectors.Error{Layer: testvectors.LayerMessage, Field: "Type", Offset: 0}, Answer: dropped,
		})
	}
	return vectors
}
