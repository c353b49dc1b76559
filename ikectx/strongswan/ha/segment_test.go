package ha

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"testing"
)

// lookup3 is Bob Jenkins' hash for keys of any length (hashlittle in his
// lookup3.c), which he published results for, to check the one-word form against.
func lookup3(key []byte, initial uint32) uint32 {
	rot := bits.RotateLeft32
	a := 0xdeadbeef + uint32(len(key)) + initial
	b, c := a, a
	for ; len(key) > 12; key = key[12:] {
		a += binary.LittleEndian.Uint32(key)
		b += binary.LittleEndian.Uint32(key[4:])
		c += binary.LittleEndian.Uint32(key[8:])
		for _, turn := range []int{4, 6, 8, 16, 19, 4} {
			a, c = (a-c)^rot(c, turn), c+b
			a, b, c = b, c, a
		}
	}
	if len(key) == 0 {
		return c
	}
	var last [12]byte
	copy(last[:], key)
	a += binary.LittleEndian.Uint32(last[:])
	b += binary.LittleEndian.Uint32(last[4:])
	c += binary.LittleEndian.Uint32(last[8:])
	for _, turn := range []int{14, 11, 25, 16, 4, 14, 24} {
		c = (c ^ b) - rot(b, turn)
		a, b, c = b, c, a
	}
	return b // where the last turn left c
}

// TestLookup3: the values that lookup3.c prints in its self-test (driver5).
func TestLookup3(t *testing.T) {
	const key = "Four score and seven years ago"
	for _, c := range []struct {
		key     string
		initial uint32
		want    uint32
	}{{"", 0, 0xdeadbeef}, {key, 0, 0x17770551}, {key, 1, 0xcd628161}} {
		if got := lookup3([]byte(c.key), c.initial); got != c.want {
			t.Errorf("lookup3(%q, %d) is %08x, want %08x", c.key, c.initial, got, c.want)
		}
	}
	word := uint32(1)
	for range 1000 {
		word *= 3
		if got, want := hashWord(word), lookup3(binary.LittleEndian.AppendUint32(nil, word), 0); got != want {
			t.Fatalf("hash of %08x is %08x, want %08x", word, got, want)
		}
	}
}

func TestSegment(t *testing.T) {
	// Computed with jhash_1word of Linux' include/linux/jhash.h.
	for _, c := range []struct {
		remote string
		count  int
		want   int
	}{
		{"10.0.0.1", 16, 4}, {"10.0.0.2", 16, 7}, {"192.0.2.1", 16, 8}, {"198.51.100.7", 16, 5},
		{"255.255.255.255", 16, 10}, {"1.2.3.4", 16, 15},
		{"10.0.0.1", 2, 1}, {"255.255.255.255", 2, 2}, {"1.2.3.4", 2, 2},
		{"1.2.3.4", 1, 1}, {"1.2.3.4", 0, 1}, {"1.2.3.4", -3, 1},
		{"0.0.0.0", 16, 1}, {"2001:db8::1", 16, 1}, {"::ffff:1.2.3.4", 16, 1},
	} {
		if got := Segment(netip.MustParseAddr(c.remote), c.count); got != c.want {
			t.Errorf("%s of %d is in segment %d, want %d", c.remote, c.count, got, c.want)
		}
	}
	if got := Segment(netip.Addr{}, 16); got != 1 {
		t.Errorf("no address is in segment %d", got)
	}
}
