package control

import (
	"encoding/json"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
)

// UnmarshalJSON implements [json.Unmarshaler]: events and statuses travel as
// their names.
func (p *Progress) UnmarshalJSON(text []byte) error {
	type plain Progress
	wire := struct {
		*plain
		Event    named[cxtp.Event] `json:"event"`
		Statuses []struct {
			FPT    cxtp.FPT
			Status named[cxtp.Status]
		} `json:"statuses"`
	}{plain: (*plain)(p)}
	if err := json.Unmarshal(text, &wire); err != nil {
		return err
	}
	p.Event, p.Statuses = wire.Event.value, nil
	for _, s := range wire.Statuses {
		p.Statuses = append(p.Statuses, cxtp.ContextStatus{FPT: s.FPT, Status: s.Status.value})
	}
	return nil
}

// named reads a number that was written as its name.
type named[T interface {
	~uint8
	fmt.Stringer
}] struct{ value T }

func (n *named[T]) UnmarshalText(text []byte) error {
	for i := range 256 {
		if T(i).String() == string(text) {
			n.value = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no name that this version knows", text)
}
