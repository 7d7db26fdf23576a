#!/usr/bin/env bats
# build: what docker's build has beside podman's: outputs that leave the store, its options' spellings.

load ../lib/hoy

skopeo() { oracle skopeo "$@"; }

make_context() {
	mkdir -p ctx
	echo x >ctx/x
	printf 'FROM scratch\nARG TARGETARCH\nCOPY x /x-$TARGETARCH\nLABEL a=b\n' >ctx/Containerfile
}

# remote NAME: the manifest that the registry has.
remote() { skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/$1"; }

@test "--push: by all names, and the metadata has the digest that the registry has" {
	make_context
	registry_start r
	id=$(hoy build -q --push --tls-verify=false -t "$REGISTRY/a:1" -t "$REGISTRY/b" --metadata-file meta ctx)
	for name in a:1 b; do
		[[ $(jq -r '."containerimage.digest"' meta) == "sha256:$(remote "$name" | sha256sum | cut -d' ' -f1)" ]]
		[[ $(remote "$name" | jq -r .config.digest) == "sha256:$id" ]]
	done
	# buildx's words for the same.
	hoy buildx build -q --output "type=image,\"name=$REGISTRY/c,$REGISTRY/d:2\",push=true" --tls-verify=false ctx
	hoy buildx build -q --output type=registry --load --provenance=false --progress quiet --tls-verify=false -t "$REGISTRY/e" ctx >out 2>err
	[[ $(<out) == "$id" && ! -s err ]]
	for name in c d:2 e; do
		[[ $(remote "$name" | jq -r .config.digest) == "sha256:$id" ]]
	done
	hoy build --push --tls-verify=false -t "$REGISTRY/f" ctx >out
	grep -qxF "Pushing $REGISTRY/f:latest" out
	hoy build -q -o "type=registry,name=$REGISTRY/z,compression=zstd,oci-mediatypes=true" --tls-verify=false ctx
	[[ $(remote z | jq -r '.layers[0].mediaType') == application/vnd.oci.image.layer.v1.tar+zstd ]]
	# The registry is gone: an error, and the image is in the store.
	"$HOY_TESTS/fixtures/registry" stop "$REGISTRY_DIR"
	try hoy build -q --push --tls-verify=false --retry 0 -t "$REGISTRY/gone" ctx
	assert_status 125
	assert_stderr_like '^Error: cannot reach the registry'
	hoy image exists "$REGISTRY/gone"
	try hoy build -q --push ctx
	assert_error 'tag is needed when pushing to registry'
}

@test "--push of several platforms: the names are those of a list" {
	make_context
	registry_start r
	# What had the name before, was an image.
	hoy build -q -t "$REGISTRY/m" -t kept ctx
	hoy build -q --platform linux/arm64,linux/amd64 --push --tls-verify=false -t "$REGISTRY/m" -t "$REGISTRY/n:2" --iidfile iid --metadata-file meta ctx >ids
	for name in m n:2; do
		[[ $(remote "$name" | jq -r '[.manifests[].platform.architecture] | sort | join(" ")') == 'amd64 arm64' ]]
		[[ $(jq -r '."containerimage.digest"' meta) == "sha256:$(remote "$name" | sha256sum | cut -d' ' -f1)" ]]
		[[ sha256:$(hoy images -q --no-trunc "$REGISTRY/$name" | sed 's/^sha256://') == "$(<iid)" ]]
	done
	[[ $(hoy images --format '{{.Repository}}' | grep -c hoy-build) == 0 ]]
	hoy image exists kept
	# With a list's own name, that is what is pushed.
	hoy build -q --platform linux/arm64,linux/amd64 --push --tls-verify=false --manifest "$REGISTRY/l" ctx
	[[ $(remote l | jq '.manifests | length') == 2 ]]
	# Both images are there.
	[[ $(skopeo --override-arch arm64 inspect --config --tls-verify=false "docker://$REGISTRY/l" | jq -r .architecture) == arm64 ]]
}

@test "--output type=oci and type=docker: archives that skopeo and podman read" {
	make_context
	id=$(hoy build -q -t name:1 -o type=oci,dest=oci.tar -o type=docker,dest=docker.tar -o type=oci,dest=layout,tar=false ctx)
	for from in oci-archive:oci.tar docker-archive:docker.tar oci:layout; do
		[[ $(skopeo inspect --config "$from" | jq -r .config.Labels.a) == b ]]
	done
	hoy build -q -o type=oci,dest=- ctx 2>err >stdout.tar
	[[ $(skopeo inspect --config oci-archive:stdout.tar | jq -r .config.Labels.a) == b ]]
	grep -q "^$id$" err
	oracle_podman load -q -i docker.tar
	[[ $(oracle_podman image inspect localhost/name:1 --format '{{.Id}}') == "$id" ]]
	hoy build -q --platform linux/arm64,linux/amd64 -t two -o type=oci,dest=two.tar ctx
	[[ $(skopeo inspect --raw oci-archive:two.tar | jq '.manifests | length') == 2 ]]
	for args in 'type=oci' 'type=oci,dest=-,tar=false' 'type=docker,push=true' 'type=image,compression=zstd' 'type=registry,compression=lz4' \
		'type=image,push=perhaps' 'type=nope,dest=x' 'type=oci,dest=x,what=1' '"type=oci"x'; do
		try hoy build -q -t x -o "$args" ctx
		assert_status 125
		assert_stderr_like '^Error: failed to parse build output'
	done
	try hoy build -q --platform linux/arm64,linux/amd64 -o type=oci,dest=x.tar ctx
	assert_error 'an archive of several platforms needs a name: -t or --manifest'
	try hoy build -q --platform linux/arm64,linux/amd64 -t x -o type=docker,dest=x.tar ctx
	assert_error "a tar holds the image of one platform: 'type=docker,dest=x.tar'"
	[[ ! -e x.tar ]]
}

@test "--output type=cacheonly: the steps are there, the name is not" {
	make_context
	hoy build -q --output type=cacheonly -t named ctx
	try hoy image exists named
	assert_status 1
	hoy build ctx | grep -q 'Using cache'
}

@test "--no-cache-filter: the steps of these stages alone are carried out" {
	mkdir -p ctx
	printf 'FROM scratch AS a\nLABEL a=1\nFROM scratch AS b\nLABEL b=1\nFROM a\nLABEL c=1\n' >ctx/Containerfile
	hoy build -q --skip-unused-stages=false --jobs 1 ctx
	hoy build --skip-unused-stages=false --jobs 1 --no-cache-filter b ctx >out
	[[ $(grep -c 'Using cache' out) == 2 ]]
	hoy build --skip-unused-stages=false --jobs 1 --no-cache-filter a,b ctx >out
	[[ $(grep -c 'Using cache' out) == 0 ]]
}

@test "--cache-from and --cache-to as docker spells them; what is not there is named" {
	make_context
	registry_start r
	args=(--tls-verify=false --cache-to "type=registry,ref=$REGISTRY/c,mode=max" --cache-from "type=registry,ref=$REGISTRY/c")
	hoy build -q "${args[@]}" ctx
	store_new other
	hoy build "${args[@]}" ctx | grep -q 'Cache pulled from remote'
	for args in '--cache-to type=inline' '--cache-from type=local,src=x' '--cache-to type=registry,mode=max'; do
		# shellcheck disable=SC2086
		try hoy build $args ctx
		assert_status 125
		assert_stderr_like '^Error: a cache is kept in a registry, a tag for each step'
	done
	for args in '--provenance=mode=max' '--attest=type=sbom'; do
		try hoy build $args ctx
		assert_status 125
		assert_stderr_like 'is not supported: attestations are not made$'
	done
	hoy build -q --attest type=provenance,disabled=true ctx
}
