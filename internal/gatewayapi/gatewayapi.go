// Package gatewayapi is the door of a trust network's gateway: the HTTP API of the
// EU's and the WHO's gateways, over mutual TLS, before an operator of package
// gateway. It says who connects, bounds what is sent, and turns bodies into calls
// and answers into bodies; nothing is decided here.
//
// Who connects is told by the certificate of the TLS connection. A certificate
// may be self-signed: what counts is that its SHA-256 is on the gateway's list,
// with the country in its name. Behind a proxy that ends TLS the headers
// X-SSL-Client-SHA256 and -DN, or -Cert, tell; they are believed from the
// addresses of configured proxies only, and are an error from anywhere else.
package gatewayapi

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ampoule/format"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/internal/httpapi"
	"ampoule/party/gateway"
)

// maxBody bounds what is sent. A batch of 1,000 hashes has 60 KB and a signature.
const maxBody = tng.MaxBody

// Server answers the API.
type Server struct {
	Operator *gateway.Operator
	Log      *slog.Logger
	// Proxies end TLS for us, and say who connected. None: TLS ends here.
	Proxies []netip.Prefix
	// Rate and Burst bound the requests of one participant; Rate 0: no limit.
	Rate, Burst int
	// Public is a folder of published trust lists, of which v2/ is served to everybody;
	// nil: none.
	Public fs.FS

	limits   httpapi.Limits[string]
	kept     kept
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

// Collectors are the metrics of the door. They must be asked for before Handler.
func (s *Server) Collectors() []prometheus.Collector {
	s.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ampoule_gateway_requests_total", Help: "Requests to the gateway by route, method and status."}, []string{"route", "method", "status"})
	s.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "ampoule_gateway_request_seconds", Help: "Time to answer, by route.", Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	}, []string{"route"})
	return []prometheus.Collector{s.requests, s.seconds}
}

// TLS returns the configuration of the listener: whoever connects must show a
// certificate, which is judged by the list and not by a chain. Where lists are
// served to everybody one may come without: the API itself asks who it is.
func TLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), public bool) *tls.Config {
	c := &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: certificate, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"h2", "http/1.1"},
	}
	if public {
		c.ClientAuth = tls.RequestClientCert
	}
	return c
}

// request is one that is being answered.
type request struct {
	*http.Request
	w           http.ResponseWriter
	participant *gateway.Participant
}

// route is one line of the API.
type route struct {
	pattern string
	// types are the media types of the body; none: there is no body.
	types []string
	serve func(*Server, *request, []byte) error
}

const typeJSON = "application/json"

var (
	cmsBody = []string{tng.TypeCMS, tng.TypeCMSText}
	noBody  []string
)

var routes = []route{
	{"POST /signerCertificate", cmsBody, (*Server).uploadSigner},
	{"DELETE /signerCertificate", cmsBody, (*Server).deleteCertificate},
	{"POST /signerCertificate/delete", cmsBody, (*Server).deleteCertificate},
	{"POST /trustedCertificate", []string{typeJSON}, (*Server).uploadTrusted},
	{"DELETE /trustedCertificate", cmsBody, (*Server).deleteCertificate},
	{"POST /trustedCertificate/delete", cmsBody, (*Server).deleteCertificate},
	{"GET /trustList", noBody, (*Server).trustList},
	{"GET /trustList/{type}", noBody, (*Server).trustList},
	{"GET /trustList/{type}/{country}", noBody, (*Server).trustList},
	{"GET /trustList/certificate", noBody, (*Server).certificates},
	{"GET /trustList/issuers", noBody, (*Server).issuers},
	{"GET /trustList/references", noBody, (*Server).references},
	{"POST /trust/reference", cmsBody, (*Server).uploadReference},
	{"DELETE /trust/reference", cmsBody, (*Server).deleteReference},
	{"GET /trust/reference/{id}", noBody, (*Server).reference},
	{"GET /countrylist", noBody, (*Server).countries},
	{"GET /valuesets", noBody, (*Server).valueSets},
	{"GET /valuesets/{id}", noBody, (*Server).valueSet},
	{"GET /rules/{country}", noBody, (*Server).rules},
	{"POST /rules", cmsBody, (*Server).uploadRule},
	{"DELETE /rules", cmsBody, (*Server).deleteRule},
	{"POST /rules/delete", cmsBody, (*Server).deleteRule},
	{"GET /revocation-list", noBody, (*Server).batches},
	{"GET /revocation-list/{id}", noBody, (*Server).batch},
	{"POST /revocation-list", cmsBody, (*Server).uploadBatch},
	{"DELETE /revocation-list", cmsBody, (*Server).deleteBatch},
	{"POST /revocation-list/delete", cmsBody, (*Server).deleteBatch},
	{"GET /cms-migration", noBody, (*Server).packages},
	{"POST /cms-migration", []string{typeJSON}, (*Server).migrate},
}

