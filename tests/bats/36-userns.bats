#!/usr/bin/env bats
# User namespaces of containers: maps, records and layers as podman's, either engine sees and removes the other's.

load ../lib/hoy

map=0:100000:65536

# The ids of containers of root by /proc: uid_map and gid_map, in one line.
maps='cat /proc/self/uid_map /proc/self/gid_map | tr -s " \n" " "'

# What the store says of the container or layer named $1, without what differs from one to the next.
ctr_record() { jq -cS ".[] | select(.names == [\"$1\"]) | del(.id, .names, .layer, .metadata, .created)" "$ROOT/overlay-containers/containers.json"; }
layer_record() { jq -cS ".[] | select(.names == [\"$1-layer\"]) | del(.id, .names, .created)" "$ROOT/overlay-layers/layers.json"; }
layer_id() { jq -r ".[] | select(.names == [\"$1-layer\"]) | .id" "$ROOT/overlay-layers/layers.json"; }

# Owner and mode of all in a layer's directory, one level down.
owners() { (cd "$ROOT/overlay/$1" && find . -maxdepth 1 -printf '%p %U:%G %m\n' | sort); }

diffs() { "$1" image inspect "$2" --format '{{.RootFS.Layers}}'; }

nothing_left() {
	[[ $(mounts_below) == '' && -z $(find "$ROOT/hoy/containers" "$RUNROOT/hoy" -mindepth 1 -maxdepth 1 -name '????????????*' 2>/dev/null) ]]
	[[ $(compgen -G '/var/tmp/hoy-root-*') == '' ]]
}

@test "--uidmap: maps, owners seen inside, records and directories as podman's" {
	have_image busybox
	see="$maps; stat -c '%n %u:%g %a' / /etc/passwd /etc/hosts /etc/hostname /run/.containerenv /dev/shm /tmp /sys /proc; id -u; touch /new"
	args=(--uidmap "$map" --network none busybox sh -c "$see")
	oracle_podman create --name theirs "${args[@]}" >/dev/null
	hoy create --name ours "${args[@]}" >/dev/null
	[[ $(owners "$(layer_id ours)") == "$(owners "$(layer_id theirs)")" ]]
	[[ $(hoy start -a ours) == "$(oracle_podman start -a theirs)" ]]
	[[ $(ctr_record ours) == "$(ctr_record theirs)" && $(ctr_record ours) == *'"host_id":100000'* ]]
	[[ $(layer_record ours) == "$(layer_record theirs)" && $(layer_record ours) == *'"host_id":100000'* ]]
	[[ $(owners "$(layer_id ours)") == "$(owners "$(layer_id theirs)")" ]]
	[[ $(stat -c %u:%g "$ROOT/overlay/$(layer_id ours)/diff/new") == 100000:100000 ]]
	[[ -e $RUNROOT/overlay/idmapped-lower-dir-true && -z $(jq -c '.[]["mapped-layers"] // empty' "$ROOT/overlay-images/images.json") ]]
	format='{{.HostConfig.UsernsMode}} {{json .HostConfig.IDMappings}} {{index .Config.Annotations "io.podman.annotations.userns"}}'
	[[ $(hoy inspect --format "$format" ours) == "$(oracle_podman inspect --format "$format" theirs)" ]]
	hoy rm ours
	oracle_podman rm theirs
	nothing_left
}

@test "the runtime's bundle: namespaces and mappings as podman's" {
	have_image busybox
	hoy run -d --name ours --uidmap "$map" --network none busybox sleep 100
	oracle_podman run -d --name theirs --uidmap "$map" --network none busybox sleep 100
	what='[.linux.uidMappings, .linux.gidMappings, (.linux.namespaces | sort), .annotations["io.podman.annotations.userns"]]'
	ours=$RUNROOT/hoy/$(hoy inspect --format '{{.Id}}' ours)/config.json
	theirs=$ROOT/overlay-containers/$(oracle_podman inspect --format '{{.Id}}' theirs)/userdata/config.json
	[[ $(jq -c "$what" "$ours") == "$(jq -c "$what" "$theirs")" ]]
	pid=$(hoy inspect --format '{{.State.Pid}}' ours)
	[[ $(tr -s ' ' <"/proc/$pid/uid_map") == ' 0 100000 65536' && $(stat -c %u "/proc/$pid") == 100000 ]]
	# All its namespaces are its user namespace's.
	[[ $(readlink "/proc/$pid/ns/user") != "$(readlink /proc/self/ns/user)" ]]
	[[ $(hoy exec ours sh -c "$maps; id -u; stat -c %u /proc/1") == $' 0 100000 65536 0 100000 65536 0\n0' ]]
	[[ $(hoy exec -u 33:44 ours sh -c 'id -u; id -g; touch /tmp/x; stat -c %u:%g /tmp/x' | tr '\n' ' ') == '33 44 33:44 ' ]]
	try hoy exec ours hostname other
	[[ $status != 0 ]]
	hoy stop -t 0 ours
	hoy start ours
	hoy restart -t 0 ours
	[[ $(hoy exec ours cat /proc/self/uid_map | tr -s ' ') == ' 0 100000 65536' ]]
	hoy rm -f -t 0 ours
	oracle_podman rm -f -t 0 theirs
	nothing_left
}

