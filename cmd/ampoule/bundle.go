package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/bundle"
	"ampoule/format"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/trust"
)

type bundleCmd struct {
	Make   bundleMakeCmd   `cmd:"" help:"Make a bundle: trust, revocations, rules and lots in one signed file."`
	Show   bundleShowCmd   `cmd:"" help:"Show what a bundle is and what it carries."`
	Accept bundleAcceptCmd `cmd:"" help:"Put a bundle in the place of the one that is kept, if it is an authentic newer one."`
	Delta  bundleDeltaCmd  `cmd:"" help:"Write what makes a newer bundle from an older one, for verifiers that keep that."`
}

// readRoots reads a file of public roots.
func readRoots(path string) ([]bundle.Root, error) {
	data, err := readInput(path, nil)
	if err != nil {
		return nil, usageError("--root: %w", err)
	}
	roots, err := bundle.ParseRoots(data)
	if err != nil {
		return nil, usageError("--root %s: %w", path, err)
	}
	return roots, nil
}

// openBundle reads a bundle that the root has signed.
func openBundle(path, root string, now time.Time) (*bundle.Opened, error) {
	if root == "" {
		return nil, usageError("--bundle %s: nobody vouches for it: give --root, the file of the root that was pinned at set-up", path)
	}
	roots, err := readRoots(root)
	if err != nil {
		return nil, err
	}
	return openUnder(path, roots, now)
}

func openUnder(path string, roots []bundle.Root, now time.Time) (*bundle.Opened, error) {
	data, err := readBounded(path, nil, bundle.MaxSize)
	if err != nil {
		return nil, usageError("bundle: %w", err)
	}
	b, err := bundle.Open(data, roots, now)
	if err != nil {
		return nil, usageError("%s: %w%s", path, err, bundleHint(err))
	}
	return b, nil
}

// bundleHint says what an operator can do about an error.
func bundleHint(err error) string {
	switch {
	case errors.Is(err, bundle.ErrUnknownRoot):
		return "; it is not of the root that is pinned, or a bundle between that announces its root was left out"
	case errors.Is(err, bundle.ErrNotYetIssued):
		return "; is the clock of this machine right?"
	case errors.Is(err, bundle.ErrFork):
		return "; its maker tells different verifiers different things: ask before anything is replaced"
	case errors.Is(err, bundle.ErrShrunk):
		return "; ask its maker where that went, and take it with --shrink 1 if it is meant so"
	case errors.Is(err, bundle.ErrRootWindow):
		return "; its maker must sign under a root that counts"
	}
	return ""
}

// bundleAge is one line about how old a bundle is.
func bundleAge(path string, b *bundle.Bundle, now time.Time) string {
	line := fmt.Sprintf("bundle %s: serial %d of %s, issued %s (%s ago)", path, b.Serial, format.Visible(b.Maker), b.Issued.Format(time.RFC3339), span(now.Sub(b.Issued)))
	if b.TooOld(now) {
		return line + fmt.Sprintf(", TOO OLD since %s: nothing is valid by it", b.Next.Format(time.RFC3339))
	}
	return line + fmt.Sprintf(", the next is due in %s", span(b.Next.Sub(now)))
}

// span writes a time for people, in its largest whole unit.
func span(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch n := int(d / u.d); {
		case n == 1:
			return "1 " + u.name
		case n > 1:
			return fmt.Sprintf("%d %ss", n, u.name)
		}
	}
	return "less than a minute"
}

// shrinkFlag is a share from 0 to 1.
type shrinkFlag float64

// Validate is called by the command line.
func (f shrinkFlag) Validate() error {
	if !(f >= 0 && f <= 1) {
		return fmt.Errorf("%g is no share from 0 to 1", float64(f))
	}
	return nil
}

