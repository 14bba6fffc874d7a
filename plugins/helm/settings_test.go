package helm

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chartutil"

	"github.com/berth-dev/berth/plugins/sdk"
)

func TestReadSettings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		with  map[string]any
		says  string // of the error; "" for none
		check func(settings) bool
	}{
		"a chart alone has defaults": {
			with: map[string]any{"chart": "./c"},
			check: func(s settings) bool {
				return s.Release == "shop-pr-42-web" && s.VarsKey == "env" && s.Wait && s.CreateNamespace && s.Timeout == 10*time.Minute && s.FailFast == 20*time.Second
			},
		},
		"everything can be said": {
			with: map[string]any{"chart": "c", "repo": "https://x", "version": "1", "release": "r", "vars_key": "", "timeout": "30s", "fail_fast": "0s", "wait": false, "plain_http": true, "create_namespace": false, "url": "https://u", "values": map[string]any{"a": 1.0}},
			check: func(s settings) bool {
				return s.Release == "r" && s.VarsKey == "" && !s.Wait && s.PlainHTTP && !s.CreateNamespace && s.FailFast == 0 && s.URL == "https://u"
			},
		},
		"a chart is needed":                  {with: map[string]any{}, says: "needs `chart`"},
		"an unknown setting is named":        {with: map[string]any{"chart": "c", "chrat": 1.0}, says: `no setting "chrat"`},
		"a wrong type is named":              {with: map[string]any{"chart": 5.0}, says: "`chart` is a number"},
		"a duration must be one":             {with: map[string]any{"chart": "c", "timeout": "soon"}, says: "`timeout`"},
		"a negative duration is none":        {with: map[string]any{"chart": "c", "fail_fast": "-1s"}, says: "`fail_fast`"},
		"a timeout of nothing is none":       {with: map[string]any{"chart": "c", "timeout": "0s"}, says: "`timeout`"},
		"a release's name must be one":       {with: map[string]any{"chart": "c", "release": "No_Good"}, says: "cannot name a Helm release"},
		"values that are no map are refused": {with: map[string]any{"chart": "c", "values": []any{}}, says: "`values`"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := readSettings(sdk.Step{App: "shop", Env: "pr-42", Part: "web", Namespace: "ns", With: tt.with})
			if tt.says != "" {
				fault(t, err, sdk.FaultInvalid, tt.says)
				return
			}
			if err != nil || !tt.check(s) {
				t.Errorf("got %+v, %v", s, err)
			}
		})
	}
}

func TestSchemaAndReaderAgree(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("with.json", withSchema()); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("with.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, with := range map[string]map[string]any{
		"good":       {"chart": "c", "timeout": "1m30s", "wait": false, "values": map[string]any{}},
		"no chart":   {"version": "1"},
		"unknown":    {"chart": "c", "x": "y"},
		"wrong type": {"chart": "c", "wait": "yes"},
		"duration":   {"chart": "c", "timeout": "1 minute"},
	} {
		_, readErr := readSettings(sdk.Step{App: "a", Env: "b", Part: "c", Namespace: "n", With: with})
		if schemaErr := s.Validate(with); (schemaErr == nil) != (readErr == nil) {
			t.Errorf("%s: the schema says %v, the reader %v", name, schemaErr, readErr)
		}
	}
	properties, _ := withSchema()["properties"].(map[string]any)
	if n := reflect.TypeFor[rawSettings]().NumField(); n != len(properties) {
		t.Errorf("%d settings are read, %d are described", n, len(properties))
	}
}

