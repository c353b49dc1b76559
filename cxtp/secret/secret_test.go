package secret_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// TestNothingShows puts a key, bare and inside other types, through every
// formatter that programs use and looks for its octets.
func TestNothingShows(t *testing.T) {
	octets := []byte("a key of 20 octets!!")
	k := secret.Clone(octets)
	nested := struct {
		K  secret.Key
		P  *secret.Key
		Ks []secret.Key
		M  map[string]secret.Key
	}{k, &k, []secret.Key{k}, map[string]secret.Key{"k": k}}

	var out strings.Builder
	for _, v := range []any{k, &k, nested, &nested} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		j, err := json.Marshal(v)
		if err != nil {
			t.Fatalf("json.Marshal(%T): %v", v, err)
		}
		out.Write(j)
		slog.New(slog.NewTextHandler(&out, nil)).Info("m", "k", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "k", v)
	}
	decimal := strings.Trim(fmt.Sprint(octets[:4]), "[]")
	for _, leak := range []string{string(octets), hex.EncodeToString(octets), strings.ToUpper(hex.EncodeToString(octets)), decimal} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("output shows the key as %q", leak)
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("output does not say that something was redacted")
	}
}

func TestWipeReachesEveryCopy(t *testing.T) {
	k := secret.Clone([]byte{1, 2, 3})
	other := k
	k.Wipe()
	if !bytes.Equal(other.Bytes(), make([]byte, 3)) {
		t.Errorf("after Wipe a copy still holds %d non-zero octets", len(other.Bytes()))
	}
}

func TestCloneDoesNotAlias(t *testing.T) {
	buf := []byte{1, 2, 3}
	k := secret.Clone(buf)
	buf[0] = 9
	if !k.Equal(secret.New([]byte{1, 2, 3})) {
		t.Error("changing the source buffer changed the key")
	}
}
