package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAliasesThatMultiplyAreRefused(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx0: &x0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n")
	for n := 1; n < 12; n++ {
		fmt.Fprintf(&text, "x%d: &x%d [%s]\n", n, n, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", n-1), 9), ", "))
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"kustomization.yaml": "resources: [bomb.yaml]\n", "bomb.yaml": text.String()} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, read := range map[string]func(*sources) error{
		"in manifests":       func(src *sources) error { return src.manifests(text.String()) },
		"in a kustomization": func(src *sources) error { return src.kustomize(dir) },
	} {
		t.Run(name, func(t *testing.T) {
			if err := read(&sources{digests: map[string]string{}}); err == nil {
				t.Error("taken")
			}
		})
	}
}
