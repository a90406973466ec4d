package device

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// The kinds of defect of evidence. Those above the line are of the file as a whole.
const (
	ErrEvidence  format.Defect = "bad-evidence"
	ErrTruncated format.Defect = "truncated"

	ErrSeal          format.Defect = "bad-seal" // what closes the file is of other content, or of nobody that may
	ErrUnknownSigner format.Defect = "unknown-signer"
	ErrUntrusted     format.Defect = "untrusted-signer" // no way from its certificate to a root
	ErrNotThen       format.Defect = "signer-not-valid-then"
	ErrOtherDevice   format.Defect = "another-device"
	ErrStream        format.Defect = "unknown-stream"
	ErrMissing       format.Defect = "segments-missing"
	ErrBroken        format.Defect = "chain-broken"
	ErrForked        format.Defect = "chain-forked"
	ErrRepeated      format.Defect = "segment-repeated"
	ErrBackwards     format.Defect = "time-goes-back"
	ErrFuture        format.Defect = "in-the-future"
	ErrVersions      format.Defect = "statement-versions"
)

// The form of evidence: what a service gives out about one device, so that others can judge
// what it measured without asking anybody: a sequence (RFC 8742) of byte strings, each
// of them one item, so that a file of any length is written and read item by item.
//
//	evidence    = header *certificate *stream *segment *statement *correction *location *anchor seal
//	header      = bstr .cbor [0, "ampoule device evidence", 1, device: bstr, names: [* tstr], made: uint]
//	certificate = bstr .cbor [1, bstr]                       ;; X.509: of signers and their authorities
//	stream      = bstr .cbor [2, stream: uint, sensor: tstr, quantity: 1..8]
//	segment     = bstr .cbor [3, bstr]                       ;; as signed
//	statement   = bstr .cbor [4, bstr]                       ;; as signed
//	correction  = bstr .cbor [5, stream: uint, first: uint, last: uint, offset: int, why: tstr]
//	location    = bstr .cbor [6, since: uint, until: uint, place: tstr, equipment: tstr]
//	anchor      = bstr .cbor [7, leaf: bstr, proof: bstr]
//	seal        = bstr .cbor [8, bstr]   ;; COSE_Sign1 by the service over [items: uint, SHA-256 of all bytes before]
//
// Segments of one chain stand in the order of their numbers, versions of one statement
// too.
const (
	evidenceMagic = "ampoule device evidence"
	evidenceForm  = 1

	// maxItem bounds an item, in bytes; maxList the lists of a report, which counts on.
	maxItem = MaxSegment + 64
	maxList = 1000
)

const (
	itemHeader = iota
	itemCertificate
	itemStream
	itemSegment
	itemStatement
	itemCorrection
	itemLocation
	itemAnchor
	itemSeal
)

// Correction says by how much the times of some segments are wrong. Nothing is
// stamped anew: it stands beside them.
type Correction struct {
	Stream      uint64
	First, Last uint64 // seq
	Offset      int64  // seconds to add
	Why         string
}

// Location is where a device was for a time.
type Location struct {
	Since, Until int64 // seconds since 1970; Until 0: since then
	Place        string
	Equipment    string
}

// Anchor is proof that something was in a log at a time; what it says is the log's.
type Anchor struct{ Leaf, Proof []byte }

// EvidenceWriter writes evidence, in the order of the grammar above. Its methods
// keep the first error, which Seal returns.
type EvidenceWriter struct {
	w     io.Writer
	sum   hash.Hash
	items uint64
	kind  int
	err   error
}

// NewEvidence begins evidence of a device.
func NewEvidence(w io.Writer, device ID, names []Name, made time.Time) *EvidenceWriter {
	e := &EvidenceWriter{w: w, sum: sha256.New()}
	b := cbor.AppendInt(cbor.AppendText(cbor.AppendInt(cbor.AppendArray(nil, 6), itemHeader), evidenceMagic), evidenceForm)
	b = cbor.AppendArray(cbor.AppendBytes(b, []byte(device)), len(names))
	for _, n := range names {
		b = cbor.AppendText(b, n.String())
	}
	e.put(itemHeader, cbor.AppendInt(b, made.Unix()))
	return e
}

