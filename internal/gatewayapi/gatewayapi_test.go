package gatewayapi_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"ampoule/format/cms"
	"ampoule/format/dccrevocation"
	"ampoule/format/tng"
	"ampoule/internal/gatewayapi"
	"ampoule/internal/gatewaytest"
)

var day = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

type answer struct {
	status int
	header http.Header
	body   string
}

func ask(t testing.TB, c *http.Client, method, address string, body []byte, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(text)}
}

func (a answer) is(t testing.TB, what string, status int, code string) {
	t.Helper()
	p, _ := tng.ParseProblem([]byte(a.body))
	if a.status != status || code != "" && (p.Code != code || a.header.Get("Content-Type") != "application/json") {
		t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, code)
	}
}

// TestMutualTLS: who connects is told by the certificate, and by nothing else.
func TestMutualTLS(t *testing.T) {
	n := gatewaytest.New(t, day)
	a, stranger := n.Onboard(t, "XA", "DCC"), n.NewParty(t, "XA")
	address := n.Serve(t, nil)
	client := gatewaytest.Client(t, a.TLS)
	ask(t, client, "GET", address+"/trustList", nil).is(t, "onboarded", 200, "")
	ask(t, gatewaytest.Client(t, stranger.TLS), "GET", address+"/trustList", nil).is(t, "a stranger", 401, "0x402")
	ask(t, gatewaytest.Client(t, a.UP), "GET", address+"/trustList", nil).is(t, "another certificate of the participant", 401, "0x402")
	if _, err := gatewaytest.Client(t, nil).Get(address + "/trustList"); err == nil {
		t.Error("connected without a certificate")
	}
	// The headers of a proxy are believed from no one here.
	sum := sha256.Sum256(a.TLS.Cert.Raw)
	ask(t, gatewaytest.Client(t, stranger.TLS), "GET", address+"/trustList", nil, "X-SSL-Client-SHA256", hex.EncodeToString(sum[:]), "X-SSL-Client-DN", "C=XA").
		is(t, "headers over TLS", 400, "0x400")
	got := ask(t, client, "GET", address+"/nothing", nil)
	if got.is(t, "an address that is none", 404, "0x005"); len(got.header.Get("X-Request-Id")) < 8 {
		t.Error("no request number")
	}
}

// TestProxy: behind a proxy its headers tell who connects, and from elsewhere they
// are an error.
func TestProxy(t *testing.T) {
	n := gatewaytest.New(t, day)
	a := n.Onboard(t, "XA", "DCC")
	door := &gatewayapi.Server{Operator: n.Operator, Log: slog.New(slog.DiscardHandler), Proxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}
	handler := door.Handler()
	sum := sha256.Sum256(a.TLS.Cert.Raw)
	thumbprint := hex.EncodeToString(sum[:])
	certificate := url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.TLS.Cert.Raw})))
	const from = "10.1.2.3:4000"
	for _, tc := range []struct {
		name, from string
		header     map[string]string
		status     int
		code       string
	}{
		{"hex", from, map[string]string{"SHA256": thumbprint, "DN": "CN=client,O=Ministry,C=XA"}, 200, ""},
		{"base64", from, map[string]string{"SHA256": base64.StdEncoding.EncodeToString(sum[:]), "DN": "C=XA"}, 200, ""},
		{"escaped", from, map[string]string{"SHA256": url.QueryEscape(base64.StdEncoding.EncodeToString(sum[:])), "DN": "CN%3Dclient%2CC%3DXA"}, 200, ""},
		{"with slashes", from, map[string]string{"SHA256": thumbprint, "DN": "/C=XA/O=Ministry/CN=client"}, 200, ""},
		{"certificate", from, map[string]string{"Cert": certificate}, 200, ""},
		{"certificate and what it has", from, map[string]string{"Cert": certificate, "DN": "C=XA", "SHA256": thumbprint}, 200, ""},
		{"certificate and another's thumbprint", from, map[string]string{"Cert": certificate, "DN": "C=XA", "SHA256": strings.Repeat("0", 64)}, 400, "0x400"},
		{"certificate and another's name", from, map[string]string{"Cert": certificate, "DN": "C=XB", "SHA256": thumbprint}, 400, "0x400"},
		{"another country", from, map[string]string{"SHA256": thumbprint, "DN": "C=XB"}, 401, "0x402"},
		{"no country", from, map[string]string{"SHA256": thumbprint, "DN": "CN=C\\=XA"}, 400, "0x401"},
		{"a country in a value", from, map[string]string{"SHA256": thumbprint, "DN": `O="x,C=XA",CN=client`}, 400, "0x401"},
		{"an escaped comma", from, map[string]string{"SHA256": thumbprint, "DN": `O=x\,C=XA,CN=client`}, 400, "0x401"},
		{"two countries", from, map[string]string{"SHA256": thumbprint, "DN": "C=XA,C=XB"}, 400, "0x400"},
		{"no name", from, map[string]string{"SHA256": thumbprint}, 400, "0x401"},
		{"only a name", from, map[string]string{"DN": "C=XA"}, 401, "0x400"},
		{"half a thumbprint", from, map[string]string{"SHA256": thumbprint[:32], "DN": "C=XA"}, 400, "0x400"},
		{"no certificate in it", from, map[string]string{"Cert": "text"}, 400, "0x400"},
		{"nothing", from, nil, 401, "0x400"},
		{"from elsewhere", "192.0.2.1:4000", map[string]string{"SHA256": thumbprint, "DN": "C=XA"}, 400, "0x400"},
		{"from elsewhere, the certificate", "192.0.2.1:4000", map[string]string{"Cert": certificate}, 400, "0x400"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := httptest.NewRequest("GET", "/trustList", nil)
			req.RemoteAddr = tc.from
			for name, value := range tc.header {
				req.Header.Set("X-SSL-Client-"+name, value)
			}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, req)
			answer{w.Code, w.Header(), w.Body.String()}.is(t, tc.name, tc.status, tc.code)
		})
	}
	req := httptest.NewRequest("GET", "/trustList", nil)
	req.RemoteAddr = from
	req.Header["X-Ssl-Client-Sha256"] = []string{thumbprint, strings.Repeat("0", 64)}
	req.Header.Set("X-SSL-Client-DN", "C=XA")
	w := httptest.NewRecorder()
	if handler.ServeHTTP(w, req); w.Code != 400 {
		t.Errorf("a header twice: %d", w.Code)
	}
}

