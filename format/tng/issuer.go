package tng

import (
	"encoding/base64"
	"strings"
	"time"
)

// Kinds of an [Issuer]'s address.
const (
	IssuerHTTP = "HTTP"
	IssuerDID  = "DID"
)

// Issuer is one entry of GET /trustList/issuers: an address under which a
// participant publishes keys that are no certificates.
type Issuer struct {
	URL            string
	Type           string // HTTP or DID
	Country        string
	Thumbprint     string
	SSLPublicKey   string
	KeyStorageType string // JWKS, DIDDocument
	Signature      []byte // CMS of the trust anchor over SignedText
	Timestamp      time.Time
	Name           string
	Domain         string
	UUID           string
	Version        int64
	SourceGateway  string
	Err            error
}

type issuerJSON struct {
	URL            string `json:"url"`
	Type           string `json:"type"`
	Country        string `json:"country"`
	Thumbprint     string `json:"thumbprint"`
	SSLPublicKey   string `json:"sslPublicKey"`
	KeyStorageType string `json:"keyStorageType"`
	Signature      string `json:"signature"`
	Timestamp      string `json:"timestamp,omitempty"`
	Name           string `json:"name"`
	Domain         string `json:"domain,omitempty"`
	UUID           string `json:"uuid,omitempty"`
	Version        int64  `json:"version,omitempty"`
	SourceGateway  string `json:"sourceGateway,omitempty"`
}

// SignedText is what the trust anchor signs of an issuer (dgc-lib, getHashData):
//
//	country ";" name ";" url ";" type ";"
//
// Neither thumbprint nor domain is in it. An address may have a ';', so that a
// name with one is refused: the same text would be another issuer's.
func (e Issuer) SignedText() string {
	return e.Country + ";" + e.Name + ";" + e.URL + ";" + e.Type + ";"
}

// ParseIssuers reads the answer of GET /trustList/issuers.
func ParseIssuers(data []byte) ([]Issuer, error) {
	return parseList(data, readIssuer)
}

func readIssuer(m *members) Issuer {
	e := Issuer{
		URL: m.text("url"), Type: m.text("type"), Country: m.country("country"), Thumbprint: m.text("thumbprint"),
		SSLPublicKey: m.text("sslPublicKey"), KeyStorageType: m.text("keyStorageType"), Signature: m.bytes("signature"),
		Timestamp: m.time("timestamp"), Name: m.text("name"), Domain: m.text("domain"), UUID: m.text("uuid"),
		Version: m.number("version"), SourceGateway: m.text("sourceGateway"),
	}
	switch {
	case e.URL == "":
		m.fail("url", ErrMember)
	case e.Type != IssuerHTTP && e.Type != IssuerDID:
		m.fail("type", ErrMember)
	case strings.Contains(e.Name, ";"):
		m.fail("name", ErrSeparator)
	}
	e.Err = m.err
	return e
}

// EncodeIssuers writes the answer of GET /trustList/issuers.
func EncodeIssuers(entries []Issuer) ([]byte, error) {
	out := make([]issuerJSON, len(entries))
	for i, e := range entries {
		out[i] = issuerJSON{
			URL: e.URL, Type: e.Type, Country: e.Country, Thumbprint: e.Thumbprint, SSLPublicKey: e.SSLPublicKey,
			KeyStorageType: e.KeyStorageType, Signature: base64.StdEncoding.EncodeToString(e.Signature),
			Timestamp: formatTime(e.Timestamp), Name: e.Name, Domain: e.Domain, UUID: e.UUID, Version: e.Version,
			SourceGateway: e.SourceGateway,
		}
	}
	return marshal(out)
}

// Reference is one entry of GET /trustList/references: a service of a
// participant. It carries no signature of its own; the gateway alone says it.
type Reference struct {
	UUID             string `json:"uuid,omitempty"`
	Version          string `json:"version"`
	Country          string `json:"country"`
	Type             string `json:"type"` // DCC, FHIR
	Service          string `json:"service"`
	Thumbprint       string `json:"thumbprint"`
	Name             string `json:"name"`
	SSLPublicKey     string `json:"sslPublicKey"`
	ContentType      string `json:"contentType"`
	SignatureType    string `json:"signatureType"` // CMS, JWS, NONE
	ReferenceVersion string `json:"referenceVersion"`
	Domain           string `json:"domain,omitempty"`
	SourceGateway    string `json:"sourceGateway,omitempty"`
	Err              error  `json:"-"`
}

func (e *Reference) read(m *members) {
	*e = Reference{
		UUID: m.text("uuid"), Version: m.textOrNumber("version"), Country: m.country("country"), Type: m.text("type"),
		Service: m.text("service"), Thumbprint: m.text("thumbprint"), Name: m.text("name"), SSLPublicKey: m.text("sslPublicKey"),
		ContentType: m.text("contentType"), SignatureType: m.text("signatureType"), ReferenceVersion: m.text("referenceVersion"),
		Domain: m.text("domain"), SourceGateway: m.text("sourceGateway"),
	}
	if e.UUID != "" && !IsUUID(e.UUID) {
		m.fail("uuid", ErrUUID)
	}
}

// textOrNumber reads what was a text in one version of the gateway and is a
// number in the next.
func (m *members) textOrNumber(name string) string {
	if n, ok := m.object.Get(name).Number(); ok {
		return string(n)
	}
	return m.text(name)
}

// ParseReferences reads the answer of GET /trustList/references.
func ParseReferences(data []byte) ([]Reference, error) {
	return parseList(data, func(m *members) (e Reference) {
		e.read(m)
		e.Err = m.err
		return e
	})
}

// EncodeReferences writes the answer of GET /trustList/references.
func EncodeReferences(entries []Reference) ([]byte, error) {
	if entries == nil {
		entries = []Reference{}
	}
	return marshal(entries)
}

// ParseReference reads one, which a CMS to POST /trust/reference carries.
func ParseReference(data []byte) (e Reference, err error) {
	err = parseObject(data, MaxBody, e.read)
	return e, err
}

// Encode writes one.
func (e Reference) Encode() ([]byte, error) { return marshal(e) }

// EncodeReferenceDelete writes what a CMS to DELETE /trust/reference carries.
func EncodeReferenceDelete(uuid string) ([]byte, error) {
	return marshal(map[string]string{"uuid": uuid})
}

// ParseReferenceDelete reads the identifier of a reference that is to be deleted.
func ParseReferenceDelete(data []byte) (uuid string, err error) {
	err = parseObject(data, MaxBody, func(m *members) { uuid = m.uuid("uuid") })
	return uuid, err
}
