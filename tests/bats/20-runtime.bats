#!/usr/bin/env bats
# hoy-runtime: bundles become processes, confined as config.json says, and nothing stays behind.

load ../lib/hoy
load ../lib/runtime


@test "runtime: --version and --help" {
	try "$RT" --version
	assert_success
	assert_stdout_like '^hoy-runtime version [0-9.]+
spec: 1\.2\.0
.*\+CAP \+SECCOMP'
	ln -s "$RT" "$T/crun"
	try "$T/crun" --version
	assert_stdout_like '^crun version '
	try "$RT" run --help
	assert_success
	assert_stdout_has --preserve-fds
}

@test "runtime: exit status, stdout and stderr of the command" {
	run_sh 'echo out; echo err >&2; exit 7'
	assert_status 7
	assert_stdout out
	assert_stderr err
	[[ ! -e $STATE/c1 ]]
}

@test "runtime: what cannot be executed is told in crun's words" {
	edit '.process.args = ["nosuch"]'
	try rt run -b "$B" c1
	assert_status 1
	assert_stderr 'executable file `nosuch` not found in $PATH: No such file or directory'
	edit '.process.args = ["/etc"]'
	try rt run -b "$B" c1
	assert_stderr 'the path `/etc` is not a regular file: Operation not permitted'
	edit '.process.args = ["/etc/passwd"]'
	try rt run -b "$B" c1
	assert_stderr 'the path `/etc/passwd` exists but it is not executable: Operation not permitted'
	try rt --log "$T/log" --log-format json create -b "$B" c1
	assert_status 1
	[[ $(jq -r '.level + ": " + .msg' "$T/log") == 'error: the path `/etc/passwd` exists'* ]]
	[[ ! -e $STATE/c1 ]]
}

@test "runtime: namespaces of its own, hostname, loopback" {
	run_sh 'for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done; hostname; ip -o addr show lo; echo $$'
	assert_success
	for n in pid net ipc uts mnt cgroup; do
		[[ $output != *$(readlink /proc/self/ns/$n)* ]]
	done
	assert_stdout_has 127.0.0.1
	assert_stdout_like '
hoy
'
	assert_stdout_like '
1$'
}

@test "runtime: namespaces by path" {
	local NETNS=hoy-t$$
	ip netns add "$NETNS"
	edit "(.linux.namespaces[] | select(.type == \"network\")).path = \"/run/netns/$NETNS\""
	run_sh 'readlink /proc/self/ns/net'
	local want
	want=net:[$(stat -L -c %i "/run/netns/$NETNS")]
	ip netns del "$NETNS"
	assert_stdout "$want"
	edit '(.linux.namespaces[] | select(.type == "network")).path = "/proc/self/ns/uts"'
	run_sh true
	assert_status 1
	assert_stderr_has 'is no network namespace'
}

@test "runtime: masked and read-only paths" {
	run_sh 'wc -c </proc/keys; ls /sys/firmware | wc -l; echo x >/proc/sys/kernel/hostname; umount /proc/keys'
	assert_stdout '0
0'
	assert_stderr_has 'Read-only file system'
	assert_stderr_has 'umount'
}

@test "runtime: capabilities, no_new_privs, user, umask, groups" {
	edit '.process.user = {uid: 1000, gid: 1000, additionalGids: [5, 6], umask: 63} |
		.process.capabilities.inheritable = ["CAP_KILL"] | .process.capabilities.ambient = ["CAP_KILL"]'
	run_sh 'grep -E "Cap|NoNew|Groups" /proc/self/status | tr -d "\t"; umask; id -u; touch /tmp/f; echo x >/dev/stdout'
	assert_stdout 'Groups:5 6 
CapInh:0000000000000020
CapPrm:0000000000000020
CapEff:0000000000000020
CapBnd:0000000020000420
CapAmb:0000000000000020
NoNewPrivs:1
0077
1000
x'
}

@test "runtime: seccomp: errno, argument filters, and a cache that is checked" {
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [
		{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28},
		{names: ["kill"], action: "SCMP_ACT_ERRNO", args: [{index: 1, value: 10, op: "SCMP_CMP_EQ"}]}]}'
	for _ in 1 2; do
		run_sh 'mkdir /x; kill -10 $$; kill -0 $$ && echo alive; grep Seccomp: /proc/self/status'
		assert_stdout 'alive
