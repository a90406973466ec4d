package cbor

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"strconv"
)

// AppendJSON appends the item as JSON, for people to read and for comparison
// (RFC 8949 section 6.1 gives advice, not a standard): integer keys become
// text, byte strings become "h'…'", tags are dropped around their content,
// undefined and numbers that JSON lacks become null. A key that is itself an
// array, a map or tagged becomes the hex of its encoding: as JSON within JSON it
// would double with every level of such keys.
func (v Value) AppendJSON(dst []byte) []byte {
	n := v.node()
	switch v.Kind() {
	case Uint:
		return strconv.AppendUint(dst, n.num, 10)
	case Negative:
		if n.num == math.MaxUint64 {
			return append(dst, "-18446744073709551616"...)
		}
		return strconv.AppendUint(append(dst, '-'), n.num+1, 10)
	case Bytes:
		return appendHex(dst, []byte(n.str))
	case Text:
		return appendJSONText(dst, n.str)
	case Array:
		dst = append(dst, '[')
		first := true
		for e := range v.Elements() {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = e.AppendJSON(dst)
		}
		return append(dst, ']')
	case Map:
		dst = append(dst, '{')
		first := true
		for k, val := range v.Pairs() {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			switch k.Kind() {
			case Text:
				dst = k.AppendJSON(dst)
			case Array, Map, Tag:
				dst = appendHex(dst, k.Encoded())
			default:
				dst = appendJSONText(dst, string(k.AppendJSON(nil)))
			}
			dst = val.AppendJSON(append(dst, ':'))
		}
		return append(dst, '}')
	case Tag:
		return v.Untagged().AppendJSON(dst)
	case Bool:
		return strconv.AppendBool(dst, n.num == 1)
	case Float:
		f := math.Float64frombits(n.num)
		if b, err := json.Marshal(f); err == nil {
			return append(dst, b...)
		}
	case Simple:
		return strconv.AppendUint(dst, n.num, 10)
	}
	return append(dst, "null"...)
}

func appendHex(dst, b []byte) []byte {
	return append(hex.AppendEncode(append(dst, `"h'`...), b), `'"`...)
}

// appendJSONText writes a string with its <, > and & as they are: names of the
// machine readable zone are full of the first.
func appendJSONText(dst []byte, s string) []byte {
	out := bytes.NewBuffer(dst)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil { // a string always encodes
		panic(err)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n"))
}
