package gs1

import (
	"errors"
	"strings"
	"testing"
)

func TestParseElements(t *testing.T) {
	const vial = "(01)09501101530003(17)290331(10)AB-123(21)0007"
	for _, tt := range []struct {
		name, text, want string
		err              error
	}{
		{name: "as people read it", text: vial, want: vial},
		{name: "a scanner's DataMatrix", text: "]d201095011015300031729033110AB-123\x1d210007", want: vial},
		{name: "a scanner's GS1-128", text: "]C101095011015300031729033110AB-123\x1d210007", want: vial},
		{name: "a scanner's QR Code", text: "]Q301095011015300031729033110AB-123\x1d210007", want: vial},
		{name: "^ for FNC1, also before the first", text: "^01095011015300031729033110AB-123^210007", want: vial},
		{name: "a separator that is not needed, and one at the end", text: "0109501101530003\x1d17290331\x1d10AB-123\x1d210007\x1d", want: vial},
		{name: "the same twice", text: "^010950110153000310AB-123^0109501101530003", want: "(01)09501101530003(10)AB-123"},
		{name: "a bracket in a value", text: `(01)09501101530003(10)A\(B)`, want: `(01)09501101530003(10)A\(B)`},
		{name: "an AI of four digits with its decimal point", text: "(01)09501101530003(3103)000195", want: "(01)09501101530003(3103)000195"},
		{name: "day zero", text: "(01)09501101530003(17)290200", want: "(01)09501101530003(17)290200"},
		{name: "a GMN", text: "(8013)1987654Ad4X4bL5ttr2310c2K", want: "(8013)1987654Ad4X4bL5ttr2310c2K"},
		{name: "an account", text: "(415)9501101530003(8020)1(8007)GB33BUKB20201555555555", want: "(415)9501101530003(8020)1(8007)GB33BUKB20201555555555"},
		{name: "countries", text: "(01)09501101530003(423)276756", want: "(01)09501101530003(423)276756"},
		{name: "two values of one AI", text: "^010950110153000310A^10B", err: ErrRepeated},
		{name: "too long", text: strings.Repeat("(01)09501101530003", 500), err: ErrTooLong},
		{name: "nothing", text: "", err: ErrEmpty},
		{name: "nothing but a symbology", text: "]d2", err: ErrEmpty},
		{name: "no AI", text: "(05)1", err: ErrUnknownAI},
		{name: "no AI begins so", text: "^05123", err: ErrUnknownAI},
		{name: "an AI that is cut off", text: "^800", err: ErrUnknownAI},
		{name: "too short", text: "^010950110153000", err: ErrLength},
		{name: "too long", text: "(01)09501101530003(10)123456789012345678901", err: ErrLength},
		{name: "no value", text: "(01)09501101530003(10)", err: ErrLength},
		{name: "two separators", text: "^010950110153000310A^^210007", err: ErrUnknownAI},
		{name: "a wrong check digit", text: "(01)09501101530004", err: ErrCheckDigit},
		{name: "a letter in digits", text: "(01)0950110153000A", err: ErrCharacter},
		{name: "a character outside set 82", text: "(01)09501101530003(10)A#1", err: ErrCharacter},
		{name: "a space", text: "(01)09501101530003(10)A 1", err: ErrCharacter},
		{name: "a small letter in set 39", text: "(8010)9501101a", err: ErrCharacter},
		{name: "no such month", text: "(01)09501101530003(17)291301", err: ErrDate},
		{name: "no such day", text: "(01)09501101530003(17)290230", err: ErrDate},
		{name: "day zero where there must be one", text: "(00)095011015300000010(4326)290200", err: ErrDate},
		{name: "no such time", text: "(01)09501101530003(7003)2903312460", err: ErrDate},
		{name: "no such country", text: "(01)09501101530003(422)999", err: ErrCode},
		{name: "no such currency", text: "(01)09501101530003(30)1(3932)00012", err: ErrCode},
		{name: "a company prefix of letters", text: "(8004)950AAA", err: ErrPrefix},
		{name: "a wrong pair", text: "(8013)1987654Ad4X4bL5ttr2310c2X", err: ErrCheckDigit},
		{name: "a wrong account", text: "(8007)GB33BUKB20201555555556", err: ErrCheckDigit},
		{name: "piece three of two", text: "(8006)095011015300030302", err: ErrValue},
		{name: "a serial that begins with zero", text: "(8010)95011011(8011)01", err: ErrValue},
		{name: "an escape that is none", text: "(00)095011015300000010(4300)A%2", err: ErrValue},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ParseElements(tt.text)
			if !errors.Is(err, tt.err) {
				t.Fatalf("%v, want %v", err, tt.err)
			}
			if got.String() != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
