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

# Kill at points of operations $2... spread evenly over their changing system calls; $1: how many for each and each way to die, or "all".
kill_points() {
	local op way calls n many failed=0 points=0
	edit '.process.args = ["sleep", "31337"]'
	for op in "${@:2}"; do
		for way in kill-one kill-all; do
			calls=$(prepared $op && injected $op -o "$T/calls" && sed -n 's/^calls //p' "$T/calls")
			rt delete -f c1
			many=$1
			[[ $1 != all ]] || many=$calls
			for ((i = 0; i < many; i++)); do
				n=$((1 + i * (calls - 1) / (many > 1 ? many - 1 : 1)))
				prepared $op
				injected $op -f $way -n $n || true
				points=$((points + 1))
				clean_after "$op $way $n of $calls" || failed=1
			done
		done
	done
	echo "$points points"
	return $failed
}

prepared() {
	[[ $1 == create || $1 == run ]] || rt create -b "$B" c1 </dev/null >/dev/null 2>&1
	[[ $1 == start || $1 == create || $1 == run ]] || rt start c1
	[[ $1 != resume ]] || rt pause c1
}

injected() {
	local words=(create -b "$B" c1)
	[[ $1 != start ]] || words=(start c1)
	[[ $1 != delete ]] || words=(delete -f c1)
	[[ $1 != run ]] || words=(run -d -b "$B" c1)
	[[ $1 != exec ]] || words=(exec -d c1 sleep 31337)
	[[ $1 != pause && $1 != resume ]] || words=("$1" c1)
	[[ $1 != mounts ]] || words=(mounts add c1 "$B/mounts")
	"$HOY_BUILD/tests/faults/inject" "${@:2}" "$HOY_BIN/hoy-runtime" --root "$STATE" "${words[@]}" </dev/null >/dev/null 2>"$T/err"
}

# `delete --force` must do, and leave nothing.
clean_after() {
	local i left
	rt delete -f c1 || { echo "delete --force failed after: $1" >&2; return 1; }
	for ((i = 0; i < 40; i++)); do
		left=$(ls "$STATE"; find /sys/fs/cgroup -path "*$CG/*" -type d; pgrep -f "^[^ ]*hoy-runtime.*$STATE"; pgrep -f '^sleep 31337'; grep "$B" /proc/self/mountinfo)
		[[ -n $left ]] || return 0
		sleep 0.05
	done
	echo "left after $1: $left; inject said: $(cat "$T/err")" >&2
	return 1
}
