package ikectx

import (
	"encoding/binary"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ikectx/ikev2"
	"github.com/cxtp/cxtp/ipsecctx"
)

// validate checks one generation against those before it.
func (sa *SA) validate(before map[uint32]*SA) error {
	wrong := ""
	switch {
	case sa.Generation == 0:
		wrong = "generation 0: they count from 1"
	case before[sa.Generation] != nil:
		wrong = "two SAs of this generation"
	case sa.Replaces >= sa.Generation:
		wrong = fmt.Sprintf("it replaces generation %d, which is not before it", sa.Replaces)
	case sa.InitiatorSPI == 0 || sa.ResponderSPI == 0:
		wrong = "an SPI is 0"
	case sa.LocalWindow == 0 || sa.RemoteWindow == 0:
		wrong = "a window of 0 requests"
	case sa.Replaces == 0 && (!sa.OldD.IsZero() || sa.OldPRF != 0):
		wrong = "an old SK_d or PRF, and no SA that it replaces"
	case sa.Replaces != 0 && (len(sa.PPKID) > 0 || !sa.PPK.IsZero()):
		wrong = "a PPK, which goes into the keys of IKE_SA_INIT alone"
	case len(sa.PPKID) == 0 && !sa.PPK.IsZero():
		wrong = "a PPK without its identity"
	case sa.Exchange.Method == 0:
		wrong = "no key exchange: every IKE SA has one"
	}
	if wrong != "" {
		return sa.refuse(cxtp.StatusMalformed, "%s", wrong)
	}
	if err := checkAges(sa.Age, sa.Rekey); err != nil {
		return sa.refuse(cxtp.StatusMalformed, "%w", err)
	}
	if err := sa.Exchange.check(); err != nil {
		return sa.refuse(cxtp.StatusMalformed, "%w", err)
	}
	if sa.Version>>4 != version2>>4 {
		return sa.refuse(cxtp.StatusUnsupported, "IKE version %d: this profile is for 2", sa.Version>>4)
	}
	if err := sa.checkTransforms(); err != nil {
		return err
	}
	if sa.Keys.D.IsZero() && !sa.derivable(before) {
		return sa.refuse(cxtp.StatusMalformed, "its SK_d is missing, and what it is derived from too")
	}
	return nil
}

func (sa *SA) refuse(status cxtp.Status, format string, args ...any) error {
	return features.Refuse(cxtp.FPTIKESA, status, "%s: %w", sa, fmt.Errorf(format, args...))
}

// derivable reports whether the keys can be derived from what the context has.
// (A PPK may be the target's own, by its identity.)
func (sa *SA) derivable(before map[uint32]*SA) bool {
	x := &sa.Exchange
	if len(x.Ni) == 0 || len(x.Secrets) == 0 {
		return false
	}
	return sa.Replaces == 0 || !sa.OldD.IsZero() || before[sa.Replaces] != nil
}

// complete checks that the SA in use has all keys that messages need, or can have
// them.
func (sa *SA) complete(all map[uint32]*SA) error {
	k := &sa.Keys
	integrity := sa.Integrity == 0 || !k.Ai.IsZero() && !k.Ar.IsZero()
	if sa.derivable(all) || !k.D.IsZero() && !k.Ei.IsZero() && !k.Er.IsZero() && integrity {
		return nil
	}
	return sa.refuse(cxtp.StatusMalformed, "it is in use, and some of its keys are missing and cannot be derived")
}

// checkTransforms checks the transforms of RFC 7296 section 3.3.2, and that keys
// have their lengths.
func (sa *SA) checkTransforms() error {
	cipher, ok := ipsecctx.CipherByID(sa.Encryption.ID)
	if !ok || !encrypts(cipher) {
		return sa.refuse(cxtp.StatusAlgorithm, "encryption transform %s is not for IKE, or not known here", ipsecctx.CipherName(sa.Encryption.ID))
	}
	octets, ok := cipher.KeyOctets(sa.Encryption.Bits)
	if !ok {
		return sa.refuse(cxtp.StatusAlgorithm, "%s with a key of %d bits", cipher.Name, sa.Encryption.Bits)
	}
	if !ivFits(sa.IV, cipher.Family) {
		return sa.refuse(cxtp.StatusAlgorithm, "IV mode %s does not go with %s", sa.IV, cipher.Name)
	}
	integrity := 0
	auth, ok := ipsecctx.AuthByID(sa.Integrity)
	switch {
	case cipher.AEAD() != (sa.Integrity == 0), !cipher.AEAD() && (!ok || auth.GMAC):
		return sa.refuse(cxtp.StatusAlgorithm, "integrity transform %s does not go with %s", ipsecctx.AuthName(sa.Integrity), cipher.Name)
	case ok:
		integrity = auth.Key
	}
	prf, err := ikev2.PRFKeyLen(sa.PRF)
	if _, old := ikev2.PRFKeyLen(sa.OldPRF); err != nil || old != nil && sa.OldPRF != 0 {
		return sa.refuse(cxtp.StatusAlgorithm, "PRF transform %s, that of the SA before %s: not known here", prfName(sa.PRF), prfName(sa.OldPRF))
	}
	want := map[int]int{
		saKeyD: prf, saKeyPi: prf, saKeyPr: prf,
		saKeyAi: integrity, saKeyAr: integrity,
		saKeyEi: octets + cipher.Salt, saKeyEr: octets + cipher.Salt,
	}
	for _, k := range sa.Keys.derived() {
		if !k.key.IsZero() && k.key.Len() != want[k.field] {
			return sa.refuse(cxtp.StatusAlgorithm, "a key of %d octets where the transforms have %d", k.key.Len(), want[k.field])
		}
	}
	return nil
}

