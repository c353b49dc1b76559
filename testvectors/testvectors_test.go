package testvectors_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/testvectors"
)

// TestVectorsAreWhole checks what a reader in another language relies on, beside the
// schema.
func TestVectorsAreWhole(t *testing.T) {
	subjects, err := testvectors.Subjects()
	if err != nil || len(subjects) < 4 {
		t.Fatalf("subjects are %q: %v", subjects, err)
	}
	seen := map[string]bool{}
	for _, dir := range subjects {
		vectors, err := testvectors.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vectors {
			id := v.Type + ": " + v.Name
			if seen[id] {
				t.Errorf("%q is there twice", id)
			}
			seen[id] = true
			for _, digits := range []string{v.Hex, v.Canonical, v.Key} {
				if _, err := testvectors.Octets(digits); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
			if m := v.Message; m != nil {
				if _, err := netip.ParseAddr(m.Previous); err != nil || m.Type != v.Type {
					t.Errorf("%s: the message is a %s of node %q", id, m.Type, m.Previous)
				}
			}
		}
	}
}

func TestLoadNothing(t *testing.T) {
	if all, err := testvectors.Load("nothing"); err == nil {
		t.Errorf("loaded %d vectors of a subject that there is not", len(all))
	}
	if _, err := testvectors.Octets("0g"); err == nil {
		t.Error("read digits that are not hexadecimal")
	}
}

const (
	valid = `{"name": "n", "section": "RFC 4067 section 2.5.5", "rows": ["rfc4067-2.5.5-1"], "type": "CTC", "hex": "2680 0008 c000020a", "valid": true,
		"fields": {"V": "1"}, "message": {"type": "CTC", "previous": "192.0.2.10"}, "answer": "none"}`
	invalid = `{"name": "m", "section": "RFC 4067 appendix B", "type": "CTC", "hex": "", "valid": false,
		"error": {"layer": "message", "field": "Vers.", "offset": 0}, "answer": "none"}`
)

func TestParse(t *testing.T) {
	vectors, err := testvectors.Parse("f.json", []byte("["+valid+","+invalid+"]\n"))
	if err != nil || len(vectors) != 2 || vectors[0].Message.Previous != "192.0.2.10" || vectors[1].Error.Field != "Vers." {
		t.Errorf("parsed %+v: %v", vectors, err)
	}
}

// changed is a file of one vector, of which a part is something else.
func changed(vector, part, other string) string {
	if !strings.Contains(vector, part) {
		panic("the vector has no " + part)
	}
	return "[" + strings.Replace(vector, part, other, 1) + "]"
}

// TestParseBadFiles breaks files in one place each: the error has the file, the place
// and what is wrong there.
func TestParseBadFiles(t *testing.T) {
	for _, c := range []struct{ name, text, path, reason string }{
		{"no octets", "", "", "not JSON"},
		{"half a file", "[" + valid, "", "not JSON"},
		{"two documents", "[" + valid + "][]", "", "more follows"},
		{"not UTF-8, and no JSON", "\xff\xfe", "", "not JSON"},
		{"an object", valid, "", "type array"},
		{"null", "null", "", "type array"},
		{"no vector", "[]", "", "empty"},
		{"a vector that is a number", "[1]", "/0", "type object"},
		{"no name", changed(valid, `"name": "n", `, ""), "/0", `no "name"`},
		{"an empty name", changed(valid, `"n"`, `""`), "/0/name", "empty"},
		{"the same name twice", "[" + valid + "," + invalid + "," + valid + "]", "/2/name", "vector 0"},
		{"no section", changed(valid, `"RFC 4067 section 2.5.5"`, `"2.5.5"`), "/0/section", "match"},
		{"no rows", changed(valid, `["rfc4067-2.5.5-1"]`, `[]`), "/0/rows", "empty"},
		{"a row that is no id", changed(valid, `"rfc4067-2.5.5-1"`, `"2.5.5"`), "/0/rows/0", "match"},
		{"no answer", changed(invalid, `, "answer": "none"`, ""), "/0", `no "answer"`},
		{"a property that there is not", changed(valid, `"answer"`, `"a/n~s": 1, "answer"`), "/0/a~1n~0s", "must not be here"},
		{"a name in capitals", changed(valid, `"hex"`, `"Hex"`), "/0", `no "hex"`},
		{"half an octet", changed(valid, "c000020a", "c000020"), "/0/hex", "match"},
		{"digits in capitals", changed(valid, "c000020a", "C000020A"), "/0/hex", "match"},
		{"valid in words", changed(valid, "true", `"yes"`), "/0/valid", "type boolean"},
		{"valid with an error", changed(valid, `"answer"`, `"error": {"layer": "message", "field": "f", "offset": 0}, "answer"`), "/0/error", "must not be here"},
		{"valid without fields", changed(valid, `"fields": {"V": "1"}, `, ""), "/0", `no "fields"`},
		{"invalid without an error", changed(valid, "true", "false"), "/0", `no "error"`},
		{"invalid with fields", changed(invalid, `"answer"`, `"fields": {"V": "1"}, "answer"`), "/0/fields", "must not be here"},
		{"a field that is a number", changed(valid, `"1"`, "1"), "/0/fields/V", "type string"},
		{"a layer that there is not", changed(invalid, `"message"`, `"frame"`), "/0/error/layer", `"token"`},
		{"no offset", changed(invalid, `, "offset": 0`, ""), "/0/error", `no "offset"`},
		{"an offset below 0", changed(invalid, `: 0}`, `: -1}`), "/0/error/offset", "below 0"},
		{"half an offset", changed(invalid, `: 0}`, `: 0.5}`), "/0/error/offset", "type number"},
		{"a key without its command", changed(valid, `"answer"`, `"key": "00", "answer"`), "/0", `no "source"`},
		{"a message of a type that there is not", changed(valid, `{"type": "CTC"`, `{"type": "CTX"`), "/0/message/type", `"CTC"`},
		{"a message without a node", changed(valid, `, "previous": "192.0.2.10"`, ""), "/0/message", `no "previous"`},
		{"a block's number that is too large", changed(valid, `"192.0.2.10"`, `"192.0.2.10", "blocks": [{"fpt": 1}, {"fpt": 65536}]`), "/0/message/blocks/1/fpt", "above 65535"},
		{"a presence vector of three octets", changed(valid, `"192.0.2.10"`, `"192.0.2.10", "blocks": [{"fpt": 1, "presence": "800000"}]`), "/0/message/blocks/0/presence", "match"},
	} {
		t.Run(c.name, func(t *testing.T) {
			vectors, err := testvectors.Parse("f.json", []byte(c.text))
			var form *testvectors.FormError
			if !errors.As(err, &form) {
				t.Fatalf("parsed to %d vectors and error %v, want a FormError", len(vectors), err)
			}
			if form.File != "f.json" || form.Path != c.path || !strings.Contains(form.Reason, c.reason) {
				t.Errorf("the error is %q at %q, want one about %s at %q", form.Reason, form.Path, c.reason, c.path)
			}
			if !strings.HasPrefix(err.Error(), "f.json: "+c.path) {
				t.Errorf("the error says %q", err)
			}
		})
	}
}

// FuzzParse: whatever is in a file, it is vectors or a FormError, and vectors are
// written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("[" + valid + "," + invalid + "]"))
	f.Add([]byte("[[[[{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		vectors, err := testvectors.Parse("f.json", text)
		var form *testvectors.FormError
		if err != nil {
			if !errors.As(err, &form) {
				t.Errorf("error is %v, want a FormError", err)
			}
			return
		}
		again, err := json.Marshal(vectors)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := testvectors.Parse("again.json", again); err != nil {
			t.Errorf("written again: %v", err)
		}
	})
}
