package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"
)

// desk is a clinic's side of the run: its token issues, finds, reads and revokes.
type desk struct {
	address, token string
	account        string // whose token it is
}

const deskPassword = "soak for minutes and stay as flat"

// openDesk goes through the first run with the token that the server printed, lets
// somebody in, and makes a token.
func openDesk(ctx context.Context, address string, stdout io.Reader, role string, scopes ...string) (*desk, error) {
	var setup string
	for lines := bufio.NewScanner(stdout); setup == "" && lines.Scan(); {
		setup, _ = strings.CutPrefix(lines.Text(), "token:  ")
		if setup == lines.Text() {
			setup = ""
		}
	}
	if setup == "" {
		return nil, errors.New("the server printed no token of a first run")
	}
	d := &desk{address: address}
	admin, err := d.browser()
	if err != nil {
		return nil, err
	}
	if err := d.form(admin, "/setup", url.Values{
		"token": {setup}, "organisation": {"soak"}, "name": {"Soak authority"}, "participant": {"XXA"}, "country": {"XA"}, "language": {"en"}, "zone": {"UTC"},
		"login": {"admin"}, "password": {deskPassword},
	}); err != nil {
		return nil, err
	}
	var invited struct{ Invitation struct{ Secret string } }
	if err := d.json(ctx, admin, "POST", "/v1/people", map[string]any{"login": role, "grants": []map[string]string{{"role": role}}}, http.StatusCreated, &invited); err != nil {
		return nil, err
	}
	one, err := d.browser()
	if err != nil {
		return nil, err
	}
	if err := d.form(one, "/invitation/"+invited.Invitation.Secret, url.Values{"password": {deskPassword}}); err != nil {
		return nil, err
	}
	var session struct{ ID string }
	if err := d.json(ctx, one, "GET", "/v1/session", nil, http.StatusOK, &session); err != nil {
		return nil, err
	}
	var made struct{ Secret string }
	err = d.json(ctx, one, "POST", "/v1/tokens", map[string]any{"name": "soak", "days": 1, "scopes": scopes}, http.StatusCreated, &made)
	d.token, d.account = made.Secret, session.ID
	return d, err
}

func (d *desk) browser() (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	return &http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, err
}

func (d *desk) form(c *http.Client, path string, values url.Values) error {
	res, err := c.PostForm("http://"+d.address+path, values)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		text, _ := io.ReadAll(res.Body)
		return fmt.Errorf("%s: %s: %.500s", path, res.Status, text)
	}
	return nil
}

// json asks, and reads the answer.
func (d *desk) json(ctx context.Context, c *http.Client, method, path string, body any, want int, out any, header ...string) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+d.address+path, bytes.NewReader(data))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if d.token != "" {
		r.Header.Set("Authorization", "Bearer "+d.token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != want {
		err = fmt.Errorf("%s %s: %s: %.300s", method, path, res.Status, text)
	}
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	return err
}

// work issues without a pause. Every tenth order comes twice, every twentieth
// record is found, read and revoked.
func (s *soak) work(ctx context.Context, d *desk, worker int) {
	client := &http.Client{Timeout: 30 * time.Second}
	for n := 0; ctx.Err() == nil; n++ {
		if err := s.person(context.WithoutCancel(ctx), client, d, worker, n); err != nil {
			s.failed(err)
		}
	}
}

func (s *soak) person(ctx context.Context, client *http.Client, d *desk, worker, n int) error {
	document := fmt.Sprintf("SOAK%d-%d", worker, n)
	order := map[string]any{
		"record": map[string]any{
			"person": map[string]any{"name": map[string]string{"family": "Specimen", "given": "Demo"}, "birth_date": "1990-02-03", "document": map[string]string{"number": document, "type": "PPN"}},
			"vaccination": map[string]any{
				"disease": map[string]string{"code": "840539006"}, "vaccine": map[string]string{"code": "1119349007"}, "product": map[string]string{"code": "EU/1/20/1528"},
				"manufacturer": map[string]string{"code": "ORG-100030215"}, "lot": document, "date": "2026-10-01", "dose": 1, "doses": 2, "country": "XA",
			},
		},
		"formats": []map[string]any{{"format": "eu-dcc", "expires": time.Now().AddDate(0, 6, 0)}},
	}
	var made, again struct {
		ID           string
		Certificates []struct{ Text string }
	}
	if err := d.json(ctx, client, "POST", "/v1/certificates", order, http.StatusCreated, &made, "Idempotency-Key", document); err != nil {
		return err
	}
	s.issued.Add(1)
	if n%10 == 0 {
		if err := d.json(ctx, client, "POST", "/v1/certificates", order, http.StatusOK, &again, "Idempotency-Key", document); err != nil {
			return err
		}
		if again.ID != made.ID || again.Certificates[0].Text != made.Certificates[0].Text {
			return errors.New("the same order made another certificate")
		}
	}
	if n%20 != 0 {
		return nil
	}
	var found struct{ Items []struct{ ID string } }
	if err := d.json(ctx, client, "POST", "/v1/certificates/search", map[string]string{"document": document}, http.StatusOK, &found); err != nil {
		return err
	}
	if len(found.Items) != 1 || found.Items[0].ID != made.ID {
		return fmt.Errorf("%d records found instead of one", len(found.Items))
	}
	if err := d.json(ctx, client, "GET", "/v1/certificates/"+made.ID, nil, http.StatusOK, nil); err != nil {
		return err
	}
	return d.json(ctx, client, "POST", "/v1/certificates/"+made.ID+"/revoke", map[string]string{"reason": "wrong-data"}, http.StatusOK, nil, "If-Match", `"1"`)
}
