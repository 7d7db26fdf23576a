#!/usr/bin/env bats
# Stores other than a plain overlay one: additional image stores, an imagestore, transient ones, vfs; and storage.conf.

load ../lib/hoy

# The image busybox in a store of its own, $ADD, which the current store only reads from here on.
additional() {
	have_image busybox
	ADD=$ROOT
	store_new user
	HOY_OPTS+=(--storage-opt "additionalimagestore=$ADD")
	PODMAN_OPTS+=(--storage-opt "overlay.imagestore=$ADD")
	before=$(tree_of "$ADD")
}

# All that a change would change, but for what the lock files' and directories' access times say.
tree_of() { find "$1" -printf '%P %y %m %s %T@ %l\n' | LC_ALL=C sort; }

untouched() { diff <(echo "$before") <(tree_of "$ADD"); }

@test "images of an additional store are there, read-only, and take nothing" {
	additional
	try hoy images
	assert_stdout_like 'SIZE +R/O'
	assert_stdout_like 'localhost/busybox +latest .* true'
	diff <(hoy images --format json | grep ReadOnly) <(oracle_podman images --format json | grep ReadOnly | head -n 1)
	[[ $(hoy images --filter readonly=true -q) == "$(hoy images -q)" && $(hoy images --filter readonly=false -q) == '' ]]
	[[ $(hoy image inspect busybox --format '{{.GraphDriver.Data.UpperDir}}') == "$ADD"/overlay/*/diff ]]
	hoy save -q --format oci-archive -o x.tar busybox
	[[ $(tar -tf x.tar) == *blobs/sha256* ]]
	untouched
}

@test "system df counts images of additional stores, and layers that two stores have once" {
	additional
	diff <(hoy system df) <(oracle_podman system df)
	[[ $(hoy system df --format '{{.TotalCount}}' | head -n 1) == 1 ]]
	mkdir ctx
	printf 'FROM localhost/busybox\nCOPY file /file\n' >ctx/Containerfile
	echo new >ctx/file
	oracle_podman build -q -t child ctx
	for args in '' -v '--format json'; do
		# shellcheck disable=SC2086
		diff <(hoy system df $args) <(oracle_podman system df $args)
	done
	size() { hoy system df --format json | jq '.[0].RawSize'; }
	bytes=$(size)
	# The image and its layer in this store too.
	HOY_OPTS=("${HOY_OPTS[@]:0:${#HOY_OPTS[@]}-2}")
	hoy load -q -i "$(fixture busybox)/docker.tar"
	HOY_OPTS+=(--storage-opt "additionalimagestore=$ADD")
	[[ $(size) == "$bytes" && $(hoy system df --format '{{.TotalCount}}' | head -n 1) == 2 ]]
	untouched
}

@test "containers run on layers of an additional store, by hoy and by podman" {
	additional
	[[ $(hoy run --rm --network none busybox echo by hoy) == 'by hoy' ]]
	hoy create --name c busybox true
	[[ $(hoy container inspect c --format '{{.GraphDriver.Data.LowerDir}}') == "$ADD"/overlay/*/diff ]]
	hoy run --name d --network none busybox sh -c 'echo kept >/etc/kept'
	oracle_podman system check
	hoy system check
	mountpoint=$(oracle_podman mount d)
	[[ $(oracle cat "$mountpoint/etc/kept") == kept ]]
	oracle_podman umount d
	hoy rm c d
	untouched
}

@test "an image of an additional store can be tagged: then it is ours, until our names are gone" {
	additional
	id=$(hoy images -q --no-trunc | sed 's/sha256://')
	hoy tag busybox mine:1
	[[ $(hoy images --format '{{.Repository}} {{.ReadOnly}}' | sort | tr '\n' ' ') == 'localhost/busybox false localhost/mine false ' ]]
	[[ $(oracle_podman images --filter readonly=false --format '{{.Names}}' | sort -u) == '[localhost/mine:1 localhost/busybox:latest]' ]]
	[[ $(hoy run --rm --network none mine:1 echo x) == x ]]
	try hoy rmi busybox
	assert_stdout 'Untagged: localhost/busybox:latest'
	try hoy rmi mine:1
	assert_stdout 'Untagged: localhost/mine:1'
	[[ $(hoy images --format '{{.Repository}} {{.ReadOnly}}') == 'localhost/busybox true' ]]
	[[ $(find "$ROOT/overlay-images" -name "$id") == '' ]]
	try hoy rmi -f busybox
	assert_error "cannot remove read-only image \"$id\""
	try hoy untag busybox
	assert_error "cannot untag read-only image \"$id\""
	hoy rmi -a
	hoy image prune -a -f
	untouched
}

