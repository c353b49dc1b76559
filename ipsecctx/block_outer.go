package ipsecctx

import (
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// outerAddresses is the one field of the outer addresses block (IPsec profile
// section 6.2).
const outerAddresses = 0

var outerLayout = profile.NewLayout(cxtp.FPTIPsecOuter, "IPsec outer addresses block",
	[]int{outerAddresses},
	[]string{outerAddresses: "addresses"})

// outer are the shared outer addresses that are the target's from a close on.
type outer []netip.Addr

// encode appends the block's data to arena.
func (o outer) encode(arena []byte) (cxtp.CDB, error) {
	w := profile.NewWriter(outerLayout, arena)
	if w.Begin(outerAddresses, len(o)) {
		for _, a := range o {
			if reason := profile.Unicast(a); reason != "" {
				w.Fail(outerAddresses, fmt.Errorf("%s %s", a, reason))
			}
			w.Put(profile.FamilyOf(a))
			w.PutAddress(outerAddresses, a)
		}
	}
	return w.Finish(nil)
}

// read reads the block.
func (o *outer) read(r *profile.Reader) {
	*o = nil
	if !r.Has(outerAddresses) {
		return
	}
	for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
		a := r.NextAddress(r.NextFamily())
		if r.Err() != nil {
			return
		}
		if reason := profile.Unicast(a); reason != "" {
			r.Fail(a.String() + " " + reason)
		}
		*o = append(*o, a)
	}
}

// EncodeOuter makes the block that tells the target of a move which shared outer
// addresses are its own now; of none there is no block. The error is as with
// [AppendSession].
func EncodeOuter(addrs []netip.Addr) ([]cxtp.CDB, error) {
	if len(addrs) == 0 {
		return nil, nil
	}
	return profile.Encode(1, func(blocks []cxtp.CDB, arena []byte) ([]cxtp.CDB, []byte, error) {
		a := profile.Appender{Blocks: blocks, Arena: arena}
		a.Add(outer(addrs).encode)
		return a.Result(blocks, arena)
	})
}

// DecodeOuter reads such blocks among others. Errors are as with [Session.Decode].
func DecodeOuter(blocks []cxtp.CDB) ([]netip.Addr, error) {
	var all []netip.Addr
	var r profile.Reader
	for i := range blocks {
		if blocks[i].FPT != cxtp.FPTIPsecOuter {
			continue
		}
		if all != nil {
			return nil, malformed(cxtp.FPTIPsecOuter, "two outer addresses blocks: a close has one at most")
		}
		var o outer
		r.Open(&blocks[i], outerLayout)
		o.read(&r)
		if err := r.Finish(); err != nil {
			return nil, err
		}
		all = o
	}
	return all, nil
}
