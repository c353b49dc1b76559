package config_test

import (
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/config"
)

// TestBad changes one thing in a good configuration and wants exactly these
// messages, one a line.
func TestBad(t *testing.T) {
	tests := []struct {
		name     string
		old, new string // replaced in minimal; no old: new is appended
		want     string
	}{
		{"syntax", `name = "sg1"`, `name = sg1`,
			`sg.toml:1:8: unexpected character U+0073 's' at start of value`},
		{"unknown key", `[node]`, "lisen = \"x\"\n[node]",
			`sg.toml:8:1: unknown key "transport.lisen": remove it or correct its spelling`},
		{"unknown section", `[node]`, "[colour]\nred = 1\n[node]",
			`sg.toml:8:2: unknown key "colour": remove it or correct its spelling`},
		{"unknown keys", "", "a = 1\nb = 2\n",
			"sg.toml:18:1: unknown key \"peer.a\": remove it or correct its spelling\n" +
				`sg.toml:19:1: unknown key "peer.b": remove it or correct its spelling`},
		{"bad address", `["192.0.2.1"]`, `["192.0.2"]`,
			`sg.toml:2:12: address: ParseAddr("192.0.2"): IPv4 address too short`},
		{"wrong type", `address = ["192.0.2.1"]`, `address = 5`,
			`sg.toml:2:11: address: this is of the TOML type integer: write a list in square brackets`},
		{"text for a switch", "", `push = "yes"`,
			`sg.toml:18:8: peer.push: this is of the TOML type string: write true or false`},
		{"text for a number", "", `max_sessions = "5"`,
			`sg.toml:18:16: peer.max_sessions: this is of the TOML type string: write a number without quotes`},
		{"time without a unit", "", "[timers]\ngrace = 100",
			`sg.toml: "100" is no duration: write a number and a unit, for example "200ms", "5s" or "1m"`},
		{"text for a table", `name = "sg1"`, "name = \"sg1\"\nstandby = \"sg2\"",
			`sg.toml:2:11: standby: this is of the TOML type string: write a table`},
		{"bad mode", `[transport]`, "mode = \"fast\"\n[transport]",
			`sg.toml:3:8: mode: "fast" is no mode: write "lossless" or "strict"`},
		{"bad pull", "", `pull = "push"`,
			`sg.toml:18:8: peer.pull: "push" is no pull policy: write "off", "stage" or "move"`},
		{"bad duration", "", "[timers]\ngrace = \"100\"",
			`sg.toml:19:9: timers.grace: "100" is no duration: write a number and a unit, for example "200ms", "5s" or "1m"`},
		{"key twice", `name = "sg1"`, "name = \"sg1\"\nname = \"sg3\"",
			`sg.toml:2:1: name: key name is already defined`},

		{"no name", `name = "sg1"`, ``,
			`sg.toml: name is missing: set it, for example name = "sg1"`},
		{"empty name", `name = "sg1"`, `name = ""`,
			`sg.toml: name is missing: set it, for example name = "sg1"`},
		{"no address", `address = ["192.0.2.1"]`, ``,
			`sg.toml: address is missing: set it, for example address = ["192.0.2.1"]`},
		{"wildcard address", `["192.0.2.1"]`, `["::"]`,
			`sg.toml: address has "::": write the address that other routers know it by`},
		{"mapped address", `["192.0.2.1"]`, `["::ffff:192.0.2.1"]`,
			`sg.toml: address has ::ffff:192.0.2.1, which messages cannot carry: write 192.0.2.1`},
		{"empty state_dir", `[transport]`, "state_dir = \"\"\n[transport]",
			`sg.toml: state_dir is missing: set it, for example state_dir = "/var/lib/cxtpd"`},
		{"no certificate or key", "certificate = \"sg1.pem\"\nkey = \"pki/sg1.key\"", ``,
			"sg.toml: transport.certificate is missing: set it, for example certificate = \"sg1.pem\"\n" +
				`sg.toml: transport.key is missing: set it, for example key = "sg1.key"`},
		{"wildcard outside", `203.0.113.1:4500`, `0.0.0.0:4500`,
			`sg.toml: gateway.announce is missing, and gateway.outside is the wildcard 0.0.0.0:4500: set it to what nodes can reach, for example announce = ["203.0.113.1:4500"]`},
		{"announced wildcard", `[[peer]]`, "announce = [\"[::]:4500\"]\n[[peer]]",
			`sg.toml: gateway.announce has [::]:4500, which nothing can be sent to: write the address and the port that packets reach it at`},
		{"announced twice", `[[peer]]`, "announce = [\"192.0.2.8:1\", \"192.0.2.9:1\"]\n[[peer]]",
			`sg.toml: gateway.announce has both 192.0.2.8:1 and 192.0.2.9:1: keep one IPv4 and one IPv6 endpoint at most`},
		{"no next hop's port", `127.0.0.1:4601`, `127.0.0.1:0`,
			`sg.toml: gateway.next_hop has 127.0.0.1:0, which nothing can be sent to: write the address and the port that packets reach it at`},
		{"no queue", `[[peer]]`, "queue = 0\n[[peer]]",
			`sg.toml: gateway.queue is 0: set it to at least 1 packet`},
		{"nameless hook", "", "[steering]\nhook = [\"\", \"x\"]\ntimeout = \"0s\"",
			"sg.toml: steering.hook names no program: begin it with the path of one, or leave it empty\n" +
				`sg.toml: steering.timeout is 0s: set it to more than 0s`},
		{"zero timer", "", "[timers]\nupdate_repeat = \"0s\"",
			`sg.toml: timers.update_repeat is 0s: set it to more than 0s, or leave it out for its default`},
		{"negative grace", "", "[timers]\ngrace = \"-1s\"",
			`sg.toml: timers.grace is -1s: set it to 0s or more`},
		{"lease that one lost renewal would end", "", "[timers]\nlease = \"1s\"",
			`sg.toml: timers.lease is 1s: set it to twice timers.standby_every or more, so that one lost renewal freezes nothing, or to 0s`},
		{"unknown standby", "", "[standby]\npeer = \"sg9\"",
			`sg.toml: standby.peer is "sg9", and there is no [[peer]] of that name`},
		{"no renewals", "", "[standby]\nrate = 0",
			`sg.toml: standby.rate is 0: set it to at least 1 renewal a second`},
		{"repeat above its maximum", "", "[timers]\nrepeat = \"2s\"",
			`sg.toml: timers.repeat_max is 1s, below timers.repeat: set it to at least 2s`},

		{"no requests and no attempts", "", "[limits]\nrequest_rate = 0\nattempts = -1",
			"sg.toml: limits.request_rate is 0: set it to 1 or more, or leave it out for its default\n" +
				`sg.toml: limits.attempts is -1: set it to 1 or more, or leave it out for its default`},

		{"nameless peer", "", "[[peer]]\naddress = [\"192.0.2.3\"]",
			`sg.toml: peer[2].name is missing: set it, for example name = "sg2"`},
		{"itself as a peer", `name = "sg2"`, `name = "sg1"`,
			`sg.toml: peer "sg1": name is this router's own: list only the other routers`},
		{"peer twice", "", peer("sg2", "192.0.2.3", ""),
			`sg.toml: peer "sg2": name is listed twice: keep one [[peer]] for each router`},
		{"identity twice", "", peer("sg3", "192.0.2.3", `identity = "SG2"`),
			`sg.toml: peer "sg3": identity is "SG2", as that of peer "sg2": each router needs a certificate of its own`},
		{"address of another", "", peer("sg3", "192.0.2.2", ""),
			`sg.toml: peer "sg3": address has 192.0.2.2, which is "sg2"'s: give each router addresses of its own`},
		{"address of this router", `["192.0.2.2"]`, `["192.0.2.1"]`,
			`sg.toml: peer "sg2": address has 192.0.2.1, which is "sg1"'s: give each router addresses of its own`},
		{"peer without address and inside", "address = [\"192.0.2.2\"]\ninside = \"127.0.0.1:4700\"", ``,
			"sg.toml: peer \"sg2\": address is missing: set it, for example address = [\"192.0.2.2\"]\n" +
				`sg.toml: peer "sg2": inside is missing: set it, for example inside = "127.0.0.1:4700"`},
		{"endpoint without port", "", `endpoint = "198.51.100.2"`,
			`sg.toml: peer "sg2": endpoint is "198.51.100.2": write host:port, for example "198.51.100.2:5091"`},
		{"endpoint with a service", "", `endpoint = "sg2.example:cxtp"`,
			`sg.toml: peer "sg2": endpoint is "sg2.example:cxtp": write host:port, for example "198.51.100.2:5091"`},
		{"negative bound", "", `max_sessions = -1`,
			`sg.toml: peer "sg2": max_sessions is -1: set it to 1 or more, or leave it out for its default`},
		{"unmasked prefix", "", `inner = ["10.1.2.3/16"]`,
			`sg.toml: peer "sg2": inner has 10.1.2.3/16 with bits beyond its length: write 10.1.0.0/16`},
		{"insecure SCTP without SCTP", `[node]`, "insecure_sctp = true\n[node]",
			`sg.toml: transport.insecure_sctp is for transport.carrier = "sctp" alone: take it away`},
		{"unknown carrier", `[node]`, "carrier = \"stcp\"\n[node]",
			`sg.toml: transport.carrier is "stcp": write "dtls" or "sctp"`},
		{"SCTP on a wildcard, with a key log", `listen = "127.0.0.1:5091"`, "listen = \"[::]:5091\"\ncarrier = \"sctp\"\ninsecure_key_log = \"x\"",
			"sg.toml: transport.listen is the wildcard [::]:5091: write the one address that the IPsec policies are for\n" +
				"sg.toml: transport.insecure_key_log is for transport.carrier = \"dtls\" alone: take it away\n" +
				`sg.toml: peer "sg2": endpoint is "": write the address and port that it sends from, which is all that it is known by, for example "198.51.100.2:5091"`},
		{"kernel without a word on it", "[gateway]", "[gateway]\nkind = \"kernel\"",
			"sg.toml: kernel.protect is missing: set it, for example protect = [\"10.9.0.0/16\"]\n" +
				"sg.toml: kernel.outside is missing: set it, for example outside = \"eth0\"\n" +
				"sg.toml: kernel.inside is missing: set it, for example inside = \"eth1\"\n" +
				`sg.toml: peer "sg2": via is missing: set it, for example via = ["10.0.0.2"]`},
		{"no kind of gateway", "[gateway]", "[gateway]\nkind = \"linux\"",
			`sg.toml: gateway.kind is "linux": write "userspace", "kernel" or "strongswan"`},
		{"charon elsewhere", "[gateway]", "[strongswan]\nagent = \"192.0.2.7\"\nsegments = 1\n[kernel]\nprotect = [\"10.0.0.0/8\"]\ninside = \"a\"\noutside = \"b\"\n[gateway]\nannounce = [\"192.0.2.8:4500\"]\nkind = \"strongswan\"",
			"sg.toml: strongswan.agent is 192.0.2.7: keys pass there in the clear, so it has to be on the loopback interface\n" +
				"sg.toml: strongswan.segments is 1: set charon.plugins.ha.segment_count to 16, and this too\n" +
				`sg.toml: peer "sg2": via is missing: set it, for example via = ["10.0.0.2"]`},
		{"SPIs backwards", "[gateway]", "[kernel]\nprotect = [\"10.0.0.0/8\"]\ninside = \"a\"\noutside = \"b\"\nspis = [4096, 256]\nmark = 3\nmark_mask = 1\n[gateway]\nannounce = [\"192.0.2.8:4500\"]\nkind = \"kernel\"",
			"sg.toml: kernel.spis is [4096 256]: write the first and the last number, from 256 on\n" +
				"sg.toml: kernel.mark has bits that kernel.mark_mask does not look at: set the mask to 0x3, for example\n" +
				`sg.toml: peer "sg2": via is missing: set it, for example via = ["10.0.0.2"]`},
		{"plain standby", "", "plain = true\n[standby]\npeer = \"sg2\"",
			`sg.toml: standby.peer is "sg2", and that is plain: a standby needs our control profile`},
		{"links", "", "multicast = \"2001:db8::/48\"\n[multicast]\nprefixes = [\"192.0.2.0/24\", \"2001:db8::1/64\", \"2001:db8::/65\"]",
			"sg.toml: multicast.prefixes has 192.0.2.0/24: write an IPv6 prefix of at most 64 bits\n" +
				"sg.toml: multicast.prefixes has 2001:db8::1/64 with bits beyond its length: write 2001:db8::/64\n" +
				"sg.toml: multicast.prefixes has 2001:db8::/65: write an IPv6 prefix of at most 64 bits\n" +
				`sg.toml: peer "sg2": multicast is 2001:db8::/48: the messages say 64 bits of it, so write the /64 that its nodes are in`},
		{"links twice", "", "[multicast]\nprefixes = [\"2001:db8::/64\"]\ninterfaces = [\"\"]",
			"sg.toml: multicast.prefixes is set, and so is multicast.interfaces, whose prefixes are those of their addresses: keep one\n" +
				`sg.toml: multicast.interfaces is missing: set it, for example interfaces = ["br0"]`},
		{"reports without a link", "", "[multicast]\nreport = true",
			`sg.toml: multicast.report is true, and there is no link to report on: set multicast.interfaces`},
		{"shared addresses", "[gateway]", sharing(`"192.0.2.8", "::", "192.0.2.8", "fe80::1%eth0"`, "192.0.2.8:4500"),
			"sg.toml: kernel.shared has \"::\": write an address that nodes send to\n" +
				"sg.toml: kernel.shared has 192.0.2.8 twice: keep one\n" +
				"sg.toml: kernel.shared has \"fe80::1%eth0\": write an address that nodes send to\n" +
				"sg.toml: peer \"sg2\": outside is missing: set it, for example outside = [\"192.0.2.12\"]\n" +
				`sg.toml: peer "sg2": via is missing: set it, for example via = ["10.0.0.2"]`},
		{"nodes are told to leave the shared address", "[gateway]", sharing(`"192.0.2.8", "2001:db8::8"`, "192.0.2.9:4500"),
			"sg.toml: kernel.shared has 192.0.2.8, and gateway.announce does not: nodes would be told to leave it, so announce it\n" +
				"sg.toml: kernel.shared has 2001:db8::8, and gateway.announce does not: nodes would be told to leave it, so announce it\n" +
				"sg.toml: peer \"sg2\": outside is missing: set it, for example outside = [\"192.0.2.12\"]\n" +
				`sg.toml: peer "sg2": via is missing: set it, for example via = ["10.0.0.2"]`},
		{"a peer at the shared address", "[gateway]\noutside = \"203.0.113.1:4500\"\ninside = \"127.0.0.1:4600\"\nnext_hop = \"127.0.0.1:4601\"", sharing(`"192.0.2.8"`, "192.0.2.8:4500") + "\n[[peer]]\nname = \"sg3\"\naddress = [\"192.0.2.3\"]\nvia = [\"10.0.0.3\"]\noutside = [\"192.0.2.8\"]",
			"sg.toml: peer \"sg3\": outside has 192.0.2.8, which is shared: write an address that is this peer's alone\n" +
				"sg.toml: peer \"sg2\": outside is missing: set it, for example outside = [\"192.0.2.12\"]\n" +
				`sg.toml: peer "sg2": via is missing: set it, for example via = ["10.0.0.2"]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text := minimal + test.new
			if test.old != "" {
				if text = strings.Replace(minimal, test.old, test.new, 1); text == minimal {
					t.Fatalf("%q is not in the configuration", test.old)
				}
			}
			_, err := config.Parse("sg.toml", []byte(text))
			if err == nil {
				t.Fatal("accepted")
			}
			if err.Error() != test.want {
				t.Errorf("got  %s\nwant %s", err, test.want)
			}
		})
	}
}

// sharing is a kernel gateway that shares addresses, and announces one.
func sharing(shared, announce string) string {
	return "[kernel]\nprotect = [\"10.0.0.0/8\"]\ninside = \"a\"\noutside = \"b\"\nshared = [" + shared + "]\n" +
		"[gateway]\nkind = \"kernel\"\nannounce = [\"" + announce + "\"]"
}

// peer is one more [[peer]] section.
func peer(name, address, more string) string {
	return "[[peer]]\nname = \"" + name + "\"\naddress = [\"" + address + "\"]\ninside = \"127.0.0.1:4701\"\n" + more
}

// FuzzParse looks for input that panics, or an error that does not name the
// file.
func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(config.Reference()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := config.Parse("sg.toml", data); err != nil && !strings.HasPrefix(err.Error(), "sg.toml:") {
			t.Errorf("%v", err)
		}
	})
}
