package issuer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"ampoule/cert"
	"ampoule/format"
	"ampoule/format/fhir"
	"ampoule/format/strictjson"
)

// FHIR R4 as an upload: a Bundle (transaction, batch or collection) of Patients
// and Immunizations, or lines of such resources and bundles (NDJSON, as FHIR Bulk
// Data writes it). Each Immunization is one row. Who it was given to is found by
// fullUrl, by type and id, or among the contained resources (FHIR R4 section
// 3.1.2, "Resolving references in Bundles"); what has no such patient is nobody's,
// and fails. Other resources are passed over.

// maxLine bounds a line of NDJSON.
const maxLine = 1 << 20

// rowSink takes rows as they are found: as they are to be kept, and the line or
// entry each stands in.
type rowSink func(source []byte, line int) error

// readFHIR reads the rows of a bundle.
func readFHIR(data []byte, sink rowSink) error {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: maxDocument})
	if err != nil {
		return &UploadError{Reason: reasonOf(err), Hint: "the bundle cannot be read"}
	}
	return readBundle(v, 0, sink)
}

func reasonOf(err error) format.Defect { return format.Defect(format.Reason(err, "error")) }

// text returns a member that is a text.
func memberText(v strictjson.Value, name string) string {
	s, _ := v.Get(name).Text()
	return s
}

// readBundle reads a bundle that stands in a line, or is the whole file where that
// is 0.
func readBundle(v strictjson.Value, line int, sink rowSink) error {
	if memberText(v, "resourceType") != "Bundle" {
		return &UploadError{Reason: format.BadType, Line: line, Hint: "a Bundle is expected"}
	}
	switch memberText(v, "type") {
	case "transaction", "batch", "collection":
	default:
		return &UploadError{Reason: format.BadValue, Line: line, Hint: "a Bundle of type transaction, batch or collection is expected"}
	}
	entries := v.Get("entry")
	known := make(index)
	for e := range entries.All() {
		known.add(e.Get("resource"), memberText(e, "fullUrl"))
	}
	for i := range entries.Len() {
		e := entries.At(i)
		if memberText(e.Get("resource"), "resourceType") != "Immunization" {
			continue
		}
		at := line
		if at == 0 {
			at = i + 1
		}
		source := known.row(e.Get("resource"))
		if m := memberText(e.Get("request"), "method"); m != "" && m != "POST" && m != "PUT" {
			// To delete a dose is to say that it was none.
			source = known.row(e.Get("resource"), "entered-in-error")
		}
		if err := sink(source, at); err != nil {
			return err
		}
	}
	return nil
}

