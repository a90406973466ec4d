package device

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	fx "github.com/fxamacker/cbor/v2"
	gocose "github.com/veraison/go-cose"

	"ampoule/format"
)

// token is made by another implementation of CBOR and COSE.
func token(t testing.TB, key *ecdsa.PrivateKey, claims map[int]any) []byte {
	t.Helper()
	payload, err := fx.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := gocose.NewSigner(gocose.AlgorithmES256, key)
	if err != nil {
		t.Fatal(err)
	}
	data, err := gocose.Sign1(rand.Reader, signer, gocose.Headers{Protected: gocose.ProtectedHeader{gocose.HeaderLabelAlgorithm: gocose.AlgorithmES256}}, payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func claims() map[int]any {
	return map[int]any{
		claimNonce: []byte("eight or more"), claimUEID: append([]byte{1}, make([]byte, 16)...), claimOEM: []byte{1, 2, 3}, claimModel: []byte("probe 1"),
		claimDebug: 3, claimIssued: newYear.Unix(), claimExpiry: newYear.Add(time.Hour).Unix(),
		claimMeasurements: []any{[]any{258, []byte("firmware 1")}, []any{258, []byte("boot loader")}}, 265: "urn:specimen",
	}
}

func TestAppraiseToken(t *testing.T) {
	key := ecKey(t)
	measured := func(s string) Measurement { return Measurement{258, sha256.Sum256([]byte(s))} }
	expect := TokenExpectation{
		Nonce: []byte("eight or more"), Pinned: key.Public(), UEID: append([]byte{1}, make([]byte, 16)...), Debug: DebugDisabledSinceBoot, For: 2 * time.Hour,
		Models: []Model{{"010203", []byte("probe 1"), map[string][]Measurement{"1.0": {measured("firmware 1")}, "2.0": {measured("firmware 2")}, "none": nil}}},
	}
	for _, c := range []struct {
		name   string
		change func(map[int]any, *TokenExpectation)
		check  string
		reason format.Defect
	}{
		{name: "good"},
		{name: "several nonces", change: func(m map[int]any, e *TokenExpectation) {
			m[claimNonce] = []any{[]byte("of another"), []byte("eight or more")}
		}},
		{name: "an enterprise", change: func(m map[int]any, e *TokenExpectation) {
			m[claimOEM] = 343
			e.Models = []Model{{"343", []byte("probe 1"), map[string][]Measurement{"1.0": {measured("firmware 1")}}}}
		}},
		{name: "no key", change: func(m map[int]any, e *TokenExpectation) { e.Pinned = nil }, check: "endorsement", reason: ErrEndorsed},
		{name: "another key", change: func(m map[int]any, e *TokenExpectation) { e.Pinned = ecKey(t).Public() }, check: "signature", reason: "bad-signature"},
		{name: "another nonce", change: func(m map[int]any, e *TokenExpectation) { e.Nonce = []byte("of this request") }, check: "nonce", reason: ErrNonce},
		{name: "no nonce was sent", change: func(m map[int]any, e *TokenExpectation) { e.Nonce = nil }, check: "nonce", reason: ErrNonce},
		{name: "expired", change: func(m map[int]any, e *TokenExpectation) { m[claimExpiry] = newYear.Unix() }, check: "period", reason: ErrTokenTime},
		{name: "of tomorrow", change: func(m map[int]any, e *TokenExpectation) { m[claimIssued] = newYear.Unix() + 86400 }, check: "period", reason: ErrTokenTime},
		{name: "another device", change: func(m map[int]any, e *TokenExpectation) {
			m[claimUEID] = append([]byte{1}, bytes.Repeat([]byte{1}, 16)...)
		}, check: "identity", reason: ErrIdentity},
		{name: "no device", change: func(m map[int]any, e *TokenExpectation) { delete(m, claimUEID); e.UEID = nil }, check: "identity", reason: ErrIdentity},
		{name: "open to debuggers", change: func(m map[int]any, e *TokenExpectation) { m[claimDebug] = 1 }, check: "debug", reason: ErrDebug},
		{name: "does not say", change: func(m map[int]any, e *TokenExpectation) { delete(m, claimDebug) }, check: "debug", reason: ErrDebug},
		{name: "another model", change: func(m map[int]any, e *TokenExpectation) { m[claimModel] = []byte("probe 2") }, check: "model", reason: ErrModel},
		{name: "another firmware", change: func(m map[int]any, e *TokenExpectation) {
			m[claimMeasurements] = []any{[]any{258, []byte("firmware 3")}}
		}, check: "reference", reason: ErrReference},
		{name: "a short nonce", change: func(m map[int]any, e *TokenExpectation) { m[claimNonce] = []byte("seven..") }, check: "form", reason: ErrToken},
		{name: "a debugger of no sense", change: func(m map[int]any, e *TokenExpectation) { m[claimDebug] = 5 }, check: "form", reason: ErrToken},
		{name: "an OEM of no form", change: func(m map[int]any, e *TokenExpectation) { m[claimOEM] = []byte{1} }, check: "form", reason: ErrToken},
		{name: "a measurement of no form", change: func(m map[int]any, e *TokenExpectation) { m[claimMeasurements] = []any{1} }, check: "form", reason: ErrToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, e := claims(), expect
			if c.change != nil {
				c.change(m, &e)
			}
			a := AppraiseToken(token(t, key, m), &e, newYear)
			i := slices.IndexFunc(a.Checks, func(c Check) bool { return !c.Pass })
			switch {
			case c.check == "" && (i >= 0 || a.Reference != "1.0" || !a.Until.Equal(newYear.Add(time.Hour))): // the token's end comes first
				t.Errorf("%+v", a)
			case c.check != "" && (i < 0 || a.Checks[i].Name != c.check || a.Checks[i].Reason != c.reason || a.Good()):
				t.Errorf("%+v", a)
			}
		})
	}
	good := token(t, key, claims())
	good[len(good)-1] ^= 1
	if a := AppraiseToken(good, &expect, newYear); a.Good() {
		t.Error("a touched signature is taken")
	}
}

func FuzzParseToken(f *testing.F) {
	key := ecKey(f)
	f.Add(token(f, key, claims()))
	f.Fuzz(func(t *testing.T, data []byte) {
		if tok, err := ParseToken(data); err == nil && len(tok.Nonces) == 0 {
			_ = tok.message.Verify(key.Public())
		}
	})
}
