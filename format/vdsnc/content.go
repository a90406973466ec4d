package vdsnc

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ampoule/format"
)

// Vaccination is the message of a proof of vaccination: one person, and what was
// given by disease or product, dose by dose.
//
//	msg = { uvci, pid {n, ? dob, ? sex, ? i, ? ai},
//	        ve [+ {des, nam, ? dis, vd [+ {dvc, seq, ctr, adm, ? lot, ? dvn}]}] }
type Vaccination struct {
	ID     string // uvci
	Person Person
	Events []Event
}

// Person is the holder, pid. Either form of the document's number occurs:
// proofs of vaccination have i and ai, proofs of testing dn and dt.
type Person struct {
	Name          string // n, as in the passport: surname, then given names
	BirthDate     string // dob
	Sex           string // sex: M, F or X
	Document      string // i, of the travel document
	OtherDocument string // ai
	Number        string // dn
	NumberType    string // dt: P passport, A, C, I identity cards, V visa, D driving licence, AC
}

// Event is one vaccine, ve.
type Event struct {
	Vaccine string // des: ICD-11 extension code of the vaccine
	Name    string // nam: brand or name
	Disease string // dis: ICD-11
	Doses   []Dose
}

// Dose is one dose given, vd.
type Dose struct {
	Date    string // dvc
	Number  int    // seq; 0 where it is not said or cannot be read
	Country string // ctr, three letters
	Centre  string // adm
	Lot     string // lot
	Next    string // dvn, when the next one is due
}

// Test is the message of a proof of testing.
//
//	msg = { utci, pid {n, dob, dt, dn}, sp {spn, ctr, cd {p, e, a}},
//	        dat {sc, ri}, tr {tc, r, ? m}, ? opt }
type Test struct {
	ID       string // utci
	Person   Person
	Centre   string // sp.spn, the service provider
	Country  string // sp.ctr
	Phone    string // sp.cd.p
	Email    string // sp.cd.e
	Address  string // sp.cd.a
	Sampled  string // dat.sc, RFC 3339
	Reported string // dat.ri, RFC 3339
	Method   string // tr.tc
	Result   string // tr.r
	Specimen string // tr.m
	Optional string // opt
}

// maxText bounds each text: no field of a seal is longer.
const maxText = 200

// Most events and doses of one seal.
const (
	maxEvents = 64
	maxDoses  = 64
)

// object is what a member of the canonical form holds.
type object map[string]any

type contentReader struct {
	seal     *Seal
	profile  Profile
	findings []format.Finding
	err      error
}

func (r *contentReader) find(tolerable bool, reason format.Defect, path string) {
	r.findings = append(r.findings, format.Finding{Path: path, Reason: reason, Tolerable: tolerable})
}

// readData reads header and message.
func (s *Seal) readData(data map[string]json.RawMessage, p Profile) ([]format.Finding, error) {
	r := &contentReader{seal: s, profile: p}
	var hdr, msg object
	// Both are canonical, so that decoding cannot fail but for their kind.
	if json.Unmarshal(data["hdr"], &hdr) != nil || hdr == nil {
		return nil, fmt.Errorf("data.hdr: %w", ErrShape)
	}
	var ok bool
	if s.Type, ok = hdr["t"].(string); !ok {
		return nil, fmt.Errorf("data.hdr.t: %w", ErrShape)
	}
	if s.Type != TypeVaccination && s.Type != TypeTest {
		return nil, fmt.Errorf("data.hdr.t: %w", ErrType)
	}
	if v, ok := hdr["v"].(float64); !ok || v != 1 {
		// A later version may give any field another meaning.
		return nil, fmt.Errorf("data.hdr.v: %w", ErrVersion)
	}
	s.Version = 1
	if s.Issuer, ok = hdr["is"].(string); !ok {
		return nil, fmt.Errorf("data.hdr.is: %w", ErrShape)
	}
	if !isState(s.Issuer) {
		r.find(false, format.BadCode, "hdr.is")
	}
	r.unexpected(hdr, "hdr", "t", "v", "is")
	if json.Unmarshal(data["msg"], &msg) != nil || msg == nil {
		return nil, fmt.Errorf("data.msg: %w", ErrShape)
	}
	if len(data) > 2 {
		r.find(true, format.NotCarried, "…")
	}
	if s.Type == TypeVaccination {
		s.Vaccination = r.vaccination(msg)
	} else {
		s.Test = r.test(msg)
	}
	return r.findings, r.err
}

