package journal

import (
	"encoding/json"
	"math"
	"net/netip"
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"pgregory.net/rapid"
)

// TestDocument compares documents with those of encoding/json, from records in
// which any field may be zero.
func TestDocument(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(1, 20, -1)
		r := cxtp.Record{
			Kind: cxtp.RecordKind(rapid.IntRange(1, int(cxtp.RecordLost)).Draw(t, "kind")), Session: cxtp.SessionID{15: 0xa0}, Epoch: math.MaxUint64,
			Previous: netip.MustParseAddr(rapid.SampledFrom([]string{"192.0.2.1", "2001:db8::1", `fe80::1%"<`}).Draw(t, "previous")),
			Agent:    netip.MustParseAddrPort(rapid.SampledFrom([]string{"192.0.2.1:5092", "[2001:db8::1]:5092"}).Draw(t, "agent")),
			Peer:     cxtp.RouterID(text.Draw(t, "peer")), Why: text.Draw(t, "why"),
			Ceilings: rapid.SliceOfN(rapid.Make[cxtp.ManifestEntry](), 1, 3).Draw(t, "ceilings"),
			Plain:    true, Standby: true, Digest: cxtp.Digest{1, 20, 255}, Incarnation: cxtp.Incarnation(rapid.Uint64Min(1).Draw(t, "incarnation")),
		}
		fields := reflect.ValueOf(&r).Elem()
		zero := rapid.SliceOfN(rapid.Bool(), fields.NumField(), fields.NumField()).Draw(t, "zero")
		for i := range fields.NumField() {
			if fields.Field(i).IsZero() {
				t.Fatalf("%s is never set here: is it written?", fields.Type().Field(i).Name)
			}
			if zero[i] && fields.Type().Field(i).Name != "Kind" {
				fields.Field(i).SetZero()
			}
		}
		e := entry{rapid.Int64().Draw(t, "at"), r}
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendDocument(nil, &e); string(got) != string(want) {
			t.Errorf("%s\nwant %s", got, want)
		}
	})
}
