package main

import (
	"bytes"
	"compress/zlib"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"ampoule/cert"
	"ampoule/format/eudcc"
	"ampoule/format/fhir"
	"ampoule/format/hcert"
	"ampoule/format/jwks"
	"ampoule/format/shc"
	"ampoule/internal/keys"
	"ampoule/internal/messages"
	"ampoule/internal/paper"
	"ampoule/internal/qr"
	"ampoule/party/issuer"
	"ampoule/party/verifier"
	"ampoule/trust"
	"ampoule/trust/hotkeys"
)

// newCases issues the certificates to be measured with, under keys of its own.
func newCases() ([]bench, error) {
	now := time.Now()
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Benchmark", Name: "Benchmark SCA"}, now, nil)
	if err != nil {
		return nil, err
	}
	dsc, err := sca.IssueDSC(keys.DSCProfile{}, now, nil)
	if err != nil {
		return nil, err
	}
	list, err := crowdedList(dsc, 400)
	if err != nil {
		return nil, err
	}
	c := dsc.Certificate()
	i := &issuer.Issuer{
		Signer: dsc.Signer, KID: dsc.KID(), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		Participant: "XXA", Address: cardIssuer, Catalogue: cert.DemoCatalogue(), Now: time.Now,
	}
	dccRequest := issuer.Request{Format: issuer.EUDCC, Record: dccRecord(now), Expires: now.AddDate(1, 0, 0)}
	icvpRequest := issuer.Request{Format: issuer.ICVP, Record: icvpRecord(now)}
	dcc, err := recompress(i, dccRequest, fixedHuffman)
	if err != nil {
		return nil, err
	}
	icvp, err := i.Issue(icvpRequest)
	if err != nil {
		return nil, err
	}
	dynamic, err := recompress(i, longer(dccRequest), dynamicHuffman)
	if err != nil {
		return nil, err
	}
	card, err := i.Issue(issuer.Request{Format: issuer.SHC, Record: cardRecord(now)})
	if err != nil {
		return nil, err
	}
	hot := hotkeys.NewCache(4)
	v := &verifier.Verifier{Trust: list, Catalogue: cert.DemoCatalogue(), Now: func() time.Time { return now.Add(time.Hour) }}
	fast := *v
	fast.HotKeys = hot
	bare, err := bareVerify(dcc, dsc)
	if err != nil {
		return nil, err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256([]byte("a digest"))
	symbol, err := qr.Encode(icvp.Text, qr.Q)
	if err != nil {
		return nil, err
	}
	claims := func(cache *hotkeys.Cache, text string) func() error {
		return func() error { return textToClaims(list, cache, text) }
	}
	whole := func(v *verifier.Verifier, text string) func() error {
		return func() error {
			if got := v.Verify(text); got.Outcome != verifier.Valid {
				return fmt.Errorf("%s: %s", got.Outcome, got.Reason)
			}
			return nil
		}
	}
	echo, plain, served, err := httpCases(v, icvp.Text)
	if err != nil {
		return nil, err
	}
	return []bench{
		{name: "ecdsa-verify", run: bare},
		{name: "claims", base: "ecdsa-verify", goal: 1.15, run: claims(nil, dcc)},
		{name: "claims-dynamic", base: "ecdsa-verify", goal: 1.22, run: claims(nil, dynamic)},
		{name: "verify", base: "ecdsa-verify", goal: 1.35, run: whole(v, dcc)},
		{name: "verify-icvp", base: "ecdsa-verify", goal: 1.35, run: whole(v, icvp.Text)},
		{name: "claims-shc", base: "ecdsa-verify", goal: 1.40, run: func() error { return cardToClaims(list, card.Text) }},
		{name: "verify-shc", base: "ecdsa-verify", run: whole(v, card.Text)},
		{name: "claims-hot", base: "ecdsa-verify", goal: 0.65, run: claims(hot, dcc)},
		{name: "verify-hot", base: "ecdsa-verify", goal: 0.75, run: whole(&fast, dcc)},
		{name: "verify-icvp-hot", base: "ecdsa-verify", goal: 0.75, run: whole(&fast, icvp.Text)},
		{name: "ecdsa-sign", run: func() error {
			_, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
			return err
		}},
		{name: "issue", base: "ecdsa-sign", goal: 1.25, run: func() error { _, err := i.Issue(icvpRequest); return err }},
		{name: "issue-dcc", base: "ecdsa-sign", goal: 1.25, run: func() error { _, err := i.Issue(dccRequest); return err }},
		{name: "http-echo", run: echo},
		{name: "http-verify", base: "http-echo", less: "verify-icvp", goal: 1.50, run: served},
		{name: "http-plain", run: plain},
		{name: "http-verify-plain", base: "http-plain", less: "verify-icvp", goal: 1.50, run: served},
		{name: "png", run: func() error {
			s, err := qr.Encode(icvp.Text, qr.Q)
			if err != nil {
				return err
			}
			_, err = s.PNG(qr.Options{})
			return err
		}},
		{name: "paper", run: printer(messages.English, messages.Accept("fr"), icvp)},
		{name: "paper-arabic", run: printer(messages.English, messages.Accept("ar"), icvp)},
		{name: "svg-drawing", run: func() error { _, err := symbol.SVG(qr.Options{}); return err }},
	}, nil
}

// printer prints a certificate on a sheet of its own, from text and record to PDF.
func printer(first, second *messages.Language, c *issuer.Issued) func() error {
	certificates := []paper.Certificate{{Format: c.Format, Text: c.Text, Participant: "XXA", Record: c.Record()}}
	o := paper.Options{First: first, Second: second, Made: time.Now()}
	return func() error {
		_, err := paper.Print(certificates, o)
		return err
	}
}

// crowdedList surrounds one key with others, as a real trust list does.
func crowdedList(dsc *keys.Key, others int) (*trust.List, error) {
	list := new(trust.List)
	for n := range others {
		k, err := trust.NewKey(dsc.Certificate().Raw)
		if err != nil {
			return nil, err
		}
		k.ID = trust.KeyID(fmt.Sprintf("other%03d", n))
		list.Insert(k)
	}
	k, err := trust.NewKey(dsc.Certificate().Raw)
	if err != nil {
		return nil, err
	}
	k.Participant = "XXA"
	list.Insert(k)
	// The same key for cards, which name it by its thumbprint.
	thumbprint, err := jwks.Thumbprint(dsc.Signer.Public())
	if err != nil {
		return nil, err
	}
	if k, err = trust.NewKey(dsc.Certificate().Raw); err != nil {
		return nil, err
	}
	k.Domain, k.Issuer, k.ID = trust.SHC, cardIssuer, trust.KeyID(thumbprint)
	list.Insert(k)
	return list, nil
}

// cardIssuer is the address of the issuer of cards.
const cardIssuer = "https://benchmark.example"

// bareVerify is the least that any verifier must do: the standard library's
// signature check over a digest that is there already.
func bareVerify(text string, dsc *keys.Key) (func() error, error) {
	m, err := hcert.Decode(text, hcert.Strict)
	if err != nil {
		return nil, err
	}
	public, ok := dsc.Signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("the signer is not ECDSA")
	}
	private, ok := dsc.Signer.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the signer is not in this process")
	}
	digest := m.Sign1.Digest()
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	if err != nil {
		return nil, err
	}
	return func() error {
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			return errors.New("the signature does not fit")
		}
		return nil
	}, nil
}

