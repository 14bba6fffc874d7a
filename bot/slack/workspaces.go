package slack

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

const (
	// identityPrefix begins what accounts on Slack are called.
	identityPrefix = "slack:"
	// learnWithin is how long one look at whose a token is may take.
	learnWithin = 5 * time.Second
	// learnAgain is how far such looks are apart while they fail.
	learnAgain = 500 * time.Millisecond
)

// idPattern is what Slack's ids of teams, users, channels and groups look like.
// Source: https://docs.slack.dev/apis/web-api/#basics
var idPattern = regexp.MustCompile(`^[A-Z][A-Z0-9]{1,31}$`)

// holder is whom a bot token belongs to, as Slack says.
type holder struct {
	team       string // "T0001"
	enterprise string // "E0001" for an installation in a whole organisation, else ""
	// organisation is the one that the workspace is in, "" for none.
	organisation string
	user         string // the bot's account, "U0BOT"
	bot          string // "B0BOT"
	url          string // "https://acme.slack.com/"
	scopes       []string
	// unsaid is why none of this is known, nor will be; see unsaid.go. It is nil
	// at Slack itself.
	unsaid error
}

// is tells whether team is the one that the token is of.
func (h *holder) is(team string) bool {
	return h.unsaid != nil || team == h.team || h.enterprise != "" && team == h.enterprise
}

// workspace is one that Berth has a bot token of.
type workspace struct {
	token string

	mu      sync.Mutex
	asking  chan struct{} // closed when the look that is under way is over
	known   *holder
	failure error
	failed  time.Time
}

// workspaces are those that Berth is installed in.
type workspaces struct {
	s       *Surface
	home    *workspace
	others  map[string]*workspace // by team
	members bot.Kept[bool]        // of organisations
}

func newWorkspaces(s *Surface, token string, others map[string]string) (*workspaces, error) {
	w := &workspaces{s: s, home: &workspace{token: token}, others: map[string]*workspace{}, members: bot.Kept[bool]{For: keepKin}}
	for team, token := range others {
		switch {
		case !idPattern.MatchString(team):
			return nil, fmt.Errorf("slack: %q is no id of a workspace, such as T0123ABCD", team)
		case token == "":
			return nil, fmt.Errorf("slack: the workspace %s needs a bot token", team)
		}
		w.others[team] = &workspace{token: token}
	}
	return w, nil
}

// all are the workspaces by the team that the config calls them; the first one's
// is "".
func (w *workspaces) all() map[string]*workspace {
	all := map[string]*workspace{"": w.home}
	for team, other := range w.others {
		all[team] = other
	}
	return all
}

// token is the bot token for a team; that of "" is the first workspace's. It
// returns CodeNotFound for a team that Berth has none of, and CodeUnavailable
// while Slack does not say which team the first one is.
func (w *workspaces) token(ctx context.Context, team string) (string, error) {
	found, err := w.of(ctx, team)
	if err != nil {
		return "", err
	}
	return found.token, nil
}

// of is the workspace of a team; see token.
func (w *workspaces) of(ctx context.Context, team string) (*workspace, error) {
	if team == "" {
		return w.home, nil
	}
	if other, ok := w.others[team]; ok {
		return other, nil
	}
	home, err := w.holder(ctx, w.home)
	if err != nil {
		return nil, err
	}
	if !home.is(team) {
		return nil, actions.Errorf("slack.workspace", actions.CodeNotFound,
			"Berth has no token of the Slack workspace %s; whoever runs Berth has to add it to `slack.workspaces`.", team)
	}
	return w.home, nil
}

// identity is what an account of team is called that does something in the
// workspace of place: "slack:U1" for those of the first workspace, "slack:T2.U1"
// for all others, strangers in shared channels among them. Where the workspace
// belongs to an organisation, all its people are of the place where they are. It
// returns CodeUnavailable while Slack does not say which team the first workspace
// is: nobody must pass for somebody else meanwhile.
func (w *workspaces) identity(ctx context.Context, place, team, user string) (string, error) {
	team = first(team, place)
	if place != "" && place != team {
		kin, err := w.kin(ctx, place, team, user)
		if err != nil {
			return "", err
		}
		if kin {
			team = place
		}
	}
	if _, ok := w.others[team]; !ok {
		home, err := w.holder(ctx, w.home)
		if err != nil {
			return "", err
		}
		if home.is(team) && (home.unsaid == nil || first(place, team) == team) {
			return identityPrefix + user, nil
		}
	}
	return identityPrefix + team + "." + user, nil
}

