package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/format/cms"
	"ampoule/format/pkix"
)

// judgeSignedMessages opens what gateways publish beside certificates: their own
// signature over each. Each one is then changed, and must be refused.
func judgeSignedMessages(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "cms", "gateway-readme-*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		var c struct {
			Certificate, DetachedCMS []byte
			Thumbprint               string
			Verifies                 bool
		}
		readJSON(t, path, &c)
		r := result{format: "trust", group: "cms", name: filepath.Base(path), judgement: agree}
		if _, err := cms.Open(c.DetachedCMS, c.Certificate); (err == nil) != c.Verifies {
			r.judgement, r.detail = disagree, fmt.Sprintf("verifies %v, got %v", c.Verifies, err)
		} else if sum := sha256.Sum256(c.Certificate); hex.EncodeToString(sum[:]) != c.Thumbprint {
			r.judgement, r.detail = disagree, "another thumbprint"
		} else if err := noneOpens(c.DetachedCMS, c.Certificate); err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
	}
}

// noneOpens changes the content in eight places: no message may open.
func noneOpens(message, content []byte) error {
	for i := range 8 {
		changed := bytes.Clone(content)
		changed[i*len(content)/8] ^= 1
		if _, err := cms.Open(message, changed); err == nil {
			return fmt.Errorf("opens with byte %d of its content changed", i*len(content)/8)
		}
	}
	return nil
}

// judgeOnboarding checks the trust anchor's entries of participants: each
// verifies under the anchor's certificate, none does when it is changed or when
// another participant's certificate is put in its place.
func judgeOnboarding(t *testing.T, b *board, dir string) {
	dir = filepath.Join(dir, "tng-onboarding", "dev")
	text, err := os.ReadFile(filepath.Join(dir, "WHO__TNG_TA.pem"))
	if os.IsNotExist(err) {
		return
	} else if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("the trust anchor is not in PEM")
	}
	anchor, err := pkix.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	type entry struct {
		TrustAnchorSignature, CertificateRawData []byte
		CertificateThumbprint, Country           string
	}
	var before entry
	for _, path := range files {
		var e entry
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &e); err != nil {
			t.Fatal(err)
		}
		check := func() error {
			o, err := cms.Open(e.TrustAnchorSignature, e.CertificateRawData)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(e.CertificateRawData)
			c, err := pkix.ParseCertificate(e.CertificateRawData)
			switch {
			case err != nil:
				return err
			case !anchor.PublicKey.(*ecdsa.PublicKey).Equal(o.Certificate.PublicKey):
				return fmt.Errorf("signed by %s", o.Certificate.Subject)
			case hex.EncodeToString(sum[:]) != strings.ToLower(e.CertificateThumbprint):
				return fmt.Errorf("another thumbprint")
			case c.Subject.Country != e.Country:
				return fmt.Errorf("certificate of %s, entry of %s", c.Subject.Country, e.Country)
			}
			if err := noneOpens(e.TrustAnchorSignature, e.CertificateRawData); err != nil {
				return err
			}
			if before.TrustAnchorSignature != nil {
				if _, err := cms.Open(before.TrustAnchorSignature, e.CertificateRawData); err == nil {
					return fmt.Errorf("opens with the signature of another")
				}
			}
			return nil
		}
		r := result{format: "trust", group: "tng-onboarding", name: filepath.Base(path), judgement: agree}
		if err := check(); err != nil {
			r.judgement, r.detail = disagree, err.Error()
		}
		b.add(r)
		before = e
	}
}
