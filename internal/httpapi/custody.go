package httpapi

import (
	"context"
	"errors"
	"net/http"

	"ampoule/internal/access"
	"ampoule/internal/epcisapi"
	"ampoule/party/custody"
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
