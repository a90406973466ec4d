package chirpstack

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"ampoule/format/strictjson"
)

// Form is how a payload is laid out.
type Form string

// The forms.
const (
	LPP    Form = "cayenne-lpp" // channel, type, value: the types say their lengths
	Packed Form = "packed"      // readings of one sensor, see [AppendPacked]
	Fixed  Form = "fixed"       // fields at fixed places
	Object Form = "object"      // as the network server has decoded it
)

// Codec is a table that says what a device's payloads mean.
type Codec struct {
	Name string `json:"name"`
	// Port is for which port it is; 0: for any.
	Port   uint8   `json:"port,omitempty"`
	Form   Form    `json:"form"`
	Fields []Field `json:"fields,omitempty"` // of Fixed and Object
}

// Field is one value of a payload. What stands there becomes raw * Times / By + Plus,
// in the unit of the quantity (thousandths of a degree Celsius, of a percent …). The
// quantity "time" is the device's own, in seconds since 1970.
type Field struct {
	Sensor   string `json:"sensor"`
	Quantity string `json:"quantity"`

	At     int    `json:"at,omitempty"`     // of Fixed: its first byte, from 0
	Bytes  int    `json:"bytes,omitempty"`  // 1 to 4
	Signed bool   `json:"signed,omitempty"` // two's complement
	Little bool   `json:"little,omitempty"` // the least byte first
	None   *int64 `json:"none,omitempty"`   // the raw value that stands for no reading

	Path string `json:"path,omitempty"` // of Object: names with points between

	Times int64 `json:"times,omitempty"` // 0: 1
	By    int64 `json:"by,omitempty"`
	Plus  int64 `json:"plus,omitempty"`
}

// Measurement is one value that a payload has.
type Measurement struct {
	Sensor   string
	Quantity string
	At       int64 // seconds since 1970, by the device's clock; 0: it does not say
	Value    int32
}

const (
	quantityTime = "time"
	maxFields    = 64
	maxCodecs    = 1000
	maxCodecFile = 1 << 20
	// latest is the last second of the year 9999.
	latest = 253402300799
)

// ParseCodecs reads a list of codecs in JSON.
func ParseCodecs(data []byte) ([]Codec, error) {
	var all []Codec
	if err := strictjson.UnmarshalKnown(data, &all, strictjson.Limits{Bytes: maxCodecFile, Depth: 8}); err != nil {
		return nil, fmt.Errorf("codecs: %w", err)
	}
	if len(all) > maxCodecs {
		return nil, fmt.Errorf("codecs: %d: %w", len(all), ErrSize)
	}
	for i := range all {
		if err := all[i].check(); err != nil {
			return nil, fmt.Errorf("codec %d: %w", i, err)
		}
	}
	return all, nil
}

func (c *Codec) check() error {
	switch c.Form {
	case LPP, Packed:
		if len(c.Fields) > 0 {
			return fmt.Errorf("fields that are not asked for: %w", ErrCodec)
		}
		return nil
	case Fixed, Object:
	default:
		return fmt.Errorf("form %.20q: %w", c.Form, ErrCodec)
	}
	if len(c.Fields) == 0 || len(c.Fields) > maxFields {
		return fmt.Errorf("%d fields: %w", len(c.Fields), ErrCodec)
	}
	for i, f := range c.Fields {
		fixed := f.Bytes >= 1 && f.Bytes <= 4 && f.At >= 0 && f.At+f.Bytes <= maxPayload && f.Path == ""
		object := f.Path != "" && len(f.Path) <= maxText && f.Bytes == 0 && f.At == 0
		bound := func(n int64) bool { return n > -1_000_000_000 && n < 1_000_000_000 }
		if c.Form == Fixed && !fixed || c.Form == Object && !object || f.Quantity == "" || f.By < 0 || !bound(f.Times) || !bound(f.By) || !bound(f.Plus) {
			return fmt.Errorf("field %d: %w", i, ErrCodec)
		}
	}
	return nil
}

