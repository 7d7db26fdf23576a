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
	[[ $(cut -d' ' -f1 <<<"$output") == "$top"$'\n'"$mid"$'\n-' ]]
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

# ---- system check

damage_layer() { find "$ROOT/overlay/$1/diff" -name "$2" -exec sh -c 'echo "<h1>boy</h1>" >"$1"' _ {} \;; }
the_layer() { jq -r '.[0].id' "$ROOT/overlay-layers/layers.json"; }
edit() { jq -c "$2" "$ROOT/$1" >"$T/edited" && cat "$T/edited" >"$ROOT/$1"; }

# Findings of both sides, without what podman says twice: ids of what is damaged.
findings() { grep -oE '^Damaged (layer|image|container) [^:]*' | sort -u; }
same_findings() { diff <(hoy system check "$@" 2>&1 | findings) <(oracle_podman system check "$@" 2>&1 | findings); }

@test "system check: nothing to say of a whole store, by podman or by hoy" {
	try hoy system check
	assert_success
	have_chain
	hoy load -q -i "$(fixture stack)/docker.tar"
	for option in '' -q; do
		try hoy system check $option
		assert_success
		assert_stdout ''
	done
	podman_is_happy
	try hoy system check -m nonsense
	assert_error 'invalid argument "nonsense" for "-m, --max" flag'
}

@test "system check finds what podman finds in a layer, file by file; -q doesn't look" {
	have_image busybox
	layer=$(the_layer) diff=$ROOT/overlay/$(the_layer)/diff
	cp -a "$ROOT" "$T/good"
	again() { rm -rf "$ROOT"; cp -a "$T/good" "$ROOT"; }
	found() {
		try hoy system check
		assert_status 125
		assert_stdout_has "* layer $layer: $1"
		assert_stderr 'Error: damage detected in local storage'
		same_findings
		try hoy system check -q
		assert_success
	}
	damage_layer "$layer" index.html
	found 'file integrity checksum failed for "./www/index.html"'
	again
	rm "$diff/www/index.html"
	found "open $diff/www/index.html: no such file or directory"
	again
	touch -r "$diff/www" "$T/stamp"
	echo x >"$diff/www/added"
	touch -r "$T/stamp" "$diff/www"
	found '+/www/added, layer content modified'
	again
	chmod 600 "$diff/www/index.html"
	found '/www/index.html(mode:0644￫0600), layer content modified'
	again
	chown 5:6 "$diff/www/index.html"
	found '/www/index.html(uid:0￫5,gid:0￫6), layer content modified'
	again
	touch -d @1 "$diff/www"
	found '/www(mtime:0x65920080￫0x1), layer content modified'
	again
	rm "$ROOT/overlay-layers/$layer.tar-split.gz"
	found 'its tar-split is missing: layer content incorrect digest'
	again
	edit overlay-layers/layers.json '.[0]["diff-size"] = 5'
	try hoy system check
	assert_stdout_has "* layer $layer: read 2140160 bytes instead of 5 bytes: layer content incorrect size"
	again
	# more than one file, which podman does not get to
	damage_layer "$layer" index.html
	damage_layer "$layer" group
	try hoy system check
	assert_stdout_has 'failed for "./www/index.html"'
	assert_stdout_has 'failed for "./etc/group"'
	assert_stdout_has '2 errors occurred:'
	# what podman damages hoy repairs, and the other way round
	try hoy system check -r
	assert_success
	assert_stdout_like 'Deleted damaged image: [0-9a-f]{64}'
	assert_empty_store
	again
	damage_layer "$layer" index.html
	oracle_podman system check -r
	try hoy system check
	assert_success
}

@test "system check: whiteouts, opaque directories, hard links and links in layers of both sides" {
	have_image busybox
	oracle_podman run --name w --network none --cap-add mknod busybox sh -c 'rm /etc/passwd; rm -r /www; mkdir /www; echo a >/www/a; ln /www/a /www/b; ln -s a /www/c; mkfifo /www/d; mknod /www/e c 1 3'
	oracle_podman commit -q w kid
	oracle_podman rm w
	oracle_podman save -q -o "$T/kid.tar" kid
	for side in podman hoy; do
		if [[ $side == hoy ]]; then
			hoy rmi -a -f
			hoy load -q -i "$T/kid.tar"
		fi
		try hoy system check
		assert_success
		podman_is_happy
		top=$(jq -r '.[0].layer' <(hoy images --format json | jq -r '.[0].Id' | xargs -I{} jq '[.[] | select(.id == "{}")]' "$ROOT/overlay-images/images.json"))
		diff=$ROOT/overlay/$top/diff
		[[ -c $diff/etc/passwd && -p $diff/www/d ]]
		ln -sfn b "$diff/www/c"
		touch -h -d '2001-02-03 04:05:06' "$diff/www/c" # not in the second in which it was made
		rm "$diff/www/b" "$diff/etc/passwd"
		cp -p "$diff/www/a" "$diff/www/b"
		rm "$diff/www/e"
		mknod "$diff/www/e" c 1 5
		try hoy system check
		assert_status 125
		assert_stdout_has '/www/c(mtime'
		assert_stdout_has 'target of the link), layer content modified'
		assert_stdout_like '/www/(a|b)\(no link to www/(a|b)\), layer content modified'
		assert_stdout_like '/www/e\(.*device:1:3￫1:5\), layer content modified'
		assert_stdout_has '-/etc/.wh.passwd, layer content modified'
	done
}

