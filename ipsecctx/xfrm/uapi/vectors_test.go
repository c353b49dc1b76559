//go:build amd64 || arm64 || riscv64 || loong64

package uapi

import (
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// What is in testdata/kernel came from a kernel; each file says which, and what
// was done to make it say that. The machine was little-endian. TestCapture and
// TestCaptureEvents renew the files.

// vectors reads a file: lines of a message's type and payload, and of comments.
func vectors(t testing.TB, name string) []message {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "kernel", name))
	if err != nil {
		t.Fatal(err)
	}
	var list []message
	for line := range strings.Lines(string(text)) {
		kind, payload, _ := strings.Cut(strings.TrimSpace(line), " ")
		if kind == "" || kind == "#" {
			continue
		}
		n, err := strconv.ParseUint(kind, 0, 16)
		if err != nil {
			t.Fatal(err)
		}
		octets, err := hex.DecodeString(payload)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, message{kind: uint16(n), payload: octets})
	}
	return list
}

func keyOf(t testing.TB, text string) secret.Key {
	t.Helper()
	octets, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return secret.New(octets)
}

// heldStates are the SAs of held.txt by SPI.
func heldStates(t testing.TB) map[uint32]*State {
	const k16 = "000102030405060708090a0b0c0d0e0f"
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	any4 := Selector{Family: IPv4, Src: prefix("0.0.0.0/0"), Dst: prefix("0.0.0.0/0")}
	any6 := Selector{Family: IPv6, Src: prefix("::/0"), Dst: prefix("::/0")}
	limited := NoLimits()
	limited.SoftPackets, limited.HardPackets, limited.HardBytes, limited.SoftAdd, limited.HardUse = 100, 200, 5000, 60, 90
	legacy := func(window uint32, oseq, seq uint64) Replay {
		return Replay{Window: window, OSeq: oseq, Seq: seq, Bitmap: []uint32{0}}
	}
	return map[uint32]*State{
		0x1001: {
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Proto: ESP, SPI: 0x1001, Mode: Tunnel, ReqID: 7, Flags: FlagESN,
			Selector: Selector{Family: IPv4, Src: prefix("10.0.0.0/24"), Dst: prefix("10.1.0.0/16")},
			AEAD:     &AEAD{"rfc4106(gcm(aes))", keyOf(t, k16+"a0a1a2a3"), 128},
			Replay:   Replay{Extended: true, Window: 64, Bitmap: []uint32{0, 0}}, Limits: NoLimits(),
		},
		0x1002: {
			Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), Proto: ESP, SPI: 0x1002, Mode: Transport, Selector: any6,
			Crypt: &Cipher{"cbc(aes)", keyOf(t, k16)}, Auth: &Auth{"hmac(sha256)", keyOf(t, k16+k16), 128},
			Replay: legacy(32, 6, 5), Limits: NoLimits(),
		},
		0x1003: {
			Src: addr("2001:db8::1"), Dst: addr("2001:db8::3"), Proto: AH, SPI: 0x1003, Mode: Tunnel, Flags: FlagAFUnspec,
			Auth: &Auth{"hmac(sha1)", keyOf(t, k16+"10111213"), 96}, Replay: legacy(0, 0, 0), Limits: NoLimits(),
		},
		0x1004: {
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.4"), Proto: ESP, SPI: 0x1004, Mode: Tunnel, Selector: any4,
			AEAD:   &AEAD{"rfc7539esp(chacha20,poly1305)", keyOf(t, k16+k16+"b0b1b2b3"), 128},
			Encap:  &Encap{ESPInUDP, 4500, 61000, addr("198.51.100.9")},
			Replay: legacy(32, 0, 0), Limits: NoLimits(),
		},
		0x1005: {
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.5"), Proto: ESP, SPI: 0x1005, Mode: Tunnel, ExtraFlags: ExtraDontEncapDSCP,
			Selector: Selector{
				Family: IPv4, Src: prefix("10.0.0.1/32"), Dst: prefix("10.1.0.1/32"), Proto: 17,
				SrcPort: 53, SrcMask: 0xffff, DstPort: 54, DstMask: 0xffff,
			},
			Crypt: &Cipher{"cbc(des3_ede)", keyOf(t, k16+"1011121314151617")}, Auth: &Auth{"hmac(sha256)", keyOf(t, k16), 96},
			Mark: Mark{5, 0xff}, OutputMark: Mark{0x60, 0xf0}, IfID: 9, Replay: legacy(0, 0, 0), Limits: limited,
		},
	}
}

