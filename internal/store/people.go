package store

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"ampoule/internal/access"
)

// people are the accounts of a store, which is an [issuer.Book] under some of the
// same names.
type people struct{ *Store }

// Accounts returns the store as a keeper of people.
func (s *Store) Accounts() access.Book { return people{s} }

// sealPeople seals what is personal or secret about an account, bound to the row
// that it stands in.
func (s people) sealPeople(id string, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("store: %s: %w", id, err)
	}
	return s.vault.people.Seal(nil, nil, plain, []byte(id)), nil
}

func (s people) openPeople(id string, sealed []byte, v any) error {
	plain, err := s.vault.people.Open(nil, nil, sealed, []byte(id))
	if err != nil || json.Unmarshal(plain, v) != nil {
		return fmt.Errorf("store: %s: its content: %w", id, ErrDamaged)
	}
	return nil
}

func (s people) loginMAC(login string) []byte { return s.vault.mac("login", login) }

func (s people) handleMAC(kind access.Kind, handle string) []byte {
	return s.vault.mac("credential "+string(kind), handle)
}

type sealedAccount struct {
	Login string `json:"login"`
}

type sealedCredential struct {
	Handle  string `json:"handle"`
	Content []byte `json:"content"`
	Name    string `json:"name"`
}

type sealedToken struct {
	Name string `json:"name"`
}

func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // words and lists of words
	}
	return string(text)
}

func (s people) insertAccount(a access.Account) (stmt, error) {
	content, err := s.sealPeople(a.ID, sealedAccount{a.Login})
	return stmt{
		sql:  `INSERT INTO account (id, organisation, login, grants, disabled, created, version, content) VALUES ($1, $2, $3, $4, 0, $5, 1, $6)`,
		args: []any{a.ID, a.Organisation, s.loginMAC(a.Login), toJSON(a.Grants), unix(a.Created), content},
		// Identifiers are never taken.
		taken: access.ErrLoginTaken,
	}, err
}

