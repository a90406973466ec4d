package httpapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/coldchain"
	"ampoule/device"
	"ampoule/format"
	"ampoule/format/oid"
	"ampoule/internal/access"
	"ampoule/internal/qr"
	"ampoule/party/fleet"
	"ampoule/party/issuer"
)

// Watching is the part of the API for devices and the cold chain.
type Watching struct {
	Fleet  *fleet.Fleet
	Policy *access.Policy
	// Suppliers keeps what was seen of those who push readings; nil: nobody does.
	Suppliers Suppliers
	// Certificates are those of the service's key and of the authority above the devices,
	// in DER, for evidence.
	Certificates [][]byte
	// Logged returns the transaction by which a window of readings was anchored, and its
	// proof; nil: nothing anchors them.
	Logged func(context.Context, *fleet.Window) (message, proof []byte, err error)
	// Read reads a file of a logger, of the kind that it finds out; nil: none are taken.
	Read func(data []byte, q FileQuestion) (*fleet.Delivery, *FileAnswer, error)
	// Live tells who looks what has changed.
	Live *Live
}

// Suppliers keeps what was seen of those who push readings, and the faults that they are
// to meet.
type Suppliers interface {
	// List are those of an organisation that were heard.
	List(ctx context.Context, organisation string) ([]SupplierSeen, error)
	Report(ctx context.Context, organisation, supplier string, now time.Time) (*fleet.Conformance, error)
	Plan(ctx context.Context, organisation string, p fleet.Plan) error
	Clear(ctx context.Context, organisation, supplier string) error
	Planned(supplier string) (p fleet.Plan, met int, ok bool)
	// Messages are those that are kept of a supplier as they came, the oldest first: so many
	// after one of them ("" for the first).
	Messages(ctx context.Context, organisation, supplier, after string, limit int) ([]MessageKept, error)
	// Message returns one, when it stands in the audit log who reads it.
	Message(ctx context.Context, by fleet.Actor, supplier, id string) ([]byte, error)
}

// MessageKept is a message that is kept as it came.
type MessageKept struct {
	ID    string    `json:"id"`
	Media string    `json:"media" doc:"Its type"`
	Bytes int       `json:"bytes"`
	Until time.Time `json:"until" doc:"When it is deleted"`
}

// SupplierSeen is who was heard, and when last.
type SupplierSeen struct {
	ID    string    `json:"id"`
	Last  time.Time `json:"last"`
	Count int64     `json:"count" doc:"Transmissions that are kept"`
}

// PlanBody are the faults that a supplier meets, one request each.
type PlanBody struct {
	From   time.Time      `json:"from"`
	Until  time.Time      `json:"until"`
	Faults []PlannedFault `json:"faults" minItems:"1" maxItems:"100"`
}

// PlannedFault is what a receiver does wrong on purpose.
type PlannedFault struct {
	Status int   `json:"status,omitempty" minimum:"0" maximum:"599" doc:"300 to 599; 0: none of its own"`
	Wait   int   `json:"wait,omitempty" minimum:"0" maximum:"86400" doc:"Seconds, Retry-After"`
	Close  bool  `json:"close,omitempty" doc:"The connection is closed without an answer"`
	Delay  int64 `json:"delay,omitempty" minimum:"0" maximum:"120000" doc:"Milliseconds before the answer"`
}

// FileQuestion is what a file does not say of itself.
type FileQuestion struct {
	Device device.Name    // "": as the file says
	Zone   *time.Location // of times without one; nil: not known
	Dates  string         // dmy, mdy; "": as the file shows
	Unit   string         // C, F; "": as the file says
}

// FileAnswer is what was found in a file.
type FileAnswer struct {
	Kind   string    `json:"kind" doc:"table, logtag, fridge-tag"`
	Serial string    `json:"serial,omitempty"`
	Model  string    `json:"model,omitempty"`
	From   time.Time `json:"from,omitzero"`
	Until  time.Time `json:"until,omitzero"`
	Count  int       `json:"count" doc:"Readings"`
	Low    int32     `json:"low" doc:"Thousandths of a degree Celsius"`
	High   int32     `json:"high"`
	Asks   []string  `json:"asks,omitempty" doc:"What must be said before it can be taken: zone, dates, unit, device"`
}

// --- Who asks ---

// by is who asks, bound to a place at which the action is allowed.
func (w *Watching) by(ctx context.Context, action access.Action, facility string) (fleet.Actor, error) {
	a, err := (&Issuing{Policy: w.Policy}).actor(ctx, action, facility)
	if err != nil {
		return fleet.Actor{}, err
	}
	return fleet.Actor{ID: a.ID, Within: fleet.Place(a.Within)}, nil
}

// at is who asks, for something that is known to be at a place. Who may not even see it
// is told that it is not there.
func (w *Watching) at(ctx context.Context, action access.Action, at fleet.Place, none *problem) (fleet.Actor, error) {
	who := principal(ctx)
	if who == nil {
		return fleet.Actor{}, problemNobody
	}
	if ok, _ := w.Policy.Allow(who, action, issuer.Place(at)); ok {
		return fleet.Actor{ID: who.ID, Within: at}, nil
	}
	if ok, _ := w.Policy.Allow(who, access.FleetRead, issuer.Place(at)); ok {
		return fleet.Actor{}, problemDenied
	}
	return fleet.Actor{}, none
}

// equipment finds a piece of equipment, for one who may do that to it.
func (w *Watching) equipment(ctx context.Context, action access.Action, id string) (*fleet.Equipment, fleet.Actor, error) {
	e, err := w.Fleet.Book.Equipment(ctx, fleet.ID(id))
	if err != nil {
		return nil, fleet.Actor{}, fleetProblem(err)
	}
	by, err := w.at(ctx, action, e.Place, problemNoEquipment)
	return e, by, err
}

func (w *Watching) device(ctx context.Context, action access.Action, id string) (*fleet.Device, fleet.Actor, error) {
	o, err := oid.Parse(id)
	if err != nil {
		return nil, fleet.Actor{}, problemNoDevice
	}
	d, err := w.Fleet.Book.Device(ctx, o)
	if err != nil {
		return nil, fleet.Actor{}, fleetProblem(err)
	}
	by, err := w.at(ctx, action, d.Place, problemNoDevice)
	return d, by, err
}

// fleetProblem is an error of the fleet as an answer.
func fleetProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fleet.ErrNoDevice):
		return problemNoDevice
	case errors.Is(err, fleet.ErrNoEquipment):
		return problemNoEquipment
	case errors.Is(err, fleet.ErrNoAlarm):
		return problemNoAlarm
	case errors.Is(err, fleet.ErrNoMessage):
		return problemNoMessage
	case errors.Is(err, fleet.ErrChanged):
		return problemChanged
	case errors.Is(err, fleet.ErrPlace), errors.Is(err, fleet.ErrDenied):
		return problemDenied
	case errors.Is(err, fleet.ErrFull):
		return problemStoreFull
	case errors.Is(err, fleet.ErrNameTaken), errors.Is(err, fleet.ErrOrder), errors.Is(err, device.ErrLife), errors.Is(err, device.ErrName), errors.Is(err, fleet.ErrPlan):
		return problemFleetOrder.with(err.Error())
	}
	return err
}

// --- What is told ---

