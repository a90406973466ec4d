package divoc

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"time"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/deflate"
	"ampoule/format/rdfc"
	"ampoule/format/strictjson"
)

// This file writes certificates. The programme is dormant, and nobody is to be
// given one: they are for demonstrations and for the conversion of records.

// Encode writes a certificate without its proof, under the context v2, and reads
// it again: the findings are what a certificate has to say and this one does
// not. Members that are empty are left out.
func Encode(c *Credential) ([]byte, []format.Finding) {
	var findings []format.Finding
	identifier := func(id, path string) {
		if id != "" && !rdfc.IsIRI(id) {
			findings = append(findings, format.Finding{Path: path, Reason: ErrRelative})
		}
	}
	identifier(c.Issuer, "issuer")
	identifier(c.Person.ID, "credentialSubject.id")
	evidence := []any{}
	for i := range c.Vaccinations {
		v := &c.Vaccinations[i]
		identifier(v.ID, "evidence["+strconv.Itoa(i)+"].id")
		evidence = append(evidence, v.members())
	}
	root := members{
		"@context": []string{contextCredentials, contextVaccination + "v2"},
		"type":     []string{"VerifiableCredential", "ProofOfVaccinationCredential"},
		"evidence": evidence, "credentialSubject": c.Person.members(),
	}
	root.text("issuer", c.Issuer)
	root.text("nonTransferable", c.NonTransferable)
	root.instant("issuanceDate", c.Issued)
	root.instant("validFrom", c.ValidFrom)
	root.instant("validUntil", c.ValidUntil)
	data, err := write(root)
	if err != nil {
		return nil, append(findings, format.Finding{Reason: format.Defect(format.Reason(err, string(ErrShape)))})
	}
	if findings != nil {
		return data, findings
	}
	_, findings, err = DecodeJSON(data)
	if err != nil {
		findings = []format.Finding{{Reason: format.Defect(format.Reason(err, string(ErrShape)))}}
	}
	return data, findings
}

