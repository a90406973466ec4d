package store

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"ampoule/device"
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

// Announced implements [fleet.Book].
func (f *Fleet) Announced(ctx context.Context, organisation, account string) (n int, err error) {
	// By pages: an organisation has few of them as a rule, and tens of thousands at worst.
	for after := []byte{}; ; {
		page, err := query(ctx, f.db, `SELECT `+deviceColumns+` FROM device d WHERE organisation = $1 AND state = $2 AND id > $3 ORDER BY id LIMIT $4`,
			[]any{organisation, string(device.Announced), after, int64(pairsPage)}, scanDevice)
		if err != nil {
			return 0, err
		}
		for i := range page {
			if page[i].Supplier == account {
				n++
			}
		}
		if len(page) < pairsPage {
			return n, nil
		}
		after = []byte(page[len(page)-1].ID)
	}
}

// Kept are messages of a source that are kept as they came, without their bodies, in the
// order in which they are deleted: so many after one of them, of which until and digest
// are given. size is that of each body.
func (f *Fleet) Kept(ctx context.Context, source string, until time.Time, digest [32]byte, limit int) (all []fleet.Raw, size []int64, err error) {
	if err := f.settle(); err != nil {
		return nil, nil, err
	}
	all, err = query(ctx, f.db, `SELECT digest, media, until, length(body) FROM raw WHERE supplier = $1 AND body IS NOT NULL AND (until > $2 OR until = $2 AND digest > $3) ORDER BY until, digest LIMIT $4`,
		[]any{source, unix(until), digest[:], int64(limit)}, func(s scan) (r fleet.Raw, err error) {
			var id []byte
			var until, n int64
			if err := s(&id, &r.Media, &until, &n); err != nil {
				return r, err
			}
			if len(id) != len(r.Digest) {
				return r, fmt.Errorf("store: message: %w", ErrDamaged)
			}
			copy(r.Digest[:], id)
			r.Until, r.Supplier, size = fromUnix(until), source, append(size, n)
			return r, nil
		})
	return all, size, err
}

// KeptBody is the body of one, or [fleet.ErrNoMessage].
func (f *Fleet) KeptBody(ctx context.Context, source string, digest [32]byte) ([]byte, error) {
	found, err := query(ctx, f.db, `SELECT body FROM raw WHERE digest = $1 AND supplier = $2 AND body IS NOT NULL`, []any{digest[:], source}, func(s scan) (body []byte, err error) {
		err = s(&body)
		return body, err
	})
	if err != nil || len(found) == 0 {
		return nil, cmp.Or(err, error(fleet.ErrNoMessage))
	}
	return found[0], nil
}

// Heard implements [fleet.Book].
func (f *Fleet) Heard(ctx context.Context, from, until device.ID) (map[device.ID]fleet.Heard, error) {
	all := make(map[device.ID]fleet.Heard)
	if err := f.settle(); err != nil { // what waits in the journal was heard too
		return nil, err
	}
	_, err := query(ctx, f.db, `SELECT device, max(heard), min(level) FROM (
			SELECT s.device, s.heard, (SELECT b.level FROM block b WHERE b.stream = s.n AND b.origin <> $3 ORDER BY b.last DESC LIMIT 1) AS level
			FROM stream s WHERE s.device >= $1 AND s.device <= $2 AND s.heard > 0) AS newest
		WHERE level IS NOT NULL GROUP BY device`,
		[]any{[]byte(from), []byte(until), int64(fleet.Forked)}, func(s scan) (struct{}, error) {
			var id []byte
			var heard, level int64
			err := s(&id, &heard, &level)
			all[device.ID(id)] = fleet.Heard{At: time.UnixMilli(heard).UTC(), Level: device.Level(level)}
			return struct{}{}, err
		})
	return all, err
}
