package fleet

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/cce"
)

// Transmission is what the receiving side saw of one push of a supplier, taken or not.
type Transmission struct {
	Supplier string
	Received time.Time // its head
	Answered time.Time // when the answer was written, or the connection closed
	Way      string    // how the supplier said who it is: token, basic, bearer, certificate
	Secure   bool      // over TLS
	Media    string    // header Content-Type
	Encoding string    // header Content-Encoding
	Size     int       // bytes of the body, as sent
	Double   bool      // encoded twice
	Status   int       // answered; 0: the connection was closed without an answer
	Wait     int       // seconds, header Retry-After of the answer
	Fault    Fault     // that was put in; zero: none
	Followed bool      // it came to where a redirect pointed

	// What it held; nothing of it where Unreadable says why it could not be read.
	Unreadable format.Defect
	Type       string // ems, rtm
	TransferID string
	Content    [32]byte // a hash over the reports without the envelope
	Sent       time.Time
	Findings   []format.Finding
	Records    int
	First      time.Time // the oldest record
	Last       time.Time // the newest
	Alarm      time.Time // the newest record with an alarm; zero: none
	Step       int64     // seconds between records; 0: not known
	Stored     int
	Repeated   int
}

// Hold puts in what a transmission held.
func (t *Transmission) Hold(d *Delivery, sent *cce.Transmission) {
	t.Type, t.TransferID, t.Sent, t.Findings = sent.Type, sent.ID, sent.At, d.Findings
	for i := range sent.Reports {
		for j := range sent.Reports[i].Records {
			at := sent.Reports[i].Records[j].At
			t.Records++
			if t.First.IsZero() || at.Before(t.First) {
				t.First = at
			}
			if at.After(t.Last) {
				t.Last = at
			}
			if sent.Reports[i].Records[j].Text["ALRM"] != "" && at.After(t.Alarm) {
				t.Alarm = at
			}
		}
	}
	h := sha256.New()
	for _, s := range d.Series {
		fmt.Fprintf(h, "%q %q", s.Device.String(), s.Sensor)
		for _, r := range s.Readings {
			fmt.Fprintf(h, " %d=%d", r.At, r.Value)
		}
		if s.Interval > 0 && len(s.Readings) > 1 && (t.Step == 0 || s.Interval < t.Step) {
			t.Step = s.Interval
		}
	}
	for _, n := range d.Notes {
		fmt.Fprintf(h, "%s %d %q %q", n.Device, n.At, n.Code, n.Text)
	}
	if len(d.Series) == 0 {
		h.Write(d.Raw)
	}
	h.Sum(t.Content[:0])
}

// Answer is what is known of a duty.
type Answer string

// The answers.
const (
	Pass       Answer = "pass"
	Fail       Answer = "fail"
	NotSeen    Answer = "not-seen"    // nothing happened that would show it; a fault that is put in may
	NotVisible Answer = "not-visible" // nobody can see it from the receiving side
)

// Duty is what a supplier owes, by DS01.3 clause 5.
type Duty struct {
	ID     string          `json:"id"`     // of the requirements of 30 March 2025, which DS01.3 renumbers
	Clause string          `json:"clause"` // of DS01.3
	Title  string          `json:"title"`
	Answer Answer          `json:"answer"`
	Seen   int             `json:"seen"`          // how many times it could be judged
	Broken int             `json:"broken"`        // and how many times it was not kept
	Why    []format.Defect `json:"why,omitempty"` // what was wrong
	// Examples are the first transmissions that broke it.
	Examples []Example `json:"examples,omitempty"`
	// Figures say more, where numbers do.
	Figures map[string]float64 `json:"figures,omitempty"`
}

// Example is a transmission that shows something.
type Example struct {
	TransferID string        `json:"transfer_id,omitempty"`
	Received   time.Time     `json:"received"`
	Path       string        `json:"path,omitempty"` // of the finding, where it is one
	Reason     format.Defect `json:"reason,omitempty"`
}

// Conformance is how a supplier keeps its duties, as far as it can be seen from here.
type Conformance struct {
	Supplier      string    `json:"supplier"`
	From          time.Time `json:"from"`
	Until         time.Time `json:"until"`
	Transmissions int       `json:"transmissions"`
	Duties        []Duty    `json:"duties"`
}

