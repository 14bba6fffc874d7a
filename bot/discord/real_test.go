package discord

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/approvals"
	"github.com/berth-dev/berth/bot"
	"github.com/berth-dev/berth/bot/discord/discordtest"
)

// guildOf is a Discord with a server, a channel and two people.
type guildOf struct {
	*discordtest.Server
	t                        *testing.T
	guild, channel, ana, ben string
	role                     string
}

func newGuild(t *testing.T, o discordtest.Options) *guildOf {
	t.Helper()
	if o.AnswerWithin == 0 {
		o.AnswerWithin = time.Minute // a busy machine takes longer than Discord's 3 s
	}
	g := &guildOf{Server: discordtest.Run(t, o), t: t}
	id := func(id string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	g.guild = id(g.AddGuild(discordtest.Guild{Name: "Acme"}))
	g.role = id(g.AddRole(discordtest.Role{Guild: g.guild, Name: "sre"}))
	g.channel = id(g.AddChannel(discordtest.Channel{Guild: g.guild, Name: "deploys"}))
	g.ana = id(g.AddUser(discordtest.User{Name: "Ana", Guilds: []string{g.guild}, Roles: []string{g.role}}))
	g.ben = id(g.AddUser(discordtest.User{Name: "Ben", Guilds: []string{g.guild}}))
	return g
}

// berth is a Surface that answers each event with what it was, as the engine
// would, and remembers events as Redis does: by their ids, for all replicas.
type berth struct {
	*Surface
	t    *testing.T
	once *once
}

// once are the events of all replicas.
type once struct {
	mu     sync.Mutex
	events []bot.ChatEvent
	down   bool
	answer func(bot.ChatEvent)
	more   chan struct{}
}

func (o *once) Take(_ context.Context, e bot.ChatEvent) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return errDown
	}
	if slices.ContainsFunc(o.events, func(f bot.ChatEvent) bool { return f.ID == e.ID }) {
		return nil
	}
	o.events = append(o.events, e)
	if o.answer != nil {
		go o.answer(e)
	}
	signal(o.more)
	return nil
}

func (o *once) lines() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := make([]string, len(o.events))
	for i, e := range o.events {
		lines[i] = e.Line
	}
	return lines
}

// await waits for so many events.
func (o *once) await(t *testing.T, n int) []string {
	t.Helper()
	timeout := time.After(2 * time.Minute)
	for {
		if lines := o.lines(); len(lines) >= n {
			return lines
		}
		select {
		case <-o.more:
		case <-timeout:
			t.Fatalf("%d events never came: %q", n, o.lines())
		}
	}
}

func newBerth(t *testing.T, g *guildOf, in *once, change func(*Options)) *berth {
	t.Helper()
	o := Options{ApplicationID: g.ApplicationID(), PublicKey: g.PublicKey(), BotToken: g.Token(), APIURL: g.APIURL(), Verbs: testVerbs, Apps: testApps,
		Log: slog.New(slog.NewTextHandler(&testLog{t: t}, nil))}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Attach(in, suggester(func(_ context.Context, _ bot.ChatPlace, _, what, _, typed string) []string {
		return []string{what + ":" + typed}
	}))
	return &berth{Surface: s, t: t, once: in}
}

// testLog writes into the test's own log, until that is over.
type testLog struct {
	t  *testing.T
	mu sync.Mutex
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t.Context().Err() == nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// answered answers as the engine does, which tries on while it can pass.
func (b *berth) answered(e bot.ChatEvent, m bot.ChatMessage) error {
	for {
		err := b.Answer(b.t.Context(), e, 0, m)
		limited, slow := errors.AsType[*bot.Limited](err)
		switch {
		case slow:
			sleep(b.t.Context(), limited.After)
		case actions.CodeOf(err) == actions.CodeUnavailable:
			sleep(b.t.Context(), 20*time.Millisecond)
		default:
			return err
		}
	}
}

// endpoint serves interactions where Discord sends them.
func (b *berth) endpoint(g *guildOf) {
	b.t.Helper()
	server := httptest.NewServer(b.Handler())
	b.t.Cleanup(server.Close)
	if err := g.SetEndpoint(b.t.Context(), server.URL+"/discord/interactions"); err != nil {
		b.t.Fatal(err)
	}
}

// run runs a Surface until stop.
func (b *berth) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); _ = b.Run(ctx) }()
	stop = func() { cancel(); <-over }
	b.t.Cleanup(stop)
	return stop
}

