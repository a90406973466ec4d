package httpapi

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/shc"
	"ampoule/internal/access"
	"ampoule/internal/messages"
	"ampoule/internal/paper"
	"ampoule/internal/qr"
	"ampoule/party/issuer"
	"ampoule/party/notary"
	"ampoule/party/verifier"
)

// security says how a request tells who asks (OpenAPI 3.1 section 4.8.27).
var security = []map[string][]string{{"session": {}}, {"token": {}}}

// signedIn refuses who is nobody before anything that was sent is looked at.
func signedIn(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		if principal(c.Context()) == nil {
			_ = c.SetReadDeadline(time.Now().Add(formTime)) // what is still to come is not waited for longer
			c.SetHeader("WWW-Authenticate", "Bearer")
			_ = huma.WriteErr(api, c, http.StatusUnauthorized, "") // the asker has gone
			return
		}
		next(c)
	}
}

// Issuing is the part of the API that issues certificates and stands behind them.
// Every operation begins with who asks: [access.Policy] says at which place it is
// allowed, and the registry knows no records but those of that place.
type Issuing struct {
	Registry *issuer.Registry
	// Bulk issues files of doses; nil: none are taken.
	Bulk   *issuer.Bulk
	Policy *access.Policy
	// Participant is the code under which trust lists name the issuer, and Authority
	// its name, for records that name none.
	Participant, Authority string
	// Address is that of the issuer of SMART Health Cards, and Keys its JWK set;
	// empty: none are issued.
	Address string
	Keys    []byte
	// Changed is called after a status list may have changed.
	Changed func()
	// Made is when the program was started.
	Made time.Time
	// Terms are what a form offers to choose from.
	Terms Terms
	// Outbox knows what came into the log of the ledger, and Trouble what keeps the rest
	// from it; nil: nothing brings it there.
	Outbox  notary.Outbox
	Trouble func() notary.Trouble
	// Ledger is what bundles carry of the ledger; nil: nothing is logged yet.
	Ledger []byte
}

// actor returns the one who asks, bound to a place at which the action is allowed:
// a facility where one is named, the organisation where the whole of it is
// granted, or else the only facility that is.
func (i *Issuing) actor(ctx context.Context, action access.Action, facility string) (issuer.Actor, error) {
	who := principal(ctx)
	if who == nil {
		return issuer.Actor{}, problemNobody
	}
	at := issuer.Place{Organisation: who.Organisation, Facility: facility}
	if ok, _ := i.Policy.Allow(who, action, at); ok {
		return issuer.Actor{ID: who.ID, Within: at}, nil
	}
	if facility != "" {
		return issuer.Actor{}, problemDenied
	}
	var places []issuer.Place
	for _, g := range who.Grants {
		at.Facility = g.Facility
		if ok, _ := i.Policy.Allow(who, action, at); ok && (len(places) == 0 || places[len(places)-1] != at) {
			places = append(places, at)
		}
	}
	switch len(places) {
	case 0:
		return issuer.Actor{}, problemDenied
	case 1:
		return issuer.Actor{ID: who.ID, Within: places[0]}, nil
	}
	return issuer.Actor{}, problemWhichFacility
}

// owned finds what belongs to a place, for one who may do that to it. What lies at
// another place is not found, and neither is what the asker may not even see:
// nobody learns that it is there.
func owned[T any](ctx context.Context, i *Issuing, action, see access.Action, id string, none *problem, find func(issuer.Actor, issuer.ID) (T, issuer.Place, error)) (found T, by issuer.Actor, err error) {
	var nothing T
	who := principal(ctx)
	if who == nil {
		return nothing, by, problemNobody
	}
	parsed, err := issuer.ParseID(id)
	if err != nil {
		return nothing, by, none
	}
	by = issuer.Actor{ID: who.ID, Within: issuer.Place{Organisation: who.Organisation}}
	if found, by.Within, err = find(by, parsed); err != nil {
		return nothing, by, err
	}
	if ok, _ := i.Policy.Allow(who, action, by.Within); ok {
		return found, by, nil
	}
	if ok, _ := i.Policy.Allow(who, see, by.Within); ok {
		return nothing, by, problemDenied
	}
	return nothing, by, none
}

// record returns what is known of a record that the one who asks may do that to.
func (i *Issuing) record(ctx context.Context, action access.Action, id string) (issuer.Head, issuer.Actor, error) {
	return owned(ctx, i, action, access.CertificateList, id, problemNoRecord, func(by issuer.Actor, id issuer.ID) (issuer.Head, issuer.Place, error) {
		head, err := i.Registry.Head(ctx, by, id)
		return head, head.Place, issuingProblem(err)
	})
}

