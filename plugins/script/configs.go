package script

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/berth-dev/berth/plugins/sdk"
)

// configs are what Octopod's scripts are given: in version 2 the full
// configuration, in version 1 the overrides alone.
type configs struct {
	tag             string
	app, deployment []config
}

// now is the time for what is forgotten after days.
func (j *job) now() time.Time { return time.Now() }

// fullConfigs asks the scripts for the defaults and lays the overrides over
// them.
func (j *job) fullConfigs(ctx context.Context) (configs, error) {
	c := configs{tag: j.set.Tag, app: overlay(j.set.App, nil), deployment: overlay(j.set.Deployment, nil)}
	if j.set.Contract == contractV1 {
		return c, nil
	}
	defaults, err := j.defaults(ctx, "deployment_overrides", j.where())
	if err != nil {
		return c, err
	}
	c.tag = ""
	c.deployment = overlay(j.set.Deployment, defaults)
	args, err := j.configArguments(ctx, "--deployment-config", c.deployment)
	if err != nil {
		return c, err
	}
	args = append(args, j.where()...)
	if defaults, err = j.defaults(ctx, "app_overrides", args); err != nil {
		return c, err
	}
	c.app = overlay(j.set.App, defaults)
	j.unknownKeys(ctx, "deployment_keys", j.where(), j.set.Deployment)
	j.unknownKeys(ctx, "app_keys", args, j.set.App)
	return c, nil
}

// lastConfigs are those that the deployment was last brought up with, which is
// what taking it away is about; the present ones when none are remembered.
func (j *job) lastConfigs(ctx context.Context) (configs, error) {
	if len(j.rec.App) > 0 || len(j.rec.Deploy) > 0 || j.rec.Tag != "" {
		return configs{tag: j.rec.Tag, app: j.rec.App, deployment: j.rec.Deploy}, nil
	}
	return j.fullConfigs(ctx)
}

// defaults runs one of the *_overrides. As in Octopod their exit status does not
// count; here it is at least told.
func (j *job) defaults(ctx context.Context, name string, args []string) ([]config, error) {
	path := j.file(name)
	if path == "" {
		return nil, nil
	}
	r, err := j.do(ctx, ask{name: name, path: path, args: args, answers: true})
	if err != nil {
		return nil, err
	}
	if r.code != 0 {
		j.say(fmt.Sprintf("%s: exit status %d; what it printed is taken all the same", name, r.code))
	}
	defaults, err := parseConfigs(r.stdout)
	if err != nil {
		return nil, sdk.Downstream("What %s printed cannot be used: %s.", name, j.mask.text(err.Error(), 0))
	}
	return defaults, nil
}

// unknownKeys tells of overrides that the scripts do not know. It keeps nobody
// from using them.
func (j *job) unknownKeys(ctx context.Context, name string, args []string, overrides []config) {
	path := j.file(name)
	if path == "" || len(overrides) == 0 || j.step.Brief || j.out == nil {
		return
	}
	r, err := j.do(ctx, ask{name: name, path: path, args: args, answers: true, quiet: true})
	if err != nil {
		return
	}
	keys := parseKeys(r.stdout)
	for _, c := range overrides {
		if len(keys) > 0 && !keys[c.Key] {
			j.say(fmt.Sprintf("%s does not list the override %s", name, clip(c.Key, 100)))
		}
	}
}

func (j *job) say(line string) {
	if j.out != nil {
		j.out.Log(line)
	}
}

// prepareHome runs init, once for each state of the scripts, in a home that all
// their runs then share: what it writes there, such as a deploy key, is for the
// other scripts. Without init each run has a home of its own.
func (j *job) prepareHome(ctx context.Context) error {
	path := j.file("init")
	if path == "" {
		return nil
	}
	sum, err := digest(j.set.Dir)
	if err != nil {
		return err
	}
	whole := sha256.Sum256([]byte(j.step.Installation + "\x00" + j.step.App + "\x00" + j.step.Part + "\x00" + sum))
	root := filepath.Join(j.place.data, "homes")
	home := filepath.Join(root, hex.EncodeToString(whole[:12]))
	release, err := j.x.oneAtATime(ctx, home)
	if err != nil {
		return err
	}
	defer release()
	ready := filepath.Join(home, ".berth-init-done")
	if isFile(ready) {
		now := j.now()
		_ = os.Chtimes(ready, now, now)
		j.home = home
		return nil
	}
	fresh, err := freshHome(root)
	if err != nil {
		return unusable(j.place.data, err)
	}
	defer removeAll(fresh)
	j.home = fresh
	r, err := j.do(ctx, ask{name: "init", path: path})
	if err != nil {
		return err
	}
	if r.code != 0 {
		return sdk.Downstream("init failed with exit status %d, and nothing else was run.%s", r.code, behind(lastSaid(r.last))).WithRetry()
	}
	if err := os.WriteFile(filepath.Join(fresh, filepath.Base(ready)), nil, 0o600); err != nil {
		return unusable(j.place.data, err)
	}
	if err := os.Rename(fresh, home); err != nil && !isFile(ready) { // another process may have been first
		removeAll(home)
		if err := os.Rename(fresh, home); err != nil {
			return unusable(j.place.data, err)
		}
	}
	j.home = home
	forgetHomes(root, home, j.now())
	return nil
}

func freshHome(root string) (string, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(root, "new-*")
}

// forgetHomes removes the homes that no run has used for long.
func forgetHomes(root, but string, now time.Time) {
	entries, _ := os.ReadDir(root)
	for _, e := range entries {
		dir := filepath.Join(root, e.Name())
		info, err := os.Stat(filepath.Join(dir, ".berth-init-done"))
		if err != nil {
			info, err = e.Info() // one that an init which was cut off has left
		}
		if err == nil && dir != but && now.Sub(info.ModTime()) > keptCleaned {
			removeAll(dir)
		}
	}
}

// oneAtATime keeps preparations of one home apart within this process.
func (x *Executor) oneAtATime(ctx context.Context, home string) (release func(), err error) {
	x.mu.Lock()
	busy := x.homes[home]
	if busy == nil {
		busy = make(chan struct{}, 1)
		x.homes[home] = busy
	}
	x.mu.Unlock()
	select {
	case busy <- struct{}{}:
		return func() { <-busy }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// configLines are configs as a plan shows them, without what is secret.
func configLines(flag string, of []config) []string {
	var out []string
	for _, c := range of {
		value := clip(c.Value.Text, 200)
		if c.Value.Ref != nil {
			value = "***"
		}
		out = append(out, flag+" "+c.Key+"="+value)
	}
	slices.Sort(out)
	return out
}
