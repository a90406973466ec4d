package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"ampoule/cert"
	"ampoule/format/cbor"
	"ampoule/format/dccrevocation"
	"ampoule/format/divoc"
	"ampoule/format/hcert"
	"ampoule/format/vhl"
	"ampoule/internal/httpapi"
	"ampoule/internal/keys"
	"ampoule/internal/paper"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
	"ampoule/thing"
)

// sampler issues the certificates of the demonstration: one of every kind, and
// one for every way in which a certificate is refused.
type sampler struct {
	trusted, unlisted *keySet
	divoc             ed25519.PrivateKey // named demoDID
	now               time.Time
	revoked           string // text of the certificate to be revoked
}

func (s *sampler) all() ([]httpapi.Sample, error) {
	month, year := s.now.AddDate(0, -1, 0), s.now.AddDate(1, 0, 0).Truncate(time.Second)
	if limit := s.trusted.signers["dsc-any"].Certificate().NotAfter; year.After(limit) {
		year = limit
	}
	yellowFever := s.icvp("DEMO-YF-0001", s.now.AddDate(0, -3, 0))
	var samples []httpapi.Sample
	var failed error
	add := func(id, title, note string, want verifier.Outcome, text string, err error) {
		if err != nil && failed == nil {
			failed = fmt.Errorf("sample %s: %w", id, err)
		}
		samples = append(samples, httpapi.Sample{ID: id, Title: title, Note: note, Text: text, Want: want})
	}
	issue := func(id, title, note string, want verifier.Outcome, key *keys.Key, at time.Time, f issuer.Format, record *cert.Certificate, expires time.Time) string {
		printed, err := s.issue(key, at, f, record, expires)
		add(id, title, note, want, printed.Text, err)
		samples[len(samples)-1].Paper = &printed
		return printed.Text
	}
	vaccination, test, recovery := s.trusted.signers["dsc-vaccination"], s.trusted.signers["dsc-test"], s.trusted.signers["dsc-recovery"]

	good := issue("icvp-yellow-fever", "WHO Digital ICVP: yellow fever", "In force for life.", verifier.Valid,
		vaccination, month, issuer.ICVP, yellowFever, time.Time{})
	recalled := s.icvp("DEMO-YF-0001", s.now.AddDate(0, -3, 0))
	recalled.Vaccination.Lot = recalledLot
	issue("recalled-lot", "Recalled lot", "In force for life; the lot of the dose was recalled, which is a question for a health officer.", verifier.Valid,
		vaccination, month, issuer.ICVP, recalled, time.Time{})
	issue("icvp-polio", "WHO Digital ICVP: poliomyelitis", "In force for a year.", verifier.Valid,
		vaccination, month, issuer.ICVP, s.icvp("DEMO-POLIO-0001", s.now.AddDate(0, -2, 0)), year)
	issue("dcc-vaccination", "EU DCC: vaccination", "In force.", verifier.Valid,
		vaccination, month, issuer.EUDCC, s.dccVaccination(), year)
	issue("dcc-test", "EU DCC: test", "In force.", verifier.Valid,
		test, s.now.Add(-time.Hour), issuer.EUDCC, s.dccTest(), year)
	issue("dcc-recovery", "EU DCC: recovery", "In force.", verifier.Valid,
		recovery, month, issuer.EUDCC, s.dccRecovery(), year)
	link, err := s.link(year)
	add("vhl", "Verifiable Health Link", "In force; it is shown and not opened.", verifier.Valid, link, err)

	issue("shc", "SMART Health Card", "In force; it carries a lot.", verifier.Valid,
		s.trusted.signers["dsc-any"], month, issuer.SHC, s.card(), time.Time{})
	issue("ddcc-vaccination", "WHO DDCC: vaccination", "In force.", verifier.Valid,
		vaccination, month, issuer.DDCC, s.ddccVaccination(), year)
	issue("ddcc-test", "WHO DDCC: test result", "In force.", verifier.Valid,
		test, s.now.Add(-time.Hour), issuer.DDCC, s.ddccTest(), year)
	issue("vds-nc", "ICAO visible digital seal", "In force; it carries two doses, and its signer's certificate.", verifier.Valid,
		s.trusted.others["dsc-seal"], month, issuer.VDSNC, s.seal(), time.Time{})
	divocText, err := s.divocCertificate(month)
	add("divoc", "DIVOC certificate", "In force.", verifier.Valid, divocText, err)

	issue("expired", "Expired", "The period of an EU DCC has ended.", verifier.Expired,
		vaccination, s.now.AddDate(0, -6, 0), issuer.EUDCC, s.dccVaccination(), s.now.AddDate(0, 0, -7).Truncate(time.Second))
	issue("not-yet-valid", "Not yet valid", "Yellow fever vaccine given three days ago: it counts after ten.", verifier.NotYetValid,
		vaccination, s.now.Add(-time.Hour), issuer.ICVP, s.icvp("DEMO-YF-0002", s.now.AddDate(0, 0, -3)), time.Time{})
	forged, err := forge(good)
	add("forged", "Forged", "A genuine certificate whose content was changed after it was signed.", verifier.BadSignature, forged, err)
	issue("key-usage", "Wrong key", "A test certificate signed with a key for vaccinations.", verifier.UntrustedKey,
		vaccination, s.now.Add(-time.Hour), issuer.EUDCC, s.dccTest(), year)
	issue("unknown-issuer", "Unknown issuer", "Signed by an authority that is on no trust list.", verifier.UnknownIssuer,
		s.unlisted.signers["dsc-vaccination"], month, issuer.ICVP, yellowFever, time.Time{})
	s.revoked = issue("revoked", "Revoked", "The issuer has withdrawn it.", verifier.Revoked,
		vaccination, month, issuer.EUDCC, s.dccVaccination(), year)
	return samples, failed
}

