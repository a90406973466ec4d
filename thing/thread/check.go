package thread

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format"
	"ampoule/ledger/print"
	"ampoule/ledger/state"
	"ampoule/ledger/tlog"
	"ampoule/thing"
	"ampoule/thing/trail"
)

// Result is what came of a check.
type Result string

// The results. What could not be decided is never passed.
const (
	Pass    Result = "pass"
	Fail    Result = "fail"
	Unknown Result = "unknown"
)

// The checks.
const (
	CheckSignature   = "signature"   // of the service, over all of it
	CheckCode        = "code"        // that the fingerprint is of the code at hand
	CheckCertificate = "certificate" // the fingerprint, in its batch and in a log
	CheckDose        = "dose"        // record, session and lot belong together
	CheckEvents      = "events"      // each has its hash
	CheckWay         = "way"         // the legs follow from the events
	CheckReadings    = "readings"    // what was signed of each leg
	CheckAssessment  = "assessment"  // it follows from the readings
	CheckStatements  = "statements"  // about the lot
)

// The reasons.
const (
	ReasonSigned      = "signed"
	ReasonNotVouched  = "nobody-vouches" // no authority was given under which the signer stands
	ReasonSignature   = "bad-signature"
	ReasonUntrusted   = "untrusted-signer"
	ReasonFuture      = "in-the-future"
	ReasonSame        = "same"
	ReasonOther       = "another-certificate"
	ReasonNoLeaf      = "no-fingerprint"
	ReasonBatch       = "in-batch" // and who vouches for its root is not known here
	ReasonOpen        = "batch-still-open"
	ReasonLogged      = "logged"
	ReasonNoPolicy    = "no-policy"
	ReasonBadPath     = "bad-batch-path"
	ReasonBadProof    = "bad-ledger-proof"
	ReasonTogether    = "belong-together"
	ReasonNotTogether = "do-not-belong-together"
	ReasonHash        = "other-hash"
	ReasonFollows     = "follows"
	ReasonNotFollows  = "does-not-follow"
	ReasonUnreadable  = "unreadable"
	ReasonWithheld    = "withheld"
	ReasonUnmeasured  = "not-measured"
	ReasonElsewhere   = "measured-elsewhere" // by a device that was not with the goods
	ReasonBelieved    = "believed"
	ReasonNotListed   = "authority-not-listed"
	ReasonOtherLot    = "another-lot"
)

// Finding is what one check found, of one thing.
type Finding struct {
	Check   string `json:"check"`
	Result  Result `json:"result"`
	Reason  string `json:"reason"`
	Leg     int    `json:"leg,omitempty"` // which it is of, from 1; 0: of none
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail,omitempty"`
}

// Options are what a thread is held against.
type Options struct {
	// Roots are the authorities of the service and its devices; nil: nobody vouches for who
	// signed, and what is in the file stands only for being of one piece.
	Roots *x509.CertPool
	At    time.Time
	// Policy says whose signatures count in the ledger; nil: no proof is checked.
	Policy *tlog.Policy
	// Anchor checks the proof of segments in the ledger; nil: none is.
	Anchor func(*device.Anchor) error
	Keys   thing.LotKeys // of authorities about lots
	// Code is the fingerprint of a certificate at hand; nil: there is none.
	Code *print.Leaf
}

// Measure is what stands behind the readings of one device on one leg.
type Measure struct {
	Leg    int
	Watch  int
	Report *device.Report // nil: it could not be read
}

// Report is what a thread shows.
type Report struct {
	Findings   []Finding
	Measures   []Measure
	Assessment coldchain.Assessment // made again
	Logged     time.Time            // when the first of those who cosigned saw the certificate's batch there; zero: none says
}

// Result is the worst of all findings.
func (r *Report) Result() Result {
	out := Pass
	for _, f := range r.Findings {
		switch {
		case f.Result == Fail:
			return Fail
		case f.Result == Unknown && decides(f):
			out = Unknown
		}
	}
	return out
}

// decides reports whether what is not known leaves the whole undecided. That nobody
// measured, that a batch is open, or that nothing was given to hold proofs against, is
// told, and no doubt of the file.
func decides(f Finding) bool { return f.Reason == ReasonNotVouched }

// checking is one check of a thread.
type checking struct {
	*Signed
	Options
	Report
	roots *x509.CertPool
	leg   int // that is looked at, from 1; 0: none
}

func (c *checking) find(check string, result Result, reason, subject, detail string, args ...any) {
	const most = 1000
	if len(c.Findings) < most {
		c.Findings = append(c.Findings, Finding{check, result, reason, c.leg, subject, fmt.Sprintf(detail, args...)})
	}
}

