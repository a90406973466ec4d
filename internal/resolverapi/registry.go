package resolverapi

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"ampoule/device"
	"ampoule/format/gs1"
	"ampoule/format/linkset"
	"ampoule/format/oid"
	"ampoule/party/custody"
	"ampoule/party/fleet"
	"ampoule/thing"
	"ampoule/thing/resolve"
	"ampoule/thing/vaccine"
)

// Kind is what a thing is.
type Kind string

// The kinds.
const (
	KindProduct      Kind = "product"
	KindLot          Kind = "lot"
	KindItem         Kind = "item"
	KindLocation     Kind = "location"
	KindDevice       Kind = "device"
	KindEquipment    Kind = "equipment"
	KindOrganisation Kind = "organisation"
	KindLedger       Kind = "ledger" // the ledger says what
	KindOther        Kind = "other"  // the operator's links say what
)

// row is what is known of one identifier.
type row struct {
	kind   Kind
	status string
	did    string
	data   any // for [exchange.data]; nil: there is none
	set    linkset.Context
}

func sets(rows []*row) []linkset.Context {
	out := make([]linkset.Context, len(rows))
	for i, r := range rows {
		out[i] = r.set
	}
	return out
}

// rows are those of an identifier and of what is coarser than it; none where nothing is
// known of any.
func (x *exchange) rows(id resolve.Identifier) (out []*row, err error) {
	levels := id.Levels()
	if id.Scheme == resolve.Lot {
		levels = append(levels, x.gtins(thing.Product{Code: id.Code, System: id.System})...)
	}
	for _, level := range levels {
		r, err := x.row(level)
		if err != nil {
			return nil, err
		}
		if r != nil {
			out = append(out, r)
		}
	}
	for i, r := range out {
		// Who scans a vial is led to the product, unless the operator has something of the lot.
		if i == len(out)-1 {
			resolve.AddDefault(&r.set)
		}
		resolve.Describe(&r.set)
	}
	return out, nil
}

// row is that of one identifier; nil: nothing is known.
func (x *exchange) row(id resolve.Identifier) (r *row, err error) {
	switch id.Scheme {
	case resolve.GS1:
		if id.Key.AI == "01" {
			r = x.goods(id)
		} else {
			r, err = x.location(id)
		}
		if r == nil && err == nil {
			r = x.followed(id)
		}
	case resolve.Lot:
		if v := x.find(thing.Product{Code: id.Code, System: id.System}); v != nil {
			r = x.lot(id, v, id.Number)
		}
	case resolve.OID:
		r, err = x.device(id)
		if err == nil {
			r = x.ledger(id, r)
		}
	case resolve.DID:
		r, err = x.subject(id)
	default:
		if r, err = x.location(id); r == nil && err == nil {
			r, err = x.equipment(id)
		}
	}
	if err != nil {
		return nil, err
	}
	// What the operator says comes first.
	if own, ok := x.Links[id.Name]; ok {
		if r == nil {
			r = &row{kind: KindOther}
		}
		rest := r.set.Relations
		r.set = linkset.Context{Description: cmp.Or(own.Description, r.set.Description)}
		resolve.Merge(&r.set, own.Relations...)
		resolve.Merge(&r.set, rest...)
	}
	if r != nil {
		r.set.Anchor = x.anchor(id)
	}
	return r, nil
}

// anchor is the address of a thing at this resolver.
func (x *exchange) anchor(id resolve.Identifier) string {
	if id.Scheme == resolve.GS1 {
		return id.Key.DigitalLinkOn(x.Origin)
	}
	return x.at("/resolve", id)
}

func (x *exchange) at(path string, id resolve.Identifier) string {
	return x.Origin + path + "?id=" + url.QueryEscape(id.Name)
}

func one(relation, href, title, media string) linkset.Relation {
	l := linkset.Link{Href: href, Title: title, MediaType: media}
	if media == "application/json" {
		l.Languages = []string{"en"}
	}
	return linkset.Relation{Type: relation, Links: []linkset.Link{l}}
}

