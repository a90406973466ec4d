package trust

import (
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/didlist"
	"ampoule/format/pkix"
	"ampoule/format/tng"
)

// Publication makes the tree of DID trust lists that the WHO's network publishes
// (version 2), one document for every question that a reader may ask:
//
//	v2/trustlist/did.json                                      everything
//	v2/trustlist/<domain>[/<participant>[/<usage>]]/did.json   what is left of it
//
// with '-' where a domain or participant does not matter and something after it
// does, and beside it v2/trustlist-ref, whose documents only name others.
type Publication struct {
	DID     string // of the place: did:web:trust.example leads to https://trust.example/v2/…
	Context didlist.Context
	KeyDID  string // of the key that signs
	Signer  crypto.Signer
	Random  io.Reader
	// Form of the signatures. The network writes ASN.1 DER where RFC 7518 has R || S.
	Form didlist.SignatureForm
	Now  time.Time
	// Expired keeps what has expired in the lists. The network's guide has it taken
	// away; those who verify by the chain model need it.
	Expired bool
}

// ErrExpired is the drop of what has expired.
const ErrExpired = format.Defect("expired")

// anything stands for a domain or a participant that does not matter.
const anything = "-"

// usageOf is the code of a usage in lists and paths.
var usageOf = map[string]string{tng.DSC: "DSC", tng.CSCA: "SCA"}

// published is one key with the places that it takes in the tree.
type published struct {
	domain, participant, usage string
	entry                      didlist.Entry
}

// Tree signs the documents, by their paths. What is listed and is neither a
// signer nor an authority is nobody's business outside the network.
func (p *Publication) Tree(listed []Listed) (files map[string][]byte, drops []Drop, err error) {
	var all []published
	for _, l := range listed {
		usage, wanted := usageOf[l.Type]
		if !wanted {
			continue
		}
		participant := CountryParticipant(l.Country)
		if p.Now.After(l.Certificate.NotAfter) && !p.Expired {
			drops = append(drops, newDrop("", fmt.Sprintf("%s %x", usage, string(l.KID)), participant, fmt.Errorf("until %s: %w", l.Certificate.NotAfter.Format(time.DateOnly), ErrExpired)))
			continue
		}
		e := didlist.Entry{Domain: string(l.Domain), Participant: participant, KeyUsage: usage, KID: []byte(l.KID), Chain: [][]byte{l.Certificate.Raw}}
		if l.Issuer != nil {
			e.Chain = append(e.Chain, l.Issuer.Raw)
		}
		all = append(all, published{e.Domain, participant, usage, e})
	}
	slices.SortStableFunc(all, func(a, b published) int {
		return strings.Compare(strings.Join([]string{a.domain, a.participant, a.usage, string(a.entry.KID)}, "/"), strings.Join([]string{b.domain, b.participant, b.usage, string(b.entry.KID)}, "/"))
	})

	// Which documents there are, and what stands in each.
	documents := map[string][]published{"": nil}
	children := map[string]map[string]bool{} // of the tree of references
	for _, e := range all {
		for _, place := range [][]string{
			{}, {e.domain}, {e.domain, e.participant}, {e.domain, e.participant, e.usage},
			{e.domain, anything, e.usage}, {anything, e.participant}, {anything, e.participant, e.usage}, {anything, anything, e.usage},
		} {
			documents[strings.Join(place, "/")] = append(documents[strings.Join(place, "/")], e)
		}
		for _, place := range [][]string{{e.domain, e.participant, e.usage}, {e.domain, e.participant}, {e.domain}} {
			parent := strings.Join(place[:len(place)-1], "/")
			if children[parent] == nil {
				children[parent] = map[string]bool{}
			}
			children[parent][strings.Join(place, "/")] = true
		}
	}
	files = map[string][]byte{}
	for _, place := range slices.Sorted(maps.Keys(documents)) {
		if files[path.Join("v2/trustlist", place, "did.json")], err = p.list(place, documents[place]); err != nil {
			return nil, nil, fmt.Errorf("list %q: %w", place, err)
		}
		if slices.Contains(strings.Split(place, "/"), anything) { // the references know no such place
			continue
		}
		var references []string
		for _, child := range slices.Sorted(maps.Keys(children[place])) {
			references = append(references, p.did("trustlist-ref", child))
		}
		if len(references) == 0 { // a leaf names the list itself
			references = []string{p.did("trustlist", place)}
		}
		if files[path.Join("v2/trustlist-ref", place, "did.json")], err = p.sign("trustlist-ref", place, nil, references); err != nil {
			return nil, nil, fmt.Errorf("references %q: %w", place, err)
		}
	}
	return files, drops, nil
}

