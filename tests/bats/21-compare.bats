#!/usr/bin/env bats
# The same bundles with crun, runc and hoy-runtime: what their processes see. The rows are in tests/compare/table.

load ../lib/hoy

@test "compare: what a process sees is what crun shows it, or the table says why not" {
	try "$HOY_TESTS/compare/run"
	[[ $status == 0 ]] || grep -v '^ok' <<<"$output" >&2
	assert_success
	assert_stdout_like '# (2[5-9]|[3-9][0-9])[0-9] rows, 0 not as they should be$'
}
