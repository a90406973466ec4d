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
	id                  fleet.ID
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

// equip puts the stores and their loggers into the service, and the carrier's logger.
// The stores do not exist: see [simulation].
func (d *demo) equip(ctx context.Context, s *service) error {
	f := s.fleet.Fleet
	start := time.Now().Add(-demoDays*24*time.Hour).Unix() / demoEvery * demoEvery
	d.stores = demoStores()
	for i, x := range d.stores {
		terms, ok := coldchain.TermsOf(x.profile)
		if !ok {
			return fmt.Errorf("profile %s", x.profile)
		}
		e := &fleet.Equipment{
			Place: fleet.Place{Organisation: demoOrganisation, Facility: x.facility}, Name: x.name, Kind: x.kind, Maker: "Specimen", Model: "Demonstration", Serial: fmt.Sprintf("A-%03d", i+1),
			Latitude: &x.latitude, Longitude: &x.longitude, Silence: demoEvery, Lost: 24 * 3600,
		}
		if err := f.PutEquipment(ctx, fleetActor, e, terms); err != nil {
			return err
		}
		x.id = e.ID
		var err error
		if x.logger, err = device.NewName(device.Serial, fmt.Sprintf("Specimen/L-%03d", i+1)); err != nil {
			return err
		}
		l := &fleet.Device{Place: e.Place, Names: []device.Name{x.logger}, Maker: "Specimen", Model: "Logger", Supplier: fleetActor.ID}
		if err := f.Register(ctx, fleetActor, l); err != nil {
			return err
		}
		if _, err := f.Move(ctx, fleetActor, l.ID, "", e.ID, start); err != nil {
			return err
		}
		for _, fault := range x.faults {
			fault.At += start
			told := sceneFault{string(e.ID), x.name, time.Unix(fault.At, 0).UTC()}
			switch fault.Kind {
			case simulation.Freezing:
				d.scene.Freeze = told
			case simulation.PowerCut:
				d.scene.PowerCut = told
			}
			x.config.Faults = append(x.config.Faults, fault)
		}
		x.config.Start, x.config.Interval = start, demoEvery
		x.unit = simulation.New(uint64(i+1), x.config)
	}
	// The logger of the carrier stands in no store: events say what it went with.
	var err error
	d.carrier = &demoStore{config: simulation.Config{Kind: simulation.IceLined, Start: start, Interval: demoEvery}}
	d.carrier.unit = simulation.New(uint64(len(d.stores)+1), d.carrier.config)
	if d.carrier.logger, err = device.NewName(device.GIAI, demoLogger); err != nil {
		return err
	}
	l := &fleet.Device{
		Place: fleet.Place{Organisation: demoOrganisation, Facility: "carrier"}, Names: []device.Name{d.carrier.logger}, Maker: "Specimen", Model: "Shipment logger", Supplier: fleetActor.ID,
	}
	if err := f.Register(ctx, fleetActor, l); err != nil {
		return err
	}
	d.scene.Lot, d.scene.Shipper = demoPolioLot, l.ID.String()
	return nil
}

// demoLogger is the GIAI of the carrier's logger.
const demoLogger = "9521321LOGGER1"

var fleetActor = fleet.Actor{ID: "demonstration", Within: fleet.Place{Organisation: demoOrganisation}}

// readings puts a month of readings of the stores into the service, and goes on with
// them until ctx ends.
func (d *demo) readings(ctx context.Context, s *service) error {
	for _, x := range d.stores {
		if err := x.deliver(ctx, s.fleet.Fleet, fleetActor, demoDays*86400/demoEvery); err != nil {
			return err
		}
	}
	// The carrier's was on for the first three days, in which the pallets went: see [demo.stock].
	if err := d.carrier.deliver(ctx, s.fleet.Fleet, fleetActor, 3*86400/demoEvery); err != nil {
		return err
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
			for _, x := range d.stores {
				if err := x.deliver(ctx, s.fleet.Fleet, fleetActor, 1); err != nil && ctx.Err() == nil {
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
