#!/usr/bin/env bats
# build: whole projects as people have them, on a real Debian: podman and hoy build each of tests/projects; trees, settings and
# histories are compared line by line, and what hoy built runs under podman. A project's Containerfile says in comments:
#   # options: OPTION...   more options of build; $PROJECT is the context
#   # packages: yes        the build context "packages": a repository of the fixture toolchain
#   # ssh: yes             a key is given as --ssh
#   # network: mirror      RUN reaches the machine's own Debian mirror
#   # command: WORD...     what its image is run with
#   # says: TEXT           what it then prints
# projects/differences has what may differ, a line each: PROJECT EXPRESSION: REASON; one that isn't needed fails.

load ../lib/hoy
load ../lib/build

projects=$HOY_TESTS/projects
answers=${HOY_FIXTURES:-/var/cache/hoy/fixtures}/projects

said() { sed -n "s/^# $2: //p" "$projects/$1/Containerfile"; }

# The context of project $1 as $1.ctx, whatever the umask and the times of a checkout are; its own options in $options.
prepare() {
	local more
	mkdir -p "$1.ctx"
	tar -C "$projects/$1" -cf - . | tar -C "$1.ctx" --no-same-owner -xf -
	chmod -R u=rwX,go=rX "$1.ctx"
	find "$1.ctx" -exec touch -h -d '2020-01-02 03:04:05' {} +
	PROJECT=$T/$1.ctx
	more=$(said "$1" options)
	eval "options=($more)"
	[[ $more == *--network* ]] || options+=(--network none)
	[[ -z $(said "$1" packages) ]] || options+=(--build-context "packages=$(fixture toolchain)/packages")
	[[ -z $(said "$1" ssh) ]] || { [[ -e $T/key ]] || ssh-keygen -q -t ed25519 -N '' -C hoy -f "$T/key"; options+=(--ssh "default=$T/key"); }
}

# The whole tree of the image $2, as $1 mounts it: as tree() of lib/build, but that the contents of files that are the base's own inodes, unchanged
# since, aren't read again.
whole_tree() {
	local dir
	dir=$("$1" image mount "$2")
	(
		cd "$dir"
		find . -mindepth 1 -printf '%P %y %m %U:%G %l %n\n' | sort
		find . -type f -newermt 2019-12-31 ! -newermt 2021-01-01 -printf '%P %T@\n' | sort
		getfattr -R -P -d -m 'user|capability' . 2>/dev/null
		find . -type f -printf '%P/%i/%C@\0' | sort -z | comm -z -13 "$T/base.inodes" - | sed -z 's,/[^/]*/[^/]*$,,' | xargs -0 sha256sum --
	)
	"$1" image umount "$2" >/dev/null
}

# The bases, in the store; what inodes they have.
have_bases() {
	local dir
	export HOY_TEST_SECRET=env-hush-hush
	hoy load -q -i "$(fixture busybox)/docker.tar" >/dev/null
	hoy load -q -i "$(fixture toolchain)/docker.tar" >/dev/null
	dir=$(hoy image mount toolchain)
	find "$dir" -type f -printf '%P/%i/%C@\0' | sort -z >base.inodes
	hoy image umount toolchain >/dev/null
}

# What podman makes of project $1 depends on: itself, the bases, the context, how it is called and looked at.
key() {
	{
		cat "$("$HOY_TESTS/oracle" path)/.hoy-oracle" "$(fixture toolchain)/digest" "$(fixture busybox)/docker.tar"
		tar --format=gnu --sort=name --numeric-owner -C "$1.ctx" -cf - .
		declare -f whole_tree settings prepare podman_builds
	} | sha256sum | cut -d' ' -f1
}

podman_builds() {
	"${enter[@]}" "$HOY_TESTS/oracle" run -- podman "${PODMAN_OPTS[@]}" --tmpdir "$RUNROOT/libpod" build -q --no-cache "${options[@]}" -t "theirs-$1" "$1.ctx" >/dev/null 2>"$1.err" ||
		{ cat "$1.err"; return 1; }
	{ settings oracle_podman "theirs-$1"; whole_tree oracle_podman "theirs-$1"; } >"$1.theirs"
}

# podman's answer about project $1, in $1.theirs: kept, but where it depends on what the mirror has.
ask_podman() {
	local kept
	: >"$STORE/.used-podman"
	[[ -z $(said "$1" network) ]] || { podman_builds "$1"; return; }
	kept=$answers/$1-$(key "$1")
	mkdir -p "$answers"
	[[ -s $kept ]] || {
		podman_builds "$1" || return 1
		rm -f "$answers/$1"-*
		cp "$1.theirs" "$kept.new" && mv "$kept.new" "$kept"
	}
	cp "$kept" "$1.theirs"
}

