package config_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
)

// minimal has the keys without a default, and nothing else.
const minimal = `name = "sg1"
address = ["192.0.2.1"]
[transport]
listen = "127.0.0.1:5091"
certificate = "sg1.pem"
key = "pki/sg1.key"
ca = "/etc/ca.pem"
[node]
listen = "127.0.0.1:5092"
[gateway]
outside = "203.0.113.1:4500"
inside = "127.0.0.1:4600"
next_hop = "127.0.0.1:4601"
[[peer]]
name = "sg2"
address = ["192.0.2.2"]
inside = "127.0.0.1:4700"
`

func parse(t *testing.T, text string) *config.Config {
	t.Helper()
	c, err := config.Parse("/etc/cxtp/sg1.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestReferenceIsComplete parses the reference, and finds each field of Config
// in it.
func TestReferenceIsComplete(t *testing.T) {
	c := parse(t, config.Reference())
	if want := cxtp.DefaultTimers(); c.MachineTimers() != want {
		t.Errorf("timers %+v, want the defaults %+v", c.MachineTimers(), want)
	}
	var tree map[string]any
	if err := toml.Unmarshal([]byte(config.Reference()), &tree); err != nil {
		t.Fatal(err)
	}
	requireKeys(t, "", reflect.TypeFor[config.Config](), tree)
}

func requireKeys(t *testing.T, path string, typ reflect.Type, tree map[string]any) {
	t.Helper()
	for i := range typ.NumField() {
		field := typ.Field(i)
		key := field.Tag.Get("toml")
		value, ok := tree[key]
		if key == "" || !ok {
			t.Errorf("the reference lacks %s%s (%q)", path, field.Name, key)
		}
		switch v := value.(type) {
		case map[string]any:
			requireKeys(t, path+key+".", field.Type, v)
		case []any: // of the peers; other lists have no keys
			if len(v) > 0 && field.Type.Elem() == reflect.TypeFor[config.Peer]() {
				requireKeys(t, path+key+".", field.Type.Elem(), v[0].(map[string]any))
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	c := parse(t, minimal)
	want := &config.Config{
		Name: "sg1", Address: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		StateDir: "/var/lib/cxtpd", Control: "/run/cxtpd/control.sock", Mode: config.Mode(cxtp.ModeLossless),
		Transport: config.Transport{
			Carrier: config.DTLS, Listen: netip.MustParseAddrPort("127.0.0.1:5091"),
			Certificate: "/etc/cxtp/sg1.pem", Key: "/etc/cxtp/pki/sg1.key", CA: "/etc/ca.pem",
		},
		Node: config.Node{Listen: netip.MustParseAddrPort("127.0.0.1:5092")},
		Gateway: config.Gateway{
			Kind:     config.Userspace,
			Outside:  netip.MustParseAddrPort("203.0.113.1:4500"),
			Announce: []netip.AddrPort{netip.MustParseAddrPort("203.0.113.1:4500")},
			Inside:   netip.MustParseAddrPort("127.0.0.1:4600"),
			NextHop:  netip.MustParseAddrPort("127.0.0.1:4601"),
			Queue:    1024, SPIConflict: config.Deny,
		},
		Kernel: config.KernelGateway{
			Encapsulate: true, SPIs: []uint32{256, 0xffffffff}, ReqIDs: []uint32{0x40000000, 0x7fffffff}, Priority: 1000,
		},
		Charon: config.Charon{
			Vici: "/var/run/charon.vici", Agent: netip.MustParseAddr("127.0.0.2"), Charon: netip.MustParseAddr("127.0.0.1"), Segments: 16,
		},
		Steering: config.Steering{Timeout: config.Duration{Duration: 5 * time.Second}},
		Timers:   c.Timers, // compared below
		Standby:  config.Standby{Rate: 1000},
		Limits:   config.Limits{RequestRate: 10, RequestTotal: 1000, WrongTokens: 8, Attempts: 3},
		Peers: []config.Peer{{
			Name: "sg2", Address: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
			Identity: "sg2", Inside: netip.MustParseAddrPort("127.0.0.1:4700"), MaxSessions: 100_000,
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if c.MachineTimers() != cxtp.DefaultTimers() {
		t.Errorf("timers %+v", c.MachineTimers())
	}
}

// TestTimers sets each timer of the machine by its key, and only that.
func TestTimers(t *testing.T) {
	const other = 41 * time.Millisecond
	timers := reflect.TypeFor[config.Timers]()
	if machine := reflect.TypeFor[cxtp.Timers](); machine.NumField() != timers.NumField() {
		t.Fatalf("%d timers in the file, %d in the machine", timers.NumField(), machine.NumField())
	}
	for i := range timers.NumField() {
		field := timers.Field(i)
		text := minimal + "[timers]\n" + field.Tag.Get("toml") + ` = "41ms"` + "\n"
		want := cxtp.DefaultTimers()
		switch field.Name { // not without another one
		case "RepeatMax":
			text += `repeat = "40ms"` + "\n"
			want.Repeat = 40 * time.Millisecond
		case "Lease":
			text += `standby_every = "20ms"` + "\n"
			want.StandbyEvery = 20 * time.Millisecond
		}
		got := parse(t, text).MachineTimers()
		reflect.ValueOf(&want).Elem().FieldByName(field.Name).Set(reflect.ValueOf(other))
		if got != want {
			t.Errorf("%s: got %+v, want %+v", field.Name, got, want)
		}
	}
}

// TestLimits: CT_REQUEST_RATE is what the operator says (RFC 4067 section 6.3).
func TestLimits(t *testing.T) {
	got := parse(t, minimal+"[limits]\nrequest_rate = 25\nrequest_total = 4000\nwrong_tokens = 3\nattempts = 5\n").Limits
	if want := (config.Limits{RequestRate: 25, RequestTotal: 4000, WrongTokens: 3, Attempts: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestMachinePeers(t *testing.T) {
	c := parse(t, minimal+`identity = "gw2.example"
push = true
without_token = true
identities = ["a.example", "b.example"]
inner = ["10.1.0.0/16", "2001:db8:7::/48"]
max_sessions = 7
pull = "stage"
`)
	want := []cxtp.Peer{{
		ID: "sg2", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2")},
		Push: true, ActivateWithoutToken: true,
		Identities:  []string{"a.example", "b.example"},
		Inner:       []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("2001:db8:7::/48")},
		MaxSessions: 7, Pull: cxtp.PullStage,
	}}
	if got := c.MachinePeers(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if c.Peers[0].Identity != "gw2.example" {
		t.Errorf("identity %q", c.Peers[0].Identity)
	}
}

func TestMachineGateway(t *testing.T) {
	v4, v6 := parse(t, config.Reference()).MachineGateway()
	if v4.String() != "203.0.113.1:4500" || v6.String() != "[2001:db8:1::1]:4500" {
		t.Errorf("announced %v and %v", v4, v6)
	}
	if _, v6 := parse(t, minimal).MachineGateway(); v6.IsValid() {
		t.Errorf("announced %v for a family that is not served", v6)
	}
}

func TestSPIConflict(t *testing.T) {
	for _, word := range []config.SPIConflict{config.Deny, config.Renegotiate, config.Reassign} {
		text := strings.Replace(minimal, "[gateway]\n", "[gateway]\nspi_conflict = \""+string(word)+"\"\n", 1)
		if got := parse(t, text).Gateway.SPIConflict; got != word {
			t.Errorf("%s is read as %s", word, got)
		}
	}
	text := strings.Replace(minimal, "[gateway]\n", "[gateway]\nspi_conflict = \"take\"\n", 1)
	if _, err := config.Parse("sg1.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), `write "deny", "renegotiate" or "reassign"`) {
		t.Errorf("another word gives %v", err)
	}
}

func TestHookPath(t *testing.T) {
	for hook, want := range map[string]string{
		"steer": "steer", "./steer": "/etc/cxtp/steer", "bin/steer": "/etc/cxtp/bin/steer", "/bin/steer": "/bin/steer",
	} {
		c := parse(t, minimal+"[steering]\nhook = [\""+hook+"\", \"./x\"]\n")
		if c.Steering.Hook[0] != want || c.Steering.Hook[1] != "./x" {
			t.Errorf("hook %s became %q, want %s", hook, c.Steering.Hook, want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sg1.toml")
	if _, err := config.Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a missing file gives %v", err)
	}
	if err := os.WriteFile(path, []byte(minimal), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(filepath.Dir(path), "sg1.pem"); c.Transport.Certificate != want {
		t.Errorf("certificate %s, want %s", c.Transport.Certificate, want)
	}
}
