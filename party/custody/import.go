package custody

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"ampoule/format"
	"ampoule/format/epcis"
	"ampoule/format/gs1"
	"ampoule/format/strictjson"
	"ampoule/thing"
	"ampoule/thing/trail"
)

// Stock that programmes keep elsewhere comes in as events, named by their content: the
// same file once more does no harm.

// StockKind is what a row of an import tells.
type StockKind string

// The kinds.
const (
	StockCounted  StockKind = "stock" // so much is there
	StockReceived StockKind = "received"
	StockIssued   StockKind = "issued" // to another place
	StockGiven    StockKind = "given"  // to people
	StockWasted   StockKind = "wasted"
)

// StockRow is one row of what a programme keeps of its stock.
type StockRow struct {
	Line    int // of the file, or the number of the record, from 1
	Kind    StockKind
	Product thing.Product
	Lot     string
	Expiry  string // YYYY-MM-DD; "": not told
	Place   string // by [trail.Name]
	Other   string // from where it was received, or to where it was issued; "": not told
	Amount  int64
	At      time.Time
	Paper   string // of a movement; "": none
}

// StockFault is why a row is not taken.
type StockFault struct {
	Line   int           `json:"line"`
	Field  string        `json:"field,omitempty"`
	Reason format.Defect `json:"reason"`
}

// The defects of imports.
const (
	ErrImport      format.Defect = "bad-stock-file" // in none of the forms that are read
	ErrImportMap   format.Defect = "bad-stock-map"
	ErrImportSize  format.Defect = "too-many-stock-rows"
	ErrHeader      format.Defect = "unknown-column"
	ErrColumnTwice format.Defect = "column-twice"
	ErrNotMapped   format.Defect = "not-in-the-map"
	ErrSameRow     format.Defect = "same-as-another-row" // a movement that cannot be told from another
	ErrSameCount   format.Defect = "two-counts-of-one-time"
	ErrPeriod      format.Defect = "bad-period"
)

// The bounds of an import.
const (
	MaxImport     = 16 << 20 // bytes
	maxImportCell = 1 << 10
	maxAmount     = 1 << 40
)

// StockMap says what the names of another system mean here. The operator keeps it.
type StockMap struct {
	// Products are those of the other system's codes: of items, orderables, options.
	Products map[string]thing.Product `json:"products,omitempty"`
	// System is the code system of product codes that are not in Products; "": such are
	// refused.
	System string `json:"system,omitempty"`
	// Locations are the URIs of the other system's facilities, org units, stores.
	Locations map[string]string `json:"locations,omitempty"`
	// Location is where rows are that name no facility; "": such are refused.
	Location string `json:"location,omitempty"`
	// At is the day of rows that have none, such as a list of what is there now.
	At string `json:"at,omitempty"`
	// Zone is the time zone in which days begin; "": UTC.
	Zone string `json:"zone,omitempty"`
	// Elements are data elements of DHIS2: ID, or ID.CATEGORYOPTIONCOMBO. Such a value says
	// neither what it counts nor of which lot.
	Elements map[string]StockElement `json:"elements,omitempty"`
	// Tracker says which data elements of a DHIS2 event have what.
	Tracker *StockTracker `json:"tracker,omitempty"`

	zone *time.Location
}

// StockElement is what a data element counts.
type StockElement struct {
	Product thing.Product `json:"product"`
	Lot     string        `json:"lot"`
	Expiry  string        `json:"expiry,omitempty"`
	Kind    StockKind     `json:"kind"`
}

// StockTracker names data elements of one program stage. Kinds are the options of the
// one that says what happened.
type StockTracker struct {
	Product  string               `json:"product"`
	Lot      string               `json:"lot"`
	Expiry   string               `json:"expiry,omitempty"`
	Quantity string               `json:"quantity"`
	Kind     string               `json:"kind,omitempty"` // "": all are stock
	Kinds    map[string]StockKind `json:"kinds,omitempty"`
}

