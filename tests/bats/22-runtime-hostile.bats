#!/usr/bin/env bats
# hoy-runtime against hostile images, neighbours and configurations: the holes that runtimes have had, and nonsense.

load ../lib/hoy

setup() {
	hoy_setup
	RT="${HOY_BUILD:?}/hoy-runtime" STATE=$T/state B=$T/bundle CG=/hoy-test-$BASHPID
	mkdir -p "$B/rootfs"
	tar -xf "$(fixture busybox)/rootfs.tar" -C "$B/rootfs"
	rt spec -b "$B"
	edit '.process.terminal = false | .root.readonly = false | .linux.cgroupsPath = "'$CG/c'"'
	core=$(cat /proc/sys/kernel/core_pattern)
}

teardown() {
	rt delete -f --regex . || true
	find /sys/fs/cgroup -depth -path "*$CG*" -type d -exec rmdir {} + || true
	[[ $(cat /proc/sys/kernel/core_pattern) == "$core" ]] || { echo "$core" >/proc/sys/kernel/core_pattern; echo 'core_pattern was changed' >&2; return 1; }
	hoy_teardown
}

rt() { "$RT" --root "$STATE" "$@"; }
edit() { jq "$1" "$B/config.json" >"$B/new" && mv "$B/new" "$B/config.json"; }
run_sh() {
	edit ".process.args = [\"sh\", \"-c\", $(jq -n --arg s "$1" '$s')]"
	try timeout 20 "$RT" --root "$STATE" run -b "$B" c1
}
nothing_left() { [[ -z $(ls "$STATE"; find /sys/fs/cgroup -path "*$CG/*" -type d; pgrep -f "^[^ ]*hoy-runtime.*$STATE"; grep "$T/" /proc/self/mountinfo) ]]; }

# swapper A B: exchange two names until it is ended.
swapper() {
	background python3 - "$1" "$2" <<-'END'
		import ctypes, sys
		libc = ctypes.CDLL(None); a, b = (s.encode() for s in sys.argv[1:3])
		while True: libc.renameat2(-100, a, -100, b, 2)
	END
}

@test "CVE-2019-5736: a container cannot open the runtime's executable for writing" {
	local sum
	sum=$(sha256sum "$RT")
	cat >"$B/rootfs/evil" <<-'END'
		#!/proc/self/exe
	END
	chmod 755 "$B/rootfs/evil"
	edit '.process.args = ["sleep", "1000"] | .process.capabilities |= map_values(. + ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"])'
	rt run -d -b "$B" c1 </dev/null >/dev/null 2>&1
	# Watches from inside for processes that come by, as the exploit does.
	rt exec -d c1 sh -c 'while :; do for p in /proc/[0-9]*; do (: >>$p/exe) 2>/dev/null && echo $p >>/opened; done; done' </dev/null >/dev/null 2>&1
	for _ in 1 2 3 4 5 6 7 8 9 10; do try rt exec c1 /evil; try rt exec c1 true; done
	[[ $(sha256sum "$RT") == "$sum" && ! -e $B/rootfs/opened ]]
	edit '.process.args = ["/evil"]'
	rt delete -f c1
	try rt run -b "$B" c1
	[[ $(sha256sum "$RT") == "$sum" ]]
}

@test "CVE-2024-21626: no working directory and no command by way of a descriptor of ours" {
	mkdir "$B/rootfs/w"
	for ((fd = 0; fd < 24; fd++)); do
		edit ".process.cwd = \"/proc/self/fd/$fd\""
		run_sh 'pwd; ls ../../../../../../etc/shadow /proc/self/cwd/../../../etc/shadow'
		[[ $output != *shadow* ]] || show "fd $fd leads out"
		[[ $status == 0 || $stderr == "chdir to "* || $stderr == *"outside of the container"* || $stderr == "cannot tell the current"* || $stderr == *shadow* ]] ||
			show 'an error that says why'
		edit '.process.cwd = "/"'
		edit ".process.args = [\"/proc/self/fd/$fd/../../../../../../$B/rootfs/bin/busybox\", \"true\"]"
		try rt run -b "$B" c1
		assert_status 1
	done
	ln -s /proc/self/fd/7/ "$B/rootfs/link"
	edit '.process.cwd = "/" | .process.args = ["sleep", "1000"]'
	rt run -d -b "$B" c1 </dev/null >/dev/null 2>&1
	for ((fd = 0; fd < 24; fd++)); do
		try rt exec --cwd "/proc/self/fd/$fd" c1 sh -c 'ls ../../../../../../etc/shadow /proc/self/cwd/../../../etc/shadow'
		[[ $output != *shadow* ]] || show "fd $fd leads out"
	done
	try rt exec --cwd /link c1 ls ../../../etc/shadow
	[[ $output != *shadow* ]]
}

