// Package tng reads and writes what participants and the gateway of a trust
// network tell each other: the bodies of the HTTP API of the EU Digital COVID
// Certificate gateway, which the WHO's Trust Network Gateway took over, and the
// files by which a participant is onboarded there.
//
//	GET  /trustList[/{type}[/{country}]]     [TrustListEntry]: domain DCC only, sorted by kid
//	GET  /trustList/certificate              [CertificateEntry]: every domain
//	GET  /trustList/issuers, /references     [Issuer], [Reference]
//	POST /signerCertificate                  CMS of a certificate, as [EncodeCMS] writes it
//	POST /trustedCertificate                 [Upload]
//	GET  /revocation-list                    [RevocationPage]; the batches are CMS of package dccrevocation's form
//	GET, POST /cms-migration                 [Package]
//	any, on failure                          [Problem]
//
// Readers are bounded and refuse a member of a wrong type; members that are not
// known are ignored, since the gateway adds some from version to version. Of a
// list, an entry that cannot be read keeps its place with its Err, so that it
// can be told what was dropped and why.
//
// Nothing is believed by being read. Each entry carries a CMS signature, which
// the reader of package cms opens and party/gateway judges.
package tng

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Defects of a body as a whole. Defects of the JSON itself are those of package
// strictjson.
const (
	ErrShape          = format.Defect("not-of-the-api")    // not the object or array that stands there
	ErrTooManyEntries = format.Defect("too-many-entries")  // more than the bound of the list
	ErrBase64         = format.Defect("malformed-base64")  // CMS or certificate; line breaks count
	ErrEmpty          = format.Defect("empty")             // CMS or certificate of no bytes
	ErrTooLarge       = format.Defect("too-large")         // CMS or text beyond its bound
	ErrMember         = format.Defect("malformed-member")  // of a wrong type
	ErrCountry        = format.Defect("malformed-country") // not two upper-case letters
	ErrTime           = format.Defect("malformed-timestamp")
	ErrSeparator      = format.Defect("separator-in-name") // a ';' where the signed text of an issuer has it between its parts
	ErrUUID           = format.Defect("malformed-uuid")
	ErrThumbprint     = format.Defect("thumbprint-mismatch")
)

// Bounds. The gateway of the EU had about 6,000 certificates at its largest, and
// answers with at most 1,000 batches at a time.
const (
	MaxList     = 64 << 20 // bytes of a list
	MaxEntries  = 50_000   // of a list
	MaxBatches  = 10_000   // of a page of the revocation list
	MaxBody     = 1 << 20  // bytes of what is uploaded, and of a problem
	MaxCMS      = 512 << 10
	MaxText     = 4096 // bytes of a text member
	MaxProperty = 64   // properties of a certificate
)

// The media types of CMS bodies: of a certificate, and of a text.
const (
	TypeCMS     = "application/cms"
	TypeCMSText = "application/cms-text"
)

// Types of certificates in the trust list, and groups of them in the list of all
// domains. A gateway may know more.
const (
	Authentication = "AUTHENTICATION" // connects: TLS
	UploadType     = "UPLOAD"         // signs what is uploaded: UP
	CSCA           = "CSCA"           // issues document signers: SCA
	DSC            = "DSC"
	TrustAnchor    = "TRUSTANCHOR"
	DECA           = "DECA" // issues those who sign for data exchange
	DESC           = "DESC"
)

// Codes of problems (smart-trust-network-gateway, exception handlers).
const (
	CodeSigner        = "0x001" // the CMS signer is not an uploader of the caller's country
	CodeExists        = "0x002"
	CodeUpload        = "0x003" // storing failed
	CodeCertificate   = "0x004" // the certificate failed a check
	CodeNotFound      = "0x005"
	CodeRevoke        = "0x006" // deleting failed
	CodeSameSigner    = "0x007" // the country of certificate and caller differ, on deletion
	CodeSignature     = "0x009"
	CodeNoCertificate = "0x400" // of the client
	CodeNoCountry     = "0x401" // in the name of the client's certificate
	CodeUnknownClient = "0x402" // or a body that is no CMS
	CodeRole          = "0x403"
)

