#!/usr/bin/env bats
# Pulls that are interrupted go on where they stopped, and a blob is fetched once however many want it.
load ../lib/hoy

# serve NAME RULES: an image whose biggest layer is number 3 (13 MB).
serve() { hostile_start "$1" "{\"layout\":\"$(fixture stack)/oci\",\"rules\":[$2]}"; }
pull() { hoy pull --tls-verify=false --retry 0 "$HOSTILE/stack:latest"; }
blob() { jq -r ".layers[$1].digest" <<<"$manifest"; }
part() { printf '%s/hoy/blobs/%s.part\n' "$ROOT" "$(blob "$1")"; }
has() { [[ $(stat -c %s "$(part "$1")" 2>/dev/null || echo 0) -ge $2 ]]; }
# The requests for blob number N so far, by their ranges.
asked() { jq -r "select(.method == \"GET\" and (.path | endswith(\"$(blob "$1")\"))) | .range" "$HOSTILE_DIR/log.jsonl"; }
forget() { : >"$HOSTILE_DIR/log.jsonl"; }

whole() {
	try oracle_podman run --rm --network none "$HOSTILE/stack" cat /var/www/html/index.html
	assert_success
	try oracle_podman system check
	assert_success
	[[ -z $(ls "$ROOT/hoy/blobs" "$ROOT/overlay/tempdirs" "$ROOT/overlay-layers/tmp" | grep -v -e : -e '^$') ]] || show 'something was left'
}

setup() {
	hoy_setup
	local digest
	digest=$(jq -r '.manifests[0].digest' "$(fixture stack)/oci/index.json")
	manifest=$(<"$(fixture stack)/oci/blobs/sha256/${digest#sha256:}")
}

# A pull that gets all layers but number 3, and of that one 2 MB (of 13, in 6 s); its pid is $pulling.
interrupted() {
	local i
	serve s '{"match":"layer:3","lie":"slow","rate":2000000,"times":1}'
	: >"$STORE/.used-hoy"
	background "$HOY_BIN/hoy" "${HOY_OPTS[@]}" pull --tls-verify=false "$HOSTILE/stack:latest" >out 2>&1
	pulling=$!
	until_true 60 has 3 2000000
	for i in 0 1 2 4; do
		until_true 60 has $i "$(jq ".layers[$i].size" <<<"$manifest")"
	done
}

@test "kill -9: what had arrived is not fetched again" {
	interrupted
	kill -9 "$pulling"
	wait "$pulling" || true
	forget
	before=$(stat -c %s "$(part 3)")
	try pull
	assert_success
	[[ $(asked 3) == "bytes=$before-" ]] || show "not from $before on: $(asked 3)"
	for i in 0 1 2 4; do
		[[ -z $(asked $i) ]] || show "layer $i was fetched again"
	done
	whole
}

@test "a cut link, retries used up: the next pull goes on, also where ranges are refused" {
	local lie
	for lie in '' ',{"match":"layer:3","lie":"range","range":"refuse"}' ',{"match":"layer:3","lie":"range","range":"ignore"}' ',{"match":"layer:3","lie":"range","range":"wrong"}'; do
		store_new "s$((n += 1))"
		serve "c$n" '{"match":"layer:3","lie":"truncate","bytes":9000000,"times":1}'"$lie"
		try pull
		assert_status 125
		before=$(stat -c %s "$(part 3)")
		((before > 8000000)) || show "only $before bytes were kept"
		forget
		try hoy pull -q --tls-verify=false --retry 1 --retry-delay 10ms "$HOSTILE/stack:latest"
		assert_success
		[[ $(asked 3 | head -1) == "bytes=$before-" ]]
		whole
	done
}

