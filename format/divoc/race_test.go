//go:build race

package divoc

// raceFactor is what the race detector may slow a test down by.
const raceFactor = 20