// events is the link to what is told of a thing, where EPCIS is served. Who follows it
// sees what the policy lets them.
func (x *exchange) events(parameter string, id resolve.Identifier) []linkset.Relation {
	if x.Events == "" {
		return nil
	}
	return []linkset.Relation{one(linkset.EPCIS, x.Origin+x.Events+"?"+parameter+"="+url.QueryEscape(id.Stock()), "Events of EPCIS", "application/ld+json")}
}

// find is the product of a code.
func (x *exchange) find(codes ...thing.Product) *vaccine.Vaccine {
	if x.Products == nil {
		return nil
	}
	return x.Products.Find(codes...)
}

// goods is a trade item, a lot of it, or one piece. Of the two finer ones there is what
// there is of every lot and every piece: none is looked up.
func (x *exchange) goods(id resolve.Identifier) *row {
	v := x.find(thing.Product{Code: id.Key.Value, System: gs1.GTINSystem})
	if v == nil {
		return nil
	}
	q := id.Key.Qualifiers
	switch {
	case q.Get("21") != "":
		r := &row{kind: KindItem, set: linkset.Context{Description: v.Name + ", serial " + q.Get("21")}}
		resolve.Merge(&r.set, x.events("MATCH_anyEPC", id)...)
		if lot := q.Get("10"); lot != "" {
			resolve.Merge(&r.set, x.stated(id)...)
		}
		return r
	case q.Get("10") != "":
		return x.lot(id, v, q.Get("10"))
	case len(q) > 0: // a variant, of which nothing is known but its product
		return &row{kind: KindProduct, set: linkset.Context{Description: v.Name + ", variant " + q.Get("22")}}
	}
	return x.product(id, v)
}

func (x *exchange) product(id resolve.Identifier, v *vaccine.Vaccine) *row {
	r := &row{kind: KindProduct, data: productBody{id.Name, KindProduct, v}, set: linkset.Context{Description: v.Name}}
	resolve.Merge(&r.set, one(linkset.MasterData, x.at("/resolve/data", id), "Product data", "application/json"))
	resolve.Merge(&r.set, x.events("MATCH_anyEPCClass", id)...)
	return r
}

// gtins are the GTINs of a product that goes by another code.
func (x *exchange) gtins(p thing.Product) (out []resolve.Identifier) {
	v := x.find(p)
	if v == nil {
		return nil
	}
	for _, c := range v.Codes {
		if c.System == gs1.GTINSystem {
			if id, err := resolve.Parse("(01)" + c.Code); err == nil {
				out = append(out, id)
			}
		}
	}
	return out
}

type productBody struct {
	ID      string           `json:"id"`
	Kind    Kind             `json:"kind"`
	Vaccine *vaccine.Vaccine `json:"vaccine"`
}

func (x *exchange) lot(id resolve.Identifier, v *vaccine.Vaccine, number string) *row {
	r := &row{kind: KindLot, set: linkset.Context{Description: v.Name + ", lot " + number}}
	resolve.Merge(&r.set, x.stated(id)...)
	resolve.Merge(&r.set, x.events("MATCH_anyEPCClass", id)...)
	return r
}

// stated is where it stands what is stated of a lot, be it anything or nothing.
func (x *exchange) stated(id resolve.Identifier) []linkset.Relation {
	return []linkset.Relation{one(linkset.RecallStatus, x.at("/resolve/statements", id), "What is stated of the lot", "application/json")}
}

// followed is a thing of a company whose things are followed here: whether there is such
// a one its events tell those who may see them.
func (x *exchange) followed(id resolve.Identifier) *row {
	for _, prefix := range x.Prefixes {
		if hasPrefix(id.Key, prefix) && x.Events != "" {
			r := &row{kind: KindOther, set: linkset.Context{Description: id.Key.String()}}
			parameter := "MATCH_anyEPC"
			if id.Key.AI == "01" && id.Key.Qualifiers.Get("21") == "" {
				parameter = "MATCH_anyEPCClass"
			}
			resolve.Merge(&r.set, x.events(parameter, id)...)
			return r
		}
	}
	return nil
}

