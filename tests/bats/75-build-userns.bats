#!/usr/bin/env bats
# User namespaces of builds: whose files are, inside, in the store and in the image; as buildah's, and together with it.

load ../lib/hoy

maps='cat /proc/self/uid_map /proc/self/gid_map | tr -s " \n" " "'
args=(--userns-uid-map 0:100000:65536 --userns-gid-map 0:200000:65536)

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}

# What the store has on the container $1: its maps, those of its layer, and its settings about them.
record() {
	local id
	id=$(hoy_build inspect -f '{{.ContainerID}}' "$1")
	jq -cS ".[] | select(.id == \"$id\") | {uidmap, gidmap, layer}" "$ROOT"/overlay-containers/volatile-containers.json >rec
	jq -cS 'del(.layer)' rec
	jq -cS ".[] | select(.id == \"$(jq -r .layer rec)\") | {uidmap, gidmap}" "$ROOT"/overlay-layers/volatile-layers.json
	jq -cS '.IDMappingOptions, .NamespaceOptions' "$ROOT/overlay-containers/$id/userdata/buildah.json"
}

owners() { (cd "$1" && find . -mindepth 1 ! -path './bin/*' -printf '%P %y %m %U:%G\n' | sort); }

# Those of the files in image $1.
image_owners() {
	local dir
	dir=$(hoy image mount "$1")
	owners "$dir"
	hoy image umount "$1" >/dev/null
}

# The image's user is one of the test area's, whom no other test may be at the time.
with_auto() {
	printf '[storage]\ndriver = "overlay"\n[storage.options]\nroot-auto-userns-user = "hoytest"\n' >storage.conf
	export CONTAINERS_STORAGE_CONF=$PWD/storage.conf
}

@test "from: maps in the records and settings, what commands see, and what is committed, are buildah's" {
	have_image busybox
	mkdir -p dir/sub
	echo hello >dir/sub/file
	tar -cf arch.tar --owner=3 --group=4 dir
	for who in oracle_buildah hoy_build; do
		c=$($who from --name "c-$who" "${args[@]}" busybox)
		[[ $($who run "$c" -- sh -c "$maps; id -u") == ' 0 100000 65536 0 200000 65536 0' ]]
		record "$c" >"$who.record"
		$who run "$c" -- sh -c 'touch /a; chown 5:6 /a; mkdir -p /d/e; chmod 700 /d' >/dev/null
		$who run --user 33 --workingdir /tmp "$c" -- touch /tmp/mine
		$who copy -q "$c" dir /into/it
		$who copy -q --chown 7:8 "$c" dir/sub/file /file
		$who add -q "$c" arch.tar /unpacked
		m=$($who mount "$c")
		owners "$m" >"$who.mounted"
		[[ $(stat -c %u:%g "$m/a" "$m/into/it/sub/file" "$m/file" "$m/unpacked/dir/sub/file" "$m/tmp/mine") == $'100005:200006\n100000:200000\n100007:200008\n100003:200004\n100033:200000' ]]
		$who umount "$c" >/dev/null
		$who commit -q --rm "$c" "$who" >/dev/null
		image_owners "$who" >"$who.owners"
	done
	diff oracle_buildah.record hoy_build.record
	diff oracle_buildah.owners hoy_build.owners
	grep -qx 'a f 644 5:6' hoy_build.owners && grep -qx 'unpacked/dir/sub/file f 644 3:4' hoy_build.owners
	# (buildah's image would have it still.)
	c=$(hoy_build from "${args[@]}" busybox)
	hoy_build run "$c" -- rm -r /etc/group /www
	hoy_build commit -q --rm "$c" less >/dev/null
	[[ $(comm -3 <(image_owners busybox) <(image_owners less)) == $'etc/group f 644 0:0\nwww d 755 0:0\nwww/index.html f 644 0:0' ]]
	# (Mount points that buildah leaves until the commit aside.)
	diff <(grep -vE '^(dev|etc|run|sys)/' oracle_buildah.mounted) <(grep -vE '^(dev|etc|run|sys)/' hoy_build.mounted)
}

