package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/berth-dev/berth/actions"
	"github.com/berth-dev/berth/bot"
)

type historyQuery struct {
	App   string `path:"app" maxLength:"40"`
	Name  string `path:"name" maxLength:"40"`
	Limit int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
}

type variablePath struct {
	App  string `path:"app" maxLength:"40"`
	Name string `path:"name" maxLength:"40"`
	Key  string `path:"key" maxLength:"128" doc:"The variable's name." example:"LOG_LEVEL"`
}

type variableInput struct {
	App  string `path:"app" maxLength:"40"`
	Name string `path:"name" maxLength:"40"`
	Key  string `path:"key" maxLength:"128" doc:"The variable's name." example:"LOG_LEVEL"`
	Body struct {
		Value  *string `json:"value,omitempty" maxLength:"4096" doc:"Berth keeps it and shows it to those who may set it; for what nobody may read there is secret."`
		Secret string  `json:"secret,omitempty" maxLength:"63" doc:"A secret that the app offers, by name, in place of a value." example:"stripe"`
	}
}

// lifeOperations registers what is about an environment's past and its
// variables.
func (a *API) lifeOperations(h huma.API) {
	const env = "/api/v1/environments/{app}/{name}"
	past := operation("list-history", http.MethodGet, env+"/history", "List what was done to an environment, the newest first", http.StatusNotFound, http.StatusUnprocessableEntity)
	past.Description = "The runs that have ended, up to 500 of them. `rollback --to REVISION` goes back to a revision whose run is still kept."
	huma.Register(h, past, a.history)

	vars := operation("list-variables", http.MethodGet, env+"/vars", "List an environment's variables", http.StatusNotFound)
	vars.Description = "Those of the app and those that people set for the environment, as its next deploy would get them. Values are told to those who may set them."
	huma.Register(h, vars, a.variables)

	wrong := []int{http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity}
	set := operation("set-variable", http.MethodPut, env+"/vars/{key}", "Set a variable of an environment", append(wrong, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)...)
	set.Description = "It takes effect with the environment's next deploy. Setting it to what it is changes nothing."
	huma.Register(h, set, a.setVariable)
	unset := operation("unset-variable", http.MethodDelete, env+"/vars/{key}", "Take a variable of an environment back", wrong...)
	unset.Description = "What the app's config gives counts again from the next deploy on. A variable that nobody has set is answered 404."
	unset.DefaultStatus = http.StatusNoContent
	huma.Register(h, unset, a.unsetVariable)
}

func (a *API) history(ctx context.Context, q *historyQuery) (*body[Page[Past]], error) {
	env, err := a.found(ctx, envPath{App: q.App, Name: q.Name})
	if err != nil {
		return nil, err
	}
	entries, err := a.service.History(ctx, env.Name, q.Limit)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := Page[Past]{Items: make([]Past, 0, len(entries))}
	for _, e := range entries {
		page.Items = append(page.Items, toPast(env, e))
	}
	return &body[Page[Past]]{page}, nil
}

func (a *API) variables(ctx context.Context, p *envPath) (*body[Page[Variable]], error) {
	env, err := a.found(ctx, *p)
	if err != nil {
		return nil, err
	}
	all, err := a.service.Variables(ctx, from(ctx).actor, env)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	page := Page[Variable]{Items: make([]Variable, 0, len(all))}
	for _, v := range all {
		page.Items = append(page.Items, toVariable(v))
	}
	return &body[Page[Variable]]{page}, nil
}

func (a *API) setVariable(ctx context.Context, in *variableInput) (*body[Variable], error) {
	value := ""
	switch {
	case in.Body.Value != nil && in.Body.Secret != "", in.Body.Value == nil && in.Body.Secret == "":
		return nil, problem(actions.CodeInvalid, "A variable is set to a value or to a secret; send one of `value` and `secret`.")
	case in.Body.Value != nil:
		value = *in.Body.Value
	}
	env, err := a.changeVariables(ctx, bot.Command{Verb: bot.VerbSet, App: in.App, Env: in.Name, Set: map[string]string{in.Key: value}, Secret: in.Body.Secret})
	if err != nil {
		return nil, err
	}
	all, err := a.service.Variables(ctx, from(ctx).actor, env)
	if err != nil {
		return nil, a.fail(ctx, err)
	}
	for _, v := range all {
		if v.Name == in.Key {
			return &body[Variable]{toVariable(v)}, nil
		}
	}
	return nil, problem(actions.CodeConflict, "It was set, and somebody took it back at once.")
}

func (a *API) unsetVariable(ctx context.Context, in *variablePath) (*struct{}, error) {
	_, err := a.changeVariables(ctx, bot.Command{Verb: bot.VerbUnset, App: in.App, Env: in.Name, Unset: []string{in.Key}})
	return nil, err
}

// changeVariables runs a command about the variables of one environment and answers with
// the environment as it is then. It is not written as a line, which could not
// hold every value.
func (a *API) changeVariables(ctx context.Context, c bot.Command) (*actions.Environment, error) {
	if _, err := a.found(ctx, envPath{App: c.App, Name: c.Env}); err != nil {
		return nil, err
	}
	reply, err := a.service.Do(ctx, from(ctx).input("", ""), c)
	switch {
	case err != nil:
		return nil, a.fail(ctx, err)
	case reply.Tone == bot.ToneRefused:
		return nil, refused(reply)
	}
	return reply.Environment, nil
}
