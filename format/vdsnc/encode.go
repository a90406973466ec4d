package vdsnc

import (
	"crypto"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/gowebpki/jcs"

	"ampoule/format"
)

// The words of the report for tests (tr).
var (
	methods   = []string{"molecular(PCR)", "molecular(other)", "antigen", "antibody"}
	results   = []string{"normal", "abnormal", "positive", "negative"}
	documents = []string{"P", "A", "C", "I", "AC", "V", "D"}
)

// Encode writes what a seal signs, header and message in their canonical form
// (RFC 8785), and reads it again: the findings are what the report requires and
// the seal lacks, and nothing is tolerable in what is about to be signed.
// Members that are empty are left out.
func Encode(s *Seal) ([]byte, []format.Finding) {
	hdr := object{"v": 1, "is": s.Issuer}
	var msg object
	switch {
	case s.Vaccination != nil && s.Test == nil:
		hdr["t"], msg = TypeVaccination, s.Vaccination.object()
	case s.Test != nil && s.Vaccination == nil:
		hdr["t"], msg = TypeTest, s.Test.object()
	default:
		return nil, []format.Finding{{Path: "hdr.t", Reason: format.RequiredMissing}}
	}
	raw, err := json.Marshal(object{"hdr": hdr, "msg": msg})
	if err != nil || hdr.broken() || msg.broken() {
		return nil, []format.Finding{{Reason: format.BadValue}}
	}
	data, err := jcs.Transform(raw)
	if err != nil {
		return nil, []format.Finding{{Reason: ErrNotIJSON}}
	}
	_, findings, err := DecodeData(data, Strict)
	if err != nil {
		findings = append(findings, format.Finding{Reason: format.Defect(format.Reason(err, string(ErrShape)))})
	}
	return data, append(findings, s.missing()...)
}

// DecodeData reads header and message without the signature that belongs to them.
func DecodeData(data []byte, p Profile) (*Seal, []format.Finding, error) {
	top, ok := members(data)
	if !ok {
		return nil, nil, fmt.Errorf("VDS-NC: data: %w", ErrShape)
	}
	s := new(Seal)
	findings, err := s.readData(top, p)
	return s, findings, err
}

// missing finds what the report requires and the reader does without.
func (s *Seal) missing() (findings []format.Finding) {
	check := func(path string, reason format.Defect, good bool) {
		if !good {
			findings = append(findings, format.Finding{Path: path, Reason: reason})
		}
	}
	if v := s.Vaccination; v != nil {
		check("pid.dob|pid.i", format.RequiredMissing, v.Person.BirthDate != "" || v.Person.Document != "")
		for i, e := range v.Events {
			for j, d := range e.Doses {
				at := fmt.Sprintf("ve[%d].vd[%d].", i, j)
				check(at+"seq", format.BadValue, d.Number >= 1 && d.Number <= 99)
				check(at+"lot", format.RequiredMissing, d.Lot != "")
			}
		}
		return findings
	}
	t := s.Test
	for _, m := range [...]struct{ path, text string }{
		{"pid.dob", t.Person.BirthDate}, {"pid.dn", t.Person.Number},
		{"sp.cd.p", t.Phone}, {"sp.cd.e", t.Email}, {"sp.cd.a", t.Address}, {"dat.ri", t.Reported},
	} {
		check(m.path, format.RequiredMissing, m.text != "")
	}
	check("pid.dt", format.BadCode, slices.Contains(documents, t.Person.NumberType))
	check("tr.tc", format.BadCode, t.Method == "" || slices.Contains(methods, t.Method))
	check("tr.r", format.BadCode, t.Result == "" || slices.Contains(results, t.Result))
	return findings
}

// text adds a member that is not empty.
func (o object) text(key, val string) {
	if val != "" {
		o[key] = val
	}
}

// broken reports whether a text is not UTF-8, which JSON would hide.
func (o object) broken() bool {
	for _, v := range o {
		switch v := v.(type) {
		case string:
			if !utf8.ValidString(v) {
				return true
			}
		case object:
			if v.broken() {
				return true
			}
		case []object:
			if slices.ContainsFunc(v, object.broken) {
				return true
			}
		}
	}
	return false
}

func (v *Vaccination) object() object {
	events := []object{}
	for _, e := range v.Events {
		doses := []object{}
		for _, d := range e.Doses {
			dose := object{}
			dose.text("dvc", d.Date)
			if d.Number != 0 {
				dose["seq"] = d.Number
			}
			dose.text("ctr", d.Country)
			dose.text("adm", d.Centre)
			dose.text("lot", d.Lot)
			dose.text("dvn", d.Next)
			doses = append(doses, dose)
		}
		event := object{"vd": doses}
		event.text("des", e.Vaccine)
		event.text("nam", e.Name)
		event.text("dis", e.Disease)
		events = append(events, event)
	}
	m := object{"pid": v.Person.object(), "ve": events}
	m.text("uvci", v.ID)
	return m
}

func (p Person) object() object {
	o := object{}
	o.text("n", p.Name)
	o.text("dob", p.BirthDate)
	o.text("sex", p.Sex)
	o.text("i", p.Document)
	o.text("ai", p.OtherDocument)
	o.text("dn", p.Number)
	o.text("dt", p.NumberType)
	return o
}

func (t *Test) object() object {
	sp, cd, dat, tr := object{}, object{}, object{}, object{}
	sp.text("spn", t.Centre)
	sp.text("ctr", t.Country)
	cd.text("p", t.Phone)
	cd.text("e", t.Email)
	cd.text("a", t.Address)
	if len(cd) > 0 {
		sp["cd"] = cd
	}
	dat.text("sc", t.Sampled)
	dat.text("ri", t.Reported)
	tr.text("tc", t.Method)
	tr.text("r", t.Result)
	tr.text("m", t.Specimen)
	m := object{"pid": t.Person.object(), "sp": sp, "dat": dat, "tr": tr}
	m.text("utci", t.ID)
	m.text("opt", t.Optional)
	return m
}

// Sign signs data as [Encode] wrote it, and returns the text of the seal. The
// key's curve decides the algorithm. certificate is that of the signer, DER.
func Sign(random io.Reader, signer crypto.Signer, certificate, data []byte) (string, error) {
	k, ok := signer.Public().(*ecdsa.PublicKey)
	if !ok {
		return "", fmt.Errorf("VDS-NC: signing with %T: %w", signer.Public(), ErrAlgNotAllowed)
	}
	if len(certificate) == 0 {
		return "", fmt.Errorf("VDS-NC: sig.cer: %w", ErrNoCertificate)
	}
	for name, a := range algorithms {
		if a.curve != k.Curve {
			continue
		}
		der, err := signer.Sign(random, a.hash(data), a.options)
		if err != nil {
			return "", fmt.Errorf("VDS-NC: signing: %w", err)
		}
		signature := make([]byte, 2*a.size)
		if !fill(der, signature[:a.size], signature[a.size:]) {
			return "", fmt.Errorf("VDS-NC: the signer's signature: %w", ErrSignature)
		}
		var b strings.Builder
		fmt.Fprintf(&b, `{"data":%s,"sig":{"alg":"%s","cer":"%s","sigvl":"%s"}}`, data, name,
			base64.URLEncoding.EncodeToString(certificate), base64.URLEncoding.EncodeToString(signature))
		return b.String(), nil
	}
	return "", fmt.Errorf("VDS-NC: signing with a key of %d bits: %w", k.Curve.Params().BitSize, ErrAlgNotAllowed)
}