func (s people) insertCredential(c access.Credential) (stmt, error) {
	content, err := s.sealPeople(c.ID, sealedCredential{c.Handle, c.Content, c.Name})
	return stmt{
		sql:   `INSERT INTO credential (id, account, kind, handle, created, used, content) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
		args:  []any{c.ID, c.Account, string(c.Kind), s.handleMAC(c.Kind, c.Handle), unix(c.Created), unix(c.Used), content},
		taken: access.ErrTaken,
	}, err
}

func insertInvitation(i access.Invitation) stmt {
	return stmt{sql: `INSERT INTO invitation (hash, account, ends) VALUES ($1, $2, $3)`, args: []any{i.Hash[:], i.Account, unix(i.Ends)}}
}

// setUp is the setting whose row there is once: that it cannot be inserted twice
// is what makes a set-up happen once.
const setUp = "set-up"

// Setup implements [access.Book].
func (s people) Setup(ctx context.Context, settings map[string]string, a access.Account, c access.Credential, line access.Line) error {
	account, err := s.insertAccount(a)
	if err != nil {
		return err
	}
	credential, err := s.insertCredential(c)
	if err != nil {
		return err
	}
	stmts := []stmt{{sql: `INSERT INTO setting (name, value) VALUES ($1, $2)`, args: []any{setUp, line.At.UTC().Format(time.RFC3339)}, taken: access.ErrSetUp}}
	for name, value := range settings {
		stmts = append(stmts, stmt{sql: `INSERT INTO setting (name, value) VALUES ($1, $2)`, args: []any{name, value}})
	}
	return s.db.writeAll(ctx, append(stmts, account, credential, s.auditAccess(line))...)
}

// Settings implements [access.Book].
func (s people) Settings(ctx context.Context) (settings map[string]string, err error) {
	err = s.db.read(ctx, func(t tx) error {
		settings = make(map[string]string)
		return t.rows(`SELECT name, value FROM setting`, nil, func(s scan) error {
			var name, value string
			err := s(&name, &value)
			settings[name] = value
			return err
		})
	})
	return settings, err
}

// ChangeSettings implements [access.Book].
func (s people) ChangeSettings(ctx context.Context, from, to map[string]string, line access.Line) error {
	var stmts []stmt
	for _, name := range slices.Sorted(maps.Keys(to)) { // in one order, so that two at once do not wait for each other
		stmts = append(stmts, stmt{
			sql:  `UPDATE setting SET value = $1 WHERE name = $2 AND value = $3`,
			args: []any{to[name], name, from[name]},
			one:  access.ErrConflict,
		})
	}
	return s.db.write(ctx, func(t tx) error { return t.all(append(stmts, s.auditAccess(line))...) })
}

// Create implements [access.Book].
func (s people) Create(ctx context.Context, a access.Account, i access.Invitation, line access.Line) error {
	account, err := s.insertAccount(a)
	if err != nil {
		return err
	}
	return s.db.writeAll(ctx, account, insertInvitation(i), s.auditAccess(line))
}

const accountColumns = `a.id, a.organisation, a.grants, a.disabled, a.created, a.version, a.content`

// scanAccount reads the columns of an account, and those after them into more.
func (s people) scanAccount(scan scan, more ...any) (a access.Account, err error) {
	var grants string
	var disabled, created int64
	var content []byte
	if err := scan(append([]any{&a.ID, &a.Organisation, &grants, &disabled, &created, &a.Version, &content}, more...)...); err != nil {
		return a, err
	}
	a.Disabled, a.Created = disabled != 0, fromUnix(created)
	if err := json.Unmarshal([]byte(grants), &a.Grants); err != nil {
		return a, fmt.Errorf("store: %s: its grants: %w", a.ID, ErrDamaged)
	}
	var sealed sealedAccount
	if err := s.openPeople(a.ID, content, &sealed); err != nil {
		return a, err
	}
	a.Login = sealed.Login
	return a, nil
}

// accounts reads accounts by what follows FROM account a.
func (s people) accounts(ctx context.Context, where string, args ...any) (list []access.Account, err error) {
	err = s.db.read(ctx, func(t tx) error {
		list = nil
		return t.rows(`SELECT `+accountColumns+` FROM account a `+where, args, func(scan scan) error {
			a, err := s.scanAccount(scan)
			list = append(list, a)
			return err
		})
	})
	return list, err
}

func (s people) oneAccount(ctx context.Context, where string, args ...any) (access.Account, error) {
	list, err := s.accounts(ctx, where, args...)
	if err == nil && len(list) == 0 {
		err = access.ErrNotFound
	}
	if err != nil {
		return access.Account{}, err
	}
	return list[0], nil
}

// Account implements [access.Book].
func (s people) Account(ctx context.Context, id string) (access.Account, error) {
	return s.oneAccount(ctx, `WHERE a.id = $1`, id)
}

// ByLogin implements [access.Book].
func (s people) ByLogin(ctx context.Context, login string) (access.Account, error) {
	return s.oneAccount(ctx, `WHERE a.login = $1`, s.loginMAC(login))
}

// People implements [access.Book].
func (s people) People(ctx context.Context, organisation, after string, limit int) ([]access.Account, error) {
	return s.accounts(ctx, `WHERE a.organisation = $1 AND a.id > $2 ORDER BY a.id LIMIT $3`, organisation, after, int64(limit))
}

// Change implements [access.Book].
func (s people) Change(ctx context.Context, a access.Account, line access.Line) error {
	disabled := int64(0)
	if a.Disabled {
		disabled = 1
	}
	return s.db.write(ctx, func(t tx) error {
		// Two administrators who take the right from each other at once must not both
		// get through: changes of an organisation's accounts come one after the other.
		stmts := []stmt{
			{sql: `UPDATE account SET version = version WHERE organisation = $1`, args: []any{a.Organisation}},
			{
				sql:  `UPDATE account SET version = version + 1, grants = $1, disabled = $2 WHERE id = $3 AND version = $4 AND organisation = $5`,
				args: []any{toJSON(a.Grants), disabled, a.ID, a.Version, a.Organisation},
				one:  access.ErrConflict,
			},
		}
		if a.Disabled {
			stmts = append(stmts, revokeAll(a.ID)...)
		}
		administrators := 0
		stmts = append(stmts, s.auditAccess(line), stmt{
			sql:  `SELECT grants FROM account WHERE organisation = $1 AND disabled = 0`,
			args: []any{a.Organisation},
			each: func(scan scan) error {
				var text string
				var grants []access.Grant
				if err := scan(&text); err != nil {
					return err
				}
				if err := json.Unmarshal([]byte(text), &grants); err != nil {
					return fmt.Errorf("store: grants of an account: %w", ErrDamaged)
				}
				for _, g := range grants {
					if g == (access.Grant{Role: access.Administrator}) {
						administrators++
						break
					}
				}
				return nil
			},
		})
		if err := t.all(stmts...); err != nil {
			return err
		}
		if administrators == 0 {
			return access.ErrLastOne
		}
		return nil
	})
}

// revokeAll ends everything by which somebody acts for an account now.
func revokeAll(account string) (stmts []stmt) {
	for _, table := range []string{"session", "token", "invitation"} {
		stmts = append(stmts, stmt{sql: `DELETE FROM ` + table + ` WHERE account = $1`, args: []any{account}})
	}
	return stmts
}

// Invite implements [access.Book].
func (s people) Invite(ctx context.Context, i access.Invitation, line access.Line) error {
	return s.db.writeAll(ctx, stmt{sql: `DELETE FROM invitation WHERE account = $1`, args: []any{i.Account}}, insertInvitation(i), s.auditAccess(line))
}

// Invited implements [access.Book].
func (s people) Invited(ctx context.Context, hash [32]byte, now time.Time) (access.Account, error) {
	return s.oneAccount(ctx, `JOIN invitation i ON i.account = a.id WHERE i.hash = $1 AND i.ends > $2 AND a.disabled = 0`, hash[:], unix(now))
}

// Accept implements [access.Book].
func (s people) Accept(ctx context.Context, hash [32]byte, now time.Time, c access.Credential, line access.Line) error {
	credential, err := s.insertCredential(c)
	if err != nil {
		return err
	}
	return s.db.write(ctx, func(t tx) error {
		return t.all(
			stmt{
				sql: `DELETE FROM invitation WHERE hash = $1 AND account = $2 AND ends > $3
					AND EXISTS (SELECT 1 FROM account a WHERE a.id = $2 AND a.disabled = 0)`,
				args: []any{hash[:], c.Account, unix(now)},
				one:  access.ErrNotFound,
			},
			replacePassword(c), credential, s.auditAccess(line))
	})
}

// replacePassword makes room for a password; other credentials stand beside those
// before.
func replacePassword(c access.Credential) stmt {
	return stmt{sql: `DELETE FROM credential WHERE account = $1 AND kind = $2 AND kind = $3`, args: []any{c.Account, string(c.Kind), string(access.Password)}}
}

const credentialColumns = `id, account, kind, created, used, content`

func (s people) credentials(ctx context.Context, where string, args ...any) (list []access.Credential, err error) {
	err = s.db.read(ctx, func(t tx) error {
		list = nil
		return t.rows(`SELECT `+credentialColumns+` FROM credential `+where, args, func(scan scan) error {
			var c access.Credential
			var kind string
			var created, used int64
			var content []byte
			if err := scan(&c.ID, &c.Account, &kind, &created, &used, &content); err != nil {
				return err
			}
			var sealed sealedCredential
			if err := s.openPeople(c.ID, content, &sealed); err != nil {
				return err
			}
			c.Kind, c.Created, c.Used = access.Kind(kind), fromUnix(created), fromUnix(used)
			c.Handle, c.Content, c.Name = sealed.Handle, sealed.Content, sealed.Name
			list = append(list, c)
			return nil
		})
	})
	return list, err
}

// Credentials implements [access.Book].
func (s people) Credentials(ctx context.Context, account string) ([]access.Credential, error) {
	return s.credentials(ctx, `WHERE account = $1 ORDER BY id`, account)
}

// Credential implements [access.Book].
func (s people) Credential(ctx context.Context, kind access.Kind, handle string) (access.Credential, error) {
	list, err := s.credentials(ctx, `WHERE handle = $1`, s.handleMAC(kind, handle))
	if err == nil && len(list) == 0 {
		err = access.ErrNotFound
	}
	if err != nil {
		return access.Credential{}, err
	}
	return list[0], nil
}

// AddCredential implements [access.Book].
func (s people) AddCredential(ctx context.Context, c access.Credential, line access.Line) error {
	credential, err := s.insertCredential(c)
	if err != nil {
		return err
	}
	return s.db.write(ctx, func(t tx) error {
		return t.all(replacePassword(c), credential, s.auditAccess(line))
	})
}

// UseCredential implements [access.Book].
func (s people) UseCredential(ctx context.Context, c access.Credential) error {
	content, err := s.sealPeople(c.ID, sealedCredential{c.Handle, c.Content, c.Name})
	if err != nil {
		return err
	}
	return s.db.write(ctx, func(t tx) error {
		return t.all(stmt{sql: `UPDATE credential SET used = $1, content = $2 WHERE id = $3`, args: []any{unix(c.Used), content, c.ID}, one: access.ErrNotFound})
	})
}

// RemoveCredential implements [access.Book].
func (s people) RemoveCredential(ctx context.Context, account, id string, line access.Line) error {
	return s.db.write(ctx, func(t tx) error {
		// The account's row is held, so that two of them cannot go at once.
		var n int64
		err := t.all(
			stmt{sql: `UPDATE account SET version = version WHERE id = $1`, args: []any{account}, one: access.ErrNotFound},
			stmt{sql: `DELETE FROM credential WHERE account = $1 AND id = $2`, args: []any{account, id}, one: access.ErrNotFound},
			s.auditAccess(line),
			stmt{sql: `SELECT count(*) FROM credential WHERE account = $1`, args: []any{account}, each: func(s scan) error { return s(&n) }})
		if err == nil && n == 0 {
			err = access.ErrNotFound
		}
		return err
	})
}

// Begin implements [access.Book].
func (s people) Begin(ctx context.Context, n access.Session, line access.Line) error {
	return s.db.writeAll(ctx,
		stmt{sql: `DELETE FROM session WHERE account = $1 AND ends <= $2`, args: []any{n.Account, unix(n.Created)}},
		stmt{
			sql:  `INSERT INTO session (id, hash, account, kind, created, seen, ends) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			args: []any{n.ID, n.Hash[:], n.Account, string(n.Kind), unix(n.Created), unix(n.Seen), unix(n.Ends)},
		},
		s.auditAccess(line))
}