// encrypts reports whether IKE messages may be encrypted so: RFC 8247 section 2.1,
// and RFC 8750 section 7 for what has no IV on the wire.
func encrypts(t *ipsecctx.CipherTransform) bool {
	return (t.Family == ipsecctx.FamilyCBC || t.Family == ipsecctx.FamilyCounter) && t.ID != ipsecctx.EncrNullAuthAESGMAC
}

func ivFits(iv ipsecctx.IVMode, family ipsecctx.CipherFamily) bool {
	switch iv {
	case ipsecctx.IVDefault, ipsecctx.IVRandom:
		return true
	case ipsecctx.IVCounter, ipsecctx.IVSalted:
		return family == ipsecctx.FamilyCounter
	}
	return false
}

// The lengths of a nonce in octets, RFC 7296 section 3.9.
const (
	minNonce = 16
	maxNonce = 256
)

func (x *Exchange) check() error {
	for i, a := range x.Additional {
		if a.Type < firstAdditional || a.Type > lastAdditional || a.Method == 0 || i > 0 && a.Type <= x.Additional[i-1].Type {
			return fmt.Errorf("additional key exchange of %s: types are %d to %d, in order", a, firstAdditional, lastAdditional)
		}
	}
	exchanges := 0
	if x.Method != 0 {
		exchanges = 1 + len(x.Additional)
	}
	switch {
	case (len(x.Ni) == 0) != (len(x.Nr) == 0):
		return fmt.Errorf("one nonce of two")
	case len(x.Ni) > 0 && (min(len(x.Ni), len(x.Nr)) < minNonce || max(len(x.Ni), len(x.Nr)) > maxNonce):
		return fmt.Errorf("nonces of %d and %d octets: they have %d to %d", len(x.Ni), len(x.Nr), minNonce, maxNonce)
	case x.Method == 0 && len(x.Additional) > 0:
		return fmt.Errorf("additional key exchanges, and none that they add to")
	case len(x.Secrets) > 0 && len(x.Secrets) != exchanges:
		return fmt.Errorf("%d shared secrets of %d key exchanges", len(x.Secrets), exchanges)
	}
	for _, s := range x.Secrets {
		if s.IsZero() {
			return fmt.Errorf("an empty shared secret")
		}
	}
	return nil
}

// The transform types of additional key exchanges, RFC 9370.
const (
	firstAdditional = 6
	lastAdditional  = 12
)

// Validate checks dynamic state against the session that it belongs to. The error
// is a [features.Error]: StatusNoBase where it does not, else StatusMalformed.
func (d *Dynamic) Validate(s *Session) error { return d.validate(s.Current().counting()) }

// counting is what of an SA decides about its dynamic state.
type counting struct {
	generation uint32
	header     [16]byte // SPIs, as a message has them
	local      uint32   // window
	remote     uint32
	iv         ipsecctx.IVMode
}

func (sa *SA) counting() counting {
	c := counting{generation: sa.Generation, local: sa.LocalWindow, remote: sa.RemoteWindow, iv: sa.IV}
	binary.BigEndian.PutUint64(c.header[:], sa.InitiatorSPI)
	binary.BigEndian.PutUint64(c.header[8:], sa.ResponderSPI)
	return c
}

func (d *Dynamic) validate(sa counting) error {
	if d.Generation != sa.generation {
		return features.Refuse(cxtp.FPTIKEDynamic, cxtp.StatusNoBase, "state of generation %d, and generation %d is in use", d.Generation, sa.generation)
	}
	if err := d.check(sa); err != nil {
		return malformed(cxtp.FPTIKEDynamic, "generation %d: %w", d.Generation, err)
	}
	return nil
}

func (d *Dynamic) check(sa counting) error {
	if err := sa.checkMessages("request", d.Requests, d.NextRequest, sa.remote); err != nil {
		return err
	}
	if err := sa.checkMessages("response", d.Responses, d.NextExpected, sa.local); err != nil {
		return err
	}
	for _, m := range d.Requests {
		if len(m.Datagrams) == 0 {
			return fmt.Errorf("request %d without its octets: it could never be repeated", m.ID)
		}
	}
	if d.IV != 0 && sa.iv != ipsecctx.IVCounter {
		return fmt.Errorf("a next IV, but IVs are %s", sa.iv)
	}
	return checkAges(d.Idle)
}

// ikeHeader is the length of an IKE header in octets, RFC 7296 section 3.1.
const ikeHeader = 28

// checkMessages checks that messages are this SA's and that their IDs are in the
// window below next, in order.
func (sa counting) checkMessages(kind string, list []Message, next, window uint32) error {
	after := int64(next) - int64(window) - 1
	for _, m := range list {
		if int64(m.ID) <= after || m.ID >= next {
			return fmt.Errorf("%s %d: out of order, or not within %d before %d", kind, m.ID, window, next)
		}
		after = int64(m.ID)
		for _, d := range m.Datagrams {
			if len(d) < ikeHeader || [16]byte(d) != sa.header || binary.BigEndian.Uint32(d[20:]) != m.ID {
				return fmt.Errorf("%s %d: a datagram without this SA's SPIs and that message ID", kind, m.ID)
			}
		}
		if err := checkAges(m.Age); err != nil {
			return err
		}
	}
	return nil
}
