package capture

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

const (
	// maxBetween bounds what is read of a capture until there is a packet, and
	// so the packet too, in octets. The longest that is usual has 256 KiB.
	maxBetween = 4 << 20
	// packetOverhead is what a file may have for a packet besides its octets.
	packetOverhead = 256
)

var errNoPacket = fmt.Errorf("there are %d MiB without a whole packet", maxBetween>>20)

// ration bounds what the library keeps of a capture: interfaces, names of
// hosts, key logs, of which pcapng files may have any number. It lets more pass
// as packets come.
type ration struct {
	r    io.Reader
	left int
}

func (t *ration) Read(b []byte) (int, error) {
	if t.left == 0 {
		return 0, errNoPacket
	}
	n, err := t.r.Read(b[:min(len(b), t.left)])
	t.left -= n
	return n, err
}

func (t *ration) packet(octets int) {
	t.left = min(t.left+octets+packetOverhead, maxBetween)
}

// source is a capture that is open for reading.
type source struct {
	ration  *ration
	packets gopacket.ZeroCopyPacketDataSource
	link    layers.LinkType // of every packet; in pcapng, each has its own
}

// frame is one packet as it is in the capture. Its octets are those of the
// source, until the next one.
type frame struct {
	time   time.Time // zero if unknown
	link   layers.LinkType
	octets []byte
	cut    bool // there was more of it on the wire
}

// The first four octets of the kinds of files.
const (
	magicPcapng = "\x0a\x0d\x0d\x0a"
	magicGzip   = "\x1f\x8b"
)

var magicPcap = map[string]bool{
	"\xa1\xb2\xc3\xd4": true, "\xd4\xc3\xb2\xa1": true, // microseconds
	"\xa1\xb2\x3c\x4d": true, "\x4d\x3c\xb2\xa1": true, // nanoseconds
}

// open finds out which kind of file it is. Compressed ones, which the library
// would read, are left to the tools for that: what they unfold to has no bound.
func open(r io.Reader) (*source, error) {
	buffered := bufio.NewReader(r)
	start, err := buffered.Peek(len(magicPcapng))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("failed to read the capture: %w", err)
	}
	s := &source{ration: &ration{buffered, maxBetween}}
	magic := string(start)
	switch {
	case magic == magicPcapng:
		s.packets, err = pcapgo.NewNgReader(s.ration, pcapgo.NgReaderOptions{WantMixedLinkType: true})
	case magicPcap[magic]:
		var file *pcapgo.Reader
		if file, err = pcapgo.NewReader(s.ration); err == nil {
			s.packets, s.link = file, file.LinkType()
		}
	case len(magic) > 1 && magic[:2] == magicGzip:
		return nil, errors.New("the capture is compressed: unpack it first, for example with gunzip")
	case magic == "":
		return nil, errors.New("the capture is empty")
	default:
		return nil, fmt.Errorf("this is no capture: it begins with %s, and neither pcap nor pcapng files do", hex.EncodeToString(start))
	}
	if err != nil {
		return nil, fmt.Errorf("failed to read the beginning of the capture: %w", s.explain(err))
	}
	return s, nil
}

// next returns the next packet, or io.EOF after the last one.
func (s *source) next() (frame, error) {
	octets, info, err := s.packets.ZeroCopyReadPacketData()
	switch {
	case errors.Is(err, io.EOF) && info.CaptureLength == 0:
		return frame{}, io.EOF
	case err != nil: // an EOF that comes after the packet's header is none
		return frame{}, s.explain(err)
	}
	s.ration.packet(len(octets))
	f := frame{time: info.Timestamp, link: s.link, octets: octets, cut: info.CaptureLength < info.Length}
	if len(info.AncillaryData) > 0 {
		f.link, _ = info.AncillaryData[0].(layers.LinkType)
	}
	return f, nil
}

// explain says what an error of the library means.
func (s *source) explain(err error) error {
	switch {
	case s.ration.left == 0: // the library does not always say so
		return errNoPacket
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the file breaks off")
	}
	return err
}
