//go:build !linux

package sctp

import (
	"context"
	"net/netip"
	"time"
)

// Socket is not there on this system.
type Socket struct{}

// Listen fails: only Linux's SCTP is known here.
func Listen(Config) (*Socket, error) { return nil, ErrUnsupported }

// LocalAddr is never called.
func (*Socket) LocalAddr() netip.AddrPort { return netip.AddrPort{} }

// Accept fails.
func (*Socket) Accept() (*Association, error) { return nil, ErrUnsupported }

// Dial fails.
func (*Socket) Dial(context.Context, netip.AddrPort) (*Association, error) {
	return nil, ErrUnsupported
}

// Close does nothing.
func (*Socket) Close() error { return nil }

// Association is not there on this system.
type Association struct{}

// Remote is never called.
func (*Association) Remote() netip.AddrPort { return netip.AddrPort{} }

// Read fails.
func (*Association) Read() ([]byte, error) { return nil, ErrUnsupported }

// Write takes nothing.
func (*Association) Write([]byte, time.Duration) bool { return false }

// Room never tells anything.
func (*Association) Room() <-chan struct{} { return nil }

// Heartbeat does nothing.
func (*Association) Heartbeat() {}

// Received is 0.
func (*Association) Received() uint64 { return 0 }

// Shutdown fails.
func (*Association) Shutdown(context.Context) error { return ErrUnsupported }

// Abort does nothing.
func (*Association) Abort() {}

// Close does nothing.
func (*Association) Close() {}

// Guard is not there on this system.
type Guard struct{}

// OpenGuard fails: only Linux's IPsec policies are known here.
func OpenGuard() (*Guard, error) { return nil, ErrUnsupported }

// Check fails.
func (*Guard) Check(context.Context, netip.AddrPort, netip.AddrPort) error { return ErrUnsupported }

// Watch returns at once.
func (*Guard) Watch(context.Context, netip.Addr, func()) error { return ErrUnsupported }

// Close does nothing.
func (*Guard) Close() error { return nil }
