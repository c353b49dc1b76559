package route

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHeardLate reads answers when the time for them is over, as a process does that
// has stood still since it asked.
func TestHeardLate(t *testing.T) {
	for _, a := range []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")} {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := announcement(from, a)
		if err != nil {
			t.Fatal(err)
		}
		for _, frame := range [][]byte{{1, 2, 3}, answer, answer} {
			if _, err := unix.Write(pair[0], frame); err != nil {
				t.Fatal(err)
			}
		}
		found, err := heard(t.Context(), pair[1], a, time.Now().Add(-time.Second))
		if err != nil || len(found) != 1 || found[0].String() != from.String() {
			t.Errorf("%s is at %v, %v; want %s", a, found, err, from)
		}
		unix.Close(pair[0])
		unix.Close(pair[1])
	}
}
