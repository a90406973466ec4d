// Package deviceapi is the HTTP door for devices, for the gateways before them and for
// the suppliers of their makers: the receiving side of WHO PQS E006/DS01, packs of SenML,
// signed segments, and enrolment. It says who sends, bounds what is sent, turns it into
// a delivery and answers when that is on the disk; nothing is decided here.
//
//	POST /cce         a transmission of DS01: application/json
//	POST /senml       application/senml+json, application/senml+cbor
//	POST /segments    application/cose; cose-type="cose-sign1", application/cbor-seq
//	POST /chirpstack  an event of a LoRaWAN network server, where that is read
//	/attestation      a nonce, and what a device shows of its state under it
//	/.well-known/est/ enrolment (RFC 7030), where that is served
//
// Who sends shows a client certificate, or a secret: as a Bearer token (RFC 6750), by
// Basic (RFC 7617), or in the header of [Server.TokenHeader].
//
// A 2xx says that everything which can be used is on the disk (DS01.3 5.1.7), with what
// became of it; what breaks rules and can be read is taken, and the rules are named.
// What cannot be read is 400. 429 and 503 say when to come again, and nothing is ever
// redirected but by a fault that was asked for.
package deviceapi

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cce"
	"ampoule/format/senml"
	"ampoule/party/fleet"
)

// Bounds of what is sent.
const (
	maxBody     = 1 << 20             // as sent (DS01.3 5.1.6)
	maxInflated = cce.MaxTransmission // of what is in it
	largeBody   = 1 << 20             // from here on a body takes one of few places
	largePlaces = 2
	bodyTime    = 30 * time.Second // in which it must have come
	// DefaultPlaces is how many requests are answered at a time.
	DefaultPlaces = 64
)

// Who tells who sends. It must be usable concurrently.
type Who interface {
	// Secret returns the source that a secret belongs to; user is that of Basic, or
	// empty. Nobody's secret is [ErrNobody].
	Secret(ctx context.Context, user, secret string) (fleet.Source, error)
	// Certificate returns the source that a client certificate was given to. That the
	// client has its key was shown; nothing else was. Nobody's is [ErrNobody].
	Certificate(ctx context.Context, c *x509.Certificate) (fleet.Source, error)
}

// ErrNobody is a secret, or a certificate, of nobody.
const ErrNobody format.Defect = "nobody"

// Faults says which fault the next transmission of a supplier meets; the zero Fault is
// none. It must be usable concurrently.
type Faults interface {
	Next(supplier string, now time.Time) fleet.Fault
}

// Server answers the door.
type Server struct {
	Ingester fleet.Ingester
	Who      Who
	// TokenHeader is the header of a token, beside Authorization; empty: X-Auth-Token.
	TokenHeader string
	// EST answers /.well-known/est/; nil: nobody.
	EST http.Handler
	// Attester answers /attestation; nil: nobody.
	Attester Attester
	// ChirpStack reads events of a network server, of the kind that the query names; nil:
	// they are not taken.
	ChirpStack func(source fleet.Source, event string, body []byte) (*fleet.Delivery, error)
	// Clockless reports whether a source is known to have no clock, so that what it sends
	// without a time counts from the time of receipt; nil: none is.
	Clockless func(fleet.Source) bool
	Faults    Faults // nil: none
	// Saw is told of every transmission of DS01 whose sender is known, after the answer;
	// nil: nobody is. It must be quick.
	Saw func(fleet.Source, fleet.Transmission)
	// Places is how many requests are answered at a time; the others are told to come
	// again. 0: [DefaultPlaces].
	Places int
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now

	places, large chan struct{}
	mu            sync.Mutex
	busy          map[string]int // places by who has them
}

// TLS returns the configuration of the listener. A certificate may be shown; whose it
// is, [Who] says.
func TLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certificate, ClientAuth: tls.RequestClientCert, NextProtos: []string{"h2", "http/1.1"}}
}