// ParseStockMap reads a map. Members that are not known are refused.
func ParseStockMap(data []byte) (*StockMap, error) {
	m := &StockMap{zone: time.UTC}
	if len(data) == 0 {
		return m, nil
	}
	bad := func(field string) (*StockMap, error) {
		return nil, fmt.Errorf("map of stock: %s: %w", field, ErrImportMap)
	}
	if err := strictjson.UnmarshalKnown(data, m, strictjson.Limits{Bytes: 4 << 20}); err != nil {
		return nil, fmt.Errorf("map of stock: %w", err)
	}
	for code, p := range m.Products {
		if p.Code == "" || p.System == "" {
			return bad("products." + format.Visible(code))
		}
	}
	for name, uri := range m.Locations {
		if !strings.Contains(uri, ":") {
			return bad("locations." + format.Visible(name))
		}
	}
	if m.Location != "" && !strings.Contains(m.Location, ":") {
		return bad("location")
	}
	if m.At != "" && !format.IsDate(m.At) {
		return bad("at")
	}
	for id, e := range m.Elements {
		if e.Product.Code == "" || e.Product.System == "" || thing.NormalLot(e.Lot) == "" || !e.Kind.known() || e.Expiry != "" && !format.IsDate(e.Expiry) {
			return bad("elements." + format.Visible(id))
		}
	}
	if t := m.Tracker; t != nil {
		if t.Product == "" || t.Lot == "" || t.Quantity == "" {
			return bad("tracker")
		}
		for option, kind := range t.Kinds {
			if !kind.known() {
				return bad("tracker.kinds." + format.Visible(option))
			}
		}
	}
	if m.Zone != "" {
		var err error
		if m.zone, err = time.LoadLocation(m.Zone); err != nil || m.Zone == "Local" {
			return bad("zone")
		}
	}
	return m, nil
}

func (k StockKind) known() bool {
	return slices.Contains([]StockKind{StockCounted, StockReceived, StockIssued, StockGiven, StockWasted}, k)
}

// hours are when in the day something happened of which only the day is told: what was
// received can be issued on the same day, and a count is of its end.
var hours = map[StockKind]int{StockReceived: 8, StockIssued: 12, StockGiven: 12, StockWasted: 16, StockCounted: 20}