func (e *EvidenceWriter) put(kind int, item []byte) {
	switch {
	case e.err != nil:
		return
	case kind < e.kind:
		e.err = fmt.Errorf("evidence: item of kind %d after one of %d: %w", kind, e.kind, ErrEvidence)
	case len(item) > maxItem:
		e.err = fmt.Errorf("evidence: item of %d bytes: %w", len(item), ErrSize)
	default:
		whole := cbor.AppendBytes(make([]byte, 0, len(item)+5), item)
		if _, err := e.w.Write(whole); err != nil {
			e.err = fmt.Errorf("evidence: %w", err)
		}
		e.sum.Write(whole)
		e.kind = kind
		e.items++
	}
}

func item(kind int64, elements int) []byte {
	return cbor.AppendInt(cbor.AppendArray(nil, elements), kind)
}

// Certificate adds a certificate: of a signer, or on the way to a root.
func (e *EvidenceWriter) Certificate(der []byte) {
	e.put(itemCertificate, cbor.AppendBytes(item(itemCertificate, 2), der))
}

// Stream adds what a stream is.
func (e *EvidenceWriter) Stream(stream uint64, sensor string, quantity Quantity) {
	b := cbor.AppendText(cbor.AppendInt(item(itemStream, 4), int64(stream)), sensor)
	e.put(itemStream, cbor.AppendInt(b, int64(slices.Index(quantities[:], quantity)+1)))
}

// Segment adds a segment as it was signed.
func (e *EvidenceWriter) Segment(data []byte) {
	e.put(itemSegment, cbor.AppendBytes(item(itemSegment, 2), data))
}

// Statement adds a statement as it was signed.
func (e *EvidenceWriter) Statement(data []byte) {
	e.put(itemStatement, cbor.AppendBytes(item(itemStatement, 2), data))
}

// Correction adds a correction.
func (e *EvidenceWriter) Correction(c Correction) {
	b := cbor.AppendInt(cbor.AppendInt(item(itemCorrection, 6), int64(c.Stream)), int64(c.First))
	e.put(itemCorrection, cbor.AppendText(cbor.AppendInt(cbor.AppendInt(b, int64(c.Last)), c.Offset), c.Why))
}

// Location adds where the device was.
func (e *EvidenceWriter) Location(l Location) {
	b := cbor.AppendInt(cbor.AppendInt(item(itemLocation, 5), l.Since), l.Until)
	e.put(itemLocation, cbor.AppendText(cbor.AppendText(b, l.Place), l.Equipment))
}

// Anchor adds an anchor.
func (e *EvidenceWriter) Anchor(a Anchor) {
	e.put(itemAnchor, cbor.AppendBytes(cbor.AppendBytes(item(itemAnchor, 3), a.Leaf), a.Proof))
}

// Seal closes the evidence under a key of the service.
func (e *EvidenceWriter) Seal(random io.Reader, signer crypto.Signer) error {
	if e.err != nil {
		return e.err
	}
	var around envelope
	message, err := around.seal(random, signer, sealPayload(e.items, Hash(e.sum.Sum(nil))))
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	e.put(itemSeal, cbor.AppendBytes(item(itemSeal, 2), message))
	return e.err
}

func sealPayload(items uint64, sum Hash) []byte {
	return cbor.AppendBytes(cbor.AppendInt(cbor.AppendArray(nil, 2), int64(items)), sum[:])
}

// Report is what evidence shows.
type Report struct {
	Device ID
	Names  []Name
	Made   time.Time
	Chains []*Chain
	// Statements are the newest version of each, in the order of the file.
	Statements  []*Statement
	Corrections []Correction
	Locations   []Location
	Anchors     []Anchor
	Findings    []Finding
	More        int // findings beyond those that are listed
}

