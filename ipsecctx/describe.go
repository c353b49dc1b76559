package ipsecctx

import (
	"encoding/hex"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// Describers are what [cxtp.DescribeOptions] needs to show the fields of this
// package's blocks. Keys, salts and chained IVs are marked as secret.
func Describers() map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error) {
	return map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error){
		cxtp.FPTIPsecSession: describeSession,
		cxtp.FPTIPsecSA:      describeSA,
		cxtp.FPTIPsecDynamic: describeDynamic,
		cxtp.FPTIPsecOuter:   describeOuter,
	}
}

func describeSession(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var s Session
	r.Open(&b, sessionLayout)
	count := s.read(&r)
	return r.Dump("IPsec profile section 4", []any{
		sessionSACount:     count,
		sessionFlags:       profile.Set{{s.Initiator, "initiator"}},
		sessionInner:       s.Inner,
		sessionLocalID:     s.LocalID,
		sessionRemoteID:    s.RemoteID,
		sessionEAPIdentity: profile.Printable(s.EAPIdentity),
	})
}

func describeSA(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var sa SA
	r.Open(&b, saLayout)
	sa.read(&r)
	return r.Dump("IPsec profile section 5", []any{
		saDirection:    sa.Direction,
		saProtocol:     sa.Protocol,
		saSPI:          fmt.Sprintf("%08x", sa.SPI),
		saMode:         sa.Mode,
		saPair:         sa.Pair,
		saReplaces:     sa.Replaces,
		saOuter:        fmt.Sprintf("local %s, remote %s", sa.Local, sa.Remote),
		saEncap:        sa.Encap,
		saCipher:       CipherName(sa.Encryption.ID),
		saCipherBits:   sa.Encryption.Bits,
		saCipherKey:    sa.Encryption.Key,
		saSalt:         sa.Encryption.Salt,
		saIVMode:       sa.Encryption.IV,
		saAuth:         AuthName(sa.Integrity.ID),
		saAuthKey:      sa.Integrity.Key,
		saAuthTruncate: sa.Integrity.Truncate,
		saFlags: profile.Set{
			{sa.ESN, "ESN"}, {sa.Overflow, "overflow"}, {sa.CopyDSCP, "copy DSCP"},
			{sa.StatefulFragments, "stateful fragments"}, {sa.NoRekey, "no rekey"},
		},
		saWindow:    sa.Window,
		saSoft:      sa.Soft,
		saHard:      sa.Hard,
		saPathMTU:   sa.PathMTU,
		saDF:        sa.DF,
		saDSCP:      hex.EncodeToString(sa.DSCP),
		saMapDSCP:   sa.MapDSCP,
		saSelectors: alternatives(sa.Selectors),
	})
}

func describeDynamic(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var d Dynamic
	r.Open(&b, dynamicLayout)
	d.read(&r)
	return r.Dump("IPsec profile section 6", []any{
		dynDirection: d.Direction,
		dynProtocol:  d.Protocol,
		dynSPI:       fmt.Sprintf("%08x", d.SPI),
		dynSequence:  d.Sequence,
		dynWindow:    fmt.Sprintf("%016x", d.Window),
		dynUsed:      d.Used,
		dynIdle:      d.Idle,
		dynChainIV:   d.ChainIV,
	})
}

func describeOuter(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r profile.Reader
	var o outer
	r.Open(&b, outerLayout)
	o.read(&r)
	return r.Dump("IPsec profile section 6.2", []any{outerAddresses: o})
}
