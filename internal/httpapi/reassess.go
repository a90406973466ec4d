package httpapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format"
	"ampoule/internal/access"
	"ampoule/party/custody"
	"ampoule/thing/vaccine"
)

// ReassessBody are products as they would be.
type ReassessBody struct {
	Products string `json:"products" minLength:"1" maxLength:"1048576" doc:"A catalogue of products in JSON. Each takes the place of the one that shares a code with it; the others stay"`
	Apply    bool   `json:"apply,omitempty" doc:"Read the service's own files of products again, and hold against doses what follows. They must have these products already"`
}

// ReassessedBody is what moves.
type ReassessedBody struct {
	custody.Reassessed
	Applied  bool `json:"applied"`
	Concerns int  `json:"concerns" doc:"That changed by it"`
}

// maxProducts bounds the body that brings products.
const maxProducts = 2 << 20

// describeReassess registers the operation that says which doses move when what products
// bear changes.
func (s *server) describeReassess(api huma.API, op func(id, method, path, summary string, errors ...int) huma.Operation) {
	k := s.Stocking
	o := op("reassess", "POST", "/v1/reassess", "Say which doses are judged otherwise by other stability budgets, and prove it from what was measured", http.StatusConflict)
	o.MaxBodyBytes = maxProducts
	register(api, o, func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Body     ReassessBody
	}) (*oneAnswer[ReassessedBody], error) {
		by, err := k.by(ctx, r.Facility, access.StockManage)
		if err == nil {
			_, err = k.by(ctx, r.Facility, access.TraceRead)
		}
		if err == nil && r.Body.Apply && by.Within.Facility != "" {
			err = problemDenied // it is for all places
		}
		if err != nil {
			return nil, err
		}
		given, err := vaccine.Parse([]byte(r.Body.Products))
		var next *vaccine.Catalogue
		if err == nil {
			next, err = k.Custody.Catalogue().With(given)
		}
		if err != nil {
			return nil, problemStockOrder.with("products: " + format.Reason(err, "not-json"))
		}
		found, err := k.Custody.Reassess(ctx, by, next)
		if err != nil {
			return nil, stockProblem(err)
		}
		out := ReassessedBody{Reassessed: *found}
		if !r.Body.Apply {
			return one(out, 0), nil
		}
		// What is held against doses follows from the files. Were these products not there,
		// the next assessment would take it all back.
		if k.Reload == nil {
			return nil, problemProducts
		}
		if err := k.Reload(); err != nil {
			return nil, problemProducts.with(err.Error())
		}
		if !k.Custody.Catalogue().Has(given) {
			return nil, problemProducts
		}
		changed, err := k.Custody.Sweep(ctx)
		if err != nil && !errors.Is(err, custody.ErrConflict) { // a sweep that goes on by itself
			return nil, stockProblem(err)
		}
		if out.Applied, out.Concerns = true, len(changed); k.Changed != nil {
			k.Changed()
		}
		return one(out, 0), nil
	})
}
