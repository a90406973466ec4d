package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"ampoule/internal/access"
	"ampoule/internal/messages"
)

// settingsView is the form of the settings.
type settingsView struct {
	Settings  access.Settings
	Version   string // as they were read
	Languages []*messages.Language
}

// At returns the value of a setting.
func (v settingsView) At(name string) string { return v.Settings[name] }

func (s *server) settingsPage(w *answer, r *http.Request) { s.showSettings(w, r, nil, nil) }

func (s *server) showSettings(w *answer, r *http.Request, problem error, filled map[string]string) {
	settings, err := s.Access.Accounts.Settings(r.Context(), w.visitor)
	if err != nil {
		s.failAccess(w, r, err)
		return
	}
	view := settingsView{settings, settings.Version(), messages.Languages}
	for name, value := range filled {
		settings[name] = value
	}
	s.show(w, r, "settings", http.StatusOK, problem, view)
}

func (s *server) changeSettings(w *answer, r *http.Request) {
	form, ok := s.fields(w, r, "version", "name", "language", "zone")
	if !ok {
		return
	}
	changes := map[string]string{
		access.SettingName: strings.TrimSpace(form.Get("name")), access.SettingLanguage: form.Get("language"),
		access.SettingTimeZone: strings.TrimSpace(form.Get("zone")),
	}
	if _, err := s.Access.Accounts.ChangeSettings(r.Context(), w.visitor, form.Get("version"), changes); err != nil {
		s.showSettings(w, r, settingsChanged(err), changes)
		return
	}
	s.resettled()
	s.sendOn(w, r, "/settings?saved")
}

// settingsChanged words a conflict for the settings: it is no account that was changed.
func settingsChanged(err error) error {
	if err == access.ErrConflict {
		return problemSettingsChanged
	}
	return err
}

// resettled has the service go by the settings as they are now.
func (s *server) resettled() {
	if s.Access.Changed != nil {
		s.Access.Changed()
	}
}

type settingsBody struct {
	Organisation string `json:"organisation" doc:"Identifier that records stand under; it stays as it is"`
	Name         string `json:"name"`
	Participant  string `json:"participant" doc:"Code in the trust network; it stays as it is"`
	Country      string `json:"country" doc:"ISO 3166-1 alpha-2; it stays as it is"`
	Language     string `json:"language" doc:"BCP 47: of pages whose reader asks for none that there is"`
	TimeZone     string `json:"time_zone" doc:"Of the IANA database: in which pages show times"`
}

type settingsAnswer struct {
	ETag         string `header:"ETag"`
	CacheControl string `header:"Cache-Control"`
	Body         settingsBody
}

func settingsOut(s access.Settings) *settingsAnswer {
	return &settingsAnswer{`"` + s.Version() + `"`, "no-store", settingsBody{
		Organisation: s[access.SettingOrganisation], Name: s[access.SettingName], Participant: s[access.SettingParticipant],
		Country: s[access.SettingCountry], Language: s[access.SettingLanguage], TimeZone: s[access.SettingTimeZone],
	}}
}

// describeSettings registers the operations about the settings.
func (s *server) describeSettings(api huma.API) {
	accounts := s.Access.Accounts
	register(api, huma.Operation{
		OperationID: "settings", Method: http.MethodGet, Path: "/v1/settings", Summary: "Tell the settings of the organisation",
		Errors: []int{http.StatusUnauthorized, http.StatusForbidden}, Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}, func(ctx context.Context, _ *struct{}) (*settingsAnswer, error) {
		v, err := s.asked(ctx)
		if err != nil {
			return nil, err
		}
		settings, err := accounts.Settings(ctx, v)
		if err != nil {
			return nil, s.apiError(ctx, err)
		}
		return settingsOut(settings), nil
	})
	register(api, huma.Operation{
		OperationID: "settings-change", Method: http.MethodPatch, Path: "/v1/settings", Summary: "Change name, language or time zone of the organisation",
		Description:  "Identifier, participant and country stay as the first run set them: they stand in the keys and in every certificate.",
		Errors:       []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusPreconditionFailed, http.StatusPreconditionRequired, http.StatusUnprocessableEntity},
		MaxBodyBytes: maxForm, BodyReadTimeout: formTime,
		Middlewares: huma.Middlewares{signedIn(api)}, Security: security,
	}, func(ctx context.Context, in *struct {
		Match string `header:"If-Match" doc:"ETag of the settings as they were read; required"`
		Body  struct {
			Name     *string `json:"name,omitempty" maxLength:"128"`
			Language *string `json:"language,omitempty" maxLength:"8"`
			TimeZone *string `json:"time_zone,omitempty" maxLength:"64"`
		}
	}) (*settingsAnswer, error) {
		v, err := s.asked(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := accounts.Settings(ctx, v); err != nil {
			return nil, s.apiError(ctx, err) // before the version, which is nobody else's affair
		}
		if in.Match == "" {
			return nil, problemNoVersion
		}
		changes := map[string]string{}
		for name, value := range map[string]*string{
			access.SettingName: in.Body.Name, access.SettingLanguage: in.Body.Language, access.SettingTimeZone: in.Body.TimeZone,
		} {
			if value != nil {
				changes[name] = *value
			}
		}
		settings, err := accounts.ChangeSettings(ctx, v, strings.Trim(in.Match, `"`), changes)
		if err == access.ErrConflict {
			return nil, problemChanged
		}
		if err != nil {
			return nil, s.apiError(ctx, err)
		}
		s.resettled()
		return settingsOut(settings), nil
	})
}

// zone is where the organisation's clock is.
func (p *Page) zone() *time.Location {
	if p.Access != nil && p.Access.Zone != nil {
		return p.Access.Zone
	}
	return time.UTC
}

// language returns the language that a request asks for, and the organisation's own
// where it asks for none that there is.
func (p *Page) language(r *http.Request) *messages.Language {
	own := messages.English
	if p.Access != nil && p.Access.Language != nil {
		own = p.Access.Language
	}
	return messages.AcceptOr(r.Header.Get("Accept-Language"), own)
}
