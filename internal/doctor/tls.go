package doctor

import (
	"crypto/tls"
	"crypto/x509"
)

// readChain returns the certificates of a server, its own first, if the key is
// theirs.
func readChain(certificate, key string) (chain []*x509.Certificate, err error) {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, err
		}
		chain = append(chain, c)
	}
	return chain, nil
}
