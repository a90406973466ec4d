package httpapi

import (
	"html/template"
	"slices"
	"strings"

	"ampoule/internal/access"
)

// What the forms of the pages of people have in common: a field that is wrong says
// so itself, and has the focus.

// settingFields are the fields of the forms in which settings stand.
var settingFields = map[string]string{
	access.SettingOrganisation: "organisation", access.SettingName: "name", access.SettingParticipant: "participant",
	access.SettingCountry: "country", access.SettingLanguage: "language", access.SettingTimeZone: "zone",
}

// at returns the problem as one of a field.
func (p problem) at(field string) *problem {
	p.field = field
	return &p
}

// of returns the problem with the detail of one of its words.
func (p problem) of(word string) *problem {
	p.word = word
	return &p
}

// Wrong returns what is wrong with a field; nothing where it is right.
func (v accessView) Wrong(field string) string {
	if v.Problem == nil || v.Problem.field != field {
		return ""
	}
	return v.Problem.Detail
}

// Described returns the attributes of a field: the elements that describe it, what
// is wrong with it among them, and the focus then.
func (v accessView) Described(field string, by ...string) template.HTMLAttr {
	wrong := v.Wrong(field) != ""
	if wrong {
		by = append(by, field+"-wrong")
	}
	var out string
	if len(by) > 0 {
		out = ` aria-describedby="` + strings.Join(by, " ") + `"`
	}
	if wrong {
		out += ` aria-invalid="true" autofocus`
	}
	return template.HTMLAttr(out) // identifiers of the templates
}

// Filled reports whether a field that may be chosen several times was chosen.
func filled(values []string, value access.Action) bool { return slices.Contains(values, string(value)) }

// loginView is the form of a login, with what was filled in before, and where it
// leads on to.
type loginView struct{ Login, Next string }

// grantsView is the table of roles.
type grantsView struct{ Grants []access.Grant }

// Roles are the rows.
func (grantsView) Roles() []access.Role { return access.Roles }

// Whole reports whether there is a role in the whole organisation.
func (v grantsView) Whole(role access.Role) bool {
	return slices.Contains(v.Grants, access.Grant{Role: role})
}

// At returns the facilities at which there is a role.
func (v grantsView) At(role access.Role) string {
	var at []string
	for _, g := range v.Grants {
		if g.Role == role && g.Facility != "" {
			at = append(at, g.Facility)
		}
	}
	return strings.Join(at, ", ")
}
