package ipsecctx

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
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

var dynamicLayout = profile.NewLayout(cxtp.FPTIPsecDynamic, "IPsec dynamic block",
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
	w := writer{profile.NewWriter(dynamicLayout, arena)}
	w.U8(dynDirection, uint8(d.Direction), 0)
	w.U8(dynProtocol, uint8(d.Protocol), uint8(ESP))
	w.U32(dynSPI, d.SPI, 0)
	w.U64(dynSequence, d.Sequence, 0)
	if w.Begin(dynWindow, len(d.Window)) {
		for _, word := range d.Window {
			w.Put64(word)
		}
	}
	w.lifetime(dynUsed, d.Used, w.PutAge)
	w.Age(dynIdle, d.Idle)
	w.Octets(dynChainIV, d.ChainIV.Bytes())
	return w.Finish(d.ID().String)
}

// read reads the block into d.
func (d *Dynamic) read(r *reader) {
	d.Direction = Direction(r.U8(dynDirection, 0))
	d.Protocol = Protocol(r.U8(dynProtocol, uint8(ESP)))
	d.SPI = r.U32(dynSPI, 0)
	d.Sequence = r.U64(dynSequence, 0)
	d.Window = d.Window[:0]
	if r.Has(dynWindow) {
		n := r.NextCount()
		octets := r.Take(8 * n)
		d.Window = slices.Grow(d.Window, len(octets)/8)
		for ; len(octets) > 0; octets = octets[8:] {
			d.Window = append(d.Window, binary.BigEndian.Uint64(octets))
		}
		if n > MaxWindow/64 {
			r.Fail(fmt.Sprintf("%d words, at most %d", n, MaxWindow/64))
		}
	}
	d.Used = r.lifetime(dynUsed)
	d.Idle = r.Seconds(dynIdle)
	d.ChainIV = r.Key(dynChainIV)
}
