package gateway

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/pkix"
	"ampoule/format/strictjson"
	"ampoule/format/tng"
)

// Defects of proposals and approvals.
const (
	ErrProposal     = format.Defect("malformed-proposal")
	ErrOtherGateway = format.Defect("of-another-gateway")
	ErrOutdated     = format.Defect("outdated")
	ErrApproval     = format.Defect("bad-approval")
	ErrNotApproved  = format.Defect("not-approved")
	ErrNotAnchored  = format.Defect("not-signed-by-the-anchor")
	ErrEntry        = format.Defect("unfit-entry")
	ErrNothing      = format.Defect("nothing-to-do")
)

// Limits of a proposal.
const (
	// MaxProposal is the most bytes of one.
	MaxProposal = 4 << 20
	maxEntries  = 1000
	// ProposalDays is how long a proposal can be applied: approvals that lie about
	// are not for ever.
	ProposalDays = 30
	// Eyes is how many operators must approve, each with a key of its own.
	Eyes = 2
)

// What a proposal does.
const (
	Onboard = "onboard" // takes in certificates and issuers
	Remove  = "remove"  // takes some off the list, and what hangs on them; or all of a country
)

// Proposal is a change of what the gateway takes on the trust anchor's word. It
// is made anywhere, signed on the machine of the trust anchor and approved by two
// operators; only then it is applied. Its one form is the output of
// [Proposal.Encode]: what was approved is the SHA-256 of those bytes.
type Proposal struct {
	Version     int             `json:"proposal"` // 1
	Gateway     string          `json:"gateway"`  // its name: an approval for one environment is none for another
	Action      string          `json:"action"`
	Participant string          `json:"participant"` // three letters
	Country     string          `json:"country"`
	Made        time.Time       `json:"made"`
	Reason      string          `json:"reason,omitempty"`
	Findings    []string        `json:"findings,omitempty"` // of the checks, for those who approve
	Entries     []ProposedEntry `json:"entries,omitempty"`
	Issuers     []ProposedKeys  `json:"issuers,omitempty"`
	Remove      []string        `json:"remove,omitempty"` // thumbprints, or identifiers of issuers
	Everything  bool            `json:"everything,omitempty"`
}

// ProposedEntry is one certificate that is to be taken in.
type ProposedEntry struct {
	Type        string  `json:"type"` // AUTHENTICATION, UPLOAD, CSCA or DECA
	Domain      string  `json:"domain"`
	Certificate []byte  `json:"certificate"`
	Rights      []Right `json:"rights,omitempty"` // of one that connects; none: the gateway's usual ones
	Signature   []byte  `json:"trustAnchorSignature,omitempty"`
}

// ProposedKeys is an address with keys that is to be taken in.
type ProposedKeys struct {
	Name           string `json:"name"`
	URL            string `json:"url"`
	Type           string `json:"type"` // HTTP or DID
	Domain         string `json:"domain"`
	KeyStorageType string `json:"keyStorageType"`
	Thumbprint     string `json:"thumbprint"`
	SSLPublicKey   string `json:"sslPublicKey"`
	Signature      []byte `json:"trustAnchorSignature,omitempty"`
}

func (k ProposedKeys) issuer(country string) tng.Issuer {
	return tng.Issuer{
		URL: k.URL, Type: k.Type, Country: country, Thumbprint: k.Thumbprint, SSLPublicKey: k.SSLPublicKey,
		KeyStorageType: k.KeyStorageType, Signature: k.Signature, Name: k.Name, Domain: k.Domain,
	}
}

