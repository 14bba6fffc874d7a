package actions

import (
	"regexp"
	"strconv"
	"strings"
)

// Name identifies an environment: the app and the environment's own name in it.
type Name struct {
	App string `json:"app"`
	Env string `json:"name"`
}

// namePattern is what the name of an app and of an environment looks like: it
// fits a DNS label with room for a prefix.
var namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)

// ValidName tells whether s may name an app or an environment: 2 to 40 of
// a-z, 0-9 and "-", a letter first, no "-" last.
func ValidName(s string) bool { return namePattern.MatchString(s) }

// ParseName reads "app/name". It returns CodeInvalid and says what is wrong.
func ParseName(s string) (Name, error) {
	app, env, ok := strings.Cut(s, "/")
	if !ok {
		return Name{}, Errorf("name.parse", CodeInvalid, "%q is not an environment; write it as app/name, such as shop/pr-42.", clip(s))
	}
	for _, part := range []string{app, env} {
		if !ValidName(part) {
			return Name{}, Errorf("name.parse", CodeInvalid, "%q cannot be a name: use 2 to 40 of a-z, 0-9 and \"-\", starting with a letter.", clip(part))
		}
	}
	return Name{App: app, Env: env}, nil
}

// PullRequestName is the environment name of a pull request.
func PullRequestName(number int) string { return "pr-" + strconv.Itoa(number) }

// PullRequest is the number of the pull request that n belongs to, or 0.
func (n Name) PullRequest() int {
	digits, ok := strings.CutPrefix(n.Env, "pr-")
	if !ok {
		return 0
	}
	number, err := strconv.Atoi(digits)
	if err != nil || number < 1 || digits[0] == '0' {
		return 0
	}
	return number
}

// String is "app/name".
func (n Name) String() string { return n.App + "/" + n.Env }

// IsZero tells whether n names nothing.
func (n Name) IsZero() bool { return n == Name{} }

// clip shortens outside text that is repeated in a message.
func clip(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}
