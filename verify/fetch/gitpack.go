package fetch

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// Limits on a git pack, beside the bytes that a request allows. A server can send what takes a thousand times its size
// to unpack, and deltas upon deltas that double at each step.
const (
	maxGitObjects = 4 << 20   // objects of a pack
	maxGitDelta   = 512 << 20 // bytes of a delta, of what it is taken from, of what it makes: they are held in memory
	maxGitHeld    = 1 << 30   // bytes of all those together that are held at a time
	maxGitWork    = 512 << 30 // bytes unpacked and made by deltas in all
)

// A pack is the objects of a git packfile (gitformat-pack(5)). Objects are found by ids that were computed here of
// their content, with detection of SHA-1 collisions; no id that a server states counts for anything.
type pack struct {
	ctx     context.Context
	scanner *packfile.Scanner
	name    string
	objects []packed
	byID    map[plumbing.Hash]int32
	work    int64 // bytes left of maxGitWork
	most    int64 // bytes that all objects may have together
}

// packed is one object of a pack.
type packed struct {
	offset int64
	stored int64               // bytes at offset, unpacked: the object, or the delta that makes it
	size   int64               // of the object
	kind   plumbing.ObjectType // of the object
	base   int32               // the object that the delta is applied to; -1 for none
}

// readPack reads a pack of size bytes and computes the ids of its objects, which have at most most bytes together.
func readPack(ctx context.Context, file *os.File, size int64, name string, most int64) (*pack, error) {
	p := &pack{
		ctx: ctx, name: name, byID: map[plumbing.Hash]int32{}, work: maxGitWork, most: most,
		scanner: packfile.NewScanner(io.NewSectionReader(file, 0, size)),
	}
	_, count, err := p.scanner.Header()
	if err != nil {
		return nil, p.damaged(err)
	}
	if count > maxGitObjects {
		return nil, p.limit("has %d objects, more than %d", count, maxGitObjects)
	}
	family := &lineage{ofOffset: map[int64][]int32{}, ofID: map[plumbing.Hash][]int32{}}
	for range count {
		if err := p.scan(family); err != nil {
			return nil, err
		}
	}
	if _, err := p.scanner.Checksum(); err != nil {
		return nil, p.damaged(err)
	}
	return p, p.resolve(family)
}

// A lineage says which deltas are applied to which object, named by where it is or by its id.
type lineage struct {
	ofOffset map[int64][]int32
	ofID     map[plumbing.Hash][]int32
	ids      []plumbing.Hash // of the objects that are no deltas
}

// scan reads the next object.
func (p *pack) scan(family *lineage) error {
	h, err := p.scanner.NextObjectHeader()
	if err != nil {
		return p.damaged(err)
	}
	o := packed{offset: h.Offset, stored: h.Length, size: h.Length, kind: h.Type, base: -1}
	i := int32(len(p.objects))
	var id plumbing.Hash
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		hasher := plumbing.NewHasher(h.Type, h.Length)
		if err := p.inflate(hasher, h.Length); err != nil {
			return err
		}
		if id, err = p.id(hasher); err != nil {
			return err
		}
		p.enter(id, i)
	case plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
		if h.Length > maxGitDelta {
			return p.limit("has a delta of %d bytes, more than %d", h.Length, maxGitDelta)
		}
		head := &prefix{most: 20}
		if err := p.inflate(head, h.Length); err != nil {
			return err
		}
		if o.size, err = deltaSize(head.b); err != nil {
			return p.damaged(err)
		}
		if o.size > maxGitDelta {
			return p.limit("has a delta that makes %d bytes, more than %d", o.size, maxGitDelta)
		}
		if h.Type == plumbing.OFSDeltaObject {
			family.ofOffset[h.OffsetReference] = append(family.ofOffset[h.OffsetReference], i)
		} else {
			family.ofID[h.Reference] = append(family.ofID[h.Reference], i)
		}
	default:
		return p.damaged(fmt.Errorf("an object of type %d", h.Type))
	}
	if p.most -= o.size; p.most < 0 {
		return p.limit("has objects of more bytes than are allowed")
	}
	p.objects = append(p.objects, o)
	family.ids = append(family.ids, id)
	return nil
}

