#!/usr/bin/env bats
# build: Containerfiles become the images that podman and buildah make of them.

load ../lib/hoy
load ../lib/build

@test "corpus: RUN" { all_same 'run-*'; }
@test "corpus: COPY of files and trees" { all_same 'copy-[a-j]*'; }
@test "corpus: COPY with links, owners, stages" { all_same 'copy-[k-z]*'; }
@test "corpus: ADD" { all_same 'add-*'; }
@test "corpus: ENV, ARG and other settings" { all_same '@(arg|en|escape|expose|label|user|workdir)*'; }
@test "corpus: commands, stages, bases, spelling" { all_same '@(case|cmd|crlf|maintainer|scratch-copy|stages|stopsignal|volume)*'; }
@test "corpus: docker's format" { all_same 'docker-*' --format docker; }
@test "corpus: one layer" { all_same '@(run-files|run-heredoc|copy-stage|copy-dir|copy-image|stages-base|env-forms|copy-workdir)' --layers=false; }

@test "FROM alone names the base; an image without layers" {
	have_image busybox
	make_context
	hoy build -q -t same -f "$corpus/from-only" ctx
	[[ $(hoy images -q --no-trunc same) == "$(hoy images -q --no-trunc busybox)" ]]
	oracle_podman build -q -t theirs -f "$corpus/scratch-label" ctx
	hoy build -q --no-cache -t ours -f "$corpus/scratch-label" ctx
	diff <(settings oracle_podman theirs) <(settings oracle_podman ours)
	[[ $(hoy image inspect ours | jq '.[0].RootFS.Layers | length') == 0 ]]
}

# Two stages, an argument, files, a command: something of all.
make_app() {
	mkdir -p app
	echo hello >app/greeting
	cat >app/Containerfile <<-'END'
	ARG BASE=busybox
	FROM $BASE AS build
	ARG WHO=world
	COPY greeting /src/
	RUN sed "s/$/ $WHO/" /src/greeting >/out
	FROM $BASE
	ENV LANG=C
	COPY --from=build /out /out
	RUN cat /out
	CMD ["cat", "/out"]
	END
}

# What is written, without ids.
told() { sed -E 's/[0-9a-f]{64}/ID/g; s/--> [0-9a-f]{12}$/--> ID12/'; }

@test "the cache is one: what podman built, hoy takes, and the other way round" {
	have_image busybox
	make_app
	oracle_podman build --network none -t app app >theirs
	hoy build --network none -t app app >ours
	[[ $(tail -n 1 ours) == "$(tail -n 1 theirs)" ]]
	[[ $(grep -c 'Using cache' ours) == 7 ]]
	# Both say the same of a build from the cache, and of one that isn't.
	oracle_podman build --network none -t app app >theirs
	diff theirs ours
	hoy build --network none --build-arg WHO=you -t you app | told >ours
	oracle_podman build --network none --build-arg WHO=me -t me app | told | sed 's/ me$/ you/' | sed 's/localhost.me:/localhost\/you:/' >theirs
	diff <(grep -v '^hello' theirs) <(grep -v '^hello' ours)
	oracle_podman build --network none --build-arg WHO=you -t app2 app >theirs
	[[ $(grep -c 'Using cache' theirs) == 7 ]]
	# A file of another content, and another time, mode, owner: only the first and the mode count.
	touch app/greeting
	hoy build --network none app >ours
	[[ $(grep -c 'Using cache' ours) == 7 ]]
	chmod 600 app/greeting
	hoy build --network none app >ours
	[[ $(grep -c 'Using cache' ours) == 5 ]] # COPY and RUN behind it are done; what the second stage takes is as it was
	hoy build --network none --no-cache app >ours
	not grep 'Using cache' ours
	hoy run --rm --network none app | grep -x 'hello world'
	oracle_podman run --rm --network none you | grep -x 'hello you'
}

@test "hoy-build makes one layer, buildah's way" {
	have_image busybox
	make_app
	tool hoy-build "${HOY_OPTS[@]}" bud --network none -t ours app >ours
	oracle_buildah bud --network none -t theirs app >theirs
	diff <(told <theirs | sed s/theirs/ours/) <(told <ours)
	diff <(settings oracle_podman theirs) <(settings oracle_podman ours)
	tool hoy-build "${HOY_OPTS[@]}" build --layers --network none -t layers app | grep -- '--> '
	[[ $(hoy image inspect layers | jq '.[0].RootFS.Layers | length') == 3 ]]
}

