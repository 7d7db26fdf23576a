#!/usr/bin/env bats
# hoy-runtime: what crun and runc have beyond the specification.

load ../lib/hoy
load ../lib/runtime

@test "runtime: personality with flags, offsets of a time namespace by annotation" {
	edit '.linux.personality = {domain: "LINUX32", flags: ["ADDR_NO_RANDOMIZE", "SHORT_INODE"]} | .process.args = ["sh", "-c", "uname -m; cat /proc/self/personality"]'
	try rt run -b "$B" c1
	assert_stdout 'i686
01040008'
	edit '.linux.personality.flags = ["NO_SUCH"]'
	try rt run -b "$B" c1
	assert_status 1
	assert_stderr "linux.personality: unknown flag 'NO_SUCH'"
	edit 'del(.linux.personality) | .linux.namespaces += [{type: "time"}] | .annotations["run.oci.timens_offset"] = "boottime 864000 0"'
	run_sh 'cut -d. -f1 /proc/uptime'
	(($(cut -d. -f1 /proc/uptime) + 863000 < output))
	edit '.annotations["run.oci.timens_offset"] = "sometime 1 2"'
	run_sh true
	assert_status 1
	assert_stderr "annotation run.oci.timens_offset: cannot set 'sometime 1 2': Invalid argument"
}

@test "runtime: cgroup v1's own systemd hierarchy in place of a mount; no delegation on v1" {
	[[ -d /sys/fs/cgroup/systemd ]] || skip 'no cgroup v1'
	edit '.annotations["run.oci.systemd.force_cgroup_v1"] = "/sys/fs/cgroup"'
	run_sh 'ls /sys/fs/cgroup; grep " /sys/fs/cgroup/systemd " /proc/mounts; mkdir /sys/fs/cgroup/systemd/mine && rmdir /sys/fs/cgroup/systemd/mine && echo ok'
	assert_stdout_like '^systemd
cgroup /sys/fs/cgroup/systemd cgroup rw,.*name=systemd.*
ok$'
	edit 'del(.annotations) | .annotations["run.oci.delegate-cgroup"] = "mine"'
	run_sh true
	assert_status 1
	assert_stderr 'annotation run.oci.delegate-cgroup needs cgroup v2 alone'
}

@test "runtime: features name what crun's and runc's do, and an annotation that cannot be kept is an error" {
	local member
	rt features >"$T/ours"
	oracle crun features >"$T/crun"
	oracle runc features >"$T/runc"
	# Each of their members, but for what names themselves and their own libraries.
	for member in crun runc; do
		jq -r '[paths(scalars) | map(select(type == "string"))] | map(join(".")) | unique[]' "$T/$member" | grep -v "\.crun\.\|\.runc\.commit\|\.runc\.version\|annotations" >"$T/wanted"
		jq -r '[paths(scalars) | map(select(type == "string"))] | map(join(".")) | unique[]' "$T/ours" >"$T/have"
		try grep -vxFf "$T/have" "$T/wanted"
		assert_stdout ''
		# And what lists they have: nothing of theirs is missing.
		for list in hooks linux.namespaces linux.capabilities linux.seccomp.actions linux.seccomp.operators linux.seccomp.archs linux.seccomp.supportedFlags linux.memoryPolicy.modes; do
			try jq -c --slurpfile theirs "$T/$member" --arg path "$list" '($theirs[0] | getpath($path / ".") // []) - getpath($path / ".")' "$T/ours"
			assert_stdout '[]'
		done
	done
	[[ $(jq -r '.ociVersionMin + " " + .ociVersionMax' "$T/ours") == '1.0.0 1.3.0' ]]
	for name in run.oci.handler run.oci.seccomp.plugins; do
		edit ".annotations = {\"$name\": \"x\"}"
		run_sh true
		assert_status 1
		assert_stderr "annotation $name is not supported"
	done
}

