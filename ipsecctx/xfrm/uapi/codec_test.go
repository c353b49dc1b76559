package uapi

import (
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// encode is what f writes.
func encode(f func(*writer)) ([]byte, error) {
	var w writer
	f(&w)
	return w.b, w.err
}

func mustEncode(t rapid.TB, f func(*writer)) []byte {
	t.Helper()
	b, err := encode(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// roundTrip checks that what is written is read as it was, and that no prefix of
// it is.
func roundTrip[T any](t rapid.TB, fixed int, v *T, write func(*writer), decode func([]byte) (*T, error)) {
	t.Helper()
	b := mustEncode(t, write)
	got, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, v) {
		t.Fatalf("read %+v\nof    %+v", got, v)
	}
	whole := ends(b, fixed)
	for n := range b {
		if _, err := decode(b[:n]); !whole[n] && !isFormatError(err) {
			t.Fatalf("%d octets of %d: %v", n, len(b), err)
		}
	}
}

// ends are the lengths at which a payload is cut between two attributes: what is
// left is well formed.
func ends(b []byte, fixed int) map[int]bool {
	whole := map[int]bool{fixed: true}
	for at := fixed; at < len(b); {
		n := int(native.Uint16(b[at:]))
		for i := n; i <= align(n); i++ {
			whole[at+i] = true
		}
		at += align(n)
	}
	return whole
}

func isFormatError(err error) bool {
	var target *FormatError
	return errors.As(err, &target)
}

func TestStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyState(t)
		roundTrip(t, sizeUserSA, s, func(w *writer) { w.state(s) }, decodeState)
	})
}

// deleted writes what the kernel tells of a deletion: the state's name, the
// state as an attribute, its attributes.
func (w *writer) deleted(s *State) {
	id := s.ID()
	w.stateID(w.extend(sizeUserSAID), &id)
	body := writer{}
	body.state(s)
	copy(w.attr(attrState, sizeUserSA), body.b)
	copy(w.extend(len(body.b)-sizeUserSA), body.b[sizeUserSA:])
}

func TestDeletedStateRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anyState(t)
		b := mustEncode(t, func(w *writer) { w.deleted(s) })
		e, err := decodeEvent(uint16(OpDeleteState), b)
		if want := (&StateChanged{OpDeleteState, s}); err != nil || !reflect.DeepEqual(e, want) {
			t.Fatalf("read %+v, %v\nof    %+v", e, err, want)
		}
	})
	for n := range sizeUserSAID + 1 {
		if _, err := decodeEvent(uint16(OpDeleteState), make([]byte, n)); !isFormatError(err) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

func TestPolicyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPolicy(t)
		roundTrip(t, sizeUserPolicy, p, func(w *writer) { w.policy(p) }, decodePolicy)
	})
}

func TestAEventRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := anyAEvent(t)
		roundTrip(t, sizeAEventID, e, func(w *writer) { w.aevent(e) }, decodeAEvent)
	})
}

func TestStateRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := anyStateID(t)
		decode := func(b []byte) (*StateID, error) {
			var r reader
			if err := r.open("request", b, sizeUserSAID); err != nil {
				return nil, err
			}
			got := r.stateID(r.b)
			got.Mark = r.takeMark()
			return &got, r.err
		}
		roundTrip(t, sizeUserSAID, &id, func(w *writer) { w.stateRequest(&id) }, decode)
	})
}

func TestPolicyRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := PolicyID{
			Selector: anySelector(t), Dir: anyOf[Dir](t, "direction"), Index: anyOf[uint32](t, "index"),
			Type: anyOf[PolicyType](t, "type"), Mark: anyMark(t), IfID: anyOf[uint32](t, "interface id"), SecCtx: anySecCtx(t),
		}
		decode := func(b []byte) (*PolicyID, error) {
			var r reader
			if err := r.open("request", b, sizePolicyID); err != nil {
				return nil, err
			}
			return &PolicyID{
				Selector: r.selector(r.b), Index: native.Uint32(r.b[56:]), Dir: Dir(r.b[60]),
				Type: r.takePolicyType(), Mark: r.takeMark(), IfID: r.take32(attrIfID), SecCtx: r.takeSecCtx(),
			}, r.err
		}
		roundTrip(t, sizePolicyID, &id, func(w *writer) { w.policyID(&id) }, decode)
	})
}

func TestSPIRequest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFamily(t)
		q := SPIRequest{
			Src: anyAddr(t, f), Dst: anyAddr(t, f), Proto: anyOf[Proto](t, "protocol"), Mode: anyOf[Mode](t, "mode"),
			ReqID: anyOf[uint32](t, "request id"), Min: anyOf[uint32](t, "least"), Max: anyOf[uint32](t, "most"),
			Seq: anyOf[uint32](t, "number"), Mark: anyMark(t), IfID: anyOf[uint32](t, "interface id"), Dir: anyOf[StateDir](t, "direction"),
		}
		decode := func(b []byte) (*SPIRequest, error) {
			var r reader
			if err := r.open("request", b, sizeUserSPI); err != nil {
				return nil, err
			}
			var s State
			r.stateHeader(r.b, &s)
			return &SPIRequest{
				Src: s.Src, Dst: s.Dst, Proto: s.Proto, Mode: s.Mode, ReqID: s.ReqID, Seq: s.Seq,
				Min: native.Uint32(r.b[sizeUserSA:]), Max: native.Uint32(r.b[sizeUserSA+4:]),
				Mark: r.takeMark(), IfID: r.take32(attrIfID), Dir: r.takeDir(),
			}, r.err
		}
		roundTrip(t, sizeUserSPI, &q, func(w *writer) { w.spiRequest(&q) }, decode)
	})
}

