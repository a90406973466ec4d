package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/internal/access"
	"ampoule/internal/store"
	"ampoule/party/issuer"
)

// AuditLog is what auditors read.
type AuditLog interface {
	// AuditPage returns lines of an organisation and of the service itself, newest
	// first, as [store.Store.AuditPage] does.
	AuditPage(ctx context.Context, organisation string, from, to time.Time, before issuer.ID, limit int) (page []store.AuditLine, next issuer.ID, err error)
}

// AuditBody is a line of the audit log.
type AuditBody struct {
	ID           string    `json:"id"`
	At           time.Time `json:"at"`
	By           string    `json:"by" doc:"The account or token; store: the service itself"`
	Action       string    `json:"action" doc:"A stable word"`
	Record       string    `json:"record,omitempty" doc:"Identifier of the record or job that it is about"`
	Subject      string    `json:"subject,omitempty" doc:"Of a line about people: the account, session or token"`
	Organisation string    `json:"organisation,omitempty" doc:"Missing: of the service itself"`
	Reason       string    `json:"reason,omitempty"`
	Seal         int64     `json:"seal,omitempty" doc:"Number of the seal that covers it; missing for a moment after it was written"`
}

type auditAnswer struct {
	CacheControl string `header:"Cache-Control"`
	Link         string `header:"Link" doc:"The next page (RFC 8288)"`
	Body         struct {
		Items []AuditBody `json:"items"`
		Next  string      `json:"next,omitempty" doc:"Cursor of the next page; missing after the last"`
	}
}

// describeAudit registers the operation of auditors.
func (s *server) describeAudit(api huma.API) {
	register(api, huma.Operation{
		OperationID: "audit", Method: http.MethodGet, Path: "/v1/audit", Summary: "List the audit log, newest first",
		Description: "Of the whole organisation, and for who audits all of it: it has no facilities. It names nobody. Whether it was touched is told by 'ampoule audit verify' and by no server, which could be made to lie.",
		Errors:      []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusUnprocessableEntity},
		Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}, func(ctx context.Context, r *struct {
		From   time.Time `query:"from" doc:"First moment"`
		To     time.Time `query:"to" doc:"First moment that is left out"`
		Cursor string    `query:"cursor" maxLength:"36"`
		Limit  int       `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}) (*auditAnswer, error) {
		who := principal(ctx)
		if ok, _ := s.Access.Accounts.Policy.Allow(who, access.AuditRead, issuer.Place{Organisation: who.Organisation}); !ok {
			return nil, problemDenied
		}
		var cursor issuer.ID
		if r.Cursor != "" {
			var err error
			if cursor, err = issuer.ParseID(r.Cursor); err != nil {
				return nil, problemInvalid.with("query.cursor: none of ours")
			}
		}
		page, next, err := s.Access.Audit.AuditPage(ctx, who.Organisation, r.From, r.To, cursor, r.Limit)
		if err != nil {
			return nil, err
		}
		out := &auditAnswer{CacheControl: "no-store"}
		out.Body.Items, out.Body.Next = make([]AuditBody, len(page)), idOrEmpty(next)
		for n, l := range page {
			out.Body.Items[n] = AuditBody{l.ID, l.At, l.By, l.Action, l.Record, l.Subject, l.Organisation, l.Reason, l.Seal}
		}
		if next != (issuer.ID{}) {
			query := url.Values{"cursor": {next.String()}, "limit": {fmt.Sprint(r.Limit)}}
			for name, at := range map[string]time.Time{"from": r.From, "to": r.To} {
				if !at.IsZero() {
					query.Set(name, at.Format(time.RFC3339))
				}
			}
			out.Link = `</v1/audit?` + query.Encode() + `>; rel="next"`
		}
		return out, nil
	})
}
