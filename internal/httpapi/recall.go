package httpapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format"
	"ampoule/format/uuid"
	"ampoule/internal/access"
	"ampoule/party/custody"
	"ampoule/thing"
	"ampoule/thing/trail"
)

// RecalledBody is what a recall of a lot reaches.
type RecalledBody struct {
	Product      thing.Product    `json:"product"`
	Lot          string           `json:"lot"`
	Names        []string         `json:"names" doc:"Under which events know it"`
	Places       []RecalledAtBody `json:"places" doc:"Those that you may see"`
	OnTheWay     *int64           `json:"on_the_way,omitempty" doc:"Left one place and arrived at none; missing: not known"`
	Doses        int              `json:"doses" doc:"Records in force, of all places"`
	Certificates int              `json:"certificates" doc:"Of those records"`
	Formats      map[string]int   `json:"formats" doc:"Certificates by format"`
}

// RecalledAtBody is what it reaches at one place.
type RecalledAtBody struct {
	URI          string   `json:"uri,omitempty"`
	Name         string   `json:"name"`
	Organisation string   `json:"organisation,omitempty"`
	Facility     string   `json:"facility,omitempty"`
	Here         *int64   `json:"here,omitempty" doc:"In stock: in doses where the catalogue knows the pack, in packs otherwise; missing: not known"`
	Given        int64    `json:"given" doc:"As told in events"`
	Gone         int64    `json:"gone" doc:"Destroyed, thrown away, used up"`
	Doses        int      `json:"doses" doc:"Records in force"`
	Certificates int      `json:"certificates"`
	Sessions     []string `json:"sessions"`
}

// ConcernBody is what is held against doses of a lot that were given at a place.
type ConcernBody struct {
	ID       string          `json:"id"`
	Lot      string          `json:"lot" doc:"Its number as printed"`
	Name     string          `json:"name" doc:"Its name in events"`
	Products []thing.Product `json:"products"`
	Site     string          `json:"site"`
	Facility string          `json:"facility,omitempty"`
	Value    string          `json:"value" enum:"heat,freeze"`
	From     time.Time       `json:"from" doc:"Doses given on this day or later are meant"`
	Where    string          `json:"where"`
	Found    time.Time       `json:"found"`
}

// LotStatementWanted is a statement that this service is to sign.
type LotStatementWanted struct {
	Product   thing.Product `json:"product"`
	Lot       string        `json:"lot" minLength:"1" maxLength:"128" doc:"As printed"`
	Value     string        `json:"value" enum:"recalled,expires-on,spoiled,no-concern,withdrawn" doc:"What is said. Heat and freeze are found by measuring, and not said by hand"`
	Expiry    string        `json:"expiry,omitempty" format:"date"`
	Measured  float64       `json:"measured,omitempty" minimum:"0" maximum:"1"`
	Country   string        `json:"country,omitempty" pattern:"^[A-Z]{2}$"`
	Centre    string        `json:"centre,omitempty" maxLength:"128"`
	From      string        `json:"from,omitempty" format:"date"`
	Until     string        `json:"until,omitempty" format:"date"`
	Part      string        `json:"part,omitempty" enum:"all,some" doc:"All where it is left out"`
	Withdraws string        `json:"withdraws,omitempty" pattern:"^[0-9a-f]{32}$"`
}

// errPage ends a walk.
var errPage = errors.New("the page is full")

