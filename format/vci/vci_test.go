package vci

import (
	"errors"
	"strings"
	"testing"
	"time"

	"ampoule/format"
	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/format/strictjson"
)

const (
	key  = `{"kty":"EC","kid":"3Kfdg-XwP-7gXyywtUfUADwBumDOPKMQx-iELL11W9s","use":"sig","alg":"ES256","crv":"P-256","x":"11XvRWy1I2S0EyJlyf_bWfw_TQ5CJJNLw78bHXNxcgw","y":"eZXwxvO1hvCY0KucrPfKo7yAyMT6Ajc3N7OkAB6VYy8"}`
	good = `{"issuer":{"iss":"https://issuer.example/shc","name":"State of Specimen","canonical_iss":"https://main.example","website":"https://w"},"keys":[` + key + `],"crls":[{"kid":"k","method":"rid","ctr":1,"rids":["a"]}],"lastRetrieved":"2026-01-01T00:00:00Z"}`
)

func directory(issuers ...string) []byte {
	return []byte(`{"directory":"https://list.example","time":"2026-08-22T04:43:50Z","issuerInfo":[` + strings.Join(issuers, ",") + `]}`)
}

func TestParse(t *testing.T) {
	d, err := Parse(append([]byte("\ufeff"), directory(good)...))
	if err != nil {
		t.Fatal(err)
	}
	if d.Source != "https://list.example" || !d.Time.Equal(time.Date(2026, 8, 22, 4, 43, 50, 0, time.UTC)) || len(d.Issuers) != 1 {
		t.Fatalf("%+v", d)
	}
	i := d.Issuers[0]
	if i.Err != nil || i.ISS != "https://issuer.example/shc" || i.Name != "State of Specimen" || i.Canonical != "https://main.example" ||
		len(i.Keys) != 1 || i.Keys[0].Err != nil || len(i.CRLs) != 1 || i.CRLs[0].KID != "k" {
		t.Errorf("%+v", i)
	}
}

// One entry's defect is its own.
func TestParseEntries(t *testing.T) {
	swap := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for entry, want := range map[string]error{
		`7`:                                ErrIssuer,
		`{}`:                               ErrIssuer,
		swap(`"iss"`, `"id"`):              ErrIssuer,
		swap(`"keys"`, `"key"`):            ErrIssuer,
		swap(`["a"]`, `["a b"]`):           shc.ErrRID,
		swap(`"rid",`, `"hash",`):          shc.ErrMethod,
		swap(`"crls":[`, `"crls":7,"x":[`): ErrIssuer,
	} {
		d, err := Parse(directory(entry, good))
		if err != nil || !errors.Is(d.Issuers[0].Err, want) || d.Issuers[1].Err != nil {
			t.Errorf("%s: %v, want %v", entry, err, want)
		}
	}
	d, err := Parse(directory(swap(`"kid":"3`, `"kid":"4`)))
	if err != nil || d.Issuers[0].Err != nil || !errors.Is(d.Issuers[0].Keys[0].Err, jwks.ErrKID) {
		t.Errorf("a bad key: %v", err)
	}
	for in, want := range map[string]error{
		`[]`: ErrShape, `{}`: ErrShape, `{"issuerInfo":{}}`: ErrShape, `{"issuerInfo":[],"time":"now"}`: ErrShape,
		`{"issuerInfo":[` + strings.Repeat("0,", maxIssuers) + `0]}`: ErrTooMany,
		`{"issuerInfo":[],"issuerInfo":[]}`:                          strictjson.ErrDuplicateName,
	} {
		if _, err := Parse([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.40s: %v, want %v", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(directory(good))
	f.Add(directory(`7`, `{"issuer":{"iss":"x"},"keys":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			if format.Reason(err, "") == "" {
				t.Errorf("no reason in %v", err)
			}
			return
		}
		for _, i := range d.Issuers {
			if i.Err == nil && i.ISS == "" {
				t.Errorf("%+v", i)
			}
		}
	})
}