type bundleMakeCmd struct {
	secretFlags
	sourceFlags
	Landmarks []string   `sep:"none" placeholder:"F" help:"Roots of batches of fingerprints, for which the maker vouches: an issuer's /v1/landmarks."`
	Ledger    []string   `sep:"none" placeholder:"F" help:"Where roots stand in a log, and whose receipts count, for which the maker vouches: an issuer's /v1/landmarks/places."`
	Join      []string   `sep:"none" placeholder:"COUNTRY:ROOT=F" help:"What the bundle of another maker says of lots, and of the doses behind that country's own certificates; ROOT must have signed it. Whose statements count, --lot-key says."`
	Carry     []string   `sep:"none" placeholder:"KIND=F" help:"A document of a kind that this version does not read, for those that do."`
	Key       []string   `required:"" sep:"none" placeholder:"F" help:"Key file of the bundle root that signs; several sign side by side."`
	Root      string     `placeholder:"R" help:"Roots that verifiers pin from now on; those of the previous bundle otherwise, or else the one that signs."`
	Previous  string     `placeholder:"F" help:"The bundle that this one follows."`
	Maker     string     `required:"" placeholder:"A" help:"Participant code or organisation id of who makes it."`
	Days      int        `default:"7" help:"Days until the next one is due; verifiers call nothing valid by an older one."`
	Shrink    shrinkFlag `default:"0.2" placeholder:"SHARE" help:"Stop where more than this share of something is gone since the previous bundle (default: 0.2)."`
	Out       string     `required:"" placeholder:"F" help:"File to write; an existing one only if it is the previous bundle."`
}

// Run makes a bundle, and opens it as a verifier would before it is written.
func (c *bundleMakeCmd) Run(t terminal) error {
	if most := int(bundle.MaxLife / (24 * time.Hour)); c.Days < 1 || c.Days > most {
		return usageError("--days %d: from 1 to %d", c.Days, most)
	}
	if _, err := os.Lstat(c.Out); err == nil && c.Out != c.Previous {
		return usageError("%s exists; give it as --previous, or choose another name", c.Out)
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	// Two that follow one bundle at once would make a fork.
	unlock, err := keep.Lock(c.Out)
	if err != nil {
		return exitError{exitUsage, err}
	}
	defer unlock()
	now := time.Now()
	in := bundle.Input{Maker: c.Maker, Issued: now, Next: now.AddDate(0, 0, c.Days), Shrink: float64(c.Shrink)}
	var signers []bundle.Signer
	for _, path := range c.Key {
		key, err := keys.LoadBundleRoot(path, lock)
		if err != nil {
			return exitError{exitUsage, err}
		}
		root, err := key.Signer().Root()
		if err != nil {
			return err
		}
		signers, in.Signers = append(signers, key.Signer()), append(in.Signers, root)
	}
	if c.Root != "" {
		if in.Roots, err = readRoots(c.Root); err != nil {
			return err
		}
	}
	if c.Previous != "" {
		known := append(in.Roots[:len(in.Roots):len(in.Roots)], in.Signers...)
		if in.Previous, err = openUnder(c.Previous, known, now); err != nil {
			return err
		}
	}
	drops, err := c.collect(&in)
	if err != nil {
		return err
	}
	for _, name := range c.Landmarks {
		data, err := readInput(name, nil)
		if err != nil {
			return usageError("--landmarks: %w", err)
		}
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Landmarks, Optional: true, Name: filepath.Base(name), Data: data})
	}
	for _, name := range c.Ledger {
		data, err := readInput(name, nil)
		if err != nil {
			return usageError("--ledger: %w", err)
		}
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Ledger, Optional: true, Name: filepath.Base(name), Data: data})
	}
	for _, text := range c.Join {
		from, name, ok := strings.Cut(text, "=")
		country, root, ok2 := strings.Cut(from, ":")
		if !ok || !ok2 || !format.IsCapitals(country, 2) {
			return usageError("--join %s: it looks like XA:root.pem=bundle.cbor", text)
		}
		other, err := openBundle(name, root, now)
		if err != nil {
			return err
		}
		if other.TooOld(now) {
			return usageError("--join %s: %s", text, bundleAge(name, other.Bundle, now))
		}
		told, err := other.Told(country)
		if err != nil {
			return usageError("--join %s: %w", text, err)
		}
		in.Documents = append(in.Documents, told...)
	}
	for _, text := range c.Carry {
		kind, name, ok := strings.Cut(text, "=")
		if !ok {
			return usageError("--carry %s: KIND=FILE", text)
		}
		data, err := readInput(name, nil)
		if err != nil {
			return usageError("--carry: %w", err)
		}
		in.Documents = append(in.Documents, bundle.Document{Kind: bundle.Kind(kind), Optional: true, Name: filepath.Base(name), Data: data})
	}
	data, opened, dropped, err := signBundle(in, signers, now)
	if err != nil {
		return err
	}
	if err := keep.Replace(c.Out, data, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: serial %d, %d bytes, next due %s\n", c.Out, opened.Serial, len(data), opened.Next.Format(time.RFC3339))
	printContents(t, opened)
	for _, d := range append(drops, dropped...) {
		line := fmt.Sprintf("dropped: %s %s", d.Kind, d.Source)
		if d.Entry != "" {
			line += ", " + d.Entry
		}
		line += ": " + d.Reason
		if d.Detail != "" {
			line += ": " + d.Detail
		}
		fmt.Fprintln(t.out, format.Visible(line))
	}
	return nil
}

