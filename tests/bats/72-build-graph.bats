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
		hoy image inspect "$id" | jq '.[0] | .Config.Labels.arch == .Architecture' | grep -qx true
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
	not grep -vE '^\[[124]/4\] |^Successfully tagged localhost/both:latest$|^[0-9a-f]{64}$' out
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

@test "the build is killed: the processes of its stages clean up and end" {
	have_image busybox
	mkdir -p ctx
	printf 'FROM busybox AS a\nRUN echo up; sleep 600\nFROM busybox AS b\nRUN echo up; sleep 601\nFROM busybox\nCOPY --from=a / /a\nCOPY --from=b / /b\n' >ctx/Containerfile
	"$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --network none --jobs 2 ctx >out 2>err &
	pid=$!
	for ((i = 0; i < 300; i++)); do
		[[ $(grep -c '\] up' out) != 2 ]] || break
		sleep 0.1
	done
	[[ $(grep -c '\] up' out) == 2 && $(hoy ps -q | wc -l) == 2 ]]
	kill -9 $pid
	for ((i = 0; i < 300; i++)); do
		[[ -n $(processes | grep -vx $$) ]] || break
		sleep 0.1
	done
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
	hoy build --progress=json --network none ctx 2>&1 >/dev/null | jq -s 'any(.[]; .event == "cached")' | grep -qx true
	try hoy build --progress=fancy ctx
	assert_error "--progress must be auto, plain, tty, json or quiet, not 'fancy'"
	# On a terminal, what runs is seen below the lines.
	printf 'FROM busybox AS a\nRUN sleep 2\nFROM busybox AS b\nRUN sleep 2; echo b\nFROM busybox\nCOPY --from=a /bin/sh /a\nCOPY --from=b /bin/sh /b\n' >ctx/Containerfile
	script -q -e -c "stty cols 60; $HOY_BIN/hoy ${HOY_OPTS[*]} build --jobs 2 --network none ctx" typescript >/dev/null
	grep -a '=> a STEP 2/2: RUN sleep 2 [12]s' typescript
	grep -a $'\e\\[2A\e\\[J' typescript
}

# Something of all, whose config, annotations and history options change.
make_app() {
	mkdir -p ctx
	echo x >ctx/x
	cat >ctx/Containerfile <<-'EOF'
	FROM busybox
	ARG SOURCE_DATE_EPOCH
	LABEL l1=a l2=b
	COPY x /d/x
	ENV E1=x E2=y
	RUN echo "epoch=$SOURCE_DATE_EPOCH" >/epoch
	EOF
}

@test "options of labels, variables, annotations: what podman makes of them" {
	have_image busybox
	make_app
	both 1 --unsetenv E1 --unsetlabel l1 --env E3=z --unsetannotation org.opencontainers.image.base.name --annotation q=1 --annotation r=2
	both 2 --inherit-labels=false --inherit-annotations=false
	both 3 --env A=b --env 'C=d "e" $HOME' --env NOPE --label l=m
	both 4 --layer-label ll=1
	both 5 --omit-history
	both 6 --created-annotation=false --identity-label=false
	both 7 --unsetlabel l1,l2 --unsetenv E1,E2 --unsetlabel io.buildah.version
	printf 'FROM busybox\nCOPY x /\n' >f8
	both 8 --from scratch --target 0 --layers=false -f f8
	both 9 --format docker --unsetenv E1 --annotation a=b --omit-history
	both 10 --inherit-labels=false --squash
	[[ $(hoy image inspect ours-6 | jq -c '.[0].Annotations["org.opencontainers.image.created"]') == null ]]
	# podman's JSON of an image has no version of the system: its config has.
	system() { hoy image inspect --format '{{.Id}}' "$1" | sed 's/^sha256://'; }
	printf 'FROM scratch\nCOPY x /\n' >plain
	for f in oci docker; do
		args=(--format "$f" --os-version 1.2 --os-feature f1 --os-feature f2 --platform linux/arm/v6 -f plain)
		oracle_podman build -q --no-cache "${args[@]}" -t theirs ctx
		hoy build -q --no-cache "${args[@]}" -t ours ctx
		for who in theirs ours; do
			jq 'del(.created, .container, .config.Hostname, .container_config, .history[].created, .config.Cmd)' \
				"$ROOT/overlay-images/$(system "$who")/=$(printf 'sha256:%s' "$(system "$who")" | base64 -w0)" >"$who"
		done
		diff theirs ours
		[[ $(jq -c '[.architecture, .variant, .["os.version"], .["os.features"]]' ours) == '["arm","v6","1.2",["f1","f2"]]' ]]
	done
	printf 'FROM ours\nCOPY x /y\n' >f2
	hoy build -q --platform linux/arm/v6 --os-feature f1- --os-feature f3 -f f2 --pull=never -t third ctx
	jq -e '.["os.features"] == ["f2", "f3"]' "$ROOT/overlay-images/$(system third)/=$(printf 'sha256:%s' "$(system third)" | base64 -w0)"
}

