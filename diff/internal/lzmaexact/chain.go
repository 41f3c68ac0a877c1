package lzmaexact

import "io"

// A coder writes what an encoder makes in one of the raw formats.
type coder interface {
	restart(w io.Writer)
	code(final bool) error
	end() error // writes the end marker
}

// A chain is a filter and a coder, one after the other.
type chain struct {
	e      *encoder
	c      coder
	bcj    BCJ
	filter *branchFilter // nil if there is none
}

func (c *chain) restart(w io.Writer) {
	c.e.restart()
	c.c.restart(w)
	c.filter = newBranchFilter(c.bcj)
}

func (c *chain) write(p []byte) error {
	if c.filter == nil {
		return c.encode(p)
	}
	for len(p) > 0 {
		n := min(len(p), outputStep)
		q := c.filter.take(p[:n])
		p = p[n:]
		if err := c.encode(q); err != nil {
			return err
		}
		c.filter.drop(len(q))
	}
	return nil
}

func (c *chain) encode(p []byte) error {
	for len(p) > 0 {
		n := c.e.fill(p)
		p = p[n:]
		if err := c.c.code(false); err != nil {
			return err
		}
	}
	return nil
}

// end encodes what is left, which no filter converts.
func (c *chain) end() error {
	if c.filter != nil {
		if err := c.encode(c.filter.rest); err != nil {
			return err
		}
	}
	c.e.finish()
	if err := c.c.code(true); err != nil {
		return err
	}
	return c.c.end()
}