// heldPolicies are the policies of held.txt by direction, without what the
// kernel chose.
func heldPolicies() map[Dir]*Policy {
	addr, prefix := netip.MustParseAddr, netip.MustParsePrefix
	limited := NoLimits()
	limited.HardPackets = 77
	return map[Dir]*Policy{
		DirOut: {
			Selector: Selector{Family: IPv4, Src: prefix("10.0.0.0/24"), Dst: prefix("10.1.0.0/16")},
			Dir:      DirOut, Priority: 100, Limits: NoLimits(),
			Templates: []Template{{
				Family: IPv4, Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Proto: ESP, ReqID: 7, Mode: Tunnel,
				AuthAlgs: AllAlgorithms, CryptAlgs: AllAlgorithms, CompAlgs: AllAlgorithms,
			}},
		},
		DirFwd: {
			Selector: Selector{Family: IPv6, Src: prefix("2001:db8:1::/48"), Dst: prefix("::/0"), Proto: 6, DstPort: 80, DstMask: 0xffff},
			Dir:      DirFwd, Priority: 9, Mark: Mark{1, 3}, IfID: 4, Flags: 2, Limits: limited,
			Templates: []Template{{
				Family: IPv6, Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), Proto: ESP, SPI: 0x77, Mode: Tunnel, Optional: 1,
				AuthAlgs: AllAlgorithms, CryptAlgs: AllAlgorithms, CompAlgs: AllAlgorithms,
			}, {
				Family: IPv6, Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), Proto: AH, Mode: Transport,
				AuthAlgs: AllAlgorithms, CryptAlgs: AllAlgorithms, CompAlgs: AllAlgorithms,
			}},
		},
		DirIn: {
			Selector: Selector{Family: IPv4, Src: prefix("0.0.0.0/0"), Dst: prefix("0.0.0.0/0")},
			Dir:      DirIn, Action: Block, Priority: 4000000, Limits: NoLimits(),
		},
	}
}

