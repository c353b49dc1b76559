package mld

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile/profiletest"
	"pgregory.net/rapid"
)

var kit = profiletest.Kit{Dir: "mld", Document: "../../rfc/multicast-profile.md", Describers: Describers(), Again: decodeOne}

// The codec against octets that were not made by it.
func TestVectors(t *testing.T)         { kit.Vectors(t) }
func TestEveryPrefix(t *testing.T)     { kit.Prefixes(t) }
func TestProfileExamples(t *testing.T) { kit.Examples(t) }

func decodeOne(b cxtp.CDB) (cxtp.CDB, error) {
	contexts, err := Decode([]cxtp.CDB{b})
	if err != nil {
		return cxtp.CDB{}, err
	}
	blocks, err := Encode(contexts)
	if err != nil {
		return cxtp.CDB{}, err
	}
	return blocks[0], nil
}

// context draws one that can be sent.
func drawContext(t *rapid.T) Context {
	draw := func(n int, name string) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name) }
	var prefix [16]byte
	copy(prefix[:], draw(8, "prefix"))
	scope := rapid.ByteRange(2, 15).Draw(t, "scope")
	group := append([]byte{0xff, scope | rapid.Byte().Draw(t, "flags")<<4}, draw(14, "group")...)
	return Context{netip.PrefixFrom(netip.AddrFrom16(prefix), 64), netip.AddrFrom16([16]byte(group))}
}

// TestRoundTrip sends lists of groups through messages, where they get padding.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfNDistinct(rapid.Custom(drawContext), 0, maxGroups, func(c Context) Context { return c }).Draw(t, "contexts")
		blocks, err := Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		others := []cxtp.CDB{{FPT: cxtp.FPTIPsecOuter, HasPresence: true, Data: []byte{1}}}
		octets, err := (&cxtp.CTD{Previous: netip.MustParseAddr("2001:db8::1"), Blocks: append(others, append(blocks, blocks...)...)}).Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var m cxtp.CTD
		if err := m.Decode(octets); err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(m.Blocks); err != nil || !slices.Equal(got, want) {
			t.Fatalf("decoded %v, %v; want %v", got, err, want)
		}
	})
}

// TestWhatCannotBeSent is refused by its encoder.
func TestWhatCannotBeSent(t *testing.T) {
	good, group := netip.MustParsePrefix("2001:db8:1::/64"), netip.MustParseAddr("ff1e::1")
	for _, c := range []Context{
		{},
		{Prefix: good},
		{Group: group},
		{netip.MustParsePrefix("2001:db8:1::/48"), group},
		{netip.MustParsePrefix("2001:db8:1::1/64"), group},
		{netip.MustParsePrefix("192.0.2.0/24"), group},
		{good, netip.MustParseAddr("2001:db8::1")},
		{good, netip.MustParseAddr("224.0.1.22")},
		{good, netip.MustParseAddr("::ffff:224.0.1.22")},
		{good, netip.MustParseAddr("ff01::1")},
		{good, netip.MustParseAddr("ff02::5%eth0")},
	} {
		if blocks, err := Encode([]Context{c}); err == nil {
			t.Errorf("%v is encoded as %v", c, blocks)
		}
	}
}

func FuzzContext(f *testing.F) {
	for _, v := range kit.Load(f) {
		octets, err := v.Octets()
		if err != nil {
			f.Fatal(err)
		}
		b := profiletest.ParseBlock(f, octets)
		f.Add(b.HasPresence, b.Presence, b.Data)
	}
	f.Fuzz(func(t *testing.T, vector bool, presence uint32, data []byte) {
		b := cxtp.CDB{FPT: cxtp.FPTMulticastListener, HasPresence: vector, Presence: presence, Data: data}
		first, err := Decode([]cxtp.CDB{b})
		kit.Refusal(t, b, err)
		if err != nil {
			return
		}
		again, err := Encode(first)
		if err != nil {
			t.Fatalf("a valid block is not encoded again: %v", err)
		}
		if second, err := Decode(again); err != nil || !slices.Equal(second, first) {
			t.Fatalf("encoded and decoded %v, %v; want %v", second, err, first)
		}
	})
}