func (b *berth) register() {
	b.t.Helper()
	if _, err := b.Register(b.t.Context(), nil, false); err != nil {
		b.t.Fatal(err)
	}
}

func (g *guildOf) until(condition func() bool) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), 2*time.Minute)
	defer cancel()
	if err := g.Until(ctx, condition); err != nil {
		g.t.Fatalf("%v\nAna sees %+v\nand %+v", err, g.Ephemerals(g.ana), g.Interactions())
	}
}

func TestCommandsAreRegisteredOnceForDiscord(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	b := newBerth(t, g, &once{more: make(chan struct{}, 1)}, nil)
	for _, scope := range [][]string{nil, {g.guild}} {
		if r, err := b.Register(t.Context(), scope, true); err != nil || len(r.Scopes[0].Added) != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		if r, err := b.Register(t.Context(), scope, false); err != nil || len(r.Scopes[0].Added) != 2 {
			t.Fatalf("%+v %v", r, err)
		}
		if r, err := b.Register(t.Context(), scope, false); err != nil || !r.Scopes[0].Synced() {
			t.Fatalf("%+v %v", r, err)
		}
	}
	puts := 0
	for _, r := range g.Requests() {
		if r.Method == "PUT" {
			puts++
		}
	}
	if puts != 2 {
		t.Errorf("written %d times", puts)
	}
}

func TestPeopleAtDiscordsEndpoint(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	in := &once{more: make(chan struct{}, 1)}
	b := newBerth(t, g, in, nil)
	in.answer = func(e bot.ChatEvent) {
		if err := b.answered(e, bot.ChatMessage{Title: "Heard", Text: bot.Code(e.Line, 200), Buttons: []bot.ChatButton{
			{Label: "Deny", Line: "deny x", Reason: "Why?"}, {Label: "Archive", Line: "archive shop/pr-1", Confirm: "Sure?", Style: bot.StyleDanger}}}); err != nil {
			t.Error(err)
		}
	}
	b.register()
	b.endpoint(g)
	g.Probe()
	answered := func(n int, line string) string {
		t.Helper()
		var last discordtest.Message
		g.until(func() bool {
			seen := g.Ephemerals(g.ana)
			if len(seen) < n {
				return false
			}
			last = seen[n-1]
			return !last.Thinking
		})
		if lines := in.lines(); lines[len(lines)-1] != line {
			t.Errorf("%q", lines)
		}
		return last.ID
	}

	if _, err := g.Command(g.ana, g.channel, `/berth deploy shop/pr-1 --ref "my branch" --dry-run`); err != nil {
		t.Fatal(err)
	}
	message := answered(1, `deploy shop/pr-1 --ref "my branch" --dry-run`)
	if _, err := g.Command(g.ana, g.channel, `/berth vars set A=1`); err != nil {
		t.Error(err)
	}
	answered(2, "set A=1")

	click, err := g.Click(g.ana, message, "Deny")
	if err != nil || click.Modal == nil {
		t.Fatalf("%+v %v", click, err)
	}
	if _, err := g.Submit(g.ana, click.ID, map[string]string{"Why?": "not\nnow"}); err != nil {
		t.Fatal(err)
	}
	answered(3, `deny x --reason "not now"`)

	click, err = g.Click(g.ana, message, "Archive")
	if err != nil || len(in.lines()) != 3 {
		t.Fatalf("%+v %v", click, err)
	}
	if _, err := g.Click(g.ana, click.Original, "Yes, archive"); err != nil {
		t.Fatal(err)
	}
	answered(4, "archive shop/pr-1")
	g.until(func() bool { return strings.Contains(g.Message(click.Original).Content, "Heard") })

	choices, err := g.Suggest(g.ana, g.channel, "/berth deploy sh")
	if err != nil || len(choices) != 1 || choices[0].Name != "target:sh" {
		t.Errorf("%+v %v", choices, err)
	}
	said, err := g.Say(g.ben, g.channel, "https://github.com/acme/shop/pull/12 is ready")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.MessageCommand(g.ana, said, "Deploy with Berth"); err != nil {
		t.Fatal(err)
	}
	answered(5, "deploy shop/pr-12")
	if _, err := g.MessageCommand(g.ana, message, "Deploy with Berth"); err != nil {
		t.Error(err)
	}
	if len(g.Ephemerals(g.ben)) != 0 || slices.ContainsFunc(g.Messages(g.channel), func(m discordtest.Message) bool { return m.Bot }) {
		t.Error("others read what is for Ana alone")
	}
}

