package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// pairByName pairs sections of two sides by name (and, where a name repeats, by
// which time it occurs), keeping the order of both: of the pairs that names
// give, the longest rising chain.
func pairByName(rk, dk []Section) [][2]int {
	if slices.EqualFunc(rk, dk, func(r, d Section) bool { return r.Name == d.Name }) {
		out := make([][2]int, len(rk)) // most often
		for i := range out {
			out[i] = [2]int{i, i}
		}
		return out
	}
	type key struct {
		name string
		n    int
	}
	at := make(map[key]int, len(rk))
	seen := map[string]int{}
	for i := range rk {
		at[key{rk[i].Name, seen[rk[i].Name]}] = i
		seen[rk[i].Name]++
	}
	clear(seen)
	var cand [][2]int
	for j := range dk {
		k := key{dk[j].Name, seen[dk[j].Name]}
		seen[dk[j].Name]++
		if i, ok := at[k]; ok {
			cand = append(cand, [2]int{i, j})
		}
	}
	// Longest increasing subsequence in the first index, by patience sorting.
	var tails []int
	prev := make([]int, len(cand))
	for c := range cand {
		k := sort.Search(len(tails), func(k int) bool { return cand[tails[k]][0] >= cand[c][0] })
		prev[c] = -1
		if k > 0 {
			prev[c] = tails[k-1]
		}
		if k == len(tails) {
			tails = append(tails, c)
		} else {
			tails[k] = c
		}
	}
	out := make([][2]int, len(tails))
	if len(tails) > 0 {
		for c, k := tails[len(tails)-1], len(tails)-1; c >= 0; c, k = prev[c], k-1 {
			out[k] = cand[c]
		}
	}
	return out
}

func sortBy[T any](s []T, less func(a, b T) bool) {
	sort.SliceStable(s, func(i, j int) bool { return less(s[i], s[j]) })
}

// maxName is how much of a section's name a path shows, in bytes.
const maxName = 160

// join appends a section to a path: members with a slash, parts of the
// structure with a colon. A file's content goes by the name of the file.
func join(path string, s *Section) string {
	name := Escape(s.Name)
	switch {
	case s.Bunch:
		return path
	case s.Name == "content" && s.Role == RolePayload && path != "":
		return path
	case path == "" || strings.HasSuffix(path, ">"):
		return path + name
	case s.Role == RoleMember:
		return path + "/" + name
	}
	return path + ":" + name
}

// Escape makes a hostile name fit to show: what is not printable is escaped,
// and what is too long is cut and told apart by its SHA-256.
func Escape(name string) string {
	if len(name) > maxName {
		sum := sha256.Sum256([]byte(name))
		name = name[:maxName] + "~" + hex.EncodeToString(sum[:4])
	}
	plain := true
	for _, r := range name {
		if r == utf8.RuneError || r == '\\' || !unicode.IsPrint(r) {
			plain = false
			break
		}
	}
	if plain {
		return name
	}
	q := strconv.QuoteToGraphic(name)
	q = strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
	return q
}

// shown is how a path is shown: the image itself is a dot.
func shown(path string) string {
	if path = strings.TrimSuffix(path, ">"); path == "" {
		return "."
	}
	return path
}