# Takes out of both answers what the differences name.
excuse() {
	local name pattern reason failed=0
	while read -r name pattern reason; do
		[[ $name == "$1" ]] || continue
		pattern=${pattern%:}
		! cmp -s <(grep -E "$pattern" "$1.theirs") <(grep -E "$pattern" "$1.ours") || { echo "$1: '$pattern' is the same: it needs no excuse"; failed=1; }
		grep -vE "$pattern" "$1.theirs" >"$1.rest" && mv "$1.rest" "$1.theirs"
		grep -vE "$pattern" "$1.ours" >"$1.rest" && mv "$1.rest" "$1.ours"
	done <"$projects/differences"
	return $failed
}

# The project $1: built by both, the same; and it does what it is for. Prints what is wrong.
project() {
	local options command out
	prepare "$1"
	ask_podman "$1" || { echo "$1: podman doesn't build it"; return 1; }
	: >"$STORE/.used-hoy"
	"${enter[@]}" "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --no-cache "${options[@]}" -t "ours-$1" "$1.ctx" >/dev/null 2>"$1.err" || { echo "$1: $(<"$1.err")"; return 1; }
	{ settings hoy "ours-$1"; whole_tree hoy "ours-$1"; } >"$1.ours"
	excuse "$1" || return 1
	diff "$1.theirs" "$1.ours" >difference || { echo "--- $1:"; head -n 40 difference; return 1; }
	read -ra command <<<"$(said "$1" command)"
	out=$(oracle_podman run --rm --network none "ours-$1" "${command[@]}" 2>"$1.err") || { echo "$1: podman run: $(<"$1.err")"; return 1; }
	[[ $out == *"$(said "$1" says)"* ]] || { echo "$1 says: $out"; return 1; }
}

# all_projects NAME...: those that fail are told at the end, too.
all_projects() {
	local name failed=()
	enter=()
	have_bases
	for name; do
		project "$name" || failed+=("$name")
	done
	[[ ${#failed[@]} == 0 ]] || { echo "failed: ${failed[*]}"; return 1; }
}

@test "C: make, autotools, static, a compiler's cache" { all_projects c-static c-autotools compile-cache redis-like distroless; }
@test "python and node: virtual environments, bundles, an ordinary user" { all_projects python-venv python-compiled node-app onbuild-template healthcheck-service; }
@test "packages: apt with cache mounts, dpkg; heredocs, locales" { all_projects apt-cache-mounts tini-init heredoc-scripts locales; }
@test "users, capabilities, links, holes, long and odd names; as well-known images are" { all_projects system-files nginx-like postgres-like wordpress-like devcontainer; }
@test "platforms, labels, ignored files, secrets, ssh, targets, flags of COPY" { all_projects platforms oci-labels ignore-monorepo secrets ssh-key ci-targets copy-kitchen; }

# The network namespace of who began the tests, which may reach what theirs doesn't: that of the first ancestor that has another one.
outer_netns() {
	local pid=$$ own
	own=$(readlink /proc/self/ns/net)
	while [[ $pid -gt 1 ]]; do
		[[ $(readlink "/proc/$pid/ns/net") == "$own" ]] || { echo "/proc/$pid/ns/net"; return; }
		pid=$(awk '/^PPid:/ { print $2 }' "/proc/$pid/status")
	done
	echo /proc/self/ns/net
}

@test "apt-get in RUN, from the machine's own mirror" {
	have_bases
	enter=(nsenter --net="$(outer_netns)" --)
	"${enter[@]}" curl -sfI -m 10 "$(<"$(fixture toolchain)/mirror")" >/dev/null || skip "the mirror of the machine's own packages is not reachable"
	project apt-mirror || return 1
}

@test "what hoy built is pushed by skopeo and pulled by podman" {
	local name id options
	have_bases
	registry_start r
	for name in c-static oci-labels nginx-like; do
		prepare "$name"
		id=$(hoy build -q "${options[@]}" -t "$name" "$name.ctx")
		oracle skopeo copy -q --dest-tls-verify=false "$(storage_name "localhost/$name:latest")" "docker://$REGISTRY/$name:1"
		[[ $(oracle skopeo inspect --tls-verify=false --raw "docker://$REGISTRY/$name:1" | jq -r .config.digest) == "sha256:$id" ]]
		oracle_podman rmi -f "$name" >/dev/null
		[[ $(oracle_podman pull -q --tls-verify=false "$REGISTRY/$name:1") == "$id" ]]
		[[ $(oracle_podman run --rm --network none "$REGISTRY/$name:1") == *"$(said "$name" says)"* ]]
	done
}

@test "the projects are many, each is built, and their excuses are about them" {
	local name expression reason
	[[ $(find "$projects" -mindepth 1 -maxdepth 1 -type d | wc -l) -ge 25 ]]
	for name in "$projects"/*/; do
		name=$(basename "$name")
		grep -q "^@test .*[ ]$name[ ;]" "$BATS_TEST_FILENAME" || grep -q "^	project $name || return 1$" "$BATS_TEST_FILENAME" || { echo "$name is not built"; false; }
		[[ -n $(said "$name" says) ]]
	done
	while read -r name expression reason; do
		[[ -d $projects/$name && $expression == *: && ${#reason} -gt 20 ]]
	done <"$projects/differences"
}
