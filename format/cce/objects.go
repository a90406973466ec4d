package cce

// kind is what a data object may be.
type kind uint8

const (
	text kind = iota
	number
	boolean
)

// object is what WHO PQS E006/DS01 says of a data object, as far as the schema
// cce-interop 0.8 has it.
type object struct {
	kind     kind
	required bool    // null is no value of it
	from, to float64 // of a number, both allowed
}

const unbounded = 1e300

// objects are the data objects by their codes. One that is not here is the supplier's
// own, and is passed over.
var objects = map[string]object{
	"ABST": {kind: text, required: true}, "ALRM": {kind: text}, "EERR": {kind: text}, "LERR": {kind: text},

	// Who and what.
	"ACAT": {kind: text}, "ADOP": {kind: text}, "AID": {kind: text}, "AMFR": {kind: text}, "AMID": {kind: text, required: true}, "AMOD": {kind: text}, "APQS": {kind: text}, "ASER": {kind: text},
	"CDAT": {kind: text}, "CDAT2": {kind: text}, "CID": {kind: text}, "CNAM": {kind: text}, "CNAM2": {kind: text}, "CSER": {kind: text}, "CSER2": {kind: text}, "CSOF": {kind: text}, "CSOF2": {kind: text},
	"DNAM": {kind: text}, "EDOP": {kind: text}, "EID": {kind: text}, "EMFR": {kind: text}, "EMOD": {kind: text}, "EMSV": {kind: text}, "EPQS": {kind: text}, "ESER": {kind: text},
	"FID": {kind: text}, "FNAM": {kind: text}, "LDOP": {kind: text, required: true}, "LID": {kind: text}, "LMFR": {kind: text, required: true}, "LMOD": {kind: text, required: true},
	"LPQS": {kind: text, required: true}, "LSER": {kind: text, required: true}, "LSV": {kind: text}, "RNAM": {kind: text}, "SIGN": {kind: text},

	// Temperatures, °C, and humidities, %.
	"TVC": {number, false, -55, 60}, "TFRZ": {number, false, -99.9, 60}, "TAMB": {number, true, -55, 60},
	"TCON": {number, false, -55, 150}, "TCON2": {number, false, -55, 150}, "TPCB": {number, false, -55, 150}, "TPCB2": {number, false, -55, 150},
	"HAMB": {number, false, 0, 100}, "HCOM": {number, false, 0, 100},

	// Seconds of the interval, of which there are 900: compressor, doors, supply.
	"CMPR": {number, false, 0, 900}, "CMPR2": {number, false, 0, 900}, "DORF": {number, false, 0, 900}, "DORV": {number, false, 0, 900},
	"DRCF": {number, false, 0, 900}, "DRCV": {number, false, 0, 900}, "SVA": {number, false, 0, 900},

	// Speed of compressors, fan, current and voltage, days of battery and holdover.
	"CMPS": {number, false, 0, 20000}, "CMPS2": {number, false, 0, 20000}, "FANS": {number, false, 0, 100},
	"ACCD": {number, false, 0, 50}, "ACSV": {number, false, 0, 600}, "DCCD": {number, false, 0, 99.9}, "DCSV": {number, false, 0, 999.9},
	"BEMD": {number, false, 0, 9999.9}, "BLOG": {number, true, 0, 9999}, "HOLD": {number, false, 0, 999.9},
	"IDRF": {number, false, 0, unbounded}, "IDRV": {number, false, 0, unbounded}, "MSW": {kind: boolean},

	"LAT": {number, false, -90, 90}, "LNG": {number, false, -180, 180}, "LACC": {number, false, 0, 999.9},
}

// What a report and its records must have, by the type of the transmission.
var (
	emsReport  = []string{"CID", "ADOP", "AMFR", "AMOD", "APQS", "ASER", "LDOP", "LMFR", "LMOD", "LPQS", "LSER", "EDOP", "EMFR", "EMOD", "EPQS", "ESER"}
	emsRecord  = []string{"ABST", "ALRM", "BEMD", "BLOG", "CMPR", "DORV", "EERR", "LERR", "TAMB"}
	rtmdReport = []string{"AMID", "CID", "DLST", "EDOP", "EMFR", "EMOD", "EPQS", "ESER"}
	rtmdRecord = []string{"ABST", "ALRM", "BEMD", "EERR"}
	sensors    = []string{"TVC", "TFRZ", "TAMB", "IDRV"} // that a device list may map
)