@test "what histories don't tell of isn't taken from the cache" {
	have_image busybox
	make_app
	hoy build -q --network none ctx
	hoy build -q --network none --unsetenv E1 -t no ctx
	[[ $(hoy image inspect no | jq -c '.[0].Config.Env') != *E1* ]]
	hoy build -q --network none --omit-history -t bare ctx
	[[ $(oracle_podman image inspect bare | jq -c '.[0].History') == null ]]
	hoy build -q --network none --created-annotation=false -t undated ctx
	[[ $(hoy image inspect undated | jq -c '.[0].Annotations["org.opencontainers.image.created"]') == null ]]
}

@test "--source-date-epoch, --rewrite-timestamp, SOURCE_DATE_EPOCH" {
	have_image busybox
	make_app
	times() {
		local dir
		dir=$("$1" image mount "$2")
		(cd "$dir" && find d epoch -printf '%p %T@\n' | sed 's/\..*//')
		"$1" image umount "$2" >/dev/null
		"$1" image inspect "$2" | jq -c '.[0] | [.Created, .Annotations["org.opencontainers.image.created"], .History[].created]'
	}
	touch -d @100 ctx/x
	check() {
		both "$@"
		diff <(times oracle_podman "theirs-$1") <(times oracle_podman "ours-$1")
	}
	check 1 --source-date-epoch 300 --rewrite-timestamp
	check 2 --source-date-epoch 50 --rewrite-timestamp
	check 3 --timestamp 500
	check 4 --timestamp 500 --layers=false
	both 5 --source-date-epoch 300
	both 6 --build-arg SOURCE_DATE_EPOCH=400
	both 7 --source-date-epoch 300 --build-arg SOURCE_DATE_EPOCH=7
	export SOURCE_DATE_EPOCH=200
	both 8
	unset SOURCE_DATE_EPOCH
	for n in 5:300 6:400 7:300 8:200; do
		[[ $(hoy image inspect "ours-${n%:*}" "theirs-${n%:*}" | jq -r '.[].Created | fromdate' | xargs) == "${n#*:} ${n#*:}" ]]
	done
	[[ $(hoy run --rm --network none ours-8 cat /epoch) == epoch=200 ]]
	# Another time is another image, the same one the same.
	hoy build -q --network none --source-date-epoch 300 ctx >one
	hoy build -q --network none --source-date-epoch 301 ctx >other
	hoy build -q --network none --source-date-epoch 300 ctx >two
	cmp one two
	not cmp one other
	for args in '--source-date-epoch x' '--timestamp 1 --source-date-epoch 2' '--timestamp x' '--timestamp -1'; do
		# shellcheck disable=SC2086
		try hoy build $args ctx
		assert_status 125
		assert_stderr_like '^Error: (parsing source-date-epoch value "x"|timestamp and source-date-epoch would be ambiguous|--timestamp must be)'
	done
}

# Names, types, modes, owners, links, times (of what isn't new), contents of a directory.
files() { (cd "$1" && find . -mindepth 1 -printf '%P %y %m %U:%G %l %n %T@\n' | sed -E 's/ 1[7-9][0-9]{8}\.[0-9]+$//' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum); }

