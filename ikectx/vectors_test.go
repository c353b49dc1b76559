package ikectx

import (
	"encoding/hex"
	"reflect"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/profile/profiletest"
)

var kit = profiletest.Kit{Dir: "ike", Document: "../rfc/ike-profile.md", Describers: Describers(), Again: Recode}

// The codec against octets that were not made by it.
func TestVectors(t *testing.T)         { kit.Vectors(t) }
func TestEveryPrefix(t *testing.T)     { kit.Prefixes(t) }
func TestProfileExamples(t *testing.T) { kit.Examples(t) }

// TestFirstVectorsAreTheTestSession: what the specification shows is a whole
// session, and this package's fixture.
func TestFirstVectorsAreTheTestSession(t *testing.T) {
	var blocks []cxtp.CDB
	for _, v := range kit.Load(t)[:4] {
		octets, err := v.Octets()
		if err != nil {
			t.Fatal(err)
		}
		blocks = append(blocks, profiletest.ParseBlock(t, octets))
	}
	s := testSession()
	first, err := s.SAs[0].encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeSession(append(blocks, first))
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if !reflect.DeepEqual(got, s) {
		t.Errorf("decoded\n got %+v\nwant %+v", got, s)
	}
	d, err := DecodeDynamic(blocks)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(got); err != nil || !reflect.DeepEqual(d, testDynamic()) {
		t.Errorf("decoded %+v, want %+v: %v", d, testDynamic(), err)
	}
}

// TestDescribeMarksSecrets looks for key octets among what is not secret.
func TestDescribeMarksSecrets(t *testing.T) {
	for _, v := range kit.Load(t) {
		octets, err := v.Octets()
		if err != nil {
			t.Fatal(err)
		}
		b := profiletest.ParseBlock(t, octets)
		if b.FPT != cxtp.FPTIKESA || !v.Valid {
			continue
		}
		var r reader
		sa := decodeSA(&b, &r)
		fields, err := Describers()[b.FPT](b)
		if err != nil {
			t.Fatal(err)
		}
		hidden := 0
		for _, f := range fields {
			if f.Secret {
				hidden++
			}
			for _, k := range sa.secrets() {
				if !f.Secret && !k.IsZero() && f.Value == hex.EncodeToString(k.Bytes()) {
					t.Errorf("%s: field %q shows a key", v.Name, f.Name)
				}
			}
		}
		if want := fieldsOfSecrets(sa); hidden != want {
			t.Errorf("%s: %d fields are secret, want %d", v.Name, hidden, want)
		}
	}
}

func fieldsOfSecrets(sa *SA) (n int) {
	for _, k := range append([]*secret.Key{&sa.OldD, &sa.PPK}, sa.Keys.list()...) {
		if !k.IsZero() {
			n++
		}
	}
	if len(sa.Exchange.Secrets) > 0 {
		n++
	}
	return n
}
