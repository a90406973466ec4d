package epcis

import (
	"slices"
	"strings"
)

// Context is the context of JSON-LD that every document of EPCIS 2.0 names.
const Context = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld"

// The namespaces of the vocabulary, as that context has them.
const (
	cbvNamespace = "https://ref.gs1.org/cbv/"
	gs1Namespace = "https://gs1.org/voc/"
)

// standardPrefixes are those of the context. What a document says of "gs1" counts, as
// it is told there.
var standardPrefixes = Prefixes{
	"cbv": cbvNamespace, "gs1": gs1Namespace, "epcis": "https://ref.gs1.org/epcis/", "cbvmda": "urn:epcglobal:cbv:mda:",
}

// vocabulary is a set of words, and what stands before one in its URI.
type vocabulary struct {
	before string // of the URI
	urn    string // of the form before EPCIS 2.0
	words  []string
}

// The vocabularies of CBV 2.0, chapter 7.
var (
	bizSteps = vocabulary{cbvNamespace + "BizStep-", "urn:epcglobal:cbv:bizstep:", strings.Fields(`
		accepting arriving assembling collecting commissioning consigning creating_class_instance cycle_counting
		decommissioning departing destroying disassembling dispensing encoding entering_exiting holding inspecting
		installing killing loading other packing picking receiving removing repackaging repairing replacing reserving
		retail_selling sampling sensor_reporting shipping staging_outbound stock_taking stocking storing transporting
		unloading unpacking void_shipping`)}
	dispositions = vocabulary{cbvNamespace + "Disp-", "urn:epcglobal:cbv:disp:", strings.Fields(`
		active available completeness_inferred completeness_verified conformant container_closed container_open damaged
		destroyed dispensed disposed encoded expired in_progress in_transit inactive mismatch_class mismatch_instance
		mismatch_quantity needs_replacement no_pedigree_match non_conformant non_sellable_other partially_dispensed
		recalled reserved retail_sold returned sellable_accessible sellable_not_accessible stolen unavailable unknown`)}
	transactionTypes = vocabulary{cbvNamespace + "BTT-", "urn:epcglobal:cbv:btt:", strings.Fields(`
		bol cert desadv inv pedigree po poc prodorder recadv rma testprd testres upevt`)}
	partyTypes   = vocabulary{cbvNamespace + "SDT-", "urn:epcglobal:cbv:sdt:", strings.Fields(`location owning_party possessing_party`)}
	errorReasons = vocabulary{cbvNamespace + "ER-", "urn:epcglobal:cbv:er:", strings.Fields(`did_not_occur incorrect_data`)}
	components   = vocabulary{cbvNamespace + "Comp-", "urn:epcglobal:cbv:comp:", strings.Fields(`
		x y z axial_distance azimuth height spherical_radius polar_angle elevation_angle easting northing latitude
		longitude altitude`)}
	measurements = vocabulary{gs1Namespace, "", strings.Fields(`
		AbsoluteHumidity AbsorbedDose AbsorbedDoseRate Acceleration Altitude AmountOfSubstance AmountOfSubstancePerUnitVolume
		Angle AngularAcceleration AngularMomentum AngularVelocity Area Capacitance Conductance Conductivity Count Density
		Dimensionless DoseEquivalent DoseEquivalentRate DynamicViscosity ElectricCharge ElectricCurrent
		ElectricCurrentDensity ElectricFieldStrength Energy Exposure Force Frequency Illuminance Inductance Irradiance
		KinematicViscosity Length LinearMomentum Luminance LuminousFlux LuminousIntensity MagneticFlux MagneticFluxDensity
		MagneticVectorPotential Mass MassConcentration MassFlowRate MassPerAreaTime MemoryCapacity MolalityOfSolute
		MolarEnergy MolarMass MolarVolume Power Pressure RadiantFlux RadiantIntensity Radioactivity RelativeHumidity
		Resistance Resistivity SolidAngle SpecificVolume Speed SurfaceDensity SurfaceTension Temperature Time Torque
		Voltage Volume VolumeFlowRate VolumeFraction VolumetricFlux Wavenumber`)}
	exceptions = vocabulary{gs1Namespace, "", strings.Fields(`ALARM_CONDITION ERROR_CONDITION`)}
)