@test "--output: a directory, a tar, several of them; stdout for the tar alone" {
	have_image busybox
	mkdir -p ctx
	echo x >ctx/x
	printf 'FROM busybox\nCOPY --chown=1:2 x /x\nRUN ln /x /hard; ln -s x /soft; chmod 4755 /x; mkdir /w; mknod /w/.wh.no p; rm /w/.wh.no; rm /etc/group\n' >ctx/Containerfile
	oracle_podman build -q --network none -o theirs -o type=tar,dest=theirs.tar ctx
	hoy build -q --network none -o ours -o type=tar,dest=ours.tar --output type=image -t named ctx
	# (podman's directory, not its tar, has again what RUN deleted of the base.)
	[[ -e theirs/etc/group && ! -e ours/etc/group ]]
	rm theirs/etc/group
	diff <(files theirs) <(files ours)
	diff <(tar tvf theirs.tar | sed "s/ $(date +%Y)-.* / /" | sort) <(tar tvf ours.tar | sed "s/ $(date +%Y)-.* / /" | sort)
	mkdir unpacked
	tar xpf ours.tar -C unpacked
	diff <(cd ours && find . | sort) <(cd unpacked && find . | sort)
	hoy build --network none -o - ctx 2>err >piped.tar
	cmp ours.tar piped.tar
	grep 'STEP 3/3' err
	hoy build -q --network none --output type=tar,dest=- ctx 2>err | cmp - ours.tar
	grep -cE '^[0-9a-f]{64}$' err
	hoy build -q --network none --output type=local,dest=deep/er ctx
	diff <(files ours) <(files deep/er)
	printf 'FROM scratch\nLABEL a=b\n' >none
	hoy build -q -f none -o nothing ctx
	[[ -d nothing && -z $(ls -A nothing) ]]
	printf 'FROM scratch\nARG TARGETARCH\nCOPY x /$TARGETARCH\n' >two
	hoy build -q -f two --platform linux/arm64,linux/arm -o each ctx
	[[ $(cd each && find . -type f | sort | xargs) == './linux_arm64/arm64 ./linux_arm_v7/arm' ]]
	for o in type=foo,dest=x type=local,dest=- type=local,dest=a,foo=b; do
		try hoy build -o "$o" ctx
		assert_status 125
		assert_stderr "$(oracle_podman build -q -o "$o" ctx 2>&1 || true)"
	done
	try hoy build -o type=local ctx
	assert_error 'it needs a dest'
	try hoy build -q --network none -o /proc/nope/x ctx
	assert_status 125
	assert_stderr_has "cannot write '/proc/nope/x'"
	[[ -z $(mounts_below) ]]
}

@test "--logfile, --logsplit, --metadata-file" {
	have_image busybox
	mkdir -p ctx
	echo x >ctx/x
	printf 'FROM busybox\nCOPY x /x\nRUN echo out; echo err >&2\n' >ctx/Containerfile
	hoy build --network none --logfile log -t l --metadata-file meta ctx >out 2>err
	[[ ! -s out && ! -s err ]]
	oracle_podman build --network none --no-cache --logfile theirs -t l2 ctx
	told() { sed -E 's/[0-9a-f]{64}/ID/g; s/--> [0-9a-f]{12}$/--> ID12/; s/\bl2\b/l/' "$1" | sort; }
	diff <(told theirs) <(told log)
	[[ $(jq -r '.["containerimage.config.digest"]' meta) == "$(hoy images -q --no-trunc l)" ]]
	[[ $(jq -r '.["containerimage.digest"]' meta) == "$(hoy image inspect l --format '{{.Digest}}')" ]]
	[[ $(jq -r '.["image.name"]' meta) == localhost/l:latest ]]
	# An error goes where it always goes.
	printf 'FROM busybox\nRUN echo before; exit 3\n' >bad
	try hoy build --network none --logfile bad.log -f bad ctx
	assert_status 3
	assert_stderr_has 'exit status 3'
	grep -x before bad.log
	printf 'FROM scratch\nCOPY x /x\n' >two
	hoy build --logfile split --logsplit --platform linux/amd64,linux/arm64 -f two ctx >out 2>err
	[[ ! -s out ]]
	for arch in amd64 arm64; do
		grep -x "\[linux/$arch\] STEP 2/2: COPY x /x" "split_linux_$arch"
		not grep -v "^\[linux/$arch\] \|^[0-9a-f]\{64\}$" "split_linux_$arch"
	done
}