@test "one begins, the other goes on: both ways" {
	have_image busybox
	echo x >file
	for order in 'oracle_buildah hoy_build' 'hoy_build oracle_buildah'; do
		read -r first second <<<"$order"
		c=$($first from "${args[@]}" busybox)
		$first run "$c" -- sh -c 'touch /one; chown 1:1 /one'
		[[ $($second run "$c" -- sh -c "$maps; stat -c %u:%g /one; touch /two; chown 2:2 /two /one") == $' 0 100000 65536 0 200000 65536 1:1' ]]
		$second copy -q "$c" file /three
		$first copy -q --chown 4:4 "$c" file /four
		[[ $($first run "$c" -- stat -c %u:%g /one /two /three /four | xargs) == '2:2 2:2 0:0 4:4' ]]
		for who in $first $second; do
			$who commit -q "$c" "by-$who" >/dev/null
			[[ $(hoy run --rm --network none "by-$who" stat -c %u:%g /one /two /three /four | xargs) == '2:2 2:2 0:0 4:4' ]]
		done
		$second rm "$c" >/dev/null
	done
}

@test "from: a namespace with the same ids, one that is there, ids by name, global options" {
	have_image busybox
	own=$(readlink /proc/self/ns/user)
	for who in oracle_buildah hoy_build; do
		c=$($who from --name "same-$who" --userns private busybox)
		[[ $($who run "$c" -- readlink /proc/self/ns/user) != "$own" ]]
		[[ $($who run "$c" -- sh -c "$maps") == ' 0 0 4294967295 0 0 4294967295 ' ]]
		record "$c" >"$who.record"
		c=$($who from --name "host-$who" --userns host busybox)
		[[ $($who run "$c" -- readlink /proc/self/ns/user) == "$own" ]]
		record "$c" >>"$who.record"
		c=$($who --userns-uid-map 0:1000:2000 from --name "global-$who" busybox)
		[[ $($who run "$c" -- sh -c "$maps") == ' 0 1000 2000 0 1000 2000 ' ]]
		record "$c" >>"$who.record"
		c=$($who from --name "name-$who" --userns-uid-map-user hoytest busybox)
		record "$c" >>"$who.record"
		c=$($who from --name "group-$who" --userns-gid-map-group hoytest --userns-uid-map 70000:5:1 busybox)
		record "$c" >>"$who.record"
	done
	diff oracle_buildah.record hoy_build.record
	[[ $(hoy_build run name-hoy_build -- sh -c "$maps") == ' 0 471100000 65536 0 471100000 65536 ' ]]
	# buildah takes a path for nothing; ours joins that, and its ids are the container's.
	unshare -U sleep 1000 3>&- &
	pid=$!
	pid_record $pid
	until_true 5 eval '[[ $(readlink /proc/$pid/ns/user) != $own ]]'
	try hoy_build from --userns "ns:/proc/$pid/ns/user" busybox
	assert_error "the user namespace '/proc/$pid/ns/user' has no ids yet"
	echo '0 300000 1000' >/proc/$pid/uid_map
	echo '0 300000 1000' >/proc/$pid/gid_map
	c=$(hoy_build from --userns "ns:/proc/$pid/ns/user" busybox)
	[[ $(hoy_build run "$c" -- sh -c 'readlink /proc/self/ns/user; touch /f; chown 9:9 /f') == "$(readlink /proc/$pid/ns/user)" ]]
	m=$(hoy_build mount "$c")
	[[ $(stat -c %u:%g "$m/f" "$m/bin") == $'300009:300009\n300000:300000' ]]
	hoy_build umount "$c"
	hoy_build commit -q "$c" joined
	[[ $(hoy run --rm --network none joined stat -c %u:%g /f) == 9:9 ]]
}

