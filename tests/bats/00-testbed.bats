#!/usr/bin/env bats
# The test bed itself: what the other tests build upon.
# alone: it makes leaks that others would see.

load ../lib/hoy

busybox=localhost/busybox:latest

@test "oracle: sid's tools, exit status, stdin and the three streams pass through" {
	try oracle podman --version
	assert_success
	assert_stdout_like '^podman version [5-9]\.'
	try oracle sh -c 'cat; echo err >&2; exit 42' <<<in
	assert_status 42
	assert_stdout in
	assert_stderr err
}

@test "oracle: its absence is an error that says what to do" {
	HOY_ORACLE_DIR=$T/none try "$HOY_TESTS/oracle" run true
	assert_status 125
	assert_stderr_like "^oracle: there is no current oracle in '$T/none' \(run: .*/oracle make\)$"
}

@test "oracle: only cgroup v2 is seen inside" {
	try oracle stat -f -c %T /sys/fs/cgroup
	assert_stdout cgroup2fs
}

@test "oracle: what was built here finds its libraries inside" {
	try oracle sh -c 'for l in libyajl.so.2 libseccomp.so.2 libcap.so.2 libcurl.so.4 libcrypto.so.3 libarchive.so.13 \
		libisal.so.2 libzstd.so.1 libgpgme.so.11 libmnl.so.0 libnftables.so.1; do
			ldconfig -p | grep -q "^[[:space:]]*$l " || echo "$l"; done'
	assert_success
	assert_stdout ''
}

@test "podman in the oracle runs a container without network" {
	have_image busybox
	try oracle_podman run --rm --network none $busybox sh -c 'echo out; echo err >&2; exit 7'
	assert_status 7
	assert_stdout out
	assert_stderr err
}

