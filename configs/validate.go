package configs

import (
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var (
	// namePattern is what an app, a part and an environment may be called.
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,38}[a-z0-9]$`)
	// repoPattern is owner/name as GitHub allows them.
	repoPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9._-]{1,100}$`)
	// setKeyPattern is a dotted path into a part's values.
	setKeyPattern = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
	// identityPattern is kind:id.
	identityPattern = regexp.MustCompile(`^(github|slack|discord|mattermost|oidc|token):\S+$`)
	sha256Pattern   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	envPattern      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// permissions are GitHub's repository permissions, least first.
var permissions = []string{"read", "triage", "write", "maintain", "admin"}

// maxTTL is the longest lifetime; the actions package holds environments to it.
const maxTTL = 30 * 24 * time.Hour

// validate looks at everything that a type alone does not say.
func (d *document) validate(c *Config) {
	d.server(c)
	d.github(c.GitHub)
	d.slack(c)
	d.discord(c)
	d.people(c)
	d.oidc(c.OIDC)
	d.retention(c.Retention)
	for name, cluster := range c.Clusters {
		d.name(join("clusters", name), name)
		if cluster.Context != "" && cluster.Kubeconfig == "" {
			d.fault("clusters."+name+".context", "a context needs a kubeconfig beside it")
		}
		d.eks("clusters."+name, cluster)
		d.limit("clusters."+name+".limit", cluster.Limit)
	}
	for name, plugin := range c.Plugins {
		d.plugin(join("plugins", name), name, plugin)
	}
	d.variables(c)
	for _, name := range slices.Sorted(maps.Keys(c.Apps)) {
		d.app(c, join("apps", name), name)
	}
	d.policies(c)
	d.schedules(c)
	d.reconcile(c.Reconcile)
	d.notifications(c)
}

// regionPattern is how AWS writes a region: eu-central-1, us-gov-west-1,
// eusc-de-east-1.
var regionPattern = regexp.MustCompile(`^[a-z]{2,8}(-[a-z]+)+-[0-9]{1,2}$`)

func (d *document) eks(path string, c Cluster) {
	if c.EKS == nil {
		return
	}
	if c.Kubeconfig != "" {
		d.fault(path+".eks", "a kubeconfig and eks exclude each other; keep one")
	}
	if c.EKS.Name == "" {
		d.fault(path+".eks.name", "the cluster's name in EKS is needed")
	}
	if !regionPattern.MatchString(c.EKS.Region) {
		d.fault(path+".eks.region", "a region is needed, such as eu-central-1")
	}
	if c.EKS.Role != "" && !strings.HasPrefix(c.EKS.Role, "arn:") {
		d.fault(path+".eks.role", "a role is written as its ARN, such as arn:aws:iam::123456789012:role/berth")
	}
}

func (d *document) retention(r Retention) {
	for path, of := range map[string]struct {
		is    Duration
		least time.Duration
	}{"retention.requests": {r.Requests, MinKeepRequests}, "retention.audit": {r.Audit, MinKeepAudit}} {
		if _, written := d.lines[path]; written && time.Duration(of.is) < of.least {
			d.fault(path, "this should be %dd at least", int(of.least.Hours()/24))
		}
	}
}

// limit checks how many may run at once.
func (d *document) limit(path string, limit int) {
	if limit < 0 {
		d.fault(path, "a limit is a whole number; 0, or none, means as many as come")
	}
}

func (d *document) server(c *Config) {
	if !listenable(c.Server.Listen) {
		d.fault("server.listen", "%q is not an address; write host:port, such as 127.0.0.1:8080", c.Server.Listen)
	}
	if c.Server.PublicURL != "" {
		d.url("server.public_url", c.Server.PublicURL)
	}
	if c.Redis == nil {
		return
	}
	if len(c.Redis.Addrs) == 0 {
		d.fault("redis.addrs", "at least one host:port is needed; without the whole section Berth starts a Redis of its own")
	}
	for i, addr := range c.Redis.Addrs {
		if !listenable(addr) {
			d.fault(fmt.Sprintf("redis.addrs[%d]", i), "%q is not host:port", addr)
		}
	}
	if c.Redis.DB != 0 && len(c.Redis.Addrs) > 1 && c.Redis.Master == "" {
		d.fault("redis.db", "a Redis Cluster has one database only; leave db out")
	}
}

