package configs

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"
)

const (
	// maxVariables is how many variables an app may have, groups and all.
	maxVariables = 500
	// maxValue is the longest value of a variable, in bytes.
	maxValue = 64 << 10
)

var (
	// variablePattern is what a variable may be called.
	// Source: https://pubs.opengroup.org/onlinepubs/9799919799/basedefs/V1_chap08.html
	variablePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	// kubernetesName is what an object may be called.
	// Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
	kubernetesName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	// kubernetesKey is what a key of a Kubernetes Secret may be.
	// Source: https://kubernetes.io/docs/concepts/configuration/secret/
	kubernetesKey = regexp.MustCompile(`^[A-Za-z0-9._-]{1,253}$`)
)

// Value is what a variable is: text, or {secret: NAME} for one of the section
// secrets, whose value the executor alone reads.
type Value struct {
	Text   string
	Secret string // a name in Config.Secrets, in place of Text
}

// UnmarshalYAML reads a Value. What is refused is not repeated, since it may be
// a secret that somebody wrote out.
func (v *Value) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		v.Text = n.Value
		return nil
	case yaml.MappingNode:
		var ref map[string]string
		if n.Decode(&ref) == nil && len(ref) == 1 && ref["secret"] != "" {
			v.Secret = ref["secret"]
			return nil
		}
		if _, env := ref["env"]; env || ref["file"] != "" {
			return &yaml.TypeError{Errors: []string{lined(n, "give this reference a name in the section secrets, and write {secret: NAME} here")}}
		}
	}
	return &yaml.TypeError{Errors: []string{lined(n, "a variable is text, or {secret: NAME} for a name of the section secrets")}}
}

// SecretRef says where an executor finds a value that nobody else may see: in a
// variable of its own environment, in a file, or in a Kubernetes Secret of the
// environment's cluster. It has exactly one of the three.
type SecretRef struct {
	// Env is a variable of the executor's environment. An executor has those that
	// plugins.NAME.env lists, and no others.
	Env        string     `yaml:"env" json:"env,omitempty" jsonschema:"oneof_required=env"`
	File       string     `yaml:"file" json:"file,omitempty" jsonschema:"oneof_required=file"`
	Kubernetes *SecretKey `yaml:"kubernetes" json:"kubernetes,omitempty" jsonschema:"oneof_required=kubernetes"`
}

// SecretKey is a key of a Kubernetes Secret.
type SecretKey struct {
	Namespace string `yaml:"namespace" json:"namespace,omitempty"` // the environment's own when empty
	Name      string `yaml:"name" json:"name"`
	Key       string `yaml:"key" json:"key"`
}

// UnmarshalYAML reads a reference. What is none is not repeated, since it may be
// the secret itself.
func (s *SecretRef) UnmarshalYAML(n *yaml.Node) error {
	var ref struct {
		Env, File  *string
		Kubernetes map[string]string
	}
	refuse := func(why string) error {
		*s = SecretRef{}
		return &yaml.TypeError{Errors: []string{lined(n, "%s", why)}}
	}
	const how = "a secret is a reference: write {env: NAME}, {file: path} or {kubernetes: {namespace: NAMESPACE, name: NAME, key: KEY}}"
	if n.Kind != yaml.MappingNode || n.Decode(&ref) != nil || len(n.Content) != 2 {
		return refuse(how)
	}
	switch {
	case ref.Env != nil && !envPattern.MatchString(*ref.Env):
		return refuse("env is the name of an environment variable, such as STRIPE_KEY; the value itself does not belong here")
	case ref.Env != nil:
		s.Env = *ref.Env
	case ref.File != nil && *ref.File != "":
		s.File = *ref.File
	case ref.Kubernetes != nil:
		return s.kubernetes(ref.Kubernetes, refuse)
	default:
		return refuse(how)
	}
	return nil
}

func (s *SecretRef) kubernetes(m map[string]string, refuse func(string) error) error {
	key := SecretKey{Namespace: m["namespace"], Name: m["name"], Key: m["key"]}
	for k := range m {
		if k != "namespace" && k != "name" && k != "key" {
			return refuse("a Kubernetes Secret is {kubernetes: {namespace: NAMESPACE, name: NAME, key: KEY}}, without any other key; namespace may be left out")
		}
	}
	switch {
	case !kubernetesName.MatchString(key.Name):
		return refuse("kubernetes.name is the name of a Kubernetes Secret, such as shop; the value itself does not belong here")
	case !kubernetesKey.MatchString(key.Key):
		return refuse("kubernetes.key is a key of the Kubernetes Secret, such as api-key; the value itself does not belong here")
	case key.Namespace != "" && (len(key.Namespace) > 63 || !kubernetesName.MatchString(key.Namespace)):
		return refuse("kubernetes.namespace is the name of a namespace, such as infra; leave it out for the environment's own")
	}
	s.Kubernetes = &key
	return nil
}

