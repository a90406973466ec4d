package httpapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/device"
	"ampoule/format"
	"ampoule/internal/access"
	"ampoule/party/fleet"
	"ampoule/party/issuer"
)

// Why a row of a roster is not taken, beside what is wrong with the row itself.
const (
	rosterPlace     format.Defect = "other-place"
	rosterEquipment format.Defect = "no-such-equipment"
)

// RosterRow is what became of a row.
type RosterRow struct {
	Line   int      `json:"line"`
	Names  []string `json:"names"`
	ID     string   `json:"id,omitempty" doc:"Object identifier; of one that was taken"`
	Label  string   `json:"label,omitempty" doc:"The text for a QR code on its label, once: only its hash is kept"`
	Reason string   `json:"reason,omitempty" doc:"Why it is not taken"`
}

// describeRoster registers the enrolment of many.
func (s *server) describeRoster(api huma.API, op func(id, method, path, summary string, errors ...int) huma.Operation) {
	w := s.Watching
	type rosterBody struct {
		Dry      bool             `json:"dry"`
		Taken    int              `json:"taken" doc:"Of a dry run: that could be"`
		Rows     []RosterRow      `json:"rows"`
		Findings []format.Finding `json:"findings" doc:"Lines that cannot be read, by line and column"`
	}
	take := op("deviceRoster", "POST", "/v1/devices/roster", "Put the devices of a table into the registry, each with a code to claim it by", 413)
	take.MaxBodyBytes = device.MaxRoster
	take.BodyReadTimeout = jobUploadTime
	register(api, take, func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of rows that name none"`
		Supplier string `query:"supplier" maxLength:"100" doc:"The account that may speak for them"`
		Dry      bool   `query:"dry" doc:"Tell what would be taken, and take nothing"`
		RawBody  []byte `contentType:"text/csv"`
	}) (*oneAnswer[rosterBody], error) {
		by, err := w.by(ctx, access.FleetManage, r.Facility)
		if err != nil {
			return nil, err
		}
		listed, findings, err := device.ParseRoster(r.RawBody)
		if err != nil {
			return nil, problemFleetOrder.with(err.Error())
		}
		b := rosterBody{Dry: r.Dry, Rows: make([]RosterRow, 0, len(listed)), Findings: append([]format.Finding{}, findings...)}
		stores := make(map[fleet.Place][]fleet.Equipment)
		for i := range listed {
			one := &listed[i]
			row := RosterRow{Line: one.Line, Names: []string{}}
			for _, n := range one.Names {
				row.Names = append(row.Names, n.String())
			}
			d := &fleet.Device{Names: one.Names, Maker: one.Maker, Model: one.Model, PQS: one.PQS, Supplier: r.Supplier, Place: by.Within}
			if one.Facility != "" {
				d.Place.Facility = one.Facility
			}
			row.ID, row.Label, err = w.rosterRow(ctx, by, d, one.Equipment, stores, r.Dry)
			var defect format.Defect
			switch {
			case err == nil:
				b.Taken++
			case errors.As(err, &defect):
				row.Reason = string(defect)
			default:
				// Those before it are in the registry, and their codes must not be lost.
				s.log.Error("a row of a roster", "row", one.Line, "error", err.Error())
				row.Reason = "internal"
			}
			b.Rows = append(b.Rows, row)
		}
		return one(b, 0), nil
	})
}

// rosterRow puts the device of one row into the registry, and where it stands.
func (w *Watching) rosterRow(ctx context.Context, by fleet.Actor, d *fleet.Device, equipment string, stores map[fleet.Place][]fleet.Equipment, dry bool) (id, label string, err error) {
	if ok, _ := w.Policy.Allow(principal(ctx), access.FleetManage, issuer.Place(d.Place)); !ok {
		return "", "", rosterPlace
	}
	by.Within = d.Place
	for _, n := range d.Names {
		if _, err := w.Fleet.Book.DeviceNamed(ctx, n); err == nil {
			return "", "", fleet.ErrNameTaken
		} else if !errors.Is(err, fleet.ErrNoDevice) {
			return "", "", err
		}
	}
	var stands fleet.ID
	if equipment != "" {
		all, known := stores[d.Place]
		if !known {
			if all, err = w.Fleet.Book.EquipmentAt(ctx, d.Place); err != nil {
				return "", "", err
			}
			stores[d.Place] = all
		}
		// By its identifier, or by a name or serial number that only one has.
		found := 0
		for i := range all {
			e := &all[i]
			if string(e.ID) == equipment {
				stands, found = e.ID, 1
				break
			}
			if e.Retired.IsZero() && (e.Name == equipment || e.Serial != "" && e.Serial == equipment) {
				stands = e.ID
				found++
			}
		}
		if found != 1 {
			return "", "", rosterEquipment
		}
	}
	if dry {
		return "", "", nil
	}
	c, err := w.Fleet.NewClaim()
	if err != nil {
		return "", "", err
	}
	hash := c.Hash()
	d.Claim = hash[:]
	if err := w.Fleet.Register(ctx, by, d); err != nil {
		return "", "", err
	}
	if stands != "" {
		if _, err := w.Fleet.Move(ctx, by, d.ID, "", stands, w.Fleet.Now().Unix()); err != nil {
			return d.ID.String(), c.Label(), fmt.Errorf("taken, and in no equipment: %w", err)
		}
	}
	return d.ID.String(), c.Label(), nil
}
