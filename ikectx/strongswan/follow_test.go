package strongswan

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ikectx/ikev2"
	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/ipsecctx"
)

// follower is the lineage of a client that has to follow.
func follower(conditions ha.Conditions) *lineage {
	octets := func(first byte) []byte { return bytes.Repeat([]byte{first}, 32) }
	return &lineage{
		generations: []generation{{number: 1, add: &ha.IKEAdd{
			SA:       ha.SAID{IKEVersion: 2, SPIi: 0xa1, SPIr: 0xb2},
			Proposal: ha.Proposal{Encr: ipsecctx.EncrAESGCM16, EncrBits: 128, PRF: ikev2.PRFHMACSHA2256, KE: 31},
			NonceI:   octets(1), NonceR: octets(2), Secret: secret.New(octets(3)),
		}}},
		update: ha.IKEUpdate{
			LocalAddr: netip.MustParseAddrPort("192.0.2.12:4500"), RemoteAddr: netip.MustParseAddrPort("198.51.100.2:4500"),
			Conditions: &conditions,
		},
	}
}

// TestNotice: who decides about addresses is asked, and who does not is told.
func TestNotice(t *testing.T) {
	for _, c := range []struct {
		conditions ha.Conditions
		want       []ikev2.NotifyType
	}{
		{0, []ikev2.NotifyType{ikev2.NoAdditionalAddresses, ikev2.Cookie2}},
		{ha.CondOriginalInit, []ikev2.NotifyType{ikev2.UpdateSAAddresses, ikev2.NATDetectionSourceIP, ikev2.NATDetectionDestinationIP, ikev2.Cookie2}},
	} {
		n, err := follower(c.conditions).notice(5, 1, true)
		if err != nil {
			t.Fatal(err)
		}
		sa, err := follower(c.conditions).speaker()
		if err != nil {
			t.Fatal(err)
		}
		sa.Initiator = true // the client, to which the gateway speaks
		m, err := sa.Open(n.datagrams[0])
		if err != nil {
			t.Fatal(err)
		}
		notifies, err := m.Notifies()
		if err != nil {
			t.Fatal(err)
		}
		var got []ikev2.NotifyType
		for _, one := range notifies {
			got = append(got, one.Type)
		}
		if m.ID != 5 || m.Exchange != ikev2.Informational || m.Response || !slices.Equal(got, c.want) {
			t.Errorf("the client gets %+v with %v, want %v", m, got, c.want)
		}
	}
}

// TestCannotBeTold: a session is refused, and not left behind later, whose messages
// cannot be made.
func TestCannotBeTold(t *testing.T) {
	l := follower(0)
	l.current().add.Proposal.Encr = 23 // Camellia in CBC mode
	if err := l.canFollow(t.Context(), &ikectx.Session{}); !errors.Is(err, ikev2.ErrTransform) {
		t.Errorf("error %v", err)
	}
}

// client answers what comes over a connection: it is told how often it has come.
func client(conn net.Conn, answer func(copy int, request []byte) [][]byte) {
	buffer := make([]byte, 1<<16)
	for copies := 1; ; copies++ {
		n, err := conn.Read(buffer)
		if err != nil {
			return
		}
		for _, b := range answer(copies, buffer[:n]) {
			if _, err := conn.Write(b); err != nil {
				return
			}
		}
	}
}

