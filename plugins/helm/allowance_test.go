package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"testing"

	"github.com/berth-dev/berth/plugins/sdk"
)

// pack makes an archive of a chart with further files.
func pack(t *testing.T, files func(add func(name string, data []byte))) []byte {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	tw := tar.NewWriter(gz)
	add := func(name string, data []byte) {
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add("bomb/Chart.yaml", []byte("apiVersion: v2\nname: bomb\nversion: 1.0.0\n"))
	files(add)
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArchivesThatGrowAreRefused(t *testing.T) {
	t.Parallel()
	zeros := make([]byte, maxChartFile)
	large := pack(t, func(add func(string, []byte)) {
		for i := range 12 {
			add(fmt.Sprintf("bomb/files/%d", i), zeros)
		}
	})
	twice := func(add func(string, []byte)) {
		add("bomb/charts/a.tgz", large)
		add("bomb/charts/b.tgz", large)
	}
	tests := map[string]struct {
		archive []byte
		ok      bool
	}{
		"files that are large but within bounds":        {large, true},
		"a chart in a chart":                            {pack(t, func(add func(string, []byte)) { add("bomb/charts/a.tgz", large) }), true},
		"charts in a chart that are too large together": {archive: pack(t, twice)},
		"such charts one level deeper":                  {archive: pack(t, func(add func(string, []byte)) { add("bomb/charts/c.tgz", pack(t, twice)) })},
		"a chart's files that are too large together": {archive: pack(t, func(add func(string, []byte)) {
			for i := range 21 {
				add(fmt.Sprintf("bomb/files/%d", i), zeros)
			}
		})},
		"very many files with nothing in them": {archive: pack(t, func(add func(string, []byte)) {
			for i := range maxFiles {
				add(fmt.Sprintf("bomb/files/%d", i), nil)
			}
		})},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("%d KiB", len(tt.archive)>>10)
			_, err := unpack(tt.archive, "bomb")
			if tt.ok {
				if err != nil {
					t.Error(err)
				}
				return
			}
			fault(t, err, sdk.FaultInvalid, `The chart "bomb" is too large when it is unpacked`)
		})
	}
	t.Run("a folder with packed charts that are too large together", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir, map[string]string{
			"Chart.yaml": "apiVersion: v2\nname: bomb\nversion: 1.0.0\n", "charts/a.tgz": string(large), "charts/b.tgz": string(large),
		})
		_, err := fromFolder(dir)
		fault(t, err, sdk.FaultInvalid, "is too large when it is unpacked")
	})
}
