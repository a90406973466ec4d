package main

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"ampoule/client"
	"ampoule/internal/config"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/ledgertest"
	"ampoule/internal/storetest"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/issuer"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// anchored is a service with a store and a ledger of the tests.
func anchored(t *testing.T) (*service, *storetest.Ledger) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ledger := storetest.NewLedger(t, false)
	dir := t.TempDir()
	key, policy, public := filepath.Join(dir, "issuer.pem"), filepath.Join(dir, "policy"), filepath.Join(dir, "notary.pem")
	check(keys.Save(key, &keys.Key{Signer: ledger.Keys[0]}, keys.Unencrypted()))
	check(os.WriteFile(policy, []byte(ledger.Text), 0o600))
	der, err := x509.MarshalPKIXPublicKey(ledger.Notary.Public())
	check(err)
	check(os.WriteFile(public, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))

	c, _, err := config.Load(config.Source{Set: []string{
		"store.dir=" + filepath.Join(dir, "store"), "access.origin=https://issuer.example",
		"ledger.notary=https://notary.example", "ledger.actor=" + ledger.Issuer.String(), "ledger.key=" + key, "ledger.policy=" + policy, "ledger.notary_keys=" + public,
	}})
	check(err)
	if _, err := createStore(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	front, err := newFront(c)
	check(err)
	s := newService(c, front, slog.New(slog.DiscardHandler))
	s.store, err = openStore(t.Context(), c, nil)
	check(err)
	t.Cleanup(func() { _ = s.store.Close() })
	as, err := newLedgerActor(c)
	check(err)
	if as.oid != ledger.Issuer || len(as.signers) != 1 || len(as.notaries) != 1 {
		t.Fatalf("%+v", as)
	}
	s.submitterOf(ledger, as)
	return s, ledger
}

func listsOf(l *storetest.Ledger) (out []*state.StatusAnchor) {
	for _, b := range l.Bodies() {
		if a, ok := b.(*state.StatusAnchor); ok {
			out = append(out, a)
		}
	}
	return out
}

// TestAnchor: what a service closes and publishes comes into the log by its loop, and
// the bundle says where it is.
func TestAnchor(t *testing.T) {
	s, ledger := anchored(t)
	kit := storetest.NewKit(t, s.store)
	if _, err := kit.Registry.Issue(t.Context(), storetest.Order("", storetest.Dose(1))); err != nil {
		t.Fatal(err)
	}
	closed := kit.CloseBatches(t)
	if data, err := s.ledgerDoc(t.Context()); err != nil || data != nil {
		t.Fatalf("%x, %v", data, err)
	}
	d := &desk{address: "https://issuer.example", jwks: []byte(`{"keys":[]}`), lists: []issuer.StatusList{{Scheme: issuer.SchemeSnapshot, Document: []byte("list")}}}
	now := time.Now()
	if err := s.wantLists(t.Context(), d, now); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	wait := s.anchor(ctx, s.submitter, s.anchored)
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		ledger.Block()
		ledger.Cosign()
		sum, err := s.store.Outbox().Tally(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if sum.Waiting+sum.Submitted+sum.Logged == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v, %+v", sum, s.submitter.Trouble())
		}
	}
	stop()
	wait()
	digests := map[tlog.Hash]bool{}
	for _, a := range listsOf(ledger) {
		digests[a.Digest] = true
	}
	if len(digests) < 2 || !digests[sha256.Sum256(d.jwks)] || !digests[sha256.Sum256([]byte("list"))] {
		t.Errorf("%d lists are in the log", len(digests))
	}
	data, err := s.ledgerDoc(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := print.ParseLedger(data)
	if err != nil {
		t.Fatal(err)
	}
	if index, ok := doc.Places[closed[0].Root]; !ok || index == 0 || len(doc.Notaries) != 1 || len(doc.Policy) == 0 {
		t.Errorf("%+v", doc)
	}
	if c, err := s.actor.policy.Open(doc.Checkpoint); err != nil || c.Checkpoint.Size != doc.Size() {
		t.Error(err)
	}

	// What was kept of another log goes into no bundle.
	other := storetest.NewLedger(t, false)
	if _, err := ledgerDocument(t.Context(), s.store.Outbox(), &ledgerActor{policy: other.Policy}); err == nil {
		t.Error("proofs under a policy that does not have the log")
	}
}

// TestListDue: a list is anchored when it has changed, and then once an hour, or when
// a day has ended.
func TestListDue(t *testing.T) {
	put := time.Date(2026, 11, 1, 23, 30, 0, 0, time.UTC)
	last := &notary.Entry{Put: put, Wanted: notary.Wanted{Digest: tlog.Hash{1}, Until: put.Add(listLife)}}
	for _, tt := range []struct {
		name   string
		digest byte
		after  time.Duration
		want   bool
	}{
		{"the same", 1, 5 * time.Hour, false},
		{"the same, long after", 1, 19 * 24 * time.Hour, false},
		{"the same, before it no longer counts", 1, 21 * 24 * time.Hour, true},
		{"changed at once", 2, 0, false},
		{"changed, within the hour", 2, 29 * time.Minute, false},
		{"changed, the day has ended", 2, 31 * time.Minute, true},
		{"changed, after an hour", 2, time.Hour, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := listDue(last, tlog.Hash{tt.digest}, put.Add(tt.after)); got != tt.want {
				t.Errorf("%v", got)
			}
		})
	}
	if listDue(last, tlog.Hash{2}, put.Add(10*time.Minute)) {
		t.Error("within the hour of one day")
	}
}

