package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format"
	"ampoule/internal/access"
	"ampoule/party/custody"
	"ampoule/thing/handover"
)

// HandoverParty is one side of a hand-over.
type HandoverParty struct {
	Name  string `json:"name"`
	Place string `json:"place" doc:"Its name in events"`
}

// HandoverBody is goods that change hands.
type HandoverBody struct {
	ID       string          `json:"id"`
	State    string          `json:"state" enum:"offered,accepted,refused"`
	Thing    string          `json:"thing" doc:"A lot, an item or a container, by its name in events"`
	Amount   int64           `json:"amount" doc:"That left; -1: not told"`
	Unit     string          `json:"unit,omitempty" doc:"E27: doses; missing: pieces"`
	Giver    HandoverParty   `json:"giver"`
	Receiver HandoverParty   `json:"receiver"`
	Left     time.Time       `json:"left"`
	Offered  time.Time       `json:"offered"`
	Events   []string        `json:"events" doc:"Hashes of those that tell that it left, in hexadecimal"`
	Path     HandoverPath    `json:"path" doc:"What it went through before, by who gives it"`
	Answer   *HandoverAnswer `json:"answer,omitempty" doc:"Of who receives it"`
	File     []byte          `json:"file" doc:"As it is signed, for the service of the other party"`
}

// HandoverPath is what goods went through.
type HandoverPath struct {
	Outcome  string   `json:"outcome" enum:"sound,heat,freeze,not-known"`
	Measured int      `json:"measured" doc:"Of the path, in ten-thousandths"`
	Outside  int64    `json:"outside" doc:"Minutes out of the storage range, as far as it was measured"`
	By       []string `json:"by" doc:"Devices"`
}

// HandoverAnswer is what who receives says.
type HandoverAnswer struct {
	Reason   string    `json:"reason,omitempty" enum:"not-arrived,other-goods,damaged,cold-chain,other" doc:"Why it is refused"`
	Amount   int64     `json:"amount" doc:"That came; -1: not told"`
	Unit     string    `json:"unit,omitempty"`
	Differs  bool      `json:"differs" doc:"Another amount came than had left"`
	Arrived  time.Time `json:"arrived,omitzero"`
	Answered time.Time `json:"answered"`
	Events   []string  `json:"events" doc:"Hashes of those that tell that it came"`
}

func sumsOf(sums []handover.Sum) []string {
	out := make([]string, len(sums))
	for i := range sums {
		out[i] = hex.EncodeToString(sums[i][:])
	}
	return out
}

func handoverBody(h *custody.Handover) (HandoverBody, error) {
	read, err := h.Read()
	if err != nil {
		return HandoverBody{}, err
	}
	o := read.Offer
	b := HandoverBody{
		ID: h.ID, State: "offered", Thing: o.Thing, Amount: o.Amount, Unit: o.Unit, Giver: HandoverParty(o.Giver), Receiver: HandoverParty(o.Receiver),
		Left: o.Left, Offered: o.Offered, Events: sumsOf(o.Events), File: h.File,
		Path: HandoverPath{string(o.Path.Outcome), o.Path.Measured, o.Path.Outside, append([]string{}, o.Path.By...)},
	}
	if a := read.Answer; a != nil {
		b.State = string(a.Outcome)
		b.Answer = &HandoverAnswer{a.Reason, a.Amount, a.Unit, read.Differs(), a.Arrived, a.Answered, sumsOf(a.Events)}
	}
	return b, nil
}

// HandoverName names a hand-over, and as whom it is asked for.
type HandoverName struct {
	ID       string `path:"id" maxLength:"32"`
	Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
}

// handoverAnswer is a hand-over, or an error of custody, as an answer.
func handoverAnswer(h *custody.Handover, err error) (*oneAnswer[HandoverBody], error) {
	if err != nil {
		return nil, handoverProblem(err)
	}
	b, err := handoverBody(h)
	if err != nil {
		return nil, err
	}
	return one(b, h.Version), nil
}

func handoverProblem(err error) error {
	defect, malformed := errors.AsType[format.Defect](err)
	switch {
	case errors.Is(err, custody.ErrNoHandover):
		return problemNoHandover
	case errors.Is(err, custody.ErrAnswered):
		return problemAnswered
	case errors.Is(err, custody.ErrConflict):
		return problemChanged
	case malformed:
		return problemHandover.with(string(defect))
	}
	return err
}

