package testvectors_test

import (
	"testing"

	"github.com/cxtp/cxtp/testvectors"
)

// TestVectorsAreWhole checks what a reader in another language relies on.
func TestVectorsAreWhole(t *testing.T) {
	var all []testvectors.Vector
	for _, dir := range []string{"codec", "authorisation", "ipsec", "ike", "mld"} {
		some, err := testvectors.Load(dir)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, some...)
	}
	seen := map[string]bool{}
	for _, v := range all {
		id := v.Type + ": " + v.Name
		if v.Name == "" || v.Section == "" || v.Type == "" || seen[id] {
			t.Errorf("%q has no name, section or type, or is there twice", id)
		}
		seen[id] = true
		if v.Valid == (v.Error != nil) || v.Valid == (v.Fields == nil) {
			t.Errorf("%s: valid is %t, with fields %v and error %v", id, v.Valid, v.Fields, v.Error)
		}
		if (v.Key == "") != (v.Source == "") {
			t.Errorf("%s: a key goes with the command that used it", id)
		}
		for _, digits := range []string{v.Hex, v.Canonical, v.Key} {
			if _, err := testvectors.Octets(digits); err != nil {
				t.Errorf("%s: %v", id, err)
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
