package cert_test

import (
	"fmt"
	"testing"
	"time"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/ddcc"
	"ampoule/format/divoc"
	"ampoule/format/eudcc"
	"ampoule/format/icvp"
	"ampoule/format/vdsnc"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The tests of this file take any content that a format's model allows, read it
// into a record, and send the record back through the encoded bytes: it must
// come out the same.

// words are texts as certificates have them, in normalisation form C.
func words() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return format.NFC(rapid.StringMatching(`[A-Za-zÀ-žА-я0-9]([A-Za-zÀ-žА-я0-9 '.,<>&"\\/-]{0,20}[A-Za-zÀ-žА-я0-9])?`).Draw(t, "text"))
	})
}

// perhaps draws a value, or the empty one.
func perhaps[V any](of *rapid.Generator[V]) *rapid.Generator[V] {
	return rapid.OneOf(of, rapid.Just(*new(V)))
}

func days() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return time.Date(2020, 1, 1+rapid.IntRange(0, 3000).Draw(t, "day"), 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	})
}

// times are dates, some with a time after them.
func times() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		return days().Draw(t, "day") + rapid.SampledFrom([]string{"", "T10:00:00Z", "T23:59:59.5+02:00"}).Draw(t, "time")
	})
}

func births() *rapid.Generator[string] {
	return perhaps(rapid.OneOf(days(), rapid.SampledFrom([]string{"1990", "1990-02"})))
}