// textToClaims decodes, finds the key, checks the signature and reads the
// payload: no policy, no neutral record.
func textToClaims(list *trust.List, hot *hotkeys.Cache, text string) error {
	m, err := hcert.Decode(text, hcert.Field)
	if err != nil {
		return err
	}
	keys := list.Keys(trust.Scope{Domain: trust.DCC}, trust.KeyID(m.Sign1.KID))
	if len(keys) != 1 {
		return fmt.Errorf("%d keys", len(keys))
	}
	if err := m.Sign1.Verify(hot.Public(keys[0].Public)); err != nil {
		return err
	}
	if _, findings := eudcc.Decode(m.Certificate); len(findings) > 0 {
		return fmt.Errorf("%v", findings)
	}
	return nil
}

// cardToClaims is the same for a SMART Health Card.
func cardToClaims(list *trust.List, text string) error {
	jws, err := shc.Parse(shc.Field, text)
	if err != nil {
		return err
	}
	keys := list.Keys(trust.Scope{Domain: trust.SHC, Issuer: cardIssuer}, trust.KeyID(jws.KeyID()))
	if len(keys) != 1 {
		return fmt.Errorf("%d keys", len(keys))
	}
	if err := jws.Verify(keys[0].Public); err != nil {
		return err
	}
	card, err := jws.Open()
	if err == nil && len(card.Findings) > 0 {
		err = fmt.Errorf("%v", card.Findings)
	}
	return err
}