// ReadingBody is the newest of a stream.
type ReadingBody struct {
	Device   string          `json:"device" doc:"Object identifier"`
	Sensor   string          `json:"sensor"`
	Quantity device.Quantity `json:"quantity"`
	At       int64           `json:"at" doc:"Seconds, by the clock of the device"`
	Value    int32           `json:"value" doc:"In the unit of the quantity: temperatures in thousandths of a degree Celsius"`
	Heard    time.Time       `json:"heard,omitzero" doc:"When something new came last, by the clock of the server"`
}

// EquipmentBody is a piece of cold chain equipment.
type EquipmentBody struct {
	ID           string          `json:"id"`
	Organisation string          `json:"organisation"`
	Facility     string          `json:"facility,omitempty"`
	Version      int64           `json:"version" doc:"Also the ETag; If-Match asks for it"`
	Name         string          `json:"name"`
	Kind         fleet.Kind      `json:"kind" enum:"fridge,freezer,ultra-low-freezer,cold-room,shipper,other"`
	Maker        string          `json:"maker,omitempty"`
	Model        string          `json:"model,omitempty"`
	PQS          string          `json:"pqs,omitempty" doc:"Code of the prequalified product (WHO PQS)"`
	Serial       string          `json:"serial,omitempty"`
	Terms        coldchain.Terms `json:"terms" doc:"What it is held against now"`
	Silence      int64           `json:"silence,omitempty"`
	Lost         int64           `json:"lost,omitempty"`
	Latitude     *float64        `json:"latitude,omitempty"`
	Longitude    *float64        `json:"longitude,omitempty"`
	Made         time.Time       `json:"made"`
	Retired      time.Time       `json:"retired,omitzero"`
	State        string          `json:"state" enum:"ok,alarm,acknowledged,silent,no-data,retired" doc:"The worst of what stands"`
	Standing     []AlarmBody     `json:"standing"`
	Readings     []ReadingBody   `json:"readings" doc:"The newest of each stream that is in it now, the temperature of the vaccine first"`
}

// AlarmBody is an alarm.
type AlarmBody struct {
	ID           string                  `json:"id"`
	Organisation string                  `json:"organisation"`
	Facility     string                  `json:"facility,omitempty"`
	Version      int64                   `json:"version"`
	State        fleet.State             `json:"state" enum:"standing,ended,withdrawn"`
	Equipment    string                  `json:"equipment"`
	Name         string                  `json:"name" doc:"Of the equipment, when it was raised"`
	Device       string                  `json:"device"`
	Sensor       string                  `json:"sensor"`
	Rule         string                  `json:"rule"`
	Since        int64                   `json:"since" doc:"Seconds, by the clock of the device: the first reading; of SILENT and FORKED by that of the server"`
	At           int64                   `json:"at" doc:"When it was certain"`
	Until        int64                   `json:"until,omitempty"`
	Extreme      int32                   `json:"extreme" doc:"The worst, in thousandths of a degree Celsius"`
	Seconds      int64                   `json:"seconds" doc:"That were counted"`
	End          string                  `json:"end,omitempty" doc:"recovered, gap, sensor-lost, terms-changed"`
	Terms        coldchain.Terms         `json:"terms" doc:"As they were then"`
	Raised       time.Time               `json:"raised" doc:"By the clock of the server"`
	Changed      time.Time               `json:"changed"`
	Why          string                  `json:"why,omitempty" doc:"Why there is this version"`
	Escalated    int                     `json:"escalated,omitempty"`
	Acknowledged []fleet.Acknowledgement `json:"acknowledged"`
}

func alarmBody(a *fleet.Alarm) AlarmBody {
	e := &a.Episode
	return AlarmBody{
		ID: string(a.ID), Organisation: a.Place.Organisation, Facility: a.Place.Facility, Version: a.Version, State: a.State,
		Equipment: string(a.Equipment), Name: a.Name, Device: a.Device.String(), Sensor: a.Sensor,
		Rule: e.Rule, Since: e.Since, At: e.At, Until: e.Until, Extreme: int32(e.Extreme), Seconds: e.Seconds, End: e.End,
		Terms: a.Terms, Raised: a.Raised, Changed: a.Changed, Why: a.Why, Escalated: a.Escalated,
		Acknowledged: append([]fleet.Acknowledgement{}, a.Acknowledged...),
	}
}

func alarmBodies(all []fleet.Alarm) []AlarmBody {
	out := make([]AlarmBody, len(all))
	for i := range all {
		out[i] = alarmBody(&all[i])
	}
	return out
}

func equipmentBody(g *fleet.Glance) EquipmentBody {
	e := g.Equipment
	b := EquipmentBody{
		ID: string(e.ID), Organisation: e.Place.Organisation, Facility: e.Place.Facility, Version: e.Version, Name: e.Name, Kind: e.Kind,
		Maker: e.Maker, Model: e.Model, PQS: e.PQS, Serial: e.Serial, Terms: e.Terms[len(e.Terms)-1].Terms, Silence: e.Silence, Lost: e.Lost,
		Latitude: e.Latitude, Longitude: e.Longitude, Made: e.Made, Retired: e.Retired, Standing: alarmBodies(g.Standing), Readings: []ReadingBody{},
	}
	for _, s := range g.Streams {
		if s.Last.At != 0 {
			b.Readings = append(b.Readings, ReadingBody{s.Device.String(), s.Sensor, s.Quantity, s.Last.At, s.Last.Value, s.Heard})
		}
	}
	b.State = stateOf(g, len(b.Readings) > 0)
	return b
}

// stateOf is the worst of what stands: what nobody has seen, then silence, then what
// somebody has.
func stateOf(g *fleet.Glance, heard bool) string {
	silent, seen := false, false
	for i := range g.Standing {
		switch a := &g.Standing[i]; {
		case a.Episode.Rule == fleet.RuleSilent:
			silent = true
		case !a.Seen():
			return "alarm"
		default:
			seen = true
		}
	}
	switch {
	case !g.Retired.IsZero():
		return "retired"
	case silent:
		return "silent"
	case seen:
		return "acknowledged"
	case !heard:
		return "no-data"
	}
	return "ok"
}

// DeviceBody is a device.
type DeviceBody struct {
	ID           string              `json:"id" doc:"Object identifier"`
	Organisation string              `json:"organisation"`
	Facility     string              `json:"facility,omitempty"`
	Version      int64               `json:"version"`
	State        device.Life         `json:"state" enum:"announced,claimed,enrolled,active,suspended,retired"`
	Next         []device.Life       `json:"next" doc:"States that it may be brought into"`
	Names        []string            `json:"names" doc:"scheme:value"`
	Maker        string              `json:"maker,omitempty"`
	Model        string              `json:"model,omitempty"`
	PQS          string              `json:"pqs,omitempty"`
	Supplier     string              `json:"supplier,omitempty" doc:"The account that may speak for it"`
	Claimable    bool                `json:"claimable" doc:"A code on its label is open"`
	Keys         []KeySeen           `json:"keys"`
	Stays        []fleet.Stay        `json:"stays"`
	Corrections  []fleet.Correction  `json:"corrections"`
	Calibrations []fleet.Calibration `json:"calibrations"`
	Steps        []fleet.Step        `json:"steps"`
	Attested     time.Time           `json:"attested,omitzero" doc:"Until when its state is attested"`
	Endorsed     fleet.Form          `json:"endorsed,omitempty" enum:"tpm,eat" doc:"How it attests its state"`
}

