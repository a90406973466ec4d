package client_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"ampoule/client"
	"ampoule/format/cbor"
	"ampoule/internal/httpapi"
	"ampoule/internal/ledgertest"
	"ampoule/internal/logside"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// bed is a notary with its doors, and a witness outside with its own.
type bed struct {
	url     string
	dir     string
	replica *ledgertest.Replica
	policy  *tlog.Policy
	n       *notary.Notary
	c       *client.Client
}

func newBed(t testing.TB) *bed {
	t.Helper()
	b := &bed{dir: t.TempDir()}
	b.replica = ledgertest.NewChain(ledgertest.Genesis(1, 5)).Join(t, b.dir)
	b.replica.Register(t)
	key := ledgertest.WitnessKey("witness.example/w", tlog.MLDSA44Cosignature)
	var err error
	if b.policy, err = tlog.ParsePolicy(ledgertest.Policy(1, []*tlog.NoteSigner{key}, 2)); err != nil {
		t.Fatal(err)
	}
	seen, err := logside.OpenSeen(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = seen.Close() })
	outside := ledgertest.Outside(1, &notary.Cosigner{Signers: []*tlog.NoteSigner{key}, Seen: seen, Now: time.Now, Random: rand.Reader})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /w/add-checkpoint", logside.Handler(outside, func(err error) { t.Error(err) }))
	witness := httptest.NewServer(mux)
	t.Cleanup(witness.Close)
	remote, err := logside.NewWitness(witness.URL + "/w")
	if err != nil {
		t.Fatal(err)
	}
	b.n, err = notary.New(notary.Config{
		Replica: b.replica, Log: ledgertest.LogKey(1), Receipts: ledgertest.ES256("notary"), Policy: b.policy,
		Cosigner: &notary.Cosigner{
			Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(1)}, Logs: []*tlog.Key{ledgertest.LogKey(1).Key}, Seen: new(ledgertest.Seen), Now: time.Now, Random: rand.Reader,
		},
		Witnesses: []notary.Remote{remote}, Shelf: logside.Shelf{Path: b.dir + "/checkpoint", Perm: 0o644}, Now: time.Now, Random: rand.Reader,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer((&httpapi.Page{Verifier: new(verifier.Verifier), API: &httpapi.API{Version: "test"}, Ledger: b.n}).Handler())
	t.Cleanup(server.Close)
	b.url = server.URL
	if b.c, err = client.New(server.URL); err != nil {
		t.Fatal(err)
	}
	return b
}

