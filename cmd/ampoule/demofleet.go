package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"ampoule/coldchain"
	"ampoule/coldchain/simulation"
	"ampoule/device"
	"ampoule/party/fleet"
)

// demoStore is a piece of equipment of the demonstration, with what happens to it.
type demoStore struct {
	facility, name      string
	kind                fleet.Kind
	profile             string
	latitude, longitude float64
	config              simulation.Config
	faults              []simulation.Fault // At counts from the beginning of the month
	unit                *simulation.Unit
	logger              device.Name
}

// demoDays is how long the stores of the demonstration have been watched.
const demoDays = 30

const demoEvery = 600 // seconds between readings

func demoStores() []*demoStore {
	const hour, day = 3600, 86400
	return []*demoStore{
		{facility: "north-clinic", name: "North clinic, fridge 1", kind: fleet.Fridge, profile: "refrigerated", latitude: -1.95, longitude: 30.06, config: simulation.Config{Kind: simulation.IceLined}},
		{facility: "north-clinic", name: "North clinic, fridge 2", kind: fleet.Fridge, profile: "refrigerated", latitude: -1.95, longitude: 30.06, config: simulation.Config{Kind: simulation.Mains},
			faults: []simulation.Fault{{Kind: simulation.Freezing, At: 12*day + 2*hour, Seconds: 7 * hour}}},
		{facility: "south-clinic", name: "South clinic, fridge", kind: fleet.Fridge, profile: "refrigerated", latitude: -2.6, longitude: 29.74, config: simulation.Config{Kind: simulation.Mains, Ambient: 29},
			faults: []simulation.Fault{{Kind: simulation.PowerCut, At: 20 * day, Seconds: 26 * hour}}},
		{facility: "central-store", name: "Central store, cold room", kind: fleet.ColdRoom, profile: "refrigerated", latitude: -1.97, longitude: 30.1, config: simulation.Config{Kind: simulation.IceLined},
			faults: []simulation.Fault{{Kind: simulation.DoorOpen, At: 25*day + 9*hour, Seconds: 40 * 60}}},
		{facility: "central-store", name: "Central store, freezer", kind: fleet.Freezer, profile: "frozen", latitude: -1.97, longitude: 30.1, config: simulation.Config{Kind: simulation.Freezer}},
		{facility: "central-store", name: "Central store, ultra-cold", kind: fleet.UltraLow, profile: "ultra-cold", latitude: -1.97, longitude: 30.1, config: simulation.Config{Kind: simulation.UltraCold},
			faults: []simulation.Fault{{Kind: simulation.Gap, At: 28 * day, Seconds: 6 * hour}}},
	}
}

// coldChain puts a month of readings of a few stores into the service, and goes on with
// them until ctx ends. The stores do not exist: see [simulation].
func (d *demo) coldChain(ctx context.Context, s *service) error {
	f := s.fleet.Fleet
	by := fleet.Actor{ID: "demonstration", Within: fleet.Place{Organisation: demoOrganisation}}
	now := time.Now()
	start := now.Add(-demoDays*24*time.Hour).Unix() / demoEvery * demoEvery
	stores := demoStores()
	for i, x := range stores {
		terms, ok := coldchain.TermsOf(x.profile)
		if !ok {
			return fmt.Errorf("profile %s", x.profile)
		}
		e := &fleet.Equipment{
			Place: fleet.Place{Organisation: demoOrganisation, Facility: x.facility}, Name: x.name, Kind: x.kind, Maker: "Specimen", Model: "Demonstration", Serial: fmt.Sprintf("A-%03d", i+1),
			Latitude: &x.latitude, Longitude: &x.longitude, Silence: demoEvery, Lost: 24 * 3600,
		}
		if err := f.PutEquipment(ctx, by, e, terms); err != nil {
			return err
		}
		var err error
		if x.logger, err = device.NewName(device.Serial, fmt.Sprintf("Specimen/L-%03d", i+1)); err != nil {
			return err
		}
		l := &fleet.Device{Place: e.Place, Names: []device.Name{x.logger}, Maker: "Specimen", Model: "Logger", Supplier: by.ID}
		if err := f.Register(ctx, by, l); err != nil {
			return err
		}
		if _, err := f.Move(ctx, by, l.ID, "", e.ID, start); err != nil {
			return err
		}
		for _, fault := range x.faults {
			fault.At += start
			x.config.Faults = append(x.config.Faults, fault)
		}
		x.config.Start, x.config.Interval = start, demoEvery
		x.unit = simulation.New(uint64(i+1), x.config)
		if err := x.deliver(ctx, f, by, demoDays*86400/demoEvery); err != nil {
			return err
		}
	}
	go func() {
		tick := time.NewTicker(demoEvery * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, x := range stores {
				if err := x.deliver(ctx, f, by, 1); err != nil && ctx.Err() == nil {
					s.log.Error("a store of the demonstration fell silent", "error", err.Error())
					return
				}
			}
		}
	}()
	return nil
}

// deliver brings the next samples of a store.
func (x *demoStore) deliver(ctx context.Context, f *fleet.Fleet, by fleet.Actor, samples int) error {
	all := []fleet.Series{
		{Sensor: "TVC", Quantity: device.Temperature}, {Sensor: "TAMB", Quantity: device.Ambient},
		{Sensor: "DORV", Quantity: device.Door}, {Sensor: "CMPR", Quantity: device.Compressor}, {Sensor: "SVA", Quantity: device.Supply},
	}
	for range samples {
		v := x.unit.Next()
		if v.Missing {
			continue
		}
		for i, value := range []int32{int32(v.T), int32(v.Ambient), int32(v.Door), int32(v.Compressor), int32(v.Supply)} {
			if i == 0 && v.Has&coldchain.HasTemperature == 0 {
				continue
			}
			all[i].Readings = append(all[i].Readings, device.Reading{At: v.At, Value: value})
		}
	}
	for i := range all {
		all[i].Device, all[i].Interval = x.logger, demoEvery
	}
	all = slices.DeleteFunc(all, func(s fleet.Series) bool { return len(s.Readings) == 0 })
	if len(all) == 0 {
		return nil
	}
	_, err := f.Ingest(ctx, &fleet.Delivery{Source: fleet.Source{Supplier: by.ID, Level: device.LevelToken, Via: "demonstration"}, Series: all})
	return err
}
