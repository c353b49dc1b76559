package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
	"github.com/cxtp/cxtp/testvectors"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cxtp": func() {
		os.Exit(Run(context.Background(), os.Args, "1", Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
	}})
}

// Messages, in hexadecimal.
const (
	ctc      = "26800008c6336401"
	pctdKey  = "0102030405"
	pctdData = "00112233445566778899aabb"
	pctd     = "24c00028000005dcc000020a00010005" + pctdKey + "00000070010200" + pctdData
	ctarHalf = "21800014c000020ac63364010102"
)

// TestCaptures runs the scripts, which find in their folder:
//
//	node.pcap      a CTC, a PCTD and half a CTAR between a node and a router, and
//	               something else
//	routers.pcap   a CTC and a PCTD between routers, an answer to each
//	routers.keys   its key log
//	cut.pcap       node.pcap without its last octet
func TestCaptures(t *testing.T) {
	node := nodeCapture(t)
	routers, keys := routerCapture(t)
	files := map[string][]byte{"node.pcap": node, "cut.pcap": node[:len(node)-1], "routers.pcap": routers, "routers.keys": keys}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, octets := range files {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), octets, 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

func TestInterruptedCapture(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errs bytes.Buffer
	code := Run(ctx, []string{"cxtp", "decode", "--pcap", "-"}, "1", Streams{In: bytes.NewReader(nodeCapture(t)), Out: &out, Err: &errs})
	if code != exitFailed || out.Len() > 0 || !strings.Contains(errs.String(), "interrupted") {
		t.Errorf("status %d: %s%s", code, out.String(), errs.String())
	}
}

// TestNoTimes has a pcapng file with a simple packet block, which has no time.
func TestNoTimes(t *testing.T) {
	packet := capturetest.Frame(t, capturetest.Datagram{
		From: netip.MustParseAddrPort("192.0.2.10:40000"), To: netip.MustParseAddrPort("192.0.2.1:5092"), Octets: octetsOf(t, ctc),
	})
	size := byte(len(packet)) // a multiple of four
	file := octetsOf(t, "0a0d0d0a1c0000004d3c2b1a01000000ffffffffffffffff1c000000"+"01000000140000000100000000000000"+"14000000")
	file = append(file, 3, 0, 0, 0, 16+size, 0, 0, 0, size, 0, 0, 0)
	file = append(append(file, packet...), 16+size, 0, 0, 0)
	for flag, want := range map[string]string{"--json=false": "- 192.0.2.10:40000 > ", "--json": `{"packet":1,"from":`} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), []string{"cxtp", "decode", "--pcap", "-", flag}, "1", Streams{In: bytes.NewReader(file), Out: &out, Err: &errs})
		if code != exitDone || !strings.HasPrefix(out.String(), want) {
			t.Errorf("status %d: %s%s", code, out.String(), errs.String())
		}
	}
}

// TestICMPCapture shows a message that came by ICMP with addresses that have no port.
func TestICMPCapture(t *testing.T) {
	vectors, err := testvectors.Load("icmp")
	if err != nil {
		t.Fatal(err)
	}
	file := capturetest.PcapOf(t, layers.LinkTypeRaw, octetsOf(t, strings.ReplaceAll(vectors[0].Hex, " ", "")))
	for flag, want := range map[string]string{
		"--json=false": "2025-06-01T12:00:00Z 192.0.2.10 > 192.0.2.1 CTAR, 20 octets (node link, packet 1)\n",
		"--json":       `{"packet":1,"time":"2025-06-01T12:00:00Z","from":"192.0.2.10","to":"192.0.2.1","link":"node","type":"CTAR",`,
	} {
		var out, errs bytes.Buffer
		code := Run(t.Context(), []string{"cxtp", "decode", "--pcap", "-", flag}, "1", Streams{In: bytes.NewReader(file), Out: &out, Err: &errs})
		if code != exitDone || !strings.HasPrefix(out.String(), want) {
			t.Errorf("status %d: %s%s", code, out.String(), errs.String())
		}
	}
}

// TestSCTPCapture shows a message that has come by SCTP straight over IP.
func TestSCTPCapture(t *testing.T) {
	chunk := octetsOf(t, "00070018"+"00000001"+"00000000"+"43585450"+ctc)
	packet := capturetest.Serialize(t, capturetest.SCTP(capturetest.Datagram{
		From: netip.MustParseAddrPort("192.0.2.1:5091"), To: netip.MustParseAddrPort("192.0.2.2:5091"), Octets: chunk,
	}, 7)...)
	file := capturetest.PcapOf(t, layers.LinkTypeRaw, packet)
	var out, errs bytes.Buffer
	code := Run(t.Context(), []string{"cxtp", "decode", "--pcap", "-"}, "1", Streams{In: bytes.NewReader(file), Out: &out, Err: &errs})
	if want := "2025-06-01T12:00:00Z 192.0.2.1:5091 > 192.0.2.2:5091 CTC, 8 octets (router link, packet 1)\n"; code != exitDone || !strings.HasPrefix(out.String(), want) {
		t.Errorf("status %d: %s%s", code, out.String(), errs.String())
	}
}

func nodeCapture(t *testing.T) []byte {
	var tape capturetest.Tape
	mn, ar := netip.MustParseAddrPort("192.0.2.10:40000"), netip.MustParseAddrPort("[2001:db8::1]:5092")
	mn6 := netip.MustParseAddrPort("[2001:db8::10]:40000")
	tape.Add(mn6, ar, octetsOf(t, ctc))
	tape.Add(ar, mn6, octetsOf(t, pctd))
	tape.Add(mn, netip.MustParseAddrPort("192.0.2.53:53"), []byte("a question"))
	tape.Add(mn, netip.MustParseAddrPort("192.0.2.1:5092"), octetsOf(t, ctarHalf))
	return tape.Pcap(t)
}

// routerCapture is of two real routers, but for their addresses.
func routerCapture(t *testing.T) (pcap, keys []byte) {
	var tape capturetest.Tape
	var log capturetest.Log
	a, b, at := capturetest.Routers(t, &tape, &log)
	for _, message := range [][]byte{octetsOf(t, ctc), octetsOf(t, pctd)} {
		a.Exchange(b, message)
		b.Exchange(a, message)
	}
	names := map[netip.AddrPort]netip.AddrPort{
		a.LocalAddr(): netip.MustParseAddrPort("192.0.2.1:5091"),
		at:            netip.MustParseAddrPort("192.0.2.2:5091"),
	}
	datagrams := tape.Datagrams()
	for i, d := range datagrams {
		datagrams[i].From, datagrams[i].To = names[d.From], names[d.To]
	}
	return capturetest.Pcap(t, datagrams), log.Octets()
}

func octetsOf(t *testing.T, digits string) []byte {
	t.Helper()
	octets, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	return octets
}
