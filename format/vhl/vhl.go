// Package vhl reads and writes Verifiable Health Links: the text that stands
// in claim 5 of an HCERT container and points to documents about a person. The
// link is that of the SMART Health Links specification under another scheme:
//
//	[viewer "#"] ("vhlink:/" / "shlink:/") base64url(JSON)
//
//	{"url":   "https://sharer.example/List/_search?_id=abc",  where the manifest is, at most 2,048 characters
//	 "key":   "<32 bytes, base64url>",                         decrypts the documents
//	 "exp":   1798761600,                                      optional: end of the link, seconds since 1970
//	 "flag":  "LP",                                            optional: L long-term, P passcode, U one file by GET
//	 "label": "Summary",                                       optional: at most 80 characters
//	 "v":     1}                                               optional: 1 where absent
//
// A link is bearer access to somebody's health data, chosen by whoever made
// the code. This package decodes it and nothing more: no fetch, not even of
// the host name. Treat the whole of it as a secret and keep it out of logs;
// [Link.String] shows the parts that may be shown.
package vhl

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Defects of a link. Defects of the JSON itself are those of package
// strictjson.
const (
	ErrScheme   format.Defect = "not-a-health-link"   // neither vhlink:/ nor shlink:/
	ErrViewer   format.Defect = "malformed-viewer"    // what stands before '#' is no https address
	ErrEncoding format.Defect = "malformed-base64url" // the payload is not base64url without padding
	ErrTooLong  format.Defect = "link-too-long"       // more than MaxText characters
	ErrPayload  format.Defect = "malformed-payload"   // no object, or a member missing or of a wrong type
	ErrURL      format.Defect = "malformed-url"       // not an absolute https address without user information
	ErrKey      format.Defect = "malformed-key"       // not 32 bytes of base64url
	ErrExp      format.Defect = "malformed-exp"       // not a whole or decimal number of seconds in range
	ErrFlag     format.Defect = "unknown-flag"        // another letter than L, P, U, unsorted, or twice
	ErrLabel    format.Defect = "malformed-label"     // more than MaxLabel characters, or control characters
	ErrVersion  format.Defect = "unsupported-version" // v is not 1
)

// Bounds: a text of ours, a URL and a label as the specification has them.
const (
	MaxText  = 16 << 10 // characters of the whole link
	MaxURL   = 2048     // characters of url
	MaxLabel = 80       // characters of label
)

// maxExp is the last second of the year 9999.
const maxExp = 253402300799

// Kind tells the two schemes apart. They share the payload; what a receiver
// must do to be let in differs.
type Kind string

const (
	KindVHL Kind = "vhl" // vhlink:/, the receiver authenticates itself to the sharer
	KindSHL Kind = "shl" // shlink:/, whoever has the link may read
)

func (k Kind) scheme() string {
	switch k {
	case KindVHL:
		return "vhlink:/"
	case KindSHL:
		return "shlink:/"
	}
	return ""
}

// A Link is a decoded link.
type Link struct {
	Kind   Kind
	Viewer string // address of a web page that opens the link; "" for none

	URL       string
	Key       [32]byte
	Expires   time.Time       // zero for a link without end
	LongTerm  bool            // flag L: the documents may change, ask again
	Passcode  bool            // flag P: the holder tells a passcode
	Direct    bool            // flag U: url answers GET with the one file
	Label     string          // for a person to read; escape it
	Extension json.RawMessage // as carried, an object; nil for none
}

// Expired tells whether the link has ended at now. The document it leads to
// may be gone long before.
func (l *Link) Expired(now time.Time) bool {
	return !l.Expires.IsZero() && !now.Before(l.Expires)
}

// String names the kind and the host, which is as much of a link as a log or
// a list may show.
func (l *Link) String() string {
	u, err := url.Parse(l.URL)
	if err != nil {
		return string(l.Kind)
	}
	return string(l.Kind) + " at " + u.Host
}

