package httpapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"ampoule/internal/messages"
	"ampoule/party/verifier"
)

// API is what programs ask over HTTP: the same verdicts as the page, by a
// description in OpenAPI 3.1 that is made from this code.
type API struct {
	Version string
	// Trust tells what the verifier goes by.
	Trust TrustInfo
}

// TrustInfo is what a verifier goes by, and how old that is.
type TrustInfo struct {
	Keys   int         `json:"keys" doc:"Keys that are trusted"`
	Bundle *BundleInfo `json:"bundle,omitempty" doc:"The signed bundle, where there is one"`
}

// BundleInfo is what a bundle says of itself.
type BundleInfo struct {
	Serial int64     `json:"serial"`
	Maker  string    `json:"maker"`
	Issued time.Time `json:"issued"`
	Next   time.Time `json:"next" doc:"From then on it is too old, and nothing is valid by it"`
	Digest string    `json:"digest" doc:"SHA-256 of its payload, in hexadecimal"`
}

// The bounds of a request to verify.
const (
	maxTexts = 64 // as the tag of verifyBody says
	maxBody  = 1 << 20
)

type verifyBody struct {
	Texts   []string  `json:"texts" minItems:"1" maxItems:"64" doc:"Texts of codes: HC1:…, shc:/…, a JWS, a seal. The parts of one that was split belong into one request, in any order"`
	At      time.Time `json:"at,omitzero" doc:"Judge as of this time instead of now"`
	Arrival string    `json:"arrival,omitempty" pattern:"^[A-Za-z]{2}$" patternDescription:"two letters" doc:"Country of arrival, whose rules apply"`
	Proof   []byte    `json:"proof,omitempty" maxLength:"87384" doc:"What came beside the one certificate: its way to a landmark, or a receipt, in base64"`
	Show    bool      `json:"show,omitempty" doc:"The content even where the certificate is not valid"`
	// Transcript asks for the record of each verdict.
	Transcript bool `json:"transcript,omitempty" doc:"A signed transcript with each verdict, in base64. The verdict is that of the bundle at /bundle then, so that anyone who has it can reach it again"`
}

type verdictsBody struct {
	Verdicts []verifier.Report `json:"verdicts" doc:"One for each certificate, in the order of the texts"`
}

type trustAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Body         TrustInfo
}

// describe registers the operations on the mux, and returns their description.
func (s *server) describe(mux *http.ServeMux) *huma.OpenAPI {
	config := huma.DefaultConfig("Ampoule", s.API.Version)
	config.Info.Description = "Verifies health certificates and says why. Nothing that is sent is kept."
	// The library's pages load from elsewhere; ours is at /docs.
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil
	config.OpenAPIPath = "/openapi"
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"session": {Type: "apiKey", In: "cookie", Name: "ampoule", Description: "Of somebody who logged in at /login"},
		"token":   {Type: "http", Scheme: "bearer", Description: "Of a program"},
	}
	api := humago.New(mux, config)
	if s.Issuing != nil {
		s.describeIssuing(api)
		s.describeStatus(api)
		s.describeOutbox(api)
		s.describeFHIR(api)
		s.describeAdverse(api)
		if s.Issuing.Bulk != nil {
			s.describeJobs(api)
			s.describeRevocations(api)
		}
	}

	if s.Ledger != nil {
		s.describeLedger(api)
	}
	if s.Watching != nil {
		s.describeFleet(api)
	}
	if s.Stocking != nil {
		s.describeStock(api)
		s.describeRecall(api)
		s.describeTrace(api)
		s.describeHandovers(api)
	}
	s.describeVerify(mux, api)
	huma.Register(api, huma.Operation{
		OperationID: "trust", Method: http.MethodGet, Path: "/v1/trust",
		Summary: "Tell what is trusted, and how old that is",
	}, func(context.Context, *struct{}) (*trustAnswer, error) {
		return &trustAnswer{"no-cache", s.API.Trust}, nil
	})
	if s.Access != nil {
		s.describeAccess(api)
		if s.Access.Audit != nil {
			s.describeAudit(api)
		}
		s.describeSettings(api)
	}
	return api.OpenAPI()
}

// answerKey is where a request keeps its answer, for those who see only its
// context.
type answerKey struct{}

// languageOf returns the language that a request asks for.
func languageOf(ctx context.Context) *messages.Language {
	if a, ok := ctx.Value(answerKey{}).(*answer); ok {
		return messages.Accept(a.accept)
	}
	return messages.English
}

// register registers an operation whose problems come in the language of the
// request.
func register[I, O any](api huma.API, op huma.Operation, h func(context.Context, *I) (*O, error)) {
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := h(ctx, in)
		if p, ok := err.(*problem); ok {
			l := languageOf(ctx)
			return nil, huma.ErrorWithHeaders(p.in(l), http.Header{"Content-Language": {l.Tag}, "Vary": {problemVary}, "Cache-Control": {"no-store"}})
		}
		return out, err
	})
}

