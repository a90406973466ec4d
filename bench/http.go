package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"ampoule/internal/httpapi"
	"ampoule/party/verifier"
)

// httpCases are one request to a bare server that reads JSON and writes it back,
// one to a bare server that writes a verdict which it has at hand, and one to ours,
// with all that stands before it, by the same client over the loopback. Client and
// server share the process, so all figures have both.
func httpCases(v *verifier.Verifier, text string) (echo, plain, verify func() error, err error) {
	body, err := json.Marshal(map[string]any{"texts": []string{text}})
	if err != nil {
		return nil, nil, nil, err
	}
	bare := func(answer any) string {
		return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var in struct{ Texts []string }
			if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if answer != nil {
				_ = json.NewEncoder(w).Encode(answer)
			} else {
				_ = json.NewEncoder(w).Encode(in)
			}
		})).URL
	}
	verdict := map[string]any{"verdicts": []any{v.Verify(text).Report(false)}}
	front := httpapi.NewFront()
	front.Show(&httpapi.Page{Verifier: v, API: &httpapi.API{Version: "benchmark"}}, func() error { return nil })
	ours := httptest.NewServer(front.Handler())
	post := func(url string) func() error {
		return func() error {
			res, err := http.Post(url, "application/json", bytes.NewReader(body))
			if err != nil {
				return err
			}
			defer res.Body.Close()
			answer, err := io.ReadAll(res.Body)
			if err == nil && (res.StatusCode != http.StatusOK || len(answer) == 0) {
				err = fmt.Errorf("%s: %s", res.Status, answer)
			}
			return err
		}
	}
	return post(bare(nil)), post(bare(verdict)), post(ours.URL + "/v1/verify"), nil
}
