package httpapi

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/format"
	"ampoule/internal/access"
	"ampoule/party/issuer"
)

// WhichBody chooses records in force: those that meet all that is said.
type WhichBody struct {
	KID     string    `json:"kid,omitempty" maxLength:"128" pattern:"^([0-9a-f]{2})+$" patternDescription:"hexadecimal, in small letters" doc:"A current certificate is of this key"`
	Lot     string    `json:"lot,omitempty" maxLength:"64" doc:"A dose in it is of this lot, as upper-case letters and digits"`
	Product string    `json:"product,omitempty" maxLength:"200" doc:"And of the product, or kind of vaccine, of this code"`
	From    time.Time `json:"from,omitzero" doc:"It was issued from then"`
	Until   time.Time `json:"until,omitzero" doc:"And before then"`
}

func (b WhichBody) which() issuer.Which {
	w := issuer.Which{Lot: b.Lot, Product: b.Product, From: b.From, Until: b.Until}
	if kid, _ := hex.DecodeString(b.KID); len(kid) > 0 { // of the form above
		w.KIDs = [][]byte{kid}
	}
	return w
}

// CountBody is a number of something.
type CountBody struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

type affectedAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Records     int         `json:"records" doc:"What a revocation of all of them has to agree to"`
		Formats     []CountBody `json:"formats" doc:"Current certificates of each format"`
		Facilities  []CountBody `json:"facilities" doc:"Records of each facility"`
		Irrevocable int         `json:"irrevocable" doc:"Records with a certificate of a format that cannot be revoked"`
		First       time.Time   `json:"first,omitzero" doc:"Issue of the oldest"`
		Last        time.Time   `json:"last,omitzero" doc:"Issue of the newest"`
	}
}

type revokedManyAnswer struct {
	Body struct {
		Revoked int             `json:"revoked"`
		Left    int             `json:"left" doc:"The time was over before the work: agree to so many, and ask again"`
		Failed  []FailedRowBody `json:"failed"`
	}
}

// FailedRowBody is a record that was not revoked.
type FailedRowBody struct {
	ID     string `json:"id"`
	Reason string `json:"reason" doc:"A stable word"`
}

type revokedListAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Body         struct {
		Rows []ListedRowBody `json:"rows" doc:"One for each line, in the order of the list"`
	}
}

// ListedRowBody is what became of one line of a list.
type ListedRowBody struct {
	Line   int    `json:"line" doc:"From 1"`
	ID     string `json:"id,omitempty" doc:"Of the record that was found"`
	Result string `json:"result" doc:"A stable word: revoked, would-be-revoked, already-revoked, no-such-record, several-records, repeated, changed-meanwhile, not-reached"`
}

// describeRevocations registers what is done to many records at once. The one who
// asks is told first how many there are, and says so when it is done.
func (s *server) describeRevocations(api huma.API) {
	i := s.Issuing
	at := func(id, path, summary, description string, problems ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: "POST", Path: path, Summary: summary, Description: description, MaxBodyBytes: 4 << 20, BodyReadTimeout: 30 * time.Second,
			Errors: append(problems, 400, http.StatusUnauthorized, http.StatusForbidden, 413, 415, 422), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	register(api, at("affected", "/v1/revocations/affected", "Count the records in force that a revocation would take out", "By key, by lot, by the time of their issue, or several of these."),
		func(ctx context.Context, r *struct {
			PlaceParameter
			Body WhichBody
		}) (*affectedAnswer, error) {
			by, err := i.actor(ctx, access.CertificateRevoke, r.Facility)
			if err != nil {
				return nil, err
			}
			a, err := i.Registry.Affected(ctx, by, r.Body.which())
			if err != nil {
				return nil, issuingProblem(err)
			}
			out := &affectedAnswer{CacheControl: "no-store"}
			out.Body.Records, out.Body.Irrevocable, out.Body.First, out.Body.Last = a.Records, a.Irrevocable, a.First, a.Last
			out.Body.Formats, out.Body.Facilities = []CountBody{}, []CountBody{}
			for _, f := range issuer.Formats() {
				if n := a.ByFormat[f]; n > 0 {
					out.Body.Formats = append(out.Body.Formats, CountBody{string(f), n})
				}
			}
			for _, place := range a.Places() {
				out.Body.Facilities = append(out.Body.Facilities, CountBody{place.Facility, a.ByPlace[place]})
			}
			return out, nil
		})

	register(api, at("revokeMany", "/v1/revocations", "Take all records of a choice out of force",
		"As many as were counted: where there are more or fewer by now, nothing is done. What the time does not reach is told, and asked for again.", 409),
		func(ctx context.Context, r *struct {
			PlaceParameter
			Body struct {
				WhichBody
				Reason issuer.Reason `json:"reason" enum:"wrong-data,not-given,product,fraud,holder,key"`
				Agreed int           `json:"agreed" minimum:"0" doc:"How many there are"`
			}
		}) (*revokedManyAnswer, error) {
			by, err := i.actor(ctx, access.CertificateRevoke, r.Facility)
			if err != nil {
				return nil, err
			}
			timed, cancel := context.WithTimeout(ctx, reissueTime)
			defer cancel()
			done, err := i.Registry.RevokeMany(timed, by, r.Body.which(), r.Body.Reason, r.Body.Agreed)
			if err != nil {
				return nil, issuingProblem(err)
			}
			i.changed()
			out := new(revokedManyAnswer)
			out.Body.Revoked, out.Body.Left, out.Body.Failed = done.Done, done.Left, []FailedRowBody{}
			for _, f := range done.Failed {
				var defect format.Defect
				errors.As(f.Err, &defect)
				out.Body.Failed = append(out.Body.Failed, FailedRowBody{f.ID.String(), string(defect)})
			}
			return out, nil
		})

	register(api, at("revokeListed", "/v1/revocations/list", "Take the records of a list out of force",
		"Each line is the identifier of a record, or of its certificate (a UVCI). Every line has its result; with dry nothing is done."),
		func(ctx context.Context, r *struct {
			PlaceParameter
			Body struct {
				Lines  []string      `json:"lines" minItems:"1" maxItems:"10000"`
				Reason issuer.Reason `json:"reason" enum:"wrong-data,not-given,product,fraud,holder,key"`
				Dry    bool          `json:"dry,omitempty" doc:"Only tell what would be done"`
			}
		}) (*revokedListAnswer, error) {
			by, err := i.actor(ctx, access.CertificateRevoke, r.Facility)
			if err != nil {
				return nil, err
			}
			timed, cancel := context.WithTimeout(ctx, reissueTime)
			defer cancel()
			rows, err := i.Registry.RevokeListed(timed, by, r.Body.Lines, r.Body.Reason, r.Body.Dry)
			if err != nil {
				return nil, issuingProblem(err)
			}
			if !r.Body.Dry {
				i.changed()
			}
			out := &revokedListAnswer{CacheControl: "no-store"}
			for n, row := range rows {
				line := ListedRowBody{Line: n + 1, Result: row.Result}
				if row.ID != (issuer.ID{}) {
					line.ID = row.ID.String()
				}
				out.Body.Rows = append(out.Body.Rows, line)
			}
			return out, nil
		})
}
