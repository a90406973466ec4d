package tlog

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/cloudflare/circl/sign/mldsa/mldsa44"

	"ampoule/format"
)

// The kinds of defect of notes and keys.
const (
	ErrNote        = format.Defect("malformed-note")
	ErrNoteSize    = format.Defect("note-too-large")
	ErrVerifierKey = format.Defect("malformed-verifier-key")
	ErrKeyType     = format.Defect("unknown-key-type")
	ErrSignature   = format.Defect("bad-signature")
	ErrNoSignature = format.Defect("no-known-signature")
	ErrTimestamp   = format.Defect("bad-timestamp")
)

const (
	// MaxNote is the longest signed note, in bytes: some fifty post-quantum
	// signatures. The specification asks for sixteen of up to 5 kB.
	MaxNote = 256 << 10

	maxSignatures = 100
	maxName       = 255 // bytes, since a cosigned message has the length of names in eight bits
)

// KeyType is the byte that tells how a key of a note signs.
type KeyType byte

// The types of keys. There are others, which are not read: whoever uses them is
// no signer that we could know.
const (
	Ed25519Note        KeyType = 0x01 // Ed25519 over the text of the note (signed-note)
	Ed25519Cosignature KeyType = 0x04 // Ed25519 over time and text (tlog-cosignature)
	MLDSA44Cosignature KeyType = 0x06 // ML-DSA-44 over time, name and tree (tlog-cosignature)
)

// Key is the public key of a signer of notes, under its name. Name and ID together
// say by which key a line is signed; the key itself is always known beforehand.
type Key struct {
	Name string
	ID   uint32 // first four bytes of SHA-256(name || "\n" || type || key)
	Type KeyType

	raw     []byte
	ed25519 ed25519.PublicKey
	mldsa44 *mldsa44.PublicKey
}

// NewKey names a public key: an ed25519.PublicKey or a *mldsa44.PublicKey.
func NewKey(name string, typ KeyType, pub crypto.PublicKey) (*Key, error) {
	var raw []byte
	switch k := pub.(type) {
	case ed25519.PublicKey:
		if typ != Ed25519Note && typ != Ed25519Cosignature {
			return nil, fmt.Errorf("key %q: Ed25519 as type %#02x: %w", name, byte(typ), ErrKeyType)
		}
		raw = k
	case *mldsa44.PublicKey:
		if typ != MLDSA44Cosignature {
			return nil, fmt.Errorf("key %q: ML-DSA-44 as type %#02x: %w", name, byte(typ), ErrKeyType)
		}
		raw = k.Bytes()
	default:
		return nil, fmt.Errorf("key %q: %T: %w", name, pub, ErrKeyType)
	}
	return newKey(name, typ, raw)
}

func newKey(name string, typ KeyType, raw []byte) (*Key, error) {
	if !isName(name) {
		return nil, fmt.Errorf("key name of %d bytes: %w", len(name), ErrVerifierKey)
	}
	k := &Key{Name: name, Type: typ, raw: bytes.Clone(raw)}
	switch typ {
	case Ed25519Note, Ed25519Cosignature:
		if len(raw) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("key %q: Ed25519 in %d bytes: %w", name, len(raw), ErrVerifierKey)
		}
		k.ed25519 = ed25519.PublicKey(k.raw)
	case MLDSA44Cosignature:
		k.mldsa44 = new(mldsa44.PublicKey)
		if err := k.mldsa44.UnmarshalBinary(raw); err != nil {
			return nil, fmt.Errorf("key %q: %v: %w", name, err, ErrVerifierKey)
		}
	default:
		return nil, fmt.Errorf("key %q: type %#02x: %w", name, byte(typ), ErrKeyType)
	}
	sum := sha256.Sum256(append(append(append([]byte(name), '\n'), byte(typ)), raw...))
	k.ID = binary.BigEndian.Uint32(sum[:])
	return k, nil
}

// isName: "Key names MUST be non-empty and MUST NOT contain any Unicode spaces or
// plus (U+002B) characters." Control characters stand in no note.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r == '+' || r < ' ' })
}

