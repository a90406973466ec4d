package httpapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/cert"
	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/format/gs1"
	"ampoule/internal/access"
	"ampoule/party/custody"
	"ampoule/party/issuer"
	"ampoule/thing"
	"ampoule/thing/thread"
	"ampoule/thing/trail"
	"ampoule/thing/vaccine"
)

// Stocking is the part of the API for what is told of goods, for stock and for the
// sessions of clinics.
type Stocking struct {
	Custody *custody.Custody
	Policy  *access.Policy
	// Authority is in whose name this service speaks of lots; nil: it says nothing.
	Authority *custody.Authority
	// Changed is told that something new was said of a lot; nil: nobody.
	Changed func()
	// Holds is what threads are held against here.
	Holds thread.Options
	// Reload reads the files of products again; nil: there are none.
	Reload func() error
}

// by is who asks, bound to a place at which one of the actions is allowed.
func (k *Stocking) by(ctx context.Context, facility string, actions ...access.Action) (by custody.Actor, err error) {
	for _, action := range actions {
		var a issuer.Actor
		if a, err = (&Issuing{Policy: k.Policy}).actor(ctx, action, facility); err == nil {
			return custody.Actor{ID: a.ID, Within: custody.Place(a.Within)}, nil
		}
	}
	return by, err
}

// session finds a session, for one who may run it. To others it is not there.
func (k *Stocking) session(ctx context.Context, id string) (*custody.Session, custody.Actor, error) {
	who := principal(ctx)
	if who == nil {
		return nil, custody.Actor{}, problemNobody
	}
	by := custody.Actor{ID: who.ID, Within: custody.Place{Organisation: who.Organisation}}
	s, err := k.Custody.Session(ctx, by, custody.ID(id))
	if err != nil {
		return nil, by, stockProblem(err)
	}
	by.Within = s.Place
	if ok, _ := k.Policy.Allow(who, access.SessionRun, issuer.Place(s.Place)); !ok {
		return nil, by, problemNoSession
	}
	return s, by, nil
}

// stockProblem is an error of custody as an answer.
func stockProblem(err error) error {
	switch {
	case errors.Is(err, custody.ErrNoSession):
		return problemNoSession
	case errors.Is(err, custody.ErrNoLocation):
		return problemNoLocation
	case errors.Is(err, custody.ErrWhichLocation):
		return problemWhichLocation
	case errors.Is(err, custody.ErrEnded):
		return problemSessionEnded
	case errors.Is(err, custody.ErrConflict):
		return problemChanged
	case errors.Is(err, custody.ErrNotYours):
		return problemDenied
	case errors.Is(err, custody.ErrLot), errors.Is(err, custody.ErrDoses), errors.Is(err, custody.ErrReason):
		return problemStockOrder
	}
	return err
}

// fromSession fills an order from opened stock: product and lot where the record leaves
// them out, and the place of the stock. Another lot than the session's is refused.
func (s *server) fromSession(ctx context.Context, id string, o *issuer.Order) error {
	if id == "" {
		return nil
	}
	v := o.Record.Vaccination
	if s.Stocking == nil {
		return problemNoSession
	}
	if v == nil {
		return problemOrder.with("session: only a vaccination is given from one")
	}
	k := s.Stocking.Custody
	from, err := k.Session(ctx, custody.Actor{ID: o.By.ID, Within: custody.Place(o.By.Within)}, custody.ID(id))
	if err != nil {
		return stockProblem(err)
	}
	if v.Lot == "" {
		v.Lot = from.Number
	}
	if v.Product.Code == "" {
		v.Product = cert.Code{Code: from.Product.Code, System: from.Product.System}
	}
	if thing.NormalLot(v.Lot) != thing.NormalLot(from.Number) || !k.SameProduct(from, thing.Product{Code: v.Product.Code, System: v.Product.System}) {
		return problemOtherLot
	}
	o.Session, o.At = id, issuer.Place(from.Place)
	return nil
}

// --- What is told ---

// ProductCode is a product in one code system.
type ProductCode struct {
	Code   string `json:"code" maxLength:"128"`
	System string `json:"system,omitempty" maxLength:"128" doc:"https://id.gs1.org/01 of a GTIN"`
}

