#!/usr/bin/env bats
# Working containers: buildah's verbs, side by side with buildah on one store.

load ../lib/hoy

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}

# The ids of the image that `oracle_buildah commit` and `hoy-build commit` make of container $1 with the options behind it: times are
# given, so that all of it is the same or nothing.
same_image() {
	local theirs ours
	theirs=$(oracle_buildah commit -q "${@:2}" "$1") || return 1
	ours=$(hoy_build commit -q "${@:2}" "$1") || return 1
	[[ $theirs == "$ours" ]] || {
		echo "commit ${*:2} $1:"
		diff <(hoy image inspect "$theirs") <(hoy image inspect "$ours")
		return 1
	}
}

# Both inspect container $1: no difference.
same_settings() { diff <(oracle_buildah inspect "$1") <(hoy_build inspect "$1"); }

settings() { hoy_build inspect "$1" | jq -S "del(.ContainerID, .Container, .Docker.container_config, .Docker.created, .OCIv1.created, .History[]?.created) | ${2:-.}"; }

@test "from: names, ids, scratch, and what is not there" {
	have_image busybox
	try hoy_build from busybox
	assert_success
	assert_stdout busybox-working-container
	try oracle_buildah from busybox
	assert_stdout busybox-working-container-1
	try hoy_build from --cidfile id localhost/busybox:latest
	assert_stdout busybox-working-container-2
	[[ $(<id) == $(hoy_build inspect -f '{{.ContainerID}}' busybox-working-container-2) ]]
	try hoy_build from scratch
	assert_stdout working-container
	try hoy_build from --name mine busybox
	assert_stdout mine
	try hoy_build from --name mine busybox
	assert_status 125
	assert_error 'creating container: the container name "mine" is already in use by '
	hoy tag busybox localhost:5000/a/b:c
	try hoy_build from localhost:5000/a/b:c
	assert_stdout localhost-working-container
	try hoy_build from --pull=never nosuch
	assert_status 125
	try hoy_build from
	assert_status 125
	assert_error 'an image name (or "scratch") must be specified'
	try hoy_build from busybox --name x
	assert_error 'no options (--name) can be specified after the image or container name'
}

@test "from: the settings are those that buildah writes" {
	local o i=0
	local -a options=("" "--network none" "--network host" "--network some" "--pid host --uts host --ipc host --cgroupns host"
		"--cap-add NET_ADMIN,SYS_TIME --cap-drop CHOWN" "--cap-drop all --cap-add kill" "--format docker --isolation chroot"
		"--memory 1g --memory-swap 2g --cpu-shares 5 --cpu-period 1000 --cpu-quota 2000 --cpuset-cpus 0 --cpuset-mems 0 --shm-size 1m"
		"--security-opt seccomp=unconfined --security-opt label=disable --security-opt no-new-privileges --security-opt mask=/a:/b --security-opt apparmor=foo"
		"--add-host a:1.2.3.4 --dns 1.1.1.1 --dns-option x --dns-search y --group-add 5 --cgroup-parent /x --http-proxy=false"
		"--volume /tmp:/t:ro --device /dev/null")
	have_image busybox
	for o in "${options[@]}"; do
		hoy_build from --name "ours-$i" $o busybox
		oracle_buildah from --name "theirs-$i" $o busybox
		for who in ours theirs; do
			jq -S 'del(.["container-name"], .["container-id"], .docker.config.Hostname, .docker.container_config.Hostname, .CommonBuildOpts.Ulimit)
				| if .CommonBuildOpts.SeccompProfilePath == "/usr/share/containers/seccomp.json" then .CommonBuildOpts.SeccompProfilePath = "" else . end' \
				"$ROOT"/overlay-containers/"$(hoy_build inspect -f '{{.ContainerID}}' "$who-$i")"/userdata/buildah.json >"$who.json"
		done
		diff theirs.json ours.json || { echo "from $o"; return 1; }
		i=$((i + 1))
	done
}

@test "a scripted build gives the image that buildah's gives" {
	have_image busybox
	echo hello >file
	mkdir -p dir/sub && echo deep >dir/sub/deep && chmod 700 dir/sub
	tar -cf arch.tar dir
	for who in oracle_buildah hoy_build; do
		c=$($who from busybox)
		$who run "$c" -- sh -c 'echo made >/made; mkdir /d; rm /etc/group' >/dev/null
		$who copy -q --chown 7:8 --chmod 640 "$c" file /copied
		$who copy -q "$c" file dir /into/
		$who add -q "$c" arch.tar /unpacked
		$who config --env A=1 --env 'B=$A-x' --label k=v --cmd 'a "b c"' --workingdir /w --user 5 --port 90 --volume /vol --author me "$c" 2>/dev/null
		$who commit -q --rm --timestamp 100 "$c" "$who" >"$who.id"
		hoy image inspect "$who" | jq -S '.[0] | {Config, Author, History, Annotations, ManifestType}' >"$who.json"
	done
	diff oracle_buildah.json hoy_build.json
	a=$(hoy image mount oracle_buildah) b=$(hoy image mount hoy_build)
	diff <(cd "$a" && find . -mindepth 1 -printf '%P %y %m %U:%G %l %s\n' | sort) <(cd "$b" && find . -mindepth 1 -printf '%P %y %m %U:%G %l %s\n' | sort)
	hoy image umount oracle_buildah hoy_build >/dev/null
	[[ -z $(hoy_build containers -q) ]]
}

