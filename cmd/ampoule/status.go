package main

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"ampoule/format"
	"ampoule/format/dccfilter"
	"ampoule/format/statuslist"
	"ampoule/internal/keep"
	"ampoule/internal/keys"
	"ampoule/trust"
)

type statusCmd struct {
	Make    statusMakeCmd    `cmd:"" help:"Make a snapshot: many revocations in one small file."`
	Batch   statusBatchCmd   `cmd:"" help:"Write an EU DCC revocation batch of certificates."`
	Publish statusPublishCmd `cmd:"" help:"Sign a Token Status List."`
	Show    statusShowCmd    `cmd:"" help:"Show what a list says, or what it says of one entry."`
}

type statusMakeCmd struct {
	Superseded []string `sep:"none" placeholder:"F" help:"Batches of what was corrected, not revoked."`
	Dose       []string `sep:"none" placeholder:"F" help:"Batches of certificates against whose dose something is known: advice only."`
	Filter     []string `sep:"none" placeholder:"CC:KID:TYPE=F" help:"Filter of the EU's distribution service, of which nobody has the hashes: country, key identifier in hexadecimal, BLOOMFILTER or VARHASHLIST. What it finds is unknown, never revoked."`
	Out        string   `required:"" placeholder:"F" help:"File to write."`
	File       []string `arg:"" optional:"" name:"file" help:"Snapshots, EU DCC revocation batches, revocation lists of SMART Health Cards."`
}

