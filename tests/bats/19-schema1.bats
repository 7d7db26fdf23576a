#!/usr/bin/env bats
# Manifests of docker's schema 1: what skopeo makes of them is what we make of them.
load ../lib/hoy

tool_copy() { tool hoy-image --insecure-policy copy -q "$@"; }
skopeo() { oracle_sh 'cd "$1" && shift && exec skopeo "$@"' "$T" "$@"; }

make_images() {
	"$HOY_TESTS/fixtures/schema1.py" "$(fixture stack)/oci" signed
	"$HOY_TESTS/fixtures/schema1.py" "$(fixture stack)/oci" unsigned --unsigned
	"$HOY_TESTS/fixtures/schema1.py" "$(fixture stack)/oci" odd --odd
}

@test "schema 1 becomes OCI and schema 2, in layouts, directories and registries, as by skopeo; a directory keeps it" {
	cd "$T"
	make_images
	registry_start r
	for image in signed unsigned odd; do
		tool_copy dir:$image oci:ours:$image
		skopeo copy -q dir:$image oci:theirs:$image
		tool_copy dir:$image dir:$image.kept
		diff -r $image $image.kept
		for format in v2s2 oci; do
			tool_copy -f $format dir:$image dir:$image.$format
			skopeo copy -q -f $format dir:$image dir:$image.$format.theirs
			# skopeo also copies the blobs that mean nothing
			cmp $image.$format/manifest.json $image.$format.theirs/manifest.json
			[[ $(diff -rq $image.$format $image.$format.theirs | grep -v '^Only in .*theirs: ') == '' ]]
		done
		tool_copy --dest-tls-verify=false dir:$image "docker://$REGISTRY/ours:$image"
		# a registry of these days takes no schema 1, which skopeo tries first
		skopeo copy -q -f v2s2 --dest-tls-verify=false dir:$image "docker://$REGISTRY/theirs:$image"
		cmp <(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/ours:$image") <(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/theirs:$image")
		[[ $(tool hoy-image manifest-digest $image/manifest.json) == "$(skopeo manifest-digest $image/manifest.json)" ]]
		diff <(tool hoy-image inspect dir:$image) <(skopeo inspect dir:$image)
		diff <(tool hoy-image inspect --config dir:$image) <(skopeo inspect --config dir:$image)
		cmp <(tool hoy-image inspect --raw dir:$image) $image/manifest.json
	done
	cmp ours/index.json theirs/index.json
	try tool_copy --preserve-digests dir:signed oci:no:1
	assert_status 1
	assert_stderr_has 'schema 1, would change'
	try tool_copy -f v2s1 dir:signed dir:no
	assert_status 1
	assert_stderr_has 'are not written'
}

@test "schema 1 comes into the store: the id is podman's, and the image runs" {
	cd "$T"
	make_images
	for image in signed unsigned odd; do
		tool_copy dir:$image "containers-storage:[overlay@$ROOT+$RUNROOT+overlay.skip_mount_home=true]x/$image:1"
		id=$(hoy image inspect --format '{{.Id}}' "x/$image:1")
		store_new "theirs-$image"
		skopeo copy -q dir:$image "$(storage_name "docker.io/x/$image:1")"
		[[ $(oracle_podman images -q --no-trunc) == "sha256:$id" ]]
		store_new store
		[[ $(hoy pull -q "dir:$T/$image") == "$id" ]]
	done
	[[ $(oracle_podman run --rm --network none docker.io/x/signed:1 sh -c 'echo $X; test -e /var/www && echo there') == $'<&>\nthere' ]]
	hoy history docker.io/x/signed:1 | grep -q 'ENV A=b'
}

@test "from a registry: the digest is that of what was signed" {
	cd "$T"
	make_images
	# the fixture serves manifests and blobs as they are; a keeper's type is what was put
	keeper_start k
	for f in signed/*; do
		[[ ${f##*/} =~ ^[0-9a-f]{64}$ ]] && cp "$f" "$KEEPER_DIR/blobs/sha256:${f##*/}"
	done
	digest=$(tool hoy-image manifest-digest signed/manifest.json)
	for ref in latest "$digest"; do
		cp signed/manifest.json "$KEEPER_DIR/manifests/$ref"
		printf 'application/vnd.docker.distribution.manifest.v1+prettyjws' >"$KEEPER_DIR/types/$ref"
	done
	tool_copy --src-tls-verify=false "docker://$KEEPER/x:latest" dir:a
	tool_copy --src-tls-verify=false "docker://$KEEPER/x@$digest" oci:b:x
	cmp signed/manifest.json a/manifest.json
	tool_copy dir:signed oci:c:x
	cmp b/index.json c/index.json
	sed -i 's/"name": "x/"name": "y/' "$KEEPER_DIR/manifests/$digest"
	try tool_copy --src-tls-verify=false "docker://$KEEPER/x@$digest" oci:d:x
	assert_status 1
	assert_stderr_has 'is not what its digest says'
}

# change PYTHON: a directory bad, as unsigned but with a manifest that PYTHON changed (d: the document).
change() {
	rm -rf bad
	cp -r unsigned bad
	python3 - "$1" <<-'END'
	import json, sys
	d = json.load(open("bad/manifest.json"))
	h = [json.loads(x["v1Compatibility"]) for x in d["history"]]
	exec(sys.argv[1])
	for x, y in zip(d["history"], h):
	    x["v1Compatibility"] = y if isinstance(y, str) else json.dumps(y)
	json.dump(d, open("bad/manifest.json", "w"))
	END
}

refused() {
	rm -rf no no2
	try tool_copy dir:bad oci:no:1
	assert_status 1
	[[ $stderr == Error:* && $stderr != *$'\n'* ]]
	assert_stderr_has "$1"
	try skopeo copy -q dir:bad oci:no2:1
	[[ $status != 0 ]]
}

@test "hostile manifests of schema 1" {
	cd "$T"
	make_images
	change 'h[0]["id"] = "../../etc"' && refused "id '../../etc'"
	change 'h[1]["parent"] = "0" * 64' && refused 'has the parent'
	change 'h[-1]["parent"] = "0" * 64' && refused 'has the parent'
	change 'h[0]["id"] = h[4]["id"]' && refused 'more than once'
	change 'd["history"].pop(); h.pop()' && refused 'entries in its history'
	change 'd["fsLayers"] = []; d["history"] = []; h.clear()' && refused ''
	change 'h[2] = "{"' && refused 'v1Compatibility'
	change 'd["fsLayers"][0]["blobSum"] = "sha256:../x"' && refused 'digest'
	change 'd["layers"] = []' # skopeo looks at schemaVersion alone
	try tool_copy dir:bad oci:no:1
	assert_stderr_has 'ambiguous'
	# signatures that don't say what they sign
	cp -r signed bad2
	sed -i 's/"protected": "[^"]*"/"protected": "e30"/' bad2/manifest.json
	try tool_copy dir:bad2 oci:no:1
	assert_status 1
	assert_stderr_has 'do not say what they sign'
	# a layer that isn't what its digest says
	change ''
	printf x >>"bad/$(jq -r '.fsLayers[-1].blobSum[7:]' bad/manifest.json)"

	refused sha256:
	[[ $(find "$TMPDIR" -type f) == '' ]]
}
