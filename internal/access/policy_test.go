package access

import (
	"slices"
	"testing"

	"ampoule/party/issuer"
)

var (
	north     = issuer.Place{Organisation: "org-1", Facility: "north"}
	south     = issuer.Place{Organisation: "org-1", Facility: "south"}
	whole     = issuer.Place{Organisation: "org-1"}
	elsewhere = issuer.Place{Organisation: "org-2", Facility: "north"}
	nowhere   = issuer.Place{}
)

// mayDo is what each role may do at its place, said again by hand.
var mayDo = map[Role][]Action{
	Clerk: {CertificateIssue, CertificateRead, CertificateSearch, CertificateList, JobRun, JobRead, CustodyRead, FleetRead, SessionRun, AdverseReport},
	Supervisor: {CertificateIssue, CertificateRead, CertificateSearch, CertificateList, CertificateCorrect, CertificateRevoke,
		CertificateReinstate, CertificateErase, KeyReissue, JobRun, JobRead, CustodyCapture, CustodyRead, FleetRead, AlarmAcknowledge,
		SessionRun, StockOverride, StockManage, TraceRead, LotState, AdverseReport},
	Verifier: {}, Epidemiologist: {},
	ColdChainManager: {CustodyCapture, CustodyRead, FleetRead, FleetManage, AlarmAcknowledge, ReadingsSend, StockManage, TraceRead},
	Technician:       {FleetRead, FleetManage, ReadingsSend},
	Operator:         {KeyReissue, SettingsManage},
	Auditor:          {AuditRead, CustodyRead, FleetRead, TraceRead},
	Administrator:    {PeopleManage, SettingsManage, LedgerVote},
}

// TestAllow: every role, every action, every kind of place, for a grant of one
// facility and of the whole organisation.
func TestAllow(t *testing.T) {
	p := NewPolicy()
	if len(mayDo) != len(Roles) {
		t.Fatalf("%d roles, and the table has %d", len(Roles), len(mayDo))
	}
	for _, role := range Roles {
		for _, action := range Actions {
			may := slices.Contains(mayDo[role], action)
			for _, tt := range []struct {
				name     string
				facility string
				at       issuer.Place
				counts   bool
			}{
				{"facility, at it", "north", north, true},
				{"facility, at another", "north", south, false},
				{"facility, for the whole", "north", whole, false},
				{"facility, in another organisation", "north", elsewhere, false},
				{"whole, at a facility", "", north, true},
				{"whole, at another", "", south, true},
				{"whole, for the whole", "", whole, true},
				{"whole, in another organisation", "", elsewhere, false},
				{"whole, nowhere", "", nowhere, false},
			} {
				who := &Principal{ID: "u-1", Organisation: "org-1", Grants: []Grant{{role, tt.facility}}}
				got, reason := p.Allow(who, action, tt.at)
				if got != (may && tt.counts) || reason == "" || reason == reasonPolicy {
					t.Errorf("%s %s, %s: %v (%s)", role, action, tt.name, got, reason)
				}
				// A token of that account, with this scope, with another, and with none.
				for _, scopes := range [][]Action{{action}, {"other:thing"}, {}} {
					who.Scopes = scopes
					want := may && tt.counts && slices.Contains(scopes, action) && action != PeopleManage
					if got, reason := p.Allow(who, action, tt.at); got != want {
						t.Errorf("token %v of %s %s, %s: %v (%s)", scopes, role, action, tt.name, got, reason)
					}
				}
			}
		}
	}
}

func TestAllowReasons(t *testing.T) {
	p := NewPolicy()
	clerk := &Principal{ID: "u-1", Organisation: "org-1", Grants: []Grant{{Auditor, ""}, {Clerk, "north"}}}
	token := &Principal{ID: "t-1", Organisation: "org-1", Grants: []Grant{{Clerk, ""}}, Scopes: []Action{CertificateIssue}}
	for _, tt := range []struct {
		who     *Principal
		action  Action
		at      issuer.Place
		allowed bool
		reason  string
	}{
		{nil, CertificateIssue, north, false, "not-logged-in"},
		{clerk, CertificateIssue, north, true, "clerk"},
		{clerk, AuditRead, whole, true, "auditor"},
		{clerk, CertificateIssue, south, false, "other-facility"},
		{clerk, CertificateIssue, elsewhere, false, "other-organisation"},
		{clerk, CertificateRevoke, north, false, "no-role-for-it"},
		{clerk, "certificate:everything", north, false, "no-role-for-it"},
		{token, CertificateIssue, north, true, "clerk"},
		{token, CertificateRead, north, false, "token-scope"},
		{&Principal{ID: "u-2", Grants: []Grant{{Clerk, ""}}}, CertificateIssue, nowhere, false, "other-organisation"},
		{&Principal{ID: "u-3", Organisation: "org-1"}, CertificateIssue, north, false, "no-role-for-it"},
	} {
		if got, reason := p.Allow(tt.who, tt.action, tt.at); got != tt.allowed || reason != tt.reason {
			t.Errorf("%+v %s at %+v: %v %s, want %v %s", tt.who, tt.action, tt.at, got, reason, tt.allowed, tt.reason)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	p := NewPolicy()
	who := &Principal{ID: "u-1", Organisation: "org-1", Grants: []Grant{{Clerk, "north"}}}
	for b.Loop() {
		if ok, _ := p.Allow(who, CertificateIssue, north); !ok {
			b.Fatal("refused")
		}
	}
}
