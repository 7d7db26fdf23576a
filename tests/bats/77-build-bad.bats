#!/usr/bin/env bats
# build: what is wrong, hostile, or interrupted: one line that names file, line and instruction, and nothing left behind.

load ../lib/hoy

file() { printf '%s\n' 'FROM busybox' "$@" >Containerfile; }
build() { hoy build -q --network none --pull=never -f Containerfile "$@"; }

# No mount, container, image or temporary file more than before.
remember() { images=$(hoy images -aq --no-trunc | sort) layers=$(jq length "$ROOT/overlay-layers/layers.json"); }
nothing_left() {
	[[ -z $(mounts_below) ]] || { mounts_below; return 1; }
	[[ -z $(hoy ps -aq --external) ]] || { hoy ps -a --external; return 1; }
	[[ -z $(ls -A "$T/tmp" | grep -v '^buildah-cache') ]] || { ls -A "$T/tmp"; return 1; }
	[[ $(hoy images -aq --no-trunc | sort) == "$images" ]] || { hoy images -a; return 1; }
	[[ $(jq length "$ROOT/overlay-layers/layers.json") == "$layers" ]] || { echo 'a layer is left'; return 1; }
}

@test "one line that names file, line and instruction; nothing is left" {
	have_image busybox
	mkdir ctx
	echo x >ctx/x
	remember
	failed=0
	while IFS='|' read -r text want; do
		# shellcheck disable=SC2059
		printf "FROM busybox\n$text\n" >Containerfile
		try build --format docker ctx
		[[ $status == 125 && -z $output && $stderr == "Error: Containerfile:$want"* && $stderr != *$'\n'* ]] || { echo "with: $text: $status, $stderr"; failed=1; }
		nothing_left || { echo "after: $text"; failed=1; remember; }
	done <<-'END'
	NOSUCH x|2: unknown instruction: NOSUCH
	\nCOPY --nosuch x /|3: COPY: unknown flag: --nosuch
	ADD nosuch /|2: ADD: cannot find 'nosuch'
	COPY x nosuch* /|2: COPY: 
	COPY --from=nosuch.invalid/x /a /b|2: COPY: 
	RUN --mount=type=nosuch true|2: RUN: 
	RUN --mount=type=bind,from=nosuch.invalid/x,target=/x true|2: RUN: 
	RUN --mount=type=bind,source=nosuch,target=/x true|2: RUN: 
	RUN --mount=type=secret,id=nosuch,required=true true|2: RUN: 
	RUN --mount=type=ssh,required=true true|2: RUN: 
	RUN --network=nosuch true|2: RUN: 
	RUN --security=nosuch true|2: RUN: 
	RUN <<E|2: RUN: unterminated heredoc 'E'
	COPY --chown=nosuch x /|2: COPY: 
	COPY --chmod=999 x /|2: COPY: 
	ADD --checksum=sha256:00 x /|2: ADD: 
	ENV A=${B|2: ENV: 
	ENV A="b|2: ENV: 
	LABEL a=${A!}|2: LABEL: 
	USER ${N:?}|2: USER: 
	WORKDIR|2: WORKDIR: 
	STOPSIGNAL nosuch|2: STOPSIGNAL: 
	HEALTHCHECK NOSUCH|2: HEALTHCHECK: 
	ONBUILD FROM x|2: ONBUILD: 
	END
	[[ $failed == 0 ]]
}

@test "a RUN that fails: its exit status is the build's" {
	have_image busybox
	remember
	for code in 1 42 126 127 255; do
		file '' "RUN exit $code"
		run -"$code" --separate-stderr build .
		assert_error "Containerfile:3: RUN: building at STEP \"RUN exit $code\": while running runtime: exit status $code" "$code"
		nothing_left
	done
}

@test "a RUN that closes its files, writes much, rewrites what is mounted" {
	have_image busybox
	file 'RUN exec 0<&- 1>&- 2>&-; echo x >/x' 'RUN echo evil >/etc/resolv.conf; echo evil >/etc/hosts; echo evil >/etc/hostname' \
		'RUN rm -rf /proc/self /proc/1 2>/dev/null; umount /proc 2>/dev/null; true'
	# (With no network at all, there is nothing mounted on them: they are the image's, as for podman.)
	try hoy build -q --network host -t odd .
	assert_success
	dir=$(hoy image mount odd)
	not grep -rs evil "$dir/etc/resolv.conf" "$dir/etc/hosts"
	not test -s "$dir/etc/resolv.conf"
	hoy image umount odd >/dev/null
	not grep -s evil /etc/resolv.conf /etc/hosts
	file 'RUN dd if=/dev/zero bs=1M count=1024 2>/dev/null'
	hoy build --network none . | tail -c 100 >/dev/null
	file 'RUN yes | head -c 100000000 >&2'
	hoy build --network none . 2>&1 | wc -c | grep -E '^10[0-9]{7}$'
}

@test "links of a context and of an image lead nowhere else" {
	have_image busybox
	mkdir -p ctx/d outside
	echo secret >outside/secret
	ln -s "$T/outside" ctx/out
	ln -s loop ctx/loop
	touch ctx/d/$'new\nline' ctx/d/$'latin\xe9' ctx/x
	remember
	for line in 'COPY out/secret /x' 'COPY out/ /x/' 'ADD out/secret /x' 'RUN --mount=type=bind,source=out,target=/m cat /m/secret' 'COPY loop/x /x' 'COPY ../outside/secret /x'; do
		file "$line"
		try build ctx
		# A source that climbs is taken from the context's root; what isn't there is an error.
		assert_status 125 || assert_status 1
		not grep -q secret <<<"$output"
		nothing_left || { echo "after: $line"; false; }
	done
	file 'RUN --mount=type=bind,source=../..,target=/m ls /m >/list'
	build -t climbs ctx
	[[ $(hoy run --rm --network none climbs cat /list | xargs) == 'd loop out x' ]]
	# Into the image: a link is followed in its root.
	file "RUN ln -s $T/outside /out && ln -s ../../../../$T/outside /up" 'COPY x /out/' 'ADD x /up/y' 'WORKDIR /out' 'COPY x z' 'COPY d /d/' 'RUN ls /d | wc -l'
	build -t inside ctx
	[[ $(ls -A outside) == secret ]]
	hoy run --rm --network none inside ls "$T/outside" /d | grep -x z
}

@test "Ctrl-C and kill -9 at any time: nothing is left, the next build works" {
	have_image busybox
	mkdir ctx
	for i in {1..300}; do echo "$i" >"ctx/$i"; done
	printf 'FROM busybox\nCOPY . /all/\nRUN cp -r /all /copy\nFROM busybox\nCOPY --from=0 /copy /copy\nRUN sleep 0.1\n' >Containerfile
	remember
	for ms in 3 8 15 25 40 60 90 130 180; do
		# As from a terminal: the whole process group gets it.
		setsid "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --no-cache --network none -f Containerfile ctx >/dev/null 2>err 3>&- &
		pid=$!
		sleep "0.$(printf %03d $ms)"
		kill -INT -- "-$pid" 2>/dev/null || true
		code=0
		wait $pid || code=$?
		[[ $code == 130 || $code == 0 ]] || { echo "after $ms ms: $code $(<err)"; false; }
		[[ $(wc -l <err) -le 1 ]] || { cat err; false; }
		[[ -z $(mounts_below) && -z $(hoy ps -aq --external) && -z $(ls -A "$T/tmp") ]] || { echo "after $ms ms"; hoy ps -a --external; ls -A "$T/tmp"; false; }
	done
	for ms in 3 8 15 25 40 60 90 130 180; do
		setsid "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --no-cache --network none -f Containerfile ctx >/dev/null 2>&1 3>&- &
		pid=$!
		sleep "0.$(printf %03d $ms)"
		kill -KILL $pid 2>/dev/null || true
		wait $pid || true
		idle() { ! pgrep -f "^hoy-(transfer|builder|build) .*$ROOT" >/dev/null; }
		until_true 20 idle
	done
	build --no-cache -t works ctx
	[[ -z $(mounts_below) && -z $(hoy ps -aq --external) ]]
	[[ $(hoy run --rm --network none works ls /copy | wc -l) == 300 ]]
	try hoy system check
	assert_success
}

@test "secrets are nowhere: not in layers, histories, caches, messages" {
	have_image busybox
	printf 'hush-file-4711' >secret
	export HUSH=hush-env-4711
	file 'RUN --mount=type=secret,id=f,target=/s --mount=type=secret,id=e cat /s /run/secrets/e | wc -c >/count' 'RUN --mount=type=secret,id=f test ! -e /s; false'
	try hoy build --network none --secret "id=f,src=$T/secret" --secret id=e,env=HUSH --logfile log --metadata-file metadata .
	assert_status 1
	not grep -q hush- <<<"$output$stderr"
	not grep -rlE 'hush-(file|env)-4711' "$ROOT" "$RUNROOT" "$T/tmp" log
}

@test "stages that are missing or go round; a context of 100,000 files" {
	have_image busybox
	mkdir -p ctx/many
	remember
	for text in 'FROM busybox AS a\nCOPY --from=b /x /\nFROM a AS b\n' 'FROM busybox AS a\nCOPY --from=a /x /\n' 'FROM busybox AS a\nRUN --mount=type=bind,from=b,target=/b true\nFROM a AS b\n' 'FROM a AS b\nFROM b AS a\n'; do
		# shellcheck disable=SC2059
		printf "$text" >Containerfile
		try build ctx
		[[ $status == 125 && $stderr == 'Error: Containerfile:'[12]': '* && $stderr != *$'\n'* ]] || show "with: $text"
		nothing_left
	done
	(cd ctx/many && seq 100000 | xargs touch)
	file 'COPY many/99999 /x' 'COPY . /all/' 'RUN test "$(ls /all/many | wc -l)" = 100000'
	build ctx
}
