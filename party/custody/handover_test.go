package custody_test

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ampoule/coldchain"
	"ampoule/format/cose"
	"ampoule/format/epcis"
	"ampoule/internal/keys"
	"ampoule/party/custody"
	"ampoule/thing/handover"
	"ampoule/thing/trail"
)

var (
	worker  = custody.Actor{ID: "u-works", Within: custody.Place{Organisation: "works"}}
	keeper  = custody.Actor{ID: "u-depot", Within: custody.Place{Organisation: "moh", Facility: "depot"}}
	another = custody.Actor{ID: "u-north", Within: custody.Place{Organisation: "moh", Facility: "north"}}
)

// handKey is a key with a certificate that its service lists.
func handKey(t *testing.T, name string) *keys.Key {
	t.Helper()
	sca, err := keys.NewSCA(keys.Participant{Country: "XA", Organization: "Specimen " + name, Name: name}, day(1).AddDate(-1, 0, 0), nil)
	must(t, err)
	key, err := sca.IssueDSC(keys.DSCProfile{}, day(1).AddDate(0, -1, 0), nil)
	must(t, err)
	return key
}

// twoServices are the works and the ministry, each at a service of its own that lists the
// other, and events of a lot that goes from one to the other.
func twoServices(t *testing.T) (from, to *kit, fromKey, toKey *keys.Key) {
	t.Helper()
	from, to = newKit(t), newKit(t)
	fromKey, toKey = handKey(t, "works"), handKey(t, "moh")
	from.Hands = &custody.Hands{Signer: fromKey.Signer, Partners: map[string]*x509.Certificate{"moh": toKey.Certificate()}}
	to.Hands = &custody.Hands{Signer: toKey.Signer, Partners: map[string]*x509.Certificate{"works": fromKey.Certificate()}}
	// At the service of the works nobody registered the depot, and the other way round.
	const theirs, ours = "https://id.gs1.org/414/9521321000209", "https://id.gs1.org/414/9521321000216"
	from.now, to.now = day(3), day(4)
	must(t, from.Stock.PutLocation(t.Context(), &custody.Location{URI: ours, Place: worker.Within, Version: 1, Name: "Works"}))
	must(t, to.Stock.PutLocation(t.Context(), &custody.Location{URI: theirs, Place: keeper.Within, Version: 1, Name: "Depot"}))
	from.tell(day(1), "works", ipvLot, 100, "ADD", "commissioning", `"bizLocation":{"id":"`+ours+`"}`)
	from.tell(day(2), "works", ipvLot, 60, "OBSERVE", "shipping", `"readPoint":{"id":"`+ours+`"},"destinationList":[{"type":"location","destination":"`+theirs+`"}]`)
	to.n = 10
	to.tell(day(3), "moh", ipvLot, 58, "OBSERVE", "receiving", `"bizLocation":{"id":"`+theirs+`"}`)
	to.tell(day(3), "moh", yellowLot, 60, "OBSERVE", "receiving", `"bizLocation":{"id":"`+theirs+`"}`)
	return from, to, fromKey, toKey
}