// Variables are the variables of an app: those of its groups, in their order,
// and its own, each over those before it.
func (c *Config) Variables(app App) map[string]Value {
	all := map[string]Value{}
	for _, group := range app.VarsFrom {
		maps.Copy(all, c.Vars[group])
	}
	maps.Copy(all, app.Vars)
	return all
}

// variables checks the shared groups and the references.
func (d *document) variables(c *Config) {
	for _, group := range slices.Sorted(maps.Keys(c.Vars)) {
		d.name(join("vars", group), group)
		d.group(c, join("vars", group), c.Vars[group])
	}
	for _, name := range slices.Sorted(maps.Keys(c.Secrets)) {
		if !namePattern.MatchString(name) {
			d.fault(join("secrets", name), "this cannot be a name: use 2 to 40 of a-z, 0-9 and \"-\", starting with a letter")
		}
		if c.Secrets[name] == (SecretRef{}) && !d.faulted(join("secrets", name)) {
			d.fault(join("secrets", name), "say where the secret is: {env: NAME}, {file: path} or {kubernetes: {name: NAME, key: KEY}}")
		}
	}
}

// group checks variables that stand at path.
func (d *document) group(c *Config, path string, vars map[string]Value) {
	if len(vars) > maxVariables {
		d.fault(path, "there are %d variables, which is more than %d", len(vars), maxVariables)
	}
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		at, value := join(path, key), vars[key]
		if !variablePattern.MatchString(key) {
			d.fault(at, "a variable's name is made of letters, digits and _, does not begin with a digit, and has 128 characters at most")
		}
		if len(value.Text) > maxValue {
			d.fault(at, "the value is longer than %d KiB", maxValue>>10)
		}
		if value.Secret != "" {
			d.secretName(c, at, value.Secret)
		}
	}
}

// secretName checks that there is a secret of that name. The name is not
// repeated: whoever mistook a reference for the value would read it in a log.
func (d *document) secretName(c *Config, path, name string) {
	if _, known := c.Secrets[name]; known {
		return
	}
	if near := nearName(name, slices.Sorted(maps.Keys(c.Secrets))); near != "" {
		d.fault(path, "there is no secret of this name; did you mean %q?", near)
		return
	}
	d.fault(path, "there is no secret of this name in the section secrets%s", listed(c.Secrets))
}

// appVariables checks what an app says of variables.
func (d *document) appVariables(c *Config, path string, app App) {
	for i, group := range app.VarsFrom {
		at := fmt.Sprintf("%s.vars_from[%d]", path, i)
		if slices.Index(app.VarsFrom, group) < i {
			d.fault(at, "the group %q stands here twice", group)
		}
		known(d, at, "group of variables", group, c.Vars)
	}
	d.group(c, path+".vars", app.Vars)
	if all := c.Variables(app); len(app.VarsFrom) > 0 && len(all) > maxVariables {
		d.fault(path+".vars_from", "with its groups the app has %d variables, which is more than %d", len(all), maxVariables)
	}
	for i, name := range app.OfferSecrets {
		d.secretName(c, fmt.Sprintf("%s.offer_secrets[%d]", path, i), name)
	}
	roles, _ := named(c)
	for i, role := range app.SetRoles {
		at := fmt.Sprintf("%s.set_roles[%d]", path, i)
		if !groupPatterns["role"].MatchString(role) {
			d.fault(at, "%q is not a role; write its name alone, such as sre", role)
		} else if near := nearName(role, roles); near != "" {
			d.fault(at, "nobody has the role %q; did you mean %q?", role, near)
		}
	}
	d.readable(c, path, app)
}

// readable finds the secrets of an app that none of its executors could read.
func (d *document) readable(c *Config, path string, app App) {
	uses := map[string]string{} // secret → where the app refers to it
	for i, group := range app.VarsFrom {
		for _, v := range c.Vars[group] {
			uses[v.Secret] = fmt.Sprintf("%s.vars_from[%d]", path, i)
		}
	}
	for key, v := range app.Vars {
		uses[v.Secret] = join(path+".vars", key)
	}
	for i, name := range app.OfferSecrets {
		uses[name] = fmt.Sprintf("%s.offer_secrets[%d]", path, i)
	}
	for _, name := range slices.Sorted(maps.Keys(uses)) {
		ref, at := c.Secrets[name], uses[name]
		switch {
		case ref.Kubernetes != nil && len(app.ClusterNames()) == 0:
			d.fault(at, "the secret %s is in a Kubernetes Secret, which is looked for in the app's cluster, and the app has none", name)
		case ref.Env != "" && !slices.ContainsFunc(app.Parts, func(p Part) bool { return slices.Contains(c.Plugins[p.Use].Env, ref.Env) }):
			d.fault(at, "the secret %s is in the environment variable %s, which no executor of this app is given; add it to env of plugins.%s", name, ref.Env, executorOf(app))
		}
	}
}

// executorOf is an executor of the app, for a hint.
func executorOf(app App) string {
	for _, part := range app.Parts {
		if namePattern.MatchString(part.Use) {
			return part.Use
		}
	}
	return "NAME"
}
