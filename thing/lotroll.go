package thing

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"ampoule/format"
	"ampoule/format/cbor"
	"ampoule/format/cose"
)

// A lot roll is many statements of one authority under one signature, so that those
// about 100,000 lots fit in a bundle. It is the payload of a COSE_Sign1 as
// [LotStatement] is, and a line of the same files. Each statement of it means what it
// means alone, and has the same identifier.
//
//	LotRoll = [
//	    type:       "ampoule lot roll",
//	    version:    1,
//	    role:       "manufacturer" / "regulator" / "participant",
//	    authority:  tstr,
//	    products:   [1* [code: tstr, system: tstr]],     ;; in the order in which they are named
//	    places:     [1* [country: tstr, centre: tstr]],  ;; likewise
//	    statements: [1*4096 [
//	        issued:    uint,              ;; seconds since 1970-01-01T00:00:00Z
//	        product:   uint,              ;; place in products
//	        lot:       tstr,
//	        place:     uint,              ;; place in places
//	        from:      day, until: day,
//	        part:      0 / 1,             ;; all, some
//	        value:     0..6,              ;; recalled, expires-on, heat, freeze, spoiled, no-concern, withdrawn
//	        expiry:    day,
//	        measured:  0..10000,
//	        withdraws: bstr .size (0 / 16)
//	    ]]
//	]
//	day = int / null                      ;; days since 1970-01-01
const (
	rollType    = "ampoule lot roll"
	rollVersion = 1
	maxRoll     = 1 << 20 // bytes of a signed roll
)

// MaxRoll bounds the statements of one roll.
const MaxRoll = 4096

// Each statement has 12 items, and may bring a product and a place of 3 each.
var rollLimits = cbor.Limits{Depth: 4, Items: 18*MaxRoll + 16, Pairs: 8}

// place is where a statement is about.
type place struct{ country, centre string }

// SignLotRoll makes the signed message of statements of one authority in one role.
func SignLotRoll(random io.Reader, signer crypto.Signer, kid []byte, statements []*LotStatement) ([]byte, error) {
	payload, err := encodeRoll(statements)
	if err != nil {
		return nil, err
	}
	return cose.Sign(random, signer, kid, payload)
}

func encodeRoll(statements []*LotStatement) ([]byte, error) {
	if len(statements) == 0 || len(statements) > MaxRoll {
		return nil, fmt.Errorf("lot roll: %d statements, and 1 to %d fit: %w", len(statements), MaxRoll, ErrTooMany)
	}
	var products []Product
	var places []place
	productAt, placeAt := map[Product]int{}, map[place]int{}
	for _, s := range statements {
		if err := s.Check(); err != nil {
			return nil, err
		}
		if s.Role != statements[0].Role || s.Authority != statements[0].Authority {
			return nil, fmt.Errorf("lot roll: of %s and of %s: %w", statements[0].Authority, s.Authority, ErrField)
		}
		if _, ok := productAt[s.Product]; !ok {
			productAt[s.Product] = len(products)
			products = append(products, s.Product)
		}
		at := place{s.Country, s.Centre}
		if _, ok := placeAt[at]; !ok {
			placeAt[at] = len(places)
			places = append(places, at)
		}
	}
	b := cbor.AppendText(cbor.AppendArray(nil, 7), rollType)
	b = cbor.AppendText(cbor.AppendInt(b, rollVersion), string(statements[0].Role))
	b = cbor.AppendArray(cbor.AppendText(b, statements[0].Authority), len(products))
	for _, p := range products {
		b = cbor.AppendText(cbor.AppendText(cbor.AppendArray(b, 2), p.Code), p.System)
	}
	b = cbor.AppendArray(b, len(places))
	for _, p := range places {
		b = cbor.AppendText(cbor.AppendText(cbor.AppendArray(b, 2), p.country), p.centre)
	}
	b = cbor.AppendArray(b, len(statements))
	for _, s := range statements {
		b = cbor.AppendInt(cbor.AppendArray(b, 11), s.Issued.Unix())
		b = cbor.AppendInt(b, int64(productAt[s.Product]))
		b = cbor.AppendInt(cbor.AppendText(b, s.Lot), int64(placeAt[place{s.Country, s.Centre}]))
		b = appendDay(appendDay(b, s.From), s.Until)
		b = cbor.AppendInt(b, int64(slices.Index(parts, s.Part)))
		b = cbor.AppendInt(b, int64(slices.Index(values, s.Value)))
		b = cbor.AppendInt(appendDay(b, s.Expiry), int64(s.Measured))
		if s.Withdraws == (StatementID{}) {
			b = cbor.AppendBytes(b, nil)
		} else {
			b = cbor.AppendBytes(b, s.Withdraws[:])
		}
	}
	return b, nil
}

