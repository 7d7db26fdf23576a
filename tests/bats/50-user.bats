#!/usr/bin/env bats
# An ordinary user: own store, own namespaces, pasta for the network, sharing with that user's podman.

load ../lib/hoy

setup() {
	hoy_setup
	U=$T/user
	install -d -o hoytest -g hoytest -m 755 "$U" "$U/run"
	# The repository may lie where an ordinary user cannot go.
	install -d -m 755 "$U/bin"
	cp "$HOY_BIN"/hoy* "$U/bin/"
}

# hoy as hoytest, outside of the oracle. The pause process is recorded, so that the test ends it.
u() {
	local pid r=0
	(cd "$U" && setpriv --reuid hoytest --regid hoytest --clear-groups env -i HOME="$U" XDG_RUNTIME_DIR="$U/run" PATH="$PATH" USER=hoytest "$U/bin/hoy" "$@") || r=$?
	[[ -e $U/.recorded || ! -e $U/run/libpod/tmp/pause.pid ]] || {
		pid_record "$(<"$U/run/libpod/tmp/pause.pid")"
		: >"$U/.recorded"
	}
	return $r
}
image() { cp "$(fixture busybox)/rootfs.tar" "$U/"; chmod 644 "$U/rootfs.tar"; u import -q -c 'CMD ["sh"]' "$U/rootfs.tar" bb:1 >/dev/null; }

@test "the same walk as root's: import, images, run, ids, exec, logs, stop, rm" {
	image
	[[ $(u images --format '{{.Repository}}:{{.Tag}}') == localhost/bb:1 ]]
	try u run --rm --network none bb:1 sh -c 'id -u; echo err >&2; exit 3'
	assert_status 3
	assert_stdout 0
	assert_stderr err
	[[ $(u run --rm --network none bb:1 cat /proc/self/uid_map | tr -s ' ') == *"0 $(id -u hoytest) 1"*"1 "*" 65536" ]]
	[[ $(u run --rm --network none -u 1000 bb:1 sh -c 'id -u; touch /tmp/x; stat -c %u /tmp/x' | tr '\n' ' ') == '1000 1000 ' ]]
	u run -d --name c --network none bb:1 sh -c 'echo logged; exec sleep 100'
	try u exec c sh -c 'echo in; exit 4'
	assert_status 4
	assert_stdout in
	assert_stderr ''
	[[ $(u logs c) == logged ]]
	[[ $(u ps --format '{{.Names}} {{.State}}') == 'c running' ]]
	u stop -t 0 c
	u rm c
	[[ $(u ps -aq) == '' ]]
	[[ $(stat -c %U "$U/.local/share/containers/storage") == hoytest ]]
}

@test "sessions, health checks and restarts by an ordinary user's monitor, ours and the real one" {
	image
	for monitor in "$U/bin/hoy-conmon" /usr/bin/conmon; do
		u --conmon "$monitor" run -d --name c --network none --restart always --health-cmd 'test -e /x' --health-interval 200ms --health-retries 1 bb:1 sleep 100
		id=$(u exec -d c sh -c 'touch /x; exit 42')
		until_true 5 bash -c "grep -qxs 42 '$U'/run/containers/hoy/*/exec/$id.exit"
		healthy() { [[ $(u inspect -f '{{.State.Health.Status}}' c) == healthy ]]; }
		until_true 5 healthy
		try u exec -t c sh -c 'exit 5'
		assert_status 5
		kill -9 "$(u inspect -f '{{.State.Pid}}' c)"
		again() { [[ $(u inspect -f '{{.State.Status}} {{.RestartCount}}' c) == 'running 1' ]]; }
		until_true 5 again
		u rm -f -t 0 c
	done
}

@test "registry: pull, run of a missing image, push, rmi, an interrupted pull" {
	registry_start r
	oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture stack)/oci:latest" "docker://$REGISTRY/stack:latest"
	try timeout -s KILL 0.2 setpriv --reuid hoytest --regid hoytest --clear-groups env -i HOME="$U" XDG_RUNTIME_DIR="$U/run" PATH="$PATH" "$U/bin/hoy" \
		pull -q --tls-verify=false "$REGISTRY/stack"
	try u pull -q --tls-verify=false "$REGISTRY/stack"
	assert_success
	[[ $output == $(oracle skopeo inspect --tls-verify=false --config --raw "docker://$REGISTRY/stack" | sha256sum | cut -d' ' -f1) ]]
	[[ $(u run --rm --network none "$REGISTRY/stack" stat -c %u:%g /var/log/nginx/error.log) == 33:4 ]]
	u push -q --tls-verify=false "$REGISTRY/stack" "docker://$REGISTRY/mine:1"
	u rmi -a >/dev/null
	[[ $(u run --rm --network none --tls-verify=false "$REGISTRY/mine:1" cat /var/www/html/index.html | wc -l) == 1 ]]
	[[ -z $(ls "$U/.local/share/containers/storage/hoy/blobs") ]]
}

