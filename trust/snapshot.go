package trust

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/dccfilter"
	"ampoule/format/dccrevocation"
)

// The kinds of defect of a snapshot.
const (
	ErrNotSnapshot     = format.Defect("not-a-snapshot")
	ErrSnapshotVersion = format.Defect("unknown-version")
	ErrSnapshotField   = format.Defect("bad-field")
	ErrSnapshotForm    = format.Defect("not-deterministic") // the same content, in other bytes than ours
	ErrSnapshotSize    = format.Defect("snapshot-too-large")
	ErrTimedEntry      = format.Defect("timed-entry") // a card list that revokes what was issued before some time
)

// The bounds of a snapshot. Two million hashes are what is revoked of 10^9
// certificates at 0.2 %.
const (
	MaxSnapshot = 32 << 20 // bytes

	maxGroups  = 1 << 15
	maxFilters = 1 << 12
	maxKID     = 64 // bytes
)

// SnapshotType is the media type of a snapshot.
const SnapshotType = "application/vnd.ampoule.status-snapshot+cbor"

const (
	snapshotKind    = "ampoule status snapshot"
	snapshotVersion = 1
)

// snapshotLimits hold the largest snapshot; its bytes are bounded before.
var snapshotLimits = cbor.Limits{Depth: 5, Items: 7*maxGroups + 5*maxFilters + 8, Pairs: 1}

// snapshotBegins is how every snapshot begins.
var snapshotBegins = cbor.AppendText(cbor.AppendArray(nil, 4), snapshotKind)

// IsSnapshot reports whether data look like a snapshot.
func IsSnapshot(data []byte) bool { return bytes.HasPrefix(data, snapshotBegins) }

// Snapshot is the status of many certificates in few bytes: 16 for each that is
// listed, and what they have in common once.
//
//	snapshot = [
//	    kind:    "ampoule status snapshot",
//	    version: 1,
//	    groups:  [0*32768 [
//	        scheme:  "SIGNATURE" / "UCI" / "COUNTRYCODEUCI" / "RID",
//	        country: tstr,             ;; ISO 3166-1 alpha-2 of who lists them, or ""
//	        kid:     bstr .size (0..64), ;; of the key that signed them; empty: any
//	        purpose: "revoked" / "superseded" / "dose",
//	        hashes:  bstr              ;; 16 bytes each, ascending
//	    ]],
//	    filters: [0*4096 [
//	        country: tstr,
//	        kid:     bstr .size (0..64),
//	        type:    "BLOOMFILTER" / "VARHASHLIST",
//	        filter:  bstr              ;; in the form of format/dccfilter, records ascending
//	    ]]
//	]
//
// Groups and filters are in ascending order of their fields before the last, and
// no two are alike. The encoding is the deterministic one, and taken in no other.
// It has no date and no signature: the bundle that carries it has both.
type Snapshot struct {
	Groups  []SnapshotGroup
	Filters []SnapshotFilter
}

// SnapshotGroup is what is listed of one key, for one purpose.
type SnapshotGroup struct {
	Scheme  Scheme
	Country string
	KID     KeyID
	Purpose Purpose
	Hashes  []dccrevocation.Hash128 // ascending, each once
}

// SnapshotFilter is a filter whose hashes are not at hand.
type SnapshotFilter struct {
	Country string
	KID     KeyID
	Filter  *dccfilter.Filter
}

// HashRID is how a revocation identifier of a card stands in a snapshot: the first
// 128 bits of its SHA-256.
func HashRID(rid string) dccrevocation.Hash128 {
	sum := sha256.Sum256([]byte(rid))
	return dccrevocation.Hash128(sum[:16])
}

func compareGroups(a, b SnapshotGroup) int {
	return cmp.Or(strings.Compare(string(a.Scheme), string(b.Scheme)), strings.Compare(a.Country, b.Country),
		strings.Compare(string(a.KID), string(b.KID)), strings.Compare(string(a.Purpose), string(b.Purpose)))
}

func compareFilters(a, b SnapshotFilter) int {
	return cmp.Or(strings.Compare(a.Country, b.Country), strings.Compare(string(a.KID), string(b.KID)), strings.Compare(string(a.Filter.Kind), string(b.Filter.Kind)))
}

// Add lists more hashes of a group, in any order.
func (s *Snapshot) Add(g SnapshotGroup) {
	if len(g.Hashes) == 0 {
		return
	}
	i, found := slices.BinarySearchFunc(s.Groups, g, compareGroups)
	if found {
		g.Hashes = append(s.Groups[i].Hashes, g.Hashes...)
	} else {
		g.Hashes = slices.Clone(g.Hashes)
		s.Groups = slices.Insert(s.Groups, i, SnapshotGroup{})
	}
	slices.SortFunc(g.Hashes, compareHashes)
	g.Hashes = slices.Compact(g.Hashes)
	s.Groups[i] = g
}

