package slack

import (
	"fmt"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/bot"
)

// lookingModal is the window that is opened at once, while what it is to show is
// looked for.
func lookingModal() slackapi.ModalViewRequest {
	return slackapi.ModalViewRequest{
		Type: slackapi.VTModal, Title: plainObject("Berth", maxModalTitle), Close: plainObject("Close", maxModalButton),
		Blocks: slackapi.Blocks{BlockSet: []slackapi.Block{section("⏳ Looking…")}},
	}
}

// messageModal is a message in a window of its own, which holds much more of it
// than a channel does.
func messageModal(m bot.ChatMessage) slackapi.ModalViewRequest {
	title := oneLine(m.Title)
	if title == "" {
		title = "Berth"
	}
	if width(title) <= maxModalTitle {
		m.Title, m.Icon = "", "" // it is the window's
	}
	return slackapi.ModalViewRequest{
		Type: slackapi.VTModal, Title: plainObject(title, maxModalTitle), Close: plainObject("Close", maxModalButton),
		Blocks: slackapi.Blocks{BlockSet: renderView(m).blocks},
	}
}

// renderView renders a message for a window. Its JSON is measured as it travels,
// in bytes.
func renderView(m bot.ChatMessage) rendered {
	in := modalRoom
	for {
		out := render(m, "", in)
		if size := viewSize(out.blocks); size <= modalRoom.chars || in.chars < 10_000 {
			return out
		}
		in.chars = in.chars * 3 / 4
	}
}

// viewSize is how many bytes of JSON blocks are.
func viewSize(blocks []slackapi.Block) int {
	text, err := marshal(blocks)
	if err != nil {
		return 0
	}
	return len(text)
}

// How the page is shared out.
const (
	maxHomeText = 2000
	// homeWaiting is how many of the page's blocks what waits may take at most, so
	// that one's environments are on it too.
	homeWaiting = 50
	homeSpare   = 8 // blocks: headings, text and notices
)

// homeRoom is what one message may take on the page.
var homeRoom = room{blocks: 10, chars: 3000, parts: 3}

// homeView is somebody's own page.
func homeView(p bot.ChatPage) slackapi.HomeTabViewRequest {
	var blocks []slackapi.Block
	if text := lines(p.Text); len(text) > 0 {
		m := marksIn(text)
		text, _ = fit(text, maxHomeText, m)
		blocks = append(blocks, section(mrkdwn(text, m)))
	}
	blocks = append(blocks, slackapi.NewHeaderBlock(plainObject("Waiting for me", maxHeader)))
	blocks = append(blocks, homeList(p.Waiting, homeWaiting, "Nothing waits for you.")...)
	blocks = append(blocks, slackapi.NewHeaderBlock(plainObject("My environments", maxHeader)))
	blocks = append(blocks, homeList(p.Mine, maxViewBlocks-len(blocks)-homeSpare, "You have no environments. Type `/berth deploy` in a channel to make one.")...)
	return slackapi.HomeTabViewRequest{Type: slackapi.VTHomeTab, Blocks: slackapi.Blocks{BlockSet: blocks}}
}

// homeList are messages below each other, in at most so many blocks. none is
// said where there are none.
func homeList(list []bot.ChatMessage, most int, none string) []slackapi.Block {
	if len(list) == 0 {
		return []slackapi.Block{section(none)}
	}
	var blocks []slackapi.Block
	for i, m := range list {
		made := homeItem(m, i)
		if len(blocks)+len(made)+1 > most {
			blocks = append(blocks, slackapi.NewContextBlock("", mrkdwnText(fmt.Sprintf("✂️ %d more: `/berth list` names them all.", len(list)-i))))
			break
		}
		if i > 0 {
			blocks = append(blocks, slackapi.NewDividerBlock())
		}
		blocks = append(blocks, made...)
	}
	return blocks
}

// homeItem is one message of the page. Its title is no header: those are the
// page's.
func homeItem(m bot.ChatMessage, n int) []slackapi.Block {
	title := oneLine(m.Icon + " " + m.Title)
	m.Title, m.Icon = "", ""
	if title != "" {
		m.Text = "**" + bot.Escape(title, maxHeading) + "**\n" + m.Text
	}
	out := render(m, "", homeRoom)
	for _, b := range out.blocks {
		actions, ok := b.(*slackapi.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range actions.Elements.ElementSet {
			if b, ok := e.(*slackapi.ButtonBlockElement); ok {
				b.ActionID += fmt.Sprintf(":%d", n) // there are others of that number on the page
			}
		}
	}
	return out.blocks
}
