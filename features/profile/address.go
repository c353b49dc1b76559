package profile

import (
	"fmt"
	"net/netip"
)

// Unicast says why an address cannot be one end of a tunnel; "" = it can.
func Unicast(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "is missing"
	case a.Is4In6():
		return "is IPv4 written as IPv6"
	case a.Zone() != "":
		return "has a zone, which means nothing to another gateway"
	case a.IsUnspecified():
		return "is unspecified"
	case a.IsMulticast():
		return "is multicast, which this profile does not cover"
	}
	return ""
}

// CheckPrefix says why a prefix cannot be an inner address.
func CheckPrefix(p netip.Prefix) error {
	switch {
	case !p.IsValid():
		return fmt.Errorf("inner prefix without a value")
	case p.Addr().Is4In6():
		return fmt.Errorf("inner prefix %s is IPv4 written as IPv6", p)
	case p != p.Masked():
		return fmt.Errorf("inner prefix %s has bits behind its length: %s is the prefix", p, p.Masked())
	}
	return nil
}
