//go:build !unix || solaris || illumos

package archive

import (
	"errors"
	"fmt"
	"os"
)

// flock has nothing to stand on here: the server runs where there is flock(2),
// and elsewhere the program is a client only.
func flock(*os.File, bool) (bool, error) {
	return false, fmt.Errorf("folders of sources cannot be locked on this system: %w", errors.ErrUnsupported)
}
