#!/usr/bin/env bats
# What fuzzing once found, and its seeds, under ASan and UBSan.

load ../lib/hoy

@test "saved inputs of all fuzzers" {
	run "$HOY_TESTS/fuzz/run" --corpus
	assert_status 0
}
