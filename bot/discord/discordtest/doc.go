// Package discordtest is a Discord that fits into a test: an HTTP server that
// speaks the part of Discord's API v10 that a bot with commands, buttons and
// modals needs, keeps state instead of scripted answers, and sends interactions
// as Discord does: signed to an endpoint, or over its gateway.
//
// It is strict. Every request and every answer to an interaction is checked
// against the types of discord-api-types and against the limits that Discord
// documents; what does not fit is answered as Discord answers it and is listed by
// [Server.Odd], as is what Discord only tolerates, and what the stand-in itself
// sends, answers, interactions and events alike, where those types have it
// otherwise. [Run] fails the test when there is any.
//
//	dc := discordtest.Run(t, discordtest.Options{})
//	guild, _ := dc.AddGuild(discordtest.Guild{Name: "Acme"})
//	channel, _ := dc.AddChannel(discordtest.Channel{Guild: guild, Name: "deploys"})
//	ana, _ := dc.AddUser(discordtest.User{Name: "Ana", Guilds: []string{guild}})
//	// The bot has api_url dc.APIURL(), application_id dc.ApplicationID(),
//	// bot_token dc.Token() and public_key dc.PublicKey(), and registered commands.
//	dc.SetEndpoint(ctx, bot.URL+"/discord/interactions") // without it: the gateway
//	in, _ := dc.Command(ana, channel, "/berth deploy shop/pr-7")
//	dc.Until(ctx, func() bool { return len(dc.Messages(channel)) == 1 })
//	dc.Click(ana, dc.Messages(channel)[0].ID, "Approve")
//
// Command, Click and Submit return when the application has answered, or has not
// within Discord's three seconds; the user then reads "The application did not
// respond".
//
// A browser that opens / on the server finds a chat: whoever is there acts as any
// of the people, types "/berth …" with its suggestions or "@berth …", clicks and
// submits, live. ?as=USER&channel=CHANNEL&thread=THREAD choose what is seen, and
// theme=light its colours. One message alone, for a picture, is drawn by
// /page/message/CHANNEL/ID?bare=1, with as=USER for an ephemeral one: take the
// element #bare once body[data-ready] is there.
//
// What it knows and does not: messages have no nonce when they are read later,
// as Discord's do not; of components it has buttons, string menus, text inputs
// and labels, not those of IS_COMPONENTS_V2; permissions are those of channels
// (Channel.Denied), not of roles.
//
// The description in testdata is made of discord-api-types 0.38.57 (MIT licence);
// internal/prune says how.
package discordtest

//go:generate go run ./internal/prune $DISCORD_SCHEMA testdata/discord.json.gz
