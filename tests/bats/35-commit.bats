#!/usr/bin/env bats
# commit: a container becomes an image, as podman makes it.

load ../lib/hoy

# All that a layer can be made of, in the container's file system.
script='
mkdir -p /a/new /a/opq; echo 1 >/a/new/file; ln /a/new/file /a/link; ln -s /nowhere /a/sym; chmod 4755 /a/new/file; chown 7:8 /a/new
mkfifo /a/fifo; mknod /a/dev c 1 3 2>/dev/null; rm /etc/group; rm -r /www; mkdir /www; echo x >/www/x; touch -d "2001-02-03 04:05:06" /www/x
long=/a/$(printf "%0100d/" 1 2 3); mkdir -p "$long"; echo deep >"$long/$(printf "%0200d" 4)"; printf y >"/a/$(printf "caf\303\251 \377")"
rm /bin/vi; dd if=/dev/zero of=/a/zeros bs=1M count=3 2>/dev/null; chown 3000000:5 /a/fifo'

# (podman puts the container's own variables in any order)
config_of() { "$1" image inspect "$2" --format '{{json .Config}}' | jq -S '.Env |= sort'; }

# The diffIDs of image $2, by $1.
diffs() { "$1" image inspect "$2" --format '{{range .RootFS.Layers}}{{.}} {{end}}'; }

