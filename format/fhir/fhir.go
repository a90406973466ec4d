// Package fhir has the few FHIR R4 resources that health cards are made of, and
// of them the elements that the vaccination and testing profiles use:
//
//	Bundle(collection) = { entry: [ { fullUrl: "resource:0", resource } … ] }
//	resource           = Patient | Immunization | Observation | Organization | another
//
// [Decode] reads whatever is readable and lists every departure from FHIR, from
// the profiles and from the minified form; other resources are counted and
// passed over. The JSON names of the fields are those of the specification, so
// the structs are what [Bundle.AppendJSON] writes.
package fhir

import (
	"bytes"
	"encoding/json"
	"fmt"

	"ampoule/format"
)

// Version is the release that cards are made with.
const Version = "4.0.1"

// The systems of codes that health cards name.
const (
	SystemCVX    = "http://hl7.org/fhir/sid/cvx" // vaccines administered, of the CDC
	SystemLOINC  = "http://loinc.org"
	SystemSNOMED = "http://snomed.info/sct"
)

// Coding is one code of one system.
type Coding struct {
	System  string `json:"system,omitempty"`
	Code    string `json:"code,omitempty"`
	Display string `json:"display,omitempty"`
}

// Concept is a CodeableConcept: codes that say the same in several systems.
type Concept struct {
	Coding []Coding `json:"coding,omitempty"`
	Text   string   `json:"text,omitempty"`
}

// Identifier names a thing in a system.
type Identifier struct {
	Type   Concept `json:"type,omitzero"`
	System string  `json:"system,omitempty"`
	Value  string  `json:"value,omitempty"`
}

// Reference points to a resource of the bundle, or names one by identifier or
// in words.
type Reference struct {
	Reference  string     `json:"reference,omitempty"`
	Identifier Identifier `json:"identifier,omitzero"`
	Display    string     `json:"display,omitempty"`
}

// HumanName is a name.
type HumanName struct {
	Text   string   `json:"text,omitempty"`
	Family string   `json:"family,omitempty"`
	Given  []string `json:"given,omitempty"`
}

// Patient is the person.
type Patient struct {
	Identifier []Identifier `json:"identifier,omitempty"`
	Name       []HumanName  `json:"name,omitempty"`
	Gender     string       `json:"gender,omitempty"`    // male, female, other, unknown
	BirthDate  string       `json:"birthDate,omitempty"` // may be partial
}

// Immunization is one dose given.
type Immunization struct {
	Status          string      `json:"status"`
	VaccineCode     Concept     `json:"vaccineCode,omitzero"`
	Patient         Reference   `json:"patient,omitzero"`
	Occurrence      string      `json:"occurrenceDateTime,omitempty"` // may be partial
	Manufacturer    Reference   `json:"manufacturer,omitzero"`
	LotNumber       string      `json:"lotNumber,omitempty"`
	ExpirationDate  string      `json:"expirationDate,omitempty"` // of the vaccine
	IsSubpotent     bool        `json:"isSubpotent,omitempty"`
	Performer       []Performer `json:"performer,omitempty"`
	ProtocolApplied []Protocol  `json:"protocolApplied,omitempty"`
}

// Performer is who gave a dose.
type Performer struct {
	Actor Reference `json:"actor"`
}

// Protocol is the series that a dose belongs to.
type Protocol struct {
	TargetDisease []Concept `json:"targetDisease,omitempty"`
	DoseNumber    int       `json:"doseNumberPositiveInt,omitempty"`
	SeriesDoses   int       `json:"seriesDosesPositiveInt,omitempty"`
}

// Observation is one result of a laboratory.
type Observation struct {
	Status      string      `json:"status"`
	Code        Concept     `json:"code,omitzero"`
	Subject     Reference   `json:"subject,omitzero"`
	Effective   string      `json:"effectiveDateTime,omitempty"` // of a period, its start
	Value       Concept     `json:"valueCodeableConcept,omitzero"`
	ValueString string      `json:"valueString,omitempty"` // a quantity is read as one
	Performer   []Reference `json:"performer,omitempty"`
}

// Organization is a body that other resources refer to.
type Organization struct {
	Identifier []Identifier `json:"identifier,omitempty"`
	Name       string       `json:"name,omitempty"`
}

// Entry is one resource of a bundle. At most one of the pointers is set; none
// for a resource of another type.
type Entry struct {
	FullURL string
	Type    string // resourceType

	Patient      *Patient
	Immunization *Immunization
	Observation  *Observation
	Organization *Organization

	// Subject is the patient that an immunization or observation refers to, found
	// in the same bundle; nil where the reference leads nowhere.
	Subject *Patient
}

// Bundle is the content of a card.
type Bundle struct {
	Type    string // collection; document for a patient summary
	Entries []Entry
}

// Patient returns the one patient of the bundle, nil where there is none or
// more than one.
func (b *Bundle) Patient() *Patient {
	var p *Patient
	for _, e := range b.Entries {
		switch {
		case e.Patient == nil:
		case p != nil:
			return nil
		default:
			p = e.Patient
		}
	}
	return p
}

// Has reports whether a resource of the type is there.
func (b *Bundle) Has(resourceType string) bool {
	for _, e := range b.Entries {
		if e.Type == resourceType {
			return true
		}
	}
	return false
}

// Organization returns the organization that a reference leads to within the
// bundle.
func (b *Bundle) Organization(r Reference) *Organization {
	for _, e := range b.Entries {
		if e.Organization != nil && leadsTo(r.Reference, e.FullURL) {
			return e.Organization
		}
	}
	return nil
}

// AppendJSON appends the bundle as minified JSON, elements in the order of the
// structs. Where an entry has no URL it gets the short one of its place.
func (b *Bundle) AppendJSON(dst []byte) ([]byte, error) {
	type entry struct {
		FullURL  string `json:"fullUrl"`
		Resource any    `json:"resource"`
	}
	out := struct {
		ResourceType string  `json:"resourceType"`
		Type         string  `json:"type"`
		Entry        []entry `json:"entry"`
	}{"Bundle", b.Type, nil}
	for i, e := range b.Entries {
		if e.FullURL == "" {
			e.FullURL = fmt.Sprintf("resource:%d", i)
		}
		var r any
		switch {
		case e.Patient != nil:
			r = struct {
				ResourceType string `json:"resourceType"`
				*Patient
			}{"Patient", e.Patient}
		case e.Immunization != nil:
			r = struct {
				ResourceType string `json:"resourceType"`
				*Immunization
			}{"Immunization", e.Immunization}
		case e.Observation != nil:
			r = struct {
				ResourceType string `json:"resourceType"`
				*Observation
			}{"Observation", e.Observation}
		case e.Organization != nil:
			r = struct {
				ResourceType string `json:"resourceType"`
				*Organization
			}{"Organization", e.Organization}
		default:
			return nil, fmt.Errorf("FHIR: entry[%d]: a %q cannot be written: %w", i, e.Type, format.BadType)
		}
		out.Entry = append(out.Entry, entry{e.FullURL, r})
	}
	buf := bytes.NewBuffer(dst)
	enc := json.NewEncoder(buf)
	enc.SetEscapeHTML(false) // six characters for one, in a QR code
	if err := enc.Encode(out); err != nil {
		return nil, fmt.Errorf("FHIR: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
