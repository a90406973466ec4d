// Package statuslist reads and writes status lists: arrays of small values, one
// for each credential that an issuer has signed, which the credential points
// into by an index and the address of the list.
//
// Two specifications say nearly the same, and mean different bytes:
//
//	              Token Status List                Bitstring Status List
//	              draft-ietf-oauth-status-list-20  W3C v1.0
//	entry         1, 2, 4 or 8 bits                statusSize bits, 1 unless said otherwise
//	first entry   least significant bits           most significant bits
//	compression   zlib (RFC 1950)                  gzip (RFC 1952)
//	text          base64url, or CBOR bytes         multibase: u, then base64url
//	least         none                             131,072 entries
//
// There is one [Bitmap] and a codec for each. A [Token] is the signed form of the
// first, as JWT or CWT. A [Bitstring] is the subject of the credential that
// carries the second; the proof of that credential is not checked here.
package statuslist

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/adler32"
	"io"
	"strings"

	"ampoule/format/cbor"
	"ampoule/format/deflate"
	"ampoule/format/strictjson"

	fastzlib "github.com/klauspost/compress/zlib"
)

// StatusList is the claim of the same name (section 4).
//
//	{"bits": 1, "lst": "<base64url of zlib>", ? "aggregation_uri": "https://…"}
//	{"bits": 1, "lst": h'<zlib>',             ? "aggregation_uri": "https://…"}  ;; CBOR
type StatusList struct {
	*Bitmap
	AggregationURI string // where all lists of the issuer are named; or ""
}

// ParseStatusList reads the JSON form.
func ParseStatusList(data []byte) (StatusList, error) {
	v, err := strictjson.Parse(data, jsonLimits)
	if err != nil {
		return StatusList{}, fmt.Errorf("status list: %w", err)
	}
	return statusListFromJSON(v)
}

// jsonLimits hold a list of MaxBytes that does not compress at all.
var jsonLimits = strictjson.Limits{Bytes: MaxToken, Depth: 16}

func statusListFromJSON(v strictjson.Value) (StatusList, error) {
	bits, err := smallNumber(v.Get("bits"))
	if err != nil {
		return StatusList{}, fmt.Errorf("status list: bits: %w", err)
	}
	text, ok := v.Get("lst").Text()
	if !ok {
		return StatusList{}, fmt.Errorf("status list: lst: %w", ErrShape)
	}
	compressed, err := decodeBase64(text)
	if err != nil {
		return StatusList{}, fmt.Errorf("status list: lst: %w", err)
	}
	uri := ""
	if u := v.Get("aggregation_uri"); u.Exists() {
		if uri, ok = u.Text(); !ok {
			return StatusList{}, fmt.Errorf("status list: aggregation_uri: %w", ErrShape)
		}
	}
	return newStatusList(bits, compressed, uri)
}

// ParseStatusListCBOR reads the CBOR form.
func ParseStatusListCBOR(data []byte) (StatusList, error) {
	v, err := cbor.Parse(data, cbor.DefaultLimits)
	if err != nil {
		return StatusList{}, fmt.Errorf("status list: %w", err)
	}
	return statusListFromCBOR(v)
}

func statusListFromCBOR(v cbor.Value) (StatusList, error) {
	bits, ok := v.Get("bits").Int()
	lst, okList := v.Get("lst").Bytes()
	uri, okURI := v.Get("aggregation_uri").Text()
	if !ok || !okList || v.Get("aggregation_uri").Exists() && !okURI {
		return StatusList{}, fmt.Errorf("status list: %w", ErrShape)
	}
	return newStatusList(bits, lst, uri)
}

func newStatusList(bits int64, compressed []byte, uri string) (StatusList, error) {
	if bits < 1 || bits > 8 || !knownBits(int(bits)) { // before anything is inflated
		return StatusList{}, fmt.Errorf("status list: %d bits: %w", bits, ErrBits)
	}
	data, err := inflateZlib(compressed)
	if err != nil {
		return StatusList{}, fmt.Errorf("status list: %w", err)
	}
	b, err := bitmapOf(int(bits), data)
	return StatusList{b, uri}, err
}

// MarshalJSON writes the JSON form.
func (l StatusList) MarshalJSON() ([]byte, error) {
	lst, err := deflateZlib(l.data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Bits int    `json:"bits"`
		List string `json:"lst"`
		URI  string `json:"aggregation_uri,omitempty"`
	}{l.bits, base64.RawURLEncoding.EncodeToString(lst), l.AggregationURI})
}

