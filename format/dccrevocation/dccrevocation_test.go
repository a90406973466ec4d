package dccrevocation

import (
	"bytes"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

func vector(t *testing.T, name string) []byte {
	t.Helper()
	dir := os.Getenv("AMPOULE_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	data, err := os.ReadFile(filepath.Join(dir, "trust", "eu-revocation", name))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no vectors (set AMPOULE_VECTORS): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Hashes computed from national test certificates, all three kinds.
func TestPublishedHashes(t *testing.T) {
	var cases []struct {
		File           string
		Cose           string
		Alg            int
		Iss, Ci, Co    string
		UCI            string
		SIGNATURE      string
		CountryUCI_iss string `json:"COUNTRYCODEUCI_iss"`
		CountryUCI_co  string `json:"COUNTRYCODEUCI_co"`
	}
	if err := json.Unmarshal(vector(t, "hashes.json"), &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 40 {
		t.Fatalf("only %d cases", len(cases))
	}
	algorithms := map[int]int{}
	for _, tc := range cases {
		cose, err := hex.DecodeString(tc.Cose)
		if err != nil {
			t.Fatal(err)
		}
		algorithms[tc.Alg]++
		// The signature is the last field of COSE_Sign1, a byte string: 58 and
		// one byte of length, or 59 and two. Two codes of ES are P-384 under ES256.
		lengths := map[int][]int{-7: {64, 96}, -37: {256, 384, 512}}[tc.Alg]
		var sig []byte
		for _, n := range lengths {
			head := []byte{0x58, byte(n)}
			if n > 255 {
				head = []byte{0x59, byte(n >> 8), byte(n)}
			}
			if len(cose) > n+3 && bytes.HasSuffix(cose[:len(cose)-n], head) {
				sig = cose[len(cose)-n:]
			}
		}
		h, err := Signature(sig, tc.Alg == -7)
		if err != nil {
			t.Errorf("%s: %v", tc.File, err)
		}
		for _, pair := range []struct {
			name string
			got  Hash128
			want string
		}{
			{"SIGNATURE", h, tc.SIGNATURE}, {"UCI", UCI(tc.Ci), tc.UCI},
			{"iss", CountryUCI(tc.Iss, tc.Ci), tc.CountryUCI_iss}, {"co", CountryUCI(tc.Co, tc.Ci), tc.CountryUCI_co},
		} {
			if got := base64.StdEncoding.EncodeToString(pair.got[:]); got != pair.want {
				t.Errorf("%s: %s is %s, want %s", tc.File, pair.name, got, pair.want)
			}
		}
	}
	if algorithms[-7] == 0 || algorithms[-37] == 0 {
		t.Errorf("algorithms seen: %v", algorithms)
	}
}

func TestPublishedBatch(t *testing.T) {
	var example struct{ Batch json.RawMessage }
	if err := json.Unmarshal(vector(t, "batch-example.json"), &example); err != nil {
		t.Fatal(err)
	}
	got, err := Parse(example.Batch)
	if err != nil {
		t.Fatal(err)
	}
	want := []Batch{{
		Country: "XA", Expires: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), Type: TypeSignature,
		Hashes: []Hash128{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A certificate and its twin with n-s must have one hash.
func TestSignatureTwin(t *testing.T) {
	sig := bytes.Repeat([]byte{0x17}, 64)
	twin := bytes.Clone(sig)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(elliptic.P256().Params().N, s).FillBytes(twin[32:])
	a, errA := Signature(sig, true)
	b, errB := Signature(twin, true)
	if errA != nil || errB != nil || a != b {
		t.Errorf("%x %v, %x %v", a, errA, b, errB)
	}
	if c, err := Signature(twin, false); err != nil || c == a {
		t.Errorf("RSA must hash the whole: %x %v", c, err)
	}
	for _, n := range []int{0, 1, 63, 65, 70, 72, 128} {
		if _, err := Signature(make([]byte, n), true); !errors.Is(err, ErrSignature) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := Signature(nil, false); !errors.Is(err, ErrSignature) {
		t.Errorf("empty: %v", err)
	}
}

// SHA-256("abc") is the first example of FIPS 180-4.
func TestTruncation(t *testing.T) {
	const want = "ba7816bf8f01cfea414140de5dae2223"
	for _, h := range []Hash128{UCI("abc"), CountryUCI("ab", "c"), CountryUCI("", "abc")} {
		if got := hex.EncodeToString(h[:]); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

const good = `{"country":"XA","expires":"2027-01-01T01:00:00+01:00","kid":"2Rk3X8HntrI=","hashType":"UCI","entries":[{"hash":"AAECAwQFBgcICQoLDA0ODw=="}]}`

func TestParseForms(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want int
	}{
		{good, 1}, {"[" + good + "," + good + "]", 2}, {`{"batches":[` + good + `]}`, 1}, {"[]", 0}, {`{"batches":[]}`, 0},
		{strings.Replace(good, "rI=", "rI", 1), 1}, {strings.Replace(good, "rI=", "r_=", 1), 0},
		{strings.Replace(good, `"country"`, `"more":[1],"country"`, 1), 1},
	} {
		got, err := Parse([]byte(tc.in))
		if len(got) != tc.want || (err != nil && !errors.Is(err, ErrKID)) {
			t.Errorf("Parse(%s) = %d batches, %v; want %d", tc.in, len(got), err, tc.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, old, new string
		want           error
	}{
		{"no country", `"country":"XA",`, ``, ErrNotBatch},
		{"country case", `"XA"`, `"xa"`, ErrCountry},
		{"country alpha-3", `"XA"`, `"XXA"`, ErrCountry},
		{"name case", `"country"`, `"Country"`, ErrNotBatch},
		{"no expires", `"2027-01-01T01:00:00+01:00"`, `null`, ErrNotBatch},
		{"expires date only", `2027-01-01T01:00:00+01:00`, `2027-01-01`, ErrExpires},
		{"kid short", `2Rk3X8HntrI=`, `2Rk3`, ErrKID},
		{"kid long", `2Rk3X8HntrI=`, `2Rk3X8HntrI2`, ErrKID},
		{"kid two paddings", `2Rk3X8HntrI=`, `2Rk3X8Hntr==`, ErrKID},
		{"kid line break", `2Rk3X8HntrI=`, `2Rk3X8Hntr\nI=`, ErrKID},
		{"kid of other case", `2Rk3X8HntrI=`, `unknown_kid`, ErrKID},
		{"hash type", `"UCI"`, `"uci"`, ErrHashType},
		{"no entries", `[{"hash":"AAECAwQFBgcICQoLDA0ODw=="}]`, `[]`, ErrEntryCount},
		{"entries null", `[{"hash":"AAECAwQFBgcICQoLDA0ODw=="}]`, `null`, ErrNotBatch},
		{"too many", `[{"hash`, `[` + strings.Repeat(`{"hash":"AAECAwQFBgcICQoLDA0ODw=="},`, MaxEntries) + `{"hash`, ErrEntryCount},
		{"hash text", `{"hash":"AAECAwQFBgcICQoLDA0ODw=="}`, `"AAECAwQFBgcICQoLDA0ODw=="`, ErrNotBatch},
		{"hash of 15", `AAECAwQFBgcICQoLDA0ODw==`, `AAECAwQFBgcICQoLDA0O`, ErrHash},
		{"hash of 32", `AAECAwQFBgcICQoLDA0ODw==`, `AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8=`, ErrHash},
		{"hash without padding", `Dw==`, `Dw`, ErrHash},
		{"hash with stray bits", `Dw==`, `Dx==`, ErrHash},
		{"country twice", `"country":"XA"`, `"country":"XA","country":"XB"`, strictjson.ErrDuplicateName},
		{"batches no array", good, `{"batches":{}}`, ErrNotBatch},
		{"number", good, `7`, ErrNotBatch},
		{"array of numbers", good, `[7]`, ErrNotBatch},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := strings.Replace(good, tc.old, tc.new, 1)
			if _, err := Parse([]byte(in)); in == good || !errors.Is(err, tc.want) {
				t.Errorf("Parse = %v, want %v", err, tc.want)
			}
		})
	}
}

// One bad batch must not leave a shorter list behind.
func TestParseAllOrNothing(t *testing.T) {
	if got, err := Parse([]byte("[" + good + ",{}]")); err == nil || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEncodeRefuses(t *testing.T) {
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		b    Batch
		want error
	}{
		{Batch{"XA", at, nil, TypeUCI, nil}, ErrEntryCount},
		{Batch{"XA", at, nil, TypeUCI, make([]Hash128, MaxEntries+1)}, ErrEntryCount},
		{Batch{"XA", at, []byte{}, TypeUCI, make([]Hash128, 1)}, ErrKID},
		{Batch{"XA", time.Time{}, nil, TypeUCI, make([]Hash128, 1)}, ErrExpires},
		{Batch{"X", at, nil, TypeUCI, make([]Hash128, 1)}, ErrCountry},
		{Batch{"XA", at, nil, "", make([]Hash128, 1)}, ErrHashType},
	} {
		if _, err := tc.b.Encode(); !errors.Is(err, tc.want) {
			t.Errorf("Encode(%+v) = %v, want %v", tc.b, err, tc.want)
		}
	}
}

func TestExpired(t *testing.T) {
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	b := Batch{Expires: at}
	if b.Expired(at.Add(-time.Second)) || !b.Expired(at) {
		t.Error("a batch lasts up to, and not including, its expiry")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, "2Rk3X8HntrI=", UnknownKID, 1)))
	f.Add([]byte(`{"batches":[` + good + `]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		batches, err := Parse(data)
		if err != nil {
			return
		}
		for _, b := range batches {
			// Encode writes whole seconds.
			b.Expires = b.Expires.Truncate(time.Second)
			out, err := b.Encode()
			if errors.Is(err, ErrExpires) {
				continue // a fraction of the year 1 that truncates to the zero time
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := Parse(out)
			if err != nil || len(again) != 1 {
				t.Fatalf("%s: %v", out, err)
			}
			if diff := cmp.Diff(b, again[0], cmp.Comparer(time.Time.Equal)); diff != "" {
				t.Error(diff)
			}
		}
	})
}
