package httpapi

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/cert"
	"ampoule/internal/access"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/thing"
)

// AdverseWanted is an adverse event that is reported, or the next version of one.
type AdverseWanted struct {
	What      []issuer.Untoward `json:"what,omitempty" maxItems:"10" enum:"severe-local-reaction,seizures,abscess,sepsis,encephalopathy,toxic-shock-syndrome,thrombocytopenia,anaphylaxis,fever,other" doc:"As in WHO's reporting form; fever from 38 °C"`
	Onset     cert.Date         `json:"onset,omitempty" format:"date" doc:"On which day it began"`
	Hours     *int              `json:"hours,omitempty" minimum:"0" maximum:"876600" doc:"From the dose to the onset; missing: not known"`
	Serious   []issuer.Gravity  `json:"serious,omitempty" maxItems:"6" enum:"death,life-threatening,disability,hospitalisation,congenital-anomaly,other-important" doc:"Why it is serious; none: it is not"`
	Outcome   issuer.Outcome    `json:"outcome,omitempty" enum:"recovering,recovered,recovered-with-sequelae,not-recovered,died,unknown"`
	Text      string            `json:"text,omitempty" maxLength:"1000"`
	Corrects  string            `json:"corrects,omitempty" maxLength:"36" doc:"The report of which this is the next version"`
	Version   int64             `json:"version,omitempty" minimum:"1" doc:"Of that report, as it was seen"`
	Withdrawn bool              `json:"withdrawn,omitempty" doc:"That report is taken back, and nothing else is said"`
}

// AdverseBody is a report.
type AdverseBody struct {
	ID        string            `json:"id"`
	Version   int64             `json:"version"`
	Record    string            `json:"record" doc:"Of which it was reported"`
	What      []issuer.Untoward `json:"what,omitempty"`
	Onset     cert.Date         `json:"onset,omitempty"`
	Hours     *int              `json:"hours,omitempty"`
	Serious   []issuer.Gravity  `json:"serious,omitempty"`
	Outcome   issuer.Outcome    `json:"outcome,omitempty"`
	Text      string            `json:"text,omitempty"`
	Role      string            `json:"role" doc:"Of the one who reported it"`
	Reported  time.Time         `json:"reported"`
	Withdrawn bool              `json:"withdrawn,omitempty"`
}

func adverseOf(a *issuer.AdverseReport) AdverseBody {
	return AdverseBody{
		a.ID.String(), a.Version, a.Record.String(), a.What, a.Onset, a.Hours, a.Serious, a.Outcome, a.Text, a.Role, a.Reported, a.Withdrawn,
	}
}

// ToldBody is a number, or as much of it as is told.
type ToldBody struct {
	From int  `json:"from"`
	To   *int `json:"to,omitempty" doc:"Missing: from is the least"`
}

func toldBody(c issuer.Count) ToldBody {
	if c.To < c.From {
		return ToldBody{From: c.From}
	}
	return ToldBody{c.From, &c.To}
}

// LotAdverseBody is what was reported of the doses of a lot.
type LotAdverseBody struct {
	Product thing.Product `json:"product"`
	Lot     string        `json:"lot"`
	// Organisation and Facility are the place whose doses are counted.
	Organisation string                       `json:"organisation"`
	Facility     string                       `json:"facility,omitempty"`
	Doses        ToldBody                     `json:"doses" doc:"Given, as records tell"`
	Told         bool                         `json:"told" doc:"False: fewer than five doses are known, and nothing is counted"`
	Reports      *ToldBody                    `json:"reports,omitempty"`
	Serious      *ToldBody                    `json:"serious,omitempty"`
	What         map[issuer.Untoward]ToldBody `json:"what,omitempty" doc:"A report can be in several"`
}

