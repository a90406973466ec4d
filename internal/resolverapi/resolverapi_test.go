package resolverapi_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/device"
	"ampoule/format/gs1"
	"ampoule/format/linkset"
	"ampoule/format/oid"
	"ampoule/internal/resolverapi"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/thing/resolve"
	"ampoule/thing/vaccine"
)

const (
	origin  = "https://resolver.example"
	item    = "/01/09521321123458"
	clinic  = "https://id.gs1.org/414/9521321000032"
	fridge  = "https://id.gs1.org/8004/952132100F1"
	logger  = "2.25.329800735698586629295641978511506172918"
	fresh   = "2.25.329800735698586629295641978511506172919" // that nobody claimed
	entry   = "1.3.6.1.4.1.99999.1.1.7"
	unit    = "urn:uuid:00000000-0000-7000-8000-00000000000a"
	allowed = "someone"
)

const products = `{"vaccines": [
 {"name": "Specimen IPV", "maker": "Specimen works", "form": "liquid", "storage": "refrigerated", "freeze": "harmed", "doses": 10,
  "codes": [{"code": "09521321123458", "system": "https://id.gs1.org/01"}, {"code": "PV-1", "system": "urn:x:products"}]},
 {"name": "Specimen without a GTIN", "codes": [{"code": "YF-1", "system": "urn:x:products"}]}]}`

const links = `{"linkset": [
 {"anchor": "https://id.gs1.org/01/09521321123458", "itemDescription": "Specimen IPV (fictitious)",
  "https://ref.gs1.org/voc/defaultLink": [{"href": "https://maker.example/ipv", "title": "Product page"}],
  "https://ref.gs1.org/voc/defaultLinkMulti": [
    {"href": "https://maker.example/fr/ipv", "title": "Page du produit", "hreflang": ["fr"]},
    {"href": "https://maker.example/br/ipv", "title": "Produto", "hreflang": ["pt"], "context": ["BR"]}],
  "https://gs1.org/voc/epil": [
    {"href": "https://maker.example/en/leaflet", "title": "Leaflet", "hreflang": ["en"], "type": "text/html"},
    {"href": "https://maker.example/fr/leaflet?v=2", "title": "Notice", "hreflang": ["fr"], "type": "text/html"},
    {"href": "https://maker.example/leaflet.pdf", "title": "Leaflet", "hreflang": ["en", "fr"], "type": "application/pdf", "fwqs": false}]}]}`

// stock and things are registries of this test.
type stock map[string]custody.Location

func (s stock) Location(_ context.Context, uri string) (*custody.Location, error) {
	if l, ok := s[uri]; ok {
		return &l, nil
	}
	return nil, custody.ErrNoLocation
}

func (s stock) LocationsAt(_ context.Context, at custody.Place, after string, _ int) (out []custody.Location, _ error) {
	for _, uri := range []string{clinic, fridge} {
		if l := s[uri]; at.Holds(l.Place) && uri > after {
			out = append(out, l)
		}
	}
	return out, nil
}

type things struct{ devices map[string]fleet.Device }

func (f things) Device(_ context.Context, id oid.OID) (*fleet.Device, error) {
	if d, ok := f.devices[id.String()]; ok {
		return &d, nil
	}
	return nil, fleet.ErrNoDevice
}

func (f things) Equipment(_ context.Context, id fleet.ID) (*fleet.Equipment, error) {
	if "urn:uuid:"+string(id) != unit {
		return nil, fleet.ErrNoEquipment
	}
	return &fleet.Equipment{ID: id, Place: fleet.Place{Organisation: "moh", Facility: "north"}, Name: "Fridge 1", Kind: fleet.Fridge, PQS: "E003/001"}, nil
}

func (f things) DevicesAt(_ context.Context, _ fleet.Place, _ device.Life, after oid.OID, _ int) (out []fleet.Device, _ error) {
	if after == "" {
		out = append(out, f.devices[logger])
	}
	return out, nil
}

func (f things) EquipmentAfter(ctx context.Context, _ fleet.Place, _ fleet.ID, _ int) ([]fleet.Equipment, error) {
	e, err := f.Equipment(ctx, fleet.ID(strings.TrimPrefix(unit, "urn:uuid:")))
	return []fleet.Equipment{*e}, err
}

