// Package resolverapi is the resolver over HTTP: one registry, several faces.
//
//	GET /01/…, /414/…, /8004/…, /AQnY…      a GS1-conformant resolver (GS1-Conformant resolver standard)
//	GET /.well-known/gs1resolver            what it resolves
//	GET /resolve?id=                        an identifier of any system: its one form, and its links
//	GET /resolve/data?id=                   what is known of the thing
//	GET /resolve/statements?id=             what is stated of a lot
//	GET /resolve/things?type=&place=        discovery
//	GET /resolve/keys                       the key that signs answers
//	GET /1.0/identifiers/{did}              DID resolution (W3C, HTTP binding)
//	GET /.well-known/did.json, /things/{oid}/did.json   DID documents (did:web)
//
// Every answer with a body that is no problem is signed: see [resolve.Seal]. Each is open
// to pages of any site (CORS), since none rests on a cookie alone.
//
// What a policy keeps to some does not exist for others: the answer is that of something
// that nobody registered. Of lots and items nothing is looked up: their links follow from
// the product, so that no answer tells whether there is such a lot.
package resolverapi

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/text/language"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/gs1"
	"ampoule/format/linkset"
	"ampoule/format/oid"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/thing"
	"ampoule/thing/resolve"
	"ampoule/thing/vaccine"
)

// Server answers. What it goes by is as it was when it was made; the books are asked for
// each answer.
type Server struct {
	// Origin is the address under which it is reached, https://resolver.example.
	Origin string
	// Organisation runs the service.
	Organisation Organisation

	Products *vaccine.Catalogue // nil: none are known
	Lots     *thing.LotList     // what is stated of lots, for everybody; nil: nothing
	Stock    Locations          // nil: no locations are known
	Fleet    Things             // nil: no devices are known
	// Ledger reports whether the ledger has something under an identifier; nil: there is
	// none.
	Ledger func(context.Context, oid.OID) bool
	// Links are the operator's own, by the names of what they lead on from; see [Links].
	Links map[string]linkset.Context
	// Prefixes are company prefixes whose things are followed here, and Elsewhere those
	// for which another resolver answers, by its stem.
	Prefixes  []string
	Elsewhere map[string]string
	// Events is where EPCIS is served below Origin; "": it is not.
	Events string

	// Allowed reports whether who asks may see what is at a place.
	Allowed func(ctx context.Context, organisation, facility string) bool

	Signer crypto.Signer // P-256
	KID    string
	Chain  [][]byte // certificates of the key, its own first, in DER
	// Valid is for how long an answer counts, by its signature.
	Valid time.Duration
	Now   func() time.Time
	Rand  io.Reader // nil: crypto/rand
	Log   *slog.Logger
}

// Organisation is who runs the service.
type Organisation struct {
	ID, Name, Country string
	Keys              []resolve.Method // with which it signs certificates
}

// Locations are those that custody knows.
type Locations interface {
	Location(ctx context.Context, uri string) (*custody.Location, error)
	LocationsAt(ctx context.Context, at custody.Place, after string, limit int) ([]custody.Location, error)
}

// Things are the devices and the equipment of a fleet.
type Things interface {
	Device(ctx context.Context, id oid.OID) (*fleet.Device, error)
	Equipment(ctx context.Context, id fleet.ID) (*fleet.Equipment, error)
	DevicesAt(ctx context.Context, at fleet.Place, state device.Life, after oid.OID, limit int) ([]fleet.Device, error)
	EquipmentAfter(ctx context.Context, at fleet.Place, after fleet.ID, limit int) ([]fleet.Equipment, error)
}

// maxAge is for how many seconds a cache need not ask again.
const maxAge = 300

// linksetContext turns a set into JSON-LD.
const linksetContext = "https://ref.gs1.org/standards/resolver/linkset-context"

// Links takes the operator's sets apart, by the names of what they lead on from. It
// fails on an anchor that is no identifier, and on what GS1 asks of sets.
func Links(data []byte) (map[string]linkset.Context, error) {
	set, findings, err := linkset.Parse(data)
	if err != nil {
		return nil, err
	}
	if len(findings) > 0 {
		return nil, fmt.Errorf("linkset: %s: %w", findings[0].Path, findings[0].Reason)
	}
	out := make(map[string]linkset.Context, len(set))
	for _, c := range set {
		id, err := resolve.Parse(c.Anchor)
		if err != nil {
			return nil, fmt.Errorf("linkset: anchor %s: %w", format.Visible(c.Anchor), err)
		}
		have := out[id.Name]
		have.Anchor, have.Description = id.Name, c.Description
		resolve.Merge(&have, c.Relations...)
		out[id.Name] = have
	}
	return out, nil
}

