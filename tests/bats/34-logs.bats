#!/usr/bin/env bats
# Log drivers and their options beside podman's, and the journal read back.

load ../lib/hoy

both() {
	have_image busybox
	e() { hoy "$@"; }
	E="$HOY_BIN/hoy ${HOY_OPTS[*]}"
	eval "$1" >"$T/ours" 2>&1 || true
	hoy rm -f -t 0 -a >/dev/null
	e() { oracle_podman "$@"; }
	E="$HOY_TESTS/oracle run -- podman ${PODMAN_OPTS[*]} --tmpdir $RUNROOT/libpod"
	: >"$STORE/.used-podman"
	eval "$1" >"$T/theirs" 2>&1 || true
	oracle_podman rm -f -t 0 -a >/dev/null
	sed -i -E "s,$ROOT/[^\"]*/ctr.log,LOG," "$T/ours" "$T/theirs"
	diff -u "$T/theirs" "$T/ours"
}

@test "drivers and options: which are taken, and what inspect says" {
	both '
		for d in k8s-file json-file journald none passthrough passthrough-tty ""; do
			for o in "" tag=x "path=$T/log" max-size=10k max-size=1500 label=A=B max-size=x path; do
				e create --name c --network none --log-driver "$d" ${o:+--log-opt $o} busybox true >/dev/null 2>&1
				echo "$d $o $?"
				e inspect c 2>/dev/null | jq -c ".[0].HostConfig.LogConfig"
				e rm -f c >/dev/null 2>&1
			done
		done
		e create --log-driver nosuch busybox true >/dev/null 2>&1; echo $?
		e create --name c --network none --log-opt "path=$T/log" --log-opt max-size=2k --log-opt tag=x busybox true >/dev/null
		e inspect c | jq -c ".[0].HostConfig.LogConfig"
		e rm c'
	[[ $(grep -c LOG "$T/ours") -gt 10 ]]
	try hoy create --log-opt nonsense=x busybox true
	assert_error 'invalid log option "nonsense=x"'
}

@test "passthrough, passthrough-tty, none: streams, exit statuses, what logs says" {
	both '
		echo in | e run -i --rm --network none --log-driver passthrough busybox sh -c "cat; echo err >&2; exit 3"; echo $?
		e run --name c --network none --log-driver passthrough busybox echo hi | cat
		e logs c; echo $?
		e rm c
		e run --name c --network none --log-driver none busybox echo hi | cat
		e logs c; echo $?
		e rm c
		"$HOY_TESTS/fixtures/typist" 24 80 -- $E run --rm --network none --log-driver passthrough busybox echo hi
		"$HOY_TESTS/fixtures/typist" 24 80 -- $E run --rm --network none --log-driver passthrough-tty busybox sh -c "test -t 0 && test -t 1 && echo hi"
		"$HOY_TESTS/fixtures/typist" 24 80 "1:a\n" -- $E run --rm -i --network none --log-driver passthrough-tty busybox sh -c "read x; echo got \$x"'
	grep -q 'got a' "$T/ours"
	grep -q 'cannot be used on a TTY' "$T/ours"
	# signals reach it
	background "$HOY_BIN/hoy" "${HOY_OPTS[@]}" run --name s --network none --log-driver passthrough busybox sh -c 'trap "exit 9" TERM; while :; do sleep 0.1; done' </dev/null >/dev/null 2>&1
	pid=$!
	until_true 5 hoy exec s true
	sleep 0.3
	kill -TERM "$pid"
	wait "$pid" || [[ $? == 9 ]]
}

@test "a log's largest size and path" {
	have_image busybox
	hoy run --name c --network none --log-opt "path=$T/log" --log-opt max-size=2k busybox sh -c 'for i in $(seq 1 1000); do echo line $i; done' >/dev/null
	[[ $(stat -c %s "$T/log") -le 2000 ]]
	[[ $(hoy logs c | tail -1) == 'line 1000' ]]
}

# In a mount namespace with a journal of its own, kept by the real systemd-journald.
with_journal() {
	cat >"$T/script" <<-END
	mkdir -p /run/systemd /run/log
	mount -t tmpfs tmpfs /run/systemd
	mount -t tmpfs tmpfs /run/log
	mkdir -p /run/systemd/journal
	/lib/systemd/systemd-journald >/dev/null 2>&1 3>&- &
	journald=\$!
	for i in \$(seq 1 100); do [ ! -S /run/systemd/journal/socket ] || break; sleep 0.05; done
	hoy() { "$HOY_BIN/hoy" ${HOY_OPTS[*]} "\$@"; }
	$1
	kill \$journald
	END
	: >"$STORE/.used-hoy"
	unshare -m --propagation private bash -e "$T/script"
}

@test "journald: read back with tail, times, since, names, pieces, follow; binary" {
	have_image busybox
	[[ -s /etc/machine-id ]]
	with_journal '
		hoy run --name c --network none --log-driver journald busybox sh -c "for i in 1 2 3 4 5; do echo line \$i; done; echo err >&2; printf unfinished" >/dev/null 2>&1
		journalctl --sync
		hoy logs c >"$T/out" 2>"$T/err"
		hoy logs --tail 2 c >"$T/tail" 2>/dev/null
		hoy logs -t -n c >"$T/times" 2>/dev/null
		hoy logs --since 1h --until 30m c >"$T/none" 2>&1
		hoy run -d --name f --network none --log-driver journald busybox sh -c "for i in 1 2 3; do echo \$i; sleep 0.3; done" >/dev/null
		timeout 20 "$HOY_BIN/hoy" '"${HOY_OPTS[*]}"' logs -f f >"$T/follow"
		hoy run --name b --network none --log-driver journald busybox sh -c "printf \"a\\\\377b\\\\nlong\\\\n\"; head -c 20000 /dev/zero | tr \"\\\\0\" x; echo" >"$T/want"
		journalctl --sync
		hoy logs b >"$T/bytes"
		hoy run -d --name t --network none --log-driver journald --log-opt "tag={{.Name}}/{{.ImageName}}" --log-opt label=COLOR=red busybox echo tagged >/dev/null
		hoy wait t >/dev/null
		journalctl --sync
		journalctl -q -o json COLOR=red >"$T/tagged"
		hoy --conmon /usr/bin/conmon run --name r --network none --log-driver journald busybox echo by the real one >/dev/null
		journalctl --sync
		hoy logs r >"$T/real"
		hoy rm -f -a >/dev/null'
	[[ $(cat "$T/out") == $'line 1\nline 2\nline 3\nline 4\nline 5\nunfinished' ]]
	[[ $(cat "$T/err") == err ]]
	[[ $(tail -1 "$T/tail") == *unfinished ]]
	[[ $(head -1 "$T/times") =~ ^c\ 20[0-9-]+T[0-9:.+Z-]+\ line\ 1$ ]]
	[[ ! -s $T/none ]]
	[[ $(xargs <"$T/follow") == '1 2 3' ]]
	cmp "$T/bytes" "$T/want"
	[[ $(jq -r .CONTAINER_TAG "$T/tagged") == t/localhost/busybox:latest ]]
	[[ $(cat "$T/real") == 'by the real one' ]]
	try env PATH=/nonexistent "$HOY_BIN/hoy" "${HOY_OPTS[@]}" run --name x --network none --log-driver journald busybox true
	try env PATH=/nonexistent "$HOY_BIN/hoy" "${HOY_OPTS[@]}" logs x
	assert_error 'cannot run journalctl'
}
