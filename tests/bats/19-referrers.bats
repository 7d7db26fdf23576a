#!/usr/bin/env bats
# Artifacts of any type on their way, layers that are elsewhere, and what refers to an image (`copy --referrers`).
load ../lib/hoy

# layout DIR SCRIPT...: change the OCI layout DIR by Python: put(bytes) -> digest, manifest(...) -> its descriptor, which is in the index,
# under a name if one is given; image is the descriptor of what is "latest".
layout() {
	python3 - "$1" "$2" <<-'END'
	import hashlib, json, os, sys, textwrap
	root = sys.argv[1]
	os.makedirs(root + "/blobs/sha256", exist_ok=True)
	if not os.path.exists(root + "/index.json"):
	    open(root + "/oci-layout", "w").write('{"imageLayoutVersion":"1.0.0"}')
	    json.dump({"schemaVersion": 2, "manifests": []}, open(root + "/index.json", "w"))
	index = json.load(open(root + "/index.json"))
	OCI = "application/vnd.oci.image."
	def put(data):
	    digest = hashlib.sha256(data).hexdigest()
	    open(f"{root}/blobs/sha256/{digest}", "wb").write(data)
	    return "sha256:" + digest
	def blob(kind, data, **more):
	    return {"mediaType": kind, "digest": put(data), "size": len(data), **more}
	def manifest(name=None, kind=OCI + "manifest.v1+json", listed=True, **members):
	    d = blob(kind, json.dumps({"schemaVersion": 2, "mediaType": kind, **members}).encode())
	    if listed:
	        index["manifests"].append({**d, **({"annotations": {"org.opencontainers.image.ref.name": name}} if name else {})})
	    return d
	empty = blob("application/vnd.oci.empty.v1+json", b"{}")
	image = next((m for m in index["manifests"] if m.get("annotations", {}).get("org.opencontainers.image.ref.name") == "latest"), None)
	image = image and {k: image[k] for k in ("mediaType", "digest", "size")}
	exec(textwrap.dedent(sys.argv[2]))
	json.dump(index, open(root + "/index.json", "w"))
	END
}

tool_copy() { tool hoy-image --insecure-policy copy -q "$@"; }
digest_of() { tool hoy-image inspect --tls-verify=false --format '{{.Digest}}' "$@" 2>/dev/null || tool hoy-image manifest get --tls-verify=false "$@" | sha256sum | sed 's/^/sha256:/; s/ .*//'; }
get() { curl -sf -H 'Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json' "http://$1"; }

@test "artifacts of any type go through registries, layouts, archives and directories as they are, as by skopeo" {
	registry_start r
	layout "$T/l" '
	manifest("empty", artifactType="application/x", config={**empty, "data": "e30="}, layers=[empty], annotations={"a": "<b>"})
	manifest("helm", config=blob("application/vnd.cncf.helm.config.v1+json", b"{\"name\":1}"),
	         layers=[blob("application/vnd.cncf.helm.chart.content.v1.tar+gzip", b"no gzip")])
	manifest("plain", config=blob("application/vnd.unknown.config.v1+json", b"x" * 3000000), layers=[blob("text/plain", b"t", annotations={"t": "u"})])
	manifest("wasm", config=blob(OCI + "config.v1+json", b"{\"architecture\":\"wasm\"}"), layers=[blob("application/wasm", b"\0asm")])
	manifest("old", config=blob(OCI + "config.v1+json", b""), layers=[blob("application/old", b"old")])
	manifest("subject", subject=empty, artifactType="application/y", config=empty, layers=[blob("application/y", b"y", unknown=[1])], extra={"kept": True})'
	for what in empty helm plain wasm old subject; do
		want=$(jq -r --arg n $what '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == $n).digest' l/index.json)
		tool_copy --dest-tls-verify=false "oci:$T/l:$what" "docker://$REGISTRY/$what:1"
		tool_copy --src-tls-verify=false "docker://$REGISTRY/$what:1" "dir:$T/$what.dir"
		tool_copy "dir:$T/$what.dir" "oci-archive:$T/$what.tar:$what"
		tool_copy "oci-archive:$T/$what.tar" "oci:$T/again:$what"
		tool_copy --dest-tls-verify=false "oci:$T/again:$what" "docker://$REGISTRY/$what:2"
		[[ sha256:$(sha256sum <"$what.dir/manifest.json" | cut -d' ' -f1) == "$want" ]]
		get "$REGISTRY/v2/$what/manifests/2" | cmp - "$what.dir/manifest.json"
		# it is skopeo's, too
		oracle skopeo copy -q "oci:$T/again:$what" "dir:$T/$what.theirs"
		diff -r "$what.dir" "$what.theirs"
	done
	try tool_copy --format v2s2 "oci:$T/l:helm" "dir:$T/no"
	assert_status 1
	assert_stderr_has 'cannot be converted'
	try tool_copy "oci:$T/l:helm" "docker-archive:$T/no.tar"
	assert_status 1
	try hoy pull "oci:$T/l:helm"
	assert_status 125
	assert_stderr_has "artifact with a config of the type 'application/vnd.cncf.helm.config.v1+json'"
}

