package coldchain

// Times of WHO's multi-dose vial policy (WHO Policy Statement: Multi-dose Vial Policy,
// revision 2014, WHO/IVB/14.07).
const (
	openHours = 6 * 3600
	openDays  = 28 * 86400
)

// Why an opened vial is thrown away.
const (
	DiscardHours   = "hours-open"
	DiscardSession = "end-of-session"
	DiscardDays    = "twenty-eight-days"
	DiscardExpiry  = "expiry"
)

// OpenVial is a multi-dose vial that was opened. Times are in seconds since 1970; 0:
// not known.
type OpenVial struct {
	Opened        int64 // or reconstituted
	Reconstituted bool
	// Days is that the policy allows 28 days: the product is prequalified, its label has
	// them, and it was not reconstituted.
	Days       bool
	Label      int64 // seconds that the label allows in place of six hours; 0: none
	SessionEnd int64
	Expiry     int64 // the first second at which the vial has expired
}

// Discard is when it is thrown away at the latest, and why. A vial monitor past its
// discard point, and storage out of range, come before it.
func (v *OpenVial) Discard() (at int64, why string) {
	if v.Days && !v.Reconstituted {
		at, why = v.Opened+openDays, DiscardDays
	} else {
		at, why = v.Opened+openHours, DiscardHours
		if v.Label > 0 {
			at = v.Opened + v.Label
		}
		if v.SessionEnd > 0 && v.SessionEnd < at {
			at, why = max(v.SessionEnd, v.Opened), DiscardSession
		}
	}
	if v.Expiry > 0 && v.Expiry < at {
		at, why = v.Expiry, DiscardExpiry
	}
	return at, why
}

// DiluentFreeze is the alarm of a diluent: it must never freeze, since its ampoule may
// crack and let in what is around it (WHO, Immunization in practice, 2015, module 2).
// It bears warmth, and is cooled to 2 to 8 °C before it is used.
var DiluentFreeze = Rule{ID: "DILUENT-FRZ", Op: AtMost, Limit: -500, For: 3600, Mode: Consecutive}
