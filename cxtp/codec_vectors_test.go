package cxtp_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strconv"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/testvectors"
)

// codecVectors gives the vectors of the types that want accepts.
func codecVectors(t testing.TB, want func(kind string) bool) []testvectors.Vector {
	t.Helper()
	all, err := testvectors.Load("codec")
	if err != nil {
		t.Fatal(err)
	}
	var some []testvectors.Vector
	for _, v := range all {
		if want(v.Type) {
			some = append(some, v)
		}
	}
	if len(some) == 0 {
		t.Fatal("no vectors of this kind")
	}
	return some
}

func isBlock(kind string) bool { return blockCodecs[kind].fpt != 0 }
func isToken(kind string) bool { return kind == "token" }
func isMessage(kind string) bool {
	return !isBlock(kind) && !isToken(kind)
}

func octetsOf(t testing.TB, digits string) []byte {
	t.Helper()
	octets, err := testvectors.Octets(digits)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}

// canonical is what the decoded vector must be encoded to.
func canonical(t testing.TB, v testvectors.Vector) []byte {
	if v.Canonical != "" {
		return octetsOf(t, v.Canonical)
	}
	return octetsOf(t, v.Hex)
}

// wantParseError demands a ParseError at this field and offset.
func wantParseError(t *testing.T, err error, field string, offset int) {
	t.Helper()
	var parse *cxtp.ParseError
	if !errors.As(err, &parse) {
		t.Fatalf("error is %v, want a ParseError", err)
	}
	if parse.Field != field || parse.Offset != offset {
		t.Errorf("error is at %q, octet %d, want %q, octet %d: %v", parse.Field, parse.Offset, field, offset, err)
	}
}

// wantFields demands that each of these names has this value once at least.
func wantFields(t *testing.T, fields []cxtp.FieldDump, prefix string, want map[string]string) {
	t.Helper()
	for name, value := range want {
		name = prefix + name
		var seen []string
		found := false
		for _, f := range fields {
			if f.Name == name {
				seen = append(seen, f.Value)
				found = found || f.Value == value
			}
		}
		if !found {
			t.Errorf("%s is %q, want %q", name, seen, value)
		}
	}
}

