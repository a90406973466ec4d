package keys

import (
	"crypto/x509"

	"ampoule/trust"
)

// Lint returns what the WHO's onboarding would object to in a certificate, one
// sentence each, nil for a good one: see [trust.CheckProfile].
func Lint(c *x509.Certificate, role Role) []string {
	var found []string
	for _, o := range trust.CheckProfile(c, role) {
		found = append(found, o.Detail)
	}
	return found
}