func TestReleaseName(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 40)
	if got := releaseName("shop", "pr-42", "web"); got != "shop-pr-42-web" {
		t.Errorf("got %q", got)
	}
	seen := map[string]string{}
	for _, n := range [][3]string{
		{long, "pr-1", "web"}, {long, "pr-2", "web"}, {long, long, "web"}, {long, long, "api"},
		{"shop", "pr-1", "Web_1"}, {"shop", "pr-1", "web.1"}, {"shop", "pr-1", "web-1"}, {"shop", "pr-1", "__"}, {"ß", "é", "—"},
	} {
		name := releaseName(n[0], n[1], n[2])
		if err := chartutil.ValidateReleaseName(name); err != nil {
			t.Errorf("%v gives %q: %v", n, name, err)
		}
		key := strings.Join(n[:], "/")
		if other, ok := seen[name]; ok {
			t.Errorf("%s and %s are both %q", key, other, name)
		}
		seen[name] = key
	}
}

func testChart() *chart.Chart {
	return &chart.Chart{
		Metadata: &chart.Metadata{APIVersion: "v2", Name: "c", Version: "1.0.0"},
		Values: map[string]any{
			"env": map[string]any{}, "replicas": int64(1), "tag": "", "debug": false,
			"list": []any{map[string]any{"name": "a", "port": int64(1)}, "b"}, "labels": map[string]any{"x.y/z": "old"},
			"group": map[string]any{"a": "1", "b": map[string]any{"c": nil}}, "array": []any{},
		},
	}
}

func TestLayeredValues(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		values map[string]any
		key    string
		vars   map[string]string
		set    map[string]string
		want   map[string]any
		says   string
	}{
		"whole numbers stay whole":              {values: map[string]any{"replicas": 2.0, "ratio": 0.5}, want: map[string]any{"replicas": int64(2), "ratio": 0.5}},
		"variables go over values":              {values: map[string]any{"env": map[string]any{"A": "1", "B": "2"}}, key: "env", vars: map[string]string{"B": "3"}, want: map[string]any{"env": map[string]any{"A": "1", "B": "3"}}},
		"variables stay text":                   {key: "env", vars: map[string]string{"N": "1", "T": "true"}, want: map[string]any{"env": map[string]any{"N": "1", "T": "true"}}},
		"variables go deep":                     {key: "group.b.env", vars: map[string]string{"N": "1"}, want: map[string]any{"group": map[string]any{"b": map[string]any{"env": map[string]any{"N": "1"}}}}},
		"variables cannot go over a list":       {key: "array", vars: map[string]string{"N": "1"}, says: "is not a map"},
		"variables cannot go over text":         {key: "tag", vars: map[string]string{"N": "1"}, says: "is not a map"},
		"an empty key keeps variables out":      {key: "", vars: map[string]string{"N": "1"}, want: map[string]any{}},
		"set goes over variables":               {key: "env", vars: map[string]string{"N": "1"}, set: map[string]string{"env.N": "x"}, want: map[string]any{"env": map[string]any{"N": "x"}}},
		"set takes the chart's type":            {set: map[string]string{"replicas": "3", "debug": "true", "tag": "12345"}, want: map[string]any{"replicas": int64(3), "debug": true, "tag": "12345"}},
		"an unknown key is typed as Helm does":  {set: map[string]string{"a": "1", "b": "TRUE", "c": "01", "d": "1.5", "e": "null", "f": "0"}, want: map[string]any{"a": int64(1), "b": true, "c": "01", "d": "1.5", "e": "null", "f": int64(0)}},
		"hostile values stay literal":           {set: map[string]string{"tag": `a,b=c`, "group.a": `{x,y}`, "new": `a\,b[0].c={}`}, want: map[string]any{"tag": `a,b=c`, "group": map[string]any{"a": `{x,y}`}, "new": `a\,b[0].c={}`}},
		"set changes one place in a list":       {set: map[string]string{"list[0].port": "2"}, want: map[string]any{"list": []any{map[string]any{"name": "a", "port": int64(2)}, "b"}}},
		"set appends to a list":                 {set: map[string]string{"list[2]": "c"}, want: map[string]any{"list": []any{map[string]any{"name": "a", "port": int64(1)}, "b", "c"}}},
		"set leaves no holes in a list":         {set: map[string]string{"list[5]": "c"}, says: "the next place is [2]"},
		"a dot in a name is escaped":            {set: map[string]string{`labels.x\.y/z`: "new"}, want: map[string]any{"labels": map[string]any{"x.y/z": "new"}}},
		"a group cannot be replaced by text":    {set: map[string]string{"group": "x"}, says: "group of settings"},
		"a list cannot be replaced by text":     {set: map[string]string{"list": "x"}, says: "is a list"},
		"text has nothing inside":               {set: map[string]string{"tag.x": "1"}, says: "single value"},
		"two keys that contradict are an error": {set: map[string]string{"n": "1", "n.x": "2"}, says: "single value"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := layered(testChart(), settings{Values: tt.values, VarsKey: tt.key}, sdk.Step{Vars: tt.vars, Set: tt.set}, nil)
			if tt.says != "" {
				fault(t, err, sdk.FaultInvalid, tt.says)
				return
			}
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %#v, %v\nwant %#v", got, err, tt.want)
			}
		})
	}
}

