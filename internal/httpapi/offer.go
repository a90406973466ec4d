package httpapi

import (
	"iter"
	"slices"
	"time"

	"ampoule/cert"
	"ampoule/internal/access"
	"ampoule/party/issuer"
)

// Terms are what a form offers to choose from.
type Terms struct {
	Catalogue *cert.Catalogue // of the products of an ICVP
	Country   string          // ISO 3166-1, two letters: where doses are given
}

// formatBody is a format that can be issued here now.
type formatBody struct {
	Format      issuer.Format `json:"format"`
	MustExpire  bool          `json:"must_expire"`
	MayExpire   bool          `json:"may_expire"`
	LastExpiry  time.Time     `json:"last_expiry,omitzero" doc:"No certificate outlives the key that signs it"`
	Irrevocable bool          `json:"irrevocable"`
	Required    []string      `json:"required" doc:"Of a vaccination, as the columns of a file are named; where names are parted by bars, one of them"`
}

type productBody struct {
	CodeBody
	Disease      string `json:"disease,omitempty" doc:"One of our words, as in diseases"`
	Manufacturer string `json:"manufacturer,omitempty"`
}

type diseaseBody struct {
	Word   string `json:"word"`
	SNOMED string `json:"snomed"`
	ICD11  string `json:"icd11"`
	Name   string `json:"name"`
}

// issuingBody is what can be issued here, and what a form may offer.
type issuingBody struct {
	Authority   string               `json:"authority"`
	Participant string               `json:"participant"`
	Country     string               `json:"country,omitempty"`
	Formats     []formatBody         `json:"formats"`
	Places      []placeBody          `json:"places" doc:"Where the one who asks may issue"`
	Reasons     []issuer.Reason      `json:"reasons" doc:"Of a revocation or a correction"`
	Products    []productBody        `json:"products" doc:"Of an ICVP"`
	Diseases    []diseaseBody        `json:"diseases"`
	Sets        map[string][]codeOne `json:"sets" doc:"The EU value sets, without what was withdrawn"`
}

type placeBody struct {
	Organisation string `json:"organisation"`
	Facility     string `json:"facility,omitempty"`
}

// codeOne is a code with its English words.
type codeOne struct {
	Code    string `json:"code"`
	System  string `json:"system,omitempty"`
	Display string `json:"display"`
	Alpha3  string `json:"alpha3,omitempty" doc:"Of a country: its three letters, as nationalities have them"`
}

// formats are those that are signed here, in the order of their standing.
func (i *Issuing) formats() (out []issuer.Format) {
	for _, f := range []issuer.Format{issuer.ICVP, issuer.EUDCC, issuer.SHC, issuer.DDCC, issuer.VDSNC} {
		if i.Registry.Issuers[f] != nil {
			out = append(out, f)
		}
	}
	return out
}

// euSets are the value sets that a form needs.
var euSets = []cert.ValueSet{
	cert.ValueSetDisease, cert.ValueSetProphylaxis, cert.ValueSetProduct, cert.ValueSetManufacturer,
	cert.ValueSetTestType, cert.ValueSetTestDevice, cert.ValueSetTestResult, cert.ValueSetCountry,
}

func (i *Issuing) offer(who *access.Principal) issuingBody {
	out := issuingBody{
		Authority: i.Authority, Participant: i.Participant, Country: i.Terms.Country,
		Formats: []formatBody{}, Places: []placeBody{}, Reasons: issuer.Reasons(), Products: []productBody{}, Sets: make(map[string][]codeOne, len(euSets)),
	}
	for _, f := range i.formats() {
		b := formatBody{Format: f, MustExpire: f == issuer.EUDCC, MayExpire: f != issuer.VDSNC, Irrevocable: f == issuer.VDSNC, Required: issuer.Required(f)}
		if b.MayExpire {
			b.LastExpiry = i.Registry.Issuers[f].NotAfter
		}
		out.Formats = append(out.Formats, b)
	}
	for _, g := range who.Grants {
		at := issuer.Place{Organisation: who.Organisation, Facility: g.Facility}
		if ok, _ := i.Policy.Allow(who, access.CertificateIssue, at); ok && !slices.Contains(out.Places, placeBody(at)) {
			out.Places = append(out.Places, placeBody(at))
		}
	}
	if i.Terms.Catalogue != nil {
		for p := range i.Terms.Catalogue.Products() {
			if !p.Inactive && p.Disease != "" {
				out.Products = append(out.Products, productBody{CodeBody{Code: p.ID, Display: p.Display}, p.Disease, p.Manufacturer})
			}
		}
	}
	for _, d := range cert.Diseases() {
		out.Diseases = append(out.Diseases, diseaseBody{d.Word, d.SNOMED, d.ICD11, d.DisplayEN})
	}
	for _, set := range euSets {
		out.Sets[string(set)] = slices.Collect(codesOf(set))
	}
	return out
}

func codesOf(set cert.ValueSet) iter.Seq[codeOne] {
	return func(yield func(codeOne) bool) {
		for code := range cert.Codes(set) {
			if cert.Withdrawn(set, code) {
				continue
			}
			display, _ := cert.Display(set, code)
			one := codeOne{Code: code, System: cert.SystemOf(set, code), Display: display}
			if set == cert.ValueSetCountry {
				one.Alpha3, _ = cert.Alpha3(code)
			}
			if !yield(one) {
				return
			}
		}
	}
}

// day writes a moment's date.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }
