package resolverapi

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"ampoule/device"
	"ampoule/format/linkset"
	"ampoule/format/oid"
	"ampoule/party/fleet"
	"ampoule/thing/resolve"
)

// Media types of DID resolution (W3C DID Resolution, section 7).
const (
	mediaResolution = "application/did-resolution"
	mediaDocument   = "application/did+ld+json"
)

// organisation is the service's own, by did:web of its address.
func (x *exchange) organisation() (*resolve.Subject, error) {
	id, err := resolve.WebDID(x.Origin)
	if err != nil {
		return nil, err
	}
	s := &resolve.Subject{ID: id, Methods: []resolve.Method{{Fragment: x.KID, Public: x.Signer.Public()}}}
	s.Methods = append(s.Methods, x.Organisation.Keys...)
	s.Services = append(s.Services, resolve.Service{Fragment: "resolver", Type: "LinkedDomains", Endpoint: x.Origin})
	if x.Events != "" {
		s.Services = append(s.Services, resolve.Service{Fragment: "epcis", Type: "EPCIS", Endpoint: x.Origin + x.Events})
	}
	return s, nil
}

// deviceSubject is a device: did:web of this service, with its keys and when each was
// given up.
func (x *exchange) deviceSubject(d *fleet.Device) (*resolve.Subject, error) {
	id, err := resolve.WebDID(x.Origin, "things", d.ID.String())
	if err != nil {
		return nil, err
	}
	s := &resolve.Subject{ID: id, AlsoKnownAs: []string{"urn:oid:" + d.ID.String()}}
	for _, k := range d.Keys {
		pub, err := x509.ParsePKIXPublicKey(k.Public)
		if err != nil {
			return nil, err
		}
		s.Methods = append(s.Methods, resolve.Method{Fragment: hex.EncodeToString(k.KID), Public: pub, Authentication: d.State.Heard(), Until: k.Until})
	}
	return s, nil
}

