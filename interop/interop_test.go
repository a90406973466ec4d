package interop

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var printTable = flag.Bool("table", false, "print the table and every case that does not agree")

// judgement is the end of one case.
type judgement string

const (
	agree         judgement = "agree"
	disagree      judgement = "disagree"
	notApplicable judgement = "not applicable"
)

// result is one judged case, or one judged flag of a case.
type result struct {
	format, group, name string
	judgement           judgement
	// rule explains a case that does not agree: a heading of docs/interop.md. A
	// disagreement without one fails the test.
	rule   string
	detail string
}

// board collects the results of a run.
type board struct{ results []result }

func (b *board) add(r result) { b.results = append(b.results, r) }

// vectors returns the root folder, or skips the test.
func vectors(t *testing.T) string {
	t.Helper()
	root := os.Getenv("AMPOULE_VECTORS")
	if root == "" {
		root = "../shared/vectors"
	}
	if !filepath.IsAbs(root) {
		root = filepath.Join("..", root) // tests run in their package's folder
	}
	if _, err := os.Stat(root); err != nil {
		t.Skipf("no vectors: %s is not there; set AMPOULE_VECTORS to run them", root)
	}
	return root
}

// runners are the formats that are built, by the name of their folder.
var runners = map[string]func(t *testing.T, b *board, dir string){
	"anomaly-temperature": runAnomalies,

	"cce-interop":     runCCE,
	"certlogic":       runCertLogic,
	"cold-chain-math": runColdChainMath,
	"divoc":           runDIVOC,
	"epcis":           runEPCIS,
	"epcis-hash":      runEventHashes,
	"eu-dcc":          runEUDCC,
	"jcs":             runJCS,
	"shc":             runSHC,
	"senml":           runSenML,
	"rdf-canon":       runRDFCanon,
	"who-hcert":       runWHOHCERT,
	"terminology":     runTerminology,

	"gs1-digital-link":  runGS1,
	"gs1-linkset":       runLinkset,
	"token-status-list": runTokenStatusList,

	"trust":  runTrust,
	"vds-nc": runVDSNC,
}

func TestVectors(t *testing.T) {
	root := vectors(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	b := new(board)
	var unbuilt []string
	for _, e := range entries {
		switch run := runners[e.Name()]; {
		case !e.IsDir(), e.Name() == "valuesets": // facts, not cases
		case run == nil:
			unbuilt = append(unbuilt, e.Name())
		default:
			t.Run(e.Name(), func(t *testing.T) { run(t, b, filepath.Join(root, e.Name())) })
		}
	}
	if len(b.results) == 0 {
		t.Errorf("no case was judged in %s", root)
	}
	for _, r := range b.results {
		if r.judgement == disagree && r.rule == "" {
			t.Errorf("%s/%s %s: %s", r.format, r.group, r.name, r.detail)
		}
	}
	if *printTable {
		b.print(unbuilt)
	}
	if len(unbuilt) > 0 {
		t.Logf("not judged, since the format is not built: %s", strings.Join(unbuilt, ", "))
	}
}

// print writes the table of docs/interop.md and the cases behind it.
func (b *board) print(unbuilt []string) {
	type key struct{ format, group string }
	count := map[key]map[judgement]int{}
	rules := map[string][]string{}
	for _, r := range b.results {
		k := key{r.format, r.group}
		if count[k] == nil {
			count[k] = map[judgement]int{}
		}
		count[k][r.judgement]++
		if r.judgement != agree {
			head := fmt.Sprintf("%s: %s", r.judgement, r.rule)
			rules[head] = append(rules[head], fmt.Sprintf("%s/%s %s: %s", r.format, r.group, r.name, r.detail))
		}
	}
	keys := make([]key, 0, len(count))
	for k := range count {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(strings.Compare(x.format, y.format), strings.Compare(x.group, y.group))
	})
	fmt.Println("| format | group | judged | agree | disagree | not applicable |\n|---|---|---|---|---|---|")
	for _, k := range keys {
		c := count[k]
		fmt.Printf("| %s | %s | %d | %d | %d | %d |\n", k.format, k.group, c[agree]+c[disagree]+c[notApplicable], c[agree], c[disagree], c[notApplicable])
	}
	for _, head := range slices.Sorted(func(yield func(string) bool) {
		for h := range rules {
			if !yield(h) {
				return
			}
		}
	}) {
		fmt.Printf("\n%s (%d)\n", head, len(rules[head]))
		for _, line := range rules[head] {
			fmt.Println("  " + line)
		}
	}
	fmt.Printf("\nnot built: %s\n", strings.Join(unbuilt, ", "))
}

// readJSON reads a file of the vectors. The vectors are data of ours to judge
// by, so a file that cannot be read ends the run.
func readJSON(t *testing.T, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// jsonFiles lists the cases of a group.
func jsonFiles(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".json") {
			files = append(files, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return files
}

// same compares two JSON values: numbers by value, texts exactly or as the same
// instant, a missing member like null.
func same(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return false
		}
		for k := range x {
			if !same(x[k], y[k]) {
				return false
			}
		}
		for k := range y {
			if _, ok := x[k]; !ok && y[k] != nil {
				return false
			}
		}
		return true
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !same(x[i], y[i]) {
				return false
			}
		}
		return true
	case string:
		y, ok := b.(string)
		return ok && (x == y || sameInstant(x, y))
	}
	return a == b
}
