package uapi

import "context"

// HashPolicies says which policies the kernel finds by a hash of their
// addresses: those whose local and whose remote prefix are at least so long, in
// bits. The others it keeps in trees, in which all prefixes that lie within
// another's share one list: with a policy for all nodes' addresses beside those of
// each node, that list is searched for every new flow, and for every insertion.
// The kernel's default is whole addresses on either side.
//
// The setting is the network namespace's. Policies that are there are hashed
// anew.
func (c *Conn) HashPolicies(ctx context.Context, v4, v6 PolicyHash) error {
	return c.do(ctx, &Request{Op: opHashPolicies, hashes: [2]PolicyHash{v4, v6}}).Err
}