func TestKernelStates(t *testing.T) {
	want := heldStates(t)
	for _, m := range vectors(t, "held.txt") {
		if m.kind != uint16(OpAddState) {
			continue
		}
		got, err := decodeState(m.payload)
		if err != nil {
			t.Fatal(err)
		}
		if got.Used.AddTime == 0 {
			t.Errorf("%v: %+v", got.ID(), got.Used)
		}
		again, err := decodeState(mustEncode(t, func(w *writer) { w.state(got) }))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%+v\nwritten and read again: %+v, %v", got, again, err)
		}
		got.Used = Usage{}
		if !reflect.DeepEqual(got, want[got.SPI]) {
			t.Errorf("%+v\nwant %+v", got, want[got.SPI])
		}
		delete(want, got.SPI)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestKernelPolicies(t *testing.T) {
	want := heldPolicies()
	for _, m := range vectors(t, "held.txt") {
		if m.kind != uint16(OpAddPolicy) {
			continue
		}
		got, err := decodePolicy(m.payload)
		if err != nil {
			t.Fatal(err)
		}
		if got.Used.AddTime == 0 || got.Index == 0 {
			t.Errorf("%v: %d, %+v", got.ID(), got.Index, got.Used)
		}
		got.Used = Usage{}
		again, err := decodePolicy(mustEncode(t, func(w *writer) { w.policy(got) }))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%+v\nwritten and read again: %+v, %v", got, again, err)
		}
		got.Index = 0
		if !reflect.DeepEqual(got, want[got.Dir]) {
			t.Errorf("%+v\nwant %+v", got, want[got.Dir])
		}
		delete(want, got.Dir)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestKernelEvents(t *testing.T) {
	state, policy := heldStates(t)[0x1001], heldPolicies()[DirOut]
	sameState := func(op Op) func(Event) bool {
		return func(e Event) bool {
			changed, ok := e.(*StateChanged)
			if !ok || changed.Op != op {
				return false
			}
			changed.State.Used = Usage{}
			return reflect.DeepEqual(changed.State, state)
		}
	}
	samePolicy := func(op Op) func(Event) bool {
		return func(e Event) bool {
			changed, ok := e.(*PolicyChanged)
			if !ok || changed.Op != op {
				return false
			}
			changed.Policy.Used, changed.Policy.Index = Usage{}, 0
			return reflect.DeepEqual(changed.Policy, policy)
		}
	}
	expired := func(hard bool, packets uint64) func(Event) bool {
		return func(e Event) bool {
			x, ok := e.(*StateExpired)
			return ok && x.Hard == hard && x.State.SPI == 9 && x.State.Used.Packets == packets && x.State.AEAD == nil
		}
	}
	checks := []func(Event) bool{
		sameState(OpAddState), sameState(OpUpdateState), sameState(OpDeleteState),
		func(e Event) bool { return reflect.DeepEqual(e, &StatesFlushed{0}) },
		samePolicy(OpAddPolicy), samePolicy(OpUpdatePolicy), samePolicy(OpDeletePolicy),
		func(e Event) bool { return reflect.DeepEqual(e, &PoliciesFlushed{PolicyMain}) },
		func(e Event) bool {
			a, ok := e.(*Acquire)
			return ok && a.Dst == netip.MustParseAddr("192.0.2.2") && a.Src == netip.MustParseAddr("192.0.2.1") && a.Proto == ESP &&
				a.Selector.Dst == netip.MustParsePrefix("10.1.0.1/32") && a.Selector.DstPort == 9 && a.Seq != 0 &&
				len(a.Policy.Templates) == 1 && a.Policy.Templates[0].ReqID == 7 && a.Policy.Dir == DirOut && a.AuthAlgs == AllAlgorithms
		},
		expired(false, 1),
		func(e Event) bool {
			r, ok := e.(*ReplayChanged)
			return ok && r.AEvent.ID == StateID{Dst: netip.MustParseAddr("10.0.0.3"), SPI: 9, Proto: ESP} && r.AEvent.Flags&AECauseReplay != 0 &&
				r.AEvent.Replay.OSeq == 2 && r.AEvent.ReqID == 8 && r.AEvent.Used.Packets == 1 // counted after it is numbered
		},
		expired(true, 2),
	}
	messages := vectors(t, "told.txt")
	if len(messages) != len(checks) {
		t.Fatalf("%d messages", len(messages))
	}
	for i, m := range messages {
		e, err := decodeEvent(m.kind, m.payload)
		if err != nil || !checks[i](e) {
			t.Errorf("message %d, %#x: %+v, %v", i, m.kind, e, err)
		}
	}
}

// A kernel's message cut short is never taken for another one, except where it
// is cut between attributes.
func TestKernelMessagesCut(t *testing.T) {
	fixed := map[uint16]int{
		0x10: sizeUserSA, 0x1a: sizeUserSA, 0x11: sizeUserSAID, 0x13: sizeUserPolicy, 0x19: sizeUserPolicy,
		0x14: sizePolicyID, 0x17: sizeAcquire, 0x18: sizeExpire, 0x1c: 4, 0x1d: 0, 0x1e: sizeAEventID,
	}
	for _, m := range append(vectors(t, "held.txt"), vectors(t, "told.txt")...) {
		n, known := fixed[m.kind]
		if !known {
			t.Fatalf("type %#x", m.kind)
		}
		whole := ends(m.payload, n)
		for n := range m.payload {
			if _, err := decodeEvent(m.kind, m.payload[:n]); err != nil && !isFormatError(err) {
				t.Errorf("type %#x, %d octets: %v", m.kind, n, err)
			} else if err == nil && !whole[n] && m.kind != msgFlushStates {
				t.Errorf("type %#x: %d octets of %d taken for all", m.kind, n, len(m.payload))
			}
		}
	}
}