// Steps and dispositions that are looked for here, as events have them.
const (
	Accepting       = cbvNamespace + "BizStep-accepting"
	Arriving        = cbvNamespace + "BizStep-arriving"
	Commissioning   = cbvNamespace + "BizStep-commissioning"
	CycleCounting   = cbvNamespace + "BizStep-cycle_counting"
	Decommissioning = cbvNamespace + "BizStep-decommissioning"
	Departing       = cbvNamespace + "BizStep-departing"
	Destroying      = cbvNamespace + "BizStep-destroying"
	Dispensing      = cbvNamespace + "BizStep-dispensing"
	Holding         = cbvNamespace + "BizStep-holding"
	Packing         = cbvNamespace + "BizStep-packing"
	Receiving       = cbvNamespace + "BizStep-receiving"
	Shipping        = cbvNamespace + "BizStep-shipping"
	StockTaking     = cbvNamespace + "BizStep-stock_taking"
	Stocking        = cbvNamespace + "BizStep-stocking"
	Storing         = cbvNamespace + "BizStep-storing"
	Transporting    = cbvNamespace + "BizStep-transporting"
	Unpacking       = cbvNamespace + "BizStep-unpacking"

	Recalled  = cbvNamespace + "Disp-recalled"
	InTransit = cbvNamespace + "Disp-in_transit"

	PossessingParty = cbvNamespace + "SDT-possessing_party"
	OwningParty     = cbvNamespace + "SDT-owning_party"
	PartyLocation   = cbvNamespace + "SDT-location"

	Temperature = gs1Namespace + "Temperature"
	Alarm       = gs1Namespace + "ALARM_CONDITION"
)

// uri is the URI of a word of the vocabulary, of one in its older form, or of one of
// somebody else's.
func (v *vocabulary) uri(text string, p Prefixes) (string, bool) {
	if slices.Contains(v.words, text) {
		return v.before + text, true
	}
	if v.urn != "" && strings.HasPrefix(text, v.urn) {
		word := text[len(v.urn):]
		return v.before + word, slices.Contains(v.words, word)
	}
	if !isURI(text) {
		return "", false
	}
	return p.expand(text), true
}

// short is the word of a URI of the vocabulary, and the URI where it is another's.
func (v *vocabulary) short(uri string) string {
	if word, ok := strings.CutPrefix(uri, v.before); ok && slices.Contains(v.words, word) {
		return word
	}
	return uri
}

// expand puts in the place of a standard prefix what it stands for. A value with
// another's stays as it is: it has the form of a URI already.
func (p Prefixes) expand(text string) string {
	prefix, rest, ok := strings.Cut(text, ":")
	if !ok || strings.HasPrefix(rest, "//") {
		return text
	}
	for _, standard := range []string{"cbv", "gs1", "epcis", "cbvmda"} {
		if prefix == standard {
			ns, known := p[prefix]
			if !known {
				ns = standardPrefixes[prefix]
			}
			return ns + rest
		}
	}
	return text
}

// split is the namespace and the name of a member that the standard does not have.
func (p Prefixes) split(name string) (namespace, local string, ok bool) {
	prefix, rest, found := strings.Cut(name, ":")
	if !found {
		return "", name, false
	}
	if ns, known := p[prefix]; known {
		return ns, rest, true
	}
	if ns, known := standardPrefixes[prefix]; known {
		return ns, rest, true
	}
	if i := strings.LastIndexAny(name, "/#"); i > 0 && i+1 < len(name) {
		return name[:i+1], name[i+1:], true
	}
	return prefix + ":", rest, true
}

// isURI reports whether a text has the form of RFC 3986: a scheme and something after
// it, of characters that may stand there.
func isURI(s string) bool {
	colon := strings.IndexByte(s, ':')
	if colon < 1 || colon == len(s)-1 || len(s) > maxURI {
		return false
	}
	for i := range len(s) {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		switch {
		case i == 0 && !letter:
			return false
		case i < colon && !letter && (c < '0' || c > '9') && c != '+' && c != '-' && c != '.' && c != '_':
			return false
		case c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0:
			return false
		case c == '%' && (i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2])):
			return false
		}
	}
	return true
}

const maxURI = 2048

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }
