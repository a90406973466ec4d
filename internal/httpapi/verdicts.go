package httpapi

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/party/verifier"
)

// POST /v1/verify is the one operation that is asked a thousand times a second. It
// is described as the others are, and reads and writes its bodies by itself: the
// library reads a body twice, once to hold it against the description.

var arrivalForm = regexp.MustCompile(`^[A-Za-z]{2}$`)

// describeVerify registers the operation, and adds it to the description.
func (s *server) describeVerify(mux *http.ServeMux, api huma.API) {
	schemas := api.OpenAPI().Components.Schemas
	body := schemas.Schema(reflect.TypeFor[verifyBody](), true, "VerifyBody")
	o := &huma.Operation{
		OperationID: "verify", Method: http.MethodPost, Path: "/v1/verify",
		Summary:     "Say whether certificates are authentic and in force, and why",
		Description: "Always answers 200 where the request could be read: a certificate that is not valid is an answer, not an error.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: body}}},
		Responses: map[string]*huma.Response{"200": {
			Description: "The verdicts",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(reflect.TypeFor[verdictsBody](), true, "VerdictsBody")}},
		}},
	}
	problem := schemas.Schema(reflect.TypeFor[problem](), true, "Problem")
	for _, status := range []int{http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusInternalServerError} {
		o.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status), Content: map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
		}
	}
	api.OpenAPI().AddOperation(o)

	mux.HandleFunc("POST /v1/verify", func(w http.ResponseWriter, r *http.Request) {
		a := w.(*answer)
		in, p := readVerify(a, r)
		if p == problemInvalid {
			p = wrongPlaces(schemas, body, in.raw)
		}
		if p != nil {
			s.fail(a, r, p)
			return
		}
		known := s.Verifier
		if in.Transcript {
			if s.Recorder == nil {
				s.fail(a, r, problemInvalid.with("body.transcript: this service writes none; its operator gives it a key by verifier.transcript_key, and a bundle"))
				return
			}
			known = s.Recorder.Verifier
		}
		v := known.With(verifier.Options{At: in.At, Arrival: strings.ToUpper(in.Arrival), Proof: in.Proof})
		groups := verifier.Group(in.Texts)
		if in.Proof != nil && len(groups) != 1 {
			s.fail(a, r, problemInvalid.with("body.proof: it is of one certificate"))
			return
		}
		out := append(make([]byte, 0, 4096), `{"verdicts":[`...)
		for i, group := range groups {
			verdict, transcript, err := s.judge(v, in.Transcript, group)
			if errors.Is(err, verifier.ErrTranscript) {
				s.fail(a, r, problemInvalid.with("body.at: of that time no transcript is written"))
				return
			}
			if err != nil {
				s.log.Error("a transcript was not written", "error", err.Error())
				s.fail(a, r, problemInternal)
				return
			}
			if i > 0 {
				out, a.outcome = append(out, ','), a.outcome+","
			}
			report := verdict.Report(in.Show)
			report.Transcript = transcript
			out = report.AppendJSON(out)
			a.outcome += string(verdict.Outcome)
		}
		a.send(http.StatusOK, "application/json", append(out, "]}\n"...))
	})
}

// Recorder writes transcripts of verdicts.
type Recorder struct {
	// Verifier goes by the bundle that is served, and by nothing else but a policy: what
	// somebody else can have too.
	Verifier *verifier.Verifier
	Sources  []verifier.Source
	Read     time.Time // when the bundle was opened
	Signer   crypto.Signer
}

// judge judges the parts of one certificate, and signs the transcript of it where one is
// asked for.
func (s *server) judge(v *verifier.Verifier, record bool, texts []string) (*verifier.Verdict, []byte, error) {
	if !record {
		return v.Verify(texts...), nil, nil
	}
	p := verifier.Provenance{Sources: s.Recorder.Sources, Read: s.Recorder.Read}
	_, _ = rand.Read(p.Salt[:]) // never fails
	verdict, transcript := v.Record(p, texts...)
	data, err := transcript.Sign(rand.Reader, s.Recorder.Signer)
	return verdict, data, err
}

// maxProof bounds a proof: none that can be read is as large.
const maxProof = 1 << 16

// verifyRequest is a request as it was read.
type verifyRequest struct {
	verifyBody
	raw []byte
}

// readVerify reads a request to verify, or says what is wrong with it:
// [problemInvalid] where it is JSON, and not what is described.
func readVerify(a *answer, r *http.Request) (in verifyRequest, p *problem) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return in, problemNotJSON
	}
	_ = http.NewResponseController(a).SetReadDeadline(time.Now().Add(10 * time.Second)) // a test's recorder has none
	var sent bytes.Buffer
	sent.Grow(int(min(max(r.ContentLength, 0), maxBody)) + bytes.MinRead)
	if _, err := sent.ReadFrom(http.MaxBytesReader(a.ResponseWriter, r.Body, maxBody)); err != nil {
		return in, readProblem(err, problemBodyTooLarge)
	}
	in.raw = sent.Bytes()
	d := json.NewDecoder(bytes.NewReader(in.raw))
	d.DisallowUnknownFields()
	err := d.Decode(&in.verifyBody)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			return in, problemBadRequest
		}
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return in, problemBadRequest
	case err != nil, len(in.Texts) == 0, len(in.Texts) > maxTexts, in.Arrival != "" && !arrivalForm.MatchString(in.Arrival), len(in.Proof) > maxProof:
		return in, problemInvalid
	}
	return in, nil
}

// wrongPlaces tells what is not as the description has it, by its place.
func wrongPlaces(schemas huma.Registry, schema *huma.Schema, body []byte) *problem {
	var value any
	if json.Unmarshal(body, &value) != nil {
		return problemBadRequest
	}
	var found huma.ValidateResult
	path := huma.NewPathBuffer([]byte("body"), 4)
	huma.Validate(schemas, schema, path, huma.ModeWriteToServer, value, &found)
	return apiProblem(http.StatusUnprocessableEntity, "", found.Errors...)
}
