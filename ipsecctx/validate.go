package ipsecctx

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
)

// Validate checks that the SA means something by itself: that its transforms,
// keys, addresses and selectors go together. Whether a gateway can carry it is
// [Backend.Supports]'s question.
//
// The error is a [features.Error]. Its status is StatusAlgorithm for an unknown
// transform or a key that does not fit it, StatusWindow for a window that no
// context can carry, StatusUnsupported for what this profile knows but does not
// move, and StatusMalformed for what contradicts itself.
func (sa *SA) Validate() error {
	for _, check := range []func(*SA) *fault{
		checkIdentity, checkOuter, checkCipher, checkAuth, checkIV, checkReplay, checkTreatment, checkSelectors,
	} {
		if f := check(sa); f != nil {
			return &features.Error{FPT: cxtp.FPTIPsecSA, Status: f.status, Err: fmt.Errorf("%s: %s", sa.ID(), f.reason)}
		}
	}
	return nil
}

// fault is what a check found: the status, and the reason without the SA's name.
type fault struct {
	status cxtp.Status
	reason string
}

func faultf(status cxtp.Status, format string, args ...any) *fault {
	return &fault{status, fmt.Sprintf(format, args...)}
}

func wrong(format string, args ...any) *fault {
	return faultf(cxtp.StatusMalformed, format, args...)
}

// firstSPI is the first that is not reserved, RFC 4303 section 2.1.
const firstSPI = 256

func checkIdentity(sa *SA) *fault {
	switch {
	case sa.Direction != Inbound && sa.Direction != Outbound:
		return wrong("%s: 1 is inbound, 2 outbound", sa.Direction)
	case sa.Protocol != ESP && sa.Protocol != AH:
		return faultf(cxtp.StatusUnsupported, "%s: 50 is ESP, 51 AH", sa.Protocol)
	case sa.Mode != Tunnel && sa.Mode != Transport:
		return faultf(cxtp.StatusUnsupported, "%s: 1 is tunnel, 2 transport", sa.Mode)
	case sa.SPI < firstSPI:
		return wrong("SPI %d is reserved: the first to use is %d", sa.SPI, firstSPI)
	case sa.Pair == 0:
		return wrong("pair 0: pairs count from 1")
	case sa.Replaces == sa.Pair:
		return wrong("pair %d replaces itself", sa.Pair)
	}
	return nil
}

func checkOuter(sa *SA) *fault {
	for _, a := range [...]netip.Addr{sa.Local, sa.Remote} {
		if reason := profile.Unicast(a); reason != "" {
			return wrong("outer address %s %s", a, reason)
		}
	}
	encap := sa.Encap
	switch {
	case sa.Local.Is4() != sa.Remote.Is4():
		return wrong("outer addresses %s and %s are not of one family", sa.Local, sa.Remote)
	case encap.Enabled() && (encap.LocalPort == 0 || encap.RemotePort == 0):
		return wrong("UDP encapsulation from port %d to %d: neither may be 0", encap.LocalPort, encap.RemotePort)
	case encap.Enabled() && sa.Protocol != ESP:
		return faultf(cxtp.StatusUnsupported, "UDP encapsulation is for ESP alone (RFC 3948 section 1)")
	}
	return nil
}

func checkReplay(sa *SA) *fault {
	switch {
	case sa.Window > MaxWindow:
		return faultf(cxtp.StatusWindow, "anti-replay window of %d packets: a context carries at most %d", sa.Window, MaxWindow)
	case sa.Overflow && sa.Window > 0:
		return wrong("sequence numbers may not roll over while anti-replay is on (RFC 4303 section 3.3.3)")
	}
	return nil
}

const (
	maxDSCP = 63
	minMTU  = 68 // octets: RFC 791's least
)

func checkTreatment(sa *SA) *fault {
	for _, d := range [...]time.Duration{sa.Soft.Time, sa.Hard.Time} {
		if d < 0 {
			return wrong("lifetime of %v", d)
		}
	}
	switch {
	case sa.PathMTU != 0 && sa.PathMTU < minMTU:
		return wrong("path MTU of %d octets: the least is %d", sa.PathMTU, minMTU)
	case sa.DF > DFClear:
		return wrong("DF treatment %d: 0 copies, 1 sets, 2 clears", sa.DF)
	case len(sa.DSCP) > 0 && slices.Max(sa.DSCP) > maxDSCP:
		return wrong("DSCP value %d: the last is %d", slices.Max(sa.DSCP), maxDSCP)
	case sa.CopyDSCP && len(sa.MapDSCP) > 0:
		return wrong("DSCP is both copied and mapped")
	}
	var mapped uint64
	for _, m := range sa.MapDSCP {
		if m.Inner > maxDSCP || m.Outer > maxDSCP {
			return wrong("DSCP value %d mapped to %d: the last is %d", m.Inner, m.Outer, maxDSCP)
		}
		if mapped&(1<<m.Inner) != 0 {
			return wrong("DSCP value %d mapped twice", m.Inner)
		}
		mapped |= 1 << m.Inner
	}
	return nil
}

// Validate checks dynamic state against the SA that it belongs to. The error is
// a [features.Error]: StatusNoBase when the state names another SA, else
// StatusMalformed.
func (d *Dynamic) Validate(sa *SA) error { return d.validate(sa.counting()) }

// counting is what of an SA decides about its dynamic state: its name, and what
// it counts by.
type counting struct {
	id     ID
	esn    bool
	window uint32
	cipher uint16
	iv     IVMode
}

func (sa *SA) counting() counting {
	return counting{sa.ID(), sa.ESN, sa.Window, sa.Encryption.ID, sa.Encryption.IV}
}

func (d *Dynamic) validate(sa counting) error {
	if d.ID() != sa.id {
		return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "state of the %s does not belong to the %s", d.ID(), sa.id)
	}
	if f := d.check(sa); f != nil {
		return &features.Error{FPT: cxtp.FPTIPsecDynamic, Status: f.status, Err: fmt.Errorf("%s: %s", d.ID(), f.reason)}
	}
	return nil
}

func (d *Dynamic) check(sa counting) *fault {
	words := 0
	if sa.id.Direction == Inbound {
		words = windowWords(sa.window)
	}
	switch {
	case !sa.esn && d.Sequence > 0xffffffff:
		return wrong("sequence number %d has more than 32 bits, and the SA has no ESN", d.Sequence)
	case len(d.Window) != words:
		return wrong("anti-replay bitmap of %d words: a window of %d packets has %d", len(d.Window), sa.window, words)
	case beyond(d.Window, sa.window, d.Sequence):
		return wrong("anti-replay bitmap has a packet beyond the window, or one with a number below 1")
	case d.Used.Time < 0 || d.Idle < 0:
		return wrong("age of %v, idle for %v", d.Used.Time, d.Idle)
	case !d.ChainIV.IsZero() && sa.iv != IVChained:
		return wrong("a chained IV, but the SA does not chain its IVs")
	case !d.ChainIV.IsZero() && d.ChainIV.Len() != sa.ivLength():
		return wrong("chained IV of %d octets: the transform has %d", d.ChainIV.Len(), sa.ivLength())
	}
	return nil
}

func (sa counting) ivLength() int {
	if t, ok := CipherByID(sa.cipher); ok {
		return t.IV
	}
	return 0
}
