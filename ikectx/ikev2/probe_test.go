package ikev2

import (
	"bytes"
	"testing"
)

// TestProbe: a probe is a header of version 3, and what answers it is told from
// what does not.
func TestProbe(t *testing.T) {
	p := Probe{SPIi: 0x0102030405060708, SPIr: 0x1112131415161718}
	if got, want := p.Datagram(), unhex(t, "0102030405060708 1112131415161718 00 30 25 08 00000000 0000001c"); !bytes.Equal(got, want) {
		t.Errorf("written as %x, want %x", got, want)
	}
	// What charon 5.9.8 answers: INVALID_MAJOR_VERSION.
	answer := unhex(t, "0102030405060708 1112131415161718 29 20 25 20 00000000 00000024 00000008 00000005")
	if !p.AnsweredBy(answer) {
		t.Error("the answer is none")
	}
	other := NewProbe()
	for name, b := range map[string][]byte{
		"of another probe": append(append([]byte(nil), other.Datagram()[:16]...), answer[16:]...),
		"the probe itself": p.Datagram(),
		"no response":      append(append(append([]byte(nil), answer[:19]...), 0), answer[20:]...),
		"cut off":          answer[:headerLen],
	} {
		if p.AnsweredBy(b) {
			t.Errorf("%s passes for the answer", name)
		}
	}
	if again := NewProbe(); again == other {
		t.Error("two probes are alike")
	}
}
