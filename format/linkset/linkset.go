// Package linkset reads and writes sets of links in JSON (RFC 9264), as resolvers of
// GS1 Digital Links answer with them: for each thing, the links that lead on from
// it, by their type. A set is held against the schema that GS1 asks of a conformant
// resolver (GS1-Conformant resolver 1.0), and what departs from it is found.
//
//	{"linkset": [{
//	  "anchor": "https://id.gs1.org/01/09501101530003",
//	  "itemDescription": "Yellow fever vaccine",
//	  "https://ref.gs1.org/voc/epil": [
//	    {"href": "https://example.org/leaflet", "title": "Patient leaflet", "hreflang": ["en"]}]
//	}]}
package linkset

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// MediaType is the media type of a set in JSON (RFC 9264 section 4.2).
const MediaType = "application/linkset+json"

// The kinds of defect.
const (
	ErrForm  = format.Defect("bad-linkset")
	ErrSize  = format.Defect("linkset-too-large")
	ErrRules = format.Defect("linkset-rules") // of GS1, broken by what was to be written
)

// The bounds of a set.
const (
	MaxBytes    = 1 << 20
	MaxLinks    = 10_000
	maxFindings = 1000
)

// Vocabulary is the namespace of the link types of GS1. Resolvers that have not followed
// its move write Earlier for it.
const (
	Vocabulary = "https://ref.gs1.org/voc/"
	Earlier    = "https://gs1.org/voc/"
)

// Those of the link types of GS1 that vaccines have use for.
const (
	DefaultLink         = Vocabulary + "defaultLink"      // where a request goes that asks for nothing
	DefaultLinkMulti    = Vocabulary + "defaultLinkMulti" // the same, of several by language and context
	HandledBy           = Vocabulary + "handledBy"        // another resolver
	ProductPage         = Vocabulary + "pip"
	PatientLeaflet      = Vocabulary + "epil"
	Characteristics     = Vocabulary + "smpc" // summary of product characteristics, for health workers
	SafetyInfo          = Vocabulary + "safetyInfo"
	RecallStatus        = Vocabulary + "recallStatus"
	CertificationInfo   = Vocabulary + "certificationInfo"
	Traceability        = Vocabulary + "traceability"
	EPCIS               = Vocabulary + "epcis" // an EPCIS repository
	MasterData          = Vocabulary + "masterData"
	Instructions        = Vocabulary + "instructions"
	LocationInfo        = Vocabulary + "locationInfo"
	LogisticsInfo       = Vocabulary + "logisticsInfo"
	VerificationService = Vocabulary + "verificationService"
)

// Type returns the link type that a query or a set names, in our namespace: gs1:pip,
// https://gs1.org/voc/pip and https://ref.gs1.org/voc/pip are the same. Others stay as
// they are.
func Type(s string) string {
	for _, prefix := range []string{"gs1:", Earlier} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			return Vocabulary + rest
		}
	}
	return s
}

// Context is what leads on from one thing (RFC 9264 section 4.2.2).
type Context struct {
	Anchor      string // the URI of the thing; GS1 asks for it uncompressed
	Description string // itemDescription, which GS1 asks for
	Relations   []Relation
}

// Relation is the links of one type.
type Relation struct {
	Type  string // a registered word such as "item", or a URI
	Links []Link
}

// Link is where a link goes, and what it says of the target.
type Link struct {
	Href      string
	Title     string
	MediaType string   // type
	Languages []string // hreflang
	// Of GS1.
	Context      []string // for whom or where it is meant, such as a country
	ForwardQuery *bool    // fwqs: whether the query of the request is passed on; nil is not said
	Public       *bool
}

// Links returns the links of a type.
func (c Context) Links(relation string) []Link {
	for _, r := range c.Relations {
		if Type(r.Type) == Type(relation) {
			return r.Links
		}
	}
	return nil
}

// Parse reads a set. The findings are where it departs from the schema of GS1; what is
// not RFC 9264 is an error. Members that neither has are passed over, with a finding.
func Parse(data []byte) ([]Context, []format.Finding, error) {
	if len(data) > MaxBytes {
		return nil, nil, fmt.Errorf("linkset: %d bytes: %w", len(data), ErrSize)
	}
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxBytes, Depth: 8})
	if err != nil {
		return nil, nil, fmt.Errorf("linkset: %w", err)
	}
	var r reader
	set, err := r.set(v)
	if err != nil {
		return nil, nil, fmt.Errorf("linkset: %w", err)
	}
	return set, r.findings, nil
}

