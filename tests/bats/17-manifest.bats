#!/usr/bin/env bats
# `manifest`: lists of images in the store: podman's records, texts and errors; each engine goes on with what the other one made.
load ../lib/hoy

# What a store keeps of its lists, without ids and times.
lists() {
	python3 - "$ROOT" <<-'END'
	import json, re, sys
	root = sys.argv[1]
	for rec in json.load(open(root + "/overlay-images/images.json")):
	    if "instances.json" not in rec["big-data-names"]:
	        continue
	    items = {k: open(f"{root}/overlay-images/{rec['id']}/{k}").read() for k in rec["big-data-names"]}
	    # podman names an image as it was asked for it, with all options of the store; the id is what counts.
	    text = re.sub(r'containers-storage:\[[^]]*\][^"\\]*', "HERE", json.dumps([rec, items], sort_keys=True))
	    rec = json.loads(text.replace(rec["id"], "ID"))
	    rec[0]["created"] = rec[0]["big-data-digests"] = rec[0]["big-data-sizes"] = ""
	    rec[0].pop("names-history", "")  # of an image that is made with its name podman writes none
	    print(json.dumps(rec))
	END
}

# both LIST COMMAND...: by podman on a list, by hoy on another one, "@" in the command standing for the list. Output and status agree.
both() {
	local theirs=() ours=() w
	for w in "$@"; do
		theirs+=("${w//@/p}") ours+=("${w//@/h}")
	done
	run oracle_podman manifest "${theirs[@]}"
	local status1=$status output1=$output
	run hoy manifest "${ours[@]}"
	[[ $status == "$status1" ]] || { echo "status $status, podman's $status1: $output $output1"; false; }
	if [[ $status == 0 ]]; then
		diff <(sed -E 's/[0-9a-f]{64}/ID/; s,localhost/p:,LIST:,' <<<"$output1") <(sed -E 's/[0-9a-f]{64}/ID/; s,localhost/h:,LIST:,' <<<"$output")
	elif [[ $status != 1 ]]; then
		# The last cause is told alike, whatever stands before it.
		output1=${output1%, or use --replace*}
		[[ ${output##*: } == "${output1##*: }" ]] || { echo "$output"; echo "$output1"; false; }
	fi
}

same_lists() {
	diff <(lists | grep localhost/p: | sed 's,localhost/p:,localhost/LIST:,') <(lists | grep localhost/h: | sed 's,localhost/h:,localhost/LIST:,')
	[[ $(lists | wc -l) == 2 ]]
}

@test "create, add, annotate, remove, inspect: the records, items and texts that podman makes" {
	have_image busybox
	digest=$(hoy image inspect busybox --format '{{.Digest}}')
	both create @
	same_lists
	both add @ busybox
	same_lists
	both inspect @
	both add --arch arm64 --os linux --variant v8 --os-version 7 --annotation a=b --annotation 'c=<d>' --features f @ busybox
	same_lists
	both inspect @
	both annotate --annotation e=f --arch riscv64 @ "$digest"
	both annotate --index --annotation i=j @
	same_lists
	both inspect @
	hoy manifest annotate --os-features one,two h "$digest" # podman forgets these
	[[ $(hoy manifest inspect h | jq -r '.manifests[0].platform["os.features"] | join(" ")') == 'one two' ]]
	both exists @
	both remove @ "$digest"
	same_lists
	both inspect @
	both rm @
	[[ $(lists) == '' ]]
	both create --annotation x=y @ busybox
	same_lists
	both create --amend --annotation z=a @ busybox
	same_lists
}

@test "what is wrong is said as podman says it" {
	have_image busybox
	both create @
	both create busybox
	both create @
	both add nolist busybox
	both add busybox busybox
	both remove @ sha256:0000
	both remove @ "sha256:$(printf '0%.0s' {1..64})"
	both annotate @
	both annotate --index --annotation i=j @ busybox
	both exists nosuch
	both exists busybox
	both rm nosuch
	both rm -i nosuch
	both rm busybox
	both push nosuch "dir:$T/x"
	both push busybox "dir:$T/x"
	try hoy manifest add h --annotation nothing busybox
	assert_error 'no value given for annotation "nothing"'
	try hoy manifest create h nosuch.invalid/x
	assert_status 125
	[[ $stderr == *"cannot reach the registry 'nosuch.invalid'"* && $(lists | grep -c HERE) == 0 ]]
}

@test "pushed lists have podman's manifests: to a directory, a layout, a registry; and are pulled again" {
	have_image busybox
	registry_start r
	reg=$REGISTRY
	hoy push -q --tls-verify=false busybox "docker://$reg/bb:1"
	for l in p h; do
		hoy manifest create $l busybox
		hoy manifest add --arch arm64 --tls-verify=false $l "docker://$reg/bb:1"
	done
	[[ $(hoy manifest inspect h | jq '.manifests | length') == 2 ]]
	oracle_podman manifest push --tls-verify=false p "dir:$T/pd"
	hoy manifest push --tls-verify=false h "dir:$T/hd"
	diff <(cd "$T/pd" && ls | sed 's/^.*manifest.json/M/' | sort -u) <(cd "$T/hd" && ls | sed 's/^.*manifest.json/M/' | sort -u)
	[[ $(jq -S 'del(.manifests[].size, .manifests[].digest)' "$T/pd/manifest.json") == "$(jq -S 'del(.manifests[].size, .manifests[].digest)' "$T/hd/manifest.json")" ]]
	hoy manifest push -q --tls-verify=false --digestfile "$T/digest" h "docker://$reg/list:1"
	[[ $(oracle skopeo inspect --raw --tls-verify=false "docker://$reg/list:1" | sha256sum | cut -d' ' -f1) == "$(sed s/sha256:// "$T/digest")" ]]
	diff <(hoy manifest inspect --tls-verify=false "docker://$reg/list:1") <(oracle_podman manifest inspect --tls-verify=false "$reg/list:1")
	hoy manifest push -q --tls-verify=false --rm --format v2s2 h "dir:$T/docker"
	[[ $(jq -r .mediaType "$T/docker/manifest.json") == application/vnd.docker.distribution.manifest.list.v2+json ]]
	try hoy manifest exists h
	assert_status 1
	hoy rmi -f busybox
	hoy pull -q --tls-verify=false "$reg/list:1"
	[[ $(hoy run --rm --network none "$reg/list:1" echo runs) == runs ]]
}

@test "--all takes the images of a list that is added, else the one that fits here" {
	have_image busybox
	registry_start r
	reg=$REGISTRY
	for arch in arm64 riscv64; do
		printf 'FROM scratch\nLABEL arch=%s\n' $arch >"$T/f"
		oracle_buildah bud -q --arch $arch -t $arch -f "$T/f" "$T"
	done
	hoy manifest create l busybox arm64 riscv64
	[[ $(hoy manifest inspect l | jq -r '[.manifests[].platform.architecture] | join(" ")') == 'amd64 arm64 riscv64' ]]
	hoy manifest push -q --tls-verify=false l "docker://$reg/l:1"
	hoy manifest rm l
	both create @
	both add --tls-verify=false @ "docker://$reg/l:1"
	same_lists
	both rm @
	both create @
	both add --all --tls-verify=false @ "docker://$reg/l:1"
	same_lists
	[[ $(hoy manifest inspect h | jq '.manifests | length') == 3 ]]
	both inspect @
}

@test "each engine goes on with the other one's list; one in use is an image like others" {
	have_image busybox
	oracle_podman manifest create a busybox
	hoy manifest annotate --annotation by=hoy a "$(hoy manifest inspect a | jq -r '.manifests[0].digest')"
	[[ $(oracle_podman manifest inspect a | jq -r '.manifests[0].annotations.by') == hoy ]]
	echo text >"$T/file"
	oracle_podman manifest add --artifact a "$T/file"
	hoy manifest annotate --index --annotation i=hoy a
	[[ $(oracle_podman manifest inspect a | jq -r '.annotations.i, (.manifests | length)' | xargs) == 'hoy 2' ]]
	hoy manifest create b busybox
	oracle_podman manifest annotate --annotation by=podman b "$(oracle_podman manifest inspect b | jq -r '.manifests[0].digest')"
	oracle_podman manifest push --all b "dir:$T/b"
	[[ $(hoy manifest inspect b | jq -r '.manifests[0].annotations.by') == podman ]]
	diff <(hoy images --format '{{.Repository}} {{.Size}}') <(oracle_podman images --format '{{.Repository}} {{.Size}}')
	hoy system check
	oracle_podman system check
	oracle_podman manifest rm b
	hoy rmi a
	[[ $(lists) == '' ]]
}

# The same with artifacts.json, whose lists of an artifact's files podman leaves in no order.
artifacts() {
	python3 - "$ROOT" "$1" <<-'END'
	import json, sys
	root = sys.argv[1]
	for rec in json.load(open(root + "/overlay-images/images.json")):
	    if f"localhost/{sys.argv[2]}:latest" not in rec.get("names", []):
	        continue
	    at = f"{root}/overlay-images/{rec['id']}/"
	    raw = open(at + "artifacts.json").read()
	    a = json.loads(raw)
	    for key in "files", "layers":
	        for d in a.get(key, {}):
	            a[key][d].sort()
	    print(len(raw), list(a), json.dumps(a), open(at + "manifest").read())
	END
}

@test "add --artifact: podman's records, and what podman prints of them" {
	have_image busybox
	cd "$T"
	echo hello >a.txt
	printf '<html>' >noext
	printf 'x\0y' >c.UNKNOWN
	: >empty.json
	echo '{"x":1}' >cfg
	for l in p h; do
		run=(hoy)
		[[ $l == h ]] || run=(oracle_podman)
		"${run[@]}" manifest create $l
		"${run[@]}" manifest add --artifact $l a.txt
		"${run[@]}" manifest add --artifact --artifact-type foo --artifact-config cfg --artifact-config-type app/cfg --artifact-layer-type 'text/z; charset=x' \
			--annotation a=b --arch arm64 --os linux --variant v8 --os-version 9 --artifact-exclude-titles --artifact-subject busybox $l a.txt noext
		"${run[@]}" manifest add --artifact --artifact-config cfg --artifact-type '' $l "$PWD/noext" c.UNKNOWN
		"${run[@]}" manifest add --artifact --artifact-config empty.json --annotation 'only=<this>' $l empty.json a.txt
	done
	diff <(artifacts p) <(artifacts h)
	[[ $(artifacts h | wc -l) == 1 ]]
	diff <(oracle_podman manifest inspect h | jq '.manifests[].files |= sort') <(hoy manifest inspect h | jq '.manifests[].files |= sort')
	both add --artifact-type x @ a.txt
	both add --artifact-type x --artifact-exclude-titles @ a.txt
	try hoy manifest add --artifact h nofile
	assert_error 'reading "nofile" to determine its digest'
	try hoy manifest add --artifact h /etc
	assert_error '"/etc" to determine its digest: Is a directory'
	try hoy manifest add --artifact --artifact-config nofile h a.txt
	assert_error "'nofile'"
	try hoy manifest add --artifact --artifact-subject localhost/nosuch:1 h a.txt
	assert_status 125
	assert_stderr_has 'locating subject for image index'
	digest=$(jq -r '.manifests[0].digest' "$ROOT/overlay-images/$(hoy images --no-trunc -q h | cut -d: -f2)/manifest")
	both remove @ "$digest"
	diff <(artifacts p) <(artifacts h)
}

@test "manifest push sends the artifacts of a list too" {
	have_image busybox
	registry_start r
	cd "$T"
	head -c 100000 /dev/urandom >blob
	echo '{"x":1}' >cfg
	hoy manifest create l busybox
	hoy manifest add --artifact --artifact-type foo --artifact-config cfg l blob cfg
	hoy manifest add --artifact --artifact-config cfg l blob # podman's way to make an older kind of artifact
	hoy manifest push --tls-verify=false l "docker://$REGISTRY/l:hoy"
	oracle_podman manifest push -q --tls-verify=false l "docker://$REGISTRY/l:podman"
	list() { oracle skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/l:$1"; }
	diff <(list podman | jq .manifests[1:]) <(list hoy | jq .manifests[1:])
	# all of it is there
	rm blob
	oracle skopeo copy -q --all --src-tls-verify=false "docker://$REGISTRY/l:hoy" dir:there
	[[ $(jq -r '.manifests[1].artifactType' there/manifest.json) == foo ]]
	try hoy manifest push --tls-verify=false l "docker://$REGISTRY/l2:hoy"
	assert_status 125
	assert_stderr_has "blob': No such file or directory"
	echo other >blob
	try hoy manifest push --tls-verify=false l "docker://$REGISTRY/l2:hoy"
	assert_status 125
	assert_stderr_has '6 bytes, 100000 were announced'
}

@test "annotate --subject; push --add-compression adds an image per compression that is missing" {
	have_image busybox
	registry_start r
	reg=$REGISTRY
	hoy push -q --tls-verify=false busybox "docker://$reg/bb:1"
	for l in p h; do
		hoy manifest create $l busybox
	done
	both annotate --index --subject busybox @
	same_lists
	try hoy manifest annotate --index --subject dir:/nosuch h
	assert_status 125
	same_lists
	both inspect @
	for add in zstd gzip zstd,gzip zstd:chunked; do
		# podman takes what it has compressed for a registry before, however that was: each time another one
		registry_start "r-${add/[,:]/-}"
		reg=$REGISTRY
		oracle_podman manifest push -q --tls-verify=false --add-compression "$add" p "docker://$reg/p:${add/[,:]/-}"
		hoy manifest push -q --tls-verify=false --add-compression "$add" h "docker://$reg/h:${add/[,:]/-}"
		facts() {
			local list=$(tool hoy-image manifest get --tls-verify=false "docker://$reg/$1") d
			jq -cS '[.manifests[] | {mediaType, annotations, platform}]' <<<"$list"
			for d in $(jq -r '.manifests[].digest' <<<"$list"); do
				tool hoy-image manifest get --tls-verify=false "docker://$reg/${1%:*}@$d" | jq -cS '{config: .config.digest, layers: [.layers[].mediaType]}'
			done
		}
		diff <(facts "p:${add/[,:]/-}") <(facts "h:${add/[,:]/-}")
	done
	[[ $(tool hoy-image manifest get --tls-verify=false "docker://$reg/h:zstd-chunked" | jq '.manifests | length') == 2 ]]
	try hoy manifest push --add-compression bzip2 h "docker://$reg/no:1"
	assert_status 125
	try hoy manifest push --add-compression zstd --format v2s2 h "docker://$reg/no:1"
	assert_status 125
	assert_stderr_has "only OCI's lists"
	# the first that an old reader meets is gzip, and each can be pulled
	hoy rmi -af >/dev/null
	hoy pull -q --tls-verify=false "$reg/h:zstd-chunked"
	[[ $(hoy run --rm --network none "$reg/h:zstd-chunked" echo runs) == runs ]]
}
