package configs

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// faultsOf are where a config is wrong, as "path@line" in order.
func faultsOf(t *testing.T, raw string) (at []string, err error) {
	t.Helper()
	_, err = Parse([]byte(raw))
	if faults, ok := errors.AsType[Faults](err); ok {
		for _, f := range faults {
			at = append(at, f.Path+"@"+strconv.Itoa(f.Line))
		}
	} else if err != nil {
		t.Fatalf("error is %T: %v", err, err)
	}
	return at, err
}

type faultTest struct {
	yaml string
	want []string
	says string
}

func (test faultTest) run(t *testing.T, before string) {
	t.Helper()
	got, err := faultsOf(t, before+test.yaml+"\n")
	if !slices.Equal(got, test.want) {
		t.Errorf("faults\n got %q\nwant %q\n%v", got, test.want, err)
	}
	if err != nil && !strings.Contains(err.Error(), test.says) {
		t.Errorf("the fault %q does not say %q", err, test.says)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the fault %q repeats a secret", err)
	}
}

func TestVariableFaults(t *testing.T) {
	const before = "plugins: {helm: {path: berth-helm, env: [KEY]}}\n"
	const parts = "parts: [{name: web, use: helm}]"
	tests := map[string]faultTest{
		"text, numbers and references":            {yaml: "vars: {common: {A: b, N: 3, T: true, E: , S: {secret: key}}}\nsecrets: {key: {env: KEY}}\napps: {shop: {vars_from: [common], " + parts + "}}"},
		"a mapping that is no reference":          {yaml: "vars:\n  common:\n    A: {value: hunter2}", want: []string{"vars.common.A@4"}, says: "{secret: NAME}"},
		"a reference that has no name":            {yaml: "vars:\n  common:\n    A: {env: KEY}", want: []string{"vars.common.A@4"}, says: "section secrets"},
		"a reference and something else":          {yaml: "vars:\n  common:\n    A: {secret: key, value: hunter2}", want: []string{"vars.common.A@4"}},
		"a list":                                  {yaml: "vars:\n  common:\n    A: [hunter2]", want: []string{"vars.common.A@4"}},
		"a secret for its name":                   {yaml: "vars:\n  common:\n    A: {secret: hunter2}", want: []string{"vars.common.A@4"}},
		"a mistyped secret gets the nearest":      {yaml: "vars:\n  common:\n    A: {secret: strpe}\nsecrets: {stripe: {env: KEY}}", want: []string{"vars.common.A@4"}, says: `did you mean "stripe"`},
		"a name that a shell could not have":      {yaml: "vars:\n  common:\n    1A: b\n    a-b: c", want: []string{"vars.common.1A@4", "vars.common.a-b@5"}},
		"a group that no one could type":          {yaml: "vars:\n  Common: {A: b}", want: []string{"vars.Common@3"}},
		"a literal among the secrets":             {yaml: "secrets:\n  key: hunter2", want: []string{"secrets.key@3"}, says: "reference"},
		"a literal of several lines":              {yaml: "secrets:\n  key: |\n    a\n    hunter2", want: []string{"secrets.key@3"}, says: "reference"},
		"a literal within a reference":            {yaml: "secrets:\n  key: {value: hunter2}", want: []string{"secrets.key@3"}},
		"a literal where a variable is named":     {yaml: "secrets:\n  key: {env: \"hunter2!\"}", want: []string{"secrets.key@3"}, says: "name of an environment variable"},
		"two references at once":                  {yaml: "secrets:\n  key: {env: KEY, file: a}", want: []string{"secrets.key@3"}},
		"an empty reference":                      {yaml: "secrets:\n  key:", want: []string{"secrets.key@3"}},
		"a key of a Secret, and nothing else":     {yaml: "secrets:\n  key: {kubernetes: {name: shop}}", want: []string{"secrets.key@3"}, says: "kubernetes.key"},
		"a Secret with a value":                   {yaml: "secrets:\n  key: {kubernetes: {name: shop, key: a, value: hunter2}}", want: []string{"secrets.key@3"}},
		"a Secret of another namespace":           {yaml: "secrets:\n  key: {kubernetes: {namespace: infra, name: shop, key: a.b}}"},
		"a group that is not there":               {yaml: "vars: {common: {A: b}}\napps:\n  shop:\n    vars_from: [comon]\n    " + parts, want: []string{"apps.shop.vars_from[0]@5"}, says: `did you mean "common"`},
		"a group twice":                           {yaml: "vars: {common: {A: b}}\napps:\n  shop:\n    vars_from: [common, common]\n    " + parts, want: []string{"apps.shop.vars_from[1]@5"}},
		"an offer of what is not there":           {yaml: "apps:\n  shop:\n    offer_secrets: [hunter2]\n    " + parts, want: []string{"apps.shop.offer_secrets[0]@4"}},
		"a variable that no executor is given":    {yaml: "secrets: {other: {env: OTHER}}\napps:\n  shop:\n    vars: {A: {secret: other}}\n    " + parts, want: []string{"apps.shop.vars.A@5"}, says: "plugins.helm"},
		"a Secret for an app without a cluster":   {yaml: "secrets: {k: {kubernetes: {name: a, key: b}}, kk: {kubernetes: {name: a, key: b}}}\napps:\n  shop:\n    vars: {A: {secret: kk}}\n    " + parts, want: []string{"secrets.k@2", "apps.shop.vars.A@5"}, says: "none"},
		"a role that nobody has, but nearly":      {yaml: "actors: [{name: ana, roles: [sre]}]\napps:\n  shop:\n    set_roles: [srr]\n    " + parts, want: []string{"apps.shop.set_roles[0]@5"}, says: `did you mean "sre"`},
		"roles are written by their names alone":  {yaml: "apps:\n  shop:\n    set_roles: [role:sre]\n    " + parts, want: []string{"apps.shop.set_roles[0]@4"}},
		"the same key twice in a group of values": {yaml: "vars:\n  common:\n    A: b\n    A: c", want: []string{"vars.common.A@5"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test.run(t, before) })
	}
}

