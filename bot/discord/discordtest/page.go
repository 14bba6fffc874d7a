package discordtest

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed web
var webFiles embed.FS

// contentPolicy keeps the page from loading or running anything that did not
// come with it. Styles in it set colours of embeds and names.
const contentPolicy = "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

var pages = sync.OnceValues(func() (*template.Template, error) {
	return template.New("").ParseFS(webFiles, "web/*.html")
})

// servePage answers browsers.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	path := r.URL.Path
	switch {
	case path == "/":
		s.render(w, "index.html", obj{"Name": s.opts.Name, "Theme": theme(r)})
	case strings.HasPrefix(path, "/-/"):
		w.Header().Set("Cache-Control", "no-cache")
		http.ServeFileFS(w, r, webFiles, "web/"+strings.TrimPrefix(path, "/-/"))
	case path == "/page/live":
		s.serveLive(w, r)
	case path == "/page/view":
		s.serveView(w, r)
	case path == "/page/suggest":
		answer(w, http.StatusOK, s.menu(r.FormValue("as"), r.FormValue("channel"), r.FormValue("text")))
	case strings.HasPrefix(path, "/page/message/"):
		s.serveMessage(w, r)
	case strings.HasPrefix(path, "/page/"):
		s.serveAct(w, r, strings.TrimPrefix(path, "/page/"))
	default:
		http.NotFound(w, r)
	}
}

// theme is that of the page: dark, as Discord is, unless "light" is asked for.
func theme(r *http.Request) string {
	if r.FormValue("theme") == "light" {
		return "light"
	}
	return "dark"
}

func (s *Server) render(w http.ResponseWriter, name string, data any) {
	var buf bytes.Buffer
	if err := execute(&buf, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", contentPolicy)
	w.Header().Set("Cache-Control", "no-store")
	_, _ = buf.WriteTo(w) // The client is gone; there is nobody to tell.
}

func execute(buf *bytes.Buffer, name string, data any) error {
	t, err := pages()
	if err != nil {
		return err
	}
	return t.ExecuteTemplate(buf, name, data)
}

// serveMessage draws one message alone, for pictures: /page/message/CHANNEL/ID.
// With bare=1 there is nothing around it; as=USER is whose eyes it is seen with,
// who must be the one that an ephemeral message is for.
func (s *Server) serveMessage(w http.ResponseWriter, r *http.Request) {
	channelID, id, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/page/message/"), "/")
	s.mu.Lock()
	m := s.messages[id]
	u := s.users[r.FormValue("as")]
	if m == nil || m.channel.id != channelID || m.to != nil && u != nil && m.to != u {
		s.mu.Unlock()
		http.NotFound(w, r)
		return
	}
	shown := s.draw(m, u)
	name := m.channel.name
	s.mu.Unlock()
	s.render(w, "alone.html", obj{"Message": shown, "Channel": name, "Bare": r.FormValue("bare") == "1", "Theme": theme(r)})
}

// serveLive tells a page about each change, so that it fetches itself anew.
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if _, err := fmt.Fprint(w, "data: changed\n\n"); err != nil || flush.Flush() != nil {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		}
		// Many changes at once are told as one.
		select {
		case <-time.After(40 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}

// act is what the page asks for.
type act struct {
	As          string            `json:"as"`
	Channel     string            `json:"channel"`
	Text        string            `json:"text"`
	Message     string            `json:"message"`
	ID          string            `json:"id"` // a custom_id
	Command     string            `json:"command"`
	Interaction string            `json:"interaction"`
	Values      map[string]string `json:"values"`
	Choice      []string          `json:"choice"`
}

// serveAct does what somebody did on the page, as the person whom they act as.
func (s *Server) serveAct(w http.ResponseWriter, r *http.Request, what string) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		answer(w, http.StatusMethodNotAllowed, obj{"error": "This is for the page alone."})
		return
	}
	// Another site's page must not act in somebody's name.
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		answer(w, http.StatusForbidden, obj{"error": err.Error()})
		return
	}
	var a act
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&a); err != nil {
		answer(w, http.StatusBadRequest, obj{"error": "The body is none."})
		return
	}
	var in Interaction
	var err error
	switch what {
	case "type":
		if strings.HasPrefix(a.Text, "/") {
			in, err = s.Command(a.As, a.Channel, a.Text)
		} else {
			_, err = s.Say(a.As, a.Channel, a.Text)
		}
	case "click":
		in, err = s.Click(a.As, a.Message, a.ID)
	case "choose":
		in, err = s.Choose(a.As, a.Message, a.ID, a.Choice...)
	case "menu":
		in, err = s.MessageCommand(a.As, a.Message, a.Command)
	case "submit":
		in, err = s.Submit(a.As, a.Interaction, a.Values)
	case "close":
		s.CloseModal(a.Interaction)
	case "dismiss":
		s.Dismiss(a.Message)
	default:
		err = errors.New("there is nothing of that name")
	}
	if err != nil {
		answer(w, http.StatusUnprocessableEntity, obj{"error": strings.TrimPrefix(err.Error(), "discordtest: ")})
		return
	}
	answer(w, http.StatusOK, obj{"interaction": in.ID, "failed": in.Failed})
}