// location is a registered one. A site is known to everybody by its name and country;
// what stands in a site only to those who may see what is there.
func (x *exchange) location(id resolve.Identifier) (*row, error) {
	if x.Stock == nil {
		return nil, nil
	}
	l, err := x.Stock.Location(x.r.Context(), id.Stock())
	if errors.Is(err, custody.ErrNoLocation) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if id.Name != l.URI { // a finer key than that which is registered
		return nil, nil
	}
	inside := l.Within != "" || l.Equipment != ""
	allowed := x.allowed(l.Place.Organisation, l.Place.Facility)
	if inside && !allowed {
		return nil, nil
	}
	b := locationBody{ID: l.URI, Kind: KindLocation, Name: l.Name, Country: l.Country}
	if inside {
		x.seen = true
		b.Organisation, b.Facility, b.Within, b.Equipment = l.Place.Organisation, l.Place.Facility, l.Within, l.Equipment
	}
	if l.Equipment != "" {
		b.Kind = KindEquipment
	}
	r := &row{kind: b.Kind, data: b, set: linkset.Context{Description: l.Name}}
	resolve.Merge(&r.set, one(linkset.LocationInfo, x.at("/resolve/data", id), "Where it is", "application/json"))
	if l.Equipment != "" {
		equipment := resolve.Identifier{Scheme: resolve.URI, Name: equipmentURN + l.Equipment}
		resolve.Merge(&r.set, one("related", x.at("/resolve/data", equipment), "Equipment", "application/json"))
	}
	resolve.Merge(&r.set, x.events("EQ_bizLocation", id)...)
	return r, nil
}

type locationBody struct {
	ID           string `json:"id"`
	Kind         Kind   `json:"kind"`
	Name         string `json:"name"`
	Country      string `json:"country,omitempty"`
	Organisation string `json:"organisation,omitempty"`
	Facility     string `json:"facility,omitempty"`
	Within       string `json:"within,omitempty"`
	Equipment    string `json:"equipment,omitempty"`
}

func (x *exchange) allowed(organisation, facility string) bool {
	return x.Allowed != nil && x.Allowed(x.r.Context(), organisation, facility)
}

// device is one of the fleet. What it is and by which keys it signs is for everybody, as
// its evidence is; where it stands is not told.
func (x *exchange) device(id resolve.Identifier) (*row, error) {
	if x.Fleet == nil {
		return nil, nil
	}
	d, err := x.Fleet.Device(x.r.Context(), id.OID)
	if errors.Is(err, fleet.ErrNoDevice) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// One that an account announced, and nobody claimed, is nobody's word but that account's.
	if d.State == device.Announced {
		return nil, nil
	}
	subject, err := x.deviceSubject(d)
	if err != nil {
		return nil, err
	}
	b := deviceBody{ID: id.Name, Kind: KindDevice, Status: string(d.State), Maker: d.Maker, Model: d.Model, PQS: d.PQS, DID: subject.ID}
	for _, m := range subject.Methods {
		did, err := resolve.KeyDID(m.Public)
		if err == nil && m.Until.IsZero() {
			b.Keys = append(b.Keys, did)
		}
	}
	r := &row{kind: KindDevice, status: b.Status, did: b.DID, data: b, set: linkset.Context{Description: cmp.Or(strings.TrimSpace(d.Maker+" "+d.Model), "Device") + " " + id.OID.String()}}
	resolve.Merge(&r.set,
		one(linkset.MasterData, x.at("/resolve/data", id), "What is known of the device", "application/json"),
		one("describedby", x.Origin+"/1.0/identifiers/"+url.PathEscape(subject.ID), "DID document", "application/did-resolution"))
	return r, nil
}

type deviceBody struct {
	ID     string   `json:"id"`
	Kind   Kind     `json:"kind"`
	Status string   `json:"status"`
	Maker  string   `json:"maker,omitempty"`
	Model  string   `json:"model,omitempty"`
	PQS    string   `json:"pqs,omitempty"`
	DID    string   `json:"did"`
	Keys   []string `json:"keys,omitempty"` // did:key
}