@test "a bridge in the container's user namespace: address, hosts, ports; with podman's network too" {
	have_image busybox
	hoy run -d --name ours --uidmap "$map" -p 127.0.0.1:18080:80 busybox sh -c 'while :; do echo hello | nc -l -p 80; done'
	pid=$(hoy inspect --format '{{.State.Pid}}' ours)
	ip=$(hoy inspect --format '{{.NetworkSettings.IPAddress}}' ours)
	[[ $(hoy exec ours ip -4 -o addr show eth0) == *"$ip"* ]]
	[[ $(hoy exec ours cat /etc/hosts) == *"$ip"*ours* && $(hoy exec ours stat -c %u:%g /etc/hosts /etc/resolv.conf | tr '\n' ' ') == '0:0 0:0 ' ]]
	hello() { [[ $(timeout 2 bash -c 'cat </dev/tcp/127.0.0.1/18080' 2>/dev/null) == hello ]]; }
	until_true 10 hello
	# The namespace is the container's: its root changes it only with the capability, which --cap-add gives.
	hoy run --rm --uidmap "$map" --cap-add net_admin busybox ip link set eth0 down
	oracle_podman run -d --name theirs --uidmap "$map" busybox sh -c 'while :; do echo hi | nc -l -p 81; done'
	hi() { [[ $(hoy exec ours nc "$(oracle_podman inspect --format '{{.NetworkSettings.IPAddress}}' theirs)" 81 </dev/null) == hi ]]; }
	until_true 10 hi
	try hoy run --rm --uidmap "$map" --network host busybox sh -c 'cat /proc/self/uid_map; ls /sys/class/net | grep -c lo'
	assert_success
	hoy rm -f -t 0 ours
	oracle_podman rm -f -t 0 theirs
	[[ ! -e /proc/$pid ]]
	nothing_left
}

@test "maps as podman reads them, and its errors" {
	have_image busybox
	local -a cases=(
		'--uidmap 0:1000' '--uidmap 0:1000:10:10:2000:10' '--uidmap 0:1000:10,20:2000:5' '--uidmap 0:1000:10 --gidmap 0:2000:20'
		'--gidmap 0:2000:20' '--uidmap +0:1000:10' '--uidmap 0:1000:100 --uidmap +5:5000:3' '--uidmap 0:@1000:100'
		'--uidmap u0:1000:10 --uidmap g0:2000:10' '--uidmap 0:1000:100 --gidmap 0:1000:100 --gidmap +7:1050:2' '--subuidname hoytest'
		'--subgidname hoytest' '--userns host' '--userns keep-id' '--uidmap 0:1000:10 --pid host' '--uidmap 0:1000:2000 --privileged'
		# and what is none
		'--uidmap 0:1000:' '--uidmap 0' '--uidmap x:1:1' '--uidmap u:1:1' '--uidmap 0:1000:0' '--uidmap 0:4294967296:1' '--uidmap 0::1'
		'--uidmap 0:1000:10 --uidmap 5:3000:5' '--subuidname nosuch' '--subuidname hoytest --uidmap 0:1000:10'
		'--userns private' '--userns nomap' '--userns bogus' '--userns default' '--userns container:' '--userns ns:/nonexistent'
		'--userns host --uidmap 0:1000:10' '--userns keep-id --gidmap 0:1:2' '--userns auto --subuidname hoytest' '--userns keep-id:foo=1'
		'--userns keep-id:uid' '--userns keep-id:uid=x' '--userns auto:size=foo' '--userns auto:foo=1'
	)
	for c in "${cases[@]}"; do
		# shellcheck disable=SC2086
		ours=$(hoy run --rm --network none $c busybox sh -c "$maps" 2>&1) && a=0 || a=$?
		# shellcheck disable=SC2086
		theirs=$(oracle_podman run --rm --network none $c busybox sh -c "$maps" 2>&1) && b=0 || b=$?
		[[ $a == "$b" && $ours == "$theirs" ]] || { printf '%s\nours %s: %s\ntheirs %s: %s\n' "$c" $a "$ours" $b "$theirs"; return 1; }
	done
	try hoy run --rm --network none --userns container:nope busybox true
	assert_error 'looking up container to share user namespace with'
	try hoy run --rm --network none --uidmap 5:1000:10 busybox true
	assert_error 'container ID 0 cannot be mapped to a host ID'
	try hoy run --rm --network none --uidmap 0:1000:10 -u 20 busybox true
	assert_error "doesn't map UID 20"
	hoy rm -a
	nothing_left
}