// longer is a request with so much text that its compression brings Huffman
// tables of its own, which cost a reader more than the fixed ones.
func longer(req issuer.Request) issuer.Request {
	record := *req.Record
	record.Person.Name.Family = "Specimen-Oberhausen-Unterhaching Zumberge von Langenhagen"
	record.Person.Name.FamilyMRZ = "SPECIMEN<OBERHAUSEN<UNTERHACHING<ZUMBERGE<VON<LANGENHAGEN"
	record.Authority = "Benchmark Ministry of Public Health and Social Affairs, Department of Vaccination"[:80]
	req.Record = &record
	return req
}

// Types of a deflate block (RFC 1951 section 3.2.3).
const (
	fixedHuffman   = 1
	dynamicHuffman = 2
)

// recompress issues a certificate and packs it again as most issuers do, with
// zlib's best compression; Ampoule itself prefers speed where the symbol does
// not grow. blockType is what must come of it.
func recompress(i *issuer.Issuer, req issuer.Request, blockType byte) (string, error) {
	issued, err := i.Issue(req)
	if err != nil {
		return "", err
	}
	body, _, err := hcert.Unprefix(issued.Text, hcert.Strict)
	if err != nil {
		return "", err
	}
	compressed, err := hcert.DecodeBase45(body)
	if err != nil {
		return "", err
	}
	message, err := hcert.Inflate(compressed)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	w, err := zlib.NewWriterLevel(&out, zlib.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(message); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if got := out.Bytes()[2] >> 1 & 3; got != blockType { // after the zlib header
		return "", fmt.Errorf("the block is of type %d, not %d", got, blockType)
	}
	return hcert.Prefix + hcert.EncodeBase45(out.Bytes()), nil
}

func dccRecord(now time.Time) *cert.Certificate {
	return &cert.Certificate{
		ID: "URN:UVCI:01:XA:BENCHMARK0001#0", Authority: "Benchmark Health Authority",
		Person: cert.Person{Name: cert.Name{Family: "Specimen", FamilyMRZ: "SPECIMEN", Given: "Benchmark", GivenMRZ: "BENCHMARK"}, BirthDate: "1990-02-03"},
		Vaccination: &cert.Vaccination{
			Disease: cert.Code{Code: "840539006"}, Vaccine: cert.Code{Code: "1119349007"}, Product: cert.Code{Code: "EU/1/20/1528"},
			Manufacturer: cert.Code{Code: "ORG-100030215"}, Date: cert.Date(now.AddDate(0, -1, 0).Format(time.DateOnly)), Dose: 2, Doses: 2, Country: "AT",
		},
	}
}

// cardRecord is a card as they are: a series of two doses.
func cardRecord(now time.Time) *cert.Certificate {
	dose := func(months int) *cert.Vaccination {
		return &cert.Vaccination{
			Vaccine: cert.Code{Code: "207", System: fhir.SystemCVX}, Lot: "LOT-1", Clinician: "Benchmark clinic",
			Date: cert.Date(now.AddDate(0, -months, 0).Format(time.DateOnly)),
		}
	}
	return &cert.Certificate{
		Person:      cert.Person{Name: cert.Name{Family: "Specimen", Given: "Benchmark B."}, BirthDate: "1990-02-03"},
		Vaccination: dose(1), Earlier: []cert.Event{{Vaccination: dose(2)}},
	}
}

func icvpRecord(now time.Time) *cert.Certificate {
	return &cert.Certificate{
		Person: cert.Person{
			Name: cert.Name{Full: "SPECIMEN BENCHMARK"}, BirthDate: "1990-02-03", Sex: "female", Nationality: "XXA",
			Document: cert.Document{Number: "SPEC0001", Type: "PPN"},
		},
		Vaccination: &cert.Vaccination{
			Product: cert.Code{Code: "DEMO-YF-0001"}, Lot: "LOT-1", Clinician: "Benchmark clinic",
			Date: cert.Date(now.AddDate(0, -1, 0).Format(time.DateOnly)),
		},
	}
}