func TestAStoreThatDoesNotAnswerAtDiscordsEndpoint(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	in := &once{more: make(chan struct{}, 1), down: true}
	b := newBerth(t, g, in, nil)
	b.patience = 100 * time.Millisecond
	b.register()
	b.endpoint(g)
	call, err := g.Command(g.ana, g.channel, `/berth deploy shop/pr-1`)
	if err != nil || call.Failed != "" {
		t.Fatalf("%+v %v", call, err)
	}
	g.until(func() bool {
		seen := g.Ephemerals(g.ana)
		return len(seen) == 1 && strings.Contains(seen[0].Content, "nothing was done") || len(seen) == 1 && len(seen[0].Embeds) == 1 && strings.Contains(seen[0].Embeds[0].Description, "nothing was done")
	})
}

// leases gives each lease to one replica at a time.
type leases struct {
	mu    sync.Mutex
	names map[string]chan struct{}
}

func (l *leases) lead(ctx context.Context, name string, while func(context.Context)) error {
	l.mu.Lock()
	if l.names == nil {
		l.names = map[string]chan struct{}{}
	}
	lease := l.names[name]
	if lease == nil {
		lease = make(chan struct{}, 1)
		l.names[name] = lease
	}
	l.mu.Unlock()
	for ctx.Err() == nil {
		select {
		case lease <- struct{}{}:
			while(ctx)
			<-lease
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

func TestPeopleAtDiscordsGateway(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{Heartbeat: 500 * time.Millisecond})
	in := &once{more: make(chan struct{}, 1)}
	leases := &leases{}
	listens := func(o *Options) { o.Gateway, o.Lead = true, leases.lead }
	first, second := newBerth(t, g, in, listens), newBerth(t, g, in, listens)
	in.answer = func(e bot.ChatEvent) {
		if err := second.answered(e, bot.ChatMessage{Title: "Heard", Text: bot.Code(e.Line, 200)}); err != nil {
			t.Error(err)
		}
	}
	first.register()
	stop := first.run()
	second.run()
	n := 0
	hears := func(line string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		n++
		if got := in.await(t, n); got[n-1] != line {
			t.Errorf("%q", got)
		}
	}
	mention := func(channel, text string) func() error {
		return func() error { _, err := g.Mention(g.ana, channel, text); return err }
	}
	connected := func() { t.Helper(); g.until(func() bool { return g.Sessions() == 1 }) }
	connected()
	hears("deploy shop/pr-1", func() error {
		call, err := g.Command(g.ana, g.channel, "/berth deploy shop/pr-1")
		if call.Failed != "" {
			t.Errorf("%+v", call)
		}
		return err
	})
	hears("status shop/pr-1", mention(g.channel, "status shop/pr-1"))
	direct, err := g.DirectChannel(g.ana)
	if err != nil {
		t.Fatal(err)
	}
	hears("list", func() error { _, err := g.Say(g.ana, direct, "list"); return err })
	g.until(func() bool { return len(g.DirectMessages(g.ana)) == 3 }) // what she wrote, and the answers to it and to the mention
	g.until(func() bool {                                             // the sign that it was read
		return slices.ContainsFunc(g.Messages(g.channel), func(m discordtest.Message) bool { return slices.Contains(m.Reactions, "👀") })
	})

	for name, how := range map[string]discordtest.Drop{"cut": discordtest.DropCut, "reconnect": discordtest.DropReconnect, "closed": discordtest.DropClose} {
		g.DropGateway(how)
		hears("status after-"+name, mention(g.channel, "status after-"+name)) // while nobody is connected
		connected()
	}
	g.DropGateway(discordtest.DropInvalid)
	connected()
	hears("status again", mention(g.channel, "status again"))
	g.DropGateway(discordtest.DropForget)
	connected()
	hears("status anew", mention(g.channel, "status anew"))

	stop()
	connected()
	hears("status elsewhere", mention(g.channel, "status elsewhere"))
	if most := g.MostConnections(); most != 1 {
		t.Errorf("%d connections at once", most)
	}
}

func TestShardsOfDiscordsGateway(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{Shards: 3})
	in := &once{more: make(chan struct{}, 1)}
	leases := &leases{}
	listens := func(o *Options) { o.Gateway, o.Lead = true, leases.lead }
	first, second := newBerth(t, g, in, listens), newBerth(t, g, in, listens)
	var waits atomic.Int32
	for _, b := range []*berth{first, second} {
		b.sleep = func(ctx context.Context, d time.Duration) {
			if d > 4*time.Second {
				waits.Add(1)
			}
			sleep(ctx, time.Millisecond)
		}
	}
	stop := first.run()
	second.run()
	g.until(func() bool { return g.Sessions() == 3 })
	if waits.Load() == 0 {
		t.Error("sessions were begun without the five seconds between them that Discord wants")
	}
	if _, err := g.Mention(g.ana, g.channel, "status"); err != nil {
		t.Fatal(err)
	}
	in.await(t, 1)
	stop()
	g.until(func() bool { return g.Sessions() == 3 })
	if _, err := g.Mention(g.ana, g.channel, "status"); err != nil {
		t.Fatal(err)
	}
	in.await(t, 2)
}

func TestAConnectionThatIsDeadIsNoticed(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{Heartbeat: 100 * time.Millisecond})
	in := &once{more: make(chan struct{}, 1)}
	leases := &leases{}
	b := newBerth(t, g, in, func(o *Options) { o.Gateway, o.Lead = true, leases.lead })
	b.run()
	g.until(func() bool { return g.Sessions() == 1 })
	g.MuteGateway(true)
	g.until(func() bool { return g.Sessions() == 0 })
	g.MuteGateway(false)
	g.until(func() bool { return g.Sessions() == 1 })
}

