package ext

// maxPath is the length from which on an inode goes by its number, in bytes: that of
// PATH_MAX.
const maxPath = 4096

// maxPaths bounds the paths of all inodes together, in bytes; from there on, inodes go
// by their numbers.
const maxPaths = 64 << 20

// An Entry is a directory entry: Len bytes at Off of its block.
type Entry struct {
	Off, Len int
	Ino      uint32 // 0 where it is unused
	Name     []byte
	Type     byte
}

// entryHeader is what stands before a name, in bytes.
const entryHeader = 8

// Entries splits a directory block, or what an inode holds of a directory. What
// follows the last entry that is one is rest.
func (s *Super) Entries(b []byte) (entries []Entry, rest int) {
	for rest+entryHeader <= len(b) {
		e := b[rest:]
		n, name := int(le.Uint16(e[4:])), int(e[6])
		if len(b) >= 1<<16 {
			if n == 0xffff || n == 0 {
				n = 1 << 16
			} else {
				n = n&^3 | n&3<<16
			}
		}
		if s.Incompat&IncompatFiletype == 0 {
			name = int(le.Uint16(e[6:]))
		}
		if n%4 != 0 || n < entryHeader+name || n > len(e) {
			break
		}
		entry := Entry{Off: rest, Len: n, Ino: le.Uint32(e), Name: e[entryHeader : entryHeader+name]}
		if s.Incompat&IncompatFiletype != 0 {
			entry.Type = e[7]
		}
		entries = append(entries, entry)
		rest += n
	}
	return entries, rest
}

// tree follows the directories from the root and gives inodes their paths; those that
// no directory leads to come after, by number.
func (fs *FS) tree() error {
	var queue []*Inode
	all := 0
	reach := func(n *Inode, path string) {
		if n.reached {
			return
		}
		if all += len(path); len(path) > maxPath || all > maxPaths {
			path = fs.special(n.Num)
		}
		n.reached, n.Path = true, path
		if n.Type() == TypeDir {
			queue = append(queue, n)
		}
	}
	walk := func() error {
		for len(queue) > 0 {
			dir := queue[0]
			queue = queue[1:]
			err := fs.directory(dir, func(e *Entry) {
				n := fs.Inode(e.Ino)
				if name := string(e.Name); n != nil && name != "" && name != "." && name != ".." {
					if dir.Num != rootDir {
						name = dir.Path + "/" + name
					}
					reach(n, name)
				}
			})
			if err != nil {
				return err
			}
		}
		return nil
	}
	if root := fs.Inode(rootDir); root != nil {
		reach(root, ".")
	}
	if err := walk(); err != nil {
		return err
	}
	for i := range fs.Inodes {
		if n := &fs.Inodes[i]; !n.reached {
			reach(n, fs.special(n.Num))
			if err := walk(); err != nil {
				return err
			}
		}
	}
	return nil
}

// directory claims the blocks of dir and calls f for its entries in order.
func (fs *FS) directory(dir *Inode, f func(*Entry)) error {
	visit := func(b []byte) {
		entries, rest := fs.Entries(b)
		for i := range entries {
			if entries[i].Ino != 0 {
				f(&entries[i])
			}
		}
		if rest != len(b) && dir.Note == "" {
			dir.Note = "entries that are none"
		}
	}
	if dir.Inline() {
		visit(dir.Block[4:])
		b, err := fs.read(dir.Off, fs.InodeSize)
		if err != nil {
			return err
		}
		for _, a := range InodeAttributes(b, dir.Extra) {
			if a.Index == systemIndex && string(a.Name) == "data" && a.Value.Len > 0 {
				visit(b[a.Value.Off:a.Value.End()])
			}
		}
		return nil
	}
	first := len(fs.owner.claims)
	if err := fs.mapped(dir, Directory); err != nil {
		return err
	}
	for _, c := range fs.owner.claims[first:] {
		if c.Kind != Directory {
			continue
		}
		for b := range c.Count {
			b, err := fs.block(c.Block + b)
			if err != nil {
				return err
			}
			visit(b)
		}
	}
	return nil
}
