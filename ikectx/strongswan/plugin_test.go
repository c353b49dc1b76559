package strongswan

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/semaphore"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

func TestVersionOf(t *testing.T) {
	for release, want := range map[string]ha.Version{
		"5.9.8": ha.Version3, "5.9.14": ha.Version3, "6.0.0": ha.Version3, "6.0.1": ha.Version4, "6.0.2": ha.Version5,
		"6.0.6": ha.Version5, "5.9.14rc1": ha.Version3, "6.0.7": 0, "6.1.0": ha.Version5, "6.1.1": 0, "6.2.0": 0, "4.6.4": 0, "": 0, "six": 0,
	} {
		got, err := versionOf(release)
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("strongSwan %q: %v, error %v; want %v", release, got, err, want)
		}
	}
}

// TestAddressIn: addresses stand for the segments that they are used for, and for
// no client.
func TestAddressIn(t *testing.T) {
	for count := 2; count <= 16; count++ {
		for segment := 1; segment <= count; segment++ {
			a := addressIn(segment, count).Addr()
			if ha.Segment(a, count) != segment || !a.Is4() || located(netip.AddrPortFrom(a, 4500)) {
				t.Errorf("segment %d of %d: %s is in %d", segment, count, a, ha.Segment(a, count))
			}
		}
	}
}

// TestLastSegment: the address of a probe is in the last segment, however many there
// are, so that it tells one number from another.
func TestLastSegment(t *testing.T) {
	last := addressIn(maxSegments, maxSegments).Addr()
	for count := 1; count <= maxSegments; count++ {
		if got := ha.Segment(last, count); got != count {
			t.Errorf("of %d segments it is in %d", count, got)
		}
	}
}

// TestCatchUp: what the plugin has said before is known after, whoever reads it.
func TestCatchUp(t *testing.T) {
	charon, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer charon.Close()
	conn, err := net.DialUDP("udp4", nil, charon.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := &plugin{conn: conn}
	p.catchUp() // nobody listens yet
	var heard atomic.Int32
	done := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	receiving := make(chan struct{}, 1)
	go func() {
		done <- p.receive(ctx, func(m ha.Message, err error) {
			if err == nil && m.Body.Type() == ha.TypeSegmentDrop {
				heard.Add(1)
			}
			receiving <- struct{}{}
		})
	}()
	said, err := ha.Message{Version: ha.Version3, Body: makeActive(2)}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	say := func() {
		if _, err := charon.WriteTo(said, conn.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	say()
	<-receiving
	for n := int32(2); n < 100; n++ {
		say()
		p.catchUp()
		if got := heard.Load(); got != n {
			t.Fatalf("after %d messages %d are known", n, got)
		}
		<-receiving
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFewest: the stage is where the fewest clients are, and never the car park.
func TestFewest(t *testing.T) {
	w := switcher{segments: 4}
	w.crowd = func() (all []netip.Addr) {
		for _, segment := range []int{2, 2, 3, 4, 4} {
			all = append(all, addressIn(segment, 4).Addr())
		}
		return all
	}
	if got := w.fewest(); got != 3 {
		t.Errorf("the stage is segment %d, want 3", got)
	}
	w.crowd = func() []netip.Addr { return nil }
	if got := w.fewest(); got == carPark {
		t.Error("the stage is the car park")
	}
}

// TestTell: what was told and has not been seen to have arrived is never more than
// charon has room for, and is told again when nothing is seen of it.
func TestTell(t *testing.T) {
	charon, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer charon.Close()
	conn, err := net.DialUDP("udp", nil, charon.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := &plugin{conn: conn, room: semaphore.NewWeighted(roomForMessages)}
	p.speak(ha.Version3)
	words := []ha.Body{makePassive(1), makeActive(1), makePassive(2), makeActive(2)}
	told, seen := make(chan bool), make(chan bool)
	var tellers sync.WaitGroup
	for range roomForMessages / len(words) {
		tellers.Go(func() {
			err := p.tell(t.Context(), func(context.Context) error { told <- true; <-seen; return nil }, words...)
			if err != nil {
				t.Error(err)
			}
		})
		<-told
	}
	if p.room.TryAcquire(1) {
		t.Errorf("there is room for more than %d messages", roomForMessages)
	}
	close(seen)
	tellers.Wait()
	if !p.room.TryAcquire(roomForMessages) {
		t.Error("what was seen to have arrived takes room")
	}
	p.room.Release(roomForMessages)

	buffer := make([]byte, 100)
	for range roomForMessages {
		if _, err := charon.Read(buffer); err != nil {
			t.Fatal(err)
		}
	}
	again := 0
	err = p.tell(t.Context(), func(context.Context) error {
		for range words {
			if _, err := charon.Read(buffer); err != nil {
				t.Fatal(err)
			}
		}
		if again++; again < 3 {
			return context.DeadlineExceeded
		}
		return nil
	}, words...)
	if err != nil || again != 3 {
		t.Errorf("told %d times, %v", again, err)
	}
}
