package testcert_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/cxtp/cxtp/transport/testcert"
)

func TestIssuedCertificateVerifies(t *testing.T) {
	ca, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Issue("sg1.example.net")
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := testcert.KeyPEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	// Everything goes through PEM, as it does for a program that reads files.
	pair, err := tls.X509KeyPair(testcert.ChainPEM(cert), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.CertPEM()) || !roots.Equal(ca.Pool()) {
		t.Fatal("the authority's PEM is not its certificate")
	}
	other, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
		options := x509.VerifyOptions{Roots: roots, DNSName: "sg1.example.net", KeyUsages: []x509.ExtKeyUsage{usage}}
		if _, err := pair.Leaf.Verify(options); err != nil {
			t.Error(err)
		}
		options.Roots = other.Pool()
		if _, err := pair.Leaf.Verify(options); err == nil {
			t.Error("another authority vouches for it")
		}
	}
}
