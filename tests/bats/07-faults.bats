#!/usr/bin/env bats
# Kills, full disks and broken ones in the middle of a command: tests/faults, and what it once found.

load ../lib/hoy

# kill_at PATTERN COMMAND...: kill all of `hoy COMMAND` at the first of its system calls that matches (see tests/faults/inject.c).
kill_at() {
	: >"$STORE/.used-hoy"
	run "$HOY_BUILD/tests/faults/inject" -f kill-all -n 1 -m "$1" "$HOY_BIN/hoy" "${HOY_OPTS[@]}" "${@:2}"
	assert_status 137
}

# fail_at ERROR PATTERN COMMAND...: that call fails (`-s`: and all after it that need space, as on a full disk).
fail_at() {
	local sticky=()
	[[ $1 != -s ]] || { sticky=(-s); shift; }
	: >"$STORE/.used-hoy"
	mkdir -p "$ROOT"
	try "$HOY_BUILD/tests/faults/inject" -f "$1" "${sticky[@]}" -d "$ROOT" -n 1 -m "$2" "$HOY_BIN/hoy" "${HOY_OPTS[@]}" "${@:3}"
}

have_base() { hoy load -q -i "$(fixture busybox)/docker.tar" >/dev/null; }

# Directories of layers, links to them, and items of images, that are more than there are records.
stray() {
	layers() { jq -r '.[].id' "$ROOT"/overlay-layers/{,volatile-}layers.json 2>/dev/null | sort; }
	diff <(ls "$ROOT/overlay" | grep -E '^.{64}$') <(layers)
	diff <(find "$ROOT/overlay/l" -type l -printf '%l\n' | cut -d/ -f2 | sort) <(layers)
	diff <(ls "$ROOT/overlay-images" | grep -E '^.{64}$') <(jq -r '.[].id' "$ROOT/overlay-images/images.json" | sort)
	find "$ROOT" "$RUNROOT" -name '.tmp-*'
}

@test "sixty points: every operation, every fault" {
	run "$HOY_TESTS/faults/run" --quick
	assert_success
	[[ $output == *$'\n60 points, 0 with findings' ]]
}

@test "a container's maker or remover that was killed leaves nothing after the next rm" {
	have_base
	d=$ROOT/hoy/containers
	mkdir -p "$d/$(printf 'a%.0s' {1..64})" "$d/$(printf 'b%.0s' {1..64})" "$d/$(printf 'c%.0s' {1..64}).gone/sub"
	echo '{}' >"$d/$(printf 'b%.0s' {1..64})/def.json"
	: >"$d/$(printf 'b%.0s' {1..64})/lock"
	kill_at ' mkdirat diff' create --network none busybox true
	hoy rm -i nobody
	[[ $(ls "$d") == "" ]]
	run stray
	assert_stdout ''
}

@test "a temporary file of a writer that was killed is the next one's" {
	have_base
	kill_at ' fdatasync .*images.json' tag busybox one
	[[ -e $ROOT/overlay-images/.tmp-images.json ]]
	hoy tag busybox two
	[[ ! -e $ROOT/overlay-images/.tmp-images.json ]]
}

@test "a layer's link does not stay behind when its maker is killed" {
	have_base
	kill_at ' symlinkat ' create --network none busybox true
	kill_at ' openat link' create --network none busybox true
	kill_at ' mkdirat work' create --network none busybox true
	hoy rm -i nobody
	hoy create --network none busybox true
	run stray
	assert_stdout ''
}

@test "an image's files without record go: its import was killed" {
	have_base
	kill_at ' renameat images.json' import -q "$(fixture busybox)/rootfs.tar" new
	[[ $(stray) != '' ]]
	hoy import -q "$(fixture busybox)/rootfs.tar" other
	run stray
	assert_stdout ''
	[[ ! -e $ROOT/hoy/pending ]]
}

@test "an image's layers and files go: its rmi was killed" {
	for at in ' unlinkat .{64}$' ' renameat layers.json'; do
		have_base
		kill_at "$at" rmi busybox
		[[ $(hoy images -q) == '' ]]
		hoy import -q "$(fixture busybox)/rootfs.tar" other
		hoy rmi other
		run stray
		assert_stdout ''
		[[ $(<"$ROOT/overlay-layers/layers.json") == '[]' ]]
	done
}

