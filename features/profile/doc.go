// Package profile is what the profiles of our own context types have in common
// on the wire: a block with a presence vector, its fields in the order of the
// presence bits, and an extension list for later versions. Sections 1, 2 and 9
// of rfc/ipsec-profile.md specify it for all of them.
//
// A context type describes its block in a [Layout]. A [Writer] then takes the
// fields one after the other and leaves out what is equal to its default; a
// [Reader] gives them back, and the default where a field is absent. In both the
// first failure sticks, so that a block is written or read in a straight line
// and the error is looked at once, at the end.
//
// Blocks carry keys. The writer never moves what it has written, an [Appender]
// wipes what a failure leaves behind, and what a reader gives aliases the block,
// so that one wipe reaches both.
package profile
