//go:build linux && lab

package uapi

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// tunnel is an SA that the kernel takes.
func tunnel(spi uint32) *State {
	return &State{
		Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"), Proto: ESP, SPI: spi, Mode: Tunnel, ReqID: 7,
		AEAD:   &AEAD{"rfc4106(gcm(aes))", secret.New([]byte("0123456789abcdefsalt")), 128},
		Replay: Replay{Window: 32, Bitmap: []uint32{0}}, Limits: NoLimits(),
		Selector: Selector{Family: IPv4, Src: netip.MustParsePrefix("0.0.0.0/0"), Dst: netip.MustParsePrefix("0.0.0.0/0")},
	}
}

// realState is any SA that the kernel takes.
func realState(t *rapid.T) *State {
	f := anyFamily(t)
	s := &State{
		Src: anyAddr(t, f), Dst: anyAddr(t, f), SPI: rapid.Uint32Range(256, 1<<32-1).Draw(t, "SPI"),
		Proto: rapid.SampledFrom([]Proto{ESP, AH}).Draw(t, "protocol"), Mode: rapid.SampledFrom([]Mode{Transport, Tunnel}).Draw(t, "mode"),
		Selector: anySelector(t), ReqID: anyOf[uint32](t, "request id"),
		Flags:      rapid.SampledFrom([]StateFlags{0, FlagNoECN, FlagDecapDSCP | FlagNoPMTUDisc, FlagICMP | FlagWildRecv}).Draw(t, "flags"),
		ExtraFlags: rapid.SampledFrom([]StateExtraFlags{0, ExtraDontEncapDSCP, ExtraOSeqMayWrap}).Draw(t, "extra flags"),
		Mark:       anyMark(t), OutputMark: anyMark(t), IfID: anyOf[uint32](t, "interface id"),
		Replay: anyReplay(t), Limits: NoLimits(), Seq: anyOf[uint32](t, "number"),
	}
	// Limits that are not reached, and times that lie ahead: the SA must not end.
	s.Limits.SoftBytes, s.Limits.HardPackets, s.Limits.HardAdd = 1<<62, 1<<61, 1<<31
	s.Used = Usage{uint64(anyOf[uint16](t, "octets")), uint64(anyOf[uint16](t, "packets")), 4 << 30, 4<<30 + 1}
	if s.Mark.Value &= s.Mark.Mask; s.Selector.Family == FamilyAny {
		s.Flags |= FlagAFUnspec
	}
	if s.Mode == Transport {
		s.Selector.Family, s.Selector.Src, s.Selector.Dst = FamilyAny, netip.Prefix{}, netip.Prefix{}
		s.Flags |= FlagAFUnspec
	}
	if s.Replay.Extended && s.Replay.Window > 0 && rapid.Bool().Draw(t, "ESN") {
		s.Flags |= FlagESN
	}
	if s.Proto == AH || rapid.Bool().Draw(t, "two algorithms") {
		s.Auth = &Auth{"hmac(sha256)", secret.Clone(octets(t, "key", 32, 32)), rapid.SampledFrom([]uint32{96, 128}).Draw(t, "ICV")}
	}
	switch {
	case s.Proto == AH:
		s.Replay.Extended = s.Replay.Extended && s.Flags&FlagESN != 0
		if !s.Replay.Extended {
			s.Replay = Replay{Window: 32, OSeq: 9, Seq: 8, Bitmap: []uint32{7}}
		}
	case s.Auth != nil:
		s.Crypt = &Cipher{"cbc(aes)", secret.Clone(octets(t, "key", 32, 32))}
	default:
		s.AEAD = &AEAD{"rfc4106(gcm(aes))", secret.Clone(octets(t, "key", 20, 20)), rapid.SampledFrom([]uint32{64, 96, 128}).Draw(t, "ICV")}
	}
	if s.Proto == ESP && s.Mode == Tunnel && rapid.Bool().Draw(t, "padded") {
		s.TFCPad = 1200
	}
	if s.Proto == ESP && rapid.Bool().Draw(t, "encapsulated") {
		s.Encap = &Encap{ESPInUDP, 4500, anyOf[uint16](t, "port"), optionalAddr(t, f)}
		s.Thresholds.MTimer = rapid.Uint32Range(0, 9).Draw(t, "mapping timer")
	}
	return s
}

// Whatever SA a kernel is given, it tells the same one when it is asked, when it
// lists it, and when it deletes it; and what it told last can be given to it
// again.
func TestKernelKeepsStates(t *testing.T) {
	c, ctx := namespace(t), within(t)
	rapid.Check(t, func(t *rapid.T) {
		s := realState(t)
		if err := c.AddState(ctx, s); err != nil {
			t.Fatalf("%v\n%+v", err, s)
		}
		got, err := c.GetState(ctx, s.ID())
		same(t, "told", got, err, s)
		for got, err := range c.States(ctx, Filter{}) {
			same(t, "listed", got, err, s)
		}
		got, err = c.DeleteState(ctx, s.ID())
		same(t, "last told", got, err, s)
		if err := c.AddState(ctx, got); err != nil {
			t.Fatalf("%v\n%+v", err, got)
		}
		got, err = c.DeleteState(ctx, s.ID())
		same(t, "told of the copy", got, err, s)
	})
}

