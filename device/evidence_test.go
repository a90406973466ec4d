package device

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"slices"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
)

// authority certifies devices in tests.
type authority struct {
	t    testing.TB
	key  crypto.Signer
	cert *x509.Certificate
	next int64
}

var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newAuthority(t testing.TB, name string) *authority {
	a := &authority{t: t, key: ecKey(t), next: 1}
	a.cert = a.certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, a.key.Public())
	return a
}

func (a *authority) certify(template *x509.Certificate, pub crypto.PublicKey) *x509.Certificate {
	a.t.Helper()
	a.next++
	template.SerialNumber = big.NewInt(a.next)
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = newYear.AddDate(-1, 0, 0), newYear.AddDate(2, 0, 0)
	}
	parent := a.cert
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, pub, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *authority) device(device ID, pub crypto.PublicKey) *x509.Certificate {
	return a.certify(&x509.Certificate{
		Subject: pkix.Name{SerialNumber: "7"}, URIs: []*url.URL{URI(device)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, pub)
}

func (a *authority) service(pub crypto.PublicKey) *x509.Certificate {
	return a.certify(&x509.Certificate{
		Subject: pkix.Name{CommonName: "Specimen service"}, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{documentSigning},
	}, pub)
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// parties sign the evidence of tests.
type parties struct {
	ca                       *authority
	device, gateway, service crypto.Signer
	certificates             [][]byte
	id, gatewayID            ID
}

func newParties(t testing.TB) *parties {
	p := &parties{ca: newAuthority(t, "Specimen device CA"), device: edKey(1), gateway: edKey(2), service: edKey(3), id: id(t, specimenDevice), gatewayID: id(t, specimenDevice+".9")}
	for _, c := range []*x509.Certificate{p.ca.device(p.id, p.device.Public()), p.ca.device(p.gatewayID, p.gateway.Public()), p.ca.service(p.service.Public()), p.ca.cert} {
		p.certificates = append(p.certificates, c.Raw)
	}
	return p
}

// chain signs the readings in segments of n.
func chain(t testing.TB, device ID, stream uint64, by crypto.Signer, readings []Reading, n int) (all [][]byte) {
	var head Head
	for part := range slices.Chunk(readings, n) {
		s := &Segment{Device: device, Stream: stream, Quantity: Temperature, Seq: head.Seq + 1, Prev: head.Hash, Interval: 60, Clock: ClockSet, Readings: part}
		all = append(all, signed(t, s, by))
		head = s.Head()
	}
	return all
}

// write makes evidence; change may take its parts apart before.
func (p *parties) write(t testing.TB, segments, statements [][]byte, sealer crypto.Signer) []byte {
	t.Helper()
	var b bytes.Buffer
	e := NewEvidence(&b, p.id, []Name{{Serial, "Specimen/1"}}, newYear.AddDate(0, 1, 0))
	for _, der := range p.certificates {
		e.Certificate(der)
	}
	e.Stream(1, "TVC", Temperature)
	e.Stream(2, "TAMB", Temperature)
	for _, s := range segments {
		e.Segment(s)
	}
	for _, s := range statements {
		e.Statement(s)
	}
	e.Correction(Correction{1, 1, 2, -3600, "clock was an hour fast"})
	e.Location(Location{newYear.Unix(), 0, "Specimen health centre", "fridge 1"})
	e.Anchor(Anchor{[]byte{1}, []byte{2, 3}})
	if err := e.Seal(rand.Reader, sealer); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (p *parties) alarm(t testing.TB, by crypto.Signer) [][]byte {
	first := statement(t)
	a, err := first.Sign(rand.Reader, by)
	if err != nil {
		t.Fatal(err)
	}
	second := statement(t)
	second.Version, second.Prev, second.State = 2, first.Hash, Closed
	b, err := second.Sign(rand.Reader, by)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{a, b}
}

func TestEvidence(t *testing.T) {
	p := newParties(t)
	readings := minutes(600)
	holed := slices.Concat(readings[:100], readings[130:400], readings[470:])
	segments := slices.Concat(chain(t, p.id, 1, p.device, holed, 60), chain(t, p.id, 2, p.gateway, readings[:90], 60))
	data := p.write(t, segments, p.alarm(t, p.service), p.service)
	r, err := VerifyEvidence(bytes.NewReader(data), p.ca.pool(), newYear.AddDate(0, 2, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Sound() {
		t.Errorf("findings: %v", r.Findings)
	}
	if r.Device != p.id || len(r.Names) != 1 || len(r.Statements) != 1 || r.Statements[0].Version != 2 || len(r.Corrections) != 1 || r.Corrections[0].Offset != -3600 || len(r.Locations) != 1 || len(r.Anchors) != 1 || len(r.Chains) != 2 {
		t.Fatalf("%+v", r)
	}
	own, gateway := r.Chains[0], r.Chains[1]
	if !own.Own || own.Sensor != "TVC" || own.Segments != 9 || own.Readings != 500 || own.From != readings[0].At || own.Until != readings[599].At {
		t.Errorf("%+v", own)
	}
	byValue := func(a, b Reading) int { return int(a.Value - b.Value) }
	if own.Min != slices.MinFunc(holed, byValue) || own.Max != slices.MaxFunc(holed, byValue) {
		t.Errorf("from %v to %v", own.Min, own.Max)
	}
	if want := []Gap{{readings[99].At, readings[130].At}, {readings[399].At, readings[470].At}}; !slices.Equal(own.Gaps, want) {
		t.Errorf("gaps %v, want %v", own.Gaps, want)
	}
	if gateway.Own || gateway.Signer != p.gatewayID || gateway.Sensor != "TAMB" || gateway.Readings != 90 || len(gateway.Gaps) != 0 {
		t.Errorf("%+v", gateway)
	}
}

// TestEvidenceFindings: whatever is wrong is found, and named.
func TestEvidenceFindings(t *testing.T) {
	p := newParties(t)
	readings := minutes(240)
	segments := chain(t, p.id, 1, p.device, readings, 60)
	fork := segment(t, readings[60:119])
	first, err := ParseSegment(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	fork.Seq, fork.Prev = 2, first.Hash
	broken := segment(t, readings[60:])
	broken.Seq, broken.Prev = 2, Hash{1}
	backwards := segment(t, readings[30:])
	backwards.Seq, backwards.Prev = 2, first.Hash
	door := segment(t, readings)
	door.Quantity = Door
	alarm := p.alarm(t, p.service)
	touched := func(data []byte, at int) []byte {
		other := slices.Clone(data)
		other[(len(other)+at)%len(other)] ^= 1
		return other
	}
	another := newParties(t)
	another.certificates = p.certificates
	lateCert := p.ca.certify(&x509.Certificate{
		URIs: []*url.URL{URI(p.id)}, NotBefore: newYear.Add(time.Hour), NotAfter: newYear.AddDate(1, 0, 0),
	}, edKey(7).Public())
	p.certificates = append(p.certificates, lateCert.Raw, newAuthority(t, "Another CA").device(p.id, edKey(8).Public()).Raw)
	for name, c := range map[string]struct {
		segments, statements [][]byte
		sealer               crypto.Signer
		want                 []format.Defect
	}{
		"one is missing":                  {segments: slices.Concat(segments[:1], segments[2:]), want: []format.Defect{ErrMissing}},
		"the first is missing":            {segments: segments[1:], want: []format.Defect{ErrMissing}},
		"two of a number":                 {segments: slices.Concat(segments[:2], [][]byte{signed(t, fork, p.device)}, segments[2:]), want: []format.Defect{ErrForked}},
		"another one before":              {segments: [][]byte{segments[0], signed(t, broken, p.device)}, want: []format.Defect{ErrBroken}},
		"one twice":                       {segments: slices.Concat(segments[:2], segments[:1]), want: []format.Defect{ErrRepeated}},
		"time goes back":                  {segments: [][]byte{segments[0], signed(t, backwards, p.device)}, want: []format.Defect{ErrBackwards}},
		"a signature of nothing":          {segments: [][]byte{segments[0], touched(segments[1], -1)}, want: []format.Defect{"bad-signature"}},
		"a value changed":                 {segments: [][]byte{touched(segments[0], 150)}, want: []format.Defect{"bad-signature"}},
		"an unreadable one":               {segments: [][]byte{segments[0][1:]}, want: []format.Defect{"malformed"}},
		"by nobody":                       {segments: chain(t, p.id, 1, edKey(9), readings, 60)[:1], want: []format.Defect{ErrUnknownSigner}},
		"certified by nobody":             {segments: chain(t, p.id, 1, edKey(8), readings, 60)[:1], want: []format.Defect{ErrUntrusted}},
		"before its certificate":          {segments: chain(t, p.id, 1, edKey(7), readings, 60)[:1], want: []format.Defect{ErrNotThen}},
		"of another device":               {segments: chain(t, p.gatewayID, 1, p.device, readings, 60)[:1], want: []format.Defect{ErrOtherDevice}},
		"an unknown stream":               {segments: chain(t, p.id, 3, p.device, readings, 60)[:1], want: []format.Defect{ErrStream}},
		"another quantity":                {segments: [][]byte{signed(t, door, p.device)}, want: []format.Defect{ErrStream}},
		"after today":                     {segments: chain(t, p.id, 1, p.device, []Reading{{newYear.AddDate(1, 0, 0).Unix(), 1}}, 1), want: []format.Defect{ErrFuture}},
		"a statement by a device":         {statements: p.alarm(t, p.device), want: []format.Defect{ErrUntrusted, ErrUntrusted}},
		"a statement without its first":   {statements: alarm[1:], want: []format.Defect{ErrVersions}},
		"versions of different first":     {statements: [][]byte{p.alarm(t, p.service)[0], alarm[0]}, want: []format.Defect{ErrVersions}},
		"a statement touched":             {statements: [][]byte{touched(alarm[0], -1)}, want: []format.Defect{"bad-signature"}},
		"sealed by the device":            {segments: segments, sealer: p.device, want: []format.Defect{ErrSeal}},
		"sealed by one whom nobody knows": {segments: segments, sealer: edKey(9), want: []format.Defect{ErrSeal}},
	} {
		t.Run(name, func(t *testing.T) {
			sealer := c.sealer
			if sealer == nil {
				sealer = p.service
			}
			r, err := VerifyEvidence(bytes.NewReader(p.write(t, c.segments, c.statements, sealer)), p.ca.pool(), newYear.AddDate(0, 2, 0))
			if err != nil {
				t.Fatal(err)
			}
			var got []format.Defect
			for _, f := range r.Findings {
				got = append(got, f.Reason)
			}
			if !slices.Equal(got, c.want) || r.Sound() {
				t.Errorf("%v, want %v", r.Findings, c.want)
			}
		})
	}
	if r, err := VerifyEvidence(bytes.NewReader(p.write(t, segments, nil, p.service)), nil, newYear.AddDate(0, 2, 0)); err != nil || len(r.Findings) != 5 || r.Findings[0].Reason != ErrUntrusted {
		t.Errorf("without roots: %v, %v", r, err)
	}
	if r, err := VerifyEvidence(bytes.NewReader(p.write(t, nil, nil, p.service)), p.ca.pool(), newYear); err != nil || len(r.Findings) != 1 || r.Findings[0].Reason != ErrFuture {
		t.Errorf("made later: %v, %v", r, err)
	}
}

// TestEvidenceWhole: no byte can change, and no end be cut off, unnoticed.
func TestEvidenceWhole(t *testing.T) {
	p := newParties(t)
	data := p.write(t, chain(t, p.id, 1, p.device, minutes(4), 2), p.alarm(t, p.service), p.service)
	for i := range data {
		other := slices.Clone(data)
		other[i] ^= 0x10
		if r, err := VerifyEvidence(bytes.NewReader(other), p.ca.pool(), newYear.AddDate(0, 2, 0)); err == nil && r.Sound() {
			t.Errorf("byte %d of %d", i, len(data))
		}
		if _, err := VerifyEvidence(bytes.NewReader(data[:i]), p.ca.pool(), newYear.AddDate(0, 2, 0)); !errors.Is(err, ErrTruncated) {
			t.Errorf("cut at %d: %v", i, err)
		}
	}
	if _, err := VerifyEvidence(bytes.NewReader(append(data, 0)), p.ca.pool(), newYear); !errors.Is(err, cbor.ErrTrailing) {
		t.Errorf("a byte more: %v", err)
	}
}

func TestEvidenceOrder(t *testing.T) {
	e := NewEvidence(io.Discard, id(t, specimenDevice), nil, newYear)
	e.Stream(1, "TVC", Temperature)
	e.Certificate([]byte{1})
	if err := e.Seal(rand.Reader, edKey(1)); !errors.Is(err, ErrEvidence) {
		t.Errorf("%v", err)
	}
}

// TestEvidenceYear: a year of a device is read piece by piece.
func TestEvidenceYear(t *testing.T) {
	if testing.Short() {
		t.Skip("a year")
	}
	p := newParties(t)
	data := p.write(t, chain(t, p.id, 1, p.device, minutes(365*1440), 240), nil, p.service)
	start := time.Now()
	r, err := VerifyEvidence(bytes.NewReader(data), p.ca.pool(), newYear.AddDate(2, 0, 0))
	if err != nil || !r.Sound() || r.Chains[0].Readings != 365*1440 {
		t.Fatalf("%v, %v", r, err)
	}
	t.Logf("%d bytes, %d segments, %s", len(data), r.Chains[0].Segments, time.Since(start))
}

func FuzzVerifyEvidence(f *testing.F) {
	p := newParties(f)
	f.Add(p.write(f, chain(f, p.id, 1, p.device, minutes(4), 2), p.alarm(f, p.service), p.service))
	pool := p.ca.pool()
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := VerifyEvidence(bytes.NewReader(data), pool, newYear)
		if err == nil {
			_ = fmt.Sprint(r.Findings)
		}
	})
}

// FuzzScanEvidence: what is verified to its end can be read to its end, item by item, and
// nothing that is handed over is longer than the file.
func FuzzScanEvidence(f *testing.F) {
	p := newParties(f)
	whole := p.write(f, chain(f, p.id, 1, p.device, minutes(4), 2), p.alarm(f, p.service), p.service)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	pool := p.ca.pool()
	f.Fuzz(func(t *testing.T, data []byte) {
		n, length := 0, 0
		err := ScanEvidence(bytes.NewReader(data), func(i Item) error {
			if (n == 0) != (i.Kind == "header") {
				t.Fatalf("item %d is a %s", n, i.Kind)
			}
			n, length = n+1, length+len(i.Content)
			return nil
		})
		if length > len(data) {
			t.Fatalf("%d bytes of %d", length, len(data))
		}
		if _, bad := VerifyEvidence(bytes.NewReader(data), pool, newYear); bad == nil && err != nil {
			t.Fatalf("verified, and not read: %v", err)
		}
	})
}
