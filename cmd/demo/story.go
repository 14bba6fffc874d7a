package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/berth-dev/berth/bot/github/githubtest"
)

// deploy comments /deploy and shows what happens until the pull request says
// how it ended.
func (d *demo) deploy(ctx context.Context) error {
	d.out.title("Somebody wants to see the pull request run.")
	d.out.typed(person, "/deploy")
	comment, err := d.github.Comment(repo, d.pull, person, "/deploy")
	if err != nil {
		return err
	}
	if err := d.watchReactions(ctx, comment, "eyes"); err != nil {
		return err
	}
	d.out.step("the bot reacts with eyes: it has been heard")
	if err := d.await(ctx, "the environment to be known", func() (bool, error) {
		_, err := output(ctx, d.clientEnv(), d.berthProgram(), "status", d.env(), "-o", "json")
		return err == nil, ctx.Err()
	}); err != nil {
		return err
	}
	logs, err := start("berth logs", d.clientEnv(), d.out.quiet, d.berthProgram(), "logs", d.env(), "--follow")
	if err != nil {
		return err
	}
	defer logs.stop()
	if err := d.watchReactions(ctx, comment, "rocket", "-1"); err != nil {
		return err
	}
	if err := d.watchText(ctx, "is running", "could not be"); err != nil {
		return err
	}
	logs.stop()
	d.out.title("The pull request now reads:")
	d.showThread()
	return d.expectState(ctx, "Running")
}

// status asks on the pull request.
func (d *demo) status(ctx context.Context) error {
	d.out.title("Anybody can ask how it is.")
	d.out.typed(person, "/status")
	before := len(d.github.Thread(repo, d.pull).Comments)
	if _, err := d.github.Comment(repo, d.pull, person, "/status"); err != nil {
		return err
	}
	var answer githubtest.Comment
	err := d.await(ctx, "an answer to /status", func() (bool, error) {
		comments := d.github.Thread(repo, d.pull).Comments
		if len(comments) < before+2 {
			return false, nil
		}
		answer = comments[len(comments)-1]
		return true, nil
	})
	if err != nil {
		return err
	}
	d.out.step("the bot answers:")
	d.showComment(answer)
	return nil
}

func (d *demo) showComment(c githubtest.Comment) {
	var text bytes.Buffer
	_ = githubtest.RenderThread(&text, githubtest.Thread{Comments: []githubtest.Comment{c}}, d.out.width-10, d.out.color)
	// The comment alone is wanted, not the head of a thread that it is not.
	_, box, _ := strings.Cut(text.String(), "╭")
	d.out.block("╭" + box)
}

// approve asks for more pods, which a policy lets nobody have by themselves.
func (d *demo) approve(ctx context.Context) error {
	d.out.title("More pods take the yes of somebody else: a policy says so.")
	d.out.typed(person, "/deploy --set replicaCount=3")
	asked, err := d.github.Comment(repo, d.pull, person, "/deploy --set replicaCount=3")
	if err != nil {
		return err
	}
	var card githubtest.Comment
	if err := d.await(ctx, "the bot to ask for an approval", func() (bool, error) {
		comments := d.github.Thread(repo, d.pull).Comments
		card = comments[len(comments)-1]
		return strings.Contains(card.Body, "/approve"), nil
	}); err != nil {
		return err
	}
	d.out.step("the bot asks, in a comment of its own:")
	d.showComment(card)
	d.out.typed(approver, "/approve")
	if _, err := d.github.Comment(repo, d.pull, approver, "/approve"); err != nil {
		return err
	}
	if err := d.watchReactions(ctx, asked, "rocket", "-1"); err != nil {
		return err
	}
	return d.expectPods(ctx, 3)
}

// closePullRequest closes it and waits until nothing is left.
func (d *demo) closePullRequest(ctx context.Context) error {
	d.out.title("The pull request is closed, so its environment goes.")
	d.out.step("%s closes the pull request", d.out.paint("1", person))
	if err := d.github.ClosePullRequest(repo, d.pull, person); err != nil {
		return err
	}
	if err := d.watchText(ctx, "is cleaned up"); err != nil {
		return err
	}
	d.showThread()
	return d.showGone(ctx)
}

// watchReactions waits until the bot put one of these on the comment.
func (d *demo) watchReactions(ctx context.Context, comment int64, contents ...string) error {
	return d.await(ctx, "a reaction "+strings.Join(contents, " or "), func() (bool, error) {
		for _, c := range d.github.Thread(repo, d.pull).Comments {
			for _, reaction := range c.Reactions {
				if c.ID == comment && slices.Contains(contents, reaction.Content) {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

// watchText waits until one of the bot's comments says one of these words.
func (d *demo) watchText(ctx context.Context, words ...string) error {
	return d.await(ctx, "a comment that says "+strings.Join(words, " or "), func() (bool, error) {
		for _, c := range d.github.Thread(repo, d.pull).Comments {
			for _, word := range words {
				if c.Author.Login != person && strings.Contains(c.Body, word) {
					return true, nil
				}
			}
		}
		return false, nil
	})
}

func (d *demo) showThread() {
	var text bytes.Buffer
	_ = githubtest.RenderThread(&text, d.github.Thread(repo, d.pull), d.out.width, d.out.color)
	d.out.plain(text.String())
}

// expectState makes the demo fail when the deploy did.
func (d *demo) expectState(ctx context.Context, want string) error {
	text, err := output(ctx, d.clientEnv(), d.berthProgram(), "status", d.env(), "-o", "json")
	if err != nil {
		return fmt.Errorf("berth status: %w\n%s", err, text)
	}
	if !strings.Contains(text, fmt.Sprintf("%q", want)) {
		return fmt.Errorf("the environment is not %s:\n%s", want, text)
	}
	return nil
}