@test "mounts are shared: podman's are seen outside, ours inside" {
	have_image busybox
	id=$(oracle_podman create --network none $busybox true)
	merged=$(oracle_podman mount "$id")
	[[ $merged == "$ROOT"/* ]]
	grep -q " $merged " /proc/self/mountinfo
	[[ $(<"$merged/www/index.html") == '<h1>hoy</h1>' ]]
	oracle_podman umount "$id"
	run ! grep -q " $merged " /proc/self/mountinfo

	mkdir "$T/m"
	mount -t tmpfs tmpfs "$T/m"
	echo outside >"$T/m/file"
	try oracle cat "$T/m/file"
	umount "$T/m"
	assert_stdout outside
}

@test "podman's bridge, with a published port, on both sides and from a remote host" {
	net_outside
	have_image busybox
	oracle_podman run -d --name web -p 8080:80 $busybox httpd -f -h /www
	until_true 5 curl -sf -m 2 -o "$T/page" http://127.0.0.1:8080/
	[[ $(<"$T/page") == '<h1>hoy</h1>' ]]
	try ip netns exec "$OUTSIDE" curl -sf -m 5 http://192.0.2.1:8080/
	assert_stdout '<h1>hoy</h1>'
}

@test "podman 4 with runc reads podman 5's store and runs from it" {
	have_image busybox
	try podman4 images --format '{{.Repository}}:{{.Tag}}'
	assert_success
	assert_stdout $busybox
	try podman4 run --rm --network none $busybox cat /www/index.html
	assert_success
	assert_stdout '<h1>hoy</h1>'
}

@test "rootless podman runs without network, with pasta and with slirp4netns" {
	net_outside
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	for net in none pasta slirp4netns; do
		try as_user podman run --rm --network $net $busybox id -u
		assert_success
		assert_stdout 0
	done
}

@test "registry: plain http; skopeo pushes to it and podman pulls from it" {
	registry_start plain
	try curl -s -o /dev/null -w '%{http_code}' "http://$REGISTRY/v2/"
	assert_stdout 200
	oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture busybox)/oci:latest" "docker://$REGISTRY/lib/busybox:1"
	try oracle_podman pull -q --tls-verify=false "$REGISTRY/lib/busybox:1"
	assert_success
	oracle_podman image exists "$REGISTRY/lib/busybox:1"
}

@test "registry: TLS with a private CA, and a login" {
	registry_start tls --tls --htpasswd user:secret
	try curl -s -o /dev/null "https://$REGISTRY/v2/"
	assert_status 60
	try curl -s -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_DIR/ca.crt" "https://$REGISTRY/v2/"
	assert_stdout 401
	try curl -s -o /dev/null -w '%{http_code}' --cacert "$REGISTRY_DIR/ca.crt" -u user:secret "https://$REGISTRY/v2/"
	assert_stdout 200
	try oracle skopeo list-tags --cert-dir "$REGISTRY_DIR/certs.d/$REGISTRY" --creds user:secret "docker://$REGISTRY/none"
	assert_status 1
	assert_stderr_has 'repository name not known'
}

@test "hostile registry: honest by default, and skopeo refuses its lies" {
	layout=$(fixture busybox)/oci
	for lie in '{"lie":"corrupt","at":99}' '{"lie":"extra"}' '{"lie":"status","code":404}' '{"lie":"status","code":403}'; do
		hostile_start "n$((n += 1))" "{\"layout\":\"$layout\",\"rules\":[${lie/\{/\{\"match\":\"layer:0\",}]}"
		try oracle skopeo copy -q --src-tls-verify=false "docker://$HOSTILE/any/name:latest" "dir:$T/out$n"
		assert_status 1
		grep -q '"path": "/v2/any/name/blobs/' "$HOSTILE_DIR/log.jsonl"
	done
	hostile_start honest "{\"layout\":\"$layout\"}"
	try oracle skopeo copy -q --src-tls-verify=false "docker://$HOSTILE/any/name:latest" "dir:$T/out"
	assert_success
}

@test "hostile images: podman takes the honest one and refuses a wrong diff_id" {
	"$HOY_TESTS/fixtures/hostile" image honest "$T/honest"
	"$HOY_TESTS/fixtures/hostile" image diffid "$T/diffid"
	"$HOY_TESTS/fixtures/hostile" image symlink-absolute "$T/symlink" --canary "$T/canary"
	mkdir "$T/canary"
	try oracle_podman pull -q "oci:$T/honest:latest"
	assert_success
	try oracle_podman pull -q "oci:$T/diffid:latest"
	assert_status 125
	try oracle_podman pull -q "oci:$T/symlink:latest"
	[[ -z $(ls "$T/canary") ]]
}

@test "the 5-layer debian image: five layers in both layouts, with whiteouts" {
	dir=$(fixture debian)
	for layout in oci oci-zstd; do
		try oracle skopeo inspect --raw "oci:$dir/$layout:latest"
		[[ $(jq '.layers | length' <<<"$output") == 5 ]]
	done
	[[ $(jq -r '.layers[3].mediaType' <<<"$output") == *+zstd ]]
	tar -tf "$dir/layers/5.tar" >"$T/names"
	grep -qx 'usr/share/.wh.doc' "$T/names"
	grep -qx 'etc/cron.daily/.wh..wh..opq' "$T/names"
}

@test "a test that leaves a mount, a process or a network namespace behind fails, and they are removed" {
	# (Not spelled out: bats would take a line that begins with its keyword for a test of this file.)
	sed 's/^TEST/@test/' >"$T/leak.bats" <<-END
	load $HOY_TESTS/lib/hoy
	TEST "mount" { mkdir m; mount -t tmpfs tmpfs m; }
	TEST "process" { sleep 1000 3>&- & echo \$! >"$T/pid"; }
	TEST "netns" { ip netns add hoy-leak; }
	TEST "nothing" { sleep 1000 3>&- & pid_record \$!; }
	END
	try env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOY_TEST_AREA="$HOY_TEST_AREA" bats --formatter tap "$T/leak.bats"
	assert_status 1
	assert_stdout_like 'not ok 1 mount'.*'mount: .*/m'
	assert_stdout_like 'not ok 2 process'.*'process: '.*'sleep 1000'
	assert_stdout_like 'not ok 3 netns'.*'network namespace: hoy-leak'
	assert_stdout_has 'ok 4 nothing'
	run ! kill -0 "$(<"$T/pid")"
	[[ ! -e /run/netns/hoy-leak ]]
}

@test "the runner counts: ok, not ok, skip, a crash, a short plan, no plan, a time-out" {
	mkdir -p "$T/b/tests/unit"
	unit() { printf '#!/bin/sh\n%s\n' "$2" >"$T/b/tests/unit/$1" && chmod 755 "$T/b/tests/unit/$1"; }
	unit good 'echo 1..2; echo ok 1; echo "ok 2 # SKIP why"'
	try env HOY_BUILD="$T/b" HOY_TEST_STRICT=0 "$HOY_TESTS/run" "$T/b/tests/unit/good"
	assert_success
	[[ ${lines[-1]} == '1 passed, 0 failed, 1 skipped' ]]
	try env HOY_BUILD="$T/b" HOY_TEST_STRICT=1 "$HOY_TESTS/run" "$T/b/tests/unit/good"
	assert_status 1
	[[ ${lines[-1]} == '1 passed, 1 failed, 0 skipped' ]]
	unit bad 'echo 1..1; echo "not ok 1 - it"; echo "# detail"; exit 1'
	unit crash 'echo 1..1; echo ok 1; kill -SEGV $$'
	unit short 'echo 1..3; echo ok 1'
	unit planless 'echo ok 1'
	unit slow 'echo 1..1; echo ok 1; sleep 60'
	try env HOY_BUILD="$T/b" HOY_TEST_STRICT=0 HOY_TEST_TIMEOUT=1 "$HOY_TESTS/run" "$T/b/tests/unit/"*
	assert_status 1
	[[ ${lines[-1]} == '5 passed, 5 failed, 1 skipped' ]]
	assert_stdout_has '# detail'
	assert_stdout_has 'unit/crash: it exited with status 139'
	assert_stdout_has 'unit/short: it planned 3 tests and ran 1'
	assert_stdout_has 'unit/planless: it ended without a plan'
	assert_stdout_has 'unit/slow: it took longer than 1 seconds'
	mkdir "$T/empty"
	try env HOY_BUILD="$T/empty" "$HOY_TESTS/run" "$T/empty/none"
	assert_status 1
	[[ ${lines[-1]} == '0 passed, 0 failed, 0 skipped' ]]
}