@test "system check: records without what they name, both sides alike, and repaired so that podman is content" {
	have_image busybox
	layer=$(the_layer) image=$(image_id busybox)
	cp -a "$ROOT" "$T/good"
	again() { rm -rf "$ROOT"; cp -a "$T/good" "$ROOT"; }
	repaired() {
		try hoy system check
		assert_status 125
		assert_stdout_has "$1"
		same_findings
		try hoy system check -r
		assert_success
		assert_empty_store
		again
	}
	rm "$ROOT/overlay-images/$image/manifest"
	repaired "image $image: data item \"manifest\": image data item is missing"
	echo >>"$ROOT/overlay-images/$image/manifest"
	repaired "image $image: data item \"manifest\": image data item has incorrect size"
	rm -r "$ROOT/overlay/$layer"
	repaired "layer $layer: faccessat $ROOT/overlay/$layer: no such file or directory"
	edit overlay-layers/layers.json '[]'
	repaired "image $image: layer $layer: image layer is missing"
	edit overlay-layers/layers.json '.[0].parent = "'"$(printf 'b%.0s' {1..64})"'"'
	repaired "layer $(printf 'b%.0s' {1..64}): layer is missing"
	# the whole store cannot be loaded by podman
	edit overlay-images/images.json '.[0].digest = "sha256:x"'
	try hoy system check -r
	assert_success
	assert_empty_store
	again
	# a short link can be made again: nothing is lost
	rm "$ROOT"/overlay/l/*
	try hoy system check
	assert_status 125
	assert_stdout_has 'its short link is missing or leads elsewhere'
	try hoy system check -r
	assert_success
	assert_stdout_has "Mended layer: $layer"
	[[ $(readlink "$ROOT/overlay/l/$(<"$ROOT/overlay/$layer/link")") == "../$layer/diff" ]]
	podman4 run --rm --network none busybox cat /www/index.html
	[[ $(hoy images -q) != '' ]]
}

@test "system check: layers that nobody uses go when they are old enough" {
	have_image busybox
	layer=$(the_layer)
	edit overlay-images/images.json '[]'
	rm -r "$ROOT"/overlay-images/*/
	try hoy system check
	assert_success
	sleep 1.1
	try hoy system check -m 1s
	assert_status 125
	assert_stdout_has "layer $layer: layer not referenced by any images or containers"
	same_findings -m 1s
	try hoy system check -m 1s -r
	assert_success
	assert_stdout_has "Deleted damaged layer: $layer"
	assert_empty_store
}