// signBundle makes and signs a bundle, and opens it as a verifier would: what
// verifiers would refuse is not handed out in the first place.
func signBundle(in bundle.Input, signers []bundle.Signer, now time.Time) ([]byte, *bundle.Opened, []bundle.Drop, error) {
	made, dropped, err := bundle.Make(in)
	if err != nil {
		return nil, nil, nil, usageError("nothing was signed: %w", err)
	}
	data, err := bundle.Sign(rand.Reader, made, signers...)
	if err != nil {
		return nil, nil, nil, usageError("nothing was signed: %w", err)
	}
	opened, err := bundle.Accept(in.Previous, data, in.Signers, 1, now) // its own guard has spoken
	if err != nil {
		return nil, nil, nil, usageError("no verifier would accept it: %w", err)
	}
	return data, opened, dropped, nil
}

// collect reads the files. They are named by their last element: where they lie
// on the maker's machine is nobody's business.
func (c *sourceFlags) collect(in *bundle.Input) (drops []bundle.Drop, err error) {
	add := func(kind bundle.Kind, name, issuer string, data []byte) {
		in.Documents = append(in.Documents, bundle.Document{Kind: kind, Name: filepath.Base(name), Data: data, Issuer: issuer})
	}
	for _, name := range c.Pin {
		data, err := readInput(name, nil)
		if err != nil {
			return nil, usageError("--pin: %w", err)
		}
		in.Pins = append(in.Pins, bundle.Pin{Name: filepath.Base(name), Data: data})
	}
	for _, source := range c.Trust {
		issuer, name := splitIssuer(source)
		info, err := os.Stat(name)
		if err != nil {
			return nil, usageError("--trust: %w", err)
		}
		if !info.IsDir() {
			data, err := readInput(name, nil)
			if err != nil {
				return nil, usageError("--trust: %w", err)
			}
			add(bundle.Trust, name, issuer, data)
			continue
		}
		err = fs.WalkDir(os.DirFS(name), ".", func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := readInput(filepath.Join(name, filepath.FromSlash(p)), nil)
			if err != nil {
				return err
			}
			// A folder may hold what is no list; whatever else is wrong, Make finds.
			if err := new(trust.List).Add(trust.Source{Name: p, Data: data}); errors.Is(err, trust.ErrUnknownSource) {
				drops = append(drops, bundle.Drop{Kind: bundle.Trust, Source: path.Base(p), Reason: string(trust.ErrUnknownSource)})
				return nil
			}
			add(bundle.Trust, p, "", data)
			return nil
		})
		if err != nil {
			return nil, usageError("--trust: %w", err)
		}
	}
	for _, name := range c.Catalogue {
		data, err := readCatalogue(name)
		if err != nil {
			return nil, err
		}
		add(bundle.Catalogue, name, "", data)
	}
	var valueSets []string
	if c.ValueSets != "" {
		valueSets = []string{c.ValueSets}
	}
	for _, f := range []struct {
		flag  string
		kind  bundle.Kind
		names []string
	}{{"--status", bundle.Status, c.Status}, {"--rules", bundle.Rules, c.Rules}, {"--value-sets", bundle.ValueSets, valueSets}, {"--map", bundle.Concepts, c.Map}, {"--lots", bundle.Lots, c.Lots}} {
		for _, name := range f.names {
			data, err := readInput(name, nil)
			if err != nil {
				return nil, usageError("%s: %w", f.flag, err)
			}
			add(f.kind, name, "", data)
		}
	}
	for _, text := range c.LotKey {
		a, err := readLotKey(text)
		if err != nil {
			return nil, usageError("--lot-key %s: %w", text, err)
		}
		in.Authorities = append(in.Authorities, a)
	}
	return drops, nil
}

