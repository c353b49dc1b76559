package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
)

// cutPcap is a capture of a packet of which n octets are there.
func cutPcap(t *testing.T, link layers.LinkType, packet []byte, n int) []byte {
	t.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriterNanos(&file)
	if err := w.WriteFileHeader(uint32(n), link); err != nil {
		t.Fatal(err)
	}
	info := capturetest.Info(0, packet)
	info.CaptureLength = n
	if err := w.WritePacket(info, packet[:n]); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// pcapng is a capture with a packet on each of two interfaces, of different
// kinds, and key logs and comments in between.
func pcapng(t testing.TB) []byte {
	t.Helper()
	var file bytes.Buffer
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ether := capturetest.Frame(t, capturetest.Datagram{From: alice, To: bob, Octets: nodeMessage})
	raw := capturetest.Serialize(t, capturetest.Packet(capturetest.Datagram{From: bob, To: alice, Octets: nodeMessage})...)
	w, err := pcapgo.NewNgWriter(&file, layers.LinkTypeEthernet)
	check(err)
	check(w.WriteDecryptionSecretsBlock(pcapgo.DSB_SECRETS_TYPE_TLS, []byte("# nothing\n")))
	check(w.WritePacketWithOptions(capturetest.Info(0, ether), ether, pcapgo.NgPacketOptions{Comments: []string{"hello"}}))
	second, err := w.AddInterface(pcapgo.NgInterface{Name: "tun0", LinkType: layers.LinkTypeRaw, SnapLength: 1 << 16})
	check(err)
	info := capturetest.Info(1, raw)
	info.InterfaceIndex = second
	check(w.WritePacket(info, raw))
	check(w.Flush())
	return file.Bytes()
}

func TestPcapng(t *testing.T) {
	c := collect(t, pcapng(t), nil, nodePort)
	c.expect(t, Node, sent{alice, bob, nodeMessage}, sent{bob, alice, nodeMessage})
	c.clean(t)
	for i, m := range c.messages {
		if want := capturetest.Start.Add(time.Duration(i) * time.Millisecond); !m.Time.Equal(want) || m.Packet != uint64(i+1) {
			t.Errorf("message %d is of %v and packet %d, want %v", i, m.Time, m.Packet, want)
		}
	}
}

// TestBigEndian reads a file from a machine of the other kind, with nanoseconds.
func TestBigEndian(t *testing.T) {
	frame := capturetest.Frame(t, capturetest.Datagram{From: alice, To: bob, Octets: nodeMessage})
	file := []byte{0xa1, 0xb2, 0x3c, 0x4d, 0, 2, 0, 4}
	for _, n := range []int{0, 0, 1 << 16, int(layers.LinkTypeEthernet), 1000, 5, len(frame), len(frame)} {
		file = binary.BigEndian.AppendUint32(file, uint32(n))
	}
	c := collect(t, append(file, frame...), nil, nodePort)
	c.expect(t, Node, sent{alice, bob, nodeMessage})
	if want := time.Unix(1000, 5); len(c.messages) == 1 && !c.messages[0].Time.Equal(want) {
		t.Errorf("time is %v, want %v", c.messages[0].Time, want)
	}
}

func TestNoCapture(t *testing.T) {
	pcap := nodePcap(t)
	header := pcap[:24]
	version := bytes.Clone(pcap)
	version[4] = 9
	huge := append(bytes.Clone(header), make([]byte, 16)...)
	binary.LittleEndian.PutUint32(huge[24+8:], 1<<31)
	binary.LittleEndian.PutUint32(huge[24+12:], 1<<31)
	longer := bytes.Clone(pcap)
	longer[24+8]++ // more is captured than there was
	for name, test := range map[string]struct {
		file []byte
		want string
	}{
		"empty":            {nil, "the capture is empty"},
		"one octet":        {[]byte{0xd4}, "this is no capture: it begins with d4"},
		"text":             {[]byte("No. Time Source"), "this is no capture: it begins with 4e6f2e20"},
		"compressed":       {[]byte{0x1f, 0x8b, 8, 0}, "gunzip"},
		"header cut":       {pcap[:20], "beginning of the capture: the file breaks off"},
		"pcapng cut":       {pcapng(t)[:9], "beginning of the capture: the file breaks off"},
		"another version":  {version, "beginning of the capture: Unknown major version 9"},
		"packet cut":       {pcap[:len(pcap)-1], "after packet 0: the file breaks off"},
		"packet's data":    {pcap[:24+16], "after packet 0: the file breaks off"},
		"packet's header":  {pcap[:24+15], "after packet 0: the file breaks off"},
		"two and a half":   {append(append(bytes.Clone(pcap), pcap[24:]...), 1, 2, 3), "after packet 2: the file breaks off"},
		"impossible":       {longer, "after packet 0: capture length exceeds"},
		"larger than life": {huge, "after packet 0: capture length exceeds"},
	} {
		c := collect(t, test.file, nil, nodePort)
		if c.err == nil || !strings.Contains(c.err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, c, test.want)
		}
	}
}

