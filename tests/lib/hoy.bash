# hoy.bash: what every bats file loads (`load ../lib/hoy`).
#
# Each test has a directory of its own, $T, below the test area; HOME and TMPDIR lie in it. After the test
# everything it left is taken away, and a mount, a process or a network namespace that is still there once
# the recorded things have been stopped fails the test.

bats_require_minimum_version 1.5.0

HOY_TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
HOY_TOP=${HOY_TESTS%/*}
HOY_BUILD=${HOY_BUILD:-$HOY_TOP/build/release}
HOY_BIN=${HOY_BIN:-$HOY_BUILD/stage/bin}
export HOY_TESTS HOY_TOP HOY_BUILD HOY_BIN
export HOY_TEST_AREA=${HOY_TEST_AREA:-/var/tmp/hoy-tests}
export LC_ALL=C.UTF-8

setup() { hoy_setup; }
teardown() { hoy_teardown; }

hoy_setup() {
	mkdir -p "$HOY_TEST_AREA"
	T=$(mktemp -d "$HOY_TEST_AREA/t-XXXXXX")
	chmod 755 "$T"
	mkdir -p "$T/home" "$T/tmp" "$T/.hoy/stores"
	netns_before=" $(netns_names) "
	# Whoever inherits this is one of ours.
	export T HOY_TEST_DIR=$T/ HOME=$T/home TMPDIR=$T/tmp
	unset XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_DATA_HOME XDG_CACHE_HOME REGISTRY_AUTH_FILE DBUS_SESSION_BUS_ADDRESS
	unset CONTAINERS_CONF CONTAINERS_STORAGE_CONF CONTAINERS_REGISTRIES_CONF STORAGE_DRIVER STORAGE_OPTS CONTAINER_HOST
	write_configuration
	store_new store
	cd "$T" || return 1
}

# For tools outside of the oracle: this machine may lack CAP_SYS_RESOURCE, and podman 4 has only runc.
write_configuration() {
	cat >"$T/.hoy/podman4.conf" <<-'END'
	[containers]
	pids_limit = 0
	default_ulimits = ["nofile=1024:4096", "nproc=4096:4096"]
	[engine]
	runtime = "runc"
	cgroup_manager = "cgroupfs"
	events_logger = "file"
	END
}

# ---- the tools

# store_new NAME [PODMAN-OPTION...]: an empty store $T/NAME, which `hoy`, `oracle_podman` and `podman4` use from now on.
# Mounts of all three are seen by all (skip_mount_home; see tests/oracle).
store_new() {
	STORE=$T/$1
	ROOT=$STORE/root RUNROOT=$STORE/run
	mkdir -p "$STORE" "$STORE/networks"
	: >"$T/.hoy/stores/$1"
	HOY_OPTS=(--root "$ROOT" --runroot "$RUNROOT" --storage-opt overlay.skip_mount_home=true --network-config-dir "$STORE/networks"
		--tmpdir "$RUNROOT/libpod")
	PODMAN_OPTS=(--root "$ROOT" --runroot "$RUNROOT" --storage-driver overlay
		--storage-opt overlay.skip_mount_home=true --network-config-dir "$STORE/networks" "${@:2}")
	export STORE ROOT RUNROOT
}

oracle() { "$HOY_TESTS/oracle" run -- "$@"; }

# The shell script $1 in the oracle, with the other arguments as its own.
oracle_sh() { oracle sh -c "$1" sh "${@:2}"; }

# The tool NAME as installed, without any option added.
tool() {
	local name=$1
	shift
	[[ -x $HOY_BIN/$name ]] || { echo "the tool '$name' is not in '$HOY_BIN' (run: make install PREFIX=${HOY_BIN%/bin})" >&2; return 125; }
	"$HOY_BIN/$name" "$@"
}

hoy() {
	: >"$STORE/.used-hoy"
	tool hoy "${HOY_OPTS[@]}" "$@"
}

# The same inside the oracle's mount namespace, with sid's crun, conmon and netavark.
hoy_inside() {
	: >"$STORE/.used-hoy"
	oracle "$HOY_BIN/hoy" "${HOY_OPTS[@]}" "$@"
}

oracle_podman() {
	: >"$STORE/.used-podman"
	oracle podman "${PODMAN_OPTS[@]}" --tmpdir "$RUNROOT/libpod" "$@"
}

oracle_buildah() {
	oracle buildah --root "$ROOT" --runroot "$RUNROOT" --storage-driver overlay --storage-opt overlay.skip_mount_home=true "$@"
}

# Debian 12's podman 4.3.1 with runc, outside: the old reader of the store.
podman4() {
	: >"$STORE/.used-podman4"
	CONTAINERS_CONF=$T/.hoy/podman4.conf podman "${PODMAN_OPTS[@]}" --tmpdir "$RUNROOT/libpod4" "$@"
}

# The containers-storage name of IMAGE in the current store, for skopeo and buildah.
storage_name() { printf 'containers-storage:[overlay@%s+%s:overlay.skip_mount_home=true]%s\n' "$ROOT" "$RUNROOT" "$1"; }

# There is one ordinary user: the test that was first has it until it ends. ($$ is bats' process of the test, also in subshells.)
take_user() {
	local link=$HOY_TEST_AREA/user-taken holder
	while
		exec 6>"$link.lock"
		flock 6
		holder=$(readlink "$link") && [[ $holder != "$$" ]] && kill -0 "$holder" 2>/dev/null
	do
		exec 6>&-
		sleep 0.2
	done
	ln -sfn "$$" "$link"
	exec 6>&-
}

# As the ordinary user hoytest, in the oracle; its HOME is made anew and removed with the test.
as_user() {
	local home=$HOY_TEST_AREA/home-hoytest
	[[ -e $T/.hoy/user ]] || {
		take_user
		find "$home" -mindepth 1 -delete
		install -d -o hoytest -g hoytest -m 700 "$home/run"
		: >"$T/.hoy/user"
	}
	"$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR "$@"
}

# ---- fixtures

fixture() { "$HOY_TESTS/fixtures/$1"; }

# The image localhost/NAME:latest (busybox, stack or debian) in the current store, by podman.
have_image() { oracle_podman load -q -i "$(fixture "$1")/docker.tar" >/dev/null; }

# registry_start NAME [OPTION...]: sets REGISTRY (host:port) and REGISTRY_DIR. Stopped after the test.
registry_start() {
	REGISTRY_DIR=$T/registry-$1
	REGISTRY=$("$HOY_TESTS/fixtures/registry" start "$REGISTRY_DIR" "${@:2}") || return 1
	printf '%s\n' "$REGISTRY_DIR" >>"$T/.hoy/registries"
}

# hostile_start NAME CONFIG-JSON: sets HOSTILE (host:port) and HOSTILE_DIR.
hostile_start() {
	local i
	HOSTILE_DIR=$T/hostile-$1
	mkdir -p "$HOSTILE_DIR"
	printf '%s\n' "$2" >"$HOSTILE_DIR/config.json"
	"$HOY_TESTS/fixtures/hostile" serve "$HOSTILE_DIR" "$HOSTILE_DIR/config.json" >"$HOSTILE_DIR/out" 2>&1 3>&- &
	pid_record $!
	for ((i = 0; i < 200; i++)); do
		[[ ! -e $HOSTILE_DIR/host ]] || { read -r HOSTILE <"$HOSTILE_DIR/host"; return 0; }
		sleep 0.05
	done
	cat "$HOSTILE_DIR/out" >&2
	return 1
}

# proxy_start NAME TARGET [DIRECTION:BYTES:TIMES...]: a bad link to TARGET; sets PROXY (host:port) and PROXY_DIR.
proxy_start() {
	PROXY_DIR=$T/proxy-$1
	background "$HOY_TESTS/fixtures/proxy" "$PROXY_DIR" "${@:2}"
	until_true 10 test -e "$PROXY_DIR/host"
	read -r PROXY <"$PROXY_DIR/host"
}

# tokens_start NAME [OPTION...]: a token server (for registry_start ... --token); sets TOKENS_DIR.
tokens_start() {
	TOKENS_DIR=$T/tokens-$1
	background "$HOY_TESTS/fixtures/tokens" "$TOKENS_DIR" "${@:2}"
	until_true 10 test -e "$TOKENS_DIR/host"
}

# keeper_start NAME [PAGE]: a registry that keeps parts of uploads, and with a PAGE has OCI's referrers API; sets KEEPER (host:port) and KEEPER_DIR.
keeper_start() {
	KEEPER_DIR=$T/keeper-$1
	background "$HOY_TESTS/fixtures/keeper" "$KEEPER_DIR" "${@:2}"
	until_true 10 test -e "$KEEPER_DIR/host"
	read -r KEEPER <"$KEEPER_DIR/host"
}

# A process that the test started and that is to be ended after it.
pid_record() { printf '%s %s\n' "$1" "$(start_time "$1")" >>"$T/.hoy/pids"; }

# background COMMAND...: run a server that the end of the test stops. (A function in the background would be a shell that waits for it.)
background() { { exec "$@" 3>&-; } & pid_record $!; }

# net_outside: a remote host, the network namespace $OUTSIDE (192.0.2.2, 2001:db8::2) behind the veth hoy-out
# (192.0.2.1, 2001:db8::1), which has the default route. Only in a network namespace that isn't the machine's own.
net_outside() {
	[[ $(readlink /proc/self/ns/net) != "$(readlink /proc/1/ns/net)" ]] || {
		echo 'net_outside: run this by tests/run, not in the machine'\''s own network namespace' >&2
		return 1
	}
	OUTSIDE=hoy-out-$$
	ip netns add "$OUTSIDE"
	printf '%s\n' "$OUTSIDE" >>"$T/.hoy/own-netns"
	ip link add hoy-out type veth peer name eth0 netns "$OUTSIDE"
	ip addr add 192.0.2.1/24 dev hoy-out
	ip addr add 2001:db8::1/64 dev hoy-out nodad
	ip -n "$OUTSIDE" addr add 192.0.2.2/24 dev eth0
	ip -n "$OUTSIDE" addr add 2001:db8::2/64 dev eth0 nodad
	ip -n "$OUTSIDE" link set lo up
	ip -n "$OUTSIDE" link set eth0 up
	ip link set hoy-out up
	ip route add default via 192.0.2.2
	ip -6 route add default via 2001:db8::2
}

# ---- assertions: after `try COMMAND...`, on $status, $output (stdout alone) and $stderr

try() { run --separate-stderr "$@"; }

# not COMMAND...: it must fail. (`! COMMAND` fails no test, unless it's the last line of it.)
not() { ! "$@"; }

show() {
	printf '%s\n' "$1"
	printf -- '--- status: %s\n--- stdout:\n%s\n--- stderr:\n%s\n' "$status" "$output" "${stderr-}"
	return 1
} >&2

assert_status() { [[ $status == "$1" ]] || show "expected the exit status $1"; }
assert_success() { assert_status 0; }
assert_stdout() { [[ $output == "$1" ]] || show "expected on stdout exactly: $1"; }
assert_stdout_has() { [[ $output == *"$1"* ]] || show "expected somewhere on stdout: $1"; }
assert_stdout_like() { [[ $output =~ $1 ]] || show "expected stdout to match: $1"; }
assert_stderr() { [[ $stderr == "$1" ]] || show "expected on stderr exactly: $1"; }
assert_stderr_has() { [[ $stderr == *"$1"* ]] || show "expected somewhere on stderr: $1"; }
assert_stderr_like() { [[ $stderr =~ $1 ]] || show "expected stderr to match: $1"; }

# Our own errors: status 125 (or $2), nothing on stdout, one line `Error: ...` that holds $1.
assert_error() {
	assert_status "${2:-125}"
	[[ -z $output ]] || show 'expected nothing on stdout'
	[[ $stderr == 'Error: '* && $stderr != *$'\n'* ]] || show 'expected one line "Error: ..." on stderr'
	assert_stderr_has "$1"
}

# until_true SECONDS COMMAND...: once it succeeds, go on; a time-out is a failure.
until_true() {
	local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
	shift
	until "$@"; do
		[[ ${EPOCHREALTIME/./} -lt $end ]] || { echo "still not true: $*" >&2; return 1; }
		sleep 0.05
	done
}

# ---- afterwards

start_time() {
	local stat
	read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
	stat=${stat##*) }
	# shellcheck disable=SC2086
	set -- $stat
	printf '%s\n' "${20}"
}

hoy_teardown() {
	local leaks
	cd /
	[[ -n ${T:-} && -d $T ]] || return 0
	stop_recorded >"$T/.hoy/teardown" 2>&1 || true
	stop_containers >>"$T/.hoy/teardown" 2>&1 || true
	drop_own_netns >>"$T/.hoy/teardown" 2>&1 || true
	# From here on, what we start doesn't look like the test's own.
	export -n T HOY_TEST_DIR HOME TMPDIR STORE ROOT RUNROOT
	unset OLDPWD
	leaks=$(find_leaks) || true
	[[ -z $leaks ]] || leaks+=$(remove_leaks 2>&1) || true
	remove_tree "$T" || leaks+=$'\n'"cannot remove $T"
	[[ -z $leaks ]] || {
		printf 'left behind by the test:\n%s\n' "$leaks" >&2
		return 1
	}
}

# Containers or mounts in the current store, or processes of the test: most tests that used podman leave none, and starting it
# costs more than looking.
podman_has_left_something() {
	local file
	[[ -e $STORE/.used-podman ]] || return 1
	for file in "$ROOT"/*-containers/*containers.json "$RUNROOT"/*-containers/*containers.json "$RUNROOT"/*-layers/mountpoints.json; do
		[[ ! -s $file || $(<"$file") == '[]' ]] || return 0
	done
	[[ -n $(mounts_below) || -n $(processes) ]]
}

# What the engines still run in the test's stores.
stop_containers() {
	local store
	for store in "$T"/.hoy/stores/*; do
		store_new "${store##*/}"
		[[ ! -e $STORE/.used-hoy ]] || timeout 60 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" rm -f -a -t 0
		! podman_has_left_something || oracle_sh '
			for what in "pod rm -f -a -t 0" "rm -f -a -t 0" "umount -a" "image umount -a"; do
				podman "$@" $what
			done' "${PODMAN_OPTS[@]}" --tmpdir "$RUNROOT/libpod"
		[[ ! -e $STORE/.used-podman4 ]] || podman4 rm -f -a -t 0
	done
	[[ ! -e $T/.hoy/user ]] || {
		as_user podman rm -f -a -t 0
		as_user podman system migrate
		end_user_processes
	}
}

