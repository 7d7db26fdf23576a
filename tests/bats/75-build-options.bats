#!/usr/bin/env bats
# Options of hoy-build's verbs, each for what it does; beside buildah where that does it, too.

load ../lib/hoy

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}

# The working containers by $1: name and the number of layers of what they stand on.
kept() {
	local c
	for c in $("$1" containers -q); do
		# shellcheck disable=SC2016
		"$1" inspect "$c" | jq -r '"\(.Container | sub("^[0-9a-f]{12}"; "ID")) \(.FromImage | sub("^[0-9a-f]{12,64}$"; "ID")) \(.OCIv1.config.Env) \(.OCIv1.config.Cmd) \(.Docker.config.Shell)"'
	done | sort
}

@test "build: --rm, --force-rm: which containers stay, and how they go on" {
	have_image busybox
	cat >good <<-'END'
		FROM busybox AS a
		ENV A=b
		RUN echo 1 >/one
		FROM busybox
		SHELL ["/bin/sh", "-ec"]
		COPY --from=a /one /one
		RUN echo 3 >/three
		CMD x
	END
	sed 's/three$/three; false/' good >bad
	for o in '' --rm=false; do
		hoy_build build -q $o -f good . >/dev/null
		try hoy_build build -q $o -f bad .
		assert_status 1
		[[ -z $(hoy_build containers -q) ]]
	done
	hoy_build build -q --layers --no-cache -f good . >/dev/null
	[[ -z $(hoy_build containers -q) ]]
	try hoy_build build -q --layers --no-cache --force-rm -f bad .
	assert_status 1
	[[ -z $(hoy_build containers -q) ]]
	# podman takes them away unless it's told not to.
	try hoy build -q --no-cache -f bad .
	assert_status 1
	[[ -z $(hoy_build containers -q) ]]
	for who in oracle_buildah hoy_build; do
		try "$who" build -q --network none --layers --no-cache -f bad .
		kept "$who" >"$who.kept"
		c=$("$who" containers -q)
		[[ $(hoy_build run "$c" -- cat /one /three | xargs) == '1 3' ]]
		[[ $(oracle_buildah run "$c" -- cat /one /three | xargs) == '1 3' ]]
		hoy_build commit -q "$c" rescued >/dev/null
		[[ $(hoy run --rm --network none rescued cat /three) == 3 ]]
		hoy_build rm -a >/dev/null
	done
	diff oracle_buildah.kept hoy_build.kept
	id=$(hoy_build build -q --layers --rm=false --no-cache --cap-add NET_ADMIN --network none -t all -f good .)
	[[ $(kept hoy_build | cut -d' ' -f1 | xargs) == 'ID-working-container ID-working-container ID-working-container' ]]
	c=$(hoy_build containers -q | head -1)
	[[ $(hoy_build run "$c" -- sh -c 'cat /one; grep CapEff /proc/self/status; echo $A' | xargs) == *'1 CapEff: 00000000800415fb b' ]]
	[[ $(hoy run --rm --network none all cat /one /three | xargs) == '1 3' ]]
	hoy_build rm -a >/dev/null
	[[ $(hoy_build build -q --layers -f good --cap-add NET_ADMIN --network none .) == "$id" ]]
}

# web_start: a server that has www/; what is called busy* it has after two times 503 only. Sets WEB, and TLS for the same by https (by a certificate in certs/).
web_start() {
	mkdir -p www certs
	openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out certs/ca.crt 2>/dev/null
	cat >web.py <<-'END'
		import functools, http.server, ssl, threading
		seen = {}
		class Handler(http.server.SimpleHTTPRequestHandler):
		    def do_GET(self):
		        seen[self.path] = seen.get(self.path, 0) + 1
		        if self.path.startswith("/busy") and seen[self.path] <= 2:
		            return self.send_error(503)
		        return super().do_GET()
		def serve(tls):
		    s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory="www"))
		    if tls:
		        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
		        c.load_cert_chain("certs/ca.crt", "key.pem")
		        s.socket = c.wrap_socket(s.socket, server_side=True)
		    threading.Thread(target=s.serve_forever).start()
		    return s.server_address[1]
		print(serve(False), serve(True), file=open("ports.new", "w"), flush=True)
		__import__("os").rename("ports.new", "ports")
	END
	background python3 web.py 2>web.log
	until_true 10 test -e ports
	read -r plain tls <ports
	WEB=http://127.0.0.1:$plain TLS=https://127.0.0.1:$tls
}

