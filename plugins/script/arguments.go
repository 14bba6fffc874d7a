package script

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-dev/berth/plugins/sdk"
)

// file is the path of one of Octopod's scripts; "" when there is none.
func (j *job) file(name string) string {
	if file, ok := j.set.Commands[name]; ok {
		return filepath.Join(j.set.Dir, file)
	}
	for _, file := range octopodScripts[name] {
		if path := filepath.Join(j.set.Dir, file); isFile(path) {
			return path
		}
	}
	return ""
}

func (j *job) octopodPath(name string) (string, error) {
	path := j.file(name)
	if path == "" {
		return "", sdk.Invalid("There is no script %s in `dir`; it is looked for as %s, or name it under `commands`.", name, strings.Join(octopodScripts[name], " or "))
	}
	if !inside(j.set.Dir, path) {
		return "", sdk.Invalid("`commands.%s` leads out of `dir`; use a file inside of it.", name)
	}
	if !isFile(path) {
		return "", sdk.Invalid("`commands.%s` names the file %q, which is not in `dir`.", name, clip(j.set.Commands[name], 100))
	}
	return path, nil
}

func (j *job) octopod(ctx context.Context, name string, c configs) (result, error) {
	return j.octopodAsk(ctx, ask{name: name}, c)
}

// octopodAnswer runs a script whose standard output is its answer.
func (j *job) octopodAnswer(ctx context.Context, name string, c configs, tell bool) (result, error) {
	return j.octopodAsk(ctx, ask{name: name, answers: true, quiet: !tell}, c)
}

// octopodQuiet runs a script that is asked again and again.
func (j *job) octopodQuiet(ctx context.Context, name string, c configs) (result, error) {
	return j.octopodAsk(ctx, ask{name: name, quiet: true}, c)
}

func (j *job) octopodAsk(ctx context.Context, a ask, c configs) (result, error) {
	path, err := j.octopodPath(a.name)
	if err != nil {
		return result{}, err
	}
	args, err := j.arguments(ctx, a.name, c)
	if err != nil {
		return result{}, err
	}
	a.path, a.args = path, args
	return j.do(ctx, a)
}

// withTag are the scripts of version 1 that take --tag.
var withTag = []string{"create", "update", "tag_check"}

// arguments are a script's, in Octopod's order.
func (j *job) arguments(ctx context.Context, name string, c configs) ([]string, error) {
	args := j.named()
	app, deployment := "--application-config", "--deployment-config"
	if j.set.Contract == contractV1 {
		if slices.Contains(withTag, name) {
			args = append(args, "--tag", c.tag)
		}
		if name != "create" && name != "update" {
			return args, nil
		}
		app, deployment = "--app-env-override", "--deployment-override"
	}
	for _, list := range []struct {
		flag string
		of   []config
	}{{app, c.app}, {deployment, c.deployment}} {
		more, err := j.configArguments(ctx, list.flag, list.of)
		if err != nil {
			return nil, err
		}
		args = append(args, more...)
	}
	return args, nil
}

func (j *job) configArguments(ctx context.Context, flag string, of []config) ([]string, error) {
	var args []string
	for _, c := range of {
		if c.Deleted {
			continue
		}
		value, err := j.resolve(ctx, c.Value)
		if err != nil {
			return nil, err
		}
		args = append(args, flag, c.Key+"="+value)
	}
	return args, nil
}

func (j *job) where() []string {
	return []string{"--project-name", j.set.Project, "--base-domain", j.set.BaseDomain, "--namespace", j.set.Namespace}
}

func (j *job) named() []string { return append(j.where(), "--name", j.set.Name) }