@test "from: --userns=auto" {
	have_image busybox
	try hoy_build from --userns auto busybox
	assert_error 'creating container: no ranges found for user "containers" in /etc/subuid: not enough unused IDs in user namespace'
	with_auto
	for o in auto auto:size=500 auto:size=20,uidmapping=5:100:2,gidmapping=0:200:1; do
		c=$(hoy_build from --userns $o busybox)
		theirs=$(oracle_buildah from --userns $o busybox)
		for k in uid gid; do
			diff <(hoy_build run "$c" -- sort /proc/self/${k}_map | sed 's/4711[0-9]*/X/g') <(oracle_buildah run "$theirs" -- sort /proc/self/${k}_map | sed 's/4711[0-9]*/X/g')
		done
	done
	# Nobody has another one's ids.
	[[ -z $(jq -r '.[].uidmap[].host_id' "$ROOT"/overlay-containers/volatile-containers.json | sort | uniq -d | grep 4711) ]]
	hoy_build run "$c" -- sh -c 'touch /f; chown 7:7 /f'
	[[ $(oracle_buildah run "$c" -- stat -c %u:%g /f) == 7:7 ]]
	hoy_build commit -q "$c" chosen >/dev/null
	[[ $(hoy run --rm --network none chosen stat -c %u:%g /f /bin | xargs) == '7:7 0:0' ]]
	echo 'FROM busybox
	RUN touch /f && chown 3:4 /f
	COPY --chown=5 storage.conf /c' >Containerfile
	hoy_build build -q --userns auto -t auto . >/dev/null
	[[ $(hoy run --rm --network none auto stat -c %u:%g /f /c | xargs) == '3:4 5:5' ]]
	try hoy_build build --userns auto:size=x .
	assert_error "the size 'x' is no number"
}

@test "from: what cannot be is refused" {
	have_image busybox
	while IFS='|' read -r options want; do
		# shellcheck disable=SC2086
		try hoy_build from $options busybox
		assert_error "$want"
		# shellcheck disable=SC2086
		try hoy_build build $options -f - . <<<'FROM busybox'
		assert_error "$want"
	done <<-'END'
		--userns host --userns-uid-map 0:1:2|can not specify ID mappings while using host's user namespace
		--userns-uid-map 0:1|userns-uid-map setting is malformed expected ["uint32:uint32:uint32"]: ["0:1"]
		--userns-gid-map 0:1:x|userns-gid-map setting is malformed
		--userns-gid-map 0:1:-1|userns-gid-map setting is malformed
		--userns-uid-map 0:1:4294967296|userns-uid-map setting is malformed
		--userns-uid-map 1:4294967295:2|--userns-uid-map=1:4294967295:2
		--userns-uid-map 0:1:2,1:5:2|the specified UID and/or GID mapping 1:5:2 conflicts with other mappings
		--userns-uid-map-user nosuch|no subuid ranges found for user "nosuch" in /etc/subuid
		--userns-gid-map-group nosuch|no subuid ranges found for user "nosuch" in /etc/subuid
		--userns /nowhere|checking user namespace: '/nowhere'
		--userns ns:/etc/passwd|the user namespace '/etc/passwd' cannot be joined
		--userns automatic|--userns must be host, private, auto[:OPTIONS] or a path
		--userns auto:foo=1|unknown option specified: "foo"
		--userns auto:foo|invalid option specified: "foo"
		--userns auto --userns-uid-map 0:1:2|--userns=auto chooses ids
	END
	[[ -z $(hoy_build containers -q) ]]
	try hoy_build --userns-uid-map 0:1 from busybox
	assert_error 'userns-uid-map setting is malformed'
	try hoy_build --userns-uid-map
	assert_error 'flag needs an argument: --userns-uid-map'
	# An owner who is nobody in there.
	c=$(hoy_build from --userns-uid-map 0:100000:100 busybox)
	echo x >file
	try hoy_build copy --chown 200 "$c" file /
	assert_error 'container ID 200 cannot be mapped to a host ID'
}

