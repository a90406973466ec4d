package cert

import "ampoule/format/vhl"

// FromLink makes the neutral record of a Verifiable Health Link. The key that
// opens the documents stays in the code: a record is shown and logged in places
// where it has no business.
func FromLink(l *vhl.Link) *Certificate {
	return &Certificate{
		Kind: KindLink,
		Link: &Link{URL: l.URL, Label: l.Label, Passcode: l.Passcode, LongTerm: l.LongTerm, Expires: l.Expires},
	}
}