// issuingProblem is an error of the registry as an answer. What is wrong with an
// order is told to the one who sent it, and nobody else.
func issuingProblem(err error) error {
	var defect format.Defect
	switch {
	case err == nil:
		return nil
	case errors.Is(err, issuer.ErrNotFound):
		return problemNoRecord
	case errors.Is(err, issuer.ErrConflict), errors.Is(err, issuer.ErrCount):
		return problemChanged
	case errors.Is(err, issuer.ErrState), errors.Is(err, issuer.ErrWithdrawn):
		return problemState
	case errors.Is(err, issuer.ErrKeyReused):
		return problemKeyReused
	case errors.Is(err, issuer.ErrPlace):
		return problemDenied
	case errors.Is(err, issuer.ErrSameKey):
		return problemSameKey
	case errors.Is(err, issuer.ErrUnreadable):
		return problemUnreadable
	case errors.Is(err, issuer.ErrSession):
		return problemNoDose
	case errors.Is(err, issuer.ErrKeyValidity):
		return problemNoKey
	case errors.As(err, &defect) && !strings.HasPrefix(string(defect), "store-"):
		return problemOrder.with(err.Error())
	}
	return err
}

// nameBody is a name as people write it. Its transliteration is computed, never
// taken.
type nameBody struct {
	Full   string `json:"full,omitempty" maxLength:"150" doc:"Where the name has no parts"`
	Family string `json:"family,omitempty" maxLength:"80"`
	Given  string `json:"given,omitempty" maxLength:"80"`
}

func (n nameBody) name() cert.Name { return cert.Name{Full: n.Full, Family: n.Family, Given: n.Given} }

type personBody struct {
	Name        nameBody      `json:"name"`
	BirthDate   cert.Date     `json:"birth_date,omitempty" pattern:"^[0-9]{4}(-[0-9]{2}(-[0-9]{2})?)?$" patternDescription:"YYYY-MM-DD, YYYY-MM or YYYY"`
	Sex         string        `json:"sex,omitempty" enum:"male,female,other,unknown"`
	Nationality string        `json:"nationality,omitempty" maxLength:"3" doc:"ISO 3166-1, three letters"`
	Document    cert.Document `json:"document,omitzero"`
	Guardian    string        `json:"guardian,omitempty" maxLength:"150"`
}

type CodeBody struct {
	Code    string `json:"code" maxLength:"200"`
	System  string `json:"system,omitempty" maxLength:"200"`
	Display string `json:"display,omitempty" maxLength:"200"`
}

func (c CodeBody) code() cert.Code { return cert.Code(c) }

type vaccinationBody struct {
	Disease      CodeBody  `json:"disease,omitzero" doc:"An ICVP takes it from the product"`
	Vaccine      CodeBody  `json:"vaccine,omitzero" doc:"The kind of vaccine"`
	Product      CodeBody  `json:"product,omitzero"`
	Manufacturer CodeBody  `json:"manufacturer,omitzero"`
	Lot          string    `json:"lot,omitempty" maxLength:"50"`
	Date         cert.Date `json:"date" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" patternDescription:"YYYY-MM-DD"`
	Dose         int       `json:"dose,omitempty" minimum:"1" maximum:"99" doc:"Number in the series"`
	Doses        int       `json:"doses,omitempty" minimum:"1" maximum:"99" doc:"Doses of the series"`
	Country      string    `json:"country,omitempty" maxLength:"3"`
	Clinician    string    `json:"clinician,omitempty" maxLength:"150"`
	ValidFrom    cert.Date `json:"valid_from,omitempty"`
	ValidUntil   cert.Date `json:"valid_until,omitempty"`
}

func (v *vaccinationBody) vaccination() *cert.Vaccination {
	if v == nil {
		return nil
	}
	return &cert.Vaccination{
		Disease: v.Disease.code(), Vaccine: v.Vaccine.code(), Product: v.Product.code(), Manufacturer: v.Manufacturer.code(),
		Lot: v.Lot, Date: v.Date, Dose: v.Dose, Doses: v.Doses, Country: v.Country, Clinician: v.Clinician, ValidFrom: v.ValidFrom, ValidUntil: v.ValidUntil,
	}
}

// recordBody is what is certified: a person, and one event.
type recordBody struct {
	Authority   string             `json:"authority,omitempty" maxLength:"80" doc:"Issuing authority; that of the service otherwise"`
	Person      personBody         `json:"person"`
	Vaccination *vaccinationBody   `json:"vaccination,omitempty"`
	Test        *cert.Test         `json:"test,omitempty"`
	Recovery    *cert.Recovery     `json:"recovery,omitempty"`
	Earlier     []*vaccinationBody `json:"earlier,omitempty" maxItems:"10" doc:"Doses before this one, oldest first, for formats that carry several"`
}

func (i *Issuing) certificate(b recordBody) (*cert.Certificate, error) {
	p := b.Person
	r := &cert.Certificate{
		Authority: b.Authority,
		Person: cert.Person{
			Name: p.Name.name(), BirthDate: p.BirthDate, Sex: p.Sex, Nationality: p.Nationality, Document: p.Document, Guardian: p.Guardian,
		},
		Vaccination: b.Vaccination.vaccination(), Test: b.Test, Recovery: b.Recovery,
	}
	if r.Authority == "" {
		r.Authority = i.Authority
	}
	events := 0
	for kind, there := range map[cert.Kind]bool{cert.KindVaccination: r.Vaccination != nil, cert.KindTest: r.Test != nil, cert.KindRecovery: r.Recovery != nil} {
		if there {
			r.Kind, events = kind, events+1
		}
	}
	if events != 1 {
		return nil, problemOrder.with("record: a vaccination, a test or a recovery, and one of them")
	}
	for _, e := range b.Earlier {
		r.Earlier = append(r.Earlier, cert.Event{Vaccination: e.vaccination()})
	}
	return r, nil
}

