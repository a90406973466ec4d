package vhl

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"ampoule/format/deflate"
	"ampoule/format/strictjson"

	"github.com/google/go-cmp/cmp"
)

var fileKey = [32]byte{1, 2, 3}

func raw64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// seal makes the file of a link.
func seal(t testing.TB, header string, content []byte) string {
	t.Helper()
	block, err := aes.NewCipher(fileKey[:])
	if err != nil {
		t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	nonce := []byte("twelve bytes")
	sealed := gcm.Seal(nil, nonce, content, []byte(raw64([]byte(header))))
	return raw64([]byte(header)) + ".." + raw64(nonce) + "." + raw64(sealed[:len(content)]) + "." + raw64(sealed[len(content):])
}

const fileHeader = `{"alg":"dir","enc":"A256GCM","cty":"application/fhir+json"}`

func TestDecryptFile(t *testing.T) {
	text := []byte(`{"resourceType":"Bundle"}`)
	packed, err := deflate.Deflate(text)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, jwe string
		kind      string
	}{
		{"plain", seal(t, fileHeader, text), "application/fhir+json"},
		{"a line after", seal(t, fileHeader, text) + "\n", "application/fhir+json"},
		{"compressed", seal(t, `{"alg":"dir","enc":"A256GCM","zip":"DEF","kid":"1"}`, packed), ""},
	} {
		f, err := DecryptFile(tc.jwe, fileKey)
		if err != nil || f.ContentType != tc.kind || !bytes.Equal(f.Data, text) {
			t.Errorf("%s: %+v %v", tc.name, f, err)
		}
	}
	good := seal(t, fileHeader, text)
	part := strings.Split(good, ".")
	join := func(edit func(p []string)) string {
		p := strings.Split(good, ".")
		edit(p)
		return strings.Join(p, ".")
	}
	bomb, err := deflate.Deflate(make([]byte, MaxFile+1))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, jwe string
		want      error
	}{
		{"empty", "", ErrNotJWE},
		{"four parts", strings.Join(part[:4], "."), ErrNotJWE},
		{"an encrypted key", join(func(p []string) { p[1] = "AAAA" }), ErrNotJWE},
		{"no base64url", join(func(p []string) { p[3] += "=" }), ErrNotJWE},
		{"a short nonce", join(func(p []string) { p[2] = "AAAA" }), ErrNotJWE},
		{"a short tag", join(func(p []string) { p[4] = p[4][:16] }), ErrNotJWE},
		{"another tag", join(func(p []string) { p[4] = raw64(make([]byte, 16)) }), ErrDecrypt},
		{"another nonce", join(func(p []string) { p[2] = raw64(make([]byte, 12)) }), ErrDecrypt},
		{"another header", join(func(p []string) { p[0] = raw64([]byte(`{"alg":"dir","enc":"A256GCM"}`)) }), ErrDecrypt},
		{"alg none", seal(t, `{"alg":"none","enc":"A256GCM"}`, text), ErrJWEHeader},
		{"alg A256KW", seal(t, `{"alg":"A256KW","enc":"A256GCM"}`, text), ErrJWEHeader},
		{"enc A128GCM", seal(t, `{"alg":"dir","enc":"A128GCM"}`, text), ErrJWEHeader},
		{"zip GZ", seal(t, `{"alg":"dir","enc":"A256GCM","zip":"GZ"}`, text), ErrJWEHeader},
		{"cty 7", seal(t, `{"alg":"dir","enc":"A256GCM","cty":7}`, text), ErrJWEHeader},
		{"crit", seal(t, `{"alg":"dir","enc":"A256GCM","crit":["x"],"x":1}`, text), ErrCritical},
		{"header of no object", seal(t, `[]`, text), ErrJWEHeader},
		{"alg twice", seal(t, `{"alg":"dir","alg":"dir","enc":"A256GCM"}`, text), strictjson.ErrDuplicateName},
		{"cut", seal(t, `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`, packed[:9]), deflate.ErrTruncated},
		{"a bomb", seal(t, `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`, bomb), deflate.ErrTooLarge},
		{"a large text", strings.Repeat("A", MaxFile+1), deflate.ErrTooLarge},
	} {
		if _, err := DecryptFile(tc.jwe, fileKey); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
	}
	if _, err := DecryptFile(good, [32]byte{}); !errors.Is(err, ErrDecrypt) {
		t.Errorf("another key: %v", err)
	}
}

func TestParseManifest(t *testing.T) {
	got, err := ParseManifest([]byte(`{"files":[{"contentType":"application/fhir+json","location":"https://a.example/1"},{"embedded":"a..b.c.d","lastUpdated":"x"}],"status":"finalized"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []ManifestFile{{ContentType: "application/fhir+json", Location: "https://a.example/1"}, {Embedded: "a..b.c.d"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for in, want := range map[string]error{
		`[]`: ErrManifest, `{}`: ErrManifest, `{"files":{}}`: ErrManifest, `{"files":[7]}`: ErrManifest, `{"files":[{}]}`: ErrManifest,
		`{"files":[{"location":7}]}`:                                    ErrManifest,
		`{"files":[{"location":"http://a.example"}]}`:                   ErrURL,
		`{"files":[{"location":"https://u:p@a.example"}]}`:              ErrURL,
		`{"files":[{"location":"file:///etc/passwd"}]}`:                 ErrURL,
		`{"files":[],"files":[]}`:                                       strictjson.ErrDuplicateName,
		`{"files":[` + strings.Repeat(`{"embedded":"a"},`, 256) + `0]}`: ErrManifest,
	} {
		if _, err := ParseManifest([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%.60s: %v, want %v", in, err, want)
		}
	}
}

func FuzzDecryptFile(f *testing.F) {
	f.Add(seal(f, fileHeader, []byte("content")))
	f.Add(seal(f, `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`, []byte{1, 0, 0, 255, 255}))
	f.Add("a..b.c.d")
	f.Fuzz(func(t *testing.T, jwe string) {
		file, err := DecryptFile(jwe, fileKey)
		if (file == nil) != (err != nil) {
			t.Errorf("%+v, %v", file, err)
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"files":[{"contentType":"application/fhir+json","location":"https://a.example/1","embedded":"x"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		files, err := ParseManifest(data)
		for _, m := range files {
			if err == nil && m.Location == "" && m.Embedded == "" {
				t.Errorf("%+v", m)
			}
		}
	})
}
