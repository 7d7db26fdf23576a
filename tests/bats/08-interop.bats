#!/usr/bin/env bats
# hoy and podman on one store: what one does, the other one lists, inspects, runs and pushes; and both at once.

load ../lib/hoy

p() { oracle_podman "$@"; }
side() { if [[ $1 == hoy ]]; then hoy "${@:2}"; else oracle_podman "${@:2}"; fi; }

# Both print the same of every image and container.
agree() {
	local ids
	diff <(hoy images --no-trunc --format '{{.ID}} {{.Repository}} {{.Tag}} {{.Digest}} {{.Size}}' | sort) \
		<(p images --no-trunc --format '{{.ID}} {{.Repository}} {{.Tag}} {{.Digest}} {{.Size}}' | sort) || return 1
	mapfile -t ids < <(hoy images -q --no-trunc | sort -u)
	[[ ${#ids[@]} == 0 ]] || diff <(hoy image inspect "${ids[@]}" | jq -S .) <(p image inspect "${ids[@]}" | jq -S .) || return 1
	diff <(hoy ps -a --external --no-trunc --format '{{.ID}} {{.Image}} {{.Names}}' | sort) \
		<(p ps -a --external --no-trunc --format '{{.ID}} {{.Image}} {{.Names}}' | sort)
}

# used SIDE IMAGE: it runs there, and what is pushed from there has the image's configuration.
used() {
	local name=${2//[^a-z0-9]/-} id
	[[ $(side "$1" run --rm --network none --cgroup-parent "/${T##*/}" "$2" /bin/busybox echo runs) == runs ]] || return 1
	side "$1" push -q --tls-verify=false "$2" "docker://$REGISTRY/$1-$name:1" || return 1
	id=$(curl -fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json' \
		"http://$REGISTRY/v2/$1-$name/manifests/1" | jq -r .config.digest)
	[[ $id == "sha256:$(hoy image inspect --format '{{.Id}}' "$2" | sed 's/^sha256://')" ]]
}

no_name_left() { [[ $(hoy images -q) == '' && $(p images -q) == '' && $(ls "$ROOT/overlay" | grep -cE '^.{64}$') == 0 ]]; }

# DEED, what SIDE does and the image that the other one then uses; "-": nobody uses it.
deeds() {
	cat <<-'END'
	pull	pull -q --tls-verify=false $REGISTRY/seed:1	$REGISTRY/seed:1
	import	import -q -c CMD=sh $FIXTURE/rootfs.tar imported:1	localhost/imported:1
	tag	tag imported:1 x.example/tagged:2	x.example/tagged:2
	untag	untag localhost/imported:1 localhost/imported:1	-
	run	run --name ran --network none --cgroup-parent /${T##*/} x.example/tagged:2 /bin/busybox touch /f	-
	commit	commit -q ran committed:1	localhost/committed:1
	save	save -q -o $T/saved.tar x.example/tagged:2	-
	rm	rm ran	-
	rmi	rmi x.example/tagged:2	-
	load	load -q -i $T/saved.tar	x.example/tagged:2
	rmi-all	rmi -a -f	-
	END
}

one_side_does() {
	local one=$1 other=$2 deed words image wrong=0
	registry_start "$one"
	FIXTURE=$(fixture busybox)
	hoy load -q -i "$FIXTURE/docker.tar"
	hoy push -q --tls-verify=false busybox "$REGISTRY/seed:1"
	hoy rmi -a -f
	while IFS=$'\t' read -r deed words image <&4; do
		rm -f "$T/saved.tar.new"
		eval "side $one $words" >"$T/out" 2>&1 || { echo "$one $deed: $(<"$T/out")"; wrong=1; }
		agree >"$T/out" 2>&1 || { printf '%s\n' "after $one $deed:" "$(<"$T/out")"; wrong=1; }
		eval "image=$image"
		[[ $image == - ]] || used "$other" "$image" >"$T/out" 2>&1 || { echo "$other cannot use $image after $one $deed: $(<"$T/out")"; wrong=1; }
	done 4< <(deeds)
	no_name_left || { echo "after rmi -a: $(ls "$ROOT/overlay")"; wrong=1; }
	p rm -f -a -t 0
	find /sys/fs/cgroup -depth -path "*/${T##*/}*" -type d -exec rmdir {} + || true
	p system check && hoy system check && [[ $wrong == 0 ]]
}

@test "what hoy does, podman sees, runs and pushes" { one_side_does hoy podman; }

@test "what podman does, hoy sees, runs and pushes" { one_side_does podman hoy; }

@test "a short name means the same name to both, and an image with several loses that one" {
	hoy load -q -i "$(fixture busybox)/docker.tar"
	for one in hoy podman; do
		hoy tag busybox a.example/busybox
		hoy tag busybox localhost:5000/busybox
		hoy tag a.example/busybox localhost/busybox
		side "$one" rmi busybox
		[[ $(hoy images --format '{{.Repository}}' | sort) == $'a.example/busybox\nlocalhost:5000/busybox' ]]
	done
}

@test "both at once, for a moment: no command fails, the store is whole" {
	run "$HOY_TESTS/hammer" 4
	assert_success
	[[ $output == *'no error, the store is whole' ]]
}

@test "rm -f takes the storage of another engine's container, rm alone does not" {
	have_image busybox
	oracle_podman create --name pc busybox true
	oracle_buildah from --name bb scratch
	for c in pc bb; do
		try hoy rm "$c"
		assert_status 1
		[[ $stderr == "Error: container \"$c\" was not made by hoy: no such container (--force removes its storage)" ]]
		try hoy rm -f "$c"
		assert_success
		assert_stdout "$c"
	done
	[[ $(hoy ps -aq --external) == '' && $(<"$ROOT/overlay-containers/containers.json") == '[]' ]]
	oracle_podman rm -f pc
	hoy rmi busybox
	[[ -z $(oracle_podman images -qa) && -z $(find "$ROOT" -name diff -o -name '*.tar-split.gz') ]]
}

@test "rmi -f takes the containers with the image, whoever made them" {
	have_image busybox
	hoy tag busybox second
	hoy run -d --name hc --stop-signal KILL -v data:/data --network none busybox sleep 100
	hoy create --name hd busybox true
	oracle_podman create --name pc busybox true
	oracle_buildah from --name bb localhost/busybox:latest
	try hoy rmi busybox
	assert_stdout 'Untagged: localhost/busybox:latest'
	for args in second -a; do
		try hoy rmi $args
		assert_status 2
		[[ $stderr == *'image is in use by a container: consider listing external containers and force-removing image' ]]
	done
	id=$(hoy image inspect second --format '{{.Id}}')
	try hoy rmi -f second
	assert_success
	assert_stdout "Untagged: localhost/second:latest"$'\n'"Deleted: $id"
	[[ $(hoy ps -aq --external) == '' && $(ls "$ROOT/hoy/containers") == '' ]]
	oracle_podman rm -f pc
	[[ -z $(oracle_podman images -qa) && -z $(find "$ROOT" -name diff -o -name '*.tar-split.gz') ]]
}
