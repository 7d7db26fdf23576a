#!/usr/bin/env bats
# Exec sessions, beside podman's: what they show, how they end, and what is left of them.

load ../lib/hoy

# both SCRIPT: run it with `e` as the engine, and $E as a command line for it; what it prints must be the same.
both() {
	have_image busybox
	e() { hoy "$@"; }
	E="$HOY_BIN/hoy ${HOY_OPTS[*]}"
	hoy run -d --name c --network none busybox sleep 1000 >/dev/null
	eval "$1" >"$T/ours" 2>&1 || true
	hoy rm -f -t 0 -a >/dev/null
	e() { oracle_podman "$@"; }
	E="$HOY_TESTS/oracle run -- podman ${PODMAN_OPTS[*]} --tmpdir $RUNROOT/libpod"
	: >"$STORE/.used-podman"
	: >"$RUNROOT/libpod/events/events.log"
	oracle_podman run -d --name c --network none busybox sleep 1000 >/dev/null
	eval "$1" >"$T/theirs" 2>&1 || true
	oracle_podman rm -f -t 0 -a >/dev/null
	# who speaks, and what only crun says
	sed -i -E 's/(hoy-runtime|crun): //; s/[0-9a-f]{64}/ID/g' "$T/ours" "$T/theirs"
	diff -u "$T/theirs" "$T/ours"
}

type() { "$HOY_TESTS/fixtures/typist" "$@"; }
events='jq -c "select(.Status | startswith(\"exec\")) | [.Status, .ContainerExitCode]" "$RUNROOT/libpod/events/events.log" | uniq' # podman says it twice, now and then

@test "exit statuses, in the foreground and in the background" {
	both '
		for how in "" -d -t; do
			for what in "-w /nonexistent c true" "-u nosuch c true" "c nosuch" "c /etc" "c /etc/passwd" "--detach-keys foo c true" "--preserve-fds 2 c true" \
				"--preserve-fd 7 --preserve-fds 1 c true" "--cidfile /nonexistent true" "c" "" "nosuch true"; do
				out=$(e exec $how $what 2>&1 </dev/null); echo "$how $what: $?"
				# some words are the runtime'"'"'s
				case $what in *"-u nosuch"* | *--preserve* | "c" | "nosuch true" | "") echo "$out";; esac
			done
		done
		e exec c sh -c "exit 7"; echo $?
		e exec c sh -c "kill -9 \$\$"; echo $?
		e exec -t c sh -c "exit 7"; echo $?
		e exec -t c sh -c "kill -9 \$\$"; echo $?
		e pause c
		e exec c true; echo $?
		e exec -d c true; echo $?
		e unpause c
		e stop -t 0 c
		e exec c true; echo $?
		e exec -d c true; echo $?'
	[[ $(wc -l <"$T/ours") -gt 45 ]]
}

@test "a terminal: its size from the start and when it changes, input, exit status" {
	both '
		type 33 77 see=77 0.5:size=20x30 "0.5:x\n" -- $E exec -it c sh -c "stty size; read a; stty size; echo got \$a; exit 4"
		type 33 77 -- $E exec -t c tty
		e exec -t c tty </dev/null
		e exec -it c sh -c "tty; echo err >&2" </dev/null
		type 24 80 see=read "0.2:\x03" -- $E exec -it c sh -c "trap \"exit 5\" INT; echo read; read a; sleep 5"'
	grep -q 'got x' "$T/ours"
	grep -q 'status 5' "$T/ours"
}

@test "detach keys leave the session running; others, and none" {
	both '
		type 24 80 see=up 0.3:a 0.2:b -- $E exec -it --detach-keys a,b c sh -c "echo up; sleep 1000; cat"
		e inspect -f "{{len .ExecIDs}}" c
		type 24 80 see=up "0.3:\x10" "0.2:\x11" -- $E exec -it c sh -c "echo up; sleep 999; cat"
		e inspect -f "{{len .ExecIDs}}" c
		e exec c ps | grep -c "[s]leep 9*1*0*$"
		type 24 80 see=up "0.3:\x10" "0.2:x\n" -- $E exec -it c sh -c "stty -echo; echo up; read a; echo \$a | od -c"
		'"$events"
	[[ $(grep -c 'status 0' "$T/ours") == 3 ]]
}

