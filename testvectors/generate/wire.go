package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cxtp/cxtp/testvectors"
)

// message is a message of RFC 4067 and what its sender puts where nobody looks.
type message struct {
	testvectors.Message
	reserved       byte   // the header's reserved bits
	blockReserved  byte   // those of each block, 7 bits
	statusReserved byte   // the octet beside each status
	keyPadding     string // in hexadecimal, instead of zeros
}

// field is a field on the wire.
type field struct {
	name   string // as the RFC's diagrams name it
	shown  string // as `cxtp decode` shows its value
	octets []byte // none, where the field shares the octet of the one before
	clean  []byte // what a sender has to write, if that is something else
	group  bool   // it begins a group of octets in the vector's digits
}

// wire is a message on the wire.
type wire []field

// types are the message types of section 2.5, and the flag beside V.
var types = map[string]struct {
	number byte
	flag   string
}{
	"CTAR": {1, "A"}, "CTAA": {2, ""}, "CTD": {3, "A"}, "PCTD": {4, "A"}, "CTDR": {5, "S"}, "CTC": {6, ""}, "CT-Req": {7, ""},
}

// lay lays a message out.
func lay(m message) wire {
	var w wire
	w.header(m)
	switch m.Type {
	case "CTAR":
		w.address("MN's Previous IP Address", m.Previous)
		w.address("Previous (New) AR IP Address", m.Router)
		w.number("Sequence Number", uint64(m.Sequence), 4)
		w.token(m.Token)
		w.blocks(m)
	case "CTAA", "CTDR":
		w.address("MN's Previous IP Address", m.Previous)
		w.statuses(m)
	case "CTD", "PCTD":
		w.number("Elapsed Time", uint64(m.Elapsed), 4)
		w.address("MN's Previous IP Address", m.Previous)
		if m.Type == "PCTD" {
			w.key(m)
		}
		w.blocks(m)
	case "CTC":
		w.address("MN's Previous IP Address", m.Previous)
	case "CT-Req":
		w.address("MN's Previous IP Address", m.Previous)
		w.number("Sequence Number", uint64(m.Sequence), 4)
		w.token(m.Token)
		w.blocks(m)
	}
	w.setLength(w.size())
	return w
}

// add adds a field of its own octets, in a group of its own.
func (w *wire) add(name, shown string, octets []byte) *field {
	*w = append(*w, field{name: name, shown: shown, octets: octets, group: true})
	return &(*w)[len(*w)-1]
}

// join adds a field to the group of the one before it.
func (w *wire) join(name, shown string, octets []byte) *field {
	f := w.add(name, shown, octets)
	f.group = false
	return f
}

func (w *wire) header(m message) {
	kind := types[m.Type]
	set := m.Ack || m.Success
	v4 := netip.MustParseAddr(m.Previous).Is4()
	flags := bit(v4, 0x80)
	reserved := byte(0x7f)
	if kind.flag != "" {
		flags |= bit(set, 0x40)
		reserved = 0x3f
	}
	w.add("Vers.", "1", []byte{1<<5 | kind.number})
	w.join("Type", fmt.Sprintf("%#x (%s)", kind.number, m.Type), nil)
	w.join("V", digit(v4), []byte{flags | m.reserved&reserved}).clean = []byte{flags}
	if kind.flag != "" {
		w.join(kind.flag, digit(set), nil)
	}
	w.join("Reserved", strconv.Itoa(int(m.reserved&reserved)), nil)
	w.add("Length", "", []byte{0, 0})
}

func bit(set bool, mask byte) byte {
	if set {
		return mask
	}
	return 0
}

func digit(set bool) string { return strconv.Itoa(int(bit(set, 1))) }

func (w *wire) address(name, text string) {
	w.add(name, text, netip.MustParseAddr(text).AsSlice())
}

// number adds an unsigned number of some octets.
func (w *wire) number(name string, n uint64, size int) *field {
	return w.add(name, strconv.FormatUint(n, 10), big(n, size))
}

// big is a number in network byte order.
func big(n uint64, size int) []byte { return binary.BigEndian.AppendUint64(nil, n)[8-size:] }

func (w *wire) token(digits string) {
	if digits == "" {
		digits = "00000000"
	}
	w.add("MN Authorization Token", digits, octets(digits))
}

func octets(digits string) []byte {
	o, err := hex.DecodeString(digits)
	if err != nil {
		panic(err) // a slip in this program
	}
	return o
}

// key adds what a PCTD has and a CTD has not.
func (w *wire) key(m message) {
	key := octets(m.Key)
	shown := fmt.Sprintf("%#x (token algorithm %#04x)", m.Algorithm, m.Algorithm)
	if m.Algorithm == 1 {
		shown = "0x1 (hmac-sha1)"
	}
	w.add("Algorithm", shown, big(uint64(m.Algorithm), 2))
	w.join("Key Length", strconv.Itoa(len(key)), big(uint64(len(key)), 2))
	if len(key) == 0 {
		return
	}
	w.add("Key", m.Key, key)
	if zeros := make([]byte, (4-len(key)%4)%4); len(zeros) > 0 {
		padding := zeros
		if m.keyPadding != "" {
			padding = octets(m.keyPadding)
		}
		w.add("Key padding", hex.EncodeToString(padding), padding).clean = zeros
	}
}

