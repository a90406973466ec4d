// Package gateway is who runs the gateway of a trust network: the [Operator] keeps
// the list of participants' certificates and answers them.
//
// Its flows are those of the EU's Digital COVID Certificate Gateway,
// which the WHO's network took over: who connects is known by its certificate,
// what is uploaded is signed by the participant's uploader, and a signer of
// documents is listed when an authority of the same country issued it. What the
// gateway itself says is little: whom the trust anchor took in.
//
// Nobody is taken in over the network. A participant's certificates become a
// [Proposal], the trust anchor signs it offline, and two operators approve it.
package gateway

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ampoule/format/pkix"
	"ampoule/format/tng"
)

// RefusalKind is what a refusal says about the request. The door of the gateway
// gives each a status.
type RefusalKind int

// The kinds of refusal.
const (
	Unauthenticated RefusalKind = iota + 1
	Forbidden
	Bad
	Missing
	Exists
	Gone
)

// Refusal is why the gateway does not do what it was asked. It is an answer to
// the participant and carries nothing of others.
type Refusal struct {
	Kind    RefusalKind
	Problem tng.Problem
}

// Error returns code and details.
func (r *Refusal) Error() string { return r.Problem.Code + " " + r.Problem.Details }

func refuse(kind RefusalKind, code, problem, details string, args ...any) *Refusal {
	return &Refusal{kind, tng.Problem{Code: code, Problem: problem, Details: fmt.Sprintf(details, args...)}}
}

// Right is what a participant may do with the revocation list.
type Right string

// The rights, by the names of the gateway.
const (
	RevocationListReader Right = "RevocationListReader"
	RevocationUploader   Right = "RevocationUploader"
	RevocationDeleter    Right = "RevocationDeleter"
)

// Rights are all of them.
var Rights = []Right{RevocationListReader, RevocationUploader, RevocationDeleter}

// Strictness are checks that other gateways leave out. All but Outlive are on
// unless a configuration says otherwise: no genuine participant's certificate of
// today fails them.
type Strictness struct {
	Dates   bool // what is uploaded, its uploader and its authority are in force
	Keys    bool // no RSA below 2048 bits, no curve but those of NIST from 256 bits, no SHA-1
	Usage   bool // no authority as a signer; no signer for nothing but TLS
	Outlive bool // a signer ends before its authority; some genuine ones do not
}

// Strict is what holds unless a configuration says otherwise.
var Strict = Strictness{Dates: true, Keys: true, Usage: true}

// Domain is one domain of the network, and other spellings of it.
type Domain struct {
	Name    string
	Aliases []string
}

// Domains are those that a gateway has unless a configuration says otherwise.
// The WHO's gateway spells the international certificate of vaccination DICVP,
// its participants dICVP and its implementation guide ICVP.
var Domains = []Domain{{Name: "DCC"}, {Name: "DDCC"}, {Name: "DICVP", Aliases: []string{"ICVP", "dICVP"}}, {Name: "IPS-PILGRIMAGE"}, {Name: "PH4H"}}

// DefaultDomain is that of an upload which names none, and the only one of the
// old trust list.
const DefaultDomain = "DCC"

// groups are those in which participants may upload certificates. Each is listed
// under its own name; only DSC stands in the old trust list.
var groups = []string{tng.DSC, "SIGN", "AUTH", "CUSTOM", tng.DESC}

// Operator keeps a gateway. Its fields are set before its first use.
type Operator struct {
	Book       Book
	Now        func() time.Time
	Anchors    []crypto.PublicKey // of the trust anchors whose entries are taken in
	Operators  []OperatorKey
	Domains    []Domain
	Properties []string // names of properties that an upload may have
	Rights     []Right  // of participants whose proposal names none
	Strict     Strictness
	ValueSets  map[string][]byte // by identifier, JSON

	mu   sync.Mutex // held while the view is brought up to date
	seen *view
}

// entry is a certificate of the view.
type entry struct {
	Item
	claim string // what its key identifier claims, or would
	cert  *pkix.Certificate
}

// view is every living certificate, as of a time. It is never changed.
type view struct {
	newest  time.Time
	byKID   index // in the order of the lists
	byClaim index // by what each would claim
	byThumb index
}

// index is entries in the order of a key.
type index struct {
	key     func(*entry) string
	entries []*entry
}

func newIndex(key func(*entry) string) index { return index{key: key} }

func (x index) compare(a, b *entry) int {
	return cmp.Or(cmp.Compare(x.key(a), x.key(b)), cmp.Compare(a.Number, b.Number))
}

// find returns the entries of a key.
func (x index) find(key string) []*entry {
	from, _ := slices.BinarySearchFunc(x.entries, key, func(e *entry, key string) int { return cmp.Compare(x.key(e), key) })
	to := from
	for to < len(x.entries) && x.key(x.entries[to]) == key {
		to++
	}
	return x.entries[from:to]
}

// with returns an index without some entries, by their identifiers, and with
// others. The old one stays as it is.
func (x index) with(gone map[string]bool, added []*entry) index {
	next := make([]*entry, 0, len(x.entries)+len(added))
	for _, e := range x.entries {
		if !gone[e.ID] {
			next = append(next, e)
		}
	}
	if len(added) > 16 {
		x.entries = append(next, added...)
		slices.SortFunc(x.entries, x.compare)
		return x
	}
	for _, e := range added {
		at, _ := slices.BinarySearchFunc(next, e, x.compare)
		next = slices.Insert(next, at, e)
	}
	x.entries = next
	return x
}

