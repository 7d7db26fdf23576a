#!/usr/bin/env bats
# The store by hoy-image and podman, both ways.

load ../lib/hoy

same() { # ARGS: hoy and podman print the same
	diff <(hoy "$@" 2>&1) <(oracle_podman "$@" 2>&1)
}

@test "images, inspect and history print what podman prints" {
	have_image busybox
	oracle_podman tag busybox quay.io/x/y:1
	same images
	same images --format json
	same images -q
	same images --digests
	same images --format 'table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.Size}}'
	same images --filter reference='*y*' -q
	same images -f dangling=true
	same image inspect busybox
	same history busybox
	same history --format json busybox
	same inspect --type image --format '{{.Id}} {{.Architecture}} {{json .Config.Cmd}}' busybox
}

@test "images of one second are listed in the store's order, as podman does" {
	for n in 1 2 3; do
		hoy import -q -c "LABEL n=$n" "$(fixture busybox)/rootfs.tar" "i:$n"
	done
	jq -c '.[0].created = "2024-01-01T00:00:00.3Z" | .[1].created = "2024-01-01T00:00:00.1Z" | .[2].created = "2024-01-01T00:00:00.2Z"' \
		"$ROOT/overlay-images/images.json" >edited
	cp edited "$ROOT/overlay-images/images.json"
	[[ $(hoy images --format '{{.Tag}}' | tr '\n' ' ') == '1 2 3 ' ]]
	[[ $(oracle_podman images --format '{{.Tag}}' | tr '\n' ' ') == '1 2 3 ' ]]
}

@test "an empty store is empty, and reading it creates nothing" {
	try tool hoy --root "$T/none" --runroot "$T/none-run" images
	assert_success
	assert_stdout 'REPOSITORY  TAG         IMAGE ID    CREATED     SIZE'
	[[ ! -e $T/none ]]
}

@test "tag and untag by either side are seen by the other" {
	have_image busybox
	hoy tag busybox one:1 registry.example:5000/two/three
	[[ $(oracle_podman images --format '{{.Repository}}:{{.Tag}}' | sort | tr '\n' ' ') == \
	   'localhost/busybox:latest localhost/one:1 registry.example:5000/two/three:latest ' ]]
	oracle_podman untag busybox localhost/one:1
	try hoy image exists one:1
	assert_status 1
	hoy untag busybox registry.example:5000/two/three
	[[ $(oracle_podman images --format '{{.Repository}}') == localhost/busybox ]]
	same image inspect --format '{{.NamesHistory}}' busybox
}

@test "rmi removes names, then the image and its layers; podman finds nothing wrong" {
	have_image busybox
	id=$(hoy images -q --no-trunc | sed 's/sha256://')
	hoy tag busybox two
	try hoy rmi two
	assert_stdout 'Untagged: localhost/two:latest'
	try hoy rmi busybox
	assert_stdout "Untagged: localhost/busybox:latest
Deleted: $id"
	[[ $(oracle_podman images -q) == '' ]]
	[[ $(ls "$ROOT/overlay" | grep -vE '^(l|tempdirs|staging)$') == '' ]]
	[[ $(ls "$ROOT/overlay/l") == '' ]]
	[[ $(find "$ROOT/overlay-layers" -name '*.tar-split.gz') == '' ]]
	try oracle_podman system check
	assert_success
}

@test "rmi of what is not there, is ambiguous or in use" {
	have_image busybox
	oracle_podman create --network none busybox true
	try hoy rmi nothing
	assert_error 'nothing: image not known' 1
	try hoy rmi -i nothing
	assert_success
	try hoy rmi busybox
	assert_error 'image is in use by a container' 2
	[[ $(oracle_podman images -q) != '' ]]
}

@test "podman 4.3 lists and mounts what hoy tagged" {
	have_image busybox
	hoy tag busybox old/reader:4
	try podman4 images --format '{{.Repository}}:{{.Tag}}'
	assert_success
	assert_stdout_has localhost/old/reader:4
	path=$(podman4 image mount old/reader:4)
	[[ $(<"$path/www/index.html") == '<h1>hoy</h1>' ]]
	podman4 image umount old/reader:4
}

@test "image mount: read-only, counted, and gone after unmount" {
	have_image busybox
	path=$(hoy image mount busybox)
	[[ $(<"$path/www/index.html") == '<h1>hoy</h1>' ]]
	run touch "$path/x"
	assert_status 1
	hoy image mount busybox
	hoy image unmount busybox
	[[ -e $path/www ]]
	hoy image unmount busybox
	[[ ! -e $path/www ]]
	[[ $(<"$RUNROOT/overlay-layers/mountpoints.json") == '[]' ]]
}

