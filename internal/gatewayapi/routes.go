package gatewayapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"ampoule/format"
	"ampoule/format/tng"
	"ampoule/party/gateway"
)

// bad is a request that is not of the API.
func bad(details string) error {
	return &fault{http.StatusBadRequest, tng.Problem{Code: "0x000", Problem: "Bad request", Details: details}}
}

func (q *request) send(status int, kind string, body []byte, err error) error {
	if err != nil {
		return err
	}
	q.w.Header().Set("Content-Type", kind)
	q.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	q.w.WriteHeader(status)
	_, _ = q.w.Write(body) // who asked has gone
	return nil
}

func (q *request) done(status int) error {
	q.w.WriteHeader(status)
	return nil
}

// cmsOf reads a body that is a CMS; code is that of one which is none.
func cmsOf(body []byte, code string) ([]byte, error) {
	message, err := tng.ParseCMS(body)
	if err != nil {
		return nil, &fault{http.StatusBadRequest, tng.Problem{Code: code, Problem: "Not a CMS that can be used", Details: err.Error()}}
	}
	return message, nil
}

func (s *Server) uploadSigner(q *request, body []byte) error {
	message, err := cmsOf(body, tng.CodeUnknownClient)
	if err == nil {
		_, err = s.Operator.UploadSigner(q.Context(), q.participant, message)
	}
	if err != nil {
		return err
	}
	return q.done(http.StatusCreated)
}

func (s *Server) uploadTrusted(q *request, body []byte) error {
	u, err := tng.ParseUpload(body)
	if err != nil {
		return &fault{http.StatusBadRequest, tng.Problem{Code: "n/a", Problem: "Not a body of this address", Details: err.Error()}}
	}
	if _, err := s.Operator.Upload(q.Context(), q.participant, u); err != nil {
		return err
	}
	return q.done(http.StatusCreated)
}

func (s *Server) deleteCertificate(q *request, body []byte) error {
	message, err := cmsOf(body, tng.CodeSignature)
	if err == nil {
		err = s.Operator.DeleteCertificate(q.Context(), q.participant, message)
	}
	if err != nil {
		return err
	}
	return q.done(http.StatusNoContent)
}

// maxPage bounds a page of the trust list, and is the size of one without a size
// where pages are asked for.
const (
	maxPage  = 1000
	pageSize = 100
)

func (s *Server) trustList(q *request, _ []byte) error {
	l := gateway.ListQuery{Type: q.PathValue("type"), Country: q.PathValue("country")}
	known := false
	for _, t := range gateway.TrustListTypes() {
		known = known || strings.EqualFold(t, l.Type)
		if strings.EqualFold(t, l.Type) {
			l.Type = t
		}
	}
	if l.Type != "" && !known {
		return bad("there is no type " + format.Visible(l.Type))
	}
	if l.Country != "" && !format.IsCapitals(l.Country, 2) {
		return bad("a country has two capitals")
	}
	values := q.URL.Query()
	for name, to := range map[string]*int{"page": &l.Page, "pagesize": &l.Size} {
		if text := values.Get(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 0 || n > 1<<20 || name == "pagesize" && (n < 1 || n > maxPage) {
				return bad(name + " is no number that can be used")
			}
			*to = n
		}
	}
	if values.Has("page") && l.Size == 0 {
		l.Size = pageSize
	}
	if text := q.Header.Get("If-Modified-Since"); text != "" {
		var err error
		if l.Since, err = tng.ParseSince(text); err != nil {
			return bad("If-Modified-Since is no time of ISO 8601 or RFC 2616")
		}
	}
	encode := func() ([]byte, error) {
		list, err := s.Operator.TrustList(q.Context(), q.participant, l)
		if err != nil {
			return nil, err
		}
		return tng.EncodeTrustList(list)
	}
	if !l.Since.IsZero() {
		body, err := encode()
		return q.send(http.StatusOK, typeJSON, body, err)
	}
	body, err := s.kept.body(q.participant.AsOf(), fmt.Sprintf("trustList %s %s %d %d", l.Type, l.Country, l.Page, l.Size), encode)
	return q.send(http.StatusOK, typeJSON, body, err)
}

// kept are bodies of lists, as of one change: everybody asks for the same ones, and
// most of an answer's time is writing it.
type kept struct {
	mu     sync.Mutex // held while one is looked up
	asOf   time.Time
	bodies map[string][]byte
	size   int
}

// maxKept bounds the bytes that are kept. What has no room is written each time.
const maxKept = 32 << 20

func (k *kept) body(asOf time.Time, what string, write func() ([]byte, error)) ([]byte, error) {
	k.mu.Lock()
	if k.bodies == nil || asOf.After(k.asOf) {
		k.asOf, k.bodies, k.size = asOf, make(map[string][]byte), 0
	}
	body, ok := k.bodies[what]
	ok = ok && asOf.Equal(k.asOf) // and not of a request that began before the last change
	k.mu.Unlock()
	if ok {
		return body, nil
	}
	body, err := write()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.bodies[what] == nil && asOf.Equal(k.asOf) && k.size+len(what)+len(body) <= maxKept {
		k.bodies[what] = body
		k.size += len(what) + len(body)
	}
	return body, nil
}

// filter reads the filters of the new lists: each may be given more than once, or
// with commas.
func filter(q *request) (f gateway.CertificateQuery, err error) {
	values := q.URL.Query()
	for name, to := range map[string]*[]string{
		"group": &f.Groups, "country": &f.Countries, "domain": &f.Domains, "referenceType": &f.ReferenceTypes, "signatureType": &f.SignatureTypes,
	} {
		for _, text := range values[name] {
			for part := range strings.SplitSeq(text, ",") {
				if part != "" {
					*to = append(*to, part)
				}
			}
		}
	}
	switch text := values.Get("withFederation"); text {
	case "", "false":
	case "true":
		f.Federated = true
	default:
		return f, bad("withFederation is true or false")
	}
	return f, nil
}

