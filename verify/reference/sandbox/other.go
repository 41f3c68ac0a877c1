//go:build !linux || !(amd64 || arm64)

package sandbox

import (
	"context"
	"fmt"
	"runtime"
)

func launch(context.Context, *Config, Backend, *logWriter) (*reply, error) {
	return &reply{Setup: fmt.Sprintf("sandboxes need Linux on amd64 or arm64, this is %s on %s", runtime.GOOS, runtime.GOARCH)}, nil
}

// Init is the whole life of the first process of a sandbox; it returns the exit code of the process.
func Init() int { return 2 }