@test "PODMAN_USERNS and containers.conf stand where no option does" {
	have_image busybox
	printf '[containers]\nuserns = "keep-id"\n' >conf
	own=$(hoy run --rm --network none busybox readlink /proc/self/ns/user)
	[[ $own == "$(readlink /proc/self/ns/user)" ]]
	[[ $(CONTAINERS_CONF_OVERRIDE=$PWD/conf hoy run --rm --network none busybox readlink /proc/self/ns/user) != "$own" ]]
	[[ $(CONTAINERS_CONF_OVERRIDE=$PWD/conf hoy run --rm --network none --userns host busybox readlink /proc/self/ns/user) == "$own" ]]
	[[ $(PODMAN_USERNS=keep-id hoy run --rm --network none busybox readlink /proc/self/ns/user) != "$own" ]]
	[[ $(PODMAN_USERNS=nomap hoy run --rm --network none --uidmap "$map" busybox sh -c "$maps") == ' 0 100000 65536 0 100000 65536 ' ]]
}

@test "--userns=auto: ids that no container of either engine has" {
	have_image busybox
	try hoy create --userns auto busybox true
	assert_error 'no ranges found for user "containers" in /etc/subuid: not enough unused IDs in user namespace'
	printf '[storage]\ndriver = "overlay"\n[storage.options]\nroot-auto-userns-user = "hoytest"\n' >storage.conf
	export CONTAINERS_STORAGE_CONF=$PWD/storage.conf
	hoy create --name a --userns auto --network none busybox sh -c "$maps"
	oracle_podman create --name b --userns auto --network none busybox sh -c "$maps"
	hoy create --name c --userns auto:size=500 --network none busybox sh -c "$maps"
	ranges() { jq -c '[.[] | [.names[0], (.uidmap + .gidmap | map([.container_id, .host_id - 471100000, .size]))]] | sort' "$ROOT/overlay-containers/containers.json"; }
	[[ $(ranges) == '[["a",[[0,0,1024],[0,0,1024]]],["b",[[0,1024,1024],[0,1024,1024]]],["c",[[0,2048,500],[0,2048,500]]]]' ]]
	[[ $(hoy start -a c) == ' 0 471102048 500 0 471102048 500 ' ]]
	[[ $(hoy inspect --format '{{.HostConfig.UsernsMode}} {{.HostConfig.IDMappings.UidMap}}' c) == 'private [0:471102048:500]' ]]
	# Further mappings take their places in the space, inside and outside.
	for o in 'auto:size=20,uidmapping=5:100:2,gidmapping=0:200:1' 'auto:size=20,uidmapping=5:@471100002:2' 'auto -u 2000' 'auto:size=60000'; do
		# shellcheck disable=SC2086
		[[ $(hoy run --rm --network none --userns $o busybox sh -c "$maps") == "$(oracle_podman run --rm --network none --userns $o busybox sh -c "$maps")" ]] || { echo "$o"; return 1; }
	done
	try hoy create --userns auto:size=63000 busybox true
	assert_error 'creating container storage: not enough unused IDs in user namespace'
	try hoy create --userns auto -u 70000 busybox true
	assert_error 'the container needs a user namespace with size 70001 that is bigger than the maximum value allowed with userns=auto 65536'
	hoy rm a c
	oracle_podman rm b
	# As many as the image has, which is 1001 by its passwd, unless that is below the least.
	echo 'auto-userns-min-size = 300' >>storage.conf
	[[ $(hoy run --rm --network none --userns auto busybox sh -c "$maps") == ' 0 471100000 1001 0 471100000 1001 ' ]]
	echo 'remap-user = "hoytest"' >>storage.conf
	try hoy ps
	assert_error "storage option 'remap-user' is not supported"
	unset CONTAINERS_STORAGE_CONF
	nothing_left
}

