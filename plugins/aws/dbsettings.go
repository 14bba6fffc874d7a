package aws

import (
	"regexp"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// dbSchema are the keys that `rds` and `aurora` share.
func dbSchema() map[string]any {
	return map[string]any{
		"version":             text("The engine's version, or its beginning: 16."),
		"database":            text("The database that is made in it."),
		"username":            text("Its first user; berth when left out."),
		"port":                number("The port; the engine's own when left out.", 1150, 65535),
		"subnet_group":        text("The DB subnet group."),
		"security_groups":     list("IDs of VPC security groups.", text("As sg-0123456789abcdef0.")),
		"parameter_group":     text("The parameter group; the engine's own when left out."),
		"backup_days":         number("For how many days AWS keeps automatic backups; 1 when left out.", 0, 35),
		"public":              flag("Give it an address in the internet."),
		"deletion_protection": flag("Have AWS refuse to delete it, and Berth with it."),
		"kms_key":             text("The KMS key that encrypts it; AWS's own when left out."),
		"snapshot":            text("The name or ARN of a snapshot that it is made from."),
		"from": object("Another database, of which the newest snapshot is taken.", map[string]any{
			"environment": text("Of the environment with this name."), "app": text("Of this app; the part's own when left out."),
			"part": text("Of this part; the part's own name when left out."), "name": text("The database's own name in AWS, in place of the others."),
		}),
	}
}

var dbEngine = regexp.MustCompile(`^[a-z][a-z0-9-]{1,40}$`)

// openDatabase reads the settings of either sort.
func openDatabase(s *session, in input, kind, word string) (*database, error) {
	t := &database{s: s, word: word, kind: kind, name: firstOf(in.name, s.name(dbNameLimit))}
	if err := strict(in.settings, &t.dbSettings, "`"+kind+"` of an aws part"); err != nil {
		return nil, err
	}
	if in.settings == nil {
		return t, nil
	}
	sources := 0
	if t.Snapshot != "" {
		sources++
	}
	if f := t.From; f != nil {
		sources++
		if (f.Name == "") == (f.Environment == "") || f.Name != "" && (f.App != "" || f.Part != "") {
			return nil, sdk.Invalid("`from` of `%s` names another environment, or the `name` of a database in AWS.", kind)
		}
		if own := s.owner; f.Environment == own.env && firstOf(f.App, own.app) == own.app && firstOf(f.Part, own.part) == own.part {
			return nil, sdk.Invalid("`from` of `%s` names this environment itself; name another.", kind)
		}
	}
	switch {
	case sources > 1:
		return nil, sdk.Invalid("`%s` is made from a `snapshot` or `from` another database, not both.", kind)
	case sources == 0 && t.Engine == "":
		return nil, sdk.Invalid("`%s` needs an `engine`, a `snapshot`, or another database that it is made `from`.", kind)
	case t.Engine != "" && !dbEngine.MatchString(t.Engine):
		return nil, sdk.Invalid("%q is no engine; write it as postgres.", clip(t.Engine, 40))
	case kind == "rds" && strings.HasPrefix(t.Engine, "aurora"):
		return nil, sdk.Invalid("%s is an engine of Aurora: use `aurora` in place of `rds`.", clip(t.Engine, 40))
	case kind == "aurora" && t.Engine != "" && !slices.Contains(auroraEngines, t.Engine):
		return nil, sdk.Invalid("%q is no engine of Aurora: it is %s.", clip(t.Engine, 40), strings.Join(auroraEngines, " or "))
	case t.MaxStorage != 0 && t.MaxStorage <= t.Storage:
		return nil, sdk.Invalid("`max_storage` of `%s` has to be more than `storage`.", kind)
	case t.MinCapacity > t.MaxCapacity && t.MaxCapacity != 0:
		return nil, sdk.Invalid("`min_capacity` of `%s` is more than its `max_capacity`.", kind)
	}
	return t, nil
}

// auroraEngines are the two that Aurora has.
var auroraEngines = []string{"aurora-postgresql", "aurora-mysql"}

// withFinals adds to what runs the last snapshots of what is gone. What a
// cleanup left is told with its time.
func withFinals(s *session, live []found, snapshots []snapshot) []found {
	out := live
	for _, n := range snapshots {
		if !n.final() || !s.ours(n.tags) || n.status == "deleting" {
			continue
		}
		until, _ := retainedUntil(n.tags)
		one := found{name: n.of, owner: tagsOwner(n.tags), createdAt: n.createdAt, retained: until}
		i := slices.IndexFunc(out, func(f found) bool { return f.name == one.name })
		switch {
		case i < 0:
			out = append(out, one)
		case one.retained.Before(out[i].retained):
			out[i].retained = one.retained // the first of them that is due counts
		}
	}
	return out
}