@test "options for RUN" {
	have_image busybox
	mkdir -p ctx vol
	cat >ctx/Containerfile <<-'EOF'
	FROM busybox
	VOLUME /v
	RUN mkdir -p /v && echo kept >/v/file; hostname >/uts; id -G >/groups; for n in pid uts; do readlink /proc/self/ns/$n; done >/ns
	RUN cat /etc/hosts >/hosts 2>&1; cat /etc/hostname >/hostname 2>&1; ls /v >/v-now
	EOF
	hoy build -q --no-cache --network none --pid host --uts host --cgroupns host --group-add 77 --no-hostname -t host ctx
	dir=$(hoy image mount host)
	[[ $(<"$dir/ns") == "$(readlink /proc/self/ns/pid /proc/self/ns/uts)" ]]
	[[ " $(<"$dir/groups") " == *' 77 '* && $(<"$dir/uts") == "$(hostname)" && $(<"$dir/hostname") == *'No such file'* && $(<"$dir/v-now") == file ]]
	hoy image umount host
	hoy build -q --no-cache --network none --ipc private --pid container --uts private --compat-volumes -t private ctx
	dir=$(hoy image mount private)
	not grep -xF -e "$(readlink /proc/self/ns/pid)" -e "$(readlink /proc/self/ns/uts)" "$dir/ns"
	[[ -z $(<"$dir/v-now") && -z $(ls -A "$dir/v") ]]
	hoy image umount private
	printf 'FROM busybox\nRUN grep Cpus_allowed_list /proc/self/status >/cpus\n' >limited
	hoy build -q --no-cache --network none --memory 64m --memory-swap 128m --cpu-shares 100 --cpuset-cpus 0 --cgroup-parent /hoy-test-build -t limited -f limited ctx
	dir=$(hoy image mount limited)
	[[ $(<"$dir/cpus") == *$'\t0' ]]
	hoy image umount limited
	for args in '--ipc nope' '--pid nope' '--cpu-shares x' '--memory x' '--cw type=snp' '--sbom syft'; do
		# shellcheck disable=SC2086
		try hoy build -q --no-cache --network none $args ctx
		assert_status 125
		[[ -n $stderr ]]
	done
}

# Of all options that podman and buildah have, none is missing; what is refused says so.
@test "the options of podman build and buildah build are all there" {
	options() { sed -nE 's/^ +(-[a-zA-Z], )?--([a-z-]+).*/\2/p' | sort -u; }
	{ oracle_podman build --help; oracle_buildah build --help; } | options >theirs
	hoy build --help | options >ours
	[[ $(wc -l <theirs) -gt 100 ]]
	comm -23 theirs ours | grep -vxE 'help|build-arg-file|build-context|cpp-flag|stdin' >missing || true
	diff /dev/null missing
}

@test "--cache-from and --cache-to: both tools have the same keys, and take what the other one left" {
	have_image busybox
	registry_start r
	mkdir -p ctx
	echo x >ctx/x
	printf 'FROM busybox AS one\nARG A=1\nCOPY x /x\nRUN echo hi; date +%%N >/when\nMAINTAINER me\nLABEL a=b\nFROM scratch\nCOPY --from=one /when /w\n' >ctx/Containerfile
	args=(--network none --tls-verify=false --cache-to "$REGISTRY/c" --cache-from "$REGISTRY/c" -t t ctx)
	# What is said, without names of images that came and went.
	told() { grep -v '^Successfully tagged .*/c:'; }
	keys() { curl -s "http://$REGISTRY/v2/c/tags/list" | jq -r '.tags[]' | sort; }
	oracle_podman build "${args[@]}" >theirs
	keys >their-keys
	[[ $(wc -l <their-keys) == 6 ]]
	# From podman's registry into an empty store, by hoy.
	oracle_podman rmi -a -f >/dev/null
	have_image busybox
	hoy build "${args[@]}" >ours
	diff their-keys <(keys)
	[[ $(tail -n 1 ours) == "$(tail -n 1 theirs)" && $(grep -c 'Cache pulled from remote' ours) == 6 ]]
	oracle_podman rmi -a -f >/dev/null
	have_image busybox
	oracle_podman build "${args[@]}" >theirs
	diff <(told <theirs) <(told <ours)
	# All is here: pushed again, as podman does.
	hoy build "${args[@]}" >ours
	oracle_podman build "${args[@]}" >theirs
	diff <(told <theirs) <(told <ours)
	[[ $(grep -c 'Pushing cache' ours) == 6 && $(grep -c 'Using cache' ours) == 6 ]]
	# The other way round: hoy fills, podman takes.
	args=(--network none --tls-verify=false --cache-to "$REGISTRY/d" --cache-from "$REGISTRY/d" -t t ctx)
	hoy build --no-cache "${args[@]}" >ours
	oracle_podman rmi -a -f >/dev/null
	have_image busybox
	oracle_podman build "${args[@]}" >theirs
	[[ $(tail -n 1 ours) == "$(tail -n 1 theirs)" && $(grep -c 'Cache pulled from remote' theirs) == 6 ]]
	hoy build --network none --tls-verify=false --cache-from 127.0.0.1:1/nope --retry 0 ctx
	try hoy build --network none --cache-to 127.0.0.1:1/c --tls-verify=false --retry 0 ctx
	assert_status 125
	assert_stderr_has 'failed pushing cache to 127.0.0.1:1/c:'
	for args in '--cache-from a:1' "--cache-to a@sha256:$(printf '%064d' 1)" '--cache-from A' '--cache-ttl x' '--cache-to a --layers=false'; do
		# shellcheck disable=SC2086
		try hoy build $args ctx
		assert_status 125
		assert_stderr_like '^Error: (unable to parse value provided|a cache in a registry)'
	done
}