@test "layers that are not to be distributed stay where they are, or are fetched from there; as by skopeo" {
	keeper_start r
	cp -r "$(fixture busybox)/oci" l
	mkdir web
	gzip -n <"$(fixture busybox)/oci/oci-layout" >web/layer
	python3 - >web.port <<-'END'
	import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])
	END
	background python3 -m http.server --bind 127.0.0.1 -d web "$(<web.port)"
	until_true 10 curl -sf "http://127.0.0.1:$(<web.port)/layer" -o /dev/null
	WEB=http://127.0.0.1:$(<web.port)/layer layout "$T/l" '
	data = open("web/layer", "rb").read()
	m = json.load(open(root + "/blobs/sha256/" + image["digest"][7:]))
	c = json.load(open(root + "/blobs/sha256/" + m["config"]["digest"][7:]))
	import gzip
	c["rootfs"]["diff_ids"].insert(0, "sha256:" + hashlib.sha256(gzip.decompress(data)).hexdigest())
	away = {"mediaType": OCI + "layer.nondistributable.v1.tar+gzip", "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data),
	        "urls": ["ftp://no", os.environ["WEB"]]}
	manifest("foreign", config=blob(OCI + "config.v1+json", json.dumps(c).encode()), layers=[away] + m["layers"])'
	for dest in "docker://$KEEPER/ours:1" "docker://$KEEPER/theirs:1" oci:o:1 oci:t:1; do
		case $dest in
		*ours* | oci:o*) tool_copy --dest-tls-verify=false oci:l:foreign "$dest" ;;
		*) oracle_sh 'cd "$1" && skopeo copy -q --dest-tls-verify=false oci:l:foreign "$2"' "$T" "$dest" ;;
		esac
	done
	cmp <(get "$KEEPER/v2/ours/manifests/1") <(get "$KEEPER/v2/theirs/manifests/1")
	diff -r o/blobs t/blobs
	hex=$(sha256sum web/layer | cut -d' ' -f1)
	[[ ! -e o/blobs/sha256/$hex ]]
	# a directory has all of it
	tool_copy --src-tls-verify=false "docker://$KEEPER/ours:1" dir:d
	cmp web/layer "d/$hex"
	oracle_sh 'cd "$1" && skopeo copy -q --src-tls-verify=false "$2" dir:dt' "$T" "docker://$KEEPER/ours:1"
	diff -r d dt
	tool_copy oci:o:1 dir:do
	diff -r d do
	# docker's types and back
	tool_copy --format v2s2 --dest-tls-verify=false oci:l:foreign "docker://$KEEPER/docker:1"
	oracle_sh 'cd "$1" && skopeo copy -q --format v2s2 --dest-tls-verify=false oci:l:foreign "$2"' "$T" "docker://$KEEPER/dockert:1"
	cmp <(curl -sf -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$KEEPER/v2/docker/manifests/1") \
		<(curl -sf -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$KEEPER/v2/dockert/manifests/1")
	# what is there is not what was announced
	head -c "$(stat -c %s web/layer)" /dev/zero >web/layer.new
	mv web/layer.new web/layer
	try tool_copy --src-tls-verify=false "docker://$KEEPER/ours:1" dir:d2
	assert_status 1
	assert_stderr_has "sha256:$hex"
	try tool_copy oci:o:1 dir:d3
	assert_status 1
	assert_stderr_has "sha256:$hex"
}