// What can be wrong with a duty, beside the findings of the format.
const (
	ReasonNotSecure  format.Defect = "not-over-tls"
	ReasonMedia      format.Defect = "content-type"
	ReasonWay        format.Defect = "unknown-authentication"
	ReasonTooLarge   format.Defect = "body-too-large"
	ReasonRedirected format.Defect = "redirect-followed"
	ReasonDouble     format.Defect = "encoded-twice"
	ReasonEncoding   format.Defect = "content-encoding"
	ReasonDuplicate  format.Defect = "duplicate"
	ReasonParallel   format.Defect = "not-serial"
	ReasonLateAlarm  format.Defect = "alarm-late"
	ReasonNewID      format.Defect = "retried-under-another-id"
	ReasonSameID     format.Defect = "id-used-twice"
	ReasonResolution format.Defect = "records-far-apart"
	ReasonNoRetry    format.Defect = "not-retried"
	ReasonFewRetries format.Defect = "fewer-than-6-retries"
	ReasonNotGivenUp format.Defect = "retried-after-permanent-failure"
	ReasonNoBackoff  format.Defect = "no-backoff"
	ReasonTooSoon    format.Defect = "retry-after-not-kept"
)

const (
	maxExamples       = 5
	maxBody           = 1 << 20          // bytes (5.1.6)
	alarmWithin       = 15 * time.Minute // 5.2.3
	retryWithin       = 24 * time.Hour   // 5.4.1
	enoughRetries     = 6
	longestResolution = 15 * 60 // seconds: the records of DS01
)

// duties are the 27 requirements, in their order; judge is nil where nobody can see
// from here whether one is kept.
var duties = []struct {
	id, clause, title string
	judge             func(*judgement, *Duty)
}{
	{"1.1", "5.1.3", "UTF-8 JSON by HTTPS POST", (*judgement).form},
	{"1.2", "5.1.3", "header Content-Type", (*judgement).media},
	{"1.3", "5.1.5", "token header, Basic or Bearer", (*judgement).way},
	{"1.4", "5.1.6", "body of 1 MB at most", (*judgement).size},
	{"1.5", "5.1.7", "redirects are not followed", (*judgement).redirect},
	{"1.6", "5.1.8", "gzip, and nothing encoded twice", (*judgement).encoding},
	{"1.7", "5.1.9", "custom headers are permitted", nil},
	{"1.8", "5.1.10", "no duplicates", (*judgement).duplicates},
	{"2.1", "5.2.1", "one at a time", (*judgement).serial},
	{"2.2", "5.2.2", "within minutes of the supplier's receipt", nil},
	{"2.3", "5.2.3", "alarms within 15 minutes", (*judgement).alarms},
	{"3.1", "5.3.3", "metadata of the transmission", (*judgement).metadata},
	{"3.2", "5.3.2", "the schema", (*judgement).schema},
	{"3.3", "5.3.4", "all data objects that were recorded", nil},
	{"3.4", "5.3.6", "the time resolution of the device", (*judgement).resolution},
	{"4.1", "5.4.1", "retries after a failure", (*judgement).retries},
	{"4.2", "5.4.1", "6 retries in 24 hours at least", (*judgement).sixRetries},
	{"4.3", "5.4.1", "no retry after a permanent failure", (*judgement).givesUp},
	{"4.4", "5.4.2", "retries at growing distances", (*judgement).backoff},
	{"4.5", "5.4.2", "Retry-After of 429", (*judgement).retryAfter},
	{"4.6", "5.4.3", "a log of failed attempts", nil},
	{"4.7", "5.4.5", "a contact and a service level", nil},
	{"4.8", "5.4.6", "transmissions are watched", nil},
	{"4.9", "5.4.7", "notice of many failures", nil},
	{"5.1", "5.4.4", "the last 6 months again on request", nil},
	{"5.2", "5.4.4", "by range of time", nil},
	{"5.3", "5.4.4", "all, or what was never sent", nil},
}

// Judge tells how a supplier keeps its duties, from what was seen of it until now. What
// came to the target of a redirect is among it.
func Judge(supplier string, seen []Transmission, now time.Time) Conformance {
	j := &judgement{now: now}
	for _, t := range seen {
		if t.Supplier == supplier {
			j.all = append(j.all, t)
		}
	}
	slices.SortStableFunc(j.all, func(a, b Transmission) int { return a.Received.Compare(b.Received) })
	j.chain()
	c := Conformance{Supplier: supplier, Until: now, Transmissions: len(j.all)}
	if len(j.all) > 0 {
		c.From = j.all[0].Received
	}
	for _, d := range duties {
		duty := Duty{ID: d.id, Clause: d.clause, Title: d.title, Answer: NotVisible}
		if d.judge != nil {
			d.judge(j, &duty)
			switch {
			case duty.Broken > 0:
				duty.Answer = Fail
			case duty.Seen > 0:
				duty.Answer = Pass
			default:
				duty.Answer = NotSeen
			}
		}
		c.Duties = append(c.Duties, duty)
	}
	return c
}

