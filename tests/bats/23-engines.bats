#!/usr/bin/env bats
# hoy-runtime under the engines of others: podman, containerd and docker.

load ../lib/hoy

RT=${HOY_BUILD:?}/hoy-runtime

p() { oracle_podman --runtime "$RT" "$@"; }

@test "engines: podman with hoy-runtime: run, exec, pause, stats, kill, pods" {
	have_image busybox
	try p run --rm --network none busybox sh -c 'echo out; echo err >&2; exit 7'
	assert_status 7
	assert_stdout out
	assert_stderr err
	try p run --rm --network none busybox nosuch
	assert_status 127
	try p run --rm --network none busybox /etc
	assert_status 126
	p run -d --name c --network none -e A=b --cap-add SYS_TIME --user 1000:5 -v "$T:/t:ro" --tmpfs /x busybox sleep 1000 >/dev/null
	[[ $(p inspect -f '{{.OCIRuntime}} {{.State.Status}}' c) == "$RT running" ]]
	try p exec c sh -c 'echo $A; id -u; id -g; grep -c " /t " /proc/mounts; touch /t/f'
	assert_status 1
	assert_stdout 'b
1000
5
1'
	try p exec --user 0 -w /tmp -e X=y c sh -c 'pwd; echo $X'
	assert_stdout '/tmp
y'
	try p exec c nosuch
	assert_status 127
	p pause c >/dev/null
	[[ $(p inspect -f '{{.State.Status}}' c) == paused ]]
	p unpause c >/dev/null
	[[ $(p stats --no-stream --format '{{.Name}} {{.PIDs}}' c) == 'c '* ]]
	try p top c args
	assert_stdout_like 'sleep 1000 ?$'
	p kill -s USR1 c >/dev/null
	[[ $(p inspect -f '{{.State.Status}}' c) == running ]]
	p kill c >/dev/null
	[[ $(p wait c) == 137 ]]
	p start c >/dev/null
	[[ $(p inspect -f '{{.State.Status}}' c) == running ]]
	p rm -f -t 0 c >/dev/null
	p pod create --name pod --network none >/dev/null
	p run -d --pod pod --name a busybox sleep 1000 >/dev/null
	[[ $(p run --rm --pod pod busybox sh -c 'readlink /proc/self/ns/ipc') == "$(p exec a readlink /proc/self/ns/ipc)" ]]
	p pod rm -f -t 0 pod >/dev/null
	# One that was made with crun is stopped by its own runtime, and the other way round.
	oracle_podman run -d --name byc --network none busybox sleep 1000 >/dev/null
	p rm -f -t 0 byc >/dev/null
	try p run --rm --network none -t busybox sh -c 'tty; stty size >/dev/null && echo yes' </dev/null
	assert_stdout_like '/dev/(pts/0|console).*yes'
	[[ $(p run --rm --network none --uidmap 0:100000:65536 --gidmap 0:100000:65536 busybox cat /proc/self/uid_map | awk '{ print ($2 > 0) }') == 1 ]]
	[[ $(p run --rm --network none --read-only --security-opt seccomp=unconfined busybox sh -c 'touch /f 2>&1; grep Seccomp: /proc/self/status') == *Read-only*'Seccomp:	0' ]]
}

@test "engines: podman checkpoints and restores, to an archive and back, with hoy-runtime" {
	local criu before
	criu=$(fixture criu)
	"$criu/criu" check >/dev/null 2>&1 || skip 'CRIU cannot work on this kernel'
	# The machine may have hierarchies of cgroup v1 of which the oracle sees nothing: CRIU would save their roots.
	cat >"$T/crun" <<-END
		#!/bin/bash
		for word; do
			words+=("\$word")
			[[ \$word != checkpoint && \$word != restore ]] || words+=(--manage-cgroups-mode ignore)
		done
		exec "$RT" "\${words[@]}"
	END
	chmod 755 "$T/crun"
	p() { oracle env PATH="$criu:/usr/sbin:/usr/bin:/sbin:/bin" podman "${PODMAN_OPTS[@]}" --tmpdir "$RUNROOT/libpod" --runtime "$T/crun" "$@"; }
	have_image busybox
	mkdir vol
	p run -d --name c --network none -v "$T/vol:/t" --tmpfs /x busybox sh -c 'echo kept >/x/f; i=0; while :; do i=$((i+1)); echo $i >/t/count; sleep 0.05; done' >/dev/null
	until_true 5 test -s vol/count
	p container checkpoint c >/dev/null
	[[ $(p inspect -f '{{.State.Status}} {{.State.Checkpointed}}' c) == 'exited true' ]]
	before=$(<vol/count)
	p container restore c >/dev/null
	until_true 5 eval "[[ \$(<vol/count) -gt $before ]]"
	[[ $(p inspect -f '{{.State.Status}}' c) == running && $(p exec c cat /x/f) == kept ]]
	p container checkpoint --leave-running --keep c >/dev/null
	[[ $(p inspect -f '{{.State.Status}}' c) == running ]]
	p container checkpoint -e "$T/c.tar.gz" c >/dev/null
	p rm c >/dev/null
	before=$(<vol/count)
	p container restore -i "$T/c.tar.gz" -n d >/dev/null
	until_true 5 eval "[[ \$(<vol/count) -gt $before ]]"
	(($(<vol/count) < before + 1000))
	p rm -f -t 0 d >/dev/null
}