@test "options: tags, labels, annotations, iidfile, target, format, quiet" {
	have_image busybox
	make_app
	args=(-t one -t two:2 --label a=b --label 'c=d "e" $f' --annotation x=y --network none)
	oracle_podman build "${args[@]}" app >theirs
	settings oracle_podman one >theirs.json
	hoy build --no-cache "${args[@]}" --iidfile iid app >ours
	diff theirs.json <(settings oracle_podman one)
	id=$(tail -n 1 ours)
	[[ $(<iid) == "sha256:$id" && $(hoy images -q --no-trunc two:2) == "sha256:$id" ]]
	grep -x 'Successfully tagged localhost/two:2' ours
	try hoy build -q --network none --target build app
	assert_stdout_like '^[0-9a-f]{64}$'
	[[ $(hoy image inspect "$output" | jq -c '.[0].Config.Cmd') == '["sh"]' ]]
	try hoy build -q --network none --target 0 app
	assert_success
	try hoy build --target nope app
	assert_error 'the target "nope" was not found'
	hoy build -q --format docker --network none -t docker app
	[[ $(hoy image inspect docker | jq -r '.[0].ManifestType') == application/vnd.docker.distribution.manifest.v2+json ]]
	hoy build -q --identity-label=false --no-cache --network none -t bare app
	[[ $(hoy image inspect bare | jq -c '.[0].Config.Labels') == null ]]
}

@test "--timestamp: the same bits in two places" {
	have_image busybox
	make_app
	cp -r app copy
	touch -d 2001-01-01 copy/greeting
	args=(--timestamp 1000000000 --network none)
	oracle_podman build "${args[@]}" -t theirs app
	settings oracle_podman theirs >theirs.json
	diffs=$(oracle_podman image inspect theirs --format '{{.RootFS.Layers}}')
	one=$(hoy build -q --no-cache "${args[@]}" -t ours app)
	two=$(umask 077; hoy build -q --no-cache "${args[@]}" copy)
	[[ $one == "$two" ]]
	diff theirs.json <(settings oracle_podman ours)
	[[ $(oracle_podman image inspect ours --format '{{.RootFS.Layers}}') == "$diffs" ]]
	[[ $(hoy image inspect ours | jq -r '.[0].Created') == 2001-09-09T01:46:40Z ]]
}

@test "--squash and --squash-all" {
	have_image busybox
	make_app
	hoy build -q --squash --network none -t new app
	[[ $(hoy image inspect new | jq '.[0].RootFS.Layers | length') == 2 ]]
	hoy build -q --squash-all --network none -t all app
	[[ $(hoy image inspect all | jq '.[0].RootFS.Layers | length') == 1 ]]
	hoy run --rm --network none all | grep -x 'hello world'
	oracle_podman build -q --squash-all --network none -t theirs app
	diff <(settings oracle_podman theirs) <(settings oracle_podman all)
}

@test "the Containerfile: by name, in the context, from stdin" {
	have_image busybox
	mkdir -p ctx
	printf 'FROM busybox\nCOPY x /\n' >ctx/Dockerfile
	echo x >ctx/x
	hoy build -q ctx
	printf 'FROM busybox\nLABEL from=other\n' >other
	hoy build -q -f other -t other ctx
	printf 'FROM busybox\nLABEL from=stdin\n' | hoy build -q -f - -t stdin ctx
	[[ $(hoy image inspect other stdin | jq -r '.[].Config.Labels.from' | xargs) == 'other stdin' ]]
	(cd ctx && hoy build -q)
	rm ctx/Dockerfile
	try hoy build ctx
	assert_error 'no Containerfile or Dockerfile specified or found in context directory'
	try hoy build nowhere
	assert_error "cannot use the context 'nowhere'"
}

@test "a network is there for RUN" {
	have_image busybox
	printf 'FROM busybox\nRUN ip -o addr show dev eth0 | grep -o "inet [0-9.]*" >/addr; cat /etc/resolv.conf /etc/hosts >/dev/null\n' >Containerfile
	hoy build -q -t net .
	hoy run --rm --network none net cat /addr | grep 'inet 10\.'
	dir=$(hoy image mount net)
	[[ $(ls -A "$dir/etc" "$dir/run" | xargs) == "$dir/etc: group passwd $dir/run:" ]]
	hoy image umount net
	printf 'FROM busybox\nRUN cat /mnt/x >/x; grep hostname /etc/hosts >/h\n' >Containerfile
	mkdir m
	echo mounted >m/x
	hoy build -q -t vol -v "$PWD/m:/mnt:ro" --add-host hostname:1.2.3.4 .
	[[ $(hoy run --rm --network none vol cat /x) == mounted ]]
	[[ $(hoy run --rm --network none vol cat /h) == 1.2.3.4*hostname ]]
}

