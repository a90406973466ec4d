package gatewayclient_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/format/cms"
	"ampoule/format/dccrevocation"
	"ampoule/format/pkix"
	"ampoule/format/tng"
	"ampoule/internal/fetch"
	"ampoule/internal/gatewayclient"
	"ampoule/internal/keys"
	"ampoule/party/participant"
	"ampoule/trust"
)

var now = time.Now().UTC().Truncate(time.Second)

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// double is a small gateway behind mutual TLS, as the WHO's answers.
type double struct {
	t        testing.TB
	list     []tng.TrustListEntry
	batches  map[string][]byte
	items    []tng.RevocationItem
	package1 []byte
}

func (d *double) problem(w http.ResponseWriter, status int, code string) {
	body := must[[]byte](d.t)(tng.Problem{Code: code, Problem: "no", Details: "because"}.Encode())
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (d *double) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if len(r.TLS.PeerCertificates) != 1 {
		d.problem(w, 401, tng.CodeNoCertificate)
		return
	}
	body := must[[]byte](d.t)(io.ReadAll(r.Body))
	open := func(contentType string) []byte {
		if got := r.Header.Get("Content-Type"); got != contentType {
			d.t.Errorf("%s: content type %q", r.URL.Path, got)
		}
		message, err := tng.ParseCMS(body)
		if err != nil {
			d.t.Fatal(err)
		}
		return message
	}
	content := func(message []byte) []byte { return must[*cms.Opened](d.t)(cms.Open(message, nil)).Content }
	add := func(message []byte, kid string) {
		raw := content(message)
		if kid == "" {
			kid = tng.DerivedKID(raw)
		}
		d.list = append(d.list, tng.TrustListEntry{KID: kid, Timestamp: now, Country: "XA", Type: tng.DSC, Thumbprint: tng.Thumbprint(raw), Signature: message, Raw: raw})
		w.WriteHeader(http.StatusCreated)
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /api/trustList":
		_, _ = w.Write(must[[]byte](d.t)(tng.EncodeTrustList(d.list)))
	case "GET /api/trustList/certificate":
		_, _ = w.Write([]byte("[]"))
	case "GET /api/trustList/issuers":
		w.WriteHeader(http.StatusNotFound)
	case "GET /api/trustList/references":
		d.problem(w, 403, tng.CodeRole)
	case "POST /api/signerCertificate":
		message := open(tng.TypeCMS)
		if len(d.list) > 2 {
			d.problem(w, 409, tng.CodeExists)
			return
		}
		add(message, "")
	case "POST /api/signerCertificate/delete":
		raw := content(open(tng.TypeCMS))
		for i, e := range d.list {
			if bytes.Equal(e.Raw, raw) {
				d.list = append(d.list[:i], d.list[i+1:]...)
				break
			}
		}
		w.WriteHeader(http.StatusNoContent)
	case "POST /api/trustedCertificate":
		u := must[tng.Upload](d.t)(tng.ParseUpload(body))
		add(u.CMS, u.KID)
	case "GET /api/revocation-list":
		since := must[time.Time](d.t)(tng.ParseSince(r.Header.Get("If-Modified-Since")))
		var page tng.RevocationPage
		for _, item := range d.items {
			if item.Date.After(since) {
				page.Batches = append(page.Batches, item)
			}
		}
		if len(page.Batches) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write(must[[]byte](d.t)(page.Encode()))
	case "POST /api/revocation-list":
		message := open(tng.TypeCMSText)
		const id = "0190f5a1-6c3e-7d2b-8a4f-1234567890ab"
		d.batches[id] = message
		d.items = append(d.items, tng.RevocationItem{BatchID: id, Country: "XA", Date: now})
		w.Header().Set("ETag", `"`+id+`"`)
		w.WriteHeader(http.StatusCreated)
	case "POST /api/revocation-list/delete":
		delete(d.batches, must[string](d.t)(tng.ParseBatchDelete(content(open(tng.TypeCMSText)))))
		w.WriteHeader(http.StatusNoContent)
	case "GET /api/cms-migration":
		_, _ = w.Write(must[[]byte](d.t)(tng.EncodePackages([]tng.Package{{CMS: d.package1, EntityID: 1, Type: tng.PackageDSC}})))
	case "POST /api/cms-migration":
		d.package1 = must[tng.Package](d.t)(tng.ParsePackage(body)).CMS
	default:
		if id := filepath.Base(r.URL.Path); r.Method == "GET" && d.batches[id] != nil {
			_, _ = w.Write(tng.EncodeCMS(d.batches[id]))
			return
		}
		d.problem(w, 404, "")
	}
}