// KeySeen is a key of a device.
type KeySeen struct {
	KID         string    `json:"kid"`
	Certificate bool      `json:"certificate"`
	From        time.Time `json:"from"`
	Until       time.Time `json:"until,omitzero"`
}

func deviceBody(d *fleet.Device) DeviceBody {
	b := DeviceBody{
		ID: d.ID.String(), Organisation: d.Place.Organisation, Facility: d.Place.Facility, Version: d.Version, State: d.State, Next: append([]device.Life{}, d.State.Next()...),
		Names: []string{}, Maker: d.Maker, Model: d.Model, PQS: d.PQS, Supplier: d.Supplier, Claimable: d.Claim != nil, Keys: []KeySeen{},
		Stays: append([]fleet.Stay{}, d.Stays...), Corrections: append([]fleet.Correction{}, d.Corrections...), Calibrations: append([]fleet.Calibration{}, d.Calibrations...),
		Steps: append([]fleet.Step{}, d.Steps...), Attested: d.Attested,
	}
	if d.Endorsed != nil {
		b.Endorsed = d.Endorsed.Form
	}
	for _, n := range d.Names {
		b.Names = append(b.Names, n.String())
	}
	for _, k := range d.Keys {
		b.Keys = append(b.Keys, KeySeen{fmt.Sprintf("%x", k.KID), len(k.Certificate) > 0, k.From, k.Until})
	}
	return b
}

// StreamBody is a stream of a device.
type StreamBody struct {
	ReadingBody
	Interval int64  `json:"interval" doc:"Seconds between readings; 0: not known"`
	Sealed   uint64 `json:"sealed" doc:"Segments that this service signed"`
	Own      uint64 `json:"own" doc:"Segments of the device's own, that follow on one another"`
	Open     int64  `json:"open" doc:"Readings that are not sealed yet"`
}

// CheckBody is one thing that the belief in a device rests on.
type CheckBody struct {
	Name   string        `json:"name" enum:"continuity,chain,clock,stuck,rate,neighbours,calibration"`
	Answer device.Answer `json:"answer" enum:"pass,fail,unknown"`
	Figure int64         `json:"figure"`
	Limit  int64         `json:"limit"`
	Least  bool          `json:"least" doc:"The limit is the least; else the most"`
	Unit   string        `json:"unit"`
	Weight int64         `json:"weight"`
}

// LineBody is a stream on a chart. Each bucket has the least and the greatest of its
// readings, never a mean.
type LineBody struct {
	Device   string          `json:"device"`
	Sensor   string          `json:"sensor"`
	Quantity device.Quantity `json:"quantity"`
	Level    device.Level    `json:"level" doc:"Assurance: the least of its readings"`
	At       []int64         `json:"at" doc:"Of the first reading of each"`
	Last     []int64         `json:"last" doc:"Of the last: what lies between that and the next bucket was not measured"`
	Low      []int32         `json:"low"`
	High     []int32         `json:"high"`
	Measured int64           `json:"measured" doc:"Seconds"`
	Inside   int64           `json:"inside" doc:"Seconds within the profile"`
}

// TargetBody is where alarms are told.
type TargetBody struct {
	ID         string `json:"id" readOnly:"true"`
	Facility   string `json:"facility,omitempty" maxLength:"64"`
	Channel    string `json:"channel" enum:"webhook,mail,mqtt"`
	Address    string `json:"address" maxLength:"500"`
	Secret     string `json:"secret,omitempty" writeOnly:"true" maxLength:"200" doc:"Of a webhook; it is never shown"`
	Rank       int    `json:"rank" minimum:"0" maximum:"1" doc:"0: told first; 1: told what nobody acknowledged"`
	Language   string `json:"language,omitempty" maxLength:"10"`
	QuietFrom  int    `json:"quiet_from" minimum:"0" maximum:"1439" doc:"Minutes after midnight"`
	QuietUntil int    `json:"quiet_until" minimum:"0" maximum:"1439"`
	Zone       string `json:"zone,omitempty" maxLength:"60" doc:"As in the tz database: Africa/Kigali"`
}

// --- The operations ---

type listAnswer[T any] struct {
	CacheControl string `header:"Cache-Control"`
	Link         string `header:"Link" doc:"The next page (RFC 8288)"`
	Body         struct {
		Items []T    `json:"items"`
		Next  string `json:"next,omitempty" doc:"Cursor of the next page; missing after the last"`
	}
}

// follow says where the next page is.
func (l *listAnswer[T]) follow(path, cursor, facility string, limit int, more url.Values) {
	l.Body.Next = cursor
	q := url.Values{"cursor": {cursor}, "limit": {fmt.Sprint(limit)}}
	if facility != "" {
		q.Set("facility", facility)
	}
	for name, values := range more {
		q[name] = values
	}
	l.Link = "<" + path + "?" + q.Encode() + `>; rel="next"`
}

type oneAnswer[T any] struct {
	CacheControl string `header:"Cache-Control"`
	ETag         string `header:"ETag"`
	Body         T
}

func one[T any](b T, version int64) *oneAnswer[T] {
	out := &oneAnswer[T]{CacheControl: "no-store", Body: b}
	if version > 0 {
		out.ETag = fmt.Sprintf(`"%d"`, version)
	}
	return out
}

// versionOf is the version that If-Match asks for.
func versionOf(tag string) (n int64, err error) {
	if tag == "" {
		return 0, problemNoVersion
	}
	if _, err := fmt.Sscanf(tag, `"%d"`, &n); err != nil || n < 1 {
		return 0, problemChanged
	}
	return n, nil
}

