package httpapi

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/internal/access"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/party/issuer"
	"ampoule/party/notary"
)

// What people read of the ledger: entries in words, and votes by who may cast them.

// entriesAtOnce is how many entries a list has.
const entriesAtOnce = 20

// EntryLine is an entry in a list.
type EntryLine struct {
	Index uint64 `json:"index"`
	Leaf  string `json:"leaf" doc:"Hash of its leaf, in hexadecimal"`
	Kind  string `json:"kind" doc:"Of the transaction; genesis, or state at the end of an epoch"`
	Actor string `json:"actor,omitempty" doc:"Who wrote it"`
}

// EntryField is one value of an entry.
type EntryField struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// The kinds of entries that are no transactions, and of one that this program cannot
// read.
const (
	kindGenesis = "genesis"
	kindState   = "state"
	kindUnknown = "unknown"
)

// newestEntries lists entries below an index, newest first; zero: all.
func newestEntries(n *notary.Notary, below uint64) ([]EntryLine, error) {
	if below == 0 {
		below = math.MaxInt64
	}
	first, entries, err := n.Newest(below, entriesAtOnce)
	if err != nil {
		return nil, err
	}
	lines := make([]EntryLine, len(entries))
	for i, entry := range entries {
		lines[i], _ = describeEntry(first+uint64(i), entry)
	}
	slices.Reverse(lines)
	return lines, nil
}

// describeEntry tells what an entry is.
func describeEntry(index uint64, entry []byte) (EntryLine, []EntryField) {
	line := EntryLine{Index: index, Leaf: hexOf(tlog.LeafHash(entry)), Kind: kindUnknown}
	if tx, err := state.ParseTx(entry); err == nil {
		line.Kind, line.Actor = string(tx.Body.Kind()), tx.Actor.String()
		fields := []EntryField{{"seq", fmt.Sprint(tx.Seq)}, {"last height", fmt.Sprint(tx.ValidUntil)}}
		return line, appendFields(fields, "", reflect.ValueOf(tx.Body))
	}
	if l, ok := state.ParseLeaf(entry); ok {
		line.Kind = kindState
		return line, appendFields(nil, "", reflect.ValueOf(l))
	}
	if index == 0 {
		if g, err := state.ParseGenesis(entry); err == nil {
			line.Kind = kindGenesis
			return line, appendFields(nil, "", reflect.ValueOf(g))
		}
	}
	return line, []EntryField{}
}

// appendFields lists the exported fields of a value of ledger/state under their
// names, with those of what is in it behind a dot.
func appendFields(fields []EntryField, name string, v reflect.Value) []EntryField {
	if v.Kind() == reflect.Interface || v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return fields
		}
		return appendFields(fields, name, v.Elem())
	}
	add := func(text string) []EntryField { return append(fields, EntryField{name, text}) }
	switch x := v.Interface().(type) {
	case state.Hash:
		return add(hexOf(x))
	case state.OID:
		return add(x.String())
	case state.Key:
		return add(hexOf(x.KID))
	case fmt.Stringer:
		return add(x.String())
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() {
				continue
			}
			below := words(f.Name)
			if name != "" {
				below = name + "." + below
			}
			fields = appendFields(fields, below, v.Field(i))
		}
		return fields
	case reflect.Slice:
		for i := range v.Len() {
			fields = appendFields(fields, fmt.Sprintf("%s %d", name, i+1), v.Index(i))
		}
		return fields
	case reflect.String:
		if text := v.String(); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
			return add(hex.EncodeToString([]byte(text)))
		}
	}
	return add(fmt.Sprint(v.Interface()))
}

// words writes the name of a field as words: ValidUntil is valid until.
func words(name string) string {
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) && i > 0 && unicode.IsLower(rune(name[i-1])) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// mayVote reports whether somebody may vote for the member whose node this is.
func (s *server) mayVote(who *access.Principal) bool {
	if s.LedgerVote == nil || s.Access == nil || who == nil {
		return false
	}
	ok, _ := s.Access.Accounts.Policy.Allow(who, access.LedgerVote, issuer.Place{Organisation: who.Organisation})
	return ok
}

// describeVote registers the vote of the member whose node this is, where its key is
// at hand. The vote is signed by that key and stands on the ledger as the member's;
// who of its people cast it stands in the audit log.
func (s *server) describeVote(api huma.API) {
	if s.LedgerVote == nil || s.Access == nil {
		return
	}
	type body struct {
		Body submittedBody
	}
	register(api, huma.Operation{
		OperationID: "ledgerVote", Method: http.MethodPost, Path: "/v1/ledger/proposals/{id}/votes", Summary: "Vote on a proposal, for the member whose node this is",
		DefaultStatus: http.StatusAccepted, Tags: []string{"ledger"}, Errors: []int{401, 403, 404, 409, 422, 429, 503},
		Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}, func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"64"`
		Body struct {
			Yes bool `json:"yes"`
		}
	}) (*body, error) {
		v, err := s.asked(ctx)
		if err != nil {
			return nil, err
		}
		if !s.mayVote(v.Principal) {
			return nil, s.refused(ctx, problemDenied)
		}
		id, err := parseHashText(r.ID)
		if err != nil {
			return nil, err
		}
		open := false
		s.Ledger.Replica.Read(func(st *state.State) {
			b, ok := st.Ballots(id)
			open = ok && b.Proposal != nil
		})
		if !open {
			return nil, s.refused(ctx, problemNotFound)
		}
		// The line first: a vote that nobody can be asked about is worse than a line about
		// one that was then refused.
		if err := s.Access.Accounts.Voted(ctx, v, r.ID, r.Body.Yes); err != nil {
			return nil, s.apiError(ctx, err)
		}
		leaf, err := s.LedgerVote(ctx, id, r.Body.Yes)
		if err != nil {
			return nil, s.refusal(err)
		}
		return &body{submittedBody{hexOf(leaf)}}, nil
	})
}
