// Package cxtp is the Context Transfer Protocol of RFC 4067: its messages, its
// authorisation token, and the state machines of the mobile node, the previous
// and the new access router.
//
// The package is pure. It has no socket, no goroutine, no clock and no file:
// time and messages go in, ordered actions come out, so that whatever it
// decides can be replayed from a transcript.
package cxtp