@test "one begins, the other goes on: both ways, one image" {
	have_image busybox
	echo hello >file
	c=$(oracle_buildah from busybox)
	hoy_build run "$c" -- sh -c 'echo x >/x; echo y >/etc/y'
	hoy_build copy -q "$c" file /file
	hoy_build config --env A=1 --label b=c --annotation d=e --history-comment why --created-by me "$c"
	same_settings "$c"
	same_image "$c" --timestamp 50
	same_image "$c" --timestamp 50 -f docker
	same_image "$c" --source-date-epoch 50
	c=$(hoy_build from busybox)
	oracle_buildah run "$c" -- sh -c 'echo x >/x; echo y >/etc/y'
	oracle_buildah copy -q "$c" file /file
	oracle_buildah config --env A=1 --label b=c --annotation d=e "$c"
	same_settings "$c"
	same_image "$c" --timestamp 51
	same_image "$c" --squash --timestamp 51
	same_image "$c" --omit-history --source-date-epoch 51
	same_image "$c" --timestamp 51 --unsetenv PATH --annotation x=y --unsetannotation d --created-annotation=false --identity-label=false
	hoy_build rm "$c" >/dev/null
	[[ $(oracle_buildah containers -q | wc -l) == 1 ]]
}

@test "config: each option as buildah has it" {
	local o
	local -a options=("--env A=1 --env A=2" "--env PATH-" "--env -" "--label a=b --label c" "--label a-" "--label -" "--unsetlabel c" "--port 80,90/udp --port 80/tcp-"
		"--port -" "--volume /a --volume /b" "--volume /a-" "--volume -" "--annotation a=b --annotation c" "--annotation a-" "--unsetannotation c"
		"--annotation -" "--arch arm64 --variant v8 --os linux --os-version 1 --os-feature x --os-feature y" "--os-feature x-" "--os-feature -"
		"--author someone" "--cmd [\"x\",\"y\"]" "--cmd x" "--entrypoint [\"/e\"]" "--entrypoint /e" "--user u:g" "--workingdir /q"
		"--stop-signal 9" "--shell /bin/sh" "--comment c" "--domainname d" "--hostname h" "--onbuild RUN" "--created-by x" "--history-comment y"
		"--healthcheck CMD --healthcheck-interval 5s --healthcheck-retries 2 --healthcheck-timeout 1m --healthcheck-start-period 1s")
	have_image busybox
	for format in oci docker; do
		hoy_build from --format $format --name "ours-$format" busybox
		oracle_buildah from --format $format --name "theirs-$format" busybox
		for o in "${options[@]}"; do
			hoy_build config --add-history $o "ours-$format" 2>/dev/null
			oracle_buildah config --add-history $o "theirs-$format" 2>/dev/null
			diff <(settings "theirs-$format" 'del(.Docker.config.Hostname)') <(settings "ours-$format" 'del(.Docker.config.Hostname)') || {
				echo "config $o ($format)"
				return 1
			}
		done
	done
	for o in "--cmd a\"b" "--env NOSUCHVAR" "--healthcheck-interval x"; do
		try hoy_build config $o ours-oci
		assert_status 125
		try oracle_buildah config $o ours-oci
		assert_status 125
	done
	try hoy_build config --hostname h ours-oci
	assert_stderr_has 'HOSTNAME is not supported for OCI'
}

@test "config: what is taken away or empty; the image is the same one, to the order of its members" {
	local o who
	local -a options=("--volume=/v- --cmd=[]" "--entrypoint=[] --shell=" "--shell=/bin/x" "--healthcheck-retries=3 --healthcheck-start-period=5s"
		"--healthcheck-interval=0s --healthcheck-retries=0" "--label=a- --unsetannotation=x")
	for o in "${options[@]}"; do
		for who in hoy_build oracle_buildah; do
			c=$($who from scratch)
			$who config $o "$c" 2>/dev/null
			$who commit -q --rm --timestamp 0 --format docker "$c"
		done >ids
		[[ $(sort -u ids | wc -l) == 1 && $(wc -l <ids) == 2 ]] || { echo "config $o: $(<ids)"; return 1; }
	done
}

@test "config: what cannot be is an error, and changes nothing" {
	c=$(hoy_build from scratch)
	before=$(hoy_build inspect "$c")
	try hoy_build config --env A=1 --cmd "a'b" "$c"
	assert_status 125
	assert_error 'parsing --cmd'
	[[ $(hoy_build inspect "$c") == "$before" ]]
	try hoy_build config
	assert_error 'container ID must be specified'
	try hoy_build config nosuch
	assert_error 'reading build container "nosuch": container not known'
	try hoy_build config "$c" --env A=1
	assert_error 'no options (--env) can be specified after the container name'
}

