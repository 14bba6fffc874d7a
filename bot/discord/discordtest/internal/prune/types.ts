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
  message: d.APIMessage;
  guild: d.APIGuild;
  channel: d.APIChannel;
  member: d.APIGuildMember;
  role: d.APIRole;
  user: d.APIUser;
  application: d.APIApplication;
  command: d.APIApplicationCommand;
  gatewayBot: d.RESTGetAPIGatewayBotResult;
  gatewaySend: d.GatewaySendPayload;
  gatewayReady: d.GatewayReadyDispatch;
  gatewayMessageCreate: d.GatewayMessageCreateDispatch;
  gatewayGuildCreate: d.GatewayGuildCreateDispatch;
}
