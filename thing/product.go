package thing

import (
	"strings"

	"ampoule/cert"
	"ampoule/format/fhir"
)

// Harm is whether something spoils a product. Heat spoils all of them in time,
// so that only freezing is asked about.
type Harm string

// The answers. What no source says of a product is not known, and never passed
// over.
const (
	Harmed       Harm = "harmed"
	NotHarmed    Harm = "not-harmed"
	HarmNotKnown Harm = "not-known"
)

// FreezeHarm says whether freezing spoils the vaccine of a dose.
//
// The facts are those of WHO's "Temperature sensitivity of vaccines"
// (WHO/IVB/06.10): freezing spoils vaccines adsorbed on aluminium salts and
// inactivated poliomyelitis vaccine; freeze-dried vaccines (yellow fever,
// measles, MMR, BCG) and oral poliomyelitis vaccine stand it. A diluent does not
// stand it either, and no certificate names one.
//
// A dose whose codes say one and the other is not known.
func FreezeHarm(d Dose) Harm {
	known := HarmNotKnown
	agree := func(h Harm) bool {
		if h == HarmNotKnown || h == known {
			return true
		}
		first := known == HarmNotKnown
		known = h
		return first
	}
	for _, p := range d.Products {
		if !agree(freezeHarmOfCode(p)) {
			return HarmNotKnown
		}
	}
	if !agree(freezeHarmOfName(d.Name)) || !agree(freezeHarmOfDisease(d.Disease)) {
		return HarmNotKnown
	}
	return known
}

// freezeHarmCVX are kinds of vaccine by their CVX code. Those that one code
// gathers from both sides, such as 89 (polio, unspecified), are left out.
var freezeHarmCVX = map[string]Harm{
	"10": Harmed, // IPV
	// Adsorbed on an aluminium salt.
	"01": Harmed, "20": Harmed, "106": Harmed, "107": Harmed, // DTP, DTaP
	"09": Harmed, "113": Harmed, "115": Harmed, "28": Harmed, // Td, Tdap, DT
	"110": Harmed, "120": Harmed, "130": Harmed, "146": Harmed, // combined with IPV and others
	"08": Harmed, "43": Harmed, // hepatitis B
	"52": Harmed, "83": Harmed, "104": Harmed, // hepatitis A
	"62": Harmed, "118": Harmed, "165": Harmed, // HPV
	"133": Harmed, // pneumococcal conjugate

	"37": NotHarmed, "183": NotHarmed, "184": NotHarmed, // yellow fever
	"02": NotHarmed, "178": NotHarmed, "179": NotHarmed, "182": NotHarmed, // oral polio
	"03": NotHarmed, "05": NotHarmed, "04": NotHarmed, // measles, mumps and rubella
	"19": NotHarmed, // BCG
}

func freezeHarmOfCode(p Product) Harm {
	switch p.System {
	case fhir.SystemCVX:
		if h, ok := freezeHarmCVX[p.Code]; ok {
			return h
		}
	case cert.SystemICVPProduct:
		// WHO's ids of 2025 begin with the kind of vaccine, cut to 24 letters.
		switch {
		case strings.HasPrefix(p.Code, "PolioVaccineInactivated"):
			return Harmed
		case strings.HasPrefix(p.Code, "PolioVaccineOral"):
			return NotHarmed
		}
	}
	return HarmNotKnown
}

// freezeHarmOfName reads how a catalogue calls a polio vaccine: WHO's lists tell
// the two kinds apart by these words, also within combinations.
func freezeHarmOfName(name string) Harm {
	name = strings.ToLower(name)
	oral, inactivated := strings.Contains(name, "oral"), strings.Contains(name, "inactivated")
	switch {
	case !strings.Contains(name, "polio") || oral == inactivated:
		return HarmNotKnown
	case oral:
		return NotHarmed
	}
	return Harmed
}

// freezeHarmOfDisease: against yellow fever there is one kind of vaccine, live
// and freeze-dried; against polio there are two.
func freezeHarmOfDisease(code string) Harm {
	if d, _ := cert.FindDisease(code); d.Word == cert.DiseaseYellowFever {
		return NotHarmed
	}
	return HarmNotKnown
}
