package testvectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// FormError is where a file of vectors is not as schema.json wants it.
type FormError struct {
	File string
	Path string // a JSON pointer (RFC 6901): "/3/error/offset"; "" = the whole file
	// Reason says what is wrong there.
	Reason string
}

func (e *FormError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("%s: %s", e.File, e.Reason)
	}
	return fmt.Sprintf("%s: %s: %s", e.File, e.Path, e.Reason)
}

// Parse reads a file of vectors. Whatever is wrong with it is a [*FormError]: what
// schema.json says, and that no two vectors of a type have one name.
func Parse(file string, text []byte) ([]Vector, error) {
	refuse := func(path, format string, args ...any) error {
		return &FormError{file, path, fmt.Sprintf(format, args...)}
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document any
	if err := decoder.Decode(&document); err != nil {
		return nil, refuse("", "it is not JSON: at octet %d: %v", decoder.InputOffset(), err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, refuse("", "at octet %d: more follows the list of vectors", decoder.InputOffset())
	}
	if b := (&checker{root: form()}).check(form(), document); b != nil {
		return nil, refuse(b.path, "%s", b.reason)
	}
	var vectors []Vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		return nil, refuse("", "failed to read it: %v", err)
	}
	type id struct{ kind, name string }
	seen := map[id]int{}
	for i, v := range vectors {
		if first, twice := seen[id{v.Type, v.Name}]; twice {
			return nil, refuse("/"+strconv.Itoa(i)+"/name", "the vector %d has the same type and name", first)
		}
		seen[id{v.Type, v.Name}] = i
	}
	return vectors, nil
}
