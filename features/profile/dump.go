package profile

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// Dump is [Reader.Finish], and lists the fields that were read, with their values. The
// field that the reader failed at is not among them.
func (r *Reader) Dump(section string, values []any) ([]cxtp.FieldDump, error) {
	err := r.Finish()
	reached, end := r.reached, r.at
	if r.err != nil && reached != 0 {
		reached &^= Bit(r.field)
		end = int(r.starts[r.field])
	}
	var fields []cxtp.FieldDump
	for field := BitExtensions; field >= 0; field-- {
		if reached&Bit(field) == 0 {
			continue
		}
		start := int(r.starts[field])
		f := cxtp.FieldDump{
			Offset:  DataStart + start,
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
			Offset:  DataStart + r.at,
			Length:  len(r.data) - r.at,
			Name:    "padding",
			Value:   hex.EncodeToString(r.data[r.at:]),
			Section: section,
		})
	}
	return fields, err
}

// text writes a value for people; secret says that it is key material.
func text(value any) (s string, isSecret bool) {
	switch v := value.(type) {
	case secret.Key:
		return hex.EncodeToString(v.Bytes()), true
	case []secret.Key:
		var keys []string
		for _, k := range v {
			keys = append(keys, hex.EncodeToString(k.Bytes()))
		}
		return strings.Join(keys, " "), true
	}
	return fmt.Sprint(value), false
}

// Set is a list of names of flags, with those that are set.
type Set []struct {
	Is   bool
	Name string
}

func (flags Set) String() string {
	var names []string
	for _, f := range flags {
		if f.Is {
			names = append(names, f.Name)
		}
	}
	return strings.Join(names, ", ")
}
