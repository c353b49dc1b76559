package cxtp_test

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// secretMessage has keys in every place that a message of this package has.
func secretMessage(t *testing.T) (octets []byte, secrets []string) {
	t.Helper()
	words := []string{"token key in PCTD", "update key in node", "token key in node", "data of unknown type"}
	node, err := cxtp.NodeState{
		Agent:     netip.MustParseAddrPort("192.0.2.1:5091"),
		UpdateKey: secret.New([]byte(words[1])),
		Tokens:    []cxtp.NumberedKey{{Number: 3, Key: secret.New([]byte(words[2]))}},
	}.Block()
	if err != nil {
		t.Fatal(err)
	}
	octets, err = (&cxtp.CTD{Predictive: true, Previous: netip.MustParseAddr("192.0.2.1"), Algorithm: cxtp.AlgorithmHMACSHA1,
		Key: secret.New([]byte(words[0])), Blocks: []cxtp.CDB{node, {FPT: 0x7001, Data: []byte(words[3])}}}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range words {
		secrets = append(secrets, hex.EncodeToString([]byte(w)))
	}
	return octets, secrets
}

func TestDescribeRedacts(t *testing.T) {
	octets, secrets := secretMessage(t)
	closed, err := cxtp.Describe(octets, cxtp.DescribeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	open, err := cxtp.Describe(octets, cxtp.DescribeOptions{ShowSecrets: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets {
		if strings.Contains(fmt.Sprint(closed), s) {
			t.Errorf("shows %s without being asked to", s)
		}
		if !strings.Contains(fmt.Sprint(open), s) {
			t.Errorf("does not show %s when asked to", s)
		}
	}
	redacted := 0
	for i, f := range closed {
		if f.Secret {
			redacted++
			if want := fmt.Sprintf("[redacted] %d octets", f.Length); f.Value != want {
				t.Errorf("%s is %q, want %q", f.Name, f.Value, want)
			}
		} else if f != open[i] {
			t.Errorf("%+v, with secrets %+v", f, open[i])
		}
	}
	if redacted != len(secrets) {
		t.Errorf("%d fields are secret, want %d", redacted, len(secrets))
	}
}

func TestDescribeHook(t *testing.T) {
	octets := octetsOf(t, "23 80 001c 00000000 c000020a 7001 02 00 00112233445566778899aabb")
	hook := func(err error) cxtp.DescribeOptions {
		return cxtp.DescribeOptions{Blocks: map[cxtp.FPT]func(cxtp.CDB) ([]cxtp.FieldDump, error){
			0x7001: func(b cxtp.CDB) ([]cxtp.FieldDump, error) {
				return []cxtp.FieldDump{
					{Offset: 4, Length: 2, Name: "Colour", Value: "17", Section: "colours section 1"},
					{Offset: 6, Length: 10, Name: "Key", Value: hex.EncodeToString(b.Data[2:]), Section: "colours section 1", Secret: true},
				}, err
			},
		}}
	}
	want := []cxtp.FieldDump{
		{Offset: 16, Length: 2, Name: "CDB 1 Colour", Value: "17", Section: "colours section 1"},
		{Offset: 18, Length: 10, Name: "CDB 1 Key", Value: "[redacted] 10 octets", Section: "colours section 1", Secret: true},
	}
	check := func(fields []cxtp.FieldDump) {
		t.Helper()
		if got := fields[len(fields)-2:]; !reflect.DeepEqual(got, want) {
			t.Errorf("fields are %+v, want %+v", got, want)
		}
	}
	fields, err := cxtp.Describe(octets, hook(nil))
	if err != nil {
		t.Fatal(err)
	}
	check(fields)
	fields, err = cxtp.Describe(octets, hook(&cxtp.ParseError{Message: "colours", Field: "Key", Offset: 6}))
	check(fields)
	wantParseError(t, err, "CDB 1 Key", 18)
	strange := errors.New("no colour")
	fields, err = cxtp.Describe(octets, hook(strange))
	check(fields)
	wantParseError(t, err, "CDB 1 Data", 16)
	if !errors.Is(err, strange) {
		t.Errorf("error %v does not wrap the hook's", err)
	}
}

// TestDescribeUpToTheError checks what is left of a message that breaks off in
// its second block.
func TestDescribeUpToTheError(t *testing.T) {
	octets := octetsOf(t, "23 80 0018 00000000 c000020a 7001 01 00 aabbccdd 7002 02 00")
	fields, err := cxtp.Describe(octets, cxtp.DescribeOptions{})
	wantParseError(t, err, "CDB 2 Length", 22)
	wantFields(t, fields, "", map[string]string{"Type": "0x3 (CTD)", "CDB 1 Data": "[redacted] 4 octets", "CDB 2 Length": "2"})
	for _, f := range fields {
		if want := map[bool]string{true: "RFC 4067 section 2.4", false: "RFC 4067 section 2.5.3"}[strings.HasPrefix(f.Name, "CDB")]; f.Section != want {
			t.Errorf("%s is in %q, want %q", f.Name, f.Section, want)
		}
	}
}