type setup struct {
	*double
	url     string
	options fetch.Options
	us      *participant.Participant
	member  *keys.Member
	anchor  *keys.Key
	dir     string
}

func newSetup(t *testing.T) *setup {
	d := &double{t: t, batches: map[string][]byte{}}
	server := httptest.NewUnstartedServer(d)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	p := keys.Participant{Country: "XA", Organization: "SPECIMEN", Name: "SPECIMEN SCA"}
	s := &setup{double: d, url: server.URL + "/api", dir: filepath.Join(t.TempDir(), "state")}
	s.member = must[*keys.Member](t)(keys.NewMember(p, keys.MaterialProfile{}, now, nil))
	s.anchor = must[*keys.Key](t)(keys.NewUP(keys.Participant{Country: "XW", Organization: "SPECIMEN", Name: "anchor"}, now, nil))
	for kind, k := range map[string]*keys.Key{tng.CSCA: s.member.SCA.Key, tng.UploadType: s.member.UP} {
		raw := k.Certificate().Raw
		c := must[*pkix.Certificate](t)(pkix.ParseCertificate(s.anchor.Certificate().Raw))
		message := must[[]byte](t)(cms.Sign(rand.Reader, raw, c, s.anchor.Signer, now, false))
		d.list = append(d.list, tng.TrustListEntry{KID: tng.DerivedKID(raw), Timestamp: now, Country: "XA", Type: kind, Signature: message, Raw: raw})
	}
	client := s.member.TLS
	s.options = fetch.Options{
		Roots: []*x509.Certificate{server.Certificate()}, PrivateHosts: []string{"127.0.0.1"},
		Certificate: &tls.Certificate{Certificate: [][]byte{client.Certificate().Raw}, PrivateKey: client.Signer},
	}
	folder, release, err := gatewayclient.Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = release() })
	s.us = &participant.Participant{
		Country: "XA", API: must[*gatewayclient.Client](t)(gatewayclient.New(s.url, s.options)), Keep: folder, Gateway: s.url, Revocation: true,
		Anchors: []participant.Anchor{{Key: s.anchor.Signer.Public()}}, Authorities: []*x509.Certificate{s.member.SCA.Key.Certificate()},
		Guard: participant.DefaultGuard, Random: rand.Reader, Now: func() time.Time { return now.Add(time.Second) },
		Uploader: &participant.Uploader{Certificate: s.member.UP.Certificate(), Signer: s.member.UP.Signer},
	}
	return s
}

// TestRound goes through everything that a participant does, over HTTP and files.
func TestRound(t *testing.T) {
	s, ctx := newSetup(t), t.Context()
	der := s.member.DSC.Certificate().Raw
	if err := s.us.Upload(ctx, participant.Order{Certificate: der}); err != nil {
		t.Fatal(err)
	}
	var refused *gatewayclient.Refused
	if err := s.us.Upload(ctx, participant.Order{Certificate: der}); !errors.As(err, &refused) || refused.Status != 409 || refused.Problem.Code != tng.CodeExists {
		t.Errorf("%v", err)
	}
	if err := s.us.Upload(ctx, participant.Order{Certificate: der, KID: "ABCDEFGH", Domain: "PH4H", Group: tng.DSC}); err != nil {
		t.Fatal(err)
	}
	id := must[string](t)(s.us.UploadBatch(ctx, dccrevocation.Batch{Country: "XA", Expires: now.AddDate(1, 0, 0), Type: dccrevocation.TypeUCI, Hashes: []dccrevocation.Hash128{{7}}}))
	pulled := must[*participant.Pulled](t)(s.us.Pull(ctx))
	if !pulled.Applied || len(pulled.Listed) != 4 || pulled.Batches != 1 || len(pulled.Drops) > 0 || len(pulled.Alarms) > 0 {
		t.Errorf("%+v", pulled)
	}

	// What it leaves is what a verifier reads.
	list := new(trust.List)
	data := must[[]byte](t)(os.ReadFile(filepath.Join(s.dir, "gateway.json")))
	if err := list.Add(trust.Source{Name: "gateway.json", Data: data, Pins: []crypto.PublicKey{s.anchor.Signer.Public()}}); err != nil || len(list.All()) != 2 {
		t.Errorf("%v, %d keys", err, len(list.All()))
	}
	status := new(trust.Status)
	data = must[[]byte](t)(os.ReadFile(filepath.Join(s.dir, "revocations.json")))
	if err := status.Add("revocations.json", data); err != nil {
		t.Error(err)
	}

	// Nothing new.
	if pulled = must[*participant.Pulled](t)(s.us.Pull(ctx)); len(pulled.Changes) > 0 || pulled.Batches != 1 {
		t.Errorf("%+v", pulled)
	}
	if err := s.us.DeleteBatch(ctx, id); err != nil || len(s.batches) != 0 {
		t.Errorf("%v", err)
	}
	if err := s.us.Revoke(ctx, der); err != nil {
		t.Fatal(err)
	}
	if err := s.us.Revoke(ctx, der); err != nil {
		t.Fatal(err)
	}
	if pulled = must[*participant.Pulled](t)(s.us.Pull(ctx)); pulled.Applied {
		t.Error("the only country vanished, and nobody was asked")
	}
	if err := s.us.Accept(ctx, pulled.Digest); err != nil {
		t.Error(err)
	}

	c := must[*pkix.Certificate](t)(pkix.ParseCertificate(s.member.UP.Certificate().Raw))
	s.package1 = must[[]byte](t)(cms.Sign(rand.Reader, der, c, s.member.UP.Signer, now, false))
	renewed := must[*keys.Key](t)(keys.NewUP(keys.Participant{Country: "XA", Organization: "SPECIMEN", Name: "SPECIMEN"}, now, nil))
	s.us.Uploader = &participant.Uploader{Certificate: renewed.Certificate(), Signer: renewed.Signer}
	done := must[[]participant.Resigned](t)(s.us.Resign(ctx, []*x509.Certificate{s.member.UP.Certificate()}))
	if o := must[*cms.Opened](t)(cms.Open(s.package1, nil)); done[0].Err != nil || !bytes.Equal(o.Certificate.Raw, renewed.Certificate().Raw) {
		t.Errorf("%+v", done)
	}
}

