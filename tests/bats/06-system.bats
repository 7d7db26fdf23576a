#!/usr/bin/env bats
# What the store holds, what it can free, what is damaged in it: hoy and podman on the same store, both ways.

load ../lib/hoy

# Three images on each other's layers: busybox, mid (+50 kB), top (+70 kB).
have_chain() {
	have_image busybox
	oracle_podman run --name w1 --network none busybox dd if=/dev/zero of=/one bs=1000 count=50
	oracle_podman commit -q w1 mid
	oracle_podman rm w1
	oracle_podman run --name w2 --network none mid dd if=/dev/zero of=/two bs=1000 count=70
	oracle_podman commit -q w2 top
	oracle_podman rm w2
}

image_id() { oracle_podman images -q --no-trunc "$1" | sed 's/sha256://'; }

# Nothing of any layer, image or container is left in the store, and podman finds nothing to complain of.
assert_empty_store() {
	[[ $(ls "$ROOT/overlay" | grep -vE '^(l|tempdirs|staging)$') == '' ]]
	[[ $(ls "$ROOT/overlay/l") == '' ]]
	[[ $(find "$ROOT/overlay-layers" "$ROOT/overlay-images" "$ROOT/overlay-containers" -regextype egrep -regex '.*/[0-9a-f]{64}[^/]*') == '' ]]
	podman_is_happy
}

podman_is_happy() {
	try oracle_podman system check
	assert_success
	assert_stdout ''
}

@test "image prune asks, and takes no silence for an answer" {
	for all in '' -a; do
		diff <(hoy image prune $all </dev/null 2>&1; echo $?) <(oracle_podman image prune $all </dev/null 2>&1; echo $?)
	done
	have_image busybox
	hoy untag busybox
	try hoy image prune <<<n
	assert_success
	[[ $(oracle_podman images -q) != '' ]]
	try hoy image prune <<<Yes
	assert_success
	assert_empty_store
}

@test "image prune: nameless images only, children keep their parents; --sizes tells what was freed" {
	have_chain
	mid=$(image_id mid) top=$(image_id top)
	oracle_podman untag mid
	try hoy image prune -f
	assert_success
	assert_stdout ''
	hoy untag top
	before=$(oracle_podman system df --format '{{.RawSize}}' | head -n 1)
	try hoy image prune -f --sizes
	assert_success
	[[ $(cut -d' ' -f1 <<<"$output") == "$top"$'\n'"$mid" ]]
	freed=$(awk '{ n += $2 } END { print n }' <<<"$output")
	[[ $(oracle_podman system df --format '{{.RawSize}}' | head -n 1) == $((before - freed)) ]]
	[[ $(oracle_podman images --format '{{.Repository}}') == localhost/busybox ]]
	podman_is_happy
}

@test "image prune -a spares what containers use; both sides print the same" {
	have_chain
	oracle_podman create --name k --network none mid true
	base=$(image_id busybox) top=$(image_id top)
	try hoy image prune -fa
	assert_success
	[[ $(sort <<<"$output") == "$(printf '%s\n' "$base" "$top" | sort)" ]]
	[[ $(oracle_podman images --format '{{.Repository}}') == localhost/mid ]]
	try hoy image prune -fa --external
	assert_success
	assert_stdout ''
	oracle_podman rm k
	hoy image prune -fa
	assert_empty_store
}

@test "image prune --external takes images that only builds use" {
	have_image busybox
	oracle_buildah from --name bb "$(image_id busybox)"
	try hoy image prune -fa
	assert_stdout ''
	try hoy image prune -fa --external
	assert_success
	assert_stdout_like '^[0-9a-f]{64}$'
	assert_empty_store
}

@test "image prune --build-cache removes the cache and nothing that isn't ours" {
	mkdir -p "$TMPDIR/buildah-cache-0/x"
	hoy image prune -f
	[[ -e $TMPDIR/buildah-cache-0/x ]]
	hoy image prune -f --build-cache
	[[ ! -e $TMPDIR/buildah-cache-0 ]]
	mkdir "$T/other"
	ln -s "$T/other" "$TMPDIR/buildah-cache-0"
	try hoy image prune -f --build-cache
	assert_error 'is no build cache of ours'
	[[ -e $T/other ]]
}

@test "image filters: podman's, refused alike even in an empty store" {
	for f in foo=bar until=xx containers=xx before=nothing 'foo!=x' digest=x; do
		diff <(hoy image prune -f --filter "$f" 2>&1; echo $?) <(oracle_podman image prune -f --filter "$f" 2>&1; echo $?)
		diff <(hoy images --filter "$f" 2>&1; echo $?) <(oracle_podman images --filter "$f" 2>&1; echo $?)
	done
	have_chain
	for f in label=x label!=x until=1h until=2020-01-01 until=2090-01-01T00:00:00 until=1 intermediate=true containers=false reference=mid manifest=true; do
		diff <(hoy images -a -q --filter "$f") <(oracle_podman images -a -q --filter "$f") || { echo "filter $f"; false; }
	done
	base=$(image_id busybox)
	try hoy image prune -fa --filter until=2000h --filter label!=x
	assert_stdout "$base"
}
