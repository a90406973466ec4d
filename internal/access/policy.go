package access

import (
	_ "embed"
	"slices"

	"github.com/cedar-policy/cedar-go"

	"ampoule/party/issuer"
)

// Policies is the text that decides who may do what, in the language Cedar.
//
//go:embed policies.cedar
var Policies string

// Policy decides who may do what. It is used by many at once.
type Policy struct{ policies cedar.PolicySet }

// NewPolicy reads [Policies].
func NewPolicy() *Policy {
	set, err := cedar.NewPolicySetFromBytes("policies.cedar", []byte(Policies))
	if err != nil {
		panic("access: " + err.Error()) // the text is ours, and a test reads it
	}
	return &Policy{*set}
}

// The reasons of a refusal that no policy gives.
const (
	reasonNobody = "not-logged-in"
	reasonNoRole = "no-role-for-it"
	reasonPolicy = "policy-failed" // a policy could not be evaluated: nobody may anything
)

// Allow reports whether somebody may do something at a place, and the policy that
// decided it. Each grant is asked for alone: two roles together are never more
// than both.
func (p *Policy) Allow(who *Principal, action Action, at issuer.Place) (allowed bool, reason string) {
	if who == nil {
		return false, reasonNobody
	}
	reason = reasonNoRole
	for _, g := range who.Grants {
		ok, why := p.decide(who, g, action, at)
		if ok {
			return true, why
		}
		if why != reasonNoRole {
			reason = why
		}
	}
	return false, reason
}

// Actions returns what somebody may do at a place.
func (p *Policy) Actions(who *Principal, at issuer.Place) (out []Action) {
	for _, a := range Actions {
		if ok, _ := p.Allow(who, a, at); ok {
			out = append(out, a)
		}
	}
	return out
}

// facts are the two entities of a decision.
type facts struct{ grant, place cedar.Entity }

// Get implements [cedar.EntityGetter].
func (f *facts) Get(id cedar.EntityUID) (cedar.Entity, bool) {
	switch id {
	case f.grant.UID:
		return f.grant, true
	case f.place.UID:
		return f.place, true
	}
	return cedar.Entity{}, false
}

var (
	grantID = cedar.NewEntityUID("Grant", "asked")
	placeID = cedar.NewEntityUID("Place", "asked")
)

func actionID(a Action) cedar.EntityUID { return cedar.NewEntityUID("Action", cedar.String(a)) }

func (p *Policy) decide(who *Principal, g Grant, action Action, at issuer.Place) (bool, string) {
	held := cedar.RecordMap{"organisation": cedar.String(who.Organisation), "facility": cedar.String(g.Facility)}
	if who.Scopes != nil {
		scopes := make([]cedar.Value, len(who.Scopes))
		for i, a := range who.Scopes {
			scopes[i] = actionID(a)
		}
		held["scopes"] = cedar.NewSet(scopes...)
	}
	decision, why := cedar.Authorize(&p.policies, &facts{
		cedar.Entity{UID: grantID, Parents: cedar.NewEntityUIDSet(cedar.NewEntityUID("Role", cedar.String(g.Role))), Attributes: cedar.NewRecord(held)},
		cedar.Entity{UID: placeID, Attributes: cedar.NewRecord(cedar.RecordMap{"organisation": cedar.String(at.Organisation), "facility": cedar.String(at.Facility)})},
	}, cedar.Request{Principal: grantID, Action: actionID(action), Resource: placeID})
	if len(why.Errors) > 0 {
		// Cedar leaves a policy out that fails; a forbid must not go missing so.
		return false, reasonPolicy
	}
	reason := reasonNoRole
	// Of several, the one that stands first in the text.
	if len(why.Reasons) > 0 {
		first := slices.MinFunc(why.Reasons, func(a, b cedar.DiagnosticReason) int { return a.Position.Offset - b.Position.Offset })
		reason = string(p.policies.Get(first.PolicyID).Annotations()["id"])
	}
	return bool(decision), reason
}
