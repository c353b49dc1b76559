//go:build linux

package traffic

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
)

// Intervals between packets where [Options] has none.
const (
	DefaultEchoEvery = 10 * time.Millisecond
	DefaultUDPEvery  = 5 * time.Millisecond
)

// End is where a flow begins or ends.
type End struct {
	Node *topology.Node
	Addr netip.Addr // need not be the node's yet
}

// Options say what is sent, and where.
type Options struct {
	Near End // the mobile node, with its inner address

	// Far is whom it talks to: the host, or, where a session in transport mode
	// ends at the gateways themselves, each of them with the address they share.
	// Datagrams come from the first until [Traffic.SendFrom] says otherwise.
	Far []End

	EchoEvery, UDPEvery time.Duration // 0 = the defaults
	Size                int           // octets of payload; 0 = as few as are needed
	Port                uint16        // of the datagrams, at both ends; 0 = 5005
}

// Traffic is under way from Start to Stop.
type Traffic struct {
	options        Options
	tag            uint32 // of its packets: those of other traffic come here too
	echo, up, down *Counter
	pinger         *icmp.PacketConn
	near           *net.UDPConn
	far            []*net.UDPConn
	sender         atomic.Int32 // which of far

	stopSending      chan struct{}
	senders, readers sync.WaitGroup
	arrived          chan struct{} // something did, for who waits
}

// Report is what became of it all.
type Report struct {
	Echo Direction // from the node to the far end and back
	Up   Direction // datagrams from the node
	Down Direction // datagrams to the node
}

// Lost is how many packets were, in all directions.
func (r Report) Lost() int { return r.Echo.Lost + r.Up.Lost + r.Down.Lost }

// Duplicated is how many copies arrived, in all directions.
func (r Report) Duplicated() int { return r.Echo.Duplicated + r.Up.Duplicated + r.Down.Duplicated }

// Blackout is the longest of all directions.
func (r Report) Blackout() time.Duration {
	return max(r.Echo.Blackout, r.Up.Blackout, r.Down.Blackout)
}

// Stall is the longest time for which a sender stood still.
func (r Report) Stall() time.Duration { return max(r.Echo.Stall, r.Up.Stall, r.Down.Stall) }

// String sums up each direction.
func (r Report) String() string { return fmt.Sprintf("echo %v; up %v; down %v", r.Echo, r.Up, r.Down) }

const (
	headerSize  = 8 // octets of payload: the tag and the packet's number
	defaultPort = 5005
	echoID      = 0x4067
)

// Start begins to send.
func Start(o Options) (*Traffic, error) {
	if o.EchoEvery == 0 {
		o.EchoEvery = DefaultEchoEvery
	}
	if o.UDPEvery == 0 {
		o.UDPEvery = DefaultUDPEvery
	}
	o.Size, o.Port = max(o.Size, headerSize), cmp.Or(o.Port, defaultPort)
	t := &Traffic{
		options: o, tag: rand.Uint32(), echo: NewCounter(o.EchoEvery), up: NewCounter(o.UDPEvery), down: NewCounter(o.UDPEvery),
		stopSending: make(chan struct{}), arrived: make(chan struct{}, 1),
	}
	if err := t.open(); err != nil {
		t.close()
		return nil, fmt.Errorf("failed to open the sockets of the traffic: %w", err)
	}
	t.readers.Go(t.readEchoes)
	t.readers.Go(func() { t.readDatagrams(t.near, t.down) })
	for _, conn := range t.far {
		t.readers.Go(func() { t.readDatagrams(conn, t.up) })
	}
	t.senders.Go(func() { t.send(o.EchoEvery, t.echo, t.sendEcho) })
	t.senders.Go(func() {
		t.send(o.UDPEvery, t.up, func(payload []byte) error { return t.datagram(t.near, payload, o.Far[0].Addr) })
	})
	t.senders.Go(func() {
		t.send(o.UDPEvery, t.down, func(payload []byte) error {
			return t.datagram(t.far[t.sender.Load()], payload, o.Near.Addr)
		})
	})
	return t, nil
}

func (t *Traffic) open() (err error) {
	near := t.options.Near
	if t.near, err = t.listen(near); err != nil {
		return err
	}
	for _, end := range t.options.Far {
		conn, err := t.listen(end)
		if err != nil {
			return err
		}
		t.far = append(t.far, conn)
	}
	network := "ip4:icmp"
	if near.Addr.Is6() {
		network = "ip6:ipv6-icmp"
	}
	err = near.Node.Do(func() (err error) {
		t.pinger, err = icmp.ListenPacket(network, near.Addr.String())
		return err
	})
	if err != nil {
		return err
	}
	var echoes net.PacketConn
	if near.Addr.Is6() {
		echoes = t.pinger.IPv6PacketConn().PacketConn
	} else {
		echoes = t.pinger.IPv4PacketConn().PacketConn
	}
	raw, err := echoes.(*net.IPConn).SyscallConn()
	if err != nil {
		return err
	}
	return makeRoom(raw)
}

// makeRoom gives a socket its receive buffer.
func makeRoom(raw syscall.RawConn) error {
	var set error
	err := raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
	})
	return errors.Join(err, set)
}

// receiveBuffer is room for what arrives while a busy machine does not read, in
// octets: the kernel's own is full after a second of a flow, and what it drops then
// nobody has lost.
const receiveBuffer = 8 << 20

