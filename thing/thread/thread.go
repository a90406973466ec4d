// Package thread is the proof behind a dose: what leads from a certificate to the
// readings of the refrigerators that its vaccine stood in, in one file that is checked
// without asking anybody.
//
// Each part is as those said it who answer for it: events as they were told, readings as
// they were signed, statements of authorities as they were signed, ledger proofs as they
// were kept. What the service adds (which parts belong together, and what follows from
// them) is made again by [Thread.Check] from the parts. See docs/spec/thread.md.
package thread

import (
	"bytes"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format"
	"ampoule/format/cose"
	"ampoule/format/epcis"
	"ampoule/format/gs1"
	"ampoule/format/strictjson"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// Thread is what is known behind a dose, or behind the stock of a lot at a place.
//
//	file    = COSE_Sign1                ;; as cose.Single has it, by a service
//	payload = text .json thread         ;; without white space around its members
//	thread  = {
//	  thread: "ampoule thread", form: 1,
//	  made: tdate, by: tstr,            ;; whose view it is: an organisation, or organisation/facility
//	  service: [1*8 b64],               ;; X.509: of the key that signed, then those above it
//	  lot: tstr, place: tstr,           ;; names in events; the place is a site
//	  until: tdate,                     ;; up to when the goods are followed
//	  ? certificate: certificate, ? dose: dose, ? session: session,
//	  ? product: object,                ;; as catalogues of products have it
//	  events: [* {event: object, ? prefixes: {* tstr => tstr}, hash: tstr, organisation: tstr}],
//	  places: [* {uri: tstr, ? name: tstr, ? within: tstr, ? equipment: tstr}],
//	  legs: [* leg],                    ;; the way to the place, in the order of time
//	  statements: [* b64],              ;; about the lot, as signed (docs/spec/lot-statement.md)
//	  assessment: object,
//	  withheld: [* ("events" / "readings")]  ;; there is more, which who asked may not see
//	}
//	certificate = {format: tstr, leaf: b64, ? path: b64, ? root: b64, ? message: b64, ? proof: b64}
//	dose    = {record: tstr, day: tstr, products: [* product], ? session: tstr}
//	session = {id: tstr, location: tstr, product: product, number: tstr, opened: tdate, ? ended: tdate, doses: int, ? reconstituted: bool}
//	product = {code: tstr, system: tstr}
//	leg     = {? place: tstr, ? spot: tstr, ? source: tstr, ? destination: tstr, ? devices: [* tstr],
//	           from: tdate, until: tdate, where: tstr, ? equipment: tstr, profile: object, watches: [* watch]}
//	watch   = {device: tstr, level: 0..4, counts: [* {sensor: tstr, gap: int, from: int, until: int}],
//	           ? corrections: [* {from: int, until: int, offset: int}], evidence: b64}
//	b64     = tstr                      ;; base64, RFC 4648 section 4
//
// Nothing in it is of a person: of a certificate it has the blinded fingerprint, by which
// who holds the code knows it again.
type Thread struct {
	Magic   string    `json:"thread"`
	Form    int       `json:"form"`
	Made    time.Time `json:"made"`
	By      string    `json:"by"`
	Service [][]byte  `json:"service"`

	Lot   string    `json:"lot"`
	Place string    `json:"place"`
	Until time.Time `json:"until"`

	Certificate *Certificate         `json:"certificate,omitempty"`
	Dose        *Dose                `json:"dose,omitempty"`
	Session     *Session             `json:"session,omitempty"`
	Product     *vaccine.Vaccine     `json:"product,omitempty"`
	Events      []Event              `json:"events"`
	Places      []Place              `json:"places"`
	Legs        []Leg                `json:"legs"`
	Statements  [][]byte             `json:"statements"`
	Assessment  coldchain.Assessment `json:"assessment"`
	Withheld    []string             `json:"withheld"`
}

// What may be withheld from who asked.
const (
	WithheldEvents   = "events"
	WithheldReadings = "readings"
)

// Certificate is the fingerprint of a certificate, and how it stands in a log. Without a
// message it is in none yet.
type Certificate struct {
	Format  string `json:"format"`
	Leaf    []byte `json:"leaf"`              // docs/spec/fingerprint.md
	Path    []byte `json:"path,omitempty"`    // to the root of its batch; none: that is still open
	Root    []byte `json:"root,omitempty"`    // of the batch
	Message []byte `json:"message,omitempty"` // the transaction by which the batch was anchored
	Proof   []byte `json:"proof,omitempty"`   // tlog-proof of it
}

// Dose is what a record ties to goods.
type Dose struct {
	Record   string          `json:"record"`
	Day      string          `json:"day"`
	Products []thing.Product `json:"products"`
	Session  string          `json:"session,omitempty"`
}

// Session is the opened stock that a dose was given from.
type Session struct {
	ID            string        `json:"id"`
	Location      string        `json:"location"`
	Product       thing.Product `json:"product"`
	Number        string        `json:"number"`
	Opened        time.Time     `json:"opened"`
	Ended         time.Time     `json:"ended,omitzero"`
	Doses         int64         `json:"doses"`
	Reconstituted bool          `json:"reconstituted,omitempty"`
}

// Event is an event as it was told, and its hash by which it is known.
type Event struct {
	Event        json.RawMessage `json:"event"`
	Prefixes     epcis.Prefixes  `json:"prefixes,omitempty"`
	Hash         string          `json:"hash"` // ni:///sha-256;…?ver=CBV2.0
	Organisation string          `json:"organisation"`
}

// Place is a location that events name.
type Place struct {
	URI       string `json:"uri"`
	Name      string `json:"name,omitempty"`
	Within    string `json:"within,omitempty"`
	Equipment string `json:"equipment,omitempty"`
}

// Leg is a stay on the way, and who measured it.
type Leg struct {
	Place       string            `json:"place,omitempty"` // "": on the way
	Spot        string            `json:"spot,omitempty"`
	Source      string            `json:"source,omitempty"`
	Destination string            `json:"destination,omitempty"`
	Devices     []string          `json:"devices,omitempty"`
	From        time.Time         `json:"from"`
	Until       time.Time         `json:"until"`
	Where       string            `json:"where"` // in words
	Equipment   string            `json:"equipment,omitempty"`
	Profile     coldchain.Profile `json:"profile"`
	Watches     []Watch           `json:"watches"`
}

// Watch is a device that measured goods, with what it or its service signed.
type Watch struct {
	Device string `json:"device"` // OID
	Level  uint8  `json:"level"`  // how far its readings are believed, by the service
	// Counts are its sensors that were with the goods, and when.
	Counts      []Count `json:"counts"`
	Corrections []Shift `json:"corrections,omitempty"`
	Evidence    []byte  `json:"evidence"` // see package device
}

// Count says when a sensor was where the goods were: in seconds of the device's clock.
type Count struct {
	Sensor string `json:"sensor"`
	Gap    int64  `json:"gap"` // seconds: more between two of its readings is not measured
	From   int64  `json:"from"`
	Until  int64  `json:"until"` // the first after; 0: it is there
}

// Shift says by how much the clock of a device was wrong for a time of it.
type Shift struct {
	From   int64 `json:"from"`
	Until  int64 `json:"until"` // the first after; 0: still
	Offset int64 `json:"offset"`
}

const (
	magic = "ampoule thread"
	form  = 1

	// MaxFile bounds a thread: a year of two refrigerators that measure every ten minutes
	// is a hundredth of it.
	MaxFile = 64 << 20

	maxEvents, maxPlaces, maxLegs, maxWatches, maxCounts = 20_000, 10_000, 2_000, 64, 1_000
	maxStatements, maxCertificates, maxText              = 10_000, 8, 1_000
)

// The defects of a thread.
const (
	ErrNotThread format.Defect = "not-a-thread"
	ErrBounds    format.Defect = "thread-too-large"
	ErrField     format.Defect = "bad-field"
)

// check holds a thread to its form and its bounds.
func (t *Thread) check() error {
	bad := func(field string) error { return fmt.Errorf("thread: %s: %w", field, ErrField) }
	switch {
	case t.Magic != magic || t.Form != form:
		return fmt.Errorf("thread: %w", ErrNotThread)
	case len(t.Events) > maxEvents, len(t.Places) > maxPlaces, len(t.Legs) > maxLegs, len(t.Statements) > maxStatements, len(t.Service) > maxCertificates:
		return fmt.Errorf("thread: %w", ErrBounds)
	case len(t.Service) == 0:
		return bad("service")
	case t.Lot == "" || t.Place == "" && len(t.Legs) > 0:
		return bad("lot or place")
	}
	for _, text := range []string{t.By, t.Lot, t.Place} {
		if len(text) > maxText || format.Suspicious(text) {
			return bad("text")
		}
	}
	for _, w := range t.Withheld {
		if w != WithheldEvents && w != WithheldReadings {
			return bad("withheld")
		}
	}
	for i := range t.Legs {
		l := &t.Legs[i]
		if len(l.Watches) > maxWatches || len(l.Devices) > maxWatches {
			return fmt.Errorf("thread: leg %d: %w", i, ErrBounds)
		}
		for _, w := range l.Watches {
			if len(w.Counts) > maxCounts || len(w.Corrections) > maxCounts {
				return fmt.Errorf("thread: leg %d: %w", i, ErrBounds)
			}
			if w.Level > uint8(device.LevelAttested) || slices.ContainsFunc(w.Counts, func(c Count) bool { return c.Gap < 0 }) {
				return bad("watch")
			}
		}
	}
	if c := t.Certificate; c != nil && (len(c.Leaf) != 32 || len(c.Root) != 0 && len(c.Root) != 32) {
		return bad("certificate")
	}
	return nil
}

// Sign writes the thread and signs it.
func (t *Thread) Sign(random io.Reader, signer crypto.Signer) ([]byte, error) {
	t.Magic, t.Form = magic, form
	if err := t.check(); err != nil {
		return nil, err
	}
	payload, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("thread: %w", err)
	}
	if len(payload) > MaxFile-1024 {
		return nil, fmt.Errorf("thread: %d bytes: %w", len(payload), ErrBounds)
	}
	return cose.SignSingle(random, payload, signer)
}