@test "runtime: an ordinary user needs no user namespace in config.json, and may map more than one id" {
	local look rt seen=()
	take_user
	install -d -o hoytest -g hoytest -m 755 "$T/user" "$T/user/run"
	install -m 755 "$RT" "$T/user/hoy-runtime"
	mv "$B" "$T/user/b" && B=$T/user/b
	look='["sh", "-c", "id -u; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; touch /tmp/f; stat -c %u /tmp/f; awk '"'/NoNewPrivs|CapBnd/'"' /proc/self/status"]'
	edit "del(.linux.cgroupsPath, .linux.resources, .linux.uidMappings, .linux.gidMappings, .process.rlimits) | .process.args = $look | .process.user = {uid: 0, gid: 0} |
		.linux.namespaces |= map(select(.type != \"user\" and .type != \"cgroup\")) | .mounts += [{destination: \"/tmp\", type: \"tmpfs\", source: \"tmpfs\"}]"
	chown -R hoytest:hoytest "$B"
	u() { (cd "$B" && setpriv --reuid hoytest --regid hoytest --clear-groups env -i ${ASAN_OPTIONS:+ASAN_OPTIONS=$ASAN_OPTIONS} HOME="$T/user" XDG_RUNTIME_DIR="$T/user/run" PATH="$PATH" "$T/user/hoy-runtime" "$@"); }
	try u run c1
	assert_success
	assert_stderr ''
	assert_stdout "$("$HOY_TESTS/oracle" run --user hoytest -C "$B" -- crun --root /tmp/hoy-crun-$BASHPID --cgroup-manager=disabled run c1 </dev/null)"
	assert_stdout_like '0 +4711 +1
 +1 +471100000 +65536'
	# A cgroup of root's by that name is none of his.
	local theirs=$(awk '$3 == "cgroup2" {print $2; exit}' /proc/mounts)/c1
	mkdir "$theirs"
	try u run c1
	rmdir "$theirs"
	assert_success
	# All the same in exec, with a user who is not root.
	edit '.process.args = ["sleep", "1000"]'
	u run -d c1 </dev/null >/dev/null 2>&1
	try u exec -u 7:8 c1 sh -c 'id -u; id -g; cat /proc/self/uid_map | wc -l'
	assert_stdout '7
8
2'
	u delete -f c1
	# A mapping of his own, of which newuidmap decides.
	edit '.process.args = ["cat", "/proc/self/uid_map"] | .linux.uidMappings = [{containerID: 0, hostID: 471100000, size: 1000}, {containerID: 1000, hostID: 4711, size: 1}] |
		.linux.gidMappings = .linux.uidMappings'
	chmod -R a+rX "$B"
	try u run c1
	assert_stdout_like '^ +0 +471100000 +1000
 +1000 +4711 +1$'
	edit '.linux.uidMappings[0].hostID = 0'
	try u run c1
	assert_status 1
	assert_stderr_like '^newuidmap: uid range .* not allowed
newuidmap cannot map your ids: check /etc/subuid and /etc/subgid$'
	edit '.linux.uidMappings[0].hostID = 99999999999'
	try u run c1
	assert_stderr 'linux.uidMappings: there is no id 99999999999'
	[[ -z $(ls "$T/user/run/hoy-runtime" | grep -v seccomp) ]]
}

@test "runtime: mounts are added to a running container, and taken away" {
	local userns ids
	mkdir "$T/d" && echo file >"$T/d/f" && mkdir "$T/d/sub" && mount -t tmpfs tmpfs "$T/d/sub" && touch "$T/d/sub/g"
	for userns in false true; do
		if $userns; then
			chown -R 100000:100000 "$B/rootfs" && chmod -R a+rX "$B"
			ids='[{containerID: 0, hostID: 100000, size: 65536}]'
			edit ".linux.namespaces += [{type: \"user\"}] | .linux.uidMappings = $ids | .linux.gidMappings = $ids | .mounts |= map(select(.type != \"cgroup\"))"
		fi
		sleeper
		rt exec c1 sh -c 'mkdir -p /old; echo below >/old/b; rm -f /link; ln -s /proc /link'
		cat >"$T/m" <<-JSON
			[{"destination": "/new/dir", "type": "bind", "source": "$T/d", "options": ["rbind", "rro", "nosuid"]}, {"destination": "/new/file", "type": "bind", "source": "$T/d/f", "options": ["bind"]},
			 {"destination": "/old", "type": "tmpfs", "source": "mine", "options": ["size=64k", "mode=1770", "tmpcopyup", "noexec"]}, {"destination": "/old/in", "type": "tmpfs", "options": ["ro"]}]
		JSON
		rt mounts add c1 "$T/m"
		try rt exec c1 sh -c 'cat /new/file /new/dir/f /old/b; ls /new/dir/sub; touch /new/dir/x /new/dir/sub/x; stat -c "%a %u" /old; touch /old/y; touch /old/in/z; grep -e " /new" -e " /old" /proc/mounts | cut -d" " -f1-4 | sed "s/,relatime.*//; s/^[^ ]* //"'
		assert_stdout_like '^file
file
below
g
755 0
/new/dir [a-z0-9]+ ro,nosuid
/new/dir/sub tmpfs ro(,nosuid)?
/new/file [a-z0-9]+ rw
/old tmpfs rw,noexec
/old/in tmpfs ro$'
		rt mounts remove c1 "$T/m"
		try rt exec c1 sh -c 'grep -c -e " /new" -e " /old" /proc/mounts; cat /old/b; ls /new/dir'
		assert_stdout '0
below'
		try rt mounts remove c1 "$T/m"
		assert_status 1
		assert_stderr "cannot unmount '/old/in': No such file or directory"
		echo '[{"destination": "/link/kcore"}]' >"$T/bad"
		try rt mounts remove c1 "$T/bad"
		assert_stderr "cannot unmount '/link/kcore': Too many levels of symbolic links"
		for type in proc cgroup; do
			echo "[{\"destination\": \"/x\", \"type\": \"$type\"}]" >"$T/bad"
			try rt mounts add c1 "$T/bad"
			assert_stderr "a mount of type '$type' cannot be added to a running container"
		done
		rt delete -f c1
	done
	echo '{}' >"$T/bad"
	sleeper
	try rt mounts add c1 "$T/bad"
	assert_stderr "'$T/bad' is no array of mounts"
	try rt mounts move c1 "$T/bad"
	assert_stderr "unknown command 'move' (use: add or remove)"
	rt kill c1 KILL
	until_true 5 is c1 stopped
	try rt mounts add c1 "$T/m"
	assert_stderr "container 'c1' is not running"
	umount "$T/d/sub"
}

@test "runtime: events: what runc tells, and that memory ran out" {
	v1 memory || skip 'no cgroup v1'
	edit 'del(.process.rlimits) | .linux.resources.memory = {limit: 67108864} | .linux.resources.pids = {limit: 9} | .process.args = ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; dd if=/dev/zero of=/dev/null bs=200M count=1; sleep 1000"]'
	rt run -d -b "$B" c1 </dev/null >/dev/null 2>&1
	rt events --stats c1 >"$T/ours"
	[[ $(jq -c '[.type, .id, .data.memory.usage.limit, .data.pids.limit, .data.pids.current > 0, .data.cpu.usage.total > 0]' "$T/ours") == '["stats","c1",67108864,9,true,true]' ]]
	edit ".linux.cgroupsPath = \"$CG/r\""
	# The members of runc's, but for those of its value 0, which it leaves out.
	"$HOY_TESTS/oracle" run --v1 -C "$B" -- runc --root "$T/runc" run -d r1 </dev/null >/dev/null 2>"$T/e" || { cat "$T/e" >&2; false; }
	"$HOY_TESTS/oracle" run --v1 -- runc --root "$T/runc" events --stats r1 >"$T/theirs"
	"$HOY_TESTS/oracle" run --v1 -- runc --root "$T/runc" delete -f r1
	names() { jq -c '[paths | map(select(type == "string")) | join(".")] | unique[]' "$1" | grep -v 'data.cpu.throttling\|data.memory.cache\|\.max"\|\.usage"\|ioServic'; }
	diff <(names "$T/theirs") <(names "$T/ours")
	[[ $(jq -c '.data.cpuset, (.data.memory.raw | keys)' "$T/ours") == "$(jq -c '.data.cpuset, (.data.memory.raw | keys)' "$T/theirs")" ]]
	background "$RT" --root "$STATE" events --interval 200ms c1 >"$T/events"
	until_true 5 grep -q '"stats"' "$T/events"
	touch "$B/rootfs/go"
	until_true 10 grep -qx '{"type":"oom","id":"c1"}' "$T/events"
	rt delete -f c1
	until_true 5 eval "! pgrep -f 'hoy-runtime.*$STATE events'"
	jq -e . "$T/events" >/dev/null
	try rt events --interval 0s c1
	assert_stderr "option '--interval': '0s' is no duration greater than 0"
	try rt events c1
	assert_stderr_like "^container 'c1' does not exist"
}

@test "runtime: the host's /dev/null as stdio is the container's" {
	edit '.process.args = ["sleep", "1000"]'
	rt run -d -b "$B" c1 </dev/null >/dev/null 2>&1
	try rt exec c1 sh -c 'for p in 1 self; do stat -L -c "%d %t:%T" /proc/$p/fd/0; done; stat -c "%d %t:%T" /dev/null; sed -n "s/^flags:[ 	]*//p" /proc/1/fdinfo/0' </dev/null
	[[ $(sort -u <<<"${output%$'\n'*}" | wc -l) == 1 ]]
	assert_stdout_like '1:3
0[0-9]*2$'
	rt delete -f c1
	# A container that has something else there keeps what it was given.
	edit '.mounts += [{destination: "/dev/null", type: "bind", source: "/etc/hostname", options: ["bind", "ro"]}] | del(.linux.maskedPaths) | .process.args = ["stat", "-L", "-c", "%t:%T", "/proc/self/fd/0"]'
	try rt run -b "$B" c1 </dev/null
	assert_stdout 1:3
}
