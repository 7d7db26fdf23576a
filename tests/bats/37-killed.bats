#!/usr/bin/env bats
# kill -9 of the monitor, the runtime and the parent, at calls of create and start: a clear error, and after the next command nothing
# is left. (tests/faults hurts all commands at all calls; here each part of a start has its turn, however few calls it makes.)

load ../lib/hoy

inject() { "$HOY_BUILD/tests/faults/inject" "$@"; }

# calls TOOL COMMAND...: how many of its calls count.
calls() {
	inject -o "$T/calls" -m "^$1\\[" -- "${@:2}" >/dev/null 2>&1 </dev/null || true
	awk '$1 == "calls" { print $2 }' "$T/calls"
}

nothing_left() {
	local left
	left=$(ls "$ROOT/hoy/containers" "$RUNROOT/hoy" "$RUNROOT/hoy/runtime" 2>/dev/null | grep -E '[0-9a-f]{64}'
		find /sys/fs/cgroup -path "*/${T##*/}/*" -type d -name '*[0-9a-f]*' | grep -v "/${T##*/}$"
		grep "$ROOT" /proc/self/mountinfo
		pgrep -af "$RUNROOT"
		pgrep -af 'sleep 7654') || true
	[[ -z $left ]] || { echo "left: $left"; return 1; }
}

# killed TOOL STEP: `run -d` with that tool killed at every STEP-th of its calls, and what follows.
killed() {
	local n total run=("$HOY_BIN/hoy" "${HOY_OPTS[@]}" run -d --name k --network none --cgroup-parent "/${T##*/}" busybox sleep 7654)
	have_image busybox
	: >"$STORE/.used-hoy"
	total=$(calls "$1" "${run[@]}")
	hoy rm -f -t 0 k >/dev/null
	nothing_left
	[[ $total -ge 5 ]]
	for ((n = 1; n <= total; n += $2)); do
		try inject -f kill-one -n "$n" -m "^$1\\[" -- "${run[@]}"
		# killed itself, or done, or one line that says what is wrong
		[[ $status == 137 || $status == 0 || ($stderr == 'Error: '* && $stderr != *$'\n'*) ]] || show "$1 killed at call $n of $total"
		until_true 5 hoy rm -f -t 0 k >/dev/null
		hoy rm -i nobody
		until_true 5 nothing_left || { echo "$1 killed at call $n of $total"; return 1; }
	done
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} + 2>/dev/null || true
}

@test "the monitor is killed while a container is made and started" { killed hoy-conmon 1; }

@test "the runtime is killed while a container is made and started" { killed hoy-runtime 4; }

@test "the parent is killed while a container is made and started" { killed hoy-run 4; }

@test "the monitor alone, killed while it makes a container by the runtime: the runtime's delete takes all away" {
	local n total id root=$T/state
	local mon=("$HOY_BIN/hoy-conmon" --api-version 1 -c killedone -u killedone -b "$T/bundle" -p "$T/pidfile" -r "$HOY_BIN/hoy-runtime" "--runtime-arg=--root=$root"
		--exit-dir "$T/exits" -l "k8s-file:$T/log" --full-attach)
	mkdir -p "$T/bundle/rootfs" "$T/exits"
	tar -C "$T/bundle/rootfs" -xf "$(fixture busybox)/rootfs.tar"
	(cd "$T/bundle" && tool hoy-runtime spec)
	jq '.process.terminal = false | .process.args = ["sleep", "7654"] | .linux.cgroupsPath = "/'"${T##*/}"'/one"' "$T/bundle/config.json" >"$T/config"
	mv "$T/config" "$T/bundle/config.json"
	gone() { [[ ! -e $root/killedone ]] && ! pgrep -f 'sleep 7654' && ! pgrep -f "hoy-conmon.*$T" && [[ ! -d /sys/fs/cgroup/memory/${T##*/}/one ]]; }
	background "$HOY_BUILD/tests/faults/inject" -w -o "$T/calls" -m '^hoy-(conmon|runtime)\[' -- "${mon[@]}"
	until_true 5 test -s "$T/pidfile"
	tool hoy-runtime --root "$root" delete --force killedone
	wait $!
	total=$(awk '/pidfile/ { n = NR } END { print n }' "$T/calls")
	[[ $total -ge 10 ]]
	for ((n = 1; n <= total; n += 3)); do
		try inject -w -f kill-one -n "$n" -m '^hoy-(conmon|runtime)\[' -- "${mon[@]}"
		until_true 5 bash -c "! pgrep -f '[h]oy-runtime.*$root create'" >/dev/null || { echo "call $n of $total"; return 1; }
		tool hoy-runtime --root "$root" delete --force killedone || [[ $n -lt 20 ]]
		until_true 5 gone || { echo "call $n of $total"; ps axf | grep -E 'sleep|hoy-' | grep -v grep; return 1; }
	done
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} + 2>/dev/null || true
}

@test "the monitor is killed while it carries exec sessions" {
	have_image busybox
	hoy run -d --name c --network none busybox sleep 7654
	(hoy exec -t c sleep 7654 </dev/null 2>"$T/said" || echo $? >"$T/status") &
	hoy exec -d c sleep 7654
	until_true 5 bash -c '[[ $(pgrep -fc "^sleep 7654") == 3 ]]'
	kill -9 "$(hoy inspect -f '{{.State.ConmonPid}}' c)"
	until_true 5 test -s "$T/status"
	[[ $(cat "$T/status") == 255 ]]
	grep -q '^Error: exec session' "$T/said"
	try hoy exec -t c true
	assert_error 'takes no exec sessions'
	[[ $(hoy exec c echo still here) == 'still here' ]]
	hoy rm -f -t 0 c
	until_true 5 nothing_left
}
