package cxtp_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/transport"
)

// TestLargestUpdate sends the largest that there is to a node.
func TestLargestUpdate(t *testing.T) {
	text, err := (&cxtp.Update{
		Previous: netip.MustParseAddr("2001:db8::1"), Gateway: netip.MustParseAddrPort("[2001:db8::2]:4500"), Share: cxtp.Share{1},
		SPIs:   slices.Repeat([]cxtp.SPIChange{{Protocol: 50, Old: 1, New: 2}}, cxtp.MaxUpdateEntries),
		Floors: slices.Repeat([]cxtp.SequenceFloor{{Protocol: 50, SPI: 3}}, cxtp.MaxUpdateEntries),
	}).Append(nil)
	if err != nil || len(text) > transport.MaxNodeMessage {
		t.Errorf("%d octets (%v), and a node takes %d", len(text), err, transport.MaxNodeMessage)
	}
}

// TestUpdateCutOff decodes every beginning of an Update that has everything, with
// the length that it then has: none is one, and each error is inside it.
func TestUpdateCutOff(t *testing.T) {
	whole, err := (&cxtp.Update{
		Previous: netip.MustParseAddr("192.0.2.1"), Session: cxtp.SessionID{1}, Number: 7,
		Gateway: netip.MustParseAddrPort("203.0.113.2:4500"), Share: cxtp.Share{1},
		SPIs:   []cxtp.SPIChange{{Protocol: 50, Old: 0x1001, New: 0x2002}, {Protocol: 51, Old: 0x1003, New: 0x2004}},
		Floors: []cxtp.SequenceFloor{{Protocol: 50, SPI: 0x3003, Number: 1 << 32}, {Protocol: 51, SPI: 0x3004, Number: 5}},
	}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for size := range len(whole) {
		part := append([]byte(nil), whole[:size]...)
		if size >= 4 {
			binary.BigEndian.PutUint16(part[2:], uint16(size))
		}
		var m cxtp.Update
		insideError(t, m.Decode(part), size)
	}
	var m cxtp.Update
	if err := m.Decode(whole); err != nil {
		t.Fatal(err)
	}
}
