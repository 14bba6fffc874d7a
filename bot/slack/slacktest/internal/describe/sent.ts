// What Slack sends, named for slacktest, by the types of Slack's own SDKs (MIT).
// Where those are looser than what they describe, or say what Slack does not do,
// the line says so.
import type * as api from '@slack/web-api';
import type * as bolt from '@slack/bolt';
import type * as events from '@slack/types';

// A message as conversations.history has it. Bolt leaves a payload's open
// ([key: string]: any), and the events' types repeat the envelope's fields in it.
type Message = NonNullable<api.ConversationsHistoryResponse['messages']>[number] & { type: 'message'; ts: string };

// Bolt asks for a response_url in every click; there is none in a view's.
type BlockAction = Omit<bolt.BlockAction, 'message' | 'view'> & { message?: Message; channel: object };
type ViewAction = Omit<bolt.BlockAction, 'message' | 'channel' | 'response_url' | 'view'> & { view: bolt.ViewOutput };

// An event's view is described as what apps send, without its id and state.
type HomeOpened = Omit<events.AppHomeOpenedEvent, 'view'> & { view?: bolt.ViewOutput };
type Changed = Omit<events.MessageChangedEvent, 'message' | 'previous_message'> & { message: Message; previous_message: Message };
type Event = HomeOpened | Changed | events.AppMentionEvent | events.AppUninstalledEvent | events.GenericMessageEvent | events.LinkSharedEvent | events.TokensRevokedEvent;

// Of Socket Mode the SDK has no types: these are the fields that @slack/socket-mode
// 3.1.0 reads (SocketModeClient.js), and those of a hello in Slack's documentation:
// https://docs.slack.dev/apis/events-api/using-socket-mode
type Envelope =
  | { type: 'hello'; num_connections: number; connection_info: { app_id: string }; debug_info: { host: string; started?: string; build_number: number; approximate_connection_time: number } }
  | { type: 'disconnect'; reason: 'warning' | 'refresh_requested' | 'link_disabled' | 'too_many_websockets'; debug_info: { host: string } }
  | { type: 'events_api'; envelope_id: string; payload: object; accepts_response_payload: boolean; retry_attempt: number; retry_reason: string }
  | { type: 'slash_commands' | 'interactive'; envelope_id: string; payload: object; accepts_response_payload: boolean };

export interface Sent {
  command: bolt.SlashCommand;
  block_actions: BlockAction | ViewAction;
  block_suggestion: bolt.BlockSuggestion;
  view_submission: bolt.ViewSubmitAction;
  view_closed: bolt.ViewClosedAction;
  shortcut: bolt.GlobalShortcut;
  message_action: Omit<bolt.MessageShortcut, 'message'> & { message: Message };
  event_callback: bolt.EnvelopedEvent<Event> & { event_context?: string };
  url_verification: { type: 'url_verification'; token: string; challenge: string };
  socket: Envelope;
  // No message with attachments was among the samples of this, and of the next no
  // direct message; the documentation has one, and says with whom it is:
  // https://docs.slack.dev/reference/methods/conversations.info
  'chat.update': api.ChatUpdateResponse & { message?: { attachments?: Message['attachments'] } };
  'conversations.info': api.ConversationsInfoResponse & { channel?: { user?: string } };
}
