#!/usr/bin/env bats
# Health checks: what is checked, what it means, and the monitor that does it from time to time.

load ../lib/hoy

# both ENGINE SCRIPT: run the script with `e` as the engine; what differs (times) is not printed by it.
both() {
	e() { hoy "$@"; }
	eval "$1" >"$T/ours" 2>&1 || true
	hoy rm -f -t 0 -a >/dev/null
	e() { oracle_podman "$@"; }
	eval "$1" >"$T/theirs" 2>&1 || true
	oracle_podman rm -f -t 0 -a >/dev/null
	diff -u "$T/theirs" "$T/ours"
}

health='e inspect -f "{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{len .State.Health.Log}}" c'

@test "healthcheck run: status, streak, exit status, output, as podman's" {
	have_image busybox
	both '
		e run -d --name c --network none --health-cmd "echo said; echo err >&2; test -e /x" --health-interval disable --health-retries 2 busybox sleep 100 >/dev/null
		'"$health"'
		for i in 1 2 3; do e healthcheck run c; echo "status $?"; '"$health"'; done
		e exec c touch /x
		e healthcheck run c; echo "status $?"
		'"$health"'
		for i in 1 2 3; do e healthcheck run c; done
		'"$health"'
		e inspect c | jq -c ".[0].State.Health.Log[] | [.ExitCode, .Output]"
		e ps --format "{{.Status}}" | sed "s/^[^(]*//"'
	grep -q '^ *unhealthy' "$T/ours"
}

@test "the definition: commands in all forms, durations, as podman's inspect shows them" {
	have_image busybox
	both '
		for cmd in "true a b" "[\"test\", \"-e\", \"/x\"]" "[\"true\"]" "CMD true x" "[\"CMD-SHELL\", \"true\"]"; do
			e create --name c --network none --health-cmd "$cmd" --health-timeout 3s --health-start-period 1m --health-interval 90s busybox true >/dev/null
			e inspect c | jq -cS ".[0].Config | {Healthcheck, HealthcheckOnFailureAction, HealthLogDestination, HealthcheckMaxLogCount, HealthcheckMaxLogSize}"
			e rm c >/dev/null
		done
		e create --name c --network none --health-cmd none busybox true >/dev/null
		e inspect c | jq -c ".[0].Config.Healthcheck"'
	grep -q CMD-SHELL "$T/ours"
}

@test "an image's health check, and without it" {
	have_image busybox
	oracle_buildah from --format docker --name b localhost/busybox >/dev/null
	oracle_buildah config --healthcheck 'CMD-SHELL test -e /etc' --healthcheck-interval 7s --healthcheck-retries 4 b
	oracle_buildah commit -q --format docker b localhost/checked >/dev/null
	oracle_buildah rm b >/dev/null
	both '
		e run -d --name c --network none checked sleep 100 >/dev/null
		e inspect c | jq -cS ".[0].Config.Healthcheck"
		e healthcheck run c; echo "status $?"
		e rm -f -t 0 c >/dev/null
		e run -d --name c --network none --no-healthcheck checked sleep 100 >/dev/null
		e inspect c | jq -cS ".[0].Config.Healthcheck, .[0].State.Health"
		e healthcheck run c 2>&1 | sed "s/[0-9a-f]\{64\}/ID/"'
	grep -q 'no defined healthcheck' "$T/ours"
}

@test "what is refused" {
	have_image busybox
	for args in '--health-cmd true --health-timeout 1ms' '--health-cmd true --health-retries 0' '--health-cmd true --health-interval x' \
		'--health-cmd true --health-on-failure explode' '--health-cmd true --no-healthcheck' '--health-cmd= ' '--health-cmd true --health-timeout -1s'; do
		# shellcheck disable=SC2086
		try hoy create --network none $args busybox true
		assert_error health
	done
	hoy run -d --name n --network none busybox sleep 100
	try hoy healthcheck run n
	assert_error 'has no defined healthcheck'
	hoy stop -t 0 n
	try hoy healthcheck run n
	assert_error 'is not running'
	[[ $(hoy ps -aq | wc -l) == 1 ]]
}

is_health() { [[ $(hoy inspect -f '{{.State.Health.Status}}' c) == "$1" ]]; }

