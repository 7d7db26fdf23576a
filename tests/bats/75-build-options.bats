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
