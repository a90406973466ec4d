// Package divoc reads and writes vaccination certificates of DIVOC, the platform
// that India, the Philippines, Sri Lanka, Indonesia and Jamaica issued theirs
// with. The programme is dormant: what is written is for demonstrations and for
// the conversion of records (encode.go).
//
//	QR code          = zip archive | "B64:" base64(zip archive)
//	zip archive      = one file, certificate.json
//	certificate.json = a W3C Verifiable Credential 1.1 with the contexts
//	                   https://www.w3.org/2018/credentials/v1 and
//	                   https://cowin.gov.in/credentials/vaccination/v1 or v2
//	proof            = RsaSignature2018 (PS256) or Ed25519Signature2018 (EdDSA)
//	                   over the RDF statements of the certificate, canonical
//	                   after URDNA2015 (package rdfc)
//
// What is signed is the set of statements, not the text. So [Decode] refuses
// whatever would make no statement, and with it everything that could be changed
// behind a valid signature (statements.go), and never fetches a context
// (contexts.go).
//
// One weakness is in DIVOC's own contexts and beyond repair: they give several
// names one meaning. batch, vaccine, manufacturer, certificateId and icd11Code
// all say "schema:id", so a holder can exchange their values, or leave one of two
// equal values out, and the signature still fits. The same holds for date,
// effectiveStart and effectiveUntil, and for dose and totalDoses; there only one
// order makes sense, and findings tell of any other.
package divoc

