package github

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
)

// rank orders the permissions that people have on a repository.
// Source: https://docs.github.com/organizations/managing-user-access-to-your-organizations-repositories/managing-repository-roles/repository-roles-for-an-organization
var rank = map[string]int{"none": 0, "read": 1, "triage": 2, "write": 3, "maintain": 4, "admin": 5}

// The reactions that a command's comment gets.
const (
	reactionSeen    = "eyes"
	reactionDone    = "rocket"
	reactionRefused = "-1"
	reactionVoid    = "confused" // overtaken or withdrawn: nobody's fault
)

// account is who did something, as payloads say it.
type account struct {
	ID    int64  `json:"id"` // stays when the login changes hands
	Login string `json:"login"`
	Type  string `json:"type"` // "User", "Bot", "Organization", …
}

// commentEvent is what is read of an issue_comment payload.
type commentEvent struct {
	Action string `json:"action"`
	Issue  struct {
		Number      int       `json:"number"`
		State       string    `json:"state"`
		PullRequest *struct{} `json:"pull_request"`
	} `json:"issue"`
	Comment struct {
		ID      int64   `json:"id"`
		Body    string  `json:"body"`
		User    account `json:"user"`
		Created string  `json:"created_at"`
	} `json:"comment"`
	Repository struct {
		FullName string `json:"full_name"`
	} `json:"repository"`
	Sender account `json:"sender"`
}

// commented handles a comment. Commands are what people newly write on pull
// requests of repositories that an app names. Elsewhere nothing is answered,
// since a hook may be a whole organisation's, and other bots read comments too.
func (s *Surface) commented(ctx context.Context, p parcel) error {
	var e commentEvent
	if err := json.Unmarshal(p.body, &e); err != nil {
		return fmt.Errorf("%w: %w", errMalformed, err)
	}
	if e.Action != "created" {
		return nil
	}
	lines := s.lines(e.Comment.Body)
	if len(lines) == 0 {
		return nil
	}
	repo := e.Repository.FullName
	if !validRepo(repo) || e.Issue.Number < 1 || e.Comment.ID < 1 || e.Sender.Login == "" {
		return fmt.Errorf("%w: a comment without its repository, number, id or sender", errMalformed)
	}
	log := s.log.With("delivery_id", p.delivery, "repo", repo, "number", e.Issue.Number, "actor", e.Sender.Login)
	switch {
	case e.Sender.Type == "Bot" || e.Comment.User.Type == "Bot" || strings.HasPrefix(e.Comment.Body, markerStart):
		// A comment of ours begins with a marker. By it ours are known even where
		// Berth uses the token of a person who types commands too.
		log.InfoContext(ctx, "a bot's commands are not followed")
	case e.Issue.PullRequest == nil:
		log.InfoContext(ctx, "commands on an issue are not followed; they belong on a pull request")
	case len(s.appsOf(repo)) == 0 && !s.componentRepo(repo):
		log.InfoContext(ctx, "commands are not followed on a repository that no app names")
	default:
		c := conversation{repo: repo, number: e.Issue.Number, comment: e.Comment.ID, login: e.Sender.Login, account: e.Sender}
		if at, err := time.Parse(time.RFC3339, e.Comment.Created); err == nil {
			c.at = at
		}
		if len(s.appsOf(repo)) == 0 {
			return s.obeyComponent(ctx, c, e.Issue.State, lines)
		}
		return s.obey(ctx, c, e.Issue.State, lines)
	}
	return nil
}

// conversation is where an answer belongs.
type conversation struct {
	repo    string
	number  int
	comment int64 // that is answered
	login   string
	account account   // of that login
	at      time.Time // when it was written, zero when GitHub does not say
	// as and asNumber are the pull request that commands mean, where it is not the
	// one that they stand on: on that of a component, the environment's.
	as       string
	asNumber int
}

// afterwards are the verbs that work on a closed pull request too: those that
// bring nothing up, such as the decision on the cleanup that its end asked for.
var afterwards = []string{
	bot.VerbApprove, bot.VerbDeny, bot.VerbExplain, bot.VerbCancel, bot.VerbStatus, bot.VerbList, bot.VerbLogs, bot.VerbHelp, bot.VerbLink,
	string(actions.VerbCleanup),
}

