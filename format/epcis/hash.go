package epcis

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"ampoule/format/gs1"
	"ampoule/format/strictjson"
)

// Hash is the SHA-256 of what an event tells, in whatever form it was told (CBV 2.0
// section 8.9): the order of members and lists, the offset of a time, the form of an
// identifier and the prefixes of a context do not count. When it was recorded, what it
// was named and whether it was declared wrong are not in it.
func (e *Event) Hash() [sha256.Size]byte { return sha256.Sum256(e.prehash()) }

// HashID is the hash as a name of the event (RFC 6920, with the parameter of CBV 2.0).
func (e *Event) HashID() string { return HashID(e.Hash()) }

// HashID is the name of the event that has a hash.
func HashID(h [sha256.Size]byte) string {
	return "ni:///sha-256;" + hex.EncodeToString(h[:]) + "?ver=CBV2.0"
}

// prehash is what is hashed. Its order is that of the vectors of the method's authors:
// sensors stand before transactions, destinations before sources.
func (e *Event) prehash() []byte {
	h := hasher{e.Prefixes}
	b := make([]byte, 0, 1024)
	b = append(b, "eventType="...)
	if _, standard := typeFields[e.Type]; standard {
		b = append(b, e.Type...)
	} else {
		b = append(b, h.name(string(e.Type))...)
	}
	v := e.value
	for _, f := range eventOrder {
		b = append(b, h.field(f, v.Get(f.name))...)
	}
	var rest []string
	for m := range v.All() {
		name := m.Name()
		if inOrder(eventOrder, name) || slices.Contains(unhashed, name) || slices.Contains(e.ignored, name) {
			continue
		}
		rest = h.extension(rest, name, m)
	}
	return appendSorted(b, rest)
}

// unhashed are the members that do not count.
var unhashed = []string{"@context", "type", "eventID", "recordTime", "errorDeclaration", "rdfs:comment", "comment"}

// field is a member of the standard and how it is written for the hash.
type field struct {
	name  string
	kind  fieldKind
	words *vocabulary
	item  string  // name of each item of a list
	in    []field // members of an object, or of the items of a list
}

type fieldKind int

const (
	plain   fieldKind = iota // a value, or several in a list
	instant                  // a time
	list                     // of values
	object
	objects // a list of them
)

var (
	quantityOrder = []field{{name: "epcClass"}, {name: "quantity"}, {name: "uom"}}
	metadataOrder = []field{
		{name: "time", kind: instant}, {name: "startTime", kind: instant}, {name: "endTime", kind: instant},
		{name: "deviceID"}, {name: "deviceMetadata"}, {name: "rawData"}, {name: "dataProcessingMethod"}, {name: "bizRules"},
	}
	reportOrder = []field{
		{name: "type", words: &measurements}, {name: "exception", words: &exceptions},
		{name: "deviceID"}, {name: "deviceMetadata"}, {name: "rawData"}, {name: "dataProcessingMethod"},
		{name: "time", kind: instant}, {name: "microorganism"}, {name: "chemicalSubstance"}, {name: "value"},
		{name: "component", words: &components}, {name: "stringValue"}, {name: "booleanValue"}, {name: "hexBinaryValue"},
		{name: "uriValue"}, {name: "minValue"}, {name: "maxValue"}, {name: "meanValue"}, {name: "sDev"},
		{name: "percRank"}, {name: "percValue"}, {name: "uom"}, {name: "coordinateReferenceSystem"},
	}
	sensorOrder = []field{
		{name: "sensorMetadata", kind: object, in: metadataOrder},
		{name: "sensorReport", kind: objects, in: reportOrder},
	}
	placeOrder = []field{{name: "id"}}

	eventOrder = []field{
		{name: "eventTime", kind: instant},
		{name: "eventTimeZoneOffset"},
		{name: "certificationInfo"},
		{name: "epcList", kind: list, item: "epc"},
		{name: "parentID"},
		{name: "inputEPCList", kind: list, item: "epc"},
		{name: "childEPCs", kind: list, item: "epc"},
		{name: "quantityList", kind: objects, item: "quantityElement", in: quantityOrder},
		{name: "childQuantityList", kind: objects, item: "quantityElement", in: quantityOrder},
		{name: "inputQuantityList", kind: objects, item: "quantityElement", in: quantityOrder},
		{name: "outputEPCList", kind: list, item: "epc"},
		{name: "outputQuantityList", kind: objects, item: "quantityElement", in: quantityOrder},
		{name: "action"},
		{name: "transformationID"},
		{name: "bizStep", words: &bizSteps},
		{name: "disposition", words: &dispositions},
		{name: "persistentDisposition", kind: object, in: []field{{name: "set", words: &dispositions}, {name: "unset", words: &dispositions}}},
		{name: "readPoint", kind: object, in: placeOrder},
		{name: "bizLocation", kind: object, in: placeOrder},
		{name: "sensorElementList", kind: objects, item: "sensorElement", in: sensorOrder},
		{name: "bizTransactionList", kind: objects, in: []field{{name: "type", words: &transactionTypes}, {name: "bizTransaction"}}},
		{name: "destinationList", kind: objects, in: []field{{name: "type", words: &partyTypes}, {name: "destination"}}},
		{name: "ilmd", kind: object},
		{name: "sourceList", kind: objects, in: []field{{name: "type", words: &partyTypes}, {name: "source"}}},
	}
)

func inOrder(order []field, name string) bool {
	return slices.ContainsFunc(order, func(f field) bool { return f.name == name })
}

type hasher struct{ prefixes Prefixes }

