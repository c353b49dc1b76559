package ipsecctx

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile/profiletest"
)

var kit = profiletest.Kit{Dir: "ipsec", Document: "../rfc/ipsec-profile.md", Describers: Describers(), Again: Recode}

// The codec against octets that were not made by it.
func TestVectors(t *testing.T)         { kit.Vectors(t) }
func TestEveryPrefix(t *testing.T)     { kit.Prefixes(t) }
func TestProfileExamples(t *testing.T) { kit.Examples(t) }

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