func (s *sampler) issue(key *keys.Key, at time.Time, f issuer.Format, record *cert.Certificate, expires time.Time) (paper.Certificate, error) {
	c := key.Certificate()
	participant := s.trusted.participant
	if key == s.unlisted.signers["dsc-vaccination"] {
		participant = s.unlisted.participant
	}
	var chain [][]byte
	for _, c := range key.Chain {
		chain = append(chain, c.Raw)
	}
	i := &issuer.Issuer{
		Signer: key.Signer, Chain: chain, KID: key.KID(), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Participant: participant, Address: demoAddress, Catalogue: cert.DemoCatalogue(), Now: func() time.Time { return at },
	}
	// An expired sample is issued with the clock set back, and judged by today's.
	issued, err := i.Issue(issuer.Request{Format: f, Record: record, Expires: expires})
	if err != nil {
		return paper.Certificate{}, err
	}
	return paper.Certificate{Format: f, Text: issued.Text, Participant: participant, Record: issued.Record()}, nil
}

func day(t time.Time) cert.Date { return cert.Date(t.UTC().Format(time.DateOnly)) }

func (s *sampler) icvp(product string, given time.Time) *cert.Certificate {
	return &cert.Certificate{
		Person: cert.Person{
			Name: cert.Name{Full: "SPECIMEN DEMO"}, BirthDate: "1990-02-03", Sex: "female",
			Nationality: "XXA", Document: cert.Document{Number: "SPEC0001", Type: "PPN"},
		},
		Vaccination: &cert.Vaccination{
			Product: cert.Code{Code: product}, Lot: "DEMO-LOT-1", Date: day(given), Clinician: "Demonstration clinic",
		},
	}
}

func (s *sampler) person() cert.Person {
	return cert.Person{Name: cert.Name{Family: "Spécimen-Ünal", Given: "Démo"}, BirthDate: "1990-02-03"}
}

var covid = cert.Code{Code: "840539006"}

func (s *sampler) dccVaccination() *cert.Certificate {
	return &cert.Certificate{
		Person: s.person(), Authority: "Demonstration Health Authority",
		Vaccination: &cert.Vaccination{
			Disease: covid, Vaccine: cert.Code{Code: "1119349007"}, Product: cert.Code{Code: "EU/1/20/1528"},
			Manufacturer: cert.Code{Code: "ORG-100030215"}, Date: day(s.now.AddDate(0, -7, 0)), Dose: 2, Doses: 2, Country: "XA",
		},
	}
}

func (s *sampler) card() *cert.Certificate {
	return &cert.Certificate{
		Person: s.person(), Authority: "Demonstration clinic",
		Vaccination: &cert.Vaccination{
			Vaccine: cert.Code{Code: "183", System: "http://hl7.org/fhir/sid/cvx"}, // yellow fever
			Lot:     "DEMO-LOT-1", Date: day(s.now.AddDate(0, -3, 0)),
		},
	}
}