@test "commands share one namespace, kept by a pause process" {
	image
	pid=$(<"$U/run/libpod/tmp/pause.pid")
	[[ $(stat -c %U "/proc/$pid") == hoytest ]]
	u images >/dev/null
	[[ $(<"$U/run/libpod/tmp/pause.pid") == "$pid" ]]
	kill -9 "$pid"
	rm "$U/.recorded"
	[[ $(u images -q) != '' ]]
	[[ $(<"$U/run/libpod/tmp/pause.pid") != "$pid" ]]
}

@test "a published port by pasta" {
	net_outside
	image
	u run -d --name web -p 127.0.0.1:18080:80 bb:1 httpd -f -h /www -p 80
	until_true 5 curl -sf -o "$T/page" http://127.0.0.1:18080/
	[[ $(<"$T/page") == '<h1>hoy</h1>' ]]
	[[ $(u port web) == '80/tcp -> 127.0.0.1:18080' ]]
	try u run --rm -p 127.0.0.1:18080:80 bb:1 true
	[[ $status != 0 ]]
	u rm -f -t 0 web
	run ! curl -sf http://127.0.0.1:18080/
	# its port is free at once, whatever pasta calls itself (passt.avx2 is one of its names)
	for i in 1 2 3; do
		u run -d --name web -p 127.0.0.1:18080:80 bb:1 httpd -f -h /www -p 80
		u rm -f -t 0 web
	done
}

@test "one id alone where there is no subuid range" {
	userdel -f hoynosub 2>/dev/null || true
	useradd -M -u 4799 hoynosub
	sed -i '/^hoynosub:/d' /etc/subuid /etc/subgid
	chown -R hoynosub:hoynosub "$U"
	v() { (cd "$U" && setpriv --reuid hoynosub --regid hoynosub --clear-groups env -i HOME="$U" XDG_RUNTIME_DIR="$U/run" PATH="$PATH" "$U/bin/hoy" "$@"); }
	cp "$(fixture busybox)/rootfs.tar" "$U/"
	mkdir "$U/r" && tar -xf "$U/rootfs.tar" -C "$U/r" && tar --owner 0 --group 0 -cf "$U/own.tar" -C "$U/r" .
	chmod 644 "$U/own.tar"
	out=$(v import -q "$U/own.tar" bb:1 >/dev/null && v run --rm --network none bb:1 id -u) || true
	kill "$(<"$U/run/libpod/tmp/pause.pid")" || true
	userdel -f hoynosub
	[[ $out == 0 ]]
}

@test "podman of the same user and hoy share store and namespace" {
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	[[ $(as_user "$U/bin/hoy" images --format '{{.Repository}}') == localhost/busybox ]]
	[[ $(as_user "$U/bin/hoy" --runtime "$U/bin/hoy-runtime" run --rm --network none busybox echo by-hoy) == by-hoy ]]
	as_user "$U/bin/hoy" tag busybox mine:1
	[[ $(as_user podman run --rm --network none localhost/mine:1 echo by-podman) == by-podman ]]
}

@test "limits without a delegated cgroup: an error, not silence" {
	image
	try u run --rm --network none -m 64m bb:1 true
	[[ $status != 0 && $stderr == 'Error: '* ]]
}

@test "an ordinary user's artifacts are podman's too" {
	U=$HOY_TEST_AREA/home-hoytest
	as_user true
	as_user mkdir bin
	cp "$HOY_BIN"/hoy* "$U/bin/"
	as_user sh -c 'echo hello >a.txt'
	as_user "$U/bin/hoy" artifact add q.io/x/a:1 a.txt
	[[ $(as_user podman artifact ls -n) == 'q.io/x/a    1 '* ]]
	as_user podman artifact add --append q.io/x/a:1 /etc/hostname
	as_user "$U/bin/hoy" artifact extract --title a.txt q.io/x/a:1 out
	[[ $(as_user cat out) == hello ]]
	as_user "$U/bin/hoy" artifact rm -a
	[[ $(as_user podman artifact ls -n) == '' ]]
}
