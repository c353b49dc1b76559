package bridge

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// The messages RTM_NEWMDB, RTM_DELMDB and RTM_GETMDB of Linux (linux/if_bridge.h),
// behind the netlink header.
const (
	sizePortMessage = 8  // br_port_msg: family, padding, index of the bridge
	sizeEntry       = 28 // br_mdb_entry
	sizeAttrHeader  = 4
	attrTypeMask    = 0x3fff // without the flags for nested attributes and byte order

	attrTable    = 1 // MDBA_MDB, with MDBA_MDB_ENTRY, with MDBA_MDB_ENTRY_INFO
	attrEntry    = 1
	attrInfo     = 1
	attrTimer    = 1 // MDBA_MDB_EATTR_TIMER
	attrSource   = 4 // MDBA_MDB_EATTR_SOURCE: an entry for one source
	attrSetEntry = 1 // MDBA_SET_ENTRY

	statePermanent = 1
	familyBridge   = 7      // AF_BRIDGE
	etherIPv6      = 0x86dd // in network order
	tick           = 10 * time.Millisecond
)

// entry is a group that goes to a port of a bridge.
type entry struct {
	port      int // its interface index
	group     netip.Addr
	permanent bool          // somebody's configuration, without a timer
	left      time.Duration // of the timer
}

// request is what follows the netlink header of a message that sets an entry, or
// takes it away. An entry that is not permanent gets the whole timer.
func (e entry) request(bridge int) []byte {
	b := binary.NativeEndian.AppendUint32([]byte{familyBridge, 0, 0, 0}, uint32(bridge))
	b = binary.NativeEndian.AppendUint16(b, sizeAttrHeader+sizeEntry)
	b = binary.NativeEndian.AppendUint16(b, attrSetEntry)
	b = binary.NativeEndian.AppendUint32(b, uint32(e.port))
	b = append(b, 0, 0, 0, 0) // temporary, no flags, every VLAN
	b = append(b, e.group.AsSlice()...)
	return append(binary.BigEndian.AppendUint16(b, etherIPv6), 0, 0)
}

// parseTable reads a message of a dump: the entries of IPv6 groups of one bridge,
// for all sources. A message about another bridge has none.
func parseTable(b []byte, bridge int) (entries []entry, err error) {
	if len(b) < sizePortMessage {
		return nil, fmt.Errorf("bridge table message of %d octets", len(b))
	}
	if int(binary.NativeEndian.Uint32(b[4:])) != bridge {
		return nil, nil
	}
	err = attributes(b[sizePortMessage:], func(kind uint16, table []byte) error {
		if kind != attrTable {
			return nil
		}
		return attributes(table, func(kind uint16, group []byte) error {
			if kind != attrEntry {
				return nil
			}
			return attributes(group, func(kind uint16, info []byte) error {
				if kind != attrInfo {
					return nil
				}
				e, ok, err := parseEntry(info)
				if ok {
					entries = append(entries, e)
				}
				return err
			})
		})
	})
	return entries, err
}

// parseEntry reads one entry; ok is false for one that is not about an IPv6 group
// from any source.
func parseEntry(b []byte) (e entry, ok bool, err error) {
	if len(b) < sizeEntry {
		return e, false, fmt.Errorf("bridge table entry of %d octets, at least %d wanted", len(b), sizeEntry)
	}
	ok = binary.BigEndian.Uint16(b[24:]) == etherIPv6
	e = entry{port: int(binary.NativeEndian.Uint32(b)), permanent: b[4] == statePermanent, group: netip.AddrFrom16([16]byte(b[8:24]))}
	err = attributes(b[sizeEntry:], func(kind uint16, value []byte) error {
		switch {
		case kind == attrSource:
			ok = false
		case kind == attrTimer && len(value) == 4:
			e.left = time.Duration(binary.NativeEndian.Uint32(value)) * tick
		}
		return nil
	})
	return e, ok && err == nil, err
}

// attributes gives the attributes of a list one after the other.
func attributes(b []byte, f func(kind uint16, value []byte) error) error {
	for len(b) > 0 {
		if len(b) < sizeAttrHeader {
			return fmt.Errorf("%d octets are left for an attribute", len(b))
		}
		n := int(binary.NativeEndian.Uint16(b))
		if n < sizeAttrHeader || n > len(b) {
			return fmt.Errorf("attribute of %d octets where %d are left", n, len(b))
		}
		if err := f(binary.NativeEndian.Uint16(b[2:])&attrTypeMask, b[sizeAttrHeader:n]); err != nil {
			return err
		}
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}