@test "the monitor checks: starting, healthy, unhealthy, healthy again; events, ps and its filter" {
	have_image busybox
	hoy run -d --name c --network none --health-cmd 'test -e /x' --health-interval 200ms --health-retries 3 busybox sleep 100
	hoy run -d --name plain --network none busybox sleep 100
	until_true 5 is_health unhealthy
	[[ $(hoy ps --format '{{.Status}}' --filter name=c) == *'(unhealthy)' ]]
	[[ $(hoy ps --filter health=unhealthy --format '{{.Names}}') == c ]]
	hoy exec c touch /x
	until_true 5 is_health healthy
	hoy exec c rm /x
	until_true 5 is_health unhealthy
	[[ $(jq -r 'select(.Status == "health_status") | .health_status' "$RUNROOT/libpod/events/events.log" | uniq | tr '\n' ' ') == 'starting unhealthy healthy unhealthy ' ]]
	# started again, it begins anew
	hoy exec c touch /x
	hoy restart -t 0 c
	until_true 5 is_health healthy
}

@test "a check that hangs is killed in time and tells so; the start period forgives" {
	have_image busybox
	hoy run -d --name c --network none --health-cmd 'sleep 1000' --health-interval disable --health-timeout 1s --health-retries 1 busybox sleep 100
	begin=$SECONDS
	try hoy healthcheck run c
	assert_status 1
	[[ $((SECONDS - begin)) -lt 5 ]]
	[[ $(hoy inspect -f '{{(index .State.Health.Log 0).ExitCode}}' c) == -1 ]]
	hoy top c args | not grep 'sleep 1000'
	hoy rm -f -t 0 c
	hoy run -d --name c --network none --health-cmd false --health-interval disable --health-start-period 1h --health-retries 1 busybox sleep 100
	try hoy healthcheck run c
	is_health starting
}

@test "on failure: kill, stop, restart" {
	have_image busybox
	run_c() { hoy run -d --name c --network none --health-cmd 'test ! -e /bad' --health-interval 200ms --health-retries 1 --health-on-failure "$1" busybox sleep 100; }
	is_state() { [[ $(hoy inspect -f '{{.State.Status}} {{.State.ExitCode}}' c) == "$1" ]]; }
	run_c kill
	until_true 5 is_health healthy
	hoy exec c touch /bad
	until_true 5 is_state 'exited 137'
	hoy rm c
	run_c stop
	hoy exec c touch /bad
	until_true 15 is_state 'exited 137'
	hoy rm c
	hoy run -d --name c --network none --health-cmd 'test ! -e /run/bad' --tmpfs /run --stop-timeout 0 --health-interval 200ms --health-retries 1 --health-on-failure restart \
		busybox sleep 100
	until_true 5 is_health healthy
	pid=$(hoy inspect -f '{{.State.Pid}}' c)
	hoy exec c touch /run/bad
	other_pid() { [[ $(hoy inspect -f '{{.State.Pid}}' c) != "$pid" ]] && is_state 'running 0'; }
	until_true 10 is_health healthy
	until_true 10 test ! -e "/proc/$pid"
	until_true 10 is_health healthy
	[[ $(hoy inspect -f '{{.State.Running}}' c) == true ]]
}

@test "hostile words to the control socket change nothing" {
	have_image busybox
	hoy run -d --name c --network none --health-cmd true --health-interval 300ms busybox sleep 100
	until_true 5 is_health healthy
	sock=$RUNROOT/hoy/$(hoy inspect -f '{{.Id}}' c)/control
	[[ $(stat -c %a "$sock") == 600 ]]
	python3 - "$sock" <<-'PY'
	import os, socket, sys
	os.chdir(os.path.dirname(sys.argv[1]))
	s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
	for m in b"", b"health", b"health\0", b"other\0001000\0x\0", b"health\0" + b"9" * 100 + b"\0x\0", b"x" * 100000, b"health\0001000\0unterminated":
	    try:
	        s.sendto(m, "control")
	    except OSError:
	        pass
	PY
	kill -0 "$(hoy inspect -f '{{.State.ConmonPid}}' c)"
	hoy restart -t 0 c
	until_true 5 is_health healthy
}
