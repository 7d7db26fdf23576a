#!/usr/bin/env bats
# Layers with all that a tar can say: on disk as podman's, and given on byte for byte, whoever unpacked them.
load ../lib/hoy

layers() { "$HOY_TESTS/fixtures/exactlayers.py" "$@"; }

# The image in the directory OUT has the layers of the tars NAME...
holds() {
	local out=$1 name want=()
	shift
	for name; do
		want+=("sha256:$(sha256sum <"tars/$name.tar" | cut -d' ' -f1)")
	done
	[[ $(jq -r '.layers[].digest' "$out/manifest.json" | xargs) == "${want[*]}" ]] || { echo "$out: other bytes"; return 1; }
}

@test "hard links, xattrs, devices, whiteouts, odd names and times: podman's tree, and the same tars again" {
	local top layer n=0 theirs
	layers make tars
	"$HOY_TESTS/fixtures/mkimage.py" oci --out oci --ref latest gzip:tars/pax.tar tar:tars/gnu.tar zstd:tars/white.tar >/dev/null
	store_new theirs
	theirs=$ROOT
	oracle_podman pull -q "oci:$T/oci" >theirs.id
	hoy copy -q --dest-decompress "containers-storage:$(<theirs.id)" dir:from-podman
	holds from-podman pax gnu white
	store_new ours
	hoy pull -q oci:oci >ours.id
	cmp ours.id theirs.id
	for top in "$ROOT"/overlay/*/diff; do
		layer=${top%/diff}
		layer=${layer##*/}
		[[ ${#layer} == 64 ]] || continue
		diff <(layers tree "$top") <(layers tree "$theirs/overlay/$layer/diff")
		n=$((n + $(layers tree "$top" | wc -l)))
	done
	[[ $n -gt 40 ]] || { echo "only $n files"; false; }
	hoy copy -q --dest-decompress "containers-storage:$(<ours.id)" dir:from-hoy
	holds from-hoy pax gnu white
	oracle skopeo copy -q --dest-decompress "$(storage_name "@$(<ours.id)")" "dir:$T/from-skopeo"
	holds from-skopeo pax gnu white
	try hoy system check
	assert_success
	# Compressed again, the config still names the tars.
	hoy copy -q "containers-storage:$(<ours.id)" oci:again:x
	try jq -r '.rootfs.diff_ids[]' "again/blobs/sha256/$(<ours.id)"
	assert_stdout "$(jq -r '.layers[].digest' from-hoy/manifest.json)"
}

@test "names of 4,095 bytes, 9 GiB of holes in each sparse format, data in a whiteout" {
	local id diff
	layers make tars
	try hoy import -q tars/long.tar
	assert_success
	id=${output#sha256:}
	hoy copy -q --dest-decompress "containers-storage:$id" dir:out
	holds out long
	try hoy system check
	assert_success
	diff=$(echo "$ROOT"/overlay/*/diff)
	[[ $(stat -c '%s %b' "$diff/s10") == "$((9 << 30)) "* && $(stat -c %b "$diff/s10") -le 32 ]]
	cmp <(dd if="$diff/s10" bs=512 skip=$((5 << 21)) count=2 status=none) <(printf 's%.0s' {1..512}; head -c 512 /dev/zero)
	cmp "$diff/s00" <(head -c 512 /dev/zero; printf 'u%.0s' {1..512}; head -c 7976 /dev/zero)
	cmp "$diff/s01" <(head -c 4096 /dev/zero; printf 't%.0s' {1..512}; head -c 3584 /dev/zero; printf 't%.0s' {1..100}; head -c 1040284 /dev/zero)
	[[ $(cd "$diff" && find . -name b -printf '%d\n') == 2048 ]]
	hoy rmi "$id" >/dev/null
	[[ ! -e $diff ]]
}
