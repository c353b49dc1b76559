package capture

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"golang.org/x/crypto/cryptobyte"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
)

// FuzzRead reads what should be a capture and a key log. Whatever they are, the
// reader ends, and accounts for what it has read.
func FuzzRead(f *testing.F) {
	f.Add(nodePcap(f), []byte{})
	f.Add(pcapng(f), []byte(logLine))
	for _, v := range icmpVectors(f) {
		f.Add(capturetest.PcapOf(f, layers.LinkTypeRaw, v.octets), []byte{})
	}
	f.Add(straightPcap(f, layers.LinkTypeRaw, 0, straightPackets...), []byte{})
	f.Fuzz(func(t *testing.T, file, keyLog []byte) {
		options := nodePort
		log, err := ReadKeyLog(bytes.NewReader(keyLog))
		if err == nil {
			options.KeyLog = log
		}
		var messages uint64
		summary, err := Read(bytes.NewReader(file), options, func(m Message) error {
			messages++
			if m.Packet == 0 || len(m.Octets) > len(file) || !m.From.IsValid() || !m.To.IsValid() {
				t.Errorf("message %+v", m)
			}
			return nil
		})
		if messages != summary.NodeMessages+summary.RouterMessages {
			t.Errorf("%d messages, %q", messages, summary.Sentences())
		}
		once := summary.NodeMessages + summary.Foreign + summary.Cut + summary.Fragments + summary.Unreadable + summary.OtherLinkTypes + summary.BadICMP
		if options.KeyLog == nil && once > summary.Packets {
			t.Errorf("more than there is: %q, %v", summary.Sentences(), err)
		}
		if errors.Is(err, errNoPacket) && len(file) < maxBetween {
			t.Errorf("%d octets: %v", len(file), err)
		}
	})
}

// FuzzSCTP reads what is in DTLS records, which FuzzRead can hardly reach: the
// input is packets, each behind its length in two octets.
func FuzzSCTP(f *testing.F) {
	chunks := func(all ...[]byte) []byte {
		packet := append([]byte{0x13, 0x88, 0x13, 0x88, 0, 0, 0, 1, 0, 0, 0, 0}, bytes.Join(all, nil)...)
		return append([]byte{byte(len(packet) >> 8), byte(len(packet))}, packet...)
	}
	data := []byte{0, 7, 0, 17, 0, 0, 0, 1, 0, 0, 0, 0, 0x43, 0x58, 0x54, 0x50, 9, 0, 0, 0}
	first := []byte{64, 6, 0, 24, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0x43, 0x58, 0x54, 0x50, 1, 2, 3, 4}
	second := []byte{64, 5, 0, 21, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 5, 0, 0, 0}
	begin := []byte{1, 0, 0, 20, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1}
	f.Add(append(chunks(begin), chunks(second, data, first, []byte{3, 0, 0, 4})...))
	f.Fuzz(func(t *testing.T, packets []byte) {
		total := 0
		d := newDecoder(Options{}, func(m Message) error {
			total += len(m.Octets)
			return nil
		})
		from := &end{arrived: assembler{budget: &d.routes.waiting}}
		in := cryptobyte.String(packets)
		for packet := (cryptobyte.String)(nil); in.ReadUint16LengthPrefixed(&packet); {
			if err := d.packet(frame{}, datagram{}, from, packet); err != nil {
				t.Fatal(err)
			}
		}
		from.arrived.drop()
		if total > len(packets) || d.routes.waiting != maxWaiting {
			t.Errorf("%d octets gave messages of %d; %d octets still wait", len(packets), total, maxWaiting-d.routes.waiting)
		}
	})
}
