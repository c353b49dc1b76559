package cxtp_test

import (
	"bytes"
	"crypto/sha256"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

func drawAddr(t *rapid.T, v4 bool, label string) netip.Addr {
	size := 16
	if v4 {
		size = 4
	}
	a, _ := netip.AddrFromSlice(drawOctets(t, size, size, label))
	if a.Is4In6() {
		return netip.IPv6Unspecified()
	}
	return a
}

func drawOctets(t *rapid.T, least, most int, label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), least, most).Draw(t, label)
}

func drawKey(t *rapid.T, least int, label string) secret.Key {
	return secret.Clone(drawOctets(t, least, 40, label))
}

// drawBlock draws a block as a decoder gives it: its data end where the block
// ends.
func drawBlock(t *rapid.T, request bool) cxtp.CDB {
	b := cxtp.CDB{FPT: cxtp.FPT(rapid.Uint16Max(0xFFEF).Draw(t, "FPT"))} // above are blocks with a content to describe
	if request && rapid.Bool().Draw(t, "four octets") {
		return b
	}
	words := rapid.IntRange(1, 255).Draw(t, "words")
	size := 8*words - 4
	if b.HasPresence = rapid.Bool().Draw(t, "P"); b.HasPresence {
		b.Presence = rapid.Uint32().Draw(t, "presence")
		size -= 4
	}
	b.Data = bytes.Repeat(drawOctets(t, 4, 4, "data"), size/4)
	return b
}

func drawBlocks(t *rapid.T, request bool) []cxtp.CDB {
	var blocks []cxtp.CDB
	for range rapid.IntRange(0, 4).Draw(t, "blocks") {
		blocks = append(blocks, drawBlock(t, request))
	}
	return blocks
}

func drawStatuses(t *rapid.T) []cxtp.ContextStatus {
	var list []cxtp.ContextStatus
	for range rapid.IntRange(0, 4).Draw(t, "statuses") {
		list = append(list, cxtp.ContextStatus{
			FPT:    cxtp.FPT(rapid.Uint16().Draw(t, "FPT")),
			Status: cxtp.Status(rapid.Byte().Draw(t, "status")),
		})
	}
	return list
}

func drawSession(t *rapid.T) cxtp.SessionID {
	return cxtp.SessionID(drawOctets(t, 16, 16, "session"))
}

func drawEndpoint(t *rapid.T) netip.AddrPort {
	return netip.AddrPortFrom(drawAddr(t, rapid.Bool().Draw(t, "endpoint v4"), "endpoint"), rapid.Uint16().Draw(t, "port"))
}

// draws has a generator for each message type.
var draws = map[cxtp.Type]func(t *rapid.T, v4 bool) cxtp.Message{
	cxtp.TypeCTAR: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTAR{Ack: rapid.Bool().Draw(t, "A"), Previous: drawAddr(t, v4, "previous"), Router: drawAddr(t, v4, "router"),
			Sequence: rapid.Uint32().Draw(t, "sequence"), Token: cxtp.Token(drawOctets(t, 4, 4, "token")), Requests: drawBlocks(t, true)}
	},
	cxtp.TypeCTAA: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTAA{Previous: drawAddr(t, v4, "previous"), Failed: drawStatuses(t)}
	},
	cxtp.TypeCTD: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTD{Ack: rapid.Bool().Draw(t, "A"), Elapsed: rapid.Uint32().Draw(t, "elapsed"),
			Previous: drawAddr(t, v4, "previous"), Blocks: drawBlocks(t, false)}
	},
	cxtp.TypePCTD: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTD{Predictive: true, Ack: rapid.Bool().Draw(t, "A"), Elapsed: rapid.Uint32().Draw(t, "elapsed"),
			Previous: drawAddr(t, v4, "previous"), Algorithm: cxtp.Algorithm(rapid.Uint16().Draw(t, "algorithm")),
			Key: drawKey(t, 0, "key"), Blocks: drawBlocks(t, false)}
	},
	cxtp.TypeCTDR: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTDR{Success: rapid.Bool().Draw(t, "S"), Previous: drawAddr(t, v4, "previous"), Statuses: drawStatuses(t)}
	},
	cxtp.TypeCTC: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTC{Previous: drawAddr(t, v4, "previous")}
	},
	cxtp.TypeCTReq: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.CTReq{Previous: drawAddr(t, v4, "previous"), Sequence: rapid.Uint32().Draw(t, "sequence"),
			Token: cxtp.Token(drawOctets(t, 4, 4, "token")), Requests: drawBlocks(t, true)}
	},
	cxtp.TypeOutcome: func(t *rapid.T, v4 bool) cxtp.Message {
		m := &cxtp.Outcome{Question: rapid.Bool().Draw(t, "Q"), Previous: drawAddr(t, v4, "previous"), Session: drawSession(t),
			Epoch: cxtp.Epoch(rapid.Uint64().Draw(t, "epoch")), Incarnation: cxtp.Incarnation(rapid.Uint64().Draw(t, "incarnation")),
			Go: rapid.Bool().Draw(t, "G"), Steered: rapid.Bool().Draw(t, "D"), Untold: rapid.Bool().Draw(t, "U"),
			Serial: rapid.Uint32().Draw(t, "serial"), Statuses: drawStatuses(t)}
		if !m.Question {
			m.State = cxtp.OutcomeState(rapid.IntRange(int(cxtp.OutcomeUnseen), int(cxtp.OutcomePending)).Draw(t, "state"))
		}
		return m
	},
	cxtp.TypeUpdate: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.Update{Previous: drawAddr(t, v4, "previous"), Session: drawSession(t), Number: rapid.Uint64().Draw(t, "number"),
			Gateway: drawEndpoint(t), Share: drawShare(t), SPIs: drawChanges(t), Floors: drawFloors(t), MAC: [cxtp.UpdateMACSize]byte(drawOctets(t, 16, 16, "MAC"))}
	},
	cxtp.TypeUpdateAck: func(t *rapid.T, v4 bool) cxtp.Message {
		return &cxtp.UpdateAck{Previous: drawAddr(t, v4, "previous"), Session: drawSession(t), Number: rapid.Uint64().Draw(t, "number"),
			Share: drawShare(t), MAC: [cxtp.UpdateMACSize]byte(drawOctets(t, 16, 16, "MAC"))}
	},
}

