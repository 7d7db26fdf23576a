#!/usr/bin/env bats
# What a commit or a build adds to its image from elsewhere: files, and what a scanner finds in it.

load ../lib/hoy

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}

# The ids of what buildah and hoy-build commit of container $1 with the options behind it are the same.
same_commit() {
	local theirs ours
	theirs=$(oracle_buildah commit -q "${@:2}" "$1") || return 1
	ours=$(hoy_build commit -q "${@:2}" "$1") || return 1
	[[ $theirs == "$ours" ]] || {
		diff <(hoy image inspect "$theirs") <(hoy image inspect "$ours") || true
		return 1
	}
}

@test "commit --add-file: the same layer and history as buildah's, in both formats, squashed too" {
	have_image busybox
	printf 'hello\n' >f1
	chmod 4751 f1
	head -c 5000 /dev/zero >f2
	ln -s f1 link
	mkdir dir
	c=$(hoy_build from busybox)
	hoy_build run --network none "$c" sh -c 'echo x >/x'
	for format in oci docker; do
		same_commit "$c" --timestamp 0 -f $format --add-file f1:/opt/x/f1
		same_commit "$c" --timestamp 0 -f $format --add-file "$T/f2:bin/f2"
		same_commit "$c" --timestamp 0 -f $format --add-file link:/zz
		same_commit "$c" --timestamp 1000000000 -f $format --add-file "$T/f1"
		same_commit "$c" --timestamp 0 -f $format --squash --add-file "$T/f1:/opt/y"
		same_commit "$c" --timestamp 0 -f $format --omit-history --add-file "$T/f1:/opt/y"
	done
	# Several: buildah's are in an order of chance, ours in that of their names.
	id=$(hoy_build commit -q --timestamp 0 --add-file f1:/zz --add-file f2:/b "$c")
	[[ $(hoy_build commit -q --timestamp 0 --add-file f2:/b --add-file f1:/zz "$c") == "$id" ]]
	before=$(hoy images -aq --no-trunc | sort -u | wc -l)
	id=$(hoy_build commit -q --add-file f1:/opt/f1 --change 'ENV A=b' --annotation k=v "$c" named)
	# One image more, and none between.
	[[ $(hoy images -aq --no-trunc | sort -u | wc -l) == $((before + 1)) ]]
	[[ $(hoy image inspect --format '{{.Id}} {{.Config.Env}} {{.Annotations.k}}' named) == "$id [PATH=/bin A=b] v" ]]
	dir=$(hoy image mount named)
	[[ $(<"$dir/opt/f1") == hello && $(stat -c '%a %u:%g' "$dir/opt/f1") == '644 0:0' && $(<"$dir/x") == x ]]
	hoy image umount named
	# (podman's check takes names with a slash in front, which buildah gives such files, for damage.)
	try hoy system check
	assert_success
	hoy_build commit -q --add-file f1:/opt/f1 "$c" "dir:$T/out" >/dev/null
	[[ $(jq '.layers | length' out/manifest.json) == 3 ]]
	try hoy_build commit --rm -q --add-file f1:/opt/f1 "$c" last
	assert_success
	[[ $(hoy image inspect --format '{{len .RootFS.Layers}}' last) == 3 ]]
}

@test "commit --add-file: what is refused leaves nothing" {
	have_image busybox
	echo 1 >f1
	mkdir dir
	c=$(hoy_build from busybox)
	before=$(hoy images -aq)
	for tool in hoy_build oracle_buildah; do
		try $tool commit -q --add-file "$T/dir:/x" "$c"
		assert_stderr_has "parsing add-file argument \"$T/dir:/x\": source \"$T/dir\" is not a regular file"
		assert_status 125
		try $tool commit -q --add-file "$T/none:/x" "$c"
		assert_stderr_has "parsing add-file argument \"$T/none:/x\": source \"$T/none\": "
		try $tool commit -q --add-file f1:/x/ "$c"
		assert_status 125
	done
	for path in '../x' 'a/../../x' '/a/..'; do
		try hoy_build commit -q --add-file "f1:$path" "$c"
		assert_error 'is not the path of a file in the image'
	done
	[[ $(hoy images -aq) == "$before" ]]
}