@test "several at once: each blob is fetched once; a holder that dies is followed" {
	local pids=() p
	serve m ''
	for p in 1 2 3 4; do
		pull >"out$p" 2>"err$p" &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || { cat err?; false; }; done
	[[ $(sort -u out? | wc -l) == 1 ]]
	for i in 0 1 2 3 4; do
		[[ $(asked $i) == null ]] || show "layer $i was asked for so: $(asked $i)"
	done
	whole
	store_new other
	interrupted
	forget
	pull >follower 2>follower.err &
	p=$!
	until_true 10 grep -q 'Waiting for blob' follower.err
	[[ -z $(asked 3) ]]
	kill -9 "$pulling"
	wait "$p"
	[[ $(asked 3) =~ ^bytes=[0-9]{7,8}-$ ]] || show "asked: $(asked 3)"
	[[ -z $(asked 0) ]]
	whole
}

@test "two names of one image at once, with many threads and with one" {
	serve x '{"match":"layer:0","lie":"slow","rate":30000000}'
	hoy pull -q --tls-verify=false "$HOSTILE/stack:latest" >one &
	hoy pull -q --tls-verify=false --image-parallel-copies 1 "$HOSTILE/another:latest" >two
	wait $!
	[[ $(<one) == "$(<two)" ]]
	[[ $(asked 0) == null ]]
	hoy images --format '{{.Repository}}' | grep -c . | grep -qx 2
	whole
}

@test "after a power loss only what was synced counts; what is damaged is fetched anew" {
	interrupted
	kill -9 "$pulling"
	wait "$pulling" || true
	setfattr -n user.hoy.synced -v 'another-boot 1000000' "$(part 3)"
	setfattr -n user.hoy.synced -v 'another-boot 0' "$(part 0)"
	setfattr -x user.hoy.synced "$(part 1)"
	printf 'garbage' | dd of="$(part 2)" bs=1 seek=5000 conv=notrunc status=none
	forget
	try pull
	assert_success
	[[ $(asked 3) == 'bytes=1000000-' ]]
	[[ $(asked 0) == null && $(asked 1) == null && $(asked 2) == null ]]
	whole
}

@test "bytes that the digest denies are not kept" {
	serve l '{"match":"layer:1","lie":"corrupt","at":99,"times":1}'
	try pull
	assert_status 125
	assert_stderr_has 'is not what its digest says'
	[[ ! -e $(part 1) ]]
	try pull
	assert_success
	whole
}

@test "a layer that is too large is no reason to fetch it again" {
	interrupted
	kill -9 "$pulling"
	wait "$pulling" || true
	forget
	before=$(stat -c %s "$(part 3)")
	try hoy pull --tls-verify=false --retry 0 --max-layer-size 1m "$HOSTILE/stack:latest"
	assert_status 125
	assert_stderr_has 'more than the 1048576 bytes that --max-layer-size allows'
	[[ $(asked 3) != *null* ]] || show "asked: $(asked 3)"
	has 3 "$before"
}

@test "a full disk: the store is as it was, and the next pull goes on" {
	truncate -s 1300M disk
	mkfs.ext4 -q -F disk
	mkdir small
	mount -o loop disk small
	ROOT=$T/small/root
	store_new small
	interrupted
	fallocate -l "$(($(df --output=avail -B1 small | tail -1) - 4000000))" small/filler || true
	dd if=/dev/zero of=small/filler2 bs=64k 2>/dev/null || true
	not wait "$pulling"
	grep -q 'No space left on device' out
	grep -q '^Error: ' out
	[[ -z $(hoy images -q) ]]
	try oracle_podman system check
	assert_success
	rm small/filler small/filler2
	forget
	before=$(stat -c %s "$(part 3)")
	try pull
	assert_success
	[[ $(asked 3) == "bytes=$before-" && -z $(asked 0) ]] || show "asked from $before: $(asked 3), $(asked 0)"
	whole
	umount small
}

