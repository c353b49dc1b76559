package ha

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Message is one datagram of the protocol.
type Message struct {
	// Version is the one that it came in or is to be written in.
	Version Version
	Body    Body
	// Unread is what stands from the first attribute on that this package does not
	// know, or not in this type of message. It may hold keys. Such a message is not
	// written again before Unread is cleared.
	Unread secret.Key
}

// Body is what a message says: one of the types that [Type] lists, as a pointer.
type Body interface {
	// Type is the message's type.
	Type() Type
	// take reads the value of the reader's current attribute; false if the
	// attribute has no place in the message.
	take(r *reader) bool
	// required lists what the message says nothing without.
	required() []Attribute
	// write appends all attributes, in charon's order.
	write(w *writer)
	// keys lists the secrets.
	keys() []secret.Key
	describe(d *description)
}

// Parse reads one datagram. The message shares nothing with b, which may hold
// keys and is the caller's to wipe. It fails with a [ParseError]; an attribute
// that is not known is no failure, see [Message.Unread].
func Parse(b []byte) (Message, error) { return parse(b, binary.NativeEndian) }

func parse(b []byte, machine byteOrder) (Message, error) {
	if len(b) < 2 {
		return Message{}, &ParseError{Offset: len(b), Reason: fmt.Sprintf("%d octets, the header has 2", len(b))}
	}
	m := Message{Version: Version(b[0])}
	if !m.Version.Known() {
		return Message{}, &ParseError{Reason: fmt.Sprintf("version %d, known are 3, 4 and 5", b[0]), Err: ErrVersion}
	}
	if m.Body = Type(b[1]).newBody(); m.Body == nil {
		return Message{}, &ParseError{Offset: 1, Reason: fmt.Sprintf("message type %d is not known", b[1]), Err: ErrUnknownType}
	}
	r := reader{in: b, at: 2, version: m.Version, machine: machine, kind: Type(b[1])}
	m.read(&r)
	if r.err != nil {
		m.Wipe()
		return Message{}, r.err
	}
	return m, nil
}

func (m *Message) read(r *reader) {
	for r.next() {
		if r.attribute == 0 || !m.Body.take(r) {
			m.Unread = secret.Clone(r.in[r.start:])
			break
		}
		r.note()
	}
	r.attribute = 0
	for _, a := range m.Body.required() {
		// Behind an unknown attribute anything may be; but whom a message is about
		// has to be known.
		if !r.saw(a) && (m.Unread.IsZero() || a == AttrIKEID) {
			r.start = len(r.in)
			r.fail("%s is missing", a)
		}
	}
}

// Append writes the message to dst in m.Version. It fails with an
// [UnsupportedError] or a [ValueError], and gives dst back as it was then. If dst
// has not enough room, what was written to it is wiped, not left behind.
func (m Message) Append(dst []byte) ([]byte, error) { return m.append(dst, binary.NativeEndian) }

func (m Message) append(dst []byte, machine byteOrder) ([]byte, error) {
	if !m.Version.Known() || m.Body == nil {
		return dst, &ValueError{Reason: fmt.Sprintf("it has version %d and body %T: a version of 3 to 5 and a body are wanted", m.Version, m.Body)}
	}
	w := writer{out: dst, base: len(dst), version: m.Version, machine: machine, kind: m.Body.Type()}
	if !m.Unread.IsZero() {
		w.wrong(0, "%d octets of it were not understood", m.Unread.Len())
	}
	header := w.room(2)
	header[0], header[1] = byte(m.Version), byte(w.kind)
	m.Body.write(&w)
	if w.err != nil {
		clear(w.out[w.base:])
		return dst, w.err
	}
	return w.out, nil
}

// Wipe overwrites every secret of the message.
func (m Message) Wipe() {
	m.Unread.Wipe()
	if m.Body == nil {
		return
	}
	for _, k := range m.Body.keys() {
		k.Wipe()
	}
}

// String describes the message on one line, for logs. Of secrets it says the
// length, of nonces nothing.
func (m Message) String() string {
	if m.Body == nil {
		return "no message"
	}
	d := description{}
	m.Body.describe(&d)
	if !m.Unread.IsZero() {
		d.add("%d octets not understood", m.Unread.Len())
	}
	return fmt.Sprintf("%s v%d: %s", m.Body.Type(), uint8(m.Version), strings.Join(d.parts, ", "))
}

// description collects what there is to say about a message.
type description struct{ parts []string }

func (d *description) add(format string, args ...any) {
	d.parts = append(d.parts, fmt.Sprintf(format, args...))
}

// key says how long a secret is, if there is one.
func (d *description) key(name string, k secret.Key) {
	if !k.IsZero() {
		d.add("%s of %d octets", name, k.Len())
	}
}

// each adds one part for each member of a list.
func each[T any](d *description, name string, list []T) {
	for _, v := range list {
		d.add("%s %v", name, v)
	}
}