// AddFilter lists a filter.
func (s *Snapshot) AddFilter(f SnapshotFilter) error {
	i, found := slices.BinarySearchFunc(s.Filters, f, compareFilters)
	if found {
		return fmt.Errorf("snapshot: two filters of key %x: %w", f.KID, ErrSnapshotField)
	}
	s.Filters = slices.Insert(s.Filters, i, f)
	return nil
}

func knownScheme(s Scheme) bool {
	return s == SchemeSignature || s == SchemeUCI || s == SchemeCountryUCI || s == SchemeRID
}

func (s *Snapshot) check() error {
	bad := func(i int, what string) error {
		return fmt.Errorf("snapshot: group or filter %d: %s: %w", i, what, ErrSnapshotField)
	}
	if len(s.Groups) > maxGroups || len(s.Filters) > maxFilters {
		return fmt.Errorf("snapshot: %d groups and %d filters: %w", len(s.Groups), len(s.Filters), ErrSnapshotSize)
	}
	for i, g := range s.Groups {
		switch {
		case !knownScheme(g.Scheme):
			return bad(i, "scheme")
		case g.Country != "" && !format.IsCapitals(g.Country, 2):
			return bad(i, "country")
		case len(g.KID) > maxKID:
			return bad(i, "kid")
		case g.Purpose != PurposeRevoked && g.Purpose != PurposeSuperseded && g.Purpose != PurposeDose:
			return bad(i, "purpose")
		case len(g.Hashes) == 0:
			return bad(i, "no hashes")
		case i > 0 && compareGroups(s.Groups[i-1], g) >= 0:
			return bad(i, "order")
		}
		for j := 1; j < len(g.Hashes); j++ {
			if compareHashes(g.Hashes[j-1], g.Hashes[j]) >= 0 {
				return bad(i, "order of the hashes")
			}
		}
	}
	for i, f := range s.Filters {
		switch {
		case f.Country != "" && !format.IsCapitals(f.Country, 2):
			return bad(i, "country")
		case len(f.KID) > maxKID:
			return bad(i, "kid")
		case i > 0 && compareFilters(s.Filters[i-1], f) >= 0:
			return bad(i, "order")
		}
	}
	return nil
}

// Encode writes the snapshot.
func (s *Snapshot) Encode() ([]byte, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	size := 64
	for _, g := range s.Groups {
		size += 96 + len(dccrevocation.Hash128{})*len(g.Hashes)
	}
	if size > MaxSnapshot {
		return nil, fmt.Errorf("snapshot: some %d bytes, limit %d: %w", size, MaxSnapshot, ErrSnapshotSize)
	}
	dst := append(make([]byte, 0, size), snapshotBegins...)
	dst = cbor.AppendInt(dst, snapshotVersion)
	dst = cbor.AppendArray(dst, len(s.Groups))
	for _, g := range s.Groups {
		dst = cbor.AppendText(cbor.AppendText(cbor.AppendArray(dst, 5), string(g.Scheme)), g.Country)
		dst = cbor.AppendText(cbor.AppendBytes(dst, []byte(g.KID)), string(g.Purpose))
		dst = cbor.AppendBytesHead(dst, len(g.Hashes)*len(dccrevocation.Hash128{}))
		for _, h := range g.Hashes {
			dst = append(dst, h[:]...)
		}
	}
	dst = cbor.AppendArray(dst, len(s.Filters))
	for _, f := range s.Filters {
		dst = cbor.AppendBytes(cbor.AppendText(cbor.AppendArray(dst, 4), f.Country), []byte(f.KID))
		dst = cbor.AppendBytes(cbor.AppendText(dst, string(f.Filter.Kind)), f.Filter.Encode())
	}
	if len(dst) > MaxSnapshot {
		return nil, fmt.Errorf("snapshot: %d bytes, limit %d: %w", len(dst), MaxSnapshot, ErrSnapshotSize)
	}
	return dst, nil
}

