package main

import (
	"time"

	"github.com/spf13/pflag"

	"github.com/assaylab/assay/verify"
	"github.com/assaylab/assay/verify/fetch"
)

// fetchFlags say whether and how what a delivery or a recipe names by an address is
// fetched, and where it is kept.
type fetchFlags struct {
	network bool
	cache   string
	most    size
	timeout time.Duration
}

func (ff *fetchFlags) add(f *pflag.FlagSet) {
	ff.most = size(fetch.DefaultMaxSize)
	f.BoolVar(&ff.network, "network", false, "fetch what is named by an address and is not in the cache")
	f.Var(&text{&ff.cache, "DIR"}, "cache", "folder of the cache (default: see assay cache dir)")
	f.Var(&ff.most, "max-size", "most bytes of one file that is fetched")
	f.DurationVar(&ff.timeout, "fetch-timeout", time.Hour, "time for all that is fetched")
}

// fetching is what the flags say.
func (ff *fetchFlags) fetching(say func(string)) verify.Fetching {
	return verify.Fetching{
		MaxSize: int64(ff.most), Timeout: ff.timeout,
		Open: func() (*fetch.Fetcher, error) {
			c, err := fetch.Open(ff.cache)
			if err != nil {
				return nil, err
			}
			return &fetch.Fetcher{Cache: c, Network: ff.network, Progress: say}, nil
		},
	}
}
