//go:build linux

package httpapi

import (
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"ampoule/internal/access"
	"ampoule/internal/messages"
)

var versionField = regexp.MustCompile(`name="version" value="([^"]+)"`)

// TestSettings: by page and by API, by those who may, one after the other.
func TestSettings(t *testing.T) {
	b := newPeopleBed(t)
	admin := b.administrator()
	operator := admin.invited("specimen.operator", url.Values{"whole-operator": {"1"}})
	elsewhere := admin.invited("specimen.north", url.Values{"at-administrator": {"north"}, "at-operator": {"north"}})
	clerk := admin.invited("specimen.clerk", url.Values{"whole-clerk": {"1"}})
	read := func() url.Values {
		t.Helper()
		page := admin.want(200, "GET", "/settings", "")
		m := versionField.FindStringSubmatch(page)
		if m == nil || !strings.Contains(page, `value="Specimen authority"`) || strings.Contains(page, `name="country"`) {
			t.Fatal(page)
		}
		return url.Values{"version": {m[1]}, "name": {"Specimen authority"}, "language": {"ar"}, "zone": {"Asia/Riyadh"}}
	}

	// Who may.
	form := read()
	for _, who := range []*browser{elsewhere, clerk} {
		who.want(403, "GET", "/settings", "")
		who.want(403, "POST", "/settings", form.Encode())
		who.want(403, "GET", "/v1/settings", "")
		who.want(403, "PATCH", "/v1/settings", `{"language":"es"}`, "If-Match", `"x"`)
		if page := who.want(200, "GET", "/account", ""); strings.Contains(page, `href="/settings"`) {
			t.Error("the page leads where its reader may not go")
		}
	}
	nobody := b.browser()
	nobody.want(401, "GET", "/v1/settings", "")
	nobody.want(401, "PATCH", "/v1/settings", `{"language":"es"}`, "If-Match", `"x"`)
	nobody.want(401, "POST", "/settings", form.Encode())
	if res := nobody.ask("GET", "/settings", ""); res.Header.Get("Location") != "/login?next=%2Fsettings" {
		t.Errorf("%d", res.StatusCode)
	}
	operator.want(200, "GET", "/settings", "")

	// What stays as it is, what cannot be, and what came too late.
	for _, name := range []string{"organisation", "participant", "country"} {
		more, _ := url.ParseQuery(form.Encode())
		more.Set(name, "XB")
		admin.want(400, "POST", "/settings", more.Encode())
		admin.want(422, "PATCH", "/v1/settings", `{"`+name+`":"XB"}`, "If-Match", `"x"`)
	}
	bad := read()
	bad.Set("zone", "Nowhere/Else")
	if page := admin.want(422, "POST", "/settings", bad.Encode()); !strings.Contains(page, `aria-describedby="zone-hint zone-wrong" aria-invalid="true" autofocus value="Nowhere/Else"`) {
		t.Error(page)
	}
	admin.want(303, "POST", "/settings", form.Encode())
	if page := operator.want(409, "POST", "/settings", form.Encode()); !strings.Contains(page, `data-reason="settings-changed-meanwhile"`) {
		t.Error(page)
	}

	// The same by the API, with the tag that it gave.
	res := admin.ask("GET", "/v1/settings", "")
	tag := res.Header.Get("ETag")
	if body := readAll(t, res); body != `{"organisation":"org-1","name":"Specimen authority","participant":"XXA","country":"XA","language":"ar","time_zone":"Asia/Riyadh"}`+"\n" || tag == "" {
		t.Fatalf("%s %q", body, tag)
	}
	admin.want(428, "PATCH", "/v1/settings", `{"language":"es"}`)
	admin.want(412, "PATCH", "/v1/settings", `{"language":"es"}`, "If-Match", `"1"`)
	admin.want(422, "PATCH", "/v1/settings", `{"language":"xx"}`, "If-Match", tag)
	admin.want(403, "PATCH", "/v1/settings", `{"language":"es"}`, "If-Match", tag, "Sec-Fetch-Site", "cross-site")
	if res := admin.ask("PATCH", "/v1/settings", `{"language":"es"}`, "If-Match", tag); res.StatusCode != 200 || res.Header.Get("ETag") == tag {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	admin.want(412, "PATCH", "/v1/settings", `{"language":"pt"}`, "If-Match", tag)

	// A program whose token names it.
	page := operator.want(200, "POST", "/account/tokens", "name=desk&scope=settings:manage&days=30")
	token := regexp.MustCompile(`amp_[A-Za-z0-9_-]{43}`).FindString(page)
	nobody.want(200, "GET", "/v1/settings", "", "Authorization", "Bearer "+token)
	b.quiet()
}

// TestSettingsOfTheirLanguage: who asks for no language that there is reads that of
// the organisation, and times are those of its clock.
func TestSettingsOfTheirLanguage(t *testing.T) {
	b := newPeopleBed(t)
	admin := b.administrator()
	if page := admin.want(200, "GET", "/account", "", "Accept-Language", "ja"); !strings.Contains(page, `lang="en"`) || !strings.Contains(page, " UTC") {
		t.Error(page)
	}
	nairobi, err := time.LoadLocation("Africa/Nairobi")
	if err != nil {
		t.Fatal(err)
	}
	b.page.Access = &Access{Accounts: b.accounts, Language: messages.Accept("fr"), Zone: nairobi}
	f := NewFront()
	f.Show(b.page, func() error { return nil })
	b.handler = f.Handler()
	if page := admin.want(200, "GET", "/account", "", "Accept-Language", "ja"); !strings.Contains(page, `lang="fr"`) || !strings.Contains(page, " EAT") || strings.Contains(page, " UTC") {
		t.Error(page)
	}
	if page := admin.want(200, "GET", "/account", "", "Accept-Language", "es"); !strings.Contains(page, `lang="es"`) {
		t.Error(page)
	}
	admin.want(404, "GET", "/nowhere", "", "Accept-Language", "ja")
}

// TestSettingFields: each setting that can be wrong has its field.
func TestSettingFields(t *testing.T) {
	b := newPeopleBed(t)
	for field, value := range map[string]string{
		"organisation": "a/b", "name": " ", "participant": "X", "country": "XAX", "language": "xx", "zone": "Local", "login": "a b", "password": "short", "token": "wrong",
	} {
		one := setupForm(b.token)
		one.Set(field, value)
		res := b.browser().ask("POST", "/setup", one.Encode())
		page := readAll(t, res)
		if res.StatusCode < 400 || !strings.Contains(page, `id="`+field+`-wrong"`) || strings.Count(page, "autofocus") != 1 {
			t.Errorf("%s: %d %s", field, res.StatusCode, page)
		}
	}
	if len(settingFields) != 6 || settingFields[access.SettingTimeZone] != "zone" {
		t.Error(settingFields)
	}
}