const sessionColumns = `s.id, s.hash, s.account, s.kind, s.created, s.seen, s.ends`

// sessionRow is a session on its way out of the database.
type sessionRow struct {
	access.Session
	hash                []byte
	kind                string
	created, seen, ends int64
}

func (r *sessionRow) dest() []any {
	return []any{&r.ID, &r.hash, &r.Account, &r.kind, &r.created, &r.seen, &r.ends}
}

func (r *sessionRow) session() access.Session {
	copy(r.Hash[:], r.hash)
	r.Kind, r.Created, r.Seen, r.Ends = access.Kind(r.kind), fromUnix(r.created), fromUnix(r.seen), fromUnix(r.ends)
	return r.Session
}

// rowOf reads the one row of a query by a function of its own.
func (s people) rowOf(ctx context.Context, sql string, args []any, read func(scan) error) error {
	return s.db.read(ctx, func(t tx) error {
		found := access.ErrNotFound
		err := t.rows(sql, args, func(scan scan) error {
			found = ""
			return read(scan)
		})
		if err == nil && found != "" {
			err = found
		}
		return err
	})
}

// Session implements [access.Book].
func (s people) Session(ctx context.Context, hash [32]byte) (session access.Session, a access.Account, err error) {
	err = s.rowOf(ctx, `SELECT `+accountColumns+`, `+sessionColumns+` FROM session s JOIN account a ON a.id = s.account WHERE s.hash = $1`, []any{hash[:]},
		func(scan scan) (err error) {
			var r sessionRow
			a, err = s.scanAccount(scan, r.dest()...)
			session = r.session()
			return err
		})
	return session, a, err
}