// TestTruncation cuts files everywhere: what is before is read, and nothing
// else.
func TestTruncation(t *testing.T) {
	for name, file := range map[string][]byte{"pcap": append(nodePcap(t), nodePcap(t)[24:]...), "pcapng": pcapng(t)} {
		messages := 0
		for n := range len(file) {
			c := collect(t, file[:n], nil, nodePort)
			if len(c.messages) < messages || len(c.messages) > messages+1 {
				t.Fatalf("%s: %d octets give %d messages, one less %d", name, n, len(c.messages), messages)
			}
			messages = len(c.messages)
			if int(c.summary.Packets) != messages {
				t.Fatalf("%s: %d octets have %d packets and %d messages", name, n, c.summary.Packets, messages)
			}
		}
		if messages == 0 {
			t.Errorf("%s: no message at all", name)
		}
	}
}

// TestStreaming gives the file octet by octet, and then an error.
func TestStreaming(t *testing.T) {
	broken := errors.New("disk on fire")
	file := io.MultiReader(bytes.NewReader(nodePcap(t)), iotest.ErrReader(broken))
	n := 0
	summary, err := Read(iotest.OneByteReader(file), nodePort, func(Message) error { n++; return nil })
	if !errors.Is(err, broken) || n != 1 || summary.NodeMessages != 1 {
		t.Errorf("%d messages, %q, %v", n, summary.Sentences(), err)
	}
	var kept []byte
	_, err = Read(bytes.NewReader(nodePcap(t)), nodePort, func(m Message) error { kept = m.Octets; return nil })
	if err != nil || !bytes.Equal(kept, make([]byte, len(nodeMessage))) {
		t.Errorf("after its time, the message is %x (%v), want zeros", kept, err)
	}
	enough := errors.New("enough")
	if _, err := Read(bytes.NewReader(nodePcap(t)), nodePort, func(Message) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the taker's error became %v", err)
	}
}

// endless is a pcapng file whose blocks after the first ones repeat for ever.
type endless struct {
	start, block []byte
	read         int
}

func (e *endless) Read(b []byte) (n int, err error) {
	for n < len(b) {
		part := e.block[max(0, e.read-len(e.start))%len(e.block):]
		if e.read < len(e.start) {
			part = e.start[e.read:]
		}
		copied := copy(b[n:], part)
		n, e.read = n+copied, e.read+copied
	}
	return n, nil
}

// TestRation reads files that never end and never have a packet, or have one
// that never ends.
func TestRation(t *testing.T) {
	section := []byte{0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 28, 0, 0, 0}
	device := []byte{1, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0}
	secrets := []byte{10, 0, 0, 0, 0xf0, 0xff, 0xff, 0x7f, 0x4b, 0x53, 0x4c, 0x54, 0, 0xff, 0xff, 0x7f}
	packet := []byte{6, 0, 0, 0, 0xf0, 0xff, 0xff, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0x7f, 0, 0xff, 0xff, 0x7f}
	for name, file := range map[string]*endless{
		"interfaces": {start: section, block: device},
		"key log":    {start: append(section, secrets...), block: []byte{0}},
		"packet":     {start: append(append(section, device...), packet...), block: []byte{0}},
	} {
		_, err := Read(file, nodePort, func(Message) error { return nil })
		if !errors.Is(err, errNoPacket) {
			t.Errorf("%s: %v, want %v", name, err, errNoPacket)
		}
		if file.read > maxBetween+1<<20 {
			t.Errorf("%s: %d octets were read", name, file.read)
		}
	}
	// With packets, it goes on for longer than the ration.
	frame := capturetest.Frame(t, capturetest.Datagram{From: alice, To: bob, Octets: noise(1400)})
	long := nodePcap(t)[:24]
	for i := 0; len(long) < 2*maxBetween; i++ {
		one := capturetest.PcapOf(t, layers.LinkTypeEthernet, frame)
		long = append(long, one[24:]...)
	}
	if c := collect(t, long, nil, nodePort); c.err != nil {
		t.Error(c.err)
	}
}
