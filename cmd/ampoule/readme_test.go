package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadme runs the session of the README: every command succeeds or fails as
// a reader would see it, and every line of output that is shown appears, in
// order. A line that ends in … may go on.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(readme), "<!-- session: run by a test, line by line -->\n```console\n")
	if !found {
		t.Fatal("the README has no session")
	}
	session, _, _ := strings.Cut(rest, "```")

	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "bin", "ampoule"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var output []string
	for line := range strings.Lines(session) {
		line = strings.TrimRight(line, "\n")
		if command, ok := strings.CutPrefix(line, "$ "); ok {
			cmd := exec.Command("sh", "-c", command)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			// A verdict other than valid exits with 1, which is an answer.
			if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != exitNotValid) {
				t.Fatalf("%s: %v\n%s", command, err, out)
			}
			output = strings.Split(string(out), "\n")
			continue
		}
		want, open := strings.CutSuffix(line, "…")
		at := -1
		for i, got := range output {
			if got == want || open && strings.HasPrefix(got, want) {
				at = i
				break
			}
		}
		if at < 0 {
			t.Fatalf("the README shows %q, which is not in what follows:\n%s", line, strings.Join(output, "\n"))
		}
		output = output[at+1:]
	}
}
