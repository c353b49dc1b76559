package cxtp_test

import (
	"bytes"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp"
)

// reserved are the reserved bits of each message's second octet, and how many
// octets are before its first entry or block with an IPv4 address (RFC 4067
// sections 2.5.1 to 2.5.6). 0: it has none.
var reserved = map[cxtp.Type]struct {
	bits   byte
	status int
	block  int
}{
	cxtp.TypeCTAR:  {bits: 0x3F, block: 20},
	cxtp.TypeCTAA:  {bits: 0x7F, status: 8},
	cxtp.TypeCTD:   {bits: 0x3F, block: 12},
	cxtp.TypePCTD:  {bits: 0x3F},
	cxtp.TypeCTDR:  {bits: 0x3F, status: 8},
	cxtp.TypeCTC:   {bits: 0x7F},
	cxtp.TypeCTReq: {bits: 0x7F, block: 16},
}

// TestReservedBits sets the reserved bits of every message: it means what it did
// before, and is sent with zeros.
func TestReservedBits(t *testing.T) {
	for kind, r := range reserved {
		t.Run(kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				m := draws[kind](t, true)
				clean, err := m.Append(nil)
				if err != nil {
					t.Fatal(err)
				}
				set := bytes.Clone(clean)
				for at, bits := range map[int]byte{1: r.bits, r.status + 3: 0xFF, r.block + 3: 0x7F} {
					switch {
					case at == 3 || at >= len(set):
					case set[at]&bits != 0:
						t.Fatalf("octet %d is sent as %#x", at, set[at])
					default:
						set[at] |= bits
					}
				}
				again, err := cxtp.Decode(set)
				if err != nil || !reflect.DeepEqual(again, m) {
					t.Fatalf("with reserved bits %v (%v), without %v", again, err, m)
				}
				if sent, err := again.Append(nil); err != nil || !bytes.Equal(sent, clean) {
					t.Fatalf("passed on as %x (%v), want %x", sent, err, clean)
				}
			})
		})
	}
}
