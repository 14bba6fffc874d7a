package actions

// Rehash computes a record's hash anew, as a forger would.
func Rehash(r Record) (string, error) {
	sum, err := r.sum()
	if err != nil {
		return "", err
	}
	r.Hash = sum
	text, err := r.canonical()
	return string(text), err
}
