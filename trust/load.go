package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/dcctrustlist"
	"ampoule/format/didlist"
	"ampoule/format/masterlist"
)

// The reasons for which a whole source is refused. Nothing of it is used then:
// half a list, or a list that nobody vouches for, is worse than none.
const (
	ErrUnknownSource = format.Defect("unknown-trust-source")
	ErrNoPin         = format.Defect("no-pinned-key")
	ErrProof         = format.Defect("bad-proof")
	ErrEmptySource   = format.Defect("no-keys")
)

// Source is one document of trusted keys.
type Source struct {
	Name string // for explanations
	Data []byte
	// Pins are the keys that may have signed it, where its kind is signed.
	Pins []crypto.PublicKey
	// Issuer is the address of the issuer that publishes it, where its kind does
	// not say: a JWK set. See [List.Add] for what is done without.
	Issuer string
}

// Add reads a source of any known kind and inserts its keys: a GDHCN DID trust
// list (its proof is checked under the pinned keys, and one must be given), an
// EU trust list in JSON, a JWK set of an issuer of SMART Health Cards, the VCI's
// directory of such issuers, a DID document with the keys of a DIVOC issuer, a
// master list of passport authorities (pinned like a DID list), or certificates
// in PEM or DER. The kind is seen from the bytes, not from the name.
//
// A JWK set does not say whose it is. Its keys count for the Issuer of the
// source; without one, a key whose certificate names an address counts for that
// alone, and any other for every issuer, shown under the source's name: an
// operator who hands over a bare set trusts it as a whole.
//
// An error means that nothing of the source was used. Entries that are refused
// one by one are in [List.Drops].
func (l *List) Add(s Source) error {
	data := bytes.TrimSpace(bytes.TrimPrefix(s.Data, []byte("\ufeff")))
	keys, drops, authorities := len(l.order), len(l.drops), len(l.authorities.order)
	top := topMembers(data)
	var err error
	switch {
	case isDIDDocument(top):
		err = l.AddDIDDocument(Source{Name: s.Name, Data: data})
	case top["@context"] != nil:
		err = l.addDIDList(s, data)
	case top["gatewayDownload"] != nil:
		err = l.addGateway(s, data)
	case top["issuerInfo"] != nil:
		err = l.addVCI(s, data)
	case top["keys"] != nil || top["kty"] != nil:
		err = l.addJWKS(s, data)
	case len(data) > 0 && (data[0] == '{' || data[0] == '['), signatureLine.Match(data):
		// A signature line covers what follows it to the last byte, white space too.
		err = l.addEUList(s, bytes.TrimLeft(s.Data, "\ufeff \t\r\n"))
	case bytes.Contains(data, []byte("-----BEGIN ")):
		err = l.addPEM(s, data)
	case masterlist.Is(s.Data):
		err = l.addMasterList(s)
	case len(s.Data) > 0 && s.Data[0] == 0x30: // a DER SEQUENCE, which may end in white space
		l.addCertificate(s.Name, s.Name, s.Data)
	default:
		err = ErrUnknownSource
	}
	if err != nil {
		return fmt.Errorf("trust source %s: %w", s.Name, err)
	}
	if len(l.order) == keys && len(l.drops) == drops && len(l.authorities.order) == authorities {
		return fmt.Errorf("trust source %s: %w", s.Name, ErrEmptySource)
	}
	return nil
}

// signatureLine begins an EU list that a national back end has signed.
var signatureLine = regexp.MustCompile(`^[A-Za-z0-9+/=]{40,1000}\r?\n[\[{]`)

// topMembers returns the members of a JSON object, read once: lists are long. What
// is no object has none, nor has broken JSON, which is refused by the reader it
// then goes to.
func topMembers(data []byte) map[string]json.RawMessage {
	var top map[string]json.RawMessage
	if len(data) == 0 || data[0] != '{' || json.Unmarshal(data, &top) != nil {
		return nil
	}
	return top
}

// addDIDList reads a WHO GDHCN DID trust list, version 2.
func (l *List) addDIDList(s Source, data []byte) error {
	if len(s.Pins) == 0 {
		return fmt.Errorf("a DID trust list must be checked under a key that is pinned (--pin): %w", ErrNoPin)
	}
	doc, err := didlist.Parse(data)
	if err != nil {
		return err
	}
	err = ErrProof
	for _, pin := range s.Pins {
		if err = doc.VerifyProof(pin); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("proof of %s: %w: %w", doc.ID, ErrProof, err)
	}
	for _, e := range doc.Entries {
		l.addDIDEntry(s.Name, e)
	}
	for _, ref := range doc.References {
		l.drop(s.Name, ref, "", fmt.Errorf("another list is named; it must be loaded itself: %w", ErrReference))
	}
	return nil
}