@test "what fails: its exit status, its line, and nothing left" {
	have_image busybox
	before=$(hoy images -a -q | wc -l)
	printf 'FROM busybox\n\nRUN exit 7\n' >Containerfile
	try hoy build --network none .
	assert_status 7
	assert_stderr 'Error: Containerfile:3: RUN: building at STEP "RUN exit 7": while running runtime: exit status 7'
	for case in 'COPY nope /|125|Containerfile:2: COPY: cannot find '\''nope'\''' 'RUN --bad x|125|Containerfile:2: RUN: unknown flag: --bad' \
		'NOPE x|125|Containerfile:2: unknown instruction: NOPE' 'COPY --from=gone a b|125|gone' 'COPY --chown=who x /|125|unknown user '\''who'\''' \
		'ENV A=${B!C}|125|Containerfile:2: ENV: unsupported modifier' 'RUN ["/etc"]|126|Containerfile:2: RUN: building at STEP' \
		'STOPSIGNAL x|125|Containerfile:2: STOPSIGNAL: Invalid signal: x' 'ADD http://x.invalid/y /|125|reading "http://x.invalid/y"'; do
		IFS='|' read -r line code want <<<"$case"
		printf 'FROM busybox\n%s\n' "$line" >Containerfile
		touch x
		try hoy build --network none --pull=never .
		assert_status "$code"
		assert_stderr_has "$want"
	done
	printf 'FROM nowhere.invalid/x\n' >Containerfile
	try hoy build --pull=never .
	assert_status 125
	assert_stderr_has 'Containerfile:1: FROM: '
	printf 'RUN x\n' >Containerfile
	try hoy build .
	assert_error 'only ARG may stand before the first FROM'
	printf 'FROM busybox\nLABEL a=b\n' >Containerfile
	while IFS='|' read -r args want; do
		# shellcheck disable=SC2086
		try hoy build $args .
		assert_status 125
		[[ $stderr == "Error: "*"$want"* && $stderr != *$'\n'* ]] || { echo "$args: $stderr"; false; }
	done <<-'END'
		--format tar|tar
		--pull=sometimes|sometimes
		--timestamp x|x
		-f a -f b|/a'
		-t A:B:C|A:B:C
		https://x.invalid/y|1 argument
	END
	[[ $(hoy images -a -q | wc -l) == "$before" ]]
	[[ $(hoy ps -a -q --external) == '' ]]
	[[ -z $(oracle_podman ps -a -q --external) ]]
}

@test "Ctrl-C in a RUN leaves nothing" {
	have_image busybox
	printf 'FROM busybox\nRUN echo started; sleep 600\n' >Containerfile
	for signal in INT TERM; do
		timeout -s "$signal" --preserve-status 3 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build --network none . >out 2>err || code=$?
		grep started out
		[[ $code == $((128 + $(kill -l $signal))) ]]
		grep -x "Error: stopped by signal $(kill -l $signal)" err
		[[ -z $(hoy ps -a -q --external) && -z $(mounts_below) ]]
		[[ $(jq length "$ROOT/overlay-containers/containers.json" "$RUNROOT/overlay-containers/volatile-containers.json" 2>/dev/null | xargs) =~ ^[0\ ]*$ ]]
	done
}

@test "a context doesn't lead out of itself; sockets and pipes in it" {
	have_image busybox
	echo secret >secret
	mkdir ctx
	ln -s ../secret ctx/up
	ln -s / ctx/root
	python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("ctx/socket")'
	for source in up ../secret root/etc/hostname; do
		printf 'FROM busybox\nCOPY %s /x\n' "$source" >Containerfile
		try hoy build --network none -f Containerfile ctx
		assert_status 125
		assert_stderr_has 'cannot find'
	done
	# A link is copied as one; a socket is nothing that an image holds.
	printf 'FROM busybox\nCOPY . /x/\n' >Containerfile
	hoy build -q -f Containerfile -t links ctx
	[[ $(hoy run --rm --network none links ls /x | xargs) == 'root up' ]]
	# Nor does a link in the image: the destination is in its root.
	printf 'FROM busybox\nRUN ln -s %s /out\nCOPY two /out/\n' "$T/home" >Containerfile
	echo two >ctx/two
	hoy build -q --network none -f Containerfile -t inside ctx
	[[ ! -e $T/home/two && $(hoy run --rm --network none inside cat "$T/home/two") == two ]]
}

