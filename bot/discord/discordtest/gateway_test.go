package discordtest

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// client is a gateway's client.
type client struct {
	t   *testing.T
	ws  *websocket.Conn
	in  *bytes.Buffer
	z   io.ReadCloser
	seq int
}

func dial(w *world, query string) *client {
	w.t.Helper()
	ws, res, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(w.URL(), "http")+"/gateway/"+query, nil)
	w.must(err)
	res.Body.Close()
	c := &client{t: w.t, ws: ws, in: &bytes.Buffer{}}
	w.t.Cleanup(func() { ws.Close() })
	f := c.next()
	if f.Op != opHello {
		w.t.Fatalf("the first is %+v", f)
	}
	fit(w.t, "gatewayOther", encode(f))
	return c
}

func (c *client) next() frame {
	c.t.Helper()
	f, err := c.read()
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

func (c *client) read() (f frame, err error) {
	c.ws.SetReadDeadline(time.Now().Add(time.Minute))
	kind, raw, err := c.ws.ReadMessage()
	if err != nil {
		return f, err
	}
	if kind == websocket.BinaryMessage {
		c.in.Write(raw)
		if c.z == nil {
			if c.z, err = zlib.NewReader(c.in); err != nil {
				return f, err
			}
		}
		err = json.NewDecoder(c.z).Decode(&f)
	} else {
		err = json.Unmarshal(raw, &f)
	}
	if f.Seq != nil {
		c.seq = *f.Seq
	}
	return f, err
}

// event waits for one of a name and returns its data.
func (c *client) event(name string) obj {
	c.t.Helper()
	for {
		if f := c.next(); f.Name != nil && *f.Name == name {
			var d obj
			if err := json.Unmarshal(f.Data, &d); err != nil {
				c.t.Fatal(err)
			}
			return d
		}
	}
}

func (c *client) send(op int, d any) {
	c.t.Helper()
	if err := c.ws.WriteJSON(obj{"op": op, "d": d}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) closed() int {
	c.t.Helper()
	for {
		_, err := c.read()
		var end *websocket.CloseError
		if errors.As(err, &end) {
			return end.Code
		}
		if err != nil {
			return -1
		}
	}
}

func identity(w *world, intents int) obj {
	return obj{"token": w.Token(), "intents": intents, "properties": obj{"os": "linux", "browser": "t", "device": "t"}}
}

const talking = IntentGuilds | IntentGuildMessages | IntentDirectMessages

func TestTheGatewayCarriesInteractionsAndMentions(t *testing.T) {
	for name, query := range map[string]string{"plain": "?v=10&encoding=json", "packed as a stream": "?v=10&encoding=json&compress=zlib-stream"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{AnswerWithin: 5 * time.Second})
			w.ok(w.api("PUT", "applications/"+w.ApplicationID()+"/commands", commandsJSON), 200)
			c := dial(w, query)
			c.send(opIdentify, identity(w, talking))
			if ready := c.event("READY"); ready["resume_gateway_url"] == "" || ready["user"].(obj)["id"] != w.ApplicationID() {
				t.Errorf("%v", ready)
			}
			if g := c.event("GUILD_CREATE"); g["id"] != w.guild || len(g["channels"].([]any)) != 1 {
				t.Errorf("%v", g)
			}
			w.id(w.Say(w.ana, w.channel, "a secret"))
			if m := c.event("MESSAGE_CREATE"); m["content"] != "" {
				t.Errorf("the bot reads what is not for it: %v", m)
			}
			w.id(w.Say(w.ana, w.channel, "@berth status"))
			if m := c.event("MESSAGE_CREATE"); m["content"] != "<@"+w.ApplicationID()+"> status" || m["member"] == nil || m["guild_id"] != w.guild {
				t.Errorf("%v", m)
			}
			c.send(opHeartbeat, c.seq)
			if f := c.next(); f.Op != opAck {
				t.Errorf("%+v", f)
			}
			done := make(chan Interaction)
			go func() {
				in, err := w.Command(w.ana, w.channel, "/berth list")
				if err != nil {
					t.Error(err)
				}
				done <- in
			}()
			in := c.event("INTERACTION_CREATE")
			path := "interactions/" + in["id"].(string) + "/" + in["token"].(string) + "/callback"
			w.ok(w.do("POST", path, "application/json", []byte(`{"type":4,"data":{"content":"None.","flags":64}}`), ""), 204)
			if got := <-done; got.Callback != 4 || len(w.Ephemerals(w.ana)) != 1 {
				t.Errorf("%+v", got)
			}
			if r := w.do("POST", path, "application/json", []byte(`{"type":5}`), ""); r.code() != 40060 {
				t.Errorf("answered twice: %s", r.raw)
			}
			w.Forgive()
		})
	}
}