@test "a namespace of another container, and one by its path" {
	have_image busybox
	hoy run -d --name ours --uidmap "$map" --network none busybox sleep 100
	id=$(hoy inspect --format '{{.Id}}' ours)
	[[ $(hoy run --rm --userns container:ours --network none busybox sh -c "$maps; readlink /proc/self/ns/user; stat -c %u:%g / /etc/hosts") == \
	   *"$(hoy exec ours readlink /proc/self/ns/user)"$'\n0:0\n0:0' ]]
	hoy create --name joins --userns container:ours --network none busybox true
	[[ $(hoy inspect --format '{{.HostConfig.UsernsMode}} {{.HostConfig.IDMappings.UidMap}}' joins) == "container:$id [$map]" ]]
	[[ $(ctr_record joins) == "$(ctr_record ours)" ]]
	[[ $(hoy inspect --format '{{.Dependencies}}' joins) == "[$id]" ]]
	try hoy rm -f ours
	assert_error "container $id has dependent containers which must be removed before it: $(hoy inspect --format '{{.Id}}' joins): container already exists"
	hoy stop -t 0 ours
	try hoy start joins
	assert_error 'is not running: its user namespace cannot be joined'
	hoy rm joins ours
	unshare -U sleep 60 3>&- &
	pid_record $!
	joined() { [[ $(readlink /proc/self/ns/user) != "$(readlink "/proc/$1/ns/user")" ]]; }
	until_true 5 joined $!
	echo '0 0 100000' >/proc/$!/uid_map
	echo '0 0 100000' >/proc/$!/gid_map
	hoy create --name joins --userns ns:/proc/$!/ns/user --network none busybox sh -c "$maps"
	[[ $(hoy start -a joins) == ' 0 0 100000 0 0 100000 ' ]]
	[[ $(hoy inspect --format '{{.HostConfig.UsernsMode}}' joins) == "ns:/proc/$!/ns/user" && $(ctr_record joins) != *uidmap* ]]
	hoy rm joins
	nothing_left
}

@test "ids chowned, where mounts do not shift them: layers, records and chown as podman's, which uses them too" {
	oracle_podman load -q -i "$(fixture debian)/docker.tar" >/dev/null
	export _CONTAINERS_OVERLAY_DISABLE_IDMAP=yes
	see="$maps; find / -xdev -not -path /proc -not -path '/etc/host*' -not -path /etc/mtab -not -path /etc/resolv.conf -printf '%p %U:%G %m %n %l\n' | sort | sha256sum"
	theirs=$(oracle_podman run --name theirs --uidmap "$map" --network none debian sh -c "$see")
	mapped=$(jq -r '.[]["mapped-layers"][]' "$ROOT/overlay-images/images.json")
	oracle_podman rm theirs
	oracle_podman save -q -o image.tar debian
	oracle_podman rmi debian
	oracle_podman load -q -i image.tar >/dev/null
	hoy create --name ours --uidmap "$map" --network none debian sh -c "$see" >/dev/null
	record() { jq -cS ".[] | select(.id == \"$1\") | del(.id, .created)" "$ROOT/overlay-layers/layers.json"; }
	new=$(jq -r '.[]["mapped-layers"][]' "$ROOT/overlay-images/images.json")
	[[ $new =~ ^[0-9a-f]{64}$ && $new != "$mapped" ]]
	[[ $(owners "$new") == *'. 100000:100000 700'*'diff 100000:100000 '*'diff1 0:0'*'work 100000:100000 555'* ]]
	[[ $(record "$new") == *'"diff-digest"'*'"host_id":100000'* ]]
	[[ $(hoy start -a ours) == "$theirs" ]]
	# podman stands its container on the same layer.
	oracle_podman create --name theirs --uidmap "$map" --network none debian true >/dev/null
	[[ $(jq -r '.[]["mapped-layers"][]' "$ROOT/overlay-images/images.json") == "$new" ]]
	[[ $(layer_record ours) == "$(layer_record theirs)" && $(owners "$(layer_id theirs)" | grep -v mtab) == "$(oracle_podman start theirs >/dev/null; owners "$(layer_id ours)")" ]]
	try hoy system check
	assert_success
	[[ $(hoy image inspect --format '{{.Size}}' debian) == "$(oracle_podman image inspect --format '{{.Size}}' debian)" ]]
	try hoy run --rm --uidmap 0:100000:10 --network none debian true
	assert_error 'which the container'\''s ids do not include (its user namespace is too small)'
	[[ $(jq -r '.[]["mapped-layers"][]' "$ROOT/overlay-images/images.json") == "$new" ]]
	hoy rm ours
	oracle_podman rm -f theirs
	hoy rmi debian
	[[ $(ls "$ROOT/overlay" | grep -c '^[0-9a-f]\{64\}$') == 0 ]]
	nothing_left
}

