package issuer

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
)

// newUVCI makes a unique vaccination certificate identifier with an opaque
// body (eHealth Network, UVCI specification, option 3):
//
//	URN:UVCI:01:<country>:<opaque>#<check character>
//
// The body is 125 random bits: an identifier must not be guessable, since its
// hash may stand on a revocation list.
func newUVCI(country string, random io.Reader) (string, error) {
	if random == nil {
		random = rand.Reader
	}
	var body [16]byte
	if _, err := io.ReadFull(random, body[:]); err != nil {
		return "", fmt.Errorf("certificate identifier: %w", err)
	}
	opaque := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(body[:])[:25]
	id := "URN:UVCI:01:" + country + ":" + opaque
	return id + "#" + string(uvciCheck(id)), nil
}

// uvciAlphabet are the characters of an identifier.
const uvciAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/:"

// uvciCheck is the Luhn check character in the alphabet of the identifier
// (ISO/IEC 7812-1 annex B, modulus 38).
func uvciCheck(id string) byte {
	const n = len(uvciAlphabet)
	sum, factor := 0, 2
	for i := len(id) - 1; i >= 0; i-- {
		v := strings.IndexByte(uvciAlphabet, id[i]) * factor
		factor = 3 - factor
		sum += v/n + v%n
	}
	return uvciAlphabet[(n-sum%n)%n]
}
