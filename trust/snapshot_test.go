package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/dccfilter"
	"ampoule/format/dccrevocation"
	"ampoule/format/shc"
	"ampoule/format/statuslist"

	"github.com/google/go-cmp/cmp"
)

func many(series string, n int) []dccrevocation.Hash128 {
	out := make([]dccrevocation.Hash128, n)
	for i := range out {
		out[i] = hash128(fmt.Sprint(series, i))
	}
	return out
}

func specimenSnapshot(t testing.TB) *Snapshot {
	t.Helper()
	s := new(Snapshot)
	s.Add(SnapshotGroup{SchemeSignature, "XA", "XXA-kid1", PurposeRevoked, many("revoked", 1000)})
	s.Add(SnapshotGroup{SchemeSignature, "XA", "XXA-kid1", PurposeSuperseded, many("corrected", 3)})
	s.Add(SnapshotGroup{SchemeSignature, "XA", "XXA-kid1", PurposeDose, many("warm", 2)})
	s.Add(SnapshotGroup{SchemeUCI, "XA", "", PurposeRevoked, many("identifier", 70)})
	s.Add(SnapshotGroup{SchemeRID, "", "thumbprint", PurposeSuperseded, []dccrevocation.Hash128{HashRID("rid1")}})
	f, err := dccfilter.New(dccfilter.VarHashList, 1e-9, many("foreign", 20))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddFilter(SnapshotFilter{"XB", "XXB-kid1", f}); err != nil {
		t.Fatal(err)
	}
	return s
}