func productCodes(all []thing.Product) []ProductCode {
	out := make([]ProductCode, len(all))
	for i, p := range all {
		out[i] = ProductCode(p)
	}
	return out
}

// VaccineBody is a product of the catalogue.
type VaccineBody struct {
	Name    string        `json:"name"`
	Maker   string        `json:"maker,omitempty"`
	Codes   []ProductCode `json:"codes"`
	Form    vaccine.Form  `json:"form,omitempty"`
	Storage string        `json:"storage,omitempty"`
	Freeze  thing.Harm    `json:"freeze,omitempty" doc:"Whether freezing spoils it"`
	Doses   int           `json:"doses,omitempty" doc:"In a vial"`
	PerPack int           `json:"per_pack,omitempty" doc:"Doses in what a GTIN of it names"`
}

func vaccineBody(v *vaccine.Vaccine) *VaccineBody {
	if v == nil {
		return nil
	}
	return &VaccineBody{v.Name, v.Maker, productCodes(v.Codes), v.Form, v.Storage, v.Freeze, v.Doses, v.PerPack()}
}

// StockWanted is stock as it is printed on a vial, or chosen from a list.
type StockWanted struct {
	Facility string      `json:"facility,omitempty" maxLength:"64"`
	Lot      string      `json:"lot,omitempty" maxLength:"300" doc:"Its name, as GET /v1/stock has it; otherwise product and number"`
	Product  ProductCode `json:"product,omitzero"`
	Number   string      `json:"number,omitempty" maxLength:"40" doc:"Of the lot, as printed"`
	Expiry   string      `json:"expiry,omitempty" maxLength:"10" doc:"YYYY-MM-DD, the last day on which it may be used"`
	Serial   string      `json:"serial,omitempty" maxLength:"40"`
	Location string      `json:"location,omitempty" maxLength:"300" doc:"Where it stands; the only site of the facility otherwise"`
}

func (w *StockWanted) wanted() custody.Wanted {
	return custody.Wanted{Lot: w.Lot, Product: thing.Product(w.Product), Number: w.Number, Expiry: w.Expiry, Serial: w.Serial, Location: w.Location}
}

// FindingBody is one thing that is known of stock before it is opened.
type FindingBody struct {
	Reason  string `json:"reason" enum:"expired,recalled,heat,freeze,vial-past-discard,not-known,not-here"`
	Why     string `json:"why,omitempty" doc:"A stable word: of what is not known"`
	Detail  string `json:"detail,omitempty"`
	Refuses bool   `json:"refuses" doc:"It may not be used"`
}