// notModified says that the version that the asker has is the newest (RFC 9110
// section 15.4.5).
func notModified(tag string) error {
	return huma.ErrorWithHeaders(huma.Status304NotModified(), http.Header{"ETag": {tag}})
}

// GetStatus makes a problem an error of the API.
func (p *problem) GetStatus() int { return p.Status }

// ContentType says that a problem is one (RFC 9457).
func (p *problem) ContentType(string) string { return "application/problem+json" }

func init() {
	huma.NewErrorWithContext = func(c huma.Context, status int, message string, errs ...error) huma.StatusError {
		l := messages.Accept(c.Header("Accept-Language"))
		c.SetHeader("Content-Language", l.Tag)
		c.AppendHeader("Vary", problemVary)
		return apiProblem(status, message, errs...).in(l)
	}
	// Without a request: the library asks for the form alone, to describe it.
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return apiProblem(status, message, errs...).in(messages.English)
	}
}

// apiProblem is an error of the library in the form of all others here. It quotes
// what was sent, which may name a person: of that only the place and what is
// wrong are taken, as the library words it.
func apiProblem(status int, message string, errs ...error) *problem {
	switch status {
	case http.StatusUnauthorized:
		return problemNobody
	case http.StatusNotFound:
		return problemNotFound
	case http.StatusRequestEntityTooLarge:
		p := *problemBodyTooLarge
		var limit int
		if n, _ := fmt.Sscanf(message, "request body is too large limit=%d bytes", &limit); n == 1 {
			p.values = []any{"size", (limit + 1023) >> 10}
		}
		return &p
	case http.StatusUnsupportedMediaType:
		return problemNotJSON
	case http.StatusRequestTimeout:
		return problemSlow
	case http.StatusInternalServerError:
		return problemInternal
	case http.StatusUnprocessableEntity, http.StatusBadRequest:
		var places []string
		for _, err := range errs {
			if d, ok := err.(*huma.ErrorDetail); ok && d.Location != "" {
				places = append(places, d.Location+": "+d.Message)
			}
		}
		p := problemInvalid.with(strings.Join(places, "; "))
		p.Status = status
		return p
	}
	p := problemBadRequest.with(message)
	p.Status = status
	return p
}

// docsView is the description as a page to read.
type docsView struct {
	Title, Version, Description string
	Operations                  []docsOperation
	Problems                    []*problem
}

type docsOperation struct{ ID, Method, Path, Summary, Description, Request, Answer string }

// docs serves the description. The library's own page would load from elsewhere.
func (s *server) docs(api *huma.OpenAPI) func(*answer, *http.Request) {
	view := docsView{Title: api.Info.Title, Version: api.Info.Version, Description: api.Info.Description}
	for _, p := range problems() {
		view.Problems = append(view.Problems, p.in(messages.English))
	}
	for _, path := range slices.Sorted(maps.Keys(api.Paths)) {
		item := api.Paths[path]
		for _, o := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if o == nil {
				continue
			}
			d := docsOperation{ID: o.OperationID, Method: o.Method, Path: path, Summary: o.Summary, Description: o.Description}
			if o.RequestBody != nil {
				d.Request = s.schemaText(api, o.RequestBody.Content)
			}
			for _, status := range []string{"200", "201"} {
				if r := o.Responses[status]; r != nil {
					d.Answer = s.schemaText(api, r.Content)
				}
			}
			view.Operations = append(view.Operations, d)
		}
	}
	return func(w *answer, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		s.render(w, http.StatusOK, s.views[messages.English].docs, frame{Title: "API", Body: view})
	}
}

// schemaText writes a schema down the way JSON looks, with what each member is.
func (s *server) schemaText(api *huma.OpenAPI, content map[string]*huma.MediaType) string {
	var b strings.Builder
	for _, media := range content {
		writeSchema(&b, api.Components.Schemas, media.Schema, "", 0)
	}
	return b.String()
}

func writeSchema(b *strings.Builder, all huma.Registry, schema *huma.Schema, indent string, depth int) {
	if schema.Ref != "" {
		schema = all.SchemaFromRef(schema.Ref)
	}
	switch {
	case depth > 8:
		b.WriteString("…")
	case schema.Type == huma.TypeObject && len(schema.Properties) > 0:
		b.WriteString("{\n")
		for _, name := range slices.Sorted(maps.Keys(schema.Properties)) {
			mark := "?"
			if slices.Contains(schema.Required, name) {
				mark = ""
			}
			property := schema.Properties[name]
			fmt.Fprintf(b, "%s  %q%s: ", indent, name, mark)
			writeSchema(b, all, property, indent+"  ", depth+1)
			if property.Description != "" {
				b.WriteString("   // " + property.Description)
			}
			b.WriteString("\n")
		}
		b.WriteString(indent + "}")
	case schema.Type == huma.TypeArray:
		b.WriteString("[")
		writeSchema(b, all, schema.Items, indent, depth+1)
		b.WriteString("]")
	default:
		b.WriteString(strings.TrimSpace(schema.Type + " " + schema.Format))
	}
}
