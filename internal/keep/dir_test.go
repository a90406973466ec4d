package keep

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestReplaceTree(t *testing.T) {
	parent := t.TempDir()
	path := filepath.Join(parent, "lists")
	tree := func(n int) map[string][]byte {
		return map[string][]byte{"a/b/did.json": fmt.Append(nil, n), "did.json": fmt.Append(nil, n)}
	}
	if err := ReplaceTree(path, tree(0)); err != nil {
		t.Fatal(err)
	}
	// A reader that opens the folder once never sees a mixture.
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			root, err := os.OpenRoot(path)
			if err != nil {
				t.Error(err)
				return
			}
			one, err1 := root.ReadFile("did.json")
			two, err2 := root.ReadFile("a/b/did.json")
			if err := errors.Join(err1, err2, root.Close()); err != nil || string(one) != string(two) {
				t.Errorf("%q, %q, %v", one, two, err)
				return
			}
		}
	})
	for n := 1; n <= 20; n++ {
		if err := ReplaceTree(path, tree(n)); err != nil {
			t.Fatal(err)
		}
		// Slow enough for a reader to be done with a folder two generations old.
		if data, err := os.ReadFile(filepath.Join(path, "did.json")); err != nil || string(data) != fmt.Sprint(n) {
			t.Fatalf("%q, %v", data, err)
		}
		if n == 1 {
			close(stop)
			readers.Wait()
		}
	}
	entries, err := os.ReadDir(parent)
	if err != nil || len(entries) != 3 { // the link, the folder, the one before
		t.Errorf("%v, %v", entries, err)
	}

	t.Run("of this folder", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if err := ReplaceTree("lists", tree(0)); err != nil {
			t.Fatal(err)
		}
		if data, err := os.ReadFile("lists/a/b/did.json"); err != nil || string(data) != "0" {
			t.Errorf("%q, %v", data, err)
		}
	})

	real := filepath.Join(parent, "real")
	if err := os.Mkdir(real, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceTree(real, tree(0)); !errors.Is(err, ErrNotLink) {
		t.Error(err)
	}
	if err := ReplaceTree(path, map[string][]byte{"../x": nil}); err == nil {
		t.Error("written outside")
	}
	if data, err := os.ReadFile(filepath.Join(path, "did.json")); err != nil || string(data) != "20" {
		t.Errorf("a failure changed what is there: %q, %v", data, err)
	}
	if after, err := os.ReadDir(parent); err != nil || len(after) != 4 {
		t.Errorf("a failure left something: %v, %v", after, err)
	}
}
