#!/usr/bin/env bats
# Who may come in: policy.json, registries.d, signatures of both kinds, made and read by hoy and by skopeo and podman.
load ../lib/hoy

setup() {
	hoy_setup
	export GNUPGHOME=$T/gpg
	mkdir -m 700 gpg
	mkdir rd stage
	cp -r "$(fixture busybox)/oci" img
	printf 'pass\n' >pass
}
teardown() {
	# gpg's agent, whichever side has started it
	gpgconf --kill all 2>/dev/null || true
	hoy_teardown
}

# key MAIL [EXPIRES]: a new key of gpg without a passphrase, in MAIL.pub; sets KEY to its fingerprint.
key() {
	gpg --batch -q --pinentry-mode loopback --passphrase "${3-}" --quick-gen-key "$1" ed25519 sign "${2:-never}" 2>/dev/null
	KEY=$(gpg --batch --with-colons -K "$1" | awk -F: '$1 == "fpr" { print $10; exit }')
	gpg --batch --export "$1" >"$1.pub"
}
# policy REQUIREMENTS [TRANSPORTS]: the file p.json
policy() { printf '{"default": [%s], "transports": {%s}}\n' "$1" "${2-}" >p.json; }
signed_by() { printf '{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "%s"%s}' "$T/$1.pub" "${2:+, \"signedIdentity\": $2}"; }
sigstore_by() { printf '{"type": "sigstoreSigned", "keyPath": "%s"%s}' "$T/$1" "${2:+, \"signedIdentity\": $2}"; }

skopeo() { oracle skopeo --registries.d "$T/rd" "$@"; }
skopeo_in() { rm -rf theirs; skopeo --policy p.json copy -q --src-tls-verify=false "$1" dir:theirs; }
hoy_in() { rm -rf ours; hoy copy -q --registries.d rd --policy p.json --src-tls-verify=false "$1" dir:ours; }
# What the front door doesn't show.
hoy_image() { tool hoy-image "$@"; }
# What skopeo's log line says.
said() { sed -n 's/.*level=fatal msg="\(.*\)"$/\1/p' <<<"$1" | sed 's/\\"/"/g'; }

# Both take SOURCE; both refuse it, with a message that has TEXT (by both, and the same of both without a TEXT).
accepted() {
	try skopeo_in "$1"
	assert_success
	try hoy_in "$1"
	assert_success
}
refused() {
	local theirs
	try skopeo_in "$1"
	[[ $status != 0 ]] || show 'skopeo takes it'
	theirs=$(said "$stderr")
	try hoy_in "$1"
	assert_error "${2:-$theirs}"
	[[ -n $theirs && $theirs == *"${3-${2-}}"* ]] || show "skopeo says: $theirs"
	[[ -z $(ls ours 2>/dev/null | grep -v version) ]] || show 'something was written'
}
local_copy() { hoy copy -q --insecure-policy "oci:img:latest" "dir:d" "$@"; }

@test "policy: accept, reject, scopes, a file that is wrong or missing" {
	local_copy
	policy '{"type": "insecureAcceptAnything"}'
	accepted dir:d
	policy '{"type": "reject"}'
	refused dir:d
	refused oci:img:latest
	policy '{"type": "reject"}' "\"dir\": {\"$T/d\": [{\"type\": \"insecureAcceptAnything\"}]}, \"oci\": {\"$T\": [{\"type\": \"insecureAcceptAnything\"}]}"
	accepted dir:d
	accepted oci:img:latest
	policy '{"type": "insecureAcceptAnything"}' '"oci": {"": [{"type": "reject"}]}'
	refused oci:img
	policy '{"type": "insecureAcceptAnything"}, {"type": "reject"}'
	refused dir:d 'is rejected by policy'
	echo '{"default": []}' >p.json
	refused dir:d 'List of verification policy requirements must not be empty'
	echo '{"default": [{"type": "insecureAcceptAnything"}], "transport": {}}' >p.json
	refused dir:d 'invalid policy in "p.json"'
	rm p.json
	refused dir:d 'p.json' 'no such file'
}

@test "policy: of the user; --insecure-policy" {
	mkdir -p home/.config/containers
	echo '{"default": [{"type": "reject"}]}' >home/.config/containers/policy.json
	try hoy copy -q oci:img:latest dir:x
	assert_error 'Source image rejected: Running image oci:img:latest is rejected by policy.'
	try hoy copy -q --insecure-policy oci:img:latest dir:x
	assert_success
}

@test "policy: without any file nothing comes in" {
	nothing='mount -t tmpfs none /etc/containers && exec "$@"'
	local_copy
	try oracle_sh "unshare -m sh -c '$nothing' sh \"\$@\"" skopeo copy -q dir:d dir:x
	[[ $status != 0 ]]
	theirs=$(said "$stderr")
	try unshare -m sh -c "$nothing" sh "$HOY_BIN/hoy" copy -q dir:d dir:x
	assert_error 'no policy.json file found at any of the following: '
	[[ $theirs == *"${stderr#Error: }" ]] || show "skopeo says: $theirs"
	try unshare -m sh -c "$nothing" sh "$HOY_BIN/hoy" copy -q --insecure-policy dir:d dir:x
	assert_success
}

@test "policy: pull, load and copy into the store commit nothing that is refused" {
	registry_start r
	oracle skopeo copy -q --dest-tls-verify=false oci:img:latest "docker://$REGISTRY/busybox:latest"
	mkdir -p home/.config/containers
	echo '{"default": [{"type": "reject"}]}' >home/.config/containers/policy.json
	try hoy pull -q --tls-verify=false "$REGISTRY/busybox"
	assert_error "Source image rejected: Running image docker://$REGISTRY/busybox:latest is rejected by policy."
	try oracle_podman pull -q --tls-verify=false "$REGISTRY/busybox"
	assert_stderr_has "Source image rejected: Running image docker://$REGISTRY/busybox:latest is rejected by policy."
	for input in "$(fixture busybox)/docker.tar" img; do
		try hoy load -q -i "$input"
		assert_error 'Source image rejected: Running image'
	done
	try hoy copy -q oci:img:latest containers-storage:x
	assert_error 'Source image rejected: Running image'
	[[ ! -s $ROOT/overlay-layers/layers.json || $(jq length "$ROOT/overlay-layers/layers.json") == 0 ]]
	policy '{"type": "insecureAcceptAnything"}'
	try hoy pull -q --signature-policy p.json --tls-verify=false "$REGISTRY/busybox"
	assert_success
	try hoy load -q --signature-policy p.json -i "$(fixture busybox)/docker.tar"
	assert_success
	# What is ours already is not judged again.
	try hoy push -q --tls-verify=false "$REGISTRY/busybox" "$REGISTRY/busybox:2"
	assert_success
	try hoy save -q -o s.tar "$REGISTRY/busybox"
	assert_success
}