@test "what is left out of a context is what podman leaves out" {
	have_image busybox
	mkdir -p ctx/d/e/f ctx/x
	touch ctx/{a,b,a.c,abc,'#h',d/a.c,d/e/b.c,d/e/f/a,x/keep,x/other}
	printf 'FROM busybox\nCOPY . /all/\n' >Containerfile
	for lines in '*.c' '**/*.c' 'd' 'd/**' '*' '*\n!a' 'x\n!x/keep' '!a\n*' 'a?c' '[ab]' '[^a]*' '\\#h' '#h' '**/f' 'd/*/f' '  a  ' '/a' './b' 'x/../a' 'a**' \
		'd\n!d/e' '**\n!**/a' 'x/*\n!x/k*'; do
		printf "$lines\n" >ctx/.containerignore
		for who in oracle_podman hoy; do
			$who build -q --no-cache --network none -f Containerfile -t "$who" ctx >/dev/null
			dir=$($who image mount "$who")
			(cd "$dir" && find all -mindepth 1 ! -type d | sort) >"$who.list"
			$who image umount "$who" >/dev/null
		done
		diff oracle_podman.list hoy.list || { echo "with: $lines"; false; }
	done
	printf '*\n' >other
	printf 'FROM busybox\nCOPY a /\n' >Containerfile
	try hoy build --ignorefile other -f Containerfile ctx
	assert_status 125
	assert_stderr_has "all that 'a' matches is left out by 'other'"
}

@test "a base is pulled as --pull says" {
	have_image busybox
	registry_start r
	hoy push -q --tls-verify=false busybox "docker://$REGISTRY/base:1"
	printf 'FROM %s/base:1\nLABEL a=b\n' "$REGISTRY" >Containerfile
	try hoy build -q --pull=never .
	assert_status 125
	hoy build -q --tls-verify=false -t pulled .
	[[ $(hoy image inspect pulled | jq -r '.[0].Annotations["org.opencontainers.image.base.name"]') == "$REGISTRY/base:1" ]]
	hoy build -q --pull=never .
	registry_stop 2>/dev/null || "$HOY_TESTS/fixtures/registry" stop "$REGISTRY_DIR"
	hoy build -q .
	try hoy build -q --pull --tls-verify=false .
	assert_status 125
}

@test "an ordinary user builds, with the cache that podman made" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	mkdir -p "$U/bin" "$U/app"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	make_app
	cp app/* "$U/app/"
	chown -R hoytest "$U/app"
	u() { as_user "$U/bin/hoy" --runtime "$U/bin/hoy-runtime" "$@"; }
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	as_user podman build -q --network none -t theirs app
	u build --network none -t ours app >ours
	[[ $(grep -c 'Using cache' ours) == 7 ]]
	u build -q --no-cache --network none -t new app
	[[ $(u run --rm --network none new) == 'hello world' ]]
	[[ $(as_user podman run --rm --network none new) == 'hello world' ]]
	printf 'FROM busybox\nRUN exit 9\n' >"$U/app/Containerfile"
	try u build -q --network none app
	assert_status 9
	[[ -z $(as_user podman ps -a -q --external) ]]
}

@test "docker's names for it: buildx build, builder build, image build, buildx prune, version, inspect" {
	cd "$T"
	printf 'FROM scratch\nCOPY a /\n' >Containerfile
	echo a >a
	for name in 'buildx build' 'builder build' 'image build'; do
		# shellcheck disable=SC2086
		id=$(hoy $name -q -t "localhost/${name/ /-}" .)
		[[ $(hoy image inspect --format '{{.Id}}' "localhost/${name/ /-}") == "$id" ]]
	done
	hoy untag "$id"
	[[ $(hoy buildx prune -f) == "$id" && -z $(hoy images -aq) ]]
	[[ $(hoy buildx version) == 'hoy-build '* ]]
	diff <(hoy buildx inspect --bootstrap | sed 's/hoy/podman/') <(oracle_podman buildx inspect --bootstrap)
	[[ $(hoy help buildx build) == "$(hoy build --help)" ]]
	try hoy buildx bake
	assert_status 125
}
