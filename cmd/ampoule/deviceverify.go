package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/ledger/tlog"
	"ampoule/party/fleet"
)

type deviceVerifyCmd struct {
	File   string `arg:"" placeholder:"FILE" help:"Evidence of a device."`
	CA     string `name:"ca" placeholder:"F" help:"Certificate of the authority of the devices, in PEM. Without it nobody vouches for who signed, and the answer is undecided."`
	Policy string `placeholder:"F" help:"Whose signatures count in the ledger (C2SP tlog-policy): holds the anchors against it."`
	At     string `placeholder:"T" help:"Judge as of this time (RFC 3339) instead of now."`
	JSON   bool   `name:"json" help:"One JSON object."`
}

// shownEvidence is what evidence shows.
type shownEvidence struct {
	Device      string         `json:"device"`
	Names       []string       `json:"names"`
	Made        time.Time      `json:"made"`
	Authority   string         `json:"authority"` // given, or not checked
	Root        string         `json:"root,omitempty"`
	Streams     []shownStream  `json:"streams"`
	Alarms      []shownEpisode `json:"alarms"`
	Corrections int            `json:"corrections"`
	Anchors     []shownAnchor  `json:"anchors"`
	Findings    []string       `json:"findings"`
	More        int            `json:"more,omitempty"`
	Sound       bool           `json:"sound"`
}

// shownStream is what stands behind the readings of one stream.
type shownStream struct {
	Stream   uint64          `json:"stream"`
	Sensor   string          `json:"sensor"`
	Quantity device.Quantity `json:"quantity"`
	Signer   string          `json:"signer"` // device, gateway, service
	Segments int             `json:"segments"`
	Readings int             `json:"readings"`
	From     time.Time       `json:"from"`
	Until    time.Time       `json:"until"`
	Min      int32           `json:"min"`
	Max      int32           `json:"max"`
	Clock    string          `json:"clock"`
	Gaps     int             `json:"gaps"`
	Missing  int64           `json:"missing_seconds"`
	Anchored int             `json:"anchored"` // segments under a root that the ledger has; -1: not looked at
}

type shownEpisode struct {
	ID       string       `json:"id"`
	Rule     string       `json:"rule"`
	State    device.State `json:"state"`
	Since    time.Time    `json:"since"`
	Extreme  int32        `json:"extreme"`
	Versions uint64       `json:"versions"`
}

type shownAnchor struct {
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Logged   time.Time `json:"logged,omitzero"`
	Entry    uint64    `json:"entry,omitempty"`
	Segments int       `json:"segments"`
	Reason   string    `json:"reason,omitempty"` // why it proves nothing
}

func newShownEvidence() shownEvidence {
	return shownEvidence{Authority: "not checked", Names: []string{}, Streams: []shownStream{}, Alarms: []shownEpisode{}, Anchors: []shownAnchor{}, Findings: []string{}}
}

// Run exits 1 where something is wrong, 2 where nobody vouches for who signed.
func (c *deviceVerifyCmd) Run(t terminal) error {
	clock, err := parseClock(c.At)
	if err != nil {
		return err
	}
	var policy *tlog.Policy
	if c.Policy != "" {
		if policy, err = (&logPolicyFlag{c.Policy}).read(); err != nil {
			return err
		}
	}
	file, err := os.Open(c.File)
	if err != nil {
		return exitError{exitUsage, err}
	}
	defer file.Close()
	// Step 1: what is in it, so far as it can be read.
	own, segments, err := contents(file)
	if err != nil {
		return exitError{exitNotValid, err}
	}
	// Step 2: under whose authority.
	roots, given := x509.NewCertPool(), c.CA != ""
	shown := newShownEvidence()
	if given {
		data, err := readInput(c.CA, nil)
		if err != nil {
			return usageError("--ca: %w", err)
		}
		if own, err = parseRoots(c.CA, data); err != nil {
			return err
		}
		shown.Authority = "given"
	}
	for _, r := range own {
		roots.AddCert(r)
		sum := sha256.Sum256(r.Raw)
		shown.Root = hex.EncodeToString(sum[:])
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return exitError{exitUsage, err}
	}
	report, err := device.VerifyEvidence(file, roots, clock())
	if err != nil {
		return exitError{exitNotValid, err}
	}
	shown.of(report)
	// Step 3: what the ledger has of it.
	anchored := map[device.Hash]bool{}
	for i := range report.Anchors {
		one := shownAnchor{}
		if policy != nil {
			a, err := fleet.VerifyAnchor(&report.Anchors[i], policy)
			if err != nil {
				one.Reason = format.Reason(err, string(fleet.ErrAnchor))
				shown.Findings, shown.Sound = append(shown.Findings, err.Error()), false
			} else {
				one = shownAnchor{Since: a.Since, Until: a.Until, Logged: a.Logged, Entry: a.Index, Segments: len(a.Segments)}
				for h := range a.Segments {
					anchored[h] = true
				}
			}
		}
		shown.Anchors = append(shown.Anchors, one)
	}
	for i := range shown.Streams {
		x := &shown.Streams[i]
		if x.Anchored = -1; policy != nil {
			x.Anchored = 0
			for _, h := range segments[x.Stream] {
				if anchored[h] {
					x.Anchored++
				}
			}
		}
	}
	if c.JSON {
		writeJSON(t.out, shown)
	} else {
		shown.print(t.out, policy != nil)
	}
	switch {
	case !shown.Sound:
		return exitError{code: exitNotValid}
	case !given:
		return exitError{exitUndecided, errors.New("nobody vouches for who signed: give --ca, the certificate of the authority of the devices")}
	}
	return nil
}

