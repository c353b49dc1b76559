// Package features says what a context type must be able to do to take part in
// a move, and keeps the registry of the ones that a router has.
//
// A move is a small transaction between two routers, and a feature (the IPsec
// SAs of a node, its multicast groups) is a participant in it. The engine in
// package cxtp decides; a feature only carries out, and says truthfully what
// happened.
//
// Two packages are for whoever writes one: [github.com/cxtp/cxtp/features/profile]
// has the wire conventions that our context profiles share, and
// [github.com/cxtp/cxtp/features/ledger] the memory that makes operations
// idempotent.
package features
