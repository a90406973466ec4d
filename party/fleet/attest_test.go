package fleet_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"testing"
	"time"

	fx "github.com/fxamacker/cbor/v2"
	gocose "github.com/veraison/go-cose"

	"ampoule/device"
	"ampoule/format"
	"ampoule/party/fleet"
)

// token is made by another implementation of CBOR and COSE, for a device whose firmware
// is such a one.
func token(t *testing.T, key *ecdsa.PrivateKey, nonce []byte, firmware string, at time.Time) []byte {
	t.Helper()
	payload, err := fx.Marshal(map[int]any{
		10: nonce, 256: append([]byte{1}, make([]byte, 16)...), 258: []byte{1, 2, 3}, 259: []byte("probe 1"), 263: 3, 6: at.Unix(),
		273: []any{[]any{258, []byte(firmware)}},
	})
	must(t, err)
	signer, err := gocose.NewSigner(gocose.AlgorithmES256, key)
	must(t, err)
	data, err := gocose.Sign1(rand.Reader, signer, gocose.Headers{Protected: gocose.ProtectedHeader{gocose.HeaderLabelAlgorithm: gocose.AlgorithmES256}}, payload, nil)
	must(t, err)
	return data
}

func endorsement(t *testing.T, key *ecdsa.PrivateKey) *fleet.Endorsement {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	must(t, err)
	sum := sha256.Sum256([]byte("firmware 1"))
	return &fleet.Endorsement{
		Form: fleet.EAT, Public: public, UEID: append([]byte{1}, make([]byte, 16)...), OEM: "010203", Model: []byte("probe 1"), Debug: device.DebugDisabled,
		Releases: []fleet.Release{{Name: "1.0", Measurements: map[uint64][]string{258: {hex.EncodeToString(sum[:])}}}},
	}
}

