package participant_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"ampoule/format/cms"
	"ampoule/format/dccrevocation"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/internal/keys"
	"ampoule/party/participant"
	"ampoule/trust"
)

var start = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// must returns what could be made.
func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func sign(t testing.TB, k *keys.Key, content []byte) []byte {
	t.Helper()
	c := must[*pkix.Certificate](t)(pkix.ParseCertificate(k.Certificate().Raw))
	return must[[]byte](t)(cms.Sign(rand.Reader, content, c, k.Signer, start, false))
}

// gateway is a small gateway: it takes what it is sent without a question.
type gateway struct {
	t        testing.TB
	now      *time.Time
	anchor   *keys.Key
	list     []tng.TrustListEntry
	deltas   bool // answers what changed since
	asked    []time.Time
	batches  []tng.RevocationItem
	messages map[string][]byte
	packages []tng.Package
	issuers  []tng.Issuer
	down     error
}

func (g *gateway) add(kind, country string, by *keys.Key, raw []byte) {
	g.list = append(g.list, tng.TrustListEntry{
		KID: tng.DerivedKID(raw), Timestamp: *g.now, Country: country, Type: kind, Thumbprint: tng.Thumbprint(raw), Signature: sign(g.t, by, raw), Raw: raw,
	})
}

func (g *gateway) remove(raw []byte) {
	for i, e := range g.list {
		if tng.Thumbprint(raw) == e.Thumbprint && !e.Deleted {
			g.list[i].Deleted, g.list[i].Timestamp = true, *g.now
		}
	}
}

func (g *gateway) TrustList(_ context.Context, since time.Time) (list []tng.TrustListEntry, err error) {
	g.asked = append(g.asked, since)
	for _, e := range g.list {
		if since.IsZero() && !e.Deleted || g.deltas && !since.IsZero() && !e.Timestamp.Before(since) {
			list = append(list, e)
		}
	}
	return list, g.down
}

func (g *gateway) Certificates(context.Context) ([]tng.CertificateEntry, error) {
	return nil, participant.ErrNotOffered
}
func (g *gateway) Issuers(context.Context) ([]tng.Issuer, error) { return slices.Clone(g.issuers), nil }
func (g *gateway) References(context.Context) ([]tng.Reference, error) {
	return nil, participant.ErrNotOffered
}

func (g *gateway) upload(message []byte) error {
	o, err := cms.Open(message, nil)
	if err != nil {
		return err
	}
	c := must[*x509.Certificate](g.t)(x509.ParseCertificate(o.Content))
	g.list = append(g.list, tng.TrustListEntry{
		KID: tng.DerivedKID(o.Content), Timestamp: *g.now, Country: c.Subject.Country[0], Type: tng.DSC, Thumbprint: tng.Thumbprint(o.Content), Signature: message, Raw: o.Content,
	})
	return nil
}

func (g *gateway) UploadSigner(_ context.Context, message []byte) error { return g.upload(message) }
func (g *gateway) UploadTrusted(_ context.Context, u tng.Upload) error  { return g.upload(u.CMS) }
func (g *gateway) DeleteSigner(_ context.Context, message []byte) error {
	o, err := cms.Open(message, nil)
	if err == nil {
		g.remove(o.Content)
	}
	return err
}

func (g *gateway) Revocations(_ context.Context, since time.Time) (page tng.RevocationPage, err error) {
	for _, b := range g.batches {
		if b.Date.Before(since) {
			continue
		}
		if len(page.Batches) == 2 {
			page.More = true
			break
		}
		page.Batches = append(page.Batches, b)
	}
	return page, nil
}

func (g *gateway) Batch(_ context.Context, id string) ([]byte, error) {
	if g.messages[id] == nil {
		return nil, participant.ErrNotOffered
	}
	return g.messages[id], nil
}

