package route

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The filters stand at the ingress of the interface towards the nodes, before the
// machine's own stack, in chains of their own. What comes for a shared address goes
// through them in this order, and the first that matches decides:
//
//	chain 0 --> SPIs of peer 0 --> of peer 1 ... --> sources of peer 0 ...
//	        --> addresses of peer 0 ... --> this machine
//
// Each of them leads to the peer's exit, where the frame gets the peer's hardware
// address and leaves by the interface that it came in on. What came from a peer
// passes by that peer's own filters, or two gateways that think each other to have
// a session would throw its packets to and fro; and it passes by the filters for
// whole addresses, because a peer that forwards knows what it does.
const (
	stageSPI = iota
	stageSource
	stageAddress
	stages
	stageExit  = stages     // no rule's
	stageEntry = stages + 1 // in chain 0

	firstChain    = 0x0435_8000
	entryPriority = 0x4358 // in chain 0; and the next one, for IPv6

	// Priorities in the other chains.
	peerPriority = 1 // what came from the peer: on to the next chain
	ipv4Priority = 2
	ipv6Priority = 3
	nextPriority = 4 // on to the next chain

	maxPeers   = 254  // as many hash tables can be numbered
	buckets    = 256  // of a hash table of SPIs
	maxInChain = 4095 // of one bucket
	gotoChain  = 2 << netlink.TC_ACT_EXT_SHIFT
)

// rule is what one filter matches, and the peer that it leads to.
type rule struct {
	peer  int
	stage int
	local netip.Addr
	// Of stageSPI.
	protocol uint8
	spi      uint32
	port     uint16 // of the shared address, with ESP in UDP; 0 = without
	// Of stageSource; a port of 0 is any.
	remote netip.AddrPort
}

// filters are the kernel's.
type filters struct {
	kernel *netlink.Handle
	link   netlink.Link
	peers  int
	there  map[rule]uint32 // their handles
	taken  map[uint32]bool // handles
	last   uint32          // handle of a source or an address
}

func chain(stage, peer int) uint32 { return uint32(firstChain + stage<<8 + peer) }

func (f *filters) attrs(chain uint32, priority int, protocol uint16, handle uint32) netlink.FilterAttrs {
	return netlink.FilterAttrs{LinkIndex: f.link.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS,
		Chain: &chain, Priority: uint16(priority), Protocol: protocol, Handle: handle}
}

func lead(to uint32) []netlink.Action {
	return []netlink.Action{&netlink.GenericAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TcAct(gotoChain | to)}}}
}

// openFilters lays the chains, keeps the filters that are there already, and
// deletes what it cannot read.
func openFilters(kernel *netlink.Handle, on netlink.Link, peers int, shared []netip.Addr) (*filters, error) {
	if peers > maxPeers {
		return nil, fmt.Errorf("%d peers, at most %d can be forwarded to", peers, maxPeers)
	}
	f := &filters{kernel: kernel, link: on, peers: peers, there: map[rule]uint32{}, taken: map[uint32]bool{}}
	ingress := &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: on.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
	if err := kernel.QdiscAdd(ingress); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("failed to prepare %s for forwarding, the kernel needs NET_CLS_ACT and NET_SCH_INGRESS: %w", on.Attrs().Name, err)
	}
	linked, err := f.adopt(shared)
	if err == nil {
		err = f.lay(linked)
	}
	if err == nil && peers > 0 {
		err = f.enter(shared)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to lay the chains of filters, the kernel needs NET_CLS_U32, NET_CLS_FLOWER, NET_ACT_GACT, NET_ACT_PEDIT and NET_ACT_MIRRED: %w", err)
	}
	return f, nil
}