// printContents lists the documents, and counts what is in them.
func printContents(t terminal, o *bundle.Opened) {
	printDocuments(t, o.Bundle)
	line := "contents:"
	for _, n := range o.Counts() {
		line += fmt.Sprintf(" %d %s,", n.N, n.Name)
	}
	fmt.Fprintln(t.out, strings.TrimSuffix(line, ","))
}

func printDocuments(t terminal, b *bundle.Bundle) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KIND\tNAME\tBYTES\tPINS\tISSUER")
	for _, d := range b.Documents {
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\n", d.Kind, format.Visible(d.Name), len(d.Data), len(d.Pins), format.Visible(d.Issuer))
	}
	for _, a := range b.Authorities {
		fmt.Fprintf(w, "lot-key\t%s\t%d\t\t\n", format.Visible(a.Role+" "+a.Authority), len(a.Certificate))
	}
	w.Flush()
}

type bundleShowCmd struct {
	Root string `placeholder:"R" help:"Root that must have signed it; without one nothing is verified."`
	At   string `placeholder:"T" help:"As of this time (RFC 3339) instead of now."`
	JSON bool   `name:"json" help:"One JSON object."`
	File string `arg:"" name:"file" help:"Bundle."`
}

// shownBundle is a bundle as scripts read it.
type shownBundle struct {
	File      string          `json:"file"`
	Bytes     int             `json:"bytes"`
	Verified  bool            `json:"verified"`
	Signer    string          `json:"signer,omitempty"` // fingerprint of the pinned root that signed it
	Serial    int64           `json:"serial"`
	Digest    string          `json:"digest"`
	Previous  string          `json:"previous,omitempty"`
	Maker     string          `json:"maker"`
	Issued    string          `json:"issued"`
	Next      string          `json:"next"`
	TooOld    bool            `json:"too_old"`
	Roots     []shownRoot     `json:"roots"`
	Documents []shownDocument `json:"documents"`
	Contents  map[string]int  `json:"contents,omitempty"` // only where it is verified
}

type shownRoot struct {
	Fingerprint string `json:"fingerprint"`
	From        string `json:"from,omitempty"`
	Until       string `json:"until,omitempty"`
}

func newShownRoot(r bundle.Root) shownRoot {
	s := shownRoot{Fingerprint: r.Fingerprint()}
	if !r.From.IsZero() {
		s.From = r.From.Format(time.RFC3339)
	}
	if !r.Until.IsZero() {
		s.Until = r.Until.Format(time.RFC3339)
	}
	return s
}

