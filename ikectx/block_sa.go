package ikectx

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// The fields of the SA block (IKE profile section 5) in the order of their
// presence bits.
const (
	saGeneration = iota
	saReplaces
	saInitiatorSPI
	saResponderSPI
	saVersion
	saFlags
	saCipher
	saCipherBits
	saIntegrity
	saPRF
	saIVMode
	saMethod // the fields of an exchange
	saAdditional
	saNi
	saNr
	saSecrets
	saOldD
	saOldPRF
	saPPKID
	saPPK
	saKeyD
	saKeyAi
	saKeyAr
	saKeyEi
	saKeyEr
	saKeyPi
	saKeyPr
	saLocalWindow
	saRemoteWindow
	saAge
	saRekey
)

var saLayout = profile.NewLayout(cxtp.FPTIKESA, "IKE SA block",
	[]int{saGeneration, saInitiatorSPI, saResponderSPI, saCipher, saPRF},
	[]string{
		saGeneration:   "generation",
		saReplaces:     "replaces",
		saInitiatorSPI: "initiator's SPI",
		saResponderSPI: "responder's SPI",
		saVersion:      "version",
		saFlags:        "flags",
		saCipher:       "encryption transform",
		saCipherBits:   "encryption key length",
		saIntegrity:    "integrity transform",
		saPRF:          "PRF transform",
		saIVMode:       "IV mode",
		saMethod:       "key exchange",
		saAdditional:   "additional key exchanges",
		saNi:           "Ni",
		saNr:           "Nr",
		saSecrets:      "shared secrets",
		saOldD:         "old SK_d",
		saOldPRF:       "old PRF",
		saPPKID:        "PPK identity",
		saPPK:          "PPK",
		saKeyD:         "SK_d",
		saKeyAi:        "SK_ai",
		saKeyAr:        "SK_ar",
		saKeyEi:        "SK_ei",
		saKeyEr:        "SK_er",
		saKeyPi:        "SK_pi",
		saKeyPr:        "SK_pr",
		saLocalWindow:  "local window",
		saRemoteWindow: "remote window",
		saAge:          "age",
		saRekey:        "rekey",
	})

// version2 is IKEv2 as the header has it: major version, then minor.
const version2 = 0x20

func (sa *SA) flags() []flag {
	return []flag{{0x80, "initiator", &sa.Initiator}}
}

// derived lists the derived keys with their fields.
func (k *Keys) derived() [7]struct {
	field int
	key   *secret.Key
} {
	return [...]struct {
		field int
		key   *secret.Key
	}{
		{saKeyD, &k.D}, {saKeyAi, &k.Ai}, {saKeyAr, &k.Ar}, {saKeyEi, &k.Ei},
		{saKeyEr, &k.Er}, {saKeyPi, &k.Pi}, {saKeyPr, &k.Pr},
	}
}

// encode appends the block's data to arena.
func (sa *SA) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{profile.NewWriter(saLayout, arena)}
	w.U32(saGeneration, sa.Generation, 0)
	w.U32(saReplaces, sa.Replaces, 0)
	w.U64(saInitiatorSPI, sa.InitiatorSPI, 0)
	w.U64(saResponderSPI, sa.ResponderSPI, 0)
	w.U8(saVersion, sa.Version, version2)
	w.flags(saFlags, sa.flags())
	w.U16(saCipher, sa.Encryption.ID, 0)
	w.U16(saCipherBits, sa.Encryption.Bits, 0)
	w.U16(saIntegrity, sa.Integrity, 0)
	w.U16(saPRF, sa.PRF, 0)
	w.U8(saIVMode, uint8(sa.IV), uint8(ipsecctx.IVDefault))
	w.exchange(saMethod, &sa.Exchange)
	w.Octets(saOldD, sa.OldD.Bytes())
	w.U16(saOldPRF, sa.OldPRF, 0)
	w.Octets(saPPKID, sa.PPKID)
	w.Octets(saPPK, sa.PPK.Bytes())
	for _, k := range sa.Keys.derived() {
		w.Octets(k.field, k.key.Bytes())
	}
	w.U32(saLocalWindow, sa.LocalWindow, 1)
	w.U32(saRemoteWindow, sa.RemoteWindow, 1)
	w.Age(saAge, sa.Age)
	w.Limit(saRekey, sa.Rekey)
	return w.Finish(sa.String)
}

// read reads the block into sa, which is zero.
func (sa *SA) read(r *reader) {
	sa.Generation, sa.Replaces = r.U32(saGeneration, 0), r.U32(saReplaces, 0)
	sa.InitiatorSPI, sa.ResponderSPI = r.U64(saInitiatorSPI, 0), r.U64(saResponderSPI, 0)
	sa.Version = r.U8(saVersion, version2)
	r.flags(saFlags, sa.flags())
	sa.Encryption = Cipher{ID: r.U16(saCipher, 0), Bits: r.U16(saCipherBits, 0)}
	sa.Integrity, sa.PRF = r.U16(saIntegrity, 0), r.U16(saPRF, 0)
	sa.IV = ipsecctx.IVMode(r.U8(saIVMode, uint8(ipsecctx.IVDefault)))
	sa.Exchange = r.exchange(saMethod)
	sa.OldD, sa.OldPRF = r.Key(saOldD), r.U16(saOldPRF, 0)
	sa.PPKID, sa.PPK = r.Octets(saPPKID), r.Key(saPPK)
	for _, k := range sa.Keys.derived() {
		*k.key = r.Key(k.field)
	}
	sa.LocalWindow, sa.RemoteWindow = r.U32(saLocalWindow, 1), r.U32(saRemoteWindow, 1)
	sa.Age, sa.Rekey = r.Seconds(saAge), r.Seconds(saRekey)
}
