package httpapi

import (
	"errors"
	"net/http"

	"ampoule/internal/access"
	"ampoule/internal/epcisapi"
	"ampoule/party/custody"
)

// events is the repository of events, asked by the same accounts as all else.
func (s *server) events() http.Handler {
	version := ""
	if s.API != nil {
		version = s.API.Version
	}
	return (&epcisapi.API{Custody: s.Stocking.Custody, Version: version, Log: s.log, By: func(r *http.Request, capture bool) (custody.Actor, error) {
		action := access.CustodyRead
		if capture {
			action = access.CustodyCapture
		}
		by, err := s.Stocking.by(r.Context(), "", action)
		for p, as := range map[*problem]error{problemNobody: epcisapi.ErrNobody, problemDenied: epcisapi.ErrDenied, problemWhichFacility: epcisapi.ErrWhich} {
			if errors.Is(err, p) {
				err = as
			}
		}
		return by, err
	}}).Handler()
}
