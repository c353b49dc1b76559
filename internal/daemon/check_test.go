package daemon_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/daemon"
	"github.com/cxtp/cxtp/transport/testcert"
)

// TestCheck: a configuration whose certificates cannot be read is not good, and it is
// said which of them.
func TestCheck(t *testing.T) {
	ca, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("sg1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := testcert.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, data := range map[string][]byte{"ca.pem": ca.CertPEM(), "sg1.pem": testcert.ChainPEM(cert), "sg1.key": key} {
		write(t, filepath.Join(folder, name), data)
	}
	good := config.Transport{Carrier: config.DTLS, Certificate: filepath.Join(folder, "sg1.pem"), Key: filepath.Join(folder, "sg1.key"), CA: filepath.Join(folder, "ca.pem")}
	empty := filepath.Join(folder, "empty.pem")
	write(t, empty, nil)
	for _, test := range []struct {
		change func(*config.Transport)
		want   string // "" = it is good
	}{
		{func(*config.Transport) {}, ""},
		{func(c *config.Transport) { c.Key += ".old" }, "transport.key"},
		{func(c *config.Transport) { c.CA += ".old" }, "transport.ca"},
		{func(c *config.Transport) { c.CA = empty }, "no PEM certificate"},
		{func(c *config.Transport) { *c = config.Transport{Carrier: config.SCTP} }, ""},
	} {
		cfg := config.Config{Transport: good}
		test.change(&cfg.Transport)
		err := daemon.Check(&cfg)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: %v, want %q", cfg.Transport, err, test.want)
		}
	}
}
