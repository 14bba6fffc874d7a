package aws

import (
	"slices"
	"strings"
	"testing"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/rds"
	rdstypes "github.com/aws/aws-sdk-go-v2/service/rds/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	smtypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/berth-dev/berth/plugins/aws/awstest"
	"github.com/berth-dev/berth/plugins/sdk"
)

func TestWhatIsNotBerthsIsNeitherChangedNorDeleted(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tags map[string]string
		says string
	}{
		"made by hand":              {nil, "did not make it"},
		"half marked":               {map[string]string{tagApp: "shop"}, "did not make it"},
		"another environment's":     {owner{app: "shop", env: "pr-43", part: "db", installation: "berth-1"}.tags(), "shop/pr-43"},
		"another part's":            {owner{app: "shop", env: "pr-42", part: "queue", installation: "berth-1"}.tags(), "part queue"},
		"another Berth's":           {owner{app: "shop", env: "pr-42", part: "db", installation: "berth-2"}.tags(), "another Berth"},
		"an app's of the same name": {owner{app: "shop-pr", env: "42", part: "db", installation: "berth-1"}.tags(), "shop-pr/42"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, awstest.Options{})
			w.strangers(t, test.tags)
			dump := w.Dump()
			for _, with := range []map[string]any{{"rds": map[string]any{"engine": "postgres"}}, {"aurora": map[string]any{"engine": "aurora-mysql"}}, {"secret": map[string]any{}}} {
				for _, verb := range []sdk.Verb{sdk.Deploy, sdk.Archive, sdk.Restore, sdk.Sleep, sdk.Wake, sdk.Restart} {
					_, err := w.executor().Plan(t.Context(), w.step(verb, with))
					if _, ok := with["secret"]; ok && verb != sdk.Deploy && verb != sdk.Restore {
						continue // a secret is left alone by these
					}
					refused(t, err, test.says)
					_, err = w.run(t, w.step(verb, with))
					refused(t, err, test.says)
				}
				if seen, err := w.executor().Observe(t.Context(), w.step(sdk.Deploy, with)); err != nil || seen.Health != sdk.Unhealthy {
					t.Errorf("it is seen as %+v, %v", seen, err)
				}
				w.must(t, w.step(sdk.Cleanup, with))
			}
			w.must(t, w.step(sdk.Cleanup, nil))
			if now := w.Dump(); now != dump {
				t.Errorf("it changed\n%s\nto\n%s", dump, now)
			}
		})
	}
}

// strangers are an instance, a cluster and a secret that have the names that the
// part's would have.
func (w *world) strangers(t *testing.T, tags map[string]string) {
	t.Helper()
	name := "berth-shop-pr-42-db"
	api := rds.NewFromConfig(w.Config(testRegion))
	_, err := api.CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: &name, Engine: awssdk.String("postgres"), DBInstanceClass: awssdk.String("db.t4g.micro"), AllocatedStorage: awssdk.Int32(20),
		MasterUsername: awssdk.String("ana"), ManageMasterUserPassword: awssdk.Bool(true), Tags: asRDSTags(tags),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = api.CreateDBCluster(t.Context(), &rds.CreateDBClusterInput{
		DBClusterIdentifier: &name, Engine: awssdk.String("aurora-mysql"), MasterUsername: awssdk.String("ana"), ManageMasterUserPassword: awssdk.Bool(true), Tags: asRDSTags(tags),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = secretsmanager.NewFromConfig(w.Config(testRegion)).CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{
		Name: &name, SecretString: awssdk.String("{}"), Tags: tagList(tags, func(k, v *string) smtypes.Tag { return smtypes.Tag{Key: k, Value: v} }),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Settle()
}

func TestAnInstanceThatSomebodyAddedToAClusterKeepsItFromBeingDeleted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, awstest.Options{})
	with := map[string]any{"aurora": map[string]any{"engine": "aurora-postgresql"}}
	w.must(t, w.step(sdk.Deploy, with))
	_, err := rds.NewFromConfig(w.Config(testRegion)).CreateDBInstance(t.Context(), &rds.CreateDBInstanceInput{
		DBInstanceIdentifier: awssdk.String("reports"), DBClusterIdentifier: awssdk.String("berth-shop-pr-42-db"), Engine: awssdk.String("aurora-postgresql"),
		DBInstanceClass: awssdk.String("db.r6g.large"), Tags: []rdstypes.Tag{},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Settle()
	w.must(t, w.step(sdk.Deploy, with)) // leaves it alone
	_, err = w.run(t, w.step(sdk.Cleanup, with))
	refused(t, err, `"reports"`)
	if !slices.ContainsFunc(w.Things(), func(s string) bool { return strings.Contains(s, "reports") }) {
		t.Error("it was deleted")
	}
}

func TestNamesAreOnesOwn(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 60)
	for name, test := range map[string]struct {
		o    owner
		most int
		want string
	}{
		"as it is":                      {owner{app: "shop", env: "pr-42", part: "db"}, 63, "berth-shop-pr-42-db"},
		"what names cannot have goes":   {owner{app: "Shop_1", env: "pr--42", part: "db"}, 63, "berth-shop-1-pr-42-db-"},
		"too long is cut, with a hash":  {owner{app: "shop", env: "pr-42", part: long}, 30, "berth-shop-pr-42-aa"},
		"the installation counts in it": {owner{app: "shop", env: "pr-42", part: long, installation: "other"}, 30, "berth-shop-pr-42-aa"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.o.name(test.most); !strings.HasPrefix(got, test.want) || len(got) > test.most {
				t.Errorf("it is %q; want it to begin with %q and to have %d characters at most", got, test.want, test.most)
			}
		})
	}
	a, b := owner{app: "shop", env: "pr-42", part: long}, owner{app: "shop", env: "pr-42", part: long + "b"}
	if a.name(40) == b.name(40) {
		t.Error("two parts share a name")
	}
	if a.installation = "other"; a.name(40) == (owner{app: a.app, env: a.env, part: a.part}).name(40) {
		t.Error("two installations share a name")
	}
}

func FuzzNames(f *testing.F) {
	f.Add("shop", "pr-42", "db", 63)
	f.Add("", "--", "ÄÖ\x00", 20)
	f.Fuzz(func(t *testing.T, app, env, part string, most int) {
		most = 24 + max(most, -most, 0)%500
		if most < 24 {
			most = 24
		}
		name := owner{app: app, env: env, part: part}.name(most)
		if len(name) > most || !strings.HasPrefix(name, "berth-") || strings.Contains(name, "--") || strings.HasSuffix(name, "-") || plainName(name) != name {
			t.Errorf("%q is no name that every service takes", name)
		}
	})
}
