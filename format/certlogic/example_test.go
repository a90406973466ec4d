package certlogic_test

import (
	"fmt"

	"ampoule/format/certlogic"
)

// Is the holder a minor? A year alone counts as its last day.
func ExampleExpr_Evaluate() {
	minor, err := certlogic.Parse([]byte(`{
		"after": [
			{"dccDateOfBirth": [{"var": "payload.dob"}]},
			{"plusTime": [{"var": "external.validationClock"}, -18, "year"]}
		]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(minor.Fields())
	for _, clock := range []string{"2022-12-30T12:00:00Z", "2022-12-31T00:00:00Z", "today"} {
		fmt.Println(minor.Evaluate(map[string]any{
			"payload":  map[string]any{"dob": "2004"},
			"external": map[string]any{"validationClock": clock},
		}))
	}
	// Output:
	// [external.validationClock payload.dob]
	// true <nil>
	// false <nil>
	// <nil> certlogic: after[1]: not-a-date-time
}
