package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ampoule/internal/mqttapi"
	"ampoule/party/fleet"
)

var _ mqttapi.Sessions = (*Fleet)(nil)

// Load implements [mqttapi.Sessions].
func (f *Fleet) Load(ctx context.Context) ([]mqttapi.Session, error) {
	return query(ctx, f.db, `SELECT id, version, expiry, subscribed FROM session_mqtt ORDER BY id`, nil, func(s scan) (x mqttapi.Session, err error) {
		var version, expiry, subscribed int64
		err = s(&x.ID, &version, &expiry, &subscribed)
		x.Version, x.Expiry, x.Subscribed = byte(version), uint32(expiry), subscribed != 0
		return x, err
	})
}

// Save implements [mqttapi.Sessions].
func (f *Fleet) Save(ctx context.Context, x mqttapi.Session) error {
	subscribed := int64(0)
	if x.Subscribed {
		subscribed = 1
	}
	return f.db.writeAll(ctx, stmt{
		sql: `INSERT INTO session_mqtt (id, version, expiry, subscribed) VALUES ($1, $2, $3, $4)
			ON CONFLICT (id) DO UPDATE SET version = excluded.version, expiry = excluded.expiry, subscribed = excluded.subscribed`,
		args: []any{x.ID, int64(x.Version), int64(x.Expiry), subscribed},
	})
}

// Drop implements [mqttapi.Sessions].
func (f *Fleet) Drop(ctx context.Context, id string) error {
	return f.db.writeAll(ctx, stmt{sql: `DELETE FROM session_mqtt WHERE id = $1`, args: []any{id}})
}

// Bounds of what is kept of a supplier.
const (
	transmissionsKept = 90 * 24 * time.Hour
	transmissionsMost = 50_000 // that a report rests on
)

// Saw keeps what was seen of a transmission.
func (f *Fleet) Saw(ctx context.Context, organisation string, t *fleet.Transmission) error {
	content, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return f.db.write(ctx, func(x tx) error {
		var n int64
		if err := x.row(`SELECT coalesce(max(n), 0) + 1 FROM transmission`, nil, &n); err != nil {
			return err
		}
		return x.all(
			stmt{sql: `INSERT INTO transmission (n, organisation, supplier, received, content) VALUES ($1, $2, $3, $4, $5)`, args: []any{n, organisation, t.Supplier, unix(t.Received), content}},
			stmt{sql: `DELETE FROM transmission WHERE received < $1`, args: []any{unix(t.Received.Add(-transmissionsKept))}})
	})
}

// Seen is who has pushed readings.
type Seen struct {
	Supplier string
	Last     time.Time
	Count    int64
}

// SuppliersSeen lists those of an organisation.
func (f *Fleet) SuppliersSeen(ctx context.Context, organisation string) ([]Seen, error) {
	return query(ctx, f.db, `SELECT supplier, max(received), count(*) FROM transmission WHERE supplier > '' AND organisation = $1 GROUP BY supplier ORDER BY supplier`, []any{organisation}, func(s scan) (x Seen, err error) {
		var last int64
		err = s(&x.Supplier, &last, &x.Count)
		x.Last = fromUnix(last)
		return x, err
	})
}

// Transmissions are those of a supplier, in the order in which they came: the newest of
// them.
func (f *Fleet) Transmissions(ctx context.Context, organisation, supplier string) ([]fleet.Transmission, error) {
	all, err := query(ctx, f.db, `SELECT content FROM (SELECT n, content FROM transmission WHERE supplier = $1 AND organisation = $2 ORDER BY n DESC LIMIT $3) AS newest ORDER BY n`, []any{supplier, organisation, int64(transmissionsMost)}, func(s scan) (t fleet.Transmission, err error) {
		var content []byte
		if err := s(&content); err != nil {
			return t, err
		}
		if err := json.Unmarshal(content, &t); err != nil {
			return t, fmt.Errorf("store: transmission: %w", errors.Join(err, ErrDamaged))
		}
		return t, nil
	})
	return all, err
}

// EquipmentAfter implements [fleet.Book].
func (f *Fleet) EquipmentAfter(ctx context.Context, at fleet.Place, after fleet.ID, limit int) ([]fleet.Equipment, error) {
	where, args := placed(at)
	args = append(args, string(after), int64(limit))
	return query(ctx, f.db, fmt.Sprintf(`SELECT %s FROM equipment%s AND id > $%d ORDER BY id LIMIT $%d`, equipmentColumns, where, len(args)-1, len(args)), args, scanEquipment)
}

// StandingIn implements [fleet.Book].
func (f *Fleet) StandingIn(ctx context.Context, from, until fleet.ID) ([]fleet.Alarm, error) {
	return query(ctx, f.db, `SELECT `+alarmColumns+alarmTables+` WHERE a.equipment >= $1 AND a.equipment <= $2 AND a.state = $3 ORDER BY a.id DESC`, []any{string(from), string(until), string(fleet.Standing)}, scanAlarm)
}