@test "system check: what dead processes left, and what living ones are at" {
	have_image busybox
	x=$(printf 'a%.0s' {1..64}) image=$(image_id busybox)
	mkdir -p "$ROOT/overlay/$x/diff" "$ROOT/overlay/foo" "$ROOT/overlay-layers/$x" "$ROOT/overlay-images/$x" "$ROOT/overlay-containers/$x" \
		"$ROOT/overlay/tempdirs/temp-dir-5/0-addition" "$ROOT/overlay/tempdirs/temp-dir-7/x" "$ROOT/hoy/containers/$x" "$ROOT/hoy/containers/$x.gone"
	touch "$ROOT/overlay-images/.tmp-images.json1" "$ROOT/overlay-layers/$x.tar-split.gz" "$ROOT/overlay-images/$image/.tmp-manifest9" \
		"$ROOT/overlay/tempdirs/lock-7"
	ln -s "../$x/diff" "$ROOT/overlay/l/ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	background python3 -c 'import fcntl,sys,time; f = open(sys.argv[1], "w"); fcntl.lockf(f, fcntl.LOCK_EX); open(sys.argv[2], "w"); time.sleep(100)' \
		"$ROOT/overlay/tempdirs/lock-7" "$T/locked"
	until_true 5 test -e "$T/locked"
	try hoy system check
	assert_status 125
	assert_stdout_has 'layer foo: layer in lower level storage driver not accounted for'
	for path in "overlay-layers/$x" "overlay-layers/$x.tar-split.gz" overlay-images/.tmp-images.json1 "overlay-images/$x" "overlay-containers/$x" \
		"overlay-images/$image/.tmp-manifest9" overlay/tempdirs/temp-dir-5; do
		assert_stdout_has "Left over: $path"
	done
	[[ $output != *temp-dir-7* ]]
	try hoy system check -r
	assert_success
	[[ $(ls "$ROOT/overlay/tempdirs") == lock-7$'\n'temp-dir-7 ]]
	[[ $(ls "$ROOT/hoy/containers") == '' ]]
	[[ $(find "$ROOT" -name "$x*") == '' && $(find "$ROOT" -name '.tmp-*') == '' ]]
	[[ $(ls "$ROOT/overlay/l") == "$(<"$ROOT/overlay/$(the_layer)/link")" ]]
	try hoy system check
	assert_success
	podman_is_happy
}

@test "system check -r does not tell dead tempdirs from living ones while it keeps others waiting" {
	hoy images
	mkdir -p "$ROOT/overlay/tempdirs/temp-dir-5/x" "$ROOT/overlay-layers/tmp/temp-dir-6/x"
	: >"$STORE/.used-hoy"
	strace -f -y -o trace -e trace=fcntl,clock_nanosleep "$HOY_BIN/hoy" "${HOY_OPTS[@]}" system check -r >out
	diff - <(sort out) <<-END
	Left over: overlay-layers/tmp/temp-dir-6
	Left over: overlay/tempdirs/temp-dir-5
	END
	[[ $(ls "$ROOT/overlay/tempdirs" "$ROOT/overlay-layers/tmp") != *-dir-* ]]
	awk '/layers\.lock.*F_WRLCK/ { held = 1 } /layers\.lock.*F_UNLCK/ { held = 0 } /nanosleep/ { n++; bad += held }
		END { exit !(n && !bad) }' trace || { cat trace; false; }
}

@test "system check and repair of hostile records touch nothing outside of the store" {
	a=$(printf 'a%.0s' {1..64}) b=$(printf 'b%.0s' {1..64}) c=$(printf 'c%.0s' {1..64})
	hoy images
	mkdir -p "$ROOT"/overlay/{l,"$a/diff","$b","$c/diff",$'ev\nil'} "$ROOT"/overlay-{layers,images,containers} "$T/victim"
	echo precious >"$T/victim/file"
	ln -s ../../../../victim "$ROOT/overlay/$b/diff"
	printf ../../../../victim >"$ROOT/overlay/$a/link"
	printf '../../victim:l/../../x' >"$ROOT/overlay/$a/lower-layers"
	cat >"$ROOT/overlay-layers/layers.json" <<-END
	[{"id":"$a","parent":"$b","diff-digest":"sha256:$a","big-data-names":["../../../victim/file",".."]},
	 {"id":"$b","parent":"$a","diff-digest":"sha256:zz"},{"id":"../../victim","diff-digest":"sha256:$a"},
	 {"id":"$c","created":"x","diff-digest":"sha256:$c","diff-size":-5}]
	END
	echo '[{"id":"../../victim","layer":"'$a'"},{"id":"'$a'","layer":"../../victim","digest":"bad","big-data-names":["../x",5]},{"id":"'$b'","layer":"'$a'"}]' >"$ROOT/overlay-images/images.json"
	echo '[{"id":"../../victim","layer":"../victim","image":"../../victim"},{"id":"'$a'","layer":"'$b'","image":"'$b'"}]' >"$ROOT/overlay-containers/containers.json"
	for i in 0 1; do printf '{"type":1,"name":"../../../../victim/file","size":9,"payload":"AAAAAAAAAAA=","position":%d}\n' $i; done |
		gzip >"$ROOT/overlay-layers/$a.tar-split.gz"
	printf '{"type":1,"name":"x","size":9223372036854775807,"payload":"AAAAAAAAAAA=","position":0}\n' | gzip >"$ROOT/overlay-layers/$c.tar-split.gz"
	try timeout 60 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" system check
	assert_status 125
	assert_stdout_has "layer $a: it is its own ancestor"
	assert_stdout_has 'image "../../victim": its id is malformed'
	assert_stdout_has "layer $c: too much of it is missing"
	assert_stdout_has 'layer ev?il: layer in lower level storage driver not accounted for'
	try hoy system df
	assert_success
	try hoy system check -f
	assert_success
	[[ $(<"$T/victim/file") == precious ]]
	assert_empty_store
}