// judgement is what the duties are judged from.
type judgement struct {
	now    time.Time
	all    []Transmission // in the order of their receipt
	chains []chain        // of readable ones
}

// chain is the attempts to bring one content, in their order.
type chain []*Transmission

// chain puts attempts together that have one content. Envelopes differ: a supplier may
// date each attempt anew.
func (j *judgement) chain() {
	at := map[[32]byte]int{}
	for i := range j.all {
		t := &j.all[i]
		if t.Unreadable != "" || t.Followed {
			continue
		}
		k, there := at[t.Content]
		if !there {
			k = len(j.chains)
			at[t.Content] = k
			j.chains = append(j.chains, nil)
		}
		j.chains[k] = append(j.chains[k], t)
	}
}

// taken reports whether the receiver answered that it has it.
func (t *Transmission) taken() bool { return t.Status >= 200 && t.Status < 300 }

// temporary reports whether it is to be sent again (DS01.3 5.4.1): no answer, 404, 408,
// 409, 429, and 5xx without 501 and 505.
func (t *Transmission) temporary() bool {
	switch t.Status {
	case 0, 404, 408, 409, 429:
		return true
	case 501, 505:
		return false
	}
	return t.Status >= 500
}

// permanent reports whether it is not to be sent again.
func (t *Transmission) permanent() bool { return t.Status >= 400 && !t.temporary() }

// kept counts a case; with a reason it is one in which the duty was not kept.
func (d *Duty) kept(t *Transmission, path string, reason format.Defect) {
	d.Seen++
	if reason == "" {
		return
	}
	d.Broken++
	if !slices.Contains(d.Why, reason) && len(d.Why) < 2*maxExamples {
		d.Why = append(d.Why, reason)
	}
	if len(d.Examples) < maxExamples {
		d.Examples = append(d.Examples, Example{t.TransferID, t.Received, path, reason})
	}
}

func (d *Duty) figure(name string, value float64) {
	if d.Figures == nil {
		d.Figures = map[string]float64{}
	}
	d.Figures[name] = value
}

// when returns the reason where a condition holds.
func when(broken bool, reason format.Defect) format.Defect {
	if broken {
		return reason
	}
	return ""
}

func (j *judgement) form(d *Duty) {
	for i := range j.all {
		t := &j.all[i]
		// One too large was not read, which says nothing of its form.
		if t.Status == 413 {
			continue
		}
		d.kept(t, "", cmp.Or(when(!t.Secure, ReasonNotSecure), t.Unreadable))
	}
}

func (j *judgement) media(d *Duty) {
	for i := range j.all {
		t := &j.all[i]
		media, parameters, _ := strings.Cut(t.Media, ";")
		parameters = strings.ToLower(strings.NewReplacer(" ", "", `"`, "").Replace(parameters))
		good := strings.EqualFold(strings.TrimSpace(media), MediaCCE) && (parameters == "" || parameters == "charset=utf-8")
		d.kept(t, "", when(!good, ReasonMedia))
	}
}

func (j *judgement) way(d *Duty) {
	for i := range j.all {
		d.kept(&j.all[i], "", when(!slices.Contains([]string{"token", "basic", "bearer", "certificate"}, j.all[i].Way), ReasonWay))
	}
}

func (j *judgement) size(d *Duty) {
	most := 0
	for i := range j.all {
		t := &j.all[i]
		most = max(most, t.Size)
		d.kept(t, "", when(t.Size > maxBody || t.Status == 413, ReasonTooLarge))
	}
	d.figure("largest", float64(most))
}

// redirect looks for who came to where a redirect pointed.
func (j *judgement) redirect(d *Duty) {
	for i := range j.all {
		switch t := &j.all[i]; {
		case t.Followed:
			d.kept(t, "", ReasonRedirected)
		case t.Status >= 300 && t.Status < 400 && j.now.Sub(t.Received) > time.Minute:
			d.kept(t, "", "")
		}
	}
}