const icd11 = "http://id.who.int/icd/release/11/mms"

func (s *sampler) ddccVaccination() *cert.Certificate {
	return &cert.Certificate{
		Person: cert.Person{
			Name: cert.Name{Full: "SPECIMEN DEMO"}, BirthDate: "1990-02-03", Sex: "female",
			Document: cert.Document{Number: "SPEC0001", Type: "PPN"},
		},
		Authority: "Demonstration Health Authority",
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "RA01", System: icd11, Display: "COVID-19"},
			Vaccine: cert.Code{Code: "XM0GQ8", System: icd11, Display: "COVID-19 vaccine, RNA based"},
			Product: cert.Code{Code: "XM8NQ0", System: icd11, Display: "Comirnaty"}, Manufacturer: cert.Code{Code: "DEMO-MANUFACTURER"},
			Lot: "DEMO-LOT-1", Date: day(s.now.AddDate(0, -7, 0)), Dose: 2, Doses: 2, Country: "XXA",
		},
	}
}

func (s *sampler) ddccTest() *cert.Certificate {
	r := s.ddccVaccination()
	r.Vaccination, r.Test = nil, &cert.Test{
		Disease: cert.Code{Code: "XN109", System: icd11, Display: "SARS-CoV-2"},
		Type:    cert.Code{Code: "94500-6", System: "http://loinc.org", Display: "SARS-CoV-2 RNA, NAA with probe detection"},
		Result:  cert.Code{Code: "260415000", System: "http://snomed.info/sct", Display: "Not detected"},
		Sampled: s.now.Add(-6 * time.Hour).UTC().Format(time.RFC3339), Centre: "Demonstration test centre", Country: "XXA",
	}
	return r
}

// seal is a record of two vaccines.
func (s *sampler) seal() *cert.Certificate {
	r := s.ddccVaccination()
	r.Earlier = []cert.Event{{Vaccination: r.Vaccination}}
	r.Earlier[0].Vaccination.Clinician = "Demo clinic"
	r.Vaccination = &cert.Vaccination{
		Disease: cert.Code{Code: "1D47", System: icd11}, Vaccine: cert.Code{Code: "XM0N24", System: icd11},
		Product: cert.Code{Display: "Demonstration vaccine"},
		Lot:     "DEMO-LOT-1", Date: day(s.now.AddDate(0, -3, 0)), Dose: 1, Country: "XXA", Clinician: "Demo clinic",
	}
	return r
}

// demoDID names the key of the demonstration's DIVOC issuer.
const demoDID = "did:example:ampoule-demonstration"

// makeDIVOCKey makes the key and returns the DID document that publishes it.
func (s *sampler) makeDIVOCKey() ([]byte, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	s.divoc = private
	return json.MarshalIndent(map[string]any{
		"@context": "https://www.w3.org/ns/did/v1", "id": demoDID,
		"verificationMethod": []map[string]any{{
			"id": demoDID, "type": "JsonWebKey2020", "controller": demoDID,
			"publicKeyJwk": map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)},
		}},
	}, "", " ")
}

// divocCertificate signs a DIVOC certificate, which the issuer does not make.
func (s *sampler) divocCertificate(at time.Time) (string, error) {
	r := s.seal()
	r.Earlier = nil
	r.Authority, r.ID, r.Issued = demoAddress, "1", at.Truncate(time.Second)
	d, err := r.ToDIVOC()
	if err != nil {
		return "", err
	}
	certificate, findings := divoc.Encode(&d.Credential)
	if len(findings) > 0 {
		return "", fmt.Errorf("%s: %w", findings[0].Path, findings[0].Reason)
	}
	signed, err := divoc.Sign(rand.Reader, s.divoc, demoDID, at, certificate)
	if err != nil {
		return "", err
	}
	archive, err := divoc.Pack(signed)
	return divoc.Text(archive), err
}

func (s *sampler) dccTest() *cert.Certificate {
	return &cert.Certificate{
		Person: s.person(), Authority: "Demonstration Health Authority",
		Test: &cert.Test{
			Disease: covid, Type: cert.Code{Code: "LP6464-4"}, Name: "Demonstration nucleic acid test",
			Sampled: s.now.Add(-6 * time.Hour).UTC().Format(time.RFC3339), Result: cert.Code{Code: "260415000"},
			Centre: "Demonstration test centre", Country: "XA",
		},
	}
}

