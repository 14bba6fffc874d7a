package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	slackapi "github.com/slack-go/slack"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// refused is Slack's no, by its word for it.
type refused struct {
	method string
	word   string // "channel_not_found"
	needed string // scopes, for missing_scope
	detail string // what is wrong with blocks, for the log
}

func (r *refused) Error() string {
	text := r.method + ": " + r.word
	if r.needed != "" {
		text += " (" + r.needed + ")"
	}
	if r.detail != "" {
		text += ": " + r.detail
	}
	return text
}

// verdict is what one of Slack's words means to Berth.
type verdict struct {
	code actions.Code
	msg  string
}

const (
	inviteText = "Berth is not in that channel. Type `/invite @Berth` there."
	tokenText  = "Slack does not take Berth's token any more. Whoever runs Berth has to install the app again and put the new bot token into its config." //nolint:gosec // it speaks of a token and is none
	policyText = "The settings of that Slack workspace or channel do not let Berth write there. An admin of the workspace can change them."
)

// verdicts are Slack's words that need not a second look. All others may pass.
// Sources: the lists of errors of the methods at https://docs.slack.dev/reference/methods
var verdicts = map[string]verdict{
	"not_in_channel":      {actions.CodeForbidden, inviteText},
	"user_not_in_channel": {actions.CodeForbidden, "Who is to be told is not in that channel."},
	"channel_not_found":   {actions.CodeForbidden, "Berth cannot see that channel: it is gone, or private and Berth is not in it. Type `/invite @Berth` there."},
	"is_archived":         {actions.CodeForbidden, "That channel is archived. Somebody can unarchive it in Slack, or name another in Berth's config."},

	"message_not_found":     {actions.CodeNotFound, "The message is gone from Slack."},
	"thread_not_found":      {actions.CodeNotFound, "The thread is gone from Slack."},
	"cannot_find_message":   {actions.CodeNotFound, "The message is gone from Slack."},
	"user_not_found":        {actions.CodeNotFound, "Slack knows no such account in this workspace."},
	"users_not_found":       {actions.CodeNotFound, "Slack knows no such account in this workspace."},
	"user_disabled":         {actions.CodeNotFound, "That account is deactivated in Slack."},
	"user_not_visible":      {actions.CodeNotFound, "Berth cannot see that account in Slack."},
	"team_not_found":        {actions.CodeNotFound, "Slack knows no such workspace, or Berth is not installed in it."},
	"no_such_subteam":       {actions.CodeNotFound, "Slack has no such user group."},
	"subteam_not_found":     {actions.CodeNotFound, "Slack has no such user group."},
	"not_found":             {actions.CodeNotFound, "The window is closed."},
	"view_not_found":        {actions.CodeNotFound, "The window is closed."},
	"used_url":              {actions.CodeNotFound, "Slack takes no further answer to this."},
	"expired_url":           {actions.CodeNotFound, "Slack takes no answer to this any more."},
	"expired_trigger_id":    {actions.CodeNotFound, "Slack opens no window for this any more."},
	"trigger_expired":       {actions.CodeNotFound, "Slack opens no window for this any more."},
	"exchanged_trigger_id":  {actions.CodeNotFound, "Slack has opened the window for this already."},
	"trigger_exchanged":     {actions.CodeNotFound, "Slack has opened the window for this already."},
	"invalid_trigger_id":    {actions.CodeInvalid, "Slack opens no window for this."},
	"push_limit_reached":    {actions.CodeInvalid, "Slack shows no more windows on top of each other."},
	"hash_conflict":         {actions.CodeConflict, "The window shows something else by now."},
	"cant_update_message":   {actions.CodeForbidden, "The message is another app's, so that Berth may not change it."},
	"edit_window_closed":    {actions.CodeForbidden, "The settings of that Slack workspace do not let messages be changed any more after some time."},
	"cannot_dm_bot":         {actions.CodeInvalid, "That account is a bot's, which takes no direct messages."},
	"messages_tab_disabled": {actions.CodeForbidden, "Berth cannot send direct messages: its Messages tab is off. Turn it on under App Home in the app's settings, or apply the manifest that `berth slack manifest` prints."},
	"not_enabled":           {actions.CodeForbidden, "Berth has no Home tab in this workspace. Turn it on under App Home in the app's settings, or apply the manifest that `berth slack manifest` prints."},

	"invalid_auth":            {actions.CodeForbidden, tokenText},
	"not_authed":              {actions.CodeForbidden, tokenText},
	"account_inactive":        {actions.CodeForbidden, tokenText},
	"token_revoked":           {actions.CodeForbidden, tokenText},
	"token_expired":           {actions.CodeForbidden, tokenText},
	"not_allowed_token_type":  {actions.CodeForbidden, "The token in Berth's config is of the wrong kind: `slack.bot_token` begins with xoxb-, `slack.app_token` with xapp-."},
	"team_access_not_granted": {actions.CodeForbidden, tokenText},
	"app_not_installed":       {actions.CodeForbidden, tokenText},
	"no_permission":           {actions.CodeForbidden, policyText},
	"access_denied":           {actions.CodeForbidden, policyText},
	"ekm_access_denied":       {actions.CodeForbidden, policyText},
	"org_login_required":      {actions.CodeForbidden, policyText},
	"enterprise_is_restricted": {actions.CodeForbidden,
		policyText},

	"msg_too_long":             {actions.CodeInvalid, "The message is longer than Slack takes."},
	"msg_blocks_too_long":      {actions.CodeInvalid, "The message is longer than Slack takes."},
	"view_too_large":           {actions.CodeInvalid, "The window holds more than Slack takes."},
	"no_text":                  {actions.CodeInvalid, "There is nothing in the message."},
	"invalid_blocks":           {actions.CodeInvalid, "Slack does not take the message as it is made; that is a fault of Berth's."},
	"invalid_blocks_format":    {actions.CodeInvalid, "Slack does not take the message as it is made; that is a fault of Berth's."},
	"invalid_arguments":        {actions.CodeInvalid, "Slack does not take what Berth sent; that is a fault of Berth's."},
	"invalid_arg_name":         {actions.CodeInvalid, "Slack does not take what Berth sent; that is a fault of Berth's."},
	"invalid_metadata_format":  {actions.CodeInvalid, "Slack does not take the message as it is made; that is a fault of Berth's."},
	"invalid_metadata_schema":  {actions.CodeInvalid, "Slack does not take the message as it is made; that is a fault of Berth's."},
	"metadata_too_large":       {actions.CodeInvalid, "Slack does not take the message as it is made; that is a fault of Berth's."},
	"too_many_attachments":     {actions.CodeInvalid, "Slack does not take the message as it is made; that is a fault of Berth's."},
	"cannot_unfurl_url":        {actions.CodeInvalid, "Slack shows nothing for that address. Its domain has to stand under App Unfurl Domains in the app's settings."},
	"cannot_unfurl_message":    {actions.CodeInvalid, "Slack shows nothing for addresses in that message."},
	"missing_unfurls":          {actions.CodeInvalid, "There is nothing to show for that address."},
	"invalid_thread_ts":        {actions.CodeInvalid, "That is no thread of Slack's."},
	"cannot_reply_to_message":  {actions.CodeInvalid, "Slack takes no replies to that message."},
	"unknown_method":           {actions.CodeInvalid, "Slack does not know what Berth asks for. Look whether `slack.api_url` is right."},
	"method_deprecated":        {actions.CodeInvalid, "Slack does not do any more what Berth asks for; Berth needs an update."},
	"deprecated_endpoint":      {actions.CodeInvalid, "Slack does not do any more what Berth asks for; Berth needs an update."},
	"users_list_not_supplied":  {actions.CodeInvalid, "Slack needs an account to send a direct message to."},
	"invalid_user_combination": {actions.CodeInvalid, "Slack opens no conversation with that account."},
	"restricted_action":        {actions.CodeForbidden, policyText},
	"slack_connect_blocked":    {actions.CodeForbidden, policyText},
	"external_channel_migrating": {actions.CodeUnavailable,
		"Slack is moving that channel; it is tried again."},
}