@test "run: exit codes, streams, user, directory, environment" {
	have_image busybox
	c=$(hoy_build from busybox)
	try hoy_build run "$c" -- sh -c 'echo out; echo err >&2; exit 7'
	assert_status 7
	assert_stdout out
	assert_stderr_like 'err.*Error: while running runtime: exit status 7'
	try hoy_build run "$c" cat <<<"from stdin"
	assert_stdout "from stdin"
	hoy_build config --env A=1 --workingdir /some/where --user 7:8 "$c"
	try hoy_build run --env B=2 "$c" -- sh -c 'echo $A $B $(pwd) $(id -u):$(id -g) $(hostname)'
	assert_stdout "1 2 /some/where 7:8 $(hoy_build inspect -f '{{.ContainerID}}' "$c" | cut -c1-12)"
	try hoy_build run --user 9 --workingdir /tmp --hostname h "$c" -- sh -c 'echo $(pwd) $(id -u) $(hostname)'
	assert_stdout "/tmp 9 h"
	try hoy_build run "$c"
	assert_status 125
	assert_error 'command must be specified'
	try hoy_build run nosuch true
	assert_error 'reading build container "nosuch": container not known'
	try hoy_build run --isolation nosuch "$c" true
	assert_error 'unrecognized isolation type "nosuch"'
}

@test "run: capabilities, namespaces, mounts and limits of the container and of the command" {
	have_image busybox
	mkdir vol && echo v >vol/f
	c=$(hoy_build from --cap-drop all --cap-add chown --network none --volume "$T/vol:/v:ro" --ulimit nofile=100:200 --add-host some:1.2.3.4 busybox)
	try hoy_build run "$c" -- sh -c 'grep CapEff /proc/self/status; cat /v/f; ulimit -n; ls /sys/class/net'
	assert_stdout $'CapEff:\t0000000000000001\nv\n100\nlo'
	try oracle_buildah run "$c" -- sh -c 'grep CapEff /proc/self/status; cat /v/f; ulimit -n; ls /sys/class/net'
	assert_stdout $'CapEff:\t0000000000000001\nv\n100\nlo'
	try hoy_build run --cap-add kill --volume "$T/vol:/w" --mount type=tmpfs,destination=/t --network host "$c" -- sh -c 'grep CapEff /proc/self/status; cat /w/f; grep -c " /t tmpfs" /proc/mounts; echo new >/w/g'
	assert_stdout $'CapEff:\t0000000000000021\nv\n1'
	[[ $(<vol/g) == new ]]
	try hoy_build run "$c" -- sh -c 'echo x >/v/f'
	assert_status 1
	hoy_build run --network host "$c" -- grep -q some /etc/hosts
	try hoy_build run --cap-drop chown "$c" -- grep CapEff /proc/self/status
	assert_stdout $'CapEff:\t0000000000000000'
}

@test "run: nothing of its own stays in the layer; a volume's content neither" {
	have_image busybox
	c=$(hoy_build from busybox)
	hoy_build config --volume /vol "$c"
	hoy_build run "$c" -- sh -c 'echo x >/vol/x; mkdir -p /var/y; echo z >/var/y/z'
	try hoy_build run "$c" -- cat /vol/x
	assert_stdout x
	hoy_build commit -q "$c" made >/dev/null
	m=$(hoy image mount made)
	[[ -d $m/vol && ! -e $m/vol/x && $(<"$m/var/y/z") == z ]]
	[[ ! -e $m/etc/resolv.conf && ! -e $m/run/.containerenv ]]
	hoy image umount made >/dev/null
	layer=$(hoy_build mount "$c")
	hoy_build umount "$c" >/dev/null
	[[ ! -e ${layer%/merged}/diff/dev && ! -e ${layer%/merged}/diff/etc ]]
}

@test "run: a terminal" {
	have_image busybox
	c=$(hoy_build from busybox)
	# Nothing is typed, but it isn't the end of what is.
	mkfifo typed
	background sh -c 'exec sleep 100 >typed'
	try script -qec "$(printf '%q ' "$HOY_BIN/hoy-build" "${HOY_OPTS[@]}" run "$c" -- sh -c 'tty; test -t 0 && echo yes')" /dev/null <typed
	assert_success
	assert_stdout_has /dev/pts/0
	assert_stdout_has yes
	try hoy_build run --terminal=false "$c" -- tty
	assert_stdout 'not a tty'
}