// readNDJSON reads the rows of lines. It goes over them twice: a patient may stand
// behind the dose.
func readNDJSON(data []byte, sink rowSink) error {
	known := make(index)
	each := func(do func(v strictjson.Value, kind string, line int) error) error {
		n := 0
		for text := range bytes.Lines(data) {
			n++
			if text = bytes.TrimSpace(text); n == 1 {
				text = bytes.TrimPrefix(text, []byte("\ufeff"))
			}
			if len(text) == 0 {
				continue
			}
			v, err := strictjson.Parse(text, strictjson.Limits{Bytes: maxLine})
			if err != nil {
				return &UploadError{Reason: reasonOf(err), Line: n}
			}
			if err := do(v, memberText(v, "resourceType"), n); err != nil {
				return err
			}
		}
		return nil
	}
	err := each(func(v strictjson.Value, kind string, line int) error {
		switch kind {
		case "":
			return &UploadError{Reason: format.BadType, Line: line, Hint: "a FHIR resource is expected"}
		case "Patient", "Organization":
			known.add(v, "")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return each(func(v strictjson.Value, kind string, line int) error {
		switch kind {
		case "Bundle":
			return readBundle(v, line, sink)
		case "Immunization":
			return sink(known.row(v), line)
		}
		return nil
	})
}

// index has the resources that others refer to, by every reference that leads to
// them, minified; nil for a reference that leads to two.
type index map[string]json.RawMessage

func (x index) add(v strictjson.Value, fullURL string) {
	kind, id := memberText(v, "resourceType"), memberText(v, "id")
	if kind != "Patient" && kind != "Organization" {
		return
	}
	keys := []string{fullURL}
	if id != "" {
		keys = append(keys, kind+"/"+id)
	}
	// The end of an absolute address is what a relative reference says.
	if parts := strings.Split(fullURL, "/"); len(parts) > 3 && strings.Contains(fullURL, "://") {
		keys = append(keys, strings.Join(parts[len(parts)-2:], "/"))
	}
	data := kept(v, kind)
	slices.Sort(keys)
	for _, key := range slices.Compact(keys) {
		if key == "" {
			continue
		}
		if _, twice := x[key]; twice {
			x[key] = nil
			continue
		}
		x[key] = data
	}
}

// keptMembers are what is kept of a resource: what a certificate is made of, and
// what forbids to make one.
var keptMembers = map[string][]string{
	"Patient":      {"identifier", "name", "gender", "birthDate"},
	"Organization": {"name"},
	"Immunization": {"status", "vaccineCode", "patient", "occurrenceDateTime", "manufacturer", "lotNumber", "isSubpotent", "performer", "protocolApplied"},
}

// forbidding are members that may turn the meaning of a resource around: whoever
// does not know them must not go on (FHIR R4 section 2.4.1).
var forbidding = []string{"modifierExtension", "implicitRules"}

func kept(v strictjson.Value, kind string) json.RawMessage {
	out := map[string]any{"resourceType": kind}
	for _, name := range append(keptMembers[kind], forbidding...) {
		if m := v.Get(name); m.Exists() {
			out[name] = m.Any()
		}
	}
	if names, ok := out["name"].([]any); ok {
		// The name in use, not one that the person had.
		slices.SortStableFunc(names, func(a, b any) int { return rankName(a) - rankName(b) })
	}
	data, err := json.Marshal(out)
	if err != nil {
		panic(err) // it was JSON before
	}
	return data
}

func rankName(v any) int {
	m, _ := v.(map[string]any)
	switch m["use"] {
	case "official":
		return 0
	case "old", "maiden":
		return 2
	}
	return 1
}

// row returns an immunization with what it refers to as a bundle of its own, and in
// another status where one is given.
func (x index) row(v strictjson.Value, status ...string) []byte {
	contained := make(index)
	for c := range v.Get("contained").All() {
		if id := memberText(c, "id"); id != "" {
			contained.add(c, "#"+id)
		}
	}
	type entry struct {
		FullURL  string          `json:"fullUrl"`
		Resource json.RawMessage `json:"resource"`
	}
	var entries []entry
	// Short references, as cards have them.
	refer := func(holder any, kind string) {
		m, _ := holder.(map[string]any)
		reference, _ := m["reference"].(string)
		found := x[reference]
		if strings.HasPrefix(reference, "#") {
			found = contained[reference]
		}
		if found == nil || !bytes.Contains(found, []byte(`"resourceType":"`+kind+`"`)) {
			return
		}
		url := fmt.Sprintf("resource:%d", len(entries)+1)
		entries = append(entries, entry{url, found})
		m["reference"] = url
	}
	var dose map[string]any
	if err := json.Unmarshal(kept(v, "Immunization"), &dose); err != nil {
		panic(err) // it was written a line above
	}
	for _, s := range status {
		dose["status"] = s
	}
	refer(dose["patient"], "Patient")
	refer(dose["manufacturer"], "Organization")
	performers, _ := dose["performer"].([]any)
	if len(performers) > 0 {
		if p, ok := performers[0].(map[string]any); ok {
			refer(p["actor"], "Organization")
		}
	}
	data, err := json.Marshal(dose)
	if err != nil {
		panic(err)
	}
	entries = append([]entry{{"resource:0", data}}, entries...)
	out, err := json.Marshal(map[string]any{"resourceType": "Bundle", "type": "collection", "entry": entries})
	if err != nil {
		panic(err)
	}
	return out
}

// fhirRecord reads a row that [index.row] made.
func fhirRecord(source []byte) (*cert.Certificate, []Fault) {
	v, err := strictjson.Parse(source, strictjson.Limits{})
	if err != nil {
		return nil, []Fault{{"", string(reasonOf(err)), "the row cannot be read"}}
	}
	var faults []Fault
	// What stands where, in FHIR's terms: entry 0 is the dose.
	fault := func(path string, reason format.Defect, text string) {
		at, member, _ := strings.Cut(path, "].resource.")
		kind := "Immunization"
		if n := strings.TrimPrefix(at, "entry["); n != "0" {
			kind = "Patient"
		}
		name := kind
		if member != "" {
			name += "." + member
		}
		faults = append(faults, Fault{name, string(reason), name + ": " + text})
	}
	for i := range v.Get("entry").Len() {
		resource := v.Get("entry").At(i).Get("resource")
		for _, name := range forbidding {
			if resource.Get(name).Exists() {
				fault(fmt.Sprintf("entry[%d].resource.%s", i, name), format.NotCarried, "it may turn the meaning around, and is not understood here")
			}
		}
		if resource.Get("isSubpotent").Kind() == strictjson.True {
			fault(fmt.Sprintf("entry[%d].resource.isSubpotent", i), format.BadValue, "a dose that was too weak is not certified")
		}
	}
	bundle, findings := fhir.Decode(v)
	for _, f := range findings {
		// That no patient is there says the reference that leads to none.
		if !f.Tolerable && f.Path != "entry.Patient" {
			fault(f.Path, f.Reason, string(f.Reason))
		}
	}
	r := cert.FromFHIR(bundle)
	if r.Vaccination == nil && len(faults) == 0 {
		fault("entry[0].resource.status", fhir.BadStatus, "it says that no dose was given")
	}
	if len(faults) > 0 {
		return r, faults
	}
	// The product and the kind of vaccine stand side by side in FHIR; the register
	// that a code is of tells them apart.
	d := r.Vaccination
	for _, c := range append([]cert.Code{d.Vaccine}, d.Synonyms...) {
		switch c.System {
		case "":
		case cert.SystemOf(cert.ValueSetProduct, c.Code):
			d.Product = c
		case cert.SystemOf(cert.ValueSetProphylaxis, c.Code):
			d.Vaccine, d.Synonyms = c, withCode(d.Synonyms, d.Vaccine, c)
		}
	}
	return r, nil
}

// withCode puts one code in the place of another.
func withCode(codes []cert.Code, in, out cert.Code) []cert.Code {
	if in == out {
		return codes
	}
	codes = slices.DeleteFunc(slices.Clone(codes), func(c cert.Code) bool { return c == out })
	return append(codes, in)
}
