// Package profiletest holds the codec of a profile against its test vectors, in
// the same way for every profile.
package profiletest

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/testvectors"
	"pgregory.net/rapid"
)

// Kit is what the tests need of a codec.
type Kit struct {
	Dir        string // of testvectors
	Document   string // path of the specification, which shows the first vector of each type
	Describers map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error)
	// Again decodes a block of any of the profile's types and encodes the result.
	Again func(cxtp.CDB) (cxtp.CDB, error)
}

// Load reads the vectors.
func (k Kit) Load(t testing.TB) []testvectors.Vector {
	t.Helper()
	vectors, err := testvectors.Load(k.Dir)
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// octets are what a vector says.
func octets(t testing.TB, v testvectors.Vector) []byte {
	t.Helper()
	o, err := v.Octets()
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ParseBlock reads one encoded block; its form is package cxtp's business, so a
// vector that is not even that ends the test.
func ParseBlock(t rapid.TB, octets []byte) cxtp.CDB {
	t.Helper()
	if len(octets) < 8 || len(octets) != 8*int(octets[2]) {
		t.Fatalf("vector of %d octets is not one block", len(octets))
	}
	b := cxtp.CDB{FPT: cxtp.FPT(binary.BigEndian.Uint16(octets)), HasPresence: octets[3] == 0x80, Data: octets[4:]}
	if b.HasPresence {
		b.Presence, b.Data = binary.BigEndian.Uint32(octets[4:]), octets[8:]
	}
	return b
}

// dataStart is where a block's data start in it.
func dataStart(b cxtp.CDB) int {
	if b.HasPresence {
		return profile.DataStart
	}
	return profile.DataStart - 4 // no presence vector
}

// Padded sends every block through its encoding, which pads it.
func Padded(t rapid.TB, blocks []cxtp.CDB) []cxtp.CDB {
	t.Helper()
	out := make([]cxtp.CDB, len(blocks))
	for i, b := range blocks {
		octets, err := b.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		out[i] = ParseBlock(t, octets)
	}
	return out
}

// Wiped checks that nothing is left of keys.
func Wiped(t rapid.TB, keys []*secret.Key) {
	t.Helper()
	for _, k := range keys {
		if !k.Equal(secret.New(make([]byte, k.Len()))) {
			t.Fatal("a key is left after Wipe")
		}
	}
}

// Vectors decodes, describes and encodes every vector.
func (k Kit) Vectors(t *testing.T) {
	for _, v := range k.Load(t) {
		t.Run(v.Name, func(t *testing.T) {
			want := octets(t, v)
			b := ParseBlock(t, want)
			again, err := k.Again(b)
			if !v.Valid {
				checkBlame(t, err, v)
				return
			}
			if err != nil {
				t.Fatalf("failed to decode: %v", err)
			}
			if v.Canonical != "" {
				if want, err = testvectors.Octets(v.Canonical); err != nil {
					t.Fatal(err)
				}
			}
			got, err := again.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("encoded again\n got %x\nwant %x", got, want)
			}
			k.checkFields(t, b, v.Fields)
		})
	}
}

func checkBlame(t *testing.T, err error, v testvectors.Vector) {
	t.Helper()
	want := v.Error
	var refused *features.Error
	var blame *cxtp.ParseError
	if !errors.As(err, &refused) || !errors.As(err, &blame) {
		t.Fatalf("decoded to error %v, want a features.Error around a cxtp.ParseError", err)
	}
	if answer := fmt.Sprintf("refused, status %#02x", uint8(refused.Status)); answer != v.Answer {
		t.Errorf("%s, want %s", answer, v.Answer)
	}
	if blame.Field != want.Field || blame.Offset != want.Offset {
		t.Errorf("blamed %q at %d, want %q at %d (%v)", blame.Field, blame.Offset, want.Field, want.Offset, err)
	}
}

// checkFields compares what the describer shows with what the vector lists.
func (k Kit) checkFields(t *testing.T, b cxtp.CDB, want map[string]string) {
	t.Helper()
	fields, err := k.Describers[b.FPT](b)
	if err != nil {
		t.Fatalf("failed to describe: %v", err)
	}
	got := map[string]string{}
	end := dataStart(b)
	for _, f := range fields {
		if f.Offset != end {
			t.Errorf("field %q starts at octet %d, want %d: no gap, no overlap", f.Name, f.Offset, end)
		}
		end = f.Offset + f.Length
		got[f.Name] = f.Value
	}
	if end != dataStart(b)+len(b.Data) {
		t.Errorf("fields end at octet %d of %d", end, dataStart(b)+len(b.Data))
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("field %q is %q, want %q", name, got[name], value)
		}
	}
}

