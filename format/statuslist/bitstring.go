package statuslist

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/strictjson"

	fastgzip "github.com/klauspost/compress/gzip"
)

// MinBitstring is the fewest bits of a Bitstring Status List (section 2.2 and
// 3.3, 16 KiB): fewer point at persons.
const MinBitstring = 131_072

// Purpose is what a set bit of a Bitstring Status List means.
type Purpose string

// The purposes of section 2.2.
const (
	PurposeRevocation Purpose = "revocation" // for good
	PurposeSuspension Purpose = "suspension" // until it is lifted
	PurposeRefresh    Purpose = "refresh"    // a newer credential is to be had
	PurposeMessage    Purpose = "message"    // the value says which of the issuer's messages
)

// ErrPurpose is a statusPurpose that is not known.
const ErrPurpose = format.Defect("unknown-status-purpose")

// Bitstring is what a BitstringStatusListCredential says (section 2.2). The
// proof of the credential is not looked at.
type Bitstring struct {
	URI        string // id of the credential: what entries name as statusListCredential
	ID         string // of the list in it; or ""
	Purpose    Purpose
	List       *Bitmap
	ValidFrom  time.Time     // zero where not said
	ValidUntil time.Time     // zero where not said
	TTL        time.Duration // 0 where not said
}

// ParseBitstring reads a BitstringStatusListCredential, in JSON.
//
//	{"id": uri, "type": ["VerifiableCredential", "BitstringStatusListCredential"],
//	 "credentialSubject": {"type": "BitstringStatusList", "statusPurpose": "revocation",
//	                       ? "statusSize": 1, ? "ttl": milliseconds, "encodedList": "u…"}}
func ParseBitstring(data []byte) (*Bitstring, error) {
	v, err := strictjson.Parse(data, jsonLimits)
	if err != nil {
		return nil, fmt.Errorf("bitstring status list: %w", err)
	}
	subject := v.Get("credentialSubject")
	if !hasType(v, "BitstringStatusListCredential") || !hasType(subject, "BitstringStatusList") {
		return nil, fmt.Errorf("bitstring status list: type: %w", ErrShape)
	}
	l := new(Bitstring)
	var ok bool
	if l.URI, ok = v.Get("id").Text(); !ok || l.URI == "" || len(l.URI) > maxURI {
		return nil, fmt.Errorf("bitstring status list: id: %w", ErrShape)
	}
	l.ID, _ = subject.Get("id").Text()
	purpose, _ := subject.Get("statusPurpose").Text()
	l.Purpose = Purpose(purpose)
	if !slices.Contains([]Purpose{PurposeRevocation, PurposeSuspension, PurposeRefresh, PurposeMessage}, l.Purpose) {
		return nil, fmt.Errorf("bitstring status list: %.40q: %w", purpose, ErrPurpose)
	}
	size := int64(1)
	if s := subject.Get("statusSize"); s.Exists() {
		if size, err = smallNumber(s); err != nil {
			return nil, fmt.Errorf("bitstring status list: statusSize: %w", err)
		}
	}
	if t := subject.Get("ttl"); t.Exists() {
		ms, err := smallNumber(t)
		if err != nil {
			return nil, fmt.Errorf("bitstring status list: ttl: %w", err)
		}
		l.TTL = time.Duration(min(ms, maxTTL*1000)) * time.Millisecond
	}
	for _, m := range []struct {
		name string
		to   *time.Time
	}{{"validFrom", &l.ValidFrom}, {"validUntil", &l.ValidUntil}} {
		if d := v.Get(m.name); d.Exists() {
			text, _ := d.Text()
			if *m.to, err = time.Parse(time.RFC3339, text); err != nil {
				return nil, fmt.Errorf("bitstring status list: %s: %w", m.name, ErrClaims)
			}
		}
	}
	text, ok := subject.Get("encodedList").Text()
	if !ok {
		return nil, fmt.Errorf("bitstring status list: encodedList: %w", ErrShape)
	}
	l.List, err = DecodeBitstring(text, int(min(size, 64)))
	return l, err
}

func hasType(v strictjson.Value, name string) bool {
	types := v.Get("type")
	if text, ok := types.Text(); ok {
		return text == name
	}
	for t := range types.All() {
		if text, _ := t.Text(); text == name {
			return true
		}
	}
	return false
}

// Check says whether the list may be used now.
func (l *Bitstring) Check(now time.Time) error {
	switch {
	case !l.ValidUntil.IsZero() && !now.Before(l.ValidUntil):
		return fmt.Errorf("bitstring status list: valid until %s: %w", l.ValidUntil.Format(time.RFC3339), ErrExpired)
	case l.ValidFrom.After(now.Add(clockSkew)):
		return fmt.Errorf("bitstring status list: valid from %s: %w", l.ValidFrom.Format(time.RFC3339), ErrNotYetIssued)
	}
	return nil
}