// ParseKey reads a verifier key, <name>+<ID in hex>+base64(<type> || <key>). The ID
// must be the key's own.
func ParseKey(vkey string) (*Key, error) {
	name, rest, _ := strings.Cut(vkey, "+")
	id, b64, ok := strings.Cut(rest, "+")
	data, err := decodeBase64(b64)
	if !ok || err != nil || len(data) < 2 {
		return nil, fmt.Errorf("verifier key of %d bytes: %w", len(vkey), ErrVerifierKey)
	}
	k, err := newKey(name, KeyType(data[0]), data[1:])
	if err != nil {
		return nil, err
	}
	if k.String() != vkey {
		return nil, fmt.Errorf("verifier key %q: ID %.16q instead of %08x: %w", name, id, k.ID, ErrVerifierKey)
	}
	return k, nil
}

// String writes the key as a verifier key.
func (k *Key) String() string {
	return k.Name + "+" + hex.EncodeToString(binary.BigEndian.AppendUint32(nil, k.ID)) + "+" +
		base64.StdEncoding.EncodeToString(append([]byte{byte(k.Type)}, k.raw...))
}

// same tells whether two keys are the same underneath, whatever their names and
// types.
func (k *Key) same(other *Key) bool { return bytes.Equal(k.raw, other.raw) }

// decodeBase64 takes the one encoding of RFC 4648 section 4: the standard library
// passes over line ends and, unless told, over bits that no byte needs.
func decodeBase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, base64.CorruptInputError(0)
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// Note is a text with signatures, as it was received. Nothing of it may be believed
// before a signature of a known key has been verified.
type Note struct {
	Text       string // with its last line end
	Signatures []NoteSignature
}

// NoteSignature is one signature line.
type NoteSignature struct {
	Name      string
	ID        uint32
	Signature []byte
}

const dash = "— "

// ParseNote reads a signed note.
func ParseNote(data []byte) (*Note, error) {
	if len(data) > MaxNote {
		return nil, fmt.Errorf("note of %d bytes: %w", len(data), ErrNoteSize)
	}
	bad := func(what string) (*Note, error) { return nil, fmt.Errorf("note: %s: %w", what, ErrNote) }
	s := string(data)
	if !utf8.ValidString(s) {
		return bad("not UTF-8")
	}
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\n' {
			return bad("control characters")
		}
	}
	at := strings.LastIndex(s, "\n\n")
	if at < 0 {
		return bad("no empty line before the signatures")
	}
	n := &Note{Text: s[:at+1]}
	for rest := s[at+2:]; rest != ""; {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return bad("the last line has no end")
		}
		rest = after
		line, ok = strings.CutPrefix(line, dash)
		name, b64, cut := strings.Cut(line, " ")
		signature, err := decodeBase64(b64)
		if !ok || !cut || !isName(name) || err != nil || len(signature) < 5 {
			return bad("signature line")
		}
		if len(n.Signatures) == maxSignatures {
			return bad("too many signatures")
		}
		n.Signatures = append(n.Signatures, NoteSignature{name, binary.BigEndian.Uint32(signature), signature[4:]})
	}
	if len(n.Signatures) == 0 {
		return bad("no signature")
	}
	return n, nil
}

