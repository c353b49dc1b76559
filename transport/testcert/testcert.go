// Package testcert makes throw-away certificates: an authority that lives in
// memory and issues certificates for routers, for tests and demonstrations. Its
// private key is never written anywhere, so nothing can be issued later.
//
//	ca, err := testcert.New()
//	sg1, err := ca.Issue("sg1.example.net")
//	err = os.WriteFile("ca.pem", ca.CertPEM(), 0o644)
package testcert

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// Lifetime is how long everything that this package makes is valid. It starts
// an hour early, for clocks that are behind.
const Lifetime = 24 * time.Hour

// Authority issues certificates. It may be used by several goroutines.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New makes an authority with a fresh ECDSA P-256 key.
func New() (*Authority, error) {
	template, err := newTemplate("throw-away authority")
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageCertSign
	key, cert, err := sign(template, nil)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// Issue makes a certificate, with a fresh ECDSA P-256 key, whose one subject
// alternative name is the given DNS name. It is good for dialing and accepting.
func (a *Authority) Issue(name string) (tls.Certificate, error) {
	template, err := newTemplate(name)
	if err != nil {
		return tls.Certificate{}, err
	}
	template.DNSNames = []string{name}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	key, cert, err := sign(template, a)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, nil
}

// Pool is the authority as a set of roots.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// CertPEM is the authority's own certificate.
func (a *Authority) CertPEM() []byte { return certPEM(a.cert.Raw) }

// ChainPEM is a certificate's chain, leaf first.
func ChainPEM(cert tls.Certificate) []byte {
	var out []byte
	for _, raw := range cert.Certificate {
		out = append(out, certPEM(raw)...)
	}
	return out
}

// KeyPEM is a certificate's private key in PKCS #8. It is not encrypted.
func KeyPEM(cert tls.Certificate) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("failed to encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

func certPEM(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func newTemplate(name string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("failed to make serial number: %w", err)
	}
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.Add(Lifetime),
		BasicConstraintsValid: true,
	}, nil
}

// sign makes a key and a certificate for it, signed by the authority, or by
// itself if there is none.
func sign(template *x509.Certificate, by *Authority) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to make key: %w", err)
	}
	if by == nil {
		by = &Authority{cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to sign certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to parse certificate: %w", err)
	}
	return key, cert, nil
}
