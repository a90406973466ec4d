package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/format/uuid"
	"ampoule/internal/access"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/party/notary"
	"ampoule/thing"
	"ampoule/thing/thread"
	"ampoule/thing/trail"
)

// TraceWanted is what is to be followed: one of the first four.
type TraceWanted struct {
	Code     string        `json:"code,omitempty" maxLength:"8192" doc:"Text of the code of a certificate. It is personal, and not kept"`
	Record   string        `json:"record,omitempty" maxLength:"36" doc:"Identifier of the record of a dose"`
	Session  string        `json:"session,omitempty" maxLength:"36"`
	Lot      string        `json:"lot,omitempty" maxLength:"300" doc:"Its name in events, or its number"`
	Product  thing.Product `json:"product,omitzero" doc:"Of a lot by its number, where several products have it"`
	Place    string        `json:"place,omitempty" maxLength:"300" doc:"Of a lot: the site to which it is followed; the one that it came to last otherwise"`
	Facility string        `json:"facility,omitempty" maxLength:"64" doc:"Of whom has several"`
}

// TraceBody is a thread to look at, and its file.
type TraceBody struct {
	Result      string            `json:"result" enum:"pass,fail,unknown" doc:"The worst of the findings"`
	Made        time.Time         `json:"made"`
	By          string            `json:"by" doc:"Whose view it is"`
	Lot         string            `json:"lot" doc:"Its name in events"`
	Number      string            `json:"number"`
	Vaccine     string            `json:"vaccine,omitempty"`
	Place       string            `json:"place"`
	Until       time.Time         `json:"until"`
	Certificate *TraceCertificate `json:"certificate,omitempty"`
	Dose        *TraceDose        `json:"dose,omitempty"`
	Session     *TraceSession     `json:"session,omitempty"`
	Events      []TraceEvent      `json:"events"`
	Legs        []TraceLeg        `json:"legs"`
	Assessment  TraceAssessment   `json:"assessment" doc:"By what was signed, and by nothing else"`
	Findings    []TraceFinding    `json:"findings"`
	Withheld    []string          `json:"withheld" doc:"What there is more of, which you may not see"`
	File        []byte            `json:"file" doc:"The thread, signed, for 'ampoule trace verify'"`
}

// TraceAssessment is what the way did to the goods.
type TraceAssessment struct {
	Outcome  string    `json:"outcome" enum:"sound,heat,freeze,not-known"`
	Why      string    `json:"why,omitempty"`
	At       time.Time `json:"at,omitzero" doc:"When they were harmed"`
	Where    string    `json:"where,omitempty"`
	Whole    int64     `json:"whole" doc:"Seconds of the way"`
	Measured int64     `json:"measured" doc:"Of them"`
	Share    int64     `json:"share" doc:"Of the stability budget that is used, in millionths"`
}

