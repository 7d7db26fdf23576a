#!/usr/bin/env bats
# Options of buildah's that are younger than the oracle's: --source-policy-file, --save-stages, --stage-labels.

load ../lib/hoy
load ../lib/build

# policy RULE...: the file "policy" with these; rule ACTION IDENTIFIER [MORE-OF-SELECTOR [MORE-OF-RULE]]
policy() { local IFS=,; printf '{"rules":[%s]}' "$*" >policy; }
rule() { printf '{"action":"%s","selector":{"identifier":"%s"%s}%s}' "$1" "$2" "${3:+,$3}" "${4:+,$4}"; }
to() { printf '"updates":{"identifier":"%s"}' "$1"; }
build() { hoy build -q --network none --source-policy-file policy "$@" ctx; }

@test "--source-policy-file: DENY, ALLOW, CONVERT of images; the first rule that matches decides" {
	have_image busybox
	mkdir -p ctx
	hoy tag busybox docker.io/library/base:latest
	hoy tag busybox quay.io/other/base:1
	printf 'FROM base\nRUN true\n' >ctx/Containerfile
	policy
	build >/dev/null
	# With or without the tag that everybody means.
	for id in docker-image://docker.io/library/base docker-image://docker.io/library/base:latest 'docker-image://*' 'docker-image://docker.io/library/bas?:lat*'; do
		policy "$(rule DENY "$id")"
		try build
		assert_error "Containerfile:1: FROM: source \"docker-image://docker.io/library/base:latest\" denied by source policy: matched rule 0 (selector: \"$id\")"
	done
	policy "$(rule DENY 'docker-image://*/base' '"matchType":"EXACT"')" "$(rule ALLOW 'docker-image://docker.io/library/base' '"matchType":"EXACT"')" "$(rule DENY '*')"
	build >/dev/null
	# What takes its place: another tag, a digest.
	digest=$(hoy image inspect busybox --format '{{.Digest}}')
	hoy untag busybox docker.io/library/base:latest
	for other in quay.io/other/base:1 "quay.io/other/base@$digest"; do
		policy "$(rule CONVERT docker-image://docker.io/library/base:latest '' "$(to "docker-image://$other")")"
		build --no-cache --pull=never >/dev/null
	done
	policy "$(rule CONVERT docker-image://docker.io/library/base:latest '' "$(to docker-image://localhost/nowhere:1)")"
	try build --pull=never
	assert_error 'localhost/nowhere:1: image not known'
}

@test "--source-policy-file: stages, scratch and --build-context; COPY --from and RUN --mount" {
	have_image busybox
	mkdir -p ctx
	printf 'FROM busybox AS a\nRUN echo a >/a\nFROM a AS b\nRUN true\nFROM scratch\nCOPY --from=b /a /\n' >ctx/Containerfile
	policy "$(rule ALLOW 'docker-image://docker.io/library/busybox')" "$(rule DENY '*')"
	build >/dev/null
	build --jobs 3 --no-cache >/dev/null
	hoy tag busybox localhost/tool:1
	for line in 'COPY --from=tool:1 /bin/busybox /b' 'RUN --mount=type=bind,from=tool:1,target=/t true'; do
		printf 'FROM busybox\n%s\n' "$line" >ctx/Containerfile
		try build
		assert_error 'source "docker-image://docker.io/library/tool:1" denied by source policy'
		[[ $stderr == *'Containerfile:2'* ]]
	done
	# What --build-context says, comes first.
	printf 'FROM here\nRUN true\n' >ctx/Containerfile
	try build --build-context here=docker-image://localhost/tool:1
	assert_error 'source "docker-image://localhost/tool:1" denied by source policy'
	try build --build-context here=docker-image://busybox
	assert_success
}

@test "--source-policy-file: addresses of ADD" {
	mkdir -p ctx www
	echo one >www/one
	echo two >www/two
	printf 'FROM scratch\nADD http://127.0.0.1:7977/one /\n' >ctx/Containerfile
	python3 -m http.server -d www -b 127.0.0.1 7977 >/dev/null 2>&1 &
	server=$!
	for i in {1..50}; do ! curl -s -o /dev/null http://127.0.0.1:7977/ || break; sleep 0.1; done
	policy "$(rule DENY 'https://*')"
	build -o out
	[[ $(cat out/one) == one ]]
	policy "$(rule CONVERT 'http://127.0.0.1:7977/one' '' "$(to http://127.0.0.1:7977/two)")"
	build --no-cache -o out
	[[ $(cat out/one) == two ]]
	policy "$(rule DENY 'http://*')"
	try build --no-cache
	kill $server
	wait $server || :
	assert_error 'Containerfile:2: ADD: source "http://127.0.0.1:7977/one" denied by source policy: matched rule 0 (selector: "http://*")'
}

@test "--source-policy-file: what is no policy is refused, whatever the build would use" {
	mkdir -p ctx
	echo 'FROM scratch' >ctx/Containerfile
	bad() {
		try build
		assert_error "loading source policy: $1"
	}
	rm -f policy
	bad 'cannot open'
	echo '{invalid}' >policy
	bad ''
	echo '[]' >policy
	bad "'policy' has no list of rules"
	policy '{"selector":{"identifier":"x"}}'
	bad 'validating source policy: rule 0: action is required'
	policy "$(rule ALLOW x)" '{"action":"DENY","selector":{}}'
	bad 'validating source policy: rule 1: selector.identifier is required'
	policy "$(rule CONVERT x)"
	bad 'validating source policy: rule 0: updates.identifier is required for CONVERT action'
	policy "$(rule Deny x)"
	bad 'validating source policy: rule 0: unknown action (valid: ALLOW, DENY, CONVERT)'
	policy "$(rule DENY x '"matchType":"REGEX"')"
	bad 'validating source policy: rule 0: REGEX match type is not supported'
	policy "$(rule DENY x '"matchType":"GLOB"')"
	bad 'validating source policy: rule 0: unknown matchType (valid: EXACT, WILDCARD)'
	policy "$(rule CONVERT x '' '"updates":{"identifier":"y","attrs":{"http.checksum":"sha256:0"}}')"
	bad 'validating source policy: rule 0: selector.constraints and updates.attrs are not supported'
}

@test "--save-stages keeps images of stages, --stage-labels labels them; without, none of hoy-build's stay, as with buildah" {
	have_image busybox
	mkdir -p ctx
	echo x >ctx/x
	printf 'FROM busybox AS a\nCOPY x /a\nFROM a\nCOPY x /b\nFROM busybox AS plain\nFROM scratch AS c\nCOPY --from=1 /a /b /\nCOPY --from=plain /bin/busybox /\n' >ctx/Containerfile
	try hoy-build --stage-labels ctx
	assert_error '--stage-labels requires --save-stages'
	for jobs in 1 3; do
		hoy-build -q -t one --jobs $jobs ctx
		[[ $(hoy images -aq | wc -l) == 2 ]] # and busybox
		oracle_buildah build -q -t two ctx >/dev/null
		[[ $(hoy images -aq | wc -l) == 3 ]]
		hoy-build -q -t one --jobs $jobs --save-stages ctx
		[[ $(hoy images -aq | wc -l) == 6 ]] # two stages, and the one that lost its name
		hoy rmi -a -f >/dev/null
		have_image busybox
	done
	hoy-build -q -t three --save-stages --stage-labels ctx
	labels() { hoy image inspect $(hoy images -aq) | jq -r '.[].Config.Labels // {} | select(.["io.buildah.stage.name"]) | "\(.["io.buildah.stage.name"]) \(.["io.buildah.stage.base"])"' | sort; }
	a=$(hoy images -q --no-trunc --filter label=io.buildah.stage.name=a)
	diff <(labels) <(printf '%s\n' "1 ${a#sha256:}" 'a localhost/busybox:latest' 'c scratch')
	# With layers, that is a step like others, which is found again.
	hoy build -q -t four --save-stages --stage-labels --network none ctx >id
	hoy build -q -t four --save-stages --stage-labels --network none --jobs 3 ctx | diff - id
	hoy image inspect four --format '{{index .Config.Labels "io.buildah.stage.name"}}' | grep -x c
}
hoy-build() { tool hoy-build "${HOY_OPTS[@]}" build "$@"; }