// Prefixes decodes and describes every truncation of every valid vector. It fails
// with a typed error, except that some of the padding may be missing, and never
// shows a field beyond the octets that are there.
func (k Kit) Prefixes(t *testing.T) {
	for _, v := range k.Load(t) {
		if !v.Valid {
			continue
		}
		b := ParseBlock(t, octets(t, v))
		fields, err := k.Describers[b.FPT](b)
		if err != nil {
			t.Fatal(err)
		}
		unpadded := len(b.Data)
		if last := fields[len(fields)-1]; last.Name == "padding" {
			unpadded = last.Offset - dataStart(b)
		}
		for n := range b.Data {
			cut := b
			cut.Data = b.Data[:n]
			_, err := k.Again(cut)
			var refused *features.Error
			var blame *cxtp.ParseError
			switch {
			case n >= unpadded:
				if err != nil {
					t.Errorf("%s with %d octets of padding: %v", v.Name, n-unpadded, err)
				}
			case !errors.As(err, &refused) || !errors.As(err, &blame) || refused.Status != cxtp.StatusMalformed:
				t.Errorf("%s cut to %d of %d octets: error %v, want a malformed block", v.Name, n, unpadded, err)
			case blame.Offset > dataStart(b)+n:
				t.Errorf("%s cut to %d octets: blamed octet %d", v.Name, n, blame.Offset)
			}
			shown, _ := k.Describers[b.FPT](cut)
			for _, f := range shown {
				if f.Offset+f.Length > dataStart(b)+n {
					t.Fatalf("%s cut to %d octets: field %q ends at octet %d", v.Name, n, f.Name, f.Offset+f.Length)
				}
			}
		}
	}
}

// Examples looks for the first vector of each type in the specification, octet
// for octet.
func (k Kit) Examples(t *testing.T) {
	text, err := os.ReadFile(k.Document)
	if err != nil {
		t.Fatal(err)
	}
	digits := strings.Join(strings.Fields(string(text)), "")
	shown := map[string]bool{}
	for _, v := range k.Load(t) {
		if shown[v.Type] {
			continue
		}
		shown[v.Type] = true
		if !strings.Contains(digits, hex.EncodeToString(octets(t, v))) {
			t.Errorf("%s does not show the vector %q", k.Document, v.Name)
		}
	}
}

// Seed gives a fuzz target, whose arguments are a presence vector and data, the
// vectors of one type.
func (k Kit) Seed(f *testing.F, fpt cxtp.FPT) {
	for _, v := range k.Load(f) {
		if b := ParseBlock(f, octets(f, v)); b.FPT == fpt {
			f.Add(b.Presence, b.Data)
		}
	}
}

// Refusal checks what decoding a block from anyone came to: an error is typed and
// blames an octet, and describing the block comes to the same.
func (k Kit) Refusal(t *testing.T, b cxtp.CDB, err error) {
	t.Helper()
	if _, described := k.Describers[b.FPT](b); (described == nil) != (err == nil) {
		t.Errorf("decoded to error %v, described to %v", err, described)
	}
	var refused *features.Error
	var blame *cxtp.ParseError
	if err != nil && (!errors.As(err, &refused) || !errors.As(err, &blame)) {
		t.Errorf("error %v is not a features.Error around a cxtp.ParseError", err)
	}
}
