package interop

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"ampoule/cert"
	"ampoule/format/cbor"
	"ampoule/format/divoc"
	"ampoule/format/eudcc"
	"ampoule/format/fhir"
	"ampoule/format/strictjson"
	"ampoule/format/vdsnc"
	"ampoule/thing"
	"ampoule/thing/vaccine"
)

// runTerminology holds code tables and maps of others against ours, and reads the
// sources of WHO's mappings. Any folder is passed over that is not there.
func runTerminology(t *testing.T, b *board, dir string) {
	for _, part := range []struct {
		path string
		run  func(*testing.T, *board, string)
	}{
		{"who-ddcc/crosswalk_pairs.csv", runCrosswalk},
		{"who-immz/disease_crosswalk.csv", runDiseaseCrosswalk},
		{"who-immz/vaccine_group_equivalents.csv", runVaccineGroups},
		{"who-icvp/icvp_product_ids_2025.csv", runProductIDs},
		{"who-prequal/products_flat_2026-04.csv", runPrequalified},
		{"cdc/cvx.csv", runCVX},
		{"eu-dcc", runEUValueSets},
		{"fixtures", runFixtures},
	} {
		path := filepath.Join(dir, part.path)
		if _, err := os.Stat(path); err == nil {
			part.run(t, b, path)
		}
	}
}

