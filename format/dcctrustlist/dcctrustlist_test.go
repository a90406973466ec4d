package dcctrustlist

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

var raw = []byte("stands for a certificate")

// item is a good entry as the gateway writes it.
func item() map[string]any {
	sum := sha256.Sum256(raw)
	return map[string]any{
		"kid": base64.StdEncoding.EncodeToString(sum[:8]), "timestamp": "2021-06-01T10:00:00+02:00", "country": "AT",
		"certificateType": "DSC", "thumbprint": hex.EncodeToString(sum[:]),
		"signature": "MAA=", "rawData": base64.StdEncoding.EncodeToString(raw),
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParseForms(t *testing.T) {
	sum := sha256.Sum256(raw)
	want := []Entry{{
		KID: sum[:8], Timestamp: time.Date(2021, 6, 1, 8, 0, 0, 0, time.UTC), Country: "AT", Type: TypeDSC,
		Thumbprint: hex.EncodeToString(sum[:]), Signature: []byte{0x30, 0}, Raw: raw,
	}}
	array := encode(t, []any{item()})
	object := encode(t, map[string]any{"certificates": []any{item()}, "more": 1})
	line := base64.StdEncoding.EncodeToString(make([]byte, 64))
	for _, tc := range []struct {
		name   string
		in     []byte
		body   []byte
		signed bool
	}{
		{"array", array, array, false},
		{"object", object, object, false},
		{"leading space", append([]byte(" \n"), array...), append([]byte(" \n"), array...), false},
		{"signed", append([]byte(line+"\n"), object...), object, true},
		{"signed, CR LF", append([]byte(line+"\r\n"), object...), object, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.Entries, cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Error(diff)
			}
			if !bytes.Equal(got.Body, tc.body) || (got.Signature != nil) != tc.signed {
				t.Errorf("body %q signature %x", got.Body, got.Signature)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for _, tc := range []struct {
		in   string
		want error
	}{
		{``, strictjson.ErrMalformed},
		{`{}`, ErrNotList},
		{`{"certificates":{}}`, ErrNotList},
		{`{"Certificates":[]}`, ErrNotList},
		{`{"certificates":[],"certificates":[]}`, strictjson.ErrDuplicateName},
		{`[]]`, strictjson.ErrMalformed},
		{`null`, ErrSignatureLine},
		{"AAAA\n[]", ErrSignatureLine},
		{long + "\n[]", ErrSignatureLine},
		{long[:86] + "==", ErrSignatureLine},
		{"*\n[]", ErrSignatureLine},
		{"\uFEFF[]", ErrSignatureLine},
		{"[" + string(bytes.Repeat([]byte("0,"), MaxEntries)) + "0]", ErrTooManyEntries},
	} {
		if _, err := Parse([]byte(tc.in)); !errors.Is(err, tc.want) {
			t.Errorf("Parse(%.40q) = %v, want %v", tc.in, err, tc.want)
		}
	}
}

func TestEntries(t *testing.T) {
	for _, tc := range []struct {
		name     string
		edit     func(e map[string]any)
		want     error
		problems []Problem
	}{
		{"good", func(map[string]any) {}, nil, nil},
		{"unknown type", func(e map[string]any) { e["certificateType"] = "ALLOWED_ISSUER" }, nil, nil},
		{"time without offset", func(e map[string]any) { e["timestamp"] = "2021-06-01T10:00:00" }, nil, nil},
		{"no thumbprint", func(e map[string]any) { delete(e, "thumbprint") }, nil, nil},
		{"upper-case thumbprint", func(e map[string]any) { e["thumbprint"] = string(bytes.ToUpper([]byte(e["thumbprint"].(string)))) }, nil, nil},
		{"no signature", func(e map[string]any) { delete(e, "signature") }, nil, nil},
		{"custom kid", func(e map[string]any) { e["kid"] = "ABCDEFGH" }, nil, []Problem{ProblemKIDNotDerived}},

		{"kid missing", func(e map[string]any) { delete(e, "kid") }, ErrEntry, nil},
		{"kid number", func(e map[string]any) { e["kid"] = 1 }, ErrEntry, nil},
		{"kid empty", func(e map[string]any) { e["kid"] = "" }, ErrKID, nil},
		{"kid text", func(e map[string]any) { e["kid"] = "*" }, ErrKID, nil},
		{"kid under another case", func(e map[string]any) { e["KID"] = e["kid"]; delete(e, "kid") }, ErrEntry, nil},
		{"country", func(e map[string]any) { e["country"] = "Austria" }, ErrCountry, nil},
		{"timestamp", func(e map[string]any) { e["timestamp"] = "1.6.2021" }, ErrTimestamp, nil},
		{"thumbprint", func(e map[string]any) { e["thumbprint"] = "00" }, ErrThumbprint, nil},
		{"other certificate", func(e map[string]any) { e["rawData"] = "AAAA" }, ErrThumbprint, nil},
		{"raw", func(e map[string]any) { e["rawData"] = "*" }, ErrRawData, nil},
		{"raw missing", func(e map[string]any) { delete(e, "rawData") }, ErrRawData, nil},
		{"cms", func(e map[string]any) { e["signature"] = "*" }, ErrCMS, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := item()
			tc.edit(e)
			list, err := Parse(encode(t, []any{e, 7, item()}))
			if err != nil {
				t.Fatal(err)
			}
			if got := list.Entries[0]; !errors.Is(got.Err, tc.want) || !slices.Equal(got.Problems, tc.problems) || got.Deleted {
				t.Errorf("%v %v, want %v %v", got.Err, got.Problems, tc.want, tc.problems)
			}
			if !errors.Is(list.Entries[1].Err, ErrEntry) {
				t.Errorf("a number: %v", list.Entries[1].Err)
			}
			if last := list.Entries[2]; last.Err != nil || !bytes.Equal(last.Raw, raw) {
				t.Errorf("the last entry was lost: %+v", last)
			}
		})
	}
}

func TestDeleted(t *testing.T) {
	full, bare := item(), item()
	full["signature"], bare["signature"] = nil, nil
	bare["rawData"], bare["thumbprint"] = nil, nil
	list, err := Parse(encode(t, []any{full, bare}))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range list.Entries {
		if !e.Deleted || e.Err != nil || len(e.KID) != 8 || e.Signature != nil {
			t.Errorf("%d: %+v", i, e)
		}
	}
}

func TestVerifySignature(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	body := encode(t, []any{item()})
	digest := sha256.Sum256(body)
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	line := base64.StdEncoding.EncodeToString(signature) + "\n"

	list, err := Parse(append([]byte(line), body...))
	if err != nil {
		t.Fatal(err)
	}
	if err := list.VerifySignature(key.Public()); err != nil {
		t.Errorf("genuine: %v", err)
	}
	if err := list.VerifySignature(other.Public()); !errors.Is(err, ErrSignature) {
		t.Errorf("other key: %v", err)
	}
	for _, k := range []any{p384.Public(), nil, []byte("x")} {
		if err := list.VerifySignature(k); !errors.Is(err, ErrKeyType) {
			t.Errorf("%T: %v", k, err)
		}
	}
	// One more line break changes no entry, but it does change the bytes.
	for name, in := range map[string][]byte{
		"appended": append(append([]byte(line), body...), '\n'),
		"before":   append([]byte(line+"\n"), body...),
	} {
		list, err := Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := list.VerifySignature(key.Public()); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	unsigned, err := Parse(body)
	if err != nil {
		t.Fatal(err)
	}
	if err := unsigned.VerifySignature(key.Public()); !errors.Is(err, ErrNoSignature) {
		t.Errorf("unsigned: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	body := encode(f, map[string]any{"certificates": []any{item()}})
	f.Add(body)
	f.Add(append([]byte(base64.StdEncoding.EncodeToString(make([]byte, 64))+"\n"), body...))
	f.Add([]byte(`[{"kid":"AA==","country":"XA","certificateType":"DSC","signature":null}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := Parse(data)
		if err != nil {
			return
		}
		if !bytes.HasSuffix(data, list.Body) {
			t.Error("the body is not the rest of the file")
		}
		for _, e := range list.Entries {
			if e.Err != nil || e.Deleted {
				continue
			}
			sum := sha256.Sum256(e.Raw)
			derived := bytes.Equal(e.KID, sum[:8])
			if len(e.Raw) == 0 || len(e.Country) != 2 || derived == slices.Contains(e.Problems, ProblemKIDNotDerived) {
				t.Errorf("a good entry that is not: %+v", e)
			}
		}
	})
}