// Signed is a thread with its signature, which nobody has checked yet.
type Signed struct {
	Thread
	message *cose.Single
}

// Parse reads a file. Like all of our own it is taken in one form only: what it takes
// writes the same bytes again.
func Parse(data []byte) (*Signed, error) {
	if len(data) > MaxFile {
		return nil, fmt.Errorf("thread: %d bytes: %w", len(data), ErrBounds)
	}
	m, err := cose.ParseSingle(data)
	if err != nil {
		return nil, fmt.Errorf("thread: %w", err)
	}
	s := &Signed{message: m}
	if err := strictjson.UnmarshalKnown([]byte(m.Payload), &s.Thread, strictjson.Limits{Bytes: MaxFile}); err != nil {
		return nil, fmt.Errorf("thread: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	if again, err := json.Marshal(&s.Thread); err != nil || !bytes.Equal(again, []byte(m.Payload)) {
		return nil, fmt.Errorf("thread: %w", cose.ErrNotDeterministic)
	}
	return s, nil
}

// DeviceName is the name of a device that events name by its GIAI, as a Digital Link or
// an EPC URN; false where they name it otherwise.
func DeviceName(uri string) (device.Name, bool) {
	var key gs1.Key
	if strings.HasPrefix(uri, "urn:epc:") {
		u, err := gs1.ParseURN(uri)
		if err != nil {
			return device.Name{}, false
		}
		key = u.Key
	} else {
		d, err := gs1.ParseDigitalLink(uri)
		if err != nil {
			return device.Name{}, false
		}
		key = d.Key
	}
	n, err := device.NewName(device.GIAI, key.Value)
	return n, key.AI == "8004" && err == nil
}
