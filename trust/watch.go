package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"
)

// WatchKind is what was noticed about a key or a list.
type WatchKind string

// What is noticed.
const (
	WatchAppeared WatchKind = "appeared"
	WatchVanished WatchKind = "vanished"
	WatchChanged  WatchKind = "changed"   // another key under the same name
	WatchReturned WatchKind = "came-back" // what had vanished is there as it was: perhaps an old list
	WatchOlder    WatchKind = "older"     // the list was made before the one that was seen last
	WatchMissing  WatchKind = "missing"   // the other source has it
	WatchDiffers  WatchKind = "differs"   // the other source has another key under the name
)

// WatchEvent is one thing that was noticed.
type WatchEvent struct {
	Kind   WatchKind `json:"kind"`
	Source string    `json:"source"`
	Key    string    `json:"key,omitempty"` // domain, participant, usage and identifier
	Detail string    `json:"detail,omitempty"`
}

// Seen is what is remembered of a source.
type Seen struct {
	Created time.Time           `json:"created"`
	Keys    map[string][]string `json:"keys"`           // fingerprints by name
	Gone    map[string][]string `json:"gone,omitempty"` // of those that vanished
}

// Keys are the signers and authorities of a survey, by name: the fingerprints
// that stand under it. With a participant, its own alone.
func (v *Survey) Keys(participant string) map[string][]string {
	keys := map[string][]string{}
	for _, e := range v.Entries {
		if e.Usage != "DSC" && e.Usage != "SCA" || participant != "" && e.Participant != participant {
			continue
		}
		name := fmt.Sprintf("%s %s %s %x", e.Domain, e.Participant, e.Usage, string(e.KID))
		fingerprint := newBareKey(e.Public).fingerprint
		if e.Raw != nil {
			fingerprint = sha256.Sum256(e.Raw)
		}
		if text := hex.EncodeToString(fingerprint[:]); !slices.Contains(keys[name], text) {
			keys[name] = append(keys[name], text)
		}
	}
	for _, list := range keys {
		slices.Sort(list)
	}
	return keys
}

// Watch compares a source with what was seen of it, and returns what is to be
// remembered now. Nothing was seen where before is nil: all is new then, and
// nothing to tell.
func Watch(before *Seen, v *Survey, participant string) (events []WatchEvent, after *Seen) {
	after = &Seen{Created: v.Created, Keys: v.Keys(participant), Gone: map[string][]string{}}
	if before == nil {
		return nil, after
	}
	tell := func(kind WatchKind, key, f string, args ...any) {
		events = append(events, WatchEvent{kind, v.Source, key, fmt.Sprintf(f, args...)})
	}
	if v.Created.Before(before.Created) {
		tell(WatchOlder, "", "made %s, and %s was seen", stamp(v.Created), stamp(before.Created))
		after.Created = before.Created // the older one proves nothing new
	}
	maps.Copy(after.Gone, before.Gone)
	for _, name := range slices.Sorted(maps.Keys(before.Keys)) {
		switch now, there := after.Keys[name]; {
		case !there:
			tell(WatchVanished, name, "")
			after.Gone[name] = before.Keys[name]
		case !slices.Equal(now, before.Keys[name]):
			tell(WatchChanged, name, "")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after.Keys)) {
		if _, there := before.Keys[name]; there {
			continue
		}
		gone, wasThere := before.Gone[name]
		delete(after.Gone, name)
		if wasThere && slices.Equal(gone, after.Keys[name]) {
			tell(WatchReturned, name, "")
			continue
		}
		tell(WatchAppeared, name, "")
	}
	return events, after
}

// Differ compares two sources that should hold the same.
func Differ(a, b *Survey, participant string) (events []WatchEvent) {
	inA, inB := a.Keys(participant), b.Keys(participant)
	for _, name := range slices.Sorted(maps.Keys(inA)) {
		switch other, there := inB[name]; {
		case !there:
			events = append(events, WatchEvent{WatchMissing, b.Source, name, "it is in " + a.Source})
		case !slices.Equal(other, inA[name]):
			events = append(events, WatchEvent{WatchDiffers, b.Source, name, "from " + a.Source})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(inB)) {
		if _, there := inA[name]; !there {
			events = append(events, WatchEvent{WatchMissing, a.Source, name, "it is in " + b.Source})
		}
	}
	return events
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
