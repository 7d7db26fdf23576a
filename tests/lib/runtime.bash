# runtime.bash: what tests of hoy-runtime load beside hoy.bash: a bundle $B of busybox, edited with jq, and its states in $STATE.

setup() {
	hoy_setup
	RT="${HOY_BUILD:?}/hoy-runtime"
	STATE=$T/state
	B=$T/bundle
	mkdir -p "$B/rootfs"
	tar -xf "$(fixture busybox)/rootfs.tar" -C "$B/rootfs"
	rt spec -b "$B"
	edit '.process.terminal = false | .root.readonly = false | .linux.cgroupsPath = "/hoy-test-'$BASHPID'/c"'
	CG=/hoy-test-$BASHPID
}

teardown() {
	for c in $(rt list -q); do rt delete -f "$c" || true; done
	local left
	left=$(find /sys/fs/cgroup -path "*$CG/*" -type d)
	find /sys/fs/cgroup -depth -path "*$CG" -type d -exec rmdir {} + || true
	[[ -z $left ]] || { echo "left behind: $left" >&2; return 1; }
	hoy_teardown
}

rt() { "$RT" --root "$STATE" "$@"; }
# Change config.json by a jq program.
edit() { jq "$1" "$B/config.json" >"$B/new" && mv "$B/new" "$B/config.json"; }
# Run SH in the container.
run_sh() {
	edit ".process.args = [\"sh\", \"-c\", $(jq -n --arg s "$1" '$s')]"
	try rt run -b "$B" c1
}
# A container c1 that sleeps.
sleeper() {
	edit '.process.args = ["sleep", "1000"]'
	rt run -d -b "$B" c1 </dev/null >"$T/out" 2>&1
}
status_of() { rt state "$1" | jq -r .status; }
is() { [[ $(status_of "$1") == "$2" ]]; }
v1() { [[ -d /sys/fs/cgroup/$1 && $(stat -f -c %T /sys/fs/cgroup) != cgroup2fs ]]; }
