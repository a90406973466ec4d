package access

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"ampoule/party/issuer"
)

// settingNames are all of them, in the order in which forms have them.
var settingNames = []string{SettingOrganisation, SettingName, SettingParticipant, SettingCountry, SettingLanguage, SettingTimeZone}

// Changeable are the settings that can be changed after the first run. The others
// stand in the certificates of the keys that it made, in every certificate that was
// issued and over every record: another value would be another issuer.
var Changeable = []string{SettingName, SettingLanguage, SettingTimeZone}

// Settings are those of an instance, as they were read.
type Settings map[string]string

// Version tells one state of the settings from another.
func (s Settings) Version() string {
	h := sha256.New()
	for _, name := range settingNames {
		fmt.Fprintf(h, "%q", s[name])
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// ManagesSettings reports whether somebody may see and change the settings. They
// are the whole organisation's: a right at one facility is not enough.
func (a *Accounts) ManagesSettings(by *Visitor) bool {
	if by == nil {
		return false
	}
	ok, _ := a.Policy.Allow(by.Principal, SettingsManage, issuer.Place{Organisation: by.Organisation})
	return ok
}

// Settings returns the settings to who manages them.
func (a *Accounts) Settings(ctx context.Context, by *Visitor) (Settings, error) {
	if !a.ManagesSettings(by) {
		return nil, ErrDenied
	}
	all, err := a.Book.Settings(ctx)
	if err != nil {
		return nil, err
	}
	if all[SettingOrganisation] != by.Organisation {
		return nil, ErrDenied // those of an instance are one organisation's
	}
	return all, nil
}

// ChangeSettings gives some settings other values, if all are still as they were
// in the version given.
func (a *Accounts) ChangeSettings(ctx context.Context, by *Visitor, version string, changes map[string]string) (Settings, error) {
	now, err := a.Settings(ctx, by)
	if err != nil {
		return nil, err
	}
	if now.Version() != version {
		return nil, ErrConflict
	}
	changed := map[string]string{}
	for name, value := range changes {
		if !slices.Contains(Changeable, name) {
			return nil, &BadSetting{name}
		}
		if value != now[name] {
			changed[name] = value
		}
	}
	if err := CheckSettings(changed); err != nil || len(changed) == 0 {
		return now, err
	}
	line := a.line(EventSettingsChanged, by.ID, "", by.Organisation)
	line.Reason = strings.Join(slices.Sorted(maps.Keys(changed)), ",")
	if err := a.Book.ChangeSettings(ctx, now, changed, line); err != nil {
		return nil, err
	}
	maps.Copy(now, changed)
	return now, nil
}

// Voted writes down that somebody votes on the ledger for the member that this
// service is of.
func (a *Accounts) Voted(ctx context.Context, by *Visitor, proposal string, yes bool) error {
	line := a.line(EventLedgerVote, by.ID, proposal, by.Organisation)
	if line.Reason = "no"; yes {
		line.Reason = "yes"
	}
	return a.Book.Log(ctx, line)
}