// rootLine is a root for people.
func rootLine(r bundle.Root) string {
	s := newShownRoot(r)
	line := s.Fingerprint
	if s.From != "" {
		line += " from " + s.From
	}
	if s.Until != "" {
		line += " until " + s.Until
	}
	return line
}

type shownDocument struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Bytes  int    `json:"bytes"`
	Pins   int    `json:"pins,omitempty"`
	Issuer string `json:"issuer,omitempty"`
}

// Run exits 1 where a root is given that has not signed the bundle.
func (c *bundleShowCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	now := clock()
	data, err := readBounded(c.File, nil, bundle.MaxSize)
	if err != nil {
		return exitError{exitUsage, err}
	}
	b, digest, err := bundle.Inspect(data)
	if err != nil {
		return usageError("%s: %w", c.File, err)
	}
	var opened *bundle.Opened
	if c.Root != "" {
		roots, err := readRoots(c.Root)
		if err != nil {
			return err
		}
		if opened, err = bundle.Open(data, roots, now); err != nil {
			return exitError{exitNotValid, fmt.Errorf("%s: %w%s", c.File, err, bundleHint(err))}
		}
	}
	shown := newShownBundle(c.File, data, b, digest, opened, now)
	if c.JSON {
		writeJSON(t.out, shown)
		return nil
	}
	line := func(name, value string) { fmt.Fprintf(t.out, "%-9s %s\n", name, value) }
	if opened == nil {
		line("verified", "NO: nobody vouches for what follows; give --root")
	} else {
		line("verified", "by both keys of root "+shown.Signer)
	}
	line("age", bundleAge(c.File, b, now))
	line("next", shown.Next)
	line("digest", digest.String())
	if shown.Previous != "" {
		line("previous", shown.Previous)
	}
	for _, r := range b.Roots {
		line("root", rootLine(r))
	}
	if opened == nil {
		printDocuments(t, b)
	} else {
		printContents(t, opened)
	}
	return nil
}

func newShownBundle(file string, data []byte, b *bundle.Bundle, digest bundle.Digest, opened *bundle.Opened, now time.Time) shownBundle {
	s := shownBundle{
		File: file, Bytes: len(data), Serial: b.Serial, Digest: digest.String(), Maker: b.Maker,
		Issued: b.Issued.Format(time.RFC3339), Next: b.Next.Format(time.RFC3339), TooOld: b.TooOld(now), Documents: []shownDocument{},
	}
	if b.Previous != (bundle.Digest{}) {
		s.Previous = b.Previous.String()
	}
	for _, r := range b.Roots {
		s.Roots = append(s.Roots, newShownRoot(r))
	}
	for _, d := range b.Documents {
		s.Documents = append(s.Documents, shownDocument{string(d.Kind), d.Name, len(d.Data), len(d.Pins), d.Issuer})
	}
	if opened != nil {
		s.Verified, s.Signer, s.Contents = true, opened.Signer.Fingerprint(), make(map[string]int)
		for _, n := range opened.Counts() {
			s.Contents[n.Name] = n.N
		}
	}
	return s
}

type bundleAcceptCmd struct {
	Root   string     `required:"" placeholder:"R" help:"Root that was pinned at set-up. Where an accepted bundle announces others, the file is replaced by them."`
	Into   string     `required:"" placeholder:"F" help:"The bundle that is kept; it need not exist yet."`
	Shrink shrinkFlag `default:"0.5" placeholder:"SHARE" help:"Refuse where more than this share of something is gone (default: 0.5); 1 takes anything."`
	File   string     `arg:"" name:"new" help:"The bundle to take its place, or a delta that makes it from the one that is kept."`
}

