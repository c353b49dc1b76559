// Package uapi speaks the Linux kernel's XFRM netlink interface without losing
// anything: what the kernel tells of an SA (it says "state") or of a policy can
// be given to another kernel and means the same there.
//
// It has two halves. The codec between messages and the types here is pure and
// compiles everywhere. Conn, on Linux only, sends requests and matches what comes
// back.
//
//	conn, err := uapi.Dial()            // the calling thread's network namespace
//	err = conn.AddState(ctx, state)     // XFRM_MSG_NEWSA
//	last, err := conn.DeleteState(ctx, state.ID())
//	err = other.AddState(ctx, last)     // goes on at the next sequence number
//
// # Layout
//
// A message is a netlink header, one C structure, and attributes. Integers are
// in the byte order of the machine, except those that come from packets (SPIs,
// ports, addresses), which are in network order. The structures are those of
// 64-bit kernels; 32-bit x86 lays some of them out differently and is refused
// by Dial.
//
// # What is not carried
//
// Of an address family shorter than the 16 octets that the kernel keeps, the
// unused octets are neither read nor written. An attribute that this package
// does not know travels as it is, in Unknown.
//
// # Keys
//
// Keys are [secret.Key] values. Requests are encoded into a buffer of the Conn
// and answers read into another; both are overwritten as soon as they have been
// sent or decoded. The kernel's own copies, the socket buffers included, are
// out of reach. [State.Wipe] empties the keys of a state that was read.
package uapi
