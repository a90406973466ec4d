package trust

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format/dcctrustlist"
	"ampoule/format/didlist"
	"ampoule/format/jwks"
	"ampoule/format/masterlist"
	"ampoule/format/pkix"
	"ampoule/format/strictjson"
	"ampoule/format/tng"
	"ampoule/format/vci"
)

// Survey is everything that stands in a source, whether a verifier would use it
// or not: for those who look after a list, or compare two.
type Survey struct {
	Source   string
	Kind     string    // of document
	Verified bool      // its proof, or that of each entry, is right under a pin
	Unsigned bool      // there is nothing to verify
	Created  time.Time // when it says that it was made; zero where it does not say
	Entries  []Surveyed
	Drops    []Drop // what could not be read, or is not proven
}

// Surveyed is one entry.
type Surveyed struct {
	Name        string // its own in the source
	Domain      Domain
	Participant string
	Usage       string // SCA, DSC, UP, …, as GDHCN has them
	KID         KeyID
	Raw         []byte // certificate; nil for a bare key
	Issuer      []byte // certificate that the source gives as its issuer's
	Public      crypto.PublicKey
	Problems    []string // oddities of how it is written
}

// usageNames are the words of other networks for the usages.
var usageNames = map[string]string{tng.CSCA: "SCA", tng.UploadType: "UP", tng.Authentication: "TLS"}

func usageName(word string) string {
	if name, ok := usageNames[word]; ok {
		return name
	}
	return word
}

// Look reads a source of any kind that [List.Add] knows, and the older DID lists
// of the WHO's network, of which nothing can be verified.
func Look(s Source) (*Survey, error) {
	data := bytes.TrimSpace(bytes.TrimPrefix(s.Data, []byte("\ufeff")))
	v := &Survey{Source: s.Name}
	top := topMembers(data)
	var err error
	switch {
	case top["@context"] != nil || top["verificationMethod"] != nil:
		err = v.lookDID(s, data)
	case top["gatewayDownload"] != nil:
		err = v.lookGateway(s, data)
	case top["issuerInfo"] != nil:
		err = v.lookVCI(data)
	case top["keys"] != nil || top["kty"] != nil:
		err = v.lookJWKS(data)
	case len(data) > 0 && (data[0] == '{' || data[0] == '['), signatureLine.Match(data):
		err = v.lookEUList(s, bytes.TrimLeft(s.Data, "\ufeff \t\r\n"))
	case bytes.Contains(data, []byte("-----BEGIN ")):
		err = v.lookPEM(data)
	case masterlist.Is(s.Data):
		err = v.lookMasterList(s)
	case len(s.Data) > 0 && s.Data[0] == 0x30:
		v.Kind, v.Unsigned = "certificate", true
		v.addCertificate(s.Name, s.Data)
	default:
		err = ErrUnknownSource
	}
	if err != nil {
		return nil, fmt.Errorf("trust source %s: %w", s.Name, err)
	}
	return v, nil
}

func (v *Survey) drop(entry, participant string, err error) {
	v.Drops = append(v.Drops, newDrop(v.Source, entry, participant, err))
}

func (v *Survey) lookDID(s Source, data []byte) error {
	doc, err := didlist.Parse(data)
	if err != nil {
		if loose := v.lookOlderDID(data); loose != nil {
			return err
		}
		return nil
	}
	v.Kind, v.Created = "DID trust list", doc.Created
	v.Verified = slices.ContainsFunc(s.Pins, func(pin crypto.PublicKey) bool { return doc.VerifyProof(pin) == nil })
	for _, e := range doc.Entries {
		if e.Err != nil {
			v.drop(e.ID, e.Participant, e.Err)
			continue
		}
		entry := Surveyed{Name: e.ID, Domain: ParseDomain(e.Domain), Participant: e.Participant, Usage: usageName(e.KeyUsage), KID: KeyID(e.KID), Public: e.Key}
		if len(e.Chain) > 0 {
			entry.Raw = e.Chain[0]
		}
		if len(e.Chain) > 1 {
			entry.Issuer = e.Chain[1]
		}
		for _, p := range e.Problems {
			entry.Problems = append(entry.Problems, string(p))
		}
		v.Entries = append(v.Entries, entry)
	}
	return nil
}

// maxOlder bounds an older list.
const maxOlder = didlist.MaxEntries

// lookOlderDID reads a document of version 1: the same members, other contexts,
// and a proof that cannot be checked, since its key was published nowhere and its
// algorithm has no registered name. Only certificates count, by what stands in
// them; nothing of it becomes a key to verify with.
func (v *Survey) lookOlderDID(data []byte) error {
	root, err := strictjson.Parse(data, strictjson.Limits{})
	if err != nil {
		return err
	}
	methods := root.Get("verificationMethod")
	if methods.Kind() != strictjson.Array || methods.Len() > maxOlder {
		return didlist.ErrNotDocument
	}
	found := false
	for i := range methods.Len() {
		m := methods.At(i)
		id, _ := m.Get("id").Text()
		jwk := m.Get("publicKeyJwk")
		kid, _ := jwk.Get("kid").Text()
		x5c := jwk.Get("x5c")
		var text string
		var ok bool
		if x5c.Kind() == strictjson.Array && x5c.Len() > 0 {
			text, ok = x5c.At(0).Text()
		} else {
			text, ok = x5c.Text()
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			v.drop(id, "", didlist.ErrBadCertificate)
			continue
		}
		found = true
		before := len(v.Entries)
		v.addCertificate(id, raw)
		if len(v.Entries) > before {
			e := &v.Entries[before]
			if decoded, err := base64.StdEncoding.DecodeString(kid); err == nil && len(decoded) > 0 {
				e.KID = KeyID(decoded)
			}
			e.Domain = DCC
		}
	}
	if !found {
		return didlist.ErrNotDocument
	}
	v.Kind, v.Unsigned = "DID trust list, version 1", true
	if text, ok := root.Get("proof").Get("created").Text(); ok {
		v.Created, _ = time.Parse(time.RFC3339, text)
	}
	return nil
}