func TestMirrorDDCC(t *testing.T) {
	coding := func(must bool) *rapid.Generator[ddcc.Coding] {
		return rapid.Custom(func(t *rapid.T) ddcc.Coding {
			c := ddcc.Coding{System: perhaps(rapid.Just("urn:specimen")).Draw(t, "system"), Display: perhaps(words()).Draw(t, "display")}
			if must || rapid.Bool().Draw(t, "code") {
				c.Code = words().Draw(t, "code")
			}
			return c
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		x := &ddcc.Certificate{
			Name: words().Draw(t, "name"), BirthDate: births().Draw(t, "born"), Identifier: perhaps(words()).Draw(t, "identifier"),
			Sex:    rapid.SampledFrom([]string{"", "male", "female", "other", "unknown", "F", "m"}).Draw(t, "sex"),
			Issuer: words().Draw(t, "issuer"), ID: words().Draw(t, "hcid"), Version: words().Draw(t, "version"),
			ValidFrom: perhaps(times()).Draw(t, "from"), ValidUntil: perhaps(times()).Draw(t, "until"),
		}
		decode := ddcc.DecodeVaccination
		if rapid.Bool().Draw(t, "vaccination") {
			x.Vaccination = &ddcc.Vaccination{
				Vaccine: coding(true).Draw(t, "vaccine"), Brand: coding(true).Draw(t, "brand"),
				Manufacturer: coding(false).Draw(t, "manufacturer"), Holder: coding(true).Draw(t, "holder"), Disease: coding(false).Draw(t, "disease"),
				Lot: words().Draw(t, "lot"), Date: times().Draw(t, "date"), Dose: rapid.Int64Range(1, 99).Draw(t, "dose"), Doses: rapid.Int64Range(0, 99).Draw(t, "doses"),
				Country: coding(true).Draw(t, "country"), Centre: perhaps(words()).Draw(t, "centre"), Practitioner: perhaps(words()).Draw(t, "practitioner"),
			}
		} else {
			decode = ddcc.DecodeTest
			x.Test = &ddcc.Test{
				Pathogen: coding(true).Draw(t, "pathogen"), Type: coding(true).Draw(t, "type"), Brand: coding(false).Draw(t, "brand"),
				Manufacturer: coding(false).Draw(t, "manufacturer"), Origin: coding(false).Draw(t, "origin"), Result: coding(true).Draw(t, "result"),
				Date: times().Draw(t, "date"), Country: coding(true).Draw(t, "country"), Centre: perhaps(words()).Draw(t, "centre"),
			}
		}
		want := cert.FromDDCC(x)
		y, err := want.ToDDCC()
		if err != nil {
			t.Fatal(err)
		}
		data, findings := ddcc.Encode(y)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		z, findings := decode(v)
		if diff := cmp.Diff(y, z); diff != "" || len(findings) > 0 {
			t.Fatal(findings, diff)
		}
		if diff := cmp.Diff(want, cert.FromDDCC(z)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestMirrorVDSNC(t *testing.T) {
	states := rapid.SampledFrom([]string{"UTO", "JPN", "D", "DEU", "XXA"})
	icd11 := rapid.SampledFrom([]string{"XM68M6", "XM0N24", "XM8NQ0"})
	rapid.Check(t, func(t *rapid.T) {
		x := &vdsnc.Seal{Version: 1, Issuer: states.Draw(t, "is")}
		person := vdsnc.Person{
			Name: words().Draw(t, "n"), BirthDate: days().Draw(t, "dob"),
			Sex: rapid.SampledFrom([]string{"", "M", "F", "X"}).Draw(t, "sex"),
		}
		if rapid.Bool().Draw(t, "vaccination") {
			person.Document, person.OtherDocument = perhaps(words()).Draw(t, "i"), perhaps(words()).Draw(t, "ai")
			x.Type, x.Vaccination = vdsnc.TypeVaccination, &vdsnc.Vaccination{ID: words().Draw(t, "uvci"), Person: person}
			dose := rapid.Custom(func(t *rapid.T) vdsnc.Dose {
				return vdsnc.Dose{
					// Few days, so that doses fall together.
					Date: fmt.Sprintf("2026-01-%02d", rapid.IntRange(1, 3).Draw(t, "dvc")), Number: rapid.IntRange(1, 99).Draw(t, "seq"),
					Country: states.Draw(t, "ctr"), Centre: words().Draw(t, "adm"), Lot: words().Draw(t, "lot"), Next: perhaps(days()).Draw(t, "dvn"),
				}
			})
			for range rapid.IntRange(1, 4).Draw(t, "ve") {
				x.Vaccination.Events = append(x.Vaccination.Events, vdsnc.Event{
					Vaccine: icd11.Draw(t, "des"), Name: rapid.SampledFrom([]string{"A", "B"}).Draw(t, "nam"),
					Disease: rapid.SampledFrom([]string{"", "RA01", "RA01.0", "1D47"}).Draw(t, "dis"),
					Doses:   rapid.SliceOfN(dose, 1, 4).Draw(t, "vd"),
				})
			}
		} else {
			person.Number, person.NumberType = words().Draw(t, "dn"), rapid.SampledFrom([]string{"P", "A", "C", "I", "V", "D"}).Draw(t, "dt")
			x.Type, x.Test = vdsnc.TypeTest, &vdsnc.Test{
				ID: words().Draw(t, "utci"), Person: person, Centre: words().Draw(t, "spn"), Country: states.Draw(t, "ctr"),
				Phone: words().Draw(t, "p"), Email: words().Draw(t, "e"), Address: words().Draw(t, "a"),
				Sampled: days().Draw(t, "sc") + "T10:00:00+02:00", Reported: days().Draw(t, "ri") + "T10:00:00Z",
				Method: rapid.SampledFrom([]string{"molecular(PCR)", "antigen"}).Draw(t, "tc"), Result: rapid.SampledFrom([]string{"negative", "positive"}).Draw(t, "r"),
				Specimen: perhaps(words()).Draw(t, "m"), Optional: perhaps(words()).Draw(t, "opt"),
			}
		}
		want := cert.FromVDSNC(x)
		y, err := want.ToVDSNC()
		if err != nil {
			t.Fatal(err)
		}
		if y.Vaccination != nil {
			seen := map[[3]string]bool{}
			for _, e := range y.Vaccination.Events {
				if key := [3]string{e.Vaccine, e.Name, e.Disease}; seen[key] {
					t.Fatalf("two entries of %v", key)
				} else {
					seen[key] = true
				}
			}
		}
		data, findings := vdsnc.Encode(y)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		z, findings, err := vdsnc.Decode(`{"data":`+string(data)+`,"sig":{"alg":"ES256","cer":"AQID","sigvl":""}}`, vdsnc.Strict)
		if err != nil || len(findings) > 0 || string(z.Signed()) != string(data) {
			t.Fatal(err, findings)
		}
		if diff := cmp.Diff(want, cert.FromVDSNC(z)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestMirrorDIVOC(t *testing.T) {
	numbers := rapid.StringMatching(`[A-Z0-9]{1,12}`)
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 3, 2, 4, 0, rapid.IntRange(0, 86400).Draw(t, "issued"), 0, time.UTC)
		x := &divoc.Document{Credential: divoc.Credential{
			Issuer: "https://divoc.example/" + numbers.Draw(t, "issuer"), Issued: at,
			Person: divoc.Person{
				ReferenceID: perhaps(words()).Draw(t, "refId"), Name: words().Draw(t, "name"), BirthDate: births().Draw(t, "dob"),
				Age: perhaps(rapid.Just("36")).Draw(t, "age"), Gender: rapid.SampledFrom([]string{"", "Male", "female", "Other", "Unknown", "x"}).Draw(t, "gender"),
				Nationality: rapid.SampledFrom([]string{"", "IN", "lka", "Indian"}).Draw(t, "nationality"), Address: divoc.Address{City: perhaps(words()).Draw(t, "city")},
			},
		}}
		if id := numbers.Draw(t, "number"); rapid.Bool().Draw(t, "id") {
			x.Person.ID = rapid.SampledFrom([]string{"did:Passport:", "did:in.gov.uidai.aadhaar:", "did:DrivingLicense:", "https://divoc.example/"}).Draw(t, "kind") + id
		}
		if rapid.Bool().Draw(t, "validFrom") {
			x.ValidFrom, x.ValidUntil = at.Add(time.Hour), at.AddDate(1, 0, 0)
		}
		for range rapid.IntRange(1, 4).Draw(t, "doses") {
			v := divoc.Vaccination{
				CertificateID: perhaps(numbers).Draw(t, "certificateId"), Vaccine: words().Draw(t, "vaccine"), Manufacturer: perhaps(words()).Draw(t, "manufacturer"),
				Batch: perhaps(words()).Draw(t, "batch"), ICD11: rapid.SampledFrom([]string{"", "XM0N24", "RA01", "1D47"}).Draw(t, "icd11Code"), Prophylaxis: perhaps(words()).Draw(t, "prophylaxis"),
				Date: fmt.Sprintf("2026-01-%02d", rapid.IntRange(1, 3).Draw(t, "date")), TotalDoses: rapid.IntRange(0, 4).Draw(t, "totalDoses"),
				Verifier: perhaps(words()).Draw(t, "verifier"), Facility: perhaps(words()).Draw(t, "facility"), Address: divoc.Address{Country: perhaps(words()).Draw(t, "country")},
			}
			v.Dose = rapid.IntRange(0, v.TotalDoses).Draw(t, "dose")
			if rapid.Bool().Draw(t, "effective") {
				v.From, v.Until = "2026-01-11T00:00:00Z", "2036-01-11"
			}
			x.Vaccinations = append(x.Vaccinations, v)
		}
		want := cert.FromDIVOC(x)
		y, err := want.ToDIVOC()
		if err != nil {
			t.Fatal(err)
		}
		data, findings := divoc.Encode(&y.Credential)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		z, findings, err := divoc.DecodeJSON(data)
		if err != nil || len(findings) > 0 {
			t.Fatal(err, findings)
		}
		if diff := cmp.Diff(want, cert.FromDIVOC(z)); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestMirrorDCC(t *testing.T) {
	spelling := rapid.StringMatching(`[A-Z]{1,10}(<[A-Z]{1,10})?`)
	country := rapid.SampledFrom([]string{"AT", "XA"})
	rapid.Check(t, func(t *rapid.T) {
		x := &eudcc.Certificate{
			Version: eudcc.LatestVersion, DateOfBirth: births().Draw(t, "dob"),
			Name: eudcc.Name{
				Surname: words().Draw(t, "fn"), StandardSurname: spelling.Draw(t, "fnt"),
				Forename: perhaps(words()).Draw(t, "gn"), StandardForename: perhaps(spelling).Draw(t, "gnt"),
			},
		}
		code := func(known string) string { return rapid.OneOf(rapid.Just(known), words()).Draw(t, known) }
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			x.Vaccination = &eudcc.Vaccination{
				Target: code("840539006"), Prophylaxis: code("1119349007"), Product: code("EU/1/20/1528"), Manufacturer: code("ORG-100030215"),
				Dose: rapid.Int64Range(1, 9).Draw(t, "dn"), Doses: rapid.Int64Range(1, 9).Draw(t, "sd"), Date: days().Draw(t, "dt"),
				Country: country.Draw(t, "co"), Issuer: words().Draw(t, "is"), ID: words().Draw(t, "ci"),
			}
		case 1:
			x.Test = &eudcc.Test{
				Target: code("840539006"), Type: code("LP6464-4"), Name: perhaps(words()).Draw(t, "nm"), Device: perhaps(words()).Draw(t, "ma"),
				SampleTime: days().Draw(t, "sc") + "T10:00:00+02:00", Result: code("260415000"), Centre: perhaps(words()).Draw(t, "tc"),
				Country: country.Draw(t, "co"), Issuer: words().Draw(t, "is"), ID: words().Draw(t, "ci"),
			}
		default:
			x.Recovery = &eudcc.Recovery{
				Target: code("840539006"), FirstPositive: days().Draw(t, "fr"), From: days().Draw(t, "df"), Until: days().Draw(t, "du"),
				Country: country.Draw(t, "co"), Issuer: words().Draw(t, "is"), ID: words().Draw(t, "ci"),
			}
		}
		want, _ := cert.FromDCC(x)
		y, err := want.ToDCC()
		if err != nil {
			t.Fatal(err)
		}
		data, _ := eudcc.Encode(y)
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		z, _ := eudcc.Decode(v)
		if got, _ := cert.FromDCC(z); cmp.Diff(want, got) != "" {
			t.Fatal(cmp.Diff(want, got))
		}
	})
}

func TestMirrorICVP(t *testing.T) {
	catalogue := cert.DemoCatalogue()
	rapid.Check(t, func(t *rapid.T) {
		x := &icvp.Certificate{
			Generation: 3, Name: words().Draw(t, "n"), DateOfBirth: days().Draw(t, "dob"), Template: icvp.TemplateVersion,
			Sex:         rapid.SampledFrom([]string{"male", "female", "other", "unknown"}).Draw(t, "s"),
			Nationality: rapid.SampledFrom([]string{"AUT", "XXA"}).Draw(t, "nt"), DocumentNumber: perhaps(words()).Draw(t, "id"),
			DocumentType: perhaps(words()).Draw(t, "dt"), Guardian: perhaps(words()).Draw(t, "gn"),
			Dose: icvp.Dose{
				Product: rapid.SampledFrom([]string{"DEMO-YF-0001", "DEMO-POLIO-0001"}).Draw(t, "vp"), Date: days().Draw(t, "dv"),
				Clinician: words().Draw(t, "cn"), Authority: perhaps(words()).Draw(t, "is"), Lot: words().Draw(t, "bo"),
			},
		}
		want := cert.FromICVP(x, catalogue)
		y, err := want.ToICVP(catalogue)
		if err != nil {
			t.Fatal(err)
		}
		data, findings := icvp.Encode(y)
		if len(findings) > 0 {
			t.Fatal(findings)
		}
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			t.Fatal(err)
		}
		z, _ := icvp.Decode(v)
		if diff := cmp.Diff(want, cert.FromICVP(z, catalogue)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// What a format does not certify is refused, and what it lacks is named.
func TestToRefuses(t *testing.T) {
	recovery := &cert.Certificate{Kind: cert.KindRecovery, Recovery: &cert.Recovery{}}
	test := &cert.Certificate{Kind: cert.KindTest, Test: &cert.Test{}}
	for name, to := range map[string]func() error{
		"DDCC, recovery":   func() error { _, err := recovery.ToDDCC(); return err },
		"VDS-NC, recovery": func() error { _, err := recovery.ToVDSNC(); return err },
		"DIVOC, recovery":  func() error { _, err := recovery.ToDIVOC(); return err },
		"DIVOC, test":      func() error { _, err := test.ToDIVOC(); return err },
	} {
		if err := to(); format.Reason(err, "") != string(cert.ErrNotCarried) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLikeICD11(t *testing.T) {
	for code, want := range map[string]string{
		"XM0N24": "XM0N24", "1D47": "1D47", "RA01.0": "RA01.0",
		"": "", "1119349007": "", "J07BX03": "", "EU/1/20/1528": "", "ORG-100030215": "", "ABC": "", "aBcd": "",
	} {
		s, err := (&cert.Certificate{Vaccination: &cert.Vaccination{Vaccine: cert.Code{Code: code}}}).ToVDSNC()
		if err != nil || s.Vaccination.Events[0].Vaccine != want {
			t.Errorf("%q: %v %+v", code, err, s)
		}
	}
}

// A record of another format is written in the words of a seal.
func TestToVDSNCOfOthers(t *testing.T) {
	const snomed = "http://snomed.info/sct"
	c := &cert.Certificate{
		ID: "U1", Authority: "DE",
		Person: cert.Person{
			Name: cert.Name{Family: "Spécimen", Given: "Ada Demo"}, BirthDate: "1990-02-03", Sex: "other",
			Document: cert.Document{Number: "N1", Type: "NI"},
		},
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "840539006", System: snomed}, Vaccine: cert.Code{Code: "1119349007", System: snomed, Display: "mRNA"},
			Synonyms: []cert.Code{{Code: "208", System: "http://hl7.org/fhir/sid/cvx"}, {Code: "XM0GQ8", System: "http://id.who.int/icd11/mms"}},
			Product:  cert.Code{Code: "EU/1/20/1528"}, Lot: "L2", Date: "2026-02-01", Dose: 2, Country: "AT", Clinician: "Clinic",
		},
		Earlier: []cert.Event{{Test: &cert.Test{}}},
	}
	got, err := c.ToVDSNC()
	if err != nil {
		t.Fatal(err)
	}
	want := &vdsnc.Seal{Type: vdsnc.TypeVaccination, Version: 1, Issuer: "D", Vaccination: &vdsnc.Vaccination{
		ID: "U1", Person: vdsnc.Person{Name: "Spécimen  Ada Demo", BirthDate: "1990-02-03", Sex: "X", OtherDocument: "N1"},
		Events: []vdsnc.Event{{Vaccine: "XM0GQ8", Name: "EU/1/20/1528", Disease: "RA01", Doses: []vdsnc.Dose{
			{Date: "2026-02-01", Number: 2, Country: "AUT", Centre: "Clinic", Lot: "L2"},
		}}},
	}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(vdsnc.Seal{})); diff != "" {
		t.Error(diff)
	}
}
