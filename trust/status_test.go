package trust

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/dccrevocation"
	"ampoule/format/strictjson"
)

// hash128 is the first half of SHA-256, made here a second time.
func hash128(text string) dccrevocation.Hash128 {
	sum := sha256.Sum256([]byte(text))
	return dccrevocation.Hash128(sum[:16])
}

// batch is one batch as the gateway writes it.
func batch(country, kid string, kind dccrevocation.HashType, expires string, hashed ...string) string {
	var entries []string
	for _, h := range hashed {
		sum := hash128(h)
		entries = append(entries, `{"hash":"`+base64.StdEncoding.EncodeToString(sum[:])+`"}`)
	}
	if kid != dccrevocation.UnknownKID {
		kid = base64.StdEncoding.EncodeToString([]byte(kid))
	}
	return fmt.Sprintf(`{"country":%q,"expires":%q,"kid":%q,"hashType":%q,"entries":[%s]}`, country, expires, kid, kind, strings.Join(entries, ","))
}

const (
	someUCI = "URN:UVCI:01:XA:SPECIMEN1#K"
	later   = "2028-01-01T00:00:00Z"
)

func TestStatusFind(t *testing.T) {
	signature := strings.Repeat("r", 32) + strings.Repeat("s", 32)
	twin := strings.Repeat("r", 32) + strings.Repeat("t", 32)
	query := StatusQuery{Signature: []byte(signature), UCI: someUCI, Issuer: "XA", Country: "XC"}
	with := func(change func(q *StatusQuery)) StatusQuery {
		q := query
		change(&q)
		return q
	}
	ec := key(t, DCC, "XXA", "XXA-kid1")
	rsaSigned, err := NewKey(certify(t, "XA", newRSAKey(t, rsa2048), nil))
	if err != nil {
		t.Fatal(err)
	}
	rsaSigned.ID = "XXA-kid1"
	lower := strings.ToLower(someUCI)
	for _, tt := range []struct {
		name  string
		batch string
		key   *Key
		query StatusQuery
		want  dccrevocation.HashType // "" for not found
	}{
		{"signature, r alone", batch("XA", "XXA-kid1", "SIGNATURE", later, signature[:32]), ec, query, "SIGNATURE"},
		{"signature, the twin", batch("XA", "XXA-kid1", "SIGNATURE", later, signature[:32]), ec, with(func(q *StatusQuery) { q.Signature = []byte(twin) }), "SIGNATURE"},
		{"signature, the whole of an ECDSA one", batch("XA", "XXA-kid1", "SIGNATURE", later, signature), ec, query, ""},
		{"signature of RSA, the whole", batch("XA", "XXA-kid1", "SIGNATURE", later, signature), rsaSigned, query, "SIGNATURE"},
		{"signature of RSA, its half", batch("XA", "XXA-kid1", "SIGNATURE", later, signature[:32]), rsaSigned, query, ""},
		{"no signature to look for", batch("XA", "XXA-kid1", "SIGNATURE", later, ""), ec, with(func(q *StatusQuery) { q.Signature = nil }), ""},
		{"identifier", batch("XA", "XXA-kid1", "UCI", later, "another", someUCI), ec, query, "UCI"},
		{"identifier of another", batch("XA", "XXA-kid1", "UCI", later, "another"), ec, query, ""},
		{"identifier listed in lower case", batch("XA", "XXA-kid1", "UCI", later, lower), ec, query, "UCI"},
		{"identifier printed in lower case", batch("XA", "XXA-kid1", "UCI", later, someUCI), ec, with(func(q *StatusQuery) { q.UCI = lower }), "UCI"},
		{"no identifier", batch("XA", "XXA-kid1", "UCI", later, ""), ec, with(func(q *StatusQuery) { q.UCI = "" }), ""},
		{"iss and identifier", batch("XA", "XXA-kid1", "COUNTRYCODEUCI", later, "XA"+someUCI), ec, query, "COUNTRYCODEUCI"},
		{"country of the event and identifier", batch("XA", "XXA-kid1", "COUNTRYCODEUCI", later, "XC"+someUCI), ec, query, "COUNTRYCODEUCI"},
		{"country and identifier, printed in lower case", batch("XA", "XXA-kid1", "COUNTRYCODEUCI", later, "XC"+someUCI), ec, with(func(q *StatusQuery) { q.UCI = lower }), "COUNTRYCODEUCI"},
		{"neither country", batch("XA", "XXA-kid1", "COUNTRYCODEUCI", later, "XD"+someUCI), ec, query, ""},
		{"no country is no prefix", batch("XA", "XXA-kid1", "COUNTRYCODEUCI", later, someUCI), ec, with(func(q *StatusQuery) { q.Issuer, q.Country = "", "" }), ""},
		{"unknown kid", batch("XA", dccrevocation.UnknownKID, "UCI", later, someUCI), ec, query, "UCI"},
		{"unknown kid, another country", batch("XB", dccrevocation.UnknownKID, "UCI", later, someUCI), ec, query, ""},
		{"the kid, another country", batch("XB", "XXA-kid1", "UCI", later, someUCI), ec, query, ""},
		{"another kid", batch("XA", "XXA-kid2", "UCI", later, someUCI), ec, query, ""},
		{"a batch that has expired still counts", batch("XA", "XXA-kid1", "UCI", "2020-01-01T00:00:00Z", someUCI), ec, query, "UCI"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(Status)
			if err := s.AddBatches("specimen batch", []byte(tt.batch)); err != nil {
				t.Fatal(err)
			}
			hit, found := s.Find(tt.key, tt.query)
			if hit.Kind != tt.want || found != (tt.want != "") {
				t.Errorf("%q %v, want %q", hit.Kind, found, tt.want)
			}
			if found && (hit.Source != "specimen batch" || !strings.Contains(hit.Detail, string(tt.want)) || strings.Contains(hit.Detail, "SPECIMEN1")) {
				t.Errorf("hit %+v", hit)
			}
		})
	}
}

