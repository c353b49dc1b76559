//go:build linux && lab

package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/transport/sctp"
)

// Under IPsec nothing of an association is seen on the wire, from its first packet on,
// in either family and mode, whoever dials.
func TestSCTPUnderIPsec(t *testing.T) {
	for _, test := range []struct {
		mode string
		ipv6 bool
	}{{"transport", false}, {"transport", true}, {"tunnel", false}, {"tunnel", true}} {
		t.Run(fmt.Sprintf("%s IPv6 %v", test.mode, test.ipv6), func(t *testing.T) {
			w := newWire(t, test.ipv6)
			w.protectIn(test.mode)
			captured := w.watch()
			a, b := w.a(), w.b()
			a.waitUp("b")
			b.waitUp("a")
			for _, size := range []int{1, 1399, 8192, MaxMessage} {
				big := strings.Repeat("x", size)
				a.send("b", big)
				b.expect("a", big)
				b.send("a", big)
				a.expect("b", big)
			}
			_ = a.Close()
			b.waitDown("a", ErrPeerLeft)
			if n := len(captured(protocolSCTP)); n > 0 {
				t.Errorf("%d packets of SCTP in the clear", n)
			}
			if n := len(captured(protocolESP)); n < 100 {
				t.Errorf("%d packets of ESP, want those of 132 KB", n)
			}
		})
	}
}

// Of packets that come twice IPsec takes one: its replay protection is at work.
func TestIPsecRefusesReplays(t *testing.T) {
	w := newWire(t, false)
	w.protect()
	here, err := topology.Here()
	w.must(err)
	refused := func() uint64 {
		counters, err := here.XFRMCounters()
		w.must(err)
		return counters["XfrmInStateSeqError"]
	}
	before := refused()
	w.impair("duplicate 100%")
	a, b := w.a(), w.b()
	a.waitUp("b")
	const count = 20
	for i := range count {
		a.send("b", numbered(i))
		b.expect("a", numbered(i))
	}
	eventually(t, "as many are refused as messages were sent", func() bool { return refused() >= before+count })
}

// Whatever IPsec lacks, the peer is refused before a packet is sent, with a sentence
// that says what it is.
func TestSCTPIsRefusedWithoutIPsec(t *testing.T) {
	const out = "src 203.0.113.1 dst 203.0.113.2 dir out "
	const in = "src 203.0.113.2 dst 203.0.113.1 dir in "
	const esp = "tmpl proto esp reqid 1 mode transport"
	for _, test := range []struct {
		name  string
		spoil func(w *wire)
		want  string
	}{
		{"no policies", func(w *wire) { w.ip("xfrm policy flush") }, "no policy covers what is said to 203.0.113.2:5091"},
		{"no outbound policy", func(w *wire) { w.ip("xfrm policy delete " + out) }, "no policy covers what is said to"},
		{"no inbound policy", func(w *wire) { w.ip("xfrm policy delete " + in) }, "no policy covers what is said from"},
		{"optional", func(w *wire) { w.ip("xfrm policy update " + out + "priority 100 " + esp + " level use") }, "make it required"},
		{"optional inbound", func(w *wire) { w.ip("xfrm policy update " + in + "priority 100 " + esp + " level use") }, "make it required"},
		{"AH", func(w *wire) { w.ip("xfrm policy update " + out + "priority 100 tmpl proto ah reqid 1 mode transport") }, "does not encrypt"},
		{"exception", func(w *wire) {
			w.ip("xfrm policy update " + out + "priority 100 " + esp)
			w.ip("xfrm policy add src 203.0.113.0/24 dst 0.0.0.0/0 proto sctp dir out priority 9")
		}, "in the clear"},
		{"null encryption", func(w *wire) {
			w.ip("xfrm state flush")
			w.ip("xfrm state add src 203.0.113.1 dst 203.0.113.2 proto esp spi 0x77 reqid 1 mode transport enc ecb(cipher_null) none auth hmac(sha256) 0x0123456789")
		}, "does not encrypt"},
		{"exempt interface", func(w *wire) { w.set("ipv4/conf/lo/disable_xfrm", "1") }, "disable_xfrm exempts"},
		{"SCTP in UDP", func(w *wire) {
			w.set("sctp/udp_port", "9899")
			w.t.Cleanup(func() { w.set("sctp/udp_port", "0") })
		}, "udp_port lets SCTP in"},
		{"exempt host", func(w *wire) {
			w.set("ipv4/conf/all/disable_policy", "1")
			w.t.Cleanup(func() { w.set("ipv4/conf/all/disable_policy", "0") })
		}, "disable_policy exempts"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWire(t, false)
			w.protect()
			test.spoil(w)
			captured := w.watch()
			a := w.a()
			e := wait(a, func(PeerRefused) bool { return true })
			if !errors.Is(e.Reason, ErrUnprotected) || !strings.Contains(e.Reason.Error(), test.want) {
				t.Errorf("refused because of %v, want %q", e.Reason, test.want)
			}
			refusedOnceCountedAlways(t, a)
			if got := a.stats("b"); got.Handshakes != 0 || !strings.Contains(got.LastError, test.want) {
				t.Errorf("stats %+v", got)
			}
			if n := len(captured(protocolSCTP)); n > 0 {
				t.Errorf("%d packets were sent", n)
			}
		})
	}
}

