package mld

import (
	"encoding/hex"

	"github.com/cxtp/cxtp/cxtp"
)

// Describers are what [cxtp.DescribeOptions] needs to show the fields of a multicast
// listener context.
func Describers() map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error) {
	return map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error){cxtp.FPTMulticastListener: describe}
}

func describe(b cxtp.CDB) (fields []cxtp.FieldDump, err error) {
	const section = "RFC 4067 appendix B"
	c, err := decode(b)
	start := dataStart(b)
	if c.Prefix.IsValid() {
		fields = append(fields, cxtp.FieldDump{Offset: start, Length: groupAt, Name: fieldPrefix, Value: c.Prefix.String(), Section: section})
	}
	if c.Group.IsValid() {
		fields = append(fields, cxtp.FieldDump{Offset: start + groupAt, Length: contextSize - groupAt, Name: fieldGroup, Value: c.Group.String(), Section: section})
	}
	if len(b.Data) > contextSize && err == nil {
		rest := b.Data[contextSize:]
		fields = append(fields, cxtp.FieldDump{Offset: start + contextSize, Length: len(rest), Name: fieldPadding, Value: hex.EncodeToString(rest), Section: "RFC 4067 section 2.4"})
	}
	return fields, err
}