func (v *Survey) lookGateway(s Source, data []byte) error {
	d, err := tng.ParseDownload(data)
	if err != nil {
		return err
	}
	listed, drops := CheckGateway(s.Name, d, s.Pins)
	v.Kind, v.Created, v.Verified, v.Drops = "gateway download", d.At, len(listed) > 0, drops
	for _, l := range listed {
		e := Surveyed{
			Name: fmt.Sprintf("%s %x", l.Type, string(l.KID)), Domain: l.Domain, Participant: CountryParticipant(l.Country), Usage: usageName(l.Type),
			KID: l.KID, Raw: l.Certificate.Raw, Public: l.Certificate.PublicKey, Problems: l.Notes,
		}
		if l.Issuer != nil {
			e.Issuer = l.Issuer.Raw
		}
		v.Entries = append(v.Entries, e)
	}
	return nil
}

func (v *Survey) lookEUList(s Source, data []byte) error {
	doc, err := dcctrustlist.Parse(data)
	if err != nil {
		return err
	}
	v.Kind, v.Unsigned = "EU trust list", doc.Signature == nil
	v.Verified = !v.Unsigned && slices.ContainsFunc(s.Pins, func(pin crypto.PublicKey) bool { return doc.VerifySignature(pin) == nil })
	for i, e := range doc.Entries {
		name := fmt.Sprintf("entry %d (%s %x)", i, e.Country, e.KID)
		if e.Err != nil || e.Deleted {
			err := e.Err
			if err == nil {
				err = ErrDeleted
			}
			v.drop(name, e.Country, err)
			continue
		}
		entry := Surveyed{Name: name, Domain: DCC, Participant: CountryParticipant(e.Country), Usage: usageName(e.Type), KID: KeyID(e.KID), Raw: e.Raw}
		for _, p := range e.Problems {
			entry.Problems = append(entry.Problems, string(p))
		}
		v.Entries = append(v.Entries, entry)
	}
	return nil
}

func (v *Survey) lookMasterList(s Source) error {
	doc, err := masterlist.Parse(s.Data)
	if err != nil {
		return err
	}
	v.Kind = "master list"
	for _, pin := range s.Pins {
		if at, err := doc.Verify(pin); err == nil {
			v.Verified, v.Created = true, at
			break
		}
	}
	for i, e := range doc.Entries {
		name := fmt.Sprintf("certificate %d", i)
		if e.Err != nil {
			v.drop(name, "", e.Err)
			continue
		}
		v.Entries = append(v.Entries, Surveyed{
			Name: name + ": " + e.Certificate.Subject.String(), Domain: VDSNC, Participant: CountryParticipant(e.Certificate.Subject.Country), Usage: "SCA",
			KID: DeriveKeyID(e.Raw), Raw: e.Raw, Public: e.Certificate.PublicKey,
		})
	}
	return nil
}

func (v *Survey) lookVCI(data []byte) error {
	doc, err := vci.Parse(data)
	if err != nil {
		return err
	}
	v.Kind, v.Unsigned, v.Created = "VCI directory", true, doc.Time
	for _, i := range doc.Issuers {
		if i.Err != nil {
			v.drop(i.ISS, i.Name, i.Err)
			continue
		}
		v.addJWKs(i.ISS, i.Keys)
	}
	return nil
}

func (v *Survey) lookJWKS(data []byte) error {
	keys, err := jwks.Parse(data)
	if err != nil {
		return err
	}
	v.Kind, v.Unsigned = "JWK set", true
	v.addJWKs(v.Source, keys)
	return nil
}

func (v *Survey) addJWKs(issuer string, keys []jwks.Key) {
	for i := range keys {
		k := &keys[i]
		if k.Err != nil {
			v.drop(strings.TrimSpace(issuer+" "+k.KID), issuer, k.Err)
			continue
		}
		e := Surveyed{Name: issuer + " " + k.KID, Domain: SHC, Participant: issuer, Usage: "DSC", KID: KeyID(k.ID()), Public: k.Public}
		if len(k.Chain) > 0 {
			e.Raw = k.Chain[0].Raw
		}
		if len(k.Chain) > 1 {
			e.Issuer = k.Chain[1].Raw
		}
		v.Entries = append(v.Entries, e)
	}
}

func (v *Survey) lookPEM(data []byte) error {
	v.Kind, v.Unsigned = "certificates", true
	for i := 1; ; i++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if i == 1 {
				return ErrUnknownSource
			}
			return nil
		}
		name := fmt.Sprintf("block %d", i)
		if block.Type == "CERTIFICATE" {
			v.addCertificate(name, block.Bytes)
		} else {
			v.drop(name, "", ErrNotSigner)
		}
		data = rest
	}
}

// addCertificate adds one of which only the certificate itself tells whose it is
// and what for.
func (v *Survey) addCertificate(name string, raw []byte) {
	c, err := pkix.ParseCertificate(raw)
	if err != nil {
		v.drop(name, "", fmt.Errorf("%w: %w", ErrCertificate, err))
		return
	}
	usage := "DSC"
	if c.IsAuthority {
		usage = "SCA"
	}
	v.Entries = append(v.Entries, Surveyed{
		Name: name, Participant: CountryParticipant(c.Subject.Country), Usage: usage, KID: DeriveKeyID(raw), Raw: raw, Public: c.PublicKey,
	})
}
