package uapi

import (
	"fmt"
	"syscall"
)

// Flags of netlink messages, NLM_F_*.
const (
	flagRequest = 0x1
	flagAck     = 0x4
	flagReplace = 0x100 // of a request
	flagCapped  = 0x100 // of an answer: it does not repeat the request
	flagTLVs    = 0x200 // of an answer: it has attributes
	flagDump    = 0x300 // of a request
)

// Types of netlink messages that are not XFRM's, and the attribute of an answer
// that explains it.
const (
	msgError       = 2
	msgDone        = 3
	attrErrorText  = 1
	sizeErrorFixed = 4 + sizeNlmsghdr // error number, header of the request
)

// flags are what the kernel wants beside flagRequest. A deletion is always
// acknowledged: its success must not hang on an event that may be lost.
func (r *Request) flags() uint16 {
	switch r.Op {
	case OpDeleteState:
		return flagRequest | flagAck
	case OpSetReplay:
		return flagRequest | flagReplace
	}
	return flagRequest
}

// request writes a request's payload, fitted to the kernel.
func (w *writer) request(r *Request, k kernel) {
	switch {
	case r.Op.writesState() && r.State != nil:
		fitted := k.fit(r.State)
		w.state(&fitted)
	case r.Op == OpDeleteState || r.Op == OpGetState:
		w.stateRequest(&r.ID)
		w.attrDir(r.dir)
	case r.Op == OpAllocSPI && r.SPI != nil:
		fitted := k.fitSPI(r.SPI)
		w.spiRequest(&fitted)
	case r.Op == OpSetReplay && r.Replay != nil:
		w.aevent(r.Replay)
	case r.Op == OpGetReplay:
		w.aeventRequest(r.ID)
	case (r.Op == OpAddPolicy || r.Op == OpUpdatePolicy) && r.Policy != nil:
		fitted := k.fitPolicy(r.Policy)
		w.policy(&fitted)
	case r.Op == OpDeletePolicy || r.Op == OpGetPolicy:
		w.policyID(&r.PolicyID)
	case r.Op == opSADInfo:
		w.sadInfoRequest()
	case r.Op == opHashPolicies:
		w.policyHashes(r.hashes)
	default:
		w.failf("request", "operation %#x without what it is about", uint16(r.Op))
	}
}

// subject says what a request is about.
func (r *Request) subject() string {
	switch r.Op {
	case OpAddState, OpUpdateState:
		return r.State.ID().String()
	case OpDeleteState, OpGetState, OpGetReplay:
		return r.ID.String()
	case OpAllocSPI:
		return fmt.Sprintf("%v SPI 0x%08x to 0x%08x for %v", r.SPI.Proto, r.SPI.Min, r.SPI.Max, r.SPI.Dst)
	case OpSetReplay:
		return r.Replay.ID.String()
	case OpAddPolicy, OpUpdatePolicy:
		return r.Policy.ID().String()
	case OpDeletePolicy, OpGetPolicy:
		return r.PolicyID.String()
	}
	if r.Op == opHashPolicies {
		return "the policies"
	}
	return "the SAD"
}

// refused makes the error of a request that the kernel refused.
func (r *Request) refused(errno syscall.Errno, text string) error {
	return &Error{Op: r.Op, ID: r.subject(), Errno: errno, Text: text}
}

// without makes the error of a request whose outcome or answer is not known.
func (r *Request) without(err error) error {
	return fmt.Errorf("failed to %v %v: %w", r.Op, r.subject(), err)
}

// asks reports whether the request wants to know something.
func (r *Request) asks() bool {
	switch r.Op {
	case OpDeleteState, OpGetState, OpAllocSPI, OpGetPolicy, OpGetReplay, opSADInfo:
		return true
	}
	return false
}

// answered reports whether what the request asks for is there.
func (r *Request) answered(to *Result) bool {
	return to.State != nil || to.Policy != nil || to.Replay != nil || to.info != nil
}

// answer takes a message that carries the request's number: an answer to it, or
// an event that it caused, which may be of no interest.
func (r *Request) answer(kind uint16, payload []byte, to *Result) {
	var err error
	switch {
	case kind == uint16(OpAddState) && (r.Op == OpGetState || r.Op == OpAllocSPI):
		to.State, err = decodeState(payload)
	case kind == uint16(OpDeleteState) && r.Op == OpDeleteState:
		to.State, err = decodeDeletedState(payload)
	case kind == uint16(OpAddPolicy) && r.Op == OpGetPolicy:
		to.Policy, err = decodePolicy(payload)
	case kind == uint16(OpSetReplay) && r.Op == OpGetReplay:
		to.Replay, err = decodeAEvent(payload)
	case kind == msgSADInfo && r.Op == opSADInfo:
		to.info, err = decodeSADInfo(payload)
	}
	if err != nil {
		to.Err = r.without(err)
	}
}

// decodeError reads the payload of an NLMSG_ERROR: 0 is an acknowledgement.
func decodeError(flags uint16, payload []byte) (syscall.Errno, string, error) {
	if len(payload) < sizeErrorFixed {
		return 0, "", &FormatError{What: "answer", Why: fmt.Sprintf("%d octets", len(payload))}
	}
	code := -int32(native.Uint32(payload))
	if code < 0 {
		return 0, "", &FormatError{What: "answer", Why: "an error number below 0"}
	}
	if flags&flagTLVs == 0 {
		return syscall.Errno(code), "", nil
	}
	start := sizeErrorFixed
	if flags&flagCapped == 0 {
		start = 4 + int(min(native.Uint32(payload[4:]), uint32(len(payload))))
	}
	var r reader
	if err := r.open("answer", payload[min(align(start), len(payload)):], 0); err != nil {
		return syscall.Errno(code), "", err
	}
	text := r.take(attrErrorText, 1)
	for len(text) > 0 && text[len(text)-1] == 0 {
		text = text[:len(text)-1]
	}
	return syscall.Errno(code), string(text), nil
}

// message is a netlink message in the memory it was read into.
type message struct {
	kind, flags uint16
	seq, port   uint32
	payload     []byte
}

// next takes the first message off a datagram.
func next(b []byte) (m message, rest []byte, err error) {
	size := uint64(0)
	if len(b) >= sizeNlmsghdr {
		size = uint64(native.Uint32(b))
	}
	if size < sizeNlmsghdr || size > uint64(len(b)) {
		return m, nil, &FormatError{What: "message", Why: fmt.Sprintf("%d octets in a datagram's last %d", size, len(b))}
	}
	m = message{
		kind: native.Uint16(b[4:]), flags: native.Uint16(b[6:]),
		seq: native.Uint32(b[8:]), port: native.Uint32(b[12:]),
		payload: b[sizeNlmsghdr:size],
	}
	return m, b[min(align(int(size)), len(b)):], nil
}
