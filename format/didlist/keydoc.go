package didlist

import (
	"crypto"
	"fmt"
)

// A PublicKey is a key of a key document.
type PublicKey struct {
	ID         string // DID URL of the key, as claimed
	Controller string
	Key        crypto.PublicKey
}

// ParseKeyDocument reads the small DID document that publishes the key which
// signs the lists: id, and verificationMethod entries with a publicKeyJwk. The
// document is unsigned. It serves an operator who pins the key after comparing
// it by another way; a verifier never fetches it. One bad key refuses the
// whole document, since a person chooses from it.
//
// Errors wrap [ErrNotDocument], [ErrEntryType], [ErrNoKey] or
// [ErrUnsupportedKey], or a defect of package strictjson.
func ParseKeyDocument(data []byte) ([]PublicKey, error) {
	root, err := decodeObject(data)
	if err != nil {
		return nil, err
	}
	if _, err := iriMember(root, "id"); err != nil {
		return nil, err
	}
	methods, _ := root["verificationMethod"].([]any)
	if len(methods) == 0 || len(methods) > MaxEntries {
		return nil, fmt.Errorf("verificationMethod: %w", ErrNotDocument)
	}
	var keys []PublicKey
	for i, method := range methods {
		key, err := parseKeyMethod(method)
		if err != nil {
			return nil, fmt.Errorf("verificationMethod[%d]: %w", i, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func parseKeyMethod(v any) (key PublicKey, err error) {
	object, ok := v.(map[string]any)
	if !ok {
		return PublicKey{}, ErrNotDocument
	}
	if key.ID, err = iriMember(object, "id"); err != nil {
		return PublicKey{}, err
	}
	if key.Controller, err = iriMember(object, "controller"); err != nil {
		return PublicKey{}, err
	}
	if object["type"] != typeKey {
		return PublicKey{}, fmt.Errorf("type: %w", ErrEntryType)
	}
	members, ok := object["publicKeyJwk"].(map[string]any)
	if !ok {
		return PublicKey{}, ErrNoKey
	}
	var jwk JWK
	var kid string
	if err := jwk.parse(members, &kid); err != nil {
		return PublicKey{}, err
	}
	key.Key, err = jwk.PublicKey()
	return key, err
}