// when is the time of a day, or of a moment as ISO 8601 has it.
func (m *StockMap) when(text string, kind StockKind) (time.Time, bool) {
	if text == "" {
		text = m.At
	}
	if format.IsDate(text) {
		day, err := time.ParseInLocation(time.DateOnly, text, m.zone)
		return day.Add(time.Duration(hours[kind]) * time.Hour), err == nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999999"} {
		if at, err := time.ParseInLocation(layout, text, m.zone); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

func (m *StockMap) product(code string) (thing.Product, bool) {
	if p, ok := m.Products[code]; ok {
		return p, true
	}
	return thing.Product{Code: code, System: m.System}, m.System != "" && code != ""
}

func (m *StockMap) location(name string) (string, bool) {
	if name == "" {
		return trail.Name(m.Location), m.Location != ""
	}
	if uri, ok := m.Locations[name]; ok {
		return trail.Name(uri), true
	}
	// A table may have the URIs themselves.
	return trail.Name(name), strings.HasPrefix(name, "https://") || strings.HasPrefix(name, "urn:")
}

// stockReader gathers rows and what is wrong with others.
type stockReader struct {
	*StockMap
	n      int // rows that were told
	rows   []StockRow
	faults []StockFault
}

func (r *stockReader) fault(line int, field string, reason format.Defect) {
	if len(r.faults) < epcis.MaxFindings {
		r.faults = append(r.faults, StockFault{line, field, reason})
	}
}

// told is a row as a file has it.
type told struct {
	line                                               int
	kind                                               StockKind
	product                                            thing.Product
	lot, expiry, facility, other, quantity, day, paper string
}

// take checks what was told, and adds it.
func (r *stockReader) take(t told) {
	if r.n++; r.n > epcis.MaxEvents {
		return
	}
	row := StockRow{Line: t.line, Kind: t.kind, Product: t.product, Lot: strings.TrimSpace(t.lot), Paper: t.paper}
	ok := true
	check := func(good bool, field string, reason format.Defect) {
		if ok && !good {
			r.fault(t.line, field, reason)
			ok = false
		}
	}
	check(t.kind.known(), "kind", format.BadCode)
	check(t.product.Code != "" && t.product.System != "", "product", ErrNotMapped)
	check(thing.NormalLot(row.Lot) != "" && len(row.Lot) <= 64 && !format.Suspicious(row.Lot), "lot", ErrLot)
	if t.expiry != "" {
		if len(t.expiry) > 10 && t.expiry[10] == 'T' {
			t.expiry = t.expiry[:10]
		}
		row.Expiry = t.expiry
		check(format.IsDate(row.Expiry), "expiry", format.BadDate)
	}
	var good bool
	row.Place, good = r.location(t.facility)
	check(good, "facility", ErrNotMapped)
	if t.other != "" {
		row.Other, good = r.location(t.other)
		check(good, "other", ErrNotMapped)
	}
	amount, err := strconv.ParseInt(strings.TrimSuffix(t.quantity, ".0"), 10, 64)
	row.Amount = amount
	check(err == nil && amount >= 0 && amount <= maxAmount && (amount > 0 || t.kind == StockCounted), "quantity", format.BadValue)
	row.At, good = r.when(t.day, t.kind)
	check(good, "date", format.BadDate)
	if ok {
		r.rows = append(r.rows, row)
	}
}

// ReadStock reads a file of stock: a table, or what DHIS2, OpenLMIS or open mSupply give
// out. An error is about the whole file.
func ReadStock(data []byte, m *StockMap) (rows []StockRow, faults []StockFault, err error) {
	if len(data) > MaxImport {
		return nil, nil, fmt.Errorf("import of stock: more than %d MiB: %w", MaxImport>>20, ErrImportSize)
	}
	r := &stockReader{StockMap: m}
	if first := strings.TrimLeft(strings.TrimPrefix(string(data[:min(len(data), 64)]), "\ufeff"), " \t\r\n"); strings.HasPrefix(first, "{") || strings.HasPrefix(first, "[") {
		err = r.json(data)
	} else {
		err = r.table(data)
	}
	if err == nil {
		err = r.apart()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("import of stock: %w", err)
	}
	return r.rows, r.faults, nil
}

// apart refuses what cannot be told from another row: a movement that is there twice
// would be one event, and of two counts of one time one is wrong.
func (r *stockReader) apart() error {
	if r.n > epcis.MaxEvents {
		return fmt.Errorf("more than %d rows: %w", epcis.MaxEvents, ErrImportSize)
	}
	type subject struct {
		kind                    StockKind
		lot, place, paper, from string
		amount, at              int64
	}
	seen := map[subject]int64{}
	r.rows = slices.DeleteFunc(r.rows, func(row StockRow) bool {
		s := subject{row.Kind, trail.LotName(row.Product.System, row.Product.Code, row.Lot), row.Place, row.Paper, row.Other, row.Amount, row.At.UnixMilli()}
		if row.Kind == StockCounted {
			s.amount, s.paper, s.from = 0, "", ""
		}
		before, twice := seen[s]
		switch {
		case !twice:
			seen[s] = row.Amount
		case row.Kind != StockCounted:
			r.fault(row.Line, "", ErrSameRow)
		case before != row.Amount:
			r.fault(row.Line, "quantity", ErrSameCount)
		}
		return twice
	})
	slices.SortStableFunc(r.faults, func(a, b StockFault) int { return a.Line - b.Line })
	return nil
}

// --- Tables ---

// stockColumns are the columns of a table, with the names that they may have, in English,
// French, Spanish and Portuguese.
var stockColumns = []struct{ name, aliases string }{
	{"kind", "event,event type,transaction,transaction type,type,mouvement,movimiento,movimento"},
	{"product", "product code,item code,code,vaccine,produit,code produit,producto,codigo producto,produto,codigo produto"},
	{"system", "product system,code system"},
	{"gtin", "ean,barcode"},
	{"lot", "lot number,batch,batch number,numero de lot,lote,numero de lote"},
	{"expiry", "expiry date,expiration,expiration date,date d'expiration,date de peremption,fecha de vencimiento,caducidad,validade,data de validade"},
	{"facility", "facility code,location,store,org unit,site,etablissement,formation sanitaire,establecimiento,unidade sanitaria"},
	{"other", "other facility,source,destination,from,to,supplier,origine,origen,origem,destino"},
	{"quantity", "qty,amount,units,stock on hand,quantite,cantidad,quantidade"},
	{"date", "day,event date,occurred date,fecha,data"},
	{"paper", "document,document number,reference,invoice,transaction number,bordereau"},
}

var stockKinds = map[string]StockKind{
	"stock": StockCounted, "count": StockCounted, "stocktake": StockCounted, "physicalinventory": StockCounted, "inventaire": StockCounted, "inventario": StockCounted,
	"received": StockReceived, "receipt": StockReceived, "recu": StockReceived, "recibido": StockReceived, "recebido": StockReceived,
	"issued": StockIssued, "issue": StockIssued, "sorti": StockIssued, "entregado": StockIssued, "emitido": StockIssued,
	"given": StockGiven, "used": StockGiven, "administered": StockGiven, "administre": StockGiven, "administrado": StockGiven,
	"wasted": StockWasted, "loss": StockWasted, "discarded": StockWasted, "perdu": StockWasted, "perdido": StockWasted,
}

// columnKey makes one text of the spellings of a name: case, accents and what stands
// between words do not count.
func columnKey(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, norm.NFD.String(s))
}

var stockColumnOf = func() map[string]string {
	out := map[string]string{}
	for _, c := range stockColumns {
		for _, alias := range append(strings.Split(c.aliases, ","), c.name) {
			out[columnKey(alias)] = c.name
		}
	}
	return out
}()

// table reads a CSV file with a header, its cells parted by comma, semicolon or
// tabulator. Columns that are not known are refused: one that is passed over would be
// missed by nobody.
func (r *stockReader) table(data []byte) error {
	text := strings.TrimPrefix(string(data), "\ufeff")
	if !isText(text) {
		return ErrImport
	}
	header, _, _ := strings.Cut(text, "\n")
	c := csv.NewReader(strings.NewReader(text))
	for _, separator := range []rune{';', '\t', ','} {
		if strings.ContainsRune(header, separator) {
			c.Comma = separator
			break
		}
	}
	c.FieldsPerRecord, c.ReuseRecord = -1, true
	names, err := c.Read()
	if err != nil {
		return ErrImport
	}
	columns := make([]string, len(names))
	for i, name := range names {
		at, known := stockColumnOf[columnKey(name)]
		switch {
		case strings.TrimSpace(name) == "": // its cells must be empty
		case !known:
			return fmt.Errorf("column %d, %q: %w", i+1, format.Visible(name), ErrHeader)
		case slices.Contains(columns[:i], at):
			return fmt.Errorf("column %d, %s: %w", i+1, at, ErrColumnTwice)
		}
		columns[i] = at
	}
	for _, need := range []string{"lot", "quantity"} {
		if !slices.Contains(columns, need) {
			return fmt.Errorf("there is no column %s: %w", need, ErrImport)
		}
	}
	for {
		cells, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return fmt.Errorf("line %d: %w", parse.Line, ErrImport)
		}
		if err != nil {
			return err
		}
		line, _ := c.FieldPos(0)
		r.row(line, columns, cells)
	}
}

