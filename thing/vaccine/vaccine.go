// Package vaccine has what is known of products, whoever's lot they are of: where they
// are kept, what harms them, how long an opened vial lasts.
//
// The data are the operator's: a catalogue of our own form ([Parse]), or WHO's list of
// prequalified vaccines ([ParseWHO]). What nobody says of a product is not known, and
// never passed over.
package vaccine

import (
	"fmt"
	"reflect"
	"slices"

	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/gs1"
	"ampoule/format/strictjson"
	"ampoule/thing"
)

// Form is in what state a vaccine comes.
type Form string

// The forms.
const (
	Liquid      Form = "liquid"
	FreezeDried Form = "freeze-dried" // reconstituted with its diluent before use
)

// Vaccine is one product.
type Vaccine struct {
	Name  string `json:"name"`
	Maker string `json:"maker,omitempty"`
	// Codes are all that name it, in whatever system. A GTIN names a pack of it.
	Codes []thing.Product `json:"codes"`
	Form  Form            `json:"form,omitempty"`
	// Storage is where it is kept: refrigerated, frozen, ultra-cold; or a range of its own.
	Storage string             `json:"storage,omitempty"`
	Range   *coldchain.Profile `json:"range,omitempty"`
	Freeze  thing.Harm         `json:"freeze,omitempty"` // whether freezing spoils it
	// Diluent is what it is reconstituted with; its own lot is told beside the vaccine's.
	Diluent *Diluent          `json:"diluent,omitempty"`
	VVM     coldchain.VVM     `json:"vvm,omitempty"`   // type of its vial monitor; 0: none, or not known
	Doses   int               `json:"doses,omitempty"` // in a vial; 0: not known
	Vials   int               `json:"vials,omitempty"` // in what a GTIN of it names; 0: one
	Open    *Open             `json:"open,omitempty"`
	Budget  *coldchain.Budget `json:"budget,omitempty"`
	Source  string            `json:"source,omitempty"` // whose words these are
}

// Diluent is what a freeze-dried vaccine is reconstituted with. It must never freeze.
type Diluent struct {
	Name  string          `json:"name"`
	Codes []thing.Product `json:"codes,omitempty"`
}

// Open is for how long an opened or reconstituted vial is used, by its label and WHO's
// multi-dose vial policy.
type Open struct {
	Hours int  `json:"hours,omitempty"` // that the label allows; 0: six
	Days  bool `json:"days,omitempty"`  // 28 days, in later sessions
}

// The defects of a catalogue.
const (
	ErrCatalogue = format.Defect("bad-product-catalogue")
	ErrTwice     = format.Defect("product-code-twice") // two products of one code
)

// MaxProducts bounds a catalogue.
const MaxProducts = 20_000

const maxCatalogue = 16 << 20 // bytes

// Catalogue are products, found by their codes.
type Catalogue struct {
	Vaccines []Vaccine
	byCode   map[thing.Product]int
}

// document is a catalogue as a file has it.
type document struct {
	Vaccines []Vaccine `json:"vaccines"`
}

// Parse reads a catalogue in JSON: {"vaccines": [Vaccine, …]}. A member that is not known
// is refused, since a misspelt one would be lost.
func Parse(data []byte) (*Catalogue, error) {
	var d document
	if err := strictjson.UnmarshalKnown(data, &d, strictjson.Limits{Bytes: maxCatalogue}); err != nil {
		return nil, fmt.Errorf("catalogue of products: %w", err)
	}
	return New(d.Vaccines)
}

// New makes a catalogue.
func New(vaccines []Vaccine) (*Catalogue, error) {
	if len(vaccines) > MaxProducts {
		return nil, fmt.Errorf("catalogue of products: %d, %d are allowed: %w", len(vaccines), MaxProducts, ErrCatalogue)
	}
	c := &Catalogue{Vaccines: slices.Clone(vaccines), byCode: map[thing.Product]int{}}
	for i := range c.Vaccines {
		v := &c.Vaccines[i]
		if err := v.check(); err != nil {
			return nil, fmt.Errorf("catalogue of products: vaccine %d, %q: %w", i+1, v.Name, err)
		}
		for k, code := range v.Codes {
			if code.System == gs1.GTINSystem {
				gtin, _ := gs1.ParseGTIN(code.Code) // it was checked
				code.Code = string(gtin)
				v.Codes[k] = code
			}
			if before, ok := c.byCode[code]; ok && before != i {
				return nil, fmt.Errorf("catalogue of products: %s %s: %w", code.System, code.Code, ErrTwice)
			}
			c.byCode[code] = i
		}
	}
	return c, nil
}

