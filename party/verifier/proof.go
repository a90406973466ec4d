package verifier

import (
	"errors"
	"fmt"
	"strings"

	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/hcert"
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
	reasonLogged        = "logged"
	reasonReceipt       = "notary-receipt"
	reasonNoNotary      = "notary-not-known"
	reasonOtherReceipt  = "receipt-of-another-kind"
	reasonReceiptFails  = "receipt-does-not-verify"
)

// proofPrefix begins the text of a proof in a code of its own.
const proofPrefix = "AP1:"

// ProofText is a proof as the text of a code: AP1: and base45, which a QR code holds in
// its alphanumeric mode.
func ProofText(proof []byte) string { return proofPrefix + hcert.EncodeBase45(proof) }

// ReadProof returns the proof in a file or in the text of a code. What is neither is
// left as it is, and no proof.
func ReadProof(data []byte) []byte {
	body, ok := strings.CutPrefix(format.TrimText(string(data)), proofPrefix)
	if !ok {
		return data
	}
	proof, err := hcert.DecodeBase45(body)
	if err != nil || len(proof) == 0 {
		return data
	}
	return proof
}

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

// carried are the proofs that came with the certificate: beside it, or receipts in its
// own unprotected header 394 (RFC 9942 section 2).
func (v *Verifier) carried(c *certificate) (proofs [][]byte, err error) {
	if m, ok := c.envelope.(*cose.Sign1); ok {
		if proofs, err = tlog.Receipts(m); err != nil {
			return nil, err
		}
	}
	if v.proof != nil {
		proofs = append([][]byte{v.proof}, proofs...)
	}
	return proofs, nil
}

// checkProof makes step 10: the way from the certificate's fingerprint to the root of
// a batch, and who vouches for that root.
//
//   - The maker of the bundle does for its landmarks, and says in which place of a
//     log they stand where it has seen that proven.
//   - A notary does by its signature in a receipt, where the bundle names its key.
//
// No log is asked, and when the certificate was made does not follow. Of several
// proofs one that fails decides, then one that holds.
func (v *Verifier) checkProof(out *Verdict, c *certificate) {
	proofs, err := v.carried(c)
	switch {
	case err == nil && len(proofs) == 0:
		out.set(StepProof, NotApplicable, reasonNoProof, "")
		return
	case c.key == nil:
		out.set(StepProof, NotChecked, reasonNoSignature, "")
		return
	case err != nil:
		out.set(StepProof, Fail, string(tlog.ErrReceipt), err.Error())
		return
	}
	leaf, noLeaf := c.leaf()
	var best Check
	for n, proof := range proofs {
		check := v.proofOf(proof, leaf.Hash(), noLeaf)
		if n == 0 || check.Result == Fail || check.Result == Pass && best.Result != Pass {
			best = check
		}
		if best.Result == Fail {
			break
		}
	}
	out.set(StepProof, best.Result, best.Reason, best.Detail)
}

// proofOf judges one proof.
func (v *Verifier) proofOf(proof []byte, leaf tlog.Hash, noLeaf error) Check {
	noPath := func(err error) Check {
		return Check{Result: Fail, Reason: format.Reason(err, string(tlog.ErrBatchPath)), Detail: err.Error()}
	}
	// Step 1: what it is. A receipt is a tagged COSE_Sign1, and a path is an array.
	var path *tlog.BatchPath
	var by *tlog.RootSignature
	if len(proof) > 0 && proof[0] == 0xc0|cose.TagSign1 {
		r, err := tlog.ParseReceipt(proof)
		if errors.Is(err, tlog.ErrVDS) {
			return Check{Result: CannotTell, Reason: reasonOtherReceipt, Detail: "it is of another kind of log"}
		}
		if err != nil {
			return Check{Result: Fail, Reason: string(tlog.ErrReceipt), Detail: err.Error()}
		}
		path, by = r.Path, r.By
	} else {
		var err error
		if path, err = tlog.ParseBatchPath(proof); err != nil {
			return noPath(err)
		}
	}
	if noLeaf != nil { // of a format without fingerprints
		return Check{Result: NotApplicable, Reason: reasonNoFingerprint, Detail: noLeaf.Error()}
	}

	// Step 2: the root that it leads to.
	root, err := path.Root(leaf)
	if err != nil {
		return noPath(err)
	}

	// Step 3: a receipt of a notary that the bundle names must verify, whoever vouches
	// for the root besides.
	signed := false
	if by != nil {
		for _, l := range v.Ledgers {
			for _, pub := range l.Notary(by.KID) {
				if err = by.Verify(pub, root); err == nil {
					signed = true
				}
			}
		}
		if err != nil && !signed {
			return Check{Result: Fail, Reason: reasonReceiptFails, Detail: "it is not of this certificate, or was changed: " + err.Error()}
		}
	}

	// Step 4: who vouches for the root.
	for _, l := range v.Ledgers {
		if index, ok := l.Places[root]; ok {
			return Check{Result: Pass, Reason: reasonLogged, Detail: fmt.Sprintf("entry %d of the log %s, as the maker of the bundle has seen proven%s", index, l.Origin(), andNotary(signed))}
		}
	}
	switch {
	case v.Landmarks != nil && v.Landmarks.Has(root):
		return Check{Result: Pass, Reason: reasonLandmark, Detail: "the maker of the bundle vouches for the landmark; no log was asked" + andNotary(signed)}
	case signed:
		return Check{Result: Pass, Reason: reasonReceipt, Detail: "a notary of the log, whose key the bundle names, has signed that it is there"}
	case by != nil:
		return Check{Result: CannotTell, Reason: reasonNoNotary, Detail: "the receipt is signed by a key that no bundle names"}
	case v.Landmarks == nil || v.Landmarks.Len() == 0:
		return Check{Result: CannotTell, Reason: reasonNoLandmarks, Detail: "there is no bundle with landmarks"}
	}
	// A path whose root is not among them proves nothing and disproves nothing.
	return Check{Result: CannotTell, Reason: reasonNoLandmark, Detail: "the landmarks may be older than the batch, or the proof be that of another certificate"}
}

func andNotary(signed bool) string {
	if signed {
		return "; a notary's receipt says the same"
	}
	return ""
}