// contents are the self-signed certificates in evidence, and its segments by their streams.
func contents(r io.Reader) (own []*x509.Certificate, segments map[uint64][]device.Hash, err error) {
	segments = make(map[uint64][]device.Hash)
	err = device.ScanEvidence(r, func(i device.Item) error {
		switch i.Kind {
		case "certificate":
			c, err := x509.ParseCertificate(bytes.Clone(i.Content))
			if err == nil && c.IsCA && bytes.Equal(c.RawSubject, c.RawIssuer) {
				own = append(own, c)
			}
		case "segment":
			if s, err := device.ScanSegment(i.Content, func(device.Reading) {}); err == nil {
				segments[s.Stream] = append(segments[s.Stream], s.Hash)
			}
		}
		return nil
	})
	return own, segments, err
}

// of takes over a report.
func (s *shownEvidence) of(r *device.Report) {
	s.Device, s.Made, s.Corrections, s.Sound, s.More = r.Device.String(), r.Made.UTC(), len(r.Corrections), r.Sound(), r.More
	for _, n := range r.Names {
		s.Names = append(s.Names, n.String())
	}
	for _, c := range r.Chains {
		x := shownStream{
			Stream: c.Stream, Sensor: c.Sensor, Quantity: c.Quantity, Signer: "service", Segments: c.Segments, Readings: c.Readings,
			From: time.Unix(c.From, 0).UTC(), Until: time.Unix(c.Until, 0).UTC(), Min: c.Min.Value, Max: c.Max.Value, Clock: c.Clock.String(), Gaps: len(c.Gaps) + c.MoreGaps,
		}
		switch {
		case c.Own:
			x.Signer = "device"
		case c.Signer != "":
			x.Signer = "gateway " + c.Signer.String()
		}
		for _, g := range c.Gaps {
			x.Missing += g.Until - g.From
		}
		s.Streams = append(s.Streams, x)
	}
	slices.SortStableFunc(s.Streams, func(a, b shownStream) int { return int(int64(a.Stream) - int64(b.Stream)) })
	for _, a := range r.Statements {
		s.Alarms = append(s.Alarms, shownEpisode{a.ID, a.Rule, a.State, time.Unix(a.Since, 0).UTC(), a.Extreme, a.Version})
	}
	for _, f := range r.Findings {
		s.Findings = append(s.Findings, f.String())
	}
}

func (s *shownEvidence) print(w io.Writer, held bool) {
	line := func(name, text string, args ...any) { fmt.Fprintf(w, "%-10s %s\n", name, fmt.Sprintf(text, args...)) }
	line("device", "%s", s.Device)
	for _, n := range s.Names {
		line("name", "%s", format.Visible(n))
	}
	line("made", "%s", s.Made.Format(time.RFC3339))
	line("authority", "%s, %s", s.Root, s.Authority)
	for _, x := range s.Streams {
		by := map[string]string{"device": "signed by the device", "service": "sealed by the service, as it came"}[x.Signer]
		if by == "" {
			by = "signed by " + x.Signer
		}
		line("stream", "%d %s %s: %s", x.Stream, format.Visible(x.Sensor), x.Quantity, by)
		line("", "%d readings in %d segments, %s to %s, %d to %d, clock %s", x.Readings, x.Segments, x.From.Format(time.RFC3339), x.Until.Format(time.RFC3339), x.Min, x.Max, x.Clock)
		if x.Gaps > 0 {
			line("", "%d gaps, %s without readings", x.Gaps, time.Duration(x.Missing)*time.Second)
		}
		if held {
			line("", "%d of %d segments anchored in the ledger", x.Anchored, x.Segments)
		}
	}
	for _, a := range s.Alarms {
		line("alarm", "%s since %s, %s, worst %d, %d versions", format.Visible(a.Rule), a.Since.Format(time.RFC3339), a.State, a.Extreme, a.Versions)
	}
	for _, a := range s.Anchors {
		switch {
		case !held:
		case a.Reason != "":
			line("anchor", "proves nothing: %s", a.Reason)
		case a.Logged.IsZero():
			line("anchor", "entry %d: %d segments of %s to %s", a.Entry, a.Segments, a.Since.Format(time.RFC3339), a.Until.Format(time.RFC3339))
		default:
			line("anchor", "entry %d: %d segments, in the log at %s", a.Entry, a.Segments, a.Logged.Format(time.RFC3339))
		}
	}
	if len(s.Anchors) > 0 && !held {
		line("anchors", "%d, not held against a ledger: give --policy", len(s.Anchors))
	}
	for _, f := range s.Findings {
		line("wrong", "%s", format.Visible(f))
	}
	if s.More > 0 {
		line("wrong", "and %d more", s.More)
	}
	if s.Sound {
		line("sound", "nothing is wrong with it")
	}
}

