// Package access says who somebody is and what they may do: people who log in by
// passkey, by their organisation's own login (OpenID Connect) or, where all else
// fails, by a break-glass password, and programs that hold a token.
package access

import "ampoule/party/issuer"

// Role is what somebody does. It is held at a place: a whole organisation or one
// facility of it.
type Role string

// The roles.
const (
	Clerk            Role = "clerk"              // issues, prints, hands over
	Supervisor       Role = "supervisor"         // corrects, revokes, reinstates, erases besides
	Verifier         Role = "verifier"           // verifies, and sees no records
	ColdChainManager Role = "cold-chain-manager" // watches stores and fridges
	Technician       Role = "technician"         // sets devices up
	Epidemiologist   Role = "epidemiologist"     // asks for figures, and sees no records
	Operator         Role = "operator"           // keeps the service running, and sees no records
	Auditor          Role = "auditor"            // reads the audit log
	Administrator    Role = "administrator"      // says who may do what, and sees no records
)

// Roles are all of them.
var Roles = []Role{Clerk, Supervisor, Verifier, ColdChainManager, Technician, Epidemiologist, Operator, Auditor, Administrator}

// Action is something that may be allowed.
type Action string

// The actions.
const (
	CertificateIssue     Action = "certificate:issue"
	CertificateRead      Action = "certificate:read" // the whole record, with its certificates
	CertificateSearch    Action = "certificate:search"
	CertificateList      Action = "certificate:list" // heads, which tell nothing personal
	CertificateCorrect   Action = "certificate:correct"
	CertificateRevoke    Action = "certificate:revoke"
	CertificateReinstate Action = "certificate:reinstate"
	CertificateErase     Action = "certificate:erase"
	KeyReissue           Action = "key:reissue" // everything of a key under a new one
	JobRun               Action = "job:run"     // bulk
	JobRead              Action = "job:read"
	AuditRead            Action = "audit:read"
	PeopleManage         Action = "people:manage" // accounts, grants, tokens of an organisation
	SettingsManage       Action = "settings:manage"
	LedgerVote           Action = "ledger:vote" // for the member that this service is of
	FleetRead            Action = "fleet:read"  // equipment, devices, what they measure, alarms
	CustodyCapture       Action = "custody:capture"
	CustodyRead          Action = "custody:read"
	FleetManage          Action = "fleet:manage"
	AlarmAcknowledge     Action = "alarm:acknowledge"
	ReadingsSend         Action = "readings:send"  // of devices that the account speaks for, and of files
	SessionRun           Action = "session:run"    // stock of a clinic: opened, wasted, ended
	StockOverride        Action = "stock:override" // what is unfit is opened all the same
	StockManage          Action = "stock:manage"   // where stock can be
	TraceRead            Action = "trace:read"     // from a lot to the certificates, and back
	LotState             Action = "lot:state"      // what the service says of lots: recalls
	AdverseReport        Action = "aefi:report"    // adverse events that followed a dose
)

// Actions are all of them.
var Actions = []Action{
	CertificateIssue, CertificateRead, CertificateSearch, CertificateList, CertificateCorrect, CertificateRevoke, CertificateReinstate,
	CertificateErase, KeyReissue, JobRun, JobRead, AuditRead, PeopleManage, SettingsManage,
	LedgerVote, CustodyCapture, CustodyRead, FleetRead, FleetManage, AlarmAcknowledge, ReadingsSend,
	SessionRun, StockOverride, StockManage, TraceRead, LotState, AdverseReport,
}

// Grant is a role at a place.
type Grant struct {
	Role     Role
	Facility string // empty: the whole organisation
}

// Principal is who asks.
type Principal struct {
	// ID names the account or token, and no person: it stands in audit lines.
	ID           string
	Organisation string
	Grants       []Grant
	// Scopes bound a token to some actions; nil for a person, who has no bounds but
	// the grants.
	Scopes []Action
}

// Home is the place at which the principal's records are made when no facility is
// named: that of the only grant, or the organisation.
func (p *Principal) Home() issuer.Place {
	home := issuer.Place{Organisation: p.Organisation}
	if len(p.Grants) == 1 {
		home.Facility = p.Grants[0].Facility
	}
	return home
}
