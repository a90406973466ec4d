//go:build !race

package divoc

const raceFactor = 1