@test "CVE-2021-30465: targets of mounts stay inside, whoever changes links meanwhile" {
	mkdir -p "$T/vol/real" "$T/outside" "$T/src"
	echo data >"$T/src/f"
	ln -s "../../../../../../../../../../../$T/outside" "$T/vol/link"
	edit ".mounts += [{destination: \"/vol\", type: \"bind\", source: \"$T/vol\", options: [\"rbind\"]},
		{destination: \"/vol/link/in\", type: \"bind\", source: \"$T/src\", options: [\"bind\"]}]"
	run_sh 'cat /vol/link/in/f'
	assert_stdout data
	[[ -z $(ls "$T/outside") ]]
	edit '.mounts[-1].destination = "/vol/real/in"'
	swapper "$T/vol/real" "$T/vol/link"
	for _ in {1..60}; do
		run_sh 'cat /vol/*/in/f'
		[[ -z $(ls "$T/outside") ]]
		not grep "$T/outside" /proc/self/mountinfo
	done
}

@test "CVE-2025-31133: what covers a masked path is the null device, whatever the image has in its place" {
	edit '.mounts |= map(select(.destination | startswith("/dev") | not)) | .linux.maskedPaths = ["/proc/keys", "/proc/timer_list"]'
	ln -s /proc/sys/kernel/core_pattern "$B/rootfs/dev/null"
	run_sh 'stat -c %t:%T /dev/null /proc/keys /proc/timer_list; echo x >/proc/keys; cat /proc/sys/kernel/core_pattern'
	assert_success
	assert_stdout "1:3
1:3
1:3
$core"
	# The same while somebody exchanges the two.
	rm "$B/rootfs/dev/null"
	mknod "$B/rootfs/dev/null" c 1 3
	ln -s /proc/sys/kernel/core_pattern "$B/rootfs/dev/evil"
	swapper "$B/rootfs/dev/null" "$B/rootfs/dev/evil"
	for _ in {1..60}; do
		run_sh 'stat -c %t:%T /proc/keys'
		[[ $status == 1 || $output == 1:3 ]] || show 'masked by something else'
	done
}

@test "CVE-2025-52565: the console is mounted on its name, not where a link leads" {
	edit '.mounts |= map(select(.destination != "/dev" and .destination != "/dev/shm" and .destination != "/dev/mqueue")) | .process.terminal = true'
	ln -s /proc/sys/kernel/core_pattern "$B/rootfs/dev/console"
	mkdir -p "$B/rootfs/dev/pts"
	edit '.process.args = ["sh", "-c", "cat /proc/sys/kernel/core_pattern; grep -c core_pattern /proc/self/mountinfo; ls /dev/pts; grep -c /dev/console /proc/self/mountinfo"]'
	try script -qec "$RT --root $STATE run -b $B c1" /dev/null
	[[ ${output//$'\r'/} == *"$core
0"*1 ]] || show 'the link was followed'
	# A ptmx that is no terminal.
	edit '.mounts |= map(select(.destination != "/dev/pts"))'
	echo 0 >"$B/rootfs/dev/pts/ptmx"
	try script -qec "$RT --root $STATE run -b $B c1" /dev/null
	assert_status 1
	assert_stdout_has 'is no pseudo-terminal device'
}

@test "CVE-2025-52881: what is written to procfs is written there, not to a file of the image" {
	mkdir -p "$T/fake/sys/net/ipv4" "$T/fake/self/attr" "$T/fake/thread-self/attr"
	for f in sys/net/ipv4/ip_forward self/attr/exec thread-self/attr/exec self/oom_score_adj self/setgroups self/timens_offsets; do echo untouched >"$T/fake/$f"; done
	ln -s /sys/kernel "$T/fake/1"
	edit ".mounts[0] = {destination: \"/proc\", type: \"bind\", source: \"$T/fake\", options: [\"rbind\"]} |
		.linux.sysctl = {\"net.ipv4.ip_forward\": \"1\"} | .process.oomScoreAdj = 700 | .linux.maskedPaths = [] | .linux.readonlyPaths = [] |
		.process.capabilities |= map_values(. + [\"CAP_SYS_ADMIN\"]) | .process.noNewPrivileges = false"
	run_sh 'cat /proc/sys/net/ipv4/ip_forward; mkdir /p; mount -t proc proc /p; cat /p/sys/net/ipv4/ip_forward /p/self/oom_score_adj'
	assert_success
	assert_stdout 'untouched
1
700'
	[[ $(cat $(find "$T/fake" -type f) | sort -u) == untouched ]]
	# A procfs that is hidden behind a link is refused.
	rm -r "$B/rootfs/proc"
	ln -s /sys "$B/rootfs/proc"
	edit '.mounts[0] = {destination: "/proc", type: "proc", source: "proc"}'
	run_sh true
	assert_stderr "mount target '/proc' of a proc is no directory"
}

@test "root directories whose /proc, /dev, /sys and cgroup are links or files" {
	mkdir "$T/outside"
	for name in proc sys; do
		for to in / /etc "$T/outside" ../../../../../.. loop; do
			rm -rf "$B/rootfs/$name"
			ln -s "$to" "$B/rootfs/$name"
			run_sh true
			assert_status 1
			assert_stderr_like "mount target '/$name' of a (proc|sysfs) is no directory"
			nothing_left
		done
		rm "$B/rootfs/$name"
		echo file >"$B/rootfs/$name"
		run_sh true
		assert_status 1
		rm "$B/rootfs/$name"
		mkdir "$B/rootfs/$name"
	done
	rm -rf "$B/rootfs/dev"
	ln -s ../../../../../..$T/outside "$B/rootfs/dev"
	run_sh 'echo fine >/dev/null; ls -d /dev/null'
	assert_stdout /dev/null
	[[ -z $(ls "$T/outside") ]]
	rm "$B/rootfs/dev"
	ln -s dev "$B/rootfs/dev"
	run_sh true
	assert_status 1
	nothing_left
}

# Every member of config.json, by something of each other type.
@test "configurations with parts of another type or none are refused or run, never worse" {
	edit '.process.args = ["true"] | .hooks = {prestart: [{path: "/bin/true", args: ["t"], env: ["A=1"], timeout: 1}]} |
		.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: [{names: ["mkdir"], action: "SCMP_ACT_ERRNO", args: [{index: 0, value: 1, op: "SCMP_CMP_EQ"}]}]} |
		.linux.devices = [{path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 438}] | .annotations = {a: "b"} | .linux.sysctl = {"net.ipv4.ip_forward": "1"} |
		.linux.resources.pids = {limit: 50} | .process.scheduler = {policy: "SCHED_BATCH", nice: 1} | .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 3}'
	jq -c 'paths as $p | ([1, -1, 1e30, "", "x", "/../..", [], [[]], {}, null, true][] as $v | try setpath($p; $v) catch empty), (try delpaths([$p]) catch empty)' "$B/config.json" |
		sort -u | shuf -n 700 --random-source=<(yes) >"$T/all"
	local n=0 line code
	while read -r line; do
		n=$((n + 1))
		printf '%s' "$line" >"$B/config.json"
		code=0
		timeout 20 "$RT" --root "$STATE" run -b "$B" c1 </dev/null >"$T/out" 2>"$T/err" || code=$?
		[[ $code == 0 || ($code == 1 && -s $T/err) ]] || { echo "status $code: $(cat "$T/err"): $line" >&2; return 1; }
		[[ -z $(ls "$STATE") ]] || { echo "left: $line" >&2; return 1; }
	done <"$T/all"
	[[ $n -gt 600 ]]
	nothing_left
}

@test "configurations that are huge, deep, cut off or no JSON" {
	local good cut # not i, which bats' run has
	good=$(cat "$B/config.json")
	refused() {
		try timeout 20 "$RT" --root "$STATE" run -b "$B" c1
		assert_status 1
		[[ -n $stderr && $stderr != *$'\n'* && ${#stderr} -lt 500 ]] || show 'one line that says why'
		[[ -z $(ls "$STATE" 2>/dev/null) ]]
	}
	for ((cut = 0; cut < ${#good}; cut += 211)); do
		printf "%s" "${good:0:cut}" >"$B/config.json"
		refused
	done
	python3 -c 'print("[" * 200000)' >"$B/config.json"
	refused
	head -c 3000000 /dev/urandom >"$B/config.json"
	refused
	python3 -c 'import sys; sys.stdout.write("{\"ociVersion\": \"1.0.0\", \"x\": \"" + "a" * 40000000 + "\"}")' >"$B/config.json"
	refused
	# Ten megabytes that are nothing but true.
	jq '.annotations = ([range(100000) | {key: "key\(.)", value: ("v" * 80)}] | from_entries) | .process.args = ["true"]' <<<"$good" >"$B/config.json"
	[[ $(stat -c %s "$B/config.json") -gt 9000000 ]]
	try timeout 20 "$RT" --root "$STATE" run -b "$B" c1
	assert_success
	jq '.process.args = ["true"] | .process.env = [range(200000) | "V" + tostring + "=" + tostring]' <<<"$good" >"$B/config.json"
	refused
	jq '.process.args = [range(300000) | tostring]' <<<"$good" >"$B/config.json"
	refused
	jq '.process.args = ["true"] | .process.user.additionalGids = [range(100000)]' <<<"$good" >"$B/config.json"
	refused
	jq '.process.args = ["true"] | .linux.uidMappings = [range(5000) | {containerID: ., hostID: ., size: 1}] | .linux.gidMappings = .linux.uidMappings | .linux.namespaces += [{type: "user"}]' <<<"$good" >"$B/config.json"
	refused
	jq '.process.args = ["true"] | .mounts += [range(3000) | {destination: "/mnt/\(.)/../../../../../x", type: "nonsense"}]' <<<"$good" >"$B/config.json"
	refused
	jq '.process.args = ["true"] | .linux.resources.devices = [range(20000) | {allow: true, type: "z", access: "r"}]' <<<"$good" >"$B/config.json"
	refused
	nothing_left
}

@test "cgroups that cannot be made, written or found" {
	edit '.process.args = ["true"] | .linux.resources.memory = {limit: 1048576000}'
	try unshare -m sh -c 'mount --make-rprivate / && mount -t tmpfs -o ro tmpfs /sys/fs/cgroup && exec "$@"' - "$RT" --root "$STATE" run -b "$B" c1
	assert_status 1
	assert_stderr 'limits were asked for, but no cgroups are mounted'
	[[ -z $(ls "$STATE") ]]
	[[ ! -d /sys/fs/cgroup/unified ]] || {
		try unshare -m sh -c 'mount --make-rprivate / && mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && exec "$@"' - "$RT" --root "$STATE" run -b "$B" c1
		assert_status 1
		assert_stderr "cannot set 'memory.max': the cgroup controller 'memory' is not available"
		try unshare -m sh -c 'mount --make-rprivate / && mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup && mount -o remount,bind,ro /sys/fs/cgroup && exec "$@"' - \
			"$RT" --root "$STATE" run -b "$B" c1
		assert_status 1
		assert_stderr_like "^cannot make cgroup '.*': Read-only file system$"
	}
	nothing_left
	edit '.linux.resources.memory = {limit: "much"} | .linux.resources.hugepageLimits = [{pageSize: "../../x", limit: 1}]'
	try rt run -b "$B" c1
	assert_status 1
	nothing_left
}
