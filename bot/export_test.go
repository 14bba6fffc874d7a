package bot

// Prose is prose, for tests.
var Prose = prose