// Sound tells that nothing is wrong with the evidence. Gaps are no fault of it.
func (r *Report) Sound() bool { return len(r.Findings) == 0 }

// Chain is what one signer has signed of one stream.
type Chain struct {
	Stream   uint64
	Sensor   string
	Quantity Quantity
	Signer   ID   // "" of one that is not known
	Own      bool // the device itself signed
	Segments int
	Readings int
	From     int64 // of the first reading, by the device's clock
	Until    int64
	Min, Max Reading
	Clock    Clock // the worst
	Gaps     []Gap
	MoreGaps int
	Head     Head

	last Clock // of the segment before
}

// Gap is a time without readings, longer than two intervals.
type Gap struct{ From, Until int64 }

// Finding is one thing that is wrong.
type Finding struct {
	Reason format.Defect
	Stream uint64
	Seq    uint64 // of the segment, or version of the statement; 0: of the file
	Detail string
}

func (f Finding) String() string {
	if f.Seq == 0 {
		return fmt.Sprintf("%s: %s", f.Reason, f.Detail)
	}
	return fmt.Sprintf("%s: stream %d, %d: %s", f.Reason, f.Stream, f.Seq, f.Detail)
}

// signer is a key of the evidence, with its certificate.
type signer struct {
	id       ID
	c        *x509.Certificate
	checked  bool
	untrusts error
}

type verification struct {
	Report
	excerpt        bool // chains may begin late
	roots, between *x509.CertPool
	signers        map[string][]*signer // by kid
	streams        map[uint64]Chain
	chains         map[chainKey]*Chain
	versions       map[string]int // place in Statements
	at             time.Time
}

type chainKey struct {
	stream uint64
	signer ID
}

// VerifyEvidence reads evidence and checks all of it: signatures, the way of their
// keys to the roots, chains, versions, and the seal. at is when; what is later than
// that cannot be. An error means that it is no whole evidence.
func VerifyEvidence(r io.Reader, roots *x509.CertPool, at time.Time) (*Report, error) {
	return verifyEvidence(r, roots, at, false)
}

// VerifyExcerpt is [VerifyEvidence] for evidence of a span of time: a chain may begin
// after its first segment, and has no hole from there on.
func VerifyExcerpt(r io.Reader, roots *x509.CertPool, at time.Time) (*Report, error) {
	return verifyEvidence(r, roots, at, true)
}

func verifyEvidence(r io.Reader, roots *x509.CertPool, at time.Time, excerpt bool) (*Report, error) {
	v := &verification{
		excerpt: excerpt, roots: roots, between: x509.NewCertPool(), at: at, signers: map[string][]*signer{},
		streams: map[uint64]Chain{}, chains: map[chainKey]*Chain{}, versions: map[string]int{},
	}
	in, sum := bufio.NewReaderSize(r, 64<<10), sha256.New()
	kind, buf := uint64(0), []byte(nil)
	for items := uint64(0); ; items++ {
		before := Hash(sum.Sum(nil))
		data, err := readItem(in, &buf, sum)
		if err != nil {
			return nil, fmt.Errorf("evidence: item %d: %w", items, err)
		}
		c := reader{rest: data}
		n := c.array("item", 2, 6)
		next := c.number("kind", kind, itemSeal) // in their order
		if c.err == nil && ((items == 0) != (next == itemHeader) || n != [...]int{6, 2, 4, 2, 2, 6, 5, 3, 2}[next]) {
			c.fail("kind", ErrEvidence)
		}
		if kind = next; c.err == nil {
			v.item(kind, &c, items, before)
		}
		if err := c.end("item"); err != nil {
			return nil, fmt.Errorf("evidence: item %d: %w", items, err)
		}
		if kind == itemSeal {
			if _, err := in.ReadByte(); err != io.EOF {
				return nil, fmt.Errorf("evidence: bytes after the seal: %w", cbor.ErrTrailing)
			}
			return &v.Report, nil
		}
	}
}