// Subject writes the credentialSubject of a credential with this list.
func (l *Bitstring) Subject() ([]byte, error) {
	text, err := l.List.EncodeBitstring()
	if err != nil {
		return nil, err
	}
	size := 0
	if l.List.bits > 1 {
		size = l.List.bits
	}
	return json.Marshal(struct {
		ID      string  `json:"id,omitempty"`
		Type    string  `json:"type"`
		Purpose Purpose `json:"statusPurpose"`
		Size    int     `json:"statusSize,omitempty"`
		TTL     int64   `json:"ttl,omitempty"`
		List    string  `json:"encodedList"`
	}{l.ID, "BitstringStatusList", l.Purpose, size, l.TTL.Milliseconds(), text})
}

// DecodeBitstring reads an encodedList with entries of the given bits. Sizes that
// do not divide a byte are refused: nobody is known to use one.
func DecodeBitstring(encoded string, bits int) (*Bitmap, error) {
	if !knownBits(bits) {
		return nil, fmt.Errorf("bitstring: statusSize %d: %w", bits, ErrBits)
	}
	if len(encoded) > MaxToken {
		return nil, fmt.Errorf("bitstring: %d characters: %w", len(encoded), ErrTooLarge)
	}
	text, multibase := strings.CutPrefix(encoded, "u")
	if !multibase {
		return nil, fmt.Errorf("bitstring: no multibase of base64url: %w", ErrEncoding)
	}
	compressed, err := decodeBase64(text)
	if err != nil {
		return nil, fmt.Errorf("bitstring: %w", err)
	}
	data, err := inflateGzip(compressed)
	if err != nil {
		return nil, fmt.Errorf("bitstring: %w", err)
	}
	b, err := bitmapOf(bits, data)
	if err != nil {
		return nil, err
	}
	if len(data)*8 < MinBitstring {
		return nil, fmt.Errorf("bitstring: %d bits, at least %d: %w", len(data)*8, MinBitstring, ErrShort)
	}
	b.data = b.reversed()
	return b, nil
}

// EncodeBitstring writes an encodedList.
func (b *Bitmap) EncodeBitstring() (string, error) {
	if len(b.data)*8 < MinBitstring {
		return "", fmt.Errorf("bitstring: %d bits, at least %d: %w", len(b.data)*8, MinBitstring, ErrShort)
	}
	// Without a name and a time: the same list, the same bytes.
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	if len(b.data) < fast {
		w, err = gzip.NewWriterLevel(&out, gzip.BestCompression)
	} else {
		w, err = fastgzip.NewWriterLevel(&out, fastgzip.BestCompression)
	}
	if err == nil {
		err = writeAll(w, b.reversed())
	}
	if err != nil {
		return "", fmt.Errorf("bitstring: %w", err)
	}
	return "u" + base64.RawURLEncoding.EncodeToString(out.Bytes()), nil
}

// inflateGzip decodes one gzip member that fills data (RFC 1952 section 2.3).
func inflateGzip(data []byte) ([]byte, error) {
	const (
		header  = 10
		trailer = 8
	)
	if len(data) < header+trailer || data[0] != 0x1f || data[1] != 0x8b || data[2] != 8 || data[3]&0xe0 != 0 {
		return nil, fmt.Errorf("gzip: %w", ErrGzip)
	}
	flags, rest := data[3], data[header:len(data)-trailer]
	skip := func(n int) {
		if n < 0 || n > len(rest) {
			rest = nil
			return
		}
		rest = rest[n:]
	}
	if flags&4 != 0 { // FEXTRA
		if len(rest) < 2 {
			return nil, fmt.Errorf("gzip: %w", ErrGzip)
		}
		skip(2 + int(binary.LittleEndian.Uint16(rest)))
	}
	for _, text := range []byte{8, 16} { // FNAME, FCOMMENT: each ends in a zero
		if flags&text != 0 {
			if end := bytes.IndexByte(rest, 0); end < 0 {
				return nil, fmt.Errorf("gzip: %w", ErrGzip)
			} else {
				skip(end + 1)
			}
		}
	}
	if flags&2 != 0 { // FHCRC
		skip(2)
	}
	out, err := deflate.Inflate(rest, MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("gzip: %w", err)
	}
	end := data[len(data)-trailer:]
	if crc32.ChecksumIEEE(out) != binary.LittleEndian.Uint32(end) || uint32(len(out)) != binary.LittleEndian.Uint32(end[4:]) {
		return nil, fmt.Errorf("gzip: %w", ErrChecksum)
	}
	return out, nil
}
