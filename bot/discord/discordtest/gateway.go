package discordtest

import (
	"bytes"
	"compress/zlib"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Intents that the stand-in looks at.
// Source: https://docs.discord.com/developers/events/gateway#list-of-intents
const (
	IntentGuilds         = 1 << 0
	IntentMembers        = 1 << 1 // privileged
	IntentPresences      = 1 << 8 // privileged
	IntentGuildMessages  = 1 << 9
	IntentDirectMessages = 1 << 12
	IntentMessageContent = 1 << 15 // privileged
	privileged           = IntentMembers | IntentPresences | IntentMessageContent
	allIntents           = 1<<26 - 1
)

// Opcodes of the gateway.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-opcodes
const (
	opDispatch       = 0
	opHeartbeat      = 1
	opIdentify       = 2
	opPresence       = 3
	opVoice          = 4
	opResume         = 6
	opReconnect      = 7
	opRequestMembers = 8
	opInvalidSession = 9
	opHello          = 10
	opAck            = 11
)

// Codes that close a connection.
// Source: https://docs.discord.com/developers/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes
const (
	closeUnknownOpcode    = 4001
	closeDecode           = 4002
	closeNotAuthenticated = 4003
	closeAuthentication   = 4004
	closeAlready          = 4005
	closeInvalidSeq       = 4007
	closeRateLimited      = 4008
	closeTimedOut         = 4009
	closeInvalidShard     = 4010
	closeInvalidVersion   = 4012
	closeInvalidIntents   = 4013
	closeDisallowed       = 4014
)

// maxCommand is how large what a client sends may be, and maxPerMinute how much
// that may be.
// Source: https://docs.discord.com/developers/events/gateway#sending-events
const (
	maxCommand   = 4096
	maxPerMinute = 120
)

// lateness is by how much a heartbeat may be late beyond half its interval, for
// the way that it takes.
const lateness = 5 * time.Second

// identifyEvery is how far identifies are apart, where max_concurrency is 1.
// Source: https://docs.discord.com/developers/events/gateway#rate-limiting
const identifyEvery = 5 * time.Second

// replayed is how many events a session keeps for those who resume it.
const replayed = 1000

// session is what a client identified for. It outlives its connection.
type session struct {
	id      string
	intents int
	shard   [2]int
	seq     int
	events  []event // for resuming
	conn    *connection
}

type event struct {
	seq  int
	name string
	data any
}

// frame is a message of the gateway.
type frame struct {
	Op   int             `json:"op"`
	Data json.RawMessage `json:"d"`
	Seq  *int            `json:"s"`
	Name *string         `json:"t"`
}

// connection is one websocket.
type connection struct {
	ws       *websocket.Conn
	session  *session
	deflate  *zlib.Writer // of zlib-stream; nil without
	deflated bytes.Buffer
	packed   bool // each payload is packed by itself, as identify asked

	mu     sync.Mutex
	queue  [][]byte
	ready  chan struct{}
	ending chan struct{}
	once   sync.Once
	code   int
	abrupt bool
}

var upgrader = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}

func (s *Server) serveGateway(w http.ResponseWriter, r *http.Request) {
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // It answered.
	}
	c := &connection{ws: ws, ready: make(chan struct{}, 1), ending: make(chan struct{})}
	q := r.URL.Query()
	if q.Get("compress") == "zlib-stream" {
		c.deflate = zlib.NewWriter(&c.deflated)
	}
	s.mu.Lock()
	s.connections++
	s.mostAtOnce = max(s.mostAtOnce, s.connections)
	s.touch()
	s.mu.Unlock()
	wrote := make(chan struct{})
	go func() { c.write(s.closing); close(wrote) }()
	switch {
	case q.Get("v") != "10" && q.Get("v") != "9":
		c.end(closeInvalidVersion)
	case q.Get("encoding") != "json":
		c.end(closeDecode)
	default:
		c.send(opHello, nil, "", obj{"heartbeat_interval": s.opts.Heartbeat.Milliseconds()})
		s.listen(c)
	}
	c.end(websocket.CloseNormalClosure)
	<-wrote
	ws.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.connections--
	if c.session != nil && c.session.conn == c {
		c.session.conn = nil
	}
	s.touch()
}

