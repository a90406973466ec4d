package trust

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/pkix"
	"ampoule/format/tng"
)

// The reasons for which an entry of a gateway's lists is not believed, besides
// those of its CMS and of its certificate.
const (
	ErrAnchor   = format.Defect("not-by-the-anchor")   // the trust anchor did not take it in
	ErrUploader = format.Defect("not-by-its-uploader") // no trusted UP of its country signed it
	ErrIssuer   = format.Defect("issuer-not-trusted")  // no trusted SCA of its country issued it
	ErrTakenKID = format.Defect("kid-of-another")      // its chosen identifier is what another's certificate derives
	ErrKID      = format.Defect("malformed-kid")
)

// Listed is an entry of a gateway's lists that passed every check.
type Listed struct {
	Type        string // CSCA, UPLOAD, AUTHENTICATION, DECA or DSC
	Country     string // of the certificate and of the list alike
	Domain      Domain
	KID         KeyID
	Certificate *pkix.Certificate
	Issuer      *pkix.Certificate // of a DSC: the SCA that signed it
	Timestamp   time.Time         // when the gateway took it in; zero where its list does not say
	UUID        string            // of the list of all domains
	Version     int64
	Notes       []string
}

// anchored are the types that the trust anchor takes in itself.
var anchored = []string{tng.CSCA, tng.UploadType, tng.Authentication, tng.DECA}

// noteCustomKID marks an identifier that its owner chose.
const noteCustomKID = "kid-not-derived"

// CheckGateway makes every check that a client of a gateway must make:
//
//	CSCA, UPLOAD    signed by a pinned trust anchor; AUTHENTICATION and DECA, too
//	DSC             signed by a trusted UPLOAD of its country, issued by a trusted CSCA of its country,
//	                under the identifier that it derives or one that no other certificate derives
//	all             the thumbprint is right, and the country is that of the certificate
//
// Issuers are found by the signature: a name can be had by anybody. The CMS may
// be detached or carry the certificate; gateways hand on both. No date is looked
// at: a verifier does that when it uses a key.
//
// source names the download in explanations.
func CheckGateway(source string, d *tng.Download, anchors []crypto.PublicKey) ([]Listed, []Drop) {
	g := gatewayCheck{source: source, anchors: anchors}
	entries := g.gather(d)
	// Those by whom others are judged come first.
	for _, e := range entries {
		if slices.Contains(anchored, e.kind) {
			g.add(e, g.checkAnchored)
		}
	}
	for _, e := range entries {
		switch {
		case slices.Contains(anchored, e.kind):
		case e.kind == tng.DSC:
			g.add(e, g.checkSigner)
		default:
			g.drop(e, fmt.Errorf("its type is %.40q: %w", e.kind, ErrNotSigner))
		}
	}
	g.dropTakenKIDs()
	return g.listed, g.drops
}

// gatewayEntry is an entry of either list.
type gatewayEntry struct {
	name           string
	kind           string
	country        string
	domain         Domain
	kid            string
	raw, signature []byte
	timestamp      time.Time
	uuid           string
	version        int64
	err            error
}

type gatewayCheck struct {
	source  string
	anchors []crypto.PublicKey
	listed  []Listed
	drops   []Drop
}

// gather brings the entries of both lists together. The list of the domain DCC
// is a part of the other one: what stands in both is one entry.
func (g *gatewayCheck) gather(d *tng.Download) []*gatewayEntry {
	type same struct {
		kind, country, kid string
		domain             Domain
		raw, signature     [sha256.Size]byte
	}
	var entries []*gatewayEntry
	seen := map[same]*gatewayEntry{}
	add := func(e *gatewayEntry) {
		key := same{e.kind, e.country, e.kid, e.domain, sha256.Sum256(e.raw), sha256.Sum256(e.signature)}
		if before := seen[key]; before != nil && e.err == nil && before.err == nil {
			before.uuid, before.version = e.uuid, e.version
			return
		}
		seen[key] = e
		entries = append(entries, e)
	}
	for i, e := range d.TrustList {
		err := e.Err
		if err == nil && e.Deleted {
			err = ErrDeleted
		}
		add(&gatewayEntry{
			name: fmt.Sprintf("trustList[%d] %.40s %.40s", i, e.Type, e.KID), kind: e.Type, country: e.Country, domain: DCC,
			kid: e.KID, raw: e.Raw, signature: e.Signature, timestamp: e.Timestamp, err: err,
		})
	}
	for i, e := range d.Certificates {
		domain := DCC // the gateway's own default
		if e.Domain != "" {
			domain = ParseDomain(e.Domain)
		}
		add(&gatewayEntry{
			name: fmt.Sprintf("certificates[%d] %.40s %.40s", i, e.Group, e.KID), kind: e.Group, country: e.Country, domain: domain,
			kid: e.KID, raw: e.Raw, signature: e.Signature, uuid: e.UUID, version: e.Version, err: e.Err,
		})
	}
	return entries
}

func (g *gatewayCheck) drop(e *gatewayEntry, err error) {
	// What cannot be read is not of a type that nobody wants.
	if e.err != nil {
		err = e.err
	}
	g.drops = append(g.drops, newDrop(g.source, e.name, CountryParticipant(e.country), err))
}

func (g *gatewayCheck) add(e *gatewayEntry, check func(*gatewayEntry, *Listed) error) {
	l := Listed{Type: e.kind, Country: e.country, Domain: e.domain, Timestamp: e.timestamp, UUID: e.uuid, Version: e.version}
	if err := g.check(e, &l, check); err != nil {
		g.drop(e, err)
		return
	}
	g.listed = append(g.listed, l)
}

