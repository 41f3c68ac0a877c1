package main

import (
	"github.com/spf13/pflag"

	"github.com/assaylab/assay/verify/fetch"
)

// fetchFlags say whether what a delivery or a recipe names by an address may be
// fetched, and where it is kept.
type fetchFlags struct {
	network bool
	cache   string
}

func (ff *fetchFlags) add(f *pflag.FlagSet) {
	f.BoolVar(&ff.network, "network", false, "fetch what is named by an address and is not in the cache")
	f.StringVar(&ff.cache, "cache", "", "folder of the cache (default: see assay cache dir)")
}

// fetcher returns what opens the cache, once something is to be fetched.
func (ff *fetchFlags) fetcher(say func(string)) func() (*fetch.Fetcher, error) {
	return func() (*fetch.Fetcher, error) {
		c, err := fetch.Open(ff.cache)
		if err != nil {
			return nil, err
		}
		return &fetch.Fetcher{Cache: c, Network: ff.network, Progress: say}, nil
	}
}