@test "build: one container or layers, all that makes files, and mounts; as buildah's" {
	have_image busybox
	mkdir -p ctx/dir
	echo fff >ctx/f
	chmod 600 ctx/f
	ln -s f ctx/dir/link
	tar -cf ctx/a.tar --owner=3 --group=4 -C ctx f
	echo secret >sec
	export TMPDIR=$T/tmp
	cat >ctx/Containerfile <<-'END'
		FROM busybox AS one
		USER 7
		WORKDIR /made/by/seven
		USER 0
		WORKDIR /made/by/root
		RUN touch /a && chown 9:10 /a && mkdir /d && chown 11:12 /d && touch /d/x
		COPY --chown=20:21 f /d/f
		COPY f dir /e/
		ADD a.tar /un
		RUN cat /proc/self/uid_map; echo more >>/etc/passwd; rm /e/link
		RUN --mount=type=bind,source=a.tar,target=/mnt/f stat -c %u:%g /mnt/f
		RUN --mount=type=bind,from=busybox,target=/mnt/i stat -c %u:%g /mnt/i/etc
		RUN --mount=type=cache,target=/cache,id=75-one stat -c %u:%g /cache && touch /cache/x && stat -c %u:%g /cache/x
		RUN --mount=type=cache,target=/cache,id=75-two,uid=5 stat -c %u:%g /cache
		RUN --mount=type=secret,id=s,uid=3 stat -c '%u:%g %a' /run/secrets/s && cat /run/secrets/s
		RUN --mount=type=tmpfs,target=/tt stat -c %u:%g /tt && touch /tt/x
		RUN <<X
		id -u >/id
		X
		FROM busybox
		COPY --from=one /a /made /un /
		COPY --from=one --chown=1 /d /d
		RUN --mount=type=bind,from=one,target=/mnt/o stat -c %u:%g /mnt/o/a
	END
	for layers in false true; do
		oracle_buildah build --no-cache --network none --secret id=s,src=sec --layers=$layers "${args[@]}" -t theirs ctx >theirs.out 2>/dev/null
		hoy_build build --no-cache --network none --secret id=s,src=sec --layers=$layers "${args[@]}" -t ours ctx >ours.out 2>/dev/null
		diff <(grep -v '^STEP\|^\[\|^-->\|^COMMIT\|^Success\|^[0-9a-f]*$' theirs.out) <(grep -v '^STEP\|^\[\|^-->\|^COMMIT\|^Success\|^[0-9a-f]*$' ours.out)
		diff <(image_owners theirs) <(image_owners ours)
	done
	[[ -z $(hoy_build containers -q -a) && -z $(mounts_below "$ROOT") ]]
	rm -rf "$T"/tmp/buildah-cache-*
}