@test "an incomplete layer of a dead process is cleaned by the next writer" {
	have_image busybox
	id=$(printf 'a%.0s' {1..64})
	python3 - "$ROOT/overlay-layers/layers.json" "$id" <<-'END'
	import json, sys
	p = sys.argv[1]
	l = json.load(open(p))
	l.append({"id": sys.argv[2], "created": "2026-01-01T00:00:00Z", "flags": {"incomplete": True}, "unknown": {"kept": [1, 2.50]}})
	l[0]["future"] = {"member": [1, "x"]}
	json.dump(l, open(p, "w"))
	END
	mkdir -p "$ROOT/overlay/$id/diff"
	hoy create --name c --network none busybox true
	[[ ! -e $ROOT/overlay/$id ]]
	run grep -c "$id" "$ROOT/overlay-layers/layers.json"
	assert_status 1
	# What we do not know is carried on.
	grep -q '"future":{"member":\[1,"x"\]}' "$ROOT/overlay-layers/layers.json"
	try oracle_podman images
	assert_success
}

@test "damaged records: one line, nothing lost" {
	have_image busybox
	cp "$ROOT/overlay-images/images.json" "$T/good"
	for bad in '{' '[1]' '{"a":1}' "$(printf '[%.0s' {1..300})"; do
		printf '%s' "$bad" >"$ROOT/overlay-images/images.json"
		try hoy images
		assert_error 'images.json'
		try hoy tag busybox x
		assert_error 'images.json'
		[[ $(<"$ROOT/overlay-images/images.json") == "$bad" ]]
	done
	cp "$T/good" "$ROOT/overlay-images/images.json"
	try hoy images -q
	assert_success
}

@test "twenty writers at once lose no name" {
	have_image busybox
	for i in {1..10}; do
		hoy tag busybox "h$i" &
		oracle_podman tag busybox "p$i" &
	done
	wait
	[[ $(hoy images --format '{{.Repository}}' | grep -cE '^localhost/[hp][0-9]+$') == 20 ]]
}

@test "image tree: the layers, and what stands on them, as podman draws them" {
	have_image busybox
	printf 'FROM localhost/busybox\nRUN echo a >/a\nRUN echo b >/b\n' >"$T/f"
	oracle_podman build -q --layers -t child -f "$T/f" "$T"
	oracle_podman tag child second:2
	printf 'FROM localhost/busybox\nRUN echo c >/c\nRUN echo d >/d\n' >"$T/f"
	oracle_podman build -q --layers -t other -f "$T/f" "$T"
	printf 'FROM localhost/other\nRUN echo c >/c2\n' >"$T/f"
	oracle_podman build -q --layers -t above -f "$T/f" "$T"
	oracle_podman create --name c other true
	for args in busybox child other "--whatrequires busybox" "--whatrequires child" "--whatrequires other" above; do
		diff <(hoy image tree $args) <(oracle_podman image tree $args)
	done
	try hoy image tree nosuch
	assert_error 'nosuch: image not known'
}

@test "diff of containers and images: what podman says, against what they stand on and against each other" {
	have_image busybox
	printf 'FROM localhost/busybox\nRUN echo a >/a\nRUN mkdir -p /d/e && echo b >/d/e/b && rm /a\nRUN rm -rf /etc/passwd /home /var/www && mkdir /home && echo >/home/x; echo 1 > /etc/group; ln -s /nowhere /tmp/l; chmod 700 /root\n' >"$T/f"
	oracle_podman build -q --layers -t child -f "$T/f" "$T"
	# (A name that no id begins with: podman takes that for an image's.)
	oracle_podman run --name ctr child sh -c 'echo x >/new; rm /bin/ls; touch /d/e/b; rm -rf /d; mkdir /d; echo >/d/y; rm -rf /home; echo >/home' # /home: a file now
	hoy create --name h child true
	for args in 'image diff child' 'image diff busybox' 'image diff child busybox' 'image diff busybox child' 'diff ctr' 'diff ctr busybox' 'diff ctr child' 'diff child ctr' 'diff h' \
		'diff --format json child' 'diff --format json ctr'; do
		diff <(hoy $args | sort) <(oracle_podman $args | sort) || { echo "$args"; false; }
	done
	# One directory after the other, as podman lists changes against what is below.
	diff <(hoy diff ctr) <(oracle_podman diff ctr)
	diff <(hoy container diff ctr | sort) <(oracle_podman container diff ctr | sort)
	for args in 'diff nosuch' 'image diff ctr' 'container diff child' 'diff --format xml ctr'; do
		try hoy $args
		assert_status 125
	done
	[[ $(<"$RUNROOT/overlay-layers/mountpoints.json") == '[]' ]]
	hoy run --name hc --network none child sh -c 'echo x >/new; rm /bin/ls'
	[[ $(hoy diff hc) == $'C /bin\nD /bin/ls\nC /etc\nA /new' ]]
}
