package httpapi

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"ampoule/party/verifier"
)

// TestTranscript: who asks for it gets the record of each verdict, which is reached again
// by what the service has said it was judged by.
func TestTranscript(t *testing.T) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	source := verifier.Source{Kind: "bundle", Sum: sha256.Sum256([]byte("bundle"))}
	b, h := newFrontBed(t, nil)
	body := func(more string, texts ...string) string {
		return strings.TrimSuffix(requestOf(texts...), "}") + more + `,"transcript":true}`
	}
	if r := ask(h, "POST", "/v1/verify", body("", b.text["good"])); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(readAll(t, r), "verifier.transcript_key") {
		t.Errorf("without a key: %d", r.StatusCode)
	}
	b.page.Recorder = &Recorder{Verifier: b.page.Verifier, Sources: []verifier.Source{source}, Read: today.Add(-time.Hour), Signer: key}
	later := today.AddDate(2, 0, 0)
	for _, c := range []struct {
		name, body string
		texts      []string
	}{
		{"several", body("", b.text["good"], b.text["forged"], "nonsense"), []string{b.text["good"], b.text["forged"], "nonsense"}},
		{"as of another time", body(fmt.Sprintf(`,"at":%q`, later.Format(time.RFC3339)), b.text["good"]), []string{b.text["good"]}},
	} {
		r := ask(h, "POST", "/v1/verify", c.body)
		text := readAll(t, r)
		var out verdictsBody
		if err := json.Unmarshal([]byte(text), &out); err != nil || len(out.Verdicts) != len(c.texts) {
			t.Fatalf("%s: %d %v: %s", c.name, r.StatusCode, err, text)
		}
		for i, v := range out.Verdicts {
			x, err := verifier.ParseTranscript(v.Transcript)
			if err != nil {
				t.Fatalf("%s, %d: %v", c.name, i, err)
			}
			if x.Outcome != v.Outcome || x.Reason != v.Reason || !key.Public().(ed25519.PublicKey).Equal(x.Signer) || len(x.Held([]verifier.Source{source})) > 0 || !x.Read.Equal(today.Add(-time.Hour).Truncate(time.Second)) {
				t.Errorf("%s, %d: %+v of %+v", c.name, i, x, v)
			}
			if found := x.Again(b.page.Verifier, nil, c.texts[i]); len(found) > 0 {
				t.Errorf("%s, %d: %v", c.name, i, found)
			}
			if found := x.Derive(b.page.Verifier); len(found) > 0 {
				t.Errorf("%s, %d: %v", c.name, i, found)
			}
		}
	}
	if r := ask(h, "POST", "/v1/verify", body(`,"at":"1960-01-01T00:00:00Z"`, b.text["good"])); r.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("of a time before all: %d %s", r.StatusCode, readAll(t, r))
	}
	// Nobody gets one who does not ask.
	if text := readAll(t, ask(h, "POST", "/v1/verify", requestOf(b.text["good"]))); strings.Contains(text, "transcript") {
		t.Error("a transcript for nobody")
	}
}