// wantedBody is a format that is asked for.
type wantedBody struct {
	Format  cert.Format `json:"format" enum:"icvp,eu-dcc,ddcc,shc,vds-nc"`
	Expires time.Time   `json:"expires,omitzero" doc:"End of the validity; none where the format allows that"`
}

type OrderBody struct {
	Record   recordBody   `json:"record"`
	Formats  []wantedBody `json:"formats" minItems:"1" maxItems:"5"`
	Facility string       `json:"facility,omitempty" maxLength:"64" doc:"Where the record belongs; asked for where the one who asks issues at several"`
	Session  string       `json:"session,omitempty" maxLength:"36" doc:"Opened stock from which the dose was given: one of its doses is used up in the same step, and product and lot are its own where the record leaves them out"`
}

func (o OrderBody) wanted() (out []issuer.Wanted) {
	for _, w := range o.Formats {
		out = append(out, issuer.Wanted(w))
	}
	return out
}

// HeadBody is what is known of a record without reading it.
type HeadBody struct {
	ID           string          `json:"id"`
	Organisation string          `json:"organisation"`
	Facility     string          `json:"facility,omitempty"`
	Version      int64           `json:"version" doc:"Also the ETag; If-Match asks for it"`
	State        issuer.State    `json:"state" enum:"valid,revoked,superseded"`
	Reason       issuer.Reason   `json:"reason,omitempty"`
	Issued       time.Time       `json:"issued"`
	Changed      time.Time       `json:"changed"`
	Corrects     string          `json:"corrects,omitempty" doc:"The record before this one"`
	Correction   string          `json:"correction,omitempty" doc:"The record after this one"`
	Formats      []issuer.Format `json:"formats"`
}

func headOf(h issuer.Head) HeadBody {
	return HeadBody{
		ID: h.ID.String(), Organisation: h.Place.Organisation, Facility: h.Place.Facility, Version: h.Version, State: h.State, Reason: h.Reason,
		Issued: h.Issued, Changed: h.Changed, Corrects: idOrEmpty(h.Corrects), Correction: idOrEmpty(h.Correction), Formats: h.Formats,
	}
}

func headsOf(heads []issuer.Head) []HeadBody {
	out := make([]HeadBody, len(heads))
	for n, h := range heads {
		out[n] = headOf(h)
	}
	return out
}

func idOrEmpty(id issuer.ID) string {
	if id == (issuer.ID{}) {
		return ""
	}
	return id.String()
}

func idTexts(ids []issuer.ID) []string {
	out := make([]string, len(ids))
	for n, id := range ids {
		out[n] = id.String()
	}
	return out
}

// artefactBody is one signed certificate.
type artefactBody struct {
	Format    issuer.Format `json:"format"`
	KID       string        `json:"kid" doc:"Of the key that signed it, in hexadecimal"`
	Text      string        `json:"text" doc:"Of the QR code"`
	Expires   time.Time     `json:"expires,omitzero"`
	Current   bool          `json:"current" doc:"No other was made in its place"`
	Revocable bool          `json:"revocable" doc:"The format has a scheme of revocation"`
	Log       *logBody      `json:"log,omitempty" doc:"How far its fingerprint is on its way into the log, when a record is read; missing of one from before there were fingerprints"`
}

// HeldBody is a record that was read.
type HeldBody struct {
	HeadBody
	Record       *cert.Certificate `json:"record"`
	Certificates []artefactBody    `json:"certificates"`
	Advice       *verifier.Advice  `json:"advice,omitempty" doc:"What is known against the dose, when a record is read and there is something that the holder should be told"`
}

func heldOf(h issuer.Held) HeldBody {
	out := HeldBody{HeadBody: headOf(h.Head), Record: named(h.Record), Certificates: make([]artefactBody, len(h.Artefacts))}
	for n, a := range h.Artefacts {
		out.Certificates[n] = artefactBody{a.Format, hex.EncodeToString(a.KID), a.Text, a.Expires, a.Current, a.Scheme != issuer.SchemeNone, nil}
	}
	return out
}

// named returns a record with English words beside the codes that a table knows,
// where the issuer wrote none.
func named(r *cert.Certificate) *cert.Certificate {
	out := *r
	name := func(c *cert.Code, set cert.ValueSet) {
		if c.Display == "" {
			c.Display, _ = cert.Display(set, c.Code)
		}
	}
	disease := func(c *cert.Code) {
		if d, known := cert.FindDisease(c.Code); known && c.Display == "" {
			c.Display = d.DisplayEN
		}
	}
	if v := r.Vaccination; v != nil {
		v := *v
		disease(&v.Disease)
		name(&v.Vaccine, cert.ValueSetProphylaxis)
		name(&v.Product, cert.ValueSetProduct)
		name(&v.Manufacturer, cert.ValueSetManufacturer)
		out.Vaccination = &v
	}
	if t := r.Test; t != nil {
		t := *t
		disease(&t.Disease)
		name(&t.Type, cert.ValueSetTestType)
		name(&t.Device, cert.ValueSetTestDevice)
		name(&t.Result, cert.ValueSetTestResult)
		out.Test = &t
	}
	if v := r.Recovery; v != nil {
		v := *v
		disease(&v.Disease)
		out.Recovery = &v
	}
	return &out
}

