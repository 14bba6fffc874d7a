// Package configs reads Berth's one YAML file. It is strict: a key that it does
// not know, a secret written out, a name that points nowhere are faults, and
// all faults are reported at once, each with its path and line.
//
// Relative paths in the file are relative to the directory in which Berth is
// started, like paths on its command line.
package configs

import "time"

// Config is the whole file. Every section but server is optional, and a surface
// without its section is off.
type Config struct {
	Server   Server             `yaml:"server" json:"server"`
	Redis    *Redis             `yaml:"redis" json:"redis,omitempty"`
	GitHub   *GitHub            `yaml:"github" json:"github,omitempty"`
	Slack    *Slack             `yaml:"slack" json:"slack,omitempty"`
	Discord  *Discord           `yaml:"discord" json:"discord,omitempty"`
	Tokens   []Token            `yaml:"tokens" json:"tokens,omitempty"`
	OIDC     []Issuer           `yaml:"oidc" json:"oidc,omitempty"`
	Actors   []Actor            `yaml:"actors" json:"actors,omitempty"`
	Clusters map[string]Cluster `yaml:"clusters" json:"clusters,omitempty"`
	Plugins  map[string]Plugin  `yaml:"plugins" json:"plugins,omitempty"`
	// Vars are groups of variables, which apps share by vars_from.
	Vars map[string]map[string]Value `yaml:"vars" json:"vars,omitempty"`
	// Secrets say where executors find values that nobody else may see. Variables
	// refer to them by name.
	Secrets   map[string]SecretRef `yaml:"secrets" json:"secrets,omitempty"`
	Apps      map[string]App       `yaml:"apps" json:"apps,omitempty"`
	Policies  []Policy             `yaml:"policies" json:"policies,omitempty"` // who must agree to what; without any, everything is released
	Schedules []Schedule           `yaml:"schedules" json:"schedules,omitempty"`
	// Reconcile is how Berth's records are compared with the world.
	Reconcile     Reconcile `yaml:"reconcile" json:"reconcile,omitzero"`
	Notifications []Route   `yaml:"notifications" json:"notifications,omitempty"` // who is told of what besides those whom it concerns
	// Retention is how long Berth remembers what is over.
	Retention Retention `yaml:"retention" json:"retention,omitzero"`
}

// Retention is how long Berth remembers what is over.
type Retention struct {
	// Requests is how long a request can be read after its end: 90d when empty,
	// 8d at least.
	Requests Duration `yaml:"requests" json:"requests,omitempty"`
	// Audit is how long audit records are kept at least; for ever when empty,
	// 30d at least.
	Audit Duration `yaml:"audit" json:"audit,omitempty"`
}

// The least that Retention can be: what was asked for is looked for that long
// after.
const (
	MinKeepRequests = 8 * 24 * time.Hour
	MinKeepAudit    = 30 * 24 * time.Hour
)

// Server is where Berth listens and keeps its files.
type Server struct {
	// Listen is the address of the HTTP server; 127.0.0.1:8080 when empty. A
	// port of 0 picks a free one, which the log names.
	Listen string `yaml:"listen" json:"listen,omitempty"`
	// PublicURL is how people and platforms reach it; http://LISTEN when empty.
	PublicURL string `yaml:"public_url" json:"public_url,omitempty"`
	// DataDir holds what Berth keeps beside Redis: its own Redis, fetched
	// sources. ./data when empty. One process at a time may use it.
	DataDir string `yaml:"data_dir" json:"data_dir,omitempty"`
}

// Redis is the store. Without the section Berth starts one of its own.
type Redis struct {
	// Addrs are host:port. One is a standalone server, several are a Cluster,
	// and with Master they are Sentinels.
	Addrs    []string `yaml:"addrs" json:"addrs" jsonschema:"minItems=1"`
	Master   string   `yaml:"master" json:"master,omitempty"` // name of the Sentinel group
	Username string   `yaml:"username" json:"username,omitempty"`
	Password Secret   `yaml:"password" json:"password,omitzero"`
	DB       int      `yaml:"db" json:"db,omitempty"`   // standalone and Sentinel only
	TLS      bool     `yaml:"tls" json:"tls,omitempty"` // with the system's authorities
}

// GitHub is the GitHub surface, by token or as a GitHub App.
type GitHub struct {
	WebhookSecret Secret     `yaml:"webhook_secret" json:"webhook_secret"`
	Token         Secret     `yaml:"token" json:"token,omitzero"`
	App           *GitHubApp `yaml:"app" json:"app,omitempty"`
	// APIURL is https://api.github.com when empty, or https://HOST/api/v3 of
	// an Enterprise server.
	APIURL string `yaml:"api_url" json:"api_url,omitempty"`
	// Permission is the least that a person needs on the repository to give
	// commands: read, triage, write (when empty), maintain or admin.
	Permission string `yaml:"permission" json:"permission,omitempty" jsonschema:"enum=read,enum=triage,enum=write,enum=maintain,enum=admin"`
}