// Encode writes the proposal in its one form.
func (p *Proposal) Encode() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// ParseProposal reads a proposal in its one form, and no other.
func ParseProposal(data []byte) (*Proposal, error) {
	bad := func(why string, args ...any) (*Proposal, error) {
		return nil, fmt.Errorf("proposal: "+why+": %w", append(args, ErrProposal)...)
	}
	if _, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxProposal, Depth: 4}); err != nil {
		return bad("%w", err)
	}
	p := new(Proposal)
	if err := json.Unmarshal(data, p); err != nil {
		return bad("its members are of other kinds")
	}
	if again, err := p.Encode(); err != nil || !bytes.Equal(again, data) {
		// Two files that read alike must not have two digests.
		return bad("not in the form that it was made in")
	}
	switch {
	case p.Version != 1:
		return bad("version %d", p.Version)
	case p.Action != Onboard && p.Action != Remove:
		return bad("action %q", format.Visible(p.Action))
	case !format.IsCapitals(p.Country, 2) || p.Gateway == "" || p.Made.IsZero():
		return bad("no country, gateway or date")
	case len(p.Entries)+len(p.Issuers)+len(p.Remove) > maxEntries:
		return bad("more than %d entries", maxEntries)
	case p.Action == Onboard && (len(p.Remove) > 0 || p.Everything || len(p.Entries)+len(p.Issuers) == 0),
		p.Action == Remove && (len(p.Entries)+len(p.Issuers) > 0 || p.Everything == (len(p.Remove) > 0)):
		return bad("members of another action")
	}
	return p, nil
}

// Digest is what is approved.
func Digest(proposal []byte) string {
	sum := sha256.Sum256(proposal)
	return hex.EncodeToString(sum[:])
}

// SignProposal has the trust anchor sign what a proposal takes in. It is done
// offline, by who has read the proposal.
func SignProposal(random io.Reader, p *Proposal, anchor *pkix.Certificate, signer crypto.Signer, now time.Time) error {
	for i := range p.Entries {
		e := &p.Entries[i]
		if _, err := p.fits(e); err != nil {
			return err
		}
		var err error
		if e.Signature, err = cms.Sign(random, e.Certificate, anchor, signer, now, false); err != nil {
			return err
		}
	}
	for i := range p.Issuers {
		k := &p.Issuers[i]
		if strings.Contains(k.Name, ";") {
			return fmt.Errorf("issuer %s: a name with ';': %w", format.Visible(k.Name), ErrEntry)
		}
		var err error
		if k.Signature, err = cms.Sign(random, []byte(k.issuer(p.Country).SignedText()), anchor, signer, now, false); err != nil {
			return err
		}
	}
	return nil
}

// onboarded are the types of certificates that the trust anchor takes in.
var onboarded = []string{tng.Authentication, tng.UploadType, tng.CSCA, tng.DECA}

// fits reads the certificate of an entry, and checks what nobody may approve:
// another country, a type that is none.
func (p *Proposal) fits(e *ProposedEntry) (*pkix.Certificate, error) {
	unfit := func(why string, args ...any) (*pkix.Certificate, error) {
		return nil, fmt.Errorf("entry %s %s: %s: %w", format.Visible(e.Type), tng.Thumbprint(e.Certificate), fmt.Sprintf(why, args...), ErrEntry)
	}
	c, err := pkix.ParseCertificate(e.Certificate)
	switch {
	case err != nil:
		return unfit("%v", err)
	case !slices.Contains(onboarded, e.Type):
		return unfit("not a type that is taken in")
	case len(c.Subject.Countries) != 1 || c.Subject.Countries[0] != p.Country:
		return unfit("its name has the countries %q, and the proposal is of %s", c.Subject.Countries, p.Country)
	case len(e.Rights) > 0 && e.Type != tng.Authentication:
		return unfit("rights are of who connects")
	}
	for _, r := range e.Rights {
		if !slices.Contains(Rights, r) {
			return unfit("there is no right %q", format.Visible(string(r)))
		}
	}
	return c, nil
}

// OperatorKey is the key of one operator, by which it approves.
type OperatorKey struct {
	Name string
	Key  crypto.PublicKey
}

// Approval is one operator's signature over the digest of a proposal.
type Approval struct {
	Proposal  string    `json:"proposal"` // digest, hex
	Operator  string    `json:"operator"`
	At        time.Time `json:"at"`
	Signature []byte    `json:"signature"` // ECDSA in DER over SHA-256, or Ed25519
}

// message is what an approval signs:
//
//	"ampoule gateway approval 1" LF digest LF operator LF time LF
func (a *Approval) message() []byte {
	return fmt.Appendf(nil, "ampoule gateway approval 1\n%s\n%s\n%s\n", a.Proposal, a.Operator, a.At.UTC().Format(time.RFC3339))
}

