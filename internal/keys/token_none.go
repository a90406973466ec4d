//go:build !pkcs11

package keys

import (
	"crypto"
	"fmt"
)

// HasPKCS11 says whether this program can use keys on hardware.
const HasPKCS11 = false

// OpenToken opens a key on hardware, which takes a program that was built with the
// tag pkcs11.
func OpenToken(*Token) (crypto.Signer, error) {
	return nil, fmt.Errorf("keys: build with -tags pkcs11 (make build TAGS=pkcs11), which needs a C compiler: %w", ErrNoPKCS11)
}

// MakeOnToken makes a key on hardware: see [OpenToken].
func MakeOnToken(t *Token) (crypto.Signer, error) { return OpenToken(t) }