func (g *gatewayCheck) check(e *gatewayEntry, l *Listed, check func(*gatewayEntry, *Listed) error) (err error) {
	if e.err != nil {
		return e.err
	}
	if l.Certificate, err = pkix.ParseCertificate(e.raw); err != nil {
		return fmt.Errorf("%w: %w", ErrCertificate, err)
	}
	// The gateway states the country, and nothing that is signed ties it to the
	// certificate but this.
	if l.Certificate.Subject.Country != e.country {
		return fmt.Errorf("the list says %s, the certificate %.8q: %w", e.country, l.Certificate.Subject.Country, ErrCountryMismatch)
	}
	return check(e, l)
}

// checkAnchored judges what the trust anchor takes in.
func (g *gatewayCheck) checkAnchored(e *gatewayEntry, l *Listed) error {
	opened, err := cms.Open(e.signature, e.raw)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(g.anchors, func(pin crypto.PublicKey) bool { return sameKey(pin, opened.Certificate.PublicKey) }) {
		return fmt.Errorf("%.120s signed it: %w", opened.Certificate.Subject, ErrAnchor)
	}
	l.KID = DeriveKeyID(e.raw)
	return nil
}

// checkSigner judges a document signer.
func (g *gatewayCheck) checkSigner(e *gatewayEntry, l *Listed) error {
	opened, err := cms.Open(e.signature, e.raw)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(g.listed, func(up Listed) bool {
		return up.Type == tng.UploadType && up.Country == e.country && bytes.Equal(up.Certificate.Raw, opened.Certificate.Raw)
	}) {
		return fmt.Errorf("%.120s signed it: %w", opened.Certificate.Subject, ErrUploader)
	}
	if l.Issuer = IssuerOf(l.Certificate, e.country, g.listed); l.Issuer == nil {
		return fmt.Errorf("%.120s is named: %w", l.Certificate.Issuer, ErrIssuer)
	}
	derived := DeriveKeyID(e.raw)
	if kid, err := base64.StdEncoding.DecodeString(e.kid); err != nil || len(kid) == 0 || len(kid) > sha256.Size {
		return fmt.Errorf("%.40q: %w", e.kid, ErrKID)
	} else if l.KID = KeyID(kid); l.KID != derived {
		l.Notes = append(l.Notes, noteCustomKID)
	}
	return nil
}

// IssuerOf returns the authority of a country that signed a certificate, nil for
// none. Only a signature tells; those that bear the issuer's name are tried first.
func IssuerOf(c *pkix.Certificate, country string, listed []Listed) *pkix.Certificate {
	for _, named := range []bool{true, false} {
		for _, l := range listed {
			if l.Type == tng.CSCA && l.Country == country && l.Certificate.Subject.Equal(c.Issuer) == named && c.CheckSignature(l.Certificate.PublicKey) == nil {
				return l.Certificate
			}
		}
	}
	return nil
}

// dropTakenKIDs takes away entries under an identifier that another's certificate
// derives. A participant may choose identifiers, and gateways do not keep it from
// choosing that of another's signer, whose certificates would then be looked for
// under both keys and blamed on the wrong one.
func (g *gatewayCheck) dropTakenKIDs() {
	owners := map[KeyID][]byte{}
	for _, l := range g.listed {
		if l.Type == tng.DSC {
			owners[DeriveKeyID(l.Certificate.Raw)] = l.Certificate.Raw
		}
	}
	g.listed = slices.DeleteFunc(g.listed, func(l Listed) bool {
		owner := owners[l.KID]
		taken := l.Type == tng.DSC && slices.Contains(l.Notes, noteCustomKID) && owner != nil && !bytes.Equal(owner, l.Certificate.Raw)
		if taken {
			g.drops = append(g.drops, newDrop(g.source, fmt.Sprintf("DSC %x", string(l.KID)), CountryParticipant(l.Country), ErrTakenKID))
		}
		return taken
	})
}

// sameKey compares public keys of any kind.
func sameKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}

// addGateway reads what a participant took from a gateway.
func (l *List) addGateway(s Source, data []byte) error {
	if len(s.Pins) == 0 {
		return fmt.Errorf("the entries of a gateway must lead to a trust anchor that is pinned (--pin): %w", ErrNoPin)
	}
	d, err := tng.ParseDownload(data)
	if err != nil {
		return err
	}
	listed, drops := CheckGateway(s.Name, d, s.Pins)
	if len(listed) == 0 && len(drops) > 0 {
		return fmt.Errorf("no entry leads to the trust anchor that is pinned, %s: %w", drops[0].Detail, ErrProof)
	}
	l.drops = append(l.drops, drops...)
	for _, e := range listed {
		name := fmt.Sprintf("%s %x", e.Type, string(e.KID))
		participant := CountryParticipant(e.Country)
		if e.Type != tng.DSC {
			l.drop(s.Name, name, participant, fmt.Errorf("its type is %s: %w", e.Type, ErrNotSigner))
			continue
		}
		k, err := NewKey(e.Certificate.Raw)
		if err != nil {
			l.drop(s.Name, name, participant, err)
			continue
		}
		k.Domain, k.Participant, k.ID, k.Source = e.Domain, participant, e.KID, s.Name
		k.Notes = append(k.Notes, e.Notes...)
		l.Insert(k)
	}
	return nil
}
