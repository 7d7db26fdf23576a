#!/usr/bin/env bats
# build: the language of Containerfiles in full: mounts, copies, contexts, and what is wrong with a file.

load ../lib/hoy
load ../lib/build

# file LINE...: a Containerfile on busybox
file() { printf '%s\n' 'FROM busybox' "$@" >Containerfile; }
build() { hoy build -q --network none -f Containerfile "$@"; }
theirs() { oracle_podman build -q --network none -f Containerfile "$@"; }
history_of() { "$1" image inspect "$2" | jq -r '.[0].History[].created_by'; }

@test "corpus: COPY and ADD with flags" { all_same '@(copy-parents|copy-exclude|copy-link|add-kinds)'; }
@test "corpus: RUN with mounts" { SECRET_VALUE=hush all_same 'mount-*' --secret id=sec,src=ctx/file --secret id=var,env=SECRET_VALUE; }

@test "RUN --mount=type=bind: ro and rw, parts of the context, stages and images; nothing of it stays" {
	have_image busybox
	make_context
	file 'RUN --mount=type=bind,source=tree,target=/m,rw echo new >/m/new; rm /m/a; ls /m >/list' \
		'RUN --mount=target=/w/m,readwrite=false ! touch /w/m/x 2>/dev/null' \
		'RUN --mount=type=bind,source=file,target=/f,rw echo changed >/f; cat /f >/c'
	build -t ours ctx
	[[ $(hoy run --rm --network none ours cat /list | xargs) == 'fifo hard new soft sub' ]]
	[[ $(hoy run --rm --network none ours cat /c) == changed ]]
	[[ ! -e ctx/tree/new && -e ctx/tree/a && $(<ctx/file) == file ]]
	try hoy run --rm --network none ours ls -d /m /w /f
	[[ $output == '' ]]
	# a link doesn't lead out of the context, nor does ..
	echo secret >secret
	ln -s ../secret ctx/out
	for source in out ../secret; do
		file "RUN --mount=type=bind,source=$source,target=/f cat /f"
		try build ctx
		assert_status 125
		assert_stderr_has "beneath"
	done
	# an image, read and written to
	file 'RUN --mount=type=bind,from=busybox,source=/etc,target=/e,rw echo x >>/e/passwd && cmp /etc/passwd /e/passwd && exit 1; true'
	build
	[[ -z $(mounts_below | grep -v merged) ]]
}

@test "what a bind mount holds is part of what the cache knows a RUN by, as buildah has it" {
	have_image busybox
	make_context
	cat >Containerfile <<-'END'
	FROM busybox AS one
	ARG WHAT=1
	RUN echo $WHAT >/one
	FROM busybox
	RUN --mount=type=bind,source=tree,target=/t ls -R /t
	RUN --mount=type=bind,target=/t true
	RUN --mount=type=bind,from=busybox,target=/t true
	END
	theirs -t theirs ctx
	build -t ours ctx
	[[ $(hoy images -q --no-trunc ours) == "$(hoy images -q --no-trunc theirs)" ]]
	touch -d 2001-01-01 ctx/tree/a
	[[ $(build ctx) == "$(hoy images -q --no-trunc ours | sed s/sha256://)" ]]
	echo more >>ctx/tree/a
	[[ $(build ctx) != "$(hoy images -q --no-trunc ours | sed s/sha256://)" ]]
	# Of a stage, too, which buildah doesn't look at.
	cat >>Containerfile <<-'END'
	RUN --mount=type=bind,from=one,source=one,target=/f cp /f /got
	END
	build -t got ctx
	[[ $(hoy run --rm --network none got cat /got) == 1 ]]
	build -t got --build-arg WHAT=2 ctx
	[[ $(hoy run --rm --network none got cat /got) == 2 ]]
	again=$(build --build-arg WHAT=2 ctx)
	[[ $again == "$(build --build-arg WHAT=2 ctx)" ]]
}

@test "RUN --mount=type=cache: one with buildah's; id, owner, mode, ro, from, source" {
	have_image busybox
	export TMPDIR=$T/tmp
	file 'RUN --mount=type=cache,target=/c echo theirs >/c/who' 'RUN --mount=type=cache,id=x,target=/c,uid=7,gid=8,mode=0750 touch /c/x'
	theirs .
	file 'RUN --mount=type=cache,target=/c cat /c/who >/who; mkdir /c/sub; echo ours >/c/sub/who' \
		'RUN --mount=type=cache,id=x,target=/other,uid=7,gid=8 ls /other >/x; stat -c "%a %u %g" /other >>/x' \
		'RUN --mount=type=cache,target=/new,mode=1777,uid=3 stat -c "%a %u %g" /new >/n' \
		'RUN --mount=type=cache,target=/c,ro ! touch /c/y 2>/dev/null' \
		'RUN --mount=type=cache,target=/c,source=sub cat /c/who >/sub'
	build -t ours --no-cache .
	[[ $(hoy run --rm --network none ours cat /who /x /n /sub | xargs) == 'theirs x 750 7 8 1777 3 0 ours' ]]
	file 'RUN --mount=type=cache,target=/c cat /c/sub/who'
	[[ $(oracle_podman build --network none . | grep -x ours) == ours ]]
	cat >Containerfile <<-'END'
	FROM busybox AS one
	RUN mkdir /d; echo stage >/d/f
	FROM busybox
	RUN --mount=type=cache,from=one,source=/d,target=/c cat /c/f >/f; echo x >>/c/f
	RUN --mount=type=cache,from=one,source=/d,target=/c cat /c/f >/g
	END
	build -t from .
	[[ $(hoy run --rm --network none from cat /f /g | xargs) == 'stage stage' ]]
	file 'RUN --mount=type=cache,target=/c,sharing=nope true'
	try build .
	assert_status 125
	assert_stderr_has 'unrecognized value "nope" for field `sharing`'
	# a directory of somebody else's is not used
	mkdir "$T/evil"
	mkdir "$T/evil/buildah-cache-0"
	chown 4711 "$T/evil/buildah-cache-0"
	file 'RUN --mount=type=cache,target=/c true'
	TMPDIR=$T/evil try build --no-cache .
	assert_status 125
	assert_stderr_has 'is no build cache of ours'
}