@test "system check beside others who load, run and remove: nothing is damaged, nothing is left over" {
	have_image busybox
	(while [[ ! -e $T/stop ]]; do
		hoy load -q -i "$(fixture stack)/docker.tar" && hoy rmi -f localhost/stack
	done) >/dev/null 2>"$T/loads" & loads=$!
	(while [[ ! -e $T/stop ]]; do
		hoy run --rm --network none busybox sh -c 'echo x >/x' && oracle_podman run --rm --network none busybox true
	done) >/dev/null 2>"$T/runs" & runs=$!
	bad=''
	for i in 1 2 3 4 5 6 7 8 9 10; do
		hoy system check >"$T/out" 2>&1 || bad+=$(cat "$T/out")
		hoy system check -q -r >"$T/out" 2>&1 || bad+=$(cat "$T/out")
		hoy image prune -f
	done
	: >"$T/stop"
	wait $loads $runs
	[[ -z $bad ]] || { echo "$bad"; false; }
	[[ $(cat "$T/loads" "$T/runs") == '' ]] || { cat "$T/loads" "$T/runs"; false; }
	podman_is_happy
}

@test "system check --force removes containers too, hoy's with all that they have" {
	have_image busybox
	layer=$(the_layer) image=$(image_id busybox)
	p=$(oracle_podman create --name p --network none busybox true)
	h=$(hoy create --name h --network none busybox true)
	damage_layer "$layer" index.html
	try hoy system check
	assert_status 125
	assert_stdout_has "Damaged container $p:"
	assert_stdout_has "Damaged container $h:"
	same_findings
	try hoy system check -r
	assert_status 125
	assert_stderr_has "deleting image $image: image used by $p: image is in use by a container"
	assert_stderr_has 'damage in local storage still present after repair attempt'
	[[ $(hoy ps -aq) != '' ]]
	try hoy system check -f
	assert_success
	assert_stdout_has "Deleted damaged container: $h"
	assert_stdout_has "Deleted damaged container: $p"
	assert_stdout_has "Deleted damaged image: $image"
	[[ $(ls "$ROOT/hoy/containers") == '' ]]
	oracle_podman rm p
	assert_empty_store
}

@test "system check: containers whose layer or image is gone" {
	have_image busybox
	h=$(hoy create --name h --network none busybox true)
	rw=$(jq -r '.[-1].id' "$ROOT/overlay-layers/layers.json")
	rm -r "$ROOT/overlay/$rw"
	try hoy system check -q
	assert_status 125
	assert_stdout_has "Damaged layer $rw:"
	assert_stdout_has "Damaged container $h:"
	try hoy system check -q -f
	assert_success
	[[ $(ls "$ROOT/hoy/containers") == '' ]]
	p=$(oracle_podman create --name p --network none busybox true)
	edit overlay-layers/layers.json '.[:1]'
	try hoy system check -f
	assert_success
	assert_stdout_has "Deleted damaged container: $p"
	oracle_podman rm p
	podman_is_happy
}

# ---- system df

@test "system df prints what podman prints of images" {
	# seconds pass between the two
	ageless() { sed -E 's/(Less than a|[0-9]+|About a) (second|minute)s?/AGE/g' | tr -s ' '; }
	same() { diff <({ hoy "$@" 2>&1; echo $?; } | ageless) <({ oracle_podman "$@" 2>&1; echo $?; } | ageless); }
	diff <(hoy system df) <(oracle_podman system df)
	same system df
	same system df -v
	have_chain
	oracle_podman tag top again:1
	oracle_podman untag busybox
	for args in '' -v '--format json' '-v --format json'; do
		same system df $args
	done
	same system df --format '{{.Type}} {{.Total}} {{.Active}} {{.Size}} {{.Reclaimable}} {{.RawSize}} {{.RawReclaimable}}'
	same system df --format 'table {{.Type}}\t{{.Size}}\t{{.Reclaimable}}'
	try hoy system df --format '{{.Nothing'
	assert_status 125
}

