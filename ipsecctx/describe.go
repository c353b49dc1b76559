package ipsecctx

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// Describers are what [cxtp.DescribeOptions] needs to show the fields of this
// package's blocks. Keys, salts and chained IVs are marked as secret.
func Describers() map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error) {
	return map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error){
		cxtp.FPTIPsecSession: describeSession,
		cxtp.FPTIPsecSA:      describeSA,
		cxtp.FPTIPsecDynamic: describeDynamic,
	}
}

func describeSession(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var s Session
	r.open(&b, sessionLayout)
	count := s.read(&r)
	err := r.finish()
	return r.dump("IPsec profile section 4", []any{
		sessionSACount:     count,
		sessionFlags:       set{{s.Initiator, "initiator"}},
		sessionInner:       s.Inner,
		sessionLocalID:     s.LocalID,
		sessionRemoteID:    s.RemoteID,
		sessionEAPIdentity: printable(s.EAPIdentity),
	}), err
}

func describeSA(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var sa SA
	r.open(&b, saLayout)
	sa.read(&r)
	err := r.finish()
	return r.dump("IPsec profile section 5", []any{
		saDirection:    sa.Direction,
		saProtocol:     sa.Protocol,
		saSPI:          fmt.Sprintf("%08x", sa.SPI),
		saMode:         sa.Mode,
		saPair:         sa.Pair,
		saReplaces:     sa.Replaces,
		saOuter:        fmt.Sprintf("local %s, remote %s", sa.Local, sa.Remote),
		saEncap:        sa.Encap,
		saCipher:       sa.Encryption.name(),
		saCipherBits:   sa.Encryption.Bits,
		saCipherKey:    sa.Encryption.Key,
		saSalt:         sa.Encryption.Salt,
		saIVMode:       sa.Encryption.IV,
		saAuth:         sa.Integrity.name(),
		saAuthKey:      sa.Integrity.Key,
		saAuthTruncate: sa.Integrity.Truncate,
		saFlags: set{
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
	}), err
}

func describeDynamic(b cxtp.CDB) ([]cxtp.FieldDump, error) {
	var r reader
	var d Dynamic
	r.open(&b, dynamicLayout)
	d.read(&r)
	err := r.finish()
	return r.dump("IPsec profile section 6", []any{
		dynDirection: d.Direction,
		dynProtocol:  d.Protocol,
		dynSPI:       fmt.Sprintf("%08x", d.SPI),
		dynSequence:  d.Sequence,
		dynWindow:    fmt.Sprintf("%016x", d.Window),
		dynUsed:      d.Used,
		dynIdle:      d.Idle,
		dynChainIV:   d.ChainIV,
	}), err
}

// dump lists the fields that the reader has read, with their values. The field
// that it failed at is not among them.
func (r *reader) dump(section string, values []any) []cxtp.FieldDump {
	reached, end := r.reached, r.at
	if r.err != nil && reached != 0 {
		reached &^= bit(r.field)
		end = int(r.starts[r.field])
	}
	var fields []cxtp.FieldDump
	for field := bitExtensions; field >= 0; field-- {
		if reached&bit(field) == 0 {
			continue
		}
		start := int(r.starts[field])
		f := cxtp.FieldDump{
			Offset:  dataStart + start,
			Length:  end - start,
			Name:    r.layout.fields[field],
			Value:   hex.EncodeToString(r.data[start:end]),
			Section: section,
		}
		if field < len(values) {
			f.Value, f.Secret = text(values[field])
		}
		fields = append(fields, f)
		end = start
	}
	slices.Reverse(fields)
	if r.err == nil && r.at < len(r.data) {
		fields = append(fields, cxtp.FieldDump{
			Offset:  dataStart + r.at,
			Length:  len(r.data) - r.at,
			Name:    "padding",
			Value:   hex.EncodeToString(r.data[r.at:]),
			Section: section,
		})
	}
	return fields
}

// text writes a value for people; secret says that it is key material.
func text(value any) (s string, isSecret bool) {
	if k, ok := value.(secret.Key); ok {
		return hex.EncodeToString(k.Bytes()), true
	}
	return fmt.Sprint(value), false
}
