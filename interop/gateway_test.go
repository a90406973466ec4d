package interop

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"ampoule/format/tng"
	"ampoule/internal/gatewaytest"
	"ampoule/party/gateway"
)

// judgeGatewayCases runs the cases of public test suites of gateways against ours,
// over mutual TLS, each on a gateway of its own. A sentence that is not understood
// is a failure.
func judgeGatewayCases(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "api-cases", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		var doc struct {
			Cases []struct {
				ID, Setup string
				Steps     []struct{ Do, Expect string }
			}
		}
		readJSON(t, path, &doc)
		if len(doc.Cases) == 0 {
			t.Errorf("%s has no cases", path)
		}
		for _, c := range doc.Cases {
			r := result{format: "trust", group: "api-cases", name: filepath.Base(path) + " " + c.ID, judgement: agree}
			bed, err := newGatewayBed(t, c.Setup)
			for _, step := range c.Steps {
				if err == nil {
					if err = bed.step(t, step.Do, step.Expect); err != nil {
						err = fmt.Errorf("%s: %w", step.Do, err)
					}
				}
			}
			if len(c.Steps) == 0 {
				err = fmt.Errorf("no steps")
			}
			if err != nil {
				r.judgement, r.detail = disagree, err.Error()
			}
			b.add(r)
		}
	}
}

// gatewayBed is a gateway with the participants of a case.
type gatewayBed struct {
	network *gatewaytest.Network
	parties map[string]*gatewaytest.Party // A, B
	signer  *gatewaytest.Pair             // the document signer that the case is about
	last    []byte                        // CMS that was sent last
	address string
	clients map[string]*http.Client
}

// rsa4092 is made once: it takes seconds.
var rsa4092 = sync.OnceValue(func() crypto.Signer {
	k, err := rsa.GenerateKey(rand.Reader, 4092)
	if err != nil {
		panic(err)
	}
	return k
})

var countryOf = map[string]string{"A": "XA", "B": "XB"}

// newGatewayBed makes what a case presupposes. A and B are onboarded in every
// case; each clause of the setup is one of these.
func newGatewayBed(t *testing.T, setup string) (*gatewayBed, error) {
	g := &gatewayBed{network: gatewaytest.New(t, time.Now()), parties: map[string]*gatewaytest.Party{}, clients: map[string]*http.Client{}}
	for who, country := range countryOf {
		g.parties[who] = g.network.Onboard(t, country, "DCC")
		g.clients[who] = gatewaytest.Client(t, g.parties[who].TLS)
	}
	g.address = g.network.Serve(t, nil)
	signer := func(who string, key crypto.Signer) {
		g.signer = g.parties[who].Signer(t, x509.Certificate{}, key)
	}
	preload := func() error {
		for who := range countryOf {
			p := g.parties[who]
			dsc := p.Signer(t, x509.Certificate{}, nil)
			if _, err := g.network.Operator.UploadSigner(t.Context(), p.Participant(t), p.Upload(t, dsc.Cert.Raw)); err != nil {
				return err
			}
		}
		return nil
	}
	for clause := range strings.SplitSeq(setup, ";") {
		switch strings.TrimSpace(clause) {
		case "A, B onboarded", "A onboarded for DCC only":
		case "DSC of A", "P-256 DSC of A":
			signer("A", gatewaytest.EC(t, elliptic.P256()))
		case "P-384 DSC of A":
			signer("A", gatewaytest.EC(t, elliptic.P384()))
		case "P-521 DSC of A":
			signer("A", gatewaytest.EC(t, elliptic.P521()))
		case "RSA-4092 DSC of A":
			signer("A", rsa4092())
		case "DSC of B":
			signer("B", nil)
		case "DSC of B signed by an SCA of B that is not onboarded":
			g.signer = g.network.NewParty(t, "XB").Signer(t, x509.Certificate{}, nil)
		case "preloaded", "at least one DSC of A preloaded":
			if err := preload(); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("setup %q is not understood", clause)
		}
	}
	return g, nil
}