// Handler returns the door as a handler. The server must not be changed any more.
func (s *Server) Handler() http.Handler {
	if s.Places == 0 {
		s.Places = DefaultPlaces
	}
	if s.TokenHeader == "" {
		s.TokenHeader = "X-Auth-Token"
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	s.busy = map[string]int{}
	s.places, s.large = make(chan struct{}, s.Places), make(chan struct{}, largePlaces)
	// No ServeMux: it redirects to tidier addresses.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.EST != nil && strings.HasPrefix(r.URL.Path, "/.well-known/est/") {
			s.EST.ServeHTTP(w, r)
			return
		}
		if s.Attester != nil && r.URL.Path == attestationPath {
			s.attestation(w, r)
			return
		}
		for _, route := range routes {
			if route.path == r.URL.Path && (route.path != "/chirpstack" || s.ChirpStack != nil) {
				s.receive(w, r, route)
				return
			}
		}
		answer(w, &problem{Status: http.StatusNotFound, Reason: "not-found"})
	})
}

// route is one line of the door.
type route struct {
	path  string
	types []string
	read  func(*call) (*fleet.Delivery, error)
}

var routes = []route{
	{"/cce", []string{"application/json"}, (*call).cce},
	{"/senml", []string{senml.JSONType, senml.CBORType}, (*call).senml},
	{"/segments", []string{"application/cose", fleet.MediaSegments}, (*call).segments},
	{"/chirpstack", []string{"application/json"}, (*call).chirpstack},
	{elsewhere, nil, nil},
}

// elsewhere is where the redirects of faults point.
const elsewhere = "/cce/elsewhere"

// call is one request that is being answered.
type call struct {
	*Server
	r      *http.Request
	source fleet.Source
	media  string
	body   []byte // without its encoding
	seen   fleet.Transmission
}

// Problems, as RFC 9457 has them.
type problem struct {
	Status   int       `json:"status"`
	Reason   string    `json:"reason"` // a stable word
	Title    string    `json:"title"`
	Findings []finding `json:"findings,omitempty"`

	wait int
}

func (p *problem) Error() string { return p.Reason }

type finding struct {
	Path   string `json:"path,omitempty"`
	Reason string `json:"reason"`
}

// receipt is what a 2xx says.
type receipt struct {
	Stored   int       `json:"stored"`
	Repeated int       `json:"repeated"`
	Findings []finding `json:"findings,omitempty"` // rules that were broken, of what was taken
	Refused  []finding `json:"refused,omitempty"`
}

func findings(all []format.Finding) (out []finding) {
	for _, f := range all {
		out = append(out, finding{f.Path, string(f.Reason)})
	}
	return out
}

// How long to wait, in seconds.
const (
	waitBusy = 10
	waitFull = 300
)

// receive answers one request.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, to route) {
	c := &call{Server: s, r: r}
	c.seen.Received = s.Now()
	failed := func(p *problem) {
		c.seen.Status, c.seen.Wait = p.Status, p.wait
		if c.seen.Unreadable == "" && (p.Status == http.StatusBadRequest || p.Status == http.StatusUnsupportedMediaType || p.Status == http.StatusRequestEntityTooLarge || p.Status == http.StatusRequestTimeout) {
			c.seen.Unreadable = format.Defect(p.Reason)
		}
		answer(w, p)
		s.Log.Warn("a delivery was refused", "route", to.path, "supplier", c.source.Supplier, "device", c.source.Device.String(), "status", p.Status, "reason", p.Reason, "bytes", c.seen.Size)
	}
	// Step 1: a place, before anything costs.
	select {
	case s.places <- struct{}{}:
		defer func() { <-s.places }()
	default:
		failed(&problem{Status: http.StatusTooManyRequests, Reason: "busy", wait: waitBusy})
		return
	}
	// Step 2: who sends.
	if p := c.identify(w); p != nil {
		failed(p)
		return
	}
	defer func() {
		if c.source.Supplier != "" && s.Saw != nil && strings.HasPrefix(to.path, "/cce") {
			c.seen.Answered = s.Now()
			s.Saw(c.source, c.seen)
		}
	}()
	if !s.enter(c.source) {
		failed(&problem{Status: http.StatusTooManyRequests, Reason: "busy", wait: waitBusy})
		return
	}
	defer s.leave(c.source)
	if to.path == elsewhere {
		c.seen.Followed = true
		failed(&problem{Status: http.StatusNotFound, Reason: "redirect-followed"})
		return
	}
	// Step 3: what it is, whole and without its encoding.
	if p := c.take(w, to); p != nil {
		failed(p)
		return
	}
	if len(c.body) > largeBody {
		select {
		case s.large <- struct{}{}:
			defer func() { <-s.large }()
		case <-r.Context().Done():
			return
		}
	}
	d, err := to.read(c)
	if err != nil {
		failed(&problem{Status: http.StatusBadRequest, Reason: format.Reason(err, "unreadable"), Findings: []finding{{Reason: format.Reason(err, "unreadable")}}})
		return
	}
	// Step 4: the fault that was asked for.
	if s.Faults != nil && c.source.Supplier != "" && to.path == "/cce" {
		if f := s.Faults.Next(c.source.Supplier, c.seen.Received); f != (fleet.Fault{}) && c.fault(w, f) {
			return
		}
	}
	// Step 5: on the disk.
	got, err := s.Ingester.Ingest(r.Context(), d)
	switch {
	case errors.Is(err, fleet.ErrFull):
		failed(&problem{Status: http.StatusServiceUnavailable, Reason: string(fleet.ErrFull), wait: waitFull})
		return
	case errors.Is(err, fleet.ErrDenied):
		failed(&problem{Status: http.StatusForbidden, Reason: string(fleet.ErrDenied), Findings: findings(got.Refused)})
		return
	case err != nil:
		s.Log.Error("a delivery could not be kept", "route", to.path, "error", err)
		failed(&problem{Status: http.StatusInternalServerError, Reason: "internal"})
		return
	}
	c.seen.Status, c.seen.Stored, c.seen.Repeated = http.StatusOK, got.Stored, got.Repeated
	write(w, http.StatusOK, "application/json", receipt{got.Stored, got.Repeated, findings(d.Findings), findings(got.Refused)})
}

