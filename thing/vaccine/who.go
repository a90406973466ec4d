package vaccine

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ampoule/cert"
	"ampoule/coldchain"
	"ampoule/format"
	"ampoule/thing"
)

// columns of WHO's list that are read; others are passed over.
var whoColumns = []string{"id", "fvp", "status", "type", "commercial", "full", "applicant", "form", "doses", "storage", "vvm", "multidose_policy_excerpt"}

var range28 = regexp.MustCompile(`^\s*([+-]?[0-9]{1,3})\s*(?:°\s*C)?\s*(?:-|–|to)\s*([+-]?[0-9]{1,3})\s*°?\s*C\s*$`)
var below = regexp.MustCompile(`^\s*(?:≤|<=?)?\s*(-[0-9]{1,3})\s*°?\s*C\s*$`)

// ParseWHO reads WHO's list of prequalified vaccines as a table (CSV with a header:
// id, fvp, status, type, commercial, full, applicant, form, doses, storage, vvm,
// multidose_policy_excerpt). Rows without a product are passed over; what WHO withdrew
// stays, since its doses do.
//
// The list does not say what freezing does: that follows from the kind of vaccine
// (WHO, Temperature sensitivity of vaccines, WHO/IVB/06.10), and is not known for a kind
// that the table does not have.
func ParseWHO(data []byte) (*Catalogue, []format.Finding, error) {
	if len(data) > maxCatalogue {
		return nil, nil, fmt.Errorf("WHO's list: %d bytes: %w", len(data), ErrCatalogue)
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(string(data), "\ufeff")))
	r.FieldsPerRecord = -1
	header, err := r.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("WHO's list: no header: %w", ErrCatalogue)
	}
	at := map[string]int{}
	for _, name := range whoColumns {
		if at[name] = slices.Index(header, name); at[name] < 0 {
			return nil, nil, fmt.Errorf("WHO's list: no column %s: %w", name, ErrCatalogue)
		}
	}
	var vaccines []Vaccine
	var findings []format.Finding
	for line := 2; ; line++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("WHO's list: line %d: %w", line, ErrCatalogue)
		}
		if len(vaccines) == MaxProducts {
			return nil, nil, fmt.Errorf("WHO's list: over %d products: %w", MaxProducts, ErrCatalogue)
		}
		get := func(name string) string {
			if i := at[name]; i < len(row) {
				return strings.TrimSpace(row[i])
			}
			return ""
		}
		find := func(column string) {
			findings = append(findings, format.Finding{Path: fmt.Sprintf("line %d, %s", line, column), Reason: "bad-value", Tolerable: true})
		}
		if get("id") == "" || get("full") == "" && get("commercial") == "" {
			continue
		}
		v := Vaccine{Name: get("commercial"), Maker: get("applicant"), Source: "WHO list of prequalified vaccines"}
		if v.Name == "" {
			v.Name = get("full")
		}
		for _, code := range []string{get("id"), get("fvp")} {
			if code != "" {
				v.Codes = append(v.Codes, thing.Product{Code: code, System: cert.SystemICVPProduct})
			}
		}
		switch form := strings.ToLower(get("form")); {
		case strings.HasPrefix(form, "liquid"):
			v.Form = Liquid
		case strings.HasPrefix(form, "lyophilis"), strings.HasPrefix(form, "freeze"):
			v.Form = FreezeDried
			v.Diluent = &Diluent{Name: "diluent of " + v.Name}
		case form != "":
			find("form")
		}
		if n, err := strconv.Atoi(get("doses")); err == nil && n > 0 && n <= 1000 {
			v.Doses = n
		} else if get("doses") != "" {
			find("doses")
		}
		switch storage := get("storage"); {
		case storage == "":
		case range28.MatchString(storage):
			m := range28.FindStringSubmatch(storage)
			low, _ := strconv.Atoi(m[1])
			high, _ := strconv.Atoi(m[2])
			if low == 2 && high == 8 {
				v.Storage = coldchain.Refrigerated.ID
			} else if low <= high {
				v.Range = &coldchain.Profile{ID: "label", Low: coldchain.Temperature(low * 1000), High: coldchain.Temperature(high * 1000)}
			} else {
				find("storage")
			}
		case below.MatchString(storage):
			t, _ := strconv.Atoi(below.FindStringSubmatch(storage)[1])
			v.Storage = coldchain.Frozen.ID
			if t <= -60 {
				v.Storage = coldchain.UltraCold.ID
			}
		default:
			find("storage")
		}
		switch vvm := strings.ToLower(get("vvm")); vvm {
		case "", "none", "not applicable":
		default:
			n, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(vvm, "type")))
			if kind := coldchain.VVM(n); err == nil && slices.Contains([]coldchain.VVM{coldchain.VVM2, coldchain.VVM7, coldchain.VVM14, coldchain.VVM30}, kind) {
				v.VVM = kind
			} else {
				find("vvm")
			}
		}
		// WHO's sentences on opened vials begin in one of two ways.
		switch policy := get("multidose_policy_excerpt"); {
		case strings.Contains(policy, "28 days"):
			v.Open = &Open{Days: true}
		case strings.Contains(policy, "6 hours"):
			v.Open = &Open{Hours: 6}
		}
		v.Freeze = freezeHarmOf(get("type"), get("full"), v.Form)
		vaccines = append(vaccines, v)
	}
	c, err := New(vaccines)
	return c, findings, err
}

// freezeTypes are kinds of vaccine as WHO's list abbreviates them.
var freezeTypes = map[string]thing.Harm{
	"YF": thing.NotHarmed, "MMR": thing.NotHarmed, "MR": thing.NotHarmed, "MEASLES": thing.NotHarmed, "RUBELLA": thing.NotHarmed, "BCG": thing.NotHarmed,
	"TOPV": thing.NotHarmed, "BOPV": thing.NotHarmed, "MOPV1": thing.NotHarmed, "MOPV3": thing.NotHarmed, "MOPV2": thing.NotHarmed, "OPV": thing.NotHarmed,
	"TT": thing.Harmed, "TD": thing.Harmed, "DT": thing.Harmed, "DTP": thing.Harmed, "DTWP": thing.Harmed, "DTAP": thing.Harmed, "HEPB": thing.Harmed,
	"IPV": thing.Harmed, "HPV": thing.Harmed, "PCV": thing.Harmed, "PNEUMO_CONJ": thing.Harmed,
}

// freezeHarmOf says what freezing does to a kind of vaccine. The word "adsorbed" says so
// of any; "inactivated polio" is not in an oral one's name but by mistake, and then the
// type tells.
func freezeHarmOf(kind, name string, form Form) thing.Harm {
	if harm, ok := freezeTypes[strings.ToUpper(kind)]; ok {
		return harm
	}
	name = strings.ToLower(name)
	switch {
	case strings.Contains(name, "adsorbed"), strings.Contains(name, "polio") && strings.Contains(name, "inactivated") && !strings.Contains(name, "oral"):
		return thing.Harmed
	case form == FreezeDried && (strings.Contains(name, "yellow fever") || strings.Contains(name, "measles")):
		return thing.NotHarmed
	}
	return thing.HarmNotKnown
}