func same(t *rapid.T, what string, got *State, err error, want *State) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v\nof %+v", what, err, want)
	}
	expected := *want
	if m := &expected.OutputMark; m.Value != 0 && m.Mask == 0 {
		m.Mask = 1<<32 - 1
	}
	if !reflect.DeepEqual(got, &expected) {
		t.Fatalf("%s: %+v\nwant %+v", what, got, &expected)
	}
}

func TestRefusals(t *testing.T) {
	c, ctx := namespace(t), within(t)
	if err := c.AddState(ctx, tunnel(1000)); err != nil {
		t.Fatal(err)
	}
	unknown := func(change func(*State)) *State {
		s := tunnel(2000)
		change(s)
		return s
	}
	other := tunnel(1000)
	other.Src, other.ReqID, other.IfID = netip.MustParseAddr("192.0.2.99"), 9, 3
	id := StateID{Dst: tunnel(0).Dst, SPI: 1000, Proto: AH}
	policy := PolicyID{Selector: tunnel(0).Selector, Dir: DirIn}
	_, noState := c.GetState(ctx, id)
	_, noReplay := c.GetReplay(ctx, id)
	_, noPolicy := c.GetPolicy(ctx, policy)
	_, notDeleted := c.DeleteState(ctx, id)
	for name, test := range map[string]struct {
		err, want error
	}{
		"the same SA":          {c.AddState(ctx, tunnel(1000)), ErrExists},
		"its SPI":              {c.AddState(ctx, other), ErrExists},
		"no such SA":           {noState, ErrNotFound},
		"to be deleted":        {notDeleted, ErrNotFound},
		"to be updated":        {c.UpdateState(ctx, tunnel(2000)), ErrNotFound},
		"its numbers":          {noReplay, ErrNotFound},
		"to be set":            {c.SetReplay(ctx, &AEvent{ID: id, Used: &Usage{AddTime: 1}}), ErrNotFound},
		"no such policy":       {noPolicy, ErrNotFound},
		"to be deleted too":    {c.DeletePolicy(ctx, policy), ErrNotFound},
		"unknown AEAD":         {c.AddState(ctx, unknown(func(s *State) { s.AEAD.Name = "rfc4106(gcm(sm9))" })), ErrUnsupportedAlgorithm},
		"unknown ICV":          {c.AddState(ctx, unknown(func(s *State) { s.AEAD.ICVBits = 72 })), ErrUnsupportedAlgorithm},
		"unknown integrity":    {c.AddState(ctx, unknown(func(s *State) { s.AEAD, s.Auth = nil, &Auth{Name: "hmac(sha9)"} })), ErrUnsupportedAlgorithm},
		"unknown cipher":       {c.AddState(ctx, unknown(func(s *State) { s.AEAD, s.Crypt = nil, &Cipher{Name: "cbc(sm9)"} })), ErrUnsupportedAlgorithm},
		"key of a wrong size":  {c.AddState(ctx, unknown(func(s *State) { s.AEAD.Key = secret.New([]byte{1}) })), unix.EINVAL},
		"ESN in the old form":  {c.AddState(ctx, unknown(func(s *State) { s.Flags = FlagESN })), unix.EINVAL},
		"numbers without some": {c.SetReplay(ctx, &AEvent{ID: tunnel(1000).ID()}), unix.EINVAL},
	} {
		var kernels *Error
		if !errors.Is(test.err, test.want) || !errors.As(test.err, &kernels) {
			t.Errorf("%s: %v is not %v", name, test.err, test.want)
		}
	}
	if info, err := c.SADInfo(ctx); info.States != 1 || info.Buckets == 0 || info.MaxBuckets == 0 || err != nil {
		t.Errorf("%+v, %v", info, err)
	}
}

// The kernel explains what it refuses.
func TestRefusalExplained(t *testing.T) {
	c, ctx := namespace(t), within(t)
	s := tunnel(1000)
	s.AEAD.Name = "rfc4106(gcm(sm9))"
	var refused *Error
	if err := c.AddState(ctx, s); !errors.As(err, &refused) || refused.Text == "" {
		t.Errorf("%v", err)
	}
}