// ParseSnapshot reads a snapshot. What it takes encodes to the same bytes again.
func ParseSnapshot(data []byte) (*Snapshot, error) {
	if len(data) > MaxSnapshot {
		return nil, fmt.Errorf("snapshot: %d bytes, limit %d: %w", len(data), MaxSnapshot, ErrSnapshotSize)
	}
	v, err := cbor.Parse(data, snapshotLimits)
	if err != nil {
		return nil, fmt.Errorf("snapshot: %w", err)
	}
	if kind, ok := v.Index(0).Text(); v.Kind() != cbor.Array || !ok || kind != snapshotKind {
		return nil, fmt.Errorf("snapshot: %w", ErrNotSnapshot)
	}
	if version, ok := v.Index(1).Int(); !ok || version != snapshotVersion {
		return nil, fmt.Errorf("snapshot: %w", ErrSnapshotVersion)
	}
	groups, filters := v.Index(2), v.Index(3)
	if v.Len() != 4 || groups.Kind() != cbor.Array || filters.Kind() != cbor.Array {
		return nil, fmt.Errorf("snapshot: %w", ErrSnapshotField)
	}
	s := new(Snapshot)
	for e := range groups.Elements() {
		scheme, ok0 := e.Index(0).Text()
		country, ok1 := e.Index(1).Text()
		kid, ok2 := e.Index(2).ByteString()
		purpose, ok3 := e.Index(3).Text()
		hashes, ok4 := e.Index(4).ByteString()
		if e.Len() != 5 || !ok0 || !ok1 || !ok2 || !ok3 || !ok4 || len(hashes)%len(dccrevocation.Hash128{}) != 0 {
			return nil, fmt.Errorf("snapshot: group %d: %w", len(s.Groups), ErrSnapshotField)
		}
		s.Groups = append(s.Groups, SnapshotGroup{Scheme(scheme), country, KeyID(kid), Purpose(purpose), splitHashes(hashes)})
	}
	for e := range filters.Elements() {
		country, ok0 := e.Index(0).Text()
		kid, ok1 := e.Index(1).ByteString()
		kind, ok2 := e.Index(2).Text()
		content, ok3 := e.Index(3).Bytes()
		if e.Len() != 4 || !ok0 || !ok1 || !ok2 || !ok3 {
			return nil, fmt.Errorf("snapshot: filter %d: %w", len(s.Filters), ErrSnapshotField)
		}
		f, err := dccfilter.Parse(dccfilter.Kind(kind), content)
		if err != nil {
			return nil, fmt.Errorf("snapshot: filter %d: %w", len(s.Filters), err)
		}
		s.Filters = append(s.Filters, SnapshotFilter{country, KeyID(kid), f})
	}
	again, err := s.Encode() // which checks it, too
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, data) {
		return nil, fmt.Errorf("snapshot: %w", ErrSnapshotForm)
	}
	return s, nil
}

func splitHashes(all string) []dccrevocation.Hash128 {
	out := make([]dccrevocation.Hash128, len(all)/len(dccrevocation.Hash128{}))
	for i := range out {
		copy(out[i][:], all[i*len(out[i]):])
	}
	return out
}

// AddSnapshot reads a snapshot.
func (s *Status) AddSnapshot(source string, data []byte) error {
	snapshot, err := ParseSnapshot(data)
	if err != nil {
		return fmt.Errorf("status source %s: %w", source, err)
	}
	for _, g := range snapshot.Groups {
		s.insert(groupKey{g.Scheme, g.Country, g.KID}, source, g.Purpose, false, g.Hashes)
	}
	for _, f := range snapshot.Filters {
		s.AddFilter(source, f.Country, f.KID, f.Filter)
	}
	return nil
}

// Snapshot returns what is loaded in the form of a snapshot: hashes, filters and
// the revocation identifiers of cards. What a batch or a card list calls revoked,
// since it has no other word, and another source superseded, is superseded there.
//
// Status lists stay documents of their own, for they are small already. A card
// list whose entries have times cannot stand in a snapshot, and fails with
// ErrTimedEntry: half of a list must not look like one.
func (s *Status) Snapshot() (*Snapshot, error) {
	out := new(Snapshot)
	for key, groups := range s.groups {
		for _, g := range groups {
			hashes := g.hashes
			if g.guessed {
				hashes = s.notSuperseded(key, hashes)
			}
			out.Add(SnapshotGroup{key.scheme, key.country, key.kid, g.purpose, hashes})
		}
	}
	for kid, lists := range s.cards {
		var hashes []dccrevocation.Hash128
		for _, l := range lists {
			for rid, before := range l.crl.Entries() {
				if !before.IsZero() {
					return nil, fmt.Errorf("card revocation list %s: %w", l.source, ErrTimedEntry)
				}
				hashes = append(hashes, HashRID(rid))
			}
		}
		key := groupKey{SchemeRID, "", kid}
		out.Add(SnapshotGroup{key.scheme, key.country, key.kid, PurposeRevoked, s.notSuperseded(key, hashes)})
	}
	for _, f := range s.filters {
		if err := out.AddFilter(SnapshotFilter{f.country, f.kid, f.filter}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// notSuperseded returns the hashes that nobody calls superseded.
func (s *Status) notSuperseded(key groupKey, hashes []dccrevocation.Hash128) []dccrevocation.Hash128 {
	return slices.DeleteFunc(slices.Clone(hashes), func(h dccrevocation.Hash128) bool {
		return slices.ContainsFunc(s.groups[key], func(g *group) bool { return g.purpose == PurposeSuperseded && g.has(h) })
	})
}