@test "a kill while an additional store's image becomes ours leaves nothing that the next writer does not remove" {
	local call
	additional
	id=$(hoy images -q --no-trunc | sed 's/sha256://')
	for call in 'renameat2? images.json' 'renameat2? manifest' 'unlinkat hoy/pending/new-'; do
		run "$HOY_BUILD/tests/faults/inject" -f kill-all -n 1 -m "$call" "$HOY_BIN/hoy" "${HOY_OPTS[@]}" tag busybox mine:1
		[[ $status == 137 ]]
		[[ -e $ROOT/overlay-images/$id ]]
		if [[ $call == unlinkat* ]]; then
			[[ $(hoy images --format '{{.Repository}} {{.ReadOnly}}') == 'localhost/busybox false' ]]
			hoy rmi busybox
		else
			hoy image prune -f
		fi
		[[ $(find "$ROOT" -name "*$id*") == '' ]]
		[[ $(hoy images --format '{{.Repository}} {{.ReadOnly}}') == 'localhost/busybox true' ]]
		[[ ! -e $ROOT/hoy/pending ]]
		hoy system check
	done
	hoy tag busybox mine:1
	[[ $(hoy run --rm --network none mine:1 echo x) == x ]]
	untouched
}

@test "a malformed id in an additional store is an error, and leads nowhere" {
	additional
	mkdir "$T/victim"
	python3 - "$ADD/overlay-images/images.json" "../../../../victim" <<-'END'
	import json, sys
	images = json.load(open(sys.argv[1]))
	images[0]["id"] = sys.argv[2]
	json.dump(images, open(sys.argv[1], "w"))
	END
	try hoy tag busybox mine:1
	assert_error "the additional image store '$ADD' has an image with a malformed id"
	[[ -d $T/victim ]]
}

