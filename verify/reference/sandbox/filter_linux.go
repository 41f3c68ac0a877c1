//go:build linux && (amd64 || arm64)

package sandbox

import "golang.org/x/sys/unix"

// What the filter refuses, and why. No namespace covers these, or they make namespaces.
var (
	refused = []uintptr{
		unix.SYS_ADD_KEY, unix.SYS_KEYCTL, unix.SYS_REQUEST_KEY, // keyrings of the user
		unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
		unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER, // would make sockets past this filter
		unix.SYS_UNSHARE, unix.SYS_SETNS,
		unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN,
		unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
		unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
		unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
		unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_REBOOT, unix.SYS_ACCT, unix.SYS_QUOTACTL, unix.SYS_SYSLOG,
	}
	// families are the sockets that stay inside the network namespace.
	families = []uint32{unix.AF_UNIX, unix.AF_INET, unix.AF_INET6, unix.AF_NETLINK}
)

// Offsets in struct seccomp_data (linux/seccomp.h); both architectures are little-endian.
const (
	dataNr   = 0
	dataArch = 4
	dataArg0 = 16
)

// Instructions of linux/bpf_common.h.
const (
	loadWord  = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpEq    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpSet   = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	giveBack  = unix.BPF_RET | unix.BPF_K
	noProcess = unix.SECCOMP_RET_KILL_PROCESS
)

func errno(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }

// filter returns a program of classic BPF as seccomp(2) wants it: system calls of another architecture kill the
// process, the refused ones fail.
func filter() []unix.SockFilter {
	var p []unix.SockFilter
	add := func(code uint16, k uint32, jt, jf uint8) {
		p = append(p, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
	}
	// when the loaded word equals k, return value.
	when := func(k, value uint32) {
		add(jumpEq, k, 0, 1)
		add(giveBack, value, 0, 0)
	}
	add(loadWord, dataArch, 0, 0)
	add(jumpEq, nativeArch, 1, 0)
	add(giveBack, noProcess, 0, 0)

	add(loadWord, dataNr, 0, 0)
	if x32Bit != 0 { // the third ABI of amd64 has numbers of its own
		add(jumpSet, x32Bit, 0, 1)
		add(giveBack, noProcess, 0, 0)
	}
	for _, nr := range refused {
		when(uint32(nr), errno(unix.EPERM))
	}
	// The flags of clone3 lie in memory, out of a filter's sight; without it libraries use clone.
	when(unix.SYS_CLONE3, errno(unix.ENOSYS))

	add(jumpEq, unix.SYS_CLONE, 0, 4)
	add(loadWord, dataArg0, 0, 0)
	add(jumpSet, unix.CLONE_NEWUSER, 0, 1)
	add(giveBack, errno(unix.EPERM), 0, 0)
	add(giveBack, unix.SECCOMP_RET_ALLOW, 0, 0)

	// prlimit64: only of the caller. The first process is of the same user, and that it cannot be traced protects its
	// memory but not its limits.
	add(jumpEq, unix.SYS_PRLIMIT64, 0, 4)
	add(loadWord, dataArg0, 0, 0)
	add(jumpEq, 0, 1, 0)
	add(giveBack, errno(unix.EPERM), 0, 0)
	add(giveBack, unix.SECCOMP_RET_ALLOW, 0, 0)

	// socket and socketpair: only the listed families.
	add(jumpEq, unix.SYS_SOCKET, 1, 0)
	add(jumpEq, unix.SYS_SOCKETPAIR, 0, uint8(2+2*len(families)))
	add(loadWord, dataArg0, 0, 0)
	for _, f := range families {
		when(f, unix.SECCOMP_RET_ALLOW)
	}
	add(giveBack, errno(unix.EAFNOSUPPORT), 0, 0)
	add(giveBack, unix.SECCOMP_RET_ALLOW, 0, 0)
	return p
}
