//go:build !race

package script

// How much scripts print in the test of memory: a gigabyte.
const (
	manyLines = "29000000"
	manyBytes = "1000000000"
)
