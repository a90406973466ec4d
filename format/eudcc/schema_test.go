package eudcc

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"ampoule/format"
	"ampoule/format/cbor"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// published returns the folder of the EU's published data, which are not part
// of the project, or skips the test.
func published(t *testing.T) string {
	t.Helper()
	root := os.Getenv("AMPOULE_VECTORS")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "vectors")
	}
	root = filepath.Join(root, "eu-dcc")
	if _, err := os.Stat(root); err != nil {
		t.Skipf("published vectors are absent (set AMPOULE_VECTORS): %v", err)
	}
	return root
}

// schemas compiles the published JSON schemas, by version.
func schemas(t *testing.T, root string) map[string]*jsonschema.Schema {
	t.Helper()
	all := make(map[string]*jsonschema.Schema)
	for _, version := range versions {
		data, err := os.ReadFile(filepath.Join(root, "schema", version+".json"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource(version, doc); err != nil {
			t.Fatal(err)
		}
		if all[version], err = c.Compile(version); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// bySchema is the published judgement of a payload: the schema of its version,
// and exactly one entry in the three groups, which the schemas before 1.3.0 left
// to the rules for verifiers.
func bySchema(all map[string]*jsonschema.Schema, doc any) bool {
	m, _ := doc.(map[string]any)
	version, _ := m["ver"].(string)
	schema, ok := all[version]
	if !ok {
		schema = all[LatestVersion]
	}
	if schema.Validate(doc) != nil {
		return false
	}
	entries := 0
	for _, key := range []string{"v", "t", "r"} {
		group, _ := m[key].([]any)
		entries += len(group)
	}
	return entries == 1
}

// strictly is our judgement: no finding, but for text that only looks wrong.
func strictly(t *testing.T, v cbor.Value) (bool, []format.Finding) {
	t.Helper()
	_, findings := Decode(v)
	return !slices.ContainsFunc(findings, func(f format.Finding) bool { return f.Reason != format.SuspiciousText }), findings
}

// fromJSON encodes a decoded JSON value as CBOR.
func fromJSON(dst []byte, x any) []byte {
	switch x := x.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(x.String(), 10, 64); err == nil {
			return cbor.AppendInt(dst, n)
		}
		f, _ := x.Float64() // beyond the range it is infinite, as in JavaScript
		return encode(dst, f)
	case []any:
		dst = cbor.AppendArray(dst, len(x))
		for _, e := range x {
			dst = fromJSON(dst, e)
		}
		return dst
	case map[string]any:
		dst = cbor.AppendMap(dst, len(x))
		for _, k := range slices.Sorted(maps.Keys(x)) {
			dst = fromJSON(cbor.AppendText(dst, k), x[k])
		}
		return dst
	}
	return encode(dst, x) // text, bool, null
}

// noSuchDay tells why the schema accepts what Decode refuses on purpose: its
// pattern for dob counts digits only, so that it knows no months or days.
func noSuchDay(doc any) bool {
	m, _ := doc.(map[string]any)
	dob, ok := m["dob"].(string)
	return ok && dob != "" && !format.IsPartialDate(dob)
}

// TestPublishedPayloads compares the two judgements on every published payload,
// as JSON and as CBOR.
func TestPublishedPayloads(t *testing.T) {
	root := published(t)
	all := schemas(t, root)
	compared, refused := 0, 0
	compare := func(t *testing.T, what string, doc any, v cbor.Value) {
		t.Helper()
		want := bySchema(all, doc)
		if got, findings := strictly(t, v); got != want && !(want && noSuchDay(doc)) {
			t.Errorf("%s: by the schema %v, by Decode %v: %v", what, want, got, findings)
		}
		compared++
		if !want {
			refused++
		}
	}
	read := func(t *testing.T, path string, into any) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
		d.UseNumber()
		if err := d.Decode(into); err != nil {
			t.Fatal(err)
		}
	}
	walk := func(folder string, each func(t *testing.T, path string)) {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
				return err
			}
			name, _ := filepath.Rel(root, path)
			t.Run(name, func(t *testing.T) { each(t, path) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	walk("dgc-testdata", func(t *testing.T, path string) {
		var file struct {
			JSON any
			CBOR string
		}
		read(t, path, &file)
		if file.JSON != nil {
			compare(t, "JSON", file.JSON, parse(t, fromJSON(nil, file.JSON)))
		}
		data, err := hex.DecodeString(file.CBOR)
		if err != nil {
			t.Fatal(err)
		}
		v, err := cbor.Parse(data, cbor.DefaultLimits)
		if err != nil {
			return // some files are broken on purpose at this layer
		}
		// The member is the whole CWT or the certificate alone.
		if inside := v.GetInt(-260).GetInt(1); inside.Exists() {
			v = inside
		}
		d := json.NewDecoder(bytes.NewReader(v.AppendJSON(nil)))
		d.UseNumber()
		var doc any
		if err := d.Decode(&doc); err != nil {
			t.Fatal(err)
		}
		compare(t, "CBOR", doc, v)
	})
	walk("qa", func(t *testing.T, path string) {
		var file struct {
			Claims map[string]any
		}
		read(t, path, &file)
		hcert, _ := file.Claims["-260"].(map[string]any)
		if doc, ok := hcert["1"]; ok {
			compare(t, "claims", doc, parse(t, fromJSON(nil, doc)))
		}
	})
	if compared < 700 || refused < 30 {
		t.Errorf("only %d payloads, %d of them refused", compared, refused)
	}
	t.Logf("%d payloads, %d refused by both", compared, refused)
}

// TestChangedPayloads compares the two judgements on payloads that nobody
// publishes: each value of each group and version replaced by each of many.
func TestChangedPayloads(t *testing.T) {
	all := schemas(t, published(t))
	text := strings.Repeat
	values := []any{
		nil, true, 0, 1, 9, 10, -1, 1 << 40, 1.0, 1.5, 1e300, "", " ", "A", "a", "1", "A B", "É", "<", "AB<CD",
		text("A", 50), text("A", 51), text("A", 80), text("A", 81), text("é", 50), text("é", 51), text("é", 80), text("é", 81),
		"1990", "1990-12", "1990-12-31", "1990-12-31T00:00:00", "1990-12-31T00:00:00Z", "1990-12-31t00:00:00z", "1990-12-31 00:00:00Z",
		"1990-12-31T00:00:00.5Z", "1990-12-31T00:00:00,5Z", "1990-12-31T0:00:00Z", "1990-12-31T00:00:00+02", "1990-12-31T00:00:00+0200",
		"1990-12-31T00:00:00+02:00", "1990-12-31T00:00:00-23:59", "1990-12-31T00:00:00+24:00", "1990-12-31T00:00:00+00:60", "1990-12-31T24:00:00Z",
		"1990-12-31T23:60:00Z", "1990-12-31T23:59:61Z", "1990-12-31T00:00Z", "1990-02-29", "1990-13", "1890-12-31", "1890", "2100", "2099-12-31",
		"31-12-1990", "1990-1-1", "0000-01-01", "19", "199", "1990-", "1990-12-", "1990-12-31-01",
		"1.3.0", "1.3", "1.3.2", "1.10.0", "v1.0.0", "1.3.2.1", "1.0.0",
		[]any{}, []any{"x"}, []any{nil}, object{}, object{"fnt": "A"}, object{"gnt": "A"}, object{"fn": "A"},
		[]any{vaccination()}, []any{vaccination(), vaccination()}, []any{test()}, []any{recovery()}, []any{object{}},
	}
	judge := func(t *testing.T, name string, p object) {
		t.Helper()
		v := parse(t, encode(nil, p))
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.AppendJSON(nil)))
		if err != nil {
			t.Fatal(err)
		}
		want := bySchema(all, doc)
		got, findings := strictly(t, v)
		if got == want || want && (noSuchDay(doc) || laxVersion(doc) || tooPrecise(findings)) {
			return
		}
		t.Errorf("%s: by the schema %v, by Decode %v: %v", name, want, got, findings)
	}
	// One version for each set of rules, and those without a schema of their own.
	for _, version := range []string{"", "1.4.0", "1.0.1", "1.1.0", "1.2.1", "1.3.1", "1.3.2"} {
		for group, entry := range groups {
			t.Run(version+" "+group, func(t *testing.T) {
				judge(t, "unchanged", payload(version, group, entry()))
				// change puts a value into, or takes one out of, a copy of the payload.
				change := func(where, key string, value any, remove bool) {
					p := payload(version, group, entry())
					m := map[string]object{"": p, "nam": p["nam"].(object), "entry": p[group].([]any)[0].(object)}[where]
					if remove {
						delete(m, key)
					} else {
						m[key] = value
					}
					judge(t, fmt.Sprintf("%s %s = %.60v", where, key, value), p)
				}
				keys := map[string][]string{"entry": append(slices.Collect(maps.Keys(entry())), "dr", "x")}
				if group == "v" {
					keys[""] = []string{"ver", "dob", "nam", "v", "t", "r", "x"}
					keys["nam"] = append(slices.Collect(maps.Keys(person())), "x")
				}
				for where, names := range keys {
					for _, key := range names {
						change(where, key, nil, true)
						for _, value := range values {
							change(where, key, value, false)
						}
					}
				}
			})
		}
	}
}

// laxVersion tells that the version is one only because the dots of the schema's
// pattern stand for any character.
func laxVersion(doc any) bool {
	m, _ := doc.(map[string]any)
	version, _ := m["ver"].(string)
	return regexp.MustCompile(`^\d+.\d+.\d+$`).MatchString(version) && !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(version)
}

// tooPrecise tells that the only finding is a number of doses that no int64
// holds: JSON Schema takes 1e300 for an integer.
func tooPrecise(findings []format.Finding) bool {
	return len(findings) == 1 && findings[0].Reason == format.BadType &&
		(strings.HasSuffix(findings[0].Path, ".dn") || strings.HasSuffix(findings[0].Path, ".sd"))
}

// TestSchemaDifferences pins the points in which Decode is not the schema, so
// that none is added unseen.
func TestSchemaDifferences(t *testing.T) {
	all := schemas(t, published(t))
	entry := func(group string, key string, value any) object {
		e := groups[group]()
		e[key] = value
		return payload("1.3.2", group, e)
	}
	top := func(key string, value any) object {
		p := payload("1.3.2", "v", vaccination())
		p[key] = value
		return p
	}
	for _, tt := range []struct {
		name   string
		in     object
		schema bool
		why    string
	}{
		{"day that does not exist", top("dob", "1990-02-30"), true, "the pattern counts digits"},
		{"month that does not exist", top("dob", "1990-99"), true, "the pattern counts digits"},
		{"year and two digits more", top("dob", "1990-12-31\n"), false, ""},
		{"version with another sign", top("ver", "1-3-2"), true, "the pattern's dots match anything"},
		{"version without signs", top("ver", "10302"), true, "the pattern's dots match anything"},
		{"dose beyond int64", entry("v", "dn", 1e300), true, "1e300 is an integer to JSON Schema"},
		{"leap second", entry("t", "sc", "2016-12-31T23:59:60Z"), true, "no clock here knows it"},
		{"long in form D", entry("v", "is", strings.Repeat("e\u0301", 80)), false, "length is counted in form C"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := parse(t, encode(nil, tt.in))
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(v.AppendJSON(nil)))
			if err != nil {
				t.Fatal(err)
			}
			ours, findings := strictly(t, v)
			if got := bySchema(all, doc); got != tt.schema || (ours != got) != (tt.why != "") {
				t.Errorf("by the schema %v, by Decode %v: %v", got, ours, findings)
			}
		})
	}
	if utf8.RuneCountInString(format.NFC(strings.Repeat("e\u0301", 80))) != 80 {
		t.Error("form C has another length")
	}
}
