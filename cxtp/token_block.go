package cxtp

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// TagSize is the length of a strong token's tag: all of HMAC-SHA-256.
const TagSize = sha256.Size

// Role is what the mobile node means by a request: without it, a request to come
// here could be shown to this router later as one to leave.
type Role uint8

const (
	RoleLeaving  Role = 1 // in a CTAR to the pAR, which names the nAR
	RoleArriving Role = 2 // in a CTAR to the nAR, which names the pAR, and in the CT-Req that follows
)

var roleNames = [...]string{"none", "leaving", "arriving"}

func (r Role) String() string {
	if int(r) < len(roleNames) {
		return roleNames[r]
	}
	return fmt.Sprintf("role %d", uint8(r))
}

func (r Role) check() error {
	if r != RoleLeaving && r != RoleArriving {
		return fmt.Errorf("%d, roles are 1 and 2", uint8(r))
	}
	return nil
}

// StrongToken is the authorisation of a move in 256 bits, where RFC 4067's token
// has 32, and bound to the two routers. It is a request block of type FPTToken
// without presence vector, in a CTAR and, octet for octet, in the CT-Req that
// follows (rfc/authorisation.md section 2):
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-------------------------------+---------------+---------------+
//	|      Algorithm = 0xFF01       |     Role      |    Family     |
//	+-------------------------------+---------------+---------------+
//	~                     Generation (8 octets)                     ~
//	+---------------------------------------------------------------+
//	|                          Key number                           |
//	+---------------------------------------------------------------+
//	~           pAR's address, 4 octets or 16 by Family             ~
//	+---------------------------------------------------------------+
//	~           nAR's address, 4 octets or 16 by Family             ~
//	+---------------------------------------------------------------+
//	~                        Tag (32 octets)                        ~
//	+---------------------------------------------------------------+
//
// The token field of the message has the tag's first four octets.
type StrongToken struct {
	Role       Role
	Generation uint64 // of the key; see NodeState
	KeyNumber  uint32
	PAR, NAR   netip.Addr // as CXTP messages call them; of the family of the MN's previous address
	Tag        [TagSize]byte
}

// Signed is what a strong token authorises, beside what it says itself.
type Signed struct {
	Session  SessionID
	Previous netip.Addr // the MN's previous address
	Sequence uint32
	Requests []CDB // all request blocks; a block of type FPTToken is passed over
}

// Block encodes the token. It fails when the role is none, and unless both
// addresses are there and of one family.
func (t StrongToken) Block() (CDB, error) {
	data, err := t.appendHead(nil)
	if err != nil {
		return CDB{}, fmt.Errorf("failed to encode strong token: %w", err)
	}
	return CDB{FPT: FPTToken, Data: append(data, t.Tag[:]...)}, nil
}

// appendHead writes what stands before the tag.
func (t *StrongToken) appendHead(dst []byte) ([]byte, error) {
	par, nar := t.PAR.Unmap(), t.NAR.Unmap()
	if err := errors.Join(t.Role.check(), checkAddress("pAR's address", par), checkAddress("nAR's address", nar)); err != nil {
		return dst, err
	}
	if par.Is4() != nar.Is4() {
		return dst, fmt.Errorf("the addresses %s and %s are of two families", par, nar)
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(AlgorithmHMACSHA256))
	dst = append(dst, byte(t.Role), familyOf(par))
	dst = binary.BigEndian.AppendUint64(dst, t.Generation)
	dst = binary.BigEndian.AppendUint32(dst, t.KeyNumber)
	dst = appendAddress(dst, par)
	return appendAddress(dst, nar), nil
}

// ParseStrongToken reads the block of a strong token, and leaves the tag to
// [StrongToken.Verify]. Any error is a [*ParseError], whose offset counts from
// the start of the block, its header included.
func ParseStrongToken(b CDB) (StrongToken, error) {
	var r wireReader
	var t StrongToken
	t.read(&r, b)
	if err := r.result(); err != nil {
		return StrongToken{}, err
	}
	return t, nil
}