// Approve signs a proposal as an operator.
func Approve(random io.Reader, proposal []byte, operator string, signer crypto.Signer, now time.Time) ([]byte, error) {
	p, err := ParseProposal(proposal)
	if err != nil {
		return nil, err
	}
	if err := p.anchored(); err != nil {
		return nil, err
	}
	a := &Approval{Proposal: Digest(proposal), Operator: operator, At: now.UTC().Truncate(time.Second)}
	switch signer.Public().(type) {
	case ed25519.PublicKey:
		a.Signature, err = signer.Sign(random, a.message(), crypto.Hash(0))
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(a.message())
		a.Signature, err = signer.Sign(random, sum[:], crypto.SHA256)
	default:
		err = fmt.Errorf("approval: a key of type %T: %w", signer.Public(), pkix.ErrPublicKey)
	}
	if err != nil {
		return nil, err
	}
	out, err := json.MarshalIndent(a, "", "  ")
	return append(out, '\n'), err
}

// anchored reports whether the trust anchor has signed all of it, by whatever
// key: who approves before that approves what is not there yet.
func (p *Proposal) anchored() error {
	for _, e := range p.Entries {
		if e.Signature == nil {
			return fmt.Errorf("entry %s: %w; sign the proposal first", tng.Thumbprint(e.Certificate), ErrNotAnchored)
		}
	}
	for _, k := range p.Issuers {
		if k.Signature == nil {
			return fmt.Errorf("issuer %s: %w; sign the proposal first", format.Visible(k.URL), ErrNotAnchored)
		}
	}
	return nil
}

func (a *Approval) verify(key crypto.PublicKey) bool {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return len(k) == ed25519.PublicKeySize && ed25519.Verify(k, a.message(), a.Signature)
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(a.message())
		return ecdsa.VerifyASN1(k, sum[:], a.Signature)
	}
	return false
}

// approvers returns the operators who approved, or why they are too few.
func (o *Operator) approvers(digest string, approvals [][]byte) ([]string, error) {
	by := map[string]crypto.PublicKey{}
	for n, data := range approvals {
		var a Approval
		if _, err := strictjson.Parse(data, strictjson.Limits{Bytes: 16 << 10, Depth: 2}); err != nil || json.Unmarshal(data, &a) != nil {
			return nil, fmt.Errorf("approval %d: %w", n+1, ErrApproval)
		}
		i := slices.IndexFunc(o.Operators, func(k OperatorKey) bool { return k.Name == a.Operator })
		switch {
		case i < 0:
			return nil, fmt.Errorf("approval %d: %s is no operator of this gateway: %w", n+1, format.Visible(a.Operator), ErrApproval)
		case a.Proposal != digest:
			return nil, fmt.Errorf("approval %d of %s is of another proposal: %w", n+1, a.Operator, ErrApproval)
		case !a.verify(o.Operators[i].Key):
			return nil, fmt.Errorf("approval %d is not signed by the key of %s: %w", n+1, a.Operator, ErrApproval)
		}
		by[a.Operator] = o.Operators[i].Key
	}
	// Two names with one key are one pair of eyes.
	var different []crypto.PublicKey
	for _, key := range by {
		if !slices.ContainsFunc(different, func(k crypto.PublicKey) bool {
			e, ok := k.(interface{ Equal(crypto.PublicKey) bool })
			return ok && e.Equal(key)
		}) {
			different = append(different, key)
		}
	}
	if len(different) < Eyes {
		return nil, fmt.Errorf("%d of %d operators approved: %w", len(different), Eyes, ErrNotApproved)
	}
	return slices.Sorted(maps.Keys(by)), nil
}

// Applied says what a proposal did.
type Applied struct {
	Digest         string
	Added, Removed int
	// Unsigned are items that stay and were signed by an uploader that goes: the
	// participant must sign them again.
	Unsigned        int
	By              []string
	Country, Action string
}