// Seen implements [access.Book].
func (s people) Seen(ctx context.Context, id string, at time.Time) error {
	return s.db.writeAll(ctx, stmt{sql: `UPDATE session SET seen = $1 WHERE id = $2`, args: []any{unix(at), id}})
}

// Sessions implements [access.Book].
func (s people) Sessions(ctx context.Context, account string) (list []access.Session, err error) {
	err = s.db.read(ctx, func(t tx) error {
		list = nil
		return t.rows(`SELECT `+sessionColumns+` FROM session s WHERE s.account = $1 ORDER BY s.id DESC`, []any{account}, func(scan scan) error {
			var r sessionRow
			err := scan(r.dest()...)
			list = append(list, r.session())
			return err
		})
	})
	return list, err
}

// remove deletes the one row that an account has of an identifier.
func (s people) remove(ctx context.Context, table, account, id string, line access.Line) error {
	return s.db.write(ctx, func(t tx) error {
		return t.all(
			stmt{sql: `DELETE FROM ` + table + ` WHERE account = $1 AND id = $2`, args: []any{account, id}, one: access.ErrNotFound},
			s.auditAccess(line))
	})
}

// End implements [access.Book].
func (s people) End(ctx context.Context, account, id string, line access.Line) error {
	return s.remove(ctx, "session", account, id, line)
}

