package main

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/bundle"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/party/verifier"
)

type replayCmd struct {
	Bundle string `placeholder:"F" help:"Bundle by which it was judged (with --root)."`
	Root   string `placeholder:"R" help:"Root that must have signed the bundle."`
	sourceFlags
	Policy string   `placeholder:"F" help:"Policy by which it was judged, in JSON."`
	Code   []string `sep:"none" placeholder:"F" help:"Text or picture of the code: the whole verdict is reached again. Several for one that was split."`
	Proof  string   `placeholder:"F" help:"Proof that came beside the code."`
	Signer string   `placeholder:"F" help:"Key that must have signed the transcript: certificate or public key in PEM."`
	JSON   bool     `name:"json" help:"One JSON object."`
	File   string   `arg:"" name:"transcript" help:"Transcript of a verdict."`
}

// replayed is what came of it. Result is same, another, not-genuine or undecided.
type replayed struct {
	File      string `json:"file"`
	Result    string `json:"result"`
	Reason    string `json:"reason,omitempty"`
	Detail    string `json:"detail,omitempty"`
	Signer    string `json:"signer,omitempty"` // thumbprint of its key
	Named     bool   `json:"named"`            // it is the key that --signer names
	Edition   int64  `json:"edition,omitempty"`
	At        string `json:"at,omitempty"`
	Clock     string `json:"clock,omitempty"` // where it was judged as of another time
	Format    string `json:"format,omitempty"`
	Outcome   string `json:"outcome,omitempty"`
	Why       string `json:"why,omitempty"`
	Advice    string `json:"advice,omitempty"`
	AdviceWhy string `json:"advice-reason,omitempty"`
	// Done and Left are what was run again, and what was not.
	Done        []string              `json:"done"`
	Left        []string              `json:"left"`
	Differences []verifier.Difference `json:"differences"`
}

const (
	replaySame       = "same"
	replayAnother    = "another"
	replayNotGenuine = "not-genuine"
	replayUndecided  = "undecided"
)

// Run exits 0 if the answer is the same, as far as it could be run again, 1 if it is
// another or the transcript is not genuine, 2 if that cannot be decided.
func (c *replayCmd) Run(t terminal) error {
	data, err := readBounded(c.File, t.in, verifier.MaxTranscript)
	if err != nil {
		return err
	}
	out := replayed{File: c.File, Done: []string{}, Left: []string{}, Differences: []verifier.Difference{}}
	if err := c.replay(t, data, &out); err != nil {
		return err
	}
	if c.JSON {
		writeJSON(t.out, out)
	} else {
		out.print(t)
	}
	switch out.Result {
	case replaySame:
		return nil
	case replayUndecided:
		return exitError{code: exitUndecided}
	}
	return exitError{code: exitNotValid}
}

