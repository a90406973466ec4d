package tng

import (
	"encoding/json"
	"fmt"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// ErrDownload refuses a file as a [Download].
const ErrDownload = format.Defect("not-a-download")

// Download is what a participant took from a gateway, in a file of our own: the
// lists as they were answered, each entry with its CMS, so that whoever has the
// file and the trust anchor's certificate checks everything again.
//
//	{"gatewayDownload": 1, "gateway": "https://…", "at": "2026-11-22T10:00:00Z",
//	 "trustList": […], "certificates": […], "issuers": […]}
type Download struct {
	Gateway      string    // address, for people
	At           time.Time // when the newest of the lists came, by the participant's clock
	TrustList    []TrustListEntry
	Certificates []CertificateEntry
	Issuers      []Issuer
}

type downloadJSON struct {
	Version      int             `json:"gatewayDownload"`
	Gateway      string          `json:"gateway"`
	At           string          `json:"at"`
	TrustList    json.RawMessage `json:"trustList"`
	Certificates json.RawMessage `json:"certificates"`
	Issuers      json.RawMessage `json:"issuers"`
}

// Encode writes the file.
func (d *Download) Encode() ([]byte, error) {
	out := downloadJSON{Version: 1, Gateway: d.Gateway, At: formatTime(d.At)}
	var err error
	if out.TrustList, err = EncodeTrustList(d.TrustList); err != nil {
		return nil, err
	}
	if out.Certificates, err = EncodeCertificates(d.Certificates); err != nil {
		return nil, err
	}
	if out.Issuers, err = EncodeIssuers(d.Issuers); err != nil {
		return nil, err
	}
	return marshal(out)
}

// ParseDownload reads the file. Entries that cannot be read have their Err.
func ParseDownload(data []byte) (*Download, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: 2 * MaxList, Depth: 8})
	if err != nil {
		return nil, err
	}
	m := members{object: v}
	switch m.number("gatewayDownload") {
	case 1:
	case 0:
		return nil, ErrDownload
	default:
		return nil, fmt.Errorf("of a newer form: %w", ErrDownload)
	}
	d := &Download{Gateway: m.text("gateway"), At: m.time("at")}
	if m.err != nil {
		return nil, m.err
	}
	if d.TrustList, err = readList(v.Get("trustList"), readTrustListEntry); err != nil {
		return nil, fmt.Errorf("trustList: %w", err)
	}
	if d.Certificates, err = readList(v.Get("certificates"), readCertificateEntry); err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	if d.Issuers, err = readList(v.Get("issuers"), readIssuer); err != nil {
		return nil, fmt.Errorf("issuers: %w", err)
	}
	return d, nil
}