@test "commit: the ids inside are the image's; the layer is podman's, bit for bit" {
	have_image busybox
	script='mkdir -p /a/new /a/opq; echo 1 >/a/new/file; ln /a/new/file /a/link; ln -s /nowhere /a/sym; chmod 4755 /a/new/file; chown 7:8 /a/new
		mkfifo /a/fifo; chown 300:5 /a/fifo; rm -r /www; mkdir /www; echo x >/www/x'
	for how in shifted chowned; do
		[[ $how == shifted ]] || export _CONTAINERS_OVERLAY_DISABLE_IDMAP=yes
		oracle_podman run --name c --uidmap "$map" --network none busybox sh -c "$script"
		oracle_podman commit -q c theirs
		image=$(oracle_podman inspect --type image --format '{{.Id}}' busybox)
		printf '{"container":"%064d","layer":"%s","image":"%s","imageName":"localhost/busybox:latest","config":{"Cmd":["sh"]}}' 1 "$(layer_id c)" \
			"$image" >spec
		tool hoy-transfer "${HOY_OPTS[@]}" commit -q --spec spec ours
		[[ $(diffs hoy ours) == "$(diffs oracle_podman theirs)" ]]
		hoy run --name d --uidmap "$map" --network none busybox sh -c "$script; rm /bin/vi"
		hoy commit -q d mine
		hoy commit -q -s d flat
		for i in mine flat; do
			[[ $(hoy run --rm --network none $i sh -c 'stat -c %u:%g /bin/busybox /a/new /a/fifo /www/x; ls /bin/vi' 2>&1 | tr '\n' ' ') == \
			   '0:0 7:8 300:5 0:0 ls: /bin/vi: No such file or directory ' ]]
		done
		hoy rm d
		oracle_podman rm c
		hoy rmi mine flat ours theirs
	done
	nothing_left
}

@test "podman lists, checks and removes what hoy mapped; hoy lists and checks it, and removes its layers" {
	have_image busybox
	hoy create --name ours --uidmap "$map" --network none busybox true
	oracle_podman create --name theirs --uidmap "$map" --network none busybox true
	[[ $(oracle_podman ps -a --external --format '{{.Names}}' | sort | tr '\n' ' ') == 'ours theirs ' ]]
	[[ $(hoy ps -a --external --format '{{.Names}}' | sort | tr '\n' ' ') == 'ours theirs ' ]]
	hoy start ours
	oracle_podman system check
	hoy system check
	oracle_podman rm -f ours
	oracle_podman rm theirs
	hoy ps -a # which forgets what is gone
	[[ $(jq length "$ROOT/overlay-containers/containers.json") == 0 && $(jq length "$ROOT/overlay-layers/layers.json") == 1 ]]
	# A version of the image's layer that podman has chowned goes with the image.
	_CONTAINERS_OVERLAY_DISABLE_IDMAP=yes oracle_podman run --rm --uidmap "$map" --network none busybox true
	[[ $(jq length "$ROOT/overlay-layers/layers.json") == 2 ]]
	hoy rmi busybox
	[[ $(ls "$ROOT/overlay") == $'l\ntempdirs' ]]
	nothing_left
}

@test "what a death while mounting leaves does not take the image with it" {
	have_image busybox
	hoy create --name c --uidmap "$map" --network none busybox true
	layer=$(layer_id c)
	image=$(jq -r '.[0].id' "$ROOT/overlay-layers/layers.json")
	mkdir -p "$ROOT/overlay/$layer/mapped/0"
	mount --bind "$ROOT/overlay/$image" "$ROOT/overlay/$layer/mapped/0"
	hoy rm c
	[[ ! -e $ROOT/overlay/$layer && -e $ROOT/overlay/$image/diff/bin/busybox ]]
	hoy system check
	nothing_left
	# Even where it is not known of: a mount is no part of what is removed.
	hoy run --rm -v v:/v --network none busybox true
	mkdir "$ROOT/hoy/volumes/v/_data/m"
	mount --bind "$ROOT/overlay/$image" "$ROOT/hoy/volumes/v/_data/m"
	hoy volume prune -f || true
	[[ -e $ROOT/overlay/$image/diff/bin/busybox ]]
	umount "$ROOT/hoy/volumes/.gone-v/_data/m"
	hoy volume prune -f
	[[ -z $(ls -A "$ROOT/hoy/volumes") ]]
	hoy system check
}

