package fleet

import (
	"errors"
	"testing"
	"time"

	"ampoule/format"
)

// at is the time of the tests, so many minutes after its beginning.
func at(minutes float64) time.Time {
	return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC).Add(time.Duration(minutes * float64(time.Minute)))
}

// sent is a transmission that is as it should be.
func sent(minutes float64, id string, content byte, status int) Transmission {
	return Transmission{
		Supplier: "s", Received: at(minutes), Answered: at(minutes).Add(time.Second), Way: "bearer", Secure: true, Media: "application/json; charset=UTF-8", Encoding: "gzip",
		Size: 1000, Status: status, Type: "ems", TransferID: id, Content: [32]byte{content}, Records: 4, Step: 900, Stored: 4,
	}
}

func with(t Transmission, change func(*Transmission)) Transmission {
	change(&t)
	return t
}

func TestJudge(t *testing.T) {
	const day = 24 * 60
	series := func(status int, at ...float64) (all []Transmission) {
		for _, m := range at {
			all = append(all, sent(m, "a", 1, status))
		}
		return all
	}
	for _, tt := range []struct {
		name string
		seen []Transmission
		now  float64
		duty string
		want Answer
		why  format.Defect
	}{
		{"nothing", nil, 0, "1.1", NotSeen, ""},
		{"nothing", nil, 0, "4.6", NotVisible, ""},
		{"of another", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Supplier = "x" })}, 0, "1.1", NotSeen, ""},
		{"good", series(200, 0), 0, "1.1", Pass, ""},
		{"not over TLS", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Secure = false })}, 0, "1.1", Fail, ReasonNotSecure},
		{"not readable", []Transmission{with(sent(0, "a", 1, 400), func(t *Transmission) { t.Unreadable = "bad-json" })}, 0, "1.1", Fail, "bad-json"},
		{"media type", series(200, 0), 0, "1.2", Pass, ""},
		{"another media type", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Media = "text/json" })}, 0, "1.2", Fail, ReasonMedia},
		{"another character set", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Media = "application/json;charset=latin1" })}, 0, "1.2", Fail, ReasonMedia},
		{"bearer", series(200, 0), 0, "1.3", Pass, ""},
		{"large", []Transmission{with(sent(0, "a", 1, 413), func(t *Transmission) { t.Unreadable = "body-too-large" })}, 0, "1.4", Fail, ReasonTooLarge},
		{"large is no matter of form", []Transmission{with(sent(0, "a", 1, 413), func(t *Transmission) { t.Unreadable = "body-too-large" })}, 0, "1.1", NotSeen, ""},
		{"redirect", series(302, 0), 10, "1.5", Pass, ""},
		{"redirect, just now", series(302, 0), 0.1, "1.5", NotSeen, ""},
		{"redirect followed", []Transmission{sent(0, "a", 1, 302), with(sent(0.1, "a", 1, 404), func(t *Transmission) { t.Followed = true })}, 10, "1.5", Fail, ReasonRedirected},
		{"twice", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Double = true })}, 0, "1.6", Fail, ReasonDouble},
		{"brotli", []Transmission{with(sent(0, "a", 1, 415), func(t *Transmission) { t.Encoding = "br" })}, 0, "1.6", Fail, ReasonEncoding},
		{"retry is no duplicate", []Transmission{sent(0, "a", 1, 500), sent(5, "a", 1, 200)}, 10, "1.8", Pass, ""},
		{"duplicate", series(200, 0, 5), 10, "1.8", Fail, ReasonDuplicate},
		{"answered late", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Answered = at(1) }), sent(5, "a", 1, 200)}, 10, "1.8", Pass, ""},
		{"one at a time", []Transmission{sent(0, "a", 1, 200), sent(1, "b", 2, 200)}, 10, "2.1", Pass, ""},
		{"two at a time", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Answered = at(2) }), sent(1, "b", 2, 200)}, 10, "2.1", Fail, ReasonParallel},
		{"alarm in time, although we failed", []Transmission{with(sent(0, "a", 1, 500), func(t *Transmission) { t.Alarm = at(-10) }), with(sent(60, "a", 1, 200), func(t *Transmission) { t.Alarm = at(-10) })}, 90, "2.3", Pass, ""},
		{"alarm late", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Alarm = at(-16) })}, 0, "2.3", Fail, ReasonLateAlarm},
		{"no alarm", series(200, 0), 0, "2.3", NotSeen, ""},
		{"envelope", series(200, 0), 0, "3.1", Pass, ""},
		{"a bad envelope", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) {
			t.Findings = []format.Finding{{Path: "meta.transferredAt", Reason: format.BadDate}}
		})}, 0, "3.1", Fail, format.BadDate},
		{"a bad envelope is no matter of the schema", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) {
			t.Findings = []format.Finding{{Path: "meta.transferredAt", Reason: format.BadDate}}
		})}, 0, "3.2", Pass, ""},
		{"retried under another name", []Transmission{sent(0, "a", 1, 500), sent(5, "b", 1, 200)}, 10, "3.1", Fail, ReasonNewID},
		{"one name for two", []Transmission{sent(0, "a", 1, 200), sent(5, "a", 2, 200)}, 10, "3.1", Fail, ReasonSameID},
		{"a rule broken", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) {
			t.Findings = []format.Finding{{Path: "data[0].ASER", Reason: format.RequiredMissing}}
		})}, 0, "3.2", Fail, format.RequiredMissing},
		{"resolution", series(200, 0), 0, "3.4", Pass, ""},
		{"hourly", []Transmission{with(sent(0, "a", 1, 200), func(t *Transmission) { t.Step = 3600 })}, 0, "3.4", Fail, ReasonResolution},
		{"retried", []Transmission{sent(0, "a", 1, 503), sent(5, "a", 1, 200)}, 10, "4.1", Pass, ""},
		{"retried after no answer", []Transmission{sent(0, "a", 1, 0), sent(5, "a", 1, 200)}, 10, "4.1", Pass, ""},
		{"not retried yet", series(500, 0), 60, "4.1", NotSeen, ""},
		{"not retried", series(408, 0), day + 1, "4.1", Fail, ReasonNoRetry},
		{"501 is not retried", series(501, 0), day + 1, "4.1", NotSeen, ""},
		{"six retries", series(500, 0, 1, 2, 4, 8, 16, 32), day + 60, "4.2", Pass, ""},
		{"five retries", series(500, 0, 1, 2, 4, 8, 16), day + 60, "4.2", Fail, ReasonFewRetries},
		{"five retries until now", series(500, 0, 1, 2, 4, 8, 16), 60, "4.2", NotSeen, ""},
		{"taken at the third", append(series(500, 0, 1, 2), sent(4, "a", 1, 200)), day + 60, "4.2", NotSeen, ""},
		{"given up", series(400, 0), day + 1, "4.3", Pass, ""},
		{"given up, perhaps", series(400, 0), 60, "4.3", NotSeen, ""},
		{"not given up", series(401, 0, 5), 60, "4.3", Fail, ReasonNotGivenUp},
		{"409 may be retried", series(409, 0, 5), 60, "4.3", NotSeen, ""},
		{"ever later", series(500, 0, 1, 3, 7), 60, "4.4", Pass, ""},
		{"always a minute", series(500, 0, 1, 2, 3), 60, "4.4", Fail, ReasonNoBackoff},
		{"two are too few", series(500, 0, 1), 60, "4.4", NotSeen, ""},
		{"waited", []Transmission{with(sent(0, "a", 1, 429), func(t *Transmission) { t.Wait = 120 }), sent(2.1, "a", 1, 200)}, 10, "4.5", Pass, ""},
		{"did not wait", []Transmission{with(sent(0, "a", 1, 429), func(t *Transmission) { t.Wait = 120 }), sent(1, "a", 1, 200)}, 10, "4.5", Fail, ReasonTooSoon},
	} {
		t.Run(tt.duty+" "+tt.name, func(t *testing.T) {
			c := Judge("s", tt.seen, at(tt.now))
			if len(c.Duties) != 27 {
				t.Fatal(len(c.Duties))
			}
			for _, d := range c.Duties {
				if d.ID != tt.duty {
					continue
				}
				if d.Answer != tt.want || d.Answer == Fail && (len(d.Why) != 1 || d.Why[0] != tt.why || len(d.Examples) == 0) || d.Answer != Fail && len(d.Why) > 0 {
					t.Errorf("%+v", d)
				}
			}
		})
	}
}

