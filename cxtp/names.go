package cxtp

import "fmt"

// numbered is a kind of number that people read as a name.
type numbered interface {
	~uint8
	fmt.Stringer
}

// fromName reads back what String writes.
func fromName[T numbered](text []byte, kind string) (T, error) {
	for i := range 256 {
		if T(i).String() == string(text) {
			return T(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no %s that this version knows", text, kind)
}

// MarshalText implements [encoding.TextMarshaler].
func (e Event) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (e *Event) UnmarshalText(text []byte) (err error) {
	*e, err = fromName[Event](text, "event")
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Status) UnmarshalText(text []byte) (err error) {
	*s, err = fromName[Status](text, "status")
	return err
}

// MarshalText implements [encoding.TextMarshaler].
func (k RecordKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A kind without a name is
// an error: a journal that cannot be understood must not be acted on.
func (k *RecordKind) UnmarshalText(text []byte) (err error) {
	*k, err = fromName[RecordKind](text, "record kind")
	if err == nil && !k.Known() {
		err = fmt.Errorf("%q is no record kind that this version knows", text)
	}
	return err
}