type bed struct {
	*resolverapi.Server
	t   *testing.T
	key *ecdsa.PrivateKey
}

type visitor struct{}

func newBed(t *testing.T) *bed {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	catalogue, err := vaccine.Parse([]byte(products))
	must(t, err)
	own, err := resolverapi.Links([]byte(links))
	must(t, err)
	id, err := oid.Parse(logger)
	must(t, err)
	other, err := oid.Parse(fresh)
	must(t, err)
	signs, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	spki, err := x509.MarshalPKIXPublicKey(signs.Public())
	must(t, err)
	north := custody.Place{Organisation: "moh", Facility: "north"}
	b := &bed{t: t, key: key}
	b.Server = &resolverapi.Server{
		Origin: origin, Organisation: resolverapi.Organisation{ID: "moh", Name: "Ministry of Specimens", Country: "XA"},
		Products: catalogue, Links: own, Events: "/epcis/events",
		Stock: stock{
			clinic: {URI: clinic, Place: north, Name: "North", Country: "XA"},
			fridge: {URI: fridge, Place: north, Name: "Fridge 1", Within: clinic, Equipment: strings.TrimPrefix(unit, "urn:uuid:")},
		},
		Fleet: things{map[string]fleet.Device{
			logger: {ID: id, Place: fleet.Place(north), State: device.Active, Maker: "Specimen", Model: "Logger 1", Keys: []fleet.Key{
				{KID: []byte{1, 2}, Public: spki}, {KID: []byte{3, 4}, Public: spki, Until: time.Unix(1, 0)},
			}},
			fresh: {ID: other, State: device.Announced},
		}},
		Ledger:   func(_ context.Context, id oid.OID) bool { return id.String() == entry || id.String() == logger },
		Prefixes: []string{"9521321"}, Elsewhere: map[string]string{"950600": "https://id.gs1.org", "9506000": "https://other.example/stem"},
		Allowed: func(ctx context.Context, organisation, facility string) bool {
			return ctx.Value(visitor{}) == allowed && organisation == "moh" && facility == "north"
		},
		Signer: key, KID: "key-1", Valid: time.Hour, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }, Log: slog.New(slog.DiscardHandler),
	}
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// answer is what came.
type answer struct {
	*http.Response
	body []byte
}

// ask asks for a target, with headers "Name: value"; "as: someone" logs in. Whatever has
// a body and is no problem must be signed.
func (b *bed) ask(method, target string, headers ...string) answer {
	b.t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "as" {
			r = r.WithContext(context.WithValue(r.Context(), visitor{}, value))
			continue
		}
		r.Header.Set(name, value)
	}
	if !b.Takes(r) {
		b.t.Errorf("%s %s is not taken", method, target)
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	res := w.Result()
	body, err := io.ReadAll(res.Body)
	must(b.t, err)
	a := answer{res, body}
	if media := res.Header.Get("Content-Type"); method == "GET" && len(body) > 0 && media != "application/problem+json" {
		if _, err := resolve.VerifySeal(b.key.Public(), res.Header.Get(resolve.SealHeader), origin+r.RequestURI, body, b.Now()); err != nil {
			b.t.Errorf("%s: %v", target, err)
		}
	}
	if res.Header.Get("Access-Control-Allow-Origin") != "*" {
		b.t.Errorf("%s: closed to other sites", target)
	}
	if res.StatusCode >= 400 && res.Header.Get("Content-Type") == "" {
		b.t.Errorf("%s: %d without a word", target, res.StatusCode)
	}
	return a
}

// set asks for the links of a target and holds them against the schema of GS1.
func (b *bed) set(target string, headers ...string) []linkset.Context {
	b.t.Helper()
	a := b.ask("GET", target, headers...)
	set, findings, err := linkset.Parse(a.body)
	if err != nil || len(findings) > 0 || a.StatusCode != 200 || a.Header.Get("Content-Type") != linkset.MediaType {
		b.t.Errorf("%s: %s, %v, %v: %s", target, a.Status, findings, err, a.body)
	}
	return set
}

// goes asks where a target leads; "" where the status is another than that of a redirect.
func (b *bed) goes(target string, headers ...string) string {
	b.t.Helper()
	a := b.ask("GET", target, headers...)
	if a.StatusCode != http.StatusTemporaryRedirect {
		return ""
	}
	return a.Header.Get("Location")
}