// describeHandovers registers the operations on goods that change hands.
func (s *server) describeHandovers(api huma.API) {
	k := s.Stocking
	op := func(id, method, path, summary, description string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Description: description, Tags: []string{"stock"}, MaxBodyBytes: 2 * handover.MaxFile, BodyReadTimeout: formTime,
			Errors: append([]int{400, 401, 403, 404, 422}, errors...), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}

	register(api, op("handovers", "GET", "/v1/handovers", "List goods that change hands from or to a place, newest first", ""), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Cursor   int64  `query:"cursor" minimum:"0"`
		Limit    int    `query:"limit" minimum:"1" maximum:"200" default:"50"`
	}) (*listAnswer[HandoverBody], error) {
		by, err := k.by(ctx, r.Facility, access.CustodyRead)
		if err != nil {
			return nil, err
		}
		all, err := k.Custody.Stock.HandoversAt(ctx, by.Within, r.Cursor, r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[HandoverBody]{CacheControl: "no-store"}
		out.Body.Items = make([]HandoverBody, len(all))
		for i := range all {
			if out.Body.Items[i], err = handoverBody(&all[i]); err != nil {
				return nil, err
			}
		}
		if len(all) == r.Limit {
			out.follow("/v1/handovers", strconv.FormatInt(all[len(all)-1].N, 10), r.Facility, r.Limit, nil)
		}
		return out, nil
	})
	register(api, op("handoverOffer", "POST", "/v1/handovers", "Sign that goods left for another's place, by the event that tells of it", "The file of the answer goes to the service of the other party.", 409, 412), func(ctx context.Context, r *struct {
		Body struct {
			Facility string `json:"facility,omitempty" maxLength:"64"`
			Event    string `json:"event" minLength:"1" maxLength:"300" doc:"Its name"`
			Thing    string `json:"thing,omitempty" maxLength:"300" doc:"Of an event of several"`
			To       string `json:"to,omitempty" maxLength:"300" doc:"Where the event does not tell"`
			Receiver string `json:"receiver,omitempty" maxLength:"128" doc:"Name of the partner, where the place is at another service"`
		}
	}) (*oneAnswer[HandoverBody], error) {
		by, err := k.by(ctx, r.Body.Facility, access.CustodyCapture)
		if err != nil {
			return nil, err
		}
		b := &r.Body
		return handoverAnswer(k.Custody.Offer(ctx, by, custody.Shipping{Event: b.Event, Thing: b.Thing, To: b.To, Receiver: b.Receiver}))
	})
	register(api, op("handoverTake", "POST", "/v1/handovers/messages", "Take in the file of a partner: an offer, or the answer to one", "It must be signed by the partner that it names.", 409, 412), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Body     struct {
			File []byte `json:"file" doc:"As the other service gave it"`
		}
	}) (*oneAnswer[HandoverBody], error) {
		by, err := k.by(ctx, r.Facility, access.CustodyCapture)
		if err != nil {
			return nil, err
		}
		return handoverAnswer(k.Custody.Take(ctx, by, r.Body.File))
	})
	register(api, op("handoverAccept", "POST", "/v1/handovers/{id}/accept", "Sign that goods came, by the event that tells of it", "What came is told as the event has it. The file of the answer goes back to the service of who gave.", 409, 412), func(ctx context.Context, r *struct {
		HandoverName
		Body struct {
			Event string `json:"event" minLength:"1" maxLength:"300" doc:"Its name"`
		}
	}) (*oneAnswer[HandoverBody], error) {
		by, err := k.by(ctx, r.Facility, access.CustodyCapture)
		if err != nil {
			return nil, err
		}
		return handoverAnswer(k.Custody.Accept(ctx, by, r.ID, r.Body.Event))
	})
	register(api, op("handoverRefuse", "POST", "/v1/handovers/{id}/refuse", "Sign that goods are not taken", "", 409, 412), func(ctx context.Context, r *struct {
		HandoverName
		Body struct {
			Reason string `json:"reason" enum:"not-arrived,other-goods,damaged,cold-chain,other"`
		}
	}) (*oneAnswer[HandoverBody], error) {
		by, err := k.by(ctx, r.Facility, access.CustodyCapture)
		if err != nil {
			return nil, err
		}
		return handoverAnswer(k.Custody.Refuse(ctx, by, r.ID, r.Body.Reason))
	})
}