func (c *replayCmd) replay(t terminal, data []byte, out *replayed) error {
	refuse := func(result, reason, detail string) error {
		out.Result, out.Reason, out.Detail = result, reason, detail
		return nil
	}
	// Step 1: the transcript is whole, and of the one whom somebody names.
	x, err := verifier.ParseTranscript(data)
	switch {
	case errors.Is(err, verifier.ErrTranscriptForm):
		return refuse(replayUndecided, string(verifier.ErrTranscriptForm), "a later version of ampoule wrote it")
	case err != nil:
		return refuse(replayNotGenuine, format.Reason(err, string(verifier.ErrTranscript)), err.Error())
	}
	out.tell(x)
	if c.Signer != "" {
		pins, err := readPins("--signer", []string{c.Signer})
		if err != nil {
			return err
		}
		same := func(k crypto.PublicKey) bool {
			p, ok := k.(interface{ Equal(crypto.PublicKey) bool })
			return ok && p.Equal(x.Signer)
		}
		if out.Named = slices.ContainsFunc(pins, same); !out.Named {
			return refuse(replayNotGenuine, "other-signer", "another key than --signer has signed it")
		}
	}
	out.Done = append(out.Done, "signature")
	if x.Edition != verifier.Edition {
		return refuse(replayUndecided, "other-edition", fmt.Sprintf("the rules of verdict are those of edition %d, and this ampoule has edition %d", x.Edition, verifier.Edition))
	}

	// Step 2: what it was judged by is what is here.
	f := trustFlags{Bundle: c.Bundle, Root: c.Root, sourceFlags: c.sourceFlags, Policy: c.Policy}
	at := func() time.Time { return x.Read }
	var b *bundle.Opened
	switch {
	case c.Bundle != "":
		if b, err = openBundle(c.Bundle, c.Root, x.Read); err != nil {
			return err
		}
	case c.Root != "":
		return usageError("--root is for a bundle, and there is none: give --bundle")
	}
	sources, err := f.sources(b)
	if err != nil {
		return err
	}
	var v *verifier.Verifier
	if other := x.Held(sources); len(other) > 0 {
		out.Differences = append(out.Differences, x.Derive(nil)...)
		if len(out.Differences) > 0 {
			return refuse(replayAnother, "outcome-does-not-follow", "")
		}
		out.Done = append(out.Done, "outcome and advice from the checks in the transcript")
		out.Left = append(out.Left, "sources", "checks")
		if slices.ContainsFunc(sources, func(s verifier.Source) bool { return !slices.Contains(x.Sources, s) }) {
			out.Differences = other
			return refuse(replayAnother, "other-sources", "it was judged by others than those that are here")
		}
		out.Differences = other
		return refuse(replayUndecided, "sources-missing", "not all that it was judged by is here, in its order")
	}
	out.Done = append(out.Done, "sources")
	// verifierOf refuses a destination where there are no rules; none is recorded then.
	f.Arrival, f.Region = x.Arrival, x.Region
	if v, err = f.verifierOf(b, at); err != nil {
		return err
	}

	// Step 3: the answer follows from the checks.
	if out.Differences = append(out.Differences, x.Derive(v)...); len(out.Differences) > 0 {
		return refuse(replayAnother, "outcome-does-not-follow", "")
	}
	out.Done = append(out.Done, "outcome and advice from the checks in the transcript")

	// Step 4: the checks give the same answers.
	if len(c.Code) == 0 {
		out.Left = append(out.Left, "checks")
		return refuse(replaySame, "", "")
	}
	var proof []byte
	if c.Proof != "" {
		if proof, err = readBounded(c.Proof, t.in, maxProof); err != nil {
			return usageError("--proof: %w", err)
		}
	}
	found, err := c.again(t, x, v, proof)
	switch {
	case err != nil:
		return err
	case len(found) == 1 && found[0].What == "code":
		out.Differences = found
		out.Left = append(out.Left, "checks")
		return refuse(replayAnother, "other-code", "the transcript is of another code, or of another proof beside it")
	case len(found) > 0:
		out.Differences = found
		return refuse(replayAnother, "other-answer", "")
	}
	out.Done = append(out.Done, "checks")
	return refuse(replaySame, "", "")
}

// again runs the code that the transcript is of, among those that were given.
func (c *replayCmd) again(t terminal, x *verifier.Transcript, v *verifier.Verifier, proof []byte) (found []verifier.Difference, err error) {
	var codes []string
	for _, file := range c.Code {
		data, err := readInput(file, t.in)
		if err != nil {
			return nil, usageError("--code: %w", err)
		}
		texts, err := readCodes(data)
		if err != nil {
			return nil, usageError("--code %s: %w", file, err)
		}
		codes = append(codes, texts...)
	}
	for _, group := range verifier.Group(codes) {
		if found = x.Again(v, proof, group...); len(found) != 1 || found[0].What != "code" {
			return found, nil
		}
	}
	return found, nil
}

// tell writes down what the transcript says.
func (out *replayed) tell(x *verifier.Transcript) {
	if kid, err := cose.Thumbprint(x.Signer); err == nil { // it was found before
		out.Signer = fmt.Sprintf("%x", kid)
	}
	out.Edition, out.At = x.Edition, x.At.Format(time.RFC3339)
	if !x.Clock.Equal(x.At) {
		out.Clock = x.Clock.Format(time.RFC3339)
	}
	out.Format, out.Outcome, out.Why = x.Format, string(x.Outcome), x.Reason
	out.Advice, out.AdviceWhy = string(x.Advice.Value), x.Advice.Reason
}

func (out *replayed) print(t terminal) {
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(t.out, "  %s: %s\n", name, format.Visible(value))
		}
	}
	fmt.Fprintf(t.out, "%s\n", out.File)
	line("result", out.Result)
	line("reason", strings.TrimSuffix(out.Reason+": "+out.Detail, ": "))
	for _, d := range out.Differences {
		line("differs", fmt.Sprintf("%s: %s in the transcript, %s here", d.What, orNone(d.Was), orNone(d.Is)))
	}
	if out.Signer == "" {
		return
	}
	vouched := "nobody here says whose it is"
	if out.Named {
		vouched = "as --signer has it"
	}
	line("signed by", fmt.Sprintf("key %s, %s", out.Signer, vouched))
	at := out.At
	if out.Clock != "" {
		at += ", by what was known at " + out.Clock
	}
	line("judged", at)
	line("format", out.Format)
	line("outcome", fmt.Sprintf("%s (%s)", out.Outcome, out.Why))
	line("dose advice", fmt.Sprintf("%s (%s)", out.Advice, out.AdviceWhy))
	line("run again", strings.Join(out.Done, ", "))
	line("not run again", strings.Join(out.Left, ", "))
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
