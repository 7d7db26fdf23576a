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

# with_systemd unified|hybrid SCRIPT: bash's SCRIPT beside a systemd of its own, a user's manager that we take for the system's.
with_systemd() {
	cat >"$T/manager" <<-END
		set -e
		mount --make-rprivate /
		mount -t tmpfs tmpfs /run
		mkdir -p /run/systemd/system "$T/run"
		[[ $1 != unified || ! -d /sys/fs/cgroup/unified ]] || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
		for h in /sys/fs/cgroup{,/systemd,/unified}; do
			[[ ! -e \$h/cgroup.procs ]] || { mkdir \$h$CG; echo \$\$ >\$h$CG/cgroup.procs; }
		done
		export XDG_RUNTIME_DIR=$T/run DBUS_SESSION_BUS_ADDRESS=unix:path=$T/run/bus DBUS_SYSTEM_BUS_ADDRESS=unix:path=$T/run/bus
		dbus-daemon --session --address=unix:path=$T/run/bus --nofork --nopidfile >$T/dbus.log 2>&1 &
		for ((i = 0; i < 100; i++)); do [[ ! -e $T/run/bus ]] || break; sleep 0.05; done
		/lib/systemd/systemd --user --unit=basic.target >$T/systemd.log 2>&1 &
		for ((i = 0; i < 100; i++)); do ! busctl --user status org.freedesktop.systemd1 >/dev/null 2>&1 || break; sleep 0.05; done
		rt() { "$RT" --root "$STATE" "\$@"; }
		$2
	END
	try timeout -k 5 60 unshare -mpf --kill-child --mount-proc bash "$T/manager"
	find /sys/fs/cgroup -depth -path "*$CG*" -type d -exec rmdir {} + || true
}