func drawShare(t *rapid.T) (s cxtp.Share) {
	if rapid.Bool().Draw(t, "K") {
		copy(s[:], drawOctets(t, len(s), len(s), "share"))
	}
	return s
}

func drawProtocol(t *rapid.T) uint8 { return rapid.SampledFrom([]uint8{50, 51}).Draw(t, "protocol") }

func drawSPI(t *rapid.T) uint32 { return rapid.Uint32Min(1).Draw(t, "SPI") }

func drawChanges(t *rapid.T) (list []cxtp.SPIChange) {
	for range rapid.IntRange(0, cxtp.MaxUpdateEntries).Draw(t, "changes") {
		list = append(list, cxtp.SPIChange{Protocol: drawProtocol(t), Old: drawSPI(t), New: drawSPI(t)})
	}
	return list
}

func drawFloors(t *rapid.T) (list []cxtp.SequenceFloor) {
	for range rapid.IntRange(0, cxtp.MaxUpdateEntries).Draw(t, "floors") {
		list = append(list, cxtp.SequenceFloor{Protocol: drawProtocol(t), SPI: drawSPI(t), Number: rapid.Uint64().Draw(t, "number")})
	}
	return list
}

func TestMessageRoundTrip(t *testing.T) {
	for kind, draw := range draws {
		for _, v4 := range []bool{true, false} {
			t.Run(kind.String()+map[bool]string{true: " IPv4", false: " IPv6"}[v4], func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					m := draw(t, v4)
					encoded, err := m.Append(nil)
					if err != nil {
						t.Fatal(err)
					}
					again, err := cxtp.Decode(encoded)
					if err != nil {
						t.Fatal(err)
					}
					if m.Type() != kind || !reflect.DeepEqual(again, m) {
						t.Fatalf("decoded %v of type %s, want %v of type %s", again, again.Type(), m, kind)
					}
					checkTiling(t, encoded)
				})
			})
		}
	}
}

