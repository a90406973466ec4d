package gs1_test

import (
	"fmt"

	"ampoule/format/gs1"
)

// A vial's code, as a scanner sends it, and what events and resolvers call the vial.
func Example() {
	es, err := gs1.ParseElements("]d201095011015300031729033110AB-123\x1d210007")
	if err != nil {
		panic(err)
	}
	expiry, err := gs1.Date(es.Get("17"), 2026)
	if err != nil {
		panic(err)
	}
	link, err := gs1.NewDigitalLink(es, "")
	if err != nil {
		panic(err)
	}
	// The maker says that its company prefix has seven digits.
	urn, err := link.Key.Finest().URN(7)
	if err != nil {
		panic(err)
	}
	fmt.Println(es)
	fmt.Println(expiry)
	fmt.Println(link)
	fmt.Println(link.Compress())
	fmt.Println(urn)
	// Output:
	// (01)09501101530003(17)290331(10)AB-123(21)0007
	// 2029-03-31
	// https://id.gs1.org/01/09501101530003/10/AB-123/21/0007?17=290331
	// https://id.gs1.org/GhFIS5A3JswAP2u26Nw2iAAO
	// urn:epc:id:sgtin:9501101.053000.0007
}
