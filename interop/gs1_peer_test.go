package interop

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"ampoule/format/gs1"
)

// TestGS1Peer compares compression with digital-link.js, which wraps the toolkit that GS1
// published: each reads what the other wrote, and both write the same.
//
// The toolkit counts with floating point, so no number here has more than 15 digits. It
// loses zeros before a number: where a serial begins with one the texts differ, and ours
// is one that the toolkit reads. It mixes up values in which characters follow digits (8003,
// 253, 7030) and writes no number for digits that are left out (8008), so these are not
// here; 417 came after it.
func TestGS1Peer(t *testing.T) {
	const modules = "../web/test"
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node: nothing was compared with digital-link.js")
	}
	if _, err := os.Stat(modules + "/node_modules/digital-link.js"); err != nil {
		t.Skip("no digital-link.js in web/test (make deps): nothing was compared with it")
	}
	var links []string
	for _, path := range []string{
		"01/09501101530003", "8004/9501101530A", "414/9501101530003",
		"401/9501101xyz47", "255/95011015300031234", "01/09501101530003/22/2A", "01/09501101530003/10/AB-123", "01/09501101530003/21/0007",
		"01/09501101530003/21/deadbeef", "01/09501101530003/21/DEADBEEF", "01/09501101530003/21/123456789012345", "01/09501101530003/10/a%2Fb%25%21",
		"01/09501101530003/22/2A/10/AB-123/21/Zz_9", "01/09501101530003/10/AB-123/21/77", "414/9501101530003/254/ward-3", "8010/9501101A%2F1/8011/77",
	} {
		links = append(links, "https://example.org/"+path, "https://example.org/some/path/"+path)
	}
	for _, query := range []string{
		"17=290331", "11=280101&17=290331", "15=290300", "16=290331", "30=24", "3103=000195", "3205=001950", "3922=1999", "7003=2903311200", "91=internal", "422=276",
		"423=276756", "7007=280101280102", "8008=280101121314", "99=" + strings.Repeat("x", 90), "17=290331&linkType=gs1:epil", "lang=en&arv=true&17=290331", "240=" + strings.Repeat("9", 15),
		"10a=1",
	} {
		links = append(links, "https://example.org/01/09501101530003?"+query, "https://example.org/01/09501101530003/10/AB-123?"+query)
	}

	type question struct{ URI, Compressed string }
	var ask []question
	var want []gs1.DigitalLink
	for _, uri := range links {
		d, err := gs1.ParseDigitalLink(uri)
		if err != nil {
			t.Fatalf("%s: %v", uri, err)
		}
		ask, want = append(ask, question{uri, d.Compress()}), append(want, d)
	}
	in, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", "-e", `
const { Utils } = require("digital-link.js");
const attempt = (f, x) => { try { return f(x) } catch (e) { return "error: " + (e.message ?? e) } };
const ask = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify(ask.map(q => ({ compressed: attempt(Utils.compressWebUri, q.URI), plain: attempt(Utils.decompressWebUri, q.Compressed) }))));
`)
	node.Dir, node.Stdin = modules, strings.NewReader(string(in))
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	var answers []struct{ Compressed, Plain string }
	if err := json.Unmarshal(out, &answers); err != nil || len(answers) != len(ask) {
		t.Fatalf("%d answers of %d: %v: %.200s", len(answers), len(ask), err, out)
	}
	same := 0
	for i, a := range answers {
		theirs, err := gs1.Decompress(a.Compressed)
		if err != nil || theirs.Canonical() != want[i].Canonical() {
			t.Errorf("%s: they wrote %s, which is %s: %v", ask[i].URI, a.Compressed, theirs.Canonical(), err)
		}
		ours, err := gs1.ParseDigitalLink(a.Plain)
		if err != nil || ours.Canonical() != want[i].Canonical() || len(ours.Other) != len(want[i].Other) {
			t.Errorf("%s: we wrote %s, which they read as %s: %v", ask[i].URI, ask[i].Compressed, a.Plain, err)
		}
		if a.Compressed == ask[i].Compressed {
			same++
		} else if !strings.Contains(ask[i].URI, "/0007") {
			t.Errorf("%s: they wrote %s, we %s", ask[i].URI, a.Compressed, ask[i].Compressed)
		}
	}
	t.Logf("%d links, %d of them written alike", len(links), same)
}