@test "system df: reclaimable is what prune gives back, also where images share layers" {
	have_chain
	hoy create --name k --network none mid true
	raw() { hoy system df --format json | jq ".[] | select(.Type == \"$1\") | .$2"; }
	size=$(raw Images RawSize) part=$(raw Images RawReclaimable)
	# podman counts as reclaimable what mid shares with the others, although k needs it
	[[ $(oracle_podman system df --format json | jq '.[0].RawReclaimable') -gt $part ]]
	hoy image prune -fa
	[[ $(raw Images RawSize) == $((size - part)) ]]
	[[ $(raw Images RawReclaimable) == 0 ]]
	[[ $(oracle_podman system df --format json | jq '.[0].RawSize') == $(raw Images RawSize) ]]
}

@test "system df: containers and volumes of ours" {
	have_image busybox
	hoy run --name a --network none -v vol:/v busybox sh -c 'dd if=/dev/zero of=/big bs=1000 count=100; dd if=/dev/zero of=/v/x bs=1000 count=7; ln /v/x /v/y'
	hoy run -d --name b --network none -v vol:/v -v other:/o busybox sleep 1000
	try hoy system df --format json
	[[ $(jq -c '[.[1].Total, .[1].Active, .[1].RawSize >= 100000, .[1].RawReclaimable >= 100000, .[1].RawReclaimable < .[1].RawSize]' <<<"$output") == '[2,1,true,true,true]' ]]
	[[ $(jq -c '[.[2].Total, .[2].Active, .[2].RawSize, .[2].RawReclaimable]' <<<"$output") == '[2,3,7000,0]' ]]
	try hoy system df -v
	assert_stdout_like 'sleep 1000 +2 +.*running +b'
	assert_stdout_like 'vol +2 +7kB'
	assert_stdout_like 'localhost/busybox +latest +[0-9a-f]{12} .* 2($|'$'\n'')'
	hoy rm -f -t 0 -a
	[[ $(hoy system df --format json | jq -c '[.[1].Total, .[2].RawReclaimable]') == '[0,7000]' ]]
}

# ---- container prune, volume prune, system prune

@test "container prune: prompt, filters and errors are podman's; what runs stays" {
	for args in '</dev/null' '-f --filter foo=1' '-f --filter until=xx' '-f --filter label' '-f --filter until=1h --filter until=2h'; do
		[[ $args != '<'* ]] || args=''
		diff <(hoy container prune $args </dev/null 2>&1; echo $?) <(oracle_podman container prune $args </dev/null 2>&1; echo $?)
	done
	have_image busybox
	a=$(hoy create --network none --label x=1 busybox true)
	b=$(hoy create --network none --label x=2 busybox true)
	c=$(hoy run -d --network none busybox sleep 1000)
	p=$(oracle_podman create --network none busybox true)
	hoy run --name d --network none busybox true
	try hoy container prune -f --filter until=1h
	assert_stdout ''
	try hoy container prune -f --filter label=x=2
	assert_stdout "$b"
	try hoy container prune -f --filter label!=x
	assert_success
	[[ $output != "$a" && $output =~ ^[0-9a-f]{64}$ ]]
	try hoy container prune <<<y
	assert_stdout_has "$a"
	[[ $(hoy ps -aq --no-trunc) == "$c" ]]
	[[ $(oracle_podman ps -aq --no-trunc) == "$p" ]]
	hoy kill "$c"
	until_true 10 sh -c '[ -z "$("$@" ps -q)" ]' sh "$HOY_BIN/hoy" "${HOY_OPTS[@]}"
	hoy container prune -f
	[[ $(hoy ps -aq) == '' && $(ls "$ROOT/hoy/containers") == '' ]]
	try hoy system check
	assert_success
}

@test "volume prune: ours that no container uses, podman's never" {
	for args in '-f --filter foo=1' '-f --filter until=xx' ''; do
		diff <(hoy volume prune $args </dev/null 2>&1; echo $?) <(oracle_podman volume prune $args </dev/null 2>&1; echo $?)
	done
	have_image busybox
	oracle_podman volume create theirs
	hoy create --name k --network none -v used:/u -v theirs:/t busybox true
	hoy run --rm --network none -v free:/f busybox touch /f/x
	mkdir "$ROOT/hoy/volumes/.gone-old"
	try hoy volume prune </dev/null
	assert_status 125
	assert_stdout 'WARNING! This will remove all volumes not used by at least one container. The following volumes will be removed:
free
Are you sure you want to continue? [y/N] '
	try hoy volume prune -f --filter until=1h
	assert_stdout ''
	try hoy volume prune -f
	assert_stdout free
	[[ $(ls -A "$ROOT/hoy/volumes") == used ]]
	[[ $(oracle_podman volume ls -q) == theirs ]]
	# a container that cannot be read may use any volume
	hoy rm k
	hoy create --name k --network none -v used:/u busybox true
	id=$(hoy inspect -f '{{.Id}}' k)
	cp "$ROOT/hoy/containers/$id/def.json" "$T/def.json"
	echo '{' >"$ROOT/hoy/containers/$id/def.json"
	try hoy volume prune -f
	assert_error '1 container cannot be read'
	[[ -e $ROOT/hoy/volumes/used ]]
	cp "$T/def.json" "$ROOT/hoy/containers/$id/def.json"
}