// Decode reads the payload of an uplink, or the object that the server made of it.
func (c *Codec) Decode(u *Uplink) ([]Measurement, error) {
	var out []Measurement
	var err error
	switch {
	case c.Port != 0 && c.Port != u.Port:
		return nil, fmt.Errorf("codec %.40q is for port %d, not %d: %w", c.Name, c.Port, u.Port, ErrCodec)
	case c.Form == LPP:
		out, err = DecodeLPP(u.Data)
	case c.Form == Packed:
		out, err = DecodePacked(u.Data)
	default:
		out, err = c.fields(u)
	}
	if err != nil {
		return nil, fmt.Errorf("codec %.40q: %w", c.Name, err)
	}
	return out, nil
}

func (c *Codec) fields(u *Uplink) (out []Measurement, err error) {
	at := int64(0)
	for i := range c.Fields {
		f := &c.Fields[i]
		raw, there, err := f.raw(u)
		if err != nil {
			return nil, fmt.Errorf("field %d: %w", i, err)
		}
		if !there {
			continue
		}
		times := f.Times
		if times == 0 {
			times = 1
		}
		v := math.Round(raw*float64(times)/float64(max(f.By, 1))) + float64(f.Plus)
		if f.Quantity == quantityTime {
			if !(v > 0 && v <= latest) {
				return nil, fmt.Errorf("field %d: %w", i, ErrRange)
			}
			at = int64(v)
			continue
		}
		if !(v >= math.MinInt32 && v <= math.MaxInt32) {
			return nil, fmt.Errorf("field %d: %w", i, ErrRange)
		}
		out = append(out, Measurement{Sensor: f.Sensor, Quantity: f.Quantity, Value: int32(v)})
	}
	for i := range out {
		out[i].At = at
	}
	return out, nil
}

// raw is what stands in a payload for a field; false: nothing.
func (f *Field) raw(u *Uplink) (float64, bool, error) {
	if f.Path != "" {
		v := u.Object
		for name := range strings.SplitSeq(f.Path, ".") {
			v = v.Get(name)
		}
		n, ok := v.Number()
		if !ok {
			return 0, false, nil
		}
		x, err := strconv.ParseFloat(n.String(), 64)
		if err != nil {
			return 0, false, ErrRange
		}
		return x, f.None == nil || x != float64(*f.None), nil
	}
	if len(u.Data) < f.At+f.Bytes {
		return 0, false, fmt.Errorf("a payload of %d bytes: %w", len(u.Data), ErrData)
	}
	n := whole(u.Data[f.At:f.At+f.Bytes], f.Signed, f.Little)
	return float64(n), f.None == nil || n != *f.None, nil
}

func whole(b []byte, signed, little bool) int64 {
	var n int64
	for i := range b {
		if little {
			n |= int64(b[i]) << (8 * i)
		} else {
			n = n<<8 | int64(b[i])
		}
	}
	if bits := 8 * len(b); signed && n&(1<<(bits-1)) != 0 {
		n -= 1 << bits
	}
	return n
}

// lppSize is how many bytes the types of Cayenne LPP have (IPSO object less 3200, as
// the Low Power Payload lists them, with those that libraries add).
var lppSize = map[byte]int{
	0: 1, 1: 1, 2: 2, 3: 2, 100: 4, 101: 2, 102: 1, 103: 2, 104: 1, 113: 6, 115: 2, 116: 2, 117: 2, 118: 4,
	120: 1, 121: 2, 125: 2, 128: 2, 130: 4, 131: 4, 132: 2, 133: 4, 134: 6, 135: 3, 136: 9, 142: 1,
}

// The types of which something is taken.
const (
	lppTemperature = 103 // 0.1 °C, signed
	lppHumidity    = 104 // 0.5 %
	lppTime        = 133 // seconds since 1970
)

