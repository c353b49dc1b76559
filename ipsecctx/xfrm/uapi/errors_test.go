package uapi

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
)

func TestErrorNames(t *testing.T) {
	names := []error{ErrExists, ErrInUse, ErrNotFound, ErrPermission, ErrUnsupportedAlgorithm, ErrUnsupportedProtocol, ErrFinalUnknown, ErrOutcomeUnknown}
	for _, test := range []struct {
		op    Op
		errno syscall.Errno
		want  error // nil = none of the names
	}{
		{OpAddState, syscall.EEXIST, ErrExists},
		{OpAddPolicy, syscall.EEXIST, ErrExists},
		{OpAllocSPI, syscall.ENOENT, ErrInUse},
		{OpAddState, syscall.ENOENT, ErrUnsupportedAlgorithm},
		{OpAddState, syscall.ENOSYS, ErrUnsupportedAlgorithm},
		{OpUpdateState, syscall.ENOSYS, ErrUnsupportedAlgorithm},
		{OpAddState, syscall.EPROTONOSUPPORT, ErrUnsupportedProtocol},
		{opDial, syscall.EPROTONOSUPPORT, ErrUnsupportedProtocol},
		{OpGetPolicy, syscall.ENOENT, ErrNotFound},
		{OpDeletePolicy, syscall.ENOENT, ErrNotFound},
		{OpDeleteState, syscall.ESRCH, ErrNotFound},
		{OpSetReplay, syscall.ESRCH, ErrNotFound},
		{OpGetState, syscall.EPERM, ErrPermission},
		{OpGetState, syscall.EACCES, ErrPermission},
		{OpAddState, syscall.EINVAL, nil},
		{OpGetState, syscall.ENOENT, nil},
	} {
		err := fmt.Errorf("wrapped: %w", &Error{Op: test.op, Errno: test.errno})
		if !errors.Is(err, test.errno) {
			t.Errorf("%v is not %v", err, test.errno)
		}
		for _, name := range names {
			if errors.Is(err, name) != (name == test.want) {
				t.Errorf("%v is %v: %t", err, name, name != test.want)
			}
		}
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*Error{
		"failed to add ESP SA 0x00000007 to 192.0.2.1: file exists": (&Request{
			Op: OpAddState, State: &State{Dst: netip.MustParseAddr("192.0.2.1"), SPI: 7, Proto: ESP},
		}).refused(syscall.EEXIST, "").(*Error),
		"failed to reserve AH SPI 0x00000007 to 0x00000009 for ::1: no such file or directory (text); no SPI of the range is free": (&Request{
			Op: OpAllocSPI, SPI: &SPIRequest{Dst: netip.IPv6Loopback(), Min: 7, Max: 9, Proto: AH},
		}).refused(syscall.ENOENT, "text").(*Error),
		"failed to delete out policy 10.0.0.0/8 to ::/0: no such file or directory": (&Request{
			Op: OpDeletePolicy, PolicyID: PolicyID{Dir: DirOut, Selector: Selector{Src: netip.MustParsePrefix("10.0.0.0/8"), Dst: netip.MustParsePrefix("::/0")}},
		}).refused(syscall.ENOENT, "").(*Error),
		"failed to get fwd policy number 8: operation not permitted; the process needs CAP_NET_ADMIN": (&Request{
			Op: OpGetPolicy, PolicyID: PolicyID{Dir: DirFwd, Index: 8},
		}).refused(syscall.EPERM, "").(*Error),
		"failed to connect to XFRM: protocol not supported; load the kernel modules xfrm_user, esp4, esp6, ah4 and ah6": {
			Op: opDial, Errno: syscall.EPROTONOSUPPORT,
		},
	} {
		if err.Error() != want {
			t.Errorf("%q\nwant %q", err, want)
		}
	}
}

// No key is printed, whichever way.
func TestNothingShowsKeys(t *testing.T) {
	key := secret.New([]byte("KEYKEY"))
	s := &State{Dst: netip.IPv6Loopback(), AEAD: &AEAD{Key: key}, Auth: &Auth{Key: key}, Crypt: &Cipher{Key: key}}
	r := Request{Op: OpAddState, State: s}
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v", s, s, s), fmt.Sprintf("%+v %#v %v", *s.AEAD, *s.Auth, *s.Crypt), r.refused(syscall.EINVAL, "").Error(), fmt.Sprintf("%+v", r), r.without(ErrOutcomeUnknown).Error(),
	} {
		if strings.Contains(text, "KEY") || strings.Contains(text, "4b4559") {
			t.Errorf("%s", text)
		}
	}
	s.Wipe()
	if string(key.Bytes()) != "\x00\x00\x00\x00\x00\x00" {
		t.Errorf("not wiped: %q", key.Bytes())
	}
}

func TestDecodeError(t *testing.T) {
	var w writer
	errno := int32(-int(syscall.EINVAL))
	native.PutUint32(w.extend(4), uint32(errno))
	request := w.begin(0x10, flagRequest, 1, 2)
	w.extend(40)
	w.end(request)
	copy(w.attr(attrErrorText, 8), "because\x00")
	repeated := w.b
	capped := append(append([]byte{}, repeated[:sizeErrorFixed]...), repeated[sizeErrorFixed+40:]...)
	for _, test := range []struct {
		flags   uint16
		payload []byte
		text    string
	}{
		{0, repeated, ""}, {flagTLVs, repeated, "because"}, {flagTLVs | flagCapped, capped, "because"}, {flagCapped, capped, ""},
		{flagTLVs | flagCapped, capped[:sizeErrorFixed], ""},
	} {
		if got, text, err := decodeError(test.flags, test.payload); got != syscall.EINVAL || text != test.text || err != nil {
			t.Errorf("flags %#x: %v, %q, %v", test.flags, got, text, err)
		}
	}
	for n := range sizeErrorFixed {
		if _, _, err := decodeError(flagTLVs, repeated[:n]); !isFormatError(err) {
			t.Errorf("%d octets: %v", n, err)
		}
	}
	native.PutUint32(repeated, 1)
	if _, _, err := decodeError(0, repeated); !isFormatError(err) {
		t.Error(err)
	}
}
