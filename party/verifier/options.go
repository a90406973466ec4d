package verifier

import "time"

// Options are the choices of one verification.
type Options struct {
	At      time.Time // judge as of this time; zero: now
	Arrival string    // country of arrival, whose rules apply; empty: as it was set
	// Proof is what came beside the one certificate that is to be verified: a batch
	// path (docs/spec/landmark-path.md) or a receipt (docs/spec/receipt.md), as a file
	// or as the text of a code. nil: none did.
	Proof []byte
}

// With returns a verifier that makes these choices, and knows what v knows.
func (v *Verifier) With(o Options) *Verifier {
	w := *v
	if o.Proof != nil {
		w.proof = ReadProof(o.Proof)
	}
	if w.Rules != nil && o.Arrival != "" {
		rules := *w.Rules
		rules.Arrival = o.Arrival
		w.Rules = &rules
	}
	if o.At.IsZero() {
		return &w
	}
	// Who travels in three weeks is judged as of then, by what is known today: how
	// old that is, the clock on the wall says.
	if w.wall.IsZero() {
		w.wall = v.Now()
	}
	w.Now = func() time.Time { return o.At }
	return &w
}
