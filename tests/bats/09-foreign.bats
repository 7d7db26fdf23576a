#!/usr/bin/env bats
# Layers that others make and hoy does not: pulled in part (zstd:chunked), composefs, shifted for other id maps.

load ../lib/hoy

layers_json() { python3 -c '
import json, sys
for l in json.load(open(sys.argv[1])): print(json.dumps({k: v for k, v in l.items()}, sort_keys=True))' "$ROOT/overlay-layers/layers.json"; }

conf() { # KEYS: a storage.conf for the oracle
	printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n[storage.options]\n%s\n[storage.options.overlay]\nskip_mount_home = "true"\n%s\n' \
		"$ROOT" "$RUNROOT" "$1" "${2:-}" >storage.conf
}

with_conf() { oracle env CONTAINERS_STORAGE_CONF="$T/storage.conf" podman "$@"; }

chunked() { # the image $REGISTRY/c:1 in the store, its layers pulled in part by podman
	registry_start reg
	have_image busybox
	oracle_podman push -q --tls-verify=false --compression-format zstd:chunked busybox "$REGISTRY/c:1"
	oracle_podman rmi busybox
	conf 'pull_options = {enable_partial_images = "true"}'
	with_conf pull -q --tls-verify=false "$REGISTRY/c:1"
	[[ $(layers_json) == *toc-digest* && $(layers_json) == *zstd-chunked-manifest* ]]
}

@test "layers that podman pulled in part are listed, run, checked, carried on unchanged and removed" {
	chunked
	before=$(layers_json)
	[[ $(hoy images --format '{{.Repository}}:{{.Tag}}') == "$REGISTRY/c:1" ]]
	diff <(hoy image inspect "$REGISTRY/c:1") <(oracle_podman image inspect "$REGISTRY/c:1")
	[[ $(hoy run --rm --network none "$REGISTRY/c:1" echo hi) == hi ]]
	hoy tag "$REGISTRY/c:1" c:2
	[[ $(layers_json) == "$before" ]]
	hoy system check
	tool hoy-image "${HOY_OPTS[@]}" copy -q containers-storage:c:2 oci:out
	[[ $(oci_diffs out) == "$(hoy image inspect c:2 --format '{{range .RootFS.Layers}}{{.}} {{end}}')" ]]
	oracle_podman run --rm --network none c:2 true
	hoy rmi -f c:2 "$REGISTRY/c:1"
	[[ $(find "$ROOT/overlay-layers" -mindepth 1 -maxdepth 1 -type d ! -name tmp) == '' ]]
	[[ $(layers_json) == '' ]]
	oracle_podman system check
}

# The sha256 of the unpacked layers of the OCI layout $1, in order.
oci_diffs() {
	python3 - "$1" <<-'END'
	import gzip, hashlib, json, sys
	d = sys.argv[1]
	blob = lambda x: open(f"{d}/blobs/sha256/{x.split(':')[1]}", "rb").read()
	man = json.loads(blob(json.load(open(f"{d}/index.json"))["manifests"][0]["digest"]))
	for l in man["layers"]:
	    b = blob(l["digest"])
	    print("sha256:" + hashlib.sha256(gzip.decompress(b) if b[:2] == b"\x1f\x8b" else b).hexdigest(), end=" ")
	END
}

@test "a layer pulled in part that was damaged is found" {
	chunked
	file=$(find "$ROOT"/overlay/*/diff/bin -name busybox)
	chmod u+w "$file"
	printf X | dd of="$file" bs=1 seek=100 conv=notrunc status=none
	try hoy system check
	assert_status 125
	assert_stdout_has 'Damaged layer'
}

@test "a layer shifted for a container's id maps goes with its image" {
	have_image busybox
	oracle env _CONTAINERS_OVERLAY_DISABLE_IDMAP=yes podman "${PODMAN_OPTS[@]}" create -q --name m --uidmap 0:100000:65536 --gidmap 0:100000:65536 busybox true
	grep -q '"mapped-layers"' "$ROOT/overlay-images/images.json"
	[[ $(ls -d "$ROOT"/overlay/*/diff1) ]]
	[[ $(hoy run --rm --network none busybox stat -c %u /bin/busybox) == 0 ]]
	hoy system check
	try hoy rmi busybox
	assert_status 2
	oracle_podman rm m
	hoy rmi busybox
	[[ $(layers_json) == '' && $(find "$ROOT/overlay" -mindepth 1 -maxdepth 1 -type d ! -name l ! -name tempdirs ! -name staging) == '' ]]
	oracle_podman system check
}

@test "composefs layers: listed, removed, and only running them is refused" {
	have_image busybox
	layer=$(basename "$(dirname "$(ls -d "$ROOT"/overlay/*/diff | head -n 1)")")
	mkdir "$ROOT/overlay/$layer/composefs-data"
	: >"$ROOT/overlay/$layer/composefs-data/composefs.blob"
	[[ $(hoy images -q) ]]
	try hoy run --rm --network none busybox true
	assert_status 125
	assert_stderr_has 'is made of composefs layers, which are not supported'
	hoy rmi busybox
	[[ $(hoy ps -aq) == '' && $(layers_json) == '' ]]
}
