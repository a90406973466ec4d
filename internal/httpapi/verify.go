package httpapi

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/internal/qr"
	"ampoule/party/verifier"
)

// input is what a form carries; one of its fields is set.
type input struct {
	text, sample string
	picture      []byte
}

// verify answers POST /verify. A text, a sample, or a picture of one code gets
// one report as JSON; a picture of several codes an array of them.
func (s *server) verify(w *answer, r *http.Request) {
	texts, err := s.texts(w, r)
	if err != nil {
		p := problemForm
		errors.As(err, &p)
		s.fail(w, r, p)
		return
	}
	groups := verifier.Group(texts)
	verdicts := make([]*verifier.Verdict, len(groups))
	outcomes := make([]string, len(groups))
	for i, group := range groups {
		verdicts[i] = s.Verifier.Verify(group...)
		outcomes[i] = string(verdicts[i].Outcome)
	}
	w.outcome = strings.Join(outcomes, ",")

	w.Header().Set("Vary", "Accept, Accept-Language")
	if wantsJSON(r.Header) {
		sendReports(w, verdicts)
		return
	}
	v := s.viewsFor(r)
	s.render(w, http.StatusOK, v.verdict, verdictFrame(v.language, verdicts))
}

func sendReports(w *answer, verdicts []*verifier.Verdict) {
	reports := make([][]byte, len(verdicts))
	for i, v := range verdicts {
		reports[i] = v.Report(false).JSON()
	}
	body := bytes.Join(reports, []byte(","))
	if len(reports) > 1 {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	w.send(http.StatusOK, "application/json", append(body, '\n'))
}

// texts returns the texts of the codes that the request brings.
func (s *server) texts(w *answer, r *http.Request) ([]string, error) {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	switch {
	case err != nil:
		return nil, problemMediaType
	case mediaType == "application/x-www-form-urlencoded":
		in, err := readForm(w, r)
		if err != nil {
			return nil, err
		}
		return s.resolve(in)
	case mediaType == "multipart/form-data" && params["boundary"] != "":
		// Whoever is inside holds a picture in memory.
		if !s.uploads.enter(r.Context(), s.patience) {
			return nil, problemBusy
		}
		defer s.uploads.leave()
		in, err := readMultipart(w, r)
		if err != nil {
			return nil, err
		}
		if in.picture == nil {
			return s.resolve(in)
		}
		return s.readPicture(r, in.picture)
	}
	return nil, problemMediaType
}

// resolve turns a sample's name into its text.
func (s *server) resolve(in input) ([]string, error) {
	if in.sample == "" {
		return []string{in.text}, nil
	}
	found := s.samples[in.sample]
	if found == nil {
		return nil, problemNoSample
	}
	return []string{found.Text}, nil
}

// readPicture finds the codes in a picture.
func (s *server) readPicture(r *http.Request, picture []byte) ([]string, error) {
	if !qr.IsPicture(picture) {
		return nil, problemNotPicture
	}
	if !s.decodes.enter(r.Context(), s.patience) {
		return nil, problemBusy
	}
	defer s.decodes.leave()
	texts, err := qr.Read(picture)
	switch {
	case err == nil:
		return texts, nil
	case errors.Is(err, qr.ErrNotPicture):
		return nil, problemNotPicture
	case errors.Is(err, qr.ErrTooLarge):
		return nil, problemPictureTooLarge
	case errors.Is(err, qr.ErrNoCode):
		return nil, problemNoCode
	case errors.Is(err, qr.ErrIncomplete):
		return nil, problemIncomplete
	}
	return nil, problemDamaged
}

// readForm reads a form of text.
func readForm(w *answer, r *http.Request) (input, error) {
	r.Body = http.MaxBytesReader(w.ResponseWriter, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return input{}, readProblem(err, problemTextTooLarge)
	}
	// PostForm: what stands in the address would end up in other people's logs.
	var in input
	for name, values := range r.PostForm {
		for _, value := range values {
			if err := in.add(name, value); err != nil {
				return input{}, err
			}
		}
	}
	return in, in.check()
}

// readMultipart reads a form that may carry a picture. It reads part by part
// into memory: the standard library's ParseMultipartForm would put large parts
// into files.
func readMultipart(w *answer, r *http.Request) (in input, err error) {
	body := r.Body
	control := http.NewResponseController(w)
	// Not every writer has a connection to set a deadline on; those of a server do.
	_ = control.SetReadDeadline(time.Now().Add(uploadTime))
	defer func() {
		if err == problemPictureTooLarge && r.ContentLength <= 2*maxUpload {
			// A browser reads no answer before it has sent its form. One that sends
			// a little too much may finish, so that its person is told why.
			_ = control.SetReadDeadline(time.Now().Add(drainTime))
			_, _ = io.CopyN(io.Discard, body, maxUpload)
		}
	}()
	r.Body = http.MaxBytesReader(w.ResponseWriter, body, maxUpload)
	form, err := r.MultipartReader()
	if err != nil {
		return input{}, problemForm
	}
	seen := false
	for range maxParts {
		part, err := form.NextPart()
		if err == io.EOF {
			return in, in.check()
		}
		if err != nil {
			return input{}, readProblem(err, problemPictureTooLarge)
		}
		name := part.FormName()
		limit, tooLarge := int64(maxForm), problemTextTooLarge
		var data bytes.Buffer
		if name == "picture" {
			if seen {
				return input{}, problemSeveral
			}
			seen = true
			limit, tooLarge = maxPicture, problemPictureTooLarge
			if r.ContentLength > 0 {
				// At once, since a buffer that grows is held twice while it does. The
				// system gives out only the pages that are written to.
				data.Grow(int(min(r.ContentLength, limit)) + bytes.MinRead)
			}
		}
		n, err := data.ReadFrom(io.LimitReader(part, limit+1))
		if err != nil {
			return input{}, readProblem(err, problemPictureTooLarge)
		}
		if n > limit {
			return input{}, tooLarge
		}
		switch {
		case name != "picture":
			err = in.add(name, data.String())
		case n == 0: // a browser sends an empty part where no file was chosen
		default:
			in.picture = data.Bytes()
		}
		if err != nil {
			return input{}, err
		}
	}
	return input{}, problemForm
}

// add takes a field of a form. Fields of other names are not ours to mind.
func (in *input) add(name, value string) error {
	into := &in.text
	switch name {
	case "sample":
		into = &in.sample
	case "text":
	default:
		return nil
	}
	switch {
	case strings.TrimSpace(value) == "":
		return nil
	case *into != "":
		return problemSeveral
	}
	*into = value
	return nil
}

// check sees that one thing was given.
func (in *input) check() error {
	given := 0
	for _, is := range []bool{in.text != "", in.sample != "", in.picture != nil} {
		if is {
			given++
		}
	}
	switch given {
	case 0:
		return problemNothing
	case 1:
		return nil
	}
	return problemSeveral
}

// readProblem says why a body could not be read.
func readProblem(err error, tooLarge *problem) *problem {
	var most *http.MaxBytesError
	switch {
	case errors.As(err, &most):
		return tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return problemSlow
	}
	return problemForm
}

// wantsJSON reports whether the client prefers JSON to a page (RFC 9110 section
// 12.5.1). Wildcards ask for neither and get the page.
func wantsJSON(h http.Header) bool {
	var json, page float64
	for _, line := range h.Values("Accept") {
		for item := range strings.SplitSeq(line, ",") {
			mediaType, params, err := mime.ParseMediaType(item)
			if err != nil {
				continue
			}
			weight := 1.0
			if q, ok := params["q"]; ok {
				if weight, err = strconv.ParseFloat(q, 64); err != nil {
					continue
				}
			}
			switch mediaType {
			case "application/json", "application/problem+json":
				json = max(json, weight)
			case "text/html", "application/xhtml+xml":
				page = max(page, weight)
			}
		}
	}
	return json > 0 && json >= page
}
