package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"ampoule/format/tng"
)

// ListQuery narrows the old trust list: GET /trustList[/{type}[/{country}]].
type ListQuery struct {
	Type, Country string    // "": any
	Since         time.Time // with what was deleted since; zero: all that is living
	Page, Size    int       // Size 0: one page of all
}

// TrustList returns the certificates of the old trust list, which knows the
// default domain only, by key identifier.
func (o *Operator) TrustList(ctx context.Context, p *Participant, q ListQuery) ([]tng.TrustListEntry, error) {
	items := p.view.items()
	if !q.Since.IsZero() {
		var err error
		if items, err = o.Book.Items(ctx, Query{Kind: KindCertificate, Since: q.Since, Deleted: true}); err != nil {
			return nil, err
		}
		slices.SortFunc(items, func(a, b Item) int { return cmp.Or(cmp.Compare(a.KID, b.KID), cmp.Compare(a.Number, b.Number)) })
	}
	var list []tng.TrustListEntry
	for _, i := range items {
		if i.Domain != DefaultDomain || !inTrustList(i.Group) || q.Type != "" && i.Group != q.Type || q.Country != "" && i.Country != q.Country {
			continue
		}
		list = append(list, tng.TrustListEntry{
			KID: i.KID, Timestamp: i.Changed, Country: i.Country, Type: i.Group, Thumbprint: thumbprintOf(i.Name),
			Signature: i.Signed, Raw: i.Content, Deleted: i.Deleted,
		})
	}
	if q.Size > 0 {
		from := min(q.Page*q.Size, len(list))
		list = list[from:min(from+q.Size, len(list))]
	}
	return list, nil
}

// items are the living certificates by key identifier.
func (v *view) items() []Item {
	out := make([]Item, len(v.byKID.entries))
	for i, e := range v.byKID.entries {
		out[i] = e.Item
	}
	return out
}

// inTrustList reports whether the old trust list has a group of certificates:
// those that a participant made for a purpose of its own stand only in the new
// one.
func inTrustList(group string) bool {
	return slices.Contains([]string{tng.Authentication, tng.UploadType, tng.CSCA, tng.DSC, tng.DECA, tng.DESC}, group)
}

// TrustListTypes are the types that the old trust list is asked for.
func TrustListTypes() []string {
	return []string{tng.Authentication, tng.UploadType, tng.CSCA, tng.DSC, tng.DECA, tng.DESC}
}

// CertificateQuery narrows the new lists. An empty list narrows nothing.
type CertificateQuery struct {
	Groups, Countries, Domains []string
	Federated                  bool // those of other gateways, too
	// Of references only.
	ReferenceTypes, SignatureTypes []string
}

func (o *Operator) wanted(q CertificateQuery) func(Item) bool {
	var domains []string
	for _, d := range q.Domains {
		if name, ok := o.domain(d); ok {
			d = name
		}
		domains = append(domains, d)
	}
	in := func(list []string, text string) bool { return len(list) == 0 || slices.Contains(list, text) }
	return func(i Item) bool {
		return in(q.Groups, i.Group) && in(q.Countries, i.Country) && in(domains, i.Domain) && (q.Federated || i.About[aboutSource] == "")
	}
}

// aboutSource is the member of [Item.About] with the gateway that an item came
// from, where that is another.
const aboutSource = "sourceGateway"

// Certificates returns the certificates of all domains: GET
// /trustList/certificate.
func (o *Operator) Certificates(p *Participant, q CertificateQuery) []tng.CertificateEntry {
	wanted := o.wanted(q)
	var list []tng.CertificateEntry
	for _, e := range p.view.byKID.entries {
		if !wanted(e.Item) {
			continue
		}
		properties := map[string]string{}
		if e.Claims { // of those that the trust anchor took in it is ours
			maps.Copy(properties, e.About)
			delete(properties, aboutSource)
		}
		list = append(list, tng.CertificateEntry{
			Raw: e.Content, Signature: e.Signed, KID: e.KID, Group: e.Group, Country: e.Country, Domain: e.Domain, UUID: e.ID,
			Version: 1, SourceGateway: e.About[aboutSource], Properties: properties,
		})
	}
	return list
}

// Issuers returns the addresses of keys that are no certificates: GET
// /trustList/issuers.
func (o *Operator) Issuers(ctx context.Context, q CertificateQuery) ([]tng.Issuer, error) {
	items, err := o.Book.Items(ctx, Query{Kind: KindIssuer})
	if err != nil {
		return nil, err
	}
	wanted := o.wanted(q)
	var list []tng.Issuer
	for _, i := range items {
		var e tng.Issuer
		if !wanted(i) {
			continue
		}
		parsed, err := tng.ParseIssuers(i.Content)
		if err != nil || len(parsed) != 1 || parsed[0].Err != nil {
			continue // the book's own; what it took in could be read
		}
		e = parsed[0]
		e.Signature, e.Country, e.Domain, e.UUID, e.Timestamp, e.Version = i.Signed, i.Country, i.Domain, i.ID, i.Changed, 1
		list = append(list, e)
	}
	return list, nil
}

// Download returns all lists with their proofs, as a participant would take them:
// what an operator publishes for those who take part in nothing.
func (o *Operator) Download(ctx context.Context, name string, now time.Time) (*tng.Download, error) {
	v, err := o.view(ctx)
	if err != nil {
		return nil, err
	}
	all := &Participant{view: v}
	d := &tng.Download{Gateway: name, At: now, Certificates: o.Certificates(all, CertificateQuery{})}
	if d.TrustList, err = o.TrustList(ctx, all, ListQuery{}); err != nil {
		return nil, err
	}
	d.Issuers, err = o.Issuers(ctx, CertificateQuery{})
	return d, err
}

// References returns services of participants: GET /trustList/references.
func (o *Operator) References(ctx context.Context, q CertificateQuery) ([]tng.Reference, error) {
	items, err := o.Book.Items(ctx, Query{Kind: KindReference})
	if err != nil {
		return nil, err
	}
	wanted := o.wanted(q)
	list := []tng.Reference{}
	for _, i := range items {
		if !wanted(i) {
			continue
		}
		e, err := tng.ParseReference(i.Content)
		if err != nil || len(q.ReferenceTypes) > 0 && !slices.Contains(q.ReferenceTypes, e.Type) ||
			len(q.SignatureTypes) > 0 && !slices.Contains(q.SignatureTypes, e.SignatureType) {
			continue
		}
		list = append(list, e)
	}
	return list, nil
}

// Countries returns who takes part: GET /countrylist.
func (o *Operator) Countries(p *Participant) []string {
	seen := map[string]bool{}
	for _, e := range p.view.byKID.entries {
		if !e.Claims {
			seen[e.Country] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// ValueSetIDs returns the identifiers of the value sets: GET /valuesets.
func (o *Operator) ValueSetIDs() []string {
	ids := slices.Sorted(maps.Keys(o.ValueSets))
	if ids == nil {
		ids = []string{}
	}
	return ids
}

// ValueSet returns one: GET /valuesets/{id}.
func (o *Operator) ValueSet(id string) (json.RawMessage, error) {
	set, ok := o.ValueSets[id]
	if !ok {
		return nil, refuse(Missing, "0x300", "Value set not found", "there is no value set of this identifier")
	}
	return set, nil
}
