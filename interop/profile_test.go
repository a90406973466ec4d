package interop

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ampoule/format/tng"
	"ampoule/trust"
)

// judgeProfiles holds certificates that the network has onboarded against the
// profiles that it checks.
func judgeProfiles(t *testing.T, b *board, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "tng-onboarding", "*", "*TNG_TA.signed.*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		r := result{format: "trust", group: "tng-onboarding profiles", name: filepath.Base(path), judgement: agree}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// ARE__onboarding__DCC__SCA__signed__TNG_TA.signed.SCA.json
		parts := strings.Split(filepath.Base(path), "__")
		o, err := tng.ParseOnboarding(data)
		var c *x509.Certificate
		if err == nil {
			c, err = x509.ParseCertificate(o.Raw)
		}
		var found []string
		if err == nil {
			for _, objection := range trust.CheckProfile(c, trust.Role(parts[3])) {
				found = append(found, string(objection.Reason))
			}
			if country, ok := trust.ParticipantCountry(parts[0]); !ok || country != o.Country || c.Subject.Country[0] != country {
				found = append(found, "country-mismatch")
			}
		}
		if err != nil || len(found) > 0 {
			r.judgement, r.detail = disagree, fmt.Sprintf("%q: %v", found, err)
		}
		b.add(r)
	}
}