func (r *contentReader) vaccination(m object) *Vaccination {
	v := &Vaccination{ID: r.text(m, "", "uvci", required)}
	r.unexpected(m, "", "uvci", "pid", "ve")
	v.Person = r.person(m)
	for i, e := range r.objects(m, "ve", maxEvents) {
		at := fmt.Sprintf("ve[%d]", i)
		event := Event{
			Vaccine: r.text(e, at, "des", required),
			Name:    r.text(e, at, "nam", required),
			Disease: r.text(e, at, "dis", optional),
		}
		r.unexpected(e, at, "des", "nam", "dis", "vd")
		for j, d := range r.objectsAt(e, at, "vd", maxDoses) {
			at := fmt.Sprintf("%s.vd[%d]", at, j)
			event.Doses = append(event.Doses, Dose{
				Date:    r.date(d, at, "dvc", required),
				Number:  r.number(d, at, "seq"),
				Country: r.state(d, at, "ctr", required),
				Centre:  r.text(d, at, "adm", required),
				Lot:     r.text(d, at, "lot", optional),
				Next:    r.date(d, at, "dvn", optional),
			})
			r.unexpected(d, at, "dvc", "seq", "ctr", "adm", "lot", "dvn")
		}
		v.Events = append(v.Events, event)
	}
	return v
}

func (r *contentReader) test(m object) *Test {
	t := &Test{ID: r.text(m, "", "utci", required), Optional: r.text(m, "", "opt", optional)}
	r.unexpected(m, "", "utci", "pid", "sp", "dat", "tr", "opt")
	t.Person = r.person(m)

	sp := r.object(m, "", "sp", required)
	t.Centre, t.Country = r.text(sp, "sp", "spn", required), r.state(sp, "sp", "ctr", required)
	r.unexpected(sp, "sp", "spn", "ctr", "cd")
	cd := r.object(sp, "sp", "cd", optional)
	t.Phone, t.Email, t.Address = r.text(cd, "sp.cd", "p", optional), r.text(cd, "sp.cd", "e", optional), r.text(cd, "sp.cd", "a", optional)
	r.unexpected(cd, "sp.cd", "p", "e", "a")

	dat := r.object(m, "", "dat", required)
	t.Sampled, t.Reported = r.time(dat, "dat", "sc", required), r.time(dat, "dat", "ri", optional)
	r.unexpected(dat, "dat", "sc", "ri")

	tr := r.object(m, "", "tr", required)
	t.Method, t.Result, t.Specimen = r.text(tr, "tr", "tc", required), r.text(tr, "tr", "r", required), r.text(tr, "tr", "m", optional)
	r.unexpected(tr, "tr", "tc", "r", "m")
	return t
}

func (r *contentReader) person(m object) Person {
	const at = "pid"
	pid := r.object(m, "", at, required)
	p := Person{
		Name:          r.text(pid, at, "n", required),
		BirthDate:     r.birthDate(pid, at, "dob"),
		Sex:           r.text(pid, at, "sex", optional),
		Document:      r.text(pid, at, "i", optional),
		OtherDocument: r.text(pid, at, "ai", optional),
		Number:        r.text(pid, at, "dn", optional),
		NumberType:    r.text(pid, at, "dt", optional),
	}
	switch p.Sex {
	case "", "M", "F", "X":
	default:
		r.find(true, format.BadCode, "pid.sex")
	}
	if pid != nil && p.BirthDate == "" && p.Document == "" && p.OtherDocument == "" && p.Number == "" {
		// A name alone is shared by many, and a seal is to be tied to one person.
		r.find(false, format.RequiredMissing, "pid.dob|pid.i")
	}
	r.unexpected(pid, at, "n", "dob", "sex", "i", "ai", "dn", "dt")
	return p
}

const (
	required = true
	optional = false
)

func join(at, key string) string {
	if at == "" {
		return key
	}
	return at + "." + key
}

func (r *contentReader) object(m object, at, key string, must bool) object {
	v, present := m[key]
	if !present || v == nil {
		if must && m != nil {
			r.find(false, format.RequiredMissing, join(at, key))
		}
		return nil
	}
	o, ok := v.(map[string]any)
	if !ok {
		r.find(false, format.BadType, join(at, key))
	}
	return o
}

