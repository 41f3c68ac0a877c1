package main

// dramBase is the first address of the board's DRAM.
const dramBase = 0x40000000

// validEntry reports whether the next stage lies in DRAM: below it are the boot
// ROM and the devices.
//
//go:noinline
func validEntry(entry uint64) bool {
	return entry >= dramBase
}
