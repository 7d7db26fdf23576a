#!/usr/bin/env bats
# Lying registries, images and layers: one line, status 125, and a store as if nothing had been.
load ../lib/hoy

export HOY_STALL_TIMEOUT=2

untouched() {
	[[ -z $(hoy images -q) ]] || show 'an image was left'
	[[ ! -e $ROOT/overlay/tempdirs || -z $(ls "$ROOT/overlay/tempdirs" "$ROOT/overlay-layers/tmp" | grep -v :) ]] || show 'temporary things were left'
	[[ ! -e $ROOT/overlay-layers/layers.json || $(<"$ROOT/overlay-layers/layers.json") == '[]' ]] || show 'a layer was left'
}

refused() {
	hostile_start "h$((n += 1))" "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[$1]}"
	try hoy pull -q --tls-verify=false --retry 1 --retry-delay 10ms "$HOSTILE/any:latest"
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
	refused '{"match":"layer:0","lie":"hang","after":1000}' ''
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

@test "hostile layers: nothing outside, nothing left" {
	mkdir canary tars
	"$HOY_TESTS/fixtures/hostile" tars tars --canary "$T/canary"
	for tar in tars/*.tar; do
		store_new "t-${tar##*/}"
		try timeout 60 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" import "$tar"
		[[ -z $(ls canary) ]]
		[[ $status == 0 ]] && {
			# What was taken can be given on, byte for byte.
			try hoy copy -q --dest-decompress "containers-storage:${output#sha256:}" "dir:$T/out-${tar##*/}"
			assert_success || { echo "tar: $tar"; return 1; }
			[[ -z $(sha256sum <"$tar" | cut -d' ' -f1 | grep -v "$(jq -r '.layers[0].digest' "$T/out-${tar##*/}/manifest.json" | cut -d: -f2)") ]]
			continue
		}
		assert_error '' || { echo "tar: $tar"; return 1; }
		untouched
	done
}
