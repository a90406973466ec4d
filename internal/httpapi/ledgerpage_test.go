package httpapi

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/ledgertest"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/notary"
)

// shelf keeps the checkpoint for as long as a test.
type shelf struct{ note []byte }

func (s *shelf) Checkpoint() ([]byte, error) { return s.note, nil }
func (s *shelf) Publish(note []byte) error   { s.note = note; return nil }

// voters counts the audit lines of votes.
type voters struct {
	onePerson
	lines *[]access.Line
}

func (v voters) Log(_ context.Context, l access.Line) error {
	*v.lines = append(*v.lines, l)
	return nil
}

// TestLedgerPage: what the page asks for, on a ledger of four members.
func TestLedgerPage(t *testing.T) {
	b := newIssuingBed(t)
	replica := ledgertest.NewChain(ledgertest.Genesis(4, 5)).Join(t, t.TempDir())
	replica.Register(t)
	for n := range 30 {
		replica.Batch(t, n)
	}
	policy, err := tlog.ParsePolicy(ledgertest.Policy(1, nil, 1))
	if err != nil {
		t.Fatal(err)
	}
	n, err := notary.New(notary.Config{
		Replica: replica, Log: ledgertest.LogKey(1), Policy: policy, Shelf: new(shelf), Now: time.Now, Random: rand.Reader,
		Cosigner: &notary.Cosigner{Signers: []*tlog.NoteSigner{ledgertest.CosignerKey(1)}, Logs: []*tlog.Key{ledgertest.LogKey(1).Key},
			Seen: new(ledgertest.Seen), Now: time.Now, Random: rand.Reader},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	var voted []string
	b.page.Ledger = n
	b.page.LedgerVote = func(_ context.Context, id tlog.Hash, yes bool) (tlog.Hash, error) {
		voted = append(voted, fmt.Sprint(hexOf(id), yes))
		return tlog.Hash{1}, nil
	}
	var lines []access.Line
	accounts, err := access.New(voters{onePerson{who: &b.who}, &lines}, access.Config{Idle: time.Hour, Absolute: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	b.page.Access = &Access{Accounts: accounts}
	f := NewFront()
	f.Show(b.page, func() error { return nil })
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if b.who != nil {
			r.Header.Add("Cookie", "ampoule="+strings.Repeat("x", 43))
		}
		f.Handler().ServeHTTP(w, r)
	})
	b.who = nil
	get := func(path string, want int, into any) {
		t.Helper()
		res := ask(handler, "GET", path, "")
		text := readAll(t, res)
		if res.StatusCode != want {
			t.Fatalf("%s: %d %s", path, res.StatusCode, text)
		}
		if into != nil {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		}
	}

	// The list: newest first, without a gap, to the genesis.
	var all []EntryLine
	for below := uint64(0); ; {
		var page []EntryLine
		get(fmt.Sprintf("/v1/ledger/entries?before=%d", below), 200, &page)
		if all = append(all, page...); page[len(page)-1].Index == 0 {
			break
		}
		below = page[len(page)-1].Index
	}
	size := replica.Head().Size
	kinds := map[string]int{}
	for i, l := range all {
		if l.Index != size-1-uint64(i) {
			t.Fatalf("line %d is entry %d of %d", i, l.Index, size)
		}
		kinds[l.Kind]++
	}
	if uint64(len(all)) != size || kinds["genesis"] != 1 || kinds["fp.batch"] != 30 || kinds["state"] == 0 || kinds["unknown"] != 0 {
		t.Errorf("%d entries of %d: %v", len(all), size, kinds)
	}

	// One entry of each kind, in words.
	for _, l := range all {
		var e struct {
			EntryLine
			Entry, Proof string
			Fields       []EntryField
		}
		get(fmt.Sprint("/v1/ledger/entries/", l.Index), 200, &e)
		raw, err := base64.StdEncoding.DecodeString(e.Entry)
		if err != nil || hexOf(tlog.LeafHash(raw)) != l.Leaf || e.EntryLine != l || e.Proof == "" {
			t.Fatalf("entry %d: %+v, %v", l.Index, e, err)
		}
		named := map[string]string{}
		for _, f := range e.Fields {
			named[f.Name] = f.Value
		}
		want := map[string]string{"genesis": "federation", "state": "registry", "fp.batch": "root", "reg.issuer.put": "document"}[l.Kind]
		if want == "" || named[want] == "" {
			t.Errorf("%s has no %q: %v", l.Kind, want, named)
		}
		if l.Kind == "fp.batch" && (named["class"] != "10" || named["issuer"] != ledgertest.Issuer.String() || l.Actor != named["issuer"]) {
			t.Errorf("%v", named)
		}
	}
	get(fmt.Sprint("/v1/ledger/entries/", size), 404, nil)
	get("/v1/ledger/entries/x", 422, nil)

	// A vote: only of who may, only on what is open, with a line about it.
	tx := replica.Must(t, ledgertest.Member(1), &state.Propose{Proposal: &state.NewParams{Params: state.DefaultParams}}, ledgertest.MemberKey(1))
	parsed, err := state.ParseTx(tx)
	if err != nil {
		t.Fatal(err)
	}
	var open []proposalBody
	get("/v1/ledger/proposals", 200, &open)
	id := hexOf(parsed.ID())
	if len(open) != 1 || open[0].ID != id || open[0].About != "params" || len(open[0].Yes) != 1 {
		t.Fatalf("%+v", open)
	}
	vote := func(id, body string) int {
		return ask(handler, "POST", "/v1/ledger/proposals/"+id+"/votes", body, "Content-Type", "application/json").StatusCode
	}
	if got := vote(id, `{"yes":true}`); got != 401 {
		t.Errorf("as nobody: %d", got)
	}
	for _, role := range access.Roles {
		for _, facility := range []string{"", "north"} {
			b.who = &access.Principal{ID: "u-asker", Organisation: "org-a", Grants: []access.Grant{{Role: role, Facility: facility}}}
			want := 403
			if role == access.Administrator && facility == "" {
				want = 202
			}
			if got := vote(id, `{"yes":true}`); got != want {
				t.Errorf("as %s of %q: %d, want %d", role, facility, got, want)
			}
		}
	}
	b.who = &access.Principal{ID: "u-asker", Organisation: "org-a", Grants: []access.Grant{{Role: access.Administrator}}}
	if got := vote(strings.Repeat("0", 64), `{"yes":true}`); got != 404 {
		t.Errorf("on nothing: %d", got)
	}
	if len(voted) != 1 || voted[0] != id+"true" || len(lines) != 1 || lines[0].Event != access.EventLedgerVote || lines[0].Subject != id || lines[0].Reason != "yes" {
		t.Errorf("voted %v, lines %v", voted, lines)
	}
}