// describeRecall registers the operations on recalls and on what is said of lots.
func (s *server) describeRecall(api huma.API) {
	k := s.Stocking
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"stock"}, MaxBodyBytes: maxForm, BodyReadTimeout: formTime,
			Errors: append([]int{400, 401, 403, 422}, errors...), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	type Lot struct {
		System   string `query:"system" required:"true" minLength:"1" maxLength:"128" doc:"Code system of the product; of a GTIN https://id.gs1.org/01"`
		Code     string `query:"code" required:"true" minLength:"1" maxLength:"128" doc:"Any code of the product"`
		Number   string `query:"lot" required:"true" minLength:"1" maxLength:"128" doc:"Letters and digits count"`
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
	}
	register(api, op("recall", "GET", "/v1/recall", "Follow a lot from where it was made to the certificates, and count"), func(ctx context.Context, r *Lot) (*oneAnswer[RecalledBody], error) {
		by, err := k.by(ctx, r.Facility, access.TraceRead)
		if err != nil {
			return nil, err
		}
		found, err := k.Custody.Recall(ctx, by, thing.Product{Code: r.Code, System: r.System}, r.Number)
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(recalledBody(found), 0), nil
	})
	type records struct {
		Lot
		Cursor string `query:"cursor" maxLength:"36" doc:"The record after which to go on"`
		Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
	}
	register(api, op("recallRecords", "GET", "/v1/recall/records", "List the records of doses that a recall reaches, by their identifiers"), func(ctx context.Context, r *records) (*listAnswer[string], error) {
		by, err := k.by(ctx, r.Facility, access.TraceRead)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[string]{CacheControl: "no-store"}
		out.Body.Items = []string{}
		err = k.Custody.Records(ctx, by, thing.Product{Code: r.Code, System: r.System}, r.Number, func(id uuid.UUID, _ custody.Place) error {
			if id.String() <= r.Cursor {
				return nil
			}
			if len(out.Body.Items) == r.Limit {
				return errPage
			}
			out.Body.Items = append(out.Body.Items, id.String())
			return nil
		})
		if errors.Is(err, errPage) {
			out.Body.Next = out.Body.Items[len(out.Body.Items)-1]
		} else if err != nil {
			return nil, stockProblem(err)
		}
		return out, nil
	})
	register(api, op("concerns", "GET", "/v1/concerns", "List what is held against doses by what their lots went through"), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
	}) (*listAnswer[ConcernBody], error) {
		by, err := k.by(ctx, r.Facility, access.SessionRun, access.StockManage, access.TraceRead)
		if err != nil {
			return nil, err
		}
		all, err := k.Custody.Stock.Concerns(ctx, "")
		if err != nil {
			return nil, stockProblem(err)
		}
		out := &listAnswer[ConcernBody]{CacheControl: "no-store"}
		out.Body.Items = []ConcernBody{}
		for _, c := range all {
			if by.Within.Holds(c.At) {
				out.Body.Items = append(out.Body.Items, ConcernBody{
					ID: string(c.ID), Lot: c.Number, Name: c.Lot, Products: c.Products, Site: c.Site, Facility: c.At.Facility, Value: string(c.Value),
					From: c.From, Where: c.Where, Found: c.Found,
				})
			}
		}
		return out, nil
	})
	s.describeReassess(api, op)
	register(api, op("lotStatements", "GET", "/v1/lots/statements", "List what this service said of lots, signed"), func(ctx context.Context, _ *struct{}) (*listAnswer[string], error) {
		if principal(ctx) == nil {
			return nil, problemNobody
		}
		lines, err := k.Custody.Lines(ctx)
		if err != nil {
			return nil, stockProblem(err)
		}
		out := &listAnswer[string]{CacheControl: "no-store"}
		out.Body.Items = strings.Fields(string(lines))
		if out.Body.Items == nil {
			out.Body.Items = []string{}
		}
		return out, nil
	})
	register(api, op("lotState", "POST", "/v1/lots/statements", "Sign a statement about a lot: recall it, say when it expires, or withdraw what was said", http.StatusConflict), func(ctx context.Context, r *struct{ Body LotStatementWanted }) (*oneAnswer[struct {
		ID string `json:"id" doc:"Of the statement"`
	}], error) {
		by, err := k.by(ctx, "", access.LotState)
		if err == nil && by.Within.Facility != "" {
			err = problemDenied // it is said for the whole organisation
		}
		if err != nil {
			return nil, err
		}
		w := r.Body
		statement := thing.LotStatement{
			Product: w.Product, Lot: w.Lot, Value: thing.Value(w.Value), Expiry: w.Expiry, Country: w.Country, Centre: w.Centre,
			From: w.From, Until: w.Until, Part: thing.Part(cmp.Or(w.Part, string(thing.All))),
		}
		if statement.Measured, err = thing.Share(w.Measured); err == nil && w.Withdraws != "" {
			statement.Withdraws, err = thing.ParseStatementID(w.Withdraws)
		}
		if err != nil {
			return nil, problemStockOrder.with(err.Error())
		}
		id, err := k.Custody.Say(ctx, k.Authority, statement)
		if errors.Is(err, custody.ErrNoAuthority) {
			return nil, problemStockOrder.with("This service has no key to speak of lots; its operator gives it one by custody.key.")
		}
		if err != nil {
			var d format.Defect
			if errors.As(err, &d) {
				return nil, problemStockOrder.with(err.Error())
			}
			return nil, err
		}
		if k.Changed != nil {
			k.Changed()
		}
		return one(struct {
			ID string `json:"id" doc:"Of the statement"`
		}{id.String()}, 0), nil
	})
}

func recalledBody(r *custody.Recalled) RecalledBody {
	b := RecalledBody{
		Product: r.Product, Lot: r.Number, Names: r.Lots, Places: make([]RecalledAtBody, len(r.Places)),
		Doses: r.Doses, Certificates: r.Certificates, Formats: r.ByFormat,
	}
	if b.Names == nil {
		b.Names = []string{}
	}
	if r.OnTheWay != trail.Many {
		b.OnTheWay = &r.OnTheWay
	}
	for i, p := range r.Places {
		at := RecalledAtBody{
			URI: p.URI, Name: p.Name, Organisation: p.At.Organisation, Facility: p.At.Facility, Given: p.Given, Gone: p.Gone,
			Doses: p.Doses, Certificates: p.Certificates, Sessions: slices.Clone(p.Sessions),
		}
		if at.Sessions == nil {
			at.Sessions = []string{}
		}
		if p.Known {
			here := p.Here
			at.Here = &here
		}
		b.Places[i] = at
	}
	return b
}