var tokenProfile = blockProfile{"strong token", "authorisation section 2", FPTToken, false}

func (t *StrongToken) read(r *wireReader, b CDB) {
	r.enter(tokenProfile, b)
	if a := named(r, Algorithm(r.u16("Algorithm"))); a != AlgorithmHMACSHA256 {
		// Another algorithm may have another layout.
		r.fail("Algorithm", r.at-2, nil, "%#04x, it should be %#04x", uint16(a), uint16(AlgorithmHMACSHA256))
	}
	t.Role = named(r, Role(r.u8("Role")))
	if err := t.Role.check(); err != nil {
		r.fail("Role", r.at-1, nil, "%v", err)
	}
	v4 := r.family() == familyIPv4
	t.Generation = r.u64("Generation")
	t.KeyNumber = r.u32("Key number")
	t.PAR = r.addressOf("pAR IP Address", v4)
	t.NAR = r.addressOf("nAR IP Address", v4)
	copy(t.Tag[:], r.octets("Tag", len(t.Tag)))
	r.padding()
}

// Token is the 32 bits of the tag that stand in RFC 4067's token field.
func (t *StrongToken) Token() Token { return Token(t.Tag[:len(Token{})]) }

// Sign sets the tag. It fails without a key, when the addresses are not all of
// one family or a request block is too large, and in one case of 2^32, when the
// token field would come out null: the MN then takes another sequence number.
func (t *StrongToken) Sign(key secret.Key, what Signed) error {
	tag, err := t.tag(key, what)
	if err == nil && Token(tag[:]).IsZero() {
		err = errNullToken
	}
	if err != nil {
		return fmt.Errorf("failed to compute a strong token: %w", err)
	}
	t.Tag = tag
	return nil
}

// Verify reports, in constant time, whether the tag is the one that
// [StrongToken.Sign] sets. It costs one HMAC.
func (t *StrongToken) Verify(key secret.Key, what Signed) bool {
	want, err := t.tag(key, what)
	return err == nil && hmac.Equal(want[:], t.Tag[:])
}

// tokenLabel keeps a tag from being anything else that is computed with a key of
// the node's.
const tokenLabel = "CXTP strong token"

// tag covers the label, the block up to the tag, and what it authorises. Every
// field has its one place: the family is said before the addresses, and a request
// block says its length.
func (t *StrongToken) tag(key secret.Key, what Signed) (tag [TagSize]byte, err error) {
	previous := what.Previous.Unmap()
	if err := checkAddress("MN's previous address", previous); err != nil {
		return tag, err
	}
	if key.IsZero() {
		return tag, errors.New("no token key")
	}
	text, err := t.appendHead([]byte(tokenLabel))
	if err != nil {
		return tag, err
	}
	if previous.Is4() != t.PAR.Unmap().Is4() {
		return tag, fmt.Errorf("the MN's previous address %s is not of the routers' family", previous)
	}
	text = appendAddress(text, previous)
	text = append(text, what.Session[:]...)
	text = binary.BigEndian.AppendUint32(text, what.Sequence)
	for _, b := range what.Requests {
		if b.FPT == FPTToken {
			continue
		}
		if text, err = b.Append(text); err != nil {
			return tag, err
		}
	}
	h := hmac.New(sha256.New, key.Bytes())
	h.Write(text)
	h.Sum(tag[:0])
	return tag, nil
}

// strongToken finds the one strong token of a request. ok is false when there is
// none, more than one, or one that cannot be read.
func strongToken(requests []CDB) (t StrongToken, ok bool) {
	for _, b := range requests {
		if b.FPT != FPTToken {
			continue
		}
		if ok {
			return t, false
		}
		var err error
		if t, err = ParseStrongToken(b); err != nil {
			return t, false
		}
		ok = true
	}
	return t, ok
}
