package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"ampoule/bundle"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/party/verifier"
)

// sources names what a verifier decides by, in the order in which it is read. The files
// are read once more for it.
func (f *trustFlags) sources(b *bundle.Opened) (all []verifier.Source, err error) {
	if b != nil {
		all = append(all, verifier.Source{Kind: "bundle", Sum: b.Digest})
	}
	add := func(kind, path string) {
		if err != nil || path == "" {
			return
		}
		var sum [sha256.Size]byte
		if sum, err = sumOf(kind, path); err != nil {
			err = usageError("--%s: %w", kind, err)
			return
		}
		all = append(all, verifier.Source{Kind: kind, Sum: sum})
	}
	for _, group := range []struct {
		kind  string
		paths []string
	}{
		{"pin", f.Pin}, {"trust", f.Trust}, {"status", f.Status}, {"catalogue", f.Catalogue}, {"map", f.Map}, {"rules", f.Rules},
		{"value-sets", []string{f.ValueSets}}, {"policy", []string{f.Policy}}, {"lots", f.Lots}, {"lot-key", f.LotKey},
	} {
		for _, path := range group.paths {
			add(group.kind, path)
		}
	}
	return all, err
}

// sumOf is the SHA-256 of a source. Where the flag says more than the path (ISSUER=F,
// ROLE:AUTHORITY=F), that and '=' stand before the content; a folder is the sums of its
// files in the order of their paths.
func sumOf(kind, path string) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	switch kind {
	case "trust":
		var issuer string
		if issuer, path = splitIssuer(path); issuer != "" {
			io.WriteString(h, issuer+"=")
		}
	case "lot-key":
		who, file, _ := strings.Cut(path, "=")
		io.WriteString(h, who+"=")
		path = file
	}
	info, err := os.Stat(path)
	switch {
	case kind == "catalogue" && path == "demo":
	case err != nil:
		return sum, err
	case info.IsDir():
		err := fs.WalkDir(os.DirFS(path), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := readInput(filepath.Join(path, filepath.FromSlash(name)), nil)
			one := sha256.Sum256(data)
			h.Write(one[:])
			return err
		})
		return [sha256.Size]byte(h.Sum(nil)), err
	}
	var data []byte
	if kind == "catalogue" {
		data, err = readCatalogue(path)
	} else {
		data, err = readInput(path, nil)
	}
	h.Write(data)
	return [sha256.Size]byte(h.Sum(nil)), err
}

// recorder writes transcripts of verdicts; nil: of none.
type recorder struct {
	signer crypto.Signer
	known  verifier.Provenance // but for the salt
	path   string
	folder bool
	wrote  bool
}

// newRecorder makes a recorder. Without a key file a key is made and forgotten: the
// transcript is whole then, and who made it is for others to say.
func newRecorder(path, keyFile string, lock func() (keys.Lock, error)) (*recorder, error) {
	r := &recorder{path: path}
	if info, err := os.Stat(path); err == nil {
		if r.folder = info.IsDir(); !r.folder {
			return nil, usageError("--transcript: %s is there already", path)
		}
	}
	if keyFile == "" {
		var err error
		_, r.signer, err = ed25519.GenerateKey(rand.Reader)
		return r, err
	}
	opened, err := lock()
	if err != nil {
		return nil, err
	}
	key, err := keys.Load(keyFile, opened)
	if err != nil {
		return nil, usageError("--transcript-key: %w", err)
	}
	r.signer = key.Signer
	return r, nil
}

// judge judges the parts of one certificate, and signs the transcript of that.
func (r *recorder) judge(v *verifier.Verifier, texts []string) (*verifier.Verdict, []byte, error) {
	if r == nil {
		return v.Verify(texts...), nil, nil
	}
	p := r.known
	_, _ = rand.Read(p.Salt[:]) // never fails
	verdict, transcript := v.Record(p, texts...)
	data, err := transcript.Sign(rand.Reader, r.signer)
	return verdict, data, err
}

// write keeps a transcript, and returns where: in a folder under a name that tells
// nothing of whose it is.
func (r *recorder) write(data []byte) (string, error) {
	path := r.path
	switch {
	case r.folder:
		sum := sha256.Sum256(data)
		path = filepath.Join(r.path, fmt.Sprintf("%x.transcript", sum[:8]))
	case r.wrote:
		return "", usageError("--transcript %s: one file is of one certificate; several need a folder", r.path)
	}
	r.wrote = true
	return path, keep.Replace(path, data, 0o644)
}
