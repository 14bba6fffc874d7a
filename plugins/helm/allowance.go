package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"path"
	"strings"

	"helm.sh/helm/v3/pkg/chart/loader"
)

// allowance is what a chart may still grow by when it is unpacked, the charts
// packed in it included. Helm bounds the bytes of each archive by itself: not
// the number of files, and not what archives in archives come to, which a few
// hundred kilobytes can make more than any machine has.
type allowance struct {
	bytes int64
	files int
}

func newAllowance() *allowance { return &allowance{bytes: maxUnpacked, files: maxFiles} }

// errGrows is an archive that is more than its allowance.
var errGrows = errors.New("it has too many files, or too large ones, when it is unpacked")

// spend takes what the archive needs, or returns errGrows. Nothing is kept in
// memory but one packed chart per level. An archive that is none costs nothing:
// whoever reads it says what is wrong with it.
func (a *allowance) spend(archive []byte) error {
	gz, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil
	}
	files := tar.NewReader(&metered{gz, a})
	for {
		head, err := files.Next()
		switch {
		case errors.Is(err, errGrows):
			return errGrows
		case err != nil: // its end, or damage
			return nil
		}
		if a.files--; a.files < 0 {
			return errGrows
		}
		if !packedChart(head.Name) {
			continue
		}
		inner, err := io.ReadAll(io.LimitReader(files, maxChartFile))
		if errors.Is(err, errGrows) {
			return errGrows
		}
		if err := a.spend(inner); err != nil {
			return err
		}
	}
}

// spendPacked is spend for the charts that are packed among files.
func (a *allowance) spendPacked(files []*loader.BufferedFile) error {
	for _, f := range files {
		if packedChart(f.Name) {
			if err := a.spend(f.Data); err != nil {
				return err
			}
		}
	}
	return nil
}

// packedChart tells whether Helm unpacks the file of that name with its chart.
func packedChart(name string) bool {
	name = strings.ReplaceAll(name, `\`, "/")
	return path.Ext(name) == ".tgz" && path.Base(path.Dir(name)) == "charts"
}

// metered takes what is read from an allowance.
type metered struct {
	r io.Reader
	a *allowance
}

func (m *metered) Read(p []byte) (int, error) {
	if m.a.bytes <= 0 {
		return 0, errGrows
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.a.bytes)])
	m.a.bytes -= int64(n)
	return n, err
}
