package slack

import "unicode/utf16"

// What Slack takes at most. Lengths are in characters, which Berth counts as
// UTF-16 code units after escaping: no way of counting finds more.
const (
	// Source: https://docs.slack.dev/reference/block-kit/blocks
	maxBlocks     = 50  // of a message
	maxViewBlocks = 100 // of a modal or a Home tab

	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxSectionText = 3000
	maxFields      = 10
	maxFieldText   = 2000

	// Source: https://docs.slack.dev/reference/block-kit/blocks/header-block
	maxHeader = 150

	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
	maxTextObject = 3000

	// Source: https://docs.slack.dev/reference/block-kit/blocks/actions-block
	maxActions = 25

	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxButtonText  = 75
	maxButtonValue = 2000

	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
	maxConfirmTitle  = 100
	maxConfirmText   = 300
	maxConfirmButton = 30

	// Source: https://docs.slack.dev/reference/views/modal-views
	maxModalTitle      = 24
	maxModalButton     = 24
	maxPrivateMetadata = 3000
	// maxModalLabel is how long the label of a field in a modal may be.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/input-block
	maxModalLabel = 2000
	// maxView is how large a view may be, in bytes of its JSON.
	// Source: view_too_large of https://docs.slack.dev/reference/methods/views.open
	maxView = 250_000

	// wiseText is how long Slack advises the text of a message to be; it takes no
	// longer one in an edit.
	// Sources: https://docs.slack.dev/reference/methods/chat.postMessage#truncating and
	// msg_too_long of https://docs.slack.dev/reference/methods/chat.update
	wiseText = 4000

	// maxMessage is how much the blocks of a message may hold together, as JSON: what
	// is longer is refused with msg_blocks_too_long, which no page documents. Slack
	// says 12,000 characters of text and some for the blocks around it.
	// Source: https://github.com/slackapi/bolt-js/issues/2509
	maxMessage = 12_000

	// responseUses is how often a response_url takes an answer.
	// Source: https://docs.slack.dev/interactivity/handling-user-interaction
	responseUses = 5
)

// width is how many characters s has, in UTF-16 code units.
func width(s string) int {
	n := 0
	for _, r := range s {
		n += max(utf16.RuneLen(r), 1)
	}
	return n
}

// clip shortens s to at most characters, and ends it with "…" then.
func clip(s string, most int) string {
	if len(s) <= most || width(s) <= most {
		return s
	}
	n := 0
	for i, r := range s {
		if n += max(utf16.RuneLen(r), 1); n > most-1 {
			return s[:i] + "…"
		}
	}
	return s
}
