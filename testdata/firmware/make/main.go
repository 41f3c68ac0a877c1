// Make makes the embedded firmware, or what a lab needs to rebuild it, in a folder
// (package firmware tells both).
//
//	go run ./testdata/firmware/make -date 2026-01-02T03:04:05Z [-weak | -recipe] DIR
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/assaylab/assay/testdata/firmware"
)

func main() {
	date := flag.String("date", "", "the build date, as 2026-01-02T03:04:05Z")
	weak := flag.Bool("weak", false, "weaken the check of the next stage's address")
	recipe := flag.Bool("recipe", false, "write source and recipe instead of the image")
	flag.Parse()
	if flag.NArg() != 1 || *weak && *recipe {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *date, *weak, *recipe); err != nil {
		fmt.Fprintln(os.Stderr, "make:", err)
		os.Exit(1)
	}
}

func run(dir, date string, weak, recipe bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var err error
	if recipe {
		_, err = firmware.Recipe(context.Background(), dir, date)
	} else {
		_, err = firmware.Build(context.Background(), dir, date, weak)
	}
	return err
}
