package qr

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestVectors reads the pictures of the EU's public test data, when the
// environment variable AMPOULE_VECTORS names the folder that holds them: the
// step files of dgc-testdata (2DCODE and PREFIX) and the pictures of
// dcc-quality-assurance with a JSON of the same name (prefix).
func TestVectors(t *testing.T) {
	root := os.Getenv("AMPOULE_VECTORS")
	if root == "" {
		t.Skip("AMPOULE_VECTORS is not set")
	}
	root = filepath.Join(root, "eu-dcc")
	pictures, read := 0, 0
	check := func(name string, picture []byte, want string) {
		pictures++
		got, err := Read(picture)
		switch {
		case err != nil:
			t.Logf("%s: %v", name, err)
		case !slices.Contains(got, want):
			t.Logf("%s: got %.60q, want %.60q", name, got, want)
		default:
			read++
		}
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var step struct {
			Code     string `json:"2DCODE"`
			Text     string `json:"PREFIX"`
			QA       string `json:"prefix"`
			Expected struct {
				Picture *bool `json:"EXPECTEDPICTUREDECODE"`
			} `json:"EXPECTEDRESULTS"`
		}
		if json.Unmarshal(data, &step) != nil {
			return nil // not a file of this layout
		}
		name, _ := filepath.Rel(root, path)
		switch picture, err := os.ReadFile(strings.TrimSuffix(path, ".json") + ".png"); {
		case step.Code != "" && (step.Expected.Picture == nil || *step.Expected.Picture):
			picture, err := base64.StdEncoding.DecodeString(step.Code)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return nil
			}
			check(name, picture, step.Text)
		case err == nil:
			want := step.QA
			if want == "" {
				want = step.Text
			}
			check(name, picture, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("read %d of %d pictures", read, pictures)
	if pictures == 0 || 100*read < 99*pictures {
		t.Errorf("read %d of %d pictures, want 99 %%", read, pictures)
	}
}
