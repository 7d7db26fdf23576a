#!/usr/bin/env bats
# Restart policies, timeouts, startup health checks and update, beside podman's; and that nothing but the monitor need survive.

load ../lib/hoy

both() {
	have_image busybox
	e() { hoy "$@"; }
	eval "$1" >"$T/ours" 2>&1 || true
	hoy rm -f -t 0 -a >/dev/null
	e() { oracle_podman "$@"; }
	eval "$1" >"$T/theirs" 2>&1 || true
	oracle_podman rm -f -t 0 -a >/dev/null
	sed -i -E 's/[0-9a-f]{64}/ID/g; s/"podman update"/"hoy update"/' "$T/ours" "$T/theirs"
	diff -u "$T/theirs" "$T/ours"
}

# What is there, without waiting for it longer than 10 seconds.
see='see() { local want=$1; until_true 10 eval "[[ \$(e inspect -f \"{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}\" c) == \"$want\" ]]"; echo "$want"; }; '

@test "policies: which are taken, how often they restart, what a user's start means" {
	both "$see"'
		for p in always no never on-failure on-failure:3 unless-stopped ""; do
			e create --name c --network none --restart "$p" busybox true >/dev/null; echo "$p: $?"
			e inspect -f "{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}" c
			e rm -f c >/dev/null
		done
		for p in on-failure: on-failure:x on-failure:-1 always:3 foo no:1; do
			e create --name c --network none --restart "$p" busybox true >/dev/null 2>&1; echo "$p: $?"
		done
		e run -d --name c --network none --restart on-failure:2 busybox sh -c "echo run; exit 1" >/dev/null
		see "2 exited 1"
		e logs c | wc -l
		e start c
		see "2 exited 1"
		e logs c | wc -l
		e rm c
		e run -d --name c --network none --restart on-failure busybox sh -c "[ -e /x ] && exit 0; touch /x; exit 1" >/dev/null
		see "1 exited 0"
		e rm c
		e run -d --name c --network none --restart unless-stopped busybox sleep 1000 >/dev/null
		kill -9 $(e inspect -f "{{.State.Pid}}" c)
		see "1 running 0"
		e restart -t 0 c
		see "0 running 0"
		e stop -t 0 c
		see "0 exited 137"
		e start c
		e kill c
		see "0 exited 137"
		e rm c'
	grep -q '2 exited 1' "$T/ours"
	not grep -q 'still not' "$T/ours"
}