// TestHandover goes from one service to the other and back: both end with the same file,
// which both signed, and the two packs that are missing are told.
func TestHandover(t *testing.T) {
	from, to, fromKey, toKey := twoServices(t)
	ctx := t.Context()
	offer, err := from.Offer(ctx, worker, custody.Shipping{Event: "urn:x:2", Receiver: "moh"})
	must(t, err)
	taken, err := to.Take(ctx, keeper, offer.File)
	must(t, err)
	if _, err := to.Take(ctx, keeper, offer.File); err != nil {
		t.Errorf("the same once more: %v", err)
	}
	if _, err := to.Handover(ctx, another, taken.ID); !errors.Is(err, custody.ErrNoHandover) {
		t.Errorf("another facility sees it: %v", err)
	}
	for name, c := range map[string]struct {
		by    custody.Actor
		event string
		want  error
	}{
		"by another facility": {another, "urn:x:11", custody.ErrNoHandover},
		"another lot":         {keeper, "urn:x:12", custody.ErrNotReceived},
		"no event":            {keeper, "urn:x:99", custody.ErrNoEvent},
	} {
		if _, err := to.Accept(ctx, c.by, taken.ID, c.event); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := to.Refuse(ctx, keeper, taken.ID, "no-reason"); !errors.Is(err, custody.ErrRefusal) {
		t.Errorf("refused for no reason: %v", err)
	}
	accepted, err := to.Accept(ctx, keeper, taken.ID, "urn:x:11")
	must(t, err)
	if _, err := to.Refuse(ctx, keeper, taken.ID, "damaged"); !errors.Is(err, custody.ErrAnswered) {
		t.Errorf("refused after it was accepted: %v", err)
	}
	back, err := from.Take(ctx, worker, accepted.File)
	must(t, err)
	if _, err := from.Take(ctx, worker, accepted.File); err != nil {
		t.Errorf("the same answer once more: %v", err)
	}
	if back.ID != taken.ID || !bytes.Equal(back.File, accepted.File) {
		t.Error("the two services keep other files")
	}
	kept, err := from.Handover(ctx, worker, offer.ID)
	must(t, err)
	h, err := kept.Read()
	must(t, err)
	must(t, h.VerifyOffer(fromKey.Certificate().PublicKey))
	must(t, h.VerifyAnswer(toKey.Certificate().PublicKey))
	shipped, err := from.Events.Event(ctx, "urn:x:2")
	must(t, err)
	received, err := to.Events.Event(ctx, "urn:x:11")
	must(t, err)
	want := &handover.Offer{
		Thing: ipvLot, Amount: 60, Giver: handover.Party{Name: "works", Place: "https://id.gs1.org/414/9521321000216"},
		Receiver: handover.Party{Name: "moh", Place: "https://id.gs1.org/414/9521321000209"}, Left: day(2), Offered: day(3),
		Events: []handover.Sum{shipped.Hash}, Path: handover.Path{Outcome: coldchain.NotKnown},
	}
	answer := &handover.Answer{
		Offer: h.Sum(), Outcome: handover.Accepted, Amount: 58, Arrived: day(3), Answered: day(4), Events: []handover.Sum{received.Hash},
	}
	if diff := cmp.Diff(want, h.Offer) + cmp.Diff(answer, h.Answer); diff != "" || !h.Differs() {
		t.Errorf("%s, differs %t", diff, h.Differs())
	}
	list, err := to.Stock.HandoversAt(ctx, keeper.Within, 0, 10)
	if err != nil || len(list) != 1 || list[0].Version != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestHandoverRefused: what is refused is signed for too, and stays so.
func TestHandoverRefused(t *testing.T) {
	from, to, _, _ := twoServices(t)
	ctx := t.Context()
	offer, err := from.Offer(ctx, worker, custody.Shipping{Event: "urn:x:2", Receiver: "moh"})
	must(t, err)
	taken, err := to.Take(ctx, keeper, offer.File)
	must(t, err)
	refused, err := to.Refuse(ctx, keeper, taken.ID, "cold-chain")
	must(t, err)
	_, err = from.Take(ctx, worker, refused.File)
	must(t, err)
	kept, err := from.Handover(ctx, worker, offer.ID)
	must(t, err)
	h, err := kept.Read()
	must(t, err)
	if h.Answer == nil || h.Answer.Outcome != handover.Refused || h.Answer.Reason != "cold-chain" || h.Answer.Amount != trail.Many {
		t.Errorf("%+v", h.Answer)
	}
	// Another answer to the same offer does not take its place.
	read, err := taken.Read()
	must(t, err)
	offered, err := handover.Parse(offer.File)
	must(t, err)
	file, err := offered.Sign(nil, to.Hands.Signer, &handover.Answer{
		Outcome: handover.Accepted, Amount: 60, Arrived: day(3), Answered: day(5), Events: []handover.Sum{{1}},
	})
	must(t, err)
	if _, err := from.Take(ctx, worker, file); !errors.Is(err, custody.ErrAnswered) || read.Offer.Amount != 60 {
		t.Errorf("another answer: %v", err)
	}
}

// TestHandoverAsked: who may offer what, and from whom what is taken.
func TestHandoverAsked(t *testing.T) {
	from, to, _, _ := twoServices(t)
	ctx := t.Context()
	offer, err := from.Offer(ctx, worker, custody.Shipping{Event: "urn:x:2", Receiver: "moh"})
	must(t, err)

	t.Run("offers", func(t *testing.T) {
		for name, c := range map[string]struct {
			by   custody.Actor
			what custody.Shipping
			want error
		}{
			"nobody's event":         {worker, custody.Shipping{Event: "urn:x:99", Receiver: "moh"}, custody.ErrNoEvent},
			"not of what leaves":     {worker, custody.Shipping{Event: "urn:x:1", Receiver: "moh"}, custody.ErrNotShipped},
			"another thing":          {worker, custody.Shipping{Event: "urn:x:2", Thing: yellowLot, Receiver: "moh"}, custody.ErrNotShipped},
			"to another place":       {worker, custody.Shipping{Event: "urn:x:2", To: "urn:x:there", Receiver: "moh"}, custody.ErrNowhere},
			"to whom nobody listed":  {worker, custody.Shipping{Event: "urn:x:2", Receiver: "elsewhere"}, custody.ErrPartner},
			"by another":             {custody.Actor{ID: "u", Within: custody.Place{Organisation: "other"}}, custody.Shipping{Event: "urn:x:2", Receiver: "moh"}, custody.ErrNoEvent},
			"under a partner's name": {keeper, custody.Shipping{Event: "urn:x:2", Receiver: "moh"}, custody.ErrPartner},
		} {
			if _, err := from.Offer(ctx, c.by, c.what); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Run("takes", func(t *testing.T) {
		stranger := handKey(t, "stranger")
		read, err := handover.Parse(offer.File)
		must(t, err)
		forged, err := read.Offer.Sign(nil, stranger.Signer)
		must(t, err)
		answered, err := read.Sign(nil, stranger.Signer, &handover.Answer{Outcome: handover.Refused, Reason: "other", Amount: trail.Many, Answered: day(4)})
		must(t, err)
		named := *read.Offer
		named.Giver.Name = "stranger"
		unlisted, err := named.Sign(nil, stranger.Signer)
		must(t, err)
		for name, c := range map[string]struct {
			at   *kit
			by   custody.Actor
			file []byte
			want error
		}{
			"signed by another":        {to, keeper, forged, cose.ErrSignature},
			"by whom nobody listed":    {to, keeper, unlisted, custody.ErrPartner},
			"to another facility":      {to, another, offer.File, custody.ErrNotYours},
			"an answer of another":     {from, worker, answered, cose.ErrSignature},
			"an answer to no offer":    {to, keeper, answered, custody.ErrOwnSignature},
			"what is no file":          {to, keeper, []byte{0x82, 0x40, 0x40}, nil},
			"where nobody signs":       {newKit(t), keeper, offer.File, custody.ErrNoHands},
			"under the partner's name": {from, keeper, offer.File, custody.ErrPartner},
		} {
			if _, err := c.at.Take(ctx, c.by, c.file); err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
		to.now = to.now.AddDate(50, 0, 0)
		if _, err := to.Take(ctx, keeper, offer.File); !errors.Is(err, custody.ErrCertificate) {
			t.Errorf("a certificate that has run out: %v", err)
		}
		to.now = day(4)
	})
	t.Run("declared wrong", func(t *testing.T) {
		shipped, err := from.Events.Event(ctx, "urn:x:2")
		must(t, err)
		e, err := shipped.Kept.Event()
		must(t, err)
		e.Error = &epcis.ErrorDeclaration{At: day(3)}
		wrong := custody.NewEvent(e, "works", "account", day(3))
		if added, err := from.Events.Capture(ctx, []custody.Event{wrong}); err != nil || added != 1 {
			t.Fatal(added, err)
		}
		if _, err := from.Offer(ctx, worker, custody.Shipping{Event: "urn:x:2", Receiver: "moh"}); !errors.Is(err, custody.ErrNoEvent) {
			t.Error(err)
		}
	})
}

// TestHandoverHere: both are at one service, which signs for each; and what was measured
// before it left goes with it.
func TestHandoverHere(t *testing.T) {
	k, _ := frozen(t)
	key := handKey(t, "service")
	k.Hands = &custody.Hands{Signer: key.Signer}
	// From the depot of the ministry to a hospital of another organisation.
	const ward = "https://id.gs1.org/414/9521321000308"
	hospital := custody.Actor{ID: "u-ward", Within: custody.Place{Organisation: "hospital"}}
	must(t, k.Stock.PutLocation(t.Context(), &custody.Location{URI: ward, Place: hospital.Within, Version: 1, Name: "Ward"}))
	k.n = 100
	k.tell(day(13).Add(12*3600e9), "moh", ipvLot, 3, "OBSERVE", "shipping", `"readPoint":{"id":"`+northCold+`"},"destinationList":[{"type":"location","destination":"`+ward+`"}]`)
	k.tell(day(14), "hospital", ipvLot, 3, "OBSERVE", "receiving", `"bizLocation":{"id":"`+ward+`"}`)
	offer, err := k.Offer(t.Context(), another, custody.Shipping{Event: "urn:x:101"})
	must(t, err)
	h, err := offer.Read()
	must(t, err)
	if p := h.Offer.Path; p.Outcome != coldchain.Froze || p.Measured < 5000 || p.Measured > 10000 || p.Outside < 24*60-30 || len(p.By) == 0 || strings.Contains(p.By[0], " ") {
		t.Errorf("%+v", p)
	}
	accepted, err := k.Accept(t.Context(), hospital, offer.ID, "urn:x:102")
	must(t, err)
	if h, err = accepted.Read(); err != nil || h.Differs() || h.Answer.Outcome != handover.Accepted {
		t.Errorf("%+v, %v", h.Answer, err)
	}
	must(t, h.VerifyAnswer(key.Certificate().PublicKey))
}
