// Command assay says whether deployed firmware is the firmware that the audited
// source builds.
package main

import "os"

func main() { os.Exit(run(os.Args, os.Stdout, os.Stderr)) }
