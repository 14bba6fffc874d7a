package kubernetes

import "github.com/berth-dev/berth/plugins/sdk"

// durationPattern is how the settings write a length of time: "90s", "10m".
const durationPattern = `^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`

// object is a JSON object of a schema.
type object = map[string]any

func text(about string) object { return object{"type": "string", "description": about} }

func word(about string) object {
	return object{"type": "string", "minLength": 1, "description": about}
}

func flag(about string, def bool) object {
	return object{"type": "boolean", "description": about, "default": def}
}

func duration(about, def string) object {
	return object{"type": "string", "description": about, "default": def, "pattern": durationPattern}
}

func list(about string, of object) object {
	return object{"type": "array", "description": about, "items": of}
}

func table(about string, of any) object {
	return object{"type": "object", "description": about, "additionalProperties": of}
}

func closed(about string, required []any, properties object) object {
	s := object{"type": "object", "description": about, "additionalProperties": false, "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

// scalar is a quantity, a port or the like, which YAML may read as a number.
func scalar(about string) object {
	return object{"type": []any{"string", "number"}, "description": about}
}

// withSchema is the JSON Schema of a part's `with`.
func withSchema() map[string]any {
	s := closed("", nil, object{
		"namespace":  namespaceSchema("what the environment's namespace gets beside its marks; with it, an isolated network is the default"),
		"manifests":  manifestsSchema(),
		"kustomize":  kustomizeSchema(),
		"substitute": table("values for ${NAME} in what manifests and the kustomization say as text; nothing else is replaced", object{"type": []any{"string", "number", "boolean"}}),
		"images": table("images by a name that `--set images.NAME=TAG` can use", closed("", []any{"name"}, object{
			"name":     word("the image as manifests name it, without a tag"),
			"new_name": word("the image to take instead"),
			"tag":      word("the tag to take; it may be set by images.NAME"),
			"digest":   object{"type": "string", "pattern": "^sha256:[0-9a-f]{64}$", "description": "the digest to take, instead of a tag"},
		})),
		"replicas": table("how many pods a Deployment, StatefulSet or ReplicaSet of that name has; it may be set by replicas.NAME", object{"type": "integer", "minimum": 0, "maximum": maxReplicas}),
		"vars": closed("where the app's variables and secrets go, for containers to take with envFrom", nil, object{
			"config_map": word("name of a ConfigMap with the variables"),
			"secret":     word("name of a Secret with the secrets"),
		}),
		"secrets": list("Secrets to make", secretSchema()),
		"jobs":    list("Jobs that run once for each change of what they are", jobSchema()),
		"wait":    list("resources, of this part or not, to wait for", waitSchema()),
		"ready": table("CEL over `object` that is true when an object of that kind, written Kind or Kind.group, is ready",
			word("such as object.status.phase == 'Ready'")),
		"prune":            flag("delete what an earlier deploy made and this one does not have", true),
		"force":            flag("take over fields that another field manager has set", false),
		"recreate":         list("kinds, written Kind or Kind.group, whose objects are deleted and made anew when a field that cannot change has to", word("such as Job.batch")),
		"timeout":          duration("how long the whole step may take", "10m"),
		"fail_fast":        duration("how long a pod may stay stuck before the step fails early; 0s waits for the timeout", "20s"),
		"on_archive":       object{"enum": []any{"keep", "snapshot"}, "default": "keep", "description": "what archive does with volumes: keep the claims, or take VolumeSnapshots and delete them"},
		"url":              text("address that people open, when no Ingress, Gateway or Service tells it"),
		"create_namespace": flag("make the environment's namespace when it is not there", true),
	})
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return s
}

func manifestsSchema() object {
	return object{
		"description": "the objects: YAML text, a list of objects, or a file or folder (repo:PATH in the app's repository)",
		"oneOf": []any{
			object{"type": "string", "minLength": 1},
			object{"type": "array", "items": object{"type": "object"}},
		},
	}
}

func kustomizeSchema() object {
	return object{
		"description": "a kustomization: its folder, or a root that it may not leave and its path in there",
		"oneOf": []any{
			object{"type": "string", "minLength": 1},
			closed("", []any{"root", "path"}, object{
				"root": word("folder that the kustomization may read, such as repo:deploy"),
				"path": word("of the kustomization in root, such as overlays/preview"),
			}),
		},
	}
}

func namespaceSchema(about string) object {
	quantities := table("quantities by resource, such as cpu: 500m", scalar(""))
	return closed(about, nil, object{
		"labels":      table("labels of a namespace that Berth makes", object{"type": "string"}),
		"annotations": table("annotations of a namespace that Berth makes", object{"type": "string"}),
		"quota":       table("hard limits of a ResourceQuota, such as requests.cpu: 2 or pods: 20", scalar("")),
		"limits": closed("a LimitRange for containers", nil, object{
			"default": quantities, "default_request": quantities, "min": quantities, "max": quantities,
		}),
		"network": object{
			"description": "isolated: nothing gets in but traffic within the namespace and from ingress controllers, and pods may call anywhere; open: all; or isolated with `from`, what more gets in, and `to`, what alone may be called beside the namespace and DNS",
			"oneOf": []any{
				object{"enum": []any{"isolated", "open"}},
				closed("", nil, object{
					"from": list("namespaces whose pods may come in as well", word("name of a namespace")),
					"to":   list("where alone pods may go, beside their namespace and DNS: CIDRs, or names of namespaces; anywhere without it", word("10.1.0.0/16, or databases")),
				}),
			},
		},
		"service_account": closed("a ServiceAccount for the environment's pods", nil, object{
			"name":        word("by default, the one that pods use without naming one"),
			"annotations": table("such as eks.amazonaws.com/role-arn", object{"type": "string"}),
		}),
		"pull_secrets": list("image pull secrets, NAMESPACE/NAME, that are copied and given to the ServiceAccount; `settings` says from where",
			object{"type": "string", "pattern": "^[^/]+/[^/]+$"}),
	})
}

func secretSchema() object {
	value := sdk.SecretSchema()
	forms, _ := value["oneOf"].([]any)
	value["oneOf"] = append([]any{object{"type": "string"}}, forms...)
	value["description"] = "the value: a reference, or text that is no secret"
	return closed("", []any{"name"}, object{
		"name": word("of the Secret"),
		"type": text("of the Secret; Opaque without it"),
		"data": table("keys and their values", value),
		"from": object{"type": "string", "description": "ARN of a secret in AWS Secrets Manager, each key of which becomes a key; one that is no JSON object becomes the key `value`"},
	})
}

func jobSchema() object {
	return closed("", []any{"name"}, object{
		"name":    object{"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$", "description": "of the job; the Job's own has a digest of what it is as well"},
		"when":    object{"enum": []any{"before", "after"}, "default": "before", "description": "before the workloads are applied, or after they are ready"},
		"image":   word("what to run"),
		"command": list("the program and its arguments, instead of the image's entrypoint", object{"type": "string"}),
		"args":    list("arguments", object{"type": "string"}),
		"env":     table("variables", object{"type": []any{"string", "number", "boolean"}}),
		"env_from": list("ConfigMaps and Secrets whose keys become variables", closed("", nil, object{
			"config_map": word("name"), "secret": word("name"),
		})),
		"service_account": word("name of the ServiceAccount"),
		"resources":       object{"type": "object", "description": "requests and limits of the container"},
		"pod":             object{"type": "object", "description": "a whole PodSpec, instead of or beside image, command, args, env and resources"},
		"retries":         object{"type": "integer", "minimum": 0, "maximum": 20, "default": 0, "description": "how many more pods are tried when one fails"},
		"timeout":         duration("how long the Job may run", "10m"),
	})
}

func waitSchema() object {
	return closed("", []any{"kind", "name"}, object{
		"api_version": text("such as argoproj.io/v1alpha1; without it the kind is looked up"),
		"kind":        word("such as Application"),
		"name":        word("of the object"),
		"namespace":   text("of the object; the environment's without it, others as `settings` allows"),
		"ready":       text("CEL over `object`; without it the rules that Berth has for the kind"),
		"failed":      text("CEL over `object` that is true when waiting is of no use"),
		"timeout":     duration("how long it may take; the step's own limit without it", ""),
	})
}

// settingsSchema is the JSON Schema of the executor's own settings.
func settingsSchema() map[string]any {
	s := closed("", nil, object{
		"namespace": namespaceSchema("what a part's `namespace` says unless it says otherwise"),
		"ingress_namespaces": list("namespaces of ingress controllers, which an isolated network lets in; ingress-nginx, traefik, istio-system and kube-system without it",
			word("name of a namespace")),
		"pull_secret_namespaces": list("namespaces from which pull secrets may be copied", word("name of a namespace")),
		"allow": list("what parts may apply, or wait for, outside of their environment's namespace", closed("", []any{"kind"}, object{
			"kind":      word("Kind or Kind.group, such as Application.argoproj.io or ClusterRole.rbac.authorization.k8s.io"),
			"namespace": word("in which it may be; without it the kind is in none, such as a CustomResourceDefinition"),
			"apps":      list("apps that may; all without it", word("name of an app")),
		})),
		"kinds": list("the kinds, written Kind or Kind.group, that manifests may have in the environment's namespace; all without it", word("such as Deployment.apps")),
		"aws": closed("how AWS Secrets Manager is reached", nil, object{
			"endpoint": text("address instead of AWS's own"),
		}),
	})
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	return s
}