// TrustListEntry is one certificate of GET /trustList.
//
//	{"kid": "2Rk3X8HntrI=", "timestamp": "2021-06-01T10:00:00Z", "country": "AT",
//	 "certificateType": "DSC", "thumbprint": "<SHA-256 of rawData, hex>",
//	 "signature": "<CMS, base64>", "rawData": "<DER, base64>"}
type TrustListEntry struct {
	KID        string    // as written: base64 of eight bytes, or whatever its owner chose
	Timestamp  time.Time // when the gateway took it in
	Country    string
	Type       string
	Thumbprint string // lower-case hex, compared with Raw
	Signature  []byte // CMS in DER or BER; detached or with the certificate in it
	Raw        []byte // DER certificate
	Deleted    bool   // of a delta: "signature" is null
	Err        error  // why it cannot be used; the other fields are what could be read
}

type trustListJSON struct {
	KID        string  `json:"kid"`
	Timestamp  string  `json:"timestamp"`
	Country    string  `json:"country"`
	Type       string  `json:"certificateType"`
	Thumbprint string  `json:"thumbprint"`
	Signature  *string `json:"signature"`
	Raw        string  `json:"rawData"`
}

// ParseTrustList reads the answer of GET /trustList.
func ParseTrustList(data []byte) ([]TrustListEntry, error) {
	return parseList(data, readTrustListEntry)
}

func readTrustListEntry(m *members) TrustListEntry {
	e := TrustListEntry{
		KID: m.text("kid"), Timestamp: m.time("timestamp"), Country: m.country("country"), Type: m.text("certificateType"),
		Thumbprint: strings.ToLower(m.text("thumbprint")),
		// A delta keeps the entry of what was deleted, without its signature.
		Deleted: m.object.Get("signature").Kind() == strictjson.Null,
	}
	if !e.Deleted {
		e.Signature = m.bytes("signature")
	}
	if raw := m.object.Get("rawData"); !e.Deleted || raw.Exists() && raw.Kind() != strictjson.Null {
		e.Raw = m.bytes("rawData")
	}
	if e.Raw != nil && e.Thumbprint != "" && e.Thumbprint != Thumbprint(e.Raw) {
		m.fail("thumbprint", ErrThumbprint)
	}
	e.Err = m.err
	return e
}

// EncodeTrustList writes the answer of GET /trustList. The thumbprint is made
// from Raw where there is none.
func EncodeTrustList(entries []TrustListEntry) ([]byte, error) {
	out := make([]trustListJSON, len(entries))
	for i, e := range entries {
		out[i] = trustListJSON{
			KID: e.KID, Timestamp: formatTime(e.Timestamp), Country: e.Country, Type: e.Type,
			Thumbprint: e.Thumbprint, Raw: base64.StdEncoding.EncodeToString(e.Raw),
		}
		if e.Thumbprint == "" && len(e.Raw) > 0 {
			out[i].Thumbprint = Thumbprint(e.Raw)
		}
		if !e.Deleted {
			text := base64.StdEncoding.EncodeToString(e.Signature)
			out[i].Signature = &text
		}
	}
	return marshal(out)
}

// CertificateEntry is one certificate of GET /trustList/certificate.
//
//	{"certificate": "<DER, base64>", "signature": "<CMS, base64>", "kid": "…", "group": "DSC",
//	 "country": "XA", "domain": "PH4H", "uuid": "…", "version": 1, "sourceGateway": "…", "properties": {}}
type CertificateEntry struct {
	Raw           []byte
	Signature     []byte
	KID           string
	Group         string
	Country       string
	Domain        string
	UUID          string
	Version       int64
	SourceGateway string // "" for an entry of the gateway that was asked
	Properties    map[string]string
	Err           error
}