@test "volumes: U, idmap, their first filling" {
	have_image busybox
	v=$T/v
	mkdir -p "$v/sub"
	echo x >"$v/f"
	echo y >"$v/sub/g"
	see() { (cd "$1" && find . -printf '%p %U:%G\n' | sort | tr '\n' ' '); }
	look='cd /v; stat -c "%n %u:%g" . f sub sub/g; echo z >new'
	[[ $(hoy run --rm -v "$v:/v:U" -u 33 --uidmap "$map" --network none busybox sh -c "$look" | tr '\n' ' ') == '. 33:0 f 33:0 sub 33:0 sub/g 33:0 ' ]]
	[[ $(see "$v") == '. 100033:100000 ./f 100033:100000 ./new 100033:100000 ./sub 100033:100000 ./sub/g 100033:100000 ' ]]
	rm "$v/new"
	[[ $(hoy run --rm --mount "type=bind,src=$v,dst=/v,chown=true" --network none busybox sh -c "$look" | tr '\n' ' ') == '. 0:0 f 0:0 sub 0:0 sub/g 0:0 ' ]]
	[[ $(see "$v") != *100000* ]]
	for o in -v="$v:/v:idmap" "--mount=type=bind,src=$v,dst=/v,idmap" -v="$v:/v:idmap=uids=@0-0-100;gids=@0-0-100"; do
		rm "$v/new"
		[[ $(hoy run --rm "$o" --uidmap "$map" --network none busybox sh -c "$look" | tr '\n' ' ') == '. 0:0 f 0:0 sub 0:0 sub/g 0:0 ' ]]
		[[ $(see "$v") == '. 0:0 ./f 0:0 ./new 0:0 ./sub 0:0 ./sub/g 0:0 ' ]]
	done
	[[ $(hoy run --rm -v "$v:/v:idmap=uids=0-1-10#10-11-10;gids=0-100-10" --network none busybox stat -c %u:%g /v) == 1:100 ]]
	[[ $(hoy run --rm -v "$v:/v" --uidmap "$map" --network none busybox stat -c %u:%g /v) == 65534:65534 ]]
	# Whose a fresh volume is; what the image has comes with its owners, mapped or not.
	hoy run --rm -v nv1:/fresh -u 7 --uidmap "$map" --network none busybox touch /fresh/x
	[[ $(see "$ROOT/hoy/volumes/nv1/_data") == '. 100007:100000 ./x 100007:100000 ' ]]
	[[ $(hoy run --rm -v nv2:/var --uidmap "$map" --network none busybox stat -c %u:%g /var /var/www | tr '\n' ' ') == '0:0 0:0 ' ]]
	[[ $(see "$ROOT/hoy/volumes/nv2/_data") == '. 100000:100000 ./www 100000:100000 ' ]]
	[[ $(hoy run --rm -v nv3:/var:idmap --uidmap "$map" --network none busybox stat -c %u:%g /var /var/www | tr '\n' ' ') == '0:0 0:0 ' ]]
	[[ $(see "$ROOT/hoy/volumes/nv3/_data") == '. 0:0 ./www 0:0 ' ]]
	[[ $(hoy run --rm --tmpfs /t:U -u 7 --uidmap "$map" --network none busybox stat -c %u /t) == 7 ]]
	try hoy run --rm -v /etc:/v:U busybox true
	assert_status 125
	assert_stderr_has 'chowning host path "/etc" is not allowed'
	try hoy run --rm -v "$v:/v:idmap,idmap" busybox true
	assert_error "the 'idmap' option can only be set once: duplicate mount option passed"
	try hoy run --rm -v "$v:/v:idmap=foo=0-1" busybox true
	assert_error 'unknown option "foo=0-1"'
	nothing_left
}

@test "volumes: O keeps what is written out of them" {
	have_image busybox
	v=$T/v
	mkdir -m 711 "$v" "$T/up" "$T/work"
	echo a >"$v/f"
	chown 5:6 "$v"
	look='stat -c "%u:%g %a" /v; cat /v/* ; echo b >/v/g; rm /v/f; ls /v'
	hoy create --name c -v "$v:/v:O" --network none busybox sh -c "$look"
	for i in 1 2; do
		[[ $(hoy start -a c) == $'5:6 711\na\ng' && $(ls "$v") == f ]]
	done
	hoy rm c
	[[ $(hoy run --rm -v nv:/v:O --network none busybox sh -c 'echo x >/v/x; ls /v') == x && -z $(ls "$ROOT/hoy/volumes/nv/_data") ]]
	hoy run --rm -v "$v:/v:O,upperdir=$T/up,workdir=$T/work" --network none busybox sh -c 'echo x >/v/x'
	[[ $(ls "$T/up") == x && $(ls "$v") == f ]]
	hoy_inside --runtime crun run --rm -v "$v:/v:O,U" -u 7 --network none busybox sh -c 'echo x >/v/x; stat -c %u:%g /v'
	[[ $(stat -c %u:%g "$v") == 7:0 && $(ls "$v") == f ]]
	for o in "O,ro:can't use 'O' with other options" "O,idmap:can't use 'O' with other options" "O,upperdir=$T/up:must set both \`upperdir\` and \`workdir\`" \
		"upperdir=$T/up:invalid mount option"; do
		try hoy create -v "$v:/v:${o%%:*}" busybox true
		assert_error "${o#*:}"
		try oracle_podman create -v "$v:/v:${o%%:*}" busybox true
		assert_status 125
		assert_stderr_has "${o#*:}"
	done
	try hoy create --mount "type=bind,src=$v,dst=/v,O" busybox true
	assert_error 'O: invalid mount option'
	nothing_left
}

