package interop

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ampoule/bundle"
	"ampoule/format/cose"
	"ampoule/internal/keys"
	"ampoule/internal/qr"
	"ampoule/trust"
	"ampoule/web/engine"
)

// codeLike begins what a scanner reads from one of the codes in the vectors.
var codeLike = regexp.MustCompile(`(?i)^(hc[0-9]:|shc:/|shlink:|vhlink:|nl[0-9]:|\{"data":|\{\s*"hdr")`)

// harvest finds all texts of codes and all certificates in the vectors, whatever
// they are for: in files of text and JSON, and in pictures.
type harvest struct {
	texts, certificates map[string]bool
}

func (h *harvest) file(t *testing.T, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case qr.IsPicture(data):
		texts, err := qr.Read(data)
		if err != nil {
			return // some are made to be unreadable
		}
		for _, s := range texts {
			h.texts[s] = true
		}
	case strings.HasSuffix(path, ".jsonl"):
		for line := range bytes.Lines(data) {
			h.json(line)
		}
	case strings.HasSuffix(path, ".json"):
		h.json(data)
	default:
		for line := range strings.Lines(string(data)) {
			h.text(strings.TrimRight(line, "\r\n"))
		}
	}
}

func (h *harvest) json(data []byte) {
	if codeLike.Match(data) {
		h.texts[string(data)] = true // seals are JSON themselves
	}
	var v any
	if json.Unmarshal(data, &v) == nil {
		h.walk(v)
	}
}

func (h *harvest) walk(v any) {
	switch v := v.(type) {
	case string:
		h.text(v)
	case []any:
		for _, e := range v {
			h.walk(e)
		}
	case map[string]any:
		for _, e := range v {
			h.walk(e)
		}
	}
}

func (h *harvest) text(s string) {
	if codeLike.MatchString(s) {
		h.texts[s] = true
		return
	}
	if strings.HasPrefix(s, "MII") {
		if der, err := base64.StdEncoding.DecodeString(s); err == nil {
			if _, err := trust.NewKey(der); err == nil {
				h.certificates[string(der)] = true
			}
		}
	}
}

// TestEngine: the engine of the verifier's page, WebAssembly under Node, answers
// with the bytes of the Go code of this machine: for every code of the vectors, by
// trust data with every certificate of the vectors, as of days on which they were
// valid, expired and not yet issued.
func TestEngine(t *testing.T) {
	root := vectors(t)
	wasm, err := filepath.Abs("../web/gen/engine.wasm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(wasm); err != nil {
		t.Skip("the engine is not built: run make build")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("there is no Node to run the engine in")
	}

	h := harvest{map[string]bool{}, map[string]bool{}}
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && slices.Contains([]string{".json", ".jsonl", ".txt", ".png", ".csv"}, filepath.Ext(path)) {
			h.file(t, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	native := &engine.Engine{Now: time.Now}
	if err := native.Pin(h.bundle(t, dir)); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(filepath.Join(dir, "bundle.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := native.Accept(file)
	if err != nil {
		t.Fatal(err)
	}

	type testCase struct {
		Texts   [][]byte       `json:"texts"`
		Options engine.Options `json:"options"`
	}
	var cases []testCase
	times := []time.Time{time.Date(2021, 6, 1, 12, 0, 0, 0, time.UTC), time.Date(2022, 2, 1, 12, 0, 0, 0, time.UTC), time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)}
	for _, text := range slices.Sorted(maps.Keys(h.texts)) {
		for i, at := range times {
			cases = append(cases, testCase{[][]byte{[]byte(text)}, engine.Options{At: at, Show: i != 1, Arrival: "AT"}})
		}
		// Damaged on the way: the last character is gone, and one in the middle is another.
		for _, damaged := range []string{text[:len(text)-1], text[:len(text)/2] + "Q" + text[len(text)/2+1:]} {
			cases = append(cases, testCase{[][]byte{[]byte(damaged)}, engine.Options{At: times[0], Show: true}})
		}
	}
	var input bytes.Buffer
	for _, c := range cases {
		line, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		input.Write(append(line, '\n'))
	}
	if err := os.WriteFile(filepath.Join(dir, "cases.jsonl"), input.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(node, "../web/test/engine.mjs", wasm, dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}

	outcomes := map[string]int{}
	answers := bufio.NewScanner(bytes.NewReader(out))
	answers.Buffer(nil, 1<<24)
	differ := 0
	for _, c := range cases {
		if !answers.Scan() {
			t.Fatal("the engine stopped early")
		}
		var got string
		if err := json.Unmarshal(answers.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		want := string(native.Verify([]string{string(c.Texts[0])}, c.Options))
		if got != want {
			if differ++; differ <= 5 {
				t.Errorf("%.60q as of %s:\nwasm   %s\nnative %s", c.Texts[0], c.Options.At, got, want)
			}
		}
		if i := strings.Index(want, `"outcome":"`); i >= 0 {
			word, _, _ := strings.Cut(want[i+len(`"outcome":"`):], `"`)
			outcomes[word]++
		}
	}
	t.Logf("%d texts, %d keys, %d verdicts, %d differences; %v", len(h.texts), info.Keys, len(cases), differ, outcomes)
	if len(h.texts) < 100 || outcomes["valid"] < 10 || len(outcomes) < 6 {
		t.Error("the vectors show too little")
	}
}

// bundle writes one with every certificate, and returns its root.
func (h *harvest) bundle(t *testing.T, dir string) []byte {
	t.Helper()
	signer, err := keys.NewBundleRoot(cose.ES256, time.Time{}, time.Time{}, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	root, err := signer.Signer().Root()
	if err != nil {
		t.Fatal(err)
	}
	in := bundle.Input{Maker: "XXA", Issued: time.Now(), Next: time.Now().AddDate(0, 0, 1), Signers: []bundle.Root{root}}
	for _, der := range slices.Sorted(maps.Keys(h.certificates)) {
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Trust, Name: "vector", Data: []byte(der)})
	}
	made, _, err := bundle.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	file, err := bundle.Sign(rand.Reader, made, signer.Signer())
	if err != nil {
		t.Fatal(err)
	}
	public, err := bundle.EncodeRoots(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"bundle.cbor": file, "root.pem": public} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return public
}
