// Package ledger is the trusted kernel of assay: it checks the account of one
// deployed image against one reference, and prices the freedom left in it.
//
// # What a ledger is
//
// A ledger tiles the deployed image from its first byte to its last and says of
// every tile how its bytes come about from the reference. Whoever proposes it is
// not trusted: [Ledger.Check] replays every entry on both images and computes
// verdict and price itself. [Recheck] does the same for a stored ledger and
// demands that everything comes out as recorded.
//
// Read as a two-part code, the ledger describes the deployed image given the
// reference. Its length in bits is the freedom that whoever made the image had:
// same bytes cost nothing, a recomputed checksum costs nothing, a time costs the
// width of a time, and what nothing accounts for costs eight bits a byte and is
// unexplained.
//
// # The adversary
//
// made the deployed image, and perhaps the stored ledger too. He did not make
// the reference. So the reference witnesses every place: bits bound freedom, not
// harm, and 32 free bits are harmless in a time and a backdoor in code. An
// operation other than a copy holds only where the same operation holds on the
// paired bytes of the reference as they stand there.
//
// # Entries
//
// Entries use the reference in rising order, each byte once. An image all of
// whose entries are identical, explained or carried, with nothing missing, is
// therefore the reference with the values of named fields replaced, and nothing
// else: no byte was added, dropped, repeated or moved.
//
//	operation  holds when                                        verdict      price in bits
//	(none)     always                                            unexplained  8 a byte
//	copy       the bytes equal the reference's, in order         identical    0
//	move       the bytes equal reference bytes anywhere else     moved        log2 R + log2 D
//	time       both sides spell a time the same way              explained    its width, once
//	uuid       both sides hold a UUID or id, spelled one way     explained    128 or 32, once
//	number     both sides hold the length the formula gives      explained    0
//	sum        both sides hold the checksum of what it covers    explained    0
//	fill       both sides hold the prescribed filler             explained    0
//	carry      both sides decode, see below                      carried      0, log2 C, or 8 a byte
//
// An entry whose proof fails is unexplained, whatever it says of itself, and
// uses no byte of the reference. R and D are the sizes of the two streams, C the
// number of settings of the codec's encoders. All prices are whole bits, rounded
// up; a move that would cost as much as its bytes is refused. FreeBits counts the
// values put in, not the choice of which places to fill or to leave as they are.
//
//   - Where an entry skips reference bytes, or a stream ends before its
//     reference does, that costs log2 of what remained, since it was a choice;
//     the skipped bytes are missing.
//   - A time costs 8 bits a byte in binary, 3 a digit in octal, 4 in
//     hexadecimal, log2 10 in decimal; in text a date is worth 16 bits, a clock
//     17, both together 32 (1970 to 2106). It costs once: where the reference
//     holds the same old value again, the same new value is free, also when
//     spelled otherwise, or as the date or the clock of that moment. There are
//     no windows: a narrower choice could only come from the proposer. The times of
//     FAT are 32 bits, their dates 16, their hundredths 8.
//   - A UUID costs 128 bits and an id of four bytes 32, once like a time. An id is a
//     name: one does not become two, nor two one; a new one that stands in the reference
//     is another's, and one that still stands in the deployed image is called for. All
//     these are refused, as far as streams can be decoded ([Tools.Streams]). The seed
//     of a hash costs as much and is no name.
//   - Hexadecimal digits with letters, where the reference's have none, cost one
//     bit for their case.
//   - A number or a sum takes its ranges from the reference and maps them
//     through the ledger's own pairing, so that there is nothing to choose. Sums
//     that cover each other, or themselves, are refused: between them bytes
//     could be chosen that nobody has paid for.
//
// # Places
//
// A binary value looks like any other bytes. So time, uuid, number, sum and fill
// need a [Place]: a field that parsing the *reference* gives, named by format and
// version, extent and field. Check parses the reference again through the tool
// it is handed and demands the very same [Spec]; parsing the deployed image never
// creates a place. The extent is the whole stream, or one that the layout around
// it opens, up to the whole stream: where a format begins is nobody's choice.
// Two things speak for themselves and need no place: a date or time in text of at
// least eight characters, not part of a longer word or address, and a
// cryptographic digest of one range. A CRC does not: with a choice of ranges, one
// can be fitted to any bytes.
//
// # What nobody was asked about
//
// A checksum or a length that stands as it did, over bytes that do not, is no copy of
// the reference's: it says something else now. Whether an entry admits that it is one is
// the proposer's choice, and so is whether a ledger looks into a format at all. So Check
// recognises by itself what the reference holds ([Tools.Formats]), wherever the two sides
// differ, and goes through these layouts and those of the derived streams: each number
// and each sum that holds on the reference has to hold on the deployed side, through the
// pairing, whatever the entries that use its bytes are called. Those that do are
// unexplained else. Numbers of derived streams that measure the stream around them are
// looked at even where the ledger leaves the stream closed. A sum that the format lets
// stay as it was ([Spec.Keep]), may. In the same pass a date that
// anchors itself is refused where the layout has a name, a link or a field. What cannot
// be gone through within the limits settles nothing but what is the same.
//
// # Derived streams
//
// A carry entry says that these bytes are a piece of a derived stream, and the paired
// bytes of the reference the same piece of its counterpart. A stream is what a codec
// makes of one piece, or [Gather]: its pieces one after the other, with holes of zeros
// where a format has them, from as many streams as they stand in. Check makes both
// sides (a codec must consume every byte), and accounts for the derived pair like for
// any other.
//
// How the reference's side is made is no choice: a layout of the reference says it
// ([Stream.Place]), piece by piece, hole by hole. Else pieces of one byte could spell
// a date out of code, and short encodings stand everywhere. The deployed side is made
// of the paired pieces. All but the last are as long on both sides: a border between
// two that could shift would move what stands between them for nothing. So a derivation
// leaves nothing to choose; one that would is not expressible.
//
// The encoding itself is free if one encoder setting reproduces both carriers bit for
// bit, or if they are the same bytes; it costs log2 C if another setting made the
// deployed one that asks no more of a decoder, and otherwise eight bits a byte: compressed data has many spellings,
// and what cannot be made again may hide anything.
//
// Where the layout lays the derived stream out too, its fields are places like any
// others ([Place.Derived]). Numbers among them may measure the stream in which the
// layout stands ([Span.Outer]): the table of a file system, itself compressed, says
// where its blocks begin and how long they are. Lengths follow from the pairing alone,
// so there is no circle: nobody's bytes depend on what such a number says.
//
// # Premises
//
// A reference may have been built with values that stand in the deployed image: the
// name of the machine, the date, the vendor's revision of a compiler ([Premise]).
// Whoever made the image chose them. Each is a word of a short grammar, priced by it;
// the prices count among the free bits, and no image is identical to a reference that
// has premises, whatever the bytes say.
//
// That the reference is what a build with these values gives is the word of who built
// it, like that of any reference. That the values do nothing but stand in the image is
// checked here ([Ledger.Inert]): builds with the first and the last value of the
// grammar ([Premise.Thirds]) differ from the reference where the values stand, and
// nowhere else.
//
// # Totals
//
// Every byte of the deployed image as received counts once, by the worst that it
// carries: unexplained, moved, explained, carried, identical. Missing counts
// reference bytes that no entry uses, in all streams, and stands outside.
//
// # What is trusted
//
// This package and the standard library. Codecs are trusted only to be functions
// of their input: what they give for the two sides is compared. The parsers
// behind [Tools.Places] are trusted with what the reference means, which the
// adversary did not write. Images are read through block hashes, so that bytes
// read twice are the same bytes.
//
// # Simpler than it could be
//
// There is no operation for repeating or re-spelling a paid value: prices do it.
// There are no gathers that the proposer chooses and no priced derivations: what
// does not pair one to one stays opaque. Binary values without a place are refused,
// not marked. Paths, hosts and version texts are no kinds of entry: without a place
// they would let any path in the reference become any other; a build that makes them
// can be a premise. All four are stricter than pricing them, and shorter.
package ledger
