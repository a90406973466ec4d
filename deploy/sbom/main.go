// Sbom writes what a release is made of, as CycloneDX 1.6 in JSON: the modules that
// the linker has put into the binary (as `go version -m` shows them), the Go release
// itself, and the packages of the pages by their lock file.
//
//	go run ./deploy/sbom -version V -lock web/package-lock.json BINARY > sbom.json
//
// The same binary gives the same bytes: the time is that of SOURCE_DATE_EPOCH, and
// the serial number a hash of what is listed.
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

type bom struct {
	Format       string      `json:"bomFormat"`
	Spec         string      `json:"specVersion"`
	SerialNumber string      `json:"serialNumber"`
	Version      int         `json:"version"`
	Metadata     metadata    `json:"metadata"`
	Components   []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp"`
	Component component `json:"component"`
}

type component struct {
	Type    string `json:"type"`
	Ref     string `json:"bom-ref"`
	Name    string `json:"name"`
	Version string `json:"version"`
	// Scope is "required" for what is in the binary, and "excluded" for what the
	// pages were only built with.
	Scope  string `json:"scope,omitempty"`
	PURL   string `json:"purl,omitempty"`
	Hashes []hash `json:"hashes,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

func main() {
	version := flag.String("version", "", "version of the release")
	lock := flag.String("lock", "", "package-lock.json of the pages")
	flag.Parse()
	if flag.NArg() != 1 || *version == "" {
		flag.Usage()
		os.Exit(2)
	}
	if err := write(os.Stdout, flag.Arg(0), *lock, *version); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func write(w io.Writer, binary, lock, version string) error {
	epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	components, err := ofBinary(binary)
	if err != nil {
		return err
	}
	if lock != "" {
		pages, err := ofLock(lock)
		if err != nil {
			return err
		}
		components = append(components, pages...)
	}
	slices.SortFunc(components, func(a, b component) int { return cmp.Compare(a.Ref, b.Ref) })
	listed, err := json.Marshal(components)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append(listed, version...))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80 // a UUID of version 8: of our own making (RFC 9562)
	id := hex.EncodeToString(sum[:16])
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	own := sha256.Sum256(data)
	out := bom{
		Format: "CycloneDX", Spec: "1.6", Version: 1,
		SerialNumber: fmt.Sprintf("urn:uuid:%s-%s-%s-%s-%s", id[:8], id[8:12], id[12:16], id[16:20], id[20:]),
		Metadata: metadata{time.Unix(epoch, 0).UTC().Format(time.RFC3339), component{
			Type: "application", Ref: "ampoule@" + version, Name: "ampoule", Version: version, Hashes: []hash{{"SHA-256", hex.EncodeToString(own[:])}},
		}},
		Components: components,
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}

// ofBinary returns the modules in a binary.
func ofBinary(path string) ([]component, error) {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil, err
	}
	goVersion := strings.TrimPrefix(info.GoVersion, "go")
	out := []component{{Type: "framework", Ref: "pkg:golang/std@" + goVersion, Name: "std", Version: goVersion, Scope: "required", PURL: "pkg:golang/std@" + goVersion}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		purl := "pkg:golang/" + m.Path + "@" + m.Version
		c := component{Type: "library", Ref: purl, Name: m.Path, Version: m.Version, Scope: "required", PURL: purl}
		// go.sum has a hash of a list of hashes (dirhash h1), which CycloneDX has no
		// name for: what can be checked by others is the version.
		out = append(out, c)
	}
	return out, nil
}

// ofLock returns the packages of a lock file of npm, version 2 or 3.
func ofLock(path string) (out []component, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var lock struct {
		Version  int `json:"lockfileVersion"`
		Packages map[string]struct {
			Version   string `json:"version"`
			Integrity string `json:"integrity"`
			Dev       bool   `json:"dev"`
		} `json:"packages"`
	}
	if err := json.Unmarshal(data, &lock); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if lock.Version < 2 {
		return nil, fmt.Errorf("%s: lock file of version %d", path, lock.Version)
	}
	for where, p := range lock.Packages {
		_, name, ok := cutLast(where, "node_modules/")
		if !ok {
			continue // the pages themselves
		}
		purl := "pkg:npm/" + strings.Replace(name, "@", "%40", 1) + "@" + p.Version
		c := component{Type: "library", Ref: purl + "#" + where, Name: name, Version: p.Version, Scope: "required", PURL: purl}
		// Svelte is compiled into the pages, and is listed with the tools.
		if p.Dev && name != "svelte" {
			c.Scope = "excluded"
		}
		if algorithm, sum, ok := strings.Cut(p.Integrity, "-"); ok && algorithm == "sha512" {
			raw, err := base64.StdEncoding.DecodeString(sum)
			if err != nil {
				return nil, fmt.Errorf("%s: %s: %w", path, name, err)
			}
			c.Hashes = []hash{{"SHA-512", hex.EncodeToString(raw)}}
		}
		out = append(out, c)
	}
	return out, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
