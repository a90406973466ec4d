package verifier

import (
	"time"

	"ampoule/format/hcert"
	"ampoule/trust"
)

// Model is how the life of a signing key bears on what it signed.
type Model string

const (
	// Shell: the key must be valid when the certificate is verified.
	Shell Model = "shell"
	// Chain: the key must have been valid when the certificate was signed, for
	// which there must be better evidence than the issuer's own word.
	Chain Model = "chain"
)

// Policy is what a verifier asks of the certificates of one domain.
type Policy struct {
	// Required are the checks that decide the outcome. A required check that is
	// unknown or was not made makes the outcome unknown.
	Required [steps]bool
	Profile  hcert.Profile
	Model    Model
	// AcceptIssuedAt lets the certificate's own iat stand as the time of signing
	// under the chain model, where no proof of that time is carried. The holder
	// of an expired key could back-date, so it is off by default.
	AcceptIssuedAt bool
	// RequireExpiry refuses a certificate without exp.
	RequireExpiry bool
	// ClockSkew is how far in the future iat and nbf may lie.
	ClockSkew time.Duration
	// Aliases are further codes under which trust lists have the domain.
	Aliases []trust.Domain
	// MaxAge is how old the bundle may be that the verifier goes by, counted from its
	// issue; 0: as old as its maker says.
	MaxAge time.Duration
	// StatusSchemes names the revocation scheme of each participant, or of all
	// under "*". Where one is named, the status check is required, loaded or not.
	StatusSchemes map[string]string
}

// DefaultPolicy is the policy of a domain unless an operator sets another:
// steps 1 to 7 are required everywhere, the rules in the ICVP domain.
func DefaultPolicy(d trust.Domain) Policy {
	p := Policy{Model: Shell}
	for s := StepRead; s <= StepSchema; s++ {
		p.Required[s] = true
	}
	switch d {
	case trust.ICVP:
		// A vaccination counts for years or for life, and no key lives so long.
		p.Model = Chain
		p.Required[StepRules] = true
	case trust.DCC:
		p.RequireExpiry = true
	}
	return p
}

// statusScheme returns the scheme named for a participant.
func (p *Policy) statusScheme(participant string) string {
	if s, ok := p.StatusSchemes[participant]; ok {
		return s
	}
	return p.StatusSchemes["*"]
}
