package uapi

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// benchState is the SA of a common session: AES-GCM, ESN, a window of 1024.
func benchState() *State {
	return &State{
		Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), Proto: ESP, SPI: 1000, Mode: Tunnel, ReqID: 7,
		Flags: FlagESN, AEAD: &AEAD{"rfc4106(gcm(aes))", secret.New(make([]byte, 36)), 128}, Encap: &Encap{Type: ESPInUDP, SrcPort: 4500, DstPort: 4500},
		Replay: Replay{Extended: true, Window: 1024, Bitmap: make([]uint32, 32)}, Limits: NoLimits(), Used: Usage{AddTime: 1},
	}
}

func BenchmarkEncodeState(b *testing.B) {
	var w writer
	s := benchState()
	b.ReportAllocs()
	for b.Loop() {
		w.state(s)
		w.wipe()
	}
}

func BenchmarkDecodeState(b *testing.B) {
	payload := mustEncode(b, func(w *writer) { w.state(benchState()) })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeState(payload); err != nil {
			b.Fatal(err)
		}
	}
}
