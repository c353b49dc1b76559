package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cxtp/cxtp/testvectors"
)

// The keys of the examples: one of HMAC-SHA-1's own length, and one that is longer
// than the block of SHA-1 and is hashed before it is used.
const (
	key20 = "000102030405060708090a0b0c0d0e0f10111213"
	key80 = "61206c6f6e676572206b6579207468616e2074686520626c6f636b206f66205348412d312c20776869636820697320686173686564206265666f726520697420697320757365642061732061206b6579"
)

// computation is the row that says how a token is computed.
const computation = "rfc4067-2.5.1-14"

// covered is what the token of a message is computed over: the address, the sequence
// number and the blocks, reserved bits zero.
func covered(m message) string {
	var w wire
	w.address("", m.Previous)
	w.number("", uint64(m.Sequence), 4)
	w.blocks(m)
	return strings.ReplaceAll(w.digits(clean), " ", "")
}

// command computes the right token of a message. Its output is written into this
// file by hand.
func command(m message, key string) string {
	return fmt.Sprintf("printf %s | xxd -r -p | openssl dgst -sha1 -mac HMAC -macopt hexkey:%s -r | cut -c 1-8", covered(m), key)
}

func tokens() []testvectors.Vector {
	asked := func(previous string, sequence uint32, blocks ...testvectors.Block) message {
		m := message{Message: testvectors.Message{Previous: previous, Router: other4, Sequence: sequence, Blocks: blocks}}
		if previous == node6 {
			m.Router = other6
		}
		return m
	}
	const number = 0x01020304
	two := []testvectors.Block{request(0xffe0), request(1)}
	vectors := []testvectors.Vector{
		token("IPv4, no request blocks", asked(node4, number), key20, "57ef453b"),
		token("IPv4, two request blocks of four octets", asked(node4, number, two...), key20, "80f8b40c"),
		token("IPv4, the same blocks in the other order", asked(node4, number, two[1], two[0]), key20, "89c899b7"),
		token("IPv6, a session's name with its padding", asked(node6, 0xffffffff, session, two[0]), key80, "172c2fec"),
		token("IPv6, no request blocks", asked(node6, number), key20, "be74ab12"),
		token("IPv6, one request block", asked(node6, number, two[1]), key20, "5f0ed9d9"),
		token("IPv4, a request block with a presence vector and padding",
			asked(node4, number, testvectors.Block{FPT: 0x7001, Presence: "80000000", Data: "01020304"}), key20, "7549fd54"),
		token("IPv4, sequence number 0", asked(node4, 0), key20, "7b7334af"),
		token("IPv4, sequence number 4294967295", asked(node4, 0xffffffff), key20, "7ef1b857"),
		token("IPv4, a key of one octet, zero", asked(node4, number), "00", "471bc1ef"),
		token("IPv4, a key as long as the block of SHA-1", asked(node4, number), repeated("a5", 64), "252feff3"),
		token("IPv4, a key one octet longer than the block of SHA-1", asked(node4, number), repeated("a5", 65), "2a1e75f5"),
	}
	return append(vectors, proofs(asked(node4, number), asked(node6, 0xffffffff, session, two[0]), two)...)
}

// token is a vector of the computation alone.
func token(name string, m message, key, digits string) testvectors.Vector {
	var blocks wire
	blocks.blocks(m)
	return testvectors.Vector{
		Name: name, Section: "RFC 4067 section 2.5.1", Type: "token", Rows: []string{computation}, Hex: blocks.digits(sent), Valid: true,
		Fields: map[string]string{
			"MN's Previous IP Address": m.Previous, "Sequence Number": strconv.FormatUint(uint64(m.Sequence), 10), "MN Authorization Token": digits,
		},
		Key: key, Source: command(m, key), Answer: "the token",
	}
}

// proofs are messages whose token is right, and such whose token was right for
// another message or key.
func proofs(four, six message, two []testvectors.Block) []testvectors.Vector {
	ctar := chapter{kind: "CTAR", section: "2.5.1", rows: []int{1, 2, 6, 7}, reserved: []int{4, 5}}
	ctReq := chapter{kind: "CT-Req", section: "2.5.6", rows: []int{1, 2, 5, 6}, reserved: []int{3, 4}}
	prove := func(c *chapter, right bool, name, key, digits string, m message) {
		m.Token = digits
		c.proof(right, name, key, m)
	}
	four.Token = "57ef453b"
	prove(&ctar, true, "IPv4, a right token", key20, "57ef453b", four)
	prove(&ctar, true, "IPv6, a right token that covers a session's name", key80, "172c2fec", six)
	listed := four
	listed.Blocks = two
	prove(&ctar, true, "IPv4, a right token that covers two blocks", key20, "80f8b40c", listed)
	listed.reserved, listed.blockReserved = 0x3f, 0x7f
	prove(&ctar, true, "IPv4, a right token: reserved bits of blocks are zero where it is computed", key20, "80f8b40c", listed)
	listed.reserved, listed.blockReserved = 0, 0
	elsewhere := four
	elsewhere.Router, elsewhere.Ack = "198.51.100.2", true
	prove(&ctar, true, "IPv4, a right token: it does not cover the other router and the flags", key20, "57ef453b", elsewhere)
	ctReqOf := func(m message) message { m.Router, m.Ack = "", false; return m }
	prove(&ctReq, true, "IPv4, the token of a CTAR", key20, "57ef453b", ctReqOf(four))
	prove(&ctReq, true, "IPv6, the token of a CTAR with its blocks", key80, "172c2fec", ctReqOf(six))

	prove(&ctar, false, "IPv4, a null token", key20, "", four)
	prove(&ctar, false, "IPv4, the last bit of the token is another", key20, "57ef453a", four)
	prove(&ctar, false, "IPv4, the first bit of the token is another", key20, "d7ef453b", four)
	prove(&ctar, false, "IPv4, a token made with another key", repeated("a5", 64), "57ef453b", four)
	prove(&ctar, false, "IPv4, the token of the same request without its blocks", key20, "57ef453b", listed)
	listed.Blocks = []testvectors.Block{two[1], two[0]}
	prove(&ctar, false, "IPv4, the token of the same request with its blocks in the other order", key20, "80f8b40c", listed)
	later, moved := four, four
	later.Sequence++
	prove(&ctar, false, "IPv4, the token of the sequence number before", key20, "57ef453b", later)
	moved.Previous = "192.0.2.11"
	prove(&ctar, false, "IPv4, the token of another node", key20, "57ef453b", moved)
	prove(&ctReq, false, "IPv4, a token that no CTAR had", key20, "57ef4500", ctReqOf(four))
	prove(&ctReq, false, "IPv4, the token of the sequence number before", key20, "57ef453b", ctReqOf(later))
	return append(ctar.vectors, ctReq.vectors...)
}

// proof adds a message with a token and the key to check it with. Source computes the
// right token.
func (c *chapter) proof(right bool, name, key string, m message) {
	c.valid(name, contextsIf, m, computation)
	v := &c.vectors[len(c.vectors)-1]
	v.Key, v.Source = key, command(m, key)
	if right {
		return
	}
	m.Type = c.kind
	v.Valid, v.Fields, v.Canonical, v.Message = false, nil, "", nil
	v.Rows = []string{computation}
	v.Answer = "no context is transferred or installed"
	v.Error = &testvectors.Error{
		Layer: testvectors.LayerToken, Field: "MN Authorization Token", Offset: lay(m).offset("MN Authorization Token"),
	}
}
