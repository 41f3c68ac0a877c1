//go:build !unix || solaris || aix

package fetch

import (
	"errors"
	"os"
)

var errNoLocks = errors.New("this system has no flock, without which processes cannot share a cache")

func lock(*os.File) error { return errNoLocks }

func tryLock(*os.File) (bool, error) { return false, errNoLocks }