// checkTiling demands that Describe leaves no octet out and is in order.
func checkTiling(t *rapid.T, encoded []byte) {
	fields, err := cxtp.Describe(encoded, cxtp.DescribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	end, last := 0, 0
	for _, f := range fields {
		if f.Offset > end || f.Offset < last || f.Section == "" {
			t.Fatalf("field %+v after octet %d", f, end)
		}
		last, end = f.Offset, max(end, f.Offset+f.Length)
	}
	if end != len(encoded) {
		t.Fatalf("fields end at octet %d of %d", end, len(encoded))
	}
}

func TestControlRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := cxtp.Control{
			Phase:       cxtp.Phase(rapid.IntRange(int(cxtp.PhaseStage), int(cxtp.PhaseRenew)).Draw(t, "phase")),
			TokenProved: rapid.Bool().Draw(t, "T"),
			Standby:     rapid.Bool().Draw(t, "S"),
			Mode:        cxtp.MoveMode(rapid.IntRange(int(cxtp.ModeLossless), int(cxtp.ModeStrict)).Draw(t, "mode")),
			Session:     drawSession(t),
			Epoch:       cxtp.Epoch(rapid.Uint64().Draw(t, "epoch")),
			Incarnation: cxtp.Incarnation(rapid.Uint64().Draw(t, "incarnation")),
			Digest:      sha256.Sum256(drawOctets(t, 0, 4, "digest of")),
			Serial:      rapid.Uint32().Draw(t, "serial"),
			Lease:       time.Duration(rapid.Uint32().Draw(t, "lease in ms")) * time.Millisecond,
			Target:      cxtp.RouterID(drawOctets(t, 0, 255, "target")),
		}
		for range rapid.IntRange(0, 100).Draw(t, "entries") {
			c.Manifest = append(c.Manifest, cxtp.ManifestEntry{
				FPT: cxtp.FPTIPsecSA, Direction: rapid.Byte().Draw(t, "direction"), Protocol: rapid.Byte().Draw(t, "protocol"),
				SPI: rapid.Uint32().Draw(t, "SPI"), Ceiling: rapid.Uint64().Draw(t, "ceiling")})
		}
		b, err := c.Block()
		if err != nil {
			t.Fatal(err)
		}
		again, err := cxtp.ParseControl(sentBlock(t, b))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, c) {
			t.Fatalf("parsed %+v, want %+v", again, c)
		}
	})
}

// sentBlock is the block as the receiver of a CTD has it, which can describe it.
func sentBlock(t *rapid.T, b cxtp.CDB) cxtp.CDB {
	encoded, err := (&cxtp.CTD{Previous: netip.MustParseAddr("192.0.2.1"), Blocks: []cxtp.CDB{b}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	checkTiling(t, encoded)
	var m cxtp.CTD
	if err := m.Decode(encoded); err != nil {
		t.Fatal(err)
	}
	return m.Blocks[0]
}

func TestNodeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n cxtp.NodeState
		if rapid.Bool().Draw(t, "agent") {
			n.Agent = drawEndpoint(t)
		}
		n.UpdateKey = drawKey(t, 0, "update key")
		number := uint32(0)
		for range rapid.IntRange(0, 20).Draw(t, "tokens") {
			number += rapid.Uint32Range(1, 1000).Draw(t, "step")
			n.Tokens = append(n.Tokens, cxtp.NumberedKey{Number: number, Key: drawKey(t, 1, "token key")})
		}
		n.Algorithm = rapid.SampledFrom([]cxtp.Algorithm{0, cxtp.AlgorithmHMACSHA256, 0xFF02}).Draw(t, "algorithm")
		n.Generation = rapid.SampledFrom([]uint64{0, 1, 1 << 63}).Draw(t, "generation")
		n.SPIs = drawChanges(t)
		b, err := n.Block()
		if err != nil {
			t.Fatal(err)
		}
		again, err := cxtp.ParseNodeState(sentBlock(t, b))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, n) {
			t.Fatalf("parsed %+v, want %+v", again, n)
		}
	})
}

func TestStrongTokenRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v4 := rapid.Bool().Draw(t, "v4")
		token := cxtp.StrongToken{
			Role:       cxtp.Role(rapid.IntRange(int(cxtp.RoleLeaving), int(cxtp.RoleArriving)).Draw(t, "role")),
			Generation: rapid.Uint64().Draw(t, "generation"), KeyNumber: rapid.Uint32().Draw(t, "number"),
			PAR: drawAddr(t, v4, "pAR"), NAR: drawAddr(t, v4, "nAR"), Tag: [cxtp.TagSize]byte(drawOctets(t, 32, 32, "tag")),
		}
		b, err := token.Block()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := cxtp.ParseStrongToken(sentBlock(t, b)); err != nil || again != token {
			t.Fatalf("parsed %+v (%v), want %+v", again, err, token)
		}
	})
}

func TestSmallBlocksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := drawSession(t)
		if again, err := cxtp.ParseSessionName(sentBlock(t, cxtp.SessionNameBlock(id))); err != nil || again != id {
			t.Fatalf("session name %v (%v), want %v", again, err, id)
		}
		s := cxtp.ContextStatus{FPT: cxtp.FPT(rapid.Uint16().Draw(t, "FPT")), Status: cxtp.Status(rapid.Byte().Draw(t, "status"))}
		if again, err := cxtp.ParseErrorBlock(sentBlock(t, cxtp.ErrorBlock(s))); err != nil || again != s {
			t.Fatalf("error indication %v (%v), want %v", again, err, s)
		}
	})
}

