package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
)

// reverse makes root and every directory below it list its entries in the reverse of the order in which it lists them
// now. The file systems that live in memory list by the time that an entry was added, newest or oldest first, and one
// that is moved away and back is added anew. Contents, modes, times and links stay as they are.
func reverse(root *os.Root) error {
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	order, err := list(root)
	if err != nil {
		return err
	}
	aside := ""
	for i := 0; aside == ""; i++ {
		name := ".order" + strconv.Itoa(i)
		if err := root.Mkdir(name, 0o700); err == nil {
			aside = name
		} else if !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	away, err := root.OpenRoot(aside)
	if err != nil {
		return err
	}
	defer away.Close()
	if err := reverseBelow(root, away, ".", aside, order); err != nil {
		return err
	}
	if err := root.Remove(aside); err != nil {
		return err
	}
	return setTime(root, ".", info.ModTime())
}

// reverseBelow reverses the directory dir of root, whose entries but aside are listed in order. away is the empty
// directory root/aside.
func reverseBelow(root, away *os.Root, dir, aside string, order []string) error {
	info, err := root.Stat(dir)
	if err != nil {
		return err
	}
	for _, name := range order {
		name = path.Join(dir, name)
		if child, err := root.Lstat(name); err != nil {
			return err
		} else if child.IsDir() {
			sub, err := root.OpenRoot(name)
			if err != nil {
				return err
			}
			below, err := list(sub)
			sub.Close()
			if err != nil {
				return err
			}
			if err := reverseBelow(root, away, name, aside, below); err != nil {
				return err
			}
		}
	}
	for _, name := range order {
		if err := root.Rename(path.Join(dir, name), path.Join(aside, name)); err != nil {
			return err
		}
	}
	moved, err := list(away)
	if err != nil {
		return err
	}
	reversed := reversedOf(order)
	back := order
	if slices.Equal(moved, order) { // oldest first
		back = reversed
	}
	for _, name := range back {
		if err := root.Rename(path.Join(aside, name), path.Join(dir, name)); err != nil {
			return err
		}
	}
	now, err := root.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer now.Close()
	seen, err := list(now)
	if err != nil {
		return err
	}
	if dir == "." {
		seen = slices.DeleteFunc(seen, func(name string) bool { return name == aside })
	}
	if !slices.Equal(seen, reversed) {
		return errors.New("this file system does not list a directory in the order of its making")
	}
	return setTime(root, dir, info.ModTime())
}

func reversedOf(names []string) []string {
	names = slices.Clone(names)
	slices.Reverse(names)
	return names
}

// list returns the names in a directory as the kernel lists them.
func list(dir *os.Root) ([]string, error) {
	f, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("listing %s: %w", dir.Name(), err)
	}
	return names, nil
}