@test "simple signing: hoy signs a directory, skopeo reads it; and the other way round" {
	key a@x.org
	key b@x.org
	exact='{"type": "exactReference", "dockerReference": "reg.example/img:1"}'
	policy "$(signed_by a@x.org "$exact")"
	local_copy
	refused dir:d
	rm -r d
	a=$(gpg --batch --with-colons -K a@x.org | awk -F: '$1 == "fpr" { print $10; exit }')
	try local_copy --sign-by "$a" --sign-identity reg.example/img:1
	assert_success
	[[ -s d/signature-1 ]]
	accepted dir:d
	cmp d/signature-1 ours/signature-1
	policy "$(signed_by b@x.org "$exact")"
	refused dir:d 'GPG signature'
	policy "$(signed_by a@x.org '{"type": "exactReference", "dockerReference": "reg.example/img:2"}')"
	refused dir:d
	policy "$(signed_by a@x.org '{"type": "exactRepository", "dockerRepository": "reg.example/img"}')"
	accepted dir:d
	policy "$(signed_by a@x.org "$exact"), $(signed_by b@x.org "$exact")"
	refused dir:d 'GPG signature'
	printf '{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyData": "%s", "signedIdentity": %s}]}' \
		"$(base64 -w0 a@x.org.pub)" "$exact" >p.json
	accepted dir:d
	printf '{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPaths": ["%s", "%s"], "signedIdentity": %s}]}' \
		"$T/b@x.org.pub" "$T/a@x.org.pub" "$exact" >p.json
	accepted dir:d
	# skopeo signs
	rm -r d
	skopeo --insecure-policy copy -q --sign-by "$KEY" --sign-identity reg.example/img:1 oci:img:latest dir:d
	accepted dir:d
	try hoy copy -q --insecure-policy --remove-signatures dir:d dir:bare
	assert_success
	[[ ! -e bare/signature-1 ]]
	refused dir:bare
	# a manifest that would change; a transport that keeps none
	try hoy copy -q --insecure-policy --format v2s2 dir:d dir:v2
	assert_error 'its signatures would no longer be valid'
	try hoy copy -q --insecure-policy dir:d oci:o
	assert_error 'Can not copy signatures to'
	try local_copy --sign-by "$KEY"
	assert_error 'Cannot determine canonical Docker reference for destination'
}

@test "simple signing: tampered, foreign, expired, huge, empty, garbage" {
	key a@x.org
	exact='{"type": "exactRepository", "dockerRepository": "reg.example/img"}'
	policy "$(signed_by a@x.org "$exact")"
	local_copy --sign-by "$KEY" --sign-identity reg.example/img:1
	cp d/signature-1 good
	accepted dir:d
	# a byte changed anywhere is found out
	for at in 12 60 -20; do
		python3 -c 'import sys; b = bytearray(open("good", "rb").read()); b[int(sys.argv[1])] ^= 1; open("d/signature-1", "wb").write(b)' "$at"
		try hoy_in dir:d
		assert_error 'Source image rejected: '
	done
	# the signature of another image
	hoy copy -q --insecure-policy "oci:$(fixture stack)/oci:latest" dir:e --sign-by "$KEY" --sign-identity reg.example/img:1
	cp e/signature-1 d/signature-1
	refused dir:d 'Signature for digest sha256:'
	# a good one behind a bad one is enough
	cp good d/signature-2
	accepted dir:d
	cp e/signature-1 d/signature-2
	refused dir:d 'None of the signatures were accepted, reasons: Signature for digest'
	rm d/signature-2
	: >d/signature-1
	refused dir:d 'empty signature blob'
	echo garbage >d/signature-1
	refused dir:d 'unrecognized signature format, starting with binary 0x67'
	truncate -s 5M d/signature-1
	try hoy_in dir:d
	assert_error 'signature-1'
	# what inflates without end
	head -c 200000000 /dev/zero | gpg --batch -q -u a@x.org --sign -z 9 >d/signature-1
	try hoy_in dir:d
	assert_error 'Source image rejected: Invalid GPG signature'
	# signed, but no document of ours
	for doc in '{}' 'x' '{"critical": {"type": "atomic container signature"}, "optional": {}}'; do
		gpg --batch -q -u a@x.org --sign <<<"$doc" >d/signature-1
		try hoy_in dir:d
		assert_error 'Source image rejected: '
		try skopeo_in dir:d
		[[ $status != 0 ]]
	done
	# two signatures in one
	key b@x.org
	gpg --batch -q -u a@x.org -u b@x.org --sign <<<x >d/signature-1
	try hoy_in dir:d
	assert_error 'Source image rejected: '
	# an expired key
	key c@x.org seconds=2
	hoy copy -q --insecure-policy oci:img:latest dir:f --sign-by "$KEY" --sign-identity reg.example/img:1
	policy "$(signed_by c@x.org "$exact")"
	sleep 3
	refused dir:f 'GPG signature'
	echo nothing >c@x.org.pub
	try hoy_in dir:f
	assert_error 'Source image rejected: '
}