@test "volume prune beside containers that come and go takes nobody's volume" {
	have_image busybox
	for i in 1 2 3 4 5 6 7 8 9 10; do
		hoy volume prune -f >/dev/null & pid=$!
		hoy run --rm --network none -v "v$i:/v" busybox sh -c 'echo x >/v/x'
		hoy create --name "c$i" --network none -v "v$i:/v" busybox true
		wait $pid
		[[ -e $ROOT/hoy/volumes/v$i/_data ]]
	done
}

@test "system prune asks, and says what went" {
	for args in '' -a '--volumes --build'; do
		try hoy system prune $args </dev/null
		assert_status 125
		[[ $stderr == 'Error: EOF' ]]
		# all that podman warns of but networks and caches, which are left alone
		diff <(printf '%s\n' "$output") <(oracle_podman system prune $args </dev/null 2>/dev/null | grep -vE 'networks|build cache'; )
	done
	for args in '--external -a' '--external --volumes' '-f --filter foo=1'; do
		diff <(hoy system prune $args 2>&1; echo $?) <(oracle_podman system prune $args 2>&1; echo $?)
	done
	have_chain
	oracle_podman untag top
	k=$(hoy run -d --name k --network none -v vol:/v mid sh -c 'dd if=/dev/zero of=/b bs=1000 count=30; echo hi >/v/x')
	hoy wait k
	oracle_buildah from --name bb "$(image_id busybox)"
	top=$(oracle_podman images -q --no-trunc --filter dangling=true | sed 's/sha256://')
	try hoy system prune -f
	assert_success
	assert_stdout_like "^Deleted Containers
$k
Deleted Images
$top
Total reclaimed space: 1[0-9]{2}(\.[0-9])?kB\$"
	[[ $(oracle_podman ps -aq --external) != '' ]]
	try hoy system prune -f --build --volumes
	assert_success
	assert_stdout_like '^Deleted Containers
[0-9a-f]{64}
Deleted Volumes
vol
Total reclaimed space: .*B$'
	size=$(hoy system df --format json | jq '.[0].RawSize')
	try hoy system prune -af
	assert_success
	assert_stdout_has 'Deleted Images'
	assert_stdout_has "Total reclaimed space: 2.198MB"
	[[ $size == 219[78]* ]]
	assert_empty_store
}

@test "blobs of interrupted pulls are counted and given back, but not under the feet of a pull" {
	mkdir -p "$ROOT/hoy/blobs"
	head -c 5000 /dev/zero >"$ROOT/hoy/blobs/sha256:$(printf 'a%.0s' {1..64}).part"
	head -c 300 /dev/zero >"$ROOT/hoy/blobs/held.part"
	background python3 -c 'import fcntl,sys,time; f = open(sys.argv[1], "r+"); fcntl.lockf(f, fcntl.LOCK_EX); open(sys.argv[2], "w"); time.sleep(100)' \
		"$ROOT/hoy/blobs/held.part" "$T/locked"
	until_true 5 test -e "$T/locked"
	[[ $(hoy system df --format json | jq -c '[.[0].RawSize, .[0].RawReclaimable]') == '[5300,5300]' ]]
	try hoy system prune -f
	assert_stdout 'Total reclaimed space: 5kB'
	[[ $(ls "$ROOT/hoy/blobs") == held.part ]]
}