// ledger adds what the ledger has under an identifier.
func (x *exchange) ledger(id resolve.Identifier, r *row) *row {
	if x.Ledger == nil || !x.Ledger(x.r.Context(), id.OID) {
		return r
	}
	if r == nil {
		r = &row{kind: KindLedger, set: linkset.Context{Description: id.OID.String()}}
	}
	resolve.Merge(&r.set, one("describedby", x.Origin+"/v1/ledger/resolve/"+id.OID.String(), "What the ledger has, with its proof", "application/json"))
	return r
}

const equipmentURN = "urn:uuid:"

// equipment is for those who may see what is at its place.
func (x *exchange) equipment(id resolve.Identifier) (*row, error) {
	uuid, ok := strings.CutPrefix(id.Name, equipmentURN)
	if x.Fleet == nil || !ok {
		return nil, nil
	}
	e, err := x.Fleet.Equipment(x.r.Context(), fleet.ID(uuid))
	if errors.Is(err, fleet.ErrNoEquipment) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !x.allowed(e.Place.Organisation, e.Place.Facility) {
		return nil, nil
	}
	x.seen = true
	b := equipmentBody{
		ID: id.Name, Kind: KindEquipment, Type: e.Kind, Name: e.Name, Maker: e.Maker, Model: e.Model, PQS: e.PQS, Serial: e.Serial,
		Organisation: e.Place.Organisation, Facility: e.Place.Facility, Status: "in-use",
	}
	if !e.Retired.IsZero() {
		b.Status = "retired"
	}
	r := &row{kind: KindEquipment, status: b.Status, data: b, set: linkset.Context{Description: e.Name}}
	resolve.Merge(&r.set, one(linkset.MasterData, x.at("/resolve/data", id), "What is known of the equipment", "application/json"))
	return r, nil
}

type equipmentBody struct {
	ID           string     `json:"id"`
	Kind         Kind       `json:"kind"`
	Type         fleet.Kind `json:"type"`
	Name         string     `json:"name"`
	Status       string     `json:"status"`
	Maker        string     `json:"maker,omitempty"`
	Model        string     `json:"model,omitempty"`
	PQS          string     `json:"pqs,omitempty"`
	Serial       string     `json:"serial,omitempty"`
	Organisation string     `json:"organisation"`
	Facility     string     `json:"facility,omitempty"`
}

// data answers with what is known of a thing itself.
func (x *exchange) data() error {
	id, err := x.identifier()
	if err != nil {
		return err
	}
	rows, err := x.rows(id)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if r.data != nil {
			return x.sendJSON(r.data)
		}
	}
	return problemNone
}

// statementBody is what an authority states of a lot.
type statementBody struct {
	Authority string `json:"authority"`
	Role      string `json:"role"`
	Value     string `json:"value"`
	Issued    string `json:"issued"`
	Expiry    string `json:"expiry,omitempty"`
	Country   string `json:"country,omitempty"`
	Centre    string `json:"centre,omitempty"`
	From      string `json:"from,omitempty"`
	Until     string `json:"until,omitempty"`
	Part      string `json:"part"`
	ID        string `json:"id"`
}

// statements answers with what is believed of a lot, as in the bundle that everybody may
// fetch. Of a lot that does not exist nothing is stated.
func (x *exchange) statements() error {
	id, err := x.identifier()
	if err != nil {
		return err
	}
	product, lot := thing.Product{Code: id.Code, System: id.System}, id.Number
	if id.Scheme == resolve.GS1 && id.Key.AI == "01" {
		product, lot = thing.Product{Code: id.Key.Value, System: gs1.GTINSystem}, id.Key.Qualifiers.Get("10")
	}
	v := x.find(product)
	if v == nil || lot == "" {
		return problemNone
	}
	out := struct {
		ID         string          `json:"id"`
		Statements []statementBody `json:"statements"`
	}{id.Name, []statementBody{}}
	if x.Lots != nil {
		for _, e := range x.Lots.Entries() {
			s := e.Statement
			if e.Refused != nil || e.Withdrawn || e.Superseded || s.Value == thing.Withdrawn || thing.NormalLot(s.Lot) != thing.NormalLot(lot) || x.find(s.Product) != v {
				continue
			}
			out.Statements = append(out.Statements, statementBody{
				s.Authority, string(s.Role), string(s.Value), s.Issued.UTC().Format("2006-01-02T15:04:05Z"), s.Expiry, s.Country, s.Centre, s.From, s.Until, string(s.Part), e.ID.String(),
			})
		}
	}
	return x.sendJSON(out)
}

