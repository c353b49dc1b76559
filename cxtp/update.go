package cxtp

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// UpdateMACSize is the length of an Update's MAC: HMAC-SHA-256 cut to 128 bits,
// as RFC 4868 does.
const UpdateMACSize = 16

// Update tells a mobile node the new address of its gateway, and what else is
// other with its SAs there. It is private, numbered by the epoch of the move,
// authenticated with the node's update key, and repeated until an UpdateAck with
// that number comes:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-+-+-------+-------------------------------+
//	|Vers.|   30    |V|K|R|F| Resv. |            Length             |
//	+-----+---------+-+-+-+-+-------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+---------------------------------------------------------------+
//	~                    Session id (16 octets)                     ~
//	+---------------------------------------------------------------+
//	~                       Number (8 octets)                       ~
//	+---------------+---------------+-------------------------------+
//	|    Family     |   Reserved    |    UDP encapsulation port     |
//	+---------------+---------------+-------------------------------+
//	~           Gateway's address, 4 octets or 16 by Family         ~
//	+---------------------------------------------------------------+
//	~                 Share (32 octets), if K = 1                   ~
//	+-------------------------------+-------------------------------+
//	|          SPI changes          |           Reserved            |  if R = 1
//	+-------------------------------+-------------------------------+
//	~         that many SPI changes, of 12 octets each              ~
//	+-------------------------------+-------------------------------+
//	|        Sequence floors        |           Reserved            |  if F = 1
//	+-------------------------------+-------------------------------+
//	~         that many sequence floors, of 16 octets each          ~
//	+---------------------------------------------------------------+
//	~                        MAC (16 octets)                        ~
//	+---------------------------------------------------------------+
type Update struct {
	Previous netip.Addr
	Session  SessionID
	Number   uint64          // must be above every number that the node has accepted
	Gateway  netip.AddrPort  // outer address and UDP encapsulation port; a family of its own
	Share    Share           // the gateway's, for the node's next keys; zero = none
	SPIs     []SPIChange     // of SAs that the node sends on; at most [MaxUpdateEntries]
	Floors   []SequenceFloor // of SAs that it receives on; as many
	MAC      [UpdateMACSize]byte
}

// Type implements [Message].
func (*Update) Type() Type { return TypeUpdate }

// Append implements [Message].
func (m *Update) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeUpdate, !m.Share.IsZero(), m.Previous)
	w.address("MN's previous address", m.Previous)
	w.octets(m.Session[:])
	w.u64(m.Number)
	w.endpoint("gateway's address", m.Gateway)
	w.share(m.Share)
	w.announce(flagThird, len(m.SPIs) > 0)
	w.changes(m.SPIs)
	w.announce(flagFourth, len(m.Floors) > 0)
	w.floors(m.Floors)
	w.octets(m.MAC[:])
	return w.finish()
}

// Decode reads an Update and leaves the MAC to [Update.Verify]; see [Message].
func (m *Update) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *Update) read(r *wireReader) {
	_, hasShare := r.header("control profile section 4", "KRF", TypeUpdate)
	m.Previous = r.address("MN's Previous IP Address")
	copy(m.Session[:], r.octets("Session id", len(m.Session)))
	m.Number = r.u64("Number")
	m.Gateway = r.endpoint("Gateway")
	m.Share = r.share(hasShare)
	m.SPIs, m.Floors = m.SPIs[:0], m.Floors[:0]
	if r.announced(flagThird) {
		count := r.listed("SPI changes")
		r.u16("Reserved")
		m.SPIs = r.changes(m.SPIs, count)
	}
	if r.announced(flagFourth) {
		count := r.listed("Sequence floors")
		r.u16("Reserved")
		m.Floors = r.floors(m.Floors, count)
	}
	copy(m.MAC[:], r.octets("MAC", len(m.MAC)))
}

// Sign sets the MAC. It fails when the message cannot be encoded, or without a
// key.
func (m *Update) Sign(key secret.Key) (err error) {
	m.MAC, err = updateMAC(m, key)
	return err
}

// Verify reports whether the holder of key has signed this message.
func (m *Update) Verify(key secret.Key) bool {
	want, err := updateMAC(m, key)
	return err == nil && hmac.Equal(want[:], m.MAC[:])
}

// UpdateAck is the node's answer to an Update, authenticated with the same key:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-----------+-------------------------------+
//	|Vers.|   29    |V|K| Reserved  |            Length             |
//	+-----+---------+-+-+-----------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+---------------------------------------------------------------+
//	~                    Session id (16 octets)                     ~
//	+---------------------------------------------------------------+
//	~                       Number (8 octets)                       ~
//	+---------------------------------------------------------------+
//	~                 Share (32 octets), if K = 1                   ~
//	+---------------------------------------------------------------+
//	~                        MAC (16 octets)                        ~
//	+---------------------------------------------------------------+
type UpdateAck struct {
	Previous netip.Addr
	Session  SessionID
	Number   uint64
	Share    Share // the node's, for its next keys; zero = none
	MAC      [UpdateMACSize]byte
}

// Type implements [Message].
func (*UpdateAck) Type() Type { return TypeUpdateAck }

// Append implements [Message].
func (m *UpdateAck) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeUpdateAck, !m.Share.IsZero(), m.Previous)
	w.address("MN's previous address", m.Previous)
	w.octets(m.Session[:])
	w.u64(m.Number)
	w.share(m.Share)
	w.octets(m.MAC[:])
	return w.finish()
}

// Decode reads an UpdateAck and leaves the MAC to [UpdateAck.Verify]; see
// [Message].
func (m *UpdateAck) Decode(b []byte) error {
	r := wireReader{in: b}
	m.read(&r)
	return r.result()
}

func (m *UpdateAck) read(r *wireReader) {
	_, hasShare := r.header("control profile section 4", "K", TypeUpdateAck)
	m.Previous = r.address("MN's Previous IP Address")
	copy(m.Session[:], r.octets("Session id", len(m.Session)))
	m.Number = r.u64("Number")
	m.Share = r.share(hasShare)
	copy(m.MAC[:], r.octets("MAC", len(m.MAC)))
}

// Sign sets the MAC. It fails when the message cannot be encoded, or without a
// key.
func (m *UpdateAck) Sign(key secret.Key) (err error) {
	m.MAC, err = updateMAC(m, key)
	return err
}

// Verify reports whether the holder of key has signed this message.
func (m *UpdateAck) Verify(key secret.Key) bool {
	want, err := updateMAC(m, key)
	return err == nil && hmac.Equal(want[:], m.MAC[:])
}

func (w *wireWriter) share(s Share) {
	if !s.IsZero() {
		w.octets(s[:])
	}
}

// share reads the share that the K flag announces.
func (r *wireReader) share(there bool) (s Share) {
	if !there {
		return s
	}
	copy(s[:], r.octets("Share", len(s)))
	if s.IsZero() {
		r.fail("Share", r.at-len(s), nil, "zero, which agrees on no keys")
	}
	return s
}

// updateMAC covers the message from its header, whose type keeps an Update from
// passing for its own acknowledgement, up to the MAC.
func updateMAC(m Message, key secret.Key) (mac [UpdateMACSize]byte, err error) {
	if key.IsZero() {
		return mac, errors.New("failed to authenticate a gateway update: the node has no update key")
	}
	encoded, err := m.Append(nil)
	if err != nil {
		return mac, err
	}
	h := hmac.New(sha256.New, key.Bytes())
	h.Write(encoded[:len(encoded)-UpdateMACSize])
	copy(mac[:], h.Sum(nil))
	return mac, nil
}
