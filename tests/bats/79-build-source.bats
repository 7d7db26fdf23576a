#!/usr/bin/env bats
# Source images, beside buildah's.

load ../lib/hoy

hoy_build() { tool hoy-build "${HOY_OPTS[@]}" "$@"; }
# Without what gzip and the clock make different: index, config and manifest of layout $1, and what is in its layers.
layout() {
	local m c
	m=$1/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' "$1/index.json")
	c=$1/blobs/sha256/$(jq -r '.config.digest[7:]' "$m")
	cat "$1/oci-layout"
	jq -c '.manifests |= map(.digest = 0 | .size = 0)' "$1/index.json"
	jq -c '.config.digest = 0 | .config.size = 0 | .layers |= (if . then map(.digest = 0 | .size = 0) else . end)' "$m"
	sed 's/"created":"[0-9TZ:.-]*"/"created":0/' "$c"
	for layer in $(jq -r '.layers[]?.digest[7:]' "$m"); do
		zcat "$1/blobs/sha256/$layer" | tar -tvv --numeric-owner -f -
		zcat "$1/blobs/sha256/$layer" | tar -xO -f - 2>/dev/null | sha256sum
	done
	# nothing in it that isn't named
	[[ $(find "$1/blobs" -type f | wc -l) == $((2 + $(jq -r '.layers[]?.digest' "$m" | sort -u | wc -l))) ]] || echo 'blobs too many'
	(cd "$1" && find . -not -path './blobs/sha256/*' -printf '%p %m\n' | sort)
}

@test "source create and add: buildah's layout, config and manifest; one goes on with what the other began" {
	mkdir -m 750 dir
	echo x >dir/x
	mkdir dir/sub
	echo y >f.txt
	chmod 4711 f.txt
	gzip -c f.txt >f.txt.gz
	tar cf a.tar dir
	ln -s f.txt link
	for tool in oracle_buildah hoy_build; do
		mkdir $tool
		for args in create/plain 'create --author=me --time-stamp=false/stampless' 'create --time-stamp/tagged:t'; do
			# shellcheck disable=SC2086
			try $tool source ${args%/*} "$T/$tool/${args##*/}"
			assert_success
			assert_stdout ''
		done
		layout $tool/tagged >$tool.tagged
		layout $tool/stampless >$tool.stampless
		try $tool source create "$T/$tool/plain"
		assert_status 125
		assert_stderr "Error: creating source image: \"$T/$tool/plain\" already exists"
		for file in dir f.txt f.txt.gz a.tar link; do
			try $tool source add $tool/plain "$file"
			assert_success
		done
		$tool source add --annotation z=1 --annotation a=b=c $tool/plain "$T/f.txt"
		$tool source add $tool/tagged f.txt
		layout $tool/plain >$tool.plain
		layout $tool/tagged >$tool.added
		try $tool source add --annotation x $tool/plain f.txt
		assert_stderr 'Error: invalid annotation "x" (expected format is "key=value")'
		assert_status 125
		try $tool source add --annotation x=1 --annotation x=2 $tool/plain f.txt
		assert_stderr 'Error: annotation "x" specified more than once'
		try $tool source add nowhere f.txt
		assert_status 125
		try $tool source add $tool/plain
		assert_status 125
	done
	for what in plain tagged stampless added; do diff oracle_buildah.$what hoy_build.$what; done
	diff -r oracle_buildah/stampless hoy_build/stampless
	# buildah adds an empty layer for a file that isn't there.
	try hoy_build source add hoy_build/plain nothing
	assert_error "cannot read 'nothing'"
	layout hoy_build/plain | diff - hoy_build.plain
	oracle_buildah source add hoy_build/stampless f.txt
	hoy_build source add oracle_buildah/stampless f.txt
	diff <(layout oracle_buildah/stampless) <(layout hoy_build/stampless)
	cp -r "$(fixture busybox)/oci" image
	try hoy_build source add image f.txt
	assert_error "'image' is no source image"
}

@test "source push and pull: through a registry, by either of both" {
	registry_start r
	echo y >f.txt
	hoy_build source create s
	hoy_build source add s f.txt
	for tool in oracle_buildah hoy_build; do
		try $tool source push -q --tls-verify=false --digestfile "digest-$tool" s "$REGISTRY/src:$tool"
		assert_success
		for reader in oracle_buildah hoy_build; do
			try $reader source pull -q --tls-verify=false "$REGISTRY/src:$tool" "$tool-$reader"
			assert_success
			diff -r s "$tool-$reader"
		done
	done
	cmp digest-oracle_buildah digest-hoy_build
	[[ $(<digest-hoy_build) == "$(jq -r '.manifests[0].digest' s/index.json)" ]]
	try hoy_build source pull --tls-verify=false "$REGISTRY/src:hoy_build" loud:tag
	assert_success
	assert_stderr_has 'Writing manifest to image destination'
	[[ $(jq -r '.manifests[0].annotations["org.opencontainers.image.ref.name"]' loud/index.json) == tag ]]
	oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/oci:1"
	oracle skopeo copy -q --format v2s2 --dest-tls-verify=false "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/docker:1"
	for args in "pull -q --tls-verify=false $REGISTRY/oci:1 none" "pull -q --tls-verify=false $REGISTRY/docker:1 none" "pull -q --tls-verify=false $REGISTRY/src:hoy_build s" \
		'push -q --tls-verify=false s src' 'pull -q --tls-verify=false src none'; do
		# shellcheck disable=SC2086
		try oracle_buildah source $args
		assert_status 125
		theirs=$stderr
		# shellcheck disable=SC2086
		try hoy_build source $args
		assert_status 125
		[[ $stderr == "$theirs" ]] || show "buildah says $theirs"
		[[ ! -e none ]]
	done
	try hoy_build source push -q --tls-verify=false nowhere "$REGISTRY/x:1"
	assert_status 125
	[[ ! -e nowhere ]]
}