// The sentences.
var (
	doGet     = regexp.MustCompile(`^GET (/\S+?)(<alpha-2 of ([AB])>)?( TLS ([AB]))?$`)
	doCMS     = regexp.MustCompile(`^(POST|DELETE) (/signerCertificate|/trustedCertificate)(/delete)? CMS\(DSC(?: of [AB])?\) signed by UP of ([AB]), TLS of ([AB])$`)
	doSame    = regexp.MustCompile(`^(POST|DELETE) (/signerCertificate|/trustedCertificate)(/delete)? same CMS$`)
	doTrusted = regexp.MustCompile(`^POST /trustedCertificate JSON\{([^{}]*(?:\{\})?)\}, cms signed by UP of ([AB]), TLS of ([AB])$`)

	expectTypes = regexp.MustCompile(`^more than 0 entries, (?:certificateType )?all ([A-Z]+)(?: and country of ([AB]))?$`)
)

func (g *gatewayBed) step(t *testing.T, do, expect string) error {
	var status int
	var body []byte
	var err error
	path := ""
	send := func(who, method, url, kind string, data []byte) {
		req, e := http.NewRequestWithContext(t.Context(), method, g.address+url, bytes.NewReader(data))
		if e != nil {
			err = e
			return
		}
		if kind != "" {
			req.Header.Set("Content-Type", kind)
		}
		res, e := g.clients[who].Do(req)
		if e != nil {
			err = e
			return
		}
		defer res.Body.Close()
		status = res.StatusCode
		body, err = io.ReadAll(res.Body)
	}
	switch {
	case doGet.MatchString(do):
		m := doGet.FindStringSubmatch(do)
		path = m[1]
		who := "A"
		if m[5] != "" {
			who = m[5]
		}
		if m[3] != "" {
			path += countryOf[m[3]]
		}
		send(who, http.MethodGet, path, "", nil)
	case doCMS.MatchString(do):
		m := doCMS.FindStringSubmatch(do)
		g.last = g.parties[m[4]].Upload(t, g.signer.Cert.Raw)
		send(m[5], m[1], m[2]+m[3], tng.TypeCMS, tng.EncodeCMS(g.last))
	case doSame.MatchString(do):
		m := doSame.FindStringSubmatch(do)
		send("A", m[1], m[2]+m[3], tng.TypeCMS, tng.EncodeCMS(g.last))
	case doTrusted.MatchString(do):
		m := doTrusted.FindStringSubmatch(do)
		g.last = g.parties[m[2]].Upload(t, g.signer.Cert.Raw)
		members := map[string]any{"cms": base64.StdEncoding.EncodeToString(g.last)}
		for pair := range strings.SplitSeq(m[1], ",") {
			name, value, _ := strings.Cut(pair, ":")
			switch {
			case name == "properties" && value == "{}":
				members[name] = map[string]string{}
			case name == "kid" && value == "derived":
				members[name] = tng.DerivedKID(g.signer.Cert.Raw)
			case (name == "kid" || name == "group" || name == "domain") && value != "":
				members[name] = value
			default:
				return fmt.Errorf("%q is not understood", pair)
			}
		}
		var data []byte
		if data, err = json.Marshal(members); err == nil {
			send(m[3], http.MethodPost, "/trustedCertificate", "application/json", data)
		}
	default:
		return fmt.Errorf("not understood")
	}
	if err != nil {
		return err
	}
	return g.expect(expect, path, status, body)
}