# hoytest has no processes but ours: a pause process, pasta.
end_user_processes() {
	local p i
	for i in 15 9; do
		for p in /proc/[0-9]*; do
			[[ $(stat -c %U "$p" 2>/dev/null) != hoytest ]] || kill -"$i" "${p#/proc/}" 2>/dev/null
		done
		sleep 0.2
	done
}

# Is the process PID, which began at START, there, and no zombie?
runs() {
	local stat
	[[ -n $2 && $(start_time "$1") == "$2" ]] || return 1
	read -r stat 2>/dev/null <"/proc/$1/stat" && [[ ${stat##*) } != Z* ]]
}

stop_recorded() {
	local dir pid start i n
	[[ ! -e $T/.hoy/registries ]] || while read -r dir; do
		"$HOY_TESTS/fixtures/registry" stop "$dir"
	done <"$T/.hoy/registries"
	[[ ! -e $T/.hoy/pids ]] || for i in 15 9; do
		while read -r pid start; do
			! runs "$pid" "$start" || kill -"$i" "$pid" 2>/dev/null
		done <"$T/.hoy/pids"
		while read -r pid start; do
			# A second for each signal; they have been sent to all.
			for ((n = 0; n < 50; n++)); do
				runs "$pid" "$start" || break
				sleep 0.02
			done
		done <"$T/.hoy/pids"
	done
}

drop_own_netns() {
	local name
	[[ ! -e $T/.hoy/own-netns ]] || while read -r name; do
		ip netns del "$name"
	done <"$T/.hoy/own-netns"
}

mounts_below() {
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo
}

# Processes of this test: they inherited its directory, name it in their command line, or have a root on one of its mounts.
# (The greps must not find themselves: hence -f.)
processes() {
	local pid
	{
		grep -lszF -f <(echo "$T/") /proc/[0-9]*/environ /proc/[0-9]*/cmdline
		grep -lsE -f <(echo "^[0-9]+ [0-9]+ [0-9:]+ [^ ]+ / .*$T/") /proc/[0-9]*/mountinfo
	} | while IFS=/ read -r _ _ pid _; do
		[[ ! -e /proc/$pid/exe || $pid == "$$" ]] || printf '%s\n' "$pid"
	done | sort -nu
}

find_leaks() {
	local i pids=() pid name
	# What is just ending gets two seconds.
	for ((i = 0; i < 20; i++)); do
		mapfile -t pids < <(processes)
		[[ ${#pids[@]} -gt 0 || -n $(mounts_below) ]] || break
		sleep 0.1
	done
	mounts_below | sed 's/^/mount: /'
	for pid in "${pids[@]}"; do
		# What has ended by now, or only waits to be reaped, is not left behind.
		[[ -n $(start_time "$pid") && $(awk '/^State:/ { print $2 }' "/proc/$pid/status" 2>/dev/null) != Z ]] || continue
		printf 'process: %s %s\n' "$pid" "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)"
	done
	while read -r name; do
		printf 'network namespace: %s\n' "$name"
	done < <(new_netns)
}

netns_names() { (cd /run/netns 2>/dev/null && shopt -s nullglob && echo *); }

# Is it podman's, and of a container of another test's?
others_podman() { [[ $1 == netns-* ]] && grep -qsF "$1" $(ls -d "$HOY_TEST_AREA"/t-*/*/root | grep -vF "$T/" | sed 's,$,/overlay-containers/*/userdata/config.json,'); }

# Those that another test, which runs at the same time, has named after its pid are not ours, nor what its podman has made.
foreign_netns() {
	[[ $netns_before == *" $1 "* ]] || others_podman "$1" ||
		{ [[ $1 =~ -([0-9]+)(-[a-z]+)?$ && ${BASH_REMATCH[1]} != "$$" && -e /proc/${BASH_REMATCH[1]} ]]; }
}

new_netns() {
	local name found=()
	for name in $(netns_names); do
		foreign_netns "$name" || found+=("$name")
	done
	# What another test's podman is about to make, or to take away, is told by waiting.
	[[ ${#found[@]} == 0 ]] || sleep 2
	for name in "${found[@]}"; do
		[[ ! -e /run/netns/$name ]] || foreign_netns "$name" || printf '%s\n' "$name"
	done
}

remove_leaks() {
	local pid name
	while read -r pid; do
		kill -9 "$pid" 2>/dev/null || true
	done < <(processes)
	while read -r name; do
		ip netns del "$name" || true
	done < <(new_netns)
	mounts_below | tac | while read -r name; do
		umount -l "$(printf %b "$name")"
	done
	return 0
}

remove_tree() {
	rm -rf --one-file-system "$1" 2>/dev/null || {
		chattr -R -f -i -a "$1" 2>/dev/null
		rm -rf --one-file-system "$1"
	}
}