// Who dials us without IPsec is refused as well, and what it sends is not heard.
func TestSCTPIsNotAcceptedWithoutIPsec(t *testing.T) {
	w := newWire(t, false)
	b := w.b()
	a := w.a(insecure)
	a.send("b", "listen to me")
	e := wait(b, func(PeerRefused) bool { return true })
	if !errors.Is(e.Reason, ErrUnprotected) {
		t.Errorf("refused because of %v", e.Reason)
	}
	eventually(t, "two associations of a have ended", func() bool { return a.stats("b").Handshakes > 1 })
	if s := b.stats("a"); s.Handshakes != 0 || s.MessagesReceived != 0 || len(b.msgs) > 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestSCTPWithoutIPsecOnDemand(t *testing.T) {
	w := newWire(t, true)
	a, b := w.a(insecure), w.b(insecure)
	a.waitUp("b")
	b.waitUp("a")
	a.send("b", "ping")
	b.expect("a", "ping")
}

// An association does not outlive the policies that cover it, and a message that
// waits meanwhile is sent when they are back.
func TestPolicyVanishes(t *testing.T) {
	const policy = "src 203.0.113.1 dst 203.0.113.2 dir out"
	w := newWire(t, false)
	w.protect()
	a, b := w.a(), w.b()
	a.waitUp("b")
	b.waitUp("a")
	w.ip("xfrm policy delete " + policy)
	a.waitDown("b", ErrUnprotected)
	a.send("b", "waits for IPsec")
	w.ip("xfrm policy add " + policy + " tmpl proto esp reqid 1 mode transport")
	a.waitUp("b")
	b.expect("a", "waits for IPsec")
}

// A bypass that goes before the policies ends an association, too.
func TestExceptionAppears(t *testing.T) {
	w := newWire(t, false)
	w.protect()
	a, b := w.a(), w.b()
	a.waitUp("b")
	b.waitUp("a")
	w.ip("xfrm policy add src 0.0.0.0/0 dst 203.0.113.2 dir in priority 1")
	b.waitDown("a", ErrUnprotected)
}

func TestSCTPSilentPeerIsDead(t *testing.T) {
	w := newWire(t, false)
	quick := func(c *Config) { c.KeepaliveInterval, c.KeepaliveTimeout = 100*time.Millisecond, 800*time.Millisecond }
	a, b := w.a(insecure, quick), w.b(insecure, quick)
	a.waitUp("b")
	b.waitUp("a")
	w.cut(100)
	a.waitDown("b", ErrPeerDead)
	b.waitDown("a", ErrPeerDead)
	a.send("b", "waits for the network")
	w.cut(0)
	a.waitUp("b")
	b.waitUp("a")
	b.expect("a", "waits for the network")
}

// A router that comes back after it could not say goodbye takes its association again,
// without waiting for its peer to find it dead.
func TestSCTPRestart(t *testing.T) {
	w := newWire(t, false)
	w.protect()
	patient := func(c *Config) { c.KeepaliveTimeout = time.Minute }
	a, b := w.a(patient), w.b(patient)
	a.waitUp("b")
	b.waitUp("a")
	w.cut(100)
	_ = b.Close()
	b = w.b(patient) // it dials in vain: otherwise, its kernel would say that it knows of nothing
	w.cut(0)
	down := a.waitDown("b", ErrPeerReplaced)
	if !errors.Is(down.Reason, sctp.ErrRestarted) {
		t.Errorf("replaced because of %v", down.Reason)
	}
	a.waitUp("b")
	b.waitUp("a")
	a.send("b", "to the restarted")
	b.expect("a", "to the restarted")
	b.send("a", "from the restarted")
	a.expect("b", "from the restarted")
}

// Everything arrives over a path that loses a fifth, and whole.
func TestSCTPLoss(t *testing.T) {
	w := newWire(t, false)
	w.cut(20)
	a, b := w.a(insecure), w.b(insecure)
	a.waitUp("b")
	const count = 50
	filler := strings.Repeat(" ", 3000)
	for i := range count {
		a.send("b", numbered(i)+filler)
	}
	got := map[string]bool{}
	for range count {
		got[strings.TrimSpace(string(b.receive().msg))] = true
	}
	if len(got) != count {
		t.Errorf("%d different messages, want %d", len(got), count)
	}
}

// What SCTP holds of a stage is given up when its time is over; a final is not, however
// long the path was cut (RFC 3758, RFC 4067 section 3.1).
func TestLifetimeEndsStagesOnly(t *testing.T) {
	w := newWire(t, false)
	patient := func(c *Config) { c.KeepaliveTimeout = time.Minute }
	a, b := w.a(insecure, patient), w.b(insecure, patient)
	a.waitUp("b")
	b.waitUp("a")
	w.cut(100)
	expires := time.Now().Add(2 * time.Second)
	if err := a.Send("b", []byte("stage"), expires); err != nil {
		t.Fatal(err)
	}
	a.send("b", "final")
	if s := a.stats("b"); s.MessagesSent != 2 {
		t.Fatalf("SCTP has %d messages, want both", s.MessagesSent)
	}
	<-time.After(time.Until(expires) + 500*time.Millisecond)
	w.cut(0)
	b.expect("a", "final")
	a.send("b", "later")
	b.expect("a", "later")
}

func TestSCTPLeavesNoGoroutine(t *testing.T) {
	eventually(t, "a clean start", func() bool { return len(goroutines()) == 0 })
	w := newWire(t, false)
	w.protect()
	a, b := w.a(), w.b()
	a.waitUp("b")
	b.waitUp("a")
	_ = a.Close()
	_ = b.Close()
	eventually(t, "no goroutine left", func() bool { return len(goroutines()) == 0 })
}

// What stands on the wire is what RFC 4067 section 3.1 and RFC 4065 section 2 say.
func TestSCTPOnTheWire(t *testing.T) {
	w := newWire(t, false)
	captured := w.watch()
	a, b := w.a(insecure), w.b(insecure)
	a.waitUp("b")
	a.send("b", "octets of a message")
	b.expect("a", "octets of a message")
	a.send("b", strings.Repeat("x", 4000))
	b.receive()
	data, inits := 0, 0
	for _, frame := range captured(protocolSCTP) {
		for _, l := range gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layers() {
			switch l := l.(type) {
			case *layers.SCTP:
				if l.SrcPort != 5091 || l.DstPort != 5091 {
					t.Errorf("ports %d and %d", l.SrcPort, l.DstPort)
				}
			case *layers.SCTPInit:
				if inits++; l.OutboundStreams != 1 || l.InboundStreams != 1 {
					t.Errorf("%d and %d streams", l.OutboundStreams, l.InboundStreams)
				}
				addresses, partial := 0, false
				for _, p := range l.Parameters {
					const ipv4Address, forwardTSN = 5, 0xc000
					addresses += map[bool]int{true: 1}[p.Type == ipv4Address]
					partial = partial || p.Type == forwardTSN
				}
				if addresses > 0 || !partial {
					t.Errorf("%d addresses beside the packet's own, PR-SCTP %v", addresses, partial)
				}
			case *layers.SCTPData:
				if data++; !l.Unordered || l.StreamId != 0 || string(binary.BigEndian.AppendUint32(nil, uint32(l.PayloadProtocol))) != "CXTP" {
					t.Errorf("unordered %v, stream %d, payload protocol %x", l.Unordered, l.StreamId, uint32(l.PayloadProtocol))
				}
				if l.BeginFragment && l.EndFragment && !bytes.Equal(l.Payload, []byte("octets of a message")) {
					t.Errorf("payload %q", l.Payload)
				}
			}
		}
	}
	if data < 4 || inits < 2 {
		t.Errorf("%d data chunks, %d INITs and INIT ACKs", data, inits)
	}
}

// A message does not wait for the acknowledgement of the one before it, in order to
// share a packet with the next.
func TestSCTPDoesNotWaitToBundle(t *testing.T) {
	w := newWire(t, false)
	a, b := w.a(insecure), w.b(insecure)
	a.waitUp("b")
	b.waitUp("a")
	w.impair("delay 100ms")
	captured := w.watch()
	for i := range 3 {
		a.send("b", numbered(i))
	}
	for range 3 {
		b.receive()
	}
	packets, seen := 0, map[uint32]bool{}
	for _, frame := range captured(protocolSCTP) {
		fresh := false // sent again it may share a packet, and may be on a busy machine
		for _, l := range gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.Default).Layers() {
			if data, ok := l.(*layers.SCTPData); ok {
				fresh = fresh || !seen[data.TSN]
				seen[data.TSN] = true
			}
		}
		if fresh {
			packets++
		}
	}
	if packets != 3 {
		t.Errorf("%d packets for three messages", packets)
	}
}

