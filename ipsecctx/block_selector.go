package ipsecctx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/features/profile"
)

// The members of a selector (IPsec profile section 5.3). A selector has a
// 16-bit presence vector of its own, under the same rule as the block's.
const (
	selLocal uint16 = 0x8000 >> iota
	selRemote
	selProtocol
	selLocalPort
	selRemotePort
	selICMP
	selMobility
	selName
	selSensitivity
	selKnown = 0xff80
)

// Protocol numbers whose "port" selectors mean something else, RFC 4301 section
// 4.4.1.1.
const (
	protoICMP     = 1
	protoICMPv6   = 58
	protoMobility = 135
)

// selectorKind says which dependent selectors a next-layer protocol has.
type selectorKind uint8

const (
	kindPorts selectorKind = iota
	kindICMP
	kindMobility
)

func (p NextProtocol) kind() selectorKind {
	if p.Match == MatchValue {
		switch p.Number {
		case protoICMP, protoICMPv6:
			return kindICMP
		case protoMobility:
			return kindMobility
		}
	}
	return kindPorts
}

func (w *writer) selectors(list []Selector) {
	if w.Begin(saSelectors, len(list)) {
		for i := range list {
			w.selector(&list[i])
		}
	}
}

func (w *writer) selector(s *Selector) {
	at := w.Len()
	w.Put(0, 0)
	var presence uint16
	if len(s.Local) > 0 {
		presence |= selLocal
		w.ranges(s.Local)
	}
	if len(s.Remote) > 0 {
		presence |= selRemote
		w.ranges(s.Remote)
	}
	if s.Protocol != (NextProtocol{}) {
		presence |= selProtocol
		w.Put(uint8(s.Protocol.Match), s.Protocol.Number)
	}
	presence |= w.dependent(s)
	if s.Name.Type != 0 {
		presence |= selName
		w.PutIdentity(saSelectors, &s.Name)
	}
	if len(s.Sensitivity) > 0 {
		presence |= selSensitivity
		w.PutString(saSelectors, s.Sensitivity)
	}
	w.Set16(at, presence)
}

// dependent writes the selectors that the next-layer protocol decides on, and
// of these only the ones that it has.
func (w *writer) dependent(s *Selector) (presence uint16) {
	switch s.Protocol.kind() {
	case kindPorts:
		if s.LocalPort != AnyPort {
			presence |= selLocalPort
			w.ports(s.LocalPort)
		}
		if s.RemotePort != AnyPort {
			presence |= selRemotePort
			w.ports(s.RemotePort)
		}
	case kindICMP:
		if c := s.ICMP; c != (ICMPRange{}) {
			presence = selICMP
			w.Put(uint8(c.Match), c.TypeFrom, c.TypeTo, c.CodeFrom, c.CodeTo)
		}
	case kindMobility:
		if s.MobilityHeader != AnyPort {
			presence = selMobility
			w.ports(s.MobilityHeader)
		}
	}
	return presence
}

func (w *writer) ports(p Ports) {
	w.Put16(p.From)
	w.Put16(p.To)
}

// ranges writes a list of address ranges under one family octet.
func (w *writer) ranges(list []Range) {
	family := profile.FamilyOf(list[0].From)
	w.Put(family)
	if !w.Count(saSelectors, len(list)) {
		return
	}
	for _, r := range list {
		if !r.From.IsValid() || profile.FamilyOf(r.From) != family || !r.To.IsValid() || profile.FamilyOf(r.To) != family {
			w.Fail(saSelectors, errors.New("address ranges of two families, or ANY beside others, in one list"))
			return
		}
		w.PutAddress(saSelectors, r.From)
		w.PutAddress(saSelectors, r.To)
	}
}

// selectors reads the list into the memory of dst.
func (r *reader) selectors(dst []Selector) []Selector {
	if !r.Has(saSelectors) {
		return dst
	}
	for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
		dst = extend(dst)
		r.selector(&dst[len(dst)-1])
	}
	return dst
}

// extend makes a slice one longer without clearing the new element, whose own
// slices are there to be used again.
func extend[T any](s []T) []T {
	s = slices.Grow(s, 1)
	return s[:len(s)+1]
}

func (r *reader) selector(s *Selector) {
	presence := r.Next16()
	r.Unassigned("selector presence bits", uint32(presence&^selKnown), 2)
	s.Local, s.Remote = s.Local[:0], s.Remote[:0]
	if presence&selLocal != 0 {
		s.Local = r.ranges(s.Local)
	}
	if presence&selRemote != 0 {
		s.Remote = r.ranges(s.Remote)
	}
	s.Protocol = NextProtocol{}
	if presence&selProtocol != 0 {
		s.Protocol = NextProtocol{Match: Match(r.Next8()), Number: r.Next8()}
	}
	r.dependent(s, presence)
	s.Name, s.Sensitivity = Name{}, nil
	if presence&selName != 0 {
		s.Name = r.NextIdentity()
	}
	if presence&selSensitivity != 0 {
		s.Sensitivity = r.NextString()
	}
}

// allowed are the dependent selectors that each kind of protocol may have.
var allowed = [...]uint16{
	kindPorts:    selLocalPort | selRemotePort,
	kindICMP:     selICMP,
	kindMobility: selMobility,
}

func (r *reader) dependent(s *Selector, presence uint16) {
	kind := s.Protocol.kind()
	s.LocalPort, s.RemotePort, s.ICMP, s.MobilityHeader = AnyPort, AnyPort, ICMPRange{}, AnyPort
	if wrong := presence & (selLocalPort | selRemotePort | selICMP | selMobility) &^ allowed[kind]; wrong != 0 {
		r.Fail(fmt.Sprintf("selector presence bits %#04x do not belong to next-layer protocol %d", wrong, s.Protocol.Number))
		return
	}
	if presence&selLocalPort != 0 {
		s.LocalPort = r.ports()
	}
	if presence&selRemotePort != 0 {
		s.RemotePort = r.ports()
	}
	if presence&selICMP != 0 {
		if b := r.Take(5); b != nil {
			s.ICMP = ICMPRange{Match: Match(b[0]), TypeFrom: b[1], TypeTo: b[2], CodeFrom: b[3], CodeTo: b[4]}
		}
	}
	if presence&selMobility != 0 {
		s.MobilityHeader = r.ports()
	}
}

func (r *reader) ports() Ports { return Ports{From: r.Next16(), To: r.Next16()} }

func (r *reader) ranges(dst []Range) []Range {
	size := r.NextFamily()
	for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
		dst = append(dst, Range{From: r.NextAddress(size), To: r.NextAddress(size)})
	}
	return dst
}