// among is the first of the teams that Berth has a token of, else the first
// that is one at all: what is done in a shared channel or an organisation names
// several. What names none at all is of the first workspace. It returns
// CodeUnavailable as identity does.
func (w *workspaces) among(ctx context.Context, teams ...string) (team string, known bool, err error) {
	for _, candidate := range teams {
		if candidate == "" {
			continue
		}
		if team == "" {
			team = candidate
		}
		_, err := w.of(ctx, candidate)
		switch {
		case err == nil:
			return candidate, true, nil
		case actions.CodeOf(err) != actions.CodeNotFound:
			return "", false, err
		}
	}
	if team != "" {
		return team, false, nil
	}
	home, err := w.holder(ctx, w.home)
	if err != nil {
		return "", false, err
	}
	return home.team, true, nil
}

// self is the bot's own account in a team, "" while it is not known. It waits
// for nothing.
func (w *workspaces) self(team string) string {
	found, ok := w.others[team]
	if !ok {
		found = w.home
	}
	found.mu.Lock()
	defer found.mu.Unlock()
	if found.known == nil || !found.known.is(team) {
		return ""
	}
	return found.known.user
}

// holder asks Slack once whom a token belongs to. All who want to know wait for
// the same call, each as long as its ctx lets it.
func (w *workspaces) holder(ctx context.Context, of *workspace) (*holder, error) {
	of.mu.Lock()
	if of.known != nil {
		defer of.mu.Unlock()
		return of.known, nil
	}
	if now := w.s.now(); of.failure != nil && now.Sub(of.failed).Abs() < learnAgain {
		defer of.mu.Unlock()
		return nil, unknownTeam(of.failure)
	}
	if of.asking == nil {
		of.asking = make(chan struct{})
		go func() {
			// It outlives whoever asked first: others wait for it as well.
			call, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnWithin)
			defer cancel()
			known, err := w.ask(call, of.token)
			of.mu.Lock()
			defer of.mu.Unlock()
			if err == nil {
				of.known = known
			}
			of.failure, of.failed = err, w.s.now()
			close(of.asking)
			of.asking = nil
		}()
	}
	asking := of.asking
	of.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, unknownTeam(ctx.Err())
	case <-asking:
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.known == nil {
		return nil, unknownTeam(of.failure)
	}
	return of.known, nil
}

func unknownTeam(err error) error {
	return &actions.Error{Op: "slack.workspace", Code: actions.CodeUnavailable, Err: err, Retry: true,
		Msg: "Slack does not say at the moment which workspace Berth's token is of; it is tried again."}
}

// ask looks up whom a token belongs to.
func (w *workspaces) ask(ctx context.Context, token string) (*holder, error) {
	var found struct {
		URL        string `json:"url"`
		Team       string `json:"team_id"`
		User       string `json:"user_id"`
		Bot        string `json:"bot_id"`
		Enterprise string `json:"enterprise_id"`
		Whole      bool   `json:"is_enterprise_install"`
	}
	header, err := w.s.api.call(ctx, token, "auth.test", nil, &found)
	if err == nil && !idPattern.MatchString(found.Team) {
		err = &refused{method: "auth.test", word: noTeam, detail: fmt.Sprintf("%.40q is no team", found.Team)}
	}
	if err != nil && !w.s.unsaid(err) {
		return nil, err
	}
	h := &holder{organisation: found.Enterprise, user: found.User, bot: found.Bot, url: found.URL, unsaid: err}
	if err == nil {
		h.team = found.Team
	}
	if found.Whole {
		h.enterprise = found.Enterprise
	}
	for scope := range strings.SplitSeq(header.Get("X-Oauth-Scopes"), ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			h.scopes = append(h.scopes, scope)
		}
	}
	return h, nil
}

// learn finds out whose all tokens are, so that the first command need not wait
// for it, and tries until it knows.
func (w *workspaces) learn(ctx context.Context) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		all := true
		for team, one := range w.all() {
			known, err := w.holder(ctx, one)
			if err == nil && known.unsaid != nil {
				err = w.againWhose(ctx, one)
			}
			if err != nil {
				all = false
				if w.s.once("whose " + team) {
					w.s.log.WarnContext(ctx, "Slack does not say whose a bot token is; it is tried again", "team", team, "error", err)
				}
			}
		}
		if all || !pause(ctx, wait) {
			return
		}
	}
}
