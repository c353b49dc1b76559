package ikectx

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// writer and reader know the compound fields of the IKE profile.
type (
	writer struct{ profile.Writer }
	reader struct{ profile.Reader }
)

// endpoints writes two addresses under one family octet, each with its port.
func (w *writer) endpoints(field int, local, remote netip.AddrPort) {
	switch {
	case !local.IsValid() || !remote.IsValid():
		w.Fail(field, errors.New("local or remote address missing"))
	case local.Addr().Is4() != remote.Addr().Is4():
		w.Fail(field, fmt.Errorf("%s and %s are not of one family", local.Addr(), remote.Addr()))
	default:
		w.Mark(field)
		w.Put(profile.FamilyOf(local.Addr()))
		for _, end := range [...]netip.AddrPort{local, remote} {
			w.PutAddress(field, end.Addr())
			w.Put16(end.Port())
		}
	}
}

func (r *reader) endpoints(field int) (local, remote netip.AddrPort) {
	if !r.Has(field) {
		return local, remote
	}
	size := r.NextFamily()
	local = netip.AddrPortFrom(r.NextAddress(size), r.Next16())
	return local, netip.AddrPortFrom(r.NextAddress(size), r.Next16())
}

// numbers writes a list of u16.
func (w *writer) numbers(field int, list []uint16) {
	if w.Begin(field, len(list)) {
		for _, n := range list {
			w.Put16(n)
		}
	}
}

func (r *reader) numbers(field int) (list []uint16) {
	if r.Has(field) {
		for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
			list = append(list, r.Next16())
		}
	}
	return list
}

// addresses writes a list of addresses, each with its family.
func (w *writer) addresses(field int, list []netip.Addr) {
	if w.Begin(field, len(list)) {
		for _, a := range list {
			w.Put(profile.FamilyOf(a))
			w.PutAddress(field, a)
		}
	}
}

func (r *reader) addresses(field int) (list []netip.Addr) {
	if r.Has(field) {
		for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
			list = append(list, r.NextAddress(r.NextFamily()))
		}
	}
	return list
}

// exchangeFields are the fields of an [Exchange] in a block: the first of them,
// and the others behind it in order.
const (
	exMethod = iota
	exAdditional
	exNi
	exNr
	exSecrets
	exFields
)

func (w *writer) exchange(first int, x *Exchange) {
	w.U16(first+exMethod, x.Method, 0)
	if w.Begin(first+exAdditional, len(x.Additional)) {
		for _, a := range x.Additional {
			w.Put(a.Type)
			w.Put16(a.Method)
		}
	}
	w.Octets(first+exNi, x.Ni)
	w.Octets(first+exNr, x.Nr)
	if w.Begin(first+exSecrets, len(x.Secrets)) {
		for _, s := range x.Secrets {
			w.PutString(first+exSecrets, s.Bytes())
		}
	}
}

func (r *reader) exchange(first int) (x Exchange) {
	x.Method = r.U16(first+exMethod, 0)
	if r.Has(first + exAdditional) {
		for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
			x.Additional = append(x.Additional, Additional{Type: r.Next8(), Method: r.Next16()})
		}
	}
	x.Ni, x.Nr = r.Octets(first+exNi), r.Octets(first+exNr)
	if r.Has(first + exSecrets) {
		for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
			x.Secrets = append(x.Secrets, r.NextKey())
		}
	}
	return x
}

// selectors writes a list of traffic selectors.
func (w *writer) selectors(field int, list []TrafficSelector) {
	if !w.Begin(field, len(list)) {
		return
	}
	for _, t := range list {
		from, to := t.Range.From, t.Range.To
		if !from.IsValid() || !to.IsValid() || from.Is4() != to.Is4() {
			w.Fail(field, errors.New("traffic selector without a range of addresses of one family"))
			return
		}
		w.Put(t.Protocol)
		w.Put16(t.Ports.From)
		w.Put16(t.Ports.To)
		w.Put(profile.FamilyOf(from))
		w.PutAddress(field, from)
		w.PutAddress(field, to)
	}
}

func (r *reader) selectors(field int) (list []TrafficSelector) {
	if !r.Has(field) {
		return nil
	}
	for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
		t := TrafficSelector{Protocol: r.Next8(), Ports: ipsecctx.Ports{From: r.Next16(), To: r.Next16()}}
		size := r.NextFamily()
		t.Range = ipsecctx.Range{From: r.NextAddress(size), To: r.NextAddress(size)}
		list = append(list, t)
	}
	return list
}

// messages writes a list of messages.
func (w *writer) messages(field int, list []Message) {
	if !w.Begin(field, len(list)) {
		return
	}
	for _, m := range list {
		w.Put32(m.ID)
		w.Put(m.Exchange)
		w.PutAge(field, m.Age)
		if !w.Count(field, len(m.Datagrams)) {
			return
		}
		for _, d := range m.Datagrams {
			w.PutString(field, d)
		}
	}
}

func (r *reader) messages(field int) (list []Message) {
	if !r.Has(field) {
		return nil
	}
	for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
		m := Message{ID: r.Next32(), Exchange: r.Next8(), Age: r.NextSeconds()}
		for d := r.Next8(); d > 0 && r.Err() == nil; d-- {
			m.Datagrams = append(m.Datagrams, r.NextString())
		}
		list = append(list, m)
	}
	return list
}

// flag is one flag of a block, and where its value is.
type flag struct {
	bit   uint8
	name  string
	value *bool
}

func (w *writer) flags(field int, flags []flag) {
	var octet uint8
	for _, f := range flags {
		if *f.value {
			octet |= f.bit
		}
	}
	w.U8(field, octet, 0)
}

// flags sets every value, and refuses flags that have none.
func (r *reader) flags(field int, flags []flag) {
	octet := r.U8(field, 0)
	unknown := octet
	for _, f := range flags {
		*f.value = octet&f.bit != 0
		unknown &^= f.bit
	}
	r.Unassigned("flags", uint32(unknown), 1)
}

func namesOf(flags []flag) profile.Set {
	var set profile.Set
	for _, f := range flags {
		set = append(set, struct {
			Is   bool
			Name string
		}{*f.value, f.name})
	}
	return set
}
