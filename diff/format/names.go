package format

import "strconv"

// names makes the names of siblings unique: a name that repeats gets "#2",
// "#3" and so on, in order of appearance.
type names map[string]int

func (n names) unique(name string) string {
	count, taken := n[name]
	if !taken {
		n[name] = 1
		return name
	}
	for {
		count++
		next := name + "#" + strconv.Itoa(count)
		if _, taken := n[next]; !taken {
			n[name], n[next] = count, 1
			return next
		}
	}
}