@test "who runs is in passwd and group, as podman writes them" {
	have_image busybox
	see='tail -n +5 /etc/passwd; tail -n +6 /etc/group; id; echo "$HOME"'
	local -a cases=('-u 5' '-u 5:6' '-u 12345' '-u 12345:23456 -w /tmp' '-u 12345:user' '-u 0:777' '-u user:778' '-u 12345 --read-only'
		'-u 12345 --passwd-entry foo:*:$UID:$GID:$NAME:$HOME:/bin/x --group-entry $GROUPNAME:y:$GID:' '-u 12345:888 --group-entry x:y:$GID:'
		'-u 12345 --uidmap 0:100000:65536' '--hostuser hoytest' '-u hoytest --hostuser hoytest')
	for c in "${cases[@]}"; do
		# shellcheck disable=SC2086
		[[ $(hoy run --rm --network none $c busybox sh -c "$see") == "$(oracle_podman run --rm --network none $c busybox sh -c "$see")" ]] || { echo "$c"; return 1; }
	done
	[[ $(hoy run --rm --network none -u 12345 --passwd=false busybox tail -n +5 /etc/passwd) == '' ]]
	hoy run --name twice -u 12345 --network none busybox true
	hoy start -a twice
	[[ $(hoy start twice >/dev/null; grep -c 12345 "$ROOT/overlay/$(layer_id twice)/diff/etc/passwd") == 1 ]]
}

@test "crun and runc make such containers too" {
	have_image busybox
	for rt in crun runc; do
		[[ $(hoy_inside --runtime $rt run --rm --uidmap "$map" --network none busybox sh -c "$maps; stat -c %u:%g / /etc/hosts; touch /x") == \
		   $' 0 100000 65536 0 100000 65536 0:0\n0:0' ]]
		[[ $(hoy_inside --runtime $rt run --rm --uidmap "$map" busybox ip -4 -o addr show eth0) == *10.88.* ]]
	done
	nothing_left
}