func TestAppFaults(t *testing.T) {
	const before = "clusters: {staging: {}, eu: {}}\napps:\n  shop:\n    repo: acme/shop\n    "
	const parts = "\n    parts: [{name: web, use: helm}]"
	tests := map[string]faultTest{
		"several clusters":                          {yaml: "clusters: [staging, eu]" + parts},
		"cluster and clusters":                      {yaml: "cluster: staging\n    clusters: [eu]" + parts, want: []string{"apps.shop.clusters@6"}, says: "exclude each other"},
		"a cluster twice":                           {yaml: "clusters: [eu, eu]" + parts, want: []string{"apps.shop.clusters[1]@5"}},
		"no cluster among the clusters":             {yaml: "clusters: []" + parts, want: []string{"apps.shop.clusters@5"}},
		"a mistyped cluster gets the nearest":       {yaml: "clusters: [stagin]" + parts, want: []string{"apps.shop.clusters[0]@5"}, says: `did you mean "staging"`},
		"a component":                               {yaml: "components: {api: {repo: acme/api, ref: main}}\n    parts: [{name: web, use: helm, component: api, on_failure: rollback}]"},
		"a component that is the app":               {yaml: "components: {api: {repo: Acme/Shop}}" + parts, want: []string{"apps.shop.components.api.repo@5"}},
		"a component without a repository":          {yaml: "components: {api: {ref: main}}" + parts, want: []string{"apps.shop.components.api.repo@5"}},
		"a component's ref that is none":            {yaml: "components: {api: {repo: acme/api, ref: 'a b'}}" + parts, want: []string{"apps.shop.components.api.ref@5"}},
		"a part of a component that is not there":   {yaml: "components: {api: {repo: acme/api}}\n    parts:\n      - {name: web, use: helm, component: ap}", want: []string{"apps.shop.parts[0].component@7"}, says: `did you mean "api"`},
		"an end that is neither":                    {yaml: "on_expiry: delete" + parts, want: []string{"apps.shop.on_expiry@5"}, says: "cleanup, archive"},
		"a failure after which something else is":   {yaml: "parts:\n      - {name: web, use: helm, on_failure: rolback}", want: []string{"apps.shop.parts[0].on_failure@6"}, says: `did you mean "rollback"`},
		"a life that is shorter than its ttl":       {yaml: "ttl: 3d\n    max_age: 2d" + parts, want: []string{"apps.shop.max_age@6"}},
		"a length of time that does not fit":        {yaml: "max_age: 999999999d" + parts, want: []string{"apps.shop.max_age@5"}},
		"a run of no time":                          {yaml: "run_within: 0s" + parts, want: []string{"apps.shop.run_within@5"}},
		"a run of text has one fault":               {yaml: "run_within: soon" + parts, want: []string{"apps.shop.run_within@5"}, says: "no length of time"},
		"logs that are gone at once":                {yaml: "retention: {runs: -1, logs: 1m}" + parts, want: []string{"apps.shop.retention.runs@5", "apps.shop.retention.logs@5"}},
		"faults of one line are all told":           {yaml: "retention: {runs: 5000, logz: 1h}" + parts, want: []string{"apps.shop.retention.logz@5", "apps.shop.retention.runs@5"}},
		"a key of a later line has its own nearest": {yaml: "max_ages: 3d" + parts, want: []string{"apps.shop.max_ages@5"}, says: `did you mean "max_age"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test.run(t, before) })
	}
}

func TestScheduleFaults(t *testing.T) {
	const before = "apps: {shop: {parts: [{name: web, use: helm}]}}\nschedules:\n"
	tests := map[string]faultTest{
		"one with everything":               {yaml: "- {name: nightly, cron: '0 20 * * MON-FRI', time_zone: Europe/Berlin, verb: cleanup, where: 'true', apps: [shop], catch_up: none, warn: [2d, 1h], reason: Night.}"},
		"nothing":                           {yaml: "- {}", want: []string{"schedules[0].name@3", "schedules[0].cron@3", "schedules[0].verb@3"}},
		"two of one name":                   {yaml: "- {name: one, cron: '0 2 * * *', verb: sleep}\n- {name: one, cron: '0 2 * * *', verb: wake}", want: []string{"schedules[1].name@4"}},
		"Berth's own":                       {yaml: "- {name: expiry, cron: '0 2 * * *', verb: sleep}", want: []string{"schedules[0].name@3"}},
		"six fields":                        {yaml: "- {name: one, cron: '0 0 2 * * *', verb: sleep}", want: []string{"schedules[0].cron@3"}, says: "five fields"},
		"a word for them":                   {yaml: "- {name: one, cron: '@daily', verb: sleep}", want: []string{"schedules[0].cron@3"}},
		"a zone within":                     {yaml: "- {name: one, cron: 'TZ=UTC 0 2 * * *', verb: sleep}", want: []string{"schedules[0].cron@3"}},
		"a minute that is none":             {yaml: "- {name: one, cron: '61 2 * * *', verb: sleep}", want: []string{"schedules[0].cron@3"}},
		"a day that never comes":            {yaml: "- {name: one, cron: '0 2 30 2 *', verb: sleep}", want: []string{"schedules[0].cron@3"}, says: "never comes"},
		"a zone that is none":               {yaml: "- {name: one, cron: '0 2 * * *', time_zone: Europe/Berln, verb: sleep}", want: []string{"schedules[0].time_zone@3"}},
		"this machine's own zone":           {yaml: "- {name: one, cron: '0 2 * * *', time_zone: Local, verb: sleep}", want: []string{"schedules[0].time_zone@3"}},
		"a deploy of what":                  {yaml: "- {name: one, cron: '0 2 * * *', verb: deploy}", want: []string{"schedules[0].verb@3"}, says: "of what"},
		"a verb that is none":               {yaml: "- {name: one, cron: '0 2 * * *', verb: slep}", want: []string{"schedules[0].verb@3"}, says: `did you mean "sleep"`},
		"an app that is not there":          {yaml: "- {name: one, cron: '0 2 * * *', verb: sleep, apps: [shopp]}", want: []string{"schedules[0].apps[0]@3"}, says: `did you mean "shop"`},
		"to catch up with two":              {yaml: "- {name: one, cron: '0 2 * * *', verb: sleep, catch_up: two}", want: []string{"schedules[0].catch_up@3"}},
		"to take away without a word":       {yaml: "- {name: one, cron: '0 2 * * *', verb: archive, warn: []}", want: []string{"schedules[0].warn@3"}},
		"to warn of what takes none away":   {yaml: "- {name: one, cron: '0 2 * * *', verb: sleep, warn: [1h]}", want: []string{"schedules[0].warn@3"}},
		"warnings that nobody could follow": {yaml: "- {name: one, cron: '0 2 * * *', verb: cleanup, warn: [1s, 1h, 1h]}", want: []string{"schedules[0].warn[0]@3", "schedules[0].warn[2]@3"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test.run(t, before) })
	}
}

func TestReconcileFaults(t *testing.T) {
	tests := map[string]faultTest{
		"never":                     {yaml: "reconcile: {every: 0s}"},
		"too often":                 {yaml: "reconcile: {every: 1s}", want: []string{"reconcile.every@1"}},
		"orphans that disappear":    {yaml: "reconcile: {orphans: delete}", want: []string{"reconcile.orphans@1"}},
		"orphans of no word at all": {yaml: "reconcile: {orphans: ''}", want: []string{"reconcile.orphans@1"}},
		"no limit":                  {yaml: "reconcile: {max_deletions: 0}", want: []string{"reconcile.max_deletions@1"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test.run(t, "") })
	}
}

func TestReconcileIsOnWhereThereIsSomethingToCompareWith(t *testing.T) {
	tests := map[string]struct {
		yaml string
		want time.Duration
	}{
		"with GitHub":            {yaml: "github: {webhook_secret: {env: A}, token: {env: B}}", want: DefaultReconcileEvery},
		"with the section":       {yaml: "reconcile: {orphans: cleanup}", want: DefaultReconcileEvery},
		"with neither":           {yaml: "server: {}"},
		"unless it says never":   {yaml: "github: {webhook_secret: {env: A}, token: {env: B}}\nreconcile: {every: 0s}"},
		"as often as it says so": {yaml: "reconcile: {every: 1h}", want: time.Hour},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := Parse([]byte(test.yaml))
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Duration(c.Reconcile.Every); got != test.want || c.Reconcile.MaxDeletions != DefaultMaxDeletions {
				t.Errorf("every %v, %d deletions; want %v", got, c.Reconcile.MaxDeletions, test.want)
			}
		})
	}
}

func TestNotificationFaults(t *testing.T) {
	const before = "github: {webhook_secret: {env: A}, token: {env: B}}\nnotifications:\n- "
	tests := map[string]faultTest{
		"an issue":                      {yaml: "{to: [{surface: github, channel: 'acme/ops#7'}]}"},
		"an address by reference":       {yaml: "{events: ['*'], severity: error, to: [{surface: webhook, url: {env: HOOK}, secret: {env: S}}, {surface: home}, {surface: log}]}"},
		"an address on this machine":    {yaml: "{to: [{surface: webhook, url: 'http://127.0.0.1:9/hook', secret: {file: s}}]}"},
		"nowhere":                       {yaml: "{events: [environment.failed]}", want: []string{"notifications[0].to@3"}},
		"an event that is none":         {yaml: "{events: [environment.faild], to: [{surface: home}]}", want: []string{"notifications[0].events[0]@3"}, says: `did you mean "environment.failed"`},
		"an event without its kind":     {yaml: "{events: [failed], to: [{surface: home}]}", want: []string{"notifications[0].events[0]@3"}, says: `did you mean "environment.failed"`},
		"all of a kind":                 {yaml: "{events: ['environment.*', 'request.*'], to: [{surface: home}]}"},
		"all of no kind":                {yaml: "{events: ['environ.*'], to: [{surface: home}]}", want: []string{"notifications[0].events[0]@3"}},
		"a severity that is none":       {yaml: "{severity: warn, to: [{surface: home}]}", want: []string{"notifications[0].severity@3"}},
		"an app that is not there":      {yaml: "{apps: [shop], to: [{surface: home}]}", want: []string{"notifications[0].apps[0]@3"}},
		"a surface to come":             {yaml: "{to: [{surface: mattermost, channel: C1}]}", want: []string{"notifications[0].to[0].surface@3"}, says: "Mattermost"},
		"a surface without its section": {yaml: "{to: [{surface: slack, channel: C1}]}", want: []string{"notifications[0].to[0].surface@3"}, says: "section slack"},
		"a surface that is none":        {yaml: "{to: [{surface: githb}]}", want: []string{"notifications[0].to[0].surface@3"}, says: `did you mean "github"`},
		"a repository and no issue":     {yaml: "{to: [{surface: github, channel: acme/ops}]}", want: []string{"notifications[0].to[0].channel@3"}},
		"a home with a channel":         {yaml: "{to: [{surface: home, channel: 'acme/ops#7'}]}", want: []string{"notifications[0].to[0].channel@3"}},
		"a log with an address":         {yaml: "{to: [{surface: log, url: 'https://x.org'}]}", want: []string{"notifications[0].to[0]@3"}},
		"a webhook that nobody signs":   {yaml: "{to: [{surface: webhook, url: 'https://x.org/hook'}]}", want: []string{"notifications[0].to[0].secret@3"}},
		"a webhook to nowhere":          {yaml: "{to: [{surface: webhook, secret: {env: S}}]}", want: []string{"notifications[0].to[0].url@3"}},
		"a webhook over plain http":     {yaml: "{to: [{surface: webhook, url: 'http://x.org/hunter2', secret: {env: S}}]}", want: []string{"notifications[0].to[0].url@3"}, says: "https"},
		"a webhook with a password":     {yaml: "{to: [{surface: webhook, url: 'https://a:hunter2@x.org/', secret: {env: S}}]}", want: []string{"notifications[0].to[0].url@3"}, says: "reference"},
		"a webhook with a token":        {yaml: "{to: [{surface: webhook, url: 'https://x.org/?t=hunter2', secret: {env: S}}]}", want: []string{"notifications[0].to[0].url@3"}, says: "reference"},
		"a webhook that is no address":  {yaml: "{to: [{surface: webhook, url: hunter2, secret: {env: S}}]}", want: []string{"notifications[0].to[0].url@3"}},
		"a webhook by two references":   {yaml: "{to: [{surface: webhook, url: {env: A, file: b}, secret: {env: S}}]}", want: []string{"notifications[0].to[0]@3"}},
		"a secret that is written out":  {yaml: "{to: [{surface: webhook, url: 'https://x.org', secret: hunter2}]}", want: []string{"notifications[0].to[0]@3"}},
		"faults of two routes together": {yaml: "{to: [{surface: home, channel: a}]}\n- {to: []}", want: []string{"notifications[0].to[0].channel@3", "notifications[1].to@4"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test.run(t, before) })
	}
	t.Run("GitHub without its section", func(t *testing.T) {
		faultTest{yaml: "notifications: [{to: [{surface: github, channel: 'acme/ops#7'}]}]", want: []string{"notifications[0].to[0].surface@1"}}.run(t, "")
	})
}

func TestTheLastGroupCountsAndTheAppAboveAll(t *testing.T) {
	c, err := Parse([]byte(`
plugins: {helm: {path: berth-helm, env: [KEY]}}
secrets: {key: {env: KEY}}
vars:
  one: {A: "1", B: "1", C: {secret: key}}
  two: {B: "2", D: "2"}
apps:
  shop: {vars_from: [one, two], vars: {C: own, D: {secret: key}}, parts: [{name: web, use: helm}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]Value{"A": {Text: "1"}, "B": {Text: "2"}, "C": {Text: "own"}, "D": {Secret: "key"}}
	if got := c.Variables(c.Apps["shop"]); !maps.Equal(got, want) {
		t.Errorf("variables\n got %v\nwant %v", got, want)
	}
}

func TestAnAddressIsReadWithoutBeingRepeated(t *testing.T) {
	tests := map[string]struct {
		value string
		fails bool
	}{
		"an address":                  {value: "https://hooks.example.org/T0/hunter2?x=y"},
		"one on this machine":         {value: "http://[::1]:8080/hunter2"},
		"one over plain http":         {value: "http://hooks.example.org/hunter2", fails: true},
		"one with a password":         {value: "https://a:hunter2@hooks.example.org/", fails: true},
		"one that is none":            {value: "hunter2", fails: true},
		"one with a control sequence": {value: "https://x.org/\x7fhunter2", fails: true},
		"another scheme":              {value: "file:///hunter2", fails: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("BERTH_TEST_HOOK", test.value)
			got, err := Address{From: Secret{Env: "BERTH_TEST_HOOK"}}.Value()
			if (err != nil) != test.fails || !test.fails && got != test.value {
				t.Errorf("Value() = %q, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error %q repeats the address", err)
			}
		})
	}
}

func TestAPlaceIsTheSameWhereverItStandsAndTellsNoSecret(t *testing.T) {
	tests := map[string]struct {
		outlet Outlet
		want   string
	}{
		"an issue":                {outlet: Outlet{Surface: "github", Channel: "acme/ops#7"}, want: "acme/ops#7"},
		"home":                    {outlet: Outlet{Surface: "home"}},
		"a webhook by reference":  {outlet: Outlet{Surface: "webhook", URL: Address{From: Secret{Env: "HOOK"}}, Secret: Secret{File: "s"}}, want: "env:HOOK file:s"},
		"a webhook that is shown": {outlet: Outlet{Surface: "webhook", URL: Address{URL: "https://x.org/hook"}, Secret: Secret{Env: "S"}}, want: "https://x.org/hook env:S"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := test.outlet.Place(); got != test.want {
				t.Errorf("Place() = %q, want %q", got, test.want)
			}
		})
	}
}
