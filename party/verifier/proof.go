package verifier

import (
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/shc"
	"ampoule/format/vdsnc"
	"ampoule/ledger/print"
	"ampoule/ledger/tlog"
)

// The reasons of step 10.
const (
	reasonNoProof       = "none-carried"
	reasonNoFingerprint = "no-fingerprint"
	reasonNoLandmarks   = "no-landmarks"
	reasonNoLandmark    = "landmark-not-known"
	reasonLandmark      = "under-a-landmark"
)

// leaf makes the fingerprint of the certificate.
func (c *certificate) leaf() (print.Leaf, error) {
	switch e := c.envelope.(type) {
	case *cose.Sign1:
		return print.OfSign1(e)
	case *shc.JWS:
		return print.OfJWS(e)
	case *vdsnc.Seal:
		return print.OfSeal(e)
	}
	return print.Leaf{}, print.ErrNoSecret
}

// checkProof makes step 10: the way from the certificate's fingerprint to the root
// of a batch, which must be among the landmarks (docs/spec/landmark-path.md). The
// roots are believed because the maker of the bundle signed them: no log is asked,
// and when the certificate was made does not follow.
//
// A path whose root is not among them proves nothing and disproves nothing: the
// landmarks may be older than the batch, or the path be that of another certificate.
func (v *Verifier) checkProof(out *Verdict, c *certificate) {
	switch {
	case v.proof == nil:
		out.set(StepProof, NotApplicable, reasonNoProof, "")
		return
	case c.key == nil:
		out.set(StepProof, NotChecked, reasonNoSignature, "")
		return
	}
	path, err := tlog.ParseBatchPath(v.proof)
	if err != nil {
		out.set(StepProof, Fail, format.Reason(err, string(tlog.ErrBatchPath)), err.Error())
		return
	}
	leaf, err := c.leaf()
	if err != nil { // of a format without fingerprints
		out.set(StepProof, NotApplicable, reasonNoFingerprint, err.Error())
		return
	}
	root, err := path.Root(leaf.Hash())
	switch {
	case err != nil:
		out.set(StepProof, Fail, format.Reason(err, string(tlog.ErrBatchPath)), err.Error())
	case v.Landmarks == nil || v.Landmarks.Len() == 0:
		out.set(StepProof, CannotTell, reasonNoLandmarks, "there is no bundle with landmarks")
	case !v.Landmarks.Has(root):
		out.set(StepProof, CannotTell, reasonNoLandmark, "the landmarks may be older than the batch, or the proof be that of another certificate")
	default:
		out.set(StepProof, Pass, reasonLandmark, "the maker of the bundle vouches for the landmark; no log was asked")
	}
}
