#!/usr/bin/env bash
# Real firmware of Debian 12: rebuilt from Debian's sources, and compared with what Debian
# delivers.
#
#   make test-real                       every case below, in minutes
#   ASSAY_REAL=nightly make test-real    and the long ones: a board image of U-Boot
#
# ASSAY names an assay binary to use instead of building one, ASSAY_REAL_DIR a new or
# empty folder to work in instead of testdata/real/work, which each run makes anew.
# ASSAY_REAL_ONLY, a regular expression, picks cases by name.
#
# Apt works on a configuration of its own in the work folder; of the machine only the
# packages in $needed are touched, and only when they are missing. Digests, versions and
# dates are taken at run time from the archive's signed index and from what it delivers.
set -Eeuo pipefail
trap 'echo "real: error: line $LINENO failed" >&2' ERR

# Command and package, for what the builds call.
# shellcheck disable=SC2034 # debian.sh uses it
needed=(
	make:make xz:xz-utils patch:patch python3:python3 gcc:gcc
	dpkg-parsechangelog:dpkg-dev iasl:acpica-tools meson:meson ninja:ninja-build
	aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu riscv64-linux-gnu-gcc:gcc-riscv64-linux-gnu
	arm-none-eabi-gcc:gcc-arm-none-eabi
)
packages=(arm-trusted-firmware qemu-system-data seabios) blobs=()

# And for the long cases.
needed_nightly=(
	bison:bison flex:flex swig:swig bc:bc dtc:device-tree-compiler python3-config:python3-dev
	/usr/lib/python3/dist-packages/setuptools:python3-setuptools
	/usr/include/openssl/evp.h:libssl-dev /usr/include/gnutls/gnutls.h:libgnutls28-dev
)
packages_nightly=(u-boot-sunxi)
# Packages of blobs, whose sources nothing here needs.
blobs_nightly=(crust-firmware)

# The build date of the twin of Trusted Firmware-A, unlike Debian's in every part.
readonly twin_date=2024-03-17T14:07:53Z
# The step that applies Debian's changes to a source.
# shellcheck disable=SC2016 # it is the recipe's shell that expands it
readonly patches='sed "s/#.*//; /^ *\$/d" debian/patches/series | while read -r name; do patch -s -p1 <"debian/patches/$name"; done'
# How many counterfactual rebuilds one check may make.
readonly rebuilds=8

work=testdata/real/work
if [[ -n ${ASSAY_REAL_DIR-} ]]; then work=$(realpath -m "$ASSAY_REAL_DIR"); fi
readonly work

export LC_ALL=C.UTF-8 TZ=UTC

# shellcheck source=testdata/demo/debian.sh
. "$(dirname "$0")/../demo/debian.sh"

say() { printf '   %s\n' "$@"; }

die() {
	printf 'real: error: %s\n' "$@" >&2
	exit 2
}

step() { printf '\n== %s\n' "$1"; }

now() { echo "${EPOCHREALTIME/[.,]/}"; } # microseconds

seconds() { printf '%d.%d' $(($1 / 1000000)) $(($1 / 100000 % 10)); }

# --- what is run, and what must come out ---------------------------------------------

rows=() wrong=()

# picked NAME: whether ASSAY_REAL_ONLY picks the case.
picked() { [[ $1 =~ ${ASSAY_REAL_ONLY-} ]]; }

# row NAME FILE VERDICT CODE LEFT FREE DURATION adds a line to the table.
row() {
	rows+=("$(printf '%-36s %9s  %-11s %4s  %7s  %5s  %7s' "$1" "$(stat -c %s "$2")" "$3" "$4" "$5" "$6" "$(seconds "$7")")")
}

# due NAME WHAT WANT GOT notes what came out wrong.
due() {
	if [[ $3 == "$4" ]]; then return; fi
	printf '%s\n' "!! $1: $2 is $4 where $3 was due"
	wrong+=("$1: $2 is $4 where $3 was due")
}

# total KEY FILE: prints a number of a report's totals, or its free bits.
total() {
	awk -v key="\"$1\":" '/"totals":/ { on = 1 } on && $1 == key { sub(/,$/, "", $2); print $2; exit }' "$2"
}