@test "parts that nobody comes back for go away" {
	interrupted
	kill -9 "$pulling"
	wait "$pulling" || true
	touch -d '8 days ago' "$ROOT"/hoy/blobs/*
	try hoy pull -q --tls-verify=false "$HOSTILE/stack:none"
	assert_status 125
	serve b ''
	hostile_start b2 "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[]}"
	try hoy pull -q --tls-verify=false "$HOSTILE/busybox:latest"
	assert_success
	[[ -z $(ls "$ROOT/hoy/blobs") ]]
}

@test "429 with the time to come back, in seconds or as a date" {
	hostile_start r "{\"layout\":\"$(fixture busybox)/oci\",\"rules\":[
		{\"match\":\"layer:0\",\"lie\":\"status\",\"code\":429,\"headers\":{\"Retry-After\":\"1\"},\"times\":1},
		{\"match\":\"layer:0\",\"lie\":\"status\",\"code\":503,\"headers\":{\"Retry-After\":\"$(date -ud '+4 seconds' '+%a, %d %b %Y %T GMT')\"},\"times\":1}]}"
	SECONDS=0
	try hoy pull -q --tls-verify=false --retry-delay 10ms "$HOSTILE/any:latest"
	assert_success
	assert_stderr_has 'status 429, trying again in 1.0 s'
	((SECONDS >= 3)) || show "it came back after $SECONDS s"
}

# copied LINK: the stack image through LINK to the registry behind it, as it is, in spite of everything
copied() {
	try "$HOY_BIN/hoy-image" copy --dest-tls-verify=false --retry-times 9 --retry-delay 10ms "oci:$(fixture stack)/oci" "docker://$1/stack:latest"
	assert_success
	[[ $stderr == *'trying again'* ]] || show 'the link was not cut'
}
sizes() { jq '[.layers[].size] | add' <<<"$manifest"; }

@test "an upload that is cut goes on where the registry has it" {
	keeper_start k
	proxy_start k "$KEEPER" up:2000000:6
	copied "$PROXY"
	[[ $(sha256sum <"$KEEPER_DIR/manifests/latest") == "$(jq -r '.manifests[0].digest[7:]' "$(fixture stack)/oci/index.json")  -" ]]
	# Five layers and a config were begun once each.
	[[ $(grep -c ^POST "$KEEPER_DIR/log") == 6 ]] || { cat "$KEEPER_DIR/log"; show 'an upload was begun anew'; }
	read -r up _ <"$PROXY_DIR/bytes"
	# What was on its way when the link was cut is sent twice.
	((up < $(sizes) + 6 * 2000000 / 2)) || show "$up bytes for $(sizes)"

	# Packed here, so that nobody knows the size beforehand: that is begun anew.
	oracle_podman load -q -i "$(fixture stack)/docker.tar"
	proxy_start p "$KEEPER" up:2000000:3
	try hoy push -q --tls-verify=false --retry 9 --retry-delay 10ms localhost/stack "docker://$PROXY/packed:1"
	assert_success
	[[ $stderr == *'trying again'* ]] || show 'the link was not cut'
	try hoy pull -q --tls-verify=false "$KEEPER/packed:1"
	assert_success
}

@test "an upload that is cut and forgotten is sent again; one whose link never gets better is an error" {
	registry_start r
	proxy_start r "$REGISTRY" up:2000000:3
	copied "$PROXY"
	try oracle_podman pull -q --tls-verify=false "$REGISTRY/stack:latest"
	assert_success
	proxy_start b "$REGISTRY" up:2000000:1000
	try "$HOY_BIN/hoy-image" copy --dest-tls-verify=false --retry-times 2 --retry-delay 10ms "oci:$(fixture stack)/oci" "docker://$PROXY/other:latest"
	[[ $status == 1 && $(grep -vc 'Warning\|Copying\|Getting' <<<"$stderr") == 1 ]] || show 'not one line'
	assert_stderr_has "Error: '$PROXY/other'"
}

@test "a link that is cut ten times carries each byte once" {
	registry_start r
	oracle skopeo copy -q --dest-tls-verify=false "oci:$(fixture stack)/oci" "docker://$REGISTRY/stack:latest"
	proxy_start r "$REGISTRY" down:1300000:10
	try "$HOY_BIN/hoy-image" copy --src-tls-verify=false --retry-times 9 --retry-delay 10ms "docker://$PROXY/stack:latest" "dir:$T/d"
	assert_success
	[[ $(grep -c 'trying again' <<<"$stderr") == 10 ]] || show 'the link was not cut ten times'
	read -r _ down <"$PROXY_DIR/bytes"
	((down < $(sizes) * 102 / 100 + 20000)) || show "$down bytes for $(sizes)"
}
