package discord

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// checkEvery is how long what Checks found is used again: /readyz may be asked
// every second, and Discord must not be.
const checkEvery = 30 * time.Second

// invitePermissions are what Berth needs in a server: to see channels, write,
// embed links, attach files, read what was written before, add reactions, and
// start and write in threads.
// Source: https://docs.discord.com/developers/topics/permissions#permissions-bitwise-permission-flags
const invitePermissions = 1<<6 | 1<<10 | 1<<11 | 1<<14 | 1<<15 | 1<<16 | 1<<35 | 1<<38

// checkCache is what Checks found lately. The zero value is ready.
type checkCache struct {
	mu    sync.Mutex
	at    time.Time
	found bot.Check
}

// Checks looks at Discord: whether the token is good and of this application,
// whether commands can arrive, whether Berth is in the servers of the config, and
// whether the roles of policies are there. Berth is ready without it.
func (s *Surface) Checks(ctx context.Context) []bot.Check {
	s.checked.mu.Lock()
	defer s.checked.mu.Unlock()
	c := &s.checked
	if now := s.now(); c.at.IsZero() || now.Sub(c.at) >= checkEvery || now.Before(c.at) {
		c.found, c.at = s.check(ctx), now
	}
	found := c.found
	if found.OK { // how the gateway is changes by itself, and is known here
		found.Detail, found.Fix = s.gatewayCheck(found.Detail, s.now())
		found.OK = found.Fix == ""
	}
	return []bot.Check{found}
}

// application is what Discord says of it.
// Source: https://docs.discord.com/developers/resources/application#application-object
type application struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	VerifyKey string `json:"verify_key"`
	Endpoint  string `json:"interactions_endpoint_url"`
	Flags     int64  `json:"flags"`
}

func (s *Surface) check(ctx context.Context) bot.Check {
	bad := func(detail, fix string) bot.Check {
		return bot.Check{Name: bot.PlatformDiscord, Detail: detail, Fix: fix}
	}
	var app application
	began := time.Now()
	if err := s.client.call(ctx, http.MethodGet, "applications/@me", nil, &app); err != nil {
		return bad(actions.Message(err), checkFix(err))
	}
	took := time.Since(began).Round(time.Millisecond)
	switch {
	case app.ID != s.app:
		return bad(fmt.Sprintf("the token is of the application %s (%.60q)", app.ID, app.Name), "make discord.application_id and discord.bot_token those of one application")
	case s.verifier.key != nil && app.VerifyKey != "" && !strings.EqualFold(app.VerifyKey, fmt.Sprintf("%x", []byte(s.verifier.key))):
		return bad("discord.public_key is not the application's, so that all its requests are refused", "copy the public key from the application's page General Information")
	case s.verifier.key == nil && app.Endpoint != "":
		return bad("the application has an interactions endpoint, so that commands do not come over the gateway", "clear Interactions Endpoint URL on the application's page General Information, or set discord.public_key and have it end in /discord/interactions here")
	case app.Endpoint == "" && !s.listening:
		return bad("the application has no interactions endpoint, and the gateway is off, so that nothing arrives", s.endpointFix())
	}
	in, err := s.memberships(ctx)
	if err != nil {
		return bad(actions.Message(err), checkFix(err))
	}
	for _, guild := range s.guilds {
		if !slices.Contains(in, guild) {
			return bad("Berth is not in the server "+guild, "add it there: "+InviteURL(s.app, guild))
		}
	}
	if detail, fix := s.checkRoles(ctx, in); fix != "" {
		return bad(detail, fix)
	}
	return bot.Check{Name: bot.PlatformDiscord, OK: true, Detail: fmt.Sprintf("%s, in %d servers, %s", oneLine(clipRunes(app.Name, 60)), len(in), took)}
}

// endpointFix says how interactions get here.
func (s *Surface) endpointFix() string {
	at := "https://…"
	if s.public != "" {
		at = s.public
	}
	return "set Interactions Endpoint URL on the application's page General Information to " + at + "/discord/interactions, or set discord.gateway"
}

