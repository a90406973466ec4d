package gateway

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cms"
	"ampoule/format/strictjson"
	"ampoule/format/tng"
)

// Codes of refusals of rules.
const (
	codeRuleForm    = "0x200" // not JSON, or without what a rule needs
	codeRuleCountry = "0x210"
	codeRuleVersion = "0x220" // not newer than what is there
	codeRulePeriod  = "0x230"
	codeRuleName    = "0x240" // the identifier is of another country, or of another kind of rule
	codeRuleMissing = "0x110"
)

// Rule is one version of a rule as GET /rules/{country} has it.
type Rule struct {
	Version   string    `json:"version"`
	ValidFrom time.Time `json:"validFrom"`
	ValidTo   time.Time `json:"validTo"`
	CMS       []byte    `json:"cms"` // base64
	Country   string    `json:"country"`
}

// ruleName is the form of a rule's identifier: kind, country and number.
//
//	GR-AT-0001   general, acceptance of AT
var ruleName = regexp.MustCompile(`^(GR|VR|TR|RR|IR)-([A-Z]{2})-[0-9]{4}$`)

// ruleKinds are the types of rules and of certificates that the prefix of an
// identifier goes with.
var ruleKinds = map[string]string{"VR": "Vaccination", "TR": "Test", "RR": "Recovery", "GR": "General"}

// Names of members of [Item.About] of a rule.
const (
	aboutRule    = "rule"
	aboutVersion = "version"
	aboutFrom    = "validFrom"
	aboutTo      = "validTo"
)

// UploadRule lists a version of a rule: POST /rules.
func (o *Operator) UploadRule(ctx context.Context, p *Participant, message []byte) error {
	// Step 1: who signed it.
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return err
	}
	// Step 2: what the gateway itself goes by. The logic is for verifiers to read.
	var r struct {
		Identifier, Type, Country, Version, CertificateType, ValidFrom, ValidTo string
	}
	v, err := strictjson.Parse(content, strictjson.Limits{Bytes: tng.MaxBody, Depth: 64})
	if err != nil || v.Kind() != strictjson.Object {
		return refuse(Bad, codeRuleForm, "Invalid JSON", "not one object: %v", err)
	}
	for name, to := range map[string]*string{
		"Identifier": &r.Identifier, "Type": &r.Type, "Country": &r.Country, "Version": &r.Version,
		"CertificateType": &r.CertificateType, "ValidFrom": &r.ValidFrom, "ValidTo": &r.ValidTo,
	} {
		text, ok := v.Get(name).Text()
		if !ok || len(text) > 64 {
			return refuse(Bad, codeRuleForm, "Invalid JSON", "%s is missing or no text", name)
		}
		*to = text
	}
	if v.Get("Logic").Kind() != strictjson.Object {
		return refuse(Bad, codeRuleForm, "Invalid JSON", "Logic is not an object")
	}
	parts := ruleName.FindStringSubmatch(r.Identifier)
	version, ok := parseVersion(r.Version)
	from, err1 := time.Parse(time.RFC3339, r.ValidFrom)
	to, err2 := time.Parse(time.RFC3339, r.ValidTo)
	now := o.Now()
	switch {
	case r.Country != p.Country:
		return refuse(Forbidden, codeRuleCountry, "Invalid Country sent", "a rule is of the caller's country")
	case parts == nil || parts[2] != r.Country:
		return refuse(Bad, codeRuleName, "Invalid Rule Identifier", "want GR-%s-0000 or the like", p.Country)
	case r.Type != "Acceptance" && r.Type != "Invalidation" || (parts[1] == "IR") != (r.Type == "Invalidation"),
		r.Type == "Acceptance" && ruleKinds[parts[1]] != r.CertificateType:
		return refuse(Bad, codeRuleName, "Invalid Rule Identifier", "the prefix does not fit Type and CertificateType")
	case !ok:
		return refuse(Bad, codeRuleVersion, "Invalid Version", "want three numbers with dots")
	case err1 != nil || err2 != nil || !to.After(from):
		return refuse(Bad, codeRulePeriod, "Invalid Timestamp(s)", "ValidFrom and ValidTo are no period")
	case r.Type == "Acceptance" && from.Before(now.Add(ruleNotice)):
		return refuse(Bad, codeRulePeriod, "Invalid Timestamp(s)", "an acceptance rule is uploaded %s before it holds", ruleNotice)
	}
	// Step 3: newer than the versions that are there.
	before, err := o.Book.Items(ctx, Query{Kind: KindRule, Country: p.Country})
	if err != nil {
		return err
	}
	for _, i := range before {
		have, _ := parseVersion(i.About[aboutVersion])
		if i.About[aboutRule] == r.Identifier && slices.Compare(version[:], have[:]) <= 0 {
			return refuse(Bad, codeRuleVersion, "Invalid Version", "there is a version %s", i.About[aboutVersion])
		}
	}
	// Step 4: list it.
	i := Item{
		ID: newUUID(), Kind: KindRule, Name: r.Identifier + " " + r.Version, Country: p.Country, Group: r.Type, Signer: thumbprintOf(uploader.Name),
		Expires: to, Signed: message,
		About: map[string]string{aboutRule: r.Identifier, aboutVersion: r.Version, aboutFrom: r.ValidFrom, aboutTo: r.ValidTo},
	}
	return tried(o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Insert: []Item{i},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionUpload, Subject: i.Name, Reason: string(KindRule)},
	}, now))
}

