#!/usr/bin/env bash
# The main job, end to end: three deliveries of one firmware, checked against its source.
#
#   make demo                      Trusted Firmware-A on Debian 12, our own firmware elsewhere
#   ASSAY_DEMO=debian make demo    Trusted Firmware-A, or fail
#   ASSAY_DEMO=embedded make demo  our own firmware: needs Go alone
#
# ASSAY names an assay binary to use instead of building one, ASSAY_DEMO_DIR a new or
# empty folder to work in instead of testdata/demo/work, which each run makes anew.
#
# Debian's package of Trusted Firmware-A is the real case: its source is rebuilt in the
# sandbox and compared with what Debian ships. Apt works on a configuration of its own in
# the work folder; of the machine only the packages in $needed are touched, and only when
# they are missing. Every digest is taken from the archive's signed index at run time.
set -euo pipefail

# The build date of the twins, unlike Debian's in every part.
readonly twin_date=2024-03-17T14:07:53Z
# The two build dates of the embedded firmware.
readonly own_date=2026-01-02T03:04:05Z own_twin_date=2026-03-14T15:09:26Z

readonly package=arm-trusted-firmware platform=sun50i_a64
# Command and package, for what the Debian run calls.
readonly needed=(aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu make:make xz:xz-utils)

work=testdata/demo/work
if [[ -n ${ASSAY_DEMO_DIR-} ]]; then work=$(realpath -m "$ASSAY_DEMO_DIR"); fi
readonly work

export LC_ALL=C.UTF-8 TZ=UTC

# --- steps and their times ----------------------------------------------------------

total=0 title='' began=0
times=() results=()

now() { echo "${EPOCHREALTIME/[.,]/}"; } # microseconds

seconds() { printf '%d.%d s' $(($1 / 1000000)) $(($1 / 100000 % 10)); }

finish() {
	[[ -n $title ]] || return 0
	local took=$(($(now) - began))
	printf '   [%s]\n' "$(seconds $took)"
	times+=("$(printf '%9s  %s' "$(seconds $took)" "$title")")
	total=$((total + took)) title=''
}

step() {
	finish
	title=$1 began=$(now)
	printf '\n== %s\n' "$title"
}

say() { printf '   %s\n' "$@"; }

die() {
	printf 'demo: error: %s\n' "$@" >&2
	exit 2
}

# expect CODE COMMAND…: runs assay in view; any other exit code ends the demo.
expect() {
	local want=$1 got=0
	shift
	printf '\n$ assay %s\n' "$*"
	"$assay" "$@" || got=$?
	printf '%s\n' "-> exit code $got"
	[[ $got == "$want" ]] || die "exit code $got where $want was due"
}

# --- Trusted Firmware-A from Debian -------------------------------------------------