@test "lookaside: written by one, read by the other; identities of a registry" {
	registry_start r
	key a@x.org
	printf 'docker:\n  %s:\n    lookaside: file://%s/stage\n' "$REGISTRY" "$T" >rd/r.yaml
	policy "$(signed_by a@x.org)"
	try hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false --sign-by "$KEY" oci:img:latest "docker://$REGISTRY/ns/h:1"
	assert_success
	d=$(oracle skopeo inspect --tls-verify=false --format "{{.Digest}}" "docker://$REGISTRY/ns/h:1")
	[[ -s stage/ns/h@${d/:/=}/signature-1 ]]
	accepted "docker://$REGISTRY/ns/h:1"
	accepted "docker://$REGISTRY/ns/h@$d"
	skopeo --insecure-policy copy -q --dest-tls-verify=false --sign-by "$KEY" oci:img:latest "docker://$REGISTRY/ns/s:1"
	accepted "docker://$REGISTRY/ns/s:1"
	# signed under another tag
	oracle skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$REGISTRY/ns/h:1" "docker://$REGISTRY/ns/h:2"
	refused "docker://$REGISTRY/ns/h:2"
	policy "$(signed_by a@x.org '{"type": "matchRepository"}')"
	accepted "docker://$REGISTRY/ns/h:2"
	policy "$(signed_by a@x.org '{"type": "matchExact"}')"
	accepted "docker://$REGISTRY/ns/h:1"
	refused "docker://$REGISTRY/ns/h@$d"
	policy "$(signed_by a@x.org "{\"type\": \"remapIdentity\", \"prefix\": \"$REGISTRY/mirror\", \"signedPrefix\": \"$REGISTRY/ns\"}")"
	oracle skopeo copy -q --src-tls-verify=false --dest-tls-verify=false "docker://$REGISTRY/ns/h:1" "docker://$REGISTRY/mirror/h:1"
	mkdir stage/mirror
	cp -r "stage/ns/h@${d/:/=}" stage/mirror
	accepted "docker://$REGISTRY/mirror/h:1"
	# signed anew: the old ones are gone
	rm -rf ours && policy "$(signed_by a@x.org)"
	cp "stage/ns/h@${d/:/=}/signature-1" "stage/ns/h@${d/:/=}/signature-2"
	hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false --sign-by "$KEY" oci:img:latest "docker://$REGISTRY/ns/h:1"
	[[ ! -e stage/ns/h@${d/:/=}/signature-2 ]]
	# podman and hoy pull it into the store
	mkdir -p home/.config/containers
	cp p.json home/.config/containers/policy.json
	ln -s "$T/rd" home/.config/containers/registries.d
	try hoy pull -q --tls-verify=false "$REGISTRY/ns/s:1"
	assert_success
	try hoy pull -q --tls-verify=false "$REGISTRY/ns/h:2"
	assert_error 'Source image rejected: Signature for identity'
	# push signs too
	try hoy push -q --tls-verify=false --remove-signatures --sign-by "$KEY" "$REGISTRY/ns/s:1" "$REGISTRY/ns/p:1"
	assert_success
	accepted "docker://$REGISTRY/ns/p:1"
}

@test "sync: the policy, signatures that go along, stay behind and are added, as skopeo" {
	registry_start r
	key a@x.org
	printf 'docker:\n  %s:\n    lookaside: file://%s/stage\n' "$REGISTRY" "$T" >rd/r.yaml
	hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false --sign-by "$KEY" oci:img:latest "docker://$REGISTRY/ns/h:1"
	# both_sync OPTIONS SOURCE: skopeo's into s, hoy's into h
	both_sync() {
		rm -rf s h
		try skopeo --policy p.json sync --src-tls-verify=false --src docker --dest dir "$@" s
		theirs=$status
		try hoy_image sync --registries.d rd --policy p.json --src-tls-verify=false --src docker --dest dir "$@" h
		[[ $status == "$theirs" ]] || show "skopeo's status is $theirs"
	}
	policy "$(signed_by a@x.org)"
	both_sync "$REGISTRY/ns/h:1"
	assert_success
	[[ -s h/h:1/signature-1 ]]
	diff -r s h
	both_sync --remove-signatures "$REGISTRY/ns/h:1"
	assert_success
	[[ -s h/h:1/manifest.json && ! -e h/h:1/signature-1 ]]
	diff -r s h
	policy '{"type": "reject"}'
	both_sync "$REGISTRY/ns/h:1"
	assert_status 1
	assert_stderr_has 'Source image rejected'
	[[ ! -e h/h:1/manifest.json ]]
	try hoy_image sync --insecure-policy --registries.d rd --src-tls-verify=false --src docker --dest dir "$REGISTRY/ns/h:1" h2
	assert_success
	# into a registry, signed on the way
	policy "$(signed_by a@x.org)"
	try hoy_image sync --registries.d rd --policy p.json --dest-tls-verify=false --src-tls-verify=false --remove-signatures --sign-by "$KEY" \
		--src docker --dest docker "$REGISTRY/ns/h:1" "$REGISTRY/m"
	assert_success
	accepted "docker://$REGISTRY/m/h:1"
	# a list too
	mkdir -p home/.config/containers
	ln -s "$T/rd" home/.config/containers/registries.d
	hoy manifest create l >/dev/null
	hoy manifest add l oci:img:latest >/dev/null
	try hoy manifest push -q --tls-verify=false --sign-by "$KEY" l "docker://$REGISTRY/ns/l:1"
	assert_success
	accepted "docker://$REGISTRY/ns/l:1"
}

@test "lookaside: of a mirror the mirror's signatures count, under the name that was asked for" {
	registry_start r
	key a@x.org
	printf 'docker:\n  %s/mirror:\n    lookaside: file://%s/stage\n' "$REGISTRY" "$T" >rd/r.yaml
	printf '[[registry]]\nlocation = "away.example"\n[[registry.mirror]]\nlocation = "%s/mirror"\ninsecure = true\n' "$REGISTRY" >registries.conf
	mkdir -p home/.config/containers
	cp registries.conf home/.config/containers
	export CONTAINERS_REGISTRIES_CONF=$T/registries.conf
	hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false --sign-by "$KEY" --sign-identity away.example/ns/a:1 \
		oci:img:latest "docker://$REGISTRY/mirror/ns/a:1"
	policy '{"type": "reject"}' "\"docker\": {\"away.example/ns\": [$(signed_by a@x.org)]}"
	accepted docker://away.example/ns/a:1
	refused "docker://$REGISTRY/mirror/ns/a:1"
	policy "$(signed_by a@x.org)"
	refused "docker://$REGISTRY/mirror/ns/a:1" 'Signature for identity "away.example/ns/a:1" is not accepted'
}