// Run makes a snapshot, and reads it as a verifier would before it is written.
func (c *statusMakeCmd) Run(t terminal) error {
	all := new(trust.Status)
	for _, path := range c.File {
		data, err := readInput(path, t.in)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if err := all.Add(path, data); err != nil {
			return exitError{exitUsage, err}
		}
		if all.Pointed() > 0 {
			return usageError("%s: a status list stays a file of its own: give it to --status as it is", path)
		}
	}
	for _, in := range []struct {
		files   []string
		purpose trust.Purpose
	}{{c.Superseded, trust.PurposeSuperseded}, {c.Dose, trust.PurposeDose}} {
		for _, path := range in.files {
			if err := addBatchesFor(all, path, in.purpose); err != nil {
				return exitError{exitUsage, err}
			}
		}
	}
	out, err := all.Snapshot()
	if err != nil {
		return exitError{exitUsage, err}
	}
	for _, text := range c.Filter {
		f, err := readFilter(text)
		if err == nil {
			err = out.AddFilter(f)
		}
		if err != nil {
			return usageError("--filter %s: %w", text, err)
		}
	}
	data, err := out.Encode()
	if err != nil {
		return exitError{exitUsage, err}
	}
	if err := new(trust.Status).Add(c.Out, data); err != nil {
		return err
	}
	if err := keep.Replace(c.Out, data, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %d bytes\n", c.Out, len(data))
	printSnapshot(t, out)
	return nil
}

// addBatchesFor lists what is in batches for another purpose than to be revoked.
func addBatchesFor(all *trust.Status, path string, purpose trust.Purpose) error {
	data, err := readInput(path, nil)
	if err != nil {
		return err
	}
	batches := new(trust.Status)
	if err := batches.AddBatches(path, data); err != nil {
		return err
	}
	s, err := batches.Snapshot()
	if err != nil {
		return err
	}
	for i := range s.Groups {
		s.Groups[i].Purpose = purpose
	}
	if data, err = s.Encode(); err != nil {
		return err
	}
	return all.AddSnapshot(path, data)
}

// readFilter reads CC:KID:TYPE=FILE.
func readFilter(text string) (f trust.SnapshotFilter, err error) {
	what, path, ok := strings.Cut(text, "=")
	part := strings.Split(what, ":")
	if !ok || len(part) != 3 {
		return f, fmt.Errorf("it looks like XA:d919375fc1e7b6b2:BLOOMFILTER=slice.bin")
	}
	kid, err := hex.DecodeString(part[1])
	if err != nil {
		return f, fmt.Errorf("the key identifier is not in hexadecimal")
	}
	data, err := readBounded(path, nil, dccfilter.MaxBytes)
	if err != nil {
		return f, err
	}
	f = trust.SnapshotFilter{Country: part[0], KID: trust.KeyID(kid)}
	f.Filter, err = dccfilter.Parse(dccfilter.Kind(part[2]), data)
	return f, err
}

func printSnapshot(t terminal, s *trust.Snapshot) {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PURPOSE\tHASHES\tSCHEME\tCOUNTRY\tKEY")
	for _, g := range s.Groups {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%x\n", g.Purpose, len(g.Hashes), g.Scheme, g.Country, string(g.KID))
	}
	for _, f := range s.Filters {
		fmt.Fprintf(w, "unconfirmed\t%d\t%s\t%s\t%x\n", f.Filter.Len(), f.Filter.Kind, f.Country, string(f.KID))
	}
	w.Flush()
}

type statusPublishCmd struct {
	secretFlags
	Key     string `required:"" placeholder:"F" help:"Key file of the one who publishes."`
	URI     string `required:"" name:"uri" placeholder:"U" help:"Address at which the list is published, and which credentials name."`
	From    string `placeholder:"F" help:"The list as it was signed before; its entries stay unless they are changed."`
	Entries int    `default:"1048576" placeholder:"N" help:"Entries of a new list (default: 1048576)."`
	Bits    int    `default:"2" placeholder:"N" help:"Bits of an entry of a new list: 1, 2, 4 or 8 (default: 2)."`
	Set     string `placeholder:"F" help:"Changes: INDEX,STATUS a line; valid, revoked, suspended, superseded or a number."`
	Days    int    `default:"7" placeholder:"N" help:"Days until it must not be used any more (default: 7)."`
	TTL     int    `name:"ttl" default:"43200" placeholder:"SECONDS" help:"For how long a copy may be kept before another is asked for (default: 43200)."`
	Form    string `enum:"jwt,cwt" default:"jwt" help:"Form of the token: ${enum}."`
	Out     string `required:"" placeholder:"F" help:"File to write."`
}

// statusWords are the values of our own lists of two bits.
var statusWords = map[string]statuslist.Status{
	"valid": statuslist.Valid, "revoked": statuslist.Invalid, "suspended": statuslist.Suspended, "superseded": statuslist.Superseded,
}

// Run signs a list, and reads it as a verifier would before it is written.
func (c *statusPublishCmd) Run(t terminal) error {
	if c.Days < 1 || c.Days > 3650 || c.TTL < 0 {
		return usageError("--days from 1 to 3650, and --ttl not below 0")
	}
	lock, err := c.lock()
	if err != nil {
		return err
	}
	key, err := keys.Load(c.Key, lock)
	if err != nil {
		return exitError{exitUsage, err}
	}
	now := time.Now().UTC().Truncate(time.Second)
	tok := &statuslist.Token{URI: c.URI, Issued: now, Expires: now.AddDate(0, 0, c.Days), TTL: time.Duration(c.TTL) * time.Second}
	if c.From != "" {
		old, err := readToken(c.From)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if err := old.Verify(key.Signer.Public()); err != nil {
			return usageError("%s: this key has not signed it: %w", c.From, err)
		}
		if old.URI != c.URI {
			return usageError("%s is the list of %s: %w", c.From, format.Visible(old.URI), statuslist.ErrSubject)
		}
		if now.Before(old.Issued) {
			return usageError("%s was issued %s; is the clock of this machine right?", c.From, old.Issued.Format(time.RFC3339))
		}
		tok.List = old.List
	} else if tok.List.Bitmap, err = statuslist.NewBitmap(c.Bits, c.Entries); err != nil {
		return exitError{exitUsage, err}
	}
	if c.Set != "" {
		if err := setEntries(tok.List.Bitmap, c.Set); err != nil {
			return usageError("--set %s: %w", c.Set, err)
		}
	}
	var data []byte
	if c.Form == "cwt" {
		data, err = tok.SignCWT(rand.Reader, key.Signer, key.KID())
	} else {
		var text string
		text, err = tok.SignJWT(rand.Reader, key.Signer, base64.RawURLEncoding.EncodeToString(key.KID()))
		data = []byte(text + "\n")
	}
	if err != nil {
		return usageError("nothing was signed: %w", err)
	}
	signed, err := statuslist.Parse(data)
	if err == nil {
		err = signed.Verify(key.Signer.Public())
	}
	if err != nil {
		return usageError("no verifier would read it: %w", err)
	}
	if err := keep.Replace(c.Out, data, 0o644); err != nil {
		return exitError{exitUsage, err}
	}
	fmt.Fprintf(t.out, "%s: %d bytes\n", c.Out, len(data))
	printEntries(t, tok.List.Bitmap)
	return nil
}

// setEntries reads a file of INDEX,STATUS lines into a list.
func setEntries(b *statuslist.Bitmap, path string) error {
	data, err := readInput(path, nil)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		index, word, _ := strings.Cut(line, ",")
		word = strings.TrimSpace(word)
		i, err := strconv.ParseInt(strings.TrimSpace(index), 10, 64)
		if err != nil {
			return fmt.Errorf("line %d: the index is no number", n)
		}
		value, known := statusWords[word]
		if known && value == statuslist.Superseded && b.Bits() != 2 {
			return fmt.Errorf("line %d: superseded is a word of lists of two bits", n)
		}
		if !known {
			number, err := strconv.ParseUint(word, 10, 8)
			if err != nil {
				return fmt.Errorf("line %d: %q is no status", n, format.Visible(word))
			}
			value = statuslist.Status(number)
		}
		if err := b.Set(i, value); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// statusText writes a status for people.
func statusText(b *statuslist.Bitmap, s statuslist.Status) string {
	if b.Bits() == 2 && s == statuslist.Superseded {
		return "superseded"
	}
	return s.String()
}

func printEntries(t terminal, b *statuslist.Bitmap) {
	fmt.Fprintf(t.out, "%-9s %d of %d bits\n", "entries", b.Len(), b.Bits())
	counts := b.Counts()
	for _, s := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(t.out, "%-9s %d %s\n", "", counts[s], statusText(b, s))
	}
}

func readToken(path string) (*statuslist.Token, error) {
	data, err := readBounded(path, nil, statuslist.MaxToken)
	if err != nil {
		return nil, err
	}
	tok, err := statuslist.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return tok, nil
}

type statusShowCmd struct {
	Index *int64   `placeholder:"N" help:"Say what a status list holds at this place: exits 0 if valid, 1 if not, 2 if the list cannot tell."`
	Pin   []string `sep:"none" placeholder:"K" help:"Key that must have signed a token: certificate, public key in PEM, or DID key document."`
	At    string   `placeholder:"T" help:"As of this time (RFC 3339) instead of now."`
	File  string   `arg:"" name:"file" help:"Snapshot, Token Status List (JWT or CWT), credential of a Bitstring Status List, batches or card revocation list."`
}

// Run exits 1 where a key is given that has not signed the list, or where the
// entry that was asked for is not valid.
func (c *statusShowCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	data, err := readBounded(c.File, t.in, statuslist.MaxToken)
	if err != nil {
		return exitError{exitUsage, err}
	}
	isToken, isBitstring := statuslist.IsToken(data), bytes.Contains(data, []byte(`"BitstringStatusListCredential"`))
	switch {
	case len(c.Pin) > 0 && !isToken:
		return usageError("%s: only a Token Status List is signed in a form that --pin can check", c.File)
	case c.Index != nil && !isToken && !isBitstring:
		return usageError("%s: only a status list has entries; a certificate is looked up by verify --status", c.File)
	case isToken:
		return c.token(t, data, clock())
	case isBitstring:
		l, err := statuslist.ParseBitstring(data)
		if err != nil {
			return usageError("%s: %w", c.File, err)
		}
		c.line(t, "verified", "NO: the proof of the credential is not looked at")
		c.line(t, "address", format.Visible(l.URI))
		c.line(t, "purpose", string(l.Purpose))
		return c.entries(t, l.List, l.Check(clock()))
	case trust.IsSnapshot(data):
		s, err := trust.ParseSnapshot(data)
		if err != nil {
			return usageError("%s: %w", c.File, err)
		}
		c.line(t, "verified", "NO: a snapshot has no signature; the bundle that carries it has")
		printSnapshot(t, s)
		return nil
	}
	s := new(trust.Status)
	if err := s.Add(c.File, data); err != nil {
		return exitError{exitUsage, err}
	}
	c.line(t, "hashes", strconv.Itoa(s.Len()))
	c.line(t, "cards", strconv.Itoa(s.Cards()))
	return nil
}

func (c *statusShowCmd) line(t terminal, name, value string) {
	fmt.Fprintf(t.out, "%-9s %s\n", name, value)
}

// token shows a Token Status List.
func (c *statusShowCmd) token(t terminal, data []byte, now time.Time) error {
	tok, err := statuslist.Parse(data)
	if err != nil {
		return usageError("%s: %w", c.File, err)
	}
	pins, err := readPins("--pin", c.Pin)
	if err != nil {
		return err
	}
	verified := "NO: nobody vouches for what follows; give --pin"
	if len(pins) > 0 {
		if !slices.ContainsFunc(pins, func(pin crypto.PublicKey) bool { return tok.Verify(pin) == nil }) {
			return exitError{exitNotValid, fmt.Errorf("%s: %w", c.File, statuslist.ErrSignature)}
		}
		verified = "by a pinned key, " + tok.Algorithm()
	}
	c.line(t, "verified", verified)
	c.line(t, "address", format.Visible(tok.URI))
	c.line(t, "issued", tok.Issued.Format(time.RFC3339))
	if !tok.Expires.IsZero() {
		c.line(t, "expires", tok.Expires.Format(time.RFC3339))
	}
	if due := tok.Due(); !due.IsZero() {
		c.line(t, "due", due.Format(time.RFC3339))
	}
	return c.entries(t, tok.List.Bitmap, tok.Check(now))
}

// entries shows one entry, or how many there are of each status. tooOld is why
// the list must not be used now.
func (c *statusShowCmd) entries(t terminal, b *statuslist.Bitmap, tooOld error) error {
	if c.Index == nil {
		printEntries(t, b)
		if tooOld != nil {
			c.line(t, "NOT TO BE USED", tooOld.Error())
		}
		return nil
	}
	if tooOld != nil {
		return exitError{exitUndecided, fmt.Errorf("%s: %w", c.File, tooOld)}
	}
	s, err := b.Get(*c.Index)
	if err != nil { // "the Relying Party MUST reject": it is no status that is not known
		return exitError{exitNotValid, fmt.Errorf("%s: %w", c.File, err)}
	}
	c.line(t, "status", statusText(b, s))
	if s != statuslist.Valid {
		return exitError{code: exitNotValid}
	}
	return nil
}