const secondsOfDay = 24 * 60 * 60

func appendDay(b []byte, day string) []byte {
	if day == "" {
		return cbor.AppendNull(b)
	}
	t, _ := time.Parse(time.DateOnly, day) // it was checked
	return cbor.AppendInt(b, t.Unix()/secondsOfDay)
}

// decodeRoll reads a payload whose type is known, as strictly as a statement is read.
func decodeRoll(payload []byte, v cbor.Value) ([]*LotStatement, error) {
	bad := func(what string) error { return fmt.Errorf("lot roll: %s: %w", what, ErrField) }
	if version, ok := v.Index(1).Int(); !ok || version != rollVersion {
		return nil, fmt.Errorf("lot roll: %w", ErrVersion)
	}
	role, ok2 := v.Index(2).Text()
	authority, ok3 := v.Index(3).Text()
	if v.Len() != 7 || !ok2 || !ok3 {
		return nil, bad("its head")
	}
	products, ok := textPairs(v.Index(4))
	if !ok {
		return nil, bad("its products")
	}
	places, ok := textPairs(v.Index(5))
	if !ok {
		return nil, bad("its places")
	}
	if v.Index(6).Kind() != cbor.Array {
		return nil, bad("its statements")
	}
	statements := make([]*LotStatement, 0, v.Index(6).Len())
	for e := range v.Index(6).Elements() {
		s := &LotStatement{Role: Role(role), Authority: authority}
		r := fields{v: e, ok: e.Kind() == cbor.Array && e.Len() == 11}
		s.Issued = time.Unix(r.number(maxTime+1), 0).UTC()
		product := r.number(len(products))
		s.Lot = r.text()
		at := r.number(len(places))
		s.From, s.Until = r.day(), r.day()
		part, value := r.number(len(parts)), r.number(len(values))
		s.Expiry, s.Measured = r.day(), int(r.number(wholePath+1))
		r.id(&s.Withdraws)
		if !r.ok {
			return nil, bad(fmt.Sprintf("statement %d", len(statements)))
		}
		s.Product = Product{products[product][0], products[product][1]}
		s.Country, s.Centre = places[at][0], places[at][1]
		s.Part, s.Value = parts[part], values[value]
		statements = append(statements, s)
	}
	again, err := encodeRoll(statements) // which checks them, too
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, payload) {
		return nil, fmt.Errorf("lot roll: %w", ErrEncoding)
	}
	return statements, nil
}

// textPairs reads an array of pairs of texts.
func textPairs(v cbor.Value) (pairs [][2]string, ok bool) {
	if v.Kind() != cbor.Array {
		return nil, false
	}
	for e := range v.Elements() {
		a, ok0 := e.Index(0).Text()
		b, ok1 := e.Index(1).Text()
		if !ok0 || !ok1 || e.Kind() != cbor.Array || e.Len() != 2 {
			return nil, false
		}
		pairs = append(pairs, [2]string{a, b})
	}
	return pairs, true
}

// fields reads the elements of an array one after the other. ok tells that all were of
// their kind.
type fields struct {
	v  cbor.Value
	n  int
	ok bool
}

func (r *fields) next() cbor.Value {
	v := r.v.Index(r.n)
	r.n++
	return v
}

// number reads one from 0 to below an end, and returns 0 where there is none.
func (r *fields) number(end int) int64 {
	n, ok := r.next().Int()
	if !ok || n < 0 || n >= int64(end) {
		r.ok = false
		return 0
	}
	return n
}

func (r *fields) text() string {
	s, ok := r.next().Text()
	r.ok = r.ok && ok
	return s
}

func (r *fields) day() string {
	v := r.next()
	if v.Kind() == cbor.Null {
		return ""
	}
	n, ok := v.Int()
	if !ok || n < math.MinInt32 || n > maxTime/secondsOfDay {
		r.ok = false
		return ""
	}
	day := time.Unix(n*secondsOfDay, 0).UTC().Format(time.DateOnly)
	r.ok = r.ok && format.IsDate(day)
	return day
}

func (r *fields) id(into *StatementID) {
	b, ok := r.next().Bytes()
	r.ok = r.ok && ok && (len(b) == 0 || len(b) == len(into))
	copy(into[:], b)
}

// idOf names a statement by what it says alone.
func idOf(payload []byte) (id StatementID) {
	sum := sha256.Sum256(payload)
	copy(id[:], sum[:])
	return id
}
