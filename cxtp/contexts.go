package cxtp

import "slices"

// Which contexts a transfer is about, and what becomes of each: a request names
// context types, and some of them may be missing in the end without harm.

// requestedTypes are the context types that a request names, each once; nil means
// all. Blocks of our own say something about the request and ask for nothing.
func requestedTypes(requests []CDB) []FPT {
	var types []FPT
	for _, b := range requests {
		switch b.FPT {
		case FPTSessionName, FPTToken:
		default:
			if !slices.Contains(types, b.FPT) {
				types = append(types, b.FPT)
			}
		}
	}
	return types
}

// errorBlocks stand in a stage for contexts that were asked for and are not
// there (RFC 4067 section 2.4).
func errorBlocks(missing []ContextStatus) []CDB {
	var blocks []CDB
	for _, st := range missing {
		blocks = append(blocks, ErrorBlock(st))
	}
	return blocks
}

// failures is what is told of a transfer that failed: with a status for the whole
// of it, because contexts that are merely missing have statuses too.
func failures(statuses []ContextStatus) []ContextStatus {
	if slices.ContainsFunc(statuses, ofAll) {
		return statuses
	}
	return append(control(reason(statuses).Status), statuses...)
}

// reason is the one status of a failure that there is room for.
func reason(statuses []ContextStatus) ContextStatus {
	if len(statuses) == 0 {
		return ContextStatus{FPTControl, StatusInternal}
	}
	return statuses[0]
}

// unite adds what is missing since to what was missing before.
func unite(before, since []ContextStatus) []ContextStatus {
	all := slices.Clip(before)
	for _, st := range since {
		if !slices.Contains(all, st) {
			all = append(all, st)
		}
	}
	return all
}

// control is a status of the transfer as a whole.
func control(st Status) []ContextStatus { return []ContextStatus{{FPTControl, st}} }