func TestASessionIsToldWhereSomethingWasSaid(t *testing.T) {
	w := newWorld(t, Options{})
	hidden := w.id(w.AddChannel(Channel{Guild: w.guild, Name: "hidden", Denied: ViewChannel}))
	said := w.id(w.Say(w.ana, w.channel, "hello"))
	w.ok(w.api("POST", "channels/"+w.channel+"/messages/"+said+"/threads", `{"name":"talk"}`), 201)
	below := w.id(w.Say(w.ana, said, "in it"))
	c := dial(w, "?v=10&encoding=json")
	c.send(opIdentify, identity(w, talking))
	g := c.event("GUILD_CREATE")
	last := map[any]any{}
	for _, list := range []string{"channels", "threads"} {
		for _, ch := range g[list].([]any) {
			ch := ch.(obj)
			last[ch["id"]] = ch["last_message_id"]
			if denied, _ := ch["permission_overwrites"].([]any); ch["id"] == hidden && (len(denied) != 1 || denied[0].(obj)["deny"] != "1024") {
				t.Errorf("%v", ch)
			}
		}
	}
	if len(last) != 3 || last[w.channel] != said || last[said] != below || last[hidden] != nil {
		t.Errorf("%v", last)
	}
}

func TestASessionIsResumedWithWhatWasMissed(t *testing.T) {
	w := newWorld(t, Options{})
	c := dial(w, "?v=10&encoding=json")
	c.send(opIdentify, identity(w, talking))
	session := c.event("READY")["session_id"]
	c.event("GUILD_CREATE")
	w.DropGateway(DropCut)
	if code := c.closed(); code != websocket.CloseAbnormalClosure && code != -1 {
		t.Errorf("the cut came with %d", code)
	}
	w.id(w.Say(w.ana, w.channel, "@berth one"))
	w.id(w.Say(w.ana, w.channel, "@berth two"))
	again := dial(w, "?v=10&encoding=json")
	again.send(opResume, obj{"token": w.Token(), "session_id": session, "seq": c.seq})
	for _, want := range []string{"one", "two"} {
		if m := again.event("MESSAGE_CREATE"); !strings.HasSuffix(m["content"].(string), want) {
			t.Errorf("%v", m["content"])
		}
	}
	again.event("RESUMED")
	taker := dial(w, "?v=10&encoding=json")
	taker.send(opResume, obj{"token": w.Token(), "session_id": session, "seq": again.seq})
	taker.event("RESUMED")
	if code := again.closed(); code != websocket.CloseNormalClosure {
		t.Errorf("the session was taken over, but its old connection ended with %d", code)
	}
	w.DropGateway(DropForget)
	late := dial(w, "?v=10&encoding=json")
	late.send(opResume, obj{"token": w.Token(), "session_id": session, "seq": 1})
	if f := late.next(); f.Op != opInvalidSession || string(f.Data) != "false" {
		t.Errorf("%+v", f)
	}
}

