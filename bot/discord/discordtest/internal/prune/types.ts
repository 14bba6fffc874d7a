// Names, for discordtest, the types of discord-api-types (MIT) that its checks
// are made from. See main.go beside it.
import type * as d from 'discord-api-types/v10';
export interface Types {
  createMessage: d.RESTPostAPIChannelMessageJSONBody;
  editMessage: d.RESTPatchAPIChannelMessageJSONBody;
  startThread: d.RESTPostAPIChannelMessagesThreadsJSONBody;
  createThread: d.RESTPostAPIChannelThreadsJSONBody;
  createDM: d.RESTPostAPICurrentUserCreateDMChannelJSONBody;
  executeWebhook: d.RESTPostAPIWebhookWithTokenJSONBody;
  editWebhookMessage: d.RESTPatchAPIWebhookWithTokenMessageJSONBody;
  createCommand: d.RESTPostAPIApplicationCommandsJSONBody;
  editCommand: d.RESTPatchAPIApplicationCommandJSONBody;
  bulkCommands: d.RESTPutAPIApplicationCommandsJSONBody;
  createGuildCommand: d.RESTPostAPIApplicationGuildCommandsJSONBody;
  editGuildCommand: d.RESTPatchAPIApplicationGuildCommandJSONBody;
  bulkGuildCommands: d.RESTPutAPIApplicationGuildCommandsJSONBody;
  editApplication: d.RESTPatchCurrentApplicationJSONBody;
  pong: d.APIInteractionResponsePong;
  channelMessage: d.APIInteractionResponseChannelMessageWithSource;
  deferred: d.APIInteractionResponseDeferredChannelMessageWithSource;
  deferredUpdate: d.APIInteractionResponseDeferredMessageUpdate;
  updateMessage: d.APIInteractionResponseUpdateMessage;
  autocomplete: d.APIApplicationCommandAutocompleteResponse;
  modal: d.APIModalInteractionResponse;
  interaction: d.APIInteraction;
  gatewaySend: d.GatewaySendPayload;
  restError: d.RESTError;
  rateLimit: d.RESTRateLimit;

  // Answers of the REST API, by their route. A guild's commands come back with
  // integration_types like global ones, though their own types leave it out; and
  // its channels are described by what all kinds of them have alone.
  'GET /gateway': d.RESTGetAPIGatewayResult;
  'GET /gateway/bot': d.RESTGetAPIGatewayBotResult;
  'GET /users/@me': d.RESTGetAPICurrentUserResult;
  'GET /users/{user}': d.RESTGetAPIUserResult;
  'GET /users/@me/guilds': d.RESTGetAPICurrentUserGuildsResult;
  'POST /users/@me/channels': d.RESTPostAPICurrentUserCreateDMChannelResult;
  'GET /applications/@me': d.RESTGetCurrentApplicationResult;
  'PATCH /applications/@me': d.RESTPatchCurrentApplicationResult;
  'GET /oauth2/applications/@me': d.RESTGetAPIOAuth2CurrentApplicationResult;
  'GET /applications/{application}/commands': d.RESTGetAPIApplicationCommandsResult;
  'POST /applications/{application}/commands': d.RESTPostAPIApplicationCommandsResult;
  'PUT /applications/{application}/commands': d.RESTPutAPIApplicationCommandsResult;
  'GET /applications/{application}/commands/{command}': d.RESTGetAPIApplicationCommandResult;
  'PATCH /applications/{application}/commands/{command}': d.RESTPatchAPIApplicationCommandResult;
  'GET /applications/{application}/guilds/{guild}/commands': d.RESTGetAPIApplicationCommandsResult;
  'POST /applications/{application}/guilds/{guild}/commands': d.RESTPostAPIApplicationCommandsResult;
  'PUT /applications/{application}/guilds/{guild}/commands': d.RESTPutAPIApplicationCommandsResult;
  'GET /applications/{application}/guilds/{guild}/commands/{command}': d.RESTGetAPIApplicationCommandResult;
  'PATCH /applications/{application}/guilds/{guild}/commands/{command}': d.RESTPatchAPIApplicationCommandResult;
  'POST /interactions/{interaction}/{token}/callback': d.RESTPostAPIInteractionCallbackWithResponseResult;
  'POST /webhooks/{application}/{token}': d.RESTPostAPIWebhookWithTokenWaitResult;
  'GET /webhooks/{application}/{token}/messages/{message}': d.RESTGetAPIWebhookWithTokenMessageResult;
  'PATCH /webhooks/{application}/{token}/messages/{message}': d.RESTPatchAPIWebhookWithTokenMessageResult;
  'GET /channels/{channel}': d.RESTGetAPIChannelResult;
  'GET /channels/{channel}/messages': d.RESTGetAPIChannelMessagesResult;
  'POST /channels/{channel}/messages': d.RESTPostAPIChannelMessageResult;
  'GET /channels/{channel}/messages/{message}': d.RESTGetAPIChannelMessageResult;
  'PATCH /channels/{channel}/messages/{message}': d.RESTPatchAPIChannelMessageResult;
  'POST /channels/{channel}/messages/{message}/threads': d.RESTPostAPIChannelMessagesThreadsResult;
  'POST /channels/{channel}/threads': d.RESTPostAPIChannelThreadsResult;
  'GET /guilds/{guild}': d.RESTGetAPIGuildResult;
  'GET /guilds/{guild}/channels': d.APIChannel[];
  'GET /guilds/{guild}/roles': d.RESTGetAPIGuildRolesResult;
  'GET /guilds/{guild}/members/{user}': d.RESTGetAPIGuildMemberResult;

  // What the gateway dispatches, by its name, and what else it sends.
  READY: d.GatewayReadyDispatchData;
  RESUMED: null;
  GUILD_CREATE: d.GatewayGuildCreateDispatchData;
  CHANNEL_CREATE: d.GatewayChannelCreateDispatchData;
  THREAD_CREATE: d.GatewayThreadCreateDispatchData;
  INTERACTION_CREATE: d.GatewayInteractionCreateDispatchData;
  MESSAGE_CREATE: d.GatewayMessageCreateDispatchData;
  MESSAGE_UPDATE: d.GatewayMessageUpdateDispatchData;
  MESSAGE_DELETE: d.GatewayMessageDeleteDispatchData;
  gatewayOther: d.GatewayHello | d.GatewayHeartbeatAck | d.GatewayReconnect | d.GatewayInvalidSession;
}