// DecodeLPP reads a payload of Cayenne LPP: temperatures and humidities by channel,
// with the time of the device where it is there. Other types are passed over; one
// whose length is not known ends it with an error.
func DecodeLPP(data []byte) ([]Measurement, error) {
	var out []Measurement
	at := int64(0)
	for len(data) > 0 {
		if len(data) < 2 {
			return nil, fmt.Errorf("LPP: a byte alone: %w", ErrData)
		}
		channel, kind := data[0], data[1]
		size, known := lppSize[kind]
		if !known || len(data) < 2+size {
			return nil, fmt.Errorf("LPP: type %d with %d bytes: %w", kind, len(data)-2, ErrData)
		}
		value := data[2 : 2+size]
		data = data[2+size:]
		m := Measurement{Sensor: strconv.Itoa(int(channel))}
		switch kind {
		case lppTemperature:
			m.Quantity, m.Value = "temperature", int32(whole(value, true, false))*100
		case lppHumidity:
			m.Quantity, m.Value = "humidity", int32(value[0])*500
		case lppTime:
			at = whole(value, false, false)
			continue
		default:
			continue
		}
		out = append(out, m)
	}
	for i := range out {
		out[i].At = at
	}
	return out, nil
}

const (
	packedForm = 1
	packedHead = 10
	packedNone = -128
)

// AppendPacked appends temperatures of one sensor, hundredths of a degree at a time, in
// the fewest bytes that fit the small uplinks of LoRaWAN: 10 for the first, one for
// each more. It is false where they do not fit the form: other than whole hundredths,
// at another distance, or further apart than 1.27 °C.
//
//	form     uint8 = 1
//	sensor   uint8
//	start    uint32      time of the first, seconds since 1970, by the device's clock
//	interval uint16      seconds
//	first    int16       0.01 °C
//	more     int8 *      what each differs from the last that was there; -128: no reading
//
// Numbers have their most significant byte first.
func AppendPacked(dst []byte, sensor, interval int, readings []Measurement) ([]byte, bool) {
	if len(readings) == 0 || sensor < 0 || sensor > 255 || interval < 1 || interval > math.MaxUint16 {
		return dst, false
	}
	begin := len(dst)
	first := readings[0]
	if first.At < 0 || first.At > math.MaxUint32 || first.Value%10 != 0 || first.Value/10 != int32(int16(first.Value/10)) {
		return dst, false
	}
	b := binary.BigEndian.AppendUint32(append(dst, packedForm, byte(sensor)), uint32(first.At))
	b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, uint16(interval)), uint16(int16(first.Value/10)))
	at, value := first.At, first.Value
	for _, r := range readings[1:] {
		if r.Value%10 != 0 {
			return dst, false
		}
		gap := r.At - at
		if gap <= 0 || gap%int64(interval) != 0 || gap/int64(interval) > maxPayload {
			return dst, false
		}
		for range gap/int64(interval) - 1 {
			b = append(b, 0x80)
		}
		d := (int64(r.Value) - int64(value)) / 10
		if d <= packedNone || d > 127 {
			return dst, false
		}
		b = append(b, byte(int8(d)))
		at, value = r.At, r.Value
	}
	return b, len(b)-begin <= maxPayload
}

// DecodePacked reads what AppendPacked wrote.
func DecodePacked(data []byte) ([]Measurement, error) {
	if len(data) < packedHead || len(data) > maxPayload || data[0] != packedForm {
		return nil, fmt.Errorf("packed: %d bytes, or another form: %w", len(data), ErrData)
	}
	interval := int64(binary.BigEndian.Uint16(data[6:]))
	if interval == 0 {
		return nil, fmt.Errorf("packed: no interval: %w", ErrData)
	}
	m := Measurement{
		Sensor: strconv.Itoa(int(data[1])), Quantity: "temperature", At: int64(binary.BigEndian.Uint32(data[2:])),
		Value: int32(int16(binary.BigEndian.Uint16(data[8:]))) * 10,
	}
	out := []Measurement{m}
	for _, b := range data[packedHead:] {
		m.At += interval
		if int8(b) == packedNone {
			continue
		}
		m.Value += int32(int8(b)) * 10
		out = append(out, m)
	}
	return out, nil
}