// TestFollow: the notice is repeated, octet for octet, until the client has answered
// just this request.
func TestFollow(t *testing.T) {
	l := follower(0)
	sa, err := l.speaker()
	if err != nil {
		t.Fatal(err)
	}
	theirs := *sa
	theirs.Initiator = true
	n, err := l.notice(5, 1, true)
	if err != nil {
		t.Fatal(err)
	}
	response := func(id uint32, payloads ...ikev2.Payload) []byte {
		b, err := theirs.Seal(&ikev2.Message{Exchange: ikev2.Informational, Response: true, ID: id, Payloads: payloads})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	cookie := n.last.Payloads[1]
	yes := response(5, cookie)
	damaged := slices.Clone(yes)
	damaged[len(damaged)-1] ^= 1
	var refused *ikev2.RefusedError
	for _, c := range []struct {
		name   string
		answer [][]byte
		from   int // the copy that is answered
		copies int
		want   func(error) bool
	}{
		{"at once", [][]byte{yes}, 1, 1, func(err error) bool { return err == nil }},
		{"at last", [][]byte{yes}, 4, 4, func(err error) bool { return err == nil }},
		{"behind others' octets", [][]byte{nil, {0}, damaged, response(4, cookie), n.datagrams[0], yes}, 1, 1, func(err error) bool { return err == nil }},
		{"never", nil, 1, 8, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"to a later request alone", [][]byte{response(6)}, 1, 1, func(err error) bool { return err == nil }},
		{"to another request", [][]byte{response(4, cookie)}, 1, 8, func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"to an older request of this ID", [][]byte{response(5)}, 1, 1, func(err error) bool { return errors.Is(err, ikev2.ErrCookie) }},
		{"no", [][]byte{response(5, ikev2.Notify{Type: ikev2.UnacceptableAddresses}.Payload())}, 1, 1, func(err error) bool { return errors.As(err, &refused) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				copies := 0
				go client(far, func(copy int, request []byte) [][]byte {
					if copies = copy; !bytes.Equal(request, n.datagrams[0]) {
						t.Errorf("copy %d has other octets", copy)
					}
					if copy < c.from {
						return nil
					}
					return c.answer
				})
				ctx, cancel := context.WithTimeout(t.Context(), settleTime)
				defer cancel()
				if err := n.tell(ctx, near, sa); !c.want(err) {
					t.Errorf("error %v", err)
				}
				near.Close()
				synctest.Wait()
				if copies != c.copies {
					t.Errorf("sent %d times, want %d", copies, c.copies)
				}
			})
		})
	}
}

// TestReach: an answer is the one to the probe.
func TestReach(t *testing.T) {
	for name, answered := range map[string]bool{"answered": true, "not answered": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				go client(far, func(copy int, request []byte) [][]byte {
					answer := slices.Clone(request)
					answer[17], answer[19] = 0x20, 0x20 // version 2, a response
					if !answered {
						answer[0]++
					}
					return [][]byte{answer}
				})
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := reach(ctx, near); (err == nil) != answered {
					t.Errorf("error %v", err)
				}
				near.Close()
			})
		})
	}
}

// TestPath: what one end makes the other understands, and nothing else that comes
// for the port.
func TestPath(t *testing.T) {
	message := []byte("an IKE message, as far as a path is concerned")
	for _, ports := range [][2]uint16{{4500, 4500}, {4500, 50000}, {500, 500}} {
		gateway := netip.AddrPortFrom(netip.MustParseAddr("192.0.2.12"), ports[0])
		node := netip.AddrPortFrom(netip.MustParseAddr("198.51.100.2"), ports[1])
		p, back := &path{local: gateway, remote: node}, &path{local: node, remote: gateway}
		d := p.datagram(message)
		if int(d[4])<<8|int(d[5]) != len(d) {
			t.Errorf("%v: length % x of %d octets", ports, d[4:6], len(d))
		}
		if got, ok := back.message(d); !ok || !bytes.Equal(got, message) {
			t.Errorf("%v: the other end reads %q", ports, got)
		}
		if ports[0] != ports[1] {
			if _, ok := p.message(d); ok {
				t.Errorf("%v: a datagram of ours passes for the client's", ports)
			}
		}
		for size := range udpHeader + len(p.marker()) {
			if _, ok := back.message(d[:size]); ok {
				t.Errorf("%v: %d octets pass for a message", ports, size)
			}
		}
	}
	esp := (&path{local: netip.MustParseAddrPort("192.0.2.1:4500"), remote: netip.MustParseAddrPort("192.0.2.2:4500")})
	d := esp.datagram(message)
	d[udpHeader+3] = 1
	if _, ok := esp.message(d); ok {
		t.Error("ESP passes for a message")
	}
}