// TestMappedAddress checks that an IPv4 address in 16 octets is sent as the
// IPv4 address that it is.
func TestMappedAddress(t *testing.T) {
	mapped, plain := netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("192.0.2.1")
	for name, pair := range map[string][2]cxtp.Message{
		"CTAR": {&cxtp.CTAR{Previous: mapped, Router: plain}, &cxtp.CTAR{Previous: plain, Router: mapped}},
		"CTD":  {&cxtp.CTD{Previous: mapped}, &cxtp.CTD{Previous: plain}},
		"Update": {&cxtp.Update{Previous: plain, Gateway: netip.AddrPortFrom(mapped, 1)},
			&cxtp.Update{Previous: plain, Gateway: netip.AddrPortFrom(plain, 1)}},
	} {
		a, errA := pair[0].Append(nil)
		b, errB := pair[1].Append(nil)
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %x (%v) and %x (%v) differ", name, a, errA, b, errB)
		}
	}
}

func TestWhatCannotBeEncoded(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	zoned := netip.MustParseAddr("fe80::1%eth0")
	full := cxtp.CDB{FPT: 0x7001, Data: make([]byte, cxtp.MaxBlock-4)}
	over := cxtp.CDB{FPT: 0x7001, Data: make([]byte, cxtp.MaxBlock-3)}
	for name, m := range map[string]cxtp.Message{
		"no address":                 &cxtp.CTC{},
		"no router":                  &cxtp.CTAR{Previous: v4},
		"zone":                       &cxtp.CTC{Previous: zoned},
		"two families":               &cxtp.CTAR{Previous: v4, Router: v6},
		"two families the other way": &cxtp.CTAR{Previous: v6, Router: v4},
		"block too long":             &cxtp.CTD{Previous: v4, Blocks: []cxtp.CDB{over}},
		"request too long":           &cxtp.CTReq{Previous: v4, Requests: []cxtp.CDB{over}},
		"message too long":           &cxtp.CTD{Previous: v4, Blocks: []cxtp.CDB{33: full}},
		"block that carries nothing": &cxtp.CTD{Previous: v4, Blocks: []cxtp.CDB{{FPT: 0x7001}}},
		"key in a CTD":               &cxtp.CTD{Previous: v4, Key: secret.New([]byte("key"))},
		"key too long":               &cxtp.CTD{Previous: v4, Predictive: true, Key: secret.New(make([]byte, 65536))},
		"too many statuses":          &cxtp.CTDR{Previous: v4, Statuses: make([]cxtp.ContextStatus, 16382)},
		"question with a state":      &cxtp.Outcome{Previous: v4, Question: true, State: cxtp.OutcomeStaged},
		"answer without one":         &cxtp.Outcome{Previous: v4},
		"no gateway":                 &cxtp.Update{Previous: v4},
		"too many SPI changes":       &cxtp.Update{Previous: v4, Gateway: netip.AddrPortFrom(v4, 1), SPIs: slices.Repeat([]cxtp.SPIChange{{Protocol: 50, Old: 1, New: 2}}, 33)},
		"SPI change of UDP":          &cxtp.Update{Previous: v4, Gateway: netip.AddrPortFrom(v4, 1), SPIs: []cxtp.SPIChange{{Protocol: 17, Old: 1, New: 2}}},
		"SPI change to 0":            &cxtp.Update{Previous: v4, Gateway: netip.AddrPortFrom(v4, 1), SPIs: []cxtp.SPIChange{{Protocol: 50, Old: 1, New: 0}}},
		"too many floors":            &cxtp.Update{Previous: v4, Gateway: netip.AddrPortFrom(v4, 1), Floors: slices.Repeat([]cxtp.SequenceFloor{{Protocol: 50, SPI: 1, Number: 2}}, 33)},
		"floor of UDP":               &cxtp.Update{Previous: v4, Gateway: netip.AddrPortFrom(v4, 1), Floors: []cxtp.SequenceFloor{{Protocol: 17, SPI: 1, Number: 2}}},
		"gateway with a zone":        &cxtp.Update{Previous: v4, Gateway: netip.AddrPortFrom(zoned, 1)},
	} {
		dst, err := m.Append([]byte("before"))
		if err == nil || string(dst) != "before" {
			t.Errorf("%s: encoded to %d octets, error %v; want an error and dst as it was", name, len(dst), err)
		}
	}
}