# missing prints the packages of $needed whose command is not there.
missing() {
	local entry
	for entry in "${needed[@]}"; do
		command -v "${entry%%:*}" >/dev/null || echo "${entry#*:}"
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
# It asks for arm64 alone: the delivered firmware is a package of that architecture.
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

# fetch brings the delivered .deb and the source of its version into $work/download,
# with SHA256SUMS, what the archive's signed index says of them.
fetch() {
	local deb version
	local -x APT_CONFIG
	APT_CONFIG=$(private_apt)
	mkdir "$work/download"
	apt-get -q update &&
		(cd "$work/download" && apt-get -q download "$package") || return 1
	deb=$(echo "$work/download/$package"_*_arm64.deb)
	version=$(dpkg-deb --show --showformat="\${source:Version}" "$deb")
	(cd "$work/download" && apt-get -q source --download-only "$package=$version") || return 1
	{
		apt-cache show "$package" | awk '
			/^Filename:/ { sub(/.*\//, ""); name = $0 }
			/^SHA256:/ { sum = $2 }
			/^$/ { print sum "  " name }'
		apt-cache showsrc --only-source "$package" | awk '
			/^[^ ]/ { sums = $1 == "Checksums-Sha256:"; next }
			sums { print $1 "  " $3 }'
	} >"$work/download/SHA256SUMS"
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

# tf_a_recipe BUILDS EPOCH [STEP]: prints the recipe of bl31.bin with that build date; STEP,
# a line of YAML, comes before the build. The flags are those of Debian's debian/rules.
tf_a_recipe() {
	local out=$top/build/$platform/release
	cat <<-EOF
		version: 1
		sources: [{path: ${orig##*/}, sha256: $orig_sha256, at: /src}]
		toolchain: {host: [make, aarch64-linux-gnu-gcc, aarch64-linux-gnu-as, aarch64-linux-gnu-ld, aarch64-linux-gnu-objcopy]}
		env:
		  SOURCE_DATE_EPOCH: "$2"
		  CROSS_COMPILE: aarch64-linux-gnu-
		  CFLAGS: --param=min-pagesize=0
		  TF_LDFLAGS: --no-warn-rwx-segments
		steps:
	EOF
	if [[ -n ${3-} ]]; then echo "  - $3"; fi
	cat <<-EOF
		  - [make, -j2, -C, $top, PLAT=$platform, DEBUG=0, bl31]
		outputs: [{path: $out/bl31.bin, symbols: $out/bl31/bl31.elf}]
		builds: $1
		limits: {time: 10m, memory: 4GiB, output: 1GiB, processes: 512}
	EOF
}

# debian_case lays out the three deliveries of Trusted Firmware-A.
debian_case() {
	local deb deb_sha256 orig orig_sha256 top epoch twin twin_epoch weaken
	step "what Debian delivers, and the source it names"
	image=bl31.bin
	deb=$(echo "$work/download/$package"_*_arm64.deb)
	deb_sha256=$(digest "$deb")
	orig=$(echo "$work/download/$package"_*.orig.tar.xz)
	orig_sha256=$(digest "$orig")
	say "${deb##*/}" "  sha256 $deb_sha256" "${orig##*/}" "  sha256 $orig_sha256" "as the archive's signed index says"
	mkdir "$work"/{delivered,dated,weakened}
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/lib/$package/$platform/$image" >"$work/delivered/$image"
	cp "$orig" "$work"
	top=$(tar -tJf "$orig" | awk -F / 'NR == 1 { print $1 }')
	# Debian builds with the date of the last entry of its changelog.
	epoch=$(tar -xJOf "$(echo "$work/download/$package"_*.debian.tar.xz)" debian/changelog |
		awk '/^ -- / && !seen++ { sub(/.*>  /, ""); print }' | date -u -f - +%s)
	twin_epoch=$(date -u -d "$twin_date" +%s)
	weaken="[sed, -i, 's/ns_entrypoint < SUNXI_DRAM_BASE/ns_entrypoint < 0x10000/', $top/plat/allwinner/common/sunxi_pm.c]"
	tf_a_recipe 2 "$epoch" >"$work/recipe.yaml"
	tf_a_recipe 1 "$twin_epoch" >"$work/dated-recipe.yaml"
	tf_a_recipe 1 "$twin_epoch" "$weaken" >"$work/weakened-recipe.yaml"
	say "$image: $(stat -c %s "$work/delivered/$image") bytes, built $(date -u -d "@$epoch")"

	step "its twins: another date, and a weakened check besides"
	for twin in dated weakened; do
		expect 0 rebuild "$work/$twin-recipe.yaml" --out "$work/$twin-build"
		cp "$work/$twin-build/build-1/$image" "$work/$twin/$image"
	done
}

# --- our own firmware ---------------------------------------------------------------

# embedded_case lays out the three deliveries of the firmware in testdata/firmware.
embedded_case() {
	step "a firmware of our own, its twins and its source"
	image=firmware.itb
	go build -buildvcs=false -o "$work/bin/" ./testdata/firmware/make
	"$work/bin/make" -date "$own_date" "$work/delivered"
	"$work/bin/make" -date "$own_twin_date" "$work/dated"
	"$work/bin/make" -date "$own_twin_date" -weak "$work/weakened"
	"$work/bin/make" -date "$own_date" -recipe "$work"
	say "$image: $(stat -c %s "$work/delivered/$image") bytes, built $own_date; twins of $own_twin_date"
}

# --- the three deliveries -----------------------------------------------------------

# deliver NAME VERDICT CODE: signs the image in $work/NAME, checks the delivery and
# rechecks its evidence against the reference that was rebuilt before.
deliver() {
	local dir=$work/$1 sum got
	"$work/bin/vendorkey" -out "$dir" "$dir/$image"
	sum=$(sha256sum <"$dir/$image")
	cat >"$work/$1.yaml" <<-EOF
		version: 1
		name: $1
		deployed: {path: $1/$image, sha256: ${sum%% *}}
		reference: {rebuild: recipe.yaml, output: $image}
		signatures:
		  - {over: deployed, key: $1/vendor.pub, signature: $1/$image.sig}
		policy: standard
	EOF
	expect "$3" check "$work/$1.yaml" --evidence "$dir/evidence"
	got=$(awk 'match($0, /"verdict": *"[a-z]+"/) && !seen++ { split(substr($0, RSTART, RLENGTH), part, "\""); print part[4] }' "$dir/evidence/report.json")
	[[ $got == "$2" ]] || die "the verdict of $1 is $got where $2 was due"
	expect "$3" recheck -q "$dir/evidence" "$work/reference/build-1/$image" "$dir/$image"
	results+=("$(printf '%-10s  %-10s  %-5s  %s' "$1" "$2" "$3" "$3")")
}

# differing NAME: prints how many bytes a twin differs in from what was delivered.
differing() {
	{ cmp -l "$work/delivered/$image" "$work/$1/$image" 2>/dev/null || true; } | wc -l
}

main() {
	local obstacle='' mode=${ASSAY_DEMO:-auto} image=''
	command -v go >/dev/null || die "there is no go on PATH"
	cd "$(dirname "$0")/../.."
	if [[ $work == testdata/demo/work ]]; then rm -rf "$work"; fi
	mkdir -p "$work"
	[[ -z $(ls -A "$work") ]] || die "$work must be new or empty"

	case $mode in
	embedded) obstacle="as asked for" ;;
	auto | debian) obstacle=$(obstacle) ;;
	*) die "ASSAY_DEMO must be auto, debian or embedded, not $mode" ;;
	esac
	if [[ -z $obstacle ]]; then
		step "packages and sources of the Debian archive"
		fetch || obstacle="the Debian archive cannot be had"
	fi
	if [[ -z $obstacle ]]; then
		step "cross compiler"
		install_needed || obstacle="apt cannot install $(missing | paste -sd ' ')"
	fi
	finish
	[[ -z $obstacle || $mode != debian ]] || die "no Trusted Firmware-A: $obstacle"

	step "assay, and a throwaway key for the vendor"
	assay=${ASSAY:-$work/bin/assay}
	mkdir "$work/bin"
	[[ -n ${ASSAY-} ]] || go build -trimpath -buildvcs=false -o "$assay" ./cmd/assay
	go build -buildvcs=false -o "$work/bin/" ./testdata/vendorkey

	if [[ -z $obstacle ]]; then
		debian_case
	else
		finish
		printf '\nNo Trusted Firmware-A: %s. Our own firmware takes its place.\n' "$obstacle"
		embedded_case
	fi

	step "the reference: rebuilt from source, twice, without network"
	expect 0 rebuild "$work/recipe.yaml" --out "$work/reference"

	step "(a) as delivered: identical"
	deliver delivered identical 0
	step "(b) built with another date: explained"
	say "$(differing dated) bytes differ"
	deliver dated explained 0
	step "(c) another date and a weakened check: rejected"
	say "$(differing weakened) bytes differ"
	deliver weakened rejected 1
	[[ -n $obstacle ]] || grep -q sunxi_validate_ns_entrypoint "$work/weakened/evidence/report.json" ||
		die "the report does not name the function whose check was weakened"
	finish

	printf '\ndelivery    verdict     check  recheck\n'
	printf '%s\n' "${results[@]}"
	printf '\n     time  step\n'
	printf '%s\n' "${times[@]}" "$(printf '%9s  total' "$(seconds $total)")"
}

main; exit