// pageOf is how many things one answer lists.
const pageOf = 100

// things answers with what there is of a type, at a place. Products and the organisation
// are for everybody; of a place, those see what is there who may.
func (x *exchange) things() error {
	q := x.r.URL.Query()
	after := q.Get("after")
	type found struct {
		ID   string `json:"id"`
		Kind Kind   `json:"kind"`
		Name string `json:"name,omitempty"`
	}
	out := struct {
		Things []found `json:"things"`
		Next   string  `json:"next,omitempty"` // the parameter after of the next page
	}{Things: []found{}}
	kind := Kind(q.Get("type"))
	switch kind {
	case KindOrganisation:
		if did, err := resolve.WebDID(x.Origin); err == nil {
			out.Things = append(out.Things, found{did, kind, x.Organisation.Name})
		}
		return x.sendJSON(out)
	case KindProduct:
		if x.Products != nil {
			for i := range x.Products.Vaccines {
				v := &x.Products.Vaccines[i]
				for _, c := range v.Codes {
					if c.System != gs1.GTINSystem {
						continue
					}
					id, err := resolve.Parse("(01)" + c.Code)
					if err != nil || id.Name <= after {
						continue
					}
					out.Things = append(out.Things, found{id.Name, kind, v.Name})
				}
			}
		}
		slices.SortFunc(out.Things, func(a, b found) int { return strings.Compare(a.ID, b.ID) })
		if len(out.Things) > pageOf {
			out.Things = out.Things[:pageOf]
			out.Next = out.Things[pageOf-1].ID
		}
		return x.sendJSON(out)
	case KindLocation, KindDevice, KindEquipment:
	default:
		return &problem{http.StatusBadRequest, "bad-type", "The parameter type is product, organisation, location, device or equipment", ""}
	}
	place, err := resolve.Parse(q.Get("place"))
	if err != nil {
		return bad(err)
	}
	if x.Stock == nil {
		return problemNone
	}
	l, err := x.Stock.Location(x.r.Context(), place.Stock())
	if errors.Is(err, custody.ErrNoLocation) {
		return problemNone
	}
	if err != nil {
		return err
	}
	if !x.allowed(l.Place.Organisation, l.Place.Facility) {
		return problemNone
	}
	x.seen = true
	switch at := fleet.Place(l.Place); {
	case kind == KindLocation:
		all, err := x.Stock.LocationsAt(x.r.Context(), l.Place, after, pageOf)
		if err != nil {
			return err
		}
		for _, l := range all {
			out.Things = append(out.Things, found{l.URI, kind, l.Name})
		}
		if len(all) == pageOf {
			out.Next = all[pageOf-1].URI
		}
	case x.Fleet == nil:
	case kind == KindDevice:
		var from oid.OID
		if after != "" {
			if from, err = oid.Parse(after); err != nil {
				return bad(err)
			}
		}
		all, err := x.Fleet.DevicesAt(x.r.Context(), at, "", from, pageOf)
		if err != nil {
			return err
		}
		for _, d := range all {
			out.Things = append(out.Things, found{"urn:oid:" + d.ID.String(), kind, strings.TrimSpace(d.Maker + " " + d.Model)})
		}
		if len(all) == pageOf {
			out.Next = all[pageOf-1].ID.String()
		}
	case kind == KindEquipment:
		all, err := x.Fleet.EquipmentAfter(x.r.Context(), at, fleet.ID(after), pageOf)
		if err != nil {
			return err
		}
		for _, e := range all {
			out.Things = append(out.Things, found{equipmentURN + string(e.ID), kind, e.Name})
		}
		if len(all) == pageOf {
			out.Next = string(all[pageOf-1].ID)
		}
	}
	return x.sendJSON(out)
}