@test "copy, add: --timestamp, --retry, --retry-delay, --tls-verify, --cert-dir" {
	have_image busybox
	mkdir -p dir/sub
	echo x >dir/sub/file
	ln -s file dir/sub/link
	tar -cf arch.tar dir
	for who in oracle_buildah hoy_build; do
		c=$("$who" from busybox)
		"$who" copy -q --timestamp 1000 "$c" dir /tree
		"$who" copy -q --timestamp 2000 "$c" dir/sub/file arch.tar /files/
		"$who" add -q --timestamp 3000 "$c" arch.tar /un
		m=$("$who" mount "$c")
		(cd "$m" && find tree/* files/* un/* -printf '%p %T@\n' | sort) >"$who.times"
		"$who" umount "$c" >/dev/null
	done
	diff oracle_buildah.times hoy_build.times
	grep -qx 'tree/sub/link 1000.0000000000' hoy_build.times
	try hoy_build copy --timestamp soon "$c" dir /
	assert_error 'parsing timestamp value "soon"'
	web_start
	echo page >www/page
	cp www/page www/busy
	cp www/page www/busy2
	cp www/page www/busy3
	try hoy_build add -q --retry 1 --retry-delay 10ms "$c" "$WEB/busy" /
	assert_status 125
	assert_stderr_has 'invalid response status 503, trying again in 0.0 s'
	hoy_build add -q --retry 2 --retry-delay 10ms "$c" "$WEB/busy2" /got 2>/dev/null
	[[ $(hoy_build run "$c" -- cat /got) == page ]]
	[[ $(grep -c 'GET /busy2' web.log) == 3 ]]
	try hoy_build add -q --retry 0 "$c" "$WEB/nosuch" /
	assert_error 'invalid response status 404'
	try hoy_build add --retry-delay x "$c" dir /
	assert_error 'unable to parse value provided "x" as --retry-delay'
	try hoy_build add -q --retry 0 "$c" "$TLS/page" /
	assert_status 125
	assert_stderr_has certificate
	hoy_build add -q --tls-verify=false "$c" "$TLS/page" /one
	hoy_build add -q --cert-dir certs "$c" "$TLS/page" /two
	[[ $(hoy_build run "$c" -- cat /one /two | xargs) == 'page page' ]]
	# A build's are for what it ADDs, too.
	printf 'FROM busybox\nADD %s/busy3 /x\nADD %s/page /y\n' "$WEB" "$TLS" >Containerfile
	hoy_build build -q --retry 3 --retry-delay 10ms --cert-dir certs -t web . >/dev/null 2>&1
	[[ $(hoy run --rm --network none web cat /x /y | xargs) == 'page page' ]]
}

# hook DIR NAME WORD [WHEN-JSON [STAGES-JSON]]: a hook that notes WORD and its state's status in the file $T/hooked.
hook() {
	mkdir -p "$1"
	printf '{"version":"1.0.0","hook":{"path":"/bin/sh","args":["sh","-c","echo %s $(jq -r .status) $X >>%s/hooked"],"env":["PATH=/usr/bin:/bin","X=x"]},"when":%s,"stages":%s}\n' \
		"$3" "$T" "${4:-{\"always\":true\}}" "${5:-[\"prestart\"]}" >"$1/$2.json"
}

# What the hooks have noted of `COMMAND...`, in one line.
hooked() {
	rm -f "$T/hooked"
	"$@" >/dev/null || return 1
	[[ ! -e $T/hooked ]] || xargs <"$T/hooked"
}

@test "--hooks-dir: of a build, of what it keeps, of run: several, the later one counts; stages and conditions" {
	have_image busybox
	printf 'FROM busybox\nRUN echo ran >>/ran\n' >Containerfile
	hook a 20-one one
	hook a 10-two two
	hook b 20-one other
	hook b 30-three three
	b() { hooked "$@" build -q --no-cache --network none --hooks-dir "$PWD/a" --hooks-dir "$PWD/b" .; }
	[[ $(b hoy_build) == 'two creating x other creating x three creating x' ]]
	[[ $(b oracle_buildah | sed 's/created/creating/g') == "$(b hoy_build)" ]]
	r() { hooked hoy "${@:1:$#-1}" run --rm --network none busybox sh -c "${!#}"; }
	[[ $(r --hooks-dir a --hooks-dir b true) == 'two creating x other creating x three creating x' ]]
	[[ $(hooked oracle_podman --hooks-dir "$PWD/a" --hooks-dir "$PWD/b" run --rm --network none busybox true | sed 's/created/creating/g') == "$(r --hooks-dir a --hooks-dir b true)" ]]
	hook c all all '{"always":true}' '["poststart","createContainer","poststop","prestart","createRuntime","startContainer"]'
	# (What runs in the container has its own jq, or none.)
	sed -i 's/,"startContainer"//' c/all.json
	[[ $(r --hooks-dir c 'sleep 0.3') == 'all creating x all creating x all creating x all running x all stopped x' ]]
	[[ $(r --hooks-dir c --hooks-dir a --hooks-dir "$PWD/nowhere" true 2>/dev/null | tr ' ' '\n' | grep -c 'two') == 1 ]]
	# Conditions.
	while IFS='|' read -r when want options; do
		rm -rf d
		hook d one yes "$when"
		# shellcheck disable=SC2086
		ours=$(hooked hoy --hooks-dir d run --rm --network none $options busybox true)
		theirs=$(hooked oracle_podman --hooks-dir "$PWD/d" run --rm --network none $options busybox true)
		[[ ${ours:+yes} == "$want" && ${theirs:+yes} == "$want" ]] || { echo "$when $options: '$ours' '$theirs'"; return 1; }
	done <<-'END'
		{"always":false}||
		{}||
		{"always":true,"hasBindMounts":true}||
		{"hasBindMounts":true}|yes|-v /tmp:/mnt
		{"commands":["^tr"]}|yes|
		{"commands":["^false$","/sh$"]}||
		{"annotations":{"^a\\.":"^b"}}|yes|--annotation a.x=bc
		{"annotations":{"^a\\.":"^b"}}||--annotation a.x=c
		{"annotations":{"^a\\.":"^b","q":"."}}||--annotation a.x=bc
		{"always":true,"commands":["nope"]}||
	END
	# What isn't right is an error, and names the file.
	while IFS='|' read -r text want; do
		mkdir -p e
		printf '%s' "$text" >e/bad.json
		try hoy --hooks-dir e run --rm --network none busybox true
		assert_status 125
		assert_stderr_has "parsing hook \"e/bad.json\": "
		assert_stderr_has "$want"
	done <<-'END'
		{"version":"2.0"}|unrecognized hook version: "2.0"
		{"version":"1.0.0","hook":{},"stages":["prestart"],"when":{"always":true}}|missing required property: hook.path
		{"version":"1.0.0","hook":{"path":"/nowhere"},"stages":["prestart"],"when":{"always":true}}|stat /nowhere: no such file or directory
		{"version":"1.0.0","hook":{"path":"/bin/true"},"when":{"always":true}}|missing required property: stages
		{"version":"1.0.0","hook":{"path":"/bin/true"},"stages":["never"],"when":{"always":true}}|the stage "never" is not supported
		{"version":"1.0.0","hook":{"path":"/bin/true"},"stages":["prestart"],"when":{"commands":["("]}}|'(' is no regular expression
		[|
	END
	# One that fails ends the container; containers.conf names directories, too.
	hook f one one
	sed -i 's/echo one/exit 3/' f/one.json
	try hoy --hooks-dir f run --rm --network none busybox true
	[[ $status != 0 ]]
	printf '[engine]\nhooks_dir = ["%s/a"]\n' "$PWD" >conf
	[[ $(CONTAINERS_CONF_OVERRIDE=$PWD/conf hooked hoy run --rm --network none busybox true) == 'two creating x one creating x' ]]
	# What a build keeps, has them.
	hoy_build build -q --layers --rm=false --no-cache --network none --hooks-dir "$PWD/a" . >/dev/null
	c=$(hoy_build containers -q)
	[[ $(hooked hoy_build run "$c" -- true) == 'two creating x one creating x' ]]
	[[ $(hooked oracle_buildah run --network none "$c" -- true | sed 's/created/creating/g') == 'two creating x one creating x' ]]
}

@test "run --no-pivot, and BUILDAH_NOPIVOT" {
	have_image busybox
	printf '#!/bin/sh\necho "$@" >>%s/words\nexec %s/hoy-runtime "$@"\n' "$T" "$HOY_BIN" >runtime
	chmod 755 runtime
	c=$(hoy_build from busybox)
	[[ $(hoy_build run --runtime "$T/runtime" "$c" -- echo one) == one ]]
	not grep -q -e --no-pivot words
	[[ $(hoy_build run --no-pivot --runtime "$T/runtime" "$c" -- sh -c 'echo two; ls -d /bin') == $'two\n/bin' ]]
	grep -q -e 'create.*--no-pivot' words
	rm words
	[[ $(BUILDAH_NOPIVOT=1 hoy_build run --runtime "$T/runtime" "$c" -- echo three) == three ]]
	grep -q -e 'create.*--no-pivot' words
	rm words
	printf 'FROM busybox\nRUN echo ran >/ran\n' >Containerfile
	BUILDAH_NOPIVOT=1 hoy_build build -q --network none --runtime "$T/runtime" -t ran . >/dev/null
	grep -q -e 'create.*--no-pivot' words
	rm words
	printf '[engine]\nno_pivot_root = true\n' >conf
	[[ $(CONTAINERS_CONF_OVERRIDE=$PWD/conf hoy --runtime "$T/runtime" run --rm --network none ran cat /ran) == ran ]]
	grep -q -e 'create.*--no-pivot' words
	[[ $(hoy_build run --isolation chroot --no-pivot "$c" -- ls -d /bin /proc/self) == $'/bin\n/proc/self' ]]
}

# Settings of a container, and a command that shows what has come of them: both tools say the same, with each isolation that is named.
settings_table() {
	cat <<-'END'
		oci chroot|--ulimit nofile=100:200 --ulimit nproc=50|ulimit -Sn; ulimit -Hn; ulimit -u
		oci chroot|--ulimit core=0 --ulimit stack=1000000:2000000 --ulimit cpu=-1|ulimit -c; ulimit -s; ulimit -t
		oci|--shm-size 1m|df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2
		oci chroot|--cap-add NET_ADMIN,sys_time --cap-drop CAP_CHOWN|grep Cap /proc/self/status
		oci chroot|--cap-drop all|grep Cap /proc/self/status
		oci chroot|--cap-add all|grep Cap /proc/self/status
		oci chroot|--security-opt no-new-privileges|grep NoNew /proc/self/status
		oci chroot|--security-opt seccomp=unconfined|grep Seccomp: /proc/self/status
		oci|--cap-drop chown|grep Seccomp: /proc/self/status
		oci chroot|--security-opt mask=/home:/etc/passwd|ls /home | wc -l; wc -c </etc/passwd
		oci chroot|--security-opt unmask=/proc/timer_list|wc -c </proc/keys; wc -l </proc/timer_list | grep -c ..
		oci chroot|--security-opt label=disable --security-opt apparmor=unconfined|wc -c </proc/keys
		oci|--device /dev/null:/dev/mynull|stat -c "%F %t:%T %a" /dev/mynull
		oci chroot|--volume VOL:/mnt/v|cat /mnt/v/v; touch /mnt/v/w; ls /mnt/v
		oci chroot|--volume VOL:/mnt/v:ro|touch /mnt/v/x 2>&1 | grep -c Read-only
		oci chroot|--volume VOL:/mnt/v:O|echo new >/mnt/v/v; touch /mnt/v/y; ls /mnt/v
		oci chroot|--volume VOL:/mnt/v:z|cat /mnt/v/v
		oci|--volume VOL:/mnt/v:U|stat -c %u:%g /mnt/v
		oci chroot|--add-host foo:1.2.3.4 --network host|grep foo /etc/hosts
		chroot|--add-host bar:host-gateway|grep bar /etc/hosts
		oci chroot|--add-host foo:1.2.3.4 --network none|cat /etc/hosts 2>&1
		oci|--dns 1.2.3.4 --dns-search ex.org --dns-option ndots:3|sort /etc/resolv.conf
		oci chroot|--dns none --network host|cat /etc/resolv.conf 2>&1
		oci chroot|--dns 1.2.3.4 --network none|cat /etc/resolv.conf 2>&1
		oci|--network none|ls /sys/class/net
		oci|--network host --pid host --ipc host --cgroupns host --uts host|for n in pid uts ipc cgroup; do readlink /proc/self/ns/$n; done; hostname
		chroot|--pid host --ipc host --cgroupns host|for n in pid ipc cgroup; do readlink /proc/self/ns/$n; done
		oci chroot|--uts private|hostname | wc -c; wc -c </etc/hostname
		oci chroot|--group-add 77 --group-add 78|id -G
		oci|--group-add keep-groups|id -G
		oci chroot|--http-proxy=true|env | grep -i proxy | sort
		oci chroot|--http-proxy=false|env | grep -i proxy | sort
		oci|--cap-drop setfcap|env | sort | grep -v HOSTNAME; id; pwd; umask; stat -c %a /dev/null /tmp; ls /dev | sort | xargs
		oci|--cgroup-parent /hoy-test-build|echo ok
	END
}

@test "from, run: what a container's settings do, as with buildah" {
	have_image busybox
	export HTTP_PROXY=http://proxy.invalid no_proxy=x
	failed=0
	while IFS='|' read -r isolations options command; do
		for isolation in $isolations; do
			for who in oracle_buildah hoy_build; do
				rm -rf vol
				mkdir vol
				echo v >vol/v
				# shellcheck disable=SC2086
				c=$($who from --isolation $isolation ${options//VOL/$PWD/vol} busybox)
				$who run "$c" -- sh -c "$command" </dev/null >"$who.out" 2>"$who.err" || true
				(cd vol && ls && cat v) >>"$who.out"
				$who rm "$c" >/dev/null
			done
			cmp -s oracle_buildah.out hoy_build.out || { echo "--- $isolation $options: $command"; diff oracle_buildah.out hoy_build.out || cat hoy_build.err; failed=1; }
		done
	done < <(settings_table)
	[[ $failed == 0 ]]
}

@test "limits of memory and CPU: from, run and build, where the machine has them" {
	have_image busybox
	see='for f in memory/memory.limit_in_bytes memory.max cpu/cpu.shares cpu/cpu.cfs_period_us cpu/cpu.cfs_quota_us cpu.max; do cat /sys/fs/cgroup/$f 2>/dev/null; done; grep Cpus_allowed_list /proc/self/status'
	limits=(--memory 64m --memory-swap 128m --cpu-shares 100 --cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0)
	c=$(hoy_build from "${limits[@]}" busybox)
	got=$(hoy_build run "$c" -- sh -c "$see")
	if [[ $(stat -fc %T /sys/fs/cgroup) == cgroup2fs ]]; then
		[[ $got == $'67108864\n20000 50000\nCpus_allowed_list:\t0' ]]
	else
		[[ $got == $'67108864\n100\n50000\n20000\nCpus_allowed_list:\t0' ]]
	fi
	printf 'FROM busybox\nRUN (%s) >/got\n' "$see" >Containerfile
	hoy_build build -q --network none "${limits[@]}" -t limited . >/dev/null
	[[ $(hoy run --rm --network none limited cat /got) == "$got" ]]
	hoy build -q --network none "${limits[@]}" -t limited2 . >/dev/null
	[[ $(hoy run --rm --network none limited2 cat /got) == "$got" ]]
}

@test "isolation chroot: what it does beyond buildah's, in a build and in run" {
	have_image busybox
	mkdir vol
	echo v >vol/v
	c=$(hoy_build from --isolation chroot --shm-size 1m --dns 1.2.3.4 --dns-search ex.org --dns-option ndots:3 --group-add wheel busybox)
	[[ $(hoy_build run "$c" -- sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2; sort /etc/resolv.conf; id -G') == $'1024\nnameserver 1.2.3.4\noptions ndots:3\nsearch ex.org\n0 10' ]]
	[[ $(hoy_build run --network none "$c" -- sh -c 'ls /sys/class/net; wget -O - http://127.0.0.1:1/ 2>&1 | grep -o refused') == $'lo\nrefused' ]]
	[[ $(hoy_build run --no-hosts --no-hostname "$c" -- sh -c 'ls /etc/hosts /etc/hostname 2>/dev/null') == '' ]]
	[[ $(hoy_build run --hostname there "$c" -- sh -c 'hostname; cat /etc/hostname') == $'there\nthere' ]]
	[[ $(hoy_build run -v "$PWD/vol:/v:ro,nosuid,noexec" "$c" -- sh -c 'grep " /v " /proc/self/mountinfo' ) == *ro,nosuid,noexec* ]]
	hoy_build commit -q "$c" clean >/dev/null
	m=$(hoy image mount clean)
	[[ ! -e $m/etc/hostname && ! -e $m/etc/resolv.conf && ! -e $m/v/v ]]
	hoy image umount clean >/dev/null
	printf 'FROM busybox\nRUN --network=none ls /sys/class/net >/nets; ls /v >/now; id -G >/groups; cat /etc/resolv.conf >/resolv 2>&1; echo x >/v/x\nRUN cat /etc/resolv.conf >/resolv2; grep gate /etc/hosts >/hosts; stat -c %%s /proc/keys >/keys\n' >Containerfile
	hoy_build build -q --isolation chroot --group-add 5 --dns 5.6.7.8 --add-host gate:9.9.9.9 --volume "$PWD/vol:/v:O" --security-opt label=disable -t built . >/dev/null
	[[ $(hoy run --rm --network none built cat /nets /now /groups /resolv2 /hosts | xargs) == 'lo v 0 5 nameserver 5.6.7.8 9.9.9.9 gate' ]]
	[[ $(hoy run --rm --network none built cat /resolv) == *'No such file'* && $(ls vol) == v ]]
}

@test "build: a secret as a variable is on no command line, with either isolation" {
	have_image busybox
	printf hush-hush >sec
	printf 'FROM busybox\nRUN --mount=type=secret,id=s,env=KEY [ ${#KEY} = 9 ] && sleep 1.234\n' >Containerfile
	for isolation in oci chroot; do
		hoy_build build -q --no-cache --network host --secret id=s,src=sec --isolation $isolation -t "with-$isolation" . >/dev/null 3>&- &
		until_true 20 pgrep -xf 'sleep 1.234'
		not grep -l hush-hush /proc/[0-9]*/cmdline
		wait $!
	done
	not grep -rqs hush-hush "$ROOT"
}

@test "copy --link, add --link: layers beside the container's own, with either tool" {
	have_image busybox
	mkdir -p dir/sub
	echo x >dir/sub/file
	tar -cf arch.tar --owner=3 --group=4 -C dir sub
	find dir arch.tar -exec touch -d @500 {} +
	for who in oracle_buildah hoy_build; do
		c=$("$who" from --name "c-$who" busybox)
		"$who" copy -q --link --timestamp 1000 --chown 7:8 "$c" dir/sub/file /linked/file
		"$who" run "$c" -- sh -c 'echo own >/own; [ ! -e /linked ]'
		"$who" add -q --link --timestamp 2000 "$c" arch.tar /un
		"$who" copy -q --link "$c" dir/sub /linked/sub
		jq -S '.AppendedLinkedLayers | map(del(.BlobPath) | .History.created_by |= gsub("ADD --link file:[0-9a-f]*"; "ADD"))' "$ROOT/overlay-containers/$(hoy_build inspect -f '{{.ContainerID}}' "$c")/userdata/buildah.json" >"$who.settings"
	done
	diff oracle_buildah.settings hoy_build.settings
	for c in c-oracle_buildah c-hoy_build; do
		for who in oracle_buildah hoy_build; do
			for format in oci docker; do
				"$who" commit -q --timestamp 5000 -f $format "$c" "$c-$who-$format" >/dev/null
				hoy image inspect "$c-$who-$format" | jq -S '.[0] | {Config, History, n: (.RootFS.Layers | length), Created} | del(.Config.Hostname) | .History[].created_by |= gsub("ADD --link file:[0-9a-f]*"; "ADD")' >"$c-$who-$format.json"
				hoy run --rm --network none "$c-$who-$format" sh -c 'stat -c "%n %u:%g %a %Y" /linked/file /un/sub/file; cat /own /linked/file /un/sub/file' >>"$c-$who-$format.json"
			done
		done
	done
	for f in c-*-oci.json; do diff c-oracle_buildah-oracle_buildah-oci.json "$f"; done
	for f in c-*-docker.json; do diff c-oracle_buildah-oracle_buildah-docker.json "$f"; done
	# Nothing is left in between, and what a transport gets is whole.
	[[ -z $(hoy images -q --filter dangling=true) && $(hoy_build containers -q | wc -l) == 2 ]]
	hoy_build commit -q c-hoy_build "oci:$PWD/out" >/dev/null
	[[ $(jq '.layers | length' "$PWD/out/blobs/sha256/$(jq -r '.manifests[0].digest | sub("sha256:"; "")' out/index.json)") == 5 && -z $(hoy images -q --filter dangling=true) ]]
	try hoy_build commit -q --squash c-hoy_build squashed
	assert_error "can't add prebuilt layers and produce an image with only one layer"
	hoy_build rm -a >/dev/null
	[[ -z $(find "$ROOT" -name 'link-stage-*') ]]
}

@test "isolation chroot of an ordinary user: no network, a volume over, groups, name servers" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	mkdir -p "$U/bin" "$U/app" "$U/vol"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	echo v >"$U/vol/v"
	printf 'FROM busybox\nRUN ls /sys/class/net >/nets; cat /proc/net/dev | wc -l >>/nets; ls /v; echo x >/v/x; id -G >/groups\n' >"$U/app/Containerfile"
	chown -R hoytest "$U/app" "$U/vol"
	u() { as_user "$U/bin/hoy-build" "$@"; }
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	c=$(u from --isolation chroot --dns 1.2.3.4 busybox)
	[[ $(u run --network none "$c" -- sh -c 'wc -l </proc/net/dev; wget -O - http://127.0.0.1:1/ 2>&1 | grep -o refused; cat /etc/resolv.conf 2>/dev/null' | xargs) == '3 refused' ]]
	[[ $(u run "$c" -- cat /etc/resolv.conf) == 'nameserver 1.2.3.4' ]]
	[[ $(u run -v "$U/vol:/v:O" "$c" -- sh -c 'echo w >/v/w; ls /v' | xargs) == 'v w' && $(ls "$U/vol") == v ]]
	u build -q --isolation chroot --network none --group-add 5 --volume "$U/vol:/v:O" -t built app >/dev/null
	[[ $(as_user podman run --rm --network none built cat /groups) == '0 5' && $(ls "$U/vol") == v ]]
	u rm -a >/dev/null
}
