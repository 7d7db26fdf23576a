#!/usr/bin/env bats
# hoy-image beside skopeo: the same command lines, the same images, the same exit codes.
load ../lib/hoy

skopeo() { oracle skopeo "$@"; }
ours() { tool hoy-image "$@"; }
config_of() { skopeo inspect --tls-verify=false --raw "$1" "${@:2}" | jq -r .config.digest; }
digest_of() { skopeo inspect --tls-verify=false --raw "$1" "${@:2}" | sha256sum | cut -d' ' -f1; }
place() { printf 'containers-storage:[overlay@%s/%s/root+%s/%s/run:overlay.skip_mount_home=true]%s\n' "$T" "$1" "$T" "$1" "$2"; }
# Both tools with the same arguments: the same exit status, and what ours says is one line.
same_failure() {
	local want
	run skopeo "$@"
	want=$status
	[[ $want != 0 ]] || show "skopeo takes: $*"
	try ours "$@"
	assert_error '' "$want"
}
same_output() { diff <(skopeo "$@") <(ours "$@"); }
daemon_start() {
	mkdir -p "$T/images"
	background "$HOY_TESTS/fixtures/dockerd" "$T/docker.sock" "$T/images"
	until_true 10 test -S "$T/docker.sock"
}

# The names of image KIND:NAME in each transport, as a destination that was not there before.
name_in() {
	case $1 in
	docker) echo "docker://$REGISTRY/$2:1" ;;
	oci) echo "oci:$T/oci-$2:1" ;;
	oci-archive) echo "oci-archive:$T/oci-$2.tar:1" ;;
	docker-archive) echo "docker-archive:$T/da-$2.tar:x/y:1" ;;
	dir) echo "dir:$T/dir-$2" ;;
	containers-storage) place "st-$2" x/y:1 ;;
	docker-daemon) echo "docker-daemon:x/$2:1" ;;
	esac
}

@test "copy: each transport to each other, as skopeo does it" {
	registry_start r
	daemon_start
	flags=(--src-tls-verify=false --dest-tls-verify=false --src-daemon-host "unix://$T/docker.sock" --dest-daemon-host "unix://$T/docker.sock")
	all=(docker oci oci-archive docker-archive dir containers-storage docker-daemon)
	for from in "${all[@]}"; do
		skopeo copy -q "${flags[@]}" "oci:$(fixture stack)/oci:latest" "$(name_in "$from" "src-$from")"
	done
	for from in "${all[@]}"; do
		for to in "${all[@]}"; do
			src=$(name_in "$from" "src-$from") theirs=$(name_in "$to" "s-$from") mine=$(name_in "$to" "h-$from")
			skopeo copy -q "${flags[@]}" "$src" "$theirs"
			try ours copy -q "${flags[@]}" "$src" "$mine"
			assert_success
			look=()
			[[ $to != docker-daemon ]] || look=(--daemon-host "unix://$T/docker.sock")
			[[ $(config_of "$mine" "${look[@]}") == "$(config_of "$theirs" "${look[@]}")" ]] || show "another config: $from to $to"
			# where layers go on as they are, the manifest is the same too (skopeo calls the plain layers of an archive gzip in dir:)
			case $from/$to in
			docker-*/dir | docker-*/containers-storage) ;;
			*/dir | docker/docker | docker/oci | oci*/oci* | oci*/docker | dir/oci* | dir/docker | */containers-storage | */docker-archive | */docker-daemon)
				[[ $from == containers-storage ]] ||
					[[ $(digest_of "$mine" "${look[@]}") == "$(digest_of "$theirs" "${look[@]}")" ]] || show "another manifest: $from to $to" ;;
			esac
		done
	done
}

@test "copy: tarball: becomes the image that skopeo makes of it" {
	cp "$(fixture busybox)/rootfs.tar" a.tar
	gzip -c a.tar >b.tar.gz
	skopeo copy -q tarball:a.tar:b.tar.gz dir:s
	try ours copy -q tarball:a.tar:b.tar.gz dir:h
	assert_success
	diff -r s h
	same_output inspect tarball:a.tar
	try ours copy -q tarball:- dir:in <a.tar
	assert_success
	try ours copy -q dir:h tarball:x
	assert_error 'can only be copied from' 1
	same_failure copy tarball:none dir:x
}

@test "copy: docker-daemon: over its socket; what it says is told" {
	daemon_start
	host=unix://$T/docker.sock
	try ours copy -q --dest-daemon-host "$host" "oci:$(fixture busybox)/oci:latest" docker-daemon:b:1
	assert_success
	diff <(skopeo inspect --daemon-host "$host" docker-daemon:b:1) <(ours inspect --daemon-host "$host" docker-daemon:b:1)
	try env DOCKER_HOST="$host" "$HOY_BIN/hoy-image" copy -q docker-daemon:b:1 dir:d
	assert_success
	same_failure inspect --daemon-host "$host" docker-daemon:none:1
	same_failure inspect --daemon-host "$host" docker-daemon:none
	same_failure inspect --daemon-host "unix://$T/nobody" docker-daemon:b:1
	try ours copy -q --dest-daemon-host "$host" "oci:$(fixture busybox)/oci:latest" docker-daemon:refuse/me:1
	assert_error 'no room' 1
	same_failure delete --daemon-host "$host" docker-daemon:b:1
}

