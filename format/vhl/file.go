package vhl

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/strictjson"
)

// Defects of an encrypted file and of a manifest.
const (
	ErrNotJWE    format.Defect = "not-jwe"         // not five parts of base64url
	ErrJWEHeader format.Defect = "bad-header"      // another algorithm than dir with A256GCM, or another compression
	ErrCritical  format.Defect = "critical-header" // an extension that must be understood
	ErrDecrypt   format.Defect = "not-decrypted"   // another key, or not what was encrypted
	ErrManifest  format.Defect = "bad-manifest"    // no list of files
)

// Bounds of what a link leads to.
const (
	MaxFile  = 4 << 20 // bytes of a file, as it is served and when it is open
	maxFiles = 256     // of a manifest
)

// A File is an opened document.
type File struct {
	// ContentType is the file's own word for what it is: application/fhir+json,
	// application/smart-health-card, application/smart-api-access; "" for none.
	ContentType string
	Data        []byte
}

// DecryptFile opens a file with the key of its link. It is a JWE in compact
// form (RFC 7516 section 7.1):
//
//	base64url({"alg": "dir", "enc": "A256GCM", ? "zip": "DEF", ? "cty": type}) ".."
//	base64url(nonce, 12 bytes) "." base64url(ciphertext) "." base64url(tag, 16 bytes)
//
// The header is authenticated with the content, and nothing is inflated that is
// not.
func DecryptFile(jwe string, key [32]byte) (*File, error) {
	if len(jwe) > MaxFile {
		return nil, fmt.Errorf("file: %w", deflate.ErrTooLarge)
	}
	part := strings.Split(strings.TrimSpace(jwe), ".")
	// With alg dir the encrypted key is the empty text (RFC 7518 section 4.5).
	if len(part) != 5 || part[1] != "" {
		return nil, fmt.Errorf("file: %w", ErrNotJWE)
	}
	var raw [5][]byte
	for i, p := range part {
		var err error
		if raw[i], err = decodeBase64(p); err != nil {
			return nil, fmt.Errorf("file: part %d: %w", i, ErrNotJWE)
		}
	}
	header, nonce, sealed := raw[0], raw[2], append(raw[3], raw[4]...)
	f := new(File)
	compressed, err := f.readHeader(header)
	if err != nil {
		return nil, fmt.Errorf("file: header: %w", err)
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	// RFC 7518 section 5.3: 96 bits of nonce, 128 of tag.
	if len(nonce) != gcm.NonceSize() || len(raw[4]) != gcm.Overhead() {
		return nil, fmt.Errorf("file: %w", ErrNotJWE)
	}
	// RFC 7516 section 5.1: the additional data is the header as it was sent.
	if f.Data, err = gcm.Open(nil, nonce, sealed, []byte(part[0])); err != nil {
		return nil, fmt.Errorf("file: %w", ErrDecrypt)
	}
	if compressed {
		if f.Data, err = deflate.Inflate(f.Data, MaxFile); err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
	}
	return f, nil
}

func (f *File) readHeader(data []byte) (compressed bool, err error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: 4 << 10, Depth: 8})
	if err != nil {
		return false, err
	}
	h, ok := v.(map[string]any)
	if !ok {
		return false, ErrJWEHeader
	}
	if _, present := h["crit"]; present { // RFC 7516 section 4.1.13
		return false, ErrCritical
	}
	if h["alg"] != "dir" || h["enc"] != "A256GCM" {
		return false, fmt.Errorf("alg, enc: %w", ErrJWEHeader)
	}
	if cty, present := h["cty"]; present {
		if f.ContentType, ok = cty.(string); !ok {
			return false, fmt.Errorf("cty: %w", ErrJWEHeader)
		}
	}
	zip, compressed := h["zip"]
	if compressed && zip != "DEF" {
		return false, fmt.Errorf("zip: %w", ErrJWEHeader)
	}
	return compressed, nil
}

// A ManifestFile is one entry of a manifest: an address to fetch, or the
// encrypted file itself.
type ManifestFile struct {
	ContentType string
	Location    string // https; "" where the file is embedded
	Embedded    string // a JWE; "" where it is to be fetched
}

// ParseManifest reads what a link's address answers:
//
//	{"files": [{"contentType": "…", "location": "https://…" and/or "embedded": "<JWE>"}]}
//
// One entry that cannot be read refuses the whole: a summary that lacks a
// document is another summary.
func ParseManifest(data []byte) ([]ManifestFile, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: 2 * MaxFile, Depth: 8})
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	o, _ := v.(map[string]any)
	entries, ok := o["files"].([]any)
	if !ok || len(entries) > maxFiles {
		return nil, fmt.Errorf("manifest: files: %w", ErrManifest)
	}
	files := make([]ManifestFile, len(entries))
	for i, e := range entries {
		if err := files[i].parse(e); err != nil {
			return nil, fmt.Errorf("manifest: files[%d]: %w", i, err)
		}
	}
	return files, nil
}

func (f *ManifestFile) parse(v any) error {
	o, ok := v.(map[string]any)
	if !ok {
		return ErrManifest
	}
	for _, m := range []struct {
		name string
		to   *string
	}{{"contentType", &f.ContentType}, {"location", &f.Location}, {"embedded", &f.Embedded}} {
		if v, present := o[m.name]; present {
			if *m.to, ok = v.(string); !ok {
				return fmt.Errorf("%s: %w", m.name, ErrManifest)
			}
		}
	}
	if f.Location == "" && f.Embedded == "" {
		return fmt.Errorf("neither location nor embedded: %w", ErrManifest)
	}
	if f.Location != "" {
		if err := checkAddress(f.Location); err != nil {
			return fmt.Errorf("location: %w", err)
		}
	}
	return nil
}