func TestBlocksThatCannotBeEncoded(t *testing.T) {
	valid := cxtp.Control{Phase: cxtp.PhaseStage, Mode: cxtp.ModeLossless}
	with := func(change func(*cxtp.Control)) cxtp.Control {
		c := valid
		change(&c)
		return c
	}
	for name, c := range map[string]cxtp.Control{
		"no phase":         with(func(c *cxtp.Control) { c.Phase = 0 }),
		"unknown phase":    with(func(c *cxtp.Control) { c.Phase = 6 }),
		"no mode":          with(func(c *cxtp.Control) { c.Mode = 0 }),
		"negative lease":   with(func(c *cxtp.Control) { c.Lease = -time.Millisecond }),
		"long lease":       with(func(c *cxtp.Control) { c.Lease = (math.MaxUint32 + 1) * time.Millisecond }),
		"long name":        with(func(c *cxtp.Control) { c.Target = cxtp.RouterID(make([]byte, 256)) }),
		"too many entries": with(func(c *cxtp.Control) { c.Manifest = make([]cxtp.ManifestEntry, 123) }),
	} {
		if b, err := c.Block(); err == nil {
			t.Errorf("%s: encoded to %v", name, b)
		}
	}
	key := secret.New([]byte("a key"))
	for name, n := range map[string]cxtp.NodeState{
		"zone":           {Agent: netip.MustParseAddrPort("[fe80::1%eth0]:1")},
		"repeated":       {Tokens: []cxtp.NumberedKey{{Number: 1, Key: key}, {Number: 1, Key: key}}},
		"empty key":      {Tokens: []cxtp.NumberedKey{{Number: 1}}},
		"long key":       {UpdateKey: secret.New(make([]byte, cxtp.MaxBlock))},
		"a lot of keys":  {Tokens: manyKeys(300)},
		"a count too up": {Tokens: manyKeys(70000)},
	} {
		if b, err := n.Block(); err == nil {
			t.Errorf("%s: encoded to %v", name, b)
		}
	}
}

func TestStrongTokensThatCannotBeEncoded(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for name, token := range map[string]cxtp.StrongToken{
		"no role":      {PAR: v4, NAR: v4},
		"unknown role": {Role: 3, PAR: v4, NAR: v4},
		"no pAR":       {Role: cxtp.RoleLeaving, NAR: v4},
		"no nAR":       {Role: cxtp.RoleLeaving, PAR: v4},
		"two families": {Role: cxtp.RoleLeaving, PAR: v4, NAR: v6},
		"zone":         {Role: cxtp.RoleLeaving, PAR: netip.MustParseAddr("fe80::1%eth0"), NAR: v6},
	} {
		if b, err := token.Block(); err == nil {
			t.Errorf("%s: encoded to %v", name, b)
		}
	}
}

func manyKeys(count int) []cxtp.NumberedKey {
	keys := make([]cxtp.NumberedKey, count)
	for i := range keys {
		keys[i] = cxtp.NumberedKey{Number: uint32(i), Key: secret.New([]byte("a key"))}
	}
	return keys
}

// TestDigest checks the digest against the octets that it is defined over, and
// that a receiver, whose blocks have their padding, computes the same.
func TestDigest(t *testing.T) {
	sent := []cxtp.CDB{
		{FPT: cxtp.FPTControl, Data: []byte{1, 2, 3, 4}},
		{FPT: 0x7001, Data: []byte{0xaa}},
		{FPT: 0x7002, HasPresence: true, Presence: 1, Data: []byte{0xbb, 0xcc}},
	}
	want := cxtp.Digest(sha256.Sum256([]byte{
		0x70, 0x01, 1, 0, 0xaa, 0, 0, 0,
		0x70, 0x02, 2, 0x80, 0, 0, 0, 1, 0xbb, 0xcc, 0, 0, 0, 0, 0, 0}))
	if d, err := cxtp.DigestOf(sent); err != nil || d != want {
		t.Errorf("digest is %x (%v), want %x", d, err, want)
	}
	encoded, err := (&cxtp.CTD{Previous: netip.MustParseAddr("192.0.2.1"), Blocks: sent}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var received cxtp.CTD
	if err := received.Decode(encoded); err != nil {
		t.Fatal(err)
	}
	if d, err := cxtp.DigestOf(received.Blocks); err != nil || d != want {
		t.Errorf("the receiver's digest is %x (%v), want %x", d, err, want)
	}
	if _, err := cxtp.DigestOf([]cxtp.CDB{{Data: make([]byte, cxtp.MaxBlock)}}); err == nil {
		t.Error("digest of a block that cannot be sent")
	}
}