@test "copy: --additional-tag, and list-tags of the archive" {
	src=oci:$(fixture stack)/oci:latest
	ours copy -q --additional-tag z:2 --additional-tag=q:3,r:4 "$src" docker-archive:h.tar:x/y:1
	skopeo copy -q --additional-tag z:2 --additional-tag=q:3,r:4 "$src" docker-archive:s.tar:x/y:1
	diff <(ours list-tags docker-archive:h.tar) <(skopeo list-tags docker-archive:s.tar)
	same_output list-tags docker-archive:h.tar
	same_failure copy -q "$src" docker-archive:h.tar:x/y:2
	same_failure list-tags docker-archive:none.tar
	same_failure list-tags "oci:x"
	same_output list-tags docker-archive:h.tar:x/y:1
	same_failure copy --additional-tag z "$src" docker-archive:n.tar:x/y:1
	try ours copy --additional-tag z:2 "$src" dir:d
	assert_error 'additional tags' 1
}

@test "copy: blobs that layouts share" {
	src=oci:$(fixture stack)/oci:latest
	ours copy -q --dest-shared-blob-dir sh "$src" oci:h:1
	skopeo copy -q --dest-shared-blob-dir sh2 "$src" oci:s:1
	diff -r sh sh2
	cmp h/index.json s/index.json
	[[ -z $(find h/blobs -type f) ]]
	same_output inspect --shared-blob-dir sh oci:h:1
	try ours copy -q --src-shared-blob-dir sh oci:h:1 oci:whole:1
	assert_success
	same_failure inspect oci:h:1
	try ours delete --shared-blob-dir sh oci:h:1
	assert_success
	diff -r sh sh2
}

@test "copy: compression, its level, and digests that are known beforehand" {
	registry_start r
	src=oci:$(fixture stack)/oci:latest
	skopeo copy -q --dest-decompress "$src" dir:plain
	for level in 1 9; do
		try ours copy -q --dest-compress --dest-compress-level $level dir:plain dir:l$level
		assert_success
	done
	[[ $(du -sb l1 | cut -f1) -gt $(du -sb l9 | cut -f1) ]]
	same_failure copy -q --dest-compress-format nonsense dir:plain dir:x
	try ours copy -q --dest-compress --dest-compress-level 10 dir:plain dir:x
	assert_error 'levels from 1 to 9' 1
	try ours copy -q --dest-tls-verify=false --dest-precompute-digests dir:plain "docker://$REGISTRY/p:1"
	assert_success
	before=$(find "$REGISTRY_DIR" -name data | wc -l)
	try ours copy -q --dest-tls-verify=false --dest-precompute-digests dir:plain "docker://$REGISTRY/p:2"
	assert_success
	[[ $(find "$REGISTRY_DIR" -name data | wc -l) == "$before" ]]
	[[ $(config_of "docker://$REGISTRY/p:1") == "$(config_of "dir:$T/plain")" ]]
	ours copy -q --dest-oci-accept-uncompressed-layers dir:plain oci:h:1
	skopeo copy -q --dest-oci-accept-uncompressed-layers dir:plain oci:s:1
	diff -r h s
	try ours copy -q --dest-compress-format zstd --dest-force-compress-format "$src" oci:z:1
	assert_success
	[[ $(skopeo inspect oci:z:1 | jq -r '[.LayersData[].MIMEType] | unique[]') == *+zstd ]]
}

@test "copy: lists, whole, converted, alone" {
	src=oci:$(fixture stack)/oci:latest
	m=$(digest_of "$src")
	skopeo copy -q "$src" dir:list
	mv list/manifest.json "list/$m.manifest.json"
	printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:%s","size":%s,"platform":{"architecture":"amd64","os":"linux"}}]}' \
		"$m" "$(stat -c %s "list/$m.manifest.json")" >list/manifest.json
	for format in '' oci v2s2; do
		rm -rf h s
		try ours copy -q --all ${format:+-f $format} dir:list dir:h
		assert_success
		skopeo copy -q --all ${format:+-f $format} dir:list dir:s
		diff -r h s
	done
	try ours copy -q --multi-arch index-only dir:list oci:alone:1
	assert_success
	skopeo copy -q --multi-arch index-only dir:list oci:theirs:1
	diff -r alone theirs
	# docker's lists into a layout
	skopeo copy -q --all -f v2s2 dir:list dir:docker
	try ours copy -q --all dir:docker oci:conv:1
	assert_success
	[[ $(skopeo inspect --raw oci:conv:1 | jq -r .mediaType) == *image.index* ]]
	same_failure copy -q --multi-arch nonsense dir:list dir:x
	same_failure copy -q --all --preserve-digests -f v2s2 dir:list dir:x
	same_failure copy -q --all --override-arch s390x dir:none dir:x
	same_failure --override-arch s390x copy -q dir:list dir:x
}