// Encode writes the note.
func (n *Note) Encode() []byte {
	var b bytes.Buffer
	b.WriteString(n.Text)
	b.WriteByte('\n')
	for _, s := range n.Signatures {
		b.WriteString(dash)
		b.WriteString(s.Name)
		b.WriteByte(' ')
		b.WriteString(base64.StdEncoding.EncodeToString(append(binary.BigEndian.AppendUint32(nil, s.ID), s.Signature...)))
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// Verified is a signature that was checked.
type Verified struct {
	Key *Key
	// Time is when a cosigner says it signed, in seconds since 1970; 0 of a key
	// that gives no time.
	Time int64
}

// Verify checks every signature of the known keys, and returns them in the order
// of the note. Lines of others are passed over. One that fails refuses the whole
// note, and so does a note without any.
func (n *Note) Verify(keys ...*Key) ([]Verified, error) {
	var all []Verified
	for _, s := range n.Signatures {
		for _, k := range keys {
			if k.Name != s.Name || k.ID != s.ID {
				continue
			}
			at, err := k.verify(n.Text, s.Signature)
			if err != nil {
				return nil, fmt.Errorf("note: signature of %q, %08x: %w", k.Name, k.ID, err)
			}
			all = append(all, Verified{k, at})
			break
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("note: %d signatures: %w", len(n.Signatures), ErrNoSignature)
	}
	return all, nil
}

const timestampSize = 8

func (k *Key) verify(text string, signature []byte) (int64, error) {
	if k.Type == Ed25519Note {
		if !ed25519.Verify(k.ed25519, []byte(text), signature) {
			return 0, ErrSignature
		}
		return 0, nil
	}
	if len(signature) < timestampSize {
		return 0, ErrSignature
	}
	at := int64(binary.BigEndian.Uint64(signature))
	if at < 0 { // "It MUST NOT exceed 2^63 - 1"
		return 0, ErrTimestamp
	}
	message, err := k.cosigned(text, at)
	if err != nil {
		return 0, err
	}
	return at, k.verifyMessage(message, signature[timestampSize:])
}

func (k *Key) verifyMessage(message, signature []byte) error {
	ok := false
	switch k.Type {
	case Ed25519Cosignature:
		ok = ed25519.Verify(k.ed25519, message, signature)
	case MLDSA44Cosignature:
		ok = len(signature) == mldsa44.SignatureSize && mldsa44.Verify(k.mldsa44, message, nil, signature)
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

// cosigned is what a cosigner signs of the text of a checkpoint.
func (k *Key) cosigned(text string, at int64) ([]byte, error) {
	if k.Type == Ed25519Cosignature {
		return fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text), nil
	}
	c, err := ParseCheckpoint(text)
	if err != nil {
		return nil, err
	}
	return c.subtreeMessage(k.Name, at), nil
}

// NoteSigner signs notes under a name. The type of the key says what it signs.
type NoteSigner struct {
	Key    *Key
	Signer crypto.Signer
}

// NewNoteSigner gives a signer a name. An Ed25519 signer can be of two types.
func NewNoteSigner(name string, typ KeyType, signer crypto.Signer) (*NoteSigner, error) {
	k, err := NewKey(name, typ, signer.Public())
	if err != nil {
		return nil, err
	}
	return &NoteSigner{k, signer}, nil
}

// Sign adds a signature to the note. at is the time that a cosignature gives, in
// seconds since 1970; a key of the type Ed25519Note gives none, and at must be 0.
// Whether the text is one that may be signed is the caller's to know.
func (s *NoteSigner) Sign(random io.Reader, n *Note, at int64) error {
	var message, prefix []byte
	switch {
	case at < 0 || s.Key.Type == Ed25519Note && at != 0:
		return fmt.Errorf("note: signing at %d: %w", at, ErrTimestamp)
	case s.Key.Type == Ed25519Note:
		message = []byte(n.Text)
	default:
		var err error
		if message, err = s.Key.cosigned(n.Text, at); err != nil {
			return err
		}
		prefix = binary.BigEndian.AppendUint64(nil, uint64(at))
	}
	// Neither algorithm signs a hash.
	signature, err := s.Signer.Sign(random, message, crypto.Hash(0))
	if err != nil {
		return fmt.Errorf("note: signing as %q: %w", s.Key.Name, err)
	}
	added := NoteSignature{s.Key.Name, s.Key.ID, append(prefix, signature...)}
	if _, err := s.Key.verify(n.Text, added.Signature); err != nil {
		return fmt.Errorf("note: the signer of %q returned another's signature: %w", s.Key.Name, err)
	}
	n.Signatures = append(n.Signatures, added)
	return nil
}