@test "--cache-ttl; --explain-cache names what changed" {
	have_image busybox
	mkdir -p ctx
	echo x >ctx/x
	cat >ctx/Containerfile <<-'EOF'
	FROM busybox
	ARG A=1
	COPY x /x
	RUN echo $A >/a
	LABEL a=b
	EOF
	b() { hoy build --network none --explain-cache "$@" ctx | sed -nE 's/^STEP ([2-9])\/.*/\1/p; s/^--> Not in the cache: //p; s/^--> Using.*/hit/p' | paste -sd ' '; }
	[[ $(b) == *'2 no ARG was built on '*' yet 3 the step before it is new 4 the step before it is new 5 the step before it is new' ]]
	[[ $(b) == '2 hit 3 hit 4 hit 5 hit' ]]
	[[ $(b --build-arg A=2) == '2 hit 3 hit 4 the argument A changed 5 the step before it is new' ]]
	echo y >ctx/x
	[[ $(b) == "2 hit 3 the content of 'x' changed 4 the step before it is new 5 the step before it is new" ]]
	sed -i 's/a=b/a=c/' ctx/Containerfile
	[[ $(b) == "2 hit 3 hit 4 hit 5 the instruction's text changed" ]]
	sed -i 's/echo/printf/' ctx/Containerfile
	[[ $(b) == '2 hit 3 hit 4 the command changed 5 the step before it is new' ]]
	sed -i 's/^RUN/USER root\nRUN/' ctx/Containerfile
	[[ $(b) == '2 hit 3 hit 4 no USER was built on '*' yet 5 '* ]]
	sed -i '/^USER/d' ctx/Containerfile
	[[ $(b --format docker) == *'2 it was built in another format 3 '* ]]
	[[ $(b --no-cache) == *'2 --no-cache 3 --no-cache'* ]]
	[[ $(b --source-date-epoch 1) == *'2 it was built at another time than --timestamp or --source-date-epoch says 3'* ]]
	[[ $(b --cache-ttl 1h) == '2 hit 3 hit 4 hit 5 hit' ]]
	sleep 1.1
	[[ $(b --cache-ttl 1s) == *'2 it is older than --cache-ttl allows 3 the step before'* ]]
	[[ $(b --cache-ttl 0) == '2 hit 3 hit 4 hit 5 hit' ]]
	# Not asked for, nothing is said.
	hoy build --network none --no-cache ctx | not grep 'Not in the cache'
}

