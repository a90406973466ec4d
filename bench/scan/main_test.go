package main

import "testing"

func TestScan(t *testing.T) {
	const n = 2000
	f, err := scan(n)
	if err != nil {
		t.Fatal(err)
	}
	if f.onLog != 0 || f.inBatches != 0 || f.controlOnLog != 0 {
		t.Errorf("found on the log %d, among the leaves %d, on the log with the signature %d; want none", f.onLog, f.inBatches, f.controlOnLog)
	}
	if f.controlInBatches != n || f.tried < 50*n {
		t.Errorf("with the signatures %d of %d found, and %d values tried: the scan would find nothing at all", f.controlInBatches, n, f.tried)
	}
}