// listen reads what the client sends until the connection ends.
func (s *Server) listen(c *connection) {
	var sent []time.Time
	for {
		_ = c.ws.SetReadDeadline(time.Now().Add(s.opts.Heartbeat*3/2 + lateness)) // A connection without deadlines fails at the next line.
		_, raw, err := c.ws.ReadMessage()
		if err != nil {
			select {
			case <-c.ending:
			default:
				if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
					s.note("the gateway's client sent no heartbeat in time")
					c.end(closeTimedOut)
				}
			}
			return
		}
		now := time.Now()
		sent = append(sent, now)
		for now.Sub(sent[0]) > time.Minute {
			sent = sent[1:]
		}
		var f frame
		switch {
		case len(raw) > maxCommand || json.Unmarshal(raw, &f) != nil:
			s.note("the gateway's client sent what cannot be decoded, or more than 4,096 bytes")
			c.end(closeDecode)
		case len(sent) > maxPerMinute:
			s.note("the gateway's client sent more than 120 commands in a minute")
			c.end(closeRateLimited)
		default:
			s.checkFrame(raw)
			s.handle(c, f)
		}
		select {
		case <-c.ending:
			return
		default:
		}
	}
}

func (s *Server) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.strange(format, args...)
}

// checkFrame compares what was sent with the description.
func (s *Server) checkFrame(raw []byte) {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return
	}
	if m, ok := v.(map[string]any); ok {
		// Client libraries write these into all that they send.
		delete(m, "s")
		delete(m, "t")
		if identify, ok := m["d"].(map[string]any); ok && m["op"] == 2.0 {
			modern(identify)
		}
	}
	bs, err := checkType("gatewaySend", v)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.strange("%v", err)
	}
	for _, b := range bs {
		s.strange("gateway: %s", b)
	}
}

// modern makes an identification as older client libraries write it, which Discord
// still takes, as the description has it: names of properties began with "$", and
// a presence had one game.
func modern(identify map[string]any) {
	if properties, ok := identify["properties"].(map[string]any); ok {
		for name, value := range properties {
			if bare, old := strings.CutPrefix(name, "$"); old {
				delete(properties, name)
				if bare == "os" || bare == "browser" || bare == "device" {
					properties[bare] = value
				}
			}
		}
	}
	if presence, ok := identify["presence"].(map[string]any); ok {
		if _, old := presence["game"]; old && presence["activities"] == nil {
			delete(identify, "presence")
		}
	}
}

func (s *Server) handle(c *connection, f frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch f.Op {
	case opHeartbeat:
		if !s.muted {
			c.send(opAck, nil, "", nil)
		}
	case opIdentify:
		s.identify(c, f.Data)
	case opResume:
		s.resume(c, f.Data)
	case opPresence, opVoice, opRequestMembers:
		if c.session == nil {
			c.end(closeNotAuthenticated)
		}
	default:
		s.strange("gateway: the client sent the opcode %d", f.Op)
		c.end(closeUnknownOpcode)
	}
}

