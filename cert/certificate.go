// Package cert has the format-neutral record of a health certificate and its
// conversion to and from the formats that carry it.
//
// [Certificate] follows the logical models of the WHO for vaccination, test
// result and recovery: one person, one event, the issuer's own dates. Codes
// pass through with their system, and a code that no table knows keeps its
// place with an empty display; nothing is guessed from it.
//
// Beside it stand the facts that conversion needs: the EU value sets, the codes
// of the diseases, countries, the transliteration of ICAO Doc 9303, and the
// catalogue of vaccine products, which is loaded at run time.
package cert

import (
	"strings"
	"time"
)

// Kind is what a certificate is about.
type Kind string

// The kinds.
const (
	KindVaccination Kind = "vaccination"
	KindTest        Kind = "test"
	KindRecovery    Kind = "recovery"
	KindLink        Kind = "link"    // a Verifiable Health Link: it names no event
	KindSummary     Kind = "summary" // documents about a person, of which no event is read
)

// Code is a concept of a code system.
type Code struct {
	Code    string `json:"code"`
	System  string `json:"system,omitempty"`  // URI of the code system
	Display string `json:"display,omitempty"` // in English, where a table knows the code
}

// Date is a calendar date as ISO 8601 writes it, YYYY-MM-DD. Birth dates may be
// partial: YYYY-MM, YYYY, or empty for unknown.
type Date string

// Name keeps both spellings of a name: the national one, and the
// transliteration after ICAO Doc 9303 that is compared with a travel document.
type Name struct {
	Full      string `json:"full,omitempty"` // where the format has one field for all
	Family    string `json:"family,omitempty"`
	Given     string `json:"given,omitempty"`
	FullMRZ   string `json:"full_mrz,omitempty"`
	FamilyMRZ string `json:"family_mrz,omitempty"`
	GivenMRZ  string `json:"given_mrz,omitempty"`
}

// full returns the name in one text, given names first where it has parts.
func (n Name) full() string {
	if n.Full != "" {
		return n.Full
	}
	return strings.TrimSpace(n.Given + " " + n.Family)
}

// Document is the identity document that the certificate is tied to.
type Document struct {
	Number string `json:"number,omitempty"`
	Type   string `json:"type,omitempty"` // HL7 v2 table 0203: PPN passport, NI national identifier
}

// Person is the holder.
type Person struct {
	Name        Name     `json:"name"`
	BirthDate   Date     `json:"birth_date,omitempty"`
	Sex         string   `json:"sex,omitempty"`         // FHIR administrative gender: male, female, other, unknown
	Nationality string   `json:"nationality,omitempty"` // ISO 3166-1 alpha-3
	Document    Document `json:"document,omitzero"`
	Guardian    string   `json:"guardian,omitempty"`
}

// Vaccination is one dose given.
type Vaccination struct {
	Disease      Code   `json:"disease"`
	Vaccine      Code   `json:"vaccine,omitzero"`   // the kind of vaccine or prophylaxis
	Synonyms     []Code `json:"synonyms,omitempty"` // the vaccine in further systems, as the issuer coded it
	Product      Code   `json:"product,omitzero"`   // the product given
	Manufacturer Code   `json:"manufacturer,omitzero"`
	Lot          string `json:"lot,omitempty"`
	Date         Date   `json:"date"`
	Dose         int    `json:"dose,omitempty"`  // number in the series
	Doses        int    `json:"doses,omitempty"` // doses of the series
	Country      string `json:"country,omitempty"`
	Clinician    string `json:"clinician,omitempty"`
	ValidFrom    Date   `json:"valid_from,omitempty"`
	ValidUntil   Date   `json:"valid_until,omitempty"` // empty: for life, or not said
}

// Test is the result of one test.
type Test struct {
	Disease  Code    `json:"disease"`
	Type     Code    `json:"type"`
	Name     string  `json:"name,omitempty"`
	Device   Code    `json:"device,omitzero"`
	Sampled  string  `json:"sampled"` // RFC 3339, as the issuer wrote it
	Reported string  `json:"reported,omitempty"`
	Result   Code    `json:"result"`
	Centre   string  `json:"centre,omitempty"`
	Contact  Contact `json:"contact,omitzero"`
	Country  string  `json:"country,omitempty"`
}

// Contact is how to reach who made a test.
type Contact struct {
	Phone   string `json:"phone,omitempty"`
	Email   string `json:"email,omitempty"`
	Address string `json:"address,omitempty"`
}

// Recovery is a statement of recovery after a positive test.
type Recovery struct {
	Disease       Code   `json:"disease"`
	FirstPositive Date   `json:"first_positive"`
	Country       string `json:"country,omitempty"`
	ValidFrom     Date   `json:"valid_from,omitempty"`
	ValidUntil    Date   `json:"valid_until,omitempty"`
}

// Link is a Verifiable Health Link, shown and never fetched.
type Link struct {
	URL      string    `json:"url"`
	Label    string    `json:"label,omitempty"`
	Passcode bool      `json:"passcode,omitempty"`  // the holder must tell one
	LongTerm bool      `json:"long_term,omitempty"` // the documents may change
	Expires  time.Time `json:"expires,omitzero"`
}

// Event is what happened to the person: exactly one of the fields is set.
type Event struct {
	Vaccination *Vaccination `json:"vaccination,omitempty"`
	Test        *Test        `json:"test,omitempty"`
}

// Certificate is the neutral record. Exactly one of the events is set, none for
// a summary.
type Certificate struct {
	Kind      Kind      `json:"kind"`
	ID        string    `json:"id,omitempty"`        // the issuer's identifier, such as a UVCI
	Authority string    `json:"authority,omitempty"` // the issuing authority's name or identifier
	Issued    time.Time `json:"issued,omitzero"`
	ValidFrom time.Time `json:"valid_from,omitzero"`
	Expires   time.Time `json:"expires,omitzero"` // zero: no end, as of a lifetime vaccination

	Person      Person       `json:"person,omitzero"`
	Vaccination *Vaccination `json:"vaccination,omitempty"`
	Test        *Test        `json:"test,omitempty"`
	Recovery    *Recovery    `json:"recovery,omitempty"`
	Link        *Link        `json:"link,omitempty"`
	// Earlier are the events before that one, oldest first, where a format carries
	// several: the doses of a series, mostly.
	Earlier []Event `json:"earlier,omitempty"`
}

// Country returns the country the event took place in, as the format wrote it.
func (c *Certificate) Country() string {
	switch {
	case c.Vaccination != nil:
		return c.Vaccination.Country
	case c.Test != nil:
		return c.Test.Country
	case c.Recovery != nil:
		return c.Recovery.Country
	}
	return ""
}