func encoded(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestSnapshotRoundTrip(t *testing.T) {
	s := specimenSnapshot(t)
	data := encoded(t, s)
	got, err := ParseSnapshot(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Groups, got.Groups); diff != "" {
		t.Error(diff)
	}
	if !IsSnapshot(data) || len(got.Filters) != 1 {
		t.Errorf("%d filters", len(got.Filters))
	}
	// Whatever the order in which it was filled, and however often.
	other := new(Snapshot)
	for _, g := range slices.Backward(s.Groups) {
		half := len(g.Hashes) / 2
		for _, part := range [][]dccrevocation.Hash128{g.Hashes[half:], g.Hashes, g.Hashes[:half]} {
			g.Hashes = part
			other.Add(g)
		}
	}
	other.Filters = s.Filters
	if !bytes.Equal(encoded(t, other), data) {
		t.Error("the same content has two encodings")
	}
	// 16 bytes a hash, and little else.
	if most := 16*1076 + 400; len(data) > most {
		t.Errorf("%d bytes, at most %d", len(data), most)
	}
	status := new(Status)
	if err := status.Add("specimen snapshot", data); err != nil {
		t.Fatal(err)
	}
	if status.Len() != 1074 {
		t.Errorf("%d hashes", status.Len())
	}
	again, err := status.Snapshot()
	if err != nil || !bytes.Equal(encoded(t, again), data) {
		t.Errorf("read and written as another: %v", err)
	}
}

func TestSnapshotRefused(t *testing.T) {
	h := many("x", 2)
	slices.SortFunc(h, compareHashes)
	raw := func(hashes ...dccrevocation.Hash128) []byte {
		var b []byte
		for _, h := range hashes {
			b = append(b, h[:]...)
		}
		return b
	}
	group := func(scheme, country, kid, purpose string, hashes []byte) []byte {
		g := cbor.AppendText(cbor.AppendText(cbor.AppendArray(nil, 5), scheme), country)
		return cbor.AppendBytes(cbor.AppendText(cbor.AppendBytes(g, []byte(kid)), purpose), hashes)
	}
	document := func(version int64, groups ...[]byte) []byte {
		d := cbor.AppendArray(cbor.AppendInt(bytes.Clone(snapshotBegins), version), len(groups))
		for _, g := range groups {
			d = append(d, g...)
		}
		return cbor.AppendArray(d, 0)
	}
	good := group("SIGNATURE", "XA", "kid", "revoked", raw(h...))
	later := group("UCI", "XA", "kid", "revoked", raw(h...))
	if _, err := ParseSnapshot(document(1, good, later)); err != nil {
		t.Fatal(err)
	}
	indefinite := append(bytes.Clone(document(1)[:len(document(1))-2]), 0x9f, 0xff, 0x80)
	for _, tc := range []struct {
		name string
		in   []byte
		want error
	}{
		{"no bytes", nil, cbor.ErrMalformed},
		{"another kind", cbor.AppendArray(nil, 0), ErrNotSnapshot},
		{"version 2", document(2, good), ErrSnapshotVersion},
		{"cut", document(1, good)[:60], cbor.ErrMalformed},
		{"a byte after", append(document(1, good), 0), cbor.ErrTrailing},
		{"groups out of order", document(1, later, good), ErrSnapshotField},
		{"a group twice", document(1, good, good), ErrSnapshotField},
		{"hashes out of order", document(1, group("UCI", "", "", "revoked", raw(h[1], h[0]))), ErrSnapshotField},
		{"a hash twice", document(1, group("UCI", "", "", "revoked", raw(h[0], h[0]))), ErrSnapshotField},
		{"half a hash", document(1, group("UCI", "", "", "revoked", raw(h[0])[:15])), ErrSnapshotField},
		{"no hashes", document(1, group("UCI", "", "", "revoked", nil)), ErrSnapshotField},
		{"another scheme", document(1, group("NAME", "", "", "revoked", raw(h...))), ErrSnapshotField},
		{"another purpose", document(1, group("UCI", "", "", "suspended", raw(h...))), ErrSnapshotField},
		{"country of three letters", document(1, group("UCI", "XXA", "", "revoked", raw(h...))), ErrSnapshotField},
		{"a long kid", document(1, group("UCI", "XA", string(make([]byte, 65)), "revoked", raw(h...))), ErrSnapshotField},
		{"an indefinite array", indefinite, ErrSnapshotForm},
		{"no filters", cbor.AppendInt(cbor.AppendArray(cbor.AppendInt(bytes.Clone(snapshotBegins), 1), 0), 0), ErrSnapshotField},
		{"too large", append(bytes.Clone(snapshotBegins), make([]byte, MaxSnapshot)...), ErrSnapshotSize},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := ParseSnapshot(tc.in); !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
			s := new(Status)
			if err := s.AddSnapshot("specimen", tc.in); err == nil || s.Len() != 0 {
				t.Errorf("%d hashes of a refused snapshot", s.Len())
			}
		})
	}
}

// What an issuer says of the purpose goes before a batch, which has none; and of
// two that say it, the harder.
func TestPurposes(t *testing.T) {
	sig := bytes.Repeat([]byte{7}, 64)
	h := hash128(string(sig[:32]))
	k := key(t, DCC, "XXA", "XXA-kid1")
	say := func(p Purpose) func(s *Status) {
		return func(s *Status) {
			snapshot := new(Snapshot)
			snapshot.Add(SnapshotGroup{SchemeSignature, "XA", "XXA-kid1", p, []dccrevocation.Hash128{h}})
			if err := s.Add("snapshot", encoded(t, snapshot)); err != nil {
				t.Fatal(err)
			}
		}
	}
	guess := func(s *Status) { s.Revoke("batch", "XA", "XXA-kid1", dccrevocation.TypeSignature, h) }
	foreign := func(s *Status) {
		f, err := dccfilter.New(dccfilter.Bloom, 1e-9, []dccrevocation.Hash128{h})
		if err != nil {
			t.Fatal(err)
		}
		s.AddFilter("filter", "XA", "XXA-kid1", f)
	}
	for _, tc := range []struct {
		name        string
		fill        []func(*Status)
		want        Purpose // "" for not found
		unconfirmed bool
	}{
		{"a batch", []func(*Status){guess}, PurposeRevoked, false},
		{"superseded", []func(*Status){say(PurposeSuperseded)}, PurposeSuperseded, false},
		{"a batch and superseded", []func(*Status){guess, say(PurposeSuperseded)}, PurposeSuperseded, false},
		{"superseded and revoked", []func(*Status){say(PurposeSuperseded), say(PurposeRevoked)}, PurposeRevoked, false},
		{"the dose alone", []func(*Status){say(PurposeDose)}, "", false},
		{"the dose and superseded", []func(*Status){say(PurposeDose), say(PurposeSuperseded)}, PurposeSuperseded, false},
		{"a filter alone", []func(*Status){foreign}, PurposeRevoked, true},
		{"a filter and a batch", []func(*Status){foreign, guess}, PurposeRevoked, false},
		{"nothing", nil, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := new(Status)
			for _, f := range tc.fill {
				f(s)
			}
			hit, found := s.Find(k, StatusQuery{Signature: sig})
			if found != (tc.want != "") || hit.Purpose != tc.want || hit.Unconfirmed != tc.unconfirmed {
				t.Errorf("%v, %+v", found, hit)
			}
			if _, found := s.Find(key(t, DCC, "XXA", "XXA-kid2"), StatusQuery{Signature: sig}); found {
				t.Error("under another key, too")
			}
			other := key(t, DCC, "XXB", "XXA-kid1")
			other.Country = "XB"
			if _, found := s.Find(other, StatusQuery{Signature: sig}); found {
				t.Error("under another country, too")
			}
		})
	}
	s := new(Status)
	say(PurposeDose)(s)
	if hit, found := s.FindDose(k, StatusQuery{Signature: sig}); !found || hit.Purpose != PurposeDose {
		t.Errorf("the dose: %v, %+v", found, hit)
	}
	if _, found := (*Status)(nil).FindDose(k, StatusQuery{}); found || s.Len() != 0 {
		t.Error("the dose of nothing, or a dose that counts as revoked")
	}
}

// An identifier may be listed by one hash as corrected and by a batch as revoked.
func TestPurposeOfAnotherHash(t *testing.T) {
	k := key(t, DCC, "XXA", "XXA-kid1")
	sig := bytes.Repeat([]byte{7}, 64)
	s := new(Status)
	s.Revoke("batch", "XA", "XXA-kid1", dccrevocation.TypeSignature, hash128(string(sig[:32])))
	snapshot := new(Snapshot)
	snapshot.Add(SnapshotGroup{SchemeUCI, "XA", "", PurposeSuperseded, []dccrevocation.Hash128{hash128(someUCI)}})
	if err := s.Add("snapshot", encoded(t, snapshot)); err != nil {
		t.Fatal(err)
	}
	if hit, _ := s.Find(k, StatusQuery{Signature: sig, UCI: someUCI}); hit.Purpose != PurposeSuperseded {
		t.Errorf("%+v", hit)
	}
}

