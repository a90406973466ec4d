package vhl

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

const good = `{"url":"https://sharer.example/List/_search?_id=abc123","key":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","exp":1798761600,"flag":"LP","label":"Zusammenfassung ü","v":1,"extension":{"a":[1.50]}}`

func link(payload string) string {
	return "vhlink:/" + base64.RawURLEncoding.EncodeToString([]byte(payload))
}

func want() *Link {
	l := &Link{
		Kind: KindVHL, URL: "https://sharer.example/List/_search?_id=abc123", Expires: time.Unix(1798761600, 0).UTC(),
		LongTerm: true, Passcode: true, Label: "Zusammenfassung ü", Extension: json.RawMessage(`{"a":[1.50]}`),
	}
	for i := range l.Key {
		l.Key[i] = 7
	}
	return l
}

func TestParse(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		edit     func(l *Link)
	}{
		{"plain", link(good), func(*Link) {}},
		{"white space around", " \n" + link(good) + "\r\n", func(*Link) {}},
		{"SMART", strings.Replace(link(good), "vhlink", "shlink", 1), func(l *Link) { l.Kind = KindSHL }},
		{"viewer", "https://viewer.example/a?b=c#" + link(good), func(l *Link) { l.Viewer = "https://viewer.example/a?b=c" }},
		{"unknown member", link(strings.Replace(good, `"v":1`, `"v":1,"more":{}`, 1)), func(*Link) {}},
		{"no version", link(strings.Replace(good, `,"v":1`, ``, 1)), func(*Link) {}},
		{"fraction", link(strings.Replace(good, `1798761600`, `1798761600.75`, 1)), func(*Link) {}},
		{"exponent", link(strings.Replace(good, `1798761600`, `1.7987616e9`, 1)), func(*Link) {}},
		{"flag U", link(strings.Replace(good, `"LP"`, `"LU"`, 1)), func(l *Link) { l.Passcode, l.Direct = false, true }},
		{"empty flag", link(strings.Replace(good, `"LP"`, `""`, 1)), func(l *Link) { l.LongTerm, l.Passcode = false, false }},
		{"label of 80", link(strings.Replace(good, "Zusammenfassung ü", strings.Repeat("ü", 80), 1)), func(l *Link) { l.Label = strings.Repeat("ü", 80) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			w := want()
			tc.edit(w)
			if diff := cmp.Diff(w, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		want     error
	}{
		{"empty", "", ErrScheme},
		{"other scheme", strings.Replace(link(good), "vhlink:/", "https://", 1), ErrScheme},
		{"upper case", strings.Replace(link(good), "vhlink", "VHLINK", 1), ErrScheme},
		{"scheme behind text", "x" + link(good), ErrScheme},
		{"http viewer", "http://viewer.example/#" + link(good), ErrViewer},
		{"no viewer", "#" + link(good), ErrViewer},
		{"two fragments", "https://viewer.example/#a#" + link(good), ErrScheme},
		{"too long", "vhlink:/" + strings.Repeat("A", MaxText), ErrTooLong},
		{"padding", link(good) + "=", ErrEncoding},
		{"standard alphabet", "vhlink:/+/+/", ErrEncoding},
		{"line break inside", "vhlink:/e\n30", ErrEncoding},
		{"no JSON", link("x"), strictjson.ErrMalformed},
		{"array", link("[]"), ErrPayload},
		{"url twice", link(strings.Replace(good, `"v":1`, `"url":"https://evil.example/","v":1`, 1)), strictjson.ErrDuplicateName},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := Parse(tc.in); !errors.Is(err, tc.want) {
				t.Errorf("Parse = %v, want %v", err, tc.want)
			}
		})
	}
	const url, key = `"https://sharer.example/List/_search?_id=abc123"`, `"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"`
	for _, tc := range []struct {
		old, new string
		want     error
	}{
		{`"url":` + url + `,`, ``, ErrPayload},
		{url, `7`, ErrPayload},
		{url, `""`, ErrURL},
		{url, `"http://sharer.example/"`, ErrURL},
		{url, `"//sharer.example/"`, ErrURL},
		{url, `"/List"`, ErrURL},
		{url, `"https://"`, ErrURL},
		{url, `"https:sharer.example"`, ErrURL},
		{url, `"https://:443/"`, ErrURL},
		{url, `"https://who.int@evil.example/"`, ErrURL},
		{url, `"https://who.int:x@evil.example/"`, ErrURL},
		{url, `"https://sharer.example/a b"`, ErrURL},
		{url, `"https://sharer.example/\n"`, ErrURL},
		{url, `"https://sharer.ex\u00e4mple/"`, ErrURL},
		{url, `"https://sharer.example/` + strings.Repeat("a", MaxURL) + `"`, ErrURL},
		{url, `"javascript:alert(1)"`, ErrURL},
		{`"key":` + key + `,`, ``, ErrPayload},
		{key, `"BwcHBw"`, ErrKey},
		{key, `"` + strings.Repeat("A", 44) + `"`, ErrKey},
		{key, strings.Replace(key, `c"`, `c="`, 1), ErrKey},
		{key, strings.Replace(key, `wc"`, `wd"`, 1), ErrKey},
		{`1798761600`, `"1798761600"`, ErrExp},
		{`1798761600`, `null`, ErrExp},
		{`1798761600`, `-1`, ErrExp},
		{`1798761600`, `1e999`, ErrExp},
		{`1798761600`, `253402300800`, ErrExp},
		{`"LP"`, `"PL"`, ErrFlag},
		{`"LP"`, `"LL"`, ErrFlag},
		{`"LP"`, `"lp"`, ErrFlag},
		{`"LP"`, `"LPU"`, ErrFlag},
		{`"LP"`, `"X"`, ErrFlag},
		{`"LP"`, `["L"]`, ErrPayload},
		{`Zusammenfassung ü`, strings.Repeat("ü", 81), ErrLabel},
		{`Zusammenfassung ü`, `a\u0000b`, ErrLabel},
		{`"Zusammenfassung ü"`, `{}`, ErrPayload},
		{`"v":1`, `"v":2`, ErrVersion},
		{`"v":1`, `"v":"1"`, ErrVersion},
		{`{"a":[1.50]}`, `"x"`, ErrPayload},
	} {
		in := strings.Replace(good, tc.old, tc.new, 1)
		if _, err := Parse(link(in)); in == good || !errors.Is(err, tc.want) {
			t.Errorf("%s for %s: %v, want %v", tc.new, tc.old, err, tc.want)
		}
	}
}