@test "containers-storage: a store, a name, an id; ids that don't fit" {
	src=oci:$(fixture busybox)/oci:latest
	id=$(config_of "$src")
	id=${id#sha256:}
	try ours copy -q "$src" "$(place st "x/y:1@$id")"
	assert_success
	same_output inspect "$(place st x/y:1)"
	same_output inspect "$(place st "@$id")"
	same_output inspect "$(place st "x/y:1@$id")"
	same_failure inspect "$(place st x/z:1)"
	same_failure inspect "$(place st "x/z:1@$id")"
	same_failure inspect 'containers-storage:[]x'
	# skopeo makes an image of that id
	try ours copy -q "$src" "$(place st "x/y:1@${id//[0-9]/0}")"
	assert_error "would have the id $id" 1
	same_failure copy -q --all dir:none "$(place st x/y:1)"
	# one store to another
	try ours copy -q "$(place st x/y:1)" "$(place st2 x/w:1)"
	assert_success
	same_output inspect "$(place st2 x/w:1)"
}

@test "delete: registries, layouts, stores; what cannot be deleted from" {
	registry_start r --delete
	src=oci:$(fixture busybox)/oci:latest
	for tag in 1 2; do
		skopeo copy -q --dest-tls-verify=false "$src" "docker://$REGISTRY/b:$tag"
	done
	skopeo copy -q --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/b:3"
	try ours delete --tls-verify=false "docker://$REGISTRY/b:1"
	assert_success
	assert_stdout ''
	[[ $stderr == "$REGISTRY/b:2 was the same image, and is gone too" ]]
	same_failure inspect --tls-verify=false "docker://$REGISTRY/b:2"
	same_failure delete --tls-verify=false "docker://$REGISTRY/b:1"
	ours copy -q "$src" oci:o:1
	ours copy -q "oci:$(fixture stack)/oci:latest" oci:o:2
	cp -a o theirs
	ours delete oci:o:2
	skopeo delete oci:theirs:2
	diff <(cd o && find . -type f | sort) <(cd theirs && find . -type f | sort)
	same_output inspect --raw oci:o:1
	same_failure delete oci:o:2
	same_failure delete oci:none
	ours copy -q "$src" "$(place st x/y:1)"
	try ours delete "$(place st x/y:1)"
	assert_success
	same_failure inspect "$(place st x/y:1)"
	same_failure delete "$(place st x/y:1)"
	for name in dir:o docker-archive:x oci-archive:x tarball:x nonsense; do
		same_failure delete "$name"
	done
}

@test "inspect: whole, raw, config, templates; the tags of the repository or not" {
	registry_start r
	src=oci:$(fixture stack)/oci:latest
	for tag in 1 2; do
		skopeo copy -q --dest-tls-verify=false "$src" "docker://$REGISTRY/b:$tag"
	done
	skopeo copy -q "$src" docker-archive:da.tar:x:1
	skopeo copy -q "$src" oci-archive:oa.tar:1
	skopeo copy -q "$src" dir:d
	for image in "docker://$REGISTRY/b:1" "$src" docker-archive:da.tar oci-archive:oa.tar dir:d; do
		for how in '' --raw --config '--config --raw' '--format {{.Digest}}' '--format {{.Name}}|{{.Os}}/{{.Architecture}}|{{.Layers}}' --no-tags; do
			# shellcheck disable=SC2086
			same_output inspect --tls-verify=false $how "$image" || { echo "inspect $how $image" >&2; false; }
		done
	done
	same_failure inspect --tls-verify=false "docker://$REGISTRY/b:none"
	same_failure inspect --tls-verify=false "docker://$REGISTRY/none"
	same_failure inspect "docker://$REGISTRY/b:1"
	same_failure inspect --format '{{.Nonsense}}' dir:d
	same_failure inspect dir:none
	same_failure inspect "oci:$(fixture stack)/oci:none"
	same_failure inspect oci-archive:oa.tar:none
	same_failure inspect docker-archive:da.tar:none:1
	same_failure inspect sif:x
	same_failure inspect dir:d dir:d
	same_failure manifest-digest none
	diff <(ours manifest-digest d/manifest.json) <(skopeo manifest-digest d/manifest.json)
}

@test "credentials: user and password, a token, neither; login, logout, their files" {
	registry_start r --htpasswd me:secret
	src=oci:$(fixture busybox)/oci:latest
	to=docker://$REGISTRY/b:1
	flag=--dest-tls-verify=false
	same_failure copy -q $flag "$src" "$to"
	same_failure copy -q $flag --dest-creds me:wrong "$src" "$to"
	same_failure copy -q $flag --dest-username me "$src" "$to"
	same_failure copy -q $flag --dest-password secret "$src" "$to"
	same_failure copy -q $flag --dest-creds me:secret --dest-no-creds "$src" "$to"
	same_failure copy -q $flag --dest-creds me:secret --dest-username me --dest-password secret "$src" "$to"
	try ours copy -q $flag --dest-username me --dest-password secret "$src" "$to"
	assert_success
	same_output inspect --tls-verify=false --username me --password secret "$to"
	same_output list-tags --tls-verify=false --creds me:secret "docker://$REGISTRY/b"
	same_failure inspect --tls-verify=false "$to"
	try ours login --tls-verify=false --compat-auth-file compat.json -u me -p secret "$REGISTRY"
	assert_success
	assert_stdout 'Login Succeeded!'
	try skopeo inspect --tls-verify=false --authfile compat.json "$to"
	assert_success
	same_failure login --tls-verify=false --compat-auth-file compat.json --authfile a.json -u me -p secret "$REGISTRY"
	same_failure login --tls-verify=false --authfile a.json -u me -p wrong "$REGISTRY"
	try ours logout --compat-auth-file compat.json "$REGISTRY"
	assert_success
	assert_stdout "Removed login credentials for $REGISTRY"
	same_failure logout --authfile a.json "$REGISTRY"
	# credentials of a part of the registry only
	try ours login --tls-verify=false --authfile a.json -u me -p secret "$REGISTRY/b"
	assert_success
	[[ $(jq -r '.auths | keys[]' a.json) == "$REGISTRY/b" ]]
	try ours inspect --tls-verify=false --authfile a.json "$to"
	assert_success
	same_failure inspect --tls-verify=false --authfile a.json "docker://$REGISTRY/c:1"
}

@test "login and logout: a credential helper keeps what the file gives it" {
	registry_start r --htpasswd me:secret
	mkdir bin
	cat >bin/docker-credential-probe <<-'END'
	#!/bin/sh
	in=$(cat)
	echo "$1" >>"$T/verbs"
	case $1 in
	store) echo "$in" >"$T/kept" ;;
	get) [ -e "$T/kept" ] || { echo 'credentials not found'; exit 1; }; cat "$T/kept" ;;
	erase) [ -e "$T/kept" ] || { echo 'nothing kept'; exit 1; }; rm "$T/kept" ;;
	esac
	END
	chmod +x bin/docker-credential-probe
	export PATH=$T/bin:$PATH
	printf '{"credHelpers": {"%s": "probe"}}\n' "$REGISTRY" >a.json
	cp a.json before.json
	try ours login --tls-verify=false --authfile a.json -u me -p secret "$REGISTRY"
	assert_success
	cmp a.json before.json
	[[ $(jq -c . kept) == "{\"ServerURL\":\"$REGISTRY\",\"Username\":\"me\",\"Secret\":\"secret\"}" ]]
	try ours login --get-login --authfile a.json "$REGISTRY"
	assert_stdout me
	try ours logout --authfile a.json "$REGISTRY"
	assert_success
	[[ ! -e kept ]]
	try ours logout --authfile a.json "$REGISTRY"
	assert_error "the credential helper 'docker-credential-probe' fails: nothing kept" 1
}

