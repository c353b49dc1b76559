//go:build linux && lab

package uapi

import (
	"net"
	"testing"
)

// The commands whose SAs and policies are in testdata/kernel. To renew it:
//
//	go run ./lab/run -run Capture -keep results ./ipsecctx/xfrm/uapi
const key16 = "0x000102030405060708090a0b0c0d0e0f"

var captureStates = []string{
	"src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001 reqid 7 mode tunnel aead rfc4106(gcm(aes)) " + key16 + "a0a1a2a3 128 flag esn replay-window 64 sel src 10.0.0.0/24 dst 10.1.0.0/16",
	"src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x1002 mode transport enc cbc(aes) " + key16 + " auth-trunc hmac(sha256) " + key16 + key16[2:] + " 128 replay-window 32 replay-seq 5 replay-oseq 6",
	"src 2001:db8::1 dst 2001:db8::3 proto ah spi 0x1003 mode tunnel auth hmac(sha1) 0x000102030405060708090a0b0c0d0e0f10111213 flag af-unspec",
	"src 192.0.2.1 dst 192.0.2.4 proto esp spi 0x1004 mode tunnel aead rfc7539esp(chacha20,poly1305) " + key16 + key16[2:] + "b0b1b2b3 128 encap espinudp 4500 61000 198.51.100.9 replay-window 32",
	"src 192.0.2.1 dst 192.0.2.5 proto esp spi 0x1005 mode tunnel enc cbc(des3_ede) " + key16 + "1011121314151617 auth hmac(sha256) " + key16 + " mark 5 mask 0xff output-mark 0x60 mask 0xf0 if_id 9 extra-flag dont-encap-dscp limit packet-soft 100 limit packet-hard 200 limit byte-hard 5000 limit time-soft 60 limit time-use-hard 90 sel src 10.0.0.1/32 dst 10.1.0.1/32 proto udp sport 53 dport 54",
}

var capturePolicies = []string{
	"src 10.0.0.0/24 dst 10.1.0.0/16 dir out priority 100 tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel",
	"src 2001:db8:1::/48 dst ::/0 proto tcp dport 80 dir fwd priority 9 mark 1 mask 3 if_id 4 flag icmp limit packet-hard 77 tmpl src 2001:db8::1 dst 2001:db8::2 proto esp spi 0x77 mode tunnel level use tmpl src 2001:db8::1 dst 2001:db8::2 proto ah mode transport",
	"src 0.0.0.0/0 dst 0.0.0.0/0 dir in action block priority 4000000",
}

func TestCapture(t *testing.T) {
	c := namespace(t)
	held := newCapture(t)
	for _, s := range captureStates {
		held.say("ip xfrm state add " + s)
		ip(t, "xfrm state add "+s)
	}
	for _, p := range capturePolicies {
		held.say("ip xfrm policy add " + p)
		ip(t, "xfrm policy add "+p)
	}
	held.say("dumped: the SAs in the order of a hash table, the policies")
	held.dump(c, OpGetState)
	held.dump(c, OpGetPolicy)
	held.write("held.txt")
	if held.kept != len(captureStates)+len(capturePolicies) {
		t.Errorf("%d messages", held.kept)
	}
}

func TestCaptureEvents(t *testing.T) {
	c := namespace(t)
	told := newCapture(t)
	groups := []Group{GroupAcquire, GroupExpire, GroupStates, GroupPolicies, GroupAEvents}
	run := func(words string) {
		told.say("ip " + words)
		told.events(c, groups, 1, func() { ip(t, words) })
	}
	run("xfrm state add " + captureStates[0])
	run("xfrm state update " + captureStates[0])
	run("xfrm state delete src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x1001")
	ip(t, "xfrm state add "+captureStates[0])
	run("xfrm state flush")
	run("xfrm policy add " + capturePolicies[0])
	run("xfrm policy update " + capturePolicies[0])
	run("xfrm policy delete src 10.0.0.0/24 dst 10.1.0.0/16 dir out")
	ip(t, "xfrm policy add "+capturePolicies[0])
	run("xfrm policy flush")

	outside(t, "10.0.0.1/8")
	ip(t, "xfrm policy add src 10.0.0.1 dst 10.1.0.1 dir out tmpl src 192.0.2.1 dst 192.0.2.2 proto esp reqid 7 mode tunnel")
	told.say("a UDP packet from 10.0.0.1 to 10.1.0.1 without an SA for it")
	told.events(c, groups, 1, func() { send(t, "10.0.0.1", "10.1.0.1") })

	ip(t, "xfrm state add src 10.0.0.1 dst 10.0.0.3 proto esp spi 9 reqid 8 mode transport aead rfc4106(gcm(aes)) "+key16+"a0a1a2a3 128 limit packet-soft 1 limit packet-hard 2")
	ip(t, "xfrm policy add src 10.0.0.1 dst 10.0.0.3 dir out tmpl src 10.0.0.1 dst 10.0.0.3 proto esp reqid 8 mode transport")
	told.say("UDP packets to 10.0.0.3 under an SA with limit packet-soft 1 limit packet-hard 2")
	told.events(c, groups, 3, func() {
		for range 3 {
			send(t, "10.0.0.1", "10.0.0.3")
		}
	})
	told.write("told.txt")
}

// outside gives the test's namespace a link with an address: the loopback knows
// no policies.
func outside(t testing.TB, address string) {
	t.Helper()
	ip(t, "link add v0 type veth peer name v1")
	ip(t, "link set v1 up")
	ip(t, "link set v0 up")
	ip(t, "address add "+address+" dev v0")
}

// send sends a UDP packet, whatever becomes of it.
func send(t testing.TB, from, to string) {
	t.Helper()
	s, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.ParseIP(to), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Write([]byte("x"))
}