// TestAPI goes once through every address.
func TestAPI(t *testing.T) {
	n := gatewaytest.New(t, day)
	n.Operator.ValueSets = map[string][]byte{"disease": []byte(`{"valueSetId":"disease"}`)}
	a := n.Onboard(t, "XA", "DCC")
	base, c := n.Serve(t, nil), gatewaytest.Client(t, a.TLS)
	text := func(content []byte) []byte { return tng.EncodeCMS(a.Upload(t, content)) }
	to := func(method, path string, body []byte, kind string, more ...string) answer {
		t.Helper()
		if kind != "" {
			more = append(more, "Content-Type", kind)
		}
		return ask(t, c, method, base+path, body, more...)
	}
	dsc := a.Signer(t, x509.Certificate{}, nil)
	signer := text(dsc.Cert.Raw)
	to("POST", "/signerCertificate", signer, "application/cms; charset=utf-8").is(t, "upload", 201, "")
	to("POST", "/signerCertificate", signer, tng.TypeCMS).is(t, "again", 409, "0x002")
	to("POST", "/signerCertificate", append(signer[:80:80], '\n'), tng.TypeCMS).is(t, "cut off", 400, "0x402")
	to("POST", "/signerCertificate", append(append(signer[:76:76], '\n'), signer[76:]...), tng.TypeCMS).is(t, "on two lines", 400, "0x402")
	to("POST", "/signerCertificate", signer, "text/html").is(t, "another type", 415, "0x415")
	to("POST", "/signerCertificate", make([]byte, tng.MaxBody+1), tng.TypeCMS).is(t, "too large", 413, "0x413")
	to("POST", "/trustedCertificate", []byte(`{"cms":"AAAA","properties":null}`), "application/json").is(t, "null and no CMS", 400, "n/a")
	to("POST", "/trustedCertificate", []byte(`[]`), "application/json").is(t, "not an object", 400, "n/a")

	got := to("GET", "/trustList/dsc/XA?page=0&pagesize=1", nil, "")
	if list, err := tng.ParseTrustList([]byte(got.body)); got.status != 200 || err != nil || len(list) != 1 || list[0].Err != nil || !bytes.Equal(list[0].Raw, dsc.Cert.Raw) {
		t.Errorf("list: %s", got.body)
	}
	if got := to("GET", "/trustList?page=7", nil, ""); got.body != "[]" {
		t.Errorf("a page after the last: %s", got.body)
	}
	for _, path := range []string{"/trustList/nothing", "/trustList/DSC/xa", "/trustList?page=-1", "/trustList?pagesize=0", "/trustList?pagesize=100000", "/trustList/certificate?withFederation=maybe"} {
		to("GET", path, nil, "").is(t, path, 400, "0x000")
	}
	to("GET", "/trustList", nil, "", "If-Modified-Since", "yesterday").is(t, "a time that is none", 400, "0x000")
	if got := to("GET", "/trustList", nil, "", "If-Modified-Since", "Sun, 22 Nov 2026 11:00:00 GMT"); strings.Count(got.body, `"kid"`) != 4 {
		t.Errorf("since an hour ago: %s", got.body)
	}
	if got := to("GET", "/trustList", nil, "", "If-Modified-Since", "2026-11-22T13:00:00Z"); got.body != "[]" {
		t.Errorf("since later: %s", got.body)
	}
	for path, want := range map[string]int{
		"/trustList/certificate?group=DSC&group=CSCA": 2, "/trustList/certificate?country=XB": 0, "/trustList/certificate?domain=DCC,PH4H&withFederation=true": 4,
	} {
		got := to("GET", path, nil, "")
		if list, err := tng.ParseCertificates([]byte(got.body)); err != nil || len(list) != want {
			t.Errorf("%s: %s", path, got.body)
		}
	}
	for path, want := range map[string]string{
		"/trustList/issuers": "[]", "/trustList/references": "[]", "/countrylist": `["XA"]`, "/valuesets": `["disease"]`,
		"/valuesets/disease": `{"valueSetId":"disease"}`, "/rules/XA": "{}",
	} {
		if got := to("GET", path, nil, ""); got.status != 200 || got.body != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	to("GET", "/valuesets/none", nil, "").is(t, "no value set", 404, "0x300")
	to("GET", "/rules/xa", nil, "").is(t, "no country", 400, "0x100")

	// References.
	reference, err := tng.Reference{Version: "1", Country: "XA", Type: "FHIR", Service: "s", SignatureType: "NONE"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got = to("POST", "/trust/reference", text(reference), tng.TypeCMSText)
	var made struct{ UUID string }
	if err := json.Unmarshal([]byte(got.body), &made); got.status != 201 || err != nil || !tng.IsUUID(made.UUID) {
		t.Fatalf("reference: %d %s", got.status, got.body)
	}
	to("GET", "/trust/reference/"+made.UUID, nil, "").is(t, "reference", 200, "")
	to("GET", "/trust/reference/..%2f", nil, "").is(t, "no UUID", 400, "0x000")
	order, err := tng.EncodeReferenceDelete(made.UUID)
	if err != nil {
		t.Fatal(err)
	}
	to("DELETE", "/trust/reference", text(order), tng.TypeCMSText).is(t, "reference deleted", 204, "")
	to("GET", "/trust/reference/"+made.UUID, nil, "").is(t, "reference", 404, "0x005")

	// Rules.
	from := day.AddDate(0, 0, 3)
	rule := fmt.Appendf(nil, `{"Identifier":"GR-XA-0001","Type":"Acceptance","Country":"XA","Version":"1.0.0","CertificateType":"General","ValidFrom":%q,"ValidTo":%q,"Logic":{}}`,
		from.Format(time.RFC3339), from.AddDate(1, 0, 0).Format(time.RFC3339))
	to("POST", "/rules", text(rule), tng.TypeCMSText).is(t, "rule", 201, "")
	got = to("GET", "/rules/XA", nil, "")
	var rules map[string][]struct {
		Version string
		CMS     []byte
	}
	if err := json.Unmarshal([]byte(got.body), &rules); err != nil || len(rules["GR-XA-0001"]) != 1 {
		t.Fatalf("rules: %s", got.body)
	}
	if o, err := cms.Open(rules["GR-XA-0001"][0].CMS, nil); err != nil || !bytes.Equal(o.Content, rule) {
		t.Errorf("the rule: %v", err)
	}
	to("POST", "/rules/delete", text([]byte("GR-XA-0001")), tng.TypeCMSText).is(t, "rule deleted", 204, "")
	to("DELETE", "/rules", text([]byte("GR-XA-0001")), tng.TypeCMSText).is(t, "rule again", 404, "0x110")

	// The revocation list.
	to("GET", "/revocation-list", nil, "").is(t, "without a time", 400, "0x000")
	to("GET", "/revocation-list", nil, "", "If-Modified-Since", "Sun, 22 Nov 2026 11:00:00 GMT").is(t, "a time of HTTP", 400, "0x000")
	const since = "2021-06-01T00:00:00Z"
	to("GET", "/revocation-list", nil, "", "If-Modified-Since", since).is(t, "empty", 204, "")
	batch, err := dccrevocation.Batch{Country: "XA", Expires: day.AddDate(0, 1, 0), Type: dccrevocation.TypeUCI, Hashes: []dccrevocation.Hash128{{1}}}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got = to("POST", "/revocation-list", text(batch), tng.TypeCMSText)
	id := got.header.Get("ETag")
	if got.is(t, "batch", 201, ""); !tng.IsUUID(id) {
		t.Errorf("ETag %q", id)
	}
	got = to("GET", "/revocation-list", nil, "", "If-Modified-Since", since)
	if page, err := tng.ParseRevocationPage([]byte(got.body)); err != nil || len(page.Batches) != 1 || page.Batches[0].BatchID != id {
		t.Errorf("%s: %v", got.body, err)
	}
	got = to("GET", "/revocation-list/"+id, nil, "")
	if message, err := tng.ParseCMS([]byte(got.body)); err != nil || got.header.Get("ETag") != id || got.header.Get("Content-Type") != tng.TypeCMSText {
		t.Errorf("%v", got.header)
	} else if o, err := cms.Open(message, nil); err != nil || !bytes.Equal(o.Content, batch) {
		t.Errorf("the batch: %v", err)
	}
	to("GET", "/revocation-list/nothing", nil, "").is(t, "no UUID", 400, "0x000")
	if order, err = tng.EncodeBatchDelete(id); err != nil {
		t.Fatal(err)
	}

	// Signed again.
	got = to("GET", "/cms-migration", nil, "")
	packages, err := tng.ParsePackages([]byte(got.body))
	if err != nil || len(packages) != 2 {
		t.Fatalf("packages: %s, %v", got.body, err)
	}
	packages[0].CMS = a.Upload(t, dsc.Cert.Raw)
	body, err := packages[0].Encode()
	if err != nil {
		t.Fatal(err)
	}
	to("POST", "/cms-migration", body, "application/json").is(t, "migrated", 204, "")
	to("POST", "/cms-migration", []byte("{}"), "application/json").is(t, "no package", 400, "n/a")

	to("POST", "/revocation-list/delete", text(order), tng.TypeCMSText).is(t, "batch deleted", 204, "")
	to("DELETE", "/revocation-list", text(order), tng.TypeCMSText).is(t, "batch again", 410, "0x000")
	to("GET", "/revocation-list/"+id, nil, "").is(t, "batch", 410, "0x000")
	to("DELETE", "/trustedCertificate", signer, tng.TypeCMS).is(t, "deleted", 204, "")
	to("POST", "/trustedCertificate/delete", signer, tng.TypeCMS).is(t, "again", 404, "0x005")
	to("POST", "/signerCertificate/delete", signer[:40], tng.TypeCMS).is(t, "no CMS", 400, "0x009")
	to("PUT", "/signerCertificate", signer, tng.TypeCMS).is(t, "another method", 404, "0x005")
}

// TestLimits: one participant that asks too often keeps nobody else from asking.
func TestLimits(t *testing.T) {
	n := gatewaytest.New(t, day)
	a, b := n.Onboard(t, "XA", "DCC"), n.Onboard(t, "XB", "DCC")
	base := n.Serve(t, &gatewayapi.Server{Rate: 1, Burst: 3})
	client := gatewaytest.Client(t, a.TLS)
	limited := 0
	for range 6 {
		if got := ask(t, client, "GET", base+"/countrylist", nil); got.status == 429 {
			limited++
		}
	}
	if limited < 2 {
		t.Errorf("%d of 6 were too many", limited)
	}
	ask(t, gatewaytest.Client(t, b.TLS), "GET", base+"/countrylist", nil).is(t, "another", 200, "")
}

// TestPublic: published lists need no certificate, and the API still does.
func TestPublic(t *testing.T) {
	n := gatewaytest.New(t, day)
	base := n.Serve(t, &gatewayapi.Server{Public: fstest.MapFS{"v2/trustlist/DCC/did.json": {Data: []byte("{}")}, "v2/secret.key": {Data: []byte("x")}, "did.json": {Data: []byte("x")}}})
	client := gatewaytest.Client(t, nil)
	if got := ask(t, client, "GET", base+"/v2/trustlist/DCC/did.json", nil); got.status != 200 || got.body != "{}" {
		t.Errorf("%d %s", got.status, got.body)
	}
	for _, path := range []string{"/v2/", "/v2/trustlist/", "/v2/trustlist/DCC", "/v2/secret.key", "/v2/none.json"} {
		if got := ask(t, client, "GET", base+path, nil); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
	ask(t, client, "GET", base+"/trustList", nil).is(t, "the API", 401, "0x400")
}
