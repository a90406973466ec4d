package fleet

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"ampoule/device"
	"ampoule/format"
	"ampoule/format/senml"
)

// What keeps a record of a pack from being taken.
const (
	ErrNoTime   format.Defect = "no-time"
	ErrUnit     format.Defect = "unit-unknown" // the path ends in it
	ErrNoValue  format.Defect = "no-number"    // readings are numbers
	ErrNothing  format.Defect = "nothing-measured"
	ErrMedia    format.Defect = "media-type-unknown"
	ErrQuantity format.Defect = "quantity-unknown" // seconds, of what the name does not say
)

// units are the units of SenML (RFC 8428 section 12.1, RFC 8798) that are kept, with
// the numbers that turn them into whole ones.
var units = map[string]struct {
	quantity device.Quantity // "": the sensor's name says which
	plus, by float64
}{
	"Cel": {device.Temperature, 0, 1000},
	"K":   {device.Temperature, -273.15, 1000},
	"%RH": {device.Humidity, 0, 1000},
	"EL":  {device.Battery, 0, 1000.0 / 86400}, // seconds that the battery lasts
	"s":   {"", 0, 1},
	"ms":  {"", 0, 0.001},
	"min": {"", 0, 60},
}

// FromSenML reads a pack (RFC 8428), in JSON or CBOR as media says.
//
// The name of a record, base name and name together, names device and sensor. A device
// stands as
//
//	urn:dev:mac:0024befffe804ff1    EUI-64, as dev-eui (RFC 9039 section 4.1)
//	urn:dev:ow:10e2073a01080063     1-Wire, as serial:1-wire/…  (4.2)
//	urn:dev:os:32473-1234           serial:PEN32473/1234, by enterprise number (4.4)
//	urn:dev:ops:32473-product-1234  serial:PEN32473/product-1234 (4.5)
//	urn:dev:org:32473-1234          as os (4.3)
//	urn:oid:1.3.6.1.4.1.32473.1     oid (RFC 3061)
//	fridge7                         local to who sends
//
// and the sensor after it, behind a slash, a colon or an underscore. A name without
// any of these is a sensor of the device that sends.
//
// received is the time of receipt, from which records without a time of their own
// count (section 4.5.3); zero: those are refused, as for all but a device that is
// known to have no clock.
func FromSenML(source Source, media string, body []byte, received time.Time) (*Delivery, error) {
	var pack []senml.Record
	var err error
	// With now = 0 what has no time of its own stays below 2^28.
	switch media {
	case senml.JSONType:
		pack, err = senml.ParseJSON(body, 0)
	case senml.CBORType:
		pack, err = senml.ParseCBOR(body, 0)
	default:
		err = ErrMedia
	}
	if err != nil {
		return nil, err
	}
	d := &Delivery{Source: source, Raw: body, Media: media}
	all := newStreams()
	for i := range pack {
		if err := all.measured(source, &pack[i], received); err != nil {
			path := fmt.Sprintf("[%d]", i)
			if errors.Is(err, ErrUnit) {
				path += fmt.Sprintf(".u %.20q", pack[i].Unit)
			}
			d.Findings = append(d.Findings, format.Finding{Path: path, Reason: format.Defect(format.Reason(err, string(format.BadValue)))})
		}
	}
	if d.Series = all.series(0); len(d.Series) == 0 {
		// All of it is refused, most likely for one reason.
		if len(d.Findings) > 0 {
			return nil, fmt.Errorf("senml: %s: %w", d.Findings[0].Path, d.Findings[0].Reason)
		}
		return nil, fmt.Errorf("senml: %w", ErrNothing)
	}
	return d, nil
}

// measured takes one record.
func (s *streams) measured(source Source, r *senml.Record, received time.Time) error {
	of, sensor, err := named(source, r.Name)
	if err != nil {
		return err
	}
	unit, known := units[r.Unit]
	switch {
	case !known:
		return ErrUnit
	case r.Value == nil:
		return ErrNoValue
	}
	q := unit.quantity
	if q == "" {
		if q = timed(sensor); q == "" {
			return ErrQuantity
		}
	}
	at := r.Time
	if at < 1<<28 {
		if received.IsZero() {
			return ErrNoTime
		}
		at += float64(received.Unix())
	}
	if at < 0 || at > 1<<40 {
		return format.BadDate
	}
	if !s.add(of, sensor, q, int64(math.Floor(at)), (*r.Value+unit.plus)*unit.by) {
		return format.BadValue
	}
	return nil
}

// timed says what a sensor counts the seconds of, by its name: as DS01 has it, or the
// quantity itself.
func timed(sensor string) device.Quantity {
	for _, q := range []device.Quantity{device.Door, device.Compressor, device.Supply} {
		if strings.EqualFold(sensor, string(q)) {
			return q
		}
	}
	if m, ok := measures[sensor]; ok && m.by == 1 {
		return m.quantity
	}
	return ""
}

// unnamed is the sensor of a record that names a device alone.
const unnamed = "1"

// named takes the name of a record apart.
func named(source Source, name string) (device.Name, string, error) {
	urn, isURN := strings.CutPrefix(name, "urn:")
	if !isURN {
		from := source.Supplier
		if from == "" && source.Device != "" {
			from = source.Device.String()
		}
		gateway, sensor, found := strings.Cut(name, "/")
		switch {
		case found && from != "":
			n, err := device.NewName(device.Local, from+"/"+gateway)
			return n, sensorOr(sensor), err
		case !found && source.Device != "":
			n, err := device.NewName(device.OID, source.Device.String())
			return n, name, err
		}
		return device.Name{}, "", ErrNoName
	}
	if id, is := strings.CutPrefix(urn, "oid:"); is {
		id, sensor := cutSensor(id, "0123456789.")
		n, err := device.NewName(device.OID, id)
		return n, sensor, err
	}
	kind, rest, _ := strings.Cut(strings.TrimPrefix(urn, "dev:"), ":")
	if !strings.HasPrefix(urn, "dev:") {
		return device.Name{}, "", ErrNoName
	}
	const hexadecimal, text = "0123456789abcdefABCDEF", "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-"
	scheme, alphabet, maker := device.Serial, text, ""
	switch kind {
	case "mac":
		scheme, alphabet = device.DevEUI, hexadecimal
	case "ow":
		alphabet, maker = hexadecimal, "1-wire/"
	case "os", "ops", "org":
		var pen string
		pen, rest, _ = strings.Cut(rest, "-")
		maker = "PEN" + pen + "/"
		if pen == "" || strings.Trim(pen, "0123456789") != "" {
			return device.Name{}, "", ErrNoName
		}
	default:
		return device.Name{}, "", ErrNoName
	}
	id, sensor := cutSensor(rest, alphabet)
	if kind == "ow" {
		id = strings.ToLower(id)
	}
	n, err := device.NewName(scheme, maker+id)
	return n, sensor, err
}

// cutSensor parts the identifier, which has the characters of an alphabet, from the
// sensor after it.
func cutSensor(text, alphabet string) (id, sensor string) {
	rest := strings.TrimLeft(text, alphabet)
	return text[:len(text)-len(rest)], sensorOr(strings.TrimLeft(rest, "/:_"))
}

func sensorOr(sensor string) string {
	if sensor == "" {
		return unnamed
	}
	return sensor
}
