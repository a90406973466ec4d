package gatewayapi

import (
	"net/http"
	"strings"
	"testing"

	"ampoule/format/tng"
)

// FuzzHeaders: whatever a proxy sends, there is a caller or a refusal, and a
// country that stands in the name.
func FuzzHeaders(f *testing.F) {
	for _, dn := range []string{"CN=client,O=Ministry,C=XA", "/C=XA/CN=client", `O="a,C=XB",C=XA`, `O=a\,b,C=XA`, "C%3DXA", "C=XA+CN=x"} {
		f.Add(tng.Thumbprint(nil), dn, "")
	}
	f.Add("", "", "-----BEGIN%20CERTIFICATE-----%0AMAA%3D%0A-----END%20CERTIFICATE-----")
	f.Fuzz(func(t *testing.T, sum, dn, certificate string) {
		h := http.Header{headerSHA: {sum}, headerDN: {dn}}
		if certificate != "" {
			h[headerCert] = []string{certificate}
		}
		c, err := fromHeaders(h)
		if err != nil {
			return
		}
		if c.Thumbprint != "" && len(c.Thumbprint) != 64 || c.Thumbprint != strings.ToLower(c.Thumbprint) {
			t.Errorf("thumbprint %q", c.Thumbprint)
		}
		// Only what is outside of quotes and not escaped can be a country.
		if country, err := countryOfDN(`CN="` + strings.NewReplacer(`"`, "", `\`, "").Replace(dn) + `"`); err != nil || country != "" {
			t.Errorf("a country %q inside a value: %v", country, err)
		}
	})
}
