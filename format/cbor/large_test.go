//go:build !race

package cbor

import "testing"

// TestTooLarge refuses a gibibyte without reading or copying it, so that the
// memory it names is never really there. The race detector would touch it all.
func TestTooLarge(t *testing.T) {
	data := make([]byte, maxData+1)
	if n := allocated(func() { refused(t, data, DefaultLimits, ErrTooLarge) }); n > 16<<10 {
		t.Errorf("%d bytes allocated", n)
	}
}
