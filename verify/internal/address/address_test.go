package address_test

import (
	"testing"

	"github.com/assaylab/assay/verify/internal/address"
)

func TestIsPrivate(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost.": true, "a.localhost": true, "127.0.0.1": true, "::1": true, "::ffff:127.0.0.1": true,
		"0.0.0.0": true, "::": true, "10.1.2.3": true, "172.16.0.1": true, "192.168.1.1": true, "169.254.169.254": true,
		"100.64.0.1": true, "fd00::1": true, "fe80::1%eth0": true, "64:ff9b::a00:1": true, "224.0.0.1": true, "255.255.255.255": true,
		"2002:7f00:1::": true, "example.org": false, "8.8.8.8": false, "2606:4700::1": false, "64:ff9b::808:808": false,
		"172.32.0.1": false, "100.128.0.1": false, "localhost.example": false,
	} {
		if got := address.IsPrivate(host); got != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"Example.ORG.": "example.org", "::ffff:10.0.0.1": "10.0.0.1", "FE80::1%eth0": "fe80::1", "0:0:0:0:0:0:0:1": "::1",
	} {
		if got := address.Plain(in); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
	for in, want := range map[string]string{"h:80": "h", "[::1]:80": "::1", "[::1]": "::1", "h": "h"} {
		if got := address.Host(in); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
}