// view returns every living certificate as of now.
func (o *Operator) view(ctx context.Context) (*view, error) {
	newest, err := o.Book.Newest(ctx)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen != nil && !newest.After(o.seen.newest) {
		return o.seen, nil
	}
	q := Query{Kind: KindCertificate}
	before := &view{
		byKID:   newIndex(func(e *entry) string { return e.KID }),
		byClaim: newIndex(func(e *entry) string { return e.claim }),
		byThumb: newIndex(func(e *entry) string { return thumbprintOf(e.Name) }),
	}
	if o.seen != nil {
		before, q.Since, q.Deleted = o.seen, o.seen.newest, true
	}
	items, err := o.Book.Items(ctx, q)
	if err != nil {
		return nil, err
	}
	gone := make(map[string]bool, len(items)) // changed, or deleted
	var added []*entry
	for _, i := range items {
		// What was written since the time was asked for is in it, too.
		if gone[i.ID] = true; i.Changed.After(newest) {
			newest = i.Changed
		}
		if i.Deleted {
			continue
		}
		c, err := pkix.ParseCertificate(i.Content)
		if err != nil {
			return nil, fmt.Errorf("gateway: certificate %s of the book: %w", i.ID, err)
		}
		added = append(added, &entry{i, claimOf(i.KID), c})
	}
	o.seen = &view{newest, before.byKID.with(gone, added), before.byClaim.with(gone, added), before.byThumb.with(gone, added)}
	return o.seen, nil
}

// party finds a certificate that the trust anchor took in.
func (v *view) party(thumbprint, country, group string) *entry {
	for _, e := range v.byThumb.find(thumbprint) {
		if e.Group == group && e.Country == country && !e.Claims {
			return e
		}
	}
	return nil
}

// onboardedName names an onboarded certificate: a participant may use one in
// several of its domains.
func onboardedName(raw []byte, domain string) string { return tng.Thumbprint(raw) + " " + domain }

// thumbprintOf is the thumbprint in the name of a certificate.
func thumbprintOf(name string) string {
	thumbprint, _, _ := strings.Cut(name, " ")
	return thumbprint
}

// Caller is who connects, as the door of the gateway knows it.
type Caller struct {
	Thumbprint string // of the client's certificate: SHA-256, hex
	Country    string // C of its name
}

// Participant is a caller whom the trust anchor took in.
type Participant struct {
	Caller
	Rights []Right
	view   *view
}

// Authenticate says who calls.
func (o *Operator) Authenticate(ctx context.Context, c Caller) (*Participant, error) {
	// Step 1: a certificate, and a country in its name.
	switch {
	case c.Thumbprint == "":
		return nil, refuse(Unauthenticated, tng.CodeNoCertificate, "No client certificate", "a certificate is needed to connect")
	case c.Country == "":
		return nil, refuse(Bad, tng.CodeNoCountry, "Client certificate without country", "the name of the certificate has no C")
	}
	// Step 2: taken in for this, and for no other country.
	v, err := o.view(ctx)
	if err != nil {
		return nil, err
	}
	e := v.party(c.Thumbprint, c.Country, tng.Authentication)
	if e == nil {
		return nil, refuse(Unauthenticated, tng.CodeUnknownClient, "Unknown client certificate", "it is not on the list of those who may connect")
	}
	// Step 3: what it may do.
	p := &Participant{Caller: c, Rights: o.Rights, view: v}
	if text, ok := e.About[aboutRights]; ok {
		p.Rights = nil
		for name := range strings.FieldsSeq(text) {
			p.Rights = append(p.Rights, Right(name))
		}
	}
	if o.Strict.Dates && !inForce(e.cert, o.Now()) {
		return nil, refuse(Unauthenticated, tng.CodeUnknownClient, "Client certificate not in force", "it is valid from %s to %s", day(e.cert.NotBefore), day(e.cert.NotAfter))
	}
	return p, nil
}

// AsOf is the time of the newest change that the participant is answered by.
func (p *Participant) AsOf() time.Time { return p.view.newest }

// aboutRights is the member of [Item.About] with a participant's rights.
const aboutRights = "rights"

// may refuses what the participant has no right to.
func (p *Participant) may(r Right) error {
	if !slices.Contains(p.Rights, r) {
		return refuse(Forbidden, tng.CodeRole, "Role missing", "it needs the role %s", r)
	}
	return nil
}

// domain returns the name of a domain by any of its spellings.
func (o *Operator) domain(text string) (string, bool) {
	for _, d := range o.Domains {
		if d.Name == text || slices.Contains(d.Aliases, text) {
			return d.Name, true
		}
	}
	return "", false
}

func inForce(c *pkix.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && !now.After(c.NotAfter)
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// tried turns what a book says into an answer.
func tried(err error) error {
	switch {
	case errors.Is(err, ErrTaken):
		return refuse(Exists, tng.CodeExists, "Already exists", "it, or its key identifier, is on the list")
	case errors.Is(err, ErrGone):
		return refuse(Missing, tng.CodeNotFound, "Not found", "it, or who signed it, is not on the list any more")
	}
	return err
}

// newUUID draws the identifier of an item (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