// reader walks a set.
type reader struct {
	findings []format.Finding
	links    int
}

func (r *reader) find(path string, reason format.Defect) {
	if len(r.findings) < maxFindings {
		r.findings = append(r.findings, format.Finding{Path: path, Reason: reason})
	}
}

func (r *reader) set(v strictjson.Value) ([]Context, error) {
	list := v.Get("linkset")
	if v.Kind() != strictjson.Object || list.Kind() != strictjson.Array {
		return nil, fmt.Errorf("no array linkset: %w", ErrForm)
	}
	for member := range v.All() {
		if member.Name() != "linkset" {
			r.find(member.Name(), format.NotCarried)
		}
	}
	var set []Context
	for item := range list.All() {
		path := fmt.Sprintf("linkset[%d]", len(set))
		if item.Kind() != strictjson.Object {
			return nil, fmt.Errorf("%s is no object: %w", path, ErrForm)
		}
		c, err := r.context(path, item)
		if err != nil {
			return nil, err
		}
		set = append(set, c)
	}
	return set, nil
}

func (r *reader) context(path string, v strictjson.Value) (Context, error) {
	var c Context
	for member := range v.All() {
		name := member.Name()
		at := path + "." + shown(name)
		switch name {
		case "anchor":
			var ok bool
			if c.Anchor, ok = member.Text(); !ok {
				return c, fmt.Errorf("%s: %w", at, ErrForm)
			}
			if !isWeb(c.Anchor) {
				r.find(at, format.BadValue)
			}
			continue
		case "itemDescription":
			var ok bool
			if c.Description, ok = member.Text(); !ok {
				r.find(at, format.BadType)
			}
			continue
		}
		// RFC 9264 section 4.2.3: every other member is a relation, an array of targets.
		if member.Kind() != strictjson.Array {
			return c, fmt.Errorf("%s is no array: %w", at, ErrForm)
		}
		if !isRelation(name) {
			r.find(at, format.BadCode)
		}
		relation := Relation{Type: name}
		for target := range member.All() {
			here := fmt.Sprintf("%s[%d]", at, len(relation.Links))
			if r.links++; r.links > MaxLinks {
				return c, fmt.Errorf("more than %d links: %w", MaxLinks, ErrSize)
			}
			link, err := r.link(here, target)
			if err != nil {
				return c, err
			}
			relation.Links = append(relation.Links, link)
		}
		c.Relations = append(c.Relations, relation)
	}
	for _, name := range []string{"anchor", "itemDescription"} {
		if !v.Get(name).Exists() {
			r.find(path+"."+name, format.RequiredMissing)
		}
	}
	return c, nil
}

func (r *reader) link(path string, v strictjson.Value) (Link, error) {
	var l Link
	var ok bool
	// RFC 9264 section 4.2.3: a target object MUST have one href.
	if l.Href, ok = v.Get("href").Text(); !ok {
		return l, fmt.Errorf("%s has no href: %w", path, ErrForm)
	}
	if !isWeb(l.Href) {
		r.find(path+".href", format.BadValue)
	}
	if !v.Get("title").Exists() {
		r.find(path+".title", format.RequiredMissing)
	}
	for member := range v.All() {
		at := path + "." + shown(member.Name())
		text := func(to *string) {
			if *to, ok = member.Text(); !ok {
				r.find(at, format.BadType)
			}
		}
		list := func(to *[]string) {
			if member.Kind() != strictjson.Array {
				r.find(at, format.BadType)
			}
			for item := range member.All() {
				if s, ok := item.Text(); ok {
					*to = append(*to, s)
				} else {
					r.find(at, format.BadType)
				}
			}
		}
		boolean := func(to **bool) {
			switch kind := member.Kind(); kind {
			case strictjson.True, strictjson.False:
				*to = new(kind == strictjson.True)
			default:
				r.find(at, format.BadType)
			}
		}
		switch member.Name() {
		case "href":
		case "title":
			text(&l.Title)
		case "type":
			if text(&l.MediaType); ok && !isMediaType(l.MediaType) {
				r.find(at, format.BadValue)
			}
		case "hreflang":
			list(&l.Languages)
			for _, tag := range l.Languages {
				if !isLanguage(tag) {
					r.find(at, format.BadCode)
				}
			}
		case "context":
			list(&l.Context)
		case "fwqs":
			boolean(&l.ForwardQuery)
		case "public":
			boolean(&l.Public)
		default:
			r.find(at, format.NotCarried)
		}
	}
	return l, nil
}