@test "same bits: other paths, umasks, hosts, orders; and podman's" {
	have_image busybox
	mkdir -p one/sub/dir
	(cd one && for i in $(seq 1 60); do echo "$i" >"f$i"; done; echo s >sub/s; echo d >sub/dir/d; ln -s f1 link; ln f1 hard; chmod 750 sub/dir; chmod 4755 f2)
	setfattr -n user.k -v v one/f3
	cat >one/Containerfile <<-'EOF'
	FROM busybox
	COPY . /all/
	COPY --chown=1:2 sub f1 /some/where/
	WORKDIR /all/new
	COPY --chmod=640 f4 f5 ./
	LABEL b=c a=b
	ENV Z=1 A=2
	FROM scratch
	COPY --from=0 /all /all
	VOLUME /z /a
	EXPOSE 9 1
	EOF
	# The same in another order, with other times and directories' sizes.
	mkdir -p deep/er
	tar -C one --sort=name -cf one.tar .
	python3 - <<-'EOF'
	import os, tarfile
	t = tarfile.open("one.tar")
	os.makedirs("deep/er/two")
	links = [m for m in t.getmembers() if m.islnk()]
	for m in reversed(t.getmembers()):
	    if m not in links:
	        t.extract(m, "deep/er/two")
	for m in links:
	    t.extract(m, "deep/er/two")
	EOF
	setfattr -n user.k -v v deep/er/two/f3
	chmod 750 deep/er/two/sub/dir
	find deep -exec touch -h -d 2011-11-11 {} +
	one=() two=() theirs=()
	for args in '--timestamp 7' '--timestamp 7 --format docker' '--timestamp 7 --layers=false' '--source-date-epoch 7 --rewrite-timestamp' \
		'--timestamp 7 --jobs 1' '--timestamp 7 --squash'; do
		# shellcheck disable=SC2086
		one+=("$(umask 077; hoy build -q --no-cache $args one)")
		# shellcheck disable=SC2086
		theirs+=("$(oracle_podman build -q --no-cache $args one)")
	done
	digest=$(hoy image inspect "${one[0]}" --format '{{.Digest}}')
	# The other host: another name, store, home, language, zone.
	store_new other
	have_image busybox
	for args in '--timestamp 7' '--timestamp 7 --format docker' '--timestamp 7 --layers=false' '--source-date-epoch 7 --rewrite-timestamp' \
		'--timestamp 7 --jobs 1' '--timestamp 7 --squash'; do
		# shellcheck disable=SC2086
		two+=("$(umask 027; cd deep/er/two && LC_ALL=C TZ=Asia/Tokyo HOME=/nowhere TMPDIR=$T/deep unshare --uts sh -c 'hostname elsewhere; exec "$@"' sh \
			"$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --no-cache $args .)")
	done
	diff <(printf '%s\n' "${one[@]}") <(printf '%s\n' "${two[@]}")
	diff <(printf '%s\n' "${one[@]}") <(printf '%s\n' "${theirs[@]}")
	[[ $(hoy image inspect "${two[0]}" --format '{{.Digest}}') == "$digest" ]]
	[[ $(printf '%s\n' "${one[@]}" | sort -u | wc -l) -ge 3 ]]
}

@test "an ordinary user: stages side by side, platforms, a directory as the output" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	mkdir -p "$U/bin" "$U/ctx"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	u() { as_user "$U/bin/hoy" --runtime "$U/bin/hoy-runtime" "$@"; }
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	printf 'FROM busybox AS a\nRUN echo a >/a\nFROM busybox AS b\nRUN echo b >/b; chown 5:6 /b\nFROM busybox\nCOPY --from=a /a /x/\nCOPY --from=b /b /x/\n' >"$U/ctx/Containerfile"
	printf 'FROM scratch\nARG TARGETARCH\nCOPY two /$TARGETARCH\n' >"$U/ctx/two"
	chown -R hoytest "$U/ctx"
	u build --network none --jobs 2 -o "$U/out" -t side "$U/ctx" >out
	grep -q '^\[2/3\] STEP 2/2: RUN echo b' out
	[[ $(cat "$U/out/x/a" "$U/out/x/b" | xargs) == 'a b' ]]
	[[ $(u run --rm --network none side stat -c %u:%g /x/b) == 5:6 ]]
	u build -q --platform linux/arm64,linux/amd64 --manifest list -f "$U/ctx/two" "$U/ctx"
	[[ $(u manifest inspect list | jq '.manifests | length') == 2 ]]
	as_user rm -rf "$U/out" 2>/dev/null || rm -rf "$U/out"
}