@test "sessions: ids, how long they are there, events, none with --no-session" {
	both '
		e exec -d c sh -c "exit 3"
		until_true 5 eval "$events | grep -q died"
		e inspect -f "{{len .ExecIDs}}" c
		e exec c true
		e inspect -f "{{len .ExecIDs}}" c
		e exec --no-session c sh -c "exit 2"; echo $?
		e exec -i c cat <<<in
		e exec c sh -c "echo out; echo err >&2; exit 9" 2>&1
		'"$events"
	grep -q '\["exec_died",9\]' "$T/ours"
	[[ $(hoy run -d --name d --network none busybox sleep 100) ]]
	id=$(hoy exec -d d sleep 100)
	[[ $id =~ ^[0-9a-f]{64}$ && $(hoy inspect -f '{{index .ExecIDs 0}}' d) == "$id" ]]
	background "$HOY_BIN/hoy" "${HOY_OPTS[@]}" exec d sleep 50
	until_true 5 bash -c "[[ \$('$HOY_BIN/hoy' ${HOY_OPTS[*]@Q} inspect -f '{{len .ExecIDs}}' d) == 2 ]]"
	kill -KILL $!
	until_true 5 bash -c "[[ \$('$HOY_BIN/hoy' ${HOY_OPTS[*]@Q} inspect -f '{{len .ExecIDs}}' d) == 1 ]]"
}

@test "file descriptors that are passed on" {
	echo five >"$T/five"
	echo three >"$T/three"
	both '
		e exec --preserve-fds 1 c sh -c "cat <&3" 3<"$T/three"
		e exec --preserve-fd 5 c sh -c "cat <&5" 5<"$T/five"
		e exec --preserve-fd 5,4 c sh -c "cat <&5; cat <&4" 4<"$T/three" 5<"$T/five"
		e exec --preserve-fd 5 c sh -c "[ -e /proc/self/fd/4 ] || echo no 4" 4<"$T/three" 5<"$T/five"
		e exec -t --preserve-fds 1 c sh -c "cat <&3" 3<"$T/three"
		e inspect -f "{{.Id}}" c >"$T/cid"
		e exec --cidfile "$T/cid" echo by file
		e exec -l echo latest'
	grep -q '^no 4$' "$T/ours"
	hoy run -d --name d --network none -v "$T:/t" busybox sleep 100
	hoy exec -d --preserve-fds 1 d sh -c 'cat <&3 >/t/copy' 3<"$T/three"
	until_true 5 cmp "$T/copy" "$T/three"
}

@test "much output and input are whole; who does not read does not stall the container" {
	have_image busybox
	hoy run -d --name c --network none busybox sh -c 'while :; do date; sleep 0.05; done'
	head -c 3000000 /dev/urandom >"$T/data"
	[[ $(hoy exec -i c sh -c 'cat' <"$T/data" | md5sum) == "$(md5sum <"$T/data")" ]]
	# over a pty in raw mode, by the monitor
	type 24 80 -- "$HOY_BIN/hoy" "${HOY_OPTS[@]}" exec -t c sh -c 'stty raw; seq 1 300000' >"$T/shown"
	cmp "$T/shown" <(seq 1 300000; echo status 0)
	background "$HOY_BIN/hoy" "${HOY_OPTS[@]}" exec -t c yes >/dev/null
	pid=$!
	until_true 5 hoy exec c pidof yes
	kill -STOP "$pid"
	sleep 0.3
	n=$(hoy logs c | wc -l)
	sleep 0.5
	[[ $(hoy logs c | wc -l) -gt $((n + 3)) ]]
	hoy exec -t c sh -c 'exit 6' || [[ $? == 6 ]]
	# nor does one that is killed: its session goes on, and its end is noted
	kill -KILL "$pid"
	hoy exec c killall yes
	until_true 5 bash -c "ls '$RUNROOT/hoy'/*/exec/*.exit && [[ \$(cat '$RUNROOT/hoy'/*/exec/*.exit) == 143 ]]"
	until_true 5 grep -q '"ContainerExitCode":143.*exec_died' "$RUNROOT/libpod/events/events.log"
}

