package device

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"io"
	"strings"

	"ampoule/format"
)

// ErrClaim is what is no claim code, or one with a slip of the pen.
const ErrClaim format.Defect = "bad-claim-code"

// Claim is the code on the label of a device, by which whoever holds it makes it
// their own, once. Only its hash is kept.
//
//	label = "AMPOULE-CLAIM:" code                 ;; alphanumeric mode of QR codes
//	code  = 19 characters of Crockford's base32, 95 random bits, and one of check
type Claim struct{ symbols [claimLen]byte }

const (
	claimLen    = 20
	claimPrefix = "AMPOULE-CLAIM:"
	crockford   = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// NewClaim draws a code.
func NewClaim(random io.Reader) (Claim, error) {
	var c Claim
	if _, err := io.ReadFull(random, c.symbols[:claimLen-1]); err != nil {
		return Claim{}, fmt.Errorf("claim code: %w", err)
	}
	for i := range c.symbols {
		c.symbols[i] &= 31
	}
	c.symbols[claimLen-1] = c.check()
	return c, nil
}

// check is the sum of symbol i times 2^(i+1) in GF(32) of x^5+x^2+1. 2 generates the
// field, so no two of the factors are the same: one wrong symbol, and two that changed
// places, show.
func (c Claim) check() (sum byte) {
	for i := claimLen - 2; i >= 0; i-- {
		if sum = (sum ^ c.symbols[i]) << 1; sum&32 != 0 {
			sum ^= 0b100101
		}
	}
	return sum
}

// ParseClaim reads a code or a label, as people type them: in either case, with
// separators, I and L for 1, O for 0.
func ParseClaim(text string) (Claim, error) {
	if len(text) > 80 {
		return Claim{}, fmt.Errorf("claim code of %d characters: %w", len(text), ErrClaim)
	}
	text = strings.TrimPrefix(strings.ToUpper(strings.TrimSpace(text)), claimPrefix)
	text = strings.NewReplacer("-", "", " ", "", "I", "1", "L", "1", "O", "0").Replace(text)
	var c Claim
	if len(text) != claimLen {
		return Claim{}, fmt.Errorf("claim code of %d characters: %w", len(text), ErrClaim)
	}
	for i := range c.symbols {
		n := strings.IndexByte(crockford, text[i])
		if n < 0 {
			return Claim{}, fmt.Errorf("claim code: character %d: %w", i+1, ErrClaim)
		}
		c.symbols[i] = byte(n)
	}
	if c.symbols[claimLen-1] != c.check() {
		return Claim{}, fmt.Errorf("claim code: the last character does not fit the others: %w", ErrClaim)
	}
	return c, nil
}

// String is the code in four groups of five.
func (c Claim) String() string {
	var b strings.Builder
	for i, s := range c.symbols {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(crockford[s])
	}
	return b.String()
}

// Label is what the label says.
func (c Claim) Label() string { return claimPrefix + c.String() }

// Hash is what is kept of a code.
func (c Claim) Hash() Hash {
	return sha256.Sum256(append([]byte("ampoule device claim\x00"), c.symbols[:]...))
}

// Matches compares with a hash that was kept, in the same time whatever it is.
func (c Claim) Matches(kept Hash) bool {
	h := c.Hash()
	return subtle.ConstantTimeCompare(h[:], kept[:]) == 1
}
