package sandbox

// A World is what differs from one machine to the next, as the build sees it. The zero World is the fixed one that the
// package comment describes. Variables that say the same to programs (USER, HOME, TZ, LC_ALL) are the caller's: he sets
// them in Config.Env.
type World struct {
	HostName string `json:"host_name,omitempty"` // "" is HostName
	User     string `json:"user,omitempty"`      // the login name of UID; "" is User
	Home     string `json:"home,omitempty"`      // of the login, below /home; "" is Home
	Umask    int    `json:"umask,omitempty"`     // 0 is 022
	CPUs     int    `json:"cpus,omitempty"`      // how many the build may run on; 0 is all

	// Reverse makes archives come out of the directories that they are unpacked into in the reverse order.
	Reverse bool `json:"reverse,omitempty"`

	// Clock is what the clock says at the start of the steps, in seconds since 1970, to programs that take it from the C
	// library; it needs libfaketime in the toolchain. 0 is the true time.
	Clock int64 `json:"clock,omitempty"`

	// Dir is where the first source really lies, a place as CheckPlace allows; its own place, Sources[0].At, is then a
	// symbolic link to it, and the steps start in Dir. "" is Sources[0].At itself.
	Dir string `json:"dir,omitempty"`

	// Shims change what tools answer to --version.
	Shims []Shim `json:"shims,omitempty"`
}

// A Shim stands before a program, under each name of it that the PATH of the build has. To a call with --version among
// its arguments it answers what the program itself answers, with each From replaced by To; any other call it hands to
// the program. The texts are data to it, never commands.
type Shim struct {
	Tool string `json:"tool"` // as in Config.Tools
	From string `json:"from"`
	To   string `json:"to"`
}
