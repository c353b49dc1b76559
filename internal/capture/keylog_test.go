package capture

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	logRandom = strings.Repeat("a1", randomSize)
	logSecret = strings.Repeat("5e", masterSecretSize)
	logLine   = "CLIENT_RANDOM " + logRandom + " " + logSecret
)

func TestKeyLog(t *testing.T) {
	another := strings.ToUpper(strings.Replace(logLine, "a1", "b2", 1))
	text := "# comment\n\nCLIENT_TRAFFIC_SECRET_0 00 11\n" + logLine + "\r\n" + another + "\n" + logLine
	log, err := ReadKeyLog(strings.NewReader(text))
	if err != nil || log.Len() != 2 {
		t.Fatalf("%v, %v", log, err)
	}
	name := random(bytes.Repeat([]byte{0xa1}, randomSize))
	master, there := log.secrets[name]
	if !there || !bytes.Equal(master.Bytes(), bytes.Repeat([]byte{0x5e}, masterSecretSize)) {
		t.Error("the secret is another")
	}
	if shown := fmt.Sprintf("%v %+v %#v", log, *log, log); strings.Contains(shown, "5e5e") || strings.Contains(shown, "94, 94") {
		t.Errorf("the secret shows: %s", shown)
	}
	log.Wipe()
	if !bytes.Equal(master.Bytes(), make([]byte, masterSecretSize)) {
		t.Error("the secret is still there")
	}
}

func TestBadKeyLog(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"empty":         {"", "no line that begins with CLIENT_RANDOM"},
		"TLS 1.3":       {"CLIENT_TRAFFIC_SECRET_0 00 11\n", "no line that begins with CLIENT_RANDOM"},
		"a capture":     {"\xd4\xc3\xb2\xa1\x02", "no line that begins with CLIENT_RANDOM"},
		"no secret":     {logLine + "\nCLIENT_RANDOM " + logRandom, "line 2"},
		"short secret":  {logLine[:len(logLine)-2], "line 1"},
		"long random":   {"CLIENT_RANDOM " + logRandom + "a1 " + logSecret, "line 1"},
		"not a digit":   {"# x\n" + strings.Replace(logLine, "5e5e", "5g5e", 1), "line 2"},
		"bad random":    {strings.Replace(logLine, "a1", "x1", 1), "line 1"},
		"one word more": {logLine + " x", "line 1"},
		"endless line":  {strings.Repeat("x", 1<<20), "too long"},
	} {
		log, err := ReadKeyLog(strings.NewReader(test.text))
		if log != nil || err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
		if err != nil && (strings.Contains(err.Error(), "a1a1") || strings.Contains(err.Error(), "5e5e")) {
			t.Errorf("%s: %v quotes the line", name, err)
		}
	}
	broken := errors.New("no")
	if _, err := ReadKeyLog(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("a reader's error became %v", err)
	}
}
