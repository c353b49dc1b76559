package xfrm

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// expressible says what of an SA the kernel cannot carry, before anyone asks it.
func expressible(sa *ipsecctx.SA) error {
	if err := sa.Validate(); err != nil {
		return err
	}
	no := func(what string) error {
		return refuse(cxtp.StatusUnsupported, "%s: Linux has no %s", sa.ID(), what)
	}
	switch {
	case sa.Direction == ipsecctx.Inbound && sa.ESN && sa.Window == 0:
		return refuse(cxtp.StatusWindow, "%s: Linux has no extended sequence numbers without an anti-replay window", sa.ID())
	case sa.Mode == ipsecctx.Tunnel && sa.DF == ipsecctx.DFSet:
		return no("way to set the DF bit of every outer header")
	case sa.Mode == ipsecctx.Tunnel && len(sa.MapDSCP) > 0:
		return no("map from inner to outer DSCP values")
	case len(sa.DSCP) > 0:
		return no("choice of SAs by DSCP value")
	case sa.StatefulFragments:
		return no("stateful fragment checking (RFC 4301 section 7.3)")
	}
	for i := range sa.Selectors {
		if len(sa.Selectors[i].Sensitivity) > 0 {
			return no("enforcement of sensitivity labels without a label of its own security module")
		}
	}
	return nil
}

// newState makes the kernel's SA of sa, as it is staged: inert, and without
// lifetimes, which begin when it starts.
func newState(sa *ipsecctx.SA, reqid uint32, at Placement) (*uapi.State, error) {
	st := &uapi.State{
		Src: sa.Local, Dst: sa.Remote, Proto: uapi.Proto(sa.Protocol), SPI: sa.SPI,
		Mode: modeOf(sa), ReqID: reqid, Limits: uapi.NoLimits(),
		Mark: at.Mark, OutputMark: at.OutputMark, IfID: at.IfID,
	}
	if sa.Direction == ipsecctx.Inbound {
		st.Src, st.Dst = sa.Remote, sa.Local
	}
	if sa.Mode == ipsecctx.Tunnel {
		st.Flags |= uapi.FlagAFUnspec // IPv4 and IPv6 inside; policies say what exactly
	} else {
		st.Selector.Family = familyOf(sa.Local)
	}
	if sa.ESN {
		st.Flags |= uapi.FlagESN
	}
	if sa.Protocol == ipsecctx.AH && sa.Local.Is4() {
		st.Flags |= uapi.FlagAlign4 // RFC 4302 section 2.2 has no more padding in IPv4
	}
	if sa.Mode == ipsecctx.Tunnel && sa.Direction == ipsecctx.Outbound {
		if sa.DF == ipsecctx.DFClear {
			st.Flags |= uapi.FlagNoPMTUDisc
		}
		if !sa.CopyDSCP {
			st.ExtraFlags |= uapi.ExtraDontEncapDSCP
		}
	}
	if sa.Encap.Enabled() {
		st.Encap = &uapi.Encap{Type: uapi.ESPInUDP, SrcPort: sa.Encap.LocalPort, DstPort: sa.Encap.RemotePort}
		if sa.Direction == ipsecctx.Inbound {
			st.Encap.SrcPort, st.Encap.DstPort = sa.Encap.RemotePort, sa.Encap.LocalPort
		}
	}
	asleep := inert(sa)
	st.Replay = replayOf(formOf(sa), sa, &asleep)
	return st, setAlgorithms(st, sa)
}

func familyOf(a netip.Addr) uapi.Family {
	if a.Is4() {
		return uapi.IPv4
	}
	return uapi.IPv6
}

func modeOf(sa *ipsecctx.SA) uapi.Mode {
	if sa.Mode == ipsecctx.Tunnel {
		return uapi.Tunnel
	}
	return uapi.Transport
}

// seconds is a duration in the kernel's unit. An age is rounded up, so that a
// move never makes an SA live longer.
func seconds(d time.Duration) uint64 { return uint64((d + time.Second - 1) / time.Second) }

// usageOf is the kernel's form of what is used of an SA's lifetimes: ages become
// times on this machine's clock.
func usageOf(d *ipsecctx.Dynamic, now time.Time) uapi.Usage {
	u := uapi.Usage{Bytes: d.Used.Octets, Packets: d.Used.Packets}
	// 0 would mean that the kernel puts its own time there.
	u.AddTime = max(1, uint64(now.Unix())-min(seconds(d.Used.Time), uint64(now.Unix())))
	if d.Used.Packets > 0 {
		u.UseTime = u.AddTime
	}
	return u
}