type certificateJSON struct {
	Raw           string            `json:"certificate"`
	Signature     string            `json:"signature"`
	KID           string            `json:"kid"`
	Group         string            `json:"group"`
	Country       string            `json:"country"`
	Domain        string            `json:"domain,omitempty"`
	UUID          string            `json:"uuid,omitempty"`
	Version       int64             `json:"version,omitempty"`
	SourceGateway string            `json:"sourceGateway,omitempty"`
	Properties    map[string]string `json:"properties"`
}

// ParseCertificates reads the answer of GET /trustList/certificate.
func ParseCertificates(data []byte) ([]CertificateEntry, error) {
	return parseList(data, readCertificateEntry)
}

func readCertificateEntry(m *members) CertificateEntry {
	e := CertificateEntry{
		Raw: m.bytes("certificate"), Signature: m.bytes("signature"), KID: m.text("kid"), Group: m.text("group"),
		Country: m.country("country"), Domain: m.text("domain"), UUID: m.text("uuid"), Version: m.number("version"),
		SourceGateway: m.text("sourceGateway"), Properties: m.properties("properties"),
	}
	e.Err = m.err
	return e
}

// EncodeCertificates writes the answer of GET /trustList/certificate.
func EncodeCertificates(entries []CertificateEntry) ([]byte, error) {
	out := make([]certificateJSON, len(entries))
	for i, e := range entries {
		out[i] = certificateJSON{
			Raw: base64.StdEncoding.EncodeToString(e.Raw), Signature: base64.StdEncoding.EncodeToString(e.Signature),
			KID: e.KID, Group: e.Group, Country: e.Country, Domain: e.Domain, UUID: e.UUID, Version: e.Version,
			SourceGateway: e.SourceGateway, Properties: e.Properties,
		}
	}
	return marshal(out)
}

// Upload is the body of POST /trustedCertificate.
type Upload struct {
	CMS        []byte // with the certificate in it, signed by the UP
	KID        string // "" for the derived one
	Group      string // "" means DSC
	Domain     string // "" means the gateway's default, DCC
	Properties map[string]string
}

type uploadJSON struct {
	CMS        string            `json:"cms"`
	KID        string            `json:"kid,omitempty"`
	Group      string            `json:"group,omitempty"`
	Domain     string            `json:"domain,omitempty"`
	Properties map[string]string `json:"properties"`
}

// Encode writes the body. The properties are never null: the gateway of the WHO
// fails on a missing object.
func (u Upload) Encode() ([]byte, error) {
	properties := u.Properties
	if properties == nil {
		properties = map[string]string{}
	}
	return marshal(uploadJSON{base64.StdEncoding.EncodeToString(u.CMS), u.KID, u.Group, u.Domain, properties})
}

// ParseUpload reads the body. Properties that are missing or null are none.
func ParseUpload(data []byte) (u Upload, err error) {
	err = parseObject(data, MaxBody, func(m *members) {
		u = Upload{
			CMS: m.bytes("cms"), KID: m.text("kid"), Group: m.text("group"), Domain: m.text("domain"),
			Properties: m.properties("properties"),
		}
	})
	return u, err
}

// Problem is what the gateway says when it refuses.
type Problem struct {
	Code      string `json:"code"`
	Problem   string `json:"problem"`
	SendValue string `json:"sendValue"`
	Details   string `json:"details"`
}

// Encode writes the body.
func (p Problem) Encode() ([]byte, error) { return marshal(p) }

// ParseProblem reads the body.
func ParseProblem(data []byte) (p Problem, err error) {
	err = parseObject(data, MaxBody, func(m *members) {
		p = Problem{Code: m.text("code"), Problem: m.text("problem"), SendValue: m.text("sendValue"), Details: m.text("details")}
	})
	return p, err
}

// RevocationItem names one batch of the revocation list.
type RevocationItem struct {
	BatchID string
	Country string
	Date    time.Time // of the last change
	Deleted bool
}

// RevocationPage is the answer of GET /revocation-list, ascending by date.
type RevocationPage struct {
	More    bool // ask again from the last date on
	Batches []RevocationItem
}

type (
	revocationItemJSON struct {
		BatchID string `json:"batchId"`
		Country string `json:"country"`
		Date    string `json:"date"`
		Deleted bool   `json:"deleted"`
	}
	revocationPageJSON struct {
		More    bool                 `json:"more"`
		Batches []revocationItemJSON `json:"batches"`
	}
)