@test "the store keeps signatures as podman does" {
	registry_start r
	key a@x.org
	printf 'docker:\n  %s:\n    lookaside: file://%s/stage\n    use-sigstore-attachments: true\n' "$REGISTRY" "$T" >rd/r.yaml
	mkdir -p home/.config/containers
	ln -s "$T/rd" home/.config/containers/registries.d
	hoy_image generate-sigstore-key --output-prefix k --passphrase-file pass
	hoy copy -q --dest-tls-verify=false --sign-by "$KEY" --sign-by-sigstore-private-key k.private --sign-passphrase-file pass \
		oci:img:latest "docker://$REGISTRY/a:1"
	hoy pull -q --tls-verify=false "$REGISTRY/a:1"
	ours=$(jq -S 'map(del(.created))' "$ROOT/overlay-images/images.json")
	cp -r "$ROOT/overlay-images" ours
	try oracle_podman system check
	assert_success
	store_new other
	oracle_podman pull -q --tls-verify=false "$REGISTRY/a:1"
	diff <(jq -S 'map(del(.created))' "$ROOT/overlay-images/images.json") - <<<"$ours"
	diff -r "$ROOT/overlay-images" ours -x '*.json' -x '*.lock'
	[[ $(jq -r '.[0].metadata | fromjson | .["signature-sizes"] | length' ours/images.json) == 2 ]]
	# out of either store they are there again
	for name in store other; do
		store_new "$name"
		image=$(storage_name "$REGISTRY/a:1")
		policy "$(signed_by a@x.org), $(sigstore_by k.pub)"
		try oracle skopeo --policy p.json copy -q --remove-signatures "$image" "dir:s-$name"
		assert_success
		try hoy copy -q --policy p.json --remove-signatures "containers-storage:$REGISTRY/a:1" "dir:h-$name"
		assert_success
		policy '{"type": "insecureAcceptAnything"}' "\"containers-storage\": {\"[overlay@$ROOT]$REGISTRY\": [{\"type\": \"reject\"}]}"
		try oracle skopeo --policy p.json copy -q --remove-signatures "$image" "dir:x"
		[[ $status != 0 ]]
		try hoy copy -q --policy p.json --remove-signatures "containers-storage:$REGISTRY/a:1" "dir:x"
		assert_error 'is rejected by policy'
		try oracle_podman push -q --tls-verify=false "$REGISTRY/a:1" "$REGISTRY/a:2"
		assert_stderr_has 'Copying this image would require changing layer representation, which we cannot do: "Would invalidate signatures"'
		try hoy push -q --tls-verify=false "$REGISTRY/a:1" "$REGISTRY/a:2"
		assert_error 'Copying this image would require changing layer representation, which we cannot do: "Would invalidate signatures"'
		try hoy push -q --tls-verify=false --remove-signatures "$REGISTRY/a:1" "$REGISTRY/a:2"
		assert_success
		try hoy save -q -o "$name.tar" "$REGISTRY/a:1"
		assert_success
	done
	# whoever pulls without an answer about signatures pulls nothing
	rm -r home/.config/containers/registries.d rd/r.yaml
	mkdir home/.config/containers/registries.d
	printf 'default-docker:\n  lookaside: http://127.0.0.1:9\n' >home/.config/containers/registries.d/r.yaml
	store_new third
	try oracle_podman pull -q --tls-verify=false "$REGISTRY/a:1"
	[[ $status != 0 ]]
	try hoy pull -q --retry 0 --tls-verify=false "$REGISTRY/a:1"
	assert_error 'reading signature'
}

@test "lookaside: over HTTP; staging; what a server may answer; registries.d that is wrong" {
	registry_start r
	key a@x.org
	background busybox httpd -f -p 127.0.0.1:18080 -h "$T/stage"
	until_true 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/18080' 2>/dev/null
	printf 'default-docker:\n  sigstore: http://127.0.0.1:18080\n  sigstore-staging: file://%s/stage\n' "$T" >rd/r.yaml
	policy "$(signed_by a@x.org)"
	try hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false --sign-by "$KEY" oci:img:latest "docker://$REGISTRY/h:1"
	assert_success
	accepted "docker://$REGISTRY/h:1"
	sig=$(echo stage/h@*/signature-1)
	cp "$sig" good
	echo '<html>Not what you look for</html>' >"$sig"
	refused "docker://$REGISTRY/h:1" 'unrecognized signature format'
	truncate -s 5M "$sig"
	refused "docker://$REGISTRY/h:1" 'more than 4194304 bytes' 'exceeded maximum allowed size'
	rm "$sig"
	refused "docker://$REGISTRY/h:1"
	for i in {1..130}; do cp good "${sig%1}$i"; done
	refused "docker://$REGISTRY/h:1" "server provided 128 signatures, assuming that's unreasonable"
	# only files are written
	printf 'default-docker:\n  lookaside: http://127.0.0.1:18080\n' >rd/r.yaml
	try hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false --sign-by "$KEY" oci:img:latest "docker://$REGISTRY/h:1"
	assert_error 'Configure a lookaside-staging: location'
	printf 'default-docker:\n  lookaside: gopher://127.0.0.1\n' >rd/r.yaml
	refused "docker://$REGISTRY/h:1" 'Unsupported scheme when reading signature from'
	cp rd/r.yaml rd/s.yaml
	refused "docker://$REGISTRY/h:1" '"default-docker" defined'
	rm rd/s.yaml
	echo '{' >rd/r.yaml
	refused "docker://$REGISTRY/h:1" 'pars'
}