// enter puts an object under its id. One that comes twice is the same: it has the same id.
func (p *pack) enter(id plumbing.Hash, i int32) {
	if _, ok := p.byID[id]; !ok {
		p.byID[id] = i
	}
}

// inflate unpacks what the scanner is at, which must have size bytes.
func (p *pack) inflate(w io.Writer, size int64) error {
	if err := p.pay(size); err != nil {
		return err
	}
	n, _, err := p.scanner.NextObject(w)
	if err == nil && n != size {
		err = fmt.Errorf("an object has %d bytes, and %d are stated", n, size)
	}
	return p.damaged(err)
}

func (p *pack) pay(n int64) error {
	if err := p.ctx.Err(); err != nil {
		return context.Cause(p.ctx)
	}
	if p.work -= n; p.work < 0 {
		return p.limit("takes more than %d bytes to unpack", int64(maxGitWork))
	}
	return nil
}

// resolve computes what the deltas make, from each object that is none down its descendants.
func (p *pack) resolve(family *lineage) error {
	children := func(i int32, id plumbing.Hash) []int32 {
		kids := append(family.ofOffset[p.objects[i].offset], family.ofID[id]...)
		delete(family.ofOffset, p.objects[i].offset)
		delete(family.ofID, id)
		return kids
	}
	for i := range p.objects {
		if p.objects[i].kind.IsDelta() {
			continue
		}
		kids := children(int32(i), family.ids[i])
		if len(kids) == 0 {
			continue
		}
		content, err := p.load(int32(i))
		if err != nil {
			return err
		}
		if err := p.descend(generation{int32(i), content, kids}, children); err != nil {
			return err
		}
	}
	if n := len(family.ofOffset) + len(family.ofID); n > 0 {
		return p.damaged(fmt.Errorf("%d deltas are applied to objects that are not there", n))
	}
	return nil
}

// A generation is an object and the deltas that are still to be applied to it.
type generation struct {
	parent  int32
	content []byte
	kids    []int32
}

func (p *pack) descend(first generation, children func(int32, plumbing.Hash) []int32) error {
	line, held := []generation{first}, int64(len(first.content))
	for len(line) > 0 {
		g := &line[len(line)-1]
		if len(g.kids) == 0 {
			held -= int64(len(g.content))
			line = line[:len(line)-1]
			continue
		}
		kid := g.kids[0]
		g.kids = g.kids[1:]
		o := &p.objects[kid]
		if held+o.size+o.stored > maxGitHeld {
			return p.limit("has deltas that need more than %d bytes of memory", maxGitHeld)
		}
		made, err := p.apply(g.content, kid)
		if err != nil {
			return err
		}
		o.base, o.kind = g.parent, p.objects[g.parent].kind
		hasher := plumbing.NewHasher(o.kind, o.size)
		_, _ = hasher.Write(made)
		id, err := p.id(hasher)
		if err != nil {
			return err
		}
		p.enter(id, kid)
		if kids := children(kid, id); len(kids) > 0 {
			line = append(line, generation{kid, made, kids})
			held += int64(len(made))
		}
	}
	return nil
}

// apply is what a delta makes of its base.
func (p *pack) apply(base []byte, i int32) ([]byte, error) {
	delta, err := p.stored(i)
	if err != nil {
		return nil, err
	}
	if err := p.pay(p.objects[i].size); err != nil {
		return nil, err
	}
	made, err := packfile.PatchDelta(base, delta)
	if err == nil && int64(len(made)) != p.objects[i].size {
		err = errors.New("a delta makes something of another size")
	}
	return made, p.damaged(err)
}

// stored is what lies at an object's offset.
func (p *pack) stored(i int32) ([]byte, error) {
	o := p.objects[i]
	if o.stored > maxGitDelta {
		return nil, p.limit("has a delta to an object of %d bytes, more than %d", o.stored, maxGitDelta)
	}
	if _, err := p.scanner.SeekObjectHeader(o.offset); err != nil {
		return nil, p.damaged(err)
	}
	b := &prefix{most: o.stored}
	err := p.inflate(b, o.stored)
	return b.b, err
}

// load is the content of an object.
func (p *pack) load(i int32) ([]byte, error) {
	var deltas []int32
	for ; p.objects[i].base >= 0; i = p.objects[i].base {
		deltas = append(deltas, i)
	}
	content, err := p.stored(i)
	for j := len(deltas) - 1; j >= 0 && err == nil; j-- {
		content, err = p.apply(content, deltas[j])
	}
	return content, err
}