func (g *gatewayBed) expect(expect, path string, status int, body []byte) error {
	switch expect {
	case "2xx", "4xx":
		if status/100 != int(expect[0]-'0') {
			return fmt.Errorf("want %s, got %d %s", expect, status, body)
		}
		return nil
	}
	if status != http.StatusOK {
		return fmt.Errorf("got %d %s", status, body)
	}
	// What is listed: kid by certificate.
	kids := map[string]string{}
	if strings.HasPrefix(path, "/trustList/certificate") {
		list, err := tng.ParseCertificates(body)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Err != nil {
				return e.Err
			}
			kids[string(e.Raw)] = e.KID
		}
	} else {
		list, err := tng.ParseTrustList(body)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.Err != nil {
				return e.Err
			}
			kids[string(e.Raw)] = e.KID
		}
		if m := expectTypes.FindStringSubmatch(expect); m != nil {
			if len(list) == 0 || slices.ContainsFunc(list, func(e tng.TrustListEntry) bool { return e.Type != m[1] || m[2] != "" && e.Country != countryOf[m[2]] }) {
				return fmt.Errorf("want %s, got %s", expect, body)
			}
			return nil
		}
	}
	kid, listed := kids[string(g.signer.Cert.Raw)]
	switch strings.ToLower(expect) {
	case "listed", "certificate listed":
	case "listed with kid = base64(sha-256(cert)[:8])":
		if want := tng.DerivedKID(g.signer.Cert.Raw); listed && kid != want {
			return fmt.Errorf("kid %s, want %s", kid, want)
		}
	case "not listed":
		if listed {
			return fmt.Errorf("it is listed")
		}
		return nil
	default:
		return fmt.Errorf("expectation %q is not understood", expect)
	}
	if !listed {
		return fmt.Errorf("it is not listed among %d", len(kids))
	}
	return nil
}

// judgeUploads gives every message of the upload cases to the gateway, as both
// addresses take it, on the day that the certificates hold.
func judgeUploads(t *testing.T, b *board, dir string) {
	path := filepath.Join(dir, "cms", "upload-cases.json")
	var doc struct {
		Country      string
		Onboarded    map[string][]string
		Certificates map[string]string
		Cases        []struct {
			Name, Expect string
			CMSBase64    string
		}
	}
	files, err := filepath.Glob(path)
	if err != nil || len(files) == 0 {
		return
	}
	readJSON(t, path, &doc)
	types := map[string]string{"CSCA": tng.CSCA, "UPLOAD": tng.UploadType}
	day := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for _, c := range doc.Cases {
		for _, trusted := range []bool{false, true} {
			address := "/signerCertificate"
			if trusted {
				address = "/trustedCertificate"
			}
			n := gatewaytest.New(t, day)
			// A client of the country; uploader and authority are those of the cases.
			client := n.NewParty(t, doc.Country)
			entries := client.Entries("DCC")[2:]
			for kind, names := range doc.Onboarded {
				for _, name := range names {
					entries = append(entries, gateway.ProposedEntry{Type: types[kind], Domain: "DCC", Certificate: certificateOf(t, doc.Certificates[name])})
				}
			}
			n.Apply(t, n.Propose(gateway.Proposal{Action: gateway.Onboard, Country: doc.Country, Entries: entries}))
			body, kind := []byte(c.CMSBase64), tng.TypeCMS
			if trusted {
				body, kind = fmt.Appendf(nil, `{"cms":%q}`, c.CMSBase64), "application/json"
			}
			r := result{format: "trust", group: "cms", name: c.Name + " " + address, judgement: agree}
			if err := judgeUpload(t, n.Serve(t, nil)+address, client, kind, body, c.Expect, trusted); err != nil {
				r.judgement, r.detail = disagree, err.Error()
			}
			b.add(r)
		}
	}
}

// judgeUpload sends one message. The expectation names what the gateway says of
// /signerCertificate; for /trustedCertificate it has no codes but 0x004.
func judgeUpload(t *testing.T, address string, client *gatewaytest.Party, kind string, body []byte, expect string, trusted bool) error {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", kind)
	res, err := gatewaytest.Client(t, client.TLS).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	want, code := http.StatusBadRequest, ""
	switch {
	case expect == "accept":
		want = http.StatusCreated
	case expect == "refuse-by-policy":
		code = tng.CodeUnknownClient
	case strings.HasPrefix(expect, "400 0x"):
		code = strings.Fields(expect)[1]
	default:
		return fmt.Errorf("expectation %q is not understood", expect)
	}
	if trusted && code != "" && code != tng.CodeCertificate {
		code = "n/a"
	}
	if res.StatusCode != want {
		return fmt.Errorf("want %d, got %d %s", want, res.StatusCode, answer)
	}
	if code == "" {
		return nil
	}
	if p, err := tng.ParseProblem(answer); err != nil || p.Code != code {
		return fmt.Errorf("want code %s, got %s", code, answer)
	}
	return nil
}

func certificateOf(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("not in PEM")
	}
	return block.Bytes
}
