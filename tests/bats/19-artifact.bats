#!/usr/bin/env bats
# `artifact`: files as OCI artifacts in podman's place for them; each engine goes on with what the other one made.
load ../lib/hoy

make_files() {
	cd "$T"
	printf 'hello\n' >a.txt
	printf ' <html>x</html>' >b
	head -c 300000 /dev/urandom >c.bin
	: >empty
}

ageless() { sed -E 's/(Less than a second|[0-9]+ seconds?) ago/AGE/; s/ +/ /g'; }

# both ARGUMENT...: podman and then hoy; output, status and the last cause of an error agree.
both() {
	run oracle_podman artifact "$@"
	local status1=$status output1=$output
	run hoy artifact "$@"
	[[ $status == "$status1" ]] || { echo "status $status, podman's $status1: $output $output1"; false; }
	# A second may begin between the two.
	[[ $status != 0 ]] || diff <(ageless <<<"$output1") <(ageless <<<"$output")
	[[ $status == 0 || ${output##*: } == "${output1##*: }" ]] || { echo "$output"; echo "$output1"; false; }
}

# The index without times, which the manifests' digests depend on.
manifests() {
	jq -r '.manifests[] | .annotations["org.opencontainers.image.ref.name"] + " " + .digest[7:]' "$ROOT/artifacts/index.json" | while read -r name hex; do
		[[ $(sha256sum <"$ROOT/artifacts/blobs/sha256/$hex") == "$hex  -" ]] || echo "wrong digest"
		sed "s/\"org.opencontainers.image.created\":\"[^\"]*\"/CREATED/; s,^,$name ," "$ROOT/artifacts/blobs/sha256/$hex"
		echo
	done
}

blobs() { (cd "$ROOT/artifacts/blobs/sha256" && ls); }

@test "add: podman's manifests, byte for byte, and podman reads them" {
	make_files
	hoy artifact add --type app/x --annotation 'k=<v>' --annotation a=b=c q.io/x/a:1 a.txt b
	hoy artifact add q.io/x/b c.bin empty
	hoy artifact add --file-type text/y --annotation org.opencontainers.image.title=T short a.txt
	hoy artifact add --append q.io/x/a:1 c.bin
	hoy artifact add --append --annotation more=1 q.io/x/a:1 empty
	hoy artifact add --replace q.io/x/b a.txt b c.bin
	hoy artifact add --replace q.io/x/new a.txt
	ours=$(manifests) left=$(blobs | wc -l)
	both ls --format '{{.Repository}} {{.Tag}} {{.Digest}} {{.Size}} {{.VirtualSize}} {{.CreatedAt}}'
	both ls --no-trunc -n --format 'table {{.Repository}}\t{{.Digest}}\t{{.Size}}'
	both inspect q.io/x/a:1
	both inspect --format '{{.Name}} {{.Digest}} {{.Manifest.MediaType}} {{len .Manifest.Layers}} {{json .Manifest}}' q.io/x/b
	store_new second
	oracle_podman artifact add --type app/x --annotation 'k=<v>' --annotation a=b=c q.io/x/a:1 a.txt b
	oracle_podman artifact add q.io/x/b c.bin empty
	oracle_podman artifact add --file-type text/y --annotation org.opencontainers.image.title=T short a.txt
	oracle_podman artifact add --append q.io/x/a:1 c.bin
	oracle_podman artifact add --append --annotation more=1 q.io/x/a:1 empty
	oracle_podman artifact add --replace q.io/x/b a.txt b c.bin
	oracle_podman artifact add --replace q.io/x/new a.txt
	diff <(echo "$ours") <(manifests)
	[[ $left == "$(blobs | wc -l)" ]]
	[[ $(stat -c '%a' "$ROOT/artifacts") == 700 ]]
}

@test "what one engine made, the other one lists, changes, extracts and removes" {
	make_files
	oracle_podman artifact add q.io/x/a:1 a.txt b
	hex=$(hoy artifact add --append q.io/x/a:1 c.bin)
	[[ $(oracle_podman artifact ls -n --no-trunc) == *"$hex"* ]]
	hex=$(oracle_podman artifact add --append q.io/x/a:1 empty)
	[[ $(hoy artifact ls -n --no-trunc) == *"$hex"* ]]
	hoy artifact add q.io/x/b a.txt
	mkdir out out2
	hoy artifact extract q.io/x/a:1 out
	oracle_podman artifact extract q.io/x/a:1 out2
	diff -r out out2
	cmp c.bin out/c.bin
	[[ $(cd out && echo *) == 'a.txt b c.bin empty' ]]
	[[ $(stat -c %a out/a.txt) == 644 ]]
	both rm "${hex:0:20}0"
	try hoy artifact rm "${hex:0:20}"
	assert_stdout "$hex"
	# a.txt is the other artifact's too
	[[ $(blobs | wc -l) == 3 ]]
	both ls
	oracle_podman artifact extract q.io/x/b out2/again
	cmp a.txt out2/again
	oracle_podman artifact rm q.io/x/b
	[[ $(blobs) == '' ]]
	both ls
}

@test "extract: one blob by title or digest, into files, through links, over what is there" {
	make_files
	hoy artifact add q.io/x/a:1 a.txt c.bin
	mkdir out
	both extract q.io/x/a:1 file
	both extract --title zz q.io/x/a:1 out
	both extract --title zz --digest yy q.io/x/a:1 out
	both extract --digest sha256:5891 q.io/x/a:1 out
	both extract nosuch out
	[[ $(ls -A out) == '' ]]
	digest=sha256:$(sha256sum a.txt | cut -d' ' -f1)
	hoy artifact extract --digest "$digest" q.io/x/a:1 out
	cmp a.txt "out/${digest/:/-}"
	hoy artifact extract --title c.bin q.io/x/a:1 out
	cmp c.bin out/c.bin
	: >kept
	chmod 640 kept
	ln -s kept link
	hoy artifact extract --title a.txt q.io/x/a:1 link
	cmp a.txt kept
	[[ -L link && $(stat -c %a kept) == 640 ]]
	[[ $(hoy artifact extract --title a.txt q.io/x/a:1 /dev/stdout | cat) == hello ]]
	try hoy artifact extract --title a.txt q.io/x/a:1 nodir/file
	assert_error 'No such file or directory'
	# what a title names is never written through a symlink
	rm out/c.bin
	: >outside
	ln -s ../outside out/c.bin
	hoy artifact extract q.io/x/a:1 out
	[[ ! -s outside && ! -L out/c.bin ]]
	[[ $(find . -name '.tmp*') == '' ]]
}

@test "push and pull: digests stay; an artifact that is there is replaced with its blobs" {
	make_files
	registry_start r
	hex=$(hoy artifact add --type app/x "$REGISTRY/x/a:1" a.txt c.bin)
	try hoy artifact push --tls-verify=false --digestfile digest "$REGISTRY/x/a:1"
	assert_success
	assert_stdout ''
	[[ $(cat digest) == "sha256:$hex" ]]
	store_new second
	oracle_podman artifact pull -q --tls-verify=false "$REGISTRY/x/a:1"
	[[ $(oracle_podman artifact inspect --format '{{.Digest}}' "$REGISTRY/x/a:1") == "sha256:$hex" ]]
	hex2=$(oracle_podman artifact add --append "$REGISTRY/x/a:1" b)
	oracle_podman artifact push -q --tls-verify=false "$REGISTRY/x/a:1"
	store_new first
	hoy artifact add "$REGISTRY/x/a:1" empty
	try hoy artifact pull -q --tls-verify=false "$REGISTRY/x/a:1"
	assert_success
	[[ $output$stderr == '' ]]
	[[ $(hoy artifact inspect --format '{{.Digest}}' "$REGISTRY/x/a:1") == "sha256:$hex2" ]]
	[[ $(jq '.manifests | length' "$ROOT/artifacts/index.json") == 1 ]]
	[[ $(blobs | wc -l) == 5 ]]
	both ls
	try hoy artifact pull --tls-verify=false --retry 0 "$REGISTRY/x/none:1"
	assert_error 'manifest unknown'
	try hoy artifact push --tls-verify=false "$REGISTRY/x/none:1"
	assert_error 'artifact does not exist'
	try hoy artifact push --remove-signatures x
	assert_error 'unknown flag'
}

@test "what is wrong is said as podman says it" {
	make_files
	hoy artifact add q.io/x/a:1 a.txt
	both add q.io/x/a:1 a.txt
	both add --append q.io/x/a:1 a.txt
	both add --append --type x q.io/x/a:1 b
	both add --append --replace q.io/x/a:1 b
	both add --append q.io/x/none b
	both add --annotation foo q.io/x/b b
	both add --annotation org.opencontainers.image.title=foo q.io/x/b a.txt b
	try hoy artifact add q.io/x/b a.txt nofile
	assert_error "'nofile': No such file or directory"
	try hoy artifact add q.io/x/b /etc
	assert_error "'/etc': Is a directory"
	try hoy artifact add 'a b' b
	assert_error 'a b'
	both inspect nosuch
	both inspect q.io/x/a
	both inspect ''
	both rm
	both rm nosuch
	both rm -i nosuch
	both rm -a foo
	both ls
	[[ $(find "$ROOT/artifacts" -name '.tmp*') == '' ]]
	hoy artifact rm -a
	[[ $(blobs) == '' ]]
	both ls
}

# plant TITLE-JSON [SIZE] [DIGEST]: an artifact q.io/bad:1 of somebody else's making, of one blob "hello".
plant() {
	python3 - "$ROOT/artifacts" "$@" <<-'END'
	import hashlib, json, os, sys
	root, title = sys.argv[1], json.loads(sys.argv[2])
	def put(data):
	    digest = hashlib.sha256(data).hexdigest()
	    os.makedirs(root + "/blobs/sha256", exist_ok=True)
	    open(f"{root}/blobs/sha256/{digest}", "wb").write(data)
	    return "sha256:" + digest
	layer = {"mediaType": "text/plain", "digest": put(b"hello\n"), "size": int((sys.argv[3:] or [6])[0]),
	         "annotations": {"org.opencontainers.image.title": title}}
	if len(sys.argv) > 4:
	    layer["digest"] = sys.argv[4]
	manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
	    "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": put(b"{}"), "size": 2}, "layers": [layer]}).encode()
	json.dump({"schemaVersion": 2, "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": put(manifest),
	    "size": len(manifest), "annotations": {"org.opencontainers.image.ref.name": "q.io/bad:1"}}]}, open(root + "/index.json", "w"))
	END
}