// rows reads a table by the names of its columns.
func rows(t *testing.T, path string) []map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	out := make([]map[string]string, 0, len(all))
	for _, row := range all[1:] {
		m := make(map[string]string)
		for i, name := range all[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

func judge(ok bool) judgement {
	if ok {
		return agree
	}
	return disagree
}

// runCrosswalk loads the table as an operator would and asks for each pair in
// both directions; then it asks what stands for each source, and compares with
// what its rows say; and it holds our own maps against it.
func runCrosswalk(t *testing.T, b *board, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	theirs := new(cert.ConceptMaps)
	if err := theirs.Add("crosswalk", data); err != nil {
		b.add(result{"terminology", "crosswalk", "table", disagree, "", err.Error()})
		return
	}
	ours := cert.BuiltinConceptMaps()
	type asked struct{ from, system string }
	exact, wider := map[asked][]string{}, map[asked][]string{}
	all := rows(t, path)
	for _, r := range all {
		if strings.HasPrefix(r["target_system"], "http://id.who.int/icd") {
			r["target_system"] = "http://id.who.int/icd11/mms" // of which the table has two names
		}
		from := cert.Code{Code: r["source_code"], System: r["source_system"]}
		to := cert.Code{Code: r["target_code"], System: r["target_system"]}
		e := fhir.Equivalence(r["equivalence"])
		name := fmt.Sprintf("%s %s", r["map"], from.Code)
		says := func(m *cert.ConceptMaps, a, b cert.Code, e fhir.Equivalence) bool {
			return slices.ContainsFunc(m.Matches(a, b.System), func(m cert.Match) bool { return m.Code.Code == b.Code && m.Equivalence == e })
		}
		b.add(result{"terminology", "crosswalk", name, judge(says(theirs, from, to, e)), "", "the pair is not found"})
		if back, ok := e.Reversed(); ok {
			b.add(result{"terminology", "crosswalk reversed", name, judge(says(theirs, to, from, back)), "", "the pair is not found from its other side"})
		}
		for _, m := range ours.Matches(from, to.System) {
			b.add(result{"terminology", "our maps", name, judge(m.Code.Code != to.Code || m.Equivalence.Exact() == e.Exact()), "", "ours says " + string(m.Equivalence)})
		}
		key := asked{from.System + "|" + from.Code, to.System}
		if e.Exact() && !slices.Contains(exact[key], to.Code) {
			exact[key] = append(exact[key], to.Code)
		} else if e.MeansMore() && !slices.Contains(wider[key], to.Code) {
			wider[key] = append(wider[key], to.Code)
		}
	}
	done := map[asked]bool{}
	for _, r := range all {
		key := asked{r["source_system"] + "|" + r["source_code"], r["target_system"]}
		if done[key] {
			continue
		}
		done[key] = true
		want := ""
		if len(exact[key]) == 1 {
			want = exact[key][0]
		} else if len(exact[key]) == 0 && len(wider[key]) == 1 {
			want = wider[key][0]
		}
		m, ok := theirs.Translate(cert.Code{Code: r["source_code"], System: r["source_system"]}, r["target_system"])
		got := ""
		if ok {
			got = m.Code.Code
		}
		b.add(result{"terminology", "crosswalk translated", key.from, judge(got == want), "", fmt.Sprintf("%q stands for it, want %q", got, want)})
	}
	// Two codes of one hub stand for each other where both are exact and alone in
	// that; through what is wider nothing comes out.
	type side struct{ system, code string }
	exactTo := map[string]map[string][]string{}
	for _, r := range all {
		if fhir.Equivalence(r["equivalence"]).Exact() {
			if exactTo[r["target_code"]] == nil {
				exactTo[r["target_code"]] = map[string][]string{}
			}
			exactTo[r["target_code"]][r["source_system"]] = append(exactTo[r["target_code"]][r["source_system"]], r["source_code"])
		}
	}
	systems := map[string]bool{}
	for _, r := range all {
		systems[r["source_system"]] = true
	}
	for _, r := range all {
		for system := range systems {
			if system == r["source_system"] {
				continue
			}
			from := side{r["source_system"], r["source_code"]}
			want := ""
			hub := exactTo[r["target_code"]]
			own := exact[asked{from.system + "|" + from.code, r["target_system"]}]
			if fhir.Equivalence(r["equivalence"]).Exact() && len(own) == 1 && len(hub[from.system]) == 1 && len(hub[system]) == 1 {
				want = hub[system][0]
				if len(exact[asked{system + "|" + want, r["target_system"]}]) != 1 {
					want = ""
				}
			}
			m, ok := theirs.Translate(cert.Code{Code: from.code, System: from.system}, system)
			got := ""
			if ok {
				got = m.Code.Code
			}
			if got != "" || want != "" {
				b.add(result{"terminology", "crosswalk chained", from.code + " to " + system, judge(got == want), "", fmt.Sprintf("%q stands for it, want %q", got, want)})
			}
		}
	}
}

// runDiseaseCrosswalk holds our diseases against the table's.
func runDiseaseCrosswalk(t *testing.T, b *board, path string) {
	for _, r := range rows(t, path) {
		d, known := cert.FindDisease(r["snomed_ct"])
		if !known {
			if d, known = cert.FindDisease(r["icd11"]); !known {
				continue
			}
		}
		b.add(result{"terminology", "diseases", d.Word, judge(d.ICD11 == r["icd11"] && d.SNOMED == r["snomed_ct"]), "", fmt.Sprintf("ours is ICD-11 %s, SNOMED CT %s", d.ICD11, d.SNOMED)})
	}
}

// runVaccineGroups loads the equivalents of each group and asks which code of
// another system stands for one of them: by way of the group, which is the hub,
// and never where a code or a group has several.
func runVaccineGroups(t *testing.T, b *board, path string) {
	systems := map[string]string{"icd11_equivalent": "icd11", "snomed_equivalent": "snomed", "atc_equivalent": "atc"}
	table := "source_system,source_code,target_system,target_code,equivalence\n"
	all := rows(t, path)
	groups := map[string]int{} // of how many groups a code is the equivalent
	for _, r := range all {
		for column, system := range systems {
			for code := range strings.SplitSeq(r[column], "|") {
				if code != "" {
					table += fmt.Sprintf("urn:group,%s,%s,%s,equivalent\n", r["immz_z_element"], cert.SystemNamed(system), code)
					groups[system+code]++
				}
			}
		}
	}
	maps := new(cert.ConceptMaps)
	if err := maps.Add("groups", []byte(table)); err != nil {
		b.add(result{"terminology", "vaccine groups", "table", disagree, "", err.Error()})
		return
	}
	for _, r := range all {
		for column, from := range systems {
			for code := range strings.SplitSeq(r[column], "|") {
				if code == "" {
					continue
				}
				for target, to := range systems {
					if to == from {
						continue
					}
					want := r[target]
					if strings.Contains(r[column], "|") || groups[from+code] > 1 || strings.Contains(want, "|") || groups[to+want] > 1 {
						want = ""
					}
					m, ok := maps.Translate(cert.Code{Code: code, System: cert.SystemNamed(from)}, cert.SystemNamed(to))
					got := ""
					if ok {
						got = m.Code.Code
					}
					b.add(result{"terminology", "vaccine groups", r["immz_z_element"] + " " + code + " to " + to, judge(got == want), "", fmt.Sprintf("%q stands for it, want %q", got, want)})
				}
			}
		}
	}
}

// runProductIDs reads the list as a catalogue. A product whose type the list
// names must be against the disease that the type says.
func runProductIDs(t *testing.T, b *board, path string) {
	type code struct {
		ID      string `json:"id"`
		Display string `json:"display"`
	}
	var codes []code
	all := rows(t, path)
	for _, r := range all {
		codes = append(codes, code{r["code"], r["display"]})
	}
	data, err := json.Marshal(map[string]any{"source": filepath.Base(path), "codes": codes})
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := cert.ReadCatalogue(data)
	if err != nil {
		b.add(result{"terminology", "icvp products", "list", disagree, "", err.Error()})
		return
	}
	for _, r := range all {
		p, known := catalogue.Product(r["code"])
		want := ""
		switch kind := r["vaccine_type"]; {
		case strings.HasPrefix(kind, "YellowFever"):
			want = cert.DiseaseYellowFever
		case strings.Contains(kind, "Polio"):
			want = cert.DiseasePolio
		default:
			want = p.Disease // the list does not say
		}
		b.add(result{"terminology", "icvp products", r["code"], judge(known && p.Disease == want && p.Disease != ""), "", fmt.Sprintf("against %q, want %q", p.Disease, want)})
	}
}

// runCVX looks up every CVX code of our own maps.
func runCVX(t *testing.T, b *board, path string) {
	theirs := map[string]bool{}
	for _, r := range rows(t, path) {
		theirs[r["cvx"]] = true
	}
	ours, err := os.ReadFile("../cert/conceptmaps.csv")
	if err != nil {
		t.Fatal(err)
	}
	table := csv.NewReader(bytes.NewReader(ours))
	table.Comment = '#'
	all, err := table.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all[1:] {
		if r[1] == fhir.SystemCVX {
			b.add(result{"terminology", "cvx of our maps", r[2] + " to " + r[5], judge(theirs[r[2]]), "", "CVX has no such code"})
		}
	}
}

// runEUValueSets holds our value sets against the published ones.
func runEUValueSets(t *testing.T, b *board, dir string) {
	for set, file := range map[cert.ValueSet]string{
		cert.ValueSetDisease: "disease-agent-targeted.json", cert.ValueSetProphylaxis: "vaccine-prophylaxis.json", cert.ValueSetProduct: "vaccine-medicinal-product.json",
		cert.ValueSetManufacturer: "vaccine-mah-manf.json", cert.ValueSetTestType: "test-type.json", cert.ValueSetTestResult: "test-result.json", cert.ValueSetCountry: "country-2-codes.json",
	} {
		path := filepath.Join(dir, file)
		if _, err := os.Stat(path); err != nil {
			continue
		}
		var published struct {
			Values map[string]struct {
				Display string `json:"display"`
				System  string `json:"system"`
				Active  bool   `json:"active"`
			} `json:"valueSetValues"`
		}
		readJSON(t, path, &published)
		for code, v := range published.Values {
			_, known := cert.Display(set, code)
			got := cert.SystemOf(set, code)
			b.add(result{"terminology", "EU value sets", string(set) + " " + code, judge(known && got == v.System), "", fmt.Sprintf("known %v, system %q, theirs %q", known, got, v.System)})
			if set != cert.ValueSetCountry {
				b.add(result{"terminology", "EU value sets in use", string(set) + " " + code, judge(cert.Withdrawn(set, code) == !v.Active), "", fmt.Sprintf("withdrawn %v", cert.Withdrawn(set, code))})
			}
		}
	}
}

// runFixtures reads the sources of WHO's mappings into the neutral record and
// converts each to WHO's DDCC, as those mappings do. Person, day and lot must
// arrive.
func runFixtures(t *testing.T, b *board, dir string) {
	for _, path := range jsonFiles(t, dir) {
		name, _ := filepath.Rel(dir, path)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r := result{format: "terminology", group: "fixtures", name: name, judgement: disagree}
		record, err := readFixture(data)
		if err != nil {
			r.detail = err.Error()
			if strings.Contains(name, "divoc") && strings.Contains(r.detail, "context") {
				r.judgement, r.rule = notApplicable, "not the form that is signed"
			}
			b.add(r)
			continue
		}
		x, err := record.Convert(cert.FormatDDCC, cert.BuiltinConceptMaps(), nil)
		switch {
		case err != nil:
			r.detail = err.Error()
		case x.Read == nil:
			r.detail = fmt.Sprint(x.Missing)
		default:
			before, after := arrived(record), arrived(x.Read)
			r.judgement, r.detail = judge(before == after && strings.Count(before, "|") == 2 && !strings.HasPrefix(before, "|")), fmt.Sprintf("%q became %q", before, after)
		}
		b.add(r)
	}
}

// arrived is what must not be lost: birth date, day and lot.
func arrived(c *cert.Certificate) string {
	day, lot := "", ""
	if c.Vaccination != nil {
		day, lot = string(c.Vaccination.Date), c.Vaccination.Lot
	} else if c.Test != nil {
		day = c.Test.Sampled
	}
	return string(c.Person.BirthDate) + "|" + day + "|" + lot
}

// readFixture tells the formats apart by their members.
func readFixture(data []byte) (*cert.Certificate, error) {
	o, err := strictjson.Parse(data, strictjson.Limits{})
	if err != nil {
		return nil, err
	}
	fromBundle := func(bundle strictjson.Value) *cert.Certificate {
		decoded, _ := fhir.Decode(bundle)
		return cert.FromFHIR(decoded)
	}
	switch kind, _ := o.Get("resourceType").Text(); {
	case kind == "Bundle":
		return fromBundle(o), nil
	case o.Get("vc").Exists():
		return fromBundle(o.Get("vc").Get("credentialSubject").Get("fhirBundle")), nil
	case o.Get("-260").Exists():
		content := appendCBOR(nil, o.Get("-260").Get("1"))
		parsed, err := cbor.Parse(content, cbor.DefaultLimits)
		if err != nil {
			return nil, err
		}
		payload, _ := eudcc.Decode(parsed)
		record, _ := cert.FromDCC(payload)
		return record, nil
	case o.Get("data").Exists():
		inner, err := json.Marshal(o.Get("data").Any())
		if err != nil {
			return nil, err
		}
		seal, _, err := vdsnc.DecodeData(inner, vdsnc.Field)
		if err != nil {
			return nil, err
		}
		return cert.FromVDSNC(seal), nil
	}
	document, _, err := divoc.DecodeJSON(data)
	if err != nil {
		return nil, err
	}
	return cert.FromDIVOC(document), nil
}

// appendCBOR writes a JSON value.
func appendCBOR(dst []byte, v strictjson.Value) []byte {
	switch v.Kind() {
	case strictjson.Object:
		dst = cbor.AppendMap(dst, v.Len())
		for m := range v.All() {
			dst = appendCBOR(cbor.AppendText(dst, m.Name()), m)
		}
	case strictjson.Array:
		dst = cbor.AppendArray(dst, v.Len())
		for m := range v.All() {
			dst = appendCBOR(dst, m)
		}
	case strictjson.String:
		s, _ := v.Text()
		dst = cbor.AppendText(dst, s)
	case strictjson.Number:
		number, _ := v.Number()
		n, _ := number.Int64()
		dst = cbor.AppendInt(dst, n)
	}
	return dst
}

// runPrequalified reads WHO's list of prequalified vaccines: every product that it names
// is found by both of its codes, with its doses.
func runPrequalified(t *testing.T, b *board, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	list, findings, err := vaccine.ParseWHO(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		b.add(result{format: "terminology", group: "prequalified", name: f.Path, judgement: disagree, detail: string(f.Reason)})
	}
	for _, row := range rows(t, path) {
		r := result{format: "terminology", group: "prequalified", name: row["fvp"], judgement: agree}
		byID := list.Find(thing.Product{Code: row["id"], System: cert.SystemICVPProduct})
		byNumber := list.Find(thing.Product{Code: row["fvp"], System: cert.SystemICVPProduct})
		switch {
		case row["full"] == "" && row["commercial"] == "":
			r.judgement, r.detail = notApplicable, "no product is told"
		case byID == nil || byID != byNumber:
			r.judgement, r.detail = disagree, "it is not found"
		case fmt.Sprint(byID.Doses) != row["doses"] && row["doses"] != "":
			r.judgement, r.detail = disagree, fmt.Sprintf("%d doses, want %s", byID.Doses, row["doses"])
		}
		b.add(r)
	}
}