@test "run: a signal ends the command, and nothing is left" {
	have_image busybox
	c=$(hoy_build from busybox)
	for signal in TERM INT HUP; do
		background "$HOY_BIN/hoy-build" "${HOY_OPTS[@]}" run "$c" -- sh -c 'echo here; sleep 1000' >out
		pid=$!
		until_true 20 grep -q here out
		kill -$signal $pid
		status=0
		wait $pid || status=$?
		[[ $status == $((128 + $(builtin kill -l $signal))) ]]
		[[ -z $(hoy ps -aq) ]]
		run ! grep -q "$ROOT/overlay/" /proc/mounts
	done
	hoy_build run "$c" true
}

@test "copy and add: digests, history, contexts, ignore files, other containers and images" {
	have_image busybox
	mkdir -p ctx/d && echo a >ctx/a && echo b >ctx/d/b && echo no >ctx/d/no && echo d/no >ignore
	for who in oracle_buildah hoy_build; do
		c=$($who from --name "$who" busybox)
		$who copy "$c" ctx/a /1
		$who copy --add-history "$c" ctx/a ctx/d /2/
		$who copy --add-history --contextdir ctx "$c" a /3
		$who copy --add-history --contextdir ctx --ignorefile ignore "$c" d /4
		$who add --add-history "$c" ctx/a
		$who copy --from busybox "$c" /etc/passwd /5
		$who copy --from "$c" "$c" /1 /6
	done >out
	n=$(($(wc -l <out) / 2))
	diff <(head -n $n out) <(tail -n $n out)
	diff <(settings oracle_buildah .History) <(settings hoy_build .History)
	for who in oracle_buildah hoy_build; do
		hoy_build run $who -- sh -c 'cd / && find 1 2 3 4 5 6 a | sort; cat 1 3 6 a' >"$who.tree"
	done
	diff oracle_buildah.tree hoy_build.tree
	try hoy_build copy hoy_build nosuch /x
	assert_status 125
	assert_stderr_has 'adding content to container "hoy_build"'
	try hoy_build copy hoy_build
	assert_error 'src must be specified'
	try hoy_build copy --ignorefile ignore hoy_build ctx/a /
	assert_error '--ignorefile option requires that you specify a context dir using --contextdir'
	run ! grep -q "$ROOT/overlay/" /proc/mounts
}

@test "commit: names, ids, transports, lists, changes" {
	have_image busybox
	c=$(hoy_build from busybox)
	try hoy_build commit -q "$c"
	assert_success
	[[ $(hoy image inspect --format '{{len .RepoTags}}' "$output") == 0 ]]
	try hoy_build commit -q --iidfile iid "$c" named
	assert_stdout ""
	[[ $(<iid) == sha256:$(hoy image inspect --format '{{.Id}}' named) ]]
	before=$(hoy images -aq | sort -u)
	for to in dir:$T/d oci:$T/o:tag oci-archive:$T/oa docker-archive:$T/da:x/y:z; do
		try hoy_build commit -q "$c" "$to"
		assert_success
		oracle skopeo inspect "$to" >/dev/null
	done
	registry_start r
	try hoy_build commit -q --tls-verify=false "$c" "docker://$REGISTRY/a/b:c"
	assert_success
	oracle skopeo inspect --tls-verify=false "docker://$REGISTRY/a/b:c" >/dev/null
	[[ $(hoy images -aq | sort -u) == "$before" ]]
	try hoy_build commit -q --manifest list "$c"
	assert_success
	try hoy_build commit -q --manifest list "$c"
	assert_success
	[[ $(hoy manifest inspect list | jq '.manifests | length') == 2 ]]
	hoy_build commit -q --change 'ENV Q=1' -c 'USER 77' "$c" changed >/dev/null
	[[ $(hoy image inspect --format '{{.User}} {{.Config.Env}}' changed) == "77 [PATH=/bin Q=1]" ]]
	echo '{"User":"5","Env":["Z=1"]}' >config.json
	hoy_build commit -q --config config.json "$c" configured >/dev/null
	[[ $(hoy image inspect --format '{{.User}} {{.Config.Env}}' configured) == "5 [PATH=/bin Z=1]" ]]
	try hoy_build commit --timestamp 1 --source-date-epoch 2 "$c"
	assert_error 'cannot use more then one timestamp option at a time'
	try hoy_build commit -q --rm "$c" last
	assert_success
	[[ -z $(hoy_build containers -q) ]]
}