// Run exits 1 where the new one is refused; the kept one then stays.
func (c *bundleAcceptCmd) Run(t terminal) error {
	unlock, err := keep.Lock(c.Into)
	if err != nil {
		return exitError{exitUsage, err}
	}
	defer unlock()
	pinned, err := readRoots(c.Root)
	if err != nil {
		return err
	}
	now := time.Now()
	var kept *bundle.Opened
	if _, err := os.Stat(c.Into); err == nil {
		if kept, err = openUnder(c.Into, pinned, now); err != nil {
			return usageError("the bundle that is kept cannot be relied on; move it away to begin anew from the root: %w", err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return exitError{exitUsage, err}
	}
	if kept != nil {
		// What the last call may not have got to.
		if err := c.follow(t, pinned, kept.Roots); err != nil {
			return err
		}
		pinned = kept.Roots
	}
	data, err := readBounded(c.File, nil, bundle.MaxSize)
	if err != nil {
		return exitError{exitUsage, err}
	}
	if bundle.IsDelta(data) {
		from, err := readKept(c.Into)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if data, err = bundle.Apply(from, data); err != nil {
			return exitError{exitNotValid, fmt.Errorf("%s cannot be used: %w; fetch the whole bundle", c.File, err)}
		}
	}
	next, err := bundle.Accept(kept, data, pinned, float64(c.Shrink), now)
	switch {
	case errors.Is(err, bundle.ErrKept):
		fmt.Fprintf(t.out, "%s: serial %d is kept already\n", c.Into, next.Serial)
	case err != nil:
		return exitError{exitNotValid, fmt.Errorf("%s is refused: %w%s", c.File, err, bundleHint(err))}
	default:
		if err := keep.Replace(c.Into, data, 0o644); err != nil {
			return exitError{exitUsage, err}
		}
		fmt.Fprintln(t.out, bundleAge(c.Into, next.Bundle, now))
	}
	return c.follow(t, pinned, next.Roots)
}

// readKept reads a bundle that need not exist.
func readKept(path string) ([]byte, error) {
	data, err := readBounded(path, nil, bundle.MaxSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return data, err
}

type bundleDeltaCmd struct {
	From string `arg:"" help:"The bundle that verifiers keep."`
	To   string `arg:"" help:"The newer one."`
	Out  string `required:"" placeholder:"F" help:"File to write."`
}

// Run writes a delta, and tries it.
func (c *bundleDeltaCmd) Run(t terminal) error {
	var files [2][]byte
	for i, path := range []string{c.From, c.To} {
		var err error
		if files[i], err = readBounded(path, nil, bundle.MaxSize); err != nil {
			return exitError{exitUsage, err}
		}
		if _, _, err := bundle.Inspect(files[i]); err != nil {
			return usageError("%s: %w", path, err)
		}
	}
	delta, err := bundle.Delta(files[0], files[1])
	if err != nil {
		return usageError("%w", err)
	}
	if made, err := bundle.Apply(files[0], delta); err != nil || !bytes.Equal(made, files[1]) {
		return fmt.Errorf("the delta does not make %s: %w", c.To, err)
	}
	if err := keep.Replace(c.Out, delta, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %d bytes for %d\n", c.Out, len(delta), len(files[1]))
	return nil
}

// follow pins the roots that the kept bundle announces. It comes after the
// bundle is in its place: it was signed by a root of the bundle before, so that a
// crash between the two leaves it signed by a root that is pinned. The next call
// begins by making up for it.
func (c *bundleAcceptCmd) follow(t terminal, pinned, announced []bundle.Root) error {
	before, err := bundle.EncodeRoots(pinned...)
	if err != nil {
		return err
	}
	after, err := bundle.EncodeRoots(announced...)
	if err != nil || bytes.Equal(before, after) {
		return err
	}
	if err := keep.Replace(c.Root, after, 0o644); err != nil {
		return exitError{exitUsage, fmt.Errorf("the bundle is kept, and its roots could not be pinned: %w", err)}
	}
	for _, r := range announced {
		fmt.Fprintf(t.out, "%s: pinned %s\n", c.Root, rootLine(r))
	}
	return nil
}
