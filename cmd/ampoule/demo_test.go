package main

import (
	"path/filepath"
	"testing"
	"time"

	"ampoule/internal/qr"
)

// Every sample gets the outcome that its card expects, as text and from its
// picture, and every format has one that is valid.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	d, err := newDemo(dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	valid := map[string]bool{}
	for _, s := range d.samples {
		t.Run(s.ID, func(t *testing.T) {
			v := d.verifier.Verify(s.Text)
			if v.Outcome != s.Want {
				t.Fatalf("%s (%s), want %s", v.Outcome, v.Reason, s.Want)
			}
			valid[v.Format] = valid[v.Format] || v.Outcome == "valid"
			data, err := readInput(filepath.Join(dir, "samples", s.ID+".png"), nil)
			if err != nil {
				t.Fatal(err)
			}
			texts, err := qr.Read(data)
			if err != nil || len(texts) != 1 || texts[0] != s.Text {
				t.Errorf("the picture: %v, %d codes", err, len(texts))
			}
		})
	}
	for _, f := range []string{"icvp", "eu-dcc", "ddcc", "vhl", "shc", "vds-nc", "divoc"} {
		if !valid[f] {
			t.Errorf("no sample of %s is valid", f)
		}
	}
}