func (s *Server) identify(c *connection, raw json.RawMessage) {
	var d struct {
		Token    string `json:"token"`
		Intents  *int   `json:"intents"`
		Shard    []int  `json:"shard"`
		Compress bool   `json:"compress"`
	}
	if json.Unmarshal(raw, &d) != nil || d.Intents == nil {
		c.end(closeDecode)
		return
	}
	shard := [2]int{0, 1}
	if len(d.Shard) == 2 {
		shard = [2]int(d.Shard)
	}
	switch {
	case c.session != nil:
		s.strange("gateway: a connection identified twice")
		c.end(closeAlready)
		return
	case trimBot(d.Token) != s.opts.Token:
		c.end(closeAuthentication)
		return
	case *d.Intents < 0 || *d.Intents > allIntents:
		s.strange("gateway: the intents %d are none", *d.Intents)
		c.end(closeInvalidIntents)
		return
	case *d.Intents&privileged&^s.opts.Intents != 0:
		s.strange("gateway: the intents %d hold privileged ones that the application was not granted", *d.Intents)
		c.end(closeDisallowed)
		return
	case shard[1] < 1 || shard[0] < 0 || shard[0] >= shard[1]:
		s.strange("gateway: there is no shard %v", shard)
		c.end(closeInvalidShard)
		return
	}
	if now := s.opts.Now(); s.limits.on && now.Sub(s.identified) < identifyEvery {
		s.strange("gateway: identified %s after the one before; they are to be 5 s apart", now.Sub(s.identified))
		c.send(opInvalidSession, nil, "", false)
		return
	}
	s.identified = s.opts.Now()
	for _, other := range s.sessions {
		if other.conn != nil && other.shard == shard {
			s.strange("gateway: shard %v has two connections at once; both get all events", shard)
		}
	}
	n := &session{id: rand.Text(), intents: *d.Intents, shard: shard, conn: c}
	s.sessions[n.id], c.session, c.packed = n, n, d.Compress && c.deflate == nil
	guilds := []any{}
	for _, id := range sortedKeys(s.guilds) {
		if g := s.guilds[id]; !g.noBot && n.has(g) {
			guilds = append(guilds, obj{"id": g.id, "unavailable": true})
		}
	}
	s.push(n, "READY", obj{
		"v": 10, "user": wireUser(s.app), "guilds": guilds, "session_id": n.id, "resume_gateway_url": s.gatewayURL(), "shard": shard,
		"application": obj{"id": s.app.id, "flags": s.applicationFlags(), "flags_new": fmt.Sprint(s.applicationFlags())},
	})
	if n.intents&IntentGuilds != 0 {
		for _, id := range sortedKeys(s.guilds) {
			if g := s.guilds[id]; !g.noBot && n.has(g) {
				s.push(n, "GUILD_CREATE", s.wireGuildCreate(g))
			}
		}
	}
	s.touch()
}

// trimBot takes a token with "Bot " too, which client libraries send.
func trimBot(token string) string {
	if len(token) > 4 && token[:4] == "Bot " {
		return token[4:]
	}
	return token
}

// resume goes on with a session: what was missed is sent again.
func (s *Server) resume(c *connection, raw json.RawMessage) {
	var d struct {
		Token   string `json:"token"`
		Session string `json:"session_id"`
		Seq     int    `json:"seq"`
	}
	if json.Unmarshal(raw, &d) != nil {
		c.end(closeDecode)
		return
	}
	if trimBot(d.Token) != s.opts.Token {
		c.end(closeAuthentication)
		return
	}
	n := s.sessions[d.Session]
	if n == nil {
		c.send(opInvalidSession, nil, "", false)
		return
	}
	if d.Seq > n.seq {
		s.strange("gateway: a client resumed at %d, but the session is at %d", d.Seq, n.seq)
		c.end(closeInvalidSeq)
		return
	}
	if len(n.events) > 0 && d.Seq < n.events[0].seq-1 {
		delete(s.sessions, n.id)
		c.send(opInvalidSession, nil, "", false)
		return
	}
	if old := n.conn; old != nil {
		old.session = nil
		old.end(websocket.CloseNormalClosure) // The new connection takes the session over.
	}
	n.conn, c.session = c, n
	for _, e := range n.events {
		if e.seq > d.Seq {
			c.send(opDispatch, &e.seq, e.name, e.data)
		}
	}
	s.push(n, "RESUMED", nil)
	s.touch()
}

// has tells whether the guild is on the session's shard. Direct messages are on
// the first.
// Source: https://docs.discord.com/developers/events/gateway#sharding-sharding-formula
func (n *session) has(g *guild) bool {
	if g == nil {
		return n.shard[0] == 0
	}
	return int(snowflakeOf(g.id)>>22)%n.shard[1] == n.shard[0]
}

// push sends an event, or keeps it until the session is resumed.
func (s *Server) push(n *session, name string, data any) {
	s.proof(name, data)
	n.seq++
	n.events = append(n.events, event{n.seq, name, data})
	if len(n.events) > replayed {
		n.events = n.events[len(n.events)-replayed:]
	}
	if n.conn != nil {
		seq := n.seq
		n.conn.send(opDispatch, &seq, name, data)
	}
}