// Parse reads a link, bare or behind the address of a viewer. White space
// around it is ignored. Members of the payload that the specification does not
// define are ignored; P beside U is refused, as the specification wants.
func Parse(text string) (*Link, error) {
	if len(text) > MaxText {
		return nil, ErrTooLong
	}
	text = strings.TrimSpace(text)
	l := &Link{}
	// The scheme is looked for behind the first '#': a viewer's address that
	// holds a link of its own before it would be ambiguous.
	if viewer, fragment, found := strings.Cut(text, "#"); found {
		if checkAddress(viewer) != nil {
			return nil, ErrViewer
		}
		l.Viewer, text = viewer, fragment
	}
	payload := ""
	for _, kind := range []Kind{KindVHL, KindSHL} {
		if rest, ok := strings.CutPrefix(text, kind.scheme()); ok {
			l.Kind, payload = kind, rest
		}
	}
	if l.Kind == "" {
		return nil, ErrScheme
	}
	data, err := decodeBase64(payload)
	if err != nil {
		return nil, ErrEncoding
	}
	if err := l.parsePayload(data); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Link) parsePayload(data []byte) error {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: MaxText, Depth: 16})
	if err != nil {
		return err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return ErrPayload
	}
	if l.URL, ok = object["url"].(string); !ok {
		return fmt.Errorf("url: %w", ErrPayload)
	}
	if err := checkAddress(l.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	keyText, ok := object["key"].(string)
	if !ok {
		return fmt.Errorf("key: %w", ErrPayload)
	}
	key, err := decodeBase64(keyText)
	if err != nil || len(key) != len(l.Key) {
		return fmt.Errorf("key: %w", ErrKey)
	}
	l.Key = [32]byte(key)
	if exp, present := object["exp"]; present {
		if l.Expires, err = parseExp(exp); err != nil {
			return fmt.Errorf("exp: %w", err)
		}
	}
	if flag, present := object["flag"]; present {
		text, ok := flag.(string)
		if !ok {
			return fmt.Errorf("flag: %w", ErrPayload)
		}
		if err := l.parseFlag(text); err != nil {
			return fmt.Errorf("flag: %w", err)
		}
	}
	if label, present := object["label"]; present {
		if l.Label, ok = label.(string); !ok {
			return fmt.Errorf("label: %w", ErrPayload)
		}
		if err := checkLabel(l.Label); err != nil {
			return fmt.Errorf("label: %w", err)
		}
	}
	if version, present := object["v"]; present && version != json.Number("1") {
		return fmt.Errorf("v: %w", ErrVersion)
	}
	if extension, present := object["extension"]; present {
		if _, ok := extension.(map[string]any); !ok {
			return fmt.Errorf("extension: %w", ErrPayload)
		}
		if l.Extension, err = json.Marshal(extension); err != nil {
			return fmt.Errorf("extension: %w", ErrPayload)
		}
	}
	return nil
}

// parseExp reads seconds since 1970. Fractions occur in this family of
// formats; what is left of the last second is given away.
func parseExp(v any) (time.Time, error) {
	number, ok := v.(json.Number)
	if !ok {
		return time.Time{}, ErrExp
	}
	seconds, err := strconv.ParseFloat(number.String(), 64)
	if err != nil || seconds < 0 || seconds > maxExp {
		return time.Time{}, ErrExp
	}
	return time.Unix(int64(math.Floor(seconds)), 0).UTC(), nil
}

// parseFlag wants the letters in alphabetical order, each once, and no P
// beside U: a file that is read by GET has nowhere to send a passcode.
func (l *Link) parseFlag(text string) error {
	rest := text
	for _, f := range []struct {
		letter string
		to     *bool
	}{{"L", &l.LongTerm}, {"P", &l.Passcode}, {"U", &l.Direct}} {
		rest, *f.to = strings.CutPrefix(rest, f.letter)
	}
	if rest != "" || (l.Passcode && l.Direct) {
		return ErrFlag
	}
	return nil
}

func (l *Link) flag() string {
	flag := ""
	for _, f := range []struct {
		letter string
		set    bool
	}{{"L", l.LongTerm}, {"P", l.Passcode}, {"U", l.Direct}} {
		if f.set {
			flag += f.letter
		}
	}
	return flag
}

// checkAddress accepts an absolute https address. User information is refused
// because it makes a foreign host look like a known one.
func checkAddress(text string) error {
	if len(text) > MaxURL || strings.IndexFunc(text, func(r rune) bool { return r <= ' ' || r >= 0x7F }) >= 0 {
		return ErrURL
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Opaque != "" {
		return ErrURL
	}
	return nil
}

func checkLabel(label string) error {
	if !utf8.ValidString(label) || utf8.RuneCountInString(label) > MaxLabel || strings.IndexFunc(label, unicode.IsControl) >= 0 {
		return ErrLabel
	}
	return nil
}

func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") { // which DecodeString would skip
		return nil, ErrEncoding
	}
	return base64.RawURLEncoding.Strict().DecodeString(text)
}

// Encode writes the link. It refuses what [Parse] would refuse; Expires is cut
// to whole seconds.
func (l *Link) Encode() (string, error) {
	if l.Kind.scheme() == "" {
		return "", ErrScheme
	}
	payload := struct {
		URL       string          `json:"url"`
		Key       string          `json:"key"`
		Exp       int64           `json:"exp,omitempty"`
		Flag      string          `json:"flag,omitempty"`
		Label     string          `json:"label,omitempty"`
		V         int             `json:"v"`
		Extension json.RawMessage `json:"extension,omitempty"`
	}{
		URL: l.URL, Key: base64.RawURLEncoding.EncodeToString(l.Key[:]),
		Flag: l.flag(), Label: l.Label, V: 1, Extension: l.Extension,
	}
	if !l.Expires.IsZero() {
		// Second zero would read as "no end" to the omitempty above.
		if payload.Exp = l.Expires.Unix(); payload.Exp <= 0 {
			return "", fmt.Errorf("exp: %w", ErrExp)
		}
	}
	if err := checkLabel(l.Label); err != nil {
		return "", fmt.Errorf("label: %w", err)
	}
	data, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrPayload, err)
	}
	text := l.Kind.scheme() + base64.RawURLEncoding.EncodeToString(data)
	if l.Viewer != "" {
		text = l.Viewer + "#" + text
	}
	if _, err := Parse(text); err != nil {
		return "", err
	}
	return text, nil
}