func TestDialWithoutPermission(t *testing.T) {
	namespace(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	data[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := Dial(); !errors.Is(err, ErrPermission) {
		t.Errorf("%v", err)
	}
}

func TestReservation(t *testing.T) {
	c, ctx := namespace(t), within(t)
	s := tunnel(0x5000)
	s.Flags, s.Replay = FlagESN, Replay{Extended: true, OSeq: 41, Window: 64, Bitmap: []uint32{0, 0}}
	q := SPIRequest{Src: s.Src, Dst: s.Dst, Proto: ESP, Mode: Tunnel, ReqID: 7, Min: s.SPI, Max: s.SPI, Dir: StateDirOut}
	reserved, err := c.AllocSPI(ctx, &q)
	if err != nil || reserved.SPI != s.SPI || reserved.AEAD != nil {
		t.Fatalf("%+v, %v", reserved, err)
	}
	if _, err := c.AllocSPI(ctx, &q); !errors.Is(err, ErrInUse) {
		t.Errorf("reserved twice: %v", err)
	}
	if err := c.AddState(ctx, s); !errors.Is(err, ErrExists) {
		t.Errorf("added: %v", err)
	}
	if err := c.UpdateState(ctx, s); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetState(ctx, s.ID()); err != nil || got.Replay.OSeq != 41 || !got.AEAD.Key.Equal(s.AEAD.Key) {
		t.Errorf("%+v, %v", got, err)
	}
	q.Max = 0x50ff
	if reserved, err = c.AllocSPI(ctx, &q); err != nil || reserved.SPI <= 0x5000 || reserved.SPI > 0x50ff {
		t.Errorf("%+v, %v", reserved, err)
	}
	q.Min, q.Max = 2, 1
	if _, err := c.AllocSPI(ctx, &q); !errors.Is(err, unix.EINVAL) {
		t.Errorf("%v", err)
	}
}

func TestSetReplay(t *testing.T) {
	c, ctx := namespace(t), within(t)
	s := tunnel(1000)
	s.Flags, s.Replay = FlagESN, Replay{Extended: true, OSeq: 41, Window: 64, Bitmap: []uint32{0, 0}}
	if err := c.AddState(ctx, s); err != nil {
		t.Fatal(err)
	}
	set := &AEvent{
		ID: s.ID(), Replay: &Replay{Extended: true, OSeq: 1<<33 + 7, Seq: 1<<34 + 9, Window: 64, Bitmap: []uint32{5, 6}},
		Used: &Usage{1, 2, 3, 4}, Thresholds: Thresholds{Replay: new(uint32(11)), ETimer: new(uint32(1000))},
	}
	if err := c.SetReplay(ctx, set); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetReplay(ctx, s.ID())
	if err != nil || !reflect.DeepEqual(got.Replay, set.Replay) || *got.Used != *set.Used || *got.Thresholds.Replay != 11 {
		t.Errorf("%+v, %v", got, err)
	}
	// Written in ticks, of which this kernel has 100 a second; read in tenths.
	if *got.Thresholds.ETimer != 100 {
		t.Errorf("timer threshold %d", *got.Thresholds.ETimer)
	}
	if got.Src != s.Src || got.ReqID != s.ReqID || got.ID != s.ID() {
		t.Errorf("%+v", got)
	}
	set.Replay.Bitmap = append(set.Replay.Bitmap, 0)
	if err := c.SetReplay(ctx, set); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a longer bitmap: %v", err)
	}
}

// An update of an SA in use changes its limits and nothing of its sequence state.
func TestUpdateLive(t *testing.T) {
	c, ctx := namespace(t), within(t)
	s := tunnel(1000)
	s.Replay.OSeq = 41
	if err := c.AddState(ctx, s); err != nil {
		t.Fatal(err)
	}
	s.Limits.HardPackets, s.Replay.OSeq, s.ReqID = 99, 1, 99
	if err := c.UpdateState(ctx, s); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetState(ctx, s.ID()); err != nil || got.Limits.HardPackets != 99 || got.Replay.OSeq != 41 || got.ReqID != 7 {
		t.Errorf("%+v, %v", got, err)
	}
}

// A context that has ended asks for nothing.
func TestContextEnded(t *testing.T) {
	c := namespace(t)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("why")
	cancel(why)
	if err := c.AddState(ctx, tunnel(1000)); !errors.Is(err, why) || errors.Is(err, ErrOutcomeUnknown) {
		t.Error(err)
	}
	for _, err := range c.States(ctx, Filter{}) {
		if !errors.Is(err, why) {
			t.Error(err)
		}
	}
	if info, err := c.SADInfo(within(t)); info.States != 0 || err != nil {
		t.Errorf("%+v, %v", info, err)
	}
}

// Nothing of the keys is left in the buffers.
func TestBuffersWiped(t *testing.T) {
	c, ctx := namespace(t), within(t)
	for range c.States(ctx, Filter{}) {
		t.Fatal("not empty")
	}
	if err := c.AddState(ctx, tunnel(1000)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetState(ctx, tunnel(1000).ID()); err != nil {
		t.Fatal(err)
	}
	for range c.States(ctx, Filter{}) {
	}
	if _, err := c.DeleteState(ctx, tunnel(1000).ID()); err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"requests": c.out.b[:cap(c.out.b)], "answers": c.requests.buf, "lists": c.dumps.buf,
	} {
		for _, o := range b {
			if o != 0 {
				t.Errorf("%s: not wiped", name)
				break
			}
		}
	}
}
