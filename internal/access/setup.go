package access

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/netip"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // a container made from nothing has no time zones

	"ampoule/format"
	"ampoule/internal/messages"
)

// The settings of an instance.
const (
	SettingOrganisation = "organisation" // an identifier, that records stand under
	SettingName         = "organisation-name"
	SettingParticipant  = "participant" // code in the trust network
	SettingCountry      = "country"     // ISO 3166-1 alpha-2
	SettingLanguage     = "language"    // BCP 47, one of the catalogue's
	SettingTimeZone     = "time-zone"   // of the IANA database
)

// Setup is what the first run asks for.
type Setup struct {
	Token        string // that the server printed
	Organisation string
	Name         string
	Participant  string
	Country      string
	Language     string
	TimeZone     string
	Login        string // of the first administrator
	Password     string // empty where a passkey follows
}

// setupToken is the one-time token of the first run.
type setupToken struct {
	mu   sync.Mutex // held while it is looked at
	hash [32]byte
	made bool
}

// IsSetUp reports whether the first run is over.
func (a *Accounts) IsSetUp(ctx context.Context) (bool, error) {
	s, err := a.Book.Settings(ctx)
	return len(s) > 0, err
}

// SetupToken makes the token that the server prints at its first run, in the place
// of the one before; none once the first run is over.
func (a *Accounts) SetupToken(ctx context.Context) (token string, err error) {
	if done, err := a.IsSetUp(ctx); err != nil || done {
		return "", err
	}
	token, hash := newSecret()
	a.setupToken.mu.Lock()
	defer a.setupToken.mu.Unlock()
	a.setupToken.hash, a.setupToken.made = hash, true
	return token, nil
}

// checkSetup refuses a first run whose token is wrong or whose settings cannot be.
func (a *Accounts) checkSetup(ctx context.Context, s *Setup, from netip.Addr) error {
	if done, err := a.IsSetUp(ctx); err != nil {
		return err
	} else if done {
		return ErrSetUp
	}
	err := a.try("\nset-up", from, func() (bool, error) {
		given := sha256.Sum256([]byte(strings.TrimSpace(s.Token)))
		a.setupToken.mu.Lock()
		defer a.setupToken.mu.Unlock()
		return a.setupToken.made && subtle.ConstantTimeCompare(given[:], a.setupToken.hash[:]) == 1, nil
	})
	if err == ErrCredentials {
		err = ErrSetupToken
	}
	if err != nil {
		return err
	}
	if s.Login, err = NormalLogin(s.Login); err != nil {
		return err
	}
	return CheckSettings(s.settings())
}

func (s *Setup) settings() map[string]string {
	return map[string]string{
		SettingOrganisation: s.Organisation, SettingName: s.Name, SettingParticipant: s.Participant, SettingCountry: s.Country,
		SettingLanguage: s.Language, SettingTimeZone: s.TimeZone,
	}
}

// BadSetting is an [ErrSetting] that says which.
type BadSetting struct{ Name string }

func (e *BadSetting) Error() string { return e.Name + ": " + string(ErrSetting) }
func (e *BadSetting) Unwrap() error { return ErrSetting }

// CheckSettings refuses values that cannot be, the first of them in the order of
// the form.
func CheckSettings(settings map[string]string) error {
	for _, name := range settingNames {
		value, given := settings[name]
		if !given {
			continue
		}
		ok := false
		switch name {
		case SettingOrganisation:
			ok = identifier(value)
		case SettingName:
			text, err := label(value)
			ok = err == nil && text != "" && text == value
		case SettingParticipant:
			ok = len(value) <= 3 && (format.IsCapitals(value, 2) || format.IsCapitals(value, 3))
		case SettingCountry:
			ok = format.IsCapitals(value, 2)
		case SettingLanguage:
			for _, l := range messages.Languages {
				ok = ok || l.Tag == value
			}
		case SettingTimeZone:
			_, err := time.LoadLocation(value)
			ok = err == nil && value != "" && value != "Local"
		}
		if !ok {
			return &BadSetting{name}
		}
	}
	return nil
}

// firstAccount is the administrator, who can let everybody else in.
func (a *Accounts) firstAccount(s *Setup) Account {
	return Account{
		ID: a.newID("u"), Organisation: s.Organisation, Login: s.Login, Created: a.now().Truncate(time.Second), Version: 1,
		Grants: []Grant{{Role: Administrator}},
	}
}

// SetUp ends the first run with an administrator who has a password, and logs in.
// It happens once: of several at the same time one gets through.
func (a *Accounts) SetUp(ctx context.Context, s Setup, from netip.Addr) (*Login, error) {
	if err := a.checkSetup(ctx, &s, from); err != nil {
		return nil, err
	}
	p := a.firstAccount(&s)
	c, err := a.newPassword(ctx, p, s.Password)
	if err != nil {
		return nil, err
	}
	return a.setup(ctx, &s, p, c)
}

// SetUpPasskey begins a first run whose administrator has a passkey;
// [Accounts.FinishPasskey] ends it.
func (a *Accounts) SetUpPasskey(ctx context.Context, s Setup, from netip.Addr) (*Ceremony, error) {
	if err := a.checkSetup(ctx, &s, from); err != nil {
		return nil, err
	}
	return a.beginPasskey(ctx, ceremony{account: a.firstAccount(&s), setup: &s})
}

func (a *Accounts) setup(ctx context.Context, s *Setup, p Account, c Credential) (*Login, error) {
	line := a.line(EventSetup, p.ID, p.ID, p.Organisation)
	if err := a.Book.Setup(ctx, s.settings(), p, c, line); err != nil {
		return nil, err
	}
	a.setupToken.mu.Lock()
	a.setupToken.made = false
	a.setupToken.mu.Unlock()
	return a.begin(ctx, p, c.Kind)
}