func (g *gateway) UploadBatch(_ context.Context, message []byte) (string, error) {
	o, err := cms.Open(message, nil)
	if err != nil {
		return "", err
	}
	b := must[[]dccrevocation.Batch](g.t)(dccrevocation.Parse(o.Content))[0]
	id := fmt.Sprintf("00000000-0000-0000-0000-%012d", len(g.batches))
	*g.now = g.now.Add(time.Minute)
	g.batches = append(g.batches, tng.RevocationItem{BatchID: id, Country: b.Country, Date: *g.now})
	g.messages[id] = message
	return id, nil
}

func (g *gateway) DeleteBatch(_ context.Context, message []byte) error {
	o, err := cms.Open(message, nil)
	if err != nil {
		return err
	}
	id := must[string](g.t)(tng.ParseBatchDelete(o.Content))
	for i, b := range g.batches {
		if b.BatchID == id {
			*g.now = g.now.Add(time.Minute)
			b.Deleted, b.Date = true, *g.now
			g.batches = append(slices.Delete(g.batches, i, i+1), b)
			delete(g.messages, id)
		}
	}
	return nil
}

func (g *gateway) Packages(context.Context) ([]tng.Package, error) { return g.packages, nil }
func (g *gateway) Replace(_ context.Context, p tng.Package) error {
	for i := range g.packages {
		if g.packages[i].EntityID == p.EntityID {
			g.packages[i] = p
			return nil
		}
	}
	return errors.New("no such package")
}

// memory keeps in memory.
type memory struct{ kept participant.Kept }

func (m *memory) Load(context.Context) (*participant.Kept, error) {
	k := m.kept
	k.Own, k.Batches = slices.Clone(k.Own), slices.Clone(k.Batches)
	gone := map[string]participant.Intake{}
	for name, intake := range k.Gone {
		gone[name] = intake
	}
	k.Gone = gone
	return &k, nil
}

func (m *memory) Save(_ context.Context, k *participant.Kept) error { m.kept = *k; return nil }

type member struct {
	country string
	sca     *keys.SCA
	up, dsc *keys.Key
}

// world is a gateway with members XA, XB and XC, and XA's own view of it.
type world struct {
	*gateway
	members map[string]*member
	us      *participant.Participant
	keep    *memory
}

func newWorld(t testing.TB) *world {
	now := start
	w := &world{members: map[string]*member{}, keep: &memory{}}
	anchor := must[*keys.Key](t)(keys.NewUP(keys.Participant{Country: "XW", Organization: "SPECIMEN", Name: "SPECIMEN anchor"}, start, nil))
	w.gateway = &gateway{t: t, now: &now, anchor: anchor, messages: map[string][]byte{}}
	for _, country := range []string{"XA", "XB", "XC"} {
		p := keys.Participant{Country: country, Organization: "SPECIMEN", Name: "SPECIMEN " + country}
		m := &member{country: country}
		m.sca = must[*keys.SCA](t)(keys.NewSCA(p, start, nil))
		m.up = must[*keys.Key](t)(keys.NewUP(p, start, nil))
		m.dsc = must[*keys.Key](t)(m.sca.IssueDSC(keys.DSCProfile{}, start, nil))
		w.add(tng.CSCA, country, anchor, m.sca.Key.Certificate().Raw)
		w.add(tng.UploadType, country, anchor, m.up.Certificate().Raw)
		if country != "XA" {
			w.add(tng.DSC, country, m.up, m.dsc.Certificate().Raw)
		}
		w.members[country] = m
	}
	a := w.members["XA"]
	w.us = &participant.Participant{
		Country: "XA", API: w.gateway, Keep: w.keep, Gateway: "https://gateway.example", Revocation: true,
		Anchors: []participant.Anchor{{Key: anchor.Signer.Public()}}, Authorities: []*x509.Certificate{a.sca.Key.Certificate()},
		Guard:    participant.Guard{MaxShrink: 0.2, Frozen: 30 * 24 * time.Hour, Stale: 48 * time.Hour},
		Uploader: &participant.Uploader{Certificate: a.up.Certificate(), Signer: a.up.Signer},
		Random:   rand.Reader, Now: func() time.Time { return now },
	}
	return w
}

