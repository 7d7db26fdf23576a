#!/usr/bin/env bats
# The rules of the house that a machine can check: who links what, who includes whom, what each tool says of itself.

load ../lib/hoy

needed() { readelf -d "$HOY_BIN/$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc\.so|ld-linux|libasan|libubsan|libpthread|libm\.so|libgcc_s)' | sort | tr '\n' ' '; }

@test "each tool links what the design allows, and nothing else" {
	[[ $(needed hoy) == '' ]]
	[[ $(needed hoy-image) == 'libyajl.so.2 ' ]]
	[[ $(needed hoy-run) == 'libyajl.so.2 ' ]]
	[[ $(needed hoy-build) == 'libyajl.so.2 ' ]]
	for lib in $(needed hoy-builder); do [[ $lib =~ ^lib(yajl|crypto)\. ]]; done
	[[ $(needed hoy-conmon) == '' ]]
	for lib in $(needed hoy-runtime); do [[ $lib =~ ^lib(yajl|seccomp|cap)\. ]]; done
	for lib in $(needed hoy-net); do [[ $lib =~ ^lib(yajl|mnl)\. ]]; done
	for lib in $(needed hoy-transfer); do [[ $lib =~ ^lib(yajl|crypto|isal|zstd|gpgme|sodium|yaml-0)\. ]]; done
	# what takes long to load, with all that it needs, is loaded by those who need it: libarchive, libcurl
}

@test "no tool includes another one's headers, and common/ includes no floor above its own" {
	cd "$HOY_TOP"
	run grep -rnE '#include "(\.\./)*cmd-' common
	assert_status 1
	for dir in cmd-*/; do
		run grep -rnE "#include \"cmd-" "$dir"
		grep -v "#include \"${dir%/}/" <<<"$output" | not grep -q include
	done
	floors=(base data proc conf store oci cli)
	for i in "${!floors[@]}"; do
		for above in "${floors[@]:i+1}"; do
			# proc and conf stand side by side: a user's namespace needs that user's directories
			[[ ${floors[i]}/$above != proc/conf ]] || continue
			run grep -rn "#include \"common/$above/" "common/${floors[i]}"
			[[ $output == '' ]] || { echo "$output"; false; }
		done
	done
}

@test "hoy without a verb, with --help, with a wrong verb" {
	try tool hoy --help
	assert_success
	assert_stdout_has 'Run a command in a new container'
	try tool hoy nonsense
	assert_error "unrecognized command \`hoy nonsense\`"
	try tool hoy run --help
	assert_success
	assert_stdout_has '--rm'
	try tool hoy run --nonsense x
	assert_error 'unknown flag: --nonsense'
	try tool hoy run
	assert_error 'requires at least 1 argument'
}

@test "groups of commands: their help, a missing or wrong one; help COMMAND" {
	try hoy image --help
	assert_success
	assert_stdout_has '  prune       Remove unused images'
	assert_stdout_has '  pull        Pull an image from a registry'
	try hoy image
	assert_status 125
	[[ $stderr == "Error: missing command 'hoy image COMMAND'" ]]
	try hoy image trust nothing
	assert_error "unrecognized command 'hoy image trust nothing' (run: hoy image trust --help)"
	try hoy help image trust
	assert_success
	assert_stdout_has '  show  Show which images may come in'
	diff <(hoy help run) <(hoy run --help)
}

@test "version and info" {
	try tool hoy version
	assert_success
	assert_stdout_has 'Version:'
	try hoy info --format '{{.store.graphDriverName}} {{.host.security.rootless}}'
	assert_stdout 'overlay false'
}

@test "a failed write to stdout is an error" {
	run --separate-stderr bash -c '"$1" "${@:2}" images >/dev/full' _ "$HOY_BIN/hoy" "${HOY_OPTS[@]}"
	assert_status 125
	assert_stderr_has 'cannot write to standard output'
}

@test "the manuals know every command and option that the tools have, and are well-formed" {
	"$HOY_TOP/man/update" --check "$HOY_BIN"
	for page in "$HOY_TOP"/man/*.[1-9]; do
		mandoc -T lint -W error "$page"
	done
	for tool in "$HOY_BIN"/hoy*; do
		[[ -e $HOY_TOP/man/${tool##*/}.1 ]] || { echo "no manual: ${tool##*/}"; false; }
	done
	# these two are written by hand
	for tool in hoy-runtime hoy-net; do
		for option in $("$HOY_BIN/$tool" --help | sed -n 's/^  \(-.,\|   \) --\([a-z-]*\).*/\2/p'); do
			grep -qE -- "(Fl -|, -)$option( |\$)" "$HOY_TOP/man/$tool.1" || { echo "$tool.1 does not know --$option"; false; }
		done
	done
}

@test "inspect of a name with a transport is no question to the store" {
	try hoy inspect "oci:$(fixture busybox)/oci"
	assert_success
	[[ $(jq -r .Architecture <<<"$output") == amd64 ]]
	# the value of --format is no name
	have_image busybox
	try hoy inspect -f 'dir: {{.Os}}' localhost/busybox
	assert_stdout 'dir: linux'
}

@test "no test has a line that cannot fail it" {
	# shellcheck disable=SC2016
	lines=$(grep -nE '^\s*! [^|]*(\| [^|]*)*$' "$HOY_TESTS"/bats/*.bats | grep -vE '\|\||:\s*! \$' || true)
	[[ $lines == '' ]] || { echo "$lines"; false; }
}