// field writes one member; "" where it is not there or says nothing.
func (h hasher) field(f field, v strictjson.Value) string {
	var parts []string
	switch {
	case !v.Exists():
		return ""
	case f.kind == object:
		if inside := h.members(f.in, v); inside != "" {
			return f.name + inside
		}
		return ""
	case f.kind == list:
		for item := range v.All() {
			if text := h.value(f, item); text != "" {
				parts = append(parts, f.item+"="+text)
			}
		}
	case f.kind == objects:
		for item := range v.All() {
			name := f.item
			if f.name == "sensorReport" {
				name = f.name
			}
			if inside := h.members(f.in, item); inside != "" {
				parts = append(parts, name+inside)
			}
		}
		if f.name == "sensorReport" { // the list has no name of its own
			return string(appendSorted(nil, parts))
		}
	case v.Kind() == strictjson.Array:
		for item := range v.All() {
			if text := h.value(f, item); text != "" {
				parts = append(parts, f.name+"="+text)
			}
		}
		return string(appendSorted(nil, parts))
	default:
		if text := h.value(f, v); text != "" {
			return f.name + "=" + text
		}
		return ""
	}
	if len(parts) == 0 {
		return ""
	}
	return string(appendSorted([]byte(f.name), parts))
}

// members writes those of an object: the standard's in order, then others, sorted.
func (h hasher) members(order []field, v strictjson.Value) string {
	var b strings.Builder
	for _, f := range order {
		b.WriteString(h.field(f, v.Get(f.name)))
	}
	var rest []string
	for m := range v.All() {
		if !inOrder(order, m.Name()) && !slices.Contains(unhashed[4:], m.Name()) {
			rest = h.extension(rest, m.Name(), m)
		}
	}
	b.Write(appendSorted(nil, rest))
	return b.String()
}

// extension adds what a member says that the standard does not have; of a list each
// item by itself.
func (h hasher) extension(to []string, name string, v strictjson.Value) []string {
	switch v.Kind() {
	case strictjson.Array:
		for item := range v.All() {
			to = h.extension(to, name, item)
		}
		return to
	case strictjson.Object:
		return append(to, h.name(name)+h.members(nil, v))
	}
	if text := h.value(field{}, v); text != "" {
		return append(to, h.name(name)+"="+text)
	}
	return append(to, h.name(name))
}

// name writes a name with its namespace.
func (h hasher) name(name string) string {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok {
		return name
	}
	ns, known := h.prefixes[prefix]
	if !known {
		if ns, known = standardPrefixes[prefix]; !known {
			return name
		}
	}
	return "{" + ns + "}" + local
}

// value writes one value in its one form.
func (h hasher) value(f field, v strictjson.Value) string {
	text := ""
	switch v.Kind() {
	case strictjson.String:
		text, _ = v.Text()
	case strictjson.Number:
		n, _ := v.Number()
		text = string(n)
	case strictjson.True:
		return "true"
	case strictjson.False:
		return "false"
	}
	text = strings.TrimSpace(text)
	if f.kind == instant {
		if t, ok := parseTime(text); ok {
			return t.Format("2006-01-02T15:04:05.000Z")
		}
		return text
	}
	if f.words != nil {
		if uri, ok := f.words.uri(text, h.prefixes); ok {
			return uri
		}
		return text
	}
	if len(text) <= maxNumber && numbers.MatchString(text) {
		return plainNumber(text)
	}
	if strings.IndexByte(text, ':') < 0 {
		return text
	}
	for _, w := range []*vocabulary{&bizSteps, &dispositions, &transactionTypes, &partyTypes, &errorReasons} {
		if word, ok := strings.CutPrefix(text, w.urn); ok {
			return w.before + word
		}
	}
	text = h.prefixes.expand(text)
	return constrained(text)
}

// constrained is a GS1 key in its one form, the canonical Digital Link of its finest
// part, without attributes (CBV 2.0 section 8.9.2); what is none stays as it is.
func constrained(uri string) string {
	if strings.HasPrefix(uri, "urn:epc:") {
		if u, err := gs1.ParseURN(uri); err == nil {
			return u.Key.Finest().DigitalLink()
		}
	} else if strings.HasPrefix(uri, "http") {
		if d, err := gs1.ParseDigitalLink(uri); err == nil {
			return d.Key.Finest().DigitalLink()
		}
	}
	return uri
}

// maxNumber is in bytes: what is longer counts as it was written.
const maxNumber = 64

// plainNumber is a decimal number without exponent, plus sign, or zeros that say
// nothing.
func plainNumber(s string) string {
	sign := ""
	if s[0] == '+' || s[0] == '-' {
		if s[0] == '-' {
			sign = "-"
		}
		s = s[1:]
	}
	exponent := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		negative, digits := false, s[i+1:]
		if digits[0] == '+' || digits[0] == '-' {
			negative, digits = digits[0] == '-', digits[1:]
		}
		for _, c := range digits {
			exponent = exponent*10 + int(c-'0')
		}
		if negative {
			exponent = -exponent
		}
		s = s[:i]
	}
	whole, fraction, _ := strings.Cut(s, ".")
	switch {
	case exponent > 0:
		for range exponent {
			digit := "0"
			if fraction != "" {
				digit, fraction = fraction[:1], fraction[1:]
			}
			whole += digit
		}
	case exponent < 0:
		for range -exponent {
			digit := "0"
			if whole != "" {
				digit, whole = whole[len(whole)-1:], whole[:len(whole)-1]
			}
			fraction = digit + fraction
		}
	}
	whole, fraction = strings.TrimLeft(whole, "0"), strings.TrimRight(fraction, "0")
	if whole == "" {
		whole = "0"
	}
	if whole == "0" && fraction == "" {
		return "0"
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction
}

func appendSorted(b []byte, parts []string) []byte {
	slices.Sort(parts)
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}