func TestExpired(t *testing.T) {
	l := want()
	if l.Expired(l.Expires.Add(-time.Second)) || !l.Expired(l.Expires) {
		t.Error("a link lasts up to, and not including, its end")
	}
	if (&Link{}).Expired(time.Unix(1<<40, 0)) {
		t.Error("a link without end has ended")
	}
}

// The key and the path open the documents: neither may reach a log by %v.
func TestStringShowsNoSecret(t *testing.T) {
	if got := want().String(); got != "vhl at sharer.example" {
		t.Errorf("String() = %q", got)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, tc := range []struct {
		edit func(l *Link)
		want error
	}{
		{func(l *Link) { l.Kind = "" }, ErrScheme},
		{func(l *Link) { l.URL = "http://a.example/" }, ErrURL},
		{func(l *Link) { l.Viewer = "https://v.example/#" }, ErrScheme},
		{func(l *Link) { l.Viewer = "v" }, ErrViewer},
		{func(l *Link) { l.Direct = true }, ErrFlag},
		{func(l *Link) { l.Label = "a\xff" }, ErrLabel},
		{func(l *Link) { l.Expires = time.Unix(0, 0) }, ErrExp},
		{func(l *Link) { l.Extension = json.RawMessage(`[]`) }, ErrPayload},
		{func(l *Link) { l.Extension = json.RawMessage(`{`) }, ErrPayload},
	} {
		l := want()
		tc.edit(l)
		if text, err := l.Encode(); !errors.Is(err, tc.want) || text != "" {
			t.Errorf("%+v: %q, %v, want %v", l, text, err, tc.want)
		}
	}
}

// The link inside a published-shape certificate of the shared vectors.
func TestVector(t *testing.T) {
	dir := os.Getenv("AMPOULE_VECTORS")
	if dir == "" {
		dir = "../../../shared/vectors"
	}
	data, err := os.ReadFile(filepath.Join(dir, "who-hcert", "synthetic", "pos-vhl-claim-5-array.json"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skipf("no vectors (set AMPOULE_VECTORS): %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(data), `"vhlink:/`)
	payload, _, _ := strings.Cut(rest, `"`)
	if !found {
		t.Fatal("no link in the vector")
	}
	l, err := Parse("vhlink:/" + payload)
	if err != nil {
		t.Fatal(err)
	}
	if l.Label != "Synthetic summary" || !l.Passcode || l.Key[31] != 7 || l.Expires.Unix() != 1798761600 {
		t.Errorf("%+v", l)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(link(good))
	f.Add("https://viewer.example/#" + strings.Replace(link(good), "v", "s", 1))
	f.Add(link(`{"url":"https://a","key":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","exp":1,"flag":"U"}`))
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Parse(text)
		if err != nil {
			return
		}
		out, err := l.Encode()
		if errors.Is(err, ErrExp) && l.Expires.Unix() == 0 {
			return // readable, but nothing that we would write
		}
		if errors.Is(err, ErrTooLong) {
			return // JSON escapes may make it longer than it was
		}
		if err != nil {
			t.Fatalf("parsed, but does not encode: %v", err)
		}
		again, err := Parse(out)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(l, again); diff != "" {
			t.Error(diff)
		}
	})
}
