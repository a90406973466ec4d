package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"ampoule/internal/messages"
)

// problem is an answer other than the one asked for: what is the matter, and
// what to do about it. It is a page for people, and an RFC 9457 problem
// document for programs.
type problem struct {
	Status int      `json:"status"`
	Reason string   `json:"reason"` // a stable word
	Title  string   `json:"title"`
	Detail string   `json:"detail,omitempty"`
	Try    []string `json:"try,omitempty"` // what may help
}

func (p *problem) Error() string { return p.Reason }

// with returns the problem with a detail of its own.
func (p problem) with(detail string) *problem {
	if detail != "" {
		p.Detail = detail
	}
	return &p
}

// problems are those that the API answers with.
func problems() []*problem {
	return []*problem{problemInvalid, problemNotJSON, problemBodyTooLarge, problemNotFound, problemMethod, problemTooMany, problemSlow, problemInternal}
}

// Every problem there is.
var (
	problemNotFound = &problem{Status: http.StatusNotFound, Reason: "not-found", Title: "There is no such page",
		Detail: "Nothing is kept at this address."}
	problemNotBuilt = &problem{Status: http.StatusNotFound, Reason: "not-built", Title: "This program was built without the verifier's page",
		Detail: "The page is built by Node before the program is.",
		Try:    []string{"Build it again by: make build", "Verify a picture or a text on the first page."}}
	problemMethod = &problem{Status: http.StatusMethodNotAllowed, Reason: "method-not-allowed", Title: "This address is asked in another way",
		Detail: "A verdict is the answer to a form that was sent, and cannot be opened or kept as a link.",
		Try:    []string{"Begin on the first page, and verify the certificate again."}}
	problemCrossSite = &problem{Status: http.StatusForbidden, Reason: "cross-site", Title: "Sent from another site",
		Detail: "A page elsewhere had your browser send this form. It was not looked at.",
		Try:    []string{"Begin on the first page here."}}
	problemNoSample = &problem{Status: http.StatusNotFound, Reason: "no-such-sample", Title: "There is no such sample",
		Detail: "The samples may have been made anew since the page was opened.",
		Try:    []string{"Go back to the first page, and choose one of its samples."}}

	problemNothing = &problem{Status: http.StatusBadRequest, Reason: "nothing-given", Title: "Nothing was given to verify",
		Detail: "The form came without a text, without a picture and without the name of a sample.",
		Try:    []string{"Paste the text of a code, which begins with HC1:, or choose a picture of one."}}
	problemSeveral = &problem{Status: http.StatusBadRequest, Reason: "several-given", Title: "More than one thing was given",
		Detail: "A form carries one of a text, a picture and the name of a sample, and that one once."}
	problemForm = &problem{Status: http.StatusBadRequest, Reason: "bad-form", Title: "The form could not be read",
		Detail: "It broke off on its way, or is not written as forms are.",
		Try:    []string{"Send it again."}}
	problemMediaType = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-a-form", Title: "This is not a form",
		Detail: "Text is taken as application/x-www-form-urlencoded, and a picture as multipart/form-data."}

	problemTextTooLarge = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "text-too-large", Title: "The text is too long",
		Detail: fmt.Sprintf("At most %d KiB are taken. No code holds more than 4,296 characters.", maxForm>>10),
		Try:    []string{"Paste the text of one code only."}}
	problemPictureTooLarge = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "picture-too-large", Title: "The picture is too large",
		Detail: fmt.Sprintf("A picture may have %d MiB and 16 megapixels.", maxPicture>>20),
		Try:    []string{"Cut the picture down to the code.", "Take it again with a smaller size set in the camera."}}
	problemNotPicture = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-a-picture", Title: "This file is not a picture that can be read",
		Detail: "Pictures are read as PNG, JPEG or GIF.",
		Try:    []string{"Save the picture as PNG or JPEG.", "From a PDF, take a picture of the screen with the code on it."}}
	problemNoCode = &problem{Status: http.StatusUnprocessableEntity, Reason: "no-code-found", Title: "No code was found in the picture",
		Detail: "The picture is sound, but no QR code in it could be read. This says nothing about the certificate.",
		Try: []string{
			"Hold the camera straight above the code, so that the code fills most of the picture.",
			"Keep the white margin around the code in the picture.",
			"Use more light, and avoid reflections and shadows.",
			"Hold still until the picture is sharp.",
			"If you have the text of the code, paste that.",
		}}
	problemDamaged = &problem{Status: http.StatusUnprocessableEntity, Reason: "unreadable", Title: "The picture is damaged",
		Detail: "It begins like a picture, but does not go on like one.",
		Try:    []string{"Send the picture again from where it was taken.", "Take a new one."}}
	problemIncomplete = &problem{Status: http.StatusUnprocessableEntity, Reason: "code-incomplete", Title: "Only a part of the codes is in the picture",
		Detail: "This text is spread over several codes that belong together.",
		Try:    []string{"Take one picture with all of them in it."}}

	problemInvalid = &problem{Status: http.StatusUnprocessableEntity, Reason: "invalid-request", Title: "The request is not as the API describes it",
		Detail: "A member is missing, or of another kind.", Try: []string{"See /docs for what the request looks like."}}
	problemNotJSON = &problem{Status: http.StatusUnsupportedMediaType, Reason: "not-json", Title: "The API takes JSON",
		Detail: "Send Content-Type: application/json."}
	problemBodyTooLarge = &problem{Status: http.StatusRequestEntityTooLarge, Reason: "body-too-large", Title: "The request is too large",
		Detail: fmt.Sprintf("At most %d KiB are taken.", maxBody>>10)}
	problemTooMany = &problem{Status: http.StatusTooManyRequests, Reason: "too-many-requests", Title: "Too many requests from this address",
		Detail: "Some were sent in a short time.", Try: []string{"Send it again after the seconds that Retry-After tells.", "Send several certificates in one request."}}

	problemBusy = &problem{Status: http.StatusServiceUnavailable, Reason: "busy", Title: "Too many pictures at once",
		Detail: "Others are being read, and yours did not have its turn in time.",
		Try:    []string{"Send it again in a few seconds.", "A text is verified at once, without waiting."}}
	problemSlow = &problem{Status: http.StatusRequestTimeout, Reason: "too-slow", Title: "The picture did not arrive in time",
		Detail: fmt.Sprintf("It has %d seconds to arrive.", int(uploadTime.Seconds())),
		Try:    []string{"Cut the picture down to the code, which makes it smaller."}}
	problemInternal = &problem{Status: http.StatusInternalServerError, Reason: "internal", Title: "This went wrong here",
		Detail: "It is a fault of this program. Nothing was decided about the certificate."}
)

// fail answers with a problem.
func (s *server) fail(w *answer, r *http.Request, p *problem) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Accept")
	switch p {
	case problemBusy:
		h.Set("Retry-After", "5")
	case problemTooMany:
		h.Set("Retry-After", "1")
	}
	if wantsJSON(r.Header) || strings.HasPrefix(r.URL.Path, "/v1/") {
		body, err := json.Marshal(p)
		if err != nil {
			panic(err) // strings and a number
		}
		w.send(p.Status, "application/problem+json", append(body, '\n'))
		return
	}
	s.render(w, p.Status, s.views[messages.English].problem, frame{Title: p.Title, Body: p})
}