func (l *List) addDIDEntry(source string, e didlist.Entry) {
	switch {
	case e.Err != nil:
		l.drop(source, e.ID, e.Participant, e.Err)
		return
	case e.KeyUsage != "DSC":
		// SCA, TLS, UP and the rest have their own work in the network.
		l.drop(source, e.ID, e.Participant, fmt.Errorf("its usage is %s: %w", e.KeyUsage, ErrNotSigner))
		return
	}
	var k *Key
	if len(e.Chain) > 0 {
		// The certificate is the key; the JWK beside it is a restatement.
		var err error
		if k, err = NewKey(e.Chain[0]); err != nil {
			l.drop(source, e.ID, e.Participant, err)
			return
		}
	} else {
		k = newBareKey(e.Key)
	}
	k.Domain, k.Participant, k.Source = ParseDomain(e.Domain), e.Participant, source
	if len(e.KID) > 0 {
		k.ID = KeyID(e.KID) // a custom identifier stands beside the key as its owner wishes
	}
	if k.Country == "" { // a bare key; revocation batches name the country by two letters
		k.Country, _ = cert.Alpha2(e.Participant)
	}
	for _, p := range e.Problems {
		k.Notes = append(k.Notes, string(p))
	}
	l.Insert(k)
}

// addEUList reads an EU trust list in JSON.
func (l *List) addEUList(s Source, data []byte) error {
	doc, err := dcctrustlist.Parse(data)
	if err != nil {
		return err
	}
	if doc.Signature != nil {
		if len(s.Pins) == 0 {
			return fmt.Errorf("the list is signed, and must be checked under a key that is pinned (--pin): %w", ErrNoPin)
		}
		signed := func(pin crypto.PublicKey) bool { return doc.VerifySignature(pin) == nil }
		if !slices.ContainsFunc(s.Pins, signed) {
			return ErrProof
		}
	}
	for i, e := range doc.Entries {
		name := fmt.Sprintf("entry %d (%s %x)", i, e.Country, e.KID)
		switch {
		case e.Err != nil:
			l.drop(s.Name, name, e.Country, e.Err)
			continue
		case e.Deleted:
			l.drop(s.Name, name, e.Country, ErrDeleted)
			continue
		case e.Type != "DSC":
			l.drop(s.Name, name, e.Country, fmt.Errorf("its type is %s: %w", e.Type, ErrNotSigner))
			continue
		}
		k, err := NewKey(e.Raw)
		if err != nil {
			l.drop(s.Name, name, e.Country, err)
			continue
		}
		k.Domain, k.Participant, k.Source = DCC, e.Country, s.Name
		if len(e.KID) > 0 {
			k.ID = KeyID(e.KID)
		}
		for _, p := range e.Problems {
			k.Notes = append(k.Notes, string(p))
		}
		l.Insert(k)
	}
	return nil
}

func (l *List) addPEM(s Source, data []byte) error {
	for i := 1; ; i++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if i == 1 {
				return fmt.Errorf("no PEM block can be read: %w", ErrUnknownSource)
			}
			return nil
		}
		name := fmt.Sprintf("%s, block %d", s.Name, i)
		if block.Type != "CERTIFICATE" {
			l.drop(s.Name, name, "", fmt.Errorf("the block is a %s, and a key identifier needs a CERTIFICATE: %w", block.Type, ErrNotSigner))
		} else {
			l.addCertificate(s.Name, name, block.Bytes)
		}
		data = rest
	}
}

// addCertificate inserts a key that an operator trusts by having its file: in
// every domain, under the country it names. That of an authority is believed for
// the signers it issues, too.
func (l *List) addCertificate(source, entry string, der []byte) {
	a, notAuthority := NewAuthority(der)
	if notAuthority == nil {
		a.Source = source
		l.InsertAuthority(a)
	}
	k, err := NewKey(der)
	if err != nil {
		if notAuthority != nil { // many an authority is beyond crypto/x509
			l.drop(source, entry, "", err)
		}
		return
	}
	k.Domain, k.Participant, k.Source = AnyDomain, k.Country, source
	l.Insert(k)
}

// AddFolder adds every file below the root of a folder, in the order of their
// names. A file that is no trust source leaves a drop; one that is and cannot
// be used is an error, since its absence would go unnoticed.
func (l *List) AddFolder(fsys fs.FS, name string, pins []crypto.PublicKey) error {
	return fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		s := Source{Name: path.Join(name, p), Data: data, Pins: pins}
		if err := l.Add(s); errors.Is(err, ErrUnknownSource) {
			l.drop(s.Name, p, "", ErrUnknownSource)
		} else if err != nil {
			return err
		}
		return nil
	})
}

// ParsePin reads a key to pin: a certificate or public key in PEM, a
// certificate in DER, or the DID document that publishes a list's signing key.
func ParsePin(data []byte) ([]crypto.PublicKey, error) {
	if len(data) > 0 && data[0] == 0x30 { // DER may end in a byte that looks like white space
		return parsePinnedCertificates(data)
	}
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '{' {
		keys, err := didlist.ParseKeyDocument(data)
		if err != nil {
			return nil, err
		}
		var pins []crypto.PublicKey
		for _, k := range keys {
			pins = append(pins, k.Key)
		}
		return pins, nil
	}
	return parsePinnedCertificates(data)
}

// IsECDSA reports whether a key makes ECDSA signatures, of which only the first
// half is hashed for revocation.
func (k *Key) IsECDSA() bool {
	_, ok := k.Public.(*ecdsa.PublicKey)
	return ok
}
