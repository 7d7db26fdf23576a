#!/usr/bin/env bats
# Containers by hoy, without a network of their own: what a podman user does all day.

load ../lib/hoy

run_none() { hoy run --network none "$@"; }

@test "run: streams, stdin and exit status pass through" {
	have_image busybox
	try run_none --rm busybox sh -c 'echo out; echo err >&2; exit 7'
	assert_status 7
	assert_stdout out
	assert_stderr err
	try run_none --rm -i busybox cat <<<in
	assert_stdout in
	head -c 3000000 /dev/urandom >"$T/big"
	run_none --rm -i busybox cat <"$T/big" | cmp - "$T/big"
	[[ $(hoy ps -aq) == '' ]]
}

@test "run --rm leaves nothing: no record, layer, mount, cgroup or run directory" {
	have_image busybox
	before=$(find "$ROOT" "$RUNROOT" | grep -vE '/(tmp|tempdirs|runtime|\.cache|\.seccomp|libpod|volatile-|events).*' | sort)
	run_none --rm busybox true
	after=$(find "$ROOT" "$RUNROOT" | grep -vE '/(tmp|tempdirs|runtime|\.cache|\.seccomp|libpod|volatile-|events).*' | grep -vE '/hoy(/containers)?$' | sort)
	diff <(grep -vE '/hoy(/containers)?$' <<<"$before") - <<<"$after"
	[[ $(<"$RUNROOT/overlay-layers/mountpoints.json") == '[]' ]]
	[[ $(<"$ROOT/overlay-layers/volatile-layers.json") == '[]' ]]
	[[ $(<"$ROOT/overlay-containers/volatile-containers.json") == '[]' ]]
}

@test "exit codes: 125 ours, 126 not runnable, 127 not found" {
	have_image busybox
	try run_none --rm busybox nosuch
	assert_error 'not found' 127
	try run_none --rm busybox /etc
	assert_status 126
	try run_none --rm busybox /etc/passwd
	assert_status 126
	try run_none --rm --user nosuch busybox true
	assert_error 'unable to find user nosuch'
	try run_none --rm -w /nosuch busybox true
	assert_error 'workdir "/nosuch" does not exist'
	try run_none --rm --pull never nosuchimage true
	assert_error 'nosuchimage: image not known'
	try run_none --rm -m 1k busybox true
	assert_error 'minimum memory limit'
	try run_none --rm -v /nosuch:/x busybox true
	assert_error '/nosuch'
	[[ $(hoy ps -aq) == '' ]]
}

@test "a program that is for another machine, or is none: its stderr says so" {
	have_image busybox
	# An ELF header for arm64; text.
	printf '\177ELF\2\1\1\0\0\0\0\0\0\0\0\0\2\0\267\0%0200d' 0 >foreign
	echo text >text
	chmod 755 foreign text
	for p in foreign text; do
		try run_none --rm -v "$PWD/$p:/$p" busybox "/$p"
		assert_status 1
		assert_stderr "exec container process \`/$p\`: Exec format error"
	done
	hoy run -d --name c --network none -v "$PWD/text:/text" busybox sleep 100
	try hoy exec c /text
	assert_status 1
	assert_stderr_like 'Exec format error'
	hoy rm -f -t 0 c
}

@test "the process sees what podman's process sees" {
	have_image busybox
	show='id; pwd; hostname; env | sort; grep -E "^(Cap|NoNewPrivs|Seccomp:)" /proc/self/status; ulimit -n; umask; ls -1 /dev; cat /proc/1/comm;
		awk "{print \$5,\$6}" /proc/self/mountinfo | grep -vE "^/(sys/fs/cgroup|proc/(interrupts|latency_stats|sched_debug|scsi|timer_stats|asound))" | sort -u'
	for args in '' '-u 1000:1000' '-u daemon -w /tmp -e A=B --hostname h' '--read-only' '--cap-add NET_ADMIN --cap-drop CHOWN' \
		'--security-opt no-new-privileges' '--entrypoint /bin/sh' '--cap-drop all' '-u 1000 --cap-add net_raw'; do
		# shellcheck disable=SC2086
		if [[ $args == *entrypoint* ]]; then set -- busybox -c "$show"; else set -- busybox sh -c "$show"; fi
		# shellcheck disable=SC2086
		diff <(hoy_inside run --rm --network none --hostname h $args "$@" 2>&1) \
			<(oracle_podman run --rm --network none --hostname h $args "$@" 2>&1)
	done
}

@test "limits reach the cgroup" {
	have_image busybox
	[[ -d /sys/fs/cgroup/memory ]] || skip 'no cgroup v1 memory controller on this machine'
	try run_none --rm -m 64m --cpus 0.5 --pids-limit 50 --ulimit nofile=100:200 busybox sh -c \
		'cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max cpu/cpu.cfs_quota_us; ulimit -n; ulimit -Hn'
	assert_stdout "67108864
50
50000
100
200"
}