// What only a batch calls revoked is superseded in a snapshot where another source
// says so; what a snapshot calls revoked stays so.
func TestSnapshotOfSeveralSources(t *testing.T) {
	h := many("x", 3)
	s := new(Status)
	for _, hash := range h[:2] {
		s.Revoke("batch", "XA", "kid", dccrevocation.TypeUCI, hash)
	}
	said := new(Snapshot)
	said.Add(SnapshotGroup{SchemeUCI, "XA", "kid", PurposeSuperseded, h[1:]})
	said.Add(SnapshotGroup{SchemeUCI, "XA", "kid", PurposeRevoked, h[2:]})
	if err := s.Add("snapshot", encoded(t, said)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	want := new(Snapshot)
	want.Add(SnapshotGroup{SchemeUCI, "XA", "kid", PurposeRevoked, []dccrevocation.Hash128{h[0], h[2]}})
	want.Add(SnapshotGroup{SchemeUCI, "XA", "kid", PurposeSuperseded, h[1:]})
	if diff := cmp.Diff(want.Groups, got.Groups); diff != "" {
		t.Error(diff)
	}
}

func TestCardsInSnapshots(t *testing.T) {
	k := &Key{ID: "thumbprint"}
	s := new(Status)
	crl, err := shc.EncodeCRL("thumbprint", 1, []string{"rid1", "rid2"})
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{crl, encoded(t, specimenSnapshot(t))} {
		if err := s.Add("source", data); err != nil {
			t.Fatal(err)
		}
	}
	for rid, want := range map[string]Purpose{"rid1": PurposeSuperseded, "rid2": PurposeRevoked, "rid3": ""} {
		if hit, found := s.FindCard(k, rid, time.Now()); hit.Purpose != want || found != (want != "") {
			t.Errorf("%s: %+v", rid, hit)
		}
	}
}

// The filter of a group changes no answer.
func TestLargeGroups(t *testing.T) {
	for _, n := range []int{1, minFilter - 1, minFilter, minFilter + 1, 20_000} {
		listed := many("listed", n)
		s := new(Snapshot)
		s.Add(SnapshotGroup{SchemeUCI, "XA", "XXA-kid1", PurposeRevoked, listed})
		status := new(Status)
		if err := status.Add("s", encoded(t, s)); err != nil {
			t.Fatal(err)
		}
		g := status.groups[groupKey{SchemeUCI, "XA", "XXA-kid1"}][0]
		if (g.filter != nil) != (n >= minFilter) {
			t.Errorf("%d hashes: a filter %v", n, g.filter != nil)
		}
		for i, h := range listed {
			if !g.has(h) {
				t.Fatalf("%d of %d is lost", i, n)
			}
		}
		for i, h := range many("other", 20_000) {
			if g.has(h) {
				t.Fatalf("%d was never listed", i)
			}
		}
	}
	// Hashes that begin alike: as somebody would choose them to break the filter.
	s := new(Status)
	same := make([]dccrevocation.Hash128, 5000)
	for i := range same {
		same[i][14], same[i][15] = byte(i>>8), byte(i)
	}
	s.insert(groupKey{SchemeUCI, "", ""}, "ground", PurposeRevoked, true, same)
	for i, h := range same {
		if !s.groups[groupKey{SchemeUCI, "", ""}][0].has(h) {
			t.Fatalf("%d is lost", i)
		}
	}
}

func TestPointers(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	_, signer, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	token := func(bits int, issued time.Time, set map[int64]statuslist.Status) []byte {
		b, err := statuslist.NewBitmap(bits, 100)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range set {
			if err := b.Set(i, v); err != nil {
				t.Fatal(err)
			}
		}
		tok := statuslist.Token{URI: fmt.Sprint("https://a.example/", bits), Issued: issued, Expires: issued.AddDate(0, 0, 7), List: statuslist.StatusList{Bitmap: b}}
		if bits == 2 {
			data, err := tok.SignCWT(nil, signer, nil)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
		text, err := tok.SignJWT(nil, signer, "")
		if err != nil {
			t.Fatal(err)
		}
		return []byte(text + "\n")
	}
	credential := func(uri string, purpose statuslist.Purpose, at int64) []byte {
		b, err := statuslist.NewBitmap(1, statuslist.MinBitstring)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Set(at, 1); err != nil {
			t.Fatal(err)
		}
		subject, err := (&statuslist.Bitstring{Purpose: purpose, List: b}).Subject()
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(map[string]any{
			"id": uri, "type": []string{"BitstringStatusListCredential"}, "validFrom": now, "validUntil": now.AddDate(0, 0, 7), "credentialSubject": json.RawMessage(subject),
		})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	s := new(Status)
	for _, data := range [][]byte{
		token(2, now, map[int64]statuslist.Status{1: 1, 2: 2, 3: 3}),
		token(2, now.Add(-time.Hour), nil), // older: it takes nothing back
		token(8, now, map[int64]statuslist.Status{3: 3, 4: 4}),
		credential("https://a.example/r", statuslist.PurposeRevocation, 5),
		credential("https://a.example/s", statuslist.PurposeSuspension, 5),
	} {
		if err := s.Add("specimen", data); err != nil {
			t.Fatal(err)
		}
	}
	if s.Pointed() != 7 {
		t.Errorf("%d entries", s.Pointed())
	}
	if err := s.Add("specimen", credential("https://a.example/m", statuslist.PurposeMessage, 5)); !errors.Is(err, statuslist.ErrPurpose) {
		t.Errorf("a list of messages: %v", err)
	}
	for _, tc := range []struct {
		uri   string
		index int64
		now   time.Time
		want  Purpose
		err   error
	}{
		{"2", 0, now, "", nil}, {"2", 1, now, PurposeRevoked, nil}, {"2", 2, now, PurposeSuspended, nil}, {"2", 3, now, PurposeSuperseded, nil},
		{"2", 100, now, "", statuslist.ErrIndex}, {"2", 0, now.AddDate(0, 0, 7), "", statuslist.ErrExpired},
		{"8", 3, now, "", ErrStatusValue}, {"8", 4, now, "", ErrStatusValue}, {"8", 5, now, "", nil},
		{"r", 4, now, "", nil}, {"r", 5, now, PurposeRevoked, nil}, {"s", 5, now, PurposeSuspended, nil},
		{"r", statuslist.MinBitstring, now, "", statuslist.ErrIndex}, {"r", 4, now.AddDate(0, 0, 7), "", statuslist.ErrExpired},
		{"other", 0, now, "", ErrNoStatusList},
	} {
		t.Run(fmt.Sprint(tc.uri, tc.index, tc.err), func(t *testing.T) {
			hit, listed, err := s.FindPointer(statuslist.Reference{Index: tc.index, URI: "https://a.example/" + tc.uri}, tc.now)
			if hit.Purpose != tc.want || listed != (tc.want != "") || !errors.Is(err, tc.err) {
				t.Errorf("%+v, %v, %v", hit, listed, err)
			}
		})
	}
	if _, _, err := (*Status)(nil).FindPointer(statuslist.Reference{}, now); !errors.Is(err, ErrNoStatusList) {
		t.Error(err)
	}
}

func FuzzParseSnapshot(f *testing.F) {
	f.Add(encoded(f, specimenSnapshot(f)))
	f.Add(encoded(f, new(Snapshot)))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseSnapshot(data)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Fatalf("no reason: %v", err)
			}
			return
		}
		if !bytes.Equal(encoded(t, s), data) {
			t.Error("two encodings of one content")
		}
		if err := new(Status).Add("fuzz", data); err != nil {
			t.Error(err)
		}
	})
}