@test "caches that are locked wait for each other, for buildah's builds too; private ones have another directory" {
	have_image busybox
	file 'RUN --mount=type=cache,target=/c,sharing=locked [ ! -e /c/busy ] && touch /c/busy && sleep 1 && rm /c/busy'
	build --no-cache . & one=$!
	theirs --no-cache . & two=$!
	build --no-cache .
	wait $one $two
	file 'RUN --mount=type=cache,target=/p,sharing=private [ ! -e /p/busy ] && touch /p/busy && sleep 2 && rm /p/busy && touch /p/done'
	build --no-cache . & one=$!
	build --no-cache .
	wait $one
	[[ $(ls -d "$TMPDIR"/buildah-cache-0/*/done | wc -l) == 2 ]]
	# who waits can be stopped
	file 'RUN --mount=type=cache,target=/c,sharing=locked sleep 5'
	build --no-cache . & one=$!
	sleep 1
	file 'RUN --mount=type=cache,target=/c,sharing=locked true'
	timeout -s INT --preserve-status 2 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --no-cache --network none -f Containerfile . 2>err || code=$?
	[[ $code == 130 ]]
	grep -x 'Error: stopped by signal 2' err
	wait $one
}

@test "RUN --mount=type=tmpfs: size, mode, ro, copy-up" {
	have_image busybox
	file 'RUN --mount=type=tmpfs,target=/t,tmpfs-size=4m,tmpfs-mode=700 df -k /t | tail -1 | { read -r _ size _; echo $size; } >/size; stat -c %a /t >/mode; echo x >/t/x' \
		'RUN --mount=type=tmpfs,target=/t,size=1m df -k /t | tail -1 | { read -r _ size _; echo $size; } >>/size' \
		'RUN --mount=type=tmpfs,target=/etc,tmpcopyup cat /etc/passwd >/p; rm /etc/passwd' \
		'RUN --mount=type=tmpfs,target=/var ls /var >/var.list' \
		'RUN --mount=type=tmpfs,target=/t,ro ! touch /t/x 2>/dev/null'
	build -t ours .
	[[ $(hoy run --rm --network none ours cat /size /mode | xargs) == '4096 1024 700' ]]
	hoy run --rm --network none ours sh -c 'cmp /p /etc/passwd && [ ! -s /var.list ] && [ ! -e /t ]'
}

# Is TEXT in any file below DIR...?
holds() { grep -rlaF -- "$1" "${@:2}" 2>/dev/null; }

@test "secrets: from files and variables, as files and variables; they are nowhere afterwards" {
	have_image busybox
	printf 'filesecret-%s\n' 4711 >"$T/sec"
	export VARSECRET=varsecret-4712 byid=idsecret-4713
	file 'RUN --mount=type=secret,id=f cat /run/secrets/f | sha256sum >/f; stat -c "%a %u %g" /run/secrets/f >/m' \
		'RUN --mount=type=secret,id=v,target=/x/y,mode=0444,uid=5,gid=6 sha256sum </x/y >/v; stat -c "%a %u %g" /x/y >>/m' \
		'RUN --mount=type=secret,id=v,env=TOKEN [ ! -e /run/secrets/v ] && printf "%s" "$TOKEN" | sha256sum >/e' \
		'RUN --mount=type=secret,id=v,env=TOKEN,target=t [ -e /t ] && [ "$(cat /t)" = "$TOKEN" ]' \
		'RUN --mount=type=secret,id=byid [ -s /run/secrets/byid ]' \
		'RUN --mount=type=secret,id=gone,required=false [ ! -e /run/secrets/gone ]' \
		'RUN env | grep -q secret- && exit 1; true'
	hoy --log-level=debug build --network none --secret "id=f,src=$T/sec" --secret id=v,env=VARSECRET --secret id=byid -t ours . >out 2>&1
	rm "$T/sec"
	dir=$(hoy image mount ours)
	[[ $(cut -c-64 <"$dir/f") == $(printf 'filesecret-4711\n' | sha256sum | cut -c-64) ]]
	[[ $(cut -c-64 <"$dir/v") == $(printf varsecret-4712 | sha256sum | cut -c-64) ]]
	cmp "$dir/v" "$dir/e"
	[[ $(<"$dir/m") == $'400 0 0\n444 5 6' ]]
	[[ ! -e $dir/x && ! -e $dir/t && ! -e $dir/run/secrets ]]
	hoy image umount ours
	for text in filesecret- varsecret- idsecret-; do
		not holds "$text" "$ROOT" "$RUNROOT" "$TMPDIR" out /run/hoy /var/log/journal
	done
	# the same in layers that are compressed
	hoy save -q -o "$T/all.tar" ours
	mkdir all
	tar -xf "$T/all.tar" -C all
	for layer in all/*.tar; do ! tar -xOf "$layer" | grep -a 'secret-471'; done
	# another value is no reason for the cache to miss
	[[ $(VARSECRET=other build --secret id=v,env=VARSECRET --secret id=byid .) == "$(hoy images -q --no-trunc ours | sed s/sha256://)" ]]
}

@test "secrets that are missing or wrong" {
	have_image busybox
	file 'RUN --mount=type=secret,id=x,required true'
	try build .
	assert_status 125
	assert_stderr_has 'Containerfile:2: RUN: secret required but no secret with id "x" found'
	file 'RUN --mount=type=secret true'
	try build .
	assert_status 125
	assert_stderr_has 'secret should have syntax'
	for case in 'src=x|incorrect secret flag format' 'id=x,type=what|invalid secret type' 'id=x,src=/nowhere|could not parse secrets: stat /nowhere' 'id=x,what=1|incorrect'; do
		try build --secret "${case%%|*}" .
		assert_error "${case#*|}"
	done
}

@test "RUN --mount=type=ssh: an agent of one's own, keys; several; required" {
	command -v ssh-agent >/dev/null || skip 'no ssh-agent here'
	have_image busybox
	ssh-keygen -q -t ed25519 -N '' -C first -f key1
	ssh-keygen -q -t ed25519 -N '' -C second -f key2
	# What an agent answers to "list": the key's comment is in it.
	mkdir bin
	cc -static -o bin/ask -x c - <<-'END'
	#include <sys/socket.h>
	#include <sys/un.h>
	#include <unistd.h>
	#include <string.h>
	int main(int argc, char **argv) {
		struct sockaddr_un a = { AF_UNIX };
		int s = socket(AF_UNIX, SOCK_STREAM, 0);
		char b[4096];
		strcpy(a.sun_path, argv[1]);
		if (connect(s, (void *)&a, sizeof(a)) || write(s, "\0\0\0\1\13", 5) != 5) return 1;
		return write(1, b, read(s, b, sizeof(b))) <= 0;
	}
	END
	file 'COPY bin/ask /bin/' 'RUN --mount=type=ssh stat -c "%F %a %u" "$SSH_AUTH_SOCK" >/m; echo "$SSH_AUTH_SOCK" >>/m; ask "$SSH_AUTH_SOCK" >/one' \
		'RUN --mount=type=ssh,id=two,target=/sock,uid=7,mode=0666 --mount=type=ssh stat -c "%F %a %u" /sock >>/m; ask /sock >/two && ask /sock >/two' \
		'RUN --mount=type=ssh,id=none [ -z "$SSH_AUTH_SOCK" ]'
	background ssh-agent -D -a "$T/agent"
	until_true 5 test -S "$T/agent"
	SSH_AUTH_SOCK=$T/agent ssh-add -q key1
	SSH_AUTH_SOCK=$T/agent build -t ours --ssh default --ssh "two=$PWD/key2" .
	dir=$(hoy image mount ours)
	[[ $(<"$dir/m") == $'socket 600 0\n/run/buildkit/ssh_agent.0\nsocket 666 7' ]]
	grep -qa first "$dir/one"
	grep -qa second "$dir/two"
	not grep -qa first "$dir/two"
	hoy image umount ours
	file 'RUN --mount=type=ssh,required=true true'
	try build .
	assert_status 125
	assert_stderr_has 'ssh required but no ssh with id default found'
	try build --ssh default=/nowhere .
	assert_status 125
	assert_stderr_has "cannot use '/nowhere' for --ssh"
}

@test "RUN --network and --security" {
	have_image busybox
	file 'RUN --network=none [ "$(ls /sys/class/net)" = lo ]' 'RUN --network=host readlink /proc/self/ns/net >/net'
	hoy build -q -t ours .
	[[ $(hoy run --rm --network none ours cat /net) == "$(readlink /proc/self/ns/net)" ]]
	file 'RUN --network=foo true'
	try hoy build .
	assert_status 125
	assert_stderr_has 'unsupported value "foo" for "RUN --network", must be either "host" or "none"'
	file 'RUN --security=sandbox grep CapEff /proc/self/status >/one' 'RUN --security=insecure grep CapEff /proc/self/status >/two'
	try build .
	assert_status 125
	assert_stderr_has 'is not allowed (build with: --allow security.insecure)'
	build -t ours --allow security.insecure .
	hoy run --rm --network none ours sh -c '! cmp -s /one /two'
	try build --allow what .
	assert_error '--allow must be'
}

@test "mounts that are wrong: the line, and what is the matter" {
	have_image busybox
	while IFS='|' read -r flag want; do
		file "RUN --mount=$flag true"
		try build .
		assert_status 125
		[[ $want == nowhere.invalid ]] || assert_stderr_has "Containerfile:2: RUN: "
		assert_stderr_has "$want"
	done <<-'END'
	type=nope,target=/x|invalid mount type "nope"
	type=bind|must set volume destination
	type=bind,target=/x,nope|nope: invalid mount option
	type=bind,target=/x,source=|source: must provide an argument for option
	type=bind,target=/|the target cannot be /
	type=bind,target=/x,relabel=what|must be 'private' or 'shared'
	type=bind,target=/x,bind-propagation=what|invalid mount option
	type=cache,target=/x,mode=9|unable to parse mode '9'
	type=cache,target=/x,uid=-1|unable to parse uid '-1'
	type=bind,target=/x,nosuid=1|must not provide an argument for option
	type=tmpfs,target=/x,from=busybox|from: invalid mount option of type tmpfs
	type=bind,target=/x,from=nowhere.invalid/x|nowhere.invalid
	type=bind,target=/x,source=nope|nope
	END
	file 'RUN --mount=type=tmpfs,target=/x --mount=type=tmpfs,target=/x/ true'
	try build .
	assert_stderr_has 'duplicate mount destination'
}

@test "an ordinary user's builds have mounts of all kinds" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	mkdir -p "$U/bin" "$U/app/d"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	echo in >"$U/app/d/f"
	cat >"$U/app/Containerfile" <<-'END'
	FROM busybox
	RUN --mount=type=bind,source=d,target=/d,rw --mount=type=cache,target=/c,uid=3 --mount=type=secret,id=s,uid=3 --mount=type=tmpfs,target=/t \
	  cat /d/f /run/secrets/s >/got; echo x >/d/x; stat -c %u /c /run/secrets/s >>/got; touch /t/x /c/x
	END
	chown -R hoytest "$U/app"
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	as_user "$U/bin/hoy" --runtime "$U/bin/hoy-runtime" build -q --network none --secret id=s,src=app/d/f -t ours app
	[[ $(as_user podman run --rm --network none ours cat /got | xargs) == 'in in 3 3' ]]
	[[ ! -e $U/app/d/x ]]
}

# ---- COPY and ADD

# A web server of what is in the directory WWW: sets WEB.
web_start() {
	mkdir -p www
	background python3 -c '
import http.server, functools, sys
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory="www"))
open("web.port", "w").write("%d\n" % s.server_port)
s.serve_forever()' 2>web.log
	until_true 10 test -s web.port
	WEB=http://127.0.0.1:$(<web.port)
}

# A repository behind it: two commits, v1 and main.
repo_start() {
	command -v git >/dev/null || skip 'no git here'
	git init -q -b main repo
	(
		cd repo
		git config user.email a@b
		git config user.name n
		mkdir sub
		echo one >f
		echo s >sub/s
		ln -s /etc sub/out
		git add .
		git commit -qm one
		git tag v1
		echo two >f
		git commit -qam two
	)
	web_start
	git clone -q --bare repo www/repo.git
	git -C www/repo.git update-server-info
}

@test "ADD of URLs: names, modes, owners, times, digests as buildah's" {
	have_image busybox
	make_context
	web_start
	cp ctx/file ctx/plain.tar www/
	find www -exec touch -d '2020-01-02 03:04:05' {} +
	sum=sha256:$(sha256sum <ctx/file | cut -c-64)
	printf '%s\n' 'FROM busybox' "ARG WEB=$WEB" 'ADD $WEB/file /dir/' "ADD $WEB/file /name" "ADD --chmod=751 --chown=3:4 $WEB/file?q=1 /own/" "ADD $WEB/plain.tar /tar/" \
		"ADD --checksum=$sum $WEB/file /sum" "ADD $WEB/file file two /many/" >url
	for who in oracle_podman hoy; do
		$who build -q --no-cache --network host -t $who -f url ctx
		settings $who $who >$who.json
		tree $who $who >$who.tree
	done
	diff oracle_podman.json hoy.json
	diff oracle_podman.tree hoy.tree
	# the cache is one
	[[ $(hoy build -q -f url ctx) == $(hoy images -q --no-trunc hoy | sed s/sha256://) ]]
	oracle_podman build --network host -f url ctx >out
	[[ $(grep -c 'Using cache' out) == 7 ]]
	file "ADD --checksum=${sum/sha256:?/sha256:x} $WEB/file /"
	try build ctx
	assert_status 125
	assert_stderr_has 'unexpected response digest for "file": sha256:'
	file "ADD $WEB/nope /"
	try build ctx
	assert_status 125
	assert_stderr "Error: Containerfile:2: ADD: reading \"$WEB/nope\": invalid response status 404"
	file "ADD --checksum=$sum file /"
	try build ctx
	assert_status 125
	assert_stderr_has 'checksum flag is not supported for local sources'
	file 'ADD http://127.0.0.1:1/x /'
	try build ctx
	assert_status 125
	assert_stderr_has 'reading "http://127.0.0.1:1/x": '
	file "ADD $WEB /"
	try build ctx
	assert_status 125
	assert_stderr_has 'names no file'
	file "ADD --unpack $WEB/plain.tar /un/" 'ADD --unpack=false plain.tar /un/'
	build -t un ctx
	[[ $(hoy run --rm --network none un ls /un | xargs) == 'a plain.tar soft sub' ]]
}

@test "ADD of git repositories: refs, directories, the history" {
	have_image busybox
	repo_start
	mkdir ctx
	commit=$(git -C repo rev-parse v1)
	file "ADD $WEB/repo.git /head/" "ADD $WEB/repo.git#v1 /v1" "ADD $WEB/repo.git#$commit:sub /sub" "ADD --keep-git-dir $WEB/repo.git#main /kept" "ADD --keep-git-dir=false $WEB/repo.git#:sub /s2/"
	build -t ours ctx
	[[ $(hoy run --rm --network none ours sh -c 'cat /head/f /v1/f /sub/s /kept/f /s2/s; ls -d /*/.git; ls /sub' | xargs) == 'two one s two s /kept/.git out s' ]]
	file "ADD $WEB/repo.git#nope /x"
	try build ctx
	assert_status 125
	assert_stderr_has "Containerfile:2: ADD: cloning \"$WEB/repo.git\" at nope failed"
	for bad in '#--upload-pack=x' '#:../..' '#:sub/out/ssh' '#:nope'; do
		file "ADD $WEB/repo.git$bad /x"
		try build ctx
		[[ $status == 125 || $bad == '#:../..' ]]
	done
}

@test "--chmod as chmod(1) has it" {
	have_image busybox
	mkdir -p ctx/d/e
	printf x >ctx/d/f
	printf x >ctx/d/x
	for mode in 0751 6755 u+x go-rwx a=rX u=rwx,g=rx,o= +t g=u,o-r u+s,g+s -x =; do
		find ctx/d -exec chmod 644 {} +
		chmod 755 ctx/d/x
		find ctx/d -type d -exec chmod 750 {} +
		file "COPY --chmod=$mode d /d"
		build -t ours ctx
		dir=$(hoy image mount ours)
		(cd "$dir/d" && find . -mindepth 1 -printf '%P %m\n' | sort) >ours.list
		hoy image umount ours
		(umask 0 && find ctx/d -mindepth 1 -depth -exec chmod "$mode" {} +)
		(cd ctx/d && find . -mindepth 1 -printf '%P %m\n' | sort) >chmod.list
		diff chmod.list ours.list || { echo "with $mode"; false; }
	done
	for mode in 8 99999 u+q x u+x,; do
		file "COPY --chmod=$mode d /d"
		try build ctx
		assert_status 125
		assert_stderr_has "Containerfile:2: COPY: parsing chmod \"$mode\""
	done
}

# The last N layers of an image, as podman or hoy ($1) sees it.
last_layers() { "$1" image inspect "$2" | jq -r ".[0].RootFS.Layers[-$3:][]"; }

@test "COPY --link doesn't look at what is there: the same layers as podman's" {
	have_image busybox
	make_context
	touch -d '2021-02-03 04:05:06.7' ctx/tree
	file 'RUN mkdir -m 700 /new /real; ln -s /real /l' 'COPY --link --chown=7:8 tree /new/' 'COPY --link file two /new/deep/er/' 'COPY --link file /l/f' \
		'ADD --link --chmod=640 file /new/x' 'COPY --link dirlink /' 'COPY --link --parents tree/sub/deep /p/q/'
	theirs --layers --no-cache -t theirs ctx
	build --layers --no-cache -t ours ctx
	diff <(last_layers oracle_podman theirs 6) <(last_layers hoy ours 6)
	diff <(hoy image inspect theirs | jq -c '.[0].History[-6:]') <(hoy image inspect ours | jq -c '.[0].History[-6:]')
	[[ $(hoy run --rm --network none ours stat -c '%a %u %Y' /new | xargs) == "755 0 $(date -d '2020-01-02 03:04:05' +%s)" ]]
}

@test "COPY --link on another base: the layer is taken from the store" {
	have_image busybox
	make_context
	file 'RUN echo 1 >/1' 'WORKDIR /w' 'COPY --link tree sub/' 'ADD --link plain.tar /arch/'
	build --layers -t one ctx
	# what lies below is new; who reads the context again, sees that its files are younger
	touch ctx/tree/a
	sed -i s/1/2/g Containerfile
	hoy build --layers --explain-cache --network none -f Containerfile -t two ctx >out
	[[ $(grep -c 'Using the layer of .*, made of the same on another base' out) == 2 ]]
	diff <(last_layers hoy one 2) <(last_layers hoy two 2)
	[[ $(hoy image inspect one two | jq -r '.[].RootFS.Layers[1]' | uniq | wc -l) == 2 ]]
	[[ $(hoy run --rm --network none two cat /w/sub/sub/deep /arch/a | xargs) == 'deep a' ]]
	[[ $(oracle_podman run --rm --network none two stat -c '%Y %h %U' /w/sub/a) == "$(date -d '2020-01-02 03:04:05' +%s) 2 root" ]]
	# the records say the same, and all is there
	jq -c 'group_by(."diff-digest")[] | select(length > 1) | map(del(.id, .parent, .created)) | unique | length' "$ROOT/overlay-layers/layers.json" | sort -u >kinds
	[[ $(<kinds) == 1 ]]
	hoy system check
	oracle_podman system check
	# on an image that has other settings alone, the layer is there already, at this very place
	sed -i '/^RUN/a ENV A=1' Containerfile
	hoy build --layers --network none -f Containerfile -t three ctx >out
	[[ $(grep -c 'Using the layer of' out) == 2 ]]
	diff <(hoy image inspect two | jq '.[0].RootFS') <(hoy image inspect three | jq '.[0].RootFS')
	hoy rmi three
	# the image that it came from may go
	hoy rmi one
	[[ $(hoy run --rm --network none two cat /w/sub/hard) == a ]]
	# --no-cache is obeyed
	sed -i s/2/3/g Containerfile
	hoy build --layers --no-cache --network none -f Containerfile ctx >out
	not grep 'Using' out
}

@test "COPY --link: what is another layer isn't taken for the same" {
	have_image busybox
	make_context
	link() { hoy build --layers --network none -f Containerfile -t "$@" ctx >out || { cat out; return 1; }; }
	taken() { grep -c 'Using the layer of' out || true; }
	file 'RUN echo app:x:7:8::/: >>/etc/passwd' 'WORKDIR /w' 'ARG TO=/t' 'COPY --link --chown=app file sub/' 'COPY --link two $TO/'
	link one
	[[ $(taken) == 0 ]]
	# an owner by the name of another one
	sed -i s/7:8/9:8/ Containerfile
	link two
	[[ $(taken) == 0 && $(hoy run --rm --network none two stat -c %u /w/sub/file) == 9 ]]
	# another directory
	sed -i 's,/w,/v,' Containerfile
	link three
	[[ $(taken) == 0 && $(hoy run --rm --network none three cat /v/sub/file) == file ]]
	# a variable in the destination: what it was, nobody knows
	sed -i -e 's,=/t,=/u,' -e 's,RUN,RUN :;,' Containerfile
	link four
	[[ $(taken) == 1 ]]
	[[ $(hoy run --rm --network none four cat /u/two) == two ]]
	# other content, another time
	file 'RUN echo 4' 'COPY --link file /f/'
	link five
	echo more >>ctx/file
	sed -i s/4/5/ Containerfile
	link six
	[[ $(taken) == 0 && $(hoy run --rm --network none six cat /f/file | xargs) == 'file more' ]]
	sed -i s/5/6/ Containerfile
	link seven --timestamp 1000000000
	[[ $(taken) == 0 && $(hoy run --rm --network none seven stat -c %Y /f/file) == 1000000000 ]]
	sed -i s/6/7/ Containerfile
	link eight --timestamp 1000000000
	[[ $(taken) == 1 && $(hoy run --rm --network none eight stat -c %Y /f/file) == 1000000000 ]]
}

@test "flags of COPY and ADD that are wrong" {
	have_image busybox
	make_context
	while IFS='|' read -r line want; do
		file "$line"
		try build ctx
		assert_status 125
		assert_stderr_has "Containerfile:2: "
		assert_stderr_has "$want"
	done <<-'END'
	COPY --keep-git-dir file /|unknown flag: --keep-git-dir
	COPY --checksum=sha256:x file /|unknown flag: --checksum
	ADD --parents file /|unknown flag: --parents
	ADD --from=busybox file /|unknown flag: --from
	COPY --link=maybe file /|--link must be true or false, not 'maybe'
	COPY --exclude= file /|--exclude needs a value
	COPY --exclude=file file /|left out by '--exclude'
	COPY --exclude=[ file /|syntax error in pattern
	ADD --unpack=x file /|--unpack must be
	END
}

# ---- contexts

@test "contexts from stdin: a tar, a compressed one, a Containerfile" {
	have_image busybox
	mkdir -p ctx/sub
	echo hello >ctx/sub/f
	printf 'FROM busybox\nCOPY . /all/\n' >ctx/Containerfile
	tar -cf ctx.tar -C ctx .
	build() { hoy build -q --network none "$@"; }
	build -t a - <ctx.tar
	[[ $(hoy run --rm --network none a cat /all/sub/f) == hello ]]
	gzip -c ctx.tar | build -t b -
	[[ $(hoy run --rm --network none b cat /all/sub/f) == hello ]]
	printf 'FROM busybox\nCOPY sub/f /other\n' >other
	build -t c -f other - <ctx.tar
	[[ $(hoy run --rm --network none c cat /other) == hello ]]
	printf 'FROM busybox\nLABEL a=stdin\n' | build -t d -
	[[ $(hoy image inspect d | jq -r '.[0].Config.Labels.a') == stdin ]]
	try build -f - - <ctx.tar
	assert_error 'stdin can be the context or the Containerfile, not both'
	# one that leads out of itself
	mkdir evil && ln -s "$T" evil/out && tar -cf evil.tar -C evil out && rm evil/out && mkdir evil/out && echo x >evil/out/pwned && tar -rf evil.tar -C evil out/pwned
	build - <evil.tar || true
	[[ ! -e $T/pwned ]]
	[[ -z $(ls "$TMPDIR") ]]
}

@test "contexts from elsewhere: a tar and a Containerfile of a web server, git repositories" {
	have_image busybox
	repo_start
	(cd repo && printf 'FROM busybox\nCOPY . /all/\n' >Containerfile && mkdir d && printf 'FROM busybox\nCOPY . /d/\n' >d/Dockerfile && git add . && git commit -qm three)
	rm -rf www/repo.git
	git clone -q --bare repo www/repo.git
	git -C www/repo.git update-server-info
	build() { hoy build -q --network none "$@"; }
	build -t git "$WEB/repo.git"
	[[ $(hoy run --rm --network none git sh -c 'cat /all/f; ls -d /all/.git' | xargs) == 'two /all/.git' ]]
	build -t sub "$WEB/repo.git#main:d"
	[[ $(hoy run --rm --network none sub ls /d) == Dockerfile ]]
	tar -czf www/ctx.tar.gz -C repo Containerfile f
	build -t tar "$WEB/ctx.tar.gz"
	[[ $(hoy run --rm --network none tar ls /all | xargs) == 'Containerfile f' ]]
	printf 'FROM busybox\nLABEL a=web\n' >www/file
	build -t web "$WEB/file"
	build -t web2 -f "$WEB/file" repo
	[[ $(hoy image inspect web web2 | jq -r '.[].Config.Labels.a' | xargs) == 'web web' ]]
	for bad in nope repo.git#nope repo.git#:gone; do
		try build "$WEB/$bad"
		assert_status 125
		[[ -n $stderr ]]
	done
	[[ -z $(ls "$TMPDIR") ]]
}

@test "--build-context: directories, URLs and images, for FROM, COPY and RUN" {
	have_image busybox
	make_context
	web_start
	mkdir named
	echo named >named/f
	tar -cf www/n.tar -C named .
	cat >Containerfile <<-'END'
	FROM busybox AS files
	RUN echo stage >/f
	FROM base
	COPY --from=files f /dir
	COPY --from=img /etc/passwd /img
	RUN --mount=type=bind,from=files,target=/m cat /m/f >/run1; ls -d /m/file 2>/dev/null || true
	RUN --mount=type=bind,from=img,source=/etc,target=/e ls /e >/run2
	END
	args=(--build-context base=docker-image://localhost/busybox --build-context files=named --build-context img=container-image://busybox)
	build "${args[@]}" -t ours ctx
	theirs --no-cache "${args[@]}" -t theirs ctx
	diff <(settings oracle_podman theirs) <(settings oracle_podman ours)
	diff <(tree oracle_podman theirs) <(tree oracle_podman ours)
	file 'COPY --from=web f /f'
	build --build-context "web=$WEB/n.tar" -t web ctx
	[[ $(hoy run --rm --network none web cat /f) == named ]]
	for case in 'x|must be NAME=VALUE' 'x=|must be NAME=VALUE' 'x=/nowhere|cannot use the context' 'busybox=named|is a directory: FROM needs an image'; do
		try build --build-context "${case%%|*}" ctx
		assert_status 125
		assert_stderr_has "${case#*|}"
	done
}

@test "several Containerfiles, Containerfile.in, --build-arg-file, --stdin" {
	have_image busybox
	mkdir ctx
	printf 'FROM busybox AS one\nRUN echo one >/one\n' >first
	printf 'FROM one\nRUN echo two >/two\n\nLABEL x\n' >second
	try build -f first -f second ctx
	rm Containerfile 2>/dev/null || true
	build() { hoy build -q --network none "$@"; }
	sed -i '$d' second
	build -f first -f second -t both ctx
	[[ $(hoy run --rm --network none both cat /one /two | xargs) == 'one two' ]]
	printf 'FROM one\nNOPE x\n' >bad
	try build -f first -f bad ctx
	assert_error 'bad:2: unknown instruction: NOPE'
	printf 'FROM one\nCOPY nope /\n' >bad
	try build -f first -f bad ctx
	assert_status 125
	assert_stderr_has 'bad:2: COPY: '
	printf '#include "common"\nRUN echo in >/in\n#ifdef MORE\nLABEL more=MORE\n#endif\n' >Containerfile.in
	printf 'FROM busybox\nLABEL from=common\n' >ctx/common
	build -f Containerfile.in -t in ctx
	[[ $(hoy image inspect in | jq -c '.[0].Config.Labels | [.from, .more]') == '["common",null]' ]]
	build -f Containerfile.in --cpp-flag=-DMORE=yes -t in ctx
	[[ $(hoy image inspect in | jq -r '.[0].Config.Labels.more') == yes ]]
	printf '# comment\n\nA=file\nB=file\n' >args
	printf 'FROM busybox\nARG A\nARG B\nARG C\nRUN echo $A $B $C >/v\n' >Containerfile
	C=env build --build-arg-file args --build-arg B=line --build-arg C -f Containerfile -t args ctx
	[[ $(hoy run --rm --network none args cat /v) == 'file line env' ]]
	printf 'FROM busybox\nRUN cat >/in\n' >Containerfile
	echo typed | build --stdin -f Containerfile -t typed ctx
	[[ $(hoy run --rm --network none typed cat /in) == typed ]]
	echo typed | build -f Containerfile --no-cache -t untyped ctx
	[[ $(hoy run --rm --network none untyped cat /in) == '' ]]
}

@test "ignore files: by the Containerfile's name first, --ignorefile before all" {
	have_image busybox
	mkdir ctx
	touch ctx/{a,b,c,d}
	printf 'FROM busybox\nCOPY . /all/\n' | tee ctx/Containerfile >other
	for step in 'ctx/.dockerignore a' 'ctx/.containerignore b' 'ctx/Containerfile.dockerignore c' 'ctx/Containerfile.containerignore d' 'other.dockerignore a' 'ctx/other.dockerignore c' 'given c'; do
		echo '[ao]*' >ctx/unused
		echo "${step#* }" >"${step% *}"
		for args in '' '-f other' '-f ctx/Containerfile' "-f $PWD/other" '--ignorefile given'; do
			[[ $args != *given || -e given ]] || continue
			for who in oracle_podman hoy; do
				# shellcheck disable=SC2086
				$who build -q --no-cache --network none $args -t "$who" ctx >/dev/null
				dir=$($who image mount "$who")
				(cd "$dir" && find all -type f | sort) >"$who.list"
				$who image umount "$who" >/dev/null
			done
			diff oracle_podman.list hoy.list || { echo "with $step, $args"; false; }
		done
	done
}

# ---- what is wrong, and what is hostile

@test "Containerfiles that are wrong: file, line and instruction are named" {
	have_image busybox
	make_context
	while IFS='|' read -r text want; do
		printf "$text\n" >Containerfile
		try hoy build --network none --pull=never -f Containerfile ctx
		assert_status 125
		assert_stderr_has "$want"
	done <<-'END'
	FROM busybox\nRUN --mount|Containerfile:2: RUN: requires an argument
	FROM busybox\n\n# c\nRUN <<X\nno end|Containerfile:4: RUN: unterminated heredoc 'X'
	# escape=x\nFROM busybox|Containerfile:1: invalid escape token 'x'
	# escape=`\n# escape=`\nFROM busybox|Containerfile:2: only one escape parser directive can be used
	FROM busybox AS|Containerfile:1: FROM: requires one argument, or three
	FROM busybox\nONBUILD ONBUILD RUN x|Containerfile:2: ONBUILD: ONBUILD isn't allowed as an ONBUILD trigger
	FROM busybox\nCOPY --from=later a b|later
	FROM two AS one\nFROM one AS two|Containerfile:1: FROM: 
	FROM one AS one|Containerfile:1: FROM: 
	FROM busybox\nENV|Containerfile:2: ENV: requires at least one argument
	FROM busybox\nSHELL sh|Containerfile:2: SHELL: requires the arguments to be in JSON form
	FROM busybox\nCOPY file|Containerfile:2: COPY: requires at least one source and a destination
	FROM busybox\nUSER ${X:?no user}|Containerfile:2: USER: X: no user
	FROM busybox\nHEALTHCHECK --interval=x CMD true|Containerfile:2: HEALTHCHECK: --interval must be a duration
	FROM busybox\nSTOPSIGNAL 0|Containerfile:2: STOPSIGNAL: Invalid signal: 0
	FROM ${NOTHING}|base name (${NOTHING}) should not be blank
	ENV A=b\nFROM busybox|Containerfile:1: ENV: no build stage in current context
	END
	# no instruction at all, NUL bytes, binary rubbish
	: >Containerfile
	try hoy build -f Containerfile ctx
	assert_error 'file with no instructions'
	printf 'FROM busybox\nRUN a\0b\n' >Containerfile
	try hoy build -f Containerfile ctx
	assert_error 'Containerfile:2: a NUL byte'
	head -c 100000 /dev/urandom >Containerfile
	try hoy build -f Containerfile ctx
	assert_status 125
	[[ -z $(hoy ps -a -q --external) ]]
}

@test "directives and predefined arguments are as podman's" {
	have_image busybox
	make_context
	printf '# escape=`\nFROM busybox\nARG TARGETARCH\nARG TARGETPLATFORM\nARG BUILDOS\nARG HTTP_PROXY\nARG SOURCE_DATE_EPOCH\nRUN echo $TARGETARCH $TARGETPLATFORM `\n $BUILDOS "$HTTP_PROXY" >/a\nRUN env | grep -i -E "^(http|no)_proxy" | sort >/p; true\n' >Containerfile
	for who in theirs build; do
		HTTP_PROXY=http://proxy.invalid "$who" --no-cache --build-arg no_proxy=x -t "$who" ctx
	done
	diff <(tree oracle_podman theirs) <(tree oracle_podman build)
	diff <(settings oracle_podman theirs) <(settings oracle_podman build)
	# As docker has it, other directives may stand in front.
	printf '# syntax=docker/dockerfile:1\n# check=skip=all;error=true\n# escape=`\nFROM busybox\nRUN echo one `\n two >/a\n' >Containerfile
	build -t docker ctx
	[[ $(hoy run --rm --network none docker cat /a) == 'one two' ]]
}

@test "a context with loops of links, deep paths and 20,000 files" {
	have_image busybox
	mkdir -p ctx/many
	ln -s loop ctx/loop
	ln -s . ctx/self
	(cd ctx && for i in {1..100}; do mkdir deep && cd deep; done && echo x >bottom)
	(cd ctx/many && seq 20000 | xargs touch)
	file 'COPY . /all/' 'RUN [ "$(ls /all/many | wc -l)" = 20000 ] && [ "$(find /all -name bottom | wc -l)" = 1 ] && [ -L /all/loop ]'
	build -t ours ctx
	file 'COPY loop /x'
	try build ctx
	assert_status 125
	assert_stderr_has 'Containerfile:2: COPY: '
	file 'COPY self/self/self/many/7 /x'
	build ctx
	printf 'loop/**\n**/deep/**/deep/**/deep/**/q\n' >ctx/.containerignore
	file 'COPY . /all/'
	timeout 100 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --network none -f Containerfile ctx
}

@test "a context of 100,000 files, most of which hundreds of patterns leave out, with 64 descriptors" {
	have_image busybox
	for i in {0..99}; do mkdir -p "ctx/many/$i/a/b"; done
	seq 0 99999 | awk '{ print "ctx/many/" int($1 / 1000) "/a/b/" $1 }' | xargs touch
	for i in {1..300}; do printf '**/*.o%s\nmany/%s0/x%s\n' "$i" "$i" "$i"; done >ctx/.containerignore
	printf '%s\n' 'many/*/a/b/*[0-8]' '!many/7/a/b/7000' 'many/9?' >>ctx/.containerignore
	file 'COPY . /all/'
	(ulimit -n 64 && /usr/bin/time -f %M -o most "$HOY_BIN/hoy" "${HOY_OPTS[@]}" build -q --network none -f Containerfile -t ours ctx)
	[[ $(tail -n 1 most) -lt 65536 ]] || { cat most; false; }
	# those that end in 9, of 90 directories, and one more
	[[ $(hoy run --rm --network none ours find /all -type f | sed 's,.*/,,' | grep -vc '^\.') == 9001 ]]
	[[ $(hoy run --rm --network none ours sh -c 'ls /all/many/7/a/b | head -n 3' | xargs) == '7000 7009 7019' ]]
}

@test "a RUN that kills all it can, leaves processes, is killed" {
	have_image busybox
	file 'RUN kill -9 -1; kill -9 1; kill -9 $PPID; true' 'RUN (setsid sleep 4711 &) ; nohup sleep 4712 >/dev/null 2>&1 & true' "RUN sh -c 'kill -9 \$\$'; exit \$?"
	try build .
	assert_status 137
	assert_stderr_has 'Containerfile:4: RUN: building at STEP'
	assert_stderr_has 'while running runtime: exit status 137'
	not pgrep -f 'sleep 471[12]'
	[[ -z $(hoy ps -a -q --external) && -z $(mounts_below) ]]
}

@test "a RUN or COPY that fills the disk" {
	mkdir small
	mount -t tmpfs -o size=24m tmpfs small
	store_new small
	have_image busybox
	before=$(hoy images -a -q | wc -l)
	file 'RUN dd if=/dev/zero of=/big bs=1M count=100'
	try build .
	[[ $status != 0 ]]
	assert_stderr_has 'No space left on device'
	mkdir ctx
	dd if=/dev/zero of=ctx/big bs=1M count=100 status=none
	file 'COPY big /'
	try build ctx
	assert_status 125
	assert_stderr_has 'No space left on device'
	[[ $(hoy images -a -q | wc -l) == "$before" && -z $(hoy ps -a -q --external) ]]
	file 'COPY small /'
	echo x >ctx/small
	rm ctx/big
	build ctx
	hoy rmi -f -a >/dev/null
	umount small || umount -l small
}