# An image with a signature, a bill of material that is signed itself, an index that refers to it, and cosign's tags.
make_family() {
	cp -r "$(fixture busybox)/oci" "$1"
	layout "$1" '
	sig = manifest(artifactType="application/sig", config=empty, layers=[blob("application/sig", b"signature")], subject=image, annotations={"by": "me"})
	sbom = manifest(config=blob("application/sbom.config", b"{\"c\":1}"), layers=[blob("application/sbom", b"sbom")], subject=image)
	manifest(artifactType="application/sig", config=empty, layers=[blob("application/sig", b"of the sbom")], subject=sbom)
	manifest(kind=OCI + "index.v1+json", artifactType="application/list", subject=image, manifests=[manifest(listed=False, artifactType="application/m", config=empty, layers=[empty])])
	manifest(image["digest"].replace(":", "-") + ".sig", config=blob(OCI + "config.v1+json", b"{}"), layers=[blob("application/vnd.dev.cosign.simplesigning.v1+json", b"cosign")])
	manifest(image["digest"].replace(":", "-") + ".att", config=empty, layers=[blob("application/vnd.dsse.envelope.v1+json", b"att")])
	manifest("other", artifactType="application/other", config=empty, layers=[empty])'
}
family() { jq -S '[.manifests[] | del(.annotations["org.opencontainers.image.ref.name"] | select(. != "x"))] | map(.digest) | sort' "$1/index.json"; }

@test "copy --referrers: a registry without the API has a tag for them, which is kept right" {
	registry_start r
	make_family l
	image=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "latest").digest' l/index.json)
	tool_copy --referrers --dest-tls-verify=false "oci:$T/l:latest" "docker://$REGISTRY/a:1"
	list=$(get "$REGISTRY/v2/a/manifests/${image/:/-}")
	[[ $(jq -r '.manifests | map(.artifactType) | sort | join(" ")' <<<"$list") == 'application/list application/sbom.config application/sig' ]]
	[[ $(jq -r '.manifests[] | select(.artifactType == "application/sig").annotations.by' <<<"$list") == me ]]
	sbom=$(jq -r '.manifests[] | select(.artifactType == "application/sbom.config").digest' <<<"$list")
	[[ $(get "$REGISTRY/v2/a/manifests/${sbom/:/-}" | jq -r '.manifests[].artifactType') == application/sig ]]
	get "$REGISTRY/v2/a/manifests/${image/:/-}.sig" >/dev/null
	get "$REGISTRY/v2/a/manifests/${image/:/-}.att" >/dev/null
	try get "$REGISTRY/v2/a/manifests/${image/:/-}.sbom"
	[[ $status != 0 ]]
	# once more, nothing is there twice; another one's entry stays
	tool_copy --referrers --dest-tls-verify=false "oci:$T/l:latest" "docker://$REGISTRY/a:1"
	[[ $(get "$REGISTRY/v2/a/manifests/${image/:/-}") == "$list" ]]
	cp -r "$(fixture busybox)/oci" m
	layout m 'manifest(artifactType="application/later", config=empty, layers=[empty], subject=image)'
	tool_copy --referrers --dest-tls-verify=false "oci:$T/m:latest" "docker://$REGISTRY/a:1"
	[[ $(get "$REGISTRY/v2/a/manifests/${image/:/-}" | jq '.manifests | length') == 4 ]]
	# and from there to a layout, where all is found again; without the option nothing of it is
	tool_copy --referrers --src-tls-verify=false "docker://$REGISTRY/a:1" "oci:$T/back:latest"
	[[ $(family back | jq length) == 8 ]]
	tool_copy --src-tls-verify=false "docker://$REGISTRY/a:1" "oci:$T/alone:latest"
	[[ $(family alone | jq length) == 1 ]]
	# from registry to registry, and through an archive
	tool_copy --referrers --src-tls-verify=false --dest-tls-verify=false "docker://$REGISTRY/a:1" "docker://$REGISTRY/b:1"
	diff <(get "$REGISTRY/v2/b/manifests/${image/:/-}" | jq '.manifests | map(.digest) | sort') \
		<(get "$REGISTRY/v2/a/manifests/${image/:/-}" | jq '.manifests | map(.digest) | sort')
	tool_copy --referrers "oci:$T/back:latest" "oci-archive:$T/x.tar:latest"
	tool_copy --referrers "oci-archive:$T/x.tar:latest" "oci:$T/unpacked:latest"
	diff <(family back) <(family unpacked)
	diff -r back/blobs unpacked/blobs
}