// suggestion is a line above the composer.
type suggestion struct {
	Insert string `json:"insert"` // the composer's text, once it is chosen
	Label  string `json:"label"`
	Hint   string `json:"hint"`
	Kind   string `json:"kind"` // command, option, choice
}

// menu is what the composer offers for what was typed so far.
func (s *Server) menu(as, channelID, text string) []suggestion {
	out := []suggestion{}
	s.mu.Lock()
	ch := s.channels[channelID]
	if ch == nil || !strings.HasPrefix(text, "/") {
		s.mu.Unlock()
		return out
	}
	out = append(out, s.paths(ch, text)...)
	t, ok := s.completing(ch, text)
	var options []suggestion
	if whole, err := s.read(ch, text); err == nil {
		options = whole.offer(text)
	}
	s.mu.Unlock()
	if ok {
		focused, _ := focus(t.given)
		choices, err := s.Suggest(as, channelID, text)
		if err != nil {
			return append(out, suggestion{Insert: text, Label: strings.TrimPrefix(err.Error(), "discordtest: "), Kind: "error"})
		}
		partial, _ := focused.Value.(string)
		stem := strings.TrimSuffix(text, partial)
		for _, c := range choices {
			value := fmt.Sprint(c.Value)
			if strings.ContainsAny(value, " ") {
				value = `"` + value + `"`
			}
			out = append(out, suggestion{Insert: stem + value + " ", Label: c.Name, Hint: focused.Name, Kind: "choice"})
		}
	}
	return append(out, options...)
}

// paths are the commands and subcommands that begin with what was typed.
func (s *Server) paths(ch *channel, text string) []suggestion {
	var out []suggestion
	var walk func(prefix, hint string, options []option)
	walk = func(prefix, hint string, options []option) {
		if len(options) > 0 && options[0].nests() {
			for _, o := range options {
				walk(prefix+" "+o.Name, o.Description, o.Options)
			}
			return
		}
		if strings.HasPrefix(prefix, text) {
			out = append(out, suggestion{Insert: prefix + " ", Label: prefix, Hint: hint, Kind: "command"})
		}
	}
	for _, cmd := range s.usable(ch) {
		if cmd.Type == commandChat {
			walk("/"+cmd.Name, cmd.Description, cmd.Options)
		}
	}
	return out
}

// offer lists the options that are left to give.
func (t *typing) offer(text string) []suggestion {
	if !strings.HasSuffix(text, " ") {
		return nil
	}
	var out []suggestion
	for _, o := range t.options {
		if _, given := t.typed[o.Name]; given {
			continue
		}
		hint := o.Description
		if !o.Required {
			hint += " (optional)"
		}
		out = append(out, suggestion{Insert: text + o.Name + ":", Label: o.Name, Hint: hint, Kind: "option"})
	}
	return out
}

// people are those whom the page can act as, with the bot's guilds first.
func (s *Server) people() []*user {
	var all []*user
	for _, id := range sortedKeys(s.users) {
		if u := s.users[id]; !u.bot {
			all = append(all, u)
		}
	}
	slices.SortStableFunc(all, func(a, b *user) int { return strings.Compare(a.name, b.name) })
	return all
}