// describeFleet registers the operations.
func (s *server) describeFleet(api huma.API) {
	w := s.Watching
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"cold chain"},
			Errors: append([]int{401, 403, 404, 422}, errors...), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	type facility struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
	}
	type equipmentInput struct {
		Facility  string           `json:"facility,omitempty" maxLength:"64"`
		Name      string           `json:"name" maxLength:"100"`
		Kind      fleet.Kind       `json:"kind" enum:"fridge,freezer,ultra-low-freezer,cold-room,shipper,other"`
		Maker     string           `json:"maker,omitempty" maxLength:"100"`
		Model     string           `json:"model,omitempty" maxLength:"100"`
		PQS       string           `json:"pqs,omitempty" maxLength:"40"`
		Serial    string           `json:"serial,omitempty" maxLength:"60"`
		Profile   string           `json:"profile,omitempty" enum:"refrigerated,frozen,ultra-cold,controlled-temperature,shipper-type-1,shipper-type-2" doc:"The usual terms of this profile"`
		Terms     *coldchain.Terms `json:"terms,omitempty" doc:"Other terms than the usual ones"`
		Silence   int64            `json:"silence,omitempty" minimum:"0" doc:"Seconds within which something new is to come; three that miss are an alarm. 0: silence is none"`
		Lost      int64            `json:"lost,omitempty" minimum:"0" doc:"Seconds of silence after which the sensor is given up"`
		Latitude  *float64         `json:"latitude,omitempty" minimum:"-90" maximum:"90"`
		Longitude *float64         `json:"longitude,omitempty" minimum:"-180" maximum:"180"`
		Retired   bool             `json:"retired,omitempty"`
	}
	terms := func(in *equipmentInput) (coldchain.Terms, error) {
		if in.Terms != nil {
			return *in.Terms, nil
		}
		t, ok := coldchain.TermsOf(cmp.Or(in.Profile, coldchain.Refrigerated.ID))
		if !ok {
			return t, problemFleetOrder.with("profile: none of ours")
		}
		return t, nil
	}
	fill := func(e *fleet.Equipment, in *equipmentInput, now time.Time) {
		e.Place.Facility, e.Name, e.Kind, e.Maker, e.Model, e.PQS, e.Serial = in.Facility, in.Name, in.Kind, in.Maker, in.Model, in.PQS, in.Serial
		e.Silence, e.Lost, e.Latitude, e.Longitude = in.Silence, in.Lost, in.Latitude, in.Longitude
		if in.Retired && e.Retired.IsZero() {
			e.Retired = now
		} else if !in.Retired {
			e.Retired = time.Time{}
		}
	}
	register(api, op("equipment", "GET", "/v1/equipment", "List the equipment, and how it stands"), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Cursor   string `query:"cursor" maxLength:"36"`
		Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	}) (*listAnswer[EquipmentBody], error) {
		by, err := w.by(ctx, access.FleetRead, r.Facility)
		if err != nil {
			return nil, err
		}
		all, err := w.Fleet.Watching(ctx, by, fleet.ID(r.Cursor), r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[EquipmentBody]{CacheControl: "no-store"}
		out.Body.Items = make([]EquipmentBody, len(all))
		for i := range all {
			out.Body.Items[i] = equipmentBody(&all[i])
		}
		if len(all) == r.Limit {
			out.follow("/v1/equipment", string(all[len(all)-1].ID), r.Facility, r.Limit, nil)
		}
		return out, nil
	})
	register(api, op("equipmentMake", "POST", "/v1/equipment", "Put equipment into the registry"), func(ctx context.Context, r *struct{ Body equipmentInput }) (*oneAnswer[EquipmentBody], error) {
		by, err := w.by(ctx, access.FleetManage, r.Body.Facility)
		if err != nil {
			return nil, err
		}
		t, err := terms(&r.Body)
		if err != nil {
			return nil, err
		}
		e := &fleet.Equipment{Place: by.Within}
		fill(e, &r.Body, w.Fleet.Now())
		if e.Place.Facility == "" {
			e.Place = by.Within
		}
		if err := w.Fleet.PutEquipment(ctx, by, e, t); err != nil {
			return nil, fleetProblem(err)
		}
		return one(equipmentBody(&fleet.Glance{Equipment: e}), e.Version), nil
	})
	register(api, op("equipmentChange", "PUT", "/v1/equipment/{id}", "Change equipment", 412, 428), func(ctx context.Context, r *struct {
		ID      string `path:"id" maxLength:"36"`
		IfMatch string `header:"If-Match"`
		Body    equipmentInput
	}) (*oneAnswer[EquipmentBody], error) {
		e, by, err := w.equipment(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		if e.Version, err = versionOf(r.IfMatch); err != nil {
			return nil, err
		}
		t := e.Terms[len(e.Terms)-1].Terms
		if r.Body.Terms != nil || r.Body.Profile != "" {
			if t, err = terms(&r.Body); err != nil {
				return nil, err
			}
		}
		r.Body.Facility = e.Place.Facility // equipment that goes elsewhere is other equipment there
		fill(e, &r.Body, w.Fleet.Now())
		if err := w.Fleet.PutEquipment(ctx, by, e, t); err != nil {
			return nil, fleetProblem(err)
		}
		return one(equipmentBody(&fleet.Glance{Equipment: e}), e.Version), nil
	})
	type byID struct {
		ID string `path:"id" maxLength:"256"`
	}
	register(api, op("equipmentOne", "GET", "/v1/equipment/{id}", "Tell how one piece of equipment stands"), func(ctx context.Context, r *byID) (*oneAnswer[EquipmentBody], error) {
		e, by, err := w.equipment(ctx, access.FleetRead, r.ID)
		if err != nil {
			return nil, err
		}
		g, err := w.Fleet.Look(ctx, by, e.ID)
		if err != nil {
			return nil, fleetProblem(err)
		}
		return one(equipmentBody(g), e.Version), nil
	})
	type chartBody struct {
		From   int64             `json:"from"`
		Until  int64             `json:"until"`
		Now    int64             `json:"now" doc:"By the clock of the server"`
		Terms  []fleet.TermsFrom `json:"terms" doc:"What it was held against, each from a time on"`
		Lines  []LineBody        `json:"lines"`
		Alarms []AlarmBody       `json:"alarms"`
	}
	register(api, op("equipmentChart", "GET", "/v1/equipment/{id}/chart", "Tell what was measured in it, as the least and the greatest of each piece of time"), func(ctx context.Context, r *struct {
		ID     string `path:"id" maxLength:"36"`
		From   int64  `query:"from" minimum:"0" maximum:"253402300799" doc:"Seconds; 0: 30 days before now"`
		Until  int64  `query:"until" minimum:"0" maximum:"253402300799" doc:"0: now"`
		Points int    `query:"points" minimum:"10" maximum:"60000" default:"1000" doc:"Pieces at most"`
	}) (*oneAnswer[chartBody], error) {
		e, by, err := w.equipment(ctx, access.FleetRead, r.ID)
		if err != nil {
			return nil, err
		}
		now := w.Fleet.Now().Unix()
		until := cmp.Or(r.Until, now+86400) // a clock may be ahead
		from := cmp.Or(r.From, now-30*86400)
		if from >= until || until-from > 10*366*86400 {
			return nil, problemFleetOrder.with("from and until: no period of ten years at most")
		}
		e, lines, alarms, err := w.Fleet.Chart(ctx, by, e.ID, from, until, r.Points)
		if err != nil {
			return nil, fleetProblem(err)
		}
		b := chartBody{From: from, Until: until, Now: now, Terms: e.Terms, Lines: []LineBody{}, Alarms: alarmBodies(alarms)}
		for _, l := range lines {
			x := LineBody{Device: l.Device.String(), Sensor: l.Sensor, Quantity: l.Quantity, Level: l.Level, Measured: l.Measured, Inside: l.Inside,
				At: make([]int64, len(l.Buckets)), Last: make([]int64, len(l.Buckets)), Low: make([]int32, len(l.Buckets)), High: make([]int32, len(l.Buckets))}
			for i, k := range l.Buckets {
				x.At[i], x.Last[i], x.Low[i], x.High[i] = k.At, k.Last, k.Low, k.High
			}
			b.Lines = append(b.Lines, x)
		}
		return one(b, 0), nil
	})

	// Devices.
	type listedDevice struct {
		DeviceBody
		Heard time.Time     `json:"heard,omitzero" doc:"When something new came last, by the clock of the server"`
		Level *device.Level `json:"level,omitempty" doc:"Assurance: the least of what its streams said last"`
	}
	register(api, op("devices", "GET", "/v1/devices", "List devices, and when each was heard last"), func(ctx context.Context, r *struct {
		Facility string      `query:"facility" maxLength:"64"`
		State    device.Life `query:"state" enum:"announced,claimed,enrolled,active,suspended,retired" doc:"Missing: all"`
		Cursor   string      `query:"cursor" maxLength:"256"`
		Limit    int         `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	}) (*listAnswer[listedDevice], error) {
		by, err := w.by(ctx, access.FleetRead, r.Facility)
		if err != nil {
			return nil, err
		}
		var after device.ID
		if r.Cursor != "" {
			if after, err = oid.Parse(r.Cursor); err != nil {
				return nil, problemInvalid.with("query.cursor: none of ours")
			}
		}
		all, heard, err := w.Fleet.Devices(ctx, by, r.State, after, r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[listedDevice]{CacheControl: "no-store"}
		out.Body.Items = make([]listedDevice, len(all))
		for i := range all {
			out.Body.Items[i] = listedDevice{DeviceBody: deviceBody(&all[i])}
			if h, ok := heard[all[i].ID]; ok {
				out.Body.Items[i].Heard, out.Body.Items[i].Level = h.At, &h.Level
			}
		}
		if len(all) == r.Limit {
			more := url.Values{}
			if r.State != "" {
				more.Set("state", string(r.State))
			}
			out.follow("/v1/devices", all[len(all)-1].ID.String(), r.Facility, r.Limit, more)
		}
		return out, nil
	})
	type madeBody struct {
		DeviceBody
		Label string `json:"label,omitempty" doc:"The text for a QR code on its label, once: only its hash is kept"`
		Code  string `json:"code,omitempty" doc:"That code, as SVG"`
	}
	register(api, op("deviceMake", "POST", "/v1/devices", "Put a device into the registry, with a code to claim it by"), func(ctx context.Context, r *struct {
		Body struct {
			Facility string   `json:"facility,omitempty" maxLength:"64"`
			Names    []string `json:"names" minItems:"1" maxItems:"32" doc:"scheme:value, such as serial:MAKER/1234 or dev-eui:…"`
			Maker    string   `json:"maker,omitempty" maxLength:"100"`
			Model    string   `json:"model,omitempty" maxLength:"100"`
			PQS      string   `json:"pqs,omitempty" maxLength:"40"`
			Supplier string   `json:"supplier,omitempty" maxLength:"100" doc:"The account that may speak for it"`
			Claim    bool     `json:"claim,omitempty" doc:"Make a code for its label"`
		}
	}) (*oneAnswer[madeBody], error) {
		by, err := w.by(ctx, access.FleetManage, r.Body.Facility)
		if err != nil {
			return nil, err
		}
		d := &fleet.Device{Place: by.Within, Maker: r.Body.Maker, Model: r.Body.Model, PQS: r.Body.PQS, Supplier: r.Body.Supplier}
		if r.Body.Facility != "" {
			d.Place.Facility = r.Body.Facility
		}
		for _, text := range r.Body.Names {
			n, err := device.ParseName(text)
			if err != nil {
				return nil, fleetProblem(err)
			}
			d.Names = append(d.Names, n)
		}
		label, code := "", []byte(nil)
		if r.Body.Claim {
			c, err := w.Fleet.NewClaim()
			if err != nil {
				return nil, err
			}
			hash := c.Hash()
			d.Claim, label = hash[:], c.Label()
			symbol, err := qr.Encode(label, qr.M)
			if err != nil {
				return nil, err
			}
			if code, err = symbol.SVG(qr.Options{QuietZone: 4}); err != nil {
				return nil, err
			}
		}
		if err := w.Fleet.Register(ctx, by, d); err != nil {
			return nil, fleetProblem(err)
		}
		return one(madeBody{deviceBody(d), label, string(code)}, d.Version), nil
	})
	register(api, op("deviceReclaim", "POST", "/v1/devices/{id}/claim", "Make another code to claim it by; the one before is good no more"), func(ctx context.Context, r *byID) (*oneAnswer[madeBody], error) {
		d, by, err := w.device(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		d, c, err := w.Fleet.Reclaim(ctx, by, d.ID)
		if err != nil {
			return nil, fleetProblem(err)
		}
		return one(madeBody{DeviceBody: deviceBody(d), Label: c.Label()}, d.Version), nil
	})
	type deviceAnswer struct {
		DeviceBody
		Streams   []StreamBody        `json:"streams"`
		Score     int64               `json:"score" doc:"How far it is believed, in ten-thousandths: the lesser of mean and cap"`
		Mean      int64               `json:"mean" doc:"What its checks of the last 30 days come to"`
		Cap       int64               `json:"cap" doc:"What the assurance at which it speaks can earn at most"`
		Level     device.Level        `json:"level" doc:"Assurance: the least of its readings of 30 days"`
		Checks    []CheckBody         `json:"checks" doc:"Of the last day"`
		Anomalies []coldchain.Anomaly `json:"anomalies" doc:"What a sound sensor in a sound store does not do, in 30 days"`
	}
	register(api, op("device", "GET", "/v1/devices/{id}", "Tell what is known of a device, and how far it is believed"), func(ctx context.Context, r *byID) (*oneAnswer[deviceAnswer], error) {
		d, by, err := w.device(ctx, access.FleetRead, r.ID)
		if err != nil {
			return nil, err
		}
		believed, err := w.Fleet.Believe(ctx, by, d.ID)
		if err != nil {
			return nil, fleetProblem(err)
		}
		b := deviceAnswer{
			DeviceBody: deviceBody(d), Streams: []StreamBody{}, Score: believed.Score, Mean: believed.Mean, Cap: believed.Cap, Level: believed.Level,
			Checks: make([]CheckBody, len(believed.Checks)), Anomalies: append([]coldchain.Anomaly{}, believed.Anomalies...),
		}
		for i, c := range believed.Checks {
			b.Checks[i] = CheckBody(c)
		}
		streams, err := w.Fleet.Book.StreamsOf(ctx, d.ID)
		if err != nil {
			return nil, err
		}
		for _, x := range streams {
			b.Streams = append(b.Streams, StreamBody{ReadingBody{x.Device.String(), x.Sensor, x.Quantity, x.Last.At, x.Last.Value, x.Heard}, x.Interval, x.Sealed.Seq, x.Own.Seq, x.Open})
		}
		return one(b, d.Version), nil
	})
	changed := func(d *fleet.Device, err error) (*oneAnswer[DeviceBody], error) {
		if err != nil {
			return nil, fleetProblem(err)
		}
		return one(deviceBody(d), d.Version), nil
	}
	register(api, op("deviceTurn", "POST", "/v1/devices/{id}/state", "Bring a device into another state: claim, suspend, activate, retire"), func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"256"`
		Body struct {
			State  device.Life   `json:"state" enum:"claimed,active,suspended,retired"`
			Reason device.Reason `json:"reason,omitempty" enum:"maintenance,faulty,lost,compromised,replaced,end-of-life,not-ours"`
		}
	}) (*oneAnswer[DeviceBody], error) {
		d, by, err := w.device(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		return changed(w.Fleet.Turn(ctx, by, d.ID, r.Body.State, r.Body.Reason))
	})
	register(api, op("deviceMove", "POST", "/v1/devices/{id}/stays", "Say in which equipment it is from a time on, which may be past"), func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"256"`
		Body struct {
			Equipment string `json:"equipment,omitempty" maxLength:"36" doc:"Empty: in none"`
			Sensor    string `json:"sensor,omitempty" maxLength:"80" doc:"Empty: each that is not said otherwise"`
			From      int64  `json:"from" minimum:"1" doc:"Seconds"`
		}
	}) (*oneAnswer[DeviceBody], error) {
		d, by, err := w.device(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		if r.Body.Equipment != "" {
			// The equipment may be at another facility of the same organisation.
			_, there, err := w.equipment(ctx, access.FleetManage, r.Body.Equipment)
			if err != nil {
				return nil, err
			}
			if !by.Within.Holds(there.Within) {
				by.Within.Facility = ""
			}
		}
		return changed(w.Fleet.Move(ctx, by, d.ID, r.Body.Sensor, fleet.ID(r.Body.Equipment), r.Body.From))
	})
	register(api, op("deviceCorrect", "POST", "/v1/devices/{id}/corrections", "Say how its clock was wrong; what it said stays"), func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"256"`
		Body struct {
			From   int64  `json:"from" minimum:"0"`
			Until  int64  `json:"until,omitempty" minimum:"0" doc:"The first second after; 0: still"`
			Offset int64  `json:"offset" minimum:"-3153600000" maximum:"3153600000" doc:"Seconds to add"`
			Why    string `json:"why" minLength:"1" maxLength:"200"`
		}
	}) (*oneAnswer[DeviceBody], error) {
		d, by, err := w.device(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		return changed(w.Fleet.Correct(ctx, by, d.ID, fleet.Correction{From: r.Body.From, Until: r.Body.Until, Offset: r.Body.Offset, Why: r.Body.Why}))
	})
	register(api, op("deviceCalibrate", "POST", "/v1/devices/{id}/calibrations", "Keep a calibration"), func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"256"`
		Body struct {
			At    time.Time `json:"at"`
			Until time.Time `json:"until"`
			By    string    `json:"by" minLength:"1" maxLength:"100" doc:"The laboratory"`
			Note  string    `json:"note,omitempty" maxLength:"500"`
		}
	}) (*oneAnswer[DeviceBody], error) {
		d, by, err := w.device(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		return changed(w.Fleet.Calibrate(ctx, by, d.ID, fleet.Calibration(r.Body)))
	})
	register(api, op("deviceEndorse", "POST", "/v1/devices/{id}/endorsement", "Say by which key it attests and in which states it may be; what it attested before ends"), func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"256"`
		Body struct {
			Form     fleet.Form      `json:"form" enum:"tpm,eat,none" doc:"tpm: quotes of a TPM 2.0; eat: Entity Attestation Tokens; none: it attests nothing any more"`
			Key      string          `json:"key,omitempty" maxLength:"8192" doc:"Public key in PEM"`
			Releases []fleet.Release `json:"releases,omitempty" maxItems:"32" doc:"States that are good; one of them must fit"`
			UEID     []byte          `json:"ueid,omitempty" doc:"Of a token: whose it must be, base64"`
			OEM      string          `json:"oem,omitempty" maxLength:"40"`
			Model    []byte          `json:"model,omitempty"`
			Debug    uint8           `json:"debug,omitempty" minimum:"0" maximum:"4" doc:"The least closed that is taken (RFC 9711 section 4.2.9)"`
		}
	}) (*oneAnswer[DeviceBody], error) {
		d, by, err := w.device(ctx, access.FleetManage, r.ID)
		if err != nil {
			return nil, err
		}
		if r.Body.Form == "none" {
			return changed(w.Fleet.Endorse(ctx, by, d.ID, nil))
		}
		block, _ := pem.Decode([]byte(r.Body.Key))
		if block == nil || block.Type != "PUBLIC KEY" {
			return nil, problemFleetOrder.with("key: no public key in PEM")
		}
		return changed(w.Fleet.Endorse(ctx, by, d.ID, &fleet.Endorsement{
			Form: r.Body.Form, Public: block.Bytes, Releases: r.Body.Releases, UEID: r.Body.UEID, OEM: r.Body.OEM, Model: r.Body.Model, Debug: device.Debug(r.Body.Debug),
		}))
	})
	s.describeRoster(api, op)
	evidence := op("deviceEvidence", "GET", "/v1/devices/{id}/evidence", "Fetch what is kept of a device as it was signed, for `ampoule device verify`")
	register(api, evidence, func(ctx context.Context, r *struct {
		ID    string `path:"id" maxLength:"256"`
		From  int64  `query:"from" minimum:"0"`
		Until int64  `query:"until" minimum:"0" doc:"0: now"`
	}) (*huma.StreamResponse, error) {
		d, by, err := w.device(ctx, access.FleetRead, r.ID)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			c.SetHeader("Content-Type", "application/cbor-seq")
			c.SetHeader("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": "device-" + d.ID.String() + ".evidence"}))
			out := c.BodyWriter()
			if err := w.Fleet.Evidence(ctx, by, d.ID, r.From, cmp.Or(r.Until, 1<<40), w.Certificates, w.Logged, out); err != nil {
				s.log.Error("evidence was broken off", "error", err.Error()) // the reader sees that the seal is missing
			}
		}}, nil
	})

	// Alarms.
	register(api, op("alarms", "GET", "/v1/alarms", "List alarms, newest first"), func(ctx context.Context, r *struct {
		Facility string      `query:"facility" maxLength:"64"`
		State    fleet.State `query:"state" enum:"standing,ended,withdrawn" doc:"Missing: all"`
		Cursor   string      `query:"cursor" maxLength:"36"`
		Limit    int         `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}) (*listAnswer[AlarmBody], error) {
		by, err := w.by(ctx, access.FleetRead, r.Facility)
		if err != nil {
			return nil, err
		}
		all, err := w.Fleet.Alarms(ctx, by, r.State, fleet.ID(r.Cursor), r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[AlarmBody]{CacheControl: "no-store"}
		if out.Body.Items = alarmBodies(all); len(all) == r.Limit {
			more := url.Values{}
			if r.State != "" {
				more.Set("state", string(r.State))
			}
			out.follow("/v1/alarms", string(all[len(all)-1].ID), r.Facility, r.Limit, more)
		}
		return out, nil
	})
	alarm := func(ctx context.Context, action access.Action, id string) (*fleet.Alarm, fleet.Actor, error) {
		a, err := w.Fleet.Book.Alarm(ctx, fleet.ID(id))
		if err != nil {
			return nil, fleet.Actor{}, fleetProblem(err)
		}
		by, err := w.at(ctx, action, a.Place, problemNoAlarm)
		return a, by, err
	}
	type alarmAnswer struct {
		AlarmBody
		Statements [][]byte `json:"statements" doc:"Its versions, each signed by the service and naming the one before (COSE_Sign1, base64)"`
	}
	register(api, op("alarm", "GET", "/v1/alarms/{id}", "Tell an alarm with its signed versions"), func(ctx context.Context, r *byID) (*oneAnswer[alarmAnswer], error) {
		_, by, err := alarm(ctx, access.FleetRead, r.ID)
		if err != nil {
			return nil, err
		}
		a, versions, err := w.Fleet.Alarm(ctx, by, fleet.ID(r.ID))
		if err != nil {
			return nil, fleetProblem(err)
		}
		return one(alarmAnswer{alarmBody(a), versions}, a.Version), nil
	})
	register(api, op("alarmAcknowledge", "POST", "/v1/alarms/{id}/acknowledgements", "Say that somebody has seen to it"), func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"36"`
		Body struct {
			Comment string `json:"comment,omitempty" maxLength:"1000" doc:"Of nobody but the equipment"`
		}
	}) (*oneAnswer[AlarmBody], error) {
		_, by, err := alarm(ctx, access.AlarmAcknowledge, r.ID)
		if err != nil {
			return nil, err
		}
		a, err := w.Fleet.Acknowledge(ctx, by, fleet.ID(r.ID), r.Body.Comment)
		if err != nil {
			return nil, fleetProblem(err)
		}
		return one(alarmBody(a), a.Version), nil
	})

	// Who is told.
	targetOf := func(t *fleet.Target) TargetBody {
		return TargetBody{ID: string(t.ID), Facility: t.Place.Facility, Channel: t.Channel, Address: t.Address, Rank: t.Rank, Language: t.Language, QuietFrom: t.QuietFrom, QuietUntil: t.QuietUntil, Zone: t.Zone}
	}
	register(api, op("targets", "GET", "/v1/alarm-targets", "List who is told of alarms"), func(ctx context.Context, r *facility) (*listAnswer[TargetBody], error) {
		by, err := w.by(ctx, access.FleetManage, r.Facility)
		if err != nil {
			return nil, err
		}
		all, err := w.Fleet.Targets(ctx, by)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[TargetBody]{CacheControl: "no-store"}
		out.Body.Items = make([]TargetBody, len(all))
		for i := range all {
			out.Body.Items[i] = targetOf(&all[i])
		}
		return out, nil
	})
	register(api, op("targetMake", "POST", "/v1/alarm-targets", "Have somebody told of alarms"), func(ctx context.Context, r *struct{ Body TargetBody }) (*oneAnswer[TargetBody], error) {
		by, err := w.by(ctx, access.FleetManage, r.Body.Facility)
		if err != nil {
			return nil, err
		}
		t := &fleet.Target{Place: by.Within, Channel: r.Body.Channel, Address: r.Body.Address, Secret: []byte(r.Body.Secret), Rank: r.Body.Rank, Language: r.Body.Language, QuietFrom: r.Body.QuietFrom, QuietUntil: r.Body.QuietUntil, Zone: r.Body.Zone}
		if r.Body.Facility != "" {
			t.Place.Facility = r.Body.Facility
		}
		if err := w.Fleet.SetTarget(ctx, by, t); err != nil {
			return nil, fleetProblem(err)
		}
		return one(targetOf(t), 0), nil
	})
	drop := op("targetDrop", "DELETE", "/v1/alarm-targets/{id}", "Have somebody told no more")
	drop.DefaultStatus = http.StatusNoContent
	register(api, drop, func(ctx context.Context, r *byID) (*struct{}, error) {
		targets, err := w.Fleet.Book.Targets(ctx)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(targets, func(t fleet.Target) bool { return string(t.ID) == r.ID })
		if at < 0 {
			return nil, problemNoAlarm
		}
		by, err := w.at(ctx, access.FleetManage, targets[at].Place, problemNoAlarm)
		if err != nil {
			return nil, err
		}
		return nil, fleetProblem(w.Fleet.DropTarget(ctx, by, fleet.ID(r.ID)))
	})
	if w.Suppliers != nil {
		s.describeSuppliers(api, op)
	}
	if w.Read != nil {
		s.describeFiles(api, op)
	}
}

