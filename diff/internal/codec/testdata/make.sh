#!/bin/sh
# Makes the fixtures of this directory with XZ Utils 5.4.1, zstd 1.5.4, lz4 1.9.4,
# bzip2 1.0.8, lzop 1.04, lzip 1.23 and pigz 2.6 (Debian 12). Their
# contents are the integers from 1; "code" has opcode bytes for digits, so that
# the branch filters find something to do.
set -eu
cd "$(dirname "$0")"
text() { seq 1 1000; }
code() { seq 1 1000 | tr 0-9 '\350\353\110\001\100\360\370\000\377\177'; }
for check in none crc32 crc64 sha256; do text | xz --check=$check >text-$check.xz; done
text | xz -T2 --block-size=1024 >text-blocks.xz # sizes in the block headers
text | xz -T1 --block-size=1024 >text-blocks-open.xz
text | xz --delta=dist=3 --lzma2=preset=6,lc=1,lp=2,pb=1,dict=4KiB >text-delta.xz
for filter in x86 powerpc ia64 arm armthumb sparc arm64; do code | xz --$filter --lzma2 >code-$filter.xz; done
code | xz --x86=start=4096 --delta --lzma2 >code-x86-delta.xz
: | xz >empty.xz
text | xz --lzma2=dict=1536MiB >dict-1536MiB.xz
text | xz --format=lzma >text.lzma
: | xz --format=lzma >empty.lzma
head -c 83886080 /dev/zero | xz --format=lzma --lzma1=dict=64KiB >zeros-80MiB.lzma
text | zstd >text.zst
text | zstd -19 --no-check >text-19.zst
text >text && zstd text -o text-single.zst # a single segment
text | lz4 -B4 >text.lz4
text | lz4 -9 -B4D -BX >text-checked.lz4
lz4 --content-size --no-frame-crc text text-size.lz4
text | lz4 -l >text-legacy.lz4
text | bzip2 >text.bz2
text | lzop -N >text.lzo
text | lzop -9 --crc32 >text-crc32.lzo
text | lzop -F >text-plain.lzo
rm text
text | lzip >text.lz
text | pigz -z -11 >text.zz
head -c 20000000 /dev/zero | bzip2 >zeros-20MB.bz2