// TestConformance is GS1-Conformant resolver 1.0, statement by statement, as its test
// suite lists them.
func TestConformance(t *testing.T) {
	compressed := func(uri string, partly bool) string {
		d, err := gs1.ParseDigitalLink(uri)
		must(t, err)
		if partly {
			return strings.TrimPrefix(d.CompressPartly(), origin)
		}
		return strings.TrimPrefix(d.Compress(), origin)
	}
	for _, c := range []struct {
		statement string
		holds     func(b *bed) bool
	}{
		{"For primary keys that have key qualifiers, all key qualifiers SHALL be supported", func(b *bed) bool {
			return len(b.set(item+"/22/2A/10/L1/21/7?linkType=linkset")) == 4 && len(b.set("/414/9521321000032/254/1?linkType=linkset")) == 2
		}},
		{"SHALL support HTTP 1.1 (or higher) GET, HEAD and OPTIONS requests", func(b *bed) bool {
			head, get := b.ask("HEAD", item), b.ask("GET", item)
			return head.StatusCode == 307 && head.Header.Get("Location") == get.Header.Get("Location") && b.ask("OPTIONS", item).StatusCode == 204 &&
				b.ask("POST", item).StatusCode == 405
		}},
		{"SHALL support CORS", func(b *bed) bool {
			return strings.Contains(b.ask("OPTIONS", item).Header.Get("Access-Control-Allow-Methods"), "HEAD") // and [bed.ask]
		}},
		{"SHALL extract and syntactically validate the URI and report errors with an HTTP response code of 400", func(b *bed) bool {
			for _, bad := range []string{"/01/09521321123459", "/01/095213211", "/01/09521321123458/21/7/10/L1", item + "?17=291331", item + "?3103=1", "/01", "/01/", "/414/1"} {
				if a := b.askRaw(bad); a != 400 {
					b.t.Errorf("%s: %d", bad, a)
					return false
				}
			}
			return true
		}},
		{"SHALL NOT use a 200 OK response code with a resource that indicates an error condition", func(b *bed) bool {
			for _, bad := range []string{"/01/00000000000000", "/01/04012345123456?linkType=linkset", item + "?linkType=gs1:safetyInfo", "/resolve?id=2.25.9", "/resolve/data?id=" + unit} {
				if b.ask("GET", bad).StatusCode < 400 {
					b.t.Error(bad)
					return false
				}
			}
			return true
		}},
		{"A resolver SHALL be able to decompress a URI; SHOULD NOT redirect to the equivalent uncompressed URI on the same resolver", func(b *bed) bool {
			for _, partly := range []bool{false, true} {
				if b.goes(compressed(origin+item+"/10/L1", partly)) != b.goes(item+"/10/L1") {
					return false
				}
			}
			return true
		}},
		{"It SHALL expose the uncompressed URI in the Link response header with a rel value of owl:sameAs", func(b *bed) bool {
			return strings.Contains(b.ask("GET", compressed(origin+item+"/10/L1?17=290331", false)).Header.Get("Link"), "<"+origin+item+`/10/L1?17=290331>; rel="owl:sameAs"`)
		}},
		{"If redirecting to an alternative resolver, should redirect to the relevant uncompressed URI", func(b *bed) bool {
			return b.goes(compressed(origin+"/01/09506000134352/10/L1", false)) == "https://other.example/stem/01/09506000134352/10/L1"
		}},
		{"SHALL respond to linkType=linkset and/or Accept: application/linkset+json with the list of links, as per RFC 9264", func(b *bed) bool {
			a, c := b.set(item+"?linkType=linkset"), b.set(item, "Accept: application/linkset+json")
			return cmp.Equal(a, c) && cmp.Equal(a, b.set(item+"?linkType=all")) && len(a[0].Links(linkset.PatientLeaflet)) == 3
		}},
		{"any links associated with each level up to the primary key SHALL be included in the linkset", func(b *bed) bool {
			set := b.set(item + "/10/L1/21/7?linkType=linkset")
			return len(set) == 3 && set[0].Anchor == origin+item+"/10/L1/21/7" && set[1].Anchor == origin+item+"/10/L1" && set[2].Anchor == origin+item &&
				len(set[2].Links(linkset.PatientLeaflet)) == 3 && len(set[1].Links(linkset.RecallStatus)) == 1
		}},
		{"The URI used as the subject of facts presented SHALL be the uncompressed version", func(b *bed) bool {
			return b.set(compressed(origin+item+"/10/L1", false), "Accept: application/linkset+json")[0].Anchor == origin+item+"/10/L1"
		}},
		{"All links SHALL include the target URL, the link type and a link title; media types are IANA's", func(b *bed) bool {
			return len(b.set(item+"/10/L1?linkType=linkset")) == 2 // [bed.set] holds them against the schema
		}},
		{"Links that are typed gs1:defaultLink or gs1:defaultLinkMulti SHALL also be described using a descriptive link type", func(b *bed) bool {
			for _, set := range b.set(item + "/10/L1/21/7?linkType=linkset") {
				for _, d := range append(set.Links(linkset.DefaultLink), set.Links(linkset.DefaultLinkMulti)...) {
					described := false
					for _, r := range set.Relations {
						for _, l := range r.Links {
							described = described || l.Href == d.Href && !strings.Contains(r.Type, "defaultLink")
						}
					}
					if !described {
						b.t.Errorf("%s: %s", set.Anchor, d.Href)
						return false
					}
				}
			}
			return true
		}},
		{"SHOULD include an HTTP Link header pointing to a JSON-LD context file", func(b *bed) bool {
			return strings.Contains(b.ask("GET", item+"?linkType=linkset").Header.Get("Link"), `rel="http://www.w3.org/ns/json-ld#context"; type="application/ld+json"`)
		}},
		{"SHALL recognise one available link as the default; it SHALL NOT have any optional attributes", func(b *bed) bool {
			for _, target := range []string{item, item + "/10/L1", item + "/21/7", "/414/9521321000032", "/00/195213210000000015"} {
				all := b.set(target + "?linkType=linkset")
				d := all[len(all)-1].Links(linkset.DefaultLink)
				if len(d) != 1 || b.goes(target) != d[0].Href || !cmp.Equal(d[0], linkset.Link{Href: d[0].Href, Title: d[0].Title}) {
					b.t.Errorf("%s: %+v", target, d)
					return false
				}
			}
			return true
		}},
		{"SHALL redirect to the default link unless there is information in the request that can be used to make a better match", func(b *bed) bool {
			return b.goes(item) == "https://maker.example/ipv" && b.goes(item, "Accept-Language: de") == "https://maker.example/ipv" &&
				b.goes(item, "Accept-Language: fr-CA, en;q=0.5") == "https://maker.example/fr/ipv"
		}},
		{"For any request URI, no matter how granular, there SHALL be a default link at the entry level or higher up the tree", func(b *bed) bool {
			return b.goes(item+"/22/2A") == "https://maker.example/ipv" && b.goes(item+"/22/2A/10/L1/21/7") == "https://maker.example/ipv"
		}},
		{"SHALL redirect to the requested type of link if available", func(b *bed) bool {
			want := "https://maker.example/en/leaflet?linkType=" // and the query is passed on
			return b.goes(item+"?linkType=gs1:epil") == want+"gs1:epil" && b.goes(item+"?linkType=https://ref.gs1.org/voc/epil") == want+"https://ref.gs1.org/voc/epil" &&
				b.goes(item+"/10/L1?linkType=gs1:epil") == want+"gs1:epil"
		}},
		{"SHALL return a 404 Not Found message if a link of the requested type is not available", func(b *bed) bool {
			a := b.ask("GET", item+"?linkType=gs1:safetyInfo")
			return a.StatusCode == 404 && strings.Contains(a.Header.Get("Link"), `rel="linkset"`)
		}},
		{"By default, SHALL pass on all key=value pairs in the query string of the request URI when redirecting", func(b *bed) bool {
			return b.goes(item+"?17=290331&x=y") == "https://maker.example/ipv?17=290331&x=y" &&
				b.goes(item+"?linkType=gs1:epil&x=y", "Accept-Language: fr", "Accept: text/html") == "https://maker.example/fr/leaflet?v=2&linkType=gs1:epil&x=y" &&
				b.goes(item+"?linkType=gs1:epil&x=y", "Accept: application/pdf") == "https://maker.example/leaflet.pdf" // that wants none
		}},
		{"SHOULD support Accept-Language and MAY support Accept, and the context keyword, to disambiguate", func(b *bed) bool {
			return b.goes(item+"?context=BR") == "https://maker.example/br/ipv?context=BR" && b.goes(item+"?linkType=gs1:epil", "Accept-Language: fr") == "https://maker.example/fr/leaflet?v=2&linkType=gs1:epil"
		}},
		{"SHALL provide a resolver description file at /.well-known/gs1resolver, with the primary identifiers and a context file", func(b *bed) bool {
			var d struct {
				ResolverRoot         string
				SupportedPrimaryKeys []string
				SupportedLinkType    []struct{ Namespace, Prefix string }
				JSONLDContext        string `json:"jsonLdContextLocation"`
			}
			must(b.t, json.Unmarshal(b.ask("GET", "/.well-known/gs1resolver").body, &d))
			return d.ResolverRoot == origin && cmp.Equal(d.SupportedPrimaryKeys, []string{"all"}) && d.SupportedLinkType[0].Prefix == "gs1:" && d.JSONLDContext != ""
		}},
		{"all primary keys are read, as the description says", func(b *bed) bool {
			for _, ai := range gs1.AIs() {
				if ai.Primary && b.askRaw("/"+ai.Code+"/_") != 400 {
					b.t.Errorf("(%s)", ai.Code)
					return false
				}
			}
			return true
		}},
		{"redirections by company prefix SHALL be annotated with gs1:handledBy instead of the link to the linkset", func(b *bed) bool {
			a := b.ask("GET", "/00/095060001343520000")
			return a.Header.Get("Link") == `<https://other.example/stem/00/095060001343520000>; rel="`+linkset.HandledBy+`"` && b.goes("/8004/950600X1") == "https://id.gs1.org/8004/950600X1"
		}},
		{"SHOULD tolerate trailing slashes at the end of GS1 Digital Link URIs", func(b *bed) bool {
			return b.goes(item+"/") == b.goes(item) && b.goes(item+"/10/L1/?x=y") == b.goes(item+"/10/L1?x=y")
		}},
		{"SHOULD expose link to the linkset in an HTTP Link header, even when redirecting", func(b *bed) bool {
			return strings.Contains(b.ask("GET", item+"/10/L1").Header.Get("Link"), "<"+origin+item+`/10/L1?linkType=linkset>; rel="linkset"; type="application/linkset+json"`)
		}},
	} {
		t.Run(c.statement, func(t *testing.T) {
			if !c.holds(newBed(t)) {
				t.Error("does not hold")
			}
		})
	}
}

