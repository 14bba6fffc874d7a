package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-dev/berth/bot/discord/discordtest"
)

// TestAMentionWhileTheGatewayChangesHandsIsDoneOnce kills the replica that holds
// Discord's gateway, and mentions Berth before the other one can connect. What was
// said is done and answered, once.
func TestAMentionWhileTheGatewayChangesHandsIsDoneOnce(t *testing.T) {
	w := &storm{talk: newTalk(t), dir: t.TempDir()}
	w.rules, _, _ = strings.Cut(w.rules, "policies:")
	w.rules = strings.Replace(w.rules, "discord: {", "discord: {gateway: true, ", 1)
	w.rules += fmt.Sprintf("plugins: {script: {settings: {data_dir: %q}}}\n", filepath.Join(w.dir, "state"))
	must(t, os.Mkdir(filepath.Join(w.dir, "scripts"), 0o700))
	must(t, os.WriteFile(filepath.Join(w.dir, "scripts", "up"), fmt.Appendf(nil, "#!/bin/sh\necho \"$NAME\" >> %s/runs\n", w.dir), 0o700))
	w.first = w.startBerth(w.scriptApp())
	w.await("a connection to Discord's gateway", func() bool { return w.discord.Sessions() == 1 })
	w.second = w.prepareBerth(w.scriptApp())
	w.second.start()
	w.second.awaitReady()
	rdb := w.redis.Client(t)
	w.await("it to be kept that Discord is heard", func() bool {
		return rdb.HExists(t.Context(), "berth:{discord}:heard:"+w.discord.ApplicationID(), "0/1").Val()
	})
	w.mentionByBen("help")
	w.await("the answer to what was said before", func() bool { return w.toldBen("What Berth does") == 1 })

	w.discord.Fail("GET /gateway/bot", 1_000_000, discordtest.Failure{Status: http.StatusServiceUnavailable})
	w.first.kill()
	w.await("nobody to be connected", func() bool { return w.discord.Sessions() == 0 })
	asked := w.mentionByBen("deploy " + w.env())
	w.mentionByBen("help list")
	w.mentionByBen("help help")
	w.discord.Heal()

	w.await("the other replica to listen", func() bool { return w.discord.Sessions() == 1 })
	w.ended(w.second, 1)
	w.await("the answers", func() bool { return w.toldBen("⚓ berth list") == 1 && w.toldBen("⚓ berth help") == 1 })
	w.mentionByBen("help deploy") // and once this is answered, so is all that came before
	w.await("the answer to what was said after", func() bool { return w.toldBen("⚓ berth deploy") == 1 })
	w.ranOnce(w.name())
	if direct := w.discord.DirectMessages(w.ben); len(direct) != 4 {
		t.Errorf("ben has %d direct messages: %+v", len(direct), direct)
	}
	var cards []discordtest.Message
	for _, m := range w.discord.Messages(w.channel) {
		if m.Bot && m.ReplyTo == asked {
			cards = append(cards, m)
		}
	}
	if len(cards) != 1 || !strings.Contains(words(cards[0]), w.env()) {
		t.Errorf("the cards are %+v", cards)
	}
	w.await("a sign on each mention that it was read", func() bool {
		return !slices.ContainsFunc(w.discord.Messages(w.channel), func(m discordtest.Message) bool {
			return !m.Bot && !slices.Contains(m.Reactions, "👀")
		})
	})
}

// mentionByBen has ben mention Berth in Discord's channel.
func (w *talk) mentionByBen(line string) string {
	w.t.Helper()
	id, err := w.discord.Mention(w.ben, w.channel, line)
	must(w.t, err)
	return id
}

// toldBen counts the direct messages that say this to ben.
func (w *talk) toldBen(text string) (n int) {
	for _, m := range w.discord.DirectMessages(w.ben) {
		if strings.Contains(words(m), text) {
			n++
		}
	}
	return n
}