type deviceInspectCmd struct {
	File string `arg:"" placeholder:"FILE" help:"A segment, a statement about an alarm, or evidence; - is standard input."`
	JSON bool   `name:"json" help:"One JSON object a line."`
}

// shownItem is one thing, of which nothing was verified.
type shownItem struct {
	Kind       string          `json:"kind"`
	Unverified bool            `json:"unverified"`
	Segment    *shownSegment   `json:"segment,omitempty"`
	Statement  *shownStatement `json:"statement,omitempty"`
	Subject    string          `json:"subject,omitempty"`
	Device     string          `json:"device,omitempty"`
	NotBefore  time.Time       `json:"not_before,omitzero"`
	NotAfter   time.Time       `json:"not_after,omitzero"`
	Content    string          `json:"content,omitempty"`
	Bytes      int             `json:"bytes"`
}

type shownSegment struct {
	Device    string          `json:"device"`
	Stream    uint64          `json:"stream"`
	Quantity  device.Quantity `json:"quantity"`
	Seq       uint64          `json:"seq"`
	Prev      string          `json:"prev"`
	Hash      string          `json:"hash"`
	Start     int64           `json:"start"`
	Interval  int64           `json:"interval"`
	Step      int32           `json:"step"`
	Clock     string          `json:"clock"`
	Algorithm string          `json:"alg"`
	KeyID     string          `json:"kid"`
	Readings  [][2]int64      `json:"readings"`
}

type shownStatement struct {
	ID        string       `json:"id"`
	Version   uint64       `json:"version"`
	Prev      string       `json:"prev"`
	Hash      string       `json:"hash"`
	Device    string       `json:"device,omitempty"`
	Stream    uint64       `json:"stream"`
	Equipment string       `json:"equipment,omitempty"`
	Rule      string       `json:"rule"`
	Terms     string       `json:"terms"`
	Since     int64        `json:"since"`
	At        int64        `json:"at"`
	Until     int64        `json:"until"`
	End       int64        `json:"end"`
	Extreme   int32        `json:"extreme"`
	State     device.State `json:"state"`
	Made      int64        `json:"made"`
	By        string       `json:"by,omitempty"`
	Comment   string       `json:"comment,omitempty"`
	Algorithm string       `json:"alg"`
	KeyID     string       `json:"kid"`
}

// Run shows what is there. It exits 1 where it is none of the three.
func (c *deviceInspectCmd) Run(t terminal) error {
	var in io.Reader = t.in
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return exitError{exitUsage, err}
		}
		defer f.Close()
		in = f
	}
	head := make([]byte, 1)
	if _, err := io.ReadFull(in, head); err != nil {
		return exitError{exitNotValid, errors.New("it is empty")}
	}
	in = io.MultiReader(bytes.NewReader(head), in)
	if !c.JSON {
		fmt.Fprintln(t.out, "unverified")
	}
	if head[0] != 0xd2 { // no COSE_Sign1
		if err := device.ScanEvidence(in, func(i device.Item) error { c.show(t.out, itemOf(i.Kind, i.Content)); return nil }); err != nil {
			return exitError{exitNotValid, err}
		}
		return nil
	}
	data, err := io.ReadAll(io.LimitReader(in, device.MaxSegment+1))
	if err != nil {
		return exitError{exitUsage, err}
	}
	s := itemOf("segment", data)
	if s.Segment == nil {
		s = itemOf("statement", data)
	}
	if s.Segment == nil && s.Statement == nil {
		_, err := device.ParseSegment(data)
		return exitError{exitNotValid, err}
	}
	c.show(t.out, s)
	return nil
}

