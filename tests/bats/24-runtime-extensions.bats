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
