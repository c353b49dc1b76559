package cxtp_test

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// TestReuseDoesNotAllocate decodes every valid vector into a used receiver, and
// encodes it into a buffer that is large enough.
func TestReuseDoesNotAllocate(t *testing.T) {
	receivers := map[cxtp.Type]interface {
		cxtp.Message
		Decode([]byte) error
	}{
		cxtp.TypeCTAR: new(cxtp.CTAR), cxtp.TypeCTAA: new(cxtp.CTAA), cxtp.TypeCTD: new(cxtp.CTD), cxtp.TypePCTD: new(cxtp.CTD),
		cxtp.TypeCTDR: new(cxtp.CTDR), cxtp.TypeCTC: new(cxtp.CTC), cxtp.TypeCTReq: new(cxtp.CTReq),
		cxtp.TypeOutcome: new(cxtp.Outcome), cxtp.TypeUpdate: new(cxtp.Update), cxtp.TypeUpdateAck: new(cxtp.UpdateAck),
	}
	buffer := make([]byte, 0, cxtp.MaxMessage)
	for _, v := range codecVectors(t, isMessage) {
		if !v.Valid {
			continue
		}
		octets := octetsOf(t, v.Hex)
		m := receivers[cxtp.Type(octets[0]&0x1f)]
		if n := testing.AllocsPerRun(20, func() {
			if err := m.Decode(octets); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations to decode it, want 0", v.Name, n)
		}
		if n := testing.AllocsPerRun(20, func() {
			if _, err := m.Append(buffer); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations to encode it, want 0", v.Name, n)
		}
	}
}

// TestReuseForgets decodes a CTD after a PCTD: of the key nothing may stay.
func TestReuseForgets(t *testing.T) {
	node := netip.MustParseAddr("192.0.2.1")
	pctd, err := (&cxtp.CTD{Predictive: true, Ack: true, Previous: node, Algorithm: 1, Key: secret.New([]byte("key")),
		Blocks: []cxtp.CDB{{FPT: 1, Data: make([]byte, 4)}}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	ctd, err := (&cxtp.CTD{Previous: node}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	var m cxtp.CTD
	for _, octets := range [][]byte{pctd, ctd} {
		if err := m.Decode(octets); err != nil {
			t.Fatal(err)
		}
	}
	if m.Predictive || m.Ack || m.Algorithm != 0 || !m.Key.IsZero() || len(m.Blocks) != 0 {
		t.Errorf("CTD after PCTD is %+v", m)
	}
}

// benchmarkCTD is what a session with two pairs of SAs needs: a control block
// and five contexts, 1,400 octets in all.
func benchmarkCTD(b *testing.B) (*cxtp.CTD, []byte) {
	control, err := cxtp.Control{Phase: cxtp.PhaseStage, Mode: cxtp.ModeLossless, Target: "sg2.example",
		Manifest: make([]cxtp.ManifestEntry, 4)}.Block()
	if err != nil {
		b.Fatal(err)
	}
	m := &cxtp.CTD{Ack: true, Previous: netip.MustParseAddr("192.0.2.1"), Blocks: []cxtp.CDB{control}}
	for range 5 {
		m.Blocks = append(m.Blocks, cxtp.CDB{FPT: cxtp.FPTIPsecSA, HasPresence: true, Data: make([]byte, 240)})
	}
	encoded, err := m.Append(nil)
	if err != nil {
		b.Fatal(err)
	}
	return m, encoded
}

func BenchmarkEncodeCTD(b *testing.B) {
	m, encoded := benchmarkCTD(b)
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Append(encoded[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeCTD(b *testing.B) {
	_, encoded := benchmarkCTD(b)
	var m cxtp.CTD
	b.SetBytes(int64(len(encoded)))
	b.ReportAllocs()
	for b.Loop() {
		if err := m.Decode(encoded); err != nil {
			b.Fatal(err)
		}
	}
}
