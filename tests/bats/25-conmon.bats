#!/usr/bin/env bats
# hoy-conmon beside the real conmon: fixtures/monitor drives either as engines do, and what can be seen must be the same.

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
