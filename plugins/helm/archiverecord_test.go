package helm

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage"
	"helm.sh/helm/v3/pkg/storage/driver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/berth-dev/berth/plugins/sdk"
	"github.com/berth-dev/berth/plugins/sdk/kube"
)

func TestTheArchivedRevisionStaysInTheHistory(t *testing.T) {
	recs := &records{Driver: driver.NewMemory()}
	store := storage.Init(recs)
	store.MaxHistory = 3
	recs.keep = 2
	for v := 1; v <= 12; v++ {
		rel := &release.Release{Name: "shop", Version: v, Namespace: "default", Info: &release.Info{Status: release.StatusFailed}}
		if err := store.Create(rel); err != nil {
			t.Fatal(err)
		}
	}
	list, err := store.History("shop")
	if err != nil {
		t.Fatal(err)
	}
	var versions []int
	for _, rel := range list {
		versions = append(versions, rel.Version)
	}
	if text := fmt.Sprint(versions); !strings.Contains(text, "2 ") || len(versions) > 4 {
		t.Errorf("the history has %v", versions)
	}
}

func TestWhatStaysOfAManifest(t *testing.T) {
	kept, err := keptManifest(`---
# Source: a
apiVersion: v1
kind: Secret
metadata: {name: s}
---
apiVersion: v1
kind: Service
metadata: {name: w}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: gone}}
  - {apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: k, annotations: {helm.sh/resource-policy: keep}}
---
apiVersion: postgresql.cnpg.io/v1
kind: Cluster
metadata: {name: pg}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
`)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := parseManifest(kept)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, o := range objects {
		names[kube.Title(o)] = true
	}
	want := map[string]bool{"Secret s": true, "PersistentVolumeClaim data": true, "ConfigMap k": true, "Cluster pg": true}
	if !maps.Equal(names, want) {
		t.Errorf("%v stay, want %v", names, want)
	}
}

func TestARecordIsOfOneRevision(t *testing.T) {
	rel := func(version int, status release.Status, labels map[string]string) *release.Release {
		return &release.Release{Name: "shop", Version: version, Manifest: fmt.Sprint("m", version), Labels: labels,
			Info: &release.Info{Status: status}, Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "shop", Version: "1.0.0"}}}
	}
	marker := map[string]string{labelArchived: "1"}
	one := rel(1, release.StatusSuperseded, nil)
	record := &archived{Version: archiveVersion, Release: "shop", At: time.Unix(0, 0)}
	if err := record.about(one); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		past []*release.Release
		want bool
	}{
		"archived":                              {[]*release.Release{one, rel(2, release.StatusDeployed, marker)}, true},
		"a restore of it failed":                {[]*release.Release{one, rel(2, release.StatusSuperseded, marker), rel(3, release.StatusFailed, nil)}, true},
		"deployed since":                        {[]*release.Release{one, rel(2, release.StatusSuperseded, marker), rel(3, release.StatusDeployed, nil)}, false},
		"another release has the number by now": {[]*release.Release{{Name: "shop", Version: 1, Manifest: "other", Info: &release.Info{Status: release.StatusDeployed}}}, false},
		"never deployed":                        {[]*release.Release{rel(1, release.StatusFailed, nil)}, false},
	} {
		if got := record.current(tt.past); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
	var none *archived
	if none.current(nil) {
		t.Error("no record is about nothing")
	}
}

func TestARecordThatCannotBeUsedIsSaid(t *testing.T) {
	t.Parallel()
	x := New(Options{})
	step := shop(t)
	run(t, x, step)
	run(t, x, verb(step, sdk.Archive))
	secrets := client(t).CoreV1().Secrets(step.Namespace)
	for name, tt := range map[string]struct{ data, says string }{
		"it is damaged":               {`{"version":`, "is damaged"},
		"it is of a newer executor":   {`{"version":99,"release":"shop-pr-42-web"}`, "newer version"},
		"it is about another release": {`{"version":1,"release":"other"}`, "is damaged"},
	} {
		patch := fmt.Appendf(nil, `{"data":null,"stringData":{%q:%q}}`, archiveKey, tt.data)
		if _, err := secrets.Patch(t.Context(), archivePrefix+"shop-pr-42-web", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := x.Plan(t.Context(), asWas(step))
		e, ok := errors.AsType[*sdk.Error](err)
		if !ok || !strings.Contains(e.Msg, tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
