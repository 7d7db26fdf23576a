#!/usr/bin/env bats
# build: platforms, stages side by side, the cache, outputs and options; beside podman.

load ../lib/hoy

# A file that says which platform it was built for, without running anything.
make_plain() {
	mkdir -p ctx
	echo x >ctx/x
	cat >ctx/Containerfile <<-'EOF'
	FROM scratch
	ARG TARGETPLATFORM
	ARG TARGETARCH
	ARG TARGETVARIANT
	ARG BUILDPLATFORM
	COPY x /x-$TARGETARCH$TARGETVARIANT
	ENV P=$TARGETPLATFORM B=$BUILDPLATFORM
	EOF
}

# settings WHO IMAGE: all of it that is no time, no random id.
settings() {
	"$1" image inspect "$2" | jq -S '.[0] | {Config, Author, Architecture, Os, OsVersion, Variant, ManifestType,
		Annotations: ((.Annotations // {}) | del(.["org.opencontainers.image.created"])),
		History: [.History[]? | del(.created)], Layers: (.RootFS.Layers | length)}'
}

# both NAME [OPTION...]: podman and hoy build ctx; what comes of it is the same.
both() {
	oracle_podman build -q --no-cache --network none -t "theirs-$1" "${@:2}" ctx >/dev/null 2>err-theirs || { cat err-theirs; return 1; }
	hoy build -q --no-cache --network none -t "ours-$1" "${@:2}" ctx >/dev/null 2>err-ours || { cat err-ours; return 1; }
	diff <(settings oracle_podman "theirs-$1") <(settings oracle_podman "ours-$1") || { echo "with: ${*:2}"; return 1; }
}

list() { "$1" manifest inspect "$2" | jq -c '[.manifests[].platform | del(.[] | select(. == ""))] | sort_by(.architecture, .variant)'; }

@test "--platform: spelling, arguments, architecture" {
	make_plain
	for p in linux/arm64 linux/aarch64 linux/arm64/v8 linux/arm linux/arm/v6 arm64 linux LINUX/AMD64 foo/bar linux/s390x windows/amd64; do
		both "$(tr A-Z/ a-z- <<<"$p")" --platform "$p" || return 1
	done
	oracle_podman build -q --no-cache --arch ppc64le --os linux -t theirs ctx
	hoy build -q --no-cache --arch ppc64le --os linux -t ours ctx
	diff <(settings oracle_podman theirs) <(settings oracle_podman ours)
	for args in '--platform linux/arm64 --arch s390x' '--platform linux/a/b/c' '--platform /x' '--platform linux/arm64 --jobs -2' '--platform a%b/c'; do
		# shellcheck disable=SC2086
		try hoy build $args ctx
		assert_status 125
		assert_stderr_like '^Error: (invalid (--)?platform|building: invalid value for jobs)'
	done
	try hoy build --platform linux/a/b/c ctx
	assert_stderr "$(oracle_podman build --platform linux/a/b/c ctx 2>&1 || true)"
}

@test "several platforms: an image for each, a list of them, the cache of each" {
	make_plain
	hoy build --platform linux/arm64,linux/arm,linux/amd64,linux/arm/v7 --manifest list -t each --iidfile iid ctx >out 2>err
	oracle_podman build -q --platform linux/arm64,linux/arm/v7,linux/amd64 --manifest theirs ctx
	[[ $(list hoy list) == "$(list oracle_podman theirs)" && $(list hoy list | jq length) == 3 ]]
	[[ $(<iid) == "$(hoy images -q --no-trunc list)" ]]
	[[ $(grep -cE '^[0-9a-f]{64}$' out) == 3 ]]
	for p in linux/arm64 linux/arm/v7 linux/amd64; do
		grep -q "^\[$p\] STEP 6/7: COPY x /x-" out
		grep -q "^\[$p\] COMMIT each" out
	done
	# All come from the cache again, and each from its own.
	hoy build --platform linux/arm64,linux/arm/v7,linux/amd64 ctx >again
	[[ $(grep -c 'Using cache' again) == 18 ]]
	diff <(grep -E '^[0-9a-f]{64}$' out | sort) <(grep -E '^[0-9a-f]{64}$' again | sort)
	oracle_podman build --platform linux/arm64 ctx >theirs
	[[ $(grep -c 'Using cache' theirs) == 6 ]]
	# An image of that name that is no list: an error, and nothing else is lost.
	hoy tag each plain
	try hoy build --platform linux/arm64 --manifest plain -t kept ctx
	assert_status 125
	hoy image exists kept
	# The list is a base, for each platform its own image.
	printf 'FROM localhost/list\nARG TARGETARCH\nLABEL arch=$TARGETARCH\n' >from
	hoy build -q --pull=never --platform linux/arm64,linux/amd64 --manifest second -f from ctx >ids
	for id in $(<ids); do
		hoy image inspect "$id" | jq -e '.[0] | .Config.Labels.arch == .Architecture' >/dev/null
	done
	[[ $(hoy image inspect $(<ids) | jq -r '.[].Architecture' | sort | xargs) == 'amd64 arm64' ]]
}

@test "--all-platforms: what all bases are for" {
	make_plain
	have_image busybox
	hoy build -q --platform linux/arm64,linux/amd64,linux/s390x --manifest one ctx
	hoy build -q --platform linux/arm64,linux/s390x,linux/riscv64 --manifest two ctx
	printf 'FROM localhost/one AS a\nFROM localhost/two\nCOPY --from=a /x-* /y\n' >from
	hoy build -q --all-platforms --pull=never --manifest all -f from ctx
	[[ $(list hoy all) == '[{"architecture":"arm64","os":"linux"},{"architecture":"s390x","os":"linux"}]' ]]
	try hoy build --all-platforms ctx
	assert_error 'build uses no non-scratch base images'
	printf 'FROM busybox\nLABEL a=b\n' >from
	hoy build -q --all-platforms -f from ctx
	# Those of a registry.
	registry_start r
	hoy manifest push -q --tls-verify=false --all one "docker://$REGISTRY/one:1"
	printf 'FROM %s/one:1\nLABEL a=b\n' "$REGISTRY" >from
	hoy build -q --tls-verify=false --all-platforms --manifest reg -f from ctx
	[[ $(list hoy reg | jq length) == 3 ]]
}

@test "FROM --platform: cross building; a base for another platform is pulled" {
	make_plain
	have_image busybox
	cat >ctx/Containerfile <<-'EOF'
	FROM --platform=$BUILDPLATFORM localhost/busybox AS build
	ARG TARGETPLATFORM
	RUN echo $TARGETPLATFORM >/t
	FROM scratch
	COPY --from=build /t /t
	EOF
	both cross --platform linux/arm/v6
	dir=$(hoy image mount ours-cross)
	[[ $(<"$dir/t") == linux/arm/v6 ]]
	hoy image umount ours-cross
	printf 'FROM busybox\nLABEL a=b\n' >from
	try hoy build --pull=never --platform linux/arm64 -f from ctx
	assert_status 125
	assert_stderr_has 'is not for linux/arm64'
	printf 'FROM scratch\nCOPY x /x\n' >scratch
	registry_start r
	hoy build -q --platform linux/arm64,linux/amd64 --manifest "$REGISTRY/two" -f scratch ctx
	hoy manifest push -q --tls-verify=false --all "$REGISTRY/two" "docker://$REGISTRY/two"
	hoy manifest rm "$REGISTRY/two"
	printf 'FROM %s/two\nLABEL a=b\n' "$REGISTRY" >from
	hoy build -q --tls-verify=false -f from -t native ctx
	hoy build -q --tls-verify=false --platform linux/arm64 -f from -t foreign ctx
	[[ $(hoy image inspect native foreign | jq -r '.[].Architecture' | xargs) == 'amd64 arm64' ]]
}

@test "RUN of another platform: what is missing is named" {
	mkdir -p ctx
	# A program of another machine.
	cp /bin/busybox ctx/sh
	printf '\xb7\x00' | dd of=ctx/sh bs=1 seek=18 conv=notrunc status=none
	printf 'FROM scratch\nCOPY sh /bin/sh\nRUN echo hello\n' >ctx/Containerfile
	[[ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]] || skip 'binaries of arm64 run here'
	try hoy build -q --network none --platform linux/arm64 ctx
	[[ $status != 0 ]]
	assert_stderr_has 'the image is for linux/arm64, this machine is linux/amd64: running its programs needs qemu-user-static'
}

# Two stages that each wait for the other one's file can only end side by side.
@test "stages that do not depend on each other run side by side, and their lines stay whole" {
	have_image busybox
	mkdir -p ctx meet
	cat >ctx/Containerfile <<-'EOF'
	FROM busybox AS a
	RUN echo one of a; touch /meet/a; i=0; while [ ! -e /meet/b ]; do sleep 0.1; i=$((i+1)); [ $i -lt 300 ] || exit 1; done; echo a >/f
	FROM busybox AS b
	RUN echo one of b; touch /meet/b; i=0; while [ ! -e /meet/a ]; do sleep 0.1; i=$((i+1)); [ $i -lt 300 ] || exit 1; done; echo b >/f
	FROM busybox AS unused
	RUN exit 1
	FROM busybox
	COPY --from=a /f /a
	COPY --from=b /f /b
	RUN cat /a /b
	EOF
	hoy build --network none --jobs 2 -v "$PWD/meet:/meet" -t both ctx >out 2>err
	grep -x '\[1/4\] one of a' out
	grep -x '\[2/4\] one of b' out
	grep -x '\[4/4\] a' out
	! grep -vE '^\[[124]/4\] |^Successfully tagged localhost/both:latest$|^[0-9a-f]{64}$' out
	[[ $(hoy run --rm --network none both cat /a /b | xargs) == 'a b' ]]
	# The same as one after the other, from the cache.
	hoy build --network none --jobs 1 -v "$PWD/meet:/meet" ctx >serial
	[[ $(tail -n 1 serial) == "$(tail -n 1 out)" && $(grep -c 'Using cache' serial) == 5 ]]
	# One layer: what is copied from a stage is its working container.
	rm meet/*
	tool hoy-build "${HOY_OPTS[@]}" build --network none --jobs 0 -v "$PWD/meet:/meet" -t one ctx
	[[ $(hoy run --rm --network none one cat /a /b | xargs) == 'a b' ]]
	[[ -z $(hoy ps -a -q --external) && -z $(mounts_below) ]]
}

@test "one of several stages fails: the others end, its status and line are told" {
	have_image busybox
	mkdir -p ctx
	printf 'FROM busybox AS a\nRUN sleep 600\nFROM busybox AS b\nRUN sleep 1; exit 7\nFROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n' >ctx/Containerfile
	try hoy build --network none --jobs 3 ctx
	assert_status 7
	assert_stderr_has 'Error: Containerfile:4: RUN: building at STEP "RUN sleep 1; exit 7": while running runtime: exit status 7'
	[[ -z $(hoy ps -a -q --external) && -z $(mounts_below) ]]
	for signal in INT TERM; do
		code=0
		timeout -s "$signal" --preserve-status 3 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --jobs 3 --network none --target a ctx >out 2>err || code=$?
		[[ $code == $((128 + $(kill -l $signal))) ]]
	done
	sed -i 's/sleep 1; exit 7/sleep 600/' ctx/Containerfile
	code=0
	timeout -s TERM --preserve-status 3 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --jobs 3 --network none ctx >out 2>err || code=$?
	[[ $code == 143 && $(tail -n 1 err) == 'Error: stopped by signal 15' ]]
	[[ -z $(hoy ps -a -q --external) && -z $(mounts_below) ]]
}

@test "two builds at the same time carry a step out once" {
	have_image busybox
	mkdir -p ctx count
	echo x >ctx/x
	printf 'FROM busybox\nENV A=b\nCOPY x /x\nRUN mktemp /count/XXXXXX; sleep 1; date +%%N >/when\nLABEL a=b\nRUN mktemp /count/XXXXXX; date +%%N >/then\n' >ctx/Containerfile
	for i in 1 2 3; do
		hoy build -q --network none -v "$PWD/count:/count" ctx >"id$i" 2>"err$i" &
	done
	wait
	cmp id1 id2
	cmp id1 id3
	[[ $(wc -l <id1) == 1 && $(ls count | wc -l) == 2 ]]
}

@test "--progress=json tells of events, one a line, on stderr" {
	have_image busybox
	mkdir -p ctx
	printf 'FROM busybox AS base\nRUN echo "a \\"b\\""; echo oops >&2\nFROM base\nLABEL a=b\n' >ctx/Containerfile
	hoy build --progress=json --network none -t j ctx >out 2>events
	[[ $(grep -cE '^[0-9a-f]{64}$' out) == 1 ]]
	[[ $(jq -r 'select(.event == "output" and .stream == "stdout").text' events) == 'a "b"' ]]
	[[ $(jq -r 'select(.event == "output" and .stream == "stderr").text' events) == 'oops' ]]
	[[ $(jq -r 'select(.event == "step") | "\(.stage)/\(.stages) \(.name) \(.step)/\(.steps)"' events | xargs) == '1/2 base 1/2 1/2 base 2/2 2/2 1 1/2 2/2 1 2/2' ]]
	[[ $(jq -r 'select(.event == "image").id' events | tail -n 1) == "$(tail -n 1 out)" ]]
	hoy build --progress=json --network none ctx 2>&1 >/dev/null | jq -e -s 'any(.[]; .event == "cached")' >/dev/null
	try hoy build --progress=fancy ctx
	assert_error "--progress must be auto, plain, tty or json, not 'fancy'"
	# On a terminal, what runs is seen below the lines.
	printf 'FROM busybox AS a\nRUN sleep 2\nFROM busybox AS b\nRUN sleep 2; echo b\nFROM busybox\nCOPY --from=a /bin/sh /a\nCOPY --from=b /bin/sh /b\n' >ctx/Containerfile
	script -q -e -c "stty cols 60; $HOY_BIN/hoy ${HOY_OPTS[*]} build --jobs 2 --network none ctx" typescript >/dev/null
	grep -a '=> a STEP 2/2: RUN sleep 2 [12]s' typescript
	grep -a $'\e\\[2A\e\\[J' typescript
}