@test "build: --link, volumes and the isolation chroot in a user namespace" {
	have_image busybox
	mkdir ctx
	echo f >ctx/f
	cat >ctx/Containerfile <<-'END'
		FROM busybox
		COPY --link --chown=3:4 f /linked/f
		VOLUME /vol
		RUN cat /proc/self/uid_map; stat -c %u:%g /vol /linked /linked/f; touch /vol/x /y; chown 5:6 /y
		WORKDIR /w
		USER 8
		RUN id -u; touch /tmp/eight
	END
	for isolation in oci chroot; do
		for layers in false true; do
			# (With layers, the directory is made by the first who runs in it, as buildah has it.)
			dir=0:0
			[[ $layers == false ]] || dir=8:8
			hoy_build build -q --stdin --no-cache --network host --isolation $isolation --layers=$layers "${args[@]}" -t got ctx >/dev/null
			[[ $(hoy run --rm --network none got stat -c %u:%g /linked /linked/f /vol/x /y /w /tmp/eight | xargs | tee got) == "3:4 3:4 0:0 5:6 $dir 8:0" ]] || { echo "$isolation $layers: $(<got)"; return 1; }
		done
		hoy_build build --no-cache --network host --isolation $isolation --layers "${args[@]}" ctx >out
		grep -q '^ *0 *100000 *65536$' out
		[[ $(grep -E '^[0-9]+:[0-9]+$' out | xargs) == '0:0 3:4 3:4' ]]
	done
	# A chroot's files are the namespace's root's, the machine's stay the machine's.
	c=$(hoy_build from --isolation chroot "${args[@]}" busybox)
	[[ $(hoy_build run --user 33 -v "$PWD/ctx:/new/dir" --workingdir /wd "$c" -- sh -c 'stat -c %u:%g /wd /new /new/dir/f /etc/hosts /etc/resolv.conf; id -u' | xargs) == '0:0 0:0 65534:65534 0:0 0:0 33' ]]
	try hoy_build run "$c" -- sh -c 'chown 0 /sys/kernel || mount -t tmpfs x /mnt || dmesg'
	[[ $status != 0 ]]
	hoy_build commit -q --rm "$c" chrooted >/dev/null
	[[ $(hoy run --rm --network none chrooted stat -c %u:%g /wd /new | xargs) == '0:0 0:0' ]]
}

@test "an ordinary user's builds, in a namespace within the user's" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	mkdir -p "$U/bin" "$U/app"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	echo x >"$U/app/f"
	printf 'FROM busybox\nCOPY --chown=3:4 f /f\nRUN %s; touch /y; chown 5:6 /y; stat -c %%u:%%g /f\n' "$maps" >"$U/app/Containerfile"
	chown -R hoytest "$U/app"
	u() { as_user "$U/bin/hoy-build" --runtime "$U/bin/hoy-runtime" "$@"; }
	b() { as_user buildah "$@"; }
	user=(--userns-uid-map 0:1:1000 --userns-gid-map 0:2000:500)
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	for isolation in oci chroot; do
		c=$(u from "${user[@]}" --isolation $isolation busybox)
		[[ $(u run --network host "$c" -- sh -c "$maps; touch /one; chown 5:6 /one /bin; id -u") == ' 0 1 1000 0 2000 500 0' ]]
		[[ $(b run --network host --isolation oci "$c" -- sh -c 'stat -c %u:%g /one /bin; touch /two; chown 7 /two' | xargs) == '5:6 5:6' ]]
		u copy -q --chown 3 "$c" "$U/app/f" /f
		[[ $(u run --network host "$c" -- stat -c %u:%g /two /f | xargs) == '7:0 3:3' ]]
		u commit -q "$c" "mine-$isolation" >/dev/null
		u rm "$c" >/dev/null
		[[ $(as_user podman run --rm --network none "mine-$isolation" stat -c %u:%g /one /bin /two /f | xargs) == '5:6 5:6 7:0 3:3' ]]
		u build --no-cache -q --network host --isolation $isolation "${user[@]}" -t "built-$isolation" app >/dev/null
		[[ $(as_user podman run --rm --network none "built-$isolation" stat -c %u:%g /f /y /bin | xargs) == '3:4 5:6 0:0' ]]
	done
	c=$(b from "${user[@]}" busybox)
	b run --network host "$c" -- sh -c 'touch /one; chown 8:8 /one'
	[[ $(u run --network host "$c" -- stat -c %u:%g /one /bin | xargs) == '8:8 0:0' ]]
	# No namespace within one has ids that are not there.
	c=$(u from --userns-uid-map 0:70000:10 busybox 2>err) || c=''
	[[ -z $c ]] || not u run --network host "$c" -- true
	[[ $(u run --network host "$(u from --userns private busybox)" -- sh -c "$maps") == ' 0 0 1 1 1 65536 0 0 1 1 1 65536 ' ]]
	u rm -a >/dev/null
}
