package cert

import "slices"

// Disease is one that a certificate of vaccination or prophylaxis may concern,
// under our word and under the codes that formats carry for it.
type Disease struct {
	Word      string // ours, stable: "yellow-fever"
	ICD11     string // ICD-11 for mortality and morbidity statistics
	SNOMED    string // SNOMED CT concept, a disorder
	DisplayEN string
	DisplayFR string
}

// The words of the two diseases that a Digital ICVP concerns today.
const (
	DiseaseYellowFever = "yellow-fever"
	DiseasePolio       = "polio"
)

// diseases begins with the two that WHO's ICVP guide v0.3.0 has decision tables
// for (ICVP.DT.1 and ICVP.DT.2). The others appear in older certificates, or
// may be asked for at a border by national rule. A disease whose codes are not
// agreed between the published lists is left out.
var diseases = []Disease{
	{DiseaseYellowFever, "1D47", "16541001", "Yellow fever", "Fièvre jaune"},
	{DiseasePolio, "1C81", "398102009", "Poliomyelitis", "Poliomyélite"},
	{"covid-19", "RA01", "840539006", "COVID-19", "COVID-19"},
	{"cholera", "1A00", "63650001", "Cholera", "Choléra"},
	{"measles", "1F03", "14189004", "Measles", "Rougeole"},
}

// Diseases returns the table, in an order fit for a form.
func Diseases() []Disease { return slices.Clone(diseases) }

// FindDisease returns the disease with this word, ICD-11 code or SNOMED CT
// code. The three cannot be mistaken for one another, and first-generation
// certificates carry either code in the same field.
func FindDisease(wordOrCode string) (Disease, bool) {
	if wordOrCode == "" {
		return Disease{}, false
	}
	for _, d := range diseases {
		if wordOrCode == d.Word || wordOrCode == d.ICD11 || wordOrCode == d.SNOMED {
			return d, true
		}
	}
	return Disease{}, false
}