// Apply makes a change that two operators have approved. name is the gateway's.
func (o *Operator) Apply(ctx context.Context, name string, proposal []byte, approvals [][]byte) (*Applied, error) {
	// Step 1: a proposal for this gateway that is not too old.
	p, err := ParseProposal(proposal)
	if err != nil {
		return nil, err
	}
	now := o.Now()
	switch {
	case p.Gateway != name:
		return nil, fmt.Errorf("proposal for %s, and this is %s: %w", format.Visible(p.Gateway), name, ErrOtherGateway)
	case now.Before(p.Made.Add(-time.Hour)) || now.After(p.Made.AddDate(0, 0, ProposalDays)):
		return nil, fmt.Errorf("proposal made on %s: it counts for %d days: %w", day(p.Made), ProposalDays, ErrOutdated)
	}

	// Step 2: four eyes.
	digest := Digest(proposal)
	by, err := o.approvers(digest, approvals)
	if err != nil {
		return nil, err
	}

	// Step 3: what changes. What is taken in has the trust anchor's signature.
	v, err := o.view(ctx)
	if err != nil {
		return nil, err
	}
	c := Changes{
		Once: digest,
		Line: Line{At: now, By: strings.Join(by, ","), Country: p.Country, Action: ActionApply, Subject: digest, Reason: p.Action},
	}
	if p.Action == Onboard {
		err = o.add(p, v, &c)
	} else {
		err = o.remove(ctx, p, v, &c)
	}
	if err != nil {
		return nil, err
	}
	if len(c.Insert)+len(c.Delete) == 0 {
		return nil, ErrNothing
	}

	// Step 4: all of it, or nothing, and never twice.
	if err := o.Book.Change(ctx, c, now); err != nil {
		return nil, err
	}
	a := &Applied{Digest: digest, Added: len(c.Insert), Removed: len(c.Delete), By: by, Country: p.Country, Action: p.Action}
	for _, e := range v.byKID.entries {
		if slices.Contains(c.Delete, e.ID) || !e.Claims || e.Country != p.Country {
			continue
		}
		if up := v.party(e.Signer, e.Country, tng.UploadType); up != nil && slices.Contains(c.Delete, up.ID) {
			a.Unsigned++
		}
	}
	return a, nil
}

func (o *Operator) add(p *Proposal, v *view, c *Changes) error {
	for i := range p.Entries {
		e := &p.Entries[i]
		cert, err := p.fits(e)
		if err != nil {
			return err
		}
		thumbprint := tng.Thumbprint(e.Certificate)
		domain, known := o.domain(e.Domain)
		if !known {
			return fmt.Errorf("entry %s: the domain %q is not known here: %w", thumbprint, format.Visible(e.Domain), ErrEntry)
		}
		if err := o.anchor(e.Signature, e.Certificate); err != nil {
			return fmt.Errorf("entry %s %s: %w", e.Type, thumbprint, err)
		}
		if o.Strict.Dates && !inForce(cert, o.Now()) {
			return fmt.Errorf("entry %s: valid from %s to %s: %w", thumbprint, day(cert.NotBefore), day(cert.NotAfter), ErrEntry)
		}
		for _, other := range v.byKID.entries {
			if !bytes.Equal(other.cert.RawPublicKey, cert.RawPublicKey) || !strings.Contains(strings.Join(onboarded, " "), other.Group) {
				continue
			}
			// One key for two parties, or for two things, is nobody's in particular.
			if other.Country != p.Country || other.Group != e.Type {
				return fmt.Errorf("entry %s: %s has the same key as %s: %w", thumbprint, other.Country, other.Group, ErrEntry)
			}
		}
		item := Item{
			ID: newUUID(), Kind: KindCertificate, Name: onboardedName(e.Certificate, domain), Country: p.Country, Group: e.Type, Domain: domain,
			KID: tng.DerivedKID(e.Certificate), Expires: cert.NotAfter, Content: e.Certificate, Signed: e.Signature,
		}
		if len(e.Rights) > 0 {
			words := make([]string, len(e.Rights))
			for i, r := range e.Rights {
				words[i] = string(r)
			}
			item.About = map[string]string{aboutRights: strings.Join(words, " ")}
		}
		c.Insert = append(c.Insert, item)
	}
	for _, k := range p.Issuers {
		domain, known := o.domain(k.Domain)
		if !known {
			return fmt.Errorf("issuer %s: the domain %q is not known here: %w", format.Visible(k.URL), format.Visible(k.Domain), ErrEntry)
		}
		issuer := k.issuer(p.Country)
		if err := o.anchor(k.Signature, []byte(issuer.SignedText())); err != nil {
			return fmt.Errorf("issuer %s: %w", format.Visible(k.URL), err)
		}
		content, err := tng.EncodeIssuers([]tng.Issuer{issuer})
		if err != nil {
			return err
		}
		if back, err := tng.ParseIssuers(content); err != nil || back[0].Err != nil {
			return fmt.Errorf("issuer %s: %v: %w", format.Visible(k.URL), back[0].Err, ErrEntry)
		}
		c.Insert = append(c.Insert, Item{
			ID: newUUID(), Kind: KindIssuer, Name: domain + " " + k.URL, Country: p.Country, Group: k.Type, Domain: domain,
			Content: content, Signed: k.Signature,
		})
	}
	return nil
}

