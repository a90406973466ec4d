package interop

import (
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"ampoule/internal/epcisapi"
	"ampoule/internal/keys"
	"ampoule/internal/store"
	"ampoule/party/custody"
)

// TestEPCISPeer has epcis2.js, the client of the standard that its authors' companies
// wrote, build a document, hold it against the schema, capture it, and hash its events:
// they are found again, by the names that it gave them.
//
// Its order of fields is another one where there are sources, destinations and sensors
// (what counts here is that of the method's own vectors), and it leaves URNs of parents and
// children as they are: so no event here has the ones, and those of the others are links.
func TestEPCISPeer(t *testing.T) {
	const modules = "../web/test"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node: nothing was captured by epcis2.js")
	}
	if _, err := os.Stat(modules + "/node_modules/epcis2.js"); err != nil {
		t.Skip("no epcis2.js in web/test (make deps): nothing was captured by it")
	}
	master, err := keys.NewMasterKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := store.Config{Dir: t.TempDir(), Master: master, NoSync: true}
	if err := store.Create(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	goods := &custody.Custody{Events: s.Goods(), Stock: s.Goods(), Secret: s.Goods().Secret(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}
	server := httptest.NewServer((&epcisapi.API{Custody: goods, Version: "test", Log: goods.Log, By: func(*http.Request, bool) (custody.Actor, error) {
		return custody.Actor{ID: "u-peer", Within: custody.Place{Organisation: "specimen"}}, nil
	}}).Handler())
	defer server.Close()
	node := exec.Command("node", "-e", `
const e = require("epcis2.js");
process.on("uncaughtException", (err) => { console.error(err.message); process.exit(1); }); // without its bundle, in one line
e.setup({ apiUrl: process.argv[1] + "/epcis/", eventTimeZoneOffset: "+02:00" });
const at = "2026-11-01T09:00:00.000+02:00";
const common = (event) => event.setEventTime(at).setEventTimeZoneOffset("+02:00").setAction("OBSERVE").setBizStep(e.cbv.bizSteps.storing).setDisposition(e.cbv.dispositions.active)
  .setReadPoint("urn:epc:id:sgln:9521321.00001.0").setBizLocation("https://id.gs1.org/414/9521321000025");
const events = [
  common(new e.ObjectEvent()).addEPC("urn:epc:id:sgtin:9521321.012345.77").addEPC("https://id.gs1.org/00/095213210000000117"),
  common(new e.ObjectEvent()).addQuantity(new e.QuantityElement().setEpcClass("urn:epc:class:lgtin:9521321.012345.SPEC-1").setQuantity(200).setUom("KGM")),
  common(new e.AggregationEvent()).setParentId("https://id.gs1.org/00/095213210000000117").addChildEPC("https://id.gs1.org/01/09521321123458/21/77"),
  common(new e.ObjectEvent()).addEPC("urn:epc:id:sgtin:9521321.012345.78").addBizTransaction(new e.BizTransactionElement({ type: e.cbv.businessTransactionTypes.po, bizTransaction: "urn:epcglobal:cbv:bt:9521321000018:17" })),
];
const document = new e.EPCISDocument().setCreationDate("2026-11-01T10:00:00.000+00:00");
const context = "https://ref.gs1.org/standards/epcis/2.0.0/epcis-context.jsonld";
const names = events.map((x) => { const id = e.eventToHashedId(x.toObject(), { "@context": context }); return id; });
events.forEach((x) => document.addEvent(x));
(async () => {
  const taken = await e.capture(document);
  const job = await (await fetch(process.argv[1] + taken.headers.get("location"))).json();
  const found = await (await fetch(process.argv[1] + "/epcis/events")).json();
  const again = new e.EPCISDocument({ ...found, type: "EPCISDocument", epcisBody: { eventList: found.epcisBody.queryResults.resultsBody.eventList } });
  console.log(JSON.stringify({ status: taken.status, job, names, found: found.epcisBody.queryResults.resultsBody.eventList.map((x) => x.eventID), valid: again.isValid() }));
})();
`, server.URL)
	node.Dir = modules
	out, err := node.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, err.(*exec.ExitError).Stderr)
	}
	var got struct {
		Status int
		Job    struct{ Success bool }
		Names  []string
		Found  []string
		Valid  bool
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Status != http.StatusAccepted || !got.Job.Success || !got.Valid || len(got.Found) != 4 {
		t.Fatalf("%s", out)
	}
	if diff := cmp.Diff(got.Names, got.Found); diff != "" {
		t.Errorf("the names that each gives: %s", diff)
	}
}