// --- What is asked ---

// Takes reports whether an address is one of the resolver's.
func (s *Server) Takes(r *http.Request) bool {
	switch path := r.URL.Path; {
	case path == "/.well-known/gs1resolver", path == "/.well-known/did.json", path == "/resolve":
		return true
	case strings.HasPrefix(path, "/resolve/"), strings.HasPrefix(path, "/1.0/identifiers/"):
		return true
	case strings.HasPrefix(path, "/things/"):
		return strings.HasSuffix(path, "/did.json")
	}
	// What begins like a Digital Link is one, or a bad one.
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if ai, ok := gs1.Lookup(first); ok {
		return ai.Primary
	}
	d, err := resolve.ParseLink(s.uri(r))
	return err == nil && d.Stem == s.Origin
}

// uri is the Digital Link that was asked for. One slash at its end is passed over.
func (s *Server) uri(r *http.Request) string {
	uri := s.Origin + strings.TrimSuffix(r.URL.EscapedPath(), "/")
	if r.URL.RawQuery != "" {
		uri += "?" + r.URL.RawQuery
	}
	return uri
}

// problem is an answer other than the one asked for (RFC 9457).
type problem struct {
	status        int
	reason, title string
	detail        string
}

func (p *problem) Error() string { return p.reason }

var (
	problemNone   = &problem{http.StatusNotFound, "not-found", "Nothing is known under this identifier", ""}
	problemType   = &problem{http.StatusNotFound, "no-such-link", "There is no link of this type", ""}
	problemMethod = &problem{http.StatusMethodNotAllowed, "method-not-allowed", "GET, HEAD and OPTIONS are answered", ""}
)

func bad(err error) *problem {
	return &problem{http.StatusBadRequest, format.Reason(err, "bad-request"), "This is no identifier that can be read", err.Error()}
}

// ServeHTTP answers what [Server.Takes].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "ETag, Link, Location, X-Request-Id, "+resolve.SealHeader)
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	x := &exchange{Server: s, w: w, r: r, url: s.Origin + r.URL.RequestURI()}
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = x.route()
	case http.MethodOptions:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Methods", "GET, HEAD, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Accept, Accept-Language, Authorization, If-None-Match, X-Request-Id")
		h.Set("Access-Control-Max-Age", "86400")
		w.WriteHeader(http.StatusNoContent)
	default:
		h.Set("Allow", "GET, HEAD, OPTIONS")
		err = problemMethod
	}
	if err != nil {
		x.fail(err)
	}
}

// exchange is one request and its answer.
type exchange struct {
	*Server
	w     http.ResponseWriter
	r     *http.Request
	url   string // that was asked for
	seen  bool   // something in it is not for everybody
	links []string
}

func (x *exchange) route() error {
	switch path := x.r.URL.Path; {
	case path == "/.well-known/gs1resolver":
		return x.description()
	case path == "/.well-known/did.json" || strings.HasPrefix(path, "/things/"):
		return x.didDocument()
	case strings.HasPrefix(path, "/1.0/identifiers/"):
		return x.resolveDID()
	case path == "/resolve":
		return x.any()
	case path == "/resolve/data":
		return x.data()
	case path == "/resolve/statements":
		return x.statements()
	case path == "/resolve/things":
		return x.things()
	case path == "/resolve/keys":
		return x.keys()
	case strings.HasPrefix(path, "/resolve/"):
		return problemNone
	}
	return x.digitalLink()
}

// fail answers with a problem. Its status is never that of success.
func (x *exchange) fail(err error) {
	var p *problem
	if !errors.As(err, &p) {
		x.Log.Error("an identifier was not resolved", "error", err.Error())
		p = &problem{http.StatusInternalServerError, "internal", "The answer could not be made", ""}
	}
	h := x.w.Header()
	x.sendLinks()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	body, _ := json.Marshal(map[string]any{"status": p.status, "reason": p.reason, "title": p.title, "detail": p.detail})
	x.w.WriteHeader(p.status)
	_, _ = x.w.Write(append(body, '\n'))
}

// link adds to the header Link (RFC 8288).
func (x *exchange) link(target, rel, media string) {
	l := "<" + target + `>; rel="` + rel + `"`
	if media != "" {
		l += `; type="` + media + `"`
	}
	x.links = append(x.links, l)
}

func (x *exchange) sendLinks() {
	if len(x.links) > 0 {
		x.w.Header().Set("Link", strings.Join(x.links, ", "))
	}
}

// send answers with a signed body.
func (x *exchange) send(media string, body []byte) error {
	return x.sendStatus(http.StatusOK, media, body)
}