// MakeToken implements [access.Book].
func (s people) MakeToken(ctx context.Context, n access.Token, line access.Line) error {
	content, err := s.sealPeople(n.ID, sealedToken{n.Name})
	if err != nil {
		return err
	}
	return s.db.writeAll(ctx, stmt{
		sql:  `INSERT INTO token (id, hash, account, scopes, facility, created, ends, used, content) VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8)`,
		args: []any{n.ID, n.Hash[:], n.Account, toJSON(n.Scopes), n.Facility, unix(n.Created), unix(n.Ends), content},
	}, s.auditAccess(line))
}

const tokenColumns = `t.id, t.hash, t.account, t.scopes, t.facility, t.created, t.ends, t.used, t.content`

// tokenRow is a token on its way out of the database.
type tokenRow struct {
	access.Token
	hash, content       []byte
	scopes              string
	created, ends, used int64
}

func (r *tokenRow) dest() []any {
	return []any{&r.ID, &r.hash, &r.Account, &r.scopes, &r.Facility, &r.created, &r.ends, &r.used, &r.content}
}

func (s people) token(r *tokenRow) (access.Token, error) {
	copy(r.Hash[:], r.hash)
	r.Created, r.Ends, r.Used = fromUnix(r.created), fromUnix(r.ends), fromUnix(r.used)
	var sealed sealedToken
	err := s.openPeople(r.ID, r.content, &sealed)
	if err == nil && json.Unmarshal([]byte(r.scopes), &r.Scopes) != nil {
		err = fmt.Errorf("store: %s: its scopes: %w", r.ID, ErrDamaged)
	}
	if r.Scopes == nil {
		r.Scopes = []access.Action{} // nil would be a person, who has no bounds
	}
	r.Name = sealed.Name
	return r.Token, err
}

// Token implements [access.Book].
func (s people) Token(ctx context.Context, hash [32]byte) (access.Token, access.Account, error) {
	return s.oneToken(ctx, "hash", hash[:])
}

// TokenNamed implements [access.Book].
func (s people) TokenNamed(ctx context.Context, id string) (access.Token, access.Account, error) {
	return s.oneToken(ctx, "id", id)
}

func (s people) oneToken(ctx context.Context, column string, value any) (token access.Token, a access.Account, err error) {
	err = s.rowOf(ctx, `SELECT `+accountColumns+`, `+tokenColumns+` FROM token t JOIN account a ON a.id = t.account WHERE t.`+column+` = $1`, []any{value},
		func(scan scan) (err error) {
			var r tokenRow
			if a, err = s.scanAccount(scan, r.dest()...); err == nil {
				token, err = s.token(&r)
			}
			return err
		})
	return token, a, err
}

// Used implements [access.Book].
func (s people) Used(ctx context.Context, id string, day time.Time) error {
	return s.db.writeAll(ctx, stmt{sql: `UPDATE token SET used = $1 WHERE id = $2`, args: []any{unix(day), id}})
}

// Tokens implements [access.Book].
func (s people) Tokens(ctx context.Context, account string) (list []access.Token, err error) {
	err = s.db.read(ctx, func(t tx) error {
		list = nil
		return t.rows(`SELECT `+tokenColumns+` FROM token t WHERE t.account = $1 ORDER BY t.id DESC`, []any{account}, func(scan scan) error {
			var r tokenRow
			if err := scan(r.dest()...); err != nil {
				return err
			}
			token, err := s.token(&r)
			list = append(list, token)
			return err
		})
	})
	return list, err
}

// RevokeToken implements [access.Book].
func (s people) RevokeToken(ctx context.Context, account, id string, line access.Line) error {
	return s.remove(ctx, "token", account, id, line)
}

// Log implements [access.Book].
func (s people) Log(ctx context.Context, line access.Line) error {
	return s.db.writeAll(ctx, s.auditAccess(line))
}
