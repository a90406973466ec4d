package cert

import "golang.org/x/text/unicode/norm"

// A Digital ICVP may be valid for life; WHO's guide v0.3.0 (REQ-DE-21) then
// fixes the words, in the two languages of the certificate.
const (
	LifetimeEN = "life of person vaccinated"
	LifetimeFR = "vie entière du sujet vacciné"
)

// IsLifetime reports whether text is one of the fixed forms for a validity that
// does not end. HCERT wants text read as if it were in normal form C; nothing
// else that is merely close counts, because an approximate match would turn a
// text that nobody can read into a certificate that never expires.
func IsLifetime(text string) bool {
	text = norm.NFC.String(text)
	return text == LifetimeEN || text == LifetimeFR
}
