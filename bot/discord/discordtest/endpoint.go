package discordtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// probeEvery is after how many interactions the endpoint is sent one with a wrong
// signature. Discord does so now and then, and switches an endpoint off that
// takes it.
// Source: https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint-validating-security-request-headers
const probeEvery = 50

// maxAnswer is how much of an answer is read.
const maxAnswer = maxRequest

// SetEndpoint has interactions sent to a URL, as the application's page does: the
// endpoint must answer a PING, and refuse one with a wrong signature. An empty
// one has them sent by the gateway.
func (s *Server) SetEndpoint(ctx context.Context, url string) error {
	if url != "" {
		if err := s.verifyEndpoint(ctx, url); err != nil {
			return fmt.Errorf("discordtest: the specified interactions endpoint url could not be verified: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endpoint = url
	s.touch()
	return nil
}

// Endpoint is where interactions are sent; empty is the gateway.
func (s *Server) Endpoint() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endpoint
}

// Probe sends the endpoint an interaction with a wrong signature, as Discord does
// at times, and puts on Odd when that is not refused with 401.
func (s *Server) Probe() { s.probe(s.Endpoint()) }

func (s *Server) probe(url string) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.AnswerWithin)
	defer cancel()
	status, _, _, err := s.send(ctx, url, s.ping(), true)
	if err == nil && status != http.StatusUnauthorized {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.strange("the endpoint answered %d, not 401, to an interaction whose signature is wrong", status)
	}
}

func (s *Server) ping() obj {
	s.mu.Lock()
	defer s.mu.Unlock()
	return obj{
		"id": s.newID(), "application_id": s.app.id, "type": interactionPing, "token": "ping", "version": 1, "entitlements": []any{}, "app_permissions": "0", "attachment_size_limit": maxFile,
		"authorizing_integration_owners": obj{}, "user": wireUser(s.app),
	}
}

// verifyEndpoint is what happens when an endpoint is set.
func (s *Server) verifyEndpoint(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.AnswerWithin)
	defer cancel()
	status, _, _, err := s.send(ctx, url, s.ping(), true)
	if err != nil {
		return err
	}
	if status != http.StatusUnauthorized {
		return fmt.Errorf("it answered %d, not 401, to a PING whose signature is wrong", status)
	}
	status, header, body, err := s.send(ctx, url, s.ping(), false)
	if err != nil {
		return err
	}
	c, no := s.parseAnswer(header, body)
	if status != http.StatusOK || no != nil || c.body["type"] != float64(1) {
		return fmt.Errorf("it answered %d and %.100q to a PING, not 200 and PONG", status, body)
	}
	return nil
}

// send posts an interaction, signed.
// Source: https://docs.discord.com/developers/interactions/overview#setting-up-an-endpoint-validating-security-request-headers
func (s *Server) send(ctx context.Context, url string, payload obj, wrong bool) (int, http.Header, []byte, error) {
	s.mu.Lock()
	s.proof("interaction", payload)
	s.mu.Unlock()
	body := encode(payload)
	stamp := strconv.FormatInt(s.opts.Now().Unix(), 10)
	signature := s.Sign(stamp, body)
	if wrong {
		signature = s.Sign(stamp+"0", body)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Discord-Interactions/1.0 (+https://discord.com)")
	req.Header.Set("X-Signature-Ed25519", signature)
	req.Header.Set("X-Signature-Timestamp", stamp)
	res, err := s.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, res.Header, answer, err
}

// Sign signs a body as Discord does, for tests that send their own: the hex
// signature of the timestamp and the body.
func (s *Server) Sign(timestamp string, body []byte) string {
	return hex.EncodeToString(ed25519.Sign(s.key, append([]byte(timestamp), body...)))
}

// Payload is a command as Discord would send it, without sending it, for tests
// that do so themselves: changed, late or twice.
func (s *Server) Payload(userID, channelID, text string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.newInteraction(interactionCommand, userID, channelID)
	if err != nil {
		return nil, err
	}
	if in.command, in.options, err = s.parseTyped(in.channel, text); err != nil {
		return nil, err
	}
	in.reached = true
	s.interactions[in.id], s.byToken[in.token] = in, in
	s.order = append(s.order, in)
	return encode(s.payload(in)), nil
}

// Took tells the server what a payload of Payload was answered with, so that
// followups find their interaction.
func (s *Server) Took(interactionID string, header http.Header, body []byte) error {
	c, no := s.parseAnswer(header, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.interactions[interactionID]
	if in == nil {
		return fmt.Errorf("discordtest: there is no interaction %q", interactionID)
	}
	if no == nil {
		no = s.respond(in, c)
	}
	if no != nil {
		return fmt.Errorf("discordtest: the answer is refused: %s", no.message)
	}
	return nil
}

// deliver sends an interaction to the endpoint and takes its answer.
func (s *Server) deliver(in *interaction, url string, payload obj) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.AnswerWithin)
	defer cancel()
	go func() {
		select {
		case <-s.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	status, header, body, err := s.send(ctx, url, payload, false)
	var c *call
	var no *refusal
	if err == nil && status == http.StatusOK {
		c, no = s.parseAnswer(header, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opts.Log.Debug("discord interaction", "what", in.what(), "status", status, "error", err)
	var dial *net.OpError
	switch {
	case in.failed != "":
	case errors.As(err, &dial) && dial.Op == "dial":
		// Nobody is there: that is no breach of Discord's rules, but people read that
		// nothing answered.
		s.fail(in)
	case err != nil && ctx.Err() != nil:
		select {
		case <-s.closing:
		default:
			in.reached = true // The one who waits for it says that it is late.
		}
	case err != nil:
		s.fail(in)
	case status == http.StatusAccepted || status == http.StatusNoContent:
		in.reached = true // The answer comes by POST …/callback.
	case status != http.StatusOK:
		s.strange("interaction %s (%s): the endpoint answered %d", in.id, in.what(), status)
		s.fail(in)
	default:
		if no == nil {
			no = s.respond(in, c)
		}
		if no != nil {
			s.strange("interaction %s (%s): the endpoint's answer is refused: %d %s", in.id, in.what(), no.code, no.message)
			s.fail(in)
		}
	}
}

// parseAnswer reads the body of an endpoint's answer: JSON, or parts with files.
func (s *Server) parseAnswer(header http.Header, body []byte) (*call, *refusal) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://discord.test/", bytes.NewReader(body))
	if err != nil {
		return nil, invalidJSON
	}
	req.Header = header
	c := &call{Request: req, route: answerRoute}
	if no := c.read(discard{}); no != nil {
		return nil, no
	}
	if c.body == nil {
		return nil, invalidJSON
	}
	return c, nil
}

// answerRoute stands for an answer to the endpoint's request, where its breaches
// are listed.
var answerRoute = &route{name: "the answer to an interaction", takes: "callback", limit: 1, window: time.Second}

// discard is a writer for readers that may refuse.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}
