#!/usr/bin/env bats
# make faults: what tests/bats/20-runtime.bats does at sixty points, at all of them.

load ../lib/hoy
load ../lib/runtime

@test "runtime: killed at every point of all that changes a container, delete --force cleans up" {
	echo '[{"destination": "/x", "type": "tmpfs"}, {"destination": "/y", "type": "bind", "source": "/etc"}]' >"$B/mounts"
	try kill_points all create run start exec pause resume mounts delete
	echo "# $output" >&3
	assert_success
}