// TestAttest: a nonce is good once and not for long, for the device that got it; what was
// attested ends with its day, with another state and with another endorsement.
func TestAttest(t *testing.T) {
	k := newKit(t)
	ctx := t.Context()
	d, other := k.logger("1", nil), k.logger("2", nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	if _, _, err := k.Challenge(ctx, d.ID); !errors.Is(err, fleet.ErrNotEndorsed) {
		t.Errorf("without an endorsement: %v", err)
	}
	for _, id := range []device.ID{d.ID, other.ID} {
		_, err := k.Endorse(ctx, by, id, endorsement(t, key))
		must(t, err)
	}
	ask := func(id device.ID) []byte {
		t.Helper()
		nonce, until, err := k.Challenge(ctx, id)
		must(t, err)
		if len(nonce) != 32 || !until.After(k.now) {
			t.Errorf("%x until %s", nonce, until)
		}
		return nonce
	}
	show := func(id device.ID, nonce []byte, firmware string, want format.Defect) {
		t.Helper()
		a, err := k.Attest(ctx, id, &fleet.Attestation{Token: token(t, key, nonce, firmware, k.now)})
		must(t, err)
		got := format.Defect("")
		for _, c := range a.Checks {
			if !c.Pass {
				got = c.Reason
				break
			}
		}
		if got != want || a.Good() != (want == "") {
			t.Errorf("%+v, want %q", a.Checks, want)
		}
	}
	attested := func(want bool) {
		t.Helper()
		now, err := k.Device(ctx, by, d.ID)
		must(t, err)
		if k.now.Before(now.Attested) != want {
			t.Errorf("attested until %s at %s, want %v", now.Attested, k.now, want)
		}
	}
	show(d.ID, []byte("one of its own making"), "firmware 1", device.ErrNonce)
	attested(false)
	nonce := ask(d.ID)
	show(d.ID, nonce, "firmware 1", "")
	attested(true)
	show(d.ID, nonce, "firmware 1", device.ErrNonce) // again
	attested(true)                                   // who repeats an old one takes nothing away
	ask(d.ID)
	show(d.ID, ask(other.ID), "firmware 1", device.ErrNonce) // of another device
	nonce = ask(d.ID)
	k.now = k.now.Add(6 * time.Minute)
	show(d.ID, nonce, "firmware 1", device.ErrNonce) // too late
	nonce = ask(d.ID)
	ask(d.ID)
	show(d.ID, nonce, "firmware 1", device.ErrNonce) // the one before
	show(d.ID, ask(d.ID), "firmware 1", "")
	attested(true)
	k.now = k.now.Add(fleet.AttestedFor + time.Second)
	attested(false)
	show(d.ID, ask(d.ID), "firmware 1", "")
	attested(true)
	show(d.ID, ask(d.ID), "firmware 2", device.ErrReference)
	attested(false)
	show(d.ID, ask(d.ID), "firmware 1", "")
	_, err = k.Endorse(ctx, by, d.ID, endorsement(t, key))
	must(t, err)
	attested(false)
	show(d.ID, ask(d.ID), "firmware 1", "")
	_, err = k.Endorse(ctx, by, d.ID, nil)
	must(t, err)
	attested(false)
	// Who does not manage it takes no key in; one that is suspended attests nothing.
	if _, err := k.Endorse(ctx, fleet.Actor{ID: "other", Within: fleet.Place{Organisation: "other"}}, d.ID, nil); !errors.Is(err, fleet.ErrNoDevice) {
		t.Errorf("of another organisation: %v", err)
	}
	_, err = k.Turn(ctx, by, other.ID, device.Suspended, device.Lost)
	must(t, err)
	if _, _, err := k.Challenge(ctx, other.ID); !errors.Is(err, fleet.ErrDenied) {
		t.Errorf("suspended: %v", err)
	}
	if _, err := k.Attest(ctx, other.ID, &fleet.Attestation{}); !errors.Is(err, fleet.ErrDenied) {
		t.Errorf("suspended: %v", err)
	}
}

// TestEndorseRefuses: an endorsement by which anything would pass is none.
func TestEndorseRefuses(t *testing.T) {
	k := newKit(t)
	d := k.logger("1", nil)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	hash := hex.EncodeToString(make([]byte, 32))
	for name, change := range map[string]func(*fleet.Endorsement){
		"no key":               func(e *fleet.Endorsement) { e.Public = []byte("key") },
		"no releases":          func(e *fleet.Endorsement) { e.Releases = nil },
		"a release twice":      func(e *fleet.Endorsement) { e.Releases = append(e.Releases, e.Releases[0]) },
		"no name":              func(e *fleet.Endorsement) { e.Releases[0].Name = "" },
		"nothing measured":     func(e *fleet.Endorsement) { e.Releases[0].Measurements = nil },
		"a value that is none": func(e *fleet.Endorsement) { e.Releases[0].Measurements[258] = []string{"00"} },
		"no values":            func(e *fleet.Endorsement) { e.Releases[0].Measurements[258] = nil },
		"registers in a token": func(e *fleet.Endorsement) { e.Releases[0].Registers = map[int][]string{0: {hash}} },
		"of nobody":            func(e *fleet.Endorsement) { e.UEID = nil },
		"another form":         func(e *fleet.Endorsement) { e.Form = "word" },
		"a TPM of no registers": func(e *fleet.Endorsement) {
			e.Form = fleet.TPMQuote
		},
		"a register that there is not": func(e *fleet.Endorsement) {
			e.Form, e.Releases = fleet.TPMQuote, []fleet.Release{{Name: "1", Registers: map[int][]string{24: {hash}}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := endorsement(t, key)
			change(e)
			if _, err := k.Endorse(t.Context(), by, d.ID, e); !errors.Is(err, fleet.ErrOrder) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestSpeaksFor: a supplier, a gateway and a device of somebody else bring nothing for a
// device that is not theirs, and what a gateway brings unsigned is no better than a token.
func TestSpeaksFor(t *testing.T) {
	k := newKit(t)
	d, gateway := k.logger("1", nil), k.logger("gateway", nil)
	readings := every(0, 5)
	for _, tt := range []struct {
		name   string
		source fleet.Source
		stored int
	}{
		{"its supplier", source, 1},
		{"another supplier", fleet.Source{Supplier: "another", Level: device.LevelToken, Organisation: "moh"}, 0},
		{"another device", fleet.Source{Device: gateway.ID, Level: device.LevelMutual, Organisation: "moh"}, 0},
		{"a person of another organisation", fleet.Source{Supplier: "person", Level: device.LevelFile, Organisation: "other", Trusted: true}, 0},
		{"itself", fleet.Source{Device: d.ID, Level: device.LevelMutual, Organisation: "moh"}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := k.Ingest(t.Context(), &fleet.Delivery{Source: tt.source, Series: []fleet.Series{{Device: d.Names[0], Sensor: tt.name, Quantity: device.Temperature, Readings: readings}}})
			must(t, err)
			if r.Stored != tt.stored || len(r.Refused) != 1-tt.stored || tt.stored == 0 && r.Refused[0].Reason != fleet.ReasonDenied {
				t.Errorf("%+v", r)
			}
		})
	}
	// What a device measured stands at its own time, however late a gateway brings it.
	k.now = day.Add(10 * 24 * time.Hour)
	k.deliver(d, every(60, 6))
	streams, err := k.book.StreamsOf(t.Context(), d.ID)
	must(t, err)
	for _, s := range streams {
		all, err := k.book.Blocks(t.Context(), s.N, 0, 1<<40)
		must(t, err)
		for _, b := range all {
			if b.Last > day.Unix()+2*3600 {
				t.Errorf("%s: restamped to %d", s.Sensor, b.Last)
			}
			if s.Sensor != "itself" && b.Level > device.LevelToken {
				t.Errorf("%s: level %d", s.Sensor, b.Level)
			}
		}
	}
}