@test "a Bearer token that is given is the one that is sent" {
	cat >server.py <<-'END'
	import http.server, sys
	class H(http.server.BaseHTTPRequestHandler):
	    def do_GET(self):
	        a, ua = self.headers.get("Authorization", ""), self.headers.get("User-Agent", "")
	        open("asked", "a").write(self.path + " " + a + " " + ua + "\n")
	        ok = a == "Bearer t0ken"
	        self.send_response(200 if ok else 401)
	        if not ok:
	            self.send_header("WWW-Authenticate", 'Bearer realm="http://127.0.0.1:18081/token",service="x"')
	        body = b'{"name":"b","tags":["1"]}' if ok else b"{}"
	        self.send_header("Content-Length", str(len(body)))
	        self.end_headers()
	        self.wfile.write(body)
	    def log_message(self, *a): pass
	http.server.HTTPServer(("127.0.0.1", 18081), H).serve_forever()
	END
	background python3 server.py
	until_true 10 bash -c 'exec 3<>/dev/tcp/127.0.0.1/18081' 2>/dev/null
	same_output list-tags --tls-verify=false --registry-token t0ken docker://127.0.0.1:18081/b
	not grep -q '^/token' asked
	try ours --user-agent-prefix probe/1 list-tags --tls-verify=false --registry-token t0ken docker://127.0.0.1:18081/b
	assert_success
	tail -1 asked | grep -q ' probe/1 hoy/'
}

