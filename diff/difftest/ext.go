package difftest

import (
	"bytes"
	"compress/gzip"
	"io"
)

// extSamples are of mke2fs 1.47.0, compressed by gzip -9: of
//
//	mke2fs -b 1024 -N 24 -m 0 -O ^has_journal,^resize_inode -d tree
//
// with the options in the comments, a given UUID, hash seed and time, and a tree of
// etc/conf, bin/tool and two symbolic links, of which one is too long for its inode;
// then debugfs (rmdir lost+found), e2fsck -fy and resize2fs -f.
func extSamples() []Sample {
	return []Sample{
		// -t ext4; debugfs: ea_set of user.note and security.capability on bin/tool, mknod null c 1 3
		{"ext4", "ext", gunzip(unbase64("" +
			"H4sIAAAAAAACA+2bS2gTURSGzzySlvRdS41CMRQXgpBaKtKFfQhd2WUpuBLSNq0xw0zaJKbdCF1ZcCcFiQgSceVCRFyI" +
			"LnwsqlAQdGE34q4ggSI+sC6U8d7JDE1sYsGJnTb3/4Yzc+d58p/JGS5n5hIBAEQlyOyw3fYx8zOTig8IFSzorH8eixKZ" +
			"5tgnyTpucVWNO7uc8xrslWNs8UImiqtEbYzu7r6+kZFxCy+0TjMymaWlbPauhUTD1Fiiq7qE2CSV2a6yjb346wGPWb+a" +
			"zitsecDOex+bq2ziDJ1/EvTT/SOVzr18o/c6IgjA/sasMwEAgsK656wPLMlhtiy0ZTkcLvThO0hV9LSmHZ820voUWX3l" +
			"RlLkiZhOzXY7mpqkVqut1mmGPtPG2q3kq0teMOZSrN3ObFkJyJqRTDnXAQB4C8vlD7dnfuTa/8j/j0oh/wEAtZ3/95a6" +
			"TlBx/cuxXeL1L+/jsHGGF+TK6fdZz0Oiemse+CrZlZGtWqfq0vfzDV4j/PK0ZOMuxt9rBt6JnYNrs2Lrz46KrX/UJ7Z+" +
			"35DY+m+dFVv/m4TY+pXBPfAjQpX6f6VvLhWp+q47M9z9+IaX/R+n/5d8qca5bfmXd+z/tbn0PX+a698c9lT/ItGjhnL6" +
			"JVu5o1/epr/dXvI4dezg51CZbZFurj/38O/65XzAf85qOf4nI4nIREyLpRbcaWfXSbq5/50uY7/axfW3yF7e/zuLhbpu" +
			"ufu/k/6DLn3nbnL9a4+91G/miKb+UX/Qpe9ry1z/W7/X+usr6C9mIqb3pAxDq6bvi2GuP2F4qf+Znf/8OybHSvPfqQZU" +
			"n6YVrv9nyfO/+HsqAHaDbwpiAIBI8Pp/5/fBEeQ/AMh/AADyHwCA/AcAIP8BALWb/4UxPdvH/zSx9ntFlar9zg8AsDfy" +
			"v2F27eg8AEBYTFPBIGgABAVPQAAAAGD/UK06QHOF+l+LXf+bNPRpVEsAqL3635WZlcZ4dCE0ELoU0dLRAKICgFhMGRm9" +
			"5z/PEGUA9ipyno/0dUb7bs6d7C/eq0r91tdBr5itPzhFupGKImZAdHgehGtg9hv+WRr7AGgAAA=="))},
		// -t ext2 -I 128
		{"ext2", "ext", gunzip(unbase64("" +
			"H4sIAAAAAAACA+3bvU7CUBTA8dsPrAKiJn6gE3EyMYGB2cGENzA+gEpRA2kTQdFNNl6B0cTJydHRzcEXcTFq4o63X1oU" +
			"EgeKSP+/5JBLWnK4N5yT3oYKASCusjLW/PGMDEOGEj4h50U2eP+2YwrR7e68KO55rUe9GhwKPpeScSljQ4YqQ5OxIK2v" +
			"F4ul0q7rL+ZakZrNdrvTuXE53zfdM6/hU/iJYYw5tanLSLj1b8ixzqIAMdE1XrsA4kphCYCYEuH9bxAj9Lztb0B+5E+4" +
			"9w4C01yqARiye7//OPcxg/COqD39Zybi/ld/0KtOfPW/3vxLUeVvCXGX6pdfEVOh85ZlrIjQfeARz381ovlft7x7wP3m" +
			"H86fjGr/fSVE+Rf5UxHmnx6QP2z/2Co0bLtGxwAmh9Nj0kJR859jVc3nvX6zKJJqza43Niv2qVX2+mRaaKrsBSLjj83G" +
			"gZh3x7pRs63DBTm+1RJG/cg+abC8wFhLfav/d82rfwCTr2pe5LZyZ3u1UzPJagDxUrabViHiF1YZGGP85Q+g/gFQ/wCo" +
			"fwDUPwDqHwD1D4D6B0D9A/iXvGd6fj7/MyvHT5qu8MwfMLnOAQAAAIy9YV3/Zwbs/+f8/f+BbVXYJQGT6QPBHtPeAGgA" +
			"AA=="))},
		// -t ext4 -O inline_data
		{"ext4 inline", "ext", gunzip(unbase64("" +
			"H4sIAAAAAAACA+3bP2gTURwH8N/9iVeTqC0RqeIQsliwpEM7dOgfhQxixaW4uaT5Y2LCXTVpo4NCpGAn90widBIHQQc3" +
			"/6B0EARB6qarKMW/CIp6vnd/bCJJW9sjF/O+n/B67y5JL9+7/o6Xd5QIAETVz9oBpx9kTWNNqn9B1G797vrH6QyRaU6/" +
			"l6zXVZ+qBfcp930hZ2WALR5dISqoRH1MLDY8nEicsviRNctUKouLtdpNi0RHKNyQy1tR9pCabFfZxkH86YHP8oOjdxS2" +
			"jLC2w6p/jVT24Ba+nchpVFpo9d7JS8F5HEGA/5t5VftlAoCQZHYNCJMkx9nS7styPG6P4fdSUC4apfLhrDGnp8kaK4dJ" +
			"kWfyOu12+plyinqtvqoVDf1MH+svKQGtlDPOl3F5BehIrJZf3Rp78jr0V/2/Uez6B4Durv/c8rvbVD//5bY2efbT/+Ow" +
			"epRPyDXLH7Cuh0Q99tzoZ8mZGVmb61S3ue+Hq3yO8NP9ho1tPP5+G18RuwZfnhM7f21K7PxTAbHzBybFzn/9uNj5n8+K" +
			"nV+Z8P8zPHDGP/w+rtvsZ2Rn/OOOhrwX+8HHPzsj9dvq7ye3a/w3xpalZbXA29r460/6XndtF2ujpEplwyh6se9rd3n+" +
			"xy/WH//Jb1XtdMOWdLKc9Cx/leheqFl+ybon2Gr8q7gHZhtORnj+1P6N8nfK+d/jnP+UoWe92Hc0x/PHjvl5/peq9rxu" +
			"s/Nfn7+QuRgdj84ni3OZoGfXv4M8/0rIz/zmDfb7NpE/bVT0oS3+aLXvyx94/kPfN84/YvUG/iH/Zj8bz9+zfn7LTF4f" +
			"8uq65zob5/lnDVG//wJ0gi8KjgGASPj8/76vEwnUPwDqHwBQ/wCA+geA7q//CwAAAAAA0PG8+h5gmhL+CRpAUJgJAQAA" +
			"AAAAAAAAAADoPr8BRA8n0gBoAAA="))},
	}
}

func gunzip(b []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		panic(err)
	}
	if b, err = io.ReadAll(r); err != nil {
		panic(err)
	}
	return b
}
