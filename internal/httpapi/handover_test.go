package httpapi

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"ampoule/coldchain"
	"ampoule/internal/access"
	"ampoule/internal/keys"
	"ampoule/internal/storetest"
	"ampoule/party/custody"
	"ampoule/thing/handover"
)

// partner has the service sign hand-overs, and list a partner of a name.
func (b *stockBed) partner(t *testing.T, name string) *keys.Key {
	t.Helper()
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen " + name, Name: name}, storetest.Day.AddDate(-1, 0, 0), nil)
	must(t, err)
	own, err := sca.IssueDSC(keys.DSCProfile{}, storetest.Day.AddDate(0, -1, 0), nil)
	must(t, err)
	theirs, err := sca.IssueDSC(keys.DSCProfile{}, storetest.Day.AddDate(0, -1, 0), nil)
	must(t, err)
	b.custody.Hands = &custody.Hands{Signer: own.Signer, Partners: map[string]*x509.Certificate{name: theirs.Certificate()}}
	return theirs
}

// offered is the file of an offer to the clinic, one of several.
func (b *stockBed) offered(t *testing.T, by *keys.Key, n int) []byte {
	t.Helper()
	o := &handover.Offer{
		Thing: stockLot, Amount: int64(n), Giver: handover.Party{Name: "works", Place: "urn:x:works"}, Receiver: handover.Party{Name: "org-a", Place: stockSite},
		Left: storetest.Day.Add(-48 * time.Hour).Truncate(time.Second), Offered: storetest.Day.Add(-time.Hour).Truncate(time.Second), Events: []handover.Sum{{1}},
		Path: handover.Path{Outcome: coldchain.NotKnown},
	}
	file, err := o.Sign(rand.Reader, by.Signer)
	must(t, err)
	return file
}

// TestHandoverOverAPI takes in an offer, accepts it with its difference, and lists it.
func TestHandoverOverAPI(t *testing.T) {
	b := newStockBed(t)
	b.told(t, 2, storetest.Day.Add(-24*time.Hour), "OBSERVE", "receiving", 10)
	works := b.partner(t, "works")
	b.who = &access.Principal{ID: "u-keeper", Organisation: "org-a", Grants: []access.Grant{{Role: access.Supervisor, Facility: "north"}}}
	said := func(method, path, body string, want int) (out HandoverBody, text string) {
		t.Helper()
		res := ask(b.handler, method, path, body)
		text = readAll(t, res)
		b.described(t, method, path, res, text)
		if res.StatusCode != want {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		if want == 200 && method == "POST" {
			must(t, json.Unmarshal([]byte(text), &out))
		}
		return out, text
	}
	reason := func(text string) (reason string) {
		var p struct{ Reason, Detail string }
		must(t, json.Unmarshal([]byte(text), &p))
		return p.Reason
	}
	file := func(data []byte) string { return fmt.Sprintf(`{"file":%q}`, encoded(t, data)) }
	first, _ := said("POST", "/v1/handovers/messages", file(b.offered(t, works, 12)), 200)
	if first.State != "offered" || first.Amount != 12 || first.Answer != nil || first.Giver.Name != "works" {
		t.Errorf("%+v", first)
	}
	accepted, _ := said("POST", "/v1/handovers/"+first.ID+"/accept", `{"event":"urn:x:2"}`, 200)
	if a := accepted.Answer; accepted.State != "accepted" || a == nil || !a.Differs || a.Amount != 10 || len(a.Events) != 1 {
		t.Errorf("%+v", accepted)
	}
	h, err := handover.Parse(accepted.File)
	if err == nil {
		err = errors.Join(h.VerifyOffer(works.Certificate().PublicKey), h.VerifyAnswer(b.custody.Hands.Signer.Public()))
	}
	must(t, err)
	for _, c := range []struct {
		path, body string
		status     int
		reason     string
	}{
		{"/v1/handovers/" + first.ID + "/refuse", `{"reason":"damaged"}`, 409, "hand-over-answered"},
		{"/v1/handovers/none/refuse", `{"reason":"damaged"}`, 404, "no-such-hand-over"},
		{"/v1/handovers/messages", file([]byte("no file")), 422, "bad-hand-over"},
		{"/v1/handovers", `{"event":"urn:x:none","receiver":"works"}`, 422, "bad-hand-over"},
	} {
		if _, text := said("POST", c.path, c.body, c.status); reason(text) != c.reason {
			t.Errorf("%s: %s", c.path, text)
		}
	}
	second, _ := said("POST", "/v1/handovers/messages", file(b.offered(t, works, 13)), 200)
	var page struct {
		Items []HandoverBody
		Next  string
	}
	for _, want := range []HandoverBody{second, accepted} {
		_, text := said("GET", "/v1/handovers?limit=1&cursor="+cmp.Or(page.Next, "0"), "", 200)
		must(t, json.Unmarshal([]byte(text), &page))
		if len(page.Items) != 1 || page.Items[0].ID != want.ID || page.Items[0].State != want.State {
			t.Errorf("%s", text)
		}
	}
}

func encoded(t *testing.T, data []byte) (text string) {
	t.Helper()
	b, err := json.Marshal(data)
	must(t, err)
	must(t, json.Unmarshal(b, &text))
	return text
}