// subjectOf finds the subject of a DID, and whether it is no more; nil: it is not known
// here.
func (x *exchange) subjectOf(did string) (s *resolve.Subject, gone bool, err error) {
	switch {
	case strings.HasPrefix(did, "did:key:"):
		s, err = resolve.KeySubject(did)
		return s, false, err
	case !strings.HasPrefix(did, "did:web:"):
		return nil, false, resolve.ErrMethod
	}
	_, path, err := resolve.ParseWebDID(did)
	if err != nil {
		return nil, false, err
	}
	own, err := x.organisation()
	switch {
	case err != nil:
		return nil, false, nil // this service has no address that a DID could be of
	case did == own.ID:
		return own, false, nil
	case did != own.ID+":"+strings.Join(path, ":") || len(path) != 2 || path[0] != "things" || x.Fleet == nil:
		return nil, false, nil
	}
	id, err := oid.Parse(path[1])
	if err != nil {
		return nil, false, nil
	}
	d, err := x.Fleet.Device(x.r.Context(), id)
	if errors.Is(err, fleet.ErrNoDevice) || err == nil && d.State == device.Announced {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	s, err = x.deviceSubject(d)
	return s, d.State == device.Retired, err
}

// subject is the row of a DID.
func (x *exchange) subject(id resolve.Identifier) (*row, error) {
	s, gone, err := x.subjectOf(id.Name)
	switch {
	case errors.Is(err, resolve.ErrMethod), errors.Is(err, resolve.ErrKey), err == nil && s == nil:
		return nil, nil
	case errors.Is(err, resolve.ErrDID):
		return nil, bad(err)
	case err != nil:
		return nil, err
	}
	r := &row{kind: KindDevice, did: id.Name, set: linkset.Context{Description: id.Name}}
	own, err := x.organisation()
	switch {
	case err == nil && own.ID == id.Name:
		r.kind, r.set.Description = KindOrganisation, x.Organisation.Name
		r.data = organisationBody{id.Name, KindOrganisation, x.Organisation.Name, x.Organisation.Country}
		resolve.Merge(&r.set, one(linkset.MasterData, x.at("/resolve/data", id), "The organisation", "application/json"))
	case strings.HasPrefix(id.Name, "did:key:"):
		r.kind = KindOther // whose key it is, it does not say
	}
	if gone {
		r.status = string(device.Retired)
	}
	resolve.Merge(&r.set, one("describedby", x.Origin+"/1.0/identifiers/"+url.PathEscape(id.Name), "DID document", mediaResolution))
	return r, nil
}

type organisationBody struct {
	ID      string `json:"id"`
	Kind    Kind   `json:"kind"`
	Name    string `json:"name"`
	Country string `json:"country,omitempty"`
}

// resolution is a DID resolution result (section 5).
type resolution struct {
	Context  string          `json:"@context"`
	Document json.RawMessage `json:"didDocument"`
	Metadata map[string]any  `json:"didResolutionMetadata"`
	About    map[string]any  `json:"didDocumentMetadata"`
}

// resolveDID answers GET /1.0/identifiers/{did}.
func (x *exchange) resolveDID() error {
	raw := strings.TrimPrefix(x.r.URL.EscapedPath(), "/1.0/identifiers/")
	// The colon before a port is escaped in a did:web. Some escape the whole in an
	// address, and some do not.
	did, err := url.PathUnescape(raw)
	if err != nil {
		return bad(resolve.ErrDID)
	}
	s, gone, err := x.subjectOf(did)
	if s == nil && raw != did {
		if other, g, errRaw := x.subjectOf(raw); other != nil && errRaw == nil {
			s, gone, err, did = other, g, nil, raw
		}
	}
	result := resolution{Context: "https://w3id.org/did-resolution/v1", Document: json.RawMessage("null"), Metadata: map[string]any{}, About: map[string]any{}}
	status := http.StatusOK
	fault := func(code int, name, title string) {
		status = code
		result.Metadata["error"] = map[string]any{"type": "https://www.w3.org/ns/did#" + name, "title": title, "status": code}
	}
	id, errParse := resolve.Parse(did)
	switch {
	case errParse != nil || id.Scheme != resolve.DID, errors.Is(err, resolve.ErrDID):
		fault(http.StatusBadRequest, "INVALID_DID", "This is no DID")
	case errors.Is(err, resolve.ErrMethod), errors.Is(err, resolve.ErrKey):
		fault(http.StatusNotImplemented, "METHOD_NOT_SUPPORTED", "did:web of this service and did:key are resolved")
	case err != nil:
		return err
	case s == nil:
		fault(http.StatusNotFound, "NOT_FOUND", "Nothing is known under this DID")
	default:
		document, err := s.Document()
		if err != nil {
			return err
		}
		if x.accepts(mediaDocument) || x.accepts("application/did+json") || x.accepts("application/did") {
			if gone {
				break
			}
			return x.send(mediaDocument, document)
		}
		result.Document = document
		result.Metadata["contentType"] = mediaDocument
	}
	if gone {
		result.About["deactivated"] = true
		status = http.StatusGone
	}
	body, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return x.sendStatus(status, mediaResolution, body)
}

// didDocument answers what did:web leads to.
func (x *exchange) didDocument() error {
	own, err := x.organisation()
	if err != nil {
		return problemNone
	}
	did := own.ID
	if name, ok := strings.CutPrefix(x.r.URL.Path, "/things/"); ok {
		did += ":things:" + strings.TrimSuffix(name, "/did.json")
	}
	s, _, err := x.subjectOf(did)
	switch {
	case errors.Is(err, resolve.ErrDID), err == nil && s == nil:
		return problemNone
	case err != nil:
		return err
	}
	document, err := s.Document()
	if err != nil {
		return err
	}
	return x.send(mediaDocument, document)
}