func (j *judgement) encoding(d *Duty) {
	packed := 0
	for i := range j.all {
		t := &j.all[i]
		if t.Encoding == "gzip" {
			packed++
		}
		known := t.Encoding == "" || t.Encoding == "identity" || t.Encoding == "gzip"
		d.kept(t, "", cmp.Or(when(!known, ReasonEncoding), when(t.Double, ReasonDouble)))
	}
	d.figure("gzip", float64(packed))
}

// duplicates looks for what was sent again although its receipt had been confirmed.
func (j *judgement) duplicates(d *Duty) {
	for _, attempts := range j.chains {
		had := false
		for _, t := range attempts {
			if had {
				d.kept(t, "", ReasonDuplicate)
			} else if t.taken() {
				d.kept(t, "", "")
			}
			// An answer that came too late was perhaps not seen.
			had = had || t.taken() && t.Answered.Sub(t.Received) < 10*time.Second
		}
	}
	readings, repeated := 0, 0
	for i := range j.all {
		readings += j.all[i].Stored + j.all[i].Repeated
		repeated += j.all[i].Repeated
	}
	d.figure("readings", float64(readings))
	d.figure("repeated", float64(repeated))
}

// serial looks for what came before the one before it was answered.
func (j *judgement) serial(d *Duty) {
	var busy time.Time
	for i := range j.all {
		t := &j.all[i]
		d.kept(t, "", when(t.Received.Before(busy), ReasonParallel))
		if t.Answered.After(busy) {
			busy = t.Answered
		}
	}
}

// alarms takes the first attempt: what failed because of us was in time.
func (j *judgement) alarms(d *Duty) {
	worst := time.Duration(0)
	for _, attempts := range j.chains {
		t := attempts[0]
		if t.Alarm.IsZero() {
			continue
		}
		late := t.Received.Sub(t.Alarm)
		worst = max(worst, late)
		d.kept(t, "", when(late > alarmWithin, ReasonLateAlarm))
	}
	if d.Seen > 0 {
		d.figure("slowest", worst.Seconds())
	}
}

func (j *judgement) metadata(d *Duty) {
	content := map[string][32]byte{}
	for i := range j.all {
		t := &j.all[i]
		if t.Unreadable != "" || t.Followed {
			continue
		}
		at := slices.IndexFunc(t.Findings, func(f format.Finding) bool { return strings.HasPrefix(f.Path, "meta.") })
		if at >= 0 {
			d.kept(t, t.Findings[at].Path, t.Findings[at].Reason)
			continue
		}
		before, used := content[t.TransferID]
		d.kept(t, "", when(used && before != t.Content, ReasonSameID))
		content[t.TransferID] = t.Content
	}
	// Who sends again what was not taken does so under the same transferId.
	for _, attempts := range j.chains {
		for i, t := range attempts[1:] {
			if before := attempts[i]; !before.taken() && before.TransferID != t.TransferID {
				d.kept(t, "meta.transferId", ReasonNewID)
			}
		}
	}
}

func (j *judgement) schema(d *Duty) {
	by := map[format.Defect]int{}
	for i := range j.all {
		t := &j.all[i]
		if t.Unreadable != "" || t.Followed {
			continue
		}
		at := -1
		for k, f := range t.Findings {
			if !strings.HasPrefix(f.Path, "meta.") {
				by[f.Reason]++
				if at < 0 {
					at = k
				}
			}
		}
		if at < 0 {
			d.kept(t, "", "")
		} else {
			d.kept(t, t.Findings[at].Path, t.Findings[at].Reason)
		}
	}
	for reason, n := range by {
		d.figure(string(reason), float64(n))
	}
}

func (j *judgement) resolution(d *Duty) {
	for _, attempts := range j.chains {
		if t := attempts[0]; t.Step > 0 {
			d.kept(t, "", when(t.Step > longestResolution, ReasonResolution))
			d.figure("shortest", min(float64(t.Step), cmp.Or(d.Figures["shortest"], float64(t.Step))))
		}
	}
}

// retries asks of each attempt that failed for a time whether another came.
func (j *judgement) retries(d *Duty) {
	for _, attempts := range j.chains {
		for i, t := range attempts {
			switch {
			case !t.temporary():
			case i+1 < len(attempts):
				d.kept(attempts[i+1], "", "")
			case i < enoughRetries && j.now.Sub(t.Received) > retryWithin:
				d.kept(t, "", ReasonNoRetry)
			}
		}
	}
}

