package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

// ndjson is the media type of one JSON value a line.
const ndjson = "application/x-ndjson"

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

type auditQuery struct {
	App         string `query:"app" maxLength:"40" doc:"Only this app's."`
	Environment string `query:"environment" maxLength:"81" doc:"Only this environment's, by its whole name; berth is the chain of what belongs to none." example:"shop/pr-42"`
	Cursor      string `query:"cursor" maxLength:"200" doc:"next of the page before."`
	Limit       int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"Records on a page. With NDJSON there are no pages: all are sent."`
	Accept      string `header:"Accept"`
}

func (a *API) auditOperation(h huma.API) {
	op := operation("list-audit", http.MethodGet, "/api/v1/audit", "List audit records", http.StatusUnprocessableEntity)
	op.Description = "Environment by environment, in the order of their names, the oldest record first. The records of an environment are a chain: each holds the hash of the one before it."
	schemas := h.OpenAPI().Components.Schemas
	op.Responses = map[string]*huma.Response{"200": {Description: "The records.", Content: map[string]*huma.MediaType{
		"application/json": {Schema: schemas.Schema(typeOf[Page[actions.Record]](), true, "AuditPage")},
		ndjson:             {Schema: &huma.Schema{Type: huma.TypeString, Description: "One record a line. When a record cannot be read, the others are sent all the same; then the last line is a problem that names it, and the connection breaks off."}},
	}}}
	huma.Register(h, op, a.audit)

	verify := operation("verify-audit", http.MethodGet, "/api/v1/audit/verify", "Check that the audit is as it was written", http.StatusNotFound, http.StatusUnprocessableEntity)
	verify.Description = "Every chain is checked against itself and against the anchors. What is found is told; it is no error of the call. An app or environment that has no chain is one."
	huma.Register(h, verify, a.verify)
}

func (a *API) audit(ctx context.Context, q *auditQuery) (*huma.StreamResponse, error) {
	export := strings.Contains(q.Accept, ndjson)
	r := &auditReader{service: a.service, app: q.App, through: export}
	if err := r.begin(q); err != nil {
		return nil, a.fail(ctx, err)
	}
	first, err := r.read(ctx, q.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	if export && r.done && len(first) == 0 && r.broken != nil {
		return nil, a.fail(ctx, r.broken)
	}
	if export {
		return &huma.StreamResponse{Body: func(hc huma.Context) { a.auditLines(hc, r, first) }}, nil //nolint:contextcheck // a stream has huma's context of the request
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		hc.SetHeader("Content-Type", "application/json")
		_ = json.NewEncoder(hc.BodyWriter()).Encode(Page[actions.Record]{Items: first, Next: r.cursor()})
	}}, nil
}

// auditLines sends all records, a page at a time. What cannot be read does not
// keep the rest back: a last line, which is no record but a problem, names it.
// A stream that breaks off lacks the end, which the chain of hashes shows.
func (a *API) auditLines(hc huma.Context, r *auditReader, records []actions.Record) {
	ctx := hc.Context()
	_, w := humago.Unwrap(hc)
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", ndjson)
	lines := json.NewEncoder(w)
	defer hurry(ctx, control)()
	for {
		if patience(ctx, control) != nil {
			return
		}
		for i := range records {
			if err := lines.Encode(&records[i]); err != nil {
				return
			}
		}
		err := r.broken
		if r.cursor() != "" {
			if control.Flush() != nil {
				return
			}
			records, err = r.read(ctx, 1000)
		} else if err == nil {
			return
		}
		if err != nil {
			if lines.Encode(a.fail(ctx, err)) == nil {
				_ = control.Flush() // else the client lacks the reason alone
			}
			panic(http.ErrAbortHandler) // the one way to show the client that this is not all
		}
	}
}

// auditReader reads the chains of many environments one after another.
type auditReader struct {
	service *bot.Service
	app     string
	only    bool         // one environment alone
	env     actions.Name // whose chain is read; zero before the first
	seq     int64        // its last record that was read
	done    bool
	through bool  // go on behind what cannot be read, and keep the first such error
	broken  error // what cannot be read, nil when all could
}

// begin puts the reader where the query says. Its cursor is "SEQ app/name".
func (r *auditReader) begin(q *auditQuery) error {
	if q.Environment != "" {
		name, err := actions.ParseChain(q.Environment)
		if err != nil {
			return err
		}
		r.env, r.only = name, true
	}
	if q.Cursor == "" {
		return nil
	}
	digits, text, _ := strings.Cut(q.Cursor, " ")
	seq, err := strconv.ParseInt(digits, 10, 64)
	name, nameErr := actions.ParseChain(text)
	if err != nil || seq < 0 || nameErr != nil || (r.only && name != r.env) {
		return actions.Errorf("api.audit", actions.CodeInvalid, "That cursor is not one of this list; leave it out to begin with the oldest record.")
	}
	r.env, r.seq = name, seq
	return nil
}

func (r *auditReader) cursor() string {
	if r.done {
		return ""
	}
	return strconv.FormatInt(r.seq, 10) + " " + actions.ChainName(r.env)
}

// read returns up to limit records.
func (r *auditReader) read(ctx context.Context, limit int) ([]actions.Record, error) {
	records := []actions.Record{}
	for len(records) < limit && !r.done {
		if !r.env.IsZero() {
			more, to, err := r.service.AuditFrom(ctx, r.env, r.seq, limit-len(records))
			if err = r.pass(err); err != nil {
				return nil, err
			}
			records = append(records, more...)
			if to > r.seq {
				r.seq = to
				continue
			}
		}
		if err := r.turn(ctx); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// pass is err, nil when it is about something that the reader goes on behind.
func (r *auditReader) pass(err error) error {
	if _, named := errors.AsType[*actions.AuditBreak](err); !named || !r.through {
		return err
	}
	if r.broken == nil {
		r.broken = err
	}
	return nil
}

// turn goes on to the next environment.
func (r *auditReader) turn(ctx context.Context) error {
	if r.only {
		r.done = true
		return nil
	}
	next, err := r.service.Chains(ctx, r.app, r.env, 1)
	if err != nil {
		return err
	}
	if len(next) == 0 {
		r.done = true
		return nil
	}
	r.env, r.seq = next[0], 0
	return nil
}