// Encode writes the body.
func (p RevocationPage) Encode() ([]byte, error) {
	out := revocationPageJSON{More: p.More, Batches: make([]revocationItemJSON, len(p.Batches))}
	for i, b := range p.Batches {
		// The next question begins at the last date, so no fraction is cut off.
		out.Batches[i] = revocationItemJSON{b.BatchID, b.Country, b.Date.UTC().Format(time.RFC3339Nano), b.Deleted}
	}
	return marshal(out)
}

// ParseRevocationPage reads the body. One defect refuses the page: a batch that
// was dropped in silence would leave revoked certificates valid.
func ParseRevocationPage(data []byte) (p RevocationPage, err error) {
	err = parseObject(data, MaxList, func(m *members) {
		p.More = m.flag("more")
		list := m.object.Get("batches")
		switch {
		case list.Kind() != strictjson.Array:
			m.fail("batches", ErrMember)
		case list.Len() > MaxBatches:
			m.fail("batches", ErrTooManyEntries)
		default:
			for i := range list.Len() {
				item := members{object: list.At(i)}
				b := RevocationItem{BatchID: item.uuid("batchId"), Country: item.country("country"), Date: item.time("date"), Deleted: item.flag("deleted")}
				if b.Date.IsZero() {
					item.fail("date", ErrTime)
				}
				if item.err != nil {
					m.fail("batches["+strconv.Itoa(i)+"]", item.err)
					return
				}
				p.Batches = append(p.Batches, b)
			}
		}
	})
	return p, err
}

// EncodeBatchDelete writes what a CMS to /revocation-list/delete carries.
func EncodeBatchDelete(batchID string) ([]byte, error) {
	return marshal(map[string]string{"batchId": batchID})
}

// ParseBatchDelete reads the identifier of a batch that is to be deleted.
func ParseBatchDelete(data []byte) (batchID string, err error) {
	err = parseObject(data, MaxBody, func(m *members) { batchID = m.uuid("batchId") })
	return batchID, err
}

// What a [Package] holds.
const (
	PackageDSC        = "DSC"
	PackageRevocation = "REVOCATION_LIST"
	PackageRule       = "VALIDATION_RULE"
)

// Package is one CMS that a participant uploaded once, which it signs again when
// its UP changes: an item of GET /cms-migration, and the body of POST.
type Package struct {
	CMS      []byte
	EntityID int64
	Type     string
	Err      error
}

type packageJSON struct {
	CMS      string `json:"cms"`
	EntityID int64  `json:"entityId"`
	Type     string `json:"type"`
}

func (p *Package) read(m *members) {
	*p = Package{CMS: m.bytes("cms"), EntityID: m.number("entityId"), Type: m.text("type")}
}

// Encode writes the body of POST /cms-migration.
func (p Package) Encode() ([]byte, error) {
	return marshal(packageJSON{base64.StdEncoding.EncodeToString(p.CMS), p.EntityID, p.Type})
}

// ParsePackage reads the body of POST /cms-migration.
func ParsePackage(data []byte) (p Package, err error) {
	err = parseObject(data, MaxBody, p.read)
	return p, err
}

// EncodePackages writes the answer of GET /cms-migration.
func EncodePackages(list []Package) ([]byte, error) {
	out := make([]packageJSON, len(list))
	for i, p := range list {
		out[i] = packageJSON{base64.StdEncoding.EncodeToString(p.CMS), p.EntityID, p.Type}
	}
	return marshal(out)
}

// ParsePackages reads the answer of GET /cms-migration.
func ParsePackages(data []byte) ([]Package, error) {
	return parseList(data, func(m *members) (p Package) {
		p.read(m)
		p.Err = m.err
		return p
	})
}

// EncodeCountries writes the answer of GET /countrylist.
func EncodeCountries(countries []string) ([]byte, error) {
	if countries == nil {
		countries = []string{}
	}
	return marshal(countries)
}