@test "options before the verb, and those that are wrong" {
	src=oci:$(fixture busybox)/oci:latest
	try ours --debug --override-os linux inspect "$src"
	assert_success
	# a pipe that nobody writes to
	mkfifo p
	sleep 30 >p &
	pid_record $!
	start=$EPOCHREALTIME
	try ours --command-timeout 500ms copy -q tarball:- dir:x <p
	assert_error 'the time that --command-timeout allows (500ms) is over' 1
	[[ $((${EPOCHREALTIME/./} - ${start/./})) -lt 5000000 ]]
	mkdir own
	try ours --tmpdir "$T/own" copy -q "$src" docker-archive:a.tar:x:1
	assert_success
	try ours --tmpdir "$T/none" copy -q "$src" docker-archive:b.tar:x:1
	assert_error 'temporary' 1
	same_failure copy
	same_failure copy a
	same_failure copy a b c
	same_failure copy a b
	same_failure copy "$src" nonsense:x
	same_failure copy --nonsense "$src" dir:x
	same_failure copy -f nonsense "$src" dir:x
	same_failure copy --retry-delay nonsense "$src" dir:x
	same_failure --command-timeout nonsense copy "$src" dir:x
	same_failure delete
	same_failure list-tags
	try ours copy --encryption-key x "$src" dir:x
	assert_error "an encryption key is PROTOCOL:KEY" 1
	try ours --override-arch x images
	assert_error 'images has no option --override-arch'
	# podman's exit status behind podman's name
	try hoy copy --nonsense "$src" dir:x
	assert_error 'unknown flag'
}

# ---- sync

# Repositories a/one (tags 1.0.0, 1.1.0, 2.0.0-rc1, 2.0.0, latest) and a/two (tag 1).
fill_registry() {
	local tag
	for tag in 1.0.0 1.1.0 2.0.0-rc1 2.0.0 latest; do
		skopeo copy -q --dest-tls-verify=false "$@" "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/a/one:$tag"
	done
	skopeo copy -q --dest-tls-verify=false "$@" "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/a/two:1"
}

# The same sync by both, to the directories s and h; they must be alike.
same_sync() {
	rm -rf s h
	skopeo sync --src-tls-verify=false --dest dir "$@" s >/dev/null 2>&1
	try ours sync --src-tls-verify=false --dest dir "$@" h
	assert_success
	diff -r s h
}

@test "sync: a registry into directories" {
	registry_start r
	fill_registry
	same_sync --src docker "$REGISTRY/a/one"
	[[ -e h/one:2.0.0-rc1/manifest.json ]]
	same_sync --src docker --scoped "$REGISTRY/a/one"
	same_sync --src docker --append-suffix -x "$REGISTRY/a/two:1"
	[[ -e h/two:1-x/manifest.json ]]
	digest=$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/a/two:1")
	same_sync --src docker "$REGISTRY/a/two@$digest"
	try ours sync --src-tls-verify=false --src docker --dest dir --digestfile d --append-suffix -y "$REGISTRY/a/two:1" h
	assert_success
	[[ $(<d) == "$digest dir:h/two:1-y" ]]
	same_failure sync --src-tls-verify=false --src docker --dest dir "$REGISTRY/a/two@$digest" h
	same_failure sync --src-tls-verify=false --src docker --dest dir "$REGISTRY/a/none" h
	rm -rf h
	try ours sync --src-tls-verify=false --src docker --dest dir --dry-run "$REGISTRY/a/one" h
	assert_success
	assert_stderr_like "Would have copied image ref [1-5]/5 from docker://$REGISTRY/a/one:latest to dir:h/one:latest"
	[[ ! -e h ]]
}

