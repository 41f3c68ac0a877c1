package derive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A paragraph is one of a file in the format of Debian's control files, deb822(5): fields by their names in lower case.
// The value of a field that goes on in further lines holds them after "\n", without the blank that begins each.
type paragraph map[string]string

const maxLine = 1 << 20 // bytes of a line

// paragraphs calls each for each paragraph of a file.
func paragraphs(r io.Reader, each func(paragraph) error) error {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxLine)
	fields, last, line := map[string][]string{}, "", 0
	flush := func() error {
		if len(fields) == 0 {
			return nil
		}
		p := paragraph{}
		for name, lines := range fields {
			p[name] = strings.Join(lines, "\n")
		}
		fields, last = map[string][]string{}, ""
		return each(p)
	}
	for in.Scan() {
		line++
		text := strings.TrimRight(in.Text(), " \t\r")
		switch {
		case text == "":
			if err := flush(); err != nil {
				return err
			}
		case text[0] == '#':
		case text[0] == ' ' || text[0] == '\t':
			if last == "" {
				return fmt.Errorf("line %d goes on from no field", line)
			}
			fields[last] = append(fields[last], text[1:])
		default:
			name, value, ok := strings.Cut(text, ":")
			name = strings.ToLower(name)
			if !ok || name == "" || strings.ContainsAny(name, " \t") {
				return fmt.Errorf("line %d is not a field and its value", line)
			}
			if fields[name] != nil {
				return fmt.Errorf("line %d: the field %.40q is there already", line, name)
			}
			fields[name], last = []string{strings.TrimLeft(value, " \t")}, name
		}
	}
	if err := in.Err(); err != nil {
		if errors.Is(err, bufio.ErrTooLong) {
			return fmt.Errorf("line %d is longer than %d bytes", line+1, maxLine)
		}
		return err
	}
	return flush()
}

// unarmor takes a text out of a cleartext signature (RFC 9580, section 7), which is not verified.
func unarmor(text string) (plain string, signed bool, err error) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	const begin, sig = "-----BEGIN PGP SIGNED MESSAGE-----\n", "\n-----BEGIN PGP SIGNATURE-----\n"
	body, ok := strings.CutPrefix(text, begin)
	if !ok {
		if strings.Contains(text, "-----BEGIN PGP") {
			return "", false, errors.New("there is something before its signed part")
		}
		return text, false, nil
	}
	_, body, ok = strings.Cut("\n"+body, "\n\n") // headers of the armour
	if !ok {
		return "", false, errors.New("its signed part has no text")
	}
	body, rest, ok := strings.Cut(body, sig)
	_, rest, end := strings.Cut(rest, "\n-----END PGP SIGNATURE-----")
	if !ok || !end || strings.TrimSpace(rest) != "" {
		return "", false, errors.New("its signature does not end it")
	}
	lines := strings.Split(body, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimPrefix(l, "- ")
		if strings.HasPrefix(lines[i], "-----") {
			return "", false, errors.New("there is a second signed part in it")
		}
	}
	return strings.Join(lines, "\n") + "\n", true, nil
}