@test "containers, mount, umount, rename, rm: buildah's output" {
	have_image busybox
	a=$(hoy_build from busybox) b=$(oracle_buildah from --name bee scratch)
	hoy create --name other busybox >/dev/null
	for o in "" "-a" "-q" "--json" "--json -a" "-n" "--notruncate" "--format {{.ContainerID}}:{{.ContainerName}}:{{.ImageName}}" "-f name=bee" "-f id=zz --json" "-f ancestor=busybox" "-n -f name=busy,ancestor=busybox"; do
		diff <(oracle_buildah containers $o) <(hoy_build containers $o) || { echo "containers $o"; return 1; }
	done
	try hoy_build ls -f x=y
	assert_error 'parsing filter: invalid filter "x"'
	try hoy_build mount "$a"
	at=$output
	[[ -x $at/bin/sh ]]
	for o in "" "--json"; do
		diff <(oracle_buildah mount $o) <(hoy_build mount $o)
	done
	try oracle_buildah umount "$a"
	assert_success
	[[ ! -e $at/bin ]]
	try hoy_build mount "$a" bee
	assert_stdout_has "bee $ROOT/overlay/"
	try hoy_build umount --all
	assert_success
	[[ $(wc -l <<<"$output") == 2 ]]
	try hoy_build rename "$a" bee
	assert_error 'the container name "bee" is already in use by container "'
	try hoy_build rename bee renamed
	assert_success
	[[ $(oracle_buildah inspect -f '{{.Container}}' renamed) == renamed ]]
	id=$(hoy_build inspect -f '{{.ContainerID}}' renamed)
	hoy_build mount renamed >/dev/null
	try hoy_build rm renamed nosuch
	assert_status 125
	assert_stdout "$id"
	assert_stderr_has 'removing container "nosuch": container not known'
	try hoy_build rm other
	assert_status 125
	try hoy_build rm -a x
	assert_error 'when using the --all switch, you may not pass any containers names or IDs'
	try hoy_build rm -a
	assert_success
	[[ $(hoy_build containers) == 'CONTAINER ID  BUILDER  IMAGE ID     IMAGE NAME                       CONTAINER NAME' ]]
	hoy rm other >/dev/null
}

@test "inspect: as buildah prints it, of containers and images" {
	have_image busybox
	c=$(hoy_build from busybox)
	hoy_build config --label z=1 --label a=2 --env A=1 --add-history "$c"
	hoy_build commit -q "$c" oci >/dev/null
	hoy_build commit -q -f docker "$c" docker >/dev/null
	for what in "$c" "--type container $c" "--type image oci" docker busybox; do
		diff <(oracle_buildah inspect $what) <(hoy_build inspect $what) || { echo "inspect $what"; return 1; }
	done
	for f in '{{.FromImage}} {{.OCIv1.Config.Env}}' '{{.Docker.ContainerConfig.Labels}} {{.Docker.Config.Cmd}}' '{{len .History}}' '{{.OCIv1.Architecture}}{{.OCIv1.Author}}'; do
		diff <(oracle_buildah inspect -f "$f" "$c") <(hoy_build inspect -f "$f" "$c") || { echo "inspect -f $f"; return 1; }
	done
	try hoy_build inspect nosuch
	assert_status 125
	assert_error 'importing settings: nosuch: image not known'
	try hoy_build inspect --type pod "$c"
	assert_status 125
}

@test "verbs that hoy-image has" {
	have_image busybox
	hoy_build tag busybox b2
	diff <(oracle_buildah images --json | jq -S '.[].names |= sort') <(hoy_build images --json | jq -S '.[].names |= sort')
	[[ $(hoy_build images --format '{{.Name}}:{{.Tag}}' | sort) == $(oracle_buildah images --format '{{.Name}}:{{.Tag}}' | sort) ]]
	try hoy_build rmi b2
	assert_stdout 'untagged: localhost/b2:latest'
	try hoy_build rmi nosuch
	assert_status 125
	try hoy_build push busybox "dir:$T/d"
	assert_success
	try hoy_build pull "dir:$T/d"
	assert_success
	hoy_build manifest create list busybox >/dev/null
	[[ $(hoy_build manifest inspect list | jq '.manifests | length') == 1 ]]
	hoy_build manifest rm list >/dev/null
	hoy_build info | jq '.store.GraphDriverName == "overlay"' | grep -qx true
	[[ $(hoy_build version) == "Version:         1.43.2"* ]]
	c=$(hoy_build from busybox)
	hoy_build commit -q "$c" >/dev/null
	try hoy_build prune
	assert_success
	[[ $(hoy images -q | wc -l) == 1 ]]
	for verb in login logout push pull tag images manifest; do
		try hoy_build $verb --help
		assert_success
		assert_stdout_has Usage
	done
}

@test "unshare: a command, with containers mounted" {
	have_image busybox
	c=$(hoy_build from --name c busybox)
	try hoy_build unshare --mount ROOT=c -m c sh -c 'ls $ROOT/bin/sh >/dev/null && echo ${c##*/} $BUILDAH_ISOLATION; exit 3'
	assert_status 3
	assert_stdout 'merged rootless'
	run ! grep -q "$ROOT/overlay/" /proc/mounts
	try hoy_build unshare -m nosuch true
	assert_status 125
	run -127 --separate-stderr hoy_build unshare nosuchcommand
	mkdir bin && cp "$HOY_BIN"/hoy* bin/
	try as_user "$T/bin/hoy-build" unshare id -u
	assert_success
	assert_stdout 0
}