@test "sync: directories into a registry, a registry into another; one that fails and --keep-going" {
	registry_start r
	fill_registry
	from=$REGISTRY
	skopeo sync --src-tls-verify=false --src docker --dest dir --scoped "$REGISTRY/a/one" tree >/dev/null 2>&1
	registry_start q
	try ours sync --dest-tls-verify=false --src dir --dest docker --digestfile d tree "$REGISTRY/b"
	assert_success
	same_output list-tags --tls-verify=false "docker://$REGISTRY/b/one"
	[[ $(ours list-tags --tls-verify=false "docker://$REGISTRY/b/one" | jq -c '.Tags | sort') == '["1.0.0","1.1.0","2.0.0","2.0.0-rc1","latest"]' ]]
	[[ $(wc -l <d) == 5 && $(head -1 d) == "$(skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/b/one:1.0.0") docker://$REGISTRY/b/one:1.0.0" ]]
	try ours sync --dest-tls-verify=false --src dir --dest docker "tree/$from/a/one:1.0.0" "$REGISTRY/c"
	assert_success
	[[ $(ours list-tags --tls-verify=false "docker://$REGISTRY/c/one" | jq -c .Tags) == '["1.0.0"]' ]]
	# the source's port cannot be a part of the path
	try ours sync --src-tls-verify=false --dest-tls-verify=false --src docker --dest docker --scoped "$from/a/two" "$REGISTRY/d"
	assert_status 1
	assert_stderr_has 'invalid reference format'
	try ours sync --src-tls-verify=false --dest-tls-verify=false --src docker --dest docker --append-suffix -y "$from/a/two" "$REGISTRY/d"
	assert_success
	[[ $(digest_of "docker://$REGISTRY/d/two:1-y") == "$(digest_of "docker://$from/a/two:1")" ]]
	rm "tree/$from/a/one:1.1.0/"[0-9a-f]*
	try ours sync --dest-tls-verify=false --src dir --dest docker tree "$REGISTRY/e"
	assert_status 1
	run skopeo sync --dest-tls-verify=false --src dir --dest docker --keep-going tree "$REGISTRY/f"
	assert_status 1
	try ours sync --dest-tls-verify=false --src dir --dest docker --keep-going tree "$REGISTRY/g"
	assert_status 1
	assert_stderr_has 'Sync failed due to previous reported error(s) for one or more images'
	diff <(ours list-tags --tls-verify=false "docker://$REGISTRY/f/one" | jq '.Tags | sort') <(ours list-tags --tls-verify=false "docker://$REGISTRY/g/one" | jq '.Tags | sort')
}

@test "sync: what a YAML file asks for" {
	registry_start r --htpasswd me:secret
	fill_registry --dest-creds me:secret
	login="    credentials: {username: me, password: secret}
    tls-verify: false"
	digest=$(skopeo inspect --tls-verify=false --creds me:secret --format '{{.Digest}}' "docker://$REGISTRY/a/two:1")
	yaml_sync() {
		printf '%s:\n%s\n' "$REGISTRY" "$login" >f.yaml
		cat >>f.yaml
		rm -rf s h
		skopeo sync --src yaml --dest dir f.yaml s >/dev/null 2>&1
		try ours sync --src yaml --dest dir f.yaml h
		assert_success
		diff -r s h
	}
	yaml_sync <<-END
	    images:
	        a/one: [latest, "1.0.0"]
	        a/two:
	            - '$digest'
	END
	[[ $(ls h | wc -l) == 3 ]]
	yaml_sync <<-END
	    images:
	        a/one: []
	        a/two:
	END
	[[ $(ls h | wc -l) == 6 ]]
	yaml_sync <<-'END'
	    images-by-tag-regex:
	        a/one: ^\d\.[01]\.\d$
	    images-by-semver:
	        a/two: ">= 1"
	END
	[[ $(ls h | wc -l) == 4 ]]
	for constraint in '~1.0' '^1' '>=1.1 <3' '2.x' '1.0.0 || 2.0.0' '>= 2.0.0-0' '1 - 2' '!=1.0'; do
		yaml_sync <<-END
		    images-by-semver: {a/one: "$constraint"}
		END
	done
	# one that cannot be listed is told and left out
	yaml_sync <<-END
	    images: {a/none: [], a/two: ["1"]}
	END
	assert_stderr_has 'skipping it'
	# what is no such file
	for text in 'x: [' 'x: {images: 1}' 'x: {tls-verify: perhaps}' '- a' 'x: {images: {a: 1, a: 2}}'; do
		printf '%s\n' "$text" >bad.yaml
		same_failure sync --src yaml --dest dir bad.yaml h2
	done
	# aliases may not make a small file a large one
	{
		echo 'a0: &a0 [xxxxxxxxxx, xxxxxxxxxx]'
		for i in {1..40}; do echo "a$i: &a$i [*a$((i - 1)), *a$((i - 1))]"; done
	} >bomb.yaml
	try timeout 20 "$HOY_BIN/hoy-image" sync --src yaml --dest dir bomb.yaml h2
	assert_error "'bomb.yaml' is too deep or too large" 1
	printf '%s:\n  tls-verify: false\n  nonsense: 1\n' "$REGISTRY" >warn.yaml
	try ours sync --src yaml --dest dir warn.yaml h2
	assert_success
	assert_stderr_has "Warning: 'nonsense' of registry '$REGISTRY' is not known, ignoring"
	assert_stderr_has 'has no images, ignoring'
}

@test "sync: what cannot be" {
	mkdir empty
	same_failure sync x y
	same_failure sync --src docker x y
	same_failure sync --src nonsense --dest dir x y
	same_failure sync --src docker --dest nonsense x y
	same_failure sync --src dir --dest dir x y
	same_failure sync --src dir --dest docker none x
	same_failure sync --src dir --dest docker empty x
	same_failure sync --src yaml --dest dir none x
	same_failure sync --src docker --dest dir x
	same_failure sync --src dir --dest docker --src-username x empty x
}

@test "copy: zstd:chunked has skopeo's table of files; podman pulls it plainly and in parts" {
	registry_start r
	src=oci:$(fixture busybox)/oci:latest
	try ours copy -q --dest-compress-format zstd:chunked "$src" oci:h:1
	assert_success
	skopeo copy -q --dest-compress-format zstd:chunked "$src" oci:s:1
	cat >table.py <<-'END'
	import hashlib, json, struct, subprocess, sys
	def blob(d, digest): return open(d + "/blobs/sha256/" + digest[7:], "rb").read()
	def plain(b): return subprocess.run(["zstd", "-dc"], input=b, stdout=subprocess.PIPE, check=True).stdout
	def digest(b): return "sha256:" + hashlib.sha256(b).hexdigest()
	d = sys.argv[1]
	layer, = json.loads(blob(d, json.load(open(d + "/index.json"))["manifests"][0]["digest"]))["layers"]
	data, notes = blob(d, layer["digest"]), layer["annotations"]
	n = struct.unpack("<7Q8s", data[-64:])
	key = "io.github.containers.zstd-chunked."
	table, split = data[n[0]:n[0] + n[1]], data[n[4]:n[4] + n[5]]
	assert n[7] == b"GNUlInUx" and n[3] == 1
	assert notes[key + "manifest-checksum"] == digest(table)
	assert notes[key + "manifest-position"] == "%d:%d:%d:%d" % n[:4] and len(plain(table)) == n[2]
	assert notes[key + "tarsplit-position"] == "%d:%d:%d" % n[4:7] and len(plain(split)) == n[6]
	toc = json.loads(plain(table))
	assert toc["version"] == 1 and toc["tarSplitDigest"] == digest(split)
	for e in toc["entries"]:
	    if e["type"] == "reg" and e.get("size"):
	        assert digest(plain(data[e["offset"]:e["endOffset"]])) == e["digest"]
	    for k in ("offset", "endOffset", "chunkSize", "chunkDigest"):
	        e.pop(k, None)
	print(json.dumps([e for e in toc["entries"] if e["type"] != "chunk"]), digest(plain(data)))
	END
	diff <(python3 table.py s) <(python3 table.py h)
	try ours copy -q --dest-tls-verify=false --dest-compress-format zstd:chunked "$src" "docker://$REGISTRY/c:1"
	assert_success
	# what is so already goes on as it is
	try ours copy -q --dest-compress-format zstd:chunked oci:h:1 oci:again:1
	assert_success
	diff -r h again
	try oracle_podman pull -q --tls-verify=false "$REGISTRY/c:1"
	assert_success
	want=$output
	try hoy pull -q --tls-verify=false "$REGISTRY/c:1"
	assert_stdout "$want"
	mkdir partial
	printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/partial/root"\nrunroot = "%s/partial/run"\n[storage.options]\npull_options = {enable_partial_images = "true", use_hard_links = "false"}\n[storage.options.overlay]\nskip_mount_home = "true"\n' \
		"$T" "$T" >storage.conf
	try oracle env CONTAINERS_STORAGE_CONF="$T/storage.conf" podman --tmpdir "$T/partial/tmp" --log-level debug pull -q --tls-verify=false "$REGISTRY/c:1"
	assert_success
	assert_stdout_has "$want"
	assert_stderr_has 'Retrieved partial blob'
	# names and sparse files that the table cannot say: plain zstd
	try ours copy -q --dest-compress-format zstd:chunked "oci:$(fixture debian)/oci:latest" oci:d:1
	assert_success
	[[ $(skopeo inspect --raw oci:d:1 | jq -c '[.layers[] | has("annotations")]') == '[true,true,true,true,false]' ]]
}

@test "copy: what docker says of an image becomes what OCI knows" {
	mkdir a
	tar -xf "$(fixture busybox)/docker.tar" -C a
	config=$(jq -r '.[0].Config' a/manifest.json)
	jq -c '. + {docker_version: "1", container: "x", container_config: {Cmd: ["y"]}, author: "<me> & \u00fc", variant: "", created: "2024-01-01T00:00:00.100Z"}
		| .config += {Labels: {b: "2", a: "1", c: ""}, Volumes: {"/z": {}, "/y": {}}, Healthcheck: {Test: ["NONE"]}, Env: [], OnBuild: null, StopSignal: "9"}
		| .history += [{created: "2024-01-01T01:00:00+01:00", created_by: "z", empty_layer: true, comment: ""}]' "a/$config" >a/other.json
	jq -c '.[0].Config = "other.json"' a/manifest.json >a/m
	mv a/m a/manifest.json
	tar -cf a.tar -C a .
	for to in oci dir; do
		skopeo copy -q -f oci docker-archive:a.tar "$to:$T/theirs-$to"
		try ours copy -q -f oci docker-archive:a.tar "$to:$T/mine-$to"
		assert_success
		[[ $(config_of "$to:$T/mine-$to") == "$(config_of "$to:$T/theirs-$to")" ]] || show "another config in $to:"
		diff <(skopeo inspect --config --raw "$to:$T/mine-$to") <(skopeo inspect --config --raw "$to:$T/theirs-$to")
	done
	# and back: only the types are others
	skopeo copy -q -f v2s2 "oci:$T/mine-oci" "dir:$T/theirs-back"
	try ours copy -q -f v2s2 "oci:$T/mine-oci" "dir:$T/mine-back"
	assert_success
	[[ $(digest_of "dir:$T/mine-back") == "$(digest_of "dir:$T/theirs-back")" ]]
}

# asked TRANSCRIPT TOOL... : what the proxy says of the image $image
asked() { SHOW_ERRORS=1 "$HOY_TESTS/fixtures/proxy_client" "$image" "${@:2}" "${flags[@]}" 2>"$1.err" >"$1"; }

@test "experimental-image-proxy: manifests, configs and blobs for other programs, as skopeo serves them" {
	registry_start r
	skopeo copy -q --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/stack:1"
	have_image busybox
	for image in "docker://$REGISTRY/stack:1" "oci:$(fixture stack)/oci:latest" "docker-archive:$(fixture busybox)/docker.tar" \
		"containers-storage:[overlay@$ROOT+$RUNROOT]localhost/busybox:latest"; do
		flags=()
		[[ $image != docker:* ]] || flags=(--tls-verify=false)
		asked theirs "$HOY_TESTS/oracle" run -- skopeo experimental-image-proxy
		asked mine "$HOY_BIN/hoy-image" experimental-image-proxy || { cat mine.err; false; }
		# A blob that isn't there is nothing to try again, whatever skopeo says.
		diff <(sed '/^no blob/s/retryable/other/' theirs) mine || show "$image"
		[[ $(wc -l <mine.err) == "$(wc -l <theirs.err)" ]] || { cat mine.err; show "other errors: $image"; }
	done
	try "$HOY_BIN/hoy-image" experimental-image-proxy
	assert_error 'no socket of the type SOCK_SEQPACKET' 1
}

# What the token server was asked for since forget_tokens: "HOW USER SCOPE..." a line, sorted.
asked_for() { jq -r '[.how, .user // "-"] + .scopes | join(" ")' "$TOKENS_DIR/log.jsonl" | sort -u; }
forget_tokens() { : >"$TOKENS_DIR/log.jsonl"; }
quietly() { try ours "$@"; assert_success; }

@test "a token server: who may do what, scopes, refresh tokens" {
	tokens_start t
	registry_start r --token "$TOKENS_DIR"
	stack="oci:$(fixture stack)/oci:latest" plain=(--tls-verify=false)
	try ours copy -q --dest-tls-verify=false "$stack" "docker://$REGISTRY/public/stack:1"
	assert_error "(run: hoy login $REGISTRY)" 1
	try ours login "${plain[@]}" -u joe -p wrong --authfile auth.json "$REGISTRY"
	assert_error "invalid username or password" 1
	quietly login "${plain[@]}" -u joe -p secret --authfile auth.json "$REGISTRY"
	forget_tokens
	quietly copy -q --dest-tls-verify=false --authfile auth.json "$stack" "docker://$REGISTRY/public/stack:1"
	[[ $(asked_for) == 'GET joe repository:public/stack:pull,push' ]] || show "$(asked_for)"
	# the same by skopeo: the server does what skopeo expects
	skopeo copy -q --dest-tls-verify=false --authfile auth.json "$stack" "docker://$REGISTRY/private/stack:1"

	forget_tokens
	quietly copy -q --src-tls-verify=false --src-no-creds "docker://$REGISTRY/public/stack:1" dir:d
	[[ $(asked_for) == 'GET - repository:public/stack:pull' && $(wc -l <"$TOKENS_DIR/log.jsonl") == 1 ]] || show "$(<"$TOKENS_DIR/log.jsonl")"
	try ours inspect "${plain[@]}" "docker://$REGISTRY/private/stack:1"
	assert_error "(run: hoy login $REGISTRY)" 1

	# a blob of another repository: the right to pull there too
	forget_tokens
	quietly copy -q --src-tls-verify=false --dest-tls-verify=false --authfile auth.json "docker://$REGISTRY/private/stack:1" "docker://$REGISTRY/private/other:1"
	[[ $(asked_for) == *'GET joe repository:private/other:pull,push repository:private/stack:pull'* ]] || show "$(asked_for)"

	forget_tokens
	jq --arg r "$REGISTRY" '.auths = {($r): {auth: ("<token>:" | @base64), identitytoken: "of-joe"}}' auth.json >refresh.json
	same_output list-tags "${plain[@]}" --authfile refresh.json "docker://$REGISTRY/private/stack"
	[[ $(asked_for) == 'POST joe repository:private/stack:pull' ]] || show "$(asked_for)"
	try ours delete "${plain[@]}" --authfile auth.json "docker://$REGISTRY/private/other:1"
	[[ $(asked_for) == *'GET joe repository:private/other:'* ]] || show "$(asked_for)"
}

@test "a token that is no longer taken is asked for again" {
	tokens_start t
	again="{\"lie\":\"status\",\"code\":401,\"headers\":{\"WWW-Authenticate\":\"Bearer realm=\\\"http://$(<"$TOKENS_DIR/host")/token\\\",service=\\\"test\\\"\"},\"times\":1,"
	hostile_start h "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[$again\"match\":\"manifest\"},$again\"match\":\"layer:0\"}]}"
	quietly copy -q --src-tls-verify=false "docker://$HOSTILE/public/x:latest" dir:d
	[[ $(wc -l <"$TOKENS_DIR/log.jsonl") == 2 ]] || show "$(<"$TOKENS_DIR/log.jsonl")"
}