// find is the object of that id, which must be of that kind.
func (p *pack) find(id plumbing.Hash, kind plumbing.ObjectType) (int32, error) {
	i, ok := p.byID[id]
	if !ok {
		return 0, trouble("try another copy of the repository", "%s: what came does not hold the %s %s", p.name, kind, id)
	}
	if p.objects[i].kind != kind {
		return 0, trouble("is the id that of a commit?", "%s: %s is a %s, not a %s", p.name, id, p.objects[i].kind, kind)
	}
	return i, nil
}

// small is the content of an object of at most most bytes.
func (p *pack) small(id plumbing.Hash, kind plumbing.ObjectType, most int64) ([]byte, error) {
	i, err := p.find(id, kind)
	if err != nil {
		return nil, err
	}
	if size := p.objects[i].size; size > most {
		return nil, p.limit("has a %s of %d bytes, more than %d", kind, size, most)
	}
	b, err := p.load(i)
	if err != nil {
		return nil, err
	}
	hasher := plumbing.NewHasher(kind, int64(len(b)))
	_, _ = hasher.Write(b)
	return b, p.same(hasher, id)
}

// blob writes the content of the blob i.
func (p *pack) blob(i int32, id plumbing.Hash, w io.Writer) error {
	o := p.objects[i]
	hasher := plumbing.NewHasher(o.kind, o.size)
	w = io.MultiWriter(hasher, w)
	if o.base < 0 {
		if _, err := p.scanner.SeekObjectHeader(o.offset); err != nil {
			return p.damaged(err)
		}
		if err := p.inflate(w, o.size); err != nil {
			return err
		}
		return p.same(hasher, id)
	}
	b, err := p.load(i)
	if err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	return p.same(hasher, id)
}

// same holds what was read against the id by which it was named.
func (p *pack) same(hasher plumbing.Hasher, id plumbing.Hash) error {
	got, err := p.id(hasher)
	if err == nil && got != id {
		err = p.damaged(fmt.Errorf("%s reads as %s the second time", id, got))
	}
	return err
}

// id is the sum of an object whose content makes no use of the weakness of SHA-1.
func (p *pack) id(hasher plumbing.Hasher) (id plumbing.Hash, err error) {
	detector, ok := hasher.Hash.(interface {
		CollisionResistantSum([]byte) ([]byte, bool)
	})
	if !ok {
		return id, trouble("", "%s: this program was built without detection of SHA-1 collisions", p.name)
	}
	sum, collides := detector.CollisionResistantSum(nil)
	if collides {
		return id, trouble("do not use this repository: somebody made two contents for one id",
			"%s: the object %s is made for a collision of SHA-1", p.name, hex.EncodeToString(sum))
	}
	copy(id[:], sum)
	return id, nil
}

func (p *pack) damaged(err error) error {
	var own *Error
	if err == nil || errors.As(err, &own) {
		return err
	}
	return trouble("try again, or another copy of the repository", "%s: the pack that came cannot be read: %s", p.name, cause(err))
}

func (p *pack) limit(format string, args ...any) error {
	return &LimitError{
		Msg:  p.name + ": the pack that came " + fmt.Sprintf(format, args...),
		Hint: "fetch it with git, and pin an archive of it by sha256",
	}
}

// A prefix keeps the first bytes of what is written.
type prefix struct {
	b    []byte
	most int64
}

func (p *prefix) Write(b []byte) (int, error) {
	p.b = append(p.b, b[:min(int64(len(b)), p.most-int64(len(p.b)))]...)
	return len(b), nil
}

// deltaSize is the size of what a delta makes: the second number at its head.
func deltaSize(delta []byte) (int64, error) {
	var size uint64
	for range 2 {
		size = 0
		for shift := uint(0); ; shift += 7 {
			if len(delta) == 0 || shift > 56 {
				return 0, errors.New("a delta without sizes")
			}
			c := delta[0]
			delta = delta[1:]
			size |= uint64(c&0x7f) << shift
			if c < 0x80 {
				break
			}
		}
	}
	if size > math.MaxInt64 {
		return 0, errors.New("a delta without sizes")
	}
	return int64(size), nil
}
