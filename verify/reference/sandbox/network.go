package sandbox

import "regexp"

// network is what programs print that could not reach a host: curl, git, wget, Go, pip, npm, cargo, apt, bash.
var network = regexp.MustCompile(`(?i)could ?n[o']t resolve|unable to resolve|name resolution|temporary failure resolving|` +
	`name or service not known|network is unreachable|network unreachable|getaddrinfo|\bENOTFOUND\b|\bEAI_AGAIN\b|\bENETUNREACH\b|` +
	`failed to lookup address|dial (?:tcp|udp)|no such host|unknown host|nodename nor servname|no address associated`)

// networkHint says what is behind the failure of a step, if the end of the log looks as if it was the network. It is a
// guess for a person to read: the build writes the log.
func networkHint(log []byte) string {
	if !network.Match(log) {
		return ""
	}
	return "; it looks as if the build asked for the network, and a sandbox has none: make what it fetches a source of the recipe"
}
