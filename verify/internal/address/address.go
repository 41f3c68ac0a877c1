// Package address says of a host's name or address whether it is of the public network, so that who answers from there
// cannot lead a program to what only the program's own machine can reach.
package address

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// Host is a host and port without the port.
func Host(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
}

// Plain is the one spelling of a host's name or address: in lower case, without the dot of the root, the zone, or the
// IPv6 form of an IPv4 address.
func Plain(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.WithZone("").Unmap().String()
	}
	return host
}

// IsPrivate says that a host is not one of the public network, as far as its name or address tells.
func IsPrivate(host string) bool {
	host = Plain(host)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || strings.HasSuffix(host, ".localhost")
	}
	if nat64.Contains(ip) { // the last 4 bytes are an IPv4 address behind a translator
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	return !ip.IsGlobalUnicast() || ip.IsPrivate() ||
		slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// special are the networks that may be local, beside those that package netip knows (IANA's registries of
// special-purpose addresses).
var (
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	special = []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),      // this network
		netip.MustParsePrefix("100.64.0.0/10"),  // shared, behind a provider's NAT
		netip.MustParsePrefix("192.0.0.0/24"),   // protocols
		netip.MustParsePrefix("198.18.0.0/15"),  // benchmarks
		netip.MustParsePrefix("240.0.0.0/4"),    // reserved
		netip.MustParsePrefix("::/96"),          // IPv4-compatible, once
		netip.MustParsePrefix("64:ff9b:1::/48"), // translation, locally
		netip.MustParsePrefix("2001::/32"),      // Teredo
		netip.MustParsePrefix("2002::/16"),      // 6to4
		netip.MustParsePrefix("fec0::/10"),      // site-local, once
	}
)