# An image "scanner" whose /scan copies its first argument to its last one, contexts ctx and ctx2 with a Containerfile.
make_scanner() {
	mkdir sc ctx ctx2
	cat >sc/scan <<-'END'
	#!/bin/sh
	for out; do :; done
	echo "scan $* as $(id -u) in $PWD with $Q" >&2
	cp "$1" "$out"
	END
	chmod 755 sc/scan
	echo '{ "z":1, "bomFormat":"CycloneDX","components":[{"name":"a","version":"1","purl":"pkg:x/a@1","<h>":1.50},{"name":"b","purl":"pkg:x/b"},{"name":"a","version":"1","purl":"pkg:x/a@1?dup"}],"vulns":[1,-2.5e-9,1e21,100000000000000000000,0.000001,-0,12345678901234567890123]}' >sc/c1.json
	echo '{ "components":[{"name":"c","version":"1","purl":"pkg:x/0c@1"},{"name":"b","purl":"pkg:x/b2"},{"name":"d"}],"other":2}' >sc/c2.json
	echo '{"spdxVersion":"SPDX-2.3","packages":[{"name":"a","versionInfo":"1","externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"pkg:x/a@1"}]}],"hasExtractedLicensingInfos":[{"licenseId":"L1","x":1}],"relationships":[1]}' >sc/s1.json
	echo '{"packages":[{"name":"b","externalRefs":[{"referenceCategory":"PACKAGE_MANAGER","referenceType":"purl","referenceLocator":"pkg:x/b@1"},{"referenceCategory":"PACKAGE-MANAGER","referenceType":"cpe","referenceLocator":"pkg:x/c@1"}]},{"name":"a","versionInfo":"1"},{"name":"a","versionInfo":"2"}],"hasExtractedLicensingInfos":[{"licenseId":"L2","x":1},{"licenseId":"L1","x":2}],"relationships":[2]}' >sc/s2.json
	printf 'not json' >sc/bad.json
	printf 'FROM busybox\nCOPY scan *.json /\nENV Q=1\nUSER 7\nWORKDIR /tmp\nENTRYPOINT ["/bin/false"]\n' >sc/Containerfile
	hoy build -q -t scanner sc >/dev/null
	echo hi >ctx/hi
	echo hi2 >ctx2/hi2
	printf 'FROM busybox\nCOPY hi /\nENV A=b\n' >ctx/Containerfile
}
C=merge-cyclonedx-by-component-name-and-version
S=merge-spdx-by-package-name-and-versioninfo

@test "build --sbom-*: buildah's documents, package URLs, and the same image" {
	have_image busybox
	make_scanner
	for format in oci docker; do
		for tool in oracle_buildah hoy_build; do
			rm -rf out
			mkdir out
			try $tool build -q --timestamp 0 --format $format --network none --build-context "foo=$T/ctx2" --pull=never --sbom-scanner-image localhost/scanner \
				--sbom-scanner-command '/scan /c1.json {ROOTFS} "a b" $Q x\ y {OUTPUT}' --sbom-scanner-command '/scan /c2.json {CONTEXT} {OUTPUT}' \
				--sbom-scanner-command '/scan /bad.json {OUTPUT}' --sbom-merge-strategy $C --sbom-output out/doc --sbom-purl-output "$T/out/purls" \
				--sbom-image-output /root/sbom/doc.json -t "$tool" ctx
			assert_success
			# (With layers buildah scans twice.)
			grep '^scan' <<<"$stderr" | sort -u >"out/said"
			echo "$output" >out/id
			rm -rf "$tool-$format"
			mv out "$tool-$format"
		done
		[[ $(wc -l <"hoy_build-$format/said") == 3 && $(<"hoy_build-$format/said") == *'/c1.json /.rootfs a b $Q x y /.scans/scan0.json as 7 in /tmp with 1'* ]]
		diff -r "oracle_buildah-$format" "hoy_build-$format"
	done
	dir=$(hoy image mount hoy_build)
	diff "$dir/root/sbom/doc.json" hoy_build-docker/doc
	hoy image umount hoy_build
	[[ -z $(hoy_build containers -q) ]]
	# Nothing for the image: it is what it would be without.
	id=$(hoy_build build -q --timestamp 0 --network none ctx)
	[[ $(hoy_build build -q --timestamp 0 --network none --pull=never --sbom-scanner-image localhost/scanner --sbom-merge-strategy cat \
		--sbom-scanner-command '/scan /bad.json {ROOTFS} {OUTPUT}' --sbom-output doc ctx) == "$id" ]]
	[[ $(<doc) == 'not json' ]]
	hoy build -q --timestamp 0 --network none --pull=never --sbom-scanner-image localhost/scanner --sbom-merge-strategy $S \
		--sbom-scanner-command '/scan /s1.json {ROOTFS} {OUTPUT}' --sbom-image-purl-output p/q -t x ctx
	dir=$(hoy image mount x)
	[[ $(<"$dir/p/q") == '{"image_contents":{"dependencies":["pkg:x/a@1"]}}' ]]
	hoy image umount x
}

