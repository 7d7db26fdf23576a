#!/usr/bin/env bats
# What a commit or a build adds to its image from elsewhere: files, and what a scanner finds in it.

load ../lib/hoy

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}

# The ids of what buildah and hoy-build commit of container $1 with the options behind it are the same.
same_commit() {
	local theirs ours
	theirs=$(oracle_buildah commit -q "${@:2}" "$1") || return 1
	ours=$(hoy_build commit -q "${@:2}" "$1") || return 1
	[[ $theirs == "$ours" ]] || {
		diff <(hoy image inspect "$theirs") <(hoy image inspect "$ours") || true
		return 1
	}
}

@test "commit --add-file: the same layer and history as buildah's, in both formats, squashed too" {
	have_image busybox
	printf 'hello\n' >f1
	chmod 4751 f1
	head -c 5000 /dev/zero >f2
	ln -s f1 link
	mkdir dir
	c=$(hoy_build from busybox)
	hoy_build run --network none "$c" sh -c 'echo x >/x'
	for format in oci docker; do
		same_commit "$c" --timestamp 0 -f $format --add-file f1:/opt/x/f1
		same_commit "$c" --timestamp 0 -f $format --add-file "$T/f2:bin/f2"
		same_commit "$c" --timestamp 0 -f $format --add-file link:/zz
		same_commit "$c" --timestamp 1000000000 -f $format --add-file "$T/f1"
		same_commit "$c" --timestamp 0 -f $format --squash --add-file "$T/f1:/opt/y"
		same_commit "$c" --timestamp 0 -f $format --omit-history --add-file "$T/f1:/opt/y"
	done
	# Several: buildah's are in an order of chance, ours in that of their names.
	id=$(hoy_build commit -q --timestamp 0 --add-file f1:/zz --add-file f2:/b "$c")
	[[ $(hoy_build commit -q --timestamp 0 --add-file f2:/b --add-file f1:/zz "$c") == "$id" ]]
	before=$(hoy images -aq --no-trunc | sort -u | wc -l)
	id=$(hoy_build commit -q --add-file f1:/opt/f1 --change 'ENV A=b' --annotation k=v "$c" named)
	# One image more, and none between.
	[[ $(hoy images -aq --no-trunc | sort -u | wc -l) == $((before + 1)) ]]
	[[ $(hoy image inspect --format '{{.Id}} {{.Config.Env}} {{.Annotations.k}}' named) == "$id [PATH=/bin A=b] v" ]]
	dir=$(hoy image mount named)
	[[ $(<"$dir/opt/f1") == hello && $(stat -c '%a %u:%g' "$dir/opt/f1") == '644 0:0' && $(<"$dir/x") == x ]]
	hoy image umount named
	# (podman's check takes names with a slash in front, which buildah gives such files, for damage.)
	try hoy system check
	assert_success
	hoy_build commit -q --add-file f1:/opt/f1 "$c" "dir:$T/out" >/dev/null
	[[ $(jq '.layers | length' out/manifest.json) == 3 ]]
	try hoy_build commit --rm -q --add-file f1:/opt/f1 "$c" last
	assert_success
	[[ $(hoy image inspect --format '{{len .RootFS.Layers}}' last) == 3 ]]
}

@test "commit --add-file: what is refused leaves nothing" {
	have_image busybox
	echo 1 >f1
	mkdir dir
	c=$(hoy_build from busybox)
	before=$(hoy images -aq)
	for tool in hoy_build oracle_buildah; do
		try $tool commit -q --add-file "$T/dir:/x" "$c"
		assert_stderr_has "parsing add-file argument \"$T/dir:/x\": source \"$T/dir\" is not a regular file"
		assert_status 125
		try $tool commit -q --add-file "$T/none:/x" "$c"
		assert_stderr_has "parsing add-file argument \"$T/none:/x\": source \"$T/none\": "
		try $tool commit -q --add-file f1:/x/ "$c"
		assert_status 125
	done
	for path in '../x' 'a/../../x' '/a/..'; do
		try hoy_build commit -q --add-file "f1:$path" "$c"
		assert_error 'is not the path of a file in the image'
	done
	[[ $(hoy images -aq) == "$before" ]]
}