func TestPlan(t *testing.T) {
	p := Plan{Supplier: "s", From: at(0), Until: at(60), Faults: []Fault{{Status: 429, Wait: 60}, {Close: true}, {Delay: time.Second}}}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		now  float64
		met  int
		want Fault
		ok   bool
	}{{-1, 0, Fault{}, false}, {0, 0, p.Faults[0], true}, {59, 2, p.Faults[2], true}, {30, 3, Fault{}, false}, {60, 0, Fault{}, false}} {
		if f, ok := p.At(at(tt.now), tt.met); f != tt.want || ok != tt.ok {
			t.Errorf("%v %d: %v %v", tt.now, tt.met, f, ok)
		}
	}
	for name, change := range map[string]func(*Plan){
		"no supplier": func(p *Plan) { p.Supplier = "" }, "no window": func(p *Plan) { p.Until = p.From }, "for ever": func(p *Plan) { p.Until = p.From.Add(MaxWindow + 1) },
		"no fault": func(p *Plan) { p.Faults = nil }, "many": func(p *Plan) { p.Faults = make([]Fault, MaxFaults+1) }, "nothing": func(p *Plan) { p.Faults = []Fault{{}} },
		"a good answer": func(p *Plan) { p.Faults = []Fault{{Status: 200}} }, "status and none": func(p *Plan) { p.Faults = []Fault{{Status: 500, Close: true}} },
		"wait of nothing": func(p *Plan) { p.Faults = []Fault{{Close: true, Wait: 5}} }, "too slow": func(p *Plan) { p.Faults = []Fault{{Delay: MaxDelay + 1}} },
	} {
		bad := p
		change(&bad)
		if err := bad.Check(); !errors.Is(err, ErrPlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
