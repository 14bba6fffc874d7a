package chat

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// View is what a card is made of: facts that were read at one moment, and where
// the card stands. A card is made of nothing else, so that equal facts always
// look the same.
type View struct {
	Name        actions.Name
	App         *actions.App         // nil when it is configured no more
	Environment *actions.Environment // nil when there is no record of it
	Request     *approvals.Request   // what the card is about, with its plan; nil for an environment by itself
	UnderWay    *approvals.Request   // the newest request of the environment that has not ended, besides Request; may be nil
	Run         *actions.Run         // Request's; nil before it runs
	Log         []string             // the last lines of Run's log
	LogLines    int                  // how many there are in all
	Progress    map[string]string    // by part: what its step said last of how far it is
	Place       bot.ChatPlace
	Rules       Rules // those of Place
	// Old tells that a newer card in the same channel shows the environment.
	Old       bool
	PublicURL string // where Berth is reached; may be empty
	RepoURL   string // where repositories are read: "https://github.com"; may be empty
	Now       time.Time
}

// typed is a command as it is typed in chat, as code.
func typed(words ...string) string { return bot.Code("/berth "+strings.Join(words, " "), 300) }

// fullSHA is what a commit that can be linked to looks like.
var fullSHA = regexp.MustCompile(`^[0-9a-f]{40}$`)

// repoName is what a repository that can be linked to looks like.
var repoName = regexp.MustCompile(`^[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+$`)

// repo is where the environment's code comes from; "" when that is not known.
func (v View) repo() string {
	switch {
	case v.Environment != nil && v.Environment.Repo != "":
		return v.Environment.Repo
	case v.App != nil:
		return v.App.Repo
	default:
		return ""
	}
}

// repoLink is a page of a repository as Markdown; text alone where its address
// is not known. text is Markdown.
func (v View) repoLink(repo, page, text string) string {
	base := webURL(v.RepoURL)
	if base == "" || !repoName.MatchString(repo) {
		return text
	}
	return "[" + text + "](" + strings.TrimSuffix(base, "/") + "/" + repo + "/" + page + ")"
}

// commit is a commit with its link, its message and who made it; "" when there is
// none.
func (v View) commit(c actions.Commit) string {
	if c.SHA == "" {
		return ""
	}
	text := bot.Code(bot.Short(c.SHA), 40)
	if fullSHA.MatchString(c.SHA) {
		text = v.repoLink(v.repo(), "commit/"+c.SHA, text)
	}
	if c.Message != "" {
		text += " " + bot.Escape(c.Message, 120)
	}
	if c.Author != "" {
		text += " – " + bot.Escape(c.Author, 80)
	}
	if c.Fork {
		text += " – **from a fork**"
	}
	return text
}

// pullPlace is the ID of a place on GitHub: "acme/shop#42".
var pullPlace = regexp.MustCompile(`^([A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+)#([1-9][0-9]{0,9})$`)

// whence says where something was said, as seen from where the card stands.
func (v View) whence(p approvals.Place) string {
	if pull := pullPlace.FindStringSubmatch(p.ID); p.Surface == "github" && pull != nil {
		page := "pull/" + pull[2]
		if p.Message != "" && strings.Trim(p.Message, "0123456789") == "" {
			page += "#issuecomment-" + p.Message
		}
		return bot.SurfaceWords(p.Surface) + ", " + v.repoLink(pull[1], page, bot.Code(p.ID, 150))
	}
	if p.Surface == v.Place.Platform {
		at, err := bot.ParseChatPlace(p.Surface, p.ID)
		if err == nil && at.Workspace == v.Place.Workspace && at.Channel == v.Place.Channel && at.User == v.Place.User {
			return "here"
		}
	}
	return bot.SurfaceWords(p.Surface)
}

// webURL is u when it is an address that a button or a link may open, else "".
func webURL(u string) string {
	parsed, err := url.Parse(u)
	if err != nil || (parsed.Scheme != "http" && parsed.Scheme != "https") || parsed.Host == "" || parsed.User != nil ||
		strings.ContainsFunc(u, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>\"`\\|()", r) }) {
		return ""
	}
	return u
}

// logURL is where a run's log is read; "" when there is no such place.
func (v View) logURL(runID string) string {
	if v.PublicURL == "" || runID == "" {
		return ""
	}
	return webURL(strings.TrimSuffix(v.PublicURL, "/") + "/api/v1/runs/" + url.PathEscape(runID) + "/events")
}

// wholeLog says where all of the log of a request's run is read.
func (v View) wholeLog(r *approvals.Request) string {
	text := "The whole log: `berth logs " + r.ID + "` in a terminal"
	if u := v.logURL(r.RunID); u != "" {
		text += ", or <" + u + ">"
	}
	return text + "."
}

// allowed keeps the buttons that lead to what may be asked for at the place.
func (v View) allowed(buttons []bot.ChatButton) []bot.ChatButton {
	reached := v.Name.App == "" || v.Rules.reaches(v.Name.App)
	return slices.DeleteFunc(buttons, func(b bot.ChatButton) bool {
		verb, _, _ := strings.Cut(b.Line, " ")
		return b.Line != "" && (!reached || !v.Rules.allows(verb))
	})
}

// decidedHere tells whether the place is one where people may approve.
func (v View) decidedHere() bool {
	return v.Rules.reaches(v.Name.App) && v.Rules.allows(bot.VerbApprove)
}

// roughly is a time in the one unit that matters, at the grain of an hour, so
// that a card does not change each minute.
func roughly(d time.Duration) string {
	switch {
	case d < time.Hour:
		return "less than an hour"
	case d < 2*time.Hour:
		return "1 hour"
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	default:
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
}

// clip is the beginning of a text that is longer than most bytes, at a character.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && s[cut]&0xc0 == 0x80 {
		cut--
	}
	return s[:cut]
}

// digestLength is how much of a digest tells plans apart in a button.
const digestLength = 16

// oneLine is outside text where plain text of one line stands, of at most so
// many bytes.
func oneLine(s string, most int) string {
	return clip(strings.Join(strings.Fields(bot.Plain(s)), " "), most)
}