func TestTheGatewayClosesWhatIsWrong(t *testing.T) {
	tests := map[string]struct {
		query string
		op    int
		data  func(w *world) any
		code  int
	}{
		"a wrong token": {op: opIdentify, code: closeAuthentication, data: func(w *world) any {
			d := identity(w, talking)
			d["token"] = "x"
			return d
		}},
		"intents that were not granted": {op: opIdentify, code: closeDisallowed, data: func(w *world) any { return identity(w, IntentMessageContent) }},
		"intents that there are not":    {op: opIdentify, code: closeInvalidIntents, data: func(w *world) any { return identity(w, 1<<30) }},
		"no intents":                    {op: opIdentify, code: closeDecode, data: func(w *world) any { return obj{"token": w.Token()} }},
		"a shard that there is not": {op: opIdentify, code: closeInvalidShard, data: func(w *world) any {
			d := identity(w, talking)
			d["shard"] = []int{2, 2}
			return d
		}},
		"an opcode that there is not": {op: 42, code: closeUnknownOpcode, data: func(*world) any { return nil }},
		"more than 4,096 bytes":       {op: opHeartbeat, code: closeDecode, data: func(*world) any { return strings.Repeat("x", 5000) }},
		"a presence before identify":  {op: opPresence, code: closeNotAuthenticated, data: func(*world) any { return obj{"since": nil, "activities": []any{}, "status": "online", "afk": false} }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, Options{})
			c := dial(w, "?v=10&encoding=json")
			c.send(test.op, test.data(w))
			if code := c.closed(); code != test.code {
				t.Errorf("closed with %d, want %d", code, test.code)
			}
			w.Forgive()
		})
	}
}

func TestTwoConnectionsOfOneShardAreOdd(t *testing.T) {
	w := newWorld(t, Options{})
	for range 2 {
		c := dial(w, "?v=10&encoding=json")
		c.send(opIdentify, identity(w, talking))
		c.event("READY")
	}
	if odd := w.Odd(); len(odd) != 1 || !strings.Contains(odd[0], "two connections at once") || w.Sessions() != 2 || w.MostConnections() != 2 {
		t.Errorf("%v", odd)
	}
	w.Forgive()
}

func TestIdentifiesAreFiveSecondsApart(t *testing.T) {
	w := newWorld(t, Options{RateLimits: true})
	first := identity(w, talking)
	first["shard"] = []int{0, 2}
	c := dial(w, "?v=10&encoding=json")
	c.send(opIdentify, first)
	c.event("READY")
	second := identity(w, talking)
	second["shard"] = []int{1, 2}
	other := dial(w, "?v=10&encoding=json")
	other.send(opIdentify, second)
	if f := other.next(); f.Op != opInvalidSession || len(w.Odd()) != 1 {
		t.Errorf("%+v %v", f, w.Odd())
	}
	w.Forgive()
	w.later(5 * time.Second)
	other.send(opIdentify, second)
	other.event("READY")
}

func TestAClientWithoutHeartbeatsIsDropped(t *testing.T) {
	w := newWorld(t, Options{Heartbeat: 50 * time.Millisecond})
	c := dial(w, "?v=10&encoding=json")
	c.send(opIdentify, identity(w, talking))
	if code := c.closed(); code != closeTimedOut {
		t.Errorf("closed with %d", code)
	}
	w.Forgive()
}

func TestWhatNobodyAnswersFailsForItsUser(t *testing.T) {
	w := newWorld(t, Options{AnswerWithin: 50 * time.Millisecond})
	w.ok(w.api("PUT", "applications/"+w.ApplicationID()+"/commands", commandsJSON), 200)
	if in, err := w.Command(w.ana, w.channel, "/berth list"); err != nil || in.Failed != silence || len(w.Odd()) != 0 {
		t.Errorf("with nobody there: %+v %v %v", in, err, w.Odd())
	}
	c := dial(w, "?v=10&encoding=json")
	c.send(opIdentify, identity(w, talking))
	c.event("READY")
	in, err := w.Command(w.ana, w.channel, "/berth list")
	w.must(err)
	if in.Failed != silence || len(w.Odd()) != 1 {
		t.Errorf("with somebody who is silent: %+v %v", in, w.Odd())
	}
	if r := w.do("POST", "interactions/"+in.ID+"/"+in.Token()+"/callback", "application/json", []byte(`{"type":5}`), ""); r.code() != 10062 {
		t.Errorf("late: %s", r.raw)
	}
	w.Forgive()
}
