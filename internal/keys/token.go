package keys

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"ampoule/format"
)

// Defects of keys on hardware.
const (
	ErrTokenURI   format.Defect = "bad-token-uri" // not a PKCS #11 URI that names one key
	ErrNoPKCS11   format.Defect = "no-pkcs11"     // this program was built without PKCS #11
	ErrNoToken    format.Defect = "no-token"      // the module, token or PIN is not there or not right
	ErrNoTokenKey format.Defect = "no-key-on-token"
)

// Token names a key on hardware by a PKCS #11 URI (RFC 7512) of the attributes
//
//	pkcs11:token=T;object=O?module-path=M&pin-source=P
//
// where T is the label of the token or serial=S its serial number, O the label of
// the key or id=I its identifier in percent-encoded bytes, M the module's library,
// and P a file with the PIN, which others than its owner cannot read.
type Token struct {
	Label, Serial string // of the token; one of them
	Object        string // label of the key; "" where ID names it
	ID            []byte
	Module        string
	PINSource     string
}

// tokenScheme begins a PKCS #11 URI.
const tokenScheme = "pkcs11:"

// ParseToken reads a PKCS #11 URI. Attributes that would narrow the choice further
// are refused and not passed over: another key than the one that is meant could be
// found. A PIN in the URI (pin-value) is refused: configuration is not where
// secrets belong.
func ParseToken(uri string) (*Token, error) {
	bad := func(why string) (*Token, error) { return nil, fmt.Errorf("PKCS #11 URI: %s: %w", why, ErrTokenURI) }
	rest, ok := strings.CutPrefix(uri, tokenScheme)
	if !ok {
		return bad("it begins with " + tokenScheme)
	}
	if len(uri) > 2048 {
		return bad("it is over 2048 bytes")
	}
	path, query, _ := strings.Cut(rest, "?")
	t := new(Token)
	seen := make(map[string]bool)
	for _, part := range []struct{ text, separator string }{{path, ";"}, {query, "&"}} {
		if part.text == "" {
			continue
		}
		for attribute := range strings.SplitSeq(part.text, part.separator) {
			name, value, found := strings.Cut(attribute, "=")
			text, err := url.PathUnescape(value)
			if err != nil || !found || seen[name] {
				return bad("the attribute " + name + " stands there twice, or is not percent-encoded")
			}
			seen[name] = true
			switch name {
			case "token":
				t.Label = text
			case "serial":
				t.Serial = text
			case "object":
				t.Object = text
			case "id":
				t.ID = []byte(text)
			case "type":
				if text != "private" {
					return bad("its type is not private")
				}
			case "module-path":
				t.Module = text
			case "pin-source":
				t.PINSource = strings.TrimPrefix(text, "file:")
			default:
				return bad("the attribute " + name + " is not known here")
			}
		}
	}
	switch {
	case (t.Label == "") == (t.Serial == ""):
		return bad("token or serial names the token, and not both")
	case t.Object == "" && len(t.ID) == 0:
		return bad("object or id names the key")
	case !filepath.IsAbs(t.Module) || !filepath.IsAbs(t.PINSource):
		return bad("module-path and pin-source are absolute paths")
	}
	return t, nil
}

// readsAsToken reports whether a key file is one of a key on hardware: the line of
// its URI, and after it the certificates. There is no secret in it.
func readsAsToken(data []byte) bool { return bytes.HasPrefix(data, []byte(tokenScheme)) }

// OnToken reports whether a key file names a key on hardware, which no passphrase
// opens.
func OnToken(path string) bool {
	data, err := readFile(path)
	return err == nil && readsAsToken(data)
}

// openTokenFile opens the key that a file names.
func openTokenFile(data []byte) (*Key, error) {
	line, rest, _ := bytes.Cut(data, []byte("\n"))
	t, err := ParseToken(strings.TrimSpace(string(line)))
	if err != nil {
		return nil, err
	}
	k := new(Key)
	for rest = bytes.TrimSpace(rest); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("after the URI are certificates, and here is something else: %w", ErrDamaged)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate: %v: %w", err, ErrDamaged)
		}
		k.Chain = append(k.Chain, c)
	}
	if k.Signer, err = OpenToken(t); err != nil {
		return nil, err
	}
	return k, k.check()
}

// SaveToken writes the file of a key on hardware: its URI and its certificates.
func SaveToken(path, uri string, chain []*x509.Certificate) error {
	if _, err := ParseToken(uri); err != nil {
		return err
	}
	out := []byte(uri + "\n")
	for _, c := range chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return writeFile(path, out)
}
