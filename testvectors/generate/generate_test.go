package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/cxtp/cxtp/testvectors"
)

// TestFilesAreGenerated: what is committed is what this program writes.
func TestFilesAreGenerated(t *testing.T) {
	for _, b := range books() {
		want, err := b.text()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", filepath.FromSlash(b.file)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what is generated: go run ./testvectors/generate", b.file)
		}
	}
}

// TestWrite writes all files into a folder of its own.
func TestWrite(t *testing.T) {
	folder := t.TempDir()
	if err := write(folder); err == nil {
		t.Error("wrote into a folder that is not there")
	}
	written := 0
	for _, subject := range []string{"codec", "icmp"} {
		if err := os.Mkdir(filepath.Join(folder, subject), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(folder); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"codec", "icmp"} {
		files, err := os.ReadDir(filepath.Join(folder, subject))
		if err != nil {
			t.Fatal(err)
		}
		written += len(files)
	}
	if written != len(books()) {
		t.Errorf("wrote %d files of %d", written, len(books()))
	}
}

// TestTokens computes the tokens that openssl has computed.
func TestTokens(t *testing.T) {
	for _, v := range tokens() {
		if v.Type != "token" {
			continue
		}
		key, err := testvectors.Octets(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		blocks, err := v.Octets()
		if err != nil {
			t.Fatal(err)
		}
		var w wire
		w.address("", v.Fields["MN's Previous IP Address"])
		sequence := map[string]uint64{"0": 0, "16909060": 0x01020304, "4294967295": 0xffffffff}
		w.number("", sequence[v.Fields["Sequence Number"]], 4)
		h := hmac.New(sha1.New, key)
		for _, f := range w {
			h.Write(f.octets)
		}
		h.Write(blocks)
		if got := hex.EncodeToString(h.Sum(nil)[:4]); got != v.Fields["MN Authorization Token"] {
			t.Errorf("%s: the token is %s, want %s", v.Name, got, v.Fields["MN Authorization Token"])
		}
	}
}