func (w *world) pass(d time.Duration) { *w.now = w.now.Add(d) }

// pull polls, and compares what became of it.
func (w *world) pull(t *testing.T, applied bool, alarms ...string) *participant.Pulled {
	t.Helper()
	p, err := w.us.Pull(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range p.Alarms {
		got = append(got, string(a.Reason))
	}
	if p.Applied != applied || !slices.Equal(got, alarms) {
		t.Fatalf("applied %v, alarms %+v; want %v, %q", p.Applied, p.Alarms, applied, alarms)
	}
	return p
}

func (w *world) upload(t *testing.T) {
	t.Helper()
	if err := w.us.Upload(t.Context(), participant.Order{Certificate: w.members["XA"].dsc.Certificate().Raw}); err != nil {
		t.Fatal(err)
	}
}

// signers are the countries of the document signers in use.
func (w *world) signers(t *testing.T) (countries []string) {
	t.Helper()
	s := must[*participant.Status](t)(w.us.Status(t.Context()))
	for _, l := range s.Listed {
		if l.Type == tng.DSC {
			countries = append(countries, l.Country)
		}
	}
	slices.Sort(countries)
	return countries
}

func (w *world) expect(t *testing.T, countries ...string) {
	t.Helper()
	if got := w.signers(t); !slices.Equal(got, countries) {
		t.Errorf("signers of %q, want %q", got, countries)
	}
}

func TestUploadPullRevoke(t *testing.T) {
	w := newWorld(t)
	w.pull(t, true)
	w.expect(t, "XB", "XC")
	w.upload(t)
	if p := w.pull(t, true); len(p.Changes) != 1 || p.Changes[0].Kind != participant.Appeared || len(p.Drops) != 0 {
		t.Errorf("%+v", p)
	}
	w.expect(t, "XA", "XB", "XC")
	second := must[*keys.Key](t)(w.members["XA"].sca.IssueDSC(keys.DSCProfile{}, start, nil))
	if err := w.us.Upload(t.Context(), participant.Order{Certificate: second.Certificate().Raw, Domain: "PH4H"}); err != nil {
		t.Fatal(err)
	}
	w.pull(t, true)
	if err := w.us.Revoke(t.Context(), second.Certificate().Raw); err != nil {
		t.Fatal(err)
	}
	w.pull(t, true)
	w.expect(t, "XA", "XB", "XC")
}

func TestUploadRefused(t *testing.T) {
	w := newWorld(t)
	a, b := w.members["XA"], w.members["XB"]
	for _, tc := range []struct {
		name string
		der  []byte
		now  time.Time
		want error
	}{
		{"another's signer", b.dsc.Certificate().Raw, start, participant.ErrCountry},
		{"an authority", a.sca.Key.Certificate().Raw, start, participant.ErrProfile},
		{"of no authority of ours", a.up.Certificate().Raw, start, participant.ErrIssuer},
		{"expired", a.dsc.Certificate().Raw, start.AddDate(3, 0, 0), participant.ErrNotInForce},
		{"under an expired UP", a.dsc.Certificate().Raw, start.AddDate(1, 6, 0), participant.ErrNotInForce},
		{"no certificate", []byte("0\x03\x02\x01\x07"), start, trust.ErrCertificate},
	} {
		t.Run(tc.name, func(t *testing.T) {
			*w.now = tc.now
			before := len(w.list)
			// A self-signed UP has its own identifier as that of its authority.
			if err := w.us.Upload(t.Context(), participant.Order{Certificate: tc.der}); !errors.Is(err, tc.want) || len(w.list) != before {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

func TestGuard(t *testing.T) {
	raw := func(w *world, country string) []byte { return w.members[country].dsc.Certificate().Raw }
	t.Run("a country vanishes, and a person accepts it", func(t *testing.T) {
		w := newWorld(t)
		w.pull(t, true)
		w.remove(raw(w, "XB"))
		p := w.pull(t, false, "participant-vanished")
		w.expect(t, "XB", "XC")
		if err := w.us.Accept(t.Context(), "0000"); !errors.Is(err, participant.ErrNotPending) {
			t.Error(err)
		}
		if err := w.us.Accept(t.Context(), p.Digest); err != nil {
			t.Fatal(err)
		}
		w.expect(t, "XC")
		w.pull(t, true)
		if err := w.us.Accept(t.Context(), p.Digest); !errors.Is(err, participant.ErrNotPending) {
			t.Errorf("accepted twice: %v", err)
		}
	})
	t.Run("a list shrinks", func(t *testing.T) {
		w := newWorld(t)
		w.pull(t, true)
		w.list = w.list[:len(w.list)-3] // all of XC
		w.pull(t, false, "list-shrunk", "participant-vanished")
		w.expect(t, "XB", "XC")
		w.list = nil
		w.pull(t, false, "list-shrunk", "participant-vanished", "participant-vanished")
		w.expect(t, "XB", "XC")
	})
	t.Run("an old list comes back", func(t *testing.T) {
		w := newWorld(t)
		w.upload(t)
		second := must[*keys.Key](t)(w.members["XB"].sca.IssueDSC(keys.DSCProfile{}, start, nil))
		w.add(tng.DSC, "XB", w.members["XB"].up, second.Certificate().Raw)
		w.pull(t, true)
		old := slices.Clone(w.list)
		w.pass(time.Hour)
		w.remove(second.Certificate().Raw)
		w.pull(t, true)
		w.expect(t, "XA", "XB", "XC")
		w.list = old
		w.pull(t, false, "rolled-back")
		w.expect(t, "XA", "XB", "XC")
		// Uploaded again it is a new entry.
		w.list = slices.DeleteFunc(old, func(e tng.TrustListEntry) bool { return e.Thumbprint == tng.Thumbprint(second.Certificate().Raw) })
		w.add(tng.DSC, "XB", w.members["XB"].up, second.Certificate().Raw)
		w.pull(t, true)
		w.expect(t, "XA", "XB", "XB", "XC")
	})
	t.Run("another key under the same identifier", func(t *testing.T) {
		w := newWorld(t)
		b := w.members["XB"]
		second := must[*keys.Key](t)(b.sca.IssueDSC(keys.DSCProfile{}, start, nil))
		w.add(tng.DSC, "XB", b.up, second.Certificate().Raw)
		w.list[len(w.list)-1].KID = "ABCDEFGH"
		w.pull(t, true)
		third := must[*keys.Key](t)(b.sca.IssueDSC(keys.DSCProfile{}, start, nil))
		w.list = w.list[:len(w.list)-1]
		w.add(tng.DSC, "XB", b.up, third.Certificate().Raw)
		w.list[len(w.list)-1].KID = "ABCDEFGH"
		w.pull(t, false, "key-changed")
	})
	t.Run("nothing new, then nothing at all", func(t *testing.T) {
		w := newWorld(t)
		w.pull(t, true)
		w.pass(29 * 24 * time.Hour)
		w.pull(t, true)
		w.pass(2 * 24 * time.Hour)
		w.pull(t, true, "frozen")
		w.down = errors.New("no route")
		w.pass(72 * time.Hour)
		if _, err := w.us.Pull(t.Context()); !errors.Is(err, w.down) {
			t.Error(err)
		}
		s := must[*participant.Status](t)(w.us.Status(t.Context()))
		if len(s.Alarms) != 2 || s.Alarms[0].Reason != participant.AlarmStale || s.Alarms[1].Reason != participant.AlarmFrozen {
			t.Errorf("%+v", s.Alarms)
		}
		w.expect(t, "XB", "XC")
	})
	t.Run("a signer of ours that we did not upload", func(t *testing.T) {
		w := newWorld(t)
		w.upload(t)
		stolen := must[*keys.Key](t)(w.members["XA"].sca.IssueDSC(keys.DSCProfile{}, start, nil))
		w.add(tng.DSC, "XA", w.members["XA"].up, stolen.Certificate().Raw)
		w.pull(t, true, "unknown-own-key")
	})
}

func TestAnchors(t *testing.T) {
	w := newWorld(t)
	next := must[*keys.Key](t)(keys.NewUP(keys.Participant{Country: "XW", Organization: "SPECIMEN", Name: "SPECIMEN anchor"}, start, nil))
	w.us.Anchors = []participant.Anchor{{Key: w.anchor.Signer.Public(), Until: start.Add(time.Hour)}, {Key: next.Signer.Public(), From: start.Add(-time.Hour)}}
	w.pull(t, true)
	w.expect(t, "XB", "XC")
	w.pass(2 * time.Hour)
	// Nothing of the old anchor is believed any more, and that is told: the entries
	// must be signed again by the new one.
	w.expect(t)
	w.pull(t, false, "list-shrunk", "participant-vanished", "participant-vanished")
	for i, e := range w.list {
		if e.Type != tng.DSC {
			w.list[i].Signature = sign(t, next, e.Raw)
		}
	}
	w.pull(t, true)
	w.expect(t, "XB", "XC")
	w.us.Anchors = w.us.Anchors[:1]
	if _, err := w.us.Pull(t.Context()); !errors.Is(err, participant.ErrNoAnchor) {
		t.Error(err)
	}
}

func TestDeltas(t *testing.T) {
	w := newWorld(t)
	w.us.Delta, w.deltas = true, true
	w.pull(t, true)
	w.pass(time.Hour)
	w.upload(t)
	w.pull(t, true)
	w.expect(t, "XA", "XB", "XC")
	if last := w.asked[len(w.asked)-1]; !last.Equal(start.Add(-5 * time.Minute)) {
		t.Errorf("asked since %v", last)
	}
	w.pass(time.Hour)
	w.remove(w.members["XA"].dsc.Certificate().Raw)
	w.pull(t, false, "participant-vanished")
	// After a day it is taken whole, and while something is pending, too.
	w.pull(t, false, "participant-vanished")
	if last := w.asked[len(w.asked)-1]; !last.IsZero() {
		t.Errorf("asked since %v", last)
	}
}

func TestIssuers(t *testing.T) {
	w := newWorld(t)
	good := tng.Issuer{URL: "https://xb.example", Type: tng.IssuerHTTP, Country: "XB", Name: "SPECIMEN"}
	good.Signature = sign(t, w.anchor, []byte(good.SignedText()))
	forged := good
	forged.URL = "https://evil.example"
	foreign := good
	foreign.Signature = sign(t, w.members["XB"].up, []byte(good.SignedText()))
	w.issuers = []tng.Issuer{good, forged, foreign}
	p := w.pull(t, true)
	if len(p.Drops) != 2 || p.Drops[0].Reason != "two-contents" || p.Drops[1].Reason != "not-by-the-anchor" {
		t.Errorf("%+v", p.Drops)
	}
	if got := w.keep.kept.List.Issuers; len(got) != 1 || got[0].URL != good.URL {
		t.Errorf("%+v", got)
	}
}

func TestBatches(t *testing.T) {
	w := newWorld(t)
	batch := func(country string, n byte) dccrevocation.Batch {
		return dccrevocation.Batch{Country: country, Expires: start.AddDate(1, 0, 0), Type: dccrevocation.TypeUCI, Hashes: []dccrevocation.Hash128{{n}}}
	}
	var ids []string
	for n := range byte(5) {
		ids = append(ids, must[string](t)(w.us.UploadBatch(t.Context(), batch("XA", n))))
	}
	if _, err := w.us.UploadBatch(t.Context(), batch("XB", 0)); !errors.Is(err, participant.ErrCountry) {
		t.Error(err)
	}
	// One that another country's UP signed, and one of another country than it says.
	payload := must[[]byte](t)(batch("XA", 9).Encode())
	must[string](t)(w.gateway.UploadBatch(t.Context(), sign(t, w.members["XB"].up, payload)))
	foreign := must[string](t)(w.gateway.UploadBatch(t.Context(), sign(t, w.members["XB"].up, payload)))
	for i := range w.batches {
		if w.batches[i].BatchID == foreign {
			w.batches[i].Country = "XB"
		}
	}
	p := w.pull(t, true)
	if len(p.Drops) != 2 || p.Drops[0].Reason != "not-by-its-uploader" || p.Drops[1].Reason != "batch-not-as-announced" || p.Batches != 5 {
		t.Errorf("%d batches, %+v", p.Batches, p.Drops)
	}
	if err := w.us.DeleteBatch(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	if p := w.pull(t, true); p.Batches != 4 {
		t.Errorf("%d batches", p.Batches)
	}
	w.pass(366 * 24 * time.Hour)
	w.us.Guard = participant.Guard{}
	if p := w.pull(t, true); p.Batches != 0 {
		t.Errorf("%d batches that have expired", p.Batches)
	}
	// A list that does not go on.
	w.batches = nil
	for n := range 3 {
		w.batches = append(w.batches, tng.RevocationItem{BatchID: fmt.Sprint(n), Country: "XA", Date: w.keep.kept.BatchSince, Deleted: true})
	}
	if _, err := w.us.Pull(t.Context()); !errors.Is(err, participant.ErrPages) {
		t.Error(err)
	}
}

func TestResign(t *testing.T) {
	w := newWorld(t)
	a, b := w.members["XA"], w.members["XB"]
	old := a.up
	renewed := must[*keys.Key](t)(keys.NewUP(keys.Participant{Country: "XA", Organization: "SPECIMEN", Name: "SPECIMEN"}, start, nil))
	w.us.Uploader = &participant.Uploader{Certificate: renewed.Certificate(), Signer: renewed.Signer}
	w.packages = []tng.Package{
		{CMS: sign(t, old, a.dsc.Certificate().Raw), EntityID: 1, Type: tng.PackageDSC},
		{CMS: sign(t, b.up, []byte("what another wants signed")), EntityID: 2, Type: tng.PackageRevocation},
		{CMS: []byte("broken"), EntityID: 3, Type: tng.PackageDSC},
		{CMS: sign(t, renewed, []byte("done before")), EntityID: 4, Type: tng.PackageRule},
	}
	// As some gateways list it: the certificate stands beside.
	raw := a.dsc.Certificate().Raw
	bare := must[[]byte](t)(cms.Detach(sign(t, old, raw)))
	w.list = append(w.list, tng.TrustListEntry{KID: tng.DerivedKID(raw), Country: "XA", Type: tng.DSC, Thumbprint: tng.Thumbprint(raw), Signature: bare, Raw: raw})
	w.packages = append(w.packages, tng.Package{CMS: bare, EntityID: 5, Type: tng.PackageDSC})
	before := slices.Clone(w.packages)
	done := must[[]participant.Resigned](t)(w.us.Resign(t.Context(), []*x509.Certificate{old.Certificate()}))
	if done[0].Err != nil || !errors.Is(done[1].Err, participant.ErrForeign) || done[2].Err == nil || done[3].Err != nil || done[4].Err != nil {
		t.Errorf("%+v", done)
	}
	o := must[*cms.Opened](t)(cms.Open(w.packages[0].CMS, nil))
	if !slices.Equal(o.Content, a.dsc.Certificate().Raw) || !slices.Equal(o.Certificate.Raw, renewed.Certificate().Raw) {
		t.Error("not the same content under the new UP")
	}
	if o := must[*cms.Opened](t)(cms.Open(w.packages[4].CMS, nil)); !slices.Equal(o.Content, raw) {
		t.Error("not the certificate of the list under the new UP")
	}
	for i := 1; i < 4; i++ {
		if !slices.Equal(before[i].CMS, w.packages[i].CMS) {
			t.Errorf("package %d was changed", i)
		}
	}
}