// Check checks all of a thread, and makes again what the service made of its parts.
func (s *Signed) Check(o Options) *Report {
	c := &checking{Signed: s, Options: o}
	c.signature()
	c.certificate()
	c.dose()
	c.events()
	c.way()
	c.readings()
	c.assessment()
	c.statements()
	return &c.Report
}

// signature holds the signature to the certificates of the file, and those to the roots.
func (c *checking) signature() {
	between, own := x509.NewCertPool(), x509.NewCertPool()
	var signer *x509.Certificate
	for i, der := range c.Service {
		one, err := x509.ParseCertificate(der)
		switch {
		case err != nil:
			c.find(CheckSignature, Fail, ReasonUntrusted, "", "certificate %d cannot be read", i)
			continue
		case i == 0:
			signer = one
		default:
			between.AddCert(one)
		}
		if one.IsCA && bytes.Equal(one.RawSubject, one.RawIssuer) {
			own.AddCert(one)
		}
	}
	if c.roots = c.Roots; c.roots == nil {
		c.roots = own
	}
	if signer == nil {
		return
	}
	if err := c.message.Verify(signer.PublicKey); err != nil {
		c.find(CheckSignature, Fail, ReasonSignature, "", "%v", err)
		return
	}
	if c.Made.After(c.At) {
		c.find(CheckSignature, Fail, ReasonFuture, "", "made on %s", c.Made.Format(time.RFC3339))
	}
	_, err := signer.Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: between, CurrentTime: c.Made, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	switch {
	case err != nil:
		c.find(CheckSignature, Fail, ReasonUntrusted, "", "%v", err)
	case !device.SignsDocuments(signer):
		c.find(CheckSignature, Fail, ReasonUntrusted, "", "the key may not sign documents of a service")
	case c.Roots == nil:
		c.find(CheckSignature, Unknown, ReasonNotVouched, "", "it is of one piece, by a key that nobody vouches for")
	default:
		c.find(CheckSignature, Pass, ReasonSigned, "", "%s", format.Visible(signer.Subject.String()))
	}
}

// certificate follows the fingerprint to the root of its batch, and that into the log.
func (c *checking) certificate() {
	x := c.Certificate
	if c.Code != nil {
		switch {
		case x == nil:
			c.find(CheckCode, Fail, ReasonOther, "", "the file is of no certificate")
		case !bytes.Equal(x.Leaf, c.Code[:]):
			c.find(CheckCode, Fail, ReasonOther, "", "its fingerprint is another")
		default:
			c.find(CheckCode, Pass, ReasonSame, "", "")
		}
	}
	if x == nil {
		return
	}
	leaf := print.Leaf(x.Leaf)
	if len(x.Path) == 0 {
		c.find(CheckCertificate, Unknown, ReasonOpen, "", "")
		return
	}
	path, err := tlog.ParseBatchPath(x.Path)
	if err == nil && len(x.Root) != sha256.Size {
		err = tlog.ErrRoot
	}
	if err == nil {
		err = path.Verify(leaf.Hash(), tlog.Hash(x.Root))
	}
	if err != nil {
		c.find(CheckCertificate, Fail, ReasonBadPath, "", "%v", err)
		return
	}
	switch {
	case len(x.Message) == 0 || len(x.Proof) == 0:
		c.find(CheckCertificate, Unknown, ReasonBatch, "", "the batch is not in a log yet")
		return
	case c.Policy == nil:
		c.find(CheckCertificate, Unknown, ReasonNoPolicy, "", "its proof was not held against a ledger")
		return
	}
	logged, at, err := c.logged(x)
	if err != nil {
		c.find(CheckCertificate, Fail, ReasonBadProof, "", "%v", err)
		return
	}
	c.Logged = at
	c.find(CheckCertificate, Pass, ReasonLogged, "", "entry %d of the log", logged)
}

// logged checks that the batch of a certificate stands in a log that the policy believes.
func (c *checking) logged(x *Certificate) (index uint64, at time.Time, err error) {
	p, err := tlog.ParseLogProof(x.Proof)
	if err != nil {
		return 0, at, err
	}
	seen, err := p.Verify(tlog.LeafHash(x.Message), c.Policy)
	if err != nil {
		return 0, at, err
	}
	tx, err := state.ParseTx(x.Message)
	if err != nil {
		return 0, at, err
	}
	if b, ok := tx.Body.(*state.Batch); !ok || !bytes.Equal(b.Root[:], x.Root) {
		return 0, at, errors.New("it anchors another batch")
	}
	for _, w := range seen.Witnesses {
		if t := time.Unix(w.Time, 0).UTC(); w.Time > 0 && (at.IsZero() || t.Before(at)) {
			at = t
		}
	}
	return p.Index, at, nil
}

