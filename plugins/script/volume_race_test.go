//go:build race

package script

// The race detector looks for races, and needs no gigabyte for that.
const (
	manyLines = "2900000"
	manyBytes = "100000000"
)