func closed(t testing.TB, name string) *print.Batch {
	t.Helper()
	var leaves []print.Leaf
	for n := range 3 {
		leaves = append(leaves, print.Leaf(tlog.LeafHash(fmt.Append(nil, name, n))))
	}
	batches, err := print.Close(leaves, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return batches[0]
}

// TestService: the life of a batch, from its issuer to a stranger who verifies it,
// over HTTP.
func TestService(t *testing.T) {
	b := newBed(t)
	ctx := t.Context()
	_, err := b.c.Actor(ctx, ledgertest.OID("3.77"))
	wantIs(t, err, notary.ErrNoActor)
	batch := closed(t, "first")
	s, err := b.c.SubmitBatch(ctx, client.Batch{Issuer: ledgertest.Issuer, Schema: ledgertest.Schema, Epoch: 1, Leaves: batch}, ledgertest.IssuerKey())
	if err != nil {
		t.Fatal(err)
	}
	// An answer that was lost: the same bytes again.
	if err := b.c.Submit(ctx, s.Tx); err != nil {
		t.Error(err)
	}
	_, err = b.c.Prove(ctx, s.Leaf)
	wantIs(t, err, notary.ErrNotCosigned)
	_, err = b.c.Receipt(ctx, s.Root)
	wantIs(t, err, notary.ErrNotCosigned)
	if err := b.n.Publish(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.c.Wait(ctx, s.Tx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	proof, err := b.c.Prove(ctx, s.Leaf)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Verify(s.Tx, proof, b.policy)
	if err != nil || len(c.Witnesses) != 2 {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := client.Verify(append(bytes.Clone(s.Tx), 0), proof, b.policy); !errors.Is(err, tlog.ErrRoot) {
		t.Errorf("another transaction: %v", err)
	}
	receipt, err := b.c.Receipt(ctx, s.Root)
	if err != nil || receipt.Verify(ledgertest.ES256("notary").Public(), s.Root) != nil {
		t.Fatalf("%+v, %v", receipt, err)
	}
	_, err = b.c.Receipt(ctx, tlog.Hash{1})
	wantIs(t, err, notary.ErrNotLogged)
	_, err = b.c.Prove(ctx, tlog.Hash{1})
	wantIs(t, err, notary.ErrNotLogged)

	// The next one follows it; one by a key that is not the issuer's is refused by name.
	second, err := b.c.SubmitBatch(ctx, client.Batch{Issuer: ledgertest.Issuer, Schema: ledgertest.Schema, Epoch: 2, Leaves: closed(t, "second")}, ledgertest.IssuerKey())
	if err != nil {
		t.Fatal(err)
	}
	a, err := b.c.Actor(ctx, ledgertest.Issuer)
	if err != nil || a.Batch != second.Root || a.Seq != 2 || a.Epoch != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	_, err = b.c.SubmitBatch(ctx, client.Batch{Issuer: ledgertest.Issuer, Schema: ledgertest.Schema, Epoch: 3, Leaves: closed(t, "third")}, ledgertest.ES256("stranger"))
	wantIs(t, err, state.ErrKeyUnknown)
	old, err := client.Sign(&notary.Actor{Chain: a.Chain, Height: a.Height, MaxLife: a.MaxLife}, ledgertest.Issuer, &state.Batch{Root: tlog.Hash{4}, Class: 6, Schema: ledgertest.Schema, Issuer: ledgertest.Issuer}, ledgertest.IssuerKey())
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, b.c.Submit(ctx, old), state.ErrSeqUsed)
	wantIs(t, b.c.Submit(ctx, []byte("x")), cbor.ErrMalformed)
	wantIs(t, b.c.Submit(ctx, make([]byte, state.MaxTx+1)), state.ErrTooLarge)
	b.c.Chain = tlog.Hash{1}
	_, err = b.c.Actor(ctx, ledgertest.Issuer)
	wantIs(t, err, client.ErrChain)
}

func wantIs(t *testing.T, err, want error) {
	t.Helper()
	if want == nil || !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

// TestDoors: each address answers, and what is asked badly is refused by its word.
func TestDoors(t *testing.T) {
	b := newBed(t)
	for b.replica.Head().Height < 5 {
		b.replica.Batch(t, int(b.replica.Head().Height))
	}
	if err := b.n.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	get := func(path string) (*http.Response, string) {
		t.Helper()
		r, err := http.Get(b.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		data, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, string(data)
	}
	for path, want := range map[string]struct {
		status int
		part   string
	}{
		"/v1/ledger/status":                                  {200, `"origin":"` + ledgertest.Origin},
		"/v1/ledger/members":                                 {200, ledgertest.Member(1).String()},
		"/v1/ledger/validators":                              {200, `"type":"Ed25519"`},
		"/v1/ledger/proposals":                               {200, "[]"},
		"/v1/ledger/proposals/00":                            {422, "invalid-request"},
		"/v1/ledger/proposals/" + fmt.Sprintf("%064d", 0):    {404, "not-logged"},
		"/v1/ledger/actors/" + ledgertest.Issuer.String():    {200, `"seq":4`},
		"/v1/ledger/actors/nobody":                           {422, "invalid-request"},
		"/v1/ledger/transactions/" + fmt.Sprintf("%064d", 0): {200, `"logged":false`},
		"/v1/ledger/entries/0":                               {200, "c2sp.org/tlog-proof@v1"},
		"/v1/ledger/entries/99":                              {404, "no-such-entry"},
		"/v1/ledger/entries/-1":                              {422, "invalid-request"},
		"/v1/ledger/receipts/" + fmt.Sprintf("%064d", 0):     {404, "not-logged"},
		"/v1/ledger/proofs/" + fmt.Sprintf("%064d", 0):       {404, "not-logged"},
		"/v1/ledger/resolve/" + ledgertest.Issuer.String():   {200, `"kind":"registry"`},
		"/ledger/checkpoint":                                 {200, ledgertest.Origin + "\n7\n"},
		"/ledger/tile/0/000.p/7":                             {200, ""},
		"/ledger/tile/0/000":                                 {404, ""},
		"/ledger/tile/0/000.p/07":                            {404, ""},
		"/ledger/tile/../checkpoint":                         {200, ""}, // the way of every client: /ledger/checkpoint
		"/ledger/tile/x000/000":                              {404, ""},
		"/ledger/add-checkpoint":                             {405, ""},
	} {
		r, body := get(path)
		if r.StatusCode != want.status || !bytes.Contains([]byte(body), []byte(want.part)) {
			t.Errorf("%s: %d %.200s", path, r.StatusCode, body)
		}
		if want.status == 200 && bytes.HasPrefix([]byte(path), []byte("/ledger/")) && r.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%s is not open to pages of other sites", path)
		}
	}
	r, _ := get("/ledger/checkpoint")
	if r.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("%q", r.Header.Get("Cache-Control"))
	}
	// What is resolved over HTTP proves itself.
	for _, oid := range []state.OID{ledgertest.Issuer, ledgertest.OID("3.99"), ledgertest.OID("1.1.3"), ledgertest.OID("1.1"), ledgertest.OID("2.1")} {
		found, err := b.c.Resolve(t.Context(), oid)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := found.Verify(oid, b.policy); err != nil {
			t.Errorf("%s: %s: %v", oid, found.Kind, err)
		}
	}
	// A follower reads the log over HTTP as from the folder.
	for _, target := range []string{b.url + "/ledger", b.dir} {
		source, err := logside.Open(target)
		if err != nil {
			t.Fatal(err)
		}
		report, err := notary.Fsck(t.Context(), source, b.policy)
		if err != nil || !report.OK() || report.Checkpoint.Size != 7 {
			t.Errorf("%s: %+v, %v", target, report, err)
		}
	}
	// A node answers as a witness of its own log.
	w, err := logside.NewWitness(b.url + "/ledger")
	if err != nil {
		t.Fatal(err)
	}
	note, _ := b.n.Checkpoint()
	answer, err := w.AddCheckpoint(t.Context(), (&notary.Request{Checkpoint: note}).Encode())
	if err != nil || answer.Status != 409 || string(answer.Body) != "7\n" {
		t.Errorf("%+v, %v", answer, err)
	}
	answer, err = w.AddCheckpoint(t.Context(), (&notary.Request{Old: 7, Checkpoint: note}).Encode())
	if err != nil || answer.Status != 200 {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestHostile: what nobody's client sends has a named answer, and no file of the node
// but those of the log is given away.
func TestHostile(t *testing.T) {
	b := newBed(t)
	b.replica.Batch(t, 1)
	if err := b.n.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	const cose = "application/cose"
	tx, add := "/v1/ledger/transactions", "/ledger/add-checkpoint"
	large := strings.Repeat("x", state.MaxTx+1)
	for _, tt := range []struct {
		name, method, path, kind, body string
		status                         int
		part                           string
	}{
		{"another method", "PUT", "/ledger/checkpoint", "", "", 405, "method"},
		{"another method", "DELETE", "/v1/ledger/entries/0", "", "", 405, "method"},
		{"a method of nobody", "TRACE", "/ledger/tile/0/000.p/1", "", "", 405, "method"},
		{"out of the folder", "GET", "/ledger/tile/%2e%2e/%2e%2e/keys/log.pem", "", "", 404, "not-found"},
		{"a file beside the tiles", "GET", "/ledger/tile/0/000.p/3.tmp", "", "", 404, "not-found"},
		{"a zero byte", "GET", "/ledger/tile/0/000%00", "", "", 404, "not-found"},
		{"a tile of nothing", "GET", "/ledger/tile/0/000.p/0", "", "", 404, "not-found"},
		{"a tile too wide", "GET", "/ledger/tile/0/000.p/256", "", "", 404, "not-found"},
		{"a level too high", "GET", "/ledger/tile/64/000", "", "", 404, "not-found"},
		{"an index too large", "GET", "/ledger/tile/0/x999/x999/x999/x999/x999/x999/x999/999", "", "", 404, "not-found"},
		{"the folder", "GET", "/ledger/tile/", "", "", 404, "not-found"},
		{"an index that is no number", "GET", "/v1/ledger/entries/0x1", "", "", 422, "invalid-request"},
		{"an index too large", "GET", "/v1/ledger/entries/9223372036854775808", "", "", 422, "invalid-request"},
		{"below nothing", "GET", "/v1/ledger/entries?before=-1", "", "", 422, "invalid-request"},
		{"a hash too long", "GET", "/v1/ledger/proofs/" + strings.Repeat("a", 65), "", "", 422, "invalid-request"},
		{"no text", "GET", "/v1/ledger/receipts/%ff%fe", "", "", 422, "invalid-request"},
		{"an arc of 250 digits", "GET", "/v1/ledger/resolve/2." + strings.Repeat("9", 250), "", "", 422, "invalid-request"},
		{"an identifier too long", "GET", "/v1/ledger/actors/" + strings.Repeat("1.", 200) + "1", "", "", 422, "invalid-request"},
		{"a transaction too large", "POST", tx, cose, large, 413, "At most 64 KiB"},
		{"no transaction", "POST", tx, cose, "", 400, "invalid-request"},
		{"a text as a transaction", "POST", tx, cose, "hello", 422, "malformed"},
		{"an array that never ends", "POST", tx, cose, "\x9b\xff\xff\xff\xff\xff\xff\xff\xff", 422, "malformed"},
		{"two hundred arrays", "POST", tx, cose, strings.Repeat("\x81", 200), 422, "nesting-too-deep"},
		{"no request", "POST", add, "", "", 400, "malformed-add-checkpoint"},
		{"half a request", "POST", add, "", "old 0\n\n", 400, "malformed"},
		{"a request too large", "POST", add, "", strings.Repeat("x", 1<<20), 413, "malformed-add-checkpoint"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, b.url+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if tt.kind != "" {
				r.Header.Set("Content-Type", tt.kind)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != tt.status || !strings.Contains(string(text), tt.part) {
				t.Errorf("%d %.300s, %v", res.StatusCode, text, err)
			}
		})
	}
}

// TestAddresses: an address that would send signatures in the clear is none.
func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://notary.example": true, "https://notary.example/x/": true, "http://127.0.0.1:1": true, "http://[::1]:1": true,
		"http://notary.example": false, "http://localhost:1": false, "notary.example": false, "": false, "https://u:p@notary.example": false, "https://notary.example/?x": false, "ftp://127.0.0.1": false,
	} {
		if _, err := client.New(address); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
}

// TestWait: a submitter goes on while the notary is away, and stops where the ledger
// refuses.
func TestWait(t *testing.T) {
	b := newBed(t)
	tx := b.replica.Tx(t, ledgertest.Issuer, &state.Batch{Root: tlog.Hash{9}, Class: 10, Schema: ledgertest.Schema, Issuer: ledgertest.Issuer}, ledgertest.IssuerKey())
	away := &failing{Client: b.c, left: 3}
	go func() {
		for b.n.Publish(t.Context()) == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := client.Wait(ctx, away, tx, time.Millisecond); err != nil || away.left != 0 {
		t.Fatalf("%v, %d left", err, away.left)
	}
	bad := b.replica.Tx(t, ledgertest.Issuer, &state.Batch{Root: tlog.Hash{9}, Class: 10, Schema: ledgertest.Schema, Issuer: ledgertest.Issuer}, ledgertest.IssuerKey())
	wantIs(t, client.Wait(ctx, b.c, bad, time.Millisecond), state.ErrRepeated)
}

type failing struct {
	*client.Client
	left int
}

func (f *failing) Submit(ctx context.Context, tx []byte) error {
	if f.left > 0 {
		f.left--
		return errors.New("away")
	}
	return f.Client.Submit(ctx, tx)
}

// ExampleClient_SubmitBatch logs a batch of fingerprints, and verifies it as a
// stranger would.
func ExampleClient_SubmitBatch() {
	logged := func(ctx context.Context, address string, leaves *print.Batch, key crypto.Signer, policy *tlog.Policy) error {
		c, err := client.New(address)
		if err != nil {
			return err
		}
		s, err := c.SubmitBatch(ctx, client.Batch{Issuer: ledgertest.Issuer, Schema: ledgertest.Schema, Epoch: 20_000, Leaves: leaves}, key)
		if err != nil {
			return err
		}
		if err := c.Wait(ctx, s.Tx, 10*time.Millisecond); err != nil {
			return err
		}
		proof, err := c.Prove(ctx, s.Leaf)
		if err != nil {
			return err
		}
		// From here on nobody is asked.
		cosigned, err := client.Verify(s.Tx, proof, policy)
		if err != nil {
			return err
		}
		fmt.Println(cosigned.Checkpoint.Size, "leaves, cosigned by", len(cosigned.Witnesses))
		return nil
	}
	example = logged
}

// example is what the example shows, run by a test: it needs a notary.
var example func(context.Context, string, *print.Batch, crypto.Signer, *tlog.Policy) error

func TestExample(t *testing.T) {
	b := newBed(t)
	go func() {
		for b.n.Publish(t.Context()) == nil {
			time.Sleep(5 * time.Millisecond)
		}
	}()
	ExampleClient_SubmitBatch()
	if err := example(t.Context(), b.url, closed(t, "day"), ledgertest.IssuerKey(), b.policy); err != nil {
		t.Error(err)
	}
}