// Handler returns the API as a handler.
func (s *Server) Handler() http.Handler {
	if s.requests == nil {
		s.Collectors()
	}
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.pattern, s.answer(r))
	}
	if s.Public != nil {
		mux.Handle("GET /v2/", s.public())
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &gateway.Refusal{Kind: gateway.Missing, Problem: tng.Problem{Code: tng.CodeNotFound, Problem: "Not found", Details: "there is nothing at this address"}})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		a := &answered{ResponseWriter: w, status: http.StatusOK}
		a.Header().Set("X-Request-Id", httpapi.RequestID(r))
		a.Header().Set("X-Content-Type-Options", "nosniff")
		a.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(a, r)
		name := r.Pattern
		if name == "" || name == "/" {
			name = "none"
		}
		method := r.Method
		if !slices.Contains([]string{"GET", "POST", "DELETE"}, method) {
			method = "other"
		}
		s.requests.WithLabelValues(name, method, strconv.Itoa(a.status)).Inc()
		s.seconds.WithLabelValues(name).Observe(time.Since(begun).Seconds())
	})
}

// public serves the published trust lists, which need no participant.
func (s *Server) public() http.Handler {
	files := http.FileServerFS(s.Public)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, ".json") { // no listings
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "public, max-age=300")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		files.ServeHTTP(w, r)
	})
}

type answered struct {
	http.ResponseWriter
	status int
}

func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap lets the standard library reach what is below.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// answer is a route as a handler.
func (s *Server) answer(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Step 1: who connects.
		caller, err := s.caller(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		// Step 2: not too often. Who is on no list shares one limit per address.
		p, err := s.Operator.Authenticate(r.Context(), caller)
		who := httpapi.Network(address(r)).String()
		if err == nil {
			who = p.Thumbprint
		}
		if !s.limits.Allow(who, s.Rate, s.Burst, time.Now()) {
			w.Header().Set("Retry-After", "1")
			s.problem(w, http.StatusTooManyRequests, tng.Problem{Code: "0x429", Problem: "Too many requests", Details: "ask less often"})
			return
		}
		if err != nil {
			s.fail(w, r, err)
			return
		}
		// Step 3: a body of the kind and size that is wanted.
		var body []byte
		if len(rt.types) > 0 {
			if body, err = readBody(w, r, rt.types); err != nil {
				s.fail(w, r, err)
				return
			}
		}
		// Step 4: the flow.
		if err := rt.serve(s, &request{r, w, p}, body); err != nil {
			s.fail(w, r, err)
		}
	})
}

// fault is a refusal that only the door knows.
type fault struct {
	status int
	tng.Problem
}

func (f *fault) Error() string { return f.Code }

func readBody(w http.ResponseWriter, r *http.Request, types []string) ([]byte, error) {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if !slices.Contains(types, strings.ToLower(strings.TrimSpace(kind))) {
		return nil, &fault{http.StatusUnsupportedMediaType, tng.Problem{Code: "0x415", Problem: "Unsupported media type", Details: "want " + strings.Join(types, " or ")}}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &fault{http.StatusRequestEntityTooLarge, tng.Problem{Code: "0x413", Problem: "Body too large", Details: "at most " + strconv.Itoa(maxBody) + " bytes"}}
	case err != nil:
		return nil, &fault{http.StatusBadRequest, tng.Problem{Code: "0x402", Problem: "Body cut off"}}
	}
	return body, nil
}

// statuses are those of the kinds of refusal.
var statuses = map[gateway.RefusalKind]int{
	gateway.Unauthenticated: http.StatusUnauthorized, gateway.Forbidden: http.StatusForbidden, gateway.Bad: http.StatusBadRequest,
	gateway.Missing: http.StatusNotFound, gateway.Exists: http.StatusConflict, gateway.Gone: http.StatusGone,
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var refusal *gateway.Refusal
	var f *fault
	switch {
	case errors.As(err, &refusal):
		s.problem(w, statuses[refusal.Kind], refusal.Problem)
	case errors.As(err, &f):
		s.problem(w, f.status, f.Problem)
	case r.Context().Err() != nil && errors.Is(err, context.Canceled): // who asked has gone
	default:
		s.Log.Error("gateway", "route", r.Pattern, "request", w.Header().Get("X-Request-Id"), "error", err.Error())
		code := tng.CodeUpload
		if r.Method == http.MethodDelete || strings.HasSuffix(r.URL.Path, "/delete") {
			code = tng.CodeRevoke
		}
		s.problem(w, http.StatusInternalServerError, tng.Problem{Code: code, Problem: "Internal server error"})
	}
}

