package interop

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/format/cbor"
	"ampoule/format/cose"
	"ampoule/format/dccrevocation"
	"ampoule/format/didlist"
	"ampoule/format/masterlist"
	"ampoule/format/pkix"
	"ampoule/trust"
)

// builtTrust are the folders of trust/ whose formats are built.
var builtTrust = []string{"bitstring-status-list", "did-trustlist", "eu-filters", "eu-revocation", "icao-master-list", "token-status-list", "vci", "cms", "tng-onboarding", "api-cases"}

func runTrust(t *testing.T, b *board, dir string) {
	judgeDIDLists(t, b, dir)
	judgeRevocationHashes(t, b, dir)
	judgeVCI(t, b, dir)
	judgeMasterLists(t, b, dir)
	judgeSignedMessages(t, b, dir)
	judgeOnboarding(t, b, dir)
	judgeProfiles(t, b, dir)
	judgeUploads(t, b, dir)
	judgeGatewayCases(t, b, dir)
	if _, err := os.Stat(filepath.Join(dir, "token-status-list")); err == nil {
		judgeTokenStatusLists(t, b, "trust", "token-status-list", filepath.Join(dir, "token-status-list"), filepath.Join(dir, "..", "token-status-list"))
	}
	judgeBitstrings(t, b, filepath.Join(dir, "bitstring-status-list"))
	judgeFilters(t, b, filepath.Join(dir, "eu-filters"))
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var unbuilt []string
	for _, e := range entries {
		// ETSI lists are XML: docs/interop.md says why they are not read.
		if e.IsDir() && e.Name() != "etsi-119612" && !slices.Contains(builtTrust, e.Name()) {
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

// judgeMasterLists reads every published list of passport authorities. No keys
// to pin stand beside them, so a list is held against itself: it must verify
// under the authority in it that issued its signer, and under no other; without
// a pin, and with one byte changed, it must be refused.
func judgeMasterLists(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "icao-master-list", "*.ml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(path)
		add := func(what string, err error) {
			r := result{format: "trust", group: "icao-master-list", name: name + " " + what, judgement: agree}
			if err != nil {
				r.judgement, r.detail = disagree, err.Error()
			}
			b.add(r)
		}
		doc, err := masterlist.Parse(data)
		if add("parse", err); err != nil {
			continue
		}
		add("certificates", sameCertificates(t, doc))

		var pin, other crypto.PublicKey
		for _, e := range doc.Entries {
			if e.Err != nil {
				continue
			}
			issued := func(c *pkix.Certificate) bool {
				return c.Issuer.Equal(e.Certificate.Subject) && c.CheckSignature(e.Certificate.PublicKey) == nil
			}
			if slices.ContainsFunc(doc.Carried, issued) {
				pin = e.Certificate.PublicKey
			} else {
				other = e.Certificate.PublicKey
			}
		}
		load := func(data []byte, pins ...crypto.PublicKey) error {
			return new(trust.List).Add(trust.Source{Name: name, Data: data, Pins: pins})
		}
		refused := func(err error, want error) error {
			if !errors.Is(err, want) {
				return fmt.Errorf("want %v, got %v", want, err)
			}
			return nil
		}
		add("signature", load(data, pin))
		add("without a pin", refused(load(data), trust.ErrNoPin))
		add("under another key", refused(load(data, other), trust.ErrProof))
		changed := bytes.Clone(data)
		last := doc.Entries[len(doc.Entries)-1].Raw
		changed[bytes.Index(changed, last)+len(last)-1] ^= 1
		add("changed", refused(load(changed, pin), trust.ErrProof))
	}
}

// sameCertificates reads every certificate of a list twice: what crypto/x509
// reads must be the same certificate here.
func sameCertificates(t *testing.T, doc *masterlist.List) error {
	var problems []error
	refused := 0
	for i, e := range doc.Entries {
		std, err := x509.ParseCertificate(e.Raw)
		if err != nil {
			refused++
		}
		c := e.Certificate
		switch {
		case e.Err != nil:
			problems = append(problems, fmt.Errorf("certificate %d: %w", i, e.Err))
		case err != nil:
		case !c.NotBefore.Equal(std.NotBefore) || !c.NotAfter.Equal(std.NotAfter) || c.IsAuthority != std.IsCA || c.KeyUsage != uint16(std.KeyUsage) ||
			!bytes.Equal(c.SubjectKeyID, std.SubjectKeyId) || !bytes.Equal(c.AuthorityKeyID, std.AuthorityKeyId) ||
			!bytes.Equal(c.RawTBS, std.RawTBSCertificate) || !bytes.Equal(c.RawPublicKey, std.RawSubjectPublicKeyInfo) ||
			!bytes.Equal(c.Subject.Raw, std.RawSubject) || !bytes.Equal(c.Issuer.Raw, std.RawIssuer):
			problems = append(problems, fmt.Errorf("certificate %d is read otherwise than by crypto/x509", i))
		}
	}
	t.Logf("%d certificates, %d of them refused by crypto/x509, %d here", len(doc.Entries), refused, len(problems))
	return errors.Join(problems...)
}
