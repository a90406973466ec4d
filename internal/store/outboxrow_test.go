package store

import (
	"testing"

	"ampoule/party/notary"
)

// FuzzOutboxRow: a row that the disk has changed is refused, or is an entry with a
// stage that has a name.
func FuzzOutboxRow(f *testing.F) {
	f.Add("fp.batch", make([]byte, 32), []byte(nil), int64(0), int64(1))
	f.Add("status.anchor", make([]byte, 32), make([]byte, 32), int64(3), int64(1))
	f.Add("status.anchor", make([]byte, 32), make([]byte, 31), int64(4), int64(-1))
	f.Add("fp.single", make([]byte, 32), make([]byte, 32), int64(5), int64(1))
	f.Fuzz(func(t *testing.T, kind string, about, digest []byte, stage, number int64) {
		e, err := scanEntry(func(to ...any) error {
			*to[0].(*int64), *to[2].(*string), *to[3].(*[]byte), *to[5].(*[]byte) = number, kind, about, digest
			*to[8].(*int64) = stage
			return nil
		})
		if err != nil {
			return
		}
		if e.Stage < notary.Waiting || e.Stage > notary.Refused || e.Stage.String() == "" {
			t.Errorf("stage %d", e.Stage)
		}
		if (e.Kind == "fp.batch") == (e.Kind == "status.anchor") {
			t.Errorf("kind %q", e.Kind)
		}
	})
}