// listen opens a socket for datagrams, whether or not its address is there.
func (t *Traffic) listen(end End) (conn *net.UDPConn, err error) {
	network := "udp4"
	if end.Addr.Is6() {
		network = "udp6"
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			if network == "udp4" {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_FREEBIND, 1)
			} else {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
			}
		})
		return errors.Join(err, set, makeRoom(raw))
	}}
	err = end.Node.Do(func() error {
		packets, err := config.ListenPacket(context.Background(), network, netip.AddrPortFrom(end.Addr, t.options.Port).String())
		if err == nil {
			conn = packets.(*net.UDPConn)
		}
		return err
	})
	return conn, err
}

func (t *Traffic) close() {
	if t.pinger != nil {
		t.pinger.Close()
	}
	if t.near != nil {
		t.near.Close()
	}
	for _, conn := range t.far {
		conn.Close()
	}
}

// SendFrom makes another of the far ends send the datagrams to the node.
func (t *Traffic) SendFrom(far int) { t.sender.Store(int32(far)) }

// Await waits until each flow has sent so many packets more: on a machine that
// stands still now and then, that says more than time would.
func (t *Traffic) Await(ctx context.Context, packets int) error {
	flows := []*Counter{t.echo, t.up, t.down}
	var goals []int
	for _, c := range flows {
		goals = append(goals, c.Count()+packets)
	}
	for i, c := range flows {
		for c.Count() < goals[i] {
			select {
			case <-time.After(c.every):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// Stop sends nothing more, waits for what is under way until all has arrived
// or the time is over, and reports. It counts ticks: while a busy machine stands
// still nothing can arrive, and a clock that went on would say that it is late.
func (t *Traffic) Stop(settle time.Duration) Report {
	close(t.stopSending)
	t.senders.Wait()
	const ticks = 20
	tick := time.NewTicker(max(settle/ticks, time.Millisecond))
	defer tick.Stop()
	for late := 0; late < ticks && !(t.echo.Complete() && t.up.Complete() && t.down.Complete()); {
		select {
		case <-t.arrived:
		case <-tick.C:
			late++
		}
	}
	t.close()
	t.readers.Wait()
	return t.Report()
}

// Report is what became of it so far. What is under way has not arrived.
func (t *Traffic) Report() Report {
	return Report{Echo: t.echo.Direction(), Up: t.up.Direction(), Down: t.down.Direction()}
}

// send sends a packet whenever one is due. What a busy machine held up is sent
// at once, so that the rate holds, but for what nobody could take in one go.
func (t *Traffic) send(every time.Duration, c *Counter, out func(payload []byte) error) {
	const burst = 8 // packets
	payload := make([]byte, t.options.Size)
	due := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-t.stopSending:
			return
		case <-timer.C:
		}
		if oldest := time.Now().Add(-burst * every); due.Before(oldest) {
			due = oldest
		}
		for !due.After(time.Now()) {
			binary.BigEndian.PutUint64(payload, uint64(t.tag)<<32|c.Sent(time.Now()))
			if out(payload) != nil {
				c.Refused()
			}
			due = due.Add(every)
		}
		timer.Reset(time.Until(due))
	}
}

func (t *Traffic) datagram(conn *net.UDPConn, payload []byte, to netip.Addr) error {
	_, err := conn.WriteToUDPAddrPort(payload, netip.AddrPortFrom(to, t.options.Port))
	return err
}

func (t *Traffic) sendEcho(payload []byte) error {
	kind := icmp.Type(ipv4.ICMPTypeEcho)
	if t.options.Near.Addr.Is6() {
		kind = ipv6.ICMPTypeEchoRequest
	}
	number := binary.BigEndian.Uint64(payload)
	message := icmp.Message{Type: kind, Body: &icmp.Echo{ID: echoID, Seq: int(uint16(number)), Data: payload}}
	packet, err := message.Marshal(nil) // the kernel fills in ICMPv6's checksum
	if err != nil {
		return err
	}
	_, err = t.pinger.WriteTo(packet, &net.IPAddr{IP: t.options.Far[0].Addr.AsSlice()})
	return err
}

func (t *Traffic) readEchoes() {
	protocol := unix.IPPROTO_ICMP
	if t.options.Near.Addr.Is6() {
		protocol = unix.IPPROTO_ICMPV6
	}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := t.pinger.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an error of a packet sent before, told now
		}
		now := time.Now()
		message, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || message.Type != ipv4.ICMPTypeEchoReply && message.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		if echo, ok := message.Body.(*icmp.Echo); ok && echo.ID == echoID && len(echo.Data) >= headerSize {
			t.received(t.echo, echo.Data, now)
		}
	}
}

func (t *Traffic) readDatagrams(conn *net.UDPConn, c *Counter) {
	buf := make([]byte, 1<<16)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil && n >= headerSize {
			t.received(c, buf[:n], time.Now())
		}
	}
}

// received counts a packet. One of other traffic is strange: what was late for that
// which had this address before, or is replayed, or a raw socket hears until it is
// bound.
func (t *Traffic) received(c *Counter, payload []byte, now time.Time) {
	c.Received(binary.BigEndian.Uint64(payload)^uint64(t.tag)<<32, now)
	select {
	case t.arrived <- struct{}{}:
	default:
	}
}
