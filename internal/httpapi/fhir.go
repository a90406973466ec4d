package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/shc"
	"ampoule/format/strictjson"
	"ampoule/internal/access"
	"ampoule/internal/messages"
	"ampoule/party/issuer"
)

// The operation $health-cards-issue of "SMART Health Cards and Links" (FHIR R4,
// 1.0.0): a wallet or another system of the clinic asks for the cards of a person.
// A patient is named by a record of that person; the answer has a card for every
// valid record of the same person that its asker may read.

const fhirJSON = "application/fhir+json"

// maxCards bounds the cards of an answer.
const maxCards = 50

// parameters are what is asked for and what is answered (FHIR R4, Parameters).
type parameters struct {
	ResourceType string      `json:"resourceType"`
	Parameter    []parameter `json:"parameter,omitempty"`
}

type parameter struct {
	Name     string `json:"name"`
	URI      string `json:"valueUri,omitempty"`
	String   string `json:"valueString,omitempty"`
	DateTime string `json:"valueDateTime,omitempty"`
}

// cardRequest is what is asked for.
type cardRequest struct {
	types []string // all of them must fit
	since string   // a date or a part of one; empty: of any age
}

// sinceForm is a FHIR dateTime, of which the day is what counts.
var sinceForm = regexp.MustCompile(`^[0-9]{4}(-[0-9]{2}(-[0-9]{2}(T.+)?)?)?$`)

func parseCardRequest(data []byte) (r cardRequest, err error) {
	var p parameters
	if err := strictjson.Unmarshal(data, &p, strictjson.Limits{Bytes: maxBody}); err != nil {
		return r, err
	}
	if p.ResourceType != "Parameters" {
		return r, fmt.Errorf("resourceType: Parameters is asked for: %w", format.BadValue)
	}
	for n, e := range p.Parameter {
		switch e.Name {
		case "credentialType":
			if e.URI == "" {
				return r, fmt.Errorf("parameter[%d].valueUri: %w", n, format.RequiredMissing)
			}
			r.types = append(r.types, e.URI)
		case "_since":
			if !sinceForm.MatchString(e.DateTime) || r.since != "" {
				return r, fmt.Errorf("parameter[%d].valueDateTime: %w", n, format.BadDate)
			}
			r.since = e.DateTime[:min(len(e.DateTime), len(time.DateOnly))]
		}
		// includeIdentityClaim and credentialValueSet may be ignored: what a card names
		// is what its record has, and what was signed is not cut down.
	}
	if len(r.types) == 0 {
		return r, fmt.Errorf("parameter: credentialType: %w", format.RequiredMissing)
	}
	return r, nil
}

// fits reports whether a record is of every type that is asked for, and young
// enough. Types are FHIR resource types, and the addresses that came before them.
func (r cardRequest) fits(c *cert.Certificate) bool {
	disease, date := "", ""
	switch {
	case c.Vaccination != nil:
		disease, date = c.Vaccination.Disease.Code, string(c.Vaccination.Date)
	case c.Test != nil:
		disease, date = c.Test.Disease.Code, c.Test.Sampled
	case c.Recovery != nil:
		disease, date = c.Recovery.Disease.Code, string(c.Recovery.FirstPositive)
	}
	for _, t := range r.types {
		fits := false
		switch t {
		case "Immunization", "https://smarthealth.cards#immunization":
			fits = c.Vaccination != nil
		case "Observation", "https://smarthealth.cards#laboratory":
			fits = c.Test != nil
		case "https://smarthealth.cards#covid19":
			d, known := cert.FindDisease(disease)
			fits = known && d.Word == "covid-19"
		case "Patient", "https://smarthealth.cards#health-card":
			fits = true
		}
		if !fits {
			return false
		}
	}
	return date[:min(len(date), len(r.since))] >= r.since
}

// fhirAnswer is a FHIR resource.
type fhirAnswer struct {
	Status       int
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Body         []byte
}

func fhirAnswerOf(status int, v any) *fhirAnswer {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return &fhirAnswer{status, fhirJSON, "no-store", body}
}

// outcome is a problem the way FHIR tells one (R4, OperationOutcome).
func outcome(l *messages.Language, err error) *fhirAnswer {
	p, ok := err.(*problem)
	if !ok {
		p = problemInternal
	}
	said := p.in(l)
	code := map[int]string{401: "login", 403: "forbidden", 404: "not-found", 409: "conflict", 410: "deleted", 422: "processing", 500: "exception"}[p.Status]
	if code == "" {
		code = "invalid"
	}
	return fhirAnswerOf(p.Status, map[string]any{
		"resourceType": "OperationOutcome",
		"issue": []map[string]any{{
			"severity": "error", "code": code, "diagnostics": said.Detail,
			"details": map[string]any{"coding": []map[string]string{{"code": p.Reason}}, "text": said.Title},
		}},
	})
}