func TestSettingNeverChangesTheSettingsOrTheChart(t *testing.T) {
	t.Parallel()
	s := settings{Values: map[string]any{"list": []any{map[string]any{"a": "1"}}}, VarsKey: "env"}
	ch := testChart()
	if _, _, err := layered(ch, s, sdk.Step{Vars: map[string]string{"A": "1"}, Set: map[string]string{"list[0].a": "2", "group.a": "9", "env.B": "2"}}, nil); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(s.Values, map[string]any{"list": []any{map[string]any{"a": "1"}}}) {
		t.Errorf("the settings were changed: %v", s.Values)
	}
	if !reflect.DeepEqual(ch.Values, testChart().Values) {
		t.Errorf("the chart was changed: %v", ch.Values)
	}
}

// FuzzSet holds that setting one key changes what is at that key, to exactly
// the text given or to what it stands for, and nothing else.
func FuzzSet(f *testing.F) {
	for _, seed := range [][2]string{
		{"image.tag", "a,b=c"}, {"tag", "{x}"}, {`a\.b`, `c\,d`}, {"list[0].port", "8080"}, {"list[99999999999]", "x"},
		{"env.A", "true"}, {"x[0][0].y", "\x00"}, {"..", "x"}, {"a[", "x"}, {"group", "null"}, {"", ""}, {"replicas", "1e9"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		base := testChart().Values
		got, _, err := layered(testChart(), settings{}, sdk.Step{Set: map[string]string{key: value}}, nil)
		if err != nil {
			if _, ok := err.(*sdk.Error); !ok { //nolint:errorlint // exactly this type is what people are shown
				t.Fatalf("%q=%q: %v (%T)", key, value, err, err)
			}
			return
		}
		path, err := parseKey(key)
		if err != nil {
			t.Fatalf("%q was set, but cannot be read: %v", key, err)
		}
		var want any = got
		var was any = base
		for _, h := range path {
			if h.index >= 0 {
				list, _ := want.([]any)
				want = list[h.index]
				old, _ := was.([]any)
				was = nil
				for i, item := range old {
					if i != h.index && !reflect.DeepEqual(item, list[i]) {
						t.Fatalf("%q=%q changed place %d of the list", key, value, i)
					}
					if i == h.index {
						was = item
					}
				}
				continue
			}
			m, _ := want.(map[string]any)
			if old, isMap := was.(map[string]any); was == nil || isMap {
				for name := range m {
					if name != h.name && !reflect.DeepEqual(old[name], m[name]) {
						t.Fatalf("%q=%q also set %q", key, value, name)
					}
				}
				was = old[h.name]
			}
			want = m[h.name]
		}
		if want != typed(value, was) {
			t.Fatalf("%q=%q set %#v", key, value, want)
		}
		if text, ok := want.(string); ok && text != value {
			t.Fatalf("%q=%q became %q", key, value, text)
		}
	})
}