// AppendCBOR appends the CBOR form, in deterministic order.
func (l StatusList) AppendCBOR(dst []byte) ([]byte, error) {
	lst, err := deflateZlib(l.data)
	if err != nil {
		return nil, err
	}
	n := 2
	if l.AggregationURI != "" {
		n = 3
	}
	dst = cbor.AppendMap(dst, n)
	dst = cbor.AppendBytes(cbor.AppendText(dst, "lst"), lst)
	dst = cbor.AppendInt(cbor.AppendText(dst, "bits"), int64(l.bits))
	if l.AggregationURI != "" {
		dst = cbor.AppendText(cbor.AppendText(dst, "aggregation_uri"), l.AggregationURI)
	}
	return dst, nil
}

// Reference is how a credential points to its status (section 6): the member
// status_list of its claim status, which in a CWT is label 65535.
type Reference struct {
	Index int64  `json:"idx"`
	URI   string `json:"uri"`
}

// maxURI bounds an address.
const maxURI = 2048

// ParseReference reads the claim status, {"status_list": {"idx": 0, "uri":
// "https://…"}}. A status of another mechanism alone is ErrNoReference.
func ParseReference(data []byte) (Reference, error) {
	v, err := strictjson.Parse(data, strictjson.Limits{Bytes: 64 << 10, Depth: 16})
	if err != nil {
		return Reference{}, fmt.Errorf("status: %w", err)
	}
	list := v.Get("status_list")
	if !list.Exists() {
		return Reference{}, fmt.Errorf("status: %w", ErrNoReference)
	}
	idx, err := smallNumber(list.Get("idx"))
	if err != nil {
		return Reference{}, fmt.Errorf("status: idx: %w", err)
	}
	uri, _ := list.Get("uri").Text()
	return Reference{idx, uri}.check()
}

// ReferenceFromCWT reads the claim status among the claims of a CWT.
func ReferenceFromCWT(claims cbor.Value) (Reference, error) {
	list := claims.GetInt(labelStatus).Get("status_list")
	if !list.Exists() {
		return Reference{}, fmt.Errorf("status: %w", ErrNoReference)
	}
	idx, ok := list.Get("idx").Int()
	if !ok {
		return Reference{}, fmt.Errorf("status: idx: %w", ErrShape)
	}
	uri, _ := list.Get("uri").Text()
	return Reference{idx, uri}.check()
}

func (r Reference) check() (Reference, error) {
	if r.Index < 0 || r.URI == "" || len(r.URI) > maxURI {
		return Reference{}, fmt.Errorf("status: idx and uri: %w", ErrShape)
	}
	return r, nil
}

// smallNumber reads a whole number that is not negative.
func smallNumber(v strictjson.Value) (int64, error) {
	number, ok := v.Number()
	if !ok {
		return 0, ErrShape
	}
	n, err := number.Int64()
	if err != nil || n < 0 {
		return 0, ErrShape
	}
	return n, nil
}

// inflateZlib decodes a zlib stream that fills data. RFC 1950 section 2.2: CM 8,
// CINFO at most 7, FCHECK makes the two bytes a multiple of 31; FDICT announces a
// dictionary, and there is none. Adler-32 stands at the end.
func inflateZlib(data []byte) ([]byte, error) {
	if len(data) < 6 || data[0]&0x0f != 8 || data[0]>>4 > 7 || binary.BigEndian.Uint16(data)%31 != 0 || data[1]&0x20 != 0 {
		return nil, fmt.Errorf("zlib: %w", ErrZlib)
	}
	end := len(data) - adler32.Size
	out, err := deflate.Inflate(data[2:end], MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("zlib: %w", err)
	}
	if adler32.Checksum(out) != binary.BigEndian.Uint32(data[end:]) {
		return nil, fmt.Errorf("zlib: %w", ErrChecksum)
	}
	return out, nil
}

// fast is from which size on lists are compressed by the faster library. The
// standard library's best makes a list a tenth smaller, which is fetched by every
// verifier and made once: in 0.2 s for 2^20 entries of one bit, in 9 to 40 s for
// 10^8.
const fast = 16 << 20

func deflateZlib(data []byte) ([]byte, error) {
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	if len(data) < fast {
		w, err = zlib.NewWriterLevel(&out, zlib.BestCompression)
	} else {
		w, err = fastzlib.NewWriterLevel(&out, fastzlib.BestCompression)
	}
	if err == nil {
		err = writeAll(w, data)
	}
	if err != nil {
		return nil, fmt.Errorf("zlib: %w", err)
	}
	return out.Bytes(), nil
}

func writeAll(w io.WriteCloser, data []byte) error {
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Close()
}

// decodeBase64 reads base64url without padding; the decoder itself would skip
// line breaks.
func decodeBase64(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, ErrEncoding
	}
	out, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, ErrEncoding
	}
	return out, nil
}
