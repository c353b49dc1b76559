package ha

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Segment is the number, from 1 on, of the segment that charon puts an IKE_SA in,
// by its remote address and the gateway's charon.plugins.ha.segment_count (at most
// 16; below 1 it is taken for 1). It is what charon computes on Linux 4.1 and
// later: Jenkins' lookup3 of the address as one word. All IPv6 addresses, those
// that map an IPv4 one included, are in the segment of 0.0.0.0.
func Segment(remote netip.Addr, count int) int {
	var word uint32
	if remote.Is4() {
		a := remote.As4()
		word = binary.BigEndian.Uint32(a[:])
	}
	return int(uint64(hashWord(word))*uint64(max(count, 1))>>32) + 1
}

// hashWord is lookup3 for a key of one word and the initial value 0, which is
// jhash_1word of the kernel.
func hashWord(word uint32) uint32 {
	const initial = 0xdeadbeef + 4 // four octets of key
	a, b, c := initial+word, uint32(initial), uint32(initial)
	c = (c ^ b) - bits.RotateLeft32(b, 14)
	a = (a ^ c) - bits.RotateLeft32(c, 11)
	b = (b ^ a) - bits.RotateLeft32(a, 25)
	c = (c ^ b) - bits.RotateLeft32(b, 16)
	a = (a ^ c) - bits.RotateLeft32(c, 4)
	b = (b ^ a) - bits.RotateLeft32(a, 14)
	return (c ^ b) - bits.RotateLeft32(b, 24)
}

// Segments is one of the four messages that are only about segments.
type Segments struct {
	// Action is TypeSegmentDrop or TypeSegmentTake: the sender gives up or takes
	// over what Numbers lists; TypeStatus: it is active in these; TypeResync: it
	// asks for all there is to know about these.
	Action  Type
	Numbers []uint16 // from 1 on; 0 is all of them in a drop or a take
}

// Type implements [Body].
func (m *Segments) Type() Type { return m.Action }

func (*Segments) required() []Attribute { return nil }
func (*Segments) keys() []secret.Key    { return nil }

func (m *Segments) take(r *reader) bool {
	if r.attribute != AttrSegment {
		return false
	}
	m.Numbers = append(m.Numbers, r.u16())
	return true
}

func (m *Segments) write(w *writer) {
	if m.Action < TypeSegmentDrop || m.Action > TypeResync {
		w.wrong(0, "it is about segments, which a message of this type is not")
	}
	for _, n := range m.Numbers {
		w.u16(AttrSegment, n)
	}
}

func (m *Segments) describe(d *description) { d.add("segments %v", m.Numbers) }