@test "from: triggers of the image are carried out" {
	have_image busybox
	echo h >h
	printf 'FROM busybox\nONBUILD RUN echo x >/trigger\nONBUILD ENV A=b C="d e"\nONBUILD COPY h /h\nONBUILD CMD ["q","r"]\nONBUILD LABEL k=v\n' >file
	hoy_build build -q --format docker -t onbuild -f file . >/dev/null
	diff <(oracle_buildah inspect --type image onbuild) <(hoy_build inspect --type image onbuild)
	try hoy_build from --isolation chroot onbuild
	assert_success
	assert_stdout onbuild-working-container
	assert_stderr_has 'STEP 1: RUN echo x >/trigger'
	c=$output
	[[ $(hoy_build run "$c" cat /trigger /h) == $'x\nh' ]]
	[[ $(hoy_build inspect -f '{{.OCIv1.Config.Env}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Labels.k}} {{.Docker.Config.OnBuild}}' "$c") == '[PATH=/bin A=b C=d e] [q r] v []' ]]
	printf 'FROM busybox\nONBUILD RUN false\n' >file
	hoy_build build -q --format docker -t fails -f file . >/dev/null
	try hoy_build from -q --isolation chroot fails
	assert_status 125
	assert_stderr_has "the image's trigger \"RUN false\" has failed"
	[[ $(hoy_build containers -q | wc -l) == 1 ]]
}

# ---- isolation chroot

@test "isolation chroot: run has processes, ids, capabilities and mounts of its own" {
	have_image busybox
	mkdir vol && echo v >vol/f
	c=$(hoy_build from --cap-drop all --cap-add chown --volume "$T/vol:/v:ro" --add-host some:1.2.3.4 --ulimit nofile=100:200 --isolation chroot busybox)
	hoy_build config --env A=1 --workingdir /some/where "$c"
	try hoy_build run --env B=2 "$c" -- sh -c 'echo $A $B $HOME $(pwd) $(id -u):$(id -g) $$; grep CapEff /proc/self/status; cat /v/f; ulimit -n; grep -c some /etc/hosts; ls /proc | grep -c "^[0-9]"'
	assert_stdout $'1 2 /root /some/where 0:0 1\nCapEff:\t0000000000000001\nv\n100\n1\n3'
	try hoy_build run --user nobody "$c" -- sh -c 'id -un; grep CapEff /proc/self/status; echo x >/v/f'
	assert_status 1
	assert_stdout_has $'nobody\nCapEff:\t0000000000000000'
	try hoy_build run "$c" -- sh -c 'exit 9'
	assert_status 9
	run -127 --separate-stderr hoy_build run "$c" nosuch
	try hoy_build run --user nosuch "$c" id
	assert_status 125
	try hoy_build run --mount type=tmpfs,target=/t --mount "type=bind,source=$T/vol,target=/b" "$c" -- sh -c 'touch /t/x && cat /b/f; touch /b/x'
	assert_status 1
	assert_stdout v
	for bad in "--network bridge" "--device /dev/null" "--pid /proc/self/ns/pid" "--cgroupns private"; do
		try hoy_build run $bad "$c" true
		assert_status 125
		assert_stderr_has 'the isolation chroot cannot have'
	done
	for at in /proc/kcore /proc/keys; do
		[[ $(hoy_build run "$c" -- sh -c "cat $at | wc -c") == 0 ]]
	done
	try hoy_build run "$c" -- sh -c 'mkdir /m; mount -t tmpfs x /m || mknod /dev/x c 1 3 || echo 1 >/proc/sys/kernel/panic || echo 1 >/sys/kernel/profiling || echo kept'
	assert_stdout kept
	hoy_build commit -q "$c" made >/dev/null
	m=$(hoy image mount made)
	[[ ! -e $m/etc/resolv.conf && ! -e $m/etc/hosts && ! -e $m/t && ! -e $m/b ]]
	hoy image umount made >/dev/null
	run ! grep -q "$ROOT/overlay/" /proc/mounts
}

@test "isolation chroot: what a command leaves running goes, and a kill of the build takes it with it" {
	have_image busybox
	c=$(hoy_build from --isolation chroot busybox)
	hoy_build run "$c" -- sh -c 'sleep 1001 >/dev/null 2>&1 & sleep 1001 >/dev/null 2>&1 & exit 0'
	run ! grep -aqs '^sleep.1001' /proc/[0-9]*/cmdline
	for signal in TERM KILL; do
		background "$HOY_BIN/hoy-build" "${HOY_OPTS[@]}" run "$c" -- sh -c 'echo here; sleep 1001' >out
		pid=$!
		until_true 20 grep -q here out
		kill -$signal $pid
		wait $pid || true
		gone() { ! grep -aqs '^sleep.1001' /proc/[0-9]*/cmdline; }
		until_true 10 gone
	done
	hoy_build rm "$c" >/dev/null
	run ! grep -q "$ROOT/overlay/" /proc/mounts
}