var update = flag.Bool("update", false, "write the example of docs/spec again")

// TestSnapshotExample: the example of docs/spec is what is written there, and is
// read.
func TestSnapshotExample(t *testing.T) {
	s := new(Snapshot)
	kid := KeyID("\x01\x02\x03\x04\x05\x06\x07\x08")
	s.Add(SnapshotGroup{SchemeSignature, "XA", kid, PurposeRevoked, many("specimen", 2)})
	s.Add(SnapshotGroup{SchemeSignature, "XA", kid, PurposeSuperseded, many("corrected", 1)})
	s.Add(SnapshotGroup{SchemeUCI, "XA", "", PurposeDose, []dccrevocation.Hash128{dccrevocation.UCI(someUCI)}})
	want := encoded(t, s)
	const file = "../docs/spec/examples/status.snapshot"
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("%x", want)
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../docs/spec/status-snapshot.md")
	if err != nil {
		t.Fatal(err)
	}
	plain := strings.Join(strings.Fields(string(text)), "")
	if !bytes.Equal(got, want) || !strings.Contains(plain, fmt.Sprintf("%x", want)) {
		t.Error("the example is another one: go test ./trust -run SnapshotExample -update -v")
	}
	if _, err := ParseSnapshot(got); err != nil {
		t.Error(err)
	}
}
