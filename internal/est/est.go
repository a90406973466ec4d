// Package est is the door at which devices get and renew their certificates:
// Enrollment over Secure Transport (RFC 7030, with the corrections of RFC 8951).
//
//	GET  /.well-known/est/cacerts          the certificates of the authority
//	GET  /.well-known/est/csrattrs         what a request should look like
//	POST /.well-known/est/simpleenroll     the first certificate
//	POST /.well-known/est/simplereenroll   the next one, under the certificate in use
//
// Who asks is told by the certificate of the TLS connection, its maker's (IDevID) or
// one of ours (LDevID), or by a claim code as the password of HTTP Basic. What it gets
// is the [Authority]'s to decide.
package est

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/der"
)

// Path is where the door is (RFC 7030 section 3.2.2).
const Path = "/.well-known/est/"

// maxBody bounds what is sent: a request of 16 KiB in base64, with its line ends.
const maxBody = 24 << 10

// Authority certifies devices. It must be usable concurrently.
type Authority interface {
	// CAs are the certificates of the authority; the one that signs is among them.
	CAs(ctx context.Context) ([]*x509.Certificate, error)
	// Enrol certifies a device. It keeps the certificate before it returns it. An error
	// that wraps [ErrDenied] or [device.ErrIdentity], or is a [*Later], is told to the
	// device; others are not.
	Enrol(ctx context.Context, r *device.Request, who Who) (*x509.Certificate, error)
}

// Who asks. One of the first three is set.
type Who struct {
	IDevID *device.IDevID    // its maker vouches for it
	LDevID *x509.Certificate // a certificate of ours, which Device names
	Claim  *device.Claim     // well formed; whether it is good for anything is not known
	Device device.ID         // with LDevID
	Renews bool              // it asks for the certificate after LDevID
}

// ErrDenied is who may not have the certificate.
const ErrDenied format.Defect = "enrolment-denied"

// Later is that somebody must agree first; the device asks again after a time.
type Later struct{ After time.Duration }

func (l *Later) Error() string { return "enrolment waits" }

// Handler is the door.
type Handler struct {
	Authority Authority
	// Makers are the roots of IDevIDs, Ours those of LDevIDs. Each may return nil.
	Makers, Ours func() *x509.CertPool
	Now          func() time.Time
	// Failed is told of what went wrong here; nil: nobody is.
	Failed func(operation string, err error)
}

// TLS completes the configuration of a listener: a certificate is asked for, and held
// against the roots at each request, since those of makers change.
func TLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.ClientAuth, c.MinVersion = tls.RequestClientCert, tls.VersionTLS12
	return c
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	operation, ours := strings.CutPrefix(r.URL.Path, Path)
	method := http.MethodGet
	switch operation {
	case "simpleenroll", "simplereenroll":
		method = http.MethodPost
	case "cacerts", "csrattrs":
	default:
		ours = false
	}
	switch {
	case !ours:
		refuse(w, http.StatusNotFound, "there is no such operation")
	case r.Method != method:
		w.Header().Set("Allow", method)
		refuse(w, http.StatusMethodNotAllowed, "this operation is a "+method)
	case operation == "cacerts":
		h.caCertificates(w, r)
	case operation == "csrattrs":
		answer(w, "application/csrattrs", attributes)
	default:
		h.enrol(w, r, operation == "simplereenroll")
	}
}

func (h *Handler) caCertificates(w http.ResponseWriter, r *http.Request) {
	cas, err := h.Authority.CAs(r.Context())
	if err != nil {
		h.fail(w, "cacerts", err)
		return
	}
	h.certificates(w, "cacerts", "application/pkcs7-mime", cas...)
}

// certificates answers with a certs-only message (RFC 7030 sections 4.1.3 and 4.2.3).
func (h *Handler) certificates(w http.ResponseWriter, operation, kind string, certificates ...*x509.Certificate) {
	var raw [][]byte
	for _, c := range certificates {
		raw = append(raw, c.Raw)
	}
	message, err := cms.Certificates(raw...)
	if err != nil {
		h.fail(w, operation, err)
		return
	}
	answer(w, kind, message)
}