func TestRefused(t *testing.T) {
	s := newSetup(t)
	t.Run("without a client certificate", func(t *testing.T) {
		options := s.options
		options.Certificate = nil
		c := must[*gatewayclient.Client](t)(gatewayclient.New(s.url, options))
		var refused *gatewayclient.Refused
		if _, err := c.TrustList(t.Context(), time.Time{}); !errors.As(err, &refused) || refused.Problem.Code != tng.CodeNoCertificate {
			t.Error(err)
		}
	})
	t.Run("a gateway without its first list", func(t *testing.T) {
		c := must[*gatewayclient.Client](t)(gatewayclient.New(s.url+"/nowhere", s.options))
		if _, err := c.TrustList(t.Context(), time.Time{}); err == nil || errors.Is(err, participant.ErrNotOffered) {
			t.Error(err)
		}
	})
	t.Run("a batch of a foreign name", func(t *testing.T) {
		if _, err := s.us.API.Batch(t.Context(), "../signerCertificate"); !errors.Is(err, tng.ErrUUID) {
			t.Error(err)
		}
	})
	for _, address := range []string{"http://gateway.example", "https://", "gateway.example", "https://gateway.example/?a=b", "https://gateway.example/#a"} {
		if _, err := gatewayclient.New(address, fetch.Options{}); !errors.Is(err, fetch.ErrBadTarget) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	folder, release, err := gatewayclient.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx := context.Background()
	if k := must[*participant.Kept](t)(folder.Load(ctx)); k.List != nil || k.Digest != "" {
		t.Errorf("%+v", k)
	}
	s := newSetup(t)
	s.us.Keep = folder
	must[*participant.Pulled](t)(s.us.Pull(ctx))
	s.list = s.list[:1]
	must[*participant.Pulled](t)(s.us.Pull(ctx))
	k := must[*participant.Kept](t)(folder.Load(ctx))
	if len(k.List.TrustList) != 2 || k.Pending == nil || len(k.Pending.List.TrustList) != 1 || len(k.Pending.Alarms) != 1 {
		t.Errorf("%+v", k)
	}
	path := filepath.Join(dir, "state.json")
	good := must[[]byte](t)(os.ReadFile(path))
	for name, data := range map[string][]byte{
		"cut off": good[:len(good)/2], "empty": nil, "another version": bytes.Replace(good, []byte(`"participantState":1`), []byte(`"participantState":2`), 1),
		"unknown member": bytes.Replace(good, []byte(`"polled"`), []byte(`"poled"`), 1), "broken list": bytes.Replace(good, []byte(`"gatewayDownload":1`), []byte(`"gatewayDownload":0`), 1),
	} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Load(ctx); !errors.Is(err, gatewayclient.ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