// ParseCountries reads the answer of GET /countrylist.
func ParseCountries(data []byte) ([]string, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxBody, Depth: 2})
	if err != nil {
		return nil, err
	}
	if v.Kind() != strictjson.Array {
		return nil, ErrShape
	}
	countries := make([]string, 0, v.Len())
	for item := range v.All() {
		text, ok := item.Text()
		if !ok || !format.IsCapitals(text, 2) {
			return nil, ErrCountry
		}
		countries = append(countries, text)
	}
	return countries, nil
}

// Onboarding is the file TNG_TA.signed.<role>.json by which the trust anchor
// takes a participant's certificate in:
//
//	{"trustAnchorSignature": "<CMS with the certificate in it, base64>",
//	 "certificateRawData": "<DER, base64>", "certificateThumbprint": "<hex>", "country": "XA"}
type Onboarding struct {
	Signature  []byte
	Raw        []byte
	Thumbprint string
	Country    string
}

type onboardingJSON struct {
	Signature  string `json:"trustAnchorSignature"`
	Raw        string `json:"certificateRawData"`
	Thumbprint string `json:"certificateThumbprint"`
	Country    string `json:"country"`
}

// Encode writes the file. The thumbprint is made from Raw where there is none.
func (o Onboarding) Encode() ([]byte, error) {
	thumbprint := o.Thumbprint
	if thumbprint == "" {
		thumbprint = Thumbprint(o.Raw)
	}
	return marshal(onboardingJSON{
		base64.StdEncoding.EncodeToString(o.Signature), base64.StdEncoding.EncodeToString(o.Raw), thumbprint, o.Country,
	})
}

// ParseOnboarding reads the file.
func ParseOnboarding(data []byte) (o Onboarding, err error) {
	err = parseObject(data, MaxBody, func(m *members) {
		o = Onboarding{
			Signature: m.bytes("trustAnchorSignature"), Raw: m.bytes("certificateRawData"),
			Thumbprint: strings.ToLower(m.text("certificateThumbprint")), Country: m.country("country"),
		}
		if m.err == nil && o.Thumbprint != Thumbprint(o.Raw) {
			m.fail("certificateThumbprint", ErrThumbprint)
		}
	})
	return o, err
}

// Thumbprint is the SHA-256 of a certificate in lower-case hex.
func Thumbprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// DerivedKID is the identifier that the gateway gives a certificate: the base64
// of the first eight bytes of its SHA-256.
func DerivedKID(der []byte) string {
	sum := sha256.Sum256(der)
	return base64.StdEncoding.EncodeToString(sum[:8])
}

// EncodeCMS writes a CMS as a body: base64 without line breaks.
func EncodeCMS(cms []byte) []byte {
	return base64.StdEncoding.AppendEncode(nil, cms)
}

// ParseCMS reads a CMS that is a body. White space around it is forgiven, line
// breaks in it are not.
func ParseCMS(body []byte) ([]byte, error) {
	return decodeBase64(string(bytes.TrimSpace(body)))
}

func decodeBase64(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, ErrEmpty
	case base64.StdEncoding.DecodedLen(len(text)) > MaxCMS:
		return nil, ErrTooLarge
	case strings.ContainsAny(text, "\r\n"): // which DecodeString would skip
		return nil, ErrBase64
	}
	data, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, ErrBase64
	}
	return data, nil
}

// FormatSince writes the header If-Modified-Since as the gateways of both
// networks read it: ISO 8601, not the form of RFC 9110.
func FormatSince(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// ParseSince reads the header in either form.
func ParseSince(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{time.RFC1123, time.RFC1123Z} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, ErrTime
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// marshal writes JSON without the escapes of '<', '>' and '&' for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// parseList reads an array of objects, one by one.
func parseList[T any](data []byte, read func(*members) T) ([]T, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxList, Depth: 8})
	if err != nil {
		return nil, err
	}
	return readList(v, read)
}

