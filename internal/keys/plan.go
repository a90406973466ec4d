package keys

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"

	"ampoule/trust"
)

// Terms are what a plan reckons with.
type Terms struct {
	// Life is the longest validity of the certificates that are issued: under the
	// shell model a document signer must outlive what it signed.
	Life time.Duration
	// Ahead is how long a signer is published before it is used first: as long as
	// verifiers keep their lists. The network says a day.
	Ahead time.Duration
	// Lead is how long it takes to have a certificate made and accepted.
	Lead time.Duration
}

// DefaultTerms are for certificates of a year, which may have a leap day.
var DefaultTerms = Terms{Life: 366 * 24 * time.Hour, Ahead: 24 * time.Hour, Lead: 30 * 24 * time.Hour}

// Planned is a certificate of a participant.
type Planned struct {
	Name        string // of its file, for explanations
	Role        Role
	Certificate *x509.Certificate
	Issuer      *x509.Certificate // of a document signer; nil where it is not at hand
}

// Task is what is to be done about a certificate.
type Task string

// The tasks, in the order in which they come.
const (
	TaskOrder   Task = "order"   // make the successor and have it certified
	TaskPublish Task = "publish" // the successor must be on the lists
	TaskUse     Task = "use"     // the successor signs from now on
	TaskRetire  Task = "retire"  // the certificate has ended: take it away
	TaskResign  Task = "re-sign" // what the old UP signed is signed under the new
	TaskMend    Task = "mend"    // it outlives its signer, and nothing verifies then
)

// Urgency is how near a date is.
type Urgency string

// The urgencies: alarms at 90, 30 and 7 days.
const (
	Overdue Urgency = "overdue"
	Week    Urgency = "week"
	Month   Urgency = "month"
	Quarter Urgency = "quarter"
	Later   Urgency = "later"
)

// UrgencyOf tells how near a date is.
func UrgencyOf(at, now time.Time) Urgency {
	const day = 24 * time.Hour
	switch left := at.Sub(now); {
	case left <= 0:
		return Overdue
	case left <= 7*day:
		return Week
	case left <= 30*day:
		return Month
	case left <= 90*day:
		return Quarter
	}
	return Later
}

// Due is a task with the day by which it must be done.
type Due struct {
	At      time.Time
	Task    Task
	Name    string // of the certificate that the task is about
	Role    Role
	KID     string // hexadecimal
	Urgency Urgency
	// Successor is the certificate that does it, where there is one.
	Successor string
}

// RoleOf tells what a certificate of the network is for, from what it may do.
func RoleOf(c *x509.Certificate) Role {
	switch {
	case c.BasicConstraintsValid && c.IsCA:
		return RoleSCA
	case slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return RoleTLS
	case bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil:
		return RoleUP
	}
	return RoleDSC
}

// Plan says what is to be done about certificates, the nearest first, so that
// nothing outlives what vouches for it:
//
//	DSC  signs until its end less Life; its successor is published Ahead of that,
//	     and ordered Lead before
//	SCA  issues until its end less the years of a DSC; its successor is ordered
//	     three Leads before, since the network onboards it anew
//	UP   is replaced Ahead of its end, and what it signed is signed anew
//	TLS  is replaced Ahead of its end
//
// A certificate with a successor of its role that is valid long enough needs none.
func Plan(all []Planned, terms Terms, now time.Time) []Due {
	var out []Due
	for _, p := range all {
		c := p.Certificate
		add := func(task Task, at time.Time, successor string) {
			out = append(out, Due{At: at, Task: task, Name: p.Name, Role: p.Role, KID: hex.EncodeToString([]byte(trust.DeriveKeyID(c.Raw))), Urgency: UrgencyOf(at, now), Successor: successor})
		}
		if p.Role == RoleDSC && p.Issuer != nil && c.NotAfter.After(p.Issuer.NotAfter) {
			add(TaskMend, p.Issuer.NotAfter, "")
		}
		if now.After(c.NotAfter) {
			add(TaskRetire, c.NotAfter, "")
			continue
		}
		last := c.NotAfter // the end of its use
		lead := terms.Lead
		switch p.Role {
		case RoleDSC:
			last = last.Add(-terms.Life)
		case RoleSCA:
			last = last.AddDate(-dscYears, 0, 0)
			lead *= 3
		case RoleUP, RoleTLS:
			last = last.Add(-terms.Ahead)
		}
		next := successor(p, all, terms, now)
		if next == nil {
			add(TaskOrder, last.Add(-terms.Ahead-lead), "")
			add(TaskPublish, last.Add(-terms.Ahead), "")
			add(TaskUse, last, "")
			continue
		}
		use := next.Certificate.NotBefore.Add(terms.Ahead)
		if now.Before(use) && p.Role == RoleDSC {
			add(TaskPublish, next.Certificate.NotBefore, next.Name)
			add(TaskUse, use, next.Name)
		}
		if p.Role == RoleUP {
			add(TaskResign, c.NotAfter, next.Name)
		}
		add(TaskRetire, c.NotAfter, next.Name)
	}
	slices.SortStableFunc(out, func(a, b Due) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// successor returns the certificate that takes over from another: of its role and
// usages, and with the longest life; nil where none ends later.
func successor(p Planned, all []Planned, terms Terms, now time.Time) (best *Planned) {
	for i, other := range all {
		o := other.Certificate
		if other.Role != p.Role || !o.NotAfter.After(p.Certificate.NotAfter) || !sameUsages(o, p.Certificate) {
			continue
		}
		if p.Role == RoleDSC && !o.NotAfter.Add(-terms.Life).After(now) {
			continue // it cannot sign either
		}
		if best == nil || o.NotAfter.After(best.Certificate.NotAfter) {
			best = &all[i]
		}
	}
	return best
}

func sameUsages(a, b *x509.Certificate) bool {
	words := func(c *x509.Certificate) (out []string) {
		for _, oid := range c.UnknownExtKeyUsage {
			out = append(out, oid.String())
		}
		slices.Sort(out)
		return out
	}
	return slices.Equal(words(a), words(b))
}