func (d *document) github(g *GitHub) {
	if g == nil {
		return
	}
	if g.WebhookSecret.IsZero() && d.lines["github.webhook_secret"] == 0 {
		d.fault("github.webhook_secret", "it is needed: without it anybody could pretend to be GitHub")
	}
	if g.Token.IsZero() && g.App == nil && d.lines["github.token"] == 0 {
		d.fault("github", "either token or app is needed to answer on GitHub")
	}
	if !g.Token.IsZero() && g.App != nil {
		d.fault("github.app", "token and app exclude each other; keep one")
	}
	if g.App != nil && g.App.ID <= 0 {
		d.fault("github.app.id", "the App's numeric id is needed; GitHub shows it on the App's settings page")
	}
	if g.App != nil && g.App.PrivateKey.IsZero() && d.lines["github.app.private_key"] == 0 {
		d.fault("github.app.private_key", "the App's private key (PEM) is needed")
	}
	d.url("github.api_url", g.APIURL)
	if !slices.Contains(permissions, g.Permission) {
		d.fault("github.permission", "%q is not one of %s", g.Permission, strings.Join(permissions, ", "))
	}
}

func (d *document) people(c *Config) {
	owners := map[string]string{} // identity or token → where it was first
	claim := func(path, key, what string) {
		if first, taken := owners[key]; taken {
			d.fault(path, "%s stands at %s too", what, first)
			return
		}
		owners[key] = path
	}
	for i, token := range c.Tokens {
		path := fmt.Sprintf("tokens[%d]", i)
		if token.Actor == "" {
			d.fault(path+".actor", "a token needs the name of who uses it")
		}
		if !sha256Pattern.MatchString(token.SHA256) {
			d.fault(path+".sha256", "this should be the token's SHA-256 in lower-case hex: printf %%s \"$TOKEN\" | sha256sum")
			continue
		}
		claim(path+".sha256", token.SHA256, "the same token")
	}
	for i, actor := range c.Actors {
		path := fmt.Sprintf("actors[%d]", i)
		if actor.Name == "" {
			d.fault(path+".name", "an actor needs a name")
		} else {
			claim(path+".name", "name "+actor.Name, "this name")
		}
		for j, identity := range actor.Identities {
			at := fmt.Sprintf("%s.identities[%d]", path, j)
			if !identityPattern.MatchString(identity) {
				d.fault(at, "%q is not an identity; write github:LOGIN, slack:ID, discord:ID, mattermost:ID or oidc:ADDRESS", identity)
				continue
			}
			claim(at, strings.ToLower(identity), "this identity")
		}
	}
}

func (d *document) plugin(path, name string, p Plugin) {
	d.name(path, name)
	d.limit(path+".limit", p.Limit)
	if p.SHA256 != "" && !sha256Pattern.MatchString(p.SHA256) {
		d.fault(path+".sha256", "this should be the file's SHA-256 in lower-case hex, as sha256sum prints it")
	}
	for i, env := range p.Env {
		if !envPattern.MatchString(env) {
			d.fault(fmt.Sprintf("%s.env[%d]", path, i), "%q is not the name of an environment variable; values do not belong here", env)
		}
	}
}

// name checks what people type as part of an environment's or a part's name.
func (d *document) name(path, name string) {
	if !namePattern.MatchString(name) {
		d.fault(path, "%q cannot be a name: use 2 to 40 of a-z, 0-9 and \"-\", starting with a letter", name)
	}
}

func (d *document) url(path, raw string) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https"):
		d.fault(path, "%q is not an address; write https://host", raw)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		d.fault(path, "the address is more than a host and a path; write https://host")
	}
}

// listenable tells whether addr is host:port with a port that there can be.
func listenable(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// listed names the keys of m for a message.
func listed[V any](m map[string]V) string {
	if len(m) == 0 {
		return "; none is configured"
	}
	return "; there are: " + strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}

// known checks that m has name. What is looked for is said by what.
func known[V any](d *document, path, what, name string, m map[string]V) {
	if _, ok := m[name]; ok {
		return
	}
	if near := nearName(name, slices.Sorted(maps.Keys(m))); near != "" {
		d.fault(path, "there is no %s %q; did you mean %q?", what, name, near)
		return
	}
	d.fault(path, "there is no %s %q%s", what, name, listed(m))
}

// faulted tells whether what stands at path could not be read, which was said.
func (d *document) faulted(path string) bool { return d.broken[d.lines[path]] }
