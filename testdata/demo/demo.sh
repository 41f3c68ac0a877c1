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

# shellcheck source=testdata/demo/debian.sh
. "$(dirname "$0")/debian.sh"

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

# debian_case lays out the three deliveries of Trusted Firmware-A.
debian_case() {
	local deb deb_sha256 orig orig_sha256 epoch twin twin_epoch
	step "what Debian delivers, and the source it names"
	image=bl31.bin
	deb=$(delivered "$package")
	deb_sha256=$(digest "$deb")
	orig=$(echo "$work/download/$package"_*.orig.tar.xz)
	orig_sha256=$(digest "$orig")
	say "${deb##*/}" "  sha256 $deb_sha256" "${orig##*/}" "  sha256 $orig_sha256" "as the archive's signed index says"
	mkdir "$work"/{delivered,dated,weakened}
	dpkg-deb --fsys-tarfile "$deb" | tar -xO "./usr/lib/$package/$platform/$image" >"$work/delivered/$image"
	epoch=$(built_at "$package")
	twin_epoch=$(date -u -d "$twin_date" +%s)
	tf_a_recipe "$platform" release 2 "$epoch" >"$work/recipe.yaml"
	tf_a_recipe "$platform" release 1 "$twin_epoch" >"$work/dated-recipe.yaml"
	tf_a_recipe "$platform" release 1 "$twin_epoch" "$(weaken_tf_a)" >"$work/weakened-recipe.yaml"
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
		fetch "$package" || obstacle="the Debian archive cannot be had"
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
