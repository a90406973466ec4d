package device

import (
	"errors"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	for text, want := range map[string]string{
		"dev-eui:00-80-E1-15-00-0A-BC-DE": "dev-eui:0080e115000abcde",
		"ble: C4:7C:8D:6A:11:22":          "ble:c47c8d6a1122",
		"rfid:04A2B3C4D5E680":             "rfid:04a2b3c4d5e680",
		"oid:2.25.1234":                   "oid:2.25.1234",
		"giai:4012345ABC/7":               "giai:4012345ABC/7",
		"serial:Berlinger/ 12 34 ":        "serial:Berlinger/ 12 34",
		"local:gw1/probe 3":               "local:gw1/probe 3",
	} {
		n, err := ParseName(text)
		if err != nil || n.String() != want {
			t.Errorf("%s: %s, %v; want %s", text, n, err, want)
			continue
		}
		if again, err := ParseName(n.String()); err != nil || again != n {
			t.Errorf("%s read again: %s, %v", n, again, err)
		}
	}
	for _, text := range []string{"", "x", "x:1", "dev-eui:0080e115000abcd", "dev-eui:0080e115000abcdg", "ble:c47c8d6a11", "rfid:123", "rfid:1234567", "oid:1", "giai:" + strings.Repeat("9", 31), "giai:ü", "serial:x", "serial:/1", "serial:x/", "serial:a/\n", "local:" + strings.Repeat("a", 79) + "/1", "giai: "} {
		if n, err := ParseName(text); !errors.Is(err, ErrName) {
			t.Errorf("%q is %s, %v", text, n, err)
		}
	}
}