Seccomp:	2'
		assert_stderr_has 'No space left on device'
		assert_stderr_has 'Operation not permitted'
	done
	[[ $(stat -c %a "$STATE/.seccomp") == 700 && $(ls "$STATE/.seccomp" | wc -l) == 1 ]]
	# A damaged entry is compiled anew.
	truncate -s 100 "$STATE/.seccomp/"*
	run_sh 'mkdir /x'
	assert_stderr_has 'No space left on device'
	edit '.linux.seccomp.defaultAction = "SCMP_ACT_NONSENSE"'
	run_sh true
	assert_stderr "linux.seccomp: unknown action 'SCMP_ACT_NONSENSE'"
}

@test "runtime: mounts: bind with options, tmpfs with copy-up, read-only root" {
	mkdir "$T/v"
	echo data >"$T/v/f"
	edit ".root.readonly = true | .mounts += [
		{destination: \"/v\", type: \"bind\", source: \"$T/v\", options: [\"rbind\", \"ro\", \"noexec\"]},
		{destination: \"/etc\", type: \"tmpfs\", source: \"tmpfs\", options: [\"tmpcopyup\", \"mode=755\"]}]"
	mkdir -p "$B/rootfs/v"
	run_sh 'cat /v/f; touch /v/g; touch /x; grep -c root /etc/passwd; touch /etc/new && echo written; grep " /v " /proc/mounts'
	assert_stdout_like '^data
1
written
.* /v [a-z0-9]+ ro,noexec'
	[[ $(grep -c 'Read-only file system' <<<"$stderr") == 2 ]]
	[[ ! -e $B/rootfs/etc/new ]]
}

@test "runtime: limits of cgroup v1, and update" {
	v1 memory || skip "no cgroup v1"
	edit '.linux.resources += {memory: {limit: 67108864}, pids: {limit: 17}, cpu: {shares: 512, quota: 20000, period: 100000, cpus: "0"}}'
	sleeper
	[[ $(cat /sys/fs/cgroup/memory$CG/c/memory.limit_in_bytes) == 67108864 ]]
	[[ $(cat /sys/fs/cgroup/pids$CG/c/pids.max) == 17 ]]
	[[ $(cat /sys/fs/cgroup/cpu$CG/c/cpu.shares) == 512 ]]
	[[ $(cat /sys/fs/cgroup/cpu$CG/c/cpu.cfs_quota_us) == 20000 ]]
	[[ $(cat /sys/fs/cgroup/cpuset$CG/c/cpuset.cpus) == 0 ]]
	rt update --memory 32m --pids-limit 9 c1
	[[ $(cat /sys/fs/cgroup/memory$CG/c/memory.limit_in_bytes) == 33554432 ]]
	[[ $(cat /sys/fs/cgroup/pids$CG/c/pids.max) == 9 ]]
	echo '{"pids": {"limit": 11}}' | rt update -r - c1
	[[ $(cat /sys/fs/cgroup/pids$CG/c/pids.max) == 11 ]]
	rt delete -f c1
	[[ -z $(find /sys/fs/cgroup -path "*$CG/c") ]]
}

@test "runtime: devices of cgroup v2 are kept by a filter" {
	[[ -d /sys/fs/cgroup/unified ]] || skip "no hybrid tree to borrow cgroup v2 from"
	edit '.linux.devices = [{path: "/dev/fuse", type: "c", major: 10, minor: 229}]'
	edit '.process.args = ["sh", "-c", ": </dev/null && : </dev/fuse && echo open"]'
	jq '.linux.resources.devices += [{allow: true, type: "c", major: 10, minor: 229, access: "r"}]' "$B/config.json" >"$B/allow.json"
	try unshare -m sh -c 'mount --make-rprivate / && mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && exec "$@"' - \
		"$RT" --root "$STATE" run -b "$B" c1
	assert_status 1
	assert_stderr_has 'Operation not permitted'
	try unshare -m sh -c 'mount --make-rprivate / && mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && exec "$@"' - \
		"$RT" --root "$STATE" run -b "$B" -f allow.json c1
	assert_stdout open
}

@test "runtime: create, start, state, kill, delete" {
	edit '.process.args = ["sh", "-c", "echo started; exec sleep 1000"]'
	rt create -b "$B" --pid-file "$T/pid" c1 </dev/null >"$T/out" 2>&1
	is c1 created
	[[ $(rt state c1 | jq .pid) == $(cat "$T/pid") && ! -s $T/out ]]
	try rt create -b "$B" c1
	assert_stderr "container 'c1' already exists"
	rt start c1
	until_true 5 grep -q started "$T/out"
	is c1 running
	try rt start c1
	assert_status 1
	assert_stderr "container 'c1' is running, not created"
	try rt delete c1
	assert_status 1
	rt pause c1
	is c1 paused
	rt resume c1
	is c1 running
	rt kill c1 KILL
	until_true 5 is c1 stopped
	try rt kill c1
	assert_status 1
	assert_stderr "container 'c1' is not running"
	rt delete c1
	try rt state c1
	assert_status 1
	assert_stderr_has 'does not exist'
	rt delete -f c1
}

@test "runtime: a reused pid is not the container's" {
	sleeper
	local pid
	pid=$(rt state c1 | jq .pid)
	jq '."process-start-time" += 1' "$STATE/c1/status" >"$T/s" && cat "$T/s" >"$STATE/c1/status"
	is c1 stopped
	try rt kill c1 KILL
	assert_status 1
	kill -0 "$pid"
	jq '."process-start-time" -= 1' "$T/s" >"$STATE/c1/status"
	is c1 running
}

@test "runtime: exec" {
	sleeper
	try rt exec -e A=b --cwd /tmp -u 1000:5 c1 sh -c 'echo $A; pwd; id -u; id -g; exit 5'
	assert_status 5
	assert_stdout 'b
/tmp
1000
5'
	try rt exec c1 sh -c 'readlink /proc/self/ns/pid; readlink /proc/1/ns/pid; cat /proc/self/cgroup; ls /proc/self/fd | wc -l'
	[[ ${lines[0]} == "${lines[1]}" ]]
	if v1 memory; then
		try rt exec c1 cat /proc/1/cgroup /proc/self/cgroup
		[[ $(sort -u <<<"$output" | wc -l) == $((${#lines[@]} / 2)) ]]
	fi
	try rt exec c1 nosuch
	assert_stderr 'executable file `nosuch` not found in $PATH: No such file or directory'
	jq '.process | .args = ["sh", "-c", "echo $X"] | .env += ["X=y"]' "$B/config.json" >"$T/p"
	try rt exec --process "$T/p" c1
	assert_stdout y
	rt exec -d --pid-file "$T/pid" c1 sleep 500 </dev/null >/dev/null 2>&1
	until_true 5 grep -q sleep "/proc/$(cat "$T/pid")/cmdline"
	[[ $(rt ps --format json c1 | jq length) == 2 ]]
	rt kill --all c1 KILL
	until_true 5 is c1 stopped
	try rt exec c1 true
	assert_stderr "container 'c1' is not running"
}

@test "runtime: a terminal over the console socket, and one of our own" {
	edit '.process.terminal = true'
	edit '.process.args = ["sh", "-c", "tty; ls -l /dev/console | cut -c1; stty size"] | .process.consoleSize = {height: 11, width: 33}'
	try rt create -b "$B" c1
	assert_stderr_has '--console-socket'
	python3 - "$T/sock" "$RT" --root "$STATE" run -d -b "$B" --console-socket "$T/sock" c1 >"$T/tty" <<-'END'
		import array, os, socket, subprocess, sys
		s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
		p = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
		c = s.accept()[0]
		fd = array.array("i"); fd.frombytes(c.recvmsg(100, 100)[1][0][2])
		assert p.wait() == 0
		try:
		    while True: sys.stdout.write(os.read(fd[0], 1000).decode())
		except OSError: pass
	END
	[[ $(tr -d '\r' <"$T/tty") == '/dev/pts/0
c
11 33' ]]
}

@test "runtime: hooks get the state; a failing or slow one undoes everything" {
	cat >"$T/hook" <<-END
		#!/bin/sh
		jq -r '"'\$1' " + .status + " " + .id' >>$T/hooks
	END
	chmod +x "$T/hook"
	edit ".hooks = ([\"prestart\", \"createRuntime\", \"createContainer\", \"poststart\", \"poststop\"] |
		map({(.): [{path: \"$T/hook\", args: [\"h\", .]}]}) | add)"
	run_sh true
	assert_success
	[[ $(cat "$T/hooks") == 'prestart creating c1
createRuntime creating c1
createContainer creating c1
poststart running c1
poststop stopped c1' ]]
	edit '.hooks = {createRuntime: [{path: "/bin/false"}]}'
	run_sh true
	assert_status 1
	assert_stderr "error executing hook '/bin/false' (exit code: 1)"
	edit '.hooks = {prestart: [{path: "/bin/sleep", args: ["sleep", "50"], timeout: 1}]}'
	run_sh true
	assert_stderr "hook '/bin/sleep' did not end within 1 seconds"
	[[ ! -e $STATE/c1 && -z $(find /sys/fs/cgroup -path "*$CG/c") ]]
}

@test "runtime: user namespace with several ranges" {
	edit '.linux.namespaces += [{type: "user"}] |
		.linux.uidMappings = [{containerID: 0, hostID: 100000, size: 1000}, {containerID: 1000, hostID: 300000, size: 10}] |
		.linux.gidMappings = [{containerID: 0, hostID: 100000, size: 65536}]'
	chmod 755 "$T" "$B" "$B/rootfs"
	run_sh 'cat /proc/self/uid_map; id -u; ls -ln /dev/null; : >/dev/null && echo ok; mknod /tmp/x c 1 3'
	assert_stdout_like '^ +0 +100000 +1000
 +1000 +300000 +10
0
crw-rw-rw-.* 65534 .*
ok$'
}

@test "runtime: hostile root directories" {
	rm -rf "$B/rootfs/proc"
	ln -s /etc "$B/rootfs/proc"
	run_sh true
	assert_status 1
	assert_stderr "mount target '/proc' of a proc is no directory"
	rm "$B/rootfs/proc"
	mkdir "$B/rootfs/proc"
	# A link that leads out: everything is resolved inside.
	mkdir "$T/outside"
	rm -rf "$B/rootfs/dev"
	ln -s "../../../../../..$T/outside" "$B/rootfs/dev"
	run_sh 'ls /dev/null'
	[[ -z $(ls "$T/outside") ]]
	rm -rf "$B/rootfs/dev"
	mkdir "$B/rootfs/dev"
	# Without a tmpfs on /dev the image's /dev/null stays in place of ours.
	edit '.mounts |= map(select(.destination | startswith("/dev") | not))'
	echo secret >"$B/rootfs/dev/null"
	run_sh 'stat -c %t:%T /dev/null; cat /proc/keys | wc -c'
	assert_success
	assert_stdout '1:3
0'
	# No bundle may climb out by its cgroup path or the container id.
	edit '.linux.cgroupsPath = "/a/../../b"'
	run_sh true
	assert_stderr_has 'leads upwards'
	try rt run -b "$B" ../x
	assert_stderr "invalid container id '../x'"
}

@test "runtime: our executable cannot be reached from inside" {
	edit '.process.args = ["/proc/self/exe", "--version"]'
	printf '#!/proc/self/exe\n' >"$B/rootfs/evil"
	chmod +x "$B/rootfs/evil"
	local before
	before=$(sha256sum "$RT")
	sleeper
	try rt exec c1 /evil --version
	try rt exec c1 sh -c 'for p in /proc/[0-9]*; do : >>$p/exe; done' 
	[[ $(sha256sum "$RT") == "$before" ]]
}

@test "runtime: no descriptor of ours leaks, preserved ones arrive" {
	run_sh 'ls /proc/self/fd | wc -l'
	assert_stdout 4
	edit '.process.args = ["sh", "-c", "cat <&4; ls /proc/self/fd | wc -l"]'
	echo hello >"$T/f"
	try rt run --preserve-fds 2 -b "$B" c1 3<"$T/f" 4<"$T/f" 7<"$T/f"
	assert_stdout 'hello
6'
}

@test "runtime: what is not supported is an error that names it" {
	edit '.linux.cgroupsPath = "system.slice:hoy:c1"'
	run_sh true
	assert_stderr_has "cgroupsPath 'system.slice:hoy:c1' is for systemd (use: --systemd-cgroup)"
	edit 'del(.linux.cgroupsPath) | .linux.intelRdt = {closID: "x"}'
	run_sh true
	assert_stderr "linux.intelRdt needs the resctrl file system of a processor that has it, mounted on '/sys/fs/resctrl'"
	[[ ! -e $STATE/c1 ]]
	try rt run --nonsense c1
	assert_stderr "unknown option '--nonsense'"
}

@test "runtime: killed in the middle, everything can be removed" {
	local pid init hook
	edit '.hooks = {prestart: [{path: "/bin/sleep", args: ["sleep", "1000"]}]} | .process.args = ["true"]'
	"$RT" --root "$STATE" create -b "$B" c1 </dev/null >/dev/null 2>&1 3>&- &
	pid=$!
	until_true 5 test -s "$STATE/c1/status"
	init=$(jq .pid "$STATE/c1/status")
	until_true 5 pgrep -P "$pid" -x sleep
	hook=$(pgrep -P "$pid" -x sleep)
	kill -9 "$pid"
	kill "$hook"
	wait "$pid" || true
	# The child dies with its parent.
	until_true 5 sh -c "! kill -0 $init 2>/dev/null"
	rt delete -f c1
	[[ ! -e $STATE/c1 && -z $(find /sys/fs/cgroup -path "*$CG/c") ]]
}

@test "runtime: kill and delete by regular expression; spec with another name; -?" {
	edit '.process.args = ["sleep", "1000"] | .linux.cgroupsPath = null'
	for c in web-1 web-2 db; do rt run -d -b "$B" $c </dev/null >/dev/null 2>&1; done
	rt kill --regex '^web-' KILL
	until_true 5 is web-1 stopped
	until_true 5 is web-2 stopped
	is db running
	# What cannot be deleted is told, the others go.
	try rt delete --regex '.'
	assert_status 1
	assert_stderr "cannot delete container 'db' that is not stopped"
	[[ $(rt list -q) == db ]]
	try rt delete --regex '['
	assert_stderr "invalid regular expression '['"
	rt delete --force --regex 'd.'
	[[ -z $(rt list -q) ]]
	rt spec -b "$B" -f other.json
	[[ $(jq -r .hostname "$B/other.json") == hoy ]]
	try rt delete '-?'
	assert_success
	assert_stdout_has --regex
}

@test "runtime: exec with more groups, in a paused container, in a cgroup below, from a process object that leaves things out" {
	sleeper
	try rt exec -g 7 --additional-gids 8 c1 sh -c 'grep Groups /proc/self/status'
	assert_stdout_like '^Groups:	7 8 ?$'
	try rt exec -g x c1 true
	assert_stderr "option '--additional-gids': 'x' is no group id"
	jq '.process | .args = ["grep", "CapBnd", "/proc/self/status"] | del(.capabilities)' "$B/config.json" >"$T/p"
	try rt exec --process "$T/p" c1
	assert_stdout 'CapBnd:	0000000020000420'
	try rt exec --cgroup /nosuch c1 true
	assert_status 1
	assert_stderr_like "cannot open cgroup '.*/c/nosuch'|cannot open cgroup '.*/c//nosuch'"
	try rt exec --cgroup /../.. c1 true
	assert_stderr_has "is no path below the container's cgroup"
	try rt exec --cgroup nosuch:/ c1 true
	assert_stderr_has "there is no cgroup controller 'nosuch'"
	if v1 pids; then
		mkdir "/sys/fs/cgroup/pids$CG/c/below"
		try rt exec --cgroup pids:/below c1 cat /proc/self/cgroup
		assert_stdout_like 'pids:/below'
		assert_stdout_like 'memory:/
'
	fi
	rt pause c1
	try rt exec c1 true
	assert_stderr "the container 'c1' is paused"
	# It waits with the container.
	background "$RT" --root "$STATE" exec --ignore-paused c1 touch /done </dev/null
	sleep 0.3
	[[ ! -e $B/rootfs/done ]]
	rt resume c1
	until_true 5 test -e "$B/rootfs/done"
}

@test "runtime: ps by ps(1), limits that are Intel's, annotations that cannot be kept" {
	sleeper
	try rt ps c1 -o pid,comm
	assert_success
	assert_stdout_like '^ +PID COMMAND
 *[0-9]+ sleep$'
	try rt ps c1 -o comm
	assert_status 1
	assert_stderr_has 'no column PID'
	try rt update --l3-cache-schema L3:0=f c1
	assert_status 1
	assert_stderr_has 'needs the resctrl file system'
	rt delete -f c1
	edit '.annotations["run.oci.handler"] = "krun"'
	run_sh true
	assert_stderr 'annotation run.oci.handler is not supported'
}

@test "runtime: the pidfd of a container and of an exec goes where it is wanted" {
	edit '.process.args = ["sleep", "1000"]'
	python3 - "$T/sock" "$RT" --root "$STATE" -- "$B" >"$T/pids" <<-'END'
		import array, os, socket, subprocess, sys
		path, rt, bundle = sys.argv[1], sys.argv[2:5], sys.argv[6]
		s = socket.socket(socket.AF_UNIX); s.bind(path); s.listen(1)
		for words in (["run", "-d", "-b", bundle, "--pidfd-socket", path, "c1"], ["exec", "-d", "--pidfd-socket", path, "c1", "sleep", "9"]):
		    p = subprocess.Popen(rt + words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
		    fd = array.array("i"); fd.frombytes(s.accept()[0].recvmsg(100, 100)[1][0][2])
		    assert p.wait() == 0
		    print([l.split()[1] for l in open("/proc/self/fdinfo/%d" % fd[0]) if l.startswith("Pid:")][0])
	END
	diff <(rt ps --format json c1 | jq -c sort) <(jq -sc sort "$T/pids")
}

@test "runtime: memory policy, and CPUs for exec" {
	edit '.linux.memoryPolicy = {mode: "MPOL_BIND", nodes: "0-x"}'
	run_sh true
	assert_stderr "linux.memoryPolicy: '0-x' is no list of nodes"
	edit 'del(.linux.memoryPolicy) | .process.execCPUAffinity = {initial: "0", final: "0"}'
	sleeper
	try rt exec c1 grep Cpus_allowed_list /proc/self/status
	assert_stdout 'Cpus_allowed_list:	0'
	rt delete -f c1
	edit '.process.execCPUAffinity = {final: "5000"}'
	sleeper
	try rt exec c1 true
	assert_stderr "process.execCPUAffinity: '5000' is no list of CPUs"
}

@test "runtime: sysctls belong to the container's own namespaces" {
	local before
	before=$(cat /proc/sys/kernel/core_pattern)
	for name in vm.swappiness kernel.core_pattern net/../kernel/core_pattern net//core/somaxconn .. net/; do
		edit ".linux.sysctl = {\"$name\": \"1\"}"
		run_sh true
		assert_status 1
		assert_stderr_has "the sysctl \`$name\` is no"
	done
	[[ $(cat /proc/sys/kernel/core_pattern) == "$before" ]]
}

@test "runtime: a scope of systemd's, with its limits, and nothing of it after the end" {
	edit '.linux.cgroupsPath = "system.slice:hoy:c1" | .process.args = ["sleep", "1000"] | .annotations["org.systemd.property.TimeoutStopUSec"] = "uint64 7000000" |
		.linux.resources.pids = {limit: 33}'
	jq 'del(.linux.resources.pids)' "$B/config.json" >"$B/v2.json"
	local look='
		rt state c1 | jq -r ".status, .[\"systemd-scope\"]"
		sed -n "s/^1:name=systemd:\|^[0-9]*:name=systemd:\|^0:://p" /proc/$(rt state c1 | jq .pid)/cgroup | sort -u
		systemctl --user show hoy-c1.scope -p Slice,Delegate,TasksMax,TimeoutStopUSec
		rt pause c1; rt state c1 | jq -r .status; rt resume c1
		rt exec c1 echo in
		rt delete -f c1
		systemctl --user is-active hoy-c1.scope || true
		find /sys/fs/cgroup -name "hoy-c1*"'
	if [[ -d /sys/fs/cgroup/systemd ]]; then
		with_systemd hybrid "rt --systemd-cgroup run -d -b $B c1 </dev/null >/dev/null 2>&1; $look"
		assert_stdout "running
hoy-c1.scope
$CG/system.slice/hoy-c1.scope
TimeoutStopUSec=7s
Slice=system.slice
Delegate=yes
TasksMax=33
paused
in
inactive"
	fi
	with_systemd unified "rt --cgroup-manager=systemd run -d -b $B -f v2.json c1 </dev/null >/dev/null 2>&1; $look"
	assert_stdout_like "running
hoy-c1.scope
(/
)?$CG/system.slice/hoy-c1.scope/container
TimeoutStopUSec=7s
Slice=system.slice
Delegate=yes
TasksMax=[0-9]+
paused
in
inactive$"
}

@test "runtime: what systemd refuses, and no systemd at all" {
	edit '.linux.cgroupsPath = "/not/for/systemd"'
	try rt --systemd-cgroup run -b "$B" c1
	assert_status 1
	assert_stderr_has "is not SLICE:PREFIX:NAME"
	edit '.linux.cgroupsPath = "system.slice:hoy:../c1"'
	try rt --systemd-cgroup run -b "$B" c1
	assert_stderr "invalid unit name 'hoy-../c1.scope'"
	edit '.linux.cgroupsPath = "system.slice:hoy:c1"'
	DBUS_SYSTEM_BUS_ADDRESS=unix:path=$T/nobody try rt --systemd-cgroup run -b "$B" c1
	assert_status 1
	assert_stderr "cannot connect to '$T/nobody': No such file or directory"
	edit '.linux.cgroupsPath = "no such slice:hoy:c1"'
	with_systemd unified "rt --systemd-cgroup run -b $B c1"
	assert_status 1
	assert_stderr_has StartTransientUnit
	[[ ! -e $STATE/c1 ]]
	# A bus that talks nonsense.
	python3 - "$T/liar" "$RT" --root "$STATE" --systemd-cgroup run -b "$B" c1 <<-'END'
		import os, socket, subprocess, sys, random
		s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
		os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = "unix:path=" + sys.argv[1]
		random.seed(1)
		for n in range(40):
		    p = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
		    c = s.accept()[0]
		    c.recv(1000)
		    head = bytes([108, random.choice([1, 2, 3, 4]), 0, 1]) + random.choice([0, 8, 1 << 30, 4294967295]).to_bytes(4, "little") + bytes(4) + \
		        random.choice([0, 16, 40, 1 << 31]).to_bytes(4, "little")
		    try:
		        c.sendall(b"OK 0\r\n" if n else b"REJECTED EXTERNAL\r\n")
		        c.sendall(head + random.randbytes(random.randrange(100)))
		    except OSError: pass
		    c.close()
		    assert p.wait(20) == 1, p.returncode
		    assert b"D-Bus" in p.stderr.read()
	END
}

@test "runtime: killed at sixty points of create, start and delete, delete --force cleans up" {
	try kill_points 10 create start delete
	assert_success
	assert_stdout '60 points'
}

@test "runtime: seccomp: a listener decides about system calls, with the state and its own metadata" {
	# The listener: says what it was told, lets mkdir fail with ENOSPC once and go on the second time.
	cat >"$T/listener" <<-'END'
		import array, fcntl, json, os, socket, struct, sys
		s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
		print("ready", flush=True)
		for n in range(int(sys.argv[2])): text, control = s.accept()[0].recvmsg(1 << 20, 100)[:2]
		told = json.loads(text)
		print(told["fds"], told["metadata"], told["state"]["id"], told["state"]["status"], told["pid"] == told["state"]["pid"], os.path.exists("/proc/%d" % told["pid"]), flush=True)
		fd = array.array("i"); fd.frombytes(control[0][2])
		for n in range(2):
		    req = bytearray(80)
		    fcntl.ioctl(fd[0], 0xc0502100, req)
		    id, pid, _, nr = struct.unpack("QIIi", req[:20])
		    print("call", nr, flush=True)
		    fcntl.ioctl(fd[0], 0xc0182101, struct.pack("QqiI", id, 0, 0 if n else -28, 1 if n else 0))
	END
	background python3 "$T/listener" "$T/s" 1 >"$T/told"
	until_true 5 grep -q ready "$T/told"
	edit ".linux.seccomp = {defaultAction: \"SCMP_ACT_ALLOW\", listenerPath: \"$T/s\", listenerMetadata: \"own words\",
		syscalls: [{names: [\"mkdir\"], action: \"SCMP_ACT_NOTIFY\"}]}"
	run_sh 'mkdir /n1; mkdir /n2 && ls -d /n2'
	assert_stdout /n2
	assert_stderr_like "can't create directory '/n1': No space left on device"
	[[ $(cat "$T/told") == "ready
['seccompFd'] own words c1 creating True True
call 83
call 83" ]]
	# A process of exec has a listener of its own.
	rm "$T/s"
	background python3 "$T/listener" "$T/s" 2 >"$T/told2"
	until_true 5 grep -q ready "$T/told2"
	sleeper
	try rt exec c1 sh -c 'mkdir /n3; mkdir /n4; ls -d /n4'
	assert_stdout /n4
	assert_stderr_has 'No space left on device'
	[[ $(sed -n 2p "$T/told2") == "['seccompFd'] own words c1 running False True" ]]
	rt delete -f c1
	edit '.linux.seccomp.listenerPath = "/nobody/there"'
	run_sh true
	assert_status 1
	assert_stderr "cannot connect to '/nobody/there': No such file or directory"
	edit 'del(.linux.seccomp.listenerPath, .linux.seccomp.listenerMetadata)'
	run_sh true
	assert_status 1
	assert_stderr 'linux.seccomp: SCMP_ACT_NOTIFY needs a listenerPath'
	edit '.linux.seccomp.syscalls = [{names: ["write"], action: "SCMP_ACT_NOTIFY"}]'
	run_sh true
	assert_stderr "linux.seccomp: SCMP_ACT_NOTIFY cannot be used for 'write'"
}

@test "runtime: seccomp: every architecture of the specification, every flag" {
	edit '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_ARM", "SCMP_ARCH_AARCH64",
		"SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64"],
		flags: ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
		syscalls: [{names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28}]}'
	run_sh 'mkdir /x'
	assert_stderr_has 'No space left on device'
	for arch in M68K SH SHEB; do
		edit ".linux.seccomp.architectures = [\"SCMP_ARCH_$arch\"]"
		run_sh 'mkdir /x'
		assert_stderr_has 'No space left on device'
	done
	for arch in S390 S390X PPC PPC64 MIPS MIPS64 MIPS64N32 PARISC PARISC64; do
		edit ".linux.seccomp.architectures = [\"SCMP_ARCH_$arch\"]"
		try rt run -b "$B" c1
		assert_status 1
		assert_stderr_has "linux.seccomp: cannot add architecture 'SCMP_ARCH_$arch': "
	done
}

@test "runtime: devices of the host become the container's, as with crun" {
	local rt seen=()
	edit '.linux.netDevices = {hoydev0: {name: "eth7"}, hoydev1: {}} | .process.args = ["sh", "-c", "ip -o link | sed \"s/@[^:]*//; s/link-netnsid [0-9]*//; s/ether .*//\" | cut -d: -f2-; ip -o addr show dev eth7 | grep -v fe80"] | .linux.cgroupsPath = null'
	cp "$B/config.json" "$B/good"
	for rt in crun "$RT"; do
		ip link add hoydev0 mtu 1400 type veth peer name hoydev1
		ip addr add 192.0.2.77/24 dev hoydev0
		ip -6 addr add 2001:db8::77/64 dev hoydev0 nodad
		seen+=("$(cd "$B" && oracle "$rt" --root "$T/net" run c1 </dev/null | sed 's/^ *[0-9]*: //; s/global hoydev0/global eth7/')") # crun keeps the old label
		not ip link show hoydev0
	done
	[[ ${seen[1]} == *192.0.2.77/24*2001:db8::77/64* ]]
	diff <(echo "${seen[0]}") <(echo "${seen[1]}")
	edit '.linux.netDevices = {nosuch0: {}}'
	try rt run -b "$B" c1
	assert_status 1
	assert_stderr "cannot find network device 'nosuch0': No such device"
	for name in a/b .. 'a b' '' aaaaaaaaaaaaaaaa; do
		edit ".linux.netDevices = {lo: {name: \"$name\"}}"
		try rt run -b "$B" c1
		assert_stderr "linux.netDevices: '$name' is no name of a device"
	done
	edit '.linux.netDevices = {lo: {}} | .linux.namespaces |= map(select(.type != "network"))'
	try rt run -b "$B" c1
	assert_stderr 'linux.netDevices requires a network namespace'
	[[ -z $(ls "$STATE") ]]
}
