package oid

import (
	"errors"
	"strings"
	"testing"
)

func TestOID(t *testing.T) {
	for _, dotted := range []string{"0.0", "1.39", "2.999.3", "2.25.329800735698586629295641978511506172918.4.1", "1.3.6.1.4.1.343"} {
		o, err := Parse(dotted)
		if err != nil {
			t.Fatal(err)
		}
		if o.String() != dotted {
			t.Errorf("%s comes back as %s", dotted, o)
		}
	}
	for _, dotted := range []string{"", "1", "3.1", "1.40", "1.-1", "1.01", "1.x", "1.2." + strings.Repeat("9", 60) + "999999999999999999999999999999999999999999999999", "1.2" + strings.Repeat(".0", 1<<20), strings.Repeat("9", 1<<20)} {
		if _, err := Parse(dotted); !errors.Is(err, Err) {
			t.Errorf("%.80s: %v", dotted, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("2.25.329800735698586629295641978511506172918.4.1")
	f.Fuzz(func(t *testing.T, dotted string) {
		o, err := Parse(dotted)
		if err != nil {
			return
		}
		if o.Check() != nil || o.String() != dotted {
			t.Errorf("%q comes back as %q", dotted, o)
		}
	})
}