// askRaw is the status of a GET of a target that a client need not have written well.
func (b *bed) askRaw(target string) int {
	path, query, _ := strings.Cut(target, "?")
	r := httptest.NewRequest("GET", "/", nil)
	r.URL = &url.URL{Path: path, RawQuery: query}
	if text, err := url.PathUnescape(path); err == nil {
		r.URL.Path, r.URL.RawPath = text, path
	}
	if !b.Takes(r) {
		return 0
	}
	w := httptest.NewRecorder()
	b.ServeHTTP(w, r)
	return w.Code
}

// TestTakes: other addresses of the server stay theirs.
func TestTakes(t *testing.T) {
	b := newBed(t)
	for _, path := range []string{"/", "/v1/verify", "/docs", "/favicon.ico", "/about/01/09521321123458", "/things/x", "/10/L1", "/.well-known/jwks.json", "/devices/cce"} {
		if b.Takes(httptest.NewRequest("GET", path, nil)) {
			t.Errorf("%s is taken", path)
		}
	}
}

// TestNoLot: what is answered about a lot, a piece or a box is the same whether there is
// one or not, since nothing is asked about it.
func TestNoLot(t *testing.T) {
	b := newBed(t)
	var kinds []string
	for _, number := range []string{"REAL-1", "NONE-2"} {
		for _, form := range []string{"%s/10/" + number, "%s/21/" + number} {
			text := string(b.ask("GET", fmt.Sprintf(form, item)+"?linkType=linkset").body) + string(b.ask("GET", "/resolve/statements?id="+url.QueryEscape("https://id.gs1.org"+item+"/10/"+number)).body)
			kinds = append(kinds, strings.ReplaceAll(text, number, "LOT"))
		}
	}
	if kinds[0] != kinds[2] || kinds[1] != kinds[3] {
		t.Errorf("answers differ: %q", kinds)
	}
	if a := b.ask("GET", "/resolve/statements?id=%2801%2904012345123456%2810%29A"); a.StatusCode != 404 {
		t.Errorf("of a product that nobody knows: %s", a.Status)
	}
}