// adopt reads which filters are there, and which hash tables are linked to.
func (f *filters) adopt(shared []netip.Addr) (linked map[uint32]bool, err error) {
	all, err := f.kernel.FilterList(f.link, netlink.HANDLE_MIN_INGRESS)
	if err != nil {
		return nil, err
	}
	linked = map[uint32]bool{}
	for _, filter := range all {
		if u, ok := filter.(*netlink.U32); ok && u.Link != 0 {
			linked[u.Link] = true
			continue
		}
		at := filter.Attrs()
		// Which peer is which may have changed; they are found again.
		peers := at.Priority == peerPriority && at.Chain != nil && *at.Chain == chain(stageAddress, 0)
		if !peers && (!f.ours(at) || elsewhere(filter)) {
			continue
		}
		r, ok := f.read(filter)
		if peers || !ok || f.there[r] != 0 || r.stage == stageEntry && !slices.Contains(shared, r.local) {
			if err := f.kernel.FilterDel(filter); err != nil {
				return nil, err
			}
			continue
		}
		handle := filter.Attrs().Handle
		f.there[r], f.taken[handle] = handle, true
		if r.stage != stageSPI {
			f.last = max(f.last, handle)
		}
	}
	return linked, nil
}

// ours reports whether a filter is where those stand that are a rule's.
func (f *filters) ours(at *netlink.FilterAttrs) bool {
	switch {
	case at.Chain == nil || *at.Chain == 0:
		return at.Priority == entryPriority || at.Priority == entryPriority+1
	case *at.Chain < chain(0, 0) || *at.Chain >= chain(stageExit, 0):
		return false
	}
	return at.Priority == ipv4Priority || at.Priority == ipv6Priority
}