@test "the container's end is the end of its sessions; the monitor keeps their codes" {
	have_image busybox
	hoy run -d --name c --network none --pid host busybox sleep 1000
	mon=$(hoy inspect -f '{{.State.ConmonPid}}' c)
	hoy exec -d c sleep 987
	(hoy exec -t c sleep 986 </dev/null || echo "$?" >"$T/status") &
	until_true 5 pgrep -f 'sleep 986'
	hoy stop -t 0 c
	until_true 5 test -s "$T/status"
	[[ $(cat "$T/status") == 137 ]]
	not pgrep -f 'sleep 98[67]'
	wait
	until_true 5 test ! -e "/proc/$mon"
	hoy start c
	[[ $(hoy inspect -f '{{len .ExecIDs}}' c) == 0 ]]
	id=$(hoy exec -d c sh -c 'sleep 0.2; exit 42')
	until_true 5 test -e "$RUNROOT/hoy/$(hoy inspect -f '{{.Id}}' c)/exec/$id.exit"
	[[ $(cat "$RUNROOT"/hoy/*/exec/"$id.exit") == 42 ]]
}

@test "hostile words for a session change nothing" {
	have_image busybox
	hoy run -d --name c --network none busybox sleep 100
	mon=$(hoy inspect -f '{{.State.ConmonPid}}' c)
	n=$(ls "/proc/$mon/fd" | wc -l)
	python3 - "$RUNROOT/hoy/$(hoy inspect -f '{{.Id}}' c)/control" <<-'PY'
	import array, os, socket, sys
	os.chdir(os.path.dirname(sys.argv[1]))
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	sid = b"a" * 64
	def send(words, fds=()):
	    try:
	        s.sendmsg([b"\0".join(words) + b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else [])
	    except OSError:
	        pass
	for sid in b"../../../etc/x", b"", b"a" * 63, b"A" * 64, b"a" * 64:
	    for flags in b"a", b"zzz", b"":
	        for fds in b"", b"3", b"0", b"3,", b"-1", b"99999999999", b"3,3,3,3":
	            for n in b"1", b"0", b"-1", b"999999", b"x":
	                send([b"exec", sid, flags, fds, n, b"/bin/false"])
	                send([b"exec", sid, flags, fds, n])
	send([b"exec"]); send([b"exec", b""]); send([b"resize"]); send([b"resize", b"a" * 64, b"1", b"1"]); send([b"resize", b"x", b"-1", b"99999999"])
	send([b"exec"] + [b"x"] * 1000)
	send([b"exec", b"b" * 64, b"a", b"", b"2", b"/nonexistent", b"x"], [0])
	r, w = os.pipe()
	send([b"exec", b"c" * 64, b"", b",".join(b"%d" % n for n in range(3, 67)), b"2", b"/bin/true", b"x"], [r] * 64)
	PY
	hoy exec -t c true
	[[ $(ls "/proc/$mon/fd" | wc -l) == "$n" ]]
	[[ $(hoy inspect -f '{{len .ExecIDs}}' c) == 0 ]]
}

@test "a runtime that is gone is named" {
	have_image busybox
	cp "$HOY_BIN/hoy-runtime" "$T/runtime"
	hoy --runtime "$T/runtime" run -d --name c --network none busybox sleep 1000
	mv "$T/runtime" "$T/away"
	for how in '' -t -d; do
		# shellcheck disable=SC2086
		try hoy exec $how c true
		[[ $status != 0 && $stderr == *"$T/runtime"*'No such file or directory'* ]] || { echo "exec $how: $status $stderr"; false; }
	done
	[[ $(hoy inspect -f '{{len .ExecIDs}}' c) == 0 ]]
	mv "$T/away" "$T/runtime"
	hoy rm -f -t 0 c
}