// dose holds record, session and lot together.
func (c *checking) dose() {
	wrong := func(what string) { c.find(CheckDose, Fail, ReasonNotTogether, "", "%s", what) }
	before := len(c.Findings)
	_, code, number, ok := trail.ParseLotName(c.Lot)
	if !ok {
		wrong("the lot has no name of one")
		return
	}
	system, _, _, _ := trail.ParseLotName(c.Lot)
	product := thing.Product{Code: code, System: system}
	if c.Product != nil && !slices.Contains(c.Product.Codes, product) {
		wrong("the product is not that of the lot")
	}
	same := func(p thing.Product) bool {
		return p == product || c.Product != nil && slices.Contains(c.Product.Codes, p)
	}
	if s := c.Session; s != nil {
		at := s.Location
		for _, p := range c.Places {
			if p.URI == s.Location && p.Within != "" {
				at = p.Within
			}
		}
		switch {
		case thing.NormalLot(s.Number) != thing.NormalLot(number) || !same(s.Product):
			wrong("the session is of another lot")
		case at != c.Place:
			wrong("the session is at another place")
		case !s.Ended.IsZero() && s.Ended.Before(s.Opened):
			wrong("the session ended before it began")
		}
	}
	if d := c.Dose; d != nil {
		switch {
		case d.Session != "" && (c.Session == nil || c.Session.ID != d.Session):
			wrong("the dose is of another session")
		case !slices.ContainsFunc(d.Products, same):
			wrong("the dose is of another product")
		case c.Session != nil && d.Day < c.Session.Opened.UTC().Add(-14*time.Hour).Format(time.DateOnly):
			wrong("the dose was given before the session")
		}
	}
	if len(c.Findings) == before {
		c.find(CheckDose, Pass, ReasonTogether, "", "")
	}
}

// events makes the hash of each event again.
func (c *checking) events() {
	wrong := 0
	for i := range c.Events {
		told := &c.Events[i]
		e, err := told.read()
		subject := fmt.Sprintf("event %d", i+1)
		switch {
		case err != nil:
			c.find(CheckEvents, Fail, ReasonUnreadable, subject, "%v", err)
		case e.HashID() != told.Hash:
			c.find(CheckEvents, Fail, ReasonHash, subject, "%s", format.Visible(e.ID))
		default:
			continue
		}
		wrong++
	}
	if wrong == 0 {
		c.find(CheckEvents, Pass, ReasonSame, "", "%d events", len(c.Events))
	}
}

// way folds the events again, and compares the legs.
func (c *checking) way() {
	way, err := c.Follow()
	if err != nil {
		c.find(CheckWay, Fail, ReasonUnreadable, "", "%v", err)
		return
	}
	want := c.legsOf(way)
	if len(want) != len(c.Legs) {
		c.find(CheckWay, Fail, ReasonNotFollows, "", "the events tell of %d legs, the file has %d", len(want), len(c.Legs))
		return
	}
	wrong := false
	for i := range want {
		a, b := &want[i], &c.Legs[i]
		if a.Place != b.Place || a.Spot != b.Spot || a.Source != b.Source || a.Destination != b.Destination || !slices.Equal(a.Devices, b.Devices) ||
			!a.From.Equal(b.From) || !a.Until.Equal(b.Until) || a.Where != b.Where || a.Equipment != b.Equipment {
			c.leg = i + 1
			c.find(CheckWay, Fail, ReasonNotFollows, "", "the events tell otherwise of it")
			wrong = true
		}
	}
	c.leg = 0
	if !wrong {
		c.find(CheckWay, Pass, ReasonFollows, "", "%d legs", len(want))
	}
	for _, w := range c.Withheld {
		c.find(CheckWay, Unknown, ReasonWithheld, w, "there is more, which who asked may not see")
	}
}

// readings checks what devices and their service signed of each leg.
func (c *checking) readings() {
	for i := range c.Legs {
		l := &c.Legs[i]
		c.leg = i + 1
		if len(l.Watches) == 0 && l.Until.After(l.From) {
			c.find(CheckReadings, Unknown, ReasonUnmeasured, "", "%s", format.Visible(l.Where))
		}
		for k := range l.Watches {
			c.watch(l, &l.Watches[k], i, k, "device "+format.Visible(l.Watches[k].Device))
		}
	}
	c.leg = 0
}

