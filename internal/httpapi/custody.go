package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/internal/access"
	"ampoule/internal/epcisapi"
	"ampoule/party/custody"
	"ampoule/party/issuer"
)

// Goods is the part of the API for what is told of goods, and for their places.
type Goods struct {
	Custody *custody.Custody
	Policy  *access.Policy
}

// by is who asks, bound to a place at which the action is allowed.
func (g *Goods) by(ctx context.Context, action access.Action, facility string) (custody.Actor, error) {
	a, err := (&Issuing{Policy: g.Policy}).actor(ctx, action, facility)
	if err != nil {
		return custody.Actor{}, err
	}
	return custody.Actor{ID: a.ID, Within: custody.Place(a.Within)}, nil
}

// events is the repository of events, asked by the same accounts as all else.
func (s *server) events() http.Handler {
	version := ""
	if s.API != nil {
		version = s.API.Version
	}
	return (&epcisapi.API{Custody: s.Goods.Custody, Version: version, Log: s.log, By: func(r *http.Request, capture bool) (custody.Actor, error) {
		action := access.CustodyRead
		if capture {
			action = access.CustodyCapture
		}
		by, err := s.Goods.by(r.Context(), action, "")
		for p, as := range map[*problem]error{problemNobody: epcisapi.ErrNobody, problemDenied: epcisapi.ErrDenied, problemWhichFacility: epcisapi.ErrWhich} {
			if errors.Is(err, p) {
				err = as
			}
		}
		return by, err
	}}).Handler()
}

// LocationBody is where goods can be.
type LocationBody struct {
	URI          string `json:"uri" maxLength:"2000" format:"uri" doc:"As events have it: a GLN as Digital Link or EPC URN, or any other URI"`
	Organisation string `json:"organisation,omitempty" readOnly:"true"`
	Facility     string `json:"facility,omitempty" maxLength:"64" doc:"Missing: of the whole organisation"`
	Version      int64  `json:"version" minimum:"0" doc:"The one that this takes the place of; 0: it is new"`
	Name         string `json:"name" minLength:"1" maxLength:"100"`
	Country      string `json:"country,omitempty" pattern:"^[A-Z]{2}$" patternDescription:"two capital letters"`
	Within       string `json:"within,omitempty" maxLength:"2000" doc:"The site that it is in; missing: it is one"`
	Equipment    string `json:"equipment,omitempty" maxLength:"36" doc:"What watches it: a piece of cold chain equipment"`
}

func locationBody(l *custody.Location) LocationBody {
	return LocationBody{l.URI, l.Place.Organisation, l.Place.Facility, l.Version, l.Name, l.Country, l.Within, l.Equipment}
}

// describeGoods registers the operations. Those of events are described by their standard.
func (s *server) describeGoods(api huma.API) {
	g := s.Goods
	op := func(id, method, summary string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: "/v1/locations", Summary: summary, Tags: []string{"goods"},
			Errors: append([]int{401, 403, 422}, errors...), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	register(api, op("locations", "GET", "List where goods can be"), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Cursor   string `query:"cursor" maxLength:"2000"`
		Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}) (*listAnswer[LocationBody], error) {
		by, err := g.by(ctx, access.CustodyRead, r.Facility)
		if err != nil {
			return nil, err
		}
		all, err := g.Custody.Stock.LocationsAt(ctx, by.Within, r.Cursor, r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[LocationBody]{CacheControl: "no-store"}
		out.Body.Items = make([]LocationBody, len(all))
		for i := range all {
			out.Body.Items[i] = locationBody(&all[i])
		}
		if len(all) == r.Limit {
			out.follow("/v1/locations", all[len(all)-1].URI, r.Facility, r.Limit, nil)
		}
		return out, nil
	})
	register(api, op("locationPut", "PUT", "Say of a place that goods can be there", 412), func(ctx context.Context, r *struct{ Body LocationBody }) (*oneAnswer[LocationBody], error) {
		by, err := g.by(ctx, access.StockManage, r.Body.Facility)
		if err != nil {
			return nil, err
		}
		// Whoever answers for the whole organisation may take a place from one facility to
		// another.
		if ok, _ := g.Policy.Allow(principal(ctx), access.StockManage, issuer.Place{Organisation: by.Within.Organisation}); ok {
			by.Within.Facility = ""
		}
		b := r.Body
		l := &custody.Location{
			URI: b.URI, Place: custody.Place{Organisation: by.Within.Organisation, Facility: b.Facility}, Version: b.Version + 1,
			Name: b.Name, Country: b.Country, Within: b.Within, Equipment: b.Equipment,
		}
		if l.Place.Facility == "" {
			l.Place.Facility = by.Within.Facility
		}
		switch err := g.Custody.Register(ctx, by, l); {
		case errors.Is(err, custody.ErrNotYours):
			return nil, problemDenied.with("Somebody else has registered it.")
		case errors.Is(err, custody.ErrConflict):
			return nil, problemChanged
		case errors.Is(err, custody.ErrLocation):
			return nil, problemInvalid.with(fmt.Sprintf("body.within: %v", err))
		case err != nil:
			return nil, err
		}
		return one(locationBody(l), 0), nil
	})
}