// TestStatusCopiedHash: hashes are public. A country that publishes another's
// again, under the same kid, must not take its place.
func TestStatusCopiedHash(t *testing.T) {
	own, copied := batch("XA", "XXA-kid1", "UCI", later, someUCI), batch("XB", "XXA-kid1", "UCI", later, someUCI)
	for name, order := range map[string][2]string{"copied later": {own, copied}, "copied earlier": {copied, own}} {
		t.Run(name, func(t *testing.T) {
			s := new(Status)
			for _, b := range order {
				if err := s.AddBatches("specimen batch", []byte(b)); err != nil {
					t.Fatal(err)
				}
			}
			if s.Len() != 2 {
				t.Errorf("%d hashes", s.Len())
			}
			if _, found := s.Find(key(t, DCC, "XXA", "XXA-kid1"), StatusQuery{UCI: someUCI}); !found {
				t.Error("not revoked any more")
			}
		})
	}
}

// TestStatusWithoutCountry: a source that names no country, such as a list of
// the operator's own, speaks for the key it names.
func TestStatusWithoutCountry(t *testing.T) {
	s := new(Status)
	s.Revoke("own list", "", "XXA-kid1", dccrevocation.TypeUCI, hash128(someUCI))
	if hit, found := s.Find(key(t, DCC, "XXA", "XXA-kid1"), StatusQuery{UCI: someUCI}); !found || hit.Source != "own list" {
		t.Errorf("%v %v", hit, found)
	}
	if _, found := s.Find(key(t, DCC, "XXA", "XXA-kid2"), StatusQuery{UCI: someUCI}); found {
		t.Error("another key's certificate is revoked")
	}
	if _, found := new(Status).Find(key(t, DCC, "XXA", "XXA-kid1"), StatusQuery{UCI: someUCI}); found {
		t.Error("an empty list revokes")
	}
}

// TestAddBatchesRefuses: one defect refuses the whole file, and nothing of it
// counts.
func TestAddBatchesRefuses(t *testing.T) {
	good := batch("XA", "XXA-kid1", "UCI", later, someUCI)
	for _, tt := range []struct {
		name, data string
		want       format.Defect
	}{
		{"empty", "", strictjson.ErrMalformed},
		{"garbage", "no JSON", strictjson.ErrMalformed},
		{"a number", "5", dccrevocation.ErrNotBatch},
		{"no country", strings.Replace(good, `"country":"XA",`, "", 1), dccrevocation.ErrNotBatch},
		{"a country of three letters", batch("XXA", "XXA-kid1", "UCI", later, someUCI), dccrevocation.ErrCountry},
		{"an unknown hash type", batch("XA", "XXA-kid1", "NAME", later, someUCI), dccrevocation.ErrHashType},
		{"a kid of three bytes", batch("XA", "XXA", "UCI", later, someUCI), dccrevocation.ErrKID},
		{"a broken date", batch("XA", "XXA-kid1", "UCI", "tomorrow", someUCI), dccrevocation.ErrExpires},
		{"no hashes", batch("XA", "XXA-kid1", "UCI", later), dccrevocation.ErrEntryCount},
		{"a short hash", strings.Replace(good, `{"hash":"`, `{"hash":"AA==`, 1), dccrevocation.ErrHash},
		{"a member twice", strings.Replace(good, `"country":"XA"`, `"country":"XA","country":"XB"`, 1), strictjson.ErrDuplicateName},
		{"a good batch and a broken one", "[" + good + `,{"country":"XA"}]`, dccrevocation.ErrNotBatch},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := new(Status)
			if err := s.AddBatches("specimen batch", []byte(tt.data)); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if s.Len() != 0 {
				t.Errorf("%d hashes of a refused file", s.Len())
			}
		})
	}
}

// TestBareKeyIsRevocable: batches name a country by two letters and trust lists
// by three; a key without a certificate must not fall between them.
func TestBareKeyIsRevocable(t *testing.T) {
	l := new(List)
	pin, data := signedList(t, []entrySpec{{domain: "DCC", participant: "AUT", usage: "DSC", bare: true, kid: "AUT-kid1"}})
	if err := l.Add(Source{Name: "list", Data: data, Pins: pin}); err != nil {
		t.Fatal(err)
	}
	s := new(Status)
	if err := s.AddBatches("specimen batch", []byte(batch("AT", "AUT-kid1", "UCI", later, someUCI))); err != nil {
		t.Fatal(err)
	}
	if _, found := s.Find(l.All()[0], StatusQuery{UCI: someUCI}); !found {
		t.Error("not revoked")
	}
}

func TestStatusLen(t *testing.T) {
	s := new(Status)
	if s.Len() != 0 {
		t.Error("a new status is not empty")
	}
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprint(i)
	}
	expires := until.Format(time.RFC3339)
	data := "[" + batch("XA", "XXA-kid1", "UCI", expires, many...) + "," + batch("XA", "XXA-kid2", "UCI", expires, many[:10]...) + "]"
	if err := s.AddBatches("specimen batch", []byte(data)); err != nil {
		t.Fatal(err)
	}
	if s.Len() != 1010 {
		t.Errorf("%d hashes", s.Len())
	}
}