func TestRolesAndChecksAtDiscord(t *testing.T) {
	t.Parallel()
	g := newGuild(t, discordtest.Options{})
	in := &once{more: make(chan struct{}, 1)}
	b := newBerth(t, g, in, func(o *Options) {
		o.Guilds, o.Groups = []string{g.guild}, []string{"discord-role:" + g.guild + "/" + g.role}
	})
	b.endpoint(g)
	now := time.Now()
	b.now = func() time.Time { return now }
	is := func(user string) bool {
		t.Helper()
		in, err := b.Roles().Member(t.Context(), g.guild+"/"+g.role, nil, approvals.Person{Identities: []string{"discord:" + user}})
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	if !is(g.ana) || is(g.ben) {
		t.Error("the role is the wrong one's")
	}
	g.RemoveMember(g.guild, g.ana)
	now = now.Add(keepRoles)
	if is(g.ana) {
		t.Error("somebody who left still has the role")
	}
	if _, err := b.Roles().Member(t.Context(), "1/2", nil, approvals.Person{Identities: []string{"discord:" + g.ana}}); actions.CodeOf(err) != actions.CodeDownstream {
		t.Errorf("a server that is not there: %v", err)
	}
	if got := b.Checks(t.Context()); !got[0].OK {
		t.Errorf("%+v", got)
	}
}
