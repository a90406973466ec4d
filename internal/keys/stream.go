package keys

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
	"filippo.io/age/armor"
)

// Encrypt returns a writer that closes what is written to it with the lock, for
// files that are too large to be held. The file is whole once Close returned nil.
func (l Lock) Encrypt(w io.Writer) (io.WriteCloser, error) {
	if len(l.recipients) == 0 {
		return nil, fmt.Errorf("keys: %w", ErrEmptySecret)
	}
	out, err := age.Encrypt(w, l.recipients...)
	if err != nil {
		return nil, fmt.Errorf("keys: encrypting: %w", err)
	}
	return out, nil
}

// Decrypt returns a reader of what Encrypt was given. Its end is io.EOF for a whole
// file only; a file that was cut off or altered is an error that wraps ErrDamaged,
// after bytes that were not.
func (l Lock) Decrypt(r io.Reader) (io.Reader, error) {
	in := bufio.NewReaderSize(r, 64<<10)
	start, err := in.Peek(len(armor.Header))
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("keys: %w", err)
	}
	var source io.Reader = in
	switch {
	case string(start) == armor.Header:
		source = armor.NewReader(in)
	case len(start) < len(ageMagic) || string(start[:len(ageMagic)]) != ageMagic:
		return nil, fmt.Errorf("keys: it is no age file: %w", ErrDamaged)
	}
	if len(l.identities) == 0 {
		return nil, fmt.Errorf("keys: %w", ErrEncrypted)
	}
	out, err := age.Decrypt(source, l.identities...)
	if err != nil {
		var none *age.NoIdentityMatchError
		if errors.As(err, &none) {
			return nil, fmt.Errorf("keys: %w", ErrWrongSecret)
		}
		return nil, fmt.Errorf("keys: %v: %w", err, ErrDamaged)
	}
	return damagedReader{out}, nil
}

// damagedReader names every error but the end.
type damagedReader struct{ r io.Reader }

func (d damagedReader) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("keys: %v: %w", err, ErrDamaged)
	}
	return n, err
}

// NewIdentity makes an age identity for backups: X25519 and ML-KEM-768 together, as
// a copy that is taken today must stay closed for as long as the record is of use.
// It returns the content of an identity file and the recipient.
func NewIdentity() (file []byte, recipient string, err error) {
	i, err := age.GenerateHybridIdentity()
	if err != nil {
		return nil, "", fmt.Errorf("keys: identity: %w", err)
	}
	recipient = i.Recipient().String()
	return fmt.Appendf(nil, "# public key: %s\n%s\n", recipient, i), recipient, nil
}