// StayBody is where goods were for a time.
type StayBody struct {
	Where string    `json:"where"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// AssessmentBody is what the path of a lot did to it, at a glance.
type AssessmentBody struct {
	Outcome  coldchain.Outcome `json:"outcome" enum:"sound,heat,freeze,not-known"`
	Why      string            `json:"why,omitempty"`
	Where    string            `json:"where,omitempty" doc:"Where it was harmed"`
	At       time.Time         `json:"at,omitzero"`
	Share    int64             `json:"share" doc:"Of the stability budget that is used, in millionths"`
	Outside  int64             `json:"outside" doc:"Seconds out of the storage range, as far as it was measured"`
	Whole    int64             `json:"whole" doc:"Seconds of the path"`
	Measured int64             `json:"measured" doc:"Of them"`
	Level    uint8             `json:"level" doc:"Least assurance along the path; 0 where a part was not measured"`
	VVM      *float64          `json:"vvm,omitempty" doc:"Which part of a vial monitor's life has gone"`
	Gaps     []StayBody        `json:"gaps" doc:"What nobody measured; a hundred at most"`
	Path     []StayBody        `json:"path"`
}

// StockBody is a lot at a place, with what is known of it.
type StockBody struct {
	Lot        string         `json:"lot" doc:"Its name"`
	Number     string         `json:"number"`
	Product    ProductCode    `json:"product"`
	Vaccine    *VaccineBody   `json:"vaccine,omitempty" doc:"Missing: the catalogue does not have it"`
	Expiry     string         `json:"expiry,omitempty"`
	Serial     string         `json:"serial,omitempty"`
	Location   string         `json:"location"`
	Facility   string         `json:"facility,omitempty"`
	Fit        bool           `json:"fit" doc:"Nothing refuses it"`
	Findings   []FindingBody  `json:"findings"`
	Advice     string         `json:"advice" enum:"concern,no-concern,not-known" doc:"By what is said of the lot"`
	Why        string         `json:"advice_reason"`
	Here       int64          `json:"here"`
	Given      int64          `json:"given"`
	Gone       int64          `json:"gone" doc:"Wasted or destroyed"`
	Counted    bool           `json:"counted" doc:"No amount was left out"`
	Unit       string         `json:"unit" enum:"dose,pack" doc:"Of the amounts: packs where nobody says how many doses are in one"`
	Assessment AssessmentBody `json:"assessment"`
}

func stockBody(f *custody.Fitness) StockBody {
	k := f.Known
	b := StockBody{
		Lot: f.Wanted.Lot, Number: f.Wanted.Number, Product: ProductCode(f.Wanted.Product), Vaccine: vaccineBody(f.Vaccine), Expiry: f.Wanted.Expiry, Serial: f.Wanted.Serial,
		Location: f.Wanted.Location, Facility: f.Place.Facility, Fit: f.Fit(), Findings: make([]FindingBody, len(f.Findings)), Advice: string(f.Advice.Value), Why: f.Advice.Reason,
		Here: k.Balance.Here, Given: k.Balance.Given, Gone: k.Balance.Gone, Counted: k.Balance.Known, Unit: "pack",
	}
	if f.Vaccine != nil && f.Vaccine.PerPack() > 0 {
		b.Unit = "dose"
	}
	for i, x := range f.Findings {
		b.Findings[i] = FindingBody(x)
	}
	a := &b.Assessment
	*a = AssessmentBody{
		Outcome: k.Outcome, Why: k.Why, Where: k.Where, Share: k.Share, Outside: k.Outside, Whole: k.Whole, Measured: k.Measured, Level: k.Level, VVM: k.VVM,
		Gaps: []StayBody{}, Path: []StayBody{},
	}
	if k.At != 0 {
		a.At = time.Unix(k.At, 0).UTC()
	}
	for _, u := range k.Unknown[:min(len(k.Unknown), 100)] {
		a.Gaps = append(a.Gaps, StayBody{u.Where, time.Unix(u.From, 0).UTC(), time.Unix(u.Until, 0).UTC()})
	}
	for i, s := range k.Path {
		a.Path = append(a.Path, StayBody{k.Names[i], s.From, s.Until})
	}
	return b
}

// StockSessionBody is stock that a clinic opened.
type StockSessionBody struct {
	ID            string            `json:"id"`
	Facility      string            `json:"facility,omitempty"`
	Version       int64             `json:"version" doc:"Also the ETag; If-Match asks for it"`
	Lot           string            `json:"lot" doc:"Its name"`
	Number        string            `json:"number"`
	Product       ProductCode       `json:"product" doc:"As certificates name it"`
	Codes         []ProductCode     `json:"codes" doc:"All that name it"`
	Name          string            `json:"name,omitempty"`
	Expiry        string            `json:"expiry,omitempty"`
	Serial        string            `json:"serial,omitempty"`
	Location      string            `json:"location"`
	Opened        time.Time         `json:"opened"`
	Discard       time.Time         `json:"discard" doc:"Nothing is given from it from then on"`
	Why           string            `json:"why" doc:"Why it is discarded then"`
	Ended         time.Time         `json:"ended,omitzero" doc:"Missing: it is open"`
	Reconstituted bool              `json:"reconstituted,omitempty"`
	Diluent       string            `json:"diluent,omitempty" doc:"Its lot"`
	Doses         int64             `json:"doses"`
	Given         int64             `json:"given" doc:"With records"`
	Unrecorded    int64             `json:"unrecorded" doc:"Given, and no record was made"`
	Wasted        int64             `json:"wasted"`
	Left          int64             `json:"left" doc:"That went back to the stock unopened"`
	Rest          int64             `json:"rest" doc:"That are in it"`
	Wastes        []custody.Waste   `json:"wastes"`
	Override      *custody.Override `json:"override,omitempty" doc:"It was opened although something was found against it"`
}

func stockSessionBody(s *custody.Session) StockSessionBody {
	return StockSessionBody{
		ID: string(s.ID), Facility: s.Place.Facility, Version: s.Version, Lot: s.Lot, Number: s.Number, Product: ProductCode(s.Product), Codes: productCodes(s.Codes), Name: s.Name,
		Expiry: s.Expiry, Serial: s.Serial, Location: s.Location, Opened: s.Opened, Discard: s.Discard, Why: s.Why, Ended: s.Ended, Reconstituted: s.Reconstituted, Diluent: s.Diluent,
		Doses: s.Doses, Given: s.Given, Unrecorded: s.Unrecorded, Wasted: s.Wasted, Left: s.Left, Rest: s.Rest(), Wastes: append([]custody.Waste{}, s.Wastes...), Override: s.Override,
	}
}

// ImbalanceBody is where what is told of amounts does not agree.
type ImbalanceBody struct {
	Lot      string              `json:"lot"`
	Place    string              `json:"place"`
	At       time.Time           `json:"at"`
	Kind     trail.ImbalanceKind `json:"kind" enum:"too-few,count-differs,lost-on-the-way,more-than-left"`
	Expected int64               `json:"expected"`
	Found    int64               `json:"found"`
	Event    string              `json:"event"`
}

// LocationBody is where stock can be.
type LocationBody struct {
	URI       string `json:"uri" minLength:"3" maxLength:"300" doc:"As events name it: an SGLN as a Digital Link, or any URI"`
	Facility  string `json:"facility,omitempty" maxLength:"64"`
	Version   int64  `json:"version,omitempty" minimum:"0" doc:"That was seen, when it is changed; 0: it is new"`
	Name      string `json:"name" minLength:"1" maxLength:"100"`
	Country   string `json:"country,omitempty" pattern:"^[A-Z]{2}$" patternDescription:"two letters of ISO 3166-1"`
	Within    string `json:"within,omitempty" maxLength:"300" doc:"The site that it is in; missing: it is one"`
	Equipment string `json:"equipment,omitempty" maxLength:"36" doc:"Of the cold chain, that watches it"`
}

func locationBody(l *custody.Location) LocationBody {
	return LocationBody{l.URI, l.Place.Facility, l.Version, l.Name, l.Country, l.Within, l.Equipment}
}

// ScanBody is what a code on a vial or carton says.
type ScanBody struct {
	Product ProductCode  `json:"product"`
	Vaccine *VaccineBody `json:"vaccine,omitempty" doc:"Missing: the catalogue does not have it"`
	Number  string       `json:"number,omitempty" doc:"Of the lot"`
	Expiry  string       `json:"expiry,omitempty"`
	Serial  string       `json:"serial,omitempty"`
}

// scanned reads a code: element strings as scanners send them or people read them, or a
// GS1 Digital Link.
func scanned(text string, year int) (out ScanBody, err error) {
	text = strings.TrimSpace(text)
	var es gs1.Elements
	if lower := strings.ToLower(text); strings.HasPrefix(lower, "http://") || strings.HasPrefix(lower, "https://") {
		d, err := gs1.ParseDigitalLink(text)
		if err != nil {
			return out, err
		}
		es = d.Elements()
	} else if es, err = gs1.ParseElements(text); err != nil {
		return out, err
	}
	gtin := cmp.Or(es.Get("01"), es.Get("02"))
	if gtin == "" {
		return out, problemNotProduct
	}
	out = ScanBody{Product: ProductCode{gtin, gs1.GTINSystem}, Number: es.Get("10"), Serial: es.Get("21")}
	if day := es.Get("17"); day != "" {
		if out.Expiry, err = gs1.Date(day, year); err != nil {
			return out, err
		}
	}
	return out, nil
}

// --- The operations ---

func (s *server) describeStock(api huma.API) {
	k := s.Stocking
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{
			OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"stock"}, MaxBodyBytes: maxForm, BodyReadTimeout: formTime,
			Errors: append([]int{400, 401, 403, 404, 422}, errors...), Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
		}
	}
	type facility struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
	}
	type byID struct {
		ID string `path:"id" maxLength:"36"`
	}

	register(api, op("stock", "GET", "/v1/stock", "List the lots at a place, with what is known of each"), func(ctx context.Context, r *facility) (*listAnswer[StockBody], error) {
		by, err := k.by(ctx, r.Facility, access.SessionRun, access.StockManage)
		if err != nil {
			return nil, err
		}
		all, err := k.Custody.InStock(ctx, by)
		if err != nil {
			return nil, stockProblem(err)
		}
		out := &listAnswer[StockBody]{CacheControl: "no-store"}
		out.Body.Items = make([]StockBody, len(all))
		for i := range all {
			out.Body.Items[i] = stockBody(&all[i])
		}
		return out, nil
	})
	register(api, op("stockFitness", "POST", "/v1/stock/fitness", "Tell what is known of stock, and whether it may be used, without opening it"), func(ctx context.Context, r *struct{ Body StockWanted }) (*oneAnswer[StockBody], error) {
		by, err := k.by(ctx, r.Body.Facility, access.SessionRun)
		if err != nil {
			return nil, err
		}
		f, err := k.Custody.Fitness(ctx, by, r.Body.wanted())
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(stockBody(f), 0), nil
	})
	register(api, op("scan", "POST", "/v1/scan", "Read a code on a vial or carton: GS1 element strings or a GS1 Digital Link"), func(ctx context.Context, r *struct {
		Body struct {
			Text string `json:"text" minLength:"1" maxLength:"2000" doc:"As a scanner sends it, or as people read it: (01)…(10)…"`
		}
	}) (*oneAnswer[ScanBody], error) {
		b, err := scanned(r.Body.Text, k.Custody.Now().UTC().Year())
		if err != nil {
			return nil, problemNotProduct
		}
		if k.Custody.Catalogue != nil {
			b.Vaccine = vaccineBody(k.Custody.Catalogue().Find(thing.Product(b.Product)))
		}
		return one(b, 0), nil
	})
	register(api, op("products", "GET", "/v1/products", "Search the catalogue of products, by a code or a part of a name"), func(ctx context.Context, r *struct {
		Query string `query:"q" maxLength:"128"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}) (*listAnswer[VaccineBody], error) {
		out := &listAnswer[VaccineBody]{CacheControl: "no-store"}
		out.Body.Items = []VaccineBody{}
		if k.Custody.Catalogue == nil || k.Custody.Catalogue() == nil {
			return out, nil
		}
		all := k.Custody.Catalogue().Vaccines
		for i := range all {
			v := &all[i]
			is := func(p thing.Product) bool { return strings.EqualFold(p.Code, r.Query) }
			if r.Query == "" || strings.Contains(strings.ToLower(v.Name), strings.ToLower(r.Query)) || slices.ContainsFunc(v.Codes, is) {
				out.Body.Items = append(out.Body.Items, *vaccineBody(v))
			}
			if len(out.Body.Items) == r.Limit {
				break
			}
		}
		return out, nil
	})

	// Sessions.
	imports := op("stockImport", "POST", "/v1/stock/imports", "Bring a file of what is in stock, as another system gives it out")
	imports.MaxBodyBytes, imports.BodyReadTimeout = 2*custody.MaxImport, uploadTime
	register(api, imports, func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Body     struct {
			File    string          `json:"file" minLength:"1" doc:"A table (CSV), or what DHIS2, OpenLMIS or open mSupply give out in JSON"`
			Map     json.RawMessage `json:"map,omitempty" doc:"What the names in it mean here"`
			Proceed bool            `json:"proceed,omitempty" doc:"Rows that can be taken are, although others cannot"`
		}
	}) (*oneAnswer[custody.Imported], error) {
		by, err := k.by(ctx, r.Facility, access.CustodyCapture)
		if err != nil {
			return nil, err
		}
		m, err := custody.ParseStockMap(r.Body.Map)
		if err != nil {
			return nil, problemUpload.with(err.Error())
		}
		out, err := k.Custody.Import(ctx, by, []byte(r.Body.File), m, r.Body.Proceed)
		if _, malformed := errors.AsType[format.Defect](err); malformed {
			return nil, problemUpload.with(err.Error())
		}
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(*out, 0), nil
	})
	register(api, op("stockSessions", "GET", "/v1/stock/sessions", "List opened stock, newest first"), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Open     bool   `query:"open" doc:"Only those that have not ended"`
		Cursor   string `query:"cursor" maxLength:"36"`
		Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"50"`
	}) (*listAnswer[StockSessionBody], error) {
		by, err := k.by(ctx, r.Facility, access.SessionRun)
		if err != nil {
			return nil, err
		}
		all, err := k.Custody.Sessions(ctx, by, r.Open, custody.ID(r.Cursor), r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[StockSessionBody]{CacheControl: "no-store"}
		out.Body.Items = make([]StockSessionBody, len(all))
		for i := range all {
			out.Body.Items[i] = stockSessionBody(&all[i])
		}
		if len(all) == r.Limit {
			more := map[string][]string{}
			if r.Open {
				more["open"] = []string{"true"}
			}
			out.follow("/v1/stock/sessions", string(all[len(all)-1].ID), r.Facility, r.Limit, more)
		}
		return out, nil
	})
	register(api, op("stockOpen", "POST", "/v1/stock/sessions", "Open stock to give doses from it", 409), func(ctx context.Context, r *struct {
		Body struct {
			StockWanted
			Doses    int64     `json:"doses,omitempty" minimum:"0" maximum:"100000" doc:"0: those of one vial"`
			Ends     time.Time `json:"ends,omitzero" doc:"When the session of the clinic will end"`
			Diluent  string    `json:"diluent,omitempty" maxLength:"40" doc:"Lot of what it was reconstituted with"`
			Override string    `json:"override,omitempty" enum:"no-other-stock,outbreak,assessed-elsewhere,data-wrong,other" doc:"Why it is opened although it is unfit, of who may say so"`
		}
	}) (*oneAnswer[StockSessionBody], error) {
		by, err := k.by(ctx, r.Body.Facility, access.SessionRun)
		if err != nil {
			return nil, err
		}
		if r.Body.Override != "" {
			if ok, _ := k.Policy.Allow(principal(ctx), access.StockOverride, issuer.Place(by.Within)); !ok {
				return nil, problemDenied
			}
		}
		opened, f, err := k.Custody.Open(ctx, by, custody.Opening{Wanted: r.Body.wanted(), Doses: r.Body.Doses, Ends: r.Body.Ends, Diluent: r.Body.Diluent, Override: r.Body.Override})
		if errors.Is(err, custody.ErrUnfit) {
			var against []string
			for _, x := range f.Findings {
				if x.Refuses {
					against = append(against, x.Reason)
				}
			}
			return nil, problemUnfit.with(strings.Join(against, ", "))
		}
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(stockSessionBody(opened), opened.Version), nil
	})
	type lookedAt struct {
		StockSessionBody
		Stock StockBody `json:"stock" doc:"What is known of it now"`
	}
	register(api, op("stockSession", "GET", "/v1/stock/sessions/{id}", "Tell how opened stock stands, and what is known of its lot now"), func(ctx context.Context, r *byID) (*oneAnswer[lookedAt], error) {
		found, by, err := k.session(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		f, err := k.Custody.SessionFitness(ctx, by, found)
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(lookedAt{stockSessionBody(found), stockBody(f)}, found.Version), nil
	})
	register(api, op("stockWaste", "POST", "/v1/stock/sessions/{id}/waste", "Take doses out of opened stock that nobody got", 409, 412, 428), func(ctx context.Context, r *struct {
		ID      string `path:"id" maxLength:"36"`
		IfMatch string `header:"If-Match"`
		Body    struct {
			Doses  int64  `json:"doses" minimum:"1" maximum:"100000"`
			Reason string `json:"reason" enum:"broken,expired-open-vial,contaminated,vvm,expired,heat,freeze,recalled,missing,other"`
		}
	}) (*oneAnswer[StockSessionBody], error) {
		found, by, err := k.session(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		version, err := versionOf(r.IfMatch)
		if err != nil {
			return nil, err
		}
		changed, err := k.Custody.Waste(ctx, by, found.ID, version, r.Body.Doses, r.Body.Reason)
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(stockSessionBody(changed), changed.Version), nil
	})
	register(api, op("stockEnd", "POST", "/v1/stock/sessions/{id}/end", "End opened stock: what was neither given nor goes back is wasted", 409, 412, 428), func(ctx context.Context, r *struct {
		ID      string `path:"id" maxLength:"36"`
		IfMatch string `header:"If-Match"`
		Body    struct {
			Unrecorded int64  `json:"unrecorded,omitempty" minimum:"0" maximum:"100000" doc:"Given, and no record was made"`
			Left       int64  `json:"left,omitempty" minimum:"0" maximum:"100000" doc:"Unopened: they go back to the stock"`
			Reason     string `json:"reason,omitempty" enum:"broken,expired-open-vial,contaminated,vvm,expired,heat,freeze,recalled,missing,other" doc:"Why the rest is wasted; missing: the vial was open for too long"`
		}
	}) (*oneAnswer[StockSessionBody], error) {
		found, by, err := k.session(ctx, r.ID)
		if err != nil {
			return nil, err
		}
		version, err := versionOf(r.IfMatch)
		if err != nil {
			return nil, err
		}
		ended, err := k.Custody.End(ctx, by, found.ID, version, custody.Closing(r.Body))
		if err != nil {
			return nil, stockProblem(err)
		}
		return one(stockSessionBody(ended), ended.Version), nil
	})
	register(api, op("imbalances", "GET", "/v1/imbalances", "List where what is told of amounts does not agree, newest first"), func(ctx context.Context, r *facility) (*listAnswer[ImbalanceBody], error) {
		by, err := k.by(ctx, r.Facility, access.SessionRun, access.StockManage)
		if err != nil {
			return nil, err
		}
		all, err := k.Custody.Imbalances(ctx, by)
		if err != nil {
			return nil, stockProblem(err)
		}
		out := &listAnswer[ImbalanceBody]{CacheControl: "no-store"}
		out.Body.Items = make([]ImbalanceBody, len(all))
		for i, x := range all {
			out.Body.Items[i] = ImbalanceBody{x.Lot, x.Place, x.At, x.Kind, x.Expected, x.Found, x.Event}
		}
		return out, nil
	})

	// Locations.
	register(api, op("locations", "GET", "/v1/locations", "List where stock can be"), func(ctx context.Context, r *struct {
		Facility string `query:"facility" maxLength:"64" doc:"Of whom has several"`
		Cursor   string `query:"cursor" maxLength:"300"`
		Limit    int    `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	}) (*listAnswer[LocationBody], error) {
		by, err := k.by(ctx, r.Facility, access.SessionRun, access.StockManage)
		if err != nil {
			return nil, err
		}
		all, err := k.Custody.Stock.LocationsAt(ctx, by.Within, r.Cursor, r.Limit)
		if err != nil {
			return nil, err
		}
		out := &listAnswer[LocationBody]{CacheControl: "no-store"}
		out.Body.Items = make([]LocationBody, len(all))
		for i := range all {
			out.Body.Items[i] = locationBody(&all[i])
		}
		if len(all) == r.Limit {
			out.follow("/v1/locations", all[len(all)-1].URI, r.Facility, r.Limit, nil)
		}
		return out, nil
	})
	register(api, op("locationPut", "POST", "/v1/locations", "Register where stock can be, or change what is told of it", 412), func(ctx context.Context, r *struct{ Body LocationBody }) (*oneAnswer[LocationBody], error) {
		by, err := k.by(ctx, r.Body.Facility, access.StockManage)
		if err != nil {
			return nil, err
		}
		if r.Body.Equipment != "" {
			// What is measured in another's equipment is not told here.
			if s.Watching == nil {
				return nil, problemNoEquipment
			}
			if _, _, err := s.Watching.equipment(ctx, access.FleetRead, r.Body.Equipment); err != nil {
				return nil, err
			}
		}
		l := &custody.Location{URI: r.Body.URI, Place: by.Within, Version: r.Body.Version + 1, Name: r.Body.Name, Country: r.Body.Country, Within: r.Body.Within, Equipment: r.Body.Equipment}
		if r.Body.Facility != "" {
			l.Place.Facility = r.Body.Facility
		}
		if err := k.Custody.PutLocation(ctx, by, l); err != nil {
			return nil, stockProblem(err)
		}
		return one(locationBody(l), l.Version), nil
	})
}
