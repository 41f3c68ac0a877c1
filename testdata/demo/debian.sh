# What the scripts that work on Debian's firmware share: a configuration of apt's own, the
# files of the archive, and their digests. It is sourced; the caller sets
#
#   work     the folder to work in
#   needed   commands, or paths of files, and their packages, COMMAND:PACKAGE
#   say      a function that prints lines
#   die      a function that prints an error and ends the program
#
# shellcheck shell=bash disable=SC2154

# missing prints the packages of $needed whose command or file is not there.
missing() {
	local entry
	for entry in "${needed[@]}"; do
		[[ -e ${entry%%:*} ]] || command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
	done
}

# as_root COMMAND…: as root, or by sudo that asks nothing.
as_root() {
	if [[ $EUID == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

# obstacle prints why this machine cannot run the Debian case, or nothing.
obstacle() {
	if ! grep -qsx 'ID=debian' /etc/os-release || ! grep -qsx 'VERSION_ID="12"' /etc/os-release; then
		echo "this machine is not Debian 12"
	elif ! command -v apt-get >/dev/null; then
		echo "there is no apt"
	elif [[ -n $(missing) ]] && ! as_root true 2>/dev/null; then
		echo "there is neither root nor sudo -n to install $(missing | paste -sd ' ')"
	fi
}

# debian_sources DIR: prints the machine's own apt sources in DIR, those under the key of
# the Debian archive, with deb-src added, as deb822 stanzas. A source that names no key gets
# Debian's.
debian_sources() {
	local file key=/usr/share/keyrings/debian-archive-keyring.gpg
	{
		{ cat "$1"/sources.list "$1"/sources.list.d/*.list 2>/dev/null || true; } | awk '
			$1 != "deb" { next }
			{
				options = ""; sub(/#.*/, ""); sub(/^[ \t]*deb[ \t]+/, "")
				if (match($0, /^\[[^]]*\][ \t]*/)) {
					options = tolower(substr($0, 1, RLENGTH)); $0 = substr($0, RLENGTH + 1)
				}
				if ($2 ~ /\/$/) next
				uri = $1; suite = $2; $1 = $2 = ""
				print "URIs: " uri "\nSuites: " suite "\nComponents:" $0
				if (match(options, /signed-by=[^] \t]+/)) print "Signed-By: " substr(options, RSTART + 10, RLENGTH - 10)
				print ""
			}'
		for file in "$1"/sources.list.d/*.sources; do
			if [[ -r $file ]]; then
				sed '/^#/d' "$file"
				echo
			fi
		done
	} | awk -v RS= -F '\n' -v key="$key" '
		{
			delete field; name = ""
			for (i = 1; i <= NF; i++) {
				if ($i ~ /^[ \t]/) { field[name] = field[name] $i; continue }
				name = tolower(substr($i, 1, index($i, ":") - 1))
				field[name] = substr($i, index($i, ":") + 1)
			}
			signed = field["signed-by"]
			if (signed == "" ? field["uris"] !~ /debian/ : signed !~ /^ *\/usr\/share\/keyrings\/debian-archive-[^ ]*$/) next
			if (field["uris"] ~ /cdrom:/ || tolower(field["enabled"]) ~ /no/ || (" " field["components"] " ") !~ / main /) next
			if ("types" in field && (field["types"] " ") !~ / deb /) next
			print "Types: deb deb-src"
			print "URIs:" field["uris"] "\nSuites:" field["suites"] "\nComponents: main"
			print "Signed-By: " (signed == "" ? key : signed)
			print "Targets: Packages Sources\n"
		}'
}

# private_apt writes a configuration of apt's own into $work/apt and prints its path.
# It asks for arm64 alone: the delivered firmware is in packages of that architecture, or of all.
private_apt() {
	local apt
	apt=$(realpath "$work")/apt
	mkdir -p "$apt"/{sources,state/lists/partial,cache/archives/partial}
	: >"$apt/status"
	debian_sources /etc/apt >"$apt/sources/debian.sources"
	cat >"$apt/apt.conf" <<-EOF
		Dir::Etc::sourcelist "/dev/null";
		Dir::Etc::sourceparts "$apt/sources";
		Dir::State "$apt/state";
		Dir::State::lists "$apt/state/lists";
		Dir::State::status "$apt/status";
		Dir::Cache "$apt/cache";
		APT::Architecture "arm64";
		APT::Architectures {"arm64";};
		APT::Sandbox::User "root";
		APT::Update::Error-Mode "any";
		Acquire::Retries "3";
		Acquire::Languages "none";
	EOF
	echo "$apt/apt.conf"
}

# fetch PACKAGE…: brings the archive's index, the delivered .debs and the sources of their
# versions into $work/download, with SHA256SUMS, what the signed index says of them.
fetch() {
	local -x APT_CONFIG
	APT_CONFIG=$(private_apt)
	mkdir "$work/download"
	apt-get -q update && fetch_delivered "$@" && fetch_sources "$@"
}

# fetch_delivered PACKAGE…: brings the .debs, after fetch has brought the index.
fetch_delivered() {
	local name deb
	local -x APT_CONFIG
	APT_CONFIG=$(private_apt)
	for name; do
		(cd "$work/download" && apt-get -q download "$name") || return 1
		# The archive's own name of a file leaves the epoch of its version out.
		for deb in "$work/download/$name"_*%3a*.deb; do
			if [[ -e $deb ]]; then mv "$deb" "$work/download/${name}_${deb##*%3a}"; fi
		done
		apt-cache show "$name" | awk '
			/^Filename:/ { sub(/.*\//, ""); name = $0 }
			/^SHA256:/ { sum = $2 }
			/^$/ { print sum "  " name }' >>"$work/download/SHA256SUMS"
	done
}

# fetch_sources PACKAGE…: brings the sources that delivered .debs name.
fetch_sources() {
	local name source
	local -x APT_CONFIG
	APT_CONFIG=$(private_apt)
	for name; do
		source=$(dpkg-deb --show --showformat="\${source:Package} \${source:Version}" "$(delivered "$name")")
		(cd "$work/download" && apt-get -q source --download-only "${source/ /=}") || return 1
		apt-cache showsrc --only-source "${source% *}" | awk '
			/^[^ ]/ { sums = $1 == "Checksums-Sha256:"; next }
			sums { print $1 "  " $3 }' >>"$work/download/SHA256SUMS"
	done
}

# delivered PACKAGE: prints the path of its .deb.
delivered() { echo "$work/download/$1"_*.deb; }

# built_at SOURCE: prints the date of the last entry of a source package's changelog, which
# Debian builds with, in seconds since 1970.
built_at() {
	tar -xJOf "$(echo "$work/download/$1"_*.debian.tar.xz)" debian/changelog |
		awk '/^ -- / && !seen++ { sub(/.*>  /, ""); print }' | date -u -f - +%s
}

# digest FILE: prints the SHA-256 that the signed index gives for a downloaded file, which
# must be the file's own.
digest() {
	local listed own
	listed=$(awk -v name="${1##*/}" '$2 == name { sum = $1 } END { print sum }' "$work/download/SHA256SUMS")
	own=$(sha256sum <"$1")
	[[ -n $listed && $listed == "${own%% *}" ]] || die "${1##*/} is not the file of the signed index"
	echo "$listed"
}

