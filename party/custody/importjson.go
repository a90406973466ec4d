package custody

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"ampoule/format"
	"ampoule/format/strictjson"
	"ampoule/thing"
)

// json reads what other systems give out, told apart by what stands at its top:
//
//	{"dataValues": […]}                   DHIS2, GET /api/dataValueSets
//	{"events": […]}, {"instances": […]}   DHIS2, GET /api/tracker/events
//	{"lineItems": […], "lot": {…}}        OpenLMIS, GET /api/stockCards/ID; or an array, or a page of them ("content")
//	{"data": {"stockLines": {"nodes": […]}}}   open mSupply, query stockLines of its GraphQL
func (r *stockReader) json(data []byte) error {
	v, err := strictjson.Parse([]byte(strings.TrimPrefix(string(data), "\ufeff")), strictjson.Limits{Bytes: MaxImport, Depth: 16})
	if err != nil {
		return err
	}
	array := func(v strictjson.Value) bool { return v.Kind() == strictjson.Array }
	switch nodes := v.Get("data").Get("stockLines").Get("nodes"); {
	case array(v.Get("dataValues")):
		r.dataValues(v)
	case array(v.Get("events")):
		return r.trackerEvents(v.Get("events"))
	case array(v.Get("instances")):
		return r.trackerEvents(v.Get("instances"))
	case array(nodes):
		r.stockLines(nodes)
	case array(v.Get("content")):
		return r.stockCards(v.Get("content"))
	case array(v.Get("lineItems")):
		r.stockCard(v, 0)
	case array(v):
		return r.stockCards(v)
	default:
		return ErrImport
	}
	return nil
}

// text is a member as a text, be it a text or a number.
func text(v strictjson.Value) string {
	if s, ok := v.Text(); ok {
		return s
	}
	if n, ok := v.Number(); ok {
		return n.String()
	}
	return ""
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// dataValues are counts of a period. What an element counts, the map says.
func (r *stockReader) dataValues(v strictjson.Value) {
	line := 0
	for value := range v.Get("dataValues").All() {
		line++
		if k := value.Get("deleted").Kind(); k == strictjson.True {
			continue
		}
		id := text(value.Get("dataElement"))
		e, ok := r.Elements[id+"."+text(value.Get("categoryOptionCombo"))]
		if !ok {
			e, ok = r.Elements[id]
		}
		if !ok {
			continue // a set has much that is no stock
		}
		period := or(text(value.Get("period")), text(v.Get("period")))
		last, ok := lastDay(period)
		if !ok {
			r.fault(line, "period", ErrPeriod)
			continue
		}
		r.take(told{
			line: line, kind: e.Kind, product: e.Product, lot: e.Lot, expiry: e.Expiry, facility: or(text(value.Get("orgUnit")), text(v.Get("orgUnit"))),
			quantity: text(value.Get("value")), day: last,
		})
	}
}

// lastDay is the last day of a period of DHIS2: 20261105, 2026W45, 202611, 2026Q4, 2026S2,
// 2026.
func lastDay(period string) (string, bool) {
	number := func(s string, least, most int) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && n >= least && n <= most && s[0] >= '0'
	}
	if len(period) < 4 || len(period) > 8 {
		return "", false
	}
	year, ok := number(period[:4], 1900, 9998)
	rest := period[4:]
	if !ok {
		return "", false
	}
	endOf := func(month int) (string, bool) {
		return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), true
	}
	switch {
	case rest == "":
		return endOf(12)
	case len(rest) == 4:
		day := period[:4] + "-" + rest[:2] + "-" + rest[2:]
		return day, format.IsDate(day)
	case rest[0] == 'W' && len(rest) > 1:
		week, ok := number(rest[1:], 1, 53)
		if !ok {
			return "", false
		}
		// ISO 8601: week 1 has the 4th of January.
		fourth := time.Date(year, 1, 4, 0, 0, 0, 0, time.UTC)
		sunday := fourth.AddDate(0, 0, (7-int(fourth.Weekday()))%7+7*(week-1))
		if y, w := sunday.ISOWeek(); y != year || w != week {
			return "", false
		}
		return sunday.Format(time.DateOnly), true
	case len(rest) == 2 && rest[0] == 'Q':
		quarter, ok := number(rest[1:], 1, 4)
		if !ok {
			return "", false
		}
		return endOf(3 * quarter)
	case len(rest) == 2 && rest[0] == 'S':
		half, ok := number(rest[1:], 1, 2)
		if !ok {
			return "", false
		}
		return endOf(6 * half)
	case len(rest) == 2:
		month, ok := number(rest, 1, 12)
		if !ok {
			return "", false
		}
		return endOf(month)
	}
	return "", false
}