// TestAny is GET /resolve?id= of identifiers of every system.
func TestAny(t *testing.T) {
	b := newBed(t)
	for _, c := range []struct {
		id, as string
		status int
		kind   resolverapi.Kind
		name   string
		levels int
	}{
		{"urn:epc:class:lgtin:9521321.012345.AB", "", 200, resolverapi.KindLot, "https://id.gs1.org/01/09521321123458/10/AB", 2},
		{"(01)09521321123458(10)AB(21)7", "", 200, resolverapi.KindItem, "https://id.gs1.org/01/09521321123458/10/AB/21/7", 3},
		{"urn:ampoule:lot:urn%3Ax%3Aproducts:PV-1:AB", "", 200, resolverapi.KindLot, "urn:ampoule:lot:urn%3Ax%3Aproducts:PV-1:AB", 2},
		{"urn:ampoule:lot:urn%3Ax%3Aproducts:YF-1:AB", "", 200, resolverapi.KindLot, "urn:ampoule:lot:urn%3Ax%3Aproducts:YF-1:AB", 1},
		{"urn:ampoule:lot:urn%3Ax%3Aproducts:NO-1:AB", "", 404, "", "", 0},
		{clinic, "", 200, resolverapi.KindLocation, clinic, 1},
		{clinic + "/254/A", "", 200, resolverapi.KindOther, clinic + "/254/A", 2},
		{fridge, allowed, 200, resolverapi.KindEquipment, fridge, 1},
		{unit, allowed, 200, resolverapi.KindEquipment, unit, 1},
		{unit, "", 404, "", "", 0},
		{logger, "", 200, resolverapi.KindDevice, "urn:oid:" + logger, 1},
		{"urn:oid:" + logger, "", 200, resolverapi.KindDevice, "urn:oid:" + logger, 1},
		{fresh, "", 404, "", "", 0},
		{entry, "", 200, resolverapi.KindLedger, "urn:oid:" + entry, 1},
		{"2.25.1", "", 404, "", "", 0},
		{"did:web:resolver.example", "", 200, resolverapi.KindOrganisation, "did:web:resolver.example", 1},
		{"did:web:resolver.example:things:" + logger, "", 200, resolverapi.KindDevice, "did:web:resolver.example:things:" + logger, 1},
		{"did:web:elsewhere.example", "", 404, "", "", 0},
		{"did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169", "", 200, resolverapi.KindOther, "did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169", 1},
		{"not an identifier", "", 400, "", "", 0},
		{"", "", 400, "", "", 0},
	} {
		t.Run(c.id+" "+c.as, func(t *testing.T) {
			b.t = t
			a := b.ask("GET", "/resolve?id="+url.QueryEscape(c.id), "as: "+c.as)
			var got struct {
				ID      string
				Kind    resolverapi.Kind
				Linkset []json.RawMessage
			}
			must(t, json.Unmarshal(a.body, &got))
			if a.StatusCode != c.status || got.Kind != c.kind || got.ID != c.name || len(got.Linkset) != c.levels {
				t.Errorf("%s: %s", a.Status, a.body)
			}
			if shared := strings.HasPrefix(a.Header.Get("Cache-Control"), "public"); shared != (a.StatusCode == 200 && c.as == "") {
				t.Errorf("may be cached: %s", a.Header.Get("Cache-Control"))
			}
		})
	}
	b.t = t
	if to := b.goes("/resolve?id=%2801%2909521321123458&linkType=gs1:epil"); to != "https://maker.example/en/leaflet?linkType=gs1%3Aepil" {
		t.Errorf("a type is asked for: %s", to)
	}
	if set := b.set("/resolve?id="+logger, "Accept: application/linkset+json"); len(set[0].Links("describedby")) != 2 {
		t.Errorf("%+v", set)
	}
}