func (c *checking) watch(l *Leg, w *Watch, i, k int, subject string) {
	r, err := device.VerifyExcerpt(bytes.NewReader(w.Evidence), c.roots, c.At)
	c.Measures = append(c.Measures, Measure{i, k, r})
	if err != nil {
		c.find(CheckReadings, Fail, ReasonUnreadable, subject, "%v", err)
		return
	}
	wrong := len(r.Findings)
	for _, f := range r.Findings {
		c.find(CheckReadings, Fail, string(f.Reason), subject, "%s", format.Visible(f.String()))
	}
	fail := func(detail string) {
		wrong++
		c.find(CheckReadings, Fail, ReasonElsewhere, subject, "%s", detail)
	}
	switch {
	case r.Device.String() != w.Device:
		fail("the evidence is of another device")
	case l.Place != "" && (l.Equipment == "" || !slices.ContainsFunc(r.Locations, func(at device.Location) bool {
		return at.Equipment == l.Equipment && slices.ContainsFunc(w.Counts, func(x Count) bool {
			return x.From >= at.Since && (at.Until == 0 || x.Until != 0 && x.Until <= at.Until)
		})
	})):
		fail("the device was not in the equipment of this leg")
	case l.Place == "" && !slices.ContainsFunc(l.Devices, func(uri string) bool {
		n, ok := DeviceName(uri)
		return ok && slices.Contains(r.Names, n)
	}):
		fail("the device did not travel with the goods")
	}
	own := slices.ContainsFunc(r.Chains, func(x *device.Chain) bool { return x.Own })
	if w.Level >= uint8(device.LevelSigned) && !own {
		fail("the service says that the device signed, and it did not")
	}
	anchored := 0
	for j := range r.Anchors {
		if c.Anchor == nil {
			break
		}
		if err := c.Anchor(&r.Anchors[j]); err != nil {
			wrong++
			c.find(CheckReadings, Fail, ReasonBadProof, subject, "%v", err)
			continue
		}
		anchored++
	}
	if wrong == 0 {
		segments, readings := 0, 0
		for _, x := range r.Chains {
			segments, readings = segments+x.Segments, readings+x.Readings
		}
		c.find(CheckReadings, Pass, ReasonSigned, subject, "%d readings in %d segments, %d proofs in the ledger", readings, segments, anchored)
	}
}

// assessment makes the assessment again from the signed readings.
func (c *checking) assessment() {
	made, err := c.Judge()
	if err != nil {
		c.find(CheckAssessment, Fail, ReasonUnreadable, "", "%v", err)
		return
	}
	if c.Report.Assessment = made; !alike(made, c.Thread.Assessment) {
		c.find(CheckAssessment, Fail, ReasonNotFollows, "", "the readings make it %s, the file says %s", made.Outcome, format.Visible(string(c.Thread.Assessment.Outcome)))
		return
	}
	c.find(CheckAssessment, Pass, ReasonFollows, "", "%s", made.Outcome)
}

// alike compares assessments. Means are sums of exponentials, whose last digits depend
// on the machine.
func alike(a, b coldchain.Assessment) bool {
	near := func(x, y *float64) bool {
		return (x == nil) == (y == nil) && (x == nil || math.Abs(*x-*y) < 1e-6)
	}
	return a.Outcome == b.Outcome && a.Why == b.Why && a.At == b.At && a.Where == b.Where && a.Share == b.Share && a.Outside == b.Outside &&
		a.Frozen == b.Frozen && a.Warmest == b.Warmest && a.Coldest == b.Coldest && near(a.MKT, b.MKT) && near(a.VVM, b.VVM) &&
		a.Whole == b.Whole && a.Measured == b.Measured && slices.Equal(a.Unknown, b.Unknown) && a.Level == b.Level
}

// statements asks of each whether it is of the lot, and to be believed.
func (c *checking) statements() {
	system, code, number, _ := trail.ParseLotName(c.Lot)
	for i, message := range c.Statements {
		subject := fmt.Sprintf("statement %d", i+1)
		s, err := thing.ParseLotStatement(message)
		if err != nil {
			c.find(CheckStatements, Fail, ReasonUnreadable, subject, "%v", err)
			continue
		}
		x := s.Statement
		says := format.Visible(fmt.Sprintf("%s %s: %s", x.Role, x.Authority, x.Value))
		ours := x.Product == thing.Product{Code: code, System: system} || c.Product != nil && slices.Contains(c.Product.Codes, x.Product)
		err = c.Keys.Believe(s, c.At)
		switch {
		case thing.NormalLot(x.Lot) != thing.NormalLot(number) || !ours:
			c.find(CheckStatements, Fail, ReasonOtherLot, subject, "%s", says)
		case errors.Is(err, thing.ErrUnknownAuthority):
			c.find(CheckStatements, Unknown, ReasonNotListed, subject, "%s", says)
		case err != nil:
			c.find(CheckStatements, Fail, format.Reason(err, ReasonSignature), subject, "%s: %v", says, err)
		default:
			c.find(CheckStatements, Pass, ReasonBelieved, subject, "%s", says)
		}
	}
}