@test "the layer that podman and hoy make of one container is the same, bit for bit" {
	have_image busybox
	oracle_podman run --name c --cap-add mknod --network none busybox sh -c "$script"
	layer=$(ls -d "$ROOT"/overlay/*/diff/a)
	layer=$(basename "${layer%/diff/a}")
	setfattr -n user.key -v value "$ROOT/overlay/$layer/diff/a/new/file"
	setcap cap_net_raw+ep "$ROOT/overlay/$layer/diff/a/zeros"
	oracle_podman commit -q c theirs
	image=$(oracle_podman inspect --type image --format '{{.Id}}' busybox)
	printf '{"container":"%064d","layer":"%s","image":"%s","imageName":"localhost/busybox:latest","config":{"Cmd":["sh"]}}' 1 "$layer" "$image" >spec
	tool hoy-transfer "${HOY_OPTS[@]}" commit -q --spec spec ours
	[[ $(diffs hoy ours) == "$(diffs oracle_podman theirs)" ]]
	oracle_podman rm c
	hoy rmi ours theirs
}

@test "an image of a container: settings, history, names, ids as podman's" {
	have_image busybox
	args=(--name c --network none -e A=b -p 80:80 -l foo=bar -w /tmp --entrypoint '["/bin/sh","-c"]' --expose 99 -v /vv -v /tmp:/bb -u 5 busybox 'echo hi >/tmp/x')
	oracle_podman run "${args[@]}"
	oracle_podman commit -q c theirs
	oracle_podman commit -q --include-volumes -f docker -m msg -a me c theirs2
	oracle_podman commit -q -a me -c 'CMD ["x","y"]' -c "ENV Z=1 Y='2 3'" -c 'LABEL q=r s="t u"' -c 'EXPOSE 8080/tcp' -c 'USER 9' \
		-c 'VOLUME /data' -c 'WORKDIR /w' -c 'STOPSIGNAL SIGINT' c theirs3
	oracle_podman rm c
	hoy run "${args[@]}"
	id=$(hoy commit -q c ours)
	[[ $id =~ ^[0-9a-f]{64}$ && $(hoy image inspect --format '{{.Id}}' ours) == "$id" ]]
	hoy commit -q --include-volumes -f docker -m msg -a me c ours2
	hoy commit -q --iidfile iid -a me -c 'CMD ["x","y"]' -c "ENV Z=1 Y='2 3'" -c 'LABEL q=r s="t u"' -c 'EXPOSE 8080/tcp' -c 'USER 9' \
		-c 'VOLUME /data' -c 'WORKDIR /w' -c 'STOPSIGNAL SIGINT' c ours3
	[[ $(<iid) == "$(hoy image inspect --format '{{.Id}}' ours3)" ]]
	for n in '' 2 3; do
		diff <(config_of oracle_podman "theirs$n") <(config_of oracle_podman "ours$n")
		for f in '{{.Author}} {{.Comment}} {{.ManifestType}} {{.Architecture}} {{.Os}} {{len .RootFS.Layers}}' \
			'{{range .History}}{{.CreatedBy}} {{.Comment}} {{.Author}};{{end}}'; do
			diff <(oracle_podman image inspect "theirs$n" --format "$f") <(oracle_podman image inspect "ours$n" --format "$f")
		done
	done
	jqm='[.mediaType, .config.mediaType, [.layers[].mediaType], (.annotations // {} | keys)]'
	for n in '' 2; do
		diff <(jq "$jqm" "$ROOT/overlay-images/$(hoy image inspect --format '{{.Id}}' "theirs$n")/manifest") \
			<(jq "$jqm" "$ROOT/overlay-images/$(hoy image inspect --format '{{.Id}}' "ours$n")/manifest")
	done
	[[ $(oracle_podman run --rm --network none --entrypoint cat ours /tmp/x) == hi ]]
	hoy system check
	oracle_podman system check
}

@test "renamed directories and files without data of their own, a running container, one of a squashed image" {
	have_image busybox
	hoy run -d --name c --network none busybox sh -c 'mkdir /d; echo 1 >/d/f; mv /www /www2; chmod 600 /etc/group; rm /etc/passwd; sleep 1000'
	until hoy exec c sh -c '! test -e /etc/passwd'; do sleep 0.1; done
	hoy commit -q -p c one
	[[ $(hoy ps --format '{{.Status}}') == Up* ]]
	[[ $(hoy run --rm --network none one sh -c 'cat /d/f; ls /www2; stat -c %a /etc/group; cat /etc/group | wc -l; ls -d /www /etc/passwd 2>&1 | wc -l') == \
		"$(hoy exec c sh -c 'cat /d/f; ls /www2; stat -c %a /etc/group; cat /etc/group | wc -l; ls -d /www /etc/passwd 2>&1 | wc -l')" ]]
	hoy commit -q --squash c flat
	[[ $(hoy image inspect flat --format '{{len .RootFS.Layers}} {{len .History}}') == '1 1' ]]
	[[ $(hoy run --rm --network none flat sh -c 'cat /d/f; ls /www2; ls /etc/passwd 2>&1 | wc -l') == $'1\nindex.html\n1' ]]
	hoy rm -f -t 0 c
	hoy rmi one flat
	[[ $(<"$RUNROOT/overlay-layers/mountpoints.json") == '[]' ]]
	hoy system check
}

@test "commit of bad input" {
	have_image busybox
	hoy create --name c busybox true
	try hoy commit nosuch x
	assert_error 'no container with name or ID "nosuch" found'
	try hoy commit c BAD
	assert_error "invalid reference format: 'BAD'"
	try hoy commit -f bad c
	assert_error 'unrecognized image format "bad"'
	try hoy commit -m text c
	assert_error 'messages are only compatible with the docker image format (-f docker)'
	try hoy commit -c 'RUN x' c
	assert_error "the change 'RUN x' is not known"
	try hoy commit -c 'ENV X' c
	assert_error 'ENV needs KEY=VALUE'
	[[ $(hoy images -q | wc -l) == 1 ]]
	hoy system check
}

# All of the config of image $1, variables in order.
whole_config() {
	local id
	id=$(hoy image inspect "$1" --format '{{.Id}}')
	jq -S '.config | .Env |= sort' "$ROOT/overlay-images/$id/=$(printf 'sha256:%s' "$id" | base64 -w 0)"
}

@test "commit --config: a file with settings is laid over the container's, and changes over that, as podman does" {
	local n=0
	have_image busybox
	export GIVEN=here
	mkdir ctx
	cat >ctx/Containerfile <<-'END'
	FROM localhost/busybox
	ENV A=1 B=2
	CMD ["c1"]
	ENTRYPOINT ["e1"]
	STOPSIGNAL SIGINT
	ONBUILD RUN x
	HEALTHCHECK --interval=3s CMD true
	SHELL ["/bin/foo"]
	EXPOSE 80
	VOLUME /v1
	LABEL l=1 m=2
	WORKDIR /w
	USER 5
	END
	oracle_podman build -q --format docker -t base ctx
	cat >all.json <<-'END'
	{"Env": ["B=3", "C=4", "GIVEN", "NONE"], "Cmd": ["c2"], "ExposedPorts": {"81/tcp": {}}, "Labels": {"m": "3", "n": "4"}, "Volumes": {"/v2": {}},
	 "Tty": true, "Hostname": "hh", "Domainname": "dd", "Healthcheck": {"Test": ["CMD", "x"], "Interval": 5000000000, "Retries": 0, "StartInterval": 7},
	 "Shell": ["/s"], "MacAddress": "mm", "NetworkDisabled": true, "StopTimeout": 3, "Image": "ii", "ArgsEscaped": true, "OnBuild": ["RUN y"],
	 "User": "", "unknown": 1}
	END
	echo '{"cmd": ["lower"], "Env": null, "stopsignal": "SIGHUP", "WorkingDir": "/x", "Healthcheck": {}}' >other.json
	: >empty.json
	echo null >null.json
	while read -r args; do
		n=$((n + 1))
		eval "args=($args)"
		oracle_podman create --name c base >/dev/null
		oracle_podman commit -q "${args[@]}" c "theirs$n" >/dev/null
		oracle_podman rm c >/dev/null
		hoy create --name c base >/dev/null
		hoy commit -q "${args[@]}" c "ours$n" >/dev/null
		hoy rm c >/dev/null
		diff <(whole_config "theirs$n") <(whole_config "ours$n") || { echo "with ${args[*]}"; false; }
	done <<-'END'
	-f docker
	-f docker --config all.json
	--config all.json
	-f docker -c 'ENV Z=1'
	-c 'ENTRYPOINT ["e9"]' --config all.json
	-f docker -c 'ONBUILD RUN a' -c 'ONBUILD RUN b' -c 'CMD z' --config other.json
	-f docker --config empty.json
	-f docker --config null.json
	-f docker --config other.json
	END
	[[ $n == 9 && $(whole_config ours3 | jq -c .Env) == *'"GIVEN=here"'* ]]
	hoy create --name c base
	oracle_podman create --name d base
	for bad in '[]:holds no JSON object' '{:' '{"Env":5}:is of the wrong type' '{"Labels":["a"]}:is of the wrong type' '{"Tty":1}:is of the wrong type' \
		'{"StopTimeout":"x"}:is of the wrong type' '{"ExposedPorts":{"a":5}}:is of the wrong type' '{"Healthcheck":{"Test":"x"}}:is of the wrong type'; do
		printf '%s' "${bad%:*}" >bad.json
		try oracle_podman commit -q --config bad.json d bad
		assert_status 125
		[[ $stderr != *container* ]]
		try hoy commit -q --config bad.json c bad
		assert_error '--config: '
		assert_stderr_has "${bad##*:}"
	done
	try hoy commit -q --config nosuch.json c bad
	assert_error "--config: cannot open 'nosuch.json'"
	try hoy commit -q --config ctx c bad
	assert_error '--config: '
}

@test "commit with vfs, and of an ordinary user" {
	store_new v
	HOY_OPTS=(--root "$ROOT" --runroot "$RUNROOT" --storage-driver vfs)
	hoy load -q -i "$(fixture busybox)/docker.tar"
	hoy run --name c --network none busybox sh -c 'echo 1 >/new; rm -r /www'
	hoy commit -q c one
	[[ $(hoy run --rm --network none one sh -c 'cat /new; ls /www 2>&1 | wc -l') == $'1\n1' ]]
	[[ $(zcat "$(ls -t "$ROOT"/vfs-layers/*.gz | head -n 1)" | grep -c '"name":"bin/') == 0 ]]
	hoy rm c
	u() { as_user "$HOY_BIN/hoy" --runtime "$HOY_BIN/hoy-runtime" "$@"; }
	u load -q -i "$(fixture busybox)/docker.tar"
	u run --name c --network none busybox sh -c 'echo 1 >/new; chown 5:6 /new; rm -r /www; mkdir /www'
	u commit -q c one
	[[ $(as_user podman run --rm --network none --cgroups=disabled one sh -c 'stat -c %u:%g /new; ls /www | wc -l') == $'5:6\n0' ]]
	u rm c
}