// contexts are names that `cxtp decode` knows.
var contexts = map[uint16]string{1: "multicast listener", 0xffe0: "IPsec session", 0xffe1: "IPsec SA", 0xffe2: "IPsec dynamic", 0xfff0: "control", 0xfff2: "session name"}

func context(fpt uint16) string {
	name := contexts[fpt]
	if name == "" {
		name = fmt.Sprintf("context type %#04x", fpt)
	}
	return fmt.Sprintf("%#x (%s)", fpt, name)
}

// sessionName is the one context type whose data `cxtp decode` takes apart in a
// message of the RFC's.
const sessionName = 0xfff2

// blocks adds the context data blocks of section 2.4.
func (w *wire) blocks(m message) {
	for i, b := range m.Blocks {
		w.block(fmt.Sprintf("CDB %d ", i+1), b, m.blockReserved)
	}
}

func (w *wire) block(prefix string, b testvectors.Block, reserved byte) {
	data, presence := octets(b.Data), octets(b.Presence)
	size := 4 + len(presence) + len(data)
	words := (size + 7) / 8
	if size == 4 {
		words = 0 // a request block: its first four octets and no more
	} else {
		data = append(data, make([]byte, 8*words-size)...)
	}
	p := bit(b.Presence != "", 0x80)
	w.add(prefix+"FPT", context(b.FPT), big(uint64(b.FPT), 2))
	w.join(prefix+"Length", strconv.Itoa(words), []byte{byte(words)})
	w.join(prefix+"P", digit(p != 0), []byte{p | reserved}).clean = []byte{p}
	w.join(prefix+"Reserved", strconv.Itoa(int(reserved)), nil)
	if p != 0 {
		w.join(prefix+"Presence Vector", "0x"+b.Presence, presence)
	}
	switch {
	case len(data) == 0:
	case b.FPT == sessionName:
		w.join(prefix+"Session id", hex.EncodeToString(data[:16]), data[:16])
		w.join(prefix+"Padding", hex.EncodeToString(data[16:]), data[16:])
	default:
		w.join(prefix+"Data", hex.EncodeToString(data), data)
	}
}

// status names are those that `cxtp decode` knows.
var statusNames = map[uint8]string{
	0: "success", 1: "bad checksum", 0x80: "malformed context", 0x81: "unknown context type",
	0x85: "SPI already in use", 0x88: "not authorised", 0x89: "unknown session", 0x8d: "staged contexts missing", 0xff: "internal error",
}

func (w *wire) statuses(m message) {
	for i, s := range m.Statuses {
		prefix := fmt.Sprintf("Status %d ", i+1)
		name := statusNames[s.Status]
		if name == "" {
			name = fmt.Sprintf("status %#02x", s.Status)
		}
		w.add(prefix+"FPT", context(s.FPT), big(uint64(s.FPT), 2))
		w.join(prefix+"Status code", fmt.Sprintf("%#x (%s)", s.Status, name), []byte{s.Status})
		w.join(prefix+"Reserved", strconv.Itoa(int(m.statusReserved)), []byte{m.statusReserved}).clean = []byte{0}
	}
}

// size is the length in octets.
func (w wire) size() (n int) {
	for _, f := range w {
		n += len(f.octets)
	}
	return n
}

// setLength writes the Length field, if the message gets as far.
func (w wire) setLength(n int) {
	for i := range w {
		if w[i].name == "Length" && len(w[i].octets) == 2 {
			w[i].octets, w[i].shown = big(uint64(n), 2), strconv.Itoa(n)
		}
	}
}

// digits are the octets in hexadecimal, in groups as the fields are.
func (w wire) digits(of func(field) []byte) string {
	var text strings.Builder
	for _, f := range w {
		if f.group && text.Len() > 0 && len(of(f)) > 0 {
			text.WriteByte(' ')
		}
		text.WriteString(hex.EncodeToString(of(f)))
	}
	return text.String()
}

func sent(f field) []byte { return f.octets }

// clean is what a sender has to write.
func clean(f field) []byte {
	if f.clean != nil {
		return f.clean
	}
	return f.octets
}

// shown are all fields as `cxtp decode` shows them.
func (w wire) shown() map[string]string {
	fields := map[string]string{}
	for _, f := range w {
		fields[f.name] = f.shown
	}
	return fields
}

// offset is where a field starts.
func (w wire) offset(name string) (n int) {
	for _, f := range w {
		if f.name == name {
			return n
		}
		n += len(f.octets)
	}
	panic("no field " + name)
}

// clone is a copy that can be changed.
func (w wire) clone() wire { return append(wire{}, w...) }
