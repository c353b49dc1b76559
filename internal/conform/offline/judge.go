package offline

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/testvectors"
)

// maxQuote bounds, in octets, how much of what a program says a finding repeats.
const maxQuote = 200

// quote shows text that a program chose.
func quote(text string) string {
	if len(text) > maxQuote {
		return fmt.Sprintf("%q and %d octets more", text[:maxQuote], len(text)-maxQuote)
	}
	return fmt.Sprintf("%q", text)
}

// compact is a value as JSON on one line.
func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// tidy removes white space between octets.
func tidy(digits string) (string, error) {
	octets, err := testvectors.Octets(digits)
	return hex.EncodeToString(octets), err
}

// otherAnswer is the finding that an answer lacks what was asked for.
func otherAnswer(a Answer, wanted string) conform.Finding {
	if a.Refused != "" {
		return conform.Fail("it is refused, layer %s", quote(string(a.Refused)))
	}
	return conform.Fail("the answer has no %q: %s", wanted, quote(compact(a)))
}

func sameOctets(a Answer, want string) conform.Finding {
	if a.Hex == "" {
		return otherAnswer(a, "hex")
	}
	if got, err := tidy(a.Hex); err != nil {
		return conform.Fail("the answer's octets cannot be read: %s", quote(a.Hex))
	} else if got != want {
		return conform.Fail("the octets are %s", quote(got))
	}
	return conform.Pass()
}

// refused judges an answer about octets that must be refused. Whether a message is
// refused because of a block or as a whole comes to the same for whoever sent it;
// whether only a context is refused does not.
func refused(a Answer, want testvectors.Layer) conform.Finding {
	whole := []testvectors.Layer{testvectors.LayerMessage, testvectors.LayerBlock}
	switch {
	case a.Refused == "":
		return conform.Fail("it is accepted: %s", quote(compact(a)))
	case a.Refused != want && !(slices.Contains(whole, a.Refused) && slices.Contains(whole, want)):
		return conform.Fail("it is refused, but at the layer %s", quote(string(a.Refused)))
	}
	return conform.Pass()
}

// sameMessage compares what a message says, and names the first difference.
func sameMessage(a Answer, want *testvectors.Message) conform.Finding {
	if a.Message == nil {
		return otherAnswer(a, "message")
	}
	got, expected := normal(*a.Message), normal(*want)
	if len(got.Blocks) == len(expected.Blocks) {
		for i := range got.Blocks {
			got.Blocks[i].Data = unpadded(got.Blocks[i].Data, expected.Blocks[i].Data)
		}
	}
	gotValue, expectedValue := reflect.ValueOf(got), reflect.ValueOf(expected)
	for i := range gotValue.NumField() {
		if !reflect.DeepEqual(gotValue.Field(i).Interface(), expectedValue.Field(i).Interface()) {
			name, _, _ := strings.Cut(gotValue.Type().Field(i).Tag.Get("json"), ",")
			return conform.Fail("%s is %s", name, quote(compact(gotValue.Field(i).Interface())))
		}
	}
	return conform.Pass()
}

// normal writes a message in the one way in which it can be compared.
func normal(m testvectors.Message) testvectors.Message {
	m.Previous, m.Router = normalAddress(m.Previous), normalAddress(m.Router)
	m.Token, m.Key = strings.ToLower(m.Token), strings.ToLower(m.Key)
	if m.Token == "00000000" {
		m.Token = ""
	}
	if len(m.Statuses) == 0 {
		m.Statuses = nil
	}
	blocks := m.Blocks
	m.Blocks = nil
	for _, b := range blocks {
		b.Presence, b.Data = strings.ToLower(b.Presence), strings.ToLower(b.Data)
		m.Blocks = append(m.Blocks, b)
	}
	return m
}

// normalAddress writes an address as RFC 5952 does; what is none stays as it is.
func normalAddress(text string) string {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.String()
	}
	return text
}

// unpadded takes the padding from data, in hexadecimal, that begin with want: up to
// seven octets, all zero.
func unpadded(data, want string) string {
	padding, found := strings.CutPrefix(data, want)
	if found && len(padding) <= 2*7 && len(padding)%2 == 0 && strings.Trim(padding, "0") == "" {
		return want
	}
	return data
}
