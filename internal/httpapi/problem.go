package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"ampoule/internal/messages"
	"ampoule/party/issuer"
)

// problem is an answer other than the one asked for: what is the matter, and
// what to do about it. It is a page for people, and an RFC 9457 problem
// document for programs. Its words are under "problem." in the catalogue, and
// come in when it is known in which language.
type problem struct {
	Status int      `json:"status"`
	Reason string   `json:"reason"` // a stable word
	Title  string   `json:"title"`
	Detail string   `json:"detail,omitempty"`
	Try    []string `json:"try,omitempty"` // what may help

	reason string // said in the place of Reason, where one text does for many
	word   string // picks one of several details; empty: there is one
	field  string // of the form, where one is wrong
	tries  int    // how many texts there are of what may help
	wait   int    // seconds, after which it may be tried again
	values []any  // what the detail names, as [messages.Language.Text] takes it
}

// Field is the field of the form that is wrong; empty where it is no one of them.
func (p *problem) Field() string { return p.field }

func (p *problem) Error() string { return p.Reason }

// with returns the problem with a detail of its own.
func (p problem) with(detail string) *problem {
	p.Detail = detail
	return &p
}

// after returns the problem with how long to wait.
func (p problem) after(d time.Duration) *problem {
	p.wait = max(1, int((d+time.Second-1)/time.Second))
	p.values = []any{"count", p.wait}
	return &p
}

// in returns the problem in the words of a language. A detail of its own stays.
func (p problem) in(l *messages.Language) *problem {
	key := "problem." + p.Reason + "."
	p.Title = l.Text(key + "title")
	if p.Detail == "" {
		detail := "detail"
		if p.word != "" {
			detail += "." + p.word
		}
		p.Detail = l.Text(key+detail, p.values...)
	}
	p.Try = make([]string, p.tries)
	for i := range p.Try {
		p.Try[i] = l.Text(key + "try." + strconv.Itoa(i+1))
	}
	if p.reason != "" {
		p.Reason = p.reason
	}
	return &p
}

// problems are those that the API answers with.
func problems() []*problem {
	return []*problem{
		problemBadRequest, problemInvalid, problemNotJSON, problemBodyTooLarge, problemNotFound, problemMethod, problemTooMany, problemSlow, problemInternal,
		problemNobody, problemDenied, problemWhichFacility, problemNoRecord, problemOrder, problemKeyReused, problemChanged, problemNoVersion,
		problemState, problemSameKey, problemUnreadable, problemNoKey, problemNotPrinted,
		problemNoJob, problemUpload, problemUploadTooLarge, problemNotRows, problemRowsGone,
		problemTransaction, problemNotLogged, problemNotCosigned, problemNoActor, problemNoEntry, problemLedgerAway,
		problemNoEquipment, problemNoDevice, problemNoAlarm, problemFleetOrder, problemStoreFull,
		problemNoSession, problemNoLocation, problemWhichLocation, problemUnfit, problemStockOrder, problemProducts, problemSessionEnded, problemNoDose, problemOtherLot, problemNotProduct, problemNoTrace,
		problemNoHandover, problemHandover, problemAnswered,
	}
}