// What no message can say, or the kernel would take for something else, is
// refused before it is sent.
func TestEncodeRefuses(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	long := make([]byte, 1<<16)
	for name, s := range map[string]*State{
		"no destination":     {},
		"mixed families":     {Dst: v4, Src: v6},
		"selector's family":  {Dst: v4, Selector: Selector{Family: IPv6, Src: netip.PrefixFrom(v4, 32)}},
		"not a prefix":       {Dst: v4, Selector: Selector{Family: IPv4, Dst: netip.PrefixFrom(v4, 33)}},
		"encapsulation":      {Dst: v4, Encap: &Encap{Original: v6}},
		"care-of address":    {Dst: v4, CoAddr: v6},
		"no name":            {Dst: v4, Auth: &Auth{}},
		"long name":          {Dst: v4, Crypt: &Cipher{Name: string(make([]byte, 64))}},
		"name that ends":     {Dst: v4, Comp: "deflate\x00"},
		"long key":           {Dst: v4, AEAD: &AEAD{Name: "a", Key: secret.New(long)}},
		"long label":         {Dst: v4, SecCtx: &SecCtx{Label: long}},
		"long attribute":     {Dst: v4, Unknown: []Attr{{99, long}}},
		"legacy window":      {Dst: v4, Replay: Replay{Window: 33}},
		"legacy bitmap":      {Dst: v4, Replay: Replay{Bitmap: make([]uint32, 2)}},
		"legacy number":      {Dst: v4, Replay: Replay{OSeq: 1 << 32}},
		"legacy number seen": {Dst: v4, Replay: Replay{Seq: 1 << 32}},
		"window":             {Dst: v4, Replay: Replay{Extended: true, Window: 4097}},
		"bitmap":             {Dst: v4, Replay: Replay{Extended: true, Bitmap: make([]uint32, 129)}},
	} {
		if _, err := encode(func(w *writer) { w.state(s) }); !isFormatError(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, r := range []Request{
		{}, {Op: OpAddState}, {Op: OpUpdateState}, {Op: OpAllocSPI}, {Op: OpSetReplay}, {Op: OpAddPolicy},
		{Op: OpUpdatePolicy}, {Op: OpGetState}, {Op: OpDeleteState}, {Op: 0x7fff},
	} {
		if _, err := encode(func(w *writer) { w.request(&r, kernel{}) }); !isFormatError(err) {
			t.Errorf("request %#x: %v", uint16(r.Op), err)
		}
	}
}

// A bitmap may be left out where it is empty: the window says how long it is.
func TestEncodeBitmap(t *testing.T) {
	s := State{Dst: netip.IPv6Loopback(), Replay: Replay{Extended: true, Window: 33}}
	got, err := decodeState(mustEncode(t, func(w *writer) { w.state(&s) }))
	if err != nil || len(got.Replay.Bitmap) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}

// What is wrong with a request takes back that request only.
func TestWriterTakesBack(t *testing.T) {
	var w writer
	first := w.begin(1, 2, 3, 4)
	if err := w.end(first); err != nil {
		t.Fatal(err)
	}
	second := w.begin(1, 2, 3, 4)
	w.state(&State{AEAD: &AEAD{Name: "a", Key: secret.New([]byte{1, 2, 3, 4})}})
	if err := w.end(second); !isFormatError(err) {
		t.Fatal(err)
	}
	third := w.begin(5, 6, 7, 8)
	w.attr32(9, 10)
	if err := w.end(third); err != nil {
		t.Fatal(err)
	}
	for _, rest := range w.b[len(w.b):cap(w.b)] {
		if rest != 0 {
			t.Fatal("octets of what was taken back are left")
		}
	}
	m, rest, err := next(w.b)
	if err != nil || m.kind != 1 || len(m.payload) != 0 {
		t.Fatalf("%+v, %v", m, err)
	}
	m, rest, err = next(rest)
	if err != nil || m.kind != 5 || m.flags != 6 || m.seq != 7 || m.port != 8 || len(m.payload) != 8 || len(rest) != 0 {
		t.Errorf("%+v, %d, %v", m, len(rest), err)
	}
	for n := 1; n < len(w.b); n++ {
		if _, _, err := next(w.b[:n]); n < sizeNlmsghdr && !isFormatError(err) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
}

// Arrays that the writer grows out of, and the last one when it is wiped, hold
// nothing any more.
func TestWriterWipes(t *testing.T) {
	var w writer
	var arrays [][]byte
	for range 100 {
		copy(w.attr(1, 100), "a key, a key, a key")
		arrays = append(arrays, w.b[:cap(w.b)])
	}
	w.wipe()
	for i, b := range arrays {
		for _, o := range b {
			if o != 0 {
				t.Fatalf("array %d of %d octets is not wiped", i, len(b))
			}
		}
	}
}

// Where something of an SA cannot be read, the keys that could are wiped.
func TestDecodeWipes(t *testing.T) {
	b := mustEncode(t, func(w *writer) {
		w.state(&State{Dst: netip.IPv6Loopback(), AEAD: &AEAD{Name: "a", Key: secret.New([]byte{1, 2, 3, 4})}})
		w.attr(attrAlgCrypt, sizeAlgo)
	})
	var r reader
	if err := r.open("SA", b, sizeUserSA); err != nil {
		t.Fatal(err)
	}
	var s State
	if err := r.stateInto(&s, r.b); !isFormatError(err) || s.AEAD == nil || !s.AEAD.Key.Equal(secret.New(make([]byte, 4))) {
		t.Errorf("%+v, %v", s, err)
	}
}