@test "skopeo's options before the verb and behind it; sigstore's parameter file: copy, push, manifest push, sync" {
	registry_start r
	printf 'default-docker:\n  use-sigstore-attachments: true\n' >rd/r.yaml
	hoy_image generate-sigstore-key --output-prefix k --passphrase-file pass
	printf 'privateKeyFile: %s\nprivateKeyPassphraseFile: %s\n' "$T/k.private" "$T/pass" >params.yaml
	policy "$(sigstore_by k.pub)"
	# The same words for both.
	for tool in "oracle skopeo" hoy_image; do
		to=docker://$REGISTRY/${tool##*[ _]}
		try $tool --insecure-policy --registries.d "$T/rd" copy -q --dest-tls-verify=false --sign-by-sigstore params.yaml oci:img:latest "$to:1"
		assert_success
		try $tool --policy p.json --registries.d "$T/rd" copy -q --src-tls-verify=false "$to:1" "dir:in-${tool##*[ _]}"
		assert_success
		accepted "$to:1"
		try $tool --policy p.json --registries.d "$T/rd" sync --src dir --dest docker --dest-tls-verify=false "in-${tool##*[ _]}" "$REGISTRY/x"
		assert_status 1
		try $tool --insecure-policy --registries.d "$T/rd" sync --src dir --dest docker --dest-tls-verify=false --sign-by-sigstore params.yaml --remove-signatures "in-${tool##*[ _]}" "$REGISTRY/${tool##*[ _]}"
		assert_success
		accepted "docker://$REGISTRY/${tool##*[ _]}/in-${tool##*[ _]}"
	done
	# Behind the verb too, and the last one counts.
	try hoy_image --policy none.json copy -q --policy p.json --registries.d rd --src-tls-verify=false "docker://$REGISTRY/skopeo:1" dir:again
	assert_success
	try hoy_image --policy p.json images
	assert_error 'images has no option --policy'

	mkdir -p home/.config/containers
	ln -s "$T/rd" home/.config/containers/registries.d
	have_image busybox
	try hoy push -q --tls-verify=false --sign-by-sigstore params.yaml --remove-signatures busybox "docker://$REGISTRY/pushed:1"
	assert_success
	accepted "docker://$REGISTRY/pushed:1"
	hoy manifest create l busybox
	try hoy manifest push -q --tls-verify=false --sign-by-sigstore params.yaml --remove-signatures l "docker://$REGISTRY/list:1"
	assert_success
	accepted "docker://$REGISTRY/list:1"

	# What it must not have, and what is not done.
	for bad in 'privateKeyPassphraseFile: x' 'privateKeyFile: [1]' 'privateKeyFiles: x' '[]' 'privateKeyFile: ""'; do
		printf '%s\n' "$bad" >bad.yaml
		try hoy_image copy -q --insecure-policy --sign-by-sigstore bad.yaml oci:img:latest dir:bad
		assert_error "bad.yaml" 1
		[[ ! -e bad ]]
		! oracle skopeo --insecure-policy copy -q --sign-by-sigstore bad.yaml oci:img:latest dir:bad2 || { echo "skopeo takes: $bad"; false; }
	done
	for undone in 'fulcio:\n  fulcioURL: http://127.0.0.1:1' 'privateKeyFile: k.private\nrekorURL: http://127.0.0.1:1'; do
		printf "$undone\n" >bad.yaml
		try hoy_image copy -q --insecure-policy --sign-by-sigstore bad.yaml oci:img:latest dir:bad
		assert_error 'without Fulcio and Rekor' 1
	done
	try hoy manifest push -q --sign-by-sigstore bad.yaml l "dir:$T/bad"
	assert_error 'without Fulcio and Rekor'
	try hoy_image copy -q --insecure-policy --sign-by-sigstore none.yaml oci:img:latest dir:bad
	assert_error 'none.yaml' 1
}

@test "sigstore: keys of both, signatures of both, read by both" {
	registry_start r
	printf 'default-docker:\n  use-sigstore-attachments: true\n' >rd/r.yaml
	try hoy_image generate-sigstore-key --output-prefix k --passphrase-file pass
	assert_success
	assert_stdout 'Key written to "k.private" and "k.pub"'
	[[ $(stat -c %a k.private) == 600 ]]
	openssl pkey -pubin -in k.pub -text -noout | grep -q prime256v1
	try hoy_image generate-sigstore-key --output-prefix k --passphrase-file pass
	assert_error 'Refusing to overwrite existing "k.pub"'
	oracle skopeo generate-sigstore-key --output-prefix s --passphrase-file pass
	out() { try "$1" copy -q "${@:3}" --dest-tls-verify=false oci:img:latest "docker://$REGISTRY/$2"; assert_success; }
	hoy_out() { hoy copy --registries.d rd --insecure-policy "${@:2}"; }
	skopeo_out() { skopeo --insecure-policy copy "${@:2}"; }
	out hoy_out h:1 --sign-by-sigstore-private-key k.private --sign-passphrase-file pass
	out skopeo_out s:1 --sign-by-sigstore-private-key s.private --sign-passphrase-file pass
	out hoy_out hs:1 --sign-by-sigstore-private-key s.private --sign-passphrase-file pass
	out skopeo_out sh:1 --sign-by-sigstore-private-key k.private --sign-passphrase-file pass
	policy "$(sigstore_by k.pub)"
	accepted "docker://$REGISTRY/h:1"
	accepted "docker://$REGISTRY/sh:1"
	refused "docker://$REGISTRY/s:1" 'cryptographic signature verification failed'
	policy "$(sigstore_by s.pub)"
	accepted "docker://$REGISTRY/s:1"
	accepted "docker://$REGISTRY/hs:1"
	# a second signature goes beside the first
	out hoy_out s:1 --sign-by-sigstore-private-key k.private --sign-passphrase-file pass
	accepted "docker://$REGISTRY/s:1"
	policy "$(sigstore_by k.pub), $(sigstore_by s.pub)"
	accepted "docker://$REGISTRY/s:1"
	policy "{\"type\": \"sigstoreSigned\", \"keyData\": \"$(base64 -w0 k.pub)\"}"
	accepted "docker://$REGISTRY/s:1"
	printf '{"default": [{"type": "sigstoreSigned", "keyPaths": ["%s", "%s"]}]}' "$T/s.pub" "$T/k.pub" >p.json
	accepted "docker://$REGISTRY/h:1"
	# the signature goes along, to a directory and back to a registry
	policy "$(sigstore_by k.pub '{"type": "matchRepository"}')"
	try hoy copy -q --registries.d rd --policy p.json --src-tls-verify=false "docker://$REGISTRY/h:1" dir:along
	assert_success
	[[ $(head -c 14 along/signature-1 | tr -d '\0') == sigstore-json ]]
	policy "$(sigstore_by k.pub "{\"type\": \"exactReference\", \"dockerReference\": \"$REGISTRY/h:1\"}")"
	accepted dir:along
	try hoy copy -q --registries.d rd --policy p.json --dest-tls-verify=false dir:along "docker://$REGISTRY/again:7"
	assert_success
	accepted "docker://$REGISTRY/again:7"
	policy "$(sigstore_by k.pub)"
	refused "docker://$REGISTRY/again:7"
	# podman pulls what hoy has signed, hoy pulls too
	mkdir -p home/.config/containers
	cp p.json home/.config/containers/policy.json
	ln -s "$T/rd" home/.config/containers/registries.d
	oracle_podman pull -q --tls-verify=false "$REGISTRY/h:1"
	try hoy pull -q --tls-verify=false "$REGISTRY/sh:1"
	assert_success
	try hoy pull -q --tls-verify=false "$REGISTRY/again:7"
	assert_error 'Source image rejected: Signature for identity'
	# podman signs with a key of hoy's
	oracle_podman push -q --remove-signatures --tls-verify=false --sign-by-sigstore-private-key k.private --sign-passphrase-file pass "$REGISTRY/h:1" "$REGISTRY/p:1"
	accepted "docker://$REGISTRY/p:1"
}

