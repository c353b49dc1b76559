package uapi

import "bytes"

// What the kernel demands of an SA or does with it that its interface does not
// show. Where this package can, it deals with it; the rest is its user's.
//
//   - The usage in an SA's structure is ignored; only an attribute sets it. It
//     is sent where Used is not zero, and then AddTime counts: 0 is 1970.
//   - An SA with FlagESN must have the extended sequence state, and a window of
//     1 to 4096 packets unless the kernel knows it as outbound. The bitmap must
//     reach as far as the window.
//   - In the legacy form a window above 32 becomes 32 in silence; such a one is
//     a [*FormatError] here.
//   - SetReplay wants the bitmap as long as the SA's.
//   - UpdateState fills a reservation, AddState does not ([ErrExists]).
//   - No free SPI is ENOENT, which for policies means that there is none, and for
//     AddState that the cipher cannot be had: ask by name ([ErrInUse]).
//   - From a range the kernel draws as many SPIs as the range is long, and may
//     find none although one is free: of a range that is nearly full, ask for
//     each.
//   - AddState by another source, interface or request id with the same
//     destination, SPI and protocol is [ErrExists] all the same.
//   - A policy's index is another on every kernel: a copy begins with Index 0.
//   - Thresholds are not told with the SA but by GetReplay, and the timer's unit
//     is another on the way out than on the way in.
//   - Where the kernel is locked down for confidentiality, the keys that it tells
//     are zeros.
//   - The hard limit on packets deletes the SA, and the event does not tell its
//     sequence numbers.
//   - A security label gets one zero octet more each time it is written.
//   - From Linux 6.10 on an SA can have a direction, and if it has one, what only
//     the other direction uses must not be set.
//
// kernel fits SAs to the last three of these.
type kernel struct {
	directions bool // knows XFRMA_SA_DIR
}

// fit returns the SA as this kernel takes it: the same SA, without what has no
// effect in its direction. Older kernels ignore a direction; they are not sent
// one, and want a window instead of none.
func (k kernel) fit(s *State) State {
	fitted := *s
	fitted.SecCtx = fitSecCtx(s.SecCtx)
	if !k.directions {
		fitted.Dir, fitted.PCPU = StateDirNone, nil
	}
	switch fitted.Dir {
	case StateDirOut:
		fitted.Replay.Seq, fitted.Replay.Window, fitted.Replay.Bitmap = 0, 0, nil
		fitted.Flags &^= FlagDecapDSCP | FlagICMP | FlagWildRecv
		fitted.Thresholds.MTimer = 0
		return fitted
	case StateDirIn:
		fitted.Replay.OSeq = 0
		fitted.Flags &^= FlagNoPMTUDisc
		fitted.ExtraFlags &^= ExtraDontEncapDSCP | ExtraOSeqMayWrap
	}
	if fitted.Flags&FlagESN != 0 && fitted.Replay.Window == 0 {
		fitted.Replay.Window = wordBits
	}
	return fitted
}

// fitSPI is fit for a reservation. The SA that fills it must have its direction.
func (k kernel) fitSPI(q *SPIRequest) SPIRequest {
	fitted := *q
	if !k.directions {
		fitted.Dir = StateDirNone
	}
	return fitted
}

// fitPolicy is fit for a policy.
func (k kernel) fitPolicy(p *Policy) Policy {
	fitted := *p
	fitted.SecCtx = fitSecCtx(p.SecCtx)
	return fitted
}

// fitSecCtx takes off the zero octet that the kernel adds.
func fitSecCtx(c *SecCtx) *SecCtx {
	if c == nil {
		return nil
	}
	fitted := *c
	fitted.Label = bytes.TrimSuffix(c.Label, []byte{0})
	return &fitted
}
