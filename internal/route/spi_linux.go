package route

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// A packet is found by its SPI in a hash table, one for each place in a packet
// where an SPI can stand.
type place struct {
	protocol uint8 // of the IP header
	offset   int32 // of the SPI behind it
}

var places = [...]place{{unix.IPPROTO_ESP, 0}, {unix.IPPROTO_AH, 4}, {unix.IPPROTO_UDP, 8}}

// header is the length of an IP header without options.
func header(ipv6 bool) int32 {
	if ipv6 {
		return 40
	}
	return 20
}

// place is where the SPI of a rule stands.
func (r rule) place() int {
	switch {
	case r.port != 0:
		return 2
	case r.protocol == unix.IPPROTO_AH:
		return 1
	}
	return 0
}

// hashTable is the number of a peer's table, as a handle.
func hashTable(peer, place int, ipv6 bool) uint32 {
	n := place
	if ipv6 {
		n += len(places)
	}
	return uint32((peer+1)<<3|n) << 20
}

// bucket is where a rule's filter stands: by the low bits of its SPI.
func (r rule) bucket() uint32 {
	return hashTable(r.peer, r.place(), r.local.Is6()) | r.spi%buckets<<12
}

// layTables makes a peer's hash tables, and leads into them what has an SPI. IPv4
// headers with options, IPv6 extension headers and fragments are left to the
// filters by source.
func (f *filters) layTables(peer int, linked map[uint32]bool) error {
	for _, ipv6 := range []bool{false, true} {
		priority, protocol := ipv4Priority, uint16(unix.ETH_P_IP)
		if ipv6 {
			priority, protocol = ipv6Priority, unix.ETH_P_IPV6
		}
		for n, p := range places {
			table := hashTable(peer, n, ipv6)
			err := f.kernel.FilterAdd(&netlink.U32{FilterAttrs: f.attrs(chain(stageSPI, peer), priority, protocol, table), Divisor: buckets})
			if err != nil && !errors.Is(err, unix.EEXIST) {
				return err
			}
			if linked[table] {
				continue
			}
			const lowBits = buckets - 1
			if err := f.kernel.FilterAdd(&netlink.U32{
				FilterAttrs: f.attrs(chain(stageSPI, peer), priority, protocol, 0), Link: table,
				Sel: &netlink.TcU32Sel{Keys: p.keys(ipv6), Hoff: int16(header(ipv6) + p.offset), Hmask: lowBits},
			}); err != nil {
				return err
			}
		}
	}
	return nil
}

// keys match the IP header that an SPI stands behind.
func (p place) keys(ipv6 bool) []netlink.TcU32Key {
	if ipv6 {
		return []netlink.TcU32Key{{Off: 4, Mask: 0xff00, Val: uint32(p.protocol) << 8}}
	}
	return []netlink.TcU32Key{
		{Off: 0, Mask: 0xff00_0000, Val: 0x4500_0000}, // version 4, five words
		{Off: 4, Mask: 0x3fff},                        // a whole packet
		{Off: 8, Mask: 0x00ff_0000, Val: uint32(p.protocol) << 16},
	}
}

// keys match a rule's destination, port and SPI, in this order.
func (r rule) keys() []netlink.TcU32Key {
	const all = 0xffff_ffff
	var keys []netlink.TcU32Key
	behind := header(r.local.Is6())
	to := r.local.AsSlice()
	for at := 0; at < len(to); at += 4 {
		keys = append(keys, netlink.TcU32Key{Off: behind - int32(len(to)-at), Mask: all, Val: binary.BigEndian.Uint32(to[at:])})
	}
	if r.port != 0 {
		keys = append(keys, netlink.TcU32Key{Off: behind, Mask: 0xffff, Val: uint32(r.port)})
	}
	keys = append(keys, netlink.TcU32Key{Off: behind + places[r.place()].offset, Mask: all, Val: r.spi})
	return slices.Clip(keys) // the library sends the whole of their capacity
}

// elsewhere reports whether the kernel lists a filter that is in another chain: it
// lists hash tables in each chain that has some.
func elsewhere(filter netlink.Filter) bool {
	u, hashed := filter.(*netlink.U32)
	return hashed && u.Chain != nil && int(u.Handle>>23)-1 != int(*u.Chain&0xff)
}

// readKeys is the inverse of keys.
func (r *rule) readKeys(filter *netlink.U32) bool {
	n, ipv6 := int(filter.Handle>>20&7), false
	words := 1
	if n >= len(places) {
		n, ipv6, words = n-len(places), true, 4
	}
	if n >= len(places) || filter.Sel == nil {
		return false
	}
	keys := filter.Sel.Keys
	if places[n].protocol == unix.IPPROTO_UDP {
		if len(keys) != words+2 {
			return false
		}
		r.port = uint16(keys[words].Val)
	} else if len(keys) != words+1 {
		return false
	}
	var to []byte
	for _, k := range keys[:words] {
		to = binary.BigEndian.AppendUint32(to, k.Val)
	}
	r.local, _ = netip.AddrFromSlice(to)
	r.spi, r.protocol = keys[len(keys)-1].Val, unix.IPPROTO_ESP
	if places[n].protocol == unix.IPPROTO_AH {
		r.protocol = unix.IPPROTO_AH
	}
	return ipv6 == r.local.Is6()
}