@test "a container whose start was killed before the runtime noted it has no cgroup after rm" {
	have_base
	hoy create --name c --network none --cgroup-parent "/${T##*/}" busybox true
	kill_at 'hoy-runtime.* clone' start c
	[[ $(find /sys/fs/cgroup -path "*/${T##*/}/libpod-*" -type d) != '' ]]
	hoy rm -f c
	[[ $(find /sys/fs/cgroup -path "*/${T##*/}/libpod-*" -type d) == '' ]]
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "a disk that fails to note a directory's time makes no image" {
	fail_at eio ' utimensat www' load -q -i "$(fixture busybox)/docker.tar"
	assert_error "cannot set the time of 'var/www': Input/output error"
	[[ $(hoy images -q) == '' ]]
}

@test "a layer that cannot be undone on a full disk is undone later" {
	have_base
	fail_at -s enospc ' renameat containers.json' create --network none busybox true
	assert_error 'No space left on device'
	[[ $(jq '.[1].flags.incomplete' "$ROOT/overlay-layers/layers.json") == true ]]
	hoy rm -i nobody
	[[ $(jq length "$ROOT/overlay-layers/layers.json") == 1 ]]
	run stray
	assert_stdout ''
}

@test "a runtime killed while it makes or deletes a cgroup leaves none" {
	have_base
	killed() {
		run "$HOY_BUILD/tests/faults/inject" -f kill-one -n 1 -m "$1" "$HOY_BIN/hoy" "${HOY_OPTS[@]}" "${@:2}"
		[[ $(find /sys/fs/cgroup -path "*/${T##*/}/libpod-*" -type d) == '' && $(ls "$RUNROOT/hoy/runtime") == '' ]]
	}
	# the parent is made first: without its CPUs nothing could enter what is below it
	for at in 'hoy-runtime.* mkdir ' 'hoy-runtime.* write .*cpuset' 'hoy-runtime.* clone'; do
		[[ $at != *cpuset || -d /sys/fs/cgroup/cpuset ]] || continue
		killed "$at" run --network none --cgroup-parent "/${T##*/}" busybox true
		[[ $status != 0 ]]
		hoy run --rm --network none --cgroup-parent "/${T##*/}" busybox true
		find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
	done
	hoy run -d --name c --network none --cgroup-parent "/${T##*/}" busybox sleep 1000
	killed 'hoy-runtime.* unlinkat .*cgroup' stop -t 0 c
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "the exit code of run --rm is not lost when the monitor's cleanup is faster" {
	have_base
	: >"$STORE/.used-hoy"
	"$HOY_BIN/hoy" "${HOY_OPTS[@]}" run --rm --name r --network none busybox sh -c 'sleep 1; exit 7' 3>&- &
	pid=$!
	until_true 5 bash -c 'grep -q started "$1"/hoy/*/live' _ "$RUNROOT"
	kill -STOP "$pid"
	until_true 10 bash -c '[[ ! $(ls "$1/hoy/containers") ]]' _ "$ROOT"
	kill -CONT "$pid"
	code=0
	wait "$pid" || code=$?
	[[ $code == 7 ]]
}

@test "a power cut takes no tag that was reported done, and leaves no file of zeros after a run --rm" {
	run "$HOY_TESTS/faults/run" tag:cut run-d:cut:2 run-d:cut:4
	assert_success
	[[ $output == *' points, 0 with findings' ]]
}

@test "a power cut beside a --rm container leaves no empty link file" {
	run "$HOY_TESTS/faults/run" stop:cut:1 run-d-rm:cut:1
	assert_success
}

@test "a runtime killed while it keeps a filter leaves no file" {
	have_base
	for at in ' openat \.$' ' write .*\.seccomp' ' linkat '; do
		hoy create --name c --network none --cgroup-parent "/${T##*/}" busybox true
		kill_at "hoy-runtime.*$at" start c
		[[ $(find "$RUNROOT/hoy/runtime/.seccomp" -name '.*' ! -name .seccomp) == '' ]]
		hoy rm -f c
		rm -rf "$RUNROOT/hoy/runtime/.seccomp"
	done
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "a --rm container whose command, monitor and process were killed goes with the next rm, prune or run of its name" {
	have_base
	for next in 'rm -i nobody' 'container prune -f' 'container cleanup --all' 'run --name r --rm --network none busybox true'; do
		kill_at 'hoy-run\[.*unlinkat exec.fifo' run --rm --name r --network none --cgroup-parent "/${T##*/}" busybox true
		[[ $(hoy ps -aq | wc -l) == 1 ]]
		# shellcheck disable=SC2086
		hoy $next
		[[ $(hoy ps -aq) == '' && $(ls "$ROOT/hoy/containers" "$RUNROOT/hoy" | grep -E '.{64}') == '' ]]
		[[ $(find /sys/fs/cgroup -path "*/${T##*/}/libpod-*" -type d) == '' ]]
	done
	run stray
	assert_stdout ''
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "a --rm container that was only created, or that runs, is nobody else's to remove" {
	have_base
	hoy create --rm --name made --network none busybox true
	hoy run -d --rm --name runs --network none --cgroup-parent "/${T##*/}" busybox sleep 1000
	hoy rm -i nobody
	[[ $(hoy ps -a --format '{{.Names}} {{.State}}' | sort) == $'made created\nruns running' ]]
	hoy rm -f -t 0 runs
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "killed while it sets a bridge up, a run leaves no address, namespace, interface or rule after the next rm" {
	have_base
	left() {
		find /run/containers/networks/hoy -lname "$RUNROOT/*"
		awk -v t="$RUNROOT/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo
		ip -o link | grep -E 'veth'
		nft list ruleset | grep 18080
		# what is younger may be another test's that is just being written
		find /run/containers/networks/firewall/ports -name '.tmp*' -not -newermt '-2 seconds'
	}
	for at in ' symlinkat 10.88' 'hoy-run.* mount .*netns' 'hoy-run.* (execve|clone3|vfork) ?$' 'hoy-net.* renameat hoy' 'hoy-net.* exit_group' \
		'hoy-run.* openat .*config.json'; do
		hoy create --name b --cgroup-parent "/${T##*/}" -p 127.0.0.1:18080:80 busybox true
		kill_at "$at" start b
		hoy rm -f -t 0 b
		# the kernel takes a dead namespace's end of a veth away in its own time
		none_left() { [[ -z $(left) ]]; }
		until_true 10 none_left || true
		run left
		assert_stdout ''
	done
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "the part of a blob whose layer is there goes with the next pull" {
	have_base
	registry_start r
	hoy push -q --tls-verify=false busybox "$REGISTRY/b:1"
	hoy rmi -a -f
	kill_at ' renameat images.json' pull -q --tls-verify=false "$REGISTRY/b:1"
	[[ $(ls "$ROOT/hoy/blobs") == *.part ]]
	hoy pull -q --tls-verify=false "$REGISTRY/b:1"
	[[ $(ls "$ROOT/hoy/blobs") == '' ]]
}

@test "volatile records that a power cut made zeros, and zeros in a link file, cost nothing else" {
	have_base
	hoy create --name c --network none busybox true
	head -c 300 /dev/zero >"$ROOT/overlay-layers/volatile-layers.json"
	head -c 300 /dev/zero >"$ROOT/overlay-containers/volatile-containers.json"
	try hoy ps -a --format '{{.Names}}'
	assert_success
	assert_stdout c
	hoy create --name d --network none busybox true
	oracle_podman images
	jq '.[1].flags.incomplete = true' "$ROOT/overlay-layers/layers.json" >"$T/j"
	cat "$T/j" >"$ROOT/overlay-layers/layers.json"
	head -c 26 /dev/zero >"$ROOT/overlay/$(jq -r '.[1].id' "$T/j")/link"
	hoy create --name e --network none busybox true
	[[ $(ls "$ROOT/overlay/l" | wc -l) == 4 && $(ls "$ROOT/overlay" | grep -cE '^.{64}$') == 3 ]]
}

@test "what an interrupted load left unfinished is no layer for the next one" {
	kill_at ' unlinkat .*/diff' load -q -i "$(fixture busybox)/docker.tar"
	[[ $(jq '.[0].flags.incomplete' "$ROOT/overlay-layers/layers.json") == true ]]
	try hoy load -q -i "$(fixture busybox)/docker.tar"
	assert_success
}

@test "a teardown whose network tool is killed leaves no rule" {
	have_base
	hoy run -d --name b -p 127.0.0.1:18080:80 --cgroup-parent "/${T##*/}" busybox sleep 1000
	: >"$STORE/.used-hoy"
	"$HOY_BUILD/tests/faults/inject" -f kill-one -n 1 -m 'hoy-run.* execve .*hoy-net' "$HOY_BIN/hoy" "${HOY_OPTS[@]}" rm -f -t 0 b
	[[ $(nft list ruleset) != *18080* && $(ls "$ROOT/hoy/containers") == '' ]]
	find /sys/fs/cgroup -depth -name "${T##*/}" -type d -exec rmdir {} +
}

@test "an rmi killed between two layers: those below go too" {
	mkdir -p a b c
	seq 10 >a/1; seq 20 >b/2; seq 30 >c/3
	for d in a b c; do tar -cf "$d.tar" "$d"; done
	"$HOY_TESTS/fixtures/mkimage.py" docker-archive --out three.tar --ref localhost/three:1 a.tar b.tar c.tar
	: >"$STORE/.used-hoy"
	for n in 1 2 3 4 5 6; do
		hoy load -q -i three.tar
		run "$HOY_BUILD/tests/faults/inject" -f kill-all -n "$n" -m ' renameat layers.json' "$HOY_BIN/hoy" "${HOY_OPTS[@]}" rmi three:1
		assert_status 137
		hoy import -q a.tar other
		hoy rmi other
		run stray
		assert_stdout ''
		[[ $(<"$ROOT/overlay-layers/layers.json") == '[]' && ! -e $ROOT/hoy/pending ]]
	done
}

@test "who is killed while he makes a store leaves nothing that the next one doesn't take over" {
	kill_at ' write .*has-mount-program' load -q -i "$(fixture busybox)/docker.tar"
	have_base
	run stray
	assert_stdout ''
}

@test "an image's directory that could not be removed is removed by the next writer" {
	have_base
	fail_at eio ' unlinkat .{64}$' rmi busybox
	hoy import -q "$(fixture busybox)/rootfs.tar" other
	run stray
	assert_stdout ''
}