// anchor checks a signature of one of the pinned trust anchors.
func (o *Operator) anchor(signature, content []byte) error {
	opened, err := cms.Open(signature, content)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrNotAnchored)
	}
	key, ok := opened.Certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !slices.ContainsFunc(o.Anchors, key.Equal) {
		return fmt.Errorf("signed by %s, which is not pinned: %w", opened.Certificate.Subject, ErrNotAnchored)
	}
	return nil
}

func (o *Operator) remove(ctx context.Context, p *Proposal, v *view, c *Changes) error {
	items, err := o.Book.Items(ctx, Query{Country: p.Country})
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for _, i := range items {
		if p.Everything || slices.Contains(p.Remove, i.ID) || i.Kind == KindCertificate && slices.Contains(p.Remove, thumbprintOf(i.Name)) {
			gone[i.ID] = true
		}
	}
	// What an authority issued goes with it, unless another one that stays issued it
	// too (its certificate was renewed with the same key).
	for _, e := range v.byKID.entries {
		if !e.Claims || e.Country != p.Country || gone[e.ID] {
			continue
		}
		orphan := true
		for _, a := range v.byKID.entries {
			if (a.Group == tng.CSCA || a.Group == tng.DECA) && a.Country == p.Country && !a.Claims && !gone[a.ID] &&
				e.cert.CheckSignature(a.cert.PublicKey) == nil {
				orphan = false
				break
			}
		}
		if orphan {
			gone[e.ID] = true
		}
	}
	c.Delete = slices.Sorted(maps.Keys(gone))
	return nil
}

// Summary tells a proposal to those who are to approve it, a line each.
func (p *Proposal) Summary() []string {
	lines := []string{fmt.Sprintf("%s %s (%s) at %s, made %s", p.Action, format.Visible(p.Participant), p.Country, format.Visible(p.Gateway), p.Made.UTC().Format(time.RFC3339))}
	if p.Reason != "" {
		lines = append(lines, "reason: "+format.Visible(p.Reason))
	}
	for _, e := range p.Entries {
		text := e.Type + " " + format.Visible(e.Domain) + " " + tng.Thumbprint(e.Certificate)
		if c, err := pkix.ParseCertificate(e.Certificate); err == nil {
			text += " " + c.Subject.String() + ", " + day(c.NotBefore) + " to " + day(c.NotAfter)
		}
		if e.Signature == nil {
			text += ", not signed by the trust anchor"
		}
		lines = append(lines, text)
	}
	for _, k := range p.Issuers {
		lines = append(lines, "ISSUER "+format.Visible(k.Domain)+" "+format.Visible(k.Type+" "+k.URL+" "+k.Name))
	}
	for _, r := range p.Remove {
		lines = append(lines, "remove "+format.Visible(r))
	}
	if p.Everything {
		lines = append(lines, "remove everything of "+p.Country)
	}
	for _, f := range p.Findings {
		lines = append(lines, "finding: "+format.Visible(f))
	}
	return lines
}

// Files are the trust anchor's entries in the form of the WHO's network, by name.
func (p *Proposal) Files() (map[string][]byte, error) {
	roles := map[string]string{tng.Authentication: "TLS", tng.UploadType: "UP", tng.CSCA: "SCA", tng.DECA: "DECA"}
	files := map[string][]byte{}
	for _, e := range p.Entries {
		data, err := tng.Onboarding{Signature: e.Signature, Raw: e.Certificate, Country: p.Country}.Encode()
		if err != nil {
			return nil, err
		}
		dir := "onboarding/" + e.Domain + "/" + roles[e.Type] + "/signed/TNG_TA.signed." + roles[e.Type]
		name := dir + ".json"
		for n := 2; files[name] != nil; n++ {
			name = fmt.Sprintf("%s.%d.json", dir, n)
		}
		files[name] = data
	}
	return files, nil
}
