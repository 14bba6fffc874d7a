package slacktest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// socket is one connection of Socket Mode.
// https://docs.slack.dev/apis/events-api/using-socket-mode
type socket struct {
	conn    *websocket.Conn
	writing sync.Mutex
	waiting map[string]chan json.RawMessage // of s.mu, by envelope_id
	leaving bool                            // of s.mu: it was asked to go
	broken  bool                            // of s.mu: writing failed
	gone    chan struct{}
}

// maxSockets is how many connections an app may have.
const maxSockets = 10

// https://docs.slack.dev/reference/methods/apps.connections.open
func (s *Server) connectionsOpen(*call) (obj, *fail) {
	if !s.app.Socket {
		return nil, &fail{error: "forbidden_team", problem: "the app has Socket Mode turned off"}
	}
	ticket := secret()
	s.tickets[ticket] = true
	return obj{"url": "ws" + s.url[len("http"):] + "/link/?ticket=" + ticket + "&app_id=" + s.app.ID}, nil
}

// serveSocket is a connection, from hello to its end.
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request) {
	ticket := r.URL.Query().Get("ticket")
	s.mu.Lock()
	known := s.tickets[ticket]
	delete(s.tickets, ticket)
	full := len(s.sockets) >= maxSockets
	s.mu.Unlock()
	if !known || full {
		http.Error(w, "the ticket was used, or there are ten connections", http.StatusUnauthorized)
		return
	}
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }} // The ticket is what lets in.
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // It has answered.
	}
	k := &socket{conn: conn, waiting: map[string]chan json.RawMessage{}, gone: make(chan struct{})}
	s.mu.Lock()
	s.sockets = append(s.sockets, k)
	n := len(s.sockets)
	hello := obj{
		"type": "hello", "num_connections": n, "connection_info": obj{"app_id": s.app.ID},
		"debug_info": obj{"host": "applink-stand-in", "build_number": 1, "approximate_connection_time": 18060},
	}
	s.mu.Unlock()
	if s.tellSocket(k, hello) != nil {
		k.close()
	}
	s.mu.Lock()
	s.touch()
	s.mu.Unlock()
	stop := make(chan struct{})
	go k.ping(stop)
	s.read(k)
	close(stop)
	k.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, o := range s.sockets {
		if o == k {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
	close(k.gone)
	s.touch()
}

// ping keeps a connection alive as Slack does.
func (k *socket) ping(stop chan struct{}) {
	ticker := time.NewTicker(10 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if k.conn.WriteControl(websocket.PingMessage, []byte("Ping from applink-stand-in"), time.Now().Add(time.Second)) != nil {
				return
			}
		case <-stop:
			return
		}
	}
}

// read takes acknowledgements until the connection ends.
func (s *Server) read(k *socket) {
	for {
		_, raw, err := k.conn.ReadMessage()
		if err != nil {
			return
		}
		var ack struct {
			EnvelopeID string          `json:"envelope_id"`
			Payload    json.RawMessage `json:"payload"`
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		err = dec.Decode(&ack)
		s.mu.Lock()
		waiting := k.waiting[ack.EnvelopeID]
		delete(k.waiting, ack.EnvelopeID)
		if err != nil || ack.EnvelopeID == "" {
			s.strange("socket", "what came is no acknowledgement: %.100q", raw)
		} else if waiting == nil {
			s.opts.Log.Debug("an acknowledgement that nobody waits for", "envelope_id", ack.EnvelopeID)
		}
		s.mu.Unlock()
		if waiting != nil {
			waiting <- ack.Payload
		}
	}
}

func (s *Server) tellSocket(k *socket, v obj) error {
	s.mu.Lock()
	s.proof("socket", v)
	s.mu.Unlock()
	k.writing.Lock()
	defer k.writing.Unlock()
	_ = k.conn.SetWriteDeadline(time.Now().Add(2 * time.Second)) // It fails where the write does.
	return k.conn.WriteJSON(v)
}

func (k *socket) close() { _ = k.conn.Close() } // Closed already is closed.

// envelopeTypes are how Socket Mode calls what is delivered.
var envelopeTypes = map[string]string{"command": "slash_commands", "interaction": "interactive", "event": "events_api"}

// overSocket delivers something over one of the connections, the one that came
// last. What was not acknowledged when a connection broke goes to the next one,
// if that comes in time.
func (s *Server) overSocket(d *delivery) Ack {
	timer := time.NewTimer(s.opts.AckTimeout)
	defer timer.Stop()
	for {
		k, changed := s.anySocket()
		if k == nil {
			if d.what == "command" && d.attempt == 0 {
				return Ack{Error: "dispatch_failed", Body: "the app has no connection"}
			}
			select {
			case <-changed:
				continue
			case <-s.closing:
			case <-timer.C:
			}
			return Ack{Error: "dispatch_failed", Body: "the app has no connection"}
		}
		if a, broken := s.over(k, d, timer.C); !broken {
			return a
		}
		d.attempt++
		d.reason = "connection_failed"
	}
}

// anySocket is the newest connection that stays, and what tells of a change when
// there is none.
func (s *Server) anySocket() (*socket, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := len(s.sockets) - 1; i >= 0; i-- {
		if k := s.sockets[i]; !k.leaving && !k.broken {
			return k, s.changed
		}
	}
	return nil, s.changed
}

// over delivers something over a connection; broken says that this broke.
func (s *Server) over(k *socket, d *delivery, late <-chan time.Time) (a Ack, broken bool) {
	id := secret()
	acked := make(chan json.RawMessage, 1)
	envelope := obj{"envelope_id": id, "type": envelopeTypes[d.what], "payload": d.payload, "accepts_response_payload": d.what != "event"}
	if d.what == "event" {
		envelope["retry_attempt"], envelope["retry_reason"] = d.attempt, d.reason
	}
	s.mu.Lock()
	k.waiting[id] = acked
	s.mu.Unlock()
	if s.tellSocket(k, envelope) != nil {
		k.close()
		s.mu.Lock()
		k.broken = true
		s.mu.Unlock()
		return Ack{}, true
	}
	select {
	case payload := <-acked:
		if string(payload) == "null" {
			payload = nil
		}
		return Ack{Status: http.StatusOK, Body: string(payload)}, false
	case <-k.gone:
		return Ack{}, true
	case <-s.closing:
		return Ack{Error: "dispatch_failed", Body: "the stand-in was closed"}, false
	case <-late:
		return Ack{Error: "operation_timeout"}, false
	}
}

// Sockets counts the connections of Socket Mode.
func (s *Server) Sockets() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// Refresh asks the app to connect anew, as Slack does every few hours: "warning"
// announces that, "refresh_requested" ends each connection a moment later.
func (s *Server) Refresh(reason string) {
	s.mu.Lock()
	sockets := append([]*socket(nil), s.sockets...)
	for _, k := range sockets {
		k.leaving = k.leaving || reason != "warning"
	}
	s.mu.Unlock()
	for _, k := range sockets {
		_ = s.tellSocket(k, obj{"type": "disconnect", "reason": reason, "debug_info": obj{"host": "applink-stand-in"}}) // A broken one is gone anyway.
		if reason != "warning" {
			go func() {
				timer := time.NewTimer(5 * time.Second)
				defer timer.Stop()
				select {
				case <-timer.C:
				case <-k.gone:
				case <-s.closing:
				}
				k.close()
			}()
		}
	}
}

// Disconnect cuts all connections without a word, as a network does.
func (s *Server) Disconnect() {
	s.mu.Lock()
	sockets := append([]*socket(nil), s.sockets...)
	s.mu.Unlock()
	for _, k := range sockets {
		k.close()
	}
}