// attributes are the CsrAttrs (RFC 7030 section 4.5.2): a key of P-256, and ECDSA with
// SHA-256.
var attributes = der.Encode(der.TagSequence,
	der.Encode(der.TagSequence, der.EncodeOID("1.2.840.10045.2.1"), der.Encode(der.TagSet, der.EncodeOID("1.2.840.10045.3.1.7"))),
	der.EncodeOID("1.2.840.10045.4.3.2"))

func (h *Handler) enrol(w http.ResponseWriter, r *http.Request, renews bool) {
	operation := "simpleenroll"
	if renews {
		operation = "simplereenroll"
	}
	// Step 1: who asks. Nothing that strangers send is read.
	who, ok := h.who(r)
	if !ok || renews && who.LDevID == nil {
		if !renews {
			w.Header().Set("WWW-Authenticate", `Basic realm="device enrolment", charset="UTF-8"`)
		}
		refuse(w, http.StatusUnauthorized, "a certificate of the maker or of this service, or a claim code, is needed")
		return
	}
	who.Renews = renews

	// Step 2: for what.
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/pkcs10" {
		refuse(w, http.StatusUnsupportedMediaType, "send application/pkcs10")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		refuse(w, http.StatusBadRequest, "the request is too long, or was cut off")
		return
	}
	request, err := decode(body)
	if err != nil {
		refuse(w, http.StatusBadRequest, format.Reason(err, string(device.ErrRequest)))
		return
	}
	if renews {
		if err := request.Renews(who.LDevID); err != nil {
			refuse(w, http.StatusBadRequest, format.Reason(err, string(device.ErrRenewal)))
			return
		}
	}

	// Step 3: the certificate.
	c, err := h.Authority.Enrol(r.Context(), request, who)
	var later *Later
	switch {
	case errors.As(err, &later):
		w.Header().Set("Retry-After", strconv.Itoa(int(later.After.Seconds())))
		w.WriteHeader(http.StatusAccepted)
	case errors.Is(err, ErrDenied):
		refuse(w, http.StatusForbidden, string(ErrDenied))
	case errors.Is(err, device.ErrIdentity):
		refuse(w, http.StatusBadRequest, string(device.ErrIdentity))
	case err != nil:
		h.fail(w, operation, err)
	default:
		h.certificates(w, operation, "application/pkcs7-mime; smime-type=certs-only", c)
	}
}

// who tells who asks: a certificate counts before a password.
func (h *Handler) who(r *http.Request) (Who, bool) {
	if r.TLS == nil {
		return Who{}, false
	}
	if chain := r.TLS.PeerCertificates; len(chain) > 0 {
		if id, err := device.CheckLDevID(chain, h.Ours(), h.Now()); err == nil {
			return Who{LDevID: chain[0], Device: id}, true
		}
		if d, err := device.CheckIDevID(chain, h.Makers(), h.Now()); err == nil {
			return Who{IDevID: d}, true
		}
	}
	if _, password, ok := r.BasicAuth(); ok {
		if claim, err := device.ParseClaim(password); err == nil {
			return Who{Claim: &claim}, true
		}
	}
	return Who{}, false
}

// decode reads base64 with line ends (RFC 8951 section 3.1), or DER, which some
// clients send.
func decode(body []byte) (*device.Request, error) {
	if len(body) > 0 && body[0] == der.TagSequence {
		return device.ParseRequest(body)
	}
	text := bytes.Join(bytes.Fields(body), nil)
	request := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Strict().Decode(request, text)
	if err != nil {
		return nil, device.ErrRequest
	}
	return device.ParseRequest(request[:n])
}

// answer writes base64 in lines, as the clients of RFC 7030 expect them.
func answer(w http.ResponseWriter, kind string, content []byte) {
	text := base64.StdEncoding.EncodeToString(content)
	var b bytes.Buffer
	for len(text) > 64 {
		b.WriteString(text[:64] + "\n")
		text = text[64:]
	}
	b.WriteString(text + "\n")
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Transfer-Encoding", "base64")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	_, _ = w.Write(b.Bytes())
}

// refuse answers in plain text: RFC 7030 section 4.2.3 has no other form for people.
func refuse(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n")
}

func (h *Handler) fail(w http.ResponseWriter, operation string, err error) {
	if h.Failed != nil {
		h.Failed(operation, err)
	}
	refuse(w, http.StatusInternalServerError, "the service could not answer; try again later")
}