type receiptBody struct {
	HeldBody
	Replayed bool     `json:"replayed" doc:"This was issued before, under the same Idempotency-Key"`
	Same     []string `json:"same" doc:"Valid records of the same event of the same person: a warning"`
}

// etag is the version of a record as an entity tag (RFC 9110 section 8.8.3).
func etag(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// ifMatch reads the version that a change asks for.
func ifMatch(header string) (int64, error) {
	if header == "" {
		return 0, problemNoVersion
	}
	text, ok := strings.CutPrefix(header, `"`)
	text, closed := strings.CutSuffix(text, `"`)
	version, err := strconv.ParseInt(text, 10, 64)
	if !ok || !closed || err != nil {
		return 0, problemChanged // a tag that none of ours is: * and lists among them
	}
	return version, nil
}

// KeyHeader is the key under which an order may be repeated.
type KeyHeader struct {
	Key string `header:"Idempotency-Key" maxLength:"200" doc:"The same order under the same key hands out the same certificates again"`
}

// MatchHeader is the version that was seen.
type MatchHeader struct {
	Match string `header:"If-Match" doc:"ETag of the version that was seen; required"`
}

// heldAnswer is one record.
type heldAnswer struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         HeldBody
}

type receiptAnswer struct {
	Status       int
	ETag         string `header:"ETag"`
	Location     string `header:"Location"`
	CacheControl string `header:"Cache-Control"`
	Body         receiptBody
}

func receiptOf(r *issuer.Receipt) *receiptAnswer {
	out := &receiptAnswer{
		Status: http.StatusCreated, ETag: etag(r.Version), Location: "/v1/certificates/" + r.ID.String(), CacheControl: "no-store",
		Body: receiptBody{heldOf(r.Held), r.Replayed, idTexts(r.Same)},
	}
	if r.Replayed {
		out.Status = http.StatusOK
	}
	return out
}

type headAnswer struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		HeadBody
		Irrevocable []issuer.Format `json:"irrevocable" doc:"Formats that nobody can take back: their holders can show them as before"`
	}
}

func changed(h issuer.Head) *headAnswer {
	out := &headAnswer{ETag: etag(h.Version), CacheControl: "no-store"}
	out.Body.HeadBody, out.Body.Irrevocable = headOf(h), append([]issuer.Format{}, h.Irrevocable()...)
	return out
}

type pageAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Link         string `header:"Link" doc:"The next page (RFC 8288)"`
	Body         struct {
		Items []HeadBody `json:"items"`
		Next  string     `json:"next,omitempty" doc:"Cursor of the next page; missing after the last"`
	}
}

type PlaceParameter struct {
	Facility string `query:"facility" maxLength:"64" doc:"Of several facilities, the one that is meant"`
}

type IDParameter struct {
	ID string `path:"id" maxLength:"36"`
}

