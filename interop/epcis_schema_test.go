package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"ampoule/format/epcis"
)

// not is a pattern that must not match, which Go's regular expressions do not have.
type not struct{ *regexp.Regexp }

func (n not) MatchString(s string) bool { return !n.Regexp.MatchString(s) }

// TestEPCISSchema holds what we find in documents against the published schema: in the
// examples, and in each of them with one member left out, or of another type.
func TestEPCISSchema(t *testing.T) {
	dir := os.Getenv("AMPOULE_VECTORS")
	if dir == "" {
		t.Skip("AMPOULE_VECTORS is not set: nothing was held against the schema")
	}
	dir = filepath.Join(dir, "epcis")
	data, err := os.ReadFile(filepath.Join(dir, "schema", "EPCIS-JSON-Schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		if inner, ok := strings.CutPrefix(s, "^(?!"); ok && strings.HasSuffix(inner, ")") {
			r, err := regexp.Compile("^" + inner[:len(inner)-1])
			return not{r}, err
		}
		return regexp.Compile(s)
	})
	if err := c.AddResource("epcis.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("epcis.json")
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	apart := map[string]int{}
	judge := func(what string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		again, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		cases++
		theirs := schema.Validate(again) == nil
		_, findings, err := epcis.Parse(text)
		ours := err == nil && len(findings) == 0
		if ours != theirs {
			apart[fmt.Sprintf("%s: schema %v, ours %v %v", what, theirs, ours, findings)]++
		}
	}
	err = filepath.WalkDir(filepath.Join(dir, "examples"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".jsonld") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var root any
		if err := json.Unmarshal(text, &root); err != nil {
			return err
		}
		judge("example "+entry.Name(), root)
		var walk func(v any, at string)
		walk = func(v any, at string) {
			switch v := v.(type) {
			case map[string]any:
				var names []string
				for name := range v {
					names = append(names, name)
				}
				slices.Sort(names)
				for _, name := range names {
					if name == "@context" {
						continue
					}
					was, where := v[name], at+"."+name
					delete(v, name)
					judge("without "+where, root)
					for kind, other := range map[string]any{"number": 7.5, "word": "no such word", "list": []any{}, "object": map[string]any{}, "truth": true} {
						v[name] = other
						judge(kind+" at "+where, root)
					}
					v[name] = was
					walk(was, where)
				}
			case []any:
				for _, item := range v {
					walk(item, at+"[]")
				}
			}
		}
		walk(root, "")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d documents", cases)
	var all []string
	for what, n := range apart {
		all = append(all, fmt.Sprintf("%s (%d)", what, n))
	}
	slices.Sort(all)
	for _, a := range all {
		t.Error(a)
	}
}