// write writes JSON, refusing a text that is not UTF-8 where the library would
// put another in its place.
func write(v map[string]any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("DIVOC: %w: %w", ErrShape, err)
	}
	if broken(v) {
		return nil, fmt.Errorf("DIVOC: a text that is not UTF-8: %w", format.BadValue)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func broken(v any) bool {
	switch v := v.(type) {
	case string:
		return !utf8.ValidString(v)
	case members:
		return broken(map[string]any(v))
	case map[string]any:
		for _, e := range v {
			if broken(e) {
				return true
			}
		}
	case []any:
		for _, e := range v {
			if broken(e) {
				return true
			}
		}
	}
	return false
}

// members are those of a node that is being written.
type members map[string]any

func (m members) text(name, val string) {
	if val != "" {
		m[name] = val
	}
}

func (m members) count(name string, n int) {
	if n != 0 {
		m[name] = n
	}
}

func (m members) instant(name string, t time.Time) {
	if !t.IsZero() {
		m[name] = t.UTC().Format(time.RFC3339Nano)
	}
}

func (m members) node(name string, inner members) {
	if len(inner) > 0 {
		m[name] = inner
	}
}

func (p *Person) members() members {
	m := members{"type": "Person"}
	m.text("id", p.ID)
	m.text("refId", p.ReferenceID)
	m.text("name", p.Name)
	m.text("dob", p.BirthDate)
	m.text("age", p.Age)
	m.text("gender", p.Gender)
	m.text("nationality", p.Nationality)
	m.node("address", p.Address.members())
	return m
}

func (a *Address) members() members {
	m := members{}
	m.text("streetAddress", a.Street)
	m.text("streetAddress2", a.Street2)
	m.text("city", a.City)
	m.text("district", a.District)
	m.text("addressRegion", a.Region)
	m.text("postalCode", a.PostalCode)
	m.text("addressCountry", a.Country)
	return m
}

func (v *Vaccination) members() members {
	m, verifier, facility := members{"type": []string{"Vaccination"}}, members{}, members{}
	m.text("id", v.ID)
	m.text("certificateId", v.CertificateID)
	m.text("vaccine", v.Vaccine)
	m.text("manufacturer", v.Manufacturer)
	m.text("batch", v.Batch)
	m.text("icd11Code", v.ICD11)
	m.text("prophylaxis", v.Prophylaxis)
	m.text("date", v.Date)
	m.text("effectiveStart", v.From)
	m.text("effectiveUntil", v.Until)
	m.count("dose", v.Dose)
	m.count("totalDoses", v.TotalDoses)
	m.text("infoUrl", v.InfoURL)
	m.text("feedbackUrl", v.FeedbackURL)
	verifier.text("name", v.Verifier)
	m.node("verifier", verifier)
	facility.text("name", v.Facility)
	facility.node("address", v.Address.members())
	m.node("facility", facility)
	return m
}

// Sign adds a proof to a certificate as [Encode] wrote it. method is the name of
// the key, a DID or DID URL. An RSA key makes RsaSignature2018 (PS256), an
// Ed25519 key Ed25519Signature2018.
func Sign(random io.Reader, signer crypto.Signer, method string, created time.Time, certificate []byte) ([]byte, error) {
	v, err := strictjson.Decode(certificate, strictjson.Limits{Bytes: maxJSON})
	if err != nil {
		return nil, fmt.Errorf("DIVOC: %w", err)
	}
	root, ok := v.(map[string]any)
	if !ok || root["proof"] != nil {
		return nil, fmt.Errorf("DIVOC: no certificate without a proof: %w", ErrNotCredential)
	}
	names, err := new(Document).readContext(root["@context"])
	if err != nil {
		return nil, fmt.Errorf("DIVOC: %w", err)
	}
	proof := map[string]any{
		"created": created.UTC().Format(time.RFC3339), "verificationMethod": method, "proofPurpose": purposeAssertion,
	}
	var alg string
	var options crypto.SignerOpts = crypto.Hash(0)
	switch k := signer.Public().(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return nil, fmt.Errorf("DIVOC: RSA key of %d bits: %w", k.N.BitLen(), ErrWeakKey)
		}
		alg, proof["type"] = algRSA, suiteRSA
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	case ed25519.PublicKey:
		alg, proof["type"] = algEd25519, suiteEd25519
	default:
		return nil, fmt.Errorf("DIVOC: signing with %T: %w", k, ErrAlgNotAllowed)
	}

	context := root["@context"]
	delete(root, "@context")
	document, err := canonicalHash(root, names)
	if err != nil {
		return nil, fmt.Errorf("DIVOC: %w", err)
	}
	hashed, err := canonicalHash(proof, security)
	if err != nil {
		return nil, fmt.Errorf("DIVOC: proof: %w", err)
	}
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","b64":false,"crit":["b64"]}`))
	input := signingInput(header, hashed, document)
	if alg == algRSA {
		digest := sha256.Sum256(input)
		input = digest[:]
	}
	signature, err := signer.Sign(random, input, options)
	if err != nil {
		return nil, fmt.Errorf("DIVOC: signing: %w", err)
	}
	proof["jws"] = header + ".." + base64.RawURLEncoding.EncodeToString(signature)
	root["@context"], root["proof"] = context, proof
	return write(root)
}

// Pack puts a certificate into the archive that a QR code carries, as its bytes
// or, behind [Prefix], in base64.
func Pack(certificate []byte) ([]byte, error) {
	if len(certificate) > maxJSON {
		return nil, fmt.Errorf("DIVOC: %d bytes, at most %d: %w", len(certificate), maxJSON, deflate.ErrTooLarge)
	}
	packed, err := deflate.Deflate(certificate)
	if err != nil {
		return nil, fmt.Errorf("DIVOC: %w", err)
	}
	le := binary.LittleEndian
	// What both headers say: version 2.0, no flags, deflated, 1980-01-01 00:00,
	// checksum, sizes, the length of the name and no extra field.
	var common []byte
	for _, n := range [...]uint16{20, 0, methodDeflate, 0, 1<<5 | 1} {
		common = le.AppendUint16(common, n)
	}
	common = le.AppendUint32(common, crc32.ChecksumIEEE(certificate))
	common = le.AppendUint32(common, uint32(len(packed)))
	common = le.AppendUint32(common, uint32(len(certificate)))
	common = le.AppendUint32(common, uint32(len(fileName)))

	out := append(le.AppendUint32(nil, zipLocal), common...)
	out = append(append(out, fileName...), packed...)
	start := len(out)
	out = append(le.AppendUint16(le.AppendUint32(out, zipCentral), 20), common...)
	// No comment, disk 0, no attributes, and the file at the start.
	out = append(append(out, make([]byte, 14)...), fileName...)
	size := len(out) - start
	out = append(le.AppendUint32(out, zipEnd), 0, 0, 0, 0, 1, 0, 1, 0)
	out = le.AppendUint32(le.AppendUint32(out, uint32(size)), uint32(start))
	return append(out, 0, 0), nil
}

// Text returns an archive as text.
func Text(archive []byte) string { return Prefix + base64.StdEncoding.EncodeToString(archive) }
