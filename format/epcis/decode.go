package epcis

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// Parse reads a document: an EPCISDocument, an EPCISQueryDocument, or one event alone.
// What its events break is in the findings, by the path of each; a document with one
// is not to be captured. It fails with [ErrForm] where there is no reading on.
func Parse(data []byte) (*Document, []format.Finding, error) {
	if len(data) > MaxDocument {
		return nil, nil, fmt.Errorf("epcis: %d bytes: %w", len(data), ErrSize)
	}
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: MaxDocument, Depth: maxDepth})
	if err != nil {
		return nil, nil, fmt.Errorf("epcis: %w", err)
	}
	if v.Kind() != strictjson.Object {
		return nil, nil, fmt.Errorf("epcis: a document is an object: %w", ErrForm)
	}
	return parse(v)
}

func parse(v strictjson.Value) (*Document, []format.Finding, error) {
	kind, ok := v.Get("type").Text()
	if !ok {
		return nil, nil, fmt.Errorf("epcis: type is missing: %w", ErrForm)
	}
	r := new(reader)
	prefixes, ok := r.context(v.Get("@context"), nil)
	if !ok {
		r.find("@context", Missing)
	}
	d := new(Document)
	switch kind {
	case "EPCISDocument", "EPCISQueryDocument":
		err := r.document(v, kind == "EPCISQueryDocument", prefixes, d)
		return d, r.findings, err
	}
	d.Events = []*Event{r.event(v, "", prefixes, nil)}
	return d, r.findings, nil
}

// document reads the frame of a document and its events.
func (r *reader) document(v strictjson.Value, query bool, prefixes Prefixes, d *Document) error {
	var ignored []string
	for m := range v.All() {
		switch m.Name() {
		case "@context", "type", "id", "schemaVersion", "creationDate", "instanceIdentifier", "sender", "receiver", "epcisHeader", "epcisBody":
		default:
			if !isURI(m.Name()) {
				r.find(m.Name(), Unexpected)
			}
			// Repositories say in this way which members of theirs do not count for the hash.
			if _, local, _ := prefixes.split(m.Name()); local == "ignoreFields" {
				for item := range m.All() {
					if name, ok := item.Text(); ok {
						ignored = append(ignored, name)
					}
				}
			}
		}
	}
	if id := v.Get("id"); id.Exists() {
		r.uri(id, "id")
	}
	version := v.Get("schemaVersion")
	if text, ok := version.Text(); ok && !versions.MatchString(text) || version.Exists() && !ok {
		r.find("schemaVersion", BadValue)
	} else if !version.Exists() && !query {
		r.find("schemaVersion", Missing)
	}
	if created := v.Get("creationDate"); created.Exists() {
		d.Created = r.time(created, "creationDate")
	} else if !query {
		r.find("creationDate", Missing)
	}
	body := v.Get("epcisBody")
	if body.Kind() != strictjson.Object {
		return fmt.Errorf("epcis: epcisBody is missing: %w", ErrForm)
	}
	path, list := "epcisBody.eventList", body.Get("eventList")
	if query {
		results := body.Get("queryResults")
		d.Query, _ = results.Get("queryName").Text()
		d.Subscription, _ = results.Get("subscriptionID").Text()
		if d.Query == "" {
			r.find("epcisBody.queryResults.queryName", Missing)
		}
		path, list = "epcisBody.queryResults.resultsBody.eventList", results.Get("resultsBody").Get("eventList")
	}
	if list.Kind() != strictjson.Array {
		return fmt.Errorf("epcis: %s is missing: %w", path, ErrForm)
	}
	if list.Len() > MaxEvents {
		return fmt.Errorf("epcis: %d events, %d are allowed: %w", list.Len(), MaxEvents, ErrSize)
	}
	d.Events = make([]*Event, 0, list.Len())
	for i := range list.Len() {
		at := path + "[" + strconv.Itoa(i) + "]"
		item := list.At(i)
		if item.Kind() != strictjson.Object {
			r.find(at, BadType)
			continue
		}
		// An event may bring a context of its own, which goes on from the document's.
		own := prefixes
		if c := item.Get("@context"); c.Exists() {
			own, _ = r.context(c, prefixes)
		}
		d.Events = append(d.Events, r.event(item, at, own, ignored))
	}
	return nil
}