func (s *sampler) dccRecovery() *cert.Certificate {
	return &cert.Certificate{
		Person: s.person(), Authority: "Demonstration Health Authority",
		Recovery: &cert.Recovery{
			Disease: covid, FirstPositive: day(s.now.AddDate(0, -2, 0)), Country: "XA",
			ValidFrom: day(s.now.AddDate(0, -2, 11)), ValidUntil: day(s.now.AddDate(0, 4, 0)),
		},
	}
}

// link signs a Verifiable Health Link, which the issuer of vaccinations does
// not make.
func (s *sampler) link(expires time.Time) (string, error) {
	l := &vhl.Link{Kind: vhl.KindVHL, URL: "https://sharer.example/List/_search?_id=demonstration", Expires: expires, Passcode: true, Label: "Demonstration summary"}
	if _, err := rand.Read(l.Key[:]); err != nil {
		return "", err
	}
	text, err := l.Encode()
	if err != nil {
		return "", err
	}
	key := s.trusted.signers["dsc-any"]
	claims := hcert.AppendClaims(nil, hcert.Claims{Issuer: s.trusted.participant, IssuedAt: s.now.Add(-time.Hour), ExpiresAt: expires}, hcert.SubclaimVHL, cbor.AppendText(nil, text))
	return hcert.Encode(rand.Reader, key.Signer, key.KID(), claims)
}

// forge changes one letter of the name inside a signed certificate.
func forge(text string) (string, error) {
	m, err := hcert.Decode(text, hcert.Strict)
	if err != nil {
		return "", err
	}
	payload := []byte(m.Sign1.Payload)
	for i := range payload {
		if i+8 <= len(payload) && string(payload[i:i+8]) == "SPECIMEN" {
			payload[i+7] = 'M'
			break
		}
	}
	msg := cbor.AppendArray(cbor.AppendTag(nil, 18), 4)
	msg = cbor.AppendBytes(msg, m.Sign1.Protected)
	msg = cbor.AppendMap(msg, 0)
	msg = cbor.AppendBytes(msg, payload)
	return hcert.EncodeCOSE(cbor.AppendBytes(msg, m.Sign1.Signature))
}

// revocations is a batch that revokes the certificate to be revoked.
func (s *sampler) revocations() ([]byte, error) {
	m, err := hcert.Decode(s.revoked, hcert.Strict)
	if err != nil {
		return nil, err
	}
	hash, err := dccrevocation.Signature(m.Sign1.Signature, true)
	if err != nil {
		return nil, err
	}
	return dccrevocation.Batch{
		Country: "XA", Expires: s.now.AddDate(2, 0, 0).Truncate(time.Second), KID: m.Sign1.KID,
		Type: dccrevocation.TypeSignature, Hashes: []dccrevocation.Hash128{hash},
	}.Encode()
}

// recalledLot is the lot that the demonstration's regulator has recalled.
const recalledLot = "DEMO-LOT-RECALLED"

// demoAuthorities are those who speak of lots beside the participant.
var demoAuthorities = []struct {
	role               thing.Role
	name, organisation string
	says               func(now time.Time) []thing.LotStatement
}{
	{thing.Regulator, "DEMO-REGULATOR", "Demonstration Medicines Regulator", func(time.Time) []thing.LotStatement {
		return []thing.LotStatement{{Product: thing.Product{Code: "DEMO-YF-0001", System: cert.SystemICVPProduct}, Lot: recalledLot, Value: thing.Recalled}}
	}},
	{thing.Manufacturer, "DEMO-MANUFACTURER", "Demonstration Manufacturer", func(now time.Time) (list []thing.LotStatement) {
		for lot, product := range map[string]string{"DEMO-LOT-1": "DEMO-YF-0002", "DEMO-IPV-1": "DEMO-POLIO-0001"} {
			list = append(list, thing.LotStatement{
				Product: thing.Product{Code: product, System: cert.SystemICVPProduct}, Lot: lot, Value: thing.ExpiresOn, Expiry: demoExpiry(now),
			})
		}
		return list
	}},
}

// demoExpiry is the last day of the lots of the demonstration.
func demoExpiry(now time.Time) string { return now.AddDate(1, 6, 0).Format(time.DateOnly) }