func readList[T any](v strictjson.Value, read func(*members) T) ([]T, error) {
	switch {
	case v.Kind() != strictjson.Array:
		return nil, ErrShape
	case v.Len() > MaxEntries:
		return nil, fmt.Errorf("%d: %w", v.Len(), ErrTooManyEntries)
	}
	list := make([]T, 0, v.Len())
	for i := range v.Len() {
		m := members{object: v.At(i), place: "[" + strconv.Itoa(i) + "]."}
		if m.object.Kind() != strictjson.Object {
			m.fail("", ErrShape)
		}
		list = append(list, read(&m))
	}
	return list, nil
}

// parseObject reads one object.
func parseObject(data []byte, most int, read func(*members)) error {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: most, Depth: 8})
	if err != nil {
		return err
	}
	if v.Kind() != strictjson.Object {
		return ErrShape
	}
	m := members{object: v}
	read(&m)
	return m.err
}

// members reads the members of one object and keeps the first defect.
type members struct {
	object strictjson.Value
	place  string
	err    error
}

func (m *members) fail(name string, err error) {
	if m.err == nil {
		m.err = fmt.Errorf("%s%s: %w", m.place, name, err)
	}
}

// text reads a string; one that is missing or null is "".
func (m *members) text(name string) string {
	v := m.object.Get(name)
	if !v.Exists() || v.Kind() == strictjson.Null {
		return ""
	}
	text, ok := v.Text()
	switch {
	case !ok:
		m.fail(name, ErrMember)
	case len(text) > MaxText:
		m.fail(name, ErrTooLarge)
	default:
		return text
	}
	return ""
}

// bytes reads base64 that must be there.
func (m *members) bytes(name string) []byte {
	text, ok := m.object.Get(name).Text()
	if !ok {
		m.fail(name, ErrMember)
		return nil
	}
	data, err := decodeBase64(text)
	if err != nil {
		m.fail(name, err)
	}
	return data
}

func (m *members) country(name string) string {
	text := m.text(name)
	if !format.IsCapitals(text, 2) {
		m.fail(name, ErrCountry)
		return ""
	}
	return text
}

// time reads RFC 3339. The gateway has also written times without an offset; its
// clock is UTC.
func (m *members) time(name string) time.Time {
	text := m.text(name)
	if text == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05", text); err != nil {
			m.fail(name, ErrTime)
		}
	}
	return t
}

// number reads a whole number; one that is missing or null is 0.
func (m *members) number(name string) int64 {
	v := m.object.Get(name)
	if !v.Exists() || v.Kind() == strictjson.Null {
		return 0
	}
	number, _ := v.Number()
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		m.fail(name, ErrMember)
	}
	return n
}

// flag reads a truth value; one that is missing or null is false.
func (m *members) flag(name string) bool {
	switch m.object.Get(name).Kind() {
	case strictjson.True:
		return true
	case strictjson.False, strictjson.Null, strictjson.Missing:
	default:
		m.fail(name, ErrMember)
	}
	return false
}

// uuid reads an identifier in the form of RFC 9562, in letters of one case.
func (m *members) uuid(name string) string {
	text := m.text(name)
	if !IsUUID(text) {
		m.fail(name, ErrUUID)
		return ""
	}
	return text
}

// IsUUID reports whether a text is a UUID in lower-case letters, the only form
// that the gateway knows. So it can stand in an address as it is.
func IsUUID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		switch c := text[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case c < '0' || c > '9' && c < 'a' || c > 'f':
			return false
		}
	}
	return true
}

// properties reads an object of texts; one that is missing or null is empty.
func (m *members) properties(name string) map[string]string {
	v := m.object.Get(name)
	out := map[string]string{}
	switch {
	case !v.Exists() || v.Kind() == strictjson.Null:
		return out
	case v.Kind() != strictjson.Object:
		m.fail(name, ErrMember)
		return out
	case v.Len() > MaxProperty:
		m.fail(name, ErrTooManyEntries)
		return out
	}
	inner := members{object: v}
	for p := range v.All() {
		out[p.Name()] = inner.text(p.Name())
	}
	if inner.err != nil {
		m.fail(name, inner.err)
	}
	return out
}
