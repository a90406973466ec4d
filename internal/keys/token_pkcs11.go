//go:build pkcs11

package keys

import (
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/ThalesGroup/crypto11"
	"github.com/miekg/pkcs11"
)

// HasPKCS11 says whether this program can use keys on hardware.
const HasPKCS11 = true

// tokenSessions bounds the sessions that are open with a token at once. A session
// is used by one call at a time, so they are pooled; a token has few.
const tokenSessions = 16

// token is a key on hardware. What breaks a session or the login (a card that was
// pulled, a network module that started anew) is mended once by opening it again;
// the second failure is told.
type token struct {
	from   *Token
	public crypto.PublicKey

	mu      sync.RWMutex // held for reading while the key signs
	context *crypto11.Context
	key     crypto11.Signer
}

// OpenToken opens a key on hardware.
func OpenToken(t *Token) (crypto.Signer, error) {
	k := &token{from: t}
	if err := k.open(); err != nil {
		return nil, err
	}
	k.public = k.key.Public()
	return k, nil
}

// MakeOnToken makes a P-256 key on the token under the label that t names, where
// none has it yet. The private half never leaves it.
func MakeOnToken(t *Token) (crypto.Signer, error) {
	if t.Object == "" || len(t.ID) == 0 {
		return nil, fmt.Errorf("keys: a new key has both object and id: %w", ErrTokenURI)
	}
	context, err := t.connect()
	if err != nil {
		return nil, err
	}
	defer context.Close()
	for _, have := range [...]struct{ id, label []byte }{{t.ID, nil}, {nil, []byte(t.Object)}} {
		if found, err := context.FindKeyPairs(have.id, have.label); err != nil {
			return nil, fmt.Errorf("keys: token: %w", err)
		} else if len(found) > 0 {
			return nil, fmt.Errorf("keys: the token has a key of that object or id, and it stays: %w", ErrExists)
		}
	}
	if _, err := context.GenerateECDSAKeyPairWithLabel(t.ID, []byte(t.Object), elliptic.P256()); err != nil {
		return nil, fmt.Errorf("keys: token: %w", err)
	}
	return OpenToken(t)
}

// pin reads the file of the PIN.
func (t *Token) pin() (string, error) {
	data, err := readFile(t.PINSource)
	if err != nil {
		return "", err
	}
	defer clear(data)
	pin := strings.TrimRight(string(data), "\r\n")
	if pin == "" || len(pin) > 256 {
		return "", fmt.Errorf("keys: %s: a PIN has 1 to 256 bytes: %w", t.PINSource, ErrEmptySecret)
	}
	return pin, nil
}

func (t *Token) connect() (*crypto11.Context, error) {
	pin, err := t.pin()
	if err != nil {
		return nil, err
	}
	context, err := crypto11.Configure(&crypto11.Config{Path: t.Module, TokenLabel: t.Label, TokenSerial: t.Serial, Pin: pin, MaxSessions: tokenSessions})
	if err != nil {
		return nil, fmt.Errorf("keys: token %s%s: %v: %w", t.Label, t.Serial, err, ErrNoToken)
	}
	return context, nil
}

func (k *token) open() error {
	context, err := k.from.connect()
	if err != nil {
		return err
	}
	var label []byte
	if k.from.Object != "" {
		label = []byte(k.from.Object)
	}
	found, err := context.FindKeyPairs(k.from.ID, label)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%d keys, want one: %w", len(found), ErrNoTokenKey)
	}
	if err != nil {
		context.Close()
		return fmt.Errorf("keys: token: %w", err)
	}
	k.context, k.key = context, found[0]
	return nil
}

func (k *token) Public() crypto.PublicKey { return k.public }

// Sign signs a digest on the token.
func (k *token) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.mu.RLock()
	key := k.key
	signature, err := key.Sign(random, digest, opts)
	k.mu.RUnlock()
	if err == nil || !broken(err) {
		return signature, err
	}
	if err := k.reopen(key); err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.key.Sign(random, digest, opts)
}

// reopen opens the token anew, unless another call has done so since.
func (k *token) reopen(was crypto11.Signer) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.key != was {
		return nil
	}
	_ = k.context.Close() // what it says of a session that is gone tells nothing
	return k.open()
}

// broken reports whether an error is of the session and not of what was asked.
func broken(err error) bool {
	var code pkcs11.Error
	return errors.As(err, &code) && slices.Contains([]pkcs11.Error{
		pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED, pkcs11.CKR_USER_NOT_LOGGED_IN, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
		pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID,
	}, code)
}