# containerd_start: a containerd of the test's own; ct is its ctr.
containerd_start() {
	command -v containerd >/dev/null || skip 'no containerd'
	mkdir -p cd
	cat >cd/config.toml <<-END
		version = 2
		root = "$T/cd/root"
		state = "$T/cd/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.btrfs", "io.containerd.internal.v1.opt"]
		[grpc]
		address = "$T/cd/sock"
	END
	background containerd --config "$T/cd/config.toml" >cd/log 2>&1
	until_true 20 ctr --address "$T/cd/sock" version >/dev/null 2>&1
	ct() { ctr --address "$T/cd/sock" "$@"; }
}

@test "engines: containerd with hoy-runtime as its runc" {
	containerd_start
	ct image import "$(fixture busybox)/docker.tar" >/dev/null
	local image
	image=$(ct image ls -q)
	try ct run --rm --runc-binary "$RT" --snapshotter native "$image" c1 sh -c 'echo out; exit 3'
	assert_status 3
	assert_stdout out
	ct run -d --runc-binary "$RT" --snapshotter native --env A=b "$image" c2 sleep 1000
	[[ $(ct task ls | awk '$1 == "c2" { print $3 }') == RUNNING ]]
	try ct task exec --exec-id e1 c2 sh -c 'echo $A; exit 4'
	assert_status 4
	assert_stdout b
	ct task pause c2
	[[ $(ct task ls | awk '$1 == "c2" { print $3 }') == PAUSED ]]
	ct task resume c2
	[[ $(ct task ps c2 | wc -l) == 2 ]]
	ct task kill -s KILL c2
	until_true 10 sh -c "ctr --address '$T/cd/sock' task ls | grep -q STOPPED"
	ct task rm c2 >/dev/null 2>&1 || true
	ct container rm c2
	try ct task ls -q
	assert_stdout ''
	[[ -z $(pgrep -f "^[^ ]*hoy-runtime.*$T") ]]
}

@test "engines: docker with hoy-runtime" {
	command -v dockerd >/dev/null || skip 'no dockerd'
	containerd_start
	background dockerd --add-runtime "hoy=$RT" --containerd "$T/cd/sock" --data-root "$T/dr" --exec-root "$T/de" -H "unix://$T/d.sock" --pidfile "$T/d.pid" \
		--iptables=false --ip6tables=false --bridge=none --storage-driver vfs >d.log 2>&1
	d() { DOCKER_CONFIG=$T docker -H "unix://$T/d.sock" "$@"; }
	until_true 30 d version >/dev/null 2>&1
	d load -q -i "$(fixture busybox)/docker.tar" >/dev/null
	try d run --runtime hoy --rm --network none localhost/busybox sh -c 'echo out; exit 3'
	assert_status 3
	assert_stdout out
	d run --runtime hoy -d --name cc --network none --memory 64m --pids-limit 20 localhost/busybox sleep 1000 >/dev/null
	[[ $(d inspect -f '{{.HostConfig.Runtime}} {{.State.Status}}' cc) == 'hoy running' ]]
	try d exec -e A=b cc sh -c 'echo $A; exit 4'
	assert_status 4
	assert_stdout b
	d pause cc >/dev/null
	[[ $(d inspect -f '{{.State.Status}}' cc) == paused ]]
	d unpause cc >/dev/null
	[[ $(d top cc -o pid,args | tail -n 1) == *'sleep 1000' ]]
	d update --memory 32m --memory-swap 64m cc >/dev/null
	[[ $(d exec cc cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || d exec cc cat /sys/fs/cgroup/memory.max) == 33554432 ]]
	d kill cc >/dev/null
	[[ $(d wait cc) == 137 ]]
	d rm cc >/dev/null
	[[ -z $(d ps -aq) ]]
}