@test "sigstore: wrong passphrases, tampered payloads, what is not done, what is switched off" {
	hoy_image generate-sigstore-key --output-prefix k --passphrase-file pass
	echo other-secret >wrong
	sign() { hoy copy -q --insecure-policy --sign-identity reg.example/img:1 oci:img:latest dir:d "$@"; }
	try sign --sign-by-sigstore-private-key k.private --sign-passphrase-file wrong
	assert_error "wrong passphrase"
	[[ $stderr != *other-secret* ]]
	try sign --sign-by-sigstore-private-key k.private </dev/null
	assert_error 'standard input is not a TTY'
	try sign --sign-by-sigstore-private-key k.pub --sign-passphrase-file pass
	assert_error 'is no encrypted sigstore private key'
	sed 's/^[A-Za-z0-9+]\{8\}/AAAAAAAA/' k.private >broken
	try sign --sign-by-sigstore-private-key broken --sign-passphrase-file pass
	assert_error 'broken'
	rm -rf d
	sign --sign-by-sigstore-private-key k.private --sign-passphrase-file pass
	exact='{"type": "exactRepository", "dockerRepository": "reg.example/img"}'
	policy "$(sigstore_by k.pub "$exact")"
	accepted dir:d
	cp d/signature-1 good
	payload=$(tail -n +2 good | jq -r .payload | base64 -d)
	forge() { { printf '\0sigstore-json\n'; tail -n +2 good | jq -c "$@"; } >d/signature-1; }
	forge --arg p "$(printf %s "${payload/reg.example\/img:1/reg.example\/img:2}" | base64 -w0)" '.payload = $p'
	refused dir:d 'cryptographic signature verification failed'
	forge '.annotations = {}'
	refused dir:d 'annotation'
	forge '.annotations["dev.cosignproject.cosign/signature"] = "AAAA"'
	refused dir:d 'cryptographic signature verification failed'
	forge '.annotations["dev.cosignproject.cosign/signature"] = "!"'
	refused dir:d 'base64'
	forge '.mimeType = "text/plain"'
	refused dir:d 'A signature was required, but no signature exists'
	printf '\0made-up\n{}' >d/signature-1
	refused dir:d 'unrecognized signature format "made-up"'
	cp good d/signature-1
	policy "{\"type\": \"sigstoreSigned\", \"keyPath\": \"$T/k.pub\", \"rekorPublicKeyPath\": \"$T/k.pub\", \"signedIdentity\": $exact}"
	try hoy_in dir:d
	assert_error '"rekorPublicKeyPath" of sigstoreSigned is not supported'
	policy '{"type": "sigstoreSigned", "fulcio": {"caPath": "/x", "oidcIssuer": "y", "subjectEmail": "z"}, "rekorPublicKeyPath": "/k"}'
	try hoy_in dir:d
	assert_error '"fulcio" of sigstoreSigned is not supported'
	registry_start r
	try hoy copy -q --registries.d rd --insecure-policy --dest-tls-verify=false dir:d "docker://$REGISTRY/x:1"
	assert_error 'writing sigstore attachments is disabled by configuration'
}

@test "passphrases of gpg: from a file; never told" {
	key a@x.org never geheim
	gpgconf --kill gpg-agent
	echo falsch >wrong
	echo geheim >right
	exact='{"type": "exactRepository", "dockerRepository": "reg.example/img"}'
	policy "$(signed_by a@x.org "$exact")"
	try local_copy --sign-by "$KEY" --sign-identity reg.example/img:1 --sign-passphrase-file wrong
	assert_error 'cannot sign'
	[[ $stderr != *falsch* ]]
	rm -rf d
	try hoy --log-level debug copy --insecure-policy --sign-by "$KEY" --sign-identity reg.example/img:1 --sign-passphrase-file right oci:img:latest dir:d
	assert_success
	[[ $stderr$output != *geheim* ]]
	accepted dir:d
	try local_copy --sign-by NOBODY --sign-identity reg.example/img:1
	assert_error "there is no secret key 'NOBODY'"
}

@test "standalone-sign and standalone-verify: with skopeo's" {
	key a@x.org
	local_copy
	m=d/manifest.json name=reg.example/img:1
	try hoy_image standalone-sign "$m" "$name" "$KEY" -o ours.sig
	assert_success
	oracle skopeo standalone-sign "$m" "$name" "$KEY" -o theirs.sig
	want="Signature verified using fingerprint $KEY, digest $(hoy_image manifest-digest "$m")"
	for sig in ours.sig theirs.sig; do
		try hoy_image standalone-verify "$m" "$name" "$KEY" "$sig"
		assert_stdout "$want"
		try oracle skopeo standalone-verify "$m" "$name" "$KEY" "$sig"
		assert_stdout "$want"
		try hoy_image standalone-verify --public-key-file a@x.org.pub "$m" "$name" any "$sig"
		assert_stdout "$want"
	done
	try hoy_image standalone-verify "$m" "$name" any ours.sig
	assert_error 'Cannot use any fingerprint without a public key file'
	try hoy_image standalone-verify "$m" "$name" 0123456789012345678901234567890123456789 ours.sig
	assert_error 'does not match expected fingerprints'
	try hoy_image standalone-verify "$m" reg.example/img:2 "$KEY" ours.sig
	assert_error 'does not match'
	echo >>"$m"
	try hoy_image standalone-verify "$m" "$name" "$KEY" ours.sig
	assert_error 'Signature for docker digest'
	try hoy_image standalone-sign "$m" reg.example/img "$KEY" -o x.sig
	assert_error 'neither a tag nor a digest'
}

