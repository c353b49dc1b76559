package ipsecctx

import "net/netip"

// Prefixes cuts the range into the fewest prefixes, in order, for tables that
// know nothing else. The range must be ordered and of one family.
func (r Range) Prefixes() []netip.Prefix { return appendPrefixes(nil, r) }