// shown is a name as it stands in a path: it may be long, and somebody else's.
func shown(name string) string {
	if len(name) > 80 {
		name = strings.ToValidUTF8(name[:80], "") + "…"
	}
	return format.Visible(name)
}

// isWeb is the schema's ^https?://[a-zA-z0-9./]+: a URI of the web, by its beginning.
func isWeb(s string) bool {
	rest, ok := strings.CutPrefix(s, "https://")
	if !ok {
		rest, ok = strings.CutPrefix(s, "http://")
	}
	return ok && rest != "" && inRelation(rest[0])
}

// inRelation is the schema's [a-zA-z0-9./], in which A-z takes in what stands between
// the two alphabets.
func inRelation(c byte) bool { return c >= 'A' && c <= 'z' || c >= '.' && c <= '9' }

// isRelation is a word of small letters, or a URI without anything unusual. The schema's
// look-ahead keeps out what begins with anchor.
func isRelation(s string) bool {
	if isWeb(s) {
		_, rest, _ := strings.Cut(s, "://")
		for i := range len(rest) {
			if !inRelation(rest[i]) {
				return false
			}
		}
		return true
	}
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") == "" && !strings.HasPrefix(s, "anchor")
}

// isWord is what \w is in the schema's patterns.
func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// isLanguage is two letters, or two and two more with a hyphen between.
func isLanguage(s string) bool {
	return (len(s) == 2 || len(s) == 5 && s[2] == '-' && isWord(s[3]) && isWord(s[4])) && isWord(s[0]) && isWord(s[1])
}

// isMediaType asks for a slash between what media types consist of. The schema's
// pattern is not anchored: parameters may follow.
func isMediaType(s string) bool {
	for i := 1; i+1 < len(s); i++ {
		if s[i] == '/' && isWord(s[i-1]) && (isWord(s[i+1]) || strings.IndexByte("-+.", s[i+1]) >= 0) {
			return true
		}
	}
	return false
}

// Marshal writes a set, and refuses one that the schema of GS1 does not allow: the
// answer of a resolver is never the place to find that out.
func Marshal(set []Context) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString(`{"linkset":[`)
	for i, c := range set {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"anchor":` + quote(c.Anchor) + `,"itemDescription":` + quote(c.Description))
		for _, r := range c.Relations {
			b.WriteString("," + quote(r.Type) + ":[")
			for j, l := range r.Links {
				if j > 0 {
					b.WriteByte(',')
				}
				b.WriteString(`{"href":` + quote(l.Href) + `,"title":` + quote(l.Title))
				if l.MediaType != "" {
					b.WriteString(`,"type":` + quote(l.MediaType))
				}
				list(&b, "hreflang", l.Languages)
				list(&b, "context", l.Context)
				boolean(&b, "fwqs", l.ForwardQuery)
				boolean(&b, "public", l.Public)
				b.WriteByte('}')
			}
			b.WriteByte(']')
		}
		b.WriteByte('}')
	}
	b.WriteString("]}")
	_, findings, err := Parse(b.Bytes())
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, fmt.Errorf("linkset: %s: %s: %w", findings[0].Path, findings[0].Reason, ErrRules)
	}
	return b.Bytes(), nil
}

func list(b *bytes.Buffer, name string, values []string) {
	if len(values) == 0 {
		return
	}
	b.WriteString("," + quote(name) + ":[")
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quote(v))
	}
	b.WriteByte(']')
}

func boolean(b *bytes.Buffer, name string, v *bool) {
	if v != nil {
		fmt.Fprintf(b, ",%s:%t", quote(name), *v)
	}
}

// quote writes a text of JSON, without the escapes that only HTML needs.
func quote(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string and a buffer: it cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}