@test "isolation chroot: what is written to /etc/hosts and /etc/resolv.conf is not the machine's" {
	have_image busybox
	c=$(hoy_build from --isolation chroot busybox)
	echo 'nameserver 192.0.2.53' >resolv
	echo '192.0.2.1 mine' >hosts
	# (Copies of the machine's files are at stake.)
	try unshare -m sh -ec 'mount --bind resolv /etc/resolv.conf; mount --bind hosts /etc/hosts; exec "$@"' sh \
		"$HOY_BIN/hoy-build" "${HOY_OPTS[@]}" run "$c" -- sh -c 'cat /etc/resolv.conf /etc/hosts; echo evil >>/etc/resolv.conf; echo evil >>/etc/hosts; grep -c evil /etc/resolv.conf'
	assert_success
	assert_stdout $'nameserver 192.0.2.53\n192.0.2.1 mine\n1'
	[[ $(<resolv) == 'nameserver 192.0.2.53' && $(<hosts) == '192.0.2.1 mine' ]]
}

@test "isolation chroot: build, the same image as with a runtime" {
	have_image busybox
	mkdir ctx && echo a >ctx/a
	cat >ctx/Containerfile <<-'END'
		FROM busybox
		ENV X=1
		ARG Y=2
		RUN echo $X $Y $HOME $(id -u) >/out
		COPY a /a
		USER 5:6
		WORKDIR /w
		RUN --mount=type=bind,target=/ctx --mount=type=secret,id=s,mode=444 --mount=type=secret,id=s,env=S cat /ctx/a /run/secrets/s && test "${#S}" = 6
		USER root
		RUN <<EOF
		echo here >/doc
		EOF
		SHELL ["/bin/busybox", "sh", "-c"]
		RUN echo shell >/shell
	END
	echo -n hidden >secret
	for isolation in oci chroot; do
		hoy_build build -q --isolation $isolation --secret id=s,src=secret --timestamp 7 -t $isolation ctx >$isolation.id
	done
	diff oci.id chroot.id
	run ! grep -rqs hidden "$ROOT/overlay-images" "$ROOT/overlay"/*/diff/run
	printf 'FROM busybox\nRUN exit 4\n' >fails
	BUILDAH_ISOLATION=chroot try hoy_build build -f fails ctx
	assert_status 4
	for bad in "--memory 1g" "--network bridge" "--device /dev/null" "--volume /tmp:/t:U" "--security-opt seccomp=/x" "--cpuset-cpus 0" "--cgroup-parent /x"; do
		try hoy_build build --isolation chroot $bad -f fails ctx
		assert_status 125
		assert_stderr_has 'isolation chroot'
	done
	try hoy_build build --isolation nosuch ctx
	assert_error 'unrecognized isolation type "nosuch"'
}

@test "isolation chroot: in a container of an ordinary user id, with the usual seccomp profile" {
	have_image busybox
	mkdir bin vol ctx images
	cp "$HOY_BIN"/hoy* bin/ && cp "$(fixture busybox)/docker.tar" images/
	echo a >ctx/a
	printf 'FROM busybox\nCOPY a /a\nRUN cat /a >/b; id -u >>/b; ls /proc/self >/dev/null && echo x >/dev/null\n' >ctx/Containerfile
	mkdir -p vol/.config/containers && echo '{"default":[{"type":"insecureAcceptAnything"}]}' >vol/.config/containers/policy.json
	chown -R 1234:1234 vol
	for driver in vfs overlay; do
		try hoy run --rm --network none --user 1234:1234 -e HOME=/vol -e TMPDIR=/vol -e PATH=/hoy:/bin:/usr/bin -v /usr:/usr:ro -v /usr/lib:/lib:ro \
			-v /usr/lib64:/lib64:ro -v "$T/bin:/hoy:ro" -v "$T/images:/images:ro" -v "$T/ctx:/ctx:ro" -v "$T/vol:/vol" busybox sh -ec "
				o='--root /vol/$driver --runroot /vol/run-$driver --storage-driver $driver'
				hoy-image \$o load -q -i /images/docker.tar
				hoy-build \$o build -q --isolation chroot -t made /ctx
				c=\$(hoy-build \$o from made)
				hoy-build \$o run --isolation chroot \$c cat /b"
		assert_success
		assert_stdout_has $'a\n0'
	done
}

# ---- kills

# Nothing that a build takes is left, after the next command of hoy-build.
nothing_left() {
	hoy_build containers -q >/dev/null
	if grep -Eo " $ROOT/overlay/.*/merged | $T/tmp/.* " /proc/self/mountinfo; then return 1; fi
	[[ -z $(hoy ps -aq) && -z $(ls -A "$T/tmp") && -z $(ls -A "$RUNROOT/hoy-builds") && $(jq length "$RUNROOT/overlay-layers/mountpoints.json") == 0 ]] || {
		hoy ps -a
		ls -A "$T/tmp" "$RUNROOT/hoy-builds"
		cat "$RUNROOT/overlay-layers/mountpoints.json"
		return 1
	}
}