import (
	"encoding/base64"
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Prefix begins a text that carries the archive in base64.
const Prefix = "B64:"

// Limits. A QR code holds 2,953 bytes or 4,296 characters, a certificate has
// some 2 KB of JSON; a file may be larger.
const (
	MaxText = 512 << 10 // bytes of a text
	maxJSON = 256 << 10 // bytes of a certificate
)

// The kinds of defect. Those of the stream are deflate's, those of the JSON
// strictjson's, and one is rdfc's: canonicalisation-too-costly.
const (
	ErrNotDIVOC       = format.Defect("not-a-divoc-code")
	ErrTextTooLong    = format.Defect("text-too-long")
	ErrEncoding       = format.Defect("invalid-character")
	ErrZip            = format.Defect("malformed-zip")
	ErrZipFeature     = format.Defect("unsupported-zip")
	ErrNoCertificate  = format.Defect("no-certificate")
	ErrDuplicateEntry = format.Defect("duplicate-entry")
	ErrExtraEntry     = format.Defect("several-entries")
	ErrChecksum       = format.Defect("checksum")
	ErrNotCredential  = format.Defect("not-a-credential")
	ErrContext        = format.Defect("context-not-allowed")
	ErrUndefined      = format.Defect("undefined-term")
	ErrRelative       = format.Defect("relative-iri")
	ErrShape          = format.Defect("unsupported-shape")

	ErrNoProof       = format.Defect("no-proof")
	ErrBadProof      = format.Defect("bad-proof")
	ErrHeader        = format.Defect("bad-header")
	ErrAlgNotAllowed = format.Defect("alg-not-allowed")
	ErrAlgMismatch   = format.Defect("alg-key-mismatch")
	ErrWeakKey       = format.Defect("weak-key")
	ErrPurpose       = format.Defect("bad-proof-purpose")
	ErrSignature     = format.Defect("bad-signature")
)

// Mojibake is remarked, at the path "text", where a scanner gave the bytes of
// the archive as if they were letters, and they could be had back.
const Mojibake = format.Defect("mojibake")

// Document is a decoded, unverified certificate.
type Document struct {
	Context    string // version of the vaccination context: v1, v2
	Credential        // what it says
	Proof      Proof
	JSON       []byte // certificate.json
	proofErr   error
	signed     []byte
}

// KeyID returns the name of the signer's key, a DID or DID URL, under which the
// keys to try are listed. It is empty where there is no proof.
func (d *Document) KeyID() []byte { return []byte(d.Proof.VerificationMethod) }

// IsDIVOC reports whether a text looks like a DIVOC code, so that whatever is
// wrong with it can be told as one's defect: an archive, one in base64, or a
// certificate in plain JSON.
func IsDIVOC(text string) bool {
	if isArchive(text) || strings.HasPrefix(format.TrimText(text), Prefix) {
		return true
	}
	text = format.TrimText(text)
	return strings.HasPrefix(text, "{") && strings.Contains(text, `"@context"`) && strings.Contains(text, contextVaccination)
}

func isArchive(text string) bool {
	text = strings.TrimPrefix(text, "\ufeff")
	return strings.HasPrefix(text, "PK\x03\x04") || strings.HasPrefix(text, "PK\x05\x06")
}

// Decode reads the text of a certificate: the archive as bytes, as letters of
// a scanner that took the bytes for text, or in base64, or the JSON by itself.
// Findings tell where the content departs from what certificates say, and need
// no signature to be told. Nothing in the result is verified.
func Decode(text string) (*Document, []format.Finding, error) {
	if len(text) > MaxText {
		return nil, nil, fmt.Errorf("DIVOC: %d bytes, at most %d: %w", len(text), MaxText, ErrTextTooLong)
	}
	data, findings, err := open(text)
	if err != nil {
		return nil, nil, fmt.Errorf("DIVOC: %w", err)
	}
	d, more, err := DecodeJSON(data)
	if err != nil {
		return nil, nil, err
	}
	return d, append(findings, more...), nil
}

// open returns the certificate inside a text.
func open(text string) ([]byte, []format.Finding, error) {
	if isArchive(text) {
		return openArchive(text)
	}
	text = format.TrimText(text)
	if body, ok := strings.CutPrefix(text, Prefix); ok {
		encoding := base64.StdEncoding
		if len(body)%4 != 0 {
			encoding = base64.RawStdEncoding
		}
		data, err := encoding.Strict().DecodeString(body)
		if err != nil || strings.ContainsAny(body, "\r\n") {
			return nil, nil, fmt.Errorf("base64: %w", ErrEncoding)
		}
		content, err := unzip(data)
		return content, nil, err
	}
	if strings.HasPrefix(text, "{") {
		return []byte(text), nil, nil
	}
	return nil, nil, ErrNotDIVOC
}

// openArchive reads an archive that is the text itself: as its bytes, or else
// as letters that stand for its bytes. A signature decides later whether the
// right ones were found; here it is the archive's checksum.
func openArchive(text string) ([]byte, []format.Finding, error) {
	content, err := unzip([]byte(text))
	if err == nil {
		return content, nil, nil
	}
	// An archive without comment ends in two zeros, so what files and scanners
	// put behind it can be told from it.
	trimmed := format.TrimText(text)
	if content, again := unzip([]byte(trimmed)); again == nil {
		return content, nil, nil
	}
	for _, letters := range [...]map[rune]byte{nil, windows1252} {
		data, ok := bytesOf(trimmed, letters)
		if !ok {
			continue
		}
		content, again := unzip(data)
		if again == nil {
			return content, []format.Finding{{Path: "text", Reason: Mojibake, Tolerable: true}}, nil
		}
		if len(data) < len(trimmed) {
			err = again // the letters were none of ASCII: this is what was meant
		}
	}
	return nil, nil, err
}

// windows1252 has the letters of the code page for the bytes 0x80 to 0x9f. Much
// that says ISO 8859-1, browsers among it, means this.
var windows1252 = map[rune]byte{
	'€': 0x80, '‚': 0x82, 'ƒ': 0x83, '„': 0x84, '…': 0x85, '†': 0x86, '‡': 0x87, 'ˆ': 0x88, '‰': 0x89, 'Š': 0x8a, '‹': 0x8b, 'Œ': 0x8c, 'Ž': 0x8e,
	'‘': 0x91, '’': 0x92, '“': 0x93, '”': 0x94, '•': 0x95, '–': 0x96, '—': 0x97, '˜': 0x98, '™': 0x99, 'š': 0x9a, '›': 0x9b, 'œ': 0x9c, 'ž': 0x9e, 'Ÿ': 0x9f,
}

// bytesOf turns letters into the bytes they were made from: ISO 8859-1, and the
// further letters of a code page.
func bytesOf(text string, further map[rune]byte) ([]byte, bool) {
	data := make([]byte, 0, len(text))
	for _, r := range text {
		if r > 0xff {
			b, ok := further[r]
			if !ok { // U+FFFD too: a byte that is lost
				return nil, false
			}
			r = rune(b)
		}
		data = append(data, byte(r))
	}
	return data, true
}

// DecodeJSON reads a certificate without anything around it.
func DecodeJSON(data []byte) (*Document, []format.Finding, error) {
	v, err := strictjson.Decode(data, strictjson.Limits{Bytes: maxJSON})
	if err != nil {
		return nil, nil, fmt.Errorf("DIVOC: %w", err)
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, nil, fmt.Errorf("DIVOC: no object: %w", ErrNotCredential)
	}
	d := &Document{JSON: data}
	names, err := d.readContext(root["@context"])
	if err != nil {
		return nil, nil, fmt.Errorf("DIVOC: %w", err)
	}
	proof := root["proof"]
	delete(root, "@context")
	delete(root, "proof")
	document, err := canonicalHash(root, names)
	if err != nil {
		return nil, nil, fmt.Errorf("DIVOC: %w", err)
	}
	if err := d.readProof(proof, document); err != nil {
		return nil, nil, err
	}
	r := reader{}
	r.credential(root, &d.Credential)
	return d, r.findings, nil
}

// readContext accepts the two contexts of a certificate, in their order and by
// name.
func (d *Document) readContext(v any) (vocabulary, error) {
	list, _ := v.([]any)
	if len(list) == 2 && list[0] == contextCredentials {
		url, _ := list[1].(string)
		if version, ok := strings.CutPrefix(url, contextVaccination); ok && certificates[version] != nil {
			d.Context = version
			return certificates[version], nil
		}
	}
	return nil, fmt.Errorf("@context: %w", ErrContext)
}
