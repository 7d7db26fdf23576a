#!/usr/bin/env bats
# Encrypted layers: what one side encrypts, the other one decrypts.
load ../lib/hoy

tool_copy() { tool hoy-image --insecure-policy copy -q "$@"; }
skopeo() { oracle_sh 'cd "$1" && shift && exec skopeo "$@"' "$T" "$@"; }

make_keys() {
	openssl genrsa -out rsa.pem 2048 2>/dev/null
	openssl rsa -in rsa.pem -pubout -out rsa.pub 2>/dev/null
	openssl genrsa -out other.pem 2048 2>/dev/null
	openssl rsa -in other.pem -pubout -out other.pub 2>/dev/null
	for curve in prime256v1 secp384r1 secp521r1; do
		openssl ecparam -name $curve -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out $curve.pem
		openssl pkey -in $curve.pem -pubout -out $curve.pub
	done
	openssl rsa -in rsa.pem -aes256 -passout pass:secret-word -traditional -out locked.pem 2>/dev/null
	cp -r "$(fixture stack)/oci" plain
}

# The layers' digests of DIR:TAG.
layers() { tool hoy-image manifest get "oci:$1" | jq -r '.layers[].digest'; }
types() { tool hoy-image manifest get "oci:$1" | jq -r '.layers[].mediaType' | sed 's/.*tar//' | tr '\n' ' '; }

@test "encrypted by each side with RSA and EC keys, decrypted by the other one" {
	cd "$T"
	make_keys
	for key in rsa prime256v1 secp384r1 secp521r1; do
		tool_copy --encryption-key jwe:$key.pub oci:plain:latest oci:ours:$key
		skopeo copy -q --encryption-key jwe:$key.pub oci:plain:latest oci:theirs:$key
		[[ $(types ours:$key) == "$(types theirs:$key)" && $(types ours:$key) == '+gzip+encrypted +gzip+encrypted +gzip+encrypted +gzip+encrypted +gzip+encrypted ' ]]
		layers ours:$key | not grep -qFf <(layers plain:latest)
		[[ $(tool hoy-image manifest get oci:ours:$key | jq -c '.layers[0].annotations | keys') == "$(tool hoy-image manifest get oci:theirs:$key | jq -c '.layers[0].annotations | keys')" ]]
		for from in ours theirs; do
			tool_copy --decryption-key $key.pem oci:$from:$key oci:d-$from:$key
			skopeo copy -q --decryption-key $key.pem oci:$from:$key oci:s-$from:$key
			diff <(layers plain:latest) <(layers d-$from:$key)
			diff <(tool hoy-image manifest get oci:d-$from:$key) <(tool hoy-image manifest get oci:s-$from:$key)
		done
	done
}