// TestHidden: a fridge is there for those who may see its place, and its GIAI is an
// identifier of nothing for others. The company's things are followed by their events
// all the same.
func TestHidden(t *testing.T) {
	b := newBed(t)
	target := strings.TrimPrefix(fridge, "https://id.gs1.org")
	for as, sees := range map[string]bool{"": false, "another": false, allowed: true} {
		a := b.ask("GET", target+"?linkType=linkset", "as: "+as)
		if bytes.Contains(a.body, []byte("Fridge")) != sees {
			t.Errorf("as %q: %s", as, a.body)
		}
		if none := b.ask("GET", "/8004/952132100F2?linkType=linkset"); !sees && strings.ReplaceAll(string(none.body), "F2", "F1") != string(a.body) {
			t.Errorf("as %q: one that is hidden is told from none: %s", as, a.body)
		}
		if a := b.ask("GET", "/resolve/things?type=device&place="+url.QueryEscape(clinic), "as: "+as); (a.StatusCode == 200) != sees {
			t.Errorf("as %q: what is at the place: %s", as, a.Status)
		}
	}
}

func TestThings(t *testing.T) {
	b := newBed(t)
	at := "&place=" + url.QueryEscape(clinic)
	for query, want := range map[string]string{
		"type=product":                 `{"things":[{"id":"https://id.gs1.org/01/09521321123458","kind":"product","name":"Specimen IPV"}]}`,
		"type=organisation":            `{"things":[{"id":"did:web:resolver.example","kind":"organisation","name":"Ministry of Specimens"}]}`,
		"type=location" + at:           `{"things":[{"id":"` + clinic + `","kind":"location","name":"North"},{"id":"` + fridge + `","kind":"location","name":"Fridge 1"}]}`,
		"type=device" + at:             `{"things":[{"id":"urn:oid:` + logger + `","kind":"device","name":"Specimen Logger 1"}]}`,
		"type=equipment" + at:          `{"things":[{"id":"` + unit + `","kind":"equipment","name":"Fridge 1"}]}`,
		"type=product&after=https://j": `{"things":[]}`,
	} {
		if a := b.ask("GET", "/resolve/things?"+query, "as: "+allowed); string(a.body) != want {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	for query, want := range map[string]int{"": 400, "type=lot": 400, "type=device": 400, "type=device&place=urn:x:y": 404, "type=device" + at + "&after=x": 400} {
		if a := b.ask("GET", "/resolve/things?"+query, "as: "+allowed); a.StatusCode != want {
			t.Errorf("%s: %s", query, a.Status)
		}
	}
}

func TestDID(t *testing.T) {
	b := newBed(t)
	thing := "did:web:resolver.example:things:" + logger
	for _, c := range []struct {
		did, accept string
		status      int
		error       string
	}{
		{thing, "", 200, ""},
		{url.PathEscape(thing), "", 200, ""},
		{"did:web:resolver.example", "", 200, ""},
		{"did:key:zDnaerDaTF5BXEavCrfRZEk316dpbLsfPDZ3WJ5hRTPFU2169", "", 200, ""},
		{"did:web:resolver.example:things:" + fresh, "", 404, "NOT_FOUND"},
		{"did:web:resolver.example:people:1", "", 404, "NOT_FOUND"},
		{"did:web:elsewhere.example", "", 404, "NOT_FOUND"},
		{"did:ion:abc", "", 501, "METHOD_NOT_SUPPORTED"},
		{"did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", "", 501, "METHOD_NOT_SUPPORTED"},
		{"did:key:z0", "", 400, "INVALID_DID"},
		{"nothing", "", 400, "INVALID_DID"},
	} {
		a := b.ask("GET", "/1.0/identifiers/"+c.did)
		var got struct {
			Document struct{ ID string }                   `json:"didDocument"`
			Metadata struct{ Error struct{ Type string } } `json:"didResolutionMetadata"`
		}
		must(t, json.Unmarshal(a.body, &got))
		did, err := url.PathUnescape(c.did)
		must(t, err)
		if a.StatusCode != c.status || a.Header.Get("Content-Type") != "application/did-resolution" || (got.Document.ID == did) != (c.status == 200) ||
			strings.TrimPrefix(got.Metadata.Error.Type, "https://www.w3.org/ns/did#") != c.error {
			t.Errorf("%s: %s %s", c.did, a.Status, a.body)
		}
	}
	document := b.ask("GET", "/things/"+logger+"/did.json")
	direct := b.ask("GET", "/1.0/identifiers/"+thing, "Accept: application/did+ld+json")
	if document.StatusCode != 200 || !bytes.Equal(document.body, direct.body) || !bytes.Contains(document.body, []byte(`"revoked":"1970-01-01T00:00:01Z"`)) {
		t.Errorf("%s: %s, %s", document.Status, document.body, direct.body)
	}
	own := b.ask("GET", "/.well-known/did.json")
	if !bytes.Contains(own.body, []byte(`"id":"did:web:resolver.example"`)) || !bytes.Contains(own.body, []byte(`"did:web:resolver.example#key-1"`)) {
		t.Errorf("%s", own.body)
	}
	// One that was given up is told from one that never was; its document stays for what
	// it signed.
	id, err := oid.Parse(logger)
	must(t, err)
	b.Fleet.(things).devices[logger] = fleet.Device{ID: id, State: device.Retired}
	if a := b.ask("GET", "/1.0/identifiers/"+thing); a.StatusCode != 410 || !bytes.Contains(a.body, []byte(`"deactivated":true`)) || !bytes.Contains(a.body, []byte(`"didDocument":{`)) {
		t.Errorf("%s: %s", a.Status, a.body)
	}
	// A service behind a port has its colon escaped, and is found escaped once or twice.
	b.Origin = "http://127.0.0.1:8080"
	for _, did := range []string{"did:web:127.0.0.1%3A8080", "did%3Aweb%3A127.0.0.1%253A8080"} {
		r := httptest.NewRequest("GET", "/1.0/identifiers/"+did, nil)
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		if w.Code != 200 {
			t.Errorf("%s: %d", did, w.Code)
		}
	}
}

// TestCached: an answer has a tag, and who has it is told that it stands, signed anew.
func TestCached(t *testing.T) {
	b := newBed(t)
	first := b.ask("GET", "/resolve?id="+logger)
	again := b.ask("GET", "/resolve?id="+logger, "If-None-Match: "+first.Header.Get("ETag"))
	if again.StatusCode != http.StatusNotModified || len(again.body) > 0 {
		t.Fatalf("%s", again.Status)
	}
	if _, err := resolve.VerifySeal(b.key.Public(), again.Header.Get(resolve.SealHeader), origin+"/resolve?id="+logger, first.body, b.Now()); err != nil {
		t.Error(err)
	}
	var set struct{ Keys []map[string]any }
	must(t, json.Unmarshal(b.ask("GET", "/resolve/keys").body, &set))
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != "key-1" || set.Keys[0]["crv"] != "P-256" {
		t.Errorf("%v", set)
	}
}

func TestLinks(t *testing.T) {
	for name, data := range map[string]string{
		"no set": `{}`, "anchor of nothing": `{"linkset":[{"anchor":"https://a.example/about","itemDescription":"x"}]}`,
		"no title": `{"linkset":[{"anchor":"https://id.gs1.org/01/09521321123458","itemDescription":"x","item":[{"href":"https://a.example"}]}]}`,
	} {
		if _, err := resolverapi.Links([]byte(data)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// FuzzServe: whatever is asked for, there is an answer, and no 200 without a signature.
func FuzzServe(f *testing.F) {
	for _, s := range []string{item, item + "/10/L1?linkType=linkset", "/resolve?id=2.25.1", "/1.0/identifiers/did:key:zDn", "/things/2.25.1/did.json", "/AQnYUc1gmg", "/414/9521321000032/254/%2F"} {
		f.Add(s, "text/html, */*;q=0.1", "fr, en;q=0.5")
	}
	f.Fuzz(func(t *testing.T, target, accept, language string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" {
			return
		}
		b := newBed(t)
		r := httptest.NewRequest("GET", "/", nil)
		r.URL = u
		r.Header.Set("Accept", accept)
		r.Header.Set("Accept-Language", language)
		if !b.Takes(r) {
			return
		}
		w := httptest.NewRecorder()
		b.ServeHTTP(w, r)
		switch {
		case w.Code == 500:
			t.Errorf("%q: %s", target, w.Body)
		case w.Code == 200 && w.Header().Get(resolve.SealHeader) == "":
			t.Errorf("%q: not signed", target)
		}
	})
}
