package sctp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of linux/sctp.h (RFC 6458 has the options' meaning).
const (
	optRTOInfo          = 0
	optAssocInfo        = 1
	optInitMsg          = 2
	optNoDelay          = 3
	optPeerAddrParams   = 9
	optDelayedAck       = 16
	optPeerAddresses    = 108
	optAssocStats       = 112
	optPeelOffFlags     = 122
	optEvent            = 127
	eventAssocChange    = 0x8001
	eventShutdown       = 0x8005
	eventPartialDeliver = 0x8006

	controlSendInfo = 2
	controlPRInfo   = 5

	flagUnordered = 1 << 0
	flagAbort     = 1 << 2
	flagEOF       = 0x200

	lifetimePolicy = 0x10 // SCTP_PR_SCTP_TTL

	msgNotification = 0x8000
)

// States of an association change.
const (
	changeUp = iota
	changeLost
	changeRestart
	changeShutdown
	changeNotStarted
)

var native = binary.NativeEndian

const (
	// rtoMin is the shortest retransmission timeout, and sackDelay how long an
	// acknowledgement may wait for another: less, or each would seem lost.
	rtoMin    = 50 * time.Millisecond
	sackDelay = 20 * time.Millisecond
)

// configure sets what every association of a socket is to be like.
func configure(fd int, c *Config) error {
	ms := func(d time.Duration) uint32 { return uint32(max(d.Milliseconds(), 1)) }
	u32 := native.AppendUint32
	u16 := native.AppendUint16
	every := u32(nil, 0) // the associations to come

	patience := min(c.Patience/min(rtoMin, c.RTOMax)+1, 1<<15)
	attempts := min(c.Setup/c.RTOMax+1, 1<<15)
	paths := pathParameters(netip.AddrPort{})
	native.PutUint16(paths[136:], uint16(patience))
	rto := u32(u32(u32(every[:4:4], ms(c.RTOMax)), ms(c.RTOMax)), ms(min(rtoMin, c.RTOMax)))
	assoc := append(u16(u16(every[:4:4], uint16(patience)), 0), make([]byte, 12)...)
	init := u16(u16(u16(u16(nil, 1), 1), uint16(attempts)), uint16(ms(c.RTOMax)))
	for _, o := range []struct {
		name   string
		option int
		value  []byte
	}{
		{"SCTP_RTOINFO", optRTOInfo, rto},
		{"SCTP_ASSOCINFO", optAssocInfo, assoc},
		{"SCTP_INITMSG", optInitMsg, init}, // one stream each way
		{"SCTP_NODELAY", optNoDelay, u32(nil, 1)},
		{"SCTP_PEER_ADDR_PARAMS", optPeerAddrParams, paths},
		{"SCTP_DELAYED_SACK", optDelayedAck, u32(u32(every[:4:4], ms(sackDelay)), 2)},
		{"SCTP_EVENT", optEvent, event(eventAssocChange)},
		{"SCTP_EVENT", optEvent, event(eventShutdown)},
		{"SCTP_EVENT", optEvent, event(eventPartialDeliver)},
	} {
		if err := unix.SetsockoptString(fd, unix.IPPROTO_SCTP, o.option, string(o.value)); err != nil {
			return fmt.Errorf("failed to set %s: %w", o.name, err)
		}
	}
	buffers(fd, c)
	return nil
}

// pathParameters is a struct sctp_paddrparams that changes nothing of a path; of none,
// it is for the associations to come.
func pathParameters(remote netip.AddrPort) []byte {
	b := make([]byte, 156)
	switch a := remote.Addr(); {
	case a.Is4():
		native.PutUint16(b[4:], unix.AF_INET)
		copy(b[8:], a.AsSlice())
	case a.Is6():
		native.PutUint16(b[4:], unix.AF_INET6)
		copy(b[12:], a.AsSlice())
	}
	binary.BigEndian.PutUint16(b[6:], remote.Port())
	return b
}

// heartbeat sends one at once.
func heartbeat(fd int, remote netip.AddrPort) error {
	const demand = 4 // SPP_HB_DEMAND
	b := pathParameters(remote)
	native.PutUint32(b[146:], demand)
	return unix.SetsockoptString(fd, unix.IPPROTO_SCTP, optPeerAddrParams, string(b))
}

// event subscribes to a kind of notification.
func event(kind uint16) []byte {
	return append(native.AppendUint16(make([]byte, 4), kind), 1, 0)
}

// buffers asks for room, above the system's limit where that is allowed. Less costs
// speed, not correctness.
func buffers(fd int, c *Config) {
	for _, b := range []struct{ force, ask, size int }{
		{unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, c.SendBuffer}, {unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, c.ReceiveBuffer},
	} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.force, b.size) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.ask, b.size)
		}
	}
}