// GitHubApp are the credentials of a GitHub App.
type GitHubApp struct {
	ID             int64  `yaml:"id" json:"id"`
	PrivateKey     Secret `yaml:"private_key" json:"private_key"`                   // PEM
	InstallationID int64  `yaml:"installation_id" json:"installation_id,omitempty"` // looked up by repository when 0
}

// Token lets a program use the API.
type Token struct {
	Actor  string   `yaml:"actor" json:"actor"`
	SHA256 string   `yaml:"sha256" json:"sha256" jsonschema:"pattern=^[0-9a-f]{64}$"` // of the token, in hex
	Roles  []string `yaml:"roles" json:"roles,omitempty"`                             // "viewer" alone may read only
}

// Issuer is an OpenID Connect issuer whose signed tokens the API takes. Who they
// name has the roles of the actor under whom oidc:NAME stands, or is linked to.
type Issuer struct {
	// Issuer is exactly as its tokens say it (iss): https, or http on this machine.
	Issuer string `yaml:"issuer" json:"issuer"`
	// Audience must be among those that a token is for (aud).
	Audience string `yaml:"audience" json:"audience"`
	// Claim names the account: email when empty, sub, or another text of the
	// token. Take one that people cannot change themselves.
	Claim string `yaml:"claim" json:"claim,omitempty"`
	// Domains are what may stand after the "@" of this issuer's names, and of no
	// other's. Of several issuers, one may be without.
	Domains []string `yaml:"domains" json:"domains,omitempty"`
}

// Actor is a person or machine whose accounts belong together.
type Actor struct {
	Name       string   `yaml:"name" json:"name"`
	Roles      []string `yaml:"roles" json:"roles,omitempty"`
	Identities []string `yaml:"identities" json:"identities,omitempty"` // github:ana, slack:U0123, discord:987, oidc:ana@x.org
}

// Cluster is a Kubernetes cluster by name.
type Cluster struct {
	Kubeconfig string `yaml:"kubeconfig" json:"kubeconfig,omitempty"` // empty: the executor's in-cluster account
	Context    string `yaml:"context" json:"context,omitempty"`
	EKS        *EKS   `yaml:"eks" json:"eks,omitempty"` // in place of a kubeconfig
	// Limit is how many actions may run in it at once, over all replicas; 0 means
	// as many as come.
	Limit int `yaml:"limit" json:"limit,omitempty" jsonschema:"minimum=0"`
}

// EKS is a cluster of Amazon EKS. Executors reach it with the AWS account of
// their own environment: name its variables in `env` under `plugins`.
type EKS struct {
	Name   string `yaml:"name" json:"name"` // of the cluster, in EKS
	Region string `yaml:"region" json:"region"`
	Role   string `yaml:"role" json:"role,omitempty"` // the ARN of a role to take for it
}

// Plugin is the program of an executor.
type Plugin struct {
	// Path without a slash is looked for beside the berth binary, then on PATH.
	// berth- and the executor's name when empty.
	Path   string   `yaml:"path" json:"path,omitempty"`
	Args   []string `yaml:"args" json:"args,omitempty"`
	Env    []string `yaml:"env" json:"env,omitempty"`                                           // names of variables that it may have
	SHA256 string   `yaml:"sha256" json:"sha256,omitempty" jsonschema:"pattern=^[0-9a-f]{64}$"` // the binary must have this one
	// Settings are what whoever answers for the platform sets for the executor
	// itself, the same for every app. The executor's own page in docs says what it
	// takes; a secret in them is a reference.
	Settings map[string]any `yaml:"settings" json:"settings,omitempty"`
	// Limit is how many actions with parts of this executor may run at once, over
	// all replicas; 0 means as many as come.
	Limit int `yaml:"limit" json:"limit,omitempty" jsonschema:"minimum=0"`
}

// Duration is a length of time written as Go does ("72h", "90m"), or in days
// ("3d").
type Duration time.Duration

// Defaults of the server section.
const (
	DefaultListen  = "127.0.0.1:8080"
	DefaultDataDir = "data"
	DefaultAPIURL  = "https://api.github.com"
)

// DefaultWithin is how long a request waits for people when its rule does not
// say.
const DefaultWithin = 72 * time.Hour