// ruleNotice is how long before it holds an acceptance rule is uploaded: who
// travels must be able to read what will hold.
const ruleNotice = 48 * time.Hour

func parseVersion(text string) (v [3]int, ok bool) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return v, false
	}
	for i, part := range parts {
		n, err := strconv.Atoi(part)
		if err != nil || n < 0 || strconv.Itoa(n) != part {
			return v, false
		}
		v[i] = n
	}
	return v, true
}

// Rules returns the rules of a country by their identifier, newest version
// first: those that hold or will, and no older ones beside one that holds. GET
// /rules/{country}.
func (o *Operator) Rules(ctx context.Context, country string) (map[string][]Rule, error) {
	if !format.IsCapitals(country, 2) {
		return nil, refuse(Bad, "0x100", "Invalid country code", "want two capitals")
	}
	items, err := o.Book.Items(ctx, Query{Kind: KindRule, Country: country})
	if err != nil {
		return nil, err
	}
	now, rules := o.Now(), map[string][]Rule{}
	slices.SortFunc(items, func(a, b Item) int {
		x, _ := parseVersion(a.About[aboutVersion])
		y, _ := parseVersion(b.About[aboutVersion])
		return cmp.Or(cmp.Compare(a.About[aboutRule], b.About[aboutRule]), slices.Compare(y[:], x[:]))
	})
	settled := map[string]bool{} // a newer version holds already
	for _, i := range items {
		name := i.About[aboutRule]
		from, err1 := time.Parse(time.RFC3339, i.About[aboutFrom])
		to, err2 := time.Parse(time.RFC3339, i.About[aboutTo])
		if err1 != nil || err2 != nil || settled[name] || !now.Before(to) {
			continue
		}
		settled[name] = !now.Before(from)
		rules[name] = append(rules[name], Rule{Version: i.About[aboutVersion], ValidFrom: from, ValidTo: to, CMS: i.Signed, Country: country})
	}
	return rules, nil
}

// DeleteRule takes all versions of a rule off the list: DELETE /rules. The
// message is one of its identifier.
func (o *Operator) DeleteRule(ctx context.Context, p *Participant, message []byte) error {
	// Step 1: who signed it.
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return err
	}
	name := string(bytes.TrimSpace(content))
	parts := ruleName.FindStringSubmatch(name)
	// Step 2: the caller's own.
	switch {
	case parts == nil:
		return refuse(Bad, codeRuleName, "Invalid Rule Identifier", "want GR-%s-0000 or the like", p.Country)
	case parts[2] != p.Country:
		return refuse(Forbidden, codeRuleCountry, "Invalid Country sent", "a rule is deleted by its own country")
	}
	items, err := o.Book.Items(ctx, Query{Kind: KindRule, Country: p.Country})
	if err != nil {
		return err
	}
	var ids []string
	for _, i := range items {
		if i.About[aboutRule] == name {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) == 0 {
		return refuse(Missing, codeRuleMissing, "Rule does not exist", "there is no rule %s", name)
	}
	// Step 3: delete them.
	now := o.Now()
	return tried(o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Delete: ids,
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionDelete, Subject: name, Reason: string(KindRule)},
	}, now))
}

// UploadReference lists a service of a participant: POST /trust/reference.
func (o *Operator) UploadReference(ctx context.Context, p *Participant, message []byte) (*tng.Reference, error) {
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return nil, err
	}
	r, err := tng.ParseReference(content)
	if err != nil {
		return nil, refuse(Bad, codeRuleForm, "Reference has invalid values", "%v", err)
	}
	if r.Domain == "" {
		r.Domain = DefaultDomain
	}
	domain, known := o.domain(r.Domain)
	switch {
	case r.Country != p.Country:
		return nil, refuse(Forbidden, codeRuleCountry, "Invalid Country sent", "a reference is of the caller's country")
	case !known:
		return nil, refuse(Bad, codeNone, "Not allowed", "the domain %q is not known here", r.Domain)
	case r.Service == "":
		return nil, refuse(Bad, codeRuleForm, "Reference has invalid values", "it has no service")
	}
	// The gateway gives the identifier: one that the caller chose could be another's.
	r.UUID, r.Domain, r.SourceGateway = newUUID(), domain, ""
	text, err := r.Encode()
	if err != nil {
		return nil, err
	}
	now := o.Now()
	i := Item{
		ID: r.UUID, Kind: KindReference, Name: strings.Join([]string{p.Country, domain, r.Type, r.Service, r.Version}, " "), Country: p.Country,
		Group: r.Type, Domain: domain, Signer: thumbprintOf(uploader.Name), Content: text, Signed: message,
	}
	err = o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Insert: []Item{i},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionUpload, Subject: i.ID, Reason: string(KindReference)},
	}, now)
	if err != nil {
		return nil, tried(err)
	}
	return &r, nil
}