func (s *Server) problem(w http.ResponseWriter, status int, p tng.Problem) {
	p.Details = format.Visible(p.Details)
	body, err := p.Encode()
	if err != nil {
		body = []byte("{}")
	}
	w.Header().Set("Content-Type", typeJSON)
	w.WriteHeader(status)
	_, _ = w.Write(body) // who asked has gone
}

// address is where the connection comes from.
func address(r *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap()
}

// The headers of a proxy that ends TLS.
const (
	headerSHA  = "X-Ssl-Client-Sha256"
	headerDN   = "X-Ssl-Client-Dn"
	headerCert = "X-Ssl-Client-Cert"
)

// caller says who connects.
func (s *Server) caller(r *http.Request) (c gateway.Caller, err error) {
	told := len(r.Header[headerSHA])+len(r.Header[headerDN])+len(r.Header[headerCert]) > 0
	from := address(r)
	trusted := slices.ContainsFunc(s.Proxies, func(p netip.Prefix) bool { return p.Contains(from) })
	switch {
	case told && !trusted:
		// Not merely ignored: whoever sends these tries to be somebody else, or a
		// proxy is configured there and not here.
		return c, &fault{http.StatusBadRequest, tng.Problem{Code: tng.CodeNoCertificate, Problem: "Client certificate in a header", Details: "headers of a proxy are not believed from this address"}}
	case trusted && told:
		return fromHeaders(r.Header)
	case r.TLS != nil && len(r.TLS.PeerCertificates) > 0:
		return fromCertificate(r.TLS.PeerCertificates[0].Raw), nil
	}
	return c, nil // nobody, which the operator says
}

func fromCertificate(raw []byte) (c gateway.Caller) {
	c.Thumbprint = tng.Thumbprint(raw)
	if parsed, err := pkix.ParseCertificate(raw); err == nil && len(parsed.Subject.Countries) == 1 {
		c.Country = parsed.Subject.Countries[0]
	}
	return c
}

func fromHeaders(h http.Header) (c gateway.Caller, err error) {
	bad := func(details string) (gateway.Caller, error) {
		return gateway.Caller{}, &fault{http.StatusBadRequest, tng.Problem{Code: tng.CodeNoCertificate, Problem: "Header of the proxy", Details: details}}
	}
	for _, name := range []string{headerSHA, headerDN, headerCert} {
		if len(h[name]) > 1 {
			return bad(name + " more than once")
		}
	}
	if text := h.Get(headerCert); text != "" {
		text, err := url.PathUnescape(text) // a plus is a plus in base64
		block, _ := pem.Decode([]byte(text))
		if err != nil || block == nil || block.Type != "CERTIFICATE" {
			return bad(headerCert + " is no certificate in PEM")
		}
		c = fromCertificate(block.Bytes)
		if len(h[headerSHA])+len(h[headerDN]) == 0 {
			return c, nil
		}
		// A proxy that sets one form may pass on another that the client has sent.
		h = h.Clone()
		h.Del(headerCert)
		if other, err := fromHeaders(h); err != nil || other != c {
			return bad("the headers tell of different certificates")
		}
		return c, nil
	}
	sum := h.Get(headerSHA)
	if text, err := url.PathUnescape(sum); err == nil {
		sum = text
	}
	raw, err := hex.DecodeString(sum)
	if err != nil {
		raw, err = base64.StdEncoding.DecodeString(sum)
	}
	if sum != "" && (err != nil || len(raw) != sha256.Size) {
		return bad(headerSHA + " is no SHA-256")
	}
	c.Thumbprint = hex.EncodeToString(raw)
	dn := h.Get(headerDN)
	if text, err := url.PathUnescape(dn); err == nil {
		dn = text
	}
	if c.Country, err = countryOfDN(dn); err != nil {
		return bad(err.Error())
	}
	return c, nil
}

var errTwoCountries = errors.New("the name has two countries")

// countryOfDN finds C in a distinguished name as proxies write them: parts
// separated by commas (RFC 4514), plus signs or slashes, with \ before one that is
// none.
func countryOfDN(dn string) (country string, err error) {
	var part strings.Builder
	end := func() error {
		name, value, ok := strings.Cut(part.String(), "=")
		part.Reset()
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "C") {
			return nil
		}
		if country != "" {
			return errTwoCountries
		}
		country = strings.TrimSpace(value)
		return nil
	}
	quoted := false
	for i := 0; i < len(dn); i++ {
		switch c := dn[i]; {
		case c == '\\' && i+1 < len(dn):
			i++
			part.WriteByte('_') // whatever it is, it is part of a value
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ',' || c == '/' || c == '+' || c == ';'):
			if err := end(); err != nil {
				return "", err
			}
		default:
			part.WriteByte(c)
		}
	}
	return country, end()
}