func (x *exchange) sendStatus(status int, media string, body []byte) error {
	h := x.w.Header()
	now := x.Now().UTC()
	seal := resolve.Seal{KID: x.KID, URL: x.url, Made: now, Until: now.Add(x.Valid)}
	random := x.Rand
	if random == nil {
		random = rand.Reader
	}
	signature, err := seal.Sign(random, x.Signer, body)
	if err != nil {
		return err
	}
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(body))
	h.Set(resolve.SealHeader, signature)
	h.Set("ETag", tag)
	h.Add("Vary", "Accept")
	if x.seen {
		h.Set("Cache-Control", "private, no-store")
	} else {
		h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", maxAge))
	}
	x.sendLinks()
	if status == http.StatusOK && x.r.Header.Get("If-None-Match") == tag {
		x.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", media)
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
	return nil
}

func (x *exchange) sendJSON(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return x.send("application/json", body)
}

// identifier reads the parameter id.
func (x *exchange) identifier() (resolve.Identifier, error) {
	id, err := resolve.Parse(x.r.URL.Query().Get("id"))
	if err != nil {
		return id, bad(err)
	}
	return id, nil
}

// accepts reports whether a media type is named in Accept; a range does not name it.
func (x *exchange) accepts(media string) bool {
	return slices.Contains(accepted(x.r.Header.Get("Accept")), media)
}

// accepted are the media types of Accept, without those that are refused, the best first.
func accepted(header string) (out []string) {
	type weighed struct {
		media string
		q     float64
	}
	var all []weighed
	for part := range strings.SplitSeq(header, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil || len(all) == 32 {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if _, err := fmt.Sscanf(text, "%g", &q); err != nil || !(q > 0) {
				continue
			}
		}
		all = append(all, weighed{media, q})
	}
	slices.SortStableFunc(all, func(a, b weighed) int {
		switch {
		case a.q > b.q:
			return -1
		case a.q < b.q:
			return 1
		}
		return 0
	})
	for _, w := range all {
		out = append(out, w.media)
	}
	return out
}

// --- The GS1-conformant resolver ---

// description answers the resolver description file.
func (x *exchange) description() error {
	type namespace struct {
		Namespace string `json:"namespace"`
		Prefix    string `json:"prefix"`
	}
	return x.sendJSON(struct {
		Name       string         `json:"name"`
		Root       string         `json:"resolverRoot"`
		Keys       []string       `json:"supportedPrimaryKeys"`
		LinkTypes  []namespace    `json:"supportedLinkType"`
		Linkset    bool           `json:"linkTypeDefaultCanBeLinkset"`
		Contexts   []any          `json:"supportedContextValuesExternal"`
		Contact    map[string]any `json:"contact"`
		ContextURL string         `json:"jsonLdContextLocation"`
	}{
		Name: "Ampoule resolver", Root: x.Origin, Keys: []string{"all"}, LinkTypes: []namespace{{linkset.Vocabulary, "gs1:"}},
		Contexts: []any{map[string]string{"nameOfList": "ISO 3166-1 alpha-2", "url": "https://www.iso.org/iso-3166-country-codes.html"}},
		Contact:  map[string]any{"fn": x.Organisation.Name}, ContextURL: linksetContext,
	})
}

// digitalLink resolves a Digital Link at this address.
func (x *exchange) digitalLink() error {
	uri := x.uri(x.r)
	_, plain := gs1.ParseDigitalLink(uri)
	d, err := resolve.ParseLink(uri)
	if err != nil {
		return bad(err)
	}
	if err := d.Elements().Check(); err != nil {
		return bad(err)
	}
	whole := d.On(x.Origin)
	if plain != nil {
		// A compressed one is resolved where it is, and says what it stands for.
		whole.Other = nil
		x.link(whole.String(), "owl:sameAs", "")
	}
	id, err := resolve.Parse(d.Key.DigitalLink())
	if err != nil {
		return bad(err)
	}
	rows, err := x.rows(id)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return x.handOver(d)
	}
	key := d.Key.DigitalLinkOn(x.Origin)
	x.link(key+"?linkType=linkset", "linkset", linkset.MediaType)
	return x.choose(sets(rows))
}

