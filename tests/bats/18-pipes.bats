#!/usr/bin/env bats
# Images through pipes: their pieces on stdin and stdout; where a name leads; progress; images to other users and machines.
load ../lib/hoy

image() { tool hoy-image "$@"; }
# The script NAME of hoy-image-pipes(7), as it stands there.
script() {
	sed -n "/^\\.\\\\\" script: $1\$/,/^\\.Ed/p" "$HOY_TOP/man/hoy-image-pipes.7" | sed -e '1,2d' -e '$d' -e 's/\\e/\\/g' >"$1"
	[[ $(head -1 "$1") == '#!/bin/sh' ]]
	chmod +x "$1"
	PATH=$HOY_BIN:$PATH
}
tag_of() { oracle skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$1"; }
sum() { sha256sum | sed 's/^\([0-9a-f]*\).*/sha256:\1/'; }

@test "the manual's copy is copy: one image, a list, from and to registries, layouts and directories" {
	script copy
	registry_start a
	from=$REGISTRY
	registry_start b
	to=$REGISTRY
	image copy -q "oci:$(fixture stack)/oci:latest" "docker://$from/stack:1" --dest-tls-verify=false
	try ./copy "docker://$from/stack:1" "docker://$to/piped:1" --tls-verify=false
	assert_success
	image copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$from/stack:1" "docker://$to/copied:1"
	assert_stdout "$(tag_of "$to/copied:1")"
	[[ $(tag_of "$to/piped:1") == "$output" ]]
	have_image stack
	# All its blobs are there: it can be pulled.
	try hoy pull -q --tls-verify=false "$to/piped:1"
	assert_stdout "$(oracle_podman image inspect --format '{{.Id}}' stack)"
	# Once more, to a layout, and from there to a directory.
	./copy "docker://$from/stack:1" "oci:$T/lay:x" --tls-verify=false
	./copy "oci:$T/lay:x" "dir:$T/dir"
	cmp "$T/dir/manifest.json" <(image manifest get --tls-verify=false "docker://$from/stack:1")
	[[ $(oracle skopeo inspect --format '{{.Digest}}' "oci:$T/lay:x") == "$(tag_of "$from/stack:1")" ]]
	# A list with its images.
	hoy manifest create l stack
	hoy manifest add --arch arm64 l "oci:$(fixture busybox)/oci:latest"
	hoy manifest push -q --all --tls-verify=false l "docker://$from/list:1"
	try ./copy "docker://$from/list:1" "docker://$to/list:1" --tls-verify=false
	assert_success
	assert_stdout "$(image manifest get --tls-verify=false "docker://$from/list:1" | sum)"
	[[ $(oracle skopeo inspect --raw --tls-verify=false "docker://$to/list:1" | jq '.manifests | length') == 2 ]]
}

@test "blobs: got from everywhere, put with and without a digest; those that are wrong are cut" {
	oci=$(fixture stack)/oci
	registry_start r
	ref=docker://$REGISTRY/x:1
	image copy -q "oci:$oci:latest" "$ref" --dest-tls-verify=false
	image copy -q "oci:$oci:latest" "dir:$T/d"
	layer=$(jq -r '.layers[0].digest' d/manifest.json) config=$(jq -r .config.digest d/manifest.json)
	for r in "$ref" "oci:$oci:latest" "dir:$T/d"; do
		[[ $(image blob get --tls-verify=false "$r" "$layer" | sum) == "$layer" ]]
		image blob exists --tls-verify=false "$r" "$config"
		try image blob exists --tls-verify=false "$r" "sha256:$(printf '0%.0s' {1..64})"
		assert_status 1
		[[ $output$stderr == '' ]]
		try image blob get --tls-verify=false "$r" "sha256:$(printf '0%.0s' {1..64})"
		assert_error '' 2
	done
	# A repository needs no tag for that.
	[[ $(image blob get --tls-verify=false "docker://$REGISTRY/x" "$config" | sum) == "$config" ]]
	# Layers of the store are plain; they are called by their diffIDs.
	have_image stack
	diff=$(oracle_podman image inspect stack --format '{{index .RootFS.Layers 0}}')
	[[ $(image --root "$ROOT" --runroot "$RUNROOT" blob get containers-storage:localhost/stack "$diff" | sum) == "$diff" ]]
	hoy pull -q --tls-verify=false "$REGISTRY/x:1"
	[[ $(image --root "$ROOT" --runroot "$RUNROOT" blob get "containers-storage:$REGISTRY/x:1" "$config" | sum) == "$config" ]]
	try image --root "$ROOT" --runroot "$RUNROOT" blob get "containers-storage:$REGISTRY/x:1" "$layer"
	assert_error "keeps this layer unpacked: its tar is blob $diff" 2
	[[ $(image blob get "docker-archive:$(fixture stack)/docker.tar" "$diff" | sum) == "$diff" ]]

	try image blob put --tls-verify=false "$ref" <<<hello
	assert_stdout "$(sum <<<hello) 6"
	[[ $(image blob get --tls-verify=false "$ref" "$(sum <<<hello)") == hello ]]
	try image blob put --tls-verify=false "$ref" "$(sum <<<hello)" <<<hello
	assert_stdout "$(sum <<<hello) 6"
	try image blob put --tls-verify=false "$ref" "$(sum <<<hello)" <<<HELLO
	assert_error 'is not what its digest says' 1
	try image blob put --tls-verify=false "$ref" "$(sum <<<other)" <<<hello
	assert_error 'is not what its digest says' 1
	try image blob exists --tls-verify=false "$ref" "$(sum <<<other)"
	assert_status 1
	try image blob put "oci:$T/new" "$(sum <<<other)" <<<hello
	assert_error 'is not what its digest says' 1
	[[ -z $(find new/blobs -type f) ]]
	try image blob put "oci-archive:$T/a.tar" <<<hello
	assert_error 'takes no pieces' 1
	try image blob get "$ref" sha256:12
	assert_error 'is no digest' 1

	hostile_start h "{\"layout\":\"$oci\",\"rules\":[{\"match\":\"layer:0\",\"method\":\"GET\",\"lie\":\"corrupt\",\"at\":700},{\"match\":\"config\",\"method\":\"GET\",\"lie\":\"corrupt\"}]}"
	try image blob get --tls-verify=false --retry-times 0 "docker://$HOSTILE/x:latest" "$config"
	assert_error 'is not what its digest says' 1
	image blob get --tls-verify=false --retry-times 0 "docker://$HOSTILE/x:latest" "$layer" >cut || status=$?
	[[ $status == 1 && $(stat -c %s cut) -lt $(jq '.layers[0].size' d/manifest.json) ]]
}

@test "manifests: the bytes as they are, by reference and digest; a type that doesn't fit" {
	registry_start r
	ref=docker://$REGISTRY/x:1
	image copy -q "oci:$(fixture busybox)/oci:latest" "$ref" --dest-tls-verify=false
	try image manifest get --tls-verify=false "$ref"
	digest=$(printf %s "$output" | sum)
	[[ $(tag_of "$REGISTRY/x:1") == "$digest" ]]
	printf %s "$output" >m
	try image manifest get --tls-verify=false "docker://$REGISTRY/x:none" "$digest"
	assert_stdout "$(<m)"
	try image manifest get --tls-verify=false "docker://$REGISTRY/x:none"
	assert_status 2
	# Other bytes of the same meaning are another manifest.
	jq . m >spaced
	try image manifest put --tls-verify=false "docker://$REGISTRY/x:spaced" <spaced
	assert_stdout "$(sum <spaced)"
	[[ $(oracle skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/x:spaced" | sum) == "$output" ]]
	try image manifest put --tls-verify=false --type application/vnd.docker.distribution.manifest.v2+json "docker://$REGISTRY/x:2" <m
	assert_error 'not '\''application/vnd.docker' 1
	try image manifest put --tls-verify=false "docker://$REGISTRY/x:2" "$digest" <spaced
	assert_error 'is not what its digest' 1
	try image manifest put --tls-verify=false "docker://$REGISTRY/x:2" <<<'{"schemaVersion":2}'
	assert_error 'no image manifest' 1
	# Without a type of its own the option's counts.
	jq -c 'del(.mediaType)' m >bare
	image manifest put --type application/vnd.oci.image.manifest.v1+json --tls-verify=false "docker://$REGISTRY/x:bare" <bare >/dev/null
	[[ $(curl -sI -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/x/manifests/bare" | tr -d '\r' | sed -n 's/^Content-Type: //ip') == application/vnd.oci.image.manifest.v1+json ]]
}

@test "layers: the manual's rootfs is what podman mounts; diff and unpack are each other's reverse; digest" {
	script rootfs
	image copy -q "oci:$(fixture stack)/oci:latest" "dir:$T/d"
	./rootfs "dir:$T/d" root
	have_image stack
	mnt=$(oracle_podman image mount stack)
	diff -r -x fifo --no-dereference root "$mnt"
	tree() { (cd "$1" && find . -mindepth 1 -printf '%p %M %U %G %l\n' | sort); }
	diff <(tree root) <(tree "$mnt")
	oracle_podman image unmount stack >/dev/null

	read -r digest size diff < <(image layer digest <"$(fixture stack)/oci/blobs/sha256/$(jq -r '.layers[0].digest' d/manifest.json | cut -d: -f2)")
	[[ $digest == "$(jq -r '.layers[0].digest' d/manifest.json)" && $size == "$(jq -r '.layers[0].size' d/manifest.json)" ]]
	[[ $diff == "$(oracle_podman image inspect stack --format '{{index .RootFS.Layers 0}}')" ]]

	image layer diff root >all.tar
	zstd -q all.tar
	try image layer unpack copy <all.tar.zst
	assert_stdout "$(sum <all.tar)"
	cmp <(image layer diff copy) all.tar
	# Changes, with something that is gone.
	mkdir -p a/sub a/full b/full
	echo 1 >a/sub/gone; echo 2 >a/old; echo 3 >a/full/x; touch -d @1 a/old b
	cp -a a/old b/old; echo 4 >b/full/y
	image layer diff b a >changes.tar
	[[ $(tar tf changes.tar | sort | tr '\n' ' ') == '.wh.sub full/ full/.wh.x full/y ' ]] || { tar tf changes.tar; false; }
	cp -a a c
	image layer unpack c <changes.tar
	diff -r c b
	# The same as overlayfs has it.
	image layer unpack --overlay upper <changes.tar
	[[ $(stat -c '%F %t %T' upper/.wh.sub upper/sub 2>/dev/null) == 'character special file 0 0' ]]
	cmp <(image layer diff --overlay upper a | tar tf - | sort) <(tar tf changes.tar | sort)
	image layer unpack --keep-whiteouts kept <changes.tar
	[[ -f kept/.wh.sub && -f kept/full/.wh.x ]]
}

@test "layers: opaque whiteouts, owners, nothing outside of the directory" {
	mkdir -p layer/d/new base/d/old base/d/new
	echo o >base/d/old/f; echo o >base/d/new/below; echo o >base/d/g
	touch layer/d/new/mine layer/d/.wh..wh..opq
	# The mark stands behind what the layer itself brings.
	tar cf opaque.tar -C layer d/new/mine d/.wh..wh..opq
	image layer unpack base <opaque.tar
	[[ $(cd base && find . | sort | tr '\n' ' ') == '. ./d ./d/new ./d/new/mine ' ]]
	image layer unpack --overlay up <opaque.tar
	[[ $(getfattr --only-values -n trusted.overlay.opaque up/d) == y ]]

	echo x >f
	chown 1234:5678 f
	tar cf own.tar f
	image layer unpack o1 <own.tar
	[[ $(stat -c %u:%g o1/f) == 1234:5678 ]]
	image layer unpack --no-same-owner o2 <own.tar
	[[ $(stat -c %u:%g o2/f) == 0:0 ]]
	as_user mkdir bin
	install -m 755 "$HOY_BIN"/hoy-image "$HOY_BIN/hoy-transfer" "$HOY_TEST_AREA/home-hoytest/bin"
	as_user bin/hoy-image layer unpack --no-same-owner u <own.tar
	[[ $(as_user stat -c %U u/f) == hoytest ]]
	as_user bin/hoy-image layer unpack v <own.tar
	[[ $(as_user stat -c %u v/f) -gt 100000 ]]
	as_user podman unshare rm -r v

	mkdir canary
	"$HOY_TESTS/fixtures/hostile" tars tars --canary "$T/canary"
	for t in tars/*.tar; do
		run image layer unpack --max-layer-size 100m "out-${t##*/}" <"$t"
		[[ $status == 0 || $status == 1 ]] || { echo "$t: $status $output"; false; }
		run image layer unpack --max-layer-size 100m --overlay "ov-${t##*/}" <"$t"
		[[ $status == 0 || $status == 1 ]] || { echo "$t: $status $output"; false; }
	done
	[[ -z $(ls -A canary) ]]
	try image layer unpack x --overlay --keep-whiteouts <own.tar
	assert_error 'exclude each other' 1
	try image layer unpack x <f
	assert_error '' 1
}

@test "the manual's new layer: podman runs the image" {
	script add
	registry_start r
	image copy -q "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/bb:1" --dest-tls-verify=false
	mkdir new
	echo 'from the pipe' >new/hello
	try ./add "docker://$REGISTRY/bb:1" new "docker://$REGISTRY/bb:2" --tls-verify=false
	assert_success
	assert_stdout "$(tag_of "$REGISTRY/bb:2")"
	oracle_podman pull -q --tls-verify=false "$REGISTRY/bb:2"
	try oracle_podman run --rm --network none "$REGISTRY/bb:2" cat /hello
	assert_stdout 'from the pipe'
}

@test "1 GB through a pipe: memory stays flat" {
	truncate -s 1G big
	tar cf - big | gzip -1 >big.tgz
	read -r digest size < <(image blob put "oci:$T/lay" <big.tgz)
	peak() { command time -f %M -o mem "$HOY_BIN/hoy-image" "$@"; [[ $(tail -1 mem) -lt 32768 ]] || { cat mem; false; }; }
	peak layer digest <big.tgz >/dev/null
	peak blob get "oci:$T/lay" "$digest" >/dev/null
	peak layer unpack out <big.tgz
	peak layer diff out >/dev/null
}

# ---- registries.conf

# The names that a command of podman or hoy tries for an image, and where it says that it has them from.
tried() { "$@" 2>&1 >/dev/null | sed -nE '/^(Resolv|Trying to pull)/p' | sed "s,$T/,,g"; }
same_tries() {
	local ours theirs
	ours=$(tried hoy pull --retry 0 "$1")
	theirs=$(tried oracle_podman pull --retry 0 "$1")
	[[ -n $ours && $ours == "$theirs" ]] || { printf 'hoy:\n%s\npodman:\n%s\n' "$ours" "$theirs"; false; }
}
# same_error NAME: both refuse the configuration, for the same reason.
same_error() {
	local theirs
	theirs=$(oracle_podman pull --retry 0 "${1:-x}" 2>&1) && { echo 'podman takes it'; false; }
	try hoy pull --retry 0 "${1:-x}"
	assert_status 125
	[[ ${stderr##*Error: } == "${theirs##*Error: }" ]] || { printf '%s\n%s\n' "$stderr" "$theirs"; false; }
}

@test "registries.conf: its places, drop-ins, aliases, search registries: podman tries the same names" {
	conf=home/.config/containers
	mkdir -p $conf/registries.conf.d
	printf 'unqualified-search-registries = ["127.0.0.1:1", "127.0.0.1:2/"]\n[aliases]\n"one" = "127.0.0.1:3/a/one"\n"a/two"="docker.io/two"\n' >main.conf
	export CONTAINERS_REGISTRIES_CONF=$T/main.conf
	same_tries nosuch
	same_tries nosuch:7
	same_tries nosuch@sha256:"$(printf '0%.0s' {1..64})"
	same_tries one
	same_tries one:3
	same_tries b/one
	# Drop-ins are read behind that file; an alias is taken back.
	printf '[aliases]\none = ""\nthree = "127.0.0.1:4/three"\n' >$conf/registries.conf.d/a.conf
	same_tries one
	same_tries three
	printf 'unqualified-search-registries = ["127.0.0.1:5"]\n' >$conf/registries.conf.d/b.conf
	same_tries one
	# The last empty list leaves none.
	printf 'unqualified-search-registries = []\n' >$conf/registries.conf.d/c.conf
	same_error nosuch
	rm $conf/registries.conf.d/c.conf
	unset CONTAINERS_REGISTRIES_CONF
	# The user's own file, of root's too.
	printf 'unqualified-search-registries = ["127.0.0.1:6"]\n' >$conf/registries.conf
	same_tries nosuch
	rm $conf/registries.conf.d/b.conf
	same_tries nosuch
	# Who has a file of his own has no system's aliases: this one is in Debian's shortnames.conf.
	same_tries alpine
	# Version 1.
	printf '[registries.search]\nregistries = ["127.0.0.1:7"]\n[registries.insecure]\nregistries = ["127.0.0.1:7"]\n[registries.block]\nregistries = ["127.0.0.1:8"]\n' >$conf/registries.conf
	same_tries nosuch
	try hoy pull 127.0.0.1:8/x
	assert_status 125
	assert_stderr_has 'blocked by registries.conf'
	CONTAINERS_REGISTRIES_CONF=$T/none.conf
	export CONTAINERS_REGISTRIES_CONF
	try hoy pull x
	assert_error 'loading registries configuration'
}

@test "registries.conf: what is wrong in it is said as podman says it" {
	export CONTAINERS_REGISTRIES_CONF=$T/c.conf
	while IFS= read -r line; do
		printf '%b' "$line" >c.conf
		same_error 127.0.0.1:1/x || { echo "configuration: $line"; false; }
	done <<-'END'
	[[registry]]\nlocation = "https://x.example"\n
	[[registry]]\nprefix = "x.example"\n
	[[registry]]\ninsecure = true\n
	[[registry]]\nprefix = "*.x.example/a"\nlocation = "y.example"\n
	[[registry]]\nlocation = "x.example"\npull-from-mirror = "all"\n
	[[registry]]\nlocation = "x.example"\n[[registry.mirror]]\ninsecure = true\n
	[[registry]]\nlocation = "x.example"\n[[registry.mirror]]\nlocation = "m.example"\npull-from-mirror = "never"\n
	[[registry]]\nlocation = "x.example"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = "m.example"\npull-from-mirror = "all"\n
	[[registry]]\nlocation = "x.example"\n[[registry]]\nprefix = "y.example"\nlocation = "x.example"\nblocked = true\n
	unqualified-search-registries = ["x.example/a"]\n
	unqualified-search-registries = [""]\n
	short-name-mode = "maybe"\n
	END
	# On the machine's own files podman's error is the same, with another place for the cause.
	printf '[aliases]\n"x.example/a" = "y.example/b"\n' >c.conf
	try hoy pull -q 127.0.0.1:1/x
	assert_error 'invalid short name "x.example/a": must not contain registry'
	printf '[aliases]\na = "b"\n' >c.conf
	try hoy pull -q 127.0.0.1:1/x
	assert_error 'invalid alias "b": must contain registry and repository'
}

@test "registries.conf: prefixes, wildcards, mirrors: each finds what podman finds; pushes go where the name says" {
	registry_start r
	for n in y/img w/img m/img; do
		image copy -q --dest-tls-verify=false "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/$n:1"
	done
	digest=$(tag_of "$REGISTRY/y/img:1")
	export CONTAINERS_REGISTRIES_CONF=$T/c.conf
	cat >c.conf <<-END
	[[registry]]
	prefix = "one.example/x"
	location = "$REGISTRY/y"
	insecure = true
	[[registry]]
	prefix = "one.example/x"
	location = "127.0.0.1:1"
	[[registry]]
	prefix = "*.wild.example"
	location = "$REGISTRY/w"
	insecure = true
	[[registry]]
	prefix = "*.same.example"
	insecure = true
	[[registry.mirror]]
	location = "$REGISTRY/m"
	insecure = true
	[[registry]]
	location = "two.example"
	[[registry.mirror]]
	location = "127.0.0.1:1"
	pull-from-mirror = "digest-only"
	[[registry.mirror]]
	location = "$REGISTRY/m"
	insecure = true
	pull-from-mirror = "tag-only"
	END
	for name in one.example/x/img:1 a.wild.example/img:1 a.b.wild.example/img:1 a.same.example/img:1 two.example/img:1; do
		try hoy pull -q --retry 0 "$name"
		assert_success
		assert_stdout "$(oracle_podman pull -q --retry 0 "$name")"
	done
	for name in wild.example/img:1 one.example/xy/img:1 "two.example/img@$digest"; do
		try hoy pull -q --retry 0 "$name"
		assert_status 125
		not oracle_podman pull -q --retry 0 "$name"
	done
	for cmd in "image copy -q oci:$(fixture busybox)/oci:latest docker://one.example/x/new:1" "image list-tags docker://one.example/x/img"; do
		try $cmd --retry-times 0
		assert_error 'one.example' 1
	done
}

# on_terminal KEYS COMMAND...: runs it on a terminal, and presses the keys once a question stands there.
on_terminal() {
	python3 - "$@" <<-'END'
	import os, pty, sys, time, select
	keys, argv = sys.argv[1].encode().decode("unicode_escape").encode(), sys.argv[2:]
	pid, fd = pty.fork()
	if not pid:
	    os.execvp(argv[0], argv)
	seen, asked = b"", False
	while True:
	    try:
	        data = os.read(fd, 4096)
	    except OSError:
	        break
	    if not data:
	        break
	    seen += data
	    if b"select an image" in seen and seen.count(b"\n") > 2 and not asked:
	        asked = True
	        time.sleep(0.5)
	        for i in range(0, len(keys)):
	            os.write(fd, keys[i:i+1])
	            time.sleep(0.1)
	sys.stdout.buffer.write(seen)
	sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 255)
	END
}

@test "short names: on a terminal the user is asked, and the answer is kept where podman keeps it" {
	registry_start r
	image copy -q --dest-tls-verify=false "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/nosuch/img:latest"
	as_user mkdir -p .config/containers bin
	home=$HOY_TEST_AREA/home-hoytest
	cp "$HOY_BIN"/hoy* "$home/bin/"
	printf 'unqualified-search-registries = ["127.0.0.1:1", "%s"]\n[[registry]]\nlocation="%s"\ninsecure=true\n' "$REGISTRY" "$REGISTRY" >"$home/.config/containers/registries.conf"
	chmod 644 "$home/.config/containers/registries.conf"
	answers=$home/.cache/containers/short-name-aliases.conf
	for who in podman bin/hoy; do
		rm -rf "$home/.cache"
		try on_terminal 'j\r' "$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR $who pull nosuch/img
		assert_success
		assert_stdout_has "$REGISTRY/nosuch/img:latest"
		cp "$answers" "answers-${who##*/}"
		[[ $(stat -c %a:%U "$answers") == 600:hoytest ]]
		# Now it is an alias.
		as_user $who rmi -a >/dev/null
		as_user $who pull nosuch/img 2>err
		grep -qF "Resolved \"nosuch/img\" as an alias ($answers)" err
		as_user podman rmi -a >/dev/null
	done
	cmp answers-podman answers-hoy
	# An answer beside others.
	printf '[aliases]\n  zz = "x.example/zz"\n  "a/b" = "x.example/b"\n' >"$answers"
	chown hoytest "$answers"
	try on_terminal '\x1b[B\r' "$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR bin/hoy pull nosuch/img
	assert_success
	[[ $(<"$answers") == $'[aliases]\n  "a/b" = "x.example/b"\n  "nosuch/img" = "'"$REGISTRY"$'/nosuch/img"\n  zz = "x.example/zz"' ]]
	# What is in the store keeps its meaning: nobody is asked.
	rm "$answers"
	for who in podman bin/hoy; do
		as_user $who pull nosuch/img 2>err
		[[ $(head -1 err) == "Trying to pull $REGISTRY/nosuch/img:latest..." ]]
	done
	as_user podman rmi -a >/dev/null
	# `run` asks as well, though it reads what pull prints.
	try on_terminal 'j\r' "$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR bin/hoy --runtime "$home/bin/hoy-runtime" run --rm --network none nosuch/img echo ran
	assert_success
	assert_stdout_has ran
	grep -q nosuch/img "$answers"
	as_user podman rmi -a >/dev/null
	rm "$answers"
	# Ctrl-C, and no terminal where there must be one.
	try on_terminal '\x03' "$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR bin/hoy pull nosuch/img
	assert_status 125
	assert_stdout_has 'no image was selected'
	[[ ! -e $answers ]]
	sed -i '1i short-name-mode = "enforcing"' "$home/.config/containers/registries.conf"
	for who in podman bin/hoy; do
		run as_user $who pull nosuch/img
		assert_status 125
		assert_stdout_has 'short-name resolution enforced but cannot prompt without a TTY'
	done
	sed -i '1s/enforcing/disabled/' "$home/.config/containers/registries.conf"
	try on_terminal '' "$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR bin/hoy pull --retry 0 nosuch/img
	assert_success
	[[ ! -e $answers ]]
}

@test "credential-helpers of registries.conf: in their order, beside the files; login and logout too" {
	registry_start r --htpasswd ann:secret
	export CONTAINERS_REGISTRIES_CONF=$T/c.conf REGISTRY_AUTH_FILE=$T/auth.json
	mkdir bin
	cat >bin/docker-credential-mine <<-'END'
	#!/bin/sh
	T=@T@
	read -r in
	echo "$1 $in" >>"$T/asked"
	case $1 in
	get) [ -e "$T/kept" ] && printf '{"ServerURL":"%s","Username":"ann","Secret":"secret"}\n' "$in" || { echo 'credentials not found in native keychain'; exit 1; };;
	store) touch "$T/kept";;
	erase) rm -f "$T/kept";;
	esac
	END
	sed -i "s,@T@,$T," bin/docker-credential-mine
	chmod +x bin/docker-credential-mine
	PATH=$T/bin:$PATH
	printf 'credential-helpers = ["containers-auth.json", "mine"]\n' >c.conf
	touch kept
	image copy -q --dest-tls-verify=false "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/x:1"
	[[ $(<asked) == "get $REGISTRY" ]]
	oracle env PATH="$T/bin:/usr/sbin:/usr/bin:/sbin:/bin" podman "${PODMAN_OPTS[@]}" pull -q --tls-verify=false "$REGISTRY/x:1"
	# The first one that takes them keeps them.
	rm kept
	image login --tls-verify=false -u ann -p secret "$REGISTRY"
	[[ -e auth.json && ! -e kept ]]
	image logout "$REGISTRY"
	printf 'credential-helpers = ["mine"]\n' >c.conf
	rm auth.json
	image login --tls-verify=false -u ann -p secret "$REGISTRY"
	[[ -e kept && ! -e auth.json ]]
	[[ $(image login --get-login "$REGISTRY") == ann ]]
	image logout "$REGISTRY"
	[[ ! -e kept ]]
	try image list-tags --tls-verify=false "docker://$REGISTRY/x"
	assert_status 1
}

@test "explain: the route of a name, each step with its file; secrets stay where they are" {
	conf=home/.config/containers
	mkdir -p $conf/registries.conf.d $conf/registries.d $conf/certs.d/m.example
	cat >$conf/registries.conf <<-'END'
	unqualified-search-registries = ["one.example", "two.example:5000"]
	short-name-mode = "enforcing"
	END
	cat >$conf/registries.conf.d/r.conf <<-'END'
	[[registry]]
	prefix = "one.example/team"
	location = "real.example/x"
	insecure = true
	[[registry.mirror]]
	location = "m.example/team"
	[[registry.mirror]]
	location = "d.example"
	pull-from-mirror = "digest-only"
	[[registry]]
	location = "bad.example"
	blocked = true
	[aliases]
	"short" = "one.example/team/short"
	END
	touch $conf/certs.d/m.example/{ca.crt,me.cert,me.key,README}
	printf 'docker:\n  one.example/team:\n    lookaside: https://sigs.example/a\n  two.example:5000:\n    use-sigstore-attachments: true\n' >$conf/registries.d/x.yaml
	printf '{"default":[{"type":"reject"}],"transports":{"docker":{"one.example":[{"type":"signedBy","keyType":"GPGKeys","keyPath":"/k.gpg"}],"":[{"type":"insecureAcceptAnything"}]}}}' >$conf/policy.json
	export REGISTRY_AUTH_FILE=$T/auth.json
	printf '{"auths":{"m.example/team":{"auth":"%s"}},"credHelpers":{"two.example:5000":"mine"}}' "$(printf 'ann:topsecret' | base64)" >auth.json
	export https_proxy=http://ann:topsecret@proxy.example:3128 no_proxy=.example:1,two.example,10.0.0.0/8
	C=$T/$conf

	try image explain short
	assert_success
	assert_stdout "short
  short name   alias ($C/registries.conf.d/r.conf:14)
  mode         enforcing ($C/registries.conf:2)
one.example/team/short:latest
  registry     prefix one.example/team, location real.example/x ($C/registries.conf.d/r.conf:1)
  pull 1       m.example/team/short:latest, mirror
    certs      $C/certs.d/m.example:
                 ca.crt
                 me.cert
                 me.key
    login      key m.example/team ($T/auth.json)
    proxy      http://proxy.example:3128 (https_proxy)
  pull never   d.example/short:latest, mirror, digest-only
  pull 2       real.example/x/short:latest, registry, insecure
    login      none
    proxy      http://proxy.example:3128 (https_proxy)
  push         one.example/team/short:latest
  policy       signedBy, one.example ($C/policy.json)
    key        /k.gpg
  signatures   https://sigs.example/a, one.example/team ($C/registries.d/x.yaml)
    written    https://sigs.example/a, one.example/team ($C/registries.d/x.yaml)"
	# By digest the other mirror is asked too.
	try image explain "short@sha256:$(printf '0%.0s' {1..64})"
	assert_stdout_has 'pull 2       d.example/short@sha256:0'
	# Several candidates: here a terminal would be needed to choose.
	try image explain --format json x:1
	assert_success
	[[ $(jq -r '.shortName | .mode, .resolvedBy, .prompt' <<<"$output" | tr '\n' ' ') == 'enforcing unqualified-search-registries true ' ]]
	[[ $(jq -r '.shortName | .line, .modeLine' <<<"$output") == $'1\n2' ]]
	[[ $(jq -r '.candidates[].name' <<<"$output") == $'one.example/x:1\ntwo.example:5000/x:1' ]]
	[[ $(jq -r '.candidates[1].pull[0].credentials | .helper, .key' <<<"$output") == $'mine\ntwo.example:5000' ]]
	[[ $(jq -r '.candidates[1].pull[0].proxy | .address, .variable' <<<"$output") == $'null\nno_proxy' ]]
	[[ $(jq -r '.candidates[1] | .policy.requirements[0].type, .policy.scope, .sigstoreAttachments.value' <<<"$output") == $'insecureAcceptAnything\n\ntrue' ]]
	for host in 10.1.2.3:5000 two.example a.two.example; do
		[[ $(image explain --format json "$host/x" | jq -r '.candidates[0].pull[0].proxy | .address, .variable') == $'null\nno_proxy' ]]
	done
	for host in 11.1.2.3:5000 antwo.example; do
		[[ $(image explain --format json "$host/x" | jq -r '.candidates[0].pull[0].proxy.variable') == https_proxy ]]
	done
	# docker:// makes docker.io of a short name.
	try image explain docker://x
	assert_stdout_has 'docker.io/library/x:latest'
	try image explain bad.example/x
	assert_stdout_has "BLOCKED ($C/registries.conf.d/r.conf:10)"
	for f in '' '--format json'; do
		[[ $(image explain $f short x:1 2>&1; image explain $f short) != *topsecret* ]]
	done
	try image explain oci:dir
	assert_error "doesn't lead to a registry" 1
	try image explain --format yaml x
	assert_error 'no format of explain' 1
	# What it says is what pull does.
	ours=$(tried hoy pull --retry 0 short)
	[[ $ours == *'Trying to pull one.example/team/short:latest...' ]]
}

# ---- progress

# terminal COLSxROWS SCRIPT COMMAND...: runs it on a terminal that knows what bars need. SCRIPT: "SECONDS:resize COLSxROWS",
# "SECONDS:key TEXT", separated by ";". Prints what stands on the screen at the end; the file "seen" has all screens that were
# drawn, and "status" the exit status.
terminal() {
	python3 - "$@" <<-'END'
	import fcntl, os, pty, re, select, signal, struct, sys, termios, time
	cols, rows = map(int, sys.argv[1].split("x"))
	script = [s.split(":", 1) for s in sys.argv[2].split(";") if s]
	pid, fd = pty.fork()
	if not pid:
	    time.sleep(0.2)
	    os.environ["TERM"] = "xterm"
	    os.execvp(sys.argv[3], sys.argv[3:])
	def resize(c, r):
	    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", r, c, 0, 0))
	resize(cols, rows)
	# A screen of endless height whose lines are broken at COLS.
	lines, y, x = [""], 0, 0
	def put(text):
	    global y, x
	    for part in re.findall(r"\x1b\[\d*[A-Z]|\r|\n|[^\x1b\r\n]+", text):
	        if part == "\n":
	            y += 1
	        elif part == "\r":
	            x = 0
	        elif part.startswith("\x1b"):
	            n = int(part[2:-1] or 1)
	            if part.endswith("A"):
	                y = max(0, y - n)
	            elif part.endswith("J"):
	                del lines[y + 1:]
	                lines[y] = lines[y][:x]
	            elif part.endswith("K"):
	                lines[y] = lines[y][:x]
	            else:
	                raise SystemExit("unknown sequence " + repr(part))
	        else:
	            for c in part:
	                if x == cols:
	                    y, x = y + 1, 0
	                while len(lines) <= y:
	                    lines.append("")
	                lines[y] = lines[y][:x].ljust(x) + c + lines[y][x + 1:]
	                x += 1
	        while len(lines) <= y:
	            lines.append("")
	begun, seen = time.time(), open("seen", "w")
	while True:
	    ready, _, _ = select.select([fd], [], [], 0.05)
	    if script and time.time() - begun > float(script[0][0]):
	        what, _, arg = script.pop(0)[1].partition(" ")
	        if what == "resize":
	            # What was written for the old width comes first.
	            while select.select([fd], [], [], 0.02)[0]:
	                put(os.read(fd, 65536).decode(errors="replace"))
	            cols, r = map(int, arg.split("x"))
	            # As terminals do: longer lines are broken anew.
	            broken = []
	            for l in lines:
	                broken += [l[i:i + cols] for i in range(0, max(1, len(l)), cols)]
	            y += len(broken) - len(lines)
	            lines[:] = broken
	            resize(cols, r)
	        else:
	            os.write(fd, arg.encode().decode("unicode_escape").encode())
	    if not ready:
	        continue
	    try:
	        data = os.read(fd, 65536).decode(errors="replace")
	    except OSError:
	        break
	    if not data:
	        break
	    put(data)
	    seen.write("\n".join(lines) + "\n--\n")
	st = os.waitpid(pid, 0)[1]
	open("status", "w").write(str(os.waitstatus_to_exitcode(st)))
	print("\n".join(lines).rstrip())
	END
}

@test "progress: bars on a terminal, which go away; narrow, resized, too many for it" {
	hostile_start h "{\"layout\":\"$(fixture stack)/oci\",\"rules\":[{\"match\":\"layer:3\",\"method\":\"GET\",\"lie\":\"slow\",\"rate\":4000000}]}"
	short() { sed -E 's/[0-9a-f]{12}( |$)/ID\1/'; }
	try terminal 80x24 '' "$HOY_BIN/hoy-image" copy --retry-times 0 --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/a"
	[[ $(<status) == 0 ]]
	n=$(jq '.layers | length' a/manifest.json)
	[[ $(grep -c '^Copying blob [0-9a-f]* done' <<<"$output") == "$n" ]]
	[[ $(grep -v '^Copying blob' <<<"$output" | short) == $'Copying config ID done\nWriting manifest to image destination' ]]
	grep -qE '^Copying blob [0-9a-f]{12} \[=+>-*\] [0-9.]+[KM]iB / [0-9.]+MiB \| [0-9.]+[KM]iB/s$' seen
	[[ $(awk '{ print length }' seen | sort -n | tail -1) -lt 80 ]]
	# What is there is skipped.
	try terminal 80x24 '' "$HOY_BIN/hoy-image" copy --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/a"
	[[ $(grep -c '^Copying blob [0-9a-f]* skipped: already exists' <<<"$output") == "$n" ]]
	# Narrow: no bar fits, nothing is broken over two rows. Fewer rows than layers.
	hostile_start i "$(cat "$HOSTILE_DIR/config.json")"
	try terminal 30x5 '' "$HOY_BIN/hoy-image" copy --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/b"
	[[ $(grep -c '^Copying blob [0-9a-f]* done' <<<"$output") == "$n" && $output != */s* ]] || { echo "$output"; false; }
	grep -qE '^\+[0-9]+$' seen
	# Resized on the way.
	hostile_start j "$(cat "$HOSTILE_DIR/config.json")"
	try terminal 100x24 '1:resize 45x24;2:resize 120x30' "$HOY_BIN/hoy-image" copy --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/c"
	[[ $(grep -c 'Copying blob [0-9a-f]* done' <<<"$output") == "$n" && $output != *'['* ]] || { echo "$output"; false; }
}

@test "progress: nothing is left over after an error or Ctrl-C; warnings make room for themselves" {
	slow='{"match":"layer:3","method":"GET","lie":"slow","rate":1000000}'
	hostile_start h "{\"layout\":\"$(fixture stack)/oci\",\"rules\":[$slow]}"
	try terminal 80x24 '1.5:key \x03' "$HOY_BIN/hoy-image" copy --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/a"
	[[ $(<status) == -2 ]] || { cat status; echo "$output"; false; }
	grep -q '\[=*>-' seen
	[[ $output != *'['* && $output != *'/s'* ]] || { echo "$output"; false; }
	# One layer is wrong, while others are on their way.
	hostile_start i "{\"layout\":\"$(fixture stack)/oci\",\"rules\":[{\"match\":\"layer:2\",\"method\":\"GET\",\"lie\":\"corrupt\",\"at\":9},$slow]}"
	try terminal 80x24 '' "$HOY_BIN/hoy-image" copy --retry-times 0 --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/b"
	[[ $(<status) == 1 && $output != *'['* && $(tail -3 <<<"$output") == *'Error: '* ]] || { echo "$output"; false; }
	hostile_start j "{\"layout\":\"$(fixture stack)/oci\",\"rules\":[{\"match\":\"layer:2\",\"method\":\"GET\",\"lie\":\"status\",\"code\":500,\"times\":1},{\"match\":\"layer:3\",\"method\":\"GET\",\"lie\":\"slow\",\"rate\":4000000}]}"
	try terminal 80x24 '' "$HOY_BIN/hoy-image" copy --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/c"
	[[ $(<status) == 0 && $output == *'Warning: '* && $output != *'['* ]] || { echo "$output"; false; }
}

@test "progress: plain, json, none; -q; on all commands that move layers" {
	registry_start r
	lines() { grep -c . <<<"$stderr" || true; }
	try image copy --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/s:1"
	plain=$(sort <<<"$stderr")
	try image copy --progress=plain --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/t/s:1"
	[[ $(sort <<<"$stderr") == "$plain" ]]
	# On a terminal too.
	try terminal 200x24 '' "$HOY_BIN/hoy-image" copy --progress plain --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/t/u:1"
	[[ $(sort <<<"$output") == "$plain" ]]
	try image copy --progress=none --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/t/v:1"
	[[ $status == 0 && $stderr == '' ]]
	try image copy --progress=loud "oci:$(fixture stack)/oci:latest" "dir:$T/x"
	assert_error "'loud' is no kind of progress" 1

	try hoy pull --progress=json --tls-verify=false "$REGISTRY/s:1"
	assert_success
	[[ $output =~ ^[0-9a-f]{64}$ ]]
	jq -es . <<<"$stderr" >/dev/null
	n=$(image manifest get --tls-verify=false "docker://$REGISTRY/s:1" | jq '.layers | length')
	[[ $(jq -r 'select(.event == "begin" and .kind == "blob") | .digest' <<<"$stderr" | sort -u | wc -l) == "$n" ]]
	[[ $(jq -r 'select(.event == "end" and .kind == "blob" and .status == "done" and .current == .size) | .digest' <<<"$stderr" | sort -u | wc -l) == "$n" ]]
	[[ $(jq -r 'select(.event == "message") | .text' <<<"$stderr") == *'Writing manifest to image destination' ]]
	try hoy pull --progress=json --tls-verify=false "$REGISTRY/s:1"
	[[ $(jq -r 'select(.event == "end" and .status == "exists") | .digest' <<<"$stderr" | wc -l) == "$n" ]]
	try hoy push --progress=json --tls-verify=false "$REGISTRY/s:1" "$REGISTRY/pushed:1"
	[[ $(jq -r 'select(.event == "end") | .status' <<<"$stderr" | sort -u) =~ ^(done|exists) ]]
	for verb in "image sync -a --src-tls-verify=false --dest-tls-verify=false --src docker --dest docker $REGISTRY/pushed $REGISTRY/synced" "hoy import $(fixture busybox)/rootfs.tar imported:1" "list push --tls-verify=false l $REGISTRY/list:1" "hoy artifact pull --tls-verify=false $REGISTRY/pushed:1"; do
		[[ $verb != list* ]] || { hoy manifest create l "$REGISTRY/s:1" >/dev/null; verb="hoy manifest ${verb#list }"; }
		# shellcheck disable=SC2086
		set -- $verb
		words=2; [[ $1 != hoy || $2 == import ]] || words=3
		try "${@:1:words}" --progress=json "${@:words+1}"
		assert_success
		[[ -n $stderr ]]
		jq -e . <<<"$stderr" >/dev/null
		try "${@:1:words}" --progress=none "${@:words+1}"
		assert_success
		[[ $stderr == "" ]] || { echo "$verb: $stderr"; false; }
	done
	try hoy save --progress=json -o s.tar "$REGISTRY/s:1"
	[[ $(jq -r 'select(.event == "end" and .kind == "blob") | .status' <<<"$stderr" | grep -c done) == "$n" ]]
	hoy rmi -a >/dev/null
	try hoy load --progress json -i s.tar
	assert_stdout_has 'Loaded image: '
	[[ $(jq -r 'select(.event == "end" and .kind == "blob") | .status' <<<"$stderr" | grep -c done) == "$n" ]]
	# Errors and warnings are objects as well.
	try hoy pull --progress=json --retry 0 --tls-verify=false "$REGISTRY/none:1"
	assert_status 125
	[[ $(jq -r 'select(.event == "error") | .text' <<<"$stderr") == *none* ]]
	# Throttled: a slow layer is told of a few times a second.
	hostile_start h "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[{\"match\":\"layer:0\",\"method\":\"GET\",\"lie\":\"slow\",\"rate\":300000}]}"
	try image copy --progress=json --src-tls-verify=false "docker://$HOSTILE/x:latest" "dir:$T/slow"
	[[ $(jq -r 'select(.event == "progress") | .current' <<<"$stderr" | wc -l) -lt 40 && $(jq -r 'select(.event == "progress") | .current' <<<"$stderr" | wc -l) -ge 3 ]]
	for v in pull load; do
		try hoy $v -q $([[ $v == load ]] && echo -i s.tar || echo --tls-verify=false "$REGISTRY/s:1")
		[[ $status == 0 && $stderr == '' ]]
	done
}

# ---- image scp

# A machine "far" that ssh reaches: podman with a store of its own. What ssh was called with is in the file "ssh-words".
far_machine() {
	mkdir -p far bin
	cat >bin/ssh <<-END
	#!/bin/bash
	printf '%s\n' "\$*" >>"$T/ssh-words"
	while [[ \$1 != -- ]]; do shift; done
	host=\$2 cmd=\$3
	[[ \$host != unreachable ]] || { echo 'ssh: connect to host unreachable port 22: No route to host' >&2; exit 255; }
	PATH=$T/far:\$PATH exec sh -c "\$cmd"
	END
	cat >far/podman <<-END
	#!/bin/sh
	exec "$HOY_TESTS/oracle" run -- podman --root "$T/farstore/root" --runroot "$T/farstore/run" --storage-driver overlay --storage-opt overlay.skip_mount_home=true "\$@"
	END
	chmod +x bin/ssh far/podman
	PATH=$T/bin:$PATH
}
far() { "$T/far/podman" "$@"; }

@test "image scp: over ssh, both ways, with a new name, between two others; connections" {
	far_machine
	have_image busybox
	id=$(oracle_podman image inspect --format '{{.Id}}' busybox)
	# podman's oci-archive has another config: the layers tell that it is the same image.
	layers=$(oracle_podman image inspect --format '{{.RootFS.Layers}}' busybox)
	try hoy image scp busybox ann@far.example::
	assert_success
	assert_stdout 'Loaded image: localhost/busybox:latest'
	assert_stderr_has 'Warning: Unknown connection name given.'
	[[ $(far image inspect --format '{{.Id}}' localhost/busybox) == "$id" ]]
	[[ $(<ssh-words) == "-- ann@far.example podman 'image' 'load'" ]]
	try hoy image scp -q busybox far.example::new/name:2
	assert_success
	[[ $(far image inspect --format '{{.Id}}' localhost/new/name:2) == "$id" ]]
	hoy rmi -f busybox
	# Connections, of podman's file and of containers.conf: address, port, key.
	printf '{"Connection":{"Default":"f","Connections":{"f":{"URI":"ssh://bob@far.example:2222/run/podman.sock","Identity":"/k"}}}}' >conn.json
	printf '[engine.service_destinations.g]\nuri = "ssh://far.example:23/x"\nidentity = "/other"\n[engine.service_destinations.f]\nuri = "ssh://not.this"\n[engine.service_destinations.u]\nuri = "unix:///run/x"\n' >c.conf
	export PODMAN_CONNECTIONS_CONF=$T/conn.json CONTAINERS_CONF=$T/c.conf
	rm ssh-words
	try hoy image scp -q f::localhost/busybox
	assert_success
	assert_stdout 'Loaded image: localhost/busybox:latest'
	assert_stderr ''
	[[ $(hoy image inspect --format '{{.RootFS.Layers}}' busybox) == "$layers" ]]
	[[ $(<ssh-words) == "-i /k -p 2222 -- bob@far.example podman 'image' 'save' '--format' 'oci-archive' 'localhost/busybox'" ]]
	try hoy image scp -q g::localhost/busybox renamed:3
	assert_success
	[[ $(hoy image inspect --format '{{.RootFS.Layers}}' localhost/renamed:3) == "$layers" ]]
	[[ $(tail -1 ssh-words) == "-i /other -p 23 -- far.example podman"* ]]
	try hoy image scp g::localhost/busybox f::again
	assert_success
	[[ $(far image inspect --format '{{.RootFS.Layers}}' localhost/again:latest) == "$layers" ]]
	# What the far shell gets is quoted.
	try hoy image scp "g::x;touch $T/owned"
	assert_status 125
	[[ ! -e owned ]]
}

@test "image scp: what is wrong" {
	far_machine
	try hoy image scp busybox
	assert_error 'must specify a destination: invalid argument'
	try hoy image scp far::
	assert_error 'no source image specified: invalid argument'
	try hoy image scp far:: other::
	assert_error 'a source image must be specified: invalid argument'
	try hoy image scp nosuchimage far::
	assert_status 125
	assert_stderr_has 'nosuchimage'
	try hoy image scp far::nosuchimage
	assert_status 125
	assert_stderr_has 'saving the image failed: exit status 125'
	try hoy image scp unreachable::busybox
	assert_status 125
	assert_stderr_has 'No route to host'
	try hoy image scp busybox -oProxyCommand=x::
	assert_status 125
	try hoy image scp -- busybox -oProxyCommand=x::
	assert_status 125
	assert_stderr_has 'names no host'
	[[ ! -e ssh-words || $(<ssh-words) != *Proxy* ]]
	try hoy image scp busybox ann:pw@far::
	assert_status 125
	assert_stderr_has 'password'
	try hoy image scp busybox nosuchuser@localhost::
	assert_error "no user 'nosuchuser'"
	unset SUDO_USER
	try hoy image scp root@localhost::busybox
	assert_error '$SUDO_USER must be defined to find the default rootless user'
}

@test "image scp: between users of this machine" {
	as_user true
	take_user
	home=$HOY_TEST_AREA/home-hoytest
	[[ $(getent passwd hoytest | cut -d: -f6) == "$home" ]]
	have_image busybox
	id=$(oracle_podman image inspect --format '{{.Id}}' busybox)
	try hoy image scp -q root@localhost::busybox hoytest@localhost::
	assert_success
	assert_stdout 'Loaded image: localhost/busybox:latest'
	[[ $(as_user podman image inspect --format '{{.Id}}' localhost/busybox) == "$id" ]]
	try hoy image scp -q busybox hoytest@localhost::his:1
	assert_success
	[[ $(as_user podman image inspect --format '{{.Id}}' localhost/his:1) == "$id" ]]
	SUDO_USER=hoytest
	export SUDO_USER
	as_user podman rmi -a -f >/dev/null
	try hoy image scp -q root@localhost::busybox
	assert_success
	[[ $(as_user podman image inspect --format '{{.Id}}' localhost/busybox) == "$id" ]]
	# And back; without a destination it is root's.
	hoy rmi -f busybox
	try hoy image scp -q hoytest@localhost::localhost/busybox root@localhost::
	assert_success
	[[ $(hoy image inspect --format '{{.Id}}' busybox) == "$id" ]]
	# An ordinary user can do that with sudo alone.
	mkdir -p "$home/bin"
	cp "$HOY_BIN"/hoy* "$home/bin/"
	chown -R hoytest "$home/bin"
	try as_user bin/hoy image scp busybox daemon@localhost::
	assert_status 125
	assert_stderr_has 'only root may give images'
	try as_user bin/hoy image scp daemon@localhost::busybox
	assert_status 125
	assert_stderr_has 'only root may read'
}

# ---- login, logout, sync

@test "login: with a secret, again with what is known, without naming the registry; logout" {
	registry_start r --htpasswd ann:secret
	export REGISTRY_AUTH_FILE=$T/auth.json CONTAINERS_REGISTRIES_CONF=$T/c.conf
	printf 'unqualified-search-registries = ["%s"]\n[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" "$REGISTRY" >c.conf
	printf secret | oracle_podman secret create ann - >/dev/null
	printf wrong | oracle_podman secret create other - >/dev/null
	# The user is called as the secret, unless it is said.
	try hoy login --secret ann "$REGISTRY"
	assert_success
	assert_stdout 'Login Succeeded!'
	rm auth.json
	id=$(oracle_podman secret inspect --format '{{.ID}}' ann)
	try hoy login --secret "${id:0:10}" -u ann
	assert_success
	for args in '--secret other -u ann' '--secret none' '--secret ann -p x'; do
		try hoy login $args "$REGISTRY"
		assert_status 125
		ours=${stderr#Error: }
		theirs=$(oracle_podman login $args "$REGISTRY" 2>&1) && false
		[[ $args == *other* || ${ours##*: } == "${theirs##*: }" || $theirs == *'no such secret'* && $ours == *'no such secret'* ]] || { echo "$ours / $theirs"; false; }
		[[ $stderr != *wrong* && $stderr != *'"secret"'* ]]
	done
	# What is known is tried first, and told as podman tells it.
	try hoy login "$REGISTRY"
	assert_success
	ours=$output
	assert_stdout "$(oracle_podman login "$REGISTRY")"
	[[ $ours == *'Already logged in to'* ]]
	# The first of the search registries.
	try hoy login
	assert_stdout "$ours"
	try hoy logout
	assert_stdout "Removed login credentials for $REGISTRY"
	try hoy logout "$REGISTRY"
	assert_status 125
	: >c.conf
	for c in login logout; do
		try hoy $c
		assert_error 'no registries found in registries.conf, a registry must be provided'
	done
	# What is known and no longer right is asked for anew.
	printf '{"auths":{"%s":{"auth":"%s"}}}' "$REGISTRY" "$(printf ann:old | base64)" >auth.json
	try hoy login --tls-verify=false "$REGISTRY"
	assert_status 125
	assert_stdout_has 'Existing credentials are invalid'
}

@test "sync: from and to layouts" {
	registry_start a
	from=$REGISTRY
	registry_start b
	for t in busybox:1 busybox:2 deep/stack:7; do
		image copy -q --dest-tls-verify=false "oci:$(fixture "$(basename "${t%:*}")")/oci:latest" "docker://$from/$t"
	done
	image sync --src-tls-verify=false --src docker --dest oci --scoped "$from/busybox" lay
	image sync --src-tls-verify=false --src docker --dest oci --scoped --append-suffix -x "$from/deep/stack" lay
	image sync --src-tls-verify=false --src docker --dest oci "$from/deep/stack" lay
	[[ $(jq -r '.manifests[].annotations["org.opencontainers.image.ref.name"]' lay/index.json | sort) == "$(printf '%s\n' "$from/busybox:1" "$from/busybox:2" "$from/deep/stack:7-x" stack:7 | sort)" ]]
	[[ $(oracle skopeo inspect --format '{{.Digest}}' "oci:lay:stack:7") == "$(tag_of "$from/deep/stack:7")" ]]
	try image sync --dest-tls-verify=false --src oci --dest docker --digestfile d lay "$REGISTRY/m"
	assert_success
	[[ $(tag_of "$REGISTRY/m/stack:7") == "$(tag_of "$from/deep/stack:7")" && $(wc -l <d) == 4 ]]
	try image sync --src oci --dest dir --scoped lay out
	assert_success
	cmp "out/$from/busybox:2/manifest.json" <(image manifest get --tls-verify=false "docker://$from/busybox:2")
	# Names that lead elsewhere are none.
	jq '.manifests[0].annotations["org.opencontainers.image.ref.name"] = "../../escaped"' lay/index.json >i && mv i lay/index.json
	try image sync --src oci --dest dir lay out2
	assert_success
	assert_stderr_has 'skipping it'
	[[ ! -e escaped && ! -e ../escaped && $(find out2 -name manifest.json | wc -l) == 3 ]]
	try image sync --src oci --dest oci lay lay2
	assert_error "sync from 'oci' to 'oci' not implemented" 1
	try image sync --src oci --dest docker nothere "$REGISTRY/m"
	assert_error 'nothere' 1
	try image sync --src oci --dest dir out out3
	assert_error 'is no OCI layout' 1
}
