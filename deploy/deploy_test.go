// Package deploy_test holds what is delivered beside the binary against what the
// binary is and knows.
package deploy_test

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"ampoule/internal/config"
)

// built makes the binary as a release does, once, and is its path.
var built = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("ampoule-deploy-test-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-trimpath", "-o", path, "../cmd/ampoule")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func build(t *testing.T) string {
	t.Helper()
	path, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("ampoule-deploy-test-%d", os.Getpid())))
	os.Exit(code)
}

// TestUnits: systemd itself reads the units, and says how much they leave open.
func TestUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed (Debian: apt-get install systemd): the units were NOT checked")
	}
	level := regexp.MustCompile(`Overall exposure level for \S+: (\d+\.\d)`)
	units, err := filepath.Glob("systemd/*.service")
	if err != nil || len(units) < 2 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	for _, unit := range units {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			out, err := exec.Command(analyze, "security", "--offline=yes", "--no-pager", unit).CombinedOutput()
			m := level.FindSubmatch(out)
			if err != nil || m == nil {
				t.Fatalf("%v: %s", err, out)
			}
			if exposed, _ := strconv.ParseFloat(string(m[1]), 64); exposed > 2.0 {
				t.Errorf("exposure %s", m[1])
			}
			// Every command must be there, for verify: the programs of this release are
			// put where this test can.
			text, err := os.ReadFile(unit)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			program := filepath.Join(dir, "program")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/usr/bin/ampoule", "/usr/share/ampoule/systemd/ampoule-backup"} {
				text = bytes.ReplaceAll(text, []byte("="+path+" "), []byte("="+program+" "))
			}
			text = regexp.MustCompile(`(?m)^Documentation=.*\n`).ReplaceAll(text, nil)
			copied := filepath.Join(dir, filepath.Base(unit))
			if err := os.WriteFile(copied, text, 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(analyze, "verify", "--man=no", copied).CombinedOutput(); err != nil || len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("verify: %v: %s", err, out)
			}
		})
	}
	if out, err := exec.Command(analyze, "calendar", "*-*-* 02:30").CombinedOutput(); err != nil {
		t.Errorf("the time of the backup: %s", out)
	}
}

// TestSettings: no file names a setting that there is not.
func TestSettings(t *testing.T) {
	name := regexp.MustCompile(`AMPOULE_[A-Z_]+`)
	found := 0
	for _, path := range []string{"systemd/ampoule.service", "systemd/ampoule-backup.service", "container/Containerfile", "container/compose.yml"} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		environ := []string{"AMPOULE_STORE_DIR=/x"}
		for _, n := range name.FindAllString(string(text), -1) {
			found++
			if n != "AMPOULE_LISTEN" && n != "AMPOULE_STORE_DIR" {
				environ = append(environ, n+"=x")
			}
		}
		if _, _, err := config.Load(config.Source{Environ: environ}); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if found < 8 {
		t.Errorf("%d settings", found)
	}
	text, err := os.ReadFile("ampoule.toml")
	if err != nil {
		t.Fatal(err)
	}
	// What is commented out must be right, too.
	for _, text := range [][]byte{text, regexp.MustCompile(`(?m)^# (\[|[a-z]+ = )`).ReplaceAll(text, []byte("$1"))} {
		if _, _, err := config.Load(config.Source{FileName: "ampoule.toml", File: text}); err != nil {
			t.Error(err)
		}
	}
}

// TestContainer: what is copied into the empty image is all that the binary needs.
func TestContainer(t *testing.T) {
	text, err := os.ReadFile("container/Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	var from, user, entry string
	for line := range strings.Lines(string(text)) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "FROM":
			from += rest
		case "USER":
			user = rest
		case "RUN", "ADD":
			t.Errorf("%s: there is nothing in the image to run, and nothing to fetch", word)
		case "ENTRYPOINT":
			entry = rest
		case "COPY":
			fields := strings.Fields(rest)
			source := fields[len(fields)-2]
			if source == "${BINARY}" {
				continue
			}
			if _, err := os.Stat(filepath.Join("..", source)); err != nil {
				t.Error(err)
			}
		}
	}
	if uid, _, _ := strings.Cut(user, ":"); from != "scratch" || entry != `["/usr/bin/ampoule"]` || len(uid) < 4 || strings.Trim(uid, "0123456789") != "" {
		t.Errorf("from %q, user %q, entry %q", from, user, entry)
	}
	if runtime.GOOS != "linux" {
		t.Skip("the binary of another system is not looked at")
	}
	f, err := elf.Open(build(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary asks for an interpreter: it is not static")
		}
	}
	if libraries, err := f.ImportedLibraries(); err == nil && len(libraries) > 0 {
		t.Errorf("the binary needs %q", libraries)
	}
}

// TestCompose: the example is YAML, and names a volume and a secret that are there.
func TestCompose(t *testing.T) {
	text, err := os.ReadFile("container/compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	var c struct {
		Services map[string]struct {
			ReadOnly bool `yaml:"read_only"`
			Secrets  []string
			Volumes  []string
		}
		Volumes, Secrets map[string]any
	}
	if err := yaml.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 2 || !c.Services["ampoule"].ReadOnly {
		t.Errorf("%+v", c.Services)
	}
	for name, s := range c.Services {
		for _, secret := range s.Secrets {
			if _, ok := c.Secrets[secret]; !ok {
				t.Errorf("%s: secret %s", name, secret)
			}
		}
		for _, v := range s.Volumes {
			if volume, _, _ := strings.Cut(v, ":"); c.Volumes[volume] == nil {
				t.Errorf("%s: volume %s", name, volume)
			}
		}
	}
}

// TestSBOM lists what is in the binary, and twice the same.
func TestSBOM(t *testing.T) {
	binary := build(t)
	sbom := func() []byte {
		cmd := exec.Command("go", "run", "./sbom", "-version", "1.2.3", "-lock", "../web/package-lock.json", binary)
		cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000")
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := sbom()
	if !bytes.Equal(first, sbom()) {
		t.Error("the same binary gives two lists")
	}
	var b struct {
		Format       string `json:"bomFormat"`
		SerialNumber string
		Components   []struct {
			Name, Version, Scope, PURL string
			Ref                        string `json:"bom-ref"`
		}
	}
	if err := json.Unmarshal(first, &b); err != nil {
		t.Fatal(err)
	}
	if b.Format != "CycloneDX" || !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(b.SerialNumber) {
		t.Errorf("%s %s", b.Format, b.SerialNumber)
	}
	refs, names := make(map[string]bool), make(map[string]string)
	for _, c := range b.Components {
		if refs[c.Ref] || c.Version == "" || c.PURL == "" {
			t.Errorf("%+v", c)
		}
		refs[c.Ref], names[c.Name] = true, c.Scope
	}
	for name, scope := range map[string]string{"std": "required", "modernc.org/sqlite": "required", "filippo.io/age": "required", "svelte": "required", "zxing-wasm": "required", "vite": "excluded"} {
		if names[name] != scope {
			t.Errorf("%s is %q, want %q", name, names[name], scope)
		}
	}
}
