package participant

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/tng"
	"ampoule/trust"
)

// Why a person must look. All but the last three keep a list from being used.
const (
	AlarmShrunk     = format.Defect("list-shrunk")          // more entries are gone than may be at once
	AlarmVanished   = format.Defect("participant-vanished") // a country has no signer any more
	AlarmChanged    = format.Defect("key-changed")          // another key stands under the same identifier
	AlarmRolledBack = format.Defect("rolled-back")          // an entry that was gone is back as it was
	AlarmOwn        = format.Defect("unknown-own-key")      // a signer of our country that we did not upload
	AlarmFrozen     = format.Defect("frozen")               // nothing has changed for too long
	AlarmStale      = format.Defect("stale")                // the gateway has not answered for too long
)

// Alarm is one reason to look.
type Alarm struct {
	Reason format.Defect `json:"reason"`
	Detail string        `json:"detail"`
}

// Guard says what a list may not do without a person. The zero Guard refuses
// what shrinks at all.
type Guard struct {
	MaxShrink float64       // part of the entries that may go at once, 0 to 1
	Frozen    time.Duration // without a change; 0: never told
	Stale     time.Duration // without an answer; 0: never told
}

// DefaultGuard is for a network of some dozens of members: a tenth may go at
// once, and a month without any change is odd.
var DefaultGuard = Guard{MaxShrink: 0.1, Frozen: 30 * 24 * time.Hour, Stale: 48 * time.Hour}

// refuse compares a list with the one that is kept.
func (g Guard) refuse(kept *Kept, before, after []trust.Listed, changes []Change) (alarms []Alarm) {
	if kept.List == nil {
		return nil
	}
	alarm := func(reason format.Defect, f string, args ...any) {
		alarms = append(alarms, Alarm{reason, fmt.Sprintf(f, args...)})
	}
	gone := 0
	for _, c := range changes {
		switch c.Kind {
		case Vanished:
			gone++
		case Changed:
			alarm(AlarmChanged, "%s has another key than before", c.Entry)
		}
	}
	if len(before) > 0 && float64(gone) > g.MaxShrink*float64(len(before)) {
		alarm(AlarmShrunk, "%d of %d entries are gone", gone, len(before))
	}
	had, has := signersByCountry(before), signersByCountry(after)
	for _, country := range slices.Sorted(maps.Keys(had)) {
		if has[country] == 0 {
			alarm(AlarmVanished, "%s had %d signers and has none", trust.CountryParticipant(country), had[country])
		}
	}
	for _, l := range after {
		m, wasGone := kept.Gone[name(l)]
		if wasGone && !newer(intake(l), m) {
			alarm(AlarmRolledBack, "%s %s %x was gone and is back as it was", l.Type, trust.CountryParticipant(l.Country), string(l.KID))
		}
	}
	return alarms
}

// newer reports whether an entry was uploaded again: the gateway gave it a later
// time, a higher version, or another name. Kept times have no fractions.
func newer(m, before Intake) bool {
	return m.Timestamp.Truncate(time.Second).After(before.Timestamp) || m.UUID != before.UUID || m.Version > before.Version
}

// silence finds a gateway that says nothing, or nothing new.
func (g Guard) silence(kept *Kept, now time.Time) (alarms []Alarm) {
	if g.Stale > 0 && !kept.Polled.IsZero() && now.Sub(kept.Polled) > g.Stale {
		alarms = append(alarms, Alarm{AlarmStale, fmt.Sprintf("the gateway last answered %s", kept.Polled.Format(time.RFC3339))})
	}
	if g.Frozen > 0 && !kept.Changed.IsZero() && now.Sub(kept.Changed) > g.Frozen {
		alarms = append(alarms, Alarm{AlarmFrozen, fmt.Sprintf("nothing has changed since %s", kept.Changed.Format(time.RFC3339))})
	}
	return alarms
}

func signersByCountry(listed []trust.Listed) map[string]int {
	n := map[string]int{}
	for _, l := range listed {
		if l.Type == tng.DSC {
			n[l.Country]++
		}
	}
	return n
}

// unknownOwn finds signers of our country that we did not upload, once we have
// uploaded any: somebody else has our UP.
func (p *Participant) unknownOwn(kept *Kept, listed []trust.Listed) (alarms []Alarm) {
	if len(kept.Own) == 0 {
		return nil
	}
	for _, l := range listed {
		if l.Type == tng.DSC && l.Country == p.Country && !slices.Contains(kept.Own, tng.Thumbprint(l.Certificate.Raw)) {
			alarms = append(alarms, Alarm{AlarmOwn, fmt.Sprintf("%x, valid from %s", string(l.KID), l.Certificate.NotBefore.Format(time.DateOnly))})
		}
	}
	return alarms
}

// ChangeKind is what happened to an entry.
type ChangeKind string

// What happens to entries.
const (
	Appeared ChangeKind = "appeared"
	Vanished ChangeKind = "vanished"
	Changed  ChangeKind = "changed" // another certificate under the same identifier
)

// Change is a difference between two lists.
type Change struct {
	Kind  ChangeKind
	Entry string // type, participant, domain and identifier
}

// Compare tells what two lists have in different ways, sorted.
func Compare(before, after []trust.Listed) []Change {
	// By what an entry is called, whoever's key it is.
	index := func(listed []trust.Listed) map[string][]string {
		m := map[string][]string{}
		for _, l := range listed {
			key := fmt.Sprintf("%s %s %s %x", l.Type, trust.CountryParticipant(l.Country), l.Domain, string(l.KID))
			m[key] = append(m[key], tng.Thumbprint(l.Certificate.Raw))
		}
		return m
	}
	a, b := index(before), index(after)
	var changes []Change
	for key, old := range a {
		switch now, there := b[key]; {
		case !there:
			changes = append(changes, Change{Vanished, key})
		case !sameSet(old, now):
			changes = append(changes, Change{Changed, key})
		}
	}
	for key := range b {
		if _, there := a[key]; !there {
			changes = append(changes, Change{Appeared, key})
		}
	}
	slices.SortFunc(changes, func(x, y Change) int {
		if c := strings.Compare(x.Entry, y.Entry); c != 0 {
			return c
		}
		return strings.Compare(string(x.Kind), string(y.Kind))
	})
	return changes
}

func sameSet(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