@test "image mount of an additional store's image is read-only, below the runroot" {
	additional
	dir=$(hoy image mount busybox)
	[[ $dir == "$RUNROOT"/overlay/*/merged && -x $dir/bin/busybox ]]
	try touch "$dir/x"
	[[ $status != 0 && $stderr == *'Read-only'* ]]
	hoy image unmount busybox
	[[ ! -e ${dir%/merged} && $(<"$RUNROOT/overlay-layers/mountpoints.json") == '[]' ]]
	untouched
}

@test "a pull onto an additional store's layers fetches and keeps only what is new" {
	additional
	base=$(hoy image inspect busybox --format '{{index .RootFS.Layers 0}}')
	mkdir ctx
	echo new >ctx/file
	printf 'FROM localhost/busybox\nCOPY file /file\n' >ctx/Containerfile
	oracle_podman build -q -t child ctx
	oracle_podman save -q -o child.tar child
	oracle_podman rmi child
	hoy load -q -i child.tar
	[[ $(find "$ROOT/overlay" -mindepth 2 -maxdepth 2 -name diff | wc -l) == 1 ]]
	[[ $(hoy run --rm --network none child cat /file) == new ]]
	[[ $(oracle_podman image inspect child --format '{{index .RootFS.Layers 0}}') == "$base" ]]
	oracle_podman save -q -o again.tar child
	hoy rmi child
	[[ $(find "$ROOT/overlay" -mindepth 2 -maxdepth 2 -name diff) == '' ]]
	untouched
}

@test "an additional store on a read-only file system, without lock files" {
	additional
	find "$ADD" -name '*.lock' -delete
	mount --bind "$ADD" "$ADD"
	mount -o remount,bind,ro "$ADD"
	try hoy run --rm --network none busybox echo from a read-only place
	umount "$ADD"
	assert_stdout 'from a read-only place'
}

@test "an additional store that is not there is an error" {
	try hoy --storage-opt "additionalimagestore=$T/none" images
	assert_error "cannot open the additional image store '$T/none'"
}

@test "an imagestore takes images and their layers, containers stay; both ways" {
	HOY_OPTS+=(--imagestore "$T/images")
	PODMAN_OPTS+=(--imagestore "$T/images")
	hoy load -q -i "$(fixture busybox)/docker.tar"
	[[ $(ls "$ROOT/overlay") == l && $(ls -d "$T"/images/overlay/*/diff) && $(ls "$ROOT"/overlay-layers/*.tar-split.gz) ]]
	[[ $(oracle_podman images --format '{{.Names}} {{.ReadOnly}}') == '[localhost/busybox:latest] false' ]]
	[[ $(hoy run --rm --network none busybox echo x) == x ]]
	hoy create --name c busybox true
	[[ $(oracle_podman ps -a --external --format '{{.Names}}') == c ]]
	dir=$(hoy image mount busybox)
	[[ $dir == "$RUNROOT"/overlay/*/merged && -x $dir/bin/busybox ]]
	hoy image unmount busybox
	hoy system check
	oracle_podman system check
	hoy rm c
	hoy rmi busybox
	[[ $(ls "$T/images/overlay/l" "$ROOT/overlay/l" | grep -c .) == 2 && $(find "$T/images" "$ROOT" -name '*.tar-split.gz' -o -name diff) == '' ]]
	oracle_podman load -q -i "$(fixture busybox)/docker.tar"
	[[ $(hoy run --rm --network none busybox echo y) == y ]]
	hoy rmi busybox
	[[ $(oracle_podman images -q) == '' ]]
	try hoy --imagestore "$ROOT" images
	assert_error 'must be different from the graph root'
}

