package cxtp_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// FuzzDecode: what is decoded, encoded and decoded again is the same, and what
// is not decoded has a ParseError inside the octets. Describe agrees.
func FuzzDecode(f *testing.F) {
	for _, v := range codecVectors(f, isMessage) {
		f.Add(octetsOf(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		m, err := cxtp.Decode(octets)
		fields, describeErr := cxtp.Describe(octets, cxtp.DescribeOptions{})
		if len(fields) > 8*len(octets) {
			t.Errorf("%d fields in %d octets", len(fields), len(octets))
		}
		if err != nil {
			insideError(t, err, len(octets))
			insideError(t, describeErr, len(octets))
			return
		}
		encoded, err := m.Append(nil)
		if err != nil {
			t.Fatalf("decoded, but cannot be encoded: %v", err)
		}
		again, err := cxtp.Decode(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, m) {
			t.Fatalf("decoded %+v, encoded and decoded again %+v", m, again)
		}
	})
}

func insideError(t *testing.T, err error, size int) {
	t.Helper()
	var parse *cxtp.ParseError
	if !errors.As(err, &parse) {
		t.Fatalf("error is %v, want a ParseError", err)
	}
	if parse.Offset < 0 || parse.Offset > size || parse.Message == "" || parse.Field == "" || parse.Reason == "" {
		t.Fatalf("%+v does not say where and why in %d octets", parse, size)
	}
}

// fuzzBlock makes the octets of a fuzzer the data of a block.
func fuzzBlock(fpt cxtp.FPT, presence bool, octets []byte) cxtp.CDB {
	b := cxtp.CDB{FPT: fpt, HasPresence: presence, Data: octets}
	if presence && len(octets) >= 4 {
		b.Presence, b.Data = binary.BigEndian.Uint32(octets), octets[4:]
	}
	return b
}

func addBlocks(f *testing.F, fpt cxtp.FPT) {
	for _, v := range codecVectors(f, isBlock) {
		if octets := octetsOf(f, v.Hex); cxtp.FPT(binary.BigEndian.Uint16(octets)) == fpt {
			f.Add(octets[4:])
		}
	}
}

// FuzzControl: as FuzzDecode, for control blocks.
func FuzzControl(f *testing.F) {
	addBlocks(f, cxtp.FPTControl)
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > cxtp.MaxBlock-4 {
			return
		}
		c, err := cxtp.ParseControl(fuzzBlock(cxtp.FPTControl, false, octets))
		if err != nil {
			insideError(t, err, 4+len(octets))
			return
		}
		b, err := c.Block()
		if err != nil {
			t.Fatalf("parsed, but cannot be encoded: %v", err)
		}
		if again, err := cxtp.ParseControl(b); err != nil || !reflect.DeepEqual(again, c) {
			t.Fatalf("parsed %+v, encoded and parsed again %+v (%v)", c, again, err)
		}
	})
}

// FuzzNode: as FuzzDecode, for node blocks.
func FuzzNode(f *testing.F) {
	addBlocks(f, cxtp.FPTNode)
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > cxtp.MaxBlock-4 {
			return
		}
		n, err := cxtp.ParseNodeState(fuzzBlock(cxtp.FPTNode, true, octets))
		if err != nil {
			insideError(t, err, 8+len(octets))
			return
		}
		b, err := n.Block()
		if err != nil {
			t.Fatalf("parsed, but cannot be encoded: %v", err)
		}
		if again, err := cxtp.ParseNodeState(b); err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("parsed %+v, encoded and parsed again %+v (%v)", n, again, err)
		}
	})
}

// FuzzStrongToken: as FuzzDecode, for strong tokens.
func FuzzStrongToken(f *testing.F) {
	addBlocks(f, cxtp.FPTToken)
	f.Fuzz(func(t *testing.T, octets []byte) {
		if len(octets) > cxtp.MaxBlock-4 {
			return
		}
		token, err := cxtp.ParseStrongToken(fuzzBlock(cxtp.FPTToken, false, octets))
		if err != nil {
			insideError(t, err, 4+len(octets))
			return
		}
		b, err := token.Block()
		if err != nil {
			t.Fatalf("parsed, but cannot be encoded: %v", err)
		}
		if again, err := cxtp.ParseStrongToken(b); err != nil || again != token {
			t.Fatalf("parsed %+v, encoded and parsed again %+v (%v)", token, again, err)
		}
	})
}
