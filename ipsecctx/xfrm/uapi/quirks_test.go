package uapi

import (
	"net/netip"
	"reflect"
	"testing"
)

func TestFit(t *testing.T) {
	addr := netip.MustParseAddr("192.0.2.1")
	window := func(window uint32) Replay {
		return Replay{Extended: true, OSeq: 7, Seq: 5, Window: window, Bitmap: make([]uint32, (window+31)/32)}
	}
	all := StateFlags(0xff)
	old, young := kernel{}, kernel{directions: true}
	for name, test := range map[string]struct {
		kernel kernel
		in     State
		want   State
	}{
		"no direction": {
			young, State{Flags: all, Replay: window(64)}, State{Flags: all, Replay: window(64)},
		},
		"outbound, old kernel": {
			old, State{Dir: StateDirOut, Flags: all, PCPU: new(uint32(1)), Replay: window(64)}, State{Flags: all, Replay: window(64)},
		},
		"outbound without a window, old kernel": {
			old, State{Dir: StateDirOut, Flags: FlagESN, Replay: Replay{Extended: true, OSeq: 7}},
			State{Flags: FlagESN, Replay: Replay{Extended: true, OSeq: 7, Window: 32}},
		},
		"outbound without a window and ESN, old kernel": {
			old, State{Dir: StateDirOut, Replay: Replay{Extended: true, OSeq: 7}}, State{Replay: Replay{Extended: true, OSeq: 7}},
		},
		"outbound": {
			young, State{Dir: StateDirOut, Flags: all, ExtraFlags: 3, Thresholds: Thresholds{MTimer: 9}, PCPU: new(uint32(1)), Replay: window(64)},
			State{
				Dir: StateDirOut, Flags: all &^ (FlagDecapDSCP | FlagICMP | FlagWildRecv), ExtraFlags: 3, PCPU: new(uint32(1)),
				Replay: Replay{Extended: true, OSeq: 7},
			},
		},
		"inbound": {
			young, State{Dir: StateDirIn, Flags: all, ExtraFlags: 7, Thresholds: Thresholds{MTimer: 9}, Replay: window(64)},
			State{
				Dir: StateDirIn, Flags: all &^ FlagNoPMTUDisc, ExtraFlags: 4, Thresholds: Thresholds{MTimer: 9},
				Replay: Replay{Extended: true, Seq: 5, Window: 64, Bitmap: make([]uint32, 2)},
			},
		},
		"a label": {
			old, State{SecCtx: &SecCtx{1, 2, []byte("a\x00b\x00")}}, State{SecCtx: &SecCtx{1, 2, []byte("a\x00b")}},
		},
	} {
		test.in.Dst, test.want.Dst = addr, addr
		before := test.in
		if got := test.kernel.fit(&test.in); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v\nwant %+v", name, got, test.want)
		}
		if !reflect.DeepEqual(test.in, before) {
			t.Errorf("%s: the state given was changed", name)
		}
	}
	if q := old.fitSPI(&SPIRequest{Min: 1, Dir: StateDirIn}); q != (SPIRequest{Min: 1}) {
		t.Errorf("%+v", q)
	}
	if q := young.fitSPI(&SPIRequest{Min: 1, Dir: StateDirIn}); q.Dir != StateDirIn {
		t.Errorf("%+v", q)
	}
	if p := old.fitPolicy(&Policy{Index: 8, SecCtx: &SecCtx{Label: []byte{'a', 0}}}); p.Index != 8 || string(p.SecCtx.Label) != "a" {
		t.Errorf("%+v", p)
	}
}