// getOption reads an option; what b holds tells the kernel what about.
func getOption(fd, option int, b []byte) error {
	size := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_SCTP, uintptr(option),
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// peelOff gives an association a socket of its own.
func peelOff(fd int, id uint32) (int, error) {
	b := native.AppendUint32(nil, id)
	b = native.AppendUint32(b, 0) // the new descriptor comes back here
	b = native.AppendUint32(b, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err := getOption(fd, optPeelOffFlags, b); err != nil {
		return -1, err
	}
	return int(native.Uint32(b[4:])), nil
}

// peerAddresses is how many addresses the peer of a peeled-off association has.
func peerAddresses(fd int) (int, error) {
	b := make([]byte, 4096) // more than enough for two, which are too many
	if err := getOption(fd, optPeerAddresses, b); err != nil {
		return 0, err
	}
	return int(native.Uint32(b[4:])), nil
}

// packetsReceived counts what came from the peer, heartbeats and acknowledgements
// included.
func packetsReceived(fd int) (uint64, error) {
	b := make([]byte, 256)
	err := getOption(fd, optAssocStats, b)
	return native.Uint64(b[168:]), err
}

// sendControl is the ancillary data of a message: unordered on stream 0, with a
// lifetime if it is above 0.
func sendControl(flags uint16, lifetime time.Duration) []byte {
	info := native.AppendUint16(nil, 0) // the stream
	info = native.AppendUint16(info, flags)
	info = binary.BigEndian.AppendUint32(info, PayloadProtocol)
	b := appendControl(nil, controlSendInfo, append(info, make([]byte, 8)...))
	if lifetime > 0 {
		pr := native.AppendUint16(nil, lifetimePolicy)
		pr = append(pr, 0, 0)
		b = appendControl(b, controlPRInfo, native.AppendUint32(pr, uint32(max(lifetime.Milliseconds(), 1))))
	}
	return b
}

// shutDown begins the end of a peeled-off association in order. (The library would
// send an octet along, which the kernel refuses here.)
func shutDown(fd int) error {
	control := sendControl(flagEOF, 0)
	h := unix.Msghdr{Control: &control[0]}
	h.SetControllen(len(control))
	if _, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&h)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); errno != 0 {
		return errno
	}
	return nil
}

func appendControl(b []byte, kind int32, data []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, unix.CmsgSpace(len(data)))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[at]))
	h.Level, h.Type = unix.IPPROTO_SCTP, kind
	h.SetLen(unix.CmsgLen(len(data)))
	copy(b[at+unix.CmsgLen(0):], data)
	return b
}

// notification is what the kernel says in place of a message.
type notification struct {
	kind, state, cause uint16
	association        uint32
}

func parseNotification(b []byte) (notification, bool) {
	const assocChange = 20
	if len(b) < 8 {
		return notification{}, false
	}
	n := notification{kind: native.Uint16(b)}
	if n.kind == eventAssocChange {
		if len(b) < assocChange {
			return notification{}, false
		}
		n.state, n.cause, n.association = native.Uint16(b[8:]), native.Uint16(b[10:]), native.Uint32(b[16:])
	}
	return n, true
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap(), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
