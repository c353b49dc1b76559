package xfrm

import (
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// describe gives sa all that the kernel knows of it, keys included. What the kernel
// does not know stays: its direction, its pair, its selectors.
func describe(sa *ipsecctx.SA, st *uapi.State) error {
	if what := unfit(sa, st); what != "" {
		return refuse(cxtp.StatusUnsupported, "%s: it has %s", sa.ID(), what)
	}
	sa.Mode = ipsecctx.Transport
	if st.Mode == uapi.Tunnel {
		sa.Mode = ipsecctx.Tunnel
	}
	sa.ESN, sa.Window = st.Flags&uapi.FlagESN != 0, 0
	if sa.Direction == ipsecctx.Inbound {
		sa.Window = st.Replay.Window
	}
	sa.Encap = encapOf(sa.Direction, st)
	sa.Soft, sa.Hard = lifetimesOf(&st.Limits)
	sa.DF, sa.CopyDSCP = ipsecctx.DFCopy, false
	if sa.Mode == ipsecctx.Tunnel && sa.Direction == ipsecctx.Outbound {
		sa.CopyDSCP = st.ExtraFlags&uapi.ExtraDontEncapDSCP == 0
		if st.Flags&uapi.FlagNoPMTUDisc != 0 {
			sa.DF = ipsecctx.DFClear
		}
	}
	if sa.Encryption, sa.Integrity = transformsOf(st); !takeKeys(sa, st) {
		return refuse(cxtp.StatusAlgorithm, "%s: its algorithms have no numbers in IKEv2 that contexts know", sa.ID())
	}
	return nil
}

// encapOf is the UDP encapsulation of a kernel's SA, from the gateway's side.
func encapOf(d ipsecctx.Direction, st *uapi.State) ipsecctx.Encap {
	switch {
	case st.Encap == nil:
		return ipsecctx.Encap{}
	case d == ipsecctx.Inbound:
		return ipsecctx.Encap{LocalPort: st.Encap.DstPort, RemotePort: st.Encap.SrcPort}
	}
	return ipsecctx.Encap{LocalPort: st.Encap.SrcPort, RemotePort: st.Encap.DstPort}
}

// lifetimesOf are the lifetimes that a kernel's SA was given.
func lifetimesOf(l *uapi.Limits) (soft, hard ipsecctx.Lifetime) {
	of := func(add, octets, packets uint64) ipsecctx.Lifetime {
		orNone := func(n uint64) uint64 {
			if n == uapi.Unlimited {
				return 0
			}
			return n
		}
		return ipsecctx.Lifetime{Time: time.Duration(add) * time.Second, Octets: orNone(octets), Packets: orNone(packets)}
	}
	return of(l.SoftAdd, l.SoftBytes, l.SoftPackets), of(l.HardAdd, l.HardBytes, l.HardPackets)
}