@test "update: restart policy, limits, environment, health check" {
	both "$see"'
		e run -d --name c --network none -e A=1 -e B=2 busybox sleep 1000 >/dev/null
		e update --restart always c
		e inspect -f "{{.HostConfig.RestartPolicy}}" c
		kill -9 $(e inspect -f "{{.State.Pid}}" c)
		see "1 running 0"
		e update --restart no c
		e update --restart foo c; echo $?
		e update --restart no nosuch; echo $?
		e update; echo $?
		e update --health-cmd "test -e /tmp" --health-interval 77s --health-retries 9 c
		e inspect c | jq -cS ".[0].Config.Healthcheck"
		e update --health-interval 55s c
		e inspect c | jq -cS ".[0].Config.Healthcheck"
		e healthcheck run c; echo $?
		e update -e B=3 -e C=4 --unsetenv A c
		e stop -t 0 c
		e start c
		e exec c sh -c "echo A=\$A B=\$B C=\$C"'
	grep -q 'A= B=3 C=4' "$T/ours"
	# limits: the oracle's crun has no controllers here
	hoy run -d --name l --network none busybox sleep 1000
	hoy update --memory 64m --cpu-shares 300 --pids-limit 77 --cpus 0.5 l
	for _ in 1 2; do
		[[ $(hoy inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuShares}} {{.HostConfig.PidsLimit}} {{.HostConfig.CpuQuota}}' l) == '67108864 134217728 300 77 50000' ]]
		g=$(grep -E '[:,]memory[:,]' "/proc/$(hoy inspect -f '{{.State.Pid}}' l)/cgroup" | cut -d: -f3)
		[[ $(cat "/sys/fs/cgroup/memory$g/memory.limit_in_bytes" "/sys/fs/cgroup/cpu$g/cpu.shares" "/sys/fs/cgroup/pids$g/pids.max" | xargs) == '67108864 300 77' ]]
		hoy restart -t 0 l # they stay
	done
	try hoy update --memory 1 l
	assert_error 'minimum memory limit'
	try hoy update --cpus 9999999 l
	assert_error cpus
	[[ $(hoy inspect -f '{{.HostConfig.Memory}}' l) == 67108864 ]]
}

@test "--timeout and --stop-timeout" {
	both '
		e run --name c --network none --timeout 1 busybox sleep 100; echo $?
		e wait c
		e inspect -f "{{.State.ExitCode}} {{.State.Status}} {{.Config.Timeout}}" c
		e rm c
		e run -d --name c --network none --timeout 1 busybox sleep 100 >/dev/null
		e wait c
		e inspect -f "{{.State.ExitCode}}" c
		e rm c
		for t in -1 x 1.5; do e create --name c --network none --stop-timeout $t busybox true >/dev/null 2>&1; echo "$t $?"; e rm -f c >/dev/null; done
		e run -d --name c --network none --stop-timeout 1 busybox sh -c "trap : TERM; while :; do sleep 0.1; done" >/dev/null
		b=$SECONDS
		e stop c 2>/dev/null
		[[ $((SECONDS - b)) -lt 6 ]] && echo in time
		e inspect -f "{{.State.ExitCode}} {{.Config.StopTimeout}}" c'
	grep -q 'in time' "$T/ours"
}

@test "a startup health check: what it makes of the other one, restarts, inspect" {
	both '
		h="e inspect -f \"{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{.State.Status}}\" c"
		e run -d --name c --network none --stop-timeout 0 --health-cmd false --health-interval disable --health-startup-cmd "test -e /x" --health-startup-interval disable \
			--health-startup-retries 3 --health-startup-success 2 busybox sleep 100 >/dev/null
		e inspect c | jq -c ".[0].Config | {StartupHealthCheck, Healthcheck}"
		for i in 1 2; do e healthcheck run c; echo $?; eval "$h"; done
		e exec c touch /x
		for i in 1 2 3 4; do e healthcheck run c; echo $?; eval "$h"; done
		e rm -f -t 0 c >/dev/null
		for o in "--health-startup-cmd true" "--health-cmd true --health-startup-retries 2" "--health-cmd true --health-startup-cmd true --health-startup-timeout 5s" \
			"--health-cmd true --health-startup-cmd none" "--health-cmd true --health-startup-cmd true --health-startup-interval x"; do
			e create --name c --network none $o busybox true >/dev/null 2>&1; echo "$o $?"
			e inspect c 2>/dev/null | jq -c ".[0].Config | {StartupHealthCheck, Healthcheck}"
			e rm -f c >/dev/null 2>&1
		done'
	grep -q '^starting$' "$T/ours"
	grep -q '^healthy 2 running$' "$T/ours"
	# the monitor does it: the start's check, often enough, restarts; once it has passed, the other one has its turn
	hoy run -d --name s --network none --stop-timeout 0 --tmpfs /run --health-cmd 'test -e /run/y' --health-interval 200ms --health-retries 1 --health-startup-cmd 'test -e /run/x' \
		--health-startup-interval 200ms --health-startup-retries 3 busybox sleep 100
	pid=$(hoy inspect -f '{{.State.Pid}}' s)
	until_true 10 test ! -e "/proc/$pid"
	until_true 10 hoy exec s touch /run/x
	hoy update --health-startup-retries 1000 s
	is() { [[ $(hoy inspect -f '{{.State.Health.Status}}' s) == "$1" ]]; }
	until_true 10 hoy exec s touch /run/x
	until_true 10 is unhealthy
	hoy exec s touch /run/y
	until_true 10 is healthy
}

@test "killed at it, the cleanup is called once more: what is to start again does" {
	have_image busybox
	hoy run -d --name c --network none --restart always busybox sleep 1000
	id=$(hoy inspect -f '{{.Id}}' c)
	# while we hold the container's lock nobody gets on
	background python3 -c 'import fcntl, sys, time
f = open(sys.argv[1], "r+"); fcntl.lockf(f, fcntl.LOCK_EX); open(sys.argv[2], "w"); time.sleep(1000)' "$ROOT/hoy/containers/$id/lock" "$T/held"
	holder=$!
	until_true 5 test -e "$T/held"
	kill -9 "$(hoy inspect -f '{{.State.Pid}}' c)"
	last=0
	for _ in 1 2 3; do
		until_true 5 bash -c "p=\$(pgrep -f 'container cleanup $id' -n) && [[ \$p != $last ]]"
		last=$(pgrep -f "container cleanup $id" -n)
		kill -9 "$last"
	done
	kill -9 "$holder"
	is() { [[ $(hoy inspect -f '{{.State.Status}} {{.RestartCount}}' c) == "$1" ]]; }
	until_true 10 is 'running 1'
	# also half way through
	for _ in 1 2 3 4 5 6; do
		n=$(hoy inspect -f '{{.RestartCount}}' c)
		kill -9 "$(hoy inspect -f '{{.State.Pid}}' c)"
		for _ in {1..40}; do pkill -9 -f "container cleanup $id" && break; done
		until_true 10 is "running $((n + 1))"
	done
}

# The real monitor, with ours watching beside it.
foreign() { hoy --conmon /usr/bin/conmon "$@"; }
watcher() { pgrep -f "hoy-conmon --watch $(hoy inspect -f '{{.Id}}' "$1")"; }

@test "beside the real conmon: health checks, exec sessions, restarts, and nothing is left" {
	have_image busybox
	foreign run -d --name c --network none --health-cmd 'test -e /x' --health-interval 200ms --health-retries 1 busybox sleep 1000
	[[ $(tr '\0' ' ' <"/proc/$(hoy inspect -f '{{.State.ConmonPid}}' c)/cmdline") == /usr/bin/conmon* ]]
	is() { [[ $(hoy inspect -f "$1" c) == "$2" ]]; }
	until_true 5 is '{{.State.Health.Status}}' unhealthy
	hoy exec c touch /x
	until_true 5 is '{{.State.Health.Status}}' healthy
	hoy exec -t c sh -c 'exit 5' || [[ $? == 5 ]]
	id=$(hoy exec -d c sh -c 'exit 6')
	until_true 5 grep -qx 6 "$RUNROOT/hoy/$(hoy inspect -f '{{.Id}}' c)/exec/$id.exit"
	until_true 5 grep -q '"ContainerExitCode":6.*exec_died' "$RUNROOT/libpod/events/events.log"
	"$HOY_TESTS/fixtures/typist" 24 80 see=up 0.3:a 0.2:b -- "$HOY_BIN/hoy" "${HOY_OPTS[@]}" exec -it --detach-keys a,b c sh -c 'echo up; sleep 900' | grep 'status 0'
	hoy exec c ps | grep 'sleep 900'
	w=$(watcher c)
	hoy stop -t 0 c
	until_true 5 test ! -e "/proc/$w"
	hoy rm c
	# whoever made it restarts it: it, and if that was killed, ours
	foreign run -d --name c --network none --restart always busybox sleep 1000
	kill -9 "$(hoy inspect -f '{{.State.Pid}}' c)"
	until_true 5 is '{{.State.Status}} {{.RestartCount}}' 'running 1'
	kill -9 "$(hoy inspect -f '{{.State.ConmonPid}}' c)"
	kill -9 "$(hoy inspect -f '{{.State.Pid}}' c)"
	until_true 10 is '{{.State.Status}} {{.RestartCount}}' 'running 2'
	hoy stop -t 0 c
	sleep 0.5
	is '{{.State.Status}}' exited
	foreign run --rm --network none busybox echo done
	printf '[engine]\nconmon_path = ["/nonexistent", "/usr/bin/conmon"]\n' >"$T/conf"
	CONTAINERS_CONF=$T/conf hoy run -d --name k --network none busybox sleep 100
	watcher k
	# the watcher goes with the container, also when that could not be started
	try foreign run -d --name n --network none busybox nosuch
	assert_status 127
	hoy rm -f -t 0 -a
	until_true 5 bash -c '! pgrep -f "[h]oy-conmon --watch"'
}

@test "a start that fails is no end: its policy does not restart it" {
	have_image busybox
	for monitor in hoy-conmon /usr/bin/conmon; do
		try hoy --conmon "$(command -v $monitor || echo "$HOY_BIN/$monitor")" run -d --name c --network none --restart always busybox nosuch
		assert_status 127
		sleep 0.3
		[[ $(hoy inspect -f '{{.State.Status}} {{.RestartCount}}' c) == 'created 0' ]]
		hoy rm c
	done
}
