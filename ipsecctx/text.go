package ipsecctx

import (
	"fmt"
	"strings"
)

func (e Encap) String() string {
	return fmt.Sprintf("local port %d, remote port %d", e.LocalPort, e.RemotePort)
}

func (l Lifetime) String() string {
	return fmt.Sprintf("%v, %d octets, %d packets", l.Time, l.Octets, l.Packets)
}

func (m DSCPMapping) String() string { return fmt.Sprintf("%d to %d", m.Inner, m.Outer) }

func (m IVMode) String() string {
	names := [...]string{"default", "random", "counter", "salted", "implicit", "chained"}
	if int(m) < len(names) {
		return names[m]
	}
	return fmt.Sprintf("IV mode %d", uint8(m))
}

func (d DFBit) String() string {
	switch d {
	case DFCopy:
		return "copy"
	case DFSet:
		return "set"
	case DFClear:
		return "clear"
	}
	return fmt.Sprintf("DF treatment %d", uint8(d))
}

// alternatives are the selectors of an SA.
type alternatives []Selector

func (list alternatives) String() string {
	var texts []string
	for _, s := range list {
		texts = append(texts, s.String())
	}
	return strings.Join(texts, "; ")
}

// String writes a selector on one line, without what is ANY.
func (s Selector) String() string {
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	if len(s.Local) > 0 {
		add("local %v", s.Local)
	}
	if len(s.Remote) > 0 {
		add("remote %v", s.Remote)
	}
	switch s.Protocol.Match {
	case MatchValue:
		add("protocol %d", s.Protocol.Number)
	case MatchOpaque:
		add("protocol OPAQUE")
	}
	switch s.Protocol.kind() {
	case kindICMP:
		add("ICMP %s", s.ICMP)
	case kindMobility:
		add("Mobility Header %s", s.MobilityHeader)
	case kindPorts:
		if s.LocalPort != AnyPort || s.RemotePort != AnyPort {
			add("local port %s, remote port %s", s.LocalPort, s.RemotePort)
		}
	}
	if s.Name.Type != 0 {
		add("name %s", s.Name)
	}
	if len(s.Sensitivity) > 0 {
		add("sensitivity %x", s.Sensitivity)
	}
	if len(parts) == 0 {
		return "ANY"
	}
	return strings.Join(parts, ", ")
}

func (r Range) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	return fmt.Sprintf("%s-%s", r.From, r.To)
}

func (p Ports) String() string {
	switch p {
	case AnyPort:
		return "ANY"
	case OpaquePort:
		return "OPAQUE"
	}
	return fmt.Sprintf("%d-%d", p.From, p.To)
}

func (c ICMPRange) String() string {
	switch c.Match {
	case MatchAny:
		return "ANY"
	case MatchOpaque:
		return "OPAQUE"
	}
	return fmt.Sprintf("type %d code %d to type %d code %d", c.TypeFrom, c.CodeFrom, c.TypeTo, c.CodeTo)
}
