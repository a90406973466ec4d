package est

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/device"
	"ampoule/format/cms"
	"ampoule/format/oid"
)

var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// root is an authority of tests: of ours, or of a maker.
type root struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newRoot(t testing.TB, name string) *root {
	r := &root{key: newKey(t)}
	r.cert = &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		SerialNumber: big.NewInt(1), NotBefore: newYear, NotAfter: newYear.AddDate(10, 0, 0),
	}
	r.cert = r.certify(t, r.cert, r.key.Public())
	return r
}

func (r *root) certify(t testing.TB, template *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, template, r.cert, pub, r.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (r *root) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(r.cert)
	return p
}

// desk is an authority that certifies one device, whoever proves to be it.
type desk struct {
	*root
	t      testing.TB
	device device.ID
	claim  device.Hash
	err    error // answered instead

	mu    sync.Mutex
	asked []Who
}

func (d *desk) CAs(context.Context) ([]*x509.Certificate, error) {
	return []*x509.Certificate{d.cert}, d.err
}

func (d *desk) Enrol(_ context.Context, r *device.Request, who Who) (*x509.Certificate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, who)
	switch {
	case d.err != nil:
		return nil, d.err
	case who.Claim != nil && !who.Claim.Matches(d.claim), who.LDevID != nil && who.Device != d.device:
		return nil, fmt.Errorf("a stranger: %w", ErrDenied)
	}
	template, err := r.Template(d.device, "0007", big.NewInt(int64(100+len(d.asked))), newYear, newYear.AddDate(3, 0, 0))
	if err != nil {
		return nil, err
	}
	return d.certify(d.t, template, r.PublicKey), nil
}

// start serves over TLS, and returns the address and the certificate to trust.
func start(t *testing.T) (*httptest.Server, *desk, *root, device.Claim) {
	t.Helper()
	o, err := oid.Parse("2.25.329800735698586629295641978511506172918.4.1")
	if err != nil {
		t.Fatal(err)
	}
	claim, err := device.NewClaim(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{root: newRoot(t, "Specimen device CA"), t: t, device: o, claim: claim.Hash()}
	maker := newRoot(t, "Specimen maker")
	s := httptest.NewUnstartedServer(&Handler{
		Authority: d, Makers: maker.pool, Ours: d.pool, Now: func() time.Time { return newYear.AddDate(0, 1, 0) },
		Failed: func(operation string, err error) { t.Logf("%s: %v", operation, err) },
	})
	s.TLS = TLS(&tls.Config{})
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, d, maker, claim
}

// needs skips where a tool is missing, but not in the checks.
func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatalf("%s is missing", tool)
			}
			t.Skipf("SKIPPED: %s is missing", tool)
		}
	}
}

