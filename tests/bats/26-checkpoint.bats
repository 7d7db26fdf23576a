#!/usr/bin/env bats
# hoy-runtime: checkpoint and restore, by the real CRIU.

load ../lib/hoy
load ../lib/runtime

setup_file() { "${BATS_TEST_DIRNAME}/../fixtures/criu" >/dev/null; }

with_criu() {
	export PATH
	PATH=$(fixture criu):$PATH
	criu check >/dev/null 2>&1 || skip 'CRIU cannot work on this kernel'
}

# A container c1 that counts in /count: a link, since a file that is open for writing right then would have to be there at each return.
counter() {
	edit '.process.args = ["sh", "-c", "i=0; while :; do i=$((i+1)); ln -sfn $i /count; sleep 0.05; done"]'
	rt run -d -b "$B" c1 </dev/null >/dev/null 2>&1
	until_true 5 test -L "$B/rootfs/count"
}
count() { readlink "$B/rootfs/count" || echo 0; }
counts_on() { local before; before=$(count); until_true 5 eval "[[ \$(count) -gt $before ]]"; }
bring_back() { rt restore -d -b "$B" --image-path "$T/img" "$@" c1 </dev/null >/dev/null 2>"$T/err" || { cat "$T/err" >&2; grep Error "$T/img/restore.log" >&2; return 1; }; }

