package httpapi

import (
	"crypto"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/storetest"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// TestLogged: a certificate from its open batch to the log, as the API tells it, and
// the files that show it to a verifier who knows the notary.
func TestLogged(t *testing.T) {
	b := newIssuingBed(t)
	ledger := storetest.NewLedger(t, false)
	sub := &notary.Submitter{
		Service: ledger, Outbox: b.issuing.Outbox, Actor: ledger.Issuer, Signers: ledger.Keys, Schema: storetest.TestOID(t, "6.1"),
		Policy: ledger.Policy, Notaries: []crypto.PublicKey{ledger.Notary.Public()}, Now: func() time.Time { return storetest.Day },
	}
	b.issuing.Trouble = sub.Trouble
	b.who = clerk
	id := b.issue(t, 1)
	at := "/v1/certificates/" + id
	texts := map[string]string{}
	logs := func() (out []logBody) {
		t.Helper()
		var held struct {
			Certificates []struct {
				Format, Text string
				Log          *logBody
			}
		}
		res := ask(b.handler, "GET", at, "")
		if err := json.Unmarshal([]byte(readAll(t, res)), &held); err != nil || res.StatusCode != 200 {
			t.Fatal(res.StatusCode, err)
		}
		for _, c := range held.Certificates {
			if c.Log == nil {
				t.Fatalf("%s: nothing is told", c.Format)
			}
			texts[c.Format] = c.Text
			out = append(out, *c.Log)
		}
		return out
	}
	all := func(want string) []logBody {
		t.Helper()
		got := logs()
		for _, l := range got {
			if l.State != want || (l.State == "logged") != (l.Index != nil) || (l.State == "waiting") != (l.Root == "") {
				t.Errorf("%+v, want %s", l, want)
			}
		}
		return got
	}
	round := func() {
		t.Helper()
		if _, err := sub.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	none := func(files ...string) {
		t.Helper()
		for _, f := range files {
			b.do(t, "GET", at+"/codes/"+f, "", 404)
		}
	}

	all("waiting")
	none("eu-dcc.batch-path", "eu-dcc.receipt", "eu-dcc.with-receipt", "eu-dcc.log-proof")
	b.kit.CloseBatches(t)
	all("closed")
	none("eu-dcc.receipt", "eu-dcc.with-receipt", "eu-dcc.log-proof")
	round()
	all("submitted")
	ledger.Block()
	round()
	all("submitted") // it is in the log, and no checkpoint says so
	none("eu-dcc.receipt")
	ledger.Cosign()
	round()
	for _, l := range all("logged") {
		if l.Checkpoint.IsZero() || *l.Index == 0 || l.Batch != 1 {
			t.Errorf("%+v", l)
		}
	}

	known, err := (&print.Ledger{Checkpoint: ledger.Checkpoint(), Notaries: sub.Notaries}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	carried, err := print.ParseLedger(known)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, media string) []byte {
		t.Helper()
		res := ask(b.handler, "GET", at+"/codes/"+name, "")
		body := readAll(t, res)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != media || !strings.Contains(res.Header.Get("Content-Disposition"), id) {
			t.Fatalf("%s: %d %s", name, res.StatusCode, res.Header)
		}
		return []byte(body)
	}
	for format, text := range texts {
		if c := b.kit.ProofOf(t, text, carried, file(format+".receipt", receiptType)); c.Result != verifier.Pass || c.Reason != "notary-receipt" {
			t.Errorf("%s: receipt: %+v", format, c)
		}
		p, err := tlog.ParseLogProof(file(format+".log-proof", logProofType))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Verify(tlog.LeafHash(p.Extra), ledger.Policy); err != nil {
			t.Errorf("%s: log proof: %v", format, err)
		}
		if tx, err := state.ParseTx(p.Extra); err != nil || tx.Actor != ledger.Issuer {
			t.Errorf("%s: log proof of something else: %v", format, err)
		}
	}
	with := string(file("eu-dcc.with-receipt", "text/plain; charset=utf-8"))
	if c := b.kit.ProofOf(t, with, carried, nil); c.Result != verifier.Pass || c.Reason != "notary-receipt" {
		t.Errorf("carried: %+v", c)
	}
	if got := b.kit.Verify(t, with, nil); got != verifier.Valid && got != verifier.Unknown {
		t.Errorf("with a receipt: %s", got)
	}
	if c := b.kit.ProofOf(t, texts["eu-dcc"], carried, nil); c.Reason != "none-carried" {
		t.Errorf("the code as it was handed out: %+v", c)
	}
	none("shc.with-receipt", "icvp.receipt")

	b.do(t, "GET", "/v1/landmarks/places", "", 404)
	b.issuing.Ledger = known
	if res := ask(b.handler, "GET", "/v1/landmarks/places", ""); res.StatusCode != 200 || readAll(t, res) != string(known) {
		t.Errorf("places: %d", res.StatusCode)
	}
	for _, kind := range []string{"receipt.svg", "batch-path.svg"} {
		if picture := readAll(t, ask(b.handler, "GET", at+"/codes/shc."+kind, "")); !strings.HasPrefix(picture, "<svg") && !strings.HasPrefix(picture, "<?xml") {
			t.Errorf("%s: %.40s", kind, picture)
		}
	}

	// Who audits is told how it goes, and why it does not.
	ledger.Suspend()
	b.kit.CloseBatches(t)
	b.issue(t, 2)
	b.kit.CloseBatches(t)
	if _, err := sub.Drain(t.Context()); err == nil {
		t.Fatal("a suspended issuer")
	}
	b.do(t, "GET", "/v1/outbox", "", 403)
	b.who = chief
	b.do(t, "GET", "/v1/outbox", "", 403)
	b.who = &access.Principal{ID: "u-auditor", Organisation: "org-a", Grants: []access.Grant{{Role: access.Auditor}}}
	if _, told := b.do(t, "GET", "/v1/outbox", "", 200); told["trouble"] != "actor-suspended" || told["submitted"] != 1.0 || told["logged"] != 1.0 {
		t.Errorf("%v", told)
	}
}
