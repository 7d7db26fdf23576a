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

# crun with its libraries below DIR, for chroot.
take_crun() {
	local f
	for f in /usr/bin/crun $(oracle ldd /usr/bin/crun | grep -o '/[^ ]*'); do
		mkdir -p "$1${f%/*}"
		cp -L "$("$HOY_TESTS/oracle" path)$f" "$1$f"
	done
}

# What linux.resources may say, one a line; the files that it is seen in are shown with crun and with hoy-runtime.
resources='
{"memory": {"limit": 67108864}}
{"memory": {"limit": 67108864, "swap": 100663296}}
{"memory": {"limit": 67108864, "swap": -1}}
{"memory": {"limit": 67108864, "swap": 67108864}}
{"memory": {"limit": -1}}
{"memory": {"reservation": 33554432}}
{"memory": {"limit": 67108864, "swap": 1000}}
{"memory": {"swap": 67108864}}
{"memory": {"limit": 67108864, "swappiness": 10}}
{"memory": {"limit": 67108864, "disableOOMKiller": true}}
{"memory": {"limit": 67108864, "kernelTCP": 1000000}}
{"cpu": {"shares": 2}}
{"cpu": {"shares": 100}}
{"cpu": {"shares": 512}}
{"cpu": {"shares": 1024}}
{"cpu": {"shares": 5000}}
{"cpu": {"shares": 262144}}
{"cpu": {"shares": 0}}
{"cpu": {"quota": 20000}}
{"cpu": {"quota": 20000, "period": 50000}}
{"cpu": {"period": 50000}}
{"cpu": {"quota": -1, "period": 50000}}
{"cpu": {"quota": 20000, "burst": 10000}}
{"cpu": {"idle": 1}}
{"cpu": {"cpus": "1"}}
{"cpu": {"cpus": "0-1", "mems": "0"}}
{"cpu": {"cpus": "7"}}
{"cpu": {"realtimeRuntime": 1000}}
{"pids": {"limit": 17}}
{"pids": {"limit": -1}}
{"pids": {"limit": 0}}
{"blockIO": {"weight": 500}}
{"blockIO": {"weight": 10}}
{"blockIO": {"weight": 1000}}
{"hugepageLimits": [{"pageSize": "2MB", "limit": 4194304}]}
{"hugepageLimits": [{"pageSize": "3MB", "limit": 4194304}]}
{"unified": {"memory.high": "50000000"}}
{"unified": {"memory.max": "max", "pids.max": "40", "cpu.weight": "77"}}
{"memory": {"limit": 67108864}, "unified": {"memory.max": "33554432"}}
{"unified": {"memory.oom.group": "1"}}
{"unified": {"nonsense": "1"}}
{"unified": {"a/b": "1"}}
{"network": {"classID": 5}}
{"memory": {"limit": 67108864}, "cpu": {"shares": 300, "quota": 30000}, "pids": {"limit": 9}, "blockIO": {"weight": 100}}
'

@test "cgroup v2: each of linux.resources as crun sets it" {
	local n=0 line
	mkdir -p extra/c
	take_crun "$PWD/extra/oracle"
	"$HOY_BIN/hoy-runtime" spec -b extra
	while read -r line; do
		[[ -n $line ]] || continue
		n=$((n + 1))
		jq --argjson r "$line" '.process.terminal = false | .root.readonly = false | .linux.cgroupsPath = "/made/c" | .linux.resources += $r | .process.args = ["sh", "-c",
			"cd /sys/fs/cgroup; for f in memory.max memory.low memory.high memory.swap.max memory.oom.group cpu.weight cpu.max cpu.max.burst cpu.idle cpuset.cpus cpuset.mems pids.max io.weight io.bfq.weight hugetlb.2MB.max; do echo $f $(cat $f 2>/dev/null); done"]' \
			extra/config.json >"extra/c/$n"
		printf '%s\n' "$line" >>lines
	done <<<"$resources"
	# crun has never heard of it.
	jq '.linux.resources.rdma = {mlx: {hcaHandles: 3}}' extra/c/1 >extra/c/rdma
	cat >script <<-'END'
	mkdir -p /b/rootfs /oracle/b /oracle/proc /oracle/sys /oracle/dev /oracle/run /oracle/tmp
	tar -xf /rootfs.tar -C /b/rootfs
	mount --bind /oracle /oracle
	mount --bind /b /oracle/b
	for d in proc sys dev; do mount --rbind /$d /oracle/$d; done
	for i in $(ls /c | grep -v rdma | sort -n); do
		cp /c/$i /b/config.json
		hoy-runtime --root /run/h run -b /b c </dev/null >/tmp/hoy 2>/tmp/err || echo failed >/tmp/hoy
		[ ! -d /sys/fs/cgroup/made/c ] || echo "case $i: left by hoy-runtime"
		chroot /oracle /usr/bin/crun --root /run/c --cgroup-manager=cgroupfs run -b /b c </dev/null >/tmp/crun 2>/tmp/err2 || echo failed >/tmp/crun
		cmp -s /tmp/hoy /tmp/crun || { echo "case $i"; cat /tmp/err /tmp/err2; diff /tmp/crun /tmp/hoy | grep '^[-+][a-z]'; }
		[ ! -d /sys/fs/cgroup/made/c ] || rmdir /sys/fs/cgroup/made/c
	done
	cp /c/rdma /b/config.json
	hoy-runtime --root /run/h run -b /b c 2>&1
	echo done
	END
	HOY_VM_EXTRA=$PWD/extra try "$HOY_TESTS/vm" "$T/script" 250
	sed -n '=;p' lines | paste - - >&2
	assert_success
	assert_stdout "cannot write 'mlx hca_handle=3' to 'rdma.max': No such device