@test "checkpoint: a container goes, or stays, and comes back as it was" {
	local before
	with_criu
	echo on the host >"$T/f"
	mkdir "$T/d"
	edit ".mounts += [{destination: \"/tmp\", type: \"tmpfs\", source: \"tmpfs\", options: [\"mode=1777\"]}, {destination: \"/in/file\", type: \"bind\", source: \"$T/f\", options: [\"bind\"]},
		{destination: \"/dir\", type: \"bind\", source: \"$T/d\", options: [\"rbind\", \"ro\"]}] | .hostname = \"counts\" | .linux.resources.pids = {limit: 77}"
	counter
	rt exec c1 sh -c 'echo kept >/tmp/x; hostname changed' 2>/dev/null || true
	rt checkpoint --image-path "$T/img" --work-path "$T/work" --leave-running c1
	is c1 running
	[[ -s $T/work/dump.log && ! -e $T/img/dump.log && $(jq length "$T/img/descriptors.json") == 3 ]]
	counts_on
	rm -rf "$T/img"
	rt checkpoint --image-path "$T/img" c1
	[[ ! -e $STATE/c1 && -z $(find /sys/fs/cgroup -path "*$CG/c") ]]
	before=$(count)
	sleep 0.2
	[[ $(count) == "$before" ]]
	bring_back --pid-file "$T/pid"
	is c1 running
	[[ $(rt state c1 | jq .pid) == "$(<"$T/pid")" ]]
	until_true 5 eval "[[ \$(count) -gt $before ]]"
	(($(count) < before + 1000)) # not from the beginning
	try rt exec c1 sh -c 'cat /tmp/x /in/file; hostname; touch /dir/x; echo $$; cat /proc/kcore | wc -c; ls /proc/scsi; grep -c . /proc/1/cgroup >/dev/null && cat /proc/self/mountinfo | grep -c " /dir ro"'
	assert_stdout_like '^kept
on the host
counts
[0-9]+
0
1$'
	if v1 pids; then [[ $(<"/sys/fs/cgroup/pids$CG/c/pids.max") == 77 && $(<"/sys/fs/cgroup/pids$CG/c/cgroup.procs") == *$(<"$T/pid")* ]]; fi
	rt pause c1
	is c1 paused
	rt resume c1
	rt delete -f c1
	# What CRIU does not like about it, in its own words.
	mv "$B/rootfs/bin" "$B/rootfs/nib"
	try rt restore -d -b "$B" --image-path "$T/img" c1
	mv "$B/rootfs/nib" "$B/rootfs/bin"
	assert_status 1
	assert_stderr_like "^cannot restore container 'c1': criu failed: .*(bin|sh).*: No such file or directory \(see: $T/img/restore.log\)$"
	# As often as one likes, and with CRIU's other ways with cgroups.
	for mode in ignore full strict soft; do
		rm -f "$B/rootfs/count"
		bring_back --manage-cgroups-mode "$mode"
		until_true 5 test -L "$B/rootfs/count"
		[[ $(grep -c ":$CG/c" "/proc/$(rt state c1 | jq .pid)/cgroup") -gt 0 ]]
		rt delete -f c1
		[[ -z $(find /sys/fs/cgroup -path "*$CG/c") ]]
	done
	[[ -z $(ls "$STATE") ]]
	not grep "$T" /proc/self/mountinfo
}

@test "checkpoint: pipes are connected anew, and restore in the foreground ends with the program's status" {
	with_criu
	edit '.process.args = ["sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; echo out; echo err >&2; exit 7"]'
	rt run -b "$B" c1 </dev/null 2> >(cat >"$T/e1") | cat >"$T/o1" &
	until_true 5 is c1 running
	sleep 0.3
	rt checkpoint --image-path "$T/img" c1
	wait $! || true
	[[ ! -s $T/o1 ]]
	touch "$B/rootfs/go"
	rt restore -b "$B" --image-path "$T/img" c1 </dev/null 2> >(cat >"$T/e2") | { cat >"$T/o2"; } || true
	[[ $(<"$T/o2") == out ]]
	until_true 5 grep -qx err "$T/e2"
	status=0
	rt restore -b "$B" --image-path "$T/img" c1 </dev/null 2> >(cat >"$T/e3") > >(cat >"$T/o3") || status=$?
	[[ $status == 7 && -z $(ls "$STATE") ]]
}

@test "checkpoint: with a user namespace, in a network namespace of somebody else's, with a terminal" {
	local ns
	with_criu
	chmod -R a+rX "$B" && chown -R 100000:100000 "$B/rootfs"
	edit '.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings |
		.mounts |= map(select(.type != "cgroup"))'
	counter
	rt checkpoint --image-path "$T/img" c1
	bring_back
	counts_on
	[[ $(rt exec c1 sh -c 'id -u; awk "{ print \$2 }" /proc/self/uid_map' | tr '\n' ' ') == '0 100000 ' ]]
	rt delete -f c1
	rm -rf "$T/img"

	chown -R 0:0 "$B/rootfs"
	rm "$B/rootfs/count"
	ns=hoy-cr-$BASHPID
	ip netns add "$ns" && echo "$ns" >>"$T/.hoy/own-netns"
	edit "del(.linux.uidMappings, .linux.gidMappings) | .linux.namespaces |= map(select(.type != \"user\") | if .type == \"network\" then .path = \"/run/netns/$ns\" else . end)"
	counter
	rt checkpoint --image-path "$T/img" c1
	bring_back
	counts_on
	[[ $(readlink "/proc/$(rt state c1 | jq .pid)/ns/net") == "net:[$(stat -Lc %i "/run/netns/$ns")]" ]]
	rt delete -f c1
	rm -rf "$T/img"

	edit '.process.terminal = true | .process.args = ["sh", "-c", "read x; echo got $x; tty; sleep 100"]'
	cat >"$T/console" <<-'PY'
		import array, os, socket, sys, time
		s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(1)
		print("ready", flush=True)
		c = s.accept()[0]
		fd = array.array("i"); fd.frombytes(c.recvmsg(100, 100)[1][0][2])
		if len(sys.argv) > 2: os.write(fd[0], sys.argv[2].encode() + b"\n")
		while True:
		    try: print(os.read(fd[0], 1000).decode().strip(), flush=True)
		    except OSError: break
		time.sleep(1000)
	PY
	background python3 "$T/console" "$T/s1" >"$T/c1"
	until_true 5 grep -q ready "$T/c1"
	rt run -d -b "$B" --console-socket "$T/s1" c1 </dev/null
	rt checkpoint --image-path "$T/img" c1
	background python3 "$T/console" "$T/s2" again >"$T/c2"
	until_true 5 grep -q ready "$T/c2"
	bring_back --console-socket "$T/s2"
	until_true 5 grep -q 'got again' "$T/c2"
	until_true 5 grep -q '/dev/pts/0' "$T/c2"
	rt delete -f c1
}

@test "checkpoint: what cannot be done is told, and nothing is left" {
	local n
	counter
	try rt checkpoint --image-path "$T/img" c1
	assert_status 1
	assert_stderr_like "^cannot checkpoint container 'c1': there is no criu, which checkpoints take \(run: apt-get install criu\) \(see: $T/img/dump.log\)$"
	try rt checkpoint c1
	assert_stderr "option '--image-path' is missing"
	try rt checkpoint --image-path "$T/img" --manage-cgroups-mode some c1
	assert_stderr "unknown cgroup mode 'some' (use: soft, ignore, full or strict)"
	try rt checkpoint --image-path "$T/img" --network-lock some c1
	assert_stderr "unknown network lock 'some' (use: iptables, nftables or skip)"
	try rt checkpoint --image-path "$T/img" --parent-path /abs c1
	assert_stderr "option '--parent-path' must be relative to '--image-path'"
	try rt checkpoint --image-path "$T/img" --parent-path ../none c1
	assert_stderr "option '--parent-path': '$T/img/../none' is no directory"
	try rt checkpoint --image-path "$T/img" --page-server nowhere c1
	assert_stderr "option '--page-server': 'nowhere' is not ADDRESS:PORT"
	try rt restore --image-path "$T/none" -b "$B" c2
	assert_status 1
	assert_stderr "cannot open directory '$T/none': No such file or directory"
	try rt restore --image-path "$T/img" -b "$B" c1
	assert_stderr "container 'c1' already exists"
	counts_on
	# One that says no, one that says nothing, one that talks nonsense.
	mkdir "$T/bin"
	cat >"$T/bin/criu" <<-'PY'
		#!/usr/bin/python3
		import os, random, socket, sys
		s = socket.socket(fileno=int(sys.argv[2])); s.recv(1 << 20)
		n = int(os.environ["SAY"])
		random.seed(n)
		if n == 1: s.send(bytes([8, 1, 16, 0, 56, 1, 74, 4]) + b"not\n")
		elif n > 2: s.send(random.randbytes(random.randrange(1, 60)) if n % 2 else bytes([8, 1, 16, 1, 34]) + random.randbytes(random.randrange(1, 8)))
	PY
	chmod 755 "$T/bin/criu"
	PATH=$T/bin:$PATH SAY=1 try rt checkpoint --image-path "$T/img" c1
	assert_status 1
	assert_stderr "cannot checkpoint container 'c1': criu failed: not: Operation not permitted (see: $T/img/dump.log)"
	PATH=$T/bin:$PATH SAY=2 try rt checkpoint --image-path "$T/img" c1
	assert_stderr_like "^cannot checkpoint container 'c1': criu did not answer: "
	echo '["", "", ""]' >"$T/img/descriptors.json"
	for ((n = 3; n < 30; n++)); do
		PATH=$T/bin:$PATH SAY=$n try rt restore --image-path "$T/img" -b "$B" c2
		assert_status 1
		[[ $stderr == "cannot restore container 'c2': "* && ! -e $STATE/c2 ]]
	done
	is c1 running
	if [[ ! -e /proc/sys/kernel/soft_dirty ]] && (with_criu; ! criu check --feature mem_dirty_track >/dev/null 2>&1); then
		PATH=$(fixture criu):$PATH try rt checkpoint --image-path "$T/img" --pre-dump c1
		assert_status 1
		assert_stderr 'the kernel does not track changed memory, which --pre-dump and --parent-path take'
	fi
	rt kill c1 KILL
	until_true 5 is c1 stopped
	try rt checkpoint --image-path "$T/img" c1
	assert_stderr "container 'c1' is stopped, not running"
}
