package capture

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
	"github.com/cxtp/cxtp/testvectors"
)

// collected is what a capture gave.
type collected struct {
	messages []Message
	summary  *Summary
	err      error
}

// collect reads a capture; an empty key log is none.
func collect(t testing.TB, file, keyLog []byte, options Options) collected {
	t.Helper()
	if len(keyLog) > 0 {
		log, err := ReadKeyLog(bytes.NewReader(keyLog))
		if err != nil {
			t.Fatal(err)
		}
		options.KeyLog = log
	}
	var c collected
	c.summary, c.err = Read(bytes.NewReader(file), options, func(m Message) error {
		m.Octets = slices.Clone(m.Octets)
		c.messages = append(c.messages, m)
		return nil
	})
	return c
}

func (c collected) String() string {
	return fmt.Sprintf("%d messages, %q, %v", len(c.messages), c.summary.Sentences(), c.err)
}

// routerAt is for a capture with routers at an address.
func routerAt(at netip.AddrPort) Options { return Options{RouterPorts: []uint16{at.Port()}} }

// sent is a message that a test sent.
type sent struct {
	from, to netip.AddrPort
	octets   []byte
}

// expect checks that the messages are these, in this order, and that nothing is
// amiss.
func (c collected) expect(t testing.TB, link Link, want ...sent) {
	t.Helper()
	if c.err != nil {
		t.Fatalf("failed to read: %v", c.err)
	}
	for i, w := range want {
		if i >= len(c.messages) {
			t.Errorf("message %d is missing", i)
			continue
		}
		m := c.messages[i]
		if m.From != w.from || m.To != w.to || m.Link != link || !bytes.Equal(m.Octets, w.octets) {
			t.Errorf("message %d: %d octets from %v to %v (%v), want %d from %v to %v (%v)",
				i, len(m.Octets), m.From, m.To, m.Link, len(w.octets), w.from, w.to, link)
		}
	}
	if len(c.messages) > len(want) {
		t.Errorf("%d messages, want %d", len(c.messages), len(want))
	}
}

// clean checks that everything could be read.
func (c collected) clean(t testing.TB) {
	t.Helper()
	s := c.summary
	if len(s.Sealed) > 0 || s.NotDTLS+s.NotCXTP+s.BadSCTP+s.BadICMP+s.Incomplete+s.Cut+s.Fragments+s.Unreadable+s.OtherLinkTypes+s.OtherPayload+s.Foreign > 0 {
		t.Errorf("not all was read: %q", s.Sentences())
	}
}

// vectorMessages are messages of every type.
func vectorMessages(t testing.TB) [][]byte {
	t.Helper()
	vectors, err := testvectors.Load("codec")
	if err != nil {
		t.Fatal(err)
	}
	var messages [][]byte
	for _, v := range vectors {
		octets, err := v.Octets()
		if err != nil {
			t.Fatal(err)
		}
		if v.Valid && isMessage[v.Type] {
			messages = append(messages, octets)
		}
	}
	return messages
}

var isMessage = map[string]bool{
	"CTAR": true, "CTAA": true, "CTD": true, "PCTD": true, "CTDR": true, "CTC": true,
	"CT-Req": true, "Outcome": true, "Update": true, "UpdateAck": true,
}

// noise is octets that repeat nowhere.
func noise(size int) []byte {
	octets := make([]byte, size)
	state := uint32(size)
	for i := range octets {
		state = state*1664525 + 1013904223
		octets[i] = byte(state >> 24)
	}
	return octets
}

// nodeMessage is a message that is often needed.
var nodeMessage = []byte{0x26, 0x80, 0x00, 0x08, 0xc6, 0x33, 0x64, 0x01}

var (
	alice = netip.MustParseAddrPort("192.0.2.10:40000")
	bob   = netip.MustParseAddrPort("192.0.2.1:5092")
)

func port(n int) netip.AddrPort {
	return netip.MustParseAddrPort(fmt.Sprintf("192.0.2.%d:%d", n/60000+20, n%60000+1024))
}

func nodePcap(t testing.TB) []byte {
	t.Helper()
	return capturetest.Pcap(t, []capturetest.Datagram{{From: alice, To: bob, Octets: nodeMessage}})
}

var nodePort = Options{NodePorts: []uint16{5092}, RouterPorts: []uint16{5091}}