// TestLedgerSettings: what cannot work refuses the start.
func TestLedgerSettings(t *testing.T) {
	if as, err := newLedgerActor(new(config.Config)); as != nil || err != nil {
		t.Errorf("no ledger: %v, %v", as, err)
	}
	s, ledger := anchored(t)
	for name, change := range map[string]func(*config.Config){
		"no identifier":    func(c *config.Config) { c.Ledger.Actor = "2.x" },
		"no schema":        func(c *config.Config) { c.Ledger.Schema = "" },
		"no key":           func(c *config.Config) { c.Ledger.Key = []string{filepath.Join(c.Store.Dir, "none")} },
		"no policy":        func(c *config.Config) { c.Ledger.Policy = c.Ledger.Key[0] },
		"no notary key":    func(c *config.Config) { c.Ledger.NotaryKeys = c.Ledger.Key },
		"a policy missing": func(c *config.Config) { c.Ledger.Policy = "none" },
	} {
		t.Run(name, func(t *testing.T) {
			c := *s.settings
			change(&c)
			if as, err := newLedgerActor(&c); err == nil {
				t.Errorf("%+v", as)
			}
		})
	}
	// A node has all of it in its folder.
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		t.Fatal(err)
	}
	c := *s.settings
	c.Ledger.Notary, c.Ledger.Actor, c.Ledger.Key, c.Ledger.Policy, c.Ledger.NotaryKeys, c.Ledger.Dir = "", "", nil, "", nil, dir
	if as, err := newLedgerActor(&c); as != nil || err != nil {
		t.Errorf("a node with nothing of its own: %v, %v", as, err)
	}
	for name, k := range map[string]crypto.Signer{"issuer": ledger.Keys[0], "notary": ledger.Notary} {
		if err := keys.Save(filepath.Join(dir, "keys", name+".pem"), &keys.Key{Signer: k}, keys.Unencrypted()); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"issuer.oid": ledger.Issuer.String() + "\n", "policy": ledger.Text} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if as, err := newLedgerActor(&c); err != nil || as.oid != ledger.Issuer || len(as.signers) != 1 || len(as.notaries) != 1 {
		t.Errorf("%+v, %v", as, err)
	}
}

// TestAnchorNotary: the same over a notary as it runs, asked over HTTP: while it is
// away nothing is lost, and what it answers is believed by the policy and its key.
func TestAnchorNotary(t *testing.T) {
	s, _ := anchored(t)
	replica := ledgertest.NewChain(ledgertest.Genesis(1, 100)).Join(t, t.TempDir())
	replica.Register(t)
	policy, err := tlog.ParsePolicy(fmt.Appendf(nil, "log %s\nwitness node %s\nquorum node\n", ledgertest.LogKey(1).Key, ledgertest.CosignerKey(1).Key))
	if err != nil {
		t.Fatal(err)
	}
	n, err := notary.New(notary.Config{
		Replica: replica, Log: ledgertest.LogKey(1), Receipts: ledgertest.ES256("notary"), Policy: policy,
		Cosigner: &notary.Cosigner{
			Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(1)}, Logs: []*tlog.Key{ledgertest.LogKey(1).Key},
			Seen: new(ledgertest.Seen), Now: time.Now, Random: rand.Reader,
		},
		Shelf: new(ledgertest.Shelf), Now: time.Now, Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	page := &httpapi.Page{Verifier: new(verifier.Verifier), API: &httpapi.API{Version: "test"}, Ledger: n, Log: slog.New(slog.DiscardHandler)}
	away := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if away {
			http.Error(w, "away", http.StatusBadGateway)
			return
		}
		page.Handler().ServeHTTP(w, r)
	}))
	defer server.Close()
	to, err := client.New(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := state.ParseOID(s.settings.Ledger.Schema)
	if err != nil {
		t.Fatal(err)
	}
	sub := s.submitterOf(to, &ledgerActor{
		oid: ledgertest.Issuer, signers: []crypto.Signer{ledgertest.IssuerKey()}, schema: schema,
		policy: policy, text: []byte("policy"), notaries: []crypto.PublicKey{ledgertest.ES256("notary").Public()},
	})
	box := s.store.Outbox()
	list := storetest.WantedList("list", 1)
	list.Until = time.Unix(ledgertest.Start, 0).AddDate(0, 1, 0)
	if err := box.Put(t.Context(), time.Now(), storetest.WantedBatch(1), list, storetest.WantedBatch(2)); err != nil {
		t.Fatal(err)
	}
	for round := range 40 {
		away = round%3 == 1
		if _, err := sub.Drain(t.Context()); (err != nil) != away && err != nil {
			t.Fatal(err)
		}
		if err := n.Publish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"batch/1", "list/1", "batch/2"} {
		if e, err := box.Entry(t.Context(), key); err != nil || e.Stage != notary.Kept || e.Cosigned.IsZero() {
			t.Errorf("%s: %+v, %v", key, e, err)
		}
	}
	data, err := s.ledgerDoc(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	doc, err := print.ParseLedger(data)
	if err != nil || len(doc.Places) != 2 || doc.Origin() != ledgertest.Origin {
		t.Errorf("%+v, %v", doc, err)
	}
}
