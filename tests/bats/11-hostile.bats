#!/usr/bin/env bats
# Lying registries, images and layers: one line, status 125, and a store as if nothing had been.
load ../lib/hoy

export HOY_STALL_TIMEOUT=1

untouched() {
	[[ -z $(hoy images -q) ]] || show 'an image was left'
	[[ ! -e $ROOT/overlay/tempdirs || -z $(ls "$ROOT/overlay/tempdirs" "$ROOT/overlay-layers/tmp" | grep -v :) ]] || show 'temporary things were left'
	[[ ! -e $ROOT/overlay-layers/layers.json || $(<"$ROOT/overlay-layers/layers.json") == '[]' ]] || show 'a layer was left'
}

# refused RULE TEXT [RETRIES]
refused() {
	hostile_start "h$((n += 1))" "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[$1]}"
	try hoy pull -q --tls-verify=false --retry "${3:-1}" --retry-delay 10ms "$HOSTILE/any:latest"
	stderr=$(grep -v '^Warning: .*trying again' <<<"$stderr")
	assert_error "$2" || { echo "rule: $1"; return 1; }
	untouched
}

@test "hostile registries: lies about blobs" {
	refused '{"match":"layer:0","lie":"corrupt","at":99}' 'is not what its digest says'
	refused '{"match":"layer:0","lie":"extra"}' 'more than'
	refused '{"match":"layer:0","lie":"truncate","bytes":5000}' ''
	refused '{"match":"layer:0","lie":"status","code":404}' 'has no blob'
	refused '{"match":"layer:0","lie":"status","code":500}' 'status 500'
	refused '{"match":"layer:0","lie":"status","code":403}' 'hoy login'
	# (curl looks at the mean of some seconds: each try takes seven)
	refused '{"match":"layer:0","lie":"hang","after":1000}' '' 0
	refused '{"match":"layer:0","lie":"hang","after":-1}' ''
	refused '{"match":"layer:0","lie":"loop"}' ''
	refused '{"match":"layer:0","lie":"redirect","location":"file:///etc/passwd"}' ''
	refused '{"match":"layer:0","lie":"garbage"}' ''
	refused '{"match":"config","lie":"corrupt"}' 'digest'
	refused '{"match":"config","lie":"giant"}' ''
}

@test "hostile registries: lies about manifests" {
	refused '{"match":"manifest","lie":"giant"}' 'more than'
	refused '{"match":"manifest","lie":"nested"}' ''
	refused '{"match":"manifest","lie":"corrupt"}' ''
	refused '{"match":"manifest","lie":"digest"}' 'digest'
	refused '{"match":"manifest","lie":"status","code":401}' 'hoy login'
	refused '{"match":"manifest","lie":"garbage"}' ''
	refused '{"match":"manifest","lie":"body","text":"hello"}' ''
}

@test "cut connections: the rest is fetched by Range, or anew" {
	for rule in '{"match":"layer:0","lie":"truncate","bytes":5000,"times":1}' '{"match":"layer:0","lie":"reset","after":9000,"times":2}' \
		'{"match":"layer:0","lie":"truncate","bytes":5000,"times":1},{"match":"layer:0","lie":"range","range":"ignore"}' \
		'{"match":"layer:0","lie":"status","code":503,"times":1}' '{"match":"manifest","lie":"status","code":429,"headers":{"Retry-After":"0"},"times":2}'; do
		store_new "s$((n += 1))"
		hostile_start "c$n" "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[$rule]}"
		try hoy pull -q --tls-verify=false --retry-delay 10ms "$HOSTILE/any:latest"
		assert_success
	done
	grep -q '"range": "bytes=5000-"' "$T/hostile-c1/log.jsonl" || show 'no Range was asked for'
}

@test "hostile images: refused, or whole and harmless" {
	mkdir canary
	for kind in $("$HOY_TESTS/fixtures/hostile" list | awk '$1 == "image" { print $2 }'); do
		store_new "i-$kind"
		"$HOY_TESTS/fixtures/hostile" image "$kind" "$T/$kind" --canary "$T/canary"
		try timeout 60 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" pull -q --max-layer-size 100m "oci:$T/$kind:latest"
		[[ -z $(ls canary) ]]
		[[ $status == 0 ]] && continue
		assert_error '' || { echo "image: $kind"; return 1; }
		[[ $kind != bomb || $stderr == *'--max-layer-size allows'* ]] || show 'the bomb was not refused for its size'
		untouched
	done
}

@test "--max-layer-size: import, load, pull" {
	oci=$(fixture busybox)/oci
	try hoy import --max-layer-size 100k "$(fixture busybox)/rootfs.tar"
	assert_error 'more than the 102400 bytes'
	try hoy load -q --max-layer-size 100k -i "$oci"
	assert_error 'more than the 102400 bytes'
	try hoy pull -q --max-layer-size 0 "oci:$oci"
	assert_error "'0' is no size"
	untouched
	try hoy load -q --max-layer-size 1g -i "$oci"
	assert_success
}