@test "some layers, several keys; through registries, and out of the store" {
	cd "$T"
	make_keys
	registry_start r
	tool_copy --encrypt-layer 0,-1 --encryption-key jwe:rsa.pub --encryption-key jwe:prime256v1.pub --dest-tls-verify=false oci:plain:latest "docker://$REGISTRY/x:1"
	skopeo copy -q --encrypt-layer 0,-1 --encryption-key jwe:rsa.pub --encryption-key jwe:other.pub --dest-tls-verify=false oci:plain:latest "docker://$REGISTRY/x:2"
	for tag in 1 2; do
		[[ $(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/x:$tag" | jq -r '.layers[].mediaType' | sed 's/.*tar//' | tr '\n' ' ') == '+gzip+encrypted +gzip +gzip +gzip +gzip+encrypted ' ]]
	done
	for key in rsa prime256v1; do
		tool_copy --decryption-key other.pem,$key.pem --src-tls-verify=false "docker://$REGISTRY/x:1" oci:d:$key
		skopeo copy -q --decryption-key $key.pem --src-tls-verify=false "docker://$REGISTRY/x:1" oci:s:$key
		diff <(layers plain:latest) <(layers d:$key)
		diff <(layers plain:latest) <(layers s:$key)
	done
	for key in rsa other; do
		tool_copy --decryption-key $key.pem --src-tls-verify=false "docker://$REGISTRY/x:2" oci:d:2$key
		diff <(layers plain:latest) <(layers d:2$key)
	done
	# whoever has no key passes it on as it is
	tool_copy --src-tls-verify=false "docker://$REGISTRY/x:1" oci:kept:1
	diff <(tool hoy-image manifest get oci:kept:1) <(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/x:1")
	# plain layers of a store are packed, then encrypted
	have_image busybox
	tool_copy --encryption-key jwe:rsa.pub "$(storage_name localhost/busybox:latest)" oci:st:1
	skopeo copy -q --decryption-key rsa.pem oci:st:1 oci:st:2
	[[ $(types st:1) == '+gzip+encrypted ' && $(types st:2) == '+gzip ' ]]
	skopeo copy -q oci:st:2 dir:st.dir
	# and all the way back to plain tars
	tool_copy --dest-decompress --decryption-key rsa.pem oci:st:1 dir:tars
	[[ $(jq -r '.layers[0].digest' tars/manifest.json) == "$(skopeo inspect --config oci:st:2 | jq -r '.rootfs.diff_ids[0]')" ]]
}

@test "certificates: pkcs7 by each side, beside jwe" {
	cd "$T"
	make_keys
	openssl req -x509 -new -key other.pem -subj /CN=me -days 2 -out cert.pem
	tool_copy --encryption-key pkcs7:cert.pem,jwe:rsa.pub oci:plain:latest oci:ours:1
	skopeo copy -q --encryption-key pkcs7:cert.pem,jwe:rsa.pub oci:plain:latest oci:theirs:1
	[[ $(tool hoy-image manifest get oci:ours:1 | jq -c '.layers[0].annotations | keys') == *'keys.jwe"'*'keys.pkcs7"'* ]]
	for from in ours theirs; do
		for keys in rsa.pem other.pem,cert.pem; do
			tool_copy --decryption-key $keys oci:$from:1 "oci:d-$from:${keys%%.*}"
			skopeo copy -q --decryption-key $keys oci:$from:1 "oci:s-$from:${keys%%.*}"
			diff <(layers plain:latest) <(layers "d-$from:${keys%%.*}")
			diff <(layers plain:latest) <(layers "s-$from:${keys%%.*}")
		done
		try tool_copy --decryption-key cert.pem,prime256v1.pem oci:$from:1 oci:no:1
		assert_status 1
		assert_stderr_has 'no key that was given opens'
	done
}

@test "passwords of keys: in the word, in a file, on a descriptor; never in what is said" {
	cd "$T"
	make_keys
	tool_copy --encryption-key jwe:rsa.pub oci:plain:latest oci:e:1
	printf 'secret-word\n' >pw
	tool_copy --decryption-key locked.pem:secret-word oci:e:1 oci:d:1
	tool_copy --decryption-key locked.pem:pass=secret-word oci:e:1 oci:d:2
	tool_copy --decryption-key locked.pem:file=pw oci:e:1 oci:d:3
	tool_copy --decryption-key locked.pem:fd=9 oci:e:1 oci:d:4 9<pw
	for i in 1 2 3 4; do diff <(layers plain:latest) <(layers d:$i); done
	for spec in locked.pem locked.pem:wrong-word locked.pem:file=plain/index.json; do
		try tool_copy --decryption-key $spec oci:e:1 oci:no:1
		assert_status 1
		assert_stderr_has "'locked.pem' has no private key that can be read"
		[[ $stderr != *wrong-word* && $stderr != *$'\n'* ]]
	done
	tool hoy-image --insecure-policy --log-level debug copy --decryption-key locked.pem:secret-word oci:e:1 oci:d:5 >log 2>&1
	not grep -q 'secret-word\|PRIVATE' log
}

# A keyring in the directory gpg with keys of NAME@example.org, their secret halves in NAME.ring; the passphrase of $2 is "word of $2".
make_rings() {
	export GNUPGHOME=$T/gpg
	mkdir -m 700 gpg
	for name in "$@"; do
		gpg --batch --quiet --pinentry-mode loopback --passphrase "$([[ $name != "${2-}" ]] || echo "word of $name")" --quick-gen-key "$name@example.org" default default never
		gpg --batch --quiet --pinentry-mode loopback --passphrase "$([[ $name != "${2-}" ]] || echo "word of $name")" --export-secret-keys "$name@example.org" >"$name.ring"
	done
	gpgconf --kill gpg-agent
}

@test "OpenPGP: for keys of gpg's keyring, opened by secret keys in files" {
	cd "$T"
	make_keys
	make_rings ann ben eve
	tool_copy --encryption-key pgp:ann@example.org --encryption-key pgp:ben@example.org,jwe:rsa.pub oci:plain:latest oci:ours:1
	oracle_sh 'cd "$1" && GNUPGHOME=$1/gpg skopeo copy -q --encryption-key pgp:ann@example.org --encryption-key pgp:ben@example.org,jwe:rsa.pub oci:plain:latest oci:theirs:1' "$T"
	for from in ours theirs; do
		[[ $(tool hoy-image manifest get oci:$from:1 | jq -c '.layers[0].annotations | keys | map(split(".")[-1])') == '["jwe","pgp","pubopts"]' ]]
		tool_copy --decryption-key ann.ring oci:$from:1 oci:d-$from:ann
		tool_copy --decryption-key eve.ring --decryption-key 'ben.ring:word of ben' oci:$from:1 oci:d-$from:ben
		skopeo copy -q --decryption-key ann.ring oci:$from:1 oci:s-$from:ann
		for d in d-$from:ann d-$from:ben s-$from:ann; do diff <(layers plain:latest) <(layers $d); done
		for keys in eve.ring ben.ring ben.ring:wrong; do
			try tool_copy --decryption-key "$keys" oci:$from:1 oci:no:1
			assert_status 1
			assert_stderr_has 'no key that was given opens'
		done
	done
	try tool_copy --encryption-key pgp:nobody@example.org oci:plain:latest oci:no:1
	assert_status 1
	assert_stderr_has "there is no public key 'nobody@example.org' in the keyring of gpg"
	gpgconf --kill gpg-agent
	[[ -z $(pgrep -af "gpg-agent.*$TMPDIR") ]]
	[[ -z $(ls -d "${TMPDIR:-/tmp}"/hoy-gpg-* 2>/dev/null) ]]
}

# Programs that keep keys: what they wrap begins with the word that they were called with.
make_providers() {
	cat >keeper <<-'END'
	#!/bin/sh
	in=$(cat)
	printf '%s\n' "$in" >>"$0.log"
	field() { printf '%s' "$in" | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
	case $in in
	*'"op":"keywrap"'*) printf '{"keywrapresults":{"annotation":"%s"}}' "$(printf '%s:%s' "$1" "$(field optsdata)" | base64 -w0)" ;;
	*'"op":"keyunwrap"'*)
		packet=$(field annotation | base64 -d)
		[ "${packet%%:*}" = "$1" ] || exit 1
		printf '{"keyunwrapresults":{"optsdata":"%s"}}' "${packet#*:}" ;;
	esac
	END
	chmod +x keeper
	jq -n --arg p "$T/keeper" '{"key-providers": {kms: {cmd: {path: $p, args: ["one"]}}, other: {cmd: {path: $p, args: ["two"]}}, away: {grpc: "localhost:50051"}, gone: {cmd: {path: "/nowhere"}}}}' >providers
	export OCICRYPT_KEYPROVIDER_CONFIG=$T/providers
}

@test "programs that keep keys" {
	cd "$T"
	make_keys
	make_providers
	tool_copy --encryption-key provider:kms:some-id oci:plain:latest oci:ours:1
	grep -qF '"Parameters":{"kms":["'"$(printf some-id | base64)"'"]}' keeper.log
	oracle_sh 'cd "$1" && OCICRYPT_KEYPROVIDER_CONFIG=$1/providers skopeo copy -q --encryption-key provider:kms oci:plain:latest oci:theirs:1' "$T"
	for from in ours theirs; do
		[[ $(tool hoy-image manifest get oci:$from:1 | jq -c '.layers[0].annotations | keys') == '["org.opencontainers.image.enc.keys.provider.kms","org.opencontainers.image.enc.pubopts"]' ]]
		tool_copy --decryption-key provider:kms oci:$from:1 oci:d-$from:1
		diff <(layers plain:latest) <(layers d-$from:1)
		oracle_sh 'cd "$1" && OCICRYPT_KEYPROVIDER_CONFIG=$1/providers skopeo copy -q --decryption-key provider:kms "$2" "$3"' "$T" oci:$from:1 oci:s-$from:1
		diff <(layers plain:latest) <(layers s-$from:1)
		try tool_copy --decryption-key provider:other oci:$from:1 oci:no:1
		assert_status 1
		assert_stderr_has 'no key that was given opens'
	done
	jq '."key-providers".kms.cmd.args = ["three"]' providers >p && mv p providers
	try tool_copy --decryption-key provider:kms oci:ours:1 oci:no:1
	assert_status 1
	assert_stderr_has "the key provider 'kms' ($T/keeper) fails"
	for bad in 'away	and other ways to one (gRPC) are not supported' 'gone	No such file or directory' 'never	has no key provider'; do
		try tool_copy --encryption-key "provider:${bad%%	*}" oci:plain:latest oci:no:1
		assert_status 1
		assert_stderr_has "${bad#*	}"
	done
	unset OCICRYPT_KEYPROVIDER_CONFIG
	try tool_copy --decryption-key provider:kms oci:ours:1 oci:no:1
	assert_stderr_has 'OCICRYPT_KEYPROVIDER_CONFIG names no file'
}

@test "what is wrong with encrypted images and keys" {
	cd "$T"
	make_keys
	tool_copy --encryption-key jwe:rsa.pub oci:plain:latest oci:e:1
	try tool_copy --decryption-key other.pem oci:e:1 oci:no:1
	assert_status 1
	[[ $stderr == 'Error: no key that was given opens the layer sha256:'* && $stderr != *$'\n'* ]]
	try tool_copy --decryption-key prime256v1.pem oci:e:1 oci:no:1
	assert_status 1
	assert_stderr_has 'no key that was given opens'
	for bad in 'rsa.pub' 'pkcs7:rsa.pub' 'pgp:me@x' 'provider:x:y' 'jwe:' 'jwe:nofile' 'jwe:plain/index.json'; do
		try tool_copy --encryption-key "$bad" oci:plain:latest oci:never:1
		assert_status 1
		[[ $stderr == Error:* && $stderr != *$'\n'* ]]
	done
	[[ ! -e never ]]
	try tool_copy --encrypt-layer 0 oci:plain:latest oci:no:1
	assert_stderr_has '--encrypt-layer can only be used with --encryption-key'
	try tool_copy --encryption-key jwe:rsa.pub --decryption-key rsa.pem oci:plain:latest oci:no:1
	assert_stderr_has 'cannot be specified together'
	for n in 5 -6 x; do
		try tool_copy --encrypt-layer=$n --encryption-key jwe:rsa.pub oci:plain:latest oci:no:1
		assert_status 1
	done
	try tool_copy -f v2s2 --encryption-key jwe:rsa.pub oci:plain:latest dir:no
	assert_stderr_has 'only OCI images have encrypted layers'
	try tool_copy --preserve-digests --encryption-key jwe:rsa.pub oci:plain:latest oci:no:1
	assert_stderr_has '--preserve-digests forbids it'
	# a byte that was changed, with a digest that is right: by whoever doesn't have the key
	python3 - <<-'END'
	import hashlib, json
	def path(d): return "e/blobs/sha256/" + d[7:]
	def put(data):
	    d = "sha256:" + hashlib.sha256(data).hexdigest()
	    open(path(d), "wb").write(data)
	    return {"digest": d, "size": len(data)}
	i = json.load(open("e/index.json"))
	m = json.load(open(path(i["manifests"][0]["digest"])))
	data = bytearray(open(path(m["layers"][1]["digest"]), "rb").read())
	data[100] ^= 1
	m["layers"][1].update(put(bytes(data)))
	i["manifests"][0].update(put(json.dumps(m).encode()))
	json.dump(i, open("e/index.json", "w"))
	END
	try tool_copy --decryption-key rsa.pem oci:e:1 oci:no:2
	assert_status 1
	assert_stderr_has 'its HMAC is not right'
	try hoy pull oci:e:1
	assert_status 125
}

@test "into the store: pull and copy decrypt as podman and skopeo do; a store's image is pushed encrypted" {
	cd "$T"
	make_keys
	registry_start r
	tool_copy --encryption-key jwe:rsa.pub --dest-tls-verify=false oci:plain:latest "docker://$REGISTRY/x:1"
	try hoy pull --tls-verify=false "$REGISTRY/x:1"
	assert_status 125
	assert_stderr_has 'is encrypted, and there is no key to open it (--decryption-key)'
	try hoy pull --decryption-key other.pem --tls-verify=false "$REGISTRY/x:1"
	assert_status 125
	assert_stderr_has 'no key that was given opens'
	[[ -z $(hoy images -q) ]]
	# the same image as from podman, and of its own accord the same as the plain one
	id=$(hoy pull -q --decryption-key other.pem --decryption-key rsa.pem --tls-verify=false "$REGISTRY/x:1")
	[[ $id == "$(tool hoy-image manifest get oci:plain:latest | jq -r '.config.digest[7:]')" ]]
	ours=$(hoy image inspect --format '{{.Digest}} {{.RootFS.Layers}}' "$id")
	layers=$(cat "$ROOT/overlay-layers/layers.json" | jq -c 'map({id, "diff-digest", "compressed-diff-digest", "compressed-size", "diff-size"}) | sort')
	hoy rmi "$id" >/dev/null
	oracle_podman pull -q --decryption-key "$T/rsa.pem" --tls-verify=false "$REGISTRY/x:1"
	[[ $(oracle_podman image inspect --format '{{.Digest}} {{.RootFS.Layers}}' "$id") == "$ours" ]]
	[[ $(jq -c 'map({id, "diff-digest", "compressed-diff-digest", "compressed-size", "diff-size"}) | sort' "$ROOT/overlay-layers/layers.json") == "$layers" ]]
	# again, with all layers there
	[[ $(hoy pull -q --decryption-key rsa.pem --tls-verify=false "$REGISTRY/x:1") == "$id" ]]
	[[ $(hoy image inspect --format '{{.Digest}} {{.RootFS.Layers}}' "$id") == "$ours" ]]
	hoy rmi -f "$id" >/dev/null
	tool_copy --decryption-key rsa.pem --src-tls-verify=false "docker://$REGISTRY/x:1" "$(storage_name localhost/y:1)"
	[[ $(hoy image inspect --format '{{.Digest}} {{.RootFS.Layers}}' localhost/y:1) == "$ours" ]]
	[[ $(hoy run --rm --network none localhost/y:1 echo fine) == fine ]]
	hoy push -q --encryption-key jwe:rsa.pub --encrypt-layer 0 --tls-verify=false localhost/y:1 "$REGISTRY/y:1"
	oracle_podman push -q --encryption-key "jwe:$T/rsa.pub" --encrypt-layer 0 --tls-verify=false localhost/y:1 "$REGISTRY/y:2"
	for tag in 1 2; do
		[[ $(skopeo inspect --raw --tls-verify=false "docker://$REGISTRY/y:$tag" | jq -r '.layers[].mediaType' | sed 's/.*tar//' | tr '\n' ' ') == '+gzip+encrypted +gzip +gzip +gzip +gzip ' ]]
	done
	skopeo copy -q --decryption-key rsa.pem --src-tls-verify=false "docker://$REGISTRY/y:1" oci:back:1
	[[ $(skopeo inspect --config oci:back:1 | jq -c .rootfs) == "$(skopeo inspect --config oci:plain:latest | jq -c .rootfs)" ]]
	try tool_copy --encryption-key jwe:rsa.pub oci:plain:latest "$(storage_name localhost/z:1)"
	assert_status 1
	assert_stderr_has 'a store has no encrypted layers'
}