func TestMessageVectors(t *testing.T) {
	for _, v := range codecVectors(t, isMessage) {
		if hasWrongToken(v) {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			octets := octetsOf(t, v.Hex)
			m, err := cxtp.Decode(octets)
			fields, describeErr := cxtp.Describe(octets, cxtp.DescribeOptions{ShowSecrets: true})
			if !v.Valid {
				wantParseError(t, err, v.Error.Field, v.Error.Offset)
				wantParseError(t, describeErr, v.Error.Field, v.Error.Offset)
				return
			}
			if err != nil || describeErr != nil {
				t.Fatalf("Decode: %v; Describe: %v", err, describeErr)
			}
			if m.Type().String() != v.Type {
				t.Errorf("type is %s, want %s", m.Type(), v.Type)
			}
			encoded, err := m.Append([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if want := append([]byte("before"), canonical(t, v)...); !bytes.Equal(encoded, want) {
				t.Errorf("encoded again:\n%x, want\n%x", encoded, want)
			}
			wantFields(t, fields, "", v.Fields)
		})
	}
}

// hasWrongToken reports whether a vector can be read, and only its token is wrong.
func hasWrongToken(v testvectors.Vector) bool {
	return !v.Valid && v.Error.Layer == testvectors.LayerToken
}

// TestMACVectors checks the tokens and MACs of the messages that have one against
// those that another program computed.
func TestMACVectors(t *testing.T) {
	checked := map[bool]int{}
	for _, v := range codecVectors(t, isMessage) {
		if v.Key == "" {
			continue
		}
		key := secret.New(octetsOf(t, v.Key))
		m, err := cxtp.Decode(octetsOf(t, v.Hex))
		if err != nil {
			t.Fatalf("%s: %v", v.Name, err)
		}
		var right bool
		switch m := m.(type) {
		case *cxtp.CTAR:
			right = cxtp.VerifyToken(key, m.Previous, m.Sequence, m.Requests, m.Token)
		case *cxtp.CTReq:
			right = cxtp.VerifyToken(key, m.Previous, m.Sequence, m.Requests, m.Token)
		case interface{ Verify(secret.Key) bool }:
			right = m.Verify(key)
		}
		if right != v.Valid {
			t.Errorf("%s: token or MAC is accepted: %t", v.Name, right)
		}
		checked[v.Valid]++
	}
	if checked[true] == 0 || checked[false] == 0 {
		t.Errorf("%d vectors with a right token or MAC, %d with a wrong one", checked[true], checked[false])
	}
}

func TestTokenVectors(t *testing.T) {
	for _, v := range codecVectors(t, isToken) {
		t.Run(v.Name, func(t *testing.T) {
			previous := netip.MustParseAddr(v.Fields["MN's Previous IP Address"])
			sequence, err := strconv.ParseUint(v.Fields["Sequence Number"], 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			requests := requestBlocks(t, octetsOf(t, v.Hex))
			token, err := cxtp.ComputeToken(secret.New(octetsOf(t, v.Key)), previous, uint32(sequence), requests)
			if err != nil {
				t.Fatal(err)
			}
			if want := v.Fields["MN Authorization Token"]; hex.EncodeToString(token[:]) != want {
				t.Errorf("token is %x, want %s", token, want)
			}
		})
	}
}

// requestBlocks decodes blocks inside a CT-Req.
func requestBlocks(t *testing.T, blocks []byte) []cxtp.CDB {
	t.Helper()
	octets := append([]byte{0x27, 0x80, 0, byte(16 + len(blocks)), 192, 0, 2, 10, 11: 0, 15: 0}, blocks...)
	var m cxtp.CTReq
	if err := m.Decode(octets); err != nil {
		t.Fatal(err)
	}
	return m.Requests
}

// blockCodecs reads and writes the blocks of the control profile.
var blockCodecs = map[string]struct {
	fpt     cxtp.FPT
	recode  func(cxtp.CDB) (cxtp.CDB, error)
	padding int // how much of the data of a valid block may be missing
}{
	"control block": {cxtp.FPTControl, func(b cxtp.CDB) (cxtp.CDB, error) {
		c, err := cxtp.ParseControl(b)
		if err != nil {
			return cxtp.CDB{}, err
		}
		return c.Block()
	}, 7},
	"node block": {cxtp.FPTNode, func(b cxtp.CDB) (cxtp.CDB, error) {
		n, err := cxtp.ParseNodeState(b)
		if err != nil {
			return cxtp.CDB{}, err
		}
		return n.Block()
	}, 7},
	"strong token": {cxtp.FPTToken, func(b cxtp.CDB) (cxtp.CDB, error) {
		token, err := cxtp.ParseStrongToken(b)
		if err != nil {
			return cxtp.CDB{}, err
		}
		return token.Block()
	}, 4},
	"session name block": {cxtp.FPTSessionName, func(b cxtp.CDB) (cxtp.CDB, error) {
		id, err := cxtp.ParseSessionName(b)
		return cxtp.SessionNameBlock(id), err
	}, 4},
	"error indication block": {cxtp.FPTError, func(b cxtp.CDB) (cxtp.CDB, error) {
		s, err := cxtp.ParseErrorBlock(b)
		return cxtp.ErrorBlock(s), err
	}, 0},
}

// ctdHeader is the size of a CTD's octets before its first block, for IPv4.
const ctdHeader = 12

// inCTD puts an encoded block into a CTD.
func inCTD(block []byte) []byte {
	size := ctdHeader + len(block)
	return append([]byte{0x23, 0x80, byte(size >> 8), byte(size), 0, 0, 0, 0, 192, 0, 2, 10}, block...)
}

func blockOf(t testing.TB, octets []byte) cxtp.CDB {
	t.Helper()
	var m cxtp.CTD
	if err := m.Decode(inCTD(octets)); err != nil {
		t.Fatal(err)
	}
	return m.Blocks[0]
}

func TestBlockVectors(t *testing.T) {
	for _, v := range codecVectors(t, isBlock) {
		t.Run(v.Type+": "+v.Name, func(t *testing.T) {
			octets := octetsOf(t, v.Hex)
			again, err := blockCodecs[v.Type].recode(blockOf(t, octets))
			fields, describeErr := cxtp.Describe(inCTD(octets), cxtp.DescribeOptions{ShowSecrets: true})
			if !v.Valid {
				wantParseError(t, err, v.Error.Field, v.Error.Offset)
				if v.Error.Field != "FPT" { // Describe takes the type for granted
					wantParseError(t, describeErr, "CDB 1 "+v.Error.Field, ctdHeader+v.Error.Offset)
				}
				return
			}
			if err != nil || describeErr != nil {
				t.Fatalf("parse: %v; Describe: %v", err, describeErr)
			}
			encoded, err := again.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if want := canonical(t, v); !bytes.Equal(encoded, want) {
				t.Errorf("encoded again:\n%x, want\n%x", encoded, want)
			}
			wantFields(t, fields, "CDB 1 ", v.Fields)
		})
	}
}

// TestPrefixes cuts every valid message short. As it is, the message contradicts
// its Length; with Length corrected, it is an error or a message of its own.
func TestPrefixes(t *testing.T) {
	for _, v := range codecVectors(t, isMessage) {
		if !v.Valid {
			continue
		}
		whole := canonical(t, v)
		for n := range whole {
			cut := bytes.Clone(whole[:n])
			var parse *cxtp.ParseError
			if _, err := cxtp.Decode(cut); !errors.As(err, &parse) {
				t.Fatalf("%s, %d of %d octets: error is %v, want a ParseError", v.Name, n, len(whole), err)
			}
			if n < 4 {
				continue
			}
			cut[2], cut[3] = byte(n>>8), byte(n)
			m, err := cxtp.Decode(cut)
			if err == nil {
				again, err := m.Append(nil)
				if err != nil || !bytes.Equal(again, cut) {
					t.Fatalf("%s, %d octets: encoded again %x (%v), want %x", v.Name, n, again, err, cut)
				}
			} else if !errors.As(err, &parse) || parse.Offset > n {
				t.Fatalf("%s, %d octets: error is %v, want a ParseError inside", v.Name, n, err)
			}
		}
	}
}

// TestBlockPrefixes cuts the data of every valid block short, by more than its
// padding.
func TestBlockPrefixes(t *testing.T) {
	for _, v := range codecVectors(t, isBlock) {
		codec := blockCodecs[v.Type]
		whole := octetsOf(t, v.Hex)
		b := blockOf(t, whole)
		if !v.Valid || b.Presence == 0 && b.HasPresence {
			continue
		}
		for n := range len(b.Data) - codec.padding {
			short := b
			short.Data = b.Data[:n]
			var parse *cxtp.ParseError
			if _, err := codec.recode(short); !errors.As(err, &parse) {
				t.Fatalf("%s, %d of %d octets: error is %v, want a ParseError", v.Name, n, len(b.Data), err)
			}
		}
	}
}

func TestErrorClasses(t *testing.T) {
	decode := func(octets []byte) error { _, err := cxtp.Decode(octets); return err }
	node := func(presence uint32, data ...byte) error {
		_, err := cxtp.ParseNodeState(cxtp.CDB{FPT: cxtp.FPTNode, HasPresence: true, Presence: presence, Data: data})
		return err
	}
	for _, c := range []struct {
		name string
		err  error
		want error
	}{
		{"version 2", decode([]byte{0x46, 0x80, 0, 8, 192, 0, 2, 1}), cxtp.ErrVersion},
		{"version 2 of an unknown type", decode([]byte{0x49, 0x80, 0, 8, 192, 0, 2, 1}), cxtp.ErrVersion},
		{"type 9", decode([]byte{0x29, 0x80, 0, 8, 192, 0, 2, 1}), cxtp.ErrUnknownType},
		{"critical extension", node(1, 0, 4, 0x80, 5, 0, 0), cxtp.ErrUnknownCritical},
		{"unknown field", node(1 << 20), cxtp.ErrUnknownCritical},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: error is %v, want one that is %v", c.name, c.err, c.want)
		}
	}
	if err := new(cxtp.CTC).Decode([]byte{0x25, 0x80, 0, 8, 192, 0, 2, 1}); err == nil || errors.Is(err, cxtp.ErrUnknownType) {
		t.Errorf("CTDR read as CTC: error is %v, want one about the type, which is known", err)
	}
}
