package cxtp

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// FieldDump is one field of a message or block, for people to read.
type FieldDump struct {
	Offset  int    `json:"offset"` // octets from the start of what is described
	Length  int    `json:"length"` // octets; a flag or other part of an octet has 1
	Name    string `json:"name"`   // in the document's words: "CDB 2 Length"
	Value   string `json:"value"`
	Section string `json:"section"`          // where the field is specified
	Secret  bool   `json:"secret,omitempty"` // key material, or data that may be
}

// DescribeOptions says what [Describe] shows. The zero value shows no secrets
// and knows the blocks of this package only.
type DescribeOptions struct {
	ShowSecrets bool
	// Blocks describes the data of other context types. The functions give
	// offsets from the start of the block, its header included, as a
	// [ParseError] of them does, and secret values in the clear: Describe
	// redacts them.
	Blocks map[FPT]func(CDB) ([]FieldDump, error)
}

// Describe lists every field of a message in the order of the octets, with the
// fields inside the blocks that it knows. What it does not know may be keys, so
// it counts as secret. On a [*ParseError] it also returns the fields before it.
func Describe(b []byte, options DescribeOptions) ([]FieldDump, error) {
	r := wireReader{in: b, trace: &fieldTrace{options: options}}
	r.readMessage()
	return r.trace.fields, r.result()
}

// fieldTrace collects what a wireReader reads.
type fieldTrace struct {
	options DescribeOptions
	fields  []FieldDump
}

// note adds the field of size octets that r has just read.
func (t *fieldTrace) note(r *wireReader, field string, size int, value string, secret bool) {
	t.add(FieldDump{r.base + r.at - size, size, r.name(field), value, r.section, secret})
}

func (t *fieldTrace) add(f FieldDump) {
	if f.Secret && !t.options.ShowSecrets {
		f.Value = fmt.Sprintf("[redacted] %d octets", f.Length)
	}
	t.fields = append(t.fields, f)
}

func (t *fieldTrace) last() *FieldDump { return &t.fields[len(t.fields)-1] }

// data describes the data of the block that r has read from octet start on.
func (t *fieldTrace) data(r *wireReader, b CDB, start int) {
	inner := wireReader{base: r.base + start, trace: t, outer: r.name("")}
	switch b.FPT {
	case FPTControl:
		new(Control).read(&inner, b)
	case FPTNode:
		new(NodeState).read(&inner, b)
	case FPTSessionName:
		readSessionName(&inner, b)
	case FPTError:
		readErrorBlock(&inner, b)
	case FPTToken:
		new(StrongToken).read(&inner, b)
	default:
		t.foreign(r, b, start)
		return
	}
	inner.end()
	r.err = inner.err
}

// foreign describes the data of a context type that another package knows, or
// none.
func (t *fieldTrace) foreign(r *wireReader, b CDB, start int) {
	describe := t.options.Blocks[b.FPT]
	if describe == nil {
		t.note(r, "Data", len(b.Data), hex.EncodeToString(b.Data), true)
		return
	}
	fields, err := describe(b)
	for _, f := range fields {
		f.Offset += r.base + start
		f.Name = r.name(f.Name)
		t.add(f)
	}
	var inside *ParseError
	switch {
	case errors.As(err, &inside):
		moved := *inside
		moved.Field = r.name(inside.Field)
		moved.Offset += r.base + start
		r.err = &moved
	case err != nil:
		r.fail("Data", r.at-len(b.Data), err, "%v", err)
	}
}