// readItem reads one byte string into a buffer that the next one uses again.
func readItem(in *bufio.Reader, buf *[]byte, sum hash.Hash) ([]byte, error) {
	short := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return ErrTruncated
		}
		return err
	}
	head := make([]byte, 1, 5)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, short(err)
	}
	if info := head[0] & 31; info >= 24 && info <= 26 {
		head = head[:1+1<<(info-24)]
		if _, err := io.ReadFull(in, head[1:]); err != nil {
			return nil, short(err)
		}
	}
	h := reader{rest: head}
	n := h.head(majorBytes, "item")
	switch {
	case h.err != nil:
		return nil, h.err
	case n > maxItem:
		return nil, fmt.Errorf("%d bytes: %w", n, ErrSize)
	}
	if cap(*buf) < int(n) {
		*buf = make([]byte, max(n, 1024))
	}
	data := (*buf)[:n]
	if _, err := io.ReadFull(in, data); err != nil {
		return nil, short(err)
	}
	sum.Write(head)
	sum.Write(data)
	return data, nil
}

func (v *verification) find(reason format.Defect, stream, seq uint64, detail string, args ...any) {
	if len(v.Findings) == maxList {
		v.More++
		return
	}
	v.Findings = append(v.Findings, Finding{reason, stream, seq, fmt.Sprintf(detail, args...)})
}

func (v *verification) item(kind uint64, c *reader, items uint64, before Hash) {
	switch kind {
	case itemHeader:
		if magic, form := c.text("magic", 64), c.number("form", 0, math.MaxInt64); c.err == nil && (magic != evidenceMagic || form != evidenceForm) {
			c.fail("magic", ErrEvidence)
		}
		v.Device = c.id("device")
		for range c.array("names", 0, 100) {
			n, err := ParseName(c.text("name", maxName+20))
			if err != nil {
				c.fail("name", err)
			}
			v.Names = append(v.Names, n)
		}
		v.Made = time.Unix(int64(c.number("made", 0, MaxTime)), 0).UTC()
		if v.Made.After(v.at) {
			v.find(ErrFuture, 0, 0, "made on %s", v.Made.Format(time.RFC3339))
		}
	case itemCertificate:
		v.certificate(c)
	case itemStream:
		n := c.number("stream", 0, math.MaxInt64)
		s := Chain{Stream: n, Sensor: c.text("sensor", maxText), Quantity: quantities[c.number("quantity", 1, uint64(len(quantities)))-1]}
		if _, twice := v.streams[n]; twice || len(v.streams) == maxList {
			c.fail("stream", ErrEvidence)
		}
		v.streams[n] = s
	case itemSegment:
		v.segment(c.bytes("segment", MaxSegment))
	case itemStatement:
		v.statement(bytes.Clone(c.bytes("statement", MaxStatement)))
	case itemCorrection:
		x := Correction{
			Stream: c.number("stream", 0, math.MaxInt64), First: c.number("first", 1, math.MaxInt64), Last: c.number("last", 1, math.MaxInt64),
			Offset: c.integer("offset"), Why: c.text("why", maxText),
		}
		v.Corrections = keep(c, v.Corrections, x)
	case itemLocation:
		x := Location{int64(c.number("since", 0, MaxTime)), int64(c.number("until", 0, MaxTime)), c.text("place", maxText), c.text("equipment", maxText)}
		v.Locations = keep(c, v.Locations, x)
	case itemAnchor:
		v.Anchors = keep(c, v.Anchors, Anchor{bytes.Clone(c.bytes("leaf", maxItem)), bytes.Clone(c.bytes("proof", maxItem))})
	case itemSeal:
		v.seal(c.bytes("seal", maxItem), items, before)
	}
}

// keep appends to a list of the report, of which there may be so many.
func keep[T any](c *reader, list []T, x T) []T {
	if len(list) == 100*maxList {
		c.fail("item", ErrSize)
		return list
	}
	return append(list, x)
}