// dynamicOf reads the dynamic state of a kernel's SA. heard is when it is known
// to have carried a packet last, from before it was here.
func dynamicOf(sa *ipsecctx.SA, st *uapi.State, heard, now time.Time) ipsecctx.Dynamic {
	d := ipsecctx.Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI}
	sequenceOf(&d, sa, &st.Replay)
	since := func(t int64) time.Duration { return max(0, time.Duration(now.Unix()-t)*time.Second) }
	d.Used = ipsecctx.Lifetime{Time: since(int64(st.Used.AddTime)), Octets: st.Used.Bytes, Packets: st.Used.Packets}
	switch last := max(int64(st.LastUsed), heard.Unix()); {
	case last > 0:
		d.Idle = since(last)
	default:
		d.Idle = d.Used.Time
	}
	return d
}

// limitsOf are the limits of an SA whose sequence number and use are given: its
// own lifetimes and, of packets, what the ceiling leaves. The kernel counts
// packets and not numbers, but from here on one is as many as the other, so the
// packet limit stops the SA exactly at its ceiling. Its soft limit is then half
// way there.
func limitsOf(sa *ipsecctx.SA, used uapi.Usage, oseq uint64, c *ceiling) uapi.Limits {
	orUnlimited := func(n uint64) uint64 {
		if n == 0 {
			return uapi.Unlimited
		}
		return n
	}
	l := uapi.Limits{
		SoftAdd: uint64(sa.Soft.Time / time.Second), HardAdd: uint64(sa.Hard.Time / time.Second),
		SoftBytes: orUnlimited(sa.Soft.Octets), HardBytes: orUnlimited(sa.Hard.Octets),
		SoftPackets: orUnlimited(sa.Soft.Packets), HardPackets: orUnlimited(sa.Hard.Packets),
	}
	if c != nil {
		left := c.last - min(c.last, oseq)
		l.HardPackets = min(l.HardPackets, plus(used.Packets, left))
		l.SoftPackets = min(l.SoftPackets, plus(used.Packets, (left+1)/2))
	}
	return l
}

// plus adds without going beyond the last number that limits.
func plus(a, b uint64) uint64 {
	if sum := a + b; sum >= a {
		return sum
	}
	return uapi.Unlimited - 1
}

// differs says in what an SA that was read back is not as it was written; "" =
// in nothing that matters. Inbound packets may have moved the window on since.
func differs(sa *ipsecctx.SA, want *uapi.AEvent, got *uapi.State) string {
	switch outbound := sa.Direction == ipsecctx.Outbound; {
	case got.Flags&uapi.FlagESN != 0 != sa.ESN:
		return "its use of extended sequence numbers"
	case outbound && got.Replay.OSeq != want.Replay.OSeq:
		return "its sequence number"
	case !outbound && got.Replay.Seq < want.Replay.Seq:
		return "its anti-replay window's right edge"
	case !outbound && got.Replay.Window != want.Replay.Window:
		return "its anti-replay window's size"
	case !outbound && got.Replay.Seq == want.Replay.Seq && !covers(got.Replay.Bitmap, want.Replay.Bitmap):
		return "its anti-replay window"
	}
	return ""
}

// covers reports whether a has every bit of b.
func covers(a, b []uint32) bool {
	return !slices.ContainsFunc(indexes(b), func(i int) bool { return i >= len(a) && b[i] != 0 || i < len(a) && b[i]&^a[i] != 0 })
}

func indexes[T any](b []T) []int {
	all := make([]int, len(b))
	for i := range all {
		all[i] = i
	}
	return all
}

// copyState copies an SA with keys of its own.
func copyState(st *uapi.State) *uapi.State {
	c := *st
	if st.AEAD != nil {
		a := *st.AEAD
		a.Key = secret.Clone(a.Key.Bytes())
		c.AEAD = &a
	}
	if st.Crypt != nil {
		a := *st.Crypt
		a.Key = secret.Clone(a.Key.Bytes())
		c.Crypt = &a
	}
	if st.Auth != nil {
		a := *st.Auth
		a.Key = secret.Clone(a.Key.Bytes())
		c.Auth = &a
	}
	c.Replay.Bitmap = slices.Clone(st.Replay.Bitmap)
	return &c
}
