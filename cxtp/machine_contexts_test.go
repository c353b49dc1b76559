package cxtp

import (
	"bytes"
	"slices"
	"strconv"
	"strings"
)

// The optional feature of the simulator: a node's multicast groups, one context
// that may be missing.

var simGroups = CDB{FPT: FPTMulticastListener, Data: bytes.Repeat([]byte{0xff}, 28)}

// simTypes are the types of the feature that may not be missing.
var simTypes = []FPT{FPTIPsecSession, FPTIPsecSA, FPTIPsecDynamic}

// chosen is what an export that was asked for certain types gives.
func chosen(contexts []CDB, types []FPT) (blocks []CDB, unknown []ContextStatus) {
	if types == nil {
		return contexts, nil
	}
	named := func(t FPT) bool { return slices.Contains(types, t) }
	for _, b := range contexts {
		if b.FPT == FPTMulticastListener && named(b.FPT) || b.FPT != FPTMulticastListener && slices.ContainsFunc(simTypes, named) {
			blocks = append(blocks, b)
		}
	}
	for _, t := range types {
		if t != FPTMulticastListener && !slices.Contains(simTypes, t) {
			unknown = append(unknown, ContextStatus{t, StatusUnknownFPT})
		}
	}
	return blocks, unknown
}

// lack adds what a feature that may fail has not done.
func (n *simRouter) lack(d Do, result *Done) {
	if st, ok := n.groupsFail[d.Verb]; ok {
		delete(n.groupsFail, d.Verb)
		result.Partial = append(result.Partial, ContextStatus{FPTMulticastListener, st})
		result.Detail = "told to fail"
		result.Blocks = slices.DeleteFunc(result.Blocks, func(b CDB) bool { return b.FPT == FPTMulticastListener })
	}
	if d.Verb == VerbExport {
		n.exported[d.Session] = append(n.exported[d.Session], result.Blocks...)
	}
}

// requestTypes reads types=0x0001,0xffe1.
func (s *script) requestTypes(list string) []FPT {
	var types []FPT
	for _, text := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		n, err := strconv.ParseUint(text, 0, 16)
		if err != nil {
			s.t.Fatal(err)
		}
		types = append(types, FPT(n))
	}
	return types
}
