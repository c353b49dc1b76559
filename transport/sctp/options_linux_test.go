package sctp

import (
	"encoding/hex"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"
)

func TestNotifications(t *testing.T) {
	change := func(state, cause uint16) []byte {
		b := native.AppendUint16(nil, eventAssocChange)
		b = native.AppendUint32(append(b, 0, 0), 20)
		b = native.AppendUint16(native.AppendUint16(b, state), cause)
		return native.AppendUint32(append(b, 1, 0, 1, 0), 77)
	}
	shutdown := native.AppendUint32(native.AppendUint32(native.AppendUint16(nil, eventShutdown), 0), 12)
	for _, test := range []struct {
		b    []byte
		want error
	}{
		{change(changeUp, 0), nil}, {change(changeRestart, 0), ErrRestarted}, {change(changeShutdown, 0), io.EOF},
		{change(changeLost, 12), ErrLost}, {shutdown, io.EOF},
	} {
		n, ok := parseNotification(test.b)
		if err := n.end(); !ok || !errors.Is(err, test.want) {
			t.Errorf("%x: %v, want %v", test.b, err, test.want)
		}
	}
	whole := change(changeUp, 3)
	if n, _ := parseNotification(whole); n.association != 77 || n.cause != 3 {
		t.Errorf("%+v", n)
	}
	for i := range whole {
		if _, ok := parseNotification(whole[:i]); ok {
			t.Errorf("%d octets of %d pass for a notification", i, len(whole))
		}
	}
}

// The layouts are linux/sctp.h's, on a machine with 64 bits and the least significant
// octet first.
func TestLayouts(t *testing.T) {
	if native.Uint16([]byte{1, 0}) != 1 {
		return // the numbers are another machine's
	}
	path := make([]byte, 156)
	copy(path[4:], []byte{2, 0, 0x13, 0xe3, 203, 0, 113, 2})
	for _, test := range []struct {
		name string
		got  []byte
		want string
	}{
		{"event", event(eventAssocChange), "00000000" + "0180" + "01" + "00"},
		{"final", sendControl(flagUnordered, 0),
			"2000000000000000" + "84000000" + "02000000" + "0000" + "0100" + "43585450" + "0000000000000000"},
		{"stage", sendControl(flagUnordered, 200*time.Millisecond),
			"2000000000000000" + "84000000" + "02000000" + "0000" + "0100" + "43585450" + "0000000000000000" +
				"1800000000000000" + "84000000" + "05000000" + "1000" + "0000" + "c8000000"},
		{"path", pathParameters(netip.MustParseAddrPort("203.0.113.2:5091")), hex.EncodeToString(path)},
	} {
		if got := hex.EncodeToString(test.got); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// A lifetime is never rounded down to none, which would be a message that never expires.
func TestShortLifetime(t *testing.T) {
	b := sendControl(flagUnordered, time.Microsecond)
	if ms := native.Uint32(b[len(b)-4:]); ms != 1 {
		t.Errorf("%d ms, want 1", ms)
	}
}