// onlyAfterwards says so.
var onlyAfterwards = "Reopen it to use all commands here; on a closed one there are only " + bot.Join(slashed(afterwards), "and") + "."

func slashed(verbs []string) []string {
	typed := make([]string, len(verbs))
	for i, verb := range verbs {
		typed[i] = bot.Code("/"+verb, 40)
	}
	return typed
}

// verbOf is the verb of a line, as the grammar finds it.
func verbOf(line string) string {
	verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	return strings.ToLower(verb)
}

// obey carries out the commands of a comment.
func (s *Surface) obey(ctx context.Context, c conversation, state string, lines []string) error {
	var seen sync.WaitGroup
	defer seen.Wait()
	seen.Go(func() {
		if err := s.client.react(ctx, c.repo, c.comment, reactionSeen); err != nil {
			s.log.WarnContext(ctx, "a comment got no reaction", "repo", c.repo, "number", c.number, "error", err)
		}
	})
	works := !slices.ContainsFunc(lines, func(line string) bool { return !slices.Contains(afterwards, verbOf(line)) })
	if state != "open" && !works {
		return s.refuse(ctx, c, "this pull request is closed, so nothing ran. "+onlyAfterwards)
	}
	p, err := s.client.pull(ctx, c.repo, c.number)
	if statusOf(err) == http.StatusNotFound || statusOf(err) == http.StatusGone {
		s.log.WarnContext(ctx, "a pull request with commands is not there any more, or hidden from Berth", "repo", c.repo, "number", c.number, "error", err)
		return nil
	}
	if err != nil {
		return s.cannot(ctx, c, "look at this pull request", "Pull requests: read", err)
	}
	if !p.open && !works {
		return s.refuse(ctx, c, "this pull request is closed by now, so nothing ran. "+onlyAfterwards)
	}
	role, err := s.client.permission(ctx, c.repo, c.login)
	if statusOf(err) == http.StatusNotFound {
		role, err = "none", nil // no collaborator
	}
	if err != nil {
		return s.cannot(ctx, c, "see what you may do on "+bot.Escape(c.repo, 140), "Metadata: read", err)
	}
	if rank[role] < rank[s.minimum] {
		named, err := s.named(ctx, c.login)
		if err != nil {
			return err
		}
		if !named {
			return s.refuse(ctx, c, fmt.Sprintf("nothing ran: commands on %s need `%s` permission or more, and you have `%s`. Somebody who administers the repository can give it to you, or somebody who has it can type the command.",
				bot.Escape(c.repo, 140), s.minimum, role))
		}
		role = "" // the config's roles are what counts
	}
	actor, err := s.actor(ctx, c.account, role)
	if actions.CodeOf(err) == actions.CodeForbidden {
		return s.refuse(ctx, c, "nothing ran. "+prose(actions.Message(err), 1000))
	}
	if err != nil {
		return err
	}
	return s.execute(ctx, c, p.fork(c.repo), actor, lines)
}

// cannot tells of a call that GitHub refused; one that may work later is an
// error to try again.
func (s *Surface) cannot(ctx context.Context, c conversation, what, grant string, err error) error {
	if !final(err) && !errors.Is(err, errNotInstalled) {
		return err
	}
	s.log.ErrorContext(ctx, "GitHub does not let Berth do what commands need", "repo", c.repo, "number", c.number, "needs", grant, "error", err)
	return s.refuse(ctx, c, fmt.Sprintf("nothing ran: GitHub does not let Berth %s. Whoever runs Berth has to grant its token or GitHub App \"%s\" on this repository; `berth doctor` says more.", what, grant))
}

func (s *Surface) refuse(ctx context.Context, c conversation, text string) error {
	return s.reply(ctx, c, text, reactionRefused)
}

// reply has the answer to a comment posted, once, whatever happens.
func (s *Surface) reply(ctx context.Context, c conversation, text, reaction string) error {
	if mentionable(c.login) {
		text = "@" + c.login + ": " + text
	}
	return s.queuePost(ctx, "c"+strconv.FormatInt(c.comment, 10), post{
		Repo: c.repo, Number: c.number, Text: text, Comment: c.comment, Reaction: reaction, At: s.now().UTC(),
	})
}

