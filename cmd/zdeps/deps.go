// Temporary: holds the module requirements until the packages that use them exist.
package main

import (
	_ "github.com/klauspost/compress/flate"
	_ "github.com/mikelolasagasti/xz"
	_ "github.com/rogpeppe/go-internal/testscript"
	_ "github.com/sigstore/cosign/v2/pkg/cosign"
	_ "github.com/sigstore/sigstore-go/pkg/testing/ca"
	_ "github.com/sigstore/sigstore/pkg/cryptoutils"
	_ "github.com/sigstore/sigstore/pkg/signature"
	_ "github.com/spf13/cobra"
	_ "github.com/spf13/pflag"
	_ "github.com/ulikunitz/xz/lzma"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sys/unix"
)

func main() {}