// trackerEvents are events of a program stage. Those that are only planned tell nothing.
func (r *stockReader) trackerEvents(events strictjson.Value) error {
	t := r.Tracker
	if t == nil {
		return fmt.Errorf("the map has no tracker: %w", ErrImportMap)
	}
	line := 0
	for e := range events.All() {
		line++
		switch text(e.Get("status")) {
		case "", "ACTIVE", "COMPLETED", "VISITED":
		default: // SCHEDULE, OVERDUE, SKIPPED
			continue
		}
		if e.Get("deleted").Kind() == strictjson.True {
			continue
		}
		values := map[string]string{}
		for v := range e.Get("dataValues").All() {
			values[text(v.Get("dataElement"))] = text(v.Get("value"))
		}
		row := told{
			line: line, kind: StockCounted, lot: values[t.Lot], quantity: values[t.Quantity], facility: text(e.Get("orgUnit")), day: text(e.Get("occurredAt")), paper: text(e.Get("event")),
		}
		if t.Expiry != "" {
			row.expiry = values[t.Expiry]
		}
		row.product, _ = r.product(values[t.Product])
		if t.Kind != "" {
			row.kind = t.Kinds[values[t.Kind]]
		}
		r.take(row)
	}
	return nil
}

func (r *stockReader) stockCards(cards strictjson.Value) error {
	line := 0
	for card := range cards.All() {
		if card.Get("lineItems").Kind() != strictjson.Array {
			return ErrImport
		}
		line = r.stockCard(card, line)
	}
	return nil
}

// stockCard is what OpenLMIS keeps of one lot at one facility. After each line it says
// what is there: that is taken, and how it came to it is not told by numbers of one sign.
// Of several lines of a day the last counts.
func (r *stockReader) stockCard(card strictjson.Value, line int) int {
	code := text(card.Get("orderable").Get("productCode"))
	product, _ := r.product(code)
	if p, ok := r.Products[text(card.Get("orderable").Get("id"))]; ok {
		product = p
	}
	facility := card.Get("facility")
	at := text(facility.Get("code"))
	if _, ok := r.Locations[at]; !ok {
		at = or(text(facility.Get("id")), at)
	}
	lot := card.Get("lot")
	days := map[string]told{}
	var order []string
	for item := range card.Get("lineItems").All() {
		line++
		day := text(item.Get("occurredDate"))
		if _, there := days[day]; !there {
			order = append(order, day)
		}
		days[day] = told{
			line: line, kind: StockCounted, product: product, lot: text(lot.Get("lotCode")), expiry: text(lot.Get("expirationDate")),
			facility: at, quantity: text(item.Get("stockOnHand")), day: day,
		}
	}
	for _, day := range order {
		r.take(days[day])
	}
	return line
}

// stockLines are what open mSupply has in store now, in packs of some size. Their day is
// that of the map.
func (r *stockReader) stockLines(nodes strictjson.Value) {
	type shelf struct {
		product thing.Product
		lot, at string
	}
	line := 0
	sums := map[shelf]int64{}
	rows := map[shelf]told{}
	var order []shelf
	for node := range nodes.All() {
		line++
		product, _ := r.product(text(node.Get("item").Get("code")))
		packs, errPacks := strconv.ParseFloat(text(node.Get("totalNumberOfPacks")), 64)
		size, errSize := strconv.ParseFloat(text(node.Get("packSize")), 64)
		// Part of a pack is so many of its units, and those are whole.
		units := packs * size
		if errPacks != nil || errSize != nil || !(units >= 0 && units <= maxAmount) || units != float64(int64(units)) {
			r.fault(line, "quantity", format.BadValue)
			continue
		}
		t := told{line: line, kind: StockCounted, product: product, lot: text(node.Get("batch")), expiry: text(node.Get("expiryDate")), facility: text(node.Get("storeId"))}
		// One lot lies in several lines, by the size of its packs: together they are what is there.
		s := shelf{product: product, lot: t.lot, at: t.facility}
		if _, there := rows[s]; !there {
			order = append(order, s)
			rows[s] = t
		}
		sums[s] += int64(units)
	}
	for _, s := range order {
		t := rows[s]
		t.quantity = strconv.FormatInt(sums[s], 10)
		r.take(t)
	}
}
