// Package gatewaytest makes trust networks for tests: a gateway over a store of
// its own, operators, a trust anchor, and participants with all their keys.
package gatewaytest

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	name "crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"ampoule/format/cms"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/internal/gatewayapi"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/party/gateway"
	"ampoule/trust"
)

// Name is what the gateways of tests are called.
const Name = "specimen-gateway"

// Pair is a key with its certificate.
type Pair struct {
	Key  crypto.Signer
	Cert *pkix.Certificate
}

var serials atomic.Int64

// Issue makes a certificate for a key; a nil issuer makes it self-signed. What the
// template leaves out is filled in.
func Issue(t testing.TB, template x509.Certificate, issuer *Pair, key crypto.Signer) *Pair {
	t.Helper()
	if template.SerialNumber == nil {
		template.SerialNumber = big.NewInt(1000 + serials.Add(1))
	}
	parent, signer := &template, key
	if issuer != nil {
		var err error
		if parent, err = x509.ParseCertificate(issuer.Cert.Raw); err != nil {
			t.Fatal(err)
		}
		signer = issuer.Key
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	c, err := pkix.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return &Pair{key, c}
}

// EC makes a key on a curve.
func EC(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// RSA makes a key of so many bits.
func RSA(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// Network is a gateway with who runs it.
type Network struct {
	Operator  *gateway.Operator
	Store     *store.Store
	Anchor    *Pair
	Operators map[string]crypto.Signer
	now       time.Time
}

// New makes an empty gateway. Its clock stands still.
func New(t testing.TB, now time.Time) *Network {
	t.Helper()
	master, err := keys.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := store.Config{Dir: t.TempDir(), Master: master}
	if err := store.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	n := &Network{Store: s, now: now, Operators: map[string]crypto.Signer{}}
	n.Anchor = Issue(t, x509.Certificate{
		Subject: name.Name{Country: []string{"XG"}, CommonName: "Specimen trust anchor"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(9, 0, 0),
	}, nil, EC(t, elliptic.P256()))
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n.Operators["anna"], n.Operators["bela"] = EC(t, elliptic.P256()), ed
	n.Operator = &gateway.Operator{
		Book: s.Gateway(), Now: func() time.Time { return n.now }, Anchors: []crypto.PublicKey{n.Anchor.Key.Public()},
		Operators: []gateway.OperatorKey{{Name: "anna", Key: n.Operators["anna"].Public()}, {Name: "bela", Key: ed.Public()}},
		Domains:   gateway.Domains, Properties: []string{"purpose"}, Rights: gateway.Rights, Strict: gateway.Strict,
	}
	return n
}

// Advance moves the gateway's clock.
func (n *Network) Advance(d time.Duration) { n.now = n.now.Add(d) }

// Now is the gateway's time.
func (n *Network) Now() time.Time { return n.now }

// Propose fills in what every proposal of this gateway has.
func (n *Network) Propose(p gateway.Proposal) *gateway.Proposal {
	p.Version, p.Gateway, p.Made = 1, Name, n.now.UTC().Truncate(time.Second)
	p.Participant = trust.CountryParticipant(p.Country)
	return &p
}

// Approve returns a proposal, signed by the trust anchor, and the approvals of
// operators.
func (n *Network) Approve(t testing.TB, p *gateway.Proposal, by ...string) (proposal []byte, approvals [][]byte) {
	t.Helper()
	if err := gateway.SignProposal(rand.Reader, p, n.Anchor.Cert, n.Anchor.Key, n.now); err != nil {
		t.Fatal(err)
	}
	proposal, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range by {
		a, err := gateway.Approve(rand.Reader, proposal, name, n.Operators[name], n.now)
		if err != nil {
			t.Fatal(err)
		}
		approvals = append(approvals, a)
	}
	return proposal, approvals
}

// Apply applies a proposal that both operators approve.
func (n *Network) Apply(t testing.TB, p *gateway.Proposal) *gateway.Applied {
	t.Helper()
	proposal, approvals := n.Approve(t, p, "anna", "bela")
	applied, err := n.Operator.Apply(t.Context(), Name, proposal, approvals)
	if err != nil {
		t.Fatal(err)
	}
	return applied
}

// Party is a participant.
type Party struct {
	Country      string
	SCA, UP, TLS *Pair
	network      *Network
}

// NewParty makes the keys of a participant, which is not onboarded yet.
func (n *Network) NewParty(t testing.TB, country string) *Party {
	t.Helper()
	p := keys.Participant{Country: country, Organization: "Specimen ministry", Name: "Specimen " + country}
	sca, err := keys.NewSCA(p, n.now.Add(-time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	up, err := keys.NewUP(p, n.now.Add(-time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	client, err := keys.NewTLS(p, n.now.Add(-time.Hour), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &Party{country, pair(t, sca.Key), pair(t, up), pair(t, client), n}
}

func pair(t testing.TB, k *keys.Key) *Pair {
	t.Helper()
	c, err := pkix.ParseCertificate(k.Certificate().Raw)
	if err != nil {
		t.Fatal(err)
	}
	return &Pair{k.Signer, c}
}

// Entries are a participant's certificates as a proposal has them.
func (p *Party) Entries(domain string) []gateway.ProposedEntry {
	return []gateway.ProposedEntry{
		{Type: tng.CSCA, Domain: domain, Certificate: p.SCA.Cert.Raw},
		{Type: tng.UploadType, Domain: domain, Certificate: p.UP.Cert.Raw},
		{Type: tng.Authentication, Domain: domain, Certificate: p.TLS.Cert.Raw},
	}
}

// Onboard makes a participant and takes it in.
func (n *Network) Onboard(t testing.TB, country, domain string) *Party {
	t.Helper()
	p := n.NewParty(t, country)
	n.Apply(t, n.Propose(gateway.Proposal{Action: gateway.Onboard, Country: country, Entries: p.Entries(domain)}))
	return p
}

// Signer makes a document signer of the participant, valid for a day, by a
// template that may be empty.
func (p *Party) Signer(t testing.TB, template x509.Certificate, key crypto.Signer) *Pair {
	t.Helper()
	if key == nil {
		key = EC(t, elliptic.P256())
	}
	if template.Subject.CommonName == "" {
		template.Subject = name.Name{Country: []string{p.Country}, Organization: []string{"Specimen ministry"}, CommonName: "Specimen signer"}
	}
	if template.NotAfter.IsZero() {
		template.NotBefore, template.NotAfter = p.network.now.Add(-time.Minute), p.network.now.Add(24*time.Hour)
	}
	return Issue(t, template, p.SCA, key)
}

// Sign signs a content as an uploader.
func (p *Pair) Sign(t testing.TB, content []byte, at time.Time) []byte {
	t.Helper()
	message, err := cms.Sign(rand.Reader, content, p.Cert, p.Key, at, false)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

// Upload signs a content by the participant's uploader.
func (p *Party) Upload(t testing.TB, content []byte) []byte {
	t.Helper()
	return p.UP.Sign(t, content, p.network.now)
}

// Participant connects as the participant.
func (p *Party) Participant(t testing.TB) *gateway.Participant {
	t.Helper()
	who, err := p.network.Operator.Authenticate(t.Context(), gateway.Caller{Thumbprint: tng.Thumbprint(p.TLS.Cert.Raw), Country: p.Country})
	if err != nil {
		t.Fatal(err)
	}
	return who
}

// Serve serves the gateway over mutual TLS, and returns its address. A door that
// is nil has no limits.
func (n *Network) Serve(t testing.TB, door *gatewayapi.Server) string {
	t.Helper()
	if door == nil {
		door = &gatewayapi.Server{}
	}
	door.Operator = n.Operator
	if door.Log == nil {
		door.Log = slog.New(slog.DiscardHandler)
	}
	own := Issue(t, x509.Certificate{
		Subject: name.Name{CommonName: "gateway"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}, nil, EC(t, elliptic.P256()))
	certificate := &tls.Certificate{Certificate: [][]byte{own.Cert.Raw}, PrivateKey: own.Key}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	config := gatewayapi.TLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }, door.Public != nil)
	server := &http.Server{Handler: door.Handler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() { _ = server.Serve(tls.NewListener(l, config)) }()
	t.Cleanup(func() { _ = server.Shutdown(context.Background()) })
	return "https://" + l.Addr().String()
}

// Client is an HTTP client that connects with a certificate, or with none. It
// takes any server: the test made it.
func Client(t testing.TB, p *Pair) *http.Client {
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	if p != nil {
		c.Certificates = []tls.Certificate{{Certificate: [][]byte{p.Cert.Raw}, PrivateKey: p.Key}}
	}
	transport := &http.Transport{TLSClientConfig: c, ForceAttemptHTTP2: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}