# install_needed installs what is missing, in one call.
install_needed() {
	local apt list
	mapfile -t list < <(missing)
	if ((${#list[@]} == 0)); then
		say "present: ${needed[*]#*:}"
		return 0
	fi
	say "installing ${list[*]}"
	apt=(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
	"${apt[@]}" update >/dev/null &&
		"${apt[@]}" -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${list[@]}" >/dev/null
}

# top_of TAR: prints the one directory that a source's archive holds.
top_of() { { tar -tf "$1" 2>/dev/null || true; } | awk -F / '{ print $1; exit }'; }

# tf_a_recipe PLATFORM KIND BUILDS EPOCH [STEP]: prints the recipe of bl31.bin of Trusted
# Firmware-A, a debug or a release build with that date. STEP, a line of YAML, comes before
# the build. The flags are those of Debian's debian/rules.
tf_a_recipe() {
	local orig orig_sha256 top out
	orig=$(echo "$work/download/arm-trusted-firmware"_*.orig.tar.xz)
	orig_sha256=$(digest "$orig")
	top=$(top_of "$orig")
	out=$top/build/$1/$2
	cat <<-EOF
		version: 1
		sources: [{path: download/${orig##*/}, sha256: $orig_sha256, at: /src}]
		toolchain: {host: [make, aarch64-linux-gnu-gcc, aarch64-linux-gnu-as, aarch64-linux-gnu-ld, aarch64-linux-gnu-objcopy]}
		env:
		  SOURCE_DATE_EPOCH: "$4"
		  CROSS_COMPILE: aarch64-linux-gnu-
		  CFLAGS: --param=min-pagesize=0
		  TF_LDFLAGS: --no-warn-rwx-segments
		steps:
	EOF
	if [[ -n ${5-} ]]; then echo "  - $5"; fi
	cat <<-EOF
		  - [make, -j2, -C, $top, PLAT=$1, DEBUG=$([[ $2 == debug ]] && echo 1 || echo 0), bl31]
		outputs: [{path: $out/bl31.bin, symbols: $out/bl31/bl31.elf}]
		builds: $3
		limits: {time: 10m, memory: 4GiB, output: 1GiB, processes: 512}
	EOF
}

# weaken_tf_a: prints the step that weakens a check of Trusted Firmware-A for sun50i_a64,
# that of the address that the operating system is entered at.
weaken_tf_a() {
	echo "[sed, -i, 's/ns_entrypoint < SUNXI_DRAM_BASE/ns_entrypoint < 0x10000/'," \
		"$(top_of "$(echo "$work/download/arm-trusted-firmware"_*.orig.tar.xz)")/plat/allwinner/common/sunxi_pm.c]"
}