func (s *Server) certificates(q *request, _ []byte) error {
	f, err := filter(q)
	if err != nil {
		return err
	}
	body, err := s.kept.body(q.participant.AsOf(), fmt.Sprintf("certificate %q %q %q %t", f.Groups, f.Countries, f.Domains, f.Federated), func() ([]byte, error) {
		return tng.EncodeCertificates(s.Operator.Certificates(q.participant, f))
	})
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) issuers(q *request, _ []byte) error {
	f, err := filter(q)
	if err != nil {
		return err
	}
	list, err := s.Operator.Issuers(q.Context(), f)
	if err != nil {
		return err
	}
	body, err := tng.EncodeIssuers(list)
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) references(q *request, _ []byte) error {
	f, err := filter(q)
	if err != nil {
		return err
	}
	list, err := s.Operator.References(q.Context(), f)
	if err != nil {
		return err
	}
	body, err := tng.EncodeReferences(list)
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) uploadReference(q *request, body []byte) error {
	message, err := cmsOf(body, "0x260")
	if err != nil {
		return err
	}
	r, err := s.Operator.UploadReference(q.Context(), q.participant, message)
	if err != nil {
		return err
	}
	out, err := r.Encode()
	return q.send(http.StatusCreated, typeJSON, out, err)
}

func (s *Server) deleteReference(q *request, body []byte) error {
	message, err := cmsOf(body, "0x260")
	if err == nil {
		err = s.Operator.DeleteReference(q.Context(), q.participant, message)
	}
	if err != nil {
		return err
	}
	return q.done(http.StatusNoContent)
}

func (s *Server) reference(q *request, _ []byte) error {
	id := q.PathValue("id")
	if !tng.IsUUID(id) {
		return bad("the identifier is no UUID")
	}
	body, err := s.Operator.Reference(q.Context(), id)
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) countries(q *request, _ []byte) error {
	body, err := tng.EncodeCountries(s.Operator.Countries(q.participant))
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) valueSets(q *request, _ []byte) error {
	body, err := json.Marshal(s.Operator.ValueSetIDs())
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) valueSet(q *request, _ []byte) error {
	body, err := s.Operator.ValueSet(q.PathValue("id"))
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) rules(q *request, _ []byte) error {
	rules, err := s.Operator.Rules(q.Context(), q.PathValue("country"))
	if err != nil {
		return err
	}
	body, err := json.Marshal(rules)
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) uploadRule(q *request, body []byte) error {
	message, err := cmsOf(body, "0x260")
	if err == nil {
		err = s.Operator.UploadRule(q.Context(), q.participant, message)
	}
	if err != nil {
		return err
	}
	return q.done(http.StatusCreated)
}

func (s *Server) deleteRule(q *request, body []byte) error {
	message, err := cmsOf(body, "0x260")
	if err == nil {
		err = s.Operator.DeleteRule(q.Context(), q.participant, message)
	}
	if err != nil {
		return err
	}
	return q.done(http.StatusNoContent)
}

func (s *Server) batches(q *request, _ []byte) error {
	// ISO 8601 only, and not left out: who asks for everything says so.
	since, err := time.Parse(time.RFC3339, q.Header.Get("If-Modified-Since"))
	if err != nil {
		return bad("If-Modified-Since is needed, in ISO 8601")
	}
	page, err := s.Operator.Batches(q.Context(), q.participant, since)
	if err != nil {
		return err
	}
	if len(page.Batches) == 0 {
		return q.done(http.StatusNoContent)
	}
	body, err := page.Encode()
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) batch(q *request, _ []byte) error {
	id := q.PathValue("id")
	if !tng.IsUUID(id) {
		return bad("the identifier is no UUID")
	}
	signed, err := s.Operator.Batch(q.Context(), q.participant, id)
	if err != nil {
		return err
	}
	q.w.Header().Set("ETag", id) // without quotes, as the gateways have it
	return q.send(http.StatusOK, tng.TypeCMSText, tng.EncodeCMS(signed), nil)
}

func (s *Server) uploadBatch(q *request, body []byte) error {
	message, err := cmsOf(body, "0x260")
	if err != nil {
		return err
	}
	id, err := s.Operator.UploadBatch(q.Context(), q.participant, message)
	if err != nil {
		return err
	}
	q.w.Header().Set("ETag", id)
	return q.done(http.StatusCreated)
}

func (s *Server) deleteBatch(q *request, body []byte) error {
	message, err := cmsOf(body, "0x260")
	if err == nil {
		err = s.Operator.DeleteBatch(q.Context(), q.participant, message)
	}
	if err != nil {
		return err
	}
	return q.done(http.StatusNoContent)
}

func (s *Server) packages(q *request, _ []byte) error {
	list, err := s.Operator.Packages(q.Context(), q.participant)
	if err != nil {
		return err
	}
	body, err := tng.EncodePackages(list)
	return q.send(http.StatusOK, typeJSON, body, err)
}

func (s *Server) migrate(q *request, body []byte) error {
	p, err := tng.ParsePackage(body)
	if err != nil {
		return &fault{http.StatusBadRequest, tng.Problem{Code: "n/a", Problem: "Not a body of this address", Details: err.Error()}}
	}
	if err := s.Operator.Migrate(q.Context(), q.participant, p); err != nil {
		return err
	}
	return q.done(http.StatusNoContent)
}