// enter takes one of the places that a source may have: a quarter of all, so that one
// that is slow leaves some to the others.
func (s *Server) enter(source fleet.Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := source.Supplier + "/" + string(source.Device)
	if s.busy[key] >= max(1, s.Places/4) {
		return false
	}
	s.busy[key]++
	return true
}

func (s *Server) leave(source fleet.Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := source.Supplier + "/" + string(source.Device)
	if s.busy[key]--; s.busy[key] == 0 {
		delete(s.busy, key)
	}
}

// identify finds out who sends. A certificate says more than a secret.
func (c *call) identify(w http.ResponseWriter) *problem {
	r := c.r
	c.seen.Secure = r.TLS != nil
	var err error
	user, password, basic := r.BasicAuth()
	bearer, isBearer := cutScheme(r.Header.Get("Authorization"), "Bearer")
	token := r.Header.Get(c.TokenHeader)
	switch {
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		c.seen.Way = "certificate"
		c.source, err = c.Who.Certificate(r.Context(), r.TLS.PeerCertificates[0])
	case basic:
		c.seen.Way = "basic"
		c.source, err = c.Who.Secret(r.Context(), user, password)
	case isBearer:
		c.seen.Way = "bearer"
		c.source, err = c.Who.Secret(r.Context(), "", bearer)
	case token != "":
		c.seen.Way = "token"
		c.source, err = c.Who.Secret(r.Context(), "", token)
	default:
		err = ErrNobody
	}
	switch {
	case errors.Is(err, fleet.ErrDenied):
		return &problem{Status: http.StatusForbidden, Reason: string(fleet.ErrDenied)}
	case errors.Is(err, ErrNobody):
		w.Header().Add("WWW-Authenticate", `Bearer realm="devices"`)
		w.Header().Add("WWW-Authenticate", `Basic realm="devices", charset="UTF-8"`)
		return &problem{Status: http.StatusUnauthorized, Reason: string(ErrNobody)}
	case err != nil:
		c.Log.Error("who sends could not be found out", "error", err)
		return &problem{Status: http.StatusServiceUnavailable, Reason: "internal", wait: waitBusy}
	}
	c.source.Via = "https"
	// A shared secret raises nobody above its level, whatever the account has.
	if c.seen.Way != "certificate" {
		c.source.Level = min(c.source.Level, device.LevelToken)
	}
	c.seen.Supplier = c.source.Supplier
	return nil
}

func cutScheme(header, scheme string) (string, bool) {
	if len(header) > len(scheme) && strings.EqualFold(header[:len(scheme)], scheme) && header[len(scheme)] == ' ' {
		return strings.TrimSpace(header[len(scheme):]), true
	}
	return "", false
}