func isText(s string) bool {
	return format.NFC(s) != "" && !strings.ContainsRune(s, 0) && strings.ToValidUTF8(s, "") == s
}

func (r *stockReader) row(line int, columns, cells []string) {
	get := map[string]string{}
	for i, cell := range cells {
		cell = strings.TrimSpace(cell)
		switch {
		case len(cell) > maxImportCell:
			r.fault(line, "", format.TooLong)
			return
		case cell == "":
		case i >= len(columns) || columns[i] == "":
			r.fault(line, "", format.NotCarried)
			return
		default:
			get[columns[i]] = cell
		}
	}
	if len(get) == 0 {
		return
	}
	t := told{
		line: line, kind: StockCounted, lot: get["lot"], expiry: get["expiry"], facility: get["facility"], other: get["other"],
		quantity: get["quantity"], day: get["date"], paper: get["paper"],
	}
	if get["kind"] != "" {
		t.kind = stockKinds[columnKey(get["kind"])]
	}
	switch {
	case get["gtin"] != "":
		t.product = thing.Product{Code: get["gtin"], System: gs1.GTINSystem}
	case get["system"] != "":
		t.product = thing.Product{Code: get["product"], System: get["system"]}
	default:
		t.product, _ = r.product(get["product"])
	}
	r.take(t)
}