done"
}

@test "cgroup v2: update, devices, freezing and killing, a cgroup that was delegated to an ordinary user" {
	cat >script <<-'END'
	R="hoy-runtime --root /run/h" G=/sys/fs/cgroup/made/c
	mkdir -p /b/rootfs && tar -xf /rootfs.tar -C /b/rootfs && cd /b
	hoy-runtime spec
	put() { sed -i "$@" config.json; }
	put 's/"terminal": true/"terminal": false/; s/"hostname": "hoy"/"hostname": "h"/; s/"sh"/"sleep", "1000"/; s/"linux": {/"linux": {"cgroupsPath": "\/made\/c",/'
	$R run -d c </dev/null >/dev/null 2>&1
	echo "== update"
	$R update --memory 64m --memory-swap 96m --memory-reservation 32m --cpu-share 512 --cpu-quota 20000 --cpu-period 50000 --cpu-burst 5000 --cpuset-cpus 0 --cpuset-mems 0 --pids-limit 20 c
	cd $G && for f in memory.max memory.swap.max memory.low cpu.weight cpu.max cpu.max.burst cpuset.cpus cpuset.mems pids.max; do echo $f $(cat $f); done; cd /b
	echo '{"memory": {"limit": 33554432}, "blockIO": {"weight": 100}, "unified": {"memory.high": "30000000"}}' | $R update -r - c
	cat $G/memory.max $G/memory.high $G/cpu.max
	$R update --cpu-idle 1 c; cat $G/cpu.idle
	$R update --pids-limit -1 c; cat $G/pids.max
	$R update --memory-swap 1m c 2>&1
	echo "== devices"
	echo '{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}' | $R update -r - c
	mknod /b/rootfs/kmsg c 1 11; mknod /b/rootfs/mem c 1 1; mknod /b/rootfs/null2 c 1 3
	$R exec --cap CAP_SYSLOG c sh -c 'for f in kmsg mem null2; do (: </$f) 2>/dev/null && echo $f r; (: >/$f) 2>/dev/null && echo $f w; done'
	echo "== frozen"
	$R pause c; cat $G/cgroup.freeze; grep frozen $G/cgroup.events; $R state c | grep status; $R kill c KILL; $R resume c 2>&1
	sleep 0.3; $R state c | grep status; $R delete c
	echo "== killed with all that is below"
	put 's/"sleep", "1000"/"sh", "-c", "(setsid sleep 1001 \&) ; (setsid sleep 1002 \&); sleep 1003"/; s/{"type": "pid"},*//; /"type": "pid"/s/"pid"/"ipc2"/'
	sed -i '/ipc2/d' config.json; tr -d '\n\t' <config.json | sed 's/{},*//' >c2 && mv c2 config.json
	$R run -d c </dev/null >/dev/null 2>&1
	sleep 1; mkdir $G/below; for p in $(pidof sleep | cut -d' ' -f1); do echo $p >$G/below/cgroup.procs; done
	$R ps c | wc -l
	$R delete -f c; ls -d $G /run/h/c 2>/dev/null; pidof sleep | wc -w
	echo "== delegated"
	echo 'u:x:1000:1000::/tmp:/bin/sh' >>/etc/passwd; mkdir -p /tmp/u/rootfs /tmp/r; tar -xf /rootfs.tar -C /tmp/u/rootfs; chown -R 1000:1000 /tmp/u /tmp/r
	mkdir /sys/fs/cgroup/user; echo +memory +pids >/sys/fs/cgroup/cgroup.subtree_control; echo +memory +pids >/sys/fs/cgroup/user/cgroup.subtree_control
	mkdir /sys/fs/cgroup/user/1000; for f in . cgroup.procs cgroup.subtree_control cgroup.threads; do chown 1000:1000 /sys/fs/cgroup/user/1000/$f; done
	mkdir /sys/fs/cgroup/user/1000/shell; chown -R 1000:1000 /sys/fs/cgroup/user/1000/shell; echo $$ >/sys/fs/cgroup/user/1000/shell/cgroup.procs
	cat >/tmp/us <<-'E'
		cd /tmp/u; R="hoy-runtime --root /tmp/r"
		hoy-runtime spec --rootless
		sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"sh", "-c", "cd \/sys\/fs\/cgroup; cat memory.max pids.max cgroup.procs; id -u; cat \/proc\/self\/cgroup"/; s/"linux": {/"linux": {"cgroupsPath": "\/user\/1000\/c", "resources": {"memory": {"limit": 33554432}, "pids": {"limit": 12}},/' config.json
		$R run c
		sed -i 's/"\/user\/1000\/c"/"\/other\/c"/' config.json
		$R run c
	E
	su u -c 'sh /tmp/us' 2>&1
	ls -d /sys/fs/cgroup/user/1000/c 2>/dev/null
	echo "== labels"
	mount -t securityfs s /sys/kernel/security; cat /sys/kernel/security/lsm; echo
	cd /b && sed -i 's/"terminal"/"apparmorProfile": "nosuch", "terminal"/' config.json; $R run c </dev/null 2>&1
	sed -i 's/"nosuch"/"unconfined"/; s/"args": *\[[^]]*\]/"args": ["cat", "\/proc\/self\/attr\/current"]/' config.json; $R run c </dev/null 2>&1
	END
	try "$HOY_TESTS/vm" "$T/script" 250
	assert_success
	diff <(tr -d '\r' <<<"$output") - <<-'END'
	== update
	memory.max 67108864
	memory.swap.max 33554432
	memory.low 33554432
	cpu.weight 59
	cpu.max 20000 50000
	cpu.max.burst 5000
	cpuset.cpus 0
	cpuset.mems 0
	pids.max 20
	33554432
	29999104
	20000 50000
	1
	max
	cannot set memory.swap without memory.limit
	== devices
	kmsg r
	null2 r
	null2 w
	== frozen
	1
	frozen 1
	  "status": "paused",
	container 'c' is stopped, not paused
	  "status": "stopped",
	== killed with all that is below
	4
	0
	== delegated
	33554432
	12
	1
	2
	0
	0::/
	cannot make cgroup '/sys/fs/cgroup/other/c': Permission denied
	== labels
	lockdown,capability,landlock,yama,apparmor,tomoyo,bpf
	write 'exec nosuch' to `/proc/thread-self/attr/apparmor/exec`: No such file or directory
	unconfined
	END
}

@test "cgroup v2: a delegated cgroup below the limits; exec where the container hands its controllers on; cgroup v1 for an old systemd" {
	mkdir extra bundle
	"$HOY_BUILD/hoy-runtime" spec -b bundle
	jq '.process.terminal = false | .process.args = ["sleep", "1000"] | .linux.cgroupsPath = "/made/c" | .linux.resources.pids = {limit: 20} | .root.readonly = false |
		.annotations["run.oci.delegate-cgroup"] = "mine" | .mounts |= map(if .type == "cgroup" then .options -= ["ro"] else . end)' bundle/config.json >extra/delegate.json
	jq '.process.args = ["sh", "-c", "mkdir /sys/fs/cgroup/init && echo 1 >/sys/fs/cgroup/init/cgroup.procs && echo +pids >/sys/fs/cgroup/cgroup.subtree_control && exec sleep 1000"] |
		del(.annotations)' extra/delegate.json >extra/systemd.json
	jq '.annotations = {"run.oci.systemd.force_cgroup_v1": "/sys/fs/cgroup"} | .process.args = ["sh", "-c", "mount | grep cgroup; ls /sys/fs/cgroup"]' extra/delegate.json >extra/old.json
	cat >script <<-'END'
	R="hoy-runtime --root /run/h" G=/sys/fs/cgroup/made/c
	mkdir -p /b/rootfs && tar -xf /rootfs.tar -C /b/rootfs && cd /b
	$R run -d -f /delegate.json c </dev/null >/dev/null 2>&1
	cat $G/pids.max $G/mine/pids.max 2>/dev/null; wc -l <$G/mine/cgroup.procs; wc -l <$G/cgroup.procs
	$R exec c sh -c 'cat /proc/1/cgroup; mkdir /sys/fs/cgroup/mine/x && echo made'
	$R pause c; $R state c | grep status; $R resume c
	$R delete -f c; ls -d $G 2>/dev/null
	echo "== systemd"
	$R run -d -f /systemd.json c </dev/null >/dev/null 2>&1
	sleep 1; cat $G/cgroup.subtree_control
	$R exec c cat /proc/self/cgroup 2>&1
	$R delete -f c; ls -d $G 2>/dev/null
	echo "== old"
	mkdir /tmp/v1 && mount -t cgroup -o none,name=systemd,xattr cgroup /tmp/v1
	$R run -f /old.json c </dev/null 2>&1
	END
	HOY_VM_EXTRA=$PWD/extra try "$HOY_TESTS/vm" "$T/script" 200
	assert_success
	diff <(tr -d '\r' <<<"$output") - <<-'END'
	20
	1
	0
	0::/mine
	made
	  "status": "paused",
	== systemd
	pids
	0::/init
	== old
	tmpfs on /sys/fs/cgroup type tmpfs (rw,nosuid,nodev,noexec,relatime,size=1024k,mode=755,inode64)
	cgroup on /sys/fs/cgroup/systemd type cgroup (rw,nosuid,nodev,noexec,relatime,xattr,name=systemd)
	systemd
	END
}