// Reference returns one as it is listed: GET /trust/reference/{uuid}.
func (o *Operator) Reference(ctx context.Context, id string) (json.RawMessage, error) {
	i, err := o.reference(ctx, id)
	if err != nil {
		return nil, err
	}
	return i.Content, nil
}

func (o *Operator) reference(ctx context.Context, id string) (*Item, error) {
	items, err := o.Book.Items(ctx, Query{Kind: KindReference, IDs: []string{id}})
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, refuse(Missing, tng.CodeNotFound, "Reference not found", "there is no reference of this identifier")
	}
	return &items[0], nil
}

// DeleteReference takes one off the list: DELETE /trust/reference.
func (o *Operator) DeleteReference(ctx context.Context, p *Participant, message []byte) error {
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return err
	}
	id, err := tng.ParseReferenceDelete(content)
	if err != nil {
		return refuse(Bad, codeRuleForm, "Reference has invalid values", "%v", err)
	}
	i, err := o.reference(ctx, id)
	if err != nil {
		return err
	}
	if i.Country != p.Country {
		return refuse(Forbidden, codeRuleCountry, "Invalid Country sent", "a reference is deleted by its own country")
	}
	now := o.Now()
	return tried(o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Delete: []string{id},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionDelete, Subject: id, Reason: string(KindReference)},
	}, now))
}

// Packages returns what the caller's country uploaded, to be signed again when
// its uploader changes: GET /cms-migration. Each carries its content, also where
// the lists have it beside.
func (o *Operator) Packages(ctx context.Context, p *Participant) ([]tng.Package, error) {
	items, err := o.Book.Items(ctx, Query{Country: p.Country})
	if err != nil {
		return nil, err
	}
	list := []tng.Package{}
	for _, i := range items {
		kind := packageKind(i)
		if kind == "" {
			continue
		}
		message := i.Signed
		if parsed, err := cms.Parse(message); err == nil && parsed.Content == nil {
			if message, err = cms.Attach(message, i.Content); err != nil {
				return nil, err
			}
		}
		list = append(list, tng.Package{CMS: message, EntityID: i.Number, Type: kind})
	}
	return list, nil
}

func packageKind(i Item) string {
	switch {
	case i.Kind == KindCertificate && i.Claims:
		return tng.PackageDSC
	case i.Kind == KindBatch:
		return tng.PackageRevocation
	case i.Kind == KindRule:
		return tng.PackageRule
	}
	return ""
}

// Migrate puts a new signature in the place of the one of an item: POST
// /cms-migration. What was signed must be the same, bit by bit.
func (o *Operator) Migrate(ctx context.Context, p *Participant, m tng.Package) error {
	bad := func(details string, args ...any) error {
		return refuse(Bad, codeRuleForm, "CMS cannot be migrated", details, args...)
	}
	// Step 1: what is there.
	items, err := o.Book.Items(ctx, Query{Number: m.EntityID, Country: p.Country})
	if err != nil {
		return err
	}
	if m.EntityID <= 0 || len(items) != 1 || packageKind(items[0]) != m.Type {
		return refuse(Missing, tng.CodeNotFound, "Not found", "there is no %s of this number", m.Type)
	}
	i := items[0]
	old, err := cms.Parse(i.Signed)
	if err != nil {
		return err
	}
	// Step 2: who signed the new one. A signature of a document signer that was
	// listed detached may come without its content, too.
	message := m.CMS
	if old.Content == nil {
		if parsed, err := cms.Parse(message); err == nil && parsed.Content == nil {
			if message, err = cms.Attach(message, i.Content); err != nil {
				return bad("%v", err)
			}
		}
	}
	content, uploader, err := o.signedBy(p, message, ofText)
	if err != nil {
		return err
	}
	// Step 3: the same content.
	before := old.Content
	if before == nil {
		before = i.Content
	}
	if !bytes.Equal(content, before) {
		return bad("its content is another")
	}
	signed := message
	if old.Content == nil {
		if signed, err = cms.Detach(message); err != nil {
			return bad("%v", err)
		}
	}
	// Step 4: take it.
	now := o.Now()
	return tried(o.Book.Change(ctx, Changes{
		Needs: []string{uploader.ID}, Resign: []Resigned{{i.ID, i.Signed, signed, thumbprintOf(uploader.Name)}},
		Line: Line{At: now, By: p.Thumbprint, Country: p.Country, Action: ActionResign, Subject: i.Name, Reason: m.Type},
	}, now))
}