func (v *verification) certificate(c *reader) {
	cert, err := x509.ParseCertificate(bytes.Clone(c.bytes("certificate", maxItem)))
	if c.err != nil {
		return
	}
	if err != nil {
		v.find(ErrUntrusted, 0, 0, "a certificate that cannot be read")
		return
	}
	if len(v.signers) == maxList {
		c.fail("certificates", ErrSize)
		return
	}
	if cert.IsCA {
		v.between.AddCert(cert)
		return
	}
	kid, err := KeyID(cert.PublicKey)
	who, err2 := CertificateID(cert)
	if err != nil || err2 != nil {
		v.find(ErrUntrusted, 0, 0, "a certificate of a key that does not sign, or of nobody")
		return
	}
	v.signers[string(kid)] = append(v.signers[string(kid)], &signer{id: who, c: cert})
}

// signedBy finds whose signature it is: of the certificates with the key, the first
// that a root stands for.
func (v *verification) signedBy(kid []byte, check func(crypto.PublicKey) error) (*signer, error) {
	err := error(ErrUnknownSigner)
	for _, s := range v.signers[string(kid)] {
		if !s.checked {
			s.checked, s.untrusts = true, trusted(s.c, v.between, v.roots)
		}
		switch {
		case check(s.c.PublicKey) != nil:
			err = cose.ErrSignature
		case s.untrusts != nil:
			err = ErrUntrusted
		default:
			return s, nil
		}
	}
	return nil, err
}

func (v *verification) segment(data []byte) {
	var least, most Reading
	var gaps []Gap
	var interval, last int64
	count := 0
	each := func(r Reading) {
		if count == 0 || r.Value < least.Value {
			least = r
		}
		if count == 0 || r.Value > most.Value {
			most = r
		}
		if count > 0 && interval > 0 && r.At-last > 2*interval && len(gaps) <= maxList {
			gaps = append(gaps, Gap{last, r.At})
		}
		last = r.At
		count++
	}
	s := new(Segment)
	err := s.parse(data)
	if err == nil {
		interval = s.Interval
		err = s.walk(each)
	}
	if err != nil {
		v.find(format.Defect(format.Reason(err, string(ErrEvidence))), 0, 0, "a segment that cannot be read: %v", err)
		return
	}
	if s.Device != v.Device {
		v.find(ErrOtherDevice, s.Stream, s.Seq, "of %s", s.Device)
		return
	}
	by, err := v.signedBy(s.KeyID, s.Verify)
	if err != nil {
		v.find(format.Defect(err.Error()), s.Stream, s.Seq, "key %x", s.KeyID)
		return
	}
	// A service seals what it was told of times before it had its key, such as the file of a
	// logger; a device signs what it measures.
	early := by.id == v.Device && s.Start < by.c.NotBefore.Unix()
	if s.Clock != ClockUnset && (early || last > by.c.NotAfter.Unix()) {
		v.find(ErrNotThen, s.Stream, s.Seq, "key %x", s.KeyID)
	}
	if s.Clock != ClockUnset && last > v.at.Unix() {
		v.find(ErrFuture, s.Stream, s.Seq, "until %d", last)
	}
	key := chainKey{s.Stream, by.id}
	c := v.chains[key]
	if c == nil {
		known, ok := v.streams[s.Stream]
		if !ok || known.Quantity != s.Quantity {
			v.find(ErrStream, s.Stream, s.Seq, "%s", s.Quantity)
			known = Chain{Stream: s.Stream, Quantity: s.Quantity}
		}
		if len(v.chains) == maxList {
			v.find(ErrSize, s.Stream, s.Seq, "more than %d chains", maxList)
			return
		}
		c = &known
		c.Signer, c.Own, c.Clock = by.id, by.id == v.Device, ClockSet
		v.chains[key] = c
		v.Chains = append(v.Chains, c)
	} else if c.Quantity != s.Quantity {
		v.find(ErrStream, s.Stream, s.Seq, "%s", s.Quantity)
		return
	}
	switch c.Head.Follow(s) {
	case Missing:
		if v.excerpt && c.Segments == 0 {
			break
		}
		v.find(ErrMissing, s.Stream, s.Seq, "%d before it", s.Seq-c.Head.Seq-1)
	case Broken:
		v.find(ErrBroken, s.Stream, s.Seq, "names another one before")
	case Forked:
		v.find(ErrForked, s.Stream, s.Seq, "two of this number")
		return
	case Old:
		v.find(ErrRepeated, s.Stream, s.Seq, "after %d", c.Head.Seq)
		return
	}
	c.Head = s.Head()
	// Times from the start of the device and times since 1970 cannot be compared.
	if c.Readings > 0 && (s.Clock == ClockUnset) == (c.last == ClockUnset) {
		switch {
		case s.Start <= c.Until:
			v.find(ErrBackwards, s.Stream, s.Seq, "%d after %d", s.Start, c.Until)
		case s.Interval > 0 && s.Start-c.Until > 2*s.Interval:
			gaps = slices.Insert(gaps, 0, Gap{c.Until, s.Start})
		}
	}
	for _, g := range gaps {
		if len(c.Gaps) == maxList {
			c.MoreGaps++
			continue
		}
		c.Gaps = append(c.Gaps, g)
	}
	if c.Readings == 0 {
		c.From, c.Min, c.Max = s.Start, least, most
	}
	if least.Value < c.Min.Value {
		c.Min = least
	}
	if most.Value > c.Max.Value {
		c.Max = most
	}
	c.Until, c.last, c.Clock = last, s.Clock, min(c.Clock, s.Clock)
	c.Segments++
	c.Readings += count
}