// TraceFinding is what one check found.
type TraceFinding struct {
	Check   string `json:"check" enum:"signature,code,certificate,dose,events,way,readings,assessment,statements"`
	Result  string `json:"result" enum:"pass,fail,unknown"`
	Reason  string `json:"reason"`
	Leg     int    `json:"leg,omitempty" doc:"Which it is of, from 1"`
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// TraceCertificate is the fingerprint of a certificate.
type TraceCertificate struct {
	Format string `json:"format"`
	Leaf   string `json:"leaf" doc:"In hexadecimal; of no use to who lacks the certificate"`
}

// TraceDose is a dose without its person.
type TraceDose struct {
	Record string `json:"record"`
	Day    string `json:"day" format:"date"`
}

// TraceSession is what a dose was given from.
type TraceSession struct {
	ID     string    `json:"id"`
	Opened time.Time `json:"opened"`
	Ended  time.Time `json:"ended,omitzero"`
	Doses  int64     `json:"doses"`
}

// TraceEvent is what was told of the lot.
type TraceEvent struct {
	ID           string    `json:"id"`
	At           time.Time `json:"at"`
	Type         string    `json:"type"`
	Step         string    `json:"step,omitempty"`
	Hash         string    `json:"hash"`
	Organisation string    `json:"organisation" doc:"That answers for it"`
}

// TraceLeg is a stay on the way.
type TraceLeg struct {
	Where     string    `json:"where"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Equipment string    `json:"equipment,omitempty"`
	Devices   []string  `json:"devices" doc:"That measured it"`
	Readings  int       `json:"readings"`
	Low       *float64  `json:"low,omitempty" doc:"Of what was measured, in degrees Celsius"`
	High      *float64  `json:"high,omitempty"`
}

// describeTrace registers the operations on the proof behind doses.
func (s *server) describeTrace(api huma.API) {
	op := func(id, method, summary, description string) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: "/v1/trace", Summary: summary, Description: description, Tags: []string{"stock"},
			MaxBodyBytes: maxForm, BodyReadTimeout: formTime,
			Errors: []int{400, 401, 403, 404, 422}, Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	const what = "What you may not see is not in it, and it says so. That it was asked is on the audit log."
	register(api, op("trace", "POST", "Follow a dose from its certificate to the readings of the refrigerators", what), func(ctx context.Context, r *struct{ Body TraceWanted }) (*oneAnswer[TraceBody], error) {
		return s.trace(ctx, r.Body)
	})
	register(api, op("traceLot", "GET", "Follow a lot to a place", what+" Codes of certificates are personal: they are asked for by POST."), func(ctx context.Context, r *struct {
		Lot      string `query:"lot" required:"true" minLength:"1" maxLength:"300" doc:"Its name in events, or its number"`
		System   string `query:"system" maxLength:"128" doc:"Code system of the product, where several have the number"`
		Code     string `query:"code" maxLength:"128" doc:"Any code of the product"`
		Place    string `query:"place" maxLength:"300" doc:"The site to which it is followed; the one that it came to last otherwise"`
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
	}) (*oneAnswer[TraceBody], error) {
		return s.trace(ctx, TraceWanted{Lot: r.Lot, Product: thing.Product{Code: r.Code, System: r.System}, Place: r.Place, Facility: r.Facility})
	})
}

func (s *server) trace(ctx context.Context, w TraceWanted) (*oneAnswer[TraceBody], error) {
	k := s.Stocking
	given := 0
	for _, text := range []string{w.Code, w.Record, w.Session, w.Lot} {
		if text != "" {
			given++
		}
	}
	by, err := k.by(ctx, w.Facility, access.TraceRead)
	switch {
	case err != nil:
		return nil, err
	case given != 1:
		return nil, problemStockOrder.with("Give one of code, record, session and lot.")
	}
	q := custody.Question{Session: custody.ID(w.Session), Lot: w.Lot, Product: w.Product, Place: w.Place}
	if w.Code != "" || w.Record != "" {
		if q, err = s.traced(ctx, by, w); err != nil {
			return nil, err
		}
	}
	file, made, err := k.Custody.Trace(ctx, by, q)
	switch {
	case errors.Is(err, custody.ErrNoTrace), errors.Is(err, custody.ErrNoSigner):
		return nil, problemNoTrace
	case errors.Is(err, custody.ErrNoDose):
		return nil, problemNoRecord
	case err != nil:
		return nil, stockProblem(err)
	}
	signed, err := thread.Parse(file)
	if err != nil {
		return nil, err
	}
	o := k.Holds
	o.At = k.Custody.Now().Add(time.Second)
	return one(traceBody(made, signed.Check(o), file), 0), nil
}

// traced finds the record of a code, or by its identifier, and with it the fingerprint
// of its certificate.
func (s *server) traced(ctx context.Context, by custody.Actor, w TraceWanted) (q custody.Question, err error) {
	i := s.Issuing
	if i == nil {
		return q, problemNoRecord
	}
	as := issuer.Actor{ID: by.ID, Within: issuer.Place(by.Within)}
	var held *issuer.Held
	n := -1
	if w.Record != "" {
		id, err := issuer.ParseID(w.Record)
		if err != nil {
			return q, problemNoRecord
		}
		if held, err = i.Registry.Read(ctx, as, id); err != nil {
			return q, issuingProblem(err)
		}
		n = slices.IndexFunc(held.Artefacts, func(a issuer.Artefact) bool { return a.Current })
	} else if held, n, err = s.recordOf(ctx, as, w.Code); err != nil {
		return q, err
	}
	v := held.Record.Vaccination
	if v == nil || v.Lot == "" {
		return q, problemNoTrace
	}
	q.Record, q.Lot = uuid.UUID(held.ID), v.Lot
	if n >= 0 {
		q.Certificate, err = i.fingerprint(ctx, held, n)
	}
	return q, err
}

// recordOf finds the record that a code is a certificate of, by what is in it and then by
// its fingerprint.
func (s *server) recordOf(ctx context.Context, as issuer.Actor, code string) (*issuer.Held, int, error) {
	code = format.TrimText(code)
	leaf, err := issuer.LeafOf(code)
	if err != nil {
		return nil, 0, problemNoCode
	}
	c := s.Verifier.Verify(code).Certificate
	if c == nil {
		return nil, 0, problemNoCode
	}
	for _, query := range []issuer.Query{{Certificate: c.ID}, {Name: c.Person.Name, BirthDate: c.Person.BirthDate}, {Document: c.Person.Document.Number}} {
		found, err := s.Issuing.Registry.Search(ctx, as, query)
		if errors.Is(err, format.RequiredMissing) {
			continue
		}
		if err != nil {
			return nil, 0, issuingProblem(err)
		}
		for _, head := range found {
			held, err := s.Issuing.Registry.Read(ctx, as, head.ID)
			if err != nil {
				return nil, 0, issuingProblem(err)
			}
			for n, a := range held.Artefacts {
				if own, err := issuer.LeafOf(a.Text); err == nil && own == leaf {
					return held, n, nil
				}
			}
		}
	}
	return nil, 0, problemNoRecord
}

// fingerprint is that of a record's certificate, with its way into the log as far as it
// has come.
func (i *Issuing) fingerprint(ctx context.Context, held *issuer.Held, n int) (*thread.Certificate, error) {
	leaf, err := issuer.LeafOf(held.Artefacts[n].Text)
	if err != nil {
		return nil, nil // a format without fingerprints
	}
	out := &thread.Certificate{Format: string(held.Artefacts[n].Format), Leaf: leaf[:]}
	in, err := i.Registry.Included(ctx, held, n)
	if errors.Is(err, issuer.ErrOpenBatch) || errors.Is(err, issuer.ErrNoFingerprint) {
		return out, nil
	}
	if err != nil {
		return nil, issuingProblem(err)
	}
	if out.Path, err = in.Path.Encode(); err != nil {
		return nil, err
	}
	out.Root = in.Batch.Root[:]
	e, err := i.entry(ctx, in)
	if err == nil && e != nil && e.Stage == notary.Kept {
		out.Message, out.Proof = e.Message, e.Proof
	}
	return out, err
}

func traceBody(t *thread.Thread, r *thread.Report, file []byte) TraceBody {
	b := TraceBody{
		Result: string(r.Result()), Made: t.Made, By: t.By, Lot: t.Lot, Place: t.Place, Until: t.Until, Findings: make([]TraceFinding, len(r.Findings)), Withheld: t.Withheld, Events: []TraceEvent{}, Legs: []TraceLeg{}, File: file,
	}
	_, _, b.Number, _ = trail.ParseLotName(t.Lot)
	for _, p := range t.Places {
		if p.URI == t.Place && p.Name != "" {
			b.Place = p.Name
		}
	}
	a := &t.Assessment
	b.Assessment = TraceAssessment{Outcome: string(a.Outcome), Why: a.Why, Where: a.Where, Whole: a.Whole, Measured: a.Measured, Share: a.Share}
	if a.At != 0 {
		b.Assessment.At = time.Unix(a.At, 0).UTC()
	}
	for i, f := range r.Findings {
		b.Findings[i] = TraceFinding{f.Check, string(f.Result), f.Reason, f.Leg, f.Subject, f.Detail}
	}
	if t.Product != nil {
		b.Vaccine = t.Product.Name
	}
	if c := t.Certificate; c != nil {
		b.Certificate = &TraceCertificate{c.Format, hex.EncodeToString(c.Leaf)}
	}
	if d := t.Dose; d != nil {
		b.Dose = &TraceDose{d.Record, d.Day}
	}
	if s := t.Session; s != nil {
		b.Session = &TraceSession{s.ID, s.Opened, s.Ended, s.Doses}
	}
	for _, x := range t.Events {
		e, err := epcis.Kept{JSON: x.Event, Prefixes: x.Prefixes}.Event()
		if err != nil {
			continue // the findings tell of it
		}
		b.Events = append(b.Events, TraceEvent{e.ID, e.Time.UTC(), string(e.Type), e.Step, x.Hash, x.Organisation})
	}
	slices.SortStableFunc(b.Events, func(a, b TraceEvent) int { return a.At.Compare(b.At) })
	for i := range t.Legs {
		l := &t.Legs[i]
		x := TraceLeg{Where: l.Where, From: l.From, Until: l.Until, Equipment: l.Equipment, Devices: []string{}}
		for _, w := range l.Watches {
			x.Devices = append(x.Devices, w.Device)
		}
		if readings, err := l.Readings(); err == nil && len(readings) > 0 {
			low, high := readings[0].T, readings[0].T
			for _, r := range readings {
				low, high = min(low, r.T), max(high, r.T)
			}
			a, b := low.Degrees(), high.Degrees()
			x.Readings, x.Low, x.High = len(readings), &a, &b
		}
		b.Legs = append(b.Legs, x)
	}
	return b
}