@test "system check finds what dead processes left in an imagestore, and -r removes it" {
	HOY_OPTS+=(--imagestore "$T/images")
	PODMAN_OPTS+=(--imagestore "$T/images")
	hoy load -q -i "$(fixture busybox)/docker.tar"
	x=$(printf 'a%.0s' {1..64}) image=$(hoy images -q --no-trunc) image=${image#sha256:}
	mkdir -p "$T/images/overlay/$x/diff" "$T/images/overlay-layers/$x" "$T/images/overlay-images/$x" "$T/images/overlay/tempdirs/temp-dir-5/0-addition"
	touch "$T/images/overlay-images/.tmp-images.json1" "$T/images/overlay-images/$image/.tmp-manifest9"
	ln -s "../$(printf 'b%.0s' {1..64})/diff" "$T/images/overlay/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	try hoy system check
	assert_status 125
	for path in "overlay-layers/$x" "overlay-images/$x" overlay-images/.tmp-images.json1 "overlay-images/$image/.tmp-manifest9" \
		overlay/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ overlay/tempdirs/temp-dir-5; do
		assert_stdout_has "Left over: $T/images/$path"
	done
	hoy system check -r
	[[ $(find "$T/images" -name "$x*") == '' && $(find "$T/images" -name '.tmp-*') == '' && $(ls "$T/images/overlay/l" | grep -c .) == 1 ]]
	[[ $(ls "$T/images/overlay/tempdirs") == '' ]]
	hoy system check
	oracle_podman system check
	[[ $(hoy run --rm --network none busybox echo y) == y ]]
	hoy rmi busybox
}

@test "containers of a transient store are gone after a boot, and what they leave can be pruned" {
	have_image busybox
	HOY_OPTS+=(--transient-store)
	PODMAN_OPTS+=(--transient-store)
	hoy create --name c busybox true
	hoy run --name d --network none busybox true
	[[ $(ls "$ROOT/overlay-containers/"*.json 2>/dev/null) == '' || $(<"$ROOT/overlay-containers/containers.json") == '[]' ]]
	[[ $(oracle_podman ps -a --external --format '{{.Names}}' | sort | tr '\n' ' ') == 'c d ' ]]
	[[ $(hoy info --format '{{.Store.TransientStore}}') == true ]]
	find "$RUNROOT" -mindepth 1 -delete
	[[ $(hoy ps -aq) == '' ]]
	hoy create --name c busybox true
	hoy rm c
	hoy system prune -f
	hoy system check
	[[ $(ls "$ROOT/hoy/containers") == '' && $(hoy images -q) ]]
	oracle_podman system check
}

@test "storage.conf: the file, its drop-ins by name, and the override" {
	local home=$T/home
	mkdir -p "$home/.config/containers/storage.conf.d" "$home/.config/containers/storage.rootless.conf.d/4711" "$home/run"
	cd "$home/.config/containers"
	where() {
		chown -R hoytest: "$home"
		chmod 711 "$T"
		setpriv --reuid 4711 --regid 4711 --clear-groups env -u CONTAINERS_STORAGE_CONF HOME="$home" XDG_RUNTIME_DIR="$home/run" \
			"$@" "$HOY_BIN/hoy" info --format '{{.Store.GraphRoot}}'
	}
	printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/one"\n' "$home" >storage.conf
	[[ $(where) == "$home/one" ]]
	printf '[storage]\ngraphroot = "%s/two"\n' "$home" >storage.conf.d/20-two.conf
	printf '[storage]\ngraphroot = "%s/three"\n' "$home" >storage.conf.d/10-three.conf
	printf 'not even TOML' >storage.conf.d/30-ignored
	[[ $(where) == "$home/two" ]]
	printf '[storage]\ngraphroot = "%s/four"\n' "$home" >storage.rootless.conf.d/4711/20-two.conf
	[[ $(where) == "$home/four" ]]
	printf '[storage]\ngraphroot = "%s/five"\n' "$home" >five.conf
	[[ $(where CONTAINERS_STORAGE_CONF_OVERRIDE="$PWD/five.conf") == "$home/five" ]]
	printf '[storage.options.overlay]\nforce_mask = "700"\n' >storage.conf.d/40-mask.conf
	try where
	assert_status 125
	assert_stderr_has "storage option 'force_mask' is not supported"
	[[ $(where CONTAINERS_STORAGE_CONF="$PWD/five.conf") == "$home/five" ]]
	kill "$(<"$home/run/libpod/tmp/pause.pid")"
}

@test "overlay binds its home onto itself unless skip_mount_home: layers and containers come and go beneath the mount" {
	have_image busybox
	hoy save -q -o one.tar busybox
	store_new bound
	HOY_OPTS=("${HOY_OPTS[@]/overlay.skip_mount_home=true/overlay.skip_mount_home=false}")
	hoy load -q -i one.tar
	hoy run -d --name c --network none busybox sh -c 'echo in >/new; exec sleep 1000'
	grep " $ROOT/overlay " /proc/self/mountinfo
	[[ $(hoy run --rm --network none busybox echo beside) == beside ]]
	hoy commit -q c two
	[[ $(hoy run --rm --network none two cat /new) == in ]]
	hoy rm -f -t 0 c
	run ! grep " $ROOT/overlay" /proc/self/mountinfo
	hoy rmi -f two busybox
	[[ -z $(ls "$ROOT/overlay/tempdirs" "$ROOT/overlay-layers/tmp" 2>/dev/null | grep -v :) ]]
	hoy system check
}

# What a tar would tell of the trees of vfs, and what is in them.
trees() { (cd "$ROOT/vfs/dir" && find . -mindepth 2 -printf '%p %y %m %U %G %s %T@ %n %l\n' | sed 's/^\(.* d [0-9]* [0-9]* [0-9]*\) [0-9]* /\1 /' | LC_ALL=C sort && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum); }

use_vfs() {
	store_new "$1"
	HOY_OPTS+=(--storage-driver vfs)
	PODMAN_OPTS=("${PODMAN_OPTS[@]/overlay.skip_mount_home=true/vfs.ignore_chown_errors=false}")
	PODMAN_OPTS=("${PODMAN_OPTS[@]/#overlay/vfs}")
	HOY_OPTS=("${HOY_OPTS[@]/overlay.skip_mount_home=true/vfs.ignore_chown_errors=false}")
}

# Whiteouts, opaque directories, a directory that becomes a file and a file that becomes one, hard links, over two layers.
layered() {
	have_image busybox
	oracle_podman run --name w --network none busybox sh -c '
		mkdir -p /a/gone /a/opaque /a/dir; echo 1 >/a/gone/x; echo 2 >/a/opaque/x; echo 3 >/a/file; ln /a/file /a/link; chmod 4711 /a/file; chown 7:8 /a/dir'
	oracle_podman commit -q w one
	oracle_podman rm w
	oracle_podman run --name w --network none one sh -c '
		rm -r /a/gone /a/opaque; mkdir /a/opaque; echo 4 >/a/opaque/y; rm -r /a/dir; echo 5 >/a/dir; rm /a/file; mkdir /a/file; rm /www/index.html'
	oracle_podman commit -q w two
	oracle_podman rm w
	oracle_podman save -q -o two.tar two
}

@test "vfs: layers are the trees that podman makes of them; containers run, both ways" {
	layered
	use_vfs theirs
	oracle_podman load -q -i two.tar
	trees >their-trees
	grep -q '/a/opaque/y f' their-trees
	use_vfs ours
	hoy load -q -i two.tar
	diff <(trees) their-trees
	oracle_podman system check
	hoy system check
	[[ $(hoy run --rm --network none two sh -c 'cat /a/dir /a/opaque/y; ls /a/opaque /a/file /www') == $'5\n4\n/a/file:\n\n/a/opaque:\ny\n\n/www:' ]]
	hoy run --name c --network none two sh -c 'echo mine >/a/mine; rm /a/dir'
	[[ $(oracle_podman ps -a --external --format '{{.Names}}') == c ]]
	[[ $(cat "$ROOT"/vfs/dir/*/a/mine) == mine && $(hoy container inspect c --format '{{.Driver}}') == vfs ]]
	diff <(hoy diff c | grep -v /etc) - <<<$'C /a\nD /a/dir\nA /a/mine'
	diff <(hoy image diff two | sort) <(oracle_podman image diff two | sort)
	dir=$(hoy image mount two)
	[[ $(<"$dir/a/dir") == 5 && $(<"$RUNROOT/vfs-layers/mountpoints.json") == *'"count":1'* ]]
	hoy image unmount two
	hoy save -q --format oci-archive -o again.tar two
	hoy rm c
	hoy rmi -a
	[[ $(ls "$ROOT/vfs/dir") == '' && $(ls "$ROOT/vfs-layers"/*.gz 2>/dev/null) == '' ]]
	oracle_podman load -q -i again.tar
	[[ $(hoy run --rm --network none two cat /a/dir) == 5 ]]
	hoy rmi two
	[[ $(ls "$ROOT/vfs/dir") == '' ]]
}

@test "vfs is found by what is there; damage in it is found; other drivers are an error" {
	use_vfs v
	hoy load -q -i "$(fixture busybox)/docker.tar"
	[[ $(tool hoy --root "$ROOT" --runroot "$RUNROOT" info --format '{{.Store.GraphDriverName}}') == vfs ]]
	echo changed >"$(ls -d "$ROOT"/vfs/dir/*)/www/index.html"
	try hoy system check
	assert_status 125
	assert_stdout_has 'failed for "./www/index.html"'
	hoy system check -r
	[[ $(ls "$ROOT/vfs/dir") == '' ]]
	try tool hoy --root "$ROOT" --storage-driver btrfs images
	assert_error "storage driver 'btrfs' is not supported, only overlay and vfs are"
}

@test "vfs of an ordinary user" {
	u() { as_user "$HOY_BIN/hoy" --storage-driver vfs --runtime "$HOY_BIN/hoy-runtime" "$@"; }
	u load -q -i "$(fixture busybox)/docker.tar"
	[[ $(u run --rm --network none busybox sh -c 'echo x >/x; cat /x; id -u') == $'x\n0' ]]
	[[ $(as_user podman --storage-driver vfs images --format '{{.Repository}}') == localhost/busybox ]]
	u system check
	u rmi busybox
	[[ $(u images -q) == '' ]]
}