var (
	versions = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,4}){0,4}$`)
	offsets  = regexp.MustCompile(`^[+-](0[0-9]|1[0-3]):[0-5][0-9]$|^[+-]14:00$`)
	units    = regexp.MustCompile(`^[A-Z0-9]{2,3}$`)
	numbers  = regexp.MustCompile(`^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$`)
)

// reader reads what stands in a document and keeps what it finds wrong.
type reader struct{ findings []format.Finding }

func (r *reader) find(path string, d format.Defect) {
	if len(r.findings) < MaxFindings {
		r.findings = append(r.findings, format.Finding{Path: path, Reason: d})
	}
}

// context reads the prefixes of a context of JSON-LD. Other documents that it names are
// not fetched, and terms that it describes in objects are not prefixes.
func (r *reader) context(c strictjson.Value, before Prefixes) (Prefixes, bool) {
	p := make(Prefixes, len(before))
	for k, ns := range before {
		p[k] = ns
	}
	one := func(v strictjson.Value) {
		for m := range v.All() {
			if ns, ok := m.Text(); ok && !strings.HasPrefix(m.Name(), "@") {
				p[m.Name()] = ns
			}
		}
	}
	switch c.Kind() {
	case strictjson.String:
	case strictjson.Object:
		one(c)
	case strictjson.Array:
		if c.Len() > 64 {
			r.find("@context", TooMany)
			return p, true
		}
		for i := range c.Len() {
			switch v := c.At(i); v.Kind() {
			case strictjson.Object:
				one(v)
			case strictjson.String:
			default:
				r.find("@context["+strconv.Itoa(i)+"]", BadType)
			}
		}
	default:
		return p, false
	}
	return p, true
}

// Fields that events of a type may have, beside those of all.
var (
	anyFields = []string{"@context", "type", "eventTime", "recordTime", "eventTimeZoneOffset", "eventID", "certificationInfo", "errorDeclaration",
		"bizStep", "disposition", "readPoint", "bizLocation", "bizTransactionList", "sourceList", "destinationList", "sensorElementList"}
	typeFields = map[Type][]string{
		ObjectEvent:         {"action", "epcList", "quantityList", "persistentDisposition", "ilmd"},
		AggregationEvent:    {"action", "parentID", "childEPCs", "childQuantityList"},
		TransactionEvent:    {"action", "parentID", "epcList", "quantityList"},
		TransformationEvent: {"inputEPCList", "inputQuantityList", "outputEPCList", "outputQuantityList", "transformationID", "persistentDisposition", "ilmd"},
		AssociationEvent:    {"action", "parentID", "childEPCs", "childQuantityList"},
	}
)

// event reads one event and holds it against EPCIS 2.0 section 7.4.
func (r *reader) event(v strictjson.Value, at string, p Prefixes, ignored []string) *Event {
	e := &Event{Prefixes: p, value: v, ignored: ignored}
	dot := at
	if dot != "" {
		dot += "."
	}
	kind, ok := v.Get("type").Text()
	if !ok {
		r.find(dot+"type", Missing)
	}
	e.Type = Type(kind)
	mine, standard := typeFields[e.Type]
	if !standard {
		if isURI(kind) {
			e.Type = Type(p.expand(kind))
		} else if ok {
			r.find(dot+"type", BadValue)
		}
	}
	for m := range v.All() {
		name, path := m.Name(), dot+m.Name()
		if !slices.Contains(anyFields, name) && !slices.Contains(mine, name) {
			if !isURI(name) && standard {
				r.find(path, Unexpected)
			}
			if standard {
				continue
			}
		}
		switch name {
		case "eventTime":
			e.Time = r.time(m, path)
		case "recordTime":
			e.RecordTime = r.time(m, path)
		case "eventTimeZoneOffset":
			if e.Offset, ok = m.Text(); !ok || !offsets.MatchString(e.Offset) {
				r.find(path, BadValue)
			}
		case "eventID":
			e.ID = r.uri(m, path)
		case "certificationInfo":
			if m.Kind() == strictjson.Array {
				e.Certification = r.uris(m, path, false)
			} else {
				e.Certification = []string{r.uri(m, path)}
			}
		case "errorDeclaration":
			e.Error = r.declaration(m, path, p)
		case "action":
			text, _ := m.Text()
			if e.Action = Action(text); e.Action != Add && e.Action != Observe && e.Action != Delete {
				r.find(path, BadValue)
			}
		case "parentID":
			e.Parent = r.uri(m, path)
		case "epcList":
			e.EPCs = r.uris(m, path, true)
		case "childEPCs":
			e.Children = r.uris(m, path, true)
		case "inputEPCList":
			e.Inputs = r.uris(m, path, true)
		case "outputEPCList":
			e.Outputs = r.uris(m, path, true)
		case "quantityList":
			e.Quantities = r.quantities(m, path)
		case "childQuantityList":
			e.ChildQuantities = r.quantities(m, path)
		case "inputQuantityList":
			e.InputQuantities = r.quantities(m, path)
		case "outputQuantityList":
			e.OutputQuantities = r.quantities(m, path)
		case "transformationID":
			e.Transformation = r.uri(m, path)
		case "bizStep":
			e.Step = r.word(m, path, &bizSteps, p)
		case "disposition":
			e.Disposition = r.word(m, path, &dispositions, p)
		case "persistentDisposition":
			r.persistent(m, path, e, p)
		case "readPoint":
			e.ReadPoint = r.place(m, path)
		case "bizLocation":
			e.Location = r.place(m, path)
		case "bizTransactionList":
			e.Transactions = r.typed(m, path, "bizTransaction", &transactionTypes, false, p)
		case "sourceList":
			e.Sources = r.typed(m, path, "source", &partyTypes, true, p)
		case "destinationList":
			e.Destinations = r.typed(m, path, "destination", &partyTypes, true, p)
		case "sensorElementList":
			e.Sensors = r.sensors(m, path, p)
		case "ilmd":
			if m.Kind() != strictjson.Object {
				r.find(path, BadType)
			}
			for item := range m.All() {
				if !isURI(item.Name()) {
					r.find(path+"."+item.Name(), Unexpected)
				}
			}
		}
	}
	for _, name := range []string{"eventTime", "eventTimeZoneOffset"} {
		if !v.Get(name).Exists() {
			r.find(dot+name, Missing)
		}
	}
	if standard {
		r.rules(e, dot)
	}
	return e
}

// rules are those that are about several fields of an event (EPCIS 2.0 sections 7.4.2
// to 7.4.6).
func (r *reader) rules(e *Event, dot string) {
	if e.Type != TransformationEvent && !e.value.Get("action").Exists() {
		r.find(dot+"action", Missing)
	}
	has := func(name string) bool { return e.value.Get(name).Exists() }
	switch e.Type {
	case ObjectEvent:
		// Of no object at all is an event that tells what a sensor found at a place.
		if !has("epcList") && len(e.Quantities) == 0 && (len(e.Sensors) == 0 || e.ReadPoint == "") {
			r.find(dot+"epcList", Missing)
		}
		if has("ilmd") && e.Action != Add {
			r.find(dot+"ilmd", Unexpected)
		}
	case AggregationEvent, AssociationEvent:
		// What is taken apart as a whole need not be named.
		if len(e.Children) == 0 && len(e.ChildQuantities) == 0 && e.Action != Delete {
			r.find(dot+"childEPCs", Missing)
		}
		if !has("parentID") && (e.Type == AssociationEvent || e.Action != Observe) {
			r.find(dot+"parentID", Missing)
		}
	case TransactionEvent:
		if len(e.Transactions) == 0 {
			r.find(dot+"bizTransactionList", Missing)
		}
		if !has("epcList") && len(e.Quantities) == 0 && e.Action != Delete {
			r.find(dot+"epcList", Missing)
		}
	case TransformationEvent:
		in, out := len(e.Inputs)+len(e.InputQuantities) > 0, len(e.Outputs)+len(e.OutputQuantities) > 0
		// With an identifier, inputs and outputs may be told in several events.
		if !in && (e.Transformation == "" || !out) {
			r.find(dot+"inputEPCList", Missing)
		}
		if !out && (e.Transformation == "" || !in) {
			r.find(dot+"outputEPCList", Missing)
		}
	}
}

func (r *reader) uri(v strictjson.Value, path string) string {
	s, ok := v.Text()
	switch {
	case !ok:
		r.find(path, BadType)
	case !isURI(s):
		r.find(path, BadValue)
	}
	return s
}

func (r *reader) uris(v strictjson.Value, path string, unique bool) []string {
	if v.Kind() != strictjson.Array {
		r.find(path, BadType)
		return nil
	}
	if v.Len() > maxList {
		r.find(path, TooMany)
		return nil
	}
	out := make([]string, 0, v.Len())
	var seen map[string]bool
	if unique && v.Len() > 8 {
		seen = make(map[string]bool, v.Len())
	}
	for i := range v.Len() {
		s, ok := v.At(i).Text()
		if !ok || !isURI(s) {
			r.uri(v.At(i), path+"["+strconv.Itoa(i)+"]")
			continue
		}
		if unique && (seen[s] || seen == nil && slices.Contains(out, s)) {
			r.find(path+"["+strconv.Itoa(i)+"]", Repeated)
			continue
		}
		if seen != nil {
			seen[s] = true
		}
		out = append(out, s)
	}
	return out
}

// time reads a time with its offset (RFC 3339), to the millisecond, half of one up.
func (r *reader) time(v strictjson.Value, path string) time.Time {
	s, ok := v.Text()
	if !ok {
		r.find(path, BadType)
		return time.Time{}
	}
	t, ok := parseTime(s)
	if !ok {
		r.find(path, BadValue)
	}
	return t
}

func parseTime(s string) (time.Time, bool) {
	if len(s) > 64 {
		return time.Time{}, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1 {
		return time.Time{}, false
	}
	return t.UTC().Round(time.Millisecond), true
}

// word reads a word of a vocabulary.
func (r *reader) word(v strictjson.Value, path string, in *vocabulary, p Prefixes) string {
	s, ok := v.Text()
	if !ok {
		r.find(path, BadType)
		return ""
	}
	uri, ok := in.uri(s, p)
	if !ok {
		r.find(path, BadValue)
	}
	return uri
}

func (r *reader) place(v strictjson.Value, path string) string {
	if v.Kind() != strictjson.Object {
		r.find(path, BadType)
		return ""
	}
	for m := range v.All() {
		if m.Name() != "id" && !isURI(m.Name()) {
			r.find(path+"."+m.Name(), Unexpected)
		}
	}
	if !v.Get("id").Exists() {
		r.find(path+".id", Missing)
		return ""
	}
	return r.uri(v.Get("id"), path+".id")
}

// known finds members that an object of the standard does not have.
func (r *reader) known(v strictjson.Value, path string, extend bool, names ...string) {
	for m := range v.All() {
		if !slices.Contains(names, m.Name()) && (!extend || !isURI(m.Name())) {
			r.find(path+"."+m.Name(), Unexpected)
		}
	}
}

// items are the objects of a list, each with its path.
func (r *reader) items(v strictjson.Value, path string) func(func(strictjson.Value, string) bool) {
	return func(yield func(strictjson.Value, string) bool) {
		if v.Kind() != strictjson.Array {
			r.find(path, BadType)
			return
		}
		if v.Len() > maxList {
			r.find(path, TooMany)
			return
		}
		for i := range v.Len() {
			at := path + "[" + strconv.Itoa(i) + "]"
			if v.At(i).Kind() != strictjson.Object {
				r.find(at, BadType)
				continue
			}
			if !yield(v.At(i), at) {
				return
			}
		}
	}
}

func (r *reader) quantities(v strictjson.Value, path string) []Quantity {
	out := make([]Quantity, 0, min(v.Len(), maxList))
	for item, at := range r.items(v, path) {
		r.known(item, at, false, "epcClass", "quantity", "uom")
		q := Quantity{}
		if c := item.Get("epcClass"); c.Exists() {
			q.Class = r.uri(c, at+".epcClass")
		} else {
			r.find(at+".epcClass", Missing)
		}
		q.Amount = r.number(item, at, "quantity")
		if u := item.Get("uom"); u.Exists() {
			if q.Unit, _ = u.Text(); !units.MatchString(q.Unit) {
				r.find(at+".uom", BadValue)
			}
		}
		out = append(out, q)
	}
	return out
}

// number reads a member that is a number; "" where there is none.
func (r *reader) number(v strictjson.Value, at, name string) string {
	m := v.Get(name)
	if !m.Exists() {
		return ""
	}
	n, ok := m.Number()
	if !ok {
		r.find(at+"."+name, BadType)
	}
	return string(n)
}

func (r *reader) typed(v strictjson.Value, path, name string, in *vocabulary, required bool, p Prefixes) []Typed {
	out := make([]Typed, 0, min(v.Len(), maxList))
	for item, at := range r.items(v, path) {
		r.known(item, at, false, "type", name)
		t := Typed{}
		if kind := item.Get("type"); kind.Exists() {
			t.Type = r.word(kind, at+".type", in, p)
		} else if required {
			r.find(at+".type", Missing)
		}
		if id := item.Get(name); id.Exists() {
			t.ID = r.uri(id, at+"."+name)
		} else {
			r.find(at+"."+name, Missing)
		}
		out = append(out, t)
	}
	return out
}

func (r *reader) persistent(v strictjson.Value, path string, e *Event, p Prefixes) {
	if v.Kind() != strictjson.Object {
		r.find(path, BadType)
		return
	}
	r.known(v, path, false, "set", "unset")
	if !v.Get("set").Exists() && !v.Get("unset").Exists() {
		r.find(path+".set", Missing)
	}
	for name, into := range map[string]*[]string{"set": &e.Set, "unset": &e.Unset} {
		list := v.Get(name)
		if !list.Exists() {
			continue
		}
		if list.Kind() != strictjson.Array || list.Len() == 0 || list.Len() > 64 {
			r.find(path+"."+name, BadValue)
			continue
		}
		for i := range list.Len() {
			at := path + "." + name + "[" + strconv.Itoa(i) + "]"
			word := r.word(list.At(i), at, &dispositions, p)
			if slices.Contains(*into, word) {
				r.find(at, Repeated)
			}
			*into = append(*into, word)
		}
	}
}

func (r *reader) declaration(v strictjson.Value, path string, p Prefixes) *ErrorDeclaration {
	if v.Kind() != strictjson.Object {
		r.find(path, BadType)
		return nil
	}
	r.known(v, path, true, "declarationTime", "reason", "correctiveEventIDs")
	d := new(ErrorDeclaration)
	if at := v.Get("declarationTime"); at.Exists() {
		d.At = r.time(at, path+".declarationTime")
	} else {
		r.find(path+".declarationTime", Missing)
	}
	if why := v.Get("reason"); why.Exists() {
		d.Reason = r.word(why, path+".reason", &errorReasons, p)
	}
	if ids := v.Get("correctiveEventIDs"); ids.Exists() {
		d.Corrective = r.uris(ids, path+".correctiveEventIDs", false)
	}
	return d
}

func (r *reader) sensors(v strictjson.Value, path string, p Prefixes) []Sensor {
	out := make([]Sensor, 0, min(v.Len(), maxList))
	for item, at := range r.items(v, path) {
		r.known(item, at, true, "sensorMetadata", "sensorReport")
		var s Sensor
		if meta := item.Get("sensorMetadata"); meta.Exists() {
			at := at + ".sensorMetadata"
			if meta.Kind() != strictjson.Object {
				r.find(at, BadType)
			}
			for m := range meta.All() {
				path := at + "." + m.Name()
				switch m.Name() {
				case "time":
					s.Time = r.time(m, path)
				case "startTime":
					s.Start = r.time(m, path)
				case "endTime":
					s.End = r.time(m, path)
				case "deviceID":
					s.DeviceID = r.uri(m, path)
				case "deviceMetadata":
					s.Metadata = r.uri(m, path)
				case "rawData":
					s.RawData = r.uri(m, path)
				case "dataProcessingMethod":
					s.Method = r.uri(m, path)
				case "bizRules":
					s.Rules = r.uri(m, path)
				default:
					if !isURI(m.Name()) {
						r.find(path, Unexpected)
					}
				}
			}
		}
		reports := item.Get("sensorReport")
		if reports.Len() == 0 {
			r.find(at+".sensorReport", Missing)
		} else {
			for report, at := range r.items(reports, at+".sensorReport") {
				s.Reports = append(s.Reports, r.report(report, at, p))
			}
		}
		out = append(out, s)
	}
	return out
}

func (r *reader) report(v strictjson.Value, at string, p Prefixes) (s Report) {
	text := func(m strictjson.Value, path string) string {
		s, ok := m.Text()
		if !ok {
			r.find(path, BadType)
		}
		return s
	}
	for m := range v.All() {
		path := at + "." + m.Name()
		switch m.Name() {
		case "type":
			s.Type = r.word(m, path, &measurements, p)
		case "exception":
			s.Exception = r.word(m, path, &exceptions, p)
		case "deviceID":
			s.DeviceID = r.uri(m, path)
		case "deviceMetadata":
			s.DeviceMetadata = r.uri(m, path)
		case "rawData":
			s.RawData = r.uri(m, path)
		case "dataProcessingMethod":
			s.Method = r.uri(m, path)
		case "bizRules":
			s.Rules = r.uri(m, path)
		case "time":
			s.Time = r.time(m, path)
		case "microorganism":
			s.Microorganism = r.uri(m, path)
		case "chemicalSubstance":
			s.Substance = r.uri(m, path)
		case "coordinateReferenceSystem":
			s.CoordinateRS = r.uri(m, path)
		case "component":
			s.Component = r.word(m, path, &components, p)
		case "value":
			s.Value = r.number(v, at, m.Name())
		case "minValue":
			s.Low = r.number(v, at, m.Name())
		case "maxValue":
			s.High = r.number(v, at, m.Name())
		case "meanValue":
			s.Mean = r.number(v, at, m.Name())
		case "sDev":
			s.Deviation = r.number(v, at, m.Name())
		case "percRank":
			s.PercRank = r.number(v, at, m.Name())
		case "percValue":
			s.PercValue = r.number(v, at, m.Name())
		case "stringValue":
			s.Text = text(m, path)
		case "uom":
			s.Unit = text(m, path)
		case "booleanValue":
			if k := m.Kind(); k == strictjson.True || k == strictjson.False {
				is := k == strictjson.True
				s.Bool = &is
			} else {
				r.find(path, BadType)
			}
		case "hexBinaryValue":
			s.Hex = text(m, path)
			if s.Hex == "" || strings.ContainsFunc(s.Hex, func(c rune) bool { return c > 'f' || !isHex(byte(c)) }) {
				r.find(path, BadValue)
			}
		case "uriValue":
			s.URI = r.uri(m, path)
		default:
			if !isURI(m.Name()) {
				r.find(path, Unexpected)
			}
		}
	}
	if !v.Get("type").Exists() {
		r.find(at+".type", Missing)
	}
	return s
}
