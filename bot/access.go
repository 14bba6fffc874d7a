package bot

import (
	"context"

	"github.com/berth-dev/berth/actions"
)

// Access is who can do what: whom the config names, what is linked to them, and
// what everybody else may.
type Access struct {
	People   []AccessPerson  `json:"people"`             // whom the config names, sorted by name
	Others   []AccessOthers  `json:"others,omitempty"`   // who may do something without being named
	Channels []AccessChannel `json:"channels,omitempty"` // channels of chat that are for something only
	Rules    []AccessRule    `json:"rules,omitempty"`    // whose agreement is asked for
}

// AccessPerson is somebody whom the config names.
type AccessPerson struct {
	Name        string   `json:"name"`
	Roles       []string `json:"roles,omitempty"`
	Identities  []string `json:"identities,omitempty"`   // those of the config and those that they linked
	May         string   `json:"may"`                    // what any role lets them: MayAct, MayRead or MayNothing
	Decides     []string `json:"decides,omitempty"`      // rules in which their word counts
	BreaksGlass []string `json:"breaks_glass,omitempty"` // rules that they can set aside
	Unseen      []string `json:"unseen,omitempty"`       // groups of which nobody could say now whether they are in them
}

// What somebody may do.
const (
	MayAct     = "everything that no rule or channel forbids"
	MayRead    = "look"
	MayNothing = "nothing"
)

// May is what roles let somebody do.
func May(roles []string) string {
	may := MayNothing
	for _, role := range roles {
		if role != RoleViewer {
			return MayAct
		}
		may = MayRead
	}
	return may
}

// AccessOthers are people by where they are, not by who they are.
type AccessOthers struct {
	Who   string   `json:"who"`
	Where string   `json:"where"` // "github", "slack", "discord"
	Roles []string `json:"roles,omitempty"`
	May   string   `json:"may"`
}

// AccessChannel is a channel that is for some apps or verbs only.
type AccessChannel struct {
	Where   string   `json:"where"` // "slack", "discord"
	Channel string   `json:"channel"`
	Apps    []string `json:"apps,omitempty"`
	Verbs   []string `json:"verbs,omitempty"`
}

// AccessRule is a rule that asks people.
type AccessRule struct {
	Rule       string   `json:"rule"`
	When       string   `json:"when,omitempty"`
	From       []string `json:"from"` // the groups that it asks
	BreakGlass []string `json:"break_glass,omitempty"`
}

// Access tells who can do what. It returns CodeForbidden to those who may only
// look, and CodeUnavailable when Redis does not answer.
func (s *Service) Access(ctx context.Context, actor Actor) (*Access, error) {
	actor, err := s.identify(ctx, actor)
	if err != nil {
		return nil, err
	}
	if May(actor.Roles) != MayAct {
		return nil, actions.Errorf("bot.access", actions.CodeForbidden, "Who can do what is shown to those who may do something themselves; your account may only look.")
	}
	if s.access == nil {
		return nil, actions.Errorf("bot.access", actions.CodeNotFound, "This Berth does not tell who can do what.")
	}
	return s.access(ctx)
}