@test "image trust: show and set, as podman" {
	key a@x.org
	same() {
		try oracle_podman image trust "$@" --policypath p.json
		theirs=$output
		try hoy image trust "$@" --policypath p.json
		assert_stdout "$theirs"
	}
	printf 'docker:\n  a.io: {lookaside: "http://x/y"}\n' >rd/x.yaml
	policy '{"type": "reject"}' '"docker": {"b.io/x": [{"type": "sigstoreSigned", "keyPath": "/k"}], "a.io/n": [{"type": "insecureAcceptAnything"}]}, "dir": {"": [{"type": "reject"}]}'
	same show --registrypath rd
	same show --registrypath rd --json
	same show --registrypath rd -n
	same show --raw
	printf 'default-docker: {lookaside: "http://d/"}\n' >rd/x.yaml
	same show --registrypath rd
	for args in '-t accept z.io' '-t reject default' '-t signedBy -f /k1 -f /k2 b.io/x' '-t sigstoreSigned -f /k3 n.io'; do
		cp p.json before
		# shellcheck disable=SC2086
		oracle_podman image trust set --policypath p.json $args
		cp p.json theirs
		cp before p.json
		# shellcheck disable=SC2086
		try hoy image trust set --policypath p.json $args
		assert_success
		cmp p.json theirs
	done
	try hoy image trust set --policypath p.json z.io
	assert_error "at least one public key must be defined for type 'signedBy'"
	try hoy image trust set --policypath p.json -t maybe z.io
	assert_error 'invalid choice: maybe'
	try hoy image trust set --policypath p.json -t accept /z
	assert_error 'invalid image uri: /z'
	try hoy image trust set --policypath p.json -t accept -f /k z.io
	assert_error '1 public keys unexpectedly provided for trust type accept'
	cmp p.json theirs
	# podman asks gpg2 for these, which need not be there
	policy "$(signed_by a@x.org)"
	try hoy image trust show -n --policypath p.json
	assert_stdout_like '^all +default +signed +a@x.org'
}

@test "an ordinary user: the own policy, keys and lookaside" {
	home=$HOY_TEST_AREA/home-hoytest
	as_user true
	registry_start r
	key a@x.org
	policy "$(signed_by a@x.org '{"type": "matchRepository"}'| sed "s,$T/,$home/,")"
	as_user mkdir -p .config/containers/registries.d keys
	install -o hoytest p.json "$home/.config/containers/policy.json"
	install -o hoytest a@x.org.pub "$home/"
	gpg --batch --export-secret-keys a@x.org >secret
	install -o hoytest secret "$home/"
	as_user mkdir bin
	cp "$HOY_BIN"/hoy* "$home/bin/"
	user_hoy() { as_user env GNUPGHOME="$home/keys" "$home/bin/hoy" "$@"; }
	chmod -R a+rX img
	chmod 755 .
	as_user sh -c "chmod 700 keys; gpg --homedir keys --batch -q --import secret"
	as_user skopeo --insecure-policy copy -q --dest-tls-verify=false "oci:$T/img:latest" "docker://$REGISTRY/u:0"
	try user_hoy pull -q --tls-verify=false "$REGISTRY/u:0"
	assert_error 'Source image rejected: A signature was required, but no signature exists'
	try user_hoy copy -q --insecure-policy --dest-tls-verify=false --sign-by "$KEY" "oci:$T/img:latest" "docker://$REGISTRY/u:1"
	assert_success
	[[ -s $(echo "$home"/.local/share/containers/sigstore/u@*/signature-1) ]]
	try user_hoy pull -q --tls-verify=false "$REGISTRY/u:1"
	assert_success
	as_user gpgconf --homedir keys --kill all
	try as_user podman pull -q --tls-verify=false "$REGISTRY/u:1"
	assert_success
}

@test "image sign: as podman" {
	registry_start r
	key a@x.org
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$REGISTRY" >registries.conf
	export CONTAINERS_REGISTRIES_CONF=$T/registries.conf
	oracle skopeo copy -q --dest-tls-verify=false oci:img:latest "docker://$REGISTRY/ns/a:1"
	mkdir ours theirs
	try oracle_podman image sign --sign-by "$KEY" -d "$T/theirs" "docker://$REGISTRY/ns/a:1"
	assert_success
	for i in 1 2; do
		try hoy image sign --sign-by "$KEY" -d ours "docker://$REGISTRY/ns/a:1"
		assert_success
		assert_stdout ''
	done
	diff <(cd ours && find . -type f ! -name signature-2) <(cd theirs && find . -type f)
	[[ -s $(echo ours/ns/a@*/signature-2) ]]
	oracle skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/ns/a:1" >m
	for side in ours theirs; do
		try oracle skopeo standalone-verify m "$REGISTRY/ns/a:1" "$KEY" "$(echo $side/ns/a@*/signature-1)"
		assert_success
		try hoy_image standalone-verify m "$REGISTRY/ns/a:1" "$KEY" "$(echo $side/ns/a@*/signature-1)"
		assert_success
	done
	mkdir -p home/.config/containers
	ln -s "$T/rd" home/.config/containers/registries.d
	printf 'default-docker:\n  lookaside: file://%s/stage\n' "$T" >rd/r.yaml
	try hoy image sign --sign-by "$KEY" "docker://$REGISTRY/ns/a:1"
	assert_success
	policy "$(signed_by a@x.org)"
	accepted "docker://$REGISTRY/ns/a:1"
	try oracle_podman image sign -a --sign-by "$KEY" "docker://$REGISTRY/ns/a:1"
	theirs=${stderr##*Error: }
	try hoy image sign -a --sign-by "$KEY" "docker://$REGISTRY/ns/a:1"
	assert_error "$theirs"
	try hoy image sign "docker://$REGISTRY/ns/a:1"
	assert_error 'no identity provided'
	try hoy image sign --sign-by "$KEY" oci:img:latest
	assert_error 'cannot determine canonical Docker reference'
}

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}
# stored_sigs NAME: what signatures say that the store keeps of an image: who, and of what.
stored_sigs() {
	local id
	id=$(jq -r --arg n "$1" '.[] | select(.id == $n or (.names // [] | index($n))) | .id' "$ROOT/overlay-images/images.json")
	gpg -q -d "$ROOT/overlay-images/$id/signatures" 2>/dev/null | jq -c '[.critical.identity["docker-reference"], .critical.image["docker-manifest-digest"]]'
}
# What the store knows of the signatures of all images, without the sizes that are a matter of chance.
sig_records() { jq -cS '[.[] | {id, names, n: (."big-data-names" | sort), sizes: (.metadata | fromjson | .["signatures-sizes"] | map_values(length)), all: (.metadata | fromjson | .["signature-sizes"] | length)}]' "$ROOT/overlay-images/images.json"; }

