package slack

import (
	"encoding/json"
	"fmt"
	"strconv"

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

// viewSize is how many bytes of JSON blocks are in a view, where slack-go writes
// each & in six.
func viewSize(blocks []slackapi.Block) int {
	text, err := json.Marshal(blocks)
	if err != nil {
		return 0 // which sending it finds as well
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
var homeRoom = room{blocks: 10, chars: 6000, parts: 3}

// homeView is somebody's own page.
func homeView(p bot.ChatPage) slackapi.HomeTabViewRequest {
	for each := homeRoom; ; each.chars /= 2 {
		blocks := homeBlocks(p, each)
		if viewSize(blocks) <= modalRoom.chars || each.chars < 1000 {
			number(blocks)
			return slackapi.HomeTabViewRequest{Type: slackapi.VTHomeTab, Blocks: slackapi.Blocks{BlockSet: blocks}}
		}
	}
}

// homeBlocks are the page, with so much room for each message.
func homeBlocks(p bot.ChatPage, each room) []slackapi.Block {
	var blocks []slackapi.Block
	if text := lines(p.Text); len(text) > 0 {
		m := marksIn(text)
		text, _ = fit(text, maxHomeText)
		blocks = append(blocks, section(mrkdwn(text, m)))
	}
	blocks = append(blocks, slackapi.NewHeaderBlock(plainObject("Waiting for me", maxHeader)))
	blocks = append(blocks, homeList(p.Waiting, each, homeWaiting, "Nothing waits for you.")...)
	blocks = append(blocks, slackapi.NewHeaderBlock(plainObject("My environments", maxHeader)))
	return append(blocks, homeList(p.Mine, each, maxViewBlocks-len(blocks)-homeSpare, "You have no environments.")...)
}

// homeList are messages below each other, in at most so many blocks. none is
// said where there are none.
func homeList(list []bot.ChatMessage, each room, most int, none string) []slackapi.Block {
	if len(list) == 0 {
		return []slackapi.Block{section(none)}
	}
	var blocks []slackapi.Block
	for i, m := range list {
		made := homeItem(m, each)
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
func homeItem(m bot.ChatMessage, each room) []slackapi.Block {
	title := oneLine(m.Icon + " " + m.Title)
	m.Title, m.Icon = "", ""
	if title != "" {
		m.Text = "**" + bot.Escape(title, maxHeading) + "**\n" + m.Text
	}
	return render(m, "", each).blocks
}

// number gives each button an action_id that no other of the view has.
func number(blocks []slackapi.Block) {
	n := 0
	for _, b := range blocks {
		row, ok := b.(*slackapi.ActionBlock)
		if !ok {
			continue
		}
		for _, e := range row.Elements.ElementSet {
			made, ok := e.(*slackapi.ButtonBlockElement)
			if !ok {
				continue
			}
			prefix := commandAction
			if made.URL != "" {
				prefix = linkAction
			}
			made.ActionID = prefix + strconv.Itoa(n)
			n++
		}
	}
}
