package githubtest

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (s *Server) hookConfig() obj {
	config := obj{"content_type": s.webhook.ContentType, "url": s.webhook.URL, "insecure_ssl": "0"}
	if s.webhook.Secret != "" {
		config["secret"] = "********"
	}
	return config
}

func (s *Server) hookView(h *hook) obj {
	last := obj{"code": nil, "status": "unused", "message": nil}
	if h.last != nil {
		last = obj{"code": h.last.StatusCode, "status": "active", "message": h.last.Status}
	}
	view := obj{
		"type": "Repository", "id": h.id, "name": "web", "active": true, "events": s.webhook.Events,
		"config": s.hookConfig(), "created_at": stamp(h.created), "updated_at": stamp(h.created),
	}
	if h.repo == nil {
		view["type"], view["app_id"] = "App", s.opts.App.ID
		view["deliveries_url"] = s.api() + "/app/hook/deliveries"
		return view
	}
	self := fmt.Sprintf("%s/hooks/%d", s.repoAPI(h.repo), h.id)
	return with(view, obj{
		"url": self, "test_url": self + "/test", "ping_url": self + "/pings",
		"deliveries_url": self + "/deliveries", "last_response": last,
	})
}

func (s *Server) listHooks(c *call) *reply {
	return list(s, c, c.repo.hooks, func(h *hook) any { return s.hookView(h) }, nil)
}

func (s *Server) getAppHook(*call) *reply {
	if s.webhook == nil || !s.webhook.AsApp {
		return answer(http.StatusOK, obj{"content_type": "json", "insecure_ssl": "0", "url": s.web()})
	}
	return answer(http.StatusOK, s.hookConfig())
}

// hookOf is the hook of the path: the App's, or one of the repository's.
func (s *Server) hookOf(c *call) *hook {
	if c.params["hook_id"] == "" {
		return s.appHook
	}
	for _, h := range c.repo.hooks {
		if h.id == c.id("hook_id") {
			return h
		}
	}
	return nil
}

// listDeliveries is newest first and pages by a cursor, as only this operation
// does.
func (s *Server) listDeliveries(c *call) *reply {
	h := s.hookOf(c)
	if h == nil {
		if c.params["hook_id"] == "" {
			return answer(http.StatusOK, []any{})
		}
		return notFound()
	}
	q := c.r.URL.Query()
	before, _ := strconv.ParseInt(strings.TrimPrefix(q.Get("cursor"), "v1_"), 10, 64)
	var found []*delivery
	for _, d := range slices.Backward(s.deliveries) {
		failed := d.StatusCode >= 400
		if d.hook != h || !d.Done || (before != 0 && d.ID >= before) ||
			(q.Get("status") == "success" && failed) || (q.Get("status") == "failure" && !failed) {
			continue
		}
		found = append(found, d)
	}
	_, size := paging(c.r)
	views := []any{}
	for _, d := range found[:min(size, len(found))] {
		views = append(views, s.deliveryView(d))
	}
	out := answer(http.StatusOK, views)
	if len(found) > size {
		next := url.Values{}
		for key, values := range q {
			next[key] = values
		}
		next.Set("cursor", fmt.Sprintf("v1_%d", found[size-1].ID))
		out.header = http.Header{"Link": {fmt.Sprintf(`<%s>; rel="next"`, s.selfURL(c, next))}}
	}
	return out
}

func (s *Server) deliveryView(d *delivery) obj {
	var i any
	if d.hook.repo == nil {
		if found := s.installationFor(d.repo); found != nil {
			i = found.id
		}
	}
	return obj{
		"id": d.ID, "guid": d.GUID, "delivered_at": stamp(d.At), "redelivery": d.Redelivery,
		"duration": float64(d.Duration.Milliseconds()) / 1000, "status": d.Status, "status_code": d.StatusCode,
		"event": d.Event, "action": orNull(d.Action), "installation_id": i, "repository_id": d.repo.id,
		"throttled_at": nil,
	}
}

func (s *Server) findDelivery(c *call) *delivery {
	h := s.hookOf(c)
	for _, d := range s.deliveries {
		if h != nil && d.hook == h && d.ID == c.id("delivery_id") && d.Done {
			return d
		}
	}
	return nil
}

func (s *Server) getDelivery(c *call) *reply {
	d := s.findDelivery(c)
	if d == nil {
		return notFound()
	}
	return answer(http.StatusOK, with(s.deliveryView(d), obj{
		"url":      d.to.URL,
		"request":  obj{"headers": flat(d.sent), "payload": d.Payload},
		"response": obj{"headers": flat(d.back), "payload": d.Response},
	}))
}

func flat(h http.Header) obj {
	out := obj{}
	for key, values := range h {
		out[key] = strings.Join(values, ", ")
	}
	return out
}

func (s *Server) redeliver(c *call) *reply {
	d := s.findDelivery(c)
	if d == nil {
		return notFound()
	}
	if err := s.again(d); err != nil {
		return problem(http.StatusUnprocessableEntity, "This delivery can no longer be redelivered.", obj{"errors": []any{}})
	}
	return answer(http.StatusAccepted, obj{})
}

// guid is a random UUID, as deliveries and requests have.
func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // It never fails; see its documentation.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// randomText is n letters and digits.
func randomText(n int) string {
	text := ""
	for len(text) < n {
		text += rand.Text()
	}
	return text[:n]
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
