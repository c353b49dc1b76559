package main

import (
	"fmt"

	"github.com/cxtp/cxtp/testvectors"
)

// blocks are messages that are about their context data blocks.
func blocks() []testvectors.Vector {
	c := chapter{kind: "CTD", section: "2.5.3", about: "2.4", rows: []int{1, 3, 5, 7}}
	validBlocks(&c)
	invalidBlocks(&c)
	requests := chapter{kind: "CTAR", section: "2.5.1", rows: []int{1, 2, 6, 7}}
	invalidRequests(&requests)
	return append(c.vectors, requests.vectors...)
}

// presence says which bit of a presence vector is which field.
const presence = "rfc4067-2.4-5"

func validBlocks(c *chapter) {
	type block = testvectors.Block
	c.valid("IPv6, a block with presence vector and padding, and one with the vector only", notReplied,
		data(node6, false, block{FPT: 0x7001, Presence: "80000001", Data: "aabbcc"}, block{FPT: 0x7002, Presence: "00000000"}), presence)
	for _, vector := range []string{"80000000", "00000001", "ffffffff", "a5a5a5a5"} {
		c.valid("IPv4, presence vector "+vector, replied, data(node4, true, block{FPT: 0x7001, Presence: vector, Data: "01020304"}), presence)
	}
	for size := range 13 {
		if size > 0 {
			c.valid(fmt.Sprintf("IPv4, %d octets of data", size), replied, data(node4, true, block{FPT: 0x7001, Data: repeated("a5", size)}))
		}
		c.valid(fmt.Sprintf("IPv4, a presence vector and %d octets of data", size), replied,
			data(node4, true, block{FPT: 0x7001, Presence: "c0000000", Data: repeated("a5", size)}))
	}
	c.valid("IPv4, the multicast listener context of RFC 4067 appendix B", replied,
		data(node4, true, block{FPT: 1, Data: "20010db800020000ff1e0000000000000000000000001234"}), "rfc4067-B-1", "rfc4065-6-3")
	c.valid("IPv6, two multicast listener contexts", notReplied,
		data(node6, false, block{FPT: 1, Data: "20010db800020000ff1e0000000000000000000000001234"},
			block{FPT: 1, Data: "20010db800020000ff020000000000000000000000000002"}), "rfc4067-B-1", "rfc4065-6-3")
	c.valid("IPv4, the largest block", notReplied, data(node4, false, block{FPT: 0x7001, Data: repeated("00", 255*8-4)}))
	var several []block
	for i := range 20 {
		several = append(several, block{FPT: 0x7001 + uint16(i), Data: repeated(fmt.Sprintf("%02x", i), i+1)})
	}
	c.valid("IPv6, 20 blocks", replied, data(node6, true, several...))
	c.valid("IPv4, blocks with and without presence vectors", replied,
		data(node4, true, plain, block{FPT: 0x7002, Presence: "40000000", Data: "0102"}, plain))
	for _, fpt := range []uint16{0x0002, 0x7fff, 0x8000, 0xfeff} {
		c.valid(fmt.Sprintf("IPv4, context type %#04x, which nobody has registered", fpt),
			"CTDR, a status that is not zero for the context", data(node4, true, block{FPT: fpt, Data: "01020304"}))
	}
	odd := data(node4, true, plain, block{FPT: 0x7002, Presence: "80000000", Data: "01020304"})
	odd.blockReserved = 0x7f
	c.valid("IPv4, reserved bits of blocks set: they are ignored", replied, odd)
}

// framing are the rows that a block that does not fit breaks.
var framing = []string{"rfc4067-2.4-1", "rfc4067-2.4-2"}

// broken adds a message that ends with digits where a block should be. The message
// has as many whole blocks before it as the caller says, and Length agrees.
func (c *chapter) broken(name string, m message, digits, part string, at int) {
	m.Type = c.kind
	w := lay(m)
	start := w.size()
	blame := fmt.Sprintf("CDB %d %s", len(m.Blocks)+1, part)
	w.add(blame, "", octets(digits))
	w.setLength(w.size())
	c.blamed(name, w.digits(sent), blame, start+at, framing...)
}

func invalidBlocks(c *chapter) {
	c.broken("a block of no words", data(node4, false), "ffe10000", "Length", 2)
	c.broken("a second block longer than the message", data(node4, false, plain), "7001020000000000", "Length", 2)
	c.broken("octets that are no block", data(node4, false), "01", "FPT", 0)
	for _, cut := range []struct {
		name, digits, part string
		at                 int
	}{
		{"one octet after the last block", "00", "FPT", 0},
		{"two octets after the last block", "7001", "Length", 2},
		{"three octets after the last block", "700101", "P", 3},
	} {
		c.broken(cut.name, data(node4, true, plain), cut.digits, cut.part, cut.at)
	}
	c.broken("four zero octets after the last block", data(node4, true, plain), "00000000", "Length", 2)
	c.broken("a block of no words with a presence vector", data(node4, true), "70010080", "Length", 2)
	c.broken("a block of one word, of which half is there", data(node4, true), "70010100", "Length", 2)
	c.broken("a presence vector of three octets", data(node4, true), "70010180000000", "Length", 2)
	c.broken("a block of 255 words, of which one is there", data(node6, true), "7001ff0000000000", "Length", 2)
	c.broken("a block that is one octet short", data(node6, true, plain), "70010200001122334455667788990a", "Length", 2)
}

func invalidRequests(c *chapter) {
	ask := message{Message: testvectors.Message{Previous: node4, Router: other4, Sequence: 0x01020304, Token: "deadbeef"}}
	listed := ask
	listed.Blocks = []testvectors.Block{request(1)}
	c.broken("half a request block", ask, "ffe0", "Length", 2)
	c.broken("a request block longer than the message", listed, "fff20300", "Length", 2)
	c.broken("a request block of no words with a presence vector", ask, "ffe00080", "Length", 2)
	c.broken("one octet after the last request block", listed, "00", "FPT", 0)
	c.broken("three octets after the last request block", listed, "ffe000", "P", 3)
	c.broken("a request block of one word, of which half is there", listed, "70010100", "Length", 2)
}