@test "hostile artifacts: titles that leave the directory, sizes and digests that lie" {
	make_files
	hoy artifact add q.io/x/a:1 a.txt
	mkdir out
	for title in '"../evil"' '"/tmp/evil"' '"a/b"' '".."' '"."' '"a\u0000b"'; do
		plant "$title"
		try hoy artifact extract q.io/bad:1 out
		assert_error 'invalid name'
	done
	plant '"x"' 7
	try hoy artifact extract q.io/bad:1 out
	assert_error 'has not the size that the artifact says'
	plant '"x"' -1
	try hoy artifact extract q.io/bad:1 out
	assert_error 'size is not valid'
	try hoy artifact ls
	assert_error 'size is not valid'
	plant '"x"' 6 sha256:../../../../../etc/passwd
	try hoy artifact inspect q.io/bad:1
	assert_error 'digest is not valid'
	plant '"x"' 6 "sha256:$(printf '1%.0s' {1..64})"
	try hoy artifact extract q.io/bad:1 out
	assert_error 'No such file or directory'
	plant '"x"'
	printf 'jello\n' >"$ROOT/artifacts/blobs/sha256/$(sha256sum a.txt | cut -d' ' -f1)"
	try hoy artifact extract q.io/bad:1 out
	assert_error 'is not what its digest says'
	[[ $(ls -A out) == '' ]]
	echo '{"manifests": [{"digest": "sha256:../../x"}]}' >"$ROOT/artifacts/index.json"
	try hoy artifact ls
	assert_error 'digest is not valid'
	try hoy artifact rm -a
	assert_error 'digest is not valid'
	echo '[' >"$ROOT/artifacts/index.json"
	try hoy artifact ls
	assert_error artifacts
}

@test "a store without artifacts is empty, and reading makes nothing" {
	try hoy artifact ls
	assert_stdout 'REPOSITORY  TAG         DIGEST      CREATED     SIZE'
	try hoy artifact ls --format json
	assert_stdout '[]'
	try hoy artifact inspect x
	assert_error 'x: artifact does not exist'
	[[ ! -e $ROOT/artifacts ]]
}

@test "many at once: hoy and podman add to one store, and nothing is lost" {
	make_files
	for i in 1 2 3 4 5 6; do
		background "$HOY_BIN/hoy" "${HOY_OPTS[@]}" artifact add "q.io/h:$i" c.bin a.txt
		jobs[i]=$!
		[[ $i -gt 3 ]] || oracle_podman artifact add "q.io/p:$i" c.bin b
	done
	for i in 1 2 3 4 5 6; do wait "${jobs[i]}"; done
	[[ $(hoy artifact ls -n | wc -l) == 9 ]]
	[[ $(oracle_podman artifact ls -n | wc -l) == 9 ]]
	hoy artifact rm -a
	[[ $(blobs) == '' ]]
}
