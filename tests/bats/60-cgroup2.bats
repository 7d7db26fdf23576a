#!/usr/bin/env bats
# cgroup v2 with all controllers: in a virtual machine, since the machines that run the tests have cgroup v1 or few controllers.

load ../lib/hoy

@test "cgroup v2: limits, out of memory, pause, and nothing left" {
	cat >script <<-'END'
	h() { hoy --root /var/s/root --runroot /run/s "$@"; }
	h import -q -c 'CMD ["sh"]' /rootfs.tar bb:1 >/dev/null
	echo "== limits"
	h run --rm --network none -m 64m --memory-swap 96m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 1 --pids-limit 50 bb:1 \
		sh -c 'cd /sys/fs/cgroup; for f in memory.max memory.swap.max memory.low cpu.max cpu.weight cpuset.cpus pids.max; do echo "$f $(cat $f)"; done'
	echo "== too many processes"
	h run --rm --network none --pids-limit 5 bb:1 sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 2 & done; wait' 2>&1 | grep -c 'fork'
	echo "== out of memory"
	h run --name oom --network none -m 24m --memory-swap 24m bb:1 tail /dev/zero
	echo "status $?"
	h inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' oom
	echo "== the OOM killer takes the container, not its monitor"
	h run -d --name r --restart always --network none bb:1 sleep 2.5 >/dev/null
	sleep 4
	cat /proc/$(h inspect -f '{{.State.Pid}}' r)/oom_score_adj /proc/$(h inspect -f '{{.State.ConmonPid}}' r)/oom_score_adj
	h rm -f -t 0 r >/dev/null
	echo "== pause"
	h run -d --name p --network none bb:1 sleep 1000 >/dev/null
	h pause p >/dev/null
	h ps --format '{{.State}}'
	cat $(find /sys/fs/cgroup -name cgroup.freeze -path "*$(h inspect -f '{{.Id}}' p)*" | head -n 1)
	h unpause p >/dev/null
	h exec p sh -c 'echo runs; ls -l /dev/kmsg 2>&1 | wc -l'
	echo "== nothing left"
	h rm -f -a -t 0 >/dev/null
	find /sys/fs/cgroup -type d -name '*libpod*' -path '*-*' | grep -v conmon -c
	END
	try "$HOY_TESTS/vm" "$T/script" 200
	assert_status 1
	diff <(tr -d '\r' <<<"$output") - <<-'END'
	== limits
	memory.max 67108864
	memory.swap.max 33554432
	memory.low 33554432
	cpu.max 50000 100000
	cpu.weight 59
	cpuset.cpus 1
	pids.max 50
	== too many processes
	1
	== out of memory
	status 137
	true 137
	== the OOM killer takes the container, not its monitor
	0
	-1000
	== pause
	paused
	1
	runs
	1
	== nothing left
	0
	END
}
