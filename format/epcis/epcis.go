// Package epcis reads and writes events of EPCIS 2.0 (GS1 and ISO/IEC 19987) in
// JSON-LD, checks them, and names them by the hash of CBV 2.0 (ISO/IEC 19988)
// section 8.9.
//
// An event is kept as it was told: what a reader does not know stays in it. The
// context of JSON-LD is read for its prefixes and never fetched.
package epcis

import (
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
)

// The kinds of defect of a document as a whole.
const (
	ErrForm  = format.Defect("bad-epcis")
	ErrSize  = format.Defect("epcis-too-large")
	ErrQuery = format.Defect("bad-epcis-query")
)

// The kinds of defect of what stands in it.
const (
	Missing    = format.RequiredMissing
	BadValue   = format.Defect("bad-value")
	BadType    = format.Defect("bad-type")
	Unexpected = format.Defect("unexpected-field") // neither of the standard nor with a prefix
	Repeated   = format.Defect("repeated")
	TooMany    = format.Defect("too-many")
	NoPrefix   = format.Defect("unknown-prefix") // nothing in the context says what it stands for
)

// The bounds of a document.
const (
	MaxDocument = 16 << 20 // bytes
	MaxEvents   = 10_000
	maxList     = 20_000 // identifiers, quantities or reports of one list
	maxDepth    = 24
	MaxFindings = 100 // that are told; where there are so many, there may be more
)

// Type is what kind of event it is.
type Type string

// The types (EPCIS 2.0 section 7.4).
const (
	ObjectEvent         Type = "ObjectEvent"
	AggregationEvent    Type = "AggregationEvent"
	TransactionEvent    Type = "TransactionEvent"
	TransformationEvent Type = "TransformationEvent"
	AssociationEvent    Type = "AssociationEvent"
)

// Types are all of them.
var Types = []Type{ObjectEvent, AggregationEvent, TransactionEvent, TransformationEvent, AssociationEvent}

// Action is what an event does to what it names (section 7.3.2).
type Action string

// The actions.
const (
	Add     Action = "ADD"
	Observe Action = "OBSERVE"
	Delete  Action = "DELETE"
)

// Quantity is so much of a class, or of one of its lots.
type Quantity struct {
	Class  string
	Amount string // a decimal number as it was written; "": not told
	Unit   string // UN/ECE Recommendation 20; "": pieces
}

// Typed is a business transaction, a source or a destination.
type Typed struct {
	Type string // as a URI of the vocabulary; "": none
	ID   string
}

// Report is what a sensor told.
type Report struct {
	Type, Exception                    string // URIs of the vocabulary
	DeviceID, DeviceMetadata           string
	RawData, Method, Rules             string
	Time                               time.Time
	Microorganism, Substance           string
	Component                          string
	Value, Low, High, Mean, Deviation  string // decimal numbers; "": not told
	PercRank, PercValue                string
	Text, Hex, URI, Unit, CoordinateRS string
	Bool                               *bool
}

// Sensor is one element of the fifth dimension, "how".
type Sensor struct {
	Time, Start, End       time.Time
	DeviceID, Metadata     string
	RawData, Method, Rules string
	Reports                []Report
}

// ErrorDeclaration says of an event that it is wrong.
type ErrorDeclaration struct {
	At         time.Time
	Reason     string // URI of the vocabulary
	Corrective []string
}

// Event is one event. Words of the vocabulary are URIs in it, whatever they were
// written as; identifiers stand as they were written.
type Event struct {
	Type       Type   // or the URI of an extended one
	ID         string // eventID
	Time       time.Time
	Offset     string // of the place, "+02:00"
	RecordTime time.Time
	Error      *ErrorDeclaration

	Certification []string
	Action        Action
	Parent        string
	EPCs          []string // epcList
	Children      []string // childEPCs
	Inputs        []string
	Outputs       []string

	Quantities       []Quantity
	ChildQuantities  []Quantity
	InputQuantities  []Quantity
	OutputQuantities []Quantity

	Transformation string
	Step           string // bizStep
	Disposition    string
	Set, Unset     []string // persistentDisposition
	ReadPoint      string
	Location       string // bizLocation
	Transactions   []Typed
	Sources        []Typed
	Destinations   []Typed
	Sensors        []Sensor

	// Prefixes is what the event's context says of prefixes.
	Prefixes Prefixes
	value    strictjson.Value
	ignored  []string // names that do not count for the hash
}

// Document is an EPCISDocument, an EPCISQueryDocument, or an event alone.
type Document struct {
	Events []*Event
	// Query is of an EPCISQueryDocument: its name, and of which subscription it is.
	Query, Subscription string
	Created             time.Time
}

// Prefixes are the prefixes that a context defines beside those of the standard.
type Prefixes map[string]string

// Value is the event as it was read.
func (e *Event) Value() strictjson.Value { return e.value }

// Extension returns the member of an event with a name under a namespace, and of its
// instance and lot master data; missing where there is none.
func (e *Event) Extension(namespace, local string) strictjson.Value {
	for _, in := range []strictjson.Value{e.value, e.value.Get("ilmd")} {
		for m := range in.All() {
			if ns, name, ok := e.Prefixes.split(m.Name()); ok && ns == namespace && name == local {
				return m
			}
		}
	}
	return strictjson.Value{}
}
