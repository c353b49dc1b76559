package ipsecctx

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/testvectors"
)

// parseBlock reads one encoded block; its form is package cxtp's business, so a
// vector that is not even that ends the test.
func parseBlock(t testing.TB, octets []byte) cxtp.CDB {
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

// decodeOne decodes a block of any of the three types and encodes the result.
func decodeOne(b cxtp.CDB) (again cxtp.CDB, err error) {
	var r reader
	switch b.FPT {
	case cxtp.FPTIPsecSession:
		var s Session
		r.Open(&b, sessionLayout)
		s.SAs = make([]SA, s.read(&r))
		if err := r.Finish(); err != nil {
			return again, err
		}
		return s.encode(nil)
	case cxtp.FPTIPsecSA:
		var sa SA
		r.Open(&b, saLayout)
		sa.read(&r)
		if err := r.Finish(); err != nil {
			return again, err
		}
		return sa.encode(nil)
	}
	dynamic, err := DecodeDynamic([]cxtp.CDB{b})
	if err != nil {
		return again, err
	}
	return dynamic[0].encode(nil)
}

func loadVectors(t testing.TB) []testvectors.Vector {
	t.Helper()
	vectors, err := testvectors.Load("ipsec")
	if err != nil {
		t.Fatal(err)
	}
	return vectors
}

// TestVectors holds the codec against octets that were not made by it.
func TestVectors(t *testing.T) {
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			octets, err := v.Octets()
			if err != nil {
				t.Fatal(err)
			}
			b := parseBlock(t, octets)
			again, err := decodeOne(b)
			if !v.Valid {
				checkBlame(t, err, v.Error)
				return
			}
			if err != nil {
				t.Fatalf("failed to decode: %v", err)
			}
			want := octets
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
			checkFields(t, b, v.Fields)
		})
	}
}

func checkBlame(t *testing.T, err error, want *testvectors.Error) {
	t.Helper()
	var refused *features.Error
	var blame *cxtp.ParseError
	if !errors.As(err, &refused) || !errors.As(err, &blame) {
		t.Fatalf("decoded to error %v, want a features.Error around a cxtp.ParseError", err)
	}
	if blame.Field != want.Field || blame.Offset != want.Offset {
		t.Errorf("blamed %q at %d, want %q at %d (%v)", blame.Field, blame.Offset, want.Field, want.Offset, err)
	}
}

// checkFields compares what the describer shows with what the vector lists.
func checkFields(t *testing.T, b cxtp.CDB, want map[string]string) {
	t.Helper()
	fields, err := Describers()[b.FPT](b)
	if err != nil {
		t.Fatalf("failed to describe: %v", err)
	}
	got := map[string]string{}
	end := profile.DataStart
	for _, f := range fields {
		if f.Offset != end {
			t.Errorf("field %q starts at octet %d, want %d: no gap, no overlap", f.Name, f.Offset, end)
		}
		end = f.Offset + f.Length
		got[f.Name] = f.Value
	}
	if end != profile.DataStart+len(b.Data) {
		t.Errorf("fields end at octet %d of %d", end, profile.DataStart+len(b.Data))
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("field %q is %q, want %q", name, got[name], value)
		}
	}
}

// TestDescribeMarksSecrets looks for key octets among what is not secret.
func TestDescribeMarksSecrets(t *testing.T) {
	blocks, err := EncodeSession(testSession())
	if err != nil {
		t.Fatal(err)
	}
	fields, err := Describers()[cxtp.FPTIPsecSA](blocks[1])
	if err != nil {
		t.Fatal(err)
	}
	sa := testSession().SAs[0]
	secrets := map[string]bool{
		hex.EncodeToString(sa.Encryption.Key.Bytes()):  false,
		hex.EncodeToString(sa.Encryption.Salt.Bytes()): false,
	}
	for _, f := range fields {
		if _, isKey := secrets[f.Value]; isKey != f.Secret {
			t.Errorf("field %q: Secret is %v, want %v", f.Name, f.Secret, isKey)
		} else if isKey {
			secrets[f.Value] = true
		}
	}
	for value, seen := range secrets {
		if !seen {
			t.Errorf("secret %s not described", value)
		}
	}
}

// TestDescribeWithinAMessage: package cxtp shows the fields, and no key.
func TestDescribeWithinAMessage(t *testing.T) {
	static, err := EncodeSession(testSession())
	if err != nil {
		t.Fatal(err)
	}
	m := &cxtp.CTD{Previous: netip.MustParseAddr("198.51.100.9"), Blocks: static}
	octets, err := m.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	fields, err := cxtp.Describe(octets, cxtp.DescribeOptions{Blocks: Describers()})
	if err != nil {
		t.Fatal(err)
	}
	sa := testSession().SAs[0]
	key, spi := hex.EncodeToString(sa.Encryption.Key.Bytes()), false
	for _, f := range fields {
		if strings.Contains(f.Value, key) {
			t.Errorf("field %q shows the key", f.Name)
		}
		spi = spi || strings.HasSuffix(f.Name, "SPI") && f.Value == "c0000001" && bytes.Equal(octets[f.Offset:f.Offset+f.Length], []byte{0xc0, 0, 0, 1})
	}
	if !spi {
		t.Error("the SPI is not described where it stands")
	}
}

// TestDescribeStopsAtTheFailure describes every prefix of every valid vector:
// never more fields than octets, and the fields before the failing one.
func TestDescribeStopsAtTheFailure(t *testing.T) {
	for _, v := range loadVectors(t) {
		octets, err := v.Octets()
		if err != nil || !v.Valid {
			continue
		}
		b := parseBlock(t, octets)
		for n := range b.Data {
			cut := b
			cut.Data = b.Data[:n]
			fields, _ := Describers()[b.FPT](cut)
			for _, f := range fields {
				if f.Offset+f.Length > profile.DataStart+n {
					t.Fatalf("%s cut to %d octets: field %q ends at octet %d", v.Name, n, f.Name, f.Offset+f.Length)
				}
			}
		}
	}
}

// TestEveryPrefix decodes every truncated block: it fails with a typed error,
// except that some of the padding may be missing.
func TestEveryPrefix(t *testing.T) {
	for _, v := range loadVectors(t) {
		octets, err := v.Octets()
		if err != nil || !v.Valid {
			continue
		}
		b := parseBlock(t, octets)
		fields, err := Describers()[b.FPT](b)
		if err != nil {
			t.Fatal(err)
		}
		unpadded := len(b.Data)
		if last := fields[len(fields)-1]; last.Name == "padding" {
			unpadded = last.Offset - profile.DataStart
		}
		for n := range b.Data {
			cut := b
			cut.Data = b.Data[:n]
			_, err := decodeOne(cut)
			var refused *features.Error
			var blame *cxtp.ParseError
			switch {
			case n >= unpadded:
				if err != nil {
					t.Errorf("%s with %d octets of padding: %v", v.Name, n-unpadded, err)
				}
			case !errors.As(err, &refused) || !errors.As(err, &blame) || refused.Status != cxtp.StatusMalformed:
				t.Errorf("%s cut to %d of %d octets: error %v, want a malformed block", v.Name, n, unpadded, err)
			case blame.Offset > profile.DataStart+n:
				t.Errorf("%s cut to %d octets: blamed octet %d", v.Name, n, blame.Offset)
			}
		}
	}
}
