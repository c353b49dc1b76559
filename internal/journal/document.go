package journal

import (
	"encoding/hex"
	"encoding/json"
	"strconv"

	"github.com/cxtp/cxtp/cxtp"
)

// appendDocument adds the JSON document of an entry, octet for octet as package
// encoding/json writes it. (That would take most of the time that a record costs
// besides its share of an fsync.)
func appendDocument(b []byte, e *entry) []byte {
	b = appendInt(append(b, `{"at":`...), e.At)
	b = appendText(append(b, `,"kind":`...), e.Kind.String())
	b = append(hex.AppendEncode(append(b, `,"session":"`...), e.Session[:]), '"')
	b = appendUint(append(b, `,"epoch":`...), uint64(e.Epoch))
	previous := ""
	if e.Previous.IsValid() {
		previous = e.Previous.String()
	}
	b = appendText(append(b, `,"previous":`...), previous)
	if e.Agent.IsValid() {
		b = appendText(append(b, `,"agent":`...), e.Agent.String())
	}
	if e.Peer != "" {
		b = appendText(append(b, `,"peer":`...), string(e.Peer))
	}
	if len(e.Ceilings) > 0 {
		b = appendCeilings(append(b, `,"ceilings":`...), e.Ceilings)
	}
	if e.Why != "" {
		b = appendText(append(b, `,"why":`...), e.Why)
	}
	if e.Plain {
		b = append(b, `,"plain":true`...)
	}
	if e.Standby {
		b = append(b, `,"standby":true`...)
	}
	if e.Digest != (cxtp.Digest{}) {
		b = append(b, `,"digest":[`...)
		for i, octet := range e.Digest {
			b = appendUint(appendComma(b, i), uint64(octet))
		}
		b = append(b, ']')
	}
	if e.Incarnation != 0 {
		b = appendUint(append(b, `,"incarnation":`...), uint64(e.Incarnation))
	}
	return append(b, '}')
}

func appendCeilings(b []byte, ceilings []cxtp.ManifestEntry) []byte {
	b = append(b, '[')
	for i, c := range ceilings {
		b = appendUint(append(appendComma(b, i), `{"fpt":`...), uint64(c.FPT))
		b = appendUint(append(b, `,"direction":`...), uint64(c.Direction))
		b = appendUint(append(b, `,"protocol":`...), uint64(c.Protocol))
		b = appendUint(append(b, `,"spi":`...), uint64(c.SPI))
		b = appendUint(append(b, `,"ceiling":`...), c.Ceiling)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendInt(b []byte, n int64) []byte   { return strconv.AppendInt(b, n, 10) }
func appendUint(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// appendComma adds a comma in front of all elements but the first.
func appendComma(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, ',')
	}
	return b
}

// appendText adds a string; those that need it are escaped by encoding/json.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			escaped, _ := json.Marshal(s) // of a string it does not fail
			return append(b, escaped...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