// Every problem there is.
var (
	problemNotFound  = &problem{Status: http.StatusNotFound, Reason: "not-found"}
	problemNotBuilt  = &problem{Status: http.StatusNotFound, Reason: "not-built", tries: 2}
	problemMethod    = &problem{Status: http.StatusMethodNotAllowed, Reason: "method-not-allowed", tries: 1}
	problemCrossSite = &problem{Status: http.StatusForbidden, Reason: "cross-site", tries: 1}
	problemNoSample  = &problem{Status: http.StatusNotFound, Reason: "no-such-sample", tries: 1}

	problemNothing   = &problem{Status: http.StatusBadRequest, Reason: "nothing-given", tries: 1}
	problemSeveral   = &problem{Status: http.StatusBadRequest, Reason: "several-given"}
	problemForm      = &problem{Status: http.StatusBadRequest, Reason: "bad-form", tries: 1}
	problemMediaType = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-a-form"}

	problemTextTooLarge    = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "text-too-large", tries: 1, values: []any{"size", maxForm >> 10}}       // KiB
	problemPictureTooLarge = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "picture-too-large", tries: 2, values: []any{"size", maxPicture >> 20}} // MiB
	problemNotPicture      = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-a-picture", tries: 2}
	problemNoCode          = &problem{Status: http.StatusUnprocessableEntity, Reason: "no-code-found", tries: 5}
	problemDamaged         = &problem{Status: http.StatusUnprocessableEntity, Reason: "unreadable", tries: 2}
	problemIncomplete      = &problem{Status: http.StatusUnprocessableEntity, Reason: "code-incomplete", tries: 1}

	problemBadRequest   = &problem{Status: http.StatusBadRequest, Reason: "bad-request"}
	problemInvalid      = &problem{Status: http.StatusUnprocessableEntity, Reason: "invalid-request", tries: 1}
	problemNotJSON      = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-json"}
	problemBodyTooLarge = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "body-too-large", values: []any{"size", maxBody >> 10}} // KiB
	problemTooMany      = &problem{Status: http.StatusTooManyRequests, Reason: "too-many-requests", tries: 2}

	problemWhichFacility   = &problem{Status: http.StatusUnprocessableEntity, Reason: "which-facility", tries: 1}
	problemNoRecord        = &problem{Status: http.StatusNotFound, Reason: "no-such-record", tries: 1}
	problemOrder           = &problem{Status: http.StatusUnprocessableEntity, Reason: "cannot-issue", tries: 1}
	problemKeyReused       = &problem{Status: http.StatusUnprocessableEntity, Reason: "request-key-reused", tries: 1}
	problemChanged         = &problem{Status: http.StatusPreconditionFailed, Reason: "changed-meanwhile", tries: 1}
	problemNoVersion       = &problem{Status: http.StatusPreconditionRequired, Reason: "version-required", tries: 1}
	problemState           = &problem{Status: http.StatusConflict, Reason: "not-in-this-state", tries: 1}
	problemSameKey         = &problem{Status: http.StatusConflict, Reason: "same-key", tries: 1}
	problemUnreadable      = &problem{Status: http.StatusGone, Reason: "record-key-missing", tries: 1}
	problemNoKey           = &problem{Status: http.StatusServiceUnavailable, Reason: "no-signing-key", tries: 1}
	problemNotPrinted      = &problem{Status: http.StatusUnprocessableEntity, Reason: "not-printed", tries: 1}
	problemNobody          = &problem{Status: http.StatusUnauthorized, Reason: "not-logged-in", tries: 1}
	problemToken           = &problem{Status: http.StatusUnauthorized, Reason: "bad-token"}
	problemDenied          = &problem{Status: http.StatusForbidden, Reason: "not-allowed", tries: 1}
	problemCredentials     = &problem{Status: http.StatusUnauthorized, Reason: "wrong-credentials", tries: 1}
	problemTooSoon         = &problem{Status: http.StatusTooManyRequests, Reason: "too-many-tries", values: []any{"count", 1}}
	problemWeak            = &problem{Status: http.StatusUnprocessableEntity, Reason: "weak-password", field: "password"}
	problemOldPassword     = &problem{Status: http.StatusUnprocessableEntity, Reason: "wrong-old-password", field: "old"}
	problemLoginName       = &problem{Status: http.StatusUnprocessableEntity, Reason: "malformed-login-name", field: "login"}
	problemLoginTaken      = &problem{Status: http.StatusConflict, Reason: "login-name-taken", field: "login"}
	problemAccountChanged  = &problem{Status: http.StatusConflict, Reason: "account-changed", tries: 1}
	problemLastOne         = &problem{Status: http.StatusConflict, Reason: "last-administrator"}
	problemSetUp           = &problem{Status: http.StatusForbidden, Reason: "set-up-already", tries: 1}
	problemSetupToken      = &problem{Status: http.StatusForbidden, Reason: "wrong-setup-token", tries: 1, field: "token"}
	problemSetting         = &problem{Status: http.StatusUnprocessableEntity, Reason: "malformed-setting"}
	problemSettingsChanged = &problem{Status: http.StatusConflict, Reason: "settings-changed-meanwhile", tries: 1}
	problemInvitation      = &problem{Status: http.StatusNotFound, Reason: "no-such-invitation", tries: 1}
	problemCeremony        = &problem{Status: http.StatusConflict, Reason: "ceremony-over", tries: 1}
	problemNoSuchWay       = &problem{Status: http.StatusNotFound, Reason: "not-configured"}
	problemProvider        = &problem{Status: http.StatusBadGateway, Reason: "provider-unreachable", tries: 1}
	problemTokenOrder      = &problem{Status: http.StatusUnprocessableEntity, Reason: "malformed-token-order"}
	problemGrant           = &problem{Status: http.StatusUnprocessableEntity, Reason: "unknown-role"}
	problemTaken           = &problem{Status: http.StatusConflict, Reason: "credential-taken"}

	problemNoJob          = &problem{Status: http.StatusNotFound, Reason: "no-such-job"}
	problemUpload         = &problem{Status: http.StatusUnprocessableEntity, Reason: "upload-refused", tries: 1}
	problemUploadTooLarge = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "upload-too-large", tries: 1, values: []any{"size", issuer.MaxUpload >> 20}} // MiB
	problemNotRows        = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-rows"}
	problemRowsGone       = &problem{Status: http.StatusGone, Reason: "rows-destroyed", tries: 1}

	problemTransaction = &problem{Status: http.StatusUnprocessableEntity, Reason: "transaction-refused"}
	problemNotLogged   = &problem{Status: http.StatusNotFound, Reason: "not-logged", tries: 1}
	problemNotCosigned = &problem{Status: http.StatusServiceUnavailable, Reason: "not-cosigned-yet", tries: 1, wait: 2}
	problemNoActor     = &problem{Status: http.StatusNotFound, Reason: "actor-unknown"}
	problemNoEntry     = &problem{Status: http.StatusNotFound, Reason: "no-such-entry"}
	problemLedgerAway  = &problem{Status: http.StatusServiceUnavailable, Reason: "ledger-unavailable", tries: 1, wait: 5}

	problemNoEquipment = &problem{Status: http.StatusNotFound, Reason: "no-such-equipment"}
	problemNoDevice    = &problem{Status: http.StatusNotFound, Reason: "no-such-device"}
	problemNoAlarm     = &problem{Status: http.StatusNotFound, Reason: "no-such-alarm"}
	problemNoMessage   = &problem{Status: http.StatusNotFound, Reason: "no-such-message"}
	problemFleetOrder  = &problem{Status: http.StatusUnprocessableEntity, Reason: "bad-fleet-order", tries: 1}
	problemStoreFull   = &problem{Status: http.StatusInsufficientStorage, Reason: "store-full", tries: 1}

	problemNoSession     = &problem{Status: http.StatusNotFound, Reason: "no-such-session"}
	problemNoLocation    = &problem{Status: http.StatusNotFound, Reason: "no-such-location"}
	problemWhichLocation = &problem{Status: http.StatusUnprocessableEntity, Reason: "which-location", tries: 1}
	problemUnfit         = &problem{Status: http.StatusConflict, Reason: "unfit-stock", tries: 1}
	problemProducts      = &problem{Status: http.StatusConflict, Reason: "other-products", tries: 1}
	problemStockOrder    = &problem{Status: http.StatusUnprocessableEntity, Reason: "bad-stock-order", tries: 1}
	problemSessionEnded  = &problem{Status: http.StatusConflict, Reason: "session-ended"}
	problemNoDose        = &problem{Status: http.StatusConflict, Reason: "no-dose-in-session", tries: 1}
	problemOtherLot      = &problem{Status: http.StatusUnprocessableEntity, Reason: "other-lot", tries: 1}
	problemNotProduct    = &problem{Status: http.StatusUnprocessableEntity, Reason: "not-a-product-code"}
	problemNoHandover    = &problem{Status: http.StatusNotFound, Reason: "no-such-hand-over"}
	problemHandover      = &problem{Status: http.StatusUnprocessableEntity, Reason: "bad-hand-over", tries: 1}
	problemAnswered      = &problem{Status: http.StatusConflict, Reason: "hand-over-answered"}
	problemNoTrace       = &problem{Status: http.StatusNotFound, Reason: "nothing-to-trace", tries: 1}

	problemBusy     = &problem{Status: http.StatusServiceUnavailable, Reason: "busy", tries: 2}
	problemSlow     = &problem{Status: http.StatusRequestTimeout, Reason: "too-slow", tries: 1, values: []any{"count", int(uploadTime.Seconds())}}
	problemInternal = &problem{Status: http.StatusInternalServerError, Reason: "internal"}
)

// problemVary is what the answer with a problem depends on.
const problemVary = "Accept, Accept-Language"

// fail answers with a problem, in the language that the request asks for.
func (s *server) fail(w *answer, r *http.Request, p *problem) {
	l := s.language(r)
	said := p.in(l)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Language", l.Tag)
	h.Add("Vary", problemVary)
	switch p {
	case problemBusy:
		h.Set("Retry-After", "5")
	case problemTooMany:
		h.Set("Retry-After", "1")
	}
	if p.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(p.wait))
	}
	if wantsJSON(r.Header) || isAPI(r.URL.Path) {
		body, err := json.Marshal(said)
		if err != nil {
			panic(err) // strings and a number
		}
		w.send(p.Status, "application/problem+json", append(body, '\n'))
		return
	}
	s.render(w, p.Status, s.views[l].problem, frame{Title: said.Title, Body: said})
}
