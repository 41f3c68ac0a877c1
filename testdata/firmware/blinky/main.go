// Blinky is the init program of a small board: it starts the next stage only
// inside DRAM and blinks the board's light. It imports little, so that it builds
// in seconds from a cold cache.
package main

import "syscall"

// buildDate is set by the linker, always twenty characters wide, so that another
// date moves nothing else.
var buildDate = "0000-00-00T00:00:00Z"

// light is the brightness file of the board's only light.
const light = "/sys/class/leds/status/brightness"

func main() {
	println("blinky built", buildDate)
	if entry, ok := entryPoint(); ok && !validEntry(entry) {
		println("blinky: the next stage is outside DRAM")
		syscall.Exit(1)
	}
	if !blink(3) {
		println("blinky: no light")
		syscall.Exit(1)
	}
}

// entryPoint is the address of the next stage, in hexadecimal in the environment
// (a kernel hands what it does not know of its command line to init that way).
func entryPoint() (uint64, bool) {
	text, found := syscall.Getenv("entry")
	if !found || text == "" || len(text) > 16 {
		return 0, found
	}
	var n uint64
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case '0' <= c && c <= '9':
			n = n<<4 | uint64(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | uint64(c-'a'+10)
		default:
			return 0, true
		}
	}
	return n, true
}

// blink turns the light on and off n times, half a second each.
func blink(n int) bool {
	fd, err := syscall.Open(light, syscall.O_WRONLY, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	half := syscall.Timespec{Nsec: 500_000_000}
	for i := 0; i < 2*n; i++ {
		if _, err := syscall.Write(fd, []byte{'1' - byte(i&1), '\n'}); err != nil {
			return false
		}
		_ = syscall.Nanosleep(&half, nil)
	}
	return true
}