// did is the identifier of a document.
func (p *Publication) did(tree, place string) string {
	did := p.DID + ":v2:" + tree
	if place != "" {
		did += ":" + strings.ReplaceAll(place, "/", ":")
	}
	return did
}

// list makes one document. An entry is called by the place of the document, so
// that one key in two domains would have one name where the domain does not
// matter; the second is called by its full place then. Two entries of one name
// could be taken apart and put together in another way.
func (p *Publication) list(place string, entries []published) ([]byte, error) {
	segments := append(strings.Split(place, "/"), "", "", "")
	names := map[string]bool{}
	var out []didlist.Entry
	for _, e := range entries {
		full := []string{e.domain, e.participant, e.usage}
		short := slices.Clone(full)
		for i := range short {
			if segments[i] == anything {
				short[i] = anything
			}
		}
		fragment := "#" + base64.StdEncoding.EncodeToString(e.entry.KID)
		id := p.did("trustlist", strings.Join(short, "/")) + fragment
		if names[id] {
			id = p.did("trustlist", strings.Join(full, "/")) + fragment
		}
		for n := 2; names[id]; n++ { // two keys of one owner under one identifier
			id = fmt.Sprintf("%s;%d", p.did("trustlist", strings.Join(full, "/"))+fragment, n)
		}
		names[id] = true
		e.entry.ID = id
		out = append(out, e.entry)
	}
	return p.sign("trustlist", place, out, nil)
}

func (p *Publication) sign(tree, place string, entries []didlist.Entry, references []string) ([]byte, error) {
	controller := p.did(tree, "")
	if place != "" {
		controller = p.did(tree, strings.TrimPrefix(path.Dir("/"+place), "/"))
	}
	for i := range entries {
		entries[i].Controller = controller
	}
	doc, err := didlist.New(p.Context, p.did(tree, place), controller, p.KeyDID, entries, references)
	if err != nil {
		return nil, err
	}
	var nonce [16]byte
	if _, err := io.ReadFull(p.Random, nonce[:]); err != nil {
		return nil, err
	}
	return doc.Sign(p.Signer, p.Random, p.Now, hex.EncodeToString(nonce[:]), p.Form)
}

// ListCertificates lists the certificates that an operator has in a folder,
//
//	<DOMAIN>/<CCC>/{SCA,DSC}/<name>.pem
//
// as if a gateway had listed them: whoever has them vouches for the authorities,
// and a signer must be of an authority of its country.
func ListCertificates(source string, files []Material) (listed []Listed, drops []Drop) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b Material) int { return strings.Compare(a.Path, b.Path) })
	for _, usage := range []string{"SCA", "DSC"} {
		for _, f := range files {
			parts := strings.Split(f.Path, "/")
			if len(parts) == 4 && parts[2] != usage && (parts[2] == "SCA" || parts[2] == "DSC") {
				continue
			}
			if len(parts) != 4 || parts[2] != usage {
				if usage == "SCA" {
					drops = append(drops, newDrop(source, f.Path, "", ErrMaterialPlace))
				}
				continue
			}
			l, err := listCertificate(f, parts, listed)
			if err != nil {
				drops = append(drops, newDrop(source, f.Path, parts[1], err))
				continue
			}
			listed = append(listed, l)
		}
	}
	return listed, drops
}

func listCertificate(f Material, parts []string, authorities []Listed) (l Listed, err error) {
	country, ok := ParticipantCountry(parts[1])
	if !ok {
		return Listed{}, ErrMaterialName
	}
	block, rest := pem.Decode(f.Data)
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return Listed{}, fmt.Errorf("want one CERTIFICATE in PEM and nothing after it: %w", ErrCertificate)
	}
	c, err := pkix.ParseCertificate(block.Bytes)
	if err != nil {
		return Listed{}, fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	if c.Subject.Country != country {
		return Listed{}, fmt.Errorf("the certificate says %.8q: %w", c.Subject.Country, ErrCountryMismatch)
	}
	l = Listed{Type: tng.CSCA, Country: country, Domain: ParseDomain(parts[0]), KID: DeriveKeyID(block.Bytes), Certificate: c}
	if parts[2] == "SCA" {
		return l, nil
	}
	l.Type = tng.DSC
	if l.Issuer = IssuerOf(c, country, authorities); l.Issuer == nil {
		return Listed{}, fmt.Errorf("%.120s is named: %w", c.Issuer, ErrIssuer)
	}
	return l, nil
}