// describeSuppliers registers what is known of those who push readings.
func (s *server) describeSuppliers(api huma.API, op func(id, method, path, summary string, errors ...int) huma.Operation) {
	w := s.Watching
	whole := func(ctx context.Context, action access.Action) (string, error) {
		who := principal(ctx)
		if ok, _ := w.Policy.Allow(who, action, issuer.Place{Organisation: who.Organisation}); !ok {
			return "", problemDenied
		}
		return who.Organisation, nil
	}
	register(api, op("suppliers", "GET", "/v1/suppliers", "List who pushes readings"), func(ctx context.Context, _ *struct{}) (*listAnswer[SupplierSeen], error) {
		organisation, err := whole(ctx, access.FleetRead)
		if err != nil {
			return nil, err
		}
		all, err := w.Suppliers.List(ctx, organisation)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[SupplierSeen]{CacheControl: "no-store"}
		out.Body.Items = append([]SupplierSeen{}, all...)
		return out, nil
	})
	type byName struct {
		ID string `path:"id" maxLength:"100"`
	}
	type reportBody struct {
		Report *fleet.Conformance `json:"report" doc:"Every duty of DS01 that the receiving side can see, kept or not"`
		Plan   *PlanBody          `json:"plan,omitempty" doc:"Faults that it is to meet"`
		Met    int                `json:"met,omitempty" doc:"That it has met"`
	}
	register(api, op("supplierReport", "GET", "/v1/suppliers/{id}/report", "Tell how a supplier keeps its duties (WHO PQS E006/DS01 clause 5)"), func(ctx context.Context, r *byName) (*oneAnswer[reportBody], error) {
		organisation, err := whole(ctx, access.FleetRead)
		if err != nil {
			return nil, err
		}
		c, err := w.Suppliers.Report(ctx, organisation, r.ID, w.Fleet.Now())
		if err != nil {
			return nil, fleetProblem(err)
		}
		b := reportBody{Report: c}
		if p, met, ok := w.Suppliers.Planned(r.ID); ok {
			b.Plan, b.Met = &PlanBody{From: p.From, Until: p.Until}, met
			for _, f := range p.Faults {
				b.Plan.Faults = append(b.Plan.Faults, PlannedFault{f.Status, f.Wait, f.Close, f.Delay.Milliseconds()})
			}
		}
		return one(b, 0), nil
	})
	register(api, op("supplierMessages", "GET", "/v1/suppliers/{id}/messages", "List the messages of a supplier that are kept as they came, the oldest first"), func(ctx context.Context, r *struct {
		ID     string `path:"id" maxLength:"100"`
		Cursor string `query:"cursor" maxLength:"100"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	}) (*listAnswer[MessageKept], error) {
		organisation, err := whole(ctx, access.FleetManage)
		if err != nil {
			return nil, err
		}
		all, err := w.Suppliers.Messages(ctx, organisation, r.ID, r.Cursor, r.Limit)
		if err != nil {
			return nil, fleetProblem(err)
		}
		out := &listAnswer[MessageKept]{CacheControl: "no-store"}
		if out.Body.Items = append([]MessageKept{}, all...); len(all) == r.Limit {
			out.follow("/v1/suppliers/"+url.PathEscape(r.ID)+"/messages", all[len(all)-1].ID, "", r.Limit, nil)
		}
		return out, nil
	})
	type messageAnswer struct {
		CacheControl string `header:"Cache-Control"`
		ContentType  string `header:"Content-Type"`
		Disposition  string `header:"Content-Disposition"`
		Body         []byte
	}
	message := op("supplierMessage", "GET", "/v1/suppliers/{id}/messages/{message}", "Fetch a message as it came; the audit log has who did")
	message.Responses = map[string]*huma.Response{"200": {Description: "The bytes, whatever they are", Content: map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}}}
	register(api, message, func(ctx context.Context, r *struct {
		ID      string `path:"id" maxLength:"100"`
		Message string `path:"message" maxLength:"100"`
	}) (*messageAnswer, error) {
		organisation, err := whole(ctx, access.FleetManage)
		if err != nil {
			return nil, err
		}
		body, err := w.Suppliers.Message(ctx, fleet.Actor{ID: principal(ctx).ID, Within: fleet.Place{Organisation: organisation}}, r.ID, r.Message)
		if err != nil {
			return nil, fleetProblem(err)
		}
		// Whatever it says it is: it came from elsewhere, and no browser is to open it here.
		return &messageAnswer{"no-store", "application/octet-stream", "attachment", body}, nil
	})
	plan := op("supplierPlan", "PUT", "/v1/suppliers/{id}/faults", "Have a supplier meet faults, in an agreed time, to see what it does then")
	plan.DefaultStatus = http.StatusNoContent
	register(api, plan, func(ctx context.Context, r *struct {
		ID   string `path:"id" maxLength:"100"`
		Body PlanBody
	}) (*struct{}, error) {
		organisation, err := whole(ctx, access.FleetManage)
		if err != nil {
			return nil, err
		}
		p := fleet.Plan{Supplier: r.ID, From: r.Body.From, Until: r.Body.Until}
		for _, f := range r.Body.Faults {
			p.Faults = append(p.Faults, fleet.Fault{Status: f.Status, Wait: f.Wait, Close: f.Close, Delay: time.Duration(f.Delay) * time.Millisecond})
		}
		return nil, fleetProblem(w.Suppliers.Plan(ctx, organisation, p))
	})
	clear := op("supplierClear", "DELETE", "/v1/suppliers/{id}/faults", "Have it meet none")
	clear.DefaultStatus = http.StatusNoContent
	register(api, clear, func(ctx context.Context, r *byName) (*struct{}, error) {
		organisation, err := whole(ctx, access.FleetManage)
		if err != nil {
			return nil, err
		}
		return nil, fleetProblem(w.Suppliers.Clear(ctx, organisation, r.ID))
	})
}

// maxLoggerFile bounds a file of a logger: a year at a reading a minute has 20 MB in CSV.
const maxLoggerFile = 32 << 20

// describeFiles registers the import of files.
func (s *server) describeFiles(api huma.API, op func(id, method, path, summary string, errors ...int) huma.Operation) {
	w := s.Watching
	type importBody struct {
		FileAnswer
		Stored   int              `json:"stored"`
		Repeated int              `json:"repeated"`
		Refused  []format.Finding `json:"refused"`
		Findings []format.Finding `json:"findings" doc:"What is odd in the file"`
	}
	take := op("import", "POST", "/v1/imports", "Take a file of a logger; the same file again does no harm", 413, 507)
	take.MaxBodyBytes = maxLoggerFile
	take.BodyReadTimeout = jobUploadTime
	register(api, take, func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64"`
		Device   string `query:"device" maxLength:"100" doc:"scheme:value, where the file does not say it"`
		Zone     string `query:"zone" maxLength:"60" doc:"Of times without one: Africa/Kigali, or UTC"`
		Dates    string `query:"dates" enum:"dmy,mdy" doc:"Of dates that could be either"`
		Unit     string `query:"unit" enum:"C,F" doc:"Where the file does not say it"`
		Dry      bool   `query:"dry" doc:"Tell what is in it, and take nothing"`
		RawBody  []byte `contentType:"application/octet-stream"`
	}) (*oneAnswer[importBody], error) {
		by, err := w.by(ctx, access.ReadingsSend, r.Facility)
		if err != nil {
			return nil, err
		}
		q := FileQuestion{Dates: r.Dates, Unit: r.Unit}
		if r.Device != "" {
			if q.Device, err = device.ParseName(r.Device); err != nil {
				return nil, fleetProblem(err)
			}
		}
		if r.Zone != "" {
			if q.Zone, err = time.LoadLocation(r.Zone); err != nil {
				return nil, problemFleetOrder.with("zone: none of the tz database")
			}
		}
		d, about, err := w.Read(bytes.Clone(r.RawBody), q)
		if err != nil {
			return nil, problemFleetOrder.with(err.Error())
		}
		b := importBody{FileAnswer: *about, Refused: []format.Finding{}, Findings: []format.Finding{}}
		if d != nil {
			b.Findings = append(b.Findings, d.Findings...)
		}
		if r.Dry || len(about.Asks) > 0 || d == nil {
			return one(b, 0), nil
		}
		d.Source = fleet.Source{Supplier: by.ID, Level: device.LevelFile, Via: "file", Organisation: by.Within.Organisation, Facility: by.Within.Facility, Trusted: true}
		receipt, err := w.Fleet.Ingest(ctx, d)
		if err != nil {
			return nil, fleetProblem(err)
		}
		b.Stored, b.Repeated, b.Refused = receipt.Stored, receipt.Repeated, append(b.Refused, receipt.Refused...)
		return one(b, 0), nil
	})
}

