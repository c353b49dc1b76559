package cli

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
)

// strong gives a node's file and its tokens keys that are long enough.
func strong(t *testing.T, config string) {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(`token_algorithm = "hmac-sha1"`+"\n", "", `"aabb"`, `"`+strings.Repeat("aa", 32)+`"`).Replace(string(text))
	for name, text := range map[string]string{config: changed, filepath.Join(filepath.Dir(config), "tokens"): "1 " + strings.Repeat("01", 32) + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// By default a node makes strong tokens, which say whether it is leaving.
func TestStrongNodeAsks(t *testing.T) {
	answers := make(chan *cxtp.CTAA, 1)
	router, ctars, _ := routerAt(t, answers)
	for _, c := range []struct {
		more     []string
		role     cxtp.Role
		pAR, nAR string
	}{
		{nil, cxtp.RoleArriving, "198.51.100.2", "198.51.100.1"},
		{[]string{"--leaving"}, cxtp.RoleLeaving, "198.51.100.1", "198.51.100.2"},
	} {
		config := nodeConfig(t, router.LocalAddr(), "")
		strong(t, config)
		answers <- &cxtp.CTAA{Previous: nodeAddr}
		args := append([]string{"mn", "--config", config, "--at", "198.51.100.1", "--naming", "198.51.100.2", "--once"}, c.more...)
		if got := run(t, nil, args...); got.code != exitDone {
			t.Fatalf("got %+v", got)
		}
		m := <-ctars
		token, err := cxtp.ParseStrongToken(m.Requests[len(m.Requests)-1])
		if err != nil {
			t.Fatal(err)
		}
		what := cxtp.Signed{Session: id, Previous: m.Previous, Sequence: m.Sequence, Requests: m.Requests}
		key := secret.New([]byte(strings.Repeat("\x01", 32)))
		if token.Role != c.role || token.PAR.String() != c.pAR || token.NAR.String() != c.nAR || token.Token() != m.Token || !token.Verify(key, what) {
			t.Errorf("%q: the token is %+v", c.more, token)
		}
	}
}

func TestStrongNodeNeedsLongKeys(t *testing.T) {
	router := netip.MustParseAddrPort("127.0.0.1:5092")
	for _, c := range []struct{ replace, by, err string }{
		{strings.Repeat("aa", 32), "aabb", "update_key: a key of 2 octets: hmac-sha256 needs one of at least 32"},
		{strings.Repeat("01", 32), "01", "token 1: a key of 1 octets: hmac-sha256 needs one of at least 32"},
		{`update_key`, `token_algorithm = "md5"` + "\nupdate_key", `"md5" is no token algorithm: write "hmac-sha256" or "hmac-sha1"`},
	} {
		config := nodeConfig(t, router, "")
		strong(t, config)
		for _, name := range []string{config, filepath.Join(filepath.Dir(config), "tokens")} {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(strings.Replace(string(text), c.replace, c.by, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := loadNode(config); err == nil || !strings.HasSuffix(err.Error(), c.err) {
			t.Errorf("%s for %s: error is %v, want %s", c.by, c.replace, err, c.err)
		}
	}
}

// The state of an agent in the middle of an exchange, and after it.
func TestStateHasKeys(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	key := func(b byte) secret.Key { return secret.New([]byte(strings.Repeat(string(rune(b)), 32))) }
	next := cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, Generation: 7, UpdateKey: key(1), Tokens: []cxtp.NumberedKey{{Number: 2, Key: key(2)}}}
	after := cxtp.NodeState{Algorithm: cxtp.AlgorithmHMACSHA256, Generation: 9, UpdateKey: key(3)}
	for _, want := range []cxtp.AgentState{
		{Number: 7, NextToken: 2, Next: &next, Gateway: cxtp.Share{1}, Own: cxtp.Share{2}},
		{Number: 9, NextToken: 2, Current: &next, Next: &after, Gateway: cxtp.Share{3}, Own: cxtp.Share{4}},
	} {
		if err := saveState(path, id, want); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the state's file is %v, %v", info, err)
		}
		if got, err := loadState(path, id); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
}

// A damaged state is an error that does not quote it.
func TestDamagedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	digits := hex.EncodeToString([]byte(randomText()))
	for name, text := range map[string]string{
		"no JSON":        digits,
		"no key":         `{"session":"` + idText + `","next":{"generation":7,"update_key":"` + digits + `x","tokens":[]}}`,
		"no token key":   `{"session":"` + idText + `","current":{"update_key":"` + digits + `","tokens":[{"number":1,"key":"` + digits + `x"}]}}`,
		"a short share":  `{"session":"` + idText + `","own_share":"` + digits[:62] + `"}`,
		"share not text": `{"session":"` + idText + `","gateway_share":"` + digits[:63] + `x"}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(path, id); err == nil || !strings.Contains(err.Error(), "is damaged") || strings.Contains(err.Error(), digits[:16]) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func randomText() string {
	octets := make([]byte, 32)
	rand.NewChaCha8([32]byte{1}).Read(octets)
	return string(octets)
}