// itemOf reads one item as far as it can be read.
func itemOf(kind string, data []byte) shownItem {
	s := shownItem{Kind: kind, Unverified: true, Bytes: len(data)}
	hash := func(h device.Hash) string { return hex.EncodeToString(h[:]) }
	switch kind {
	case "segment":
		if x, err := device.ParseSegment(bytes.Clone(data)); err == nil {
			s.Segment = &shownSegment{
				x.Device.String(), x.Stream, x.Quantity, x.Seq, hash(x.Prev), hash(x.Hash), x.Start, x.Interval, x.Step, x.Clock.String(),
				x.Algorithm.String(), hex.EncodeToString(x.KeyID), make([][2]int64, len(x.Readings)),
			}
			for i, r := range x.Readings {
				s.Segment.Readings[i] = [2]int64{r.At, int64(r.Value)}
			}
			return s
		}
	case "statement":
		if a, err := device.ParseStatement(bytes.Clone(data)); err == nil {
			s.Statement = &shownStatement{
				a.ID, a.Version, hash(a.Prev), hash(a.Hash), a.Device.String(), a.Stream, a.Equipment, a.Rule, string(a.Terms), a.Since, a.At, a.Until, a.End, a.Extreme,
				a.State, a.Made, a.By, a.Comment, a.Algorithm.String(), hex.EncodeToString(a.KeyID),
			}
			return s
		}
	case "certificate":
		if x, err := x509.ParseCertificate(bytes.Clone(data)); err == nil {
			s.Subject, s.NotBefore, s.NotAfter = x.Subject.String(), x.NotBefore.UTC(), x.NotAfter.UTC()
			if id, err := device.CertificateID(x); err == nil && id != "" {
				s.Device = id.String()
			}
			return s
		}
	case "anchor":
		if v, err := cbor.Parse(data, cbor.DefaultLimits); err == nil {
			leaf, _ := v.Index(1).Bytes()
			proof, _ := v.Index(2).Bytes()
			s.Content = fmt.Sprintf("leaf of %d bytes, SHA-256 %x; proof of %d bytes", len(leaf), sha256.Sum256(leaf), len(proof))
			return s
		}
	case "seal":
	default:
		if v, err := cbor.Parse(data, cbor.DefaultLimits); err == nil {
			s.Content = diagnose(v)
			return s
		}
	}
	s.Content = hex.EncodeToString(data[:min(len(data), 256)])
	return s
}

// diagnose writes the items of evidence that are arrays of plain values.
func diagnose(v cbor.Value) string {
	if n, ok := v.Int(); ok {
		return fmt.Sprint(n)
	}
	if text, ok := v.Text(); ok {
		return fmt.Sprintf("%q", text)
	}
	if b, ok := v.Bytes(); ok {
		return "h'" + hex.EncodeToString(b) + "'"
	}
	var parts []string
	for e := range v.Elements() {
		parts = append(parts, diagnose(e))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (c *deviceInspectCmd) show(w io.Writer, s shownItem) {
	if c.JSON {
		writeJSON(w, s)
		return
	}
	line := func(name string, value any) {
		if text := fmt.Sprint(value); text != "" {
			fmt.Fprintf(w, "  %-10s %s\n", name, format.Visible(text))
		}
	}
	fmt.Fprintf(w, "%s, %d bytes\n", s.Kind, s.Bytes)
	switch {
	case s.Segment != nil:
		x := s.Segment
		line("device", x.Device)
		line("stream", fmt.Sprintf("%d %s", x.Stream, x.Quantity))
		line("seq", x.Seq)
		line("prev", x.Prev)
		line("hash", x.Hash)
		line("signed", x.Algorithm+" by key "+x.KeyID)
		line("clock", x.Clock)
		line("interval", x.Interval)
		line("step", x.Step)
		for _, r := range x.Readings {
			line("reading", fmt.Sprintf("%s %d", time.Unix(r[0], 0).UTC().Format(time.RFC3339), r[1]))
		}
	case s.Statement != nil:
		x := s.Statement
		line("alarm", x.ID)
		line("version", x.Version)
		line("prev", x.Prev)
		line("hash", x.Hash)
		line("signed", x.Algorithm+" by key "+x.KeyID)
		line("device", x.Device)
		line("stream", x.Stream)
		line("equipment", x.Equipment)
		line("rule", x.Rule)
		line("terms", x.Terms)
		for _, moment := range []struct {
			name string
			at   int64
		}{{"since", x.Since}, {"at", x.At}, {"until", x.Until}, {"end", x.End}, {"made", x.Made}} {
			if moment.at != 0 {
				line(moment.name, time.Unix(moment.at, 0).UTC().Format(time.RFC3339))
			}
		}
		line("extreme", x.Extreme)
		line("state", x.State)
		line("by", x.By)
		line("comment", x.Comment)
	case s.Subject != "" || s.Device != "":
		line("subject", s.Subject)
		line("device", s.Device)
		line("valid", s.NotBefore.Format(time.RFC3339)+" to "+s.NotAfter.Format(time.RFC3339))
	default:
		line("content", s.Content)
	}
}