func tool(t *testing.T, dir, name string, args ...string) []byte {
	t.Helper()
	c := exec.Command(name, args...)
	c.Dir = dir
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

func writePEM(t *testing.T, file, kind string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestClients: openssl and curl enrol a device by its maker's certificate, renew the
// certificate over mutual TLS, and enrol it by its claim code.
func TestClients(t *testing.T) {
	needs(t, "openssl", "curl")
	s, d, maker, claim := start(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	writePEM(t, at("server.pem"), "CERTIFICATE", s.Certificate().Raw)
	writePEM(t, at("ca.pem"), "CERTIFICATE", d.cert.Raw)

	// As its maker gave it out.
	idevid := newKey(t)
	raw, err := x509.MarshalPKCS8PrivateKey(idevid)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, at("idevid.key"), "PRIVATE KEY", raw)
	writePEM(t, at("idevid.pem"), "CERTIFICATE", maker.certify(t, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{SerialNumber: "0007", Organization: []string{"Specimen Ltd"}},
		NotBefore: newYear, NotAfter: newYear.AddDate(20, 0, 0),
	}, idevid.Public()).Raw)

	curl := func(to string, args ...string) string {
		return string(tool(t, dir, "curl", append([]string{"-sS", "--cacert", "server.pem", "-o", to, "-w", "%{http_code} %{content_type}"}, args...)...))
	}
	if got := curl("cacerts.b64", s.URL+Path+"cacerts"); got != "200 application/pkcs7-mime" {
		t.Fatal(got)
	}
	// A message of openssl's own reader: base64, DER, certificates.
	tool(t, dir, "openssl", "base64", "-d", "-in", "cacerts.b64", "-out", "cacerts.p7")
	tool(t, dir, "openssl", "pkcs7", "-inform", "DER", "-in", "cacerts.p7", "-print_certs", "-out", "got-ca.pem")
	tool(t, dir, "openssl", "x509", "-in", "got-ca.pem", "-outform", "DER", "-out", "got-ca.der")
	if got, err := os.ReadFile(at("got-ca.der")); err != nil || !bytes.Equal(got, d.cert.Raw) {
		t.Fatalf("another authority, %v", err)
	}
	tool(t, dir, "openssl", "cms", "-cmsout", "-print", "-inform", "DER", "-in", "cacerts.p7", "-noout")

	subject := "/serialNumber=0007"
	name := "subjectAltName=URI:urn:oid:" + d.device.String()
	enrol := func(key, operation string, args ...string) {
		t.Helper()
		tool(t, dir, "openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key+".key", "-subj", subject, "-addext", name, "-outform", "DER", "-out", key+".csr")
		tool(t, dir, "openssl", "base64", "-in", key+".csr", "-out", key+".b64")
		args = append(args, "-H", "Content-Type: application/pkcs10", "-H", "Content-Transfer-Encoding: base64", "--data-binary", "@"+key+".b64", s.URL+Path+operation)
		if got := curl(key+".out", args...); got != "200 application/pkcs7-mime; smime-type=certs-only" {
			text, _ := os.ReadFile(at(key + ".out"))
			t.Fatalf("%s: %s %s", operation, got, text)
		}
		tool(t, dir, "openssl", "base64", "-d", "-in", key+".out", "-out", key+".p7")
		tool(t, dir, "openssl", "pkcs7", "-inform", "DER", "-in", key+".p7", "-print_certs", "-out", key+".pem")
		tool(t, dir, "openssl", "verify", "-no_check_time", "-purpose", "sslclient", "-CAfile", "ca.pem", key+".pem")
		if text := tool(t, dir, "openssl", "x509", "-in", key+".pem", "-noout", "-ext", "subjectAltName,extendedKeyUsage"); !bytes.Contains(text, []byte(d.device.String())) || !bytes.Contains(text, []byte("Client Authentication")) {
			t.Errorf("%s: %s", key, text)
		}
	}
	enrol("first", "simpleenroll", "--cert", "idevid.pem", "--key", "idevid.key")
	enrol("second", "simplereenroll", "--cert", "first.pem", "--key", "first.key")
	enrol("third", "simpleenroll", "-u", "device:"+claim.String())
	if len(d.asked) != 3 || d.asked[0].IDevID == nil || d.asked[0].IDevID.Serial != "0007" || d.asked[1].LDevID == nil || !d.asked[1].Renews || d.asked[1].Device != d.device || d.asked[2].Claim == nil {
		t.Errorf("%+v", d.asked)
	}
	if got := curl("attributes.b64", s.URL+Path+"csrattrs"); got != "200 application/csrattrs" {
		t.Fatal(got)
	}
	tool(t, dir, "openssl", "base64", "-d", "-in", "attributes.b64", "-out", "attributes.der")
	if text := tool(t, dir, "openssl", "asn1parse", "-inform", "DER", "-in", "attributes.der"); !bytes.Contains(text, []byte("prime256v1")) || !bytes.Contains(text, []byte("ecdsa-with-SHA256")) {
		t.Errorf("%s", text)
	}
}

func TestRefused(t *testing.T) {
	s, d, maker, claim := start(t)
	request := func(template *x509.CertificateRequest) []byte {
		raw, err := x509.CreateCertificateRequest(rand.Reader, template, newKey(t))
		if err != nil {
			t.Fatal(err)
		}
		return []byte(base64.StdEncoding.EncodeToString(raw))
	}
	named := request(&x509.CertificateRequest{URIs: []*url.URL{device.URI(d.device)}, Subject: pkix.Name{SerialNumber: "0007"}})
	other, err := oid.Parse("2.25.1")
	if err != nil {
		t.Fatal(err)
	}
	another := request(&x509.CertificateRequest{URIs: []*url.URL{device.URI(other)}})
	certified := func(r *root, template *x509.Certificate) *tls.Certificate {
		key := newKey(t)
		template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(9), newYear, newYear.AddDate(5, 0, 0)
		return &tls.Certificate{Certificate: [][]byte{r.certify(t, template, key.Public()).Raw}, PrivateKey: key}
	}
	idevid := certified(maker, &x509.Certificate{Subject: pkix.Name{SerialNumber: "0007"}})
	ldevid := certified(d.root, &x509.Certificate{Subject: pkix.Name{SerialNumber: "0007"}, URIs: []*url.URL{device.URI(d.device)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	stranger := certified(newRoot(t, "Specimen maker"), &x509.Certificate{Subject: pkix.Name{SerialNumber: "0007"}})
	wrong, err := device.NewClaim(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, method, operation string
		certificate             *tls.Certificate
		password                string
		media                   string
		body                    []byte
		err                     error
		status                  int
		text                    string
	}{
		{name: "another operation", method: "GET", operation: "fullcmc", status: 404},
		{name: "a label", method: "GET", operation: "label/cacerts", status: 404},
		{name: "cacerts by POST", method: "POST", operation: "cacerts", status: 405},
		{name: "enrolment by GET", method: "GET", operation: "simpleenroll", status: 405},
		{name: "an authority that is away", method: "GET", operation: "cacerts", err: errors.New("secret"), status: 500, text: "could not answer"},
		{name: "nobody", method: "POST", operation: "simpleenroll", body: named, status: 401},
		{name: "another maker's", method: "POST", operation: "simpleenroll", certificate: stranger, body: named, status: 401},
		{name: "no code", method: "POST", operation: "simpleenroll", password: "secret", body: named, status: 401},
		{name: "another code", method: "POST", operation: "simpleenroll", password: wrong.String(), body: named, status: 403, text: "enrolment-denied"},
		{name: "another device", method: "POST", operation: "simpleenroll", password: claim.String(), body: another, status: 400, text: "bad-device-identity"},
		{name: "text", method: "POST", operation: "simpleenroll", password: claim.String(), media: "text/plain", body: named, status: 415},
		{name: "no base64", method: "POST", operation: "simpleenroll", password: claim.String(), body: []byte("%"), status: 400, text: "bad-certificate-request"},
		{name: "too long", method: "POST", operation: "simpleenroll", password: claim.String(), body: bytes.Repeat([]byte("A"), maxBody+1), status: 400},
		{name: "a renewal by code", method: "POST", operation: "simplereenroll", password: claim.String(), body: named, status: 401},
		{name: "a renewal by the maker's", method: "POST", operation: "simplereenroll", certificate: idevid, body: named, status: 401},
		{name: "a renewal of another", method: "POST", operation: "simplereenroll", certificate: ldevid, body: another, status: 400, text: "not-a-renewal"},
		{name: "later", method: "POST", operation: "simpleenroll", certificate: idevid, body: named, err: &Later{90 * time.Second}, status: 202},
		{name: "a failure", method: "POST", operation: "simpleenroll", certificate: idevid, body: named, err: errors.New("secret"), status: 500, text: "could not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d.err = c.err
			defer func() { d.err = nil }()
			r, err := http.NewRequest(c.method, s.URL+Path+c.operation, bytes.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/pkcs10")
			if c.media != "" {
				r.Header.Set("Content-Type", c.media)
			}
			if c.password != "" {
				r.SetBasicAuth("device", c.password)
			}
			transport := s.Client().Transport.(*http.Transport).Clone()
			defer transport.CloseIdleConnections()
			if c.certificate != nil {
				transport.TLSClientConfig.Certificates = []tls.Certificate{*c.certificate}
			}
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != c.status || !strings.Contains(string(text), c.text) || strings.Contains(string(text), "secret") {
				t.Errorf("%d %s, %v", resp.StatusCode, text, err)
			}
			if c.status == 401 && (resp.Header.Get("WWW-Authenticate") != "") != (c.operation == "simpleenroll") {
				t.Errorf("WWW-Authenticate: %q", resp.Header.Get("WWW-Authenticate"))
			}
			if c.status == 202 && resp.Header.Get("Retry-After") != "90" {
				t.Errorf("Retry-After: %q", resp.Header.Get("Retry-After"))
			}
		})
	}
	// Over plain HTTP nobody is anybody.
	plain := httptest.NewRecorder()
	r := httptest.NewRequest("POST", Path+"simpleenroll", bytes.NewReader(named))
	r.SetBasicAuth("device", claim.String())
	(&Handler{Authority: d, Makers: maker.pool, Ours: d.pool, Now: time.Now}).ServeHTTP(plain, r)
	if plain.Code != 401 {
		t.Errorf("without TLS: %d", plain.Code)
	}
}

// TestDER: a request in DER is taken as well, and the answer is what [cms.Parse] reads.
func TestDER(t *testing.T) {
	s, d, _, claim := start(t)
	raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest("POST", s.URL+Path+"simpleenroll", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/pkcs10")
	r.SetBasicAuth("", claim.Label())
	resp, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%d %s, %v", resp.StatusCode, text, err)
	}
	message, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(text), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	m, err := cms.Parse(message)
	if err != nil || m.Carried != 1 {
		t.Fatalf("%+v, %v", m, err)
	}
	c, err := x509.ParseCertificate(m.Certificates[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := device.CheckLDevID([]*x509.Certificate{c}, d.pool(), newYear.AddDate(0, 1, 0)); err != nil || got != d.device {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, newKey(f))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(base64.StdEncoding.EncodeToString(raw)))
	f.Fuzz(func(t *testing.T, body []byte) {
		if r, err := decode(body); (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
	})
}