func (r *contentReader) objects(m object, key string, most int) []object {
	return r.objectsAt(m, "", key, most)
}

// objectsAt reads an array that must not be empty.
func (r *contentReader) objectsAt(m object, at, key string, most int) []object {
	list, ok := m[key].([]any)
	switch {
	case m[key] != nil && !ok:
		r.find(false, format.BadType, join(at, key))
	case len(list) == 0:
		r.find(false, format.RequiredMissing, join(at, key))
	case len(list) > most:
		r.find(false, format.TooLong, join(at, key))
		list = nil
	}
	var out []object
	for i, v := range list {
		o, ok := v.(map[string]any)
		if !ok {
			r.find(false, format.BadType, fmt.Sprintf("%s[%d]", join(at, key), i))
			continue
		}
		out = append(out, o)
	}
	return out
}

func (r *contentReader) text(m object, at, key string, must bool) string {
	v, present := m[key]
	if m == nil {
		return "" // the object itself is missing, which was found
	}
	if !present || v == nil {
		if must {
			r.find(false, format.RequiredMissing, join(at, key))
		}
		return ""
	}
	s, ok := v.(string)
	if !ok {
		r.find(false, format.BadType, join(at, key))
		return ""
	}
	s, odd := format.Clean(s)
	if must && strings.TrimSpace(s) == "" {
		r.find(false, format.RequiredMissing, join(at, key))
	}
	if len(s) > maxText && utf8.RuneCountInString(s) > maxText {
		r.find(true, format.TooLong, join(at, key))
	}
	if odd {
		r.find(true, format.SuspiciousText, join(at, key))
	}
	return s
}

func (r *contentReader) date(m object, at, key string, must bool) string {
	s := r.text(m, at, key, must)
	if s != "" && !format.IsDate(s) {
		r.find(!must, format.BadDate, join(at, key))
	}
	return s
}

// birthDate may be partial: passports have unknown days and months.
func (r *contentReader) birthDate(m object, at, key string) string {
	s := r.text(m, at, key, optional)
	if s != "" && !format.IsDate(s) {
		r.find(format.IsPartialDate(s), format.BadDate, join(at, key))
	}
	return s
}

// time reads an RFC 3339 date-time. A plain date tells the day all the same.
func (r *contentReader) time(m object, at, key string, must bool) string {
	s := r.text(m, at, key, must)
	if s == "" {
		return ""
	}
	if _, err := time.Parse(time.RFC3339, s); err != nil {
		r.find(format.IsDate(s), format.BadDate, join(at, key))
	}
	return s
}

// state reads the three-letter code of a country. Some are written with two.
func (r *contentReader) state(m object, at, key string, must bool) string {
	s := r.text(m, at, key, must)
	if s != "" && !isState(s) {
		r.find(true, format.BadCode, join(at, key))
	}
	return s
}

// number reads a dose's number. ICAO's own sample writes it as a text.
func (r *contentReader) number(m object, at, key string) int {
	path := join(at, key)
	switch v := m[key].(type) {
	case nil:
		r.find(true, format.RequiredMissing, path)
	case float64:
		if v >= 0 && v < 100 && v == float64(int(v)) {
			return int(v)
		}
		r.find(true, format.BadValue, path)
	case string:
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 || n >= 100 {
			r.find(true, format.BadValue, path)
			return 0
		}
		if r.err == nil {
			const word = "number-as-text"
			if len(r.seal.Remarks) == 0 || r.seal.Remarks[len(r.seal.Remarks)-1] != word {
				r.err = r.seal.irregular(r.profile, word)
			}
		}
		return n
	default:
		r.find(false, format.BadType, path)
	}
	return 0
}

// unexpected remarks on members that the report does not have.
func (r *contentReader) unexpected(m object, at string, known ...string) {
next:
	for name := range m {
		for _, k := range known {
			if name == k {
				continue next
			}
		}
		// The name of an unknown member may hold anything, so it is not shown.
		r.find(true, format.NotCarried, join(at, "…"))
	}
}

// isState checks the form of a code of Doc 9303-3: three letters, and one, for
// Germany. Which are assigned is no business of the format.
func isState(s string) bool {
	return format.IsCapitals(s, 3) || s == "D"
}