@test "what crashed processes left is freed by the prunes, and counted; damage stays" {
	have_image busybox
	x=$(printf 'a%.0s' {1..64}) layer=$(the_layer)
	leak() {
		mkdir -p "$ROOT/overlay/$x/diff" "$ROOT/overlay-images/$x" "$ROOT/overlay-containers/$x/userdata" "$ROOT/overlay/tempdirs/temp-dir-5/0-addition"
		head -c 100000 /dev/zero >"$ROOT/overlay/$x/diff/f"
		head -c 20000 /dev/zero >"$ROOT/overlay-containers/$x/userdata/ctr.log"
		head -c 3000 /dev/zero >"$ROOT/overlay/tempdirs/temp-dir-5/0-addition/f"
		head -c 400 /dev/zero >"$ROOT/overlay-layers/$x.tar-split.gz"
		# a layer record that its container never came to be for, and one that nobody has used for long
		edit overlay-layers/layers.json '. + [{"id": "'"${x//a/b}"'", "parent": "'"$layer"'", "created": "2026-11-23T19:10:54Z"},
			{"id": "'"${x//a/c}"'", "diff-digest": "sha256:'"${x//a/c}"'", "diff-size": 10, "created": "2020-01-01T00:00:00Z"}]'
		for y in "${x//a/b}" "${x//a/c}"; do
			mkdir -p "$ROOT/overlay/$y/diff" "$ROOT/overlay/$y/work"
			printf ABCDEFGHIJKLMNOPQRSTUVWX"${y:0:1}"2 | tr bc BC >"$ROOT/overlay/$y/link"
			ln -sfn "../$y/diff" "$ROOT/overlay/l/$(<"$ROOT/overlay/$y/link")"
		done
	}
	gone() {
		[[ $(ls "$ROOT/overlay" | grep -vE '^(l|tempdirs)$') == "$layer" && $(find "$ROOT" -name "$x*") == '' ]]
		[[ $(ls "$ROOT/overlay/tempdirs") == '' && $(ls "$ROOT/overlay/l" | wc -l) == 1 ]]
		[[ $(jq length "$ROOT/overlay-layers/layers.json") == 1 ]]
		podman_is_happy
	}
	for command in 'image prune -f' 'system prune --external'; do
		leak
		try hoy $command
		assert_success
		assert_stdout ''
		gone
	done
	leak
	try hoy system prune -f
	assert_success
	assert_stdout 'Total reclaimed space: 123.5kB'
	gone
	# what is damaged but wanted is not garbage
	rm "$ROOT/overlay-images/$(image_id busybox)/manifest"
	hoy system prune -f
	[[ $(jq length "$ROOT/overlay-images/images.json") == 1 ]]
}

# ---- a full disk

# small_store FS: the store $T/small on a file system of 10 MB, filled up by fill_up.
small_store() {
	mkdir "$T/small"
	if [[ $1 == tmpfs ]]; then
		mount -t tmpfs -o size=10m tmpfs "$T/small"
	else
		truncate -s 12M "$T/disk"
		"mkfs.$1" -q -m 0 "$T/disk"
		mount -o loop "$T/disk" "$T/small"
	fi
	store_new small
}

fill_up() {
	dd if=/dev/zero of="$STORE/fill" bs=4k oflag=append conv=notrunc 2>/dev/null || true
	dd if=/dev/zero of="$STORE/fill" bs=1 oflag=append conv=notrunc 2>/dev/null || true
	run ! sh -c 'head -c 5000 /dev/zero >"$1"' _ "$STORE/more"
	rm "$STORE/more"
}

@test "rm, rmi, the prunes and a repair work on a full disk" {
	for fs in tmpfs ext4; do
		for last in 'system prune -af' 'rmi -af' 'image prune -af'; do
			small_store $fs
			hoy load -q -i "$(fixture busybox)/docker.tar"
			hoy tag busybox two
			hoy create --name a --network none busybox true
			hoy run --name b --network none busybox true
			hoy run -d --name c --network none busybox sh -c 'echo ready; exec sleep 1000'
			hoy create --name d --network none -v "$fs:/v" busybox true
			fill_up
			try hoy create --network none busybox true
			assert_status 125
			for name in a b; do
				fill_up
				try hoy rm "$name"
				assert_success
			done
			fill_up
			try timeout 30 "$HOY_BIN/hoy" "${HOY_OPTS[@]}" rm -f -t 0 c
			assert_success
			fill_up
			try hoy container prune -f
			assert_success
			fill_up
			hoy volume prune -f
			fill_up
			try hoy $last
			assert_success
			rm "$STORE/fill"
			try hoy system check
			assert_success
			assert_empty_store
			[[ $(ls "$ROOT/hoy/containers" "$ROOT/hoy/volumes" | grep -v :) == '' ]]
			umount "$T/small"
			rm -r "$T/small"
		done
		small_store $fs
		hoy load -q -i "$(fixture busybox)/docker.tar"
		damage_layer "$(the_layer)" index.html
		fill_up
		try hoy system check -r
		assert_success
		rm "$STORE/fill"
		assert_empty_store
		umount "$T/small"
		rm -r "$T/small"
	done
}

@test "podman's images go by hoy on a full disk too" {
	for fs in tmpfs ext4; do
		small_store $fs
		have_image busybox
		fill_up
		try hoy image prune -af
		assert_success
		assert_stdout_like '^[0-9a-f]{64}$'
		rm "$STORE/fill"
		assert_empty_store
		umount "$T/small"
		rm -rf "$T/small"
	done
}

# ---- an ordinary user

@test "the same for an ordinary user, in the store of that user's podman" {
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	install -d -m 755 "$T/bin"
	cp "$HOY_BIN"/hoy* "$T/bin/"
	u() { as_user "$T/bin/hoy" "$@"; }
	as_user podman run --name w --network none busybox sh -c 'rm /etc/passwd; echo x >/x; chown 5:6 /x'
	as_user podman commit -q w kid
	as_user podman rm w
	try u system check
	assert_success
	diff <(u system df) <(as_user podman system df)
	graph=$(as_user podman info -f '{{.Store.GraphRoot}}')
	layer=$(jq -r '.[0].id' "$graph/overlay-layers/layers.json")
	as_user podman unshare sh -c "echo changed >'$graph/overlay/$layer/diff/www/index.html'; mkdir '$graph/overlay/foo'"
	try u system check
	assert_status 125
	assert_stdout_has 'file integrity checksum failed for "./www/index.html"'
	assert_stdout_has 'layer foo: layer in lower level storage driver not accounted for'
	try u system check -r
	assert_success
	[[ $(u images -q) == '' ]]
	try as_user podman system check
	assert_success
	as_user podman load -q -i "$(fixture busybox)/docker.tar"
	try u system prune -af
	assert_stdout_has 'Total reclaimed space: 2.141MB'
	[[ $(as_user podman images -q) == '' ]]
}

# An image of two layers in the store, pulled from a registry that registries.conf knows.
pulled() {
	registry_start reg
	export CONTAINERS_REGISTRIES_CONF=$T/registries.conf
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" >"$T/registries.conf"
	have_image busybox
	mkdir ctx
	echo new >ctx/file
	printf 'FROM localhost/busybox\nCOPY file /file\n' >ctx/Containerfile
	oracle_podman build -q -t "$REGISTRY/child:1" ctx
	oracle_podman push -q --tls-verify=false "$REGISTRY/child:1"
	oracle_podman rmi -a -f
	hoy pull -q "$REGISTRY/child:1"
	base=$(jq -r '.[] | select(.parent == null) | .id' "$ROOT/overlay-layers/layers.json")
	image=$(jq -r '.[0].id' "$ROOT/overlay-images/images.json")
}

mended() { # WHAT
	try hoy system check
	assert_status 125
	try hoy system check -r
	assert_success
	assert_stdout_has "Mended $1"
	[[ $output != *Deleted* ]]
	try hoy system check
	assert_success
	podman_is_happy
	[[ $(hoy run --rm --network none "$REGISTRY/child:1" cat /file) == new ]]
}

@test "system check -r fetches again what came from a registry: content, tar-split, directories, records, items" {
	pulled
	hoy run -d --name c --network none "$REGISTRY/child:1" sh -c 'echo kept >/kept; exec sleep 1000'
	split=$(sha256sum <"$ROOT/overlay-layers/$base.tar-split.gz")
	ids() { jq -cS --arg id "$base" '.[] | select(.id == $id) | [.uidset, .gidset]' "$ROOT/overlay-layers/layers.json"; }
	ids=$(ids)
	damage_layer "$base" index.html
	try hoy system check -r
	assert_status 125
	assert_stderr_has "layer '${base:0:12}' cannot be mended while a container or a mount uses it"
	[[ $(hoy exec c cat /file) == new ]]
	hoy stop -t 0 c
	mended "layer: $base"
	[[ $ids == '[[0],[0]]' && $(ids) == "$ids" ]]
	hoy start c
	[[ $(hoy exec c cat /kept) == kept && $(sha256sum <"$ROOT/overlay-layers/$base.tar-split.gz") == "$split" ]]
	hoy rm -f -t 0 c
	rm "$ROOT/overlay-layers/$base.tar-split.gz"
	mended "layer: $base"
	rm -rf "$ROOT/overlay/$base"
	mended "layer: $base"
	rm "$ROOT/overlay-images/$image/manifest"
	mended "image: $image"
	[[ $(hoy image exists "$REGISTRY/child:1"; echo $?) == 0 ]]
}

@test "system check -r: what the registry no longer has is removed, and why is said" {
	pulled
	damage_layer "$base" index.html
	find "$REGISTRY_DIR" -path '*/blobs/sha256/*' -name data -delete
	try hoy system check -r
	assert_success
	assert_stdout_has 'Deleted damaged image'
	assert_stderr_has "$REGISTRY"
	assert_empty_store
}