// take reads the body.
func (c *call) take(w http.ResponseWriter, to route) *problem {
	r := c.r
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return &problem{Status: http.StatusMethodNotAllowed, Reason: "method-not-allowed"}
	}
	c.seen.Media, c.seen.Encoding = r.Header.Get("Content-Type"), strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding")))
	media, parameters, err := mime.ParseMediaType(c.seen.Media)
	charset := strings.ToLower(parameters["charset"])
	if err != nil || !slices.Contains(to.types, media) || charset != "" && charset != "utf-8" ||
		media == "application/cose" && parameters["cose-type"] != "cose-sign1" && parameters["cose-type"] != "" {
		return &problem{Status: http.StatusUnsupportedMediaType, Reason: "content-type"}
	}
	if e := c.seen.Encoding; e != "" && e != "identity" && e != "gzip" {
		w.Header().Set("Accept-Encoding", "gzip")
		return &problem{Status: http.StatusUnsupportedMediaType, Reason: string(fleet.ReasonEncoding)}
	}
	c.media = media
	tooLarge := &problem{Status: http.StatusRequestEntityTooLarge, Reason: string(fleet.ReasonTooLarge)}
	if r.ContentLength > maxBody {
		c.seen.Size = int(min(r.ContentLength, 1<<31-1))
		return tooLarge
	}
	// Where the writer has no deadlines the server's own hold.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	c.seen.Size = len(body)
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		c.seen.Size = maxBody + 1 // at least
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{Status: http.StatusRequestTimeout, Reason: "too-slow"}
	case err != nil:
		return &problem{Status: http.StatusBadRequest, Reason: "cut-off"}
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	c.body = body
	if c.seen.Encoding == "gzip" {
		if c.body, err = inflate(body); errors.Is(err, errInflated) {
			return &problem{Status: http.StatusRequestEntityTooLarge, Reason: string(errInflated)}
		} else if err != nil {
			return &problem{Status: http.StatusBadRequest, Reason: "bad-gzip"}
		}
	}
	// gzip in gzip, gzip that no header tells of, and gzip in base64.
	if bytes.HasPrefix(c.body, []byte{0x1f, 0x8b}) || bytes.HasPrefix(bytes.TrimLeft(c.body, `"`), []byte("H4sI")) {
		c.seen.Double = true
		return &problem{Status: http.StatusBadRequest, Reason: string(fleet.ReasonDouble)}
	}
	return nil
}

const errInflated format.Defect = "inflated-too-large"

// inflate undoes gzip, within bounds.
func inflate(data []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxInflated+1))
	switch {
	case err != nil:
		return nil, err
	case len(out) > maxInflated:
		return nil, errInflated
	}
	return out, nil
}

func (c *call) cce() (*fleet.Delivery, error) {
	d, t, err := fleet.FromCCE(c.source, c.body)
	if err != nil {
		return nil, err
	}
	c.seen.Hold(d, t)
	return d, nil
}

func (c *call) senml() (*fleet.Delivery, error) {
	var received time.Time
	if c.Clockless != nil && c.Clockless(c.source) {
		received = c.seen.Received
	}
	return fleet.FromSenML(c.source, c.media, c.body, received)
}

func (c *call) segments() (*fleet.Delivery, error) {
	d, err := fleet.FromSegments(c.source, c.body)
	if err == nil && c.media != fleet.MediaSegments && len(d.Segments) != 1 {
		return nil, fleet.ErrManySegments
	}
	return d, err
}

func (c *call) chirpstack() (*fleet.Delivery, error) {
	return c.ChirpStack(c.source, c.r.URL.Query().Get("event"), c.body)
}

// fault does what was asked for, and reports whether that was the answer.
func (c *call) fault(w http.ResponseWriter, f fleet.Fault) bool {
	c.seen.Fault = f
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-c.r.Context().Done():
		}
	}
	switch {
	case f.Close:
		c.seen.Status = 0
		panic(http.ErrAbortHandler)
	case f.Status == 0:
		return false
	case f.Status < 400:
		w.Header().Set("Location", elsewhere)
	}
	c.seen.Status, c.seen.Wait = f.Status, f.Wait
	answer(w, &problem{Status: f.Status, Reason: "fault-on-purpose", wait: f.Wait})
	return true
}

// answer writes a problem.
func answer(w http.ResponseWriter, p *problem) {
	p.Title = http.StatusText(p.Status)
	if p.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(p.wait))
	}
	write(w, p.Status, "application/problem+json", p)
}

func write(w http.ResponseWriter, status int, media string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	h := w.Header()
	h.Set("Content-Type", media)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever does not hear it sends again
}