// describeFHIR registers the operation, and what a FHIR client asks first.
func (s *server) describeFHIR(api huma.API) {
	issue := huma.Operation{
		OperationID: "healthCardsIssue", Method: "POST", Path: "/fhir/Patient/{id}/$health-cards-issue", MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second,
		Summary:     "The SMART Health Cards of the person of a record (FHIR R4)",
		Description: "Takes and gives Parameters, and tells of problems by OperationOutcome. A valid record that has no card yet gets one, where the one who asks may issue.",
		Errors:      []int{400, 401, 403, 404}, Responses: fileResponse(fhirJSON), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}
	register(api, issue, func(ctx context.Context, r *struct {
		IDParameter
		RawBody []byte `contentType:"application/fhir+json"`
	}) (*fhirAnswer, error) {
		asked, err := parseCardRequest(r.RawBody)
		if err != nil {
			return outcome(languageOf(ctx), problemBadRequest.with(err.Error())), nil
		}
		cards, err := s.cards(ctx, r.ID, asked)
		if err != nil {
			return outcome(languageOf(ctx), err), nil
		}
		out := parameters{ResourceType: "Parameters"}
		for _, jws := range cards {
			out.Parameter = append(out.Parameter, parameter{Name: "verifiableCredential", String: jws})
		}
		return fhirAnswerOf(http.StatusOK, out), nil
	})
	register(api, huma.Operation{
		OperationID: "capabilities", Method: "GET", Path: "/fhir/metadata", Summary: "What the FHIR side can do: CapabilityStatement (FHIR R4)", Responses: fileResponse(fhirJSON),
	}, func(context.Context, *struct{}) (*fhirAnswer, error) {
		return fhirAnswerOf(http.StatusOK, map[string]any{
			"resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.1", "format": []string{fhirJSON},
			"date":           s.Issuing.Made.UTC().Format(time.DateOnly),
			"software":       map[string]string{"name": "Ampoule", "version": s.API.Version},
			"implementation": map[string]string{"description": "Issues SMART Health Cards"},
			"rest": []any{map[string]any{
				"mode": "server",
				"resource": []any{map[string]any{"type": "Patient", "operation": []any{map[string]string{
					"name": "health-cards-issue", "definition": "http://hl7.org/fhir/uv/smart-health-cards-and-links/OperationDefinition/patient-i-health-cards-issue",
				}}}},
			}},
		}), nil
	})
}

// cards returns the cards of the person of a record.
func (s *server) cards(ctx context.Context, id string, asked cardRequest) (out []string, err error) {
	i := s.Issuing

	// Step 1: the person, of whom the asker names a record.
	head, by, err := i.record(ctx, access.CertificateRead, id)
	if err != nil {
		return nil, err
	}
	named, err := i.Registry.Read(ctx, by, head.ID)
	if err != nil {
		return nil, issuingProblem(err)
	}
	person := named.Record.Person

	// Step 2: that person's records. The index finds more, such as those of two
	// people who share a name and a birthday and have two passports.
	found, err := i.Registry.Search(ctx, by, issuer.Query{Name: person.Name, BirthDate: person.BirthDate, Document: person.Document.Number})
	if errors.Is(err, format.RequiredMissing) {
		found, err = []issuer.Head{head}, nil // nothing to find others by
	}
	if err != nil {
		return nil, issuingProblem(err)
	}
	slices.Reverse(found) // oldest first
	for _, h := range found {
		if h.State != issuer.Valid || len(out) == maxCards {
			continue
		}
		held := named
		if h.ID != head.ID {
			if held, err = i.Registry.Read(ctx, by, h.ID); err != nil {
				return nil, issuingProblem(err)
			}
		}
		if !samePerson(person, held.Record.Person) || !asked.fits(held.Record) {
			continue
		}

		// Step 3: the card, or a new one.
		if !slices.Contains(h.Formats, issuer.SHC) {
			if ok, _ := i.Policy.Allow(principal(ctx), access.CertificateIssue, h.Place); !ok || i.Registry.Issuers[issuer.SHC] == nil {
				continue
			}
			if held, err = i.Registry.Add(ctx, by, issuer.Guard{ID: h.ID, Version: h.Version}, issuer.Wanted{Format: issuer.SHC}); err != nil {
				return nil, issuingProblem(err)
			}
		}
		for _, a := range held.Artefacts {
			if !a.Current || a.Format != issuer.SHC {
				continue
			}
			jws, err := shc.Parse(shc.Strict, a.Text)
			if err != nil {
				return nil, err
			}
			out = append(out, jws.Text)
		}
	}
	return out, nil
}

// samePerson reports whether two records are of one person for sure: of one
// document, or, where either has none, of one name and one whole birth date.
func samePerson(a, b cert.Person) bool {
	if a.Document.Number != "" && b.Document.Number != "" {
		return a.Document == b.Document
	}
	return a.Name == b.Name && a.BirthDate == b.BirthDate && len(a.BirthDate) == len(time.DateOnly)
}