@test "seccomp: the default profile, another one, none" {
	have_image busybox
	try run_none --rm busybox unshare -m true
	assert_status 1
	try run_none --rm --cap-add SYS_ADMIN busybox unshare -m true
	assert_success
	echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]}' >"$T/p.json"
	try run_none --rm --security-opt seccomp="$T/p.json" busybox mkdir /x
	assert_status 1
	assert_stderr_has 'Operation not permitted'
	try run_none --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status
	assert_stdout $'Seccomp:\t0'
	try run_none --rm --security-opt seccomp="$T/nosuch" busybox true
	assert_error 'nosuch'
}

@test "create, start, ps, stop, restart, rm: states as podman names them" {
	have_image busybox
	id=$(hoy create --name c --network none busybox sleep 100)
	[[ ${#id} == 64 ]]
	[[ $(hoy ps -a --format '{{.Names}} {{.State}} {{.Status}}') == 'c created Created' ]]
	[[ $(hoy start c) == c ]]
	[[ $(hoy ps --format '{{.ID}} {{.State}} {{.Command}} {{.Image}}') == "${id:0:12} running sleep 100 localhost/busybox:latest" ]]
	[[ $(hoy inspect -f '{{.State.Status}} {{.State.Running}} {{.Name}}' "${id:0:6}") == 'running true c' ]]
	[[ $(hoy stop -t 0 c) == c ]]
	[[ $(hoy ps -a --format '{{.State}}') == exited ]]
	[[ $(hoy inspect -f '{{.State.ExitCode}}' c) == 137 ]]
	hoy restart c
	[[ $(hoy ps --format '{{.Names}}') == c ]]
	try hoy rm c
	assert_error 'cannot be removed without force' 2
	[[ $(hoy rm -f -t 0 c) == c ]]
	try hoy rm c
	assert_error 'no container with name or ID "c" found' 1
	try hoy rm -f c
	assert_success
}

@test "a taken name, a bad name, --replace" {
	have_image busybox
	run_none -d --name c busybox sleep 100
	try run_none --name c busybox true
	assert_error 'the container name "c" is already in use'
	try run_none --name 'a/b' busybox true
	assert_error 'names must match'
	run_none --replace --name c busybox true
	[[ $(hoy ps -a --format '{{.Names}} {{.Command}}') == 'c true' ]]
	# podman's containers count too
	oracle_podman create --name p busybox true
	try run_none --name p busybox true
	assert_error 'already in use'
	try hoy rm p
	assert_error 'was not made by hoy' 1
	[[ $(hoy ps -a --external --format '{{.Names}} {{.Status}}' | sort | tr '\n' ' ') == 'c Exited (0) '*' p Storage ' ]]
}

@test "exec: streams, status, user, directory, environment" {
	have_image busybox
	run_none -d --name c busybox sleep 100
	try hoy exec c sh -c 'echo out; echo err >&2; exit 4'
	assert_status 4
	assert_stdout out
	assert_stderr err
	[[ $(hoy exec -i c cat <<<in) == in ]]
	[[ $(hoy exec -u 5 -w /etc -e A=B c sh -c 'id -u; pwd; echo $A' | tr '\n' ' ') == '5 /etc B ' ]]
	printf '# none\n\nFILE=1\n  OURS\nPRE*\n' >"$T/env"
	for run in 'exec c' 'run --rm --network none busybox'; do # shellcheck disable=SC2086
		[[ $(OURS=x PRE_A=y hoy ${run%% *} --env-file "$T/env" -e 'LATE=2' ${run#* } sh -c 'echo $FILE $OURS $PRE_A $LATE') == '1 x y 2' ]]
	done
	try hoy exec c nosuch
	assert_error 'not found' 127
	try hoy exec c /etc
	assert_status 126
	try hoy exec nosuch true
	assert_error 'no container with name or ID "nosuch" found'
	hoy exec -d c touch /there
	until_true 5 hoy exec c test -e /there
	hoy stop -t 0 c
	try hoy exec c true
	assert_status 255
}

@test "logs: what was written, in order, with tail, times and follow" {
	have_image busybox
	run_none --name c busybox sh -c 'for i in 1 2 3 4 5; do echo line $i; done; echo err >&2; printf unfinished' >/dev/null 2>&1
	try hoy logs c
	assert_stdout $'line 1\nline 2\nline 3\nline 4\nline 5\nunfinished'
	assert_stderr err
	# as podman's: what has no line end yet is no line (the other one is on stderr)
	[[ $(hoy logs --tail 2 c 2>/dev/null) == $'line 5\nunfinished' ]]
	[[ $(hoy logs -t c 2>/dev/null | head -1) =~ ^20[0-9-]+T[0-9:.+-]+\ line\ 1$ ]]
	run_none -d --name f busybox sh -c 'for i in 1 2 3; do echo $i; sleep 0.2; done'
	[[ $(timeout 10 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" logs -f f | tr '\n' ' ') == '1 2 3 ' ]]
	# podman's words for a log driver without a log
	run_none --name n --log-driver none busybox echo x
	try hoy logs n
	assert_status 125
}

@test "a terminal: a pty inside, its size, detach keys" {
	have_image busybox
	try "$HOY_TESTS/fixtures/typist" 24 80 -- "$HOY_BIN/hoy" "${HOY_OPTS[@]}" run --rm -it --network none busybox sh -c 'tty; test -t 0 && echo is-a-tty'
	assert_success
	assert_stdout_has /dev/pts/0
	assert_stdout_has is-a-tty
}

@test "kill, wait, pause" {
	have_image busybox
	run_none -d --name c busybox sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done'
	sleep 0.3
	hoy pause c
	[[ $(hoy ps -a --format '{{.State}}') == paused ]]
	hoy unpause c
	hoy kill -s TERM c
	[[ $(hoy wait c) == 9 ]]
	try hoy kill c
	assert_error 'can only kill running containers'
	try hoy kill -s NOSUCH c
	assert_error 'invalid signal'
}

@test "stop sends the image's stop signal, waits and then kills" {
	have_image busybox
	run_none -d --name c --stop-signal USR1 busybox sh -c 'trap "exit 3" USR1; while :; do sleep 0.1; done'
	sleep 0.3
	hoy stop c
	[[ $(hoy inspect -f '{{.State.ExitCode}}' c) == 3 ]]
}

@test "volumes: bind, named, anonymous, read-only, tmpfs, filled from the image" {
	have_image busybox
	mkdir "$T/src"
	echo bind >"$T/src/f"
	[[ $(run_none --rm -v "$T/src:/x:ro" busybox cat /x/f) == bind ]]
	try run_none --rm -v "$T/src:/x:ro" busybox touch /x/g
	assert_status 1
	run_none --rm -v vol:/data busybox sh -c 'echo kept >/data/f'
	[[ $(run_none --rm -v vol:/data busybox cat /data/f) == kept ]]
	[[ $(run_none --rm -v web:/www busybox cat /www/index.html) == '<h1>hoy</h1>' ]]
	run_none --rm -v /anon busybox true
	[[ $(ls "$ROOT/hoy/volumes" | sort | tr '\n' ' ') == 'vol web ' ]]
	[[ $(run_none --rm --tmpfs /t:size=1m busybox stat -f -c %T /t) == tmpfs ]]
	[[ $(run_none --rm --mount type=bind,src="$T/src",dst=/y,ro busybox cat /y/f) == bind ]]
	try run_none --rm -v vol:/data:nonsense busybox true
	assert_error 'invalid mount option'
}

@test "restart policy: on-failure as often as told, always until stopped" {
	have_image busybox
	run_none -d --name c --restart on-failure:2 busybox sh -c 'echo run; exit 1'
	until_true 10 bash -c "[[ \$('$HOY_BIN/hoy' ${HOY_OPTS[*]@Q} logs c | wc -l) == 3 ]]"
	sleep 0.5
	[[ $(hoy logs c | wc -l) == 3 ]]
	[[ $(hoy inspect -f '{{.RestartCount}}' c) == 2 ]]
	run_none -d --name a --restart always busybox sleep 0.2
	until_true 10 bash -c "[[ \$('$HOY_BIN/hoy' ${HOY_OPTS[*]@Q} inspect -f '{{.RestartCount}}' a) -ge 2 ]]"
	hoy stop -t 0 a
	sleep 0.6
	[[ $(hoy inspect -f '{{.State.Status}}' a) == exited ]]
}

@test "inspect has podman's fields" {
	have_image busybox
	paths='[paths(type != "object" and type != "array")|map(tostring)|join(".")]|sort|.[]'
	hoy create --name h --network none -e A=B -v /tmp:/x:ro -p 8080:80 busybox sleep 100
	oracle_podman create --name p --network none -e A=B -v /tmp:/x:ro -p 8080:80 busybox sleep 100
	hoy inspect h | jq -r "$paths" | grep -vE '\.(Env|CreateCommand|EffectiveCaps|BoundingCaps|Ulimits|Args|Options)\.' >"$T/h"
	oracle_podman inspect p | jq -r "$paths" | grep -vE '\.(Env|CreateCommand|EffectiveCaps|BoundingCaps|Ulimits|Args|Options|Annotations)\.' >"$T/p"
	comm -23 "$T/h" "$T/p" >"$T/extra"
	[[ ! -s $T/extra ]] || { cat "$T/extra"; false; }
	for f in Id Created Path State.Status State.Pid Image ImageName Name Config.Cmd.0 Config.Labels HostConfig.NetworkMode HostConfig.Memory Mounts.0.Source; do
		grep -qx "0\.$f" "$T/h" || { echo "missing: $f"; false; }
	done
}

@test "podman's rm -f, rmi -f and prune --external on a running container leave nothing of it" {
	have_image busybox
	for what in 'rm -f c' 'rmi -f busybox' 'image prune -a -f --external'; do
		oracle_podman image exists busybox || have_image busybox
		run_none -d --name c busybox sleep 100
		pid=$(hoy inspect -f '{{.State.Pid}}' c)
		# shellcheck disable=SC2086
		oracle_podman $what || true
		if [[ $(hoy ps -aq) != '' ]]; then hoy rm -f -t 0 c; fi
		[[ ! -e /proc/$pid ]]
		[[ $(ls "$ROOT/hoy/containers") == '' ]]
		[[ $(find "$RUNROOT/hoy" -mindepth 1 -maxdepth 1 -name '????????????????????????????????????????????????????????????????') == '' ]]
	done
}

@test "a kill -9 of the monitor or of the process is noticed" {
	have_image busybox
	run_none -d --name c busybox sleep 100
	kill -9 "$(hoy inspect -f '{{.State.Pid}}' c)"
	until_true 5 bash -c "[[ \$('$HOY_BIN/hoy' ${HOY_OPTS[*]@Q} ps -q) == '' ]]"
	[[ $(hoy wait c) == 137 ]]
	run_none -d --name m busybox sleep 100
	kill -9 "$(hoy inspect -f '{{.State.ConmonPid}}' m)"
	hoy rm -f -t 0 m
	[[ $(hoy ps -aq) == "$(hoy ps -aq --filter name=c)" ]]
}

@test "crun and runc under hoy, conmon too" {
	have_image busybox
	[[ $(hoy_inside --runtime crun run --rm --network none busybox echo by-crun) == by-crun ]]
	[[ $(hoy --runtime runc run --rm --network none busybox echo by-runc) == by-runc ]]
	[[ $(hoy_inside --conmon /usr/bin/conmon run --rm --network none busybox echo by-conmon) == by-conmon ]]
	hoy_inside --conmon /usr/bin/conmon --runtime crun run -d --name c --network none busybox sleep 100
	try hoy_inside exec c sh -c 'exit 3'
	assert_status 3
	hoy_inside rm -f -t 0 c
}

@test "podman with hoy-runtime and hoy-conmon" {
	have_image busybox
	p() { oracle_podman --runtime "$HOY_BIN/hoy-runtime" --conmon "$HOY_BIN/hoy-conmon" "$@"; }
	try p run --rm --network none busybox sh -c 'echo out; echo err >&2; exit 5'
	assert_status 5
	assert_stdout out
	assert_stderr err
	[[ $(p run --rm -i --network none busybox cat <<<in) == in ]]
	p run -d --name c --network none busybox sh -c 'echo logged; sleep 100'
	try p exec c sh -c 'echo ex; exit 3'
	assert_status 3
	assert_stdout ex
	[[ $(p logs c) == logged ]]
	try p run --rm --network none busybox nosuch
	assert_status 127
	p stop -t 0 c
	[[ $(p inspect -f '{{.State.ExitCode}}' c) == 137 ]]
	p rm c
}

@test "sixteen at once: all run, nothing is left" {
	have_image busybox
	for i in {1..16}; do
		run_none --rm busybox echo "$i" &
	done >"$T/out"
	wait
	[[ $(sort -n "$T/out" | tr '\n' ' ') == "$(seq -s ' ' 16) " ]]
	[[ $(hoy ps -aq) == '' && $(<"$RUNROOT/overlay-layers/mountpoints.json") == '[]' ]]
}

@test "--dns none, --group-add keep-groups, --ipc host: as podman's, and what excludes what" {
	have_image busybox
	for args in '--network host --dns none busybox cat /etc/resolv.conf' '--network none busybox cat /etc/resolv.conf' '--network none --group-add keep-groups busybox id -G' \
		'--network none --ipc host busybox readlink /proc/self/ns/ipc' '--network none --group-add keep-groups --group-add 5 busybox id -G' \
		'--network none --dns 1.2.3.4 busybox true' '--network host --dns none --dns 1.2.3.4 busybox true' '--network host --dns none --dns-search x busybox true' \
		'--network none --user 5 --group-add 7 --group-add wheel busybox id -G'; do
		# shellcheck disable=SC2086
		try oracle_podman run --rm $args
		theirs="$status $output ${stderr//*Error:/Error:}"
		# shellcheck disable=SC2086
		try hoy run --rm $args
		[[ "$status $output ${stderr//*Error:/Error:}" == "$theirs" ]] || { echo "$args: $theirs"; echo "ours: $status $output $stderr"; return 1; }
	done
}