// lay connects the chains, and makes the hash tables of SPIs.
func (f *filters) lay(linked map[uint32]bool) error {
	for stage := range stages {
		for peer := range f.peers {
			if next, more := f.next(stage, peer); more {
				if err := f.kernel.FilterReplace(&netlink.Flower{
					FilterAttrs: f.attrs(chain(stage, peer), nextPriority, unix.ETH_P_ALL, 1), Actions: lead(next)}); err != nil {
					return err
				}
			}
			if stage == stageSPI {
				if err := f.layTables(peer, linked); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// next is the chain behind one.
func (f *filters) next(stage, peer int) (uint32, bool) {
	switch {
	case peer+1 < f.peers:
		return chain(stage, peer+1), true
	case stage+1 < stages:
		return chain(stage+1, 0), true
	}
	return 0, false
}

// enter leads what comes for the shared addresses into the chains.
func (f *filters) enter(shared []netip.Addr) error {
	for _, ip := range shared {
		if err := f.add(rule{stage: stageEntry, local: ip}); err != nil {
			return err
		}
	}
	return nil
}

// exit has what is led to a peer go to a hardware address, and what comes from
// there pass by.
func (f *filters) exit(peer int, to net.HardwareAddr) error {
	for stage := range stageAddress {
		next, _ := f.next(stage, peer)
		if err := f.kernel.FilterReplace(&netlink.Flower{
			FilterAttrs: f.attrs(chain(stage, peer), peerPriority, unix.ETH_P_ALL, 1), SrcMac: to, Actions: lead(next)}); err != nil {
			return err
		}
	}
	// All come by the first of the chains for addresses.
	if err := f.kernel.FilterReplace(&netlink.Flower{
		FilterAttrs: f.attrs(chain(stageAddress, 0), peerPriority, unix.ETH_P_ALL, uint32(peer+1)), SrcMac: to,
		Actions: []netlink.Action{&netlink.GenericAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_OK}}}}); err != nil {
		return err
	}
	address := &netlink.PeditAction{ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_PIPE},
		SrcMacAddr: f.link.Attrs().HardwareAddr, DstMacAddr: to}
	return f.kernel.FilterReplace(&netlink.Flower{
		FilterAttrs: f.attrs(chain(stageExit, peer), nextPriority, unix.ETH_P_ALL, 1),
		Actions:     []netlink.Action{address, netlink.NewMirredAction(f.link.Attrs().Index)}})
}

// add adds a filter, unless it is there.
func (f *filters) add(r rule) error {
	if f.there[r] != 0 {
		return nil
	}
	handle, err := f.handle(r)
	if err != nil {
		return err
	}
	if err := f.kernel.FilterAdd(f.filter(r, handle)); err != nil {
		return fmt.Errorf("failed to forward what comes for %s: %w", r.local, err)
	}
	f.there[r], f.taken[handle] = handle, true
	return nil
}

// remove deletes a filter.
func (f *filters) remove(r rule) error {
	handle := f.there[r]
	if handle == 0 {
		return nil
	}
	if err := f.kernel.FilterDel(f.filter(r, handle)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("failed to stop forwarding what comes for %s: %w", r.local, err)
	}
	delete(f.there, r)
	delete(f.taken, handle)
	return nil
}

// handle is a free number for a rule.
func (f *filters) handle(r rule) (uint32, error) {
	if r.stage != stageSPI {
		f.last++
		return f.last, nil
	}
	for n := range uint32(maxInChain) {
		if handle := r.bucket() | (n + 1); !f.taken[handle] {
			return handle, nil
		}
	}
	return 0, fmt.Errorf("failed to forward SPI %#x: %d others with its low bits are forwarded", r.spi, maxInChain)
}

// filter is the kernel's form of a rule.
func (f *filters) filter(r rule, handle uint32) netlink.Filter {
	priority, protocol := ipv4Priority, uint16(unix.ETH_P_IP)
	if r.local.Is6() {
		priority, protocol = ipv6Priority, unix.ETH_P_IPV6
	}
	if r.stage == stageEntry {
		return &netlink.Flower{FilterAttrs: f.attrs(0, entryPriority+priority-ipv4Priority, protocol, handle),
			EthType: protocol, DestIP: r.local.AsSlice(), Actions: lead(chain(0, 0))}
	}
	at := f.attrs(chain(r.stage, r.peer), priority, protocol, handle)
	if r.stage == stageSPI {
		return &netlink.U32{FilterAttrs: at, Hash: r.bucket(), Actions: lead(chain(stageExit, r.peer)),
			Sel: &netlink.TcU32Sel{Flags: netlink.TC_U32_TERMINAL, Keys: r.keys()}}
	}
	flower := &netlink.Flower{FilterAttrs: at, EthType: protocol, DestIP: r.local.AsSlice(), Actions: lead(chain(stageExit, r.peer))}
	if r.stage == stageSource {
		flower.SrcIP = r.remote.Addr().AsSlice()
		if r.remote.Port() != 0 {
			udp := nl.IPPROTO_UDP
			flower.IPProto, flower.SrcPort = &udp, r.remote.Port()
		}
	}
	return flower
}

// read is the inverse of filter. Not ok is a filter of somebody else's, or of peers
// that there are no more.
func (f *filters) read(filter netlink.Filter) (r rule, ok bool) {
	at := filter.Attrs()
	switch {
	case !f.ours(at):
		return rule{}, false
	case at.Chain == nil || *at.Chain == 0:
		r.stage = stageEntry
	default:
		r.stage, r.peer = int(*at.Chain-firstChain)>>8, int(*at.Chain&0xff)
	}
	switch filter := filter.(type) {
	case *netlink.U32:
		if !r.readKeys(filter) {
			return rule{}, false
		}
	case *netlink.Flower:
		var known bool
		if r.local, known = netip.AddrFromSlice(filter.DestIP); !known {
			return rule{}, false
		}
		if from, some := netip.AddrFromSlice(filter.SrcIP); some {
			r.remote = netip.AddrPortFrom(from, filter.SrcPort)
		}
	default:
		return rule{}, false
	}
	return r, r.peer < f.peers
}

// idle is for how long nothing has matched each rule.
func (f *filters) idle() (map[rule]time.Duration, error) {
	all, err := f.kernel.FilterList(f.link, netlink.HANDLE_MIN_INGRESS)
	if err != nil {
		return nil, fmt.Errorf("failed to read which filters are in use: %w", err)
	}
	idle := map[rule]time.Duration{}
	for _, filter := range all {
		r, ok := f.read(filter)
		if !ok || elsewhere(filter) {
			continue
		}
		for _, action := range actionsOf(filter) {
			if when := action.Attrs().Timestamp; when != nil {
				idle[r] = time.Duration(when.LastUsed) * tick
			}
		}
	}
	return idle, nil
}

// tick is the unit of the kernel's times of use (USER_HZ).
const tick = 10 * time.Millisecond

func actionsOf(filter netlink.Filter) []netlink.Action {
	switch filter := filter.(type) {
	case *netlink.U32:
		return filter.Actions
	case *netlink.Flower:
		return filter.Actions
	}
	return nil
}
