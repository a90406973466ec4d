// Package interop runs vectors from outside against Ampoule: the data that
// specifications, member states and other projects publish, with the results
// they expect. Nothing imports it.
//
// The vectors are read from the folder that AMPOULE_VECTORS names (default
// ../shared/vectors, relative to the module); where there is none the tests say
// so and are skipped. Any folder of the same layout can be run. Every case ends
// as agree, disagree or not applicable; a case that does not agree must be
// covered by a rule, and docs/interop.md gives the reason for each rule.
//
//	go test ./interop -table
package interop
