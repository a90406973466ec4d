package interop

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/dccrevocation"
	"ampoule/format/didlist"
	"ampoule/trust"
)

func runTrust(t *testing.T, b *board, dir string) {
	judgeDIDLists(t, b, dir)
	judgeRevocationHashes(t, b, dir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var unbuilt []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "did-trustlist" && e.Name() != "eu-revocation" {
			unbuilt = append(unbuilt, e.Name())
		}
	}
	t.Logf("not judged, since the format is not built: trust/{%s}", strings.Join(unbuilt, ","))
}

// judgeDIDLists checks the proof of every published and tampered document.
func judgeDIDLists(t *testing.T, b *board, dir string) {
	var cases []struct {
		File          string
		ID            string
		ProofVerifies bool
		Entries       int
	}
	manifest := filepath.Join(dir, "did-trustlist", "manifest.json")
	if _, err := os.Stat(manifest); err != nil {
		return
	}
	readJSON(t, manifest, &cases)
	pins := source(t, dir)
	for _, c := range cases {
		r := result{format: "trust", group: "did-trustlist", name: c.File, judgement: agree}
		data, err := os.ReadFile(filepath.Join(dir, c.File))
		if err != nil {
			t.Fatal(err)
		}
		list := new(trust.List)
		err = list.Add(trust.Source{Name: c.File, Data: data, Pins: pins.Pins})
		if (err == nil) != c.ProofVerifies {
			r.judgement, r.detail = disagree, fmt.Sprintf("proof verifies %v, got %v", c.ProofVerifies, err)
		} else if doc, err := didlist.Parse(data); c.ProofVerifies && (err != nil || len(doc.Entries)+len(doc.References) != c.Entries || doc.ID != c.ID) {
			r.judgement, r.detail = disagree, fmt.Sprintf("want %d entries: %v", c.Entries, err)
		}
		b.add(r)
	}
}

// source collects the pinned keys: the signing documents beside the lists.
func source(t *testing.T, dir string) (s trust.Source) {
	files, err := filepath.Glob(filepath.Join(dir, "did-trustlist", "signer", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		pins, err := trust.ParsePin(data)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		s.Pins = append(s.Pins, pins...)
	}
	return s
}

// judgeRevocationHashes computes the hashes of the EU scheme.
func judgeRevocationHashes(t *testing.T, b *board, dir string) {
	path := filepath.Join(dir, "eu-revocation", "hashes.json")
	if _, err := os.Stat(path); err != nil {
		return
	}
	var cases []struct {
		File, COSE, ISS, CI, CO string
		Alg                     int
		UCI                     string
		SIGNATURE               string
		WithISS                 string `json:"COUNTRYCODEUCI_iss"`
		WithCO                  string `json:"COUNTRYCODEUCI_co"`
	}
	readJSON(t, path, &cases)
	for _, c := range cases {
		r := result{format: "trust", group: "eu-revocation", name: c.File, judgement: agree}
		msg, err := hex.DecodeString(c.COSE)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := signatureHash(msg, c.Alg == -7)
		text := func(h dccrevocation.Hash128) string { return base64.StdEncoding.EncodeToString(h[:]) }
		for name, pair := range map[string][2]string{
			"UCI":                     {text(dccrevocation.UCI(c.CI)), c.UCI},
			"SIGNATURE":               {text(sig), c.SIGNATURE},
			"COUNTRYCODEUCI with iss": {text(dccrevocation.CountryUCI(c.ISS, c.CI)), c.WithISS},
			"COUNTRYCODEUCI with co":  {text(dccrevocation.CountryUCI(c.CO, c.CI)), c.WithCO},
		} {
			if err != nil || pair[1] != "" && pair[0] != pair[1] {
				r.judgement, r.detail = disagree, fmt.Sprintf("%s: %s, want %s (%v)", name, pair[0], pair[1], err)
			}
		}
		b.add(r)
	}
}

func signatureHash(msg []byte, ecdsa bool) (dccrevocation.Hash128, error) {
	m, err := cose.Parse(msg, cbor.DefaultLimits)
	if err != nil {
		return dccrevocation.Hash128{}, err
	}
	return dccrevocation.Signature(m.Signature, ecdsa)
}