// sixRetries looks at contents that were never taken: of the others nobody knows how
// often they would have come.
func (j *judgement) sixRetries(d *Duty) {
	for _, attempts := range j.chains {
		first := attempts[0]
		retries := 0
		for i := 1; i < len(attempts) && attempts[i-1].temporary(); i++ {
			if attempts[i].Received.Sub(first.Received) <= retryWithin {
				retries++
			}
		}
		switch {
		case !first.temporary():
		case retries >= enoughRetries:
			d.kept(first, "", "")
		case attempts[len(attempts)-1].temporary() && j.now.Sub(first.Received) > retryWithin:
			d.kept(first, "", ReasonFewRetries)
		}
		if first.temporary() {
			d.figure("most", max(d.Figures["most"], float64(retries)))
		}
	}
}

func (j *judgement) givesUp(d *Duty) {
	for _, attempts := range j.chains {
		for i, t := range attempts {
			switch {
			case !t.permanent():
			case i+1 < len(attempts):
				d.kept(attempts[i+1], "", ReasonNotGivenUp)
			case j.now.Sub(t.Received) > retryWithin:
				d.kept(t, "", "")
			}
		}
	}
}

// backoff wants the last distance of three or more to be longer than the first by half.
func (j *judgement) backoff(d *Duty) {
	for _, attempts := range j.chains {
		var gaps []time.Duration
		for i := 1; i < len(attempts) && attempts[i-1].temporary(); i++ {
			// What Retry-After asked for is no distance of the supplier's own.
			if attempts[i-1].Wait == 0 {
				gaps = append(gaps, attempts[i].Received.Sub(attempts[i-1].Answered))
			}
		}
		if len(gaps) >= 3 {
			d.kept(attempts[len(attempts)-1], "", when(gaps[len(gaps)-1] < gaps[0]*3/2, ReasonNoBackoff))
			d.figure("first", gaps[0].Seconds())
			d.figure("last", gaps[len(gaps)-1].Seconds())
		}
	}
}

func (j *judgement) retryAfter(d *Duty) {
	for _, attempts := range j.chains {
		for i := 1; i < len(attempts); i++ {
			if before := attempts[i-1]; before.Status == 429 && before.Wait > 0 {
				// A second is lost in rounding.
				early := attempts[i].Received.Sub(before.Answered) < time.Duration(before.Wait-1)*time.Second
				d.kept(attempts[i], "", when(early, ReasonTooSoon))
			}
		}
	}
}

// Fault is what a receiver does wrong on purpose, in an agreed window, to see what the
// supplier does then.
type Fault struct {
	Status int           // 300 to 599; 0: none of its own
	Wait   int           // seconds, header Retry-After
	Close  bool          // the connection is closed without an answer
	Delay  time.Duration // before the answer
}

// Bounds of a plan.
const (
	MaxFaults = 100
	MaxDelay  = 2 * time.Minute
	MaxWindow = 8 * 24 * time.Hour
)

// Plan is the faults that a supplier meets in a window: the first request the first of
// them, and so on; after the last all is as always.
type Plan struct {
	Supplier    string
	From, Until time.Time
	Faults      []Fault
}

// ErrPlan is a plan that is none.
const ErrPlan format.Defect = "bad-fault-plan"

// Check refuses a plan that would do harm, or nothing.
func (p *Plan) Check() error {
	bad := func(what string) error { return fmt.Errorf("plan of faults: %s: %w", what, ErrPlan) }
	switch {
	case p.Supplier == "":
		return bad("no supplier")
	case !p.Until.After(p.From) || p.Until.Sub(p.From) > MaxWindow:
		return bad("window")
	case len(p.Faults) == 0 || len(p.Faults) > MaxFaults:
		return bad(fmt.Sprintf("%d faults", len(p.Faults)))
	}
	for i, f := range p.Faults {
		own := f.Status >= 300 && f.Status <= 599
		switch {
		case f == Fault{}, f.Status != 0 && !own, f.Close && f.Status != 0,
			f.Wait < 0 || f.Wait > 24*3600 || f.Wait > 0 && !own, f.Delay < 0 || f.Delay > MaxDelay:
			return bad(fmt.Sprintf("fault %d", i))
		}
	}
	return nil
}

// At returns the fault that the next request meets after so many that met one.
func (p *Plan) At(now time.Time, met int) (Fault, bool) {
	if now.Before(p.From) || !now.Before(p.Until) || met < 0 || met >= len(p.Faults) {
		return Fault{}, false
	}
	return p.Faults[met], true
}