// --- Events ---

// events writes rows as a document of EPCIS. Their names follow from their content.
func stockDocument(rows []StockRow, created time.Time) ([]byte, error) {
	type object = map[string]any
	var events []object
	for _, r := range rows {
		e := object{
			"type": "ObjectEvent", "eventTime": r.At.UTC().Format("2006-01-02T15:04:05.000Z"), "eventTimeZoneOffset": r.At.Format("-07:00"), "action": "OBSERVE",
			"quantityList": []object{{"epcClass": trail.LotName(r.Product.System, r.Product.Code, r.Lot), "quantity": r.Amount}},
		}
		at := "bizLocation"
		switch r.Kind {
		case StockCounted:
			e["bizStep"] = "stock_taking"
		case StockReceived:
			e["bizStep"] = "receiving"
			if r.Other != "" {
				e["sourceList"] = []object{{"type": "location", "source": r.Other}}
			}
		case StockIssued:
			e["bizStep"], at = "shipping", "readPoint"
			if r.Other != "" {
				e["destinationList"] = []object{{"type": "location", "destination": r.Other}}
			}
		case StockGiven:
			e["bizStep"], e["action"] = "dispensing", "DELETE"
		case StockWasted:
			e["bizStep"], e["action"] = "destroying", "DELETE"
		}
		e[at] = object{"id": r.Place}
		if r.Paper != "" {
			e["bizTransactionList"] = []object{{"type": "desadv", "bizTransaction": "urn:ampoule:paper:" + escapePaper(r.Paper)}}
		}
		if r.Expiry != "" {
			e["cbvmda:itemExpirationDate"] = r.Expiry
		}
		events = append(events, e)
	}
	return json.Marshal(object{
		"@context": []any{epcis.Context, object{"cbvmda": "urn:epcglobal:cbv:mda:"}}, "type": "EPCISDocument", "schemaVersion": "2.0",
		"creationDate": created.UTC().Format("2006-01-02T15:04:05.000Z"), "epcisBody": object{"eventList": events},
	})
}

// escapePaper writes a number of a paper so that it can stand in a URN.
func escapePaper(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || strings.IndexByte("-._", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Imported is what became of an import.
type Imported struct {
	Rows   int          `json:"rows"`  // that can be read
	Added  int          `json:"added"` // events that were not there before
	Faults []StockFault `json:"faults"`
	Job    ID           `json:"job,omitempty"` // of the capture; "": nothing was captured
}

// Import captures a file of stock as events. Where a row is refused all are, unless they
// are to proceed.
func (c *Custody) Import(ctx context.Context, by Actor, data []byte, m *StockMap, proceed bool) (*Imported, error) {
	rows, faults, err := ReadStock(data, m)
	if err != nil {
		return nil, err
	}
	out := &Imported{Rows: len(rows), Faults: append([]StockFault{}, faults...)}
	if len(rows) == 0 || len(faults) > 0 && !proceed {
		return out, nil
	}
	document, err := stockDocument(rows, c.Now())
	if err != nil {
		return nil, err
	}
	job, err := c.Capture(ctx, by, document, proceed)
	if err != nil {
		return nil, err
	}
	out.Added, out.Job = job.Added, job.ID
	for _, e := range job.Errors {
		f := StockFault{Field: "facility", Reason: e.Reason}
		if e.Event < len(rows) {
			f.Line = rows[e.Event].Line
		}
		if e.Reason != ErrNotYours {
			f.Field = ""
		}
		out.Faults = append(out.Faults, f)
	}
	return out, nil
}
