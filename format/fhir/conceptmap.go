package fhir

import (
	"fmt"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// ConceptMap says which concept of one code system stands for which of another
// (FHIR R4 section 4.10), as far as translation goes by it. A group's `unmapped`
// is passed over: it offers a code without saying how that is related to the
// one asked for.
type ConceptMap struct {
	ResourceType string            `json:"resourceType"`
	URL          string            `json:"url"`
	Version      string            `json:"version"`
	Name         string            `json:"name"`
	Status       string            `json:"status"`
	Copyright    string            `json:"copyright"`
	Group        []ConceptMapGroup `json:"group"`
}

// ConceptMapGroup is what maps from one code system to one other.
type ConceptMapGroup struct {
	Source  string              `json:"source"`
	Target  string              `json:"target"`
	Element []ConceptMapElement `json:"element"`
}

// ConceptMapElement is one concept of the source.
type ConceptMapElement struct {
	Code    string             `json:"code"`
	Display string             `json:"display"`
	Target  []ConceptMapTarget `json:"target"`
}

// ConceptMapTarget is what the target system has for it.
type ConceptMapTarget struct {
	Code        string      `json:"code"` // may be absent where nothing matches
	Display     string      `json:"display"`
	Equivalence Equivalence `json:"equivalence"`
	// DependsOn and Product make the statement hold only together with further
	// elements.
	DependsOn []struct{} `json:"dependsOn"`
	Product   []struct{} `json:"product"`
}

// Equivalence is how the target concept is related to the source, read from the
// target: "the target is wider than the source".
type Equivalence string

// The value set concept-map-equivalence of FHIR R4.
const (
	RelatedTo   Equivalence = "relatedto"   // related, it is not said how
	Equivalent  Equivalence = "equivalent"  // the same meaning
	Equal       Equivalence = "equal"       // the same meaning, defined in the same way
	Wider       Equivalence = "wider"       // the target means more
	Subsumes    Equivalence = "subsumes"    // the source is a kind of the target
	Narrower    Equivalence = "narrower"    // the target means less
	Specializes Equivalence = "specializes" // the target is a kind of the source
	Inexact     Equivalence = "inexact"     // they overlap, and each means more besides
	Unmatched   Equivalence = "unmatched"   // the target system has nothing for it
	Disjoint    Equivalence = "disjoint"    // stated not to be the same
)

// reversed has each equivalence as it reads from the other side.
var reversed = map[Equivalence]Equivalence{
	RelatedTo: RelatedTo, Equivalent: Equivalent, Equal: Equal, Wider: Narrower, Subsumes: Specializes,
	Narrower: Wider, Specializes: Subsumes, Inexact: Inexact, Disjoint: Disjoint,
}

// Reversed returns the equivalence read from the source, and false for unmatched,
// which says nothing in that direction.
func (e Equivalence) Reversed() (Equivalence, bool) {
	r, ok := reversed[e]
	return r, ok
}

// Exact reports whether the two concepts have the same meaning.
func (e Equivalence) Exact() bool { return e == Equal || e == Equivalent }

// MeansMore reports whether whatever is true of the source is true of the target.
func (e Equivalence) MeansMore() bool { return e == Wider || e == Subsumes }

// MaxConceptMapSize is the most bytes of a file of concept maps. WHO's packages
// have maps of some hundred KiB.
const MaxConceptMapSize = 32 << 20

// DecodeConceptMaps reads a ConceptMap, or those of a Bundle, whose other
// resources are passed over. Every element must say how its targets are related
// to it: a map that leaves it out, as those of FHIR R5 do, is refused.
func DecodeConceptMaps(data []byte) ([]ConceptMap, error) {
	lim := strictjson.Limits{Bytes: MaxConceptMapSize}
	var kind struct {
		ResourceType string `json:"resourceType"`
	}
	if err := strictjson.Unmarshal(data, &kind, lim); err != nil {
		return nil, err
	}
	var maps []ConceptMap
	switch kind.ResourceType {
	case "ConceptMap":
		maps = make([]ConceptMap, 1)
		if err := strictjson.Unmarshal(data, &maps[0], lim); err != nil {
			return nil, err
		}
	case "Bundle":
		var bundle struct {
			Entry []struct {
				Resource ConceptMap `json:"resource"`
			} `json:"entry"`
		}
		if err := strictjson.Unmarshal(data, &bundle, lim); err != nil {
			return nil, err
		}
		for _, e := range bundle.Entry {
			if e.Resource.ResourceType == "ConceptMap" {
				maps = append(maps, e.Resource)
			}
		}
	default:
		return nil, fmt.Errorf("resourceType %.40q is no ConceptMap: %w", kind.ResourceType, format.BadType)
	}
	for i := range maps {
		if err := maps[i].check(); err != nil {
			return nil, fmt.Errorf("concept map %.200q: %w", maps[i].URL, err)
		}
	}
	return maps, nil
}

func (m *ConceptMap) check() error {
	for g, group := range m.Group {
		for e, element := range group.Element {
			for t, target := range element.Target {
				at := func(member string, reason format.Defect) error {
					return fmt.Errorf("group[%d].element[%d].target[%d].%s: %w", g, e, t, member, reason)
				}
				_, reversible := target.Equivalence.Reversed()
				switch {
				case target.Equivalence == "":
					return at("equivalence", format.RequiredMissing)
				case !reversible && target.Equivalence != Unmatched:
					return at("equivalence", format.BadCode)
				case target.Code == "" && target.Equivalence != Unmatched && target.Equivalence != Disjoint:
					return at("code", format.RequiredMissing)
				case group.Source == "" || group.Target == "":
					return fmt.Errorf("group[%d]: source and target: %w", g, format.RequiredMissing)
				case element.Code == "":
					return fmt.Errorf("group[%d].element[%d].code: %w", g, e, format.RequiredMissing)
				}
			}
		}
	}
	return nil
}