// Neither another port of a peer's host nor a peer with several addresses is taken.
func TestSCTPStrangers(t *testing.T) {
	t.Run("port", func(t *testing.T) {
		w := newWire(t, false)
		a := w.a(insecure)
		w.dialRaw("203.0.113.2:5092", "203.0.113.1:5091")
		e := wait(a, func(PeerRefused) bool { return true })
		if !errors.Is(e.Reason, errStranger) || e.Remote.String() != "203.0.113.2:5092" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("multihomed", func(t *testing.T) {
		w := newWire(t, false)
		a := w.a(insecure)
		w.dialRaw("0.0.0.0:5093", "203.0.113.1:5091")
		e := wait(a, func(PeerRefused) bool { return true })
		if !errors.Is(e.Reason, sctp.ErrMultihomed) {
			t.Errorf("%+v", e)
		}
		if s := a.stats("b"); s.Handshakes != 0 {
			t.Errorf("stats %+v", s)
		}
	})
}

// Another implementation's messages are taken, in order and without a payload protocol
// as they may be, up to 65,536 octets. A larger one ends the association.
func TestSCTPFromOthers(t *testing.T) {
	w := newWire(t, false)
	a := w.a(insecure)
	fd := w.dialRaw("203.0.113.2:5091", "203.0.113.1:5091")
	w.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 1<<20))
	a.waitUp("b")
	for _, size := range []int{1, sctp.MaxMessage, sctp.MaxMessage + 1} {
		w.must(unix.Sendto(fd, bytes.Repeat([]byte{7}, size), 0, nil))
		if size <= sctp.MaxMessage {
			if got := a.receive(); got.peer != "b" || len(got.msg) != size {
				t.Errorf("%d octets of %d from %q", len(got.msg), size, got.peer)
			}
		}
	}
	a.waitDown("b", sctp.ErrTooLong)
}