@test "kill -9 at any time: the next command gives back mounts, containers, commands and directories" {
	have_image busybox
	mkdir ctx && for i in {1..300}; do echo $i >ctx/$i; done
	printf 'FROM busybox\nCOPY . /all/\nRUN --mount=type=bind,target=/ctx --mount=type=tmpfs,target=/t cp -r /ctx /copy\nRUN <<EOF\necho x >/x\nEOF\n' >ctx/Containerfile
	c=$(hoy_build from busybox)
	id=$(hoy_build containers -q)
	for words in "from busybox" "run $c cp -rf /bin /b" "run --isolation chroot --mount type=bind,source=$T/ctx,target=/m $c cp -rf /bin /b" "copy -q $c ctx /ctx" "commit -q $c made" \
		"build -q --network none ctx" "build -q --layers --isolation chroot --no-cache ctx"; do
		for ms in 2 4 7 10 15 22 30 45 60 90; do
			background "$HOY_BIN/hoy-build" "${HOY_OPTS[@]}" $words
			pid=$!
			sleep "0.$(printf %03d $ms)"
			kill -KILL $pid 2>/dev/null || true
			wait $pid || true
			# What the tools do that it had started, they do to the end.
			idle() { ! pgrep -f "^hoy-(transfer|builder) .*$ROOT" >/dev/null; }
			until_true 20 idle
			nothing_left || { echo "$words, killed after $ms ms"; return 1; }
		done
		hoy_build run "$c" true
		for other in $(hoy_build containers -q); do [[ $other == "$id" ]] || hoy_build rm "$other" >/dev/null; done
	done
	hoy_build rm "$c" >/dev/null
	try hoy system check
	assert_success
	hoy run --rm --network none busybox true
	oracle_podman images >/dev/null
}

# ---- more of copy and add

@test "copy and add: --exclude, --parents, --checksum, addresses" {
	have_image busybox
	mkdir -p ctx/d/e www && echo a >ctx/d/a && echo b >ctx/d/e/b && echo no >ctx/d/e/no && echo web >www/file
	sum=sha256:$(sha256sum <www/file | cut -d' ' -f1)
	background python3 -c '
import http.server, functools
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(http.server.SimpleHTTPRequestHandler, directory="www"))
open("port", "w").write(str(s.server_address[1]))
s.serve_forever()' 2>/dev/null
	until_true 20 test -s port
	web=http://127.0.0.1:$(<port)
	for who in oracle_buildah hoy_build; do
		$who from --name "$who" busybox
		$who copy -q --contextdir ctx --exclude '**/no' "$who" d /1
		$who copy -q --contextdir ctx --parents "$who" d/e/b /2/
		$who copy -q "$who" "$web/file" /3/
		$who add -q --checksum "$sum" "$who" "$web/file" /4
		hoy_build run "$who" -- sh -c 'cd / && find 1 2 3 4 -exec stat -c "%n %F %a %u" {} + | sort; cat 3/file 4' >"$who.tree"
	done
	diff oracle_buildah.tree hoy_build.tree
	try hoy_build add --checksum "sha256:$(printf %064d 0)" hoy_build "$web/file" /5
	assert_status 125
	try hoy_build copy --checksum "$sum" hoy_build ctx/d/a /5
	assert_error 'checksum flag is not supported for local sources'
	try hoy_build copy hoy_build "$web/nosuch" /5
	assert_status 125
	run ! hoy_build run hoy_build test -e /5
	[[ -z $(ls -A "$T/tmp") ]]
}

@test "of an ordinary user: a scripted build, which his buildah goes on with" {
	mkdir bin && cp "$HOY_BIN"/hoy* bin/
	u() { as_user "$T/bin/hoy-build" --runtime "$T/bin/hoy-runtime" "$@"; }
	as_user "$T/bin/hoy" load -q -i "$(fixture busybox)/docker.tar"
	echo hello >file && chmod 644 file
	c=$(u from busybox)
	u run --network none "$c" -- sh -c 'echo x >/x && chown 7:8 /x'
	u copy -q "$c" "$T/file" /file
	u config --env A=1 "$c"
	try u mount "$c"
	assert_status 125
	assert_stderr_has 'You need to run it in a `hoy-build unshare` session'
	try u unshare --mount m="$c" sh -c 'cat $m/x; stat -c %u:%g $m/x'
	assert_stdout $'x\n7:8'
	try u unshare sh -c "cat \$('$T/bin/hoy-build' mount $c)/file && '$T/bin/hoy-build' umount $c >/dev/null"
	assert_stdout hello
	[[ $(u commit -q --timestamp 5 "$c" made) == $(as_user buildah commit -q --timestamp 5 "$c" theirs) ]]
	try u run --isolation chroot "$c" -- sh -c 'cat /x; id -u'
	assert_stdout $'x\n0'
	as_user buildah run --isolation chroot "$c" -- sh -c 'cat /file; rm /file'
	try u run --network none "$c" cat /file
	assert_status 1
	as_user buildah rm "$c" >/dev/null
	[[ -z $(u containers -q) ]]
}
