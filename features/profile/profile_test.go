package profile

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"pgregory.net/rapid"
)

// thing is a context type that has a field of every form.
type thing struct {
	small    uint8
	mid      uint16
	wide     uint32
	huge     uint64
	key      secret.Key
	who      Identity
	prefixes []netip.Prefix
	age      time.Duration
	limit    time.Duration
}

var layout = NewLayout(cxtp.FPTIPsecSA, "thing", []int{0},
	[]string{"small", "mid", "wide", "huge", "key", "who", "prefixes", "age", "limit"})

func (x *thing) encode(arena []byte) (cxtp.CDB, error) {
	w := NewWriter(layout, arena)
	w.U8(0, x.small, 0)
	w.U16(1, x.mid, 7)
	w.U32(2, x.wide, 0)
	w.U64(3, x.huge, 0)
	w.Octets(4, x.key.Bytes())
	w.Identity(5, &x.who)
	w.Prefixes(6, x.prefixes)
	w.Age(7, x.age)
	w.Limit(8, x.limit)
	return w.Finish(func() string { return "test" })
}

func decode(b *cxtp.CDB) (*thing, error) {
	var r Reader
	r.Open(b, layout)
	x := &thing{
		small: r.U8(0, 0), mid: r.U16(1, 7), wide: r.U32(2, 0), huge: r.U64(3, 0), key: r.Key(4),
		who: r.Identity(5), prefixes: r.Prefixes(6, nil), age: r.Seconds(7), limit: r.Seconds(8),
	}
	return x, r.Finish()
}

func drawThing(t *rapid.T) *thing {
	x := &thing{
		small: rapid.Uint8Min(1).Draw(t, "small"), mid: rapid.Uint16().Draw(t, "mid"),
		wide: rapid.Uint32().Draw(t, "wide"), huge: rapid.Uint64().Draw(t, "huge"),
		key: secret.Clone(rapid.SliceOf(rapid.Byte()).Draw(t, "key")),
		age: time.Duration(rapid.Uint32().Draw(t, "age")) * time.Second, limit: time.Duration(rapid.Uint32().Draw(t, "limit")) * time.Second,
	}
	if rapid.Bool().Draw(t, "who") {
		x.who = Identity{Type: IDKeyID, Data: rapid.SliceOfN(rapid.Byte(), 1, 9).Draw(t, "who")}
	}
	for range rapid.IntRange(0, 3).Draw(t, "prefixes") {
		a := netip.AddrFrom16([16]byte(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "IPv6")))
		if rapid.Bool().Draw(t, "IPv4") {
			a = netip.AddrFrom4([4]byte(a.AsSlice()[:4]))
		}
		x.prefixes = append(x.prefixes, netip.PrefixFrom(a, rapid.IntRange(0, a.BitLen()).Draw(t, "bits")))
	}
	return x
}

// TestRoundTrip: every field comes back, and no truncation is taken for a block.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawThing(t)
		b, err := want.encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(&b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("decoded\n got %+v\nwant %+v: %v", got, want, err)
		}
		for n := range b.Data {
			cut := b
			cut.Data = b.Data[:n]
			var refused *features.Error
			var blame *cxtp.ParseError
			if _, err := decode(&cut); !errors.As(err, &refused) || !errors.As(err, &blame) || blame.Offset > DataStart+n {
				t.Fatalf("cut to %d octets: %v", n, err)
			}
		}
	})
}

func TestDefaultsAreLeftOut(t *testing.T) {
	b, err := (&thing{small: 1, mid: 7}).encode(nil)
	if err != nil || b.Presence != Bit(0) || len(b.Data) != 1 {
		t.Errorf("presence %08x, %d octets, %v: want the field without a default alone", b.Presence, len(b.Data), err)
	}
	b.Presence, b.Data = Bit(0)|Bit(1), []byte{1, 0, 7} // written out all the same
	if x, err := decode(&b); err != nil || x.mid != 7 {
		t.Errorf("decoded %+v, %v", x, err)
	}
}

// TestNothingIsLeftOfAFailure: neither of the block that failed nor of those
// before it, and what was there before stays.
func TestNothingIsLeftOfAFailure(t *testing.T) {
	key := secret.New(bytes.Repeat([]byte{0xee}, 40))
	for name, bad := range map[string]*thing{
		"no value":     {key: key},
		"too large":    {small: 1, key: secret.New(make([]byte, MaxData+1))},
		"no prefix":    {small: 1, key: key, prefixes: []netip.Prefix{{}}},
		"negative age": {small: 1, key: key, age: -time.Second},
	} {
		arena := make([]byte, 1, 4*MaxData)
		arena[0] = 9
		a := Appender{Arena: arena}
		a.Add((&thing{small: 1, key: key}).encode)
		a.Add(bad.encode)
		blocks, rest, err := a.Result(nil, arena)
		var refused *features.Error
		if !errors.As(err, &refused) || len(blocks) > 0 || len(rest) != 1 || rest[0] != 9 {
			t.Errorf("%s: %d blocks, %d octets, %v", name, len(blocks), len(rest), err)
		}
		if bytes.Contains(arena[:cap(arena)], []byte{0xee}) {
			t.Errorf("%s: a key is left in the arena", name)
		}
	}
}

// TestExtensions: those that need not be understood are skipped, within their
// list.
func TestExtensions(t *testing.T) {
	for _, c := range []struct {
		name string
		list []byte
		want cxtp.Status
	}{
		{"none", []byte{0, 0}, cxtp.StatusOK},
		{"one to skip", []byte{0, 5, 0x12, 0x34, 0, 1, 9}, cxtp.StatusOK},
		{"one that is critical", []byte{0, 4, 0x80, 1, 0, 0}, cxtp.StatusUnknownCritical},
		{"one beyond the list", []byte{0, 4, 0x12, 0x34, 0, 1, 9}, cxtp.StatusMalformed},
		{"list beyond the block", []byte{0, 50, 0x12, 0x34, 0, 1, 9}, cxtp.StatusMalformed},
	} {
		b := cxtp.CDB{HasPresence: true, Presence: Bit(0) | Bit(BitExtensions), Data: append([]byte{1}, c.list...)}
		_, err := decode(&b)
		var refused *features.Error
		if errors.As(err, &refused); (err == nil) != (c.want == cxtp.StatusOK) || err != nil && refused.Status != c.want {
			t.Errorf("%s: %v, want status %v", c.name, err, c.want)
		}
	}
}
