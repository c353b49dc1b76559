package rfc_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// privateContext is a line of codepoints.md: a context type of ours, and where it is
// specified.
var privateContext = regexp.MustCompile(`(?m)^\| (0xFF[0-9A-F]{2}) \| .* \| private, ((?:ike|ipsec)-profile\.md)`)

// TestProfilesAreWhole looks for what RFC 4067 section 2.3 wants of a context type's
// specification: its fields with their order, sizes and defaults, how a nAR makes
// the context, and status codes. That they are true is for the codecs' tests.
func TestProfilesAreWhole(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	contexts := privateContext.FindAllStringSubmatch(read("codepoints.md"), -1)
	if len(contexts) < 8 {
		t.Fatalf("codepoints.md has %d context types of ours", len(contexts))
	}
	for _, c := range contexts {
		fpt, name := c[1], c[2]
		profile := read(name)
		fields := section(profile, regexp.MustCompile(`(?m)^(#+) [0-9.]+ .* block, FPT `+fpt+`$`))
		if !strings.Contains(fields, "\n| Bit | Field | Size | Default | Meaning |\n") {
			t.Errorf("%s has no table of the fields of %s", name, fpt)
		}
		does := section(profile, regexp.MustCompile(`(?m)^(#+) [0-9.]+ What the gateways do$`))
		if !strings.Contains(does, "Stage") {
			t.Errorf("%s does not say how a gateway makes the context %s", name, fpt)
		}
		codes := section(profile, regexp.MustCompile(`(?m)^(#+) [0-9.]+ Status codes$`))
		if !strings.Contains(codes, "\n| 0x80 | ") {
			t.Errorf("%s has no status codes for %s", name, fpt)
		}
	}
}

// section is what stands under a heading, with the sections below it; "" if there
// is no such heading.
func section(text string, heading *regexp.Regexp) string {
	at := heading.FindStringSubmatchIndex(text)
	if at == nil {
		return ""
	}
	level, rest := text[at[2]:at[3]], text[at[1]:]
	end := regexp.MustCompile(`(?m)^#{1,` + string('0'+rune(len(level))) + `} `).FindStringIndex(rest)
	if end != nil {
		rest = rest[:end[0]]
	}
	return rest
}