@test "commit --sbom-*: what is merged how, as buildah; failures" {
	have_image busybox
	make_scanner
	c=$(hoy_build from busybox)
	n=0
	# both STATUS OPTION...: both tools end so, and write the same
	both() {
		local tool want=$1
		shift
		for tool in oracle_buildah hoy_build; do
			rm -rf out
			mkdir out
			try $tool commit -q --pull=never --timestamp 0 --sbom-scanner-image localhost/scanner --sbom-output out/doc --sbom-purl-output out/purls "$@" "$c"
			assert_status "$want"
			rm -rf "$tool"
			mv out "$tool"
			echo "$output" >"$tool/id"
		done
		diff -r oracle_buildah hoy_build
	}
	both 0 --sbom-merge-strategy $S --sbom-scanner-command '/scan /s1.json {ROOTFS} {OUTPUT}' --sbom-scanner-command '/scan /s2.json {ROOTFS} {OUTPUT}'
	both 0 --sbom-merge-strategy $S --sbom-scanner-command '/scan /s2.json {ROOTFS} {OUTPUT}' --sbom-scanner-command '/scan /s1.json {ROOTFS} {OUTPUT}'
	both 0 --sbom-merge-strategy $C --sbom-scanner-command '/scan /s1.json {ROOTFS} {OUTPUT}' --sbom-scanner-command '/scan /c1.json {ROOTFS} {OUTPUT}' --sbom-image-output /doc
	both 0 --sbom-merge-strategy $C --sbom-scanner-command '/scan /c2.json {ROOTFS} {OUTPUT}' --sbom-scanner-command '/scan /s1.json {ROOTFS} {OUTPUT}' --squash --sbom-image-output /doc
	both 0 --sbom-merge-strategy cat --sbom-scanner-command '/scan /s1.json {ROOTFS} {OUTPUT}' --sbom-scanner-command '/scan /bad.json {ROOTFS} {OUTPUT}' --sbom-image-purl-output purls
	[[ $(<hoy_build/purls) == '{"image_contents":{}}' ]]
	both 125 --sbom-merge-strategy $C --sbom-scanner-command '/scan /bad.json {ROOTFS} {OUTPUT}'
	both 5 --sbom-merge-strategy $C --sbom-scanner-command "sh -c 'exit 5' {ROOTFS}"
	assert_stderr_has 'running scanning command [sh -c exit 5 /.rootfs]: exit status 5'
	both 125 --sbom-merge-strategy $C --sbom-scanner-command 'true {ROOTFS}'
	both 2 --sbom-merge-strategy $C --sbom-scanner-command "/scan {ROOTFS} 'a"
	# A scanner that leads out of the directory for its results.
	try hoy_build commit -q --pull=never --sbom-scanner-image localhost/scanner --sbom-output doc --sbom-merge-strategy cat \
		--sbom-scanner-command 'ln -s /etc/passwd {OUTPUT} {ROOTFS}' --sbom-scanner-command 'ln -s /etc/passwd {ROOTFS}/../.scans/scan1.json' "$c"
	assert_status 1
	try hoy_build commit -q --pull=never --sbom-scanner-image localhost/scanner --sbom-output doc --sbom-merge-strategy cat \
		--sbom-scanner-command "sh -c 'ln -s /etc/passwd {OUTPUT}; : {ROOTFS}'" "$c" refused
	assert_error "leads outside of its directory"
	not hoy image exists refused
	[[ ! -e doc && -z $(compgen -G "${TMPDIR:-/var/tmp}/hoy-build-*") ]]
	[[ $(hoy_build containers -q | wc -l) == 1 ]]
}

@test "--sbom: presets, and what is missing or unknown, in buildah's words" {
	have_image busybox
	c=$(hoy_build from busybox)
	while IFS= read -r line; do
		eval "set -- $line"
		try oracle_buildah commit -q "$@" "$c"
		assert_status 125
		theirs=$stderr
		try hoy_build commit -q "$@" "$c"
		assert_status 125
		[[ $stderr == "$theirs" ]] || show "buildah says $theirs"
	done <<-'END'
	--sbom foo --sbom-output x
	--sbom=foo --sbom-output x
	--sbom=syft
	--sbom=trivy-spdx
	--sbom-scanner-image x
	--sbom-scanner-command x
	--sbom-scanner-image x --sbom-output y
	--sbom-scanner-image busybox --sbom-scanner-command true --sbom-output y
	--sbom-scanner-image busybox --sbom-scanner-command true --sbom-scanner-command true --sbom-output y
	--sbom-scanner-image busybox --sbom-scanner-command true --sbom-merge-strategy foo --sbom-output y
	END
	for preset in syft syft-cyclonedx syft-spdx trivy trivy-cyclonedx trivy-spdx; do
		try hoy_build commit -q --pull=never --sbom $preset --sbom-output y "$c"
		assert_status 125
		assert_stderr_like "ghcr.io/[a-z]*/${preset%%-*}"
	done
	try hoy_build commit -q --cw type=snp "$c"
	assert_error '--cw is not supported: no images for confidential workloads are made'
	try hoy_build commit -q --pull=never --sbom=syft --sbom-image-output ../y "$c"
	assert_error 'are paths of files in the image'
	mkdir ctx
	echo FROM busybox >ctx/Containerfile
	try hoy build --squash --sbom=syft --sbom-image-output y ctx
	assert_error 'not with --squash'
}
