package ikectx

import (
	"encoding/hex"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Describers are what [cxtp.DescribeOptions] needs to show the fields of this
// package's blocks. Keys, shared secrets and PPKs are marked as secret.
func Describers() map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error) {
	return map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error){
		cxtp.FPTIKESession: describeSession,
		cxtp.FPTIKESA:      describeSA,
		cxtp.FPTIKEChild:   describeChild,
		cxtp.FPTIKEDynamic: describeDynamic,
	}
}

func describeSession(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var s Session
	r.Open(&b, sessionLayout)
	sas, children := s.read(&r)
	return r.Dump("IKE profile section 4", []any{
		sessionSACount:        sas,
		sessionChildCount:     children,
		sessionLocalID:        s.LocalID,
		sessionRemoteID:       s.RemoteID,
		sessionEAPIdentity:    profile.Printable(s.EAPIdentity),
		sessionEndpoints:      fmt.Sprintf("local %s, remote %s", s.Local, s.Remote),
		sessionNAT:            s.NAT,
		sessionFlags:          namesOf(s.flags()),
		sessionExtensions:     s.Extensions,
		sessionHashes:         s.Hashes,
		sessionAdditional:     s.Additional,
		sessionLocalVirtual:   s.LocalVirtual,
		sessionRemoteVirtual:  s.RemoteVirtual,
		sessionLocalAuth:      s.LocalAuth,
		sessionRemoteAuth:     s.RemoteAuth,
		sessionAge:            s.Age,
		sessionReauthenticate: s.Reauthenticate,
		sessionConnection:     profile.Printable([]byte(s.Connection)),
		sessionImplementation: profile.Printable([]byte(s.Implementation)),
		sessionState:          hex.EncodeToString(s.State),
	})
}

func describeSA(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	sa := decodeSA(&b, &r)
	values := []any{
		saGeneration:   sa.Generation,
		saReplaces:     sa.Replaces,
		saInitiatorSPI: fmt.Sprintf("%016x", sa.InitiatorSPI),
		saResponderSPI: fmt.Sprintf("%016x", sa.ResponderSPI),
		saVersion:      fmt.Sprintf("%d.%d", sa.Version>>4, sa.Version&15),
		saFlags:        namesOf(sa.flags()),
		saCipher:       ipsecctx.CipherName(sa.Encryption.ID),
		saCipherBits:   sa.Encryption.Bits,
		saIntegrity:    ipsecctx.AuthName(sa.Integrity),
		saPRF:          prfName(sa.PRF),
		saIVMode:       sa.IV,
		saOldD:         sa.OldD,
		saOldPRF:       prfName(sa.OldPRF),
		saPPKID:        hex.EncodeToString(sa.PPKID),
		saPPK:          sa.PPK,
		saLocalWindow:  sa.LocalWindow,
		saRemoteWindow: sa.RemoteWindow,
		saAge:          sa.Age,
		saRekey:        sa.Rekey,
	}
	for _, k := range sa.Keys.derived() {
		values[k.field] = *k.key
	}
	sa.Exchange.describe(values[saMethod:])
	return r.Dump("IKE profile section 5", values)
}

// describe fills in the values of the fields of an exchange.
func (x *Exchange) describe(values []any) {
	values[exMethod] = x.Method
	values[exAdditional] = x.Additional
	values[exNi] = hex.EncodeToString(x.Ni)
	values[exNr] = hex.EncodeToString(x.Nr)
	values[exSecrets] = x.Secrets
}

func describeChild(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	c := decodeChild(&b, &r)
	values := []any{
		childGeneration: c.Generation,
		childProtocol:   c.Protocol,
		childInbound:    fmt.Sprintf("%08x", c.Inbound),
		childOutbound:   fmt.Sprintf("%08x", c.Outbound),
		childReplaces:   fmt.Sprintf("%08x", c.Replaces),
		childMode:       c.Mode,
		childFlags:      namesOf(c.flags()),
		childIPComp:     c.IPComp,
		childCipher:     ipsecctx.CipherName(c.Encryption.ID),
		childCipherBits: c.Encryption.Bits,
		childIntegrity:  ipsecctx.AuthName(c.Integrity),
		childLocal:      c.Local,
		childRemote:     c.Remote,
		childName:       profile.Printable([]byte(c.Name)),
		childAge:        c.Age,
		childRekey:      c.Rekey,
	}
	c.Exchange.describe(values[childMethod:])
	return r.Dump("IKE profile section 6", values)
}

func describeDynamic(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	d := decodeState(&b, &r)
	return r.Dump("IKE profile section 7", []any{
		dynGeneration:   d.Generation,
		dynFlags:        namesOf(d.flags()),
		dynNextRequest:  d.NextRequest,
		dynNextExpected: d.NextExpected,
		dynRequests:     d.Requests,
		dynResponses:    d.Responses,
		dynIV:           d.IV,
		dynIdle:         d.Idle,
	})
}
