//go:build amd64 || arm64 || riscv64 || loong64

package uapi

import (
	"reflect"
	"testing"
)

// FuzzDecode gives the decoders arbitrary messages. What they read must mean the
// same when it is written and read again.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"held.txt", "told.txt"} {
		for _, m := range vectors(f, name) {
			f.Add(m.kind, m.payload)
		}
	}
	f.Add(uint16(msgMapping), make([]byte, sizeMapping))
	f.Add(uint16(msgSADInfo), make([]byte, sizeSADInfo))
	f.Add(uint16(msgError), make([]byte, sizeErrorFixed))
	f.Fuzz(func(t *testing.T, kind uint16, payload []byte) {
		if _, _, err := decodeError(kind, payload); err != nil && !isFormatError(err) {
			t.Error(err)
		}
		if _, err := decodeSADInfo(payload); err != nil && !isFormatError(err) {
			t.Error(err)
		}
		for b := payload; len(b) > 0; {
			_, rest, err := next(b)
			if err != nil && !isFormatError(err) {
				t.Error(err)
			}
			b = rest
		}
		e, err := decodeEvent(kind, payload)
		switch {
		case err != nil:
			if !isFormatError(err) {
				t.Error(err)
			}
			return
		case e == nil:
			t.Fatal("neither an event nor an error")
		}
		switch e := e.(type) {
		case *StateChanged:
			// Only read, and so not written.
			e.State.Stats, e.State.LastUsed = Stats{}, 0
			complete(&e.State.Replay)
			again(t, e.State, func(w *writer) { w.state(e.State) }, decodeState)
		case *PolicyChanged:
			e.Policy.Used = Usage{}
			again(t, e.Policy, func(w *writer) { w.policy(e.Policy) }, decodePolicy)
		case *ReplayChanged:
			e.AEvent.Dir = StateDirNone
			if e.AEvent.Replay != nil {
				complete(e.AEvent.Replay)
			}
			again(t, e.AEvent, func(w *writer) { w.aevent(e.AEvent) }, decodeAEvent)
		}
	})
}

// again checks that what can be written is read as it was.
func again[T any](t *testing.T, v *T, write func(*writer), decode func([]byte) (*T, error)) {
	t.Helper()
	b, err := encode(write)
	if err != nil {
		return
	}
	got, err := decode(b)
	if err != nil {
		t.Fatalf("%v\nof %+v", err, v)
	}
	if !reflect.DeepEqual(got, v) {
		t.Fatalf("%+v\nwas %+v", got, v)
	}
}

// complete makes the bitmap as long as it is written.
func complete(r *Replay) {
	words := 1
	if r.Extended {
		words = (int(min(r.Window, MaxWindow)) + wordBits - 1) / wordBits
	}
	for len(r.Bitmap) < words {
		r.Bitmap = append(r.Bitmap, 0)
	}
	if len(r.Bitmap) == 0 {
		r.Bitmap = []uint32{}
	}
}