// execute does each line and answers those that deserve an answer: what becomes
// of this pull request's own environment is shown here anyway.
func (s *Surface) execute(ctx context.Context, c conversation, fork bool, actor bot.Actor, lines []string) error {
	var answers []string
	reaction := ""
	tooMany := len(lines) > bot.MaxCommands
	lines = lines[:min(len(lines), bot.MaxCommands)]
	meant, meantNumber := c.repo, c.number
	if c.as != "" {
		meant, meantNumber = c.as, c.asNumber
	}
	for i, line := range lines {
		reply, err := s.service.Execute(ctx, bot.Input{
			Line:  line,
			Actor: actor,
			Place: approvals.Place{Surface: "github", ID: placeID(c.repo, c.number), Message: strconv.FormatInt(c.comment, 10)},
			Repo:  meant, PullRequest: meantNumber, Fork: fork, At: c.at,
			Key: fmt.Sprintf("github:comment:%d:%d", c.comment, i),
		})
		if err != nil {
			return err
		}
		switch {
		case reply.Tone == bot.ToneAccepted && reply.Request != nil:
			if err := s.expect(ctx, reply.Request.Order.Env, reply.Request.ID); err != nil {
				return err
			}
			if reply.Request.Order.Env.PullRequest() == c.number {
				continue
			}
		case reply.Tone == bot.ToneRefused:
			reaction = reactionRefused
		case s.answeredByCard(c, line, reply):
			if reaction == "" {
				reaction = reactionDone
			}
			continue
		case reaction == "":
			reaction = reactionDone
		}
		text := quiet(reply.Text)
		if len(lines) > 1 {
			text = bot.Code("/"+withoutValues(line), 200) + ":\n\n" + text
		}
		answers = append(answers, text)
	}
	if tooMany {
		reaction = reactionRefused
		answers = append(answers, fmt.Sprintf("Only the first %d commands of a comment are carried out; put the others into a comment of their own.", bot.MaxCommands))
	}
	if len(answers) == 0 && reaction == "" {
		return nil
	}
	if len(answers) == 0 {
		return s.queuePost(ctx, "c"+strconv.FormatInt(c.comment, 10), post{Repo: c.repo, Number: c.number, Comment: c.comment, Reaction: reaction, At: s.now().UTC()})
	}
	return s.reply(ctx, c, strings.Join(answers, "\n\n---\n\n"), reaction)
}

// answeredByCard tells whether a line is a decision whose effect the request's
// card shows here: then a reaction says that it was taken.
func (s *Surface) answeredByCard(c conversation, line string, reply bot.Reply) bool {
	if reply.Request == nil || reply.Tone == bot.ToneRefused {
		return false
	}
	if verb := verbOf(line); verb != bot.VerbApprove && verb != bot.VerbDeny {
		return false
	}
	if reply.Request.Order.Env.PullRequest() == c.number {
		return true
	}
	return reply.Request.Order.Env.PullRequest() == 0 && reply.Request.Place.Surface == "github" && reply.Request.Place.ID == placeID(c.repo, c.number)
}

// withoutValues is a line as an answer may repeat it: the comment can be edited
// by whoever gave a secret away in it, and the answer cannot.
func withoutValues(line string) string {
	if before, _, found := strings.Cut(line, "--set"); found {
		return before + "--set " + bot.Hidden
	}
	return line
}

// placeID names a pull request: "acme/shop#42".
func placeID(repo string, number int) string { return repo + "#" + strconv.Itoa(number) }

// parsePlace reads what placeID wrote.
func parsePlace(id string) (repo string, number int, ok bool) {
	repo, digits, _ := strings.Cut(id, "#")
	number, err := strconv.Atoi(digits)
	return repo, number, err == nil && number > 0 && validRepo(repo)
}

// expect has the end of a request told where it was made.
func (s *Surface) expect(ctx context.Context, env actions.Name, requestID string) error {
	_, err := s.rdb.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.SAdd(ctx, keyOpen(env), requestID)
		pipe.SAdd(ctx, keyAwaiting, env.String())
		s.due.Mark(ctx, pipe, env.String(), s.now())
		return nil
	})
	s.due.Nudge()
	return err
}