// memberships are the guilds that Berth is in: the first 200 and those of the
// config.
func (s *Surface) memberships(ctx context.Context) ([]string, error) {
	var in []string
	var first []struct {
		ID string `json:"id"`
	}
	if err := s.client.call(ctx, http.MethodGet, "users/@me/guilds?limit=200", nil, &first); err != nil {
		return nil, err
	}
	for _, g := range first {
		in = append(in, g.ID)
	}
	for _, guild := range s.guilds {
		if slices.Contains(in, guild) || len(first) < 200 {
			continue
		}
		switch err := s.client.call(ctx, http.MethodGet, "guilds/"+guild, nil, nil); actions.CodeOf(err) {
		case "":
			in = append(in, guild)
		case actions.CodeForbidden, actions.CodeNotFound:
		default:
			return nil, err
		}
	}
	return in, nil
}

// checkRoles looks for the roles that policies name.
func (s *Surface) checkRoles(ctx context.Context, in []string) (detail, fix string) {
	byGuild := map[string][]string{}
	for _, group := range s.groups {
		rest, ok := strings.CutPrefix(group, "discord-role:")
		if !ok {
			continue
		}
		guild, role, ok := strings.Cut(rest, "/")
		if !ok || !isID(guild) || !isID(role) {
			return fmt.Sprintf("a policy names %.80q, which is no role", group), "write it as discord-role:SERVER/ROLE, by their numbers"
		}
		if !slices.Contains(in, guild) {
			return "a policy names a role of the server " + guild + ", where Berth is not", "add it there: " + InviteURL(s.app, guild)
		}
		byGuild[guild] = append(byGuild[guild], role)
	}
	for guild, roles := range byGuild {
		var there []struct {
			ID string `json:"id"`
		}
		if err := s.client.call(ctx, http.MethodGet, "guilds/"+guild+"/roles", nil, &there); err != nil {
			return "the roles of the server " + guild + " could not be seen: " + actions.Message(err), checkFix(err)
		}
		for _, role := range roles {
			if !slices.ContainsFunc(there, func(r struct {
				ID string `json:"id"`
			}) bool {
				return r.ID == role
			}) {
				return "a policy names the role " + role + ", which the server " + guild + " does not have", "write the number of one that it has into the policy"
			}
		}
	}
	return "", ""
}

// InviteURL is the address where whoever manages a guild adds the application to
// it, with the permissions that Berth needs. With "" for the guild they choose one.
// Source: https://docs.discord.com/developers/topics/oauth2#bot-authorization-flow
func InviteURL(application, guild string) string {
	q := url.Values{"client_id": {application}, "scope": {"bot applications.commands"}, "permissions": {strconv.FormatInt(invitePermissions, 10)}}
	if guild != "" {
		q.Set("guild_id", guild)
	}
	return "https://discord.com/oauth2/authorize?" + q.Encode()
}

// checkFix is what to do about a failure to look.
func checkFix(err error) string {
	if limited, ok := errors.AsType[*bot.Limited](err); ok {
		return fmt.Sprintf("Discord wants a pause of %d seconds; wait", int(limited.After.Seconds())+1)
	}
	refused, ok := errors.AsType[*apiError](err)
	switch {
	case ok && refused.Status == http.StatusUnauthorized:
		return "make a new token on the application's page Bot and put it into discord.bot_token"
	case ok && refused.Status < 500:
		return fmt.Sprintf("see whether discord.api_url is right; it answered %d", refused.Status)
	default:
		return "see whether discord.api_url can be reached from here"
	}
}

// gatewayCheck adds how the gateway is to what is right otherwise, and how to mend
// it where it is not.
func (s *Surface) gatewayCheck(detail string, now time.Time) (said, fix string) {
	if !s.listening {
		return detail, ""
	}
	if s.lead == nil {
		return detail + "; commands come over the gateway, of which a server's /readyz tells", ""
	}
	s.gateway.mu.Lock()
	defer s.gateway.mu.Unlock()
	g := &s.gateway
	if g.fault != "" {
		return "the gateway is not known: " + g.fault, "see whether discord.api_url can be reached from here"
	}
	up := 0
	for n, shard := range g.shards {
		if shard.connected {
			up++
			continue
		}
		said := fmt.Sprintf("shard %d of the gateway is not connected: %s", n, shard.fault)
		switch {
		case shard.fix != "":
			return said, shard.fix
		case now.Sub(shard.since) > checkEvery:
			return said, "see whether Discord's gateway can be reached from here; Berth goes on trying"
		}
	}
	switch {
	case len(g.shards) == 0:
		return detail + "; another replica holds the gateway", ""
	case up == 0:
		return detail + "; connecting to the gateway", ""
	}
	return fmt.Sprintf("%s; connected to the gateway with %d of %d shards", detail, up, g.count), ""
}