# left FILE: prints how many bytes a report leaves unaccounted for: unexplained, moved or missing.
left() { echo $(($(total unexplained "$1") + $(total moved "$1") + $(total missing "$1"))); }

# verdict FILE: prints a report's verdict.
verdict() { awk '$1 == "\"verdict\":" { gsub(/[",]/, "", $2); print $2; exit }' "$1"; }

# check NAME IMAGE RECIPE OUTPUT VERDICT CODE: checks the image as a delivery whose reference
# is rebuilt from the recipe. The evidence stays in $work/evidence/NAME.
check() {
	local name=$1 image=$2 recipe=$3 output=$4 got=0 began evidence=$work/evidence/$1
	cat >"$work/$name.yaml" <<-EOF
		version: 1
		name: $name
		deployed: {path: ${image#"$work/"}, sha256: $(sum "$image")}
		reference: {rebuild: ${recipe#"$work/"}, output: $output}
		policy: standard
	EOF
	printf '\n$ assay check %s\n' "$work/$name.yaml"
	began=$(now)
	"$assay" check "$work/$name.yaml" --evidence "$evidence" || got=$?
	printf '%s\n' "-> exit code $got"
	[[ -s $evidence/report.json ]] || die "$name: there is no report"
	row "$name" "$image" "$(verdict "$evidence/report.json")" $got "$(left "$evidence/report.json")" \
		"$(total free_bits "$evidence/report.json")" $(($(now) - began))
	due "$name" "the verdict" "$5" "$(verdict "$evidence/report.json")"
	due "$name" "the exit code" "$6" $got
}

# plain NAME IMAGE OUTPUT: compares the image with the plain build of the check NAME, and
# prints in how many bytes they differ. Nothing but a rebuild explains that.
plain() {
	local reference=$work/evidence/$1/rebuild/build-1/$3 got=0 report=$work/$1.plain.json began
	began=$(now)
	"$assay" diff "$reference" "$2" -o json >"$report" || got=$?
	say "plain diff of $1: $({ cmp -l "$reference" "$2" || true; } 2>/dev/null | wc -l) bytes differ, exit code $got"
	row "$1, plain diff" "$2" "$(verdict "$report")" $got "$(left "$report")" "$(total free_bits "$report")" $(($(now) - began))
	due "$1, plain diff" "the exit code" 1 $got
}

# twin NAME RECIPE OUTPUT SETTING…: builds a recipe under settings and prints the path of
# what it made.
twin() {
	local name=$1 recipe=$2 output=$3 setting set=()
	shift 3
	for setting; do set+=(--set "$setting"); done
	"$assay" rebuild -q "$recipe" --builds 1 "${set[@]}" --out "$work/$name.twin" >&2 || die "the twin $name cannot be built"
	echo "$work/$name.twin/build-1/$output"
}

# sum FILE: prints its SHA-256.
sum() { sha256sum <"$1" | awk '{ print $1 }'; }

# answered COMPILER: prints the version with its vendor's revision that it answers with.
answered() { "$1" --version | sed -n '1s/^[^(]*([^)]* \([^ )]*\)).*/\1/p'; }

# compiler IMAGE: prints the version of the compiler that an image names: gcc (Debian VERSION).
compiler() { grep -aoE 'gcc:? \([^()]* [^() ]+\)' "$1" | awk 'NR == 1 { sub(/\)$/, ""); print $NF }'; }

# source_of PACKAGE [SOURCE…]: prints the beginning of a recipe, with its sources: the
# original archive at /src, Debian's changes in it, and any others, each a line of YAML.
source_of() {
	local orig changes top
	orig=$(echo "$work/download/$1"_*.orig.tar.*)
	changes=$(echo "$work/download/$1"_*.debian.tar.xz)
	top=$(top_of "$orig")
	cat <<-EOF
		version: 1
		limits: {time: 30m, memory: 4GiB, output: 1GiB, processes: 512}
		sources:
		  - {path: download/${orig##*/}, sha256: $(digest "$orig"), at: /src}
		  - {path: download/${changes##*/}, sha256: $(digest "$changes"), at: /src/$top}
	EOF
	shift
	if (($# > 0)); then printf '  - %s\n' "$@"; fi
}

# --- Trusted Firmware-A ---------------------------------------------------------------

# tf_a PLATFORM: the firmware that Debian builds for it. The file itself says whether that
# is a debug or a release build.
tf_a() {
	local name=tf-a-$1 image=$work/delivered/arm-trusted-firmware/usr/lib/arm-trusted-firmware/$1/bl31.bin kind
	picked "$name" || return 0
	kind=$(kind_of "$image")
	tf_a_recipe "$1" "$kind" 2 "$(built_at arm-trusted-firmware)" >"$work/$name.recipe.yaml"
	check "$name" "$image" "$work/$name.recipe.yaml" bl31.bin identical 0
}

# kind_of IMAGE: prints debug or release, as the version of Trusted Firmware-A in it says.
kind_of() { grep -aoE 'v[0-9.]+\((debug|release)\)' "$1" | awk -F '[()]' 'NR == 1 { print $2 }'; }

# tf_a_twin: another date and a weakened check. A rebuild explains the date, and leaves the check.
tf_a_twin() {
	local name=tf-a-weakened platform=sun50i_a64 image
	picked "$name" || return 0
	image=$work/delivered/arm-trusted-firmware/usr/lib/arm-trusted-firmware/$platform/bl31.bin
	{
		tf_a_recipe $platform "$(kind_of "$image")" 1 "$(built_at arm-trusted-firmware)"
		echo "replay: {max_rebuilds: $rebuilds}"
	} >"$work/$name.recipe.yaml"
	tf_a_recipe $platform "$(kind_of "$image")" 1 "$(built_at arm-trusted-firmware)" "$(weaken_tf_a)" >"$work/$name.twin.yaml"
	image=$(twin $name "$work/$name.twin.yaml" bl31.bin "epoch=$(date -u -d "$twin_date" +%s)")
	check $name "$image" "$work/$name.recipe.yaml" bl31.bin rejected 1
	small $name
	grep -q sunxi_validate_ns_entrypoint "$work/evidence/$name/report.json" ||
		due $name "the function that is named" sunxi_validate_ns_entrypoint none
}

# small NAME: what a check leaves unaccounted for is one changed instruction, and neither
# nothing nor more.
small() {
	local count
	count=$(left "$work/evidence/$1/report.json")
	if ((count < 1 || count > 8)); then due "$1" "the number of bytes that stay unexplained" "1 to 8" "$count"; fi
}

# --- firmware in qemu -----------------------------------------------------------------

# qemu NAME IMAGE OUTPUT TOOLS VERDICT CODE [FLAGS]: firmware in the source of qemu, built as
# Debian's debian/rules builds it. Standard input has its steps.
qemu() {
	local name=$1 image=$work/delivered/qemu-system-data/usr/share/qemu/$2
	picked "$name" || return 0
	{
		source_of qemu
		cat <<-EOF
			toolchain: {host: [$4]}
			env:
			  SOURCE_DATE_EPOCH: "$(built_at qemu)"
			${7-}
			steps:
			  - sh: |
			      cd $(qemu_top)
			      $patches
			  - sh: |
			      cd $(qemu_top)
		EOF
		sed 's/^/      /'
		cat <<-EOF
			outputs: [{path: $(qemu_top)/$3}]
			builds: 1
		EOF
	} >"$work/$name.recipe.yaml"
	check "$name" "$image" "$work/$name.recipe.yaml" "${3##*/}" "$5" "$6"
}

qemu_top() { top_of "$(echo "$work/download/qemu"_*.orig.tar.xz)"; }

# flags DIR: prints the compiler's and linker's flags of a Debian package that is built in
# DIR, as lines of a recipe's env.
flags() {
	local flag
	for flag in CFLAGS CPPFLAGS LDFLAGS; do
		printf '  %s: "%s"\n' $flag "$(DEB_BUILD_PATH=$1 dpkg-buildflags --get $flag)"
	done
}

qemu_cases() {
	local riscv='make, patch' arm='make, patch' x86='make, patch, python3, gcc, cc, as, ld, objcopy' tool
	for tool in gcc as ld ar objcopy strip; do
		riscv+=", riscv64-linux-gnu-$tool" arm+=", arm-none-eabi-$tool"
	done
	for tool in bin elf; do
		qemu opensbi-$tool opensbi-riscv64-generic-fw_dynamic.$tool \
			b/opensbi/platform/generic/firmware/fw_dynamic.$tool "$riscv" identical 0 <<-'EOF'
				mkdir -p b/opensbi
				make -j2 -C roms/opensbi O=../../b/opensbi CROSS_COMPILE=riscv64-linux-gnu- V=1 PLATFORM=generic
				riscv64-linux-gnu-strip --strip-unneeded -R.comment -R.note b/opensbi/platform/generic/firmware/fw_dynamic.elf
			EOF
	done
	for tool in linuxboot_dma multiboot; do
		qemu optionrom-$tool $tool.bin b/optionrom/$tool.bin "$x86" identical 0 <<-EOF
			mkdir -p b/optionrom
			make -C b/optionrom -f ../../debian/optionrom.mak SRC_PATH="\$PWD" $tool.bin
		EOF
	done
	qemu npcm7xx_bootrom npcm7xx_bootrom.bin roms/vbootrom/npcm7xx_bootrom.bin "$arm" identical 0 <<-'EOF'
		make -C roms/vbootrom CROSS_COMPILE=arm-none-eabi-
	EOF
	qemu qboot qboot.rom b/qboot/bios.bin "$x86, meson, ninja" identical 0 "$(flags "/src/$(qemu_top)")" <<-'EOF'
		meson setup roms/qboot b/qboot
		ninja -C b/qboot
	EOF
	# Without the flags it is another program: the recipe is not the vendor's.
	qemu qboot-no-flags qboot.rom b/qboot/bios.bin "$x86, meson, ninja" rejected 1 <<-'EOF'
		meson setup roms/qboot b/qboot
		ninja -C b/qboot
	EOF
}

# --- SeaBIOS --------------------------------------------------------------------------

# seabios_recipe NAME [STEP]: prints the recipe of one image of SeaBIOS. STEP, a line of YAML,
# comes before the build.
seabios_recipe() {
	local top symbols=''
	top=$(top_of "$(echo "$work/download/seabios"_*.orig.tar.*)")
	if [[ $1 == bios* ]]; then symbols=", symbols: $top/build/$1/rom.o"; fi
	source_of seabios
	cat <<-EOF
		toolchain: {host: [make, gcc, cpp, as, ld, objcopy, objdump, strip, iasl, python3, dpkg-parsechangelog]}
		env: {SOURCE_DATE_EPOCH: "$(built_at seabios)"}
		steps:
	EOF
	if [[ -n ${2-} ]]; then echo "  - $2"; fi
	cat <<-EOF
		  - [make, -j2, -C, $top, -f, debian/rules, build/$1.bin]
		outputs: [{path: $top/build/$1.bin$symbols}]
		builds: 1
		replay: {max_rebuilds: $rebuilds}
	EOF
}

# seabios NAME: one image. It names its compiler, which since had another revision: by plain
# comparison the two differ all over. Where they do not, since Debian has built it anew, a
# build by a compiler with another name takes its place.
seabios() {
	local name=seabios-$1 image=$work/delivered/seabios/usr/share/seabios/$1.bin mine theirs
	picked "$name" || return 0
	seabios_recipe "$1" >"$work/$name.recipe.yaml"
	theirs=$(compiler "$image") mine=$(answered gcc)
	say "the compiler of $1.bin is $theirs, that of this machine $mine"
	if [[ $theirs == "$mine" ]]; then
		theirs=${mine%+*}
		if [[ $theirs == "$mine" ]]; then theirs=$mine+other1; fi
		image=$(twin "$name" "$work/$name.recipe.yaml" "$1.bin" "version:gcc=$theirs")
	fi
	check "$name" "$image" "$work/$name.recipe.yaml" "$1.bin" explained 0
	plain "$name" "$image" "$1.bin"
	due "$name" "what is left" 0 "$(left "$work/evidence/$name/report.json")"
	replayed "$name" "$theirs"
}

# replayed NAME VALUE: the value, and no other, is what the reference of a check was built with.
replayed() {
	local values
	values=$(awk '/"replay":/ { on = 1 } on && $1 == "\"values\":" { on = 2 }
		on == 2 && $1 == "\"value\":" { gsub(/[",]/, "", $2); print $2 }
		on == 2 && /^ *\]/ { exit }' "$work/evidence/$1/report.json" | paste -sd ' ')
	due "$1" "what was replayed" "$2" "$values"
}

# seabios_twin NAME SCRIPT: SeaBIOS that skips a measurement by the TPM, by the compiler that
# the delivered one names. A rebuild explains the compiler, and leaves the rest.
seabios_twin() {
	local name=seabios-$1 image=$work/delivered/seabios/usr/share/seabios/bios-256k.bin top
	picked "$name" || return 0
	top=$(top_of "$(echo "$work/download/seabios"_*.orig.tar.*)")
	seabios_recipe bios-256k >"$work/$name.recipe.yaml"
	seabios_recipe bios-256k "[sed, -i, '$2', $top/src/tcgbios.c]" >"$work/$name.twin.yaml"
	image=$(twin "$name" "$work/$name.twin.yaml" bios-256k.bin "version:gcc=$(compiler "$image")")
	check "$name" "$image" "$work/$name.recipe.yaml" bios-256k.bin rejected 1
	plain "$name" "$image" bios-256k.bin
}

seabios_cases() {
	local name
	for name in bios bios-256k vgabios-stdvga; do seabios $name; done
	# Option ROMs are measured where no TPM works, and only there.
	seabios_twin unmeasured '/^tpm_option_rom/,/^}/s/!tpm_is_working/tpm_is_working/'
	if picked seabios-unmeasured; then small seabios-unmeasured; fi
}

# --- U-Boot ---------------------------------------------------------------------------

# u_boot: the board image of pine64_plus, a FIT with U-Boot, its device trees, Trusted
# Firmware-A and the firmware of the system controller. The last two are blobs to U-Boot's
# build, taken on trust from the packages that Debian took them from. Debian builds natively,
# where the compiler is called gcc: here a cross compiler answers to that name, and the
# version that it answers with is its own.
u_boot() {
	local name=u-boot-pine64_plus output=u-boot-sunxi-with-spl.fit.itb top cross=aarch64-linux-gnu- image mine theirs tools='' tool
	picked $name || return 0
	image=$work/delivered/u-boot-sunxi/usr/lib/u-boot/pine64_plus/$output
	cp "$work/delivered/arm-trusted-firmware/usr/lib/arm-trusted-firmware/sun50i_a64/bl31.bin" "$work/bl31.bin"
	cp -L "$work/delivered/crust-firmware/usr/lib/crust-firmware/pine64_plus.bin" "$work/scp.bin"
	top=$(top_of "$(echo "$work/download/u-boot"_*.orig.tar.*)")
	for tool in gcc as ld ar nm objcopy objdump; do tools+=", $cross$tool"; done
	{
		source_of u-boot "{path: bl31.bin, sha256: $(sum "$work/bl31.bin"), at: /blobs/bl31.bin, trust: true}" \
			"{path: scp.bin, sha256: $(sum "$work/scp.bin"), at: /blobs/scp.bin, trust: true}"
		cat <<-EOF
			toolchain: {host: [make, patch, gcc, bison, flex, swig, bc, python3$tools]}
			env: {SOURCE_DATE_EPOCH: "$(built_at u-boot)"}
			steps:
			  - sh: |
			      cd $top
			      $patches
			  - sh: |
			      mkdir bin
			      cat >bin/gcc <<'END'
			      #!/bin/sh
			      case " \$* " in *' --version '*) ${cross}gcc "\$@" | sed '1s/^$cross//'; exit ;; esac
			      exec ${cross}gcc "\$@"
			      END
			      chmod +x bin/gcc
			      cd $top
			      build() { make -j2 O=out CROSS_COMPILE=$cross CC=/src/bin/gcc SCP=/blobs/scp.bin BL31=/blobs/bl31.bin "\$@"; }
			      build pine64_plus_defconfig
			      sed -i 's,^CONFIG_LOCALVERSION=.*,CONFIG_LOCALVERSION="$(revision u-boot)",' out/.config
			      build
			outputs: [{path: $top/out/$output, symbols: $top/out/u-boot}]
			builds: 1
			replay: {max_rebuilds: $rebuilds}
		EOF
	} >"$work/$name.recipe.yaml"
	theirs=$(compiler "$image")
	mine=$(answered ${cross}gcc)
	say "the compiler of $output is $theirs, that of this machine $mine"
	if [[ $theirs == "$mine" ]]; then
		check $name "$image" "$work/$name.recipe.yaml" $output identical 0
		return
	fi
	check $name "$image" "$work/$name.recipe.yaml" $output explained 0
	plain $name "$image" $output
	due $name "what is left" 0 "$(left "$work/evidence/$name/report.json")"
	replayed $name "$theirs"
}

# revision SOURCE: prints what Debian adds to the version of a source, as its debian/rules
# has it: from +dfsg on.
revision() {
	tar -xJOf "$(echo "$work/download/$1"_*.debian.tar.xz)" debian/changelog |
		awk 'NR == 1 { sub(/.*\+dfsg/, "+dfsg"); sub(/\).*/, "") ; version = $0 } END { print version }'
}

main() {
	local began mode=${ASSAY_REAL:-} obstacle name
	began=$(now)
	command -v go >/dev/null || die "there is no go on PATH"
	cd "$(dirname "$0")/../.."
	case $mode in
	'') ;;
	nightly) needed+=("${needed_nightly[@]}") packages+=("${packages_nightly[@]}") blobs=("${blobs_nightly[@]}") ;;
	*) die "ASSAY_REAL must be nightly or nothing, not $mode" ;;
	esac
	if [[ $work == testdata/real/work ]]; then rm -rf "$work"; fi
	mkdir -p "$work"
	[[ -z $(ls -A "$work") ]] || die "$work must be new or empty"
	obstacle=$(obstacle)
	[[ -z $obstacle ]] || die "$obstacle"

	step "packages and sources of the Debian archive"
	fetch "${packages[@]}" || die "the Debian archive cannot be had"
	fetch_delivered "${blobs[@]}" || die "the Debian archive cannot be had"
	mkdir "$work/delivered"
	for name in "${packages[@]}" "${blobs[@]}"; do
		digest "$(delivered "$name")" >/dev/null
		dpkg-deb --extract "$(delivered "$name")" "$work/delivered/$name"
	done
	step "compilers"
	install_needed || die "apt cannot install $(missing | paste -sd ' ')"
	step "assay"
	assay=${ASSAY:-$work/assay}
	[[ -n ${ASSAY-} ]] || go build -trimpath -buildvcs=false -o "$assay" ./cmd/assay

	step "Trusted Firmware-A"
	for name in sun50i_a64 rpi4 g12a; do tf_a $name; done
	tf_a_twin
	step "firmware in qemu"
	qemu_cases
	step "SeaBIOS"
	seabios_cases
	if [[ $mode == nightly ]]; then
		# The call itself is gone, and what follows has moved.
		seabios_twin uncalled '/^tpm_option_rom/,/^}/{/tpm_add_measurement_to_log/,/;/d}'
		step "U-Boot"
		u_boot
	fi

	printf '\n%-36s %9s  %-11s %4s  %7s  %5s  %7s\n' name bytes verdict exit left free seconds
	printf '%s\n' "${rows[@]}"
	printf '\n%s s in all\n' "$(seconds $(($(now) - began)))"
	((${#wrong[@]} == 0)) || {
		printf 'real: wrong: %s\n' "${wrong[@]}" >&2
		exit 1
	}
}

main; exit

