// Package engine is the verifier of a browser: what a page asks of it, in the
// texts and bytes that can cross into WebAssembly. It decides nothing itself;
// web/wasm is the thin layer that makes its methods functions of JavaScript.
//
// An engine keeps one bundle at a time and knows nothing without one. It stores
// nothing: the page keeps the bytes of the bundle and of its roots, and gives
// them back at the next start.
package engine

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"ampoule/bundle"
	"ampoule/format"
	"ampoule/format/certlogic"
	"ampoule/party/verifier"
	"ampoule/trust"
)

// Engine is what a page verifies with. It is for one thread, as a browser has.
type Engine struct {
	Now func() time.Time

	pinned   []bundle.Root
	kept     *bundle.Opened
	verifier *verifier.Verifier
}

// Info is what a page shows of the bundle that is kept.
type Info struct {
	Serial int64     `json:"serial"`
	Issued time.Time `json:"issued"`
	Next   time.Time `json:"next"`
	Maker  string    `json:"maker"`
	Root   string    `json:"root"` // fingerprint of the root that signed it
	// Roots is the file of those to pin from now on: the page stores it beside the
	// bundle.
	Roots        string   `json:"roots"`
	Keys         int      `json:"keys"`
	Destinations []string `json:"destinations"` // countries that have rules of acceptance
}

// Pin sets the roots that must have signed the first bundle.
func (e *Engine) Pin(file []byte) error {
	roots, err := bundle.ParseRoots(file)
	if err == nil {
		e.pinned = roots
	}
	return err
}

// Accept takes a bundle in the place of the one that is kept, if it is an
// authentic newer one: see [bundle.Accept]. What was kept stays after an error.
func (e *Engine) Accept(file []byte) (Info, error) {
	opened, err := bundle.Accept(e.kept, file, e.pinned, bundle.DefaultShrink, e.Now())
	if err != nil {
		return Info{}, err
	}
	roots, err := bundle.EncodeRoots(opened.Roots...)
	if err != nil {
		return Info{}, err
	}
	e.kept, e.verifier = opened, verifier.FromBundle(opened, e.Now)
	info := Info{
		Serial: opened.Serial, Issued: opened.Issued, Next: opened.Next, Maker: opened.Maker,
		Root: opened.Signer.Fingerprint(), Roots: string(roots), Keys: len(opened.Trust.All()), Destinations: []string{},
	}
	for _, r := range opened.Contents.Rules {
		if r.Type == certlogic.Acceptance {
			info.Destinations = append(info.Destinations, r.Country)
		}
	}
	slices.Sort(info.Destinations)
	info.Destinations = slices.Compact(info.Destinations)
	return info, nil
}

// Options are the choices of one verification.
type Options struct {
	Show    bool      `json:"show"`    // the content even where the certificate is not valid
	At      time.Time `json:"at"`      // judge as of this time; zero: now
	Arrival string    `json:"arrival"` // country of arrival, whose rules apply
	Proof   []byte    `json:"proof"`   // what came beside the one certificate; nil: nothing did
}

// Verify judges the texts of some codes. It returns a line for each certificate:
// the JSON that `ampoule verify --json` prints, without the name of a file.
func (e *Engine) Verify(texts []string, o Options) []byte {
	v := e.with(o)
	var lines []byte
	for _, group := range verifier.Group(texts) {
		lines = append(lines, v.Verify(group...).Report(o.Show).JSON()...)
		lines = append(lines, '\n')
	}
	return lines
}

// with returns the verifier for the options.
func (e *Engine) with(o Options) *verifier.Verifier {
	v := e.verifier
	if v == nil {
		v = &verifier.Verifier{Trust: new(trust.List), Now: e.Now}
	}
	return v.With(verifier.Options{At: o.At, Arrival: o.Arrival, Proof: o.Proof})
}

// Codes returns the texts of the codes in a file that is no picture, as JSON.
func Codes(file []byte) ([]byte, error) {
	texts, err := verifier.Codes(file)
	if err != nil {
		return nil, err
	}
	return json.Marshal(texts)
}

// Failure is how a page is told of an error: by its stable word, which the page
// has a text for, and by its details, which it has not.
func Failure(err error) []byte {
	data, err := json.Marshal(map[string]string{"error": format.Reason(err, "failed"), "detail": err.Error()})
	if err != nil {
		panic(fmt.Sprint("engine: ", err)) // two texts
	}
	return data
}