// describeIssuing registers the operations on certificates.
func (s *server) describeIssuing(api huma.API) {
	i := s.Issuing
	at := func(id, method, path, summary, description string, problems ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Description: description, MaxBodyBytes: maxBody, BodyReadTimeout: 10 * time.Second,
			Errors: append(problems, http.StatusUnauthorized, http.StatusForbidden), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}

	issue := at("issue", "POST", "/v1/certificates", "Issue a certificate in each format that is asked for",
		"The record is durable before the answer is sent. The formats are listed by GET /v1/issuing.", 400, 404, 409, 413, 415, 422)
	issue.DefaultStatus = http.StatusCreated
	register(api, issue, func(ctx context.Context, r *struct {
		KeyHeader
		Body OrderBody
	}) (*receiptAnswer, error) {
		by, err := i.actor(ctx, access.CertificateIssue, r.Body.Facility)
		if err != nil {
			return nil, err
		}
		record, err := i.certificate(r.Body.Record)
		if err != nil {
			return nil, err
		}
		order := issuer.Order{By: by, Key: r.Key, Record: record, Wanted: r.Body.wanted()}
		if err := s.fromSession(ctx, r.Body.Session, &order); err != nil {
			return nil, err
		}
		receipt, err := i.Registry.Issue(ctx, order)
		if err != nil {
			return nil, issuingProblem(err)
		}
		return receiptOf(receipt), nil
	})

	register(api, at("check", "POST", "/v1/certificates/check", "Say what is wrong with an order, without issuing",
		"By the same rules as issuing, and whether the same event was certified before.", 400, 404, 413, 415, 422), s.apiCheck)

	register(api, at("list", "GET", "/v1/certificates", "List records, newest first", "Nothing personal: to read a record is another step.", 422), func(ctx context.Context, r *struct {
		PlaceParameter
		Cursor string `query:"cursor" maxLength:"36"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}) (*pageAnswer, error) {
		by, err := i.actor(ctx, access.CertificateList, r.Facility)
		if err != nil {
			return nil, err
		}
		var cursor issuer.ID
		if r.Cursor != "" {
			if cursor, err = issuer.ParseID(r.Cursor); err != nil {
				return nil, problemInvalid.with("query.cursor: none of ours")
			}
		}
		page, next, err := i.Registry.List(ctx, by, cursor, r.Limit)
		if err != nil {
			return nil, issuingProblem(err)
		}
		out := &pageAnswer{CacheControl: "no-store"}
		out.Body.Items, out.Body.Next = headsOf(page), idOrEmpty(next)
		if next != (issuer.ID{}) {
			out.Link = fmt.Sprintf(`</v1/certificates?cursor=%s&limit=%d>; rel="next"`, next, r.Limit)
			if r.Facility != "" {
				out.Link = fmt.Sprintf(`</v1/certificates?cursor=%s&limit=%d&facility=%s>; rel="next"`, next, r.Limit, url.QueryEscape(r.Facility))
			}
		}
		return out, nil
	})

	register(api, at("search", "POST", "/v1/certificates/search", "Find records of a person, a document or a certificate",
		"Whole values in any spelling, and no more than 100 records. A search is on the audit log.", 400, 415, 422), func(ctx context.Context, r *struct {
		Body struct {
			Name        nameBody  `json:"name,omitzero"`
			BirthDate   cert.Date `json:"birth_date,omitempty" maxLength:"10" doc:"With a name: it alone finds too many"`
			Document    string    `json:"document,omitempty" maxLength:"50"`
			Certificate string    `json:"certificate,omitempty" maxLength:"80" doc:"Its identifier, such as a UVCI"`
			Facility    string    `json:"facility,omitempty" maxLength:"64"`
		}
	}) (*pageAnswer, error) {
		by, err := i.actor(ctx, access.CertificateSearch, r.Body.Facility)
		if err != nil {
			return nil, err
		}
		found, err := i.Registry.Search(ctx, by, issuer.Query{Name: r.Body.Name.name(), BirthDate: r.Body.BirthDate, Document: r.Body.Document, Certificate: r.Body.Certificate})
		if err != nil {
			return nil, issuingProblem(err)
		}
		out := &pageAnswer{CacheControl: "no-store"}
		out.Body.Items = headsOf(found)
		return out, nil
	})

	register(api, at("read", "GET", "/v1/certificates/{id}", "Read a record with its certificates", "That it was read is on the audit log before it is. The ETag is of the record: it tells nothing of the way into the log, or of what is known against the dose.", 404, 410), func(ctx context.Context, r *struct {
		IDParameter
		Match string `header:"If-None-Match"`
	}) (*heldAnswer, error) {
		head, by, err := i.record(ctx, access.CertificateRead, r.ID)
		if err != nil {
			return nil, err
		}
		if r.Match == etag(head.Version) {
			return nil, notModified(etag(head.Version))
		}
		held, err := i.Registry.Read(ctx, by, head.ID)
		if err != nil {
			return nil, issuingProblem(err)
		}
		logged, err := i.logged(ctx, held)
		if err != nil {
			return nil, err
		}
		body := heldOf(*held)
		for n, l := range logged {
			body.Certificates[n].Log = l
		}
		if a := s.advice(held); a.Asks() {
			body.Advice = &a
		}
		return &heldAnswer{etag(held.Version), "no-store", body}, nil
	})

	register(api, at("revoke", "POST", "/v1/certificates/{id}/revoke", "Take a record out of force, in all its formats", "", 400, 404, 409, 412, 415, 422, 428), func(ctx context.Context, r *struct {
		IDParameter
		MatchHeader
		Body struct {
			Reason issuer.Reason `json:"reason" enum:"wrong-data,not-given,product,fraud,holder,key"`
		}
	}) (*headAnswer, error) {
		guard, by, err := i.guard(ctx, access.CertificateRevoke, r.ID, r.Match)
		if err != nil {
			return nil, err
		}
		head, err := i.Registry.Revoke(ctx, by, guard, r.Body.Reason)
		if err != nil {
			return nil, issuingProblem(err)
		}
		i.changed()
		return changed(head), nil
	})

	register(api, at("reinstate", "POST", "/v1/certificates/{id}/reinstate", "Put a revoked record back in force", "One that was corrected stays out: there would be two.", 404, 409, 412, 428), func(ctx context.Context, r *struct {
		IDParameter
		MatchHeader
	}) (*headAnswer, error) {
		guard, by, err := i.guard(ctx, access.CertificateReinstate, r.ID, r.Match)
		if err != nil {
			return nil, err
		}
		head, err := i.Registry.Reinstate(ctx, by, guard)
		if err != nil {
			return nil, issuingProblem(err)
		}
		i.changed()
		return changed(head), nil
	})

	correct := at("correct", "POST", "/v1/certificates/{id}/correct", "Issue a record in the place of one that is wrong",
		"In one step the wrong one is superseded and listed as revoked in all its formats; both stay to be read.", 400, 404, 409, 412, 413, 415, 422, 428)
	correct.DefaultStatus = http.StatusCreated
	register(api, correct, func(ctx context.Context, r *struct {
		IDParameter
		MatchHeader
		KeyHeader
		Body struct {
			OrderBody
			Reason issuer.Reason `json:"reason" enum:"wrong-data,not-given,product,fraud,holder,key"`
		}
	}) (*receiptAnswer, error) {
		guard, by, err := i.guard(ctx, access.CertificateCorrect, r.ID, r.Match)
		if err != nil {
			return nil, err
		}
		record, err := i.certificate(r.Body.Record)
		if err != nil {
			return nil, err
		}
		if r.Body.Facility != "" && r.Body.Facility != by.Within.Facility {
			return nil, problemDenied // a correction stays where the record was
		}
		order := issuer.Order{By: by, Key: r.Key, Record: record, Wanted: r.Body.wanted()}
		if err := s.fromSession(ctx, r.Body.Session, &order); err != nil {
			return nil, err
		}
		receipt, err := i.Registry.Correct(ctx, guard, r.Body.Reason, order)
		if err != nil {
			return nil, issuingProblem(err)
		}
		i.changed()
		return receiptOf(receipt), nil
	})

	register(api, at("erase", "DELETE", "/v1/certificates/{id}", "Erase a person's record for good",
		"With the records that it corrects and that correct it. What was revoked stays revoked, by bare hashes; what was valid stays so in its holder's hands, and nobody can revoke it any more.", 404, 412), func(ctx context.Context, r *IDParameter) (*struct {
		Body struct {
			Erased []string `json:"erased"`
		}
	}, error) {
		head, by, err := i.record(ctx, access.CertificateErase, r.ID)
		if err != nil {
			return nil, err
		}
		erased, err := i.Registry.Erase(ctx, by, head.ID)
		if err != nil {
			return nil, issuingProblem(err)
		}
		out := new(struct {
			Body struct {
				Erased []string `json:"erased"`
			}
		})
		out.Body.Erased = idTexts(erased)
		return out, nil
	})

	paperOf := at("paper", "GET", "/v1/certificates/{id}/certificate.pdf", "Print a record's certificates on paper, as PDF", "", 404, 410, 422)
	paperOf.Responses = fileResponse("application/pdf")
	register(api, paperOf, s.apiPaper)

	code := at("code", "GET", "/v1/certificates/{id}/codes/{file}", "The QR code of a certificate: eu-dcc.svg, .png or .txt; of a SMART Health Card its file, shc.smart-health-card; what shows that it is in the log: its way to a landmark, eu-dcc.batch-path, a notary's receipt, eu-dcc.receipt, the certificate that carries it, eu-dcc.with-receipt, and the proof of its batch, eu-dcc.log-proof",
		"There is no way to a landmark until the batch of the certificate's fingerprint is closed, no other proof until that batch is logged under a cosigned checkpoint, and none for certificates from before there were fingerprints.", 404, 410)
	code.Responses = fileResponse("image/svg+xml", "image/png", "text/plain", "application/smart-health-card", batchPathType, receiptType)
	register(api, code, s.apiCode)

	register(api, at("reissue", "POST", "/v1/keys/{kid}/reissue", "Sign every certificate in force of a key anew, under the keys that sign now",
		"It may be asked again until nothing is left: what was done is not done twice.", 404, 409, 422), s.apiReissue)

	for _, path := range []string{issue.Path, correct.Path} {
		r := api.OpenAPI().Paths[path].Post.Responses
		r["200"] = &huma.Response{Description: "It was issued before, under the same Idempotency-Key", Content: r["201"].Content, Headers: r["201"].Headers}
	}

	register(api, at("issuing", "GET", "/v1/issuing", "Tell what can be issued here, and what a form may offer", ""), func(ctx context.Context, r *struct{}) (*struct{ Body issuingBody }, error) {
		return &struct{ Body issuingBody }{i.offer(principal(ctx))}, nil
	})
}

// changed tells that the status lists may have changed.
func (i *Issuing) changed() {
	if i.Changed != nil {
		i.Changed()
	}
}

// guard is record for what changes it: in the version that was seen.
func (i *Issuing) guard(ctx context.Context, action access.Action, id, match string) (issuer.Guard, issuer.Actor, error) {
	head, by, err := i.record(ctx, action, id)
	if err != nil {
		return issuer.Guard{}, by, err
	}
	version, err := ifMatch(match)
	if err != nil {
		return issuer.Guard{}, by, err
	}
	return issuer.Guard{ID: head.ID, Version: version}, by, nil
}

// checkAnswer is what would come of an order.
type checkAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Findings []string   `json:"findings" doc:"What is wrong with it; empty: it can be issued"`
		Same     []HeadBody `json:"same" doc:"Valid records of the same event of the same person"`
		Spelling spelling   `json:"spelling" doc:"Of the name, as in the machine readable zone of a passport (ICAO Doc 9303); it is written into the certificate where the format has a place"`
	}
}

// spelling is a name transliterated.
type spelling struct {
	Full     string `json:"full,omitempty"`
	Family   string `json:"family,omitempty"`
	Given    string `json:"given,omitempty"`
	Unmapped string `json:"unmapped,omitempty" doc:"Characters that no table has, and that are left out"`
}

func spellingOf(n cert.Name) (out spelling) {
	for _, part := range []struct {
		from string
		to   *string
	}{{n.Full, &out.Full}, {n.Family, &out.Family}, {n.Given, &out.Given}} {
		mrz, unmapped := cert.Transliterate(part.from)
		*part.to = mrz
		out.Unmapped += string(unmapped)
	}
	return out
}

// apiCheck answers POST /v1/certificates/check.
func (s *server) apiCheck(ctx context.Context, r *struct{ Body OrderBody }) (*checkAnswer, error) {
	by, err := s.Issuing.actor(ctx, access.CertificateIssue, r.Body.Facility)
	if err != nil {
		return nil, err
	}
	record, err := s.Issuing.certificate(r.Body.Record)
	if err != nil {
		return nil, err
	}
	out := &checkAnswer{CacheControl: "no-store"}
	out.Body.Findings, out.Body.Same = []string{}, []HeadBody{}
	if err := s.fromSession(ctx, r.Body.Session, &issuer.Order{By: by, Record: record}); err != nil {
		return nil, err
	}
	for _, w := range r.Body.wanted() {
		if err := s.Issuing.Registry.Check(w, record); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				out.Body.Findings = append(out.Body.Findings, string(w.Format)+": "+line)
			}
		}
	}
	same, err := s.Issuing.Registry.Duplicates(ctx, by, record)
	if err != nil && !errors.Is(err, format.RequiredMissing) { // there is not enough yet to look for
		return nil, issuingProblem(err)
	}
	out.Body.Same, out.Body.Spelling = headsOf(same), spellingOf(record.Person.Name)
	return out, nil
}

// apiPaper answers GET /v1/certificates/{id}/certificate.pdf.
func (s *server) apiPaper(ctx context.Context, r *struct {
	IDParameter
	First    string        `query:"first" enum:"en,fr" default:"en" doc:"English or French, which the Regulations ask for"`
	Second   string        `query:"second" maxLength:"8" doc:"Another language; that of the request otherwise"`
	Format   []cert.Format `query:"format" doc:"Of several formats, those to print; all that are current otherwise"`
	PerSheet int           `query:"per_sheet" minimum:"1" maximum:"4" default:"1" doc:"Certificates on a sheet: 1, 2 or 4"`
}) (*fileAnswer, error) {
	head, by, err := s.Issuing.record(ctx, access.CertificateRead, r.ID)
	if err != nil {
		return nil, err
	}
	held, err := s.Issuing.Registry.Read(ctx, by, head.ID)
	if err != nil {
		return nil, issuingProblem(err)
	}
	certificates := s.Issuing.printed(*held, r.Format)
	if len(certificates) == 0 {
		return nil, problemNoRecord
	}
	for n := range certificates {
		certificates[n].Advice = s.advice(held)
	}
	o := paper.Options{First: messages.Accept(r.First), Second: languageOf(ctx), PerSheet: r.PerSheet, Made: held.Issued}
	if r.Second != "" {
		o.Second = messages.Accept(r.Second)
	}
	if o.Second == o.First { // two are needed
		o.Second = messages.Accept(map[string]string{"en": "fr", "fr": "en"}[o.First.Tag])
	}
	file, err := paper.Print(certificates, o)
	if err != nil {
		return nil, problemNotPrinted.with(err.Error())
	}
	return &fileAnswer{"application/pdf", "no-store", `inline; filename="` + r.ID + `.pdf"`, file}, nil
}

// advice is what the service's own verifier says of the dose of a record: by the first of
// its certificates that has something against it, or leaves that possible.
func (s *server) advice(h *issuer.Held) (open verifier.Advice) {
	for _, c := range s.Issuing.printed(*h, nil) {
		switch a := s.Verifier.Verify(c.Text).Advice; {
		case a.Value == verifier.Concern:
			return a
		case a.Asks():
			open = a
		}
	}
	return open
}

// printed are the certificates of a record that go on paper.
func (i *Issuing) printed(h issuer.Held, formats []cert.Format) (out []paper.Certificate) {
	for _, a := range h.Artefacts {
		if a.Current && (len(formats) == 0 || slices.Contains(formats, a.Format)) {
			out = append(out, paper.Certificate{Format: a.Format, Text: a.Text, Participant: i.Participant, Record: h.Record})
		}
	}
	return out
}

// codeSize is the side of a code that is handed over, in millimetres.
const codeSize = 50

// apiCode answers GET /v1/certificates/{id}/codes/{file}.
func (s *server) apiCode(ctx context.Context, r *struct {
	IDParameter
	File string `path:"file" maxLength:"40"`
}) (*fileAnswer, error) {
	head, by, err := s.Issuing.record(ctx, access.CertificateRead, r.ID)
	if err != nil {
		return nil, err
	}
	name, kind, _ := strings.Cut(r.File, ".")
	media := map[string]string{"svg": "image/svg+xml", "png": "image/png", "txt": "text/plain; charset=utf-8", "smart-health-card": "application/smart-health-card"}[kind]
	proof, isProof := proofKinds[kind]
	media = cmp.Or(media, proof)
	if media == "" || kind == "smart-health-card" && cert.Format(name) != issuer.SHC || !slices.Contains(head.Formats, cert.Format(name)) {
		return nil, problemNoRecord
	}
	held, err := s.Issuing.Registry.Read(ctx, by, head.ID)
	if err != nil {
		return nil, issuingProblem(err)
	}
	out := &fileAnswer{ContentType: media, CacheControl: "no-store"}
	for n, a := range held.Artefacts {
		if !a.Current || a.Format != cert.Format(name) {
			continue
		}
		if kind, ok := strings.CutSuffix(kind, ".svg"); ok && isProof { // a second code, to be printed beside the first
			data, err := s.Issuing.proof(ctx, held, n, kind)
			if err != nil {
				return nil, err
			}
			symbol, err := qr.EncodeWithin(verifier.ProofText(data), qr.M, SampleModules)
			if err != nil {
				return nil, problemNotPrinted.with(err.Error())
			}
			out.Body, err = symbol.SVG(qr.Options{Scale: 6, Millimetres: codeSize, QuietZone: 4, Title: languageOf(ctx).Text("paper.code")})
			return out, err
		}
		if isProof {
			if out.Body, err = s.Issuing.proof(ctx, held, n, kind); err != nil {
				return nil, err
			}
			name := r.ID + "." + kind
			if kind == "with-receipt" {
				name = r.ID + ".receipt.txt"
			}
			out.Disposition = `attachment; filename="` + name + `"`
			return out, nil
		}
		switch kind {
		case "txt":
			out.Body = []byte(a.Text + "\n")
			return out, nil
		case "smart-health-card":
			jws, err := shc.Parse(shc.Strict, a.Text)
			if err != nil {
				return nil, err
			}
			if out.Body, err = shc.MarshalFile(jws.Text); err != nil {
				return nil, err
			}
			out.Disposition = `attachment; filename="` + r.ID + `.smart-health-card"`
			return out, nil
		}
		symbol, err := qr.EncodeWithin(a.Text, qr.Q, SampleModules)
		if err != nil {
			return nil, problemNotPrinted.with(err.Error())
		}
		options := qr.Options{Scale: 6, Millimetres: codeSize, QuietZone: 4, Title: languageOf(ctx).Text("paper.code")}
		if kind == "svg" {
			out.Body, err = symbol.SVG(options)
		} else {
			out.Body, err = symbol.PNG(options)
		}
		return out, err
	}
	return nil, problemNoRecord
}

// reissueTime is how long one request signs anew: less than a proxy waits.
const reissueTime = 25 * time.Second

// apiReissue answers POST /v1/keys/{kid}/reissue.
func (s *server) apiReissue(ctx context.Context, r *struct {
	KID string `path:"kid" maxLength:"128" pattern:"^([0-9a-f]{2})+$" patternDescription:"hexadecimal, in small letters"`
}) (*reissueAnswer, error) {
	by, err := s.Issuing.actor(ctx, access.KeyReissue, "")
	if err != nil {
		return nil, err
	}
	kid, err := hex.DecodeString(r.KID)
	if err != nil {
		return nil, problemNoRecord
	}
	timed, cancel := context.WithTimeout(ctx, reissueTime)
	defer cancel()
	done, err := s.Issuing.Registry.Reissue(timed, by, kid)
	if err != nil && (timed.Err() == nil || ctx.Err() != nil) {
		return nil, issuingProblem(err)
	}
	out := new(reissueAnswer)
	out.Body.Done, out.Body.More, out.Body.Failed = done.Done, err != nil, []reissueFailure{}
	for _, f := range done.Failed {
		var defect format.Defect
		errors.As(f.Err, &defect)
		out.Body.Failed = append(out.Body.Failed, reissueFailure{f.ID.String(), f.Format, string(defect)})
	}
	return out, nil
}

type reissueFailure struct {
	ID     string        `json:"id"`
	Format issuer.Format `json:"format"`
	Reason string        `json:"reason"`
}

type reissueAnswer struct {
	Body struct {
		Done   int              `json:"done" doc:"Certificates that were signed anew"`
		Failed []reissueFailure `json:"failed"`
		More   bool             `json:"more" doc:"The time was over before the work: ask again"`
	}
}

// fileAnswer is a file.
type fileAnswer struct {
	ContentType  string `header:"Content-Type"`
	CacheControl string `header:"Cache-Control"`
	Disposition  string `header:"Content-Disposition"`
	Body         []byte
}

// fileResponse describes an answer that is a file.
func fileResponse(types ...string) map[string]*huma.Response {
	content := make(map[string]*huma.MediaType, len(types))
	for _, t := range types {
		content[t] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}
	}
	return map[string]*huma.Response{"200": {Description: "The file", Content: content}}
}
