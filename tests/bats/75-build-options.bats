#!/usr/bin/env bats
# Options of hoy-build's verbs, each for what it does; beside buildah where that does it, too.

load ../lib/hoy

hoy_build() {
	: >"$STORE/.used-hoy"
	tool hoy-build "${HOY_OPTS[@]}" "$@"
}

# The working containers by $1: name and the number of layers of what they stand on.
kept() {
	local c
	for c in $("$1" containers -q); do
		# shellcheck disable=SC2016
		"$1" inspect "$c" | jq -r '"\(.Container | sub("^[0-9a-f]{12}"; "ID")) \(.FromImage | sub("^[0-9a-f]{12,64}$"; "ID")) \(.OCIv1.config.Env) \(.OCIv1.config.Cmd) \(.Docker.config.Shell)"'
	done | sort
}

@test "build: --rm, --force-rm: which containers stay, and how they go on" {
	have_image busybox
	cat >good <<-'END'
		FROM busybox AS a
		ENV A=b
		RUN echo 1 >/one
		FROM busybox
		SHELL ["/bin/sh", "-ec"]
		COPY --from=a /one /one
		RUN echo 3 >/three
		CMD x
	END
	sed 's/three$/three; false/' good >bad
	for o in '' --rm=false; do
		hoy_build build -q $o -f good . >/dev/null
		try hoy_build build -q $o -f bad .
		assert_status 1
		[[ -z $(hoy_build containers -q) ]]
	done
	hoy_build build -q --layers --no-cache -f good . >/dev/null
	[[ -z $(hoy_build containers -q) ]]
	try hoy_build build -q --layers --no-cache --force-rm -f bad .
	assert_status 1
	[[ -z $(hoy_build containers -q) ]]
	# podman takes them away unless it's told not to.
	try hoy build -q --no-cache -f bad .
	assert_status 1
	[[ -z $(hoy_build containers -q) ]]
	for who in oracle_buildah hoy_build; do
		try "$who" build -q --network none --layers --no-cache -f bad .
		kept "$who" >"$who.kept"
		c=$("$who" containers -q)
		[[ $(hoy_build run "$c" -- cat /one /three | xargs) == '1 3' ]]
		[[ $(oracle_buildah run "$c" -- cat /one /three | xargs) == '1 3' ]]
		hoy_build commit -q "$c" rescued >/dev/null
		[[ $(hoy run --rm --network none rescued cat /three) == 3 ]]
		hoy_build rm -a >/dev/null
	done
	diff oracle_buildah.kept hoy_build.kept
	id=$(hoy_build build -q --layers --rm=false --no-cache --cap-add NET_ADMIN --network none -t all -f good .)
	[[ $(kept hoy_build | cut -d' ' -f1 | xargs) == 'ID-working-container ID-working-container ID-working-container' ]]
	c=$(hoy_build containers -q | head -1)
	[[ $(hoy_build run "$c" -- sh -c 'cat /one; grep CapEff /proc/self/status; echo $A' | xargs) == *'1 CapEff: 00000000800415fb b' ]]
	[[ $(hoy run --rm --network none all cat /one /three | xargs) == '1 3' ]]
	hoy_build rm -a >/dev/null
	[[ $(hoy_build build -q --layers -f good --cap-add NET_ADMIN --network none .) == "$id" ]]
}