@test "copy into a store signs, as skopeo; what carries the signatures on, and what drops them" {
	key a@x.org
	try hoy copy -q --insecure-policy --sign-by "$KEY" oci:img:latest containers-storage:localhost/s:1
	assert_success
	ours=$(sig_records)
	[[ $(stored_sigs localhost/s:1 | jq -r '.[0]') == localhost/s:1 ]]
	try oracle_podman system check
	assert_success
	hoy rmi localhost/s:1 >/dev/null
	skopeo --insecure-policy copy -q --sign-by "$KEY" oci:img:latest "$(storage_name localhost/s:1)"
	diff <(sig_records) - <<<"$ours"
	# The identity that is given; a second one, which takes the place of the first as there.
	for tool in hoy skopeo; do
		if [[ $tool == hoy ]]; then
			hoy copy -q --insecure-policy --sign-by "$KEY" --sign-identity example.org/x:9 oci:img:latest containers-storage:localhost/s:2
		else
			skopeo --insecure-policy copy -q --sign-by "$KEY" --sign-identity example.org/x:9 oci:img:latest "$(storage_name localhost/s:2)"
		fi
		[[ $(stored_sigs localhost/s:2 | jq -r '.[0]') == example.org/x:9 ]]
		sig_records >"$tool.records"
	done
	diff hoy.records skopeo.records
	# A signature more, where the source has one; and none of those, where they are to stay behind.
	hoy copy -q --insecure-policy --sign-by "$KEY" --sign-identity reg.example/img:1 oci:img:latest dir:d
	hoy copy -q --insecure-policy --sign-by "$KEY" dir:d containers-storage:localhost/s:3
	[[ $(sig_records | jq '.[0].all') == 2 ]]
	hoy copy -q --insecure-policy --remove-signatures --sign-by "$KEY" dir:d containers-storage:localhost/s:3
	[[ $(sig_records | jq '.[0].all') == 1 ]]
	try hoy copy --insecure-policy -q --sign-by nobody@example.org oci:img:latest containers-storage:localhost/s:4
	assert_error 'nobody@example.org'
	try hoy copy --insecure-policy -q --sign-by "$KEY" oci:img:latest "containers-storage:@$(sig_records | jq -r '.[0].id')"
	assert_stderr_has 'Cannot determine canonical Docker reference for destination'
	[[ $(hoy images --noheading | wc -l) == 3 ]]
}

@test "an image with a signed manifest of plain layers is pushed as it is, its signatures with it" {
	registry_start r
	key a@x.org
	printf 'docker:\n  %s:\n    lookaside: file://%s/stage\n' "$REGISTRY" "$T" >rd/r.yaml
	mkdir -p home/.config/containers
	ln -s "$T/rd" home/.config/containers/registries.d
	have_image busybox
	c=$(hoy_build from busybox)
	id=$(hoy_build commit -q --sign-by "$KEY" "$c" "$REGISTRY/x:1")
	digest=$(hoy image inspect --format '{{.Digest}}' "$id")
	try hoy push -q --tls-verify=false "$REGISTRY/x:1"
	assert_success
	policy "$(signed_by a@x.org)"
	accepted "docker://$REGISTRY/x:1"
	[[ $(oracle skopeo inspect --tls-verify=false --format '{{.Digest}}' "docker://$REGISTRY/x:1") == "$digest" ]]
	try hoy push -q --tls-verify=false --remove-signatures "$REGISTRY/x:1" "$REGISTRY/y:1"
	assert_success
	refused "docker://$REGISTRY/y:1" 'A signature was required, but no signature exists'
	# And podman pushes what we have signed.
	try oracle_podman push -q --tls-verify=false "$REGISTRY/x:1" "dir:$T/pushed"
	assert_success
	[[ -s pushed/signature-1 ]]
}
@test "build --sign-by --push: what the registry gets is signed, the images of a list, too" {
	registry_start r
	key a@x.org
	printf 'docker:\n  %s:\n    lookaside: file://%s/stage\n' "$REGISTRY" "$T" >rd/r.yaml
	mkdir -p home/.config/containers ctx
	ln -s "$T/rd" home/.config/containers/registries.d
	echo x >ctx/x
	printf 'FROM scratch\nARG TARGETARCH\nCOPY x /$TARGETARCH\n' >ctx/Containerfile
	hoy build -q --sign-by "$KEY" --push --tls-verify=false -t "$REGISTRY/one:1" ctx
	policy "$(signed_by a@x.org)"
	accepted "docker://$REGISTRY/one:1"
	hoy build -q --sign-by "$KEY" --push --tls-verify=false --platform linux/amd64,linux/arm64 -t "$REGISTRY/two:1" ctx
	accepted "docker://$REGISTRY/two:1"
	hoy build -q --sign-by "$KEY" -t "$REGISTRY/one:1" -o type=oci,dest=out.tar --tls-verify=false ctx
	[[ -s out.tar ]]
}

@test "commit --sign-by and build --sign-by: as buildah; a key that isn't there leaves nothing" {
	key a@x.org
	have_image busybox
	c=$(hoy_build from busybox)
	try hoy_build commit --sign-by "$KEY" "$c" x:1
	assert_success
	grep -v 'Copying' <<<"$stderr" >ours
	[[ $(stored_sigs localhost/x:1 | jq -r '.[0]') == localhost/x:1 ]]
	[[ $(stored_sigs localhost/x:1 | jq -r '.[1]') == "$(hoy image inspect --format '{{.Digest}}' x:1)" ]]
	try oracle_buildah commit --sign-by "$KEY" "$c" x:2
	diff ours <(grep -v 'Copying' <<<"$stderr")
	id=$(hoy_build commit -q --sign-by "$KEY" "$c")
	[[ $(stored_sigs "$id" | jq -r '.[0]') =~ ^docker.io/library/[0-9a-f]{64}-tmp:latest$ ]]
	before=$(hoy images -aq --no-trunc | sort -u)
	try hoy_build commit -q --sign-by nobody@example.org "$c" x:3
	assert_error 'nobody@example.org'
	[[ $(hoy images -aq --no-trunc | sort -u) == "$before" ]]
	mkdir ctx
	printf 'FROM busybox\nENV A=b\nLABEL c=d\n' >ctx/Containerfile
	try hoy build -q --sign-by nobody@example.org -t b:1 ctx
	assert_status 125
	not hoy image exists b:1
	try hoy build --sign-by "$KEY" -t b:1 -t b:2 ctx
	assert_success
	[[ $(stored_sigs localhost/b:1 | jq -r '.[0]') == localhost/b:1 ]]
	# From the cache, too: with one signature, which is the new one.
	hoy build -q --sign-by "$KEY" -t b:3 ctx >/dev/null
	[[ $(stored_sigs localhost/b:3 | jq -r '.[0]') == localhost/b:3 ]]
	try oracle_podman system check
	assert_success
	oracle_podman build -q --no-cache --sign-by "$KEY" -t b:4 ctx >/dev/null
	[[ $(stored_sigs localhost/b:4 | jq -r '.[0]') == localhost/b:4 ]]
}
