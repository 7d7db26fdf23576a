#!/usr/bin/env bats
# hoy-conmon beside the real conmon: fixtures/monitor drives either as engines do, and what can be seen must be the same.
# alone: it measures speed and counts wake-ups.

load ../lib/hoy

monitor() { "$HOY_TESTS/fixtures/monitor" "$@"; }

# The same with a socket of our own in place of the journal's.
journal_monitor() {
	unshare -m --propagation private sh -ec '
		mkdir -p /run/systemd
		mount -t tmpfs tmpfs /run/systemd
		mkdir /run/systemd/journal
		mount -t tmpfs tmpfs /run/systemd/journal
		exec "$@"' sh "$HOY_TESTS/fixtures/monitor" "$@"
}

# same [-j] SCENARIO...: both transcripts are equal, and nothing in them was waited for in vain.
same() {
	local with=monitor s
	[[ $1 != -j ]] || { with=journal_monitor; shift; }
	for s; do
		"$with" real "$s" >"$T/real" 2>&1
		"$with" ours "$s" >"$T/ours" 2>&1
		diff -u "$T/real" "$T/ours" || { echo "scenario: $s"; return 1; }
		! grep -E '^(never|Traceback)' "$T/ours" || { echo "scenario: $s"; return 1; }
	done
}

@test "create: sync pipe, exit files, exit command, runtime's arguments, exit status" {
	same create create_old_api create_sync create_sync_plain exit_command_status flags restore pidfile_name
}

@test "a runtime that fails is reported in its own words" {
	same fail fail_sync fail_exit_command exec_fail
}

@test "exec mode: detached, attached, with a terminal, the old protocol" {
	same exec_detached exec_old_api exec_attach exec_tty
}

@test "the start pipe: nothing happens before a byte or its end" {
	same start_pipe start_pipe_closed
}

@test "stdin: half-closed, left open, a client that goes, none at all; several clients" {
	same stdin_half_closed stdin_left_open stdin_client_gone no_stdin two_clients
}

@test "the attach socket's directory" {
	same socket_dir
}

@test "a terminal: sizes by ctl and winsz, also in pieces" {
	same tty winsz
}

@test "timeouts and signals" {
	same timeout exec_timeout signals
}

@test "LISTEN_PID, --exit-delay, --sdnotify-socket" {
	same listen_pid exit_delay sdnotify
}

@test "command lines that are refused" {
	same wrong
}

@test "logs: pieces, drivers, several, limits, opened anew" {
	same log_pieces log_none log_path_alone log_passthrough log_several log_global log_truncated reopen
}

@test "logs: journald" {
	same -j log_journald log_journald_tag log_journald_both log_journald_binary log_journald_long
}

# ours SCENARIO LINE...: these lines are in the transcript of hoy-conmon.
ours() {
	local with=monitor s=$1 line
	[[ $1 != log_labels ]] || with=journal_monitor
	"$with" ours "$s" >"$T/ours" 2>&1
	for line in "${@:2}"; do
		grep -qxF -- "$line" "$T/ours" || { echo "scenario $s, missing: $line"; cat "$T/ours"; return 1; }
	done
	! grep -E '^(never|Traceback)' "$T/ours" || { echo "scenario: $s"; return 1; }
}

@test "logs: rotation loses no line; two files; allowed directories; labels and priorities for the journal" {
	ours rotation "files: ['log', 'log.1', 'log.2', 'log.3']" 'sizes: True' 'all lines in order: True'
	ours rotation_drops "files: ['log', 'log.1', 'log.2']" 'the last ones: True'
	ours log_two_files 'log: "TIME stdout F out\n"' 'log2: "TIME stdout F out\n"'
	ours log_allowed
	[[ $(grep -c 'PID' "$T/ours") == 2 && $(grep -c 'is not below an allowed directory' "$T/ours") == 2 ]]
	ours log_labels
	grep -F "('COLOR', 'red')" "$T/ours" | grep -F "('SIZE_2', 'big')" | grep -F "('MESSAGE', 'careful\n')" | grep -F "('PRIORITY', '4')"
	not grep PARTIAL "$T/ours"
}

@test "hostile labels, tags, arguments and control lines are refused" {
	monitor ours refused >"$T/ours"
	[[ $(wc -l <"$T/ours") == 8 && $(grep -c ': (1, True, 1)$' "$T/ours") == 8 ]] || { cat "$T/ours"; return 1; }
	ours bad_control 'size: True'
}

@test "a killed runtime is a clear error and leaves nothing that is used" {
	ours killed_runtime "left: ['ctl', 'winsz']" 'exit command: "two\nwords here\n"'
	grep "was killed by signal 9" "$T/ours"
}

@test "a hanging client stalls nobody, a slow one that was there first gets all; bytes are whole" {
	ours hanging_client 'at once: True' 'lines: True'
	ours slow_client 'all: True'
	ours binary 'client: True' 'log: True'
}

@test "no wake-ups while nothing happens" {
	ours idle 'woken: 0'
}

@test "speed and memory: nothing lost, no slower than the real one, at most 200 kB" {
	local line who dir
	dir=$(mktemp -d /dev/shm/hoy-conmon-XXXXXX)
	for line in 100 4096; do
		for who in real ours; do
			T=$dir SPEED_LINE=$line SPEED_BYTES=200000000 monitor "$who" speed >"$T/$who"
			rm -rf "${dir:?}"/*
			grep '^{' "$T/$who"
			jq -e .log <(grep '^{' "$T/$who")
		done
		# half of it: other work on the machine must not fail the test
		jq -e --argjson real "$(grep '^{' "$T/real")" '."MB/s" > $real."MB/s" / 2 and .kB <= 200' <(grep '^{' "$T/ours")
	done
	rmdir "$dir"
}