// check says what is wrong with one product.
func (v *Vaccine) check() error {
	bad := func(what string) error { return fmt.Errorf("%s: %w", what, ErrCatalogue) }
	switch {
	case v.Name == "" || len(v.Name) > 300:
		return bad("name")
	case len(v.Codes) == 0 || len(v.Codes) > 100:
		return bad("codes")
	case v.Form != "" && v.Form != Liquid && v.Form != FreezeDried:
		return bad("form")
	case v.Storage != "" && profileOf(v.Storage) == nil:
		return bad("storage")
	case v.Range != nil && (v.Range.Low > v.Range.High || v.Range.Low <= coldchain.AbsoluteZero):
		return bad("range")
	case v.Freeze != "" && v.Freeze != thing.Harmed && v.Freeze != thing.NotHarmed && v.Freeze != thing.HarmNotKnown:
		return bad("freeze")
	case v.VVM != 0 && v.VVM != coldchain.VVM2 && v.VVM != coldchain.VVM7 && v.VVM != coldchain.VVM14 && v.VVM != coldchain.VVM30:
		return bad("vvm")
	case v.Doses < 0 || v.Doses > 1000 || v.Vials < 0 || v.Vials > 10_000:
		return bad("doses or vials")
	case v.Open != nil && (v.Open.Hours < 0 || v.Open.Hours > 28*24):
		return bad("open")
	}
	for _, code := range v.Codes {
		if code.Code == "" || code.System == "" || len(code.Code) > 128 || len(code.System) > 128 {
			return bad("codes")
		}
		if code.System == gs1.GTINSystem {
			if _, err := gs1.ParseGTIN(code.Code); err != nil {
				return err
			}
		}
	}
	if v.Budget != nil {
		return v.Budget.Check()
	}
	return nil
}

func profileOf(id string) *coldchain.Profile {
	for _, p := range []coldchain.Profile{coldchain.Refrigerated, coldchain.Frozen, coldchain.UltraCold} {
		if p.ID == id {
			return &p
		}
	}
	return nil
}

// With is the catalogue with other products in it: each takes the place of those that
// share a code with it.
func (c *Catalogue) With(others *Catalogue) (*Catalogue, error) {
	all := slices.Clone(others.Vaccines)
	for i := range c.Vaccines {
		if others.Find(c.Vaccines[i].Codes...) == nil {
			all = append(all, c.Vaccines[i])
		}
	}
	return New(all)
}

// Has reports whether each product of another catalogue is in this one, in every word.
func (c *Catalogue) Has(others *Catalogue) bool {
	for i := range others.Vaccines {
		v := &others.Vaccines[i]
		if found := c.Find(v.Codes...); found == nil || !reflect.DeepEqual(*found, *v) {
			return false
		}
	}
	return true
}

// Find returns the product of a code, or of the first of several that is known; nil
// where none is.
func (c *Catalogue) Find(codes ...thing.Product) *Vaccine {
	if c == nil {
		return nil
	}
	for _, code := range codes {
		if i, ok := c.byCode[code]; ok {
			return &c.Vaccines[i]
		}
	}
	return nil
}

// PerPack is how many doses are in what a GTIN names; 0: not known.
func (v *Vaccine) PerPack() int { return v.Doses * max(v.Vials, 1) }

// Bearing is what the product bears. A product without a storage range is held to 2 to
// 8 °C, in which all are but those that are kept frozen.
func (v *Vaccine) Bearing() coldchain.Bearing {
	b := coldchain.Bearing{Storage: coldchain.Refrigerated, Budget: v.Budget, VVM: v.VVM}
	if p := profileOf(v.Storage); p != nil {
		b.Storage = *p
	}
	if v.Range != nil {
		b.Storage = *v.Range
	}
	switch v.Freeze {
	case thing.Harmed:
		b.FreezeHarms, b.FreezeKnown = true, true
	case thing.NotHarmed:
		b.FreezeKnown = true
	}
	return b
}

// Discard is until when a vial that was opened may be used, and why no longer. Times are
// in seconds; sessionEnd and expiry are 0 where they are not known.
func (v *Vaccine) Discard(opened, sessionEnd, expiry int64) (at int64, why string) {
	o := coldchain.OpenVial{Opened: opened, Reconstituted: v.Form == FreezeDried, SessionEnd: sessionEnd, Expiry: expiry}
	if v.Open != nil {
		o.Days, o.Label = v.Open.Days, int64(v.Open.Hours)*3600
	}
	return o.Discard()
}