// describeAdverse registers the operations on adverse events that followed doses.
func (s *server) describeAdverse(api huma.API) {
	i := s.Issuing
	at := func(id, method, summary, description string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: "/v1/certificates/{id}/adverse-events", Summary: summary, Description: description,
			MaxBodyBytes: maxForm, BodyReadTimeout: formTime, Errors: append(errors, http.StatusUnauthorized, http.StatusForbidden),
			Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	report := at("adverseReport", "POST", "Report an adverse event that followed the dose of a record, put a report right, or withdraw it",
		"It is kept with the record, under its key, and erased with it. The same once more makes no second report. That something followed a dose does not say that it came of it.", 400, 404, 409, 412, 415, 422)
	report.DefaultStatus = http.StatusCreated
	register(api, report, func(ctx context.Context, r *struct {
		IDParameter
		Body AdverseWanted
	}) (*oneAnswer[AdverseBody], error) {
		head, by, err := i.record(ctx, access.AdverseReport, r.ID)
		if err != nil {
			return nil, err
		}
		w := r.Body
		var corrects issuer.Guard
		if w.Corrects != "" {
			if corrects.ID, err = issuer.ParseID(w.Corrects); err != nil || w.Version < 1 {
				return nil, problemOrder.with("corrects: a report, and its version")
			}
			corrects.Version = w.Version
		}
		kept, err := i.Registry.Report(ctx, by, head.ID, corrects, issuer.Adverse{
			What: w.What, Onset: w.Onset, Hours: w.Hours, Serious: w.Serious, Outcome: w.Outcome, Text: w.Text, Withdrawn: w.Withdrawn,
			Role: string(i.roleFor(principal(ctx), access.AdverseReport, head.Place)),
		})
		if err != nil {
			return nil, issuingProblem(err)
		}
		return one(adverseOf(kept), 0), nil
	})
	register(api, at("adverseReports", "GET", "Read what was reported to have followed the dose of a record", "That it was read is on the audit log before it is.", 404, 410), func(ctx context.Context, r *IDParameter) (*listAnswer[AdverseBody], error) {
		head, by, err := i.record(ctx, access.CertificateRead, r.ID)
		if err != nil {
			return nil, err
		}
		found, err := i.Registry.Reports(ctx, by, head.ID)
		if err != nil {
			return nil, issuingProblem(err)
		}
		out := &listAnswer[AdverseBody]{CacheControl: "no-store"}
		out.Body.Items = make([]AdverseBody, len(found))
		for n := range found {
			out.Body.Items[n] = adverseOf(&found[n])
		}
		return out, nil
	})
	k := s.Stocking
	if k == nil {
		return // nobody follows lots here
	}
	register(api, huma.Operation{
		OperationID: "adverseCounts", Method: "GET", Path: "/v1/adverse-events", Tags: []string{"stock"},
		Summary:     "Count what was reported to have followed doses of a lot",
		Description: "Of the place for which the asker may follow a lot: its facility, or the whole organisation. All numbers are exact, or, where one of them or a difference of them is from 1 to 4, all are coarse: none, fewer than five, five or more. A count is no signal by itself, and does not say what the events came of.",
		Errors:      []int{400, 401, 403, 422}, Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}, func(ctx context.Context, r *struct {
		System   string `query:"system" required:"true" minLength:"1" maxLength:"128" doc:"Code system of the product; of a GTIN https://id.gs1.org/01"`
		Code     string `query:"code" required:"true" minLength:"1" maxLength:"128" doc:"Any code of the product"`
		Number   string `query:"lot" required:"true" minLength:"1" maxLength:"128" doc:"Letters and digits count"`
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several, and not the whole"`
	}) (*oneAnswer[LotAdverseBody], error) {
		// Whoever is allowed the whole is told of the whole, and of no part of it: parts could
		// be taken off it one by one.
		by, err := k.by(ctx, "", access.TraceRead)
		if err == problemWhichFacility && r.Facility != "" {
			by, err = k.by(ctx, r.Facility, access.TraceRead)
		}
		if err != nil {
			return nil, err
		}
		product := thing.Product{Code: r.Code, System: r.System}
		if thing.NormalLot(r.Number) == "" {
			return nil, problemStockOrder.with("lot: no letter and no digit")
		}
		found, err := i.Registry.LotCounts(ctx, issuer.Actor{ID: by.ID, Within: issuer.Place(by.Within)}, k.Custody.Synonyms(product), r.Number)
		if err != nil {
			return nil, err
		}
		return one(adverseCounts(product, r.Number, by.Within, found), 0), nil
	})
}

func adverseCounts(product thing.Product, lot string, at custody.Place, c *issuer.LotCounts) LotAdverseBody {
	b := LotAdverseBody{Product: product, Lot: lot, Organisation: at.Organisation, Facility: at.Facility, Doses: toldBody(c.Doses), Told: c.Told}
	if !c.Told {
		return b
	}
	reports, serious := toldBody(c.Reports), toldBody(c.Serious)
	b.Reports, b.Serious, b.What = &reports, &serious, make(map[issuer.Untoward]ToldBody, len(c.What))
	for what, n := range c.What {
		b.What[what] = toldBody(n)
	}
	return b
}

// roleFor is the role by which somebody may do that at a place.
func (i *Issuing) roleFor(who *access.Principal, action access.Action, at issuer.Place) access.Role {
	for _, g := range who.Grants {
		as := *who
		as.Grants = []access.Grant{g}
		if ok, _ := i.Policy.Allow(&as, action, at); ok {
			return g.Role
		}
	}
	return ""
}
