package fleet

import (
	"ampoule/device"
	"ampoule/format"
	"ampoule/format/loggerfile"
)

// FromFile makes a delivery of what is in a logger's file. name is the device's, where the
// file does not say it: without one there is no delivery. What a file has of whole days
// alone is no reading, and stays in the file.
func FromFile(f *loggerfile.File, raw []byte, media string, name device.Name) (*Delivery, error) {
	var err error
	if name == (device.Name{}) {
		if f.Maker == "" || f.Serial == "" {
			return nil, ErrNoName
		}
		if name, err = device.NewName(device.Serial, f.Maker+"/"+f.Serial); err != nil {
			return nil, err
		}
	}
	d := &Delivery{
		Source: Source{Via: "file"}, Raw: raw, Media: media, Findings: append([]format.Finding{}, f.Findings...),
		Describes: []Description{{Device: name, Maker: f.Maker, Model: f.Model}},
	}
	for _, s := range f.Series {
		one := Series{Device: name, Sensor: s.Sensor, Interval: s.Interval, Readings: make([]device.Reading, len(s.Readings))}
		switch s.Quantity {
		case loggerfile.Temperature:
			one.Quantity = device.Temperature
		case loggerfile.Humidity:
			one.Quantity = device.Humidity
		default:
			continue
		}
		for i, r := range s.Readings {
			one.Readings[i] = device.Reading(r)
		}
		d.Series = append(d.Series, one)
	}
	return d, nil
}