func (v *verification) statement(data []byte) {
	a, err := ParseStatement(data)
	if err != nil {
		v.find(format.Defect(format.Reason(err, string(ErrEvidence))), 0, 0, "a statement that cannot be read: %v", err)
		return
	}
	by, err := v.signedBy(a.KeyID, a.Verify)
	switch {
	case err != nil:
		v.find(format.Defect(err.Error()), a.Stream, a.Version, "statement %s, key %x", a.ID, a.KeyID)
		return
	case !SignsDocuments(by.c):
		v.find(ErrUntrusted, a.Stream, a.Version, "statement %s by who may not make any", a.ID)
		return
	case a.Device != "" && a.Device != v.Device:
		v.find(ErrOtherDevice, a.Stream, a.Version, "statement %s of %s", a.ID, a.Device)
		return
	}
	i, known := v.versions[a.ID]
	if !known {
		if a.Version != 1 {
			v.find(ErrVersions, a.Stream, a.Version, "statement %s without its first", a.ID)
		}
		if len(v.Statements) == 100*maxList {
			v.find(ErrSize, a.Stream, a.Version, "too many statements")
			return
		}
		v.versions[a.ID] = len(v.Statements)
		v.Statements = append(v.Statements, a)
		return
	}
	if !a.Follows(v.Statements[i]) {
		v.find(ErrVersions, a.Stream, a.Version, "statement %s after version %d", a.ID, v.Statements[i].Version)
	}
	v.Statements[i] = a
}

func (v *verification) seal(data []byte, items uint64, before Hash) {
	var e envelope
	if err := e.open(data); err != nil {
		v.find(ErrSeal, 0, 0, "%v", err)
		return
	}
	by, err := v.signedBy(e.KeyID, e.verify)
	switch {
	case err != nil:
		v.find(ErrSeal, 0, 0, "%v: key %x", err, e.KeyID)
	case !SignsDocuments(by.c):
		v.find(ErrSeal, 0, 0, "by who may not")
	case !bytes.Equal(e.payload, sealPayload(items, before)):
		v.find(ErrSeal, 0, 0, "of other content")
	}
}
