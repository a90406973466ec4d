package state

import (
	"ampoule/format/cbor"
	"ampoule/format/oid"
)

// OID names whoever and whatever stands in the registry. In CBOR it is the byte string
// of RFC 9090, without the tag.
type OID = oid.OID

// ParseOID reads the dotted form.
func ParseOID(dotted string) (OID, error) { return oid.Parse(dotted) }

func appendOID(dst []byte, o OID) []byte {
	return append(cbor.AppendBytesHead(dst, len(o)), o...)
}