# What the import of the tar KIND ended with; VERDICT as in the list of kinds. What was taken can be given on, byte for byte.
judge() {
	local sum id=${output#sha256:}
	[[ -z $(printf %s canary/*) ]] || show 'something was written outside'
	[[ $status == 0 || $2 != taken ]] || show 'it was not taken'
	if [[ $status != 0 ]]; then
		assert_error "$2"
	else
		[[ $2 == taken || -z $2 ]] || show 'it was taken'
		hoy copy -q --dest-decompress "containers-storage:$id" "dir:$T/out"
		read -r sum _ < <(sha256sum "tars/$1.tar")
		[[ $(<out/manifest.json) == *"\"digest\":\"sha256:$sum\""* ]] || show 'it comes back with other bytes'
		hoy system check
		hoy rmi "$id" >/dev/null
		rm -r out
	fi
}

# In one store, with bash's own means: there are many.
@test "hostile layers: the error that each deserves; nothing outside, nothing left" {
	local what kind verdict
	shopt -s nullglob dotglob
	mkdir canary tars
	"$HOY_TESTS/fixtures/hostile" tars tars --canary "$T/canary"
	while IFS=$'\t' read -r what kind _ verdict; do
		[[ $what == tar ]] || continue
		# The layer that is deeper than there are descriptors must go, too.
		status=0
		output=$(ulimit -n 128; exec timeout 60 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" import -q "tars/$kind.tar" 2>err) || status=$?
		stderr=$(<err)
		judge "$kind" "$verdict" || { echo "tar: $kind"; return 1; }
		[[ -z $(printf %s "$ROOT"/overlay/[0-9a-f][0-9a-f]*/ "$ROOT"/overlay/tempdirs/* "$ROOT"/overlay-layers/tmp/*) ]] || { echo "$kind: something was left"; return 1; }
		[[ ! -e $ROOT/overlay-layers/layers.json || $(<"$ROOT/overlay-layers/layers.json") == "[]" ]] || { echo "$kind: a layer was left"; return 1; }
	done < <("$HOY_TESTS/fixtures/hostile" list)
	untouched
	hoy system check
}

@test "hostile layers: --max-layer-size counts what a sparse file would be" {
	"$HOY_TESTS/fixtures/hostile" tar sparse-honest-1-0 s.tar
	try hoy import -q --max-layer-size 100k s.tar
	assert_error 'more than the 102400 bytes that --max-layer-size allows'
	untouched
	try hoy import -q --max-layer-size 1m s.tar
	assert_success
}

@test "hostile layers, rootless: no devices, and nothing outside" {
	local U=$T/user k
	take_user
	install -d -o hoytest -g hoytest -m 755 "$U" "$U/run" "$U/canary"
	install -d -m 755 "$U/bin" "$U/tars"
	cp "$HOY_BIN"/hoy* "$U/bin/"
	u() { (cd "$U" && setpriv --reuid hoytest --regid hoytest --clear-groups env -i HOME="$U" XDG_RUNTIME_DIR="$U/run" PATH="$PATH" USER=hoytest "$U/bin/hoy" "$@"); }
	for k in device symlink-overwrite hardlink-to-symlink whiteout-types xattr-overlay root-entry; do
		"$HOY_TESTS/fixtures/hostile" tar "$k" "$U/tars/$k.tar" --canary "$U/canary"
		try u import -q "tars/$k.tar"
		assert_success
		try u copy -q --dest-decompress "containers-storage:${output#sha256:}" "dir:$U/out-$k"
		assert_success
		[[ $(<"$U/out-$k/manifest.json") == *"$(sha256sum <"$U/tars/$k.tar" | cut -d' ' -f1)"* ]]
	done
	pid_record "$(<"$U/run/libpod/tmp/pause.pid")"
	[[ -z $(ls -A "$U/canary") ]]
	[[ -z $(find "$U/.local/share/containers/storage/overlay" -type b) ]]
	# Whiteouts are devices 0:0, which everybody may make.
	[[ -z $(find "$U/.local/share/containers/storage/overlay" -type c -printf '%l %p\n' | while read -r p; do [[ $(stat -c %t:%T "$p") == 0:0 ]] || echo "$p"; done) ]]
	try u system check
	assert_success
}

@test "credentials go to the registry that they are for, and to no host that it names" {
	hostile_start other "{\"layout\":\"$(fixture busybox)/oci\"}"
	other=$HOSTILE log=$HOSTILE_DIR/log.jsonl
	hostile_start first "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[
		{\"match\":\"manifest\",\"lie\":\"status\",\"code\":401,\"headers\":{\"WWW-Authenticate\":\"Basic realm=\\\"x\\\"\"},\"times\":1},
		{\"match\":\"(.*)/blobs/\",\"lie\":\"redirect\",\"location\":\"http://$other/v2/any/blobs/$(jq -r .config.digest "$(fixture busybox)/oci/blobs/sha256/$(jq -r '.manifests[0].digest[7:]' "$(fixture busybox)/oci/index.json")")\"}]}"
	try "$HOY_BIN/hoy-image" inspect --config --creds joe:secret-word --tls-verify=false "docker://$HOSTILE/any:latest"
	assert_success
	[[ $stdout$stderr != *secret-word* ]] || show 'the password was told'
	[[ $(jq -c 'select(.path | contains("/blobs/")) | .authorization' "$HOSTILE_DIR/log.jsonl") == true ]] || show 'the registry got no credentials'
	[[ $(jq -c 'select(.path | contains("/blobs/")) | .authorization' "$log") == false ]] || show 'another host got credentials'
	# Wrong ones are refused without a word of them, and command lines in /proc do not have what a file or stdin gave.
	hostile_start deaf "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[{\"match\":\".\",\"lie\":\"status\",\"code\":401,\"headers\":{\"WWW-Authenticate\":\"Basic realm=\\\"x\\\"\"}}]}"
	try hoy pull -q --creds joe:secret-word --tls-verify=false "$HOSTILE/any:latest"
	assert_error "(run: hoy login $HOSTILE)"
	[[ $stderr != *secret-word* ]] || show 'the password was told'
}
