package ipsecctx

import "math/bits"

// wordBits is the number of packets that one word of a window stands for.
const wordBits = 64

// windowWords is the length of the bitmap of a window of size packets.
func windowWords(size uint32) int { return int((size + wordBits - 1) / wordBits) }

// MergeWindows unites the anti-replay windows that two gateways have of one
// inbound SA of size packets: the result has its right edge at the higher one,
// and has seen what either has seen. What lies left of the result's window is
// rejected by every receiver, so nothing that one gateway accepted is accepted
// again (RFC 4303 section 3.4.3).
//
// Everything else is a's, except that of the lifetimes the larger use counts
// and of the idle times the shorter. Neither argument is changed.
func MergeWindows(a, b Dynamic, size uint32) Dynamic {
	high, low := &a, &b
	if b.Sequence > a.Sequence {
		high, low = &b, &a
	}
	merged := a
	merged.Sequence = high.Sequence
	merged.Window = make([]uint64, windowWords(size))
	copy(merged.Window, high.Window)
	orShifted(merged.Window, low.Window, high.Sequence-low.Sequence)
	trim(merged.Window, size, merged.Sequence)
	merged.Used = Lifetime{
		Time:    max(a.Used.Time, b.Used.Time),
		Octets:  max(a.Used.Octets, b.Used.Octets),
		Packets: max(a.Used.Packets, b.Used.Packets),
	}
	merged.Idle = min(a.Idle, b.Idle)
	return merged
}

// orShifted sets in dst what src has, distance packets further from the edge.
func orShifted(dst, src []uint64, distance uint64) {
	if distance >= uint64(len(dst))*wordBits {
		return
	}
	words, shift := int(distance/wordBits), uint(distance%wordBits)
	for i, word := range src {
		if i+words < len(dst) {
			dst[i+words] |= word << shift
		}
		if i+words+1 < len(dst) {
			dst[i+words+1] |= word >> (wordBits - shift)
		}
	}
}

// trim clears the bits behind the window and those of numbers below 1.
func trim(window []uint64, size uint32, sequence uint64) {
	limit := min(uint64(size), sequence)
	for i := range window {
		first := uint64(i) * wordBits
		switch {
		case first >= limit:
			window[i] = 0
		case limit-first < wordBits:
			window[i] &= 1<<(limit-first) - 1
		}
	}
}

// beyond reports whether a bit is set that trim would clear.
func beyond(window []uint64, size uint32, sequence uint64) bool {
	limit := min(uint64(size), sequence)
	for i := len(window) - 1; i >= 0; i-- {
		if window[i] != 0 {
			return uint64(i)*wordBits+uint64(bits.Len64(window[i])) > limit
		}
	}
	return false
}
