package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// personal is what the persons of the demonstration and their doses are known by.
var personal = regexp.MustCompile(`(?i)specimen|spécimen|ünal|démo|1990|DEMO-(YF|POLIO|LOT)`)

// TestReplayDemo: the verdict on each sample of the demonstration is written down, by the
// bundle, and reached again, with the code and without it. Nothing of the person is in it.
func TestReplayDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	d, err := newDemo(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ampoule := func(args ...string) (int, string) {
		var out, errs bytes.Buffer
		code := run(args, terminal{strings.NewReader(""), &out, &errs})
		return code, out.String() + errs.String()
	}
	by := []string{"--bundle", filepath.Join(dir, "bundle.cbor"), "--root", filepath.Join(dir, "bundle-root.pem")}
	formats := map[string]bool{}
	for _, s := range d.samples {
		t.Run(s.ID, func(t *testing.T) {
			file, written := filepath.Join(dir, "samples", s.ID+".png"), filepath.Join(t.TempDir(), "t")
			_, _ = ampoule(append(append([]string{"verify"}, by...), "--transcript", written, file)...)
			data, err := os.ReadFile(written)
			if err != nil {
				t.Fatal(err)
			}
			if found := personal.Find(data); found != nil {
				t.Errorf("%q in a transcript", found)
			}
			for _, more := range [][]string{nil, {"--code", file}} {
				args := append(append([]string{"replay", "--json"}, by...), more...)
				code, text := ampoule(append(args, written)...)
				var out replayed
				if err := json.Unmarshal([]byte(text), &out); err != nil {
					t.Fatal(err, text)
				}
				if code != exitOK || out.Result != replaySame || out.Outcome != string(s.Want) || len(out.Left) != 1-len(more)/2 {
					t.Errorf("exit %d: %s", code, text)
				}
				formats[out.Format] = true
			}
			// A byte of the answer is another.
			data[len(data)/2]++
			if err := os.WriteFile(written, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if code, text := ampoule(append(append([]string{"replay"}, by...), written)...); code != exitNotValid || !strings.Contains(text, replayNotGenuine) {
				t.Errorf("one byte is another: exit %d: %s", code, text)
			}
		})
	}
	for _, f := range []string{"icvp", "eu-dcc", "ddcc", "vhl", "shc", "vds-nc", "divoc"} {
		if !formats[f] {
			t.Errorf("no transcript of %s", f)
		}
	}
}