@test "an ordinary user: keep-id, nomap, auto, maps; layers that podman of that user shares" {
	# The repository may lie where an ordinary user cannot go.
	install -d -m 755 "$T/bin"
	cp "$HOY_BIN"/hoy* "$T/bin/"
	home=$T/user
	install -d -o hoytest -g hoytest -m 700 "$home" "$home/run"
	user() { "$HOY_TESTS/oracle" run --user hoytest -C "$home" -- env -u TMPDIR HOME="$home" XDG_RUNTIME_DIR="$home/run" "$@"; }
	podman() { user podman "$@"; }
	u() { user "$T/bin/hoy" --runtime "$T/bin/hoy-runtime" "$@"; }
	podman load -q -i "$(fixture busybox)/docker.tar"
	store=$home/.local/share/containers/storage
	see="$maps; id; stat -c '%n %u:%g' / /etc/passwd /etc/hosts; tail -n 1 /etc/passwd; tail -n 1 /etc/group; echo \$HOME; pwd"
	podman create --name theirs --userns keep-id --network none busybox sh -c "$see"
	pid_record "$(<"$home/run/libpod/tmp/pause.pid")"
	u create --cgroups disabled --name ours --userns keep-id --network none busybox sh -c "$see"
	[[ $(u start -a ours) == "$(podman start -a theirs)" ]]
	[[ $(jq -c '[.[] | [.parent, .uidmap, .gidmap] | select(.[0])] | unique | length' "$store/overlay-layers/layers.json") == 1 ]]
	[[ $(jq -c '[.[] | [.image, .uidmap, .gidmap]] | unique | length' "$store/overlay-containers/containers.json") == 1 ]]
	[[ $(u inspect --format '{{.Config.User}} {{.HostConfig.IDMappings}}' ours) == "$(podman inspect --format '{{.Config.User}} {{.HostConfig.IDMappings}}' theirs)" ]]
	podman rm theirs
	local -a cases=('--userns keep-id:uid=5,gid=7,size=1000' '--userns keep-id:uid=0' '--userns nomap' '--uidmap 0:5:10' '--uidmap +0:@4711:1' '--uidmap +5:@4711:1'
		'--uidmap u0:1:5' '--userns private' '--userns host' '--userns keep-id -u root' '--userns keep-id -u 5:6')
	for c in "${cases[@]}"; do
		# shellcheck disable=SC2086
		ours=$(u run --rm --cgroups disabled --network none $c busybox sh -c "$maps; id" 2>&1) && a=0 || a=$?
		# shellcheck disable=SC2086
		theirs=$(podman run --rm --network none $c busybox sh -c "$maps; id" 2>&1) && b=0 || b=$?
		[[ $a == "$b" && $ours == "$theirs" ]] || { printf '%s\nours %s: %s\ntheirs %s: %s\n' "$c" $a "$ours" $b "$theirs"; return 1; }
	done
	u system check
	net_outside
	[[ $(u run --rm --cgroups disabled --userns keep-id -p 18081:81 busybox sh -c 'ip -4 -o addr; id -u; cat /etc/hosts') == *192.0.2.1*$'\n4711\n'* ]]
	user mkdir "$home/ov"
	for o in host keep-id; do
		[[ $(u run --rm --cgroups disabled --userns $o -v "$home/ov:/v:O" --network none busybox sh -c 'echo x >/v/g; ls /v') == g && -z $(ls "$home/ov") ]]
	done
	# What it wrote is everybody's, once it is an image.
	u run --cgroups disabled --name writes --userns keep-id --network none busybox sh -c 'touch /tmp/mine; mkdir /tmp/d'
	u commit -q writes mine
	[[ $(u run --rm --cgroups disabled --network none mine stat -c %u:%g /tmp/mine /bin/busybox | tr '\n' ' ') == '4711:4711 0:0 ' ]]
	[[ $(podman image inspect --format '{{len .RootFS.Layers}}' mine) == 2 ]]
	u rm writes
	u rmi mine
	podman rm -f ours
	[[ $(u run --rm --cgroups disabled --userns auto:size=100 --network none busybox sh -c "$maps") == ' 0 1 100 0 1 100 ' ]]
	u rmi busybox
	[[ $(ls "$store/overlay") == $'l\ntempdirs' ]]
}

@test "with vfs the container's tree is chowned" {
	store_new vfs
	HOY_OPTS+=(--storage-driver vfs)
	PODMAN_OPTS=("${PODMAN_OPTS[@]/overlay/vfs}")
	hoy load -q -i "$(fixture busybox)/docker.tar"
	hoy run --name c --uidmap "$map" --network none busybox sh -c 'touch /x; mkdir /d; chown 5:6 /d; stat -c %u:%g / /bin /x /bin/vi' >out
	[[ $(tr '\n' ' ' <out) == '0:0 0:0 0:0 0:0 ' ]]
	[[ $(jq -c '.[] | select(.names == ["c-layer"]) | .uidmap' "$ROOT/vfs-layers/layers.json") == '[{"container_id":0,"host_id":100000,"size":65536}]' ]]
	[[ $(find "$ROOT/vfs/dir/$(jq -r '.[] | select(.names == ["c-layer"]) | .id' "$ROOT/vfs-layers/layers.json")" -uid -100000 -o -gid -100000) == '' ]]
	hoy commit -q c mine
	[[ $(hoy run --rm --network none mine stat -c %u:%g / /bin /x /d /bin/vi | tr '\n' ' ') == '0:0 0:0 0:0 5:6 0:0 ' ]]
	hoy system check
	hoy rm c
	hoy rmi mine busybox
	[[ -z $(ls "$ROOT/vfs/dir") ]]
}

@test "without any of it nothing is done for it" {
	have_image busybox
	calls() { strace -f -qq -o trace "$HOY_BIN/hoy" "${HOY_OPTS[@]}" run --rm --network none busybox true; grep -c -e userns.lock -e idmapped -e NEWUSER -e passwd trace; }
	[[ $(calls) == 1 || $(calls) == 2 ]] # passwd is looked at for root's home
	[[ ! -e $ROOT/userns.lock ]] || [[ ! -s $ROOT/userns.lock ]]
	[[ ! -e $RUNROOT/overlay/idmapped-lower-dir-true || $(grep -c idmapped trace) == 0 ]]
}
