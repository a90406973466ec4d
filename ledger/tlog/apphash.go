package tlog

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"ampoule/format/cbor"
)

// AppState is what validators agree on after each block.
type AppState struct {
	LogSize      uint64
	LogRoot      Hash
	RegistryRoot Hash // as of the last epoch
	ChangeChain  Hash // what changed since, see Changes
	ParamsHash   Hash
	AppVersion   uint64
}

const (
	appHashTag = "ampoule/app-hash/v1\n"
	changesTag = "ampoule/changes/v1\n"
)

// Hash is the application hash of a block:
//
//	SHA-256("ampoule/app-hash/v1\n" || logSize || logRoot || registryRoot ||
//	        changeChain || paramsHash || appVersion)
//
// with numbers in eight bytes, most significant first. All fields have one length,
// so that no two states are hashed as the same bytes.
func (s *AppState) Hash() Hash {
	b := append(make([]byte, 0, 256), appHashTag...)
	b = binary.BigEndian.AppendUint64(b, s.LogSize)
	for _, h := range []Hash{s.LogRoot, s.RegistryRoot, s.ChangeChain, s.ParamsHash} {
		b = append(b, h[:]...)
	}
	return sha256.Sum256(binary.BigEndian.AppendUint64(b, s.AppVersion))
}

// Change is one row of a block's change set.
type Change struct {
	Key   []byte
	Value []byte // nil: the row is gone
}

// NextChange continues the chain of changes by those of one block:
//
//	SHA-256("ampoule/changes/v1\n" || prev || change set)
//	change set = [*[key: bstr, value: bstr / null]]
//
// Keys ascend, none twice. An epoch begins with prev all zeros. A block without
// changes leaves the chain as it is: the application hash of an empty block must be
// that of the block before, or an engine that makes blocks on demand makes them
// without end.
func NextChange(prev Hash, changes []Change) (Hash, error) {
	if len(changes) == 0 {
		return prev, nil
	}
	b := append(append([]byte(nil), changesTag...), prev[:]...)
	b = cbor.AppendArray(b, len(changes))
	for i, c := range changes {
		if err := checkKey(c.Key); err != nil {
			return Hash{}, err
		}
		if i > 0 && bytes.Compare(changes[i-1].Key, c.Key) >= 0 {
			return Hash{}, fmt.Errorf("change %d: %w", i, ErrRowOrder)
		}
		b = cbor.AppendBytes(cbor.AppendArray(b, 2), c.Key)
		if c.Value == nil {
			b = cbor.AppendNull(b)
		} else {
			b = cbor.AppendBytes(b, c.Value)
		}
	}
	return sha256.Sum256(b), nil
}
