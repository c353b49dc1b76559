package ipsecctx

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

// The fields of the dynamic block (IPsec profile section 6) in the order of
// their presence bits.
const (
	dynDirection = iota
	dynProtocol
	dynSPI
	dynSequence
	dynWindow
	dynUsed
	dynIdle
	dynChainIV
)

var dynamicLayout = newLayout(cxtp.FPTIPsecDynamic, "IPsec dynamic block",
	[]int{dynDirection, dynSPI},
	[]string{
		dynDirection: "direction",
		dynProtocol:  "protocol",
		dynSPI:       "SPI",
		dynSequence:  "sequence number",
		dynWindow:    "anti-replay window",
		dynUsed:      "used",
		dynIdle:      "idle",
		dynChainIV:   "chained IV",
	})

// encode appends the block's data to arena.
func (d *Dynamic) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{layout: dynamicLayout, dst: arena, id: d.ID(), start: len(arena)}
	w.u8(dynDirection, uint8(d.Direction), 0)
	w.u8(dynProtocol, uint8(d.Protocol), uint8(ESP))
	w.u32(dynSPI, d.SPI, 0)
	w.u64(dynSequence, d.Sequence, 0)
	if len(d.Window) > 0 {
		w.mark(dynWindow)
		if w.count(dynWindow, len(d.Window)) {
			for _, word := range d.Window {
				w.dst = binary.BigEndian.AppendUint64(w.dst, word)
			}
		}
	}
	w.lifetime(dynUsed, d.Used, roundAge)
	if d.Idle != 0 {
		w.mark(dynIdle)
		w.dst = binary.BigEndian.AppendUint32(w.dst, w.seconds(dynIdle, d.Idle, roundAge))
	}
	w.octets(dynChainIV, d.ChainIV.Bytes())
	return w.finish()
}

// read reads the block into d.
func (d *Dynamic) read(r *reader) {
	d.Direction = Direction(r.u8(dynDirection, 0))
	d.Protocol = Protocol(r.u8(dynProtocol, uint8(ESP)))
	d.SPI = r.u32(dynSPI, 0)
	d.Sequence = r.u64(dynSequence, 0)
	d.Window = d.Window[:0]
	if r.has(dynWindow) {
		n := int(r.next8())
		octets := r.take(8 * n)
		d.Window = slices.Grow(d.Window, len(octets)/8)
		for ; len(octets) > 0; octets = octets[8:] {
			d.Window = append(d.Window, binary.BigEndian.Uint64(octets))
		}
		if n > MaxWindow/64 {
			r.fail(fmt.Sprintf("%d words, at most %d", n, MaxWindow/64))
		}
	}
	d.Used = r.lifetime(dynUsed)
	d.Idle = r.seconds(dynIdle)
	d.ChainIV = r.key(dynChainIV)
}
