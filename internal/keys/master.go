package keys

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/pem"
	"fmt"
	"io"
)

// MasterKey is the one secret under which an issuer's store keeps records: the
// keys of records are wrapped by keys that are derived from it, and so is the key
// of the blind index. Without it neither the store nor any backup tells anything.
type MasterKey struct{ secret [sha256.Size]byte }

// NewMasterKey makes a master key.
func NewMasterKey(random io.Reader) (*MasterKey, error) {
	k := new(MasterKey)
	if _, err := io.ReadFull(random, k.secret[:]); err != nil {
		return nil, fmt.Errorf("keys: master key: %w", err)
	}
	return k, nil
}

// Derive returns a key of 32 bytes for one purpose (HKDF-SHA256, RFC 5869, with
// the purpose as info). Keys of two purposes tell nothing of each other.
func (k *MasterKey) Derive(purpose string) []byte {
	key, err := hkdf.Key(sha256.New, k.secret[:], nil, "ampoule "+purpose, sha256.Size)
	if err != nil {
		panic(err) // 32 bytes are never too many
	}
	return key
}

// masterBlock holds the 32 bytes of a master key.
const masterBlock = "AMPOULE MASTER KEY"

// SaveMasterKey writes a master key to a new file, as [Save] writes a key.
func SaveMasterKey(path string, k *MasterKey, lock Lock) error {
	return save(path, func() ([]byte, error) {
		return pem.EncodeToMemory(&pem.Block{Type: masterBlock, Bytes: k.secret[:]}), nil
	}, lock)
}

// LoadMasterKey reads the file of a master key. The error is one of those of [Load].
func LoadMasterKey(path string, lock Lock) (*MasterKey, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	plain, err := decrypt(data, lock)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w%s", path, err, hint(path, err))
	}
	defer clear(plain)
	block, rest := pem.Decode(plain)
	if block == nil || block.Type != masterBlock || len(block.Headers) > 0 || len(rest) > 0 || plain[0] != '-' || len(block.Bytes) != sha256.Size {
		return nil, fmt.Errorf("keys: %s: no master key: %w", path, ErrDamaged)
	}
	defer clear(block.Bytes)
	return &MasterKey{[sha256.Size]byte(block.Bytes)}, nil
}
