package discordtest

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const card = `{"embeds":[{"title":"Deploy shop/pr-7","description":"**Ana** wants it","color":16763904,"fields":[{"name":"Commit","value":"` + "`abc123`" + `","inline":true}]}],
	"components":[{"type":1,"components":[{"type":2,"style":3,"label":"Approve","custom_id":"yes"},{"type":2,"style":4,"label":"Deny","custom_id":"no"},{"type":2,"style":5,"label":"Open","url":"https://shop.example.org"}]}],
	"nonce":"card-1","enforce_nonce":true,"allowed_mentions":{"parse":[]}}`

func TestACommandIsDeferredAnsweredAndFollowedUp(t *testing.T) {
	w := newWorld(t, Options{})
	w.listen()
	w.answers(`{"type":5,"data":{"flags":64}}`)
	in, err := w.Command(w.ana, w.channel, `/berth deploy shop/pr-7 --ref "my branch" --dry-run`)
	w.must(err)
	if in.Callback != 5 || in.Failed != "" {
		t.Fatalf("%+v", in)
	}
	sub := w.last()["data"].(obj)["options"].([]any)[0].(obj)
	options := sub["options"].([]any)
	if sub["name"] != "deploy" || len(options) != 3 || options[1].(obj)["value"] != "my branch" || options[2].(obj)["value"] != true {
		t.Errorf("%v", sub)
	}
	if seen := w.Ephemerals(w.ana); len(seen) != 1 || !seen[0].Thinking || len(w.Ephemerals(w.ben)) != 0 || len(w.Messages(w.channel)) != 0 {
		t.Errorf("%+v", seen)
	}
	hook := "webhooks/" + w.ApplicationID() + "/" + in.Token()
	w.ok(w.do("PATCH", hook+"/messages/@original", "application/json", []byte(`{"content":"On it."}`), ""), 200)
	if seen := w.Ephemerals(w.ana); seen[0].Thinking || seen[0].Content != "On it." {
		t.Errorf("%+v", seen)
	}
	w.ok(w.do("POST", hook, "application/json", []byte(`{"content":"Done.","flags":64}`), ""), 200)
	if seen := w.Ephemerals(w.ana); len(seen) != 2 || seen[1].Content != "Done." {
		t.Errorf("%+v", seen)
	}
	w.later(16 * time.Minute)
	if r := w.do("PATCH", hook+"/messages/@original", "application/json", []byte(`{"content":"Late."}`), ""); r.code() != 50027 {
		t.Errorf("%s", r.raw)
	}
}

func TestACardIsPostedOnceEditedClickedAndAsksWhy(t *testing.T) {
	w := newWorld(t, Options{})
	w.listen()
	first := w.ok(w.api("POST", "channels/"+w.channel+"/messages", card), 200)
	again := w.ok(w.api("POST", "channels/"+w.channel+"/messages", card), 200)
	if first.body["id"] != again.body["id"] || len(w.Messages(w.channel)) != 1 {
		t.Error("the nonce was not enforced")
	}
	id := first.body["id"].(string)
	w.answers(`{"type":9,"data":{"title":"Deny","custom_id":"why","components":[{"type":1,"components":[{"type":4,"custom_id":"reason","style":2,"label":"Why?","min_length":3}]}]}}`)
	in, err := w.Click(w.ben, id, "Deny")
	w.must(err)
	if in.Modal == nil || !in.Modal.Open || in.Modal.Fields[0].Label != "Why?" || w.last()["message"].(obj)["id"] != id {
		t.Fatalf("%+v", in)
	}
	if _, err := w.Submit(w.ben, in.ID, map[string]string{"Why?": "x"}); err == nil {
		t.Error("a text that is too short was sent")
	}
	w.answers(`{"type":7,"data":{"components":[],"content":"Denied by Ben"}}`)
	done, err := w.Submit(w.ben, in.ID, map[string]string{"Why?": "not now"})
	w.must(err)
	if m := w.Message(id); done.Failed != "" || m.Content != "Denied by Ben" || len(m.Components) != 0 || m.Edits != 1 || len(m.Embeds) != 1 {
		t.Errorf("%+v %+v", done, m)
	}
	if _, err := w.Click(w.ben, id, "Approve"); err == nil {
		t.Error("a button that is gone was clicked")
	}
	thread := w.ok(w.api("POST", "channels/"+w.channel+"/messages/"+id+"/threads", `{"name":"Progress"}`), 201)
	w.ok(w.api("POST", "channels/"+thread.body["id"].(string)+"/messages", `{"content":"<@987> <@&`+w.admin+`> <@988>","allowed_mentions":{"users":["987"],"roles":["`+w.admin+`"]}}`), 200)
	if pings := w.Messages(w.Threads(w.channel)[0])[0].Pings; !slices.Equal(pings, []string{"987", w.admin}) {
		t.Errorf("%v", pings)
	}
	w.ok(w.api("GET", "channels/"+w.channel+"/messages/"+id, ""), 200)
	w.DeleteMessage(id)
	if r := w.api("PATCH", "channels/"+w.channel+"/messages/"+id, `{"content":"x"}`); r.code() != 10008 {
		t.Errorf("%s", r.raw)
	}
}

func TestSuggestionsComeWhileSomebodyTypes(t *testing.T) {
	w := newWorld(t, Options{})
	w.listen()
	w.answers(`{"type":8,"data":{"choices":[{"name":"shop/pr-7","value":"shop/pr-7"}]}}`)
	for _, text := range []string{"/berth deploy shop", "/berth deploy environment:shop"} {
		choices, err := w.Suggest(w.ana, w.channel, text)
		w.must(err)
		option := w.last()["data"].(obj)["options"].([]any)[0].(obj)["options"].([]any)[0].(obj)
		if len(choices) != 1 || option["focused"] != true || option["value"] != "shop" {
			t.Errorf("%s: %v %v", text, choices, option)
		}
	}
	if choices, err := w.Suggest(w.ana, w.channel, "/berth approve x"); choices != nil || err != nil {
		t.Error("an option without autocomplete was completed")
	}
}

func TestAMessageCommandCarriesItsMessage(t *testing.T) {
	w := newWorld(t, Options{})
	w.listen()
	w.answers(`{"type":4,"data":{"content":"This is it.","flags":64}}`)
	id := w.id(w.Say(w.ben, w.channel, "look at @berth"))
	in, err := w.MessageCommand(w.ana, id, "Details")
	w.must(err)
	if in.Failed != "" || w.last()["data"].(obj)["target_id"] != id {
		t.Errorf("%+v %v", in, w.last())
	}
}

func TestFilesAreSentInParts(t *testing.T) {
	w := newWorld(t, Options{})
	body := "--b\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{\"content\":\"The plan\",\"attachments\":[{\"id\":0,\"description\":\"what changes\"}]}\r\n" +
		"--b\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"plan.diff\"\r\nContent-Type: text/plain\r\n\r\n+one\n-two\n\r\n--b--\r\n"
	r := w.ok(w.do("POST", "channels/"+w.channel+"/messages", "multipart/form-data; boundary=b", []byte(body), "Bot "+w.Token()), 200)
	m := w.Message(r.body["id"].(string))
	if len(m.Attachments) != 1 || m.Attachments[0].Text() != "+one\n-two\n" || m.Attachments[0].Description != "what changes" {
		t.Errorf("%+v", m)
	}
	res, err := http.Get(m.Attachments[0].URL)
	w.must(err)
	defer res.Body.Close()
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
		t.Error(res.Status)
	}
}