// gone are the words that make a message one that cannot be reached any more by
// an edit: nothing that anybody does brings it back into reach soon enough to
// matter, and a new one is not wanted where the old one cannot be seen.
var gone = map[string]bool{
	"channel_not_found": true, "is_archived": true, "not_in_channel": true, "cant_update_message": true, "edit_window_closed": true,
}

// wordPattern is what Slack's words look like; what does not is not repeated.
var wordPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,79}$`)

// refusal is the error for an answer that says no.
func refusal(method string, said slackapi.SlackResponse, h http.Header) error {
	op := "slack." + method
	word := said.Error
	if !wordPattern.MatchString(word) {
		word = "an error without a name"
	}
	why := &refused{method: method, word: word, detail: clip(oneLine(strings.Join(said.ResponseMetadata.Messages, "; ")), 300)}
	switch word {
	case "ratelimited", "rate_limited", "message_limit_exceeded":
		return &bot.Limited{After: retryAfter(h)}
	case "missing_scope":
		why.needed = clip(oneLine(said.Needed), 200)
		return actions.Wrap(op, actions.CodeForbidden, why, missingScope(why.needed))
	}
	v, ok := verdicts[word]
	if !ok && strings.HasPrefix(word, "restricted_action") {
		v, ok = verdicts["restricted_action"], true
	}
	if !ok {
		return passing(method, why)
	}
	return &actions.Error{Op: op, Code: v.code, Msg: v.msg, Err: why, Retry: v.code == actions.CodeUnavailable}
}

// missingScope says what the app lacks.
func missingScope(needed string) string {
	if needed == "" {
		needed = "that Slack does not name"
	} else {
		needed = bot.Code(needed, 200)
	}
	return fmt.Sprintf("Berth's Slack app lacks the scope %s. Add it under OAuth & Permissions in the app's settings, or apply the manifest that `berth slack manifest` prints, and install the app again.", needed)
}

// passing is the error for what may pass.
func passing(method string, err error) error {
	msg := "Slack did not answer as it should; it is tried again."
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		msg = "Slack did not answer in time; it is tried again."
	}
	return &actions.Error{Op: "slack." + method, Code: actions.CodeUnavailable, Msg: msg, Err: err, Retry: true}
}

// wordOf is Slack's word in an error, "" when there is none.
func wordOf(err error) string {
	if r, ok := errors.AsType[*refused](err); ok {
		return r.word
	}
	return ""
}
