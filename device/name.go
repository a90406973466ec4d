package device

import (
	"fmt"
	"strings"

	"ampoule/format/oid"
)

// maxName bounds a value of a name, in bytes.
const maxName = 80

// separators stand between the bytes of a name in hexadecimal.
var separators = strings.NewReplacer(":", "", "-", "", " ", "")

// NewName brings a value to the form in which names are compared: hexadecimal in lower
// case and without separators, GIAI and serials as they are, without blanks around.
func NewName(scheme Scheme, value string) (Name, error) {
	refuse := func(why string) (Name, error) {
		return Name{}, fmt.Errorf("name of a device: %s: %w", why, ErrName)
	}
	value = strings.TrimSpace(value)
	if value == "" || len(value) > maxName {
		return refuse(fmt.Sprintf("%d bytes", len(value)))
	}
	for _, c := range value {
		if c <= ' ' && c != ' ' || c == 0x7f {
			return refuse("a control character")
		}
	}
	switch scheme {
	case DevEUI, BLE, RFID:
		value = strings.ToLower(separators.Replace(value))
		if strings.Trim(value, "0123456789abcdef") != "" {
			return refuse("not hexadecimal")
		}
		switch n := len(value); {
		case scheme == DevEUI && n != 16, scheme == BLE && n != 12, scheme == RFID && (n < 8 || n > 20 || n%2 != 0):
			return refuse(fmt.Sprintf("%d digits", n))
		}
	case OID:
		if _, err := oid.Parse(value); err != nil {
			return refuse("no object identifier")
		}
	case GIAI:
		// Up to 30 characters of GS1's set 82, of which a GS1 company prefix is the
		// beginning (General Specifications, AI 8004).
		if len(value) > 30 || strings.Trim(value, set82) != "" {
			return refuse("no GIAI")
		}
	case Serial, Local:
		maker, number, found := strings.Cut(value, "/")
		if !found || maker == "" || number == "" {
			return refuse("no maker before the slash, or nothing after it")
		}
	default:
		return refuse("no such scheme")
	}
	return Name{scheme, value}, nil
}

// set82 is the characters of GS1 AI encodable character set 82 (General Specifications
// section 7.11).
const set82 = `!"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz`
