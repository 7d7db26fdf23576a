#!/usr/bin/env bats
# Equal files of different layers on file systems that can share extents.
load ../lib/hoy

# A store on a file system of its own: on_disk NAME MKFS...
on_disk() {
	local name=$1
	shift
	truncate -s 400M "$T/$name.img"
	"$@" "$T/$name.img" >/dev/null
	mkdir "$T/$name"
	mount -o loop "$T/$name.img" "$T/$name"
	store_new "$name"
}

# MiB in use, once all that was removed is really gone. (XFS frees in the background, btrfs with a transaction.)
used() {
	sync -f "$1"
	df -B1M --output=used "$1" | tail -n 1 | tr -d ' '
}
at_most() { [[ $(used "$STORE") -le $1 ]]; }

# Two layers with a large file of so many MiB and COUNT of half a MiB in common, under other names in the second, which also has
# a large file that differs in its last byte alone.
layers() {
	local i
	mkdir -p one/d two/e/f
	head -c "$1M" /dev/urandom >one/d/big
	for ((i = 1; i <= $2; i++)); do head -c 524289 /dev/urandom >"one/d/$i"; done
	cp -r one/d/* two/e/f/
	head -c $(($1 * 1048576 - 1)) one/d/big >two/almost
	printf x >>two/almost
	echo one >one/own
	head -c 100K /dev/urandom | tee one/twice >two/once
	cp one/twice one/again
	tar -C one -cf one.tar .
	tar -C two -cf two.tar .
}

sharing() {
	local before one two after
	before=$(used "$STORE")
	one=$(hoy import -q one.tar x:1)
	[[ $(($(used "$STORE") - before)) -ge 50 ]]
	after=$(used "$STORE")
	two=$(hoy import -q two.tar x:2)
	# The file of 30 MiB that is almost the same takes its own space, the others take none.
	[[ $(($(used "$STORE") - after)) -le 36 ]] || { echo "$1: $after MiB, then $(used "$STORE")"; return 1; }
	diff -r two "$(echo "$ROOT"/overlay/*/diff/e/..)"
	filefrag -v "$ROOT"/overlay/*/diff/e/f/big | grep -q shared
	try hoy system check
	assert_success
	try oracle_podman system check
	assert_success
	hoy rmi "$one" >/dev/null
	diff -r two "$(echo "$ROOT"/overlay/*/diff/e/..)"
	try hoy system check
	assert_success
	hoy rmi "$two" >/dev/null
	until_true 20 at_most $((before + 5))
}

@test "btrfs and XFS: what two images have in common takes its space once; each goes alone" {
	local fs
	layers 30 40
	for fs in 'b mkfs.btrfs -q -m single' 'x mkfs.xfs -q -m reflink=1'; do
		# shellcheck disable=SC2086
		on_disk $fs
		sharing "$fs"
		store_new store
		umount "$T/${fs%% *}"
	done
}

@test "layers of one image share; lists that lie do no harm; XFS without reflinks" {
	local top
	layers 8 16
	on_disk b mkfs.btrfs -q -m single
	"$HOY_TESTS/fixtures/mkimage.py" oci --out oci --ref latest tar:one.tar tar:two.tar >/dev/null
	hoy pull -q oci:oci >id
	# 8 and 8 in common, 8 that differ; btrfs itself has some.
	[[ $(used "$STORE") -le 32 ]]
	hoy rmi "$(<id)" >/dev/null
	# A list whose paths, sizes and lengths are not so: the kernel compares, and nothing is taken for what it isn't.
	hoy import -q one.tar x:1 >/dev/null
	top=$(echo "$ROOT"/overlay/*/hoy-files)
	sed -i 's,d/big,own/g,; s,d/1\([0-9]\),d/2\1,g; s,twice,/../x,' "$top"
	truncate -s -7 "$top"
	hoy import -q two.tar x:2 >/dev/null
	diff -r one "$(echo "$ROOT"/overlay/*/diff/d/..)"
	diff -r two "$(echo "$ROOT"/overlay/*/diff/e/..)"
	try hoy system check
	assert_success
	store_new store
	umount b
	on_disk x mkfs.xfs -q -m reflink=0
	hoy import -q one.tar x:1 >/dev/null
	hoy import -q two.tar x:2 >/dev/null
	diff -r two "$(echo "$ROOT"/overlay/*/diff/e/..)"
	[[ ! -e $(echo "$ROOT"/overlay/*/diff/e/../../hoy-files) ]]
	store_new store
	umount x
}
