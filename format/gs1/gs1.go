// Package gs1 reads and writes the identifiers that the supply chain prints and
// sends: element strings of bar codes (GS1 General Specifications), GS1 Digital Link
// URIs, plain and compressed, EPC URNs (EPC Tag Data Standard), and which
// [Key] each of them names.
//
//	(01)09501101530003(17)290331(10)AB-123(21)0007       element string, as people read it
//	]d201095011015300031729033110AB-123<GS>210007         the same from a scanner
//	https://id.gs1.org/01/09501101530003/10/AB-123/21/0007?17=290331
//	urn:epc:id:sgtin:9501101.053000.0007
//
// The lists and rules are those of the General Specifications; what one element
// string asks of the others is asked by [Elements.Check], since those of one thing may
// stand in several symbols. A company prefix has no length of its own: whoever wants an
// EPC URN gives it ([Key.URN]), and it is never guessed.
package gs1

import "ampoule/format"

// The kinds of defect.
const (
	ErrTooLong    = format.Defect("gs1-too-long")
	ErrEmpty      = format.Defect("gs1-empty")
	ErrUnknownAI  = format.Defect("gs1-unknown-ai")      // not in the table
	ErrLength     = format.Defect("gs1-length")          // too few or too many characters
	ErrCharacter  = format.Defect("gs1-character")       // one outside the character set
	ErrCheckDigit = format.Defect("gs1-check-digit")     // or the pair of check characters
	ErrDate       = format.Defect("gs1-date")            // no such day or time
	ErrCode       = format.Defect("gs1-code")            // of a country, a currency, …
	ErrValue      = format.Defect("gs1-value")           // another rule of one AI
	ErrPrefix     = format.Defect("gs1-company-prefix")  // where one must stand, or of such a length
	ErrRequired   = format.Defect("gs1-required-ai")     // another AI must be there
	ErrExclusive  = format.Defect("gs1-exclusive-ai")    // another AI must not be there
	ErrRepeated   = format.Defect("gs1-repeated-ai")     // twice, with different values
	ErrURI        = format.Defect("digital-link-uri")    // no URI of http or https
	ErrNoKey      = format.Defect("digital-link-no-key") // nothing in the path identifies
	ErrQualifier  = format.Defect("digital-link-qualifier")
	ErrAttribute  = format.Defect("digital-link-attribute")
	ErrCompressed = format.Defect("digital-link-compressed")
	ErrURN        = format.Defect("epc-urn")
	ErrScheme     = format.Defect("epc-scheme") // of no key of GS1, or unknown
	ErrNoURN      = format.Defect("no-epc-urn") // a key, or its qualifiers, that EPC URNs cannot say
)

// The bounds of what is read.
const (
	// MaxElements is the length of a text of element strings: a GS1 DataMatrix holds
	// 3116 digits, and brackets are counted besides.
	MaxElements = 8192
	// MaxURI is the length of a Digital Link.
	MaxURI = 4096
	maxAIs = 128
)