// choose answers with the set of links, or sends on to one of them.
func (x *exchange) choose(levels []linkset.Context) error {
	query := x.r.URL.Query()
	asked := query.Get("linkType")
	if asked == "linkset" || asked == "all" || asked == "" && x.accepts(linkset.MediaType) {
		return x.linkset(levels)
	}
	want := resolve.Want{Context: query.Get("context"), Media: accepted(x.r.Header.Get("Accept"))}
	if asked != "" {
		want.Type = linkset.Type(asked)
	}
	tags, _, err := language.ParseAcceptLanguage(x.r.Header.Get("Accept-Language"))
	if err == nil {
		for _, t := range tags[:min(len(tags), 32)] {
			want.Languages = append(want.Languages, t.String())
		}
	}
	link, ok := resolve.Choose(levels, want)
	if !ok {
		return problemType
	}
	h := x.w.Header()
	x.sendLinks()
	h.Add("Vary", "Accept, Accept-Language")
	h.Set("Cache-Control", "no-cache")
	if x.seen {
		h.Set("Cache-Control", "private, no-store")
	}
	h.Set("Location", resolve.Passed(link, x.r.URL.RawQuery))
	x.w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

func (x *exchange) linkset(levels []linkset.Context) error {
	body, err := linkset.Marshal(levels)
	if err != nil {
		return err
	}
	x.link(linksetContext, "http://www.w3.org/ns/json-ld#context", "application/ld+json")
	return x.send(linkset.MediaType, body)
}

// handOver sends on to the resolver that answers for a company prefix.
func (x *exchange) handOver(d gs1.DigitalLink) error {
	stem, longest := "", 0
	for prefix, to := range x.Elsewhere {
		if len(prefix) > longest && hasPrefix(d.Key, prefix) {
			stem, longest = to, len(prefix)
		}
	}
	if stem == "" {
		return problemNone
	}
	to := d.On(stem).String()
	x.link(to, linkset.HandledBy, "")
	x.sendLinks()
	x.w.Header().Set("Location", to)
	x.w.WriteHeader(http.StatusTemporaryRedirect)
	return nil
}

// hasPrefix reports whether a key is of a company prefix. Before it a GTIN has its
// indicator, an SSCC its extension and a GRAI a zero (General Specifications section 3).
func hasPrefix(k gs1.Key, prefix string) bool {
	value := k.Value
	switch k.AI {
	case "00", "01", "8003", "8006":
		value = value[1:]
	}
	return strings.HasPrefix(value, prefix)
}

// --- Identifiers of any system ---

// answerBody is what an identifier resolves to.
type answerBody struct {
	ID      string          `json:"id"`
	Scheme  resolve.Scheme  `json:"scheme"`
	Element string          `json:"elementString,omitempty"`
	Kind    Kind            `json:"kind"`
	Name    string          `json:"name"`
	Status  string          `json:"status,omitempty"`
	EPCIS   string          `json:"epcis,omitempty"`
	DID     string          `json:"did,omitempty"`
	Linkset json.RawMessage `json:"linkset"`
}

// any answers GET /resolve?id=.
func (x *exchange) any() error {
	id, err := x.identifier()
	if err != nil {
		return err
	}
	rows, err := x.rows(id)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return problemNone
	}
	levels := sets(rows)
	if asked := x.r.URL.Query().Get("linkType"); asked != "" || x.accepts(linkset.MediaType) {
		// The parameters of this address are nobody else's.
		x.r.URL.RawQuery = without(x.r.URL.Query(), "id").Encode()
		return x.choose(levels)
	}
	body, err := linkset.Marshal(levels)
	if err != nil {
		return err
	}
	var inner struct {
		Linkset json.RawMessage `json:"linkset"`
	}
	if err := json.Unmarshal(body, &inner); err != nil {
		return err
	}
	row := rows[0]
	a := answerBody{ID: id.Name, Scheme: id.Scheme, Kind: row.kind, Name: row.set.Description, Status: row.status, DID: row.did, Linkset: inner.Linkset}
	if id.Scheme == resolve.GS1 {
		a.Element = id.Key.String()
	}
	if links := row.set.Links(linkset.EPCIS); len(links) > 0 {
		a.EPCIS = links[0].Href
	}
	return x.sendJSON(a)
}

func without(q url.Values, name string) url.Values {
	q.Del(name)
	return q
}

// keys answers with the key that signs, as a set (RFC 7517).
func (x *exchange) keys() error {
	raw, err := resolve.JWK(x.Signer.Public(), x.KID)
	if err != nil {
		return err
	}
	var key map[string]any
	if err := json.Unmarshal(raw, &key); err != nil {
		return err
	}
	key["alg"], key["use"] = "ES256", "sig"
	var chain []string
	for _, der := range x.Chain {
		chain = append(chain, base64.StdEncoding.EncodeToString(der))
	}
	if chain != nil {
		key["x5c"] = chain
	}
	body, err := json.Marshal(map[string]any{"keys": []any{key}})
	if err != nil {
		return err
	}
	return x.send("application/jwk-set+json", body)
}