// --- Live ---

// Live hands changes to those who look.
type Live struct {
	mu   sync.Mutex
	look map[chan fleet.Change]fleet.Place // guarded by mu
}

// Tell tells a change. Who is too slow misses it, and asks again for all.
func (l *Live) Tell(c fleet.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ch, at := range l.look {
		if !at.Holds(c.Place) {
			continue
		}
		select {
		case ch <- c:
		default:
		}
	}
}

// lookers bounds those who look at a time.
const lookers = 1000

func (l *Live) begin(at fleet.Place) (ch chan fleet.Change, end func(), ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.look) >= lookers {
		return nil, nil, false
	}
	if l.look == nil {
		l.look = make(map[chan fleet.Change]fleet.Place)
	}
	ch = make(chan fleet.Change, 256)
	l.look[ch] = at
	return ch, func() {
		l.mu.Lock()
		delete(l.look, ch)
		l.mu.Unlock()
	}, true
}

// liveEvery is how often a stream says that it is there: less than what proxies wait.
const (
	liveEvery = 20 * time.Second
	liveFor   = 30 * time.Minute // then the page asks again, and who asks is looked up anew
)

// live streams changes as server-sent events (HTML Living Standard section 9.2).
func (s *server) live(w *answer, r *http.Request) {
	by, err := s.Watching.by(r.Context(), access.FleetRead, r.URL.Query().Get("facility"))
	if err != nil {
		var p *problem
		if !errors.As(err, &p) {
			p = problemInternal
		}
		s.fail(w, r, p)
		return
	}
	changes, end, ok := s.Watching.Live.begin(by.Within)
	if !ok {
		s.fail(w, r, problemTooMany)
		return
	}
	defer end()
	control := http.NewResponseController(w)
	send := func(text string) bool {
		_ = control.SetWriteDeadline(time.Now().Add(pieceTime))
		if _, err := io.WriteString(w, text); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if !send("retry: 3000\n\n") {
		return
	}
	beat, over := time.NewTicker(liveEvery), time.NewTimer(liveFor)
	defer beat.Stop()
	defer over.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-over.C:
			return
		case <-beat.C:
			if !send(": here\n\n") {
				return
			}
		case c := <-changes:
			// Those that wait are one message: a page draws once.
			var b strings.Builder
			seen := map[fleet.Change]bool{}
			for more := true; more; {
				if !seen[c] {
					seen[c] = true
					kind := "readings"
					if c.Alarm != "" {
						kind = "alarm"
					}
					data, _ := json.Marshal(map[string]string{"equipment": string(c.Equipment), "alarm": string(c.Alarm)})
					fmt.Fprintf(&b, "event: %s\ndata: %s\n\n", kind, data)
				}
				select {
				case c = <-changes:
				default:
					more = false
				}
			}
			if !send(b.String()) {
				return
			}
		}
	}
}
