package ipsecctx

import (
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// BenchmarkSAPair encodes and decodes all that moves for one pair of SAs: the
// session block, two static and two dynamic blocks.
func BenchmarkSAPair(b *testing.B) {
	roundTrip := newRoundTrip(b)
	b.ReportAllocs()
	for b.Loop() {
		roundTrip()
	}
}

// TestCodecDoesNotAllocate runs the same round trip with warm buffers.
func TestCodecDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, newRoundTrip(t)); n != 0 {
		t.Errorf("a round trip of an SA pair allocates %v times, want 0", n)
	}
}

// newRoundTrip gives a function that encodes and decodes an SA pair in buffers
// that it uses again and again.
func newRoundTrip(t testing.TB) func() {
	session, dynamic := testSession(), testDynamic()
	arena := make([]byte, 0, 5*cxtp.MaxBlock)
	blocks := make([]cxtp.CDB, 0, 5)
	var gotSession Session
	var gotDynamic []Dynamic
	return func() {
		out, rest, err := AppendSession(blocks[:0], arena[:0], session)
		if err != nil {
			t.Fatal(err)
		}
		if out, _, err = AppendDynamic(out, rest, dynamic); err != nil {
			t.Fatal(err)
		}
		if err := gotSession.Decode(out); err != nil {
			t.Fatal(err)
		}
		if gotDynamic, err = AppendDecodedDynamic(gotDynamic[:0], out); err != nil {
			t.Fatal(err)
		}
	}
}
