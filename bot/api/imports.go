package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
)

// Import is an environment that another tool has made.
type Import struct {
	App       string            `json:"app" minLength:"2" maxLength:"40" example:"shop"`
	Name      string            `json:"name" minLength:"2" maxLength:"40" example:"orca"`
	State     string            `json:"state" enum:"Running,Archived,Failure" doc:"How it is now."`
	Set       map[string]string `json:"set,omitempty" maxProperties:"500" doc:"What it was deployed with; keys of the app's allow_set."`
	Links     []actions.Link    `json:"links,omitempty" maxItems:"50"`
	Owner     string            `json:"owner,omitempty" maxLength:"200" doc:"Who had it made."`
	Note      string            `json:"note,omitempty" maxLength:"1000" doc:"Where it comes from, for the audit."`
	CreatedAt *time.Time        `json:"created_at,omitempty"`
	History   []ImportedAction  `json:"history,omitempty" maxItems:"500" doc:"What was done to it, the oldest first."`
}

// ImportedAction is something that the other tool did.
type ImportedAction struct {
	Verb  string    `json:"verb" enum:"deploy,archive,restore,cleanup,rollback,restart,sleep,wake,extend"`
	By    string    `json:"by,omitempty" maxLength:"200"`
	At    time.Time `json:"at" doc:"When it ended."`
	Took  float64   `json:"took,omitempty" minimum:"0" maximum:"31536000" doc:"In seconds."`
	OK    bool      `json:"ok"`
	Error string    `json:"error,omitempty" maxLength:"4000"`
}

// maxImport is how many bytes the body of an import may have: a long past is in it.
const maxImport = 2 << 20

type importInput struct{ Body Import }

// importOperations registers what other tools' environments come in by.
func (a *API) importOperations(h huma.API) {
	op := operation("import-environment", http.MethodPost, "/api/v1/imports", "Take an environment of another tool under Berth's care",
		http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity)
	op.DefaultStatus, op.MaxBodyBytes = http.StatusCreated, maxImport
	op.Description = "Needs the role admin. Nothing is run: the record is made, and the next action on it is Berth's. One of a name that there is already is answered 409."
	huma.Register(h, op, a.importEnvironment)
}

func (a *API) importEnvironment(ctx context.Context, in *importInput) (*body[Environment], error) {
	b := in.Body
	name, err := actions.ParseName(b.App + "/" + b.Name)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	i := actions.Imported{Name: name, State: actions.State(b.State), Set: b.Set, Links: b.Links, Owner: b.Owner, Note: b.Note}
	if b.CreatedAt != nil {
		i.CreatedAt = *b.CreatedAt
	}
	for _, h := range b.History {
		i.History = append(i.History, actions.ImportedAction{
			Verb: actions.Verb(h.Verb), By: h.By, At: h.At, Took: time.Duration(h.Took * float64(time.Second)), OK: h.OK, Error: h.Error,
		})
	}
	env, err := a.service.Import(ctx, from(ctx).input("", ""), i)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	return &body[Environment]{toEnvironment(a.service.App(name.App), env, nil)}, nil
}