@test "copy --referrers: a registry with the API names them page by page, and needs no tag" {
	keeper_start k 1
	make_family l
	image=$(jq -r '.manifests[] | select(.annotations["org.opencontainers.image.ref.name"] == "latest").digest' l/index.json)
	tool_copy --referrers --dest-tls-verify=false "oci:$T/l:latest" "docker://$KEEPER/a:1"
	try get "$KEEPER/v2/a/manifests/${image/:/-}"
	[[ $status != 0 ]]
	[[ $(get "$KEEPER/v2/a/referrers/$image" | jq '.manifests | length') == 1 ]]
	: >"$KEEPER_DIR/log"
	tool_copy --referrers --src-tls-verify=false "docker://$KEEPER/a:1" "oci:$T/back:latest"
	[[ $(grep -c "referrers/$image" "$KEEPER_DIR/log") == 3 ]]
	diff <(layout l 'print(json.dumps(sorted(m["digest"] for m in index["manifests"] if m.get("annotations", {}).get("org.opencontainers.image.ref.name") != "other"), indent=2))') \
		<(family back)
	# the image comes last
	[[ $(grep -n 'GET .*manifests' "$KEEPER_DIR/log" | wc -l) -ge 7 ]]
}

@test "copy --referrers --all: a list, and each image of it" {
	keeper_start k 10
	cp -r "$(fixture busybox)/oci" l
	layout l '
	list = manifest("list", kind=OCI + "index.v1+json", manifests=[{**image, "platform": {"os": "linux", "architecture": "amd64"}}])
	manifest(artifactType="application/of-list", config=empty, layers=[empty], subject=list)
	manifest(artifactType="application/of-image", config=empty, layers=[empty], subject=image)'
	tool_copy --all --referrers --dest-tls-verify=false "oci:$T/l:list" "docker://$KEEPER/a:1"
	tool_copy --all --referrers --src-tls-verify=false "docker://$KEEPER/a:1" "oci:$T/back:list"
	[[ $(jq '.manifests | length' back/index.json) == 3 ]]
	tool_copy --referrers --src-tls-verify=false "docker://$KEEPER/a:1" "oci:$T/one:x"
	[[ $(jq '.manifests | length' one/index.json) == 2 ]]
}

@test "copy --referrers: what is wrong with them" {
	registry_start r
	cp -r "$(fixture busybox)/oci" l
	# A list that names what isn't there, and what refers to something else
	layout l '
	stray = manifest("stray", artifactType="application/stray", config=empty, layers=[empty], subject=empty)
	manifest(image["digest"].replace(":", "-"), kind=OCI + "index.v1+json", manifests=[stray])'
	try tool_copy --referrers --dest-tls-verify=false "oci:$T/l:latest" "docker://$REGISTRY/a:1"
	assert_success
	assert_stderr_has "does not refer to"
	assert_stderr_has ', ignoring'
	# two that refer to each other cannot be; a long chain can
	layout l '
	at = image
	for i in range(12):
	    at = manifest(artifactType="application/chain", config=empty, layers=[empty], subject=at)'
	try tool_copy --referrers --dest-tls-verify=false "oci:$T/l:latest" "docker://$REGISTRY/chain:1"
	assert_status 1
	assert_stderr_has 'nested more than 8 levels deep'
	try curl -sf "http://$REGISTRY/v2/chain/manifests/1"
	[[ $status != 0 ]]
	try tool_copy --referrers "oci:$T/l:latest" "dir:$T/d"
	assert_status 1
	assert_stderr_has '--referrers is for'
	try tool_copy --referrers "oci:$T/l:latest" "containers-storage:[overlay@$ROOT+$RUNROOT]x"
	assert_status 1
	assert_stderr_has '--referrers'
	try tool_copy --referrers --format v2s2 --dest-tls-verify=false "oci:$T/m:latest" "docker://$REGISTRY/b:1"
	assert_status 1
	# a registry's answer that is no list
	hostile_start h "{\"layout\": \"$(fixture busybox)/oci\", \"rules\": [{\"match\": \"/referrers/\", \"lie\": \"body\", \"text\": \"{}\", \"type\": \"application/json\"}]}"
	try tool_copy --referrers --src-tls-verify=false "docker://$HOSTILE/x:latest" "oci:$T/o:1"
	assert_status 1
	assert_stderr_has 'what refers to an image'
	hostile_start h2 "{\"layout\": \"$(fixture busybox)/oci\", \"rules\": [{\"match\": \"/referrers/\", \"lie\": \"status\", \"code\": 403}]}"
	try tool_copy --referrers --src-tls-verify=false "docker://$HOSTILE/x:latest" "oci:$T/o:1"
	assert_status 1
	assert_stderr_has 'list of referrers'
}
